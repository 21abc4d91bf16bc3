//! Calls, answers and streams of our own making, small. A stream here is made out of a plain answer, so that what is put
//! together from it has something to be equal to.

use super::*;
use crate::providers::history;
use crate::types::accumulate::Accumulator;
use crate::types::params::Params;
use crate::types::secret::Secret;
use crate::types::usage::Usage;
use serde_json::{Value, json};

fn deployment(model: &str, base_url: &str) -> Deployment {
    Deployment {
        provider: &Anthropic,
        model: model.into(),
        base_url: base_url.into(),
        api_key: Some(Secret::new("key")),
        api_version: None,
        settings: Vec::new(),
        credentials: Default::default(),
    }
}

fn encode(model: &str, params: Value, drop_params: bool) -> Result<Encoded> {
    let params = Params::from_json(params.to_string().as_bytes()).unwrap();
    let request = Request { model: model.into(), params, drop_params, ..Default::default() };
    Anthropic.encode(&deployment(model, "http://h"), &request)
}

/// The body that these parameters make, beside a message.
fn sent_to(model: &str, mut params: Value) -> Value {
    let messages = json!([{"role": "user", "content": "hi"}]);
    params.as_object_mut().unwrap().entry("messages").or_insert(messages);
    serde_json::from_slice(&encode(model, params, false).unwrap().request.body).unwrap()
}

fn sent(params: Value) -> Value {
    sent_to("claude-sonnet-4-5", params)
}

fn refusal(params: Value) -> Box<Error> {
    encode("claude-sonnet-4-5", params, false).unwrap_err()
}

fn turns(messages: Value) -> Value {
    sent(json!({"messages": messages}))["messages"].take()
}

fn response(body: &Value) -> HttpResponse {
    HttpResponse { received: 7, status: 200, headers: Default::default(), body: body.to_string().into() }
}

fn decoded(body: &Value) -> Value {
    serde_json::from_slice(&Anthropic.decode(&Request::default(), &response(body)).unwrap()).unwrap()
}

fn answer(content: Value, stop_reason: &str) -> Value {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": content, "stop_reason": stop_reason, "stop_sequence": null,
        "usage": {"input_tokens": 5, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 300, "output_tokens": 40, "service_tier": "standard"}})
}

/// The message that an answer makes, as it would come back in the history.
fn message(content: Value) -> Value {
    decoded(&answer(content, "end_turn"))["choices"][0]["message"].take()
}

#[test]
fn an_answer_may_have_no_content() {
    let refused = decoded(&answer(Value::Null, "refusal"));
    assert_eq!(refused["choices"][0]["message"]["content"], Value::Null);
    assert_eq!(refused["choices"][0]["finish_reason"], "content_filter");
    assert!(Anthropic.decode(&Request::default(), &response(&json!({"content": null}))).is_err());
}

/// Since October 2024, when a sentence that says otherwise left the documentation, conversations may begin with an answer:
/// <https://github.com/anthropics/anthropic-sdk-python/commit/5c0421e2c374f6ebd1468a400ffc8684fa6276d3>. Converse still
/// requires a question, and is sent one.
#[test]
fn a_conversation_may_begin_with_an_answer() {
    let messages = json!([{"role": "assistant", "content": "Ask me."}, {"role": "user", "content": "hi"}]);
    assert_eq!(turns(messages.clone()), messages);
}

/// One answer of every kind there is.
fn answers() -> Vec<Value> {
    let thinking = json!({"type": "thinking", "thinking": "Let me séé \"it\".", "signature": "c2ln+/="});
    let call = json!({"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Zürich", "n": 1.50}});
    let page = json!({"type": "web_search_result_location", "url": "https://a.example", "title": "A", "encrypted_index": "xyz", "cited_text": "…"});
    let search = json!({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}});
    let found = json!({"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"type": "web_search_result", "url": "https://a.example", "encrypted_content": "e"}]});
    let mut paused = answer(json!([search, found]), "pause_turn");
    paused["container"] = json!({"id": "container_1", "expires_at": "2026-01-01T00:00:00Z"});
    paused["usage"]["server_tool_use"] = json!({"web_search_requests": 1});
    paused["usage"]["output_tokens_details"] = json!({"thinking_tokens": 9});
    let mut refused = answer(json!([]), "refusal");
    refused["stop_details"] = json!({"type": "refusal", "category": "bio", "explanation": "no"});
    let mut compacted =
        answer(json!([{"type": "compaction", "content": "What was said.", "encrypted_content": "zzz"}]), "compaction");
    compacted["context_management"] = json!({"applied_edits": []});
    vec![
        answer(json!([{"type": "text", "text": "Hé\n\"llo\" 😀"}]), "end_turn"),
        answer(json!([{"type": "text", "text": "First."}, call]), "tool_use"),
        answer(json!([call, {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}}]), "tool_use"),
        answer(
            json!([thinking, {"type": "redacted_thinking", "data": "ZGF0YQ=="}, {"type": "text", "text": "So."}, call]),
            "tool_use",
        ),
        answer(
            json!([{"type": "text", "text": "I look. "}, search, found, {"type": "text", "text": "Fünf.", "citations": [page]}, {"type": "text", "text": " End."}]),
            "end_turn",
        ),
        answer(
            json!([{"type": "tool_use", "id": "toolu_3", "name": "f", "input": {"a": [1, null]}, "caller": {"type": "direct"}}]),
            "tool_use",
        ),
        answer(json!([{"type": "text", "text": "cut"}]), "max_tokens"),
        answer(json!([{"type": "something_new", "data": {"x": 1}}, {"type": "text", "text": "t"}]), "end_turn"),
        paused,
        refused,
        compacted,
    ]
}

