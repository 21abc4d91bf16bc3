//! Converse's content blocks, as messages, media and tools make them:
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html>

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::types::members::Members;

/// A content block.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Block<'a> {
    Text(Cow<'a, str>),
    CachePoint(CachePoint<'a>),
    ToolUse(ToolUse<'a>),
    ToolResult(ToolResult<'a>),
    ReasoningContent(Reasoning<'a>),
    Image(Media<'a>),
    Video(Media<'a>),
    Audio(Media<'a>),
    Document(Document<'a>),
    GuardContent(GuardContent<'a>),
    /// A block that is in Converse's format already.
    #[serde(untagged)]
    Native(&'a RawValue),
}

/// The end of a prefix to cache: <https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html>.
#[derive(Debug, Serialize)]
pub(super) struct CachePoint<'a> {
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Cow<'a, str>>,
}

/// A tool call of the model.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolUse<'a> {
    pub tool_use_id: Cow<'a, str>,
    pub name: Cow<'a, str>,
    pub input: Box<RawValue>,
}

/// A tool's result.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolResult<'a> {
    pub tool_use_id: Cow<'a, str>,
    pub content: Vec<Block<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Cow<'a, str>>,
}

/// Reasoning of an earlier answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Reasoning<'a> {
    ReasoningText { text: Cow<'a, str>, signature: Cow<'a, str> },
    RedactedContent(Cow<'a, str>),
}

/// Content that a guardrail is to assess.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum GuardContent<'a> {
    Text { text: Cow<'a, str> },
}

/// An image, video or audio: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ImageBlock.html>.
#[derive(Debug, Serialize)]
pub(super) struct Media<'a> {
    pub format: Cow<'a, str>,
    pub source: Source<'a>,
}

/// A document: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_DocumentBlock.html>.
#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    pub format: Cow<'a, str>,
    pub name: String,
    pub source: Source<'a>,
}

/// The bytes of media, or their address.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Source<'a> {
    /// Base64.
    Bytes(Cow<'a, str>),
    S3Location {
        uri: Cow<'a, str>,
    },
}

/// Anthropic's mark for the end of a prefix to cache, which other clients accept for every provider.
#[derive(Deserialize)]
pub(super) struct CacheControl<'a> {
    #[serde(borrow, default)]
    ttl: Option<Cow<'a, str>>,
}

/// Converts a mark into a cache point.
pub(super) fn cache_point<'a>(mark: &CacheControl<'a>) -> CachePoint<'a> {
    CachePoint { kind: "default", ttl: mark.ttl.clone() }
}

impl Block<'_> {
    /// Returns true if this is the block that Converse calls `name`.
    pub fn is(&self, name: &str) -> bool {
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
            Self::Native(raw) => Members::of(raw.get().as_bytes()).is_ok_and(|block| block.some(name).is_some()),
        }
    }
}
