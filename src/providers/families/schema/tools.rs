//! Schemas of tools.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::fit::describe;
use crate::types::members::Members;
use crate::types::object::object;

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
