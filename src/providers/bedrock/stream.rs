//! ConverseStream's events → chunks.
//!
//! Events: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStreamOutput.html>
//!
//! Text, reasoning and calls are emitted as they arrive. The content blocks are accumulated beside that: content that
//! OpenAI's deltas have no place for is emitted whole, with the last delta.

use std::borrow::Cow;
use std::sync::LazyLock;

use aws_smithy_types::base64;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::response::{finish_reason, is_server_tool, message, service_tier, usage};
use super::{NAME, faults, random_id};
use crate::error::{Error, ErrorKind, Result};
use crate::providers::StreamDecoder;
use crate::providers::errors::excerpt;
use crate::providers::received::{specific_fields, value_of};
use crate::providers::visibility::asks_for_usage;
use crate::types::completion::{CHUNK, Choice, Completion, Content, Function, Message, ToolCall};
use crate::types::lenient;
use crate::types::members::{Members, read};
use crate::types::request::Request;

/// Decoder of a stream of ConverseStream's events.
pub(super) struct BedrockChunks {
    id: String,
    model: String,
    created: u64,
    /// True if the caller asked for the chunk that holds nothing but the usage.
    show_usage: bool,
    blocks: Vec<Block>,
    /// Number of tool calls so far.
    calls: u32,
    /// True after `messageStop`.
    stopped: bool,
    /// True after `metadata`, which comes last.
    done: bool,
}

/// A content block, accumulated from its deltas.
struct Block {
    index: u64,
    /// The block in the format of an answer that is not streamed, without the input of a tool.
    native: Map<String, Value>,
    /// JSON text of a tool's input so far.
    input: Option<String>,
    /// Index among the tool calls, for a tool that the caller runs.
    call: Option<u32>,
}

/// An event of any type.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(default, deserialize_with = "lenient::scalar")]
    content_block_index: Option<u64>,
    #[serde(borrow)]
    start: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "lenient::object")]
    delta: Option<Delta<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    stop_reason: Option<Cow<'a, str>>,
}

/// A delta of a block, which has one of the members.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Delta<'a> {
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "lenient::object")]
    tool_use: Option<ToolUseDelta<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient::object")]
    reasoning_content: Option<ReasoningDelta<'a>>,
    citation: Option<Value>,
    #[serde(default, deserialize_with = "lenient::list")]
    tool_result: Vec<Value>,
    #[serde(default, deserialize_with = "lenient::object")]
    image: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct ToolUseDelta<'a> {
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    input: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReasoningDelta<'a> {
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    signature: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    redacted_content: Option<Cow<'a, str>>,
}

impl BedrockChunks {
    /// Creates the decoder of a stream that began at `received` (Unix seconds).
    pub fn new(request: &Request, received: u64) -> Self {
        Self {
            id: random_id(),
            model: request.model.trim_start_matches("converse/").to_owned(),
            created: received,
            show_usage: asks_for_usage(request),
            blocks: Vec::new(),
            calls: 0,
            stopped: false,
            done: false,
        }
    }

