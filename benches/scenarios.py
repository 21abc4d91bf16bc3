"""The measured scenarios: kinds of reply, calls in flight and numbers of calls."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

CONCURRENCIES = (1, 64, 512)

#: Characters of text in a response, about 150 tokens.
SIZE = 600
#: Chunks of a stream, including the first (role) and the last (finish reason).
CHUNKS = 100
CHUNKS_PER_DRIP = 10
PAUSE_MS = 5


@dataclass(frozen=True)
class Mode:
    """A kind of reply. `knobs` is the mock server's path prefix for it (see its settings.rs)."""

    title: str
    knobs: str
    #: Chunks that one call brings; 0 for a plain reply.
    chunks: int
    #: How long a call takes at least, because the server pauses.
    latency_s: float = 0.0
    #: Which of the mock server's ports is called: `http`, `tls` (HTTP/1.1) or `h2` (HTTP/2 over TLS).
    port: str = "http"
    #: Whether blocking calls are made, from as many threads as calls are in flight.
    threads: bool = False
    #: The concurrencies that are measured, where not all are.
    concurrencies: tuple[int, ...] = CONCURRENCIES

    @property
    def driver_mode(self) -> str:
        return "threads" if self.threads else "stream" if self.chunks else "plain"


MODES = {
    "plain": Mode("Plain calls", f"s{SIZE}", 0),
    "burst": Mode("Streams, all chunks in one burst", f"s{SIZE}-n{CHUNKS}", CHUNKS),
    "drip": Mode(
        f"Streams, dripped: {CHUNKS_PER_DRIP} chunks every {PAUSE_MS} ms",
        f"s{SIZE}-n{CHUNKS}-b{CHUNKS_PER_DRIP}-p{PAUSE_MS}",
        CHUNKS,
        (CHUNKS / CHUNKS_PER_DRIP - 1) * PAUSE_MS / 1000,
    ),
    "tls": Mode("Plain calls, TLS 1.3, HTTP/1.1", f"s{SIZE}", 0, port="tls", concurrencies=(64,)),
    "tls-burst": Mode(
        "Streams in one burst, TLS 1.3, HTTP/1.1", f"s{SIZE}-n{CHUNKS}", CHUNKS, port="tls", concurrencies=(64,)
    ),
    "h2": Mode("Plain calls, TLS 1.3, HTTP/2", f"s{SIZE}", 0, port="h2", concurrencies=(64,)),
    "h2-burst": Mode(
        "Streams in one burst, TLS 1.3, HTTP/2", f"s{SIZE}-n{CHUNKS}", CHUNKS, port="h2", concurrencies=(64,)
    ),
    "threads": Mode("Plain calls, `ThreadPoolExecutor.map`", f"s{SIZE}", 0, threads=True, concurrencies=(64,)),
}


@dataclass(frozen=True)
class Scenario:
    """A mode at a concurrency."""

    mode: Mode
    concurrency: int

    @property
    def title(self) -> str:
        return f"{self.mode.title}, {self.concurrency} at a time"

    def admits(self, kinds: Set[str]) -> bool:
        """Returns True if a contender that supports these kinds of calls takes part."""
        kind = "streams" if self.mode.chunks else "threads" if self.mode.threads else "plain"
        return kind in kinds and (self.mode.port == "http" or self.mode.port in kinds)

    def calls(self, call_us: float, chunk_us: float, seconds: float) -> int:
        """Returns the number of calls that keep a client of this cost busy for about this many seconds.

        At least one for each worker, or the concurrency would not be what it says.
        """
        cost_s = (call_us + chunk_us * self.mode.chunks) / 1e6
        call_s = max(cost_s, self.mode.latency_s / self.concurrency)
        return max(self.concurrency, 20, int(seconds / call_s))
