//! A stream's events → chunks: <https://docs.cohere.com/reference/chat-stream>.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::super::received::{ReceivedCall, specific_fields, value_of};
use super::super::visibility::is_shown;
use super::super::{StreamDecoder, errors};
use super::response::{finish_reason, keep_finish_reason, logprobs, native_content, usage};
use super::{DIALECT, ROW};
use crate::error::{Error, ErrorKind, Result};
use crate::types::completion::{CHUNK, Choice, Completion, Content, Function, Message, ToolCall};
use crate::types::lenient;
use crate::types::members::{Members, Text, read};

/// A block of content, accumulated from its deltas.
struct Block {
    index: u64,
    native: Map<String, Value>,
}

/// Decoder of a stream of Cohere's events.
pub(super) struct CohereChunks {
    model: Arc<str>,
    created: u64,
    /// True if the caller asked for the chunk that holds nothing but the usage.
    show_usage: bool,
    id: String,
    /// Content so far. Only at the end of the stream is it clear whether the blocks hold more than the text.
    blocks: Vec<Block>,
    has_citations: bool,
    /// Tool calls that have begun: the index of their events, and true if arguments have come.
    calls: Vec<(u64, bool)>,
    done: bool,
}

/// An event of any type.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", borrow, default, deserialize_with = "lenient::scalar")]
    kind: Cow<'a, str>,
    #[serde(default, deserialize_with = "lenient::scalar")]
    id: String,
    #[serde(default, deserialize_with = "lenient::scalar")]
    index: Option<u64>,
    #[serde(borrow, default, deserialize_with = "lenient::object")]
    delta: Delta<'a>,
    #[serde(borrow)]
    logprobs: Option<&'a RawValue>,
}

/// The changes that an event brings.
#[derive(Default, Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default, deserialize_with = "lenient::object")]
    message: DeltaMessage<'a>,
    #[serde(default, deserialize_with = "lenient::scalar")]
    finish_reason: String,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "lenient::scalar")]
    error: Option<String>,
}

/// The changes to the message: one member an event; `message-start` has them all, as empty lists.
#[derive(Default, Deserialize)]
struct DeltaMessage<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_plan: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow)]
    citations: Option<&'a RawValue>,
}

impl StreamDecoder for CohereChunks {
    fn event(&mut self, name: &[u8], data: Bytes, chunks: &mut Vec<Bytes>) -> Result<()> {
        let text = data.trim_ascii();
        if text == b"[DONE]" {
            self.done = true;
            return Ok(());
        }
        let wrong = |error| {
            Error::new(ErrorKind::ApiResponseValidation, format!("cohere sent an event that cannot be read: {error}"))
        };
        let event: Event = read(text).map_err(wrong)?;
        let delta = event.delta;
        let message = delta.message;
        // The event's name and its `type` are the same word; either may be missing.
        let kind = match std::str::from_utf8(name) {
            Ok(name) if !matches!(name, "" | "message") => name,
            _ => &event.kind,
        };
        match kind {
            "message-start" => {
                self.id = event.id;
                let first = Message { role: Some("assistant"), ..Default::default() };
                self.emit(first, chunks);
            }
            "content-start" | "content-delta" => {
                let delta = message.content.map(|content| lenient::object_of(content.get())).unwrap_or_default();
                self.content(event.index.unwrap_or(0), &delta, event.logprobs.map(value_of), chunks);
            }
            "tool-plan-delta" => self.emit_native("tool_plan", message.tool_plan.map(value_of), chunks),
            "tool-call-start" => {
                let call = streamed_call(message.tool_calls);
                let index = event.index.unwrap_or(self.calls.len() as u64);
                // Arguments of "null" mean that there are none; an empty object is sent when the call ends.
                let arguments =
                    Some(call.function.arguments_delta()).filter(|delta| delta != "null").unwrap_or_default();
                self.calls.push((index, !arguments.trim().is_empty()));
                let call = ToolCall {
                    index: Some(self.calls.len() as u32 - 1),
                    id: Some(call.id),
                    kind: Some("function"),
                    function: Function { name: Some(call.function.name), arguments },
                };
                self.emit(Message { tool_calls: vec![call], ..Default::default() }, chunks);
            }
            "tool-call-delta" => {
                let call = streamed_call(message.tool_calls);
                let arguments = call.function.arguments_delta();
                let index = self.call_index(event.index);
                match self.calls.get_mut(index) {
                    Some((_, false)) if arguments == "null" => {}
                    known => {
                        if let Some((_, has_arguments)) = known {
                            *has_arguments |= !arguments.trim().is_empty();
                        }
                        self.emit_arguments(index, arguments, chunks);
                    }
                }
            }
            "tool-call-end" => {
                let index = self.call_index(event.index);
                if let Some((_, has_arguments @ false)) = self.calls.get_mut(index) {
                    *has_arguments = true;
                    self.emit_arguments(index, "{}".into(), chunks);
                }
            }
            "citation-start" => {
                let citations = message
                    .citations
                    .map(value_of)
                    .map(|citations| if citations.is_array() { citations } else { json!([citations]) });
                self.has_citations |= citations.is_some();
                self.emit_native("citations", citations, chunks);
            }
            "message-end" => {
                let reason = delta.finish_reason;
                let finish = finish_reason(&reason, !self.calls.is_empty()).map_err(|mut error| {
                    error.message += &delta.error.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
                    error.body = Some(data.clone());
                    error
                })?;
                self.end(finish, &reason, delta.usage, chunks);
            }
            "content-end" | "citation-end" => {}
            "" => return Err(errors::from_event(ROW.name, &data)),
            // A type that is not read here, or that was asked for by name (`debug`).
            other => {
                let kept = Map::from_iter([(other.to_owned(), serde_json::from_slice(text).unwrap_or_default())]);
                chunks.push(
                    Completion { provider_specific_fields: specific_fields(DIALECT, kept), ..self.chunk() }.to_json(),
                );
            }
        }
        Ok(())
    }

