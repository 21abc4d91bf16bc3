"""Tests of concurrent calls: tasks, event loops and threads, and cancellation."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from server import (
    MESSAGES,
    MODEL,
    PATIENCE,
    Answer,
    Gate,
    Server,
    Stall,
    chunks_of,
    completion_of,
    events,
    eventually,
    plain,
    plain_or_streamed,
    refusal,
    stream_of,
)

from ritellm import ChatCompletion, Client, RiteLLMError, acompletion, completion

needs_3_11 = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="Python 3.10 has no TaskGroup and no asyncio.timeout"
)

SILENT = Answer(before=[Stall()])


def echo(request: Any) -> Answer:
    return plain(request.json["messages"][0]["content"])


async def ask(text: str, **params: Any) -> Any:
    return (await acompletion(MODEL, [{"role": "user", "content": text}], **params)).choices[0].message.content


def ask_sync(text: str) -> Any:
    return completion(MODEL, [{"role": "user", "content": text}]).choices[0].message.content


def waits(server: Server) -> Coroutine[Any, Any, Any]:
    """A call that is never answered."""
    server.answer(SILENT)
    return acompletion(MODEL, MESSAGES)


async def came(server: Server, count: int) -> None:
    await asyncio.to_thread(server.wait_for_requests, count)


class TestManyAtOnce:
    async def test_500_calls(self, at_openai: Server) -> None:
        gate = Gate()
        at_openai.script = lambda request: Answer(before=[gate], body=echo(request).body)
        texts = [f"question {number}" for number in range(500)]
        answers = asyncio.gather(*map(ask, texts))
        await came(at_openai, 500)
        assert at_openai.open_connections == 500
        gate.open()
        assert await answers == texts
        assert len(at_openai.requests) == 500

    async def test_and_then_500_more_on_the_same_connections(self, at_openai: Server) -> None:
        at_openai.script = echo
        for _ in range(2):
            texts = [f"question {number}" for number in range(500)]
            assert await asyncio.gather(*map(ask, texts)) == texts
        assert at_openai.connections <= 500

    async def test_100_streams(self, at_openai: Server) -> None:
        at_openai.script = plain_or_streamed("Hel", "lo")

        async def read() -> str:
            stream = await acompletion(MODEL, MESSAGES, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        assert await asyncio.gather(*(read() for _ in range(100))) == ["Hello"] * 100

    async def test_some_fail(self, at_openai: Server) -> None:
        at_openai.script = lambda request: refusal(400) if request.json["bad"] else echo(request)
        calls = [ask(str(number), bad=number % 3 == 0) for number in range(60)]
        for number, result in enumerate(await asyncio.gather(*calls, return_exceptions=True)):
            if number % 3 == 0:
                assert isinstance(result, RiteLLMError)
            else:
                assert result == str(number)

    async def test_the_loop_goes_on_meanwhile(self, at_openai: Server) -> None:
        gate = Gate()
        at_openai.answer(Answer(before=[gate], body=plain().body))
        task = asyncio.create_task(acompletion(MODEL, MESSAGES))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not task.done()
        gate.open()
        assert await task == completion_of()

    def test_an_interrupt_in_the_midst_of_many_answers(self, at_openai: Server) -> None:
        """The loop may be run again afterwards; until then nobody hears of the other answers, and none is lost."""
        gate = Gate()
        at_openai.script = lambda request: Answer(before=[gate], body=echo(request).body)
        client = Client()

        async def work(number: int) -> Any:
            response = await client.acompletion(MODEL, [{"role": "user", "content": str(number)}])
            if number == 40:
                raise KeyboardInterrupt
            return response.choices[0].message.content

        loop = asyncio.new_event_loop()
        tasks = [loop.create_task(work(number)) for number in range(100)]
        loop.run_until_complete(came(at_openai, 100))
        gate.open()
        eventually(lambda: client.stats()["in_flight"] == 0)
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(asyncio.gather(*tasks))
        assert not all(task.done() for task in tasks)
        loop.run_until_complete(asyncio.wait(tasks))
        assert isinstance(tasks[40].exception(), KeyboardInterrupt)
        assert [task.result() for task in tasks if task is not tasks[40]] == [str(n) for n in range(100) if n != 40]
        loop.close()

    def test_sync_calls_from_32_threads(self, at_openai: Server) -> None:
        gate = Gate()
        at_openai.script = lambda request: Answer(before=[gate], body=echo(request).body)
        texts = [f"question {number}" for number in range(32)]
        with ThreadPoolExecutor(32) as pool:
            answers = pool.map(ask_sync, texts)
            at_openai.wait_for_requests(32)
            gate.open()
            assert list(answers) == texts

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_thread_that_has_its_answer_holds_up_no_other(self, at_openai: Server, stream: bool) -> None:
        gate = Gate()
        answer = plain_or_streamed("Hel", "lo")
        at_openai.script = lambda request: replace(answer(request), before=[gate])
        everybody_answered = threading.Barrier(32)

        def work(_: int) -> None:
            for _ in range(3):
                response = completion(MODEL, MESSAGES, stream=stream)
                if stream:
                    next(response)
                everybody_answered.wait(PATIENCE)

        with ThreadPoolExecutor(32) as pool:
            done = pool.map(work, range(32))
            at_openai.wait_for_requests(32)
            gate.open()
            list(done)

    def test_one_client_in_threads_and_loops(self, at_openai: Server) -> None:
        at_openai.script = echo
        client = Client()

        def in_a_loop(text: str) -> Any:
            async def main() -> Any:
                messages = [{"role": "user", "content": text}]
                return await asyncio.gather(*(client.acompletion(MODEL, messages) for _ in range(5)))

            return [response.choices[0].message.content for response in asyncio.run(main())]

        with ThreadPoolExecutor(8) as pool:
            for text, answers in zip("abcdefghijklmnop", pool.map(in_a_loop, "abcdefghijklmnop"), strict=True):
                assert answers == [text] * 5
            texts = [str(number) for number in range(40)]
            assert list(pool.map(ask_sync, texts)) == texts


class TestCancellation:
    async def test_a_task(self, at_openai: Server) -> None:
        task = asyncio.create_task(waits(at_openai))
        await came(at_openai, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        at_openai.last.wait_gone()
        at_openai.wait_for_connections(0)

    async def test_a_hundred_tasks(self, at_openai: Server) -> None:
        at_openai.answer(SILENT)
        tasks = [asyncio.create_task(acompletion(MODEL, MESSAGES)) for _ in range(100)]
        await came(at_openai, 100)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        await asyncio.to_thread(at_openai.wait_for_connections, 0)
        at_openai.answer(plain())
        assert await acompletion(MODEL, MESSAGES) == completion_of()

    async def test_one_of_many(self, at_openai: Server) -> None:
        gate = Gate()
        at_openai.answer(Answer(before=[gate], body=plain().body))
        tasks = [asyncio.create_task(acompletion(MODEL, MESSAGES)) for _ in range(10)]
        await came(at_openai, 10)
        tasks[3].cancel()
        await asyncio.to_thread(at_openai.wait_for_connections, 9)
        gate.open()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(result, asyncio.CancelledError) for result in results] == [place == 3 for place in range(10)]

    async def test_before_it_began(self, at_openai: Server) -> None:
        task = asyncio.create_task(waits(at_openai))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert at_openai.requests == []

    async def test_right_after_it_began(self, at_openai: Server) -> None:
        task = asyncio.create_task(waits(at_openai))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(at_openai.wait_for_connections, 0)

    async def test_after_the_answer(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        task = asyncio.create_task(acompletion(MODEL, MESSAGES))
        assert await task == completion_of()
        assert not task.cancel()

    async def test_at_any_moment(self, at_openai: Server) -> None:
        """Cancelled while answers arrive, each task ends one way or the other, and the loop stays whole."""
        at_openai.script = echo
        for turn in range(20):
            tasks = [asyncio.create_task(ask(str(number))) for number in range(10)]
            for _ in range(turn):
                await asyncio.sleep(0.0005)
            for task in tasks[::2]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            for number, result in enumerate(results):
                assert result == str(number) or (number % 2 == 0 and isinstance(result, asyncio.CancelledError))

    async def test_wait_for(self, at_openai: Server) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(waits(at_openai), 0.2)
        await asyncio.to_thread(at_openai.last.wait_gone)

    async def test_wait_for_that_is_not_needed(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        assert await asyncio.wait_for(acompletion(MODEL, MESSAGES), PATIENCE) == completion_of()

    @needs_3_11
    async def test_timeout(self, at_openai: Server) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await waits(at_openai)
        await asyncio.to_thread(at_openai.last.wait_gone)

    @needs_3_11
    async def test_a_task_group_whose_other_task_fails(self, at_openai: Server) -> None:
        at_openai.script = lambda request: refusal(401) if request.json.get("bad") else SILENT
        with pytest.raises(BaseExceptionGroup) as caught:  # noqa: F821 - there from Python 3.11 on
            async with asyncio.TaskGroup() as group:
                for _ in range(5):
                    group.create_task(acompletion(MODEL, MESSAGES))
                await came(at_openai, 5)
                group.create_task(acompletion(MODEL, MESSAGES, bad=True))
        assert len(caught.value.exceptions) == 1
        for request in at_openai.requests[:5]:
            await asyncio.to_thread(request.wait_gone)

    @needs_3_11
    async def test_a_task_group(self, at_openai: Server) -> None:
        at_openai.script = echo
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(str(number))) for number in range(20)]
        assert [task.result() for task in tasks] == [str(number) for number in range(20)]

    async def test_as_completed_and_wait(self, at_openai: Server) -> None:
        at_openai.script = echo
        first = [await answer for answer in asyncio.as_completed([ask(str(number)) for number in range(10)])]
        assert sorted(first, key=int) == [str(number) for number in range(10)]
        done, pending = await asyncio.wait([asyncio.ensure_future(ask("x")) for _ in range(5)])
        assert (len(done), len(pending)) == (5, 0)

    async def test_shield(self, at_openai: Server) -> None:
        gate = Gate()
        at_openai.answer(Answer(before=[gate], body=plain().body))
        inner = asyncio.ensure_future(acompletion(MODEL, MESSAGES))
        outer = asyncio.ensure_future(asyncio.shield(inner))
        await came(at_openai, 1)
        outer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outer
        gate.open()
        assert await inner == completion_of()

    async def test_a_coroutine_that_is_closed(self, at_openai: Server) -> None:
        call = waits(at_openai)
        future = call.send(None)
        assert asyncio.isfuture(future)
        await came(at_openai, 1)
        call.close()
        await asyncio.to_thread(at_openai.last.wait_gone)

    async def test_a_coroutine_that_is_never_awaited_sends_nothing(self, at_openai: Server) -> None:
        waits(at_openai).close()
        await asyncio.sleep(0.05)
        assert at_openai.requests == []


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are there from Python 3.12 on")
class TestEagerTasks:
    """Tasks that begin where they are made: a call may be under way before its task is known to the loop."""

    @pytest.fixture(autouse=True)
    async def eager(self) -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]

    async def test_calls_and_streams(self, at_openai: Server) -> None:
        at_openai.script = echo
        tasks = [asyncio.create_task(ask(str(number))) for number in range(20)]
        assert await asyncio.gather(*tasks) == [str(number) for number in range(20)]
        at_openai.script = plain_or_streamed("Hel", "lo")

        async def read() -> str:
            stream = await acompletion(MODEL, MESSAGES, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        assert await asyncio.gather(*[asyncio.create_task(read()) for _ in range(20)]) == ["Hello"] * 20

    async def test_cancelled_at_once_and_later(self, at_openai: Server) -> None:
        tasks = [asyncio.create_task(waits(at_openai)) for _ in range(10)]
        for task in tasks[:5]:
            task.cancel()
        await asyncio.sleep(0.1)
        for task in tasks[5:]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        await asyncio.to_thread(at_openai.wait_for_connections, 0)

    async def test_an_error_before_anything_is_sent(self, at_openai: Server) -> None:
        task = asyncio.create_task(acompletion(MODEL, MESSAGES, max_retries="many"))
        with pytest.raises(RiteLLMError, match="max_retries"):
            await task

    async def test_a_task_group_and_a_timeout(self, at_openai: Server) -> None:
        at_openai.script = echo
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(str(number))) for number in range(5)]
        assert [task.result() for task in tasks] == [str(number) for number in range(5)]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await asyncio.create_task(waits(at_openai))


class NoReaders(asyncio.SelectorEventLoop):
    """An event loop like Windows' proactor loop, which cannot watch a socket."""

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:  # type: ignore[override]
        raise NotImplementedError

    def remove_reader(self, fd: Any) -> bool:
        raise NotImplementedError


