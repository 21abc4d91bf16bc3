use super::*;

fn of(events: &[Value]) -> Accumulator {
    let mut accumulator = Accumulator::default();
    events.iter().for_each(|event| accumulator.push(event.to_string().as_bytes()));
    accumulator
}

fn accumulated(events: &[Value]) -> Value {
    serde_json::from_slice(&of(events).completion()).unwrap()
}

/// Accumulates these events of one item, whose types lack their prefix.
fn grown(item: Value, events: &[Value]) -> Value {
    let mut all = vec![json!({"type": "response.output_item.added", "output_index": 0, "item": item})];
    all.extend(events.iter().cloned().map(|mut event| {
        event["type"] = format!("response.{}", event["type"].as_str().unwrap()).into();
        event["output_index"] = 0.into();
        event
    }));
    accumulated(&all)["output"][0].clone()
}

#[test]
fn a_finished_response_is_its_own_bytes() {
    let mut accumulator = Accumulator::default();
    assert_eq!(accumulator.completion(), "{}");
    accumulator.push(br#"{"type":"response.completed","response":{"id": "r",  "n": 0.10, "output":[{"type":"message","content":[{"type":"output_text","text":"a"}]}]}}"#);
    assert!(accumulator.completion().starts_with(br#"{"id": "r",  "n": 0.10, "#));
    assert_eq!(accumulator.text(), "a");
}

#[test]
fn an_unfinished_response_has_what_came() {
    let events = [
        json!({"type": "response.created", "response": {"id": "r", "status": "in_progress", "output": []}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "content": []}}),
        json!({"type": "response.content_part.added", "output_index": 0, "content_index": 0, "part": {"type": "output_text", "text": ""}}),
        json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "He"}),
        json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "y"}),
        json!({"type": "response.output_item.added", "output_index": 1, "item": {"type": "function_call", "arguments": ""}}),
        json!({"type": "response.function_call_arguments.delta", "output_index": 1, "delta": "{\"x\""}),
        json!({"type": "response.something.new", "output_index": 1}),
    ];
    let text = json!({"type": "output_text", "text": "Hey"});
    let output = json!([{"type": "message", "content": [text]}, {"type": "function_call", "arguments": "{\"x\""}]);
    assert_eq!(accumulated(&events), json!({"id": "r", "status": "in_progress", "output": output}));
    assert_eq!(of(&events).text(), "Hey");
}

#[test]
fn every_kind_of_item_is_held_as_far_as_it_came() {
    for (kind, event, name) in [
        ("function_call", "function_call_arguments", "arguments"),
        ("custom_tool_call", "custom_tool_call_input", "input"),
        ("mcp_call", "mcp_call_arguments", "arguments"),
        ("mcp_call", "mcp_call.arguments", "arguments"),
        ("code_interpreter_call", "code_interpreter_call_code", "code"),
        ("code_interpreter_call", "code_interpreter_call.code", "code"),
        ("tool_of_tomorrow", "tool_of_tomorrow_its_text", "its_text"),
    ] {
        let pieces = ["a", "b"].map(|delta| json!({"type": format!("{event}.delta"), "delta": delta}));
        assert_eq!(grown(json!({"type": kind, name: ""}), &pieces), json!({"type": kind, name: "ab"}), "{event}");
    }
    let code = [
        json!({"type": "code_interpreter_call_code.delta", "delta": "1"}),
        json!({"type": "code_interpreter_call_code.done", "code": "1+1"}),
    ];
    assert_eq!(grown(json!({"type": "code_interpreter_call"}), &code)["code"], "1+1");
    let image = [
        json!({"type": "image_generation_call.generating"}),
        json!({"type": "image_generation_call.partial_image", "partial_image_b64": "QQ", "partial_image_index": 0}),
    ];
    let item = json!({"type": "image_generation_call", "status": "generating", "result": "QQ"});
    assert_eq!(grown(json!({"type": "image_generation_call", "status": "in_progress"}), &image), item);
    let shell = [
        json!({"type": "shell_call_command.added", "command_index": 0, "command": "l"}),
        json!({"type": "shell_call_command.delta", "command_index": 0, "delta": "s"}),
        json!({"type": "shell_call_output_content.delta", "command_index": 0, "delta": {"stdout": "a"}}),
        json!({"type": "shell_call_output_content.delta", "command_index": 0, "delta": {"stdout": "b", "stderr": "c"}}),
    ];
    let item = grown(json!({"type": "shell_call", "action": {}}), &shell);
    assert_eq!(
        (&item["action"], &item["output"]),
        (&json!({"commands": ["ls"]}), &json!([{"stdout": "ab", "stderr": "c"}]))
    );
    let patch = [json!({"type": "apply_patch_call_operation_diff.delta", "delta": "+a"})];
    assert_eq!(grown(json!({"type": "apply_patch_call"}), &patch)["operation"], json!({"diff": "+a"}));
}

