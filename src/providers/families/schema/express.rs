//! The schemas that a dialect can express.

use serde_json::Value;

use super::dialects::{Dialect, Limits, Recursion, Required};
use super::fit::is_object;
use crate::types::structured::resolve;

/// Maximum depth of objects and lists in a strict schema, without the references' own:
/// <https://platform.openai.com/docs/guides/structured-outputs#supported-schemas>.
const MAX_DEPTH: usize = 10;

/// Returns true if each answer that a schema allows is also one that its form in a dialect allows: where objects are closed, not
/// so a dict with any keys or anything at all, and where schemas may not refer to themselves, not so a tree. Nor is a schema
/// that is larger than the dialect's limits.
pub(in crate::providers) fn is_expressible(schema: &Value, dialect: &Dialect) -> bool {
    let mut size = NOTHING;
    measure(schema, &mut size);
    let limits = &dialect.limits;
    size.optional <= limits.optional
        && size.unions <= limits.unions
        && size.alternatives <= limits.alternatives
        && size.properties <= limits.properties
        && size.choices <= limits.choices
        && size.characters <= limits.characters
        && Walk { root: schema, dialect, referred: vec![("#", 0)], optional: 0 }.fits(schema, 0)
}

const NOTHING: Limits = Limits { optional: 0, unions: 0, alternatives: 0, properties: 0, choices: 0, characters: 0 };

/// Adds up what the limits are for.
fn measure(schema: &Value, size: &mut Limits) {
    let Value::Object(members) = schema else { return };
    let required = members.get("required").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for (name, property) in members.get("properties").and_then(Value::as_object).into_iter().flatten() {
        size.optional += usize::from(!required.iter().any(|known| known == name));
        let is_union = ["anyOf", "oneOf"].iter().any(|word| property.get(word).is_some())
            || property.get("type").is_some_and(Value::is_array);
        size.unions += usize::from(is_union);
        size.properties += 1;
    }
    for (name, inner) in members {
        match (name.as_str(), inner) {
            ("properties" | "$defs" | "definitions", Value::Object(named)) => {
                for (name, inner) in named {
                    size.characters += name.chars().count();
                    measure(inner, size);
                }
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(parts)) => {
                if matches!(name.as_str(), "anyOf" | "oneOf") {
                    size.alternatives = size.alternatives.max(parts.len());
                }
                parts.iter().for_each(|part| measure(part, size));
            }
            ("enum", Value::Array(choices)) => {
                size.choices += choices.len();
                size.characters +=
                    choices.iter().filter_map(Value::as_str).map(|choice| choice.chars().count()).sum::<usize>();
            }
            ("items", inner) => measure(inner, size),
            _ => {}
        }
    }
}

/// The walk through a schema and what it refers to.
struct Walk<'a> {
    root: &'a Value,
    dialect: &'a Dialect,
    /// References on the way to here, each with the number of properties before it that are not required.
    referred: Vec<(&'a str, usize)>,
    /// Number of properties on the way to here that are not required.
    optional: usize,
}

impl<'a> Walk<'a> {
    fn fits(&mut self, schema: &'a Value, depth: usize) -> bool {
        let closed = self.dialect.closed;
        let Value::Object(members) = schema else { return !closed };
        if depth > MAX_DEPTH {
            return !closed;
        }
        if let Some(Value::String(reference)) = members.get("$ref") {
            return self.refers(reference, depth);
        }
        if members.contains_key("patternProperties") || members.contains_key("not") || members.contains_key("if") {
            return !closed;
        }
        if let Some(Value::Array(parts)) = members.get("allOf")
            && parts.len() > 1
            && !self.dialect.accepted.contains(&"allOf")
        {
            return !closed;
        }
        let has_properties =
            members.get("properties").and_then(Value::as_object).is_some_and(|named| !named.is_empty());
        if self.dialect.required == Required::Some && is_object(members) && !has_properties {
            return false;
        }
        if closed && !is_closable(members) {
            return false;
        }
        let required = members.get("required").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        members.iter().all(|(name, value)| match (name.as_str(), value) {
            ("properties", Value::Object(named)) => named.iter().all(|(name, schema)| {
                let before = self.optional;
                self.optional += usize::from(!required.iter().any(|known| known == name));
                let fits = self.fits(schema, depth + 1);
                self.optional = before;
                fits
            }),
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(parts)) => {
                parts.iter().all(|part| self.fits(part, depth))
            }
            ("items", schema) => self.fits(schema, depth + 1),
            _ => true,
        })
    }

    fn refers(&mut self, reference: &'a str, depth: usize) -> bool {
        if let Some((_, before)) = self.referred.iter().find(|(known, _)| *known == reference) {
            return match self.dialect.recursion {
                Recursion::Never => false,
                Recursion::Optional => self.optional > *before,
                Recursion::Always => true,
            };
        }
        let Some(target) = resolve(self.root, reference) else { return false };
        self.referred.push((reference, self.optional));
        let fits = self.fits(target, if self.dialect.recursion == Recursion::Never { depth } else { 0 });
        self.referred.pop();
        fits
    }
}

/// Returns true if a schema can be closed without the loss of an answer.
fn is_closable(members: &serde_json::Map<String, Value>) -> bool {
    let is_typed = ["type", "enum", "const", "anyOf", "oneOf", "allOf", "properties"];
    let is_open = match members.get("additionalProperties") {
        Some(Value::Object(schema)) => !schema.is_empty() || !members.contains_key("properties"),
        Some(Value::Bool(false)) => false,
        // Other members may come, and need not.
        _ => !members.contains_key("properties"),
    };
    let is_list = members.get("type").is_some_and(|kind| kind == "array");
    if !is_typed.iter().any(|name| members.contains_key(*name)) || is_object(members) && is_open {
        return false;
    }
    !is_list || members.contains_key("items")
}
