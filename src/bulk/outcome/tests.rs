//! Tests of the lines of outcomes.

use serde_json::{Value, json};

use super::*;
use crate::error::ErrorKind;
use crate::types::answer::Meta;
use crate::types::record::Outcome as Ended;

pub(in crate::bulk) fn key(number: u64) -> Key {
    Key { row: number.wrapping_mul(0x9e37_79b9_7f4a_7c15), content: number ^ 0xabcd }
}

/// An outcome with an answer of some 500 bytes.
pub(in crate::bulk) fn answered(number: u64) -> Outcome {
    let body = json!({"id": format!("chatcmpl-{number}"), "object": "chat.completion", "created": 1_764_337_200,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": format!("Grüße \"{number}\"\n\t\\ {}", "x".repeat(80))},
            "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}});
    Outcome {
        number,
        key: key(number),
        provider: "openai".into(),
        model: "gpt-4o-mini".into(),
        response: Some(Response {
            status: 200,
            request_id: Some(format!("req_{number}").into()),
            body: body.to_string().into(),
        }),
        attempts: 1,
        usage: Some(Usage { input: 20, output: 5, ..Usage::default() }),
        cost: Some(0.000_006),
        started: Duration::from_micros(1_764_337_200_123_456 + number),
        latency: Duration::from_micros(1_234_567),
        ..Outcome::default()
    }
}

pub(in crate::bulk) fn failed(number: u64) -> Outcome {
    Outcome {
        id: Some(format!("own,\"attempts\":{number}").into()),
        response: Some(Response { status: 502, request_id: None, body: "<html>\r\nbad\n</html>\n".into() }),
        failure: Some(Failure {
            class: "ServiceUnavailableError".into(),
            code: Some("bad_gateway".into()),
            message: "the host\nis \"down\"".into(),
        }),
        attempts: 3,
        calls: vec![
            AttemptRecord {
                number: 1,
                outcome: Ended::Failed,
                message: Some("\",\"attempts\":9".into()),
                ..AttemptRecord::default()
            };
            2
        ],
        deployment: Some("east".into()),
        usage: None,
        cost: None,
        waited: Duration::from_millis(7),
        ..answered(number)
    }
}

pub(in crate::bulk) fn line(outcome: &Outcome) -> Vec<u8> {
    let mut line = Vec::new();
    outcome.encode(&mut line);
    assert_eq!(line.pop(), Some(b'\n'));
    line
}

fn decoded(line: &[u8]) -> Option<Outcome> {
    Outcome::decode(&Bytes::copy_from_slice(line))
}

#[test]
fn line_of_an_answer() {
    let line = line(&answered(7));
    let value: Value = serde_json::from_slice(&line).unwrap();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(names(&value), "id custom_id response error ritellm");
    assert_eq!(names(&value["response"]), "status_code request_id body");
    assert_eq!((&value["custom_id"], &value["error"]), (&json!("row-7"), &Value::Null));
    assert_eq!((&value["response"]["status_code"], &value["response"]["request_id"]), (&json!(200), &json!("req_7")));
    assert_eq!(value["response"]["body"]["usage"]["total_tokens"], 25);
    let crc32 = value["ritellm"]["crc32"].clone();
    assert_eq!(crc32.as_str().map(str::len), Some(8));
    assert_eq!(
        value["ritellm"],
        json!({"row": 7, "numbered": true, "provider": "openai", "model": "gpt-4o-mini", "started": 1_764_337_200.123_463,
            "latency": 1.234_567, "waited": 0.0, "attempts": 1, "usage": {"input": 20, "output": 5}, "cost": 6e-6,
            "outcome": "done", "key": format!("{:016x}{:016x}", key(7).row, key(7).content), "crc32": crc32})
    );
    assert_eq!(decoded(&line), Some(answered(7)));
}

#[test]
fn line_of_a_failure() {
    let line = line(&failed(8));
    let value: Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(value["custom_id"], "own,\"attempts\":8");
    assert_eq!(value["response"]["body"], json!({"text": "<html>\r\nbad\n</html>\n"}));
    assert_eq!(
        value["error"],
        json!({"code": "bad_gateway", "message": "the host\nis \"down\"", "type": "ServiceUnavailableError"})
    );
    assert_eq!((&value["ritellm"]["attempts"], &value["ritellm"]["usage"]), (&json!(3), &Value::Null));
    let tail = line::check(&line).unwrap();
    assert_eq!((tail.key, tail.state, tail.totals), (key(8), State::Failed, failed(8).totals()));
    assert_eq!(decoded(&line), Some(failed(8)));
    // Without an answer there is none.
    let unsent = Outcome { response: None, ..failed(9) };
    assert_eq!(decoded(&self::line(&unsent)), Some(unsent));
}

#[test]
fn every_byte_is_checked() {
    for outcome in [answered(1), failed(2)] {
        let line = line(&outcome);
        assert!(line::check(&line).is_some());
        for at in 0..line.len() {
            for flip in [1, 0x20, 0x80] {
                let mut damaged = line.clone();
                damaged[at] ^= flip;
                assert_eq!(line::check(&damaged), None, "{at} {flip}");
            }
            assert_eq!(line::check(&line[..at]), None);
            assert_eq!(line::check(&line[at + 1..]), None);
        }
    }
}

