//! Entry points: hand a call from Python to the network thread, which answers on the caller's event loop or thread.

mod observing;
mod state;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use super::arguments::concealed::{Arguments, conceal};
use super::arguments::defaults::Defaults;
use super::arguments::routing::Routing;
use super::arguments::{limits, parse, pickling, settings};
use super::asyncio::done::Done;
use super::asyncio::waiter::Bridge;
use super::call::caller::Caller;
use super::call::cancel::CancelHandle;
use super::call::closing::{self, Closing};
use super::call::finished::FinishedCall;
use super::call::handle::CallHandle;
use super::call::log;
use super::call::prepared::PreparedCall;
use super::call::registry::Core;
use super::call::result::CallResult;
use super::call::task::{Job, Task};
use super::errors::{argument, exception};
use super::hooks::delivery;
use super::hooks::list::HookList;
use super::intern::intern;
use super::runtime::current;
use super::runtime::descriptors::LOST;
use super::runtime::exit::FinalizeGuard;
use super::runtime::fork::fork_epoch;
use super::runtime::thread::{self, Refused};
use super::sync::handoff::BlockingWaiter;
use super::sync::wait::wait;
use super::values;
use super::{quota_status, router_status};
use crate::catalog::Bill;
use crate::client::{Settings, StatsSnapshot, notify};
use crate::error::Error;
use crate::limits::Priority;
use crate::providers::{batch_price, provider_of};
use crate::types::nearest::nearest;
use crate::types::operation::Operation;
use crate::types::usage::Usage;
use state::{SHARED, State};

/// Settings and connections. The package's ``Client`` adds the public methods.
#[pyclass(frozen, subclass, module = "ritellm._core")]
pub(super) struct Client {
    /// Always `Some`. Where there is no memory for the attributes of a subclass's instance, CPython frees the instance with
    /// zeros in place of this field, and zeros have to be a value that can be dropped.
    state: Option<Box<State>>,
}

