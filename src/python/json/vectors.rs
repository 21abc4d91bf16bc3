//! The vectors of embeddings: lists of floats, one numpy array, or base64 as it was sent.

use std::collections::VecDeque;
use std::mem::MaybeUninit;

use base64_simd::{AsOut, STANDARD};
use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyDict, PyInt, PyList};

use crate::python::gil_cell::GilCell;
use crate::python::intern::intern;
use crate::python::object::set_slot;
use crate::python::values;

/// Form in which the caller gets vectors.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Lists of numbers.
    List,
    /// Rows of one numpy array.
    Numpy,
    /// Base64 as it was sent, for callers who asked for it.
    AsSent,
}

/// Decodes base64 of 32-bit floats, little-endian, to a list of numbers. Returns `None` for anything else.
///
/// # Errors
///
/// `MemoryError`.
pub(crate) fn list<'py>(py: Python<'py>, base64: &[u8]) -> PyResult<Option<Bound<'py, PyList>>> {
    let Ok(bytes) = STANDARD.decode_to_vec(base64) else { return Ok(None) };
    let (floats, []) = bytes.as_chunks::<4>() else { return Ok(None) };
    let list = values::list_of(py, floats.iter().map(|float| values::float(py, f32::from_le_bytes(*float).into())))?;
    if let Ok(first) = list.get_item(0) {
        ANCHORS.lock(py).note(floats.len(), first);
    }
    Ok(Some(list))
}

/// Floats that keep Python's memory from being returned to the system: some of the last ones, one in each megabyte.
///
/// Python returns a megabyte to the system as soon as no object lives in it, and takes a new one for the next answer. To
/// fetch its pages and to clear them costs more than to decode the vectors. Where one float stays, the megabyte stays.
static ANCHORS: GilCell<Anchors> = GilCell::new(Anchors { floats: VecDeque::new(), since: 0 });

struct Anchors {
    floats: VecDeque<Py<PyAny>>,
    /// Number of floats that were made since the last anchor.
    since: usize,
}

impl Anchors {
    /// Number of floats between two anchors: somewhat less than a megabyte, of 24 bytes each.
    const APART: usize = 32 * 1024;
    /// Largest number of megabytes that stay with the process.
    const MOST: usize = 16;

    /// Notes that `count` floats were made, `one` among them.
    fn note(&mut self, count: usize, one: Bound<'_, PyAny>) {
        self.since += count;
        if self.since < Self::APART {
            return;
        }
        self.since = 0;
        if self.floats.len() == Self::MOST {
            self.floats.pop_front();
        }
        self.floats.push_back(one.unbind());
    }
}

/// Rows of an array in the making: 32-bit floats, little-endian, one after the other, in memory that numpy will share.
#[derive(Default)]
pub(crate) struct Rows {
    bytes: Option<Py<PyByteArray>>,
    filled: usize,
    lengths: Vec<usize>,
}

impl Rows {
    /// Makes room for `room` more bytes.
    ///
    /// # Errors
    ///
    /// `MemoryError`; likewise for the functions below.
    pub fn reserve(&mut self, py: Python<'_>, room: usize) -> PyResult<()> {
        let size = self.filled + room;
        match &self.bytes {
            Some(bytes) if bytes.bind(py).len() >= size => Ok(()),
            Some(bytes) => bytes.bind(py).resize(size.max(self.filled * 2)),
            None => {
                // SAFETY: without a source it is a new array whose contents are not yet anything, or null.
                let bytes = unsafe {
                    let bytes = ffi::PyByteArray_FromStringAndSize(std::ptr::null(), size as ffi::Py_ssize_t);
                    Bound::from_owned_ptr_or_err(py, bytes)?.cast_into_unchecked::<PyByteArray>()
                };
                self.bytes = Some(bytes.unbind());
                Ok(())
            }
        }
    }

    /// Adds a row of base64. Returns its index, or `None` if it is no base64 of 32-bit floats.
    pub fn push_base64(&mut self, py: Python<'_>, base64: &[u8]) -> PyResult<Option<usize>> {
        let Ok(length) = STANDARD.decoded_length(base64) else { return Ok(None) };
        let spare = self.spare(py, length)?;
        let is_row = STANDARD.decode(base64, spare.as_out()).is_ok() && length.is_multiple_of(4);
        Ok(is_row.then(|| self.keep(length)))
    }

    /// Adds a row. Returns its index.
    pub fn push(&mut self, py: Python<'_>, row: &[u8]) -> PyResult<usize> {
        for (spare, byte) in self.spare(py, row.len())?.iter_mut().zip(row) {
            spare.write(*byte);
        }
        Ok(self.keep(row.len()))
    }

    /// Returns the memory for the next `length` bytes.
    fn spare(&mut self, py: Python<'_>, length: usize) -> PyResult<&mut [MaybeUninit<u8>]> {
        self.reserve(py, length)?;
        let bytes = self.bytes.as_ref().expect("there is room");
        // SAFETY: the array is not shared yet; it has at least `length` bytes behind those that are filled, and
        // keeps them where they are until the next `reserve`, which needs this borrow to be over.
        unsafe { Ok(std::slice::from_raw_parts_mut(bytes.bind(py).data().add(self.filled).cast(), length)) }
    }

    /// Counts the bytes that were written as a row. Returns its index.
    fn keep(&mut self, length: usize) -> usize {
        self.filled += length;
        self.lengths.push(length / 4);
        self.lengths.len() - 1
    }

    /// Makes one array of all the rows, and puts each row in the place of its index in the response.
    ///
    /// # Errors
    ///
    /// `ValueError` if the rows differ in length, and the exceptions of numpy.
    pub fn put_into(mut self, response: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = response.py();
        let width = self.lengths.first().copied().unwrap_or(0);
        if self.lengths.iter().any(|length| *length != width) {
            return Err(PyValueError::new_err("vectors of different lengths make no array"));
        }
        let numpy = py.import(intern!(py, "numpy"))?;
        self.reserve(py, 0)?;
        let bytes = self.bytes.as_ref().expect("there is room").bind(py);
        bytes.resize(self.filled)?;
        let array = numpy.call_method1(intern!(py, "frombuffer"), (bytes, intern!(py, "<f4")))?;
        let array = array.call_method1(intern!(py, "reshape"), (self.lengths.len(), width))?;
        let data = response.cast::<PyDict>()?.get_item(intern!(py, "data"))?;
        for embedding in data.iter().flat_map(|data| data.try_iter()).flatten() {
            let embedding = embedding?.cast_into::<PyDict>()?;
            let index = embedding.get_item(intern!(py, "embedding"))?;
            if let Some(index) = index.filter(|index| index.is_exact_instance_of::<PyInt>()) {
                embedding.set_item(intern!(py, "embedding"), array.get_item(index)?)?;
            }
        }
        set_slot(response, intern!(py, "_array"), &array)
    }
}
