//! Google's application-default credentials: <https://cloud.google.com/docs/authentication/application-default-credentials>.
//!
//! The order is Google's own libraries': a file that somebody named, the file that `gcloud auth application-default
//! login` leaves, the metadata server of the machine (<https://cloud.google.com/compute/docs/metadata/overview>).
//!
//! - `account`: from a file to a token; `jwt`: what a service account signs.

mod account;
mod jwt;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use self::account::{Account, Granted, SCOPE, Token};
use super::ask::{Ask, NEARBY, get, refused, said_no};
use super::cache::{Found, Lasting};
use crate::error::{ErrorKind, Result};
use crate::types::credentials::{Credentials, Google};
use crate::types::http::HttpResponse;

/// The metadata server by its address, which every machine of Google's knows without asking for a name.
const METADATA: &str = "169.254.169.254";
const FLAVOR: &str = "metadata-flavor";
/// The metadata server is known to be there, and may have to ask others.
const METADATA_PATIENCE: Duration = Duration::from_secs(10);

/// An access token, and the project it belongs to.
pub(super) async fn find(ask: &Ask<'_>) -> Result<Found> {
    let quota = ask.told("GOOGLE_CLOUD_QUOTA_PROJECT");
    let account = match ask.told("vertex_credentials") {
        Some(json) if json.trim_start().starts_with('{') => Some(Account::parse(json, "vertex_credentials")?),
        Some(path) => Some(Account::parse(&ask.required_file(path, "Google's credentials").await?, path)?),
        None => gclouds_file(ask).await?,
    };
    if let Some(account) = account {
        let token = account.token(ask).await?;
        return Ok(found(token, account.project(), quota.or(account.quota_project())));
    }
    let (token, project) = metadata(ask).await?.ok_or_else(|| {
        refused(
            "no credentials for Google Cloud: there is no file of `gcloud auth application-default login` and no metadata \
             server; pass vertex_credentials= (a service account's file, or what it holds), an access token as \
             vertex_access_token=, or an express mode key as api_key=, or set GOOGLE_APPLICATION_CREDENTIALS",
        )
    })?;
    Ok(found(token, project.as_deref(), quota))
}

fn found(token: Token, project: Option<&str>, quota_project: Option<&str>) -> Found {
    let lasting = Lasting::Until(token.end);
    let (project, quota_project) = (project.map(str::to_owned), quota_project.map(str::to_owned));
    Found { credentials: Credentials::Google(Arc::new(Google { token: token.token, project, quota_project })), lasting }
}

/// What `gcloud auth application-default login` has left.
async fn gclouds_file(ask: &Ask<'_>) -> Result<Option<Account>> {
    let folder: Option<PathBuf> = match (ask.told("CLOUDSDK_CONFIG"), ask.told("APPDATA")) {
        (Some(folder), _) => Some(ask.path(folder)),
        (None, Some(folder)) if cfg!(windows) => Some(Path::new(folder).join("gcloud")),
        _ => ask.told("HOME").map(|home| Path::new(home).join(".config/gcloud")),
    };
    let Some(path) = folder.map(|folder| folder.join("application_default_credentials.json")) else { return Ok(None) };
    let text = ask.file(&path).await?;
    text.map(|text| Account::parse(&text, &path.display().to_string())).transpose()
}

/// The token of the machine's own service account, and its project; `None`: there is no such server.
async fn metadata(ask: &Ask<'_>) -> Result<Option<(Token, Option<String>)>> {
    let given = ask.told("GCE_METADATA_HOST");
    if given.is_none() && ask.is_told("NO_GCE_CHECK") {
        return Ok(None);
    }
    let base = format!("http://{}/computeMetadata/v1", given.unwrap_or(METADATA));
    let fetch = async |path: &str, patience: Duration| {
        let header = (HeaderName::from_static(FLAVOR), HeaderValue::from_static("Google"));
        ask.server(get(&format!("{base}/{path}"), vec![header])?, patience).await
    };
    // The project first: it is quick, and tells whether anybody is there.
    let project = match fetch("project/project-id", if given.is_some() { METADATA_PATIENCE } else { NEARBY }).await {
        // At the same address, other clouds have servers of their own.
        Ok(answer) if !is_googles(&answer) => return Ok(None),
        Ok(answer) => (answer.status == 200).then(|| String::from_utf8_lossy(&answer.body).trim().to_owned()),
        Err(error) if matches!(error.kind, ErrorKind::ApiConnection | ErrorKind::Timeout) => return Ok(None),
        Err(error) => return Err(error),
    };
    let scope = utf8_percent_encode(SCOPE, NON_ALPHANUMERIC);
    let answer = fetch(&format!("instance/service-accounts/default/token?scopes={scope}"), METADATA_PATIENCE).await?;
    match serde_json::from_slice::<Granted>(&answer.body) {
        Ok(granted) if answer.status == 200 => Ok(Some((granted.token(), project))),
        _ => Err(said_no(
            "Google's metadata server",
            answer.status,
            "no token: does the machine have a service account?",
            &[],
        )),
    }
}

fn is_googles(answer: &HttpResponse) -> bool {
    answer.headers.get(FLAVOR).is_some_and(|flavor| flavor.eq_ignore_ascii_case("google"))
}
