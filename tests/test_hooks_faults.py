"""Tests of hooks where things go wrong: forks, the garbage collector, hooks that wait for hooks, threads that cannot start."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import os
import threading
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Call, RunProgram
from server import MESSAGES, MODEL, Answer, Close, Gate, Server, Stall, dumped, plain, stream_of, streamed

import ritellm
from ritellm import APIConnectionError, CallRecord, Client, IncompleteStreamError, InvalidArgumentError, _core, _hooks

Records = list[CallRecord]

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork() on this system")


@pytest.fixture
def client(at_openai: Server) -> Client:
    return Client(max_retries=0)


class TestCalls:
    def test_answers_without_metadata(self, at_openai: Server) -> None:
        at_openai.answer(Answer(body=dumped({"input_tokens": 11})))
        records: Records = []
        client = Client(base_url=at_openai.url, api_key="k", on_call=records.append)
        assert ritellm.count_tokens("anthropic/claude-sonnet-4-5", MESSAGES, client=client) == 11
        (record,) = records
        assert (record.operation, record.outcome, record.provider) == ("count_tokens", "success", "anthropic")
        assert record.status_code == 200 and record.total > 0

    def test_the_error_of_a_broken_stream_is_whole(self, read: Call, at_openai: Server, client: Client) -> None:
        at_openai.answer(stream_of(*streamed("Hel", "lo").pieces()[:3], Close()))
        seen: list[Any] = []
        client.on_call(lambda record: seen.append(record.error.completion.choices[0].message.content))  # type: ignore[union-attr]
        with pytest.raises(IncompleteStreamError):
            read(client=client)
        assert seen == ["Hello"]

    def test_a_closed_client_begins_nothing(self, call: Call, client: Client) -> None:
        begun: list[str] = []
        records: Records = []

        def begin(operation: str, model: str, provider: str | None) -> tuple[None, None]:
            begun.append(model)
            return None, None

        handle = _core.global_hooks().add(lambda record, _: records.append(record), False, begin)
        client.close()
        with handle, pytest.raises(InvalidArgumentError, match="closed"):
            call(client=client)
        assert (begun, records) == ([], [])

    @pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="it needs /proc")
    def test_a_call_whose_descriptors_are_lost(self, at_openai: Server, run_program: RunProgram) -> None:
        at_openai.answer(Answer(before=[Stall()]))
        source = """
            import os, threading, time
            import ritellm
            records = []
            client = ritellm.Client(on_call=records.append)
            def ask():
                try:
                    client.completion("openai/m", [{"role": "user", "content": "Hi"}])
                except ritellm.APIConnectionError as error:
                    print([record.outcome for record in records], records[0].error is error)
            thread = threading.Thread(target=ask)
            thread.start()
            while client.stats()["in_flight"] == 0 or client.stats()["connections_open"] == 0:
                time.sleep(0.005)
            os.closerange(3, 64)
            thread.join()
        """
        assert run_program(source).check() == "['failed'] True\n"


class TestBegin:
    """Functions that are called before a call."""

    @pytest.fixture
    def began(self, at_openai: Server, client: Client) -> Any:
        def began(begin: Any) -> tuple[list[Any], Any]:
            at_openai.answer(plain())
            tokens: list[Any] = []
            return tokens, client._hooks.add(lambda record, token=None: tokens.append(token), False, begin)

        return began

    @pytest.mark.parametrize(
        ("returned", "text"),
        [
            (("token", {"bad name": "x"}), "no header name"),
            (("token", {"x-a": "line\nbreak"}), "no HTTP header"),
            (("token", 3), "headers is of type int"),
            ("token", "tuple"),
            (ValueError("of the hook"), "of the hook"),
        ],
    )
    def test_what_cannot_be_used_harms_no_call(
        self, call: Call, began: Any, client: Client, caplog: pytest.LogCaptureFixture, returned: Any, text: str
    ) -> None:
        def begin(*_: Any) -> Any:
            if isinstance(returned, Exception):
                raise returned
            return returned

        tokens, _ = began(begin)
        assert call(client=client).choices[0].message.content == "Hello!"
        # What has begun ends, whatever its fields are.
        assert tokens == (["token"] if isinstance(returned, tuple) else [None])
        assert client.stats()["hooks"]["failed"] == 1
        (line,) = caplog.records
        assert line.exc_info and text in str(line.exc_info[1])

    def test_ctrl_c_is_raised(self, call: Call, began: Any, client: Client, at_openai: Server) -> None:
        def begin(*_: Any) -> Any:
            raise KeyboardInterrupt

        began(begin)
        with pytest.raises(KeyboardInterrupt):
            call(client=client)
        assert len(at_openai.requests) == 0

    def test_ctrl_c_ends_what_has_begun(self, call: Call, client: Client, at_openai: Server) -> None:
        def stops(*_: Any) -> Any:
            raise KeyboardInterrupt

        ended: list[Any] = []
        for begin in (lambda *_: ("one", None), stops, lambda *_: ("three", None)):
            client._hooks.add(lambda *given: ended.append(given), False, begin)
        client.on_call(lambda record: ended.append((record, "not reached")))
        with pytest.raises(KeyboardInterrupt) as raised:
            call(client=client)
        ((record, token),) = ended
        assert (token, record.outcome, record.error) == ("one", "failed", raised.value)
        assert (record.provider, record.attempts, len(at_openai.requests)) == ("openai", [], 0)

    def test_fields_are_sent_beside_those_of_functions(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain())
        client = Client(request_headers=lambda request: {"x-own": "1"})
        client._hooks.add(lambda record, token: None, False, lambda *_: (None, {"traceparent": "00-1-2-01"}))
        call(client=client)
        sent = at_openai.requests[0].headers
        assert (sent.get("x-own"), sent.get("traceparent")) == ("1", "00-1-2-01")

    def test_a_field_of_the_caller_s_stays(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain())
        client = Client()
        client._hooks.add(lambda record, token: None, False, lambda *_: (None, {"traceparent": "00-1-2-01"}))
        call(client=client, extra_headers={"Traceparent": "mine"})
        assert at_openai.requests[0].headers.get("traceparent") == "mine"


@needs_fork
class TestForks:
    def test_the_child_records_no_call_of_its_parent(self, at_openai: Server, run_program: RunProgram) -> None:
        at_openai.answer(streamed("Hel", "lo"))
        source = """
            import os, sys
            import ritellm
            def hook(record):
                os.write(1, f"{os.getpid() == parent} {record.outcome}\\n".encode())
            parent = os.getpid()
            client = ritellm.Client(on_call=hook)
            stream = client.completion("openai/m", [{"role": "user", "content": "Hi"}], stream=True)
            next(stream)
            pid = os.fork()
            if pid == 0:
                try:
                    list(stream)
                except ritellm.RiteLLMError:
                    pass
                stream.close()
                del stream
                client.close()
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            list(stream)
        """
        assert run_program(source).check() == "True success\n"

    def test_the_child_calls_hooks_of_its_own_calls(self, at_openai: Server, run_program: RunProgram) -> None:
        """Also where the parent's thread held the lock of the module at the fork."""
        at_openai.answer(streamed("Hi"))
        source = """
            import os, threading
            import ritellm
            from ritellm import _hooks
            records = []
            async def hook(record):
                records.append((threading.current_thread().name, record.outcome))
            client = ritellm.Client(on_call=[hook, lambda record: records.append((threading.current_thread().name, record.outcome))])
            def leave():
                client.completion("openai/m", [{"role": "user", "content": "Hi"}], stream=True)
                assert _hooks.flush(20)
                told = sorted(records)
                records.clear()
                return told
            expected = [("ritellm-hooks", "left"), ("ritellm-hooks-async", "left")]
            assert leave() == expected, records
            held, go = threading.Event(), threading.Event()
            def hold():
                with _hooks._lock:
                    held.set()
                    go.wait()
            thread = threading.Thread(target=hold)
            thread.start()
            held.wait()
            pid = os.fork()
            if pid == 0:
                told = leave()
                os._exit(0 if told == expected else 1)
            go.set()
            thread.join()
            assert os.waitpid(pid, 0)[1] == 0
        """
        run_program(source).check()


