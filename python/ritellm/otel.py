"""OpenTelemetry: spans, metrics and events of calls, by the semantic conventions for generative AI.

>>> import ritellm.otel
>>> ritellm.otel.instrument()  # doctest: +SKIP

It needs `opentelemetry-api` (``pip install 'ritellm[otel]'``) and, to see anything, an SDK that the program sets up. The names
are those of `opentelemetry-semantic-conventions` 0.66b2 and `opentelemetry-util-genai` 1.3b0; docs/observability.md lists them.
"""

from __future__ import annotations

import json
import os
import threading
from typing import Any

try:
    from opentelemetry import _logs, context, metrics, propagate, trace
except ImportError:
    raise ImportError("ritellm.otel needs opentelemetry-api: pip install 'ritellm[otel]'") from None

from ritellm import __version__, _core
from ritellm.exceptions import InvalidArgumentError

__all__ = ["instrument", "uninstrument"]

_SCHEMA = "https://opentelemetry.io/schemas/1.44.0"
_VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_CONTENT = {
    "no_content": "",
    "false": "",
    "span_only": "span",
    "event_only": "event",
    "true": "event",
    "span_and_event": "span event",
}
_SECONDS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
_TOKENS = [4**power for power in range(14)]
#: Names of operations. Those that the conventions do not name keep their own.
_OPERATIONS = {"chat": "chat", "responses": "chat", "embedding": "embeddings", "speech": "generate_content"}
#: Parameters of a request, and their attributes.
_PARAMETERS = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "max_output_tokens": "gen_ai.request.max_tokens",
    "reasoning_effort": "gen_ai.request.reasoning.level",
    "previous_response_id": "gen_ai.request.previous_response.id",
    "dimensions": "gen_ai.embeddings.dimension.count",
}
#: Classes of tokens that are parts of the whole, and their attributes.
_PARTS = {
    "gen_ai.usage.cache_read.input_tokens": ("cached_read",),
    "gen_ai.usage.cache_write.input_tokens": ("cache_write", "cache_write_hour"),
    "gen_ai.usage.reasoning.output_tokens": ("reasoning",),
    "gen_ai.usage.audio.input_tokens": ("audio_input",),
    "gen_ai.usage.audio.output_tokens": ("audio_output",),
    "gen_ai.usage.image.input_tokens": ("image_input",),
}
#: Reasons in the messages, by those of chat completions and of responses.
_REASONS = {
    "tool_calls": "tool_call",
    "function_call": "tool_call",
    "completed": "stop",
    "max_output_tokens": "length",
    "incomplete": "length",
    "failed": "error",
}
_INPUT = ("input", "cached_read", "cache_write", "cache_write_hour", "audio_input", "image_input")
_OUTPUT = ("output", "reasoning", "audio_output")

_lock = threading.Lock()
_handle: _core.HookHandle | None = None


def instrument(
    *,
    tracer_provider: Any = None,
    meter_provider: Any = None,
    logger_provider: Any = None,
    content: bool | str | None = None,
    traceparent: bool = False,
) -> None:
    """Makes a span, metrics and, with ``content``, an event of each call of this process, of all clients.

    A span is a child of the span that was current when the call was made. It is made when the call has ended, with the times
    of the call. Attempts of a call that was repeated, or went to several deployments of a router, are its children. To call
    this again replaces the options.

    Args:
        tracer_provider, meter_provider, logger_provider: OpenTelemetry's; by default, those that are set globally.
        content: where what was asked and answered is recorded: ``"event"`` (or ``True``), ``"span"``, or ``"span event"`` for
            both; ``False`` for nowhere. By default, what the variable
            ``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`` says (``EVENT_ONLY``, ``SPAN_ONLY``, ``SPAN_AND_EVENT``), and
            nowhere without it.
        traceparent: send the context of the span to the provider, in the header fields of the propagator that is set
            globally, so that the spans of a gateway become its children. The span then begins before the call.

    Raises:
        InvalidArgumentError: an argument that cannot be used.
    """
    global _handle
    if content is None:
        content = _CONTENT.get(os.environ.get(_VARIABLE, "").lower(), "")
    kinds: Any = "event" if content is True else content or ""
    if not isinstance(kinds, str) or set(kinds.split()) - {"span", "event"}:
        raise InvalidArgumentError(f'content is {content!r}: "event", "span", "span event" or False would be right')
    observer = _Observer(tracer_provider, meter_provider, logger_provider, set(kinds.split()))
    begin = observer.begin if traceparent else None
    with _lock:
        before, _handle = _handle, _core.global_hooks().add(observer.end, bool(kinds), begin)
    if before is not None:
        before.remove()


