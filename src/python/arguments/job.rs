//! Keyword arguments of a job: which are options of its calls, which are parameters, and where the calls go.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping, PyString};

use super::defaults::Defaults;
use super::functions::CallbackArgs;
use super::options::CallOptions;
use super::parse::{callbacks, find_deployment, take_cache};
use super::routing::Routing;
use crate::bulk::run::{Calls, Destination, FindLookup, Models};
use crate::client::{Call, Callbacks};
use crate::error::{Error, ErrorKind};
use crate::limits::Priority;
use crate::providers::Deployment;
use crate::python::errors::{argument, unencodable, wrong};
use crate::python::intern::intern;
use crate::python::json::encode;
use crate::transport::deadline::Timeouts;
use crate::types::operation::Operation;
use crate::types::params::Params;

/// Arguments of a call that a job decides itself: name, and what to use instead.
const REFUSED: &[(&str, &str)] = &[
    ("stream", "a job's answers come whole: leave it out"),
    ("max_retries", "max_attempts is the number of times that a job tries a row"),
    ("num_retries", "max_attempts is the number of times that a job tries a row"),
    ("input", "input is a template of a job's rows"),
];

/// The keyword arguments of a job's calls.
pub(crate) struct CallArguments {
    /// Options of the calls.
    pub options: Py<PyDict>,
    /// Parameters of the requests, as a JSON object.
    pub params: Params,
}

/// Tells the options of calls from their parameters.
///
/// # Errors
///
/// `InvalidArgumentError` for an argument that cannot be used.
pub(crate) fn split(
    defaults: &Defaults,
    operation: Operation,
    arguments: &Bound<'_, PyDict>,
) -> PyResult<CallArguments> {
    let py = arguments.py();
    let mut tried = CallOptions::of(defaults, operation);
    let options = PyDict::new(py);
    let mut params = Params::default();
    let mut merged = Vec::new();
    let add = |params: &mut Params, name: &str, value: &Bound<'_, PyAny>| {
        let set = params.set_with(name, |out| encode::encode(value, out));
        set.map_err(|error| unencodable(py, name, error))
    };
    for (name, value) in arguments.iter() {
        let text = name.cast::<PyString>()?.to_str()?;
        if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == text) {
            return Err(argument(py, format!("{text} has no place in a job: {why}")));
        }
        if value.is_none() {
            continue;
        }
        if matches!(text, "extra_body" | "additional_params") {
            merged.push((text.to_owned(), value));
        } else if text == "cache" {
            take_cache(&mut tried, defaults, &value)?;
            options.set_item(&name, &value)?;
        } else if tried.take(text, &value)? {
            options.set_item(&name, &value)?;
        } else {
            add(&mut params, text, &value)?;
        }
    }
    if let Some(configuration) = defaults.configuration.as_deref() {
        configuration
            .add_params(operation, arguments, &mut |(name, value)| drop(add(&mut params, &name.to_string(), &value)))?;
    }
    for (name, value) in merged {
        let mapping = value.cast::<PyMapping>().map_err(|_| wrong(&name, &value, "a dict"))?;
        let mut json = Vec::new();
        encode::encode(mapping.as_any(), &mut json).map_err(|error| unencodable(py, &name, error))?;
        params.merge_json(&json).map_err(|error| argument(py, format!("{name}: {}", error.message)))?;
    }
    Ok(CallArguments { options: options.unbind(), params })
}

