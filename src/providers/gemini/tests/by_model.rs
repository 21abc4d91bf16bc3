//! Rules that depend on the model, at both providers.

use super::*;

/// Returns the models of one generation, at both providers.
fn both(model: &str) -> [String; 2] {
    [format!("gemini/{model}"), format!("vertex/{model}")]
}

#[test]
fn where_no_thinking_is_asked_for_it_is_the_least_that_the_model_takes() {
    for (model, config) in [
        ("gemini-2.5-pro", json!({"thinkingBudget": 128})),
        ("models/gemini-2.5-pro-preview-06-05", json!({"thinkingBudget": 128})),
        ("gemini-2.5-flash", json!({"thinkingBudget": 0})),
        ("gemini-2.5-flash-lite", json!({"thinkingBudget": 0})),
        ("gemini-3-pro-preview", json!({"thinkingLevel": "low"})),
        ("gemini-3.5-flash", json!({"thinkingLevel": "minimal"})),
        ("gemini-3.8-flash", json!({"thinkingLevel": "low"})),
        ("gemini-pro-latest", json!({"thinkingLevel": "low"})),
        ("gemini-flash-lite-latest", json!({"thinkingLevel": "minimal"})),
        ("gemini-2.0-flash", Value::Null),
        ("gemini-2.5-flash-image", Value::Null),
    ] {
        for model in both(model) {
            let asked = |params: Value| {
                let mut all = json!({"messages": []});
                all.as_object_mut().unwrap().extend(params.as_object().unwrap().clone());
                body(&model, all)["generationConfig"]["thinkingConfig"].take()
            };
            assert_eq!(asked(json!({"reasoning_effort": "none"})), config, "{model}");
            assert_eq!(asked(json!({"thinking": {"type": "disabled"}})), config, "{model}");
        }
    }
}

#[test]
fn a_model_that_does_not_think_refuses_to() {
    for params in [json!({"reasoning_effort": "low"}), json!({"thinking": {"type": "enabled", "budget_tokens": 9}})] {
        let mut all = json!({"messages": []});
        all.as_object_mut().unwrap().extend(params.as_object().unwrap().clone());
        let error = encode("gemini/gemini-2.0-flash", all.clone(), |_, _| {}).unwrap_err();
        assert_eq!(error.kind, ErrorKind::UnsupportedParams);
        let dropped = encode("gemini/gemini-2.0-flash", all, |request, _| request.drop_params = true).unwrap();
        assert_eq!(dropped.dropped_params, [params.as_object().unwrap().keys().next().unwrap().clone()]);
    }
}

#[test]
fn media_stand_in_a_result_from_gemini_3_on_and_behind_it_before() {
    let call =
        |id: &str, name: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}});
    let part = |url: &str| json!({"type": "image_url", "image_url": {"url": url}});
    let messages = json!([
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "", "tool_calls": [call("a", "f"), call("b", "g")]},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "t"}, part("data:image/png;base64,AA==")]},
        {"role": "tool", "tool_call_id": "b", "content": [part("data:video/mp4;base64,AA==")]},
        {"role": "user", "content": "go on"},
    ]);
    let picture = json!({"inlineData": {"mimeType": "image/png", "data": "AA=="}});
    let video = json!({"inlineData": {"mimeType": "video/mp4", "data": "AA=="}});
    let elsewhere = "The result is in the message that follows.";
    for model in both("gemini-2.5-pro").into_iter().chain(both("gemini-2.0-flash")) {
        let sent = body(&model, json!({ "messages": messages }))["contents"].take();
        assert_eq!(
            sent[2]["parts"],
            json!([
                {"functionResponse": {"name": "f", "response": {"result": "t"}}},
                {"functionResponse": {"name": "g", "response": {"result": elsewhere}}},
            ])
        );
        assert_eq!(
            sent[3],
            json!({"role": "user", "parts": [{"text": "From the result of f:"}, picture, {"text": "From the result of g:"}, video, {"text": "go on"}]})
        );
    }
    for model in both("gemini-3-flash-preview").into_iter().chain(both("gemini-flash-latest")) {
        let sent = body(&model, json!({ "messages": messages }))["contents"].take();
        assert_eq!(sent[2]["parts"][0]["functionResponse"]["parts"], json!([picture]));
        // No model takes video inside a result.
        assert_eq!(sent[2]["parts"][1]["functionResponse"]["response"], json!({"result": elsewhere}));
        assert_eq!(sent[3]["parts"], json!([{"text": "From the result of g:"}, video, {"text": "go on"}]));
    }
}

