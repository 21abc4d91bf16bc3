use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{ask, untooled, untooled_stream};
use crate::error::Result;
use crate::providers::{Deployment, DeploymentArgs, StreamDecoder, resolve};
use crate::types::operation::Operation;
use crate::types::params::Params;
use crate::types::request::Request;
use crate::types::secret::Secret;
use crate::types::structured::{Form, ResponseSchema, StructuredOutput};

fn deployment(model: &str) -> Deployment {
    let settings = [
        ("aws_region_name", "us-east-1"),
        ("vertex_project", "p"),
        ("vertex_location", "global"),
        ("vertex_access_token", "t"),
    ];
    let args = DeploymentArgs {
        api_key: Some(Secret::new("k")),
        base_url: Some("https://h/v1".into()),
        settings: settings.map(|(name, value)| (name, Secret::new(value))).into(),
        ..Default::default()
    };
    resolve(model, &args, &|_| None).unwrap()
}

fn closed() -> Value {
    json!({"type": "object", "properties": {"a": {"type": "string", "minLength": 1}}, "required": ["a"]})
}

fn map() -> Value {
    json!({"type": "object", "properties": {"m": {"type": "object", "additionalProperties": {"type": "integer"}}}})
}

fn tree() -> Value {
    let node = json!({"type": "object", "properties": {"c": {"type": "array", "items": {"$ref": "#/$defs/N"}}}});
    json!({"$ref": "#/$defs/N", "$defs": {"N": node}})
}

fn request(model: &Deployment, schema: Value, params: Value) -> Request {
    let mut all = json!({"messages": [{"role": "user", "content": "Hi"}]});
    all.as_object_mut().unwrap().extend(params.as_object().unwrap().clone());
    let schema = Arc::new(ResponseSchema::new("T", schema));
    Request {
        model: model.model.clone(),
        params: Params::from_json(all.to_string().as_bytes()).unwrap(),
        structured: Some(StructuredOutput { schema, form: None }),
        ..Default::default()
    }
}

/// Returns the form that is chosen, and the body that is sent.
fn asked(model: &str, schema: Value, params: Value) -> (Form, Value) {
    let deployment = deployment(model);
    let mut request = request(&deployment, schema, params);
    ask(&deployment, &mut request);
    let encoded = deployment.endpoint(&request).unwrap().encode(&deployment, &request).unwrap();
    assert_eq!(encoded.dropped_params, [""; 0]);
    (request.structured.unwrap().form.unwrap(), serde_json::from_slice(&encoded.request.body).unwrap())
}

