//! Changes a schema to one of a dialect. What it does not take goes into the description, where the model still reads it:
//! `{minimum: 1}`, the form that Anthropic's own SDK gives it (`anthropic.lib._parse._transform`).

use serde_json::{Map, Value, json};

use super::dialects::{CLAUDE, Dialect, Patterns, Required};
use crate::types::structured::resolve;

/// Keywords that restrict no value.
const ANNOTATIONS: &[&str] = &["$anchor", "$comment", "$id", "$schema", "$vocabulary"];

/// Beginnings of pattern syntax that structured output does not support: look-around groups, back-references, word
/// boundaries.
const BEYOND_REGULAR: &[&str] = &["(?=", "(?!", "(?<", "(?P", "\\b", "\\B", "\\k"];

/// Changes a schema to one that Claude and Bedrock accept.
pub(in crate::providers) fn tighten(schema: &mut Value) {
    fit(schema, &CLAUDE);
}

/// Changes a schema to one of a dialect.
pub(in crate::providers) fn fit(schema: &mut Value, dialect: &Dialect) {
    let root = if dialect.merges_references { schema.clone() } else { Value::Null };
    Fitting { dialect, root: &root, merging: Vec::new() }.fit(schema);
}

/// The change of one schema.
struct Fitting<'a> {
    dialect: &'a Dialect,
    /// The schema as it was, in which references are looked up.
    root: &'a Value,
    /// References that are being merged, so that one that leads to itself is merged once.
    merging: Vec<String>,
}

