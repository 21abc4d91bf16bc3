"""Tests of costs and budgets: ``ritellm.cost``, ``meta.cost`` and ``Client(budget=…)``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import pickle
import socket
import subprocess
import sys
import threading
import uuid
from typing import Any

import pytest
from limited import Processes
from server import (
    MESSAGES,
    MODEL,
    Answer,
    Gate,
    Server,
    chunk_of,
    completion_of,
    dumped,
    events,
    eventually,
    plain,
    refusal,
    stream_of,
    streamed,
)

import ritellm
from ritellm import (
    Budget,
    BudgetExceededError,
    Cache,
    ChatCompletion,
    Client,
    InternalServerError,
    InvalidArgumentError,
    Meta,
    Router,
)
from ritellm.testing import MockServer

PRICES = {"openai/*": {"input": 1e6, "output": 1e6}}
"""A US dollar a token."""


def used(input_tokens: int, output_tokens: int, **more: Any) -> Answer:
    usage = {
        "prompt_tokens": input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
    }
    return plain(usage=usage, **more)


class TestInvoices:
    """The arithmetic of each wire, from a usage as its provider tells it; prices are made up, the sums done by hand."""

    @pytest.mark.parametrize(
        ("model", "usage", "right"),
        [
            (
                "openai/m",
                {
                    "prompt_tokens": 1500,
                    "completion_tokens": 300,
                    "total_tokens": 1800,
                    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 100},
                    "completion_tokens_details": {"reasoning_tokens": 200, "audio_tokens": 20},
                },
                # 376 input, 1024 cached, 100 audio in; 80 output, 200 reasoning, 20 audio out.
                (376 * 3 + 1024 * 0.3 + 100 * 40 + 80 * 15 + 200 * 15 + 20 * 80) / 1e6,
            ),
            (
                "openai/m",
                {
                    "input_tokens": 900,
                    "output_tokens": 120,
                    "total_tokens": 1020,
                    "input_tokens_details": {"cached_tokens": 640},
                    "output_tokens_details": {"reasoning_tokens": 64},
                },
                (260 * 3 + 640 * 0.3 + 120 * 15) / 1e6,
            ),
            (
                "anthropic/m",
                {
                    "input_tokens": 1000,
                    "cache_read_input_tokens": 400,
                    "cache_creation_input_tokens": 300,
                    "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
                    "output_tokens": 50,
                },
                (1000 * 3 + 400 * 0.3 + 200 * 3.75 + 100 * 6 + 50 * 15) / 1e6,
            ),
            (
                "gemini/m",
                {
                    "promptTokenCount": 2000,
                    "cachedContentTokenCount": 500,
                    "candidatesTokenCount": 100,
                    "thoughtsTokenCount": 40,
                    "totalTokenCount": 2140,
                    "promptTokensDetails": [
                        {"modality": "TEXT", "tokenCount": 1700},
                        {"modality": "AUDIO", "tokenCount": 200},
                        {"modality": "IMAGE", "tokenCount": 100},
                    ],
                },
                (1200 * 3 + 500 * 0.3 + 200 * 40 + 100 * 5 + 140 * 15) / 1e6,
            ),
            (
                "bedrock/m",
                {
                    "inputTokens": 70,
                    "outputTokens": 30,
                    "totalTokens": 1100,
                    "cacheReadInputTokens": 800,
                    "cacheWriteInputTokens": 200,
                },
                (70 * 3 + 800 * 0.3 + 200 * 3.75 + 30 * 15) / 1e6,
            ),
            (
                "cohere/m",
                {
                    "billed_units": {"input_tokens": 17, "output_tokens": 12},
                    "tokens": {"input_tokens": 83, "output_tokens": 12},
                },
                (17 * 3 + 12 * 15) / 1e6,
            ),
            ("ollama_chat/m", {"prompt_eval_count": 26, "eval_count": 298}, (26 * 3 + 298 * 15) / 1e6),
            (
                "deepseek/m",
                {
                    "prompt_tokens": 1000,
                    "completion_tokens": 10,
                    "prompt_cache_hit_tokens": 900,
                    "prompt_cache_miss_tokens": 100,
                },
                (100 * 3 + 900 * 0.3 + 10 * 15) / 1e6,
            ),
            (
                # https://github.com/BerriAI/litellm/issues/11789: the details do not say what the usage says.
                "anthropic/m",
                {
                    "prompt_tokens": 2459,
                    "completion_tokens": 23,
                    "prompt_tokens_details": {"audio_tokens": None, "cached_tokens": 0},
                    "cache_read_input_tokens": 2455,
                    "cache_creation_input_tokens": 0,
                },
                (4 * 3 + 2455 * 0.3 + 23 * 15) / 1e6,
            ),
            (
                # https://github.com/BerriAI/litellm/issues/14849: the texts are what was cached as well.
                "vertex/m",
                {
                    "prompt_tokens": 262_960,
                    "completion_tokens": 1744,
                    "prompt_tokens_details": {"text_tokens": 262_960, "cached_tokens": 257_955},
                },
                (5005 * 3 + 257_955 * 0.3 + 1744 * 15) / 1e6,
            ),
        ],
        ids=["chat", "responses", "anthropic", "gemini", "bedrock", "cohere", "ollama", "deepseek", "proxy", "texts"],
    )
    def test_a_usage(self, model: str, usage: Any, right: float) -> None:
        entry = {
            "input": 3,
            "cached": 0.3,
            "cache_write": 3.75,
            "cache_write_hour": 6,
            "audio_input": 40,
            "image_input": 5,
            "output": 15,
            "audio_output": 80,
        }
        assert ritellm.cost(usage, model=model, catalog={"*/m": entry}) == pytest.approx(right, rel=1e-12)

    @pytest.mark.parametrize(
        ("model", "usage", "calls", "right"),
        [
            # A coding session: 0.705 US dollars, of which 0.08 are for the session's hour.
            ("claude-opus-4-6", {"input_tokens": 50_000, "output_tokens": 15_000}, 1, 0.705 - 0.08),
            # The same, with 40,000 of the input read from the cache: 0.525.
            (
                "claude-opus-4-6",
                {"input_tokens": 10_000, "cache_read_input_tokens": 40_000, "output_tokens": 15_000},
                1,
                0.525 - 0.08,
            ),
            # 10,000 tickets of 3,700 tokens: 37.00.
            ("claude-haiku-4-5", {"input_tokens": 3700, "output_tokens": 0}, 10_000, 37.0),
        ],
        ids=["session", "cached", "tickets"],
    )
    def test_published_examples(self, model: str, usage: Any, calls: int, right: float) -> None:
        """Those of https://platform.claude.com/docs/en/about-claude/pricing, with the prices of genai-prices."""
        cost = ritellm.cost(usage, model=f"anthropic/{model}", catalog="genai-prices")
        assert cost is not None and calls * cost == pytest.approx(right, rel=1e-9)

    def test_classes_and_responses(self, at_openai: Server) -> None:
        at_openai.answer(used(3, 2))
        response = Client(catalog=PRICES).completion(MODEL, MESSAGES)
        assert response.meta.cost == 5
        assert ritellm.cost(response, catalog=PRICES) == 5
        assert ritellm.cost(response.meta.usage, model=MODEL, catalog=PRICES) == 5
        assert ritellm.cost(response.usage, model=MODEL, catalog=PRICES) == 5
        kept = ChatCompletion(**response, meta=Meta(provider="openai", model="m", cached=True))
        assert ritellm.cost(kept, catalog=PRICES) == 0, "it was paid before"

    def test_tiers(self) -> None:
        entry = {"input": 3, "output": 15, "cached": 0.3, "tiers": [{"above": 200_000, "input": 6, "output": 22.5}]}
        of = lambda usage: ritellm.cost(usage, model="anthropic/m", catalog={"anthropic/m": entry})  # noqa: E731
        assert of({"input": 200_000, "output": 10}) == pytest.approx((200_000 * 3 + 150) / 1e6)
        assert of({"input": 1, "cached_read": 200_000, "output": 10}) == pytest.approx((6 + 200_000 * 0.3 + 225) / 1e6)

    @pytest.mark.parametrize(
        ("service", "right"),
        [(None, 12), ("default", 12), ("standard", 12), ("auto", 12), ("flex", 6), ("priority", 24), ("batch", 6)],
    )
    def test_service_tiers(self, service: Any, right: float) -> None:
        entry = {"input": 10e6, "output": 1e6, "flex": 0.5, "priority": {"input": 20e6, "output": 2e6}}
        usage = {"input": 1, "output": 2}
        assert ritellm.cost(usage, model="openai/m", service_tier=service, catalog={"openai/m": entry}) == right
        if service == "batch":
            assert (
                ritellm.cost(usage, model="openai/m", batch=True, catalog={"openai/m": {**entry, "batch": 0.25}}) == 3
            )

    def test_prices_by_request_and_time(self) -> None:
        catalog = {"openai/r": {"request": 0.01}, "openai/s": {"second": 0.5}, "openai/b": {"request": 1, "input": 1e6}}
        assert ritellm.cost({"input": 5}, model="openai/r", catalog=catalog) == 0.01
        assert ritellm.cost(None, model="openai/r", catalog=catalog) == 0.01
        assert ritellm.cost(None, model="openai/s", seconds=4, catalog=catalog) == 2
        assert ritellm.cost(None, model="openai/s", catalog=catalog) is None, "nobody knows how long it took"
        assert ritellm.cost({"input": 5}, model="openai/b", catalog=catalog) == 6
        assert ritellm.cost(None, model="openai/b", catalog=catalog) is None

    def test_what_is_not_known_is_said_once(self, caplog: pytest.LogCaptureFixture) -> None:
        client = Client(catalog={"openai/a": {"input": 1}})
        with caplog.at_level(logging.WARNING, "ritellm"):
            for _ in range(3):
                assert ritellm.cost({"input": 1, "output": 1}, model="openai/a", client=client) is None
                assert ritellm.cost({"input": 1}, model="openai/b", client=client) is None
        said = [record.message for record in caplog.records]
        assert len(said) == 2 and "openai/a is not known" in said[0]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"usage": {"input": 1}}, "model is of type NoneType"),
            ({"usage": 3, "model": "openai/a"}, "usage is of type int"),
            ({"usage": {"input": -1}, "model": "openai/a"}, "usage is not as a meta.usage has it"),
            ({"usage": {"input": 1}, "model": "nobody/a"}, "nobody"),
            ({"usage": {"input": 1}, "model": "openai/a", "service_tier": "slow"}, "service_tier is 'slow'"),
            ({"usage": {"input": 1}, "model": "openai/a", "client": 3, "catalog": None}, "client is of type int"),
        ],
    )
    def test_wrong_arguments(self, arguments: Any, message: str) -> None:
        with pytest.raises(InvalidArgumentError, match=message):
            ritellm.cost(**{"catalog": None if "client" in arguments else PRICES, **arguments})

    def test_the_tier_that_an_answer_names(self, at_openai: Server) -> None:
        prices = {"openai/*": {"input": 1e6, "output": 1e6, "flex": 0.5}}
        usage = {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}
        last = chunk_of(usage=usage, service_tier="flex") | {"choices": []}
        text = '"service_tier":"flex"'
        at_openai.answer(
            plain(usage=usage, service_tier="flex"),
            plain(text, usage=usage),
            plain(usage=usage, service_tier="scale"),
            stream_of(*events([chunk_of({"content": "Hi"}), chunk_of(finish_reason="stop"), last])),
        )
        client = Client(catalog=prices)
        answers = [client.completion(MODEL, MESSAGES) for _ in range(3)]
        assert [answer.meta.cost for answer in answers] == [2, 4, None]
        assert [ritellm.cost(answer, catalog=prices) for answer in answers] == [2, 4, None]
        stream = client.completion(MODEL, MESSAGES, stream=True, service_tier="flex")
        for _ in stream:
            pass
        assert stream.meta.cost == 2


