//! Number of tokens of a prompt, as its provider counts them: the request of a call, written for another address.
//!
//! - OpenAI: <https://platform.openai.com/docs/api-reference/responses/input-tokens>
//! - Anthropic: <https://platform.claude.com/docs/en/api/messages-count-tokens>
//! - Gemini: <https://ai.google.dev/api/tokens>; Vertex AI:
//!   <https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.publishers.models/countTokens>; Claude there:
//!   <https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/count-tokens>
//! - Bedrock: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html>
//! - Cohere: <https://docs.cohere.com/reference/tokenize>
//! - vLLM: <https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html#tokenizer-api>
//! - llama.cpp: <https://github.com/ggml-org/llama.cpp/tree/master/tools/server>, `POST /tokenize`
//!
//! An answer is `{"object": "token_count", "tokens": …}`.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::http::{Host, JSON};
use super::{Deployment, Encoded, Endpoint, Operation, errors};
use crate::error::{Error, ErrorKind, Result};
use crate::types::http::{HttpRequest, HttpResponse};
use crate::types::request::Request;

/// The endpoint of a wire whose chat requests it counts.
pub(super) struct Counting {
    /// Name of the provider.
    pub name: &'static str,
    /// The endpoint of chats.
    pub chat: &'static dyn Endpoint,
    /// Turns the address and the body of a chat into those of its count; `None` if there is no such count.
    pub rewrite: Rewrite,
}

/// Function of a chat's address, its model and its body.
type Rewrite = fn(&str, &str, Map<String, Value>) -> Option<(String, Value)>;

impl Endpoint for Counting {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let chat = Request { operation: Operation::Chat, stream: false, ..request.clone() };
        let mut encoded = self.chat.encode(deployment, &chat)?;
        let body = serde_json::from_slice(&encoded.request.body).unwrap_or_default();
        let rewritten = (self.rewrite)(&encoded.request.uri.to_string(), &deployment.model, body);
        let Some((uri, body)) = rewritten else {
            let message = format!("{} counts no tokens of {}", self.name, deployment.model);
            return Err(Error::new(ErrorKind::UnsupportedParams, message));
        };
        encoded.request.uri = uri.parse().map_err(|_| Error::argument("the address of the count is no URL"))?;
        encoded.request.body = body.to_string().into();
        Ok(encoded)
    }

    fn decode(&self, _request: &Request, response: &HttpResponse) -> Result<Bytes> {
        decode(self.name, response)
    }
}

/// Members in which hosts tell the count: a number, or the tokens themselves.
const COUNTS: [&str; 5] = ["input_tokens", "totalTokens", "inputTokens", "count", "tokens"];

fn decode(name: &'static str, response: &HttpResponse) -> Result<Bytes> {
    let answer: Map<String, Value> = serde_json::from_slice(&response.body).unwrap_or_default();
    let count = COUNTS.iter().find_map(|member| match answer.get(*member)? {
        Value::Array(tokens) => Some(tokens.len() as u64),
        value => value.as_u64(),
    });
    match count {
        Some(count) => Ok(json!({"object": "token_count", "tokens": count}).to_string().into()),
        None => Err(errors::not_an_answer(name, response, "something that has no number of tokens")),
    }
}

fn only(body: Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    body.into_iter().filter(|(name, _)| names.contains(&name.as_str())).collect()
}

/// Parameters of Anthropic's endpoint.
const ANTHROPIC: &[&str] = &["messages", "model", "system", "thinking", "tool_choice", "tools"];

/// Anthropic's own API.
pub(super) fn anthropic(uri: &str, _model: &str, body: Map<String, Value>) -> Option<(String, Value)> {
    Some((format!("{uri}/count_tokens"), only(body, ANTHROPIC).into()))
}

/// The Gemini API, whose endpoint takes a whole request of a model.
pub(super) fn gemini(uri: &str, model: &str, mut body: Map<String, Value>) -> Option<(String, Value)> {
    let name = if model.contains('/') { model.to_owned() } else { format!("models/{model}") };
    body.insert("model".into(), name.into());
    Some((uri.replace(":generateContent", ":countTokens"), json!({"generateContentRequest": body})))
}

/// Vertex AI: Google's models, and Anthropic's.
pub(super) fn vertex(uri: &str, model: &str, mut body: Map<String, Value>) -> Option<(String, Value)> {
    if uri.contains(":generateContent") {
        let body = only(body, &["contents", "systemInstruction", "tools", "generationConfig"]);
        return Some((uri.replace(":generateContent", ":countTokens"), body.into()));
    }
    let (before, _) = uri.split_once("/publishers/anthropic/models/").filter(|_| uri.contains(":rawPredict"))?;
    let model = model.rsplit('/').next().unwrap_or(model);
    body.insert("model".into(), model.into());
    Some((format!("{before}/publishers/anthropic/models/count-tokens:rawPredict"), only(body, ANTHROPIC).into()))
}

/// Bedrock's `Converse`.
pub(super) fn bedrock(uri: &str, _model: &str, body: Map<String, Value>) -> Option<(String, Value)> {
    let body = only(body, &["messages", "system", "toolConfig", "additionalModelRequestFields"]);
    Some((format!("{}/count-tokens", uri.strip_suffix("/converse")?), json!({"input": {"converse": body}})))
}

/// Cohere, which counts texts: the messages' own tokens, without what the model's template adds.
pub(super) fn cohere(uri: &str, model: &str, body: Map<String, Value>) -> Option<(String, Value)> {
    let text = text(body.get("messages")?);
    Some((uri.replace("/v2/chat", "/v1/tokenize"), json!({"text": text, "model": model})))
}

/// Returns the texts of messages.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join("\n"),
        Value::Object(members) => {
            let known = ["content", "text", "arguments", "function", "tool_calls"];
            let texts = known.iter().filter_map(|name| members.get(*name)).map(text);
            texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

/// Hosts of OpenAI's format that count tokens.
pub(super) struct Tokenize(pub Host);

impl Endpoint for Tokenize {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let params = &request.params;
        let member = |name: &str| params.get(name).and_then(|value| serde_json::from_slice::<Value>(value).ok());
        let messages = member("messages").unwrap_or_default();
        let (path, body) = match self.0.row.name {
            "vllm" => {
                ("tokenize", json!({"model": &*deployment.model, "messages": messages, "tools": member("tools")}))
            }
            "llamafile" => ("tokenize", json!({"content": text(&messages), "add_special": true})),
            _ => {
                // As items of the Responses API.
                let mut body = Map::from_iter([
                    ("model".to_owned(), Value::from(&*deployment.model)),
                    ("input".to_owned(), messages),
                ]);
                body.extend(
                    params
                        .iter()
                        .filter(|(name, _)| *name != "messages")
                        .filter_map(|(name, _)| Some((name.to_owned(), member(name)?))),
                );
                ("responses/input_tokens", body.into())
            }
        };
        let is_root = path == "tokenize";
        // These stand beside the version, not below it.
        let root = deployment.base_url.strip_suffix("/v1").filter(|_| is_root).map(Into::into);
        let deployment =
            &Deployment { base_url: root.unwrap_or_else(|| deployment.base_url.clone()), ..deployment.clone() };
        let (uri, headers) = (self.0.destination)(deployment, path, JSON)?;
        Ok(Encoded { request: HttpRequest::post(uri, headers, body.to_string()), dropped_params: Vec::new() })
    }

    fn decode(&self, _request: &Request, response: &HttpResponse) -> Result<Bytes> {
        decode(self.0.row.name, response)
    }
}
