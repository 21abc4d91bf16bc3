"""Answers of earlier tasks by what was asked: the journals of bulk jobs that all workers write in one folder.

Each job of a worker has a folder of its own in there, so that writers need nothing of each other. The id of a row in its
journal is a hash of what it asks for, by which other tasks find the answer: those of a worker that was killed, and those of
another run.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
import uuid
from contextlib import suppress
from hashlib import blake2b
from zlib import crc32

from ritellm._plain import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object

__all__ = ["Memo"]

# The beginning of a line in a journal: the key of what was asked, and what makes it an id.
KEY = re.compile(rb'\{"id":"[^"]*","custom_id":"([0-9a-f]{32})-')

# The end of a line: its outcome and its checksum.
END = re.compile(rb'"outcome":"done","key":"[0-9a-f]*","crc32":"([0-9a-f]{8})"\}\}$')
CHECKSUM = b'","crc32":"'


class Memo:
    """Answers that are known, by what was asked.

    The n-th of equal rows in a part gets the n-th answer that is known. It takes about 200 bytes of memory for each answer.

    Args:
        path: the folder, which all workers reach. It is made if it is not there.
        common: what all rows have in common: the model, the prompt, the parameters.
    """

    def __init__(self, path: str, common: str) -> None:
        self.path = path
        self._common = common.encode()
        os.makedirs(path, mode=0o700, exist_ok=True)
        # Places of answers by the first eight bytes of their keys: number of the file and offset in it.
        self._places: dict[int, list[int]] = {}
        self._files: list[str] = []
        # Number of each file, and the size up to which it has been read.
        self._read: dict[str, tuple[int, int]] = {}
        self._looked = float("-inf")
        self._lock = threading.Lock()

    def folder(self) -> str:
        """Returns the folder of a new job."""
        return os.path.join(self.path, uuid.uuid4().hex)

    def refresh(self) -> None:
        """Reads what all workers have written since the last time; once a second at most."""
        # Who comes meanwhile waits: its rows are looked up next.
        with self._lock:
            if time.monotonic() - self._looked >= 1:
                self._read_all()
                self._looked = time.monotonic()

    def _read_all(self) -> None:
        for folder in os.listdir(self.path):
            segments = os.path.join(self.path, folder, "segments")
            try:
                names = os.listdir(segments)
            except OSError:
                # A job that has not begun, or another file.
                continue
            for name in sorted(names):
                if name.endswith(".jsonl"):
                    # Somebody may delete the folder of a job meanwhile.
                    with suppress(FileNotFoundError):
                        self._read_on(os.path.join(segments, name))

    def _read_on(self, path: str) -> None:
        number, begin = self._read.get(path, (len(self._files), 0))
        if number == len(self._files):
            self._files.append(path)
        self._read[path] = number, begin
        if os.path.getsize(path) <= begin:
            return
        with open(path, "rb") as file:
            file.seek(begin)
            for line in file:
                if not line.endswith(b"\n"):
                    # It is being written, or was cut.
                    break
                key = key_of(line)
                if key is not None:
                    self._places.setdefault(int(key[:16], 16), []).append(number << 48 | begin)
                begin += len(line)
        self._read[path] = number, begin

    def key(self, row: Any) -> str:
        """Returns the key of what a row asks for, as 32 hexadecimal digits.

        Raises:
            Unplain: the row has no form in JSON.
        """
        text = json.dumps(plain(row, "", 0), ensure_ascii=False, sort_keys=True)
        return blake2b(self._common + b"\0" + text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    def find(self, key: str, index: int) -> dict[str, Any] | None:
        """Returns the line of the answer number ``index`` with a key, if there is one."""
        places = self._places.get(int(key[:16], 16), ())
        found = 0
        for place in places:
            try:
                with open(self._files[place >> 48], "rb") as file:
                    file.seek(place & (1 << 48) - 1)
                    line = file.readline()
            except FileNotFoundError:
                continue
            if key_of(line) == key.encode():
                if found == index:
                    value: dict[str, Any] = json.loads(line)
                    return value
                found += 1
        return None


def key_of(line: bytes) -> bytes | None:
    """Returns the key of what a line of a journal answers; `None` if it is no answer, or damaged."""
    line = line.rstrip(b"\n")
    begin, end = KEY.match(line), END.search(line)
    if begin is None or end is None:
        return None
    content = line[: line.rindex(CHECKSUM)]
    return begin[1] if int(end[1], 16) == crc32(content) else None
