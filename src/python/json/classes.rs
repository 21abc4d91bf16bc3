//! The package's dict classes, by the name that an object stands under in JSON.

use std::sync::OnceLock;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::python::intern::{get_or_make, intern};
use crate::python::object::{self, Object};
use crate::python::values;
use crate::types::operation::{Operation, Output};

/// Class of an object.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
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
    PromptTokensDetails,
    CompletionTokensDetails,
    ResponseUsage,
    ResponseItem,
    /// Not a class: the vector of an embedding.
    Vector,
}

/// Names of the classes, in the order of [`Class`].
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
    "PromptTokensDetails",
    "CompletionTokensDetails",
    "ResponseUsage",
    "ResponseItem",
];

impl Class {
    /// Every class, in the order of [`CLASSES`].
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
        Self::PromptTokensDetails,
        Self::CompletionTokensDetails,
        Self::ResponseUsage,
        Self::ResponseItem,
    ];

    /// Returns the class of the object, or of the objects in the list, that stands under this name.
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
            "prompt_tokens_details" | "input_tokens_details" => Self::PromptTokensDetails,
            "completion_tokens_details" | "output_tokens_details" => Self::CompletionTokensDetails,
            "output" | "item" => Self::ResponseItem,
            _ => Self::Object,
        }
    }

    /// Returns the class of the same member in a `parent`: some names mean something in one class only.
    pub fn within(self, parent: Self) -> Self {
        match (self, parent) {
            (Self::Embedding, Self::EmbeddingResponse)
            | (Self::Vector, Self::Embedding)
            | (Self::Response, Self::ResponseEvent)
            | (Self::RerankResult, Self::RerankResponse)
            | (Self::ResponseItem, Self::Response | Self::ResponseEvent) => self,
            (Self::Usage, Self::Response) => Self::ResponseUsage,
            (Self::Embedding, Self::FilePage) => Self::FileObject,
            (Self::Embedding, Self::BatchPage) => Self::Batch,
            (Self::Embedding | Self::Vector | Self::Response | Self::RerankResult | Self::ResponseItem, _) => {
                Self::Object
            }
            _ => self,
        }
    }

    /// Returns the class of an operation's answer.
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

/// The classes of the Python package, looked up once.
struct Classes {
    /// Address of the interpreter that they belong to.
    interpreter: usize,
    /// In the order of [`Class`].
    types: Vec<Kind>,
}

/// A class that objects are made of.
pub(crate) struct Kind {
    pub class: Py<PyType>,
    /// True if its instances hold nothing but their members.
    only_members: bool,
}

/// Returns the address of the interpreter that this thread is attached to.
fn interpreter() -> usize {
    // SAFETY: every caller is attached; the address is only compared.
    unsafe { ffi::PyInterpreterState_Get() as usize }
}

/// Returns the classes, in the order of [`Class`].
///
/// # Errors
///
/// `TypeError` if the program has put something else in the place of a class, `RuntimeError` in another interpreter.
pub(crate) fn classes(py: Python<'_>) -> PyResult<&'static [Kind]> {
    static FOUND: OnceLock<Classes> = OnceLock::new();
    let found = get_or_make(&FOUND, || {
        let module = py.import(intern!(py, "ritellm.types"))?;
        let find = |name: &&str| {
            let class = module.getattr(values::string(py, name)?)?;
            // `new_object` relies on this, and a program may have put something else there.
            let class =
                class.cast_into::<PyType>().ok().filter(|class| class.is_subclass_of::<Object>().unwrap_or(false));
            let class = class.ok_or_else(|| {
                PyTypeError::new_err(format!("ritellm.types.{name} has been replaced by what is no subclass of Object"))
            })?;
            Ok(Kind { only_members: object::holds_only_members(&class), class: class.unbind() })
        };
        Ok(Classes { interpreter: interpreter(), types: CLASSES.iter().map(find).collect::<PyResult<_>>()? })
    })?;
    if found.interpreter != interpreter() {
        return Err(PyRuntimeError::new_err("ritellm was imported by another interpreter of this process"));
    }
    Ok(&found.types)
}

/// Returns a shallow copy of one of our dicts, of the same class.
///
/// # Errors
///
/// `MemoryError`.
pub(crate) fn copy<'py>(dict: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyDict>> {
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

/// Makes an empty instance of one of the package's dict classes, as `cls()` does, without the call.
///
/// # Errors
///
/// `MemoryError`.
pub(crate) fn new_object<'py>(kind: &Kind, empty: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
    let class = kind.class.bind(empty.py());
    // SAFETY: the classes are subclasses of `Object`, as `classes` has checked, whose instances need nothing but what dict's
    // own `tp_new` does (their slots may be empty), so it may be called with them, no arguments and no keywords; it returns
    // a new reference or null.
    unsafe {
        let new = ffi::PyDict_Type.tp_new.expect("dict can be made");
        let object =
            Bound::from_owned_ptr_or_err(empty.py(), new(class.as_type_ptr(), empty.as_ptr(), std::ptr::null_mut()))?;
        untrack_until_needed(kind, &object);
        Ok(object)
    }
}

/// Untracks a new object from the garbage collector until it holds something that may be part of a cycle.
///
/// CPython up to 3.13 does so with plain dicts, and not with those of a subclass: 3 million small objects took 7 times as
/// long as `json.loads` took on 3.11, nearly all of it in the collector. `PyDict_SetItem` tracks a dict of any class when it
/// has to. An object that holds more than its members stays tracked.
#[inline]
fn untrack_until_needed(kind: &Kind, object: &Bound<'_, PyAny>) {
    #[cfg(not(Py_3_14))]
    if kind.only_members {
        // SAFETY: a live instance of a class with garbage collection.
        unsafe { ffi::PyObject_GC_UnTrack(object.as_ptr().cast()) };
    }
    #[cfg(Py_3_14)]
    let _ = (kind.only_members, object);
}
