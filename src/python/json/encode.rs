//! Python objects → JSON, written straight into the bytes that are sent.

use std::fmt::Write as _;

use pyo3::exceptions::{PyRuntimeError, PyUnicodeEncodeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple};

use super::escapes::STRETCH;
use crate::python::builtin::builtin;
use crate::python::intern::intern;
use crate::python::stack;
use crate::python::values;

/// Number of levels above which a value is refused: it contains itself, or is too deep for any reader.
const DEEPEST: usize = 256;

/// Error for a value that cannot be encoded: its path and the reason.
#[derive(Debug)]
pub(crate) struct Unencodable {
    /// Keys and indexes on the path to the value, innermost first.
    path: Vec<String>,
    /// Reason, beginning with "is" or "holds".
    reason: String,
    /// Exception that Python raised, if any (Ctrl-C, say), which goes to the caller as it is.
    raised: Option<PyErr>,
}

impl Unencodable {
    fn new(reason: impl Into<String>) -> Self {
        Self { path: Vec::new(), reason: reason.into(), raised: None }
    }

    fn at(mut self, step: String) -> Self {
        self.path.push(step);
        self
    }

    /// Returns one sentence about the error, for the argument `name`.
    pub fn describe(&self, name: &str) -> String {
        let path: String = self.path.iter().rev().map(String::as_str).collect();
        format!("{name}{path} {}", self.reason)
    }

    /// Returns the exception that a `__iter__` or `model_dump` of the caller's raised.
    pub fn raised(self) -> Option<PyErr> {
        self.raised
    }
}

impl From<PyErr> for Unencodable {
    fn from(error: PyErr) -> Self {
        Self { path: Vec::new(), reason: format!("cannot be read: {error}"), raised: Some(error) }
    }
}

/// Appends a value's JSON.
///
/// Besides the types of JSON it accepts tuples, subclasses of the built-in types, enums (their value), mappings, and objects
/// with a `model_dump` such as the OpenAI SDK's (without fields that are None), and what [`builtin`] converts.
///
/// # Errors
///
/// The first value that has no form in JSON.
pub(crate) fn encode(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> Result<(), Unencodable> {
    encode_at(value, out, 0)
}

fn encode_at(value: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: usize) -> Result<(), Unencodable> {
    if let Ok(text) = value.cast::<PyString>() {
        return encode_text(text, out);
    }
    if let Ok(dict) = value.cast::<PyDict>() {
        check_depth(depth)?;
        return encode_members(dict, out, depth);
    }
    if let Ok(list) = value.cast::<PyList>() {
        check_depth(depth)?;
        return encode_items(list.iter(), out, depth);
    }
    if value.is_none() {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    if let Ok(flag) = value.cast::<PyBool>() {
        out.extend_from_slice(if flag.is_true() { b"true" } else { b"false" });
        return Ok(());
    }
    if value.is_instance_of::<PyInt>() {
        match value.extract::<i64>() {
            Ok(small) => out.extend_from_slice(itoa::Buffer::new().format(small).as_bytes()),
            Err(_) => out.extend_from_slice(
                value
                    .py()
                    .get_type::<PyInt>()
                    .call_method1(intern!(value.py(), "__repr__"), (value,))?
                    .cast::<PyString>()
                    .map_err(PyErr::from)?
                    .to_str()?
                    .as_bytes(),
            ),
        }
        return Ok(());
    }
    if let Ok(float) = value.cast::<PyFloat>() {
        let float = float.value();
        if !float.is_finite() {
            return Err(Unencodable::new(format!("is {float}, which JSON cannot say: a finite number would be right")));
        }
        serde_json::to_writer(out, &float).expect("a finite number is JSON");
        return Ok(());
    }
    check_depth(depth)?;
    if let Ok(tuple) = value.cast::<PyTuple>() {
        return encode_items(tuple.iter(), out, depth);
    }
    encode_other(value, out, depth)
}

#[cold]
fn encode_other(value: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: usize) -> Result<(), Unencodable> {
    let py = value.py();
    let is_class = value.is_instance_of::<pyo3::types::PyType>();
    if !is_class && let Some(dump) = value.getattr_opt(intern!(py, "model_dump"))? {
        let arguments = values::dict(py)?;
        arguments.set_item(intern!(py, "exclude_none"), true)?;
        arguments.set_item(intern!(py, "mode"), intern!(py, "json"))?;
        return encode_at(&dump.call((), Some(&arguments))?, out, depth + 1);
    }
    if !is_class && value.is_instance(&py.import(intern!(py, "enum"))?.getattr(intern!(py, "Enum"))?)? {
        return encode_at(&value.getattr(intern!(py, "value"))?, out, depth + 1);
    }
    if let Ok(mapping) = value.cast::<PyMapping>() {
        let dict = values::dict(py)?;
        dict.update(mapping)?;
        return encode_members(&dict, out, depth);
    }
    if is_class {
        let name = value.cast::<pyo3::types::PyType>().map_err(PyErr::from)?.name()?;
        return Err(Unencodable::new(format!(
            "is the class {name}, which JSON cannot say: an instance or a dict would be right"
        )));
    }
    // Rows of a job may be read again, so that an iterator is read only where it is an argument.
    match builtin(value, depth == 0)? {
        Ok(value) => encode_at(&value, out, depth + 1),
        Err(reason) => Err(Unencodable::new(reason)),
    }
}

fn encode_members(dict: &Bound<'_, PyDict>, out: &mut Vec<u8>, depth: usize) -> Result<(), Unencodable> {
    out.push(b'{');
    let mut first = true;
    each_member(dict, |name, value| {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        let Ok(name) = name.cast::<PyString>() else {
            return Err(Unencodable::new(format!(
                "holds a key of type {}: a str would be right",
                name.get_type().name()?
            )));
        };
        encode_text(name, out)?;
        out.push(b':');
        encode_at(value, out, depth + 1).map_err(|error| error.at(format!("[{:?}]", name.to_string_lossy())))
    })?;
    out.push(b'}');
    Ok(())
}

/// Calls `take` with each member of a dict.
///
/// # Errors
/// `RuntimeError`, as from a loop in Python, if the dict changes its size meanwhile: a `model_dump` of the caller's, or
/// another thread, may do that, and pyo3's iterator would panic. Errors of `take` end the loop.
pub(crate) fn each_member<'py, E: From<PyErr>>(
    dict: &Bound<'py, PyDict>,
    mut take: impl FnMut(&Bound<'py, PyAny>, &Bound<'py, PyAny>) -> Result<(), E>,
) -> Result<(), E> {
    let length = dict.len();
    let mut members = dict.iter();
    for _ in 0..length {
        if dict.len() != length {
            return Err(PyRuntimeError::new_err("a dict changed its size while it was read").into());
        }
        let Some((name, value)) = members.next() else { break };
        take(&name, &value)?;
    }
    Ok(())
}

fn encode_items<'py>(
    items: impl Iterator<Item = Bound<'py, PyAny>>,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), Unencodable> {
    out.push(b'[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        encode_at(&item, out, depth + 1).map_err(|error| error.at(format!("[{index}]")))?;
    }
    out.push(b']');
    Ok(())
}

