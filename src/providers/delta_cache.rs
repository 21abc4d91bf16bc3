//! Most events of a stream differ from the one before in their text and perhaps in some counts, and in nothing else. What
//! follows from the rest is not found out again: their chunks differ in their text.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

use crate::types::json_template::{common_prefix, end_of_string};
use crate::types::members::{Text, read};

/// Chunks are written into memory of this size, some ten of them.
const ROOM: usize = 4096;

/// An event whose chunk has nothing but a text.
pub(super) struct DeltaCache {
    /// The index of what the text belongs to: of a candidate, or of a block.
    pub index: u64,
    event: Bytes,
    /// Where in the event its text stands, without the quotes, …
    text: Range<usize>,
    /// … and behind it the counts.
    counts: Range<usize>,
    /// The chunk, up to its text and from there on.
    before: Bytes,
    after: Bytes,
}

/// What is new in an event.
pub(super) struct NewDelta<'a> {
    /// The text, as JSON has it.
    raw: &'a [u8],
    pub text: Cow<'a, str>,
    /// Empty where there are none.
    pub counts: &'a [u8],
}

impl DeltaCache {
    /// An event, the text and the counts in it, and the chunk that it became; `None` if the chunk has more in it than the
    /// text, or the text has escapes.
    pub fn of(index: u64, event: Bytes, text: &str, counts: Option<&str>, chunk: &Bytes) -> Option<Self> {
        static DELTA: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"delta\":{\"content\":\""));
        let text = place(&event, text)?;
        let counts = match counts {
            Some(counts) => place(&event, counts)?,
            None => event.len()..event.len(),
        };
        // No string of the chunk has a quote that is not escaped, so this is where its delta stands.
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

    /// What is new in an event, if it is alike.
    pub fn new_delta<'a>(&self, event: &'a [u8]) -> Option<NewDelta<'a>> {
        let rest = event.strip_prefix(&self.event[..self.text.start])?;
        let rest = rest.strip_suffix(&self.event[self.counts.end..])?;
        let end = end_of_string(rest)?;
        let counts = rest[end..].strip_prefix(&self.event[self.text.end..self.counts.start])?;
        if !differ_in_digits(&self.event[self.counts.clone()], counts) {
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

    /// The chunk of an event that is alike; `room` is where one stream's are written, one behind the other.
    pub fn chunk(&self, delta: &NewDelta, room: &mut BytesMut) -> Bytes {
        let parts: [&[u8]; 3] = [&self.before, delta.raw, &self.after];
        let size = parts.iter().map(|part| part.len()).sum();
        if room.capacity() < size {
            *room = BytesMut::with_capacity(size.max(ROOM));
        }
        parts.into_iter().for_each(|part| room.extend_from_slice(part));
        room.split().freeze()
    }
}

/// Where a part of an event stands in it.
fn place(event: &[u8], part: &str) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(event.as_ptr() as usize)?;
    let place = start..start + part.len();
    event.get(place.clone()).is_some_and(|there| there == part.as_bytes()).then_some(place)
}

/// Whether two texts are the same but for the numbers in them.
fn differ_in_digits(mut known: &[u8], mut given: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    loop {
        let same = common_prefix(known, given);
        if (same, same) == (known.len(), given.len()) {
            return true;
        }
        // The first digits of two numbers may be the same.
        let number = known[..same].iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |before| before + 1);
        (known, given) = (&known[number..], &given[number..]);
        let (in_known, in_given) = (digits(known), digits(given));
        if in_known == 0 || in_given == 0 {
            return false;
        }
        (known, given) = (&known[in_known..], &given[in_given..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_may_differ_and_nothing_else() {
        let alike = |known: &str, given: &str| differ_in_digits(known.as_bytes(), given.as_bytes());
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
