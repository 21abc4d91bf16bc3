//! The options of a call: those of its arguments that are not parameters of the request.

use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyType};

use super::cache::CacheArgs;
use super::defaults::Defaults;
use super::foreign::{self, Meaning};
use super::functions::{self, CallbackArgs};
use super::readers::{count, flag, headers, limit, pairs, seconds, str_of, text, timeouts};
use crate::client::MAX_RETRY_AFTER;
use crate::providers::DeploymentArgs;
use crate::python::errors::argument;
use crate::python::intern::intern;
use crate::python::response_format::ResponseFormat;
use crate::python::values;
use crate::transport::deadline::Timeouts;
use crate::types::operation::Operation;
use crate::types::request::Request;
use crate::types::shared::shared;

/// Number of retries of a call, unless the call or its client says otherwise.
const MAX_RETRIES: u32 = 2;

/// Options of a call whose model has not been looked up yet.
pub(super) struct CallOptions {
    pub deployment: DeploymentArgs,
    /// True if the call, and not only its client, was given a `base_url`; likewise for the next two.
    pub has_base_url: bool,
    pub has_api_version: bool,
    pub has_api_key: bool,
    pub functions: CallbackArgs,
    pub timeouts: Timeouts,
    pub max_retries: u32,
    pub max_retry_after: Duration,
    pub allow_http: bool,
    /// True if vectors are to be rows of a numpy array.
    pub numpy: bool,
    /// True if a parameter that nobody documents is refused.
    refuses_unknown: bool,
    /// True if `response_format` is a type or a JSON schema, whose answers the package's `_structured` reads.
    pub is_structured: bool,
    /// True if `validation_retries` was given.
    pub has_validation_retries: bool,
    /// What the call says about answers that are kept, if it says something.
    pub cache: Option<Box<CacheArgs>>,
    /// The request, without parameters.
    pub request: Request,
}

impl CallOptions {
    /// Makes the options of a call that is given none.
    pub fn of(defaults: &Defaults, operation: Operation) -> Self {
        Self {
            deployment: defaults.given.clone(),
            has_base_url: false,
            has_api_version: false,
            has_api_key: false,
            functions: defaults.functions.clone(),
            timeouts: defaults.timeouts,
            max_retries: defaults.max_retries.unwrap_or(MAX_RETRIES),
            max_retry_after: defaults.max_retry_after.unwrap_or(MAX_RETRY_AFTER),
            allow_http: defaults.allow_http,
            numpy: false,
            refuses_unknown: defaults.refuses_unknown,
            is_structured: false,
            has_validation_retries: false,
            cache: None,
            request: Request {
                operation,
                extra_headers: defaults.headers.clone(),
                drop_params: defaults.drop_params,
                ..Default::default()
            },
        }
    }

    /// Takes an argument if it is an option. Returns false if it is a parameter of the request.
    ///
    /// # Errors
    ///
    /// `InvalidArgumentError` for a value that is not right, and for arguments of other libraries that mean nothing here.
    pub fn take(&mut self, name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        match name {
            "output" if self.request.operation == Operation::Embedding => self.numpy = output(value)?,
            "batch_size" if self.request.operation == Operation::Embedding => {
                self.request.batches.size = u32::try_from(limit(name, value)?).unwrap_or(u32::MAX);
            }
            "concurrency" if self.request.operation == Operation::Embedding => {
                self.request.batches.concurrency = u32::try_from(limit(name, value)?).unwrap_or(u32::MAX);
            }
            "response_format" | "text_format"
                if matches!(self.request.operation, Operation::Chat | Operation::Responses) =>
            {
                return self.take_response_format(name, value);
            }
            "validation_retries" => self.has_validation_retries = true,
            "stream" => self.request.stream = flag(name, value)?,
            "allow_http" => self.allow_http = flag(name, value)?,
            "drop_params" => self.request.drop_params = flag(name, value)?,
            "timeout" => self.timeouts = timeouts(self.timeouts, value)?,
            "max_retries" | "num_retries" => self.max_retries = count(name, value)?,
            "max_retry_after" => self.max_retry_after = seconds(name, value)?,
            "base_url" | "api_base" => {
                self.deployment.base_url = Some(shared(str_of(name, value, "an address such as \"https://host/v1\"")?));
                self.has_base_url = true;
            }
            "api_key" => {
                (self.deployment.api_key, self.functions.key) = functions::key(name, value)?;
                self.has_api_key = true;
            }
            "api_version" => {
                self.deployment.api_version = Some(text(name, value, "the version's name")?);
                self.has_api_version = true;
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
                Meaning::Unknown => {
                    foreign::check_unknown(self.request.operation, name, self.refuses_unknown, value)?;
                    return Ok(false);
                }
                Meaning::Nothing => {}
                Meaning::Ours(ours) => return self.take(ours, value),
                Meaning::Setting(setting) => {
                    self.functions.settings.retain(|(known, _)| *known != setting);
                    let (given, function) = functions::secret_or_function(name, value)?;
                    self.functions.settings.extend(function.map(|function| (setting, function)));
                    self.deployment.settings.push((setting, given));
                }
            },
        }
        Ok(true)
    }

    /// Takes `response_format`. Returns false for a format that is sent as it is.
    fn take_response_format(&mut self, name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        if let Ok(format) = value.cast::<ResponseFormat>() {
            self.request.structured = Some(format.get().asked());
            return Ok(true);
        }
        self.is_structured = match value.cast::<PyDict>() {
            Ok(format) => name == "text_format" || is_schema(format)?,
            Err(_) => is_type(value)?,
        };
        Ok(self.is_structured)
    }
}

/// Words of a format in OpenAI's form that JSON schemas do not have.
const SCHEMA_TYPES: &[&str] = &["object", "array", "string", "integer", "number", "boolean", "null"];

/// Keywords of which a JSON schema without `type` has one.
const SCHEMA_KEYWORDS: &[&str] =
    &["$schema", "$ref", "$defs", "properties", "anyOf", "oneOf", "allOf", "enum", "const"];

/// Returns true for a JSON schema, and false for a format in OpenAI's form or a provider's own.
fn is_schema(format: &Bound<'_, PyDict>) -> PyResult<bool> {
    let py = format.py();
    match format.get_item(intern!(py, "type"))? {
        Some(kind) => match kind.cast::<PyString>() {
            Ok(kind) => Ok(SCHEMA_TYPES.contains(&kind.to_str()?)),
            Err(_) => Ok(kind.is_instance_of::<PyList>()),
        },
        None => {
            for keyword in SCHEMA_KEYWORDS {
                if format.contains(values::string(py, keyword)?)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
    }
}

/// Returns true for a type, of any of Python's kinds, and for an adapter of pydantic's.
fn is_type(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    if value.is_instance_of::<PyType>() {
        return Ok(true);
    }
    let py = value.py();
    // `list[int]` and `Literal[…]`; `type Name = …` and `NewType`; `TypeAdapter(…)`; `int | None`.
    for name in [
        intern!(py, "__origin__"),
        intern!(py, "__value__"),
        intern!(py, "__supertype__"),
        intern!(py, "validate_json"),
    ] {
        if value.hasattr(name)? {
            return Ok(true);
        }
    }
    Ok(value.get_type().name()?.to_str()? == "UnionType")
}

/// Reads `output`. Returns true if vectors are to be rows of an array, which takes numpy.
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
