"""Tests of OpenAI's Responses API: requests and responses are passed on unchanged, plain and streamed."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from typing import Any

import pytest
from server import Answer, Close, Piece, Server, Stall, stream_of

import ritellm
from ritellm import Client, IncompleteStreamError, Response, ResponseEvent, Stream, aresponses, responses

MODEL = "openai/gpt-5-mini"


def message(text: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}


def response_of(text: str = "Hello!", **more: Any) -> dict[str, Any]:
    output = [{"type": "reasoning", "id": "rs_1", "summary": []}, message(text)]
    usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    base = {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-5-mini", "status": "completed"}
    return {**base, "error": None, "output": output, "usage": usage, **more}


def events_of(*texts: str, finish: str = "completed") -> list[dict[str, Any]]:
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    started = response_of(status="in_progress", output=[], usage=None)
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": started},
        {"type": "response.output_item.added", "output_index": 0, "item": {**message(""), "content": []}},
        {"type": "response.content_part.added", **place, "part": {"type": "output_text", "text": ""}},
        *({"type": "response.output_text.delta", **place, "delta": text} for text in texts),
        {"type": f"response.{finish}", "response": response_of("".join(texts), status=finish)},
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def sent_as(events: list[dict[str, Any]]) -> list[Piece]:
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]


@pytest.fixture(params=["sync", "async"])
def respond(request: pytest.FixtureRequest, at_openai: Server) -> Any:
    def respond(input: Any = "Hi", model: str = MODEL, **params: Any) -> Any:
        if request.param == "sync":
            return responses(model, input, **params)
        return asyncio.run(aresponses(model, input, **params))

    return respond


@pytest.fixture(params=["sync", "async"])
def read_events(request: pytest.FixtureRequest, at_openai: Server) -> Any:
    """Reads a stream to its end: the events and the stream."""

    def read_events(into: list[Any] | None = None, **params: Any) -> tuple[list[Any], Stream]:
        events = [] if into is None else into

        async def read_async() -> Any:
            stream = await aresponses(MODEL, "Hi", stream=True, **params)
            async for event in stream:
                events.append(event)
            return stream

        if request.param == "async":
            return events, asyncio.run(read_async())
        stream = responses(MODEL, "Hi", stream=True, **params)
        for event in stream:
            events.append(event)
        return events, stream

    return read_events


class TestPlain:
    def test_request_and_answer_pass_untouched(self, respond: Any, server: Server) -> None:
        server.answer(Answer(headers={"x-request-id": "req_1"}, body=json.dumps(response_of(made_up=[1.0])).encode()))
        response = respond(
            [{"role": "user", "content": "Hi"}], instructions="Be brief.", tools=[{"type": "web_search"}]
        )
        assert server.last.path == "/v1/responses"
        assert server.last.json == {
            "model": "gpt-5-mini",
            "input": [{"role": "user", "content": "Hi"}],
            "instructions": "Be brief.",
            "tools": [{"type": "web_search"}],
        }
        assert type(response) is Response
        assert response == response_of(made_up=[1.0])
        assert response.output[1].content[0].text == response.output_text == "Hello!"
        assert (response.status, response.usage.total_tokens) == ("completed", 5)
        assert (response.meta.request_id, response.meta.provider) == ("req_1", "openai")
        assert "output_text" not in response

    def test_copies_are_responses(self, respond: Any, server: Server) -> None:
        server.answer(Answer(body=json.dumps(response_of()).encode()))
        response = respond()
        for other in (copy.deepcopy(response), pickle.loads(pickle.dumps(response))):
            assert type(other) is Response and other == response and other.output_text == "Hello!"
        assert Response().output_text == ""

    def test_an_answer_goes_back_as_it_came(self, respond: Any, server: Server) -> None:
        server.answer(Answer(body=json.dumps(response_of()).encode()))
        respond([*respond().output, {"role": "user", "content": "And?"}])
        assert server.last.json["input"][:2] == response_of()["output"]

    def test_input_may_be_left_out(self, respond: Any, server: Server) -> None:
        server.answer(Answer(body=json.dumps(response_of()).encode()))
        respond(None, prompt={"id": "pmpt_1"})
        assert server.last.json == {"model": "gpt-5-mini", "prompt": {"id": "pmpt_1"}}

    def test_a_response_that_failed_is_a_response(self, respond: Any, server: Server) -> None:
        failed = response_of(status="failed", error={"code": "server_error", "message": "m"}, output=[])
        server.answer(Answer(body=json.dumps(failed).encode()))
        assert respond().error.code == "server_error"

    def test_a_refusal_is_an_error(self, respond: Any, server: Server) -> None:
        server.answer(Answer(status=404, body=b'{"error": {"message": "no such model", "code": "model_not_found"}}'))
        with pytest.raises(ritellm.NotFoundError, match="no such model") as raised:
            respond()
        assert raised.value.code == "model_not_found"

    def test_a_failure_in_passing_is_repeated(self, respond: Any, server: Server) -> None:
        server.answer(
            Answer(status=503, headers={"retry-after-ms": "1"}), Answer(body=json.dumps(response_of()).encode())
        )
        assert respond().meta.retries == 1

    def test_azure_has_its_own_path(self, server: Server) -> None:
        server.answer(Answer(body=json.dumps(response_of()).encode()))
        client = Client(api_key="k", base_url=server.url)
        client.responses("azure/mine", "Hi", api_version="2025-04-01-preview")
        assert server.last.path == "/openai/responses"
        assert server.last.json == {"model": "mine", "input": "Hi"}

    def test_who_has_none_says_who_has(self) -> None:
        with pytest.raises(
            ritellm.UnsupportedParamsError, match=r"anthropic has no responses; these have: openai, .*azure"
        ):
            responses("anthropic/claude", "Hi", api_key="k")


class TestStreams:
    @pytest.mark.parametrize("finish", ["completed", "incomplete", "failed"])
    def test_events_pass_untouched(self, read_events: Any, server: Server, finish: str) -> None:
        sent = events_of("Hel", "lo", finish=finish)
        server.answer(stream_of(*sent_as(sent)))
        events, stream = read_events(max_output_tokens=9)
        assert server.last.json == {"model": "gpt-5-mini", "input": "Hi", "max_output_tokens": 9, "stream": True}
        assert events == sent
        assert all(type(event) is ResponseEvent for event in events)
        assert [event.delta for event in events if event.type == "response.output_text.delta"] == ["Hel", "lo"]
        assert type(events[-1].response) is Response
        assert type(stream.completion) is Response
        assert stream.completion == response_of("Hello", status=finish)
        assert stream.completion.meta.provider == "openai"

    def test_events_without_their_names(self, read_events: Any, server: Server) -> None:
        sent = events_of("Hello")
        pieces = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in sent]
        server.answer(stream_of(*pieces, b"data: [DONE]\n\n"))
        assert read_events()[0] == sent

    def test_what_follows_the_finish_is_not_waited_for(self, read_events: Any, server: Server) -> None:
        server.answer(stream_of(*sent_as(events_of("Hello")), Close(), framing="chunked"))
        events, _ = read_events()
        assert events[-1].type == "response.completed"

    @pytest.mark.parametrize("end", [(), (b"data: [DONE]\n\n",), (Close(),)], ids=["quiet", "done", "cut"])
    def test_a_stream_without_its_finish(self, read_events: Any, server: Server, end: tuple[Piece, ...]) -> None:
        server.answer(stream_of(*sent_as(events_of("Hel", "lo"))[:-1], *end))
        events: list[Any] = []
        with pytest.raises(IncompleteStreamError) as raised:
            read_events(into=events)
        assert len(events) == 5
        completion = raised.value.completion
        assert type(completion) is Response
        assert (completion.status, completion.output_text) == ("in_progress", "Hello")

    def test_an_error_event_raises(self, read_events: Any, server: Server) -> None:
        error = {"type": "error", "code": "rate_limit_exceeded", "message": "slow down", "param": None}
        server.answer(stream_of(*sent_as([*events_of("Hel")[:4], error])))
        events: list[Any] = []
        with pytest.raises(ritellm.RateLimitError, match="slow down"):
            read_events(into=events)
        assert len(events) == 4

    def test_the_response_so_far(self, at_openai: Server, server: Server) -> None:
        server.answer(stream_of(*sent_as(events_of("Hel", "lo"))))
        with responses(MODEL, "Hi", stream=True) as stream:
            for _ in range(4):
                next(stream)
            assert stream.completion.output_text == "Hel"

    async def test_a_cancelled_task_aborts_the_request(self, at_openai: Server, server: Server) -> None:
        server.answer(stream_of(*sent_as(events_of("Hel", "lo"))[:3], Stall()))

        async def read() -> None:
            async for _ in await aresponses(MODEL, "Hi", stream=True):
                pass

        task = asyncio.create_task(read())
        await asyncio.to_thread(server.wait_for_requests, 1)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(server.last.wait_gone)


class TestTools:
    """Names and ids that a host refuses are told in its grammar, and come back as they were given."""

    LONG = "mcp.server/" + "x" * 70

    def tools(self) -> list[dict[str, Any]]:
        return [{"type": "function", "name": self.LONG, "parameters": {}}, {"type": "web_search"}]

    def test_names_are_told_in_the_hosts_grammar(self, respond: Any, server: Server) -> None:
        server.answer(Answer(body=json.dumps(response_of()).encode()))
        call = {"type": "function_call", "call_id": "c" * 80, "name": self.LONG, "arguments": "{}"}
        result = {"type": "function_call_output", "call_id": "c" * 80, "output": "x"}
        choice = {"type": "function", "name": self.LONG}
        respond([call, result], tools=self.tools(), tool_choice=choice)
        sent = server.last.json
        told = sent["tools"][0]["name"]
        assert len(told) <= 64 and told.replace("_", "").isalnum()
        assert sent["tools"][1] == {"type": "web_search"}
        assert sent["tool_choice"] == {"type": "function", "name": told}
        assert sent["input"][0] == {**call, "name": told, "call_id": sent["input"][1]["call_id"]}
        assert len(sent["input"][1]["call_id"]) <= 64

    def call(self, name: str) -> dict[str, Any]:
        return {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": name, "arguments": "{}"}

    def told(self, server: Server) -> str:
        name: str = server.last.json["tools"][0]["name"]
        return name

    def test_names_come_back(self, respond: Any, server: Server) -> None:
        server.answer(Answer(body=json.dumps(response_of()).encode()))
        respond(tools=self.tools())
        server.answer(Answer(body=json.dumps(response_of(output=[self.call(self.told(server))])).encode()))
        assert respond(tools=self.tools()).output[0].name == self.LONG

    def test_names_come_back_in_streams(self, read_events: Any, server: Server) -> None:
        server.answer(stream_of(*sent_as(events_of("a"))))
        read_events(tools=self.tools())
        call = self.call(self.told(server))
        server.answer(
            stream_of(
                *sent_as(
                    [
                        {"type": "response.output_item.added", "output_index": 0, "item": {**call, "arguments": ""}},
                        {"type": "response.function_call_arguments.done", "name": call["name"], "arguments": "{}"},
                        {"type": "response.output_item.done", "output_index": 0, "item": call},
                        {"type": "response.completed", "response": response_of(output=[call])},
                    ]
                )
            )
        )
        events, stream = read_events(tools=self.tools())
        assert [events[0].item.name, events[1].name, events[2].item.name] == [self.LONG] * 3
        assert stream.completion.output[0].name == events[3].response.output[0].name == self.LONG

    def test_media_types_are_written_in_one_way(self, respond: Any, server: Server) -> None:
        server.answer(Answer(body=json.dumps(response_of()).encode()))
        content = [{"type": "input_image", "image_url": "data:image/JPG;base64,AA=="}]
        respond([{"role": "user", "content": content}])
        assert server.last.json["input"][0]["content"][0]["image_url"] == "data:image/jpeg;base64,AA=="
