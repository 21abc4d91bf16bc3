"""Who is believed and who is shown what: authorities of arguments and of the environment, certificates of the client's,
proxies behind TLS, unix sockets."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from server import KEY, MESSAGES, completion_of, dumped

from ritellm import APIConnectionError, Client, InvalidArgumentError

ANSWER = dumped(completion_of())
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER) + ANSWER


class Listener:
    """Answers each request on each connection; keeps the heads that it was sent."""

    def __init__(self, listening: socket.socket, context: ssl.SSLContext | None = None) -> None:
        self.heads: list[str] = []
        self.connections = 0
        self.socket, self.context = listening, context
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def port(self) -> int:
        port: int = self.socket.getsockname()[1]
        return port

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                self.connections += 1
                threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection: Any) -> None:
        with ExitStack() as stack, suppress(OSError):
            stack.enter_context(connection)
            if self.context:
                connection = stack.enter_context(self.context.wrap_socket(connection, server_side=True))
            while head := self.request(connection):
                self.heads.append(head)
                if head.startswith("CONNECT"):
                    host, _, port = head.split(" ")[1].rpartition(":")
                    onward = stack.enter_context(socket.create_connection((host, int(port))))
                    self.tunnel(connection, onward)
                    return
                connection.sendall(WHOLE)

    def request(self, connection: Any) -> str:
        data = b""
        while b"\r\n\r\n" not in data:
            if not (piece := connection.recv(65536)):
                return ""
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        text = head.decode()
        length = int(text.lower().partition("content-length: ")[2].split("\r\n")[0] or 0)
        while len(body) < length:
            body += connection.recv(65536)
        return text

    def tunnel(self, connection: Any, onward: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")

        def copy(source: Any, target: Any) -> None:
            with suppress(OSError):
                while data := source.recv(65536):
                    target.sendall(data)
                target.shutdown(socket.SHUT_RDWR)

        back = threading.Thread(target=copy, args=[onward, connection], daemon=True)
        back.start()
        copy(connection, onward)
        back.join()


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("ours", "other"):
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(folder / f"{name}.pem"))
        for purpose in ("server", "client"):
            issued = authority.issue_cert("localhost")
            issued.private_key_and_cert_chain_pem.write_to_path(str(folder / f"{name}-{purpose}.pem"))
            issued.private_key_pem.write_to_path(str(folder / f"{name}-{purpose}-key.pem"))
            issued.cert_chain_pems[0].write_to_path(str(folder / f"{name}-{purpose}-cert.pem"))
    (folder / "empty.pem").write_text("no certificate\n")
    (folder / "authorities").mkdir()
    (folder / "authorities" / "ours.pem").write_bytes((folder / "ours.pem").read_bytes())
    (folder / "nothing").mkdir()
    subprocess.run(
        ["openssl", "pkey", "-in", "ours-client-key.pem", "-aes256", "-passout", "pass:word", "-out", "encrypted.pem"],
        cwd=folder,
        check=True,
    )
    return folder


Listen = Callable[..., Listener]


@pytest.fixture
def listen(folder: Path) -> Iterator[Listen]:
    listeners = []

    def begin(*, asks: bool = False) -> Listener:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "ours-server.pem")
        if asks:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(folder / "ours.pem")
        listeners.append(Listener(socket.create_server(("127.0.0.1", 0)), context))
        return listeners[-1]

    yield begin
    for listener in listeners:
        listener.socket.close()


def ask(client: Client, port: int) -> Any:
    return client.completion("openai/m", MESSAGES, api_key=KEY, base_url=f"https://localhost:{port}/v1")


class TestAuthorities:
    @pytest.mark.parametrize(
        ("variable", "file"),
        [
            ("SSL_CERT_FILE", "ours.pem"),
            ("SSL_CERT_DIR", "authorities"),
            ("SSL_CERT_DIR", "authorities:nothing"),
            ("REQUESTS_CA_BUNDLE", "ours.pem"),
            ("REQUESTS_CA_BUNDLE", "authorities"),
            ("CURL_CA_BUNDLE", "ours.pem"),
        ],
    )
    def test_the_environment_s_are_believed(
        self, folder: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch, variable: str, file: str
    ) -> None:
        monkeypatch.chdir(folder)
        monkeypatch.setenv(variable, file)
        assert ask(Client(), listen().port) == completion_of()

    @pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
    @pytest.mark.parametrize("file", ["not-there", "empty.pem", "nothing"])
    def test_what_cannot_be_read_is_named(
        self, folder: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch, variable: str, file: str
    ) -> None:
        """No others are believed in their place."""
        monkeypatch.setenv(variable, str(folder / file))
        with pytest.raises(InvalidArgumentError, match=f"{variable}.*{file}") as caught:
            ask(Client(), listen().port)
        assert caught.value.retries == 0

    def test_a_certificate_that_is_not_believed(
        self, folder: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        listener = listen()
        for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
            monkeypatch.setenv(variable, str(folder / "other.pem"))
            with pytest.raises(APIConnectionError, match=rf"UnknownIssuer .*{variable}=.*other.pem; ca_bundle"):
                ask(Client(max_retries=2), listener.port)
            monkeypatch.delenv(variable)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(folder / "ours.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(folder / "other.pem"))
        with pytest.raises(APIConnectionError, match="REQUESTS_CA_BUNDLE is not read beside"):
            ask(Client(), listener.port)
        monkeypatch.delenv("SSL_CERT_FILE")
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
        for settings in ({}, {"ca_bundle": folder / "other.pem"}):
            with pytest.raises(APIConnectionError, match=r"UnknownIssuer .*ca_bundle") as caught:
                ask(Client(max_retries=2, **settings), listener.port)
            assert caught.value.retries == 0
        assert listener.connections == 5

    @pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
    @pytest.mark.parametrize("before", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
    def test_an_unused_one_has_to_be_readable_too(
        self, folder: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch, variable: str, before: str
    ) -> None:
        monkeypatch.setenv(variable, "/not/there")
        monkeypatch.setenv(before, str(folder / "ours.pem"))
        if variable != before:
            with pytest.raises(InvalidArgumentError, match=f"{variable} names /not/there, which cannot be read"):
                ask(Client(), listen().port)
        monkeypatch.setenv(variable, str(folder / "ours.pem"))
        assert ask(Client(), listen().port) == completion_of()

    def test_the_first_of_them_has_the_say(self, folder: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(folder / "other.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ours.pem"))
        assert ask(Client(), listen().port) == completion_of()
        monkeypatch.setenv("SSL_CERT_FILE", "/not/there")
        assert ask(Client(ca_bundle=folder / "ours.pem"), listen().port) == completion_of()
        assert ask(Client(verify=False), listen().port) == completion_of()

    def test_an_empty_variable_says_nothing(self, listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
        for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"):
            monkeypatch.setenv(variable, "")
        with pytest.raises(APIConnectionError, match="this machine's authorities"):
            ask(Client(), listen().port)


class TestClientCertificate:
    def test_it_is_shown(self, folder: Path, listen: Listen) -> None:
        port = listen(asks=True).port
        ca_bundle = folder / "ours.pem"
        for client_cert in (
            str(folder / "ours-client.pem"),
            folder / "ours-client.pem",
            (folder / "ours-client-cert.pem", str(folder / "ours-client-key.pem")),
            (folder / "ours-client-cert.pem", folder / "ours-client-key.pem", None),
        ):
            assert ask(Client(ca_bundle=ca_bundle, client_cert=client_cert), port) == completion_of()

    @pytest.mark.parametrize("given", [{}, {"client_cert": "other-client.pem"}])
    def test_a_server_that_does_not_take_it(
        self, folder: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]
    ) -> None:
        monkeypatch.chdir(folder)
        listener = listen(asks=True)
        with pytest.raises(APIConnectionError, match="client_cert") as caught:
            ask(Client(ca_bundle="ours.pem", max_retries=2, **given), listener.port)
        assert caught.value.retries == 0

    def test_what_is_none(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(folder)
        for client_cert, words in (
            ("not-there.pem", ["not-there.pem"]),
            ("empty.pem", ["empty.pem", "no certificate"]),
            ("ours.pem", ["ours.pem", "no private key"]),
            (("ours-client-cert.pem", "ours-server-key.pem"), ["ours-server-key.pem", "not the certificate's"]),
            (("ours-client-cert.pem", "empty.pem"), ["empty.pem", "no private key"]),
            (("ours-client-cert.pem", "encrypted.pem"), ["encrypted.pem", "encrypted", "openssl pkey"]),
            (("ours-client-cert.pem", "encrypted.pem", "word"), ["password", "openssl pkey"]),
            (("ours-client.pem",), ["tuple of 1"]),
            (5, ["int", "PEM"]),
        ):
            with pytest.raises(InvalidArgumentError, match="client_cert") as caught:
                Client(client_cert=client_cert)  # type: ignore[arg-type]
            assert all(word in caught.value.message for word in words), caught.value.message


class TestProxyBehindTls:
    def test_it_passes_requests_on(self, folder: Path, listen: Listen) -> None:
        proxy = listen()
        client = Client(
            proxy=f"https://user:word@localhost:{proxy.port}", ca_bundle=folder / "ours.pem", allow_http=True
        )
        answer = client.completion("openai/m", MESSAGES, api_key=KEY, base_url="http://provider.invalid/v1")
        assert answer == completion_of()
        assert proxy.heads[0].startswith("POST http://provider.invalid/v1/chat/completions HTTP/1.1\r\n")
        assert "proxy-authorization: Basic dXNlcjp3b3Jk" in proxy.heads[0]

    def test_it_makes_tunnels(self, folder: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
        """TLS in TLS; the client's certificate is for the server alone."""
        proxy, server = listen(), listen(asks=True)
        client = Client(
            proxy=f"https://localhost:{proxy.port}",
            ca_bundle=folder / "ours.pem",
            client_cert=folder / "ours-client.pem",
        )
        assert ask(client, server.port) == completion_of()
        assert ask(client, server.port) == completion_of()
        assert len(proxy.heads) == 1 and proxy.heads[0].startswith(f"CONNECT localhost:{server.port} HTTP/1.1\r\n")
        assert KEY not in proxy.heads[0] and len(server.heads) == 2

    def test_its_certificate_is_checked(self, folder: Path, listen: Listen) -> None:
        proxy = listen()
        client = Client(proxy=f"https://localhost:{proxy.port}", ca_bundle=folder / "other.pem", allow_http=True)
        with pytest.raises(APIConnectionError, match=rf"through the proxy localhost:{proxy.port}.*UnknownIssuer"):
            client.completion("openai/m", MESSAGES, api_key=KEY, base_url="http://provider.invalid/v1")
        assert proxy.connections == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no unix sockets")
