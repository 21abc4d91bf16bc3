//! A cursor over a JSON text that finds where values end, without parsing or allocating.
//!
//! It checks no more of the text than it needs: it is for texts that are read elsewhere too.

use memchr::memchr2;

/// Length up to which a string's end is searched byte by byte, which is faster than setting up a vector search.
const SHORT: usize = 32;

/// A position in a JSON text.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    json: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Returns a cursor at a position of a text.
    pub fn new(json: &'a [u8], at: usize) -> Self {
        Self { json, at }
    }

    /// Skips white space and returns the next byte, or `None` at the end of the text.
    pub fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.json.get(self.at) {
            if !byte.is_ascii_whitespace() {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Moves behind the next byte that is not white space, if it is this one.
    pub fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Moves behind a string, and returns its text with the escapes that it has.
    pub fn string(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let start = self.at;
        let mut at = start;
        loop {
            let rest = self.json.get(at..)?;
            let near = &rest[..rest.len().min(SHORT)];
            let found = near.iter().position(|byte| matches!(byte, b'"' | b'\\'));
            let found = match found {
                Some(found) => found,
                None => near.len() + memchr2(b'"', b'\\', &rest[near.len()..])?,
            };
            if rest[found] == b'"' {
                self.at = at + found + 1;
                return Some(&self.json[start..at + found]);
            }
            at += found + 2;
        }
    }

    /// Moves behind a value, and returns its text.
    pub fn value(&mut self) -> Option<&'a [u8]> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'"' => drop(self.string()?),
            b'{' | b'[' => {
                let mut depth = 0u32;
                loop {
                    match *self.json.get(self.at)? {
                        b'"' => {
                            self.string()?;
                            continue;
                        }
                        b'{' | b'[' => depth += 1,
                        b'}' | b']' => depth -= 1,
                        _ => {}
                    }
                    self.at += 1;
                    if depth == 0 {
                        break;
                    }
                }
            }
            _ => {
                let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
                let length = self.json[start..].iter().position(is_end).unwrap_or(self.json.len() - start);
                if length == 0 {
                    return None;
                }
                self.at += length;
            }
        }
        Some(&self.json[start..self.at])
    }

    /// Moves behind an object, and calls `each` with the name of each member. `each` moves behind the member's value.
    pub fn members(&mut self, mut each: impl FnMut(&'a [u8], &mut Self) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        if self.peek()? == b'}' {
            return self.take(b'}');
        }
        loop {
            let name = self.string()?;
            self.take(b':')?;
            each(name, self)?;
            match self.peek()? {
                b',' => self.at += 1,
                _ => return self.take(b'}'),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_they_end() {
        let long = format!(r#""{}\"{}""#, "x".repeat(100), "y".repeat(40));
        for value in [r#""a\"b\\""#, "{}", "[]", r#"{"a": [1, "]}"], "b": {}}"#, "-1.5e3", "null", &long] {
            for end in [",", "}", "]", " ", ""] {
                let text = format!(" {value}{end}");
                assert_eq!(Cursor::new(text.as_bytes(), 0).value(), Some(value.as_bytes()), "{text}");
            }
        }
        for broken in ["", " ", "\"a", "\"a\\", "{", "[1", "{\"a\": ", ",", "}"] {
            assert_eq!(Cursor::new(broken.as_bytes(), 0).value(), None, "{broken}");
        }
    }

    #[test]
    fn members_come_in_their_order() {
        let named = |text: &str| {
            let mut names = Vec::new();
            let read = Cursor::new(text.as_bytes(), 0).members(|name, cursor| {
                names.push(String::from_utf8_lossy(name).into_owned());
                cursor.value().map(drop)
            });
            read.map(|()| names)
        };
        assert_eq!(named(r#" { "a" : 1 , "b":"}" } "#), Some(vec!["a".into(), "b".into()]));
        assert_eq!(named("{}"), Some(vec![]));
        for broken in ["[1]", r#"{"a":}"#, r#"{"a":1"#, r#"{"a" 1}"#, r#"{"a":1,}"#, r#"{a:1}"#] {
            assert_eq!(named(broken), None, "{broken}");
        }
    }
}
