//! A call's parameters: a JSON object kept as bytes, its top-level members indexed.

use std::ops::Range;

use super::members::Members;
use crate::error::{Error, Result};

/// A JSON object whose member values stay the bytes they were given as.
///
/// A provider that speaks OpenAI's format sends them on without parsing them; another one parses just the members it maps.
#[derive(Debug, Clone, Default)]
pub struct Params {
    /// `"name":value` after `"name":value`, separated by commas.
    text: Vec<u8>,
    members: Vec<Member>,
    /// Whether `text` is exactly the members in order, so that it can be sent in one piece.
    whole: bool,
}

#[derive(Debug, Clone)]
struct Member {
    name: Box<str>,
    /// Where `"name":value` stands.
    start: usize,
    /// Where the value stands.
    value: Range<usize>,
}

impl Params {
    /// No members, with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { text: Vec::with_capacity(capacity), members: Vec::with_capacity(8), whole: true }
    }

    /// The members of a JSON object.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let mut params = Self::with_capacity(json.len());
        params.merge_json(json)?;
        Ok(params)
    }

    /// Adds a JSON object's members; a name that is there already gets the new value.
    pub fn merge_json(&mut self, json: &[u8]) -> Result<()> {
        let members = Members::of(json)
            .map_err(|error| Error::argument(format!("expected a JSON object of parameters: {error}")))?;
        for (name, value) in &members.0 {
            self.set(name, value.get().as_bytes());
        }
        Ok(())
    }

    /// Gives `name` this value: JSON, as bytes.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        self.set_with(name, |text| {
            text.extend_from_slice(value);
            Ok::<(), std::convert::Infallible>(())
        })
        .unwrap_or_else(|never| match never {});
    }

    /// Gives `name` the value that `write` appends. What a failing `write` appended is taken back.
    pub fn set_with<E>(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let before = self.text.len();
        if before > 0 {
            self.text.push(b',');
        }
        let start = self.text.len();
        if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            self.text.push(b'"');
            self.text.extend_from_slice(name.as_bytes());
            self.text.push(b'"');
        } else {
            serde_json::to_writer(&mut self.text, name).expect("a string is JSON");
        }
        self.text.push(b':');
        let value = self.text.len();
        if let Err(error) = write(&mut self.text) {
            self.text.truncate(before);
            return Err(error);
        }
        self.remove(name);
        self.members.push(Member { name: name.into(), start, value: value..self.text.len() });
        Ok(())
    }

    /// Takes a member out; says whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.members.len();
        self.members.retain(|member| &*member.name != name);
        let removed = self.members.len() != before;
        self.whole &= !removed;
        removed
    }

    /// A member's value, as JSON.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.members.iter().find(|member| &*member.name == name).map(|member| &self.text[member.value.clone()])
    }

    /// Names and values, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.members.iter().map(|member| (&*member.name, &self.text[member.value.clone()]))
    }

    /// How many bytes the members take.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Appends `,"name":value` for each member, those in `renamed` under their other name.
    pub fn write_members(&self, renamed: &[(&str, &str)], out: &mut Vec<u8>) {
        let touched = self.members.iter().any(|member| renamed.iter().any(|(name, _)| *name == &*member.name));
        if self.whole && !touched {
            if !self.text.is_empty() {
                out.push(b',');
                out.extend_from_slice(&self.text);
            }
            return;
        }
        for member in &self.members {
            out.push(b',');
            match renamed.iter().find(|(name, _)| *name == &*member.name) {
                // The provider's name may have been given too; then it has the say.
                Some((_, other)) if self.get(other).is_some() => {
                    out.pop();
                }
                Some((_, other)) => {
                    out.push(b'"');
                    out.extend_from_slice(other.as_bytes());
                    out.extend_from_slice(b"\":");
                    out.extend_from_slice(&self.text[member.value.clone()]);
                }
                None => out.extend_from_slice(&self.text[member.start..member.value.end]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(params: &Params, renamed: &[(&str, &str)]) -> String {
        let mut out = Vec::new();
        params.write_members(renamed, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_stay_the_bytes_they_were() {
        let params = Params::from_json(br#"{"temperature": 0.10, "a b": [1e400,  2]}"#).unwrap();
        assert_eq!(params.get("temperature"), Some(&b"0.10"[..]));
        assert_eq!(params.get("a b"), Some(&b"[1e400,  2]"[..]));
    }

    #[test]
    fn a_later_value_wins_and_a_removed_member_is_not_sent() {
        let mut params = Params::from_json(br#"{"a":1,"b":2}"#).unwrap();
        params.set("a", b"3");
        assert_eq!(written(&params, &[]), r#","b":2,"a":3"#);
        params.remove("b");
        assert_eq!(written(&params, &[]), r#","a":3"#);
    }

    #[test]
    fn a_member_goes_out_under_its_other_name() {
        let mut params = Params::from_json(br#"{"max_completion_tokens":5,"x":1}"#).unwrap();
        let renamed = [("max_completion_tokens", "max_tokens")];
        assert_eq!(written(&params, &renamed), r#","max_tokens":5,"x":1"#);
        params.set("max_tokens", b"7");
        assert_eq!(written(&params, &renamed), r#","x":1,"max_tokens":7"#);
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let mut params = Params::from_json(br#"{"a":1}"#).unwrap();
        let failed = params.set_with("b", |text| {
            text.extend_from_slice(b"[1,");
            Err::<(), &str>("no")
        });
        assert_eq!(failed, Err("no"));
        assert_eq!(written(&params, &[]), r#","a":1"#);
    }
}
