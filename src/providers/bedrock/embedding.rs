//! Embeddings by InvokeModel: Amazon's Titan, one text a request, and Cohere's models.
//!
//! - Titan: <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html>,
//!   <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-mm.html>
//! - Cohere: <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html>
//! - The number of tokens is in a header field if it is not in the body:
//!   <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html>

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, json};

use super::{NAME, ROW, endpoint_address, request::headers};
use crate::error::{Error, Result};
use crate::providers::cohere::embedding as cohere;
use crate::providers::embeddings::vectors::check_vectors;
use crate::providers::embeddings::{Texts, batches, not_embeddings, one_by_one, texts};
use crate::providers::{Deployment, Encoded, Endpoint};
use crate::types::embedding::EmbeddingList;
use crate::types::http::{HttpRequest, HttpResponse};
use crate::types::members::Members;
use crate::types::object::ObjectWriter;
use crate::types::request::Request;

/// Embeddings by InvokeModel.
pub(super) struct Invoke;

/// The format of a model's requests and answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    /// The first Titan, which takes nothing but the text.
    TitanG1,
    Titan,
    /// Titan for texts and images, which has another name for dimensions.
    TitanImage,
    Cohere,
}

impl Family {
    /// Returns the family of a model's id, which may begin with a group of regions (`us.`) or be inside an ARN.
    ///
    /// # Errors
    /// `InvalidArgument` for a model of no known family.
    fn of(model: &str) -> Result<Self> {
        const FAMILIES: &[(&str, Family)] = &[
            ("amazon.titan-embed-text-v1", Family::TitanG1),
            ("amazon.titan-embed-g1", Family::TitanG1),
            ("amazon.titan-embed-image", Family::TitanImage),
            ("amazon.titan-embed", Family::Titan),
            ("cohere.embed", Family::Cohere),
        ];
        FAMILIES.iter().find(|(part, _)| model.contains(part)).map(|(_, family)| *family).ok_or_else(|| {
            Error::argument(format!(
                "{model:?} is no embedding model whose format is known: amazon.titan-embed-… and cohere.embed-… are"
            ))
        })
    }
}

impl Endpoint for Invoke {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let family = Family::of(endpoint_address::model(deployment))?;
        let unsupported: &[&str] = match family {
            Family::TitanG1 => &["dimensions", "encoding_format", "user"],
            _ => &["encoding_format", "user"],
        };
        let Texts { texts, others, dropped_params } = texts(NAME, unsupported, request)?;
        let mut body = ObjectWriter::with_capacity(request.params.len() + 64);
        if family == Family::Cohere {
            cohere::put_members(&texts, &others, &mut body);
        } else {
            if let Some(text) = texts.first() {
                body.put("inputText", text);
            }
            for (name, value) in others {
                match name {
                    "dimensions" if family == Family::TitanImage => {
                        body.put_raw("embeddingConfig", [b"{\"outputEmbeddingLength\":", value, b"}"].concat());
                    }
                    _ => body.put_raw(name, value),
                }
            }
        }
        let uri = endpoint_address::address(deployment, "invoke")?;
        let headers = headers(deployment, "application/json")?;
        Ok(Encoded { request: HttpRequest::post(uri, headers, body.finish()), dropped_params })
    }

    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes> {
        let tokens = response.headers.get("x-amzn-bedrock-input-token-count").and_then(|count| count.parse().ok());
        let list = match Family::of(&request.model)? {
            Family::Cohere => cohere::list(&request.model, response, tokens),
            _ => titan(&request.model, response, tokens),
        };
        let list = list.ok_or_else(|| not_embeddings(NAME, response))?;
        check_vectors(NAME, request, response, list)
    }

    fn parts(&self, request: &Request) -> Result<Vec<Request>> {
        match Family::of(&request.model)? {
            Family::Cohere => Ok(batches(&ROW.embedding, request)),
            _ => one_by_one(NAME, request),
        }
    }
}

