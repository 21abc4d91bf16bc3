//! The hooks of a client.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use smallvec::SmallVec;

use super::background::watch_collections;
use crate::python::errors::wrong;
use crate::python::gil_cell::GilCell;
use crate::python::intern::{get_or_make, intern};

/// True once a client of this process has had a hook. Until then a call looks no further.
static ARE_ANY: AtomicBool = AtomicBool::new(false);

/// Returns true if a client of this process may have a hook.
#[inline]
pub(crate) fn are_any() -> bool {
    ARE_ANY.load(Ordering::Relaxed)
}

/// A function, and what it asked for. A Python object, since lists, calls in flight and handles refer to it, and the garbage
/// collector has to see each of these references.
#[pyclass(frozen, module = "ritellm._core")]
pub(crate) struct Hook {
    /// `None` once the garbage collector has cleared it: a stream that dies in the same cycle must not call a function that is
    /// cleared, too, which has no globals any more.
    functions: GilCell<Option<Functions>>,
    /// True if it gets what was asked and answered.
    pub content: bool,
    is_removed: AtomicBool,
    /// True once an exception of it was logged.
    is_reported: AtomicBool,
}

struct Functions {
    function: Py<PyAny>,
    /// Function that is called before the call; the hook gets what it returns as its second argument.
    begin: Option<Py<PyAny>>,
}

impl Hook {
    fn new(py: Python<'_>, function: Py<PyAny>, begin: Option<Py<PyAny>>, content: bool) -> PyResult<Py<Self>> {
        if !ARE_ANY.swap(true, Ordering::Relaxed) {
            watch_collections(py)?;
        }
        let (is_removed, is_reported) = (AtomicBool::new(false), AtomicBool::new(false));
        let functions = GilCell::new(Some(Functions { function, begin }));
        Py::new(py, Self { functions, content, is_removed, is_reported })
    }

    /// Returns the function that gets the records; `None` if it is called no more.
    pub fn function(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        if self.is_removed() { None } else { self.known_function(py) }
    }

    fn known_function(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.functions.lock(py).as_ref().map(|functions| functions.function.clone_ref(py))
    }

    /// Returns the function that is called before a call; `None` if there is none.
    pub fn begin(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        if self.is_removed() {
            return None;
        }
        self.functions.lock(py).as_ref()?.begin.as_ref().map(|begin| begin.clone_ref(py))
    }

    fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Relaxed)
    }

    /// Counts an exception of it, and logs the first one.
    pub fn report(&self, py: Python<'_>, counts: &Counts, error: &PyErr) {
        counts.failed.fetch_add(1, Ordering::Relaxed);
        if self.is_reported.swap(true, Ordering::Relaxed) {
            return;
        }
        let log = || py.import(intern!(py, "ritellm._hooks"))?.getattr(intern!(py, "report"));
        if let Err(failed) = log().and_then(|log| log.call1((self.known_function(py), error.value(py)))) {
            failed.write_unraisable(py, None);
        }
    }
}

#[pymethods]
impl Hook {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(functions) = self.functions.visit(&visit) else { return Ok(()) };
        let Some(Functions { function, begin }) = &*functions else { return Ok(()) };
        visit.call(function)?;
        visit.call(begin)
    }

    fn __clear__(&self, py: Python<'_>) {
        let cleared = self.functions.try_lock(py).and_then(|mut functions| functions.take());
        // Not under the lock: to drop them may run Python code.
        drop(cleared);
    }
}

/// Returns true for an exception that ends the program rather than a function.
pub(crate) fn ends_program(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyKeyboardInterrupt>(py) || error.is_instance_of::<PySystemExit>(py)
}

/// The hooks of a client at one moment, in the order in which they were added.
pub(crate) type Snapshot = SmallVec<[Py<Hook>; 2]>;

/// The hooks of a client and of those that share its connections.
#[pyclass(frozen, module = "ritellm._core")]
pub(crate) struct HookList {
    state: GilCell<Hooks>,
    pub counts: Arc<Counts>,
}

/// What became of records.
#[derive(Default)]
pub(crate) struct Counts {
    /// Number of records that hooks did not get, since too many were waiting.
    pub dropped: AtomicU64,
    /// Number of exceptions of hooks.
    pub failed: AtomicU64,
}

#[derive(Default)]
struct Hooks {
    /// Those of the setting `on_call`.
    configured: Snapshot,
    /// Those that were added later.
    added: Snapshot,
}

impl HookList {
    /// Makes a list without hooks.
    ///
    /// # Errors
    ///
    /// `MemoryError`.
    pub fn new(py: Python<'_>) -> PyResult<Py<Self>> {
        Py::new(py, Self { state: GilCell::default(), counts: Arc::default() })
    }

