//! Tells an answer from the refusals that hosts send with a successful status.

use bytes::Bytes;
use memchr::memmem::Finder;

use super::outline::Outline;
use super::{errors, refusals};
use crate::error::{Error, Result};
use crate::types::http::HttpResponse;
use crate::types::members::Members;

/// An answer's bytes, if it is one and none of the refusals that come with a good status. `required_key` finds the name, in
/// quotes, of the list without which it is no answer; `outline` is of the answer's body.
pub(super) fn checked(
    provider: &str,
    required_key: &Finder,
    response: &HttpResponse,
    outline: Outline<'_>,
) -> Result<Bytes> {
    let body = &response.body;
    let beginning = &body[..body.len().min(BEGINNING)];
    if has_items(beginning, required_key) && !outline.any(refusals::may_be_in) {
        return Ok(body.clone());
    }
    let Ok(top) = Members::of(body) else { return Err(not_a_completion(provider, response)) };
    if refusals::error_in(&top).is_some() || refusals::has_failed(&top) {
        return Err(errors::from_response(provider, response));
    }
    let name = std::str::from_utf8(required_key.needle()).unwrap_or_default().trim_matches('"');
    match top.some(name) {
        Some(list) if list.starts_with('[') && list.len() > "[]".len() => Ok(body.clone()),
        // Nothing was asked for, perhaps.
        Some(list) if list.starts_with('[') && !refusals::is_refusal(&top) => Ok(body.clone()),
        _ => Err(not_a_completion(provider, response)),
    }
}

/// An answer that says it is well and is not what the wire format says.
pub(super) fn not_a_completion(provider: &str, response: &HttpResponse) -> Box<Error> {
    errors::not_an_answer(provider, response, "something that is no completion")
}

/// How much of a large answer is looked at first: they begin with what they are.
const BEGINNING: usize = 2048;

/// Whether a list of this name that is not empty begins in the beginning of an answer.
fn has_items(beginning: &[u8], name: &Finder) -> bool {
    let value = |place: usize| beginning[place + name.needle().len()..].trim_ascii_start().strip_prefix(b":");
    let value = name.find(beginning).and_then(value);
    match value.map(<[u8]>::trim_ascii_start) {
        Some([b'[', items @ ..]) => items.trim_ascii_start().first().is_some_and(|first| *first != b']'),
        _ => false,
    }
}