#[pymethods]
impl Client {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*args, **settings), text_signature = "(*, api_key=None, base_url=None, api_version=None, azure_ad_token_provider=None, timeout=None, max_retries=None, max_retry_after=None, headers=None, request_headers=None, on_call=None, tags=None, drop_params=None, unknown_params=None, http2=None, allow_http=None, ca_bundle=None, client_cert=None, verify=None, proxy=None, max_connections=None, max_in_flight=None, limits=None, priority=None, max_header_size=None, max_body_size=None, max_event_size=None, max_stream_size=None, max_values=None, max_nesting=None, catalog=None, cache=None, ttl=None, budget=None, providers=None, aliases=None, defaults=None, cassette=None)")]
    fn new(
        class: &Bound<'_, PyType>,
        args: &Bound<'_, PyTuple>,
        settings: Option<Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let py = class.py();
        let mut given = settings.map_or_else(|| values::dict(py), Ok)?;
        let are_settings = args.is_empty() && settings::are_known(&given)?;
        if !are_settings && has_own_init(class)? {
            // The arguments are those of a subclass, whose own `__init__` calls ours with the settings.
            given = values::dict(py)?;
        } else if !args.is_empty() {
            return Err(PyTypeError::new_err(format!(
                "Client() takes no positional arguments, but {} were given",
                args.len()
            )));
        }
        Ok(Self { state: Some(State::read(given)?) })
    }

    /// Takes the settings that the `__init__` of a subclass passes on. For other classes `__new__` has read them.
    #[pyo3(signature = (*args, **settings))]
    fn __init__(
        slf: &Bound<'_, Self>,
        args: &Bound<'_, PyTuple>,
        settings: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        match settings {
            _ if !has_own_init(&slf.get_type())? => Ok(()),
            _ if !args.is_empty() => Err(PyTypeError::new_err("Client.__init__() takes no positional arguments")),
            None => Ok(()),
            Some(settings) => slf.get().reconfigure(settings, false),
        }
    }

    /// Gives the client other settings. Calls in flight go on with those that they began with. With ``keep``, settings that are
    /// not named stay as they are, and so do the connections unless a setting concerns them; ``None`` is the default.
    fn reconfigure(&self, settings: &Bound<'_, PyDict>, keep: bool) -> PyResult<()> {
        let py = settings.py();
        let last = self.state();
        let given = if keep { last.given.bind(py).copy()? } else { values::dict(py)? };
        if given.contains(intern!(py, settings::FILE))? {
            given.del_item(intern!(py, settings::FILE))?;
        }
        let mut keeps_connections = keep;
        for (name, value) in settings.iter() {
            keeps_connections &= !settings::OF_CONNECTIONS.contains(&name.cast::<PyString>()?.to_str()?);
            given.set_item(name, value)?;
        }
        let mut next = State::read(given)?;
        // The list stays, with what was added to it.
        let functions = next.hooks.get().configured(py);
        last.hooks.get().configure(py, functions)?;
        next.hooks = last.hooks.clone_ref(py);
        if keeps_connections {
            next.core = last.core.clone();
        } else if let Some(core) = last.core.known() {
            // The statistics go on.
            next.core.get(|| Core::new(core.client.renewed(&next.settings)));
        }
        let mut next = Some(next);
        let mut last = last;
        loop {
            if let Some(fresh) = next.take()
                && let Err(fresh) = last.next.set(fresh)
            {
                // Another thread was first.
                next = Some(fresh);
            }
            match next {
                Some(_) => last = last.next.get().expect("just found to be set"),
                None => return Ok(()),
            }
        }
    }

    /// Returns a client with other options for its calls.
    ///
    /// It shares everything else with this one: connections, limits, statistics, and of a router the deployments. Closing one
    /// closes both. An option that is left out stays as it is.
    ///
    /// >>> from ritellm import Client
    /// >>> client = Client(limits={"openai": {"rpm": 5_000}})
    /// >>> bulk = client.with_options(priority="bulk", timeout={"queue": 3600})
    ///
    /// Args:
    ///     timeout: seconds for a whole call, or a mapping, as for `Client`; limits that a mapping leaves out stay.
    ///     max_retries: maximum number of retries after a transient failure.
    ///     max_retry_after: the longest pause in seconds that is accepted from a provider's ``Retry-After``.
    ///     drop_params: leave out parameters that the provider lacks.
    ///     unknown_params: ``"error"`` refuses parameters that no provider documents; ``"send"`` sends them.
    ///     headers: header fields that are added to those of the client, or replace them.
    ///     priority: ``"interactive"`` or ``"bulk"``: bulk calls let the others of their quota go first.
    ///     cache: a `Cache`, or ``False`` for calls that are neither looked up nor kept.
    ///     ttl: seconds for which answers are kept, and maximum age of those that are taken.
    ///     tags: a dict of labels for the records of the calls, added to those of the client; see `on_call`.
    ///     budget: what the calls may cost, a `Budget`; ``False`` for calls without.
    ///
    /// Raises:
    ///     InvalidArgumentError: an option that cannot be used, or that only a new client can have.
    #[pyo3(signature = (**options), text_signature = "($self, *, timeout=None, max_retries=None, max_retry_after=None, drop_params=None, unknown_params=None, headers=None, priority=None, cache=None, ttl=None, budget=None, tags=None)")]
    fn with_options<'py>(slf: &Bound<'py, Self>, options: Option<Bound<'py, PyDict>>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let options = options.map_or_else(|| values::dict(py), Ok)?;
        for name in options.keys() {
            let name = name.cast::<PyString>()?;
            let name = name.to_str()?;
            if !settings::CALL_OPTIONS.contains(&name) {
                let names = settings::CALL_OPTIONS.join(", ");
                let near = nearest(name, settings::CALL_OPTIONS.iter().copied());
                let near = near.map(|near| format!(": did you mean {near}?")).unwrap_or_default();
                return Err(argument(py, format!("with_options takes no {name}{near} (its options are {names})")));
            }
        }
        let given = slf.get().state().given.bind(py).copy()?;
        let earlier = given.get_item(intern!(py, settings::OPTIONS))?;
        let earlier = earlier.iter().map(|options| options.try_iter()).collect::<PyResult<Vec<_>>>()?;
        let all = earlier.into_iter().flatten().chain([Ok(options.into_any())]).collect::<PyResult<Vec<_>>>()?;
        given.set_item(intern!(py, settings::OPTIONS), values::tuple(py, all)?)?;
        given.set_item(intern!(py, SHARED), slf)?;
        Self::duplicate(slf, &given, Ok)
    }

    /// Returns a client with the same settings, and connections of its own.
    fn __copy__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::duplicate(slf, slf.get().state().given.bind(slf.py()), Ok)
    }

    fn __deepcopy__<'py>(slf: &Bound<'py, Self>, memo: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let deepcopy = slf.py().import(intern!(slf.py(), "copy"))?.getattr(intern!(slf.py(), "deepcopy"))?;
        Self::duplicate(slf, slf.get().state().given.bind(slf.py()), |attributes| deepcopy.call1((attributes, memo)))
    }

    /// Pickles the settings without keys: see `pickling::without_secrets`.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let py = slf.py();
        let make = py.import(intern!(py, "copyreg"))?.getattr(intern!(py, "__newobj_ex__"))?;
        let settings = pickling::without_secrets(slf.get().state().given.bind(py))?;
        let arguments =
            values::tuple(py, [slf.get_type().into_any(), PyTuple::empty(py).into_any(), settings.into_any()])?;
        let attributes = slf.getattr_opt(intern!(py, "__dict__"))?.unwrap_or_else(|| py.None().into_bound(py));
        values::tuple(py, [make, arguments.into_any(), attributes])
    }

    /// Returns the class and its settings, without credentials.
    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let members = pickling::shown(slf.get().state().given.bind(slf.py()))?;
        Ok(format!("{}({})", slf.get_type().name()?, members.join(", ")))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let mut state = self.state.as_ref();
        while let Some(own) = state {
            visit.call(&own.given)?;
            visit.call(&own.hooks)?;
            state = own.next.get();
        }
        Ok(())
    }

    /// Starts a call; a task of the running event loop awaits the answer or the stream. ``operation`` is the name of a row in
    /// `types::operation`, ``model`` the model or, where the operation has none, the provider, and ``input`` its input. A task
    /// that is cancelled meanwhile gives up the call: its request is aborted.
    fn start<'py>(
        slf: &Bound<'py, Self>,
        operation: &Bound<'py, PyAny>,
        model: &Bound<'py, PyAny>,
        input: &Bound<'py, PyAny>,
        arguments: &Bound<'py, Arguments>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let client = slf.get();
        let configured = client.configured_model(model)?;
        let model = configured.as_ref().unwrap_or(model);
        if is_local(model) && arguments.get().needs_base_url(py)? {
            return start_locally(slf, operation, model, input, arguments);
        }
        let operation: OperationName = operation.extract()?;
        let values = arguments.get().values(py);
        let _guard = FinalizeGuard::enter(py);
        let Some(mut prepared) = client.prepare(operation, true, model, input, values)? else {
            return structured(slf, "acall", operation.0, model, input, arguments);
        };
        let bridge = Bridge::current(py)?;
        let core = client.core(py)?;
        let watch = client.watch(model, &mut prepared)?;
        let handle = CallHandle { cancel: CancelHandle::default(), watch };
        if prepared.lookup.is_some() {
            prepared = match FinishedCall::kept(prepared, &handle) {
                Ok(kept) => {
                    let kept = kept.into_python(py);
                    if handle.watch.is_some() {
                        delivery::run_soon(py)?;
                    }
                    return Ok(Bound::new(py, Done::at_hand(kept?))?.into_any());
                }
                Err(prepared) => prepared,
            };
        }
        let (key, waiter) = Bridge::wait(&bridge, Some(handle.clone()))?;
        let caller = Caller::Task(bridge.get().queue(), key);
        client.spawn(py, Job { core, prepared, handle, caller })?;
        Ok(waiter.into_any())
    }

    /// Makes a call and waits for the answer or the stream, without the GIL. The arguments are those of `start`.
    fn call(
        slf: &Bound<'_, Self>,
        operation: OperationName,
        model: &Bound<'_, PyAny>,
        input: &Bound<'_, PyAny>,
        arguments: &Bound<'_, PyDict>,
    ) -> PyResult<Py<PyAny>> {
        let (py, client) = (slf.py(), slf.get());
        let guard = FinalizeGuard::enter(py);
        let configured = client.configured_model(model)?;
        let resolved = configured.as_ref().unwrap_or(model);
        let Some(mut prepared) = client.prepare(operation, false, resolved, input, arguments)? else {
            drop(guard);
            let arguments = conceal(arguments.clone())?;
            return structured(slf, "call", operation.0, model, input, &arguments).map(Bound::unbind);
        };
        let core = client.core(py)?;
        let watch = client.watch(resolved, &mut prepared)?;
        let handle = CallHandle { cancel: CancelHandle::default(), watch };
        if prepared.lookup.is_some() {
            prepared = match FinishedCall::kept(prepared, &handle) {
                Ok(kept) => return hooked(py, &handle, kept.into_python(py)),
                Err(prepared) => prepared,
            };
        }
        drop(guard);
        let waiter = BlockingWaiter::new();
        let caller = Caller::Thread(waiter.clone());
        client.spawn(py, Job { core, prepared, handle: handle.clone(), caller })?;
        wait_for_result(py, &waiter, &handle)
    }

    /// Closes the client and waits for that, without the GIL: see the package's ``Client.close``. With ``reopen``, the next
    /// call opens new connections.
    fn call_close(&self, py: Python<'_>, timeout: &Bound<'_, PyAny>, reopen: bool) -> PyResult<Py<PyAny>> {
        let timeout = closing::timeout(timeout)?;
        let made = fork_epoch();
        let waiter = BlockingWaiter::new();
        if !self.begin_close(timeout, reopen, Caller::Thread(waiter.clone())) {
            return Ok(py.None());
        }
        match wait_for_result(py, &waiter, &CallHandle { cancel: CancelHandle::default(), watch: None }) {
            // The program has closed the descriptors of the connections: nothing is open any more.
            Err(_) if !current::is_alive(made) => Ok(py.None()),
            done => done,
        }
    }

    /// Closes the client; a task of the running event loop awaits that. A task that is cancelled meanwhile does not wait any
    /// more, and the client is closed all the same.
    fn start_close<'py>(
        &self,
        py: Python<'py>,
        timeout: &Bound<'py, PyAny>,
        reopen: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _guard = FinalizeGuard::enter(py);
        let timeout = closing::timeout(timeout)?;
        let bridge = Bridge::current(py)?;
        let (key, waiter) = Bridge::wait(&bridge, None)?;
        if self.begin_close(timeout, reopen, Caller::Task(bridge.get().queue(), key)) {
            return Ok(waiter.into_any());
        }
        bridge.get().forget(py, key);
        Ok(Bound::new(py, Done::new(py.None()))?.into_any())
    }

    /// The functions that get the record of each call.
    #[getter]
    fn _hooks(&self, py: Python<'_>) -> Py<HookList> {
        self.state().hooks.clone_ref(py)
    }

    /// True if the client was closed.
    #[getter]
    fn is_closed(&self) -> bool {
        self.state().core.is_closed()
    }

    /// Raises the exception of a call on a closed client, if the client was closed.
    fn require_open(&self, py: Python<'_>) -> PyResult<()> {
        if self.state().core.is_closed() { Err(exception(py, closing::refused())) } else { Ok(()) }
    }

    /// Returns the state of each quota that the client's calls have used, by its name.
    ///
    /// Returns:
    ///     A dict of dicts: ``windows`` (a list of dicts with ``unit``, ``per``, ``limit``, ``used`` and ``used_by_others``),
    ///     ``in_flight``, ``max_in_flight``, ``reserved_tokens``, ``waiting``, ``waiting_bulk``, ``paused_for`` and ``paused_by``,
    ///     ``stopped_by`` and ``probe_in``, ``burst``, ``learnt_rate``, ``learnt_token_rate``, ``learnt_in_flight``,
    ///     ``tokens_per_byte`` and ``output_tokens``. Times are in seconds from now, rates a second; what does not apply is
    ///     ``None``. docs/limits.md explains each. No key is in it.
    fn limits<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = values::dict(py)?;
        let quotas = self.state().core.known().map(|core| core.client.quotas()).unwrap_or_default();
        for (name, snapshot, now) in quotas {
            // Several accounts may use the same model.
            let mut key = name.clone();
            for number in 2.. {
                if !dict.contains(&key)? {
                    break;
                }
                key = format!("{name} #{number}");
            }
            values::set(&dict, &key, quota_status::quota(py, &snapshot, now)?.as_any())?;
        }
        Ok(dict)
    }

    /// Ends the pauses and stops of quotas: for when you have changed a limit, paid, or granted access.
    ///
    /// Args:
    ///     name: the beginning of the quotas' names in `limits`; of a router, also the name of a deployment, which then gets calls
    ///         again, whatever it failed with.
    ///
    /// Returns:
    ///     False if no quota that the client has used is called so.
    ///
    /// Raises:
    ///     InvalidArgumentError: of a router, if no deployment is called so, either.
    fn enable(&self, py: Python<'_>, name: &str) -> PyResult<bool> {
        let found = self.state().core.known().is_some_and(|core| core.client.enable(name));
        let Some(router) = self.state().routing.as_ref().and_then(Routing::router) else { return Ok(found) };
        match router.with(|state, _| state.enable(name)) {
            Err(error) if !found => Err(exception(py, error)),
            _ => Ok(true),
        }
    }

    /// Returns the deployment of a router's group to which a job's batches go, as it was given, and the settings of a client
    /// without the router; None if this is none.
    fn batch_deployment<'py>(
        &self,
        py: Python<'py>,
        group: Option<&str>,
    ) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PyDict>)>> {
        let state = self.state();
        let Some(routing) = &state.routing else { return Ok(None) };
        let index = routing.batch_deployment(py, group)?;
        let settings = state.given.bind(py).copy()?;
        let router = settings.as_any().get_item(intern!(py, settings::ROUTER))?;
        settings.del_item(intern!(py, settings::ROUTER))?;
        let deployments = router.get_item(intern!(py, "groups"))?.get_item(group)?;
        Ok(Some((deployments.get_item(index)?, settings)))
    }

    /// Returns the state of each deployment of a router, by its name.
    fn router_status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let quotas = self.state().core.known().map(|core| core.client.quotas()).unwrap_or_default();
        match self.state().routing.as_ref().and_then(Routing::router) {
            Some(router) => router_status::router(py, &router, &quotas),
            None => values::dict(py),
        }
    }

    /// True if the client has prices.
    #[getter]
    fn has_catalog(&self) -> bool {
        self.state().settings.catalog.is_some()
    }

    /// Returns the cost of a call of a model in US dollars, by the client's catalog; `None` if it is not known, which is said once.
    /// ``usage`` is JSON: an answer with ``usage`` as a provider tells it or, with ``in_classes``, the classes of ``meta.usage``.
    fn price(
        &self,
        py: Python<'_>,
        model: &str,
        usage: Option<&[u8]>,
        in_classes: bool,
        service: Option<&str>,
        seconds: f64,
    ) -> PyResult<Option<f64>> {
        let (provider, model) = provider_of(model).map_err(|error| exception(py, error))?;
        let provider = provider.row().name;
        let wrong = |error: serde_json::Error| argument(py, format!("usage is not as a meta.usage has it: {error}"));
        let usage = match usage {
            Some(json) if in_classes => Some(serde_json::from_slice::<Usage>(json).map_err(wrong)?),
            Some(json) => Usage::of(Operation::Chat, json),
            None => None,
        };
        let Some(catalog) = &self.state().settings.catalog else { return Ok(None) };
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let entry = catalog.find(provider, model);
        let bill = |service| Bill { usage, service, seconds: Some(seconds).filter(|seconds| *seconds > 0.0) };
        let cost = |service| entry.as_ref()?.cost_of(&bill(service), at);
        // Where an entry does not say what a batch costs, the provider does.
        let of_batch = || Some(cost(None)? * batch_price(provider).ok()??);
        let cost = cost(service).or_else(|| if service == Some("batch") { of_batch() } else { None });
        if cost.is_none() && catalog.is_first_unknown(provider, model) {
            notify(format!(
                "the cost of {provider}/{model} is not known: the catalog has no price of it, or of a class of its tokens"
            ));
            log::write_notices(py);
        }
        Ok(cost)
    }

    /// Returns counts of the client's calls, retries, connections and bytes so far, in all and by provider.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let snapshots = self.state().core.known().map(|core| core.client.stats()).unwrap_or_default();
        let stats = totals(py, snapshots.iter().map(|(_, snapshot)| snapshot))?;
        let by_provider = values::dict(py)?;
        for (provider, snapshot) in &snapshots {
            values::set(&by_provider, provider, totals(py, std::iter::once(snapshot))?.as_any())?;
        }
        values::set(&stats, "by_provider", by_provider.as_any())?;
        let counts = &self.state().hooks.get().counts;
        let of_hooks = values::dict(py)?;
        values::set(&of_hooks, "dropped", counts.dropped.load(Ordering::Relaxed))?;
        values::set(&of_hooks, "failed", counts.failed.load(Ordering::Relaxed))?;
        values::set(&stats, "hooks", of_hooks.as_any())?;
        Ok(stats)
    }
}

