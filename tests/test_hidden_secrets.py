"""Secrets that a server repeats are hidden in errors, in every encoding."""

from __future__ import annotations

import base64
import html
import json
import pickle
import threading
import urllib.parse
from collections.abc import Callable
from typing import Any

import pytest
from server import MESSAGES, Answer, Close, Request, Server, chunk_of, event, plain, stream_of

import ritellm
from ritellm import Client, IncompleteStreamError, RiteLLMError

CANARY = "sk/Canary+0123456789_abcdefghijklm"


def escaped(form: str, text: str = CANARY) -> str:
    return "".join(form % ord(character) for character in text)


SPELLINGS: dict[str, str] = {
    "as it is": CANARY,
    "upper": CANARY.upper(),
    "escaped": escaped("\\u%04x"),
    "escaped in capitals": escaped("\\u%04X"),
    "escaped once": "\\u0073" + CANARY[1:],
    "escaped last": CANARY[:-1] + "\\u006d",
    "escaped twice": "\\\\u0073" + CANARY[1:].replace("/", "\\\\\\/"),
    "hexadecimal escapes": escaped("\\\\x%02x"),
    "of an address": urllib.parse.quote(CANARY, safe=""),
    "of an address, all of it": escaped("%%%02x"),
    "of an address in an address": escaped("%%25%02X"),
    "of a form": urllib.parse.quote_plus(CANARY),
    "entities": escaped("&#%d;"),
    "entities in hexadecimal": escaped("&#x%x;"),
    "base64": base64.b64encode(CANARY.encode()).decode(),
    "base64 for addresses": base64.urlsafe_b64encode(CANARY.encode()).decode().rstrip("="),
    "base64 of two": base64.b64encode(f"user:{CANARY}".encode()).decode(),
    "base64 of a header": base64.b64encode(f"Bearer {CANARY}\r\n".encode()).decode(),
    "base64 twice": base64.b64encode(base64.b64encode(f"Bearer {CANARY}".encode())).decode(),
    "base64 of an address": base64.b64encode(urllib.parse.quote(CANARY, safe="").encode()).decode(),
    "base64 of escapes": base64.b64encode(escaped("\\u%04x").encode()).decode(),
    "hexadecimal": CANARY.encode().hex(),
}
PLACES: dict[str, str] = {
    "message": '{"error": {"message": "bad key %s, sorry"}}',
    "code": '{"error": {"message": "no", "code": "%s", "type": "%s"}}',
    "name": '{"error": {"message": "no", "%s": 1}}',
    "beside NaN": '{"error": {"message": "no", "n": NaN, "k": "%s"}}',
    "beside infinity": '{"error": {"message": "no", "n": 1e999, "k": "%s"}}',
    "beside half a pair": '{"error": {"message": "\\ud800", "k": "%s"}}',
    "beside what is not UTF-8": '{"error": {"message": "\xff"}, "k": "%s"}',
    "beside deep nesting": '{"error": {"message": "no"}, "deep": ' + "[" * 300 + "]" * 300 + ', "k": "%s"}',
    "no JSON": "<p>%s</p>",
    "cut off": '{"error": {"message": "%s',
    "in a long line": "x" * 280 + "%s" + "y" * 1000,
    "beyond an excerpt": "<p> " + "word " * 55 + "%s" + "z" * 3000,
}


def shown(error: BaseException) -> str:
    """Everything that there is to see of an error."""
    pickled = repr(pickle.loads(pickle.dumps(error)).__dict__)
    return f"{error!r} {error} {vars(error)} {pickled} {getattr(error, 'completion', None)}"


def check(error: BaseException, secret: str = CANARY, *spellings: str) -> None:
    seen = shown(error)
    # The beginning too: what was cut off may be guessed.
    for text in (text for text in (secret, secret[:10], secret[4:-1], *spellings) if len(text) > 2):
        assert text.lower() not in seen.lower(), seen[:2000]


def failing(call: Callable[[], Any]) -> RiteLLMError:
    with pytest.raises(RiteLLMError) as caught:
        call()
    return caught.value


@pytest.fixture
def ask(server: Server) -> Callable[..., Any]:
    """A call with the canary as its key."""
    client = Client(api_key=CANARY, base_url=server.base_url, max_retries=0)
    return lambda **params: client.completion("openai/m", MESSAGES, **params)


