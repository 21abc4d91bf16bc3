//! A response's events → the response: what a stream of OpenAI's Responses has said so far.
//!
//! Events: <https://platform.openai.com/docs/api-reference/responses-streaming>

use bytes::Bytes;
use serde_json::{Map, Value};

use super::members::Members;

/// The response that these events make up, as JSON. Once the stream has finished, its own bytes.
pub fn accumulate(events: &[Bytes]) -> Bytes {
    let finished = events.last().and_then(|last| {
        let event = Members::of(last).ok()?;
        let is_finish =
            matches!(event.string("type")?.as_str(), "response.completed" | "response.incomplete" | "response.failed");
        event.some("response").filter(|_| is_finish).map(|response| last.slice_ref(response.as_bytes()))
    });
    finished.unwrap_or_else(|| {
        let mut partial = Partial::default();
        events.iter().filter_map(|event| serde_json::from_slice(event).ok()).for_each(|event| partial.push(event));
        partial.finish().to_string().into()
    })
}

/// A response that has not finished: as it was last shown, with the items and texts that came since.
#[derive(Default)]
struct Partial {
    response: Map<String, Value>,
    /// By their places in `output`.
    items: Vec<Value>,
}

impl Partial {
    fn push(&mut self, mut event: Value) {
        if !event.is_object() {
            return;
        }
        let kind = event["type"].take();
        let (delta, item, part) = (event["delta"].take(), event["item"].take(), event["part"].take());
        match (kind.as_str().unwrap_or_default(), event["response"].take()) {
            (_, Value::Object(response)) => self.response = response,
            ("response.output_item.added" | "response.output_item.done", _) => *self.item(&event) = item,
            ("response.content_part.added" | "response.content_part.done", _) => {
                *place(&mut self.item(&event)["content"], &event["content_index"]) = part;
            }
            ("response.output_text.delta", _) => {
                let part = place(&mut self.item(&event)["content"], &event["content_index"]);
                append(&mut part["text"], &delta);
            }
            ("response.reasoning_summary_part.added" | "response.reasoning_summary_part.done", _) => {
                *place(&mut self.item(&event)["summary"], &event["summary_index"]) = part;
            }
            ("response.reasoning_summary_text.delta", _) => {
                let part = place(&mut self.item(&event)["summary"], &event["summary_index"]);
                append(&mut part["text"], &delta);
            }
            ("response.function_call_arguments.delta", _) => append(&mut self.item(&event)["arguments"], &delta),
            _ => {}
        }
    }

    fn item(&mut self, event: &Value) -> &mut Value {
        let index = event["output_index"].as_u64().map_or(0, |index| index.min(MOST)) as usize;
        if self.items.len() <= index {
            self.items.resize_with(index + 1, || Value::Object(Map::new()));
        }
        object(&mut self.items[index])
    }

    fn finish(mut self) -> Value {
        if !self.items.is_empty() {
            self.response.insert("output".into(), Value::Array(self.items));
        }
        Value::Object(self.response)
    }
}

/// No response has so many items or parts: an index beyond is a mistake, and not to fill the memory.
const MOST: u64 = 4096;

/// The object at an index of a list; both are made where they are not there.
fn place<'a>(list: &'a mut Value, index: &Value) -> &'a mut Value {
    let index = index.as_u64().map_or(0, |index| index.min(MOST)) as usize;
    if !list.is_array() {
        *list = Value::Array(Vec::new());
    }
    let list = list.as_array_mut().expect("made above");
    if list.len() <= index {
        list.resize_with(index + 1, || Value::Object(Map::new()));
    }
    object(&mut list[index])
}

fn object(value: &mut Value) -> &mut Value {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value
}

fn append(text: &mut Value, delta: &Value) {
    match (text, delta) {
        (Value::String(text), Value::String(delta)) => text.push_str(delta),
        (text, delta) => *text = delta.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn accumulated(events: &[Value]) -> Value {
        let events: Vec<Bytes> = events.iter().map(|event| event.to_string().into()).collect();
        serde_json::from_slice(&accumulate(&events)).unwrap()
    }

    #[test]
    fn a_finished_response_is_its_own_bytes() {
        let events = [Bytes::from_static(br#"{"type":"response.completed","response":{"id": "r",  "n": 0.10}}"#)];
        assert_eq!(accumulate(&events), r#"{"id": "r",  "n": 0.10}"#);
        assert_eq!(accumulate(&[]), "{}");
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
    }

    #[test]
    fn nonsense_is_passed_over() {
        let events = [
            json!([1]),
            json!({"type": "response.output_text.delta", "output_index": 1e18, "content_index": "x", "delta": 3}),
        ];
        assert!(accumulated(&events)["output"].is_array());
    }
}
