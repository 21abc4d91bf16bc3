"""What of LiteLLM is here: each public name, where LiteLLM has it, and which module of ours has it.

This is the one table of it: the finder looks names up in it, `ritellm compat check` compares programs with it, and docs/compat.md
is made from it.
"""

from __future__ import annotations

#: LiteLLM's module, ours, and the names, which are also names of ``litellm`` itself.
_TABLE: tuple[tuple[str, str, str], ...] = (
    (
        "litellm.main",
        "_calls",
        "completion acompletion text_completion atext_completion embedding aembedding moderation amoderation",
    ),
    (
        "litellm.main",
        "_media",
        "transcription atranscription speech aspeech image_generation aimage_generation image_edit aimage_edit "
        "image_variation aimage_variation rerank arerank",
    ),
    (
        "litellm.main",
        "_batches",
        "completion_with_retries acompletion_with_retries batch_completion abatch_completion batch_completion_models "
        "batch_completion_models_all_responses",
    ),
    ("litellm.responses.main", "_responses", "responses aresponses"),
    (
        "litellm.responses.streaming_iterator",
        "_responses",
        "BaseResponsesAPIStreamingIterator ResponsesAPIStreamingIterator SyncResponsesAPIStreamingIterator",
    ),
    (
        "litellm.files.main",
        "_stored",
        "create_file acreate_file file_content afile_content file_retrieve afile_retrieve",
    ),
    ("litellm.anthropic_interface.messages", "_messages", "acreate create"),
    ("litellm.main", "_custom", "mock_completion"),
    ("litellm.llms.custom_llm", "_custom", "CustomLLM CustomLLMError"),
    ("litellm.main", "_streams", "stream_chunk_builder"),
    (
        "litellm.litellm_core_utils.streaming_handler",
        "_streams",
        "CustomStreamWrapper TextCompletionStreamWrapper",
    ),
    (
        "litellm.types.utils",
        "_types",
        "ModelResponseBase ModelResponse ModelResponseStream Choices StreamingChoices Message Delta Usage Function FunctionCall "
        "ChatCompletionMessageToolCall ChatCompletionDeltaToolCall ChatCompletionAudioResponse TopLogprob "
        "ChatCompletionTokenLogprob ChoiceLogprobs PromptTokensDetails PromptTokensDetailsWrapper CompletionTokensDetails "
        "CompletionTokensDetailsWrapper CacheCreationTokenDetails ServerToolUse generate_id",
    ),
    (
        "litellm.types.utils",
        "_more_types",
        "Embedding EmbeddingResponse TextCompletionResponse TextChoices Logprobs TranscriptionResponse",
    ),
    ("litellm.types.utils", "_image_types", "ImageObject ImageUsage ImageUsageInputTokensDetails ImageResponse"),
    (
        "litellm.types.utils",
        "_plain_types",
        "CostPerToken GenericStreamingChunk ModelInfo CallTypes StandardLoggingPayload",
    ),
    ("litellm.types.llms.base", "_types", "BaseLiteLLMOpenAIResponseObject HiddenParams LiteLLMPydanticObjectBase"),
    ("litellm.types.rerank", "_more_types", "RerankResponse"),
    (
        "litellm.types.llms.openai",
        "_responses_types",
        "ResponsesAPIResponse ResponseAPIUsage InputTokensDetails OutputTokensDetails ResponsesAPIStreamEvents "
        "ResponsesAPIStreamingResponse ResponseCreatedEvent ResponseInProgressEvent ResponseCompletedEvent ResponseFailedEvent "
        "ResponseIncompleteEvent ResponsePartAddedEvent ReasoningSummaryTextDeltaEvent ReasoningSummaryTextDoneEvent "
        "OutputItemAddedEvent OutputItemDoneEvent ContentPartAddedEvent ContentPartDoneEvent OutputTextDeltaEvent "
        "OutputTextAnnotationAddedEvent OutputTextDoneEvent RefusalDeltaEvent RefusalDoneEvent FunctionCallArgumentsDeltaEvent "
        "FunctionCallArgumentsDoneEvent FileSearchCallInProgressEvent FileSearchCallSearchingEvent FileSearchCallCompletedEvent "
        "WebSearchCallInProgressEvent WebSearchCallSearchingEvent WebSearchCallCompletedEvent ErrorEvent GenericEvent",
    ),
    (
        "litellm.types.responses.main",
        "_responses_types",
        "GenericResponseOutputItem OutputFunctionToolCall OutputText GenericResponseOutputItemContentAnnotation",
    ),
    (
        "litellm.types.llms.openai",
        "_openai_types",
        "AllMessageValues AllPromptValues AllEmbeddingInputValues ChatCompletionAnnotation ChatCompletionAnnotationURLCitation "
        "ChatCompletionAssistantMessage ChatCompletionAssistantToolCall ChatCompletionAudioObject ChatCompletionAudioParam "
        "ChatCompletionCachedContent ChatCompletionDeltaChunk ChatCompletionDeveloperMessage ChatCompletionDocumentObject "
        "ChatCompletionFileObject ChatCompletionFileObjectFile ChatCompletionFunctionMessage ChatCompletionImageObject "
        "ChatCompletionImageUrlObject ChatCompletionModality ChatCompletionNamedToolChoiceParam "
        "ChatCompletionPredictionContentParam ChatCompletionReasoningItem ChatCompletionRedactedThinkingBlock "
        "ChatCompletionRequest ChatCompletionResponseMessage ChatCompletionSystemMessage ChatCompletionTextObject "
        "ChatCompletionThinkingBlock ChatCompletionToolCallChunk ChatCompletionToolCallFunctionChunk "
        "ChatCompletionToolChoiceFunctionParam ChatCompletionToolChoiceObjectParam ChatCompletionToolChoiceValues "
        "ChatCompletionToolMessage ChatCompletionToolParam ChatCompletionToolParamFunctionChunk ChatCompletionUsageBlock "
        "ChatCompletionUserMessage ChatCompletionVideoObject ChatCompletionVideoUrlObject ImageURLListItem ImageURLObject "
        "OpenAIChatCompletionAssistantMessage OpenAIChatCompletionFinishReason OpenAIChatCompletionSystemMessage "
        "OpenAIChatCompletionTextObject OpenAIChatCompletionToolParam OpenAIChatCompletionUserMessage OpenAIMessageContent "
        "OpenAIMessageContentListBlock OpenAIWebSearchOptions ResponseFunctionToolCall ResponseInputParam "
        "ResponsesAPIOptionalRequestParams ToolChoice ToolParam Reasoning ResponseText WebSearchOptions OpenAIFileObject",
    ),
    ("litellm.types.llms.anthropic", "_openai_types", "AnthropicThinkingParam"),
    (
        "litellm.exceptions",
        "_exceptions",
        "APIConnectionError APIError APIResponseValidationError AuthenticationError BadGatewayError BadRequestError "
        "BudgetExceededError ContentPolicyViolationError ContextWindowExceededError ImageFetchError InternalServerError "
        "InvalidRequestError JSONSchemaValidationError NotFoundError OpenAIError PermissionDeniedError RateLimitError "
        "ServiceUnavailableError Timeout UnprocessableEntityError UnsupportedParamsError RejectedRequestError "
        "MockException LiteLLMUnknownProvider MidStreamFallbackError BlockedPiiEntityError GuardrailRaisedException "
        "ModelNotMappedError PaymentRequiredError LITELLM_EXCEPTION_TYPES",
    ),
    ("litellm.llms.azure.common_utils", "_exceptions", "AzureOpenAIError"),
    ("litellm.types.router", "_exceptions", "RouterRateLimitError RouterErrors"),
    ("litellm.integrations.custom_logger", "_callbacks", "CustomLogger"),
    ("litellm.litellm_core_utils.core_helpers", "_settings", "map_finish_reason"),
    (
        "litellm._logging",
        "_logging",
        "verbose_logger verbose_proxy_logger verbose_router_logger print_verbose _disable_debugging",
    ),
    ("litellm._logging", "_logging", "_turn_on_debug _turn_on_json handler"),
    ("litellm.litellm_core_utils.litellm_logging", "_logging", "Logging _extract_response_obj_and_hidden_params"),
    ("litellm.utils", "_logging", "client"),
    # The facts: providers, models, prices, tokens.
    ("litellm.types.utils", "_providers", "LlmProviders"),
    (
        "litellm.litellm_core_utils.get_llm_provider_logic",
        "_names",
        "get_llm_provider provider_list openai_compatible_providers openai_compatible_endpoints",
    ),
    (
        "litellm.utils",
        "_models",
        "model_cost model_list models_by_provider register_model get_model_info get_max_tokens",
    ),
    (
        "litellm.utils",
        "_capabilities",
        "supports_assistant_prefill supports_audio_input supports_audio_output supports_computer_use "
        "supports_embedding_image_input supports_function_calling supports_httpx_timeout supports_native_streaming "
        "supports_none_reasoning_effort supports_parallel_function_calling supports_pdf_input supports_prompt_caching "
        "supports_reasoning supports_response_schema supports_system_messages supports_tool_choice supports_url_context "
        "supports_video_input supports_vision supports_web_search",
    ),
    ("litellm.utils", "_environment", "validate_environment get_valid_models check_valid_key get_api_base"),
    ("litellm.utils", "_parameters", "get_optional_params"),
    ("litellm.litellm_core_utils.get_supported_openai_params", "_parameters", "get_supported_openai_params"),
    (
        "litellm.cost_calculator",
        "_costs",
        "completion_cost cost_per_token response_cost_calculator get_response_cost_from_hidden_params",
    ),
    (
        "litellm.utils",
        "_tokens",
        "token_counter encode decode encoding create_pretrained_tokenizer create_tokenizer trim_messages",
    ),
    ("litellm.router", "_router", "Router"),
    ("litellm.types.router", "_router_types", "Deployment LiteLLM_Params RetryPolicy AllowedFailsPolicy"),
    (
        "litellm.caching.caching",
        "_cache",
        "Cache LiteLLMCacheType enable_cache disable_cache update_cache InMemoryCache DualCache",
    ),
    ("litellm.budget_manager", "_budget", "BudgetManager"),
    ("litellm.llms.openai.openai", "_inside", "OpenAIChatCompletion"),
    ("litellm.llms.anthropic.chat.transformation", "_inside", "AnthropicConfig"),
    ("litellm.llms.anthropic.common_utils", "_inside", "AnthropicError"),
    ("litellm.integrations.opik.opik", "_inside", "OpikLogger"),
    ("litellm._version", "_settings", "version"),
)