impl Fitting<'_> {
    fn fit(&mut self, schema: &mut Value) {
        let Value::Object(schema) = schema else { return };
        for inside in ["$defs", "definitions"] {
            if let Some(Value::Object(named)) = schema.get_mut(inside) {
                named.values_mut().for_each(|inner| self.fit(inner));
            }
        }
        // A list of one, as pydantic writes a reference with a description.
        if self.dialect.merges_references
            && let Some(Value::Array(parts)) = schema.get("allOf")
            && let [Value::Object(part)] = parts.as_slice()
        {
            let part = part.clone();
            schema.shift_remove("allOf");
            part.into_iter().for_each(|(name, value)| {
                schema.entry(name).or_insert(value);
            });
        }
        let mut merged = None;
        if let Some(Value::String(reference)) = schema.get("$ref") {
            let reference = reference.clone();
            let target = self.merged(&reference, schema);
            // Beside a reference only definitions are accepted.
            schema.retain(|name, _| {
                matches!(name.as_str(), "$defs" | "definitions") || target.is_none() && name == "$ref"
            });
            let Some(target) = target else { return };
            schema.extend(target);
            merged = Some(reference);
        }
        self.merging.extend(merged.clone());
        self.fit_keywords(schema);
        if merged.is_some() {
            self.merging.pop();
        }
    }

    /// Returns what a reference refers to, with the keywords that stand beside the reference; `None` if there are none that
    /// matter, or the reference leads to itself.
    fn merged(&self, reference: &str, beside: &Map<String, Value>) -> Option<Map<String, Value>> {
        let matters = |name: &str| !matches!(name, "$ref" | "$defs" | "definitions" | "default" | "title");
        if !self.dialect.merges_references
            || self.merging.iter().any(|known| known == reference)
            || !beside.keys().any(|name| matters(name))
        {
            return None;
        }
        let mut target = resolve(self.root, reference)?.as_object()?.clone();
        target.retain(|name, _| !matches!(name.as_str(), "$defs" | "definitions"));
        target
            .extend(beside.iter().filter(|(name, _)| matters(name)).map(|(name, value)| (name.clone(), value.clone())));
        Some(target)
    }

    fn fit_keywords(&mut self, schema: &mut Map<String, Value>) {
        if let Some(choices) = schema.shift_remove("oneOf") {
            schema.entry("anyOf").or_insert(choices);
        }
        // OpenAI and Gemini have no constants.
        if self.dialect.merges_references
            && let Some(constant) = schema.shift_remove("const")
        {
            schema.insert("enum".into(), vec![constant].into());
        }
        if !self.dialect.any_choices {
            split_choices(schema);
        }
        if !self.dialect.type_lists {
            split_types(schema);
        }
        self.move_into_description(schema);
        if self.dialect.patterns == Patterns::Whole
            && let Some(Value::String(pattern)) = schema.get_mut("pattern")
        {
            *pattern = unanchored(pattern).to_owned();
        }
        if is_object(schema) && self.dialect.closed {
            schema.insert("additionalProperties".into(), false.into());
        } else if self.dialect.closed {
            schema.shift_remove("additionalProperties");
        }
        if is_object(schema) {
            self.require(schema);
        }
        for (name, inner) in schema.iter_mut() {
            match (name.as_str(), inner) {
                ("properties", Value::Object(named)) => named.values_mut().for_each(|inner| self.fit(inner)),
                ("anyOf" | "allOf" | "prefixItems", Value::Array(schemas)) => {
                    schemas.iter_mut().for_each(|inner| self.fit(inner));
                }
                ("items" | "additionalProperties", inner) => self.fit(inner),
                _ => {}
            }
        }
    }

    /// Makes those properties of an object required that have to be.
    fn require(&self, schema: &mut Map<String, Value>) {
        let has_some = schema.get("required").and_then(Value::as_array).is_some_and(|names| !names.is_empty());
        let is_needed = match self.dialect.required {
            Required::AsGiven => false,
            Required::Some => !has_some,
            Required::All => true,
        };
        if is_needed && let Some(Value::Object(properties)) = schema.get("properties") {
            let names: Vec<Value> = properties.keys().map(|name| name.as_str().into()).collect();
            schema.insert("required".into(), names.into());
        }
    }

    /// Returns true if a keyword is accepted with this value.
    fn is_accepted(&self, name: &str, value: &Value) -> bool {
        let is_primitive = |value: &Value| !value.is_array() && !value.is_object();
        match name {
            // A schema of further members goes into the description.
            "additionalProperties" if self.dialect.closed => value.as_object().is_none_or(|schema| schema.is_empty()),
            "enum" => value.as_array().is_some_and(|values| {
                let is_choice =
                    |value| if self.dialect.any_choices { is_primitive(value) } else { is_word_or_number(value) };
                !values.is_empty() && values.iter().all(is_choice)
            }),
            "const" => is_primitive(value),
            "format" => value.as_str().is_some_and(|format| self.dialect.formats.contains(&format)),
            "pattern" => value.as_str().is_some_and(|pattern| match self.dialect.patterns {
                Patterns::None => false,
                Patterns::Regular => is_regular(pattern),
                Patterns::Whole => is_regular(pattern) && !unanchored(pattern).contains(['^', '$']),
            }),
            "minItems" => value.as_u64().is_some_and(|min| min <= self.dialect.max_min_items),
            _ => self.dialect.accepted.contains(&name),
        }
    }

    fn move_into_description(&self, schema: &mut Map<String, Value>) {
        schema.retain(|name, _| !ANNOTATIONS.contains(&name.as_str()));
        let names: Vec<String> = schema
            .iter()
            .filter(|(name, value)| !self.is_accepted(name, value))
            .map(|(name, _)| name.clone())
            .collect();
        if names.is_empty() {
            return;
        }
        let moved: Vec<String> =
            names.iter().filter_map(|name| Some(format!("{name}: {}", schema.shift_remove(name)?))).collect();
        describe(schema, &moved);
    }
}

pub(super) fn is_object(schema: &Map<String, Value>) -> bool {
    let says_so = match schema.get("type") {
        Some(Value::String(kind)) => kind == "object",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        _ => false,
    };
    // Where alternatives define the members, the alternatives are closed instead.
    let has_alternatives = ["anyOf", "oneOf", "allOf"].iter().any(|name| schema.contains_key(*name));
    schema.contains_key("properties") || says_so && !has_alternatives
}

