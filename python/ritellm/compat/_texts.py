"""Text completions, which are chat completions of one message: RiteLLM's core has no endpoint of their own."""

from __future__ import annotations

from typing import Any

from ritellm.compat import _arguments, _exceptions
from ritellm.compat._more_types import TextCompletionResponse

_ORDER = [
    "best_of",
    "echo",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_tokens",
    "n",
    "presence_penalty",
    "stop",
    "stream",
]
#: LiteLLM's providers of the old endpoint, with what to use instead.
_LEGACY = ("text-completion-", "azure_text")


def _prompts(prompt: Any, model: Any, kwargs: dict[str, Any]) -> list[str]:
    for name in (model, kwargs.get("custom_llm_provider")):
        if isinstance(name, str) and name.startswith(_LEGACY):
            raise _exceptions.built("BadRequestError")(
                f"RiteLLM has no endpoint for completions of texts, which {name!r} means: name the chat model, such as "
                "'openai/…', and the text is sent as a message",
                model,
                name.partition("/")[0],
            )
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt, list) and prompt and all(isinstance(text, str) for text in prompt):
        return prompt
    raise _exceptions.built("BadRequestError")(
        f"prompt is of type {type(prompt).__name__}: a text or a list of texts would be right", model, ""
    )


def _given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    given = _arguments.Given({**dict(zip(_ORDER, args, strict=False)), **kwargs})
    for name in ("best_of", "echo", "suffix"):
        given.pop(name, None)
    return given


def response_of(answers: list[Any]) -> Any:
    """Returns the answers to several prompts as one response."""
    first = answers[0]
    choices: list[dict[str, Any]] = []
    usage: dict[str, int] = {}
    for answer in answers:
        for choice in answer.choices:
            choices.append(
                {
                    "text": choice.message.content,
                    "index": len(choices),
                    "finish_reason": choice.finish_reason,
                    "logprobs": None,
                }
            )
        for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
            usage[name] = usage.get(name, 0) + (getattr(answer.usage, name) or 0)
    whole: Any = first.usage if len(answers) == 1 else usage
    made = TextCompletionResponse(id=first.id, created=first.created, model=first.model, choices=choices, usage=whole)
    made._hidden_params = first._hidden_params
    return made


def run(prompt: Any, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Completes texts."""
    from ritellm.compat._calls import chat
    from ritellm.compat._streams import TextCompletionStreamWrapper

    given = _given(args, kwargs)
    texts = _prompts(prompt, model, given)
    answers = []
    for text in texts:
        answer = chat("text_completion", model, [{"role": "user", "content": text}], given)
        if given.get("stream"):
            return TextCompletionStreamWrapper(answer, model)
        answers.append(answer)
    return response_of(answers)


async def arun(prompt: Any, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Completes texts on an event loop."""
    from ritellm.compat._calls import achat
    from ritellm.compat._streams import TextCompletionStreamWrapper

    given = _given(args, kwargs)
    texts = _prompts(prompt, model, given)
    answers = []
    for text in texts:
        answer = await achat("atext_completion", model, [{"role": "user", "content": text}], given)
        if given.get("stream"):
            return TextCompletionStreamWrapper(answer, model)
        answers.append(answer)
    return response_of(answers)
