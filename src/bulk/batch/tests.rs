//! Tests of the lines of batches. Whole jobs are run in `tests/test_bulk_batches.py`.

use super::row::BatchRow;
use crate::bulk::identity::Key;
use crate::bulk::row::RowCall;
use crate::providers::{BatchRows, QueueRefusal, RowAnswer, batch_price, queue_refusal, refusal_class, resolve};
use crate::types::http::{Headers, HttpResponse};
use crate::types::operation::Operation;
use crate::types::params::Params;
use crate::types::rate_limit::FailureClass;
use crate::types::usage::Usage;

fn form_of(provider: &str) -> &'static dyn BatchRows {
    let key = |name: &str| name.ends_with("_KEY").then(|| "k".to_owned());
    resolve(&format!("{provider}/m"), &Default::default(), &key).unwrap().provider.batch_rows().unwrap()
}

fn row(params: &str) -> BatchRow {
    let call = RowCall {
        id: Some("an \"id\"".into()),
        operation: Operation::Embedding,
        model: Some("openai/m".into()),
        params: Params::from_json(params.as_bytes()).unwrap(),
    };
    let key = Key { row: u64::MAX, content: 7 };
    let usage = Some(Usage { input: 3, ..Usage::default() });
    BatchRow { attempts: 2, corrections: 1, usage, cost: Some(0.25), ..BatchRow::new(5, key, call) }
}

#[test]
fn a_row_is_read_as_it_was_written() {
    for params in [r#"{"input":"é\n","x":[1e400,{"a":null}]}"#, "{}"] {
        let written = row(params);
        let mut line = Vec::new();
        written.encode(&mut line);
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let read = BatchRow::decode(&line).unwrap();
        assert_eq!((read.number, read.key, read.attempts, read.corrections), (5, written.key, 2, 1));
        assert_eq!((read.usage, read.cost), (written.usage, Some(0.25)));
        assert_eq!((read.call.id, read.call.operation), (written.call.id, Operation::Embedding));
        assert_eq!(read.call.model.as_deref(), Some("openai/m"));
        let members =
            |params: &Params| params.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect::<Vec<_>>();
        assert_eq!(members(&read.call.params), members(&written.call.params));
        for cut in 0..line.len() - 1 {
            assert!(BatchRow::decode(&line[..cut]).is_none(), "{cut}");
        }
    }
}

#[test]
fn lines_are_each_providers_own() {
    let line = |provider: &str, operation: Operation| {
        let form = form_of(provider);
        let mut line = Vec::new();
        form.encode("t-1-0", operation, br#"{"a":1}"#, &mut line);
        String::from_utf8(line).unwrap()
    };
    let openai = r#"{"custom_id":"t-1-0","method":"POST","url":"/v1/chat/completions","body":{"a":1}}"#;
    assert_eq!(line("openai", Operation::Chat), openai);
    assert_eq!(line("groq", Operation::Chat), openai);
    assert_eq!(line("openai", Operation::Responses), openai.replace("chat/completions", "responses"));
    assert_eq!(line("openai", Operation::Embedding), openai.replace("chat/completions", "embeddings"));
    assert_eq!(line("anthropic", Operation::Chat), r#"{"custom_id":"t-1-0","params":{"a":1}}"#);
    assert_eq!(line("gemini", Operation::Chat), r#"{"key":"t-1-0","request":{"a":1}}"#);
    let refused = |code: &str, message: &str| {
        let refusal = queue_refusal("openai", code, message);
        (refusal.is_full, refusal.max_tokens)
    };
    // openai/openai-cookbook and the forum of OpenAI's developers have these texts.
    let message = "Enqueued token limit reached for gpt-4o in organization org-1. Limit: 90,000 enqueued tokens. Please try again.";
    assert_eq!(refused("token_limit_exceeded", message), (true, Some(90_000)));
    assert_eq!(refused("", "Limit: 2_000_000 enqueued tokens"), (false, Some(2_000_000)));
    assert_eq!(refused("x", "Limit: 90,000 requests; the limit of enqueued tokens"), (false, None));
    assert_eq!(queue_refusal("anthropic", "token_limit_exceeded", message), QueueRefusal::default());
    assert!(batch_price("mistral").unwrap_err().message.contains("these have: "));
    assert_eq!((batch_price("azure").unwrap(), batch_price("openai_compatible").unwrap()), (Some(0.5), None));
}

#[test]
fn what_is_no_line_is_no_answer() {
    for provider in ["openai", "anthropic", "gemini"] {
        let form = form_of(provider);
        for text in ["", "{}", "[]", "null", "{\"custom_id\":1}", "{\"custom_id\":\"a\",\"response\":{}}", "\u{0}"] {
            let result = form.decode(text.as_bytes());
            assert!(!matches!(result.answer, RowAnswer::Response { status: 0..200 | 300.., .. }), "{provider} {text}");
            assert!(result.id.is_empty() || result.id == "a");
        }
    }
}

#[test]
fn a_refusal_has_its_class() {
    let of = |status, body: &'static str| {
        let response = HttpResponse { received: 0, status, headers: Headers::default(), body: body.into() };
        refusal_class("openai", &response)
    };
    let code = |code: &str| format!(r#"{{"error":{{"message":"no","code":"{code}"}}}}"#).leak();
    assert_eq!(of(429, code("insufficient_quota")), Some(FailureClass::QuotaFatal));
    assert_eq!(of(429, code("rate_limit_exceeded")), Some(FailureClass::Rate));
    assert_eq!(of(401, code("invalid_api_key")), Some(FailureClass::Auth));
}