fn is_word_or_number(value: &Value) -> bool {
    value.is_string() || value.is_number()
}

/// Changes choices other than strings and numbers to types: `["a", null]` is the choice "a", or null. Of booleans both have to
/// be choices, since a type has both.
fn split_choices(schema: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = schema.get("enum") else { return };
    let has = |value: Value| choices.contains(&value);
    let (words, others): (Vec<Value>, Vec<Value>) = choices.iter().cloned().partition(is_word_or_number);
    let is_said = others.iter().all(|value| value.is_null() || value.is_boolean());
    if others.is_empty() || !is_said || schema.contains_key("anyOf") {
        return;
    }
    let mut types = Vec::new();
    if !words.is_empty() {
        types.push(json!({"enum": words}));
    }
    match (has(true.into()), has(false.into())) {
        (false, false) => {}
        (true, true) => types.push(json!({"type": "boolean"})),
        (one, _) => types.push(json!({"type": "boolean", "description": format!("{{enum: [{one}]}}")})),
    }
    if has(Value::Null) {
        types.push(json!({"type": "null"}));
    }
    schema.shift_remove("enum");
    schema.shift_remove("type");
    match <[Value; 1]>::try_from(types) {
        Ok([Value::Object(only)]) => {
            let words =
                only.get("description").and_then(Value::as_str).map(|words| words.trim_matches(['{', '}']).to_owned());
            schema.extend(only.into_iter().filter(|(name, _)| name != "description"));
            words.into_iter().for_each(|words| describe(schema, &[words]));
        }
        Ok(_) => {}
        Err(types) => {
            schema.insert("anyOf".into(), types.into());
        }
    }
}

/// Changes a list of types to alternatives, each with the keywords that stood beside the list.
fn split_types(schema: &mut Map<String, Value>) {
    let Some(Value::Array(types)) = schema.get("type") else { return };
    if schema.contains_key("anyOf") {
        return;
    }
    let types = types.clone();
    schema.shift_remove("type");
    let outside = |name: &str| matches!(name, "title" | "description" | "default" | "$defs" | "definitions");
    let (outer, inner): (Map<_, _>, Map<_, _>) =
        std::mem::take(schema).into_iter().partition(|(name, _)| outside(name));
    let alternatives = types.into_iter().map(|kind| {
        let mut alternative = if kind == "null" { Map::new() } else { inner.clone() };
        if let Some(Value::Array(choices)) = alternative.get_mut("enum") {
            choices.retain(|choice| kind_of(choice) == kind || kind == "number" && choice.is_number());
        }
        alternative.insert("type".into(), kind);
        Value::Object(alternative)
    });
    *schema = outer;
    schema.insert("anyOf".into(), alternatives.collect());
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Returns a pattern without the anchors at its ends.
fn unanchored(pattern: &str) -> &str {
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    pattern.strip_suffix('$').filter(|pattern| !pattern.ends_with('\\')).unwrap_or(pattern)
}

/// Returns true if a pattern is a regular expression in the strict sense, without back-references.
fn is_regular(pattern: &str) -> bool {
    let refers_back = pattern.as_bytes().windows(2).any(|two| two[0] == b'\\' && matches!(two[1], b'1'..=b'9'));
    // A backslash that is itself escaped begins no sequence.
    let pattern = pattern.replace("\\\\", "");
    !refers_back && !BEYOND_REGULAR.iter().any(|beyond| pattern.contains(beyond))
}

/// Appends keywords of a schema to its description, in the form that Anthropic's SDK gives them.
pub(super) fn describe(schema: &mut Map<String, Value>, keywords: &[String]) {
    let keywords = format!("{{{}}}", keywords.join(", "));
    let description = match schema.get("description").and_then(Value::as_str) {
        Some(description) => format!("{description}\n\n{keywords}"),
        None => keywords,
    };
    schema.insert("description".into(), description.into());
}
