//! Google's embeddings: `batchEmbedContents` of the Gemini API; `predict` and `embedContent` of Vertex AI.
//!
//! - <https://ai.google.dev/api/embeddings>
//! - <https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api>
//! - <https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/projects.locations.publishers.models/embedContent>

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{DIALECT, GEMINI_ROW, VERTEX_ROW, address};
use crate::error::Result;
use crate::providers::embeddings::vectors::check_vectors;
use crate::providers::embeddings::{Texts, batches, not_embeddings, one_by_one, texts};
use crate::providers::http::{JSON, headers};
use crate::providers::{Deployment, Encoded, Endpoint};
use crate::types::embedding::EmbeddingList;
use crate::types::http::{HttpRequest, HttpResponse};
use crate::types::members::Members;
use crate::types::object::ObjectWriter;
use crate::types::request::Request;

/// OpenAI's parameters that Google does not have.
const UNSUPPORTED: &[&str] = &["encoding_format", "user"];

/// Embeddings of the Gemini API.
pub(super) struct Batch;

impl Endpoint for Batch {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let Texts { texts, others, dropped_params } = texts(GEMINI_ROW.name, UNSUPPORTED, request)?;
        let model = address::gemini_model(&deployment.model);
        let requests: Vec<Box<RawValue>> = texts
            .into_iter()
            .map(|text| {
                let mut request = ObjectWriter::with_capacity(text.get().len() + 128);
                request.put("model", &model);
                put_content(text, &mut request);
                others.iter().for_each(|(name, value)| request.put_raw(camel(name), value));
                let json = String::from_utf8(request.finish().into()).expect("JSON is text");
                RawValue::from_string(json).expect("it is JSON")
            })
            .collect();
        let mut body = ObjectWriter::with_capacity(request.params.len() + 128);
        body.put("requests", &requests);
        let (uri, credentials) = address::gemini(deployment, "batchEmbedContents")?;
        Ok(Encoded { request: HttpRequest::post(uri, headers(credentials, JSON), body.finish()), dropped_params })
    }

    fn parts(&self, request: &Request) -> Result<Vec<Request>> {
        Ok(batches(&GEMINI_ROW.embedding, request))
    }

    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes> {
        let list = list(&request.model, response).ok_or_else(|| not_embeddings(GEMINI_ROW.name, response))?;
        check_vectors(GEMINI_ROW.name, request, response, list)
    }
}

/// Embeddings of Vertex AI. Gemini's models from the second generation on have `embedContent`, with one content a
/// request, as in the Gemini API; the others have `predict`.
pub(super) struct Vertex;

/// Returns true for models with `embedContent`.
fn has_embed_content(model: &str) -> bool {
    model.rsplit('/').next().is_some_and(|model| {
        let generation = model.strip_prefix("gemini-embedding-").and_then(|rest| rest.split(['-', '.']).next());
        generation.is_some_and(|generation| generation != "001" && generation != "exp")
    })
}

impl Endpoint for Vertex {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let Texts { texts, others, dropped_params } = texts(VERTEX_ROW.name, UNSUPPORTED, request)?;
        let mut body = ObjectWriter::with_capacity(request.params.len() + 128);
        let method = if has_embed_content(&deployment.model) {
            texts.first().into_iter().for_each(|text| put_content(text, &mut body));
            others.iter().for_each(|(name, value)| body.put_raw(camel(name), value));
            "embedContent"
        } else {
            put_instances(&texts, &others, &mut body);
            "predict"
        };
        let (uri, credentials) = address::vertex(deployment, request, method)?;
        Ok(Encoded { request: HttpRequest::post(uri, headers(credentials, JSON), body.finish()), dropped_params })
    }

    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes> {
        let list = list(&request.model, response).ok_or_else(|| not_embeddings(VERTEX_ROW.name, response))?;
        check_vectors(VERTEX_ROW.name, request, response, list)
    }

    fn parts(&self, request: &Request) -> Result<Vec<Request>> {
        match has_embed_content(&request.model) || request.model.contains("gemini-embedding") {
            true => one_by_one(VERTEX_ROW.name, request),
            false => Ok(batches(&VERTEX_ROW.embedding, request)),
        }
    }
}