#[test]
fn googles_tools_beside_functions_have_their_switch_where_there_is_one() {
    let function = json!({"type": "function", "function": {"name": "f"}});
    let switch = |model: &str, params: Value| {
        let mut all = json!({"messages": []});
        all.as_object_mut().unwrap().extend(params.as_object().unwrap().clone());
        body(model, all)["toolConfig"]["includeServerSideToolInvocations"].take()
    };
    for params in [
        json!({"tools": [function], "web_search_options": {}}),
        json!({"web_search_options": {}, "tools": [function]}),
        json!({"tools": [function, {"codeExecution": {}}], "tool_choice": "auto"}),
        json!({"tools": [{"function_declarations": [{"name": "f"}], "google_search": {}}]}),
    ] {
        assert_eq!(switch("gemini/gemini-3.5-flash", params.clone()), true, "{params}");
        assert_eq!(switch("vertex/gemini-3.5-flash", params.clone()), Value::Null, "{params}");
        assert_eq!(switch("gemini/gemini-2.5-flash", params.clone()), Value::Null, "{params}");
    }
    for params in [json!({"tools": [function]}), json!({"web_search_options": {}}), json!({})] {
        assert_eq!(switch("gemini/gemini-3.5-flash", params), Value::Null);
    }
    let own = json!({"tools": [function], "web_search_options": {}, "tool_config": {"include_server_side_tool_invocations": false}});
    assert_eq!(switch("gemini/gemini-3.5-flash", own), false);
}

#[test]
fn instructions_begin_the_conversation_where_a_model_has_none() {
    let messages = json!([{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]);
    let sent = body("gemini/gemma-3-27b-it", json!({ "messages": messages }));
    assert_eq!(sent, json!({"contents": [{"role": "user", "parts": [{"text": "s"}, {"text": "u"}]}]}));
    let alone = body("gemini/gemma-3-27b-it", json!({"messages": [{"role": "system", "content": "s"}]}));
    assert_eq!(alone, json!({"contents": [{"role": "user", "parts": [{"text": "s"}]}]}));
    assert_eq!(
        body("gemini/gemma-4-31b-it", json!({ "messages": messages }))["systemInstruction"]["parts"][0]["text"],
        "s"
    );
}

#[test]
fn media_types_are_written_in_one_way() {
    for model in both("gemini-2.5-flash") {
        let sent = |part: Value| {
            let messages = json!([{"role": "user", "content": [part]}]);
            body(&model, json!({ "messages": messages }))["contents"][0]["parts"][0].take()
        };
        for (url, right) in [
            ("data:image/jpg;base64,AA==", "image/jpeg"),
            ("data:image/png;name=a.png;base64,AA==", "image/png"),
            ("data:IMAGE/PNG;base64,AA==", "image/png"),
            ("data:;base64,AA==", "image/jpeg"),
        ] {
            let part = sent(json!({"type": "image_url", "image_url": {"url": url}}));
            assert_eq!(part, json!({"inlineData": {"mimeType": right, "data": "AA=="}}), "{url}");
        }
        let file = sent(json!({"type": "file", "file": {"file_data": "AA==", "format": "Application/PDF; x=1"}}));
        assert_eq!(file["inlineData"]["mimeType"], "application/pdf");
        let stored = sent(json!({"type": "image_url", "image_url": {"url": "gs://b/a", "format": "image/JPG"}}));
        assert_eq!(stored["fileData"]["mimeType"], "image/jpeg");
        let audio = sent(json!({"type": "input_audio", "input_audio": {"data": "AA==", "format": "WAV"}}));
        assert_eq!(audio["inlineData"]["mimeType"], "audio/wav");
    }
}
