//! Usage and cost of calls: in their records, and as estimates before they are made.

use memchr::memmem;
use serde_json::Value;

use super::call::Call;
use super::codec::unix_seconds;
use super::notices::notify;
use crate::catalog::{Bill, Catalog};
use crate::providers::Deployment;
use crate::types::answer::Meta;
use crate::types::members::Members;
use crate::types::operation::Operation;
use crate::types::params::Params;
use crate::types::usage::Usage;

/// Number of bytes of a request's JSON for each token of its prompt, on average. Deployments are only compared by it.
const BYTES_PER_TOKEN: u64 = 4;
/// Number of tokens of an answer whose maximum is not set.
const USUAL_OUTPUT: u64 = 500;
/// Number of tokens of a prompt with media.
const USUAL_MEDIA_INPUT: u64 = 1000;

/// Writes the usage and the cost of a call into its record. `service` is the service tier that the answer names, `told` the cost
/// that it tells, which counts where the catalog has no price.
pub(super) fn price(
    catalog: &Catalog,
    call: &Call,
    usage: Option<Usage>,
    service: Option<&str>,
    told: impl FnOnce() -> Option<f64>,
    meta: &mut Meta,
) {
    let deployment = &call.deployment;
    let provider = deployment.provider.row().name;
    let seconds = meta.record.as_ref().map_or(meta.latency, |record| record.total.max(meta.latency)).as_secs_f64();
    let model = catalog.find(provider, &deployment.model);
    let cost = model.and_then(|model| model.cost_of(&Bill { usage, service, seconds: Some(seconds) }, unix_seconds()));
    let cost = cost.or_else(told);
    if cost.is_none() && usage.is_some() && catalog.is_first_unknown(provider, &deployment.model) {
        let of = service.map(|service| format!(" of the service tier {service:?}")).unwrap_or_default();
        notify(format!(
            "the cost of calls of {provider}/{}{of} is not known: the catalog has no price of it, or of a class of its tokens",
            deployment.model
        ));
    }
    let record = meta.record.get_or_insert_default();
    (record.usage, record.cost) = (usage, cost);
}

/// Returns the cost in US dollars that an answer, or the chunk with its usage, tells; `None` at a provider that tells none.
///
/// With a key of the account's own at the vendor, OpenRouter bills its fee alone, and tells the vendor's price beside it:
/// <https://openrouter.ai/docs/use-cases/usage-accounting>.
pub(super) fn told_cost(call: &Call, answer: &[u8]) -> Option<f64> {
    if !call.deployment.provider.row().tells_cost {
        return None;
    }
    let answer = Members::of(answer).ok()?;
    let response = answer.get("response").and_then(|response| Members::of(response.as_bytes()).ok());
    let usage: Value = serde_json::from_str(response.as_ref().unwrap_or(&answer).get("usage")?).ok()?;
    let vendors = match usage["is_byok"] == true {
        true => usage["cost_details"]["upstream_inference_cost"].as_f64()?,
        false => 0.0,
    };
    usage["cost"].as_f64().map(|cost| cost + vendors).filter(|cost| *cost >= 0.0)
}

/// Returns the service tier that an answer, or the chunk with its usage, names.
pub(super) fn service_tier(answer: &[u8]) -> Option<&str> {
    const NAME: &[u8] = b"\"service_tier\":";
    // Of a text in the answer, the quotes are escaped.
    let rest = answer.get(memmem::find(answer, NAME)? + NAME.len()..)?.trim_ascii_start().strip_prefix(b"\"")?;
    std::str::from_utf8(&rest[..memchr::memchr(b'"', rest)?]).ok()
}

/// Returns an estimate of the number of tokens of a prompt; `None` if it has media, whose bytes say little.
fn prompt_tokens(params: &Params) -> Option<u64> {
    let is_media = |(name, value): (&str, &[u8])| {
        matches!(name, "messages" | "input")
            && [&b";base64,"[..], b"\"input_audio\"", b"\"file_data\""]
                .iter()
                .any(|mark| memmem::find(value, mark).is_some())
    };
    let bytes = params.len() as u64;
    // Short ones fit everywhere: they are not searched.
    let has_media = bytes > 4096 && params.iter().any(is_media);
    (!has_media).then_some(bytes / BYTES_PER_TOKEN)
}

/// Returns an estimate of the usage of a call, for comparing deployments and for saying beforehand what a job will cost.
pub fn expected_usage(operation: Operation, params: &Params, max_tokens: Option<u64>) -> Usage {
    prompt_usage(operation, params, max_tokens.map(|most| most.min(USUAL_OUTPUT)))
}

/// Returns an estimate of the usage of a call that answers with `max_tokens`.
pub(super) fn prompt_usage(operation: Operation, params: &Params, max_tokens: Option<u64>) -> Usage {
    let has_output = !matches!(operation, Operation::Embedding | Operation::Rerank);
    let output = if has_output { max_tokens.unwrap_or(USUAL_OUTPUT) } else { 0 };
    Usage { input: prompt_tokens(params).unwrap_or(USUAL_MEDIA_INPUT), output, ..Usage::default() }
}

/// Returns an estimate of the usage of a stream that was left, from its request and what had come of its completion.
pub fn usage_so_far(operation: Operation, params: &Params, completion: &[u8]) -> Usage {
    let bytes = serde_json::from_slice(completion).map_or(0, |completion| text_bytes(&completion));
    let output = (bytes as u64).div_ceil(BYTES_PER_TOKEN);
    Usage { output, ..expected_usage(operation, params, Some(0)) }
}

/// Returns the number of bytes of the texts that a model has written in a completion or a response.
fn text_bytes(value: &Value) -> usize {
    const WRITTEN: [&str; 6] = ["content", "reasoning_content", "arguments", "text", "refusal", "input"];
    match value {
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| match value {
                Value::String(text) if WRITTEN.contains(&name.as_str()) => text.len(),
                Value::String(_) => 0,
                value => text_bytes(value),
            })
            .sum(),
        _ => 0,
    }
}

/// Returns an estimate of the cost of a call at a deployment, in US dollars; `None` if a price is not known.
pub(super) fn expected_cost(
    catalog: &Catalog,
    call: &Call,
    deployment: &Deployment,
    max_tokens: Option<u64>,
) -> Option<f64> {
    let model = catalog.find(deployment.provider.row().name, &deployment.model)?;
    let usage = expected_usage(call.request.operation, &call.request.params, max_tokens);
    model.cost(&usage, unix_seconds())
}

/// Returns the size of a model's context window and that of a call's prompt, in tokens, if the prompt is too large for it.
pub(super) fn too_small_window(catalog: &Catalog, call: &Call, deployment: &Deployment) -> Option<(u64, u64)> {
    let model = catalog.find(deployment.provider.row().name, &deployment.model)?;
    if call.request.upload.is_some() {
        return None;
    }
    let prompt = prompt_tokens(&call.request.params)?;
    if model.is_too_small_for(prompt) { Some((model.context_window?, prompt)) } else { None }
}
