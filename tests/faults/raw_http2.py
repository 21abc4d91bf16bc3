"""A raw HTTP/2 server that sends single frames: it refuses and resets streams, and sends GOAWAY at any point."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import trustme
from raw import Connection, Gone, RawServer, Request

ErrorCodes = h2.errors.ErrorCodes


class Authority:
    """A certificate authority, and a server's TLS settings under it."""

    def __init__(self, path: str) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(path)
        self.path = path
        self._certificate = authority.issue_cert("localhost")

    def context(self, *protocols: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._certificate.configure_cert(context)
        context.set_alpn_protocols(list(protocols))
        return context


@dataclass
class Stream:
    """One request, and ways to answer it."""

    session: Session
    id: int
    request: Request

    def answer(self, body: bytes, kind: str, *, end: bool = True, status: int = 200) -> None:
        headers = [(":status", str(status)), ("content-type", kind)]
        self.session.http2.send_headers(self.id, headers)
        if body:
            self.session.http2.send_data(self.id, body, end_stream=False)
        if end:
            self.session.http2.end_stream(self.id)
        self.session.flush()

    def reset(self, code: ErrorCodes) -> None:
        self.session.http2.reset_stream(self.id, code)
        self.session.flush()

    def go_away(self, last: int, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """Takes no requests after ``last``."""
        self.session.http2.close_connection(code, last_stream_id=last)
        self.session.flush()


@dataclass
class Session:
    """One connection and what is under way on it."""

    connection: Connection
    http2: h2.connection.H2Connection
    open_streams: dict[int, Stream] = field(default_factory=dict)
    most_streams: int = 0

    def flush(self) -> None:
        self.connection.send(self.http2.data_to_send())


Answering = Callable[[Stream], None]


def http2(
    answer: Answering, settings: dict[int, int] | None = None, after_start: Callable[[Session], None] | None = None
) -> Callable[[Connection], None]:
    """For a `RawServer`'s ``on_connect``: gives every request that has come whole to ``answer``."""

    def run(connection: Connection) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        session = Session(connection, h2.connection.H2Connection(config))
        server: RawServer = connection.server
        server.memory.setdefault("sessions", []).append(session)
        if settings is not None:
            session.http2.local_settings = h2.settings.Settings(client=False, initial_values=settings)
        session.http2.initiate_connection()
        session.flush()
        if after_start is not None:
            after_start(session)
        bodies: dict[int, bytes] = {}
        heads: dict[int, dict[str, str]] = {}
        while not connection.closed:
            try:
                data = connection.socket.recv(1 << 16)
            except OSError as error:
                raise Gone from error
            if not data:
                return
            for event in session.http2.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    heads[event.stream_id] = {str(name): str(value) for name, value in event.headers}
                    bodies[event.stream_id] = b""
                elif isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] += event.data
                    session.http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    head, body = heads.pop(event.stream_id), bodies.pop(event.stream_id)
                    request = Request(head[":method"], head[":path"], head, body, 0, connection.place)
                    connection.place += 1
                    stream = Stream(session, event.stream_id, server.record(request))
                    session.open_streams[stream.id] = stream
                    session.most_streams = max(session.most_streams, len(session.open_streams))
                    answer(stream)
                elif isinstance(event, h2.events.StreamReset):
                    session.open_streams.pop(event.stream_id, None)
            if not connection.closed:
                session.flush()

    return run


def wants_stream(stream: Stream) -> bool:
    return bool(json.loads(stream.request.body).get("stream"))
