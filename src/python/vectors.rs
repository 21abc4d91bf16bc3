//! The vectors of embeddings: lists of floats, one numpy array, or base64 as it was sent.

use super::once::name;
use base64_simd::STANDARD;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyDict, PyFloat, PyInt, PyList};

use super::object::set_slot;

/// How the caller gets vectors.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Lists of numbers.
    List,
    /// The rows of one array.
    Numpy,
    /// Base64, for which the caller asked.
    AsSent,
}

/// A list of Python's numbers, out of base64 of 32-bit floats, little-endian; `None` when it is not that.
pub(super) fn list<'py>(py: Python<'py>, base64: &[u8]) -> PyResult<Option<Bound<'py, PyList>>> {
    let Ok(bytes) = STANDARD.decode_to_vec(base64) else { return Ok(None) };
    let (floats, []) = bytes.as_chunks::<4>() else { return Ok(None) };
    PyList::new(py, floats.iter().map(|float| PyFloat::new(py, f32::from_le_bytes(*float).into()))).map(Some)
}

/// The rows of an array in the making: 32-bit floats, little-endian, one after the other.
#[derive(Default)]
pub(super) struct Rows {
    bytes: Vec<u8>,
    lengths: Vec<usize>,
}

impl Rows {
    /// Makes room for so many bytes.
    pub fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// Adds a row, out of base64; its place, or `None` when it is no base64 of 32-bit floats.
    pub fn push_base64(&mut self, base64: &[u8]) -> Option<usize> {
        let before = self.bytes.len();
        let decoded = STANDARD.decode_append(base64, &mut self.bytes);
        let added = self.bytes.len() - before;
        if decoded.is_err() || !added.is_multiple_of(4) {
            self.bytes.truncate(before);
            return None;
        }
        self.lengths.push(added / 4);
        Some(self.lengths.len() - 1)
    }

    /// Adds a row; its place.
    pub fn push(&mut self, row: &[u8]) -> usize {
        self.bytes.extend_from_slice(row);
        self.lengths.push(row.len() / 4);
        self.lengths.len() - 1
    }

    /// Puts one array of all the rows into the response, and each of them where its place stands.
    pub fn put_into(self, response: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = response.py();
        let width = self.lengths.first().copied().unwrap_or(0);
        if self.lengths.iter().any(|length| *length != width) {
            return Err(PyValueError::new_err("vectors of different lengths make no array"));
        }
        let numpy = py.import(name!(py, "numpy"))?;
        let buffer = PyByteArray::new(py, &self.bytes);
        let array = numpy.call_method1(name!(py, "frombuffer"), (buffer, name!(py, "<f4")))?;
        let array = array.call_method1(name!(py, "reshape"), (self.lengths.len(), width))?;
        let data = response.cast::<PyDict>()?.get_item(name!(py, "data"))?;
        for embedding in data.iter().flat_map(|data| data.try_iter()).flatten() {
            let embedding = embedding?.cast_into::<PyDict>()?;
            let place = embedding.get_item(name!(py, "embedding"))?;
            if let Some(place) = place.filter(|place| place.is_exact_instance_of::<PyInt>()) {
                embedding.set_item(name!(py, "embedding"), array.get_item(place)?)?;
            }
        }
        set_slot(response, name!(py, "_array"), &array)
    }
}
