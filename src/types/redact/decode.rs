//! Decoder of escapes of all kinds, which maps decoded bytes to their positions in the source.

use std::ops::Range;

/// A text with one level of escapes decoded.
#[derive(Debug)]
pub(super) struct Layer {
    pub bytes: Vec<u8>,
    /// Mapping of the bytes to the source, in order.
    runs: Vec<Run>,
}

/// A run of decoded bytes and its range in the source.
#[derive(Debug)]
struct Run {
    /// Index of the run's first decoded byte.
    decoded: usize,
    source: Range<usize>,
    /// True if the bytes are unchanged; false if they are one decoded escape.
    is_plain: bool,
}

/// Kind of token at the beginning of a text.
enum Token {
    /// An escape of this length, and its character.
    Escape(usize, Character),
    /// Bytes of this number that represent nothing.
    Nothing(usize),
    /// A byte that represents itself.
    Plain,
}

/// The decoded value of an escape.
enum Character {
    Byte(u8),
    Unicode(char),
}

/// Decodes a text repeatedly, until no escape is left or `max` layers are reached.
pub(super) fn layers(text: &[u8], max: usize) -> Vec<Layer> {
    let mut layers: Vec<Layer> = Vec::new();
    while layers.len() < max {
        match Layer::decode(layers.last().map_or(text, |layer| &layer.bytes)) {
            Some(layer) => layers.push(layer),
            None => break,
        }
    }
    layers
}

impl Layer {
    /// Decodes the escapes of a text; `None` if it has none.
    fn decode(text: &[u8]) -> Option<Self> {
        let may_be_escape = |byte: &u8| matches!(byte, b'\\' | b'%' | b'&' | 0);
        let mut layer = Self { bytes: Vec::new(), runs: Vec::new() };
        let (mut plain, mut at) = (0, 0);
        while let Some(found) = text[at..].iter().position(may_be_escape) {
            at += found;
            let (length, character) = match token(&text[at..]) {
                Token::Plain => {
                    at += 1;
                    continue;
                }
                Token::Escape(length, character) => (length, Some(character)),
                Token::Nothing(length) => (length, None),
            };
            layer.push_plain(text, plain..at);
            let decoded = layer.bytes.len();
            match character {
                Some(Character::Byte(byte)) => layer.bytes.push(byte),
                Some(Character::Unicode(character)) => {
                    layer.bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                None => {}
            }
            if layer.bytes.len() > decoded {
                layer.runs.push(Run { decoded, source: at..at + length, is_plain: false });
            }
            at += length;
            plain = at;
        }
        if plain == 0 {
            return None;
        }
        layer.push_plain(text, plain..text.len());
        Some(layer)
    }

    /// Removes the white space of a text; `None` if it has none.
    pub fn without_whitespace(text: &[u8]) -> Option<Self> {
        if !text.iter().any(u8::is_ascii_whitespace) {
            return None;
        }
        let mut layer = Self { bytes: Vec::with_capacity(text.len()), runs: Vec::new() };
        let mut start = 0;
        for (at, _) in text.iter().enumerate().filter(|(_, byte)| byte.is_ascii_whitespace()) {
            layer.push_plain(text, start..at);
            start = at + 1;
        }
        layer.push_plain(text, start..text.len());
        Some(layer)
    }

    fn push_plain(&mut self, text: &[u8], source: Range<usize>) {
        if !source.is_empty() {
            let decoded = self.bytes.len();
            self.bytes.extend_from_slice(&text[source.clone()]);
            self.runs.push(Run { decoded, source, is_plain: true });
        }
    }

    /// Returns the source range of a non-empty range of decoded bytes.
    pub fn source(&self, span: Range<usize>) -> Range<usize> {
        let run = |at: usize| &self.runs[self.runs.partition_point(|run| run.decoded <= at) - 1];
        let (first, last) = (run(span.start), run(span.end - 1));
        let start = first.source.start + if first.is_plain { span.start - first.decoded } else { 0 };
        let end = match last.is_plain {
            true => last.source.start + span.end - last.decoded,
            false => last.source.end,
        };
        start..end
    }
}

fn token(text: &[u8]) -> Token {
    match text[0] {
        // In UTF-16, each ASCII character has a NUL byte beside it.
        0 => Token::Nothing(1),
        b'\\' => backslash(text),
        b'%' => percent(text),
        b'&' => entity(text),
        _ => Token::Plain,
    }
}

/// Parses any number of backslashes and the character that they escape, as in JSON within JSON: all of them represent
/// that one character.
fn backslash(text: &[u8]) -> Token {
    let start = text.iter().position(|byte| *byte != b'\\').unwrap_or(text.len());
    let rest = &text[start..];
    let escape = |length: usize, character| Token::Escape(start + length, character);
    match rest {
        [] => Token::Nothing(start),
        [b'u', b'{', inside @ ..] => match digits(inside, 16, 1..=6) {
            (length, Some(value)) if inside.get(length) == Some(&b'}') => escape(length + 3, unicode(value)),
            (length, _) if length == inside.len() => Token::Nothing(text.len()),
            _ => escape(1, Character::Byte(b'u')),
        },
        [b'u', inside @ ..] => match digits(inside, 16, 4..=4) {
            (_, Some(high @ 0xD800..0xDC00)) => match low(&inside[4..]) {
                Some((length, low)) => escape(5 + length, unicode(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00))),
                None => escape(5, unicode(high)),
            },
            (_, Some(value)) => escape(5, unicode(value)),
            (length, None) if length == inside.len() => Token::Nothing(text.len()),
            _ => escape(1, Character::Byte(b'u')),
        },
        [b'U', inside @ ..] => match digits(inside, 16, 8..=8) {
            (_, Some(value)) => escape(9, unicode(value)),
            _ => escape(1, Character::Byte(b'U')),
        },
        [b'x', inside @ ..] => match digits(inside, 16, 2..=2) {
            (_, Some(value)) => escape(3, Character::Byte(value as u8)),
            (length, None) if length == inside.len() => Token::Nothing(text.len()),
            _ => escape(1, Character::Byte(b'x')),
        },
        [digit @ b'0'..=b'3', ..] => match digits(rest, 8, 3..=3) {
            (_, Some(value)) => escape(3, Character::Byte(value as u8)),
            _ => escape(1, Character::Byte(*digit)),
        },
        [b'n', ..] => escape(1, Character::Byte(b'\n')),
        [b'r', ..] => escape(1, Character::Byte(b'\r')),
        [b't', ..] => escape(1, Character::Byte(b'\t')),
        [b'b', ..] => escape(1, Character::Byte(0x08)),
        [b'f', ..] => escape(1, Character::Byte(0x0C)),
        [other, ..] => escape(1, Character::Byte(*other)),
    }
}