@pytest.mark.parametrize("status", [401, 200])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_in_a_body(server: Server, ask: Callable[..., Any], spelling: str, status: int) -> None:
    for place, body in PLACES.items():
        text = body.replace("%s", SPELLINGS[spelling])
        server.answer(Answer(status, {"content-type": "application/json"}, text.encode("latin-1")))
        error = None
        try:
            ask()
        except RiteLLMError as raised:
            error = raised
        if status == 401 or place in ("no JSON", "cut off"):
            assert error is not None
        if error is not None:
            check(error, CANARY, SPELLINGS[spelling])


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_in_headers_and_events(server: Server, ask: Callable[..., Any], spelling: str) -> None:
    text = SPELLINGS[spelling]
    headers = [("x-request-id", text), ("x-echo", f"<{text}>"), ("retry-after", text)]
    server.answer(Answer(429, headers, b"{}"))
    check(failing(ask), CANARY, text)
    for body in PLACES.values():
        data = body.replace("%s", text).encode("latin-1")
        server.answer(stream_of(event(chunk_of({"content": "Hi"})), event(data), headers=headers))
        check(failing(lambda: list(ask(stream=True))), CANARY, text)


def test_in_the_headers_of_an_answer(server: Server, ask: Callable[..., Any]) -> None:
    server.answer(Answer(200, [("x-request-id", CANARY), ("x-echo", SPELLINGS["base64"])], plain().body))
    meta = ask().meta
    seen = f"{meta!r} {meta.headers} {meta.request_id} {pickle.dumps(meta)!r}"
    assert CANARY not in seen and SPELLINGS["base64"] not in seen
    assert meta.headers["x-echo"] == "***"


def test_a_successful_answer_is_not_rewritten(server: Server, ask: Callable[..., Any]) -> None:
    server.answer(plain(f"it is {CANARY}"))
    assert ask().choices[0].message.content == f"it is {CANARY}"


@pytest.mark.parametrize("cut", [9, 20, len(CANARY)])
def test_in_the_completion_of_a_stream_that_broke_off(server: Server, ask: Callable[..., Any], cut: int) -> None:
    """The key comes in pieces, of which none is it."""
    pieces = [event(chunk_of({"content": piece})) for piece in ("it is ", CANARY[:5], CANARY[5:cut])]
    server.answer(stream_of(*pieces, Close()))
    error = failing(lambda: list(ask(stream=True)))
    assert isinstance(error, IncompleteStreamError)
    assert error.completion.choices[0].message.content == "it is ***"
    check(error)


def test_a_long_body_is_kept_in_part(server: Server, ask: Callable[..., Any]) -> None:
    start = (1 << 20) - 20
    server.answer(Answer(500, {"content-type": "text/plain"}, b"x" * start + CANARY.encode() + b"y" * 4_000_000))
    error = failing(ask)
    assert error.body == "x" * start + "***"


def test_an_honest_body_is_whole(server: Server, ask: Callable[..., Any]) -> None:
    said = {"error": {"message": "größe \\ 100% & <b> \u2028 %41", "param": "a\\u0041", "n": [1, 2.5, None]}}
    server.answer(Answer(400, {"content-type": "application/json"}, json.dumps(said).encode()))
    error = failing(ask)
    assert error.body == said
    assert error.message.endswith(said["error"]["message"])


