"""Plays the cassettes that vcrpy opens to RiteLLM's calls as well, whose sockets vcrpy does not see.

A suite that was recorded with Python's HTTP clients (``@pytest.mark.vcr`` of pytest-recording, ``vcr.use_cassette(…)``) then
runs without a change: each time vcrpy opens a cassette that exists, it is played to RiteLLM too, matched by the same parts
of requests. What RiteLLM asks and the cassette has not is refused; nothing is recorded.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ritellm.testing._cassette import PARTS, Cassette

#: What vcrpy calls otherwise. Matchers of its own that are not here and not in `PARTS` (headers, a program's own functions)
#: are left out.
NAMES = {"uri": "uri", "raw_body": "body"}


class Follower:
    """Follows the cassettes of vcrpy from `start` to `stop`.

    Attributes:
        played: the number of calls of RiteLLM's that cassettes of vcrpy answered.
        differences: a line for each of them whose body is not the recorded one, as `Cassette.differences`, after the name of
            the file.
    """

    def __init__(self) -> None:
        self.played = 0
        self.differences: list[str] = []
        self._restore: list[Callable[[], None]] = []

    def start(self) -> None:
        """Wraps the context manager that every way to a cassette of vcrpy goes through."""
        from vcr.cassette import CassetteContextDecorator

        enter, leave = CassetteContextDecorator.__enter__, CassetteContextDecorator.__exit__
        opened: dict[int, Cassette] = {}

        @functools.wraps(enter)
        def entered(context: Any) -> Any:
            theirs = enter(context)
            try:
                if (ours := _ours(theirs)) is not None:
                    opened[id(context)] = ours.__enter__()
            except BaseException:
                # The `with` of the caller has not begun, so that nobody else takes vcrpy's patches off.
                leave(context, *sys.exc_info())
                raise
            return theirs

        @functools.wraps(leave)
        def closed(context: Any, *error: Any) -> Any:
            try:
                if (ours := opened.pop(id(context), None)) is not None:
                    ours.close()
                    self.played += ours.played
                    self.differences += [f"{ours.path.name}: {line}" for line in ours.differences]
            finally:
                left = leave(context, *error)
            return left

        def restore() -> None:
            CassetteContextDecorator.__enter__, CassetteContextDecorator.__exit__ = enter, leave

        CassetteContextDecorator.__enter__, CassetteContextDecorator.__exit__ = entered, closed
        self._restore.append(restore)

    def stop(self) -> None:
        """Takes the wrapping off."""
        while self._restore:
            self._restore.pop()()


def _ours(theirs: Any) -> Cassette | None:
    """Returns a cassette of ours for one of vcrpy, or `None` if it has no file yet or is to be recorded anew."""
    path = Path(theirs._path)
    if not path.exists() or getattr(theirs.record_mode, "value", theirs.record_mode) == "all":
        return None
    names = [NAMES.get(matcher.__name__, matcher.__name__) for matcher in theirs._match_on]
    known = [name for name in names if name in PARTS or name == "uri"]
    return Cassette(path, mode="none", match_on=known or ["method"], allow_repeats=theirs.allow_playback_repeats)
