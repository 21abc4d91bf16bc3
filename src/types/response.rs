//! A response's events → the response: what a stream of the Responses API has said so far.
//!
//! Events: <https://platform.openai.com/docs/api-reference/responses-streaming>

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::members::{Members, Text, read};
use super::merge::{RECENT, append, is_blank, text_at};

/// Puts a stream's events together into one response.
#[derive(Debug, Default)]
pub struct Accumulator {
    /// As it was last shown, without its output.
    response: Map<String, Value>,
    items: Vec<Item>,
    /// The whole response as its last event has it.
    finished: Option<Bytes>,
}

/// A member of the response's output.
#[derive(Debug)]
struct Item {
    /// Its `output_index`.
    index: Option<u64>,
    value: Value,
    /// It came whole.
    done: bool,
}

/// An event, as far as any of them is looked at; the response in it is left as it is.
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
    // What an event that ends a text says of it.
    text: Value,
    refusal: Value,
    arguments: Value,
    input: Value,
    code: Value,
    command: Value,
    transcript: Value,
}

/// Texts that stand in the parts of an item: the event's kind, the item's type, its list of parts, the part's type, and
/// the text's name.
const PARTS: [(&str, &str, &str, &str, &str); 6] = [
    ("output_text", "message", "content", "output_text", "text"),
    ("refusal", "message", "content", "refusal", "refusal"),
    ("audio", "message", "content", "output_audio", "data"),
    ("audio.transcript", "message", "content", "output_audio", "transcript"),
    ("reasoning_text", "reasoning", "content", "reasoning_text", "text"),
    ("reasoning_summary_text", "reasoning", "summary", "summary_text", "text"),
];

/// How an event of something that grows changes it.
enum Change {
    More(Value),
    Whole(Value),
}

impl Accumulator {
    /// Adds one event, as JSON. What is none is passed over.
    pub fn push(&mut self, event: &[u8]) {
        let Ok(mut event) = read::<Event>(event) else { return };
        let kind = event.kind.take().unwrap_or_default().0;
        let kind = kind.strip_prefix("response.").unwrap_or(&kind);
        if let Some(response) = event.response.take() {
            return self.push_response(response.get(), matches!(kind, "completed" | "incomplete" | "failed"));
        }
        let item_id = event.item_id.and_then(|id| serde_json::from_str::<String>(id.get()).ok()).unwrap_or_default();
        let (about, what) = kind.rsplit_once('.').unwrap_or((kind, ""));
        match (about, what) {
            ("output_item", "added") => self.add_item(event.item, &event.output_index),
            ("output_item", "done") => self.finish_item(event.item, &event.output_index),
            ("content_part" | "reasoning_summary_part", "added" | "done") => {
                let (list, index) = match about {
                    "content_part" => ("content", &event.content_index),
                    _ => ("summary", &event.summary_index),
                };
                let kind = if list == "summary" { "reasoning" } else { "message" };
                let parts = list_of(self.item(&item_id, &event.output_index, kind), list);
                let known = place_of(index).filter(|index| *index < parts.len());
                match known {
                    Some(place) if have_one_type(&parts[place], &event.part) => overlay(&mut parts[place], event.part),
                    _ => parts.push(event.part),
                }
            }
            ("output_text.annotation", "added") if !is_blank(&event.annotation) => {
                let item = self.item(&item_id, &event.output_index, "message");
                let part = part_of(item, "content", &event.content_index, "output_text");
                list_of(part, "annotations").push(event.annotation);
            }
            ("image_generation_call", "partial_image") => {
                let item = self.item(&item_id, &event.output_index, about);
                item["result"] = event.partial_image_b64;
            }
            (_, "delta") => {
                let logprobs = std::mem::take(&mut event.logprobs);
                let change = Change::More(std::mem::take(&mut event.delta));
                self.change(about, &item_id, &event, change);
                if let (Value::Array(logprobs), false) = (&logprobs, is_blank(&logprobs)) {
                    let item = self.item(&item_id, &event.output_index, "message");
                    let part = part_of(item, "content", &event.content_index, "output_text");
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
                    self.change(about, &item_id, &event, Change::Whole(whole));
                }
            }
            // What a tool is at: `response.web_search_call.searching`.
            (kind, status) => {
                if let Some(item) = self.known(&item_id, &event.output_index)
                    && text_at(&item.value, "type") == Some(kind)
                    && !item.done
                {
                    item.value["status"] = status.into();
                }
            }
        }
    }

