//! Azure OpenAI: OpenAI's chat completions at another address, with other credentials.
//!
//! - Addresses and credentials: <https://learn.microsoft.com/azure/ai-foundry/openai/reference>
//! - The v1 path: <https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle>
//! - Content filter results: <https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-filter>

use std::sync::LazyLock;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::batch_rows::{self, BatchRows};
use super::http::{Destination, accepted, address, bearer, headers, secret};
use super::openai_compatible::{Endpoints, endpoints};
use super::rate_limits::table as limits;
use super::resolve::check_url;
use super::row::{FILES_AND_BATCHES, HOSTED, MODELS, SPEECH, Setting};
use super::structured::support as structured;
use super::table::{OPENAI_EMBEDDINGS, REASONING};
use super::tools::grammar::Grammar;
use super::{Deployment, Encoded, Endpoint, Key, Operation, Provider, Row, StreamDecoder, chat, errors};
use crate::error::{Error, ErrorKind, Result};
use crate::types::http::HttpResponse;
use crate::types::request::Request;

/// The provider.
#[derive(Clone)]
pub(super) struct Azure;

static ROW: Row = AZURE;

const AZURE: Row = Row {
    name: "azure",
    docs: "https://learn.microsoft.com/azure/ai-foundry/openai/reference",
    key_variables: &["AZURE_OPENAI_API_KEY", "AZURE_API_KEY"],
    base_url_variables: &["AZURE_OPENAI_BASE_URL", "AZURE_OPENAI_ENDPOINT", "AZURE_API_BASE"],
    // A key or a token: see `credential`.
    key: Key::OrCredentials,
    stream_usage: true,
    // Searches of the caller's own data cannot be combined with `stream_options`: <https://learn.microsoft.com/azure/ai-foundry/openai/references/on-your-data>.
    no_stream_options_beside: &["data_sources", "dataSources"],
    refused_in_history: REASONING,
    fits_reasoning_models: true,
    has_developer_role: true,
    tools: Grammar::OPENAI,
    embedding: OPENAI_EMBEDDINGS,
    operations: &[MODELS, SPEECH, FILES_AND_BATCHES],
    api_versions: true,
    settings: &[
        Setting::location(API_VERSION, &["OPENAI_API_VERSION", "AZURE_API_VERSION"]),
        Setting::secret(TOKEN, &[]),
        // A callable that returns the token, which the Python side has called by now.
        Setting::secret(TOKEN_PROVIDER, &[]),
        // A setting of its own, since a token argument wins over a key, and a key over this token.
        Setting::secret(ENVIRONMENT_TOKEN, &["AZURE_OPENAI_AD_TOKEN", "AZURE_AD_TOKEN"]),
    ],
    structured: structured::OPENAI_MODELS,
    rate_limits: &limits::AZURE,
    ..HOSTED
};

/// Row for versions before 2024-09-01, which reject `stream_options`.
static WITHOUT_STREAM_OPTIONS: Row = Row { stream_usage: false, ..AZURE };

const API_VERSION: &str = "api_version";
const TOKEN: &str = "azure_ad_token";
const TOKEN_PROVIDER: &str = "azure_ad_token_provider";
const ENVIRONMENT_TOKEN: &str = "azure_ad_token_of_environment";

/// The last version with a date, which has all parameters of reasoning models.
const DEFAULT_VERSION: &str = "2025-04-01-preview";

impl Provider for Azure {
    fn row(&self) -> &'static Row {
        &ROW
    }

    /// Also accepts a deployment's whole address, `…/chat/completions?api-version=…`, as the portal shows it.
    fn base_url(&self, given: &str) -> Result<String> {
        let (address, query) = match given.trim().split_once('?') {
            Some((address, query)) if version_in(query).is_some() => (address, Some(query)),
            _ => (given, None),
        };
        let address = check_url(address)?;
        let operations = ["/chat/completions", "/embeddings", "/responses", "/audio/speech"];
        let base = operations.iter().find_map(|operation| address.strip_suffix(operation)).unwrap_or(address);
        let base = base.trim_end_matches('/');
        Ok(query.map_or(base.to_owned(), |query| format!("{base}?{query}")))
    }

    fn endpoints(&self) -> &[(Operation, &'static dyn Endpoint)] {
        static ENDPOINTS: LazyLock<Endpoints> = LazyLock::new(|| endpoints(&ROW, &Azure, destination));
        &ENDPOINTS
    }

    fn decode_error(&self, response: &HttpResponse) -> Box<Error> {
        errors::from_response(ROW.name, response)
    }

    fn batch_rows(&self) -> Option<&'static dyn BatchRows> {
        Some(&batch_rows::AZURE)
    }
}

