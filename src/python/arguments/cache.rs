//! The class `Cache`, and what clients and calls say about it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyString, PyTuple};

use super::readers::{flag, limit, seconds, str_of, text};
use crate::cache::key::{self, Keys, Scope};
use crate::cache::lookup::Lookup;
use crate::cache::{self, Place, Settings};
use crate::client::{Call, notify};
use crate::providers::{Deployment, is_self_contained};
use crate::python::errors::{argument, exception, wrong};
use crate::python::intern::intern;
use crate::python::runtime::per_process::PerProcess;
use crate::python::values;
use crate::router::route::Route;
use crate::types::credentials::Credentials;
use crate::types::secret::Secret;

/// Number of bytes that a cache in memory takes, unless it is told.
const MEMORY: usize = 64 << 20;
/// Number of bytes that a folder takes, unless it is told.
const DISK: usize = 1 << 30;
/// Time for which answers are kept, unless it is told.
const TTL: Duration = Duration::from_secs(86_400);

/// Keeps answers, so that what is asked again is neither sent nor paid again.
///
/// >>> from ritellm import Cache, Client
/// >>> client = Client(cache=Cache.memory(max_bytes=256 << 20, ttl=3600))
///
/// One cache can be given to any number of clients and routers. Who asks the same while a call is under way waits for that call.
/// Callers with different credentials do not get each other's answers, unless ``scope`` is ``"shared"``. See docs/cache.md.
#[pyclass(frozen, module = "ritellm")]
pub(crate) struct Cache {
    settings: Settings,
    state: State,
}

/// The cache as this process has it; `None` if it cannot be opened there.
type State = Arc<PerProcess<Option<Arc<cache::Cache>>>>;

impl Cache {
    /// Opens a cache.
    fn open(
        py: Python<'_>,
        place: Place,
        ttl: Option<&Bound<'_, PyAny>>,
        scope: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        const SCOPES: &str = "\"account\" or \"shared\"";
        let scope = match scope {
            None => Scope::Account,
            Some(value) => match str_of("scope", value, SCOPES)? {
                "account" => Scope::Account,
                "shared" => Scope::Shared,
                other => return Err(argument(py, format!("scope is {other:?}: {SCOPES} would be right"))),
            },
        };
        let ttl = ttl.map_or(Ok(Some(TTL)), time)?;
        let settings = Settings { place, ttl, scope };
        let opened = cache::Cache::open(settings.clone()).map_err(|error| exception(py, error))?;
        let state = Arc::new(PerProcess::new());
        state.get(|| Some(Arc::new(opened)));
        Ok(Self { settings, state })
    }

    /// True if its address holds a password.
    pub fn has_password(&self) -> bool {
        matches!(&self.settings.place, Place::Redis { url, .. } if url.expose().contains('@'))
    }

    fn opened(&self) -> Option<Arc<cache::Cache>> {
        opened(&self.state, &self.settings)
    }

    /// Returns the name of the function that makes this cache, and its arguments.
    fn arguments<'py>(&self, py: Python<'py>) -> PyResult<(&'static str, Bound<'py, PyDict>)> {
        let dict = values::dict(py)?;
        let name = match &self.settings.place {
            Place::Memory { max_bytes } => {
                values::set(&dict, "max_bytes", *max_bytes as u64)?;
                "memory"
            }
            Place::Disk { path, max_bytes } => {
                values::set(&dict, "path", path.to_string_lossy().as_ref())?;
                values::set(&dict, "max_bytes", *max_bytes)?;
                "disk"
            }
            Place::Redis { url, namespace } => {
                values::set(&dict, "url", url.expose())?;
                values::set(&dict, "namespace", namespace.as_str())?;
                "redis"
            }
        };
        values::set(&dict, "ttl", self.settings.ttl.map(|ttl| ttl.as_secs_f64()))?;
        values::set(&dict, "scope", if self.settings.scope == Scope::Shared { "shared" } else { "account" })?;
        Ok((name, dict))
    }
}

