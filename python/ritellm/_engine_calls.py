"""What each row of a distributed engine asks for: the arguments of `map_rows`, as they travel to the workers."""

from __future__ import annotations

import json
import os
import pickle

from ritellm import _core, _tables
from ritellm._bulk import UNSYNCED, Job, bulk
from ritellm.client import Client
from ritellm.exceptions import AuthenticationError, InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, TypeAlias

    # Values of an outcome by the names of `OWN`.
    _Outcome: TypeAlias = dict[str, Any]
else:
    Any = object

__all__ = ["ID", "RowCalls", "not_installed"]

# Columns of an outcome, with the kinds of their values: those of a bulk job's tables, and the number of attempts.
OWN = {
    "answer": "text",
    "finish_reason": "text",
    "error": "text",
    "error_class": "text",
    "input_tokens": "whole",
    "output_tokens": "whole",
    "cost": "float",
    "attempts": "whole",
}

# The column by which a row is known again in a job.
ID = "ritellm_row"

# Arguments of `ritellm.bulk` that have no place here, with what is there instead.
REFUSED = {
    "out": "the output is the engine's; memo=… keeps answers for the next run",
    "max_cost": "costs are not counted across processes: map a part of the rows, look at the sum of the column cost, and go on "
    "with memo=…; limits=… of the client bound the rate",
    "dedupe": "drop duplicates before, and join the answers to the rows afterwards",
    "mode": 'a batch is one of a whole table: write the rows to Parquet, and ritellm.bulk("rows/*.parquet", mode="batch", …) '
    "reads them",
    "batch_rows": 'it belongs to mode="batch"',
    "durability": "the output is the engine's",
    "on_change": "the output is the engine's",
    "id_column": "rows are known by their places",
    "format": "the rows are the engine's",
    "api_key": 'keys do not travel with tasks: client=Client(providers={"…": {"api_key_env": "…"}}) names a variable of the '
    "workers, and client= may be a function that makes the client there",
}


