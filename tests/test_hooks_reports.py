"""What users of other libraries have reported of callbacks and telemetry, tried here. Each test names its report."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Call
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from server import (
    MESSAGES,
    MODEL,
    Answer,
    Close,
    Gate,
    Server,
    Stall,
    chunk_of,
    events,
    plain,
    stream_of,
    streamed,
)

import ritellm.otel
from ritellm import CallRecord, Client, IncompleteStreamError, RateLimitError, Timeout, _hooks

Records = list[CallRecord]

ANTHROPIC = "anthropic/claude-sonnet-4-5"
#: As Anthropic tells them: the classes of the input do not overlap.
CACHED = {"input_tokens": 5, "cache_read_input_tokens": 128_955, "cache_creation_input_tokens": 1_253}


def message_events(usage: Any, output: int, text: str = "Hello") -> list[bytes]:
    start = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": []}
    told: list[Any] = [
        {"type": "message_start", "message": {**start, "usage": {**usage, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": output}},
        {"type": "message_stop"},
    ]
    return [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in told]


@pytest.fixture
def client(at_openai: Server) -> Client:
    return Client(max_retries=0)


class TestCallbacks:
    @pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": True}}], ids=["plain", "usage"])
    def test_once_for_a_stream_with_its_usage(
        self, read: Call, at_openai: Server, client: Client, options: Any
    ) -> None:
        """Twice, or never: BerriAI/litellm#5118, #7260, #2240."""
        at_openai.answer(streamed("Hel", "lo"))
        records: Records = []
        client.on_call(records.append)
        read(client=client, **options)
        client.close()
        assert [(record.outcome, record.usage and record.usage.input) for record in records] == [("success", 9)]

    def test_once_for_two_chunks_with_a_finish_reason(self, read: Call, at_openai: Server, client: Client) -> None:
        """BerriAI/litellm#1172."""
        chunks = [chunk_of({"content": "Hi"}), chunk_of({}, "stop"), chunk_of({}, "stop")]
        at_openai.answer(stream_of(*events(chunks)))
        records: Records = []
        client.on_call(records.append)
        read(client=client)
        client.close()
        assert [record.finish_reasons for record in records] == [["stop"]]

    @pytest.mark.parametrize("awaited", [False, True])
    def test_sync_and_async_functions_each_once(self, at_openai: Server, client: Client, awaited: bool) -> None:
        """Both for one call, or one of them never: BerriAI/litellm#14340."""
        done = {"id": "resp_1", "object": "response", "status": "completed", "model": "m", "output": []}
        told = [{"type": "response.created", "response": done}, {"type": "response.completed", "response": done}]
        at_openai.answer(stream_of(*(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in told)))
        seen: list[str] = []

        async def hook(record: CallRecord) -> None:
            seen.append("async")

        client.on_call(hook)
        client.on_call(lambda record: seen.append("sync"))

        async def main() -> None:
            async for _ in await client.aresponses("openai/m", "Hi", stream=True):
                pass
            await client.aclose()

        if awaited:
            asyncio.run(main())
        else:
            list(client.responses("openai/m", "Hi", stream=True))
            client.close()
        assert sorted(seen) == ["async", "sync"]

    def test_a_stream_that_stalls_has_failed(self, read: Call, at_openai: Server, client: Client) -> None:
        """Logged as a success: BerriAI/litellm#29602."""
        at_openai.answer(stream_of(*streamed("Hel", "lo").pieces()[:2], Stall()))
        records: Records = []
        client.on_call(records.append)
        with pytest.raises(Timeout) as raised:
            read(client=client, timeout={"idle": 0.1})
        assert [(record.outcome, record.error) for record in records] == [("failed", raised.value)]

    def test_a_timeout_is_told_as_one(self, call: Call, at_openai: Server, client: Client) -> None:
        """As another class of error: BerriAI/litellm#19732."""
        at_openai.answer(Answer(before=[Stall()]))
        records: Records = []
        client.on_call(records.append)
        with pytest.raises(Timeout):
            call(client=client, timeout=0.1)
        assert [type(record.error) for record in records] == [Timeout]
        assert [attempt.error for attempt in records[0].attempts] == ["Timeout"]

    def test_a_call_that_an_own_limit_refuses_has_failed(self, call: Call, at_openai: Server) -> None:
        """Not recorded: BerriAI/litellm#5498."""
        at_openai.answer(plain())
        records: Records = []
        client = Client(limits={"openai": {"rpm": 1}}, timeout={"queue": 0.01}, max_retries=0, on_call=records.append)
        call(client=client)
        with pytest.raises((RateLimitError, Timeout)) as raised:
            call(client=client)
        assert [record.outcome for record in records] == ["success", "failed"]
        assert records[1].error is raised.value and records[1].waited > 0 and len(at_openai.requests) == 1


