//! Checks JSON values against JSON schemas, for answers that have to follow one. No vendor, no I/O, no Python.
//!
//! The keywords are those of draft 2020-12 with references inside the schema, and the older forms of `items`. Not asserted are
//! `format`, `unevaluatedItems`, `unevaluatedProperties` and patterns with look-around or classes of Unicode, which the
//! regular expressions here do not have.

mod check;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;

use regex_lite::Regex;
use serde_json::Value;

use crate::types::structured::resolve;

/// A schema that values are checked against.
#[derive(Debug)]
pub struct Validator {
    schema: Value,
    /// Patterns of the schema; `None` for those that cannot be asserted.
    patterns: HashMap<String, Option<Regex>>,
}

/// A reason why a value does not fit a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Place in the value, such as `items[0].price`; empty for the whole of it.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

impl Validator {
    /// Prepares a schema.
    ///
    /// # Errors
    ///
    /// The first reference of the schema that leads nowhere in it.
    pub fn new(schema: Value) -> Result<Self, String> {
        let mut patterns = HashMap::new();
        prepare(&schema, &schema, &mut patterns)?;
        Ok(Self { schema, patterns })
    }

    /// Returns the schema.
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// Checks a value, and returns why it does not fit: nothing if it does, and otherwise the first few reasons.
    pub fn violations(&self, value: &Value) -> Vec<Violation> {
        check::violations(self, value)
    }

    /// Returns true if a value fits.
    pub fn is_valid(&self, value: &Value) -> bool {
        self.violations(value).is_empty()
    }
}

/// Keywords whose value is no schema, and holds none.
const DATA: &[&str] = &["const", "enum", "default", "examples", "example"];

/// Compiles the patterns below a part of a schema, and looks its references up.
fn prepare(part: &Value, root: &Value, patterns: &mut HashMap<String, Option<Regex>>) -> Result<(), String> {
    match part {
        Value::Object(members) => {
            for (name, value) in members {
                match (name.as_str(), value) {
                    ("$ref", Value::String(reference)) if resolve(root, reference).is_none() => {
                        return Err(reference.clone());
                    }
                    ("pattern", Value::String(pattern)) => add(pattern, patterns),
                    ("patternProperties", Value::Object(named)) => named.keys().for_each(|name| add(name, patterns)),
                    _ => {}
                }
                if !DATA.contains(&name.as_str()) {
                    prepare(value, root, patterns)?;
                }
            }
            Ok(())
        }
        Value::Array(items) => items.iter().try_for_each(|item| prepare(item, root, patterns)),
        _ => Ok(()),
    }
}

fn add(pattern: &str, patterns: &mut HashMap<String, Option<Regex>>) {
    patterns.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).ok());
}
