//! Redacts secrets in responses of servers, in any encoding.
//!
//! The text need not be valid JSON, HTML or UTF-8. It is decoded in layers (`decode`): first its escapes, then those
//! that the decoded text contains, and so on. Each layer is searched for each secret: as text without regard to case,
//! in hexadecimal, and in base64 at each of its three alignments. Matches are replaced in the original text.
//!
//! The time is linear in the length of the text: there are at most `MAX_LAYERS` layers of escapes and
//! `MAX_BASE64_LAYERS` of base64 within them, and each search is linear.

mod decode;

use std::borrow::Cow;
use std::ops::Range;

use aws_smithy_types::base64;
use bytes::Bytes;
use memchr::memmem::Finder;
use serde_json::Value;

use decode::Layer;

/// Replacement of a secret.
const MASK: &[u8] = b"***";
/// Minimum length of a secret; shorter values are placeholders, and often ordinary words.
pub(super) const MIN_SECRET: usize = 4;
/// Secrets with fewer bytes are matched in their own case only, and not in base64 or hexadecimal, since there are words
/// like them.
const SHORT: usize = 8;
/// Number of initial characters of a longer secret that are not searched for but compared afterwards. Text before a
/// secret may look like an escape that includes its first characters: `%` and `ab…`.
const HEAD: usize = 4;
/// Minimum length of a secret's beginning that is redacted at the end of a truncated text.
const MIN_TRUNCATED: usize = 5;
/// Maximum number of nested escapes: a JSON text in a JSON string in a query has three.
const MAX_LAYERS: usize = 5;
/// Maximum number of nested base64 encodings that are decoded, to find secrets that were escaped or encoded before.
const MAX_BASE64_LAYERS: usize = 2;
/// Minimum length of a run of base64 digits to be decoded; shorter ones are ordinary words.
const MIN_BASE64_RUN: usize = 12;

/// Finds and replaces secrets in texts.
#[derive(Debug, Default)]
pub struct Redactor {
    needles: Vec<Needle>,
}

/// One encoding of a secret, as it is searched for.
#[derive(Debug)]
struct Needle {
    form: Form,
    /// The whole search string, folded as the text is.
    whole: Vec<u8>,
    /// Finder of the search string without its first `head` bytes.
    tail: Finder<'static>,
    /// Number of bytes before `tail`.
    head: usize,
    /// The secret in its own case, if the case must match.
    exact: Option<Vec<u8>>,
}

/// Encoding of a search string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    /// Base64 digits that depend on the secret alone; a digit before or after them may depend on it in part.
    Base64 {
        before: bool,
        after: bool,
    },
}

