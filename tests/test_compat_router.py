"""Tests of LiteLLM's Router and Cache on RiteLLM's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ritellm.compat
from ritellm.testing import MockServer

ritellm.compat.install()
import litellm  # noqa: E402
from litellm.caching.caching import Cache, LiteLLMCacheType  # noqa: E402

HI = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def server() -> Iterator[MockServer]:
    with MockServer(intercept=False) as server:
        yield server


@pytest.fixture(autouse=True)
def without_a_cache() -> Iterator[None]:
    yield
    litellm.disable_cache()


def deployment(server: MockServer, group: str, model: str, id: str, **params: Any) -> dict[str, Any]:
    at = {"api_base": f"{server.url}/v1", "api_key": f"sk-{id}", **params}
    return {"model_name": group, "litellm_params": {"model": model, **at}, "model_info": {"id": id}}


def test_a_router_goes_to_a_deployment_of_the_group(server: MockServer) -> None:
    server.reply("Hello")
    router = litellm.Router(
        model_list=[deployment(server, "fast", "openai/gpt-4o-mini", "one", temperature=0.5, rpm=1000)], num_retries=0
    )
    response = router.completion(model="fast", messages=HI, max_tokens=7)
    assert isinstance(response, litellm.ModelResponse)
    assert response.choices[0].message.content == "Hello"
    assert response._hidden_params["custom_llm_provider"] == "openai"
    assert response._hidden_params["model_id"] == "one"
    (request,) = server.requests
    assert request.json == {"model": "gpt-4o-mini", "messages": HI, "temperature": 0.5, "max_tokens": 7}
    assert request.headers["authorization"] == "Bearer sk-one"


async def test_an_async_call_and_a_stream(server: MockServer) -> None:
    server.reply("Hello there")
    router = litellm.Router(model_list=[deployment(server, "fast", "openai/gpt-4o-mini", "one")])
    response = await router.acompletion("fast", HI)
    assert response.choices[0].message.content == "Hello there"
    stream = await router.acompletion("fast", HI, stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "Hello there"
    chunks = list(router.completion("fast", HI, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello there"


def test_a_group_stands_in_for_another(server: MockServer) -> None:
    server.fail(500, times=1)
    server.reply("From the other")
    router = litellm.Router(
        model_list=[
            deployment(server, "fast", "openai/gpt-4o-mini", "one"),
            deployment(server, "smart", "openai/gpt-4o", "two"),
        ],
        fallbacks=[{"fast": ["smart", "nobody"]}],
        num_retries=0,
    )
    response = router.completion("fast", HI)
    assert response.choices[0].message.content == "From the other"
    assert response._hidden_params["model_id"] == "two"
    assert [request.json["model"] for request in server.requests] == ["gpt-4o-mini", "gpt-4o"]


def test_an_error_is_litellms(server: MockServer) -> None:
    server.fail(401, "bad key")
    router = litellm.Router(model_list=[deployment(server, "fast", "openai/gpt-4o-mini", "one")], num_retries=0)
    with pytest.raises(litellm.AuthenticationError):
        router.completion("fast", HI)
    with pytest.raises(litellm.BadRequestError, match=r"You passed in model=nobody\. There are no healthy deployments"):
        router.completion("nobody", HI)
    with pytest.raises(TypeError, match="unexpected keyword argument 'unknown'"):
        litellm.Router(model_list=[], unknown=1)


def test_deployments_come_and_go(server: MockServer) -> None:
    router = litellm.Router(
        model_list=[deployment(server, "fast", "openai/gpt-4o-mini", "one")], model_group_alias={"quick": "fast"}
    )
    router.add_deployment(deployment(server, "smart", "openai/gpt-4o", "two"))
    assert router.model_names == {"fast", "smart"}
    assert router.get_model_names() == ["fast", "smart", "quick"]
    assert router.get_deployment("two")["litellm_params"]["model"] == "openai/gpt-4o"
    assert router.get_model_list("quick")[0]["model_info"]["id"] == "one"
    router.upsert_deployment(deployment(server, "smart", "openai/gpt-5", "two"))
    assert [entry["litellm_params"]["model"] for entry in router.get_model_list("smart")] == ["openai/gpt-5"]
    assert router.delete_deployment("two")["model_info"]["id"] == "two"
    assert router.model_names == {"fast"}
    server.reply("Hello")
    assert router.completion("quick", HI).choices[0].message.content == "Hello"
    without = {"model_name": "a", "litellm_params": {"model": "openai/gpt-4o", "api_key": "sk"}}
    first, second = (litellm.Router(model_list=[without]).model_list[0]["model_info"]["id"] for _ in range(2))
    assert first == second


def test_made_up_answers() -> None:
    router = litellm.Router(
        model_list=[
            {"model_name": "fast", "litellm_params": {"model": "openai/gpt-4o", "mock_response": "made up", "rpm": 1}},
            {"model_name": "real", "litellm_params": {"model": "openai/gpt-4o", "api_key": "sk"}},
        ]
    )
    assert router.completion("fast", HI).choices[0].message.content == "made up"
    assert router.completion("real", HI, mock_response="too").choices[0].message.content == "too"


def test_embeddings(server: MockServer) -> None:
    router = litellm.Router(model_list=[deployment(server, "vectors", "openai/text-embedding-3-small", "one")])
    response = router.embedding("vectors", ["a", "b"])
    assert isinstance(response, litellm.EmbeddingResponse)
    assert len(response.data) == 2
    assert response._hidden_params["model_id"] == "one"


@pytest.mark.parametrize("kind", ["local", "disk"])
def test_answers_are_kept(kind: str, server: MockServer, tmp_path: Path) -> None:
    at: dict[str, Any] = {"api_base": f"{server.url}/v1", "api_key": "sk-test", "max_retries": 0}
    server.reply("Hello")
    litellm.cache = litellm.Cache(type=kind, disk_cache_dir=str(tmp_path / "kept"), ttl=60)
    first = litellm.completion("openai/gpt-4o-mini", HI, **at)
    again = litellm.completion("openai/gpt-4o-mini", HI, **at)
    assert first.choices[0].message.content == again.choices[0].message.content == "Hello"
    assert again._hidden_params["cache_hit"] is True
    assert again._hidden_params["response_cost"] == 0.0
    assert len(server.requests) == 1
    litellm.completion("openai/gpt-4o-mini", HI, caching=False, **at)
    litellm.completion("openai/gpt-4o-mini", HI, cache={"no-cache": True}, **at)
    assert len(server.requests) == 3
    litellm.completion("openai/gpt-4o-mini", HI, cache={"ttl": 30}, **at)
    assert len(server.requests) == 3
    litellm.disable_cache()
    litellm.completion("openai/gpt-4o-mini", HI, **at)
    assert len(server.requests) == 4


def test_a_cache_that_calls_have_to_ask_for(server: MockServer) -> None:
    at: dict[str, Any] = {"api_base": f"{server.url}/v1", "api_key": "sk-test", "max_retries": 0}
    server.reply("Hello")
    litellm.enable_cache(mode="default_off", supported_call_types=["completion"])
    for _ in range(2):
        litellm.completion("openai/gpt-4o-mini", HI, **at)
    assert len(server.requests) == 2
    for _ in range(2):
        litellm.completion("openai/gpt-4o-mini", HI, cache={"use-cache": True}, **at)
    assert len(server.requests) == 3
    with pytest.raises(ValueError, match="'s3' is not in RiteLLM's compat layer"):
        Cache(type=LiteLLMCacheType.S3)


def test_other_calls_take_their_arguments_by_place(server: MockServer) -> None:
    server.reply("Hello")
    router = litellm.Router(
        model_list=[deployment(server, "fast", "openai/gpt-4o-mini", "a", weight=2, order=1, rpm=9)]
    )
    assert router.text_completion("fast", "Hi").choices[0].text == "Hello"
    server.on(path="/v1/audio/speech").reply(body=b"audio", headers={"content-type": "audio/mpeg"})
    assert router.speech("fast", "Hi", "alloy").content == b"audio"
    with pytest.raises(litellm.BadRequestError, match="no image generation"):
        router.image_generation("a cat", "fast")


def test_a_deployment_of_weight_0_gets_no_calls(server: MockServer) -> None:
    server.reply("Hello")
    deployments = [deployment(server, "fast", f"openai/{id}", id, weight=weight) for id, weight in (("a", 0), ("b", 1))]
    router = litellm.Router(model_list=deployments)
    assert {router.get_available_deployment("fast")["model_info"]["id"] for _ in range(50)} == {"b"}
    for _ in range(5):
        router.completion("fast", HI)
    assert {request.model for request in server.requests} == {"b"}


def test_an_unknown_strategy_is_refused(server: MockServer) -> None:
    router = litellm.Router(model_list=[deployment(server, "fast", "openai/a", "a")], routing_strategy="latncy")
    with pytest.raises(Exception, match="did you mean"):
        router.completion("fast", HI)


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({"host": "h", "port": 1, "password": "p/w"}, "redis://:p%2Fw@h:1/0"),
        ({"host": "h", "username": "u", "password": "p", "ssl": True, "db": 3}, "rediss://u:p@h:6379/3"),
    ],
)
def test_the_address_of_a_redis(given: dict[str, Any], address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from ritellm.compat import _cache

    for variable in ("REDIS_PORT", "REDIS_USERNAME", "REDIS_PASSWORD"):
        monkeypatch.delenv(variable, raising=False)
    assert _cache._address(given) == address


def test_strategies_have_one_meaning() -> None:
    from ritellm import router
    from ritellm.compat import _router

    assert _router._STRATEGIES == router._STRATEGIES


RANKING = {"id": "1", "results": [{"index": 0, "relevance_score": 0.5}], "meta": {}}
KINDS: dict[str, Any] = {
    "completion": lambda at: litellm.completion("openai/gpt-4o-mini", HI, **at),
    "stream": lambda at: list(litellm.completion("openai/gpt-4o-mini", HI, stream=True, **at)),
    "embedding": lambda at: litellm.embedding("openai/text-embedding-3-small", ["a"], **at),
    "responses": lambda at: litellm.responses("Hi", "openai/gpt-4o-mini", store=False, **at),
    "stream of responses": lambda at: list(
        litellm.responses("Hi", "openai/gpt-4o-mini", stream=True, store=False, **at)
    ),
    "rerank": lambda at: litellm.rerank("cohere/rerank-v3.5", "a", ["b"], **at),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kept_answer_costs_nothing_and_callbacks_know_it(
    kind: str, server: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.reply("Hello")
    server.on(path="/v2/rerank").reply(json=RANKING)
    told: list[Any] = []
    budget = {"max_budget": 1e9, "_current_cost": 0.0, "cache": litellm.Cache(type="local")}
    for name, value in {**budget, "success_callback": [lambda kwargs, *_: told.append(kwargs)]}.items():
        monkeypatch.setattr(litellm, name, value)
    at = {"api_base": f"{server.url}/v1", "api_key": "sk-test", "max_retries": 0, "input_cost_per_token": 1.0}
    for _ in range(2):
        KINDS[kind](at)
        told[-1]["spent"] = litellm._current_cost
    assert len(server.requests) == 1
    assert [kwargs["cache_hit"] for kwargs in told] == [None, True]
    assert told[1]["response_cost"] == 0.0
    assert told[0]["spent"] == told[1]["spent"]


async def test_all_kinds_of_calls_tell_input_callbacks(server: MockServer, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(litellm, "input_callback", [lambda kwargs: told.append(kwargs["call_type"])])
    at: dict[str, Any] = {"api_base": f"{server.url}/v1", "api_key": "sk-test", "max_retries": 0}
    server.on(path="/v1/audio/speech").reply(body=b"audio", headers={"content-type": "audio/mpeg"})
    server.on(path="/v2/rerank").reply(json=RANKING)
    litellm.speech("openai/tts-1", "Hi", "alloy", **at)
    await litellm.aspeech("openai/tts-1", "Hi", "alloy", **at)
    litellm.rerank("cohere/rerank-v3.5", "a", ["b"], **at)

    class Painter(litellm.CustomLLM):  # type: ignore[misc]
        def image_generation(self, *args: Any, **kwargs: Any) -> Any:
            return litellm.ImageResponse(created=1)

    monkeypatch.setattr(litellm, "custom_provider_map", [{"provider": "mine", "custom_handler": Painter()}])
    assert litellm.image_generation("a cat", "mine/brush").created == 1
    assert told == ["speech", "aspeech", "rerank", "image_generation"]


async def test_a_list_of_models_answers_a_call(server: MockServer) -> None:
    server.reply("Hello")
    server.on(model="bad").fail(400)
    given = {"model_list": [deployment(server, "group", f"openai/{id}", id, max_retries=0) for id in ("bad", "good")]}
    given["model_list"].append(deployment(server, "other", "openai/other", "other"))
    assert litellm.completion("group", HI, **given).choices[0].message.content == "Hello"
    assert (await litellm.acompletion("group", HI, **given)).choices[0].message.content == "Hello"
    stream = await litellm.acompletion("group", HI, stream=True, **given)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "Hello"
    assert {request.model for request in server.requests} == {"bad", "good"}
    assert await litellm.acompletion("group", HI, model_list=given["model_list"][:1]) is None


@pytest.mark.parametrize(
    ("status", "policy", "requests"),
    [
        (401, {"AuthenticationErrorRetries": 2}, 3),
        (401, {"RateLimitErrorRetries": 2}, 1),
        (400, {"BadRequestErrorRetries": 1, "DefaultRetries": 4}, 2),
        (500, {"InternalServerErrorRetries": 0}, 1),
        (500, {"BadRequestErrorRetries": 1}, 4),
        (422, {"DefaultRetries": 1}, 2),
    ],
)
async def test_a_policy_tells_how_often_a_failure_is_repeated(
    status: int, policy: dict[str, int], requests: int, server: MockServer
) -> None:
    server.fail(status)
    group = [deployment(server, "group", f"openai/{id}", id) for id in "abcd"]
    for given in (
        {"retry_policy": policy},
        {"retry_policy": {"DefaultRetries": 9}, "model_group_retry_policy": {"group": litellm.RetryPolicy(**policy)}},
    ):
        before = len(server.requests)
        with pytest.raises(Exception):  # noqa: B017
            litellm.Router(model_list=group, num_retries=3, **given).completion("group", HI)
        assert len(server.requests) - before == requests
        with pytest.raises(Exception):  # noqa: B017
            await litellm.Router(model_list=group, num_retries=3, **given).acompletion("group", HI)
        assert len(server.requests) - before == 2 * requests


async def test_tags_say_which_deployments_get_a_call(server: MockServer) -> None:
    server.reply("Hello")
    tags: dict[str, list[str]] = {"a": ["eu", "paid"], "b": ["us", "paid"], "c": ["default"], "d": []}
    group = [deployment(server, "group", f"openai/{id}", id, tags=each) for id, each in tags.items()]

    def answered(router: Any, *given: str) -> set[str]:
        before = len(server.requests)
        for _ in range(12):
            router.completion("group", HI, metadata={"tags": list(given)})
        return {str(request.model) for request in server.requests[before:]}

    router = litellm.Router(model_list=group, enable_tag_filtering=True)
    assert answered(router, "eu") == {"a"}
    assert answered(router, "paid") == {"a", "b"}
    assert answered(router, "paid", "!us") == {"a"}
    assert answered(router, "&paid", "&us") == {"b"}
    assert answered(router, "unknown") == answered(router) == {"c"}
    assert (await router.acompletion("group", HI, metadata={"tags": ["us"]}))._hidden_params["model_id"] == "b"
    assert answered(
        litellm.Router(model_list=group, enable_tag_filtering=True, tag_filtering_match_any=False), "eu", "paid"
    ) == {"a"}
    assert answered(litellm.Router(model_list=group), "eu") == {"a", "b", "c", "d"}
    with pytest.raises(ValueError, match="Not allowed to access model due to tags configuration"):
        litellm.Router(model_list=group[:2], enable_tag_filtering=True).completion(
            "group", HI, metadata={"tags": ["x"]}
        )
    router.delete_deployment("c")
    assert answered(router) == {"a", "b", "d"}
    tagged = litellm.Router(model_list=group, enable_tag_filtering=True, tag_routing_prefix="to:")
    assert answered(tagged, "to:eu", "us") == {"a"}
    # A tag that deployments have is no mistake.
    strict = litellm.Router(model_list=group, enable_tag_filtering=True, tag_filtering_match_any=False)
    with pytest.raises(ValueError, match="Not allowed to access model due to tags configuration"):
        strict.completion("group", HI, metadata={"tags": ["eu", "us"]})


def test_the_calling_program_says_which_deployments_get_a_call(
    server: MockServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.reply("Hello")
    of: dict[str, dict[str, Any]] = {
        "a": {"tag_regex": ["(", r"^User-Agent: claude-code/\d"]},
        "b": {"tags": ["default"]},
        "c": {"tags": ["paid"], "tag_regex": ["^User-Agent: aider"]},
    }
    group = [deployment(server, "group", f"openai/{id}", id, **params) for id, params in of.items()]

    def answered(router: Any, **metadata: Any) -> set[str]:
        before = len(server.requests)
        for _ in range(8):
            router.completion("group", HI, metadata=metadata)
        return {str(request.model) for request in server.requests[before:]}

    router = litellm.Router(model_list=group, enable_tag_filtering=True)
    assert answered(router, user_agent="claude-code/1.2") == {"a"}
    assert answered(router, user_agent="aider/0.9") == {"c"}
    assert answered(router, user_agent="curl") == {"b"}
    assert answered(router, user_agent="claude-code/1.2", tags=["paid"]) == {"a", "c"}
    strict = litellm.Router(model_list=group, enable_tag_filtering=True, tag_filtering_match_any=False)
    assert answered(strict, user_agent="aider/0.9") == {"b"}
    assert "the tag_regex '(' is no regular expression" in caplog.text
    assert all("tag_regex" not in request.json for request in server.requests)


def test_an_argument_without_effect_is_told(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        litellm.Router(allowed_fails_policy={"TimeoutErrorAllowedFails": 3}, set_verbose=True, retry_after=0)
    told = [record.message for record in caplog.records if "of litellm.Router has no effect" in record.message]
    assert told == ["the argument allowed_fails_policy of litellm.Router has no effect here: see docs/compat.md"]


def test_failures_leave_no_deployment_out(server: MockServer) -> None:
    server.fail(500, times=30)
    server.reply("Hello")
    group = [deployment(server, "group", "openai/a", "a")]
    router = litellm.Router(model_list=group, num_retries=0, allowed_fails=0, disable_cooldowns=True)
    for _ in range(30):
        with pytest.raises(litellm.InternalServerError):
            router.completion("group", HI)
    assert router.completion("group", HI).choices[0].message.content == "Hello"


def test_streams_have_a_timeout_of_their_own(server: MockServer) -> None:
    server.reply("Hello").latency(first=0.5)
    group = [deployment(server, "group", "openai/a", "a")]
    router = litellm.Router(model_list=group, num_retries=0, timeout=30, stream_timeout=0.1)
    assert router.completion("group", HI).choices[0].message.content == "Hello"
    with pytest.raises(litellm.Timeout):
        list(router.completion("group", HI, stream=True))
    assert len(list(router.completion("group", HI, stream=True, timeout=30))) > 0
    with pytest.raises(litellm.Timeout):
        at = group[0]["litellm_params"]
        list(litellm.completion(messages=HI, **at, stream=True, timeout=30, stream_timeout=0.1, max_retries=0))


def test_streams_of_a_deployment_have_a_timeout_of_their_own(server: MockServer) -> None:
    server.reply("Late").latency(first=0.5)
    with MockServer(intercept=False) as other:
        other.reply("Hello")
        group = [
            deployment(server, "own", "openai/slow", "a", timeout=30, stream_timeout="0.1"),
            deployment(server, "longer", "openai/slow", "b", stream_timeout=30),
            deployment(server, "mixed", "openai/slow", "c", stream_timeout=0.1, order=1),
            deployment(other, "mixed", "openai/fast", "d", order=2),
        ]
        router = litellm.Router(model_list=group, num_retries=1, timeout=30)
        assert router.completion("own", HI).choices[0].message.content == "Late"
        with pytest.raises(litellm.Timeout):
            list(router.completion("own", HI, stream=True))
        # The timeout is one of an attempt, and the other deployment answers.
        chunks = list(router.completion("mixed", HI, stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello"
        short = litellm.Router(model_list=group, num_retries=0, timeout=0.1)
        assert len(list(short.completion("longer", HI, stream=True))) > 0
        # A deployment without one has the router's, beside another that has its own.
        slow = deployment(server, "mixed", "openai/slow", "e", order=1)
        fast = deployment(other, "mixed", "openai/fast", "f", order=2, stream_timeout=30)
        router = litellm.Router(model_list=[slow, fast], num_retries=1, stream_timeout=0.1)
        chunks = list(router.completion("mixed", HI, stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello"


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_routers_fallback_has_parameters_of_its_own(is_async: bool, server: MockServer) -> None:
    server.on(model="bad").fail(400)
    server.reply("Hello")
    group = [deployment(server, name, f"openai/{name}", name) for name in ("bad", "worse", "good")]
    group[1]["litellm_params"]["model"] = "openai/bad"
    short = [{"role": "user", "content": "Shorter"}]

    async def asked(fallbacks: Any, **given: Any) -> Any:
        router = litellm.Router(model_list=group, num_retries=0, fallbacks=fallbacks, **given)
        first = len(server.requests)
        if is_async:
            answer = await router.acompletion("bad", HI, max_tokens=7)
        else:
            answer = await asyncio.to_thread(router.completion, "bad", HI, max_tokens=7)
        assert answer.choices[0].message.content == "Hello"
        return [request.json for request in server.requests[first:]]

    of_good = {"model": "good", "messages": short, "temperature": 0.5, "max_tokens": 7}
    entry = {name: value for name, value in of_good.items() if name != "max_tokens"}
    assert (await asked([{"bad": [entry]}]))[1:] == [of_good]
    # In the list's order, and before the groups that stand in for all others.
    plain = {"model": "good", "messages": HI, "max_tokens": 7}
    assert (await asked([{"bad": ["worse", entry]}], default_fallbacks=["good"]))[2:] == [of_good]
    assert (await asked([{"bad": ["good", entry]}]))[1:] == [plain]
    assert (await asked([{"*": [entry]}]))[1:] == [of_good]
    assert (await asked([{"*": ["good"]}]))[1:] == [plain]
    # It may be of the same group, whose fallbacks do not go in a circle for ever.
    router = litellm.Router(model_list=group, num_retries=0, fallbacks=[{"bad": [{"messages": short}]}])
    first = len(server.requests)
    with pytest.raises(litellm.BadRequestError):
        await router.acompletion("bad", HI)
    assert [request.json["messages"] for request in server.requests[first:]] == [HI, *[short] * 5]


def test_prices_and_the_base_model_of_a_deployment_count(server: MockServer) -> None:
    server.reply("Hello", usage={"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30})
    prices = {"input_cost_per_token": 1.0, "output_cost_per_token": 10.0}

    def cost(info: dict[str, Any] | None = None, given: dict[str, Any] | None = None, **params: Any) -> Any:
        entry = deployment(server, "group", "openai/nobody", "a", **params)
        entry["model_info"].update(info or {})
        return litellm.Router(model_list=[entry]).completion("group", HI, **given or {})._hidden_params["response_cost"]

    assert cost() is None
    assert cost(prices) == cost(**prices) == cost(given=prices) == 210.0
    assert cost(prices, input_cost_per_token=2.0) == 220.0
    litellm.register_model({"base": {"litellm_provider": "openai", **prices}})
    assert cost({"base_model": "base"}) == 210.0
    assert all(request.json == {"model": "nobody", "messages": HI} for request in server.requests)


@pytest.mark.parametrize("stream", [False, True])
async def test_callbacks_are_told_of_the_deployment_that_answered(
    server: MockServer, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """A program adds up costs by it: after a fallback it is the other group's."""
    server.reply("Hello")
    server.on(model="gpt-4o-mini").fail(400, "too long", code="context_length_exceeded")
    told: list[tuple[Any, ...]] = []

    def tell(kwargs: Any, *_: Any) -> None:
        params, standard = kwargs["litellm_params"], kwargs["standard_logging_object"]
        assert params["metadata"]["model_info"] == params["model_info"] and params["metadata"]["job"] == 7
        assert standard["model_group"] == params["metadata"]["model_group"] and standard["model"] == kwargs["model"]
        assert standard["model_id"] == params["model_info"]["id"]
        told.append((kwargs["model"], kwargs["custom_llm_provider"], standard["model_group"], standard["model_id"]))

    async def atell(*given: Any) -> None:
        tell(*given)

    monkeypatch.setattr(litellm, "success_callback", [tell, atell])
    monkeypatch.setattr(litellm, "failure_callback", [tell])
    fast = deployment(server, "fast", "openai/gpt-4o-mini", "one")
    smart = deployment(server, "smart", "groq/llama", "two")
    router = litellm.Router(model_list=[fast, smart], fallbacks=[{"fast": ["smart"]}], num_retries=0)
    given = {"job": 7}
    for chunk in [router.completion("fast", HI, stream=stream, metadata=given)]:
        list(chunk) if stream else None
    answer = await router.acompletion("fast", HI, stream=stream, metadata=given)
    if stream:
        [chunk async for chunk in answer]
    await asyncio.sleep(0)
    assert told == [("llama", "groq", "smart", "two")] * 2 and given == {"job": 7}
    server.on(model="llama").fail(401)
    with pytest.raises(litellm.AuthenticationError):
        router.completion("smart", HI, stream=stream, metadata=given)
    with pytest.raises(litellm.ContextWindowExceededError):
        router.completion("fast", HI, stream=stream, metadata=given)
    assert told[2:] == [("llama", "groq", "smart", "two"), ("gpt-4o-mini", "openai", "fast", "one")]
