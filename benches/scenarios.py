"""What is measured: the kinds of reply, how many calls at a time, and how many calls make it up."""

from __future__ import annotations

from dataclasses import dataclass

CONCURRENCIES = (1, 64, 512)

#: Characters of text in an answer, about 150 tokens.
SIZE = 600
#: Chunks of a stream, the first (role) and the last (finish reason) included.
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
    latency_s: float

    @property
    def driver_mode(self) -> str:
        return "stream" if self.chunks else "plain"


MODES = {
    "plain": Mode("Plain calls", f"s{SIZE}", 0, 0.0),
    "burst": Mode("Streams, all chunks in one burst", f"s{SIZE}-n{CHUNKS}", CHUNKS, 0.0),
    "drip": Mode(
        f"Streams, dripped: {CHUNKS_PER_DRIP} chunks every {PAUSE_MS} ms",
        f"s{SIZE}-n{CHUNKS}-b{CHUNKS_PER_DRIP}-p{PAUSE_MS}",
        CHUNKS,
        (CHUNKS / CHUNKS_PER_DRIP - 1) * PAUSE_MS / 1000,
    ),
}


@dataclass(frozen=True)
class Scenario:
    """A mode at a concurrency."""

    mode: Mode
    concurrency: int

    @property
    def title(self) -> str:
        return f"{self.mode.title}, {self.concurrency} at a time"

    def admits(self, streams_only: bool) -> bool:
        """Whether a contender takes part that may only make streamed calls."""
        return bool(self.mode.chunks) or not streams_only

    def calls(self, call_us: float, chunk_us: float, seconds: float) -> int:
        """How many calls keep a client of this cost busy for about so many seconds.

        At least one for each worker, or the concurrency would not be what it says.
        """
        cost_s = (call_us + chunk_us * self.mode.chunks) / 1e6
        call_s = max(cost_s, self.mode.latency_s / self.concurrency)
        return max(self.concurrency, 20, int(seconds / call_s))
