"""The life of a process: import, fork, Ctrl-C and exit. Each test is a program in a process of its own."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import RunProgram, python
from server import (
    PATIENCE,
    Answer,
    Gate,
    Piece,
    Server,
    Stall,
    chunks_of,
    events,
    plain,
    plain_or_streamed,
    stream_of,
)

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork() on this system")
needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="looks into Linux's /proc")

STALLED: list[Piece] = [*events(chunks_of("Hel", "lo")[:3], done=False), Stall()]

# What most programs below begin with.
BEGIN = """
import asyncio, os, sys, threading
from ritellm import acompletion, completion, Client
MESSAGES = [{"role": "user", "content": "Hi"}]
def sync():
    return completion("openai/m", MESSAGES).choices[0].message.content
async def _one():
    return (await acompletion("openai/m", MESSAGES)).choices[0].message.content
def in_loop():
    return asyncio.run(_one())
def stream():
    return "".join(chunk.choices[0].delta.content or "" for chunk in completion("openai/m", MESSAGES, stream=True))
async def _astream():
    return "".join([chunk.choices[0].delta.content or "" async for chunk in await acompletion("openai/m", MESSAGES, stream=True)])
def astream():
    return asyncio.run(_astream())
def all_ways():
    return [sync(), in_loop(), stream(), astream()]
def child(work):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            sys.stdout.flush()
            code = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(code)
    status = os.waitpid(pid, 0)[1]
    assert status == 0, status