class TestGarbage:
    def test_an_exception_that_refers_to_its_record(self, at_openai: Server, client: Client) -> None:
        class Mark:
            pass

        def ask() -> Any:
            mark = Mark()
            records: Records = []
            with client.on_call(records.append), pytest.raises(APIConnectionError) as raised:
                client.completion(MODEL, MESSAGES, base_url="http://127.0.0.1:1/v1")
            # The traceback has this frame, which has the record, which has the exception.
            assert records[0].error is raised.value
            return weakref.ref(mark)

        mark = ask()
        gc.collect()
        assert mark() is None

    def test_a_context_that_refers_to_the_record(self, at_openai: Server, client: Client) -> None:
        at_openai.answer(plain())

        class Kept(list[Any]):
            pass

        records: contextvars.ContextVar[Kept] = contextvars.ContextVar("records")

        def ask() -> Any:
            kept = Kept()
            records.set(kept)
            with client.on_call(kept.append):
                client.completion(MODEL, MESSAGES)
            assert len(kept) == 1
            return weakref.ref(kept)

        kept = contextvars.copy_context().run(ask)
        gc.collect()
        assert kept() is None

    async def test_a_hook_stays_whole_while_a_call_has_it(self, at_openai: Server) -> None:
        """A client that only its own hook refers to is garbage; not so the hook, while a call is under way."""
        at_openai.answer(Answer(before=[gate := Gate()], body=plain().body))
        seen: list[Any] = []

        def begin() -> Any:
            def hook(record: CallRecord) -> None:
                # A function that the collector has cleared has no globals, and its closure is empty.
                seen.append((MODEL, record.model, own.is_closed))

            own = Client(on_call=hook)
            return own.acompletion(MODEL, MESSAGES)

        task = asyncio.ensure_future(begin())
        while not at_openai.requests:
            await asyncio.sleep(0.001)
        gc.collect()
        gate.open()
        await task
        await asyncio.sleep(0)
        assert seen == [(MODEL, MODEL, False)]

    @pytest.mark.parametrize("closure", [False, True])
    def test_a_stream_in_a_cycle_with_its_hook(self, at_openai: Server, closure: bool) -> None:
        at_openai.answer(*[stream_of(*streamed("Hi").pieces()[:2], gate := Gate())])

        class Agent:
            def __init__(self) -> None:
                hook = (lambda record: self.see(record)) if closure else self.see
                self.client = Client(on_call=hook)
                self.stream = self.client.completion(MODEL, MESSAGES, stream=True)
                next(self.stream)

            def see(self, record: CallRecord) -> None:
                pass

        gone = weakref.ref(Agent())
        gc.collect()
        assert gone() is None
        # What is left of the hook is called no more.
        assert _hooks.flush(20)
        gate.open()

    def test_a_hook_of_all_clients_looks_for_a_variable_of_a_context_that_is_gone(self, at_openai: Server) -> None:
        at_openai.answer(*[stream_of(*streamed("Hi").pieces()[:2], gate := Gate())])
        variable = contextvars.ContextVar("variable", default="none")
        seen: list[str] = []

        class Agent:
            def __init__(self) -> None:
                variable.set("known")
                self.client = Client()
                self.stream = self.client.completion(MODEL, MESSAGES, stream=True)
                next(self.stream)
                self.itself = self

        handle = _core.global_hooks().add(lambda record: seen.append(variable.get()), False)
        try:
            gone = weakref.ref(contextvars.copy_context().run(Agent))
            gc.collect()
            assert gone() is None
            # A context that the collector has cleared has no variables any more; to look for one in it crashed the process.
            assert _hooks.flush(20)
            assert seen in (["none"], ["known"])
        finally:
            handle.remove()
            gate.open()


