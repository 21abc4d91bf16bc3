"""Tests that keys are never shown, and only sent to their own provider."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import providers
import pytest
from conftest import Call, RunProgram
from server import (
    KEY,
    MESSAGES,
    Answer,
    Close,
    Piece,
    Request,
    Reset,
    Server,
    chunk_of,
    dumped,
    event,
    plain,
    stream_of,
)

import ritellm
from ritellm import APIConnectionError, AuthenticationError, Client, InvalidArgumentError, Timeout

CANARY = "canary/0123456789+abcdefghijklmnop=="
"""Has characters that JSON, addresses and regular expressions treat specially."""

ESCAPED = CANARY.replace("/", "\\/")


def repeated(status: int, *, stream: bool = False) -> Callable[[Request], Answer]:
    """A server that says everything that it was sent, in body, headers and stream."""

    def script(request: Request) -> Answer:
        # Some libraries write "\\/" for a slash.
        said = json.dumps(dict(request.raw_headers))
        message = {"message": said, "code": CANARY, "type": CANARY, "param": request.target}
        body = dumped({"error": message, "message": said}).replace(b"/", b"\\/")
        headers = [("x-request-id", f"id-{CANARY}"), ("x-echo", said.replace("\n", " "))]
        if stream:
            pieces: list[Piece] = [event({**chunk_of({"content": "Hi"}), "said": 1}), event(body)]
            return stream_of(*pieces, headers=headers)
        if status == 200:
            return Answer(status, headers, plain().body)
        return Answer(status, headers, body)

    return script


# Makes calls that fail, and prints everything there is to print about each: what is printed is searched for the key.
PROGRAM = """
import asyncio, copy, logging, os, pickle, sys, traceback, warnings
from ritellm import Client, acompletion, completion
import ritellm

class Everything(logging.Formatter):
    def format(self, record):
        return f"{record.name} {record.levelname} {record.getMessage()} {vars(record)}"
handler = logging.StreamHandler(sys.stderr)
handler.setFormatter(Everything())
logging.basicConfig(level=1, handlers=[handler])
warnings.simplefilter("always")
MESSAGES = [{"role": "user", "content": "Hi"}]
URL = sys.argv[1]
COMMON = dict(max_retries=1, timeout={"total": 20})
WAYS = {
    "openai": lambda: dict(api_key=os.environ["CANARY"], base_url=URL + "/v1"),
    "anthropic": lambda: dict(api_key=os.environ["CANARY"], base_url=URL),
    "gemini": lambda: dict(api_key=os.environ["CANARY"], base_url=URL),
    "cohere": lambda: dict(api_key=os.environ["CANARY"], base_url=URL),
    "azure": lambda: dict(azure_ad_token=os.environ["CANARY"], base_url=URL),
    "ollama": lambda: dict(api_key=os.environ["CANARY"], base_url=URL),
    "groq": lambda: dict(extra_headers={"Authorization": "Bearer " + os.environ["CANARY"]}, api_key="unused", base_url=URL),
    "vertex": lambda: dict(api_key=os.environ["CANARY"], vertex_project="p", base_url=URL),
    "bedrock": lambda: dict(
        aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key=os.environ["CANARY"],
        aws_session_token=os.environ["CANARY"], aws_region_name="us-east-1", base_url=URL,
    ),
}

