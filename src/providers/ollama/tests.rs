use bytes::Bytes;
use serde_json::{Value, json};

use super::Ollama;
use crate::error::{ErrorKind, Result};
use crate::providers::{Deployment, Encoded, Endpoint, Provider};
use crate::types::accumulate::Accumulator;
use crate::types::http::HttpResponse;
use crate::types::params::Params;
use crate::types::request::Request;
use crate::types::secret::Secret;

fn encoded(model: &str, params: Value, drop_params: bool) -> Result<Encoded> {
    let deployment = Deployment {
        provider: &Ollama,
        model: model.into(),
        base_url: "http://h".into(),
        api_key: Some(Secret::new("k")),
        api_version: None,
        settings: Vec::new(),
        credentials: Default::default(),
    };
    let params = Params::from_json(params.to_string().as_bytes()).unwrap();
    Ollama.encode(&deployment, &Request { params, drop_params, ..Default::default() })
}

fn sent(params: Value) -> Value {
    serde_json::from_slice(&encoded("llama3", params, false).unwrap().request.body).unwrap()
}

fn decoded(answer: &Value) -> Value {
    let body = answer.to_string().into();
    let response = HttpResponse { received: 7, status: 200, headers: Default::default(), body };
    serde_json::from_slice(&Ollama.decode(&Request::default(), &response).unwrap()).unwrap()
}

fn streamed(lines: &[Value]) -> Result<Value> {
    let mut decoder = Ollama.stream_decoder(&Request::default(), 7);
    let mut chunks = Vec::new();
    for line in lines {
        decoder.event(b"", line.to_string().into(), &mut chunks)?;
    }
    assert!(decoder.is_complete() && !decoder.is_shown(chunks.last().unwrap()));
    let mut accumulator = Accumulator::default();
    chunks.iter().for_each(|chunk| accumulator.push(serde_json::from_slice(chunk).unwrap()));
    Ok(accumulator.finish())
}

#[test]
fn every_way_to_name_the_host() {
    for (given, url) in [
        ("http://localhost:11434", "http://localhost:11434"),
        ("http://h:1/", "http://h:1"),
        ("http://h:1/v1", "http://h:1"),
        ("http://h:1/c1/api/chat", "http://h:1/c1"),
        ("https://ollama.com", "https://ollama.com"),
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:5000", "http://127.0.0.1:5000"),
        (":5000", "http://127.0.0.1:5000"),
        ("box.local:5000/ollama/", "http://box.local:5000/ollama"),
        ("[::]:5000", "http://[::1]:5000"),
        ("[fe80::1]", "http://[fe80::1]:11434"),
    ] {
        assert_eq!(Ollama.base_url(given).unwrap(), url, "{given}");
    }
    for given in ["", "http://", "ftp://h", "http://user:pass@h"] {
        assert!(Ollama.base_url(given).is_err(), "{given}");
    }
}

#[test]
fn parameters_become_options() {
    let schema = json!({"type": "object"});
    let body = sent(json!({
        "temperature": 0, "max_tokens": 5, "stop": "x", "top_k": 3, "options": {"num_ctx": 9, "temperature": 1}, "keep_alive": "5m", "logprobs": true,
        "response_format": {"type": "json_schema", "json_schema": {"schema": schema}}, "reasoning_effort": "low", "stream_options": {},
    }));
    assert_eq!(
        body,
        json!({"model": "llama3", "stream": false, "keep_alive": "5m", "logprobs": true, "format": schema, "think": true,
            "options": {"num_ctx": 9, "temperature": 1, "num_predict": 5, "stop": ["x"], "top_k": 3}})
    );
    assert_eq!(sent(json!({"response_format": {"type": "json_object"}}))["format"], "json");
    assert_eq!(sent(json!({"reasoning_effort": "none"}))["think"], false);
    let body = encoded("gpt-oss:20b", json!({"reasoning_effort": "low"}), false).unwrap().request.body;
    assert!(std::str::from_utf8(&body).unwrap().contains(r#""think":"low""#));
}

#[test]
fn what_ollama_lacks_is_refused_or_dropped() {
    for params in [json!({"n": 2}), json!({"logit_bias": {"1": 1}}), json!({"tool_choice": "required"})] {
        assert_eq!(encoded("m", params.clone(), false).unwrap_err().kind, ErrorKind::UnsupportedParams);
        assert_eq!(encoded("m", params, true).unwrap().dropped_params.len(), 1);
    }
    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {}}}]);
    assert_eq!(sent(json!({"tools": tools, "tool_choice": "auto"}))["tools"], tools);
    assert_eq!(sent(json!({"tools": tools, "tool_choice": "none"})), json!({"model": "llama3", "stream": false}));
}