#: Modules that a name of ``litellm`` is the same as.
_MORE_MODULES = (
    "litellm",
    "litellm.caching",
    "litellm.types",
    "litellm.types.llms",
    "litellm.types.responses",
    "litellm.types.integrations",
    "litellm.integrations",
    "litellm.llms",
    "litellm.llms.anthropic",
    "litellm.llms.anthropic.chat",
    "litellm.llms.azure",
    "litellm.llms.openai",
    "litellm.llms.openai.common_utils",
    "litellm.litellm_core_utils",
    "litellm.litellm_core_utils.prompt_templates",
    "litellm.litellm_core_utils.prompt_templates.factory",
    "litellm.litellm_core_utils.token_counter",
    "litellm.litellm_core_utils.exception_mapping_utils",
    "litellm.litellm_core_utils.streaming_chunk_builder_utils",
    "litellm.litellm_core_utils.llm_response_utils",
    "litellm.responses",
    "litellm.files",
    "litellm.images",
    "litellm.images.main",
    "litellm.batch_completion",
    "litellm.batch_completion.main",
    "litellm.anthropic_interface",
    "litellm.constants",
    "litellm.integrations.opik",
    "litellm.rerank_api",
    "litellm.rerank_api.main",
    "litellm.timeout",
)

#: Names that LiteLLM's modules have because they import them, and where from. Programs take them, ``dir`` does not list them here.
IMPORTED = {
    name: home
    for home, names_of in (
        ("pydantic", "BaseModel ConfigDict Field PrivateAttr field_serializer field_validator model_validator"),
        ("openai", "AsyncOpenAI OpenAI"),
        ("typing", "Any Callable Dict List Literal Mapping Optional Tuple Type Union cast"),
        ("asyncio", "asyncio"),
        ("datetime", "datetime"),
        ("httpx", "httpx"),
        ("inspect", "inspect"),
        ("json", "json"),
        ("litellm", "litellm"),
        ("openai", "openai"),
        ("os", "os"),
        ("tiktoken", "tiktoken"),
        ("time", "time"),
    )
    for name in names_of.split()
}

