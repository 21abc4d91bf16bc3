//! A part of a message in Google's format: <https://ai.google.dev/api/caching#Part>.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::types::media::media_type;
use crate::types::members::Members;

/// A part of a message.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Part<'a> {
    Text(String),
    InlineData(InlineData),
    FileData(FileData),
    FunctionResponse(FunctionResponse<'a>),
    #[serde(untagged)]
    Call(Call<'a>),
    /// A native part of an earlier answer, or one that the caller wrote.
    #[serde(untagged)]
    Native(Cow<'a, RawValue>),
}

impl Part<'_> {
    /// Returns the MIME type of media; `None` for other parts, and where it is not known.
    pub fn media_type(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::InlineData(data) => Some(data.mime_type.as_str().into()),
            Self::FileData(file) => file.mime_type.as_deref().map(Cow::Borrowed),
            Self::Native(native) => {
                let part = Members::of(native.get().as_bytes()).ok()?;
                let data = part.some("inlineData").or(part.some("inline_data")).or(part.some("fileData"))?;
                let data = Members::of(data.as_bytes()).ok()?;
                data.string("mimeType").or(data.string("mime_type")).map(Cow::Owned)
            }
            _ => None,
        }
    }
}

/// A function call, with the signature of the thoughts that led to it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Call<'a> {
    pub function_call: FunctionCall<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thought_signature: Option<&'static str>,
}

/// The name and arguments of a [`Call`].
#[derive(Debug, Serialize)]
pub(super) struct FunctionCall<'a> {
    pub name: &'a str,
    pub args: Box<RawValue>,
}

/// The result of a function call.
#[derive(Debug, Serialize)]
pub(super) struct FunctionResponse<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    pub name: String,
    pub response: Box<RawValue>,
    /// Media of the result.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part<'a>>,
    /// Position of the call among those of its message, which is the order in which results are sent.
    #[serde(skip)]
    pub call_index: usize,
}

/// Media inside the request, as base64.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InlineData {
    pub mime_type: String,
    pub data: String,
}

/// The address of a file that Google reads.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FileData {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    pub file_uri: String,
}

impl InlineData {
    /// Creates data with the canonical name of this MIME type.
    pub fn of(mime_type: &str, data: &str) -> Self {
        Self { mime_type: media_type(mime_type).into_owned(), data: data.to_owned() }
    }
}
