//! Requests: parameters, messages and models, against what Converse takes.

use serde_json::{Value, json};

use super::request::{UNSUPPORTED, encode};
use super::*;
use crate::error::ErrorKind;
use crate::types::params::Params;
use crate::types::secret::Secret;

fn encoded(model: &str, params: Value, drop_params: bool) -> Result<(Value, Vec<String>)> {
    let deployment = Deployment {
        provider: &Bedrock,
        model: model.into(),
        base_url: endpoint_address::BASE_URL.into(),
        api_key: None,
        api_version: None,
        settings: vec![("aws_region_name", Secret::new("us-east-1"))],
        credentials: Default::default(),
    };
    let params = Params::from_json(params.to_string().as_bytes())?;
    let Encoded { request, dropped_params } =
        encode(&deployment, &Request { params, drop_params, ..Default::default() })?;
    Ok((serde_json::from_slice(&request.body).unwrap(), dropped_params))
}

fn body(model: &str, params: Value) -> Value {
    encoded(model, params, false).unwrap().0
}

const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const NOVA: &str = "amazon.nova-pro-v1:0";

fn tools() -> Value {
    json!([{"type": "function", "function": {"name": "f"}}])
}

fn user() -> Value {
    json!({"role": "user", "content": "u"})
}

#[test]
fn a_conversation_begins_with_the_user() {
    let said = json!({"role": "assistant", "content": "a"});
    let spoken = |role: &str, text: &str| json!({"role": role, "content": [{"text": text}]});
    let begun = json!([spoken("user", "."), spoken("assistant", "a"), spoken("user", "u")]);
    assert_eq!(body(CLAUDE, json!({"messages": [said, user()]}))["messages"], begun);
    let system = json!({"role": "system", "content": "s"});
    assert_eq!(body(CLAUDE, json!({"messages": [system, said, user()]}))["messages"], begun);
    assert_eq!(body(CLAUDE, json!({"messages": [system]}))["messages"], json!([spoken("user", ".")]));
    assert_eq!(body(CLAUDE, json!({"messages": [system, user()]}))["messages"], json!([spoken("user", "u")]));
}

#[test]
fn only_claude_is_shown_signed_thinking() {
    let thought = json!({"type": "thinking", "thinking": "t", "signature": "s"});
    let message = json!({"role": "assistant", "content": "a", "thinking_blocks": [thought]});
    let blocks = |model: &str| body(model, json!({"messages": [user(), message]}))["messages"][1]["content"].take();
    let signed = json!({"reasoningContent": {"reasoningText": {"text": "t", "signature": "s"}}});
    assert_eq!(blocks(CLAUDE), json!([signed, {"text": "a"}]));
    assert_eq!(blocks(NOVA), json!([{"text": "a"}]));
}

#[test]
fn every_choice_of_tools() {
    let choice = |model, choice: Value| body(model, json!({"tools": tools(), "tool_choice": choice}));
    assert_eq!(choice(NOVA, json!("auto"))["toolConfig"]["toolChoice"], json!({"auto": {}}));
    assert_eq!(choice(NOVA, json!("required"))["toolConfig"]["toolChoice"], json!({"any": {}}));
    assert_eq!(
        choice(NOVA, json!({"type": "function", "function": {"name": "f"}}))["toolConfig"]["toolChoice"],
        json!({"tool": {"name": "f"}})
    );
    assert_eq!(choice(NOVA, json!({"any": {}}))["toolConfig"]["toolChoice"], json!({"any": {}}));
    assert_eq!(choice(NOVA, json!("none")), json!({}));
    assert!(encoded(NOVA, json!({"tools": tools(), "tool_choice": "sometimes"}), false).is_err());
    let spec = json!({"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object", "properties": {}}}}});
    assert_eq!(body(NOVA, json!({"tools": tools()})), json!({"toolConfig": {"tools": [spec]}}));
}

#[test]
fn without_tools_for_a_history_of_calls_is_claudes_alone() {
    let messages = json!([{"role": "user", "content": "a"}, {"role": "tool", "tool_call_id": "t", "content": "b"}]);
    let params = json!({"messages": messages, "tools": tools(), "tool_choice": "none"});
    let sent = body(CLAUDE, params.clone());
    assert_eq!(sent["additionalModelRequestFields"], json!({"tool_choice": {"type": "none"}}));
    assert!(sent["toolConfig"].get("toolChoice").is_none());
    assert_eq!(encoded(NOVA, params.clone(), false).unwrap_err().kind, ErrorKind::UnsupportedParams);
    let (sent, dropped) = encoded(NOVA, params, true).unwrap();
    assert_eq!((sent["toolConfig"].get("toolChoice"), dropped), (None, vec!["tool_choice".to_owned()]));
}

