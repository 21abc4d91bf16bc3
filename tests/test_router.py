"""Tests of the router with real servers: faults of a primary with a healthy secondary, fallbacks, hedges, state that binds."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import re
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from server import (
    KEY,
    MESSAGES,
    Answer,
    Close,
    Gate,
    Request,
    Reset,
    Server,
    Stall,
    chunk_of,
    chunks_of,
    completion_of,
    dumped,
    event,
    events,
    free_port,
    plain,
    refusal,
    stream_of,
    streamed,
)
from test_admission import until

from ritellm import (
    AuthenticationError,
    BadRequestError,
    Client,
    ContextWindowExceededError,
    Deployment,
    IncompleteStreamError,
    InternalServerError,
    InvalidArgumentError,
    NotFoundError,
    RateLimitError,
    Router,
    Timeout,
)

OTHER = completion_of("from the other")


@pytest.fixture
def other() -> Any:
    server = Server()
    server.answer(plain("from the other"))
    yield server
    server.close()


def at(server: Server, name: str, model: str = "openai/m", **options: Any) -> Deployment:
    return Deployment(model, name=name, base_url=server.base_url, api_key=f"{KEY}-{name}", **options)


def router_of(server: Server, other: Server, address: str | None = None, **options: Any) -> Router:
    """A group whose first deployment is asked first, and a group to fall back to."""
    primary = Deployment(
        "openai/m", name="primary", base_url=address or server.base_url, api_key=f"{KEY}-primary", order=1
    )
    return Router(
        {"group": [primary, at(other, "secondary", order=2)], "last": [at(other, "last")]},
        **{"max_wait": 5, "client": Client(allow_http=True), **options},
    )


def streaming(*texts: str) -> Answer:
    return stream_of(*events(chunks_of(*texts)))


def too_long() -> Answer:
    message = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
    error = {"message": message, "type": "invalid_request_error", "code": "context_length_exceeded"}
    return Answer(400, body=dumped({"error": error}))


def filtered() -> Answer:
    return Answer(400, body=dumped({"error": {"message": "content management policy", "code": "content_filter"}}))


def used_up() -> Answer:
    return Answer(
        429, body=dumped({"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}})
    )


def cut_after(*pieces: Any) -> Answer:
    return stream_of(*pieces, Close())


FALLBACKS = {"context_window_fallbacks": {"group": ["last"]}, "content_policy_fallbacks": {"group": ["last"]}}


@dataclass(frozen=True)
class Fault:
    """A fault of the primary, and what comes of it."""

    #: Answers of the primary to a plain call and to a streamed one.
    plain: Answer = field(default_factory=Answer)
    streamed: Answer = field(default_factory=Answer)
    #: Options of the router.
    options: dict[str, Any] = field(default_factory=dict)
    #: What the primary gets afterwards: "calls", "a pause", or nothing, "out".
    then: str = "calls"
    #: Address of the primary, in place of the server's.
    address: Callable[[Server], str] = lambda server: server.base_url
    #: Error of a stream, where another answer would be a lie.
    stream_error: type[Exception] | None = None


def unused_address(_: Server) -> str:
    return f"http://127.0.0.1:{free_port()}/v1"


FAULTS = {
    "nobody listens on the port": Fault(address=unused_address),
    "its name has no address": Fault(address=lambda _: "http://no-such-host.invalid/v1"),
    "no TLS behind `https://`": Fault(address=lambda server: server.base_url.replace("http://", "https://")),
    "the connection is reset": Fault(Answer(before=[Reset()]), Answer(before=[Reset()])),
    "no answer": Fault(Answer(before=[Stall()]), Answer(before=[Stall()])),
    "a stall within the answer, for a stream after the role": Fault(
        Answer(body=[b'{"id": "x", ', Stall()]),
        stream_of(event(chunk_of({"role": "assistant"})), Stall()),
    ),
    "429": Fault(Answer(429), Answer(429), then="a pause"),
    "429 with a `Retry-After` of 10 minutes": Fault(
        Answer(429, headers={"retry-after": "600"}),
        Answer(429, headers={"retry-after": "600"}),
        then="a pause",
    ),
    "500": Fault(Answer(500), Answer(500)),
    "503 with a page of HTML": Fault(
        Answer(503, headers={"content-type": "text/html"}, body=b"<html>busy</html>"),
        Answer(503, headers={"content-type": "text/html"}, body=b"<html>busy</html>"),
    ),
    "401": Fault(refusal(401), refusal(401), then="out"),
    "403": Fault(refusal(403), refusal(403), then="out"),
    "404, the model does not exist": Fault(refusal(404), refusal(404), then="out"),
    "429, the quota is used up": Fault(used_up(), used_up(), then="out"),
    "the prompt exceeds the context window": Fault(too_long(), too_long(), FALLBACKS),
    "the content is refused (400)": Fault(filtered(), filtered(), FALLBACKS),
    "the content is refused (200, no content)": Fault(
        Answer(
            body=dumped(
                completion_of(None)
                | {
                    "choices": [
                        {
                            "index": 0,
                            "message": {"role": "assistant", "content": None},
                            "finish_reason": "content_filter",
                        }
                    ]
                }
            )
        ),
        stream_of(*events([chunk_of({"role": "assistant"}), chunk_of({}, "content_filter")])),
        FALLBACKS,
    ),
    "no valid JSON": Fault(Answer(body=b"{garbage"), stream_of(b"data: {garbage\n\n")),
    "a part of a JSON": Fault(
        Answer(body=dumped(completion_of("Hel"))[:-9]), stream_of(b'data: {"choices": [{"delta": {"con\n\n')
    ),
    "an address that has moved (301)": Fault(
        Answer(301, headers={"location": "https://elsewhere.invalid/v1"}),
        Answer(301, headers={"location": "https://elsewhere.invalid/v1"}),
    ),
    "nothing, for a stream the role and its end": Fault(
        Answer(body=b""), stream_of(event(chunk_of({"role": "assistant"})), b"data: [DONE]\n\n")
    ),
    "the answer is cut, a stream before its first chunk": Fault(
        Answer(body=[b'{"id"', Close()], framing="length"), cut_after()
    ),
    "the answer is cut, a stream after the role": Fault(
        Answer(body=[b'{"id"', Close()], framing="length"),
        cut_after(event(chunk_of({"role": "assistant"}))),
    ),
    "an error inside of a 200": Fault(
        Answer(body=dumped({"error": {"message": "overloaded", "type": "server_error"}})),
        stream_of(event({"error": {"message": "overloaded", "type": "server_error"}})),
    ),
    "the answer is cut, a stream after content": Fault(
        Answer(body=[b'{"id"', Close()], framing="length"),
        cut_after(event(chunk_of({"content": "Hel"}))),
        stream_error=IncompleteStreamError,
    ),
    "a stall within the answer, for a stream after content": Fault(
        Answer(body=[b'{"id"', Stall()], framing="length"),
        stream_of(event(chunk_of({"content": "Hel"})), Stall()),
        stream_error=Timeout,
    ),
    "an error within the answer, for a stream after content": Fault(
        Answer(body=dumped({"error": {"message": "overloaded", "type": "server_error"}})),
        stream_of(
            event(chunk_of({"content": "Hel"})), Gate(), event({"error": {"message": "no", "type": "server_error"}})
        ),
        stream_error=InternalServerError,
    ),
}


def state_of(router: Router) -> str:
    """What the primary gets now, in the words of `Fault.then`."""
    status = router.status()["primary"]
    if status["cooling_for"] is not None:
        return "a pause"
    return "out" if status["breaker"] == "out" else "calls"


class TestFaults:
    """Each ends in the secondary's whole answer, with default timeouts but for `total`."""

    @pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
    def test_plain(self, server: Server, other: Server, fault: Fault) -> None:
        server.answer(fault.plain)
        router = router_of(server, other, fault.address(server), **fault.options)
        response = router.completion("group", MESSAGES, timeout=4)
        assert response == OTHER
        attempts = response.meta.attempts
        assert [attempt.outcome for attempt in attempts] == ["failed", "success"]
        assert attempts[0].deployment == "primary"
        assert attempts[1].deployment == ("last" if fault.options else "secondary")
        assert response.meta.retries == 1
        assert len(server.requests) <= 1
        assert state_of(router) == fault.then

    @pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
    async def test_streamed(self, server: Server, other: Server, fault: Fault) -> None:
        server.answer(fault.streamed)
        other.answer(streaming("from ", "the other"))
        router = router_of(server, other, fault.address(server), **fault.options)
        stream = await router.acompletion("group", MESSAGES, stream=True, timeout=4)
        for piece in fault.streamed.body:
            if isinstance(piece, Gate):
                piece.open()
        text = ""
        with pytest.raises(fault.stream_error) if fault.stream_error else nullcontext():
            async for chunk in stream:
                text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        if fault.stream_error:
            # Never in silence, and never from the beginning.
            assert text == "Hel"
            assert not other.requests
            assert router.status()["primary"]["failures"] == 1
        else:
            assert text == "from the other"
            assert [attempt.outcome for attempt in stream.meta.attempts] == ["failed", "success"]
        assert router.status()["primary"]["in_flight"] == 0
        assert state_of(router) == fault.then

    def test_the_table_is_in_the_documentation(self) -> None:
        """To write it anew: UPDATE_DOCS=1."""
        lines = ["| the primary | a plain call | a stream | the primary afterwards |", "|---|---|---|---|"]
        then = {
            "calls": "gets calls",
            "a pause": "pauses, with its quota group",
            "out": "is out, and is probed every 5 minutes",
        }
        for name, fault in FAULTS.items():
            answer = "the fallback group's answer" if fault.options else "the secondary's answer"
            stream = f"`{fault.stream_error.__name__}` after what came" if fault.stream_error else answer
            lines.append(f"| {name} | {answer} | {stream} | {then[fault.then]} |")
        page = Path(__file__).parents[1] / "docs" / "router.md"
        mark = "<!-- faults: {}, written by tests/test_router.py -->"
        before, rest = page.read_text().split(mark.format("begin"))
        after = rest.split(mark.format("end"))[1]
        text = mark.format("begin").join((before, "\n".join(["", *lines, ""]) + mark.format("end") + after))
        if os.environ.get("UPDATE_DOCS"):
            page.write_text(text)
        assert page.read_text() == text

    def test_what_all_would_refuse_goes_nowhere_else(self, server: Server, other: Server) -> None:
        server.answer(refusal(400))
        with pytest.raises(BadRequestError) as caught:
            router_of(server, other).completion("group", MESSAGES)
        assert not other.requests
        assert [attempt.deployment for attempt in caught.value.attempts] == ["primary"]

    def test_without_its_fallbacks_a_prompt_that_is_too_long_is_an_error(self, server: Server, other: Server) -> None:
        server.answer(too_long())
        with pytest.raises(ContextWindowExceededError):
            router_of(server, other).completion("group", MESSAGES)

    def test_when_all_fail_the_error_says_what_happened_where(self, server: Server, other: Server) -> None:
        server.answer(Answer(500))
        other.answer(Answer(503))
        with pytest.raises(Exception, match=r"503|500") as caught:
            router_of(server, other, max_retries=1).completion("group", MESSAGES)
        failed = [(attempt.deployment, attempt.status_code) for attempt in caught.value.attempts]
        assert failed == [("primary", 500), ("secondary", 503)]

    async def test_cancelling_gives_back_everything(self, server: Server, other: Server) -> None:
        server.answer(Answer(before=[Stall()]))
        router = router_of(server, other)
        task = asyncio.create_task(router.acompletion("group", MESSAGES))
        while not server.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        end = time.monotonic() + 10
        while router.status()["primary"]["in_flight"] and time.monotonic() < end:
            await asyncio.sleep(0.01)
        status = router.status()["primary"]
        assert (status["in_flight"], status["cancelled"], status["failures"]) == (0, 1, 0)


