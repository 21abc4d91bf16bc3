//! Keyword arguments → a call: what is ours is read and checked, everything else is the request's body.

use std::sync::Arc;
use std::time::Duration;

use super::intern::intern;
use http::{HeaderName, HeaderValue};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple};
use smallvec::SmallVec;

use super::errors::{argument, exception};
use super::foreign::{self, Meaning};
use super::functions::{self, Function};
use super::json_encode::{self, Unencodable};
use super::log;
use super::settings;
use super::upload;
use super::vectors::Form;
use crate::client::{Call, Callbacks, MAX_RETRY_AFTER};
use crate::providers::{DeploymentArgs, check_segments, resolve, resolve_account};
use crate::transport::deadline::Timeouts;
use crate::transport::{Identity, Trust, check_proxy};
use crate::types::operation::Operation;
use crate::types::params::Params;
use crate::types::request::Request;
use crate::types::secret::Secret;
use crate::types::shared::shared;

/// What a client was made with: each call begins from here.
#[derive(Clone, Default)]
pub(super) struct Defaults {
    pub given: DeploymentArgs,
    pub timeouts: Timeouts,
    pub max_retries: Option<u32>,
    pub max_retry_after: Option<Duration>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub drop_params: bool,
    pub allow_http: bool,
    /// How many levels of nesting an answer may have.
    pub deepest: usize,
    /// What it was made with and did not get back when it was unpickled.
    pub withheld: Vec<String>,
    /// Functions that are asked for what an attempt carries.
    pub functions: functions::CallbackArgs,
}

/// How often a request is repeated when nobody says otherwise.
const MAX_RETRIES: u32 = 2;

/// A call, and how its caller gets vectors.
pub(super) struct PreparedCall {
    pub call: Call,
    pub vectors: Form,
    /// How many levels of nesting an answer may have.
    pub deepest: usize,
}

/// Reads the arguments of a call: `input` is its messages or its input.
pub(super) fn parse_args(
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
        settings::refuse_without(py, &defaults.withheld, call.api_key_given)?;
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
            functions: Arc::new(functions::CallbackContext {
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
    functions: functions::CallbackArgs,
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
                (self.given.api_key, self.functions.key) = key(name, value)?;
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
            "extra_query" => self.request.extra_query.extend(query(name, value)?),
            _ => match foreign::meaning(name, value)? {
                Meaning::Param => return Ok(false),
                Meaning::Nothing => {}
                Meaning::Ours(ours) => return self.take(ours, value),
                Meaning::Setting(setting) => {
                    self.functions.settings.retain(|(known, _)| *known != setting);
                    let (given, function) = secret_or_function(name, value)?;
                    self.functions.settings.extend(function.map(|function| (setting, function)));
                    self.given.settings.push((setting, given));
                }
            },
        }
        Ok(true)
    }
}

/// A key, or what stands for it and the function that gives it.
pub(super) fn key(name: &str, value: &Bound<'_, PyAny>) -> PyResult<(Option<Secret>, Option<Function>)> {
    if value.is_callable() {
        return Ok((Some(Secret::new(shared(functions::PLACEHOLDER))), Some(Arc::new(value.clone().unbind()))));
    }
    let key = str_of(name, value, "the provider's key, or a function that gives it,")?;
    Ok((Some(Secret::new(shared(key))), None))
}

/// A setting, or what stands for it and the function that gives it, as azure-identity makes them.
pub(super) fn secret_or_function(name: &str, value: &Bound<'_, PyAny>) -> PyResult<(Secret, Option<Function>)> {
    match value.is_callable() {
        true => Ok((Secret::new(functions::PLACEHOLDER), Some(Arc::new(value.clone().unbind())))),
        false => Ok((Secret::new(text(name, value, "a str, or a function that gives one,")?), None)),
    }
}

fn set_param(params: &mut Params, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    params.set_with(name, |out| json_encode::encode(value, out)).map_err(|error| {
        match foreign::schema_hint(name, value) {
            Some(hint) => argument(value.py(), hint),
            None => unencodable(value.py(), name, error),
        }
    })
}

pub(super) fn unencodable(py: Python<'_>, name: &str, error: Unencodable) -> PyErr {
    let described = error.describe(name);
    error.raised().unwrap_or_else(|| argument(py, described))
}

