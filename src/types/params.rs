//! The parameters of a call: a JSON object kept as bytes, with an index of its top-level members.

use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::members::Members;
use super::shared::is_same;
use crate::error::{Error, Result};

/// A JSON object that keeps the bytes of its members' values.
///
/// A provider with OpenAI's format sends the bytes without parsing them; others parse only the members that they
/// convert.
#[derive(Debug, Clone, Default)]
pub struct Params {
    text: Text,
    /// Length of the text before the first member.
    head: usize,
    /// Model and stream flag that the text before the first member contains.
    head_values: Option<(Arc<str>, bool)>,
    /// Positions of the members; inline for as many as most calls have.
    members: SmallVec<[Member; 4]>,
    /// True if `text` consists of exactly these members in order, so that it can be sent without copying member by
    /// member.
    contiguous: bool,
}

/// Members as `"name":value`, separated by commas; optionally preceded by the beginning of a body.
#[derive(Debug, Clone)]
enum Text {
    Open(Vec<u8>),
    /// Text with the closing brace of a body, shared without copying.
    Closed(Bytes),
}

impl Default for Text {
    fn default() -> Self {
        Self::Open(Vec::new())
    }
}

impl Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Open(text) => text,
            Self::Closed(body) => &body[..body.len() - 1],
        }
    }
}

impl Text {
    fn open(&mut self) -> &mut Vec<u8> {
        if let Self::Closed(body) = self {
            let mut text = Vec::from(std::mem::take(body));
            text.pop();
            *self = Self::Open(text);
        }
        match self {
            Self::Open(text) => text,
            Self::Closed(_) => unreachable!("just opened"),
        }
    }
}

/// Position of a member in the text.
#[derive(Debug, Clone)]
struct Member {
    /// Name of the member; `None` if it needs no escapes, so that it can be read from the text.
    name: Option<Box<str>>,
    /// Start of `"name":value`.
    start: usize,
    /// Range of the value.
    value: Range<usize>,
}

impl Member {
    fn name<'a>(&'a self, text: &'a [u8]) -> &'a [u8] {
        match &self.name {
            Some(name) => name.as_bytes(),
            // The name lies between its quotes, before the colon.
            None => &text[self.start + 1..self.value.start - 2],
        }
    }
}

