//! Google's credential files, and the access tokens that they give.
//!
//! Kinds of files: <https://cloud.google.com/docs/authentication/application-default-credentials>; tokens for users:
//! <https://developers.google.com/identity/protocols/oauth2/web-server#offline>; for other identity providers:
//! <https://google.aip.dev/auth/4117> and <https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token>;
//! impersonation of a service account:
//! <https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken>.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use aws_smithy_types::base64;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};

use super::jwt;
use crate::credentials::context::{
    Context, REMOTE_TIMEOUT, form, get, rejected, run_blocking, secret, secret_header, time, unauthenticated, uri,
};
use crate::error::Result;
use crate::types::http::HttpRequest;
use crate::types::secret::Secret;

/// Scope of the tokens: all of Google Cloud, as Vertex AI requires.
pub(super) const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const TOKEN_ADDRESS: &str = "https://oauth2.googleapis.com/token";
const EXCHANGE_ADDRESS: &str = "https://sts.googleapis.com/v1/token";
/// Assumed lifetime of a token whose response has none, in seconds.
const DEFAULT_LIFETIME_SECONDS: u64 = 600;

/// An access token and the time of its expiry.
pub(super) struct Token {
    pub token: Secret,
    pub end: SystemTime,
}

/// Contents of a credential file.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "they are Google's names")]
pub(super) enum Account {
    ServiceAccount {
        client_email: String,
        private_key: String,
        private_key_id: Option<String>,
        token_uri: Option<String>,
        project_id: Option<String>,
        quota_project_id: Option<String>,
    },
    AuthorizedUser {
        client_id: String,
        client_secret: String,
        refresh_token: String,
        token_uri: Option<String>,
        quota_project_id: Option<String>,
    },
    ExternalAccount(Box<ExternalAccount>),
    ExternalAccountAuthorizedUser {
        client_id: String,
        client_secret: String,
        refresh_token: String,
        token_url: String,
        quota_project_id: Option<String>,
    },
    ImpersonatedServiceAccount {
        source_credentials: Box<Account>,
        service_account_impersonation_url: String,
        #[serde(default)]
        delegates: Vec<String>,
        quota_project_id: Option<String>,
    },
}

/// A workload or person known to another identity provider.
#[derive(Deserialize)]
pub(super) struct ExternalAccount {
    audience: String,
    subject_token_type: String,
    token_url: Option<String>,
    credential_source: Value,
    service_account_impersonation_url: Option<String>,
    service_account_impersonation: Option<Impersonation>,
    client_id: Option<String>,
    client_secret: Option<String>,
    workforce_pool_user_project: Option<String>,
    quota_project_id: Option<String>,
}

/// Options of an impersonation.
#[derive(Deserialize)]
struct Impersonation {
    token_lifetime_seconds: Option<u64>,
}

/// Location of the other provider's token.
#[derive(Deserialize)]
struct Source {
    file: Option<String>,
    url: Option<String>,
    #[serde(default)]
    headers: HashMap<String, String>,
    #[serde(default)]
    format: TokenFormat,
}

/// Format of the other provider's token.
#[derive(Deserialize, Default)]
struct TokenFormat {
    #[serde(rename = "type")]
    kind: Option<String>,
    subject_token_field_name: Option<String>,
}

