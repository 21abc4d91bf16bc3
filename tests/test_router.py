"""Tests of the router with real servers: faults of a primary with a healthy secondary, fallbacks, hedges, state that binds."""

from __future__ import annotations

import asyncio
import copy
import pickle
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from server import (
    KEY,
    MESSAGES,
    Answer,
    Close,
    Reset,
    Server,
    Stall,
    chunk_of,
    chunks_of,
    completion_of,
    dumped,
    event,
    events,
    plain,
    refusal,
    stream_of,
)

from ritellm import (
    AuthenticationError,
    BadRequestError,
    Client,
    ContextWindowExceededError,
    Deployment,
    IncompleteStreamError,
    InvalidArgumentError,
    RateLimitError,
    Router,
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


def router_of(server: Server, other: Server, **options: Any) -> Router:
    """A group whose first deployment is asked first, and a group to fall back to."""
    return Router(
        {"group": [at(server, "primary", order=1), at(other, "secondary", order=2)], "last": [at(other, "last")]},
        **{"max_wait": 5, **options},
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

#: name → (answer of the primary to a plain call, to a streamed one; options of the router)
FAULTS: dict[str, tuple[Answer, Answer, dict[str, Any]]] = {
    "reset": (Answer(before=[Reset()]), Answer(before=[Reset()]), {}),
    "hang before the head": (Answer(before=[Stall()]), Answer(before=[Stall()]), {}),
    "hang in the body": (
        Answer(body=[b'{"id": "x", ', Stall()]),
        stream_of(event(chunk_of({"role": "assistant"})), Stall()),
        {},
    ),
    "429": (Answer(429), Answer(429), {}),
    "429 with a long Retry-After": (
        Answer(429, headers={"retry-after": "600"}),
        Answer(429, headers={"retry-after": "600"}),
        {},
    ),
    "500": (Answer(500), Answer(500), {}),
    "503 with HTML": (
        Answer(503, headers={"content-type": "text/html"}, body=b"<html>busy</html>"),
        Answer(503, headers={"content-type": "text/html"}, body=b"<html>busy</html>"),
        {},
    ),
    "401": (refusal(401), refusal(401), {}),
    "403": (refusal(403), refusal(403), {}),
    "404 of the model": (refusal(404), refusal(404), {}),
    "quota used up": (used_up(), used_up(), {}),
    "context too long": (too_long(), too_long(), FALLBACKS),
    "content filter": (filtered(), filtered(), FALLBACKS),
    "content filter under 200": (
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
    "garbage": (Answer(body=b"{garbage"), stream_of(b"data: {garbage\n\n"), {}),
    "cut before the first chunk": (Answer(body=[b'{"id"', Close()], framing="length"), cut_after(), {}),
    "cut after the role": (
        Answer(body=[b'{"id"', Close()], framing="length"),
        cut_after(event(chunk_of({"role": "assistant"}))),
        {},
    ),
    "error inside of a 200": (
        Answer(body=dumped({"error": {"message": "overloaded", "type": "server_error"}})),
        stream_of(event({"error": {"message": "overloaded", "type": "server_error"}})),
        {},
    ),
}


class TestFaults:
    """Each ends in the secondary's whole answer, with default timeouts but for `total`."""

    @pytest.mark.parametrize("fault", FAULTS)
    def test_plain(self, server: Server, other: Server, fault: str) -> None:
        answer, _, options = FAULTS[fault]
        server.answer(answer)
        router = router_of(server, other, **options)
        response = router.completion("group", MESSAGES, timeout=4)
        assert response == OTHER
        attempts = response.meta.attempts
        assert [attempt.outcome for attempt in attempts] == ["failed", "success"]
        assert attempts[0].deployment == "primary"
        assert attempts[1].deployment == ("last" if options else "secondary")
        assert response.meta.retries == 1
        assert len(server.requests) == 1

    @pytest.mark.parametrize("fault", FAULTS)
    async def test_streamed(self, server: Server, other: Server, fault: str) -> None:
        _, answer, options = FAULTS[fault]
        server.answer(answer)
        other.answer(streaming("from ", "the other"))
        router = router_of(server, other, **options)
        stream = await router.acompletion("group", MESSAGES, stream=True, timeout=4)
        text = ""
        async for chunk in stream:
            text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        assert text == "from the other"
        assert [attempt.outcome for attempt in stream.meta.attempts] == ["failed", "success"]
        assert router.status()["primary"]["in_flight"] == 0

    def test_nobody_listens(self, other: Server) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        dead = Deployment("openai/m", name="dead", base_url=address, api_key=KEY, order=0)
        router = Router({"group": [dead, at(other, "alive", order=1)]})
        assert router.completion("group", MESSAGES) == OTHER

    def test_a_name_without_an_address(self, other: Server) -> None:
        dead = Deployment(
            "openai/m", name="dead", base_url="http://no-such-host.invalid/v1", api_key=KEY, order=0, limits=None
        )
        router = Router({"group": [dead, at(other, "alive", order=1)]}, client=Client(allow_http=True))
        assert router.completion("group", MESSAGES, timeout=10) == OTHER

    def test_tls_that_is_none(self, server: Server, other: Server) -> None:
        address = server.base_url.replace("http://", "https://")
        dead = Deployment("openai/m", name="dead", base_url=address, api_key=KEY, order=0)
        router = Router({"group": [dead, at(other, "alive", order=1)]})
        assert router.completion("group", MESSAGES, timeout=10) == OTHER

    async def test_a_stream_that_breaks_after_its_first_chunk_says_so(self, server: Server, other: Server) -> None:
        server.answer(cut_after(event(chunk_of({"content": "Hel"}))))
        router = router_of(server, other)
        stream = await router.acompletion("group", MESSAGES, stream=True)
        with pytest.raises(IncompleteStreamError):
            async for _ in stream:
                pass
        assert not other.requests
        assert router.status()["primary"]["failures"] == 1

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

    def test_a_pause_is_waited_for_within_max_wait(self, server: Server) -> None:
        server.answer(Answer(429, headers={"retry-after-ms": "100"}), plain())
        router = Router({"group": [at(server, "only")]}, max_wait=5)
        response = router.completion("group", MESSAGES)
        assert response == completion_of()
        assert [attempt.outcome for attempt in response.meta.attempts] == ["failed", "success"]


class TestHedges:
    async def test_the_faster_one_wins_and_the_other_is_aborted(self, server: Server, other: Server) -> None:
        server.answer(Answer(before=[Stall()]))
        router = router_of(server, other, hedge={"after": 0.05, "budget": 1.0}, strategy="ordered")
        response = await router.acompletion("group", MESSAGES)
        assert response == OTHER
        outcomes = [(attempt.deployment, attempt.outcome, attempt.reason) for attempt in response.meta.attempts]
        assert outcomes == [("primary", "aborted", "first"), ("secondary", "success", "hedge")]
        assert await asyncio.to_thread(server.requests[0].gone.wait, 10)


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

        def choose(group: str, names: list[str]) -> str:
            asked.append((group, names))
            return "b"

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