class TestUsage:
    @pytest.mark.parametrize("ended", ["end", "left", "broken"])
    def test_the_first_and_the_last_event_tell_parts_of_it(self, at_openai: Server, ended: str) -> None:
        """0, or what the first event told is lost where a stream breaks: DataDog/dd-trace-py#18772, BerriAI/litellm#39589."""
        pieces = message_events(CACHED, 40, "x" * 80)
        rests: dict[str, list[Any]] = {"end": pieces[3:], "left": [Gate()], "broken": [Close()]}
        at_openai.answer(stream_of(*pieces[:3], *rests[ended]))
        records: Records = []
        client = Client(base_url=at_openai.url, api_key="k", on_call=records.append, max_retries=0)
        stream = client.completion(ANTHROPIC, MESSAGES, stream=True, max_tokens=100)
        if ended == "end":
            list(stream)
        elif ended == "left":
            next(stream), next(stream)
            stream.close()
        else:
            with pytest.raises(IncompleteStreamError):
                list(stream)
        (record,) = records
        usage = record.usage
        assert usage is not None
        assert (usage.input, usage.cached_read, usage.cache_write) == (5, 128_955, 1_253)
        assert (usage.output, record.usage_is_estimated) == ((40, False) if ended == "end" else (20, True))

    def test_groq_tells_it_in_a_place_of_its_own(self, read: Call, at_openai: Server) -> None:
        """traceloop/openllmetry#4419."""
        last = chunk_of({}, "stop", x_groq={"id": "r", "usage": {"prompt_tokens": 10, "completion_tokens": 20}})
        at_openai.answer(stream_of(*events([chunk_of({"content": "Hi"}), last])))
        records: Records = []
        client = Client(base_url=at_openai.base_url, api_key="k", on_call=records.append)
        read("groq/llama", client=client)
        assert records[0].usage is not None and (records[0].usage.input, records[0].usage.output) == (10, 20)


class Telemetry:
    def __init__(self, **options: Any) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers = TracerProvider(**options)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader])
        ritellm.otel.instrument(tracer_provider=self.tracers, meter_provider=self.meters)

    def spans(self) -> dict[str, Any]:
        return {span.name: span for span in self.exporter.get_finished_spans()}

    def metrics(self) -> dict[str, list[Any]]:
        data = self.reader.get_metrics_data()
        scopes = data.resource_metrics[0].scope_metrics if data else []
        return {metric.name: list(metric.data.data_points) for scope in scopes for metric in scope.metrics}


@pytest.fixture
def instrumented() -> Iterator[None]:
    yield
    ritellm.otel.uninstrument()