    /// Returns a chunk with this delta.
    fn chunk<'a>(&'a self, delta: Message<'a>, finish_reason: Option<&'static str>) -> Completion<'a> {
        Completion { choices: vec![Choice { delta: Some(delta), finish_reason, ..Choice::default() }], ..self.bare() }
    }

    /// Returns a chunk without choices.
    fn bare(&self) -> Completion<'_> {
        Completion {
            id: self.id.as_str().into(),
            object: CHUNK,
            created: self.created,
            model: self.model.as_str().into(),
            ..Completion::default()
        }
    }

    /// Returns a chunk with a delta of a tool call.
    fn call<'a>(&'a self, index: u32, id: Option<&'a str>, name: Option<&'a str>, arguments: &'a str) -> Bytes {
        let function = Function { name: name.map(Cow::Borrowed), arguments: arguments.into() };
        let call = ToolCall { index: Some(index), id: id.map(Cow::Borrowed), kind: id.map(|_| "function"), function };
        self.chunk(Message { tool_calls: vec![call], ..Message::default() }, None).to_json()
    }

    /// Returns the index of an event's block: by default that of the last block, since blocks come one by one.
    fn block_index(&self, index: Option<u64>) -> u64 {
        index.unwrap_or_else(|| self.blocks.last().map_or(0, |block| block.index))
    }

    /// Returns the block of this index, creating it if it is new.
    fn block(&mut self, index: u64) -> &mut Block {
        let position = self.blocks.iter().position(|block| block.index == index).unwrap_or_else(|| {
            self.blocks.push(Block { index, native: Map::new(), input: None, call: None });
            self.blocks.len() - 1
        });
        &mut self.blocks[position]
    }

    /// Handles `contentBlockStart`.
    fn start(&mut self, index: u64, start: &Members, chunks: &mut Vec<Bytes>) {
        let next = self.calls;
        let block = self.block(index);
        block.native.extend(start.0.iter().map(|(name, value)| (name.to_string(), value_of(value))));
        let Some(tool) = block.native.get("toolUse").cloned() else { return };
        block.input = Some(String::new());
        let text = |name: &str| tool.get(name).and_then(Value::as_str);
        if is_server_tool(text("type")) {
            return;
        }
        block.call = Some(next);
        self.calls += 1;
        chunks.push(self.call(next, Some(text("toolUseId").unwrap_or_default()), text("name"), ""));
    }

    /// Handles `contentBlockDelta`.
    fn delta(&mut self, index: u64, delta: Delta, chunks: &mut Vec<Bytes>) {
        if let Some(text) = delta.text {
            self.block(index).add_text(&text);
            chunks.push(self.chunk(Message { content: Content::Text(text), ..Message::default() }, None).to_json());
        }
        if let Some(ToolUseDelta { input }) = delta.tool_use {
            let block = self.block(index);
            block.input.get_or_insert_default().push_str(&input);
            if let Some(call) = block.call.filter(|_| !input.is_empty()) {
                chunks.push(self.call(call, None, None, &input));
            }
        }
        if let Some(thought) = delta.reasoning_content {
            self.block(index).add_reasoning(&thought);
            if let Some(text) = thought.text {
                chunks
                    .push(self.chunk(Message { reasoning_content: Some(text), ..Message::default() }, None).to_json());
            }
        }
        if let Some(citation) = delta.citation {
            self.block(index).add_citation(citation);
        }
        for item in delta.tool_result {
            self.block(index).add_result(item);
        }
        if let Some(image) = delta.image {
            self.block(index).add_image(image);
        }
    }

    /// Handles `contentBlockStop`.
    fn stop(&mut self, index: u64, chunks: &mut Vec<Bytes>) {
        // A call without arguments has no deltas of input; an answer that is not streamed has `{}`.
        if let Some(Block { call: Some(call), input: Some(input), .. }) =
            self.blocks.iter().find(|block| block.index == index)
            && input.is_empty()
        {
            chunks.push(self.call(*call, None, None, "{}"));
        }
    }

    /// Handles `messageStop`: emits the finish reason, and content that no delta has a place for.
    fn last(&mut self, event: &Event, rest: &Members, chunks: &mut Vec<Bytes>) -> serde_json::Result<()> {
        self.stopped = true;
        let mut blocks = std::mem::take(&mut self.blocks);
        blocks.sort_by_key(|block| block.index);
        let content: Vec<Box<RawValue>> =
            blocks.into_iter().map(|block| to_raw_value(&block.whole())).collect::<serde_json::Result<_>>()?;
        let content: Vec<&RawValue> = content.iter().map(|block| &**block).collect();
        let whole = message(&content);
        let delta = Message {
            thinking_blocks: whole.thinking_blocks,
            provider_specific_fields: whole.provider_specific_fields,
            ..Message::default()
        };
        let reason = finish_reason(event.stop_reason.as_deref().unwrap_or_default(), !whole.tool_calls.is_empty());
        let mut chunk = self.chunk(delta, Some(reason));
        chunk.provider_specific_fields = specific_fields(NAME, native(rest));
        chunks.push(chunk.to_json());
        Ok(())
    }

    /// Handles `metadata`, the last event: emits usage and metrics.
    fn metadata(&mut self, rest: &Members, chunks: &mut Vec<Bytes>) {
        self.done = self.stopped;
        let counts = rest.0.iter().find(|(name, _)| name == "usage").and_then(|(_, value)| usage(value));
        let native = native(rest);
        chunks.push(
            Completion {
                usage: counts,
                service_tier: service_tier(&native).map(Cow::Owned),
                provider_specific_fields: specific_fields(NAME, native),
                ..self.bare()
            }
            .to_json(),
        );
    }
}

