//! OpenAI's answers as structs: what a native wire's decoder fills in and serialises once.
//!
//! Shapes: <https://platform.openai.com/docs/api-reference/chat/object> and
//! <https://platform.openai.com/docs/api-reference/chat-streaming/streaming>. `reasoning_content`, `thinking_blocks` and
//! `provider_specific_fields` are what this project adds (see the design notes on losslessness).

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A chat completion (`object` is `chat.completion`, choices have messages) or a chunk of one (`chat.completion.chunk`,
/// choices have deltas).
#[derive(Debug, Default, Serialize)]
pub struct Completion<'a> {
    /// The provider's id for the answer; made up where it gives none.
    pub id: Cow<'a, str>,
    /// `chat.completion` or `chat.completion.chunk`.
    pub object: &'static str,
    /// Unix time in seconds.
    pub created: u64,
    /// The model that answered.
    pub model: Cow<'a, str>,
    /// The answers.
    pub choices: Vec<Choice<'a>>,
    /// Tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage<'a>>,
    /// The tier that served it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<Cow<'a, str>>,
    /// What has no place in OpenAI's format, by wire dialect: `{"anthropic": {…}}`.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub provider_specific_fields: Map<String, Value>,
    /// The same as JSON already, instead of it: what came goes out as it came. Only one of the two is given.
    #[serde(rename = "provider_specific_fields", skip_serializing_if = "Option::is_none")]
    pub native_fields: Option<Box<RawValue>>,
}

/// `object` of a whole completion.
pub const COMPLETION: &str = "chat.completion";
/// `object` of a chunk.
pub const CHUNK: &str = "chat.completion.chunk";

/// One answer, or one answer's next piece.
#[derive(Debug, Default, Serialize)]
pub struct Choice<'a> {
    /// Its place among the answers.
    pub index: u32,
    /// The message, in a completion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Message<'a>>,
    /// The message's next piece, in a chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<Message<'a>>,
    /// Why it ended: `stop`, `length`, `tool_calls` or `content_filter`; null while it goes on.
    pub finish_reason: Option<&'static str>,
    /// Log probabilities of its tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Value>,
}

/// Why an answer ended, in OpenAI's words: what stopped of itself and calls tools wants them called, whatever reason the
/// provider gives (Claude on Bedrock sometimes says `end_turn`). A limit that cut the answer off stays what it is.
pub fn finish_reason(reason: &'static str, has_calls: bool) -> &'static str {
    if has_calls && reason == "stop" { "tool_calls" } else { reason }
}

/// A message, or a delta of one. In a delta, members that are `None` are left out.
#[derive(Debug, Default, Serialize)]
pub struct Message<'a> {
    /// `assistant`; in a stream, in the first delta only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// The text; null in a whole message that has none.
    #[serde(skip_serializing_if = "Content::is_absent")]
    pub content: Content<'a>,
    /// The readable reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<Cow<'a, str>>,
    /// Why the model would not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Cow<'a, str>>,
    /// The calls that the model wants made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall<'a>>,
    /// Citations and the like, in OpenAI's own shape.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<Value>,
    /// Reasoning with its signatures, as LiteLLM has it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub thinking_blocks: Vec<Value>,
    /// Native content blocks where the members above cannot express them, by wire dialect.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub provider_specific_fields: Map<String, Value>,
    /// The same as JSON already, instead of it: what came goes out as it came. Only one of the two is given.
    #[serde(rename = "provider_specific_fields", skip_serializing_if = "Option::is_none")]
    pub native_fields: Option<Box<RawValue>>,
}

/// A message's text: absent from a delta, null in a whole message without text, or there.
#[derive(Debug, Default)]
pub enum Content<'a> {
    /// Not written at all.
    #[default]
    Absent,
    /// `null`.
    Null,
    /// The text.
    Text(Cow<'a, str>),
}

impl Content<'_> {
    fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl Serialize for Content<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent | Self::Null => serializer.serialize_none(),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// A call that the model wants made, or a piece of one.
#[derive(Debug, Default, Serialize)]
pub struct ToolCall<'a> {
    /// Its place among the calls; in a stream only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// What the tool's answer refers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, str>>,
    /// `function`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// What is to be called.
    pub function: Function<'a>,
}

/// A function's name and its arguments, as JSON in a string.
#[derive(Debug, Default, Serialize)]
pub struct Function<'a> {
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    /// The arguments, or their next piece.
    pub arguments: Cow<'a, str>,
}

/// Tokens. What a provider counts beside these is kept under its own name in `native`.
#[derive(Debug, Default, Serialize)]
pub struct Usage<'a> {
    /// Tokens of the prompt, cached ones included.
    pub prompt_tokens: u64,
    /// Tokens of the answer, reasoning included.
    pub completion_tokens: u64,
    /// Both.
    pub total_tokens: u64,
    /// What the prompt's tokens were.
    pub prompt_tokens_details: PromptTokens,
    /// What the answer's tokens were.
    pub completion_tokens_details: CompletionTokens,
    /// The provider's own counts, as they came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native: Option<&'a RawValue>,
}

/// What the prompt's tokens were.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct PromptTokens {
    /// Read from a cache.
    pub cached_tokens: u64,
    /// Written to a cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_creation_tokens: Option<u64>,
}

/// What the answer's tokens were.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct CompletionTokens {
    /// Spent on reasoning.
    pub reasoning_tokens: u64,
}

impl Completion<'_> {
    /// Its JSON.
    pub fn to_json(&self) -> bytes::Bytes {
        serde_json::to_vec(self).expect("these structs are JSON").into()
    }
}
