"""The types of embeddings, text completions, transcriptions and rankings."""

import time
from typing import Any, Literal

from pydantic import BaseModel, Field

from ritellm.compat._bases import Deletable, Items, Members, OpenAIObject, WithHiddenParams
from ritellm.compat._settings import map_finish_reason
from ritellm.compat._types import Usage, generate_id

_HOME = "litellm.types.utils"


class Embedding(Items, OpenAIObject):
    __module__ = _HOME
    embedding: Any = Field(default_factory=list)
    index: int
    object: Literal["embedding"]


class EmbeddingResponse(Members, WithHiddenParams, OpenAIObject):
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


class TextChoices(Members, OpenAIObject):
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


class TextCompletionResponse(Members, WithHiddenParams, OpenAIObject):
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


class TranscriptionResponse(Members, Deletable, WithHiddenParams, OpenAIObject):
    __module__ = _HOME
    text: str | None = None
    usage: Any = None
    languages: Any = None

    def __init__(self, text: str | None = None, usage: Any = None, languages: Any = None, **kwargs: Any) -> None:
        super().__init__(text=text, usage=usage, languages=languages, **kwargs)
        if languages is None:
            self._drop("languages")


class RerankResponse(Members, WithHiddenParams, BaseModel):
    __module__ = "litellm.types.rerank"
    id: str | None = None
    results: list[dict[str, Any]] | None = None
    meta: dict[str, Any] | None = None
