//! Decoding of chunks by a template.
//!
//! The chunks of one stream differ in their text, perhaps in another string or two, and in nothing else. So the decoded form
//! of one chunk is copied for the next, and only these strings are decoded. If the consumer has dropped the chunk before the
//! last, that object is used again, and nothing is copied.
//!
//! Measured with `benches/driver.py --client ritellm --mode stream --concurrency 64` (docs/performance.md).

use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use super::classes::{self, Class};
use super::decode;
use super::vectors::Form;
use crate::python::gil_cell;
use crate::python::values;
use crate::types::json_template::{self, Span};
use crate::types::snapshot::SameTemplate;

/// Number of levels of containers above which a chunk is decoded in full.
const DEEPEST: usize = 8;
/// Number of chunks that are kept to be used again once no one else refers to them: while the consumer asks for the next
/// chunk, it still has the last.
const HANDED_OUT: usize = 2;

/// Decoder of one stream's chunks.
#[derive(Default)]
pub(crate) struct ChunkTemplates {
    template: Option<Template>,
    /// Number of the shape, among those of the stream, that the template is of.
    shape: u8,
}

/// Decoded form of chunks that differ in some strings only.
struct Template {
    containers: Containers,
    /// The last chunks that were handed out.
    handed_out: [Option<HandedOutChunk>; HANDED_OUT],
    /// Index of the oldest of them.
    oldest: usize,
}

/// The containers in a chunk; the chunk itself is the last.
#[derive(Default)]
struct Containers(Vec<Container>);

/// A chunk that was handed out.
struct HandedOutChunk {
    chunk: Py<PyAny>,
    /// Its containers, in the order of the template. Some of them may be gone.
    parts: Vec<Part>,
}

/// A container of a chunk that was handed out, and its version at that time.
struct Part {
    object: *mut ffi::PyObject,
    version: u64,
}

// SAFETY: only a thread that is attached looks at what the pointer points to.
unsafe impl Send for Part {}

/// A container of a template.
struct Container {
    /// A dict, never handed out, without the strings that differ; `None` for a list.
    dict: Option<Py<PyDict>>,
    members: Vec<Member>,
}

/// A member of a container. A list's has no name.
struct Member {
    name: Option<Py<PyString>>,
    value: Value,
}

enum Value {
    /// A value that cannot change, and is the same in all chunks.
    Same(Py<PyAny>),
    /// Index of one of the strings that differ.
    String(usize),
    /// Index of a container.
    Container(usize),
}

impl ChunkTemplates {
    /// Decodes the stream's next chunk; `same` is the template that it shares with others, if any.
    ///
    /// # Errors
    ///
    /// `ValueError` with the position at which the chunk is not JSON, or for more than `deepest` levels.
    pub fn decode<'py>(
        &mut self,
        py: Python<'py>,
        json: &[u8],
        same: Option<&SameTemplate>,
        deepest: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        if let Some(same) = same {
            if self.shape != same.template {
                self.shape = same.template;
                self.template = Template::learn(py, json, same.spans());
            }
            if let Some(template) = &mut self.template {
                return template.decode(py, json, same.spans());
            }
        }
        decode::decode_with(py, json, Class::ChatCompletionChunk, Form::List, deepest)
    }

    /// Visits the chunks that are kept, for the garbage collector.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let mut handed_out = self.template.iter().flat_map(|template| template.handed_out.iter().flatten());
        handed_out.try_for_each(|handed_out| visit.call(&handed_out.chunk))
    }
}

impl Template {
    /// Makes a template of a chunk and the spans of the strings that differ. Returns `None` if they are not members of dicts,
    /// one each.
    fn learn(py: Python<'_>, json: &[u8], spans: &[Span]) -> Option<Self> {
        // Marks that no chunk contains show where the strings are.
        let marked = json_template::replaced(json, spans.iter().map(|span| span.range()), mark);
        let chunk = decode::decode(py, &marked, Class::ChatCompletionChunk).ok()?;
        let mut containers = Containers::default();
        containers.learn(&chunk, DEEPEST).ok()??;
        let members = containers.0.iter().flat_map(|container| &container.members);
        let mut found: Vec<_> = members.filter_map(|member| member.value.string()).collect();
        found.sort_unstable();
        let is_whole = found.into_iter().eq(0..spans.len());
        is_whole.then(|| Self { containers, handed_out: Default::default(), oldest: 0 })
    }

