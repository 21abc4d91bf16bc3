//! The test kit's native half: the mock server, and the detours that lead to it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};

use super::errors::argument;
use super::runtime::thread::block_signals;
use crate::testing::mock::{self, End, Latency, Received, Rule};
use crate::testing::relay::{self, Decision, Failure, Outcome, Recorded, Recorder};
use crate::testing::script::{Effect, Matcher};
use crate::transport;
use crate::transport::detour::{self, Detour, Refusal};
use crate::types::rate_limit::Unit;
use crate::types::redact::Redactor;

/// Sends the connections of this process that are opened from now on to a port of this machine; those to mock servers of this
/// process only if a relay is there. Returns a key for `leave_detour`.
#[pyfunction]
#[pyo3(signature = (port, is_relay, /))]
pub(super) fn enter_detour(py: Python<'_>, port: u16, is_relay: bool) -> u64 {
    py.detach(|| transport::enter_detour(if is_relay { Detour::Relay(port) } else { Detour::Mock(port) }))
}

/// Refuses connections to other machines with a message, in which `{}` stands for the other machine, but those that are
/// allowed: `host`, `host:port`, `*.domain`. Returns a key for `leave_detour`.
#[pyfunction]
#[pyo3(signature = (message, allowed, /))]
pub(super) fn enter_offline(py: Python<'_>, message: String, allowed: Vec<String>) -> u64 {
    py.detach(|| transport::enter_detour(Detour::Offline(Refusal { message, allowed })))
}

/// Gives the detour that `enter_offline` began another message.
#[pyfunction]
#[pyo3(signature = (key, message, /))]
pub(super) fn rename_offline(key: u64, message: String) {
    detour::rename_offline(key, message);
}

/// Ends a detour.
#[pyfunction]
#[pyo3(signature = (key, /))]
pub(super) fn leave_detour(py: Python<'_>, key: u64) {
    py.detach(|| transport::leave_detour(key));
}

/// Replaces secrets, in any encoding, by asterisks.
#[pyfunction]
#[pyo3(signature = (text, secrets, /))]
pub(super) fn redact<'py>(py: Python<'py>, text: &[u8], secrets: Vec<String>) -> Bound<'py, PyBytes> {
    let redacted = Redactor::new(secrets.iter().map(String::as_str)).redact(text);
    PyBytes::new(py, redacted.as_deref().unwrap_or(text))
}

/// A server that stands for the providers. `ritellm.testing.MockServer` has the public methods.
#[pyclass(frozen, module = "ritellm._core")]
pub(super) struct MockServer(Mutex<mock::MockServer>);

impl MockServer {
    fn lock(&self) -> MutexGuard<'_, mock::MockServer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request as a tuple: method, target, header fields, body, endpoint, model, seconds since the server began.
type Request<'py> =
    (String, String, Vec<(String, String)>, Bound<'py, PyBytes>, Option<&'static str>, Option<String>, f64);

#[pymethods]
impl MockServer {
    #[new]
    #[pyo3(signature = (port, keep, /))]
    fn new(py: Python<'_>, port: u16, keep: usize) -> PyResult<Self> {
        let server = py.detach(|| mock::MockServer::start(port, keep, block_signals))?;
        Ok(Self(Mutex::new(server)))
    }

    /// Port of the server.
    #[getter]
    fn port(&self) -> u16 {
        self.lock().port()
    }

    /// Adds a rule for the requests with this model, text and path; `effect` is JSON.
    #[pyo3(signature = (matcher, effect, body, times, /))]
    fn add(
        &self,
        py: Python<'_>,
        matcher: (Option<String>, Option<String>, Option<String>),
        effect: &[u8],
        body: Vec<u8>,
        times: Option<u64>,
    ) -> PyResult<()> {
        let effect = serde_json::from_slice(effect).ok().and_then(|effect| Effect::read(&effect, body));
        let effect = effect.ok_or_else(|| argument(py, "the mock server does not know this effect"))?;
        let (model, contains, path) = matcher;
        self.lock().script(|script| script.add(Matcher { model, contains, path }, effect, times));
        Ok(())
    }

    /// Sets the seconds before the first byte and between chunks.
    #[pyo3(signature = (first, chunk, /))]
    fn latency(&self, first: f64, chunk: f64) {
        let seconds = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let latency = Latency { first: seconds(first), chunk: seconds(chunk) };
        self.lock().script(|script| script.set_latency(latency));
    }

    /// Adds a limit.
    #[pyo3(signature = (tokens, window, limit, /))]
    fn limit(&self, py: Python<'_>, tokens: bool, window: &str, limit: u64) -> PyResult<()> {
        let unit = if tokens { Unit::Tokens } else { Unit::Requests };
        let rule = match window {
            "bucket" => Rule::Bucket,
            "minute" => Rule::Minute,
            "in_flight" => Rule::InFlight,
            _ => {
                return Err(argument(
                    py,
                    format!("window is {window:?}: \"bucket\", \"minute\" or \"in_flight\" would be right"),
                ));
            }
        };
        self.lock().script(|script| script.add_limit(unit, rule, limit));
        Ok(())
    }

    /// Forgets all rules.
    fn reset(&self) {
        self.lock().script(|script| script.reset());
    }

