//! Anthropic's stream events → chunks: <https://platform.claude.com/docs/en/build-with-claude/streaming>.
//!
//! Content that OpenAI's deltas have a place for is emitted at once. Only at the end is it clear whether there is other
//! content, so the decoder accumulates the blocks and emits them, if needed, with the finish reason (see
//! [`MessageBlocks`]).

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::delta_cache::DeltaCache;
use super::super::{StreamDecoder, errors, refusals};
use super::Host;
use super::messages::input;
use super::response::{MessageBlocks, annotations, arguments, beside, finish_reason, native_fields, usage};
use crate::error::{Error, ErrorKind, Result};
use crate::types::completion::{CHUNK, Choice, Completion, Content, Function, Message, ToolCall};
use crate::types::lenient;
use crate::types::members::{Members, Text, read};
use crate::types::object::quoted;

/// Decoder of one stream.
pub(super) struct AnthropicChunks {
    host: Host,
    show_usage: bool,
    created: u64,
    id: String,
    model: String,
    blocks: Vec<Block>,
    /// The last event and its chunk, if it was a text delta of a block.
    pub(super) last: Option<DeltaCache>,
    /// Buffer for chunks that are made from `last`.
    buffer: BytesMut,
    /// Number of tool calls so far.
    calls: u32,
    /// Members that OpenAI's format has no place for.
    beside: Object,
    usage: Object,
    /// The chunk that holds nothing but the usage, to recognise it.
    usage_chunk: Option<Bytes>,
    /// True once the stop reason has arrived.
    finished: bool,
    /// True once the last event has arrived.
    done: bool,
}

/// The members of an event that the frequent small ones have; the others are parsed again.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", borrow, default, deserialize_with = "lenient::scalar")]
    kind: Option<Text<'a>>,
    #[serde(default, deserialize_with = "lenient::scalar")]
    index: Option<u64>,
    #[serde(borrow, default, deserialize_with = "lenient::object")]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    content_block: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(rename = "type", borrow, default, deserialize_with = "lenient::scalar")]
    kind: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    text: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    thinking: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    partial_json: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    signature: Option<Text<'a>>,
    #[serde(borrow)]
    citation: Option<&'a RawValue>,
}

impl AnthropicChunks {
    pub(super) fn new(host: Host, show_usage: bool, created: u64) -> Self {
        Self {
            host,
            show_usage,
            created,
            id: String::new(),
            model: String::new(),
            blocks: Vec::new(),
            last: None,
            buffer: BytesMut::new(),
            calls: 0,
            beside: Object::default(),
            usage: Object::default(),
            usage_chunk: None,
            finished: false,
            done: false,
        }
    }

