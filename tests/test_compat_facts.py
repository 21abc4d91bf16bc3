"""Tests of the compat layer's facts: providers, models, prices and costs.

compat_facts.json has a made-up map of prices, usages, and what LiteLLM 1.110.2 answered with that map.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ritellm.compat
from ritellm.compat import _finder, _prices
from ritellm.testing import MockServer

ritellm.compat.install()
import litellm  # noqa: E402

FACTS = json.loads(Path(__file__).with_name("compat_facts.json").read_text())
MAP = json.dumps(FACTS["map"])
READ = ("model_cost", "model_list", "models_by_provider")


@pytest.fixture(autouse=True)
def prices(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # `_prepared` fills the tables of aliases and rules as well, and what was told of a name is remembered.
    for name in ("_targets", "_remembered"):
        monkeypatch.setattr(_prices, name, {})
    monkeypatch.setattr(_prices, "_rules", [])
    monkeypatch.setattr(_prices, "_lower", (0, -1, {}))
    monkeypatch.setattr(_prices, "_map", _prices._prepared(json.loads(MAP)))
    forget()
    yield
    forget()


def forget() -> None:
    for name in READ:
        vars(_finder.module("litellm")).pop(name, None)


@pytest.mark.parametrize("case", FACTS["costs"], ids=lambda case: case[0])
def test_a_cost_is_litellms_to_the_last_digit(case: list[Any]) -> None:
    model, usage, arguments, cost = case
    response = litellm.ModelResponse(
        model=model,
        usage=litellm.Usage(**usage),
        choices=[{"message": {"role": "assistant", "content": "hi"}}],
    )
    if cost is None:
        with pytest.raises(Exception, match=r"mapped|provided|Provider NOT|does not have"):
            litellm.completion_cost(response, **arguments)
    else:
        assert litellm.completion_cost(response, **arguments) == cost


@pytest.mark.parametrize("model", FACTS["providers"])
def test_a_name_means_the_same_provider(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GROQ_API_KEY", "OPENAI_API_KEY", "XAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    expected = FACTS["providers"][model]
    if expected is None:
        with pytest.raises(litellm.BadRequestError, match="LLM Provider NOT provided"):
            litellm.get_llm_provider(model)
    else:
        assert litellm.get_llm_provider(model) == tuple(expected)


def test_the_key_and_the_address_of_a_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk-1")
    monkeypatch.delenv("GROQ_API_BASE", raising=False)
    assert litellm.get_llm_provider("groq/llama-x") == ("llama-x", "groq", "gsk-1", "https://api.groq.com/openai/v1")
    assert litellm.get_llm_provider("m", api_base="https://api.groq.com/openai/v1/")[1:3] == ("groq", "gsk-1")
    # A host whose path or query names a known address is not that address.
    with pytest.raises(litellm.BadRequestError):
        litellm.get_llm_provider("m", api_base="https://attacker.example/api.groq.com/openai/v1")
    assert litellm.get_llm_provider("m", "openai", "http://host/v1", "sk") == ("m", "openai", "sk", "http://host/v1")
    assert "openai" in litellm.provider_list
    assert litellm.LlmProviders("groq") is litellm.LlmProviders.GROQ


def test_what_the_map_says_of_a_model() -> None:
    info = litellm.get_model_info("gpt-x")
    assert (info["key"], info["max_tokens"], info["max_input_tokens"]) == ("gpt-x", 8000, 200000)
    assert (info["input_cost_per_token"], info["litellm_provider"]) == (2e-6, "openai")
    assert info["supports_vision"] is True
    assert info["supports_audio_input"] is None
    assert "temperature" in info["supported_openai_params"]
    assert litellm.get_model_info("us.anthropic.claude-x-5-v1:0", "bedrock")["input_cost_per_token"] == 3.3e-6
    assert litellm.get_model_info("bedrock/eu.anthropic.claude-x-5-v1:0")["key"] == "anthropic.claude-x-5-v1:0"
    assert litellm.get_model_info("gpt-x-latest") == {**info, "key": "gpt-x-latest"}
    assert litellm.get_max_tokens("gpt-x") == litellm.get_max_tokens("openai/gpt-x") == 8000
    with pytest.raises(Exception, match="This model isn't mapped yet"):
        litellm.get_model_info("nobody/knows")
    with pytest.raises(Exception, match="Model nobody/knows isn't mapped yet"):
        litellm.get_max_tokens("nobody/knows")


def test_what_a_model_can_do() -> None:
    assert litellm.supports_vision("gpt-x")
    assert litellm.supports_vision("openai/gpt-x")
    assert not litellm.supports_vision("gpt-x-audio")
    # By a rule of the map, for a model that it does not have, and for one that it has.
    assert litellm.supports_vision("claude-new-9")
    assert litellm.supports_pdf_input("claude-x-5")
    assert not litellm.supports_vision("nobody/knows")
    assert litellm.supports_response_schema("databricks/any")
    assert litellm.supports_function_calling(model="gpt-x", custom_llm_provider="openai")


def test_the_parameters_of_a_model() -> None:
    assert litellm.get_supported_openai_params("nobody/knows") is None
    openai = litellm.get_supported_openai_params("gpt-x", "openai")
    assert {"tools", "temperature", "response_format", "user"} <= set(openai)
    claude = litellm.get_supported_openai_params("claude-x-5", "anthropic")
    assert {"thinking", "reasoning_effort", "top_p"} <= set(claude)
    assert "logprobs" not in claude
    assert "reasoning_effort" not in litellm.get_supported_openai_params("llama-x", "groq")


def test_models_that_the_program_adds() -> None:
    litellm.register_model({"mine": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": "1e-6"}})
    assert litellm.model_cost["mine"]["input_cost_per_token"] == 1e-6
    assert litellm.cost_per_token("mine", prompt_tokens=1000, completion_tokens=5) == (0.001, 0.0)
    litellm.model_cost["other"] = {"litellm_provider": "openai", "output_cost_per_token": 1.0}
    assert litellm.cost_per_token("other", completion_tokens=2) == (0.0, 2.0)
    assert litellm.get_model_info("OTHER", "openai")["key"] == "other"
    litellm.model_cost["text"] = {"litellm_provider": "mistral", "input_cost_per_token": "4e-7"}
    assert litellm.cost_per_token("mistral/text", prompt_tokens=10) == (4e-6, 0.0)
    litellm.model_cost = {"only": {"litellm_provider": "openai", "input_cost_per_token": 2.0}}
    assert litellm.cost_per_token("only", prompt_tokens=3) == (6.0, 0.0)
    with pytest.raises(Exception, match="isn't mapped yet"):
        litellm.get_model_info("gpt-x")


def test_discounts_and_margins(monkeypatch: pytest.MonkeyPatch) -> None:
    response = {"model": "gpt-x", "usage": {"prompt_tokens": 1000, "completion_tokens": 0}}
    assert litellm.completion_cost(response) == 0.002
    monkeypatch.setattr(litellm, "cost_discount_config", {"openai": 0.5})
    assert litellm.completion_cost(response) == 0.001
    monkeypatch.setattr(litellm, "cost_margin_config", {"global": {"percentage": 1.0, "fixed_amount": 1.0}})
    assert litellm.completion_cost(response) == pytest.approx(1.002)


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        # Anthropic's own: 10 new, 100 read, 20 written for five minutes and 5 for an hour, 7 out.
        (
            {
                "input_tokens": 10,
                "output_tokens": 7,
                "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 25,
                "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 5},
            },
            10 * 3e-6 + 100 * 3e-7 + (20 * 3.75e-6 + 5 * 6e-6) + 7 * 1.5e-5,
        ),
        # The Responses API's: what was cached is in the input.
        (
            {"input_tokens": 10, "output_tokens": 7, "input_tokens_details": {"cached_tokens": 4}},
            6 * 3e-6 + 4 * 3e-7 + 7 * 1.5e-5,
        ),
    ],
)
def test_usages_of_other_formats(usage: dict[str, Any], cost: float) -> None:
    assert litellm.completion_cost({"model": "claude-x-5", "usage": usage}) == pytest.approx(cost, rel=1e-12)


def test_what_the_environment_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    assert litellm.validate_environment("gpt-x") == {"keys_in_environment": False, "missing_keys": ["OPENAI_API_KEY"]}
    assert litellm.validate_environment("gpt-x", api_key="sk")["keys_in_environment"]
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "t")
    assert litellm.validate_environment("claude-x-5") == {"keys_in_environment": True, "missing_keys": []}
    assert "claude-x-5" in litellm.get_valid_models()
    assert "gpt-x" not in litellm.get_valid_models()
    assert "gpt-x" in litellm.get_valid_models(custom_llm_provider="openai")


def test_without_litellms_map_prices_are_those_of_genai_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LITELLM_MODEL_COST_MAP_URL", raising=False)
    monkeypatch.setattr(_prices, "_map", None)
    monkeypatch.setattr(_prices, "_installed", lambda: None)
    assert litellm.model_cost["gpt-4o-mini"]["input_cost_per_token"] == 0.15 / 1_000_000
    assert litellm.get_llm_provider("gpt-99") == ("gpt-99", "openai", None, None)
    assert litellm.get_llm_provider("claude-sonnet-99")[1] == "anthropic"
    with pytest.raises(litellm.BadRequestError):
        litellm.get_llm_provider("nobodys-model")


def test_a_map_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prices.json").write_text(MAP)
    monkeypatch.setattr(_prices, "_map", None)
    monkeypatch.setenv("LITELLM_MODEL_COST_MAP_URL", str(tmp_path / "prices.json"))
    assert litellm.model_cost["gpt-x-latest"] is litellm.model_cost["gpt-x"]
    assert "fallback_generalizations" not in litellm.model_cost


def test_a_map_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken.json").write_text("[1")
    monkeypatch.setattr(_prices, "_map", None)
    monkeypatch.setenv("LITELLM_MODEL_COST_MAP_URL", f"file://{tmp_path}/broken.json")
    monkeypatch.setattr(_prices, "_installed", lambda: None)
    assert litellm.model_cost
    assert "broken.json cannot be read" in caplog.text


@pytest.mark.parametrize("provider", ["ollama", "ollama_chat"])
def test_a_model_of_ollama_needs_no_entry(provider: str) -> None:
    info = litellm.get_model_info(f"{provider}/of-mine")
    assert info["key"] == "of-mine"
    assert info["litellm_provider"] == "ollama"
    assert info["input_cost_per_token"] == 0
    assert info["max_tokens"] is None
    usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    assert litellm.completion_cost({"model": f"{provider}/of-mine", "usage": usage}) == 0


def test_parameters_of_the_programs_own_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Says(litellm.CustomLLM):
        def get_supported_openai_params(self, model: str) -> list[str]:
            return ["tools", model]

    providers = [
        {"provider": "says", "custom_handler": Says()},
        {"provider": "silent", "custom_handler": litellm.CustomLLM()},
    ]
    monkeypatch.setattr(litellm, "custom_provider_map", providers)
    assert litellm.get_supported_openai_params("says/x") == ["tools", "says/x"]
    assert litellm.get_supported_openai_params("x", custom_llm_provider="says") == ["tools", "x"]
    assert litellm.get_supported_openai_params("silent/x") is None
    assert litellm.get_llm_provider("silent/x")[:2] == ("x", "silent")


def test_basetens_key_is_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASETEN_API_KEY", "bt-secret")
    found = litellm.get_llm_provider("baseten/x")
    assert tuple(found) == ("x", "baseten", "bt-secret", "https://inference.baseten.co/v1")


@pytest.mark.parametrize("model", ["gpt-x", "nobody-knows-me"])
def test_the_cost_of_an_answer_is_looked_up_once(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from ritellm.compat import _costs, _models

    counted: list[str] = []

    def count(module: Any, name: str) -> None:
        made = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, **kwargs: (counted.append(name), made(*args, **kwargs))[1])

    count(_costs, "completion_cost")
    count(_models, "_searched")
    with MockServer(intercept=False) as server:
        given = {"api_base": f"{server.url}/v1", "api_key": "sk-test"}
        first, second = (
            litellm.completion(f"openai/{model}", [{"role": "user", "content": "Hi"}], **given) for _ in "ab"
        )
    hidden = first._hidden_params
    assert hidden["provider_response_model"] == model
    assert (hidden["response_cost"] is None) is (model == "nobody-knows-me")
    assert counted.count("completion_cost") == 1
    # What is not in the map is looked for once, too.
    counted.clear()
    assert second._hidden_params["response_cost"] == hidden["response_cost"]
    assert counted == ["completion_cost"]
    litellm.register_model({"nobody-knows-me": {"litellm_provider": "openai", "input_cost_per_token": 1.0}})
    assert litellm.completion_cost(second, model=f"openai/{model}") > 0


def test_the_entry_of_the_provider_says_what_a_deployment_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {"litellm_provider": "openai", "mode": "chat", "supports_none_reasoning_effort": True}
    entries = {
        "gpt-5.8": plain,
        "gpt-5.9": plain,
        "azure/gpt-5.9": {**plain, "litellm_provider": "azure", "supports_none_reasoning_effort": False},
        "azure/gpt-5.7-2026-01-01": {**plain, "litellm_provider": "azure"},
    }
    monkeypatch.setattr(_prices, "_map", entries)
    takes = {name: "top_p" in litellm.get_supported_openai_params(name, "azure") for name in ("gpt-5.8", "gpt-5.9")}
    assert takes == {"gpt-5.8": True, "gpt-5.9": False}
    assert "top_p" in litellm.get_supported_openai_params("gpt-5.7-2026-01-01", "azure")
    assert "top_p" not in litellm.get_supported_openai_params("gpt-5.7-2026-01-01", "openai")
    assert "stop" not in litellm.get_supported_openai_params("grok-4-fast-non-reasoning", "azure_ai")
    assert "user" in litellm.get_supported_openai_params("gpt-5.8", "kyma")
    assert "user" not in litellm.get_supported_openai_params("other", "kyma")
