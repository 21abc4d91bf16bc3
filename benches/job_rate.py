"""Draws docs/job-rate.svg: the rate of a bulk job over time while its limit changes, its provider fails and it is killed.

The server in this process refuses what is above a limit that it tells nobody. A job in a child process has to find the limit; it is
killed with SIGKILL on the way and started again. Takes three minutes, of real time:

    python benches/job_rate.py
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

PICTURE = Path(__file__).parents[1] / "docs" / "job-rate.svg"
SECONDS = 180
#: Seconds after the start, and the calls a second that the server takes from then on; 0 is an outage.
LIMITS = ((0, 20), (45, 10), (75, 0), (90, 20))
KILLED_AT = 150
LATENCY = 0.3
#: Width of the mean that is drawn, in seconds.
MEAN = 3

JOB = """
import sys, ritellm
url, out = sys.argv[1:]
client = ritellm.Client(limits="adaptive", base_url=url, api_key="test-key", max_retry_after=5)
rows = [{"text": f"remark {n}"} for n in range(10_000)]
ritellm.bulk(rows, model="openai/gpt-4o-mini", prompt="Classify: {text}", out=out, client=client).run(progress=False)
"""
ANSWER = json.dumps(
    {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "praise"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10},
    }
)


class Server:
    """A server with a bucket of one second's worth of calls, which refills at the limit of the moment."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.bucket, self.filled_at = 0.0, 0.0
        self.answered: list[float] = []
        self.refused: list[float] = []

    def take(self) -> int:
        """Returns the status of a call that comes now."""
        now = time.monotonic() - self.start
        limit = limit_at(now)
        if not limit:
            return 503
        self.bucket = min(self.bucket + (now - self.filled_at) * limit, limit)
        self.filled_at = now
        if self.bucket < 1:
            self.refused.append(now)
            return 429
        self.bucket -= 1
        return 200

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
                await reader.readexactly(int(fields[b"content-length"]))
                status = self.take()
                await asyncio.sleep(LATENCY if status == 200 else 0.02)
                body = ANSWER if status == 200 else '{"error": {"message": "not now"}}'
                writer.write(
                    f"HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
                )
                if status == 200:
                    self.answered.append(time.monotonic() - self.start)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


def limit_at(now: float) -> int:
    return [limit for begin, limit in LIMITS if begin <= now][-1]


async def measure() -> Server:
    server = Server()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    with tempfile.TemporaryDirectory() as folder:
        command = (sys.executable, "-c", JOB, url, folder + "/out")
        child = await asyncio.create_subprocess_exec(*command)
        server.start = time.monotonic()
        await asyncio.sleep(KILLED_AT)
        child.kill()
        await child.wait()
        child = await asyncio.create_subprocess_exec(*command)
        await asyncio.sleep(SECONDS - KILLED_AT)
        child.kill()
        await child.wait()
    return server


# ---- The picture ----

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 760, 270, 44, 34, 44


def x(seconds: float) -> float:
    return LEFT + seconds / SECONDS * (WIDTH - LEFT - 10)


def y(rate: float) -> float:
    return HEIGHT - BOTTOM - rate / 28 * (HEIGHT - BOTTOM - TOP)


def picture(server: Server) -> str:
    """Returns the rate of answers, as the mean around each half second, under the limit of the moment."""
    times = [n / 2 for n in range(MEAN, 2 * SECONDS - MEAN)]
    rates = [sum(abs(at - moment) <= MEAN / 2 for at in server.answered) / MEAN for moment in times]
    line = " ".join(f"{x(at):.1f},{y(rate):.1f}" for at, rate in zip(times, rates, strict=True))
    ends = [begin for begin, _ in LIMITS[1:]] + [SECONDS]
    limit = " ".join(
        f"{x(at):.1f},{y(rate):.1f}" for (begin, rate), end in zip(LIMITS, ends, strict=True) for at in (begin, end)
    )
    refused = "".join(
        f'<rect x="{x(at):.1f}" y="{HEIGHT - BOTTOM - 6}" width="1.5" height="6" class="refused"/>'
        for at in server.refused
    )
    grid = "".join(
        f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{y(rate)}" y2="{y(rate)}"/><text x="{LEFT - 8}" y="{y(rate) + 5}" class="end">{rate}</text>'
        for rate in (0, 10, 20)
    )
    below = "".join(
        f'<text x="{x(at):.1f}" y="{HEIGHT - 14}" class="middle">{at} s</text>' for at in range(0, SECONDS + 1, 30)
    )
    words = "".join(
        f'<text x="{x(at) + 4:.1f}" y="{TOP - 2}" class="word">{text}</text>'
        for at, text in (
            (45, "limit halved"),
            (75, "outage"),
            (90, "the first limit again"),
            (KILLED_AT, "killed, started"),
        )
    )
    marks = "".join(
        f'<line x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>' for at in (45, 75, 90, KILLED_AT)
    )
    style = (
        "text{font:13px system-ui,sans-serif;fill:#57606a}.title{font-weight:600;fill:#24292f}.end{text-anchor:end}.middle{text-anchor:middle}"
        "line{stroke:#8c959f;stroke-opacity:.3}.limit{fill:none;stroke:#8c959f;stroke-dasharray:5 4;stroke-width:1.5}"
        ".rate{fill:none;stroke:#0969da;stroke-width:2}.refused{fill:#cf222e}"
        "@media(prefers-color-scheme:dark){text{fill:#9198a1}.title{fill:#e6edf3}.rate{stroke:#4493f8}.refused{fill:#f85149}}"
    )
    title = "Answers a second of a job (line), the limit that it has to find (dashed), refused calls (below)"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="The rate of a job">\n<style>{style}</style>\n'
        f'<text x="0" y="14" class="title">{title}</text>\n{grid}\n{below}\n{marks}\n{words}\n'
        f'<polyline class="limit" points="{limit}"/>\n<polyline class="rate" points="{line}"/>\n{refused}\n</svg>\n'
    )


def main() -> None:
    server = asyncio.run(measure())
    PICTURE.write_text(picture(server))
    ends = [begin for begin, _ in LIMITS[1:]] + [SECONDS]
    for (begin, limit), end in zip(LIMITS, ends, strict=True):
        answered = sum(begin <= at < end for at in server.answered)
        refused = sum(begin <= at < end for at in server.refused)
        used = f"{100 * answered / (limit * (end - begin)):.0f} %" if limit else "-"
        print(f"{begin:3} to {end:3} s: limit {limit}/s, {answered} answered ({used}), {refused} refused")


if __name__ == "__main__":
    main()