class TestOperations:
    def test_every_method_of_a_client(self, server: Server, other: Server) -> None:
        server.answer(Answer(500))
        vectors = {"object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": [1.0]}]}
        other.answer(Answer(body=dumped(vectors | {"usage": {"prompt_tokens": 1, "total_tokens": 1}})))
        router = router_of(server, other)
        assert router.embedding("group", ["a"], encoding_format="float").embeddings == [[1.0]]

    def test_a_stored_response_binds_to_its_account(self, server: Server, other: Server) -> None:
        response = {"id": "resp_1", "object": "response", "status": "completed", "output": [], "model": "m"}
        server.answer(Answer(body=dumped(response)))
        other.answer(Answer(body=dumped(response | {"id": "resp_2"})))
        router = Router({"group": [at(server, "a"), at(other, "b")]})
        first = router.responses("group", "Hi")
        owner = first.meta.attempts[0].deployment
        for _ in range(6):
            again = router.responses("group", "Go on", previous_response_id=first.id)
            assert again.meta.attempts[0].deployment == owner
        with pytest.raises(InvalidArgumentError, match="resp_unknown"):
            router.responses("group", "Go on", previous_response_id="resp_unknown")

    async def test_encrypted_reasoning_of_a_stream_binds_to_its_account(self, server: Server, other: Server) -> None:
        item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}
        response = {"id": "resp_1", "object": "response", "status": "completed", "output": [item], "model": "m"}
        happenings = [
            {"type": "response.created", "response": response | {"status": "in_progress", "output": []}},
            {"type": "response.output_text.delta", "item_id": "msg_1", "delta": "Hi"},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": response},
        ]
        for target in (server, other):
            target.answer(stream_of(*(event(happening) for happening in happenings)))
        router = Router({"group": [at(server, "a"), at(other, "b")]})
        stream = await router.aresponses(
            "group", "Hi", stream=True, store=False, include=["reasoning.encrypted_content"]
        )
        assert len([happening async for happening in stream]) == 4
        owner = stream.meta.attempts[0].deployment
        for target in (server, other):
            target.answer(Answer(body=dumped(response)))
        for _ in range(6):
            again = router.responses("group", [item, {"role": "user", "content": "Go on"}], store=False)
            assert again.meta.attempts[0].deployment == owner

    @pytest.mark.parametrize("rows", ["of a file", "given"])
    def test_files_and_batches_bind_to_their_account(self, server: Server, other: Server, rows: str) -> None:
        file = {"object": "file", "bytes": 3, "created_at": 1, "filename": "a", "purpose": "batch"}
        batch = {"object": "batch", "endpoint": "/v1/chat/completions", "status": "completed", "created_at": 1}

        def script(name: str) -> Callable[[Request], Answer]:
            def answer(request: Request) -> Answer:
                if request.path.endswith("/content"):
                    return Answer(body=dumped({"custom_id": "1", "response": {"status_code": 200, "body": {}}}) + b"\n")
                made = batch | {"id": f"batch-{name}", "output_file_id": f"out-{name}"}
                return Answer(body=dumped(made if "/batches" in request.path else file | {"id": f"file-{name}"}))

            return answer

        server.script, other.script = script("a"), script("b")
        router = Router({"group": [at(server, "a"), at(other, "b")]}, strategy="ordered")
        row = {"custom_id": "1", "body": {"model": "m", "messages": MESSAGES}}
        # One that the second deployment has made.
        for _ in range(2):
            made = router.files.create("group", b"{}", purpose="batch")
            server.script = lambda _: Answer(429)
        assert made.id == "file-b"
        server.script = script("a")
        assert router.enable("a")
        if rows == "given":
            started = router.batches.create("group", requests=[row])
            upload = server.requests[-2]
            assert upload.path.endswith("/files")
            assert b'"url": "/v1/chat/completions"' in upload.body or b'"url":"/v1/chat/completions"' in upload.body
            name, asked = "a", server
        else:
            started = router.batches.create("group", input_file_id=made.id)
            name, asked = "b", other
        assert (started.id, started.output_file_id) == (f"batch-{name}", f"out-{name}")
        seen = [len(server.requests), len(other.requests)]
        assert router.batches.retrieve("group", started.id).id == started.id
        assert [row["custom_id"] for row in router.batches.results("group", started)] == ["1"]
        assert router.batches.cancel("group", started.id).id == started.id
        assert router.files.retrieve("group", f"file-{name}").id == f"file-{name}"
        assert [len(server.requests), len(other.requests)] == (
            [seen[0] + 4, seen[1]] if asked is server else [seen[0], seen[1] + 4]
        )
        with pytest.raises(InvalidArgumentError, match="file-unknown"):
            router.files.retrieve("group", "file-unknown")

    async def test_files_without_blocking(self, server: Server, other: Server) -> None:
        file = {"object": "file", "bytes": 3, "created_at": 1, "filename": "a", "purpose": "batch", "id": "file-1"}
        server.answer(Answer(404, body=dumped({"error": {"message": "no such file"}})))
        other.answer(Answer(body=dumped(file)))
        router = Router({"group": [at(server, "a"), at(other, "b")]}, strategy="ordered")
        with pytest.raises(NotFoundError):
            await router.files.acreate("group", b"{}", purpose="batch")
        # What is not there says nothing of the deployment.
        assert router.status()["a"]["breaker"] == "closed"
        server.answer(Answer(429))
        assert (await router.files.acreate("group", b"{}", purpose="batch")).id == "file-1"

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_response_that_has_failed_is_made_elsewhere(self, server: Server, other: Server, stream: bool) -> None:
        response = {"id": "resp_1", "object": "response", "status": "completed", "output": [], "model": "m"}
        failed = response | {"status": "failed", "error": {"code": "server_error", "message": "no"}}
        created = event({"type": "response.created", "response": response | {"status": "in_progress"}})
        if stream:
            server.answer(stream_of(created, event({"type": "response.failed", "response": failed})))
            other.answer(stream_of(event({"type": "response.completed", "response": response | {"id": "resp_2"}})))
            (last,) = router_of(server, other).responses("group", "Hi", store=False, stream=True)
            assert last.response.id == "resp_2"
            return
        server.answer(Answer(body=dumped(failed)))
        other.answer(Answer(body=dumped(response | {"id": "resp_2"})))
        assert router_of(server, other).responses("group", "Hi", store=False).id == "resp_2"
        # One that is stored is there: the caller gets it.
        assert router_of(server, other).responses("group", "Hi").status == "failed"

    def test_what_is_stored_is_not_sent_twice(self, server: Server, other: Server) -> None:
        server.answer(Answer(500))
        with pytest.raises(Exception, match="500"):
            router_of(server, other).responses("group", "Hi")
        assert len(server.requests) == 1
        assert not other.requests


