"""Tests of the public names: a change here is visible to users."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

import ritellm
import ritellm.exceptions
import ritellm.types
from ritellm import _core

NAMES = [
    "APIConnectionError",
    "APIResponseValidationError",
    "APIStatusError",
    "AuthenticationError",
    "BadRequestError",
    "Batch",
    "BatchPage",
    "BinaryResponse",
    "Budget",
    "BudgetExceededError",
    "Cache",
    "CallRecord",
    "ChatCompletion",
    "ChatCompletionChunk",
    "Choice",
    "Client",
    "ClientDisconnectedError",
    "CompletionTokensDetails",
    "ConflictError",
    "ContentPolicyViolationError",
    "ContextWindowExceededError",
    "Delta",
    "Deployment",
    "DiskFullError",
    "Embedding",
    "EmbeddingResponse",
    "ErrorReply",
    "EventStream",
    "FileDeleted",
    "FileObject",
    "FilePage",
    "Function",
    "IncompleteStreamError",
    "InternalServerError",
    "InvalidArgumentError",
    "Job",
    "JobLocked",
    "JobPaused",
    "JournalError",
    "Limit",
    "Limits",
    "MaxStepsError",
    "Message",
    "Meta",
    "NotFoundError",
    "Object",
    "OutputIncompleteError",
    "OutputRefusedError",
    "OutputValidationError",
    "ParsedChatCompletion",
    "ParsedResponse",
    "ParsedStream",
    "PermissionDeniedError",
    "PromptTokensDetails",
    "RateLimitError",
    "RerankResponse",
    "RerankResult",
    "Response",
    "ResponseEvent",
    "ResponseItem",
    "ResponseUsage",
    "RiteLLMError",
    "Router",
    "RunAnswer",
    "RunCall",
    "RunChunk",
    "RunOutput",
    "ServiceUnavailableError",
    "Stream",
    "StructuredOutputError",
    "Timeout",
    "TokenCount",
    "Tool",
    "ToolCall",
    "ToolRun",
    "ToolRunStream",
    "ToolStep",
    "UnexpectedCallError",
    "UnprocessableEntityError",
    "UnsupportedParamsError",
    "Usage",
    "__version__",
    "aclose",
    "acompletion",
    "acount_tokens",
    "aembedding",
    "arerank",
    "aresponses",
    "arun_tools",
    "aspeech",
    "batches",
    "bulk",
    "close",
    "completion",
    "configure",
    "cost",
    "count_tokens",
    "embedding",
    "file",
    "files",
    "http_error",
    "image",
    "metrics",
    "ndjson",
    "on_call",
    "rerank",
    "responses",
    "run_tools",
    "speech",
    "sse",
    "stats",
    "stream_chunk_builder",
    "tool",
    "trim_messages",
    "while_connected",
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
    assert inspect.iscoroutinefunction(ritellm.acompletion)
    assert not inspect.iscoroutinefunction(ritellm.completion)
    assert list(inspect.signature(ritellm.completion).parameters)[:2] == ["model", "messages"]


def test_signatures_of_the_native_client_list_its_settings() -> None:
    source = Path(__file__).parents[1]
    table = (source / "src/python/arguments/settings.rs").read_text()
    settings = re.findall(r'^    setting\("(\w+)"', table, re.MULTILINE)
    assert len(settings) > 20
    assert list(inspect.signature(_core.Client).parameters) == settings
    stub = ast.parse((source / "python/ritellm/_core.pyi").read_text())
    client = next(node for node in stub.body if isinstance(node, ast.ClassDef) and node.name == "Client")
    new = next(node for node in client.body if isinstance(node, ast.FunctionDef) and node.name == "__new__")
    assert [argument.arg for argument in new.args.kwonlyargs] == settings
    arguments = (inspect.getdoc(ritellm.Client) or "").partition("Args:")[2].partition("Raises:")[0]
    documented = re.findall(r"^    (\w+): ", arguments, re.MULTILINE)
    assert sorted(documented) == sorted(settings)


def test_settings_of_the_connections_are_listed() -> None:
    """`configure` gives a client new connections if one of these changes; all that `client.settings` holds is one."""
    table = (Path(__file__).parents[1] / "src/python/arguments/settings.rs").read_text()
    rows = re.findall(r'^    setting\(("\w+"|[A-Z_]+), (.*?)(?=^    setting\(|^\];)', table, re.MULTILINE | re.DOTALL)
    fields = re.compile(r"client\.(settings|ca_bundle|verify)\b")
    listed = re.search(r"OF_CONNECTIONS: &\[&str\] = &\[(.*?)\];", table, re.DOTALL)
    assert listed is not None and len(rows) > 30
    assert [name for name, read in rows if fields.search(read)] == re.findall(r'"\w+"|[A-Z_]+', listed[1])