/// Writes a text as `content`.
fn put_content(text: &RawValue, object: &mut ObjectWriter) {
    object.put_raw("content", [b"{\"parts\":[{\"text\":", text.get().as_bytes(), b"}]}"].concat());
}

/// Converts the names of OpenAI's and LiteLLM's parameters; other names are returned unchanged.
fn camel(name: &str) -> &str {
    match name {
        "dimensions" => "outputDimensionality",
        "task_type" => "taskType",
        "auto_truncate" => "autoTruncate",
        other => other,
    }
}

/// Writes the body of `predict`: the members of a text are beside it, all others in `parameters`.
fn put_instances(texts: &[&RawValue], others: &[(&str, &[u8])], body: &mut ObjectWriter) {
    let (beside, parameters): (Vec<_>, Vec<_>) = others
        .iter()
        .map(|(name, value)| (camel(name), *value))
        .partition(|(name, _)| matches!(*name, "taskType" | "title"));
    let object = |members: &[(&str, &[u8])]| {
        let mut object = ObjectWriter::with_capacity(64);
        members.iter().for_each(|(name, value)| object.put_raw(name, value));
        object.finish()
    };
    let instances: Vec<Bytes> = texts
        .iter()
        .map(|text| {
            let mut members = vec![("content", text.get().as_bytes())];
            // Instances have this name in snake case.
            members.extend(
                beside.iter().map(|(name, value)| (if *name == "taskType" { "task_type" } else { *name }, *value)),
            );
            object(&members)
        })
        .collect();
    body.put_raw("instances", [b"[", instances.join(&b","[..]).as_slice(), b"]"].concat());
    if !parameters.is_empty() {
        body.put_raw("parameters", object(&parameters));
    }
}

/// Converts an answer of any of the three methods.
fn list(model: &str, response: &HttpResponse) -> Option<Bytes> {
    let top = Members::of(&response.body).ok()?;
    let embeddings: Vec<Members> = match (top.some("embeddings"), top.some("predictions"), top.some("embedding")) {
        (Some(batch), ..) => serde_json::from_str(batch).ok()?,
        (_, Some(predictions), _) => {
            let predictions = serde_json::from_str::<Vec<Members>>(predictions).ok()?;
            let inside = predictions.iter().map(|prediction| prediction.some("embeddings"));
            inside.map(|embedding| Members::of(embedding?.as_bytes()).ok()).collect::<Option<_>>()?
        }
        (.., single) => vec![Members::of(single?.as_bytes()).ok()?],
    };
    let vectors: Vec<&RawValue> = embeddings
        .iter()
        .map(|embedding| serde_json::from_str(embedding.some("values")?).ok())
        .collect::<Option<_>>()?;

    let rest = |members: &Members, without: &[&str]| -> Option<Map<String, Value>> {
        let rest = members.0.iter().filter(|(name, _)| !without.contains(&&**name));
        rest.map(|(name, value)| Some((name.to_string(), serde_json::from_str(value.get()).ok()?))).collect()
    };
    let mut native = rest(&top, &["embeddings", "predictions", "embedding"])?;
    let each: Vec<_> = embeddings.iter().map(|embedding| rest(embedding, &["values"])).collect::<Option<_>>()?;
    let mut list = EmbeddingList::new(model, vectors);
    list.usage = tokens(&native, &each).map(Into::into);
    if each.iter().any(|rest| !rest.is_empty()) {
        native.insert("embeddings".into(), json!(each));
    }
    if !native.is_empty() {
        list.provider_specific_fields = Some(json!({ DIALECT: native }));
    }
    Some(list.to_json())
}

