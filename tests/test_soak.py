"""The short form of `make soak`."""

from __future__ import annotations

import base64
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from server import MESSAGES, MODEL, Answer, Server, dumped, plain

from ritellm import completion


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="looks into Linux's /proc")
def test_nothing_is_left() -> None:
    """A fiftieth of the long one. What a process grows by in its first seconds is more than it grows by later."""
    program = Path(__file__).with_name("soak.py")
    counts = ["--calls", "20000", "--streams", "3000", "--failures", "1100", "--growth", "4"]
    done = subprocess.run([sys.executable, str(program), *counts], capture_output=True, text=True, timeout=110)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and not done.stderr, f"{done.stdout}\n{done.stderr}"
    assert [line["what"] for line in lines] == ["calls", "calls from threads", "streams", "failures"]


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks into Linux's /proc")
def test_large_answers_take_each_others_memory(at_openai: Server) -> None:
    """Responses are allocated by one thread and freed by another: 60 of 2 MB, of which no two are alive together."""

    def resident() -> float:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    text = "a line\n" * 300_000
    at_openai.answer(plain(text))
    for number in range(63):
        if number == 3:
            before = resident()
        assert completion(MODEL, MESSAGES).choices[0].message.content == text
    assert resident() - before < 30


ARENAS = """
import sys
from ritellm import embedding

for calls in (5, 20):
    for _ in range(calls):
        assert embedding("openai/m", ["x"] * 96).embeddings[-1][-1] == 4095
    sys._debugmallocstats()
"""


@pytest.mark.skipif(not hasattr(sys, "_debugmallocstats"), reason="asks CPython's allocator")
def test_the_memory_of_vectors_serves_again(at_openai: Server) -> None:
    """Lists of floats are Python's own objects: 9 MB of them in an answer, of which never two are alive."""
    vector = base64.b64encode(struct.pack("<4096f", *range(4096))).decode()
    data = [{"object": "embedding", "index": index, "embedding": vector} for index in range(96)]
    at_openai.answer(Answer(body=dumped({"object": "list", "data": data, "model": "m"})))
    done = subprocess.run([sys.executable, "-c", ARENAS], capture_output=True, text=True, timeout=60, check=True)
    first, last = (
        int(count.replace(",", "")) for count in re.findall(r"arenas allocated total += +([0-9,]+)", done.stderr)
    )
    assert last - first < 20 * 3
