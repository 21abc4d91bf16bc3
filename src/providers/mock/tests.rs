use serde_json::{Value, json};

use super::{Asked, ID, Rendered, asked};

fn of(path: &str, body: &Value) -> Asked {
    asked(path, body, 400).expect("the path is known")
}

fn text(rendered: &Rendered) -> String {
    rendered.pieces.iter().map(|piece| String::from_utf8_lossy(piece)).collect()
}

#[test]
fn paths_name_models_and_streams() {
    let model = |path: &str| {
        let asked = of(path, &json!({"model": "m"}));
        (asked.endpoint(), asked.model, asked.stream)
    };
    assert_eq!(model("/openai/v1/chat/completions?x=1"), ("chat", "m".into(), false));
    assert_eq!(model("/openai/deployments/d/chat/completions"), ("chat", "d".into(), false));
    assert_eq!(model("/v1beta/models/g:streamGenerateContent?alt=sse"), ("gemini", "g".into(), true));
    assert_eq!(model("/model/a.b%3A0/converse-stream"), ("bedrock", "a.b:0".into(), true));
    assert_eq!(model("/model/a.b%3A0/converse"), ("bedrock", "a.b:0".into(), false));
    assert_eq!(model("/api/chat"), ("ollama", "m".into(), true));
    assert!(asked("/v1/other", &Value::Null, 0).is_none());
}

#[test]
fn usage_is_streamed_where_it_is_asked_for() {
    let body = json!({"model": "m", "stream": true, "stream_options": {"include_usage": true}});
    let with = text(&of("/chat/completions", &body).answer(&json!({"text": "a b"}), ID, 1));
    assert!(
        with.contains(r#""choices":[],"usage":{"prompt_tokens":100,"completion_tokens":1,"total_tokens":101"#),
        "{with}"
    );
    assert!(with.ends_with("data: [DONE]\n\n"));
    let without = text(&of("/chat/completions", &json!({"stream": true})).answer(&json!({"text": "a b"}), ID, 1));
    assert!(!without.contains("usage"));
}

#[test]
fn a_text_is_the_same_plain_and_in_pieces() {
    let answer = json!({"text": "Grüße  aus\n\nBerlin ", "chunks": 4});
    let rendered = of("/chat/completions", &json!({"stream": true})).answer(&answer, ID, 1);
    let said: String = rendered
        .pieces
        .iter()
        .filter_map(|piece| serde_json::from_slice::<Value>(piece.strip_prefix(b"data: ")?).ok())
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(said, "Grüße  aus\n\nBerlin ");
    // The role, four pieces, the finish reason, the end.
    assert_eq!(rendered.pieces.len(), 7);
}

#[test]
fn the_same_text_has_the_same_vector() {
    let vectors = |input: Value| {
        let rendered = of("/embeddings", &json!({"input": input, "dimensions": 3})).answer(&json!({}), ID, 1);
        let body: Value = serde_json::from_slice(&rendered.pieces[0]).unwrap();
        body["data"].as_array().unwrap().iter().map(|row| row["embedding"].clone()).collect::<Vec<_>>()
    };
    let pair = vectors(json!(["a", "b"]));
    assert_eq!(vectors(json!("b"))[0], pair[1]);
    assert_ne!(pair[0], pair[1]);
    assert_eq!(vectors(json!([1, 2, 3])).len(), 1);
    let length: f64 = pair[0].as_array().unwrap().iter().map(|float| float.as_f64().unwrap().powi(2)).sum();
    assert!((length - 1.0).abs() < 1e-5, "{length}");
}

#[test]
fn json_goes_through_a_tool_that_has_to_be_called() {
    let body = json!({"tool_choice": {"type": "tool", "name": "answer"}});
    let rendered: Value =
        serde_json::from_slice(&of("/v1/messages", &body).answer(&json!({"json": {"a": 1}}), ID, 1).pieces[0]).unwrap();
    assert_eq!(rendered["content"][0]["name"], "answer");
    assert_eq!(rendered["content"][0]["input"], json!({"a": 1}));
    assert_eq!(rendered["stop_reason"], "tool_use");
}
