//! Tells answers from the refusals that hosts send with a successful status.

use bytes::Bytes;
use memchr::memmem::Finder;

use super::outline::Outline;
use super::{errors, refusals};
use crate::error::{Error, Result};
use crate::types::http::HttpResponse;
use crate::types::members::Members;

/// Returns an answer's bytes, if it is none of the refusals that come with a successful status. `required_key` finds the
/// quoted name of the list that every answer has; `outline` is of the answer's body.
///
/// # Errors
/// The refusal's own class; `ApiResponseValidation` for an answer without the list.
pub(super) fn check_answer(
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
        // An empty list may be right, such as for no inputs.
        Some(list) if list.starts_with('[') && !refusals::is_refusal(&top) => Ok(body.clone()),
        _ => Err(not_a_completion(provider, response)),
    }
}

/// Returns the error for an answer of a successful status that does not follow the wire format.
pub(super) fn not_a_completion(provider: &str, response: &HttpResponse) -> Box<Error> {
    errors::not_an_answer(provider, response, "something that is no completion")
}

/// Number of bytes at the beginning of an answer in which the required list usually begins.
const BEGINNING: usize = 2048;

/// Returns true if a list of this name, which is not empty, begins within `beginning`.
fn has_items(beginning: &[u8], name: &Finder) -> bool {
    let value = |start: usize| beginning[start + name.needle().len()..].trim_ascii_start().strip_prefix(b":");
    let value = name.find(beginning).and_then(value);
    match value.map(<[u8]>::trim_ascii_start) {
        Some([b'[', items @ ..]) => items.trim_ascii_start().first().is_some_and(|first| *first != b']'),
        _ => false,
    }
}
