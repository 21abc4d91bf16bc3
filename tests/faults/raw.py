"""A server on raw sockets, for behaviour that no HTTP library allows. Each connection has a thread."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

PATIENCE = 30.0
"""Seconds after which something that should have happened is taken not to."""


@dataclass
class Request:
    """A request that the server received."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    number: int
    """Number of earlier requests to the server."""
    place: int
    """Number of earlier requests on the same connection."""

    @property
    def wants_stream(self) -> bool:
        return bool(json.loads(self.body).get("stream"))


class Gone(Exception):
    """The client went away."""


@dataclass
class Connection:
    """One connection, as the server holds it."""

    server: RawServer
    socket: socket.socket
    number: int
    buffer: bytes = b""
    place: int = 0
    closed: bool = field(default=False)

    def read_request(self) -> Request:
        while b"\r\n\r\n" not in self.buffer:
            self.receive()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        while len(self.buffer) < length:
            self.receive()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        method, target, _ = first.split(" ")
        self.place += 1
        return self.server.record(Request(method, target, headers, body, 0, self.place - 1))

    def receive(self) -> None:
        try:
            data = self.socket.recv(1 << 16)
        except OSError as error:
            raise Gone from error
        if not data:
            raise Gone
        self.buffer += data

    def send(self, *pieces: bytes, pause: float = 0.0) -> None:
        """Sends each piece in a segment of its own."""
        for piece in pieces:
            try:
                self.socket.sendall(piece)
            except OSError as error:
                raise Gone from error
            if pause:
                time.sleep(pause)

    def stall(self) -> None:
        """Says nothing more until the client goes away."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and not self.server.closing:
            if select.select([self.socket], [], [], 0.05)[0]:
                self.receive()
        raise Gone

    def close(self) -> None:
        """Closes in order (FIN)."""
        self.closed = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def reset(self) -> None:
        """Closes with a reset (RST)."""
        self.closed = True
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


Serve = Callable[[Connection, Request], None]


class RawServer:
    """Gives every request to ``serve``; or, with ``on_connect``, the connection before it has said anything."""

    def __init__(
        self,
        serve: Serve | None = None,
        on_connect: Callable[[Connection], None] | None = None,
        tls: ssl.SSLContext | None = None,
        send_buffer: int | None = None,
    ) -> None:
        self.serve = serve
        self.on_connect = on_connect
        self.tls = tls
        self.send_buffer = send_buffer
        self.requests: list[Request] = []
        self.connections = 0
        self.open_connections = 0
        self.most_connections = 0
        self.failures: list[BaseException] = []
        self.closing = False
        self.memory: dict[str, Any] = {}
        """State that a fault keeps from one request to the next."""
        self._sockets: set[socket.socket] = set()
        self.lock = threading.Lock()
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True, name="raw server").start()

    def __enter__(self) -> RawServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing = True
        self.stop_listening()
        with self.lock:
            sockets = list(self._sockets)
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        assert not self.failures, f"the server itself failed: {self.failures!r}"

    def stop_listening(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    @property
    def base_url(self) -> str:
        return f"https://localhost:{self.port}/v1" if self.tls else f"http://127.0.0.1:{self.port}/v1"

    def record(self, request: Request) -> Request:
        with self.lock:
            request.number = len(self.requests)
            self.requests.append(request)
        return request

    def _accept(self) -> None:
        while not self.closing:
            try:
                accepted, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._run, args=(accepted,), daemon=True).start()

    def _run(self, accepted: socket.socket) -> None:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.send_buffer:
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.send_buffer)
        with self.lock:
            self.connections += 1
            self.open_connections += 1
            self.most_connections = max(self.most_connections, self.open_connections)
            self._sockets.add(accepted)
            connection = Connection(self, accepted, self.connections)
        try:
            if self.tls is not None:
                connection.socket = self.tls.wrap_socket(accepted, server_side=True)
            if self.on_connect is not None:
                self.on_connect(connection)
            while self.serve is not None and not connection.closed:
                self.serve(connection, connection.read_request())
        except (Gone, OSError):
            pass
        except BaseException as error:
            self.failures.append(error)
        finally:
            connection.close()
            with self.lock:
                self.open_connections -= 1
                self._sockets.discard(accepted)