    fn chunk(&self) -> Completion<'_> {
        Completion {
            id: Cow::Borrowed(&self.id),
            object: CHUNK,
            created: self.created,
            model: Cow::Borrowed(&self.model),
            ..Completion::default()
        }
    }

    fn send(&self, delta: Message, chunks: &mut Vec<Bytes>) {
        let choices = vec![Choice { delta: Some(delta), ..Choice::default() }];
        chunks.push(Completion { choices, ..self.chunk() }.to_json());
    }

    fn start(&mut self, message: &RawValue, chunks: &mut Vec<Bytes>) {
        let Ok(message) = Members::of(message.get().as_bytes()) else { return };
        self.id = message.string("id").unwrap_or_default();
        self.model = message.string("model").unwrap_or_default();
        self.usage.merge(message.some("usage"));
        self.beside.merge(Some(&format!("{{{}}}", beside(&message))));
        self.send(Message { role: Some("assistant"), ..Message::default() }, chunks);
    }

    /// Handles `content_block_start`. Some hosts send the first text in it.
    fn start_block(&mut self, index: u64, json: &str, chunks: &mut Vec<Bytes>) {
        let Ok(members) = Members::of(json.as_bytes()) else { return };
        let mut block = Block {
            index,
            kind: members.string("type").unwrap_or_default(),
            start: Object::of(&members),
            ..Block::default()
        };
        let first = |name: &str| members.string(name).filter(|text| !text.is_empty()).map(Cow::Owned);
        match &*block.kind {
            "text" => {
                if let Some(text) = first("text") {
                    self.send(Message { content: Content::Text(text), ..Message::default() }, chunks);
                }
            }
            "thinking" => {
                if let Some(thought) = first("thinking") {
                    self.send(Message { reasoning_content: Some(thought), ..Message::default() }, chunks);
                }
            }
            "tool_use" => {
                block.call = Some(self.calls);
                let function = Function { name: members.string("name").map(Cow::Owned), arguments: "".into() };
                let id = Some(members.string("id").unwrap_or_default().into());
                let call = ToolCall { index: block.call, id, kind: Some("function"), function };
                self.send(Message { tool_calls: vec![call], ..Message::default() }, chunks);
                self.calls += 1;
            }
            _ => {}
        }
        self.blocks.push(block);
    }

    /// Returns the index of an event's block: by default that of the last block, since blocks come one by one.
    fn block_index(&self, index: Option<u64>) -> u64 {
        index.unwrap_or_else(|| self.blocks.last().map_or(0, |block| block.index))
    }

    /// Handles a delta of a block.
    fn grow(&mut self, index: u64, delta: Delta, event: &[u8], chunks: &mut Vec<Bytes>) {
        let kind = match &delta {
            Delta { kind: Some(kind), .. } if !kind.0.is_empty() => kind.0.clone(),
            Delta { text: Some(_), .. } => "text_delta".into(),
            Delta { thinking: Some(_), .. } => "thinking_delta".into(),
            Delta { partial_json: Some(_), .. } => "input_json_delta".into(),
            Delta { signature: Some(_), .. } => "signature_delta".into(),
            _ => "".into(),
        };
        if !self.blocks.iter().any(|block| block.index == index) {
            let start = if &*kind == "thinking_delta" {
                r#"{"type":"thinking","thinking":""}"#
            } else {
                r#"{"type":"text","text":""}"#
            };
            self.start_block(index, start, chunks);
        }
        let Some(block) = self.blocks.iter_mut().rfind(|block| block.index == index) else { return };
        let mut message = Message::default();
        match (&*kind, delta) {
            ("text_delta", Delta { text: Some(text), .. }) if !text.0.is_empty() => {
                block.append("text", &text.0);
                message.content = Content::Text(text.0);
            }
            ("thinking_delta", Delta { thinking: Some(thought), .. }) if !thought.0.is_empty() => {
                block.append("thinking", &thought.0);
                message.reasoning_content = Some(thought.0);
            }
            ("input_json_delta", Delta { partial_json: Some(json), .. }) if !json.0.is_empty() => {
                block.input += &json.0;
                if block.call.is_none() {
                    return;
                }
                message.tool_calls = vec![ToolCall {
                    index: block.call,
                    function: Function { name: None, arguments: json.0 },
                    ..ToolCall::default()
                }];
            }
            ("signature_delta", Delta { signature: Some(signature), .. }) => {
                return block.append("signature", &signature.0);
            }
            ("citations_delta", Delta { citation: Some(citation), .. }) => {
                return block.citations.push(citation.get().to_owned());
            }
            ("text_delta" | "thinking_delta" | "input_json_delta" | "signature_delta" | "citations_delta", _) => return,
            _ => return block.grow_otherwise(event),
        }
        self.send(message, chunks);
    }

    /// Emits content that requires the complete block.
    fn close_block(&mut self, place: usize, chunks: &mut Vec<Bytes>) {
        if std::mem::replace(&mut self.blocks[place].closed, true) {
            return;
        }
        let block = &self.blocks[place];
        let mut message = Message::default();
        match &*block.kind {
            "thinking" | "redacted_thinking" => message.thinking_blocks.extend(serde_json::from_str(&block.json())),
            "text" if !block.citations.is_empty() || block.start.get("citations").is_some() => {
                let text_of = |block: &Block| {
                    Members::of(block.json().as_bytes()).ok().and_then(|block| block.string("text")).unwrap_or_default()
                };
                let before: String =
                    self.blocks[..place].iter().filter(|block| block.kind == "text").map(text_of).collect();
                let json = block.json();
                let citations = Members::of(json.as_bytes()).ok().and_then(|block| block.some("citations"));
                message.annotations = annotations(citations, &before, &text_of(block));
            }
            // Without a delta, the input is that of `content_block_start`.
            "tool_use" if block.input.is_empty() => {
                let function = Function { name: None, arguments: arguments(block.start.get("input")) };
                message.tool_calls = vec![ToolCall { index: block.call, function, ..ToolCall::default() }];
            }
            _ => {}
        }
        if !message.thinking_blocks.is_empty() || !message.annotations.is_empty() || !message.tool_calls.is_empty() {
            self.send(message, chunks);
        }
    }

    /// Handles `message_delta`: usage and, at the end, the stop reason.
    fn update(&mut self, event: &[u8], chunks: &mut Vec<Bytes>) {
        let Ok(event) = Members::of(event) else { return };
        self.usage.merge(event.some("usage"));
        self.beside.merge(event.some("delta"));
        for (name, value) in event.0.iter().filter(|(name, _)| !matches!(&**name, "type" | "delta" | "usage")) {
            self.beside.set(name, value.get());
        }
        if self.finished {
            self.send_usage(chunks);
        } else if self.beside.get("stop_reason").is_some() {
            self.finish(chunks);
        }
    }

    fn finish(&mut self, chunks: &mut Vec<Bytes>) {
        self.finished = true;
        (0..self.blocks.len()).for_each(|place| self.close_block(place, chunks));
        self.blocks.sort_by_key(|block| block.index);
        let blocks: Vec<String> = self.blocks.iter().map(Block::json).collect();
        let blocks: Vec<&str> = blocks.iter().map(String::as_str).collect();
        let native = MessageBlocks::by(&blocks).ok().and_then(MessageBlocks::native);
        let reason = self.beside.get("stop_reason").and_then(|reason| serde_json::from_str::<String>(reason).ok());
        let delta = Message { native_fields: native, ..Message::default() };
        let choices = vec![Choice {
            delta: Some(delta),
            finish_reason: finish_reason(reason.as_deref(), self.calls > 0),
            ..Choice::default()
        }];
        let tier = usage(&self.usage.json()).tier.map(Cow::Borrowed);
        chunks.push(
            Completion {
                choices,
                service_tier: tier,
                native_fields: native_fields(&self.beside.members()),
                ..self.chunk()
            }
            .to_json(),
        );
        self.send_usage(chunks);
    }

    fn send_usage(&mut self, chunks: &mut Vec<Bytes>) {
        if let Some(chunk) = self.usage_json() {
            self.usage_chunk = Some(chunk.clone());
            chunks.push(chunk);
        }
    }

    /// Returns a chunk with the usage so far, if any was told.
    fn usage_json(&self) -> Option<Bytes> {
        if self.usage.0.is_empty() {
            return None;
        }
        let json = self.usage.json();
        Some(Completion { usage: Some(usage(&json).counts), ..self.chunk() }.to_json())
    }
}