    /// Returns the list whose hooks are those of every client.
    ///
    /// # Errors
    ///
    /// `MemoryError`.
    pub fn global(py: Python<'_>) -> PyResult<&'static Py<Self>> {
        static GLOBAL: OnceLock<Py<HookList>> = OnceLock::new();
        get_or_make(&GLOBAL, || Self::new(py))
    }

    /// Replaces the hooks of the setting `on_call`.
    ///
    /// # Errors
    ///
    /// `MemoryError`.
    pub fn configure(&self, py: Python<'_>, functions: Vec<Py<PyAny>>) -> PyResult<()> {
        let hooks = functions.into_iter().map(|function| Hook::new(py, function, None, false));
        let hooks = hooks.collect::<PyResult<_>>()?;
        let before = std::mem::replace(&mut self.state.lock(py).configured, hooks);
        // Not under the lock: to drop them may run Python code.
        drop(before);
        Ok(())
    }

    /// Returns the functions of the setting `on_call`.
    pub fn configured(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        self.state.lock(py).configured.iter().filter_map(|hook| hook.get().function(py)).collect()
    }

    /// Returns the hooks of this list and those of every client.
    ///
    /// # Errors
    ///
    /// `MemoryError`.
    pub fn with_global(&self, py: Python<'_>) -> PyResult<Snapshot> {
        let mut hooks = Snapshot::new();
        self.add_to(py, &mut hooks);
        Self::global(py)?.get().add_to(py, &mut hooks);
        Ok(hooks)
    }

    fn add_to(&self, py: Python<'_>, hooks: &mut Snapshot) {
        let state = self.state.lock(py);
        hooks.extend(state.configured.iter().chain(&state.added).map(|hook| hook.clone_ref(py)));
    }
}

#[pymethods]
impl HookList {
    /// Adds a hook, and returns a handle that removes it.
    #[pyo3(signature = (function, content, begin=None))]
    fn add(
        slf: &Bound<'_, Self>,
        function: &Bound<'_, PyAny>,
        content: bool,
        begin: Option<Py<PyAny>>,
    ) -> PyResult<HookHandle> {
        if !function.is_callable() {
            return Err(wrong("function", function, RIGHT));
        }
        let py = slf.py();
        let hook = Hook::new(py, function.clone().unbind(), begin, content)?;
        slf.get().state.lock(py).added.push(hook.clone_ref(py));
        Ok(HookHandle { list: slf.clone().unbind(), hook })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(state) = self.state.visit(&visit) else { return Ok(()) };
        state.configured.iter().chain(&state.added).try_for_each(|hook| visit.call(hook))
    }

    fn __clear__(&self, py: Python<'_>) {
        let cleared = self.state.try_lock(py).map(|mut state| std::mem::take(&mut *state));
        drop(cleared);
    }
}

const RIGHT: &str = "a function, sync or async, that takes a CallRecord,";

/// Reads the setting `on_call`: a function, or a list of functions.
///
/// # Errors
///
/// `InvalidArgumentError` for anything else.
pub(crate) fn functions(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<Py<PyAny>>> {
    let one = |function: &Bound<'_, PyAny>| match function.is_callable() {
        true => Ok(function.clone().unbind()),
        false => Err(wrong(name, function, RIGHT)),
    };
    match value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        true => value.try_iter()?.map(|function| one(&function?)).collect(),
        false => Ok(vec![one(value)?]),
    }
}

/// Handle of a function that `on_call` added. As a context manager it removes the function at the end of the block.
#[pyclass(frozen, module = "ritellm._core")]
pub(crate) struct HookHandle {
    list: Py<HookList>,
    hook: Py<Hook>,
}

#[pymethods]
impl HookHandle {
    /// Removes the function: it is not called any more, not even for calls in flight. To remove it twice does nothing.
    fn remove(&self, py: Python<'_>) {
        self.hook.get().is_removed.store(true, Ordering::Relaxed);
        let removed = {
            let added = &mut self.list.get().state.lock(py).added;
            added.iter().position(|hook| hook.is(&self.hook)).map(|at| added.remove(at))
        };
        // Not under the lock: to drop it may run Python code.
        drop(removed);
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) {
        self.remove(py);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.list)?;
        visit.call(&self.hook)
    }
}

/// Returns the list whose hooks are those of every client.
#[pyfunction]
pub(crate) fn global_hooks(py: Python<'_>) -> PyResult<Py<HookList>> {
    Ok(HookList::global(py)?.clone_ref(py))
}