@pytest.mark.usefixtures("instrumented")
class TestTelemetry:
    def test_metrics_of_a_call_that_is_not_sampled(self, read: Call, at_openai: Server) -> None:
        """Lost with the span: a review of traceloop/openllmetry#4445."""
        at_openai.answer(streamed("Hel", "lo"))
        telemetry = Telemetry(sampler=ALWAYS_OFF)
        read(client=Client())
        assert telemetry.spans() == {}
        tokens = telemetry.metrics()["gen_ai.client.token.usage"]
        assert sorted((point.attributes["gen_ai.token.type"], point.sum) for point in tokens) == [
            ("input", 9),
            ("output", 3),
        ]

    @pytest.mark.parametrize("stream", [False, True])
    def test_cached_input_counts_once(self, at_openai: Server, stream: bool) -> None:
        """langfuse/langfuse#12306, #10592: the conventions' input is the whole, of which the cached is a part."""
        usage = {**CACHED, "output_tokens": 40}
        body: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude"}
        body |= {"stop_reason": "end_turn"}
        body |= {"content": [{"type": "text", "text": "Hello"}], "usage": usage}
        at_openai.answer(stream_of(*message_events(CACHED, 40)) if stream else Answer(body=json.dumps(body).encode()))
        telemetry = Telemetry()
        client = Client(base_url=at_openai.url, api_key="k")
        answer = client.completion(ANTHROPIC, MESSAGES, stream=stream, max_tokens=9)
        list(answer)
        attributes = telemetry.spans()["chat claude-sonnet-4-5"].attributes
        assert attributes["gen_ai.usage.input_tokens"] == 5 + 128_955 + 1_253
        assert attributes["gen_ai.usage.cache_read.input_tokens"] == 128_955
        assert attributes["gen_ai.usage.cache_write.input_tokens"] == 1_253
        assert attributes["gen_ai.usage.output_tokens"] == 40

    async def test_parents_of_calls_at_the_same_time(self, at_openai: Server) -> None:
        """Each step a root of its own: open-telemetry/opentelemetry-python-genai#513."""
        at_openai.answer(plain())
        telemetry = Telemetry()
        tracer, client = telemetry.tracers.get_tracer("app"), Client()

        async def step(name: str) -> None:
            with tracer.start_as_current_span(name):
                await asyncio.sleep(0)
                await client.acompletion(f"openai/{name}", MESSAGES)

        with tracer.start_as_current_span("request"):
            await asyncio.gather(*(step(name) for name in "abc"))
        await asyncio.sleep(0)
        spans = telemetry.spans()
        assert {spans[name].parent.span_id for name in "abc"} == {spans["request"].context.span_id}
        for name in "abc":
            assert spans[f"chat {name}"].parent.span_id == spans[name].context.span_id

    @pytest.mark.parametrize("how", ["break", "another task", "cancelled"])
    async def test_a_stream_that_ends_elsewhere(
        self, at_openai: Server, caplog: pytest.LogCaptureFixture, how: str
    ) -> None:
        """'Failed to detach context' in the log, and wrong parents: openlit/openlit#1369, Arize-ai/openinference#1769,
        google/adk-python#4919."""
        at_openai.answer(stream_of(*streamed("Hel", "lo").pieces()[:2], Gate()))
        telemetry = Telemetry()
        tracer, client = telemetry.tracers.get_tracer("app"), Client()
        with tracer.start_as_current_span("request"):
            stream = await client.acompletion(MODEL, MESSAGES, stream=True)

        async def leave() -> None:
            async for chunk in stream:
                if chunk.choices[0].delta.content:
                    break

        async def wait() -> None:
            async for _ in stream:
                pass

        if how == "break":
            await leave()
        elif how == "another task":
            with tracer.start_as_current_span("other"):
                await asyncio.create_task(leave())
        else:
            task = asyncio.create_task(wait())
            await anext(stream)
            task.cancel()
            await asyncio.wait([task])
            await stream.aclose()
        await asyncio.sleep(0)
        spans = telemetry.spans()
        span = spans["chat gpt-4o-mini"]
        assert span.parent.span_id == spans["request"].context.span_id
        assert span.attributes["ritellm.outcome"] == "left" and span.status.status_code is trace.StatusCode.UNSET
        assert [line for line in caplog.records if line.levelno >= logging.WARNING] == []

    @pytest.mark.parametrize("way", ["break", "return", "close", "dropped", "unread"])
    @pytest.mark.parametrize("awaited", [False, True])
    def test_every_way_to_leave_a_stream_ends_its_span(self, at_openai: Server, way: str, awaited: bool) -> None:
        """Arize-ai/openinference#3790: never exported."""
        at_openai.answer(stream_of(*streamed("Hel", "lo").pieces()[:2], Gate()))
        telemetry, client = Telemetry(), Client()

        def leave() -> None:
            stream = client.completion(MODEL, MESSAGES, stream=True)
            if way == "close":
                next(stream)
                stream.close()
            elif way == "dropped":
                next(stream)
            elif way != "unread":
                with stream:
                    for _ in stream:
                        if way == "raise":
                            raise KeyError("of the loop")
                        if way == "return":
                            return
                        break

        async def aleave() -> None:
            stream = await client.acompletion(MODEL, MESSAGES, stream=True)
            if way == "close":
                await anext(stream)
                await stream.aclose()
            elif way == "dropped":
                await anext(stream)
            elif way != "unread":
                async with stream:
                    async for _ in stream:
                        if way == "raise":
                            raise KeyError("of the loop")
                        if way == "return":
                            return
                        break

        with pytest.raises(KeyError, match="of the loop") if way == "raise" else contextlib.nullcontext():
            asyncio.run(aleave()) if awaited else leave()
        gc.collect()
        assert _hooks.flush(20)
        assert telemetry.spans()["chat gpt-4o-mini"].attributes["ritellm.outcome"] == "left"

    def test_a_stream_of_gemini(self, at_openai: Server) -> None:
        """No record, no reasons, no cached tokens, thoughts for nothing, sums of counts that are cumulative:
        BerriAI/litellm#24097, #18520, #4496, langfuse/langfuse#8625, open-telemetry/opentelemetry-python-contrib#3416."""

        def chunk(text: str, count: int, **more: Any) -> bytes:
            candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0, **more}
            usage = {"promptTokenCount": 522, "cachedContentTokenCount": 500, "candidatesTokenCount": count}
            usage |= {"thoughtsTokenCount": 505, "totalTokenCount": 1027 + count}
            told = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-2.5-pro-1"}
            return f"data: {json.dumps(told)}\n\n".encode()

        at_openai.answer(stream_of(chunk("a", 1), chunk("b", 3), chunk("c", 4, finishReason="STOP")))
        telemetry = Telemetry()
        client = Client(base_url=f"{at_openai.url}/v1beta", api_key="k")
        list(client.completion("gemini/gemini-2.5-pro", MESSAGES, stream=True))
        attributes = telemetry.spans()["chat gemini-2.5-pro"].attributes
        assert attributes["gen_ai.response.finish_reasons"] == ("stop",)
        assert attributes["gen_ai.response.model"] == "gemini-2.5-pro-1"
        assert attributes["gen_ai.usage.input_tokens"] == 522 and attributes["gen_ai.usage.output_tokens"] == 509
        assert attributes["gen_ai.usage.cache_read.input_tokens"] == 500
        assert attributes["gen_ai.usage.reasoning.output_tokens"] == 505

    @pytest.mark.parametrize("broken", [False, True])
    def test_status(self, at_openai: Server, broken: bool) -> None:
        """A review of open-telemetry/opentelemetry-python-contrib#2759: never OK, and an error where a stream breaks."""
        pieces = streamed("Hel", "lo").pieces()
        at_openai.answer(stream_of(*([*pieces[:2], Close()] if broken else pieces)))
        telemetry = Telemetry()
        stream = Client(max_retries=0).completion(MODEL, MESSAGES, stream=True)
        with pytest.raises(IncompleteStreamError) if broken else contextlib.nullcontext():
            list(stream)
        span = telemetry.spans()["chat gpt-4o-mini"]
        assert span.status.status_code is (trace.StatusCode.ERROR if broken else trace.StatusCode.UNSET)
        assert span.attributes.get("error.type") == ("IncompleteStreamError" if broken else None)

    def test_cached_tokens_of_a_stream_cost_less(self, at_openai: Server) -> None:
        """langfuse/langfuse#13811, mlflow/mlflow#24869; and told to hooks of both kinds: BerriAI/litellm#34875."""
        usage: dict[str, Any] = {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050}
        usage |= {
            "prompt_tokens_details": {"cached_tokens": 900},
            "completion_tokens_details": {"reasoning_tokens": 30},
        }
        chunks = [chunk_of({"content": "Hi"}), chunk_of(finish_reason="stop"), chunk_of(usage=usage) | {"choices": []}]
        at_openai.answer(stream_of(*events(chunks)))
        records: Records = []
        prices = {MODEL: {"input": 2.0, "cached": 0.5, "output": 8.0}}

        async def hook(record: CallRecord) -> None:
            records.append(record)

        client = Client(on_call=[records.append, hook], catalog=prices)
        list(client.completion(MODEL, MESSAGES, stream=True))
        client.close()
        assert len(records) == 2
        for record in records:
            counted = record.usage
            assert counted is not None
            assert (counted.input, counted.cached_read, counted.output, counted.reasoning) == (100, 900, 20, 30)
            assert record.cost == pytest.approx((100 * 2 + 900 * 0.5 + 50 * 8) / 1e6)
