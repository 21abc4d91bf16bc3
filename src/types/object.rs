//! A JSON object that is being written, member by member, into bytes.

use bytes::Bytes;
use serde::Serialize;

/// A JSON object that is being written.
#[derive(Debug)]
pub struct ObjectWriter(Vec<u8>);

impl ObjectWriter {
    /// An object without members, with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        let mut text = Vec::with_capacity(capacity);
        text.push(b'{');
        Self(text)
    }

    /// Adds a member. It is the caller who sees to it that no name comes twice.
    pub fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        self.name(name);
        serde_json::to_writer(&mut self.0, value).expect("what is sent can be written as JSON");
    }

    /// Adds a member whose value is JSON already.
    pub fn put_raw(&mut self, name: &str, json: &[u8]) {
        self.name(name);
        self.0.extend_from_slice(json);
    }

    /// Whether there is no member yet.
    pub fn is_empty(&self) -> bool {
        self.0.len() == 1
    }

    /// The object's JSON.
    pub fn finish(mut self) -> Bytes {
        self.0.push(b'}');
        self.0.into()
    }

    fn name(&mut self, name: &str) {
        if !self.is_empty() {
            self.0.push(b',');
        }
        serde_json::to_writer(&mut self.0, name).expect("a string is JSON");
        self.0.push(b':');
    }
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
}
