//! Rules that merge the pieces of a stream into one value: text is appended, lists grow, objects merge member by
//! member, and any other value is replaced by the latest one.
//!
//! Text members are recognised by a list of names, since nothing else distinguishes them: a host that repeats
//! `native_finish_reason` or a speaker's `name` with every chunk means the same value again.

use serde_json::{Map, Value, json};

/// Names of members whose text is streamed in pieces, at any depth of a delta.
///
/// Apart from the members of chat completions: reasoning under its other names, its summaries, the input of custom
/// tools, the plan that precedes tools, and the members of content blocks and parts.
const TEXT: [&str; 17] = [
    "content",
    "reasoning_content",
    "reasoning",
    "reasoning_text",
    "refusal",
    "arguments",
    "input",
    "partial_json",
    "text",
    "thinking",
    "thought",
    "summary",
    "summary_text",
    "transcript",
    "tool_plan",
    "code",
    "cited_text",
];

/// Returns true if a member is text that comes in pieces. `data` is such text in `audio` only: elsewhere it is one
/// encrypted value.
pub fn is_text(parent: &str, name: &str) -> bool {
    TEXT.contains(&name) || (parent == "audio" && name == "data")
}

/// Returns true if a value is empty: null, or an empty string, list or object.
pub fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Returns the text of a member, unless it is absent or empty.
pub fn text_at<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// Returns the `index` of an object, which some hosts write as a string.
pub fn index_of(object: &Value) -> Option<u64> {
    let index = object.get("index")?;
    index.as_u64().or_else(|| index.as_str()?.parse().ok())
}

/// Merges the next piece of the member `name` into an object that is itself the member `parent` of another.
pub fn merge_member(object: &mut Map<String, Value>, parent: &str, name: String, value: Value) {
    let text = is_text(parent, &name);
    match object.get_mut(&name) {
        Some(known) if text => merge_text(known, &name, value),
        Some(known) => merge(known, &name, value),
        None => {
            let mut known = Value::Null;
            if text {
                merge_text(&mut known, &name, value)
            } else {
                merge(&mut known, &name, value)
            };
            object.insert(name, known);
        }
    }
}

fn merge_text(known: &mut Value, name: &str, value: Value) {
    let value = match value {
        // Some hosts send the arguments of a call as an object instead of a string.
        Value::Object(_) if name == "arguments" => Value::String(value.to_string()),
        value => value,
    };
    match (&mut *known, value) {
        (Value::String(known), Value::String(piece)) if name == "arguments" => append_arguments(known, &piece),
        (Value::String(known), Value::String(piece)) => append(known, &piece),
        // Content may change from text to parts, or from parts to text.
        (Value::String(text), Value::Array(parts)) if !text.is_empty() && !parts.is_empty() => {
            *known = json!([{"type": "text", "text": text}]);
            merge(known, name, Value::Array(parts));
        }
        (Value::Array(parts), Value::String(piece)) if !parts.is_empty() => {
            let last = parts.last_mut().filter(|part| text_at(part, "type") == Some("text"));
            match last.and_then(|part| part.get_mut("text")) {
                Some(Value::String(text)) => append(text, &piece),
                _ if piece.is_empty() => {}
                _ => parts.push(json!({"type": "text", "text": piece})),
            }
        }
        // A value of another type does not replace text.
        (Value::String(text), value) if !text.is_empty() && !value.is_array() => {}
        (known, value) => merge(known, name, value),
    }
}

/// Appends text. Capacity grows by a quarter, since the text is most of the memory that a stream keeps.
pub fn append(known: &mut String, piece: &str) {
    if known.capacity() - known.len() < piece.len() {
        known.reserve_exact(piece.len().max(known.len() / 4));
    }
    known.push_str(piece);
}

/// Appends a piece of a call's arguments. Some hosts begin with `{}`, or repeat the whole arguments at the end: a
/// complete object after complete arguments replaces them.
pub fn append_arguments(known: &mut String, piece: &str) {
    if starts_object(piece) && is_whole_object(known) {
        known.clear();
    }
    append(known, piece);
}

