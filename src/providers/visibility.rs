//! Decides which chunks of a chat stream the caller is shown.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::types::members::Members;
use crate::types::request::Request;

static CHOICES: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"choices\""));

/// Returns true if the caller requested a stream's usage.
pub(super) fn asks_for_usage(request: &Request) -> bool {
    let options = request.params.get("stream_options").and_then(|options| Members::of(options).ok());
    options.is_some_and(|options| options.get("include_usage") == Some("true"))
}

/// Returns true if the caller is shown a chunk. Loops over a stream read `chunk.choices[0]`: chunks without choices (the
/// usage, or a filter's verdict on the prompt) become part of the completion alone, unless the caller requested the usage. A
/// chunk that cannot be parsed is shown, which raises.
pub(super) fn is_shown(chunk: &[u8], show_usage: bool) -> bool {
    !has_empty_choices(chunk) || show_usage && is_only_usage(chunk) || Members::of(chunk).is_err()
}

fn is_only_usage(chunk: &[u8]) -> bool {
    Members::of(chunk).is_ok_and(|top| top.some("usage").is_some())
}

/// Returns true if a chunk has no choices, by a search instead of parsing.
pub(super) fn has_empty_choices(chunk: &[u8]) -> bool {
    let value = |start: usize| {
        chunk[start + b"\"choices\"".len()..].trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii_start)
    };
    let is_empty = |value: &[u8]| {
        value.starts_with(b"null")
            || value.strip_prefix(b"[").is_some_and(|list| list.trim_ascii_start().first() == Some(&b']'))
    };
    CHOICES.find(chunk).and_then(value).is_none_or(is_empty)
}
