//! Templates of JSON texts that differ only in some of their string values, as the chunks of a stream do.

use std::ops::Range;

use memchr::{memchr, memchr2};

/// Maximum number of differing strings; texts that differ in more of them have no template.
pub const MAX_STRINGS: usize = 4;

/// A JSON text, and the positions of its strings that vary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonTemplate<Text> {
    text: Text,
    /// Ranges of the varying strings, without their quotes.
    strings: Vec<Range<usize>>,
}

impl JsonTemplate<&[u8]> {
    /// Copies the text, so that the template owns it.
    pub fn into_owned(self) -> JsonTemplate<Vec<u8>> {
        JsonTemplate { text: self.text.to_vec(), strings: self.strings }
    }
}

/// Positions of the varying strings in a text that matches a template; entries past the template's count are unused. A
/// fixed, small array, since it is passed along with each chunk.
pub type Spans = [Span; MAX_STRINGS];

/// Position of a string, without its quotes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Returns the byte range.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl<Text: AsRef<[u8]>> JsonTemplate<Text> {
    /// Derives the template of two texts. `None` if they are equal, or differ in anything but string values.
    pub fn of(known: &[u8], text: Text) -> Option<Self> {
        let bytes = text.as_ref();
        let mut strings = Vec::new();
        let (mut at_known, mut at) = (0, 0);
        loop {
            let same = common_prefix(&known[at_known..], &bytes[at..]);
            if (at_known + same, at + same) == (known.len(), bytes.len()) {
                break;
            }
            let start = open_string(&bytes[at..at + same])?;
            (at_known, at) = (at_known + start, at + start);
            let end = at + end_of_string(&bytes[at..])?;
            at_known += end_of_string(&known[at_known..])? + 1;
            let is_name = bytes[end + 1..].trim_ascii_start().first() == Some(&b':');
            if is_name || strings.len() == MAX_STRINGS {
                return None;
            }
            strings.push(at..end);
            at = end + 1;
        }
        (!strings.is_empty()).then_some(Self { text, strings })
    }

    /// Returns the positions of the varying strings in `text`, or `None` if it does not match the template.
    pub fn spans(&self, text: &[u8]) -> Option<Spans> {
        u32::try_from(text.len()).ok()?;
        let mut spans = Spans::default();
        let (mut known, mut at) = (0, 0);
        for (string, span) in self.strings.iter().zip(&mut spans) {
            let before = &self.text.as_ref()[known..string.start];
            if !text[at..].starts_with(before) {
                return None;
            }
            at += before.len();
            let end = at + end_of_string(&text[at..])?;
            *span = Span { start: at as u32, end: end as u32 };
            (known, at) = (string.end, end);
        }
        (text[at..] == self.text.as_ref()[known..]).then_some(spans)
    }

    /// Returns the template's text with its varying strings replaced.
    pub fn with<T: AsRef<[u8]>>(&self, strings: impl Fn(usize) -> T) -> Vec<u8> {
        replaced(self.text.as_ref(), self.strings.iter().cloned(), strings)
    }

    /// Returns the number of varying strings.
    pub fn count(&self) -> usize {
        self.strings.len()
    }
}

/// Returns `text` with the strings at `spans` replaced.
pub fn replaced<T: AsRef<[u8]>>(
    text: &[u8],
    spans: impl IntoIterator<Item = Range<usize>>,
    strings: impl Fn(usize) -> T,
) -> Vec<u8> {
    let mut written = Vec::with_capacity(text.len());
    let mut at = 0;
    for (index, span) in spans.into_iter().enumerate() {
        written.extend_from_slice(&text[at..span.start]);
        written.extend_from_slice(strings(index).as_ref());
        at = span.end;
    }
    written.extend_from_slice(&text[at..]);
    written
}

/// Returns the length of the common prefix of two texts.
pub fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    const BLOCK: usize = 32;
    let blocks = one.chunks_exact(BLOCK).zip(other.chunks_exact(BLOCK)).take_while(|(one, other)| one == other);
    let same = blocks.count() * BLOCK;
    same + one[same..].iter().zip(&other[same..]).take_while(|(one, other)| one == other).count()
}

/// Returns the start of the string that `text` ends inside of, after its opening quote.
fn open_string(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr(b'"', text.get(at..)?)? + 1;
        match end_of_string(&text[at..]) {
            Some(end) => at += end + 1,
            None => return Some(at),
        }
    }
}

/// Finds the first quote or backslash. The first eight bytes are tested in one word, since most tokens of text end
/// there, and this costs less than a call of the vectorised search:
/// <https://graphics.stanford.edu/~seander/bithacks.html#ValueInWord>.
#[inline]
fn quote_or_backslash(text: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHEST: u64 = ONES << 7;

    if let Some(word) = text.first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        let is = |byte: u8| {
            let zero = word ^ (ONES * u64::from(byte));
            zero.wrapping_sub(ONES) & !zero & HIGHEST
        };
        let found = is(b'"') | is(b'\\');
        if found != 0 {
            // The lowest marked byte is exact; marks above it may be false.
            return Some(found.trailing_zeros() as usize / 8);
        }
    }
    memchr2(b'"', b'\\', text)
}

