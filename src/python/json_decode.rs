//! JSON → Python objects, straight from the bytes.
//!
//! Objects become the package's dict classes, chosen by the name they stand under; names are interned. What Python's
//! own `json` takes is taken: lone surrogates, `NaN`, numbers of any size. Text that is not UTF-8 gets replacement marks.

use std::sync::OnceLock;

use super::escapes::{self, unescaped};
use super::free;
use super::gil_cell::GilCell;
use super::intern::{get_or_make, intern};
use super::object::Object;
use super::runtime;
use super::stack;
use memchr::{memchr, memchr2};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyNone, PyString, PyTuple, PyType};

use super::values;
use super::vectors::{self, Form, Rows};
use crate::types::operation::{Operation, Output};

/// Deeper nesting than this is refused by default.
pub(super) const DEEP: usize = 256;

/// The deepest nesting that may be allowed, since each level takes stack.
pub(super) const DEEPEST: usize = 512;

/// The class an object gets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Object,
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    Message,
    Delta,
    Usage,
    ToolCall,
    Function,
    EmbeddingResponse,
    Embedding,
    Response,
    ResponseEvent,
    RerankResponse,
    RerankResult,
    FileObject,
    FileDeleted,
    FilePage,
    Batch,
    BatchPage,
    /// No class: the vector of an embedding.
    Vector,
}

/// Their names, in the order above.
const CLASSES: &[&str] = &[
    "Object",
    "ChatCompletion",
    "ChatCompletionChunk",
    "Choice",
    "Message",
    "Delta",
    "Usage",
    "ToolCall",
    "Function",
    "EmbeddingResponse",
    "Embedding",
    "Response",
    "ResponseEvent",
    "RerankResponse",
    "RerankResult",
    "FileObject",
    "FileDeleted",
    "FilePage",
    "Batch",
    "BatchPage",
];

impl Class {
    /// Those that are classes, in the order of their names.
    pub const ALL: &[Self] = &[
        Self::Object,
        Self::ChatCompletion,
        Self::ChatCompletionChunk,
        Self::Choice,
        Self::Message,
        Self::Delta,
        Self::Usage,
        Self::ToolCall,
        Self::Function,
        Self::EmbeddingResponse,
        Self::Embedding,
        Self::Response,
        Self::ResponseEvent,
        Self::RerankResponse,
        Self::RerankResult,
        Self::FileObject,
        Self::FileDeleted,
        Self::FilePage,
        Self::Batch,
        Self::BatchPage,
    ];

    /// The class of the object, or of the objects in the list, that stands under this name.
    pub fn under(name: &str) -> Self {
        match name {
            "choices" => Self::Choice,
            "message" => Self::Message,
            "delta" => Self::Delta,
            "usage" => Self::Usage,
            "tool_calls" => Self::ToolCall,
            "function" | "function_call" => Self::Function,
            "data" => Self::Embedding,
            "embedding" => Self::Vector,
            "response" => Self::Response,
            "results" => Self::RerankResult,
            _ => Self::Object,
        }
    }

    /// The same for a member of a `parent`: some names mean something in one place only.
    pub fn within(self, parent: Self) -> Self {
        match (self, parent) {
            (Self::Embedding, Self::EmbeddingResponse)
            | (Self::Vector, Self::Embedding)
            | (Self::Response, Self::ResponseEvent)
            | (Self::RerankResult, Self::RerankResponse) => self,
            (Self::Embedding, Self::FilePage) => Self::FileObject,
            (Self::Embedding, Self::BatchPage) => Self::Batch,
            (Self::Embedding | Self::Vector | Self::Response | Self::RerankResult, _) => Self::Object,
            _ => self,
        }
    }

