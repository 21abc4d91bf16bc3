//! Chunks of one stream differ in their text and in nothing else: what one of them was decoded to is copied for the
//! next, and only the text is decoded.
//!
//! Measured with `benches/driver.py --client ritellm --mode stream --concurrency 64` (docs/performance.md).

use std::ops::Range;

use super::once::name;
use memchr::memmem;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use super::json_decode::{self, Class};
use super::vectors::Form;

/// A stream's chunks are given up on as alike after this many tries.
const TRIES: u8 = 4;

/// Decodes one stream's chunks.
#[derive(Default)]
pub(super) struct Chunks {
    template: Option<Template>,
    tried: u8,
    /// How many chunks in a row were not like the template.
    unlike: u8,
}

/// A chunk, and what it was decoded to. The objects are never given out.
struct Template {
    json: Vec<u8>,
    /// Where the delta's text stands in it, without the quotes.
    text: Range<usize>,
    chunk: Py<PyDict>,
    choice: Py<PyDict>,
    delta: Py<PyDict>,
}

impl Chunks {
    /// Decodes the stream's next chunk. `ValueError` says where it is no JSON, or nested more than `deepest` levels.
    pub fn decode<'py>(&mut self, py: Python<'py>, json: &[u8], deepest: usize) -> PyResult<Bound<'py, PyAny>> {
        if let Some(template) = &self.template
            && let Some(chunk) = template.decode(py, json)?
        {
            self.unlike = 0;
            return Ok(chunk);
        }
        let chunk = json_decode::decode_with(py, json, Class::ChatCompletionChunk, Form::List, deepest)?;
        self.unlike = self.unlike.saturating_add(1);
        // The first chunk and the last are like no others.
        if self.unlike > 1 && self.tried < TRIES {
            self.tried += 1;
            self.template = Template::learn(py, json)?;
        }
        Ok(chunk)
    }
}

/// Where the text stands, the choice, and its delta.
type Parts<'py> = (Range<usize>, Bound<'py, PyDict>, Bound<'py, PyDict>);

impl Template {
    /// A template, if this chunk has one choice, its delta a text, and all else in it are values that cannot change.
    fn learn(py: Python<'_>, json: &[u8]) -> PyResult<Option<Self>> {
        let chunk = json_decode::decode(py, json, Class::ChatCompletionChunk)?;
        Ok(Self::parts(&chunk, json)?.map(|(text, choice, delta)| Self {
            json: json.to_vec(),
            text,
            choice: choice.unbind(),
            delta: delta.unbind(),
            chunk: chunk.cast_into::<PyDict>().expect("it has parts").unbind(),
        }))
    }

    fn parts<'py>(chunk: &Bound<'py, PyAny>, json: &[u8]) -> PyResult<Option<Parts<'py>>> {
        let py = chunk.py();
        let Ok(chunk) = chunk.cast::<PyDict>() else { return Ok(None) };
        let Some(choices) = chunk.get_item(name!(py, "choices"))? else { return Ok(None) };
        let Ok(choices) = choices.cast_into::<PyList>() else { return Ok(None) };
        if choices.len() != 1 {
            return Ok(None);
        }
        let Ok(choice) = choices.get_item(0)?.cast_into::<PyDict>() else { return Ok(None) };
        let Some(delta) = choice.get_item(name!(py, "delta"))? else { return Ok(None) };
        let Ok(delta) = delta.cast_into::<PyDict>() else { return Ok(None) };
        let Some(content) = delta.get_item(name!(py, "content"))? else { return Ok(None) };
        // The three of them aside, a container would be shared between chunks.
        let containers = [chunk, &choice, &delta]
            .iter()
            .flat_map(|dict| dict.values())
            .filter(|value| value.is_instance_of::<PyDict>() || value.is_instance_of::<PyList>())
            .count();
        if containers != 2 || !content.is_instance_of::<PyString>() {
            return Ok(None);
        }
        let Some(start) = only_text_named_content(json) else { return Ok(None) };
        let (text, end) = json_decode::string_at(py, json, start - 1)?;
        Ok(content.eq(&text)?.then(|| (start..end - 1, choice, delta)))
    }

    /// The chunk, if it differs from the template in its text only.
    fn decode<'py>(&self, py: Python<'py>, json: &[u8]) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (before, after) = (&self.json[..self.text.start], &self.json[self.text.end..]);
        if json.len() < before.len() + after.len() || !json.starts_with(before) || !json.ends_with(after) {
            return Ok(None);
        }
        let (text, end) = json_decode::string_at(py, json, before.len() - 1)?;
        // A quote in the midst: it is another shape that happens to begin and end alike.
        if end - 1 != json.len() - after.len() {
            return Ok(None);
        }
        let delta = json_decode::copy(self.delta.bind(py))?;
        delta.set_item(name!(py, "content"), text)?;
        let choice = json_decode::copy(self.choice.bind(py))?;
        choice.set_item(name!(py, "delta"), delta)?;
        let chunk = json_decode::copy(self.chunk.bind(py))?;
        chunk.set_item(name!(py, "choices"), PyList::new(py, [choice])?)?;
        Ok(Some(chunk.into_any()))
    }
}

/// Where the text of the only `"content": "…"` begins, behind its quote.
fn only_text_named_content(json: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"\"content\"";
    let mut places = memmem::find_iter(json, NAME);
    let place = places.next()? + NAME.len();
    let value = json[place..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    (places.next().is_none() && value.first() == Some(&b'"')).then(|| json.len() - value.len() + 1)
}
