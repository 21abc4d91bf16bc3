//! The arguments of a `Router`: groups of deployments, and how one of them is chosen.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use super::defaults::Defaults;
use super::functions::{self, CallbackArgs};
use super::readers::{self, headers, limit, seconds, str_of, text, timeouts};
use super::{foreign, limits};
use crate::client::OwnLimits;
use crate::limits::QuotaSpec;
use crate::providers::{DeploymentArgs, resolve};
use crate::python::errors::{argument, exception, unencodable, wrong};
use crate::python::intern::intern;
use crate::python::json::encode;
use crate::router::config::{Config, DeploymentConfig, GroupConfig};
use crate::router::options::{Hedge, HedgeAfter};
use crate::router::plan::Plan;
use crate::router::target::Target;
use crate::types::nearest::nearest;
use crate::types::secret::Secret;

/// Number of bytes of a prompt's JSON that count as its prefix.
const PREFIX: usize = 1024;

/// Name of the strategy that is a function of the user's.
const CUSTOM: &str = "custom";

/// A router's arguments, read and checked.
pub(crate) struct RouterArgs {
    pub plan: Arc<Plan>,
    /// The deployments, in the plan's order.
    pub targets: Arc<[Target]>,
    /// Functions that give the deployments' keys; empty if there are none.
    pub functions: Vec<CallbackArgs>,
    /// The function that chooses a deployment, if that is the strategy.
    pub choose: Option<Py<PyAny>>,
    /// Number of bytes of a prompt's JSON that count as its prefix.
    pub prefix: usize,
    /// Names of what an unpickled router was made with before and did not get back.
    pub withheld: Vec<String>,
}

/// The deployments, as far as they have been read.
#[derive(Default)]
struct Deployments {
    targets: Vec<Target>,
    functions: Vec<CallbackArgs>,
    withheld: Vec<String>,
}

/// Reads the arguments of a router. `client` are the defaults of its client.
///
/// # Errors
///
/// `InvalidArgumentError` that names the argument; `AuthenticationError` for a deployment without a key.
pub(super) fn read(given: &Bound<'_, PyAny>, client: &Defaults) -> PyResult<RouterArgs> {
    let py = given.py();
    let given = given.cast::<PyDict>()?;
    let mut config = Config::default();
    let mut found = Deployments::default();
    let mut choose = None;
    let mut prefix = PREFIX;
    for (name, value) in given.iter() {
        let name = name.cast_into::<PyString>()?;
        let name = name.to_str()?;
        match name {
            "groups" => config.groups = groups(&mut found, value.cast::<PyDict>()?, client)?,
            "strategy" if value.is_callable() => {
                choose = Some(value.unbind());
                config.strategy = Some(CUSTOM.into());
            }
            "strategy" => {
                let strategy = text(name, &value, "a strategy's name, or a function")?;
                if strategy == CUSTOM {
                    return Err(argument(py, "strategy is \"custom\": the function itself would be right"));
                }
                config.strategy = Some(strategy);
            }
            "fallbacks" => config.fallbacks = value.cast::<PyDict>()?.iter().map(extracted).collect::<PyResult<_>>()?,
            "context_window_fallbacks" => {
                config.context_window_fallbacks =
                    value.cast::<PyDict>()?.iter().map(extracted).collect::<PyResult<_>>()?;
            }
            "content_policy_fallbacks" => {
                config.content_policy_fallbacks =
                    value.cast::<PyDict>()?.iter().map(extracted).collect::<PyResult<_>>()?;
            }
            "hedge" => config.hedge = Some(hedge(&value)?),
            "max_wait" => config.max_wait = Some(number(name, &value)?),
            "attempt_timeout" => config.attempt_timeout = Some(number(name, &value)?),
            "allow_circles" => config.allow_circles = value.extract()?,
            "cooldown" => {
                for (part, value) in parts(name, &value)? {
                    let at = format!("cooldown[{part:?}]");
                    match part.as_str() {
                        "first" => config.cooldown.first = number(&at, &value)?,
                        "max" => config.cooldown.max = number(&at, &value)?,
                        _ => return Err(unknown(py, &at, "first or max")),
                    }
                }
            }
            "breaker" => {
                let breaker = &mut config.breaker;
                for (part, value) in parts(name, &value)? {
                    let at = format!("breaker[{part:?}]");
                    let count = || limit(&at, &value).map(|count| u32::try_from(count).unwrap_or(u32::MAX));
                    match part.as_str() {
                        "failures" => breaker.failures = count()?,
                        "min_attempts" => breaker.min_attempts = count()?,
                        "share" => breaker.share = number(&at, &value)?,
                        "window" => breaker.window = number(&at, &value)?,
                        "open_for" => breaker.open_for = number(&at, &value)?,
                        "max_open_for" => breaker.max_open_for = number(&at, &value)?,
                        "probe_every" => breaker.probe_every = number(&at, &value)?,
                        _ => {
                            let right = "failures, share, min_attempts, window, open_for, max_open_for or probe_every";
                            return Err(unknown(py, &at, right));
                        }
                    }
                }
            }
            "affinity" => {
                for (part, value) in parts(name, &value)? {
                    let at = format!("affinity[{part:?}]");
                    match part.as_str() {
                        "prefix" => prefix = limit(&at, &value)?,
                        "max_load" => config.affinity.max_load = number(&at, &value)?,
                        "remember_for" => config.affinity.remember_for = number(&at, &value)?,
                        _ => return Err(unknown(py, &at, "prefix, max_load or remember_for")),
                    }
                }
            }
            _ => return Err(argument(py, format!("a router has no argument {name}"))),
        }
    }
    let plan = config.compile().map_err(|error| exception(py, error))?;
    let Deployments { mut targets, functions, withheld } = found;
    for (target, planned) in targets.iter_mut().zip(&plan.deployments) {
        target.name = planned.name.as_str().into();
        if let Some(own) = &mut target.limits {
            Arc::make_mut(own).name = plan.quota_groups[planned.quota_group].clone();
        }
    }
    let functions = if functions.iter().all(CallbackArgs::is_empty) { Vec::new() } else { functions };
    Ok(RouterArgs { plan: Arc::new(plan), targets: targets.into(), functions, choose, prefix, withheld })
}

