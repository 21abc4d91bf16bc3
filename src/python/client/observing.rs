//! The log and the hooks of a client's calls and jobs.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use pyo3::prelude::*;
use pyo3::types::PyString;

use super::Client;
use crate::client::AttemptLog;
use crate::error::Error;
use crate::python::arguments::readers;
use crate::python::call::handle::CallHandle;
use crate::python::call::log::{self, Log};
use crate::python::call::prepared::PreparedCall;
use crate::python::call::watch::Watch;
use crate::python::errors::exception;
use crate::python::hooks::delivery::{self, Place};
use crate::python::hooks::list;
use crate::python::hooks::observed::{Asked, CallContext, Observed};
use crate::python::hooks::outcome::Ended;
use crate::python::hooks::rows::JobHooks;
use crate::types::operation::Operation;

impl Client {
    /// Returns what the records of a job's rows have in common; `None` if no hook wants them.
    pub(in crate::python) fn job_hooks(
        &self,
        py: Python<'_>,
        operation: Operation,
        model: Option<Py<PyString>>,
        is_batch: bool,
    ) -> PyResult<Option<JobHooks>> {
        let state = self.state();
        let hooks = state.hooks.get().with_global(py)?;
        if hooks.is_empty() {
            return Ok(None);
        }
        Ok(Some(JobHooks {
            hooks,
            counts: state.hooks.get().counts.clone(),
            operation,
            model,
            targets: state.routing.as_ref().map(|routing| routing.args.targets.clone()),
            tags: state.defaults.tags.clone(),
            catalog: state.settings.catalog.clone(),
            context: CallContext::new(py, log::context(py)?)?,
            is_batch,
        }))
    }

    /// Begins the log of a call, and what its hooks get, if someone reads them.
    #[inline]
    pub(super) fn watch(&self, model: &Bound<'_, PyAny>, prepared: &mut PreparedCall) -> PyResult<Option<Arc<Watch>>> {
        let is_logged = log::is_wanted(model.py())?;
        if is_logged || list::are_any() { self.begin_watch(model, prepared, is_logged) } else { Ok(None) }
    }

    #[cold]
    fn begin_watch(
        &self,
        model: &Bound<'_, PyAny>,
        prepared: &mut PreparedCall,
        is_logged: bool,
    ) -> PyResult<Option<Arc<Watch>>> {
        let (py, state) = (model.py(), self.state());
        let hooks = state.hooks.get().with_global(py)?;
        if !is_logged && hooks.is_empty() {
            return Ok(None);
        }
        let attempt_log = Arc::new(AttemptLog::new(is_logged, !hooks.is_empty()));
        prepared.call.attempt_log = Some(attempt_log.clone());
        let context = log::context(py)?;
        let deployment = &prepared.call.deployment;
        let log = is_logged.then(|| {
            let (provider, model) = (deployment.provider.row().name, deployment.model.clone());
            Arc::new(Log { attempt_log: attempt_log.clone(), context: context.clone_ref(py), provider, model })
        });
        if hooks.is_empty() {
            return Ok(Some(Arc::new(Watch::new(log, None))));
        }
        let asked = Asked {
            operation: prepared.call.request.operation,
            model: model.cast::<PyString>()?.clone().unbind(),
            is_stream: prepared.call.request.stream,
            params: prepared.call.request.params.clone(),
            provider: deployment.provider.row().name,
            provider_model: deployment.model.clone(),
            base_url: deployment.base_url.clone(),
            targets: state.routing.as_ref().map(|routing| routing.args.targets.clone()),
            tags: state.defaults.tags.clone(),
            catalog: state.settings.catalog.clone(),
            context: CallContext::new(py, context)?,
            is_batch: false,
            begun: Instant::now(),
            started: SystemTime::now(),
        };
        let counts = state.hooks.get().counts.clone();
        let mut observed = Box::new(Observed { asked, hooks, tokens: Vec::new(), counts, attempts: attempt_log });
        let call = &mut prepared.call;
        let fields = match observed.begin(py, |fields| readers::headers("headers", fields)) {
            Ok(fields) => fields,
            Err(error) => {
                // What has begun ends.
                let ended = Ended::Failed { error: error.clone_ref(py).into_value(py), record: None };
                delivery::push(py, observed, ended, Place::Thread);
                return Err(error);
            }
        };
        for field in fields {
            // A field that the caller set stays.
            if call.request.extra_headers.iter().any(|(known, _)| *known == field.0) {
                continue;
            }
            if let Some(callbacks) = &mut call.callbacks {
                callbacks.headers.push(field.clone());
            }
            call.request.extra_headers.push(field);
        }
        Ok(Some(Arc::new(Watch::new(log, Some(observed)))))
    }

    /// Returns the exception of a call that failed before or beside the network thread, and has its hooks get the record.
    #[cold]
    pub(super) fn failed(py: Python<'_>, handle: &CallHandle, error: Box<Error>) -> PyErr {
        let observed = handle.watch.as_ref().and_then(|watch| watch.take());
        match observed {
            None => exception(py, error),
            Some(observed) => delivery::push_failed(py, observed, error, Place::Thread),
        }
    }
}
