"""Tests of ``on_call``: the records of calls, where hooks run and when, and what they cannot harm."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import logging
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import Call, RunProgram
from server import (
    MESSAGES,
    MODEL,
    Answer,
    Close,
    Gate,
    Server,
    Stall,
    dumped,
    eventually,
    plain,
    refusal,
    stream_of,
    streamed,
)

import ritellm
from ritellm import CallRecord, Client, IncompleteStreamError, InvalidArgumentError, RateLimitError, Router
from ritellm.exceptions import BadRequestError

Records = list[CallRecord]


def resident() -> int:
    """Returns the number of bytes of memory that this process has in use."""
    status = Path("/proc/self/statm")
    if not status.exists():
        pytest.skip("it needs /proc")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def client(at_openai: Server) -> Client:
    return Client(max_retries=1)


class TestRecords:
    def test_a_plain_call(self, call: Call, at_openai: Server, client: Client) -> None:
        at_openai.answer(plain(headers={"x-request-id": "req_1"}))
        records: Records = []
        client.with_options(tags={"team": "a"}).on_call(records.append)
        response = call(client=client.with_options(tags={"team": "b"}), temperature=0.5, user="me")
        (record,) = records
        shown = record.to_dict()
        assert json.loads(json.dumps(shown)) == shown
        told = ("operation", "model", "outcome", "provider", "provider_model", "response_model", "response_id")
        assert [shown[name] for name in told] == [
            *("chat", MODEL, "success", "openai", "gpt-4o-mini", "gpt-4o-mini-2024-07-18", "chatcmpl-1")
        ]
        assert (record.status_code, record.request_id, record.retries, record.stream) == (200, "req_1", 0, False)
        assert record.finish_reasons == ["stop"]
        assert record.usage == {**dict.fromkeys(record.usage or {}, 0), "input": 9, "output": 3}
        assert record.usage == response.meta.usage and record.attempts[0].latency == response.meta.attempts[0].latency
        assert not record.usage_is_estimated and record.cost is None and record.error is None
        assert record.host == at_openai.url.split("/")[2] == record.attempts[0].host
        assert 0 < record.attempts[0].latency <= record.total < 60 and record.waited == 0
        assert (record.tags, record.parameters) == ({"team": "b"}, {"temperature": 0.5})
        assert record.first_chunk is None and record.row is None
        assert (response.meta.total, response.meta.waited) == (response.meta.latency, 0) and record.total > 0
        assert response.meta.total <= record.total
        assert repr(record).startswith("<CallRecord chat openai/gpt-4o-mini success, 0.")

    def test_content_only_if_asked_for(self, call: Call, at_openai: Server, client: Client) -> None:
        at_openai.answer(plain("Hello!"))
        with_content: Records = []
        without: Records = []
        client.on_call(without.append)
        client.on_call(with_content.append, content=True)
        tools = [{"type": "mcp", "server_label": "x", "headers": {"Authorization": "Bearer of-the-tool-1234"}}]
        call(client=client, tools=tools, metadata={"a": "b"}, user="me")
        assert with_content[0].input == MESSAGES
        assert with_content[0].output.choices[0].message.content == "Hello!"
        assert with_content[0].parameters["metadata"] == {"a": "b"}
        assert "of-the-tool-1234" not in str(with_content[0].to_dict())
        assert (without[0].input, without[0].output, without[0].parameters) == (None, None, {})
        assert MESSAGES[0]["content"] not in str(without[0].to_dict())

    def test_a_call_that_fails(self, call: Call, at_openai: Server, client: Client) -> None:
        at_openai.answer(refusal(429, "slow down", headers={"retry-after-ms": "1", "x-request-id": "req_2"}))
        records: Records = []
        client.on_call(records.append)
        with pytest.raises(RateLimitError) as raised:
            call(client=client)
        (record,) = records
        assert record.outcome == "failed" and record.error is raised.value
        assert (record.status_code, record.request_id, record.retries) == (429, "req_2", 1)
        assert [attempt.error for attempt in record.attempts] == ["RateLimitError", "RateLimitError"]
        assert record.usage is None and record.provider == "openai"
        assert record.to_dict()["error"] == "RateLimitError: openai answered 429: slow down"

    def test_a_retry_that_succeeds(self, call: Call, at_openai: Server, client: Client) -> None:
        at_openai.answer(refusal(503, headers={"retry-after-ms": "1"}), plain())
        records: Records = []
        client.on_call(records.append)
        call(client=client)
        assert [attempt.outcome for attempt in records[0].attempts] == ["failed", "success"]
        assert records[0].retries == 1 and records[0].outcome == "success" and records[0].usage is not None

    def test_an_answer_that_cannot_be_read(self, call: Call, at_openai: Server, client: Client) -> None:
        at_openai.answer(Answer(body=b'{"choices": [1,'))
        records: Records = []
        client.on_call(records.append)
        with pytest.raises(ritellm.APIResponseValidationError) as raised:
            call(client=client)
        assert records[0].outcome == "failed" and records[0].error is raised.value

    def test_a_call_that_is_refused_before_it_begins_has_none(self, client: Client) -> None:
        records: Records = []
        client.on_call(records.append)
        with pytest.raises(InvalidArgumentError):
            client.completion(MODEL, [1])  # type: ignore[list-item]
        assert records == []

    def test_a_stream(self, read: Call, at_openai: Server, client: Client) -> None:
        at_openai.answer(streamed("Hel", "lo", "!"))
        records: Records = []
        client.on_call(records.append, content=True)
        chunks, stream = read(client=client)
        (record,) = records
        assert (record.outcome, record.stream, record.finish_reasons) == ("success", True, ["stop"])
        assert record.chunks == len(chunks) and record.usage is not None and record.usage == stream.meta.usage
        assert record.first_chunk is not None and 0 < record.first_chunk <= record.total
        # The stream's own metadata have the same figures.
        times = (record.total, record.waited, record.first_chunk, record.chunks, record.between_chunks)
        meta = stream.meta
        assert (meta.waited, meta.first_chunk, meta.chunks) == times[1:4]
        assert meta.total <= record.total and meta.between_chunks == pytest.approx(
            (meta.total - meta.first_chunk) / (meta.chunks - 1), abs=1e-8
        )
        assert record.between_chunks is not None and record.output.choices[0].message.content == "Hello!"

    def test_a_stream_without_usage_has_none(self, read: Call, at_openai: Server, client: Client) -> None:
        from server import chunks_of, events

        at_openai.answer(stream_of(*events(chunks_of("Hi", usage=False))))
        records: Records = []
        client.on_call(records.append)
        read(client=client)
        assert records[0].usage is None and not records[0].usage_is_estimated

    def test_a_stream_that_breaks(self, read: Call, at_openai: Server, client: Client) -> None:
        at_openai.answer(stream_of(*streamed("x" * 400).pieces()[:2], Close()))
        records: Records = []
        client.on_call(records.append)
        with pytest.raises(IncompleteStreamError) as raised:
            read(client=client)
        (record,) = records
        assert record.outcome == "failed" and record.error is raised.value
        assert record.usage_is_estimated and record.usage is not None and record.usage.output == 100
        assert record.attempts[0].outcome == "failed"

    @pytest.mark.parametrize("how", ["break", "close", "drop", "raise", "collected"])
    @pytest.mark.parametrize("awaited", [False, True])
    def test_a_stream_that_is_left(self, at_openai: Server, client: Client, how: str, awaited: bool) -> None:
        gate = Gate()
        at_openai.answer(stream_of(*streamed("x" * 40, "y").pieces()[:2], gate))
        records: Records = []
        client.on_call(records.append, content=True)

        def leave(stream: Any) -> None:
            if how == "collected":
                cycle: list[Any] = [stream]
                cycle.append(cycle)
                del stream, cycle
                gc.collect()
            elif how == "close":
                stream.close()

        async def main() -> None:
            stream = await client.acompletion(MODEL, MESSAGES, stream=True)
            if how == "raise":
                with pytest.raises(KeyError, match="of the loop"):
                    async for chunk in stream:
                        if chunk.choices[0].delta.content:
                            raise KeyError("of the loop")
            elif how == "break":
                async for chunk in stream:
                    if chunk.choices[0].delta.content:
                        break
            else:
                await anext(stream), await anext(stream)
                leave(stream)
            del stream
            await asyncio.sleep(0)

        def run() -> None:
            stream = client.completion(MODEL, MESSAGES, stream=True)
            if how == "raise":
                # Its finaliser runs while the exception is raised, and Python code with it.
                with pytest.raises(KeyError, match="of the loop"):
                    for chunk in stream:
                        if chunk.choices[0].delta.content:
                            raise KeyError("of the loop")
            elif how == "break":
                for chunk in stream:
                    if chunk.choices[0].delta.content:
                        break
            else:
                next(stream), next(stream)
                leave(stream)
            del stream

        asyncio.run(main()) if awaited else run()
        if how == "collected":
            gc.collect()
        gate.open()
        eventually(lambda: len(records) == 1, "the record of the stream")
        (record,) = records
        assert record.outcome == "left" and record.error is None and record.finish_reasons == []
        assert record.usage_is_estimated and record.usage is not None
        assert record.usage.output == 10 and record.usage.input > 0
        assert record.output.choices[0].message.content == "x" * 40
        assert record.chunks == 2 and record.first_chunk is not None and record.status_code == 200

    @pytest.mark.parametrize("how", ["cancelled", "timeout"])
    async def test_a_task_that_is_given_up(self, at_openai: Server, client: Client, how: str) -> None:
        at_openai.answer(refusal(503, headers={"retry-after-ms": "1"}), Answer(before=[Stall()]))
        records: Records = []
        client.on_call(records.append)
        call = client.acompletion(MODEL, MESSAGES)
        if how == "timeout":
            with pytest.raises(asyncio.TimeoutError):  # another class in Python 3.10
                await asyncio.wait_for(call, 0.2)
        else:
            task = asyncio.ensure_future(call)
            while len(at_openai.requests) < 2:
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await asyncio.sleep(0)
        (record,) = records
        assert record.outcome == "aborted" and record.error is None and record.provider == "openai"
        assert [attempt.outcome for attempt in record.attempts] == ["failed", "aborted"]
        assert [attempt.number for attempt in record.attempts] == [1, 2] and record.retries == 1

    def test_other_operations(self, at_openai: Server, client: Client) -> None:
        tokens = {"total_tokens": 4, "prompt_tokens": 4}
        vectors = {"object": "list", "data": [{"embedding": [0.5], "index": 0}], "model": "e-1", "usage": tokens}
        response = {"id": "resp_1", "object": "response", "status": "completed", "model": "m-1", "output": []}
        response["usage"] = {"input_tokens": 3, "output_tokens": 2}
        at_openai.answer(
            *(Answer(body=dumped(body)) for body in (vectors, response)),
            Answer(body=b"audio", headers={"content-type": "audio/mpeg"}),
            Answer(body=dumped({"data": [], "object": "list", "has_more": False})),
        )
        records: Records = []
        client.on_call(records.append)
        client.embedding("openai/e", ["a"])
        client.responses("openai/m", "Hi")
        client.speech("openai/tts", "Hi", "alloy")
        list(client.files.list("openai"))
        assert [record.operation for record in records] == ["embedding", "responses", "speech", "file_list"]
        assert [record.usage and record.usage.input for record in records] == [4, 3, None, None]
        assert records[1].finish_reasons == ["completed"] and records[1].response_id == "resp_1"
        assert records[3].model == "openai" and records[2].parameters == {"voice": "alloy"}

    def test_a_router(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(refusal(500), plain())
        records: Records = []
        router = Router({"fast": ["openai/a", "openai/b"]}, strategy="ordered", on_call=records.append)
        call("fast", client=router)
        (record,) = records
        assert (record.model, record.provider_model, record.deployment) == ("fast", "b", "openai/b")
        assert [(a.deployment, a.outcome, a.reason) for a in record.attempts] == [
            ("openai/a", "failed", "first"),
            ("openai/b", "success", "sibling"),
        ]
        assert {attempt.host for attempt in record.attempts} == {record.host} == {at_openai.url.split("/")[2]}

    def test_a_router_s_stream_counts_from_the_call_on(self, read: Call, at_openai: Server) -> None:
        at_openai.answer(refusal(500), streamed("Hi", "!"))
        records: Records = []
        router = Router({"fast": ["openai/a", "openai/b"]}, strategy="ordered", on_call=records.append)
        chunks, _ = read("fast", client=router)
        (record,) = records
        assert record.chunks == len(chunks) and record.usage is not None
        assert record.first_chunk is not None and record.attempts[1].started <= record.first_chunk <= record.total

    @pytest.mark.parametrize("content", [False, True])
    def test_a_record_that_is_kept_keeps_no_content(self, at_openai: Server, client: Client, content: bool) -> None:
        at_openai.answer(plain("z" * 1_000_000))
        records: Records = []
        client.on_call(records.append, content=content)
        messages = [{"role": "user", "content": "y" * 1_000_000}]
        client.completion(MODEL, messages)
        before = resident()
        for _ in range(8):
            at_openai.requests.clear()
            client.completion(MODEL, messages)
        # 2 MB a record with the content, 100 kB without.
        grown = (resident() - before) / 8
        assert grown > 1_000_000 if content else grown < 1_000_000
        assert (records[0].finish_reasons, records[0].response_model) == (["stop"], "gpt-4o-mini-2024-07-18")
        assert records[0].usage is not None and records[0].parameters == {}

    @pytest.mark.parametrize("awaited", [False, True])
    def test_a_kept_answer(self, at_openai: Server, awaited: bool) -> None:
        at_openai.answer(plain(), streamed("Hi"))
        records: Records = []
        client = Client(cache=ritellm.Cache.memory(), on_call=records.append)

        async def main() -> None:
            await client.acompletion(MODEL, MESSAGES)
            await asyncio.sleep(0)

        async def stream() -> None:
            async for _ in await client.acompletion(MODEL, MESSAGES, stream=True):
                pass
            await asyncio.sleep(0)

        for _ in range(2):
            asyncio.run(main()) if awaited else client.completion(MODEL, MESSAGES)
        for _ in range(2):
            asyncio.run(stream()) if awaited else list(client.completion(MODEL, MESSAGES, stream=True))
        assert len(at_openai.requests) == 2
        assert [record.cached for record in records] == [False, True, False, True]
        assert [record.usage and record.usage.input for record in records] == [9, 0, 9, 0]
        assert records[1].attempts == [] and records[1].cost == 0 and records[1].finish_reasons == ["stop"]

    @pytest.mark.parametrize("awaited", [False, True])
    def test_a_stream_that_nobody_reads(self, at_openai: Server, client: Client, awaited: bool) -> None:
        at_openai.answer(streamed("Hi"))
        records: Records = []
        client.on_call(records.append)

        async def main() -> None:
            await client.acompletion(MODEL, MESSAGES, stream=True)
            await asyncio.sleep(0)

        asyncio.run(main()) if awaited else client.completion(MODEL, MESSAGES, stream=True)
        eventually(lambda: len(records) == 1, "the record of the stream")
        assert records[0].outcome == "left" and records[0].usage is not None

    def test_a_stream_of_responses(self, at_openai: Server, client: Client) -> None:
        done = {"id": "resp_1", "object": "response", "status": "completed", "model": "m-1", "output": []}
        done["usage"] = {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18}
        events = [
            {"type": "response.created", "response": {**done, "status": "in_progress", "usage": None}},
            {"type": "response.completed", "response": done},
        ]
        at_openai.answer(stream_of(*(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events)))
        records: Records = []
        client.on_call(records.append)
        assert len(list(client.responses("openai/m", "Hi", stream=True))) == 2
        (record,) = records
        assert record.usage is not None and (record.usage.input, record.usage.output) == (11, 7)
        assert (record.finish_reasons, record.response_id, record.chunks) == (["completed"], "resp_1", 2)

    def test_the_rows_of_a_job(self, at_openai: Server, tmp_path: Any) -> None:
        def answer(request: Any) -> Answer:
            return refusal(400, "bad row") if request.json["messages"][0]["content"] == "b" else plain("Hi")

        at_openai.script = answer
        seen: list[Any] = []
        name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="-")
        client = Client(tags={"team": "a"}).with_options(tags={"job": "j"})
        client.on_call(lambda record: seen.append((name.get(), threading.current_thread().name, record)), content=True)
        name.set("of the job")
        rows = [{"t": text, "custom_id": f"id-{text}"} for text in "abc"]
        job = ritellm.bulk(rows, model=MODEL, prompt="{t}", client=client, out=tmp_path / "job", id_column="custom_id")
        job.run(progress=False)
        assert {(own, thread) for own, thread, _ in seen} == {("of the job", "ritellm-hooks")}
        records = sorted((record for *_, record in seen), key=lambda record: record.row)
        assert [(record.row, record.row_id, record.outcome) for record in records] == [
            (0, "id-a", "success"),
            (1, "id-b", "failed"),
            (2, "id-c", "success"),
        ]
        assert [type(record.error) for record in records] == [type(None), BadRequestError, type(None)]
        assert records[0].usage.input == 9 and records[0].tags == {"team": "a", "job": "j"}
        assert records[0].model == MODEL and records[0].output.choices[0].message.content == "Hi"
        assert records[0].input == [{"role": "user", "content": "a"}] and records[1].status_code == 400
        assert records[0].started > 1e9 and records[0].total > 0 and records[0].finish_reasons == ["stop"]


class TestWhereHooksRun:
    async def test_on_the_loop_after_the_task_in_its_context(self, at_openai: Server, client: Client) -> None:
        at_openai.answer(plain())
        name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="-")
        seen: list[Any] = []

        def hook(record: CallRecord) -> None:
            seen.append((name.get(), threading.current_thread(), asyncio.get_running_loop(), record.model))
            name.set("changed")

        client.on_call(hook)

        async def ask(own: str) -> None:
            name.set(own)
            await client.acompletion(f"openai/{own}", MESSAGES)
            # The result came first.
            assert own not in [known for known, *_ in seen]
            await asyncio.sleep(0)
            assert name.get() == own

        await asyncio.gather(*(ask(f"m{number}") for number in range(20)))
        here = (threading.current_thread(), asyncio.get_running_loop())
        assert sorted(seen) == sorted((f"m{number}", *here, f"openai/m{number}") for number in range(20))

    def test_on_the_thread_of_a_sync_caller(self, at_openai: Server, client: Client) -> None:
        at_openai.answer(plain())
        threads: list[Any] = []
        client.on_call(lambda _: threads.append(threading.current_thread()))
        callers = [threading.Thread(target=client.completion, args=(MODEL, MESSAGES)) for _ in range(8)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert set(threads) == set(callers) and len(threads) == 8

    async def test_coroutine_functions_are_tasks_of_the_loop(self, at_openai: Server, client: Client) -> None:
        at_openai.answer(plain())
        name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="-")
        seen: list[Any] = []

        async def hook(record: CallRecord) -> None:
            await asyncio.sleep(0)
            seen.append((name.get(), asyncio.get_running_loop(), record.usage.input))  # type: ignore[union-attr]

        client.on_call(hook)
        name.set("own")
        await client.acompletion(MODEL, MESSAGES)
        while not seen:
            await asyncio.sleep(0)
        assert seen == [("own", asyncio.get_running_loop(), 9)]

    def test_coroutine_functions_of_sync_callers(self, at_openai: Server, client: Client) -> None:
        at_openai.answer(plain())
        name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="-")
        seen: list[Any] = []

        async def hook(record: CallRecord) -> None:
            await asyncio.sleep(0)
            seen.append((name.get(), record.model))

        client.on_call(hook)
        contextvars.copy_context().run(lambda: (name.set("own"), client.completion(MODEL, MESSAGES)))
        client.close()
        assert seen == [("own", MODEL)]

    def test_coroutine_functions_outlive_the_loop(self, at_openai: Server, client: Client) -> None:
        at_openai.answer(plain())
        seen: list[Any] = []

        async def hook(record: CallRecord) -> None:
            seen.append(record.model)

        client.on_call(hook)
        # The loop ends in the turn in which the answer comes.
        asyncio.run(client.acompletion(MODEL, MESSAGES))
        client.close()
        assert seen == [MODEL]

    def test_at_the_end_of_the_program(self, at_openai: Server, run_program: RunProgram) -> None:
        at_openai.answer(plain())
        source = """
            import sys

            import ritellm

            async def hook(record):
                sys.stdout.write(f"async {record.outcome}\\n")

            ritellm.on_call(hook)
            ritellm.on_call(lambda record: sys.stdout.write(f"sync {record.outcome}\\n"))
            ritellm.completion("openai/gpt-4o-mini", [{"role": "user", "content": "Hi"}])
        """
        assert sorted(run_program(source).output.split()) == ["async", "success", "success", "sync"]

    async def test_a_hook_that_makes_a_call(self, at_openai: Server, client: Client) -> None:
        at_openai.answer(plain())
        models: list[str] = []

        async def hook(record: CallRecord) -> None:
            models.append(record.model)
            if record.model == MODEL:
                await client.acompletion("openai/other", MESSAGES)

        client.on_call(hook)
        await client.acompletion(MODEL, MESSAGES)
        while len(models) < 2:
            await asyncio.sleep(0.001)
        assert models == [MODEL, "openai/other"]


class TestHooks:
    def test_several_and_removed(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain())
        seen: list[str] = []
        client = Client(on_call=[lambda _: seen.append("a"), lambda _: seen.append("b")])
        handle = client.on_call(lambda _: seen.append("c"))
        call(client=client)
        handle.remove()
        handle.remove()
        call(client=client)
        with client.on_call(lambda _: seen.append("d")):
            call(client=client)
        call(client=client)
        assert "".join(seen) == "abc" + "ab" + "abd" + "ab"

    def test_of_the_package_s_functions(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain())
        seen: list[str] = []
        with ritellm.on_call(lambda _: seen.append("added")):
            ritellm.configure(on_call=lambda _: seen.append("configured"))
            try:
                call()
                call(client=Client())
            finally:
                ritellm.configure(on_call=None)
            call()
        call()
        assert seen == ["configured", "added", "added"]

    def test_a_router_has_those_of_its_client(self, call: Call, at_openai: Server) -> None:
        at_openai.answer(plain())
        seen: list[str] = []
        client = Client(on_call=lambda record: seen.append(record.model))
        call("fast", client=Router({"fast": ["openai/a"]}, client=client))
        call("fast", client=Router({"fast": ["openai/a"]}, client=client, on_call=lambda _: seen.append("own")))
        assert seen == ["fast", "own"]

    async def test_removed_while_a_call_is_under_way(self, at_openai: Server, client: Client) -> None:
        at_openai.answer(Answer(before=[gate := Gate()], body=dumped({"choices": []})))
        records: Records = []
        handle = client.on_call(records.append)
        task = asyncio.create_task(client.acompletion(MODEL, MESSAGES))
        while not at_openai.requests:
            await asyncio.sleep(0.001)
        handle.remove()
        gate.open()
        await task
        assert records == []

    def test_one_that_raises_harms_nothing_and_is_logged_once(
        self, call: Call, at_openai: Server, client: Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        at_openai.answer(plain())
        records: Records = []

        def broken(record: CallRecord) -> None:
            raise ValueError("of the hook")

        client.on_call(broken)
        client.on_call(records.append)
        for _ in range(3):
            assert call(client=client).choices[0].message.content == "Hello!"
        (line,) = caplog.records
        assert line.levelno == logging.WARNING and "broken" in line.getMessage() and line.exc_info
        assert "of the hook" in str(line.exc_info[1])
        assert len(records) == 3 and client.stats()["hooks"]["failed"] == 3

    async def test_a_coroutine_that_raises(
        self, at_openai: Server, client: Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        at_openai.answer(plain())

        async def broken(record: CallRecord) -> None:
            raise ValueError("of the hook")

        client.on_call(broken)
        await client.acompletion(MODEL, MESSAGES)
        await client.acompletion(MODEL, MESSAGES)
        while client.stats()["hooks"]["failed"] < 2:
            await asyncio.sleep(0)
        assert len(caplog.records) == 1

    def test_a_queue_that_is_full_drops_and_counts(
        self, at_openai: Server, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from ritellm import _hooks

        at_openai.answer(plain())
        monkeypatch.setattr(_hooks, "MAX_RUNNING", 0)

        async def hook(record: CallRecord) -> None:
            raise AssertionError

        client.on_call(hook)
        client.completion(MODEL, MESSAGES)
        assert client.stats()["hooks"]["dropped"] == 1

    def test_arguments(self) -> None:
        with pytest.raises(InvalidArgumentError, match="on_call is of type int: a function, sync or async"):
            Client(on_call=1)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match="function is of type str: a function"):
            Client().on_call("f")  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match=r"tags\[a\] is of type list: a str, an int"):
            Client(tags={"a": []})  # type: ignore[dict-item]
        with pytest.raises(InvalidArgumentError, match="tags is of type list: a dict"):
            Client().with_options(tags=[])  # type: ignore[arg-type]

    def test_tags_add_up(self, at_openai: Server) -> None:
        at_openai.answer(plain())
        records: Records = []
        client = Client(tags={"team": "a", "n": 1}, on_call=records.append)
        client.with_options(tags={"n": 2, "x": True}).with_options(tags={"team": None}).completion(MODEL, MESSAGES)
        assert [record.tags for record in records] == [{"n": 2, "x": True}]
        assert "team" in repr(pickle.loads(pickle.dumps(Client(tags={"team": "p"}))))

    def test_a_client_that_its_hook_refers_to_is_freed(self, at_openai: Server) -> None:
        import weakref

        at_openai.answer(plain())

        class Observer:
            def __init__(self) -> None:
                self.client = Client(on_call=self.see)
                self.client.on_call(self.see)

            def see(self, record: CallRecord) -> None:
                pass

        observer = Observer()
        observer.client.completion(MODEL, MESSAGES)
        gone = weakref.ref(observer)
        del observer
        gc.collect()
        assert gone() is None

    def test_errors_are_told_with_their_class(self, at_openai: Server, client: Client) -> None:
        at_openai.answer(refusal(400, "bad"))
        kinds: list[Any] = []
        client.on_call(lambda record: kinds.append(type(record.error)))
        with pytest.raises(BadRequestError):
            client.completion(MODEL, MESSAGES)
        assert kinds == [BadRequestError]
