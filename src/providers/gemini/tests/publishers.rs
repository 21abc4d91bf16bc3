//! Models of other publishers on Vertex AI.

use super::super::publishers::VertexChat;
use super::*;

fn sent(model: &str, params: Value) -> Result<(String, Value)> {
    let encoded = encode(model, params, |request, _| request.stream = request.params.get("max_tokens").is_none())?;
    let headers: Vec<String> = encoded.request.headers.iter().map(|(name, _)| name.to_string()).collect();
    assert!(headers.contains(&"authorization".into()) && !headers.contains(&"anthropic-version".into()), "{headers:?}");
    let path = encoded.request.uri.to_string();
    let path =
        path.strip_prefix("https://aiplatform.googleapis.com/v1/projects/p/locations/global/").unwrap().to_owned();
    Ok((path, serde_json::from_slice(&encoded.request.body).unwrap()))
}

fn question(mut params: Value) -> Value {
    params["messages"] = json!([{"role": "user", "content": "hi"}]);
    params
}

fn answer_of(model: &str, body: &Value) -> Value {
    let request = Request { model: model.into(), ..Request::default() };
    serde_json::from_slice(&VertexChat.decode(&request, &answered(body)).unwrap()).unwrap()
}

#[test]
fn claude_has_anthropics_format_at_googles_address() {
    for model in [
        "claude-sonnet-4-5@20250929",
        "anthropic/claude-sonnet-4-5@20250929",
        "publishers/anthropic/models/claude-sonnet-4-5@20250929",
        "projects/p/locations/global/publishers/anthropic/models/claude-sonnet-4-5@20250929",
    ] {
        let (path, body) = sent(&format!("vertex/{model}"), question(json!({"max_tokens": 9}))).unwrap();
        assert_eq!(path, "publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict");
        let messages = json!([{"role": "user", "content": "hi"}]);
        assert_eq!(body, json!({"anthropic_version": "vertex-2023-10-16", "max_tokens": 9, "messages": messages}));
    }
    let (path, body) = sent("vertex/claude-opus-4-8", question(json!({}))).unwrap();
    assert_eq!(path, "publishers/anthropic/models/claude-opus-4-8:streamRawPredict");
    assert_eq!((&body["stream"], &body["max_tokens"], body.get("model")), (&json!(true), &json!(64_000), None));
}

#[test]
fn claudes_rules_hold() {
    let body = |model: &str, params: Value| sent(model, question(params)).unwrap().1;
    let thinking = body("vertex/claude-opus-4-8", json!({"reasoning_effort": "high"}));
    assert_eq!(thinking["thinking"], json!({"type": "adaptive", "display": "summarized"}));
    assert_eq!(thinking["output_config"], json!({"effort": "high"}));
    let thinking = body("vertex/anthropic/claude-haiku-4-5", json!({"reasoning_effort": "low"}));
    assert_eq!(thinking["thinking"], json!({"type": "enabled", "budget_tokens": 2048}));
    let function = json!({"name": "f", "strict": true, "parameters": {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}});
    let tools = json!({"tools": [{"type": "function", "function": function}], "tool_choice": "required"});
    let called = body("vertex/claude-sonnet-4-6", tools.clone());
    assert_eq!((&called["tool_choice"], &called["tools"][0]["strict"]), (&json!({"type": "any"}), &json!(true)));
    assert_eq!(called["tools"][0]["input_schema"]["additionalProperties"], false);
    assert_eq!(body("vertex/claude-sonnet-4-5", tools)["tools"][0].get("strict"), None);
    let schema = json!({"type": "object", "properties": {}});
    let format = json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}});
    assert_eq!(body("vertex/claude-sonnet-4-6", format.clone())["output_config"]["format"]["type"], "json_schema");
    let instructed = body("vertex/claude-sonnet-4-5", format);
    assert!(instructed.get("output_config").is_none() && instructed["system"].as_str().unwrap().contains("JSON"));
    let refused = sent("vertex/claude-sonnet-4-6", question(json!({"seed": 1}))).unwrap_err();
    assert!(refused.message.starts_with("vertex has no parameter seed"), "{refused}");
}

