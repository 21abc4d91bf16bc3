//! Results of calls, and the Python objects that they become.

use std::sync::Arc;

use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::handle::CallHandle;
use super::log::write_notices;
use super::prepared::PreparedCall;
use super::result::CallResult;
use super::watch::Watch;
use crate::cache::lookup::Kept;
use crate::client::have_notices;
use crate::error::{Error, ErrorKind};
use crate::python::errors::exception;
use crate::python::hooks::delivery::{self, Place};
use crate::python::hooks::outcome::Ended;
use crate::python::intern::intern;
use crate::python::json::classes::Class;
use crate::python::json::decode;
use crate::python::meta::Meta;
use crate::python::object::set_slot;
use crate::python::stack;
use crate::python::streams::channel::ChunkChannel;
use crate::python::streams::stream::Stream;
use crate::types::answer::{self, Answer};
use crate::types::operation::Output;

/// Result of a call. Each variant's content lives in a box of its own.
#[expect(clippy::large_enum_variant, reason = "most results are answers, and a result travels in a box")]
pub(crate) enum Finished {
    /// An answer, with the call that it answers: the form that the answer is to have, and the secrets that must not come
    /// out in an error.
    Answer(Answer, Box<PreparedCall>),
    Stream(Box<Stream>),
    Failed(Box<Error>),
}

/// Result of a call, and those who want to know of it.
pub(crate) struct FinishedCall {
    pub result: Finished,
    pub watch: Option<Arc<Watch>>,
}

impl FinishedCall {
    /// Returns the result of a call whose answer is kept in this process.
    #[cold]
    pub fn kept(prepared: Box<PreparedCall>, handle: &CallHandle) -> Result<Box<Self>, Box<PreparedCall>> {
        let found = prepared.lookup.as_ref().and_then(|lookup| lookup.ready(prepared.call.request.stream));
        let result = match found {
            None => return Err(prepared),
            Some(Kept::Answer(answer)) => Finished::Answer(answer, prepared),
            Some(Kept::Stream(chunks, meta)) => {
                let (operation, channel) = (prepared.call.request.operation, ChunkChannel::whole(chunks, Ok(())));
                let stream = Stream::over(Arc::new(channel), handle.clone(), meta, operation, prepared.deepest);
                Finished::Stream(Box::new(stream))
            }
        };
        Ok(Box::new(Self { result, watch: handle.watch.clone() }))
    }
}

impl CallResult for FinishedCall {
    fn size(&self) -> usize {
        match &self.result {
            Finished::Answer(answer, _) => answer.body.len(),
            _ => 0,
        }
    }

    fn into_python(self: Box<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if have_notices() {
            write_notices(py);
        }
        if let Some(watch) = &self.watch {
            return watched(py, self.result, watch);
        }
        match self.result {
            Finished::Answer(answer, prepared) => Ok(object(py, answer, &prepared)?.unbind()),
            Finished::Stream(stream) => Ok(Py::new(py, *stream)?.into_any()),
            Finished::Failed(error) => Err(exception(py, error)),
        }
    }
}

/// Makes the object of a call's result, writes its log, and has its hooks called with its record.
#[cold]
fn watched(py: Python<'_>, result: Finished, watch: &Watch) -> PyResult<Py<PyAny>> {
    watch.write_log(py);
    // A stream has not ended yet.
    let observed = if matches!(result, Finished::Stream(_)) { None } else { watch.take() };
    match result {
        Finished::Stream(stream) => Ok(Py::new(py, *stream)?.into_any()),
        Finished::Failed(error) => match observed {
            None => Err(exception(py, error)),
            Some(observed) => Err(delivery::push_failed(py, observed, error, Place::Caller)),
        },
        Finished::Answer(answer, prepared) => {
            let Some(observed) = observed else { return Ok(object(py, answer, &prepared)?.unbind()) };
            // Of the answer, since not every object has a place for it.
            let (meta, body) = (Box::new(answer.meta.clone()), answer.body.clone());
            let made = object(py, answer, &prepared);
            let ended = match &made {
                Ok(_) => Ended::Answered { meta, body },
                Err(error) => Ended::Failed { error: error.clone_ref(py).into_value(py), record: None },
            };
            delivery::push(py, observed, ended, Place::Caller);
            Ok(made?.unbind())
        }
    }
}

/// Makes the object of an answer that is not JSON.
#[cold]
fn binary<'py>(py: Python<'py>, body: &[u8], meta: answer::Meta) -> PyResult<Bound<'py, PyAny>> {
    let bytes = PyBytes::new_with(py, body.len(), |bytes| {
        bytes.copy_from_slice(body);
        Ok(())
    })?;
    let class = py.import(intern!(py, "ritellm.types"))?.getattr(intern!(py, "BinaryResponse"))?;
    let object = class.call1((bytes,))?;
    object.setattr(intern!(py, "meta"), Bound::new(py, Meta::of(meta))?)?;
    Ok(object)
}

/// Makes the object of an answer.
///
/// # Errors
///
/// `APIResponseValidationError` for a body that cannot be decoded.
fn object<'py>(py: Python<'py>, answer: Answer, prepared: &PreparedCall) -> PyResult<Bound<'py, PyAny>> {
    let Answer { body, meta } = answer;
    if prepared.call.request.operation.spec().output == Output::Binary {
        return binary(py, &body, meta);
    }
    match decode::decode_with(
        py,
        &body,
        Class::of_answer(prepared.call.request.operation),
        prepared.vectors,
        prepared.deepest,
    ) {
        Ok(object) => {
            // A plain object has no place for it.
            if prepared.call.request.operation.spec().output != Output::Object {
                set_slot(&object, intern!(py, "meta"), &Bound::new(py, Meta::of(meta))?.into_any())?;
            }
            Ok(object)
        }
        Err(error) if error.is_instance_of::<PyMemoryError>(py) => Err(error),
        Err(error) => {
            let mut invalid = Error::new(
                ErrorKind::ApiResponseValidation,
                format!("{} answered with something that cannot be read: {}", meta.provider, error.value(py)),
            );
            invalid.status = Some(meta.status);
            invalid.request_id = meta.headers.request_id().map(str::to_owned);
            invalid.provider = Some(meta.provider.into_owned());
            invalid.headers = Some(meta.headers);
            invalid.retries = meta.retries;
            invalid.record = meta.record;
            invalid.body = Some(body);
            invalid.model = Some(meta.model.to_string());
            stack::with_room(|| invalid.hide(&meta.secrets.redactor()));
            Err(exception(py, invalid))
        }
    }
}
