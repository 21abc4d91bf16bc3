//! OpenAI's Responses of OpenAI, Azure and compatible hosts. The bytes pass through in both directions, except for values
//! that a host would refuse (parameters of OpenAI's reasoning models, names of tools, ids of calls, media types).
//!
//! - Requests and answers: <https://platform.openai.com/docs/api-reference/responses>
//! - Streams: <https://platform.openai.com/docs/api-reference/responses-streaming>

use std::borrow::Cow;

use bytes::Bytes;

use super::families::openai;
use super::http::{Host, accepted};
use super::input_parts;
use super::media;
use super::tools::items;
use super::tools::names::Renamed;
use super::validation::not_a_completion;
use super::{Deployment, Encoded, Endpoint, StreamDecoder, errors, refusals};
use crate::error::Result;
use crate::types::http::{HttpRequest, HttpResponse};
use crate::types::members::Members;
use crate::types::request::Request;

/// The endpoint of OpenAI's Responses at the host that a row describes.
pub(super) struct Responses(pub Host);

impl Endpoint for Responses {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let row = self.0.row;
        let renamed = Renamed::of_items(&row.tools, &request.params);
        let mut params = items::adapt_params(row, &renamed, &request.params);
        if let Some(input) = params.get("input").and_then(input_parts::converted) {
            params.to_mut().set("input", input.as_bytes());
        }
        if let Some(input) = params.get("input").and_then(media::normalise_if_wrong) {
            params.to_mut().set("input", input.as_bytes());
        }
        let mut dropped_params = Vec::new();
        if row.fits_reasoning_models {
            openai::fit(row.name, &deployment.model, request.drop_params, &mut params, &mut dropped_params)?;
        }
        if let Cow::Owned(params) = &mut params {
            params.close();
        }
        let body = params.as_body(&deployment.model, request.stream, &[]);
        let (uri, headers) = self.0.destination(deployment, "responses", accepted(request.stream))?;
        Ok(Encoded { request: HttpRequest::post(uri, headers, body), dropped_params })
    }

    /// Decodes a response. One that failed is a response too: it has an `error`, and the members that others have.
    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes> {
        let body = &response.body;
        let Ok(top) = Members::of(body) else { return Err(not_a_completion(self.0.row.name, response)) };
        if top.string("object").as_deref() == Some("response") || top.some("output").is_some() {
            let renamed = Renamed::of_items(&self.0.row.tools, &request.params);
            let text = std::str::from_utf8(body).ok().filter(|_| !renamed.is_empty());
            let restored = text.and_then(|text| items::restore_names(&renamed, text));
            return Ok(restored.map_or_else(|| body.clone(), Bytes::from));
        }
        Err(not_a_completion(self.0.row.name, response))
    }

    fn stream_decoder(&self, request: &Request, _received: u64) -> Box<dyn StreamDecoder> {
        let decoder = Box::new(Events { provider: self.0.row.name, finished: false });
        let renamed = Renamed::of_items(&self.0.row.tools, &request.params);
        if renamed.is_empty() { decoder } else { Box::new(items::RestoredEvents { decoder, renamed }) }
    }
}

/// Decoder that passes events on, and recognises the one that ends the response.
struct Events {
    provider: &'static str,
    finished: bool,
}

impl StreamDecoder for Events {
    fn event(&mut self, name: &[u8], data: Bytes, chunks: &mut Vec<Bytes>) -> Result<()> {
        let text = data.trim_ascii();
        if text.first() != Some(&b'{') {
            // A keep-alive, or the `[DONE]` that some hosts add.
            return Ok(());
        }
        let named;
        let kind = match std::str::from_utf8(name) {
            Ok(name) if !name.is_empty() && name != "message" => name,
            _ => {
                named = Members::of(text).ok().and_then(|event| event.string("type"));
                named.as_deref().unwrap_or_default()
            }
        };
        match kind {
            "error" => return Err(errors::from_event(self.provider, &data)),
            // An event without a type is an error of a gateway.
            "" if Members::of(text).is_ok_and(|top| refusals::is_refusal(&top)) => {
                return Err(errors::from_event(self.provider, &data));
            }
            "response.completed" | "response.incomplete" | "response.failed" => self.finished = true,
            _ => {}
        }
        chunks.push(data.slice_ref(text));
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.finished
    }

