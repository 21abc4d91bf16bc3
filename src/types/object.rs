//! Writing JSON.
//!
//! - Objects and lists whose values are partly JSON already, or unknown until the program runs: [`ObjectWriter`] and
//!   [`ArrayWriter`]. Raw values are copied and never parsed, so that numbers and unknown members stay the bytes they were.
//! - Objects of a known form: a struct that derives `Serialize`.
//! - `serde_json::Value` where the code has to change something deep inside: never for plain chat calls, whose bytes pass
//!   through.
//!
//! No braces or quotes are written by hand: a text that is not escaped, or a comma too many, is a request that the provider
//! refuses.

use bytes::Bytes;
use serde::Serialize;

/// A JSON object that is being written, member by member.
#[derive(Debug)]
pub struct ObjectWriter(Vec<u8>);

impl ObjectWriter {
    /// Starts an object without members, with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self::begin(Vec::with_capacity(capacity))
    }

    /// Adds a member. The caller makes sure that no name comes twice.
    ///
    /// # Panics
    /// If `value` has no JSON form, such as a map whose keys are no strings.
    pub fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        self.name(name);
        append(&mut self.0, value);
    }

    /// Adds a member whose value is JSON already.
    pub fn put_raw(&mut self, name: &str, json: impl AsRef<[u8]>) {
        self.name(name);
        self.0.extend_from_slice(json.as_ref());
    }

    /// Adds a member that is an object, whose members `write` adds.
    pub fn put_object(&mut self, name: &str, write: impl FnOnce(&mut ObjectWriter)) {
        self.name(name);
        nest_object(&mut self.0, write);
    }

    /// Adds a member that is a list, whose items `write` adds.
    pub fn put_array(&mut self, name: &str, write: impl FnOnce(&mut ArrayWriter)) {
        self.name(name);
        let mut array = ArrayWriter::begin(std::mem::take(&mut self.0));
        write(&mut array);
        self.0 = array.end();
    }

    /// Returns true if there is no member yet.
    pub fn is_empty(&self) -> bool {
        self.0.last() == Some(&b'{')
    }

    /// Returns the object's JSON.
    pub fn finish(self) -> Bytes {
        self.end().into()
    }

    /// Returns the object's JSON as text.
    ///
    /// # Panics
    /// If a value given to [`put_raw`](Self::put_raw) was no UTF-8.
    pub fn finish_text(self) -> String {
        text(self.end())
    }

    fn begin(mut json: Vec<u8>) -> Self {
        json.push(b'{');
        Self(json)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }

    fn name(&mut self, name: &str) {
        if !self.is_empty() {
            self.0.push(b',');
        }
        append(&mut self.0, name);
        self.0.push(b':');
    }
}

/// A JSON list that is being written, item by item.
#[derive(Debug)]
pub struct ArrayWriter(Vec<u8>);

impl ArrayWriter {
    /// Starts a list without items, with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self::begin(Vec::with_capacity(capacity))
    }

    /// Adds an item.
    ///
    /// # Panics
    /// If `item` has no JSON form, such as a map whose keys are no strings.
    pub fn push<T: Serialize + ?Sized>(&mut self, item: &T) {
        self.separate();
        append(&mut self.0, item);
    }

    /// Adds an item that is JSON already.
    pub fn push_raw(&mut self, json: impl AsRef<[u8]>) {
        self.separate();
        self.0.extend_from_slice(json.as_ref());
    }

    /// Adds an item that is an object, whose members `write` adds.
    pub fn push_object(&mut self, write: impl FnOnce(&mut ObjectWriter)) {
        self.separate();
        nest_object(&mut self.0, write);
    }

    /// Returns true if there is no item yet.
    pub fn is_empty(&self) -> bool {
        self.0.last() == Some(&b'[')
    }

    /// Returns the list's JSON.
    pub fn finish(self) -> Bytes {
        self.end().into()
    }

    /// Returns the list's JSON as text.
    ///
    /// # Panics
    /// If an item given to [`push_raw`](Self::push_raw) was no UTF-8.
    pub fn finish_text(self) -> String {
        text(self.end())
    }

    fn begin(mut json: Vec<u8>) -> Self {
        json.push(b'[');
        Self(json)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(b']');
        self.0
    }

    fn separate(&mut self) {
        if !self.is_empty() {
            self.0.push(b',');
        }
    }
}

/// Returns the JSON of an object whose members `write` adds.
pub fn object(write: impl FnOnce(&mut ObjectWriter)) -> String {
    let mut object = ObjectWriter::with_capacity(64);
    write(&mut object);
    object.finish_text()
}

/// Returns the JSON of a list whose items `write` adds.
pub fn array(write: impl FnOnce(&mut ArrayWriter)) -> String {
    let mut array = ArrayWriter::with_capacity(64);
    write(&mut array);
    array.finish_text()
}

/// Returns a text as a JSON string.
#[expect(clippy::missing_panics_doc, reason = "a string can always be serialised")]
pub fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is JSON")
}

fn nest_object(json: &mut Vec<u8>, write: impl FnOnce(&mut ObjectWriter)) {
    let mut object = ObjectWriter::begin(std::mem::take(json));
    write(&mut object);
    *json = object.end();
}

fn append<T: Serialize + ?Sized>(json: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(json, value).expect("what is sent can be written as JSON");
}

fn text(json: Vec<u8>) -> String {
    String::from_utf8(json).expect("JSON made of texts")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_out_in_order() {
        let mut object = ObjectWriter::with_capacity(0);
        assert!(object.is_empty());
        object.put("a \"b\"", &[1, 2]);
        object.put_raw("c", b"1e400");
        assert_eq!(object.finish(), r#"{"a \"b\"":[1,2],"c":1e400}"#);
    }

    #[test]
    fn objects_and_lists_nest() {
        let json = object(|object| {
            object.put_object("empty", |_| {});
            object.put_array("none", |_| {});
            object.put_array("list", |list| {
                list.push("{");
                list.push_object(|item| item.put("a", &1));
                list.push_raw("[]");
                list.push_object(|_| {});
            });
            object.put("b", "{");
        });
        assert_eq!(json, r#"{"empty":{},"none":[],"list":["{",{"a":1},[],{}],"b":"{"}"#);
        assert_eq!(array(|_| {}), "[]");
    }
}
