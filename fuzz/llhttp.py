"""Parses HTTP/1.1 responses with llhttp, the parser of Node.js, as aiohttp's wheels contain it.

Reads a length in four bytes (big-endian) and a response of that length from standard input, until it ends; writes for each a
length and b"\0", the status in two bytes and the body, or b"\1" and an error. With `-X dev`, aiohttp turns on no leniency.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpResponseParser, RawResponseMessage

LOOP = asyncio.new_event_loop()


class Transport(asyncio.Transport):
    """A connection whose flow control does nothing: bodies are taken as they come."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def is_final(message: RawResponseMessage | None) -> bool:
    """True if no other response follows this one, as aiohttp's client sees it."""
    return message is not None and (message.code not in range(100, 200) or message.code == 101)


def read(response: bytes) -> bytes:
    """Status and body of the first final response."""
    protocol = BaseProtocol(LOOP)
    protocol.transport = Transport()
    parser = HttpResponseParser(protocol, LOOP, 2**16, read_until_eof=True, auto_decompress=False)
    message, payload = None, None
    # Byte by byte: what follows the first response is another one's, and an error in it is none of this one.
    for at in range(len(response)):
        messages, _, _ = parser.feed_data(response[at : at + 1])
        if messages and not is_final(message):
            message, payload = messages[0]
        if is_final(message) and (payload.is_eof() or payload.exception()):
            break
    else:
        parser.feed_eof()
    if not is_final(message):
        raise EOFError("cut")
    body = bytearray()
    if error := payload.exception():
        raise error
    while piece := payload.read_nowait():
        body += piece
    if not payload.is_eof():
        raise EOFError("cut")
    return message.code.to_bytes(2, "big") + body


def main() -> None:
    """Answers until standard input ends."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while length := requests.read(4):
        response = requests.read(int.from_bytes(length, "big"))
        try:
            answer = b"\0" + read(response)
        except Exception as error:
            answer = b"\1" + f"{type(error).__name__}: {error}".encode(errors="replace")
        answers.write(len(answer).to_bytes(4, "big") + answer)
        answers.flush()


if __name__ == "__main__":
    main()
