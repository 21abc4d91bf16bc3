//! One row of the input, and the call that it asks for.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use memchr::{memchr2, memmem};

use crate::error::{Error, ErrorKind, Result};
use crate::types::operation::Operation;
use crate::types::params::Params;

/// One row of the input.
#[derive(Debug)]
pub struct Row {
    /// Number of the row in the input, from 0.
    pub number: u64,
    /// Where the row is, for messages.
    pub place: Place,
    /// The row as a JSON object: its columns, or a line in OpenAI's batch format.
    ///
    /// It is UTF-8 that begins with a brace; whether all of it is JSON is found out by the template, which has to read it
    /// anyway. An error is that of a row that cannot be read, such as one with broken UTF-8. It names the file and the line,
    /// becomes the outcome of this row and touches no other.
    pub json: Result<Bytes>,
}

/// Place of a row in its input: a line of a file, or the number of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file's path; `None` if the rows come from a program.
    pub file: Option<Arc<str>>,
    /// Number of the line in the file, from 1; of the row, from 0, if there is no file.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{file}, line {}", self.line),
            None => write!(f, "row {}", self.line),
        }
    }
}

impl Place {
    /// Creates the error of a row that cannot be used; `message` goes on after the place: "is no JSON".
    pub fn error(&self, message: impl fmt::Display) -> Box<Error> {
        Error::new(ErrorKind::InvalidArgument, format!("{self} {message}")).unsent()
    }
}

/// A place where rows come from.
///
/// Implementations may block: they are read on a thread of their own, no faster than rows are needed.
pub trait Source: Send {
    /// Returns the next row; `None` after the last.
    ///
    /// # Errors
    ///
    /// The input cannot be read any further: the job pauses. A single bad row is a [`Row`] with an error.
    fn next(&mut self) -> Result<Option<Row>>;

    /// Returns the part of the input that has been read, from 0 to 1, if it is known.
    fn progress(&self) -> Option<f64> {
        None
    }
}

/// Returns a row with null in place of the numbers that JSON lacks, `NaN`, `Infinity` and `-Infinity`; `None` if it has none.
///
/// Python's `json` and pandas write them for missing values, and only for columns that nobody asks for in most files.
pub(super) fn without_nan(json: &[u8]) -> Option<Vec<u8>> {
    const WORDS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
    WORDS[..2].iter().find(|word| memmem::find(json, word).is_some())?;
    let mut written = Vec::with_capacity(json.len());
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        let rest = &json[at..];
        let (text, length): (&[u8], usize) = match WORDS.iter().find(|word| rest.starts_with(word)) {
            Some(word) => (b"null", word.len()),
            // A string is copied as a whole.
            None if byte == b'"' => {
                let end = end_of_string(rest)?;
                (&rest[..end], end)
            }
            None => (&rest[..1], 1),
        };
        written.extend_from_slice(text);
        at += length;
    }
    Some(written)
}

/// Returns the position behind the string that a text begins with.
fn end_of_string(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The call that a row asks for.
#[derive(Debug, Clone)]
pub struct RowCall {
    /// The row's own id (`custom_id`), if it has one.
    pub id: Option<Box<str>>,
    /// The operation.
    pub operation: Operation,
    /// The model or the router's group that the row names, if it names one.
    pub model: Option<Arc<str>>,
    /// The members of the request's body but for `model` and `stream`.
    pub params: Params,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_json_lacks_become_null() {
        let of = |json: &str| without_nan(json.as_bytes()).map(|json| String::from_utf8(json).unwrap());
        for (json, right) in [
            (
                r#"{"a": NaN, "b": [Infinity, -Infinity], "NaN": "NaN \"NaN\" \\"}"#,
                Some(r#"{"a": null, "b": [null, null], "NaN": "NaN \"NaN\" \\"}"#),
            ),
            (r#"{"a": 1}"#, None),
            (r#"{"a": NaN, "b": "x"#, None),
            (r#"{"a": NaN, "b": "x\"#, None),
        ] {
            assert_eq!(of(json).as_deref(), right, "{json}");
        }
    }
}