/// Returns true for a subclass with an `__init__` of its own. That of a router, which its subclasses call, is none.
fn has_own_init(class: &Bound<'_, PyType>) -> PyResult<bool> {
    let py = class.py();
    let name = intern!(py, "__init__");
    let ours = match class.getattr_opt(intern!(py, "_init"))? {
        Some(init) => init,
        None => py.get_type::<Client>().getattr(name)?,
    };
    Ok(!class.getattr(name)?.is(&ours))
}

/// Waits for a result, without the GIL. Ctrl-C cancels the call.
fn wait_for_result(py: Python<'_>, waiter: &BlockingWaiter, handle: &CallHandle) -> PyResult<Py<PyAny>> {
    let (limit, made) = (handle.look_interval(), fork_epoch());
    loop {
        if let Some(result) = wait(py, || waiter.wait(limit)) {
            let _guard = FinalizeGuard::enter(py);
            return hooked(py, handle, result.into_python(py));
        }
        py.check_signals().inspect_err(|_| handle.give_up(py))?;
        handle.write_log(py);
        if !current::is_alive(made) {
            return Err(Client::failed(py, handle, Error::connection(LOST)));
        }
    }
}

/// Calls the hooks of a call whose result is there, and returns the result.
fn hooked(py: Python<'_>, handle: &CallHandle, result: PyResult<Py<PyAny>>) -> PyResult<Py<PyAny>> {
    if handle.watch.is_some() {
        delivery::run(py)?;
    }
    result
}

