//! Chunks → completion: what a whole stream says, as the plain call would have said it.
//!
//! Nothing a chunk carries is dropped: names this file does not know are merged by the shape of their values.

use serde_json::{Map, Value, json};

/// Puts a stream's chunks together into one chat completion.
#[derive(Debug, Default)]
pub struct Accumulator {
    completion: Map<String, Value>,
    choices: Vec<Map<String, Value>>,
}

impl Accumulator {
    /// Adds one `chat.completion.chunk`. A value that is not an object is passed over.
    pub fn push(&mut self, chunk: Value) {
        let Value::Object(chunk) = chunk else { return };
        for (name, value) in chunk {
            match (name.as_str(), value) {
                ("choices", Value::Array(choices)) => choices.into_iter().for_each(|choice| self.push_choice(choice)),
                ("object", _) | (_, Value::Null) if self.completion.contains_key(&name) => {}
                ("object", _) => drop(self.completion.insert(name, "chat.completion".into())),
                // The first id, model and creation time stand; counts and vendors' own objects are as last said.
                ("id" | "created" | "model", value) => match self.completion.get(&name) {
                    None | Some(Value::Null) => drop(self.completion.insert(name, value)),
                    Some(Value::String(text)) if text.is_empty() => drop(self.completion.insert(name, value)),
                    // Azure's first chunk is about the prompt alone and says neither id nor time.
                    Some(Value::Number(time)) if time.as_u64() == Some(0) => drop(self.completion.insert(name, value)),
                    Some(_) => {}
                },
                ("provider_specific_fields", value) => merge(self.completion.entry(name).or_insert(Value::Null), value),
                (_, value) => drop(self.completion.insert(name, value)),
            }
        }
    }

    fn push_choice(&mut self, choice: Value) {
        let Value::Object(choice) = choice else { return };
        let index = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
        let place = self.choices.iter().position(|known| known.get("index").and_then(Value::as_u64) == Some(index));
        let place = place.unwrap_or_else(|| {
            let mut fresh = Map::new();
            fresh.insert("index".into(), index.into());
            fresh.insert("message".into(), json!({"role": "assistant", "content": null}));
            fresh.insert("finish_reason".into(), Value::Null);
            self.choices.push(fresh);
            self.choices.len() - 1
        });
        let known = &mut self.choices[place];
        for (name, value) in choice {
            match (name.as_str(), value) {
                ("index", _) => {}
                ("delta", Value::Object(delta)) => {
                    let message = known["message"].as_object_mut().expect("made above");
                    delta.into_iter().for_each(|(name, value)| merge_delta(message, name, value));
                }
                ("finish_reason", Value::Null) => {}
                // Some hosts say that there is none yet with an empty string.
                ("finish_reason", Value::String(reason)) if reason.is_empty() => {}
                ("finish_reason", value) => drop(known.insert(name, value)),
                // Azure's verdicts, each of them whole: a category is as it was last said.
                ("content_filter_results", Value::Object(verdicts)) => {
                    if let Some(said) = known.entry(name).or_insert_with(|| json!({})).as_object_mut() {
                        said.extend(verdicts);
                    }
                }
                (_, value) => merge(known.entry(name).or_insert(Value::Null), value),
            }
        }
    }

    /// The completion so far. A choice that has not finished has a `finish_reason` of null.
    pub fn finish(mut self) -> Value {
        self.choices.sort_by_key(|choice| choice["index"].as_u64());
        for choice in &mut self.choices {
            if let Some(calls) = choice["message"].get_mut("tool_calls").and_then(Value::as_array_mut) {
                // A place in the stream, not a part of a message.
                calls.iter_mut().filter_map(Value::as_object_mut).for_each(|call| drop(call.shift_remove("index")));
            }
        }
        let choices = self.choices.into_iter().map(Value::Object).collect();
        self.completion.entry("object").or_insert_with(|| "chat.completion".into());
        self.completion.insert("choices".into(), Value::Array(choices));
        Value::Object(self.completion)
    }
}

/// Members that say the same in every delta, so they are set and not strung together.
fn is_label(name: &str) -> bool {
    matches!(name, "role" | "type" | "id" | "index" | "object" | "format" | "signature" | "created" | "expires_at")
}

fn merge_delta(message: &mut Map<String, Value>, name: String, value: Value) {
    match (name.as_str(), value) {
        ("tool_calls", Value::Array(calls)) => {
            let known = message.entry(name).or_insert_with(|| json!([]));
            if !known.is_array() {
                *known = json!([]);
            }
            let known = known.as_array_mut().expect("made above");
            calls.into_iter().for_each(|call| merge_tool_call(known, call));
        }
        (label, value) if is_label(label) && !value.is_null() => drop(message.insert(name, value)),
        (_, value) => merge(message.entry(name).or_insert(Value::Null), value),
    }
}

/// A piece of a tool call joins the call at its index; without an index, the call of its id, or the last one.
///
/// Some hosts number every parallel call 0: a new id that comes with a name is a new call all the same.
fn merge_tool_call(calls: &mut Vec<Value>, piece: Value) {
    let id = piece.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
    let named = piece.pointer("/function/name").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
    let other_call = |call: &Value| {
        let known = call.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
        named && id.is_some() && known.is_some() && known != id
    };
    let place = match piece.get("index").and_then(Value::as_u64) {
        Some(index) => calls.iter().rposition(|call| call.get("index").and_then(Value::as_u64) == Some(index)),
        None => match id {
            Some(id) => calls.iter().rposition(|call| call.get("id").and_then(Value::as_str) == Some(id)),
            None if named => None,
            None => calls.len().checked_sub(1),
        },
    };
    match place.filter(|place| !other_call(&calls[*place])) {
        None => calls.push(piece),
        Some(place) => {
            let (Value::Object(known), Value::Object(piece)) = (&mut calls[place], piece) else { return };
            for (name, value) in piece {
                match (name.as_str(), value) {
                    (_, Value::Null) => {}
                    ("id", Value::String(id)) if id.is_empty() => {}
                    ("id" | "type" | "index", value) => drop(known.insert(name, value)),
                    (_, value) => merge(known.entry(name).or_insert(Value::Null), value),
                }
            }
        }
    }
}

