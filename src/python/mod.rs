//! The Python module: entry points, the asyncio bridge, JSON ↔ objects, streams, errors. No other folder uses pyo3.
//!
//! - [`client`]: the class `Client` and its entry points.
//! - [`arguments`]: keyword arguments of calls and clients.
//! - [`call`]: a call between its caller and the network thread.
//! - [`runtime`]: the network thread, forks, the exit of the interpreter.
//! - [`asyncio`], [`sync`]: how results reach tasks and threads.
//! - [`streams`]: streams and their iterators.
//! - [`json`]: JSON ↔ Python objects.
//!
//! What all of them share stands beside them.

mod adopt;
mod arguments;
mod asyncio;
mod builtin;
mod bulk;
mod bulk_batches;
mod bulk_options;
mod bulk_outcome;
mod call;
mod client;
mod errors;
mod free;
mod gil_cell;
mod hooks;
mod intern;
mod interpreter;
mod json;
mod memory;
mod meta;
mod object;
mod quota_status;
mod record;
mod response_format;
mod router_status;
mod row_queue;
mod runtime;
mod stack;
mod streams;
mod sync;
mod testing;
mod text_reader;
mod values;

use pyo3::prelude::*;

/// Begins the exit. `atexit` runs it after everything that the program registered later.
#[pyfunction]
fn begin_exit(py: Python<'_>) {
    runtime::exit::begin_exit(py);
}

/// The native half of the package `ritellm`.
///
/// Named differently here, since `interpreter` defines the function that Python calls to import the module.
#[pymodule(name = "_native", gil_used = false)]
mod native {
    use pyo3::exceptions::PyTypeError;
    use pyo3::prelude::*;
    use pyo3::types::{PyBytes, PyDict, PyType};

    #[pymodule_export]
    use super::arguments::budget::Budget;
    #[pymodule_export]
    use super::arguments::cache::Cache;
    #[pymodule_export]
    use super::arguments::concealed::{Arguments, conceal};
    #[pymodule_export]
    use super::arguments::limits::{Limit, Limits};
    #[pymodule_export]
    use super::arguments::pickling::credentials_in;
    #[pymodule_export]
    use super::asyncio::waiter::Bridge;
    #[pymodule_export]
    use super::bulk::{BulkJob, BulkResults};
    #[pymodule_export]
    use super::bulk_batches::BulkBatches;
    #[pymodule_export]
    use super::client::Client;
    #[pymodule_export]
    use super::hooks::background::{deliver_hooks, flush_hooks};
    #[pymodule_export]
    use super::hooks::delivery::{HookCall, run_hooks};
    #[pymodule_export]
    use super::hooks::list::{HookHandle, HookList, global_hooks};
    #[pymodule_export]
    use super::hooks::record::Record;
    #[pymodule_export]
    use super::meta::Meta;
    #[pymodule_export]
    use super::object::Object;
    #[pymodule_export]
    use super::response_format::ResponseFormat;
    #[pymodule_export]
    use super::row_queue::RowQueue;
    #[pymodule_export]
    use super::streams::chunk_iterator::ChunkIterator;
    #[pymodule_export]
    use super::streams::stream::Stream;
    #[pymodule_export]
    use super::testing::{MockServer, Relay, enter_detour, enter_offline, leave_detour, redact, rename_offline};