/// Returns an event's members for `provider_specific_fields`: all but the usage and `p`, which is padding.
fn native(event: &Members) -> Map<String, Value> {
    let kept = event.0.iter().filter(|(name, _)| !matches!(&**name, "usage" | "p"));
    kept.map(|(name, value)| (name.to_string(), value_of(value))).collect()
}

impl Block {
    /// Appends text.
    fn add_text(&mut self, text: &str) {
        match self.native.get_mut("citationsContent") {
            Some(cited) => match &mut cited["content"][0]["text"] {
                Value::String(known) => known.push_str(text),
                _ => cited["content"] = json!([{"text": text}]),
            },
            None => append(&mut self.native, "text", text),
        }
    }

    /// Adds a citation. The first one turns a text block into `citationsContent`.
    fn add_citation(&mut self, citation: Value) {
        let text = self.native.remove("text");
        let cited = self.native.entry("citationsContent").or_insert_with(|| json!({"content": [], "citations": []}));
        if let Some(text) = text {
            cited["content"] = json!([{"text": text}]);
        }
        if let Some(citations) = cited["citations"].as_array_mut() {
            citations.push(citation);
        }
    }

    /// Appends reasoning.
    fn add_reasoning(&mut self, thought: &ReasoningDelta) {
        let Some(known) = object(&mut self.native, "reasoningContent") else { return };
        if let Some(data) = &thought.redacted_content {
            let joined = join_base64(known.get("redactedContent").and_then(Value::as_str).unwrap_or_default(), data);
            known.insert("redactedContent".to_owned(), joined.into());
        }
        if thought.text.is_some() || thought.signature.is_some() {
            let Some(text) = object(known, "reasoningText") else { return };
            append(text, "text", thought.text.as_deref().unwrap_or_default());
            if let Some(signature) = &thought.signature {
                append(text, "signature", signature);
            }
        }
    }

    /// Appends to the result of a tool that the provider ran.
    fn add_result(&mut self, item: Value) {
        let Some(result) = object(&mut self.native, "toolResult") else { return };
        let Some(content) = result.entry("content").or_insert_with(|| json!([])).as_array_mut() else { return };
        match (content.last_mut().and_then(|last| last.get_mut("text")), item.get("text").and_then(Value::as_str)) {
            (Some(Value::String(known)), Some(more)) => known.push_str(more),
            _ => content.push(item),
        }
    }

    /// Appends to an image.
    fn add_image(&mut self, delta: Map<String, Value>) {
        let Some(image) = object(&mut self.native, "image") else { return };
        let known =
            image.get("source").and_then(|source| source.get("bytes")).and_then(Value::as_str).map(str::to_owned);
        let more = delta.get("source").and_then(|source| source.get("bytes")).and_then(Value::as_str);
        let joined = known.zip(more).map(|(known, more)| join_base64(&known, more));
        image.extend(delta);
        if let Some(joined) = joined {
            image["source"]["bytes"] = joined.into();
        }
    }

    /// Returns the block in the format of an answer that is not streamed.
    fn whole(mut self) -> Value {
        if let Some(input) = self.input
            && let Some(tool) = object(&mut self.native, "toolUse")
        {
            let input = if input.is_empty() { "{}".to_owned() } else { input };
            // Input that was cut off is no JSON, and is kept as text.
            tool.insert("input".to_owned(), serde_json::from_str(&input).unwrap_or(Value::String(input)));
        }
        Value::Object(self.native)
    }
}

