//! Detection of `.` and `..` path segments, which would resolve to another path of a host than the intended one.

use std::borrow::Cow;

use memchr::memchr2;

/// Maximum number of percent-encoding layers that are decoded; text with more of them is treated as one that hides a
/// dot segment.
const MAX_LAYERS: usize = 8;

/// Returns true if a path segment is `.` or `..`. Backslashes separate segments too, since some servers treat them as
/// slashes, and percent-encoding is decoded any number of times.
///
/// <https://www.rfc-editor.org/rfc/rfc3986#section-5.2.4>
pub fn has_dot_segment(text: &str) -> bool {
    // Most paths hold none of these.
    if memchr2(b'.', b'%', text.as_bytes()).is_none() {
        return false;
    }
    let mut text = Cow::Borrowed(text);
    for _ in 0..MAX_LAYERS {
        // Some servers take what follows a semicolon for a parameter of the segment and remove it.
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