_homes: dict[str, dict[str, tuple[str, str]]] = {}
_flat: dict[str, tuple[str, str]] = {}
for _home, _ours, _names in _TABLE:
    for _name in _names.split():
        _place = (_ours, _name)
        _homes.setdefault(_home, {})[_name] = _place
        _flat.setdefault(_name, _place)

#: LiteLLM's module paths.
MODULES = frozenset({*_homes, *_MORE_MODULES})
#: Packages whose name is also that of a function of ``litellm``.
SHADOWED = ("litellm.responses", "litellm.batch_completion")
#: Modules that have their own names only, and in whose ``__dict__`` programs look.
STRICT = frozenset({"litellm.exceptions"})
#: Names that the layer itself assigns anew.
VARIABLES = frozenset({"cost_calculator"})
#: Exceptions that can be reached but are not listed by ``dir``: aider walks ``dir(litellm)`` and stops at one it does not know.
UNLISTED = frozenset(
    [
        "AzureOpenAIError",
        "AnthropicError",
        "CustomLLMError",
        "MidStreamFallbackError",
        "BlockedPiiEntityError",
        "ModelNotMappedError",
        "PaymentRequiredError",
        "RejectedRequestError",
    ]
)
# Names of a module that are no names of `litellm`.
_OWN = frozenset({"create", "acreate", "_extract_response_obj_and_hidden_params", "handler", "version", "client"})


def place(module: str, name: str) -> tuple[str, str] | None:
    """Returns our module and attribute for a name of one of LiteLLM's modules."""
    own = _homes.get(module)
    if own is not None and name in own:
        return own[name]
    # LiteLLM's modules also show what they import, and programs take names from any of them.
    if module in STRICT or (module == "litellm" and name in _OWN):
        return None
    found = _flat.get(name)
    if found is None and name in IMPORTED and f"{module}.{name}" not in MODULES:
        return "_imported", name
    return found


def names(module: str) -> frozenset[str]:
    """Returns the names that ``dir`` lists of one of LiteLLM's modules."""
    if module == "litellm":
        return frozenset(_flat) - UNLISTED - _OWN
    return frozenset(_homes.get(module, ()))


del _home, _ours, _names, _name, _place