def uninstrument() -> None:
    """Ends what `instrument` began. Without it, this does nothing."""
    global _handle
    with _lock:
        before, _handle = _handle, None
    if before is not None:
        before.remove()


class _Observer:
    """Makes telemetry of the records of calls."""

    def __init__(self, tracer_provider: Any, meter_provider: Any, logger_provider: Any, content: set[str]) -> None:
        self.tracer = trace.get_tracer("ritellm", __version__, tracer_provider, schema_url=_SCHEMA)
        self.logger = _logs.get_logger("ritellm", __version__, logger_provider, schema_url=_SCHEMA)
        self.content = content
        self.providers = {row["name"]: row["telemetry_name"] for row in _core.providers()}
        meter = metrics.get_meter("ritellm", __version__, meter_provider, schema_url=_SCHEMA)

        def histogram(name: str, unit: str, description: str, buckets: list[Any]) -> Any:
            return meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=buckets)

        self.duration = histogram(
            "gen_ai.client.operation.duration", "s", "Time of a call, its repetitions included.", _SECONDS
        )
        self.tokens = histogram("gen_ai.client.token.usage", "{token}", "Number of tokens of a call.", _TOKENS)
        self.first_chunk = histogram(
            "gen_ai.client.operation.time_to_first_chunk", "s", "Time to the first chunk of a stream.", _SECONDS
        )
        self.per_chunk = histogram(
            "gen_ai.client.operation.time_per_output_chunk",
            "s",
            "Time between two chunks of a stream, on average.",
            _SECONDS,
        )

    def begin(self, operation: str, model: str, provider: str | None) -> tuple[Any, dict[str, str] | None]:
        """Begins the span of a call, and returns it with the header fields that say so."""
        if _is_suppressed():
            return None, None
        name = _OPERATIONS.get(operation, operation)
        known = {"gen_ai.operation.name": name, "gen_ai.request.model": model}
        if provider is not None:
            known["gen_ai.provider.name"] = self.providers.get(provider, provider)
        span = self.tracer.start_span(f"{name} {model}", kind=trace.SpanKind.CLIENT, attributes=known)
        fields: dict[str, str] = {}
        propagate.inject(fields, trace.set_span_in_context(span))
        return span, fields

    def end(self, record: _core.CallRecord, span: Any = None) -> None:
        """Makes the telemetry of a call that has ended. It runs in the context of the call."""
        if span is None and _is_suppressed():
            return
        known = self.identity(record)
        start = int(record.started * 1e9)
        end = start + int(record.total * 1e9)
        if span is None:
            name = f"{known['gen_ai.operation.name']} {known['gen_ai.request.model']}"
            span = self.tracer.start_span(name, kind=trace.SpanKind.CLIENT, attributes=known, start_time=start)
        else:
            span.update_name(f"{known['gen_ai.operation.name']} {known['gen_ai.request.model']}")
            end = max(end, start)
        inside = trace.set_span_in_context(span)
        messages = _messages(record) if self.content else {}
        if span.is_recording():
            span.set_attributes({**known, **_attributes(record)})
            if "span" in self.content:
                span.set_attributes({key: json.dumps(value, default=str) for key, value in messages.items()})
            if record.error is not None:
                span.record_exception(record.error, timestamp=end)
                span.set_status(trace.Status(trace.StatusCode.ERROR, str(record.error)))
            if len(record.attempts) > 1:
                self.attempts(record, start, inside)
        if "event" in self.content:
            self.logger.emit(
                _logs.LogRecord(
                    timestamp=end,
                    context=inside,
                    event_name="gen_ai.client.inference.operation.details",
                    attributes={**known, **_attributes(record), **messages},
                )
            )
        self.measure(record, known, inside)
        span.end(end)

    def identity(self, record: _core.CallRecord) -> dict[str, Any]:
        """Returns the attributes that spans and metrics have in common, and that samplers look at."""
        provider = record.provider or ""
        known: dict[str, Any] = {
            "gen_ai.operation.name": _OPERATIONS.get(record.operation, record.operation),
            "gen_ai.provider.name": self.providers.get(provider, provider) or "_OTHER",
            "gen_ai.request.model": record.provider_model or record.model,
            **_server(record.host),
        }
        if record.error is not None:
            known["error.type"] = type(record.error).__qualname__
        return known

    def attempts(self, record: _core.CallRecord, start: int, inside: context.Context) -> None:
        """Makes a span of each attempt. It has no attribute of generative AI, so that nobody counts it as a call."""
        sent = 0
        for attempt in record.attempts:
            begun = start + int((attempt.started + attempt.waited) * 1e9)
            where = attempt.deployment or f"{attempt.provider}/{attempt.model}"
            known: dict[str, Any] = {
                "ritellm.attempt.number": attempt.number,
                "ritellm.attempt.outcome": attempt.outcome,
                "ritellm.attempt.model": f"{attempt.provider}/{attempt.model}",
                **_server(attempt.host),
            }
            if attempt.outcome != "skipped":
                known["http.request.resend_count"] = sent
                sent += 1
            if attempt.status_code is not None:
                known["http.response.status_code"] = attempt.status_code
            if attempt.error is not None:
                known["error.type"] = attempt.error
            for name in ("deployment", "reason", "failure", "request_id"):
                if attempt[name] is not None:
                    known[f"ritellm.attempt.{name}"] = attempt[name]
            span = self.tracer.start_span(
                f"attempt {where}", inside, kind=trace.SpanKind.CLIENT, attributes=known, start_time=begun
            )
            if attempt.outcome == "failed":
                span.set_status(trace.Status(trace.StatusCode.ERROR, attempt.message))
            elif attempt.message is not None:
                span.set_attribute("ritellm.attempt.message", attempt.message)
            span.end(begun + int(attempt.latency * 1e9))

    def measure(self, record: _core.CallRecord, known: dict[str, Any], inside: context.Context) -> None:
        """Records the metrics of a call."""
        known = {**known, **({"gen_ai.response.model": record.response_model} if record.response_model else {})}
        if record.row is None or record.total:
            # A row of a provider's batch has no time of its own.
            self.duration.record(record.total, known, inside)
        known.pop("error.type", None)
        if record.first_chunk is not None:
            self.first_chunk.record(record.first_chunk, known, inside)
        if record.between_chunks is not None:
            self.per_chunk.record(record.between_chunks, known, inside)
        if record.usage is not None and not record.cached:
            for kind, classes in (("input", _INPUT), ("output", _OUTPUT)):
                count = sum(record.usage[name] for name in classes)
                if count or kind == "input":
                    self.tokens.record(count, {**known, "gen_ai.token.type": kind}, inside)