fn groups(found: &mut Deployments, groups: &Bound<'_, PyDict>, client: &Defaults) -> PyResult<Vec<GroupConfig>> {
    let mut configs = Vec::new();
    for (name, deployments) in groups.iter() {
        let name = text("a key of groups", &name, "a group's name")?;
        let mut group = GroupConfig { name, ..GroupConfig::default() };
        for (index, given) in deployments.cast::<PyList>()?.iter().enumerate() {
            let at = format!("groups[{:?}][{index}]", group.name);
            let model = given.getattr(intern!(given.py(), "model"))?;
            let model = text(&format!("{at}.model"), &model, "\"provider/model\"")?;
            let options = given.getattr(intern!(given.py(), "options"))?;
            group.deployments.push(deployment(found, &at, &model, options.cast::<PyDict>()?, client)?);
        }
        configs.push(group);
    }
    Ok(configs)
}

/// Names of the arguments of a deployment.
const OPTIONS: &[&str] = &[
    "account",
    "api_key",
    "api_version",
    "base_model",
    "base_url",
    "headers",
    "limits",
    "max_in_flight",
    "name",
    "order",
    "params",
    "quota_group",
    "rpm",
    "timeout",
    "tpm",
    "weight",
];

/// Reads one deployment. `at` is its place, for errors.
fn deployment(
    found: &mut Deployments,
    at: &str,
    model: &str,
    options: &Bound<'_, PyDict>,
    client: &Defaults,
) -> PyResult<DeploymentConfig> {
    let py = options.py();
    let mut config = DeploymentConfig::default();
    let mut args = DeploymentArgs::default();
    let mut functions = CallbackArgs::default();
    let mut own = QuotaSpec::default();
    let mut short = Vec::new();
    let (mut fields, mut params, mut own_timeouts, mut stream_timeouts) = (Vec::new(), Vec::new(), None, None);
    for (name, value) in options.iter() {
        let name = name.cast_into::<PyString>()?;
        let name = name.to_str()?;
        let of = format!("{at}.{name}");
        if value.is_none() {
            continue;
        }
        match name {
            "base_url" | "api_base" => {
                args.base_url = Some(str_of(&of, &value, "an address such as \"https://host/v1\"")?.into());
            }
            "api_key" => (args.api_key, functions.key) = functions::key(&of, &value)?,
            "api_version" => args.api_version = Some(text(&of, &value, "the version's name")?),
            "name" => config.name = Some(text(&of, &value, "a name")?),
            "quota_group" => config.quota_group = Some(text(&of, &value, "a name")?),
            "account" => config.account = Some(text(&of, &value, "a name")?),
            "base_model" => config.base_model = Some(text(&of, &value, "a model's name")?),
            "weight" => config.weight = Some(number(&of, &value)?),
            "order" => config.order = value.extract().map_err(|_| wrong(&of, &value, "a whole number"))?,
            "limits" => own.add(&limits::spec(&of, &value)?),
            "rpm" | "tpm" | "max_in_flight" => short.push((name.to_owned(), value)),
            "timeout" => own_timeouts = Some(timeouts(client.timeouts, &value)?),
            // LiteLLM's `stream_timeout`, for the compat layer alone.
            "_stream_timeout" => stream_timeouts = Some(timeouts(client.timeouts, &value)?),
            "headers" => fields = headers(&of, &value)?,
            "params" => {
                let values = value.cast::<PyDict>().map_err(|_| wrong(&of, &value, "a dict of parameters"))?;
                for (param, value) in values.iter() {
                    let param = text(&format!("a key of {of}"), &param, "a parameter's name")?;
                    let mut json = Vec::new();
                    let encoded = encode::encode(&value, &mut json);
                    encoded.map_err(|error| unencodable(py, &format!("{of}[{param:?}]"), error))?;
                    params.push((param, json.into()));
                }
            }
            "_withheld" => {
                // Calls are refused: the deployment only has to be complete.
                args.api_key = Some(Secret::new(functions::PLACEHOLDER));
                found.withheld.extend(value.extract::<Vec<String>>()?.iter().map(|name| format!("{at}.{name}")))
            }
            other => match foreign::meaning(other, &value)? {
                foreign::Meaning::Setting(setting) => {
                    let (given, function) = functions::secret_or_function(&of, &value)?;
                    functions.settings.extend(function.map(|function| (setting, function)));
                    args.settings.push((setting, given));
                }
                _ => {
                    let near = nearest(other, OPTIONS.iter().copied()).map(|near| format!("did you mean {near}? "));
                    return Err(argument(
                        py,
                        format!(
                            "{of} is no argument of a deployment: {}a parameter of its calls belongs into params",
                            near.unwrap_or_default()
                        ),
                    ));
                }
            },
        }
    }
    if !short.is_empty() {
        let dict = PyDict::new(py);
        short.iter().try_for_each(|(name, value)| dict.set_item(name, value))?;
        own.add(&limits::spec(at, dict.as_any())?);
    }
    let resolved = match client.configuration.as_deref() {
        Some(configuration) => configuration.find_deployment(py, &mut args, &mut functions, &mut fields, model)?,
        None => resolve(model, &args, &|name| std::env::var(name).ok()),
    };
    let resolved = resolved.map_err(|mut error| {
        error.message = format!("{at}: {}", error.message);
        exception(py, error)
    })?;
    config.provider = resolved.provider.row().name.to_owned();
    config.model = resolved.model.to_string();
    // State at a provider belongs to an account: the deployments with one key at one address.
    config.account.get_or_insert_with(|| {
        let same = |target: &&Target| {
            target.deployment.base_url == resolved.base_url
                && target.deployment.api_key == resolved.api_key
                && target.deployment.settings == resolved.settings
                && functions.key.is_none()
        };
        let index = found.targets.iter().position(|target| same(&target)).unwrap_or(found.targets.len());
        format!("{} #{index}", config.provider)
    });
    let has_limits = own != QuotaSpec::default();
    found.targets.push(Target {
        name: Arc::default(),
        deployment: resolved,
        headers: fields,
        params,
        timeouts: own_timeouts,
        stream_timeouts,
        limits: has_limits
            .then(|| Arc::new(OwnLimits { name: String::new(), is_group: config.quota_group.is_some(), spec: own })),
    });
    found.functions.push(functions);
    Ok(config)
}

