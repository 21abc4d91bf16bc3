//! Structured output: the schema that an answer has to follow, and the form in which a model is asked for it.

use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::members::Members;

/// Name of the only property of the object that is put around a schema of anything but an object.
pub const WRAPPER: &str = "value";

/// Maximum length of a schema's name: <https://platform.openai.com/docs/api-reference/chat/create> (`response_format`).
const MAX_NAME: usize = 64;

/// The schema that an answer has to follow.
#[derive(Debug, Clone, PartialEq)]
pub struct ResponseSchema {
    /// Name, of the characters that providers take.
    pub name: String,
    /// The schema, of an object.
    pub schema: Value,
    /// True if the answer is the value of the object's only property, since the caller's schema is not of an object.
    pub is_wrapped: bool,
}

impl ResponseSchema {
    /// Makes the schema to ask a model for. Providers take an object at the top only, so that another schema becomes the
    /// property [`WRAPPER`] of one; and no reference at the top, so that what it refers to is put in its place.
    pub fn new(name: &str, mut schema: Value) -> Self {
        let name: String = name
            .chars()
            .map(|letter| if letter.is_ascii_alphanumeric() || "_-".contains(letter) { letter } else { '_' })
            .take(MAX_NAME)
            .collect();
        let name = if name.is_empty() { "response".to_owned() } else { name };
        let root = schema.clone();
        if let Value::Object(members) = &mut schema
            && let Some(target) = members.get("$ref").and_then(Value::as_str).and_then(|path| resolve(&root, path))
            && let Value::Object(target) = target
        {
            members.shift_remove("$ref");
            target.iter().for_each(|(name, value)| {
                members.entry(name.as_str()).or_insert_with(|| value.clone());
            });
        }
        if let Value::Object(members) = &mut schema
            && members.contains_key("properties")
        {
            members.entry("type").or_insert_with(|| "object".into());
        }
        let is_wrapped = schema.get("type").and_then(Value::as_str) != Some("object");
        if is_wrapped {
            schema = wrapped(schema);
        }
        Self { name, schema, is_wrapped }
    }

    /// Returns the JSON value in the text of an answer. Where models are asked in words, they put it between fences, or words
    /// around it; reasoning in tags may come before it.
    pub fn json_in<'a>(&self, text: &'a str) -> Option<&'a str> {
        let text = text.rsplit_once("</think>").map_or(text, |(_, text)| text);
        let json = json_in(text)?;
        if !self.is_wrapped {
            return Some(json);
        }
        // A model that was asked in words may leave the wrapper out.
        let wrapped: Option<Vec<(_, &'a RawValue)>> = Members::of(json.as_bytes()).ok().map(|members| members.0);
        match wrapped.as_deref() {
            Some([(name, value)]) if name == WRAPPER => Some(value.get()),
            _ => Some(json),
        }
    }
}

/// Puts an object around a schema, to which its definitions move.
fn wrapped(mut schema: Value) -> Value {
    let mut outer = Map::new();
    outer.insert("type".into(), "object".into());
    redirect(&mut schema);
    let definitions: Vec<_> = match &mut schema {
        Value::Object(members) => {
            members.shift_remove("$schema");
            ["$defs", "definitions"].iter().filter_map(|name| Some((*name, members.shift_remove(*name)?))).collect()
        }
        _ => Vec::new(),
    };
    outer.insert("properties".into(), json!({ WRAPPER: schema }));
    outer.insert("required".into(), json!([WRAPPER]));
    outer.insert("additionalProperties".into(), false.into());
    outer.extend(definitions.into_iter().map(|(name, value)| (name.to_owned(), value)));
    outer.into()
}

/// Changes references to the whole schema, which is no longer at the top.
fn redirect(schema: &mut Value) {
    match schema {
        Value::Object(members) => members.iter_mut().for_each(|(name, value)| match value {
            Value::String(path) if name == "$ref" && path == "#" => *path = format!("#/properties/{WRAPPER}"),
            value => redirect(value),
        }),
        Value::Array(items) => items.iter_mut().for_each(redirect),
        _ => {}
    }
}

/// Returns the part of a schema that a reference such as `#/$defs/Name` leads to.
pub fn resolve<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    let pointer = reference.strip_prefix('#')?;
    match pointer.contains('%') {
        true => root.pointer(&percent_encoding::percent_decode_str(pointer).decode_utf8().ok()?),
        false => root.pointer(pointer),
    }
}