impl Account {
    /// Parses the text of a file; `origin` names it in error messages, which never repeat its contents.
    ///
    /// # Errors
    ///
    /// Returns an `Authentication` error if the text is not a complete credential file of a known type.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Kind {
            #[serde(rename = "type")]
            kind: Option<String>,
        }
        let kind: Kind = serde_json::from_str(text)
            .map_err(|_| unauthenticated(format!("{origin} holds no JSON object with Google credentials")))?;
        serde_json::from_str(text).map_err(|error| {
            // The parser's message about a missing field names the field only; other messages may contain a part of the
            // file.
            let missing = error
                .to_string()
                .split(" at line")
                .next()
                .filter(|words| words.starts_with("missing field"))
                .map(str::to_owned);
            unauthenticated(match (kind.kind.as_deref(), missing) {
                (None, _) => format!("{origin} holds Google credentials without a \"type\""),
                (Some(kind), Some(missing)) => {
                    format!("{origin} holds Google credentials of the type {kind:?} that are not whole: {missing}")
                }
                (Some(kind), None) => {
                    format!("{origin} holds Google credentials of the type {kind:?}, which cannot be read")
                }
            })
        })
    }

    /// Returns the project that the account belongs to.
    pub fn project(&self) -> Option<&str> {
        match self {
            Self::ServiceAccount { project_id, .. } => project_id.as_deref(),
            _ => self.quota_project(),
        }
    }

    /// Returns the project that is billed.
    pub fn quota_project(&self) -> Option<&str> {
        match self {
            Self::ServiceAccount { quota_project_id, .. }
            | Self::AuthorizedUser { quota_project_id, .. }
            | Self::ExternalAccountAuthorizedUser { quota_project_id, .. }
            | Self::ImpersonatedServiceAccount { quota_project_id, .. } => quota_project_id.as_deref(),
            Self::ExternalAccount(account) => account.quota_project_id.as_deref(),
        }
    }

    /// Requests an access token.
    ///
    /// # Errors
    ///
    /// Returns an error if the token server cannot be reached or refuses, or if the key or the source of the other
    /// provider's token is unusable.
    pub async fn token(&self, context: &Context<'_>) -> Result<Token> {
        match self {
            Self::ServiceAccount { client_email, private_key, private_key_id, token_uri, .. } => {
                let address = token_uri.clone().unwrap_or_else(|| TOKEN_ADDRESS.to_owned());
                let (email, id, key, audience) =
                    (client_email.clone(), private_key_id.clone(), private_key.clone(), address.clone());
                // An RSA signature takes one or two milliseconds, during which the network thread could serve many
                // calls.
                let signed = run_blocking(move || {
                    jwt::assertion(&email, id.as_deref(), &key, &audience, SCOPE, SystemTime::now())
                })
                .await?;
                let assertion = signed.map_err(|why| {
                    unauthenticated(format!("the service account {client_email} cannot be used: {why}"))
                })?;
                let fields = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", &assertion)];
                exchange(context, &address, &fields, None, &[&assertion]).await
            }
            Self::AuthorizedUser { client_id, client_secret, refresh_token, token_uri, .. } => {
                let fields = [
                    ("grant_type", "refresh_token"),
                    ("client_id", client_id),
                    ("client_secret", client_secret),
                    ("refresh_token", refresh_token),
                ];
                let address = token_uri.as_deref().unwrap_or(TOKEN_ADDRESS);
                exchange(context, address, &fields, None, &[client_secret, refresh_token]).await
            }
            Self::ExternalAccountAuthorizedUser { client_id, client_secret, refresh_token, token_url, .. } => {
                let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
                let client = Some((client_id.as_str(), client_secret.as_str()));
                exchange(context, token_url, &fields, client, &[client_secret, refresh_token]).await
            }
            Self::ExternalAccount(account) => account.token(context).await,
            Self::ImpersonatedServiceAccount {
                source_credentials,
                service_account_impersonation_url,
                delegates,
                ..
            } => {
                let source = Box::pin(source_credentials.token(context)).await?;
                impersonate(context, service_account_impersonation_url, delegates, 3600, &source.token).await
            }
        }
    }
}

impl ExternalAccount {
    async fn token(&self, context: &Context<'_>) -> Result<Token> {
        let subject = self.subject_token(context).await?;
        let mut fields = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("audience", &self.audience),
            ("scope", SCOPE),
            ("subject_token_type", &self.subject_token_type),
            ("subject_token", &subject),
        ];
        let client = self.client_id.as_deref().zip(self.client_secret.as_deref());
        // A client's own project is billed; without a client, the request names the project.
        let options = self.workforce_pool_user_project.as_ref().filter(|_| client.is_none());
        let options = options.map(|project| json!({"userProject": project}).to_string());
        fields.extend(options.as_deref().map(|options| ("options", options)));
        let mut secrets = vec![subject.as_str()];
        secrets.extend(client.map(|(_, secret)| secret));
        let address = self.token_url.as_deref().unwrap_or(EXCHANGE_ADDRESS);
        let token = exchange(context, address, &fields, client, &secrets).await?;
        let Some(address) = &self.service_account_impersonation_url else { return Ok(token) };
        let seconds = self.service_account_impersonation.as_ref().and_then(|how| how.token_lifetime_seconds);
        impersonate(context, address, &[], seconds.unwrap_or(3600), &token.token).await
    }

    /// Reads the other provider's token from a file that another program renews, or requests it from a local server.
    async fn subject_token(&self, context: &Context<'_>) -> Result<String> {
        let known = "a file or a url is known as the credential_source of an external_account";
        for unknown in ["executable", "environment_id", "certificate"] {
            if self.credential_source.get(unknown).is_some() {
                return Err(unauthenticated(format!(
                    "{known}, and {unknown} is not: pass a token of google.auth.default() as vertex_access_token="
                )));
            }
        }
        let source = Source::deserialize(&self.credential_source).map_err(|_| unauthenticated(known))?;
        let text = match (&source.file, &source.url) {
            (Some(path), _) => context.required_file(path, "the token for the external_account").await?,
            (None, Some(address)) => {
                let header = |(name, value): (&String, &String)| {
                    let name = HeaderName::try_from(name)
                        .map_err(|_| unauthenticated(format!("{name:?} in credential_source is no header")))?;
                    secret_header(name, value)
                };
                let headers = source.headers.iter().map(header).collect::<Result<Vec<_>>>()?;
                let answer = context.server(get(address, headers)?, REMOTE_TIMEOUT).await?;
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                if answer.status != 200 {
                    return Err(rejected(
                        "the credential_source of the external_account",
                        answer.status,
                        "no token",
                        &[],
                    ));
                }
                text
            }
            (None, None) => return Err(unauthenticated(known)),
        };
        if source.format.kind.as_deref() != Some("json") {
            return Ok(text.trim().to_owned());
        }
        let field = source.format.subject_token_field_name.as_deref().unwrap_or("access_token");
        let parsed: Option<Value> = serde_json::from_str(&text).ok();
        let token = parsed.as_ref().and_then(|object| object.get(field)?.as_str()).map(str::to_owned);
        token.ok_or_else(|| {
            unauthenticated(format!(
                "the credential_source of the external_account holds no JSON object with the member {field:?}"
            ))
        })
    }
}