/// Reads `hedge`: a dict with `after` and `budget`.
fn hedge(value: &Bound<'_, PyAny>) -> PyResult<Hedge> {
    let py = value.py();
    let (mut after, mut budget) = (None, None);
    for (part, value) in parts("hedge", value)? {
        let at = format!("hedge[{part:?}]");
        match part.as_str() {
            "after" => after = Some(value),
            "budget" => budget = Some(number(&at, &value)?),
            _ => return Err(unknown(py, &at, "after or budget")),
        }
    }
    match after {
        Some(after) if after.cast::<PyString>().is_ok() => {
            let quantile = Hedge::quantile(&after.extract::<String>()?, budget);
            quantile.map_err(|error| exception(py, error))
        }
        Some(after) => Ok(Hedge {
            after: HedgeAfter::Time(seconds("hedge[\"after\"]", &after)?),
            budget: budget.unwrap_or(Hedge::BUDGET),
        }),
        None => Ok(Hedge { after: HedgeAfter::Quantile(0.95), budget: budget.unwrap_or(Hedge::BUDGET) }),
    }
}

/// Reads the members of a dict.
fn parts<'py>(name: &str, value: &Bound<'py, PyAny>) -> PyResult<Vec<(String, Bound<'py, PyAny>)>> {
    let dict = value.cast::<PyDict>().map_err(|_| wrong(name, value, "a dict"))?;
    dict.iter().map(|(part, value)| Ok((text(&format!("a key of {name}"), &part, "a name")?, value))).collect()
}

fn extracted(pair: (Bound<'_, PyAny>, Bound<'_, PyAny>)) -> PyResult<(String, Vec<String>)> {
    Ok((pair.0.extract()?, pair.1.extract()?))
}

/// Reads a number. Its range is checked with the rest of the configuration.
fn number(name: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    readers::number(name, value, "a number")
}

fn unknown(py: Python<'_>, at: &str, right: &str) -> PyErr {
    argument(py, format!("{at} is no option: {right} would be right"))
}
