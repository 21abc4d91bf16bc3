"""A server for tests of engines, a process of its own: it answers slowly and writes down when.

    python engine_server.py LOG LATENCY TAIL    the seconds of most answers, and those of one in twenty

It prints its port. The answer is the last message's text in capitals; a text with "poison" is refused with 400, and with
"fails" with 503. The log has a line of JSON for each request: when it came and was answered, the process that sent it (the
header `x-worker`), its text and the status of its answer.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import zlib


def reply(path: str, request: dict) -> tuple[int, dict]:
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    if path.endswith("/embeddings"):
        texts = request["input"] if isinstance(request["input"], list) else [request["input"]]
        vectors = [[float(len(text)), 0.5, zlib.crc32(text.encode()) % 7 / 8] for text in texts]
        data = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
        return 200, {"object": "list", "data": data, "model": "m", "usage": usage}
    text = request["messages"][-1]["content"]
    if "poison" in text:
        return 400, {"error": {"message": "this text is poison", "type": "invalid_request_error", "code": "poison"}}
    if "fails" in text:
        return 503, {"error": {"message": "overloaded", "type": "server_error"}}
    if "nokey" in text:
        return 401, {"error": {"message": "no such key", "type": "invalid_request_error", "code": "invalid_api_key"}}
    content = text.upper()
    if "response_format" in request:
        content = json.dumps({"kind": "praise" if "love" in text else "bug", "score": len(text)})
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return 200, {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


async def main(log: str, latency: float, tail: float) -> None:
    file = open(log, "a", buffering=1)  # noqa: SIM115

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                begin = time.monotonic()
                lines = head.split("\r\n")
                fields = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
                body = await reader.readexactly(int(fields["content-length"]))
                request = json.loads(body)
                status, answer = reply(lines[0].split()[1], request)
                last = request["input"] if "input" in request else request["messages"][-1]["content"]
                chance = zlib.crc32(str(last).encode()) % 1000 / 1000
                await asyncio.sleep(tail if chance >= 0.95 else latency * (0.5 + chance))
                content = json.dumps(answer).encode()
                file.write(json.dumps([begin, time.monotonic(), fields.get("x-worker", ""), last, status]) + "\n")
                writer.write(
                    f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n".encode()
                    + content
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    # Until the test ends.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))
