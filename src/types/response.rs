//! Accumulates the events of a stream of the Responses API into the response.
//!
//! Events: <https://platform.openai.com/docs/api-reference/responses-streaming>

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::members::{Members, Text, read};
use super::merge::{RECENT, append, is_blank, text_at};

/// Accumulates the events of a stream into one response.
#[derive(Debug, Default)]
pub struct Accumulator {
    /// The response of the latest event that had one, without its output.
    response: Map<String, Value>,
    items: Vec<Item>,
    /// The complete response of the last event.
    finished: Option<Bytes>,
}

/// An item of the response's output.
#[derive(Debug)]
struct Item {
    /// The item's `output_index`.
    index: Option<u64>,
    value: Value,
    /// True if the event that ends the item was received.
    done: bool,
}

/// The members of events that are used; the response in an event is not parsed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Event<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(borrow)]
    item_id: Option<&'a RawValue>,
    output_index: Value,
    content_index: Value,
    summary_index: Value,
    command_index: Value,
    item: Value,
    part: Value,
    annotation: Value,
    delta: Value,
    logprobs: Value,
    partial_image_b64: Value,
    // Final values, sent by the event that ends a text.
    text: Value,
    refusal: Value,
    arguments: Value,
    input: Value,
    code: Value,
    command: Value,
    transcript: Value,
}

/// Texts in the parts of an item: kind of event, type of item, name of the list of parts, type of part, and name of the
/// text.
const PARTS: [(&str, &str, &str, &str, &str); 6] = [
    ("output_text", "message", "content", "output_text", "text"),
    ("refusal", "message", "content", "refusal", "refusal"),
    ("audio", "message", "content", "output_audio", "data"),
    ("audio.transcript", "message", "content", "output_audio", "transcript"),
    ("reasoning_text", "reasoning", "content", "reasoning_text", "text"),
    ("reasoning_summary_text", "reasoning", "summary", "summary_text", "text"),
];

/// Change of a value that grows.
enum Change {
    /// Appends the next piece.
    Append(Value),
    /// Replaces the value by its final version.
    Replace(Value),
}

impl Accumulator {
    /// Adds one event, as JSON. Anything else is ignored.
    pub fn push(&mut self, event: &[u8]) {
        let Ok(mut event) = read::<Event>(event) else { return };
        let kind = event.kind.take().unwrap_or_default().0;
        let kind = kind.strip_prefix("response.").unwrap_or(&kind);
        if let Some(response) = event.response.take() {
            return self.push_response(response.get(), matches!(kind, "completed" | "incomplete" | "failed"));
        }
        let item_id = event.item_id.and_then(|id| serde_json::from_str::<String>(id.get()).ok()).unwrap_or_default();
        let (subject, what) = kind.rsplit_once('.').unwrap_or((kind, ""));
        match (subject, what) {
            ("output_item", "added") => self.add_item(event.item, &event.output_index),
            ("output_item", "done") => self.finish_item(event.item, &event.output_index),
            ("content_part" | "reasoning_summary_part", "added" | "done") => {
                let (list, index) = match subject {
                    "content_part" => ("content", &event.content_index),
                    _ => ("summary", &event.summary_index),
                };
                let kind = if list == "summary" { "reasoning" } else { "message" };
                let parts = list_of(self.find_or_create_item(&item_id, &event.output_index, kind), list);
                let known = part_index(index).filter(|index| *index < parts.len());
                match known {
                    Some(index) if have_one_type(&parts[index], &event.part) => overlay(&mut parts[index], event.part),
                    _ => parts.push(event.part),
                }
            }
            ("output_text.annotation", "added") if !is_blank(&event.annotation) => {
                let item = self.find_or_create_item(&item_id, &event.output_index, "message");
                let part = part_at(item, "content", &event.content_index, "output_text");
                list_of(part, "annotations").push(event.annotation);
            }
            ("image_generation_call", "partial_image") => {
                let item = self.find_or_create_item(&item_id, &event.output_index, subject);
                item["result"] = event.partial_image_b64;
            }
            (_, "delta") => {
                let logprobs = std::mem::take(&mut event.logprobs);
                let change = Change::Append(std::mem::take(&mut event.delta));
                self.change(subject, &item_id, &event, change);
                if let (Value::Array(logprobs), false) = (&logprobs, is_blank(&logprobs)) {
                    let item = self.find_or_create_item(&item_id, &event.output_index, "message");
                    let part = part_at(item, "content", &event.content_index, "output_text");
                    list_of(part, "logprobs").extend(logprobs.iter().cloned());
                }
            }
            (_, "added" | "done") => {
                let texts = [
                    &mut event.text,
                    &mut event.refusal,
                    &mut event.arguments,
                    &mut event.input,
                    &mut event.code,
                    &mut event.command,
                    &mut event.transcript,
                ];
                let whole = texts.into_iter().find(|text| !is_blank(text)).map(std::mem::take);
                if let Some(whole) = whole {
                    self.change(subject, &item_id, &event, Change::Replace(whole));
                }
            }
            // Progress of a tool: `response.web_search_call.searching`.
            (kind, status) => {
                if let Some(item) = self.find_item(&item_id, &event.output_index)
                    && text_at(&item.value, "type") == Some(kind)
                    && !item.done
                {
                    item.value["status"] = status.into();
                }
            }
        }
    }

