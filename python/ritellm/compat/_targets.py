"""Which of RiteLLM's providers a call of LiteLLM's goes to."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Providers that both have under one name.
_SAME = frozenset(
    """openai groq mistral deepseek xai together_ai fireworks_ai openrouter perplexity cerebras sambanova nvidia_nim huggingface
    github moonshot zai dashscope minimax databricks deepinfra hyperbolic novita voyage ollama_chat lm_studio llamafile xinference
    anthropic azure bedrock cohere gemini""".split()  # noqa: SIM905
)
#: LiteLLM's other names of providers that RiteLLM has.
_OTHER_NAMES = {
    "vertex_ai": "vertex",
    "vertex_ai_beta": "vertex",
    "cohere_chat": "cohere",
    "jina_ai": "jina",
    "ollama": "ollama_chat",
    "hosted_vllm": "vllm",
    "vllm": "vllm",
    "bedrock_converse": "bedrock",
    "text-completion-openai": "openai",
    "azure_text": "azure",
    "local": "local",
}
#: Providers whose API is not OpenAI's, and which RiteLLM does not speak to, with what to use instead.
_REFUSED = {
    "sagemaker": "an endpoint of your own with OpenAI's API: model='openai_like/…', api_base=…",
    "sagemaker_chat": "an endpoint of your own with OpenAI's API: model='openai_like/…', api_base=…",
    "watsonx": "IBM's OpenAI-compatible gateway: model='openai_like/…', api_base=…",
    "watsonx_text": "IBM's OpenAI-compatible gateway: model='openai_like/…', api_base=…",
    "replicate": "Replicate's models at another host",
    "predibase": "Predibase's OpenAI-compatible endpoint: model='openai_like/…', api_base=…",
    "nlp_cloud": "another host of the model",
    "petals": "another host of the model",
    "oobabooga": "its OpenAI-compatible API: model='openai_like/…', api_base=…",
    "triton": "its OpenAI-compatible frontend: model='openai_like/…', api_base=…",
    "anthropic_text": "model='anthropic/…': the chat API",
}
#: Methods of LiteLLM's class `OpenAIChatCompletion` in whose place a program has put its own, by their names.
PATCHED: dict[str, Any] = {}
#: Any host with OpenAI's API.
COMPATIBLE = "openai_compatible"


class Target:
    """Where a call goes.

    Attributes:
        model: RiteLLM's name of the model.
        provider: LiteLLM's name of the provider.
        name: the model's name at the provider.
        api_base: the address, where RiteLLM does not know it by itself.
        api_key: the key, where RiteLLM does not know its variable.
    """

    __slots__ = ("api_base", "api_key", "model", "name", "provider")

    def __init__(
        self, model: str, provider: str, name: str, api_base: str | None = None, api_key: str | None = None
    ) -> None:
        self.model, self.provider, self.name = model, provider, name
        self.api_base, self.api_key = api_base, api_key


_known: dict[Any, Target] = {}


def resolve(model: Any, provider: str | None, api_base: str | None) -> Target:
    """Returns where a call goes.

    Raises:
        litellm.BadRequestError: nothing says which provider it is, or RiteLLM does not speak to it.
    """
    key = (model, provider, api_base)
    try:
        found = _known.get(key)
    except TypeError:
        found = None
    if found is None:
        found = _resolve(model, provider, api_base)
        # The addresses and keys of other providers come from the environment, which may change.
        if found.api_base is None:
            if len(_known) >= 4096:
                _known.clear()
            _known[key] = found
    return found


def _resolve(model: Any, provider: str | None, api_base: str | None) -> Target:
    from ritellm.compat import _names

    name, provider, key, base = _names.get_llm_provider(model, provider, api_base)
    ours = provider if provider in _SAME else _OTHER_NAMES.get(provider)
    if ours is not None:
        return Target(f"{ours}/{name}", provider, name)
    if provider in _REFUSED:
        from ritellm.compat import _exceptions

        text = f"RiteLLM's compat layer does not speak to {provider!r}; instead: {_REFUSED[provider]}"
        raise _exceptions.built("BadRequestError")(text, name, provider)
    return Target(f"{COMPATIBLE}/{name}", provider, name, base or "", key)
