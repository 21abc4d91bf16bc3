"""The types of numbers of tokens."""

from typing import Any, ClassVar

from pydantic import BaseModel, PrivateAttr

from ritellm.compat._bases import HOME, Deletable, Items, Members, OpenAIObject


class PromptTokensDetails(OpenAIObject):
    __module__ = HOME
    audio_tokens: int | None = None
    cached_tokens: int | None = None


class CompletionTokensDetails(OpenAIObject):
    __module__ = HOME
    accepted_prediction_tokens: int | None = None
    audio_tokens: int | None = None
    reasoning_tokens: int | None = None
    rejected_prediction_tokens: int | None = None


class CompletionTokensDetailsWrapper(Members, CompletionTokensDetails):
    __module__ = HOME
    text_tokens: int | None = None
    image_tokens: int | None = None
    video_tokens: int | None = None


class CacheCreationTokenDetails(BaseModel):
    __module__ = HOME
    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


_ABSENT_OF_PROMPT = (
    "character_count",
    "image_count",
    "video_length_seconds",
    "audio_length_seconds",
    "query_count",
    "web_search_requests",
    "google_maps_grounding_requests",
    "tool_use_tokens",
    "cache_creation_token_details",
)


class PromptTokensDetailsWrapper(Members, Deletable, PromptTokensDetails):
    __module__ = HOME
    text_tokens: int | None = None
    image_tokens: int | None = None
    video_tokens: int | None = None
    web_search_requests: int | None = None
    google_maps_grounding_requests: int | None = None
    tool_use_tokens: int | None = None
    character_count: int | None = None
    image_count: int | None = None
    video_length_seconds: float | None = None
    audio_length_seconds: float | None = None
    query_count: int | None = None
    cache_write_tokens: int | None = None
    cache_creation_tokens: int | None = None
    cache_creation_token_details: CacheCreationTokenDetails | None = None

    #: Two names of one number, OpenAI's and Anthropic's.
    _SAME: ClassVar[dict[str, str]] = {
        "cache_write_tokens": "cache_creation_tokens",
        "cache_creation_tokens": "cache_write_tokens",
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        namespace = self.__dict__
        written = namespace["cache_write_tokens"]
        if written is None:
            written = namespace["cache_creation_tokens"]
        if written is None:
            written = kwargs.get("cache_creation_input_tokens")
        if written is None:
            self._drop("cache_write_tokens", "cache_creation_tokens")
        else:
            self.cache_write_tokens = written
        self._drop(*(name for name in _ABSENT_OF_PROMPT if namespace.get(name) is None))

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        same = self._SAME.get(name)
        if same is not None:
            super().__setattr__(same, value)


class ServerToolUse(Items, BaseModel):
    __module__ = HOME
    web_search_requests: int | None = None
    tool_search_requests: int | None = None


class Usage(Members, Deletable, OpenAIObject):
    __module__ = HOME
    completion_tokens: int
    prompt_tokens: int
    total_tokens: int
    completion_tokens_details: CompletionTokensDetailsWrapper | None = None
    prompt_tokens_details: PromptTokensDetailsWrapper | None = None
    server_tool_use: ServerToolUse | None = None
    cost: float | None = None
    _cache_creation_input_tokens: int = PrivateAttr(0)
    _cache_read_input_tokens: int = PrivateAttr(0)

    def __init__(
        self,
        prompt_tokens: int | None = None,
        completion_tokens: int | None = None,
        total_tokens: int | None = None,
        reasoning_tokens: int | None = None,
        prompt_tokens_details: Any = None,
        completion_tokens_details: Any = None,
        server_tool_use: Any = None,
        cost: float | None = None,
        **params: Any,
    ) -> None:
        super().__init__(
            prompt_tokens=prompt_tokens or 0,
            completion_tokens=completion_tokens or 0,
            total_tokens=total_tokens or 0,
            completion_tokens_details=_completion_details(
                completion_tokens, reasoning_tokens, completion_tokens_details
            ),
            prompt_tokens_details=_prompt_details(prompt_tokens_details, params),
        )
        if server_tool_use is None:
            self._drop("server_tool_use")
        else:
            self.server_tool_use = (
                ServerToolUse(**server_tool_use) if isinstance(server_tool_use, dict) else server_tool_use
            )
        if cost is None:
            self._drop("cost")
        else:
            self.cost = cost
        written, read = params.get("cache_creation_input_tokens"), params.get("cache_read_input_tokens")
        hit = params.get("prompt_cache_hit_tokens")
        if isinstance(written, int):
            self._cache_creation_input_tokens = written
        if isinstance(hit, int) or isinstance(read, int):
            self._cache_read_input_tokens = hit if isinstance(hit, int) else read  # type: ignore[assignment]
        for name, value in params.items():
            setattr(self, name, value)


def _completion_details(completion: Any, reasoning: Any, details: Any) -> Any:
    """Returns the classes of an answer's tokens, with those of its reasoning if they are given on their own."""
    if isinstance(details, dict):
        details = CompletionTokensDetailsWrapper(**details) if details else None
    elif isinstance(details, BaseModel) and not isinstance(details, CompletionTokensDetailsWrapper):
        details = CompletionTokensDetailsWrapper(**details.model_dump())
    if not reasoning:
        return details or None
    if details is None:
        details = CompletionTokensDetailsWrapper()
    if details.reasoning_tokens is None:
        details.reasoning_tokens = reasoning
    if details.text_tokens is None and completion is not None:
        others = (details.image_tokens or 0) + (details.audio_tokens or 0)
        details.text_tokens = max(0, completion - reasoning - others)
    return details


def _prompt_details(details: Any, params: dict[str, Any]) -> Any:
    """Returns the classes of a prompt's tokens, with those that Anthropic and DeepSeek report beside them."""
    if isinstance(details, dict):
        details = PromptTokensDetailsWrapper(**details) if details else None
    elif isinstance(details, BaseModel) and not isinstance(details, PromptTokensDetailsWrapper):
        details = PromptTokensDetailsWrapper(**details.model_dump())
    elif not details:
        details = None
    for source, name in (
        ("prompt_cache_hit_tokens", "cached_tokens"),
        ("cache_read_input_tokens", "cached_tokens"),
        ("cache_creation_input_tokens", "cache_write_tokens"),
    ):
        value = params.get(source)
        if isinstance(value, int):
            if details is None:
                details = PromptTokensDetailsWrapper(**{name: value})
            else:
                setattr(details, name, value)
    return details
