//! A call whose arguments have been read.

use crate::client::Call;
use crate::python::json::vectors::Form;

/// A call, ready to be made, and the form in which its caller gets the answer.
pub(crate) struct PreparedCall {
    pub call: Call,
    /// Form of the vectors in an answer with embeddings.
    pub vectors: Form,
    /// Number of levels of nesting that an answer may have.
    pub deepest: usize,
}
