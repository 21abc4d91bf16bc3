//! Entry points: a call from Python, handed to the network thread and answered on the caller's loop or thread.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::arguments::{self, Asked, Defaults};
use super::bridge::Bridge;
use super::errors::argument;
use super::job::{Abort, Caller, Job};
use super::json_decode;
use super::log::{self, Log};
use super::runtime::{self, PerProcess};
use super::turns::Sleeper;
use super::waiter::{Waiter, Work};
use crate::client::Figures;
use crate::transport::{Settings, Trust};
use crate::types::chat::Operation;

/// Settings and connections. The package's ``Client`` adds the public methods.
#[pyclass(frozen, subclass, module = "ritellm._core")]
pub(super) struct Client {
    defaults: Defaults,
    settings: Settings,
    core: PerProcess<crate::client::Client>,
}

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (*, api_key=None, base_url=None, api_version=None, timeout=None, max_retries=None, headers=None, drop_params=None, http2=None, allow_http=None, ca_bundle=None, client_cert=None, verify=None, proxy=None, max_connections=None, max_header_size=None, max_body_size=None, max_event_size=None, max_nesting=None))]
    #[expect(clippy::too_many_arguments, reason = "they are Python's keywords")]
    fn new(
        api_key: Option<&Bound<'_, PyAny>>,
        base_url: Option<&Bound<'_, PyAny>>,
        api_version: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
        max_retries: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        drop_params: Option<&Bound<'_, PyAny>>,
        http2: Option<&Bound<'_, PyAny>>,
        allow_http: Option<&Bound<'_, PyAny>>,
        ca_bundle: Option<&Bound<'_, PyAny>>,
        client_cert: Option<&Bound<'_, PyAny>>,
        verify: Option<&Bound<'_, PyAny>>,
        proxy: Option<&Bound<'_, PyAny>>,
        max_connections: Option<&Bound<'_, PyAny>>,
        max_header_size: Option<&Bound<'_, PyAny>>,
        max_body_size: Option<&Bound<'_, PyAny>>,
        max_event_size: Option<&Bound<'_, PyAny>>,
        max_nesting: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let mut defaults = Defaults { deepest: json_decode::DEEP, ..Defaults::default() };
        let mut settings = Settings::default();
        if let Some(drop_params) = drop_params {
            defaults.drop_params = arguments::flag("drop_params", drop_params)?;
        }
        if let Some(http2) = http2 {
            settings.http2 = arguments::flag("http2", http2)?;
        }
        if let Some(allow) = allow_http {
            defaults.allow_http = arguments::flag("allow_http", allow)?;
        }
        if let Some(path) = ca_bundle {
            settings.trust = arguments::ca_bundle(path)?;
        }
        if let Some(verify) = verify
            && !arguments::flag("verify", verify)?
        {
            if ca_bundle.is_some() {
                return Err(argument(verify.py(), "verify=False and ca_bundle exclude each other: give one"));
            }
            settings.trust = Trust::Anybody;
        }
        if let Some(paths) = client_cert {
            settings.identity = Some(Arc::new(arguments::client_cert(paths)?));
        }
        if let Some(proxy) = proxy {
            settings.proxy = Some(arguments::proxy(proxy)?);
        }
        if let Some(limit) = max_connections {
            settings.max_connections = Some(arguments::limit("max_connections", limit)?);
        }
        for (name, given, limit) in [
            ("max_header_size", max_header_size, &mut settings.max_header),
            ("max_body_size", max_body_size, &mut settings.max_body),
            ("max_event_size", max_event_size, &mut settings.max_event),
        ] {
            if let Some(given) = given {
                *limit = arguments::limit(name, given)?;
            }
        }
        if let Some(given) = max_nesting {
            defaults.deepest = arguments::limit("max_nesting", given)?;
            if defaults.deepest > json_decode::DEEPEST {
                return Err(argument(
                    given.py(),
                    format!(
                        "max_nesting is {}: a whole number up to {} would be right",
                        defaults.deepest,
                        json_decode::DEEPEST
                    ),
                ));
            }
        }
        if let Some(key) = api_key {
            defaults.given.api_key =
                Some(crate::types::chat::Secret::new(arguments::text("api_key", key, "the provider's key")?));
        }
        if let Some(url) = base_url {
            let url = arguments::text("base_url", url, "an address such as \"https://host/v1\"")?;
            defaults.given.base_url = Some(url.into());
        }
        if let Some(version) = api_version {
            defaults.given.api_version = Some(arguments::text("api_version", version, "the version's name")?);
        }
        if let Some(timeout) = timeout {
            defaults.timeouts = arguments::timeouts(defaults.timeouts, timeout)?;
        }
        if let Some(retries) = max_retries {
            defaults.max_retries = Some(arguments::count("max_retries", retries)?);
        }
        if let Some(headers) = headers {
            defaults.headers = arguments::headers("headers", headers)?;
        }
        Ok(Self { defaults, settings, core: PerProcess::new() })
    }

    /// Starts a call; a task of the running loop awaits the answer or the stream. ``operation`` is ``"chat"``,
    /// ``"embedding"`` or ``"responses"``, and ``subject`` the messages or the input. A task that is cancelled meanwhile
    /// gives up the call: its request is aborted.
    fn start<'py>(
        &self,
        py: Python<'py>,
        operation: Asking,
        model: &Bound<'py, PyAny>,
        subject: &Bound<'py, PyAny>,
        arguments: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, Waiter>> {
        let _exposed = runtime::Exposed::enter(py);
        let (asked, log) = self.asked(operation, model, subject, arguments)?;
        let bridge = Bridge::current(py)?;
        let work = Work { abort: Abort::default(), log };
        let (key, waiter) = Bridge::wait(&bridge, work.clone())?;
        let caller = Caller::Task(bridge.get().queue(), key);
        runtime::spawn(Job { core: self.core(), asked, work, caller });
        Ok(waiter)
    }

    /// Makes a call and waits for the answer or the stream, without the GIL. The arguments are those of `start`.
    fn call(
        &self,
        py: Python<'_>,
        operation: Asking,
        model: &Bound<'_, PyAny>,
        subject: &Bound<'_, PyAny>,
        arguments: &Bound<'_, PyDict>,
    ) -> PyResult<Py<PyAny>> {
        let exposed = runtime::Exposed::enter(py);
        let (asked, log) = self.asked(operation, model, subject, arguments)?;
        drop(exposed);
        let work = Work { abort: Abort::default(), log };
        let sleeper = Sleeper::new();
        let caller = Caller::Thread(sleeper.clone());
        runtime::spawn(Job { core: self.core(), asked, work: work.clone(), caller });
        let limit = runtime::signals(py)?;
        loop {
            if let Some(outcome) = runtime::wait(py, || sleeper.wait(limit)) {
                let _exposed = runtime::Exposed::enter(py);
                return outcome.into_python(py);
            }
            py.check_signals().inspect_err(|_| work.give_up(py))?;
        }
    }

    /// What the client has done so far: counts of calls, retries, connections and bytes, in all and by provider.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let figures = self.core().stats();
        let stats = totals(py, figures.iter().map(|(_, figures)| figures))?;
        let by_provider = PyDict::new(py);
        for (provider, figures) in &figures {
            by_provider.set_item(provider, totals(py, std::iter::once(figures))?)?;
        }
        stats.set_item("by_provider", by_provider)?;
        Ok(stats)
    }
}