class TestLimits:
    async def test_a_deployment_without_budget_is_passed_over(self, server: Server, other: Server) -> None:
        server.answer(plain())
        router = Router(
            {
                "group": [
                    at(server, f"p{time.monotonic_ns()}", order=1, rpm=3, limits={"burst": 1, "rpm": 3}),
                    at(other, "s", order=2),
                ]
            }
        )
        await asyncio.gather(*(router.acompletion("group", MESSAGES) for _ in range(10)))
        assert len(server.requests) == 2 or len(server.requests) == 3
        assert len(server.requests) + len(other.requests) == 10

    async def test_calls_wait_in_line_where_no_deployment_has_budget(self, server: Server) -> None:
        server.answer(plain())
        limit = {"max_in_flight": 2}
        router = Router({"group": [at(server, f"w{time.monotonic_ns()}", limits=limit)]})
        answers = await asyncio.gather(*(router.acompletion("group", MESSAGES) for _ in range(20)))
        assert answers == [completion_of()] * 20

    @pytest.mark.parametrize("stream", [False, True])
    async def test_who_waits_goes_where_it_is_free(self, server: Server, other: Server, stream: bool) -> None:
        server.answer(Answer(before=[Stall()]))
        gate = Gate()
        answer = streamed("b") if stream else plain("b")
        other.answer(replace(answer, before=[gate]), answer)
        names = [f"{name}{time.monotonic_ns()}" for name in "ab"]
        first, second = (at(one, name, max_in_flight=1) for one, name in ((server, names[0]), (other, names[1])))
        router = Router({"group": [first, second]})

        async def call() -> tuple[str, str, float]:
            response = await router.acompletion("group", MESSAGES, stream=stream)
            if stream:
                async for _ in response:
                    pass
            (attempt,) = response.meta.attempts
            return attempt.deployment, attempt.outcome, attempt.waited

        tasks = [asyncio.create_task(call()) for _ in range(12)]
        await until(lambda: router.stats()["waiting"] == 10)
        gate.open()
        while len(done := [task for task in tasks if task.done()]) < 11:
            await asyncio.wait([task for task in tasks if not task.done()], return_when="FIRST_COMPLETED")
        # One hangs; the others that were in its line are answered by the other deployment.
        assert [task.result()[:2] for task in done] == 11 * [(names[1], "success")]
        # The time in the line that was left counts.
        assert sorted(task.result()[2] > 0 for task in done) == [False, *10 * [True]]
        assert (len(server.requests), len(other.requests)) == (1, 11)
        status = router.status()
        assert [status[name]["calls"] for name in names] == [1, 11]
        (hangs,) = (task for task in tasks if not task.done())
        hangs.cancel()
        await asyncio.wait([hangs])
        await until(lambda: not any(quota["in_flight"] or quota["waiting"] for quota in router.limits().values()))

    async def test_the_share_of_an_attempt_begins_when_it_is_admitted(self, server: Server, other: Server) -> None:
        gates = [Gate(), Gate()]
        server.answer(Answer(before=[gates[0]], body=dumped(completion_of())), Answer(before=[Stall()]))
        other.answer(Answer(before=[gates[1]], body=dumped(OTHER)), plain("from the other"))
        named = [
            at(one, f"s{number}{time.monotonic_ns()}", max_in_flight=1) for number, one in enumerate((server, other))
        ]
        router = Router({"group": named}, strategy="ordered")
        before = [asyncio.create_task(router.acompletion("group", MESSAGES)) for _ in named]
        for one in (server, other):
            await asyncio.to_thread(one.wait_for_requests, 1)
        call = asyncio.create_task(router.acompletion("group", MESSAGES, timeout=1))
        await asyncio.sleep(0.3)
        gates[0].open()
        await asyncio.to_thread(server.wait_for_requests, 2)
        gates[1].open()
        assert await asyncio.gather(*before) == [completion_of(), OTHER]
        response = await call
        assert response == OTHER
        hung, answered = response.meta.attempts
        assert (hung.outcome, answered.outcome, hung.waited > 0.2) == ("failed", "success", True)
        found = re.search(r"no answer within (.*) s, the time of this attempt", hung.message)
        # Half of what was left after the wait.
        assert found and float(found[1]) < 0.4

    def test_all_cooling(self, server: Server, other: Server) -> None:
        for one in (server, other):
            one.answer(Answer(429, headers={"retry-after": "50"}))
        router = router_of(server, other, max_wait=0.2)
        with pytest.raises(RateLimitError):
            router.completion("group", MESSAGES)
        with pytest.raises(RateLimitError, match=r"primary is cooling for .* s; secondary is cooling") as caught:
            router.completion("group", MESSAGES)
        assert 40 < caught.value.retry_after <= 50
        assert len(server.requests) == len(other.requests) == 1
        assert router.enable("primary")
        server.answer(plain())
        assert router.completion("group", MESSAGES) == completion_of()

    def test_all_without_budget(self, server: Server) -> None:
        server.answer(plain())
        name = f"n{time.monotonic_ns()}"
        router = Router({"group": [at(server, name, limits={"rpm": 1, "burst": 1})]}, max_wait=1)
        router.completion("group", MESSAGES)
        with pytest.raises(
            RateLimitError, match=rf"no deployment is available for .* s: {name} has no budget for"
        ) as caught:
            router.completion("group", MESSAGES)
        assert 50 < caught.value.retry_after < 63

    def test_a_pause_is_waited_for_within_max_wait(self, server: Server) -> None:
        server.answer(Answer(429, headers={"retry-after-ms": "100"}), plain())
        router = Router({"group": [at(server, "only")]}, max_wait=5)
        response = router.completion("group", MESSAGES)
        assert response == completion_of()
        assert [attempt.outcome for attempt in response.meta.attempts] == ["failed", "success"]

    def test_waiting_for_a_limit_ends_with_the_total_timeout(self, server: Server) -> None:
        server.answer(Answer(before=[Stall()]))
        router = Router({"group": [at(server, f"f{time.monotonic_ns()}", max_in_flight=1)]})

        def hold() -> None:
            with pytest.raises(Timeout):
                router.completion("group", MESSAGES, timeout=1)

        first = threading.Thread(target=hold)
        first.start()
        server.wait_for_requests(1)
        with pytest.raises(Timeout, match=r"total timeout of 0\.2 s, waiting for its limits included") as caught:
            router.completion("group", MESSAGES, timeout=0.2)
        assert [attempt.outcome for attempt in caught.value.attempts] == ["aborted"]
        first.join()
        assert len(server.requests) == 1
        (state,) = router.limits().values()
        assert (state["in_flight"], state["waiting"]) == (0, 0)


