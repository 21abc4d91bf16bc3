//! One way of writing each JSON value, so that two texts of the same value have the same hash.

use memchr::memchr2;

/// Appends a valid JSON value in its canonical form: without white space, strings with no escapes but those that they need,
/// and numbers by their value.
pub fn write(json: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        at = match byte {
            b' ' | b'\n' | b'\r' | b'\t' => at + 1,
            b'"' => write_string(json, at, out),
            b'-' | b'0'..=b'9' => {
                let is_part = |byte: &&u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                let end = at + json[at..].iter().take_while(is_part).count();
                write_number(&json[at..end], out);
                end
            }
            _ => {
                out.push(byte);
                at + 1
            }
        };
    }
}

/// Appends the string that begins at `at` and returns the position behind it.
fn write_string(json: &[u8], mut at: usize, out: &mut Vec<u8>) -> usize {
    out.push(b'"');
    at += 1;
    loop {
        let rest = &json[at..];
        let Some(end) = memchr2(b'"', b'\\', rest) else {
            out.extend_from_slice(rest);
            return json.len();
        };
        out.extend_from_slice(&rest[..end]);
        at += end;
        if json[at] == b'"' {
            out.push(b'"');
            return at + 1;
        }
        at += write_escape(&json[at..], out);
    }
}

/// Appends the character of an escape and returns the escape's length.
fn write_escape(text: &[u8], out: &mut Vec<u8>) -> usize {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let Some(first) = unit(0) else {
        match text.get(1) {
            Some(b'/') => out.push(b'/'),
            _ => out.extend_from_slice(&text[..text.len().min(2)]),
        }
        return text.len().min(2);
    };
    let (code, length) = match (first, unit(6)) {
        (0xd800..0xdc00, Some(second @ 0xdc00..0xe000)) => (0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00), 12),
        _ => (first, 6),
    };
    match char::from_u32(code) {
        Some(character) => {
            // As serde_json writes it: a short escape, a long one or none.
            let mut quoted = [0; 4];
            let json = serde_json::to_string(character.encode_utf8(&mut quoted)).expect("a string is JSON");
            out.extend_from_slice(&json.as_bytes()[1..json.len() - 1]);
        }
        // Half of a pair, which has no other form.
        None => out.extend_from_slice(format!("\\u{first:04x}").as_bytes()),
    }
    length
}

/// Appends a number: an integer by its digits, any other by the shortest text of the nearest double. An integer that is
/// written as a fraction is an integer.
fn write_number(text: &[u8], out: &mut Vec<u8>) {
    let digits = text.strip_prefix(b"-").filter(|digits| *digits != b"0").unwrap_or(text);
    let is_integer = digits.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
    match number {
        Some(number) if !is_integer && number.is_finite() => {
            let integer = number as i64;
            // Above that, doubles leave out integers, so that the text says more than the value.
            let text = match integer as f64 == number && integer.unsigned_abs() < 1 << 53 {
                true => integer.to_string(),
                false => format!("{number:e}"),
            };
            out.extend_from_slice(text.as_bytes());
        }
        _ => out.extend_from_slice(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(json: &str) -> String {
        let mut out = Vec::new();
        write(json.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_value_is_written_in_one_way() {
        for (texts, right) in [
            (&[r#"{"a": [1, "b c"]}"#, "{ \"a\"\t:\r\n[1 ,\"b c\" ] }"][..], r#"{"a":[1,"b c"]}"#),
            (&[r#""é/☃😀""#, r#""\u00e9\/\u2603\uD83D\ude00""#], r#""é/☃😀""#),
            (&[r#""\n\"\\\u0001""#, r#""\u000a\u0022\u005C\u0001""#], r#""\n\"\\\u0001""#),
            (&["1", "1.0", "1e0", "10E-1"], "1"),
            (&["0", "-0", "0.0", "-0.0"], "0"),
            (&["0.1", "0.10", "1e-1"], "1e-1"),
            (&["-12.50", "-1.25e1"], "-1.25e1"),
            (&["12345678901234567890123"], "12345678901234567890123"),
            (&["1e400"], "1e400"),
            (&[r#""\uD83D""#, r#""\ud83d""#], r#""\ud83d""#),
            (&[r#""\ud83dx""#], r#""\ud83dx""#),
            (&["[true, null ,false]"], "[true,null,false]"),
        ] {
            for text in texts {
                assert_eq!(canonical(text), right, "{text}");
            }
        }
        // What is no JSON ends as well.
        for broken in ["\"a", "\"\\", "\"\\u12", "-", "[", "\"\\ud83d\\u"] {
            canonical(broken);
        }
    }
}
