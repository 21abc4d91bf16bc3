use bytes::Bytes;
use serde_json::{Value, json};

use super::Cohere;
use crate::error::{ErrorKind, Result};
use crate::providers::{Deployment, Encoded, Endpoint, Provider};
use crate::types::accumulate::Accumulator;
use crate::types::http::HttpResponse;
use crate::types::params::Params;
use crate::types::request::Request;
use crate::types::secret::Secret;

fn encoded(params: Value, drop_params: bool) -> Result<Encoded> {
    let deployment = Deployment {
        provider: &Cohere,
        model: "command-x".into(),
        base_url: "http://h".into(),
        api_key: Some(Secret::new("k")),
        api_version: None,
        settings: Vec::new(),
        credentials: Default::default(),
    };
    let params = Params::from_json(params.to_string().as_bytes()).unwrap();
    Cohere.encode(&deployment, &Request { params, drop_params, ..Default::default() })
}

fn sent(params: Value) -> Value {
    serde_json::from_slice(&encoded(params, false).unwrap().request.body).unwrap()
}

fn decoded(answer: &Value) -> Value {
    let body = answer.to_string().into();
    let response = HttpResponse { received: 7, status: 200, headers: Default::default(), body };
    serde_json::from_slice(&Cohere.decode(&Request::default(), &response).unwrap()).unwrap()
}

fn streamed(events: &[Value]) -> Result<Value> {
    let request = Request { model: "command-x".into(), ..Default::default() };
    let mut decoder = Cohere.stream_decoder(&request, 7);
    let mut chunks = Vec::new();
    for event in events {
        decoder.event(event["type"].as_str().unwrap_or("").as_bytes(), event.to_string().into(), &mut chunks)?;
    }
    assert!(decoder.is_complete());
    assert!(!decoder.is_shown(chunks.last().unwrap()), "the usage was not asked for");
    let mut accumulator = Accumulator::default();
    chunks.iter().for_each(|chunk| accumulator.push(serde_json::from_slice(chunk).unwrap()));
    Ok(accumulator.finish())
}

/// Returns a message as it is sent back in the next turn.
fn sent_back(message: &Value) -> Value {
    sent(json!({"messages": [{"role": "user", "content": "q"}, message]}))["messages"][1].take()
}

fn thoughtful() -> Value {
    json!({"role": "assistant", "content": [{"type": "thinking", "thinking": "hm, so"}, {"type": "text", "text": "It is sunny."}],
        "citations": [{"start": 6, "end": 11, "text": "sunny", "content_index": 1, "type": "TEXT_CONTENT", "sources": [{"type": "tool", "id": "c1:0", "tool_output": {"sky": "clear"}}]}]})
}

#[test]
fn no_arguments_are_an_empty_object_and_an_object_is_text() {
    let call = |arguments: &Value| {
        let mut function = json!({"name": "f", "arguments": arguments});
        if arguments == "absent" {
            function.as_object_mut().unwrap().shift_remove("arguments");
        }
        json!({"id": "f_1", "type": "function", "function": function})
    };
    for (arguments, right) in [
        (json!(null), "{}"),
        (json!("absent"), "{}"),
        (json!(""), "{}"),
        (json!("null"), "{}"),
        (json!({"a": 1}), r#"{"a":1}"#),
        (json!(r#"{"a": 1}"#), r#"{"a": 1}"#),
    ] {
        let call = call(&arguments);
        let answer = decoded(
            &json!({"id": "c", "finish_reason": "TOOL_CALL", "message": {"role": "assistant", "tool_calls": [call]}}),
        );
        assert_eq!(answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], right, "{arguments}");
        let events = [
            json!({"type": "message-start", "id": "c"}),
            json!({"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": call}}}),
            json!({"type": "tool-call-end", "index": 0}),
            json!({"type": "message-end", "delta": {"finish_reason": "TOOL_CALL", "usage": {}}}),
        ];
        let answer = streamed(&events).unwrap();
        assert_eq!(answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], right, "{arguments}");
    }
}