/// Returns true if a piece of arguments may be the beginning of an object.
pub fn starts_object(piece: &str) -> bool {
    piece.trim_start().starts_with('{')
}

/// Returns true if arguments are one complete JSON object. Texts longer than 16 kB are not checked, since the check is
/// repeated for every piece.
pub fn is_whole_object(text: &str) -> bool {
    text.len() <= 16 * 1024
        && starts_object(text)
        && text.trim_end().ends_with('}')
        && serde_json::from_str::<Map<String, Value>>(text).is_ok()
}

/// Merges a later value into an earlier one.
fn merge(known: &mut Value, name: &str, value: Value) {
    match (known, value) {
        (Value::Array(known), Value::Array(items)) => items.into_iter().for_each(|item| merge_item(known, name, item)),
        (Value::Object(known), Value::Object(members)) => {
            members.into_iter().for_each(|(member, value)| merge_member(known, name, member, value));
        }
        (known @ Value::Null, Value::Array(items)) => {
            let mut list = Vec::with_capacity(items.len());
            items.into_iter().for_each(|item| merge_item(&mut list, name, item));
            *known = Value::Array(list);
        }
        (known, value) if !is_blank(&value) || (known.is_null() && !value.is_null()) => *known = value,
        _ => {}
    }
}

/// Number of most recent items that are searched for the one that a piece belongs to: no stream has as many open at
/// once.
pub const RECENT: usize = 512;

/// Merges an item into a list. An item with an `index` is a piece of the item with that index, unless its type or id
/// differs or the known item is finished: some hosts number all reasoning details 0. Other items are complete.
/// <https://github.com/OpenRouterTeam/ai-sdk-provider/issues/519>
fn merge_item(known: &mut Vec<Value>, parent: &str, item: Value) {
    let position = index_of(&item).and_then(|index| {
        let recent =
            || known.iter().enumerate().rev().take(RECENT).filter(|(_, existing)| index_of(existing).is_some());
        let id = text_at(&item, "id");
        let same_id = id.and_then(|id| recent().find(|(_, existing)| text_at(existing, "id") == Some(id)));
        let at_index = || {
            recent().find(|(_, existing)| index_of(existing) == Some(index)).filter(|(_, existing)| {
                let conflicts = id.is_some() && text_at(existing, "id").is_some();
                !conflicts && !is_finished(existing, &item)
            })
        };
        same_id.or_else(at_index).filter(|(_, existing)| have_one_type(existing, &item)).map(|(position, _)| position)
    });
    match (position.map(|position| &mut known[position]), item) {
        (Some(Value::Object(existing)), Value::Object(item)) => {
            item.into_iter().for_each(|(name, value)| merge_member(existing, parent, name, value));
        }
        (_, item) => known.push(item),
    }
}

fn have_one_type(known: &Value, item: &Value) -> bool {
    match (text_at(known, "type"), text_at(item, "type")) {
        (Some(known), Some(item)) => known == item,
        _ => true,
    }
}

