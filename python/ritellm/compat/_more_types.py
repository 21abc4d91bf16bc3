"""The types of embeddings, text completions, images, transcriptions and rankings."""

import time
from typing import Any, Literal

from pydantic import BaseModel, Field

from ritellm.compat._settings import map_finish_reason
from ritellm.compat._types import (
    BaseLiteLLMOpenAIResponseObject,
    OpenAIObject,
    Usage,
    _Hidden,
    _Items,
    _Members,
    _Optional,
    generate_id,
)

_HOME = "litellm.types.utils"


class Embedding(_Items, OpenAIObject):
    __module__ = _HOME
    embedding: Any = Field(default_factory=list)
    index: int
    object: Literal["embedding"]


class EmbeddingResponse(_Members, _Hidden, OpenAIObject):
    __module__ = _HOME
    model: str | None = None
    data: list[Any]
    object: Literal["list"]
    usage: Usage | None = None

    def __init__(
        self,
        model: str | None = None,
        usage: Any = None,
        response_ms: float | None = None,
        data: Any = None,
        hidden_params: Any = None,
        _response_headers: Any = None,
        **params: Any,
    ) -> None:
        if isinstance(usage, dict):
            usage = Usage(**usage)
        super().__init__(model=model, object="list", data=data or [], usage=usage or Usage())
        if hidden_params:
            self._hidden_params = hidden_params
        if _response_headers:
            self._response_headers = _response_headers
        if response_ms:
            self._response_ms = response_ms


class Logprobs(OpenAIObject):
    __module__ = _HOME
    text_offset: list[int] | None = None
    token_logprobs: list[float | None] | None = None
    tokens: list[str] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None


class TextChoices(_Members, OpenAIObject):
    __module__ = _HOME

    def __init__(
        self,
        finish_reason: str | None = None,
        index: int = 0,
        text: str | None = None,
        logprobs: Any = None,
        **params: Any,
    ) -> None:
        super().__init__(**params)
        self.finish_reason = map_finish_reason(finish_reason) if finish_reason else None
        self.index = index
        self.text = text
        self.logprobs = Logprobs(**logprobs) if isinstance(logprobs, dict) else logprobs


class TextCompletionResponse(_Members, _Hidden, OpenAIObject):
    __module__ = _HOME
    id: str
    object: str
    created: int
    model: str | None
    choices: list[TextChoices]
    usage: Usage | None

    def __init__(
        self,
        id: str | None = None,
        choices: Any = None,
        created: int | None = None,
        model: str | None = None,
        usage: Any = None,
        stream: bool = False,
        response_ms: float | None = None,
        object: str | None = None,
        **params: Any,
    ) -> None:
        made = [TextChoices()]
        if not stream and isinstance(choices, list):
            made = [TextChoices(**choice) if isinstance(choice, dict) else choice for choice in choices]
        if isinstance(usage, dict):
            usage = Usage(**usage) if usage else None
        super().__init__(
            id=generate_id() if id is None else id,
            object="text_completion.chunk" if stream else "text_completion",
            created=int(time.time()) if created is None else created,
            model=model,
            choices=made,
            usage=usage or Usage(),
            **params,
        )
        if response_ms:
            self._response_ms = response_ms


class ImageObject(_Members, OpenAIObject):
    __module__ = _HOME
    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None
    provider_specific_fields: dict[str, Any] | None = None

    def __init__(
        self,
        b64_json: str | None = None,
        url: str | None = None,
        revised_prompt: str | None = None,
        provider_specific_fields: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(b64_json=b64_json, url=url, revised_prompt=revised_prompt)
        if provider_specific_fields:
            self.provider_specific_fields = provider_specific_fields


class ImageUsageInputTokensDetails(BaseLiteLLMOpenAIResponseObject):
    __module__ = _HOME
    image_tokens: int
    text_tokens: int


class ImageUsage(BaseLiteLLMOpenAIResponseObject):
    __module__ = _HOME
    input_tokens: int
    input_tokens_details: ImageUsageInputTokensDetails
    output_tokens: int
    total_tokens: int


class ImageResponse(_Members, _Hidden, OpenAIObject):
    __module__ = _HOME
    created: int
    data: list[ImageObject] | None = None
    usage: ImageUsage | None = None
    background: Any = None
    quality: Any = None
    output_format: Any = None
    size: Any = None

    def __init__(
        self,
        created: int | None = None,
        data: Any = None,
        response_ms: float | None = None,
        usage: Any = None,
        hidden_params: Any = None,
        **kwargs: Any,
    ) -> None:
        images = [ImageObject(**(item if isinstance(item, dict) else item.model_dump())) for item in data or ()]
        empty = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
        if usage is None:
            usage = ImageUsage(
                input_tokens_details=ImageUsageInputTokensDetails(image_tokens=0, text_tokens=0), **empty
            )
        super().__init__(
            created=created or int(time.time()),
            data=images,
            usage=usage,
            **{name: kwargs.get(name) for name in ("background", "quality", "output_format", "size")},
        )
        self._hidden_params = hidden_params or {}


class TranscriptionResponse(_Members, _Optional, _Hidden, OpenAIObject):
    __module__ = _HOME
    text: str | None = None
    usage: Any = None
    languages: Any = None

    def __init__(self, text: str | None = None, usage: Any = None, languages: Any = None, **kwargs: Any) -> None:
        super().__init__(text=text, usage=usage, languages=languages, **kwargs)
        if languages is None:
            self._drop("languages")


class RerankResponse(_Members, _Hidden, BaseModel):
    __module__ = "litellm.types.rerank"
    id: str | None = None
    results: list[dict[str, Any]] | None = None
    meta: dict[str, Any] | None = None