fn opened(state: &State, settings: &Settings) -> Option<Arc<cache::Cache>> {
    let open = || match cache::Cache::open(settings.clone()) {
        Ok(cache) => Some(Arc::new(cache)),
        Err(error) => {
            notify(format!("nothing is kept in this process: {}", error.message));
            None
        }
    };
    state.get(open).and_then(|cache| (*cache).clone())
}

/// Reads a time for which answers are kept. `None` is no limit.
fn time(value: &Bound<'_, PyAny>) -> PyResult<Option<Duration>> {
    if value.is_none() { Ok(None) } else { seconds("ttl", value).map(Some) }
}

#[pymethods]
impl Cache {
    /// Returns a cache in the memory of this process. A forked child begins with an empty one.
    ///
    /// Args:
    ///     max_bytes: maximum size of all answers; 64 MiB by default. What was not used for longest goes first.
    ///     ttl: seconds for which an answer is kept, a day by default; ``None`` for as long as there is room.
    ///     scope: ``"account"``: callers with the same credentials get each other's answers; ``"shared"``: all who use this cache.
    ///
    /// Raises:
    ///     InvalidArgumentError: a value that cannot be used.
    #[staticmethod]
    #[pyo3(signature = (*, max_bytes=None, ttl=Ttl::Usual, scope=None), text_signature = "(*, max_bytes=67108864, ttl=86400, scope=\"account\")")]
    fn memory(
        py: Python<'_>,
        max_bytes: Option<&Bound<'_, PyAny>>,
        ttl: Ttl<'_>,
        scope: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let max_bytes = max_bytes.map_or(Ok(MEMORY), |value| limit("max_bytes", value))?;
        Self::open(py, Place::Memory { max_bytes }, ttl.given(), scope)
    }

    /// Returns a cache in a folder, which any number of processes of this machine use at once. It survives them.
    ///
    /// Only this user can read the files. Each is checked when it is read: one that is damaged is as good as none.
    ///
    /// Args:
    ///     path: the folder; it is made if it is missing.
    ///     max_bytes: maximum size of all files, 1 GiB by default. What was not used for longest goes first.
    ///     ttl: seconds for which an answer is kept, a day by default; ``None`` for as long as there is room.
    ///     scope: ``"account"``: callers with the same credentials get each other's answers; ``"shared"``: all who use this cache.
    ///
    /// Raises:
    ///     InvalidArgumentError: a value that cannot be used, or a folder that cannot be written.
    #[staticmethod]
    #[pyo3(signature = (path, *, max_bytes=None, ttl=Ttl::Usual, scope=None), text_signature = "(path, *, max_bytes=1073741824, ttl=86400, scope=\"account\")")]
    fn disk(
        py: Python<'_>,
        path: &Bound<'_, PyAny>,
        max_bytes: Option<&Bound<'_, PyAny>>,
        ttl: Ttl<'_>,
        scope: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        const RIGHT: &str = "the path of a folder";
        let max_bytes = max_bytes.map_or(Ok(DISK), |value| limit("max_bytes", value))? as u64;
        let path: PathBuf = path.extract().map_err(|_| wrong("path", path, RIGHT))?;
        if path.as_os_str().is_empty() {
            return Err(argument(py, format!("path is an empty str: {RIGHT} would be right")));
        }
        Self::open(py, Place::Disk { path, max_bytes }, ttl.given(), scope)
    }

    /// Returns a cache in a Redis. While that does not answer, calls are made as without a cache.
    ///
    /// Args:
    ///     url: address of the Redis, such as ``"redis://:password@host:6379/0"``, as for `Limits`.
    ///     ttl: seconds for which an answer is kept, a day by default; ``None`` for as long as there is room there.
    ///     scope: ``"account"``: callers with the same credentials get each other's answers; ``"shared"``: all who use this cache.
    ///     namespace: caches with different ones share nothing.
    ///
    /// Raises:
    ///     InvalidArgumentError: a value that cannot be used.
    #[staticmethod]
    #[pyo3(signature = (url, *, ttl=Ttl::Usual, scope=None, namespace=None), text_signature = "(url, *, ttl=86400, scope=\"account\", namespace=\"default\")")]
    fn redis(
        py: Python<'_>,
        url: &Bound<'_, PyAny>,
        ttl: Ttl<'_>,
        scope: Option<&Bound<'_, PyAny>>,
        namespace: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let url = Secret::new(text("url", url, "the address of a Redis, redis://host:6379/0,")?);
        let namespace = namespace.map_or(Ok("default".to_owned()), |value| text("namespace", value, "a name"))?;
        Self::open(py, Place::Redis { url, namespace }, ttl.given(), scope)
    }

