//! Embeddings of OpenAI and the hosts of [`TABLE`](super::TABLE), and the parts that the providers with a wire of their own
//! share.
//!
//! Wire format: <https://platform.openai.com/docs/api-reference/embeddings>
//!
//! Vectors are requested as base64 where the host has it: a third of the bytes, and nothing to parse. They are decoded where
//! an answer becomes Python objects, unless the caller asked for base64.

pub(super) mod vectors;

use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::{self, Finder};
use serde_json::value::RawValue;

use super::http::{Host, JSON};
use super::outline::Outline;
use super::unsupported::drop_or_refuse;
use super::validation::check_answer;
use super::{Deployment, Encoded, Endpoint, errors};
use crate::error::{Error, ErrorKind, Result};
use crate::types::http::{HttpRequest, HttpResponse};
use crate::types::members::Members;
use crate::types::object::ObjectWriter;
use crate::types::request::Request;

use vectors::Packed;

/// Differences of a host's embeddings from OpenAI's.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddingRow {
    /// True if the host documents `encoding_format: "base64"`.
    pub base64: bool,
    /// Parameters that have another name here: (OpenAI's, the provider's).
    pub spelled: &'static [(&'static str, &'static str)],
    /// OpenAI's parameters that the host lacks.
    pub unsupported: &'static [&'static str],
    /// The host's own values of `encoding_format`, with the format of their bytes; the first is its default.
    pub packed: &'static [(&'static str, Packed)],
}

/// Embeddings without differences from OpenAI's.
pub(super) const PLAIN: EmbeddingRow = EmbeddingRow { base64: false, spelled: &[], unsupported: &[], packed: &[] };

/// The endpoint of OpenAI's embeddings at the host that a row describes.
pub(super) struct Embeddings(pub Host);

impl Endpoint for Embeddings {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let row = &self.0.row.embedding;
        let mut params = request.params.clone();
        let mut dropped_params = Vec::new();
        for name in row.unsupported.iter().filter(|name| request.params.get(name).is_some()) {
            drop_or_refuse(self.0.row.name, name, request.drop_params, &mut dropped_params)?;
            params.remove(name);
        }
        // Numbers of another type are packed in another way, or have no base64 at all.
        let has_other_type = || NUMBER_TYPES.iter().any(|name| params.get(name).is_some());
        if row.base64 && params.get("encoding_format").is_none() && !has_other_type() {
            params.set("encoding_format", b"\"base64\"");
        }
        let body = params.as_body(&deployment.model, false, row.spelled);
        let (uri, headers) = self.0.destination(deployment, "embeddings", JSON)?;
        Ok(Encoded { request: HttpRequest::post(uri, headers, body), dropped_params })
    }

    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes> {
        let body = check_answer(self.0.row.name, &DATA, response, Outline::whole(&response.body))?;
        let body = match self.packed(request) {
            Some(packed) => vectors::unpack(body, packed),
            None => body,
        };
        let body = vectors::check_vectors(self.0.row.name, request, response, body)?;
        Ok(with_prompt_tokens(&body).unwrap_or(body))
    }
}

/// Parameters of several hosts that request numbers of another type than 32-bit floats.
const NUMBER_TYPES: &[&str] = &["output_dtype", "embed_dtype", "embedding_types"];

impl Embeddings {
    /// Returns the format of an answer's vectors in base64; `None` if they are 32-bit floats, or no base64.
    fn packed(&self, request: &Request) -> Option<Packed> {
        let known = self.0.row.embedding.packed;
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

/// Adds `prompt_tokens` to the usage of a host that counts the total alone: all of it is the inputs'.
fn with_prompt_tokens(body: &[u8]) -> Option<Bytes> {
    // The usage is at the end or the beginning, and the vectors between are long.
    let end = &body[body.len().saturating_sub(1024)..];
    if [end, body].iter().any(|text| memmem::find(text, b"\"prompt_tokens\"").is_some()) {
        return None;
    }
    let top = Members::of(body).ok()?;
    let usage = Members::of(top.some("usage")?.as_bytes()).ok()?;
    let total = usage.some("total_tokens")?;
    let mut answer = ObjectWriter::with_capacity(body.len() + 32);
    top.0.iter().filter(|(name, _)| name != "usage").for_each(|(name, value)| answer.put_raw(name, value.get()));
    answer.put_object("usage", |counted| {
        counted.put_raw("prompt_tokens", total);
        usage.0.iter().for_each(|(name, value)| counted.put_raw(name, value.get()));
    });
    Some(answer.finish())
}

// ---- Shared by the wires of their own ----

/// The call of a provider that takes texts.
pub(super) struct Texts<'a> {
    /// Texts of the call's `input`, each a JSON string.
    pub texts: Vec<&'a RawValue>,
    /// The other parameters, by OpenAI's name or the provider's own.
    pub others: Vec<(&'a str, &'a [u8])>,
    /// Names of the parameters that are dropped because the provider lacks them.
    pub dropped_params: Vec<String>,
}

/// Splits a call for a provider that takes one text in each request. Returns no parts if the call has one text.
///
/// # Errors
/// The errors of [`texts`].
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
///
/// # Errors
/// `InvalidArgument` if the input is no text; `UnsupportedParams` for lists of tokens, and for a parameter in `unsupported`
/// unless the call lets parameters be dropped.
pub(super) fn texts<'a>(provider: &str, unsupported: &[&str], request: &'a Request) -> Result<Texts<'a>> {
    // Every provider answers with floats by default.
    let is_meant =
        |(name, value): &(&str, &[u8])| *name != "input" && (*name, *value) != ("encoding_format", b"\"float\"");
    let mut others: Vec<(&str, &[u8])> = request.params.iter().filter(is_meant).collect();
    let mut dropped_params = Vec::new();
    for name in unsupported {
        if let Some(index) = others.iter().position(|(other, _)| other == name) {
            drop_or_refuse(provider, name, request.drop_params, &mut dropped_params)?;
            others.remove(index);
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

/// Returns the error for an answer of a successful status that holds no embeddings.
pub(super) fn not_embeddings(provider: &str, response: &HttpResponse) -> Box<Error> {
    errors::not_an_answer(provider, response, "something that holds no embeddings")
}
