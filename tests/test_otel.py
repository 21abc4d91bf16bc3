"""Tests of ``ritellm.otel``: spans, metrics and events of calls, with the SDK's exporters in memory."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import opentelemetry.util.genai
import pytest
from batch_provider import BatchProvider
from conftest import Call
from opentelemetry import context, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import (
    error_attributes,
    gen_ai_attributes,
    http_attributes,
    server_attributes,
)
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from server import (
    MESSAGES,
    MODEL,
    Answer,
    Gate,
    Server,
    Stall,
    completion_of,
    dumped,
    plain,
    refusal,
    stream_of,
    streamed,
)

import ritellm.otel
from ritellm import BadRequestError, Client, InvalidArgumentError, Router, _core, _hooks


class Telemetry:
    """What was exported."""

    def __init__(self) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.events = InMemoryLogRecordExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.loggers = LoggerProvider()
        self.loggers.add_log_record_processor(SimpleLogRecordProcessor(self.events))
        self.meters = MeterProvider([self.reader])
        self.tracer = self.tracers.get_tracer("app")

    def instrument(self, **options: Any) -> None:
        ritellm.otel.instrument(
            tracer_provider=self.tracers, meter_provider=self.meters, logger_provider=self.loggers, **options
        )

    def spans(self) -> list[Any]:
        return list(self.exporter.get_finished_spans())

    def metrics(self) -> dict[str, list[Any]]:
        data = self.reader.get_metrics_data()
        scopes = data.resource_metrics[0].scope_metrics if data else []
        return {metric.name: list(metric.data.data_points) for scope in scopes for metric in scope.metrics}


@pytest.fixture
def telemetry(at_openai: Server) -> Iterator[Telemetry]:
    telemetry = Telemetry()
    telemetry.instrument()
    yield telemetry
    ritellm.otel.uninstrument()


def test_a_plain_call(call: Call, at_openai: Server, telemetry: Telemetry) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    usage |= {"prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2}}
    at_openai.answer(plain(usage=usage))
    with telemetry.tracer.start_as_current_span("request") as request:
        call(temperature=0.5, max_tokens=7, stop=["x"], seed=3, client=Client(tags={"team": "a"}))
    span, parent = telemetry.spans()
    assert span.name == "chat gpt-4o-mini" and span.kind is trace.SpanKind.CLIENT
    assert span.parent.span_id == request.get_span_context().span_id
    assert parent.start_time <= span.start_time <= span.end_time <= parent.end_time + 5_000_000
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 7,
        "gen_ai.request.seed": 3,
        "gen_ai.request.stop_sequences": ("x",),
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.reasoning.output_tokens": 2,
        "server.address": "127.0.0.1",
        "server.port": at_openai.port,
        "ritellm.outcome": "success",
        "ritellm.tag.team": "a",
    }
    measured = telemetry.metrics()
    assert set(measured) == {"gen_ai.client.operation.duration", "gen_ai.client.token.usage"}
    tokens = {point.attributes["gen_ai.token.type"]: point.sum for point in measured["gen_ai.client.token.usage"]}
    assert tokens == {"input": 10, "output": 5}
    (duration,) = measured["gen_ai.client.operation.duration"]
    assert duration.sum == pytest.approx((span.end_time - span.start_time) / 1e9, abs=1e-6)
    assert len(telemetry.events.get_finished_logs()) == 0


def test_a_stream_and_one_that_is_left(at_openai: Server, telemetry: Telemetry) -> None:
    gate = Gate()
    at_openai.answer(streamed("Hel", "lo"), stream_of(*streamed("x" * 40, "y").pieces()[:2], gate))

    async def main() -> None:
        with telemetry.tracer.start_as_current_span("request"):
            async for _ in await ritellm.acompletion(MODEL, MESSAGES, stream=True):
                pass
            async for chunk in await ritellm.acompletion(MODEL, MESSAGES, stream=True):
                if chunk.choices[0].delta.content:
                    break
            await asyncio.sleep(0)

    asyncio.run(main())
    gate.open()
    whole, left, parent = telemetry.spans()
    assert {whole.parent.span_id, left.parent.span_id} == {parent.context.span_id}
    assert whole.attributes["gen_ai.request.stream"] and whole.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert 0 < whole.attributes["gen_ai.response.time_to_first_chunk"] < 30
    assert left.attributes["gen_ai.response.finish_reasons"] == ("error",)
    assert left.attributes["ritellm.outcome"] == "left" and left.attributes["ritellm.usage.is_estimated"]
    assert left.attributes["gen_ai.usage.output_tokens"] == 10
    measured = telemetry.metrics()
    assert sum(point.count for point in measured["gen_ai.client.operation.time_to_first_chunk"]) == 2
    assert sum(point.count for point in measured["gen_ai.client.operation.time_per_output_chunk"]) == 2


def test_a_failure(call: Call, at_openai: Server, telemetry: Telemetry) -> None:
    at_openai.answer(refusal(400, "no such thing"))
    with pytest.raises(BadRequestError):
        call()
    (span,) = telemetry.spans()
    assert span.status.status_code is trace.StatusCode.ERROR and "no such thing" in span.status.description
    assert span.attributes["error.type"] == "BadRequestError" and span.events[0].name == "exception"
    (duration,) = telemetry.metrics()["gen_ai.client.operation.duration"]
    assert duration.attributes["error.type"] == "BadRequestError"


async def test_a_task_that_is_cancelled(at_openai: Server, telemetry: Telemetry) -> None:
    at_openai.answer(Answer(before=[Stall()]))
    task = asyncio.create_task(ritellm.acompletion(MODEL, MESSAGES))
    while not at_openai.requests:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    (span,) = telemetry.spans()
    assert span.attributes["ritellm.outcome"] == "aborted" and span.status.status_code is trace.StatusCode.UNSET


def test_a_fallback_is_readable(call: Call, at_openai: Server, telemetry: Telemetry) -> None:
    at_openai.answer(refusal(500, "overloaded"), plain())
    call("fast", client=Router({"fast": ["openai/a", "openai/b"]}, strategy="ordered"))
    first, second, span = telemetry.spans()
    assert [attempt.name for attempt in (first, second)] == ["attempt openai/a", "attempt openai/b"]
    assert {first.parent.span_id, second.parent.span_id} == {span.context.span_id}
    assert span.name == "chat b" and span.attributes["ritellm.group"] == "fast"
    assert (
        span.start_time <= first.start_time <= first.end_time <= second.start_time <= second.end_time <= span.end_time
    )
    assert first.attributes["http.response.status_code"] == 500 and not first.status.is_ok
    assert [attempt.attributes["http.request.resend_count"] for attempt in (first, second)] == [0, 1]
    assert second.attributes["ritellm.attempt.reason"] == "sibling"
    # Nobody takes an attempt for a call.
    assert not [name for attempt in (first, second) for name in attempt.attributes if name.startswith("gen_ai.")]


def test_content_where_it_is_switched_on(call: Call, at_openai: Server, telemetry: Telemetry) -> None:
    called = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]
    whole = completion_of(None)
    whole["choices"][0]["message"]["tool_calls"] = called
    whole["choices"][0]["finish_reason"] = "tool_calls"
    at_openai.answer(Answer(body=dumped(whole)))
    telemetry.instrument(content="span event")
    history = [*MESSAGES, {"role": "tool", "tool_call_id": "c0", "content": "42"}]
    call(messages=history, tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}])
    (span,) = telemetry.spans()
    (logged,) = telemetry.events.get_finished_logs()
    assert logged.log_record.event_name == "gen_ai.client.inference.operation.details"
    assert logged.log_record.span_id == span.context.span_id
    asked = json.loads(span.attributes["gen_ai.input.messages"])
    assert asked == [
        {"role": "user", "parts": [{"type": "text", "content": MESSAGES[0]["content"]}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c0", "response": "42"}]},
    ]
    (answered,) = json.loads(span.attributes["gen_ai.output.messages"])
    assert answered["parts"] == [{"type": "tool_call", "id": "c1", "name": "f", "arguments": {"a": 1}}]
    # The reason by the conventions' name.
    assert answered["finish_reason"] == "tool_call"
    assert logged.log_record.attributes["gen_ai.input.messages"][0]["role"] == "user"
    telemetry.exporter.clear()
    telemetry.instrument(content=False)
    call(messages=history)
    assert not [name for name in telemetry.spans()[0].attributes if "messages" in name]


@pytest.mark.parametrize(("value", "has_events"), [("EVENT_ONLY", True), ("NO_CONTENT", False), ("", False)])
def test_content_by_the_environment(
    call: Call, at_openai: Server, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, value: str, has_events: bool
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", value)
    at_openai.answer(plain())
    telemetry.instrument()
    call()
    assert len(telemetry.events.get_finished_logs()) == has_events


def test_traceparent_only_if_asked_for(call: Call, at_openai: Server, telemetry: Telemetry) -> None:
    at_openai.answer(plain())
    call()
    telemetry.instrument(traceparent=True)
    call()
    before, after = at_openai.requests
    _, span = telemetry.spans()
    assert before.headers.get("traceparent") is None
    assert after.headers["traceparent"].split("-")[1:3] == [
        f"{span.context.trace_id:032x}",
        f"{span.context.span_id:016x}",
    ]
    assert span.name == "chat gpt-4o-mini" and span.attributes["gen_ai.usage.input_tokens"] == 9


def test_instrumenting_twice_is_once_and_uninstrumenting_ends_it(
    call: Call, at_openai: Server, telemetry: Telemetry
) -> None:
    at_openai.answer(plain())
    telemetry.instrument()
    call()
    assert len(telemetry.spans()) == 1
    token = context.attach(context.set_value("suppress_instrumentation", True))
    try:
        call()
    finally:
        context.detach(token)
    ritellm.otel.uninstrument()
    ritellm.otel.uninstrument()
    call()
    assert len(telemetry.spans()) == 1
    with pytest.raises(InvalidArgumentError, match="content is 'all'"):
        ritellm.otel.instrument(content="all")


def test_many_tasks_each_under_their_own_parent(at_openai: Server, telemetry: Telemetry) -> None:
    at_openai.answer(plain())

    async def ask(number: int) -> None:
        with telemetry.tracer.start_as_current_span(f"request {number}"):
            await ritellm.acompletion(f"openai/m{number}", MESSAGES)

    async def main() -> None:
        await asyncio.gather(*(ask(number) for number in range(20)))

    asyncio.run(main())
    parents = {span.context.span_id: span.name for span in telemetry.spans() if span.name.startswith("request")}
    calls = [span for span in telemetry.spans() if span.name.startswith("chat")]
    assert len(calls) == 20
    for span in calls:
        assert parents[span.parent.span_id].split()[1] == span.name.removeprefix("chat m")


def test_the_names_are_the_conventions(at_openai: Server, telemetry: Telemetry) -> None:
    from ritellm import otel

    modules = (gen_ai_attributes, error_attributes, http_attributes, server_attributes, gen_ai_metrics)
    known = {value for module in modules for value in vars(module).values() if isinstance(value, str)}
    # Those that are newer stand in the package of the instrumentations.
    sources = Path(opentelemetry.util.genai.__file__).parent.glob("*.py")
    known |= {name for source in sources for name in re.findall(r'"(gen_ai\.[\w.]+)"', source.read_text())}
    names = set(re.findall(r'"((?:gen_ai|error|server|http)\.[\w.]+)"', Path(otel.__file__).read_text()))
    assert len(names) > 35
    assert names - known == set()
    providers = {member.value for member in gen_ai_attributes.GenAiProviderNameValues}
    changed = {row["telemetry_name"] for row in _core.providers() if row["telemetry_name"] != row["name"]}
    assert len(changed) > 4 and changed - providers - {"moonshot_ai"} == set()


def test_rows_of_other_operations(at_openai: Server, telemetry: Telemetry) -> None:
    vectors = {
        "object": "list",
        "data": [{"embedding": [0.5], "index": 0}],
        "model": "e",
        "usage": {"prompt_tokens": 4},
    }
    at_openai.answer(Answer(body=dumped(vectors)))
    ritellm.embedding("openai/e", ["a"], dimensions=8)
    (span,) = telemetry.spans()
    assert span.name == "embeddings e" and span.attributes["gen_ai.embeddings.dimension.count"] == 8
    assert span.attributes["gen_ai.usage.input_tokens"] == 4


def test_rows_of_batches_have_no_duration(at_openai: Server, telemetry: Telemetry, tmp_path: Path) -> None:
    at_openai.script = BatchProvider().script
    with telemetry.tracer.start_as_current_span("request") as request:
        ritellm.bulk([{"t": "a"}], model=MODEL, prompt="{t}", mode="batch", out=tmp_path / "job").run()
    assert _hooks.flush(20)
    (span,) = [span for span in telemetry.spans() if span.name.startswith("chat")]
    assert span.parent.span_id == request.get_span_context().span_id
    assert span.start_time == span.end_time and span.attributes["ritellm.row"] == 0
    assert span.attributes["gen_ai.usage.input_tokens"] == 10
    metrics = telemetry.metrics()
    names = {point.attributes["gen_ai.operation.name"] for point in metrics["gen_ai.client.operation.duration"]}
    assert "chat" not in names and len(metrics["gen_ai.client.token.usage"]) == 2
