"""The types of pictures, which extend those of openai where it is installed, as LiteLLM's do.

To import openai takes seconds: so they are a module of their own, which is imported when a program touches one of them.
"""

import time
from typing import Any

from pydantic import BaseModel

from ritellm.compat._bases import BaseLiteLLMOpenAIResponseObject, Members, OpenAIObject, WithHiddenParams

try:
    from openai.types.image import Image as _Image
except ImportError:
    _Image = BaseModel  # type: ignore[assignment,misc,unused-ignore]

_HOME = "litellm.types.utils"


class ImageObject(Members, OpenAIObject, _Image):
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


class ImageResponse(Members, WithHiddenParams, OpenAIObject):
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
