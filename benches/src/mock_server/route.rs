//! Which reply a request gets.

use memchr::memmem;

use crate::reply::Reply;
use crate::settings::Settings;
use crate::wire::{anthropic, gemini, openai};

/// What of a request decides its reply. Requests that agree in it get the same reply (but for the
/// ids), so a connection builds that once.
#[derive(PartialEq)]
pub struct Route {
    path: String,
    stream: bool,
    include_usage: bool,
    base64: bool,
}

impl Route {
    /// Looks at a request. The body is searched, not parsed, to cost next to nothing.
    pub fn of(path: &str, body: &[u8]) -> Self {
        let stream = says_true(body, b"\"stream\"");
        Self {
            path: path.to_owned(),
            stream,
            include_usage: stream && says_true(body, b"\"include_usage\""),
            base64: memmem::find(body, b"\"base64\"").is_some(),
        }
    }

    /// Builds the reply.
    pub fn reply(&self, settings: &Settings) -> Reply {
        let path = self.path.split('?').next().unwrap_or_default();
        match () {
            () if path.ends_with("/chat/completions") && self.stream => openai::stream(settings, self.include_usage),
            () if path.ends_with("/chat/completions") => openai::completion(settings),
            () if path.ends_with("/embeddings") => openai::embeddings(settings, self.base64),
            () if path.ends_with("/messages") && self.stream => anthropic::stream(settings),
            () if path.ends_with("/messages") => anthropic::completion(settings),
            () if path.ends_with(":generateContent") => gemini::completion(settings),
            () if path.ends_with(":streamGenerateContent") => gemini::stream(settings),
            () => Reply::json("404 Not Found", "", r#"{"error":{"message":"no such endpoint"}}"#),
        }
    }
}

/// Whether a JSON text has this key (given with its quotes) with the value `true`. A quotation of
/// it inside a string has its quotes escaped and does not match.
fn says_true(body: &[u8], key: &[u8]) -> bool {
    memmem::find_iter(body, key).any(|start| {
        let value = body[start + key.len()..].trim_ascii_start();
        value.strip_prefix(b":").is_some_and(|value| value.trim_ascii_start().starts_with(b"true"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streaming_is_seen_whatever_the_spacing() {
        for body in [r#"{"stream":true}"#, r#"{"stream" : true, "n": 1}"#] {
            assert!(Route::of("/v1/chat/completions", body.as_bytes()).stream);
        }
        for body in [r#"{"stream":false}"#, r#"{"content":"\"stream\":true"}"#, ""] {
            assert!(!Route::of("/v1/chat/completions", body.as_bytes()).stream);
        }
    }
}
