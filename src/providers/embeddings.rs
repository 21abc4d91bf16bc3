//! Embeddings of OpenAI and the hosts of [`TABLE`](super::TABLE), and the parts that the providers with a wire of their own
//! share.
//!
//! Wire format: <https://platform.openai.com/docs/api-reference/embeddings>
//!
//! Vectors are requested as base64 where the host has it: a third of the bytes, and nothing to parse. They are decoded where
//! an answer becomes Python objects, unless the caller asked for base64.

mod too_large;
pub(super) mod vectors;

use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memchr_iter;
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
use crate::types::object::{ObjectWriter, array};
use crate::types::params::Params;
use crate::types::request::Request;

pub use too_large::halves;
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
    /// Maximum number of inputs in a request, [`NO_LIMIT`] if the host documents none.
    pub max_inputs: usize,
    /// Maximum length of a request's inputs in bytes, [`NO_LIMIT`] if the host documents none. Hosts limit the number of tokens,
    /// which is estimated: two bytes a token, and one where the tokens are known to be short.
    pub max_bytes: usize,
}

/// Value of a limit that there is not.
pub(super) const NO_LIMIT: usize = usize::MAX;

/// Embeddings without differences from OpenAI's.
pub(super) const PLAIN: EmbeddingRow = EmbeddingRow {
    base64: false,
    spelled: &[],
    unsupported: &[],
    packed: &[],
    max_inputs: NO_LIMIT,
    max_bytes: NO_LIMIT,
};

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

    fn parts(&self, request: &Request) -> Result<Vec<Request>> {
        Ok(batches(&self.0.row.embedding, request))
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

/// Splits a call into requests that a host takes, in the order of their inputs; the `batches.size` of each is the number of its
/// inputs. Returns no parts if the host takes all in one.
///
/// What the caller says about the number of inputs goes before what is known of the host.
pub(super) fn batches(row: &EmbeddingRow, request: &Request) -> Vec<Request> {
    let input = request.params.get("input").unwrap_or_default().trim_ascii();
    let max_inputs = match request.batches.size {
        0 => row.max_inputs,
        size => size as usize,
    };
    // There are not more inputs than commas. A list that begins with a number is the tokens of one text.
    let is_short = input.len() <= row.max_bytes
        && (max_inputs == NO_LIMIT || input.len() <= max_inputs || memchr_iter(b',', input).count() < max_inputs);
    if is_short || !input.starts_with(b"[") || input[1..].trim_ascii_start().first().is_some_and(u8::is_ascii_digit) {
        return Vec::new();
    }
    let Ok(inputs) = serde_json::from_slice::<Vec<&RawValue>>(input) else { return Vec::new() };
    let mut ends = Vec::new();
    let (mut count, mut bytes) = (0, 0);
    for (index, one) in inputs.iter().enumerate() {
        let length = one.get().len();
        if count > 0 && (count == max_inputs || bytes + length > row.max_bytes) {
            ends.push(index);
            (count, bytes) = (0, 0);
        }
        (count, bytes) = (count + 1, bytes + length);
    }
    if ends.is_empty() {
        return Vec::new();
    }
    ends.push(inputs.len());
    let rest = without_input(request);
    let mut start = 0;
    let part = |end: usize| part(&rest, &inputs[std::mem::replace(&mut start, end)..end]);
    ends.into_iter().map(part).collect()
}

/// Returns a request with these inputs; `rest` is one without.
fn part(rest: &Request, inputs: &[&RawValue]) -> Request {
    let mut part = rest.clone();
    let list = array(|list| inputs.iter().for_each(|one| list.push_raw(one.get())));
    part.params.set("input", list.as_bytes());
    part.params.close();
    part.batches.size = u32::try_from(inputs.len()).unwrap_or(u32::MAX);
    part
}

/// Returns a request without its inputs, which each part would copy.
fn without_input(request: &Request) -> Request {
    let mut params = Params::of_call(&request.model, false);
    request.params.iter().filter(|(name, _)| *name != "input").for_each(|(name, value)| params.set(name, value));
    Request { params, ..request.clone() }
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
    let rest = without_input(request);
    let part = |text: &RawValue| {
        let mut part = rest.clone();
        part.params.set("input", text.get().as_bytes());
        part.batches.size = 1;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::request::Batches;
    use serde_json::Value;

    fn split(row: &EmbeddingRow, input: &str, size: u32) -> Vec<(String, u32)> {
        let params = Params::from_json(format!(r#"{{"input":{input},"user":"u"}}"#).as_bytes()).unwrap();
        let batches = Batches { size, concurrency: 0 };
        let request = Request { params, batches, model: "m".into(), ..Request::default() };
        let parts = super::batches(row, &request);
        let read = |part: Request| {
            assert_eq!(part.params.get("user"), Some(&b"\"u\""[..]));
            let body = part.params.as_body("m", false, &[]);
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((&body["model"], &body["user"]), (&"m".into(), &"u".into()));
            (body["input"].to_string(), part.batches.size)
        };
        parts.into_iter().map(read).collect()
    }

    #[test]
    fn inputs_are_cut_to_what_a_host_takes() {
        let three = EmbeddingRow { max_inputs: 3, ..PLAIN };
        let parts =
            |parts: &[(&str, u32)]| parts.iter().map(|(input, size)| ((*input).to_owned(), *size)).collect::<Vec<_>>();
        assert_eq!(split(&three, r#"["a","b","c"]"#, 0), []);
        assert_eq!(split(&three, r#"["a,","b,","c,"]"#, 0), []);
        assert_eq!(split(&three, r#"["a","b","c","d"]"#, 0), parts(&[(r#"["a","b","c"]"#, 3), (r#"["d"]"#, 1)]));
        assert_eq!(split(&three, r#" [ "a" , "b" , "c" , "d" ] "#, 0).len(), 2);
        // What the caller says goes first.
        assert_eq!(split(&three, r#"["a","b","c","d"]"#, 4), []);
        assert_eq!(split(&PLAIN, r#"["a","b","c"]"#, 2), parts(&[(r#"["a","b"]"#, 2), (r#"["c"]"#, 1)]));
        assert_eq!(split(&PLAIN, r#"[[1,2],[3],[4,5]]"#, 2), parts(&[("[[1,2],[3]]", 2), ("[[4,5]]", 1)]));
        let bytes = EmbeddingRow { max_bytes: 10, ..PLAIN };
        assert_eq!(
            split(&bytes, r#"["aaa","bbb","a text that is too long","c","d"]"#, 0),
            parts(&[(r#"["aaa","bbb"]"#, 2), (r#"["a text that is too long"]"#, 1), (r#"["c","d"]"#, 2)])
        );
        // One text, or its tokens.
        for input in [r#""a text that is too long, with commas""#, "[1,2,3,4,5,6,7,8]", "[]", "null", "{}"] {
            assert_eq!(split(&EmbeddingRow { max_inputs: 2, max_bytes: 4, ..PLAIN }, input, 1), [], "{input}");
        }
    }
}
