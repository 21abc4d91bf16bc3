//! How the pieces of a stream become one value: text is joined, lists grow, objects merge member by member, and of
//! everything else the last word counts.
//!
//! Which members are text is a list of names, because nothing else tells: a host that repeats `native_finish_reason` or a
//! speaker's `name` with every chunk means the same one again.

use serde_json::{Map, Value, json};

/// Members that a stream brings in pieces, wherever in a delta they stand.
///
/// Beside the chat completions' own: reasoning under its other names, its summaries, the input of custom tools, the plan
/// that comes before tools, and what blocks and parts of content are made of.
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

/// Whether a member is text that comes in pieces. `data` is so in `audio` alone: elsewhere it is one encrypted whole.
pub fn is_text(parent: &str, name: &str) -> bool {
    TEXT.contains(&name) || (parent == "audio" && name == "data")
}

/// Whether a value says nothing: null, or an empty text, list or object.
pub fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A member's text, if it has any.
pub fn text_at<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// An object's `index`, also where a host writes it as a string.
pub fn index_of(object: &Value) -> Option<u64> {
    let index = object.get("index")?;
    index.as_u64().or_else(|| index.as_str()?.parse().ok())
}

/// Joins what comes next to the member `name` of an object that is called `parent`.
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
        // Some hosts give the arguments of a call as the object that they are.
        Value::Object(_) if name == "arguments" => Value::String(value.to_string()),
        value => value,
    };
    match (&mut *known, value) {
        (Value::String(known), Value::String(piece)) if name == "arguments" => append_arguments(known, &piece),
        (Value::String(known), Value::String(piece)) => append(known, &piece),
        // Content in parts behind content that was a text, or the other way round.
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
        // What is no text takes no text's place.
        (Value::String(text), value) if !text.is_empty() && !value.is_array() => {}
        (known, value) => merge(known, name, value),
    }
}

/// Adds text. Memory grows by a quarter: a stream's text is all that most streams keep.
pub fn append(known: &mut String, piece: &str) {
    if known.capacity() - known.len() < piece.len() {
        known.reserve_exact(piece.len().max(known.len() / 4));
    }
    known.push_str(piece);
}

/// Adds a piece of a call's arguments. Some hosts begin with `{}`, or say the whole again in the end: behind arguments that
/// are complete, other complete ones are the last word.
pub fn append_arguments(known: &mut String, piece: &str) {
    if starts_object(piece) && is_whole_object(known) {
        known.clear();
    }
    append(known, piece);
}

/// Whether a piece of arguments may be the beginning of a call's.
pub fn starts_object(piece: &str) -> bool {
    piece.trim_start().starts_with('{')
}

/// Whether arguments are one complete JSON object. Longer ones than 16 kB are not looked at: it is asked again and again.
pub fn is_whole_object(text: &str) -> bool {
    text.len() <= 16 * 1024
        && starts_object(text)
        && text.trim_end().ends_with('}')
        && serde_json::from_str::<Map<String, Value>>(text).is_ok()
}

/// Joins what comes later to what is there.
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

/// How far back an item is looked for that a piece belongs to: no stream has so many open at once.
pub const RECENT: usize = 512;

/// An item with an `index` is a piece of the item at that place, unless its type, its id or the end of that one says that
/// it is another: some hosts number all reasoning details 0. Other items are whole.
/// <https://github.com/OpenRouterTeam/ai-sdk-provider/issues/519>
fn merge_item(known: &mut Vec<Value>, parent: &str, item: Value) {
    let place = index_of(&item).and_then(|index| {
        let recent = || known.iter().enumerate().rev().take(RECENT).filter(|(_, there)| index_of(there).is_some());
        let id = text_at(&item, "id");
        let same_id = id.and_then(|id| recent().find(|(_, there)| text_at(there, "id") == Some(id)));
        let at_index = || {
            recent().find(|(_, there)| index_of(there) == Some(index)).filter(|(_, there)| {
                let conflicts = id.is_some() && text_at(there, "id").is_some();
                !conflicts && !ends(there, &item)
            })
        };
        same_id.or_else(at_index).filter(|(_, there)| have_one_type(there, &item)).map(|(place, _)| place)
    });
    match (place.map(|place| &mut known[place]), item) {
        (Some(Value::Object(there)), Value::Object(item)) => {
            item.into_iter().for_each(|(name, value)| merge_member(there, parent, name, value));
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

/// Whether an item is finished, so that this one is the next: signed reasoning ends with its signature, and encrypted
/// reasoning comes whole.
fn ends(known: &Value, item: &Value) -> bool {
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
        // The same signature with every piece is one thought.
        assert_eq!(merged(&[signed("a", "S"), signed("b", "S")]), json!([signed("ab", "S")]));
        let (one, two) = (hidden("1", json!("r1")), hidden("2", json!("r2")));
        assert_eq!(merged(&[text("a"), one.clone(), text("b"), two.clone()]), json!([text("a"), one, text("b"), two]));
        // Without ids, and said again.
        let (one, two) = (hidden("1", Value::Null), hidden("2", Value::Null));
        assert_eq!(merged(&[one.clone(), one.clone(), two.clone()]), json!([one, two]));
        let named = |id: &str, text: &str| json!({"id": id, "index": 0, "text": text});
        assert_eq!(
            merged(&[named("a", "1"), named("b", "2"), named("a", "3")]),
            json!([named("a", "13"), named("b", "2")])
        );
    }
}
