//! Errors of providers: reads the message and the code of an error body, and classifies them.

use super::rate_limits::{in_message, pause};
use super::{refusals, too_long};
use crate::error::{Error, ErrorKind};
use crate::types::http::HttpResponse;
use crate::types::members::Members;

/// Content of an error body in any of the common formats.
#[derive(Debug, Default)]
pub(super) struct ErrorBody {
    pub message: Option<String>,
    pub code: Option<String>,
    pub kind: Option<String>,
    /// Status inside the body, which gateways and streams give.
    pub status: Option<u16>,
}

/// Reads `{"error": {"message", "type", "code"}}` and its variants: `error` as a string, `message` or `detail` at the
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

/// Names of the message at different hosts; the first that is present wins.
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
    /// Returns the status that a refusal implies where the answer's own is a successful one, or there is none.
    fn implied_status(&self) -> u16 {
        let label = self.code.as_deref().filter(|code| code.parse::<u64>().is_err());
        let labels = label.into_iter().chain(self.kind.as_deref());
        self.status
            .or_else(|| labels.into_iter().find_map(refusals::status_in))
            .or_else(|| refusals::status_in(self.message.as_deref()?))
            .unwrap_or(500)
    }
}

/// Returns the error for an answer that is a refusal.
pub(super) fn from_response(provider: &str, response: &HttpResponse) -> Box<Error> {
    let body = read(provider, &response.body);
    // A gateway may answer 200 and put the real status in the body.
    let status = match response.status {
        200..300 => body.implied_status(),
        status => status,
    };
    let shown = body.message.clone().unwrap_or_else(|| excerpt(&response.body));
    let mut error = Error::new(kind(provider, status, &body), format!("{provider} answered {status}: {shown}"));
    error.provider = Some(provider.to_owned());
    error.status = Some(status);
    error.code = body.code.or(body.kind);
    error.body = Some(response.body.clone());
    error.request_id = response.headers.request_id().map(str::to_owned);
    error.should_retry = response.headers.get("x-should-retry").and_then(|word| word.trim().parse().ok());
    let said = body.message.as_deref().filter(|_| may_ask(error.kind));
    error.retry_after = pause(&response.headers, response.received, said);
    error.headers = Some(response.headers.clone());
    error
}

/// Returns the error for an answer of a successful status that does not follow the wire format: of the refusal's class if it
/// refuses the request, otherwise `ApiResponseValidation`. `what` describes the answer: "something that is no completion".
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

/// Returns the error for an error event of a stream.
pub(super) fn from_event(provider: &str, data: &bytes::Bytes) -> Box<Error> {
    let body = read(provider, data);
    let shown = body.message.clone().unwrap_or_else(|| excerpt(data));
    let kind = kind(provider, body.implied_status(), &body);
    let mut error = Error::new(kind, format!("{provider} broke the stream off: {shown}"));
    error.provider = Some(provider.to_owned());
    error.status = body.status;
    error.retry_after = body.message.as_deref().filter(|_| may_ask(kind)).and_then(|said| in_message(said, || None));
    error.code = body.code.or(body.kind);
    error.body = Some(data.clone());
    error
}

/// Returns true for refusals whose message may ask for a pause. Anthropic answers an account that has spent its own limit with
/// 400.
fn may_ask(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::RateLimit | ErrorKind::ServiceUnavailable | ErrorKind::BadRequest)
}

/// Returns the class of a refusal: that of its status, unless the code or the message is more specific.
fn kind(provider: &str, status: u16, body: &ErrorBody) -> ErrorKind {
    let has = |needles: &[&str], text: &Option<String>| {
        text.as_deref().is_some_and(|text| {
            let text = text.to_ascii_lowercase();
            needles.iter().any(|needle| text.contains(needle))
        })
    };
    if matches!(status, 400 | 413 | 422 | 500) {
        let label = [body.code.as_deref(), body.kind.as_deref()].map(Option::unwrap_or_default).join(" ");
        let is_own_number = provider == "zai" && body.code.as_deref() == Some("1261");
        if is_own_number || too_long::is_reported(&label, body.message.as_deref().unwrap_or_default()) {
            return ErrorKind::ContextWindowExceeded;
        }
        // Groq's answer to a request that is larger than the tokens of a minute.
        if status == 413 && has(&["rate_limit"], &body.code) {
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
        if has(POLICY_CODES, &body.code) || has(POLICY_CODES, &body.kind) || has(POLICY_WORDS, &body.message) {
            return ErrorKind::ContentPolicyViolation;
        }
    }
    // Some hosts answer a wrong key with 400.
    if status == 400
        && (has(&["invalid_api_key", "api_key_invalid"], &body.code)
            || has(&["api key not valid", "incorrect api key"], &body.message))
    {
        return ErrorKind::Authentication;
    }
    ErrorKind::from_status(status)
}

/// Returns the beginning of a body in an unknown format, in one line.
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