#[test]
fn each_model_is_asked_in_its_best_form() {
    let tools = json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]});
    let thinking = json!({"reasoning_effort": "high"});
    for (model, schema, params, form) in [
        ("openai/gpt-4o-mini", closed(), json!({}), Form::Strict),
        ("openai/gpt-4o-mini", closed(), tools.clone(), Form::Strict),
        ("openai/gpt-4o-mini", map(), json!({}), Form::Schema),
        ("openai/gpt-4o-mini", tree(), json!({}), Form::Strict),
        ("openai/gpt-4.1", json!({"type": "object", "properties": {"x": {}}}), json!({}), Form::Schema),
        ("openai/gpt-4.1", json!({"type": "object", "properties": {}}), json!({}), Form::Strict),
        ("openai/gpt-4.1", json!({"type": "array", "items": {"type": "object"}}), json!({}), Form::Schema),
        ("openai/gpt-4-turbo", closed(), json!({}), Form::Tool),
        ("openai/gpt-4", closed(), tools.clone(), Form::Prompt),
        ("openai/gpt-3.5-turbo-0125", closed(), json!({}), Form::Tool),
        ("azure/gpt-4o", closed(), json!({}), Form::Strict),
        ("anthropic/claude-sonnet-4-5", closed(), json!({}), Form::Strict),
        ("anthropic/claude-sonnet-4-5", closed(), tools.clone(), Form::Strict),
        ("anthropic/claude-sonnet-4-5", map(), json!({}), Form::Tool),
        ("anthropic/claude-sonnet-4-5", tree(), json!({}), Form::Tool),
        ("anthropic/claude-sonnet-4-5", tree(), thinking.clone(), Form::Prompt),
        ("anthropic/claude-3-7-sonnet-latest", closed(), json!({}), Form::Tool),
        ("anthropic/claude-3-7-sonnet-latest", closed(), thinking, Form::Prompt),
        ("vertex/claude-sonnet-4-5@20250929", closed(), json!({}), Form::Tool),
        ("vertex/gemini-2.5-flash", closed(), json!({}), Form::Schema),
        ("gemini/gemini-2.5-flash", map(), json!({}), Form::Schema),
        ("gemini/gemini-2.5-flash", closed(), tools.clone(), Form::Prompt),
        ("gemini/gemini-3-pro-preview", closed(), tools.clone(), Form::Schema),
        ("bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0", closed(), json!({}), Form::Strict),
        ("bedrock/us.anthropic.claude-3-5-haiku-20241022-v1:0", closed(), json!({}), Form::Tool),
        ("bedrock/us.amazon.nova-lite-v1:0", closed(), json!({}), Form::Tool),
        ("bedrock/qwen.qwen3-32b-v1:0", closed(), json!({}), Form::Strict),
        ("cohere/command-a-03-2025", closed(), json!({}), Form::Schema),
        ("cohere/command-a-03-2025", closed(), tools.clone(), Form::Prompt),
        ("ollama_chat/llama3.2", map(), json!({}), Form::Schema),
        ("deepseek/deepseek-chat", closed(), json!({}), Form::JsonMode),
        ("deepseek/deepseek-chat", closed(), tools, Form::Prompt),
        ("groq/openai/gpt-oss-20b", closed(), json!({}), Form::Strict),
        ("groq/llama-3.3-70b-versatile", closed(), json!({}), Form::Tool),
        ("cerebras/llama-3.3-70b", closed(), json!({}), Form::Strict),
        ("vllm/any", map(), json!({}), Form::Schema),
    ] {
        assert_eq!(asked(model, schema.clone(), params.clone()).0, form, "{model} {schema} {params}");
    }
}

#[test]
fn a_schema_above_the_limits_of_claude_becomes_a_tool() {
    let of = |count: usize, property: &Value, is_required: bool| {
        let names: Vec<String> = (0..count).map(|number| format!("p{number}")).collect();
        let properties: Value = names.iter().map(|name| (name.clone(), property.clone())).collect();
        let required = if is_required { names } else { Vec::new() };
        let inner = json!({"type": "object", "properties": properties, "required": required});
        json!({"type": "object", "properties": {"l": {"type": "array", "items": {"$ref": "#/$defs/I"}}}, "required": ["l"],
            "$defs": {"I": inner}})
    };
    let (text, either) = (json!({"type": "string"}), json!({"anyOf": [{"type": "string"}, {"type": "null"}]}));
    for (schema, form) in [
        (of(24, &text, false), Form::Strict),
        (of(25, &text, false), Form::Tool),
        (of(100, &text, true), Form::Strict),
        (of(16, &either, true), Form::Strict),
        (of(17, &either, true), Form::Tool),
        (of(17, &json!({"type": ["string", "null"]}), true), Form::Tool),
    ] {
        assert_eq!(asked("anthropic/claude-sonnet-4-5", schema.clone(), json!({})).0, form, "{schema}");
        assert_eq!(asked("openai/gpt-4o", schema, json!({})).0, Form::Strict);
    }
}

