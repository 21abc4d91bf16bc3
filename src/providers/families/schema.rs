//! Adapts JSON schemas to structured output of Claude and of Bedrock.
//!
//! - <https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations>
//! - <https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html>
//!
//! Both refuse objects that are open for further members, and most of what bounds numbers, strings and lists. Anthropic's
//! own SDK closes the objects and moves what is refused into the description, where the model still reads it
//! (`anthropic.lib._parse._transform`). This module does the same, and keeps the patterns and defaults that the
//! documentation allows.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::types::members::Members;
use crate::types::object::object;

/// Keywords that are accepted whatever their value.
const ACCEPTED: &[&str] = &[
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

/// Keywords that restrict no value.
const ANNOTATIONS: &[&str] = &["$anchor", "$comment", "$id", "$schema", "$vocabulary"];

/// Formats of strings that are accepted.
const FORMATS: &[&str] = &["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];

/// Beginnings of pattern syntax that structured output does not support: look-around groups, back-references, word
/// boundaries.
const BEYOND_REGULAR: &[&str] = &["(?=", "(?!", "(?<", "(?P", "\\b", "\\B", "\\k"];

/// Changes a schema to one that is accepted.
pub(in crate::providers) fn tighten(schema: &mut Value) {
    let Value::Object(schema) = schema else { return };
    for inside in ["$defs", "definitions"] {
        if let Some(Value::Object(named)) = schema.get_mut(inside) {
            named.values_mut().for_each(tighten);
        }
    }
    if schema.contains_key("$ref") {
        // Beside a reference only definitions are accepted.
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
    // Where alternatives define the members, the alternatives are closed instead.
    let has_alternatives = ["anyOf", "oneOf", "allOf"].iter().any(|name| schema.contains_key(*name));
    schema.contains_key("properties") || says_so && !has_alternatives
}

/// Returns true if a keyword is accepted with this value.
fn is_accepted(name: &str, value: &Value) -> bool {
    let is_primitive = |value: &Value| !value.is_array() && !value.is_object();
    match name {
        // A schema of further members goes into the description.
        "additionalProperties" => value.as_object().is_none_or(|schema| schema.is_empty()),
        "enum" => value.as_array().is_some_and(|values| !values.is_empty() && values.iter().all(is_primitive)),
        "const" => is_primitive(value),
        "format" => value.as_str().is_some_and(|format| FORMATS.contains(&format)),
        "pattern" => value.as_str().is_some_and(is_regular),
        // A schema may only say whether a list can be empty.
        "minItems" => value.as_u64().is_some_and(|min| min <= 1),
        _ => ACCEPTED.contains(&name),
    }
}

/// Returns true if a pattern is a regular expression in the strict sense, without back-references.
fn is_regular(pattern: &str) -> bool {
    let refers_back = pattern.as_bytes().windows(2).any(|two| two[0] == b'\\' && matches!(two[1], b'1'..=b'9'));
    // A backslash that is itself escaped begins no sequence.
    let pattern = pattern.replace("\\\\", "");
    !refers_back && !BEYOND_REGULAR.iter().any(|beyond| pattern.contains(beyond))
}

fn move_into_description(schema: &mut Map<String, Value>) {
    schema.retain(|name, _| !ANNOTATIONS.contains(&name.as_str()));
    let names: Vec<String> =
        schema.iter().filter(|(name, value)| !is_accepted(name, value)).map(|(name, _)| name.clone()).collect();
    if names.is_empty() {
        return;
    }
    let moved: Vec<String> =
        names.iter().filter_map(|name| Some(format!("{name}: {}", schema.shift_remove(name)?))).collect();
    describe(schema, &moved);
}

/// Appends keywords of a schema to its description, in the form that Anthropic's SDK gives them.
fn describe(schema: &mut Map<String, Value>, keywords: &[String]) {
    let keywords = format!("{{{}}}", keywords.join(", "));
    let description = match schema.get("description").and_then(Value::as_str) {
        Some(description) => format!("{description}\n\n{keywords}"),
        None => keywords,
    };
    schema.insert("description".into(), description.into());
}

/// Returns a tool's schema with an object at its top, which Claude and Converse require. Callers leave out `type` (`{}` for
/// a function without parameters, a bare `anyOf`) or make a list of it. With `flat`, alternatives at the top become one
/// object.
pub(in crate::providers) fn tool_schema(schema: &str, flat: bool) -> Cow<'_, str> {
    let Some(members) = Members::of(schema.as_bytes()).ok().filter(|members| !members.0.is_empty()) else {
        return Cow::Borrowed(r#"{"type":"object","properties":{}}"#);
    };
    if flat
        && members.0.iter().any(|(name, _)| COMBINED.contains(&&**name))
        && let Ok(Value::Object(whole)) = serde_json::from_str(schema)
    {
        return Cow::Owned(Value::Object(flattened(whole)).to_string());
    }
    match members.some("type") {
        Some(kind) if kind.starts_with('"') => Cow::Borrowed(schema),
        _ => {
            let others = members.0.iter().filter(|(name, _)| name != "type");
            Cow::Owned(object(|schema| {
                schema.put("type", "object");
                others.for_each(|(name, value)| schema.put_raw(name, value.get()));
            }))
        }
    }
}

/// Keywords that combine schemas.
const COMBINED: &[&str] = &["anyOf", "oneOf", "allOf"];

/// Replaces combined schemas at the top of a tool's schema, where Claude refuses them
/// (<https://github.com/anthropics/claude-code/issues/5973>), by one object: it may have the members of all of them,
/// requires those that each of them requires, and its description has the rest.
fn flattened(mut schema: Map<String, Value>) -> Map<String, Value> {
    let combined: Vec<(&str, Value)> =
        COMBINED.iter().filter_map(|name| Some((*name, schema.shift_remove(*name)?))).collect();
    let mut properties = object_of(schema.shift_remove("properties"));
    let mut required = strings_of(schema.get("required"));
    for (keyword, parts) in &combined {
        let parts: Vec<Map<String, Value>> =
            parts.as_array().into_iter().flatten().map(|part| resolved(part, &schema)).collect();
        let mut needed = parts.iter().map(|part| strings_of(part.get("required")));
        let needed = match *keyword {
            "allOf" => needed.flatten().collect(),
            _ => needed.next().map_or_else(Vec::new, |first| {
                needed.fold(first, |known, more| known.into_iter().filter(|name| more.contains(name)).collect())
            }),
        };
        required.extend(needed);
        for (name, property) in
            parts.iter().flat_map(|part| part.get("properties").and_then(Value::as_object)).flatten()
        {
            properties.entry(name.as_str()).or_insert_with(|| property.clone());
        }
    }
    required.retain(|name| properties.contains_key(name));
    let mut seen = Vec::new();
    required.retain(|name| {
        !seen.contains(name) && {
            seen.push(name.clone());
            true
        }
    });
    let keywords: Vec<String> = combined.iter().map(|(name, parts)| format!("{name}: {parts}")).collect();
    describe(&mut schema, &keywords);
    schema.insert("type".into(), "object".into());
    schema.insert("properties".into(), properties.into());
    if !required.is_empty() {
        schema.insert("required".into(), required.into());
    }
    schema
}

/// Returns a part of a combination, with its reference resolved.
fn resolved(part: &Value, root: &Map<String, Value>) -> Map<String, Value> {
    let path = part.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/"));
    let found = path.and_then(|path| {
        path.split('/').try_fold(None, |inside: Option<&Value>, name| {
            Some(Some(inside.map_or_else(|| root.get(name), |inside| inside.get(name))?))
        })?
    });
    object_of(Some(found.unwrap_or(part).clone()))
}

fn object_of(value: Option<Value>) -> Map<String, Value> {
    match value {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

fn strings_of(list: Option<&Value>) -> Vec<String> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
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
        assert_eq!(tool_schema(r#"{"properties":{}}"#, true), r#"{"type":"object","properties":{}}"#);
        assert_eq!(tool_schema(r#"{"type":["object","null"],"a":1}"#, true), r#"{"type":"object","a":1}"#);
        assert_eq!(tool_schema(r#"{"type": "object"}"#, true), r#"{"type": "object"}"#);
        for nothing in ["null", "{}"] {
            assert_eq!(tool_schema(nothing, true), r#"{"type":"object","properties":{}}"#);
        }
        let combined = r##"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"anyOf":[{"required":["b"],"properties":{"b":{"type":"integer"}}},{"$ref":"#/$defs/C"}],"$defs":{"C":{"properties":{"b":{"type":"string"},"c":{}},"required":["b","c"]}}}"##;
        assert_eq!(tool_schema(combined, false), combined);
        let flat: Value = serde_json::from_str(&tool_schema(combined, true)).unwrap();
        assert_eq!(
            (&flat["type"], &flat["properties"], &flat["required"], flat.get("anyOf")),
            (
                &json!("object"),
                &json!({"a": {"type": "string"}, "b": {"type": "integer"}, "c": {}}),
                &json!(["a", "b"]),
                None
            )
        );
        assert!(flat["description"].as_str().unwrap().contains("anyOf: ["));
        assert!(flat["$defs"].is_object());
    }
}