/// The events of the stream that gives this answer, each text cut into pieces of this many characters.
fn events(answer: &Value, size: usize) -> Vec<Value> {
    let cut = |text: &str| -> Vec<String> {
        text.chars().collect::<Vec<_>>().chunks(size).map(|piece| piece.iter().collect()).collect()
    };
    let mut start = answer.clone();
    start["content"] = json!([]);
    start["usage"]["output_tokens"] = 1.into();
    let mut delta = json!({});
    for name in ["stop_reason", "stop_sequence", "stop_details", "container"] {
        if let Some(value) = answer.get(name) {
            delta[name] = value.clone();
            start[name] = Value::Null;
        }
    }
    let mut events = vec![json!({"type": "message_start", "message": start}), json!({"type": "ping"})];
    for (index, block) in answer["content"].as_array().unwrap().iter().enumerate() {
        let mut begun = block.clone();
        let mut deltas = Vec::new();
        let mut grow = |name: &str, kind: &str, begun: &mut Value| {
            let text = begun[name].as_str().unwrap().to_owned();
            begun[name] = "".into();
            deltas.extend(cut(&text).into_iter().map(|piece| json!({"type": kind, name: piece})));
        };
        match block["type"].as_str().unwrap() {
            "text" => {
                grow("text", "text_delta", &mut begun);
                if block.get("citations").is_some() {
                    begun["citations"] = json!([]);
                    deltas.extend(
                        block["citations"]
                            .as_array()
                            .unwrap()
                            .iter()
                            .map(|citation| json!({"type": "citations_delta", "citation": citation})),
                    );
                }
            }
            "thinking" => {
                grow("thinking", "thinking_delta", &mut begun);
                begun["signature"] = "".into();
                deltas.push(json!({"type": "signature_delta", "signature": block["signature"]}));
            }
            "tool_use" | "server_tool_use" => {
                begun["input"] = json!({});
                deltas.push(json!({"type": "input_json_delta", "partial_json": ""}));
                if block["input"] != json!({}) {
                    deltas.extend(
                        cut(&block["input"].to_string())
                            .into_iter()
                            .map(|piece| json!({"type": "input_json_delta", "partial_json": piece})),
                    );
                }
            }
            "compaction" => {
                begun = json!({"type": "compaction", "content": null});
                deltas.push(json!({"type": "compaction_delta", "content": block["content"], "encrypted_content": block["encrypted_content"]}));
            }
            _ => {}
        }
        events.push(json!({"type": "content_block_start", "index": index, "content_block": begun}));
        events.extend(
            deltas.into_iter().map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta})),
        );
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    events.push(json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": answer["usage"]["output_tokens"], "input_tokens": null}}));
    events.push(json!({"type": "message_stop"}));
    events
}

fn stream(events: &[Value], show_usage: bool) -> (Vec<Value>, Vec<bool>, Box<dyn StreamDecoder>) {
    let options = if show_usage { json!({"stream_options": {"include_usage": true}}) } else { json!({}) };
    let request = Request { params: Params::from_json(options.to_string().as_bytes()).unwrap(), ..Default::default() };
    let mut decoder = Anthropic.stream_decoder(&request, 7);
    let mut chunks = Vec::new();
    for event in events {
        decoder.event(event["type"].as_str().unwrap().as_bytes(), event.to_string().into(), &mut chunks).unwrap();
    }
    let shown = chunks.iter().map(|chunk| decoder.is_shown(chunk)).collect();
    (chunks.iter().map(|chunk| serde_json::from_slice(chunk).unwrap()).collect(), shown, decoder)
}

fn accumulated(chunks: Vec<Value>) -> Value {
    let mut accumulator = Accumulator::default();
    chunks.into_iter().for_each(|chunk| accumulator.push(chunk));
    accumulator.finish()
}

#[test]
fn a_stream_says_what_the_plain_answer_says() {
    for answer in answers() {
        for size in [1, 3, 1000] {
            let (chunks, _, decoder) = stream(&events(&answer, size), true);
            assert!(decoder.is_done() && decoder.is_complete());
            assert_eq!(accumulated(chunks), decoded(&answer), "in pieces of {size}");
        }
    }
}