#[test]
fn claudes_answers_are_read() {
    let model = "claude-sonnet-4-5@20250929";
    let content = json!([
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "tool_use", "id": "toolu_vrtx_1", "name": "f", "input": {"a": 1}},
    ]);
    let message = json!({"id": "msg_vrtx_1", "type": "message", "role": "assistant", "model": model, "content": content,
        "stop_reason": "tool_use", "usage": {"input_tokens": 1, "output_tokens": 2}});
    let answer = answer_of(model, &message);
    let read = &answer["choices"][0]["message"];
    assert_eq!(read["reasoning_content"], "Hm.");
    assert_eq!(read["tool_calls"][0]["function"], json!({"name": "f", "arguments": "{\"a\":1}"}));
    assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
    // It goes back as it came.
    let back =
        sent("vertex/claude-sonnet-4-5@20250929", json!({"messages": [{"role": "user", "content": "hi"}, read]}));
    assert_eq!(back.unwrap().1["messages"][1]["content"], content);

    let request = Request { model: model.into(), stream: true, ..Request::default() };
    let mut decoder = VertexChat.stream_decoder(&request, 7);
    let mut chunks: Vec<Bytes> = Vec::new();
    for event in [
        json!({"type": "message_start", "message": {"id": "msg_vrtx_1", "model": model, "usage": {"input_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}),
        json!({"type": "message_stop"}),
    ] {
        decoder.event(b"", event.to_string().into(), &mut chunks).unwrap();
    }
    assert!(decoder.is_complete());
    let whole = accumulated(chunks.iter().map(|chunk| serde_json::from_slice(chunk).unwrap()).collect());
    assert_eq!(whole["choices"][0]["message"]["content"], "Hello");
    assert_eq!(whole["usage"]["total_tokens"], 3);

    let event =
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "later"}, "request_id": "req_vrtx_1"});
    let error = VertexChat.stream_decoder(&request, 7).event(b"", event.to_string().into(), &mut chunks);
    let error = error.unwrap_err();
    assert_eq!((error.provider.as_deref(), error.request_id.as_deref()), (Some("vertex"), Some("req_vrtx_1")));
}

#[test]
fn betas_are_a_header_field() {
    let params = question(json!({"betas": ["context-1m-2025-08-07", "b"]}));
    let request = encode("vertex/claude-sonnet-4-5", params, |_, _| {}).unwrap().request;
    let beta = request.headers.iter().find(|(name, _)| name == "anthropic-beta").unwrap();
    assert_eq!(beta.1, "context-1m-2025-08-07,b");
    assert!(!String::from_utf8_lossy(&request.body).contains("betas"));
}

#[test]
fn mistral_has_its_own_format() {
    let (path, body) = sent("vertex/mistral-large-2411@001", question(json!({"max_completion_tokens": 9}))).unwrap();
    assert_eq!(path, "publishers/mistralai/models/mistral-large-2411@001:streamRawPredict");
    assert_eq!(
        (&body["model"], &body["max_tokens"], &body["stream"]),
        (&json!("mistral-large-2411"), &json!(9), &json!(true))
    );
    assert_eq!(body.get("stream_options"), None);
    let (path, _) = sent("vertex/mistralai/codestral-2", question(json!({"max_tokens": 9}))).unwrap();
    assert_eq!(path, "publishers/mistralai/models/codestral-2:rawPredict");
}

#[test]
fn other_publishers_have_openais_format() {
    let model = "meta/llama-3.3-70b-instruct-maas";
    let (path, body) = sent(&format!("vertex/{model}"), question(json!({}))).unwrap();
    assert_eq!(path, "endpoints/openapi/chat/completions");
    assert_eq!((&body["model"], &body["stream_options"]), (&json!(model), &json!({"include_usage": true})));
    let completion = json!({"id": "1", "object": "chat.completion", "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}]});
    assert_eq!(answer_of(model, &completion)["choices"][0]["message"]["content"], "Hello");
    // Names of Google's are not taken for a publisher's.
    for model in ["gemini-3-pro", "google/gemini-3-pro", "publishers/google/models/gemini-3-pro"] {
        let (path, _) = sent(&format!("vertex/{model}"), question(json!({"max_tokens": 9}))).unwrap();
        assert_eq!(path, "publishers/google/models/gemini-3-pro:generateContent");
    }
    let (path, _) = sent("vertex/endpoints/12", question(json!({"max_tokens": 9}))).unwrap();
    assert_eq!(path, "endpoints/12:generateContent");
}