#[test]
fn a_picture_says_what_it_is_in_one_way() {
    let picture = |url: &str| json!({"type": "image_url", "image_url": {"url": url}});
    let message = json!({"role": "user", "content": [picture("data:IMAGE/jpg;q=1;base64,AA==")]});
    let body = sent(json!({"messages": [message]}));
    assert_eq!(body["messages"][0]["content"], json!([picture("data:image/jpeg;base64,AA==")]));
}

#[test]
fn the_version_may_be_in_the_base_url() {
    for url in ["https://h", "https://h/", "https://h/v1", "https://h/v2", "https://h/v2/chat"] {
        assert_eq!(Cohere.base_url(url).unwrap(), "https://h", "{url}");
    }
    assert_eq!(Cohere.base_url("https://gateway/c1").unwrap(), "https://gateway/c1");
    let request = encoded(json!({}), false).unwrap().request;
    assert_eq!(request.uri, "http://h/v2/chat");
    assert_eq!(request.headers[0].1, "Bearer k");
}

#[test]
fn parameters_have_cohere_s_names() {
    let schema = json!({"type": "object"});
    let body = sent(json!({
        "max_completion_tokens": 4, "max_tokens": 5, "top_p": 0.5, "stop": "x", "seed": 1, "n": 1, "k": 3, "made_up": {"a": 1},
        "stream_options": {"include_usage": true}, "reasoning_effort": "low", "parallel_tool_calls": true,
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": schema}},
    }));
    assert_eq!(
        body,
        json!({"model": "command-x", "stream": false, "max_tokens": 5, "p": 0.5, "stop_sequences": ["x"], "seed": 1, "k": 3, "made_up": {"a": 1},
            "thinking": {"type": "enabled", "token_budget": 1024}, "response_format": {"type": "json_object", "json_schema": schema}})
    );
    assert_eq!(sent(json!({"reasoning_effort": "none"}))["thinking"], json!({"type": "disabled"}));
    assert_eq!(
        sent(json!({"thinking": {"type": "enabled", "budget_tokens": 9}}))["thinking"],
        json!({"type": "enabled", "token_budget": 9})
    );
}

