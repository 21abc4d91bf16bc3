"""LiteLLM's arguments of a call as RiteLLM's."""

from __future__ import annotations

from ritellm.compat import _finder, _targets

# Importing `typing` takes longer than importing the rest of the package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The variables of ``litellm``. Never a local variable: there are keys among them, and tracebacks show those.
_settings: dict[str, Any] = vars(_finder.module("litellm"))

#: Arguments that say something to LiteLLM itself and are not sent.
_OWN = frozenset(
    """custom_llm_provider metadata litellm_metadata litellm_params litellm_call_id litellm_trace_id litellm_session_id
    litellm_logging_obj litellm_request_debug logger_fn verbose model_list caching cache cache_key ttl no-log no_log mock_response
    mock_tool_calls mock_timeout mock_delay num_retries retry_policy retry_strategy max_retries request_timeout timeout
    stream_timeout fallbacks fallback_depth max_fallbacks context_window_fallback_dict context_window_fallbacks
    content_policy_fallbacks model_info model_group proxy_server_request preset_cache_key base_model drop_params
    additional_drop_params allowed_openai_params deployment_id force_timeout id acompletion aembedding aresponses
    atext_completion api_type organization client shared_session tags user_continue_message assistant_continue_message
    ensure_alternating_roles supports_system_message text_completion roles initial_prompt_value final_prompt_value bos_token
    eos_token prompt_id prompt_variables success_callback failure_callback callbacks ssl_verify
    merge_reasoning_content_in_choices use_litellm_proxy input_cost_per_token output_cost_per_token input_cost_per_second
    output_cost_per_second hf_model_name complete_response api_base base_url api_key api_version extra_headers headers
    enable_json_schema_validation modify_params rpm tpm max_parallel_requests cooldown_time stream_response secret_fields
    specific_deployment original_function disable_add_transform_inline_image_block configurable_clientside_auth_params
    use_in_pass_through default_headers litellm_credential_name include_server_side_tool_invocations tag_regex weight order
    allowed_model_region region_name budget_duration max_budget tpd rpd itpm otpm async_call completion_call_id custom_prompt_dict
    fastest_response client_side_timeout guardrails model_alias_map model_config model_file_id_mapping turn_off_message_logging
    use_client prompt_label prompt_version silent_model caching_groups stream_chunk_size enable_tag_filtering routing_strategy
    use_chat_completions_api tiered_pricing log_client_error_tracebacks""".split()  # noqa: SIM905
)
#: How those begin that are for LiteLLM's integrations and routers. There are secrets among them.
_OWN_PREFIXES = tuple(
    """litellm_ langfuse_ langsmith_ arize_ dd_ newrelic_ humanloop_ posthog_ signoz_ gcs_ s3_ wandb_ weave_ valkey_ milvus_
    token_exchange_ auto_router_ adaptive_router_ complexity_router_ quality_router_ anthropic_identity_ anthropic_issuer_
    anthropic_keycloak_""".split()  # noqa: SIM905
)
#: Other names that were given, and whether they are sent.
_sent: dict[str, bool] = {}
_MAX_NAMES = 4096


def is_price(name: str) -> bool:
    """True for the names of prices, which calls and deployments may have in place of the map's."""
    return "_cost_" in name or name.startswith("cost_per_") or name.endswith("_cost")


def _is_sent(name: str) -> bool:
    if len(_sent) >= _MAX_NAMES:
        _sent.clear()
    made = name not in _OWN and not name.startswith(_OWN_PREFIXES) and not is_price(name)
    _sent[name] = made
    return made


_DEFAULT_TIMEOUT = 6000.0
_SHARED = "timeout temperature top_p n stream stream_options stop"
#: The arguments of `completion` after the first two, by their place, and those of `acompletion`.
ORDER = tuple(f"{_SHARED} max_completion_tokens max_tokens modalities prediction audio presence_penalty".split())
#: Those that have no place.
NAMED = """prediction audio presence_penalty frequency_penalty logit_bias user reasoning_effort verbosity response_format seed tools
    tool_choice logprobs top_logprobs parallel_tool_calls web_search_options deployment_id extra_headers safety_identifier
    service_tier store prompt_cache_key prompt_cache_retention functions function_call base_url api_version api_key model_list
    thinking shared_session enable_json_schema_validation"""
ASYNC_ORDER = tuple(f"functions function_call {_SHARED} max_tokens max_completion_tokens modalities".split())
#: Providers whose API has versions; LiteLLM ignores that of others.
_VERSIONED = frozenset({"azure", "azure_text"})
#: `litellm`'s variables with keys, by LiteLLM's name of the provider.
_KEYS = {
    "openai": "openai_key",
    "azure": "azure_key",
    "anthropic": "anthropic_key",
    "cohere": "cohere_key",
    "cohere_chat": "cohere_key",
    "huggingface": "huggingface_key",
    "groq": "groq_key",
    "together_ai": "togetherai_api_key",
    "openrouter": "openrouter_key",
    "ollama": "ollama_key",
    "ollama_chat": "ollama_key",
    "xai": "xai_key",
    "databricks": "databricks_key",
}