fn json_in(text: &str) -> Option<&str> {
    let is_json = |text: &&str| serde_json::from_str::<&RawValue>(text).is_ok();
    let whole = text.trim();
    if is_json(&whole) {
        return Some(whole);
    }
    let fenced = whole.split("```").skip(1).step_by(2).map(|block| {
        let block = block.strip_prefix("json").or_else(|| block.strip_prefix("JSON")).unwrap_or(block);
        block.trim()
    });
    if let Some(block) = fenced.into_iter().find(|block| is_json(block)) {
        return Some(block);
    }
    let between = |open, close| Some(&whole[whole.find(open)?..=whole.rfind(close)?]).filter(|text| is_json(text));
    let between = |open, close| {
        let (start, end) = (whole.find(open)?, whole.rfind(close)?);
        (start < end).then(|| between(open, close))?
    };
    match (whole.find('{'), whole.find('[')) {
        (Some(object), Some(list)) if list < object => between('[', ']').or_else(|| between('{', '}')),
        _ => between('{', '}').or_else(|| between('[', ']')),
    }
}

/// Form in which a model is asked for structured output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `json_schema` with `strict`: the model cannot answer with anything else.
    Strict,
    /// `json_schema` without `strict`, for schemas that have no strict form and for hosts that ignore the word.
    Schema,
    /// The call of a tool whose parameters are the schema.
    Tool,
    /// JSON mode, with the schema in the prompt.
    JsonMode,
    /// The schema in the prompt, and nothing else.
    Prompt,
}

impl Form {
    /// Returns the form's name in an answer's metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strict | Self::Schema => "json_schema",
            Self::Tool => "tool",
            Self::JsonMode => "json_object",
            Self::Prompt => "prompt",
        }
    }
}

/// Structured output that a request asks for.
#[derive(Debug, Clone)]
pub struct StructuredOutput {
    /// The schema.
    pub schema: Arc<ResponseSchema>,
    /// The form, once the deployment is known.
    pub form: Option<Form>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_but_an_object_is_wrapped() {
        let schema = ResponseSchema::new(
            "list[Ticket | None]",
            json!({"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/T"}, {"$ref": "#"}]}, "$defs": {"T": {"type": "object"}}}),
        );
        assert_eq!(
            schema,
            ResponseSchema {
                name: "list_Ticket___None_".into(),
                schema: json!({"type": "object", "properties": {"value": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/T"}, {"$ref": "#/properties/value"}]}}},
                    "required": ["value"], "additionalProperties": false, "$defs": {"T": {"type": "object"}}}),
                is_wrapped: true,
            }
        );
        assert_eq!(schema.json_in(r#"{"value": [1]}"#), Some("[1]"));
        assert_eq!(schema.json_in("[1]"), Some("[1]"));
        assert!(ResponseSchema::new("", json!({"enum": ["a"]})).is_wrapped);
    }

    #[test]
    fn a_reference_at_the_top_is_replaced() {
        let node = json!({"type": "object", "properties": {"next": {"$ref": "#/$defs/No~1de"}}});
        let schema = ResponseSchema::new("Node", json!({"$ref": "#/$defs/No~1de", "$defs": {"No/de": node}}));
        assert!(!schema.is_wrapped);
        assert_eq!(schema.schema["properties"], node["properties"]);
        assert_eq!(schema.schema["$defs"]["No/de"], node);
        assert_eq!(schema.schema.get("$ref"), None);
    }

    #[test]
    fn json_is_found_in_words() {
        for (text, json) in [
            (" {\"a\": 1}\n", Some("{\"a\": 1}")),
            ("Here:\n```json\n{\"a\": \"```\"}\n```", Some("{\"a\": \"```\"}")),
            ("```\n[1]\n```\nDone.", Some("[1]")),
            ("<think>{\"b\": 2}</think>{\"a\": 1}", Some("{\"a\": 1}")),
            ("The answer is {\"a\": {}} as you wished.", Some("{\"a\": {}}")),
            ("[{\"a\": 1}] it is", Some("[{\"a\": 1}]")),
            ("{\"a\": 1", None),
            ("} {", None),
            ("I cannot.", None),
            ("", None),
        ] {
            assert_eq!(json_in(text.rsplit_once("</think>").map_or(text, |(_, text)| text)), json, "{text}");
        }
    }
}
