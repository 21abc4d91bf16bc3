//! JSON → Python objects, straight from the bytes.
//!
//! Objects become instances of the package's dict classes, chosen by the name they stand under; names are interned. Accepts
//! what Python's own `json` accepts: lone surrogates, `NaN`, numbers of any size. Bytes that are not UTF-8 become replacement
//! characters.

use memchr::{memchr, memchr2};
use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyNone, PyString, PyTuple};

use super::classes::{Class, Kind, classes, new_object};
use super::escapes::{self, unescaped};
use super::floats::short_float;
use super::names::{Names, intern_name};
use super::vectors::{self, Form, Rows};
use crate::python::gil_cell::GilCell;
use crate::python::runtime::exit;
use crate::python::stack;
use crate::python::values;

/// Default number of levels of nesting above which JSON is refused.
pub(crate) const DEEP: usize = 256;

/// Largest number of levels that may be allowed, since each level takes stack.
pub(crate) const DEEPEST: usize = 512;

/// Decodes a JSON text.
///
/// # Errors
///
/// `ValueError` with the position at which the text is not JSON.
pub(crate) fn decode<'py>(py: Python<'py>, json: &[u8], class: Class) -> PyResult<Bound<'py, PyAny>> {
    decode_with(py, json, class, Form::List, DEEPEST)
}

/// Decodes a JSON text, the vectors of an `EmbeddingResponse` in the form `vectors`.
///
/// # Errors
///
/// `ValueError` with the position at which the text is not JSON, or for more than `deepest` levels.
pub(crate) fn decode_with<'py>(
    py: Python<'py>,
    json: &[u8],
    class: Class,
    vectors: Form,
    deepest: usize,
) -> PyResult<Bound<'py, PyAny>> {
    static NAMES: GilCell<Names> = GilCell::new(Names::new());
    // Another thread, or a finaliser that runs in the middle of this, does without the cache.
    let mut names = NAMES.try_lock(py);
    let mut decoder = Decoder {
        py,
        json,
        at: 0,
        names: names.as_deref_mut(),
        classes: classes(py)?,
        empty: PyTuple::empty(py),
        vectors,
        deepest,
        rows: Rows::default(),
        escapes: escapes::EscapeIndexes::new(),
        left: YIELD_INTERVAL,
    };
    let value = decoder.value(class, 0)?;
    decoder.space();
    if decoder.at < json.len() {
        return Err(decoder.wrong("the end"));
    }
    if vectors == Form::Numpy {
        let rows = std::mem::take(&mut decoder.rows);
        // Imports run Python code, which may use the cache.
        drop(names);
        rows.put_into(&value)?;
    }
    Ok(value)
}

/// Decodes the JSON string that begins with the quote at `at`. Returns it with the position behind its closing quote.
///
/// # Errors
///
/// `ValueError` with the position at which the text is not JSON.
pub(crate) fn string_at<'py>(py: Python<'py>, json: &[u8], at: usize) -> PyResult<(Bound<'py, PyString>, usize)> {
    let mut decoder = Decoder {
        py,
        json,
        at,
        names: None,
        classes: &[],
        empty: PyTuple::empty(py),
        vectors: Form::List,
        deepest: DEEPEST,
        rows: Rows::default(),
        escapes: escapes::EscapeIndexes::new(),
        left: YIELD_INTERVAL,
    };
    Ok((decoder.string()?, decoder.at))
}

/// Appends text, with replacement characters for bytes that are not UTF-8.
fn push_utf8(text: &[u8], out: &mut Vec<u8>) {
    match text.is_ascii() || std::str::from_utf8(text).is_ok() {
        true => out.extend_from_slice(text),
        false => out.extend_from_slice(String::from_utf8_lossy(text).as_bytes()),
    }
}

/// State of the decoding of one text.
struct Decoder<'a, 'py> {
    py: Python<'py>,
    json: &'a [u8],
    /// Position of the next byte.
    at: usize,
    /// `None` while another decoder uses the cache.
    names: Option<&'a mut Names>,
    classes: &'static [Kind],
    empty: Bound<'py, PyTuple>,
    vectors: Form,
    /// Number of levels of nesting that are allowed.
    deepest: usize,
    /// The vectors so far, for [`Form::Numpy`]; their indexes stand in for them in the objects.
    rows: Rows,
    /// Positions of the escapes in the current string.
    escapes: escapes::EscapeIndexes,
    /// Number of values left until the GIL is released for a moment.
    left: u32,
}

/// Number of values between two releases of the GIL: a millisecond or two. Python's own code releases it after five.
const YIELD_INTERVAL: u32 = 16 << 10;

