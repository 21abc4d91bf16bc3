//! `.` and `..` between slashes, which lead to another path of a host than the one that is meant.

use std::borrow::Cow;

use memchr::memchr2;

/// How often a text may be percent-encoded; what is encoded more often is taken for one that hides something.
const MOST_LAYERS: usize = 8;

/// Whether a part of the text between slashes is `.` or `..`, also behind backslashes, which some servers take for slashes,
/// and percent-encoded any number of times.
///
/// <https://www.rfc-editor.org/rfc/rfc3986#section-5.2.4>
pub fn has_dot_segment(text: &str) -> bool {
    // Most paths hold none of these.
    if memchr2(b'.', b'%', text.as_bytes()).is_none() {
        return false;
    }
    let mut text = Cow::Borrowed(text);
    for _ in 0..MOST_LAYERS {
        // What follows a semicolon is a parameter of the segment to some servers, which take it out.
        let names = text.split(['/', '\\']).map(|segment| segment.split(';').next().unwrap_or_default());
        if names.into_iter().any(|name| matches!(name.trim(), "." | "..")) {
            return true;
        }
        match percent_encoding::percent_decode_str(&text).decode_utf8_lossy() {
            Cow::Borrowed(_) => return false,
            Cow::Owned(decoded) => text = Cow::Owned(decoded),
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_found_however_they_are_written() {
        for text in [
            ".",
            "..",
            "a/..",
            "../a",
            "a/./b",
            "a/../b",
            "a\\..\\b",
            "..\\a",
            "%2e%2e",
            "a/%2E./b",
            "a%2f..%2fb",
            "a%5c..",
            "%252e%252e",
            "%25252e%25252E/x",
            "..;x/a",
            "a/.%09/b",
            "a%2f%2e%2e%2fb",
        ] {
            assert!(has_dot_segment(text), "{text}");
        }
        for text in
            ["", "gpt-4.1", "a/b", "meta-llama/llama-3.1", "...", "a..b", ".a", "a.", "v1.0/..x", "a%2fb", "50%", "%zz"]
        {
            assert!(!has_dot_segment(text), "{text}");
        }
    }
}
