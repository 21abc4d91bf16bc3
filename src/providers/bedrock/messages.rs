//! OpenAI's messages → Converse's system blocks and turns of content blocks.
//!
//! Blocks: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html>
//! Cache points: <https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html>
//!
//! A content part that is in Converse's format already (`{"cachePoint": …}`, `{"guardContent": …}`) is sent as it is.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::blocks::{Block, CacheControl, GuardContent, Reasoning, ToolResult, ToolUse, cache_point};
use super::parse::{parse, parse_str};
use super::{NAME, media, response};
use crate::error::{Error, Result};
use crate::providers::families::{TakesBack, takes_back};
use crate::providers::tools::arguments;
use crate::types::completion::Content;
use crate::types::members::Members;

/// A conversation in Converse's format.
#[derive(Debug, Default)]
pub(super) struct Conversation<'a> {
    pub system: Vec<Block<'a>>,
    pub turns: Vec<BedrockTurn<'a>>,
    /// True if it ends in tool calls that were made without thinking (by another model, say), and their results. Claude
    /// models with a thinking budget reject such a conversation while thinking is on.
    pub ends_in_thoughtless_calls: bool,
}

/// Consecutive messages of one role: Converse requires alternating roles.
#[derive(Debug, Serialize)]
pub(super) struct BedrockTurn<'a> {
    role: &'static str,
    content: Vec<Block<'a>>,
}

/// A message in OpenAI's format.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<Text<'a>>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    #[serde(borrow, default)]
    tool_call_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    thinking_blocks: Option<Vec<Part<'a>>>,
    #[serde(borrow, default)]
    provider_specific_fields: Option<&'a RawValue>,
    #[serde(borrow, default)]
    cache_control: Option<CacheControl<'a>>,
    /// Status of a tool's result in Converse's format: `success` or `error`.
    #[serde(borrow, default)]
    status: Option<Cow<'a, str>>,
    /// Status of a tool's result in Anthropic's format.
    #[serde(default)]
    is_error: Option<bool>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    function: Function<'a>,
    #[serde(borrow, default)]
    cache_control: Option<CacheControl<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    /// A string in OpenAI's format; some callers pass the object itself.
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

/// A content part of any type.
#[derive(Deserialize)]
pub(super) struct Part<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<Cow<'a, str>>,
    /// A text; in Mistral's format, a list of parts.
    #[serde(borrow, default)]
    thinking: Option<&'a RawValue>,
    #[serde(borrow, default)]
    signature: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    image_url: Option<&'a RawValue>,
    #[serde(borrow, default)]
    video_url: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input_audio: Option<&'a RawValue>,
    #[serde(borrow, default)]
    file: Option<&'a RawValue>,
    #[serde(borrow, default)]
    cache_control: Option<CacheControl<'a>>,
}

/// Converts `messages`, a JSON list, for this model.
///
/// # Errors
/// `InvalidArgument`, with the position of the message, for one that cannot be converted.
pub(super) fn conversation<'a>(messages: &'a [u8], model: &str) -> Result<Conversation<'a>> {
    let messages: Vec<&RawValue> = parse("messages", messages)?;
    let mut conversation = Conversation::default();
    let mut names = media::DocumentNames::default();
    for (index, raw) in messages.iter().enumerate() {
        let at = format!("messages[{index}]");
        let message: Message = parse_str(&at, raw.get())?;
        let mut reader = Reader { at: &at, names: &mut names, takes_back: takes_back(model) };
        match &*message.role {
            "system" | "developer" => {
                reader.content(message.content, message.cache_control.as_ref(), &mut conversation.system)?
            }
            "user" => {
                conversation.ends_in_thoughtless_calls = false;
                let content = conversation.turn("user");
                reader.content(message.content, message.cache_control.as_ref(), content)?;
            }
            "assistant" => {
                let content = conversation.turn("assistant");
                let before = content.len();
                reader.assistant(message, content)?;
                let blocks = &content[before..];
                conversation.ends_in_thoughtless_calls = blocks.iter().any(|block| block.is("toolUse"))
                    && !blocks.iter().any(|block| block.is("reasoningContent"));
            }
            "tool" => {
                let content = conversation.turn("user");
                reader.tool_result(message, content)?;
            }
            other => {
                return Err(Error::argument(format!(
                    "{at}: role {other:?} has no place on {NAME}: system, developer, user, assistant or tool would be right"
                )));
            }
        }
    }
    // Messages of empty text alone give no blocks, and Converse rejects a turn without content.
    conversation.turns.retain(|turn| !turn.content.is_empty());
    let begins_with_user = conversation.turns.first().map(|turn| turn.role == "user");
    if !begins_with_user.unwrap_or(conversation.system.is_empty()) {
        conversation.turns.insert(0, BedrockTurn { role: "user", content: vec![Block::Text(FIRST_USER_TEXT.into())] });
    }
    for turn in &mut conversation.turns {
        let has = |name: &str| turn.content.iter().any(|block| block.is(name));
        if has("document") && !has("text") {
            turn.content.insert(0, Block::Text(DOCUMENT_TEXT.into()));
        }
    }
    Ok(conversation)
}

