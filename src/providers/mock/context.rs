//! The values that templates can name.

use base64_simd::STANDARD;
use serde_json::{Map, Value, json};

use super::{Asked, rfc3339};

/// Text of an answer that the test gave none for.
const DEFAULT: &str = "This is an answer of the mock server.";
/// Number of bytes of a tool call's arguments in one event of a stream.
const ARGUMENTS_PIECE: usize = 12;

/// Returns the values for a request and the answer that the test gave, with `id` in its ids. `now` is the Unix time in seconds.
pub(super) fn of(asked: &Asked, answer: &Value, id: &str, now: u64) -> Map<String, Value> {
    let mut calls = calls(&answer["tool_calls"], id);
    let mut text = answer["text"].as_str().map(str::to_owned);
    if let Some(json) = answer.get("json") {
        match &asked.forced_tool {
            // Structured output of a provider that has only tools for it.
            Some(tool) => calls.push(call(0, format!("call_{id}0"), tool, json.clone())),
            None => text = Some(json.to_string()),
        }
    }
    let reasoning = answer["reasoning"].as_str();
    if text.is_none() && calls.is_empty() {
        text = Some(DEFAULT.to_owned());
    }
    let chunks = answer["chunks"].as_u64().map(|chunks| chunks.max(1) as usize);
    let blocks = blocks(reasoning, text.as_deref(), &calls, chunks);
    let finish = answer["finish_reason"].as_str().unwrap_or(if calls.is_empty() { "stop" } else { "tool_calls" });
    let written: usize = blocks.iter().map(|block| block["content"].as_str().unwrap_or_default().len()).sum();
    let usage = &answer["usage"];
    let count =
        |names: &[&str], default: u64| names.iter().find_map(|name| usage.pointer(name)?.as_u64()).unwrap_or(default);
    let input = count(&["/prompt_tokens", "/input_tokens"], asked.input_tokens);
    let output = count(&["/completion_tokens", "/output_tokens"], (written as u64).div_ceil(4));
    let cached = count(&["/prompt_tokens_details/cached_tokens", "/input_tokens_details/cached_tokens"], 0);
    let reasoned =
        count(&["/completion_tokens_details/reasoning_tokens", "/output_tokens_details/reasoning_tokens"], 0);
    let vectors = vectors(asked, &answer["vectors"]);
    let incomplete = match finish {
        "length" => Some("max_output_tokens"),
        "content_filter" => Some("content_filter"),
        _ => None,
    };
    let values = json!({
        "id": id,
        "created": now,
        "created_at": rfc3339(now),
        "model": asked.model,
        "text": text,
        "text_or_empty": text.as_deref().unwrap_or_default(),
        "reasoning": reasoning,
        "blocks": blocks,
        "calls": calls,
        "finish": asked.wire.of("finish", finish).unwrap_or(finish),
        "incomplete": incomplete,
        "usage_asked": asked.usage_asked,
        "input_tokens": input,
        "uncached_tokens": input.saturating_sub(cached),
        "output_tokens": output,
        "total_tokens": input + output,
        "cached_tokens": cached,
        "reasoning_tokens": reasoned,
        "first_vector": vectors.first().map(|row| row["vector"].clone()),
        "vectors": vectors,
    });
    let Value::Object(values) = values else { unreachable!("it is an object") };
    values
}

/// Reads the tool calls: objects with `name` and `arguments`, or the same within `function`.
fn calls(given: &Value, id: &str) -> Vec<Value> {
    let given = given.as_array().into_iter().flatten().enumerate();
    given
        .map(|(index, given)| {
            let function = given.get("function").unwrap_or(given);
            let id = given["id"].as_str().map_or_else(|| format!("call_{id}{index}"), str::to_owned);
            call(index, id, function["name"].as_str().unwrap_or_default(), function["arguments"].clone())
        })
        .collect()
}

fn call(index: usize, id: String, name: &str, arguments: Value) -> Value {
    let (text, input) = match arguments {
        Value::String(text) => (text.clone(), serde_json::from_str(&text).unwrap_or(Value::String(text))),
        Value::Null => ("{}".to_owned(), json!({})),
        input => (input.to_string(), input),
    };
    json!({"call_index": index, "call_id": id, "name": name, "arguments": text, "input": input})
}

/// Returns the parts of an answer in their order, each with the pieces that a stream has it in.
fn blocks(reasoning: Option<&str>, text: Option<&str>, calls: &[Value], chunks: Option<usize>) -> Vec<Value> {
    let of_text = |name: &str, text: &str| {
        let pieces = match chunks {
            Some(chunks) => parts(text, text.len().div_ceil(chunks).max(1)),
            None => words(text),
        };
        json!({name: true, "content": text, "pieces": pieced(&pieces)})
    };
    let reasoning = reasoning.map(|text| of_text("is_reasoning", text));
    let text = text.map(|text| of_text("is_text", text));
    let calls = calls.iter().map(|call| {
        let arguments = call["arguments"].as_str().unwrap_or_default();
        let mut block =
            json!({"is_call": true, "content": arguments, "pieces": pieced(&parts(arguments, ARGUMENTS_PIECE))});
        if let (Value::Object(block), Value::Object(call)) = (&mut block, call) {
            block.extend(call.clone());
        }
        block
    });
    let mut blocks: Vec<Value> = reasoning.into_iter().chain(text).chain(calls).collect();
    for (index, block) in blocks.iter_mut().enumerate() {
        block["index"] = index.into();
    }
    blocks
}

fn pieced(pieces: &[&str]) -> Vec<Value> {
    pieces.iter().map(|piece| json!({"piece": piece})).collect()
}

/// Splits a text into words, each with the space before it.
fn words(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut last = ' ';
    for (at, character) in text.char_indices() {
        if character.is_whitespace() && !last.is_whitespace() && at > start {
            pieces.push(&text[start..at]);
            start = at;
        }
        last = character;
    }
    pieces.push(&text[start..]);
    pieces
}

/// Splits a text into pieces of `size` bytes, or of a few more, so that no character is split.
fn parts(mut text: &str, size: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    while !text.is_empty() {
        let mut end = size.min(text.len());
        while !text.is_char_boundary(end) {
            end += 1;
        }
        let (piece, rest) = text.split_at(end);
        pieces.push(piece);
        text = rest;
    }
    pieces
}

/// Returns a vector for each input: the test's own, or one of length 1 that depends on the input alone.
fn vectors(asked: &Asked, given: &Value) -> Vec<Value> {
    let given = given.as_array();
    let vectors = asked.inputs.iter().enumerate().map(|(index, input)| {
        let own = given.and_then(|given| given.get(index % given.len().max(1)));
        let floats: Vec<f32> = match own.and_then(Value::as_array) {
            Some(own) => own.iter().map(|number| number.as_f64().unwrap_or_default() as f32).collect(),
            None => unit_vector(input, asked.dimensions),
        };
        let vector = match asked.base64 {
            true => {
                let bytes: Vec<u8> = floats.iter().flat_map(|float| float.to_le_bytes()).collect();
                Value::String(STANDARD.encode_to_string(bytes))
            }
            false => floats.into(),
        };
        json!({"index": index, "vector": vector})
    });
    vectors.collect()
}

fn unit_vector(text: &str, dimensions: usize) -> Vec<f32> {
    // FNV-1a, then the steps of an xorshift generator.
    let seed = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mut state = seed | 1;
    let mut vector: Vec<f32> = (0..dimensions)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
        })
        .collect();
    let length = vector.iter().map(|float| float * float).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    vector.iter_mut().for_each(|float| *float /= length);
    vector
}
