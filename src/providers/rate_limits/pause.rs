//! The pause that a refusal asks for, where it has no `Retry-After`.

use std::time::{Duration, SystemTime};

use super::values;
use crate::types::http::Headers;
use crate::types::retry_after::{answered_at, date, retry_after};

/// Other fields with a pause, in seconds: Azure's (<https://github.com/openai/openai-python/issues/937>) and GitHub Models'
/// (`x-ratelimit-timeremaining: 55`, beside a `retry-after` of the same value).
const FIELDS: [&str; 3] = ["x-rate-limit-reset-tokens", "x-rate-limit-reset-requests", "x-ratelimit-timeremaining"];

/// Words before a pause in a message: OpenAI's and Groq's `Please try again in 7m12s`, Azure's `Please retry after 10 seconds`,
/// Gemini's `Please retry in 20.04s`, GitHub's `Please wait 55 seconds`, Gemini Code Assist's and gateways' `reset after 2m 13s`.
const WORDS: [&str; 5] = ["try again in ", "retry after ", "retry in ", "please wait ", "reset after "];

/// Words before the date at which an account that has spent its own limit is served again (Anthropic:
/// `You will regain access on 2026-08-01 at 00:00 UTC`).
const DATE_WORDS: &str = "regain access on ";

/// Returns the pause that an answer asks for: in a header field, or in the message of a refusal for a limit.
pub(in crate::providers) fn pause(headers: &Headers, received: u64, message: Option<&str>) -> Option<Duration> {
    retry_after(headers, received)
        .or_else(|| {
            FIELDS.iter().find_map(|name| values::reset(headers.get(name)?.as_bytes(), || answered_at(None, received)))
        })
        .or_else(|| in_message(message?, || Some(answered_at(headers.get("date"), received))))
}

/// Returns the pause that a message asks for. `now` is the time of the answer, if it is known: a message may name a date.
pub(in crate::providers) fn in_message(message: &str, now: impl FnOnce() -> Option<SystemTime>) -> Option<Duration> {
    let message = message.to_ascii_lowercase();
    let after = |words: &str| message.split(words).skip(1).find_map(|rest| Some(values::duration(rest)?.0));
    WORDS.iter().find_map(|words| after(words)).or_else(|| {
        let (_, rest) = message.split_once(DATE_WORDS)?;
        let until = date(&format!("{}T00:00:00Z", rest.get(..10)?))?;
        until.duration_since(now()?).ok()
    })
}