#[test]
fn a_schema_outside_of_what_a_host_documents_is_asked_for_in_another_form() {
    let required_tree = || {
        let mut schema = tree();
        schema["$defs"]["N"]["required"] = json!(["c"]);
        schema
    };
    let choices = |count: usize| {
        let names: Vec<String> = (0..count).map(|number| format!("c{number}")).collect();
        json!({"type": "object", "properties": {"c": {"type": "string", "enum": names}}, "required": ["c"]})
    };
    let union = |count: usize| {
        let parts: Vec<Value> =
            (0..count).map(|number| json!({"type": "string", "title": number.to_string()})).collect();
        json!({"type": "object", "properties": {"u": {"anyOf": parts}}, "required": ["u"]})
    };
    let (command, gemini, cerebras, gpt) =
        ("cohere/command-a-03-2025", "gemini/gemini-3.8-flash", "cerebras/gpt-oss-120b", "openai/gpt-4o");
    let tools = json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]});
    for (model, schema, params, form) in [
        // Each object has to require a property, and a dict has none.
        (command, map(), json!({}), Form::Prompt),
        (command, json!({"type": "object", "properties": {}}), json!({}), Form::Prompt),
        (command, tree(), json!({}), Form::Prompt),
        (command, json!({"type": "object", "properties": {"a": {"type": "string"}}}), json!({}), Form::Schema),
        // A schema may refer to itself within a property that is not required.
        (gemini, tree(), json!({}), Form::Schema),
        (gemini, required_tree(), json!({}), Form::JsonMode),
        (gemini, required_tree(), tools, Form::JsonMode),
        (gemini, json!({"type": "object", "properties": {"n": {"$ref": "#"}}}), json!({}), Form::Schema),
        (
            gemini,
            json!({"type": "object", "properties": {"n": {"$ref": "#"}}, "required": ["n"]}),
            json!({}),
            Form::JsonMode,
        ),
        (cerebras, union(5), json!({}), Form::Strict),
        (cerebras, union(6), json!({}), Form::Prompt),
        (cerebras, tree(), json!({}), Form::Prompt),
        (gpt, choices(1000), json!({}), Form::Strict),
        (gpt, choices(1001), json!({}), Form::Schema),
    ] {
        let (asked, body) = asked(model, schema.clone(), params);
        assert_eq!(asked, form, "{model} {schema}");
        if form == Form::JsonMode {
            let config = &body["generationConfig"];
            assert_eq!(
                (&config["responseMimeType"], config.get("responseJsonSchema")),
                (&json!("application/json"), None)
            );
        }
    }
}

#[test]
fn each_host_gets_the_keywords_that_it_documents() {
    let properties = json!({
        "code": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "name": {"type": "string", "pattern": "^a|(?=b)"},
        "mood": {"enum": ["good", 2, null]},
        "sure": {"const": true, "description": "d"},
        "size": {"type": ["integer", "null"], "description": "d"},
        "list": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 9},
    });
    let schema = json!({"type": "object", "properties": properties});
    let names = json!(["code", "name", "mood", "sure", "size", "list"]);

    let (_, body) = asked("cohere/command-a-03-2025", schema.clone(), json!({}));
    let sent = &body["response_format"]["json_schema"];
    assert_eq!(sent["required"], names);
    assert_eq!(sent["properties"]["code"], json!({"type": "string", "pattern": "[A-Z]{3}"}));
    assert_eq!(sent["properties"]["name"], json!({"type": "string", "description": "{pattern: \"^a|(?=b)\"}"}));
    let list = json!({"type": "array", "items": {"type": "string"}, "description": "{minItems: 1, maxItems: 9}"});
    assert_eq!(sent["properties"]["list"], list);

    let (_, body) = asked("gemini/gemini-3.8-flash", schema.clone(), json!({}));
    let sent = &body["generationConfig"]["responseJsonSchema"];
    assert_eq!(sent.get("required"), None);
    assert_eq!(sent["properties"]["mood"], json!({"anyOf": [{"enum": ["good", 2]}, {"type": "null"}]}));
    assert_eq!(sent["properties"]["sure"], json!({"type": "boolean", "description": "d\n\n{enum: [true]}"}));
    assert_eq!(sent["properties"]["size"], json!({"type": ["integer", "null"], "description": "d"}));
    let list = json!({"type": "array", "items": {"type": "string"}, "minItems": 1, "description": "{maxItems: 9}"});
    assert_eq!(sent["properties"]["list"], list);

    let (form, body) = asked("cerebras/gpt-oss-120b", schema, json!({}));
    let sent = &body["response_format"]["json_schema"]["schema"];
    assert_eq!((form, &sent["required"]), (Form::Strict, &names));
    let size = json!({"anyOf": [{"type": "integer"}, {"type": "null"}], "description": "d"});
    assert_eq!(sent["properties"]["size"], size);
    assert_eq!(sent["properties"]["sure"], json!({"enum": [true], "description": "d"}));
}

