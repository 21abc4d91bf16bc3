//! What a provider's error body says: the message, the code, and the class they belong to.

use super::{refusals, too_long};
use crate::error::{Error, ErrorKind};
use crate::types::http::HttpResponse;
use crate::types::members::Members;

/// What an error body says, whichever of the common shapes it has.
#[derive(Debug, Default)]
pub(super) struct ErrorBody {
    pub message: Option<String>,
    pub code: Option<String>,
    pub kind: Option<String>,
    /// A status inside the body, as gateways and streams give it.
    pub status: Option<u16>,
}

/// Reads `{"error": {"message", "type", "code"}}` and what is like it: `error` as a string, `message` or `detail` at the
/// top, a list with one such object in it, and the other forms of [`refusals`].
pub(super) fn read(provider: &str, body: &[u8]) -> ErrorBody {
    let body = body.trim_ascii();
    let body = match body {
        // Google's front ends wrap the object in a list.
        [b'[', inside @ .., b']'] => inside,
        _ => body,
    };
    let Ok(top) = Members::of(body) else { return ErrorBody::default() };
    let error = refusals::error_in(&top);
    let nested = error.and_then(|error| Members::of(error.as_bytes()).ok());
    let base = refusals::base_resp(&top);
    let host = if base.is_some() { "minimax" } else { provider };
    let inner = nested.as_ref().or(base.as_ref()).unwrap_or(&top);
    let text = |members: &Members, names: &[&str]| {
        names.iter().find_map(|name| members.string(name).filter(|text| !text.is_empty()))
    };
    let label = |names: &[&str]| {
        names.iter().find_map(|name| {
            inner.string(name).filter(|label| !label.is_empty()).or_else(|| {
                inner.some(name).filter(|code| code.bytes().all(|digit| digit.is_ascii_digit())).map(str::to_owned)
            })
        })
    };
    let mut message = text(inner, MESSAGES)
        .or_else(|| error.and_then(|error| serde_json::from_str(error).ok()))
        .or_else(|| text(&top, &["message", "detail", "Message"]));
    // FastAPI's validation errors are a list under `detail`.
    if message.is_none() {
        message = ["detail", "message", "errors"].iter().find_map(|name| inner.some(name)).map(str::to_owned);
    }
    let code = label(&["code", "error_code", "errorCode", "status_code"]);
    let status = code
        .as_deref()
        .and_then(|code| refusals::status_of(host, code).or_else(|| code.parse().ok()))
        .filter(|status| (400..600).contains(status))
        .or_else(|| label(&["status", "status_code", "http_status_code"])?.parse().ok());
    ErrorBody {
        message,
        code,
        kind: label(&["type", "status"]),
        status: status.filter(|status| (400..600).contains(status)),
    }
}

/// Names under which hosts say what went wrong.
const MESSAGES: &[&str] = &[
    "message",
    "detail",
    "error_description",
    "error_message",
    "errorMessage",
    "msg",
    "error_msg",
    "status_msg",
    "error",
];

impl ErrorBody {
    /// The status that a refusal stands for where the answer's own is a good one, or there is none.
    fn implied_status(&self) -> u16 {
        let label = self.code.as_deref().filter(|code| code.parse::<u64>().is_err());
        let labels = label.into_iter().chain(self.kind.as_deref());
        self.status
            .or_else(|| labels.into_iter().find_map(refusals::status_in))
            .or_else(|| refusals::status_in(self.message.as_deref()?))
            .unwrap_or(500)
    }
}

/// An answer that is a refusal, as an error.
pub(super) fn from_response(provider: &str, response: &HttpResponse) -> Box<Error> {
    let said = read(provider, &response.body);
    // A gateway may answer 200 and put the real status in the body.
    let status = match response.status {
        200..300 => said.implied_status(),
        status => status,
    };
    let shown = said.message.clone().unwrap_or_else(|| excerpt(&response.body));
    let mut error = Error::new(kind(provider, status, &said), format!("{provider} answered {status}: {shown}"));
    error.provider = Some(provider.to_owned());
    error.status = Some(status);
    error.code = said.code.or(said.kind);
    error.body = Some(response.body.clone());
    error.request_id = response.headers.request_id().map(str::to_owned);
    error.should_retry = response.headers.get("x-should-retry").and_then(|word| word.trim().parse().ok());
    error.headers = Some(response.headers.clone());
    error
}

/// An answer of good status that is not what the wire format says: an error of the class that it says, if it refuses what
/// was asked. `what` it is instead: "something that is no completion".
pub(super) fn not_an_answer(provider: &str, response: &HttpResponse, what: &str) -> Box<Error> {
    if Members::of(&response.body).is_ok_and(|top| refusals::is_refusal(&top)) {
        return from_response(provider, response);
    }
    let message = format!("{provider} answered {} with {what}: {}", response.status, excerpt(&response.body));
    let mut error = Error::new(ErrorKind::ApiResponseValidation, message);
    error.provider = Some(provider.to_owned());
    error.status = Some(response.status);
    error.body = Some(response.body.clone());
    error
}

