"""Cassettes: recorded calls that are played again, in place of the providers."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, urlsplit

from ritellm import _core
from ritellm.exceptions import InvalidArgumentError
from ritellm.testing import _bodies
from ritellm.testing._environment import Keys
from ritellm.testing._redaction import Redactor

if TYPE_CHECKING:
    from typing_extensions import Self

MODES = ("none", "once", "new_episodes", "all")
VERSION = 1
PATIENCE = 10.0
"""Seconds for which the end of a cassette waits for streams that their callers left early."""

# The parts of a request that can be compared.
PARTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "method": lambda request: request["method"],
    "scheme": lambda request: urlsplit(request["url"]).scheme,
    "host": lambda request: urlsplit(request["url"]).hostname,
    "port": lambda request: (
        urlsplit(request["url"]).port or {"https": 443, "http": 80}.get(urlsplit(request["url"]).scheme)
    ),
    "path": lambda request: urlsplit(request["url"]).path,
    "query": lambda request: sorted(parse_qsl(urlsplit(request["url"]).query, keep_blank_values=True)),
    "body": lambda request: _comparable(request),
}
_PARTS_OF_URI = ("scheme", "host", "port", "path", "query")
DEFAULT = ("method", *_PARTS_OF_URI, "body")
VCRPYS = ("method", *_PARTS_OF_URI)
VCRPYS_SUFFIXES = (".yaml", ".yml")


class Cassette:
    """Recorded calls in a file: they are played again, and depending on the mode new ones are recorded.

    It is made by `cassette`, or by ``Client(cassette=…)``. Its attributes can be read at any time.

    Attributes:
        path: the file.
        mode: what is recorded.
        played: the number of calls that were played; ``unplayed`` is that of those in the file that were not.
        recorded: the number of calls that were recorded.
        differences: where bodies are not compared, a line for each call that was played to a request with another body: its
            method and URL, and the first difference.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        mode: Literal["none", "once", "new_episodes", "all"] = "once",
        match_on: Sequence[str] | None = None,
        ignore: Iterable[str] = (),
        order: Literal["any", "strict"] = "any",
        allow_repeats: bool = False,
        timing: bool = False,
        redact: Iterable[str | re.Pattern[str]] = (),
        before_record: Callable[[dict[str, Any]], dict[str, Any] | None] | None = None,
    ) -> None:
        self.path = Path(path)
        self._options: dict[str, Any] = {
            "mode": mode,
            "match_on": match_on,
            "ignore": ignore,
            "order": order,
            "allow_repeats": allow_repeats,
            "timing": timing,
            "redact": redact,
            "before_record": before_record,
        }
        if mode not in MODES:
            raise InvalidArgumentError(f"mode is {mode!r}: one of {MODES} would be right")
        if order not in ("any", "strict"):
            raise InvalidArgumentError(f"order is {order!r}: 'any' or 'strict' would be right")
        names = list(match_on or (VCRPYS if self.path.suffix in VCRPYS_SUFFIXES else DEFAULT))
        self._parts = [part for name in names for part in (_PARTS_OF_URI if name in ("uri", "url") else (name,))]
        if unknown := [name for name in self._parts if name not in PARTS]:
            raise InvalidArgumentError(
                f"match_on has {unknown[0]!r}: of {', '.join(PARTS)} and uri some would be right"
            )
        self.mode = mode
        self._ignore = {ignore} if isinstance(ignore, str) else set(ignore)
        self._order, self._repeats, self._timing, self._filter = order, allow_repeats, timing, before_record
        self._redactor = Redactor(redact)
        self._lock = threading.RLock()
        self._is_new = True
        self._calls: list[dict[str, Any]] = []
        self._unplayed: list[int] = []
        self._known: list[list[Any]] = []
        self._changed = False
        self._saves_at_once = False
        self.played = self.recorded = 0
        self.differences: list[str] = []
        self._keys = Keys()
        self._relay: _core.Relay | None = None
        self._detour: int | None = None
        self._process = os.getpid()

    def _load(self) -> None:
        """Reads the file."""
        self._is_new = not self.path.exists()
        if self.path.suffix in VCRPYS_SUFFIXES and self._records:
            raise InvalidArgumentError(
                f'{self.path}: cassettes of vcrpy are played, and not written. mode="none" plays it; a path that ends in .json '
                "is recorded"
            )
        if self._is_new and self.mode == "none":
            raise InvalidArgumentError(f'{self.path} is missing, and mode="none" records nothing')
        self._calls = [] if self._is_new or self.mode == "all" else _read(self.path)
        self._unplayed = list(range(len(self._calls)))
        self._known = []

    @property
    def _records(self) -> bool:
        return self.mode in ("new_episodes", "all") or (self.mode == "once" and self._is_new)

    @property
    def unplayed(self) -> int:
        """The number of calls in the file that were not played."""
        return len(self._unplayed)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorates a function, sync or async: each call of it has a cassette of its own with these options."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                with Cassette(self.path, **self._options):
                    return await function(*args, **kwargs)

            return awaited

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            with Cassette(self.path, **self._options):
                return function(*args, **kwargs)

        return called

    def __enter__(self) -> Self:
        if self._detour is None:
            port = self._port()
            if not self._records:
                self._keys.add()
            self._detour = _core.enter_detour(port, True)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends playing, waits for what is being recorded, and writes the file."""
        if self._process != os.getpid():
            return
        if self._detour is not None:
            _core.leave_detour(self._detour)
            self._detour = None
        self._keys.remove()
        if self._relay is not None:
            self._relay.close(PATIENCE)
            self._relay = None
        self._save()

    def __repr__(self) -> str:
        return f"<Cassette {self.path} mode={self.mode!r}: {self.played} played, {self.recorded} recorded>"

    def _port(self) -> int:
        """Returns the port of the server that plays, which is started if it is not there."""
        with self._lock:
            if self._relay is None:
                self._load()
                self._relay = _core.Relay(self._decide, self._record)
            return self._relay.port

    def _decide(self, method: str, url: str, headers: list[tuple[str, str]], body: bytes) -> Any:
        """Returns an answer to play, a text that says why there is none, or `None` if the call is to be made."""
        with self._lock:
            request = self._request(method, url, headers, body)
            wanted = [PARTS[part](self._without_ignored(request)) for part in self._parts]
            found = self._find(wanted)
            if found is not None:
                self.played += 1
                self._compare_bodies(self._calls[found]["request"], request)
                return _answer(self._calls[found]["response"], self._timing)
            return None if self._records else self._refusal(request, wanted)

    def _compare_bodies(self, recorded: dict[str, Any], asked: dict[str, Any]) -> None:
        """Notes a difference that the parts which are compared leave out."""
        if "body" not in self._parts:
            one, other = (_comparable(self._without_ignored(request)) for request in (recorded, asked))
            if one != other:
                self.differences.append(f"{asked['method']} {asked['url']}: {_difference(one, other)}")

    def _find(self, wanted: list[Any]) -> int | None:
        if self.mode == "all":
            return None
        candidates = self._unplayed[:1] if self._order == "strict" else self._unplayed
        for place in candidates:
            if self._parts_at(place) == wanted:
                self._unplayed.remove(place)
                return place
        if self._repeats:
            for place in reversed(range(len(self._calls))):
                if self._parts_at(place) == wanted:
                    return place
        return None

    def _parts_at(self, place: int) -> list[Any]:
        """Returns the parts of a recorded call, which are worked out once."""
        while len(self._known) <= place:
            self._known.append(self._parts_of(self._calls[len(self._known)]["request"]))
        return self._known[place]

    def _parts_of(self, request: dict[str, Any]) -> list[Any]:
        request = self._without_ignored(request)
        return [PARTS[part](request) for part in self._parts]

    def _without_ignored(self, request: dict[str, Any]) -> dict[str, Any]:
        if not self._ignore or "json" not in request:
            return request
        return {**request, "json": _without(request["json"], self._ignore, "")}

    def _refusal(self, request: dict[str, Any], wanted: list[Any]) -> str:
        what = f"{request['method']} {request['url']}"
        model = _comparable(request).get("model") if isinstance(_comparable(request), dict) else None
        if model:
            what += f" (model {model})"
        same = [place for place in range(len(self._calls)) if self._parts_at(place) == wanted]
        if same:
            left = (
                'its turn has not come (order="strict")'
                if same[0] in self._unplayed
                else "it was played already (allow_repeats=True plays it again)"
            )
            return f"{self.path} has {what} {len(same)} times, but {left}"
        near = "it has no calls" if not self._calls else "no call is left in it"
        if self._unplayed:
            place = max(self._unplayed, key=lambda place: _equal(self._parts_at(place), wanted))
            theirs = self._parts_at(place)
            differs = [part for part, one, other in zip(self._parts, theirs, wanted, strict=True) if one != other]
            first = self._parts.index(differs[0])
            near = f"the call that is nearest, number {place + 1}, differs in {', '.join(differs)}"
            near += f" ({_difference(theirs[first], wanted[first])})"
        return f'{self.path} has no answer to {what}: {near}. mode={self.mode!r} records nothing; "new_episodes" records what is missing'

    def _record(self, request: tuple[str, str, list[tuple[str, str]], bytes], answer: tuple[Any, ...]) -> None:
        method, url, headers, body = request
        status, fields, pieces, is_stream, is_broken = answer
        with self._lock:
            whole = b"".join(piece for _, piece in pieces)
            self._redactor.learn(url, [*headers, *fields], body)
            self._redactor.learn(url, [], whole)
            response: dict[str, Any] = {"status": status, "headers": self._redactor.headers(fields)}
            media_type = _media_type(response)
            if is_stream and not media_type.startswith("application/json"):
                # Split first: a mask changes lengths and checksums.
                rows = _bodies.events(media_type, pieces)
                response["events"] = json.loads(self._redactor.text(json.dumps(rows, ensure_ascii=False).encode()))
            else:
                response["seconds"] = round(pieces[-1][0], 3) if pieces else 0.0
                response.update(_bodies.packed(self._redactor.text(whole)))
            if is_broken:
                response["broken"] = True
            call: dict[str, Any] | None = {"request": self._request(method, url, headers, body), "response": response}
            if self._filter is not None and (call := self._filter(call or {})) is None:
                return
            self._calls.append(call or {})
            self._changed = True
            self.recorded += 1
            if self._saves_at_once:
                self._save()

    def _request(self, method: str, url: str, headers: list[tuple[str, str]], body: bytes) -> dict[str, Any]:
        self._redactor.learn(url, headers, body)
        if boundary := re.search(rb"boundary=\"?([^\";]+)", dict(headers).get("content-type", "").encode()):
            # It is random.
            body = body.replace(boundary[1], b"boundary")
            headers = [
                (name, "multipart/form-data; boundary=boundary" if name == "content-type" else value)
                for name, value in headers
            ]
        kept = {name: value for name, value in self._redactor.headers(headers).items() if name != "accept"}
        body = self._redactor.text(body)
        return {"method": method, "url": self._redactor.url(url), "headers": kept, **_bodies.packed(body)}

    def _save(self) -> None:
        with self._lock:
            if not self._changed:
                return
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", dir=self.path.parent, delete=False, encoding="utf-8", newline="\n"
            ) as file:
                file.write(_written(self._calls))
            mode = self.path.stat().st_mode & 0o777 if self.path.exists() else 0o644
            with contextlib.suppress(OSError):
                os.chmod(file.name, mode)
            os.replace(file.name, self.path)
            self._changed = False


def cassette(path: str | os.PathLike[str], **options: Any) -> Cassette:
    """Plays the calls that a file has, in place of the providers, and records those that it has not.

    >>> import ritellm
    >>> from ritellm.testing import cassette
    >>> with cassette("tests/cassettes/hello.json"):  # doctest: +SKIP
    ...     response = ritellm.completion("openai/gpt-4o-mini", [{"role": "user", "content": "Hi"}])

    It is also a decorator, of sync and async functions.

    Args:
        path: the file. One that ends in ``.yaml`` or ``.yml`` is a cassette of vcrpy, which is played only.
        mode: ``"once"``, the default, records if the file is missing and only plays otherwise; ``"none"`` only plays;
            ``"new_episodes"`` plays what the file has and adds the rest; ``"all"`` records everything anew.
        match_on: what a call and a recorded one must have in common: names of ``method``, ``scheme``, ``host``, ``port``,
            ``path``, ``query`` and ``body``, or ``uri`` for five of them. By default all; for vcrpy's all but ``body``.
        ignore: names of members of JSON bodies that are not compared, at any depth, or paths such as ``"metadata.run"``.
        order: ``"strict"`` plays the calls in the order in which they were recorded. By default calls that are equal are
            played in their order, and others in any.
        allow_repeats: plays the last of equal calls again and again.
        timing: plays streams in their time, rather than at once.
        redact: texts and patterns that must not be in the file, besides keys, tokens, cookies and accounts.
        before_record: a function that gets each call as a dict before it is kept, and returns it, or ``None`` to leave it out.

    Raises:
        InvalidArgumentError: an option that is not right; when it begins, a file that is no cassette.
        UnexpectedCallError: of a call, if the file has no answer to it and nothing is recorded.
    """
    return Cassette(path, **options)


def port_of(value: Any) -> int:
    """Returns the port of the server that plays a client's cassette: a path, or a `Cassette`."""
    if isinstance(value, Cassette):
        value._saves_at_once = True
        return value._port()
    if not isinstance(value, str | os.PathLike):
        raise InvalidArgumentError(
            f"cassette is {type(value).__name__}: a path, or what ritellm.testing.cassette returns, would be right"
        )
    path = os.path.abspath(value)
    with _SHARED_LOCK:
        if path not in _SHARED:
            _SHARED[path] = Cassette(path)
            _SHARED[path]._saves_at_once = True
        return _SHARED[path]._port()