impl Endpoint for Azure {
    fn encode(&self, deployment: &Deployment, request: &Request) -> Result<Encoded> {
        let address = AzureAddress::of(deployment);
        let row = if address.has_stream_options() { &ROW } else { &WITHOUT_STREAM_OPTIONS };
        chat::encode(
            row,
            request,
            &deployment.model,
            destination(deployment, "chat/completions", accepted(request.stream))?,
        )
    }

    fn decode(&self, request: &Request, response: &HttpResponse) -> Result<Bytes> {
        chat::decode(&ROW, request, response)
    }

    fn stream_decoder(&self, request: &Request, _received: u64) -> Box<dyn StreamDecoder> {
        chat::stream_decoder(&ROW, request)
    }
}

fn destination(deployment: &Deployment, path: &str, accept: &'static str) -> Result<Destination> {
    let uri = AzureAddress::of(deployment).uri(&deployment.model, path)?;
    Ok((uri, headers([credential(deployment)?], accept).into()))
}

/// The address of calls: the base URL and the version, from the arguments, the settings or the base URL.
struct AzureAddress<'a> {
    base: &'a str,
    /// `None` if no version is configured.
    version: Option<&'a str>,
    /// True for the path without dated versions, where the body names the deployment.
    is_v1: bool,
}

impl<'a> AzureAddress<'a> {
    fn of(deployment: &'a Deployment) -> Self {
        let (base, query) = deployment.base_url.split_once('?').unwrap_or((&deployment.base_url, ""));
        let given = deployment.api_version.as_deref().or_else(|| version_in(query));
        if base.ends_with("/openai/v1") {
            // A dated version in the environment is for the other path, and rejected on this one.
            return Self { base, version: given, is_v1: true };
        }
        let version = given.or_else(|| deployment.setting(API_VERSION));
        let is_v1 = matches!(version, Some("v1" | "preview" | "latest")) && !base.contains("/deployments/");
        Self { base, version, is_v1 }
    }

    /// Returns true if the version has `stream_options`. Dated versions compare as text.
    fn has_stream_options(&self) -> bool {
        self.is_v1 || self.version.is_none_or(|version| !version.starts_with("20") || version >= "2024-09-01")
    }

    fn uri(&self, model: &str, operation: &str) -> Result<Uri> {
        let is_account_resource =
            ["responses", "files", "batches"].contains(&operation.split('/').next().unwrap_or_default());
        let base = match self.base.split_once("/deployments/") {
            // A response names its deployment in the body at every version; files and batches have none.
            Some((base, _)) if is_account_resource => base,
            _ => self.base,
        };
        let path = if base.ends_with("/openai/v1") || base.contains("/deployments/") {
            format!("{base}/{operation}")
        } else {
            let root = base.strip_suffix("/openai").unwrap_or(base);
            match self.is_v1 {
                true => format!("{root}/openai/v1/{operation}"),
                false if is_account_resource => format!("{root}/openai/{operation}"),
                false => format!("{root}/openai/deployments/{}/{operation}", escaped(model)),
            }
        };
        let version = self.version.or((!self.is_v1).then_some(DEFAULT_VERSION));
        address(&match version {
            Some(version) => format!("{path}?api-version={}", escaped(version)),
            None => path,
        })
    }
}

fn version_in(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("api-version="))
}

fn escaped(text: &str) -> impl std::fmt::Display + '_ {
    const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(text, ESCAPED)
}