    /// The class of an operation's answer.
    pub fn of_answer(operation: Operation) -> Self {
        match operation.spec().output {
            Output::ChatCompletion => Self::ChatCompletion,
            Output::EmbeddingResponse => Self::EmbeddingResponse,
            Output::Response => Self::Response,
            Output::RerankResponse => Self::RerankResponse,
            Output::FileObject => Self::FileObject,
            Output::FileDeleted => Self::FileDeleted,
            Output::FilePage => Self::FilePage,
            Output::Batch => Self::Batch,
            Output::BatchPage => Self::BatchPage,
            Output::Object | Output::Binary => Self::Object,
        }
    }
}

/// Python's classes, looked up once.
struct Classes {
    /// The interpreter whose they are.
    interpreter: usize,
    /// In the order of [`Class`].
    types: Vec<Kind>,
}

/// A class of the package that objects are made of.
pub(super) struct Kind {
    pub class: Py<PyType>,
    /// Its instances hold nothing but their members.
    only_members: bool,
}

fn interpreter() -> usize {
    // SAFETY: whoever can ask is attached; the address is only compared.
    unsafe { ffi::PyInterpreterState_Get() as usize }
}

pub(super) fn classes(py: Python<'_>) -> PyResult<&'static [Kind]> {
    static FOUND: OnceLock<Classes> = OnceLock::new();
    let found = get_or_make(&FOUND, || {
        let module = py.import(intern!(py, "ritellm.types"))?;
        let find = |name: &&str| {
            let class = module.getattr(*name)?;
            // What `new_object` relies on: a program may have put something else there.
            let class =
                class.cast_into::<PyType>().ok().filter(|class| class.is_subclass_of::<Object>().unwrap_or(false));
            let class = class.ok_or_else(|| {
                PyTypeError::new_err(format!("ritellm.types.{name} has been replaced by what is no subclass of Object"))
            })?;
            Ok(Kind { only_members: free::holds_only_members(&class), class: class.unbind() })
        };
        Ok(Classes { interpreter: interpreter(), types: CLASSES.iter().map(find).collect::<PyResult<_>>()? })
    })?;
    if found.interpreter != interpreter() {
        return Err(PyRuntimeError::new_err("ritellm was imported by another interpreter of this process"));
    }
    Ok(&found.types)
}

/// Decodes a JSON text. `ValueError` says where it is none.
pub(super) fn decode<'py>(py: Python<'py>, json: &[u8], class: Class) -> PyResult<Bound<'py, PyAny>> {
    decode_with(py, json, class, Form::List, DEEPEST)
}

/// The same; the vectors of an `EmbeddingResponse` come out in this form, and more than `deepest` levels are refused.
pub(super) fn decode_with<'py>(
    py: Python<'py>,
    json: &[u8],
    class: Class,
    vectors: Form,
    deepest: usize,
) -> PyResult<Bound<'py, PyAny>> {
    static NAMES: GilCell<Names> = GilCell::new(Names::new());
    // Another thread, or a finaliser that runs in the midst of this, goes without the cache.
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
        left: TURN,
    };
    let value = decoder.value(class, 0)?;
    decoder.space();
    if decoder.at < json.len() {
        return Err(decoder.wrong("the end"));
    }
    if vectors == Form::Numpy {
        let rows = std::mem::take(&mut decoder.rows);
        // Imports run Python code, which may want the cache.
        drop(names);
        rows.put_into(&value)?;
    }
    Ok(value)
}

/// Decodes the JSON string that begins with the quote at `at`; the string, and where it ends, behind its closing quote.
pub(super) fn string_at<'py>(py: Python<'py>, json: &[u8], at: usize) -> PyResult<(Bound<'py, PyString>, usize)> {
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
        left: TURN,
    };
    Ok((decoder.string()?, decoder.at))
}

/// A copy of one of our dicts, one level deep, of the same class.
pub(super) fn copy<'py>(dict: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyDict>> {
    // SAFETY: the dict's class is one of those that `new_object` may make; both are live references to dicts.
    unsafe {
        let new = ffi::PyDict_Type.tp_new.expect("dict can be made");
        let empty = PyTuple::empty(dict.py());
        let copy = new(ffi::Py_TYPE(dict.as_ptr()), empty.as_ptr(), std::ptr::null_mut());
        let copy = Bound::from_owned_ptr_or_err(dict.py(), copy)?.cast_into_unchecked::<PyDict>();
        match ffi::PyDict_Update(copy.as_ptr(), dict.as_ptr()) {
            0 => Ok(copy),
            _ => Err(PyErr::fetch(dict.py())),
        }
    }
}

