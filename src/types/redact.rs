//! Takes secrets out of what a server said, however they are spelled there.
//!
//! The text need not be valid JSON, HTML or UTF-8. It is decoded in layers (`decode`): first the escapes that stand in it,
//! then those that appear when the first are decoded, and so on. Each layer is searched for each secret, as text without
//! regard to case, in hexadecimal, and in base64 at each of its three alignments. What is found is replaced in the text
//! itself.
//!
//! The time is linear in the text: there are at most [`MOST_LAYERS`] layers and [`MOST_BASE64`] within them, and each search
//! is linear.

mod decode;

use std::borrow::Cow;
use std::ops::Range;

use aws_smithy_types::base64;
use bytes::Bytes;
use memchr::memmem::Finder;
use serde_json::Value;

use decode::Layer;

/// Stands in a secret's place.
const MASK: &[u8] = b"***";
/// What is shorter is a placeholder, and may well be a word of the text.
pub(super) const SHORTEST: usize = 4;
/// Below this many bytes a secret is found in its own case only, and not in base64 or hexadecimal: there are words like it.
const SHORT: usize = 8;
/// So many characters at the beginning of a longer secret are no part of the search. What stands before a secret may look
/// like an escape that its first characters are part of: `%` and `ab…`.
const HEAD: usize = 4;
/// The least of a secret's beginning that is hidden at the end of a text, where the rest of it was cut off.
const SHORTEST_CUT: usize = 5;
/// Escapes within escapes, at most: a JSON text in a JSON string in a query is three.
const MOST_LAYERS: usize = 5;
/// Base64 of texts that hold secrets in other spellings, or in base64, is decoded so many times.
const MOST_BASE64: usize = 2;
/// What is shorter is a word, and not decoded.
const SHORTEST_BASE64: usize = 12;

/// Finds secrets in texts.
#[derive(Debug, Default)]
pub struct Redactor {
    needles: Vec<Needle>,
}

/// One spelling of a secret.
#[derive(Debug)]
struct Needle {
    form: Form,
    /// As the text is compared: folded.
    whole: Vec<u8>,
    /// The end of it that is searched for.
    tail: Finder<'static>,
    /// How much stands before that.
    head: usize,
    /// With its case, where that must be right.
    exact: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    /// The characters that the secret alone decides; around them may stand one that it decides a part of.
    Base64 {
        before: bool,
        after: bool,
    },
}