    /// Merges the response of an event. The last one is complete and replaces everything accumulated, unless it has no
    /// output.
    fn push_response(&mut self, json: &str, is_last: bool) {
        let Ok(response) = Members::of(json.as_bytes()) else { return };
        let is_content = |byte: u8| !matches!(byte, b'[' | b']') && !byte.is_ascii_whitespace();
        let has_output = response.some("output").is_some_and(|output| output.bytes().any(is_content));
        if is_last && (has_output || (self.items.is_empty() && self.response.is_empty())) {
            self.finished = Some(Bytes::copy_from_slice(json.as_bytes()));
            (self.response, self.items) = (Map::new(), Vec::new());
            return;
        }
        for (name, value) in response.0 {
            let value: Value = serde_json::from_str(value.get()).unwrap_or_default();
            match (&*name, value) {
                ("output", Value::Array(items)) if self.items.is_empty() => {
                    let items = items.into_iter().zip(0..);
                    self.items.extend(items.map(|(value, index)| Item { index: Some(index), value, done: false }));
                    self.response.entry("output").or_insert_with(|| json!([]));
                }
                ("output", _) => drop(self.response.entry("output").or_insert_with(|| json!([]))),
                (_, value) if is_blank(&value) && self.response.contains_key(&*name) => {}
                (_, value) => drop(self.response.insert(name.into_owned(), value)),
            }
        }
    }

    /// Returns the item with this id, or else the last one at this index, or else the last one.
    fn find_item(&mut self, id: &str, index: &Value) -> Option<&mut Item> {
        let position = self.position(id, index)?;
        Some(&mut self.items[position])
    }

    fn position(&self, id: &str, index: &Value) -> Option<usize> {
        let recent = || self.items.iter().enumerate().rev().take(RECENT);
        let same_id = recent().find(|(_, item)| !id.is_empty() && text_at(&item.value, "id") == Some(id));
        let found = same_id.or_else(|| match index.as_u64() {
            Some(index) => recent().find(|(_, item)| item.index == Some(index)),
            None => recent().next(),
        });
        found.map(|(position, _)| position)
    }

    /// Returns the item with this id or index as [`find_item`](Self::find_item) does, and creates one of type `kind` if
    /// there is none.
    fn find_or_create_item(&mut self, id: &str, index: &Value, kind: &str) -> &mut Value {
        let position = self.position(id, index).unwrap_or_else(|| {
            let mut value = json!({"type": kind});
            if !id.is_empty() {
                value["id"] = id.into();
            }
            if kind == "message" {
                value["role"] = "assistant".into();
            }
            self.items.push(Item { index: index.as_u64(), value, done: false });
            self.items.len() - 1
        });
        let value = &mut self.items[position].value;
        if !value.is_object() {
            *value = json!({"type": kind});
        }
        value
    }