/// Text of the user message that is put before a conversation that begins with an answer or is empty but for
/// instructions: `A conversation must start with a user message` (<https://github.com/langgenius/dify/issues/12340>,
/// <https://github.com/pydantic/pydantic-ai/issues/4495>), and its text must not be blank.
const FIRST_USER_TEXT: &str = ".";

/// Text that is added where documents are sent without any: Converse requires a text in each turn with a document.
const DOCUMENT_TEXT: &str = "Attached.";

impl<'a> Conversation<'a> {
    /// Returns the content of the last turn if it is of this role, else of a new one.
    fn turn(&mut self, role: &'static str) -> &mut Vec<Block<'a>> {
        if self.turns.last().is_none_or(|turn| turn.role != role) {
            self.turns.push(BedrockTurn { role, content: Vec::new() });
        }
        &mut self.turns.last_mut().expect("one was pushed").content
    }

    /// Returns true if tools were called: Converse then requires `toolConfig`, even if no more calls are wanted.
    pub(super) fn has_tool_blocks(&self) -> bool {
        let is_tool = |block: &Block| block.is("toolUse") || block.is("toolResult");
        self.turns.iter().any(|turn| turn.content.iter().any(is_tool))
    }
}

/// Converter of one message.
struct Reader<'r> {
    /// Position of the message, for errors.
    at: &'r str,
    names: &'r mut media::DocumentNames,
    takes_back: TakesBack,
}

