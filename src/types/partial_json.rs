//! The beginning of a JSON text, completed: open strings, lists and objects are closed, for values that are still being
//! streamed.

/// Completes the beginning of a JSON text. A string that is being written ends where the text does; a key without a value, a
/// number that may have more digits, and half of a word or an escape are left out. Returns `None` before there is a value.
pub fn complete(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    // Closing brackets that are missing, the innermost last.
    let mut open: Vec<u8> = Vec::new();
    // End of what is whole: a value, an opening bracket or a comma's left side.
    let mut whole = 0;
    let mut index = 0;
    let mut is_key = false;
    while index < bytes.len() {
        match bytes[index] {
            b'{' | b'[' => {
                let is_object = bytes[index] == b'{';
                open.push(if is_object { b'}' } else { b']' });
                is_key = is_object;
                index += 1;
                whole = index;
            }
            b'}' | b']' => {
                open.pop()?;
                index += 1;
                whole = index;
                is_key = false;
            }
            b',' => {
                is_key = open.last() == Some(&b'}');
                index += 1;
            }
            b':' => {
                is_key = false;
                index += 1;
            }
            b'"' => {
                let (end, safe) = string_end(bytes, index + 1);
                let Some(end) = end else {
                    if is_key {
                        break;
                    }
                    let safe = (0..=safe).rev().find(|end| text.is_char_boundary(*end))?;
                    return Some(closed(&text[..safe], "\"", &open));
                };
                index = end;
                if !is_key {
                    whole = index;
                }
            }
            b' ' | b'\t' | b'\n' | b'\r' => index += 1,
            _ => {
                let rest = &bytes[index..];
                let Some(length) = rest.iter().position(|byte| b",]} \t\n\r".contains(byte)) else {
                    // A whole word is what it is; a number may go on.
                    if matches!(rest, b"true" | b"false" | b"null") {
                        whole = bytes.len();
                    }
                    break;
                };
                index += length;
                whole = index;
            }
        }
    }
    (whole > 0).then(|| closed(&text[..whole], "", &open))
}

/// Returns the position after a string's closing quote, if it has one, and the end of its whole characters.
fn string_end(bytes: &[u8], start: usize) -> (Option<usize>, usize) {
    let mut index = start;
    while index < bytes.len() {
        match bytes[index] {
            b'"' => return (Some(index + 1), index),
            b'\\' => {
                let length = if bytes.get(index + 1) == Some(&b'u') { 6 } else { 2 };
                // The first half of a pair needs the second.
                let is_half = length == 6
                    && bytes.get(index + 2).is_some_and(|byte| byte.eq_ignore_ascii_case(&b'd'))
                    && bytes.get(index + 3).is_some_and(|byte| b"89abAB".contains(byte));
                let length = if is_half { 12 } else { length };
                if index + length > bytes.len() {
                    return (None, index);
                }
                index += length;
            }
            _ => index += 1,
        }
    }
    (None, index)
}

fn closed(text: &str, quote: &str, open: &[u8]) -> String {
    let mut closed = String::with_capacity(text.len() + 1 + open.len());
    closed.push_str(text);
    closed.push_str(quote);
    open.iter().rev().for_each(|bracket| closed.push(char::from(*bracket)));
    closed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_beginning_is_json_and_grows() {
        let text =
            r#" {"a": [1, -2.5e3, "x\n\"\u00e9\ud83d\ude00é", {"b": {}}, true, null], "c": "", "d": {"e": false}} "#;
        let mut size = 0;
        for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
            let Some(json) = complete(&text[..end]) else {
                assert!(end <= 1, "{end}");
                continue;
            };
            let value: serde_json::Value =
                serde_json::from_str(&json).unwrap_or_else(|error| panic!("{json}: {error}"));
            let now = value.to_string().len();
            assert!(now >= size, "{json}");
            size = now;
        }
        assert_eq!(complete(text).unwrap().trim(), text.trim());
    }

    #[test]
    fn what_is_not_certain_is_left_out() {
        for (text, json) in [
            ("", None),
            ("12", None),
            ("{", Some("{}")),
            (r#"{"ke"#, Some("{}")),
            (r#"{"key":"#, Some("{}")),
            (r#"{"key": 12"#, Some("{}")),
            (r#"{"key": 12, "#, Some(r#"{"key": 12}"#)),
            (r#"{"key": tru"#, Some("{}")),
            (r#"{"key": true"#, Some(r#"{"key": true}"#)),
            (r#"{"key": "a\"#, Some(r#"{"key": "a"}"#)),
            (r#"{"key": "a\ud83d"#, Some(r#"{"key": "a"}"#)),
            (r#"["a", "b"#, Some(r#"["a", "b"]"#)),
            ("]", None),
        ] {
            assert_eq!(complete(text).as_deref(), json, "{text}");
        }
    }
}
