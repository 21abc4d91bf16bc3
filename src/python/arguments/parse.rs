//! Keyword arguments → a call: what is ours is read and checked, everything else is the request's body.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyMapping, PyString, PyTuple};
use smallvec::SmallVec;

use super::defaults::Defaults;
use super::foreign::{self, Meaning};
use super::functions::{self, CallbackArgs, CallbackContext};
use super::readers::{count, flag, headers, pairs, seconds, str_of, text, timeouts};
use super::{pickling, upload};
use crate::client::{Call, Callbacks, MAX_RETRY_AFTER};
use crate::providers::{DeploymentArgs, check_segments, resolve, resolve_account};
use crate::python::call::log;
use crate::python::call::prepared::PreparedCall;
use crate::python::errors::{argument, exception, unencodable, wrong};
use crate::python::intern::intern;
use crate::python::json::encode;
use crate::python::json::vectors::Form;
use crate::transport::deadline::Timeouts;
use crate::types::operation::Operation;
use crate::types::params::Params;
use crate::types::request::Request;
use crate::types::shared::shared;

/// How often a request is repeated when nobody says otherwise.
const MAX_RETRIES: u32 = 2;

/// Reads the arguments of a call: `input` is its messages or its input.
pub(crate) fn parse_args(
    defaults: &Defaults,
    operation: Operation,
    awaited: bool,
    model: &Bound<'_, PyAny>,
    input: &Bound<'_, PyAny>,
    arguments: &Bound<'_, PyDict>,
) -> PyResult<Box<PreparedCall>> {
    let py = model.py();
    let spec = operation.spec();
    let model = match spec.has_model {
        true => str_of("model", model, "\"provider/model\"")?,
        false => str_of("provider", model, "a provider's name such as \"openai\"")?,
    };

    let mut call = Unresolved {
        given: defaults.given.clone(),
        base_url_given: false,
        api_version_given: false,
        api_key_given: false,
        functions: defaults.functions.clone(),
        timeouts: defaults.timeouts,
        max_retries: defaults.max_retries.unwrap_or(MAX_RETRIES),
        max_retry_after: defaults.max_retry_after.unwrap_or(MAX_RETRY_AFTER),
        allow_http: defaults.allow_http,
        numpy: false,
        request: Request {
            operation,
            extra_headers: defaults.headers.clone(),
            drop_params: defaults.drop_params,
            ..Default::default()
        },
    };
    match operation {
        Operation::Chat => check_messages(input)?,
        Operation::Embedding => check_input(input)?,
        Operation::FileCreate => call.request.upload = Some(Arc::new(upload::upload(input)?)),
        _ if spec.input_optional || !input.is_none() => {}
        _ => return Err(argument(py, format!("{} is None: it has to be given", spec.input))),
    }
    let mut params = SmallVec::<[_; 8]>::new();
    // Merged last: they have the say over the parameters of the same name.
    let mut merged = Vec::new();
    for (name, value) in arguments.iter() {
        let name = name.cast_into::<PyString>()?;
        if value.is_none() {
            // As good as not given.
            continue;
        }
        if matches!(name.to_str()?, "extra_body" | "additional_params") {
            merged.push((name, value));
        } else if !call.take(name.to_str()?, &value)? {
            params.push((name, value));
        }
    }
    if !defaults.withheld.is_empty() {
        pickling::refuse_without(py, &defaults.withheld, call.api_key_given)?;
    }
    // A key that the client was made with is for the address that the client was made with.
    if call.base_url_given && !call.api_key_given && defaults.given.base_url.is_some() {
        call.given.api_key = None;
        call.functions.key = None;
    }
    let find = if spec.has_model { resolve } else { resolve_account };
    let mut deployment =
        find(model, &call.given, &|name| std::env::var(name).ok()).map_err(|error| exception(py, error))?;
    let row = deployment.provider.row();
    if call.api_version_given && !row.api_versions {
        return Err(argument(
            py,
            format!(
                "{} has no api_version: leave it out (extra_query={{\"api-version\": …}} sends one in the address)",
                row.name
            ),
        ));
    }

    call.request.params = Params::of_call(&deployment.model, call.request.stream);
    // One that may be left out was, or it is no JSON.
    if !input.is_none() && call.request.upload.is_none() {
        set_param(&mut call.request.params, spec.input, input)?;
    }
    for (name, value) in &params {
        set_param(&mut call.request.params, name.to_str()?, value)?;
    }
    for (name, value) in &merged {
        merge(&mut call.request.params, name.to_str()?, value)?;
    }
    if !merged.is_empty() {
        // The body has these already, from arguments of the call.
        let params = &mut call.request.params;
        let stream = params.get("stream").and_then(|value| serde_json::from_slice(value).ok());
        if params.remove("stream") {
            call.request.stream = stream.unwrap_or(call.request.stream);
        }
        let model: Option<String> = params.get("model").and_then(|value| serde_json::from_slice(value).ok());
        params.remove("model");
        if let Some(model) = model {
            check_segments("model", &model).map_err(|error| exception(py, error))?;
            deployment.model = model.into();
        }
    }
    call.request.params.close();
    call.request.model.clone_from(&deployment.model);
    let is_another = |name: &str, floats: &[&[u8]]| {
        operation == Operation::Embedding
            && call.request.params.get(name).is_some_and(|value| value != b"null" && !floats.contains(&value))
    };
    let as_text = is_another("encoding_format", &[b"\"float\""]);
    // Text is handed on as it comes where the numbers are no 32-bit floats.
    let other_numbers = ["output_dtype", "embed_dtype"].iter().any(|name| is_another(name, FLOATS));
    let vectors = match (as_text, call.numpy) {
        (true, true) => {
            return Err(argument(py, "encoding_format and output=\"numpy\" are two forms: give one"));
        }
        (_, true) => Form::Numpy,
        (true, false) => Form::AsSent,
        _ if other_numbers => Form::AsSent,
        _ => Form::List,
    };
    let Unresolved { request, timeouts, max_retries, max_retry_after, allow_http, functions, .. } = call;
    let callbacks = match functions.is_empty() {
        true => None,
        false => Some(Box::new(Callbacks {
            headers: request.extra_headers.clone(),
            functions: Arc::new(CallbackContext {
                given: functions,
                context: Arc::new(log::context(py)?),
                event_loop: match awaited {
                    true => Some(Arc::new(py.import("asyncio")?.call_method0("get_running_loop")?.unbind())),
                    false => None,
                },
            }),
        })),
    };
    let call =
        Call { deployment, request, timeouts, max_retries, max_retry_after, allow_http, attempt_log: None, callbacks };
    Ok(Box::new(PreparedCall { call, vectors, deepest: defaults.deepest }))
}

