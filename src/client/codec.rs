//! Encodes calls and decodes answers: the provider's part, and the checks that hold for every provider.

use std::ops::Range;
use std::time::SystemTime;

use bytes::Bytes;
use http::Uri;

use super::call::Call;
use crate::error::{Error, ErrorKind, MAX_BODY, Result};
use crate::providers::{Encoded, Endpoint, media_sizes, unanswered_call, untooled};
use crate::transport::{Transport, is_loopback};
use crate::types::dot_segments::has_dot_segment;
use crate::types::http::HttpResponse;
use crate::types::operation::Output;
use crate::types::request::Request;
use crate::types::secrets::is_credential;
use crate::types::{unix_socket, values};

/// Size above which an answer is decoded on a thread of its own, in bytes: it may take longer than other calls should wait.
pub(super) const DECODED_HERE: usize = 4 << 20;

/// Encodes a call as its provider wants it, with the caller's own headers and query.
///
/// # Errors
///
/// The provider cannot take what is asked, or the key would travel in clear.
pub(super) fn encode(call: &Call, endpoint: &dyn Endpoint, transport: &Transport) -> Result<Encoded> {
    if call.request.params.len() > media_sizes::SMALLEST {
        media_sizes::check(&call.deployment, &call.request)?;
    }
    let mut encoded = endpoint.encode(&call.deployment, &call.request)?;
    let request = &mut encoded.request;
    // Ids and names of a call's parameters stand in it, too.
    if has_dot_segment(request.uri.path()) {
        return Err(Error::argument(format!(
            "the address {} has \".\" or \"..\" between slashes, which leads to another path of the host: it comes from the \
             model's name, or from an id or another name of the call",
            request.uri.path()
        )));
    }
    for (name, value) in &call.request.extra_headers {
        request.set_header(name.clone(), value.clone());
    }
    if !call.request.extra_query.is_empty() {
        request.uri = with_query(&request.uri, &call.request.extra_query)?;
    }
    if request.uri.scheme() != Some(&http::uri::Scheme::HTTPS) {
        check_confidence(call, &request.uri, transport)?;
    }
    Ok(encoded)
}

/// Refuses to send a key without TLS to another machine, unless the call allows it.
fn check_confidence(call: &Call, uri: &Uri, transport: &Transport) -> Result<()> {
    let host = uri.host().unwrap_or_default();
    let has_key = || {
        let Request { extra_headers, extra_query, .. } = &call.request;
        call.deployment.secrets().next().is_some()
            || extra_headers.iter().any(|(name, _)| is_credential(name.as_str()))
            || extra_query.iter().any(|(name, _)| is_credential(name))
    };
    let is_proxied = transport.has_plain_proxy() && uri.scheme_str() == Some("http");
    let stays_here = uri.scheme_str() == Some(unix_socket::SCHEME) || is_loopback(host);
    if call.allow_http || stays_here && !is_proxied || !has_key() {
        return Ok(());
    }
    if stays_here {
        return Err(Error::argument(format!(
            "proxy would be sent what is for {host} by plain http, the key with it: make the call with a client without a \
             proxy, or allow it with allow_http=True"
        )));
    }
    Err(Error::argument(format!(
        "base_url begins with http://, and what is sent to {host} would show the key to everybody on the way: write \
         https://, or allow it with allow_http=True"
    )))
}

/// Removes the byte order mark, which JSON does not have and some servers send.
pub(super) fn without_mark(body: Bytes) -> Bytes {
    if body.starts_with(b"\xEF\xBB\xBF") { body.slice(3..) } else { body }
}

/// Decodes an answer into OpenAI's shape.
///
/// # Errors
///
/// The error that the answer is or reports, or that it cannot be read.
pub(super) fn decode(
    call: &Call,
    endpoint: &dyn Endpoint,
    response: &HttpResponse,
    max_values: usize,
) -> Result<Bytes> {
    let provider = &call.deployment.provider;
    match response.status {
        200..300 if call.request.operation.spec().output == Output::Binary => {
            endpoint.decode(&call.request, response).map_err(|error| answered(error, response))
        }
        200..300 => values::check(&response.body, max_values)
            .and_then(|()| endpoint.decode(&call.request, response))
            .map(|body| if call.request.structured.is_some() { untooled(&call.request, body) } else { body })
            .map_err(|error| answered(error, response)),
        _ => {
            // The rest is cut off before anything reads it.
            let body = response.body.slice(..response.body.len().min(MAX_BODY));
            let mut error = provider.decode_error(&HttpResponse { body, ..response.clone() });
            if matches!(error.kind, ErrorKind::BadRequest | ErrorKind::UnprocessableEntity)
                && let Some(hint) = unanswered_call(&call.request.params)
            {
                error.message += &format!(" ({hint})");
            }
            Err(error)
        }
    }
}

/// Decodes an answer, and returns it as well. A large one is decoded on a thread of its own, so that the network thread
/// goes on with other calls.
///
/// # Errors
///
/// Those of [`decode`].
pub(super) async fn decode_elsewhere(
    call: &Call,
    endpoint: &'static dyn Endpoint,
    response: HttpResponse,
    max_values: usize,
) -> Result<(Bytes, HttpResponse)> {
    if response.body.len() <= DECODED_HERE {
        return decode(call, endpoint, &response, max_values).map(|body| (body, response));
    }
    let call = call.clone();
    let decoding = move || decode(&call, endpoint, &response, max_values).map(|body| (body, response));
    match tokio::task::spawn_blocking(decoding).await {
        Ok(decoded) => decoded,
        Err(failed) => Err(Error::new(ErrorKind::Internal, format!("the answer was not decoded: {failed}"))),
    }
}

/// Joins the answers to the parts of a call; large ones on a thread of its own.
///
/// # Errors
///
/// Those of [`Endpoint::join`].
pub(super) async fn join_elsewhere(endpoint: &'static dyn Endpoint, answers: Vec<Bytes>) -> Result<Bytes> {
    if answers.iter().map(Bytes::len).sum::<usize>() <= DECODED_HERE {
        return endpoint.join(&answers);
    }
    match tokio::task::spawn_blocking(move || endpoint.join(&answers)).await {
        Ok(joined) => joined,
        Err(failed) => Err(Error::new(ErrorKind::Internal, format!("the answers were not joined: {failed}"))),
    }
}

/// Adds to an error the inputs that the failed part of a call had.
pub(super) fn of_inputs(mut error: Box<Error>, inputs: Range<usize>) -> Box<Error> {
    let range = match inputs.len() {
        1 => format!("input[{}]", inputs.start),
        _ => format!("input[{}] to input[{}]", inputs.start, inputs.end.saturating_sub(1)),
    };
    error.message = format!("{} (the request with {range})", error.message);
    error.inputs = Some(inputs);
    error
}

/// Adds status, headers and body of the answer to an error about it.
pub(super) fn answered(mut error: Box<Error>, response: &HttpResponse) -> Box<Error> {
    error.status.get_or_insert(response.status);
    error.headers.get_or_insert_with(|| response.headers.clone());
    error.body.get_or_insert_with(|| response.body.clone());
    error
}

/// Seconds since 1970.
pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn with_query(uri: &Uri, extra: &[(String, String)]) -> Result<Uri> {
    let encode =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let mut text = uri.to_string();
    for (name, value) in extra {
        text.push(if text.contains('?') { '&' } else { '?' });
        text += &format!("{}={}", encode(name), encode(value));
    }
    text.parse().map_err(|error| Error::argument(format!("extra_query cannot be used: {error}")))
}