impl Reader<'_> {
    /// Converts a message's content, text or parts; `mark` adds a cache point.
    fn content<'a>(
        &mut self,
        content: Option<&'a RawValue>,
        mark: Option<&CacheControl<'a>>,
        blocks: &mut Vec<Block<'a>>,
    ) -> Result<()> {
        let before = blocks.len();
        match content.map(RawValue::get) {
            None | Some("null") => {}
            Some(text) if text.starts_with('"') => push_text(parse_str(self.at, text)?, blocks),
            Some(list) => {
                let parts: Vec<&RawValue> = parse_str(self.at, list)?;
                parts.into_iter().try_for_each(|part| self.part(part, blocks))?;
            }
        }
        if let Some(mark) = mark.filter(|_| blocks.len() > before) {
            blocks.push(Block::CachePoint(cache_point(mark)));
        }
        Ok(())
    }

    /// Converts a content part.
    fn part<'a>(&mut self, raw: &'a RawValue, blocks: &mut Vec<Block<'a>>) -> Result<()> {
        if raw.get().starts_with('"') {
            push_text(parse_str(self.at, raw.get())?, blocks);
            return Ok(());
        }
        let mut part: Part = parse_str(self.at, raw.get())?;
        let mark = part.cache_control.take();
        let lacks = |member: &str| Error::argument(format!("{}: a content part lacks its {member}", self.at));
        match part.kind.as_deref() {
            Some("text" | "input_text" | "output_text") => {
                let text = part.text.ok_or_else(|| lacks("text"))?;
                push_text(parse_str(self.at, text.get())?, blocks);
            }
            Some("refusal") => push_text(Text(part.refusal.ok_or_else(|| lacks("refusal"))?), blocks),
            Some("guarded_text") => {
                let text = part.text.ok_or_else(|| lacks("text"))?;
                blocks.push(Block::GuardContent(GuardContent::Text { text: parse_str(self.at, text.get())? }));
            }
            Some("thinking" | "redacted_thinking") => self.push_reasoning(part, blocks),
            // Reasoning in another provider's format.
            Some("reasoning") => {}
            Some("image_url") => {
                blocks.push(self.names.address(part.image_url.ok_or_else(|| lacks("image_url"))?, self.at)?)
            }
            Some("video_url") => {
                blocks.push(self.names.address(part.video_url.ok_or_else(|| lacks("video_url"))?, self.at)?)
            }
            Some("input_audio") => {
                blocks.push(media::audio(part.input_audio.ok_or_else(|| lacks("input_audio"))?, self.at)?)
            }
            Some("file") => blocks.push(self.names.file(part.file.ok_or_else(|| lacks("file"))?, self.at)?),
            Some(other) => {
                let known = "text, refusal, image_url, video_url, input_audio, file, guarded_text, or a Converse block such as {\"cachePoint\": …}";
                return Err(Error::argument(format!(
                    "{}: a content part of type {other:?} has no place on {NAME}: {known} would be right",
                    self.at
                )));
            }
            None => blocks.push(Block::Native(raw)),
        }
        if let Some(mark) = mark {
            blocks.push(Block::CachePoint(cache_point(&mark)));
        }
        Ok(())
    }

    /// Converts an assistant message: its native blocks if it has some and its text and calls still match them, else
    /// OpenAI's members.
    fn assistant<'a>(&mut self, message: Message<'a>, blocks: &mut Vec<Block<'a>>) -> Result<()> {
        let calls = message.tool_calls.unwrap_or_default();
        // The input of a call that was cut off is text, which Converse rejects.
        if let Some(native) = native_content(message.provider_specific_fields)
            && native.iter().all(|block| has_object_input(block))
            && matches_native(&native, message.content, &calls)
        {
            // Answers may hold blank text blocks, which Converse rejects in requests.
            let native = native.into_iter().filter(|block| !is_blank_text(block) && !self.is_refused_reasoning(block));
            blocks.extend(native.map(Block::Native));
            blocks.extend(message.cache_control.as_ref().map(cache_point).map(Block::CachePoint));
            return Ok(());
        }
        message.thinking_blocks.into_iter().flatten().for_each(|part| self.push_reasoning(part, blocks));
        let before = blocks.len();
        self.content(message.content, None, blocks)?;
        // The refusal of another provider's model takes the place of its text.
        if let Some(refusal) = message.refusal.filter(|_| blocks.len() == before) {
            push_text(refusal, blocks);
        }
        for call in calls {
            let input = arguments::some_object(call.function.arguments.map(RawValue::get));
            let id = call.id.ok_or_else(|| Error::argument(format!("{}: a tool call lacks its id", self.at)))?;
            blocks.push(Block::ToolUse(ToolUse { tool_use_id: id, name: call.function.name, input }));
            blocks.extend(call.cache_control.as_ref().map(cache_point).map(Block::CachePoint));
        }
        blocks.extend(message.cache_control.as_ref().map(cache_point).map(Block::CachePoint));
        Ok(())
    }

    /// Converts a tool message.
    fn tool_result<'a>(&mut self, message: Message<'a>, blocks: &mut Vec<Block<'a>>) -> Result<()> {
        let Some(tool_use_id) = message.tool_call_id else {
            return Err(Error::argument(format!("{}: a tool message lacks its tool_call_id", self.at)));
        };
        let mut content = Vec::new();
        self.content(message.content, None, &mut content)?;
        // A cache point belongs to the turn, not to the result.
        let (points, content): (Vec<_>, Vec<_>) =
            content.into_iter().partition(|block| matches!(block, Block::CachePoint(_)));
        let status = message.status.or_else(|| message.is_error.filter(|failed| *failed).map(|_| "error".into()));
        blocks.push(Block::ToolResult(ToolResult { tool_use_id, content, status }));
        blocks.extend(points);
        blocks.extend(message.cache_control.as_ref().map(cache_point).map(Block::CachePoint));
        Ok(())
    }

    /// Converts reasoning in the format of `thinking_blocks`, for models that accept it. A block without a signature is
    /// left out, since any model may have written it.
    fn push_reasoning<'a>(&self, part: Part<'a>, blocks: &mut Vec<Block<'a>>) {
        if self.takes_back != TakesBack::Signed {
            return;
        }
        let text = part.thinking.and_then(|text| serde_json::from_str::<Text>(text.get()).ok());
        match (text, part.signature.filter(|signature| !signature.is_empty()), part.data) {
            (Some(Text(text)), Some(signature), _) => {
                blocks.push(Block::ReasoningContent(Reasoning::ReasoningText { text, signature }))
            }
            (None, _, Some(data)) => blocks.push(Block::ReasoningContent(Reasoning::RedactedContent(data))),
            _ => {}
        }
    }

    /// Returns true if a block of an earlier answer is reasoning that the model would reject.
    fn is_refused_reasoning(&self, block: &RawValue) -> bool {
        let Ok(block) = Members::of(block.get().as_bytes()) else { return false };
        let Some(reasoning) = block.some("reasoningContent") else { return false };
        let reasoning = Members::of(reasoning.as_bytes()).unwrap_or_default();
        let text = reasoning.some("reasoningText").and_then(|text| Members::of(text.as_bytes()).ok());
        let has_signature =
            text.as_ref().is_some_and(|text| text.string("signature").is_some_and(|signature| !signature.is_empty()));
        match self.takes_back {
            TakesBack::Signed => text.is_some() && !has_signature,
            TakesBack::Unsigned => text.is_none_or(|text| text.some("signature").is_some()),
            TakesBack::Nothing => true,
        }
    }
}

