//! The schema that an answer has to follow, as `_structured` makes it of a type.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};
use serde_json::Value;

use super::errors::{argument, unencodable};
use super::json::classes::Class;
use super::json::decode;
use super::json::encode;
use super::{stack, values};
use crate::schema::Validator;
use crate::types::partial_json;
use crate::types::structured::{ResponseSchema, StructuredOutput};

/// A schema that answers have to follow.
#[pyclass(frozen, module = "ritellm._core")]
pub(super) struct ResponseFormat {
    schema: Arc<ResponseSchema>,
    validator: Arc<Validator>,
}

impl ResponseFormat {
    /// Returns the schema that is asked for.
    pub fn schema(&self) -> &Arc<ResponseSchema> {
        &self.schema
    }

    /// Returns the check of a value without a wrapper.
    pub fn validator(&self) -> &Arc<Validator> {
        &self.validator
    }

    /// Returns what a call asks for.
    pub fn asked(&self) -> StructuredOutput {
        StructuredOutput { schema: self.schema.clone(), form: None }
    }
}

#[pymethods]
impl ResponseFormat {
    /// Makes a format of a JSON schema, a dict.
    #[new]
    fn new(name: &str, schema: &Bound<'_, PyDict>) -> PyResult<Self> {
        let py = schema.py();
        let mut json = Vec::new();
        encode::encode(schema.as_any(), &mut json).map_err(|error| unencodable(py, "response_format", error))?;
        let schema: Value = stack::with_room(|| serde_json::from_slice(&json))
            .map_err(|error| argument(py, format!("response_format has a schema that is no JSON: {error}")))?;
        let validator = stack::with_room(|| Validator::new(schema.clone())).map_err(|reference| {
            argument(
                py,
                format!(
                    "response_format refers to {reference}, which is not in the schema: \"#/$defs/Name\" would be right"
                ),
            )
        })?;
        Ok(Self { schema: Arc::new(ResponseSchema::new(name, schema)), validator: Arc::new(validator) })
    }

    /// Name of the schema.
    #[getter]
    fn name<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        values::string(py, &self.schema.name)
    }

    /// Returns the JSON value in an answer's text, or `None` if there is none.
    fn json<'py>(&self, py: Python<'py>, text: &str) -> PyResult<Option<Bound<'py, PyString>>> {
        self.schema.json_in(text).map(|json| values::string(py, json)).transpose()
    }

    /// Returns why a JSON text does not fit the schema, a list of str; an empty one if it fits.
    fn violations<'py>(&self, py: Python<'py>, json: &str) -> PyResult<Bound<'py, PyList>> {
        let found: Vec<String> = stack::with_room(|| match serde_json::from_str(json) {
            Ok(value) => self.validator.violations(&value).iter().map(ToString::to_string).collect(),
            Err(error) => vec![format!("it is not valid JSON: {error}")],
        });
        let list = values::list(py)?;
        found.iter().try_for_each(|violation| list.append(values::string(py, violation)?))?;
        Ok(list)
    }

    /// Returns the value that the beginning of an answer's text holds, or `None` before there is one.
    fn partial<'py>(&self, py: Python<'py>, text: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let start = text.find(['{', '[']).unwrap_or(text.len());
        let completed = self.schema.json_in(text).map(str::to_owned).or_else(|| {
            let completed = partial_json::complete(&text[start..])?;
            Some(self.schema.json_in(&completed)?.to_owned())
        });
        match completed {
            // Only the wrapper is there.
            Some(json) if self.schema.is_wrapped && json == "{}" => Ok(None),
            Some(json) => decode::decode(py, json.as_bytes(), Class::Object).map(Some),
            None => Ok(None),
        }
    }
}