#[test]
fn bodies_are_on_one_line() {
    let cases: [(&[u8], &str); 9] = [
        (b"{\"a\": [1,\n\n    2],\r\n\t\"b\":\"\\n\"}\n", "{\"a\": [1,2],\"b\":\"\\n\"}"),
        (b"\n[]\r\n", "[]"),
        (b"{}", "{}"),
        (b"null", "null"),
        (b"", "null"),
        (b"{\"a\":", r#"{"text":"{\"a\":"}"#),
        (b"{\"a\":\"\xff\"}", "{\"text\":\"{\\\"a\\\":\\\"\u{fffd}\\\"}\"}"),
        (b"\"a\nb\"", r#"{"text":"\"a\nb\""}"#),
        (b"{} {}", r#"{"text":"{} {}"}"#),
    ];
    for (bytes, expected) in cases {
        let mut out = Vec::new();
        body(&mut out, bytes);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
    for body in ["", "{", "{\"text\":\"x\"}", "\"x\""] {
        let mut outcome = answered(1);
        outcome.response.as_mut().unwrap().body = body.into();
        assert_eq!(decoded(&line(&outcome)), Some(outcome));
    }
    let deep = [b"[".repeat(5000), b"]".repeat(5000)].concat();
    let mut outcome = answered(1);
    outcome.response.as_mut().unwrap().body = deep.into();
    assert_eq!(decoded(&line(&outcome)), Some(outcome));
}

#[test]
fn from_what_a_client_returns() {
    let headers = crate::types::http::Headers::new("x-request-id: req_1\r\n".into());
    let meta = Meta { provider: "p".into(), model: "m".into(), status: 200, headers, ..Meta::default() };
    let mut redactors = Redactors::default();
    let mut answered = |meta: Meta| {
        let answer = Answer { body: "{}".into(), meta };
        Outcome::answered(4, key(4), None, Duration::from_secs(1), answer, &mut redactors)
    };
    let outcome = answered(meta.clone());
    assert_eq!((outcome.state(), outcome.response.unwrap().request_id.as_deref()), (State::Done, Some("req_1")));
    // A server that sends keys back, of calls with different ones.
    for (key, right) in [("key-1-of-ours", "***"), ("key-2-of-ours", "key-1-of-ours"), ("key-1-of-ours", "***")] {
        let headers = crate::types::http::Headers::new("x-request-id: key-1-of-ours\r\n".into());
        let mut secrets = crate::types::secrets::Secrets::default();
        secrets.push(crate::types::secret::Secret::new(key));
        let outcome = answered(Meta { headers, secrets, ..meta.clone() });
        assert_eq!(outcome.response.unwrap().request_id.as_deref(), Some(right));
    }
    let mut error = Error::new(ErrorKind::RateLimit, "slow down");
    (error.status, error.body) = (Some(429), Some("{}".into()));
    let outcome = Outcome::failed(4, key(4), None, Duration::from_secs(1), *error);
    assert_eq!(outcome.state(), State::Failed);
    assert_eq!(outcome.failure.unwrap().class, "RateLimitError");
    assert_eq!(outcome.response, Some(Response { status: 429, request_id: None, body: "{}".into() }));
}

/// Readers that split at more than newlines: huggingface/tau#354, PrimeIntellect-ai/verifiers#1644, modaic-ai/modaic#188.
#[test]
fn only_newlines_separate_lines() {
    let mut outcome = Outcome { id: Some("a\u{2028}b".into()), ..failed(3) };
    outcome.failure.as_mut().unwrap().message = "\u{2029}\u{85}”Â".into();
    outcome.response.as_mut().unwrap().body = "{\"a\": \"…\u{2028}\u{2029}\u{85}é\u{85}\"}".into();
    let line = line(&outcome);
    let text = String::from_utf8(line.clone()).unwrap();
    assert!(!text.contains(['\u{85}', '\u{2028}', '\u{2029}']), "{text}");
    assert!(text.contains("\"body\":{\"a\": \"…\\u2028\\u2029\\u0085é\\u0085\"}"), "{text}");
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["response"]["body"]["a"], "…\u{2028}\u{2029}\u{85}é\u{85}");
    let read = decoded(&line).unwrap();
    assert_eq!((read.id, read.failure), (outcome.id, outcome.failure));
}

/// The example of the documentation is a line as it is written.
#[test]
fn line_of_the_documentation() {
    let body = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1764337200,"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"billing"},"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":5,"total_tokens":25}}"#;
    let mut outcome = answered(7);
    outcome.response = Some(Response { status: 200, request_id: Some("req_1".into()), body: body.into() });
    let line = String::from_utf8(line(&outcome)).unwrap();
    let page = include_str!("../../../docs/bulk-journal.md");
    assert!(page.contains(&line), "{line}");
}
