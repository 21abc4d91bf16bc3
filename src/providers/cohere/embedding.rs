//! Cohere's embeddings, on its own wire and on Bedrock's.
//!
//! - Version 2: <https://docs.cohere.com/reference/embed>
//! - On Bedrock: <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html>
//!
//! Vectors of one type are the list; those of other types, and the rest of the answer, are under
//! `provider_specific_fields.cohere`.

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{DIALECT, ROW, destination};
use crate::error::Result;
use crate::providers::embeddings::vectors::check_vectors;
use crate::providers::embeddings::{Texts, batches, not_embeddings, texts};
use crate::providers::http::JSON;
use crate::providers::{Deployment, Encoded, Endpoint};
use crate::types::embedding::{EmbeddingList, EmbeddingUsage};
use crate::types::http::{HttpRequest, HttpResponse};
use crate::types::members::Members;
use crate::types::object::ObjectWriter;
use crate::types::request::Request;

/// Embeddings of version 2.
pub(super) struct Embed;

impl Endpoint for Embed {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let Texts { texts, others, dropped_params } = texts(ROW.name, &["user"], request)?;
        let mut body = ObjectWriter::with_capacity(request.params.len() + 128);
        body.put("model", &*deployment.model);
        put_members(&texts, &others, &mut body);
        // Version 2 requires it.
        if !others.iter().any(|(name, _)| matches!(*name, "embedding_types" | "encoding_format")) {
            body.put("embedding_types", &["float"]);
        }
        let (uri, headers) = destination(deployment, "v2/embed", JSON)?;
        let request = HttpRequest::post(uri, headers, body.finish());
        Ok(Encoded { request, dropped_params })
    }

    fn parts(&self, request: &Request) -> Result<Vec<Request>> {
        Ok(batches(&ROW.embedding, request))
    }

    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes> {
        let list = list(&request.model, response, None).ok_or_else(|| not_embeddings(ROW.name, response))?;
        check_vectors(ROW.name, request, response, list)
    }
}

/// Writes the members of a request's body, without the model.
pub(in crate::providers) fn put_members(texts: &[&RawValue], others: &[(&str, &[u8])], body: &mut ObjectWriter) {
    let is_given = |name: &str| others.iter().any(|(other, _)| *other == name);
    // Images and mixed inputs have members of their own, which exclude texts.
    if !texts.is_empty() || !(is_given("images") || is_given("inputs")) {
        body.put("texts", texts);
    }
    // Required, and missing in OpenAI's format; most embedded texts are documents to search.
    if !is_given("input_type") {
        body.put("input_type", "search_document");
    }
    for (name, value) in others {
        match *name {
            "dimensions" if is_given("output_dimension") => {}
            "dimensions" => body.put_raw("output_dimension", value),
            "encoding_format" if is_given("embedding_types") => {}
            "encoding_format" => body.put_raw("embedding_types", [b"[", *value, b"]"].concat()),
            _ => body.put_raw(name, value),
        }
    }
}

/// Converts an answer; `tokens` is the number of tokens where the answer has none.
pub(in crate::providers) fn list(model: &str, response: &HttpResponse, tokens: Option<u64>) -> Option<Bytes> {
    let top = Members::of(&response.body).ok()?;
    let embeddings = top.some("embeddings")?;
    let mut native = Map::new();
    for (name, value) in top.0.iter().filter(|(name, _)| name != "embeddings") {
        native.insert(name.to_string(), serde_json::from_str(value.get()).ok()?);
    }
    // Without `embedding_types` Bedrock answers with the vectors alone, else with those of each type.
    let vectors = if embeddings.starts_with('[') {
        embeddings
    } else {
        let types = Members::of(embeddings.as_bytes()).ok()?;
        let first = types.0.iter().find(|(_, value)| value.get() != "null")?;
        let (shown, vectors) = ["float", "base64"]
            .iter()
            .find_map(|name| Some((*name, types.some(name)?)))
            .unwrap_or((&first.0, first.1.get()));
        let others = types.0.iter().filter(|(name, value)| name != shown && value.get() != "null");
        let others: Map<_, _> = others
            .map(|(name, value)| Some((name.to_string(), serde_json::from_str(value.get()).ok()?)))
            .collect::<Option<_>>()?;
        if !others.is_empty() {
            native.insert("embeddings".into(), Value::Object(others));
        }
        vectors
    };
    let vectors: Vec<&RawValue> = serde_json::from_str(vectors).ok()?;
    let mut list = EmbeddingList::new(model, vectors);
    list.usage = usage(&native).or(tokens.map(EmbeddingUsage::from));
    if !native.is_empty() {
        list.provider_specific_fields = Some(json!({ DIALECT: native }));
    }
    Some(list.to_json())
}

