//! JSON schemas as structured output takes them, with Claude and on Bedrock.
//!
//! - <https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations>
//! - <https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html>
//!
//! Both refuse objects that are open for further members, and most of what bounds numbers, strings and lists. Anthropic's
//! own SDK closes the objects and moves what is refused into the description, where the model still reads it
//! (`anthropic.lib._parse._transform`); so does this, and it keeps the patterns and defaults that the documentation
//! allows.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::providers::readable::quoted;
use crate::types::members::Members;

/// Keywords that are taken whatever their value.
const TAKEN: &[&str] = &[
    "$defs",
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "default",
    "definitions",
    "description",
    "items",
    "properties",
    "required",
    "title",
    "type",
];

/// Keywords that say nothing about a value.
const IDLE: &[&str] = &["$anchor", "$comment", "$id", "$schema", "$vocabulary"];

/// Formats of strings that are taken.
const FORMATS: &[&str] = &["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];

/// Beginnings of what the regular expressions of structured output cannot do: groups that look around, references back,
/// word boundaries.
const BEYOND_REGULAR: &[&str] = &["(?=", "(?!", "(?<", "(?P", "\\b", "\\B", "\\k"];

/// Makes a schema one that is taken.
pub(in crate::providers) fn tighten(schema: &mut Value) {
    let Value::Object(schema) = schema else { return };
    for inside in ["$defs", "definitions"] {
        if let Some(Value::Object(named)) = schema.get_mut(inside) {
            named.values_mut().for_each(tighten);
        }
    }
    if schema.contains_key("$ref") {
        // Nothing but definitions may stand beside a reference.
        schema.retain(|name, _| matches!(name.as_str(), "$ref" | "$defs" | "definitions"));
        return;
    }
    if let Some(choices) = schema.shift_remove("oneOf") {
        schema.entry("anyOf").or_insert(choices);
    }
    move_into_description(schema);
    if is_object(schema) {
        schema.insert("additionalProperties".into(), false.into());
    } else {
        schema.shift_remove("additionalProperties");
    }
    for (name, inner) in schema.iter_mut() {
        match (name.as_str(), inner) {
            ("properties", Value::Object(named)) => named.values_mut().for_each(tighten),
            ("anyOf" | "allOf", Value::Array(schemas)) => schemas.iter_mut().for_each(tighten),
            ("items", inner) => tighten(inner),
            _ => {}
        }
    }
}

fn is_object(schema: &Map<String, Value>) -> bool {
    let says_so = match schema.get("type") {
        Some(Value::String(kind)) => kind == "object",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        _ => false,
    };
    // Where alternatives say which members there are, they are closed instead.
    let has_alternatives = ["anyOf", "oneOf", "allOf"].iter().any(|name| schema.contains_key(*name));
    schema.contains_key("properties") || says_so && !has_alternatives
}

/// Whether this keyword is taken with this value.
fn is_taken(name: &str, value: &Value) -> bool {
    let is_primitive = |value: &Value| !value.is_array() && !value.is_object();
    match name {
        // What else the members may be is said in words.
        "additionalProperties" => value.as_object().is_none_or(|schema| schema.is_empty()),
        "enum" => value.as_array().is_some_and(|values| !values.is_empty() && values.iter().all(is_primitive)),
        "const" => is_primitive(value),
        "format" => value.as_str().is_some_and(|format| FORMATS.contains(&format)),
        "pattern" => value.as_str().is_some_and(is_regular),
        // Lists may be asked to be empty or not, no more.
        "minItems" => value.as_u64().is_some_and(|least| least <= 1),
        _ => TAKEN.contains(&name),
    }
}

/// Whether a pattern is a regular expression in the strict sense.
fn is_regular(pattern: &str) -> bool {
    let refers_back = pattern.as_bytes().windows(2).any(|two| two[0] == b'\\' && matches!(two[1], b'1'..=b'9'));
    // A backslash that is itself escaped begins nothing.
    let pattern = pattern.replace("\\\\", "");
    !refers_back && !BEYOND_REGULAR.iter().any(|beyond| pattern.contains(beyond))
}

fn move_into_description(schema: &mut Map<String, Value>) {
    schema.retain(|name, _| !IDLE.contains(&name.as_str()));
    let names: Vec<String> =
        schema.iter().filter(|(name, value)| !is_taken(name, value)).map(|(name, _)| name.clone()).collect();
    if names.is_empty() {
        return;
    }
    let moved: Vec<String> =
        names.iter().filter_map(|name| Some(format!("{name}: {}", schema.shift_remove(name)?))).collect();
    let moved = format!("{{{}}}", moved.join(", "));
    let description = match schema.get("description").and_then(Value::as_str) {
        Some(description) => format!("{description}\n\n{moved}"),
        None => moved,
    };
    schema.insert("description".into(), description.into());
}

/// A tool's schema as the object that Claude and Converse want at its top, whose `type` callers leave out (`{}` for a
/// function without parameters, a bare `anyOf`) or make a list of.
pub(in crate::providers) fn with_object_type(schema: &str) -> Cow<'_, str> {
    let Some(members) = Members::of(schema.as_bytes()).ok().filter(|members| !members.0.is_empty()) else {
        return Cow::Borrowed(r#"{"type":"object","properties":{}}"#);
    };
    match members.some("type") {
        Some(kind) if kind.starts_with('"') => Cow::Borrowed(schema),
        _ => {
            let rest = members.0.iter().filter(|(name, _)| name != "type");
            let rest: String = rest.map(|(name, value)| format!(",{}:{}", quoted(name), value.get())).collect();
            Cow::Owned(format!(r#"{{"type":"object"{rest}}}"#))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tightened(mut schema: Value) -> Value {
        tighten(&mut schema);
        schema
    }

    #[test]
    fn objects_are_closed_and_bounds_become_words() {
        let alternatives =
            json!({"type": "object", "anyOf": [{"type": "object", "properties": {}, "additionalProperties": false}]});
        assert_eq!(tightened(alternatives.clone()), alternatives);
        assert_eq!(
            tightened(
                json!({"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}, "minimum": {"type": "string"},
                "l": {"type": "array", "minItems": 1, "items": {"oneOf": [{"type": "object", "properties": {}}]}}}})
            ),
            json!({"type": "object", "additionalProperties": false, "properties": {"n": {"type": "integer", "description": "{minimum: 1}"}, "minimum": {"type": "string"},
            "l": {"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "object", "properties": {}, "additionalProperties": false}]}}}})
        );
        assert_eq!(
            tightened(
                json!({"type": ["object", "null"], "additionalProperties": {"type": "integer"}, "description": "d"})
            ),
            json!({"type": ["object", "null"], "additionalProperties": false, "description": "d\n\n{additionalProperties: {\"type\":\"integer\"}}"})
        );
    }

    #[test]
    fn patterns_and_formats_stay_if_they_are_taken() {
        let string = |name: &str, value: &str| json!({"type": "string", name: value});
        let words =
            |name: &str, value: &str| json!({"type": "string", "description": format!("{{{name}: {}}}", json!(value))});
        for (name, value) in [
            ("pattern", "^[a-z]{2,4}$"),
            ("pattern", "(?:a|b)+"),
            ("pattern", "\\d+"),
            ("pattern", "a\\\\b"),
            ("format", "uuid"),
        ] {
            assert_eq!(tightened(string(name, value)), string(name, value), "{value}");
        }
        for (name, value) in [
            ("pattern", "^(?!x)a$"),
            ("pattern", "(?<=a)b"),
            ("pattern", "(a)\\1"),
            ("pattern", "\\bword\\b"),
            ("format", "binary"),
            ("format", "color"),
        ] {
            assert_eq!(tightened(string(name, value)), words(name, value), "{value}");
        }
    }

    #[test]
    fn what_is_not_known_to_be_taken_becomes_words() {
        assert_eq!(
            tightened(
                json!({"$schema": "s", "type": "array", "prefixItems": [{"type": "string"}], "uniqueItems": true})
            ),
            json!({"type": "array", "description": "{prefixItems: [{\"type\":\"string\"}], uniqueItems: true}"})
        );
        assert_eq!(
            tightened(json!({"enum": [{"a": 1}], "default": 1})),
            json!({"default": 1, "description": "{enum: [{\"a\":1}]}"})
        );
        assert_eq!(
            tightened(
                json!({"$ref": "#/$defs/A", "title": "t", "$defs": {"A": {"type": "object", "maxProperties": 1}}})
            ),
            json!({"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "description": "{maxProperties: 1}", "additionalProperties": false}}})
        );
    }

    #[test]
    fn a_tool_takes_an_object() {
        assert_eq!(with_object_type(r#"{"properties":{}}"#), r#"{"type":"object","properties":{}}"#);
        assert_eq!(with_object_type(r#"{"type":["object","null"],"a":1}"#), r#"{"type":"object","a":1}"#);
        assert_eq!(with_object_type(r#"{"type": "object"}"#), r#"{"type": "object"}"#);
        for nothing in ["null", "{}"] {
            assert_eq!(with_object_type(nothing), r#"{"type":"object","properties":{}}"#);
        }
    }
}
