//! Functions of the caller's that give the credentials and header fields of an attempt: a key or token that does not last.
//!
//! They run in a thread of their own, in a copy of the call's context; coroutines run on the call's event loop. Neither the
//! loop nor the network thread waits for them. Exceptions that they raise reach the caller as they are.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use pyo3::exceptions::{PyException, PyMemoryError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use tokio::sync::oneshot;

use super::readers::{self, str_of, text};
use crate::client::{AttemptHooks, Fields};
use crate::error::{Error, ErrorKind, Result};
use crate::providers::Deployment;
use crate::python::errors::wrong;
use crate::python::intern::intern;
use crate::python::runtime::exit::FinalizeGuard;
use crate::python::values;
use crate::types::http::HttpRequest;
use crate::types::secret::Secret;
use crate::types::secrets::{is_credential, without_credentials};
use crate::types::shared::shared;

/// Placeholder of a key until its function was called. Too short to be taken for a secret.
pub(crate) const PLACEHOLDER: &str = "?";

/// A function of the caller's.
pub(crate) type Function = Arc<Py<PyAny>>;

/// Reads a key, or the function that gives it, which comes with a placeholder.
///
/// # Errors
///
/// `InvalidArgumentError` for anything else.
pub(crate) fn key(name: &str, value: &Bound<'_, PyAny>) -> PyResult<(Option<Secret>, Option<Function>)> {
    if value.is_callable() {
        return Ok((Some(Secret::new(shared(PLACEHOLDER))), Some(Arc::new(value.clone().unbind()))));
    }
    let key = str_of(name, value, "the provider's key, or a function that gives it,")?;
    Ok((Some(Secret::new(shared(key))), None))
}

/// Reads a setting, or the function that gives it, as azure-identity makes them, which comes with a placeholder.
///
/// # Errors
///
/// `InvalidArgumentError` for anything else.
pub(crate) fn secret_or_function(name: &str, value: &Bound<'_, PyAny>) -> PyResult<(Secret, Option<Function>)> {
    match value.is_callable() {
        true => Ok((Secret::new(PLACEHOLDER), Some(Arc::new(value.clone().unbind())))),
        false => Ok((Secret::new(text(name, value, "a str, or a function that gives one,")?), None)),
    }
}

/// The functions that a client or a call was given.
#[derive(Clone, Default)]
pub(crate) struct CallbackArgs {
    /// `api_key`.
    pub key: Option<Function>,
    /// Settings of a provider, by name.
    pub settings: Vec<(&'static str, Function)>,
    /// `request_headers`.
    pub headers: Option<Function>,
}

impl CallbackArgs {
    /// Returns true if there is none.
    pub fn is_empty(&self) -> bool {
        self.key.is_none() && self.settings.is_empty() && self.headers.is_none()
    }
}

/// The functions of one call, and the context and event loop that they run in.
pub(crate) struct CallbackContext {
    pub given: CallbackArgs,
    /// Context of the call.
    pub context: Arc<Py<PyAny>>,
    /// Event loop of the call, if the call is awaited.
    pub event_loop: Option<Arc<Py<PyAny>>>,
}

impl std::fmt::Debug for CallbackContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CallbackContext")
    }
}

impl AttemptHooks for CallbackContext {
    fn fill<'a>(&'a self, deployment: &'a mut Deployment) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if let Some(function) = &self.given.key {
                deployment.api_key = Some(self.call(function, None, |value| secret("api_key", value)).await?);
            }
            for (name, function) in &self.given.settings {
                let name: &'static str = name;
                // The function of a setting that this provider does not have is not called.
                if let Some((_, value)) = deployment.settings.iter_mut().find(|(known, _)| *known == name) {
                    *value = self.call(function, None, move |value| secret(name, value)).await?;
                }
            }
            Ok(())
        })
    }

    fn headers<'a>(
        &'a self,
        deployment: &'a Deployment,
        request: &'a HttpRequest,
        attempt: u32,
    ) -> Option<BoxFuture<'a, Result<Fields>>> {
        let function = self.given.headers.as_ref()?;
        let shown = Shown {
            method: request.method.to_string(),
            url: without_credentials(&request.uri.to_string()),
            headers: request
                .headers
                .iter()
                .filter(|(name, _)| !is_credential(name.as_str()))
                .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect(),
            provider: deployment.provider.row().name,
            model: deployment.model.to_string(),
            attempt,
        };
        let read = |value: &Bound<'_, PyAny>| match value.is_none() {
            true => Ok(Vec::new()),
            false => readers::headers("what request_headers returned", value),
        };
        Some(Box::pin(self.call(function, Some(shown), read)))
    }
}

