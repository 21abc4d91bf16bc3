//! JSON schemas as Anthropic's structured output takes them.
//!
//! It refuses objects that are open for further members, and what bounds numbers, strings and lists:
//! <https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations>. Its own SDK closes
//! the objects and moves the bounds into the description, where the model still reads them; so does this.

use serde_json::{Map, Value};

/// Keywords that say what a value must be like and that are refused.
const BOUNDS: &[&str] = &[
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "minContains",
    "maxContains",
    "minProperties",
    "maxProperties",
];

/// Makes a schema one that is taken.
pub(super) fn tighten(schema: &mut Value) {
    let Value::Object(schema) = schema else { return };
    let is_object = schema.get("type").is_some_and(|kind| kind == "object") || schema.contains_key("properties");
    if is_object {
        schema.insert("additionalProperties".into(), false.into());
    }
    if let Some(choices) = schema.remove("oneOf") {
        schema.entry("anyOf").or_insert(choices);
    }
    move_bounds(schema);
    for (name, inner) in schema.iter_mut() {
        match (name.as_str(), inner) {
            ("properties" | "$defs" | "definitions", Value::Object(named)) => named.values_mut().for_each(tighten),
            ("anyOf" | "allOf" | "prefixItems", Value::Array(schemas)) => schemas.iter_mut().for_each(tighten),
            ("items", inner) => tighten(inner),
            _ => {}
        }
    }
}

fn move_bounds(schema: &mut Map<String, Value>) {
    // Lists may be asked to be empty or not, no more.
    let is_refused = |name: &str, value: &Value| {
        BOUNDS.contains(&name) || (name == "minItems" && value.as_u64().is_none_or(|least| least > 1))
    };
    let names: Vec<String> =
        schema.iter().filter(|(name, value)| is_refused(name, value)).map(|(name, _)| name.clone()).collect();
    if names.is_empty() {
        return;
    }
    let bounds: Vec<String> =
        names.iter().filter_map(|name| Some(format!("{name}: {}", schema.shift_remove(name)?))).collect();
    let bounds = format!("{{{}}}", bounds.join(", "));
    let description = match schema.get("description").and_then(Value::as_str) {
        Some(description) => format!("{description}\n\n{bounds}"),
        None => bounds,
    };
    schema.insert("description".into(), description.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_are_closed_and_bounds_become_words() {
        let mut schema = json!({"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}, "minimum": {"type": "string"},
            "l": {"type": "array", "minItems": 1, "items": {"oneOf": [{"type": "object", "properties": {}}]}}}});
        tighten(&mut schema);
        assert_eq!(
            schema,
            json!({"type": "object", "additionalProperties": false, "properties": {"n": {"type": "integer", "description": "{minimum: 1}"}, "minimum": {"type": "string"},
            "l": {"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "object", "properties": {}, "additionalProperties": false}]}}}})
        );
    }
}