fn totals<'py, 'a>(
    py: Python<'py>,
    figures: impl Iterator<Item = &'a Figures> + Clone,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let sum = |of: fn(&Figures) -> u64| figures.clone().map(of).sum::<u64>();
    dict.set_item("calls", sum(|of| of.calls))?;
    dict.set_item("in_flight", sum(|of| of.in_flight as u64))?;
    dict.set_item("retries", sum(|of| of.retries))?;
    dict.set_item("connections_open", sum(|of| of.connections_open as u64))?;
    dict.set_item("connections_idle", sum(|of| of.connections_idle as u64))?;
    dict.set_item("bytes_sent", sum(|of| of.bytes_sent))?;
    dict.set_item("bytes_received", sum(|of| of.bytes_received))?;
    Ok(dict)
}

/// The operation that an entry point is called for, by its name.
struct Asking(Operation);

impl FromPyObject<'_, '_> for Asking {
    type Error = PyErr;

    fn extract(name: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        match name.cast::<PyString>()?.to_str()? {
            "chat" => Ok(Self(Operation::Chat)),
            "embedding" => Ok(Self(Operation::Embedding)),
            "responses" => Ok(Self(Operation::Responses)),
            other => Err(PyValueError::new_err(format!("there is no operation {other:?}"))),
        }
    }
}

impl Client {
    fn core(&self) -> Arc<crate::client::Client> {
        self.core.get(|| crate::client::Client::new(&self.settings))
    }

    /// Reads the arguments of a call.
    fn asked(
        &self,
        operation: Asking,
        model: &Bound<'_, PyAny>,
        subject: &Bound<'_, PyAny>,
        arguments: &Bound<'_, PyDict>,
    ) -> PyResult<(Box<Asked>, Option<Arc<Log>>)> {
        let asked = arguments::asked(&self.defaults, operation.0, model, subject, arguments);
        // The dict is a local variable of the caller's frame, and those are shown in tracebacks: key and headers are
        // not to be there.
        arguments.clear();
        let mut asked = asked?;
        asked.call.journal = log::journal(model.py())?;
        let log = asked.call.journal.clone().map(|journal| {
            let deployment = &asked.call.deployment;
            Arc::new(Log { journal, provider: deployment.provider.row().name, model: deployment.model.clone() })
        });
        Ok((asked, log))
    }
}