/// Description of a request for a function of header fields, without secrets.
struct Shown {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    provider: &'static str,
    model: String,
    attempt: u32,
}

impl Shown {
    fn into_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
        let shown = values::dict(py)?;
        values::set(&shown, "method", self.method.as_str())?;
        values::set(&shown, "url", self.url.as_str())?;
        let headers = values::dict(py)?;
        self.headers.into_iter().try_for_each(|(name, value)| values::set(&headers, &name, value.as_str()))?;
        values::set(&shown, "headers", headers.as_any())?;
        values::set(&shown, "provider", self.provider)?;
        values::set(&shown, "model", self.model.as_str())?;
        values::set(&shown, "attempt", u64::from(self.attempt))?;
        Ok(shown)
    }
}

/// Reads the key or token that a function returned. An error does not show it.
fn secret(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Secret> {
    const RIGHT: &str = "a str that is not empty";
    let name = format!("what the function {name} returned");
    match value.cast::<PyString>() {
        Ok(text) if text.to_str().is_ok_and(|text| !text.trim().is_empty()) => Ok(Secret::new(text.to_str()?)),
        _ => Err(wrong(&name, value, RIGHT)),
    }
}

impl CallbackContext {
    /// Calls a function in a thread of its own, and reads its return value.
    async fn call<T: Send + 'static>(
        &self,
        function: &Function,
        shown: Option<Shown>,
        read: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<T> + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        let (function, context, event_loop) = (function.clone(), self.context.clone(), self.event_loop.clone());
        let give: Give = Box::new(move |value| drop(sender.send(value.and_then(|value| read(&value)))));
        let run = move || {
            // Only for a short time: the function itself runs in a thread of Python's, which may be ended at any point.
            let _guard = FinalizeGuard::enter_detached(false);
            Python::try_attach(|py| {
                let reply = Reply(Arc::new(Mutex::new(Some(give))));
                let give = reply.0.clone();
                if let Err(error) = start(py, &function, &context, event_loop.as_deref(), shown, reply) {
                    hand_in(&give, Err(error));
                }
            });
        };
        let started = std::thread::Builder::new().name("ritellm-ask".into()).spawn(run);
        let answered = match started {
            // The sender is dropped unused if there is no memory to call the function, or for its exception.
            Ok(_) => receiver.await.unwrap_or_else(|_| Err(PyMemoryError::new_err(()))),
            Err(error) => {
                return Err(Error::argument(format!(
                    "a function of the caller's could not be called: no thread could be started: {error}"
                )));
            }
        };
        match answered {
            Ok(value) => Ok(value),
            Err(raised) => {
                // An interrupt is no failure of a deployment: a router asks no other one.
                let is_failure = Python::attach(|py| raised.is_instance_of::<PyException>(py));
                let kind = if is_failure { ErrorKind::InvalidArgument } else { ErrorKind::Internal };
                let mut error = Error::new(kind, "a function of the caller's raised an exception").unsent();
                error.raised = Some(Box::new(raised));
                error.should_retry = Some(false);
                Err(error)
            }
        }
    }
}

/// Starts the function, in `ritellm._functions`.
fn start(
    py: Python<'_>,
    function: &Py<PyAny>,
    context: &Py<PyAny>,
    event_loop: Option<&Py<PyAny>>,
    shown: Option<Shown>,
    reply: Reply,
) -> PyResult<()> {
    let arguments = match shown {
        Some(shown) => values::tuple(py, [shown.into_python(py)?.into_any()])?,
        None => PyTuple::empty(py),
    };
    let module = py.import(intern!(py, "ritellm._functions"))?;
    let reply = Bound::new(py, reply)?;
    module.call_method1(intern!(py, "start"), (function, context, event_loop, arguments, reply))?;
    Ok(())
}

type Give = Box<dyn FnOnce(PyResult<Bound<'_, PyAny>>) + Send>;

/// Callable by which `ritellm._functions` hands in the value that a function returned, or the exception.
#[pyclass(frozen, module = "ritellm._core")]
struct Reply(Arc<Mutex<Option<Give>>>);

/// Hands in what a function returned, or the exception, unless that was done before.
fn hand_in(give: &Mutex<Option<Give>>, value: PyResult<Bound<'_, PyAny>>) {
    let give = give.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(give) = give {
        give(value);
    }
}

#[pymethods]
impl Reply {
    #[pyo3(signature = (value, raised, /))]
    fn __call__(&self, value: Bound<'_, PyAny>, raised: Option<Bound<'_, PyAny>>) {
        let value = match raised {
            Some(raised) => Err(PyErr::from_value(raised)),
            None => Ok(value),
        };
        hand_in(&self.0, value);
    }
}
