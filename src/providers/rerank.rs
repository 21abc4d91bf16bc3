//! Reranking: documents in the order of their relevance to a query, in the format that nearly every host took over from
//! Cohere.
//!
//! - Cohere: <https://docs.cohere.com/reference/rerank>
//! - Jina: <https://api.jina.ai/redoc>; Voyage: <https://docs.voyageai.com/reference/reranker-api>
//! - Together: <https://docs.together.ai/reference/rerank-1>; vLLM:
//!   <https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html#re-rank-api>
//! - llama.cpp: <https://github.com/ggml-org/llama.cpp/tree/master/tools/server>, `POST /v1/rerank`
//!
//! An answer has `results`, the most relevant first: the `index` of the document, its `relevance_score`, and `document`
//! if it was requested. The other members are as the host wrote them.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::http::{Host, JSON};
use super::unsupported::drop_or_refuse;
use super::{Deployment, Encoded, Endpoint, errors, refusals};
use crate::error::{Error, Result};
use crate::types::http::{HttpRequest, HttpResponse};
use crate::types::members::Members;
use crate::types::object::ObjectWriter;
use crate::types::request::Request;

/// Differences of a host's reranking from Cohere's.
#[derive(Debug, Clone, Copy)]
pub struct RerankRow {
    /// The path below the base URL.
    pub path: &'static str,
    /// Parameters that have another name here: (Cohere's, the host's).
    pub spelled: &'static [(&'static str, &'static str)],
    /// Cohere's parameters that the host lacks.
    pub unsupported: &'static [&'static str],
    /// True if the host can return the documents (`return_documents`).
    pub returns_documents: bool,
}

/// Reranking without differences from Cohere's.
pub(super) const PLAIN: RerankRow =
    RerankRow { path: "rerank", spelled: &[], unsupported: &[], returns_documents: true };

/// The endpoint of reranking at the host that a row describes.
pub(super) struct Rerank(pub Host);

impl Endpoint for Rerank {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let row = &self.0.row.rerank;
        let mut params = request.params.clone();
        let mut dropped_params = Vec::new();
        check(request)?;
        for name in row.unsupported.iter().filter(|name| request.params.get(name).is_some()) {
            drop_or_refuse(self.0.row.name, name, request.drop_params, &mut dropped_params)?;
            params.remove(name);
        }
        if !row.returns_documents {
            // `answer` adds them to the results.
            params.remove("return_documents");
        }
        let body = params.as_body(&deployment.model, false, row.spelled);
        let (uri, headers) = self.0.destination(deployment, row.path, JSON)?;
        Ok(Encoded { request: HttpRequest::post(uri, headers, body), dropped_params })
    }

    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes> {
        answer(self.0.row.name, request, response)
    }
}

/// Checks the query and the documents of a call.
fn check(request: &Request) -> Result<()> {
    match request.params.get("query").map(<[u8]>::trim_ascii) {
        // Jina's multimodal models take an object.
        Some([b'"' | b'{', ..]) => {}
        _ => return Err(Error::argument("query is no str: the text to compare the documents with would be right")),
    }
    match request.params.get("documents").map(serde_json::from_slice::<Vec<&RawValue>>) {
        Some(Ok(_)) => Ok(()),
        _ => Err(Error::argument("documents is no list: a list of str would be right")),
    }
}

