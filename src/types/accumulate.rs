//! Accumulates the chunks of a stream into one chat completion, equal to the answer of the call without streaming.
//!
//! Nothing in a chunk is dropped: members whose names are unknown here are merged by the type of their values
//! (`merge`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::merge::{RECENT, index_of, is_blank, is_whole_object, merge_member, starts_object, text_at};

/// Accumulates the chunks of a stream into one chat completion.
#[derive(Debug, Default)]
pub struct Accumulator {
    completion: Map<String, Value>,
    /// The choices, by index.
    choices: BTreeMap<u64, Choice>,
}

/// A choice being accumulated.
#[derive(Debug)]
struct Choice {
    members: Map<String, Value>,
    /// The message as merged from the deltas.
    message: Map<String, Value>,
    /// Members of a `message` that came beside or after the deltas, used where the deltas have none.
    fallback: Map<String, Value>,
}

impl Accumulator {
    /// Adds one `chat.completion.chunk`. A value that is not an object is ignored.
    pub fn push(&mut self, chunk: Value) {
        let Value::Object(chunk) = chunk else { return };
        for (name, value) in chunk {
            match (name.as_str(), value) {
                ("choices", Value::Array(choices)) => choices.into_iter().for_each(|choice| self.push_choice(choice)),
                ("object", _) => drop(self.completion.insert(name, "chat.completion".into())),
                // The first id, model and creation time are kept; counts and vendors' own objects are replaced by later
                // ones.
                ("id" | "created" | "model", value) => match self.completion.get(&name) {
                    // A first chunk that describes the prompt alone may have neither id nor time.
                    Some(known) if !is_blank(known) && known.as_u64() != Some(0) => {}
                    _ => drop(self.completion.insert(name, value)),
                },
                ("provider_specific_fields", value) => merge_member(&mut self.completion, "", name, value),
                (_, value) if is_blank(&value) && self.completion.contains_key(&name) => {}
                (_, value) => drop(self.completion.insert(name, value)),
            }
        }
    }

    fn push_choice(&mut self, choice: Value) {
        let index = index_of(&choice).unwrap_or(0);
        let Value::Object(mut choice) = choice else { return };
        let known = self.choices.entry(index).or_insert_with(|| Choice::new(index));
        // The message is merged after the delta beside it, whose members take precedence.
        let message = choice.shift_remove("message");
        for (name, value) in choice {
            match (name.as_str(), value) {
                ("index", _) => {}
                // Some hosts send an empty string while there is no finish reason.
                ("finish_reason", Value::String(reason)) if reason.is_empty() => {}
                ("delta", Value::Object(delta)) => {
                    delta.into_iter().for_each(|(name, value)| merge_delta(&mut known.message, name, value));
                }
                // Each category of a content filter comes whole: a later verdict replaces an earlier one.
                ("content_filter_results", Value::Object(verdicts)) => {
                    if let Some(categories) = known.members.entry(name).or_insert_with(|| json!({})).as_object_mut() {
                        categories.extend(verdicts);
                    }
                }
                (_, value) => merge_member(&mut known.members, "", name, value),
            }
        }
        if let Some(Value::Object(message)) = message {
            known.push_message(message);
        }
    }

    /// Returns the completion accumulated so far. A choice that has not finished has a `finish_reason` of null.
    pub fn completion(&self) -> Value {
        let mut completion = self.completion.clone();
        let choices = self.choices.values().map(Choice::to_value).collect();
        completion.entry("object").or_insert_with(|| "chat.completion".into());
        completion.insert("choices".into(), Value::Array(choices));
        Value::Object(completion)
    }

    /// Returns the completion after the last chunk.
    pub fn finish(self) -> Value {
        self.completion()
    }

    /// Returns the content of the first choice accumulated so far.
    pub fn text(&self) -> Cow<'_, str> {
        self.choices.values().next().map_or_else(Cow::default, Choice::text)
    }
}

#[cfg(test)]
impl Accumulator {
    /// Returns the capacity of the buffer that holds the first choice's content.
    pub fn text_capacity(&self) -> usize {
        match self.choices.values().next().map(|choice| &choice.message["content"]) {
            Some(Value::String(text)) => text.capacity(),
            _ => 0,
        }
    }
}