def _is_suppressed() -> bool:
    return bool(context.get_value("suppress_instrumentation"))


def _server(host: str | None) -> dict[str, Any]:
    """Returns the attributes of host and port."""
    if not host:
        return {}
    name, _, port = host.rpartition(":")
    if not port.isdigit():
        return {"server.address": host, "server.port": 443}
    return {"server.address": name.strip("[]"), "server.port": int(port)}


def _attributes(record: _core.CallRecord) -> dict[str, Any]:
    """Returns the attributes of a call beside its identity."""
    found: dict[str, Any] = {"ritellm.outcome": record.outcome}
    given = record.parameters
    for name, attribute in _PARAMETERS.items():
        if isinstance(given.get(name), (str, int, float)):
            found[attribute] = given[name]
    reasoning = given.get("reasoning")
    if isinstance(reasoning, dict) and isinstance(reasoning.get("effort"), str):
        found["gen_ai.request.reasoning.level"] = reasoning["effort"]
    if given.get("n") not in (None, 1):
        found["gen_ai.request.choice.count"] = given["n"]
    if stop := given.get("stop"):
        found["gen_ai.request.stop_sequences"] = [stop] if isinstance(stop, str) else list(stop)
    if isinstance(given.get("conversation"), str):
        found["gen_ai.conversation.id"] = given["conversation"]
    if isinstance(given.get("encoding_format"), str):
        found["gen_ai.request.encoding_formats"] = [given["encoding_format"]]
    if record.operation == "speech":
        found["gen_ai.output.type"] = "speech"
    if record.stream:
        found["gen_ai.request.stream"] = True
    if record.first_chunk is not None:
        found["gen_ai.response.time_to_first_chunk"] = record.first_chunk
    if record.response_id is not None:
        found["gen_ai.response.id"] = record.response_id
    if record.response_model is not None:
        found["gen_ai.response.model"] = record.response_model
    reasons = record.finish_reasons
    if not reasons and record.chunks and record.outcome in ("failed", "left"):
        # A reason was expected and did not come.
        reasons = ["error"]
    if reasons:
        found["gen_ai.response.finish_reasons"] = reasons
    if (usage := record.usage) is not None and not record.cached:
        found["gen_ai.usage.input_tokens"] = sum(usage[name] for name in _INPUT)
        found["gen_ai.usage.output_tokens"] = sum(usage[name] for name in _OUTPUT)
        for attribute, classes in _PARTS.items():
            if count := sum(usage[name] for name in classes):
                found[attribute] = count
    if record.usage_is_estimated:
        found["ritellm.usage.is_estimated"] = True
    if record.cached:
        found["ritellm.cached"] = True
    if record.cost is not None:
        found["ritellm.cost"] = record.cost
    if record.retries:
        found["ritellm.retries"] = record.retries
    if record.deployment is not None:
        found["ritellm.deployment"], found["ritellm.group"] = record.deployment, record.model
    if record.request_id is not None:
        found["ritellm.request_id"] = record.request_id
    if record.row is not None:
        found["ritellm.row"] = record.row
    found |= {f"ritellm.tag.{name}": value for name, value in record.tags.items()}
    return found