/// Returns the object of this name, creating it if it is missing; `None` if it is no object.
fn object<'a>(parent: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Map<String, Value>> {
    parent.entry(name).or_insert_with(|| json!({})).as_object_mut()
}

/// Appends to the text of this name, creating it if it is missing.
fn append(parent: &mut Map<String, Value>, name: &str, text: &str) {
    match parent.get_mut(name) {
        Some(Value::String(known)) => known.push_str(text),
        _ => drop(parent.insert(name.to_owned(), text.into())),
    }
}

/// Joins fragments of binary data, each of which is encoded by itself: text that ends in padding cannot be extended.
fn join_base64(known: &str, more: &str) -> String {
    match (known.ends_with('='), base64::decode(known), base64::decode(more)) {
        (true, Ok(mut known), Ok(more)) => {
            known.extend(more);
            base64::encode(known)
        }
        _ => format!("{known}{more}"),
    }
}

static NO_CHOICES: LazyLock<memchr::memmem::Finder> = LazyLock::new(|| memchr::memmem::Finder::new(b"\"choices\":[]"));

impl StreamDecoder for BedrockChunks {
    fn event(&mut self, name: &[u8], data: Bytes, chunks: &mut Vec<Bytes>) -> Result<()> {
        let name = std::str::from_utf8(name).unwrap_or_default();
        if name.contains(':') {
            return Err(faults::from_event(name, &data));
        }
        let invalid = |error: serde_json::Error| {
            let message = format!("{NAME} sent a {name} event that cannot be read ({error}): {}", excerpt(&data));
            Error::new(ErrorKind::ApiResponseValidation, message)
        };
        let read = || read::<Event>(&data).map_err(invalid);
        let members = || Members::of(&data).map_err(invalid);
        match name {
            "messageStart" => {
                chunks.push(self.chunk(Message { role: Some("assistant"), ..Message::default() }, None).to_json())
            }
            "contentBlockStart" => {
                let event = read()?;
                let start = event.start.map(|start| lenient::object_of(start.get())).unwrap_or_default();
                self.start(event.content_block_index.unwrap_or(self.blocks.len() as u64), &start, chunks);
            }
            "contentBlockDelta" => {
                let event = read()?;
                if let Some(delta) = event.delta {
                    self.delta(self.block_index(event.content_block_index), delta, chunks);
                }
            }
            "contentBlockStop" => self.stop(self.block_index(read()?.content_block_index), chunks),
            "messageStop" => self.last(&read()?, &members()?, chunks).map_err(invalid)?,
            "metadata" => self.metadata(&members()?, chunks),
            // Types of events that are not known.
            _ => {}
        }
        Ok(())
    }