USER, PASSWORD = "user-canary", "pw-canary-0123456789"
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@pytest.mark.parametrize(
    ("params", "secrets"),
    [
        ({"extra_headers": {"Authorization": f"Basic {BASIC}"}}, [BASIC, PASSWORD, USER]),
        ({"extra_headers": {"Authorization": f"Bearer {CANARY}"}}, [CANARY]),
        ({"extra_headers": {"authorization": "Token user:0fedcba98765"}}, ["0fedcba98765"]),
        (
            {"extra_headers": {"Authorization": 'Digest username="u", nonce="abcdef1234", response="9876543210"'}},
            ["abcdef1234", "9876543210"],
        ),
        ({"extra_headers": {"Cookie": "a=b; session=abc123def; csrf=xyz987uvw"}}, ["abc123def", "xyz987uvw"]),
        ({"extra_headers": {"Proxy-Authorization": f"Basic {BASIC}"}}, [BASIC, PASSWORD]),
        ({"extra_headers": {"x-my-secret": "tiny77"}}, ["tiny77"]),
        ({"extra_headers": {"x-subscription-key": "0123abcd"}}, ["0123abcd"]),
        ({"extra_headers": {"x-tenant": "whatever-it-is-1234"}}, ["whatever-it-is-1234"]),
        ({"extra_query": {"key": "AIza-canary"}}, ["AIza-canary"]),
        ({"extra_query": {"sig": "a+b/c=canary", "se": "2030"}}, ["a+b/c=canary", "a%2Bb%2Fc%3Dcanary"]),
        ({"extra_body": {"credentials": {"api_key": "body-canary"}}}, ["body-canary"]),
        (
            {"tools": [{"type": "mcp", "authorization": "mcp-canary", "headers": {"X-Key": "key-canary"}}]},
            ["mcp-canary"],
        ),
        ({"mcp_servers": [{"authorization_token": "mcp-canary"}]}, ["mcp-canary"]),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_counts_as_a_secret(server: Server, params: dict[str, Any], secrets: list[str], stream: bool) -> None:
    said = json.dumps({"error": {"message": " and ".join(secrets)}})
    server.answer(Answer(403, {"content-type": "application/json", "x-echo": " ".join(secrets)}, said.encode()))
    common: dict[str, Any] = {"base_url": server.base_url, "max_retries": 0, "stream": stream}
    error = failing(lambda: ritellm.completion("openai_compatible/m", MESSAGES, **params, **common))
    for secret in secrets:
        check(error, secret)
    if headers := params.get("extra_headers"):
        client = Client(headers=headers, base_url=server.base_url, max_retries=0)
        for secret in secrets:
            check(failing(lambda: client.completion("openai_compatible/m", MESSAGES)), secret)


def test_what_is_no_secret_is_shown(server: Server) -> None:
    said = "x-request-id my-request-0001, api-version 2024-10-21-preview, user agent programme/1.0 of it"
    server.answer(Answer(400, {"x-request-id": "my-request-0001"}, json.dumps({"error": {"message": said}}).encode()))
    error = failing(
        lambda: ritellm.completion(
            "openai_compatible/m",
            MESSAGES,
            base_url=server.base_url,
            max_retries=0,
            extra_headers={"x-request-id": "my-request-0001", "user-agent": "programme/1.0 of it"},
            extra_query={"api-version": "2024-10-21-preview"},
        )
    )
    assert error.message.endswith(said) and error.request_id == "my-request-0001"


@pytest.mark.parametrize("way", ["setting", "HTTP_PROXY", "all_proxy"])
def test_a_proxy_s_password(server: Server, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    def script(request: Request) -> Answer:
        sent = request.headers["proxy-authorization"]
        said = f"no: {sent} {base64.b64decode(sent.split()[1]).decode()}"
        return Answer(407, {"content-type": "text/plain", "x-echo": said}, said.encode())

    server.script = script
    proxy = f"http://{USER}:{urllib.parse.quote(PASSWORD + '/+', safe='')}@127.0.0.1:{server.port}"
    if way != "setting":
        monkeypatch.setenv(way, proxy)
    client = Client(proxy=proxy) if way == "setting" else Client()
    arguments: dict[str, Any] = {"base_url": "http://models.invalid/v1", "max_retries": 0}
    for call in (
        lambda: client.completion("openai_compatible/m", MESSAGES, **arguments),
        lambda: client.completion("openai_compatible/m", MESSAGES, stream=True, **arguments),
    ):
        error = failing(call)
        assert error.status_code == 407
        check(error, PASSWORD, base64.b64encode(f"{USER}:{PASSWORD}/+".encode()).decode())


def test_a_reason_phrase_and_a_finish_reason(server: Server, ask: Callable[..., Any]) -> None:
    server.answer(Answer(before=[f"HTTP/1.1 401 {CANARY}\r\ncontent-length: 2\r\n\r\n{{}}".encode(), Close()]))
    check(failing(ask))
    server.answer(stream_of(event(chunk_of({"content": "Hi"}, finish_reason=CANARY)), event(b'{"error": "x"}')))
    check(failing(lambda: list(ask(stream=True))))


def test_many_at_once(server: Server, ask: Callable[..., Any]) -> None:
    """Errors are made on the network thread and hidden there, and for each call its own key."""
    server.script = lambda request: Answer(401, {}, html.escape(request.headers["authorization"]).encode())
    errors: dict[str, RiteLLMError] = {}

    def one(key: str) -> None:
        errors[key] = failing(lambda: ask(api_key=key))

    keys = [f"sk-canary-number-{number:03}-of-many" for number in range(16)]
    threads = [threading.Thread(target=one, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for key in keys:
        assert key not in shown(errors[key])