/// Makes a dict of the sums of some snapshots.
fn totals<'py, 'a>(
    py: Python<'py>,
    snapshots: impl Iterator<Item = &'a StatsSnapshot> + Clone,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = values::dict(py)?;
    let sum = |of: fn(&StatsSnapshot) -> u64| snapshots.clone().map(of).sum::<u64>();
    values::set(&dict, "calls", sum(|of| of.calls))?;
    values::set(&dict, "in_flight", sum(|of| of.in_flight as u64))?;
    values::set(&dict, "waiting", sum(|of| of.waiting as u64))?;
    values::set(&dict, "retries", sum(|of| of.retries))?;
    values::set(&dict, "connections_open", sum(|of| of.connections_open as u64))?;
    values::set(&dict, "connections_idle", sum(|of| of.connections_idle as u64))?;
    values::set(&dict, "bytes_sent", sum(|of| of.bytes_sent))?;
    values::set(&dict, "bytes_received", sum(|of| of.bytes_received))?;
    Ok(dict)
}

/// Returns true if a model is served by the local server, unless the call says otherwise.
fn is_local(model: &Bound<'_, PyAny>) -> bool {
    model.cast::<PyString>().is_ok_and(|model| model.to_str().is_ok_and(|model| model.starts_with("local/")))
}

