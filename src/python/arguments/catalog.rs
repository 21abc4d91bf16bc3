//! The argument `catalog` of a client: limits and prices of models.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyList, PyMapping, PyString, PyTuple};

use crate::catalog::Catalog;
use crate::providers::lookup;
use crate::python::errors::{argument, exception, unencodable, wrong};
use crate::python::intern::intern;
use crate::python::json::encode;

/// Reads a table, the name of a source, the path of a file, or a list of these.
///
/// # Errors
///
/// `InvalidArgumentError` that names the entry that cannot be used.
pub(crate) fn read(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Arc<Catalog>> {
    let mut catalog = Catalog::default();
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        for source in value.try_iter()? {
            catalog.add(source_of(name, &source?)?);
        }
    } else {
        catalog.add(source_of(name, value)?);
    }
    Ok(Arc::new(catalog))
}

fn source_of(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Catalog> {
    let py = value.py();
    if value.cast::<PyMapping>().is_ok() {
        return table_of(name, value);
    }
    if !value.is_instance_of::<PyString>() && !value.hasattr(intern!(py, "__fspath__"))? {
        return Err(wrong(
            name,
            value,
            "a dict, \"genai-prices\", the path of a TOML or JSON file, or a list of these,",
        ));
    }
    let load = py.import(intern!(py, "ritellm._catalog"))?.getattr(intern!(py, "load"))?;
    table_of(name, &load.call1((value,))?)
}

fn table_of(name: &str, table: &Bound<'_, PyAny>) -> PyResult<Catalog> {
    let py = table.py();
    let mut json = Vec::new();
    encode::encode(table, &mut json).map_err(|error| unencodable(py, name, error))?;
    let table: serde_json::Value = serde_json::from_slice(&json)
        .map_err(|error| argument(py, format!("{name} holds what is no table of models: {error}")))?;
    // A converted source: no key of a user's table is without a slash.
    let catalog = match table.get("lists") {
        Some(_) => Catalog::of_lists(&table),
        None => Catalog::of_table(&table, |name| lookup(name).map(|provider| provider.row().name)),
    };
    catalog.map_err(|error| exception(py, error))
}
