//! The parts of a JSON text in which names can stand: all but its first text.
//!
//! Most answers need no change, which is found out by searching them for a few names. A search costs 650 instructions a
//! kilobyte, and most of an answer is the text of its message, in which no name can stand: quotes are escaped there.

use std::sync::LazyLock;

use memchr::{memchr_iter, memmem::Finder};

static CONTENT: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"content\""));

/// A JSON text without the first string that is the value of a `content`.
#[derive(Clone, Copy)]
pub(super) struct Outline<'a> {
    before: &'a [u8],
    behind: &'a [u8],
}

impl<'a> Outline<'a> {
    /// Returns the outline of a JSON text, found with one search.
    pub fn of(json: &'a [u8]) -> Self {
        text_in(json).map_or(Self::whole(json), |(start, end)| Self { before: &json[..start], behind: &json[end..] })
    }

    /// Returns the whole JSON text as its outline, where skipping a text would not pay for the search.
    pub fn whole(json: &'a [u8]) -> Self {
        Self { before: json, behind: &[] }
    }

    /// Returns true if there is a text.
    pub fn has_text(self) -> bool {
        !self.behind.is_empty()
    }

    /// Returns true if `is_in` does for one of the parts.
    pub fn any(self, is_in: impl Fn(&[u8]) -> bool) -> bool {
        is_in(self.before) || !self.behind.is_empty() && is_in(self.behind)
    }
}

/// Returns the start and the end of the first text, its quotes included.
fn text_in(json: &[u8]) -> Option<(usize, usize)> {
    let value = &json[CONTENT.find(json)? + CONTENT.needle().len()..];
    let value = value.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let start = json.len() - value.len();
    let text = value.strip_prefix(b"\"")?;
    let is_end = |quote: &usize| text[..*quote].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0;
    let length = memchr_iter(b'"', text).find(is_end)?;
    Some((start, start + 1 + length + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(json: &str) -> (&str, &str) {
        let Outline { before, behind } = Outline::of(json.as_bytes());
        (std::str::from_utf8(before).unwrap(), std::str::from_utf8(behind).unwrap())
    }

    #[test]
    fn the_first_text_is_left_out() {
        let cases = [
            (r#"{"content":"Hello","th":1}"#, r#"{"content":"#, r#","th":1}"#),
            (r#"{"content": "a \"quote\" and \\", "x":1}"#, r#"{"content": "#, r#", "x":1}"#),
            (r#"{"content":"","content":"b"}"#, r#"{"content":"#, r#","content":"b"}"#),
            // A name in a text is none.
            (r#"{"content":"\"content\":\"","x":"y"}"#, r#"{"content":"#, r#","x":"y"}"#),
        ];
        for (json, before, behind) in cases {
            assert_eq!(parts(json), (before, behind), "{json}");
        }
        for json in
            [r#"{"content":null}"#, r#"{"content":["a"]}"#, r#"{"a":"content","b":"c"}"#, r#"{"content":"cut"#, ""]
        {
            assert_eq!(parts(json), (json, ""), "{json}");
        }
    }
}