/// Returns the coroutine that starts the local server and then the call.
#[cold]
#[inline(never)]
fn start_locally<'py>(
    client: &Bound<'py, Client>,
    operation: &Bound<'py, PyAny>,
    model: &Bound<'py, PyAny>,
    input: &Bound<'py, PyAny>,
    arguments: &Bound<'py, Arguments>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = client.py();
    let start = py.import(intern!(py, "ritellm.client"))?.getattr(intern!(py, "_answer_locally"))?;
    start.call1((client, operation, model, input, arguments))
}

/// Makes a call whose `response_format` is a type or a JSON schema, through the package's module for them.
#[cold]
#[inline(never)]
fn structured<'py>(
    client: &Bound<'py, Client>,
    function: &str,
    operation: Operation,
    model: &Bound<'py, PyAny>,
    input: &Bound<'py, PyAny>,
    arguments: &Bound<'py, Arguments>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = client.py();
    let function = py.import(intern!(py, "ritellm._structured"))?.getattr(values::string(py, function)?)?;
    let operation = values::string(py, operation.spec().name)?;
    function.call1((client, operation, model, input, arguments))
}

/// Argument of an entry point that names an operation.
#[derive(Clone, Copy)]
struct OperationName(Operation);

impl FromPyObject<'_, '_> for OperationName {
    type Error = PyErr;

