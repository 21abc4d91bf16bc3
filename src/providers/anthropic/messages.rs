//! OpenAI's `messages` → Anthropic's `system` and `messages`.
//!
//! <https://platform.claude.com/docs/en/build-with-claude/working-with-messages> (turns and content blocks),
//! <https://platform.claude.com/docs/en/agents-and-tools/tool-use/handle-tool-calls> (tool results),
//! <https://platform.claude.com/docs/en/build-with-claude/extended-thinking#preserving-thinking-blocks>.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::families::claude::Model;
use super::super::families::{TakesBack, takes_back};
use super::content::{block, is_blank, marked, parts, text_block};
use crate::error::{Error, Result};
use crate::types::members::{Members, Text, read};
use crate::types::object::quoted;

/// A conversation in Anthropic's format, as JSON.
pub(super) struct Conversation {
    /// The value of `system`, if there is any.
    pub system: Option<String>,
    /// The value of `messages`.
    pub messages: String,
    /// True if it ends in tool calls that were made without thinking (by another model, say), and their results. Models
    /// with a thinking budget reject such a conversation while thinking is on.
    pub ends_in_thoughtless_calls: bool,
}

/// A message in OpenAI's format.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Text<'a>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<Text<'a>>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    #[serde(borrow)]
    tool_call_id: Option<Text<'a>>,
    is_error: Option<bool>,
    #[serde(borrow)]
    cache_control: Option<&'a RawValue>,
    #[serde(borrow)]
    thinking_blocks: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    provider_specific_fields: Option<&'a RawValue>,
    /// Anthropic's own member, as the next one, on system messages in the middle of a conversation.
    #[serde(borrow)]
    clear_at: Option<&'a RawValue>,
    #[serde(borrow)]
    output_config: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    function: Option<Function<'a>>,
    #[serde(borrow)]
    cache_control: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

/// Converts `messages` for this model; `system`, the caller's own parameter of that name, comes first.
///
/// # Errors
/// `InvalidArgument`, with the position of the message, for one that cannot be converted.
pub(super) fn conversation(messages: &[u8], system: Option<&str>, model: &str) -> Result<Conversation> {
    let list: Vec<&RawValue> = read(messages).map_err(|_| Error::argument("messages is no list of messages"))?;
    let mut instructions = Instructions::default();
    if let Some(system) = system {
        instructions.add(system, None)?;
    }
    let mut turns = AnthropicTurns { keeps: Keeps::of(model), ..AnthropicTurns::default() };
    let mut thoughtless = false;
    for (index, raw) in list.iter().enumerate() {
        let at = |error: Box<Error>| Error::argument(format!("messages[{index}]: {}", error.message));
        let message: Message =
            serde_json::from_str(raw.get()).map_err(|error| at(Error::argument(format!("is no message: {error}"))))?;
        match &*message.role.0 {
            "system" | "developer" if stays_in_place(&message) => turns.whole(raw.get()),
            "system" | "developer" => {
                if let Some(content) = message.content {
                    instructions.add(content.get(), message.cache_control).map_err(at)?;
                }
            }
            "user" => {
                turns.content("user", &message).map_err(at)?;
                thoughtless = false;
            }
            "assistant" => thoughtless = turns.assistant(&message).map_err(at)?,
            "tool" => turns.tool_result(&message).map_err(at)?,
            other => {
                return Err(at(Error::argument(format!(
                    "role {other:?} is not one that anthropic has: system, developer, user, assistant or tool would be right"
                ))));
            }
        }
    }
    Ok(Conversation { system: instructions.finish(), messages: turns.finish(), ends_in_thoughtless_calls: thoughtless })
}

/// Returns true for a system message in Anthropic's own format that takes effect at its position:
/// <https://platform.claude.com/docs/en/build-with-claude/mid-conversation-system-messages>.
fn stays_in_place(message: &Message) -> bool {
    let has_native_block = || {
        let list = message.content.filter(|content| content.get().starts_with('['));
        let blocks: Vec<Members> = list.and_then(|list| serde_json::from_str(list.get()).ok()).unwrap_or_default();
        blocks.iter().any(|block| block.string("type").is_some_and(|kind| kind != "text"))
    };
    message.role.0 == "system" && (message.clear_at.is_some() || message.output_config.is_some() || has_native_block())
}

