//! One row of the input, and the call that it asks for.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

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