    /// Adds an item. Some hosts number all items 0, so one of another id or type is a new item.
    fn add_item(&mut self, item: Value, index: &Value) {
        if !item.is_object() {
            return;
        }
        let position = self.position(text_at(&item, "id").unwrap_or_default(), index).filter(|position| {
            let known = &self.items[*position];
            let has_id = text_at(&item, "id").is_some();
            let same_id = text_at(&known.value, "id") == text_at(&item, "id");
            index.as_u64().is_some() && !known.done && have_one_type(&known.value, &item) && (!has_id || same_id)
        });
        match position {
            Some(position) => overlay(&mut self.items[position].value, item),
            None => self.items.push(Item { index: index.as_u64(), value: item, done: false }),
        }
    }

    fn finish_item(&mut self, item: Value, index: &Value) {
        if !item.is_object() {
            return;
        }
        let id = text_at(&item, "id").unwrap_or_default();
        let position = self.position(id, index).filter(|position| {
            let known = &self.items[*position];
            have_one_type(&known.value, &item) && (!known.done || text_at(&known.value, "id") == Some(id))
        });
        match position {
            Some(position) => {
                overlay(&mut self.items[position].value, item);
                self.items[position].done = true;
            }
            None => self.items.push(Item { index: index.as_u64(), value: item, done: true }),
        }
    }

    fn change(&mut self, subject: &str, item_id: &str, event: &Event, change: Change) {
        if let Some((_, item, list, part, name)) = PARTS.into_iter().find(|(kind, ..)| *kind == subject) {
            let index = if list == "summary" { &event.summary_index } else { &event.content_index };
            let part = part_at(self.find_or_create_item(item_id, &event.output_index, item), list, index, part);
            return change.apply(&mut part[name]);
        }
        // `mcp_call_arguments`, and `mcp_call.arguments` in the first version of the API.
        let known = self.find_item(item_id, &event.output_index).and_then(|item| text_at(&item.value, "type"));
        let of_known = known.and_then(|kind| subject.strip_prefix(kind)).map(|rest| (subject.len() - rest.len(), rest));
        let of_known =
            of_known.filter(|(_, rest)| rest.len() > 1).map(|(end, rest)| (subject[..end].to_owned(), &rest[1..]));
        let (kind, name) = match of_known {
            Some((kind, name)) => (Cow::Owned(kind), name),
            None => match subject.rsplit_once(['_', '.']) {
                Some((kind, name)) => (Cow::Borrowed(kind), name),
                None => return,
            },
        };
        let item = self.find_or_create_item(item_id, &event.output_index, &kind);
        match name {
            "command" => {
                let commands = list_of(&mut item["action"], "commands");
                change.apply(entry_at(commands, &event.command_index, || "".into()));
            }
            "output_content" => {
                let Change::Append(Value::Object(delta)) = change else { return };
                let output = entry_at(list_of(item, "output"), &event.command_index, || json!({}));
                for (name, value) in delta {
                    Change::Append(value).apply(&mut object(output)[name.as_str()]);
                }
            }
            "operation_diff" => change.apply(&mut object(&mut item["operation"])["diff"]),
            _ => change.apply(&mut item[name]),
        }
    }

    /// Returns the response accumulated so far, as JSON; the server's own bytes once the stream has finished.
    pub fn completion(&self) -> Bytes {
        if let Some(finished) = &self.finished {
            return finished.clone();
        }
        let mut response = self.response.clone();
        if !self.items.is_empty() {
            let mut items: Vec<&Item> = self.items.iter().collect();
            items.sort_by_key(|item| item.index.unwrap_or(u64::MAX));
            response.insert("output".into(), items.into_iter().map(|item| item.value.clone()).collect());
        }
        Value::Object(response).to_string().into()
    }

