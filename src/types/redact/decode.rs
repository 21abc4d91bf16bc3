//! Escapes of any kind → the bytes that they stand for, and where each of those came from.

use std::ops::Range;

/// A text with its escapes decoded.
#[derive(Debug)]
pub(super) struct Layer {
    pub bytes: Vec<u8>,
    /// Where they came from, in order.
    runs: Vec<Run>,
}

/// Decoded bytes that stand together, and where they came from.
#[derive(Debug)]
struct Run {
    decoded: usize,
    source: Range<usize>,
    /// The bytes are as they were, rather than one escape.
    is_plain: bool,
}

/// What stands in a text's place where it begins with an escape.
enum Token {
    /// As many bytes of the text are an escape that stands for this.
    Escape(usize, Character),
    /// As many bytes of the text stand for nothing.
    Nothing(usize),
    /// The first byte stands for itself.
    Plain,
}

enum Character {
    Byte(u8),
    Unicode(char),
}

/// The text decoded once, twice …, until there is no escape left in it, or so many times.
pub(super) fn layers(text: &[u8], most: usize) -> Vec<Layer> {
    let mut layers: Vec<Layer> = Vec::new();
    while layers.len() < most {
        match Layer::decode(layers.last().map_or(text, |layer| &layer.bytes)) {
            Some(layer) => layers.push(layer),
            None => break,
        }
    }
    layers
}

impl Layer {
    /// The text with its escapes decoded; `None`: there are none in it.
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
            layer.keep(text, plain..at);
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
        layer.keep(text, plain..text.len());
        Some(layer)
    }

    /// The text without its white space; `None`: there is none in it.
    pub fn without_whitespace(text: &[u8]) -> Option<Self> {
        if !text.iter().any(u8::is_ascii_whitespace) {
            return None;
        }
        let mut layer = Self { bytes: Vec::with_capacity(text.len()), runs: Vec::new() };
        let mut start = 0;
        for (at, _) in text.iter().enumerate().filter(|(_, byte)| byte.is_ascii_whitespace()) {
            layer.keep(text, start..at);
            start = at + 1;
        }
        layer.keep(text, start..text.len());
        Some(layer)
    }

    fn keep(&mut self, text: &[u8], source: Range<usize>) {
        if !source.is_empty() {
            let decoded = self.bytes.len();
            self.bytes.extend_from_slice(&text[source.clone()]);
            self.runs.push(Run { decoded, source, is_plain: true });
        }
    }

    /// Where decoded bytes, one at least, came from.
    pub fn source(&self, place: Range<usize>) -> Range<usize> {
        let run = |at: usize| &self.runs[self.runs.partition_point(|run| run.decoded <= at) - 1];
        let (first, last) = (run(place.start), run(place.end - 1));
        let start = first.source.start + if first.is_plain { place.start - first.decoded } else { 0 };
        let end = match last.is_plain {
            true => last.source.start + place.end - last.decoded,
            false => last.source.end,
        };
        start..end
    }
}

fn token(text: &[u8]) -> Token {
    match text[0] {
        // What is written as UTF-16 has one beside each letter.
        0 => Token::Nothing(1),
        b'\\' => backslash(text),
        b'%' => percent(text),
        b'&' => entity(text),
        _ => Token::Plain,
    }
}

/// Any number of backslashes and what they escape, as JSON in JSON has it: they stand for that alone.
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

/// The second half of a surrogate pair.
fn low(text: &[u8]) -> Option<(usize, u32)> {
    let start = text.iter().position(|byte| *byte != b'\\').filter(|start| *start > 0)?;
    let inside = text[start..].strip_prefix(b"u")?;
    let value = digits(inside, 16, 4..=4).1.filter(|value| matches!(value, 0xDC00..0xE000))?;
    Some((start + 5, value))
}

/// `%41`, and `%2541`, as an address in an address has it; JavaScript's `%u0041`.
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

/// `&#65;`, `&#x41;`, `&amp;`, also with its own ampersand escaped any number of times.
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
    // Ampersands before what is no entity are one.
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

/// A number of this many digits, and how many there are; `None`: there are too few.
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