def show(error):
    shown.append(type(error).__name__)
    print("error:", str(error), repr(error), error.args, vars(error), getattr(error, "__notes__", None))
    print("traceback:", "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format()))
    print("pickled:", pickle.dumps(error), repr(pickle.loads(pickle.dumps(error))), repr(copy.copy(error)))

def show_meta(response):
    print("meta:", repr(response.meta), response.meta.headers, response.meta.request_id, pickle.dumps(response.meta))

def plain(provider):
    response = completion(provider + "/m", MESSAGES, **WAYS[provider](), **COMMON)
    show_meta(response)

async def aplain(provider):
    show_meta(await acompletion(provider + "/m", MESSAGES, **WAYS[provider](), **COMMON))

def stream(provider):
    chunks = completion(provider + "/m", MESSAGES, stream=True, **WAYS[provider](), **COMMON)
    print(repr(chunks), repr(chunks.meta), chunks.meta.headers)
    for chunk in chunks:
        pass

async def astream(provider):
    chunks = await acompletion(provider + "/m", MESSAGES, stream=True, **WAYS[provider](), **COMMON)
    show_meta(chunks)
    async for chunk in chunks:
        pass

shown = []
for provider in sys.argv[2].split(","):
    for way in (plain, aplain, stream, astream):
        try:
            asyncio.run(way(provider)) if way in (aplain, astream) else way(provider)
        except Exception as error:
            show(error)
from urllib.parse import quote
client = Client(api_key=os.environ["CANARY"], base_url=URL + "/v1", proxy="http://user:" + quote(os.environ["CANARY"], safe="") + "@127.0.0.1:1")
print(repr(client), str(client), client.stats(), vars(client) if hasattr(client, "__dict__") else "")
try:
    print(pickle.dumps(client))
except TypeError as error:
    print(error)
try:
    client.completion("openai/m", MESSAGES, max_retries=0)
except Exception as error:
    show(error)
print(ritellm.stats())
print(len(shown), "shown", sorted(set(shown)))
"""

PROVIDERS = ["openai", "anthropic", "gemini", "cohere", "azure", "ollama", "groq", "vertex", "bedrock"]


class TestCanary:
    """A key that every error path has held, looked for in everything that the process wrote."""

    @pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 422, 429, 500, 503])
    def test_a_server_that_repeats_what_it_was_sent(self, run_program: RunProgram, server: Server, status: int) -> None:
        server.script = repeated(status)
        program = run_program(PROGRAM, server.url, ",".join(PROVIDERS), CANARY=CANARY)
        self.check(program, server, at_least=0 if status == 200 else 36)

    def test_an_error_in_the_stream(self, run_program: RunProgram, server: Server) -> None:
        server.script = repeated(200, stream=True)
        program = run_program(PROGRAM, server.url, ",".join(PROVIDERS), CANARY=CANARY)
        self.check(program, server, at_least=18)

    @pytest.mark.parametrize(
        "answer",
        [
            Answer(before=[Close()]),
            Answer(before=[Reset()]),
            Answer(body=CANARY.encode()),
            Answer(body=[b'{"choices": [{"message": ', Close()]),
            Answer(307, [("location", f"http://other.test/{CANARY}?key={CANARY}")]),
            Answer(before=[f"HTTP/1.1 {CANARY}\r\n\r\n".encode(), Close()]),
        ],
        ids=["closed", "reset", "no JSON", "cut off", "redirected", "no HTTP"],
    )
    def test_a_server_that_fails(self, run_program: RunProgram, server: Server, answer: Answer) -> None:
        server.answer(answer)
        program = run_program(PROGRAM, server.url, ",".join(PROVIDERS), CANARY=CANARY)
        self.check(program, server, at_least=36)

    def check(self, program: Any, server: Server, at_least: int) -> None:
        written = program.output + program.errors
        assert program.code == 0, written[-2000:]
        sent = "".join(value for request in server.requests for _, value in request.raw_headers)
        assert CANARY in sent, "the key was not even sent"
        for form in (CANARY, ESCAPED, repr(CANARY)[1:-1], json.dumps(CANARY)[1:-1]):
            place = written.find(form)
            assert place < 0, f"shown: …{written[max(0, place - 1500) : place + 100]}"
        assert int(program.output.splitlines()[-1].split()[0]) > at_least
        assert "ritellm DEBUG" in program.errors

    def test_bad_arguments(self, call: Call) -> None:
        for params in (
            {"api_key": f"{KEY}\r\nx-evil: 1"},
            {"api_key": f"{KEY}\n"[:-1] + "\x00"},
            {"extra_headers": {"authorization": f"Bearer {KEY}\r\n\r\nGET / HTTP/1.1"}},
            {"extra_headers": {f"x-{KEY}\r\n": "1"}},
            {"api_key": KEY.encode()},
            {"extra_query": {"key": object(), "other": KEY}},
        ):
            with pytest.raises(InvalidArgumentError) as caught:
                call(**params)
            if "x-" not in str(next(iter(params.values()))):
                assert KEY not in str(caught.value)


class TestInjection:
    """Nothing that a caller gives turns into a header, a request or an address of its own."""

    @pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\r", "a\x00b"])
    @pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini", "cohere", "azure", "ollama"])
    def test_a_key(self, server: Server, provider: str, value: str) -> None:
        with pytest.raises(InvalidArgumentError, match="api_key"):
            ritellm.completion(f"{provider}/m", MESSAGES, api_key=f"sk-{value}", base_url=server.url)
        assert server.requests == []

    @pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\x00b"])
    def test_a_header(self, server: Server, value: str) -> None:
        for headers in ({"x-a": value}, {value: "x"}, {"x-a": value.encode()}):
            with pytest.raises(InvalidArgumentError, match="headers"):
                ritellm.completion("openai/m", MESSAGES, api_key="k", base_url=server.url, extra_headers=headers)
            with pytest.raises(InvalidArgumentError, match="headers"):
                Client(headers=headers)
        assert server.requests == []

    @pytest.mark.parametrize(
        "name",
        ["../../v2/other", "m?key=1&x=2", "m#part", "m HTTP/1.1\r\nx-evil: 1\r\n", "m\nb", "@evil.test/m", "m%2e%2e"],
    )
    @pytest.mark.parametrize("provider", ["gemini", "vertex", "azure", "bedrock"])
    def test_a_model_in_a_path(self, server: Server, provider: str, name: str) -> None:
        server.script = lambda request: Answer(400, body=b"{}")
        settings: dict[str, Any] = {
            "vertex": {"vertex_project": "p"},
            "azure": {"api_version": "2024-10-21"},
            "bedrock": {"aws_region_name": "us-east-1"},
        }.get(provider, {})
        try:
            ritellm.completion(
                f"{provider}/{name}", MESSAGES, api_key="k", base_url=server.url, max_retries=0, **settings
            )
        except InvalidArgumentError:
            assert server.requests == []
            return
        except ritellm.APIStatusError:
            pass
        (request,) = server.requests
        assert "x-evil" not in request.headers
        assert set(request.query) <= {"api-version"}
        assert "#" not in request.target and "evil.test" not in request.headers["host"]

    @pytest.mark.parametrize(
        "name",
        [
            "..",
            ".",
            "../x",
            "a/../b",
            "a/./b",
            "a\\..\\b",
            "%2e%2e/x",
            "a%2F..%2fb",
            "%252e%252E/x",
            "a/%25252e%25252e",
            "a/..;x",
        ],
    )
    @pytest.mark.parametrize(
        ("model", "settings"),
        [
            ("openai/m", {}),
            ("azure/m", {"api_version": "2024-10-21"}),
            *providers.chats(),
        ],
    )
    def test_a_model_with_dot_segments(self, server: Server, model: str, settings: dict[str, Any], name: str) -> None:
        common: dict[str, Any] = {"api_key": "k", "base_url": server.url, "max_retries": 0, **settings}
        with pytest.raises(InvalidArgumentError, match="slashes"):
            ritellm.completion(f"{model.removesuffix('m')}{name}", MESSAGES, **common)
        with pytest.raises(InvalidArgumentError, match="slashes"):
            ritellm.completion(model, MESSAGES, extra_body={"model": name}, **common)
        assert server.requests == []

    @pytest.mark.parametrize("value", ["..", "p/../../q", "%2e%2e", "a/%2e/b"])
    def test_other_names_with_dot_segments(self, server: Server, value: str) -> None:
        for model, settings in [
            ("vertex/m", {"vertex_project": value}),
            ("vertex/m", {"vertex_project": "p", "vertex_location": value}),
            ("azure/m", {"api_version": value}),
            ("openai/m", {"base_url": f"{server.url}/{value}/v1"}),
        ]:
            common = {"base_url": server.url, "api_key": "k", "max_retries": 0, **settings}
            with pytest.raises(InvalidArgumentError):
                ritellm.completion(model, MESSAGES, **common)
        assert server.requests == []

    def test_slashes_and_dots_of_model_names(self, server: Server) -> None:
        for name in ("meta-llama/Llama-3.1-8B", "a/b/c", "gpt-4.1", "org/.hidden", "a..b/c...", "50%/x"):
            server.answer(plain())
            ritellm.completion(f"openai/{name}", MESSAGES, api_key="k", base_url=server.base_url)
            assert server.last.json["model"] == name

    @pytest.mark.parametrize("place", ["evil.test/", "evil.test#", "a@evil.test", "x.evil.test?", "us east", "a\r\nb"])
    def test_a_place_in_a_host_name(self, place: str) -> None:
        for model, settings in {
            "bedrock/anthropic.claude": {"aws_region_name": place},
            "vertex/gemini": {"vertex_location": place, "vertex_project": "p"},
        }.items():
            with pytest.raises(InvalidArgumentError):
                ritellm.completion(model, MESSAGES, api_key="k", max_retries=0, **settings)

    def test_a_query(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain())
        call(extra_query={"a&b": "1\r\nx: y", "c": "é#?"})
        assert at_openai.last.query == {"a&b": "1\r\nx: y", "c": "é#?"}


class TestWhereKeysGo:
    def test_plain_http_to_another_machine(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        """192.0.2.1 is for documentation: nobody is there."""
        for params in ({}, {"stream": True}):
            with pytest.raises(InvalidArgumentError) as caught:
                call(base_url="http://192.0.2.1/v1", api_key=KEY, **params)
            for word in ("base_url", "http://", "192.0.2.1", "allow_http"):
                assert word in caught.value.message
            assert KEY not in str(caught.value)
        monkeypatch.setenv("OPENAI_BASE_URL", "http://models.example/v1")
        with pytest.raises(InvalidArgumentError, match="allow_http"):
            call()

    def test_a_header_is_a_key_too(self, call: Call) -> None:
        with pytest.raises(InvalidArgumentError, match="allow_http"):
            call(
                model="openai_compatible/m",
                base_url="http://192.0.2.1/v1",
                extra_headers={"Authorization": f"Bearer {KEY}"},
            )

    @pytest.mark.parametrize("way", ["call", "client"])
    def test_allowed(self, call: Call, way: str) -> None:
        params: dict[str, Any] = {"base_url": "http://192.0.2.1/v1", "api_key": KEY}
        params |= {"max_retries": 0, "timeout": {"connect": 0.2}}
        if way == "client":
            params["client"] = Client(allow_http=True)
        else:
            params["allow_http"] = True
        with pytest.raises((APIConnectionError, Timeout)):
            call(**params)

    def test_without_a_key_there_is_nothing_to_protect(self, call: Call) -> None:
        with pytest.raises((APIConnectionError, Timeout)):
            call(
                model="openai_compatible/m",
                base_url="http://192.0.2.1/v1",
                max_retries=0,
                timeout={"connect": 0.2},
                extra_headers={"x-trace": "1"},
            )

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1.2.3", "[::1]"])
    def test_this_machine(self, call: Call, host: str) -> None:
        with pytest.raises(APIConnectionError):
            call(base_url=f"http://{host}:1/v1", api_key=KEY, max_retries=0)

    @pytest.mark.parametrize("host", ["localhost.evil.test", "127.0.0.1.evil.test", "0x7f.1.evil.test", "[::2]"])
    def test_what_only_looks_like_this_machine(self, call: Call, host: str) -> None:
        with pytest.raises(InvalidArgumentError, match="allow_http"):
            call(base_url=f"http://{host}/v1", api_key=KEY, max_retries=0)

    def test_a_key_of_the_environment_at_another_providers(self, call: Call) -> None:
        with pytest.raises(AuthenticationError, match="groq"):
            call(base_url="https://api.groq.com/openai/v1")

    @pytest.mark.parametrize("allowed", [False, True])
    def test_what_credentials_are_asked_for_with(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: bool
    ) -> None:
        """Refresh tokens and web identity tokens. 127.1 is this machine, which the rule does not know."""
        server.script = lambda request: Answer(400, {}, b'{"error": "invalid_grant"}')
        elsewhere = server.url.replace("127.0.0.1", "127.1")
        account = {"type": "authorized_user", "client_id": "c", "client_secret": KEY, "refresh_token": KEY}
        (tmp_path / "token").write_text(KEY)
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
        monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/r")
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", elsewhere)
        vertex = {"vertex_credentials": json.dumps({**account, "token_uri": f"{elsewhere}/t"}), "vertex_project": "p"}
        role = {"aws_access_key_id": "AKID", "aws_secret_access_key": KEY, "aws_role_name": "arn:aws:iam::1:role/r"}
        for model, settings in [
            ("vertex/m", vertex),
            ("bedrock/m", {"aws_region_name": "us-east-1"}),
            ("bedrock/m", {"aws_region_name": "us-east-1", **role}),
        ]:
            before = len(server.requests)
            with pytest.raises(ritellm.RiteLLMError) as caught:
                ritellm.completion(model, MESSAGES, max_retries=0, allow_http=allowed, **settings)
            assert KEY not in str(caught.value)
            if allowed:
                assert len(server.requests) > before
            else:
                assert len(server.requests) == before and "allow_http" in str(caught.value)

    def test_a_client_s_key_is_for_its_address(self, server: Server) -> None:
        other = Server()
        other.answer(plain())
        client = Client(api_key=KEY, base_url=server.base_url)
        client.completion("openai_compatible/m", MESSAGES, base_url=other.base_url)
        assert "authorization" not in other.last.headers
        other.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import trustme

    folder = tmp_path_factory.mktemp("authorities")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    trustme.CA().cert_pem.write_to_path(str(folder / "another.pem"))
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    authority.issue_cert("elsewhere.test").private_key_and_cert_chain_pem.write_to_path(str(folder / "elsewhere.pem"))
    (folder / "empty.pem").write_text("")
    (folder / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    return folder


TLS_SERVER = """
import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        body = b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
"""


class TestTrust:
    """``ca_bundle`` and ``verify``, at a server whose authority nobody knows."""

    @pytest.fixture(params=["server", "elsewhere"])
    def url(self, certificates: Path, request: pytest.FixtureRequest) -> Any:
        command = [sys.executable, "-c", TLS_SERVER, str(certificates / f"{request.param}.pem")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        yield request.param, f"https://localhost:{process.stdout.readline().strip()}/v1"
        process.kill()
        process.wait()
        process.stdout.close()

    def test_whose_certificates_are_believed(self, certificates: Path, url: tuple[str, str]) -> None:
        name, address = url

        def ask(**settings: Any) -> str:
            client = Client(api_key=KEY, base_url=address, max_retries=0, **settings)
            content: str = client.completion("openai/m", MESSAGES).choices[0].message.content
            return content

        for settings in ({}, {"verify": True}, {"ca_bundle": certificates / "another.pem"}):
            with pytest.raises(APIConnectionError, match="certificate"):
                ask(**settings)
        if name == "server":
            assert ask(ca_bundle=certificates / "authority.pem") == "Hi"
            assert ask(ca_bundle=os.fspath(certificates / "authority.pem"), verify=True) == "Hi"
        else:
            with pytest.raises(APIConnectionError, match="certificate"):
                ask(ca_bundle=certificates / "authority.pem")
        assert ask(verify=False) == "Hi"
        # It was that client's word, and no other's.
        with pytest.raises(APIConnectionError, match="certificate"):
            ask()

    def test_what_cannot_be_used(self, certificates: Path) -> None:
        for settings, words in [
            ({"ca_bundle": certificates / "absent.pem"}, ("ca_bundle", "absent.pem")),
            ({"ca_bundle": certificates / "empty.pem"}, ("ca_bundle", "no certificate")),
            ({"ca_bundle": certificates / "broken.pem"}, ("ca_bundle", "broken.pem")),
            ({"ca_bundle": 5}, ("ca_bundle", "int")),
            ({"verify": "no"}, ("verify", "str")),
            ({"verify": False, "ca_bundle": certificates / "authority.pem"}, ("verify", "ca_bundle")),
            ({"allow_http": 1}, ("allow_http", "int")),
        ]:
            with pytest.raises(InvalidArgumentError) as caught:
                Client(**settings)  # type: ignore[arg-type]
            for word in words:
                assert word in caught.value.message


class TestProxy:
    def test_it_gets_what_the_client_sends(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        server.answer(plain())
        proxy = f"http://user:{KEY}@127.0.0.1:{server.port}"
        client = Client(proxy=proxy, api_key="sk-other-key", base_url="http://models.example/v1", allow_http=True)
        assert client.completion("openai/m", MESSAGES).choices[0].message.content == "Hello!"
        assert server.last.target == "http://models.example/v1/chat/completions"
        assert server.last.headers["proxy-authorization"].startswith("Basic ")

    @pytest.mark.parametrize(
        "proxy",
        [
            "ftp://host",
            "host:80",
            "socks4://host",
            "http://host:x",
            "",
            f"http://user:{KEY}@",
            f"http://user:{KEY}/x@host:1",
            3,
        ],
    )
    def test_what_is_none(self, proxy: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="proxy") as caught:
            Client(proxy=proxy)
        assert KEY not in str(caught.value)

    def test_its_password_is_not_shown(self, call: Call) -> None:
        client = Client(proxy=f"http://user:{KEY}@127.0.0.1:1", max_retries=0, allow_http=True)
        with pytest.raises(APIConnectionError, match="proxy") as caught:
            call(client=client, base_url="http://models.example/v1", api_key="sk-other-key")
        assert KEY not in str(caught.value) and "user" not in str(caught.value)