#[test]
fn a_stream_that_is_cut_is_not_complete_and_gives_what_came() {
    for answer in answers() {
        let events = events(&answer, 2);
        let whole = decoded(&answer);
        for cut in 0..events.len() {
            let (chunks, _, decoder) = stream(&events[..cut], false);
            let has_end = events[..cut].iter().any(|event| event["type"] == "message_delta");
            assert_eq!(decoder.is_complete(), has_end, "after {cut} events");
            let so_far = accumulated(chunks);
            let text = |completion: &Value| {
                completion.pointer("/choices/0/message/content").and_then(Value::as_str).unwrap_or("").to_owned()
            };
            assert!(text(&whole).starts_with(&text(&so_far)));
        }
    }
}

#[test]
fn native_blocks_come_back_as_they_were() {
    for answer in answers() {
        let content = answer["content"].as_array().unwrap().clone();
        let (chunks, ..) = stream(&events(&answer, 3), false);
        for mut completion in [decoded(&answer), accumulated(chunks)] {
            let message = completion["choices"][0]["message"].take();
            let sent = turns(json!([{"role": "user", "content": "hi"}, message, {"role": "user", "content": "go on"}]));
            if content.is_empty() {
                assert_eq!(sent.as_array().unwrap().len(), 1);
                continue;
            }
            let sent = match &sent[1]["content"] {
                Value::String(text) => json!([{"type": "text", "text": text}]),
                blocks => blocks.clone(),
            };
            assert_eq!(sent, Value::Array(content.clone()));
        }
    }
}

#[test]
fn what_the_caller_changed_is_sent_instead() {
    let thinking = json!({"type": "thinking", "thinking": "t", "signature": "s"});
    let call =
        json!({"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}, "caller": {"type": "direct"}});
    let original = message(json!([thinking, {"type": "text", "text": "old"}, call]));
    let mut changed = original.clone();
    changed["content"] = "new".into();
    assert_eq!(turns(json!([changed]))[0]["content"], json!([thinking, {"type": "text", "text": "new"}, call]));
    let mut changed = original.clone();
    changed["tool_calls"][0]["function"]["arguments"] = r#"{"a":2}"#.into();
    let other = json!({"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 2}});
    assert_eq!(turns(json!([changed]))[0]["content"], json!([thinking, {"type": "text", "text": "old"}, other]));
    let mut same = original;
    same["tool_calls"][0]["function"]["arguments"] = "{ \"a\" : 1 }".into();
    assert_eq!(turns(json!([same]))[0]["content"][2], call);
}

#[test]
fn thinking_blocks_of_other_libraries_are_sent_if_they_are_signed() {
    let signed = json!({"type": "thinking", "thinking": "t", "signature": "s"});
    let message = json!({"role": "assistant", "content": "a", "thinking_blocks": [signed, {"type": "thinking", "thinking": "u"}], "reasoning_content": "tu"});
    assert_eq!(turns(json!([message]))[0]["content"], json!([signed, {"type": "text", "text": "a"}]));
}

#[test]
fn nothing_of_anthropics_goes_to_another_provider() {
    let message = message(
        json!([{"type": "thinking", "thinking": "t", "signature": "s"}, {"type": "text", "text": "a", "citations": [{"type": "web_search_result_location", "url": "u", "title": "T"}]}]),
    );
    assert_eq!(message["annotations"][0]["url_citation"]["url"], "u");
    let cleaned = history::adapt_messages(
        crate::providers::lookup("openai").unwrap().row(),
        || true,
        &Default::default(),
        json!([message]).to_string().as_bytes(),
    )
    .unwrap();
    assert_eq!(serde_json::from_str::<Value>(&cleaned).unwrap(), json!([{"role": "assistant", "content": "a"}]));
}

#[test]
fn turns_are_made_of_messages() {
    let messages = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Really.", "cache_control": {"type": "ephemeral"}}]},
        {"role": "user", "content": "a"},
        {"role": "user", "content": ["b", {"type": "text", "text": " "}, {"type": "search_result", "source": "s"}]},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}, {"id": "call_2", "type": "function", "function": {"name": "g", "arguments": "{\"x\": 1"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "one"},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "two"}], "is_error": true, "cache_control": {"type": "ephemeral"}},
        {"role": "user", "content": "c", "cache_control": {"type": "ephemeral"}},
    ]);
    let body = sent(json!({"messages": messages}));
    assert_eq!(
        body["system"],
        json!([{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Really.", "cache_control": {"type": "ephemeral"}}])
    );
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, {"type": "search_result", "source": "s"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "call_1", "name": "f", "input": {}}, {"type": "tool_use", "id": "call_2", "name": "g", "input": {"INVALID_JSON": "{\"x\": 1"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "one"},
                {"type": "tool_result", "tool_use_id": "call_2", "content": [{"type": "text", "text": "two"}], "is_error": true, "cache_control": {"type": "ephemeral"}},
                {"type": "text", "text": "c", "cache_control": {"type": "ephemeral"}},
            ]},
        ])
    );
    assert_eq!(
        sent(json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]}))["system"],
        "s"
    );
    let changes = json!({"role": "system", "content": [{"type": "tool_addition", "tool": {"type": "tool_reference", "name": "t"}}]});
    assert_eq!(turns(json!([{"role": "user", "content": "u"}, changes]))[1], changes);
    assert!(
        refusal(json!({"messages": [{"role": "function", "content": "x"}]})).message.starts_with("messages[0]: role")
    );
}