/// Returns the header field with the credential: an Entra token argument, a key, or a token in the environment, in this
/// order.
///
/// # Errors
/// `Authentication` if there is none.
fn credential(deployment: &Deployment) -> Result<(HeaderName, HeaderValue)> {
    if let Some(token) = deployment.setting(TOKEN).or_else(|| deployment.setting(TOKEN_PROVIDER)) {
        return Ok((AUTHORIZATION, bearer(token)?));
    }
    if let Some(key) = &deployment.api_key {
        return Ok((HeaderName::from_static("api-key"), secret(key.expose())?));
    }
    if let Some(token) = deployment.setting(ENVIRONMENT_TOKEN) {
        return Ok((AUTHORIZATION, bearer(token)?));
    }
    let message =
        format!("no key for azure: set {}, or pass api_key= or azure_ad_token=", ROW.key_variables.join(" or "));
    let mut error = Error::new(ErrorKind::Authentication, message);
    error.provider = Some(ROW.name.to_owned());
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::{DeploymentArgs, resolve};
    use crate::types::accumulate::Accumulator;
    use crate::types::params::Params;
    use crate::types::secret::Secret;
    use serde_json::{Value, json};

    fn encoded(
        base_url: &str,
        given: DeploymentArgs,
        variables: &[(&str, &str)],
        params: &str,
        stream: bool,
    ) -> Result<Encoded> {
        let given = DeploymentArgs { base_url: (!base_url.is_empty()).then(|| base_url.into()), ..given };
        let read =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let deployment = resolve("azure/gpt 4", &given, &read)?;
        let request = Request { params: Params::from_json(params.as_bytes())?, stream, ..Default::default() };
        deployment.endpoint(&request)?.encode(&deployment, &request)
    }

    fn with_key(version: Option<&str>) -> DeploymentArgs {
        DeploymentArgs {
            api_key: Some(Secret::new("k")),
            api_version: version.map(str::to_owned),
            ..DeploymentArgs::default()
        }
    }

    #[test]
    fn every_base_url_leads_to_the_deployment() {
        let dated = "api-version=2024-10-21";
        for (base, path) in [
            ("https://r.openai.azure.com/", "https://r.openai.azure.com/openai/deployments/gpt%204/chat/completions?"),
            (
                "https://r.openai.azure.com/openai",
                "https://r.openai.azure.com/openai/deployments/gpt%204/chat/completions?",
            ),
            ("https://gateway/team/c1", "https://gateway/team/c1/openai/deployments/gpt%204/chat/completions?"),
            ("https://h/openai/deployments/mine", "https://h/openai/deployments/mine/chat/completions?"),
            ("https://h/openai/v1/", "https://h/openai/v1/chat/completions?"),
            (
                "https://h/openai/deployments/d/chat/completions?api-version=2023-05-15",
                "https://h/openai/deployments/d/chat/completions?",
            ),
        ] {
            let request = encoded(base, with_key(Some("2024-10-21")), &[], "{}", false).unwrap().request;
            assert_eq!(request.uri.to_string(), format!("{path}{dated}"), "{base}");
            assert_eq!(request.body, r#"{"model":"gpt 4"}"#);
        }
    }

    #[test]
    fn the_version_comes_from_wherever_it_is_given() {
        let uri = |base: &str, version, variables: &[(&str, &str)]| {
            encoded(base, with_key(version), variables, "{}", false).unwrap().request.uri.to_string()
        };
        let environment = [("OPENAI_API_VERSION", "2024-10-21")];
        assert!(uri("https://h", None, &[]).ends_with("?api-version=2025-04-01-preview"));
        assert!(uri("https://h", None, &environment).ends_with("?api-version=2024-10-21"));
        assert!(
            uri("https://h/openai/deployments/d/chat/completions?api-version=2024-06-01", None, &environment)
                .ends_with("?api-version=2024-06-01")
        );
        assert_eq!(uri("https://h/openai/v1", None, &environment), "https://h/openai/v1/chat/completions");
        assert_eq!(uri("https://h", Some("preview"), &[]), "https://h/openai/v1/chat/completions?api-version=preview");
        let variables = [("AZURE_OPENAI_ENDPOINT", "https://r.openai.azure.com/")];
        assert!(uri("", None, &variables).starts_with("https://r.openai.azure.com/openai/deployments/"));
        assert!(encoded("https://h?code=1", with_key(None), &[], "{}", false).is_err());
    }

    #[test]
    fn a_token_given_goes_before_a_key_and_a_key_before_a_token_around() {
        let header = |given, variables: &[(&str, &str)]| {
            let request = encoded("https://h", given, variables, "{}", false).unwrap().request;
            assert!(!format!("{request:?}").contains("secret"));
            (request.headers[0].0.to_string(), request.headers[0].1.to_str().unwrap().to_owned())
        };
        let token =
            || DeploymentArgs { settings: vec![(TOKEN, Secret::new("secret-token"))], ..DeploymentArgs::default() };
        let around = [("AZURE_API_KEY", "secret-key"), ("AZURE_AD_TOKEN", "secret-other")];
        assert_eq!(header(token(), &around), ("authorization".into(), "Bearer secret-token".into()));
        assert_eq!(header(DeploymentArgs::default(), &around), ("api-key".into(), "secret-key".into()));
        assert_eq!(
            header(DeploymentArgs::default(), &around[1..]),
            ("authorization".into(), "Bearer secret-other".into())
        );
        let error = encoded("https://h", DeploymentArgs::default(), &[], "{}", false).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Authentication);
        assert!(error.message.contains("AZURE_OPENAI_API_KEY") && error.message.contains("azure_ad_token"), "{error}");
    }

    #[test]
    fn usage_is_asked_for_where_the_version_has_it() {
        let body = |version| encoded("https://h", with_key(Some(version)), &[], "{}", true).unwrap().request.body;
        assert_eq!(body("2024-06-01"), r#"{"model":"gpt 4","stream":true}"#);
        assert_eq!(body("2024-10-21"), r#"{"model":"gpt 4","stream":true,"stream_options":{"include_usage":true}}"#);
    }

    #[test]
    fn filter_results_pass_untouched_and_do_not_pile_up() {
        let verdict = json!({"hate": {"filtered": false, "severity": "safe"}});
        let events = [
            json!({"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": verdict}]}),
            json!({"choices": [{"index": 0, "delta": {"content": "a"}, "content_filter_results": verdict, "finish_reason": null}], "id": "c"}),
            json!({"choices": [{"index": 0, "delta": {"content": "b"}, "content_filter_results": verdict, "finish_reason": null}], "id": "c"}),
            json!({"choices": [{"index": 0, "delta": {}, "content_filter_results": {}, "finish_reason": "stop"}], "id": "c"}),
            json!({"choices": [], "id": "c", "usage": {"total_tokens": 3}}),
        ];
        let mut decoder = Azure.stream_decoder(&Request::default(), 0);
        let mut chunks = Vec::new();
        for event in &events {
            decoder.event(b"", event.to_string().into(), &mut chunks).unwrap();
        }
        let chunks: Vec<Value> = chunks.iter().map(|chunk| serde_json::from_slice(chunk).unwrap()).collect();
        assert_eq!(chunks, events);
        // A loop reads `choices[0]`: what has none is for the completion alone.
        let is_shown = events.iter().map(|event| decoder.is_shown(event.to_string().as_bytes()));
        assert_eq!(is_shown.collect::<Vec<_>>(), [false, true, true, true, false]);
        let mut accumulator = Accumulator::default();
        chunks.into_iter().for_each(|chunk| accumulator.push(chunk));
        let whole = accumulator.finish();
        assert_eq!(whole["choices"][0]["content_filter_results"], verdict);
        assert_eq!(whole["prompt_filter_results"][0]["content_filter_results"], verdict);
        assert_eq!((&whole["choices"][0]["message"]["content"], &whole["id"]), (&json!("ab"), &json!("c")));
    }

    #[test]
    fn a_filtered_prompt_is_a_policy_violation() {
        let body = r#"{"error":{"message":"The response was filtered","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#;
        let error = Azure.decode_error(&HttpResponse {
            received: 0,
            status: 400,
            headers: Default::default(),
            body: Bytes::from_static(body.as_bytes()),
        });
        assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::ContentPolicyViolation, Some("content_filter")));
    }
}