_SHARED: dict[str, Cassette] = {}
_SHARED_LOCK = threading.Lock()


def _comparable(request: dict[str, Any]) -> Any:
    return request["json"] if "json" in request else _bodies.unpacked(request)


def _without(value: Any, names: set[str], path: str) -> Any:
    if isinstance(value, dict):
        return {
            name: _without(member, names, f"{path}{name}.")
            for name, member in value.items()
            if name not in names and path + name not in names
        }
    return [_without(member, names, path) for member in value] if isinstance(value, list) else value


def _equal(one: list[Any], other: list[Any]) -> int:
    return sum(a == b for a, b in zip(one, other, strict=True))


def _difference(recorded: Any, asked: Any, path: str = "") -> str:
    """Returns the first difference of two JSON values."""
    if isinstance(recorded, dict) and isinstance(asked, dict):
        for name in [*recorded, *asked]:
            if name not in asked:
                return f"{path}{name} is missing"
            if name not in recorded:
                return f"{path}{name} is new"
            if recorded[name] != asked[name]:
                return _difference(recorded[name], asked[name], f"{path}{name}.")
    if isinstance(recorded, list) and isinstance(asked, list):
        if len(recorded) != len(asked):
            return f"{path[:-1]} has {len(asked)} elements, not {len(recorded)}"
        for place, (one, other) in enumerate(zip(recorded, asked, strict=True)):
            if one != other:
                return _difference(one, other, f"{path}{place}.")
    return f"{path[:-1] or 'it'} is {_short(asked)}, not {_short(recorded)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 60 else text[:59] + "…"


