"""Tests of ``Client(catalog=...)``: tables, files, the data of ``genai-prices``, and what ``meta`` says with them."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import random
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from server import (
    MESSAGES,
    Answer,
    Json,
    Server,
    chunk_of,
    completion_of,
    dumped,
    events,
    plain,
    refusal,
    stream_of,
    streamed,
)

import ritellm
from ritellm import Client, InvalidArgumentError

ENTRY = {"context_window": 128_000, "input": 2.5, "cached": 1.25, "output": 10}
TABLE = {"openai/gpt-4o*": ENTRY, "openai/text-embedding-*": {"input": 0.02}}
USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 100,
    "total_tokens": 1100,
    "prompt_tokens_details": {"cached_tokens": 400},
    "completion_tokens_details": {"reasoning_tokens": 30},
}
COST = (600 * 2.5 + 400 * 1.25 + 100 * 10) / 1e6
SOON = {"retry-after-ms": "1"}


@pytest.fixture
def prices() -> Any:
    return pytest.importorskip("genai_prices")


def client(server: Server, **settings: Any) -> Client:
    return Client(**{"base_url": server.base_url, "api_key": "k", "catalog": TABLE, **settings})


class TestMeta:
    def test_usage_and_cost(self, server: Server) -> None:
        server.answer(plain(usage=USAGE))
        meta = client(server).completion("openai/gpt-4o-mini", MESSAGES).meta
        assert meta.usage == {
            "input": 600,
            "cached_read": 400,
            "cache_write": 0,
            "cache_write_hour": 0,
            "output": 70,
            "reasoning": 30,
            "audio_input": 0,
            "audio_output": 0,
            "image_input": 0,
        }
        assert meta.usage.cached_read == 400
        assert meta.cost == pytest.approx(COST, rel=1e-12)
        assert len(meta.attempts) == 1
        again = pickle.loads(pickle.dumps(meta))
        assert (again.cost, again.usage, again.attempts) == (meta.cost, meta.usage, meta.attempts)

    @pytest.mark.parametrize(
        ("model", "usage", "has_usage"),
        [
            ("openai/o9", USAGE, True),
            ("openai/gpt-4o", None, False),
            ("openai/gpt-4o", {"prompt_tokens": 5, "prompt_tokens_details": {"audio_tokens": 3}}, True),
        ],
        ids=["no such model", "no usage", "no price of audio"],
    )
    def test_unknown_is_unknown(self, server: Server, model: str, usage: Json | None, has_usage: bool) -> None:
        server.answer(plain(usage=usage))
        meta = client(server).completion(model, MESSAGES).meta
        assert meta.cost is None
        assert (meta.usage is not None) == has_usage

    @pytest.mark.parametrize("how", ["plain", "stream", "responses"])
    @pytest.mark.parametrize(
        ("told", "cost"),
        [
            ({"cost": 0.25, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.25}}, 0.25),
            ({"cost": 0, "is_byok": False}, 0),
            ({"cost": 0.125, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.25}}, 0.375),
            ({"cost": 0.125, "is_byok": True, "cost_details": {"upstream_inference_cost": None}}, None),
            ({"cost": "much"}, None),
            ({}, None),
        ],
    )
    def test_openrouter_tells_the_cost(self, server: Server, how: str, told: Json, cost: float | None) -> None:
        table = {"openrouter/priced": {"input": 1e6, "output": 1e6}, "openai/other": {}}
        own, meta = client(server, catalog=table), None
        for model in ("openrouter/a/b", "openrouter/priced", "openai/a"):
            usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, **told}
            if how == "stream":
                chunks = [chunk_of({"content": '"cost": 7'}), {**chunk_of({}, "stop"), "usage": usage}]
                server.answer(stream_of(*events(chunks)))
                stream = own.completion(model, MESSAGES, stream=True)
                list(stream)
                meta = stream.meta
            elif how == "plain":
                server.answer(plain('"usage": {"cost": 7}', usage=usage))
                meta = own.completion(model, MESSAGES).meta
            else:
                usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5, **told}
                done = {"id": "r", "object": "response", "status": "completed", "model": "m", "output": []}
                server.answer(Answer(body=dumped({**done, "usage": usage})))
                meta = own.responses(model, "Hi").meta
            assert meta.cost == {"openrouter/a/b": cost, "openrouter/priced": 5, "openai/a": None}[model]

    def test_attempts_beside_it(self, server: Server) -> None:
        server.answer(refusal(503, headers=SOON), plain(usage=USAGE))
        meta = client(server).completion("openai/gpt-4o", MESSAGES).meta
        assert [attempt.outcome for attempt in meta.attempts] == ["failed", "success"]
        assert meta.cost == pytest.approx(COST)

    @pytest.mark.parametrize("how", ["sync", "async"])
    def test_a_stream(self, server: Server, how: str) -> None:
        """They are known at its end."""
        chunks = [chunk_of({"content": "a"}), chunk_of({}, "stop"), {**chunk_of(), "choices": [], "usage": USAGE}]
        server.answer(refusal(503, headers=SOON), stream_of(*events([{"usage": None, **chunk} for chunk in chunks])))
        with client(server) as own:
            if how == "sync":
                stream = own.completion("openai/gpt-4o", MESSAGES, stream=True)
                list(stream)
            else:

                async def read() -> Any:
                    stream = await own.acompletion("openai/gpt-4o", MESSAGES, stream=True)
                    assert [chunk async for chunk in stream]
                    return stream

                stream = asyncio.run(read())
        assert stream.meta.cost == stream.completion.meta.cost == pytest.approx(COST)
        assert stream.meta.usage.reasoning == 30
        assert [attempt.status_code for attempt in stream.meta.attempts] == [503, 200]

    def test_a_stream_without_usage(self, server: Server) -> None:
        server.answer(streamed("Hi", headers=()))
        stream = client(server, catalog={}).completion("openai/gpt-4o", MESSAGES, stream=True)
        list(stream)
        assert stream.meta.cost is None and stream.meta.usage is not None

    def test_responses_and_embeddings(self, server: Server) -> None:
        usage = {"input_tokens": 1000, "input_tokens_details": {"cached_tokens": 400}, "output_tokens": 100}
        response = {"id": "r", "object": "response", "output": [], "status": "completed", "usage": usage}
        server.answer(
            Answer(body=dumped(response)),
            stream_of(*events([{"type": "response.completed", "sequence_number": 0, "response": response}])),
            Answer(
                body=dumped(
                    {"data": [{"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 50, "total_tokens": 50}}
                )
            ),
        )
        own = client(server)
        assert own.responses("openai/gpt-4o", "Hi").meta.cost == pytest.approx(COST)
        stream = own.responses("openai/gpt-4o", "Hi", stream=True)
        list(stream)
        assert stream.meta.cost == pytest.approx(COST)
        assert own.embedding("openai/text-embedding-3-small", ["Hi"]).meta.cost == pytest.approx(1e-6)

    def test_the_hour_of_a_cache(self, server: Server) -> None:
        """Anthropic's counts do not contain each other."""
        usage = {
            "input_tokens": 10,
            "cache_read_input_tokens": 1000,
            "cache_creation_input_tokens": 300,
            "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
            "output_tokens": 20,
        }
        answer = {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "content": [],
            "stop_reason": "end_turn",
            "usage": usage,
        }
        server.answer(Answer(body=dumped(answer)))
        table = {"anthropic/*": {"input": 3, "output": 15, "cached": 0.3, "cache_write": 3.75, "cache_write_hour": 6}}
        meta = client(server, catalog=table).completion("anthropic/claude-x", MESSAGES, max_tokens=9).meta
        assert meta.cost == pytest.approx((10 * 3 + 1000 * 0.3 + 100 * 3.75 + 200 * 6 + 20 * 15) / 1e6)


