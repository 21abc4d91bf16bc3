//! Fuzzes small responses of every wire format with some leaves changed: no panic, no error, and the content survives
//! unless it was changed itself.
//!
//! An input is the number of a response in `tests/answers.json`, and for each change the number of a leaf and of its
//! new value. `tests/test_mutants.py` does the same in Python, also with recorded responses.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ritellm::providers::{DeploymentArgs, resolve};
use ritellm::types::accumulate::Accumulator;
use ritellm::types::http::{Headers, HttpResponse};
use ritellm::types::operation::Operation;
use ritellm::types::request::Request;
use ritellm::types::secret::Secret;
use serde_json::{Value, json};

static ANSWERS: LazyLock<Vec<Value>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../tests/answers.json")).expect("a list of answers"));

/// Maximum number of changed leaves.
const MOST: usize = 3;

fuzz_target!(|input: &[u8]| {
    let Some((number, changes)) = input.split_first() else { return };
    let original = &ANSWERS[usize::from(*number) % ANSWERS.len()];
    let mut mutant = original.clone();
    let mut paths = Vec::new();
    for change in changes.chunks_exact(3).take(MOST) {
        let leaf = usize::from(u16::from_le_bytes([change[0], change[1]]));
        paths.extend(change_leaf(&mut mutant, leaf, change[2]));
    }
    let said = said(&mutant);
    if paths.iter().all(|path| !is_content(path)) {
        let expected = self::said(original).expect("the answers are good ones");
        // The members that distinguish a complete stream from a broken one are required.
        if let Some(said) = said.unwrap_or_else(|error| panic!("{paths:?}: {error}")) {
            assert_eq!(Some(said), expected, "{paths:?}: {mutant}");
        }
    }
});

/// Names of the members with the content of a response, or that decide where a part of it belongs.
const CONTENT: &[&str] = &[
    "text",
    "content",
    "thinking",
    "reasoning",
    "reasoning_content",
    "tool_plan",
    "name",
    "arguments",
    "input",
    "args",
    "partial_json",
    "embedding",
    "values",
    "float",
    "embeddings",
    "summary",
    "id",
    "signature",
    "thoughtSignature",
];
const PLACES: &[&str] = &[
    "type",
    "index",
    "contentBlockIndex",
    "output_index",
    "content_index",
    "thought",
    "done",
    "tool_calls",
    "finish_reason",
    "error",
    "object",
    "status",
    "toolUseId",
];

fn is_content(path: &[String]) -> bool {
    path.iter().any(|name| CONTENT.contains(&&**name))
        || path.last().is_some_and(|last| PLACES.contains(&&**last) || last == "delta")
}

/// Changes one leaf of the events and returns its path.
fn change_leaf(answer: &mut Value, leaf: usize, change: u8) -> Option<Vec<String>> {
    let mut leaves = Vec::new();
    find_leaves(&answer["events"], &mut Vec::new(), &mut leaves);
    // The members `name` and `data` of the list itself do not come from the provider.
    leaves.retain(|path| path.get(1).is_some_and(|name| name == "data"));
    let path = leaves.get(leaf % leaves.len().max(1))?.clone();
    let (last, above) = path.split_last()?;
    let mut holder = &mut answer["events"];
    for step in above {
        holder = match holder {
            Value::Array(items) => &mut items[step.parse::<usize>().ok()?],
            object => &mut object[step.as_str()],
        };
    }
    let place = match &mut *holder {
        Value::Array(items) => &mut items[last.parse::<usize>().ok()?],
        object => &mut object[last.as_str()],
    };
    let known = place.take();
    let texts = json!([null, "", 0, 1, -1, 2.5, 1e308, 18446744073709551615u64, true, false, "x", "7", [], {}, [null]]);
    let choices = texts.as_array().expect("written above");
    *place = match usize::from(change) % (choices.len() + 4) {
        number if number < choices.len() => choices[number].clone(),
        number if number == choices.len() => json!([known]),
        number if number == choices.len() + 1 => json!({ "x": known }),
        number if number == choices.len() + 2 => json!([null, known]),
        _ => {
            if let Value::Object(members) = holder {
                members.shift_remove(last.as_str());
            }
            return Some(path);
        }
    };
    Some(path)
}

fn find_leaves(value: &Value, path: &mut Vec<String>, leaves: &mut Vec<Vec<String>>) {
    let mut inside = |step: String, value: &Value| {
        path.push(step);
        find_leaves(value, path, leaves);
        path.pop();
    };
    match value {
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().for_each(|(place, item)| inside(place.to_string(), item));
        }
        Value::Object(members) if !members.is_empty() => {
            members.iter().for_each(|(name, member)| inside(name.clone(), member));
        }
        _ => leaves.push(path.clone()),
    }
}

/// Returns the content for the caller: text, reasoning and tool calls, or vectors; `None` if a stream did not end.
fn said(answer: &Value) -> Result<Option<Value>, String> {
    let provider = answer["provider"].as_str().expect("a name");
    let stream = answer["stream"] == true;
    let operation = match answer["operation"].as_str() {
        Some("embedding") => Operation::Embedding,
        Some("responses") => Operation::Responses,
        _ => Operation::Chat,
    };
    let settings = vec![("aws_region_name", Secret::new("r")), ("vertex_project", Secret::new("p"))];
    let given = DeploymentArgs {
        base_url: Some("http://localhost".into()),
        api_key: Some(Secret::new("key")),
        settings,
        ..DeploymentArgs::default()
    };
    let deployment = resolve(&format!("{provider}/m"), &given, &|_| None).map_err(|error| error.message)?;
    let request = Request { operation, model: "m".into(), stream, ..Request::default() };
    let endpoint = deployment.endpoint(&request).map_err(|error| error.message)?;
    let events = answer["events"].as_array().expect("a list");
    let body = |event: &Value| Bytes::from(event["data"].to_string());
    if !stream {
        let response = HttpResponse { received: 1, status: 200, headers: Headers::default(), body: body(&events[0]) };
        let decoded = endpoint.decode(&request, &response).map_err(|error| error.message)?;
        let decoded: Value = serde_json::from_slice(&decoded).map_err(|error| error.to_string())?;
        return Ok(Some(told(&decoded)));
    }
    let mut decoder = endpoint.stream_decoder(&request, 1);
    let mut chunks = Vec::new();
    for event in events {
        if !decoder.is_done() {
            let name = event["name"].as_str().unwrap_or_default();
            decoder.event(name.as_bytes(), body(event), &mut chunks).map_err(|error| error.message)?;
        }
    }
    if operation == Operation::Responses {
        return Ok(Some(Value::Null));
    }
    let mut whole = Accumulator::default();
    chunks.iter().filter_map(|chunk| serde_json::from_slice(chunk).ok()).for_each(|chunk| whole.push(chunk));
    let whole = whole.finish();
    Ok(decoder.is_complete().then(|| told(&whole)))
}

fn told(answer: &Value) -> Value {
    let message = &answer["choices"][0]["message"];
    let calls: Vec<&Value> =
        message["tool_calls"].as_array().into_iter().flatten().map(|call| &call["function"]).collect();
    let items = answer["data"].as_array().into_iter().flatten();
    let vectors: Vec<&Value> = items.map(|item| &item["embedding"]).collect();
    json!([message["content"], message["reasoning_content"], calls, vectors])
}
