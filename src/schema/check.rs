//! The keywords.

use serde_json::{Map, Number, Value};

use super::{Validator, Violation};
use crate::types::structured::resolve;

/// Maximum number of violations that are reported.
const MAX_VIOLATIONS: usize = 20;

/// Maximum number of schemas that are applied inside each other: a reference may lead to itself.
const MAX_DEPTH: usize = 512;

/// Maximum length of a value in a message, in bytes.
const MAX_SHOWN: usize = 80;

/// Bound of a number: the keyword, the comparison of value and bound, and its words.
type Bound = (&'static str, fn(f64, f64) -> bool, &'static str);

const BOUNDS: [Bound; 4] = [
    ("minimum", |value, bound| value >= bound, "at least"),
    ("maximum", |value, bound| value <= bound, "at most"),
    ("exclusiveMinimum", |value, bound| value > bound, "more than"),
    ("exclusiveMaximum", |value, bound| value < bound, "less than"),
];

/// Returns why a value does not fit.
pub(super) fn violations(validator: &Validator, value: &Value) -> Vec<Violation> {
    let mut check =
        Check { validator, path: String::new(), found: Vec::new(), is_silent: false, has_failed: false, depth: 0 };
    check.apply(&validator.schema, value);
    check.found
}

/// The check of one value.
struct Check<'a> {
    validator: &'a Validator,
    path: String,
    found: Vec<Violation>,
    /// True while an alternative is tried, whose violations are not reported.
    is_silent: bool,
    has_failed: bool,
    depth: usize,
}

impl<'a> Check<'a> {
    fn fail(&mut self, message: impl FnOnce() -> String) {
        self.has_failed = true;
        if !self.is_silent && self.found.len() < MAX_VIOLATIONS {
            self.found.push(Violation { path: self.path.clone(), message: message() });
        }
    }

    /// Returns true if a value fits a schema, without a report.
    fn fits(&mut self, schema: &'a Value, value: &Value) -> bool {
        let before = (std::mem::replace(&mut self.is_silent, true), std::mem::replace(&mut self.has_failed, false));
        self.apply(schema, value);
        let fits = !self.has_failed;
        (self.is_silent, self.has_failed) = before;
        fits
    }

    /// Applies a schema to a part of the value, which stands under a name or a number.
    fn inside(&mut self, step: &str, schema: &'a Value, value: &Value) {
        let length = self.path.len();
        if !step.starts_with('[') && length > 0 {
            self.path.push('.');
        }
        self.path.push_str(step);
        self.apply(schema, value);
        self.path.truncate(length);
    }

    fn apply(&mut self, schema: &'a Value, value: &Value) {
        match schema {
            Value::Bool(false) => self.fail(|| "has to be absent".to_owned()),
            // Where one violation is known, an alternative is known not to fit.
            Value::Object(_) if self.is_silent && self.has_failed => {}
            Value::Object(keywords) if self.depth < MAX_DEPTH => {
                self.depth += 1;
                self.apply_keywords(keywords, value);
                self.depth -= 1;
            }
            Value::Object(_) => self.fail(|| format!("is nested more than {MAX_DEPTH} deep")),
            _ => {}
        }
    }

    fn apply_keywords(&mut self, keywords: &'a Map<String, Value>, value: &Value) {
        if let Some(kind) = keywords.get("type")
            && !has_type(kind, value)
        {
            self.fail(|| format!("is {}, and has to be of type {}", shown(value), kinds(kind)));
            return;
        }
        for (name, keyword) in keywords {
            self.apply_any(keywords, name, keyword, value);
        }
        match value {
            Value::Number(number) => self.apply_to_number(keywords, number),
            Value::String(text) => self.apply_to_string(keywords, text),
            Value::Array(items) => self.apply_to_list(keywords, items),
            Value::Object(members) => self.apply_to_object(keywords, members),
            _ => {}
        }
    }

