//! Embeddings as OpenAI and the hosts of [`TABLE`](super::TABLE) have them, and what the providers with a wire of their
//! own share.
//!
//! Wire format: <https://platform.openai.com/docs/api-reference/embeddings>
//!
//! Vectors are asked for as base64 where the host has it: a third of the bytes, and nothing to parse. Whoever turns an
//! answer into objects decodes them, unless the caller asked for base64.

pub(super) mod vectors;

use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::{self, Finder};
use serde_json::value::RawValue;

use super::http::{DestinationOf, JSON};
use super::outline::Outline;
use super::unsupported::drop_or_refuse;
use super::validation::checked;
use super::{Deployment, Encoded, Endpoint, Row, errors};
use crate::error::{Error, ErrorKind, Result};
use crate::types::http::{HttpRequest, HttpResponse};
use crate::types::members::Members;
use crate::types::object::ObjectWriter;
use crate::types::request::Request;

use vectors::Packed;

/// What a host of OpenAI-shaped embeddings spells differently.
#[derive(Debug)]
pub struct EmbeddingRow {
    /// Whether it documents `encoding_format: "base64"`.
    pub base64: bool,
    /// Parameters it has under another name: (OpenAI's, the provider's).
    pub spelled: &'static [(&'static str, &'static str)],
    /// OpenAI's parameters that it lacks.
    pub unsupported: &'static [&'static str],
    /// Its own values of `encoding_format`, and how their bytes are read; the first is what it answers with unasked.
    pub packed: &'static [(&'static str, Packed)],
}

/// What most rows do not say.
pub(super) const PLAIN: EmbeddingRow = EmbeddingRow { base64: false, spelled: &[], unsupported: &[], packed: &[] };

/// OpenAI's embeddings, at the host that a row describes.
pub(super) struct Embeddings {
    pub row: &'static Row,
    /// Where this host has them.
    pub destination: DestinationOf,
}

impl Endpoint for Embeddings {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let row = &self.row.embedding;
        let mut params = request.params.clone();
        let mut dropped_params = Vec::new();
        for name in row.unsupported.iter().filter(|name| request.params.get(name).is_some()) {
            drop_or_refuse(self.row.name, name, request.drop_params, &mut dropped_params)?;
            params.remove(name);
        }
        // What is not made of floats is written in another way, or is not base64 at all.
        let has_other_type = || NUMBER_TYPES.iter().any(|name| params.get(name).is_some());
        if row.base64 && params.get("encoding_format").is_none() && !has_other_type() {
            params.set("encoding_format", b"\"base64\"");
        }
        let body = params.as_body(&deployment.model, false, row.spelled);
        let (uri, headers) =
            (self.destination)(deployment, self.row.path(deployment, "embeddings", "v1/embeddings"), JSON)?;
        Ok(Encoded { request: HttpRequest::post(uri, headers, body), dropped_params })
    }

    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes> {
        let body = checked(self.row.name, &DATA, response, Outline::whole(&response.body))?;
        let body = match self.packed(request) {
            Some(packed) => vectors::unpacked(body, packed),
            None => body,
        };
        let body = vectors::checked(self.row.name, request, response, body)?;
        Ok(with_prompt_tokens(&body).unwrap_or(body))
    }
}

/// Parameters of several hosts that ask for numbers of another type than 32-bit floats.
const NUMBER_TYPES: &[&str] = &["output_dtype", "embed_dtype", "embedding_types"];

impl Embeddings {
    /// How vectors in base64 are to be read, if not as 32-bit floats or not at all.
    fn packed(&self, request: &Request) -> Option<Packed> {
        let known = self.row.embedding.packed;
        match request.params.get("encoding_format") {
            None | Some(b"null") => known.first().map(|(_, packed)| *packed),
            Some(format) => {
                let format = format.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
                known.iter().find(|(name, _)| name.as_bytes() == format).map(|(_, packed)| *packed)
            }
        }
    }
}

