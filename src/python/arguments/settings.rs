//! The settings of a `Client`: a table of its keyword arguments.

use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::defaults::Defaults;
use super::router::RouterArgs;
use super::withheld::WITHHELD;
use super::{budget, catalog, configuration, connection, foreign, functions, limits, readers, router};
use crate::client::Settings;
use crate::limits::Priority;
use crate::python::errors::{argument, wrong};
use crate::python::hooks::{list, observed};
use crate::python::intern::intern;
use crate::python::json::decode;
use crate::transport::Trust;
use crate::transport::detour::Route;
use crate::types::nearest::nearest;

/// A keyword argument of `Client`.
pub(super) struct Setting {
    pub name: &'static str,
    /// The part of its value that is pickled.
    pub pickled: Pickled,
    read: fn(&mut ClientSettings, &str, &Bound<'_, PyAny>) -> PyResult<()>,
}

/// The part of a setting's value that is pickled with its client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pickled {
    Always,
    /// A function is pickled, by name; a string is a credential and is not.
    UnlessString,
    /// An address is pickled unless it holds a password.
    UnlessPassword,
    /// Header fields are pickled without credentials.
    WithoutCredentials,
    /// A dict of dicts is pickled without the credentials of each.
    WithoutSecrets,
    /// Options of `with_options` are pickled as the settings of their names are.
    Options,
}

use Pickled::{Always, UnlessPassword, UnlessString, WithoutCredentials, WithoutSecrets};

/// The settings of a client, as far as they have been read.
struct ClientSettings {
    defaults: Defaults,
    settings: Settings,
    verify: bool,
    ca_bundle: Option<Trust>,
    /// The arguments of a router.
    router: Option<Py<PyAny>>,
    /// Functions that get the record of each call.
    hooks: Option<Vec<Py<PyAny>>>,
}

/// The keyword under which a client that `with_options` made gets the options, a tuple of dicts.
pub(crate) const OPTIONS: &str = "_options";

/// The keyword under which the client of the package's functions gets the environment variable with the path of its
/// settings, which are read by the first call.
pub(crate) const FILE: &str = "_file";

/// The keyword under which a router gets its arguments, a dict.
pub(crate) const ROUTER: &str = "_router";

/// The keyword under which a test server's client gets the port of this machine to which all its connections go.
pub(crate) const TEST_PORT: &str = "_test_port";

/// Names of the settings that `with_options` takes: those that do not concern the connections or credentials.
pub(crate) const CALL_OPTIONS: &[&str] = &[
    "timeout",
    "max_retries",
    "max_retry_after",
    "drop_params",
    "unknown_params",
    "headers",
    "priority",
    "cache",
    "ttl",
    "tags",
    "budget",
];

/// Names of the settings that concern connections, or what all calls of a client share.
pub(crate) const OF_CONNECTIONS: &[&str] = &[
    "http2",
    "ca_bundle",
    "client_cert",
    "verify",
    "proxy",
    "max_connections",
    "max_in_flight",
    "limits",
    "max_header_size",
    "max_body_size",
    "max_event_size",
    "max_stream_size",
    "max_values",
    "catalog",
    "cassette",
    TEST_PORT,
];