    fn extract(name: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let name = name.cast::<PyString>()?;
        let name = name.to_str()?;
        let operation = Operation::named(name);
        operation.map(Self).ok_or_else(|| PyValueError::new_err(format!("there is no operation {name:?}")))
    }
}

impl Client {
    /// Returns the defaults of its calls.
    pub(super) fn defaults(&self) -> &Defaults {
        &self.state().defaults
    }

    /// Returns the routing of a router.
    pub(super) fn routing(&self) -> Option<&Routing> {
        self.state().routing.as_ref()
    }

    /// Returns the settings of the client of a job, which has connections of its own. Limits that are not declared are learnt.
    pub(super) fn bulk_settings(&self, py: Python<'_>) -> PyResult<Settings> {
        let mut settings = self.state().settings.clone();
        if settings.limits.is_none() {
            settings.limits = Some(limits::settings(intern!(py, "adaptive").as_any())?);
        }
        Ok(settings)
    }

    /// Returns the priority of a job's calls: the one that the client was given, else that of bulk calls.
    pub(super) fn bulk_priority(&self, py: Python<'_>) -> PyResult<Priority> {
        let given = self.state().given.bind(py);
        let mut is_given = given.contains(intern!(py, "priority"))?;
        if let Some(options) = given.get_item(intern!(py, settings::OPTIONS))? {
            for options in options.try_iter()? {
                is_given |= options?.contains(intern!(py, "priority"))?;
            }
        }
        Ok(if is_given { self.state().defaults.priority } else { Priority::Bulk })
    }