/// Returns the index of the closing quote of a string, where `rest` begins inside it.
pub fn end_of_string(rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += quote_or_backslash(rest.get(at..)?)?;
        if rest[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template<'a>(known: &str, text: &'a str) -> Option<JsonTemplate<&'a [u8]>> {
        JsonTemplate::of(known.as_bytes(), text.as_bytes())
    }

    #[test]
    fn strings_that_are_values_may_differ() {
        let template = template(
            r#"{"a":"x","n":1,"long \" name":{"b":"same"},"c":""}"#,
            r#"{"a":"yy\"","n":1,"long \" name":{"b":"same"},"c":"z"}"#,
        );
        let template = template.unwrap();
        assert_eq!(template.count(), 2);
        let text = r#"{"a":"\\","n":1,"long \" name":{"b":"same"},"c":"\"}"}"#;
        let spans = template.spans(text.as_bytes()).unwrap();
        assert_eq!([&text[spans[0].range()], &text[spans[1].range()]], [r"\\", r#"\"}"#]);
        assert_eq!(template.with(|index| index.to_string()), br#"{"a":"0","n":1,"long \" name":{"b":"same"},"c":"1"}"#);
        for other in [
            r#"{"a":"x","n":2,"long \" name":{"b":"same"},"c":""}"#,
            r#"{"a":"x","n":1,"long \" name":{"b":"other"},"c":""}"#,
            r#"{"a":"x","n":1,"long \" name":{"b":"same"},"c":""} "#,
            r#"{"a":"x","n":1,"long \" name":{"b":"same"},"c":"}"#,
            r#"{"a":"x","n":1,"long \" name":{"b":"same"},"c":"#,
            r#"{"a":null,"n":1,"long \" name":{"b":"same"},"c":""}"#,
            "",
        ] {
            assert_eq!(template.spans(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn what_differs_in_anything_else_has_no_shape() {
        for (known, given) in [
            (r#"{"a":"x"}"#, r#"{"a":"x"}"#),
            (r#"{"a":"x"}"#, r#"{"b":"x"}"#),
            (r#"{"a":"x"}"#, r#"{"b" :"x"}"#),
            (r#"{"a":"x"}"#, r#"{"a":1}"#),
            (r#"{"a":"x"}"#, r#"{"a":"x","b":"y"}"#),
            (r#"{"a":"x","b":1}"#, r#"{"a":"y","b":2}"#),
            (r#"{"a":1}"#, r#"{"a":12}"#),
            (r#"{"a":"x"#, r#"{"a":"y"#),
            (r#"["a","b","c","d","e"]"#, r#"["1","2","3","4","5"]"#),
            ("", r#"{"a":"x"}"#),
        ] {
            assert_eq!(template(known, given), None, "{known} {given}");
        }
    }

    /// The texts may begin to differ at any byte, inside an escape too.
    #[test]
    fn strings_may_differ_at_every_place() {
        let texts = ["", "a", "ab", r"\n", r"\\", r#"\""#, r"a\n", r"\u00e9", r"\u00ea", r#"\\\""#, "é"];
        let whole = |text: &str| format!(r#"{{"a": "{text}", "b": 1}}"#);
        for known in texts {
            for given in texts {
                let (known, given) = (whole(known), whole(given));
                let Some(template) = template(&known, &given) else {
                    assert_eq!(known, given);
                    continue;
                };
                for other in texts {
                    let other_whole = whole(other);
                    let spans = template.spans(other_whole.as_bytes()).unwrap();
                    assert_eq!(&other_whole[spans[0].range()], other);
                    assert_eq!(template.with(|_| other.to_owned()), other_whole.as_bytes());
                }
            }
        }
    }

    #[test]
    fn quotes_and_backslashes_are_found_wherever_they_stand() {
        // The bytes beside them in the alphabet, and with the highest bit set.
        let others = [b'!', b'#', b'[', b']', 0xA2, 0xDC, 0, 0xFF];
        for length in 0..24 {
            for other in others {
                let mut text = vec![other; length];
                assert_eq!(quote_or_backslash(&text), None, "{text:?}");
                for at in 0..length {
                    for (first, second) in [(b'"', b'\\'), (b'\\', b'"')] {
                        (text[at], text[length - 1]) = (first, second);
                        text[at] = first;
                        assert_eq!(quote_or_backslash(&text), Some(at), "{text:?}");
                        (text[at], text[length - 1]) = (other, other);
                    }
                }
            }
        }
    }

    #[test]
    fn a_string_ends_with_the_first_quote_that_is_not_escaped() {
        for (rest, end) in
            [(r#"a\"b\\" c"#, Some(6)), (r#"""#, Some(0)), (r"\", None), (r#"\""#, None), ("a", None), ("", None)]
        {
            assert_eq!(end_of_string(rest.as_bytes()), end, "{rest}");
        }
    }
}