class RowCalls:
    """What each row asks for. It is pickled to the workers, without a key in it.

    Attributes:
        names: names of the rows' columns.
        parsed: the JSON schema of the answers, if there is one.
    """

    def __init__(
        self,
        names: list[str] | None,
        *,
        client: Client | Callable[[], Client] | None,
        on_error: str,
        memo: str | os.PathLike[str] | None,
        params: dict[str, Any],
        **options: Any,
    ) -> None:
        for name, reason in REFUSED.items():
            if params.get(name) is not None:
                raise InvalidArgumentError(f"{name} has no place in map_rows: {reason}")
        if on_error not in ("row", "raise"):
            raise InvalidArgumentError(f'on_error is {on_error!r}: "row" or "raise" would be right')
        if memo is not None and not isinstance(memo, (str, os.PathLike)):
            raise InvalidArgumentError(f"memo is of type {type(memo).__name__}: the path of a folder would be right")
        if client is not None and not isinstance(client, Client) and not callable(client):
            raise InvalidArgumentError(
                f"client is of type {type(client).__name__}: a Client, a Router or a function that returns one would be right"
            )
        self.names = names
        self.options = {name: value for name, value in options.items() if value is not None}
        self.params = {name: value for name, value in params.items() if value is not None}
        self.on_error = on_error
        # The workers' folder is none of the driver's: a relative path would be another one there.
        self.memo = None if memo is None else os.path.abspath(os.fspath(memo))
        self.client = client
        self.token = os.urandom(8).hex()
        self._check_keys()
        self.parsed = self._check()

    def _check_keys(self) -> None:
        found = _withheld_of(self.client) if isinstance(self.client, Client) else []
        owner = "the client has" if found else "among the arguments is"
        found += _core.credentials_in(self.params)
        if found:
            raise InvalidArgumentError(
                f"{owner} {', '.join(found)}, and keys do not travel with tasks: name variables of the workers "
                'instead (providers={"openai": {"api_key_env": "OPENAI_API_KEY"}}), or give a function that makes the client '
                "on the worker (client=make_client)"
            )

    def _check(self) -> dict[str, Any] | None:
        """Checks the arguments as a worker will, before anything runs. Returns the schema of the answers."""
        client = self.client if isinstance(self.client, Client) else Client()
        rows: list[dict[str, Any]] = [] if self.names is None else [dict.fromkeys([*self.names, ID], "")]
        try:
            job = self.job(iter(rows if self.function is None else [{"body": {}}]), client)
        except AuthenticationError:
            # The workers have the keys.
            return self._schema()
        del job
        return self._schema()

    def _schema(self) -> dict[str, Any] | None:
        from ritellm._schemas import schema_of

        return schema_of(self.options.get("response_format"))

    @property
    def function(self) -> Callable[[Any], Any] | None:
        """The function from a row to its request, if there is one."""
        for name in ("prompt", "messages", "input"):
            if callable(self.options.get(name)):
                found: Callable[[Any], Any] = self.options[name]
                return found
        return None

    def job(self, rows: Iterator[Any], client: Client, out: str | None = None) -> Job:
        """Makes a job of rows as `Worker` feeds them."""
        options = dict(self.options)
        if self.function is None:
            options["id_column"] = ID
        else:
            # The rows are batch lines that the function has made.
            for name in ("prompt", "messages", "input"):
                options.pop(name, None)
        # A memo that a power cut damages asks again for what is damaged, and no row waits for the disk.
        return bulk(rows, out=out, client=client, durability=UNSYNCED, **options, **self.params)

    def needed(self, names: Iterable[str]) -> list[str] | None:
        """Returns the columns that are read of each row; `None` for all of them."""
        texts = [self.options.get(name) for name in ("prompt", "messages", "input")]
        if self.function is not None or not any(texts):
            return None
        text = "".join(
            each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in texts if each
        )
        names = list(names)
        found = [name for name in names if f"{{{name}}}" in text or f"{{{json.dumps(name)[1:-1]}}}" in text]
        # A row without columns has no place in some tables.
        return found or names[:1]

    def fields(self, names: Iterable[str]) -> list[tuple[str, str, str]]:
        """Returns the columns that are added to those of the rows: name, name in an outcome, and kind.

        The kinds are ``"text"``, ``"whole"``, ``"float"``, ``"vector"`` and ``"parsed"``.
        """
        own = dict(OWN)
        if self.options["endpoint"] == "embedding":
            own = {"embedding": "vector"} | {
                name: kind for name, kind in own.items() if name not in ("answer", "finish_reason")
            }
        elif self.parsed is not None:
            own = {"answer": "text", "parsed": "parsed"} | own
        names = set(names)
        return [(f"ritellm_{name}" if name in names else name, name, kind) for name, kind in own.items()]

    def outcome(self, is_done: bool, answer: Any) -> _Outcome:
        """Returns the values of the columns that are added to a row."""
        if is_done and self.options["endpoint"] == "embedding" and len(answer.get("data") or ()) != 1:
            is_done, answer = (
                False,
                InvalidArgumentError("the row has several inputs: one vector a row has a place in the table"),
            )
        own = _tables._own((None, 0, None, is_done, answer), self.parsed is not None)
        if not is_done:
            own["attempts"] = getattr(answer, "retries", 0) + 1
            return own
        own["attempts"] = getattr(getattr(answer, "meta", None), "retries", 0) + 1
        return own

    def fingerprint(self) -> str:
        """Returns what all rows have in common, for a memo."""
        shown = {name: value for name, value in self.options.items() if name in ("model", "endpoint")}
        for name in ("prompt", "messages", "input"):
            if name in self.options and not callable(self.options[name]):
                shown[name] = self.options[name]
        return json.dumps([shown, self.params, self._schema()], sort_keys=True, default=str)


def _withheld_of(client: Client) -> list[str]:
    """Returns the names of what does not travel with a client."""
    found: list[str] = []

    def look(value: Any, path: str) -> None:
        if isinstance(value, dict):
            found.extend(f"{path}{name}" for name in value.get("_withheld", ()))
            for name, item in value.items():
                if name != "_withheld":
                    look(item, f"{path}{name}.")
        elif isinstance(value, (list, tuple)):
            for item in value:
                look(item, path)
        elif hasattr(value, "options") and isinstance(value.options, dict):
            # A deployment of a router: what it would be on the other side.
            look(pickle.loads(pickle.dumps(value)).options, f"{path}{value.model}.")

    look(client.__reduce__()[1], "")
    return found


def not_installed(engine: str, package: str) -> InvalidArgumentError:
    """Returns the error of an engine that is not installed."""
    return InvalidArgumentError(
        f"ritellm.{engine} needs {package}, which is not installed: pip install 'ritellm[{engine}]'"
    )