/// Merges a mapping, or an object's JSON in a string, into the body.
fn merge(params: &mut Params, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = value.py();
    let json = match value.cast::<PyString>() {
        Ok(text) if name == "additional_params" => text.to_str()?.as_bytes().to_vec(),
        _ if value.cast::<PyMapping>().is_ok() => {
            let mut json = Vec::new();
            json_encode::encode(value, &mut json).map_err(|error| unencodable(py, name, error))?;
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

/// An argument of the wrong type or value.
pub(super) fn wrong(name: &str, value: &Bound<'_, PyAny>, right: &str) -> PyErr {
    let kind = value.get_type().name().map_or_else(|_| "?".to_owned(), |kind| kind.to_string());
    argument(value.py(), format!("{name} is of type {kind}: {right} would be right"))
}

/// A string argument that says something.
pub(super) fn text(name: &str, value: &Bound<'_, PyAny>, right: &str) -> PyResult<String> {
    str_of(name, value, right).map(str::to_owned)
}

fn str_of<'a>(name: &str, value: &'a Bound<'_, PyAny>, right: &str) -> PyResult<&'a str> {
    let text = value.cast::<PyString>().map_err(|_| wrong(name, value, right))?.to_str()?;
    if text.is_empty() {
        return Err(argument(value.py(), format!("{name} is an empty str: {right} would be right")));
    }
    Ok(text)
}

/// A boolean argument.
pub(super) fn flag(name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(value.cast::<PyBool>().map_err(|_| wrong(name, value, "True or False"))?.is_true())
}

/// A whole number, not negative.
pub(super) fn count(name: &str, value: &Bound<'_, PyAny>) -> PyResult<u32> {
    let is_int = value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>();
    if !is_int {
        return Err(wrong(name, value, "a whole number, 0 or more,"));
    }
    value
        .extract()
        .map_err(|_| argument(value.py(), format!("{name} is {value}: a whole number, 0 or more, would be right")))
}

/// A whole number above 0: how many, or how many bytes.
pub(super) fn limit(name: &str, value: &Bound<'_, PyAny>) -> PyResult<usize> {
    const RIGHT: &str = "a whole number above 0";
    let is_int = value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>();
    if !is_int {
        return Err(wrong(name, value, RIGHT));
    }
    match value.extract::<u64>() {
        Ok(limit) if limit > 0 => Ok(usize::try_from(limit).unwrap_or(usize::MAX)),
        _ => Err(argument(value.py(), format!("{name} is {value}: {RIGHT} would be right"))),
    }
}

/// `timeout`: seconds for the whole call, or a mapping with any of queue (also pool), connect, first_token, idle and total.
pub(super) fn timeouts(before: Timeouts, value: &Bound<'_, PyAny>) -> PyResult<Timeouts> {
    const PARTS: &str = "queue, connect, first_token, idle and total";
    let mut timeouts = before;
    let Ok(mapping) = value.cast::<PyMapping>() else {
        timeouts.total = Some(seconds("timeout", value)?);
        return Ok(timeouts);
    };
    for pair in mapping.items()?.iter() {
        let (part, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
        let part = part.to_string();
        let limit = match value.is_none() {
            true => None,
            false => Some(seconds(&format!("timeout[{part:?}]"), &value)?),
        };
        match part.as_str() {
            "connect" => timeouts.connect = limit,
            // httpx's word for it.
            "queue" | "pool" => timeouts.queue = limit,
            "first_token" => timeouts.first_token = limit,
            "idle" => timeouts.idle = limit,
            "total" => timeouts.total = limit,
            _ => return Err(argument(value.py(), format!("timeout has no part {part:?}: its parts are {PARTS}"))),
        }
    }
    Ok(timeouts)
}

pub(super) fn seconds(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    let is_number =
        (value.is_instance_of::<PyFloat>() || value.is_instance_of::<PyInt>()) && !value.is_instance_of::<PyBool>();
    let number: f64 = match is_number {
        true => value.extract()?,
        false => return Err(wrong(name, value, "a number of seconds (or, for timeout itself, a dict of them)")),
    };
    // Longer than anybody waits is no limit.
    if number > 1e12 {
        return Ok(Duration::MAX);
    }
    match Duration::try_from_secs_f64(number) {
        Ok(limit) if !limit.is_zero() => Ok(limit),
        _ => Err(argument(value.py(), format!("{name} is {number}: a number of seconds above 0 would be right"))),
    }
}

/// The authorities in a file.
pub(super) fn ca_bundle(value: &Bound<'_, PyAny>) -> PyResult<Trust> {
    let py = value.py();
    foreign::refuse_ssl_context("ca_bundle", value)?;
    let path: std::path::PathBuf =
        value.extract().map_err(|_| wrong("ca_bundle", value, "the path of a PEM file of certificates"))?;
    let pem = std::fs::read(&path)
        .map_err(|error| argument(py, format!("ca_bundle: {} cannot be read: {error}", path.display())))?;
    Trust::bundle(&pem).map_err(|why| argument(py, format!("ca_bundle: {} {why}", path.display())))
}

/// A proxy's address. It may hold a password, so no error shows it.
pub(super) fn proxy(value: &Bound<'_, PyAny>) -> PyResult<Secret> {
    let address = text("proxy", value, "an address such as \"http://host:3128\"")?;
    check_proxy(&address).map_err(|why| argument(value.py(), format!("proxy {why}")))?;
    Ok(Secret::new(address))
}

/// The client's own certificate: a file that holds it and its key, or one for each.
pub(super) fn client_cert(value: &Bound<'_, PyAny>) -> PyResult<Identity> {
    const RIGHT: &str =
        "the path of a PEM file with a certificate and its key, or a tuple of two paths, (certificate, key),";
    let py = value.py();
    let path = |value: &Bound<'_, PyAny>| -> PyResult<std::path::PathBuf> {
        value.extract().map_err(|_| wrong("client_cert", value, RIGHT))
    };
    let (certificate, key) = match value.cast::<PyTuple>() {
        Err(_) => (path(value)?, None),
        Ok(paths) => match (paths.len(), paths.get_item(2)) {
            (2, _) => (path(&paths.get_item(0)?)?, Some(path(&paths.get_item(1)?)?)),
            (3, Ok(password)) if password.is_none() => (path(&paths.get_item(0)?)?, Some(path(&paths.get_item(1)?)?)),
            (3, _) => {
                return Err(argument(
                    py,
                    "client_cert has a password, and keys that are encrypted cannot be read: decrypt it into a file that \
                     only you can read (openssl pkey -in key.pem -out plain.pem), and give (certificate, key)",
                ));
            }
            (length, _) => {
                return Err(argument(py, format!("client_cert is a tuple of {length}: {RIGHT} would be right")));
            }
        },
    };
    let read = |path: &std::path::Path| {
        std::fs::read(path)
            .map_err(|error| argument(py, format!("client_cert: {} cannot be read: {error}", path.display())))
    };
    let chain = read(&certificate)?;
    let (key, from) = match &key {
        None => (chain.clone(), &certificate),
        Some(path) => (read(path)?, path),
    };
    Identity::new(&chain, &key).map_err(|(is_key, why)| {
        let path = if is_key { from } else { &certificate };
        argument(py, format!("client_cert: {} {why}", path.display()))
    })
}

/// Header fields that the caller adds.
pub(super) fn headers(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<(HeaderName, HeaderValue)>> {
    let py = value.py();
    let mut fields = Vec::new();
    for (field, content) in pairs(name, value)? {
        let parsed = HeaderName::from_bytes(field.as_bytes())
            .map_err(|_| argument(py, format!("{name} holds {field:?}, which is no header name")))?;
        if matches!(parsed.as_str(), "content-length" | "transfer-encoding" | "host" | "connection") {
            return Err(argument(py, format!("{name} holds {field:?}, which belongs to the connection: leave it out")));
        }
        let mut content = HeaderValue::from_bytes(content.as_bytes()).map_err(|_| {
            argument(py, format!("{name}[{field:?}] holds characters that no HTTP header may hold (a line break?)"))
        })?;
        // A header of the caller's may well be a credential.
        content.set_sensitive(true);
        fields.push((parsed, content));
    }
    Ok(fields)
}

fn query(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<(String, String)>> {
    pairs(name, value)
}

/// A mapping of strings to strings; numbers and booleans are written out.
fn pairs(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<(String, String)>> {
    let mapping = value.cast::<PyMapping>().map_err(|_| wrong(name, value, "a dict of str to str"))?;
    let mut pairs = Vec::new();
    for pair in mapping.items()?.iter() {
        let (key, content): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
        let key: String = key.extract().map_err(|_| wrong(&format!("a key of {name}"), &key, "a str"))?;
        if content.is_none() {
            continue;
        }
        let content = if let Ok(flag) = content.cast::<PyBool>() {
            flag.is_true().to_string()
        } else if content.is_instance_of::<PyInt>()
            || content.is_instance_of::<PyFloat>()
            || content.is_instance_of::<PyString>()
        {
            content.to_string()
        } else if let Ok(bytes) = content.cast::<PyBytes>() {
            String::from_utf8_lossy(bytes.as_bytes()).into_owned()
        } else {
            return Err(wrong(&format!("{name}[{key:?}]"), &content, "a str"));
        };
        pairs.push((key, content));
    }
    Ok(pairs)
}