    /// Returns the text of the messages accumulated so far.
    pub fn text(&self) -> String {
        let finished = self.finished.as_deref().and_then(|json| Members::of(json).ok());
        let finished: Vec<Value> =
            finished.and_then(|response| serde_json::from_str(response.get("output")?).ok()).unwrap_or_default();
        let mut items: Vec<&Item> = self.items.iter().collect();
        items.sort_by_key(|item| item.index.unwrap_or(u64::MAX));
        let items = items.into_iter().map(|item| &item.value).chain(&finished);
        let parts = items.filter_map(|item| item.get("content")?.as_array()).flatten();
        parts
            .filter(|part| text_at(part, "type") == Some("output_text"))
            .filter_map(|part| text_at(part, "text"))
            .collect()
    }
}

impl Change {
    fn apply(self, known: &mut Value) {
        match (known, self) {
            (Value::String(known), Self::Append(Value::String(more))) => append(known, &more),
            (Value::String(known), Self::Append(_)) if !known.is_empty() => {}
            (known, Self::Append(value) | Self::Replace(value)) if !is_blank(&value) || known.is_null() => {
                *known = value
            }
            _ => {}
        }
    }
}

/// Replaces a value by a later version of it, except for members that the later one leaves empty: text that was
/// received is kept.
fn overlay(known: &mut Value, value: Value) {
    match (known, value) {
        (Value::Object(known), Value::Object(value)) => {
            for (name, value) in value {
                if !is_blank(&value) || known.get(&name).is_none_or(is_blank) {
                    known.insert(name, value);
                }
            }
        }
        (known, value) => *known = value,
    }
}

/// Maximum number of parts of an item: a larger index is an error of the server, and must not exhaust memory.
const MAX_PARTS: usize = 4096;

fn part_index(index: &Value) -> Option<usize> {
    index.as_u64().and_then(|index| usize::try_from(index).ok()).filter(|index| *index < MAX_PARTS)
}

fn object(value: &mut Value) -> &mut Value {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value
}

/// Returns the list `name` of an object, creating both if they do not exist.
fn list_of<'a>(value: &'a mut Value, name: &str) -> &'a mut Vec<Value> {
    let list = &mut object(value)[name];
    if !list.is_array() {
        *list = Value::Array(Vec::new());
    }
    list.as_array_mut().expect("made above")
}

/// Returns the entry at an index of a list, or appends a new one.
fn entry_at<'a>(list: &'a mut Vec<Value>, index: &Value, new: fn() -> Value) -> &'a mut Value {
    let position = part_index(index).filter(|position| *position < list.len()).unwrap_or_else(|| {
        list.push(new());
        list.len() - 1
    });
    &mut list[position]
}

/// Returns the part at an index if its type is `kind`, or else the last part of that type, or else a new one.
fn part_at<'a>(item: &'a mut Value, list: &str, index: &Value, kind: &str) -> &'a mut Value {
    let parts = list_of(item, list);
    let fits = |part: &Value| text_at(part, "type").is_none_or(|known| known == kind);
    let at_index = part_index(index).filter(|position| parts.get(*position).is_some_and(fits));
    let is_beyond = part_index(index).is_some_and(|position| position >= parts.len());
    let last = || parts.iter().rposition(fits).filter(|_| !is_beyond);
    let position = at_index.or_else(last).unwrap_or_else(|| {
        parts.push(json!({"type": kind}));
        parts.len() - 1
    });
    object(&mut parts[position])
}

fn have_one_type(known: &Value, value: &Value) -> bool {
    match (text_at(known, "type"), text_at(value, "type")) {
        (Some(known), Some(value)) => known == value,
        _ => true,
    }
}

#[cfg(test)]
mod tests;