impl Params {
    /// Creates parameters without members, with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        let text = Text::Open(Vec::with_capacity(capacity));
        Self { text, head: 0, head_values: None, members: SmallVec::new(), contiguous: true }
    }

    /// Creates parameters without members, preceded by the beginning of a body in OpenAI's format, so that
    /// [`as_body`](Self::as_body) can return that body without a copy.
    pub fn of_call(model: &Arc<str>, stream: bool) -> Self {
        let mut params = Self::with_capacity(1024);
        let text = params.text.open();
        write_head(model, stream, text);
        params.head = text.len();
        params.head_values = Some((model.clone(), stream));
        params
    }

    /// Creates parameters from the members of a JSON object.
    ///
    /// # Errors
    ///
    /// Returns an `InvalidArgument` error if `json` is not a JSON object.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let mut params = Self::with_capacity(json.len());
        params.merge_json(json)?;
        Ok(params)
    }

    /// Adds the members of a JSON object; a member that exists already gets the new value.
    ///
    /// # Errors
    ///
    /// Returns an `InvalidArgument` error if `json` is not a JSON object.
    pub fn merge_json(&mut self, json: &[u8]) -> Result<()> {
        let members = Members::of(json)
            .map_err(|error| Error::argument(format!("expected a JSON object of parameters: {error}")))?;
        for (name, value) in &members.0 {
            self.set(name, value.get().as_bytes());
        }
        Ok(())
    }

    /// Sets a member to a value, given as JSON text.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        self.set_with(name, |text| {
            text.extend_from_slice(value);
            Ok::<(), std::convert::Infallible>(())
        })
        .unwrap_or_else(|never| match never {});
    }

    /// Sets a member to the JSON text that `write` appends. If `write` fails, the parameters are unchanged.
    ///
    /// # Errors
    ///
    /// Returns the error of `write`.
    #[expect(clippy::missing_panics_doc, reason = "a string can always be serialised")]
    pub fn set_with<E>(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let text = self.text.open();
        let before = text.len();
        if before > 0 {
            text.push(b',');
        }
        let start = text.len();
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if is_plain {
            text.push(b'"');
            text.extend_from_slice(name.as_bytes());
            text.push(b'"');
        } else {
            serde_json::to_writer(&mut *text, name).expect("a string is JSON");
        }
        text.push(b':');
        let value = text.len();
        if let Err(error) = write(text) {
            text.truncate(before);
            return Err(error);
        }
        let value = value..text.len();
        self.remove(name);
        self.members.push(Member { name: (!is_plain).then(|| name.into()), start, value });
        Ok(())
    }

    /// Removes a member and returns true if it existed.
    pub fn remove(&mut self, name: &str) -> bool {
        let Some(position) = self.position(name) else { return false };
        self.members.remove(position);
        self.contiguous = false;
        true
    }

    /// Returns the JSON text of a member.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let member = &self.members[self.position(name)?];
        Some(&self.text[member.value.clone()])
    }

    /// Returns the position of a member; names are unique.
    fn position(&self, name: &str) -> Option<usize> {
        let text: &[u8] = &self.text;
        self.members.iter().position(|member| member.name(text) == name.as_bytes())
    }

    /// Iterates over names and values, in insertion order.
    #[expect(clippy::missing_panics_doc, reason = "names are inserted as `str`, and so are UTF-8")]
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.members.iter().map(|member| {
            let name = std::str::from_utf8(member.name(&self.text)).expect("it was written as a str");
            (name, &self.text[member.value.clone()])
        })
    }

    /// Returns the number of bytes that the members take.
    pub fn len(&self) -> usize {
        self.text.len() - self.head
    }

    /// Returns true if there are no members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Adds the closing brace, so that the body can be shared. Members can still be changed, at the cost of a copy if
    /// it is shared.
    pub fn close(&mut self) {
        let mut text = std::mem::take(self.text.open());
        text.push(b'}');
        self.text = Text::Closed(text.into());
    }

    /// Returns a body in OpenAI's format: the model, the stream flag, then the members, those in `renamed` under their
    /// other names.
    pub fn as_body(&self, model: &str, stream: bool, renamed: &[(&str, &str)]) -> Bytes {
        if let Text::Closed(whole) = &self.text
            && self.is_contiguous(renamed)
            && self.head_values.as_ref().is_some_and(|(known, streams)| is_same(known, model) && *streams == stream)
        {
            return whole.clone();
        }
        let mut body = Vec::with_capacity(model.len() + 32 + self.len());
        write_head(model, stream, &mut body);
        self.write_members(renamed, &mut body);
        body.push(b'}');
        body.into()
    }

    fn is_contiguous(&self, renamed: &[(&str, &str)]) -> bool {
        let is_renamed = |member: &Member| renamed.iter().any(|(name, _)| name.as_bytes() == member.name(&self.text));
        self.contiguous && !self.members.iter().any(is_renamed)
    }

    /// Appends `,"name":value` for each member, those in `renamed` under their other names.
    pub fn write_members(&self, renamed: &[(&str, &str)], out: &mut Vec<u8>) {
        if self.is_contiguous(renamed) {
            if let Some(first) = self.members.first() {
                out.push(b',');
                out.extend_from_slice(&self.text[first.start..]);
            }
            return;
        }
        for member in &self.members {
            out.push(b',');
            match renamed.iter().find(|(name, _)| name.as_bytes() == member.name(&self.text)) {
                // If the provider's own name was set too, that member takes precedence.
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

fn write_head(model: &str, stream: bool, body: &mut Vec<u8>) {
    body.extend_from_slice(b"{\"model\":");
    serde_json::to_writer(&mut *body, model).expect("a string is JSON");
    if stream {
        body.extend_from_slice(b",\"stream\":true");
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
    fn a_body_is_the_text_itself_where_that_says_the_same() {
        for (model, stream) in [("m", false), ("a \"b\"", true)] {
            let mut params = Params::of_call(&model.into(), stream);
            params.set("a", b"1");
            params.set("b", b"[2]");
            params.close();
            let written = |params: &Params, model: &str, stream: bool, renamed: &[(&str, &str)]| {
                let mut fresh = Params::from_json(b"{}").unwrap();
                params.iter().for_each(|(name, value)| fresh.set(name, value));
                let body = params.as_body(model, stream, renamed);
                assert_eq!(body, fresh.as_body(model, stream, renamed));
                body
            };
            let body = written(&params, model, stream, &[]);
            let Text::Closed(shared) = &params.text else { panic!("it is closed") };
            assert_eq!(body.as_ptr(), shared.as_ptr());
            written(&params, "other", stream, &[]);
            written(&params, model, !stream, &[]);
            written(&params, model, stream, &[("a", "c")]);
            let mut changed = params.clone();
            changed.remove("a");
            written(&changed, model, stream, &[]);
            changed = params.clone();
            changed.set("c", b"3");
            written(&changed, model, stream, &[]);
            changed.set("a", b"4");
            changed.close();
            written(&changed, model, stream, &[]);
            assert_eq!(written(&params, model, stream, &[]), body);
        }
        let mut empty = Params::of_call(&"m".into(), false);
        assert_eq!(written(&empty, &[]), "");
        empty.close();
        assert_eq!(written(&empty, &[]), "");
        assert_eq!(empty.as_body("m", false, &[]), r#"{"model":"m"}"#);
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