/// Joins what comes later to what is there: text is strung together, lists grow, objects merge, the rest is replaced.
fn merge(known: &mut Value, value: Value) {
    match (known, value) {
        (_, Value::Null) => {}
        (Value::String(known), Value::String(value)) => known.push_str(&value),
        (Value::Array(known), Value::Array(items)) => items.into_iter().for_each(|item| merge_item(known, item)),
        (Value::Object(known), Value::Object(members)) => {
            for (name, value) in members {
                match known.get_mut(&name) {
                    // Some hosts send a function's whole name with every piece.
                    Some(same) if name == "name" && *same == value => {}
                    Some(Value::Null) | None => drop(known.insert(name, value)),
                    Some(_) if is_label(&name) && value.is_null() => {}
                    Some(there) if is_label(&name) => *there = value,
                    Some(there) => merge(there, value),
                }
            }
        }
        (known, value) => *known = value,
    }
}

/// List items that carry an `index` are places, and what comes for a place joins what stands there.
fn merge_item(known: &mut Vec<Value>, item: Value) {
    let index = item.get("index").and_then(Value::as_u64);
    let kind = item.get("type").cloned();
    let same = |there: &&mut Value| {
        there.get("index").and_then(Value::as_u64) == index && (kind.is_none() || there.get("type") == kind.as_ref())
    };
    match index.and_then(|_| known.iter_mut().find(same)) {
        Some(there) => merge(there, item),
        None => known.push(item),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accumulated(chunks: &[Value]) -> Value {
        let mut accumulator = Accumulator::default();
        chunks.iter().cloned().for_each(|chunk| accumulator.push(chunk));
        accumulator.finish()
    }

    fn delta(delta: Value) -> Value {
        json!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
    }

    #[test]
    fn text_is_strung_together_and_the_role_is_not() {
        let whole = accumulated(&[
            delta(json!({"role": "assistant", "content": ""})),
            delta(json!({"role": "assistant", "content": "Hel"})),
            delta(json!({"content": "lo"})),
            json!({"id": "c1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
            json!({"id": "c1", "choices": [], "usage": {"total_tokens": 3}}),
        ]);
        assert_eq!(whole["object"], "chat.completion");
        assert_eq!(whole["choices"][0]["message"], json!({"role": "assistant", "content": "Hello"}));
        assert_eq!(whole["choices"][0]["finish_reason"], "stop");
        assert_eq!(whole["usage"]["total_tokens"], 3);
    }

    #[test]
    fn a_stream_without_its_first_event_still_has_a_role() {
        let whole = accumulated(&[delta(json!({"content": "x"}))]);
        assert_eq!(whole["choices"][0]["message"], json!({"role": "assistant", "content": "x"}));
    }

    #[test]
    fn pieces_of_parallel_tool_calls_find_their_calls() {
        let whole = accumulated(&[
            delta(
                json!({"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
            ),
            delta(
                json!({"tool_calls": [{"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": ""}}]}),
            ),
            delta(
                json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"x\""}}, {"index": 1, "function": {"arguments": "{}"}}]}),
            ),
            delta(json!({"tool_calls": [{"index": 0, "id": "", "function": {"name": null, "arguments": ":1}"}}]})),
        ]);
        assert_eq!(
            whole["choices"][0]["message"]["tool_calls"],
            json!([
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}},
                {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
            ])
        );
    }

    #[test]
    fn calls_that_are_all_numbered_0_stay_apart() {
        let call = |id: &str| {
            delta(
                json!({"tool_calls": [{"index": 0, "id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}}]}),
            )
        };
        assert_eq!(
            accumulated(&[call("a"), call("b")])["choices"][0]["message"]["tool_calls"].as_array().unwrap().len(),
            2
        );
    }

    #[test]
    fn what_a_vendor_adds_is_kept() {
        let whole = accumulated(&[
            json!({"choices": [{"index": 0, "delta": {"content": "a", "annotations": [{"url": "u"}]}, "logprobs": {"content": [{"token": "a"}]}}], "citations": ["c"], "x": {"y": 1}}),
            json!({"choices": [{"index": 0, "delta": {"content": "b", "annotations": [{"url": "v"}]}, "logprobs": {"content": [{"token": "b"}]}}], "citations": ["c", "d"]}),
        ]);
        let choice = &whole["choices"][0];
        assert_eq!(choice["message"]["annotations"], json!([{"url": "u"}, {"url": "v"}]));
        assert_eq!(choice["logprobs"]["content"], json!([{"token": "a"}, {"token": "b"}]));
        assert_eq!(whole["citations"], json!(["c", "d"]));
        assert_eq!(whole["x"]["y"], 1);
    }

    #[test]
    fn choices_come_out_in_order() {
        let whole = accumulated(&[
            json!({"choices": [{"index": 1, "delta": {"content": "b"}, "finish_reason": "stop"}]}),
            json!({"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}),
        ]);
        let texts: Vec<_> =
            whole["choices"].as_array().unwrap().iter().map(|choice| choice["message"]["content"].clone()).collect();
        assert_eq!(texts, ["a", "b"]);
    }
}