class TestSources:
    def test_files(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_text(json.dumps(TABLE))
        (tmp_path / "a.toml").write_text('["openai/gpt-4o"]\ninput = 2.5\ncached = 1.25\noutput = 10\n')
        server.answer(plain(usage=USAGE))
        for source in (str(tmp_path / "a.json"), tmp_path / "a.json", tmp_path / "a.toml"):
            meta = client(server, catalog=source).completion("openai/gpt-4o", MESSAGES).meta
            assert meta.cost == pytest.approx(COST), source

    def test_of_several_the_last_one_counts(self, server: Server) -> None:
        server.answer(plain(usage=USAGE))
        own = client(server, catalog=[TABLE, {"openai/gpt-4o": {**ENTRY, "output": 110}}])
        assert own.completion("openai/gpt-4o", MESSAGES).meta.cost == pytest.approx(COST + 0.01)
        assert own.completion("openai/gpt-4o-mini", MESSAGES).meta.cost == pytest.approx(COST)

    def test_a_copy_has_the_same(self, server: Server) -> None:
        server.answer(plain(usage=USAGE))
        for copied in (pickle.loads(pickle.dumps(client(server, api_key=None))),):
            assert copied.completion("openai/gpt-4o", MESSAGES, api_key="k").meta.cost == pytest.approx(COST)

    @pytest.mark.parametrize(
        ("source", "says"),
        [
            (3, "catalog is of type int: a dict"),
            ([3], "catalog is of type int: a dict"),
            ("prices", "catalog is 'prices': \"genai-prices\", the path of a .toml or .json file"),
            ("none.toml", "catalog: none.toml cannot be read: No such file"),
            ({"openai/x": {"input": object()}}, "catalog"),
            ({"openai/x": {"inptu": 1}}, 'did you mean "input"?'),
            ({"opnai/x": {"input": 1}}, "names no known provider"),
            ({1: 2}, "catalog"),
        ],
    )
    def test_what_cannot_be_used(self, source: object, says: str) -> None:
        with pytest.raises(InvalidArgumentError) as raised:
            Client(catalog=source)
        assert says in str(raised.value)

    @pytest.mark.parametrize(("name", "content"), [("a.json", "{"), ("a.toml", "= 3"), ("a.json", "\xff")])
    def test_a_file_that_is_none(self, tmp_path: Path, name: str, content: str) -> None:
        (tmp_path / name).write_bytes(content.encode("latin-1"))
        with pytest.raises(InvalidArgumentError, match=r"is no (JSON|TOML)"):
            Client(catalog=tmp_path / name)


class TestGenaiPrices:
    """The same costs as the package calculates. ``GENAI_PRICES=all`` compares all its models."""

    PROVIDERS = ("openai", "xai", "deepseek", "mistral", "groq", "together_ai", "openrouter", "moonshot", "azure")

    def test_the_same_costs(self, server: Server, prices: Any) -> None:
        from genai_prices.data_snapshot import get_snapshot

        from ritellm._catalog import _NAMES

        snapshot = get_snapshot()
        models = []
        for name in self.PROVIDERS:
            provider = next(p for p in snapshot.providers if p.id == _NAMES.get(name, name))
            models += [(name, provider, model) for model in provider.models]
        if os.environ.get("GENAI_PRICES") != "all":
            models = random.Random(5).sample(models, 80)
        own = client(server, catalog="genai-prices", api_version=None)
        kinds = {"cached": 0, "tiered": 0, "unknown": 0}
        for name, provider, model in models:
            for size in (1_000, 400_000):
                cached, output = size // 4, size // 10
                counts = {"prompt_tokens": size, "prompt_tokens_details": {"cached_tokens": cached}}
                server.answer(plain(usage={**counts, "completion_tokens": output, "total_tokens": size + output}))
                more = {"api_version": "2024-10-21"} if name == "azure" else {}
                meta = own.completion(f"{name}/{model.id}", MESSAGES, **more).meta
                usage = prices.Usage(input_tokens=size, cache_read_tokens=cached, output_tokens=output)
                found = provider.find_model(model.id, all_providers=snapshot.providers)
                if found is None:
                    # Its own rule does not match its id.
                    assert meta.cost is None, (name, model.id)
                    continue
                price = found.get_prices(datetime.now(timezone.utc))
                if price.input_mtok is None or price.output_mtok is None:
                    assert meta.cost is None, (name, model.id)
                    kinds["unknown"] += 1
                    continue
                expected = float(snapshot.calc(usage, model.id, provider.id, None, None).total_price)
                assert meta.cost == pytest.approx(expected, rel=1e-9, abs=1e-15), (name, model.id, size)
                kinds["cached"] += price.cache_read_mtok is not None
                kinds["tiered"] += hasattr(price.input_mtok, "tiers")
        assert kinds["cached"] >= 40 and kinds["tiered"] >= 4, kinds

    def test_native_formats(self, server: Server, prices: Any) -> None:
        own = client(server, catalog="genai-prices")
        gemini = {
            "candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}],
            "usageMetadata": {
                "promptTokenCount": 300_000,
                "cachedContentTokenCount": 100_000,
                "candidatesTokenCount": 500,
                "thoughtsTokenCount": 700,
                "totalTokenCount": 301_200,
            },
        }
        server.answer(Answer(body=dumped(gemini)))
        meta = own.completion("gemini/gemini-2.5-pro", MESSAGES).meta
        usage = prices.Usage(input_tokens=300_000, cache_read_tokens=100_000, output_tokens=1200)
        expected = prices.calc_price(usage, "gemini-2.5-pro", provider_id="google").total_price
        assert meta.cost == pytest.approx(float(expected), rel=1e-9)
        claude = {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "content": [],
            "stop_reason": "end_turn",
            "usage": {
                "input_tokens": 10,
                "cache_read_input_tokens": 1000,
                "cache_creation_input_tokens": 300,
                "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
                "output_tokens": 20,
            },
        }
        server.answer(Answer(body=dumped(claude)))
        meta = own.completion("anthropic/claude-sonnet-4-5-20250929", MESSAGES, max_tokens=9).meta
        usage = prices.Usage(
            input_tokens=1310,
            cache_read_tokens=1000,
            cache_write_tokens=300,
            cache_write_1h_tokens=200,
            output_tokens=20,
        )
        expected = prices.calc_price(usage, "claude-sonnet-4-5-20250929", provider_id="anthropic").total_price
        assert meta.cost == pytest.approx(float(expected), rel=1e-9)

    def test_every_name_is_converted(self, prices: Any) -> None:
        from genai_prices.data_snapshot import get_snapshot

        from ritellm._catalog import _entry

        models = [model for provider in get_snapshot().providers for model in provider.models]
        assert len(models) > 500
        assert [model.id for model in models if _entry(model) is None] == []

    def test_without_the_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "genai_prices.data_snapshot", None)
        with pytest.raises(InvalidArgumentError, match=r"pip install 'ritellm\[prices\]'"):
            Client(catalog="genai-prices")


def test_answers_without_a_catalog_say_nothing(server: Server) -> None:
    server.answer(plain(usage=USAGE))
    meta = ritellm.completion("openai/gpt-4o", MESSAGES, base_url=server.base_url, api_key="k").meta
    assert meta.cost is None and meta.usage is None
    assert completion_of()["usage"] is not None
