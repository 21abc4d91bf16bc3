//! Adapts JSON schemas to what models take for structured output.
//!
//! A [`Dialect`] has the keywords that are taken. What is not goes into the description, where the model still reads it:
//! `{minimum: 1}`, the form that Anthropic's own SDK gives it (`anthropic.lib._parse._transform`).

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::types::members::Members;
use crate::types::object::object;
use crate::types::structured::resolve;

/// Schemas that a model or a host takes.
#[derive(Debug)]
pub(in crate::providers) struct Dialect {
    /// Keywords that are accepted whatever their value.
    accepted: &'static [&'static str],
    /// Formats of strings that are accepted.
    formats: &'static [&'static str],
    /// True if patterns are accepted that are regular expressions in the strict sense.
    patterns: bool,
    /// Maximum value of `minItems`.
    max_min_items: u64,
    /// True if objects have to be closed.
    closed: bool,
    /// True if each property has to be required.
    all_required: bool,
    /// True if what stands beside a reference is merged into a copy of what it refers to, and otherwise dropped.
    merges_references: bool,
    /// True if schemas may refer to themselves.
    recursive: bool,
    /// Maximum number of properties that are not required, in all objects together.
    max_optional: usize,
    /// Maximum number of properties with alternatives, such as `Optional` makes them, in all objects together.
    max_unions: usize,
}

/// Structured output of Claude and of Bedrock.
///
/// <https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations>,
/// <https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html>
pub(in crate::providers) static CLAUDE: Dialect = Dialect {
    accepted: &[
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
    ],
    formats: FORMATS,
    patterns: true,
    // A schema may only say whether a list can be empty.
    max_min_items: 1,
    closed: true,
    all_required: false,
    merges_references: false,
    recursive: false,
    // The messages of the API name both: "Schemas contains too many optional parameters … limit: 24"
    // (<https://github.com/elie222/inbox-zero/issues/2323>), "… too many parameters with union types (24 parameters with type
    // arrays or anyOf) … limit: 16", which public programs quote alike.
    max_optional: 24,
    max_unions: 16,
};

/// OpenAI's strict schemas: <https://platform.openai.com/docs/guides/structured-outputs#supported-schemas>. A `default` is
/// refused (<https://github.com/567-labs/instructor/issues/1074>), as is anything beside a reference
/// (<https://github.com/vectorize-io/hindsight/pull/3944>).
pub(in crate::providers) static OPENAI: Dialect = Dialect {
    accepted: &[
        "$defs",
        "$ref",
        "additionalProperties",
        "anyOf",
        "definitions",
        "description",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "items",
        "maximum",
        "maxItems",
        "minimum",
        "multipleOf",
        "properties",
        "required",
        "title",
        "type",
    ],
    // As Claude's, without addresses on the web.
    formats: &["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"],
    patterns: true,
    max_min_items: u64::MAX,
    closed: true,
    all_required: true,
    merges_references: true,
    recursive: true,
    max_optional: usize::MAX,
    max_unions: usize::MAX,
};

/// Keywords that every host with strict schemas takes.
const KEYWORDS: &[&str] = &[
    "$defs",
    "$ref",
    "additionalProperties",
    "anyOf",
    "definitions",
    "description",
    "items",
    "properties",
    "required",
    "title",
    "type",
];

/// The keywords that every host with strict schemas takes: <https://inference-docs.cerebras.ai/capabilities/structured-outputs>.
pub(in crate::providers) static BARE: Dialect =
    Dialect { accepted: KEYWORDS, formats: &[], patterns: false, max_min_items: 0, recursive: false, ..OPENAI };

/// Gemini's `responseJsonSchema`: <https://ai.google.dev/api/generate-content#FIELDS.response_json_schema>.
pub(in crate::providers) static GEMINI: Dialect = Dialect {
    accepted: &[
        "$defs",
        "$ref",
        "additionalProperties",
        "anyOf",
        "description",
        "items",
        "maxItems",
        "maximum",
        "minimum",
        "prefixItems",
        "properties",
        "propertyOrdering",
        "required",
        "title",
        "type",
    ],
    formats: &["date-time", "date", "time"],
    patterns: false,
    max_min_items: u64::MAX,
    closed: false,
    all_required: false,
    merges_references: true,
    recursive: true,
    max_optional: usize::MAX,
    max_unions: usize::MAX,
};

/// Cohere's: <https://docs.cohere.com/docs/parameter-types-in-json>.
pub(in crate::providers) static COHERE: Dialect = Dialect {
    accepted: KEYWORDS,
    formats: &["date-time", "date", "time", "uuid"],
    patterns: true,
    max_min_items: 0,
    closed: false,
    all_required: false,
    merges_references: true,
    recursive: false,
    max_optional: usize::MAX,
    max_unions: usize::MAX,
};

