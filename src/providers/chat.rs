//! OpenAI's chat completions, at OpenAI and the hosts of [`TABLE`](super::TABLE): the bytes pass through unless something has
//! to change.
//!
//! Wire format: <https://platform.openai.com/docs/api-reference/chat>

mod stream;

use std::borrow::Cow;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;

use super::families::openai;
use super::http::{Destination, accepted, destination};
use super::normalise::normalise_completion;
use super::outline::Outline;
use super::tools::answer;
use super::tools::ids::Ids;
use super::tools::names::Renamed;
use super::unsupported::without_unsupported;
use super::validation::check_answer;
use super::{Deployment, Encoded, Endpoint, Row, StreamDecoder, history, media};
use crate::error::Result;
use crate::types::http::{HttpRequest, HttpResponse};
use crate::types::members::Members;
use crate::types::object::ObjectWriter;
use crate::types::request::Request;

pub(super) use stream::stream_decoder;

/// The endpoint of chat completions at the host that a row describes.
#[derive(Clone)]
pub(super) struct Chat {
    pub row: &'static Row,
}

impl Endpoint for Chat {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        encode(
            self.row,
            request,
            &deployment.model,
            destination(deployment, "chat/completions", accepted(request.stream))?,
        )
    }

    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes> {
        decode(self.row, request, response)
    }

    fn stream_decoder(&self, request: &Request, _received: u64) -> Box<dyn StreamDecoder> {
        stream_decoder(self.row, request)
    }
}

/// Encodes a chat call in OpenAI's format for the host that `row` describes.
///
/// # Errors
/// `UnsupportedParams` for a parameter that the host or the model lacks, unless the call lets parameters be dropped.
pub(super) fn encode(row: &Row, request: &Request, model: &str, (uri, headers): Destination) -> Result<Encoded> {
    let (mut params, mut dropped_params) = without_unsupported(row, request)?;
    if row.fits_reasoning_models {
        openai::fit(row.name, model, request.drop_params, &mut params, &mut dropped_params)?;
    }
    let is_home = || uri.host() == row.base_url.split('/').nth(2);
    let renamed = Renamed::of(&row.tools, &params);
    renamed.rename_tools(&mut params);
    let messages =
        params.get("messages").and_then(|messages| history::adapt_messages(row, is_home, &renamed, messages));
    if let Some(messages) = messages {
        params.to_mut().set("messages", messages.as_bytes());
    }
    if let Some(messages) = params.get("messages").and_then(media::normalise_if_wrong) {
        params.to_mut().set("messages", messages.as_bytes());
    }

    if request.stream {
        if row.usage_unasked || row.no_stream_options_beside.iter().any(|name| params.get(name).is_some()) {
            params.to_mut().remove("stream_options");
        } else if row.stream_usage
            && let Some(options) = with_usage(params.get("stream_options"))
        {
            params.to_mut().set("stream_options", &options);
        }
    }
    if let Cow::Owned(params) = &mut params {
        params.close();
    }
    let body = params.as_body(model, request.stream, row.spelled);
    Ok(Encoded { request: HttpRequest::post(uri, headers, body), dropped_params })
}

/// Decodes a chat completion: the host's own bytes, unless something in them has to be normalised.
///
/// # Errors
/// That of [`check_answer`], for an answer that is no completion.
pub(super) fn decode(row: &Row, request: &Request, response: &HttpResponse) -> Result<Bytes> {
    let outline = Outline::of(&response.body);
    let body = check_answer(row.name, &CHOICES, response, outline)?;
    let body = normalise_completion(row.name, &body, outline).unwrap_or(body);
    if request.params.get("tools").is_none() {
        return Ok(body);
    }
    Ok(answer::normalise_calls(&Renamed::of(&row.tools, &request.params), &mut Ids::default(), &body).unwrap_or(body))
}

/// Returns `stream_options` that request the usage; `None` if the caller's own say already whether it is wanted.
fn with_usage(options: Option<&[u8]>) -> Option<Bytes> {
    let members = Members::of(options.unwrap_or(b"{}")).ok()?;
    if members.get("include_usage").is_some() {
        return None;
    }
    let mut options = ObjectWriter::with_capacity(32);
    options.put("include_usage", &true);
    members.0.iter().for_each(|(name, value)| options.put_raw(name, value.get()));
    Some(options.finish())
}

static CHOICES: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"choices\""));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::lookup;
    use crate::types::params::Params;
    use crate::types::secret::Secret;

    fn encoded(provider: &str, params: &str, stream: bool, drop_params: bool) -> Result<Encoded> {
        let provider = lookup(provider).unwrap();
        let deployment = Deployment {
            provider,
            model: "m".into(),
            base_url: "http://h/v1".into(),
            api_key: Some(Secret::new("k")),
            api_version: None,
            settings: Vec::new(),
            credentials: Default::default(),
        };
        let request = Request {
            model: "m".into(),
            params: Params::from_json(params.as_bytes()).unwrap(),
            stream,
            drop_params,
            ..Default::default()
        };
        deployment.endpoint(&request)?.encode(&deployment, &request)
    }

    fn body(provider: &str, params: &str, stream: bool) -> String {
        String::from_utf8(encoded(provider, params, stream, false).unwrap().request.body.to_vec()).unwrap()
    }

    #[test]
    fn a_request_is_the_callers_own_bytes() {
        assert_eq!(
            body(
                "openai",
                r#"{"messages":[{"role":"user","content":"é\n"}],"temperature":0.10,"made_up":[1e400]}"#,
                false
            ),
            r#"{"model":"m","messages":[{"role":"user","content":"é\n"}],"temperature":0.10,"made_up":[1e400]}"#
        );
        let request = encoded("openai", "{}", false, false).unwrap().request;
        assert_eq!(request.uri, "http://h/v1/chat/completions");
        assert_eq!(request.headers[0].1, "Bearer k");
        assert!(!format!("{request:?}").contains("Bearer"));
    }

    #[test]
    fn usage_is_always_asked_for_where_it_can_be() {
        assert_eq!(
            body("openai", "{}", true),
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#
        );
        assert_eq!(
            body("openai", r#"{"stream_options":{"x":1}}"#, true),
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true,"x":1}}"#
        );
        assert_eq!(
            body("openai", r#"{"stream_options":{"include_usage":false}}"#, true),
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":false}}"#
        );
    }
}