#[test]
fn messages_are_text_pictures_and_objects() {
    let body = sent(json!({"messages": [
        {"role": "developer", "content": "d"},
        {"role": "user", "content": [{"type": "text", "text": "what"}, {"type": "text", "text": "is it"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
        {"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"b\": 1.0, \"a\": 2}"}},
            {"id": "c2", "type": "function", "function": {"name": "g", "arguments": ""}}]},
        {"role": "tool", "tool_call_id": "c2", "content": "42"},
    ]}));
    assert_eq!(
        body["messages"],
        json!([
            {"role": "system", "content": "d"},
            {"role": "user", "content": "what\nis it", "images": ["AA=="]},
            {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [
                {"id": "c1", "function": {"name": "f", "arguments": {"b": 1.0, "a": 2}}}, {"id": "c2", "function": {"name": "g", "arguments": {}}}]},
            {"role": "tool", "content": "42", "tool_name": "g", "tool_call_id": "c2"},
        ])
    );
    let far = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://h/a.png"}}]}]);
    assert!(encoded("m", json!({"messages": far}), false).unwrap_err().message.contains("base64"));
}

fn last(fields: Value) -> Value {
    let mut line = json!({"model": "m", "created_at": "2025-01-01T00:00:02Z", "message": {"role": "assistant", "content": ""}, "done": true,
        "done_reason": "stop", "total_duration": 123456, "prompt_eval_count": 10, "eval_count": 4});
    line.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    line
}

#[test]
fn a_stream_says_what_the_plain_answer_says() {
    let call = json!({"function": {"name": "f", "arguments": {"a": "é", "b": [1.5]}}});
    let line =
        |message: Value| json!({"model": "m", "created_at": "2025-01-01T00:00:01Z", "message": message, "done": false});
    let mut whole = streamed(&[
        line(json!({"role": "assistant", "content": "", "thinking": "hm,"})),
        line(json!({"role": "assistant", "content": "", "thinking": " so"})),
        line(json!({"role": "assistant", "content": "It "})),
        line(json!({"role": "assistant", "content": "is."})),
        line(json!({"role": "assistant", "content": "", "tool_calls": [call]})),
        line(json!({"role": "assistant", "content": "", "tool_calls": [{"id": "given", "function": {"name": "g", "arguments": {}}}]})),
        last(json!({})),
    ])
    .unwrap();
    let message = json!({"role": "assistant", "content": "It is.", "thinking": "hm, so", "tool_calls": [call, {"id": "given", "function": {"name": "g", "arguments": {}}}]});
    let mut plain = decoded(&last(json!({"message": message})));
    for answer in [&mut whole, &mut plain] {
        let id = answer["choices"][0]["message"]["tool_calls"][0]["id"].take();
        assert!(id.as_str().unwrap().starts_with("call_"), "{id}");
        answer["id"].take();
    }
    assert_eq!(whole, plain);
    let message = &plain["choices"][0]["message"];
    assert_eq!(message["reasoning_content"], "hm, so");
    assert_eq!(
        message["tool_calls"][1],
        json!({"id": "given", "type": "function", "function": {"name": "g", "arguments": "{}"}})
    );
    assert_eq!(message["tool_calls"][0]["function"]["arguments"], r#"{"a":"é","b":[1.5]}"#);
    assert_eq!(plain["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!((&plain["usage"]["prompt_tokens"], &plain["usage"]["total_tokens"]), (&json!(10), &json!(14)));
    assert_eq!(
        plain["provider_specific_fields"]["ollama"],
        json!({"created_at": "2025-01-01T00:00:02Z", "total_duration": 123456})
    );
}

#[test]
fn reasons_to_end() {
    assert_eq!(decoded(&last(json!({"done_reason": "length"})))["choices"][0]["finish_reason"], "length");
    let plain = decoded(&last(json!({"logprobs": [{"token": "a", "logprob": -1.0}]})));
    assert_eq!(plain["choices"][0]["finish_reason"], "stop");
    assert_eq!(plain["choices"][0]["message"], json!({"role": "assistant", "content": null}));
    assert_eq!(plain["choices"][0]["logprobs"]["content"][0]["token"], "a");
}

#[test]
fn errors_are_errors_wherever_they_come() {
    let response = |status, body: &'static str| HttpResponse {
        received: 0,
        status,
        headers: Default::default(),
        body: Bytes::from_static(body.as_bytes()),
    };
    let error = Ollama.decode_error(&response(404, r#"{"error":"model 'm' not found"}"#));
    assert!(error.kind == ErrorKind::NotFound && error.message.contains("model 'm' not found"), "{error}");
    assert!(Ollama.decode(&Request::default(), &response(200, r#"{"error":"out of memory"}"#)).is_err());
    assert_eq!(
        Ollama.decode(&Request::default(), &response(200, "{}")).unwrap_err().kind,
        ErrorKind::ApiResponseValidation
    );
    let error = streamed(&[
        json!({"model": "m", "message": {"content": "a"}, "done": false}),
        json!({"error": "out of memory"}),
    ])
    .unwrap_err();
    assert!(error.message.contains("out of memory"), "{error}");
}