/// Formats of strings that Claude accepts.
const FORMATS: &[&str] = &["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];

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
        self.move_into_description(schema);
        if self.dialect.closed && is_object(schema) {
            schema.insert("additionalProperties".into(), false.into());
            if self.dialect.all_required
                && let Some(Value::Object(properties)) = schema.get("properties")
            {
                let names: Vec<Value> = properties.keys().map(|name| name.as_str().into()).collect();
                schema.insert("required".into(), names.into());
            }
        } else if self.dialect.closed {
            schema.shift_remove("additionalProperties");
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

    /// Returns true if a keyword is accepted with this value.
    fn is_accepted(&self, name: &str, value: &Value) -> bool {
        let is_primitive = |value: &Value| !value.is_array() && !value.is_object();
        match name {
            // A schema of further members goes into the description.
            "additionalProperties" if self.dialect.closed => value.as_object().is_none_or(|schema| schema.is_empty()),
            "enum" => value.as_array().is_some_and(|values| !values.is_empty() && values.iter().all(is_primitive)),
            "const" => is_primitive(value),
            "format" => value.as_str().is_some_and(|format| self.dialect.formats.contains(&format)),
            "pattern" => self.dialect.patterns && value.as_str().is_some_and(is_regular),
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

/// Maximum depth of objects and lists in a strict schema, without the references' own:
/// <https://platform.openai.com/docs/guides/structured-outputs#supported-schemas>.
const MAX_DEPTH: usize = 10;

/// Returns true if each answer that a schema allows is also one that its closed form in a dialect allows: not so a dict with
/// any keys, anything at all, or, where schemas may not refer to themselves, a tree. Nor is a schema that is larger than the
/// dialect's limits.
pub(in crate::providers) fn is_expressible(schema: &Value, dialect: &Dialect) -> bool {
    let (optional, unions) = counts(schema);
    optional <= dialect.max_optional
        && unions <= dialect.max_unions
        && expressible(schema, schema, dialect, &mut Vec::new(), 0)
}

/// Returns the number of a schema's properties that are not required, and of those with alternatives.
fn counts(schema: &Value) -> (usize, usize) {
    let Value::Object(members) = schema else { return (0, 0) };
    let (mut optional, mut unions) = (0, 0);
    let required = members.get("required").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for (name, property) in members.get("properties").and_then(Value::as_object).into_iter().flatten() {
        optional += usize::from(!required.iter().any(|known| known == name));
        let is_union = ["anyOf", "oneOf"].iter().any(|word| property.get(word).is_some())
            || property.get("type").is_some_and(Value::is_array);
        unions += usize::from(is_union);
    }
    for (name, inner) in members {
        let below: Vec<_> = match (name.as_str(), inner) {
            ("properties" | "$defs" | "definitions", Value::Object(named)) => named.values().map(counts).collect(),
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(parts)) => parts.iter().map(counts).collect(),
            ("items", inner) => vec![counts(inner)],
            _ => Vec::new(),
        };
        for (more_optional, more_unions) in below {
            optional += more_optional;
            unions += more_unions;
        }
    }
    (optional, unions)
}

fn expressible<'a>(
    schema: &'a Value,
    root: &'a Value,
    dialect: &Dialect,
    referred: &mut Vec<&'a str>,
    depth: usize,
) -> bool {
    let Value::Object(members) = schema else { return !dialect.closed };
    if depth > MAX_DEPTH {
        return !dialect.closed;
    }
    if let Some(Value::String(reference)) = members.get("$ref") {
        if referred.contains(&reference.as_str()) {
            return dialect.recursive;
        }
        let Some(target) = resolve(root, reference) else { return false };
        referred.push(reference);
        let fits = expressible(target, root, dialect, referred, if dialect.recursive { 0 } else { depth });
        referred.pop();
        return fits;
    }
    let mut inner = |schema: &'a Value, deeper: usize| expressible(schema, root, dialect, referred, depth + deeper);
    if members.contains_key("patternProperties") || members.contains_key("not") || members.contains_key("if") {
        return !dialect.closed;
    }
    if let Some(Value::Array(parts)) = members.get("allOf")
        && parts.len() > 1
        && !dialect.accepted.contains(&"allOf")
    {
        return !dialect.closed;
    }
    if dialect.closed {
        let is_typed = ["type", "enum", "const", "anyOf", "oneOf", "allOf", "properties"];
        let is_open = match members.get("additionalProperties") {
            Some(Value::Object(schema)) => !schema.is_empty() || !members.contains_key("properties"),
            Some(Value::Bool(false)) => false,
            // Other members may come, and need not.
            _ => !members.contains_key("properties"),
        };
        let is_list = members.get("type").is_some_and(|kind| kind == "array");
        if !is_typed.iter().any(|name| members.contains_key(*name))
            || is_object(members) && is_open
            || is_list && !members.contains_key("items")
        {
            return false;
        }
    }
    members.iter().all(|(name, value)| match (name.as_str(), value) {
        ("properties", Value::Object(named)) => named.values().all(|schema| inner(schema, 1)),
        ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(parts)) => parts.iter().all(|part| inner(part, 0)),
        ("items", schema) => inner(schema, 1),
        _ => true,
    })
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

/// Returns true if a pattern is a regular expression in the strict sense, without back-references.
fn is_regular(pattern: &str) -> bool {
    let refers_back = pattern.as_bytes().windows(2).any(|two| two[0] == b'\\' && matches!(two[1], b'1'..=b'9'));
    // A backslash that is itself escaped begins no sequence.
    let pattern = pattern.replace("\\\\", "");
    !refers_back && !BEYOND_REGULAR.iter().any(|beyond| pattern.contains(beyond))
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