/// An empty instance of one of the package's dict classes: what `cls()` gives, without the call.
fn new_object<'py>(kind: &Kind, empty: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
    let class = kind.class.bind(empty.py());
    // SAFETY: the classes are subclasses of `Object`, as `classes` has checked, whose instances need nothing but what dict's
    // own `tp_new` does (their slots may be empty), so it may be called with them, no arguments and no keywords; it returns
    // a new reference or null.
    unsafe {
        let new = ffi::PyDict_Type.tp_new.expect("dict can be made");
        let object =
            Bound::from_owned_ptr_or_err(empty.py(), new(class.as_type_ptr(), empty.as_ptr(), std::ptr::null_mut()))?;
        leave_to_dict(kind, &object);
        Ok(object)
    }
}

/// Takes a new object out of the garbage collector's sight until it holds something that may be part of a cycle.
///
/// CPython up to 3.13 does so with plain dicts, and not with those of a subclass: 3 million small objects took 7 times as
/// long as `json.loads` took on 3.11, nearly all of it in the collector. `PyDict_SetItem` brings a dict back when it has
/// to, of whichever class. An object that holds more than its members stays in sight.
#[inline]
fn leave_to_dict(kind: &Kind, object: &Bound<'_, PyAny>) {
    #[cfg(not(Py_3_14))]
    if kind.only_members {
        // SAFETY: a live instance of a class with garbage collection.
        unsafe { ffi::PyObject_GC_UnTrack(object.as_ptr().cast()) };
    }
    #[cfg(Py_3_14)]
    let _ = (kind.only_members, object);
}

/// Interned names and what stands under them: a table that forgets, so that it cannot grow. Two may stand in a place, the
/// newer first.
struct Names([[Option<Name>; 2]; Names::PLACES]);

struct Name {
    text: Box<[u8]>,
    interned: Py<PyString>,
    class: Class,
}

impl Names {
    const BITS: u32 = 8;
    const PLACES: usize = 1 << Self::BITS;
    /// Longer names are rare, and may be data.
    const LONGEST: usize = 40;

    const fn new() -> Self {
        Self([const { [None, None] }; Self::PLACES])
    }

    /// The interned name; `None` when it is not UTF-8.
    fn get<'py>(&mut self, py: Python<'py>, text: &[u8]) -> Option<(Bound<'py, PyString>, Class)> {
        let [newer, older] = &mut self.0[Self::place(text)];
        for name in [&*newer, &*older].into_iter().flatten() {
            if *name.text == *text {
                return Some((name.interned.bind(py).clone(), name.class));
            }
        }
        let (interned, class) = intern_name(py, text)?;
        *older = newer.replace(Name { text: text.into(), interned: interned.clone().unbind(), class });
        Some((interned, class))
    }

    /// Out of the length and both ends, in a few instructions: names are many, and short.
    fn place(text: &[u8]) -> usize {
        let ends = match text {
            [.., _, _, _, _, _, _, _, _] => text
                .first_chunk()
                .zip(text.last_chunk())
                .map(|(first, last)| u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(29)),
            _ => None,
        };
        let ends = ends.unwrap_or_else(|| text.iter().fold(0, |ends, byte| ends << 8 | u64::from(*byte)));
        let hash = (ends ^ text.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (hash >> (u64::BITS - Self::BITS)) as usize
    }
}

/// Appends text, with replacement marks for what is not UTF-8.
fn push_utf8(text: &[u8], out: &mut Vec<u8>) {
    match text.is_ascii() || std::str::from_utf8(text).is_ok() {
        true => out.extend_from_slice(text),
        false => out.extend_from_slice(String::from_utf8_lossy(text).as_bytes()),
    }
}