impl<'py> Decoder<'_, 'py> {
    fn value(&mut self, class: Class, depth: usize) -> PyResult<Bound<'py, PyAny>> {
        self.space();
        self.left -= 1;
        if self.left == 0 {
            self.yield_gil();
        }
        match self.peek() {
            _ if class == Class::Vector => self.vector(depth),
            Some(b'"') => Ok(self.string()?.into_any()),
            Some(b'{') => self.object(class, depth),
            Some(b'[') => self.list(class, depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true", PyBool::new(self.py, true).to_owned().into_any()),
            Some(b'f') => self.literal("false", PyBool::new(self.py, false).to_owned().into_any()),
            Some(b'n') => self.literal("null", PyNone::get(self.py).to_owned().into_any()),
            Some(b'N') => self.literal("NaN", values::float(self.py, f64::NAN)?),
            Some(b'I') => self.literal("Infinity", values::float(self.py, f64::INFINITY)?),
            _ => Err(self.wrong("a value")),
        }
    }

    /// Releases the GIL for a moment. Kept out of line: its lookups would otherwise be made for each value.
    #[cold]
    #[inline(never)]
    fn yield_gil(&mut self) {
        self.left = YIELD_INTERVAL;
        exit::yield_gil(self.py);
    }

    fn object(&mut self, class: Class, depth: usize) -> PyResult<Bound<'py, PyAny>> {
        self.check_depth(depth)?;
        let object = new_object(&self.classes[class as usize], &self.empty)?;
        self.at += 1;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(object);
        }
        loop {
            let (name, named) = self.name()?;
            self.space();
            self.expect(b':')?;
            let value = self.value(named.within(class), depth + 1)?;
            // SAFETY: `object` is an instance of a subclass of dict, made by `new_object`; the three are live references.
            if unsafe { ffi::PyDict_SetItem(object.as_ptr(), name.as_ptr(), value.as_ptr()) } != 0 {
                return Err(PyErr::fetch(self.py));
            }
            self.space();
            match self.next() {
                Some(b',') => self.space(),
                Some(b'}') => return Ok(object),
                _ => return Err(self.wrong_before("a comma or }")),
            }
        }
    }

    fn name(&mut self) -> PyResult<(Bound<'py, PyString>, Class)> {
        if self.peek() != Some(b'"') {
            return Err(self.wrong("a name"));
        }
        let start = self.at + 1;
        let window = &self.json[start..self.json.len().min(start + Names::LONGEST)];
        if let Some(length) = memchr2(b'"', b'\\', window)
            && window[length] == b'"'
        {
            let text = &window[..length];
            let name = match &mut self.names {
                Some(names) => names.get(self.py, text),
                None => intern_name(self.py, text),
            };
            if let Some(name) = name {
                self.at = start + length + 1;
                return Ok(name);
            }
        }
        Ok((self.string()?, Class::Object))
    }

    fn list(&mut self, class: Class, depth: usize) -> PyResult<Bound<'py, PyAny>> {
        self.check_depth(depth)?;
        let list = values::list(self.py)?;
        self.at += 1;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(list.into_any());
        }
        loop {
            list.append(self.value(class, depth + 1)?)?;
            self.space();
            match self.next() {
                Some(b',') => {}
                Some(b']') => return Ok(list.into_any()),
                _ => return Err(self.wrong_before("a comma or ]")),
            }
        }
    }

    /// Decodes the value under `embedding`: numbers, base64 of 32-bit floats, or something else, which is decoded as usual.
    fn vector(&mut self, depth: usize) -> PyResult<Bound<'py, PyAny>> {
        let vector = match (self.peek(), self.vectors) {
            (Some(b'"'), Form::List | Form::Numpy) => {
                let start = self.at + 1;
                // Base64 has no escapes. A string with some is found to be no base64.
                let length = memchr(b'"', &self.json[start..]).unwrap_or(0);
                let base64 = &self.json[start..start + length];
                let vector = match self.vectors {
                    Form::Numpy => {
                        // At most, all the rest of the text.
                        self.rows.reserve(self.py, (self.json.len() - start) / 4 * 3)?;
                        let index = self.rows.push_base64(self.py, base64)?;
                        index.map(|index| values::int(self.py, index as i64)).transpose()?
                    }
                    _ => vectors::list(self.py, base64)?.map(Bound::into_any),
                };
                vector.inspect(|_| self.at = start + length + 1)
            }
            (Some(b'['), Form::Numpy) => match self.floats()? {
                Some(floats) => Some(values::int(self.py, self.rows.push(self.py, &floats)? as i64)?),
                None => None,
            },
            _ => None,
        };
        vector.map_or_else(|| self.value(Class::Object, depth), Ok)
    }

    /// Reads a list of numbers as 32-bit floats. Returns `None`, and reads nothing, if there is something else in it.
    fn floats(&mut self) -> PyResult<Option<Vec<u8>>> {
        let start = self.at + 1;
        let Some(end) = memchr(b']', &self.json[start..]).map(|found| start + found) else {
            return Err(self.wrong("the end of this list"));
        };
        let text = std::str::from_utf8(&self.json[start..end]).unwrap_or("?");
        let mut floats = Vec::with_capacity(text.len() / 2);
        for number in text.split(',') {
            let Ok(number) = number.trim_ascii().parse::<f32>() else { return Ok(None) };
            floats.extend_from_slice(&number.to_le_bytes());
        }
        self.at = end + 1;
        Ok(Some(floats))
    }

    fn string(&mut self) -> PyResult<Bound<'py, PyString>> {
        let start = self.at + 1;
        let Some(end) = memchr2(b'"', b'\\', &self.json[start..]).map(|found| start + found) else {
            return Err(self.wrong("the end of this string"));
        };
        if self.json[end] == b'"' {
            self.at = end + 1;
            return self.text(&self.json[start..end], c"replace");
        }
        if let Some((text, end)) = self.simply_escaped(start, end)? {
            self.at = end;
            return Ok(text);
        }
        let mut text = Vec::with_capacity((end - start) * 2 + 64);
        push_utf8(&self.json[start..end], &mut text);
        self.at = end;
        let mut lone_surrogates = false;
        loop {
            match self.next() {
                Some(b'"') => break,
                Some(b'\\') => lone_surrogates |= self.escape(&mut text)?,
                _ => return Err(self.wrong_before("the end of this string")),
            }
            let rest = &self.json[self.at..];
            let Some(plain) = memchr2(b'"', b'\\', rest) else { return Err(self.wrong("the end of this string")) };
            push_utf8(&rest[..plain], &mut text);
            self.at += plain;
            if self.json[self.at] == b'"' {
                self.at += 1;
                break;
            }
        }
        self.text(&text, if lone_surrogates { c"surrogatepass" } else { c"replace" })
    }

    /// Decodes a string of ASCII whose escapes are all of one letter; `escape` is the position of the first. Returns it with
    /// the position behind its closing quote, or `None` for any other string.
    fn simply_escaped(&mut self, start: usize, escape: usize) -> PyResult<Option<(Bound<'py, PyString>, usize)>> {
        if !self.json[start..escape].is_ascii() {
            return Ok(None);
        }
        let Some(end) = escapes::find(self.json, escape, &mut self.escapes) else { return Ok(None) };
        let raw = &self.json[start..end];
        let length = raw.len() - self.escapes.len();
        // Python has the strings of one character already.
        if length < 2 {
            return Ok(None);
        }
        let (text, bytes) = self.blank(length)?;
        // SAFETY: `bytes` has just that length, and the escapes were found in this text.
        unsafe { escapes::write(raw, start, &self.escapes, bytes) };
        Ok(Some((text, end + 1)))
    }

    /// Makes a str of UTF-8, with Python's error handler `errors` for bytes that are not.
    fn text(&self, utf8: &[u8], errors: &std::ffi::CStr) -> PyResult<Bound<'py, PyString>> {
        // Python has the empty string and those of one character already.
        if utf8.len() > 1 && utf8.is_ascii() {
            return self.ascii(utf8);
        }
        // SAFETY: pointer and length are one slice's, `errors` ends in NUL; a new reference to a str or null comes back.
        unsafe {
            let text = ffi::PyUnicode_DecodeUTF8(utf8.as_ptr().cast(), utf8.len() as ffi::Py_ssize_t, errors.as_ptr());
            Ok(Bound::from_owned_ptr_or_err(self.py, text)?.cast_into_unchecked())
        }
    }

    /// Makes a str of ASCII, without the checks for wider characters.
    fn ascii(&self, text: &[u8]) -> PyResult<Bound<'py, PyString>> {
        let (new, bytes) = self.blank(text.len())?;
        // SAFETY: `bytes` is as long as the text, and not shared.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), bytes, text.len()) };
        Ok(new)
    }

    /// Makes a str of `length` ASCII characters, which the caller has to write to the pointer that comes with it.
    fn blank(&self, length: usize) -> PyResult<(Bound<'py, PyString>, *mut u8)> {
        // SAFETY: a new str whose largest character is 127 has one byte for each, behind its head; it is not shared yet.
        unsafe {
            let new = ffi::PyUnicode_New(length as ffi::Py_ssize_t, 127);
            let new = Bound::from_owned_ptr_or_err(self.py, new)?;
            let bytes = ffi::PyUnicode_DATA(new.as_ptr()).cast();
            Ok((new.cast_into_unchecked(), bytes))
        }
    }

    /// Decodes what follows a backslash. Returns true for half a surrogate pair, which is written as its three bytes.
    fn escape(&mut self, text: &mut Vec<u8>) -> PyResult<bool> {
        match self.next() {
            Some(b'u') => {
                let mut unit = self.hex4()?;
                if (0xD800..0xDC00).contains(&unit) && self.json[self.at..].starts_with(b"\\u") {
                    let back = self.at;
                    self.at += 2;
                    match self.hex4()? {
                        low @ 0xDC00..0xE000 => unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00),
                        _ => self.at = back,
                    }
                }
                match char::from_u32(unit) {
                    Some(character) => text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
                    None => {
                        text.extend_from_slice(&[0xED, 0x80 | (unit >> 6 & 0x3F) as u8, 0x80 | (unit & 0x3F) as u8])
                    }
                }
                Ok(char::from_u32(unit).is_none())
            }
            letter => match letter.and_then(unescaped) {
                Some(plain) => {
                    text.push(plain);
                    Ok(false)
                }
                None => Err(self.wrong_before("an escape")),
            },
        }
    }

    /// Reads four hexadecimal digits.
    fn hex4(&mut self) -> PyResult<u32> {
        let digits = self.json.get(self.at..self.at + 4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let value = digits.and_then(|digits| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        let value = value.ok_or_else(|| self.wrong("four hex digits"))?;
        self.at += 4;
        Ok(value)
    }

    fn number(&mut self) -> PyResult<Bound<'py, PyAny>> {
        let start = self.at;
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        if self.peek() == Some(b'I') {
            return self.literal("Infinity", values::float(self.py, f64::NEG_INFINITY)?);
        }
        let digits = self.at;
        let mut value: i64 = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            value = value.wrapping_mul(10).wrapping_add(i64::from(digit - b'0'));
            self.at += 1;
        }
        let count = self.at - digits;
        if count == 0 || (count > 1 && self.json[digits] == b'0') {
            self.at = digits;
            return Err(self.wrong("a number"));
        }
        if !matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            if count <= 18 {
                return values::int(self.py, if negative { -value } else { value });
            }
            let text = std::str::from_utf8(&self.json[start..self.at]).expect("digits");
            return values::large_int(self.py, text);
        }
        if self.peek() == Some(b'.') && !self.json.get(self.at + 1).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
            return Err(self.wrong("a digit"));
        }
        if let Some((short, end)) = short_float(&self.json[self.at..], value, count) {
            self.at += end;
            return values::float(self.py, if negative { -short } else { short });
        }
        while matches!(self.peek(), Some(b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) {
            self.at += 1;
        }
        let text = std::str::from_utf8(&self.json[start..self.at]).expect("digits");
        let value = text
            .parse()
            .map_err(|_| PyValueError::new_err(format!("no JSON: {text} at byte {start} is not a number")))?;
        values::float(self.py, value)
    }

    /// Reads `word`, which stands for `value`.
    fn literal(&mut self, word: &str, value: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        if !self.json[self.at..].starts_with(word.as_bytes()) {
            return Err(self.wrong("a value"));
        }
        self.at += word.len();
        Ok(value)
    }

    /// Skips white space.
    #[inline]
    fn space(&mut self) {
        // Most texts have none.
        if self.peek().is_some_and(|byte| byte <= b' ') {
            let rest = &self.json[self.at..];
            let space = rest.iter().position(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'));
            self.at += space.unwrap_or(rest.len());
        }
    }

    fn peek(&self) -> Option<u8> {
        self.json.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek();
        self.at += 1;
        byte
    }

    fn expect(&mut self, byte: u8) -> PyResult<()> {
        match self.next() {
            Some(found) if found == byte => Ok(()),
            _ => Err(self.wrong_before("a colon")),
        }
    }

    fn check_depth(&self, depth: usize) -> PyResult<()> {
        if depth < stack::SHALLOW && depth < self.deepest { Ok(()) } else { self.check_deep(depth) }
    }

    #[cold]
    #[inline(never)]
    fn check_deep(&self, depth: usize) -> PyResult<()> {
        if depth >= self.deepest {
            return Err(PyValueError::new_err(format!("JSON nested more than {} deep (max_nesting)", self.deepest)));
        }
        if !stack::has_room(depth) {
            return Err(PyValueError::new_err(format!(
                "JSON nested {depth} deep, which is too deep for the stack of this thread (threading.stack_size)"
            )));
        }
        Ok(())
    }

    /// Makes the error for the byte that was read last.
    fn wrong_before(&mut self, wanted: &str) -> PyErr {
        self.at -= 1;
        self.wrong(wanted)
    }

    /// Makes the error for the next byte.
    #[cold]
    fn wrong(&self, wanted: &str) -> PyErr {
        let message = match self.json.get(self.at) {
            Some(byte) => format!("no JSON: {wanted} was expected at byte {}, not {:?}", self.at, char::from(*byte)),
            None => format!("no JSON: it ends at byte {} where {wanted} was expected", self.json.len()),
        };
        values::string(self.py, &message).map_or_else(|error| error, |message| PyValueError::new_err(message.unbind()))
    }
}