def _media_type(response: dict[str, Any]) -> str:
    kind: str = response.get("headers", {}).get("content-type", "")
    return kind.partition(";")[0].strip().lower()


def _answer(response: dict[str, Any], timing: bool) -> tuple[Any, ...]:
    """Returns a recorded answer as the native server takes it."""
    headers = list(response.get("headers", {}).items())
    is_broken = bool(response.get("broken"))
    if "events" not in response:
        seconds = float(response.get("seconds", 0)) if timing else 0.0
        return response["status"], headers, [(seconds, _bodies.unpacked(response))], False, is_broken
    media_type = _media_type(response)
    pieces = [(float(row["at"]) if timing else 0.0, _bodies.event_bytes(media_type, row)) for row in response["events"]]
    return response["status"], headers, pieces, True, is_broken


def _written(calls: list[dict[str, Any]]) -> str:
    """Returns the text of a file, with an event a line."""
    lines: list[str] = []

    def one_line(row: dict[str, Any]) -> str:
        lines.append(json.dumps(row, ensure_ascii=False))
        return f"@line{len(lines) - 1}@"

    rows = [
        {**call, "response": {**call["response"], "events": [one_line(row) for row in call["response"]["events"]]}}
        if "events" in call["response"]
        else call
        for call in calls
    ]
    text = json.dumps({"ritellm_cassette": VERSION, "calls": rows}, ensure_ascii=False, indent=2)
    return (
        re.sub(r'^(\s*)"@line(\d+)@"(,?)$', lambda found: found[1] + lines[int(found[2])] + found[3], text, flags=re.M)
        + "\n"
    )


def _read(path: Path) -> list[dict[str, Any]]:
    """Reads a file: ours, or one of vcrpy."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"{path} cannot be read: {error}") from None
    if path.suffix in VCRPYS_SUFFIXES:
        from ritellm.testing._vcrpy import read_yaml

        return read_yaml(path, text)
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InvalidArgumentError(f"{path} is no JSON: {error}") from None
    if isinstance(value, dict) and "interactions" in value:
        from ritellm.testing._vcrpy import calls

        return calls(path, value)
    if not isinstance(value, dict) or "ritellm_cassette" not in value:
        raise InvalidArgumentError(f"{path} is no cassette: it has no member ritellm_cassette")
    if value["ritellm_cassette"] != VERSION:
        raise InvalidArgumentError(f"{path} is of version {value['ritellm_cassette']}, and {VERSION} is read")
    rows: list[dict[str, Any]] = value["calls"]
    return rows
