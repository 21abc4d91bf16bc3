//! Recognises refusals in answers of a successful status, in the formats of all hosts.
//!
//! An answer has `choices`, `data` or another required member. Without it, or with an error beside or inside of it, it is a
//! refusal. Formats that were seen, beside OpenAI's `{"error": {…}}`: `{"detail"}`, `{"code", "msg", "success":
//! false}`, `{"object": "error"}`, `{"base_resp"}`, `{"error_code", "error_msg"}`, `{"x_groq": {"error"}}`, an error
//! inside a choice, a choice that finished with `error`, `{}`.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde_json::value::RawValue;

use crate::types::lenient::{self, Scalar};
use crate::types::members::Members;

/// Finish reasons of choices that failed: OpenRouter's and Mistral's, and z.ai's
/// (<https://docs.z.ai/api-reference/llm/chat-completion>).
const FAILED: &[&str] = &["error", "network_error"];

/// Part of the name or value in every format of an error: `"error":`, `"finish_reason":"error"`, `"network_error"`.
static ERROR: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"error\""));

/// Returns true if an answer may hold an error: with this search, nearly no answer has to be parsed for one.
pub(super) fn may_be_in(json: &[u8]) -> bool {
    ERROR.find(json).is_some()
}

/// Returns true if the value of an error member means an error; many hosts always write the member.
fn is_error_value(value: &str) -> bool {
    !matches!(value, "null" | "\"\"" | "false" | "0" | "{}" | "[]")
}

/// Returns a member's value, if it means an error.
fn error_value<'a>(members: &Members<'a>, name: &str) -> Option<&'a str> {
    members.get(name).filter(|value| is_error_value(value))
}

/// Returns the error in an answer: at its top, in one of its choices, or in a host's own extension.
pub(super) fn error_in<'a>(top: &Members<'a>) -> Option<&'a str> {
    let extension = |(name, value): &(std::borrow::Cow<'a, str>, &'a RawValue)| {
        name.starts_with("x_").then(|| error_value(&Members::of(value.get().as_bytes()).ok()?, "error")).flatten()
    };
    error_value(top, "error")
        .or_else(|| choices(top).iter().find_map(|choice| error_value(choice, "error")))
        .or_else(|| top.0.iter().find_map(extension))
}

/// Returns true if one of the choices ended in an error.
pub(super) fn has_failed(top: &Members) -> bool {
    choices(top).iter().any(|choice| choice.string("finish_reason").is_some_and(|why| FAILED.contains(&&*why)))
}

fn choices<'a>(top: &Members<'a>) -> Vec<Members<'a>> {
    top.some("choices").map(lenient::list_of).unwrap_or_default()
}

/// Returns true if an object without an answer is a refusal, and no comment or keep-alive.
pub(super) fn is_refusal(top: &Members) -> bool {
    let text = |name: &str| top.string(name).filter(|text| !text.is_empty());
    let is_bad =
        |code: &str| !matches!(code.trim_matches('"').to_ascii_lowercase().as_str(), "0" | "200" | "ok" | "success");
    let is_failure =
        |name: &str| text(name).is_some_and(|word| matches!(&*word, "error" | "failed" | "fail" | "failure"));
    error_in(top).is_some()
        || ["object", "type", "status"].iter().any(|name| is_failure(name))
        || top.get("success") == Some("false")
        || ["code", "error_code", "errorCode"].iter().any(|name| error_value(top, name).is_some_and(is_bad))
        || base_resp(top).is_some()
        || top.some("usage").is_none()
            && ["detail", "message", "msg", "error_msg", "error_message", "errorMessage", "errors"]
                .iter()
                .any(|name| error_value(top, name).is_some())
}

/// Returns a refusal in MiniMax's format: <https://platform.minimax.io/docs/api-reference/errorcode>.
pub(super) fn base_resp<'a>(top: &Members<'a>) -> Option<Members<'a>> {
    let answer = Members::of(top.some("base_resp")?.as_bytes()).ok()?;
    answer.some("status_code").is_some_and(|code| u64::of(code) != 0).then_some(answer)
}

/// A host's own numbers for refusals, and the HTTP status with the same meaning.
struct Code {
    host: &'static str,
    codes: &'static [&'static str],
    status: u16,
}

static NUMBERS: &[Code] = &[
    // https://platform.minimax.io/docs/api-reference/errorcode
    Code { host: "minimax", codes: &["1004", "2049"], status: 401 },
    Code { host: "minimax", codes: &["1001"], status: 504 },
    Code { host: "minimax", codes: &["1002", "1039", "1041", "2045", "2056"], status: 429 },
    Code { host: "minimax", codes: &["1008"], status: 402 },
    Code { host: "minimax", codes: &["1026", "1027", "1042", "2013", "20132"], status: 400 },
    // https://docs.z.ai/api-reference/api-code
    Code { host: "zai", codes: &["1000", "1001", "1002", "1003", "1004"], status: 401 },
    Code { host: "zai", codes: &["1110", "1111", "1112", "1121", "1220", "1309", "1311"], status: 403 },
    Code { host: "zai", codes: &["1113", "1302", "1303", "1304", "1305", "1308", "1310", "1313"], status: 429 },
    Code { host: "zai", codes: &["1312"], status: 503 },
    Code { host: "zai", codes: &["1210", "1212", "1213", "1214", "1215", "1261", "1301"], status: 400 },
    Code { host: "zai", codes: &["1211", "1221", "1222"], status: 404 },
];

/// Returns the status for a host's own number.
pub(super) fn status_of(host: &str, code: &str) -> Option<u16> {
    NUMBERS.iter().find(|row| row.host == host && row.codes.contains(&code)).map(|row| row.status)
}

/// Words in the codes and messages of refusals without a status, and their status. The first match wins.
static WORDS: &[(&str, u16)] = &[
    ("rate_limit", 429),
    ("ratelimit", 429),
    ("rate limit", 429),
    ("ratequota", 429),
    ("throttl", 429),
    ("too_many", 429),
    ("too many requests", 429),
    ("toomanyrequests", 429),
    ("resource_exhausted", 429),
    ("quota", 429),
    ("overload", 503),
    ("unavailable", 503),
    ("over_capacity", 503),
    ("at capacity", 503),
    ("is loading", 503),
    ("loading model", 503),
    ("server is busy", 503),
    ("timeout", 504),
    ("timed out", 504),
    ("deadline_exceeded", 504),
    ("insufficient balance", 402),
    ("insufficient_balance", 402),
    ("invalid_api_key", 401),
    ("invalidapikey", 401),
    ("invalid api key", 401),
    ("incorrect api key", 401),
    ("api key not valid", 401),
    ("invalid token", 401),
    ("authentication", 401),
    ("unauthenticated", 401),
    ("unauthorized", 401),
    ("login fail", 401),
    ("permission", 403),
    ("forbidden", 403),
    ("accessdenied", 403),
    ("access denied", 403),
    ("not_found", 404),
    ("notfound", 404),
    ("not found", 404),
    ("no such model", 404),
    ("does not exist", 404),
    ("invalid", 400),
    ("bad_request", 400),
    ("bad request", 400),
    ("content_filter", 400),
    ("data_inspection", 400),
    ("datainspection", 400),
];

/// Returns the status for a code or a message that has none.
pub(super) fn status_in(text: &str) -> Option<u16> {
    let text = text.to_ascii_lowercase();
    WORDS.iter().find(|(words, _)| text.contains(words)).map(|(_, status)| *status)
}