impl Choice {
    fn new(index: u64) -> Self {
        let mut members = Map::new();
        members.insert("index".into(), index.into());
        members.insert("message".into(), Value::Null);
        members.insert("finish_reason".into(), Value::Null);
        let mut message = Map::new();
        message.insert("role".into(), "assistant".into());
        message.insert("content".into(), Value::Null);
        Self { members, message, fallback: Map::new() }
    }

    /// Merges a partial or complete message that came beside or in place of deltas; members that deltas have sent are
    /// kept.
    fn push_message(&mut self, message: Map<String, Value>) {
        for (name, value) in message {
            if is_blank(&value) {
                if !self.message.contains_key(&name) {
                    self.fallback.entry(name).or_insert(value);
                }
            } else if name == "role" || self.message.get(&name).is_none_or(is_blank) {
                self.fallback.insert(name, value);
            }
        }
    }

    fn text(&self) -> Cow<'_, str> {
        let contents = [&self.message, &self.fallback].into_iter().filter_map(|message| message.get("content"));
        match contents.into_iter().find(|content| !is_blank(content)) {
            Some(Value::String(text)) => text.into(),
            Some(Value::Array(parts)) => parts.iter().filter_map(|part| text_at(part, "text")).collect(),
            _ => Cow::default(),
        }
    }

    fn to_value(&self) -> Value {
        let mut message = self.message.clone();
        for (name, value) in &self.fallback {
            if message.get(name).is_none_or(is_blank) {
                message.insert(name.clone(), value.clone());
            }
        }
        if let Some(calls) = message.get_mut("tool_calls").and_then(Value::as_array_mut) {
            // The index refers to the stream and is not a member of a completed message.
            calls.iter_mut().filter_map(Value::as_object_mut).for_each(|call| drop(call.shift_remove("index")));
            // Some hosts send no arguments, or null, for a call without any.
            let functions = calls.iter_mut().filter_map(|call| call.get_mut("function")?.as_object_mut());
            for function in functions.filter(|_| self.members.get("finish_reason").is_some_and(Value::is_string)) {
                let arguments = function.entry("arguments").or_insert(Value::Null);
                if arguments.as_str().is_none_or(|text| matches!(text.trim(), "" | "null")) {
                    *arguments = "{}".into();
                }
            }
        }
        let mut members = self.members.clone();
        members.insert("message".into(), Value::Object(message));
        Value::Object(members)
    }
}

fn merge_delta(message: &mut Map<String, Value>, name: String, value: Value) {
    match (name.as_str(), value) {
        ("tool_calls", Value::Array(pieces)) => {
            let calls = message.entry(name).or_insert(Value::Null);
            if !calls.is_array() {
                *calls = json!([]);
            }
            let calls = calls.as_array_mut().expect("made above");
            pieces.into_iter().for_each(|piece| merge_call(calls, piece));
        }
        ("tool_calls", piece @ Value::Object(_)) => merge_delta(message, name, json!([piece])),
        (_, value) => merge_member(message, "", name, value),
    }
}

/// The members of a piece of a tool call that tell which call it belongs to.
struct Piece<'a> {
    index: Option<u64>,
    id: Option<&'a str>,
    name: Option<&'a str>,
    arguments: Option<&'a str>,
}

impl<'a> Piece<'a> {
    fn of(call: &'a Value) -> Self {
        let called = ["function", "custom"].into_iter().find_map(|kind| call.get(kind));
        let text = |name: &str| text_at(called?, name);
        let arguments = text("arguments").or_else(|| text("input"));
        Self { index: index_of(call), id: text_at(call, "id"), name: text("name"), arguments }
    }

    /// Returns true if this piece begins a new call rather than continues `known`, the call at its index, or the last
    /// one if it has no index.
    fn is_another(&self, known: &Self) -> bool {
        let same_name = self.name.is_none() || known.name.is_none() || self.name == known.name;
        let is_whole = || known.arguments.is_some_and(is_whole_object);
        match (self.name, self.id, known.id) {
            // A new call has a name: some hosts generate a new id for each piece.
            (None, ..) => false,
            // Some hosts number all calls 0, others repeat name and id with each piece of one call.
            (Some(_), Some(id), Some(known_id)) if id != known_id => {
                !same_name || is_whole() || known.arguments.is_none()
            }
            (Some(_), Some(_), Some(_)) => false,
            // Without ids, a new call follows only a call whose arguments are complete.
            (Some(_), ..) => is_whole() && (!same_name || self.arguments.is_some_and(starts_object)),
        }
    }
}

