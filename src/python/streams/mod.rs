//! Streams: objects with both iterator protocols.
//!
//! The network thread fills a [channel](channel::ChunkChannel) with chunks, as bytes, up to a limit. The consumer's thread
//! takes them out in batches and builds the objects. A chunk that is at hand costs no trip through the event loop.

pub(crate) mod channel;
pub(crate) mod chunk_iterator;
mod made;
pub(crate) mod methods;
pub(crate) mod next_chunk;
pub(crate) mod stream;

use pyo3::prelude::*;

/// Runs what a finaliser has to do, which may be to call Python code. An exception that is being raised, as by the body of a loop
/// whose iterator this is, is set aside meanwhile: Python code that ends well clears it, and CPython crashes where it is gone.
fn finalise(work: impl FnOnce(Python<'_>)) {
    Python::attach(|py| {
        let raised = PyErr::take(py);
        work(py);
        if let Some(raised) = raised {
            raised.restore(py);
        }
    });
}