def uvloop_loop() -> asyncio.AbstractEventLoop:
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed")
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


@pytest.fixture(params=[asyncio.new_event_loop, NoReaders, uvloop_loop], ids=["asyncio", "no add_reader", "uvloop"])
def new_loop(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    made: Callable[[], asyncio.AbstractEventLoop] = request.param
    return made


class TestLoops:
    def run(self, loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, Any]) -> Any:
        try:
            return loop.run_until_complete(main)
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    def test_plain_calls(self, at_openai: Server, new_loop: Any) -> None:
        at_openai.script = echo

        async def main() -> Any:
            one = await ask("one")
            return one, await asyncio.gather(*(ask(str(number)) for number in range(50)))

        for _ in range(3):
            assert self.run(new_loop(), main()) == ("one", [str(number) for number in range(50)])

    def test_streams(self, at_openai: Server, new_loop: Any) -> None:
        gate = Gate()
        first, *rest = events(chunks_of("Hel", "lo"))
        at_openai.answer(stream_of(first, gate, *rest))

        async def main() -> Any:
            stream = await acompletion(MODEL, MESSAGES, stream=True)
            chunks = [await anext(stream)]
            asyncio.get_running_loop().call_later(0.05, gate.open)
            chunks += [chunk async for chunk in stream]
            return chunks

        assert self.run(new_loop(), main()) == chunks_of("Hel", "lo")[:-1]

    def test_errors(self, at_openai: Server, new_loop: Any) -> None:
        at_openai.answer(refusal(404))

        async def main() -> Any:
            with pytest.raises(RiteLLMError):
                await acompletion(MODEL, MESSAGES)

        self.run(new_loop(), main())

    def test_cancellation(self, at_openai: Server, new_loop: Any) -> None:
        async def main() -> None:
            task = asyncio.ensure_future(waits(at_openai))
            await came(at_openai, 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.to_thread(at_openai.last.wait_gone)

        self.run(new_loop(), main())

    def test_a_loop_that_is_closed_before_the_answer(self, at_openai: Server, new_loop: Any) -> None:
        gate = Gate()
        at_openai.answer(Answer(before=[gate], body=plain().body))
        loop = new_loop()
        task: Any = loop.create_task(acompletion(MODEL, MESSAGES))
        loop.run_until_complete(came(at_openai, 1))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        gate.open()
        assert completion(MODEL, MESSAGES) == completion_of()
        self.run(new_loop(), acompletion(MODEL, MESSAGES))
        # Nobody can finish it any more, and asyncio would say so.
        task._log_destroy_pending = False
        task.get_coro().close()

    def test_in_threads_at_once(self, at_openai: Server, new_loop: Any) -> None:
        at_openai.script = echo

        async def main(name: str) -> Any:
            return await asyncio.gather(*(ask(f"{name} {number}") for number in range(10)))

        def thread(name: str) -> Any:
            return self.run(new_loop(), main(name))

        names = [f"thread {number}" for number in range(8)]
        with ThreadPoolExecutor(8) as pool:
            for name, answers in zip(names, pool.map(thread, names), strict=True):
                assert answers == [f"{name} {number}" for number in range(10)]

    def test_they_come_and_go_in_many_threads(self, at_openai: Server, new_loop: Any) -> None:
        """One that is gone may have stood where another one stands now."""
        at_openai.script = echo

        def thread(name: str) -> list[Any]:
            return [self.run(new_loop(), ask(f"{name} {number}")) for number in range(25)]

        with ThreadPoolExecutor(8) as pool:
            for name, answers in zip("abcdefgh", pool.map(thread, "abcdefgh"), strict=True):
                assert answers == [f"{name} {number}" for number in range(25)]

    def test_debug_mode(self, at_openai: Server, new_loop: Any) -> None:
        at_openai.script = plain_or_streamed("Hello!")

        async def main() -> Any:
            stream = await acompletion(MODEL, MESSAGES, stream=True)
            return await acompletion(MODEL, MESSAGES), [chunk async for chunk in stream]

        loop = new_loop()
        loop.set_debug(True)
        loop.slow_callback_duration = PATIENCE
        response, chunks = self.run(loop, main())
        assert response == completion_of()
        assert len(chunks) == 3


class TestNothingIsLeft:
    @pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files as Linux shows them")
    def test_asyncio_run_many_times(self, at_openai: Server) -> None:
        at_openai.script = echo

        def run(times: int) -> int:
            for number in range(times):
                assert asyncio.run(ask(str(number))) == str(number)
            gc.collect()
            return len(os.listdir("/proc/self/fd"))

        before = run(5)
        assert run(50) <= before + 5

    @pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files as Linux shows them")
    def test_loops_that_end_with_a_call_in_flight(self, at_openai: Server) -> None:
        async def main() -> None:
            asyncio.ensure_future(waits(at_openai))  # noqa: RUF006
            await asyncio.sleep(0)

        def run(times: int) -> int:
            for _ in range(times):
                asyncio.run(main())
            gc.collect()
            at_openai.wait_for_connections(0)
            return len(os.listdir("/proc/self/fd"))

        before = run(5)
        assert run(50) <= before + 5

    def test_results_go(self, at_openai: Server) -> None:
        at_openai.script = echo

        def alive() -> int:
            gc.collect()
            return sum(type(value) is ChatCompletion for value in gc.get_objects())

        before = alive()
        for number in range(20):
            ask_sync(str(number))
        asyncio.run(self.many())
        assert alive() <= before

    async def many(self) -> None:
        await asyncio.gather(*(ask(str(number)) for number in range(20)))

    def test_one_thread_however_many_clients_and_calls(self, at_openai: Server) -> None:
        at_openai.script = echo
        ask_sync("x")
        before = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0
        for _ in range(10):
            Client().completion(MODEL, MESSAGES)
            asyncio.run(ask("x"))
        if before:
            assert len(os.listdir("/proc/self/task")) <= before

    def test_errors_go(self, at_openai: Server) -> None:
        at_openai.answer(refusal(404))

        async def fail() -> None:
            with pytest.raises(RiteLLMError):
                await acompletion(MODEL, MESSAGES)

        def alive() -> int:
            gc.collect()
            return sum(isinstance(value, RiteLLMError) for value in gc.get_objects())

        before = alive()
        for _ in range(10):
            asyncio.run(fail())
        assert alive() <= before

    def test_a_client_that_is_dropped_closes_its_connections(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        client = Client()
        client.completion(MODEL, MESSAGES)
        assert at_openai.open_connections == 1
        del client
        gc.collect()
        eventually(lambda: at_openai.open_connections == 0, "the end of the client's connections")


def test_without_a_loop_it_is_said(at_openai: Server) -> None:
    call = acompletion(MODEL, MESSAGES)
    with pytest.raises(RuntimeError, match="no running event loop"):
        call.send(None)
    assert at_openai.requests == []
