//! The description of a job in its folder: `manifest.json`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Durability, failure, storage};
use crate::bulk::line::Totals;
use crate::error::{Error, ErrorKind, Result};

/// Format of a job's folder that this version writes and reads.
const FORMAT: u32 = 1;

/// Description of a job. It has no keys: whoever makes it leaves them out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of the folder.
    pub format: u32,
    /// Version of this library that wrote it last.
    pub version: String,
    /// The parameters of the job that its answers depend on, as they were given.
    pub parameters: Map<String, Value>,
    /// Description of the input.
    pub input: Value,
    /// Rows of the input, if they have been counted.
    pub rows: Option<u64>,
    /// Rows whose last outcome is an answer, when this was written.
    pub done: u64,
    /// Rows whose last outcome is an error, when this was written.
    pub failed: u64,
    /// Sums over all runs of the job, when this was written. The segments tell the present ones.
    pub totals: Totals,
    /// Time of the first run, in seconds since 1970.
    pub created: u64,
    /// Time at which this was written, in seconds since 1970.
    pub written: u64,
}

/// A parameter that is not as it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Name of the parameter; those of nested objects are joined by dots.
    pub name: String,
    /// Its value in the manifest, if it has one.
    pub old: Option<Value>,
    /// Its value now, if it has one.
    pub new: Option<Value>,
}

impl Manifest {
    /// Creates the description of a job that has no outcomes.
    pub fn new(parameters: Map<String, Value>, input: Value, now: u64) -> Self {
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            parameters,
            input,
            rows: None,
            done: 0,
            failed: 0,
            totals: Totals::default(),
            created: now,
            written: now,
        }
    }

    /// Reads the description of a job; `None` if the folder has none.
    ///
    /// # Errors
    ///
    /// It cannot be read, or has another format.
    pub fn load(job: &Path) -> Result<Option<Self>> {
        let path = path_of(job);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|error| failure::of_io("read", &path, &error))?,
        };
        let wrong = |why: String| {
            let message = format!("{} cannot be used: {why}", path.display());
            Error::new(ErrorKind::Journal, message).unsent()
        };
        let value: Value = serde_json::from_slice(&text).map_err(|error| wrong(format!("it is not JSON ({error})")))?;
        match value.get("format").and_then(Value::as_u64) {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(format) => {
                let why = format!("it has format {format}, and this version of ritellm knows format {FORMAT}");
                return Err(wrong(why));
            }
            None => return Err(wrong("it does not say its format".to_owned())),
        }
        serde_json::from_value(value).map(Some).map_err(|error| wrong(error.to_string()))
    }

    /// Writes the description: after a crash the folder has this one or the one before. `durability` says after which ones.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn store(&self, job: &Path, durability: Durability) -> Result<()> {
        let path = path_of(job);
        let text = serde_json::to_vec_pretty(self).map_err(std::io::Error::from);
        let is_synced = durability != Durability::Unsynced;
        text.and_then(|text| storage::replace(&path, is_synced, |file| file.write_all(&[&text[..], b"\n"].concat())))
            .map_err(|error| failure::of_io("write", &path, &error))
    }

    /// Returns the parameters that are not as they were, sorted by their names. Numbers are compared by their values.
    pub fn changes(&self, parameters: &Map<String, Value>) -> Vec<Change> {
        let mut changes = Vec::new();
        compare("", &self.parameters, parameters, &mut changes);
        changes.sort_by(|one, other| one.name.cmp(&other.name));
        changes
    }
}

fn path_of(job: &Path) -> PathBuf {
    job.join("manifest.json")
}

fn compare(prefix: &str, old: &Map<String, Value>, new: &Map<String, Value>, changes: &mut Vec<Change>) {
    let added = new.keys().filter(|name| !old.contains_key(*name));
    for name in old.keys().chain(added) {
        let (old, new) = (old.get(name), new.get(name));
        let name = format!("{prefix}{name}");
        match (old, new) {
            (Some(Value::Object(old)), Some(Value::Object(new))) => compare(&format!("{name}."), old, new, changes),
            (Some(old), Some(new)) if is_same(old, new) => {}
            _ => changes.push(Change { name, old: old.cloned(), new: new.cloned() }),
        }
    }
}

/// Returns true if two values are equal, whatever the order of members and the form of numbers: 1 is 1.0.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| is_same(value, other)))
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn names_and_values_of_what_changed() {
        let old = object(json!({"model": "a/b", "temperature": 1, "format": {"type": "x", "strict": true}, "seed": 7}));
        let manifest = Manifest::new(old.clone(), json!({}), 5);
        assert_eq!(manifest.changes(&old), []);
        let same = json!({"seed": 7.0, "format": {"strict": true, "type": "x"}, "temperature": 1.0, "model": "a/b"});
        assert_eq!(manifest.changes(&object(same)), []);
        let new = json!({"model": "a/c", "temperature": 1, "format": {"type": "x", "strict": false}, "top_p": 0.5});
        let change = |name: &str, old: Option<Value>, new: Option<Value>| Change { name: name.into(), old, new };
        assert_eq!(
            manifest.changes(&object(new)),
            [
                change("format.strict", Some(json!(true)), Some(json!(false))),
                change("model", Some(json!("a/b")), Some(json!("a/c"))),
                change("seed", Some(json!(7)), None),
                change("top_p", None, Some(json!(0.5))),
            ]
        );
    }
}