/// Returns true if `known` is finished, so that `item` is the next one: signed reasoning ends with its signature, and
/// encrypted reasoning comes whole.
fn is_finished(known: &Value, item: &Value) -> bool {
    let differs = |name: &str| match (text_at(known, name), text_at(item, name)) {
        (Some(known), Some(item)) => known != item,
        _ => false,
    };
    let is_more = || {
        let mut members = item.as_object().into_iter().flatten();
        members.any(|(name, value)| is_text("", name) && !is_blank(value))
    };
    differs("data")
        || differs("signature")
        || (text_at(known, "signature").is_some() && text_at(item, "signature").is_none() && is_more())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(pieces: &[Value]) -> Value {
        let mut whole = Map::new();
        for piece in pieces {
            let members = piece.as_object().unwrap().clone();
            members.into_iter().for_each(|(name, value)| merge_member(&mut whole, "", name, value));
        }
        Value::Object(whole)
    }

    #[test]
    fn text_is_joined_and_of_all_else_the_last_word_counts() {
        let pieces = [
            json!({"content": "a", "name": "Me", "n": 1, "audio": {"id": "x", "data": "QQ", "transcript": "t"}}),
            json!({"content": null, "name": "Me", "n": null, "audio": {"id": "x", "data": "RR", "transcript": "u"}}),
            json!({"content": "b", "name": "", "n": 2, "data": "c", "audio": {"expires_at": 1}}),
            json!({"data": "d", "x": {"y": "1", "z": [1]}}),
            json!({"x": {"y": "2", "z": [2]}}),
        ];
        let audio = json!({"id": "x", "data": "QQRR", "transcript": "tu", "expires_at": 1});
        let x = json!({"y": "2", "z": [1, 2]});
        let whole = json!({"content": "ab", "name": "Me", "n": 2, "audio": audio, "data": "d", "x": x});
        assert_eq!(merged(&pieces), whole);
    }

    #[test]
    fn text_is_not_lost_to_what_is_none() {
        let part = json!({"type": "text", "text": "b"});
        assert_eq!(merged(&[json!({"content": "a"}), json!({"content": 5})])["content"], "a");
        let parts = merged(&[json!({"content": "a"}), json!({"content": [part]}), json!({"content": "c"})]);
        let texts: Vec<_> = parts["content"].as_array().unwrap().iter().map(|part| &part["text"]).collect();
        assert_eq!(texts, ["a", "bc"]);
    }

    #[test]
    fn arguments_that_are_complete_come_but_once() {
        let arguments = |pieces: &[Value]| {
            let pieces: Vec<Value> = pieces.iter().map(|piece| json!({"arguments": piece})).collect();
            merged(&pieces)["arguments"].clone()
        };
        assert_eq!(arguments(&[json!("{}"), json!("{\"a\""), json!(":1}")]), "{\"a\":1}");
        assert_eq!(arguments(&[json!("{\"a\":"), json!("1}"), json!("{\"a\":1}")]), "{\"a\":1}");
        assert_eq!(arguments(&[json!("{\"a\":{"), json!("}"), json!("}")]), "{\"a\":{}}");
        assert_eq!(arguments(&[json!("{\"a\":["), json!("{}"), json!("]}")]), "{\"a\":[{}]}");
        assert_eq!(arguments(&[json!(""), json!({"a": 1})]), "{\"a\":1}");
    }

    #[test]
    fn items_that_are_all_numbered_0_are_told_apart() {
        let merged = |items: &[Value]| {
            let pieces: Vec<Value> = items.iter().map(|item| json!({"reasoning_details": [item]})).collect();
            merged(&pieces)["reasoning_details"].clone()
        };
        let text = |text: &str| json!({"type": "reasoning.text", "text": text, "index": 0});
        let signature = |signature: &str| json!({"type": "reasoning.text", "signature": signature, "index": 0});
        let hidden = |data: &str, id: Value| json!({"type": "reasoning.encrypted", "data": data, "id": id, "index": 0});
        let signed = |text: &str, signature: &str| json!({"type": "reasoning.text", "text": text, "index": 0, "signature": signature});
        assert_eq!(
            merged(&[text("a"), text("b"), signature("SA"), text("c"), signature("SB")]),
            json!([signed("ab", "SA"), signed("c", "SB")])
        );
        // Pieces with the same signature are one thought.
        assert_eq!(merged(&[signed("a", "S"), signed("b", "S")]), json!([signed("ab", "S")]));
        let (one, two) = (hidden("1", json!("r1")), hidden("2", json!("r2")));
        assert_eq!(merged(&[text("a"), one.clone(), text("b"), two.clone()]), json!([text("a"), one, text("b"), two]));
        // Without ids, and repeated.
        let (one, two) = (hidden("1", Value::Null), hidden("2", Value::Null));
        assert_eq!(merged(&[one.clone(), one.clone(), two.clone()]), json!([one, two]));
        let named = |id: &str, text: &str| json!({"id": id, "index": 0, "text": text});
        assert_eq!(
            merged(&[named("a", "1"), named("b", "2"), named("a", "3")]),
            json!([named("a", "13"), named("b", "2")])
        );
    }
}
