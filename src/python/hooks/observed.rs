//! What a call takes along for its hooks.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyInt, PyString};
use smallvec::SmallVec;

use super::list::{Counts, Snapshot, ends_program};
use crate::catalog::Catalog;
use crate::client::{AttemptLog, Fields};
use crate::python::errors::wrong;
use crate::python::gil_cell::GilCell;
use crate::python::intern::intern;
use crate::python::values;
use crate::router::target::Target;
use crate::types::operation::Operation;
use crate::types::params::Params;

/// What a call's hooks need to make its record.
pub(crate) struct Observed {
    pub asked: Asked,
    pub hooks: Snapshot,
    /// What the hooks' `begin` returned, by index; empty if no hook has one.
    pub tokens: Vec<Option<Py<PyAny>>>,
    pub counts: Arc<Counts>,
    /// The attempts of the call that failed, while it is under way.
    pub attempts: Arc<AttemptLog>,
}

/// The context of a call, with the contextvars of its caller.
///
/// An object of its own, since the garbage collector clears a context that dies in a cycle with an open stream, whose record is
/// still to come: to look for a variable in a cleared context crashes CPython (3.10 to 3.14). The collector clears this object,
/// too, and then the hook runs in an empty context.
#[pyclass(frozen, module = "ritellm._core")]
pub(crate) struct CallContext(GilCell<Option<Py<PyAny>>>);

impl CallContext {
    /// # Errors
    ///
    /// `MemoryError`.
    pub fn new(py: Python<'_>, context: Py<PyAny>) -> PyResult<Py<Self>> {
        Py::new(py, Self(GilCell::new(Some(context))))
    }

    /// Returns the context, or an empty one if it is gone.
    ///
    /// # Errors
    ///
    /// `MemoryError`.
    pub fn get<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let known = self.0.lock(py).as_ref().map(|context| context.clone_ref(py));
        match known {
            Some(context) => Ok(context.into_bound(py)),
            None => py.import(intern!(py, "contextvars"))?.call_method0(intern!(py, "Context")),
        }
    }
}

#[pymethods]
impl CallContext {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.visit(&visit).map_or(Ok(()), |context| visit.call(&*context))
    }

    fn __clear__(&self, py: Python<'_>) {
        let cleared = self.0.try_lock(py).and_then(|mut context| context.take());
        // Not under the lock: to drop it may run Python code.
        drop(cleared);
    }
}

/// What a call asked for, and when.
pub(crate) struct Asked {
    pub operation: Operation,
    /// The model as the caller named it, or the provider of an operation without one.
    pub model: Py<PyString>,
    pub is_stream: bool,
    pub params: Params,
    /// Name of the provider, model as the provider knows it and address; of a router, those of a placeholder.
    pub provider: &'static str,
    pub provider_model: Arc<str>,
    pub base_url: Arc<str>,
    /// Deployments of a router.
    pub targets: Option<Arc<[Target]>>,
    pub tags: Option<Arc<Py<PyDict>>>,
    /// Prices, if the client has any.
    pub catalog: Option<Arc<Catalog>>,
    /// Context of the call.
    pub context: Py<CallContext>,
    /// True for a row of a provider's batch, which has no times and no attempts of its own.
    pub is_batch: bool,
    pub begun: Instant,
    pub started: SystemTime,
}

impl Observed {
    /// Calls the functions that hooks have called before a call. What they return is a tuple of a token, which the hook gets
    /// with the record, and a dict of header fields to add to the request, or `None`. Returns the fields, which `read` reads. An
    /// exception of a function, or what is no such tuple, is reported and harms no call.
    ///
    /// # Errors
    ///
    /// `MemoryError`, and a function's `KeyboardInterrupt` and `SystemExit`. What is left are the hooks that the call has begun
    /// for: only these get its record.
    pub fn begin(&mut self, py: Python<'_>, read: fn(&Bound<'_, PyAny>) -> PyResult<Fields>) -> PyResult<Fields> {
        let mut fields = Fields::new();
        let begins: SmallVec<[_; 2]> = self.hooks.iter().map(|hook| hook.get().begin(py)).collect();
        if begins.iter().all(Option::is_none) {
            return Ok(fields);
        }
        let operation = values::string(py, self.asked.operation.spec().name)?;
        for (hook, begin) in self.hooks.iter().zip(begins) {
            let mut token = None;
            if let Some(begin) = begin {
                let mut begun = || -> PyResult<_> {
                    let begun = begin.bind(py).call1((&operation, &self.asked.model, self.asked.provider()))?;
                    let (known, headers): (Bound<'_, PyAny>, Bound<'_, PyAny>) = begun.extract()?;
                    // Also where the fields cannot be sent: what has begun ends.
                    token = Some(known.unbind());
                    if headers.is_none() { Ok(Fields::new()) } else { read(&headers) }
                };
                match begun() {
                    Ok(more) => fields.extend(more),
                    Err(error) if ends_program(py, &error) => {
                        self.tokens.extend(token.map(Some));
                        self.hooks.truncate(self.tokens.len());
                        return Err(error);
                    }
                    Err(error) => hook.get().report(py, &self.counts, &error),
                }
            }
            self.tokens.push(token);
        }
        Ok(fields)
    }
}

impl Observed {
    /// Shows the garbage collector what it refers to.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.hooks.iter().try_for_each(|hook| visit.call(hook))?;
        self.tokens.iter().try_for_each(|token| visit.call(token))?;
        visit.call(&self.asked.context)
    }
}

impl Asked {
    /// Returns the name of the provider; `None` if a router is to choose it.
    pub fn provider(&self) -> Option<&'static str> {
        self.targets.is_none().then_some(self.provider)
    }
}

/// Returns the tags of a client with further ones, which win; `None` removes a tag.
///
/// # Errors
///
/// `InvalidArgumentError` for what is no dict of texts, numbers and booleans.
pub(crate) fn tags(known: Option<&Arc<Py<PyDict>>>, name: &str, value: &Bound<'_, PyAny>) -> PyResult<Arc<Py<PyDict>>> {
    let py = value.py();
    const RIGHT: &str = "a dict of str to str, int, float or bool,";
    let given = value.cast::<PyDict>().map_err(|_| wrong(name, value, RIGHT))?;
    let tags = match known {
        Some(known) => known.bind(py).copy()?,
        None => values::dict(py)?,
    };
    for (tag, value) in given.iter() {
        if !tag.is_instance_of::<PyString>() {
            return Err(wrong(&format!("a name in {name}"), &tag, "a str"));
        }
        let is_scalar =
            value.is_instance_of::<PyString>() || value.is_instance_of::<PyInt>() || value.is_instance_of::<PyFloat>();
        match value.is_none() {
            true if tags.contains(&tag)? => tags.del_item(&tag)?,
            true => {}
            false if is_scalar => tags.set_item(&tag, &value)?,
            false => return Err(wrong(&format!("{name}[{tag}]"), &value, "a str, an int, a float or a bool")),
        }
    }
    Ok(Arc::new(tags.unbind()))
}
