//! Converts JSON as Python's parser accepts it to standard JSON, for the parser that accepts nothing else.
//!
//! Hosts write `NaN`, numbers outside the range of a double, unpaired surrogates, control characters in strings, and
//! invalid UTF-8.

use memchr::memchr;

use super::json_template::end_of_string;

/// Depth at which containers become null: `serde_json` refuses texts of more than 128 levels.
const MAX_DEPTH: usize = 100;

/// Returns the text with everything that standard JSON lacks replaced by its nearest equivalent.
pub fn strict(json: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(json);
    let text = text.as_bytes();
    let mut written = Vec::with_capacity(text.len());
    let (mut at, mut depth) = (0, 0);
    while let Some(&byte) = text.get(at) {
        let end = match byte {
            b'"' => end_of_string(&text[at + 1..]).map_or(text.len(), |end| at + end + 2),
            b'{' | b'[' if depth == MAX_DEPTH => end_of_container(text, at),
            b'-' | b'0'..=b'9' | b'I' | b'N' => {
                let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
                at + text[at..].iter().take_while(is_part).count()
            }
            _ => at + 1,
        };
        let token = &text[at..end];
        match byte {
            b'"' => write_string(token, &mut written),
            b'{' | b'[' if depth == MAX_DEPTH => written.extend_from_slice(b"null"),
            b'-' | b'0'..=b'9' | b'I' | b'N' if !is_finite(token) => written.extend_from_slice(b"null"),
            _ => written.extend_from_slice(token),
        }
        match byte {
            b'{' | b'[' if depth < MAX_DEPTH => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at = end;
    }
    written
}

/// Returns the end of the container that begins at `at`.
fn end_of_container(text: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => at += end_of_string(&text[at + 1..]).map_or(text.len(), |end| end + 1),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at.min(text.len());
        }
    }
    text.len()
}

/// Returns true unless the token is a number that is not finite. A token that is not a number at all is left for the
/// parser to refuse.
fn is_finite(token: &[u8]) -> bool {
    if matches!(token, b"NaN" | b"Infinity" | b"-Infinity") {
        return false;
    }
    let number: Option<f64> = std::str::from_utf8(token).ok().and_then(|token| token.parse().ok());
    number.is_none_or(f64::is_finite)
}

fn write_string(string: &[u8], written: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(&byte) = string.get(at) {
        let rest = &string[at..];
        let length = match (byte, surrogate(rest)) {
            (b'\\', Some(0xDC00..)) => Err(6),
            (b'\\', Some(_)) if matches!(rest.get(6..).and_then(surrogate), Some(0xDC00..)) => Ok(12),
            (b'\\', Some(_)) => Err(6),
            (b'\\', None) => Ok(2),
            _ => Ok(1),
        };
        match length {
            Ok(1) if byte < b' ' => written.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            Ok(length) => written.extend_from_slice(&rest[..length.min(rest.len())]),
            Err(_) => written.extend_from_slice(b"\\ufffd"),
        }
        at += length.unwrap_or_else(|length| length);
    }
}

/// Returns the surrogate code unit whose `\u` escape the text begins with.
pub fn surrogate(text: &[u8]) -> Option<u16> {
    let digits = std::str::from_utf8(text.strip_prefix(b"\\u")?.get(..4)?).ok()?;
    u16::from_str_radix(digits, 16).ok().filter(|unit| (0xD800..0xE000).contains(unit))
}

/// Returns true if all escapes of a string, given without its quotes, are valid.
pub fn is_well_escaped(string: &[u8]) -> bool {
    let mut rest = string;
    while let Some(at) = memchr(b'\\', rest) {
        rest = match rest[at + 1..] {
            [b'u', ref digits @ ..] if digits.iter().take(4).filter(|digit| digit.is_ascii_hexdigit()).count() == 4 => {
                &digits[4..]
            }
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ref rest @ ..] => rest,
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_standard_has_stays() {
        for text in
            [r#"{"a": [1, -2.5e3, true, null, "x\"\\\n\ud83c\udf53é"], "b": {}}"#, "", "[", r#"{"a"#, "nonsense", "1e5"]
        {
            assert_eq!(String::from_utf8(strict(text.as_bytes())).unwrap(), text);
        }
    }

    #[test]
    fn escapes_that_there_are_not() {
        for text in [r"", r"a\n\\", r#"\"\u00e9\ud83c\/"#] {
            assert!(is_well_escaped(text.as_bytes()), "{text}");
        }
        for text in [r"\x", r"\u12", r"\u00g0", r"a\"] {
            assert!(!is_well_escaped(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_it_does_not_have_is_replaced() {
        for (given, expected) in [
            (&b"[NaN, Infinity, -Infinity, 1e999, -1e999]"[..], "[null, null, null, null, null]"),
            (br#""\ud83c x\udf53\ud83c\ud83c\udf53""#, r#""\ufffd x\ufffd\ufffd\ud83c\udf53""#),
            (b"\"a\nb\xe9\"", "\"a\\u000ab\u{fffd}\""),
        ] {
            assert_eq!(String::from_utf8(strict(given)).unwrap(), expected);
        }
        let deep = format!("{{\"a\":{}{}{},\"b\":1}}", "[".repeat(200), r#""]""#, "]".repeat(200));
        let read: serde_json::Value = serde_json::from_slice(&strict(deep.as_bytes())).unwrap();
        assert_eq!(read["b"], 1);
    }
}
