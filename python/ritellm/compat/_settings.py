"""The variables of ``litellm`` that programs assign and read. They are in the module's own namespace, where calls read them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Version of LiteLLM whose surface this is.
version = "1.110.2"

_NONE = [
    "aclient_session",
    "client_session",
    "api_base",
    "api_key",
    "api_version",
    "organization",
    "token",
    "project",
    "headers",
    "num_retries",
    "num_retries_per_request",
    "fallbacks",
    "context_window_fallbacks",
    "content_policy_fallbacks",
    "default_fallbacks",
    "model_fallbacks",
    "max_fallbacks",
    "allowed_fails_policy",
    "cache",
    "default_in_memory_ttl",
    "default_redis_ttl",
    "budget_duration",
    "max_user_budget",
    "openai_key",
    "azure_key",
    "anthropic_key",
    "cohere_key",
    "huggingface_key",
    "replicate_key",
    "groq_key",
    "togetherai_api_key",
    "vertex_project",
    "vertex_location",
    "openrouter_key",
    "ollama_key",
    "xai_key",
    "databricks_key",
    "cloudflare_api_key",
    "vertex_ai_safety_settings",
    "ssl_certificate",
    "common_cloud_provider_auth_params",
    "email",
    "budget_manager",
    "llamaguard_model_name",
    "google_moderation_confidence_threshold",
    "post_call_rule",
    "logger_fn",
]
_FALSE = [
    "drop_params",
    "modify_params",
    "set_verbose",
    "suppress_debug_info",
    "add_function_to_prompt",
    "use_client",
    "caching",
    "caching_with_models",
    "enable_json_schema_validation",
    "turn_off_message_logging",
    "log_raw_request_response",
    "return_response_headers",
    "debug",
    "enable_preview_features",
    "use_litellm_proxy",
    "redact_messages_in_exceptions",
    "include_cost_in_streaming_usage",
    "json_logs",
    "disable_streaming_logging",
    "disable_token_counter",
    "disable_stop_sequence_limit",
    "disable_end_user_cost_tracking",
    "force_ipv4",
    "always_read_redis",
    "aiohttp_trust_env",
    "disable_aiohttp_transport",
    "skip_system_message_in_guardrail",
    "safe_memory_mode",
    "verbose",
]
_LISTS = [
    "input_callback",
    "success_callback",
    "failure_callback",
    "service_callback",
    "callbacks",
    "_async_input_callback",
    "_async_success_callback",
    "_async_failure_callback",
    "pre_call_rules",
    "post_call_rules",
    "custom_provider_map",
    "_custom_providers",
    "credential_list",
]
_DICTS = [
    "model_alias_map",
    "custom_prompt_dict",
    "callback_settings",
    "error_logs",
    "cost_discount_config",
    "cost_margin_config",
]
_VALUES = {
    "telemetry": True,
    "logging": True,
    "retry": True,
    "ssl_verify": True,
    "use_aiohttp_transport": True,
    "max_tokens": 4096,
    "max_budget": 0.0,
    "_current_cost": 0.0,
    "request_timeout": 6000.0,
    "allowed_fails": 3,
    "DEFAULT_MAX_RETRIES": 2,
    "REPEATED_STREAMING_CHUNK_LIMIT": 100,
    "DEFAULT_REQUEST_TIMEOUT": 6000.0,
    "DEFAULT_MAX_TOKENS": 4096,
    "model_cost_map_url": "",
}


def defaults() -> dict[str, Any]:
    """Returns the variables with the values that they have after ``import litellm``."""
    return {
        **dict.fromkeys(_NONE),
        **dict.fromkeys(_FALSE, False),
        **{name: [] for name in _LISTS},
        **{name: {} for name in _DICTS},
        **_VALUES,
    }


# Providers' names for the reason, by OpenAI's.
_REASONS = {
    "stop": "stop stop_sequence end_turn COMPLETE STOP_SEQUENCE ERROR eos_token eos STOP FINISH_REASON_UNSPECIFIED "
    "MALFORMED_FUNCTION_CALL TOO_MANY_TOOL_CALLS MALFORMED_RESPONSE UNEXPECTED_TOOL_CALL MISSING_THOUGHT_SIGNATURE "
    "network_error error",
    "length": "length max_tokens compaction pause_turn model_context_window_exceeded MAX_TOKENS CONTINUATION",
    "tool_calls": "tool_calls tool_use TOOL_CALL",
    "function_call": "function_call",
    "content_filter": "content_filter refusal ERROR_TOXIC SAFETY RECITATION LANGUAGE OTHER BLOCKLIST PROHIBITED_CONTENT SPII "
    "IMAGE_SAFETY IMAGE_PROHIBITED_CONTENT NO_IMAGE IMAGE_RECITATION IMAGE_OTHER ESCALATION sensitive guardrail_intervened "
    "content_filtered",
}
_MAPPED = {reason: ours for ours, reasons in _REASONS.items() for reason in reasons.split()}


def map_finish_reason(finish_reason: str) -> str:
    """Returns OpenAI's name for a provider's reason for the end of an answer; ``"stop"`` for one that is not known."""
    return _MAPPED.get(finish_reason, "stop")
