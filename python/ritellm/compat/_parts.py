"""The tokens of a usage by their kind."""

from __future__ import annotations

from typing import Any

__all__ = ["Prompt", "billed_prompt", "count", "parts_of_completion", "parts_of_prompt"]


def count(value: Any) -> int:
    """Returns a number of tokens, 0 if it is none."""
    return value if isinstance(value, int) and value > 0 else 0


class Prompt:
    """The tokens of a prompt by their kind."""

    __slots__ = (
        "audio",
        "audio_seconds",
        "cached",
        "cached_audio",
        "cached_image",
        "cached_text",
        "characters",
        "image",
        "images",
        "lifetimes",
        "queries",
        "text",
        "video",
        "video_seconds",
        "written",
    )

    def __init__(self, text: int) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)
        self.text: int = text
        self.lifetimes: Any = None


def parts_of_prompt(usage: Any) -> Prompt:
    """Returns the tokens of a usage's prompt by kind, those that the provider tells."""
    details = usage.prompt_tokens_details
    parts: Any = Prompt(0)

    def told(name: str) -> Any:
        return getattr(details, name, None) or 0

    parts.cached = told("cached_tokens")
    parts.written = told("cache_write_tokens") or told("cache_creation_tokens")
    parts.lifetimes = getattr(details, "cache_creation_token_details", None) or None
    kinds = getattr(details, "cached_tokens_details", None)

    def kind(name: str) -> int:
        value = kinds.get(name) if isinstance(kinds, dict) else getattr(kinds, name, None)
        return value if isinstance(value, int) else 0

    parts.cached_audio = min(kind("audio_tokens"), parts.cached)
    parts.cached_text = min(kind("text_tokens"), parts.cached - parts.cached_audio)
    parts.cached_image = min(kind("image_tokens"), parts.cached - parts.cached_audio - parts.cached_text)
    parts.text = max(told("text_tokens") - parts.cached_text, 0)
    parts.audio = max(told("audio_tokens") - parts.cached_audio, 0)
    parts.image = max(told("image_tokens") - parts.cached_image, 0)
    parts.video = count(getattr(details, "video_tokens", 0))
    parts.characters, parts.images = told("character_count"), told("image_count")
    parts.video_seconds, parts.audio_seconds = float(told("video_length_seconds")), float(told("audio_length_seconds"))
    parts.queries = count(getattr(details, "query_count", 0))
    return parts  # type: ignore[no-any-return]


def billed_prompt(usage: Any) -> Prompt:
    """Returns the tokens of a prompt so that none of them counts twice."""
    if not usage.prompt_tokens_details:
        parts: Any = Prompt(usage.prompt_tokens)
    else:
        parts = parts_of_prompt(usage)
    total = usage.prompt_tokens
    told = parts.text + parts.cached + parts.audio + parts.written + parts.image + parts.video
    if (parts.cached > 0 or parts.written > 0) and told > total:
        # Some providers count what was cached in the text, or in the audio, as well.
        left = max(total - parts.cached - parts.written, 0)
        parts.audio = min(parts.audio, left)
        parts.image = min(parts.image, left - parts.audio)
        parts.video = min(parts.video, left - parts.audio - parts.image)
        parts.text = left - parts.audio - parts.image - parts.video
    elif parts.text == 0 and parts.images == 0:
        parts.text = max(total - parts.cached - parts.audio - parts.written - parts.image - parts.video, 0)
    return parts  # type: ignore[no-any-return]


def parts_of_completion(usage: Any) -> dict[str, int]:
    """Returns the tokens of a usage's answer by kind, those that the provider tells."""
    details = usage.completion_tokens_details
    parts = {name: getattr(details, f"{name}_tokens", None) or 0 for name in ("audio", "text", "reasoning", "image")}
    parts["video"] = count(getattr(details, "video_tokens", 0))
    others = parts["audio"] + parts["image"] + parts["video"]
    beyond = max(parts["text"] + parts["reasoning"] + others - usage.completion_tokens, 0)
    # Some providers count reasoning in the text as well.
    parts["text"] -= min(parts["reasoning"], parts["text"], beyond)
    return parts
