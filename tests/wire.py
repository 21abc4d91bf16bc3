"""Finds the folder of recorded provider traffic: beside the checkout, or at the path in RITELLM_WIRE."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import urllib.parse
from typing import Any

from server import Answer, Piece

Case = dict[str, Any]

_PLACES = [os.environ.get("RITELLM_WIRE"), pathlib.Path(__file__).parents[2] / "shared" / "wire"]
FOLDER = next(
    (pathlib.Path(place) for place in _PLACES if place and (pathlib.Path(place) / "corpus.py").is_file()), None
)
ABSENT = "the folder of recorded provider traffic is not here (RITELLM_WIRE can say where it is)"


def cases(endpoint: str) -> list[Case]:
    """The recorded exchanges with this kind of endpoint; none where the folder is absent."""
    if FOLDER is None:
        return []
    spec = importlib.util.spec_from_file_location("ritellm_corpus", FOLDER / "corpus.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [case for case in module.load() if case["endpoint"] == endpoint]


def answer(case: Case) -> Answer:
    """Returns the recorded response; a stream is split at unusual positions."""
    body: bytes = case["body"]
    headers = {"content-type": case["ctype"], "x-request-id": "req_replayed"}
    if not case["stream"]:
        return Answer(status=case["status"], headers=headers, body=body)
    step = 61 if len(body) < 50_000 else 1021
    pieces: list[Piece] = [body[at : at + step] for at in range(0, len(body), step)]
    return Answer(status=case["status"], headers=headers, body=pieces)


def model(case: Case) -> str:
    """The model's name, which some wires have in the path."""
    named: str | None = case["request"].get("model")
    if named is None:
        for mark in ("/models/", "/model/", "/deployments/"):
            if mark in case["path"]:
                return urllib.parse.unquote(case["path"].split(mark)[1]).split(":")[0].split("/")[0]
    return named or "m"
