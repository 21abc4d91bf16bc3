//! Keyword arguments → a call: options are read and checked, all other arguments become the body of the request.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use smallvec::SmallVec;

use super::body::{self, Argument};
use super::configuration::{Destination, Given};
use super::defaults::Defaults;
use super::functions::{CallbackArgs, CallbackContext};
use super::options::CallOptions;
use super::readers::str_of;
use super::routing::Routing;
use super::withheld::refuse_without;
use crate::client::{Call, Callbacks};
use crate::providers::{Deployment, resolve, resolve_account};
use crate::python::call::log;
use crate::python::call::prepared::PreparedCall;
use crate::python::errors::{argument, exception};
use crate::python::intern::intern;
use crate::python::json::vectors::Form;
use crate::types::operation::Operation;
use crate::types::request::Request;

const VALIDATION_RETRIES: &str = "validation_retries belongs to a response_format that is checked here: a type, such as a pydantic \
                                  model, or a JSON schema";

/// Reads the arguments of a call; `None` if `response_format` is a type or a JSON schema. `model` is the name of a provider where the operation has no model; `awaited` is true for
/// a call that a task of the running event loop awaits.
///
/// # Errors
///
/// `InvalidArgumentError` for an argument that cannot be used, and the exceptions of the caller's own objects.
pub(crate) fn parse_args(
    defaults: &Defaults,
    routing: Option<&Routing>,
    operation: Operation,
    awaited: bool,
    model: &Bound<'_, PyAny>,
    input: &Bound<'_, PyAny>,
    arguments: &Bound<'_, PyDict>,
) -> PyResult<Option<Box<PreparedCall>>> {
    let py = model.py();
    let model = match operation.spec().has_model {
        true => str_of("model", model, "\"provider/model\"")?,
        false => str_of("provider", model, "a provider's name such as \"openai\"")?,
    };
    let mut options = CallOptions::of(defaults, operation);
    let (mut params, merged) = take_options(&mut options, defaults, arguments)?;
    if options.is_structured {
        return Ok(None);
    }
    // After the options: what has to be read more than once is read by `_structured`.
    let converted = body::check(&mut options.request, input)?;
    let input = converted.as_ref().unwrap_or(input);
    if options.has_validation_retries {
        return Err(argument(py, VALIDATION_RETRIES));
    }
    if let Some(configuration) = defaults.configuration.as_deref() {
        configuration.add_params(operation, arguments, &mut |param| params.push(param))?;
    }
    let group = routing.map(|routing| routing.group(py, &options, model)).transpose()?;
    let mut deployment = match (routing, group) {
        (Some(routing), Some(group)) => routing.placeholder(group),
        _ => find_deployment(py, defaults, &mut options, model)?,
    };
    body::write(&mut options.request, &mut deployment, input, &params, &merged)?;
    let vectors = form_of_vectors(py, &options.request, options.numpy)?;
    let CallOptions { request, timeouts, max_retries, max_retry_after, allow_http, functions, cache, .. } = options;
    let route = match (routing, group) {
        (Some(routing), Some(group)) => {
            let callbacks = |functions: &CallbackArgs| callbacks(py, &request, functions.clone(), awaited);
            Some(routing.route(py, group, &request, max_retries, callbacks)?)
        }
        _ => None,
    };
    let callbacks = callbacks(py, &request, functions, awaited)?;
    let cache = cache.as_deref().unwrap_or(&defaults.cache);
    let call = Call {
        deployment,
        request,
        timeouts,
        max_retries,
        max_retry_after,
        allow_http,
        priority: defaults.priority,
        is_routed: false,
        own_limits: None,
        deployment_name: None,
        progress: None,
        attempt_log: None,
        callbacks,
        budget: defaults.budget.clone(),
        admission_observer: None,
    };
    let lookup = match cache.is_on() {
        true => cache.lookup(&call, group.map(|_| model), route.as_deref()),
        false => None,
    };
    Ok(Some(Box::new(PreparedCall { call, vectors, deepest: defaults.deepest, route, lookup })))
}

/// Parameters of a request. Most calls have no more than this many.
type Arguments<'py> = SmallVec<[Argument<'py>; 8]>;

