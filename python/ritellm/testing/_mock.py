"""The mock server: the Python class around the native one."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from ritellm import Client, _core
from ritellm.exceptions import InvalidArgumentError
from ritellm.testing._environment import Intercepting, key_of_its_own

if TYPE_CHECKING:
    from typing_extensions import Self

WINDOWS = ("bucket", "minute", "in_flight")
FINISH_REASONS = ("stop", "length", "tool_calls", "content_filter")


class MockRequest:
    """A request that a `MockServer` has received.

    Attributes:
        method: the method, ``"POST"`` for every call of a model.
        url: the address that was asked for: the provider's own, if the server took its place.
        headers: the header fields, names in lower case. They have the key that was sent, as a provider gets it.
        body: the body, as bytes.
        endpoint: the format: ``"chat"``, ``"responses"``, ``"embeddings"``, ``"anthropic"``, ``"gemini"``, ``"bedrock"``,
            ``"cohere"``, ``"ollama"``, one of the last four with ``"_embeddings"``; `None` if the server does not know it.
        model: the model that was asked for.
        at: seconds since the server was started.
    """

    __slots__ = ("at", "body", "endpoint", "headers", "method", "model", "url")

    def __init__(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: bytes,
        endpoint: str | None,
        model: str | None,
        at: float,
    ) -> None:
        self.method, self.url, self.headers, self.body = method, url, headers, body
        self.endpoint, self.model, self.at = endpoint, model, at

    @property
    def path(self) -> str:
        """The path of the address, without the query."""
        return unquote(urlsplit(self.url).path)

    @property
    def query(self) -> dict[str, str]:
        """The query of the address."""
        return dict(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))

    @property
    def json(self) -> Any:
        """The body, parsed as JSON."""
        return json.loads(self.body)

    def __repr__(self) -> str:
        # Without header fields, which have a key, and without the query, which may have one.
        return f"<MockRequest {self.method} {self.url.partition('?')[0]} model={self.model!r}>"


class _Rules:
    """The methods of `MockServer` and of what `MockServer.on` returns."""

    _server: _core.MockServer
    _model: str | None = None
    _contains: str | None = None
    _path: str | None = None

    def reply(
        self,
        *texts: str,
        tool_calls: Sequence[Mapping[str, Any]] | None = None,
        json: Any = None,
        reasoning: str | None = None,
        finish_reason: Literal["stop", "length", "tool_calls", "content_filter"] | None = None,
        usage: Mapping[str, Any] | None = None,
        vectors: Sequence[Sequence[float]] | None = None,
        chunks: int | None = None,
        body: bytes | str | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        times: int | None = None,
    ) -> Self:
        """Answers requests, each in its own format, plain or streamed as it asks.

        Args:
            texts: the text of the answer. Of several each is given once, in their order, and the last again and again.
            tool_calls: tool calls: mappings with ``name``, ``arguments`` (a mapping, or JSON as it is) and perhaps ``id``.
            json: an object that the answer's text is, as JSON, for calls with ``response_format``. A model of pydantic is
                dumped. With ``on(path=…)`` it is the whole body.
            reasoning: the readable reasoning.
            finish_reason: OpenAI's name for the reason; that of each format is derived from it.
            usage: token counts with OpenAI's names. Those left out are estimated by the length of the texts.
            vectors: vectors for embeddings, given to the texts of a request in turn. By default each text has one of its own.
            chunks: the number of pieces of a streamed text; by default each word is one.
            body: the whole body, in place of all of this, with ``status`` and ``headers``.
            times: the number of requests that this is for; by default all.
        """
        if body is not None or (json is not None and self._path is not None):
            content = _json(json) if body is None else body
            raw = content.encode() if isinstance(content, str) else bytes(content)
            fields = {"content-type": "application/json", **{k.lower(): str(v) for k, v in (headers or {}).items()}}
            return self._add({"kind": "raw", "status": _status(status, 200), "headers": fields}, times, raw)
        if finish_reason is not None and finish_reason not in FINISH_REASONS:
            raise InvalidArgumentError(f"finish_reason is {finish_reason!r}: one of {FINISH_REASONS} would be right")
        for text in texts:
            if not isinstance(text, str):
                raise InvalidArgumentError(
                    f"reply() takes texts, not {type(text).__name__}: reply(json=…) answers with an object"
                )
        common: dict[str, Any] = {}
        if tool_calls is not None:
            common["tool_calls"] = [_tool_call(call) for call in tool_calls]
        if json is not None:
            common["json"] = _plain(json)
        if vectors is not None:
            common["vectors"] = [[float(number) for number in vector] for vector in vectors]
        given = {"reasoning": reasoning, "finish_reason": finish_reason, "usage": usage, "chunks": chunks}
        common.update({name: value for name, value in given.items() if value is not None})
        answers = [{**common, "text": text} for text in texts] or [common]
        if times is None or len(answers) == 1:
            return self._add({"kind": "reply", "answers": answers}, times)
        raise InvalidArgumentError(f"times is for one text, and {len(texts)} were given")

    def fail(
        self,
        status: int = 500,
        message: str | None = None,
        *,
        code: str | None = None,
        retry_after: float | None = None,
        after_chunks: int = 0,
        times: int | None = None,
    ) -> Self:
        """Answers with an error, in the format of the request.

        Args:
            status: the status: 400 to 599.
            message: the error's message.
            code: the error's code, for formats that have one.
            retry_after: seconds that the client is told to wait.
            after_chunks: the number of chunks of a stream that come before the error, which is an event of the stream then, as
                an overloaded provider sends it; at the latest it comes in place of the last one. By default, and if the answer is
                no stream, the answer has the status.
            times: the number of requests that fail, before any is answered; by default all do, until the next `reply`.
        """
        effect = {
            "kind": "fail",
            "status": _status(status, 400),
            "message": message,
            "code": code,
            "retry_after": None if retry_after is None else _seconds("retry_after", retry_after),
            "after": _count("after_chunks", after_chunks),
        }
        return self._add(effect, times)

    def cut(self, after_chunks: int = 1, *, times: int | None = None) -> Self:
        """Closes the connection in the middle of the answer.

        Args:
            after_chunks: the number of chunks of a stream that are sent; with 0 there is no answer at all. An answer that
                is no stream is cut in its middle.
            times: the number of requests; by default all.
        """
        return self._add({"kind": "cut", "after": _count("after_chunks", after_chunks)}, times)

    def stall(self, after_chunks: int = 0, *, times: int | None = None) -> Self:
        """Stops sending, and keeps the connection open.

        Args:
            after_chunks: the number of chunks of a stream that are sent before; by default nothing is.
            times: the number of requests; by default all.
        """
        return self._add({"kind": "stall", "after": _count("after_chunks", after_chunks)}, times)

    def _add(self, effect: dict[str, Any], times: int | None, body: bytes = b"") -> Self:
        if times is not None and _count("times", times) == 0:
            raise InvalidArgumentError("times is 0: a number from 1 on would be right")
        self._server.add((self._model, self._contains, self._path), _json(effect).encode(), body, times)
        return self


class _Matching(_Rules):
    """The requests of a `MockServer` that match."""

    def __init__(self, server: _core.MockServer, model: str | None, contains: str | None, path: str | None) -> None:
        self._server, self._model, self._contains, self._path = server, model, contains, path


class MockServer(Intercepting, _Rules):
    """A server on this machine that answers like the providers, for tests.

    It knows the formats of OpenAI (chat, Responses, embeddings) and of all hosts that have it, Anthropic, Gemini and Vertex,
    Bedrock's Converse, Cohere and Ollama. It has a thread of its own.

    >>> from ritellm import completion
    >>> with MockServer() as server:
    ...     server.fail(429, retry_after=0, times=2)
    ...     server.reply("Hello!")
    ...     response = completion("anthropic/claude-sonnet-4-5", [{"role": "user", "content": "Hi"}])
    >>> response.choices[0].message.content, len(server.requests)
    ('Hello!', 3)

    Inside of ``with`` every connection that a client of this process opens leads to it, whatever its address, and keys that
    are missing are set to ``"test-key-…"`` in the environment: the program under test needs no change. The key is another one for
    each server, so that limits and pauses of one test do not hold in the next. Programs in any language can be given its ``url``
    in place of a provider's address.

    Of the rules that match a request, `fail`, `cut` and `stall` with ``times`` come first, in their order. Then come the
    answers: those of `on` before those for all requests, those with ``times`` before those without, and of those without
    the newest.

    Args:
        port: the port; by default any free one.
        keep: the number of requests that are kept for `requests`; older ones are forgotten.
        intercept: ``False`` leaves the other clients of this process alone: only `client` and `url` lead to the server.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, *, port: int = 0, keep: int = 10_000, intercept: bool = True) -> None:
        if not 0 <= _count("port", port) < 65_536:
            raise InvalidArgumentError(f"port is {port}: a number up to 65535 would be right")
        super().__init__()
        self._server = _core.MockServer(port, _count("keep", keep))
        self._is_intercepting = intercept
        self._keys.key = key_of_its_own()

    @property
    def url(self) -> str:
        """The address of the server: ``http://127.0.0.1:PORT``. Most OpenAI clients want ``url + "/v1"``."""
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def port(self) -> int:
        """The port of the server."""
        return self._server.port

    @property
    def requests(self) -> list[MockRequest]:
        """The requests so far, the oldest first; of a request that the client repeated, each attempt."""
        rows = self._server.requests()
        return [
            MockRequest(method, url if "://" in url else self.url + url, dict(headers), body, endpoint, model, at)
            for method, url, headers, body, endpoint, model, at in rows
        ]

    def client(self, provider: str | None = None, **settings: Any) -> Client:
        """Returns a client whose calls all go to this server.

        Args:
            provider: the one provider that the client is for: its ``base_url`` is the server's, with the path of the
                provider's own. By default calls of every provider keep their addresses, and are sent to the server.
            settings: settings of the client, as for `Client`.
        """
        if provider is not None:
            rows = {row["name"]: row for row in _core.providers()}
            if provider not in rows:
                raise InvalidArgumentError(
                    f"provider is {provider!r}, which is unknown: `ritellm providers` lists them"
                )
            settings.setdefault("base_url", self.url + urlsplit(str(rows[provider]["base_url"])).path)
        return Client(**{"api_key": self._keys.key, "_test_port": self._server.port, **settings})

    def on(self, *, model: str | None = None, contains: str | None = None, path: str | None = None) -> _Matching:
        """Returns the requests that match all of these, to be given rules of their own.

        >>> with MockServer() as server:
        ...     _ = server.on(model="gpt-4o*").reply("from a large model")
        ...     _ = server.on(contains="weather").reply(tool_calls=[{"name": "weather", "arguments": {"city": "Oslo"}}])
        ...     _ = server.on(path="/v1/models").reply(json={"object": "list", "data": []})

        Args:
            model: the model, as the provider knows it; a ``*`` at the end stands for anything.
            contains: a text in any string of the request.
            path: the end of the path. It need not be one that the server knows.
        """
        for name, value in (("model", model), ("contains", contains), ("path", path)):
            if value is not None and not isinstance(value, str):
                raise InvalidArgumentError(f"{name} is {type(value).__name__}: a string would be right")
        if model is None and contains is None and path is None:
            raise InvalidArgumentError("on() needs one of model, contains and path")
        return _Matching(self._server, model, contains, path)

    def latency(self, first: float = 0.0, chunk: float = 0.0) -> Self:
        """Lets answers take their time.

        Args:
            first: seconds before the first byte.
            chunk: seconds between two chunks of a stream.
        """
        self._server.latency(_seconds("first", first), _seconds("chunk", chunk))
        return self

    def limit(
        self,
        rpm: int | None = None,
        tpm: int | None = None,
        *,
        window: Literal["bucket", "minute", "in_flight"] = "bucket",
    ) -> Self:
        """Refuses with 429 what is more than a limit, and tells the limits in each provider's header fields.

        A request counts as many tokens as its body has characters, divided by 4, and its limit of output tokens if it has one.

        Args:
            rpm: requests a minute; with ``window="in_flight"`` requests at the same time.
            tpm: tokens a minute.
            window: ``"bucket"`` refills at a steady rate and holds a minute's worth; ``"minute"`` begins anew with each
                minute of the server; ``"in_flight"`` counts requests that are being answered.
        """
        if window not in WINDOWS:
            raise InvalidArgumentError(f"window is {window!r}: one of {WINDOWS} would be right")
        if rpm is None and tpm is None:
            raise InvalidArgumentError("limit() needs rpm or tpm")
        if tpm is not None and window == "in_flight":
            raise InvalidArgumentError("tpm is no limit of requests in flight: give rpm")
        if rpm is not None:
            self._server.limit(False, window, _count("rpm", rpm))
        if tpm is not None:
            self._server.limit(True, window, _count("tpm", tpm))
        return self

    def reset(self) -> None:
        """Forgets all rules, limits, latencies and requests."""
        self._server.reset()
        self._server.forget()

    def close(self) -> None:
        """Ends the server. Its requests can still be read."""
        self._close(True)

    def _begin(self) -> None:
        if self._is_intercepting:
            self._intercept(self._server.port, is_relay=False, keys=True)

    def _finish(self, is_done: bool) -> None:
        self._server.close()

    def __repr__(self) -> str:
        return f"<MockServer {self.url}, {self._server.count()} requests>"


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidArgumentError(f"{name} is {value!r}: a whole number from 0 on would be right")
    return value


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise InvalidArgumentError(f"{name} is {value!r}: a number of seconds would be right")
    return float(value)


def _status(value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= 599:
        raise InvalidArgumentError(f"status is {value!r}: a number from {least} to 599 would be right")
    return value


def _plain(value: Any) -> Any:
    """Returns a model of pydantic as a dict."""
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def _json(value: Any) -> str:
    try:
        return json.dumps(_plain(value), ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"the answer cannot be written as JSON: {error}") from None


def _tool_call(call: Mapping[str, Any]) -> dict[str, Any]:
    function: Any = call.get("function", call) if hasattr(call, "get") else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise InvalidArgumentError(
            f'a tool call is {type(call).__name__}: a mapping such as {{"name": "weather", "arguments": {{…}}}} would be right'
        )
    found = {"name": function["name"], "arguments": function.get("arguments", {})}
    return {"id": call["id"], **found} if "id" in call else found
