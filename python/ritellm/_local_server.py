"""The program that runs llama.cpp's HTTP server in a child process, for the provider `local`.

`ritellm.local` starts it by path (`python -I _local_server.py`), so that the server does not use the caller's GIL and CPU
time. It therefore imports nothing of RiteLLM.

Standard input: one line of JSON, `{"sys_path": [...], "weights": "path of a .gguf", "name": "...", "embeddings": false}`, with
`"socket": "path"` or `"port"`; without either it listens on a free port of 127.0.0.1.
Standard output and error: llama.cpp's log, then one line `ready <address>`, then nothing.

The server runs until standard input ends, which happens when the process that started it exits for any reason. With
`"users": "path"` it runs until no process holds a lock on that file any more.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from typing import Any

SLOTS = 8  # requests decoded together; on 2 cores, 16 and 32 gave no more tokens/s and took 0.5 and 1.2 GiB more
CONTEXT_PER_SLOT = 2048  # tokens for prompt and response; 8 x 2048 take about 370 MiB with SmolLM2-135M

# llama.cpp uses one thread per open connection and keeps it for 5 idle seconds after a reply. With its default of about
# 60 threads, the last of 64 connections waited until a thread became free: 64 calls took 28 s instead of 5 s.
HTTP_THREADS = 256

# At every step of the model all its threads wait for each other, spinning, so a thread that loses its core stops them
# all. On 2 cores, 2 threads reach 230 tokens/s when nothing else runs and 11 to 27 next to one busy process; 1 thread
# reaches 130 and 90. Therefore one core is left free. More than 8 threads gain little.
MOST_THREADS = 8

PROMPT_CACHE_MIB = 256  # llama.cpp's default for its cache of earlier prompts is 8 GiB


def parameters(xllamacpp: Any, config: dict[str, Any]) -> Any:
    """Returns llama.cpp's settings for this server, an `xllamacpp.CommonParams`."""
    path = config.get("socket")
    params = xllamacpp.CommonParams()
    params.model.path = config["weights"]
    params.model_alias = {config["name"]}  # the `model` in responses; the default is the file's path on this machine
    # llama.cpp takes a host name that ends in ".sock" as the path of a unix socket. A port of 0 means a free port, so a
    # unix socket, which has none, needs another number.
    params.hostnames = [path or "127.0.0.1"]
    params.port = 1 if path else config.get("port", 0)
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * CONTEXT_PER_SLOT
    if config.get("embeddings"):
        params.embedding = True
        # A text is read in one step, by models that look at all of it at once.
        params.n_batch = params.n_ubatch = CONTEXT_PER_SLOT
    for processors in (params.cpuparams, params.cpuparams_batch):
        processors.n_threads = max(1, min(MOST_THREADS, usable_processors() - 1))
        processors.poll = 0  # sleep, not spin, between two steps
    params.n_threads_http = HTTP_THREADS
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.fit_params = False  # no trial load to fit the context to the memory; the context is set above
    params.verbosity = 2  # warnings and errors
    params.ui = False
    params.endpoint_slots = False  # would show everyone's prompts
    params.cors_origins = "http://127.0.0.1"  # the default lets any web page that is open in a browser use the server
    return params


def wait_for_the_last_user(path: str) -> None:
    """Waits until no process holds a shared lock on the file; who comes after that waits for the end of this process."""
    import fcntl

    fcntl.flock(os.open(path, os.O_RDWR), fcntl.LOCK_EX)


def usable_processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def main() -> None:
    config = json.loads(sys.stdin.readline())
    path = config.get("socket")
    sys.path[:] = config["sys_path"]  # xllamacpp comes from where the parent would import it
    try:
        xllamacpp = importlib.import_module("xllamacpp")
        server = xllamacpp.Server(parameters(xllamacpp, config))
    except Exception as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        os._exit(1)
    with contextlib.suppress(BrokenPipeError):
        os.write(1, f"\nready {server.listening_address}\n".encode())  # one write, so that C++ output cannot split it
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # from here on nobody reads the log
    os.dup2(silence, 2)
    if config.get("users"):
        wait_for_the_last_user(config["users"])
    else:
        sys.stdin.read()
    if path:
        with contextlib.suppress(OSError):
            os.unlink(path)
            os.rmdir(os.path.dirname(path))
    os._exit(0)  # at once: nobody is left to wait for running requests


if __name__ == "__main__":
    main()
