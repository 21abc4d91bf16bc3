"""The public names: a change here is a change that users see."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest

import ritellm
import ritellm.exceptions
import ritellm.types

NAMES = [
    "APIConnectionError",
    "APIResponseValidationError",
    "APIStatusError",
    "AuthenticationError",
    "BadRequestError",
    "Batch",
    "BatchPage",
    "BinaryResponse",
    "ChatCompletion",
    "ChatCompletionChunk",
    "Choice",
    "Client",
    "ConflictError",
    "ContentPolicyViolationError",
    "ContextWindowExceededError",
    "Delta",
    "Embedding",
    "EmbeddingResponse",
    "FileDeleted",
    "FileObject",
    "FilePage",
    "Function",
    "IncompleteStreamError",
    "InternalServerError",
    "InvalidArgumentError",
    "Message",
    "Meta",
    "NotFoundError",
    "Object",
    "PermissionDeniedError",
    "RateLimitError",
    "RerankResponse",
    "RerankResult",
    "Response",
    "ResponseEvent",
    "RiteLLMError",
    "ServiceUnavailableError",
    "Stream",
    "Timeout",
    "ToolCall",
    "UnprocessableEntityError",
    "UnsupportedParamsError",
    "Usage",
    "__version__",
    "aclose",
    "acompletion",
    "aembedding",
    "arerank",
    "aresponses",
    "aspeech",
    "batches",
    "close",
    "completion",
    "embedding",
    "files",
    "rerank",
    "responses",
    "speech",
    "stats",
    "stream_chunk_builder",
]


def test_the_list() -> None:
    assert sorted(ritellm.__all__) == NAMES


def test_every_name_is_there() -> None:
    for name in NAMES:
        assert getattr(ritellm, name) is not None


def test_nothing_else_looks_public() -> None:
    public = {
        name for name, value in vars(ritellm).items() if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public <= set(NAMES)


@pytest.mark.parametrize("module", [ritellm.exceptions, ritellm.types])
def test_whatever_these_modules_offer_the_package_offers(module: ModuleType) -> None:
    for name in module.__all__:
        assert getattr(ritellm, name) is getattr(module, name)


def test_the_version_is_the_distribution_s() -> None:
    metadata = importlib.import_module("importlib.metadata")
    assert ritellm.__version__ == metadata.version("ritellm")


def test_public_things_are_documented_and_say_where_they_live() -> None:
    for name in NAMES:
        thing = getattr(ritellm, name)
        if name != "__version__":
            assert thing.__doc__, name
            assert thing.__module__.startswith("ritellm"), name


def test_completion_and_acompletion_look_like_functions() -> None:
    inspect = importlib.import_module("inspect")
    assert inspect.iscoroutinefunction(ritellm.acompletion)
    assert not inspect.iscoroutinefunction(ritellm.completion)
    assert list(inspect.signature(ritellm.completion).parameters)[:2] == ["model", "messages"]