    /// Returns the numbers of this process: ``hits`` (answers given out), ``misses`` (calls made), ``joined`` (calls that waited for
    /// the same one under way), and ``entries`` and ``bytes``, which are ``None`` of a Redis.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.opened().map(|cache| py.detach(|| cache.stats())).unwrap_or_default();
        let dict = values::dict(py)?;
        values::set(&dict, "hits", stats.hits)?;
        values::set(&dict, "misses", stats.misses)?;
        values::set(&dict, "joined", stats.joined)?;
        values::set(&dict, "entries", stats.kept.map(|(entries, _)| entries))?;
        values::set(&dict, "bytes", stats.kept.map(|(_, bytes)| bytes))?;
        Ok(dict)
    }

    /// Removes all answers from the memory or the folder.
    ///
    /// Raises:
    ///     InvalidArgumentError: the cache is in a Redis, where answers end with their ``ttl``; use another ``namespace``.
    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        let is_cleared = self.opened().is_none_or(|cache| py.detach(|| cache.clear()));
        match is_cleared {
            true => Ok(()),
            false => Err(argument(
                py,
                "clear() is for memory and disk: in a Redis, answers end with their ttl, and another namespace is empty",
            )),
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (name, arguments) = self.arguments(py)?;
        let mut shown = Vec::new();
        for (name, value) in arguments.iter() {
            let is_hidden = self.has_password() && name.eq(intern!(py, "url"))?;
            let value = if is_hidden { "…".to_owned() } else { value.repr()?.to_string() };
            shown.push(format!("{name}={value}"));
        }
        Ok(format!("Cache.{name}({})", shown.join(", ")))
    }

    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'_, PyAny>) -> Bound<'py, Self> {
        slf
    }

    /// Pickles the settings. A cache in memory is another one there, and empty.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let py = slf.py();
        if slf.get().has_password() {
            return Err(argument(
                py,
                "a Cache whose address holds a password is not pickled: make it in the other process",
            ));
        }
        let (name, arguments) = slf.get().arguments(py)?;
        let make = slf.get_type().getattr(values::string(py, name)?)?;
        let partial = py.import(intern!(py, "functools"))?.getattr(intern!(py, "partial"))?;
        let make = partial.call((make,), Some(&arguments))?;
        values::tuple(py, [make, PyTuple::empty(py).into_any()])
    }
}

/// The argument `ttl`, which may be `None`.
#[derive(Clone)]
enum Ttl<'py> {
    Usual,
    Given(Bound<'py, PyAny>),
}

impl<'py> Ttl<'py> {
    fn given(&self) -> Option<&Bound<'py, PyAny>> {
        match self {
            Self::Usual => None,
            Self::Given(value) => Some(value),
        }
    }
}

impl<'py> FromPyObject<'_, 'py> for Ttl<'py> {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self::Given(value.to_owned()))
    }
}

/// What a client, or one call of it, says about answers that are kept.
#[derive(Clone, Default)]
pub(crate) struct CacheArgs {
    /// Settings and state of the cache.
    cache: Option<(Settings, State)>,
    /// True if calls do without it.
    is_off: bool,
    /// Time for which answers are kept, instead of the cache's own.
    ttl: Option<Option<Duration>>,
}