    fn is_shown(&self, chunk: &[u8]) -> bool {
        // Only the chunk with the usage has no choices.
        self.show_usage || NO_CHOICES.find(chunk).is_none_or(|start| chunk[..start].contains(&b'['))
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn is_complete(&self) -> bool {
        self.stopped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::accumulate::Accumulator;

    /// Returns the completion of a stream of these events, and whether the stream was complete.
    fn accumulated(events: &[(&str, Value)]) -> (Value, bool) {
        let mut decoder = BedrockChunks::new(&Request::default(), 0);
        let mut chunks = Vec::new();
        for (name, event) in events {
            decoder.event(name.as_bytes(), event.to_string().into(), &mut chunks).unwrap();
        }
        let mut accumulator = Accumulator::default();
        chunks.iter().for_each(|chunk| accumulator.push(serde_json::from_slice(chunk).unwrap()));
        (accumulator.finish(), decoder.is_complete())
    }

    fn delta(index: u64, delta: Value) -> (&'static str, Value) {
        ("contentBlockDelta", json!({"contentBlockIndex": index, "delta": delta, "p": "abc"}))
    }

    fn start(index: u64, start: Value) -> (&'static str, Value) {
        ("contentBlockStart", json!({"contentBlockIndex": index, "start": start}))
    }

    #[test]
    fn every_kind_of_block_is_put_together() {
        let citation = json!({"title": "t", "location": {"web": {"url": "u"}}});
        let (whole, complete) = accumulated(&[
            ("messageStart", json!({"role": "assistant"})),
            delta(0, json!({"reasoningContent": {"redactedContent": "YQ=="}})),
            delta(0, json!({"reasoningContent": {"redactedContent": "Yg=="}})),
            delta(1, json!({"text": "So "})),
            delta(1, json!({"citation": citation})),
            delta(1, json!({"text": "it is."})),
            start(2, json!({"toolUse": {"toolUseId": "s", "name": "search", "type": "server_tool_use"}})),
            delta(2, json!({"toolUse": {"input": "{\"q\":1}"}})),
            start(3, json!({"toolResult": {"toolUseId": "s", "status": "success"}})),
            delta(3, json!({"toolResult": [{"text": "fo"}, {"text": "und"}, {"json": {"x": 1}}]})),
            start(4, json!({"image": {"format": "png"}})),
            delta(4, json!({"image": {"source": {"bytes": "YWJj"}}})),
            delta(4, json!({"image": {"source": {"bytes": "ZGVm"}}})),
            start(5, json!({"toolUse": {"toolUseId": "t", "name": "f"}})),
            delta(5, json!({"toolUse": {"input": "{\"cut"}})),
            ("messageStop", json!({"stopReason": "max_tokens", "additionalModelResponseFields": {"a": 1}})),
            ("somethingNew", json!({"x": 1})),
        ]);
        assert!(complete);
        let choice = &whole["choices"][0];
        assert_eq!(choice["message"]["content"], "So it is.");
        assert_eq!(choice["finish_reason"], "length");
        assert_eq!(
            choice["message"]["tool_calls"],
            json!([{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{\"cut"}}])
        );
        assert_eq!(
            choice["message"]["provider_specific_fields"]["bedrock"]["content"],
            json!([
                {"reasoningContent": {"redactedContent": "YWI="}},
                {"citationsContent": {"content": [{"text": "So it is."}], "citations": [citation]}},
                {"toolUse": {"toolUseId": "s", "name": "search", "type": "server_tool_use", "input": {"q": 1}}},
                {"toolResult": {"toolUseId": "s", "status": "success", "content": [{"text": "found"}, {"json": {"x": 1}}]}},
                {"image": {"format": "png", "source": {"bytes": "YWJjZGVm"}}},
                {"toolUse": {"toolUseId": "t", "name": "f", "input": "{\"cut"}},
            ])
        );
        assert_eq!(
            whole["provider_specific_fields"]["bedrock"],
            json!({"stopReason": "max_tokens", "additionalModelResponseFields": {"a": 1}})
        );
    }

    #[test]
    fn plain_text_needs_no_blocks() {
        let (whole, complete) = accumulated(&[
            ("messageStart", json!({"role": "assistant"})),
            delta(0, json!({"text": "a"})),
            ("messageStop", json!({"stopReason": "end_turn"})),
        ]);
        assert_eq!(
            whole["choices"][0],
            json!({"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"})
        );
        assert!(complete);
        assert!(!accumulated(&[delta(0, json!({"text": "a"}))]).1);
    }

    #[test]
    fn the_usage_is_shown_to_whoever_asked() {
        let mut decoder = BedrockChunks::new(&Request::default(), 0);
        let mut chunks = Vec::new();
        decoder.event(b"messageStop", Bytes::from_static(br#"{"stopReason":"end_turn"}"#), &mut chunks).unwrap();
        decoder
            .event(
                b"metadata",
                Bytes::from_static(
                    br#"{"usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3},"metrics":{"latencyMs":1}}"#,
                ),
                &mut chunks,
            )
            .unwrap();
        assert!(decoder.is_done());
        assert_eq!(chunks.iter().map(|chunk| decoder.is_shown(chunk)).collect::<Vec<_>>(), [true, false]);
        decoder.show_usage = true;
        assert!(decoder.is_shown(&chunks[1]));
    }
}