class TestWaiting:
    """Hooks that wait for hooks: they do not wait for themselves."""

    @pytest.mark.parametrize("awaited", [False, True])
    def test_a_hook_that_closes_its_client(self, at_openai: Server, client: Client, awaited: bool) -> None:
        at_openai.answer(streamed("Hi"))
        told: list[Any] = []

        async def hook(record: CallRecord) -> None:
            told.append(await _hooks.aflush(60))

        def plain_hook(record: CallRecord) -> None:
            told.append(_hooks.flush(60))

        client.on_call(hook if awaited else plain_hook)
        # Its record goes to the library's thread.
        client.completion(MODEL, MESSAGES, stream=True)
        # A `flush` that waited for itself would take a minute.
        assert _hooks.flush(20)
        assert told == [awaited]

    async def test_two_tasks_of_hooks_do_not_wait_for_each_other(self, at_openai: Server, client: Client) -> None:
        at_openai.answer(plain())
        told: list[Any] = []

        async def hook(record: CallRecord) -> None:
            told.append(await _hooks.aflush(60))

        client.on_call(hook)
        await asyncio.gather(client.acompletion(MODEL, MESSAGES), client.acompletion(MODEL, MESSAGES))
        while len(told) < 2:
            await asyncio.sleep(0)
        assert told == [True, True]

    async def test_aflush_waits_for_a_call_that_has_just_ended(self, at_openai: Server, client: Client) -> None:
        at_openai.answer(plain())
        seen: list[Any] = []

        async def hook(record: CallRecord) -> None:
            await asyncio.sleep(0.01)
            seen.append(record.model)

        client.on_call(hook)
        await client.acompletion(MODEL, MESSAGES)
        assert await _hooks.aflush(20) and seen == [MODEL]

    def test_one_deadline(self, at_openai: Server, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each wait gets what the ones before have left of the time."""
        at_openai.answer(plain())
        released = threading.Event()

        async def hook(record: CallRecord) -> None:
            await asyncio.get_running_loop().run_in_executor(None, released.wait)

        client.on_call(hook)
        client.completion(MODEL, MESSAGES)
        # By this clock the first wait takes 30 s of 50, and nothing is left for the last ones.
        clock = iter(range(0, 1000, 30))
        rests: list[float] = []

        def flush_hooks(rest: float) -> bool:
            rests.append(rest)
            return True

        monkeypatch.setattr(_hooks, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
        monkeypatch.setattr(_hooks, "_core", SimpleNamespace(flush_hooks=flush_hooks))
        try:
            assert not _hooks.flush(50) and rests == [20]
        finally:
            released.set()


class TestThreads:
    def test_exceptions_end_no_thread_and_lose_no_record(
        self, at_openai: Server, client: Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        at_openai.answer(streamed("Hi"))
        names: list[Any] = []

        def exits(record: CallRecord) -> None:
            raise SystemExit(3)

        client.on_call(exits)
        client.on_call(lambda record: names.append(threading.current_thread().name))
        for _ in range(3):
            client.completion(MODEL, MESSAGES, stream=True)
        assert _hooks.flush(20)
        assert names == ["ritellm-hooks"] * 3 and client.stats()["hooks"]["failed"] == 3
        assert _hooks._thread is not None and _hooks._thread.is_alive()
        assert [line.levelno for line in caplog.records] == [logging.WARNING]

    async def test_records_behind_one_that_ends_the_program_are_delivered(
        self, at_openai: Server, run_program: RunProgram
    ) -> None:
        gate = Gate()
        at_openai.answer(Answer(before=[gate]))
        source = """
            import asyncio, threading
            import ritellm
            def hook(record):
                print(record.model, threading.current_thread().name, flush=True)
                if threading.current_thread() is threading.main_thread():
                    raise SystemExit(3)
            client = ritellm.Client(on_call=hook)
            async def main():
                calls = [client.acompletion(f"openai/{name}", [{"role": "user", "content": "Hi"}]) for name in "abc"]
                await asyncio.gather(*calls)
            asyncio.run(main())
        """
        running = asyncio.create_task(asyncio.to_thread(run_program, source))
        await asyncio.to_thread(at_openai.wait_for_requests, 3)
        gate.open()
        ended = await running
        assert ended.code == 3
        lines = ended.output.splitlines()
        assert sorted(line.split()[0] for line in lines) == ["openai/a", "openai/b", "openai/c"]

    def test_answers_that_wait_take_bounded_memory(self, at_openai: Server, client: Client) -> None:
        at_openai.answer(streamed("x" * (5 << 20)))
        entered, freed = threading.Event(), threading.Event()
        records: Records = []

        def hook(record: CallRecord) -> None:
            entered.set()
            freed.wait(60)
            records.append(record)

        client.on_call(hook)
        try:
            for _ in range(12):
                stream = client.completion(MODEL, MESSAGES, stream=True)
                chunks = iter(stream)
                next(chunks), next(chunks)
                # It is dropped, so its record waits for the other thread.
                del stream, chunks
                entered.wait(60)
            # The first is being delivered, and seven of 5 MB are above 32 MiB.
            assert client.stats()["hooks"]["dropped"] == 4
        finally:
            freed.set()
        assert _hooks.flush(20) and len(records) == 8

    def test_a_thread_that_cannot_start_is_started_later(
        self, at_openai: Server, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        at_openai.answer(plain(), streamed("Hi"), plain())
        records: Records = []

        async def hook(record: CallRecord) -> None:
            records.append(record)

        for name in ("_thread", "_loop", "_loop_thread"):
            monkeypatch.setattr(_hooks, name, None)

        def refused(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        client.on_call(hook)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refused)
            client.completion(MODEL, MESSAGES)
            with pytest.raises(RuntimeError, match="can't start"):
                _hooks.ensure_thread()
        assert client.stats()["hooks"] == {"dropped": 1, "failed": 1}
        client.completion(MODEL, MESSAGES, stream=True)
        client.completion(MODEL, MESSAGES)
        assert _hooks.flush(20) and len(records) == 2

    def test_coroutines_that_wait_for_their_start_are_counted(
        self, at_openai: Server, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        at_openai.answer(plain())
        monkeypatch.setattr(_hooks, "MAX_RUNNING", 2)
        records: Records = []
        freed = threading.Event()

        async def hook(record: CallRecord) -> None:
            records.append(record)

        assert _hooks.flush(20)
        client.on_call(hook)
        _hooks._loop_of_hooks().call_soon_threadsafe(freed.wait, 60)
        try:
            for _ in range(5):
                client.completion(MODEL, MESSAGES)
            assert client.stats()["hooks"]["dropped"] == 3
        finally:
            freed.set()
        assert _hooks.flush(20) and len(records) == 2
        client.completion(MODEL, MESSAGES)
        assert _hooks.flush(20) and len(records) == 3

    @pytest.mark.parametrize("at", ["__init__", "start"])
    def test_a_finaliser_that_needs_the_thread_while_it_starts(self, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
        started: list[threading.Thread] = []
        is_within = False
        known = getattr(threading.Thread, at)

        def comes_again(*args: Any, **kwargs: Any) -> None:
            nonlocal is_within
            if not is_within:
                is_within = True
                _hooks.ensure_thread()
            if at == "__init__":
                known(*args, **kwargs)
            else:
                started.append(args[0])

        monkeypatch.setattr(_hooks, "_thread", None)
        monkeypatch.setattr(threading.Thread, "start", lambda thread: started.append(thread))
        monkeypatch.setattr(threading.Thread, at, comes_again)
        _hooks.ensure_thread()
        assert len(started) == 1 and _hooks._thread is started[0]

    def test_the_lock_may_be_taken_again_by_its_thread(self) -> None:
        # A finaliser that runs in `ensure_thread` may have a record to deliver.
        with _hooks._lock:
            assert _hooks._lock.acquire(timeout=1)
            _hooks._lock.release()

    def test_a_record_that_is_read_while_it_is_made(self, at_openai: Server) -> None:
        """Members of an exception of the caller's run code of the caller's, which may read the same record."""
        kept: Records = []
        told: list[Any] = []

        class Own(RuntimeError):
            @property
            def status_code(self) -> int:
                told.append(kept[0].error is self)
                return 418

        def key() -> str:
            raise Own

        def hook(record: CallRecord) -> None:
            kept.append(record)
            told.append(record.status_code)

        client = Client(api_key=key, on_call=hook)
        with pytest.raises(Own):
            client.completion(MODEL, MESSAGES)
        assert told == [True, 418] and client.stats()["hooks"]["failed"] == 0
