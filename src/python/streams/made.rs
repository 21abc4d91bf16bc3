//! Streams that are made of chunks at hand: for tests, and for answers that are kept.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use super::channel::ChunkChannel;
use super::stream::Stream;
use crate::client::Chunk;
use crate::error::{Error, ErrorKind};
use crate::python::call::cancel::CancelHandle;
use crate::python::call::handle::CallHandle;
use crate::python::errors::{unencodable, wrong};
use crate::python::intern::intern;
use crate::python::json::classes::{Class, classes};
use crate::python::json::decode::DEEPEST;
use crate::python::json::encode;
use crate::python::meta::Meta;
use crate::types::answer;
use crate::types::operation::Operation;

/// Makes a stream of chunks, which ends with `error` if it is given.
///
/// # Errors
///
/// `InvalidArgumentError` for what cannot be a chunk.
pub(super) fn stream_of(
    chunks: &Bound<'_, PyAny>,
    meta: Option<&Bound<'_, Meta>>,
    error: Option<&Bound<'_, PyAny>>,
) -> PyResult<Stream> {
    let is_list = !chunks.is_instance_of::<PyString>() && !chunks.is_instance_of::<PyDict>();
    let items = chunks.try_iter().ok().filter(|_| is_list);
    let items = items.ok_or_else(|| wrong("chunks", chunks, "a list of chunks, as dicts or texts,"))?;
    let mut operation = None;
    let mut taken: VecDeque<Chunk> = VecDeque::new();
    let mut ends_with_text = false;
    for (index, item) in items.enumerate() {
        let item = item?;
        let name = format!("chunks[{index}]");
        let kind = kind_of(&item)?.ok_or_else(|| wrong(&name, &item, "a dict, a str or, for audio, bytes"))?;
        if *operation.get_or_insert(kind) != kind {
            return Err(wrong(&name, &item, "a chunk of the same kind as those before it"));
        }
        ends_with_text = item.is_instance_of::<PyString>();
        taken.push_back((bytes_of(&item, &name)?, true));
    }
    if ends_with_text && error.is_none() {
        taken.push_back((Bytes::from_static(br#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#), true));
    }
    let end = match error {
        Some(error) => {
            let raised = PyErr::from_value(error.clone());
            let mut error = Error::new(ErrorKind::ApiConnection, "made by hand");
            error.raised = Some(Box::new(raised));
            Err(error)
        }
        None => Ok(()),
    };
    let channel = ChunkChannel::whole(taken, end);
    let handle = CallHandle { cancel: CancelHandle::default(), watch: None };
    let meta = meta.map(|meta| meta.get().core());
    let meta = meta.unwrap_or_else(|| answer::Meta { status: 200, ..answer::Meta::default() });
    Ok(Stream::over(Arc::new(channel), handle, meta, operation.unwrap_or(Operation::Chat), DEEPEST))
}

/// Returns the operation whose streams have such items, or `None` if there is none.
fn kind_of(item: &Bound<'_, PyAny>) -> PyResult<Option<Operation>> {
    let py = item.py();
    if item.is_instance_of::<PyBytes>() {
        return Ok(Some(Operation::Speech));
    }
    let Ok(dict) = item.cast::<PyDict>() else {
        return Ok(item.is_instance_of::<PyString>().then_some(Operation::Chat));
    };
    let is_event = item.is_instance(classes(py)?[Class::ResponseEvent as usize].class.bind(py))?
        || dict.contains(intern!(py, "type"))? && !dict.contains(intern!(py, "choices"))?;
    Ok(Some(if is_event { Operation::Responses } else { Operation::Chat }))
}

/// Returns a chunk as the network thread would have given it.
fn bytes_of(item: &Bound<'_, PyAny>, name: &str) -> PyResult<Bytes> {
    if let Ok(bytes) = item.cast::<PyBytes>() {
        return Ok(Bytes::copy_from_slice(bytes.as_bytes()));
    }
    let is_text = item.is_instance_of::<PyString>();
    let mut json = Vec::new();
    if is_text {
        json.extend_from_slice(br#"{"choices":[{"index":0,"delta":{"content":"#);
    }
    encode::encode(item, &mut json).map_err(|error| unencodable(item.py(), name, error))?;
    if is_text {
        json.extend_from_slice(br#"},"finish_reason":null}]}"#);
    }
    Ok(json.into())
}
