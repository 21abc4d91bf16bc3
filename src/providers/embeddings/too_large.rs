//! Recognises refusals of requests that have too many inputs or tokens, which succeed in halves.

use serde_json::value::RawValue;

use super::{part, without_input};
use crate::error::{Error, ErrorKind};
use crate::types::operation::Operation;
use crate::types::request::Request;

/// Words of codes and messages, in lower case, and the place where they were seen.
static PHRASES: &[(&str, &str)] = &[
    // OpenAI: <https://github.com/timescale/pgai/pull/482>
    ("max_tokens_per_request", "tokens per request"),
    // Voyage: <https://github.com/sigoden/aichat/pull/825>
    ("too_many_tokens_in_batch", "tokens per submitted batch"),
    // Mistral: <https://github.com/aurelio-labs/semantic-router/issues/297>
    ("too_many_tokens", "too many tokens in batch"),
    // Text Embeddings Inference and hosts that run it: <https://github.com/apecloud/ApeRAG/issues/716>
    ("batch_size", "maximum allowed batch size"),
    // DashScope: <https://github.com/memodb-io/memobase/issues/142>
    ("batch_size", "batch size is invalid"),
];

/// Returns the two halves of a request for embeddings that its provider found too large. `None` for every other request, and for
/// one with a single input.
pub fn halves(request: &Request, error: &Error) -> Option<[Request; 2]> {
    if request.operation != Operation::Embedding || !is_too_large(error) {
        return None;
    }
    let input = request.params.get("input")?.trim_ascii();
    // A list that begins with a number is the tokens of one text.
    if !input.starts_with(b"[") || input[1..].trim_ascii_start().first().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let inputs: Vec<&RawValue> = serde_json::from_slice(input).ok()?;
    let (first, second) = inputs.split_at(inputs.len().div_ceil(2));
    let rest = without_input(request);
    (!second.is_empty()).then(|| [part(&rest, first), part(&rest, second)])
}

fn is_too_large(error: &Error) -> bool {
    let is_refusal =
        matches!(error.kind, ErrorKind::BadRequest | ErrorKind::UnprocessableEntity | ErrorKind::ContextWindowExceeded);
    let code = error.code.as_deref().unwrap_or_default().to_ascii_lowercase();
    let message = error.message.to_ascii_lowercase();
    is_refusal
        && (error.status == Some(413) || PHRASES.iter().any(|(known, words)| code == *known || message.contains(words)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::params::Params;

    fn split(input: &str, status: u16, code: Option<&str>, message: &str) -> Option<[(String, u32); 2]> {
        let params = Params::from_json(format!(r#"{{"input":{input},"dimensions":8}}"#).as_bytes()).unwrap();
        let request = Request { operation: Operation::Embedding, params, model: "m".into(), ..Request::default() };
        let mut error = Error::new(ErrorKind::BadRequest, message);
        (error.status, error.code) = (Some(status), code.map(str::to_owned));
        halves(&request, &error).map(|halves| {
            halves.map(|half| {
                let body = half.params.as_body(&half.model, false, &[]);
                let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(body["dimensions"], 8);
                (body["input"].to_string(), half.batches.size)
            })
        })
    }

    #[test]
    fn a_request_that_is_too_large_has_two_halves() {
        let three = Some([(r#"["a","b"]"#.to_owned(), 2), (r#"["c"]"#.to_owned(), 1)]);
        let input = r#"["a","b","c"]"#;
        for message in [
            "Requested 453357 tokens, max 300000 tokens per request",
            "The max allowed tokens per submitted batch is 120000. Your batch has 121138 tokens after truncation.",
            "Too many tokens in batch. Max is 16384 got 17555",
            "input batch size 136 > maximum allowed batch size 64",
            "<400> InternalError.Algo.InvalidParameter: Value error, batch size is invalid, it should not be larger than 10.",
        ] {
            assert_eq!(split(input, 400, None, message), three, "{message}");
        }
        assert_eq!(split(input, 400, Some("max_tokens_per_request"), "no"), three);
        assert_eq!(split(input, 413, None, "Payload Too Large"), three);
        assert_eq!(split("[[1,2],[3]]", 413, None, ""), Some([("[[1,2]]".into(), 1), ("[[3]]".into(), 1)]));
        // What halves cannot mend.
        assert_eq!(split(input, 400, None, "This model's maximum context length is 8192 tokens"), None);
        for single in [r#"["a"]"#, r#""a""#, "[1,2]", "[]"] {
            assert_eq!(split(single, 413, None, ""), None, "{single}");
        }
    }
}