#[test]
fn a_strict_schema_is_closed_and_says_the_rest_in_words() {
    let (_, body) = asked("openai/gpt-4o", closed(), json!({}));
    let a = json!({"type": "string", "description": "{minLength: 1}"});
    let strict = json!({"type": "object", "properties": {"a": a}, "required": ["a"], "additionalProperties": false});
    assert_eq!(
        body["response_format"],
        json!({"type": "json_schema", "json_schema": {"name": "T", "schema": strict, "strict": true}})
    );
    let (_, body) = asked("openai/gpt-4o", map(), json!({}));
    assert_eq!(body["response_format"], json!({"type": "json_schema", "json_schema": {"name": "T", "schema": map()}}));
    let (_, body) = asked("anthropic/claude-sonnet-4-5", closed(), json!({}));
    assert_eq!(body["output_config"]["format"], json!({"type": "json_schema", "schema": strict}));
    let (_, body) = asked("gemini/gemini-2.5-flash", closed(), json!({}));
    assert_eq!(
        body["generationConfig"]["responseJsonSchema"],
        json!({"type": "object", "properties": {"a": a}, "required": ["a"]})
    );
    let (_, body) = asked("cohere/command-a-03-2025", closed(), json!({}));
    assert_eq!(body["response_format"]["json_schema"]["properties"]["a"], a);
    let (_, body) = asked("ollama_chat/llama3.2", closed(), json!({}));
    assert_eq!(body["format"], closed());
    let (_, body) = asked("bedrock/qwen.qwen3-32b-v1:0", closed(), json!({}));
    let sent = body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(sent).unwrap(), strict);
}

#[test]
fn a_tool_that_has_to_be_called_takes_the_answer() {
    let (_, body) = asked("anthropic/claude-3-5-haiku-latest", closed(), json!({}));
    assert_eq!(body["tools"][0]["name"], "T");
    assert_eq!(body["tools"][0]["input_schema"], closed());
    assert_eq!(body["tool_choice"], json!({"type": "tool", "name": "T"}));
    let (_, body) = asked("bedrock/us.amazon.nova-lite-v1:0", closed(), json!({}));
    assert_eq!(body["toolConfig"]["toolChoice"], json!({"tool": {"name": "T"}}));
    let (_, body) = asked("groq/llama-3.3-70b-versatile", closed(), json!({}));
    assert_eq!(body["tool_choice"], json!({"type": "function", "function": {"name": "T"}}));
    assert_eq!(body.get("response_format"), None);
}

#[test]
fn words_go_into_the_system_message() {
    let schema = closed().to_string();
    let said = |messages: Value| {
        let (_, body) = asked("deepseek/deepseek-chat", closed(), json!({"messages": messages}));
        assert_eq!(body["response_format"], json!({"type": "json_object"}));
        body["messages"].clone()
    };
    let messages = said(json!([{"role": "user", "content": "Hi"}]));
    assert_eq!((&messages[0]["role"], &messages[1]), (&json!("system"), &json!({"role": "user", "content": "Hi"})));
    assert!(messages[0]["content"].as_str().unwrap().ends_with(&schema));
    let messages = said(json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]));
    assert_eq!(messages.as_array().unwrap().len(), 2);
    assert!(messages[0]["content"].as_str().unwrap().starts_with("Be brief.\n\n"));
    let messages = said(json!([{"role": "system", "content": [{"type": "text", "text": "Be brief."}]}]));
    assert!(messages[0]["content"][1]["text"].as_str().unwrap().ends_with(&schema));
}

#[test]
fn a_response_is_asked_for_beside_the_callers_own_text() {
    let deployment = deployment("openai/gpt-5");
    let mut request = request(&deployment, closed(), json!({"text": {"verbosity": "low"}}));
    request.operation = Operation::Responses;
    ask(&deployment, &mut request);
    let text: Value = serde_json::from_slice(request.params.get("text").unwrap()).unwrap();
    assert_eq!((&text["verbosity"], &text["format"]["strict"]), (&json!("low"), &json!(true)));
    assert_eq!(text["format"]["schema"]["additionalProperties"], false);
}