/// Strips the white space at an event's end, with which Anthropic hides the length of a text.
pub(super) fn without_padding(event: &[u8]) -> &[u8] {
    event.strip_suffix(b"}").unwrap_or_default().trim_ascii_end()
}

impl AnthropicChunks {
    /// Converts an event that is an error.
    #[cold]
    fn error(&self, data: &Bytes) -> Box<Error> {
        let mut error = errors::from_event(self.host.name(), data);
        error.request_id = Members::of(data).ok().and_then(|event| event.string("request_id"));
        error
    }
}

impl StreamDecoder for AnthropicChunks {
    fn event(&mut self, name: &[u8], data: Bytes, chunks: &mut Vec<Bytes>) -> Result<()> {
        if let Some(last) = &self.last
            && let Some(delta) = last.new_delta(without_padding(&data))
            && let Some(block) = self.blocks.iter_mut().rfind(|block| block.index == last.index)
        {
            block.append("text", &delta.text);
            chunks.push(last.chunk(&delta, &mut self.buffer));
            return Ok(());
        }
        self.last = None;
        if data.trim_ascii_start().first() != Some(&b'{') {
            // Some hosts end their streams as OpenAI does; Anthropic sends no such event.
            if data.trim_ascii() == b"[DONE]" {
                self.done = self.finished;
            }
            return Ok(());
        }
        let event: Event = read(&data).map_err(|error| {
            let mut invalid = Error::new(
                ErrorKind::ApiResponseValidation,
                format!("{} sent an event that cannot be read ({error}): {}", self.host.name(), errors::excerpt(&data)),
            );
            invalid.body = Some(data.clone());
            invalid
        })?;
        // The event's name equals its type, but not every host sends a name.
        let kind = match (name, &event.kind) {
            (b"" | b"message", Some(kind)) => kind.0.as_bytes(),
            (name, _) => name,
        };
        match kind {
            b"content_block_delta" => {
                if let Some(delta) = event.delta {
                    let (index, text, known) = (self.block_index(event.index), delta.text.clone(), chunks.len());
                    self.grow(index, delta, &data, chunks);
                    if let (Some(_), Some(text), [chunk]) = (event.kind, text, &chunks[known..]) {
                        self.last = DeltaCache::of(index, data.slice_ref(without_padding(&data)), &text.0, None, chunk);
                    }
                }
            }
            b"content_block_start" => {
                if let Some(block) = event.content_block {
                    self.start_block(event.index.unwrap_or(self.blocks.len() as u64), block.get(), chunks);
                }
            }
            b"content_block_stop" => {
                let index = self.block_index(event.index);
                if let Some(place) = self.blocks.iter().rposition(|block| block.index == index) {
                    self.close_block(place, chunks);
                }
            }
            b"message_start" => {
                if let Some(message) = event.message {
                    self.start(message, chunks);
                }
            }
            b"message_delta" => self.update(&data, chunks),
            b"message_stop" => {
                if !self.finished {
                    self.finish(chunks);
                }
                self.done = true;
            }
            b"error" => return Err(self.error(&data)),
            // A gateway's refusal has neither the event's name nor its type.
            _ if event.kind.is_none() && Members::of(&data).is_ok_and(|event| refusals::is_refusal(&event)) => {
                return Err(self.error(&data));
            }
            // `ping`, and types that are not known.
            _ => {}
        }
        Ok(())
    }