/// Appends a text unless it is blank. Converse rejects blank text blocks, and so do the models behind it:
/// <https://github.com/aws/bedrock-agentcore-sdk-python/pull/185>
fn push_text<'a>(text: Text<'a>, blocks: &mut Vec<Block<'a>>) {
    if !text.0.trim().is_empty() {
        blocks.push(Block::Text(text.0));
    }
}

/// A string, borrowed from the JSON if it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Returns the native blocks that the message was converted from, if Bedrock made it.
fn native_content(specific: Option<&RawValue>) -> Option<Vec<&RawValue>> {
    let fields = Members::of(specific?.get().as_bytes()).ok()?;
    let native = Members::of(fields.some(NAME)?.as_bytes()).ok()?;
    serde_json::from_str(native.some("content")?).ok()
}

/// Returns true if the message's text and calls are still those of its native blocks.
fn matches_native(native: &[&RawValue], content: Option<&RawValue>, calls: &[ToolCall]) -> bool {
    let original = response::message(native);
    let original_text = match &original.content {
        Content::Text(text) => text,
        Content::Null | Content::Absent => "",
    };
    let same_call = |(original, call): (&crate::types::completion::ToolCall, &ToolCall)| {
        original.id == call.id
            && original.function.name.as_ref() == Some(&call.function.name)
            && same_json(&original.function.arguments, &arguments::text(call.function.arguments.map(RawValue::get)))
    };
    text_of(content).is_some_and(|text| text == original_text)
        && original.tool_calls.len() == calls.len()
        && original.tool_calls.iter().zip(calls).all(same_call)
}

/// Joins a message's text, a string or text parts; `None` if there are parts of other types.
fn text_of(content: Option<&RawValue>) -> Option<String> {
    match content.map(RawValue::get) {
        None | Some("null") => Some(String::new()),
        Some(text) if text.starts_with('"') => serde_json::from_str(text).ok(),
        Some(list) => {
            let parts: Vec<Members> = serde_json::from_str(list).ok()?;
            parts
                .iter()
                .map(|part| part.string("text").filter(|_| part.string("type").as_deref() == Some("text")))
                .collect()
        }
    }
}

/// Returns true if two texts are the same JSON value.
fn same_json(one: &str, other: &str) -> bool {
    let value = |json: &str| serde_json::from_str::<Value>(json).ok();
    // The input of a call that was cut off is a JSON string in the block and its text in the message.
    one == other || value(one).is_some_and(|one| Some(&one) == value(other).as_ref() || one.as_str() == Some(other))
}

/// Returns true unless the block is a call whose input is no object.
fn has_object_input(block: &RawValue) -> bool {
    let block = Members::of(block.get().as_bytes()).unwrap_or_default();
    let call = block.some("toolUse").and_then(|call| Members::of(call.as_bytes()).ok());
    call.is_none_or(|call| call.get("input").is_some_and(|input| input.starts_with('{')))
}

/// Returns true if the block is a blank text.
fn is_blank_text(block: &RawValue) -> bool {
    let text = Members::of(block.get().as_bytes())
        .ok()
        .filter(|block| block.0.len() == 1)
        .and_then(|block| block.string("text"));
    text.is_some_and(|text| text.trim().is_empty())
}