#[test]
fn references_keep_what_is_said_beside_them() {
    let schema = json!({"type": "object", "properties": {"one": {"$ref": "#/$defs/A", "description": "d", "default": null},
        "two": {"allOf": [{"$ref": "#/$defs/A"}]}, "three": {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}], "default": null}},
        "$defs": {"A": {"type": "object", "properties": {"self": {"$ref": "#/$defs/A", "description": "again"}}}}});
    let (form, body) = asked("openai/gpt-4o", schema, json!({}));
    assert_eq!(form, Form::Strict);
    let properties = &body["response_format"]["json_schema"]["schema"]["properties"];
    let a = json!({"type": "object", "properties": {"self": {"$ref": "#/$defs/A"}}, "description": "d", "additionalProperties": false, "required": ["self"]});
    assert_eq!(properties["one"], a);
    assert_eq!(properties["two"], json!({"$ref": "#/$defs/A"}));
    assert_eq!(properties["three"]["anyOf"][0], json!({"$ref": "#/$defs/A"}));
}

fn tool_request() -> Request {
    let deployment = deployment("openai/gpt-4-turbo");
    let mut request = request(&deployment, closed(), json!({}));
    ask(&deployment, &mut request);
    request
}

#[test]
fn the_tools_call_becomes_the_text() {
    let call =
        |name: &str| json!({"id": "c", "type": "function", "function": {"name": name, "arguments": "{\"a\":\"b\"}"}});
    let answer = |calls: Value, reason: &str| {
        let message = json!({"role": "assistant", "content": null, "tool_calls": calls});
        let body = json!({"choices": [{"message": message, "finish_reason": reason}]}).to_string();
        let body: Value = serde_json::from_slice(&untooled(&tool_request(), body.into())).unwrap();
        body["choices"][0].clone()
    };
    assert_eq!(
        answer(json!([call("T")]), "tool_calls"),
        json!({"message": {"role": "assistant", "content": "{\"a\":\"b\"}"}, "finish_reason": "stop"})
    );
    assert_eq!(answer(json!([call("T")]), "length")["finish_reason"], "length");
    assert_eq!(answer(json!([call("other")]), "tool_calls")["message"]["tool_calls"][0], call("other"));
}

/// A decoder whose events are its chunks.
struct Same;

impl StreamDecoder for Same {
    fn event(&mut self, _name: &[u8], data: Bytes, chunks: &mut Vec<Bytes>) -> Result<()> {
        chunks.push(data);
        Ok(())
    }

    fn is_done(&self) -> bool {
        false
    }

    fn is_complete(&self) -> bool {
        true
    }
}

#[test]
fn the_tools_call_becomes_text_in_a_stream() {
    let mut decoder = untooled_stream(&tool_request(), Box::new(Same));
    let mut next = |delta: Value, reason: Value| {
        let mut chunks = vec![Bytes::from_static(b"earlier")];
        let chunk = json!({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]});
        decoder.event(b"", chunk.to_string().into(), &mut chunks).unwrap();
        assert_eq!(chunks.len(), 2);
        let chunk: Value = serde_json::from_slice(&chunks[1]).unwrap();
        (chunk["choices"][0]["delta"].clone(), chunk["choices"][0]["finish_reason"].clone())
    };
    let call = |name: Option<&str>, arguments: &str| {
        let mut function = json!({"arguments": arguments});
        if let Some(name) = name {
            function["name"] = name.into();
        }
        json!({"tool_calls": [{"index": 0, "function": function}]})
    };
    assert_eq!(next(json!({"role": "assistant"}), Value::Null).0, json!({"role": "assistant"}));
    assert_eq!(next(call(Some("T"), ""), Value::Null).0, json!({"content": ""}));
    assert_eq!(next(call(None, "{\"a\":"), Value::Null).0, json!({"content": "{\"a\":"}));
    assert_eq!(next(call(None, "\"b\"}"), Value::Null).0, json!({"content": "\"b\"}"}));
    assert_eq!(next(json!({}), "tool_calls".into()), (json!({}), json!("stop")));
}