    use super::json::classes::Class;
    use super::json::{accumulate, decode, encode};
    use super::{begin_exit, values};
    use crate::providers as rows;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::interpreter::check_main(module.py())?;
        super::runtime::current::watch_forks();
        super::runtime::thread::watch_panics();
        super::gil_cell::look_for_gil(module.py())?;
        // Classes that are not exported are made here, not at their first use, during which a fork may happen.
        let py = module.py();
        super::asyncio::am_send::fill_slot::<super::streams::next_chunk::NextChunk>(py);
        super::asyncio::am_send::fill_slot::<super::asyncio::waiter::Waiter>(py);
        py.get_type::<super::asyncio::done::Done>();
        super::object::prepare(py)?;
        py.import("atexit")?.call_method1("register", (wrap_pyfunction!(begin_exit, py)?,))?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }

    fn strings<'py>(py: Python<'py>, texts: impl Iterator<Item = &'static str>) -> PyResult<Bound<'py, PyAny>> {
        let list = super::values::list(py)?;
        for text in texts {
            list.append(super::values::string(py, text)?)?;
        }
        Ok(list.into_any())
    }

    /// Returns every provider: its name, documentation, base URL, operations and environment variables.
    #[pyfunction]
    fn providers(py: Python<'_>) -> PyResult<Vec<Bound<'_, PyDict>>> {
        rows::all()
            .map(|provider| {
                let row = provider.row();
                let dict = values::dict(py)?;
                values::set(&dict, "name", row.name)?;
                values::set(&dict, "telemetry_name", rows::telemetry_name(row.name))?;
                values::set(&dict, "docs", row.docs)?;
                values::set(&dict, "base_url", row.base_url)?;
                values::set(&dict, "key_variables", &strings(py, row.key_variables.iter().copied())?)?;
                let roots = row.root_url_variables.iter().map(|(variable, _)| variable);
                let addresses = row.base_url_variables.iter().chain(roots).copied();
                values::set(&dict, "base_url_variables", &strings(py, addresses)?)?;
                let operations = provider.endpoints().iter().map(|(operation, _)| operation.spec().name);
                values::set(&dict, "operations", &strings(py, operations)?)?;
                let key = match row.key {
                    rows::Key::Required => "required",
                    rows::Key::OrCredentials => "or credentials",
                    rows::Key::Optional => "optional",
                };
                values::set(&dict, "key", key)?;
                Ok(dict)
            })
            .collect()
    }

    /// Returns the state of the quotas that the processes of this machine share under a name.
    #[pyfunction]
    #[pyo3(signature = (name, /))]
    fn host_quotas<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyDict>> {
        super::quota_status::host(py, name)
    }

    /// Makes a class of responses use the slots of dicts for reading and freeing.
    #[pyfunction]
    #[pyo3(signature = (class, /))]
    fn act_as_dict(class: &Bound<'_, PyType>) -> PyResult<()> {
        super::object::act_as_dict(class)
    }

    /// Gives every dict below an object the class that it would have in an answer, and the object the `meta` of `source`.
    #[pyfunction]
    fn adopt(object: &Bound<'_, super::object::Object>, source: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        super::adopt::adopt(object)?;
        source.map_or(Ok(()), |source| super::adopt::copy_meta(source, object))
    }

    /// Accumulates a stream's chunks, a list of dicts, into a chat completion.
    #[pyfunction]
    #[pyo3(name = "accumulate")]
    fn accumulate_chunks<'py>(py: Python<'py>, chunks: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let iterator = chunks.try_iter().map_err(|error| match error.is_instance_of::<PyTypeError>(py) {
            true => super::errors::wrong("chunks", chunks, "a list of a stream's chunks"),
            false => error,
        })?;
        accumulate::of_dicts(py, &iterator.collect::<PyResult<Vec<_>>>()?)
    }

    /// Encodes a value as JSON, in UTF-8.
    #[pyfunction]
    fn to_json<'py>(py: Python<'py>, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let mut json = Vec::new();
        encode::encode(value, &mut json).map_err(|error| super::errors::unencodable(py, "the value", error))?;
        PyBytes::new_with(py, json.len(), |bytes| {
            bytes.copy_from_slice(&json);
            Ok(())
        })
    }

    /// Reads a TOML document and returns it as JSON. Raises `ValueError` with the line of an error.
    #[pyfunction]
    #[pyo3(signature = (text, /))]
    fn toml_to_json(text: &str) -> PyResult<String> {
        let json = crate::types::toml::to_json(text).map_err(pyo3::exceptions::PyValueError::new_err)?;
        Ok(json.to_string())
    }

    /// Decodes a JSON text; objects become instances of `Object`. Raises `ValueError` with the position of an error.
    #[pyfunction]
    fn from_json<'py>(py: Python<'py>, json: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        decode::decode(py, json, Class::Object)
    }
}