impl Redactor {
    /// Creates a redactor for these secrets; those of fewer than four bytes are ignored.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut redactor = Self::default();
        for secret in secrets.into_iter().filter(|secret| secret.len() >= MIN_SECRET) {
            redactor.add_text(secret.as_bytes());
            let layers = decode::layers(secret.as_bytes(), MAX_LAYERS);
            if let Some(decoded) = layers.last().filter(|layer| layer.bytes.len() >= MIN_SECRET) {
                redactor.add_text(&decoded.bytes);
            }
            if secret.len() >= SHORT {
                let digits: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
                redactor.add_text(digits.as_bytes());
                (0..3).for_each(|alignment| redactor.add_base64(secret.as_bytes(), alignment));
            }
        }
        redactor
    }

    fn add_text(&mut self, text: &[u8]) {
        let exact = (text.len() < SHORT).then(|| text.to_vec());
        self.add(Form::Text, text.iter().map(|byte| folded(*byte)).collect(), exact);
    }

    /// Adds the digits that are common to the base64 of all texts in which the secret begins `alignment` bytes after a
    /// multiple of three.
    fn add_base64(&mut self, secret: &[u8], alignment: usize) {
        let mut text = vec![0; alignment];
        text.extend_from_slice(secret);
        let end = text.len() * 8 / 6;
        let form = Form::Base64 { before: alignment > 0, after: !text.len().is_multiple_of(3) };
        let encoded = base64::encode(text);
        self.add(form, encoded.as_bytes()[(alignment * 8).div_ceil(6)..end].to_vec(), None);
    }

    fn add(&mut self, form: Form, whole: Vec<u8>, exact: Option<Vec<u8>>) {
        if self.needles.iter().any(|known| known.form == form && known.whole == whole) {
            return;
        }
        let head = if whole.len() >= 3 * HEAD { HEAD } else { 0 };
        let tail = Finder::new(&whole[head..]).into_owned();
        self.needles.push(Needle { form, whole, tail, head, exact });
    }

    /// Replaces the secrets in a text by asterisks.
    pub fn hide(&self, text: &mut String) {
        if let Some(hidden) = self.redact(text.as_bytes()) {
            *text = String::from_utf8_lossy(&hidden).into_owned();
        }
    }

    /// As [`hide`](Self::hide), for a text that was not truncated: one that is shorter than every secret in each of its encodings
    /// holds none, and is not searched.
    pub fn hide_whole(&self, text: &mut String) {
        if self.needles.iter().any(|needle| needle.whole.len() <= text.len()) {
            self.hide(text);
        }
    }

    /// Returns the text with its secrets replaced by asterisks; `None` if it contains none. The text may have been
    /// truncated: the beginning of a secret at its end is replaced too.
    pub fn redact(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut spans = self.spans(text);
        if spans.is_empty() {
            return None;
        }
        spans.sort_unstable_by_key(|span| (span.start, span.end));
        let mut hidden = Vec::with_capacity(text.len());
        let mut end = 0;
        for span in spans {
            // A span that overlaps the previous one is covered by its asterisks.
            if span.start >= end {
                hidden.extend_from_slice(&text[end..span.start]);
                hidden.extend_from_slice(MASK);
            }
            end = end.max(span.end);
        }
        hidden.extend_from_slice(&text[end..]);
        Some(hidden)
    }

    /// Returns a JSON text with the secrets in its strings replaced by asterisks; each string may have been truncated.
    pub fn redact_json(&self, json: Bytes) -> Bytes {
        match serde_json::from_slice::<Value>(&json) {
            Ok(mut value) => {
                self.hide_strings(&mut value);
                value.to_string().into()
            }
            Err(_) => self.redact(&json).map_or(json, Bytes::from),
        }
    }

    fn hide_strings(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.hide(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.hide_strings(item)),
            Value::Object(members) => {
                let hidden = std::mem::take(members).into_iter().map(|(mut name, mut value)| {
                    self.hide(&mut name);
                    self.hide_strings(&mut value);
                    (name, value)
                });
                *members = hidden.collect();
            }
            _ => {}
        }
    }

    /// Returns the spans of secrets in a text.
    fn spans(&self, text: &[u8]) -> Vec<Range<usize>> {
        self.spans_within(text, MAX_BASE64_LAYERS)
    }

    /// Returns the spans of secrets in a text, decoding at most `base64_left` nested base64 encodings.
    fn spans_within(&self, text: &[u8], base64_left: usize) -> Vec<Range<usize>> {
        let mut spans = Vec::new();
        if self.needles.is_empty() {
            return spans;
        }
        let layers = decode::layers(text, MAX_LAYERS);
        for depth in 0..=layers.len() {
            let view = if depth == 0 { text } else { &layers[depth - 1].bytes };
            let in_text =
                |span: Range<usize>| layers[..depth].iter().rev().fold(span, |span, layer| layer.source(span));
            let mut found = self.find(view);
            if base64_left > 0 {
                for (run, first, decoded) in encoded_texts(view) {
                    // Three bytes correspond to four digits.
                    let digits = |span: Range<usize>| {
                        let (start, end) = (first + span.start, first + span.end);
                        run.start + start / 3 * 4..(run.start + end.div_ceil(3) * 4).min(run.end)
                    };
                    let inside = self.spans_within(&decoded, base64_left - 1).into_iter();
                    found.extend(inside.map(|span| (digits(span), false)));
                }
            }
            spans.extend(found.into_iter().map(|(span, is_tail)| match (in_text(span), is_tail) {
                (span, true) => span.start..text.len(),
                (span, false) => span,
            }));
        }
        spans
    }

    /// Returns the spans of secrets in one layer, each with a flag that is true if only the beginning of the secret
    /// stands at the end of the layer.
    fn find(&self, view: &[u8]) -> Vec<(Range<usize>, bool)> {
        let mut found = Vec::new();
        let text: Vec<u8> = view.iter().map(|byte| folded(*byte)).collect();
        for needle in self.needles.iter().filter(|needle| needle.form == Form::Text) {
            for span in needle.find(&text) {
                let is_right = needle.exact.as_ref().is_none_or(|exact| view[span.clone()] == exact[..]);
                found.extend(is_right.then_some((span, false)));
            }
            found.extend(needle.truncated(&text).map(|span| (span, true)));
        }
        if self.needles.iter().all(|needle| needle.form == Form::Text) {
            return found;
        }
        // Base64 in mail has line breaks.
        let unbroken = Layer::without_whitespace(view);
        let text: Cow<[u8]> = unbroken.as_ref().map_or(view.into(), |layer| layer.bytes.as_slice().into());
        let in_view = |span: Range<usize>| unbroken.as_ref().map_or(span.clone(), |layer| layer.source(span));
        let text: Vec<u8> = text.iter().map(|byte| standard(*byte)).collect();
        for needle in &self.needles {
            let Form::Base64 { before, after } = needle.form else { continue };
            for mut span in needle.find(&text) {
                let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
                if before && span.start > 0 && is_digit(&text[span.start - 1]) {
                    span.start -= 1;
                }
                if after && text.get(span.end).is_some_and(is_digit) {
                    span.end += 1;
                }
                while text.get(span.end) == Some(&b'=') {
                    span.end += 1;
                }
                found.push((in_view(span), false));
            }
            found.extend(needle.truncated(&text).map(|span| (in_view(span), true)));
        }
        found
    }
}