fn usage(native: &Map<String, Value>) -> Option<EmbeddingUsage> {
    let billed = native.get("meta")?.get("billed_units")?;
    let count = |name: &str| billed.get(name).and_then(Value::as_f64).map(|count| count as u64);
    let texts = count("input_tokens").unwrap_or(0);
    Some(EmbeddingUsage { prompt_tokens: texts, total_tokens: texts + count("image_tokens").unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::providers::cohere::Cohere;
    use crate::providers::{DeploymentArgs, Operation, Provider, resolve};
    use crate::types::params::Params;
    use crate::types::secret::Secret;

    fn request(params: &Value) -> Request {
        let params = Params::from_json(params.to_string().as_bytes()).unwrap();
        Request { operation: Operation::Embedding, model: "embed-v4.0".into(), params, ..Default::default() }
    }

    fn sent(params: &Value) -> Result<Value> {
        let given = DeploymentArgs { api_key: Some(Secret::new("k")), ..DeploymentArgs::default() };
        let deployment = resolve("cohere/embed-v4.0", &given, &|_| None)?;
        let request = request(params);
        let sent = deployment.endpoint(&request)?.encode(&deployment, &request)?.request;
        assert_eq!(sent.uri, "https://api.cohere.com/v2/embed");
        Ok(serde_json::from_slice(&sent.body).unwrap())
    }

    #[test]
    fn a_request_is_cohere_s() {
        assert_eq!(
            sent(&json!({"input": "a", "dimensions": 256, "truncate": "END"})).unwrap(),
            json!({"model": "embed-v4.0", "texts": ["a"], "input_type": "search_document", "output_dimension": 256, "truncate": "END", "embedding_types": ["float"]})
        );
        assert_eq!(
            sent(&json!({"input": ["a", "b"], "input_type": "search_query", "encoding_format": "base64"})).unwrap(),
            json!({"model": "embed-v4.0", "texts": ["a", "b"], "input_type": "search_query", "embedding_types": ["base64"]})
        );
        assert_eq!(
            sent(&json!({"input": [], "images": ["data:image/png;base64,AA=="], "embedding_types": ["int8"]})).unwrap(),
            json!({"model": "embed-v4.0", "images": ["data:image/png;base64,AA=="], "input_type": "search_document", "embedding_types": ["int8"]})
        );
    }

    #[test]
    fn what_cohere_lacks_is_refused() {
        for params in [json!({"input": [1, 2]}), json!({"input": [[1], [2]]}), json!({"input": "a", "user": "u"})] {
            let error = sent(&params).unwrap_err();
            assert_eq!(error.kind, ErrorKind::UnsupportedParams, "{params}");
        }
        assert_eq!(sent(&json!({"input": [{"x": 1}]})).unwrap_err().kind, ErrorKind::InvalidArgument);
    }

    #[test]
    fn an_answer_becomes_openais_list() {
        let answer = json!({
            "id": "i", "texts": ["a"], "embeddings": {"int8": [[1]], "float": [[0.5, 1.0]], "ubinary": null},
            "meta": {"billed_units": {"input_tokens": 3, "image_tokens": 2}},
        });
        let body = answer.to_string().into();
        let response = HttpResponse { received: 0, status: 200, headers: Default::default(), body };
        let endpoint = Cohere.endpoint(Operation::Embedding).unwrap();
        let list: Value = serde_json::from_slice(&endpoint.decode(&request(&json!({})), &response).unwrap()).unwrap();
        assert_eq!(list["data"], json!([{"object": "embedding", "index": 0, "embedding": [0.5, 1.0]}]));
        assert_eq!(list["usage"], json!({"prompt_tokens": 3, "total_tokens": 5}));
        assert_eq!(list["model"], "embed-v4.0");
        let native = &list["provider_specific_fields"]["cohere"];
        assert_eq!((&native["embeddings"], &native["id"]), (&json!({"int8": [[1]]}), &json!("i")));
    }
}