"""


def program(body: str) -> str:
    return BEGIN + textwrap.dedent(body)


class TestImport:
    @needs_proc
    def test_no_thread_no_socket_and_no_file(self, run_program: RunProgram) -> None:
        source = """
            import os, sys, threading
            fds = lambda: sorted(os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}"))
            before, environment = fds(), dict(os.environ)
            import ritellm
            client = ritellm.Client()
            assert fds() == before, (before, fds())
            assert len(os.listdir("/proc/self/task")) == 1
            assert threading.active_count() == 1
            assert dict(os.environ) == environment
        """
        run_program(source).check()

    def test_no_module_that_is_not_needed(self, run_program: RunProgram) -> None:
        source = """
            import sys
            before = set(sys.modules)
            import ritellm
            heavy = {"asyncio", "ssl", "socket", "http", "subprocess", "tempfile", "multiprocessing", "concurrent", "logging", "email", "json", "inspect", "dataclasses", "importlib.metadata"}
            print(*sorted(heavy & (set(sys.modules) - before)))
        """
        assert run_program(source).check().split() == []

    def test_no_env_file_is_read(
        self, run_program: RunProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / ".env").write_text("OPENAI_API_KEY=from-file\nGROQ_API_KEY=from-file\n")
        monkeypatch.chdir(tmp_path)
        source = """
            import os
            from ritellm import AuthenticationError, completion
            try:
                completion("groq/m", [], base_url=os.environ["OPENAI_BASE_URL"])
            except AuthenticationError:
                print("no key")
        """
        assert run_program(source).check() == "no key\n"

    @needs_proc
    def test_the_first_call_starts_one_thread(self, run_program: RunProgram, at_openai: Server) -> None:
        at_openai.script = plain_or_streamed("Hi")
        source = """
            all_ways()
            names = [open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")]
            assert len([name for name in names if name == "ritellm"]) == 1, names
            assert len(names) == 2, names
            assert threading.active_count() == 1
        """
        run_program(program(source)).check()

    def test_a_reload_of_the_package(self, run_program: RunProgram, at_openai: Server) -> None:
        at_openai.answer(plain("Hi"))
        source = """
            import importlib, ritellm
            print(sync())
            importlib.reload(ritellm.client), importlib.reload(ritellm)
            print(ritellm.completion("openai/m", MESSAGES).choices[0].message.content)
        """
        assert run_program(program(source)).check() == "Hi\nHi\n"


@needs_fork
class TestFork:
    @pytest.fixture(autouse=True)
    def good_answers(self, at_openai: Server) -> None:
        at_openai.script = plain_or_streamed("Hi")

    def test_before_the_first_call(self, run_program: RunProgram) -> None:
        source = """
            child(lambda: print("child", *all_ways()))
            print("parent", *all_ways())
        """
        assert run_program(program(source)).check() == "child Hi Hi Hi Hi\nparent Hi Hi Hi Hi\n"

    def test_after_calls(self, run_program: RunProgram, at_openai: Server) -> None:
        source = """
            all_ways()
            child(lambda: print("child", *all_ways()))
            print("parent", *all_ways())
            child(lambda: print("child", *all_ways()))
        """
        assert run_program(program(source)).check().splitlines() == [
            "child Hi Hi Hi Hi",
            "parent Hi Hi Hi Hi",
            "child Hi Hi Hi Hi",
        ]

    def test_no_connection_is_shared(self, run_program: RunProgram, at_openai: Server) -> None:
        source = """
            client = Client()
            def call():
                client.completion("openai/m", MESSAGES, who=os.getpid())
                completion("openai/m", MESSAGES, who=os.getpid())
            call()
            for _ in range(3):
                child(call)
                call()
        """
        run_program(program(source)).check()
        processes: dict[int, set[int]] = {}
        for request in at_openai.requests:
            processes.setdefault(request.connection, set()).add(request.json["who"])
        assert all(len(who) == 1 for who in processes.values())

    def test_a_child_of_a_child(self, run_program: RunProgram) -> None:
        source = """
            sync()
            def first():
                print("first", *all_ways())
                child(lambda: print("second", *all_ways()))
                print("first", *all_ways())
            child(first)
            print("parent", *all_ways())
        """
        output = run_program(program(source)).check()
        assert output.splitlines() == [f"{who} Hi Hi Hi Hi" for who in ("first", "second", "first", "parent")]

    def test_while_calls_are_in_flight(self, run_program: RunProgram, at_openai: Server) -> None:
        source = """
            threads = [threading.Thread(target=lambda: [all_ways() for _ in range(10)]) for _ in range(4)]
            for thread in threads:
                thread.start()
            for _ in range(8):
                child(lambda: [all_ways() for _ in range(2)])
            for thread in threads:
                thread.join()
            print("done")
        """
        assert run_program(program(source)).check() == "done\n"

    def test_inside_a_running_loop(self, run_program: RunProgram, at_openai: Server) -> None:
        source = """
            async def main():
                calls = [asyncio.ensure_future(_one()) for _ in range(10)]
                await asyncio.sleep(0)
                child(lambda: print("child", *all_ways()))
                print("parent", *await asyncio.gather(*calls))
            asyncio.run(main())
        """
        assert run_program(program(source)).check() == "child Hi Hi Hi Hi\nparent" + 10 * " Hi" + "\n"

    def test_a_stream_of_the_parent(self, run_program: RunProgram, at_openai: Server) -> None:
        at_openai.script = plain_or_streamed("Hel", "lo")
        source = """
            from ritellm import RiteLLMError
            stream = completion("openai/m", MESSAGES, stream=True)
            next(stream)
            def work():
                global stream
                try:
                    print("read", len(list(stream)))
                except RiteLLMError as error:
                    print("error", "fork" in str(error))
                print(repr(stream), stream.completion.choices[0].message.role, stream.meta.provider)
                stream.close()
                del stream
                print("child", sync())
            child(work)
            print("parent", "".join(chunk.choices[0].delta.content or "" for chunk in stream))
        """
        output = run_program(program(source)).check()
        # Chunks that had come before the fork may be read; what has not come cannot come any more.
        assert output.splitlines()[0] in ("error True", "read 3", "read 2")
        assert output.splitlines()[-2:] == ["child Hello", "parent Hello"]

    def test_a_stream_of_the_parent_that_waits(self, run_program: RunProgram, at_openai: Server) -> None:
        at_openai.answer(stream_of(*STALLED))
        source = """
            from ritellm import RiteLLMError
            stream = completion("openai/m", MESSAGES, stream=True)
            for _ in range(3):
                next(stream)
            def work():
                try:
                    next(stream)
                except RiteLLMError as error:
                    print("fork" in str(error))
                async def read():
                    return [chunk async for chunk in stream]
                print(asyncio.run(read()))
            child(work)
            stream.close()
        """
        assert run_program(program(source)).check() == "True\n[]\n"

    @pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
    def test_multiprocessing(self, run_program: RunProgram, tmp_path: Path, method: str) -> None:
        (tmp_path / "work.py").write_text(BEGIN + "def answer(number):\n    return number, all_ways()\n")
        source = f"""
            import multiprocessing, sys
            sys.path.insert(0, {str(tmp_path)!r})
            import work
            if __name__ == "__main__":
                work.sync()
                with multiprocessing.get_context({method!r}).Pool(3) as pool:
                    for number, answers in pool.map(work.answer, range(6)):
                        assert answers == ["Hi"] * 4
                print(*work.all_ways())
        """
        assert run_program(source).check() == "Hi Hi Hi Hi\n"

    def test_a_process_pool_returns_results_and_errors(self, run_program: RunProgram, at_openai: Server) -> None:
        at_openai.answer(plain("Hi"))
        source = """
            import multiprocessing
            from concurrent.futures import ProcessPoolExecutor
            from ritellm import UnsupportedParamsError
            with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
                response = pool.submit(completion, "openai/m", MESSAGES).result()
                print(type(response).__name__, response.choices[0].message.content, response.meta.provider)
                try:
                    pool.submit(completion, "groq/m", MESSAGES, api_key="k", logprobs=True).result()
                except UnsupportedParamsError as error:
                    print("logprobs" in str(error))
        """
        assert run_program(program(source)).check() == "ChatCompletion Hi openai\nTrue\n"


IN_FLIGHT = {
    "a call in a daemon thread": """
        threading.Thread(target=sync, daemon=True).start()
    """,
    "calls in many daemon threads": """
        for _ in range(8):
            threading.Thread(target=sync, daemon=True).start()
            threading.Thread(target=in_loop, daemon=True).start()
    """,
    "a stream read in a daemon thread": """
        threading.Thread(target=stream, daemon=True).start()
    """,
    "an async stream read in a daemon thread": """
        threading.Thread(target=astream, daemon=True).start()
    """,
    "tasks": """
        async def main():
            tasks.extend(asyncio.ensure_future(_one()) for _ in range(5))
            tasks.append(asyncio.ensure_future(_astream()))
            await asyncio.sleep(0.3)
        tasks = []
        asyncio.run(main())
    """,
}


class TestExit:
    """A program with calls in flight exits at once, without output and with code 0."""

    @pytest.mark.parametrize("body", IN_FLIGHT.values(), ids=IN_FLIGHT)
    def test_with_calls_in_flight(self, run_program: RunProgram, at_openai: Server, body: str) -> None:
        at_openai.script = lambda request: stream_of(*STALLED) if request.wants_stream else Answer(before=[Stall()])
        wait = "import time; time.sleep(0.3); print('end')"
        assert run_program(program(textwrap.dedent(body) + wait)).check() == "end\n"
        assert at_openai.requests

    def test_200_times_over(self, at_openai: Server) -> None:
        """Other moments each time: some with answers arriving, some with none ever to come."""
        at_openai.script = lambda request: (
            plain_or_streamed(*["word "] * 50)(request)
            if random.random() < 0.7
            else (stream_of(*STALLED) if request.wants_stream else Answer(before=[Stall()]))
        )
        source = program("""
            import random, time
            def forever(work):
                while True:
                    work()
            for work in (sync, in_loop, stream, astream):
                threading.Thread(target=forever, args=(work,), daemon=True).start()
            async def main():
                tasks.extend(asyncio.ensure_future(work()) for work in (_one, _astream))
                await asyncio.sleep(random.random() / 10)
            tasks = []
            asyncio.run(main())
            print("end")
        """)

        def run(_: int) -> tuple[int, str, str]:
            ended = subprocess.run(python(source), capture_output=True, text=True, timeout=PATIENCE)
            return ended.returncode, ended.stdout, ended.stderr

        with ThreadPoolExecutor(4) as pool:
            ends = list(pool.map(run, range(200)))
        assert [end for end in ends if end != (0, "end\n", "")] == []

    def test_with_streams_open(self, run_program: RunProgram, at_openai: Server) -> None:
        at_openai.answer(stream_of(*STALLED))
        source = """
            streams = [completion("openai/m", MESSAGES, stream=True) for _ in range(3)]
            next(streams[0])
            cycle = [streams]
            cycle.append(cycle)
            iterator = iter(streams[1])
            next(iterator)
            async def main():
                streams.append(await acompletion("openai/m", MESSAGES, stream=True))
                await anext(streams[-1])
            asyncio.run(main())
            print("end")
        """
        assert run_program(program(source)).check() == "end\n"
        for request in at_openai.requests:
            request.wait_gone()

    def test_with_answers_arriving(self, run_program: RunProgram, at_openai: Server) -> None:
        at_openai.script = plain_or_streamed(*["word "] * 200)
        source = """
            import time
            def forever():
                while True:
                    all_ways()
            for _ in range(6):
                threading.Thread(target=forever, daemon=True).start()
            time.sleep(0.5)
            print("end")
        """
        assert run_program(program(source)).check() == "end\n"

    def test_calls_at_exit(self, run_program: RunProgram, at_openai: Server) -> None:
        at_openai.answer(plain("Hi"))
        source = """
            import atexit
            atexit.register(lambda: print(sync()))
            sync()
        """
        assert run_program(program(source)).check() == "Hi\n"

    def test_a_call_in_a_finaliser(self, run_program: RunProgram, at_openai: Server) -> None:
        at_openai.answer(plain("Hi"))
        source = """
            class Last:
                def __del__(self):
                    print(self.call())
            last = Last()
            last.call = sync
            sync()
            del last
            print("end")
        """
        assert run_program(program(source)).check() == "Hi\nend\n"


Interrupt = Callable[..., tuple[int, str, str]]


@pytest.fixture
def interrupt(at_openai: Server) -> Iterator[Interrupt]:
    """Runs a program, sends it Ctrl-C when it has made its requests and said so: its exit code, output and errors."""
    running: list[subprocess.Popen[str]] = []

    def run(source: str, requests: int, number: int = signal.SIGINT) -> tuple[int, str, str]:
        # A process that was started in the background has Ctrl-C ignored, and hands that on.
        source = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n" + source
        process = subprocess.Popen(
            python(source), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
        )
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        at_openai.wait_for_requests(requests)
        process.send_signal(number)
        output, errors = process.communicate(timeout=PATIENCE)
        return process.returncode, output, errors

    yield run
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


class TestInterrupts:
    """Ctrl-C ends a call that waits; the server never answers, so that a test that ends has shown it."""

    @pytest.fixture(autouse=True)
    def no_answer(self, at_openai: Server) -> None:
        at_openai.script = lambda request: stream_of(*STALLED) if request.wants_stream else Answer(before=[Stall()])

    def test_a_sync_call(self, interrupt: Interrupt, at_openai: Server) -> None:
        source = program("""
            try:
                print("ready", flush=True)
                sync()
            except KeyboardInterrupt:
                print("interrupted")
        """)
        assert interrupt(source, 1) == (0, "interrupted\n", "")
        at_openai.last.wait_gone()

    def test_a_sync_stream(self, interrupt: Interrupt, at_openai: Server) -> None:
        source = program("""
            stream = completion("openai/m", MESSAGES, stream=True)
            try:
                for chunk in stream:
                    if chunk.choices[0].delta.content == "lo":
                        print("ready", flush=True)
            except KeyboardInterrupt:
                print("interrupted", stream.completion.choices[0].message.content)
        """)
        assert interrupt(source, 1) == (0, "interrupted Hello\n", "")

    def test_the_connection_goes_with_it(self, interrupt: Interrupt, at_openai: Server) -> None:
        source = program("""
            try:
                print("ready", flush=True)
                sync()
            except KeyboardInterrupt:
                import time
                while completion("openai/m", MESSAGES, asking=True).choices[0].message.content != "gone":
                    time.sleep(0.01)
                print("interrupted")
        """)

        def script(request: object) -> Answer:
            first, last = at_openai.requests[0], at_openai.last
            if last.json.get("asking"):
                return plain("gone" if first.gone.is_set() else "there")
            return Answer(before=[Stall()])

        at_openai.script = script
        assert interrupt(source, 1) == (0, "interrupted\n", "")

    def test_in_asyncio_run(self, interrupt: Interrupt, at_openai: Server) -> None:
        source = program("""
            async def main():
                print("ready", flush=True)
                await _one()
            try:
                asyncio.run(main())
            except KeyboardInterrupt:
                print("interrupted")
        """)
        assert interrupt(source, 1) == (0, "interrupted\n", "")
        at_openai.last.wait_gone()

    def test_in_a_sync_stream_inside_a_loop(self, interrupt: Interrupt, at_openai: Server) -> None:
        # Not `asyncio.run`: from Python 3.11 on its first Ctrl-C cancels the task, and this task never looks.
        source = program("""
            async def main():
                for chunk in await acompletion("openai/m", MESSAGES, stream=True):
                    if chunk.choices[0].delta.content == "lo":
                        print("ready", flush=True)
            try:
                asyncio.new_event_loop().run_until_complete(main())
            except KeyboardInterrupt:
                print("interrupted")
        """)
        code, output, _ = interrupt(source, 1)
        assert (code, output) == (0, "interrupted\n")

    def test_one_that_nobody_catches(self, interrupt: Interrupt) -> None:
        source = program("""
            print("ready", flush=True)
            sync()
        """)
        code, output, errors = interrupt(source, 1)
        assert code in (-signal.SIGINT, 130)
        assert output == ""
        assert errors.rstrip().endswith("KeyboardInterrupt")

    def test_another_signal_s_handler_runs(self, interrupt: Interrupt) -> None:
        source = program("""
            def leave(number, frame):
                raise SystemExit(7)
            signal.signal(signal.SIGTERM, leave)
            print("ready", flush=True)
            sync()
        """)
        assert interrupt(source, 1, signal.SIGTERM) == (7, "", "")

    def test_a_handler_that_returns_does_not_end_the_call(self, interrupt: Interrupt, at_openai: Server) -> None:
        gate = Gate()
        at_openai.answer(Answer(before=[gate], body=plain("Hi").body), plain("opened"))
        source = program("""
            def go_on(number, frame):
                print("handled", flush=True)
                # In a thread: the gate opens when the server is asked a second time.
                threading.Thread(target=sync).start()
            signal.signal(signal.SIGUSR1, go_on)
            print("ready", flush=True)
            print(sync())
        """)
        opened = at_openai.script

        def script(request: object) -> Answer:
            if len(at_openai.requests) == 2:
                gate.open()
            return opened(request)  # type: ignore[arg-type]

        at_openai.script = script
        assert interrupt(source, 1, signal.SIGUSR1) == (0, "handled\nHi\n", "")
