//! ChunkTemplates of one stream differ in their text, and perhaps in another string or two, and in nothing else: what one of them
//! was decoded to is copied for the next, and only these strings are decoded. Where the consumer has let go of the chunk
//! before the last, that one serves again, and nothing is copied.
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

/// A chunk in which containers stand deeper than this in each other is decoded anew.
const DEEPEST: usize = 8;
/// How many chunks are remembered for the time when nobody has them any more: while the consumer asks for the next, it
/// still has the last.
const HANDED_OUT: usize = 2;

/// Decodes one stream's chunks.
#[derive(Default)]
pub(crate) struct ChunkTemplates {
    template: Option<Template>,
    /// Of which of the stream's shapes the template is.
    shape: u8,
}

/// What chunks that are alike are decoded to.
struct Template {
    containers: Containers,
    /// The last chunks that were handed out.
    handed_out: [Option<HandedOutChunk>; HANDED_OUT],
    /// Which of them is the oldest.
    oldest: usize,
}

/// The containers in a chunk, itself the last of them.
#[derive(Default)]
struct Containers(Vec<Container>);

/// A chunk that was handed out.
struct HandedOutChunk {
    chunk: Py<PyAny>,
    /// What it was made of, as its template has it. Some of them may be gone.
    parts: Vec<Part>,
}

/// A container of a chunk that was handed out, as it was then.
struct Part {
    object: *mut ffi::PyObject,
    version: u64,
}

// SAFETY: only a thread that is attached looks at what the pointer points to.
unsafe impl Send for Part {}

struct Container {
    /// A dict, never handed out, without what differs; `None`: a list.
    dict: Option<Py<PyDict>>,
    members: Vec<Member>,
}

/// A member of a container. A list's has no name.
struct Member {
    name: Option<Py<PyString>>,
    value: Value,
}

enum Value {
    /// Cannot change, and is the same in all chunks.
    Same(Py<PyAny>),
    /// One of the strings that differ.
    String(usize),
    Container(usize),
}

impl ChunkTemplates {
    /// Decodes the stream's next chunk, of which it is known whether it is like others. `ValueError` says where it is no
    /// JSON, or nested more than `deepest` levels.
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

    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let mut handed_out = self.template.iter().flat_map(|template| template.handed_out.iter().flatten());
        handed_out.try_for_each(|handed_out| visit.call(&handed_out.chunk))
    }
}

impl Template {
    /// `None` if the strings that differ do not stand in dicts, one each.
    fn learn(py: Python<'_>, json: &[u8], spans: &[Span]) -> Option<Self> {
        // Where they stand is seen from strings that no chunk has.
        let marked = json_template::replaced(json, spans.iter().map(|place| place.range()), mark);
        let chunk = decode::decode(py, &marked, Class::ChatCompletionChunk).ok()?;
        let mut containers = Containers::default();
        containers.learn(&chunk, DEEPEST).ok()??;
        let members = containers.0.iter().flat_map(|container| &container.members);
        let mut found: Vec<_> = members.filter_map(|member| member.value.string()).collect();
        found.sort_unstable();
        let is_whole = found.into_iter().eq(0..spans.len());
        is_whole.then(|| Self { containers, handed_out: Default::default(), oldest: 0 })
    }

    /// A chunk that has the shape.
    fn decode<'py>(&mut self, py: Python<'py>, json: &[u8], spans: &[Span]) -> PyResult<Bound<'py, PyAny>> {
        let mut strings = Strings::default();
        for (place, string) in spans.iter().zip(&mut strings) {
            *string = Some(decode::string_at(py, json, place.range().start - 1)?.0);
        }
        // While this is at work, a finaliser that asks the stream for another chunk gets one that is decoded anew.
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

/// What stands for a string that differs, as JSON has it.
fn mark(index: usize) -> String {
    format!("\\u0000ritellm {index}")
}

/// What the strings of a chunk were decoded to.
type Strings<'py> = [Option<Bound<'py, PyString>>; json_template::MAX_STRINGS];

impl Containers {
    /// Takes a container up, and what is in it; its index. `None`: something is where nothing can be put in its place.
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

    /// A chunk with these strings.
    fn copy<'py>(&self, py: Python<'py>, strings: &mut Strings<'py>) -> PyResult<HandedOutChunk> {
        let mut parts = Vec::with_capacity(self.0.len());
        let chunk = self.copy_container(py, self.0.len() - 1, strings, &mut parts)?;
        Ok(HandedOutChunk { chunk: chunk.unbind(), parts })
    }

    /// The parts come in the order of the containers.
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

    /// Whether nobody else has a chunk that was handed out before, or a part of it, and it is still what it was.
    fn are_untouched(&self, handed_out: &HandedOutChunk) -> bool {
        // The chunk comes first, and each container before those in it: what a part was is alive if what it was in has not
        // changed.
        let mut containers = self.0.iter().enumerate().rev();
        // SAFETY: as just said, and nothing changes or is let go of while this looks.
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
    /// Whether this container of a chunk that was handed out is what it was, and nobody else has it.
    ///
    /// # Safety
    /// It must be alive.
    unsafe fn is_untouched(&self, index: usize, parts: &[Part]) -> bool {
        let part = &parts[index];
        let object = part.object;
        // SAFETY: it is alive, says the caller. Of a list, the size is looked at before its items.
        unsafe {
            let is_member = |member: &Member, value: *mut ffi::PyObject| match &member.value {
                Value::Same(known) => known.as_ptr() == value,
                // Nothing is run when another is put in its place.
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

/// A number that changes whenever the dict does; CPython 3.14 and later have none.
///
/// # Safety
/// It must be a dict, and alive.
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