    fn is_shown(&self, chunk: &[u8]) -> bool {
        self.show_usage || self.usage_chunk.as_deref() != Some(chunk)
    }

    fn usage_so_far(&self) -> Option<Bytes> {
        self.usage_json()
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn is_complete(&self) -> bool {
        self.finished
    }
}

/// A content block, accumulated from its deltas.
#[derive(Default)]
struct Block {
    index: u64,
    kind: String,
    /// Members of `content_block_start`.
    start: Object,
    /// Texts of deltas, by the name of their member.
    texts: Vec<(Cow<'static, str>, String)>,
    /// JSON text of a tool's input so far.
    input: String,
    citations: Vec<String>,
    /// Index among the tool calls, if it is one.
    call: Option<u32>,
    closed: bool,
}

impl Block {
    fn append(&mut self, name: &'static str, text: &str) {
        self.append_named(Cow::Borrowed(name), text);
    }

    fn append_named(&mut self, name: Cow<'static, str>, text: &str) {
        match self.texts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, grown)) => grown.push_str(text),
            None => self.texts.push((name, text.to_owned())),
        }
    }

    /// Adds a delta of another type (`compaction_delta`, or unknown): texts are appended, other members replaced.
    fn grow_otherwise(&mut self, event: &[u8]) {
        let delta = Members::of(event)
            .ok()
            .and_then(|event| Members::of(event.some("delta")?.as_bytes()).ok())
            .unwrap_or_default();
        for (name, value) in delta.0.iter().filter(|(name, _)| name != "type") {
            match serde_json::from_str::<String>(value.get()) {
                Ok(text) => self.append_named(Cow::Owned(name.clone().into_owned()), &text),
                Err(_) => self.start.set(name, value.get()),
            }
        }
    }

    /// Returns the block in the format of an answer that is not streamed.
    fn json(&self) -> String {
        let mut whole = self.start.clone();
        for (name, grown) in &self.texts {
            let began: String = whole.get(name).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
            whole.set(name, &quoted(&(began + grown)));
        }
        if !self.input.is_empty() {
            whole.set("input", &input(&self.input));
        }
        if !self.citations.is_empty() {
            let began: Vec<&RawValue> =
                whole.get("citations").and_then(|list| serde_json::from_str(list).ok()).unwrap_or_default();
            let all: Vec<&str> =
                began.into_iter().map(RawValue::get).chain(self.citations.iter().map(String::as_str)).collect();
            let all = format!("[{}]", all.join(","));
            whole.set("citations", &all);
        }
        whole.json()
    }
}

/// A JSON object whose members events set; a null leaves a member as it is.
#[derive(Default, Clone)]
struct Object(Vec<(String, String)>);

impl Object {
    fn of(members: &Members) -> Self {
        Self(members.0.iter().map(|(name, value)| (name.clone().into_owned(), value.get().to_owned())).collect())
    }

    /// Returns a member's value, unless it is null.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).filter(|value| *value != "null")
    }

    fn set(&mut self, name: &str, value: &str) {
        if value == "null" {
            return;
        }
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => value.clone_into(known),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    fn merge(&mut self, json: Option<&str>) {
        let members = json.and_then(|json| Members::of(json.as_bytes()).ok()).unwrap_or_default();
        members.0.iter().for_each(|(name, value)| self.set(name, value.get()));
    }

    fn members(&self) -> String {
        let members: Vec<String> = self.0.iter().map(|(name, value)| format!("{}:{value}", quoted(name))).collect();
        members.join(",")
    }

    fn json(&self) -> String {
        format!("{{{}}}", self.members())
    }
}
