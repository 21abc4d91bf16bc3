//! OpenAI's messages → Converse's system blocks and turns of content blocks.
//!
//! Blocks: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html>
//! Cache points: <https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html>
//!
//! A content part that is a Converse block already (`{"cachePoint": …}`, `{"guardContent": …}`) is sent as it is.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{NAME, media, response};
use crate::error::{Error, Result};
use crate::providers::families::{TakesBack, takes_back};
use crate::providers::tools::arguments;
use crate::types::completion::Content;
use crate::types::members::Members;

/// A conversation as Converse has it.
#[derive(Debug, Default)]
pub(super) struct Conversation<'a> {
    pub system: Vec<Block<'a>>,
    pub turns: Vec<BedrockTurn<'a>>,
    /// Whether it ends in tool calls that were made without thinking (by another model, say), and their results: a Claude
    /// with a thinking budget refuses to go on from there while thinking is on.
    pub ends_in_thoughtless_calls: bool,
}

/// What one side said, in one piece: Converse wants the sides to take turns.
#[derive(Debug, Serialize)]
pub(super) struct BedrockTurn<'a> {
    role: &'static str,
    content: Vec<Block<'a>>,
}

/// A content block.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Block<'a> {
    Text(Cow<'a, str>),
    CachePoint(CachePoint<'a>),
    ToolUse(ToolUse<'a>),
    ToolResult(ToolResult<'a>),
    ReasoningContent(Reasoning<'a>),
    Image(media::Media<'a>),
    Video(media::Media<'a>),
    Audio(media::Media<'a>),
    Document(media::Document<'a>),
    GuardContent(GuardContent<'a>),
    /// A block in Converse's own words.
    #[serde(untagged)]
    Native(&'a RawValue),
}

#[derive(Debug, Serialize)]
pub(super) struct CachePoint<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<Cow<'a, str>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolUse<'a> {
    tool_use_id: Cow<'a, str>,
    name: Cow<'a, str>,
    input: Box<RawValue>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolResult<'a> {
    tool_use_id: Cow<'a, str>,
    content: Vec<Block<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Cow<'a, str>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Reasoning<'a> {
    ReasoningText { text: Cow<'a, str>, signature: Cow<'a, str> },
    RedactedContent(Cow<'a, str>),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum GuardContent<'a> {
    Text { text: Cow<'a, str> },
}

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
    /// Of a tool's result: `success` or `error`, as Converse has it.
    #[serde(borrow, default)]
    status: Option<Cow<'a, str>>,
    /// Of a tool's result, as Anthropic has it.
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
    /// OpenAI's string, or the object itself.
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

/// Anthropic's mark for what is to be cached, which other clients take on every provider.
#[derive(Deserialize)]
pub(super) struct CacheControl<'a> {
    #[serde(borrow, default)]
    ttl: Option<Cow<'a, str>>,
}

/// A content part; which members are there depends on its type.
#[derive(Deserialize)]
pub(super) struct Part<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<Cow<'a, str>>,
    /// A text; a list of parts with Mistral.
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

/// The conversation of `messages`, which is a JSON list, as this model takes it.
pub(super) fn conversation<'a>(messages: &'a [u8], model: &str) -> Result<Conversation<'a>> {
    let messages: Vec<&RawValue> =
        serde_json::from_slice(messages).map_err(|error| Error::argument(format!("messages: {error}")))?;
    let mut conversation = Conversation::default();
    let mut names = media::Names::default();
    for (place, raw) in messages.iter().enumerate() {
        let at = format!("messages[{place}]");
        let message: Message =
            serde_json::from_str(raw.get()).map_err(|error| Error::argument(format!("{at}: {error}")))?;
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
                let said = &content[before..];
                conversation.ends_in_thoughtless_calls = said.iter().any(|block| block.is("toolUse"))
                    && !said.iter().any(|block| block.is("reasoningContent"));
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
    // A message of nothing but empty text says nothing, and Converse refuses a turn without content.
    conversation.turns.retain(|turn| !turn.content.is_empty());
    let begins_with_user = conversation.turns.first().map(|turn| turn.role == "user");
    if !begins_with_user.unwrap_or(conversation.system.is_empty()) {
        conversation.turns.insert(0, BedrockTurn { role: "user", content: vec![Block::Text(FIRST_WORD.into())] });
    }
    for turn in &mut conversation.turns {
        let has = |name: &str| turn.content.iter().any(|block| block.is(name));
        if has("document") && !has("text") {
            turn.content.insert(0, Block::Text(BESIDE_DOCUMENTS.into()));
        }
    }
    Ok(conversation)
}

/// What the user says in a conversation that begins with an answer, or that is nothing but instructions: `A conversation
/// must start with a user message` (<https://github.com/langgenius/dify/issues/12340>,
/// <https://github.com/pydantic/pydantic-ai/issues/4495>), and its text must not be blank.
const FIRST_WORD: &str = ".";

/// What stands beside documents that are sent without a word: Converse wants a text in each turn that has one.
const BESIDE_DOCUMENTS: &str = "Attached.";

impl Block<'_> {
    /// Whether this is the block of that name in Converse's words.
    fn is(&self, name: &str) -> bool {
        match self {
            Self::Text(_) => name == "text",
            Self::CachePoint(_) => name == "cachePoint",
            Self::ToolUse(_) => name == "toolUse",
            Self::ToolResult(_) => name == "toolResult",
            Self::ReasoningContent(_) => name == "reasoningContent",
            Self::Image(_) => name == "image",
            Self::Video(_) => name == "video",
            Self::Audio(_) => name == "audio",
            Self::Document(_) => name == "document",
            Self::GuardContent(_) => name == "guardContent",
            Self::Native(raw) => is_native(raw, name),
        }
    }
}

/// Whether a block in Converse's own words is the one of that name.
fn is_native(block: &RawValue, name: &str) -> bool {
    Members::of(block.get().as_bytes()).is_ok_and(|block| block.some(name).is_some())
}

impl<'a> Conversation<'a> {
    /// The content of the turn that is this side's: the last one, or a new one.
    fn turn(&mut self, role: &'static str) -> &mut Vec<Block<'a>> {
        if self.turns.last().is_none_or(|turn| turn.role != role) {
            self.turns.push(BedrockTurn { role, content: Vec::new() });
        }
        &mut self.turns.last_mut().expect("one is there now").content
    }

    /// Whether tools were called: Converse then wants to know the tools, whether or not more may be called.
    pub(super) fn has_tool_blocks(&self) -> bool {
        let is_tool = |block: &Block| block.is("toolUse") || block.is("toolResult");
        self.turns.iter().any(|turn| turn.content.iter().any(is_tool))
    }
}

pub(super) fn cache_point<'a>(mark: &CacheControl<'a>) -> CachePoint<'a> {
    CachePoint { kind: "default", ttl: mark.ttl.clone() }
}

/// Reads the members of one message.
struct Reader<'r> {
    /// Where the message stands, for errors.
    at: &'r str,
    names: &'r mut media::Names,
    takes_back: TakesBack,
}

impl Reader<'_> {
    /// A message's content, text or parts, and a cache point if it is marked.
    fn content<'a>(
        &mut self,
        content: Option<&'a RawValue>,
        mark: Option<&CacheControl<'a>>,
        blocks: &mut Vec<Block<'a>>,
    ) -> Result<()> {
        let before = blocks.len();
        match content.map(RawValue::get) {
            None | Some("null") => {}
            Some(text) if text.starts_with('"') => push_text(self.parse(text)?, blocks),
            Some(list) => {
                let parts: Vec<&RawValue> = self.parse(list)?;
                parts.into_iter().try_for_each(|part| self.part(part, blocks))?;
            }
        }
        if let Some(mark) = mark.filter(|_| blocks.len() > before) {
            blocks.push(Block::CachePoint(cache_point(mark)));
        }
        Ok(())
    }

    fn part<'a>(&mut self, raw: &'a RawValue, blocks: &mut Vec<Block<'a>>) -> Result<()> {
        if raw.get().starts_with('"') {
            push_text(self.parse(raw.get())?, blocks);
            return Ok(());
        }
        let mut part: Part = self.parse(raw.get())?;
        let mark = part.cache_control.take();
        let lacks = |member: &str| Error::argument(format!("{}: a content part lacks its {member}", self.at));
        match part.kind.as_deref() {
            Some("text" | "input_text" | "output_text") => {
                let text = part.text.ok_or_else(|| lacks("text"))?;
                push_text(self.parse(text.get())?, blocks);
            }
            Some("refusal") => push_text(Text(part.refusal.ok_or_else(|| lacks("refusal"))?), blocks),
            Some("guarded_text") => {
                let text = part.text.ok_or_else(|| lacks("text"))?;
                blocks.push(Block::GuardContent(GuardContent::Text { text: self.parse(text.get())? }));
            }
            Some("thinking" | "redacted_thinking") => self.push_reasoning(part, blocks),
            // Other providers' form of the same.
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

    /// What the model said: its own blocks if they are there and still say what the message says, else OpenAI's members.
    fn assistant<'a>(&mut self, message: Message<'a>, blocks: &mut Vec<Block<'a>>) -> Result<()> {
        let calls = message.tool_calls.unwrap_or_default();
        // A call whose input was cut off has text for an input, which Converse does not take back.
        if let Some(native) = native_content(message.provider_specific_fields)
            && native.iter().all(|block| has_object_input(block))
            && says_the_same(&native, message.content, &calls)
        {
            // Answers may hold blank text blocks, and Converse refuses to take them back.
            let native = native.into_iter().filter(|block| !is_blank_text(block) && !self.is_refused_reasoning(block));
            blocks.extend(native.map(Block::Native));
            blocks.extend(message.cache_control.as_ref().map(cache_point).map(Block::CachePoint));
            return Ok(());
        }
        message.thinking_blocks.into_iter().flatten().for_each(|part| self.push_reasoning(part, blocks));
        let before = blocks.len();
        self.content(message.content, None, blocks)?;
        // What another provider's model refused with is what it said instead.
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

    fn tool_result<'a>(&mut self, message: Message<'a>, blocks: &mut Vec<Block<'a>>) -> Result<()> {
        let Some(tool_use_id) = message.tool_call_id else {
            return Err(Error::argument(format!("{}: a tool message lacks its tool_call_id", self.at)));
        };
        let mut content = Vec::new();
        self.content(message.content, None, &mut content)?;
        // A cache point is a block of the turn, not of the result.
        let (points, content): (Vec<_>, Vec<_>) =
            content.into_iter().partition(|block| matches!(block, Block::CachePoint(_)));
        let status = message.status.or_else(|| message.is_error.filter(|failed| *failed).map(|_| "error".into()));
        blocks.push(Block::ToolResult(ToolResult { tool_use_id, content, status }));
        blocks.extend(points);
        blocks.extend(message.cache_control.as_ref().map(cache_point).map(Block::CachePoint));
        Ok(())
    }

    /// Reasoning in the form of `thinking_blocks`, if it is one that the model takes back. What has no signature there may
    /// be anybody's, and goes to nobody.
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

    /// Whether a block of an earlier answer is reasoning that the model would refuse.
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

    fn parse<'a, T: Deserialize<'a>>(&self, json: &'a str) -> Result<T> {
        serde_json::from_str(json).map_err(|error| Error::argument(format!("{}: {error}", self.at)))
    }
}

/// Text that says something. Converse refuses blank text blocks, and so do the models behind it:
/// <https://github.com/aws/bedrock-agentcore-sdk-python/pull/185>
fn push_text<'a>(text: Text<'a>, blocks: &mut Vec<Block<'a>>) {
    if !text.0.trim().is_empty() {
        blocks.push(Block::Text(text.0));
    }
}

/// Text that is borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The blocks that the message was made of, if Bedrock made it.
fn native_content(specific: Option<&RawValue>) -> Option<Vec<&RawValue>> {
    let fields = Members::of(specific?.get().as_bytes()).ok()?;
    let native = Members::of(fields.some(NAME)?.as_bytes()).ok()?;
    serde_json::from_str(native.some("content")?).ok()
}

/// Whether the caller left the message's text and calls as the blocks have them.
fn says_the_same(native: &[&RawValue], content: Option<&RawValue>, calls: &[ToolCall]) -> bool {
    let made = response::message(native);
    let made_text = match &made.content {
        Content::Text(text) => text,
        Content::Null | Content::Absent => "",
    };
    let same_call = |(made, call): (&crate::types::completion::ToolCall, &ToolCall)| {
        made.id == call.id
            && made.function.name.as_ref() == Some(&call.function.name)
            && same_json(&made.function.arguments, &arguments::text(call.function.arguments.map(RawValue::get)))
    };
    text_of(content).is_some_and(|text| text == made_text)
        && made.tool_calls.len() == calls.len()
        && made.tool_calls.iter().zip(calls).all(same_call)
}

/// A message's text, of one string or of text parts; `None` where other parts are among them.
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

fn same_json(one: &str, other: &str) -> bool {
    let value = |json: &str| serde_json::from_str::<Value>(json).ok();
    // A call's input that was cut off is text in the block and the same text in the message.
    one == other || value(one).is_some_and(|one| Some(&one) == value(other).as_ref() || one.as_str() == Some(other))
}

/// Whether a block is no call, or one with an object for its input.
fn has_object_input(block: &RawValue) -> bool {
    let block = Members::of(block.get().as_bytes()).unwrap_or_default();
    let call = block.some("toolUse").and_then(|call| Members::of(call.as_bytes()).ok());
    call.is_none_or(|call| call.get("input").is_some_and(|input| input.starts_with('{')))
}

fn is_blank_text(block: &RawValue) -> bool {
    let text = Members::of(block.get().as_bytes())
        .ok()
        .filter(|block| block.0.len() == 1)
        .and_then(|block| block.string("text"));
    text.is_some_and(|text| text.trim().is_empty())
}