/// Merges a piece of a tool call into the call of its id, or the one at its index, or the last one if it has neither.
fn merge_call(calls: &mut Vec<Value>, piece: Value) {
    let part = Piece::of(&piece);
    let recent = || calls.iter().enumerate().rev().take(RECENT);
    let same_id = part.id.and_then(|id| recent().find(|(_, call)| text_at(call, "id") == Some(id)));
    let at_index = || match part.index {
        Some(index) => recent().find(|(_, call)| index_of(call) == Some(index)),
        None => calls.len().checked_sub(1).map(|last| (last, &calls[last])),
    };
    let found = same_id.or_else(|| {
        let found = at_index().filter(|(_, call)| !part.is_another(&Piece::of(call)));
        match part.name {
            // A piece without a name continues a call: the last one if none has its index.
            None => found.or_else(|| calls.len().checked_sub(1).map(|last| (last, &calls[last]))),
            Some(name) if part.index.is_none() => {
                found.filter(|(_, call)| part.id.is_none() && Piece::of(call).name == Some(name))
            }
            Some(_) => found,
        }
    });
    let index = found.map(|(index, _)| index);
    match (index.map(|index| &mut calls[index]), piece) {
        (Some(Value::Object(known)), Value::Object(piece)) => {
            for (name, value) in piece {
                match (name.as_str(), value) {
                    ("id" | "index", value) => {
                        if known.get(&name).is_none_or(is_blank) {
                            known.insert(name, value);
                        }
                    }
                    ("function" | "custom", Value::Object(piece)) => match known.get_mut(&name) {
                        Some(Value::Object(known)) => merge_function(known, piece),
                        _ => drop(known.insert(name, Value::Object(piece))),
                    },
                    (_, value) => merge_member(known, "", name, value),
                }
            }
        }
        (_, mut piece) => {
            // Merging a first piece into an empty function converts arguments that are an object to text.
            if let Some(function) = piece.get_mut("function").and_then(Value::as_object_mut) {
                let first = std::mem::take(function);
                merge_function(function, first);
            }
            calls.push(piece);
        }
    }
}