@pytest.fixture
def key() -> str:
    """A budget's name that no other test has."""
    return uuid.uuid4().hex


class TestBudgets:
    def test_a_call_that_would_exceed_it_is_not_sent(self, at_openai: Server, key: str) -> None:
        at_openai.answer(used(3, 2))
        budget = Budget(200, per="day", key=key)
        client = Client(catalog=PRICES, budget=budget)
        client.completion(MODEL, MESSAGES, max_tokens=100)
        assert budget.spent() == 5, "what it did cost, not what it may have"
        with pytest.raises(
            BudgetExceededError, match=r"budget \"\w+\" of 200 US dollars per day would be exceeded: 5\.0"
        ) as raised:
            client.completion(MODEL, MESSAGES, max_tokens=190)
        assert len(at_openai.requests) == 1
        assert raised.value.code == "budget_exceeded" and pickle.loads(pickle.dumps(raised.value)).message
        assert not isinstance(raised.value, ritellm.APIStatusError)
        client.completion(MODEL, MESSAGES, max_tokens=100)
        assert budget.spent() == 10

    def test_what_counts(self, at_openai: Server, key: str) -> None:
        """A stream that was left, and responses: AgentBudget/agentbudget#15, BerriAI/litellm#38176."""
        budget = Budget(1e6, key=key)
        client = Client(catalog=PRICES, budget=budget)
        at_openai.answer(stream_of(*streamed("Hel", "lo").pieces()[:3], Gate()))
        with client.completion(MODEL, MESSAGES, stream=True, max_tokens=50) as stream:
            next(stream)
        left = budget.spent()
        assert left > 50
        usage = {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18}
        done = {"id": "resp_1", "object": "response", "status": "completed", "model": "m", "output": [], "usage": usage}
        at_openai.answer(Answer(body=dumped(done)))
        client.responses("openai/m", "Hi", max_output_tokens=10)
        assert budget.spent() == left + 18

    def test_streams_of_claude_on_vertex(self, key: str) -> None:
        """BerriAI/litellm#37923: priced as nothing."""
        with MockServer(intercept=False) as mock:
            mock.reply("Hi there", usage={"prompt_tokens": 9, "completion_tokens": 4})
            budget = Budget(1e6, key=key)
            prices = {"vertex_ai/*": {"input": 1e6, "output": 1e6}}
            client = Client(base_url=mock.url, api_key="k", catalog=prices, budget=budget)
            where = {"vertex_project": "p", "vertex_location": "l"}
            list(client.completion("vertex_ai/claude-sonnet-4-5", MESSAGES, stream=True, max_tokens=9, **where))
            assert budget.spent() == 13

    def test_what_is_set_aside_is_of_the_prompts_tier(self, at_openai: Server, key: str) -> None:
        """BerriAI/litellm#40002."""
        prices = {"input": 1.0, "output": 1.0, "tiers": [{"above": 1000, "input": 2.0, "output": 2.0}]}
        client = Client(catalog={"openai/m": prices}, budget=Budget(0.0055, key=key))
        with pytest.raises(BudgetExceededError):
            client.completion("openai/m", [{"role": "user", "content": "word " * 4000}], max_tokens=10)
        assert not at_openai.requests

    def test_clients_with_the_same_key_share_it(self, at_openai: Server, key: str) -> None:
        at_openai.answer(used(3, 2))
        for _ in range(2):
            Client(catalog=PRICES, budget=Budget(1000, per="day", key=key)).completion(MODEL, MESSAGES, max_tokens=9)
        assert Budget(1000, per="day", key=key).spent() == 10
        assert Budget(1000, per="week", key=key).spent() == 0
        client = Client(catalog=PRICES).with_options(budget=Budget(1000, per="day", key=key))
        client.completion(MODEL, MESSAGES, max_tokens=9)
        client.with_options(budget=False).completion(MODEL, MESSAGES)
        assert Budget(1000, per="day", key=key).spent() == 15

    async def test_calls_in_flight_are_set_aside(self, at_openai: Server, key: str) -> None:
        gate = Gate()
        body = dumped(completion_of(usage={"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}))
        at_openai.answer(Answer(body=[gate, body]))
        client = Client(catalog=PRICES, budget=Budget(1000, key=key))
        calls = [asyncio.create_task(client.acompletion(MODEL, MESSAGES, max_tokens=280)) for _ in range(9)]
        await asyncio.to_thread(at_openai.wait_for_requests, 3)
        gate.open()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(answer, BudgetExceededError) for answer in answers) == 6
        assert len(at_openai.requests) == 3 and Budget(1000, key=key).spent() == 6

    def test_threads(self, at_openai: Server, key: str) -> None:
        at_openai.answer(used(30, 20))
        client = Client(catalog=PRICES, budget=Budget(1000, key=key))
        refused: list[Exception] = []

        def call() -> None:
            for _ in range(10):
                try:
                    client.completion(MODEL, MESSAGES, max_tokens=20)
                except BudgetExceededError as error:
                    refused.append(error)

        threads = [threading.Thread(target=call) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        spent = Budget(1000, key=key).spent()
        assert spent is not None and spent == 50 * len(at_openai.requests) and 900 <= spent <= 1000 + 6 * 50
        assert len(refused) + len(at_openai.requests) == 60

    def test_failures_cost_nothing(self, at_openai: Server, key: str) -> None:
        at_openai.answer(refusal(500))
        client = Client(catalog=PRICES, budget=Budget(1000, key=key), max_retries=0)
        for stream in (False, True):
            with pytest.raises(InternalServerError):
                client.completion(MODEL, MESSAGES, stream=stream)
        assert Budget(1000, key=key).spent() == 0

    def test_a_call_whose_first_request_was_answered(self, at_openai: Server, key: str) -> None:
        data = [{"object": "embedding", "index": index, "embedding": [1.0]} for index in range(2)]
        answer = {"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 2, "total_tokens": 2}}
        at_openai.answer(Answer(body=[dumped(answer)]), refusal(500))
        client = Client(catalog=PRICES, budget=Budget(1000, key=key), max_retries=0)
        with pytest.raises(InternalServerError):
            client.embedding(MODEL, ["a"] * 4, batch_size=2, concurrency=1)
        assert len(at_openai.requests) == 2
        spent = Budget(1000, key=key).spent()
        assert spent, "the first request was paid, so that the estimate stands"

    def test_a_model_whose_price_is_by_time(self, at_openai: Server, key: str) -> None:
        at_openai.answer(used(3, 2))
        client = Client(catalog={"openai/*": {"second": 1000}}, budget=Budget(1000, key=key))
        assert client.completion(MODEL, MESSAGES).meta.cost
        spent = Budget(1000, key=key).spent()
        assert spent, "how long a call takes is counted afterwards"

    def test_streams(self, at_openai: Server, key: str) -> None:
        usage = {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}
        last = chunk_of(usage=usage) | {"choices": []}
        whole = stream_of(*events([chunk_of({"content": "Hi"}), chunk_of(finish_reason="stop"), last]))
        at_openai.answer(whole, stream_of(*events([chunk_of({"content": "Hi"})], done=False), Gate()))
        client = Client(catalog=PRICES, budget=Budget(1000, key=key))
        for _ in client.completion(MODEL, MESSAGES, stream=True, max_tokens=100):
            pass
        assert Budget(1000, key=key).spent() == 4
        for _ in client.completion(MODEL, MESSAGES, stream=True, max_tokens=100):
            break
        at_openai.last.wait_gone()
        spent = Budget(1000, key=key).spent()
        assert spent is not None and spent > 100, (
            "what a stream that was left did cost, nobody knows: the estimate stands"
        )

    def test_a_model_without_a_price(self, at_openai: Server, key: str) -> None:
        at_openai.answer(used(1, 1))
        catalog = {"openai/other": {"input": 1}}
        with pytest.raises(InvalidArgumentError, match=r'no price for openai/gpt-4o-mini.*unknown="allow"'):
            Client(catalog=catalog, budget=Budget(1, key=key)).completion(MODEL, MESSAGES)
        assert not at_openai.requests
        Client(catalog=catalog, budget=Budget(1, key=key, unknown="allow")).completion(MODEL, MESSAGES)
        assert Budget(1, key=key).spent() == 0

    def test_a_model_that_costs_nothing(self, at_openai: Server, key: str) -> None:
        """It is sent though the budget is exceeded; one whose price is by time is not, though nothing is set aside for it."""
        prices = {**PRICES, "openai/free": {"input": 0, "output": 0}, "openai/timed": {"second": 1}}
        client = Client(catalog=prices, budget=Budget(1000, key=key))
        at_openai.answer(used(2000, 2))
        client.completion(MODEL, MESSAGES, max_tokens=9)
        assert Budget(1000, key=key).spent() == 2002
        assert client.completion("openai/free", MESSAGES).meta.cost == 0
        assert list(client.completion("openai/free", MESSAGES, stream=False).choices)
        for model in (MODEL, "openai/timed"):
            with pytest.raises(BudgetExceededError):
                client.completion(model, MESSAGES, max_tokens=9)
        assert Budget(1000, key=key).spent() == 2002 and len(at_openai.requests) == 3

    def test_a_router(self, at_openai: Server, key: str) -> None:
        at_openai.answer(refusal(500), used(3, 2))
        router = Router(
            {"main": ["openai/a", "openai/b"]}, catalog=PRICES, budget=Budget(1000, key=key), strategy="ordered"
        )
        response = router.completion("main", MESSAGES, max_tokens=10)
        assert response.meta.model == "b" and Budget(1000, key=key).spent() == 5
        with pytest.raises(BudgetExceededError):
            router.completion("main", MESSAGES, max_tokens=2000)
        assert len(at_openai.requests) == 2
        assert all(state["breaker"] == "closed" for state in router.status().values())

    def test_what_is_kept_costs_nothing(self, at_openai: Server, key: str) -> None:
        at_openai.answer(used(3, 2))
        client = Client(catalog=PRICES, budget=Budget(100, key=key), cache=Cache.memory())
        for _ in range(9):
            client.completion(MODEL, MESSAGES, max_tokens=9)
        assert Budget(100, key=key).spent() == 5

    @pytest.mark.skipif(sys.platform != "linux", reason="shared memory")
    def test_processes_of_a_host_share_it(self, at_openai: Server, key: str) -> None:
        at_openai.answer(used(30, 20))
        program = (
            "import ritellm, sys\n"
            f"budget = ritellm.Budget(1000, per='month', key={key!r}, share='host:tests')\n"
            "client = ritellm.Client(catalog={'openai/*': {'input': 1e6, 'output': 1e6}}, budget=budget)\n"
            "made = 0\n"
            "for _ in range(12):\n"
            "    try:\n"
            f"        client.completion({MODEL!r}, {MESSAGES!r}, max_tokens=20)\n"
            "        made += 1\n"
            "    except ritellm.BudgetExceededError:\n"
            "        pass\n"
            "print(made)\n"
        )
        running = [
            subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(3)
        ]
        made = sum(int(process.communicate()[0]) for process in running)
        shared = Budget(1000, per="month", key=key, share="host:tests")
        assert shared.spent() == made * 50 and 900 <= made * 50 <= 1150
        with pytest.raises(BudgetExceededError):
            Client(catalog=PRICES, budget=shared).completion(MODEL, MESSAGES, max_tokens=200)

    async def test_a_redis(self, at_openai: Server, key: str) -> None:
        with Processes() as processes:
            redis = processes.redis()
            at_openai.answer(used(30, 20))
            budget = Budget(1000, per="hour", key=key, share=redis.url)
            clients = [Client(catalog=PRICES, budget=budget) for _ in range(2)]
            calls = [client.acompletion(MODEL, MESSAGES, max_tokens=20) for client in clients * 20]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(answer) for answer in answers} == {ritellm.ChatCompletion, BudgetExceededError}
            # 35 US dollars are set aside for each.
            assert 15 <= len(at_openai.requests) <= 28
            assert budget.spent() is None
            redis.stop()
            await asyncio.sleep(0.05)
            sent = len(at_openai.requests)
            with pytest.raises(ritellm.APIConnectionError, match=r"budget .* cannot be kept"):
                for _ in range(3):
                    await clients[0].acompletion(MODEL, MESSAGES, max_retries=0)
            assert len(at_openai.requests) == sent
            allowing = Budget(1000, per="hour", key=key, share=redis.url, when_down="allow")
            await Client(catalog=PRICES, budget=allowing).acompletion(MODEL, MESSAGES)

    @pytest.mark.parametrize("left", [None, "7", "0"])
    async def test_a_redis_that_forgets(self, at_openai: Server, key: str, left: str | None) -> None:
        with Processes() as processes:
            redis, gate = processes.redis(), Gate()
            body = dumped(completion_of(usage={"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}))
            at_openai.answer(Answer(body=[gate, body], headers={"content-length": str(len(body))}), used(30, 20))
            client = Client(catalog=PRICES, budget=Budget(1000, key=key, share=redis.url))
            call = asyncio.create_task(client.acompletion(MODEL, MESSAGES, max_tokens=500))
            await asyncio.to_thread(at_openai.wait_for_requests, 1)
            (name,) = redis.command("KEYS", "*")
            redis.command("FLUSHALL")
            if left is not None:
                redis.command("SET", name.decode(), left)
            gate.open()
            await call
            await client.acompletion(MODEL, MESSAGES, max_tokens=500)
            # What was set aside is gone with its counter: it is not taken from that of others.
            eventually(lambda: redis.command("GET", name.decode()) == b"5000000000", "what the second call did cost")

    @pytest.mark.skipif(sys.platform != "linux", reason="a full queue of connections")
    def test_a_redis_that_takes_no_connection(self, at_openai: Server, key: str) -> None:
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            for _ in range(4):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(listener.getsockname())
            budget = Budget(1000, key=key, share=f"redis://127.0.0.1:{listener.getsockname()[1]}/0")
            with pytest.raises(ritellm.APIConnectionError, match="the Redis does not answer within 250ms"):
                Client(catalog=PRICES, budget=budget).completion(MODEL, MESSAGES, max_retries=0)
        assert not at_openai.requests

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: Budget(0), "amount is 0"),
            (lambda: Budget("1"), "amount is of type str"),
            (lambda: Budget(2e6), "up to a million"),
            (lambda: Budget(1, per="year"), "per is 'year'|per is \"year\""),
            (lambda: Budget(1, per=0.5), "per is below a second"),
            (lambda: Budget(1, per=True), "per is of type bool"),
            (lambda: Budget(1, unknown="maybe"), "unknown is"),
            (lambda: Budget(1, share="host:"), "share is"),
            (lambda: Budget(1, share="http://x"), "share is no URL of a Redis"),
            (lambda: Client(budget=10), "budget is of type int: a ritellm.Budget"),
        ],
    )
    def test_wrong_arguments(self, make: Any, message: str) -> None:
        with pytest.raises(InvalidArgumentError, match=message):
            make()

    def test_the_usual_prices(self, at_openai: Server, key: str) -> None:
        at_openai.answer(used(1_000_000, 0))
        for client in (Client(budget=Budget(1, key=key)), Client().with_options(budget=Budget(1, key=key))):
            assert client.completion(MODEL, MESSAGES).meta.cost == pytest.approx(0.15), "those of genai-prices"
        assert Budget(1, key=key).spent() == pytest.approx(0.3)

    def test_without_prices(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "genai_prices.data_snapshot", None)
        with pytest.raises(InvalidArgumentError, match="budget needs prices"):
            Client(budget=Budget(1))

    def test_copies(self, key: str) -> None:
        budget = Budget(10.0, per="day", key=key, unknown="allow")
        assert pickle.loads(pickle.dumps(budget)) == budget
        assert repr(Budget(10.0, "day", "team-a")) == 'Budget(10 per day, key="team-a")'
        secret = Budget(1, share="redis://:sesame123@host/0")
        assert "sesame123" not in repr(secret)
        assert b"sesame123" not in pickle.dumps(Client(catalog=PRICES, budget=secret))

    def test_forked_children_count_anew(self, at_openai: Server, key: str) -> None:
        if "fork" not in multiprocessing.get_all_start_methods():
            pytest.skip("fork")
        at_openai.answer(used(3, 2))
        Client(catalog=PRICES, budget=Budget(100, key=key)).completion(MODEL, MESSAGES, max_tokens=9)
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        child = context.Process(target=lambda: queue.put(Budget(100, key=key).spent()))
        child.start()
        child.join()
        assert queue.get() == 0 and Budget(100, key=key).spent() == 5