/// The blocks of `system`.
#[derive(Default)]
struct Instructions<'a> {
    blocks: Vec<Cow<'a, str>>,
    /// The text, if it is the only one and needs no block.
    lone: Option<&'a str>,
}

impl<'a> Instructions<'a> {
    fn add(&mut self, content: &'a str, cache_control: Option<&RawValue>) -> Result<()> {
        self.lone = (self.blocks.is_empty() && cache_control.is_none() && content.starts_with('"')).then_some(content);
        let before = self.blocks.len();
        for part in parts(content)? {
            self.blocks.extend(block(part)?);
        }
        if let Some(mark) = cache_control
            && self.blocks.len() > before
            && let Some(last) = self.blocks.last_mut()
        {
            *last = marked(last, mark).into();
        }
        Ok(())
    }

    fn finish(self) -> Option<String> {
        match self.lone.filter(|_| self.blocks.len() == 1) {
            _ if self.blocks.is_empty() => None,
            Some(text) => Some(text.to_owned()),
            None => Some(format!("[{}]", self.blocks.join(","))),
        }
    }
}

/// The thinking in a history that a model is sent.
#[derive(Default, Clone, Copy, PartialEq)]
enum Keeps {
    /// Thinking with a signature: Claude rejects any other.
    #[default]
    Signed,
    /// Native thinking unchanged, and other thinking if it is signed: other vendors on this wire do not sign all.
    Own,
    /// None.
    Nothing,
}

impl Keeps {
    fn of(model: &str) -> Self {
        match takes_back(model) {
            _ if !Model::of(model).is_claude() => Self::Own,
            TakesBack::Nothing => Self::Nothing,
            TakesBack::Signed | TakesBack::Unsigned => Self::Signed,
        }
    }

    /// Returns true if a part of an answer is thinking that the model would reject.
    fn refuses(self, part: &str) -> bool {
        let Ok(members) = Members::of(part.as_bytes()) else { return false };
        match (members.string("type").as_deref(), self) {
            (Some("reasoning"), _) => true,
            (Some("thinking" | "redacted_thinking"), Self::Signed) => !is_signed(&members),
            (Some("thinking" | "redacted_thinking"), Self::Nothing) => true,
            _ => false,
        }
    }
}

/// Writer of `messages`; consecutive messages of one role become one turn.
#[derive(Default)]
struct AnthropicTurns<'a> {
    keeps: Keeps,
    json: String,
    role: Option<&'static str>,
    /// The text of the current turn, if it has nothing else so far.
    lone: Option<&'a str>,
}