#[test]
fn every_kind_of_part_is_held_as_far_as_it_came() {
    let part = |part: Value| json!({"type": "content_part.added", "content_index": 0, "part": part});
    for (item, kind, event, name) in [
        ("message", "output_text", "output_text", "text"),
        ("message", "refusal", "refusal", "refusal"),
        ("reasoning", "reasoning_text", "reasoning_text", "text"),
    ] {
        let delta = json!({"type": format!("{event}.delta"), "content_index": 0, "delta": "a"});
        let done = json!({"type": format!("{event}.done"), "content_index": 0, name: "abc"});
        let begun = part(json!({"type": kind, name: ""}));
        let whole = json!([{"type": kind, name: "abc"}]);
        let item = json!({"type": item, "content": []});
        assert_eq!(grown(item.clone(), &[begun.clone(), delta.clone(), delta.clone()])["content"][0][name], "aa");
        assert_eq!(grown(item.clone(), &[begun, delta.clone(), done.clone()])["content"], whole);
        // Without the event that adds the part.
        assert_eq!(grown(item, &[delta, done])["content"], whole);
    }
    let summary = [
        json!({"type": "reasoning_summary_part.added", "summary_index": 0, "part": {"type": "summary_text", "text": ""}}),
        json!({"type": "reasoning_summary_text.delta", "summary_index": 0, "delta": "a"}),
        json!({"type": "reasoning_summary_text.delta", "summary_index": 1, "delta": "b"}),
    ];
    let text = |text: &str| json!({"type": "summary_text", "text": text});
    assert_eq!(grown(json!({"type": "reasoning", "summary": []}), &summary)["summary"], json!([text("a"), text("b")]));
    let annotated = [
        part(json!({"type": "output_text", "text": "a", "annotations": []})),
        json!({"type": "output_text.annotation.added", "content_index": 0, "annotation_index": 0, "annotation": {"url": "u"}}),
        json!({"type": "output_text.delta", "content_index": 0, "delta": "b", "logprobs": [{"token": "b"}]}),
    ];
    let text =
        json!({"type": "output_text", "text": "ab", "annotations": [{"url": "u"}], "logprobs": [{"token": "b"}]});
    assert_eq!(grown(json!({"type": "message"}), &annotated)["content"], json!([text]));
    // Without the events that add the item and the part.
    let events = [
        json!({"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "content_index": 0, "delta": "a"}),
    ];
    let item =
        json!({"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]});
    assert_eq!(accumulated(&events), json!({"output": [item]}));
}

#[test]
fn an_end_without_output_throws_nothing_away() {
    let events = |end: Value| {
        [
            json!({"type": "response.created", "response": {"id": "r", "status": "in_progress", "output": []}}),
            json!({"type": "response.output_item.done", "output_index": 0, "item": {"type": "message", "id": "m", "content": [{"type": "output_text", "text": "a"}]}}),
            json!({"type": "response.completed", "response": end}),
        ]
    };
    for output in [json!([]), Value::Null] {
        let response = accumulated(&events(json!({"status": "completed", "usage": {"n": 1}, "output": output})));
        assert_eq!(response["output"][0]["content"][0]["text"], "a");
        assert_eq!(
            (&response["id"], &response["status"], &response["usage"]["n"]),
            (&json!("r"), &json!("completed"), &json!(1))
        );
    }
    // The event that ends the item omits its content.
    let end =
        json!({"type": "output_item.done", "item": {"type": "function_call", "arguments": "", "status": "completed"}});
    let delta = json!({"type": "function_call_arguments.delta", "delta": "{}"});
    let item = json!({"type": "function_call", "arguments": "{}", "status": "completed"});
    assert_eq!(grown(json!({"type": "function_call", "arguments": ""}), &[delta, end]), item);
}

#[test]
fn items_that_are_all_numbered_0_stay_apart() {
    let added = |kind: &str, id: &str| json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": kind, "id": id}});
    let delta = |id: &str, delta: &str| json!({"type": "response.function_call_arguments.delta", "item_id": id, "output_index": 0, "delta": delta});
    let done = |id: &str| json!({"type": "response.output_item.done", "output_index": 0, "item": {"type": "function_call", "id": id, "arguments": ""}});
    let output = accumulated(&[
        added("reasoning", "r"),
        added("function_call", "a"),
        added("function_call", "b"),
        delta("b", "1"),
        delta("a", "2"),
        done("a"),
        done("b"),
    ]);
    let call = |id: &str, arguments: &str| json!({"type": "function_call", "id": id, "arguments": arguments});
    assert_eq!(output["output"], json!([{"type": "reasoning", "id": "r"}, call("a", "2"), call("b", "1")]));
}

#[test]
fn nonsense_is_passed_over() {
    let events = [
        json!([1]),
        json!({"type": 1}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": 5}),
        json!({"type": "response.output_text.delta", "output_index": 1e18, "content_index": "x", "delta": 3}),
        json!({"type": "response.shell_call_command.delta", "output_index": 1, "command_index": 1e9, "delta": "a"}),
    ];
    assert!(accumulated(&events)["output"].is_array());
}
