//! An answer as it is parsed, borrowed from its bytes: <https://ai.google.dev/api/generate-content#generatecontentresponse>.
//!
//! Members without a field here are kept in `rest`, unparsed.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::types::lenient::{self, Scalar};
use crate::types::members::{Fields, Members, fields};

/// Members by name, unparsed.
pub(super) type Rest<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

/// A whole answer, or one event of a stream.
#[derive(Debug, Default)]
pub(super) struct Answer<'a> {
    pub candidates: Vec<Candidate<'a>>,
    pub usage: Option<&'a RawValue>,
    pub response_id: Option<Cow<'a, str>>,
    pub model_version: Option<Cow<'a, str>>,
    pub prompt_feedback: Option<&'a RawValue>,
    pub error: Option<&'a RawValue>,
    pub rest: Rest<'a>,
}

/// A candidate, or a delta of one.
#[derive(Debug, Default)]
pub(super) struct Candidate<'a> {
    /// Absent if there is only one candidate.
    pub index: Option<u64>,
    pub parts: Vec<Part<'a>>,
    pub finish_reason: Option<Cow<'a, str>>,
    pub logprobs: Option<&'a RawValue>,
    pub rest: Rest<'a>,
}

impl Answer<'_> {
    /// Returns true if it has a member that only answers have.
    pub fn is_answer(&self) -> bool {
        !self.candidates.is_empty() || self.usage.is_some() || self.prompt_feedback.is_some()
    }
}

impl<'de> Deserialize<'de> for Answer<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fields(deserializer)
    }
}

impl<'de> Fields<'de> for Answer<'de> {
    fn field<A: MapAccess<'de>>(&mut self, name: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        match &*name {
            "candidates" => self.candidates = lenient::list_of(raw(map)?),
            "usageMetadata" => self.usage = scalar(map)?,
            "responseId" => self.response_id = scalar(map)?,
            "modelVersion" => self.model_version = scalar(map)?,
            "promptFeedback" => self.prompt_feedback = scalar(map)?,
            "error" => self.error = scalar(map)?,
            _ => self.rest.push((name, map.next_value()?)),
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Candidate<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fields(deserializer)
    }
}

impl<'de> Fields<'de> for Candidate<'de> {
    fn field<A: MapAccess<'de>>(&mut self, name: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        #[derive(Default, Deserialize)]
        struct Content<'a> {
            #[serde(borrow, default, deserialize_with = "lenient::list")]
            parts: Vec<Part<'a>>,
        }
        match &*name {
            "index" => self.index = scalar(map)?,
            "content" => self.parts = lenient::object_of::<Content>(raw(map)?).parts,
            // A reason of any type means that the answer has ended.
            "finishReason" => {
                let reason = raw(map)?;
                self.finish_reason = (reason != "null").then(|| Option::of(reason).unwrap_or(Cow::Borrowed(reason)));
            }
            "logprobsResult" => self.logprobs = scalar(map)?,
            _ => self.rest.push((name, map.next_value()?)),
        }
        Ok(())
    }
}

/// A part of a message: a text, a call, an image …
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Part<'a>(#[serde(borrow)] pub Members<'a>);

/// A function call, or a delta of one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FunctionCall<'a> {
    #[serde(default, deserialize_with = "lenient::scalar")]
    pub id: Option<String>,
    /// Empty in later deltas of a call.
    #[serde(default, deserialize_with = "lenient::scalar")]
    pub name: String,
    /// An object; absent if the function has no parameters.
    #[serde(borrow)]
    pub args: Option<&'a RawValue>,
    /// Values of arguments, if Vertex AI was asked to stream them.
    #[serde(borrow)]
    pub partial_args: Option<&'a RawValue>,
    /// True if more deltas of the call follow.
    #[serde(default, deserialize_with = "lenient::scalar")]
    pub will_continue: bool,
}

impl<'a> Part<'a> {
    fn member(&self, name: &str) -> Option<&'a str> {
        self.0.some(name)
    }

    /// Parses all members.
    pub fn members(&self) -> Map<String, Value> {
        let parsed = |value: &RawValue| serde_json::from_str(value.get()).unwrap_or_default();
        self.0.0.iter().map(|(name, value)| (name.to_string(), parsed(value))).collect()
    }

    /// Returns the text, if there is one.
    pub fn text(&self) -> Option<Cow<'a, str>> {
        Option::of(self.member("text")?)
    }

    /// Returns true if the text is reasoning.
    pub fn is_thought(&self) -> bool {
        self.member("thought") == Some("true")
    }

    /// Returns true if the part is nothing but text or reasoning, so that it can be joined with adjacent ones.
    pub fn is_plain(&self) -> bool {
        self.0.0.iter().all(|(name, _)| matches!(&**name, "text" | "thought")) && self.member("text").is_some()
    }

    /// Returns the call, or the delta of one, if the part has one.
    pub fn call(&self) -> Option<FunctionCall<'a>> {
        serde_json::from_str(self.member("functionCall")?).ok()
    }
}

fn raw<'de, A: MapAccess<'de>>(map: &mut A) -> Result<&'de str, A::Error> {
    Ok(map.next_value::<&RawValue>()?.get())
}

fn scalar<'de, T: Scalar<'de>, A: MapAccess<'de>>(map: &mut A) -> Result<T, A::Error> {
    Ok(T::of(raw(map)?))
}
