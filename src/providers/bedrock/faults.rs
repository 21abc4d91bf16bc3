//! Errors of AWS's services, which have names.
//!
//! The names: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_Errors>
//! and <https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html>

use bytes::Bytes;

use super::NAME;
use crate::error::{Error, ErrorKind};
use crate::providers::errors;
use crate::types::http::HttpResponse;
use crate::types::members::Members;

/// Converts an error response.
pub(super) fn from_response(response: &HttpResponse) -> Box<Error> {
    let mut error = errors::from_response(NAME, response);
    let in_body =
        || Members::of(&response.body).ok().and_then(|top| top.string("__type").or_else(|| top.string("code")));
    set_fault(&mut error, response.headers.get("x-amzn-errortype").map(str::to_owned).or_else(in_body).as_deref());
    error.request_id = response.headers.get("x-amzn-requestid").map(str::to_owned).or(error.request_id);
    error
}

/// Converts an error inside a stream: `event` is `exception:throttlingException` or `error:InternalFailure`.
pub(super) fn from_event(event: &str, data: &Bytes) -> Box<Error> {
    let mut error = errors::from_event(NAME, data);
    let (_, fault) = event.split_once(':').unwrap_or(("", event));
    let mut letters = fault.chars();
    let fault: String = letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect();
    error.message = format!(
        "{NAME} broke the stream off with {fault}: {}",
        error.message.split_once(": ").map_or("", |(_, message)| message)
    );
    set_fault(&mut error, Some(&fault));
    error
}

/// Sets an error's code to AWS's name, and its kind to the name's.
fn set_fault(error: &mut Error, fault: Option<&str>) {
    // Some services write `namespace#Name`, some `Name:http://address`.
    let Some(fault) =
        fault.and_then(|fault| fault.split(':').next()).map(|fault| fault.rsplit('#').next().unwrap_or(fault))
    else {
        return;
    };
    error.code = Some(fault.to_owned());
    // The message may have given a more exact kind than the name does.
    if matches!(error.kind, ErrorKind::ContextWindowExceeded | ErrorKind::ContentPolicyViolation) {
        return;
    }
    let message = error.message.to_ascii_lowercase();
    error.kind = match fault {
        "ValidationException" | "SerializationException" | "MalformedQueryString" => ErrorKind::BadRequest,
        "ThrottlingException"
        | "ModelNotReadyException"
        | "ServiceQuotaExceededException"
        | "TooManyRequestsException" => ErrorKind::RateLimit,
        // An invalid bearer key is reported as denied access as well.
        "AccessDeniedException" if message.contains("authentication failed") || message.contains("api key") => {
            ErrorKind::Authentication
        }
        "AccessDeniedException" | "NotAuthorized" | "OptInRequired" => ErrorKind::PermissionDenied,
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "InvalidClientTokenId"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException" => ErrorKind::Authentication,
        "ResourceNotFoundException" | "UnknownOperationException" => ErrorKind::NotFound,
        "ConflictException" => ErrorKind::Conflict,
        "ModelTimeoutException" => ErrorKind::Timeout,
        "ServiceUnavailable" | "ServiceUnavailableException" => ErrorKind::ServiceUnavailable,
        "InternalFailure" | "InternalServerException" => ErrorKind::InternalServer,
        // The model's own status is in the body; without one, it is an error of the provider that may be temporary.
        "ModelErrorException" | "ModelStreamErrorException" => {
            error.body.as_deref().and_then(original_status).map_or(ErrorKind::InternalServer, ErrorKind::from_status)
        }
        _ => return,
    };
}

/// Returns the status that the model answered Bedrock with.
fn original_status(body: &[u8]) -> Option<u16> {
    Members::of(body).ok()?.some("originalStatusCode")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::http::Headers;

    fn answered(status: u16, fault: &'static str, body: &'static str) -> Box<Error> {
        let mut map = http::HeaderMap::new();
        map.insert("x-amzn-requestid", "r-1".parse().unwrap());
        if !fault.is_empty() {
            map.insert("x-amzn-errortype", fault.parse().unwrap());
        }
        from_response(&HttpResponse {
            received: 0,
            status,
            headers: Headers::from(&map),
            body: Bytes::from_static(body.as_bytes()),
        })
    }

    #[test]
    fn every_fault_has_its_kind() {
        for (status, fault, body, kind) in [
            (429, "ThrottlingException:http://internal.amazon.com/", r#"{"message":"m"}"#, ErrorKind::RateLimit),
            (429, "ModelNotReadyException", r#"{"message":"m"}"#, ErrorKind::RateLimit),
            (403, "AccessDeniedException", r#"{"Message":"m"}"#, ErrorKind::PermissionDenied),
            (
                403,
                "AccessDeniedException",
                r#"{"Message":"Authentication failed: Please make sure your API Key is valid."}"#,
                ErrorKind::Authentication,
            ),
            (
                403,
                "UnrecognizedClientException",
                r#"{"message":"The security token included in the request is invalid."}"#,
                ErrorKind::Authentication,
            ),
            (
                403,
                "",
                r#"{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"m"}"#,
                ErrorKind::Authentication,
            ),
            (400, "ValidationException", r#"{"message":"m"}"#, ErrorKind::BadRequest),
            (
                400,
                "ValidationException",
                r#"{"message":"Input is too long for requested model."}"#,
                ErrorKind::ContextWindowExceeded,
            ),
            (
                400,
                "ValidationException",
                r#"{"message":"The model returned the following errors: prompt is too long: 208000 tokens > 200000 maximum"}"#,
                ErrorKind::ContextWindowExceeded,
            ),
            (408, "ModelTimeoutException", r#"{"message":"m"}"#, ErrorKind::Timeout),
            (424, "ModelErrorException", r#"{"message":"m","originalStatusCode":503}"#, ErrorKind::ServiceUnavailable),
            (424, "ModelErrorException", r#"{"message":"m"}"#, ErrorKind::InternalServer),
            (503, "ServiceUnavailableException", r#"{"message":"m"}"#, ErrorKind::ServiceUnavailable),
            (404, "ResourceNotFoundException", r#"{"message":"m"}"#, ErrorKind::NotFound),
            (400, "", r#"{"message":"The provided model identifier is invalid."}"#, ErrorKind::BadRequest),
        ] {
            let error = answered(status, fault, body);
            assert_eq!(error.kind, kind, "{fault} {body}");
            assert_eq!(error.request_id.as_deref(), Some("r-1"));
        }
        assert_eq!(answered(429, "ThrottlingException:http://x/", "{}").code.as_deref(), Some("ThrottlingException"));
    }

    #[test]
    fn a_fault_in_a_stream_has_its_kind() {
        let error = from_event("exception:throttlingException", &Bytes::from_static(br#"{"message":"slow down"}"#));
        assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::RateLimit, Some("ThrottlingException")));
        assert!(error.message.ends_with("ThrottlingException: slow down"), "{error}");
        let error = from_event(
            "exception:modelStreamErrorException",
            &Bytes::from_static(br#"{"message":"m","originalStatusCode":400}"#),
        );
        assert_eq!(error.kind, ErrorKind::BadRequest);
    }
}