impl<'a> AnthropicTurns<'a> {
    /// Converts an assistant message; returns true if it has tool calls without thinking.
    fn assistant(&mut self, message: &Message<'a>) -> Result<bool> {
        let calls = message.tool_calls.as_deref().unwrap_or_default();
        let native = native_blocks(message).map(|mut native| {
            native.retain(|block| !self.keeps.refuses(block.json));
            native
        });
        let thinking = match &native {
            Some(native) if matches_native(native, message, calls) => {
                native
                    .iter()
                    .filter(|block| !is_empty_text(&block.members))
                    .for_each(|block| self.block("assistant", block.json));
                self.mark(message.cache_control);
                return Ok(!calls.is_empty() && !native.iter().any(Block::is_thinking));
            }
            // The caller has changed the message. Thinking at its start was signed before the rest was written, so its
            // signature is still valid; later thinking belongs to content that is gone.
            Some(native) => native.iter().take_while(|block| block.is_thinking()).map(|block| block.json).collect(),
            None if self.keeps == Keeps::Nothing => Vec::new(),
            None => signed(message.thinking_blocks.as_deref().unwrap_or_default()),
        };
        thinking.iter().for_each(|block| self.block("assistant", block));
        self.content("assistant", message)?;
        for call in calls {
            let Some(function) = &call.function else { continue };
            let id = call.id.as_ref().map_or("", |id| &id.0);
            let arguments = arguments(function);
            match native.iter().flatten().find(|block| block.is_call(id, &function.name.0, &arguments)) {
                Some(block) => self.block("assistant", block.json),
                None => {
                    let input = input(&arguments);
                    let (id, name) = (quoted(id), quoted(&function.name.0));
                    self.block(
                        "assistant",
                        &format!(r#"{{"type":"tool_use","id":{id},"name":{name},"input":{input}}}"#),
                    );
                    self.mark(call.cache_control);
                }
            }
        }
        Ok(!calls.is_empty() && thinking.is_empty())
    }

    /// Converts a tool message.
    fn tool_result(&mut self, message: &Message<'a>) -> Result<()> {
        let content = message.content.map_or("", RawValue::get);
        let id =
            message.tool_call_id.as_ref().ok_or_else(|| Error::argument("a tool message needs its tool_call_id"))?;
        let mut result = format!(r#"{{"type":"tool_result","tool_use_id":{}"#, quoted(&id.0));
        if content.starts_with('"') {
            if content != "\"\"" {
                result += &format!(r#","content":{content}"#);
            }
        } else {
            let mut blocks = Vec::new();
            for part in parts(content)? {
                blocks.extend(block(part)?);
            }
            if !blocks.is_empty() {
                result += &format!(r#","content":[{}]"#, blocks.join(","));
            }
        }
        if let Some(is_error) = message.is_error {
            result += &format!(r#","is_error":{is_error}"#);
        }
        result.push('}');
        self.block("user", &result);
        self.mark(message.cache_control);
        Ok(())
    }

    /// Converts the content of a user or assistant message.
    fn content(&mut self, role: &'static str, message: &Message<'a>) -> Result<()> {
        let refusal = message.refusal.as_ref().map(|refusal| text_block(&refusal.0));
        let content = message.content.map_or("null", RawValue::get);
        let before = self.json.len();
        if content.starts_with('"') {
            if !is_blank(content) {
                self.text(role, content);
            }
        } else {
            let keeps = self.keeps;
            for part in parts(content)?.into_iter().filter(|part| !keeps.refuses(part)) {
                if let Some(block) = block(part)? {
                    self.block(role, &block);
                }
            }
        }
        // The refusal of another provider's model takes the place of its text.
        if let Some(refusal) = refusal.filter(|_| self.json.len() == before) {
            self.block(role, &refusal);
        }
        if self.json.len() > before {
            self.mark(message.cache_control);
        }
        Ok(())
    }

    /// Appends a text, a JSON string, which needs no block if the turn has nothing else.
    fn text(&mut self, role: &'static str, json: &'a str) {
        if self.role == Some(role) {
            self.block(role, &format!(r#"{{"type":"text","text":{json}}}"#));
        } else {
            self.open(role);
            self.lone = Some(json);
        }
    }

    /// Appends a block to the turn of this role.
    fn block(&mut self, role: &'static str, json: &str) {
        match self.lone.filter(|_| self.role == Some(role)) {
            Some(text) => {
                self.json += &format!(r#"[{{"type":"text","text":{text}}},"#);
                self.lone = None;
            }
            None if self.role == Some(role) => self.json.push(','),
            None => {
                self.open(role);
                self.json.push('[');
            }
        }
        self.json += json;
    }

    /// Adds `cache_control` to the last block.
    fn mark(&mut self, cache_control: Option<&RawValue>) {
        let Some(mark) = cache_control else { return };
        if let Some(text) = self.lone.take() {
            self.json += &format!(r#"[{{"type":"text","text":{text}}}"#);
        }
        if self.json.ends_with('}') && self.role.is_some() {
            self.json.pop();
            self.json += &format!(r#","cache_control":{}}}"#, mark.get());
        }
    }

    /// Appends a message unchanged.
    fn whole(&mut self, json: &str) {
        self.close();
        self.separate();
        self.json += json;
    }

    fn open(&mut self, role: &'static str) {
        self.close();
        self.separate();
        self.json += &format!(r#"{{"role":"{role}","content":"#);
        self.role = Some(role);
    }

    fn separate(&mut self) {
        self.json.push(if self.json.is_empty() { '[' } else { ',' });
    }

    fn close(&mut self) {
        if self.role.take().is_some() {
            self.json += self.lone.take().unwrap_or("]");
            self.json.push('}');
        }
    }

    fn finish(mut self) -> String {
        self.close();
        if self.json.is_empty() {
            self.json.push('[');
        }
        self.json + "]"
    }
}

/// A native block of an earlier answer.
struct Block<'a> {
    json: &'a str,
    members: Members<'a>,
    kind: String,
}

impl Block<'_> {
    fn is_thinking(&self) -> bool {
        matches!(&*self.kind, "thinking" | "redacted_thinking")
    }

    /// Returns true if this is the call with this id, name and arguments.
    fn is_call(&self, id: &str, name: &str, arguments: &str) -> bool {
        let is = |member: &str, text: &str| self.members.string(member).as_deref() == Some(text);
        self.kind == "tool_use"
            && is("id", id)
            && is("name", name)
            && same_json(self.members.get("input").unwrap_or("{}"), &input(arguments))
    }
}

/// Returns the native blocks that a message was converted from, if Anthropic made it.
fn native_blocks<'a>(message: &Message<'a>) -> Option<Vec<Block<'a>>> {
    let fields = Members::of(message.provider_specific_fields?.get().as_bytes()).ok()?;
    let own = Members::of(fields.some(super::DIALECT)?.as_bytes()).ok()?;
    let blocks: Vec<&RawValue> = serde_json::from_str(own.some("content")?).ok()?;
    let read = |block: &'a RawValue| {
        let members = Members::of(block.get().as_bytes()).ok()?;
        Some(Block { json: block.get(), kind: members.string("type")?, members })
    };
    blocks.into_iter().map(read).collect()
}

/// Returns true if the message's text and calls are still those of its native blocks.
fn matches_native(native: &[Block], message: &Message, calls: &[ToolCall]) -> bool {
    let of_kind = |kind: &'static str| native.iter().filter(move |block| block.kind == kind);
    let text: String = of_kind("text").filter_map(|block| block.members.string("text")).collect();
    let given = match message.content.map(RawValue::get) {
        None => String::new(),
        Some(content) => parts(content).unwrap_or_default().into_iter().filter_map(text_of).collect(),
    };
    let same_call = |(block, call): (&Block, &ToolCall)| {
        call.function.as_ref().is_some_and(|function| {
            block.is_call(call.id.as_ref().map_or("", |id| &id.0), &function.name.0, &arguments(function))
        })
    };
    text == given && of_kind("tool_use").count() == calls.len() && of_kind("tool_use").zip(calls).all(same_call)
}

fn text_of(part: &str) -> Option<String> {
    if part.starts_with('"') {
        serde_json::from_str(part).ok()
    } else {
        Members::of(part.as_bytes()).ok()?.string("text")
    }
}

/// Returns the signed thinking blocks. Blocks of other providers have no signature, and are rejected.
fn signed<'a>(blocks: &[&'a RawValue]) -> Vec<&'a str> {
    let is_signed = |block: &&&RawValue| Members::of(block.get().as_bytes()).is_ok_and(|members| is_signed(&members));
    blocks.iter().filter(is_signed).map(|block| block.get()).collect()
}

fn is_signed(block: &Members) -> bool {
    match block.string("type").as_deref() {
        Some("thinking") => block.string("signature").is_some_and(|signature| !signature.is_empty()),
        Some("redacted_thinking") => block.some("data").is_some(),
        _ => false,
    }
}

/// Returns a call's arguments as text; callers pass OpenAI's string, or an object.
fn arguments(function: &Function) -> String {
    let json = function.arguments.map_or("", RawValue::get);
    if json.starts_with('"') { serde_json::from_str(json).unwrap_or_default() } else { json.to_owned() }
}

/// Converts arguments into the object that a `tool_use` block requires. Text that is no object (of a call that was cut
/// off) is wrapped as in <https://platform.claude.com/docs/en/agents-and-tools/tool-use/fine-grained-tool-streaming>.
pub(super) fn input(arguments: &str) -> Cow<'_, str> {
    let arguments = arguments.trim();
    match arguments {
        "" | "null" => Cow::Borrowed("{}"),
        _ if arguments.starts_with('{') && serde_json::from_str::<&RawValue>(arguments).is_ok() => {
            Cow::Borrowed(arguments)
        }
        _ => Cow::Owned(format!(r#"{{"INVALID_JSON":{}}}"#, quoted(arguments))),
    }
}

fn same_json(one: &str, other: &str) -> bool {
    let read = |json: &str| serde_json::from_str::<Value>(json).ok();
    one == other || (read(one).is_some() && read(one) == read(other))
}

fn is_empty_text(block: &Members) -> bool {
    block.string("type").as_deref() == Some("text") && block.string("text").is_none_or(|text| text.is_empty())
}
