//! Delivery of records to hooks, on the thread that a call belongs to.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::background::{self, Item};
use super::list::{Counts, Hook, Snapshot, ends_program};
use super::observed::Observed;
use super::outcome::Ended;
use super::record::{Call, Record};
use crate::error::Error;
use crate::python::errors::exception;
use crate::python::intern::intern;
use crate::python::runtime::fork::fork_count;

thread_local! {
    /// Records that this thread is to deliver as soon as the callers have their results.
    static PENDING: RefCell<VecDeque<Pending>> = const { RefCell::new(VecDeque::new()) };
    /// Number of drains of event loops below this point, each of which delivers at its end.
    static DRAINS: Cell<usize> = const { Cell::new(0) };
}

/// A call that has ended, and its hooks.
pub(crate) struct Pending {
    call: Py<Call>,
    hooks: Snapshot,
    tokens: Vec<Option<Py<PyAny>>>,
    counts: Arc<Counts>,
    /// Number of bytes of what was asked and answered.
    size: usize,
    /// Process that it belongs to.
    forks: u64,
}

/// Place where the end of a call was noticed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Where its result is made: who takes the result delivers the record afterwards.
    Caller,
    /// On the thread of its caller.
    Thread,
    /// Anywhere, perhaps in the middle of another function, as a finaliser: hooks must not be called there.
    Anywhere,
}

/// A drain of an event loop, during which ended calls are left for its end.
pub(crate) struct Drain;

impl Drain {
    /// Begins a drain.
    pub fn begin() -> Self {
        DRAINS.set(DRAINS.get() + 1);
        Self
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        DRAINS.set(DRAINS.get() - 1);
    }
}

/// Takes the end of a call, and sees to it that its hooks get its record.
pub(crate) fn push(py: Python<'_>, observed: Box<Observed>, ended: Ended, place: Place) {
    let counts = observed.counts.clone();
    let pending = match Pending::new(py, *observed, ended, None) {
        Ok(pending) => pending,
        Err(error) => {
            // There is no memory for the record.
            counts.dropped.fetch_add(1, Ordering::Relaxed);
            return error.write_unraisable(py, None);
        }
    };
    if place == Place::Caller || DRAINS.get() > 0 {
        return PENDING.with_borrow_mut(|all| all.push_back(pending));
    }
    match (call_soon(py), place) {
        (Ok(true), _) => PENDING.with_borrow_mut(|all| all.push_back(pending)),
        (_, Place::Thread) => {
            PENDING.with_borrow_mut(|all| all.push_back(pending));
            if run(py).is_err() {
                interrupt(py);
            }
        }
        _ => background::push(py, Box::new(pending)),
    }
}

/// Takes the failure of a call, and returns its exception.
pub(crate) fn push_failed(py: Python<'_>, observed: Box<Observed>, error: Box<Error>, place: Place) -> PyErr {
    let record = error.record.clone();
    let error = exception(py, error);
    push(py, observed, Ended::Failed { error: error.clone_ref(py).into_value(py), record }, place);
    error
}

/// Has the event loop of this thread deliver the records soon. Returns false if none runs here.
fn call_soon(py: Python<'_>) -> PyResult<bool> {
    let modules = py.import(intern!(py, "sys"))?.getattr(intern!(py, "modules"))?.cast_into::<PyDict>()?;
    let Some(asyncio) = modules.get_item(intern!(py, "asyncio"))? else { return Ok(false) };
    let event_loop = asyncio.call_method0(intern!(py, "_get_running_loop"))?;
    if event_loop.is_none() {
        return Ok(false);
    }
    let run = py.import(intern!(py, "ritellm._core"))?.getattr(intern!(py, "run_hooks"))?;
    event_loop.call_method1(intern!(py, "call_soon"), (run,))?;
    Ok(true)
}

/// Delivers what this thread has to deliver when the event loop of this thread has given out the results.
///
/// # Errors
///
/// `KeyboardInterrupt` and `SystemExit` of a hook, if no loop runs here.
#[cold]
pub(crate) fn run_soon(py: Python<'_>) -> PyResult<()> {
    if DRAINS.get() > 0 || call_soon(py)? { Ok(()) } else { run(py) }
}

/// Has the interpreter raise `KeyboardInterrupt` in the main thread.
fn interrupt(py: Python<'_>) {
    let interrupt = || py.import(intern!(py, "_thread"))?.call_method0(intern!(py, "interrupt_main"));
    drop(interrupt());
}

