//! A call whose arguments have been read.

use crate::cache::lookup::Lookup;
use crate::client::Call;
use crate::python::json::vectors::Form;
use crate::router::route::Route;

/// A call, ready to be made, and the form in which its caller gets the answer.
pub(crate) struct PreparedCall {
    pub call: Call,
    /// Form of the vectors in an answer with embeddings.
    pub vectors: Form,
    /// Number of levels of nesting that an answer may have.
    pub deepest: usize,
    /// Deployments that the call may go to, if a router makes it.
    pub route: Option<Box<Route>>,
    /// Where the answer is looked up, if it may be kept.
    pub lookup: Option<Box<Lookup>>,
}