class TestHedges:
    async def test_the_faster_one_wins_and_the_other_is_aborted(self, server: Server, other: Server) -> None:
        server.answer(Answer(before=[Stall()]))
        router = router_of(server, other, hedge={"after": 0.05, "budget": 1.0}, strategy="ordered")
        response = await router.acompletion("group", MESSAGES)
        assert response == OTHER
        outcomes = [(attempt.deployment, attempt.outcome, attempt.reason) for attempt in response.meta.attempts]
        assert outcomes == [("primary", "aborted", "first"), ("secondary", "success", "hedge")]
        assert await asyncio.to_thread(server.requests[0].gone.wait, 10)


class TestCatalog:
    CATALOG: ClassVar = {
        "openai/small": {"context_window": 100, "input": 1, "output": 1},
        "openai/large": {"context_window": 100_000, "input": 2, "output": 2},
    }
    LONG: ClassVar = [{"role": "user", "content": "word " * 1000}]

    def test_the_cheapest_one(self, server: Server, other: Server) -> None:
        deployments = [
            at(server, "u", "openai/unknown"),
            at(server, "l", "openai/large"),
            at(other, "s", "openai/small"),
        ]
        router = Router({"group": deployments}, strategy="cost", client=Client(catalog=self.CATALOG))
        for _ in range(5):
            assert router.completion("group", MESSAGES) == OTHER
        # It is too small: the cheapest of the others.
        server.answer(plain())
        response = router.completion("group", self.LONG)
        attempts = [(attempt.deployment, attempt.outcome) for attempt in response.meta.attempts]
        assert attempts == [("s", "skipped"), ("l", "success")]

    def test_a_fallback_whose_window_is_too_small_is_skipped(self, server: Server, other: Server) -> None:
        server.answer(Answer(500), plain())
        router = Router(
            {
                "group": [at(server, "a", "openai/large")],
                "small": [at(other, "b", "openai/small")],
                "large": [at(server, "c", "openai/large")],
            },
            fallbacks={"group": ["small", "large"]},
            client=Client(catalog=self.CATALOG),
            max_retries=0,
        )
        response = router.completion("group", self.LONG)
        assert response == completion_of()
        attempts = {attempt.deployment: (attempt.outcome, attempt.message) for attempt in response.meta.attempts}
        assert attempts["b"] == ("skipped", "has a context window of 100 tokens for a prompt of about 1260")
        assert (attempts["a"][0], attempts["c"][0]) == ("failed", "success")
        assert not other.requests

    def test_what_is_known_to_be_too_long_goes_to_its_fallback(self, server: Server, other: Server) -> None:
        router = Router(
            {"group": [at(server, "a", "openai/small")], "large": [at(other, "b", "openai/large")]},
            context_window_fallbacks={"group": ["large"]},
            client=Client(catalog=self.CATALOG),
        )
        assert router.completion("group", self.LONG) == OTHER
        # The bytes of media tell nothing of their tokens.
        server.answer(plain())
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10_000}}
        assert router.completion("group", [{"role": "user", "content": [image]}]) == completion_of()

    def test_what_lacks_a_parameter_is_skipped(self, server: Server, other: Server) -> None:
        router = Router(
            {
                "group": [
                    Deployment("anthropic/claude", name="a", base_url=server.url, api_key=KEY),
                    at(other, "b", order=1),
                ]
            },
            max_retries=0,
        )
        response = router.completion("group", MESSAGES, logprobs=True)
        assert response == OTHER
        assert [(one.deployment, one.outcome) for one in response.meta.attempts] == [("a", "skipped"), ("b", "success")]
        assert "logprobs" in response.meta.attempts[0].message
        assert (response.meta.retries, router.status()["a"]["failures"]) == (0, 0)


