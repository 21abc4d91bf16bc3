//! Google's application-default credentials: <https://cloud.google.com/docs/authentication/application-default-credentials>.
//!
//! The order is that of Google's own libraries: a file that an argument or variable names, the file written by `gcloud
//! auth application-default login`, and the metadata server of the machine
//! (<https://cloud.google.com/compute/docs/metadata/overview>).
//!
//! - `account`: tokens for a credential file; `jwt`: the assertion that a service account signs.

mod account;
mod jwt;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use self::account::{Account, SCOPE, Token, TokenResponse};
use super::cache::{Found, Validity};
use super::context::{Context, LOCAL_TIMEOUT, get, rejected, unauthenticated};
use crate::error::{ErrorKind, Result};
use crate::types::credentials::{Credentials, Google};
use crate::types::http::HttpResponse;

/// Address of the metadata server, which needs no name lookup on Google's machines.
const METADATA: &str = "169.254.169.254";
const FLAVOR: &str = "metadata-flavor";
/// Deadline for a request to a metadata server that is known to exist and may itself have to contact other servers.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);

/// Looks up an access token and its project.
///
/// # Errors
///
/// Returns an error if there are no credentials, or those that are configured give no token.
pub(super) async fn find(context: &Context<'_>) -> Result<Found> {
    let quota = context.input("GOOGLE_CLOUD_QUOTA_PROJECT");
    let account = match context.input("vertex_credentials") {
        Some(json) if json.trim_start().starts_with('{') => Some(Account::parse(json, "vertex_credentials")?),
        Some(path) => Some(Account::parse(&context.required_file(path, "Google's credentials").await?, path)?),
        None => gcloud_file(context).await?,
    };
    if let Some(account) = account {
        let token = account.token(context).await?;
        return Ok(found(token, account.project(), quota.or(account.quota_project())));
    }
    let (token, project) = metadata(context).await?.ok_or_else(|| {
        unauthenticated(
            "no credentials for Google Cloud: there is no file of `gcloud auth application-default login` and no metadata \
             server; pass vertex_credentials= (a service account's file, or what it holds), an access token as \
             vertex_access_token=, or an express mode key as api_key=, or set GOOGLE_APPLICATION_CREDENTIALS",
        )
    })?;
    Ok(found(token, project.as_deref(), quota))
}

fn found(token: Token, project: Option<&str>, quota_project: Option<&str>) -> Found {
    let validity = Validity::Until(token.end);
    let (project, quota_project) = (project.map(str::to_owned), quota_project.map(str::to_owned));
    Found {
        credentials: Credentials::Google(Arc::new(Google { token: token.token, project, quota_project })),
        validity,
    }
}

/// Reads the file written by `gcloud auth application-default login`.
async fn gcloud_file(context: &Context<'_>) -> Result<Option<Account>> {
    let folder: Option<PathBuf> = match (context.input("CLOUDSDK_CONFIG"), context.input("APPDATA")) {
        (Some(folder), _) => Some(context.path(folder)),
        (None, Some(folder)) if cfg!(windows) => Some(Path::new(folder).join("gcloud")),
        _ => context.input("HOME").map(|home| Path::new(home).join(".config/gcloud")),
    };
    let Some(path) = folder.map(|folder| folder.join("application_default_credentials.json")) else { return Ok(None) };
    let text = context.file(&path).await?;
    text.map(|text| Account::parse(&text, &path.display().to_string())).transpose()
}

/// Requests a token of the machine's service account, and its project; `None` if there is no metadata server.
async fn metadata(context: &Context<'_>) -> Result<Option<(Token, Option<String>)>> {
    let host = context.input("GCE_METADATA_HOST");
    if host.is_none() && context.is_enabled("NO_GCE_CHECK") {
        return Ok(None);
    }
    let base = format!("http://{}/computeMetadata/v1", host.unwrap_or(METADATA));
    let fetch = async |path: &str, timeout: Duration| {
        let header = (HeaderName::from_static(FLAVOR), HeaderValue::from_static("Google"));
        context.server(get(&format!("{base}/{path}"), vec![header])?, timeout).await
    };
    // The project is requested first: the response is quick and shows whether the server exists.
    let project = match fetch("project/project-id", if host.is_some() { METADATA_TIMEOUT } else { LOCAL_TIMEOUT }).await
    {
        // Other clouds have their own servers at the same address.
        Ok(answer) if !is_from_google(&answer) => return Ok(None),
        Ok(answer) => (answer.status == 200).then(|| String::from_utf8_lossy(&answer.body).trim().to_owned()),
        Err(error) if matches!(error.kind, ErrorKind::ApiConnection | ErrorKind::Timeout) => return Ok(None),
        Err(error) => return Err(error),
    };
    let scope = utf8_percent_encode(SCOPE, NON_ALPHANUMERIC);
    let answer = fetch(&format!("instance/service-accounts/default/token?scopes={scope}"), METADATA_TIMEOUT).await?;
    match serde_json::from_slice::<TokenResponse>(&answer.body) {
        Ok(response) if answer.status == 200 => Ok(Some((response.token(), project))),
        _ => Err(rejected(
            "Google's metadata server",
            answer.status,
            "no token: does the machine have a service account?",
            &[],
        )),
    }
}

fn is_from_google(answer: &HttpResponse) -> bool {
    answer.headers.get(FLAVOR).is_some_and(|flavor| flavor.eq_ignore_ascii_case("google"))
}