#[test]
fn images_and_files_become_blocks() {
    let block = |part: Value| turns(json!([{"role": "user", "content": [part]}]))[0]["content"][0].clone();
    let image = |url: &str| block(json!({"type": "image_url", "image_url": {"url": url, "detail": "high"}}));
    assert_eq!(
        image("data:image/jpg;base64,QUJD"),
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "QUJD"}})
    );
    assert_eq!(image("https://h/a.png"), json!({"type": "image", "source": {"type": "url", "url": "https://h/a.png"}}));
    let file = |file: Value| block(json!({"type": "file", "file": file, "cache_control": {"type": "ephemeral"}}));
    assert_eq!(
        file(json!({"file_data": "data:application/pdf;base64,QUJD", "filename": "a.pdf"})),
        json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "QUJD"}, "title": "a.pdf", "cache_control": {"type": "ephemeral"}})
    );
    assert_eq!(file(json!({"file_id": "file_1"}))["source"], json!({"type": "file", "file_id": "file_1"}));
    assert_eq!(
        file(json!({"file_data": "data:text/plain;base64,w6k="}))["source"],
        json!({"type": "text", "media_type": "text/plain", "data": "é"})
    );
    let native = json!({"type": "document", "source": {"type": "url", "url": "u"}, "citations": {"enabled": true}});
    assert_eq!(block(native.clone()), native);
    let audio = json!([{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]);
    assert!(refusal(json!({"messages": audio})).message.contains("input_audio"));
}

#[test]
fn tools_and_their_choice() {
    let function = json!({"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}, "strict": true}, "cache_control": {"type": "ephemeral"}});
    let native = json!({"type": "web_search_20250305", "name": "web_search", "max_uses": 2});
    let body = sent(
        json!({"tools": [function, native, {"type": "function", "function": {"name": "g"}}], "tool_choice": "required", "parallel_tool_calls": false}),
    );
    assert_eq!(
        body["tools"],
        json!([
            {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}, "additionalProperties": false}, "strict": true, "cache_control": {"type": "ephemeral"}},
            native,
            {"name": "g", "input_schema": {"type": "object", "properties": {}}},
        ])
    );
    assert_eq!(body["tool_choice"], json!({"type": "any", "disable_parallel_tool_use": true}));
    let choice = |choice: Value| {
        sent(json!({"tools": [native], "tool_choice": choice, "parallel_tool_calls": true}))["tool_choice"].take()
    };
    assert_eq!(choice(json!({"type": "function", "function": {"name": "f"}})), json!({"type": "tool", "name": "f"}));
    assert_eq!(choice(json!("none")), json!({"type": "none"}));
    assert_eq!(choice(json!("auto")), json!({"type": "auto"}));
    assert_eq!(
        sent(json!({"tools": [native], "parallel_tool_calls": false}))["tool_choice"],
        json!({"type": "auto", "disable_parallel_tool_use": true})
    );
    let options = json!({"user_location": {"type": "approximate", "approximate": {"city": "Bern"}}});
    assert_eq!(
        sent(json!({"web_search_options": options}))["tools"][0]["user_location"],
        json!({"type": "approximate", "city": "Bern"})
    );
}

#[test]
fn effort_becomes_thinking_as_the_model_has_it() {
    let asked = |model: &str, effort: &str| {
        let body = sent_to(model, json!({"reasoning_effort": effort}));
        (body["thinking"].clone(), body["output_config"]["effort"].clone(), body["max_tokens"].as_u64().unwrap())
    };
    assert_eq!(
        asked("claude-sonnet-4-5", "low"),
        (json!({"type": "enabled", "budget_tokens": 2048}), Value::Null, 34_048)
    );
    assert_eq!(asked("claude-opus-4-1", "high").2, 32_000);
    assert_eq!(
        asked("claude-opus-4-6", "xhigh"),
        (json!({"type": "adaptive", "display": "summarized"}), json!("max"), 64_000)
    );
    assert_eq!(asked("claude-opus-4-8", "xhigh").1, "xhigh");
    assert_eq!(asked("claude-opus-5", "minimal").1, "low");
    assert_eq!(asked("claude-sonnet-4-5", "none").0, Value::Null);
    assert_eq!(asked("claude-opus-5", "none").0, json!({"type": "disabled"}));
    assert_eq!(asked("claude-opus-5-5", "none"), (Value::Null, json!("low"), 64_000));

    let body = sent(json!({"reasoning_effort": "high", "max_completion_tokens": 3000}));
    assert_eq!((&body["thinking"]["budget_tokens"], &body["max_tokens"]), (&json!(1500), &json!(3000)));
    assert_eq!(sent(json!({"reasoning_effort": "high", "max_tokens": 1000}))["thinking"], Value::Null);
    let own = json!({"type": "enabled", "budget_tokens": 40_000});
    let body = sent(json!({"thinking": own, "reasoning_effort": "low"}));
    assert_eq!((&body["thinking"], &body["max_tokens"]), (&own, &json!(64_000)));
    assert_eq!(
        encode("claude-3-5-haiku-latest", json!({"messages": [], "reasoning_effort": "low"}), false).unwrap_err().kind,
        ErrorKind::UnsupportedParams
    );
}

