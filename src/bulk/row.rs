//! One row of the input, and the call that it asks for.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::Result;
use crate::types::operation::Operation;
use crate::types::params::Params;

/// One row of the input.
#[derive(Debug)]
pub struct Row {
    /// Number of the row in the input, from 0.
    pub number: u64,
    /// The row as a JSON object: its columns, or a line in OpenAI's batch format.
    ///
    /// An error is that of a row that cannot be read, such as one with broken UTF-8. It names the file and the line, becomes
    /// the outcome of this row and touches no other.
    pub json: Result<Bytes>,
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