impl Needle {
    /// Returns the spans of this search string in a folded text.
    fn find(&self, text: &[u8]) -> impl Iterator<Item = Range<usize>> {
        self.tail.find_iter(text).map(move |at| {
            let head = self.whole[..self.head].iter().rev().zip(text[..at].iter().rev());
            let same = head.take_while(|(one, other)| one == other).count();
            at - same..at + self.whole.len() - self.head
        })
    }

    /// Returns the span of the longest beginning of this search string at the end of a folded text.
    fn truncated(&self, text: &[u8]) -> Option<Range<usize>> {
        let longest = (self.whole.len() - 1).min(text.len());
        let length = (MIN_TRUNCATED..=longest).rev().find(|length| text.ends_with(&self.whole[..*length]))?;
        Some(text.len() - length..text.len())
    }
}

/// Decodes the base64 in a text without white space, and returns for each ASCII text in it: the span of the digits, the
/// number of decoded bytes before the text, and the text. Base64 of a key itself is found by search
/// (`Redactor::add_base64`); this is for keys that were escaped before.
fn encoded_texts(text: &[u8]) -> Vec<(Range<usize>, usize, Vec<u8>)> {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    let is_text = |byte: &u8| matches!(byte, 0 | b'\t' | b'\n' | b'\r' | b' '..=b'~');
    let mut found = Vec::new();
    let mut start = 0;
    for run in text.split(|byte| !is_digit(byte)) {
        // The first digits of a run may belong to something else, so all four alignments are decoded.
        for skipped in (0..4).filter(|skipped| run.len() >= MIN_BASE64_RUN + skipped) {
            let decoded = decoded_base64(&run[skipped..]);
            let mut first = 0;
            for piece in decoded.split(|byte| !is_text(byte)) {
                if piece.len() >= SHORT {
                    found.push((start + skipped..start + run.len(), first, piece.to_vec()));
                }
                first += piece.len() + 1;
            }
        }
        start += run.len() + 1;
    }
    found
}

/// Decodes base64 digits of either alphabet, without padding.
fn decoded_base64(digits: &[u8]) -> Vec<u8> {
    let mut digits: String = digits.iter().map(|digit| char::from(standard(*digit))).collect();
    match digits.len() % 4 {
        1 => drop(digits.pop()),
        over => digits.extend(std::iter::repeat_n('=', (4 - over) % 4)),
    }
    base64::decode(digits).unwrap_or_default()
}

/// Folds a byte for comparison: to lower case, and a plus to the space that it represents in a form.
fn folded(byte: u8) -> u8 {
    if byte == b'+' { b' ' } else { byte.to_ascii_lowercase() }
}

/// Converts a base64 digit to the standard alphabet.
fn standard(byte: u8) -> u8 {
    match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    }
}

#[cfg(test)]
mod tests;