fn intern_name<'py>(py: Python<'py>, text: &[u8]) -> Option<(Bound<'py, PyString>, Class)> {
    let text = std::str::from_utf8(text).ok()?;
    // Without memory for it: whoever goes on without this name finds that out by itself.
    let interned = values::interned(py, text).ok()?;
    Some((interned, Class::under(text)))
}

struct Decoder<'a, 'py> {
    py: Python<'py>,
    json: &'a [u8],
    at: usize,
    names: Option<&'a mut Names>,
    classes: &'static [Kind],
    empty: Bound<'py, PyTuple>,
    vectors: Form,
    /// How many levels of nesting there may be.
    deepest: usize,
    /// The vectors so far, where they are to be an array; their places stand in for them.
    rows: Rows,
    /// Where a string's escapes stand.
    escapes: escapes::EscapeIndexes,
    /// So many values are made before other threads have a turn.
    left: u32,
}

/// Values that are made in one turn: a millisecond or two. Python's own code gives way after five.
const TURN: u32 = 16 << 10;

impl<'py> Decoder<'_, 'py> {
    fn value(&mut self, class: Class, depth: usize) -> PyResult<Bound<'py, PyAny>> {
        self.space();
        self.left -= 1;
        if self.left == 0 {
            self.give_way();
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

    /// Lets other threads have the GIL. Apart: what this looks up, each value would have looked up otherwise.
    #[cold]
    #[inline(never)]
    fn give_way(&mut self) {
        self.left = TURN;
        runtime::give_way(self.py);
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

    /// What stands under `embedding`: numbers, base64 of 32-bit floats, or something else that is left as it is.
    fn vector(&mut self, depth: usize) -> PyResult<Bound<'py, PyAny>> {
        let vector = match (self.peek(), self.vectors) {
            (Some(b'"'), Form::List | Form::Numpy) => {
                let start = self.at + 1;
                // Base64 has no escapes; a text that has some is none, and is found to be that.
                let length = memchr(b'"', &self.json[start..]).unwrap_or(0);
                let base64 = &self.json[start..start + length];
                let vector = match self.vectors {
                    Form::Numpy => {
                        // All the rest of the text, at the most.
                        self.rows.reserve(self.py, (self.json.len() - start) / 4 * 3)?;
                        let place = self.rows.push_base64(self.py, base64)?;
                        place.map(|place| values::int(self.py, place as i64)).transpose()?
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

    /// A list of numbers as 32-bit floats; `None`, and nothing read, when there is something else in it.
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

    /// A string of ASCII whose escapes are those of one letter. `escape` is where the first of them stands; the string
    /// comes with where its text ends.
    fn simply_escaped(&mut self, start: usize, escape: usize) -> PyResult<Option<(Bound<'py, PyString>, usize)>> {
        if !self.json[start..escape].is_ascii() {
            return Ok(None);
        }
        let Some(end) = escapes::find(self.json, escape, &mut self.escapes) else { return Ok(None) };
        let raw = &self.json[start..end];
        let length = raw.len() - self.escapes.len();
        // Python keeps the strings of one character.
        if length < 2 {
            return Ok(None);
        }
        let (text, place) = self.blank(length)?;
        // SAFETY: the place has just that length, and the escapes were found in this text.
        unsafe { escapes::write(raw, start, &self.escapes, place) };
        Ok(Some((text, end + 1)))
    }

    fn text(&self, utf8: &[u8], errors: &std::ffi::CStr) -> PyResult<Bound<'py, PyString>> {
        // Python keeps the empty string and those of one character.
        if utf8.len() > 1 && utf8.is_ascii() {
            return self.ascii(utf8);
        }
        // SAFETY: pointer and length are one slice's, `errors` ends in NUL; a new reference to a str or null comes back.
        unsafe {
            let text = ffi::PyUnicode_DecodeUTF8(utf8.as_ptr().cast(), utf8.len() as ffi::Py_ssize_t, errors.as_ptr());
            Ok(Bound::from_owned_ptr_or_err(self.py, text)?.cast_into_unchecked())
        }
    }

    /// A str of ASCII, without looking for what else it might be.
    fn ascii(&self, text: &[u8]) -> PyResult<Bound<'py, PyString>> {
        let (new, bytes) = self.blank(text.len())?;
        // SAFETY: the place is as long as the text, and nobody else's.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), bytes, text.len()) };
        Ok(new)
    }

    /// A str of so many characters of ASCII, and the place of as many bytes where they are still to be written.
    fn blank(&self, length: usize) -> PyResult<(Bound<'py, PyString>, *mut u8)> {
        // SAFETY: a new str whose largest character is 127 has one byte for each, behind its head; nobody has seen it yet.
        unsafe {
            let new = ffi::PyUnicode_New(length as ffi::Py_ssize_t, 127);
            let new = Bound::from_owned_ptr_or_err(self.py, new)?;
            let bytes = ffi::PyUnicode_DATA(new.as_ptr()).cast();
            Ok((new.cast_into_unchecked(), bytes))
        }
    }

    /// What follows a backslash; says whether it was half a surrogate pair, which is written as its three bytes.
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

    fn literal(&mut self, word: &str, value: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        if !self.json[self.at..].starts_with(word.as_bytes()) {
            return Err(self.wrong("a value"));
        }
        self.at += word.len();
        Ok(value)
    }

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

    fn wrong_before(&mut self, wanted: &str) -> PyErr {
        self.at -= 1;
        self.wrong(wanted)
    }

    #[cold]
    fn wrong(&self, wanted: &str) -> PyErr {
        let message = match self.json.get(self.at) {
            Some(byte) => format!("no JSON: {wanted} was expected at byte {}, not {:?}", self.at, char::from(*byte)),
            None => format!("no JSON: it ends at byte {} where {wanted} was expected", self.json.len()),
        };
        values::string(self.py, &message).map_or_else(|error| error, |message| PyValueError::new_err(message.unbind()))
    }
}

/// A float of few digits, and where it ends: what follows the `count` digits before its point, which make up `whole`.
///
/// A whole number below 2^53 and a power of ten up to 10^22 are exact, so that one multiplication or division rounds as
/// parsing in full does. Nearly every float of a vector is so short: 256 vectors of 1536 take 14 ms instead of 21.
fn short_float(text: &[u8], whole: i64, count: usize) -> Option<(f64, usize)> {
    const POWERS: [f64; 23] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
        1e20, 1e21, 1e22,
    ];
    let digits = |from: usize| text[from..].iter().take_while(|byte| byte.is_ascii_digit());
    let (mut digits_value, mut at, mut exponent) = (whole, 0, 0i32);
    if text.first() == Some(&b'.') {
        for digit in digits(1) {
            digits_value = digits_value.wrapping_mul(10).wrapping_add(i64::from(digit - b'0'));
            at += 1;
        }
        exponent = -(at as i32);
        at += 1;
    }
    // Of more digits the sum may have wrapped; of 19 before the point it has then become negative.
    if count + at > 19 || at == 1 || !(0..1 << 53).contains(&digits_value) {
        return None;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        let negative = text.get(at + 1) == Some(&b'-');
        let start = at + 1 + usize::from(negative || text.get(at + 1) == Some(&b'+'));
        let length = digits(start).count();
        if !(1..=3).contains(&length) {
            return None;
        }
        let given = text[start..start + length].iter().fold(0, |sum, digit| sum * 10 + i32::from(digit - b'0'));
        exponent += if negative { -given } else { given };
        at = start + length;
    }
    // What is no number after all is for the slow path to refuse.
    if matches!(text.get(at), Some(b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) {
        return None;
    }
    let power = POWERS.get(exponent.unsigned_abs() as usize)?;
    let value = digits_value as f64;
    Some((if exponent < 0 { value / power } else { value * power }, at))
}