class TestLog:
    def test_a_deployment_that_is_out_is_said_once(
        self, server: Server, other: Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.answer(refusal(401))
        router = router_of(server, other)
        for _ in range(3):
            router.completion("group", MESSAGES)
        out = "router: the deployment primary of the group group refuses its key or model: it gets no calls, but for a probe"
        assert [record.message for record in caplog.records if record.name == "ritellm"] == [f"{out} every 300 s"]
        assert KEY not in caplog.text

    def test_a_breaker_that_opens_and_closes(
        self, server: Server, other: Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.answer(Answer(500), Answer(500), plain())
        router = router_of(server, other, breaker={"failures": 2, "open_for": 0.01})
        router.completion("group", MESSAGES)
        router.completion("group", MESSAGES)
        time.sleep(0.02)
        router.completion("group", MESSAGES)
        router.completion("group", MESSAGES)
        opened, closed = (record.message for record in caplog.records if record.name == "ritellm")
        assert opened.startswith("router: the deployment primary of the group group failed too often: it gets no calls")
        assert closed == "router: the deployment primary of the group group answers again: it gets calls as before"


class TestStrategies:
    def test_weights(self, server: Server, other: Server) -> None:
        server.answer(plain())
        router = Router({"group": [at(server, "a", weight=3), at(other, "b", weight=1)]})
        for _ in range(40):
            router.completion("group", MESSAGES)
        # Evenly interleaved, from a random place on: short-lived processes do not all begin with the same one.
        assert abs(len(server.requests) - 30) <= 1
        assert len(server.requests) + len(other.requests) == 40

    def test_a_function(self, server: Server, other: Server) -> None:
        asked = []

        def choose(group: str, names: list[str]) -> tuple[str, ...]:
            asked.append((group, names))
            return ("b", "a")

        router = Router({"group": [at(server, "a"), at(other, "b")]}, strategy=choose)
        assert router.completion("group", MESSAGES) == OTHER
        assert asked == [("group", ["a", "b"])]
        wrong = Router({"group": [at(server, "a"), at(other, "b")]}, strategy=lambda *_: "c")
        with pytest.raises(InvalidArgumentError, match='strategy returned "c"'):
            wrong.completion("group", MESSAGES)

    def test_affinity(self, server: Server, other: Server) -> None:
        server.answer(plain())
        router = Router({"group": [at(server, "a"), at(other, "b")]}, strategy="affinity")
        homes: dict[str, set[str]] = {}
        for _ in range(3):
            for user in "abcdefgh":
                response = router.completion("group", MESSAGES, user=user)
                homes.setdefault(user, set()).add(response.meta.attempts[0].deployment)
        assert all(len(home) == 1 for home in homes.values())
        assert {name for home in homes.values() for name in home} == {"a", "b"}


class TestArguments:
    @pytest.mark.parametrize(
        ("groups", "options", "message"),
        [
            (None, {}, "either groups or model_list"),
            ({}, {}, "at least one group"),
            ({"g": []}, {}, "at least one deployment"),
            ({"g": "openai/m"}, {}, "list of deployments"),
            ({"g": [7]}, {}, r"groups\['g'\]\[0\] is of type int"),
            ({"g": [{}]}, {}, "has no model"),
            ({"g": ["opnai/m"]}, {}, "did you mean openai"),
            ({"g": ["openai/m"]}, {"strategy": "fastest"}, "strategy must be"),
            ({"g": ["openai/m"]}, {"strategy": "custom"}, "the function itself"),
            ({"g": ["openai/m"]}, {"fallbacks": {"g": ["g"]}}, "falls back to itself"),
            ({"g": ["openai/m"]}, {"fallbacks": {"g": ["h"]}}, "which is no group"),
            ({"g": ["openai/m"]}, {"fallbacks": {"h": ["g"]}}, "which is no group"),
            ({"g": ["openai/m"], "h": ["openai/m"]}, {"fallbacks": {"g": ["h"], "h": ["g"]}}, "falls back to itself"),
            ({"g": ["openai/m"]}, {"fallbacks": {"g": "h"}}, "list of groups"),
            ({"g": [Deployment("openai/m", weight=0)]}, {}, "weight"),
            ({"g": [Deployment("openai/m", rpm=0)]}, {}, "rpm"),
            ({"g": [Deployment("openai/m", temperature=0)]}, {}, "belongs into params"),
            ({"g": ["openai/m"]}, {"hedge": {"after": "fast"}}, "quantile"),
            ({"g": ["openai/m"]}, {"hedge": {"when": 1}}, "is no option"),
            ({"g": ["openai/m"]}, {"max_wait": -1}, "max_wait"),
            ({"g": ["openai/m"]}, {"breaker": {"failures": 0}}, "failures"),
            ({"g": ["openai/m"]}, {"client": "x"}, "client is of type str"),
            ({"g": ["openai/m"]}, {"retries": 3}, "unexpected keyword argument"),
        ],
    )
    def test_what_is_none(self, groups: Any, options: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        with pytest.raises((InvalidArgumentError, TypeError), match=message):
            Router(groups, **options)

    @pytest.mark.parametrize(
        ("file", "message"),
        [
            ("startegy = 'ordered'", r"router.toml: startegy is no argument of Router: strategy would be right"),
            ("_router = {}", r"router.toml: _router is no argument of Router"),
            ("cls = 3", r"cls is no argument of Router"),
            (
                "[client]\nmax_retry = 1",
                r"router.toml: client.max_retry is no argument of Client: max_retries would be",
            ),
            ("[client]\nfoo = 1", r"client.foo is no argument of Client: .*, max_retries, .* or verify would be right"),
            ("client = 3", r"client is of type int: a table would be right"),
            ("router_settings = 3", r"router_settings is of type int: a table would be right"),
        ],
    )
    def test_a_file_with_an_unknown_entry(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, message: str
    ) -> None:
        pytest.importorskip("tomllib")
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        path = tmp_path / "router.toml"
        path.write_text(f"groups = {{g = ['openai/m']}}\n{file}\n")
        with pytest.raises(InvalidArgumentError, match=message):
            Router.from_file(path)

    def test_a_function_of_a_key_that_raises_leaves_the_call_to_a_sibling(self, server: Server, other: Server) -> None:
        def key() -> str:
            raise error

        error: BaseException = OSError("no token")
        first = Deployment("openai/m", name="a", base_url=server.base_url, api_key=key)
        router = Router({"group": [first, at(other, "b")]}, strategy="ordered")
        response = router.completion("group", MESSAGES)
        assert response == OTHER
        attempts = [(attempt.deployment, attempt.outcome) for attempt in response.meta.attempts]
        assert attempts == [("a", "failed"), ("b", "success")]
        alone = Router({"group": [first]}, max_retries=0)
        with pytest.raises(OSError, match="no token"):
            alone.completion("group", MESSAGES)
        error = KeyboardInterrupt()
        with pytest.raises(KeyboardInterrupt):
            router.completion("group", MESSAGES)
        assert not server.requests

    def test_a_deployment_without_a_key(self) -> None:
        with pytest.raises(AuthenticationError, match=r"groups\[\"g\"\]\[0\]: no key for openai"):
            Router({"g": ["openai/m"]})

    def test_a_group_that_is_none(self, server: Server) -> None:
        router = Router({"fast": [at(server, "a")]})
        with pytest.raises(InvalidArgumentError, match='model is "openai/m": the name of a group would be right: fast'):
            router.completion("openai/m", MESSAGES)
        with pytest.raises(InvalidArgumentError, match="api_key belongs to a deployment"):
            router.completion("fast", MESSAGES, api_key="sk-x")

    def test_no_key_is_shown_or_pickled(self, server: Server) -> None:
        server.answer(plain())
        deployment = at(server, "a")
        router = Router({"fast": [deployment]})
        router.completion("fast", MESSAGES)
        for shown in (repr(deployment), repr(router), str(router.status()), str(router.limits())):
            assert KEY not in shown
        pickled = pickle.dumps(router)
        assert KEY.encode() not in pickled
        with pytest.raises(InvalidArgumentError, match="never pickled"):
            pickle.loads(pickled).completion("fast", MESSAGES)
        assert copy.copy(router).completion("fast", MESSAGES) == completion_of()

    def test_options_and_connections_of_a_client(self, server: Server) -> None:
        server.answer(plain())
        client = Client(max_retries=7, timeout=33)
        router = Router({"fast": [at(server, "a", params={"temperature": 0.5})]}, client=client)
        bulk = router.with_options(priority="bulk")
        router.completion("fast", MESSAGES)
        bulk.completion("fast", MESSAGES, temperature=1)
        assert isinstance(bulk, Router)
        assert client.stats()["calls"] == 2
        assert bulk.status()["a"]["calls"] == 2
        assert [request.json["temperature"] for request in server.requests] == [0.5, 1]

    def test_litellms_list(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("THE_KEY", KEY)
        server.answer(plain())
        params = {
            "model": "openai/m",
            "api_base": server.base_url,
            "api_key": "os.environ/THE_KEY",
            "temperature": 0,
            "rpm": 100,
            "custom_llm_provider": "openai",
        }
        router = Router(
            model_list=[{"model_name": "gpt", "litellm_params": params, "model_info": {"id": "one"}, "tpm": 1000}],
        )
        assert router.completion("gpt", MESSAGES) == completion_of()
        assert router.status()["one"]["calls"] == 1
        assert [window["limit"] for window in router.status()["one"]["limits"]["windows"]] == [100, 1000]

    def test_a_file(self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("tomllib")
        monkeypatch.setenv("THE_KEY", KEY)
        server.answer(plain())
        file = tmp_path / "ritellm.toml"
        file.write_text(
            f"""
            strategy = "ordered"
            [client]
            max_retries = 1
            [[groups.fast]]
            model = "openai/m"
            name = "one"
            base_url = "{server.base_url}"
            api_key = "${{THE_KEY}}"
            """
        )
        assert Router.from_file(file).completion("fast", MESSAGES) == completion_of()
        monkeypatch.delenv("THE_KEY")
        with pytest.raises(InvalidArgumentError, match=r"groups.fast\[0\].api_key names the variable THE_KEY"):
            Router.from_file(file)
        with pytest.raises(InvalidArgumentError, match="cannot be read"):
            Router.from_file(tmp_path / "none.toml")
        file.write_text("a = ")
        with pytest.raises(InvalidArgumentError, match="is no TOML"):
            Router.from_file(file)


def test_arguments_of_litellms_router_say_what_to_write() -> None:
    groups = {"fast": ["openai/gpt-4o-mini"]}
    with pytest.raises(InvalidArgumentError, match=r"routing_strategy is .*strategy='least_busy'"):
        Router(groups, routing_strategy="least-busy")
    for name in ("allowed_fails", "cooldown_time", "redis_host", "retry_policy"):
        with pytest.raises(InvalidArgumentError, match=f"^{name} is no argument of a router here"):
            Router(groups, **{name: 3})