#[test]
fn thinking_is_not_asked_for_where_it_would_be_refused() {
    let call = json!({"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let messages =
        json!([{"role": "user", "content": "hi"}, call, {"role": "tool", "tool_call_id": "1", "content": "x"}]);
    let params = json!({"messages": messages, "reasoning_effort": "low"});
    let encoded = encode("claude-sonnet-4-5", params.clone(), false).unwrap();
    assert_eq!(encoded.dropped_params, ["reasoning_effort"]);
    assert!(!String::from_utf8_lossy(&encoded.request.body).contains("thinking"));
    assert_eq!(sent_to("claude-opus-5", params)["thinking"]["type"], "adaptive");
    let forced = json!({"messages": [], "tool_choice": "required", "tools": [{"type": "function", "function": {"name": "f"}}], "reasoning_effort": "low"});
    let encoded = encode("claude-sonnet-4-5", forced.clone(), false).unwrap();
    assert_eq!(encoded.dropped_params, ["reasoning_effort"]);
    assert!(!String::from_utf8_lossy(&encoded.request.body).contains("thinking"));
    assert_eq!(sent_to("claude-opus-4-8", forced)["thinking"]["type"], "adaptive");
}

#[test]
fn formats_are_native_where_the_model_has_them() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer", "maximum": 3}}, "required": ["a"]});
    let format = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": true}});
    let body = sent(json!({"response_format": format, "output_config": {"effort": "low"}}));
    assert_eq!(body["output_config"]["effort"], "low");
    assert_eq!(body["output_config"]["format"]["type"], "json_schema");
    assert_eq!(body["output_config"]["format"]["schema"]["additionalProperties"], false);
    let body = sent_to(
        "claude-sonnet-4-0",
        json!({"response_format": format, "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]}),
    );
    assert_eq!(body["output_config"], Value::Null);
    assert!(body["system"][1]["text"].as_str().unwrap().contains("\"maximum\":3"));
    assert!(
        sent(json!({"response_format": {"type": "json_object"}}))["system"].as_str().unwrap().contains("JSON object")
    );
    assert_eq!(sent(json!({"response_format": {"type": "text"}}))["system"], Value::Null);
}

#[test]
fn the_other_parameters() {
    let body = sent(
        json!({"stop": "END", "user": "u", "service_tier": "default", "temperature": 0.5, "n": 1, "logprobs": false, "seed": null, "top_k": 4, "container": "c", "stream_options": {"include_usage": true}}),
    );
    assert_eq!(
        body,
        json!({"model": "claude-sonnet-4-5", "max_tokens": 32_000, "messages": [{"role": "user", "content": "hi"}], "stop_sequences": ["END"], "metadata": {"user_id": "u"}, "service_tier": "standard_only",
            "temperature": 0.5, "top_k": 4, "container": "c"})
    );
    assert_eq!(sent(json!({"stop": ["a", "b"], "max_tokens": 5}))["stop_sequences"], json!(["a", "b"]));
    for name in ROW.unsupported {
        let params = json!({"messages": [], *name: 2});
        let error = refusal(params.clone());
        assert!(
            error.kind == ErrorKind::UnsupportedParams
                && error.message.contains(name)
                && error.message.contains("anthropic"),
            "{error}"
        );
        assert_eq!(encode("claude-sonnet-4-5", params, true).unwrap().dropped_params, [*name]);
    }
}

#[test]
fn what_a_model_refuses_is_refused_or_left_out() {
    let cases = [
        ("claude-opus-4-8", json!({"temperature": 0.5}), "temperature"),
        ("claude-opus-4-8", json!({"top_k": 5}), "top_k"),
        ("claude-sonnet-4-5", json!({"temperature": 0.5, "reasoning_effort": "low"}), "temperature"),
        ("claude-sonnet-4-5", json!({"temperature": 0.5, "top_p": 0.9}), "top_p"),
        ("claude-sonnet-4-5", json!({"stop": ["\n"]}), "stop"),
        (
            "claude-sonnet-4-5",
            json!({"tool_choice": "required", "thinking": {"type": "enabled", "budget_tokens": 2000}}),
            "thinking",
        ),
        ("claude-opus-5-5", json!({"tool_choice": {"type": "function", "function": {"name": "f"}}}), "tool_choice"),
    ];
    for (model, params, refused) in cases {
        let mut params = params;
        params["messages"] = json!([]);
        params["tools"] = json!([{"type": "function", "function": {"name": "f"}}]);
        match encode(model, params.clone(), false) {
            // The model says so itself.
            Ok(encoded) => assert_eq!(encoded.dropped_params, Vec::<String>::new(), "{model} {refused}"),
            Err(error) => {
                assert!(error.kind == ErrorKind::UnsupportedParams && error.message.contains(refused), "{error}")
            }
        }
        let encoded = encode(model, params, true).unwrap();
        assert_eq!(encoded.dropped_params, [refused], "{model}");
        let body: Value = serde_json::from_slice(&encoded.request.body).unwrap();
        let native = if refused == "stop" { "stop_sequences" } else { refused };
        assert_eq!(body.get(native), None, "{model} {refused}");
    }
    let body = sent_to("claude-opus-4-8", json!({"temperature": 1, "top_p": 1.0}));
    assert_eq!((body.get("temperature"), body.get("top_p")), (None, None));
}

#[test]
fn a_strict_tool_is_closed_where_the_model_has_that() {
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}});
    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": schema, "strict": true}}]);
    let tool = |model: &str| sent_to(model, json!({"tools": tools}))["tools"][0].clone();
    let closed = json!({"type": "object", "properties": {"n": {"type": "integer", "description": "{minimum: 1}"}}, "additionalProperties": false});
    assert_eq!(tool("claude-sonnet-4-5"), json!({"name": "f", "input_schema": closed, "strict": true}));
    assert_eq!(tool("claude-3-5-haiku-latest"), json!({"name": "f", "input_schema": schema}));
}

