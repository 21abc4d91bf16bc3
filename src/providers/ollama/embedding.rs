//! Ollama's own embeddings: <https://docs.ollama.com/api/embed>

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, json};

use super::{DIALECT, OPTIONS, ROW, destination};
use crate::error::Result;
use crate::providers::embeddings::vectors::check_vectors;
use crate::providers::embeddings::{Texts, batches, not_embeddings, texts};
use crate::providers::http::JSON;
use crate::providers::{Deployment, Encoded, Endpoint};
use crate::types::embedding::EmbeddingList;
use crate::types::http::{HttpRequest, HttpResponse};
use crate::types::members::Members;
use crate::types::object::ObjectWriter;
use crate::types::request::Request;

/// Embeddings of Ollama's own API.
pub(super) struct Embed;

impl Endpoint for Embed {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let Texts { texts, others, dropped_params } = texts(ROW.name, &["encoding_format", "user"], request)?;
        let (options, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|(name, _)| OPTIONS.contains(name));
        let mut body = ObjectWriter::with_capacity(request.params.len() + 64);
        body.put("model", &*deployment.model);
        body.put("input", &texts);
        others.iter().for_each(|(name, value)| body.put_raw(name, value));
        if !options.is_empty() && request.params.get("options").is_none() {
            let mut object = ObjectWriter::with_capacity(64);
            options.iter().for_each(|(name, value)| object.put_raw(name, value));
            body.put_raw("options", object.finish());
        }
        let (uri, headers) = destination(deployment, "api/embed", JSON)?;
        let request = HttpRequest::post(uri, headers, body.finish());
        Ok(Encoded { request, dropped_params })
    }

    fn parts(&self, request: &Request) -> Result<Vec<Request>> {
        Ok(batches(&ROW.embedding, request))
    }

    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes> {
        let list = list(&request.model, response).ok_or_else(|| not_embeddings(ROW.name, response))?;
        check_vectors(ROW.name, request, response, list)
    }
}

/// Converts an answer.
fn list(model: &str, response: &HttpResponse) -> Option<Bytes> {
    let top = Members::of(&response.body).ok()?;
    let vectors: Vec<&RawValue> = serde_json::from_str(top.some("embeddings")?).ok()?;
    let model = top.string("model").unwrap_or_else(|| model.to_owned());
    let mut list = EmbeddingList::new(&model, vectors);
    list.usage = top.some("prompt_eval_count").and_then(|count| count.parse::<u64>().ok()).map(Into::into);
    let mut native = Map::new();
    for (name, value) in &top.0 {
        if !matches!(&**name, "embeddings" | "model" | "prompt_eval_count") {
            native.insert(name.to_string(), serde_json::from_str(value.get()).ok()?);
        }
    }
    if !native.is_empty() {
        list.provider_specific_fields = Some(json!({ DIALECT: native }));
    }
    Some(list.to_json())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::{DeploymentArgs, Operation, resolve};
    use crate::types::params::Params;
    use serde_json::Value;

    #[test]
    fn there_and_back() {
        let deployment = resolve("ollama_chat/all-minilm", &DeploymentArgs::default(), &|_| None).unwrap();
        let params =
            Params::from_json(br#"{"input":"a","num_ctx":9,"dimensions":2,"encoding_format":"float"}"#).unwrap();
        let request =
            Request { operation: Operation::Embedding, model: "all-minilm".into(), params, ..Default::default() };
        let endpoint = deployment.endpoint(&request).unwrap();
        let sent = endpoint.encode(&deployment, &request).unwrap().request;
        assert_eq!(sent.uri, "http://localhost:11434/api/embed");
        assert_eq!(sent.body, r#"{"model":"all-minilm","input":["a"],"dimensions":2,"options":{"num_ctx":9}}"#);

        let body = Bytes::from_static(
            br#"{"model":"all-minilm","embeddings":[[0.1,2]],"total_duration":5,"prompt_eval_count":3}"#,
        );
        let response = HttpResponse { received: 0, status: 200, headers: Default::default(), body };
        let list: Value = serde_json::from_slice(&endpoint.decode(&request, &response).unwrap()).unwrap();
        assert_eq!(list["data"][0]["embedding"], json!([0.1, 2]));
        assert_eq!(list["usage"]["prompt_tokens"], 3);
        assert_eq!(list["provider_specific_fields"], json!({"ollama": {"total_duration": 5}}));
    }
}