/// Response of a token server.
#[derive(Deserialize)]
pub(super) struct TokenResponse {
    pub access_token: String,
    expires_in: Option<f64>,
}

impl TokenResponse {
    /// Returns the token and its expiry, which is at most a day from now.
    pub fn token(&self) -> Token {
        let lasts = self.expires_in.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let lasts = lasts.unwrap_or(Duration::from_secs(DEFAULT_LIFETIME_SECONDS)).min(Duration::from_secs(24 * 3600));
        Token { token: secret(&*self.access_token), end: SystemTime::now() + lasts }
    }
}

/// Sends a form to a token server; `client` is sent as the user and password of HTTP's Basic authentication.
async fn exchange(
    context: &Context<'_>,
    address: &str,
    fields: &[(&str, &str)],
    client: Option<(&str, &str)>,
    secrets: &[&str],
) -> Result<Token> {
    let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))];
    if let Some((id, password)) = client {
        headers.push(secret_header(AUTHORIZATION, &format!("Basic {}", base64::encode(format!("{id}:{password}"))))?);
    }
    let answer = context.server(HttpRequest::post(uri(address)?, headers, form(fields)), REMOTE_TIMEOUT).await?;
    if answer.status == 200
        && let Ok(response) = serde_json::from_slice::<TokenResponse>(&answer.body)
    {
        return Ok(response.token());
    }
    Err(rejected("Google's token server", answer.status, &error_text(&answer.body), secrets))
}

/// Requests a token of a service account, for a caller that may impersonate it.
async fn impersonate(
    context: &Context<'_>,
    address: &str,
    delegates: &[String],
    seconds: u64,
    caller: &Secret,
) -> Result<Token> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Generated {
        access_token: String,
        expire_time: String,
    }
    let body = json!({"scope": [SCOPE], "lifetime": format!("{seconds}s"), "delegates": delegates}).to_string();
    let headers = vec![
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        secret_header(AUTHORIZATION, &format!("Bearer {}", caller.expose()))?,
    ];
    let answer = context.server(HttpRequest::post(uri(address)?, headers, body), REMOTE_TIMEOUT).await?;
    if answer.status == 200
        && let Ok(generated) = serde_json::from_slice::<Generated>(&answer.body)
        && let Some(end) = time(&generated.expire_time)
    {
        return Ok(Token { token: secret(generated.access_token), end });
    }
    Err(rejected(
        "Google, asked for a service account's token,",
        answer.status,
        &error_text(&answer.body),
        &[caller.expose()],
    ))
}

/// Returns the error that a response body contains, in OAuth's format or in Google's. Nothing else of the body is
/// returned, since it may be anything.
fn error_text(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    match body.get("error") {
        Some(Value::String(code)) => format!("{code} {}", text(&body, "error_description")),
        Some(error) => format!("{} {}", text(error, "status"), text(error, "message")),
        None => "no token".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_none_is_refused_without_repeating_it() {
        let message = |text: &str| Account::parse(text, "the file").err().expect("refused").message;
        for text in [
            "",
            "sesame",
            "[]",
            r#"{"type": ["sesame"]}"#,
            r#"{"private_key": "sesame"}"#,
            r#"{"type": "service_account", "client_email": {"sesame": 1}, "private_key": "sesame"}"#,
        ] {
            assert!(!message(text).contains("sesame"), "{text}");
        }
        assert!(message(r#"{"type": "service_account", "client_email": "e"}"#).contains("missing field `private_key`"));
        assert!(message(r#"{"type": "gdch_service_account"}"#).contains("gdch_service_account"));
    }

    #[test]
    fn an_account_knows_its_project() {
        let service = Account::parse(
            r#"{"type": "service_account", "client_email": "e", "private_key": "k", "project_id": "p"}"#,
            "",
        )
        .unwrap();
        assert_eq!((service.project(), service.quota_project()), (Some("p"), None));
        let user = r#"{"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r", "quota_project_id": "q"}"#;
        let user = Account::parse(user, "").unwrap();
        assert_eq!((user.project(), user.quota_project()), (Some("q"), Some("q")));
    }

    #[test]
    fn what_a_server_complains_about() {
        assert_eq!(error_text(br#"{"error": "invalid_grant", "error_description": "Bad"}"#), "invalid_grant Bad");
        assert_eq!(
            error_text(br#"{"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "No"}}"#),
            "PERMISSION_DENIED No"
        );
        assert_eq!(error_text(b"<html>"), "no token");
    }
}