const fn setting(
    name: &'static str,
    pickled: Pickled,
    read: fn(&mut ClientSettings, &str, &Bound<'_, PyAny>) -> PyResult<()>,
) -> Setting {
    Setting { name, pickled, read }
}

/// Every keyword argument of `Client`. The text signature of `Client.new` lists them in this order.
const SETTINGS: &[Setting] = &[
    setting("api_key", UnlessString, |client, name, value| {
        (client.defaults.given.api_key, client.defaults.functions.key) = functions::key(name, value)?;
        Ok(())
    }),
    setting("base_url", Always, |client, name, value| {
        let url = readers::text(name, value, "an address such as \"https://host/v1\"")?;
        client.defaults.given.base_url = Some(url.into());
        Ok(())
    }),
    setting("api_version", Always, |client, name, value| {
        client.defaults.given.api_version = Some(readers::text(name, value, "the version's name")?);
        Ok(())
    }),
    // The one setting of a provider that a client takes, since a function that gives tokens is made once.
    setting("azure_ad_token_provider", UnlessString, |client, name, value| {
        let (given, function) = functions::secret_or_function(name, value)?;
        client.defaults.given.settings.push(("azure_ad_token_provider", given));
        client.defaults.functions.settings.extend(function.map(|function| ("azure_ad_token_provider", function)));
        Ok(())
    }),
    setting("timeout", Always, |client, _, value| {
        client.defaults.timeouts = readers::timeouts(client.defaults.timeouts, value)?;
        Ok(())
    }),
    setting("max_retries", Always, |client, name, value| {
        client.defaults.max_retries = Some(readers::count(name, value)?);
        Ok(())
    }),
    setting("max_retry_after", Always, |client, name, value| {
        client.defaults.max_retry_after = Some(readers::seconds(name, value)?);
        Ok(())
    }),
    setting("headers", WithoutCredentials, |client, name, value| {
        // Those of `with_options` are read after those of the client, and are added to them.
        for (field, content) in readers::headers(name, value)? {
            client.defaults.headers.retain(|(known, _)| *known != field);
            client.defaults.headers.push((field, content));
        }
        Ok(())
    }),
    setting("request_headers", Always, |client, name, value| {
        if !value.is_callable() {
            return Err(wrong(name, value, "a function that returns a dict of header fields"));
        }
        client.defaults.functions.headers = Some(Arc::new(value.clone().unbind()));
        Ok(())
    }),
    setting("on_call", Always, |client, name, value| {
        client.hooks = Some(list::functions(name, value)?);
        Ok(())
    }),
    setting("tags", Always, |client, name, value| {
        // Those of `with_options` are added to those of the client.
        client.defaults.tags = Some(observed::tags(client.defaults.tags.as_ref(), name, value)?);
        Ok(())
    }),
    setting("drop_params", Always, |client, name, value| {
        client.defaults.drop_params = readers::flag(name, value)?;
        Ok(())
    }),
    setting("unknown_params", Always, |client, name, value| {
        client.defaults.refuses_unknown = unknown_params(name, value)?;
        Ok(())
    }),
    setting("http2", Always, |client, name, value| {
        client.settings.transport.http2 = readers::flag(name, value)?;
        Ok(())
    }),
    setting("allow_http", Always, |client, name, value| {
        client.defaults.allow_http = readers::flag(name, value)?;
        Ok(())
    }),
    setting("ca_bundle", Always, |client, _, value| {
        client.ca_bundle = Some(connection::ca_bundle(value)?);
        Ok(())
    }),
    setting("client_cert", Always, |client, _, value| {
        client.settings.transport.identity = Some(Arc::new(connection::client_cert(value)?));
        Ok(())
    }),
    setting("verify", Always, |client, name, value| {
        foreign::refuse_ssl_context(name, value)?;
        client.verify = readers::flag(name, value)?;
        Ok(())
    }),
    setting("proxy", UnlessPassword, |client, _, value| {
        client.settings.transport.proxy = Some(connection::proxy(value)?);
        Ok(())
    }),
    setting("max_connections", Always, |client, name, value| {
        client.settings.transport.max_connections = Some(readers::limit(name, value)?);
        Ok(())
    }),
    setting("max_in_flight", Always, |client, name, value| {
        client.settings.max_in_flight = Some(readers::limit(name, value)?);
        Ok(())
    }),
    setting("limits", UnlessPassword, |client, _, value| {
        client.settings.limits = Some(limits::settings(value)?);
        Ok(())
    }),
    setting("priority", Always, |client, name, value| {
        client.defaults.priority = priority(name, value)?;
        Ok(())
    }),
    setting("max_header_size", Always, |client, name, value| {
        client.settings.transport.max_header = readers::limit(name, value)?;
        Ok(())
    }),
    setting("max_body_size", Always, |client, name, value| {
        client.settings.transport.max_body = readers::limit(name, value)?;
        Ok(())
    }),
    setting("max_event_size", Always, |client, name, value| {
        client.settings.transport.max_event = readers::limit(name, value)?;
        Ok(())
    }),
    setting("max_stream_size", Always, |client, name, value| {
        client.settings.transport.max_stream = readers::limit(name, value)?;
        Ok(())
    }),
    setting("max_values", Always, |client, name, value| {
        client.settings.transport.max_values = readers::limit(name, value)?;
        Ok(())
    }),
    setting("max_nesting", Always, |client, name, value| {
        client.defaults.deepest = nesting(name, value)?;
        Ok(())
    }),
    setting("catalog", Always, |client, name, value| {
        client.settings.catalog = Some(catalog::read(name, value)?);
        Ok(())
    }),
    setting("cache", UnlessPassword, |client, name, value| client.defaults.cache.read(name, value)),
    setting("ttl", Always, |client, _, value| client.defaults.cache.read_ttl(value)),
    setting("budget", UnlessPassword, |client, name, value| {
        client.defaults.budget = budget::read(name, value)?;
        Ok(())
    }),
    setting("providers", WithoutSecrets, |client, name, value| {
        configuration::part(&mut client.defaults.configuration).read_providers(name, value)
    }),
    setting("aliases", Always, |client, name, value| {
        configuration::part(&mut client.defaults.configuration).read_aliases(name, value)
    }),
    setting("defaults", Always, |client, name, value| {
        configuration::part(&mut client.defaults.configuration).read_defaults(name, value, |key| find(key).is_some())
    }),
    setting(FILE, Always, |client, _, _| {
        configuration::part(&mut client.defaults.configuration);
        Ok(())
    }),
    setting("cassette", Always, |client, _, value| {
        let module = value.py().import(intern!(value.py(), "ritellm.testing._cassette"))?;
        let port = module.getattr(intern!(value.py(), "port_of"))?.call1((value,))?;
        client.settings.transport.route = Route::Port(port.extract()?);
        Ok(())
    }),
    setting(TEST_PORT, Always, |client, _, value| {
        client.settings.transport.route = Route::Port(value.extract()?);
        Ok(())
    }),
    setting(ROUTER, Always, |client, _, value| {
        client.router = Some(value.clone().unbind());
        Ok(())
    }),
    setting(OPTIONS, Pickled::Options, |client, _, value| {
        for options in value.try_iter()? {
            for (name, value) in options?.cast::<PyDict>()?.iter() {
                let name = name.cast_into::<PyString>()?;
                let setting = find(name.to_str()?).filter(|_| !value.is_none());
                setting.map_or(Ok(()), |setting| (setting.read)(client, setting.name, &value))?;
            }
        }
        Ok(())
    }),
    setting(WITHHELD, Always, |client, _, value| {
        client.defaults.withheld = value.extract()?;
        Ok(())
    }),
];

/// Returns the setting of this name.
pub(super) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// Returns the names of the settings that are for users.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().map(|setting| setting.name).filter(|name| !name.starts_with('_'))
}