class Given(dict):  # type: ignore[type-arg]
    """Arguments of a call. Tracebacks that show local variables do not show them: a key is among them."""

    def __repr__(self) -> str:
        return f"<arguments {', '.join(map(str, self))}>"


def named(args: tuple[Any, ...], kwargs: dict[str, Any], order: tuple[str, ...]) -> dict[str, Any]:
    """Returns the arguments of a call by name.

    Raises:
        TypeError: more were given by place than that.
    """
    kwargs = Given(kwargs)
    if len(args) > len(order):
        raise TypeError(f"{len(args) + 2} arguments were given by place: give those after {order[-1]!r} by name")
    return Given({**dict(zip(order, args, strict=False)), **kwargs})


def seconds(value: Any) -> Any:
    """Returns a timeout as RiteLLM takes it: LiteLLM's may be a number in a str."""
    return float(value) if isinstance(value, str) else value


def prepared(given: dict[str, Any], target: _targets.Target, of_group: bool = False) -> dict[str, Any]:
    """Returns RiteLLM's arguments of a call.

    Args:
        given: LiteLLM's arguments, without the model and what is asked.
        target: where the call goes.
        of_group: it goes to a router's group, whose deployments have what ``litellm`` sets for all calls already.
    """
    known, value = _sent, None
    params = Given()
    for name, value in given.items():
        if value is not None and (known[name] if name in known else _is_sent(name)):
            params[name] = value
    get = given.get
    base = get("base_url") or get("api_base") or target.api_base or (None if of_group else _settings["api_base"])
    if base:
        params["base_url"] = base
    key = get("api_key") or target.api_key
    if not key and not of_group:
        key = _settings["api_key"] or _settings.get(_KEYS.get(target.provider, ""))
    if key:
        params["api_key"] = key
    elif base and target.model.startswith(_targets.COMPATIBLE):
        # A host that needs a key says so itself.
        params["api_key"] = "none"
    # Tracebacks show local variables.
    del key, value
    version = get("api_version") or (None if of_group else _settings["api_version"])
    if version and target.provider in _VERSIONED:
        params["api_version"] = version
    timeout = get("timeout")
    if get("stream") and get("stream_timeout") is not None:
        timeout = given["stream_timeout"]
    if timeout is None:
        timeout = get("request_timeout")
    if timeout is None and _settings["request_timeout"] != _DEFAULT_TIMEOUT:
        timeout = _settings["request_timeout"]
    if timeout is not None:
        params["timeout"] = seconds(timeout)
    retries = get("max_retries")
    if retries is None:
        retries = get("num_retries")
    if retries is None and not of_group:
        retries = _settings["num_retries"]
    if retries is not None:
        params["max_retries"] = retries
    headers = {**(_settings["headers"] or {}), **(get("headers") or {}), **(get("extra_headers") or {})}
    organization = get("organization") or _settings["organization"]
    if organization and target.provider == "openai":
        headers.setdefault("OpenAI-Organization", organization)
    if headers:
        params["extra_headers"] = headers
    drop = get("drop_params")
    if drop if drop is not None else _settings["drop_params"]:
        params["drop_params"] = True
    if get("additional_drop_params"):
        for name in given["additional_drop_params"]:
            params.pop(name, None)
    if get("allowed_openai_params"):
        # They are sent whether or not the provider documents them.
        body = dict(params.get("extra_body") or {})
        for name in given["allowed_openai_params"]:
            if name in params:
                body[name] = params.pop(name)
        if body:
            params["extra_body"] = body
    if "response_format" in params:
        params["response_format"] = _response_format(params["response_format"])
    return params


def _response_format(value: Any) -> Any:
    """Returns a class as the schema that LiteLLM sends for it: the answer stays a text."""
    if isinstance(value, type):
        from ritellm.compat import _schema

        return _schema.response_format(value)
    return value


def messages(value: Any) -> Any:
    """Returns messages as LiteLLM sends them: models such as its own `Message` as dicts, and without members that are None.

    OpenAI refuses a ``function_call`` that is null, and ``model_dump()`` of a message has one.
    """
    if isinstance(value, list):
        for message in value:
            if message.__class__ is not dict or None in message.values() or message.get("content").__class__ is list:
                return [_message(message) for message in value]
    return value


def _message(message: Any) -> Any:
    if not isinstance(message, dict):
        if not hasattr(message, "model_dump"):
            return message
        message = message.model_dump()
    made = {name: item for name, item in message.items() if item is not None}
    if isinstance(made.get("content"), list):
        made["content"] = [_part(part) for part in made["content"]]
    return made


def _part(part: Any) -> Any:
    """Returns a content part; the address of a picture may be given as it is."""
    if isinstance(part, dict) and isinstance(part.get("image_url"), str):
        return {**part, "image_url": {"url": part["image_url"]}}
    return part.model_dump(exclude_none=True) if hasattr(part, "model_dump") else part
