//! The call of the tool that stands for an answer becomes the answer's text, so that answers look the same in every form.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::error::Result;
use crate::providers::StreamDecoder;
use crate::types::request::Request;
use crate::types::structured::{Form, ResponseSchema, StructuredOutput};

/// Makes the text of an answer of the call of the tool that stands for it. Any other answer stays as it is.
pub fn untooled(request: &Request, body: Bytes) -> Bytes {
    let Some(StructuredOutput { schema, form: Some(Form::Tool) }) = &request.structured else { return body };
    let Ok(mut answer) = serde_json::from_slice::<Value>(&body) else { return body };
    let mut is_changed = false;
    for choice in answer.get_mut("choices").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(Value::Object(message)) = choice.get_mut("message") else { continue };
        let Some(arguments) = take_call(message, &schema.name) else { continue };
        message.insert("content".into(), arguments.into());
        finish(choice);
        is_changed = true;
    }
    if is_changed { answer.to_string().into() } else { body }
}

/// Takes the call of the tool out of a message, and returns its arguments.
fn take_call(message: &mut Map<String, Value>, name: &str) -> Option<String> {
    let calls = message.get_mut("tool_calls")?.as_array_mut()?;
    let index = calls.iter().position(|call| call["function"]["name"] == name)?;
    let call = calls.remove(index);
    if calls.is_empty() {
        message.shift_remove("tool_calls");
    }
    Some(match &call["function"]["arguments"] {
        Value::String(arguments) => arguments.clone(),
        arguments => arguments.to_string(),
    })
}

/// A choice that ended with the call ended with its text.
fn finish(choice: &mut Value) {
    if let Some(reason) = choice.get_mut("finish_reason")
        && *reason == "tool_calls"
    {
        *reason = "stop".into();
    }
}

/// A stream whose chunks of the tool's call become chunks of text.
pub(super) struct Untooled {
    schema: Arc<ResponseSchema>,
    decoder: Box<dyn StreamDecoder>,
    /// Number of the call among the calls of the answer.
    call: Option<Value>,
}

impl Untooled {
    /// Wraps the decoder of a stream.
    pub fn new(schema: Arc<ResponseSchema>, decoder: Box<dyn StreamDecoder>) -> Self {
        Self { schema, decoder, call: None }
    }

    /// Changes one chunk; `None` if it stays as it is.
    fn change(&mut self, chunk: &[u8]) -> Option<Bytes> {
        let mut chunk: Value = serde_json::from_slice(chunk).ok()?;
        let mut is_changed = false;
        for choice in chunk.get_mut("choices")?.as_array_mut()? {
            if let Some(Value::Object(delta)) = choice.get_mut("delta")
                && let Some(Value::Array(calls)) = delta.get_mut("tool_calls")
            {
                let mut text = String::new();
                calls.retain(|call| {
                    if call["function"]["name"] == self.schema.name.as_str() {
                        self.call = Some(call["index"].clone());
                    }
                    let is_ours = self.call.as_ref() == Some(&call["index"]);
                    if is_ours {
                        text += call["function"]["arguments"].as_str().unwrap_or_default();
                    }
                    !is_ours
                });
                if calls.is_empty() {
                    delta.shift_remove("tool_calls");
                }
                if self.call.is_some() {
                    delta.insert("content".into(), text.into());
                    is_changed = true;
                }
            }
            if self.call.is_some() && choice["finish_reason"] == "tool_calls" {
                finish(choice);
                is_changed = true;
            }
        }
        is_changed.then(|| chunk.to_string().into())
    }
}

impl StreamDecoder for Untooled {
    fn event(&mut self, name: &[u8], data: Bytes, chunks: &mut Vec<Bytes>) -> Result<()> {
        let first = chunks.len();
        let result = self.decoder.event(name, data, chunks);
        for chunk in &mut chunks[first..] {
            if let Some(changed) = self.change(chunk) {
                *chunk = changed;
            }
        }
        result
    }

    fn is_shown(&self, chunk: &[u8]) -> bool {
        self.decoder.is_shown(chunk)
    }

    fn usage_so_far(&self) -> Option<Bytes> {
        self.decoder.usage_so_far()
    }

    fn is_done(&self) -> bool {
        self.decoder.is_done()
    }

    fn is_complete(&self) -> bool {
        self.decoder.is_complete()
    }
}