class TestUnixSocket:
    def test_a_call(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A unix socket is on this machine, so a key can be sent there, without any proxy."""
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
        path = tmp_path / "a model's.sock"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
            listening.listen()
            listener = Listener(listening)
            address = str(path).replace("%", "%25").replace("/", "%2F").replace(" ", "%20")
            for client in (Client(), Client(proxy="http://127.0.0.1:1")):
                for base_url in (f"http+unix://{address}", f"http+unix://{address}/v1/"):
                    assert client.completion("openai/m", MESSAGES, api_key=KEY, base_url=base_url) == completion_of()
            assert listener.connections == 2
            assert all(
                head.startswith("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n") for head in listener.heads
            )

    def test_nobody_is_there(self, tmp_path: Path) -> None:
        address = str(tmp_path / "s.sock").replace("/", "%2F")
        with pytest.raises(APIConnectionError, match=f"unix:{tmp_path}/s.sock"):
            Client(max_retries=0).completion("openai/m", MESSAGES, api_key=KEY, base_url=f"http+unix://{address}/v1")

    @pytest.mark.parametrize("base_url", ["http+unix:///tmp/s.sock", "http+unix://s.sock/v1", "unix:///tmp/s.sock"])
    def test_what_is_none(self, base_url: str) -> None:
        with pytest.raises(InvalidArgumentError, match="base_url"):
            Client().completion("openai/m", MESSAGES, api_key=KEY, base_url=base_url)