/// Types of numbers that base64 in an embedding is read as.
const FLOATS: &[&[u8]] = &[b"\"float\"", b"\"float32\""];

/// A call whose model has not been looked up yet.
struct Unresolved {
    given: DeploymentArgs,
    base_url_given: bool,
    api_version_given: bool,
    api_key_given: bool,
    functions: CallbackArgs,
    timeouts: Timeouts,
    max_retries: u32,
    max_retry_after: Duration,
    allow_http: bool,
    /// Vectors are wanted as an array.
    numpy: bool,
    request: Request,
}

impl Unresolved {
    /// Takes an argument that is ours; `false`: it is a parameter of the request.
    fn take(&mut self, name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        match name {
            "output" if self.request.operation == Operation::Embedding => self.numpy = output(value)?,
            "stream" => self.request.stream = flag(name, value)?,
            "allow_http" => self.allow_http = flag(name, value)?,
            "drop_params" => self.request.drop_params = flag(name, value)?,
            "timeout" => self.timeouts = timeouts(self.timeouts, value)?,
            "max_retries" | "num_retries" => self.max_retries = count(name, value)?,
            "max_retry_after" => self.max_retry_after = seconds(name, value)?,
            "base_url" | "api_base" => {
                self.given.base_url = Some(shared(str_of(name, value, "an address such as \"https://host/v1\"")?));
                self.base_url_given = true;
            }
            "api_key" => {
                (self.given.api_key, self.functions.key) = functions::key(name, value)?;
                self.api_key_given = true;
            }
            "api_version" => {
                self.given.api_version = Some(text(name, value, "the version's name")?);
                self.api_version_given = true;
            }
            "extra_headers" | "headers" => {
                for (field, content) in headers(name, value)? {
                    self.request.extra_headers.retain(|(known, _)| *known != field);
                    self.request.extra_headers.push((field, content));
                }
            }
            "extra_query" => self.request.extra_query.extend(pairs(name, value)?),
            _ => match foreign::meaning(name, value)? {
                Meaning::Param => return Ok(false),
                Meaning::Nothing => {}
                Meaning::Ours(ours) => return self.take(ours, value),
                Meaning::Setting(setting) => {
                    self.functions.settings.retain(|(known, _)| *known != setting);
                    let (given, function) = functions::secret_or_function(name, value)?;
                    self.functions.settings.extend(function.map(|function| (setting, function)));
                    self.given.settings.push((setting, given));
                }
            },
        }
        Ok(true)
    }
}