    /// The response as an event shows it. The last one is whole, and all that there is to keep, unless it has no output.
    fn push_response(&mut self, json: &str, is_last: bool) {
        let Ok(response) = Members::of(json.as_bytes()) else { return };
        let is_said = |byte: u8| !matches!(byte, b'[' | b']') && !byte.is_ascii_whitespace();
        let has_output = response.some("output").is_some_and(|output| output.bytes().any(is_said));
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

    /// The item of an id, or else the last at an index, or else the last.
    fn known(&mut self, id: &str, index: &Value) -> Option<&mut Item> {
        let place = self.place(id, index)?;
        Some(&mut self.items[place])
    }

    fn place(&self, id: &str, index: &Value) -> Option<usize> {
        let recent = || self.items.iter().enumerate().rev().take(RECENT);
        let same_id = recent().find(|(_, item)| !id.is_empty() && text_at(&item.value, "id") == Some(id));
        let found = same_id.or_else(|| match index.as_u64() {
            Some(index) => recent().find(|(_, item)| item.index == Some(index)),
            None => recent().next(),
        });
        found.map(|(place, _)| place)
    }

    /// The same; it is made where it is not there, of a type that such an event is about.
    fn item(&mut self, id: &str, index: &Value, kind: &str) -> &mut Value {
        let place = self.place(id, index).unwrap_or_else(|| {
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
        let value = &mut self.items[place].value;
        if !value.is_object() {
            *value = json!({"type": kind});
        }
        value
    }

    /// Some hosts number all items 0: one of another id or type is another one.
    fn add_item(&mut self, item: Value, index: &Value) {
        if !item.is_object() {
            return;
        }
        let place = self.place(text_at(&item, "id").unwrap_or_default(), index).filter(|place| {
            let known = &self.items[*place];
            let has_id = text_at(&item, "id").is_some();
            let same_id = text_at(&known.value, "id") == text_at(&item, "id");
            index.as_u64().is_some() && !known.done && have_one_type(&known.value, &item) && (!has_id || same_id)
        });
        match place {
            Some(place) => overlay(&mut self.items[place].value, item),
            None => self.items.push(Item { index: index.as_u64(), value: item, done: false }),
        }
    }

    fn finish_item(&mut self, item: Value, index: &Value) {
        if !item.is_object() {
            return;
        }
        let id = text_at(&item, "id").unwrap_or_default();
        let place = self.place(id, index).filter(|place| {
            let known = &self.items[*place];
            have_one_type(&known.value, &item) && (!known.done || text_at(&known.value, "id") == Some(id))
        });
        match place {
            Some(place) => {
                overlay(&mut self.items[place].value, item);
                self.items[place].done = true;
            }
            None => self.items.push(Item { index: index.as_u64(), value: item, done: true }),
        }
    }

    fn change(&mut self, about: &str, item_id: &str, event: &Event, change: Change) {
        if let Some((_, item, list, part, name)) = PARTS.into_iter().find(|(kind, ..)| *kind == about) {
            let index = if list == "summary" { &event.summary_index } else { &event.content_index };
            let part = part_of(self.item(item_id, &event.output_index, item), list, index, part);
            return change.make(&mut part[name]);
        }
        // `mcp_call_arguments` and, as it was at first, `mcp_call.arguments`.
        let known = self.known(item_id, &event.output_index).and_then(|item| text_at(&item.value, "type"));
        let of_known = known.and_then(|kind| about.strip_prefix(kind)).map(|rest| (about.len() - rest.len(), rest));
        let of_known =
            of_known.filter(|(_, rest)| rest.len() > 1).map(|(end, rest)| (about[..end].to_owned(), &rest[1..]));
        let (kind, name) = match of_known {
            Some((kind, name)) => (Cow::Owned(kind), name),
            None => match about.rsplit_once(['_', '.']) {
                Some((kind, name)) => (Cow::Borrowed(kind), name),
                None => return,
            },
        };
        let item = self.item(item_id, &event.output_index, &kind);
        match name {
            "command" => {
                let commands = list_of(&mut item["action"], "commands");
                change.make(place_in(commands, &event.command_index, || "".into()));
            }
            "output_content" => {
                let Change::More(Value::Object(delta)) = change else { return };
                let output = place_in(list_of(item, "output"), &event.command_index, || json!({}));
                for (name, value) in delta {
                    Change::More(value).make(&mut object(output)[name.as_str()]);
                }
            }
            "operation_diff" => change.make(&mut object(&mut item["operation"])["diff"]),
            _ => change.make(&mut item[name]),
        }
    }

    /// The response so far, as JSON. Once the stream has finished, its own bytes.
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

    /// The text of its messages so far.
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
    fn make(self, known: &mut Value) {
        match (known, self) {
            (Value::String(known), Self::More(Value::String(more))) => append(known, &more),
            (Value::String(known), Self::More(_)) if !known.is_empty() => {}
            (known, Self::More(value) | Self::Whole(value)) if !is_blank(&value) || known.is_null() => *known = value,
            _ => {}
        }
    }
}

/// What is said anew replaces what was said, but for what it leaves empty: a text that has come is not taken back.
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

/// No item has so many parts: an index beyond is a mistake, and not to fill the memory.
const MOST: usize = 4096;

fn place_of(index: &Value) -> Option<usize> {
    index.as_u64().and_then(|index| usize::try_from(index).ok()).filter(|index| *index < MOST)
}

fn object(value: &mut Value) -> &mut Value {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value
}

/// The list of an object; both are made where they are not there.
fn list_of<'a>(value: &'a mut Value, name: &str) -> &'a mut Vec<Value> {
    let list = &mut object(value)[name];
    if !list.is_array() {
        *list = Value::Array(Vec::new());
    }
    list.as_array_mut().expect("made above")
}

/// The value at an index of a list, or a new one behind it.
fn place_in<'a>(list: &'a mut Vec<Value>, index: &Value, new: fn() -> Value) -> &'a mut Value {
    let place = place_of(index).filter(|place| *place < list.len()).unwrap_or_else(|| {
        list.push(new());
        list.len() - 1
    });
    &mut list[place]
}

