"""Tests of proxies from the environment; the scripted server acts as the proxy."""

from __future__ import annotations

import base64

import pytest
from server import KEY, MESSAGES, Answer, Server, completion_of, free_port, plain, streamed

from ritellm import APIConnectionError, Client, InvalidArgumentError

ELSEWHERE = "http://provider.invalid/v1"


@pytest.fixture
def proxy(server: Server) -> Server:
    server.answer(plain())
    return server


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_http_goes_to_the_proxy_with_its_whole_address(
    proxy: Server, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, proxy.url)
    client = Client(base_url=ELSEWHERE, api_key=KEY, allow_http=True)
    assert client.completion("openai/m", MESSAGES) == completion_of()
    assert client.completion("openai/m", MESSAGES) == completion_of()
    request = proxy.last
    assert request.target == f"{ELSEWHERE}/chat/completions"
    assert request.headers["host"] == "provider.invalid"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert proxy.connections == 1


def test_its_password(proxy: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//user:pass%20word@"))
    Client(base_url=ELSEWHERE, api_key=KEY, allow_http=True).completion("openai/m", MESSAGES)
    expected = base64.b64encode(b"user:pass word").decode()
    assert proxy.last.headers["proxy-authorization"] == f"Basic {expected}"


def test_a_stream(proxy: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy.answer(streamed("Hi"))
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    assert (
        len(
            list(Client(base_url=ELSEWHERE, api_key=KEY, allow_http=True).completion("openai/m", MESSAGES, stream=True))
        )
        == 3
    )


@pytest.mark.parametrize(
    "value", ["provider.invalid", ".invalid", "a.example,provider.invalid", "*", "x Provider.Invalid:80"]
)
def test_no_proxy(proxy: Server, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", value)
    with pytest.raises(APIConnectionError):
        Client(base_url=ELSEWHERE, api_key=KEY, allow_http=True, max_retries=0, timeout=60).completion(
            "openai/m", MESSAGES
        )
    assert proxy.requests == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_on_this_machine_is_not_behind_a_proxy(
    server: Server, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    server.answer(plain())
    other = Server()
    monkeypatch.setenv("HTTP_PROXY", other.url)
    client = Client(base_url=server.base_url.replace("127.0.0.1", host), api_key=KEY)
    assert client.completion("openai/m", MESSAGES) == completion_of()
    assert other.requests == []
    other.close()


def test_https_goes_through_a_tunnel(proxy: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//user:s3cret-word@"))
    proxy.answer(Answer(407, body=b"no"))
    client = Client(base_url=ELSEWHERE.replace("http", "https"), api_key=KEY, max_retries=0)
    with pytest.raises(APIConnectionError, match="proxy") as caught:
        client.completion("openai/m", MESSAGES)
    assert (proxy.last.method, proxy.last.target) == ("CONNECT", "provider.invalid:443")
    # The key is for the provider alone.
    assert KEY not in repr(proxy.last)
    assert "s3cret-word" not in str(caught.value) + repr(vars(caught.value))


def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("HTTP_PROXY", f"http://user:s3cret-word@127.0.0.1:{port}")
    with pytest.raises(APIConnectionError, match=f"through the proxy 127.0.0.1:{port}") as caught:
        Client(base_url=ELSEWHERE, api_key=KEY, allow_http=True, max_retries=0).completion("openai/m", MESSAGES)
    assert "s3cret-word" not in str(caught.value) + repr(vars(caught.value))


@pytest.mark.parametrize(
    "value", ["socks4://user:s3cret-word@127.0.0.1:1", "ftp://s3cret-word", "http://s3cret-word:x"]
)
def test_a_variable_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", value)
    client = Client(base_url=ELSEWHERE, api_key=KEY, allow_http=True)
    with pytest.raises(InvalidArgumentError, match="HTTP_PROXY") as caught:
        client.completion("openai/m", MESSAGES)
    assert caught.value.retries == 0
    assert "s3cret-word" not in str(caught.value) + repr(vars(caught.value))
    monkeypatch.setenv("NO_PROXY", "10.0.0.0/99")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with pytest.raises(InvalidArgumentError, match=r"NO_PROXY .*10.0.0.0/99"):
        Client(base_url=ELSEWHERE, api_key=KEY, allow_http=True).completion("openai/m", MESSAGES)


@pytest.mark.parametrize(("status", "tries"), [(403, 1), (407, 1), (502, 2), (504, 2)])
def test_a_tunnel_is_refused(proxy: Server, status: int, tries: int) -> None:
    proxy.answer(Answer(status, body=b"no"))
    client = Client(base_url="https://provider.invalid/v1", api_key=KEY, proxy=proxy.url, max_retries=1)
    with pytest.raises(APIConnectionError, match=rf"the proxy 127.0.0.1:{proxy.port} answered {status} "):
        client.completion("openai/m", MESSAGES)
    assert len(proxy.requests) == tries


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_a_proxy_is_not_given_a_key_for_this_machine(proxy: Server, scheme: str, host: str) -> None:
    """The operator of the proxy could read the key, and a server on the proxy's machine would receive it."""
    client = Client(proxy=proxy.url.replace("http", scheme), base_url=f"http://{host}:1/v1", api_key=KEY)
    with pytest.raises(InvalidArgumentError, match=r"proxy .*allow_http"):
        client.completion("openai/m", MESSAGES)
    assert proxy.requests == []


def test_a_proxy_is_given_what_is_for_this_machine_if_that_is_allowed(proxy: Server) -> None:
    client = Client(proxy=proxy.url, base_url="http://localhost:1/v1", api_key=KEY, allow_http=True)
    assert client.completion("openai/m", MESSAGES) == completion_of()
    assert proxy.last.target == "http://localhost:1/v1/chat/completions"