#[test]
fn one_call_at_a_time_is_claudes_alone() {
    let params = json!({"tools": tools(), "tool_choice": "required", "parallel_tool_calls": false});
    let sent = body(CLAUDE, params.clone());
    assert_eq!(
        sent["additionalModelRequestFields"],
        json!({"tool_choice": {"type": "any", "disable_parallel_tool_use": true}})
    );
    assert!(sent["toolConfig"].get("toolChoice").is_none());
    assert_eq!(encoded(NOVA, params, false).unwrap_err().kind, ErrorKind::UnsupportedParams);
    assert!(encoded(NOVA, json!({"tools": tools(), "parallel_tool_calls": true}), false).is_ok());
}

#[test]
fn every_family_is_told_its_own_way() {
    let effort = |model: &str, more: Value| {
        let mut params = json!({"reasoning_effort": "high"});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body(model, params)
    };
    assert_eq!(
        effort(CLAUDE, json!({})),
        json!({"inferenceConfig": {"maxTokens": 20480}, "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 16384}}})
    );
    assert_eq!(
        effort(CLAUDE, json!({"max_tokens": 3000}))["additionalModelRequestFields"]["thinking"]["budget_tokens"],
        1500
    );
    assert_eq!(effort(CLAUDE, json!({"max_tokens": 100})), json!({"inferenceConfig": {"maxTokens": 100}}));
    let own = json!({"type": "enabled", "budget_tokens": 5000});
    assert_eq!(effort(CLAUDE, json!({"thinking": own}))["additionalModelRequestFields"], json!({"thinking": own}));
    assert_eq!(
        effort("us.anthropic.claude-opus-4-7", json!({})),
        json!({"additionalModelRequestFields": {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "high"}}})
    );
    assert_eq!(
        effort("openai.gpt-oss-120b-1:0", json!({}))["additionalModelRequestFields"],
        json!({"reasoning_effort": "high"})
    );
    assert_eq!(
        effort("us.amazon.nova-2-lite-v1:0", json!({}))["additionalModelRequestFields"],
        json!({"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}})
    );
    assert_eq!(effort("zai.glm-5", json!({})), json!({"outputConfig": {"effort": "high"}}));
    for model in ["anthropic.claude-3-5-sonnet-20241022-v2:0", NOVA] {
        assert_eq!(
            encoded(model, json!({"reasoning_effort": "high"}), false).unwrap_err().kind,
            ErrorKind::UnsupportedParams,
            "{model}"
        );
    }
    assert_eq!(body(CLAUDE, json!({"reasoning_effort": "none"})), json!({}));
    assert!(encoded(CLAUDE, json!({"reasoning_effort": "much"}), true).is_err());
}

#[test]
fn names_that_nobody_defines_go_to_the_model() {
    let sent = body(
        NOVA,
        json!({"top_k": 3, "additionalModelRequestFields": {"x": 1}, "inferenceConfig": {"maxTokens": 7}, "requestMetadata": {"a": "b"}}),
    );
    assert_eq!(
        sent,
        json!({"inferenceConfig": {"maxTokens": 7}, "additionalModelRequestFields": {"top_k": 3, "x": 1}, "requestMetadata": {"a": "b"}})
    );
}

#[test]
fn what_is_lacking_is_refused_or_dropped() {
    for name in UNSUPPORTED {
        let params = json!({*name: "x"});
        assert_eq!(encoded(NOVA, params.clone(), false).unwrap_err().kind, ErrorKind::UnsupportedParams, "{name}");
        assert_eq!(encoded(NOVA, params, true).unwrap(), (json!({}), vec![(*name).to_owned()]));
    }
    let nothing = json!({"n": 1, "logprobs": false, "presence_penalty": 0, "modalities": ["text"], "stream_options": {}, "parallel_tool_calls": true, "service_tier": "auto"});
    assert_eq!(body(NOVA, nothing), json!({}));
    assert_eq!(
        encoded(NOVA, json!({"response_format": {"type": "json_object"}}), false).unwrap_err().kind,
        ErrorKind::UnsupportedParams
    );
}

#[test]
fn reasoning_goes_back_to_the_models_that_take_it() {
    let (text, signed) = (json!({"text": "t"}), json!({"text": "t", "signature": "s"}));
    let (unsigned, signed) = [text, signed].map(|text| json!({"reasoningContent": {"reasoningText": text}})).into();
    let redacted = json!({"reasoningContent": {"redactedContent": "AAAA"}});
    let blocks = |model: &str, thought: &Value| {
        let native = json!({"bedrock": {"content": [thought, {"text": "a"}]}});
        let message = json!({"role": "assistant", "content": "a", "provider_specific_fields": native});
        body(model, json!({"messages": [user(), message]}))["messages"][1]["content"].as_array().unwrap().len() == 2
    };
    let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc";
    let (old, kimi) = ("anthropic.claude-3-haiku-20240307-v1:0", "moonshot.kimi-k2-thinking");
    for (model, expected) in [
        (CLAUDE, [false, true, true]),
        (arn, [false, true, true]),
        (kimi, [true, false, false]),
        (old, [false; 3]),
        (NOVA, [false; 3]),
        ("us.deepseek.r1-v1:0", [false; 3]),
        ("openai.gpt-oss-120b-1:0", [false; 3]),
        ("us.meta.llama4-maverick-17b-instruct-v1:0", [false; 3]),
    ] {
        assert_eq!([&unsigned, &signed, &redacted].map(|thought| blocks(model, thought)), expected, "{model}");
    }
    // Blocks in another format require a signature.
    let listed = json!({"role": "assistant", "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "t"}]}, {"type": "text", "text": "a"}], "thinking_blocks": [{"type": "thinking", "thinking": "t"}]});
    assert_eq!(body(CLAUDE, json!({"messages": [user(), listed]}))["messages"][1]["content"], json!([{"text": "a"}]));
}

#[test]
fn a_refusal_is_what_was_said() {
    for message in
        [json!({"content": null, "refusal": "no"}), json!({"content": [{"type": "refusal", "refusal": "no"}]})]
    {
        let mut message = message;
        message["role"] = "assistant".into();
        assert_eq!(
            body(NOVA, json!({"messages": [user(), message]}))["messages"][1]["content"],
            json!([{"text": "no"}])
        );
    }
}

#[test]
fn arguments_may_be_anything_that_means_an_object() {
    for (arguments, input) in [
        (json!("{\"a\":1}"), json!({"a": 1})),
        (json!({"a": 1}), json!({"a": 1})),
        (json!(""), json!({})),
        (json!("null"), json!({})),
        (Value::Null, json!({})),
        (json!("{\"a\":"), json!({"INVALID_JSON": "{\"a\":"})),
    ] {
        let call = json!({"id": "t", "function": {"name": "f", "arguments": arguments}});
        let message = json!({"role": "assistant", "tool_calls": [call]});
        assert_eq!(
            body(NOVA, json!({"messages": [user(), message]}))["messages"][1]["content"][0]["toolUse"]["input"],
            input
        );
    }
}

#[test]
fn a_document_has_a_text_beside_it() {
    let file = json!({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}});
    let turn = |content: Value| {
        body(NOVA, json!({"messages": [{"role": "user", "content": content}]}))["messages"][0]["content"].clone()
    };
    assert_eq!(turn(json!([file]))[0], json!({"text": "Attached."}));
    assert!(turn(json!([file]))[1].get("document").is_some());
    assert_eq!(turn(json!([file, {"type": "text", "text": "a"}])).as_array().unwrap().len(), 2);
    assert_eq!(turn(json!([{"document": {"name": "n"}}])).as_array().unwrap().len(), 2);
}

#[test]
fn media_types_are_read_however_they_are_written() {
    let block = |url: &str, name: &str| {
        let file = json!({"type": "file", "file": {"file_data": url, "filename": name}});
        body(NOVA, json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "t"}, file]}]}))["messages"][0]["content"][1].clone()
    };
    assert_eq!(
        block("data:IMAGE/JPG;name=a;base64,AA==", "")["image"],
        json!({"format": "jpeg", "source": {"bytes": "AA=="}})
    );
    for kind in ["application/json", "application/xml", "text/yaml", "text/x-python"] {
        assert_eq!(block(&format!("data:{kind};base64,e30="), "a")["document"]["format"], "txt", "{kind}");
    }
    assert_eq!(block("data:application/octet-stream;base64,e30=", "a.csv")["document"]["format"], "csv");
    assert_eq!(block("e30=", "a.json")["document"]["format"], "txt");
    assert_eq!(block("data:text/plain,a%20b", "")["document"]["source"], json!({"bytes": "YSBi"}));
}