/// Delivers what this thread has to deliver.
///
/// # Errors
///
/// `KeyboardInterrupt` and `SystemExit` of a hook; all other exceptions are logged.
pub(crate) fn run(py: Python<'_>) -> PyResult<()> {
    let next = || PENDING.with_borrow_mut(VecDeque::pop_front);
    while let Some(pending) = next() {
        if let Err(error) = pending.deliver(py) {
            // This thread may deliver nothing any more. The end of the program waits for the other one.
            while let Some(rest) = next() {
                background::push(py, Box::new(rest));
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Delivers what this thread has to deliver. Called by an event loop.
#[pyfunction]
pub(crate) fn run_hooks(py: Python<'_>) -> PyResult<()> {
    run(py)
}

impl Pending {
    /// Makes the delivery of a call that has ended just now. `row` is the number and the id of a job's row.
    ///
    /// # Errors
    ///
    /// `MemoryError`.
    pub fn new(
        py: Python<'_>,
        observed: Observed,
        ended: Ended,
        row: Option<(u64, Option<Box<str>>)>,
    ) -> PyResult<Self> {
        let Observed { asked, hooks, tokens, counts, attempts } = observed;
        let size = asked.params.len() + ended.body().map_or(0, |body| body.len());
        let call = Py::new(py, Call::new(asked, ended, attempts.failed(), row))?;
        Ok(Self { call, hooks, tokens, counts, size, forks: fork_count() })
    }

    /// Calls the hooks.
    ///
    /// # Errors
    ///
    /// `KeyboardInterrupt` and `SystemExit` of a hook.
    fn deliver(self, py: Python<'_>) -> PyResult<()> {
        let mut stopped = None;
        self.call_hooks(py, |hook, error| match ends_program(py, &error) {
            true => drop(stopped.get_or_insert(error)),
            false => hook.report(py, &self.counts, &error),
        });
        stopped.map_or(Ok(()), Err)
    }

    fn call_hooks(&self, py: Python<'_>, mut failed: impl FnMut(&Hook, PyErr)) {
        if self.forks != fork_count() {
            // The parent process delivers it.
            return;
        }
        // One with the content, one without.
        let mut records: [Option<Bound<'_, Record>>; 2] = [None, None];
        for (index, hook) in self.hooks.iter().enumerate() {
            let token = self.tokens.get(index).and_then(Option::as_ref);
            let Some(function) = hook.get().function(py) else { continue };
            if let Err(error) = self.call_hook(py, hook, function, token, &mut records) {
                failed(hook.get(), error);
            }
        }
        let has_content = records[1].is_some();
        drop(records);
        if self.call.get().has_records() {
            // Who keeps the record does not keep the prompt and the answer, unless that was asked for.
            self.call.get().settle(py, has_content);
        }
    }

    fn call_hook<'py>(
        &self,
        py: Python<'py>,
        hook: &Py<Hook>,
        function: Py<PyAny>,
        token: Option<&Py<PyAny>>,
        records: &mut [Option<Bound<'py, Record>>; 2],
    ) -> PyResult<()> {
        let record = match &mut records[usize::from(hook.get().content)] {
            Some(record) => record,
            none => none.insert(Bound::new(py, Record::new(self.call.clone_ref(py), hook.get().content))?),
        };
        let context = self.call.get().asked.context.get().get(py)?;
        let run = intern!(py, "run");
        let returned = match token {
            None => context.call_method1(run, (function, &*record)),
            Some(token) => context.call_method1(run, (function, &*record, token)),
        }?;
        if returned.is_none() || !returned.hasattr(intern!(py, "__await__"))? {
            return Ok(());
        }
        let delivery = HookCall { hook: hook.clone_ref(py), counts: self.counts.clone() };
        let module = py.import(intern!(py, "ritellm._hooks"))?;
        module.call_method1(intern!(py, "schedule"), (returned, context, Bound::new(py, delivery)?))?;
        Ok(())
    }
}

impl Item for Pending {
    fn deliver(self: Box<Self>, py: Python<'_>) {
        // `SystemExit` could only end the library's own thread.
        self.call_hooks(py, |hook, error| hook.report(py, &self.counts, &error));
    }

    fn drop_record(&self) {
        self.counts.dropped.fetch_add(1, Ordering::Relaxed);
    }

    fn size(&self) -> usize {
        self.size
    }
}

/// Call of a hook that is a coroutine function.
#[pyclass(frozen, module = "ritellm._core")]
pub(crate) struct HookCall {
    hook: Py<Hook>,
    counts: Arc<Counts>,
}

#[pymethods]
impl HookCall {
    /// Takes the exception of the coroutine.
    fn failed(&self, error: Bound<'_, PyAny>) {
        self.hook.get().report(error.py(), &self.counts, &PyErr::from_value(error));
    }

    /// Counts the record as dropped.
    fn dropped(&self) {
        self.counts.dropped.fetch_add(1, Ordering::Relaxed);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.hook)
    }
}
