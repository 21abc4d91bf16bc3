//! Function calls of answers.

use super::*;

fn part(part: Value, finish: Option<&str>) -> Value {
    let mut candidate = json!({"index": 0, "content": {"role": "model", "parts": [part]}});
    if let Some(finish) = finish {
        candidate["finishReason"] = finish.into();
    }
    json!({"candidates": [candidate], "responseId": "r"})
}

#[test]
fn arguments_in_pieces_become_those_of_the_plain_call() {
    let piece = |path: &str, text: &str, more: Value| {
        let mut piece = json!({"jsonPath": path, "stringValue": text});
        piece.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        part(json!({"functionCall": {"partialArgs": [piece], "willContinue": true}}), None)
    };
    let ended = [
        part(json!({"functionCall": {"name": "f", "willContinue": true}, "thoughtSignature": "s"}), None),
        piece("$.city", "Bos", json!({"willContinue": true})),
        piece("$.city", "ton", json!({})),
        part(json!({"functionCall": {}}), None),
        part(json!({"functionCall": {"name": "g", "willContinue": true}}), None),
        piece("$.x", "y", json!({})),
        // Without a last delta of the call.
        part(json!({"text": ""}), Some("STOP")),
    ];
    let plain = decode(&json!({"responseId": "r", "candidates": [{"finishReason": "STOP", "content": {"parts": [
        {"functionCall": {"name": "f", "args": {"city": "Boston"}}, "thoughtSignature": "s"}, {"functionCall": {"name": "g", "args": {"x": "y"}}},
    ]}}]}));
    let streamed = accumulated(streamed(&ended).0);
    assert_eq!(streamed["choices"], plain["choices"]);
    assert_eq!(streamed["choices"][0]["finish_reason"], "tool_calls");
}

#[test]
fn pieces_in_one_part_or_in_a_plain_answer_are_a_call_too() {
    let whole = json!({"functionCall": {"name": "f", "partialArgs": [{"jsonPath": "$.n", "numberValue": 1.0}]}});
    for completion in
        [decode(&part(whole.clone(), Some("STOP"))), accumulated(streamed(&[part(whole, Some("STOP"))]).0)]
    {
        let calls = &completion["choices"][0]["message"]["tool_calls"];
        assert_eq!(calls.as_array().unwrap().len(), 1);
        assert_eq!(calls[0]["function"], json!({"name": "f", "arguments": "{\"n\":1}"}));
    }
}

#[test]
fn arguments_may_be_absent_null_or_a_string() {
    for (args, right) in [
        (json!(null), "{}"),
        (json!("absent"), "{}"),
        (json!(""), "{}"),
        (json!("null"), "{}"),
        (json!({}), "{}"),
        (json!("{\"a\":1}"), "{\"a\":1}"),
        (json!({"a": 1}), "{\"a\":1}"),
    ] {
        let mut call = json!({"name": "f", "args": args});
        if args == "absent" {
            call.as_object_mut().unwrap().shift_remove("args");
        }
        let answer = part(json!({"functionCall": call}), Some("STOP"));
        let message = decode(&answer)["choices"][0]["message"].take();
        assert_eq!(message["tool_calls"][0]["function"]["arguments"], right, "{args}");
        assert_eq!(accumulated(streamed(std::slice::from_ref(&answer)).0)["choices"][0]["message"], message);
        // Sent back unchanged.
        assert_eq!(contents(json!([message]))[0]["parts"][0]["functionCall"], call);
    }
}