#[test]
fn thinking_goes_to_the_models_that_take_it() {
    let unsigned = json!({"type": "thinking", "thinking": "t", "signature": ""});
    let signed = json!({"type": "thinking", "thinking": "t", "signature": "s"});
    let text = json!({"type": "text", "text": "a"});
    let blocks = |model: &str, thought: &Value| {
        let message = json!({"role": "assistant", "content": "a", "provider_specific_fields": {"anthropic": {"content": [thought, text]}}});
        sent_to(model, json!({"messages": [message]}))["messages"][0]["content"].clone()
    };
    assert_eq!(blocks("claude-sonnet-4-5", &unsigned), json!([text]));
    assert_eq!(blocks("claude-sonnet-4-5", &signed), json!([signed, text]));
    assert_eq!(blocks("claude-3-5-haiku-latest", &signed), json!([text]));
    assert_eq!(blocks("kimi-k2", &unsigned), json!([unsigned, text]));
    let listed = json!({"role": "assistant", "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "t"}]}, text]});
    assert_eq!(sent(json!({"messages": [listed]}))["messages"][0]["content"], json!([text]));
}

#[test]
fn texts_go_as_texts_and_what_no_model_reads_is_refused() {
    let source = |file: Value| {
        sent(json!({"messages": [{"role": "user", "content": [{"type": "file", "file": file}]}]}))["messages"][0]["content"][0]["source"].clone()
    };
    let text = json!({"type": "text", "media_type": "text/plain", "data": "{}"});
    for kind in
        ["application/json", "Application/JSON; charset=utf-8", "text/csv", "application/yaml", "application/xml"]
    {
        assert_eq!(source(json!({"file_data": format!("data:{kind};base64,e30=")})), text, "{kind}");
    }
    assert_eq!(source(json!({"file_data": "data:application/octet-stream;base64,e30=", "filename": "a.md"})), text);
    assert_eq!(source(json!({"file_data": "e30=", "filename": "a.csv"})), text);
    assert_eq!(source(json!({"file_data": "e30="}))["media_type"], "application/pdf");
    for kind in ["application/zip", "image/svg+xml", "image/heic", "application/octet-stream", "audio/mpeg"] {
        let params = json!({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_data": format!("data:{kind};base64,e30=")}}]}]});
        let error = refusal(params);
        assert!(error.message.contains(kind) && error.message.contains("PDF"), "{error}");
    }
}

#[test]
fn addresses_and_credentials() {
    for url in ["https://h", "https://h/v1", "https://h/v1/messages"] {
        assert_eq!(address(url).unwrap(), "https://h/v1/messages");
    }
    assert_eq!(address("https://h/anthropic").unwrap(), "https://h/anthropic/v1/messages");
    let headers = encode("claude-x", json!({"messages": [], "betas": ["a-1", "b-2"]}), false).unwrap().request.headers;
    let get = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.to_str().unwrap());
    assert_eq!(
        (get("x-api-key"), get("anthropic-version"), get("anthropic-beta")),
        (Some("key"), Some(VERSION), Some("a-1,b-2"))
    );

    let mut token = deployment("claude-x", "http://h");
    token.settings = vec![("auth_token", Secret::new("tok"))];
    assert_eq!(credential(&token).unwrap().0, "x-api-key");
    token.api_key = Some(Secret::new("tok"));
    assert_eq!(credential(&token).unwrap(), (AUTHORIZATION, HeaderValue::from_static("Bearer tok")));
    (token.api_key, token.settings) = (None, Vec::new());
    assert_eq!(credential(&token).unwrap_err().kind, ErrorKind::Authentication);
}

#[test]
fn a_call_is_resolved_as_the_sdk_would() {
    let resolved = |model: &str, variables: &[(&str, &str)]| {
        let environment =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        crate::providers::resolve(model, &Default::default(), &environment).unwrap()
    };
    let found = resolved("claude-sonnet-4-5", &[("ANTHROPIC_API_KEY", "k"), ("ANTHROPIC_AUTH_TOKEN", "t")]);
    assert_eq!(
        (address(&found.base_url).unwrap().to_string(), credential(&found).unwrap().0.as_str()),
        ("https://api.anthropic.com/v1/messages".into(), "x-api-key")
    );
    let found = resolved("anthropic/m", &[("ANTHROPIC_AUTH_TOKEN", "t"), ("ANTHROPIC_BASE_URL", "http://h:1/")]);
    assert_eq!((&*found.base_url, credential(&found).unwrap().0), ("http://h:1", AUTHORIZATION));
}

#[test]
fn an_answer_is_a_completion() {
    let completion = decoded(&answers()[3]);
    let call = json!({"id": "toolu_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Zürich\",\"n\":1.5}"}});
    let message = &completion["choices"][0]["message"];
    assert_eq!(message["tool_calls"], json!([call]));
    assert_eq!((&message["content"], &message["reasoning_content"]), (&json!("So."), &json!("Let me séé \"it\".")));
    assert_eq!(message["thinking_blocks"].as_array().unwrap().len(), 2);
    assert_eq!(completion["choices"][0]["finish_reason"], "tool_calls");
    let usage = &completion["usage"];
    assert_eq!(
        (&usage["prompt_tokens"], &usage["completion_tokens"], &usage["total_tokens"]),
        (&json!(325), &json!(40), &json!(365))
    );
    assert_eq!(usage["prompt_tokens_details"], json!({"cached_tokens": 300, "cache_creation_tokens": 20}));
    assert_eq!(usage["native"]["service_tier"], "standard");
    let mut hour = answers()[3].clone();
    hour["usage"]["cache_creation"] = json!({"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 15});
    let expected =
        Usage { input: 5, cached_read: 300, cache_write: 5, cache_write_hour: 15, output: 40, ..Usage::default() };
    assert_eq!(Usage::of(Operation::Chat, decoded(&hour).to_string().as_bytes()), Some(expected));
    assert_eq!((&completion["created"], &completion["service_tier"]), (&json!(7), &json!("default")));
    // What OpenAI's fields say alone needs no copy.
    assert_eq!(decoded(&answers()[1])["choices"][0]["message"].get("provider_specific_fields"), None);
}

#[test]
fn ends_are_told_in_openais_words_and_kept_in_anthropics() {
    let told = |native: &str| {
        decoded(&answer(json!([{"type": "text", "text": "t"}]), native))["choices"][0]["finish_reason"].clone()
    };
    for (native, openai) in [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("pause_turn", "stop"),
        ("compaction", "stop"),
    ] {
        assert_eq!(told(native), openai);
    }
    let fields = decoded(&answers()[9])["provider_specific_fields"]["anthropic"].take();
    assert_eq!(
        fields,
        json!({"stop_reason": "refusal", "stop_details": {"type": "refusal", "category": "bio", "explanation": "no"}})
    );
}

#[test]
fn only_the_usage_chunk_is_hidden() {
    for show in [true, false] {
        let (chunks, shown, _) = stream(&events(&answers()[0], 5), show);
        let hidden: Vec<_> = chunks.iter().zip(shown).filter(|(_, shown)| !shown).collect();
        assert_eq!(hidden.len(), usize::from(!show));
        assert!(hidden.iter().all(|(chunk, _)| chunk["choices"] == json!([]) && chunk["usage"]["total_tokens"] == 365));
    }
}

/// What comes of events, and how many of them were known to be like the one before. `each_anew`: none is.
fn read_with(events: &[(&str, Vec<u8>)], each_anew: bool) -> (Vec<Value>, Option<String>, usize) {
    let mut decoder = stream::AnthropicChunks::new(Host::Anthropic, true, 7);
    let (mut chunks, mut same, mut error) = (Vec::new(), 0, None);
    for (name, event) in events {
        if each_anew {
            decoder.last = None;
        }
        let known = decoder.last.as_ref().and_then(|last| last.new_delta(stream::without_padding(event)));
        same += usize::from(known.is_some());
        if let Err(failed) = decoder.event(name.as_bytes(), event.clone().into(), &mut chunks) {
            error = Some(failed.message);
            break;
        }
    }
    (chunks.iter().map(|chunk| serde_json::from_slice(chunk).unwrap()).collect(), error, same)
}

#[test]
fn events_that_are_alike_say_what_they_say_alone() {
    let delta = "content_block_delta";
    let text = |index: u32, text: &str, rest: &str| {
        let text = format!(
            r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"text_delta","text":"{text}"{rest}"#
        );
        (delta, text.into_bytes())
    };
    let json = |name, event: Value| (name, event.to_string().into_bytes());
    let start = json("message_start", json!({"type": "message_start", "message": {"id": "i", "model": "m"}}));
    let words: Vec<_> =
        (0..5).map(|count| text(0, &format!("word {count} "), &format!("}}{}}}", " ".repeat(count)))).collect();
    let plain = [&[start][..], &words].concat();
    assert_eq!(read_with(&plain, false).2, 4);
    let end = json("message_delta", json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}));

    let others = [
        text(0, r#"\n\"\\ \u003c \ud83d\ude00 é"#, "}}"),
        text(0, "", "}}"),
        text(1, "another block", "}}"),
        text(0, "a", r#","x":1}}"#),
        text(0, "a", r#"},"x":1}"#),
        text(0, r#"a","text":"b"#, "}}"),
        text(0, "half \\ud83d", "}}"),
        text(0, "a bare \n break", "}}"),
        text(0, "never ends \\", ""),
        text(0, "a", "} } }"),
        (delta, [&text(0, "not ", "").1[..], b"\xff UTF-8\"}}"].concat()),
        (delta, br#"{"index":0,"delta":{"type":"text_delta","text":"of a kind that its name says"}}"#.to_vec()),
        ("ping", br#"{"index":0,"delta":{"type":"text_delta","text":"of no kind"}}"#.to_vec()),
        (delta, Vec::new()),
        json(
            delta,
            json!({"type": delta, "index": 0, "delta": {"type": "thinking_delta", "thinking": "t", "text": "t"}}),
        ),
        json(
            "content_block_start",
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "x"}}),
        ),
        json("content_block_stop", json!({"type": "content_block_stop", "index": 0})),
        end.clone(),
        json("error", json!({"type": "error", "error": {"type": "overloaded_error", "message": "m"}})),
    ];
    for other in &others {
        let shown = String::from_utf8_lossy(&other.1).into_owned();
        for place in 1..=plain.len() {
            let mut events = plain.to_vec();
            events.insert(place, other.clone());
            events.push(end.clone());
            let (chunks, error, _) = read_with(&events, false);
            let (expected, expected_error, _) = read_with(&events, true);
            assert_eq!(chunks, expected, "{shown}");
            assert_eq!(error, expected_error, "{shown}");
        }
    }
}

#[test]
fn streams_of_looser_hosts_are_read() {
    let events = [
        json!({"type": "message_start", "message": {"id": "m", "content": [], "model": "x"}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "He"}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "llo"}}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"input_tokens": 3, "output_tokens": 4}}),
    ];
    let (chunks, _, decoder) = stream(&events, true);
    assert!(decoder.is_complete() && !decoder.is_done());
    let completion = accumulated(chunks);
    let message = &completion["choices"][0]["message"];
    assert_eq!(
        (&message["content"], &message["tool_calls"][0]["function"]["arguments"]),
        (&json!("Hello"), &json!("{\"a\":1}"))
    );
    assert_eq!(completion["usage"]["total_tokens"], 7);
}

#[test]
fn errors_are_of_their_class() {
    let said = |status: u16, kind: &str, message: &str| {
        let body = json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"});
        Anthropic.decode_error(&HttpResponse { status, ..response(&body) })
    };
    let error = said(529, "overloaded_error", "Overloaded");
    assert_eq!(
        (error.kind, error.code.as_deref(), error.request_id.as_deref()),
        (ErrorKind::ServiceUnavailable, Some("overloaded_error"), Some("req_1"))
    );
    assert_eq!(
        said(400, "invalid_request_error", "prompt is too long: 200001 tokens > 200000 maximum").kind,
        ErrorKind::ContextWindowExceeded
    );
    assert_eq!(
        said(400, "invalid_request_error", "input length and `max_tokens` exceed context limit: 1 + 2 > 2").kind,
        ErrorKind::ContextWindowExceeded
    );
    assert_eq!(
        said(400, "invalid_request_error", "Output blocked by content filtering policy").kind,
        ErrorKind::ContentPolicyViolation
    );
    assert_eq!(said(404, "not_found_error", "model: x").kind, ErrorKind::NotFound);
    assert_eq!(
        Anthropic
            .decode(&Request::default(), &response(&json!({"type": "error", "error": {"message": "m"}})))
            .unwrap_err()
            .kind,
        ErrorKind::InternalServer
    );
    assert_eq!(
        Anthropic.decode(&Request::default(), &response(&json!([1]))).unwrap_err().kind,
        ErrorKind::ApiResponseValidation
    );

    let mut decoder = Anthropic.stream_decoder(&Request::default(), 0);
    let event =
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_2"});
    let error = decoder.event(b"error", event.to_string().into(), &mut Vec::new()).unwrap_err();
    assert_eq!((error.kind, error.request_id.as_deref()), (ErrorKind::ServiceUnavailable, Some("req_2")));
}