    /// Applies the keywords for values of any type.
    fn apply_any(&mut self, keywords: &'a Map<String, Value>, name: &str, keyword: &'a Value, value: &Value) {
        match (name, keyword) {
            ("$ref", Value::String(reference)) => {
                if let Some(schema) = resolve(&self.validator.schema, reference) {
                    self.apply(schema, value);
                }
            }
            ("enum", Value::Array(values)) if !values.iter().any(|known| is_equal(known, value)) => {
                self.fail(|| format!("is {}, and has to be one of {}", shown(value), shown(keyword)));
            }
            ("const", known) if !is_equal(known, value) => {
                self.fail(|| format!("is {}, and has to be {}", shown(value), shown(known)));
            }
            ("allOf", Value::Array(schemas)) => schemas.iter().for_each(|schema| self.apply(schema, value)),
            ("anyOf", Value::Array(schemas)) => self.apply_alternatives(schemas, value),
            ("oneOf", Value::Array(schemas)) => {
                match schemas.iter().filter(|schema| self.fits(schema, value)).count() {
                    1 => {}
                    0 => self.apply_alternatives(schemas, value),
                    count => self.fail(|| format!("fits {count} alternatives, and has to fit one")),
                }
            }
            ("not", schema) if self.fits(schema, value) => {
                self.fail(|| format!("is {}, and must not fit {}", shown(value), shown(schema)));
            }
            ("if", condition) => {
                let branch = if self.fits(condition, value) { "then" } else { "else" };
                if let Some(schema) = keywords.get(branch) {
                    self.apply(schema, value);
                }
            }
            _ => {}
        }
    }

    /// Applies alternatives. Of those that do not fit, the one is reported whose type does.
    fn apply_alternatives(&mut self, schemas: &'a [Value], value: &Value) {
        if schemas.iter().any(|schema| self.fits(schema, value)) {
            return;
        }
        let of_its_type: Vec<&Value> = schemas
            .iter()
            .filter(|schema| {
                let schema = match schema.get("$ref").and_then(Value::as_str) {
                    Some(reference) => resolve(&self.validator.schema, reference).unwrap_or(schema),
                    None => schema,
                };
                schema.get("type").is_none_or(|kind| has_type(kind, value))
            })
            .collect();
        match of_its_type.as_slice() {
            [schema] => self.apply(schema, value),
            _ => self.fail(|| format!("is {}, and fits none of the alternatives", shown(value))),
        }
    }

    fn apply_to_number(&mut self, keywords: &'a Map<String, Value>, number: &Number) {
        let value = number.as_f64().unwrap_or(f64::NAN);
        for (name, holds, words) in BOUNDS {
            if let Some(bound) = keywords.get(name)
                && bound.as_f64().is_some_and(|bound| !holds(value, bound))
            {
                self.fail(|| format!("is {number}, and has to be {words} {bound}"));
            }
        }
        if let Some(step) = keywords.get("multipleOf")
            && step.as_f64().is_some_and(|step| step > 0.0 && !is_multiple(value, step))
        {
            self.fail(|| format!("is {number}, and has to be a multiple of {step}"));
        }
    }

    fn apply_to_string(&mut self, keywords: &'a Map<String, Value>, text: &str) {
        if keywords.contains_key("minLength") || keywords.contains_key("maxLength") {
            self.apply_count(keywords, "Length", text.chars().count(), "characters");
        }
        if let Some(Value::String(pattern)) = keywords.get("pattern")
            && self.matches(pattern, text) == Some(false)
        {
            self.fail(|| format!("is {}, and has to match the pattern {pattern}", shown(&text.into())));
        }
    }

    /// Returns true if a text matches a pattern; `None` if that cannot be asserted.
    fn matches(&self, pattern: &str, text: &str) -> Option<bool> {
        Some(self.validator.patterns.get(pattern)?.as_ref()?.is_match(text))
    }

    /// Applies `min…` and `max…` to a number of things.
    fn apply_count(&mut self, keywords: &'a Map<String, Value>, name: &str, count: usize, noun: &str) {
        let limit = |prefix: &str| keywords.get(&format!("{prefix}{name}")).and_then(Value::as_f64);
        if let Some(min) = limit("min").filter(|min| (count as f64) < *min) {
            self.fail(|| format!("has {count} {noun}, and has to have at least {min}"));
        }
        if let Some(max) = limit("max").filter(|max| (count as f64) > *max) {
            self.fail(|| format!("has {count} {noun}, and has to have at most {max}"));
        }
    }