/// Returns where the calls of a job go. `model` is the job's own, if it has one.
///
/// # Errors
///
/// `InvalidArgumentError` for a model that there is not, `AuthenticationError` for one without a key.
pub(crate) fn calls(
    py: Python<'_>,
    defaults: &Defaults,
    routing: Option<&Routing>,
    operation: Operation,
    model: Option<&str>,
    arguments: &CallArguments,
    priority: Priority,
) -> PyResult<Calls> {
    let rows_name_models = model.is_none();
    let cache = options_of(defaults, operation, arguments.options.bind(py))?.cache;
    let cache = cache.map_or_else(|| defaults.cache.clone(), |cache| *cache);
    let find_lookup: Option<FindLookup> = match cache.is_on() {
        true => Some(Arc::new(move |call, group, route| cache.lookup(call, group, route))),
        false => None,
    };
    let Some(routing) = routing else {
        let (defaults, options) = (defaults.clone(), arguments.options.clone_ref(py));
        let find = move |py: Python<'_>, model: &str| call(py, &defaults, operation, model, options.bind(py), priority);
        if let Some(model) = model {
            // What is wrong with it is said before the first row is read.
            find(py, model)?;
        }
        let find =
            move |model: &str| match Python::try_attach(|py| find(py, model).map_err(|error| core_error(py, &error))) {
                Some(found) => found,
                None => Err(Error::new(ErrorKind::Internal, "the interpreter has ended")),
            };
        let destination = Destination::Models(Models::new(Box::new(find)));
        return Ok(Calls { destination, rows_name_models, check: None, find_lookup });
    };
    let args = &routing.args;
    if args.choose.is_some() {
        return Err(argument(
            py,
            "strategy is a function, which a job cannot call for each row: the name of a strategy would be right",
        ));
    }
    let mut options = options_of(defaults, operation, arguments.options.bind(py))?;
    let group = match model {
        Some(model) => routing.group(py, &options, model)?,
        None => 0,
    };
    let Some(router) = routing.router() else { return Err(argument(py, "this router is closed")) };
    options.functions = CallbackArgs::default();
    let max_retries = options.max_retries;
    let of_deployment = |functions: &CallbackArgs| callbacks(py, &options.request, functions.clone(), false);
    let callbacks = args.functions.iter().map(of_deployment).collect::<PyResult<Vec<_>>>()?;
    let callbacks = if callbacks.iter().all(Option::is_none) { Vec::new() } else { callbacks };
    let call = make(defaults, options, routing.placeholder(group), None, priority);
    let destination =
        Destination::Router { options: Box::new(call), max_retries, router, prefix: args.prefix, callbacks };
    Ok(Calls { destination, rows_name_models, check: None, find_lookup })
}

/// Reads the options of a job's calls.
fn options_of(defaults: &Defaults, operation: Operation, options: &Bound<'_, PyDict>) -> PyResult<CallOptions> {
    let mut read = CallOptions::of(defaults, operation);
    for (name, value) in options.iter() {
        match name.cast::<PyString>()?.to_str()? {
            "cache" => take_cache(&mut read, defaults, &value)?,
            name => drop(read.take(name, &value)?),
        }
    }
    Ok(read)
}

/// Returns a call of a model, without parameters.
fn call(
    py: Python<'_>,
    defaults: &Defaults,
    operation: Operation,
    model: &str,
    options: &Bound<'_, PyDict>,
    priority: Priority,
) -> PyResult<Call> {
    let mut options = options_of(defaults, operation, options)?;
    let alias = defaults.configuration.as_deref().and_then(|configuration| configuration.alias(py, model));
    let model = match &alias {
        Some(model) => model.cast::<PyString>()?.to_str()?,
        None => model,
    };
    let deployment = find_deployment(py, defaults, &mut options, model)?;
    options.request.model = deployment.model.clone();
    let callbacks = callbacks(py, &options.request, options.functions.clone(), false)?;
    Ok(make(defaults, options, deployment, callbacks, priority))
}

/// Makes a call. A row waits for its quota for as long as it takes, and the schedule repeats it.
fn make(
    defaults: &Defaults,
    options: CallOptions,
    deployment: Deployment,
    callbacks: Option<Box<Callbacks>>,
    priority: Priority,
) -> Call {
    let CallOptions { request, timeouts, max_retry_after, allow_http, .. } = options;
    Call {
        deployment,
        request,
        timeouts: Timeouts { queue: None, ..timeouts },
        max_retries: 0,
        max_retry_after,
        allow_http,
        priority,
        is_routed: false,
        own_limits: None,
        deployment_name: None,
        attempt_log: None,
        callbacks,
        progress: None,
        budget: defaults.budget.clone(),
        admission_observer: None,
    }
}

/// Returns the core's error for an exception that was made of one.
fn core_error(py: Python<'_>, error: &PyErr) -> Box<Error> {
    let value = error.value(py);
    let kind = match value.get_type().name().map(|name| name.to_string()).as_deref() {
        Ok("AuthenticationError") => ErrorKind::Authentication,
        Ok("UnsupportedParamsError") => ErrorKind::UnsupportedParams,
        _ => ErrorKind::InvalidArgument,
    };
    let mut failed = Error::new(kind, value.to_string()).unsent();
    let provider = || -> PyResult<Option<String>> { value.getattr(intern!(py, "provider"))?.extract() };
    failed.provider = provider().ok().flatten();
    failed
}