/// Converts an answer of Titan; `tokens` is the number in the header field.
fn titan(model: &str, response: &HttpResponse, tokens: Option<u64>) -> Option<Bytes> {
    let top = Members::of(&response.body).ok()?;
    let by_type = Members::of(top.some("embeddingsByType").unwrap_or("{}").as_bytes()).ok()?;
    // Callers who asked for no floats get the first other type.
    let shown =
        top.some("embedding").or(by_type.some("float")).or(by_type.0.first().map(|(_, vector)| vector.get()))?;
    let vector: &RawValue = serde_json::from_str(shown).ok()?;
    let mut list = EmbeddingList::new(model, [vector]);
    list.usage = top.some("inputTextTokenCount").and_then(|count| count.parse().ok()).or(tokens).map(u64::into);
    let mut others = Map::new();
    for (name, value) in by_type.0.iter().filter(|(name, value)| name != "float" && value.get() != shown) {
        others.insert(name.to_string(), serde_json::from_str(value.get()).ok()?);
    }
    if !others.is_empty() {
        // A list, so that the answers to the parts of a call can be concatenated.
        list.provider_specific_fields = Some(json!({ NAME: { "embeddingsByType": [others] } }));
    }
    Some(list.to_json())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::providers::{DeploymentArgs, Operation, resolve};
    use crate::types::params::Params;
    use crate::types::secret::Secret;
    use serde_json::Value;

    fn request(model: &str, params: &str) -> Request {
        let params = Params::from_json(params.as_bytes()).unwrap();
        Request { operation: Operation::Embedding, model: model.into(), params, ..Default::default() }
    }

    fn sent(model: &str, params: &str) -> Result<(String, String)> {
        let settings = vec![("aws_region_name", Secret::new("us-east-1"))];
        let given = DeploymentArgs { settings, ..DeploymentArgs::default() };
        let deployment = resolve(&format!("bedrock/{model}"), &given, &|_| None)?;
        let sent = Invoke.encode(&deployment, &request(model, params))?.request;
        Ok((sent.uri.path().to_owned(), String::from_utf8(sent.body.to_vec()).unwrap()))
    }

    #[test]
    fn each_family_is_asked_in_its_own_format() {
        let (path, body) =
            sent("amazon.titan-embed-text-v2:0", r#"{"input":"a","dimensions":256,"normalize":true}"#).unwrap();
        assert_eq!(path, "/model/amazon.titan-embed-text-v2%3A0/invoke");
        assert_eq!(body, r#"{"inputText":"a","dimensions":256,"normalize":true}"#);
        let (_, body) = sent("amazon.titan-embed-image-v1", r#"{"input":"a","dimensions":256}"#).unwrap();
        assert_eq!(body, r#"{"inputText":"a","embeddingConfig":{"outputEmbeddingLength":256}}"#);
        let (_, body) = sent("us.cohere.embed-v4:0", r#"{"input":["a","b"],"dimensions":256}"#).unwrap();
        assert_eq!(body, r#"{"texts":["a","b"],"input_type":"search_document","output_dimension":256}"#);
        let error = sent("amazon.titan-embed-text-v1", r#"{"input":"a","dimensions":256}"#).unwrap_err();
        assert_eq!(error.kind, ErrorKind::UnsupportedParams);
        assert!(sent("anthropic.claude-x", r#"{"input":"a"}"#).unwrap_err().message.contains("titan"));
    }

    #[test]
    fn titan_takes_one_text_a_request() {
        let parts = Invoke.parts(&request("amazon.titan-embed-text-v1", r#"{"input":["a","b"],"x":1}"#)).unwrap();
        let inputs: Vec<_> = parts.iter().map(|part| part.params.get("input").unwrap()).collect();
        assert_eq!(inputs, [b"\"a\"", b"\"b\""]);
        assert!(parts.iter().all(|part| part.params.get("x") == Some(b"1")));
        assert!(Invoke.parts(&request("amazon.titan-embed-text-v1", r#"{"input":"a"}"#)).unwrap().is_empty());
        assert!(Invoke.parts(&request("cohere.embed-v4:0", r#"{"input":["a","b"]}"#)).unwrap().is_empty());
    }

    fn decoded(model: &str, body: &'static str) -> Value {
        let body = Bytes::from_static(body.as_bytes());
        let mut headers = http::HeaderMap::new();
        headers.insert("x-amzn-bedrock-input-token-count", "7".parse().unwrap());
        let response = HttpResponse { received: 0, status: 200, headers: (&headers).into(), body };
        serde_json::from_slice(&Invoke.decode(&request(model, "{}"), &response).unwrap()).unwrap()
    }

    #[test]
    fn each_family_s_answer_becomes_openais_list() {
        let list = decoded(
            "amazon.titan-embed-text-v2:0",
            r#"{"embedding":[0.10,1],"inputTextTokenCount":3,"embeddingsByType":{"float":[0.1,1],"binary":[1]}}"#,
        );
        assert_eq!(list["data"], json!([{"object": "embedding", "index": 0, "embedding": [0.1, 1]}]));
        assert_eq!(list["usage"], json!({"prompt_tokens": 3, "total_tokens": 3}));
        assert_eq!(list["provider_specific_fields"]["bedrock"], json!({"embeddingsByType": [{"binary": [1]}]}));
        let list = decoded(
            "cohere.embed-english-v3",
            r#"{"embeddings":[[0.5],[1]],"id":"i","response_type":"embeddings_floats"}"#,
        );
        assert_eq!(list["data"][1]["embedding"], json!([1]));
        assert_eq!(list["usage"]["prompt_tokens"], 7);
        assert_eq!(list["provider_specific_fields"]["cohere"]["id"], "i");
    }
}