/// The part at an index, if it is of this type; else the last of this type; else a new one.
fn part_of<'a>(item: &'a mut Value, list: &str, index: &Value, kind: &str) -> &'a mut Value {
    let parts = list_of(item, list);
    let fits = |part: &Value| text_at(part, "type").is_none_or(|known| known == kind);
    let at_index = place_of(index).filter(|place| parts.get(*place).is_some_and(fits));
    let is_beyond = place_of(index).is_some_and(|place| place >= parts.len());
    let last = || parts.iter().rposition(fits).filter(|_| !is_beyond);
    let place = at_index.or_else(last).unwrap_or_else(|| {
        parts.push(json!({"type": kind}));
        parts.len() - 1
    });
    object(&mut parts[place])
}

fn have_one_type(known: &Value, value: &Value) -> bool {
    match (text_at(known, "type"), text_at(value, "type")) {
        (Some(known), Some(value)) => known == value,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(events: &[Value]) -> Accumulator {
        let mut accumulator = Accumulator::default();
        events.iter().for_each(|event| accumulator.push(event.to_string().as_bytes()));
        accumulator
    }

    fn accumulated(events: &[Value]) -> Value {
        serde_json::from_slice(&of(events).completion()).unwrap()
    }

    /// An item that grows by these events, of which each is one of its kind.
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
            // The part was never announced.
            assert_eq!(grown(item, &[delta, done])["content"], whole);
        }
        let summary = [
            json!({"type": "reasoning_summary_part.added", "summary_index": 0, "part": {"type": "summary_text", "text": ""}}),
            json!({"type": "reasoning_summary_text.delta", "summary_index": 0, "delta": "a"}),
            json!({"type": "reasoning_summary_text.delta", "summary_index": 1, "delta": "b"}),
        ];
        let text = |text: &str| json!({"type": "summary_text", "text": text});
        assert_eq!(
            grown(json!({"type": "reasoning", "summary": []}), &summary)["summary"],
            json!([text("a"), text("b")])
        );
        let annotated = [
            part(json!({"type": "output_text", "text": "a", "annotations": []})),
            json!({"type": "output_text.annotation.added", "content_index": 0, "annotation_index": 0, "annotation": {"url": "u"}}),
            json!({"type": "output_text.delta", "content_index": 0, "delta": "b", "logprobs": [{"token": "b"}]}),
        ];
        let text =
            json!({"type": "output_text", "text": "ab", "annotations": [{"url": "u"}], "logprobs": [{"token": "b"}]});
        assert_eq!(grown(json!({"type": "message"}), &annotated)["content"], json!([text]));
        // Nothing was announced.
        let events = [
            json!({"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "content_index": 0, "delta": "a"}),
        ];
        let item = json!({"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]});
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
        // An item whose end is told without its content.
        let end = json!({"type": "output_item.done", "item": {"type": "function_call", "arguments": "", "status": "completed"}});
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
}