    /// Returns the requests so far.
    fn requests<'py>(&self, py: Python<'py>) -> Vec<Request<'py>> {
        let requests = self.lock().requests();
        let tuple = |logged: mock::Logged| {
            let (endpoint, model) = logged.asked().unzip();
            let head = &logged.received.head;
            let body = PyBytes::new(py, &logged.received.body);
            let at = logged.at.as_secs_f64();
            (head.method.clone(), head.target.clone(), head.headers.clone(), body, endpoint, model, at)
        };
        requests.into_iter().map(tuple).collect()
    }

    /// Number of all requests so far.
    fn count(&self) -> u64 {
        self.lock().count()
    }

    /// Forgets the requests so far.
    fn forget(&self) {
        self.lock().forget();
    }

    /// Closes the port and all connections.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.lock().close());
    }
}

/// A server in front of the providers: `ritellm.testing.Cassette` says what becomes of each request.
#[pyclass(frozen, module = "ritellm._core")]
pub(super) struct Relay {
    /// Outside of the lock, which `close` holds while it waits for functions that need the GIL.
    port: u16,
    relay: Mutex<relay::Relay>,
}

/// The functions of a cassette.
struct Functions {
    decide: Py<PyAny>,
    record: Py<PyAny>,
}

/// An answer as a tuple: status, header fields, pieces with their seconds, whether it is a stream, and one of [`ENDS`].
type Answer = (u16, Vec<(String, String)>, Vec<(f64, Vec<u8>)>, bool, String);
/// A failure as a tuple: its kind, message and seconds.
type Failed = (String, String, f64);

/// Names of what happens behind the last piece of an answer.
const ENDS: [(&str, End); 3] = [("complete", End::Complete), ("broken", End::Close), ("silent", End::Stall)];

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// Calls a function with the parts of a request, and others.
fn call<'py>(
    py: Python<'py>,
    function: &Py<PyAny>,
    received: &Received,
    recorded: Option<Bound<'py, PyTuple>>,
) -> PyResult<Bound<'py, PyAny>> {
    let head = &received.head;
    let body = PyBytes::new(py, &received.body);
    let request = (head.method.as_str(), head.target.as_str(), head.headers.clone(), body).into_pyobject(py)?;
    match recorded {
        None => function.bind(py).call1(request),
        Some(recorded) => function.bind(py).call1((request, recorded)),
    }
}

impl Recorder for Functions {
    fn decide(&self, received: &Received) -> Decision {
        let decided = Python::try_attach(|py| -> PyResult<Decision> {
            let decided = call(py, &self.decide, received, None)?;
            if decided.is_none() {
                return Ok(Decision::Forward);
            }
            if let Ok(message) = decided.cast::<PyString>() {
                return Ok(Decision::Refuse(message.to_str()?.to_owned()));
            }
            if decided.len()? == 3 {
                let (kind, message, after): Failed = decided.extract()?;
                return Ok(Decision::Play(Outcome::Failure(Failure { kind, message, after: duration(after) })));
            }
            let (status, headers, pieces, is_stream, end): Answer = decided.extract()?;
            let pieces = pieces.into_iter().map(|(at, piece)| (duration(at), piece.into())).collect();
            let end = ENDS.iter().find(|(name, _)| *name == end).map(|(_, end)| *end).unwrap_or_default();
            Ok(Decision::Play(Outcome::Answer(Recorded { status, headers, pieces, is_stream, end })))
        });
        match decided {
            Some(Ok(decision)) => decision,
            Some(Err(error)) => Decision::Refuse(format!("the cassette failed: {error}")),
            None => Decision::Refuse("the interpreter is exiting".to_owned()),
        }
    }

    fn record(&self, received: &Received, outcome: Outcome) {
        Python::try_attach(|py| {
            let outcome = match outcome {
                Outcome::Answer(Recorded { status, headers, pieces, is_stream, end }) => {
                    let pieces: Vec<_> =
                        pieces.iter().map(|(at, piece)| (at.as_secs_f64(), PyBytes::new(py, piece))).collect();
                    let end = ENDS.iter().find(|(_, known)| *known == end).map(|(name, _)| *name);
                    (status, headers, pieces, is_stream, end).into_pyobject(py)
                }
                Outcome::Failure(Failure { kind, message, after }) => {
                    (kind, message, after.as_secs_f64()).into_pyobject(py)
                }
            };
            if let Err(error) = outcome.and_then(|outcome| call(py, &self.record, received, Some(outcome))) {
                error.write_unraisable(py, None);
            }
        });
    }
}

#[pymethods]
impl Relay {
    #[new]
    #[pyo3(signature = (decide, record, /))]
    fn new(py: Python<'_>, decide: Py<PyAny>, record: Py<PyAny>) -> PyResult<Self> {
        let functions = Arc::new(Functions { decide, record });
        let relay = py.detach(|| relay::Relay::start(functions, block_signals))?;
        Ok(Self { port: relay.port(), relay: Mutex::new(relay) })
    }

    /// Port of the server.
    #[getter]
    fn port(&self) -> u16 {
        self.port
    }

    /// Waits, for so many seconds at most, until what was forwarded is recorded, and closes the port. False if some is recorded
    /// as far as it came only.
    #[pyo3(signature = (patience, /))]
    fn close(&self, py: Python<'_>, patience: f64) -> bool {
        py.detach(|| {
            let mut relay = self.relay.lock().unwrap_or_else(PoisonError::into_inner);
            let done = relay.finish(duration(patience));
            relay.close();
            done
        })
    }
}