fn set_param(params: &mut Params, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    params.set_with(name, |out| encode::encode(value, out)).map_err(|error| match foreign::schema_hint(name, value) {
        Some(hint) => argument(value.py(), hint),
        None => unencodable(value.py(), name, error),
    })
}

/// Merges a mapping, or an object's JSON in a string, into the body.
fn merge(params: &mut Params, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = value.py();
    let json = match value.cast::<PyString>() {
        Ok(text) if name == "additional_params" => text.to_str()?.as_bytes().to_vec(),
        _ if value.cast::<PyMapping>().is_ok() => {
            let mut json = Vec::new();
            encode::encode(value, &mut json).map_err(|error| unencodable(py, name, error))?;
            json
        }
        _ => {
            let right = if name == "additional_params" { "a dict or a JSON string of one" } else { "a dict" };
            return Err(wrong(name, value, right));
        }
    };
    params.merge_json(&json).map_err(|error| argument(py, format!("{name}: {}", error.message)))
}

fn check_messages(messages: &Bound<'_, PyAny>) -> PyResult<()> {
    const RIGHT: &str = "a list of messages such as {\"role\": \"user\", \"content\": \"Hi\"}";
    let is_message = |item: &Bound<'_, PyAny>| {
        item.cast::<PyDict>().is_ok() || item.cast::<PyMapping>().is_ok() || item.hasattr("model_dump").unwrap_or(false)
    };
    let check = |index: usize, item: &Bound<'_, PyAny>| match is_message(item) {
        true => Ok(()),
        false => {
            Err(wrong(&format!("messages[{index}]"), item, "a dict such as {\"role\": \"user\", \"content\": \"Hi\"}"))
        }
    };
    if let Ok(list) = messages.cast::<PyList>() {
        list.iter().enumerate().try_for_each(|(index, item)| check(index, &item))
    } else if let Ok(tuple) = messages.cast::<PyTuple>() {
        tuple.iter().enumerate().try_for_each(|(index, item)| check(index, &item))
    } else {
        Err(wrong("messages", messages, RIGHT))
    }
}

/// A text, or a list of anything: what an item may be is between the caller and the provider.
fn check_input(input: &Bound<'_, PyAny>) -> PyResult<()> {
    let is_list = input.cast::<PyList>().is_ok() || input.cast::<PyTuple>().is_ok();
    match is_list || input.cast::<PyString>().is_ok() {
        true => Ok(()),
        false => Err(wrong("input", input, "a str or a list of str")),
    }
}

/// `output`: whether vectors are wanted as an array, which takes numpy.
fn output(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    const RIGHT: &str = "\"list\" or \"numpy\"";
    let py = value.py();
    match text("output", value, RIGHT)?.as_str() {
        "list" => Ok(false),
        "numpy" => match py.import(intern!(py, "numpy")) {
            Ok(_) => Ok(true),
            Err(error) => Err(argument(
                py,
                format!(
                    "output=\"numpy\" needs numpy, which cannot be imported ({}): pip install numpy",
                    error.value(py)
                ),
            )),
        },
        other => Err(argument(py, format!("output is {other:?}: {RIGHT} would be right"))),
    }
}