    fn is_shown(&self, chunk: &[u8]) -> bool {
        is_shown(chunk, self.show_usage)
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn is_complete(&self) -> bool {
        self.done
    }
}

/// Parses the call that an event carries.
fn streamed_call(json: Option<&RawValue>) -> ReceivedCall<'_> {
    json.and_then(|json| lenient::list_of(json.get()).into_iter().next()).unwrap_or_default()
}

impl CohereChunks {
    /// Creates the decoder of a stream that began at `created` (Unix seconds).
    pub fn new(model: Arc<str>, created: u64, show_usage: bool) -> Self {
        Self {
            model,
            created,
            show_usage,
            id: String::new(),
            blocks: Vec::new(),
            has_citations: false,
            calls: Vec::new(),
            done: false,
        }
    }

    /// Returns a chunk without choices.
    fn chunk(&self) -> Completion<'_> {
        Completion {
            id: (&*self.id).into(),
            object: CHUNK,
            created: self.created,
            model: (&*self.model).into(),
            ..Default::default()
        }
    }

    /// Returns the position of the call whose events have this index, or of the last call.
    fn call_index(&self, index: Option<u64>) -> usize {
        let last = self.calls.len().saturating_sub(1);
        self.calls.iter().rposition(|(known, _)| Some(*known) == index).unwrap_or(last)
    }

    /// Emits a fragment of a call's arguments.
    fn emit_arguments(&self, index: usize, arguments: Cow<str>, chunks: &mut Vec<Bytes>) {
        let function = Function { name: None, arguments };
        let call = ToolCall { index: Some(index as u32), function, ..Default::default() };
        self.emit(Message { tool_calls: vec![call], ..Default::default() }, chunks);
    }

    /// Emits a chunk with this delta.
    fn emit(&self, delta: Message, chunks: &mut Vec<Bytes>) {
        let choice = Choice { delta: Some(delta), ..Default::default() };
        chunks.push(Completion { choices: vec![choice], ..self.chunk() }.to_json());
    }

    /// Emits a member of the message that only Cohere has. As in all deltas, texts and lists are appended.
    fn emit_native(&self, name: &str, value: Option<Value>, chunks: &mut Vec<Bytes>) {
        if let Some(value) = value {
            let provider_specific_fields = specific_fields(DIALECT, Map::from_iter([(name.to_owned(), value)]));
            self.emit(Message { provider_specific_fields, ..Default::default() }, chunks);
        }
    }

    /// Emits a delta of a block; the first one sets the block's type, and may hold text already.
    fn content(&mut self, index: u64, native_delta: &Members, native_logprobs: Option<Value>, chunks: &mut Vec<Bytes>) {
        let position = self.blocks.iter().position(|block| block.index == index).unwrap_or_else(|| {
            let kind = if native_delta.some("thinking").is_some() { "thinking" } else { "text" };
            self.blocks.push(Block { index, native: Map::from_iter([("type".to_owned(), kind.into())]) });
            self.blocks.len() - 1
        });
        let block = &mut self.blocks[position].native;
        let mut delta = Message::default();
        for (name, value) in &native_delta.0 {
            match (&**name, serde_json::from_str(value.get())) {
                _ if value.get() == "null" => {}
                (name @ ("text" | "thinking"), Ok(Text(more))) => {
                    match block.get_mut(name) {
                        Some(Value::String(known)) => known.push_str(&more),
                        _ => drop(block.insert(name.to_owned(), (&*more).into())),
                    }
                    match name {
                        "text" => delta.content = Content::Text(more),
                        _ => delta.reasoning_content = Some(more),
                    }
                }
                (name, _) => drop(block.insert(name.to_owned(), value_of(value))),
            }
        }
        let has_text = matches!(delta.content, Content::Text(_)) || delta.reasoning_content.is_some();
        if !has_text && native_logprobs.is_none() {
            return;
        }
        let mut choice = Choice { delta: Some(delta), ..Default::default() };
        let mut native = Map::new();
        if let Some(item) = native_logprobs {
            let items = vec![item];
            choice.logprobs = Some(logprobs(&items));
            native.insert("logprobs".into(), items.into());
        }
        chunks.push(
            Completion {
                choices: vec![choice],
                provider_specific_fields: specific_fields(DIALECT, native),
                ..self.chunk()
            }
            .to_json(),
        );
    }

    /// Emits the last chunks: native content and finish reason, then the usage.
    fn end(&mut self, finish: &'static str, reason: &str, native_usage: Option<&RawValue>, chunks: &mut Vec<Bytes>) {
        self.done = true;
        let mut blocks = std::mem::take(&mut self.blocks);
        blocks.sort_by_key(|block| block.index);
        let blocks = blocks.into_iter().map(|block| Value::Object(block.native)).collect();
        let content = native_content(blocks, self.has_citations).map(|blocks| ("content".to_owned(), blocks));
        let delta = Message {
            provider_specific_fields: specific_fields(DIALECT, Map::from_iter(content)),
            ..Default::default()
        };
        let choice = Choice { delta: Some(delta), finish_reason: Some(finish), ..Default::default() };
        let mut native = Map::new();
        keep_finish_reason(reason, &mut native);
        chunks.push(
            Completion {
                choices: vec![choice],
                provider_specific_fields: specific_fields(DIALECT, native),
                ..self.chunk()
            }
            .to_json(),
        );
        if let Some(native) = native_usage {
            chunks.push(Completion { usage: usage(native), ..self.chunk() }.to_json());
        }
    }
}