    #[inline]
    fn state(&self) -> &State {
        let mut state = self.state.as_ref().expect("a client that was made");
        while let Some(next) = state.next.get() {
            state = next;
        }
        state
    }

    /// Returns the model that the client's configuration has under a name.
    #[inline]
    fn configured_model<'py>(&self, model: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.state().defaults.configuration.is_some() { self.alias(model) } else { Ok(None) }
    }

    #[cold]
    fn alias<'py>(&self, model: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = model.py();
        if let Some(file) = self.state().given.bind(py).get_item(intern!(py, settings::FILE))? {
            let configure = py.import(intern!(py, "ritellm.client"))?.getattr(intern!(py, "_configure_from"))?;
            configure.call1((file,))?;
        }
        match (&self.state().defaults.configuration, model.cast::<PyString>()) {
            (Some(configuration), Ok(name)) => Ok(configuration.alias(py, name.to_str()?)),
            _ => Ok(None),
        }
    }

    /// Makes another client of the same class from keyword arguments, with the attributes of this one as `copied` returns
    /// them.
    fn duplicate<'py>(
        slf: &Bound<'py, Self>,
        given: &Bound<'py, PyDict>,
        copied: impl FnOnce(Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, class) = (slf.py(), slf.get_type());
        let duplicate = class.call_method(intern!(py, "__new__"), (&class,), Some(given))?;
        if let Some(attributes) = slf.getattr_opt(intern!(py, "__dict__"))? {
            let attributes = copied(attributes)?;
            duplicate.getattr(intern!(py, "__dict__"))?.call_method1(intern!(py, "update"), (attributes,))?;
        }
        Ok(duplicate)
    }

    /// Hands a job to the network thread.
    ///
    /// # Errors
    ///
    /// `APIConnectionError` if there is no such thread and none can be started.
    fn spawn(&self, py: Python<'_>, job: Job) -> PyResult<()> {
        let mut spawned = thread::spawn(Task::Call(job));
        if let Err(Refused::Lost(Task::Call(job))) = spawned {
            // The thread and all its connections have been given up. A new thread takes a new core.
            spawned = thread::spawn(Task::Call(Job { core: self.core(py)?, ..job }));
        }
        match spawned {
            Err(Refused::Unstarted(Task::Call(job), error)) => {
                let error = Error::connection(format!("the network thread cannot be started: {error}"));
                Err(Self::failed(py, &job.handle, error))
            }
            _ => Ok(()),
        }
    }

    /// Returns the core of this process, which is made at its first use.
    ///
    /// # Errors
    ///
    /// `InvalidArgumentError` if the client is closed.
    fn core(&self, py: Python<'_>) -> PyResult<Arc<Core>> {
        let state = self.state();
        let core = state.core.get(|| Core::new(crate::client::Client::new(&state.settings)));
        core.ok_or_else(|| exception(py, closing::refused()))
    }

    /// Closes or, with `reopen`, replaces the core, and has the network thread close the connections of the old one. Returns
    /// false if nothing is open.
    fn begin_close(&self, timeout: Option<Duration>, reopen: bool, caller: Caller) -> bool {
        let state = self.state();
        let core = match reopen {
            true => state.core.renew(|core| Core::new(core.client.renewed(&state.settings))),
            false => state.core.close(),
        };
        let Some(core) = core else { return false };
        // Where the descriptors of the thread are closed already, so are the connections.
        thread::spawn(Task::Close(Box::new(Closing { core, timeout, caller }))).is_ok()
    }

    /// Reads the arguments of a call; `None` if `response_format` is a type or a JSON schema, which `_structured` reads.
    fn prepare(
        &self,
        operation: OperationName,
        awaited: bool,
        model: &Bound<'_, PyAny>,
        input: &Bound<'_, PyAny>,
        arguments: &Bound<'_, PyDict>,
    ) -> PyResult<Option<Box<PreparedCall>>> {
        let prepared = parse::parse_args(
            &self.state().defaults,
            self.state().routing.as_ref(),
            operation.0,
            awaited,
            model,
            input,
            arguments,
        );
        if let Ok(None) = prepared {
            return Ok(None);
        }
        // The dict is a local variable of the caller's frame, and local variables are shown in tracebacks, where key and
        // headers must not appear.
        arguments.clear();
        prepared
    }
}
