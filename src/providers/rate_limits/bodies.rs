//! Reads the limits that bodies of refusals tell: Google's violations of quotas, and header fields that a gateway has put into
//! the body.

use std::fmt::Write as _;
use std::time::Duration;

use memchr::memmem;
use serde_json::Value;

use super::headers;
use crate::error::Error;
use crate::providers::Row;
use crate::types::http::Headers;
use crate::types::lenient::Scalar;
use crate::types::rate_limit::{FailureClass, Reset, Signals, Unit, WindowSignal};

/// Adds what the body of a refusal tells.
pub(super) fn read(row: &Row, received: u64, error: &Error, signals: &mut Signals) {
    let body = error.body.as_deref().unwrap_or_default();
    let has = |words: &str| memmem::find(body, words.as_bytes()).is_some();
    let limits = has("violations") || has("X-RateLimit-");
    if limits && let Ok(body) = serde_json::from_slice::<Value>(body) {
        // Google's front ends wrap the object in a list.
        let error = &body.get(0).unwrap_or(&body)["error"];
        signals.windows.extend(violations(error));
        if signals.windows.is_empty() {
            let fields = repeated_fields(error);
            signals.windows = headers::windows(row.rate_limits.windows, &fields, received);
        }
    }
    // A day's quota that is used up is full again when its window ends.
    if signals.failure == Some(FailureClass::DayQuota) && signals.retry_after.is_none() {
        let used_up = signals.windows.iter().filter(|window| window.remaining == Some(0));
        signals.retry_after = used_up
            .filter_map(|window| window.reset)
            .map(|reset| match reset {
                Reset::Full(time) | Reset::Some(time) => time,
            })
            .max();
    }
}

/// Returns the quotas that Google says are exceeded: `google.rpc.QuotaFailure`, where `quotaId` is
/// `GenerateRequestsPerDayPerProjectPerModel-FreeTier` and `quotaMetric` ends in `generate_content_free_tier_requests`.
///
/// <https://cloud.google.com/apis/design/errors#error_details>
fn violations(error: &Value) -> impl Iterator<Item = WindowSignal> {
    let details = error["details"].as_array().into_iter().flatten();
    details.flat_map(|detail| detail["violations"].as_array().into_iter().flatten()).filter_map(|violation| {
        let text = |name: &str| violation[name].as_str().unwrap_or_default();
        let name = format!("{} {}", text("quotaId"), text("quotaMetric")).to_ascii_lowercase().replace('_', "");
        let has = |words: &str| name.contains(words);
        let unit = match () {
            () if has("inputtoken") => Unit::InputTokens,
            () if has("outputtoken") => Unit::OutputTokens,
            () if has("token") => Unit::Tokens,
            () if has("request") => Unit::Requests,
            () => return None,
        };
        let periods = [("perday", 86_400), ("perhour", 3600), ("perminute", 60), ("persecond", 1)];
        let period = periods.iter().find(|(words, _)| has(words)).map(|(_, seconds)| Duration::from_secs(*seconds));
        let value = violation.get("quotaValue").map(Value::to_string);
        let limit = value.and_then(|value| Option::<u64>::of(&value)).filter(|limit| *limit > 0);
        Some(WindowSignal { unit, period, limit, remaining: Some(0), reset: None })
    })
}

/// Returns the header fields that OpenRouter repeats in `error.metadata.headers`.
fn repeated_fields(error: &Value) -> Headers {
    let mut lines = String::new();
    for (name, value) in error["metadata"]["headers"].as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), |text| text.replace(['\r', '\n'], " "));
        writeln!(lines, "{name}: {value}").expect("to a String");
    }
    Headers::new(lines.into())
}
