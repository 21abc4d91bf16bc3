//! A cursor over a JSON text that finds where values end, without parsing or allocating.
//!
//! It checks no more of the text than it needs: it is for texts that are read elsewhere too.

use memchr::memchr2;

/// Length up to which a string's end is searched by words of eight bytes, which is faster than setting up a vector search.
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
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        let mut at = self.at;
        let byte = loop {
            match self.json.get(at) {
                Some(byte) if is_space(*byte) => at += 1,
                byte => break byte.copied(),
            }
        };
        self.at = at;
        byte
    }

    /// Moves behind the next byte that is not white space, if it is this one.
    #[inline]
    pub fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Moves behind a string, and returns its text with the escapes that it has.
    #[inline]
    pub fn string(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let start = self.at;
        let end = end_of_string(self.json, start)?;
        self.at = end + 1;
        Some(&self.json[start..end])
    }

    /// Moves behind a value, and returns its text.
    pub fn value(&mut self) -> Option<&'a [u8]> {
        let first = self.peek()?;
        let (json, start) = (self.json, self.at);
        let end = match first {
            b'"' => end_of_string(json, start + 1)? + 1,
            b'{' | b'[' => end_of_container(json, start)?,
            _ => json[start..].iter().position(is_end).map_or(json.len(), |length| start + length),
        };
        self.at = end;
        (end > start).then(|| &json[start..end])
    }

    /// Moves behind an integer of up to nine digits, and returns it. `None` if the next value is another one; the cursor stays
    /// before it then.
    #[inline]
    pub fn small_integer(&mut self) -> Option<u64> {
        self.peek()?;
        let (mut number, mut at) = (0, self.at);
        while let Some(digit @ b'0'..=b'9') = self.json.get(at) {
            number = number * 10 + u64::from(digit - b'0');
            at += 1;
            if at - self.at > 9 {
                return None;
            }
        }
        let is_whole = at > self.at && self.json.get(at).is_none_or(is_end);
        is_whole.then(|| {
            self.at = at;
            number
        })
    }

    /// Moves behind the members of an object that have these names, with their quotes, in this order, up to the first that
    /// differs, and calls `each` with the index of each name. `each` moves behind the member's value. Returns true if there are
    /// [others](Self::other_members).
    ///
    /// A name that is expected is compared, which takes a fifth of the instructions of finding where it ends.
    #[inline]
    pub fn usual_members<const N: usize>(
        &mut self,
        names: [&[u8]; N],
        mut each: impl FnMut(usize, &mut Self) -> Option<()>,
    ) -> Option<bool> {
        self.take(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(false);
        }
        for (index, name) in names.into_iter().enumerate() {
            self.peek()?;
            if !self.json[self.at..].starts_with(name) {
                return Some(true);
            }
            self.at += name.len();
            self.take(b':')?;
            each(index, self)?;
            if self.peek()? != b',' {
                self.take(b'}')?;
                return Some(false);
            }
            self.at += 1;
        }
        Some(true)
    }

    /// Moves behind an object, and calls `each` with the name of each member. `each` moves behind the member's value.
    pub fn members(&mut self, each: impl FnMut(&'a [u8], &mut Self) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        if self.peek()? == b'}' {
            return self.take(b'}');
        }
        self.other_members(each)
    }

    /// The same from a member on that is not the first.
    pub fn other_members(&mut self, mut each: impl FnMut(&'a [u8], &mut Self) -> Option<()>) -> Option<()> {
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

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// Returns true if a number or a word ends before this byte.
fn is_end(byte: &u8) -> bool {
    matches!(byte, b',' | b'}' | b']') || is_space(*byte)
}

/// Returns the number of bytes before the first quote or backslash of eight.
#[inline]
fn plain(word: [u8; 8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let word = u64::from_le_bytes(word);
    // The lowest bit that is set is right: a borrow only reaches bytes behind one that is equal.
    let equal = |byte: u8| {
        let difference = word ^ (ONES * u64::from(byte));
        difference.wrapping_sub(ONES) & !difference & (ONES << 7)
    };
    (equal(b'"') | equal(b'\\')).trailing_zeros() as usize / 8
}

/// Returns the position of the quote that ends the string whose text begins at `at`.
#[inline]
fn end_of_string(json: &[u8], mut at: usize) -> Option<usize> {
    let near = at + SHORT;
    while at < near
        && let Some(word) = json.get(at..).and_then(|rest| rest.first_chunk())
    {
        match plain(*word) {
            8 => at += 8,
            length if word[length] == b'"' => return Some(at + length),
            length => at += length + 2,
        }
    }
    loop {
        at += memchr2(b'"', b'\\', json.get(at..)?)?;
        if json[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// Returns the position behind the object or list that begins at `at`.
fn end_of_container(json: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0usize;
    loop {
        match *json.get(at)? {
            b'"' => at = end_of_string(json, at + 1)?,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
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
    fn usual_members_are_those_up_to_the_first_that_differs() {
        let read = |text: &str| {
            let mut numbers = Vec::new();
            let mut cursor = Cursor::new(text.as_bytes(), 0);
            let has_others = cursor.usual_members([&b"\"a\""[..], b"\"b\""], |index, cursor| {
                numbers.push((index, cursor.small_integer()?));
                Some(())
            })?;
            let mut others = Vec::new();
            if has_others {
                cursor.other_members(|name, cursor| {
                    others.push(String::from_utf8_lossy(name).into_owned());
                    cursor.value().map(drop)
                })?;
            }
            cursor.peek().is_none().then_some((numbers, others.concat()))
        };
        assert_eq!(read(r#" { "a" : 1 , "b":2 } "#), Some((vec![(0, 1), (1, 2)], String::new())));
        assert_eq!(read(r#"{"a":1,"c":3,"b":2}"#), Some((vec![(0, 1)], "cb".into())));
        assert_eq!(read(r#"{"a":1,"b":2,"c":3}"#), Some((vec![(0, 1), (1, 2)], "c".into())));
        assert_eq!(read(r#"{"b":2}"#), Some((vec![], "b".into())));
        assert_eq!(read("{}"), Some((vec![], String::new())));
        for broken in [r#"{"a" 1}"#, r#"{"a":1"#, r#"{"a":1,}"#, r#"{"a":1,"b":2,}"#, r#"{"a":x}"#, "{", "[]"] {
            assert_eq!(read(broken), None, "{broken}");
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