fn encode_text(text: &Bound<'_, PyString>, out: &mut Vec<u8>) -> Result<(), Unencodable> {
    let text = text.to_str().map_err(|error| match error.is_instance_of::<PyUnicodeEncodeError>(text.py()) {
        true => {
            Unencodable::new("holds half of a surrogate pair, which UTF-8 cannot say: whole characters would be right")
        }
        false => Unencodable::from(error),
    })?;
    // With room for what commonly follows, so that a large text is not moved for a closing bracket.
    out.reserve(text.len() + 256);
    out.push(b'"');
    push_escaped(text.as_bytes(), out);
    out.push(b'"');
    Ok(())
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn push_escaped(mut text: &[u8], out: &mut Vec<u8>) {
    while !text.is_empty() {
        let plain = plain_prefix(&text[..text.len().min(STRETCH)]);
        out.extend_from_slice(&text[..plain]);
        text = &text[plain..];
        while let Some((&byte, rest)) = text.split_first().filter(|(byte, _)| needs_escape(**byte)) {
            match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                _ => {
                    let mut escape = String::with_capacity(6);
                    write!(escape, "\\u{byte:04x}").expect("a String takes it");
                    out.extend_from_slice(escape.as_bytes());
                }
            }
            text = rest;
        }
    }
}

/// Returns the number of bytes at the beginning that need no escape. Reads whole blocks without a branch, which compiles to
/// vector instructions: images arrive here as megabytes of base64, and most texts are some words.
fn plain_prefix(text: &[u8]) -> usize {
    let plain = plain_blocks::<64>(text);
    let plain = plain + plain_blocks::<16>(&text[plain..]);
    plain + text[plain..].iter().position(|byte| needs_escape(*byte)).unwrap_or(text.len() - plain)
}

/// Returns the number of bytes in the blocks at the beginning that need no escape.
fn plain_blocks<const BLOCK: usize>(text: &[u8]) -> usize {
    let is_plain = |block: &&[u8; BLOCK]| !block.iter().fold(false, |found, byte| found | needs_escape(*byte));
    text.as_chunks::<BLOCK>().0.iter().take_while(is_plain).count() * BLOCK
}

fn check_depth(depth: usize) -> Result<(), Unencodable> {
    if depth >= DEEPEST {
        return Err(Unencodable::new(format!("is nested more than {DEEPEST} deep, or contains itself")));
    }
    if !stack::has_room(depth) {
        return Err(Unencodable::new(format!(
            "is nested {depth} deep, which is too deep for the stack of this thread (threading.stack_size)"
        )));
    }
    Ok(())
}