    /// Decodes a chunk that has the shape of the template.
    fn decode<'py>(&mut self, py: Python<'py>, json: &[u8], spans: &[Span]) -> PyResult<Bound<'py, PyAny>> {
        let mut strings = Strings::default();
        for (span, string) in spans.iter().zip(&mut strings) {
            *string = Some(decode::string_at(py, json, span.range().start - 1)?.0);
        }
        // A finaliser that runs meanwhile and asks the stream for another chunk gets one that is decoded in full.
        let oldest = self.handed_out[self.oldest].take().filter(|handed_out| self.containers.are_untouched(handed_out));
        let handed_out = match oldest {
            Some(mut handed_out) => {
                self.containers.renew(py, &mut handed_out, &mut strings)?;
                handed_out
            }
            None => self.containers.copy(py, &mut strings)?,
        };
        let chunk = handed_out.chunk.bind(py).clone();
        self.handed_out[self.oldest] = Some(handed_out);
        self.oldest = (self.oldest + 1) % HANDED_OUT;
        Ok(chunk)
    }
}

/// Returns the mark for a string that differs, as JSON.
fn mark(index: usize) -> String {
    format!("\\u0000ritellm {index}")
}

/// Decoded strings of a chunk.
type Strings<'py> = [Option<Bound<'py, PyString>>; json_template::MAX_STRINGS];

impl Containers {
    /// Adds a container and its members. Returns its index, or `None` if a string that differs is where it cannot be replaced.
    fn learn(&mut self, container: &Bound<'_, PyAny>, deepest: usize) -> PyResult<Option<usize>> {
        let Some(deepest) = deepest.checked_sub(1) else { return Ok(None) };
        let mut members = Vec::new();
        let dict = container.cast::<PyDict>().ok();
        if let Some(dict) = dict {
            for (name, value) in dict {
                let Some(value) = self.learn_value(&value, deepest)? else { return Ok(None) };
                let name = name.cast_into::<PyString>()?;
                if !matches!(value, Value::Same(_)) {
                    dict.set_item(&name, container.py().None())?;
                }
                members.push(Member { name: Some(name.unbind()), value });
            }
        } else {
            for value in container.cast::<PyList>()? {
                match self.learn_value(&value, deepest)? {
                    None | Some(Value::String(_)) => return Ok(None),
                    Some(value) => members.push(Member { name: None, value }),
                }
            }
        }
        self.0.push(Container { dict: dict.map(|dict| dict.clone().unbind()), members });
        Ok(Some(self.0.len() - 1))
    }

    fn learn_value(&mut self, value: &Bound<'_, PyAny>, deepest: usize) -> PyResult<Option<Value>> {
        if value.is_instance_of::<PyDict>() || value.is_instance_of::<PyList>() {
            return Ok(self.learn(value, deepest)?.map(Value::Container));
        }
        let marked = value.cast::<PyString>().ok().and_then(|text| text.to_str().ok()?.strip_prefix("\0ritellm "));
        Ok(Some(match marked.and_then(|index| index.parse().ok()) {
            Some(index) => Value::String(index),
            None => Value::Same(value.clone().unbind()),
        }))
    }

