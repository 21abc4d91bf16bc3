//! Caches the chunk of a stream's last event. Most events differ from the one before in their text and perhaps in some
//! counts, and in nothing else: their chunks then differ in their text alone, and the event need not be parsed.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

use crate::types::json_template::{common_prefix, end_of_string};
use crate::types::members::{Text, read};

/// Size of the buffer that chunks are written into, enough for about ten of them.
const BUFFER_SIZE: usize = 4096;

/// An event whose chunk holds nothing but a text, and the chunk.
pub(super) struct DeltaCache {
    /// Index of the candidate or block that the text belongs to.
    pub index: u64,
    event: Bytes,
    /// Range of the text in the event, without the quotes.
    text: Range<usize>,
    /// Range of the counts in the event, after the text.
    counts: Range<usize>,
    /// The chunk up to its text.
    before: Bytes,
    /// The chunk after its text.
    after: Bytes,
}

/// The parts of an event that differ from the cached one.
pub(super) struct NewDelta<'a> {
    /// The text, escaped.
    raw: &'a [u8],
    /// The text, unescaped.
    pub text: Cow<'a, str>,
    /// The counts; empty if the event has none.
    pub counts: &'a [u8],
}

impl DeltaCache {
    /// Caches an event with its chunk; `text` and `counts` are slices of the event. `None` if the chunk holds more than the
    /// text, or the text has escapes.
    pub fn of(index: u64, event: Bytes, text: &str, counts: Option<&str>, chunk: &Bytes) -> Option<Self> {
        static DELTA: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"delta\":{\"content\":\""));
        let text = range_in(&event, text)?;
        let counts = match counts {
            Some(counts) => range_in(&event, counts)?,
            None => event.len()..event.len(),
        };
        // Quotes in the chunk's strings are escaped, so that the first match is its delta.
        let start = DELTA.find(chunk)? + DELTA.needle().len();
        let after = chunk.slice_ref(chunk[start..].strip_prefix(&event[text.clone()])?);
        (counts.start > text.end && *after == *b"\"},\"finish_reason\":null}]}").then(|| Self {
            index,
            event,
            text,
            counts,
            before: chunk.slice(..start),
            after,
        })
    }

    /// Returns the new parts of an event, if it differs from the cached one in nothing else.
    pub fn new_delta<'a>(&self, event: &'a [u8]) -> Option<NewDelta<'a>> {
        let rest = event.strip_prefix(&self.event[..self.text.start])?;
        let rest = rest.strip_suffix(&self.event[self.counts.end..])?;
        let end = end_of_string(rest)?;
        let counts = rest[end..].strip_prefix(&self.event[self.text.end..self.counts.start])?;
        if !differ_in_numbers(&self.event[self.counts.clone()], counts) {
            return None;
        }
        let raw = &rest[..end];
        let is_plain = raw.iter().all(|byte| *byte != b'\\' && *byte >= b' ');
        let text = match std::str::from_utf8(raw) {
            Ok(text) if is_plain => Cow::Borrowed(text),
            _ => read::<Text>(&event[self.text.start - 1..][..end + 2]).ok()?.0,
        };
        (!text.is_empty()).then_some(NewDelta { raw, text, counts })
    }

    /// Returns the chunk of an event with these new parts. All chunks of a stream are written into `buffer`, one after the
    /// other.
    pub fn chunk(&self, delta: &NewDelta, buffer: &mut BytesMut) -> Bytes {
        let parts: [&[u8]; 3] = [&self.before, delta.raw, &self.after];
        let size = parts.iter().map(|part| part.len()).sum();
        if buffer.capacity() < size {
            *buffer = BytesMut::with_capacity(size.max(BUFFER_SIZE));
        }
        parts.into_iter().for_each(|part| buffer.extend_from_slice(part));
        buffer.split().freeze()
    }
}

/// Returns the range of a slice of an event in the event.
fn range_in(event: &[u8], part: &str) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(event.as_ptr() as usize)?;
    let range = start..start + part.len();
    event.get(range.clone()).is_some_and(|found| found == part.as_bytes()).then_some(range)
}

/// Returns true if two texts differ in nothing but the numbers in them.
fn differ_in_numbers(mut known: &[u8], mut new: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    loop {
        let same = common_prefix(known, new);
        if (same, same) == (known.len(), new.len()) {
            return true;
        }
        // The first digits of two numbers may be the same.
        let number = known[..same].iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |before| before + 1);
        (known, new) = (&known[number..], &new[number..]);
        let (in_known, in_new) = (digits(known), digits(new));
        if in_known == 0 || in_new == 0 {
            return false;
        }
        (known, new) = (&known[in_known..], &new[in_new..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_may_differ_and_nothing_else() {
        let alike = |known: &str, given: &str| differ_in_numbers(known.as_bytes(), given.as_bytes());
        assert!(alike(r#"{"a":1,"b":[20]}"#, r#"{"a":345,"b":[6]}"#));
        assert!(alike("", ""));
        assert!(alike(r#"{"a":129,"b":1}"#, r#"{"a":12,"b":10}"#));
        assert!(alike("1", "12"));
        for other in
            [r#"{"a":1,"b":[]}"#, r#"{"a":1,"b":[20]},"c":{}"#, r#"{"a":-1,"b":[20]}"#, r#"{"a":1,"b":[20]"#, ""]
        {
            assert!(!alike(r#"{"a":1,"b":[20]}"#, other), "{other}");
            assert!(!alike(other, r#"{"a":1,"b":[20]}"#), "{other}");
        }
    }
}