/// Returns true if every name is that of a setting, ours or another library's.
pub(crate) fn are_known(names: &Bound<'_, PyDict>) -> PyResult<bool> {
    for (name, _) in names.iter() {
        let name = name.cast::<PyString>()?.to_str()?;
        // Ours alone begin with an underscore.
        if !name.starts_with('_') && find(name).is_none() && !foreign::is_setting(name) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What the keyword arguments of a client say.
pub(crate) struct Read {
    pub defaults: Defaults,
    pub settings: Settings,
    /// Arguments of a router.
    pub router: Option<RouterArgs>,
    /// Functions of the setting `on_call`, if it was given.
    pub hooks: Option<Vec<Py<PyAny>>>,
}

/// Reads the keyword arguments of a client. `None` is the same as not given. Those with another library's name get ours.
///
/// # Errors
///
/// `InvalidArgumentError` for a value that is not right, and for settings of other libraries' clients; `TypeError` for other
/// names.
pub(crate) fn read(given: &Bound<'_, PyDict>) -> PyResult<Read> {
    let mut client = ClientSettings {
        defaults: Defaults { deepest: decode::DEEP, ..Defaults::default() },
        settings: Settings::default(),
        verify: true,
        ca_bundle: None,
        router: None,
        hooks: None,
    };
    foreign::rename_settings(given)?;
    // Options of `with_options` are read last, since they replace others.
    let key = intern!(given.py(), OPTIONS);
    let last = given.get_item(key)?.map(|options| (key.clone().into_any(), options));
    let others = given.iter().filter(|(name, _)| !name.eq(key).unwrap_or(false));
    for (name, value) in others.chain(last) {
        let name = name.cast_into::<PyString>()?;
        let name = name.to_str()?;
        if value.is_none() {
            continue;
        }
        match find(name) {
            Some(setting) => (setting.read)(&mut client, name, &value)?,
            None => {
                foreign::refuse_setting(name, &value)?;
                let near = nearest(name, names()).map(|near| format!(". Did you mean '{near}'?"));
                let near = near.unwrap_or_default();
                return Err(PyTypeError::new_err(format!(
                    "Client() got an unexpected keyword argument '{name}'{near}"
                )));
            }
        }
    }
    if client.defaults.budget.is_some() && client.settings.catalog.is_none() {
        client.settings.catalog = Some(usual_prices(given.py())?);
    }
    if let Some(configuration) = &client.defaults.configuration {
        configuration.check(given.py())?;
    }
    match (client.verify, client.ca_bundle) {
        (false, Some(_)) => {
            return Err(argument(given.py(), "verify=False and ca_bundle exclude each other: give one"));
        }
        (false, None) => client.settings.transport.trust = Trust::NoVerification,
        (true, Some(bundle)) => client.settings.transport.trust = bundle,
        (true, None) => {}
    }
    // Last: the deployments begin with the client's timeouts.
    let router = client.router.map(|router| router::read(router.bind(given.py()), &client.defaults)).transpose()?;
    Ok(Read { defaults: client.defaults, settings: client.settings, router, hooks: client.hooks })
}

/// Returns the prices for a client that has a budget and no catalog.
#[cold]
fn usual_prices(py: Python<'_>) -> PyResult<Arc<crate::catalog::Catalog>> {
    catalog::read("catalog", intern!(py, "genai-prices").as_any()).map_err(|_| {
        argument(
            py,
            "budget needs prices: Client(catalog={\"provider/model\": {\"input\": 2.5, \"output\": 10}}) would be right, or those of \
             the package genai-prices (pip install 'ritellm[prices]')",
        )
    })
}

/// Reads the priority of a client's calls.
fn priority(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Priority> {
    const RIGHT: &str = "\"interactive\" or \"bulk\"";
    match readers::str_of(name, value, RIGHT)? {
        "interactive" => Ok(Priority::Interactive),
        "bulk" => Ok(Priority::Bulk),
        other => Err(argument(value.py(), format!("{name} is {other:?}: {RIGHT} would be right"))),
    }
}

/// Reads what becomes of parameters that nobody documents. Returns true if they are refused.
fn unknown_params(name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    const RIGHT: &str = "\"send\" or \"error\"";
    match readers::str_of(name, value, RIGHT)? {
        "send" => Ok(false),
        "error" => Ok(true),
        other => Err(argument(value.py(), format!("{name} is {other:?}: {RIGHT} would be right"))),
    }
}

fn nesting(name: &str, value: &Bound<'_, PyAny>) -> PyResult<usize> {
    let deepest = readers::limit(name, value)?;
    if deepest <= decode::DEEPEST {
        return Ok(deepest);
    }
    let most = decode::DEEPEST;
    Err(argument(value.py(), format!("{name} is {deepest}: a whole number up to {most} would be right")))
}
