//! Parts of an answer that several native wires read in the same way.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::tools::arguments;
use crate::types::completion::{Function, ToolCall};
use crate::types::lenient;
use crate::types::members::Text;

/// A tool call of an answer, or of a stream's delta, in OpenAI's nesting.
#[derive(Default, Deserialize)]
pub(super) struct ReceivedCall<'a> {
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    pub id: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "lenient::object")]
    pub function: ReceivedFunction<'a>,
}

/// The function of a [`ReceivedCall`].
#[derive(Default, Deserialize)]
pub(super) struct ReceivedFunction<'a> {
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    pub name: Cow<'a, str>,
    /// A string at Cohere (in a delta, a part of one), an object at Ollama; either has been null.
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

impl<'a> ReceivedCall<'a> {
    /// Converts a complete call; `index` is its position among a stream's calls.
    pub fn into_tool_call(self, index: Option<u32>) -> ToolCall<'a> {
        let arguments = arguments::text(self.function.arguments.map(RawValue::get));
        let function = Function { name: Some(self.function.name), arguments };
        ToolCall { index, id: Some(self.id), kind: Some("function"), function }
    }
}

impl<'a> ReceivedFunction<'a> {
    /// Returns the fragment of the arguments that a delta carries.
    pub fn arguments_delta(&self) -> Cow<'a, str> {
        match self.arguments.map(RawValue::get) {
            None | Some("null") => "".into(),
            Some(text) if text.starts_with('"') => serde_json::from_str::<Text>(text).unwrap_or_default().0,
            Some(object) => object.into(),
        }
    }
}

/// Returns `provider_specific_fields` with the native members under the name of their dialect; empty without members.
pub(super) fn specific_fields(dialect: &str, native: Map<String, Value>) -> Map<String, Value> {
    match native.is_empty() {
        true => Map::new(),
        false => Map::from_iter([(dialect.to_owned(), Value::Object(native))]),
    }
}

/// Parses JSON into a value: null where it is nested too deeply or holds a number beyond all floats.
pub(super) fn value_of(json: &RawValue) -> Value {
    serde_json::from_str(json.get()).unwrap_or_default()
}