    /// Makes a chunk with these strings.
    fn copy<'py>(&self, py: Python<'py>, strings: &mut Strings<'py>) -> PyResult<HandedOutChunk> {
        let mut parts = Vec::with_capacity(self.0.len());
        let chunk = self.copy_container(py, self.0.len() - 1, strings, &mut parts)?;
        Ok(HandedOutChunk { chunk: chunk.unbind(), parts })
    }

    /// Copies a container. The parts are added in the order of the containers.
    fn copy_container<'py>(
        &self,
        py: Python<'py>,
        index: usize,
        strings: &mut Strings<'py>,
        parts: &mut Vec<Part>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Container { dict, members } = &self.0[index];
        let Some(dict) = dict else {
            let items = members.iter().map(|member| match &member.value {
                Value::Same(value) => Ok(value.bind(py).clone()),
                Value::String(_) => unreachable!("a list has none"),
                Value::Container(index) => self.copy_container(py, *index, strings, parts),
            });
            let items = items.collect::<PyResult<Vec<_>>>()?;
            let list = values::list(py)?;
            items.into_iter().try_for_each(|item| list.append(item))?;
            parts.push(Part { object: list.as_ptr(), version: 0 });
            return Ok(list.into_any());
        };
        let dict = classes::copy(dict.bind(py))?;
        for Member { name, value } in members {
            match value {
                Value::Same(_) => {}
                Value::String(index) => dict.set_item(name, strings[*index].take())?,
                Value::Container(index) => dict.set_item(name, self.copy_container(py, *index, strings, parts)?)?,
            }
        }
        parts.push(Part { object: dict.as_ptr(), version: version(&dict) });
        Ok(dict.into_any())
    }

    /// Returns true if no one else refers to a chunk that was handed out or to a part of it, and it has not changed.
    fn are_untouched(&self, handed_out: &HandedOutChunk) -> bool {
        // The chunk comes first, and each container before those in it: a part is alive if the container around it has not
        // changed.
        let mut containers = self.0.iter().enumerate().rev();
        // SAFETY: as just said, and nothing changes or is freed meanwhile.
        gil_cell::has_gil()
            && containers.all(|(index, container)| unsafe { container.is_untouched(index, &handed_out.parts) })
    }

    /// Puts these strings into an untouched chunk.
    fn renew<'py>(&self, py: Python<'py>, handed_out: &mut HandedOutChunk, strings: &mut Strings<'py>) -> PyResult<()> {
        for (Container { members, .. }, part) in self.0.iter().zip(&mut handed_out.parts) {
            for Member { name, value } in members {
                if let Value::String(index) = value {
                    // SAFETY: alive, for the chunk is untouched, and a dict, for it has a string that differs.
                    let dict = unsafe { Borrowed::from_ptr(py, part.object).cast_unchecked::<PyDict>() }.to_owned();
                    dict.set_item(name, strings[*index].take())?;
                    part.version = version(&dict);
                }
            }
        }
        Ok(())
    }
}

impl Container {
    /// Returns true if this container of a chunk that was handed out has not changed, and no one else refers to it.
    ///
    /// # Safety
    /// The container must be alive.
    unsafe fn is_untouched(&self, index: usize, parts: &[Part]) -> bool {
        let part = &parts[index];
        let object = part.object;
        // SAFETY: the caller promises that it is alive. The size of a list is checked before its items are read.
        unsafe {
            let is_member = |member: &Member, value: *mut ffi::PyObject| match &member.value {
                Value::Same(known) => known.as_ptr() == value,
                // No code runs when another string replaces it.
                Value::String(_) => ffi::PyUnicode_CheckExact(value) != 0,
                Value::Container(index) => parts[*index].object == value,
            };
            if ffi::Py_REFCNT(object) != 1 {
                return false;
            }
            let Some(dict) = &self.dict else {
                return ffi::PyList_CheckExact(object) != 0
                    && ffi::PyList_GET_SIZE(object) == self.members.len() as isize
                    && self
                        .members
                        .iter()
                        .zip(0..)
                        .all(|(member, index)| is_member(member, ffi::PyList_GET_ITEM(object, index)));
            };
            if ffi::Py_TYPE(object) != ffi::Py_TYPE(dict.as_ptr()) {
                return false;
            }
            if let Some(version) = version_of(object) {
                return version == part.version;
            }
            let (mut at, mut name, mut value) = (0, std::ptr::null_mut(), std::ptr::null_mut());
            ffi::PyDict_Size(object) == self.members.len() as isize
                && self.members.iter().all(|member| {
                    ffi::PyDict_Next(object, &mut at, &mut name, &mut value) != 0
                        && member.name.as_ref().is_some_and(|known| known.as_ptr() == name)
                        && is_member(member, value)
                })
        }
    }
}

/// Returns a number that changes whenever the dict does; `None` on CPython 3.14 and later, which have none.
///
/// # Safety
/// `dict` must be a live dict.
unsafe fn version_of(dict: *mut ffi::PyObject) -> Option<u64> {
    #[cfg(not(Py_3_14))]
    #[allow(deprecated, reason = "it is kept up to date as long as it exists")]
    // SAFETY: a dict, says the caller.
    return Some(unsafe { (*dict.cast::<ffi::PyDictObject>()).ma_version_tag });
    #[cfg(Py_3_14)]
    return None;
}

fn version(dict: &Bound<'_, PyDict>) -> u64 {
    // SAFETY: a live reference to a dict.
    unsafe { version_of(dict.as_ptr()) }.unwrap_or_default()
}

impl Value {
    fn string(&self) -> Option<usize> {
        match self {
            Self::String(index) => Some(*index),
            _ => None,
        }
    }
}