static DATA: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"data\""));

/// Some hosts count nothing but the total, all of which is the inputs'.
fn with_prompt_tokens(body: &[u8]) -> Option<Bytes> {
    // The usage stands at an end, and the vectors between are long.
    let end = &body[body.len().saturating_sub(1024)..];
    if [end, body].iter().any(|text| memmem::find(text, b"\"prompt_tokens\"").is_some()) {
        return None;
    }
    let top = Members::of(body).ok()?;
    let usage = Members::of(top.some("usage")?.as_bytes()).ok()?;
    let total = usage.some("total_tokens")?;
    let mut answer = ObjectWriter::with_capacity(body.len() + 32);
    for (name, value) in &top.0 {
        if name != "usage" {
            answer.put_raw(name, value.get().as_bytes());
        }
    }
    let mut counted = ObjectWriter::with_capacity(64);
    counted.put_raw("prompt_tokens", total.as_bytes());
    usage.0.iter().for_each(|(name, value)| counted.put_raw(name, value.get().as_bytes()));
    answer.put_raw("usage", &counted.finish());
    Some(answer.finish())
}

// ---- For wires of their own ----

/// What a caller gave as `input`, where a provider takes texts.
pub(super) struct Texts<'a> {
    /// Each text, a JSON string.
    pub texts: Vec<&'a RawValue>,
    /// Every other parameter, by OpenAI's name or the provider's own.
    pub others: Vec<(&'a str, &'a [u8])>,
    /// Parameters that are left out because the provider lacks them.
    pub dropped_params: Vec<String>,
}

/// The requests of a call whose provider takes one text a request; none where it is one anyway.
pub(super) fn one_by_one(provider: &str, request: &Request) -> Result<Vec<Request>> {
    let Texts { texts, .. } = texts(provider, &[], request)?;
    if texts.len() < 2 {
        return Ok(Vec::new());
    }
    let part = |text: &RawValue| {
        let mut part = request.clone();
        part.params.set("input", text.get().as_bytes());
        part
    };
    Ok(texts.into_iter().map(part).collect())
}

/// Reads a call for a provider that takes texts and lacks the parameters in `unsupported`.
pub(super) fn texts<'a>(provider: &str, unsupported: &[&str], request: &'a Request) -> Result<Texts<'a>> {
    // Numbers are what everybody answers with unasked.
    let is_said =
        |(name, value): &(&str, &[u8])| *name != "input" && (*name, *value) != ("encoding_format", b"\"float\"");
    let mut others: Vec<(&str, &[u8])> = request.params.iter().filter(is_said).collect();
    let mut dropped_params = Vec::new();
    for name in unsupported {
        if let Some(place) = others.iter().position(|(other, _)| other == name) {
            drop_or_refuse(provider, name, request.drop_params, &mut dropped_params)?;
            others.remove(place);
        }
    }
    let input = request.params.get("input").unwrap_or(b"[]").trim_ascii();
    let refused = || Error::argument("input is neither a str nor a list of str: one of these would be right");
    let texts: Vec<&RawValue> = match input.first() {
        Some(b'"') => vec![serde_json::from_slice(input).map_err(|_| refused())?],
        _ => serde_json::from_slice(input).map_err(|_| refused())?,
    };
    match texts.iter().find(|text| !text.get().starts_with('"')) {
        None => Ok(Texts { texts, others, dropped_params }),
        Some(token) if token.get().starts_with(|first: char| first == '[' || first.is_ascii_digit()) => {
            let message = format!("{provider} takes texts as input, not lists of tokens");
            Err(Error::new(ErrorKind::UnsupportedParams, message))
        }
        Some(_) => Err(refused()),
    }
}

/// An answer that says it is well and holds no embeddings.
pub(super) fn not_embeddings(provider: &str, response: &HttpResponse) -> Box<Error> {
    errors::not_an_answer(provider, response, "something that holds no embeddings")
}