/// Parses the low surrogate of a pair.
fn low(text: &[u8]) -> Option<(usize, u32)> {
    let start = text.iter().position(|byte| *byte != b'\\').filter(|start| *start > 0)?;
    let inside = text[start..].strip_prefix(b"u")?;
    let value = digits(inside, 16, 4..=4).1.filter(|value| matches!(value, 0xDC00..0xE000))?;
    Some((start + 5, value))
}

/// Parses `%41`; `%2541`, as in a URL within a URL; and JavaScript's `%u0041`.
fn percent(text: &[u8]) -> Token {
    let mut at = 1;
    while text[at..].starts_with(b"25") && digits(&text[at + 2..], 16, 2..=2).1.is_some() {
        at += 2;
    }
    let rest = &text[at..];
    if let [b'u' | b'U', inside @ ..] = rest
        && let (_, Some(value)) = digits(inside, 16, 4..=4)
    {
        return Token::Escape(at + 5, unicode(value));
    }
    match digits(rest, 16, 2..=2) {
        (_, Some(value)) => Token::Escape(at + 2, Character::Byte(value as u8)),
        (length, None) if length == rest.len() => Token::Nothing(text.len()),
        _ => Token::Plain,
    }
}

/// Parses `&#65;`, `&#x41;` and `&amp;`, whose ampersand may itself be escaped any number of times.
fn entity(text: &[u8]) -> Token {
    const NAMED: [(&[u8], u8); 12] = [
        (b"amp", b'&'),
        (b"lt", b'<'),
        (b"gt", b'>'),
        (b"quot", b'"'),
        (b"apos", b'\''),
        (b"sol", b'/'),
        (b"plus", b'+'),
        (b"equals", b'='),
        (b"lowbar", b'_'),
        (b"colon", b':'),
        (b"period", b'.'),
        (b"nbsp", b' '),
    ];
    const AMPERSAND: &[u8] = b"amp;";
    let mut at = 1;
    while text[at..].starts_with(AMPERSAND) && matches!(text.get(at + AMPERSAND.len()), Some(b'#' | b'a'..=b'z')) {
        at += AMPERSAND.len();
    }
    // Escaped ampersands before anything but an entity represent one ampersand.
    let plain = || if at > 1 { Token::Escape(at, Character::Byte(b'&')) } else { Token::Plain };
    let rest = &text[at..];
    if rest.is_empty() || NAMED.iter().any(|(name, _)| name.starts_with(rest)) {
        return Token::Nothing(text.len());
    }
    let number = match rest {
        [b'#', b'x' | b'X', inside @ ..] => Some((2, digits(inside, 16, 1..=6))),
        [b'#', inside @ ..] => Some((1, digits(inside, 10, 1..=7))),
        _ => None,
    };
    match number {
        Some((start, (length, value))) => match (value, rest.get(start + length)) {
            (Some(value), Some(b';')) => Token::Escape(at + start + length + 1, unicode(value)),
            (_, None) => Token::Nothing(text.len()),
            (Some(value), Some(_)) => Token::Escape(at + start + length, unicode(value)),
            (None, Some(_)) => plain(),
        },
        None => {
            let named = NAMED.iter().find(|(name, _)| rest.starts_with(name) && rest.get(name.len()) == Some(&b';'));
            named.map_or_else(plain, |(name, byte)| Token::Escape(at + name.len() + 1, Character::Byte(*byte)))
        }
    }
}

/// Parses a number; returns the count of its digits, and its value unless they are too few.
fn digits(text: &[u8], radix: u32, length: std::ops::RangeInclusive<usize>) -> (usize, Option<u32>) {
    let mut value = 0;
    let mut count = 0;
    while count < *length.end()
        && let Some(digit) = text.get(count).and_then(|byte| char::from(*byte).to_digit(radix))
    {
        value = value * radix + digit;
        count += 1;
    }
    (count, (count >= *length.start()).then_some(value))
}

fn unicode(value: u32) -> Character {
    Character::Unicode(char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER))
}
