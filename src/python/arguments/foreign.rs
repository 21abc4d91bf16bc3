//! Argument names of other libraries. They are accepted where we have the same argument, and otherwise refused before
//! anything is sent, with the argument to use instead: to a provider they would mean nothing, or something else.

use std::sync::LazyLock;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::providers;
use crate::python::errors::argument;
use crate::python::values;
use crate::types::nearest::nearest;
use crate::types::operation::Operation;

/// Treatment of an argument that is no parameter of the request.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// A setting that some provider has.
    Setting,
    /// A parameter that some provider documents.
    Documented,
    /// Another name of this argument.
    Means(&'static str),
    /// Changes nothing here, whatever its value.
    Ignored,
    /// Refused, with what would be right.
    Refused(&'static str),
}

use Fate::{Documented, Ignored, Means, Refused, Setting};

const NO_ROUTER: &str = "it belongs to LiteLLM's router: see help(ritellm.Router) for ours";
const ROUTER: &str =
    "make a router: Router({\"main\": [models]}, fallbacks={\"main\": [\"other\"]}) has the methods of a client";
const CACHE: &str =
    "make a client that keeps answers: Client(cache=Cache.memory()), and cache=False for a call without";
const BUDGETS: &str = "make a client with a budget: Client(budget=Budget(10.0, per=\"day\"))";
const PRICES: &str =
    "prices stand in a client's catalog: Client(catalog={\"provider/model\": {\"input\": 2.5, \"output\": 10}})";
const CALLBACKS: &str = "make a client with a hook, Client(on_call=f): f gets a record of each call that has ended";
const NO_PROMPTS: &str = "prompts are not fetched or rewritten: put what is to be sent into messages";
const NO_PROXY_SERVER: &str = "it belongs to LiteLLM's proxy server: leave it out";
const MODEL: &str = "write the provider in front of the model's name: \"provider/model\"";
const TESTS: &str = "nothing is made up here: ritellm.testing has a MockServer, and cassettes that record and replay";
const CLIENT_TLS: &str = "make a client: Client(ca_bundle=\"file.pem\"), or Client(verify=False)";
const HTTP_CLIENT: &str =
    "connections are made by the library itself: Client has settings for proxy, certificates and limits";
const AZURE_TOKEN: &str = "give azure_ad_token_provider=get_bearer_token_provider(credential, scope) of azure-identity";

/// Arguments of calls of LiteLLM, the `openai` package and httpx that are no parameter of any provider's API.
///
/// From the list `all_litellm_params` in LiteLLM's `types/utils.py`, and other known arguments of its `completion`.
const CALLS: &[(&str, Fate)] = &[
    ("request_timeout", Means("timeout")),
    ("force_timeout", Means("timeout")),
    ("extra_params", Refused("write extra_body=")),
    ("stream_timeout", Refused("write timeout={\"first_token\": seconds, \"idle\": seconds}")),
    ("num_retries_per_request", Means("max_retries")),
    ("default_max_retries", Means("max_retries")),
    ("retry_policy", Refused("write max_retries=")),
    ("retry_strategy", Refused("write max_retries=; pauses grow, and obey Retry-After")),
    ("max_workers", Refused("make the calls at once with asyncio.gather or a ThreadPoolExecutor")),
    ("ssl_verify", Refused(CLIENT_TLS)),
    ("ssl_certificate", Refused("make a client with a client certificate: see help(ritellm.Client)")),
    ("verify", Refused(CLIENT_TLS)),
    ("ca_bundle", Refused(CLIENT_TLS)),
    ("ssl_context", Refused(CLIENT_TLS)),
    ("cert", Refused("make a client with a client certificate: see help(ritellm.Client)")),
    ("proxy", Refused("make a client: Client(proxy=…)")),
    ("proxies", Refused("make a client: Client(proxy=…)")),
    ("trust_env", Refused("make a client: Client(proxy=…)")),
    ("http2", Refused("make a client: Client(http2=True)")),
    ("http_client", Refused(HTTP_CLIENT)),
    ("client", Refused("call the client's own method: client.completion(…)")),
    ("async_client", Refused("call the client's own method: client.acompletion(…)")),
    ("shared_session", Refused(HTTP_CLIENT)),
    ("use_client", Refused(HTTP_CLIENT)),
    ("default_headers", Refused("write extra_headers=")),
    ("default_query", Refused("write extra_query=")),
    ("azure_endpoint", Refused("write base_url=")),
    ("custom_llm_provider", Refused(MODEL)),
    ("litellm_provider", Refused(MODEL)),
    ("azure", Refused("write \"azure/deployment\" as the model")),
    ("use_litellm_proxy", Refused("write \"openai_compatible/model\" as the model, and base_url=")),
    ("acompletion", Refused("call acompletion()")),
    ("aembedding", Refused("call aembedding()")),
    ("atext_completion", Refused("call acompletion()")),
    ("text_completion", Refused("there are chat completions only: call completion()")),
    ("aimg_generation", Refused("there are chat completions, embeddings and responses only")),
    ("allowed_openai_params", Refused("write extra_body=: what is in it is sent in any case")),
    ("additional_drop_params", Refused("leave these parameters out, or write drop_params=True")),
    ("mock_response", Refused(TESTS)),
    ("mock_tool_calls", Refused(TESTS)),
    ("mock_timeout", Refused(TESTS)),
    ("mock_delay", Refused(TESTS)),
    ("mock_testing_fallbacks", Refused(TESTS)),
    ("fallbacks", Refused(ROUTER)),
    ("context_window_fallback_dict", Refused("make a router: Router(…, context_window_fallbacks={…})")),
    ("context_window_fallbacks", Refused("make a router: Router(…, context_window_fallbacks={…})")),
    ("content_policy_fallbacks", Refused("make a router: Router(…, content_policy_fallbacks={…})")),
    ("default_fallbacks", Refused(ROUTER)),
    ("disable_fallbacks", Refused(NO_ROUTER)),
    ("fallback_depth", Refused(NO_ROUTER)),
    ("max_fallbacks", Refused(NO_ROUTER)),
    ("model_list", Refused("make a router: Router(model_list=[…]) takes the list as it is")),
    ("model_config", Refused(NO_ROUTER)),
    ("model_info", Refused(NO_ROUTER)),
    ("deployment_id", Refused("write \"azure/deployment\" as the model")),
    ("weight", Refused("make a router: Deployment(\"provider/model\", weight=…) is one of its members")),
    ("cooldown_time", Refused(NO_ROUTER)),
    ("fastest_response", Refused(NO_ROUTER)),
    ("allowed_model_region", Refused(NO_ROUTER)),
    ("specific_deployment", Refused(NO_ROUTER)),
    ("rpm", Refused("make a client: Client(limits={\"provider/model\": {\"rpm\": …}})")),
    ("tpm", Refused("make a client: Client(limits={\"provider/model\": {\"tpm\": …}})")),
    ("max_parallel_requests", Refused("make a client: Client(max_in_flight=…)")),
    ("max_budget", Refused(BUDGETS)),
    ("budget_duration", Refused(BUDGETS)),
    ("input_cost_per_token", Refused(PRICES)),
    ("output_cost_per_token", Refused(PRICES)),
    ("input_cost_per_second", Refused(PRICES)),
    ("output_cost_per_second", Refused(PRICES)),
    ("custom_pricing", Refused(PRICES)),
    ("caching", Refused(CACHE)),
    ("caching_groups", Refused(CACHE)),
    ("cache_key", Refused(CACHE)),
    ("preset_cache_key", Refused(CACHE)),
    ("s_maxage", Refused(CACHE)),
    ("logger_fn", Refused(CALLBACKS)),
    ("callbacks", Refused(CALLBACKS)),
    ("success_callback", Refused(CALLBACKS)),
    ("failure_callback", Refused(CALLBACKS)),
    ("litellm_logging_obj", Refused(CALLBACKS)),
    ("turn_off_message_logging", Ignored),
    ("no-log", Ignored),
    ("no_log", Ignored),
    ("verbose", Refused("logging.getLogger(\"ritellm\").setLevel(logging.DEBUG) shows each attempt")),
    ("set_verbose", Refused("logging.getLogger(\"ritellm\").setLevel(logging.DEBUG) shows each attempt")),
    ("complete_response", Refused("the whole response is what a call returns")),
    ("return_response_headers", Refused("they are in response.meta.headers")),
    ("litellm_call_id", Refused("send it as a header: extra_headers={…}")),
    ("litellm_trace_id", Refused("send it as a header: extra_headers={…}")),
    ("litellm_session_id", Refused("send it as a header: extra_headers={…}")),
    ("organization", Refused("send it as a header: extra_headers={\"OpenAI-Organization\": …}")),
    ("openai_organization", Refused("send it as a header: extra_headers={\"OpenAI-Organization\": …}")),
    ("litellm_metadata", Refused(CALLBACKS)),
    ("litellm_credential_name", Refused("pass api_key=, or set the provider's variable")),
    ("litellm_params", Refused("write the arguments themselves")),
    ("litellm_request_debug", Refused("logging.getLogger(\"ritellm\").setLevel(logging.DEBUG) shows each attempt")),
    ("configurable_clientside_auth_params", Refused(NO_PROXY_SERVER)),
    ("proxy_server_request", Refused(NO_PROXY_SERVER)),
    ("litellm_proxy_rate_limit_response", Refused(NO_PROXY_SERVER)),
    ("use_in_pass_through", Refused(NO_PROXY_SERVER)),
    ("model_file_id_mapping", Refused(NO_PROXY_SERVER)),
    ("tags", Refused("make a client whose calls have them: client.with_options(tags=…)")),
    ("base_model", Refused(PRICES)),
    ("prompt_id", Refused(NO_PROMPTS)),
    ("prompt_variables", Refused(NO_PROMPTS)),
    ("prompt_label", Refused(NO_PROMPTS)),
    ("prompt_version", Refused(NO_PROMPTS)),
    ("cache_control_injection_points", Refused("write cache_control into the messages themselves")),
    ("roles", Refused(NO_PROMPTS)),
    ("final_prompt_value", Refused(NO_PROMPTS)),
    ("initial_prompt_value", Refused(NO_PROMPTS)),
    ("bos_token", Refused(NO_PROMPTS)),
    ("eos_token", Refused(NO_PROMPTS)),
    ("custom_prompt_dict", Refused(NO_PROMPTS)),
    ("supports_system_message", Refused(NO_PROMPTS)),
    ("ensure_alternating_roles", Refused(NO_PROMPTS)),
    ("user_continue_message", Refused(NO_PROMPTS)),
    ("assistant_continue_message", Refused(NO_PROMPTS)),
    ("disable_add_transform_inline_image_block", Refused(NO_PROMPTS)),
    ("merge_reasoning_content_in_choices", Refused("reasoning stands in message.reasoning_content")),
    ("enable_json_schema_validation", Refused("an answer is checked where response_format is a type or a JSON schema")),
    ("hf_model_name", Refused(NO_PROMPTS)),
    ("provider_specific_header", Refused("write extra_headers=")),
    ("region_name", Means("aws_region_name")),
    ("azure_username", Refused(AZURE_TOKEN)),
    ("azure_password", Refused(AZURE_TOKEN)),
    ("azure_scope", Refused(AZURE_TOKEN)),
    ("tenant_id", Refused(AZURE_TOKEN)),
    ("client_id", Refused(AZURE_TOKEN)),
    ("client_secret", Refused(AZURE_TOKEN)),
];

const HEADER: &str = "send it as a header: headers={\"OpenAI-Organization\": …, \"OpenAI-Project\": …}";
const HOOKS: &str = "on_call= is a function that gets a record of each call, request_headers= one that adds header fields, and \
                     ritellm.otel.instrument() makes traces";
const TIMEOUT: &str = "write timeout={\"connect\": seconds, \"idle\": seconds}";

/// Settings of the clients of the `openai`, `anthropic`, `cohere`, `google-genai` and `ollama` packages, of httpx, aiohttp and
/// LiteLLM. An argument of a call that is refused is refused here too, in the same words, unless it is in this table.
const CLIENTS: &[(&str, Fate)] = &[
    ("default_headers", Means("headers")),
    ("api_base", Means("base_url")),
    ("azure_endpoint", Means("base_url")),
    ("num_retries", Means("max_retries")),
    ("default_max_retries", Means("max_retries")),
    ("request_timeout", Means("timeout")),
    ("default_query", Refused("write extra_query= in the call")),
    ("params", Refused("write extra_query= in the call")),
    ("organization", Refused(HEADER)),
    ("project", Refused(HEADER)),
    ("admin_api_key", Refused("write api_key=")),
    ("auth", Refused("write api_key=, which may be a function")),
    ("workload_identity", Refused("write api_key=, which may be a function that returns a token")),
    ("azure_deployment", Refused("write \"azure/deployment\" as the model")),
    ("provider", Refused(MODEL)),
    ("vertexai", Refused("write \"vertex/model\" as the model")),
    ("data_residency", Refused("write base_url= with the region's address")),
    ("environment", Refused("write base_url=")),
    ("host", Refused("write base_url=")),
    ("websocket_base_url", Refused("there are no websockets: leave it out")),
    ("webhook_secret", Refused("webhooks are not read here: leave it out")),
    ("webhook_key", Refused("webhooks are not read here: leave it out")),
    ("aws_access_key", Refused("write aws_access_key_id= in the call")),
    ("aws_secret_key", Refused("write aws_secret_access_key= in the call")),
    ("aws_region", Refused("write aws_region_name= in the call")),
    ("aws_profile", Refused("write aws_profile_name= in the call")),
    ("region", Refused("write vertex_location= or aws_region_name= in the call")),
    ("location", Refused("write vertex_location= in the call")),
    ("project_id", Refused("write vertex_project= in the call")),
    ("access_token", Refused("write vertex_access_token= in the call, or api_key=, which may be a function")),
    ("credentials", Refused("write vertex_credentials= in the call, or api_key=, which may be a function")),
    ("http_client", Refused(HTTP_CLIENT)),
    ("httpx_client", Refused(HTTP_CLIENT)),
    ("http_options", Refused(HTTP_CLIENT)),
    ("transport", Refused(HTTP_CLIENT)),
    ("connector", Refused(HTTP_CLIENT)),
    ("session", Refused(HTTP_CLIENT)),
    ("client", Refused(HTTP_CLIENT)),
    ("async_client", Refused(HTTP_CLIENT)),
    ("mounts", Refused("write proxy=\"http://host:port\"")),
    ("proxies", Refused("write proxy=\"http://host:port\"")),
    (
        "trust_env",
        Refused("write proxy= to overrule HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY of the environment"),
    ),
    ("http1", Refused("HTTP/1.1 is what is spoken, and HTTP/2 with http2=True: leave it out")),
    ("follow_redirects", Refused("leave it out: redirects to the same server are followed")),
    ("max_redirects", Refused("leave it out: redirects to the same server are followed")),
    ("cookies", Refused("write headers={\"cookie\": …}")),
    ("event_hooks", Refused(HOOKS)),
    ("middleware", Refused(HOOKS)),
    ("middlewares", Refused(HOOKS)),
    ("trace_configs", Refused(HOOKS)),
    ("open_telemetry", Refused(HOOKS)),
    ("ssl_context", Refused(CONTEXT)),
    ("ssl", Refused(CONTEXT)),
    ("ssl_verify", Refused("write verify=False, or ca_bundle=\"file.pem\"")),
    ("ssl_certificate", Refused("write client_cert=(\"cert.pem\", \"key.pem\")")),
    ("cert", Refused("write client_cert=(\"cert.pem\", \"key.pem\")")),
    ("conn_timeout", Refused(TIMEOUT)),
    ("read_timeout", Refused(TIMEOUT)),
    ("stream_timeout", Refused(TIMEOUT)),
    ("raise_for_status", Refused("leave it out: an error of the server always raises")),
    ("_strict_response_validation", Refused("leave it out")),
    ("_enforce_credentials", Refused("leave it out")),
    ("model", Refused("give the model with each call: client.completion(\"provider/model\", messages)")),
];

const CONTEXT: &str = "TLS is done without Python's ssl module, so a context has no effect: ca_bundle=\"file.pem\" says which \
                       authorities are believed, client_cert=(\"cert.pem\", \"key.pem\") who calls, and verify=False \
                       believes everybody";

/// Meaning of an argument of a call.
pub(crate) enum Meaning {
    /// An argument of ours, by our name.
    Ours(&'static str),
    /// A setting that some provider has.
    Setting(&'static str),
    /// No meaning here.
    Nothing,
    /// A parameter of the request that some provider documents.
    Param,
    /// A name that nobody documents.
    Unknown,
}

/// Returns the meaning of an argument of a call that is not one of ours.
///
/// # Errors
///
/// `InvalidArgumentError` for a refused name, with what would be right.
pub(crate) fn meaning(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Meaning> {
    // One table of all names, since every parameter of every call is looked up in it.
    static NAMES: LazyLock<Vec<(&str, Fate)>> = LazyLock::new(|| {
        let settings = providers::setting_names().map(|name| (name, Setting));
        let documented = providers::documented_parameters().iter().map(|name| (*name, Documented));
        // A provider's setting of the name comes first, and a refusal before what some provider documents.
        let mut names: Vec<_> = settings.chain(CALLS.iter().copied()).chain(documented).collect();
        names.sort_by_key(|(name, _)| *name);
        names.dedup_by_key(|(name, _)| *name);
        names
    });
    let Ok(index) = NAMES.binary_search_by_key(&name, |(name, _)| name) else { return Ok(Meaning::Unknown) };
    let (known, fate) = NAMES[index];
    match fate {
        Documented => Ok(Meaning::Param),
        Setting => Ok(Meaning::Setting(known)),
        Means(ours) => Ok(Meaning::Ours(ours)),
        Ignored => Ok(Meaning::Nothing),
        Refused(instead) => Err(argument(
            value.py(),
            format!(
                "{known} is no argument of a call here: {instead} (a provider's own parameter of this name goes into \
                 extra_body={{\"{known}\": …}})"
            ),
        )),
    }
}

/// Names of our own arguments of calls.
const OURS: &[&str] = &[
    "additional_params",
    "allow_http",
    "api_base",
    "api_key",
    "api_version",
    "base_url",
    "drop_params",
    "extra_body",
    "extra_headers",
    "extra_query",
    "headers",
    "max_retries",
    "max_retry_after",
    "validation_retries",
    "num_retries",
    "output",
    "stream",
    "timeout",
];

/// Returns true for a name of our own arguments of calls.
pub(crate) fn is_ours(name: &str) -> bool {
    OURS.contains(&name)
}

/// Decides on an argument of a call that nobody documents: it may be a parameter that is younger than this version, or a
/// misspelling.
///
/// # Errors
///
/// `InvalidArgumentError` if the name is close to one of ours or OpenAI's, and for every such name if `refuse_all`.
#[cold]
pub(crate) fn check_unknown(
    operation: Operation,
    name: &str,
    refuse_all: bool,
    value: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let settings = providers::setting_names();
    let of_embeddings: &[&str] = if operation == Operation::Embedding { &["batch_size", "concurrency"] } else { &[] };
    let names =
        OURS.iter().chain(of_embeddings).copied().chain(providers::openai_parameters(operation)).chain(settings);
    let around = format!("extra_body={{{name:?}: …}} sends it in any case");
    match (nearest(name, names), refuse_all) {
        (Some(near), _) => Err(argument(
            value.py(),
            format!("{name} is no argument of a call that is known here: did you mean {near}? ({around})"),
        )),
        (None, true) => Err(argument(
            value.py(),
            format!("{name} is no argument of a call that is known here, and unknown_params is \"error\" ({around})"),
        )),
        (None, false) => Ok(()),
    }
}

/// Gives the settings of other libraries' clients our names, where we have the same setting.
///
/// # Errors
///
/// `InvalidArgumentError` if a setting is given under both names.
pub(crate) fn rename_settings(given: &Bound<'_, PyDict>) -> PyResult<()> {
    let ours = |name: &Bound<'_, PyAny>| {
        let name = name.cast::<PyString>().ok()?.to_str().ok()?;
        CLIENTS.iter().find_map(|(known, fate)| match fate {
            Means(ours) if *known == name => Some(*ours),
            _ => None,
        })
    };
    let renamed: Vec<_> = given.iter().filter_map(|(name, value)| Some((ours(&name)?, name, value))).collect();
    for (ours, name, value) in renamed {
        given.del_item(&name)?;
        if value.is_none() {
            continue;
        }
        let key = values::string(given.py(), ours)?;
        if given.get_item(&key)?.is_some_and(|value| !value.is_none()) {
            return Err(argument(given.py(), format!("{name} is another name of {ours}: give one of them")));
        }
        given.set_item(key, value)?;
    }
    Ok(())
}

/// Returns true for the name of a setting of another library's client.
pub(crate) fn is_setting(name: &str) -> bool {
    CLIENTS.iter().any(|(known, _)| *known == name)
}

/// Refuses a setting of another library's client, or an argument of a call.
///
/// # Errors
///
/// `InvalidArgumentError` with what would be right.
pub(crate) fn refuse_setting(name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let refused = CLIENTS.iter().chain(CALLS).find_map(|(known, fate)| match fate {
        Refused(instead) if *known == name => Some(*instead),
        _ => None,
    });
    let instead =
        refused.or_else(|| providers::setting_names().any(|known| known == name).then_some("give it in the call"));
    match instead {
        Some(instead) => Err(argument(value.py(), format!("{name} is no setting of a client here: {instead}"))),
        None => Ok(()),
    }
}

/// Refuses an `ssl.SSLContext`, or another library's, by the name of its class.
///
/// # Errors
///
/// `InvalidArgumentError` with what would be right.
pub(crate) fn refuse_ssl_context(name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let is_context = |class: Bound<'_, PyAny>| {
        class.getattr("__name__").is_ok_and(|name| name.to_string() == "SSLContext" || name.to_string() == "Context")
    };
    match value.get_type().mro().iter().any(is_context) {
        true => Err(argument(value.py(), format!("{name} is an SSLContext: {CONTEXT}"))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_stands_twice_and_every_other_name_is_known() {
        let mut names: Vec<&str> = CALLS.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1]));
        for (name, fate) in CALLS {
            if let Means(ours) = fate {
                let is_setting = providers::setting_names().any(|known| known == *ours);
                assert!(is_setting || ["timeout", "max_retries"].contains(ours), "{name}");
            }
        }
        let mut names: Vec<&str> = CLIENTS.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1]));
        for (name, fate) in CLIENTS {
            assert!(super::super::settings::find(name).is_none(), "{name}");
            if let Means(ours) = fate {
                assert!(super::super::settings::find(ours).is_some(), "{name}");
            }
        }
    }
}