/// An error that came as an event of a stream that had begun well.
pub(super) fn from_event(provider: &str, data: &bytes::Bytes) -> Box<Error> {
    let said = read(provider, data);
    let shown = said.message.clone().unwrap_or_else(|| excerpt(data));
    let kind = kind(provider, said.implied_status(), &said);
    let mut error = Error::new(kind, format!("{provider} broke the stream off: {shown}"));
    error.provider = Some(provider.to_owned());
    error.status = said.status;
    error.code = said.code.or(said.kind);
    error.body = Some(data.clone());
    error
}

/// The class of a refusal: its status, unless the code or the message says something more exact.
fn kind(provider: &str, status: u16, said: &ErrorBody) -> ErrorKind {
    let has = |needles: &[&str], text: &Option<String>| {
        text.as_deref().is_some_and(|text| {
            let text = text.to_ascii_lowercase();
            needles.iter().any(|needle| text.contains(needle))
        })
    };
    if matches!(status, 400 | 413 | 422 | 500) {
        let label = [said.code.as_deref(), said.kind.as_deref()].map(Option::unwrap_or_default).join(" ");
        let is_own_number = provider == "zai" && said.code.as_deref() == Some("1261");
        if is_own_number || too_long::is_said(&label, said.message.as_deref().unwrap_or_default()) {
            return ErrorKind::ContextWindowExceeded;
        }
        // Groq says so of a request that is larger than a minute's tokens.
        if status == 413 && has(&["rate_limit"], &said.code) {
            return ErrorKind::RateLimit;
        }
    }
    if matches!(status, 400 | 403 | 422) {
        const POLICY_CODES: &[&str] = &[
            "content_policy_violation",
            "content_filter",
            "responsibleaipolicyviolation",
            "data_inspection_failed",
            "datainspectionfailed",
            "moderation",
        ];
        const POLICY_WORDS: &[&str] = &[
            "content management policy",
            "content policy",
            "content filtering policy",
            "safety system",
            "violating our usage policy",
            "flagged by our",
        ];
        if has(POLICY_CODES, &said.code) || has(POLICY_CODES, &said.kind) || has(POLICY_WORDS, &said.message) {
            return ErrorKind::ContentPolicyViolation;
        }
    }
    // Some answer a wrong key with 400.
    if status == 400
        && (has(&["invalid_api_key", "api_key_invalid"], &said.code)
            || has(&["api key not valid", "incorrect api key"], &said.message))
    {
        return ErrorKind::Authentication;
    }
    ErrorKind::from_status(status)
}

/// The beginning of a body that says nothing we can read, in one line.
pub(super) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(2000)]);
    let text: Vec<&str> = text.split_whitespace().collect();
    let text: String = text.join(" ").chars().take(300).collect();
    if text.is_empty() { "an empty body".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn answered(status: u16, body: &str) -> Box<Error> {
        from_response(
            "p",
            &HttpResponse {
                received: 0,
                status,
                headers: Default::default(),
                body: Bytes::copy_from_slice(body.as_bytes()),
            },
        )
    }

    #[test]
    fn every_shape_of_body_gives_its_message() {
        for body in [
            r#"{"error":{"message":"Nope","type":"t","param":null,"code":"c"}}"#,
            r#"{"error":"Nope"}"#,
            r#"{"message":"Nope"}"#,
            r#"{"detail":"Nope"}"#,
            r#"{"object":"error","message":"Nope","code":400}"#,
            r#"[{"error":{"message":"Nope","code":400,"status":"INVALID_ARGUMENT"}}]"#,
            "<html>\n <h1>Nope</h1></html>",
        ] {
            let error = answered(400, body);
            assert_eq!(error.kind, ErrorKind::BadRequest, "{body}");
            assert!(error.message.starts_with("p answered 400: ") && error.message.contains("Nope"), "{error}");
        }
        assert!(
            answered(400, r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#).message.contains("field required")
        );
        assert!(answered(500, "").message.contains("an empty body"));
    }

    #[test]
    fn length_policy_and_keys_are_recognised() {
        let length = r#"{"error":{"message":"This model's maximum context length is 8192 tokens","code":"context_length_exceeded"}}"#;
        assert_eq!(answered(400, length).kind, ErrorKind::ContextWindowExceeded);
        let policy = r#"{"error":{"message":"…content management policy…","code":"content_filter"}}"#;
        assert_eq!(answered(400, policy).kind, ErrorKind::ContentPolicyViolation);
        assert_eq!(answered(400, r#"{"error":{"message":"API key not valid."}}"#).kind, ErrorKind::Authentication);
        assert_eq!(answered(401, "{}").kind, ErrorKind::Authentication);
    }

    #[test]
    fn the_status_inside_a_body_counts_where_the_answer_was_200() {
        let error = answered(200, r#"{"error":{"message":"slow down","code":429}}"#);
        assert_eq!((error.kind, error.status), (ErrorKind::RateLimit, Some(429)));
        let event = Bytes::from_static(br#"{"error":{"message":"m","type":"overloaded_error"}}"#);
        assert_eq!(from_event("p", &event).kind, ErrorKind::ServiceUnavailable);
    }
}