/// Returns a host's answer in the common format.
fn answer(provider: &str, request: &Request, response: &HttpResponse) -> Result<Bytes> {
    let no_ranking = |what: &str| errors::not_an_answer(provider, response, what);
    // Some hosts answer with the list alone.
    let (top, list) = match response.body.trim_ascii_start().first() {
        Some(b'[') => (Members::default(), std::str::from_utf8(&response.body).ok()),
        _ => {
            let top = Members::of(&response.body).map_err(|_| no_ranking("something that is no ranking"))?;
            if refusals::error_in(&top).is_some() || refusals::has_failed(&top) {
                return Err(errors::from_response(provider, response));
            }
            let list = top.some("results").or_else(|| top.some("data"));
            (top, list)
        }
    };
    let list: Option<Vec<Members>> = list.and_then(|list| serde_json::from_str(list).ok());
    let list = list.ok_or_else(|| no_ranking("something that is no ranking"))?;
    let documents: Vec<&RawValue> = request
        .params
        .get("documents")
        .and_then(|documents| serde_json::from_slice(documents).ok())
        .unwrap_or_default();
    let wants_documents = request.params.get("return_documents") == Some(b"true");
    let mut results = Vec::with_capacity(list.len());
    for item in &list {
        let index: Option<usize> = item.some("index").and_then(|index| index.parse().ok());
        let index = index.filter(|index| *index < documents.len());
        let score = item.some("relevance_score").or_else(|| item.some("score"));
        let parsed = score.and_then(|score| score.parse::<f64>().ok());
        let (Some(index), Some(score), Some(parsed)) = (index, score, parsed) else {
            return Err(no_ranking("a ranking that lacks a document's index or score"));
        };
        let mut result = ObjectWriter::with_capacity(64);
        result.put("index", &index);
        result.put_raw("relevance_score", score);
        let document = item.some("document").or_else(|| item.some("text"));
        let document = document.or_else(|| wants_documents.then(|| documents[index].get()));
        match document {
            Some(text) if text.starts_with('"') => {
                result.put_object("document", |document| document.put_raw("text", text));
            }
            Some(document) => result.put_raw("document", document),
            None => {}
        }
        let known = ["index", "relevance_score", "score", "document", "text"];
        for (name, value) in item.0.iter().filter(|(name, _)| !known.contains(&&**name)) {
            result.put_raw(name, value.get());
        }
        results.push((parsed, result.finish()));
    }
    results.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    // llama.cpp and others ignore `top_n`.
    let top_n = request.params.get("top_n").and_then(|top_n| serde_json::from_slice(top_n).ok());
    results.truncate(top_n.unwrap_or(usize::MAX));

    let mut written = ObjectWriter::with_capacity(response.body.len() + 64);
    if top.some("model").is_none() {
        written.put("model", &*request.model);
    }
    written.put_array("results", |written| results.iter().for_each(|(_, result)| written.push_raw(result)));
    for (name, value) in top.0.iter().filter(|(name, _)| !matches!(&**name, "results" | "data")) {
        if name != "model" || value.get() != "null" {
            written.put_raw(name, value.get());
        }
    }
    Ok(written.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::types::http::Headers;
    use crate::types::params::Params;

    fn ranked(params: &str, body: &'static str) -> Result<String> {
        let params = Params::from_json(params.as_bytes()).unwrap();
        let request = Request { model: "m".into(), params, ..Default::default() };
        let body = Bytes::from_static(body.as_bytes());
        let response = HttpResponse { received: 0, status: 200, headers: Headers::default(), body };
        answer("voyage", &request, &response).map(|body| String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn results_are_in_the_order_of_their_scores_whatever_the_host_calls_them() {
        let params = r#"{"query":"q","documents":["a","b","c"],"top_n":2,"return_documents":true}"#;
        let expected = r#"{"model":"m","results":[{"index":2,"relevance_score":9e-1,"document":{"text":"c"}},{"index":0,"relevance_score":0.50,"document":{"text":"a"}}],"usage":{"total_tokens":3}}"#;
        let items = r#"[{"index":0,"SCORE":0.50},{"index":1,"SCORE":-1},{"index":2,"SCORE":9e-1,"document":"c"}]"#;
        for (list, score) in [("data", "relevance_score"), ("results", "score")] {
            let body = format!(r#"{{"{list}":{},"usage":{{"total_tokens":3}}}}"#, items.replace("SCORE", score));
            assert_eq!(ranked(params, body.leak()).unwrap(), expected);
        }
    }

    #[test]
    fn a_ranking_that_cannot_be_read_is_an_error() {
        let params = r#"{"query":"q","documents":["a"]}"#;
        for body in [
            r#"{"results":[{"index":1,"relevance_score":1}]}"#,
            r#"{"results":[{"index":0,"relevance_score":null}]}"#,
            r#"{"results":[{"relevance_score":1}]}"#,
            r#"{"results":null}"#,
            "{}",
            "ok",
        ] {
            assert_eq!(ranked(params, body).unwrap_err().kind, ErrorKind::ApiResponseValidation, "{body}");
        }
        let error = ranked(params, r#"{"detail":"no such model"}"#).unwrap_err();
        assert!(error.message.contains("no such model"), "{error}");
        assert_eq!(ranked(params, r#"{"results":[],"model":"n"}"#).unwrap(), r#"{"results":[],"model":"n"}"#);
    }
}