/// Takes the options out of the arguments. Returns the parameters of the request, and the mappings that are to be merged
/// into them.
#[inline]
fn take_options<'py>(
    options: &mut CallOptions,
    defaults: &Defaults,
    arguments: &Bound<'py, PyDict>,
) -> PyResult<(Arguments<'py>, Vec<Argument<'py>>)> {
    let mut params = Arguments::new();
    let mut merged = Vec::new();
    for (name, value) in arguments.iter() {
        let name = name.cast_into::<PyString>()?;
        if value.is_none() {
            // `None` is the same as not given.
            continue;
        }
        if matches!(name.to_str()?, "extra_body" | "additional_params" | "cache") {
            match name.to_str()? {
                "cache" => take_cache(options, defaults, &value)?,
                _ => merged.push((name, value)),
            }
        } else if !options.take(name.to_str()?, &value)? {
            params.push((name, value));
        }
    }
    Ok((params, merged))
}

/// Takes what a call says about answers that are kept.
#[cold]
pub(super) fn take_cache(options: &mut CallOptions, defaults: &Defaults, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let mut cache = Box::new(defaults.cache.clone());
    cache.read_option(value)?;
    options.cache = Some(cache);
    Ok(())
}

/// Finds the deployment that a call goes to.
pub(super) fn find_deployment(
    py: Python<'_>,
    defaults: &Defaults,
    options: &mut CallOptions,
    model: &str,
) -> PyResult<Deployment> {
    if !defaults.withheld.is_empty() {
        refuse_without(py, &defaults.withheld, options.has_api_key)?;
    }
    // A key that the client was made with is for the address that the client was made with.
    if options.has_base_url && !options.has_api_key && defaults.given.base_url.is_some() {
        options.deployment.api_key = None;
        options.functions.key = None;
    }
    let deployment = match defaults.configuration.as_deref() {
        Some(configuration) => {
            let given = Given {
                base_url: options.has_base_url,
                api_key: options.has_api_key,
                api_version: options.has_api_version,
            };
            let destination = Destination {
                has_model: options.request.operation.spec().has_model,
                args: &mut options.deployment,
                functions: &mut options.functions,
                fields: &mut options.request.extra_headers,
                given,
                client: &defaults.given,
                client_fields: &defaults.headers,
            };
            configuration.find(destination, model)
        }
        None => {
            let find = if options.request.operation.spec().has_model { resolve } else { resolve_account };
            find(model, &options.deployment, &|name| std::env::var(name).ok())
        }
    };
    let deployment = deployment.map_err(|error| exception(py, error))?;
    let row = deployment.provider.row();
    if options.has_api_version && !row.api_versions {
        return Err(argument(
            py,
            format!(
                "{} has no api_version: leave it out (extra_query={{\"api-version\": …}} sends one in the address)",
                row.name
            ),
        ));
    }
    Ok(deployment)
}

/// Number types of embeddings whose base64 is decoded.
const FLOATS: &[&[u8]] = &[b"\"float\"", b"\"float32\""];

/// Returns the form in which the caller gets the vectors of an answer.
///
/// # Errors
///
/// `InvalidArgumentError` if the call asks for two forms.
fn form_of_vectors(py: Python<'_>, request: &Request, numpy: bool) -> PyResult<Form> {
    let is_other = |name: &str, floats: &[&[u8]]| {
        request.operation == Operation::Embedding
            && request.params.get(name).is_some_and(|value| value != b"null" && !floats.contains(&value))
    };
    let as_text = is_other("encoding_format", &[b"\"float\""]);
    // Where the numbers are no 32-bit floats, the text is passed on as it was sent.
    let other_numbers = ["output_dtype", "embed_dtype"].iter().any(|name| is_other(name, FLOATS));
    match (as_text, numpy) {
        (true, true) => Err(argument(py, "encoding_format and output=\"numpy\" are two forms: give one")),
        (_, true) => Ok(Form::Numpy),
        (true, false) => Ok(Form::AsSent),
        _ if other_numbers => Ok(Form::AsSent),
        _ => Ok(Form::List),
    }
}

/// Returns the functions of the caller's that a call needs, with the context and the event loop in which they run.
pub(super) fn callbacks(
    py: Python<'_>,
    request: &Request,
    functions: CallbackArgs,
    awaited: bool,
) -> PyResult<Option<Box<Callbacks>>> {
    if functions.is_empty() {
        return Ok(None);
    }
    Ok(Some(Box::new(Callbacks {
        headers: request.extra_headers.clone(),
        functions: Arc::new(CallbackContext {
            given: functions,
            context: Arc::new(log::context(py)?),
            event_loop: match awaited {
                true => {
                    let asyncio = py.import(intern!(py, "asyncio"))?;
                    Some(Arc::new(asyncio.call_method0(intern!(py, "get_running_loop"))?.unbind()))
                }
                false => None,
            },
        }),
    })))
}