impl Redactor {
    /// Finds these secrets; those of fewer than four bytes are ignored.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut redactor = Self::default();
        for secret in secrets.into_iter().filter(|secret| secret.len() >= SHORTEST) {
            redactor.add_text(secret.as_bytes());
            let layers = decode::layers(secret.as_bytes(), MOST_LAYERS);
            if let Some(decoded) = layers.last().filter(|layer| layer.bytes.len() >= SHORTEST) {
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

    /// What is the same of the base64 of every text in which the secret stands `alignment` bytes after a multiple of three.
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

    /// Puts asterisks in the place of the secrets.
    pub fn hide(&self, text: &mut String) {
        if let Some(hidden) = self.redact(text.as_bytes()) {
            *text = String::from_utf8_lossy(&hidden).into_owned();
        }
    }

    /// The text with asterisks in place of the secrets; `None`: there are none in it. It may have been cut: the beginning of
    /// a secret at its end is hidden too.
    pub fn redact(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut places = self.places(text);
        if places.is_empty() {
            return None;
        }
        places.sort_unstable_by_key(|place| (place.start, place.end));
        let mut hidden = Vec::with_capacity(text.len());
        let mut end = 0;
        for place in places {
            // One that overlaps the one before is hidden with it.
            if place.start >= end {
                hidden.extend_from_slice(&text[end..place.start]);
                hidden.extend_from_slice(MASK);
            }
            end = end.max(place.end);
        }
        hidden.extend_from_slice(&text[end..]);
        Some(hidden)
    }

    /// A JSON text with asterisks in place of the secrets in its strings, of which each may have been cut.
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

    /// Where secrets stand in the text.
    fn places(&self, text: &[u8]) -> Vec<Range<usize>> {
        self.places_within(text, MOST_BASE64)
    }

    /// The same, with what stands there in base64 decoded so many times.
    fn places_within(&self, text: &[u8], base64_left: usize) -> Vec<Range<usize>> {
        let mut places = Vec::new();
        if self.needles.is_empty() {
            return places;
        }
        let layers = decode::layers(text, MOST_LAYERS);
        for depth in 0..=layers.len() {
            let view = if depth == 0 { text } else { &layers[depth - 1].bytes };
            let in_text =
                |place: Range<usize>| layers[..depth].iter().rev().fold(place, |place, layer| layer.source(place));
            let mut found = self.find(view);
            if base64_left > 0 {
                for (run, first, decoded) in encoded_texts(view) {
                    // Three bytes are four digits.
                    let digits = |place: Range<usize>| {
                        let (start, end) = (first + place.start, first + place.end);
                        run.start + start / 3 * 4..(run.start + end.div_ceil(3) * 4).min(run.end)
                    };
                    let inside = self.places_within(&decoded, base64_left - 1).into_iter();
                    found.extend(inside.map(|place| (digits(place), false)));
                }
            }
            places.extend(found.into_iter().map(|(place, is_tail)| match (in_text(place), is_tail) {
                (place, true) => place.start..text.len(),
                (place, false) => place,
            }));
        }
        places
    }

    /// Where secrets stand in one layer, and whether what was found is the beginning of one at the layer's end.
    fn find(&self, view: &[u8]) -> Vec<(Range<usize>, bool)> {
        let mut found = Vec::new();
        let text: Vec<u8> = view.iter().map(|byte| folded(*byte)).collect();
        for needle in self.needles.iter().filter(|needle| needle.form == Form::Text) {
            for place in needle.find(&text) {
                let is_right = needle.exact.as_ref().is_none_or(|exact| view[place.clone()] == exact[..]);
                found.extend(is_right.then_some((place, false)));
            }
            found.extend(needle.cut(&text).map(|place| (place, true)));
        }
        if self.needles.iter().all(|needle| needle.form == Form::Text) {
            return found;
        }
        // Mail breaks its lines.
        let unbroken = Layer::without_whitespace(view);
        let text: Cow<[u8]> = unbroken.as_ref().map_or(view.into(), |layer| layer.bytes.as_slice().into());
        let in_view = |place: Range<usize>| unbroken.as_ref().map_or(place.clone(), |layer| layer.source(place));
        let text: Vec<u8> = text.iter().map(|byte| standard(*byte)).collect();
        for needle in &self.needles {
            let Form::Base64 { before, after } = needle.form else { continue };
            for mut place in needle.find(&text) {
                let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
                if before && place.start > 0 && is_digit(&text[place.start - 1]) {
                    place.start -= 1;
                }
                if after && text.get(place.end).is_some_and(is_digit) {
                    place.end += 1;
                }
                while text.get(place.end) == Some(&b'=') {
                    place.end += 1;
                }
                found.push((in_view(place), false));
            }
            found.extend(needle.cut(&text).map(|place| (in_view(place), true)));
        }
        found
    }
}

impl Needle {
    /// Where it stands in a folded text.
    fn find(&self, text: &[u8]) -> impl Iterator<Item = Range<usize>> {
        self.tail.find_iter(text).map(move |at| {
            let head = self.whole[..self.head].iter().rev().zip(text[..at].iter().rev());
            let same = head.take_while(|(one, other)| one == other).count();
            at - same..at + self.whole.len() - self.head
        })
    }

    /// Where the longest beginning of it stands at the end of a folded text.
    fn cut(&self, text: &[u8]) -> Option<Range<usize>> {
        let longest = (self.whole.len() - 1).min(text.len());
        let length = (SHORTEST_CUT..=longest).rev().find(|length| text.ends_with(&self.whole[..*length]))?;
        Some(text.len() - length..text.len())
    }
}

/// ASCII texts that stand in a text in base64, without white space in it: the digits, how many of the bytes they stand for
/// come before such a text, and the text. What a key itself looks like in base64 is searched for
/// (`Redactor::add_base64`); this is for keys that were escaped before.
fn encoded_texts(text: &[u8]) -> Vec<(Range<usize>, usize, Vec<u8>)> {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    let is_text = |byte: &u8| matches!(byte, 0 | b'\t' | b'\n' | b'\r' | b' '..=b'~');
    let mut found = Vec::new();
    let mut start = 0;
    for run in text.split(|byte| !is_digit(byte)) {
        // Digits that belong to something else may stand before.
        for skipped in (0..4).filter(|skipped| run.len() >= SHORTEST_BASE64 + skipped) {
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

/// What digits of base64 stand for, of either alphabet and without padding.
fn decoded_base64(digits: &[u8]) -> Vec<u8> {
    let mut digits: String = digits.iter().map(|digit| char::from(standard(*digit))).collect();
    match digits.len() % 4 {
        1 => drop(digits.pop()),
        over => digits.extend(std::iter::repeat_n('=', (4 - over) % 4)),
    }
    base64::decode(digits).unwrap_or_default()
}

/// A byte as texts are compared: without its case, and a plus as the space that it stands for in a form.
fn folded(byte: u8) -> u8 {
    if byte == b'+' { b' ' } else { byte.to_ascii_lowercase() }
}

/// A digit of base64 in the standard alphabet.
fn standard(byte: u8) -> u8 {
    match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk/Canary+0123456789-abcdef";

    fn hidden(secret: &str, text: &str) -> String {
        let hidden = Redactor::new([secret]).redact(text.as_bytes());
        hidden.map_or_else(|| text.to_owned(), |hidden| String::from_utf8(hidden).unwrap())
    }

    fn each(character: impl Fn(char) -> String) -> String {
        KEY.chars().map(character).collect()
    }

    #[test]
    fn what_holds_no_secret_is_left_alone() {
        for text in ["", "nothing here", "nothing \\ here %41 &amp; \\u0041", "\\u", "%", "\\\\", "sk/C"] {
            assert_eq!(Redactor::new([KEY]).redact(text.as_bytes()), None, "{text}");
        }
        assert_eq!(hidden("abc", "abc"), "abc");
    }

    #[test]
    fn a_secret_is_hidden_however_it_is_escaped() {
        assert_eq!(hidden("ab/cd+ef", "xab/cd+efab/cd+ef"), "x******");
        assert_eq!(hidden("a'b&cdefg", "a&#x27;b&amp;cdefg, a&#39;b&amp;amp;cdefg"), "***, ***");
        assert_eq!(hidden("ab/cd+ef", r#"{"a":"ab\/cd+ef"}"#), r#"{"a":"***"}"#);
        assert_eq!(hidden("ab/cd+ef", r#""{\"a\":\"ab\\\/cd+ef\"}""#), r#""{\"a\":\"***\"}""#);
        for spelled in [
            KEY.to_owned(),
            KEY.to_ascii_uppercase(),
            KEY.to_ascii_lowercase(),
            KEY.replace('/', "\\/"),
            KEY.replace('+', " "),
            each(|c| format!("\\u{:04x}", c as u32)),
            each(|c| format!("\\u{:04X}", c as u32)),
            each(|c| format!("\\\\\\u{:04X}", c as u32)),
            each(|c| format!("\\x{:02x}", c as u32)),
            each(|c| format!("\\u{{{:x}}}", c as u32)),
            each(|c| format!("\\{:03o}", c as u32)),
            each(|c| format!("%{:02x}", c as u32)),
            each(|c| format!("%2525{:02X}", c as u32)),
            each(|c| format!("%u{:04x}", c as u32)),
            each(|c| format!("%5Cu{:04x}", c as u32)),
            each(|c| format!("&#{};", c as u32)),
            each(|c| format!("&amp;#x{:X};", c as u32)),
            each(|c| format!("{c}\0")),
            each(|c| format!("{:02x}", c as u32)),
            each(|c| if c.is_ascii_digit() { format!("\\u{:04x}", c as u32) } else { c.to_string() }),
            format!("\\u0073{}", &KEY[1..]),
        ] {
            for (before, after) in [("", ""), ("%", "%"), ("\\", "\\"), ("&#", ";"), ("a", "b"), ("\"", "\":1")] {
                let text = format!("{before}{spelled}{after}");
                let shown = hidden(KEY, &text);
                assert!(shown.contains("***") && shown.len() <= before.len() + after.len() + 7, "{text} → {shown}");
            }
        }
    }

    #[test]
    fn a_secret_that_is_itself_escaped_is_hidden() {
        for secret in ["pass%41word%zz", "a\\nb\\u0041cdefgh", "line one\nline two", "&amp;secret;", "pässwörd1"] {
            for text in [
                secret.to_owned(),
                serde_json::to_string(secret).unwrap(),
                serde_json::to_string(&serde_json::to_string(secret).unwrap()).unwrap(),
                percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC).to_string(),
            ] {
                let shown = hidden(secret, &text);
                assert!(shown.len() <= 9 && shown.contains("***"), "{secret:?}: {text} → {shown}");
            }
        }
    }

    #[test]
    fn a_secret_is_hidden_in_base64() {
        for before in ["", "u", "us", "user:", "{\"key\": \""] {
            for after in ["", "\"}", "x", "yz"] {
                let encoded = base64::encode(format!("{before}{KEY}{after}"));
                let url_safe = encoded.replace('+', "-").replace('/', "_");
                let broken: Vec<String> =
                    encoded.as_bytes().chunks(7).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
                for spelled in [
                    encoded.clone(),
                    encoded.trim_end_matches('=').to_owned(),
                    url_safe,
                    encoded.replace('/', "\\/"),
                    encoded.replace('=', "%3D").replace('+', "%2B"),
                    broken.join("\r\n"),
                    broken.join("\\n"),
                ] {
                    let shown = hidden(KEY, &format!("is <{spelled}>"));
                    assert!(shown.starts_with("is <") && shown.ends_with('>'), "{shown}");
                    let (head, tail) = shown.split_once("***").expect(&spelled);
                    // What is left stands for what stood around the secret.
                    assert!(head.len() - 4 <= before.len() * 8 / 6 + 5, "{spelled} → {shown}");
                    assert!(tail.len() <= after.len() * 8 / 6 + 8, "{spelled} → {shown}");
                }
            }
        }
    }

    #[test]
    fn a_secret_is_hidden_in_base64_of_another_spelling() {
        for spelled in [
            base64::encode(KEY),
            base64::encode(format!("user:{KEY}")),
            base64::encode(base64::encode(KEY)),
            each(|c| format!("%{:02x}", c as u32)),
            each(|c| format!("\\u{:04X}", c as u32)),
            KEY.replace('/', "\\/"),
            each(|c| format!("{:02x}", c as u32)),
        ] {
            for (before, after) in [("", ""), ("{\"k\": \"", "\"}"), ("x ", "")] {
                let encoded = base64::encode(format!("{before}{spelled}{after}"));
                let url_safe = encoded.replace('+', "-").replace('/', "_");
                for text in [
                    encoded.clone(),
                    encoded.trim_end_matches('=').to_owned(),
                    url_safe,
                    format!("//a/{encoded}"),
                    format!("x{encoded}"),
                ] {
                    let shown = hidden(KEY, &format!("is <{text}>"));
                    assert!(shown.contains("***"), "{text} → {shown}");
                    assert!(shown.len() <= 18 + (before.len() + after.len() + 6) * 4 / 3, "{text} → {shown}");
                }
            }
        }
        let honest = base64::encode("nothing to see here, \\u0041 and so on, at all");
        assert_eq!(hidden(KEY, &honest), honest);
    }

    /// `cargo test --release -- --ignored --nocapture what_a_mebibyte_takes`
    #[test]
    #[ignore = "a measurement"]
    fn what_a_mebibyte_takes() {
        let redactor = Redactor::new([KEY, &*"b".repeat(40), "session-0123456789"]);
        for piece in [
            "x",
            "word ",
            "YWJjZGVm",
            "YWJjZGVmZ2hp ",
            "V1ZkS2FscEhWbTFhTW1od ",
            "YWJjZGVmZ2hp/wD/",
            "{\"a\":\"b\\n\"},",
            "%2525",
            "\\",
            "&amp;",
            "\0a",
            "\\u0041",
            "sk/C",
        ] {
            let text = piece.repeat((1 << 20) / piece.len());
            let start = std::time::Instant::now();
            redactor.redact(text.as_bytes());
            println!("{:>5} ms: {piece:?}", start.elapsed().as_millis());
        }
    }

    #[test]
    fn the_beginning_of_a_secret_is_hidden_at_a_cut() {
        let redactor = Redactor::new([KEY]);
        for spelled in [
            KEY.to_owned(),
            each(|c| format!("\\u{:04x}", c as u32)),
            each(|c| format!("%{:02x}", c as u32)),
            each(|c| format!("&#{};", c as u32)),
            base64::encode(KEY),
        ] {
            let width = spelled.len() / KEY.len();
            for cut in width * 9..spelled.len() {
                let text = format!("it is {}", &spelled[..cut]);
                let shown = redactor.redact(text.as_bytes()).expect(&text);
                assert_eq!(String::from_utf8(shown).unwrap(), "it is ***", "{text}");
            }
        }
    }

    #[test]
    fn json_stays_json() {
        for secret in [KEY, "/ab/cd+ef/gh"] {
            let escaped = serde_json::to_string(secret).unwrap().replace('/', "\\/");
            let text = format!(r#"{{{escaped}:["\\",{escaped}],"a\\\"":"{}\\"}}"#, escaped.trim_matches('"'));
            let shown: serde_json::Value = serde_json::from_str(&hidden(secret, &text)).unwrap();
            assert_eq!(shown, serde_json::json!({"***": ["\\", "***"], "a\\\"": "***\\"}));
        }
    }

    #[test]
    fn words_like_a_short_secret_are_left_alone() {
        assert_eq!(hidden("none", "'NoneType' is none"), "'NoneType' is ***");
    }

    #[test]
    fn a_text_made_to_be_slow_is_not() {
        let redactor = Redactor::new([&*"a".repeat(64), KEY]);
        for piece in ["\\", "a", "%25", "%", "&amp;", "\\u", "&#1", "\\ud800", "%u00"] {
            let text = piece.repeat(200_000 / piece.len());
            let start = std::time::Instant::now();
            redactor.redact(text.as_bytes());
            assert!(start.elapsed().as_secs() < 5, "{piece}");
        }
    }
}