#[test]
fn what_a_model_refuses_is_refused_or_left_out() {
    let oss = "openai.gpt-oss-120b-1:0";
    for (model, params, refused) in [
        ("us.anthropic.claude-opus-5", json!({"temperature": 0.2}), "temperature"),
        ("us.anthropic.claude-opus-5", json!({"top_k": 3}), "top_k"),
        (CLAUDE, json!({"temperature": 0.2, "top_p": 0.9}), "top_p"),
        (CLAUDE, json!({"temperature": 0.2, "reasoning_effort": "low"}), "temperature"),
        (CLAUDE, json!({"stop": " "}), "stop"),
        (oss, json!({"stop": ["END"]}), "stop"),
        (CLAUDE, json!({"tool_choice": "any", "thinking": {"type": "enabled", "budget_tokens": 2000}}), "thinking"),
        ("global.anthropic.claude-opus-5-5", json!({"tool_choice": "required"}), "tool_choice"),
    ] {
        let mut params = params;
        params["tools"] = tools();
        match encoded(model, params.clone(), false) {
            // The model itself rejects the parameter.
            Ok((_, dropped)) => assert_eq!(dropped, Vec::<String>::new(), "{model} {refused}"),
            Err(error) => {
                assert!(error.kind == ErrorKind::UnsupportedParams && error.message.contains(refused), "{error}")
            }
        }
        let (sent, dropped) = encoded(model, params, true).unwrap();
        assert_eq!(dropped, [refused], "{model}");
        let text = sent.to_string();
        let native = match refused {
            "stop" => "stopSequences",
            "top_p" => "topP",
            "tool_choice" => "toolChoice",
            name => name,
        };
        assert!(!text.contains(native), "{text}");
    }
    assert_eq!(
        body(NOVA, json!({"stop": " ", "temperature": null, "tools": null})),
        json!({"inferenceConfig": {"stopSequences": [" "]}})
    );
}

