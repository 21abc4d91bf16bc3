"""Reports of users of other routers, gateways and rate limiters, replayed: each by the repository and number of its issue."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from test_admission import until

from ritellm import Client, Deployment, IncompleteStreamError, InvalidArgumentError, Limit, RateLimitError, Router
from ritellm.testing import MockServer

HI = [{"role": "user", "content": "Hi"}]
#: A refusal of one that has no credit.
NO_QUOTA = {
    "error": {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": "insufficient_quota"}
}


@pytest.fixture
def key() -> str:
    """An account of the test's own: clients of a process share the quotas of an account."""
    return uuid.uuid4().hex


@pytest.fixture
def server() -> Iterator[MockServer]:
    """The primary, and what stands for every provider."""
    with MockServer() as server:
        server.reply("Hello")
        yield server


def deployments(*names: str, **options: Any) -> list[Deployment]:
    """Deployments with models of their own, so that a rule of the server can tell them apart."""
    return [Deployment(f"openai/{name}", name=name, api_key=uuid.uuid4().hex, **options) for name in names]


def asked(server: MockServer) -> list[str]:
    return [str(request.model) for request in server.requests]


class TestRouters:
    def test_litellm_3646_all_are_cooling(self, server: MockServer) -> None:
        """The first that is available again is waited for."""
        server.on(model="a").fail(429, retry_after=1, times=1)
        router = Router({"group": deployments("a")})
        assert router.completion("group", HI).choices[0].message.content == "Hello"
        assert asked(server) == ["a", "a"]

    def test_litellm_40958_the_error_of_a_full_group(self, server: MockServer) -> None:
        """It is one of a rate limit, has the time to wait, and says why no deployment was asked (also 20867)."""
        server.on(model="a").fail(429, retry_after=30)
        router = Router({"group": deployments("a")}, max_wait=0)
        for _ in range(2):
            with pytest.raises(RateLimitError, match="a") as caught:
                router.completion("group", HI)
            assert caught.value.retry_after is not None
            assert 0 < caught.value.retry_after <= 30
        assert asked(server) == ["a"]

    def test_litellm_34836_a_deployment_that_fails_leaves_the_rotation(self, server: MockServer) -> None:
        """Twenty-five errors in a row left it in; and a cooldown was not seen by the next call."""
        server.on(model="a").fail(500)
        router = Router({"group": deployments("a", "b")}, strategy="ordered")
        for _ in range(25):
            router.completion("group", HI)
        assert asked(server).count("a") <= 5 and router.status()["a"]["breaker"] == "open"

    def test_litellm_1518_a_sibling_goes_before_a_fallback(self, server: MockServer) -> None:
        server.on(model="a").fail(429, retry_after=30)
        groups = {"group": deployments("a", "b"), "other": deployments("c")}
        router = Router(groups, strategy="usage", fallbacks={"group": ["other"]})
        for _ in range(6):
            router.completion("group", HI)
        assert "c" not in asked(server) and asked(server).count("a") <= 1

    @pytest.mark.parametrize("after_chunks", [None, 0])
    def test_litellm_5512_an_overload_before_the_first_chunk(
        self, server: MockServer, key: str, after_chunks: int | None
    ) -> None:
        """As a status or as an event of the stream (also 6532, 6957 and 1226)."""
        failing = server.on(model="claude-sonnet-4-5")
        if after_chunks is None:
            failing.fail(529, "Overloaded")
        else:
            failing.fail(529, "Overloaded", after_chunks=after_chunks)
        first = Deployment("anthropic/claude-sonnet-4-5", api_key=key)
        router = Router({"group": [first], "other": deployments("b")}, fallbacks={"group": ["other"]}, max_retries=0)
        stream = router.completion("group", HI, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Hello"
        assert asked(server)[-1] == "b"

    def test_orcarouter_115_a_stream_that_breaks_later_is_an_error(self, server: MockServer) -> None:
        """It is neither doubled nor cut in silence."""
        server.reply("one two three four")
        server.on(model="a").cut(after_chunks=2)
        router = Router({"group": deployments("a", "b")}, strategy="ordered")
        with pytest.raises(IncompleteStreamError) as caught:
            list(router.completion("group", HI, stream=True))
        assert asked(server) == ["a"] and caught.value.attempts[0]["deployment"] == "a"

    async def test_litellm_37622_the_least_busy_one(self, server: MockServer) -> None:
        server.latency(first=0.2)
        router = Router({"group": deployments("a", "b")}, strategy="least_busy")
        await asyncio.gather(*(router.acompletion("group", HI) for _ in range(20)))
        assert asked(server).count("a") == asked(server).count("b") == 10
        assert [one["in_flight"] for one in router.status().values()] == [0, 0]

    def test_langwatch_7027_a_day_that_is_used_up(self, server: MockServer, key: str) -> None:
        """A provider that refuses everything was asked for four hours."""
        body = {"error": {"message": "Rate limit exceeded: free-models-per-day. ", "code": 429}}
        server.on(model="free").reply(
            status=429, body=json.dumps(body).encode(), headers={"x-ratelimit-remaining": "0"}
        )
        free = Deployment("openrouter/free", name="free", api_key=key)
        router = Router({"group": [free, *deployments("b")]}, strategy="ordered")
        for _ in range(5):
            router.completion("group", HI)
        assert asked(server).count("free") == 1

    @pytest.mark.parametrize("status", [403, 429])
    def test_bifrost_3261_fallbacks_after_a_refusal(self, server: MockServer, status: int) -> None:
        """Also api7/aisix 46: a 429 was final."""
        server.on(model="a").fail(status)
        groups = {"group": deployments("a"), "other": deployments("b")}
        response = Router(groups, fallbacks={"group": ["other"]}, max_retries=0).completion("group", HI)
        # neuro-san 1020: what was refused is told.
        assert [attempt.status_code for attempt in response.meta.attempts] == [status, 200]

    def test_timbal_117_a_long_pause_is_not_slept_through(self, server: MockServer) -> None:
        """superagent 1145: nor is the one that asked for it called again before its end."""
        server.on(model="a").fail(429, retry_after=300)
        router = Router({"group": deployments("a", "b")}, strategy="ordered")
        for _ in range(10):
            router.completion("group", HI)
        assert asked(server) == ["a", *["b"] * 10]

    def test_litellm_2430_the_fallback_is_refused_too(self, server: MockServer) -> None:
        for name in ("a", "b"):
            server.on(model=name).fail(429, retry_after=1, times=1)
        groups = {"group": deployments("a"), "other": deployments("b")}
        router = Router(groups, fallbacks={"group": ["other"]})
        assert router.completion("group", HI).choices[0].message.content == "Hello"
        assert asked(server)[:2] == ["a", "b"] and len(server.requests) == 3

    def test_litellm_7669_a_limit_of_deployments_is_waited_for(self, server: MockServer) -> None:
        """Five calls at two deployments of one call a second each."""
        router = Router({"group": deployments("a", "b", limits=Limit(requests=1, per=1))})
        for _ in range(5):
            router.completion("group", HI)
        assert sorted(asked(server)) in (["a", "a", "a", "b", "b"], ["a", "a", "b", "b", "b"])

    def test_hermes_agent_76225_a_pause_in_the_text_of_a_gateway(self, server: MockServer) -> None:
        body = {"error": {"message": "[claude/claude-opus-5] [429]: {} (reset after 2m 13s)"}}
        server.on(model="a").reply(status=429, body=json.dumps(body).encode())
        router = Router({"group": deployments("a")}, max_wait=0, max_retries=0)
        with pytest.raises(RateLimitError) as caught:
            router.completion("group", HI)
        assert caught.value.retry_after is not None and 130 < caught.value.retry_after <= 133


class TestState:
    """What a provider has stored is at one account: also BerriAI/litellm 10193, 29733, 40237 and 40364."""

    @pytest.mark.parametrize(
        "item",
        [
            {"type": "image_generation_call", "id": "ig_1"},
            {"type": "compaction", "id": "cmp_1"},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"type": "item_reference", "id": "msg_1"},
        ],
    )
    def test_an_item_that_is_stored_somewhere(self, server: MockServer, item: dict[str, Any]) -> None:
        router = Router({"group": deployments("a", "b")})
        with pytest.raises(InvalidArgumentError, match=item["id"]):
            router.responses("group", [item, *HI])
        assert not server.requests

    def test_an_item_that_has_its_content(self, server: MockServer) -> None:
        router = Router({"group": deployments("a", "b")})
        for item in (
            {"type": "image_generation_call", "id": "ig_1", "result": "iVBORw=="},
            {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAA"},
        ):
            assert router.responses("group", [item, *HI], store=False).output_text == "Hello"

    def test_stores_of_gemini(self, server: MockServer) -> None:
        named = [Deployment("gemini/gemini-3-pro", name=name, api_key=uuid.uuid4().hex) for name in "ab"]
        tools = [{"fileSearch": {"fileSearchStoreNames": ["fileSearchStores/1"]}}]
        with pytest.raises(InvalidArgumentError, match="fileSearchStores/1"):
            Router({"group": named}).completion("group", HI, tools=tools)

    @pytest.mark.parametrize(
        "tool",
        [
            {"vertexRagStore": {"ragResources": [{"ragCorpus": "projects/p/locations/l/ragCorpora/1"}]}},
            {"vertexAiSearch": {"datastore": "projects/p/locations/l/collections/c/dataStores/1"}},
            {"vertexAiSearch": {"engine": "projects/p/locations/l/collections/c/engines/1"}},
        ],
    )
    def test_corpora_and_data_stores_of_vertex(self, server: MockServer, tool: dict[str, Any]) -> None:
        """They are of a project: another one's deployment and another provider cannot read them."""
        vertex = Deployment("vertex/gemini-2.5-pro", vertex_project="p", vertex_location="l", api_key=uuid.uuid4().hex)
        router = Router({"group": [vertex, "openai/gpt-4o-mini"]})
        with pytest.raises(InvalidArgumentError, match="projects/p/locations/l/"):
            router.completion("group", HI, tools=[{"retrieval": tool}])
        assert not server.requests

    @pytest.mark.parametrize("kind", ["anthropic", "custom"])
    def test_skills_of_anthropic(self, server: MockServer, kind: str) -> None:
        """Anthropic's own are those of every account."""
        model = "anthropic/claude-sonnet-4-5"
        named = [Deployment(model, name=name, api_key=uuid.uuid4().hex) for name in "ab"]
        router = Router({"group": named})
        container = {"skills": [{"type": kind, "skill_id": "pptx", "version": "latest"}]}
        if kind == "custom":
            with pytest.raises(InvalidArgumentError, match="pptx"):
                router.completion("group", HI, container=container)
        else:
            assert router.completion("group", HI, container=container).choices[0].message.content == "Hello"


class TestRetries:
    def test_langchainjs_1929_no_credit_is_no_rate_limit(self, server: MockServer, key: str) -> None:
        server.reply(status=429, body=json.dumps(NO_QUOTA).encode())
        with pytest.raises(RateLimitError):
            Client(api_key=key).completion("openai/a", HI)
        assert len(server.requests) == 1

    def test_openhuman_6504_the_pause_is_told(self, server: MockServer, key: str) -> None:
        server.fail(429, retry_after=120)
        with pytest.raises(RateLimitError) as caught:
            Client(api_key=key).completion("openai/a", HI)
        assert caught.value.retry_after == pytest.approx(120, abs=1) and len(server.requests) == 1


class TestLimiters:
    async def test_litellm_5783_tokens_of_calls_at_once(self, server: MockServer, key: str) -> None:
        """Calls that begin at once have no usage yet: what they will use is reserved (also 1289)."""
        server.reply("Hello", usage={"prompt_tokens": 60, "completion_tokens": 40})
        client = Client(api_key=key, limits={"openai": Limit(tokens=1_000, per=600)})
        for _ in range(3):
            await client.acompletion("openai/a", HI, max_tokens=100)
        calls = [asyncio.ensure_future(client.acompletion("openai/a", HI, max_tokens=100)) for _ in range(30)]
        done, _ = await asyncio.wait(calls, timeout=3)
        assert 0 < len(done) and len(server.requests) <= 10
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await until(lambda: client.stats()["waiting"] == 0)

    async def test_litellm_33032_all_of_a_limit_is_used(self, server: MockServer, key: str) -> None:
        """It ended one request before the limit."""
        client = Client(api_key=key, limits={"openai": Limit(requests=3, per=600, burst=1)})
        calls = [asyncio.ensure_future(client.acompletion("openai/a", HI)) for _ in range(4)]
        done, waiting = await asyncio.wait(calls, timeout=2)
        assert (len(done), len(waiting), len(server.requests)) == (3, 1, 3)
        for call in waiting:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    def test_aiolimiter_110_loops_and_threads_share_a_limit(self, server: MockServer, key: str) -> None:
        client = Client(api_key=key, limits={"openai": Limit(requests=5, per=600, burst=1)})

        async def some() -> None:
            calls = [asyncio.ensure_future(client.acompletion("openai/a", HI)) for _ in range(4)]
            await asyncio.wait(calls, timeout=2)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

        threads = [threading.Thread(target=asyncio.run, args=(some(),)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.requests) == 5
        asyncio.run(until(lambda: client.stats()["waiting"] == 0))

    async def test_aiolimiter_73_a_thousand_that_wait(self, server: MockServer, key: str) -> None:
        """They stop waiting when they are cancelled."""
        client = Client(api_key=key, limits={"openai": Limit(requests=1, per=600)})
        calls = [asyncio.ensure_future(client.acompletion("openai/a", HI)) for _ in range(1_000)]
        while client.stats()["waiting"] < 999:
            await asyncio.sleep(0.01)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await until(lambda: client.stats()["waiting"] == 0)
        assert len(server.requests) == 1
