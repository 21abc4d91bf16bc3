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
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from ritellm import _core
from ritellm.exceptions import InvalidArgumentError
from ritellm.testing import _bodies
from ritellm.testing._environment import Intercepting
from ritellm.testing._redaction import Redactor, own

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
VCRPYS_BEGINNINGS = ("interactions:", "version:", "---")
"""Of files with other names: vcrpy takes any, and writes YAML unless it is told otherwise."""


class Cassette(Intercepting):
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
        match_on: Sequence[str | Callable[[dict[str, Any]], Any]] | None = None,
        ignore: Iterable[str] = (),
        order: Literal["any", "strict"] = "any",
        allow_repeats: bool = False,
        timing: bool = False,
        redact: Iterable[str | re.Pattern[str]] = (),
        before_record: Callable[[dict[str, Any]], dict[str, Any] | None] | None = None,
    ) -> None:
        super().__init__()
        self.path = Path(path)
        # As a decorator, each call reads them again.
        ignore = _tuple(ignore)
        match_on = None if match_on is None else _tuple(match_on)
        redact = own(redact)
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
        self._parts: dict[str, Callable[[dict[str, Any]], Any]] = {}
        for part in match_on or (VCRPYS if self.path.suffix in VCRPYS_SUFFIXES else DEFAULT):
            if isinstance(part, str):
                names = _PARTS_OF_URI if part in ("uri", "url") else (part,)
                if names[0] not in PARTS:
                    raise InvalidArgumentError(
                        f"match_on has {part!r}: of {', '.join(PARTS)} and uri some would be right, and functions"
                    )
                self._parts.update({name: PARTS[name] for name in names})
            elif callable(part):
                self._parts[f"{getattr(part, '__name__', type(part).__name__)}()"] = part
            else:
                raise InvalidArgumentError(
                    f"match_on has {type(part).__name__}: names, and functions of a request, would be right"
                )
        self.mode = mode
        self._ignore = set(ignore)
        self._order, self._repeats, self._timing, self._filter = order, allow_repeats, timing, before_record
        self._redactor = Redactor(redact)
        self._lock = threading.RLock()
        self._is_new = True
        self._calls: list[dict[str, Any]] = []
        self._unplayed: list[int] = []
        self._known: list[list[Any]] = []
        self._loaded = self._saved = self._version = 0
        self._saves_at_once = False
        self._is_done = True
        self._error: Exception | None = None
        self.played = self.recorded = 0
        self.differences: list[str] = []
        self._relay: _core.Relay | None = None

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
        self._calls = [] if self._is_new or self.mode == "all" else self._clean(_read(self.path))
        self._loaded = self._saved = len(self._calls)
        self._unplayed = list(range(len(self._calls)))
        self._known = []

    def _clean(self, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Returns the calls of a file, with requests without what is taken out of those to which they are compared."""
        try:
            for number, call in enumerate(calls, 1):
                response = call["response"]
                if "failure" not in response and not isinstance(response.get("status"), int):
                    raise InvalidArgumentError(
                        f"{self.path}: the response of call {number} has no status, and no failure"
                    )
            return [
                {
                    "request": {
                        **self._redactor.value(call["request"]),
                        "url": self._redactor.url(call["request"]["url"]),
                    },
                    "response": dict(call["response"]),
                }
                for call in calls
            ]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidArgumentError(f"{self.path} is no cassette: {error!r}") from None

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

    def close(self) -> None:
        """Ends playing, waits for what is being recorded, and writes the file."""
        self._close(True)

    def _begin(self) -> None:
        port = self._port()
        self._intercept(port, is_relay=True, keys=not self._records)

    def _mark_failed(self) -> None:
        """Says that an exception left the test, which the ``with`` of a fixture does not see."""
        self._is_done = False

    def _finish(self, is_done: bool) -> None:
        is_done = is_done and self._is_done
        relay, self._relay = self._relay, None
        if relay is not None and not relay.close(PATIENCE):
            warnings.warn(
                f"{self.path}: answers that were not complete {PATIENCE:g} s after the end are recorded as far as they came",
                RuntimeWarning,
                stacklevel=4,
            )
        self._save(is_done)
        error, self._error = self._error, None
        if error is not None and is_done:
            raise error

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
            wanted = self._parts_of(request)
            found = self._find(wanted)
            if found is not None:
                self.played += 1
                self._compare_bodies(self._calls[found]["request"], request)
                return _answer(self._calls[found]["response"], self._timing)
            if self._records:
                return None
            return _TOKEN if _asks_for_token(request) else self._refusal(request, wanted)

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
        return [part(request) for part in self._parts.values()]

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
            first = list(self._parts).index(differs[0])
            near = f"the call that is nearest, number {place + 1}, differs in {', '.join(differs)}"
            near += f" ({_difference(theirs[first], wanted[first])})"
        return f'{self.path} has no answer to {what}: {near}. mode={self.mode!r} records nothing; "new_episodes" records what is missing'

    def _record(self, request: tuple[str, str, list[tuple[str, str]], bytes], outcome: tuple[Any, ...]) -> None:
        """Keeps what came of a request: an answer, or a failure without one."""
        method, url, headers, body = request
        with self._lock:
            self._redactor.learn(url, headers, body)
            if len(outcome) == 3:
                kind, message, seconds = outcome
                failure = {"kind": kind, "message": self._redactor.text(message)}
                response = {"failure": failure, "seconds": round(seconds, 3)}
            else:
                response = self._response(url, *outcome)
            call = {"request": self._request(method, url, headers, body), "response": response}
            if self._filter is not None:
                try:
                    changed = self._filter(call)
                    if changed is None:
                        return
                    changed["request"]["url"], changed["response"].items()
                    call = changed
                except Exception as error:
                    # The call goes on; the end of the cassette raises it.
                    self._error = error
                    return
            self._calls.append(call)
            self.recorded += 1
            if self._saves_at_once:
                self._save(False)

    def _response(
        self,
        url: str,
        status: int,
        fields: list[tuple[str, str]],
        pieces: list[tuple[float, bytes]],
        is_stream: bool,
        end: str,
    ) -> dict[str, Any]:
        whole = b"".join(piece for _, piece in pieces)
        self._redactor.learn(url, fields, whole)
        response: dict[str, Any] = {"status": status, "headers": self._redactor.headers(fields)}
        media_type = _media_type(response)
        if is_stream and not media_type.startswith("application/json"):
            # Split first: a mask changes lengths and checksums.
            response["events"] = self._redactor.value(_bodies.events(media_type, pieces))
        else:
            response["seconds"] = round(pieces[-1][0], 3) if pieces else 0.0
            response.update(self._redactor.value(_bodies.packed(whole)))
        if end != "complete":
            response[end] = True
        return response

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
        packed = self._redactor.value(_bodies.packed(body))
        return {"method": method, "url": self._redactor.url(url), "headers": kept, **packed}

    def _save(self, is_done: bool) -> None:
        """Writes the file. Failures at the end of it are kept only if the program has dealt with them."""
        with self._lock:
            count = len(self._calls)
            while not is_done and count > self._loaded and "failure" in self._calls[count - 1]["response"]:
                count -= 1
            if count == self._saved:
                return
            if self._version != self._redactor.version:
                # What was learnt late may be in calls that were recorded early.
                self._calls = self._redactor.value(self._calls)
                self._known, self._version = [], self._redactor.version
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", dir=self.path.parent, delete=False, encoding="utf-8", newline="\n"
            ) as file:
                file.write(_written(self._calls[:count]))
            mode = self.path.stat().st_mode & 0o777 if self.path.exists() else 0o644
            with contextlib.suppress(OSError):
                os.chmod(file.name, mode)
            os.replace(file.name, self.path)
            self._saved = count


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
            ``path``, ``query`` and ``body``, or ``uri`` for five of them, and functions of a request as it is in the file, whose
            results are compared. By default all names; for vcrpy's all but ``body``.
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


def _tuple(values: Any) -> tuple[Any, ...]:
    """Returns what an iterator has, which can be used up; a text or a function is one value."""
    return (values,) if isinstance(values, str) or callable(values) else tuple(values)


def _comparable(request: dict[str, Any]) -> Any:
    if (asked := _exchange(request)) is not None:
        # The rest is the account's, or the time: another account plays the same file.
        return asked
    return request["json"] if "json" in request else _bodies.unpacked(request)


def _exchange(request: dict[str, Any]) -> str | None:
    """Returns what a form asks for that exchanges credentials for others: Google's, OAuth's, and those of AWS's STS."""
    if "=" not in (text := request.get("text", "")) or "\n" in text:
        return None
    form = dict(parse_qsl(text))
    return "a token" if "grant_type" in form else form.get("Action")


def _asks_for_token(request: dict[str, Any]) -> bool:
    return (
        request["method"] == "POST"
        and urlsplit(request["url"]).path.endswith("/token")
        and _exchange(request) == "a token"
    )


# The answer to an exchange that was not recorded: where a cassette was recorded with a token at hand, or one that was bought
# for several clients, a player has none.
_TOKEN = (
    200,
    [("content-type", "application/json")],
    [(0.0, b'{"access_token": "test-token", "token_type": "Bearer", "expires_in": 3600}')],
    False,
    "complete",
)


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
            return f"{path[:-1] or 'it'} has {len(asked)} elements, not {len(recorded)}"
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
    seconds = float(response.get("seconds", 0)) if timing else 0.0
    if "failure" in response:
        return response["failure"]["kind"], response["failure"].get("message", ""), seconds
    headers = list(response.get("headers", {}).items())
    end = next((end for end in ("broken", "silent") if response.get(end)), "complete")
    if "events" not in response:
        return response["status"], headers, [(seconds, _bodies.unpacked(response))], False, end
    media_type = _media_type(response)
    rows = response["events"]
    pieces = [(float(row.get("at", 0)) if timing else 0.0, _bodies.event_bytes(media_type, row)) for row in rows]
    return response["status"], headers, pieces, True, end


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
        # Some editors write a mark at the beginning.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"{path} cannot be read: {error}") from None
    if path.suffix in VCRPYS_SUFFIXES or text.startswith(VCRPYS_BEGINNINGS):
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