    fn is_complete(&self) -> bool {
        self.finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::providers::{DeploymentArgs, Operation, resolve};
    use crate::types::params::Params;
    use crate::types::secret::Secret;

    fn request(params: &str, stream: bool) -> Request {
        let params = Params::from_json(params.as_bytes()).unwrap();
        Request { operation: Operation::Responses, params, stream, ..Default::default() }
    }

    fn encoded(model: &str, given: DeploymentArgs, request: &Request) -> Result<Encoded> {
        let given = DeploymentArgs { api_key: Some(Secret::new("k")), ..given };
        let deployment = resolve(model, &given, &|_| None)?;
        deployment.endpoint(request)?.encode(&deployment, request)
    }

    #[test]
    fn a_request_is_the_callers_own_bytes() {
        let request = request(r#"{"input":"é","max_output_tokens":5,"made_up":[1e400]}"#, true);
        let sent = encoded("openai/m", DeploymentArgs::default(), &request).unwrap().request;
        assert_eq!(sent.uri, "https://api.openai.com/v1/responses");
        assert_eq!(sent.body, r#"{"model":"m","stream":true,"input":"é","max_output_tokens":5,"made_up":[1e400]}"#);
    }

    #[test]
    fn azure_has_its_own_paths() {
        let address = |base_url: &str, version: Option<&str>| {
            let api_version = version.map(str::to_owned);
            let given = DeploymentArgs { base_url: Some(base_url.into()), api_version, ..DeploymentArgs::default() };
            encoded("azure/m", given, &request("{}", false)).unwrap().request.uri.to_string()
        };
        let dated = "https://h/openai/responses?api-version=2025-04-01-preview";
        for base_url in
            ["https://h", "https://h/openai", "https://h/openai/deployments/d", "https://h/openai/responses"]
        {
            assert_eq!(address(base_url, None), dated, "{base_url}");
        }
        assert_eq!(address("https://h/openai/v1", None), "https://h/openai/v1/responses");
        assert_eq!(address("https://h/openai/v1/responses", None), "https://h/openai/v1/responses");
        assert_eq!(address("https://h", Some("preview")), "https://h/openai/v1/responses?api-version=preview");
    }

    #[test]
    fn who_has_none_says_who_has() {
        let error = encoded("anthropic/m", DeploymentArgs::default(), &request("{}", false)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::UnsupportedParams);
        assert!(error.message.contains("openai") && error.message.contains("azure"), "{error}");
    }

    fn streamed(events: &[(&str, &'static str)]) -> Result<(usize, bool)> {
        let mut decoder = Events { provider: "p", finished: false };
        let mut chunks = Vec::new();
        for (name, data) in events {
            decoder.event(name.as_bytes(), Bytes::from_static(data.as_bytes()), &mut chunks)?;
        }
        Ok((chunks.len(), decoder.is_complete()))
    }

    #[test]
    fn a_stream_ends_with_its_response() {
        let delta = ("response.output_text.delta", r#"{"type":"response.output_text.delta","delta":"a"}"#);
        assert_eq!(streamed(&[delta, ("", "[DONE]")]).unwrap(), (1, false));
        for end in ["completed", "incomplete", "failed"] {
            let name = format!("response.{end}");
            assert_eq!(streamed(&[delta, (&name, "{}")]).unwrap(), (2, true));
        }
        // Not every host writes the line that names an event.
        assert_eq!(streamed(&[("", r#"{"type":"response.completed","response":{}}"#)]).unwrap(), (1, true));
    }

    #[test]
    fn an_error_in_a_stream_is_an_error() {
        let flat = r#"{"type":"error","code":"rate_limit_exceeded","message":"m","param":null}"#;
        let nested = r#"{"type":"error","error":{"code":"rate_limit_exceeded","message":"m"}}"#;
        for event in [("error", flat), ("error", nested), ("", flat), ("", r#"{"error":{"code":429,"message":"m"}}"#)] {
            let error = streamed(&[event]).unwrap_err();
            assert_eq!(error.kind, ErrorKind::RateLimit, "{event:?}");
            assert!(error.message.ends_with(": m"), "{error}");
        }
    }

    #[test]
    fn a_response_that_failed_is_a_response() {
        let decode = |body: &'static str| {
            let body = Bytes::from_static(body.as_bytes());
            let response = HttpResponse { received: 0, status: 200, headers: Default::default(), body };
            let row = &crate::providers::TABLE[0];
            Responses(Host { row, destination: crate::providers::http::destination })
                .decode(&request("{}", false), &response)
        };
        let failed = r#"{"id":"resp_1","status":"failed","error":{"message":"m"},"output":[]}"#;
        assert_eq!(decode(failed).unwrap(), failed);
        assert_eq!(decode(r#"{"error":{"message":"slow","code":429}}"#).unwrap_err().kind, ErrorKind::RateLimit);
    }
}
