"""Calls any LLM provider through one interface, OpenAI's format; made for programs with many concurrent calls.

>>> from ritellm import completion
>>> response = completion(model="openai/gpt-4o-mini", messages=[{"role": "user", "content": "Hi"}])  # doctest: +SKIP
>>> response.choices[0].message.content  # doctest: +SKIP
'Hello! How can I help you today?'
"""

from ritellm._core import Budget, Cache, CallRecord, Limit, Limits, Meta, Stream, __version__
from ritellm.client import (
    Client,
    aclose,
    acompletion,
    aembedding,
    arerank,
    aresponses,
    arun_tools,
    aspeech,
    close,
    completion,
    configure,
    embedding,
    metrics,
    on_call,
    rerank,
    responses,
    run_tools,
    speech,
    stats,
    stream_chunk_builder,
)
from ritellm.exceptions import (
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ClientDisconnectedError,
    ConflictError,
    ContentPolicyViolationError,
    ContextWindowExceededError,
    DiskFullError,
    IncompleteStreamError,
    InternalServerError,
    InvalidArgumentError,
    JobLocked,
    JobPaused,
    JournalError,
    MaxStepsError,
    NotFoundError,
    OutputIncompleteError,
    OutputRefusedError,
    OutputValidationError,
    PermissionDeniedError,
    RateLimitError,
    RiteLLMError,
    ServiceUnavailableError,
    StructuredOutputError,
    Timeout,
    UnexpectedCallError,
    UnprocessableEntityError,
    UnsupportedParamsError,
)
from ritellm.types import (
    Batch,
    BatchPage,
    BinaryResponse,
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    CompletionTokensDetails,
    Delta,
    Embedding,
    EmbeddingResponse,
    FileDeleted,
    FileObject,
    FilePage,
    Function,
    Message,
    Object,
    PromptTokensDetails,
    RerankResponse,
    RerankResult,
    Response,
    ResponseEvent,
    ResponseItem,
    ResponseUsage,
    ToolCall,
    Usage,
)

__all__ = [
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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ritellm._bulk import Job, bulk
    from ritellm._cost import cost
    from ritellm._http_errors import ErrorReply, http_error
    from ritellm._media import file, image
    from ritellm._structured import ParsedChatCompletion, ParsedResponse, ParsedStream
    from ritellm._tokens import TokenCount, acount_tokens, count_tokens, trim_messages
    from ritellm._tool_loops import ToolRunStream
    from ritellm._tool_runs import RunAnswer, RunCall, RunChunk, RunOutput, ToolRun, ToolStep
    from ritellm._tools import Tool, tool
    from ritellm._web import EventStream, ndjson, sse, while_connected
    from ritellm.resources import Batches, Files
    from ritellm.router import Deployment, Router

    batches: Batches
    files: Files

del TYPE_CHECKING


_LAZY = {
    "Deployment": "ritellm.router",
    "ErrorReply": "ritellm._http_errors",
    "EventStream": "ritellm._web",
    "Job": "ritellm._bulk",
    "ParsedChatCompletion": "ritellm._structured",
    "ParsedResponse": "ritellm._structured",
    "ParsedStream": "ritellm._structured",
    "Router": "ritellm.router",
    "RunAnswer": "ritellm._tool_runs",
    "RunCall": "ritellm._tool_runs",
    "RunChunk": "ritellm._tool_runs",
    "RunOutput": "ritellm._tool_runs",
    "Tool": "ritellm._tools",
    "ToolRun": "ritellm._tool_runs",
    "ToolRunStream": "ritellm._tool_loops",
    "TokenCount": "ritellm._tokens",
    "ToolStep": "ritellm._tool_runs",
    "bulk": "ritellm._bulk",
    "acount_tokens": "ritellm._tokens",
    "cost": "ritellm._cost",
    "count_tokens": "ritellm._tokens",
    "file": "ritellm._media",
    "http_error": "ritellm._http_errors",
    "image": "ritellm._media",
    "ndjson": "ritellm._web",
    "sse": "ritellm._web",
    "tool": "ritellm._tools",
    "trim_messages": "ritellm._tokens",
    "while_connected": "ritellm._web",
}


def __getattr__(name: str) -> object:
    # Imported on first use: most programs need none of these, and the imports take time.
    if name in ("batches", "files"):
        from ritellm.client import _default

        return getattr(_default, name)
    module = _LAZY.get(name)
    if name in ("dask", "otel", "ray", "spark"):
        from importlib import import_module

        return import_module(f"ritellm.{name}")
    if module is not None:
        from importlib import import_module

        value: object = getattr(import_module(module), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