/// Merges a piece of a function. Its name may come in pieces before the arguments; a repeated name is not appended.
fn merge_function(known: &mut Map<String, Value>, piece: Map<String, Value>) {
    for (name, value) in piece {
        let begun = ["arguments", "input"].into_iter().any(|text| known.get(text).is_some_and(|text| !is_blank(text)));
        match (name.as_str(), known.get_mut(&name), value) {
            ("name", Some(Value::String(known)), Value::String(more)) if !begun && !more.starts_with(&*known) => {
                known.push_str(&more);
            }
            (_, _, value) => merge_member(known, "function", name, value),
        }
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
    fn a_finished_call_without_arguments_has_an_empty_object() {
        let call = |function: Value| json!({"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": function}]});
        let finish = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]});
        for function in [
            json!({"name": "f"}),
            json!({"name": "f", "arguments": ""}),
            json!({"name": "f", "arguments": null}),
            json!({"name": "f", "arguments": "null"}),
        ] {
            let begun = delta(call(function));
            let whole = accumulated(&[begun.clone(), finish.clone()]);
            assert_eq!(
                whole["choices"][0]["message"]["tool_calls"][0]["function"],
                json!({"name": "f", "arguments": "{}"})
            );
            assert_ne!(accumulated(&[begun])["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], "{}");
        }
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

    fn calls(pieces: &[Value]) -> Value {
        let chunks: Vec<Value> = pieces.iter().map(|piece| delta(json!({"tool_calls": [piece]}))).collect();
        accumulated(&chunks)["choices"][0]["message"]["tool_calls"].clone()
    }

    fn call(id: &str, name: &str, arguments: &str) -> Value {
        json!({"id": id, "function": {"name": name, "arguments": arguments}})
    }

    #[test]
    fn the_first_id_stands_and_the_name_comes_but_once() {
        // A new id with every piece, or the same id, and the name repeated.
        for (id, name) in [("b", ""), ("a", "f"), ("", "f"), ("b", "f")] {
            let first = json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{\"x\""}});
            let more = json!({"index": 0, "id": id, "function": {"name": name, "arguments": ":1}"}});
            assert_eq!(calls(&[first, more]), json!([call("a", "f", "{\"x\":1}")]), "{id} {name}");
        }
        // A name in pieces, before the arguments.
        let piece = |name: &str, arguments: &str| json!({"index": 0, "id": "a", "function": {"name": name, "arguments": arguments}});
        assert_eq!(
            calls(&[piece("get_", ""), piece("time", ""), piece("", "{}")]),
            json!([call("a", "get_time", "{}")])
        );
    }

    #[test]
    fn arguments_find_their_call() {
        let begun =
            |index: u32, id: &str| json!({"index": index, "id": id, "function": {"name": "f", "arguments": ""}});
        let more = |index: Option<u32>, id: &str| json!({"index": index, "id": id, "function": {"arguments": "{}"}});
        let one = json!([call("a", "f", "{}")]);
        assert_eq!(calls(&[begun(0, "a"), more(Some(1), "")]), one, "under another index");
        assert_eq!(calls(&[begun(0, "a"), more(None, "")]), one, "under none");
        assert_eq!(calls(&[begun(0, "a"), more(None, "x")]), one, "under another id");
        let both = [call("a", "f", "{}"), call("b", "f", "{}")];
        assert_eq!(
            calls(&[begun(0, "a"), begun(1, "b"), more(Some(5), "a"), more(Some(5), "b")]),
            json!(both),
            "by id"
        );
        assert_eq!(calls(&[begun(0, "a"), begun(0, "b"), more(Some(0), "a"), more(Some(0), "")]), json!(both), "all 0");
    }

    #[test]
    fn calls_without_ids_follow_each_other() {
        let whole = |name: &str| json!({"index": 0, "id": "", "function": {"name": name, "arguments": "{}"}});
        assert_eq!(calls(&[whole("f"), whole("f"), whole("g")]).as_array().unwrap().len(), 3);
        let custom =
            |text: &str| json!({"index": 0, "id": "a", "type": "custom", "custom": {"name": "f", "input": text}});
        assert_eq!(calls(&[custom("a{"), custom("b")])[0]["custom"], json!({"name": "f", "input": "a{b"}));
    }

    #[test]
    fn a_message_beside_the_deltas_says_nothing_twice() {
        let beside = |piece: &str, to_value: &str| {
            json!({"choices": [{"index": 0, "finish_reason": null,
            "delta": {"role": "", "content": piece}, "message": {"role": "assistant", "content": to_value, "images": []}}]})
        };
        let message = json!({"role": "assistant", "content": "Hello", "images": []});
        assert_eq!(accumulated(&[beside("Hel", "Hel"), beside("lo", "Hello")])["choices"][0]["message"], message);
        let call = json!({"id": "a", "index": 0, "function": {"name": "f", "arguments": "{}"}});
        let whole = json!({"object": "chat.completion", "usage": {"total_tokens": 3}, "choices": [{"index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": "Hello", "reasoning_content": "Hm", "tool_calls": [call]}}]});
        for deltas in
            [vec![], vec![delta(json!({"content": "Hel"})), delta(json!({"content": "lo", "tool_calls": [call]}))]]
        {
            let completion = accumulated(&[deltas, vec![whole.clone()]].concat());
            let mut message = whole["choices"][0]["message"].clone();
            message["tool_calls"][0].as_object_mut().unwrap().shift_remove("index");
            assert_eq!(completion["choices"][0]["message"], message);
            assert_eq!(completion["choices"][0]["finish_reason"], "stop");
            assert_eq!(completion["usage"], whole["usage"]);
        }
    }

    #[test]
    fn labels_are_not_strung_together() {
        let chunk = |reason: Value, usage: Value| {
            json!({"id": "", "created": 0, "usage": usage, "choices": [{"index": "0",
            "delta": {"role": "assistant", "name": "n", "content": "a"}, "native_finish_reason": reason, "finish_reason": ""}]})
        };
        let completion = accumulated(&[
            chunk(json!("x"), json!({"total_tokens": 1})),
            chunk(json!("x"), Value::Null),
            chunk(json!(null), json!({})),
            json!({"id": "c", "created": 5, "choices": []}),
        ]);
        let choice = json!({"index": 0, "message": {"role": "assistant", "content": "aaa", "name": "n"}, "finish_reason": null, "native_finish_reason": "x"});
        assert_eq!(completion["choices"], json!([choice]));
        assert_eq!((&completion["id"], &completion["created"]), (&json!("c"), &json!(5)));
        assert_eq!(completion["usage"], json!({"total_tokens": 1}));
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