/// Says once why answers are not kept.
fn say_unkept(is_said: &AtomicBool, which: &str) {
    if !is_said.swap(true, Ordering::Relaxed) {
        notify(format!(
            "answers of calls {which}, since nobody knows whose they are: give the cache scope=\"shared\" if all callers may see them"
        ));
    }
}

const RIGHT: &str = "a ritellm.Cache, True, False or {\"ttl\": seconds}";

impl CacheArgs {
    /// Reads `cache`: a cache, of a client; or whether and how it is used.
    pub fn read(&mut self, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        if let Ok(cache) = value.cast::<Cache>() {
            let cache = cache.get();
            self.cache = Some((cache.settings.clone(), cache.state.clone()));
            self.is_off = false;
            return Ok(());
        }
        if let Ok(options) = value.cast::<PyDict>() {
            for (option, value) in options.iter() {
                match option.cast::<PyString>().ok().map(|option| option.to_str()).transpose()? {
                    Some("ttl") => self.read_ttl(&value)?,
                    _ => {
                        return Err(argument(
                            value.py(),
                            format!("cache has no {}: its member is ttl", option.repr()?),
                        ));
                    }
                }
            }
            self.is_off = false;
            return self.check(value);
        }
        if value.is_instance_of::<PyFloat>() || value.is_instance_of::<PyString>() {
            return Err(wrong(name, value, RIGHT));
        }
        self.is_off = !flag(name, value).map_err(|_| wrong(name, value, RIGHT))?;
        if self.is_off { Ok(()) } else { self.check(value) }
    }

    /// Reads what a call says with its argument `cache`.
    pub fn read_option(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        if value.is_instance_of::<Cache>() {
            return Err(argument(
                value.py(),
                "cache of a call is True, False or {\"ttl\": seconds}: a Cache belongs to a client, Client(cache=…)",
            ));
        }
        self.read("cache", value)
    }

    /// Reads `ttl`.
    pub fn read_ttl(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.ttl = Some(time(value)?);
        Ok(())
    }

    fn check(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.cache.is_some() {
            return Ok(());
        }
        Err(argument(
            value.py(),
            format!("cache is {}, but the client has none: Client(cache=Cache.memory()) would be right", value.repr()?),
        ))
    }

    /// True if calls are looked up.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.cache.is_some() && !self.is_off
    }

    /// Returns where the answer of a call is looked up; `None` if it is not to be kept.
    #[cold]
    pub fn lookup(&self, call: &Call, group: Option<&str>, route: Option<&Route>) -> Option<Box<Lookup>> {
        let (settings, state) = self.cache.as_ref()?;
        if !is_self_contained(&call.request) {
            return None;
        }
        let has_functions = match route {
            Some(route) => route.callbacks.iter().any(Option::is_some),
            None => call.callbacks.is_some(),
        };
        if has_functions && settings.scope == Scope::Account {
            static IS_SAID: AtomicBool = AtomicBool::new(false);
            say_unkept(&IS_SAID, "whose keys or header fields come from functions are not kept");
            return None;
        }
        // Two machines may look in the same place, such as a metadata server, and find different accounts.
        let is_unresolved = |deployment: &Deployment| matches!(deployment.credentials, Credentials::Unresolved(_));
        let are_looked_up = || match route {
            Some(route) => route.router.deployments().any(is_unresolved),
            None => is_unresolved(&call.deployment) && !call.has_authorization(),
        };
        if matches!(settings.place, Place::Redis { .. }) && settings.scope == Scope::Account && are_looked_up() {
            static IS_SAID: AtomicBool = AtomicBool::new(false);
            say_unkept(&IS_SAID, "whose credentials are looked up are not kept in a Redis");
            return None;
        }
        let cache = opened(state, settings)?;
        let account = match route {
            Some(route) => key::account_of_router(cache.salt(), settings.scope, &route.router),
            None => key::account(cache.salt(), settings.scope, std::iter::once(&call.deployment)),
        };
        let keys = Keys::of(call, group, settings.scope, &account);
        Some(Box::new(Lookup { cache, keys, ttl: self.ttl.unwrap_or(settings.ttl) }))
    }
}
