//! OpenAI's chat completions and chunks as structs, which the decoder of a native wire format fills in and serialises
//! once.
//!
//! Shapes: <https://platform.openai.com/docs/api-reference/chat/object> and
//! <https://platform.openai.com/docs/api-reference/chat-streaming/streaming>. `reasoning_content`, `thinking_blocks`
//! and `provider_specific_fields` are additions of this project (see the design notes on losslessness).

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A chat completion (`object` is `chat.completion`, choices have messages) or a chunk of one (`chat.completion.chunk`,
/// choices have deltas).
#[derive(Debug, Default, Serialize)]
pub struct Completion<'a> {
    /// The provider's id of the answer; generated where it sends none.
    pub id: Cow<'a, str>,
    /// `chat.completion` or `chat.completion.chunk`.
    pub object: &'static str,
    /// Unix time in seconds.
    pub created: u64,
    /// Name of the model that answered.
    pub model: Cow<'a, str>,
    /// The choices.
    pub choices: Vec<Choice<'a>>,
    /// Token counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage<'a>>,
    /// Service tier that processed the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<Cow<'a, str>>,
    /// Data that OpenAI's format has no member for, by wire dialect: `{"anthropic": {…}}`.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub provider_specific_fields: Map<String, Value>,
    /// Alternative to `provider_specific_fields` as JSON text, which is passed on unchanged. At most one of the two is
    /// set.
    #[serde(rename = "provider_specific_fields", skip_serializing_if = "Option::is_none")]
    pub native_fields: Option<Box<RawValue>>,
}

/// Value of `object` in a complete chat completion.
pub const COMPLETION: &str = "chat.completion";
/// Value of `object` in a chunk.
pub const CHUNK: &str = "chat.completion.chunk";

/// One choice of a completion, or a piece of one in a chunk.
#[derive(Debug, Default, Serialize)]
pub struct Choice<'a> {
    /// Index of the choice.
    pub index: u32,
    /// The message, in a completion only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Message<'a>>,
    /// The next piece of the message, in a chunk only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<Message<'a>>,
    /// Reason why the choice ended: `stop`, `length`, `tool_calls` or `content_filter`; null while it continues.
    pub finish_reason: Option<&'static str>,
    /// Log probabilities of the tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Value>,
}

/// Returns OpenAI's finish reason: an answer that stopped by itself and contains tool calls has the reason
/// `tool_calls`, whatever the provider sends (Claude on Bedrock sometimes sends `end_turn`). Other reasons, such as a
/// length limit, are unchanged.
pub fn finish_reason(reason: &'static str, has_calls: bool) -> &'static str {
    if has_calls && reason == "stop" { "tool_calls" } else { reason }
}

/// A message, or a delta of one. Members of a delta that are `None` are omitted.
#[derive(Debug, Default, Serialize)]
pub struct Message<'a> {
    /// Always `assistant`; in a stream, set in the first delta only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// The text; null in a complete message without text.
    #[serde(skip_serializing_if = "Content::is_absent")]
    pub content: Content<'a>,
    /// The readable reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<Cow<'a, str>>,
    /// Explanation of a refusal to answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Cow<'a, str>>,
    /// Tool calls that the model requests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall<'a>>,
    /// Citations and other annotations, in OpenAI's format.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<Value>,
    /// Reasoning with its signatures, in LiteLLM's format.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub thinking_blocks: Vec<Value>,
    /// Native content blocks that the members above cannot express, by wire dialect.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub provider_specific_fields: Map<String, Value>,
    /// Alternative to `provider_specific_fields` as JSON text, which is passed on unchanged. At most one of the two is
    /// set.
    #[serde(rename = "provider_specific_fields", skip_serializing_if = "Option::is_none")]
    pub native_fields: Option<Box<RawValue>>,
}

/// The content of a message: omitted in a delta, null in a complete message without text, or text.
#[derive(Debug, Default)]
pub enum Content<'a> {
    /// The member is omitted.
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

/// A tool call that the model requests, or a piece of one.
#[derive(Debug, Default, Serialize)]
pub struct ToolCall<'a> {
    /// Index of the call; in a stream only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// Identifier that the tool's result refers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, str>>,
    /// Always `function`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// The function to call.
    pub function: Function<'a>,
}

/// Name of a function and its arguments, as JSON in a string.
#[derive(Debug, Default, Serialize)]
pub struct Function<'a> {
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    /// The arguments, or the next piece of them.
    pub arguments: Cow<'a, str>,
}

/// Token counts. Counts that OpenAI's format lacks are kept under their own names in `native`.
#[derive(Debug, Default, Serialize)]
pub struct Usage<'a> {
    /// Tokens of the prompt, including cached ones.
    pub prompt_tokens: u64,
    /// Tokens of the answer, including reasoning.
    pub completion_tokens: u64,
    /// Sum of prompt and completion tokens.
    pub total_tokens: u64,
    /// Breakdown of the prompt's tokens.
    pub prompt_tokens_details: PromptTokens,
    /// Breakdown of the answer's tokens.
    pub completion_tokens_details: CompletionTokens,
    /// The provider's own counts, unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native: Option<&'a RawValue>,
}

/// Breakdown of the prompt's tokens.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct PromptTokens {
    /// Tokens read from a cache.
    pub cached_tokens: u64,
    /// Tokens written to a cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_creation_tokens: Option<u64>,
    /// The same by the time for which they are kept, if any are kept for an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_creation_token_details: Option<CacheCreationTokens>,
    /// Tokens of audio that were not read from a cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_tokens: Option<u64>,
    /// Tokens of images that were not read from a cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_tokens: Option<u64>,
}

/// Tokens written to a cache, by the time for which they are kept. The names are those of LiteLLM.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CacheCreationTokens {
    /// Tokens kept for five minutes.
    pub ephemeral_5m_input_tokens: u64,
    /// Tokens kept for an hour.
    pub ephemeral_1h_input_tokens: u64,
}

impl CacheCreationTokens {
    /// Returns the counts if any tokens are kept for an hour.
    pub fn of(five_minutes: u64, hour: u64) -> Option<Self> {
        let counts = Self { ephemeral_5m_input_tokens: five_minutes, ephemeral_1h_input_tokens: hour };
        (hour > 0).then_some(counts)
    }
}

/// Breakdown of the answer's tokens.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct CompletionTokens {
    /// Tokens spent on reasoning.
    pub reasoning_tokens: u64,
    /// Tokens of audio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_tokens: Option<u64>,
}

impl Completion<'_> {
    /// Serialises the completion as JSON.
    #[expect(clippy::missing_panics_doc, reason = "every member of these structs can be serialised")]
    pub fn to_json(&self) -> bytes::Bytes {
        serde_json::to_vec(self).expect("these structs are JSON").into()
    }
}