/// Returns the number of tokens.
fn tokens(native: &Map<String, Value>, each: &[Map<String, Value>]) -> Option<u64> {
    if let Some(usage) = native.get("usageMetadata") {
        return usage.get("promptTokenCount").and_then(Value::as_u64);
    }
    // `predict` has a number for each text, written as a float: 4.0.
    each.iter()
        .map(|rest| rest.get("statistics")?.get("token_count")?.as_f64().map(|count| count as u64))
        .try_fold(0, |sum: u64, count| Some(sum.saturating_add(count?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::{DeploymentArgs, Operation, resolve};
    use crate::types::params::Params;
    use crate::types::secret::Secret;

    fn request(model: &str, params: &str) -> Request {
        let params = Params::from_json(params.as_bytes()).unwrap();
        Request { operation: Operation::Embedding, model: model.into(), params, ..Default::default() }
    }

    fn sent(provider: &str, model: &str, params: &str) -> (String, Value) {
        let settings = vec![("vertex_project", Secret::new("p"))];
        let given = DeploymentArgs { api_key: Some(Secret::new("k")), settings, ..DeploymentArgs::default() };
        let deployment = resolve(&format!("{provider}/{model}"), &given, &|_| None).unwrap();
        let request = request(model, params);
        let sent = deployment.endpoint(&request).unwrap().encode(&deployment, &request).unwrap().request;
        (sent.uri.to_string(), serde_json::from_slice(&sent.body).unwrap())
    }

    #[test]
    fn the_gemini_api_takes_a_batch() {
        let (uri, body) = sent(
            "gemini",
            "gemini-embedding-001",
            r#"{"input":["a","b\n"],"dimensions":9,"taskType":"RETRIEVAL_QUERY"}"#,
        );
        assert_eq!(
            uri,
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-embedding-001:batchEmbedContents"
        );
        let request = |text: &str| json!({"model": "models/gemini-embedding-001", "content": {"parts": [{"text": text}]}, "outputDimensionality": 9, "taskType": "RETRIEVAL_QUERY"});
        assert_eq!(body, json!({"requests": [request("a"), request("b\n")]}));
    }

    #[test]
    fn vertex_takes_instances_or_one_content() {
        let (uri, body) = sent(
            "vertex",
            "text-embedding-005",
            r#"{"input":["a","b"],"dimensions":9,"task_type":"CLUSTERING","auto_truncate":false}"#,
        );
        assert!(uri.ends_with("/publishers/google/models/text-embedding-005:predict"), "{uri}");
        let instance = |text: &str| json!({"content": text, "task_type": "CLUSTERING"});
        let parameters = json!({"outputDimensionality": 9, "autoTruncate": false});
        assert_eq!(body, json!({"instances": [instance("a"), instance("b")], "parameters": parameters}));
        let (uri, body) = sent("vertex", "gemini-embedding-2-preview", r#"{"input":"a","dimensions":9}"#);
        assert!(uri.ends_with("/models/gemini-embedding-2-preview:embedContent"), "{uri}");
        assert_eq!(body, json!({"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 9}));
    }

    #[test]
    fn some_models_take_one_text_a_request() {
        let parts = |model: &str| Vertex.parts(&request(model, r#"{"input":["a","b"]}"#)).unwrap().len();
        assert_eq!(
            (parts("text-embedding-005"), parts("gemini-embedding-001"), parts("gemini-embedding-2")),
            (0, 2, 2)
        );
    }

    #[test]
    fn every_answer_becomes_openais_list() {
        let decoded = |body: Value| {
            let body = body.to_string().into();
            let response = HttpResponse { received: 0, status: 200, headers: Default::default(), body };
            serde_json::from_slice::<Value>(&list("m", &response).unwrap()).unwrap()
        };
        let batch = decoded(
            json!({"embeddings": [{"values": [0.5]}, {"values": [1]}], "usageMetadata": {"promptTokenCount": 3}}),
        );
        assert_eq!((&batch["data"][1]["embedding"], &batch["usage"]["prompt_tokens"]), (&json!([1]), &json!(3)));
        let statistics = json!({"token_count": 4.0, "truncated": false});
        let predicted = decoded(json!({"predictions": [{"embeddings": {"values": [0.5], "statistics": statistics}}]}));
        assert_eq!(
            (&predicted["data"][0]["embedding"], &predicted["usage"]["total_tokens"]),
            (&json!([0.5]), &json!(4))
        );
        assert_eq!(predicted["provider_specific_fields"]["gemini"]["embeddings"][0]["statistics"], statistics);
        let single = decoded(json!({"embedding": {"values": [0.5]}, "truncated": false}));
        assert_eq!(single["data"][0]["embedding"], json!([0.5]));
        assert!(single.get("usage").is_none() && batch.get("provider_specific_fields").is_some());
    }
}