#[test]
fn no_thinking_after_calls_that_were_made_without_it() {
    let call = json!({"role": "assistant", "tool_calls": [{"id": "t", "function": {"name": "f", "arguments": "{}"}}]});
    let result = json!({"role": "tool", "tool_call_id": "t", "content": "x"});
    let params = |messages: Value| json!({"messages": messages, "tools": tools(), "reasoning_effort": "low"});
    let (sent, dropped) = encoded(CLAUDE, params(json!([call, result])), false).unwrap();
    assert_eq!((sent.get("additionalModelRequestFields"), dropped), (None, vec!["reasoning_effort".to_owned()]));
    let forced = json!({"tools": tools(), "tool_choice": "required", "reasoning_effort": "low"});
    let (sent, dropped) = encoded(CLAUDE, forced.clone(), false).unwrap();
    assert_eq!((sent.get("additionalModelRequestFields"), dropped), (None, vec!["reasoning_effort".to_owned()]));
    assert!(body("us.anthropic.claude-opus-4-8", forced)["additionalModelRequestFields"].get("thinking").is_some());
    let (_, dropped) = encoded(CLAUDE, params(json!([call, result, {"role": "user", "content": "b"}])), false).unwrap();
    assert_eq!(dropped, Vec::<String>::new());
}

#[test]
fn schemas_are_closed_as_on_anthropics_wire() {
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}});
    let closed = json!({"type": "object", "properties": {"n": {"type": "integer", "description": "{minimum: 1}"}}, "additionalProperties": false});
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
    let sent = body(CLAUDE, json!({"response_format": format}));
    let text = sent["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), closed);
    let old = body("us.anthropic.claude-sonnet-4-20250514-v1:0", json!({"response_format": format}));
    assert!(old.get("outputConfig").is_none() && old["system"][0]["text"].as_str().unwrap().contains("\"minimum\":1"));
    let tool = |model: &str, function: Value| {
        body(model, json!({"tools": [{"type": "function", "function": function}]}))["toolConfig"]["tools"][0]["toolSpec"].clone()
    };
    let strict = json!({"name": "f", "parameters": schema, "strict": true});
    assert_eq!(tool(CLAUDE, strict.clone()), json!({"name": "f", "inputSchema": {"json": closed}, "strict": true}));
    assert_eq!(
        tool("anthropic.claude-3-haiku-20240307-v1:0", strict),
        json!({"name": "f", "inputSchema": {"json": schema}})
    );
    assert_eq!(
        tool(NOVA, json!({"name": "f", "parameters": {"properties": {}}}))["inputSchema"]["json"],
        json!({"type": "object", "properties": {}})
    );
}

#[test]
fn a_call_that_was_cut_off_goes_back_as_an_object() {
    let native = json!({"bedrock": {"content": [{"reasoningContent": {"reasoningText": {"text": "t", "signature": "s"}}}, {"toolUse": {"toolUseId": "t", "name": "f", "input": "{\"cut"}}]}});
    let message = json!({"role": "assistant", "content": null, "provider_specific_fields": native,
        "thinking_blocks": [{"type": "thinking", "thinking": "t", "signature": "s"}],
        "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{\"cut"}}]});
    let content = body(CLAUDE, json!({"messages": [user(), message]}))["messages"][1]["content"].take();
    assert_eq!(content[0], json!({"reasoningContent": {"reasoningText": {"text": "t", "signature": "s"}}}));
    assert_eq!(content[1]["toolUse"]["input"], json!({"INVALID_JSON": "{\"cut"}));
}