    fn apply_to_list(&mut self, keywords: &'a Map<String, Value>, items: &[Value]) {
        self.apply_count(keywords, "Items", items.len(), "items");
        let older = keywords.get("items").and_then(Value::as_array);
        let first = keywords.get("prefixItems").and_then(Value::as_array).or(older);
        let first = first.map_or(&[][..], Vec::as_slice);
        let rest = if older.is_some() { keywords.get("additionalItems") } else { keywords.get("items") };
        for (index, item) in items.iter().enumerate() {
            if let Some(schema) = first.get(index).or(rest) {
                self.inside(&format!("[{index}]"), schema, item);
            }
        }
        if keywords.get("uniqueItems") == Some(&Value::Bool(true)) {
            let twice =
                (1..items.len()).find(|index| items[..*index].iter().any(|earlier| is_equal(earlier, &items[*index])));
            if let Some(index) = twice {
                self.fail(|| format!("has {} twice", shown(&items[index])));
            }
        }
        if let Some(schema) = keywords.get("contains") {
            let count = items.iter().filter(|item| self.fits(schema, item)).count() as f64;
            let limit = |name: &str| keywords.get(name).and_then(Value::as_f64);
            if count < limit("minContains").unwrap_or(1.0) || limit("maxContains").is_some_and(|max| count > max) {
                self.fail(|| format!("has {count} items that fit {}", shown(schema)));
            }
        }
    }

    fn apply_to_object(&mut self, keywords: &'a Map<String, Value>, members: &Map<String, Value>) {
        self.apply_count(keywords, "Properties", members.len(), "members");
        let required = keywords.get("required").and_then(Value::as_array).into_iter().flatten();
        let missing = required.filter_map(Value::as_str).filter(|name| !members.contains_key(*name));
        for name in missing {
            self.fail(|| format!("lacks {name:?}"));
        }
        let properties = keywords.get("properties").and_then(Value::as_object);
        let patterns = keywords.get("patternProperties").and_then(Value::as_object);
        let others = keywords.get("additionalProperties");
        for (name, value) in members {
            let mut is_known = false;
            if let Some(schema) = properties.and_then(|known| known.get(name)) {
                is_known = true;
                self.inside(name, schema, value);
            }
            for (pattern, schema) in patterns.into_iter().flatten() {
                if self.matches(pattern, name) != Some(false) {
                    is_known = true;
                    self.inside(name, schema, value);
                }
            }
            match others {
                Some(Value::Bool(false)) if !is_known => self.fail(|| format!("has {name:?}, which is not allowed")),
                Some(schema) if !is_known => self.inside(name, schema, value),
                _ => {}
            }
            if let Some(schema) = keywords.get("propertyNames") {
                self.inside(name, schema, &name.as_str().into());
            }
            // The last is draft 7's word for both.
            for keyword in ["dependentRequired", "dependentSchemas", "dependencies"] {
                match keywords.get(keyword).and_then(|of| of.get(name)) {
                    Some(Value::Array(needed)) => {
                        let needed = needed.iter().filter_map(Value::as_str);
                        for needed in needed.filter(|needed| !members.contains_key(*needed)) {
                            self.fail(|| format!("has {name:?} and lacks {needed:?}"));
                        }
                    }
                    Some(schema) => self.apply(schema, &Value::Object(members.clone())),
                    None => {}
                }
            }
        }
    }
}

/// Returns true if a value is of a type, or of one of several.
fn has_type(kind: &Value, value: &Value) -> bool {
    match kind {
        Value::String(kind) => match kind.as_str() {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "string" => value.is_string(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            "number" => value.is_number(),
            "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
            _ => true,
        },
        Value::Array(kinds) => kinds.iter().any(|kind| has_type(kind, value)),
        _ => true,
    }
}

fn kinds(kind: &Value) -> String {
    match kind {
        Value::String(kind) => kind.clone(),
        Value::Array(all) => all.iter().map(kinds).collect::<Vec<_>>().join(" or "),
        other => other.to_string(),
    }
}

/// Returns true if two values are the same in JSON, where 1 and 1.0 are.
fn is_equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| is_equal(value, other)))
        }
        _ => one == other,
    }
}

/// Returns true if a number is a multiple of another, up to the rounding of decimal fractions such as 0.01.
fn is_multiple(value: f64, step: f64) -> bool {
    let quotient = value / step;
    quotient.is_finite() && (quotient - quotient.round()).abs() <= f64::EPSILON * quotient.abs().max(1.0)
}

/// Returns a value's JSON, cut if it is long.
fn shown(value: &Value) -> String {
    let mut json = value.to_string();
    if json.len() > MAX_SHOWN {
        let end = (0..=MAX_SHOWN).rev().find(|end| json.is_char_boundary(*end)).unwrap_or_default();
        json.truncate(end);
        json.push('…');
    }
    json
}