def _messages(record: _core.CallRecord) -> dict[str, Any]:
    """Returns the attributes of what was asked and answered, in the form of the conventions' JSON schemas."""
    found: dict[str, Any] = {}
    asked = record.input
    if isinstance(asked, str):
        asked = [{"role": "user", "content": asked}]
    if record.operation in ("chat", "responses") and isinstance(asked, list):
        found["gen_ai.input.messages"] = [_message(item) for item in asked if isinstance(item, dict)]
        instructions = record.parameters.get("instructions")
        if isinstance(instructions, str):
            found["gen_ai.system_instructions"] = [{"type": "text", "content": instructions}]
        if isinstance(tools := record.parameters.get("tools"), list):
            found["gen_ai.tool.definitions"] = [
                {"type": tool.get("type", "function"), "name": (tool.get("function") or tool).get("name", "")}
                for tool in tools
                if isinstance(tool, dict)
            ]
    answered = record.output
    if isinstance(answered, dict) and record.operation == "chat":
        found["gen_ai.output.messages"] = [
            {**_message(choice.get("message") or {}), "finish_reason": _reason(choice.get("finish_reason"))}
            for choice in answered.get("choices") or []
        ]
    elif isinstance(answered, dict) and record.operation == "responses":
        parts = [part for item in answered.get("output") or [] for part in _message(item)["parts"]]
        reason = _reason(next(iter(record.finish_reasons), None))
        if reason == "stop" and any(part["type"] == "tool_call" for part in parts):
            reason = "tool_call"
        found["gen_ai.output.messages"] = [{"role": "assistant", "parts": parts, "finish_reason": reason}]
    return found


def _reason(reason: str | None) -> str:
    """Returns the conventions' name of a finish reason; a reason that did not come is an error."""
    return _REASONS.get(reason, reason) if reason else "error"


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """Returns a message of chat completions, or an item of the Responses API, in the conventions' form."""
    parts: list[dict[str, Any]] = []
    kind = message.get("type")
    if message.get("role") == "tool" or kind == "function_call_output":
        called = message.get("tool_call_id") or message.get("call_id")
        answer = message.get("content", message.get("output"))
        parts.append({"type": "tool_call_response", "id": called, "response": answer})
        return {"role": "tool", "parts": parts}
    reasoning = message.get("reasoning_content")
    if isinstance(reasoning, str) and reasoning:
        parts.append({"type": "reasoning", "content": reasoning})
    if kind == "reasoning":
        parts += [{"type": "reasoning", "content": part.get("text", "")} for part in message.get("summary") or []]
    content = message.get("content")
    if isinstance(content, str):
        parts.append({"type": "text", "content": content})
    elif isinstance(content, list):
        parts += [_part(part) for part in content if isinstance(part, dict)]
    calls = list(message.get("tool_calls") or [])
    if kind == "function_call":
        calls.append({"id": message.get("call_id"), "function": message})
    for call in calls:
        function = call.get("function") or call.get("custom") or {}
        arguments = function.get("arguments", function.get("input"))
        parts.append(
            {"type": "tool_call", "id": call.get("id"), "name": function.get("name"), "arguments": _parsed(arguments)}
        )
    return {"role": message.get("role") or "assistant", "parts": parts}


def _part(part: dict[str, Any]) -> dict[str, Any]:
    """Returns a part of a message. Of pictures and files that are in the request, only the kind is told."""
    if isinstance(part.get("text"), str):
        return {"type": "text", "content": part["text"]}
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if isinstance(url, str) and not url.startswith("data:"):
        return {"type": "uri", "modality": "image", "uri": url}
    return {"type": str(part.get("type", "unknown"))}


def _parsed(arguments: Any) -> Any:
    try:
        return json.loads(arguments)
    except (TypeError, ValueError):
        return arguments