#[test]
fn what_cohere_lacks_is_refused_or_dropped() {
    for params in [json!({"n": 2}), json!({"user": "u"}), json!({"parallel_tool_calls": false})] {
        let error = encoded(params.clone(), false).unwrap_err();
        assert_eq!(error.kind, ErrorKind::UnsupportedParams);
        let name = params.as_object().unwrap().keys().next().unwrap();
        assert!(error.message.contains("cohere") && error.message.contains(name.as_str()), "{error}");
        let encoded = encoded(params.clone(), true).unwrap();
        assert_eq!(encoded.dropped_params, [name.as_str()]);
        assert_eq!(encoded.request.body, r#"{"model":"command-x","stream":false}"#);
    }
}

#[test]
fn a_tool_is_chosen_by_showing_no_other() {
    let tool = |name: &str| json!({"type": "function", "function": {"name": name, "strict": true}});
    let with = |choice: Value| sent(json!({"tools": [tool("f"), tool("g")], "tool_choice": choice}));
    assert_eq!(
        (with(json!("auto"))["tool_choice"].clone(), with(json!("required"))["tool_choice"].clone()),
        (Value::Null, json!("REQUIRED"))
    );
    assert_eq!(with(json!("none"))["tool_choice"], "NONE");
    let named = with(json!({"type": "function", "function": {"name": "g"}}));
    assert_eq!(named["tool_choice"], "REQUIRED");
    assert_eq!(named["strict_tools"], true);
    assert_eq!(
        named["tools"],
        json!([{"type": "function", "function": {"name": "g", "parameters": {"type": "object", "properties": {}}}}])
    );
}

#[test]
fn an_answer_is_said_in_openai_s_words_and_nothing_is_lost() {
    let answer = json!({"id": "a1", "finish_reason": "STOP_SEQUENCE", "message": thoughtful(),
        "logprobs": [{"text": "It", "token_ids": [1, 2], "logprobs": [-0.5, -0.25]}],
        "usage": {"billed_units": {"input_tokens": 3}, "tokens": {"input_tokens": 50.0, "output_tokens": 9}, "cached_tokens": 20}, "new": {"x": 1}});
    let whole = decoded(&answer);
    let choice = &whole["choices"][0];
    assert_eq!(
        (&choice["message"]["content"], &choice["message"]["reasoning_content"]),
        (&json!("It is sunny."), &json!("hm, so"))
    );
    assert_eq!((&whole["id"], &whole["created"], &choice["finish_reason"]), (&json!("a1"), &json!(7), &json!("stop")));
    assert_eq!(choice["logprobs"]["content"][0]["logprob"], -0.75);
    assert_eq!(
        (&whole["usage"]["prompt_tokens"], &whole["usage"]["completion_tokens"], &whole["usage"]["total_tokens"]),
        (&json!(50), &json!(9), &json!(59))
    );
    assert_eq!(whole["usage"]["prompt_tokens_details"]["cached_tokens"], 20);
    assert_eq!(whole["usage"]["native"], answer["usage"]);
    let native = &whole["provider_specific_fields"]["cohere"];
    assert_eq!(
        (&native["new"]["x"], &native["finish_reason"], &native["logprobs"][0]["token_ids"]),
        (&json!(1), &json!("STOP_SEQUENCE"), &json!([1, 2]))
    );
}

#[test]
fn a_message_goes_back_as_it_came() {
    let native = thoughtful();
    let mut message =
        decoded(&json!({"id": "a", "finish_reason": "COMPLETE", "message": native}))["choices"][0]["message"].take();
    assert_eq!(sent_back(&message), native);
    message["content"] = "Changed.".into();
    assert_eq!(sent_back(&message), json!({"role": "assistant", "content": "Changed."}));
    // Another provider's.
    let foreign = json!({"role": "assistant", "content": "a", "reasoning_content": "r", "provider_specific_fields": {"anthropic": {"content": []}}});
    assert_eq!(sent_back(&foreign), json!({"role": "assistant", "content": "a"}));

    let call = json!({"id": "f_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}});
    let native = json!({"role": "assistant", "tool_plan": "I will call f.", "tool_calls": [call]});
    let whole = decoded(&json!({"id": "a", "finish_reason": "TOOL_CALL", "message": native}));
    assert_eq!(
        (&whole["choices"][0]["finish_reason"], &whole["choices"][0]["message"]["content"]),
        (&json!("tool_calls"), &Value::Null)
    );
    assert_eq!(whole["choices"][0]["message"]["tool_calls"], json!([call]));
    assert_eq!(sent_back(&whole["choices"][0]["message"]), native);
}

#[test]
fn results_and_pictures_pass() {
    let messages = json!([
        {"role": "developer", "content": "d"},
        {"role": "user", "content": [{"type": "text", "text": "t"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}], "name": "x"},
        {"role": "tool", "tool_call_id": "f_1", "content": [{"type": "document", "document": {"id": "1", "data": {"a": 1}}}], "name": "f"},
    ]);
    let mut expected = messages.clone();
    expected[0]["role"] = "system".into();
    expected[1].as_object_mut().unwrap().shift_remove("name");
    expected[2] = json!({"role": "tool", "content": messages[2]["content"], "tool_call_id": "f_1"});
    assert_eq!(sent(json!({"messages": messages}))["messages"], expected);
}

#[test]
fn a_stream_says_what_the_plain_answer_says() {
    let usage = json!({"tokens": {"input_tokens": 5, "output_tokens": 6}});
    let citation = thoughtful()["citations"][0].clone();
    let thinking = |kind: &str, text: &str| json!({"type": kind, "index": 0, "delta": {"message": {"content": {"thinking": text}}}});
    let whole = streamed(&[
        json!({"type": "message-start", "id": "a", "delta": {"message": {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}}}),
        json!({"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "thinking", "thinking": ""}}}}),
        thinking("content-delta", "hm,"),
        thinking("content-delta", " so"),
        json!({"type": "content-end", "index": 0}),
        json!({"type": "content-start", "index": 1, "delta": {"message": {"content": {"type": "text", "text": ""}}}}),
        json!({"type": "content-delta", "index": 1, "delta": {"message": {"content": {"text": "It is"}}}, "logprobs": {"text": "It is", "token_ids": [1], "logprobs": [-1.0]}}),
        json!({"type": "content-delta", "index": 1, "delta": {"message": {"content": {"text": " sunny."}}}, "logprobs": {"text": " sunny.", "token_ids": [2], "logprobs": [-2.0]}}),
        json!({"type": "citation-start", "index": 0, "delta": {"message": {"citations": citation}}}),
        json!({"type": "citation-end", "index": 0}),
        json!({"type": "content-end", "index": 1}),
        json!({"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}}),
    ]);
    let logprobs = json!([{"text": "It is", "token_ids": [1], "logprobs": [-1.0]}, {"text": " sunny.", "token_ids": [2], "logprobs": [-2.0]}]);
    let mut plain = decoded(
        &json!({"id": "a", "finish_reason": "COMPLETE", "message": thoughtful(), "usage": usage, "logprobs": logprobs}),
    );
    plain["model"] = "command-x".into();
    assert_eq!(whole.unwrap(), plain);
}

#[test]
fn streamed_calls_are_the_plain_ones() {
    let start = |index: u32, name: &str| json!({"type": "tool-call-start", "index": index, "delta": {"message": {"tool_calls": {"id": format!("{name}_1"), "type": "function", "function": {"name": name, "arguments": ""}}}}});
    let delta = |index: u32, text: &str| json!({"type": "tool-call-delta", "index": index, "delta": {"message": {"tool_calls": {"function": {"arguments": text}}}}});
    let plan = |text: &str| json!({"type": "tool-plan-delta", "delta": {"message": {"tool_plan": text}}});
    let whole = streamed(&[
        json!({"type": "message-start", "id": "a", "delta": {"message": {"role": "assistant"}}}),
        plan("I will "),
        plan("call."),
        start(0, "f"),
        delta(0, "{\"a\""),
        delta(0, ":1}"),
        json!({"type": "tool-call-end", "index": 0}),
        start(1, "g"),
        delta(1, "{}"),
        json!({"type": "tool-call-end", "index": 1}),
        json!({"type": "message-end", "delta": {"finish_reason": "TOOL_CALL", "usage": {"tokens": {"input_tokens": 1, "output_tokens": 2}}}}),
    ]);
    let call = |name: &str, arguments: &str| json!({"id": format!("{name}_1"), "type": "function", "function": {"name": name, "arguments": arguments}});
    let message = json!({"role": "assistant", "tool_plan": "I will call.", "tool_calls": [call("f", "{\"a\":1}"), call("g", "{}")]});
    let plain = decoded(&json!({"id": "a", "finish_reason": "TOOL_CALL", "message": message}));
    let whole = whole.unwrap();
    assert_eq!(whole["choices"][0]["message"], plain["choices"][0]["message"]);
    assert_eq!(whole["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(sent_back(&whole["choices"][0]["message"]), message);
}

#[test]
fn errors_are_errors_wherever_they_come() {
    let response = |status, body: &'static str| HttpResponse {
        received: 0,
        status,
        headers: Default::default(),
        body: Bytes::from_static(body.as_bytes()),
    };
    let error = Cohere.decode_error(&response(404, r#"{"id":"x","message":"model 'm' not found"}"#));
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(error.message.contains("model 'm' not found"));
    let error = Cohere.decode_error(&response(
        400,
        r#"{"message":"too many tokens: total number of tokens in the prompt cannot exceed 128000"}"#,
    ));
    assert_eq!(error.kind, ErrorKind::ContextWindowExceeded);
    assert!(Cohere.decode(&Request::default(), &response(200, r#"{"message":"nope"}"#)).is_err());
    assert_eq!(
        Cohere.decode(&Request::default(), &response(200, "[]")).unwrap_err().kind,
        ErrorKind::ApiResponseValidation
    );
    let failed = json!({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "model died"}});
    let error = streamed(&[failed]).unwrap_err();
    assert!(error.kind == ErrorKind::InternalServer && error.message.contains("model died"), "{error}");
    assert!(streamed(&[json!({"message": "gone"})]).unwrap_err().message.contains("gone"));
}
