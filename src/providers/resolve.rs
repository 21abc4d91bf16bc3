//! Resolves a model's name to a deployment: its provider, base URL and key.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::{Arc, LazyLock};

use super::row::{About, Setting};
use super::{Deployment, Key, Provider, Row, all, lookup};
use crate::error::{Error, ErrorKind, Result};
use crate::types::credentials::{CredentialSource, Credentials};
use crate::types::dot_segments::has_dot_segment;
use crate::types::nearest::nearest;
use crate::types::secret::Secret;
use crate::types::shared::shared;
use crate::types::unix_socket;

/// The caller's arguments about a deployment.
#[derive(Debug, Clone, Default)]
pub struct DeploymentArgs {
    /// Base URL, instead of the provider's own.
    pub base_url: Option<Arc<str>>,
    /// Key, instead of the one in the environment.
    pub api_key: Option<Secret>,
    /// The version of the API, for providers with versions.
    pub api_version: Option<String>,
    /// Settings of any provider, by argument name.
    pub settings: Vec<(&'static str, Secret)>,
}

/// Beginnings of names that need no provider in front.
const FAMILIES: &[(&str, &str)] = &[
    ("gpt-", "openai"),
    ("chatgpt-", "openai"),
    ("o1", "openai"),
    ("o3", "openai"),
    ("o4", "openai"),
    ("claude-", "anthropic"),
    ("gemini-", "gemini"),
];

/// Returns true if a word in front of a model's name is a name of this provider.
pub(super) fn is_provider(name: &str, provider: &str) -> bool {
    lookup(name).is_some_and(|known| known.row().name == provider)
}

/// Returns the deployment that `model` names. `environment` reads a variable; an empty one counts as not set.
///
/// # Errors
/// `InvalidArgument` for an unknown provider and for an argument that cannot be used; `Authentication` if there is no key.
pub fn resolve(model: &str, args: &DeploymentArgs, environment: &dyn Fn(&str) -> Option<String>) -> Result<Deployment> {
    let (provider, model) = provider_of(model)?;
    resolve_at(provider, model, args, environment)
}

/// Returns the deployment for operations of an account: `name` is a provider's, or that of one of its models.
///
/// # Errors
/// `InvalidArgument` that lists the providers; `Authentication` if there is no key.
pub fn resolve_account(
    name: &str,
    args: &DeploymentArgs,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Deployment> {
    let provider = name.split('/').next().unwrap_or_default();
    let provider = lookup(provider).ok_or_else(|| {
        let names: Vec<&str> = all().map(|provider| provider.row().name).collect();
        let shown: String = name.chars().take(100).collect();
        Error::argument(format!("provider is {shown:?}: one of these would be right: {}", names.join(", ")))
    })?;
    resolve_at(provider, "", args, environment)
}

/// Returns the deployment of a model at a provider; the model is empty for operations of an account.
///
/// # Errors
/// As for [`resolve`].
pub fn resolve_at(
    provider: &'static dyn Provider,
    model: &str,
    args: &DeploymentArgs,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Deployment> {
    let row = provider.row();
    // The model of `local` is the path of a file.
    if row.name != "local" {
        check_segments("model", model)?;
    }
    let first_set = |names: &[&str]| first_set(names, environment);
    let base_url = base_url(provider, args, environment)?;

    let argument =
        |name: &str| args.settings.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    let identifies_caller = |setting: &Setting| setting.about != About::Location;
    let caller_is_argument = args.api_key.is_some()
        || row.settings.iter().any(|setting| identifies_caller(setting) && argument(setting.name).is_some());

    let api_key = match &args.api_key {
        Some(key) => Some(key.clone()),
        None if caller_is_argument => None,
        None => match first_set(row.key_variables) {
            Some(key) => {
                check_owner(row, &base_url)?;
                Some(Secret::new(key))
            }
            None => None,
        },
    };
    if api_key.is_none() && row.key == Key::Required {
        let message = format!("no key for {}: set {}, or pass api_key=", row.name, row.key_variables.join(" or "));
        let mut error = Error::new(ErrorKind::Authentication, message);
        error.provider = Some(row.name.to_owned());
        return Err(error);
    }
    let settings = row.settings.iter().filter_map(|setting| {
        let environment = || match caller_is_argument && identifies_caller(setting) {
            true => None,
            false => first_set(setting.variables).map(Secret::new),
        };
        Some((setting.name, argument(setting.name).or_else(environment)?))
    });
    let settings: Vec<(&'static str, Secret)> = settings.collect();
    for (name, value) in &settings {
        if row.settings.iter().any(|setting| setting.name == *name && setting.about == About::Location) {
            check_segments(name, value.expose())?;
        }
    }
    if let Some(version) = &args.api_version {
        check_segments("api_version", version)?;
    }
    let mut deployment = Deployment {
        provider,
        model: shared(model),
        base_url,
        api_key,
        api_version: args.api_version.clone(),
        settings,
        credentials: Credentials::Static,
    };
    if let Some(kind) = provider.credentials(&deployment) {
        let variables = kind.variables().iter().filter_map(|name| Some((*name, Secret::new(first_set(&[name])?))));
        let settings = deployment.settings.iter().cloned().chain(variables).collect();
        deployment.credentials = Credentials::Unresolved(Arc::new(CredentialSource::new(kind, settings)));
    }
    Ok(deployment)
}

/// Returns the first of some variables that is set, and not empty.
fn first_set(names: &[&str], environment: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    names.iter().find_map(|name| environment(name).filter(|value| !value.is_empty()))
}

/// Returns the base URL of the caller, of the environment or of the provider, in this order.
fn base_url(
    provider: &'static dyn Provider,
    args: &DeploymentArgs,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Arc<str>> {
    let row = provider.row();
    let url = args.base_url.as_deref().map(Cow::Borrowed);
    let url = url.or_else(|| first_set(row.base_url_variables, environment).map(Cow::Owned)).or_else(|| {
        let root = |(name, path): &(&str, &str)| Some(with_path(&first_set(&[name], environment)?, path));
        row.root_url_variables.iter().find_map(root).map(Cow::Owned)
    });
    match url {
        Some(url) => checked_base_url(provider, &url),
        None if row.base_url.is_empty() => Err(Error::argument(no_base_url(row))),
        None => Ok(row.base_url.into()),
    }
}

/// Refuses values with dot segments, which would lead to another path of the host: users who choose the model may be others
/// than the owner of the key.
///
/// # Errors
/// `InvalidArgument` that names the argument.
pub fn check_segments(argument: &str, value: &str) -> Result<()> {
    match has_dot_segment(value) {
        false => Ok(()),
        true => Err(Error::argument(format!(
            "{argument} is {value:?}, which has \".\" or \"..\" between slashes: write it without them"
        ))),
    }
}

/// Checks a base URL with [`Provider::base_url`]. The last result is cached, since a program passes the same one each time.
fn checked_base_url(provider: &'static dyn Provider, url: &str) -> Result<Arc<str>> {
    thread_local! {
        static RECENT: RefCell<Option<(&'static str, String, Arc<str>)>> = const { RefCell::new(None) };
    }
    let name = provider.row().name;
    RECENT.with_borrow_mut(|recent| match recent {
        Some((known_name, known_url, checked)) if *known_name == name && known_url == url => Ok(checked.clone()),
        _ => {
            let socket = unix_socket::address(url.trim()).transpose();
            let socket = socket.map_err(|why| Error::argument(format!("base_url {why}")))?;
            let checked: Arc<str> = provider.base_url(socket.as_deref().unwrap_or(url))?.into();
            *recent = Some((name, url.to_owned(), checked.clone()));
            Ok(checked)
        }
    })
}

/// Returns the provider that a model's name begins with, and the rest of the name.
///
/// # Errors
/// `InvalidArgument` for an unknown provider.
pub fn provider_of(model: &str) -> Result<(&'static dyn Provider, &str)> {
    let Some((name, rest)) = model.split_once('/') else {
        let family = FAMILIES.iter().find(|(prefix, _)| model.starts_with(prefix));
        let provider = family.and_then(|(_, name)| lookup(name));
        return provider
            .map(|provider| (provider, model))
            .ok_or_else(|| unknown(model, model, family.map(|(_, name)| *name)));
    };
    match lookup(name) {
        Some(_) if rest.is_empty() => {
            Err(Error::argument(format!("model {model:?} names no model: write {name}/ and the model's name")))
        }
        Some(provider) => Ok((provider, rest)),
        None => Err(unknown(model, name, None)),
    }
}

/// Returns the error for an unknown provider, with all names and the nearest match.
fn unknown(model: &str, name: &str, family: Option<&str>) -> Box<Error> {
    let names: Vec<&str> = all().map(|provider| provider.row().name).collect();
    let hint = match (family, nearest(name, names.iter().copied())) {
        (Some(family), _) => format!("; names like this one belong to {family}, which this version does not have"),
        (None, Some(known)) => format!("; did you mean {known}?"),
        _ => String::new(),
    };
    let shown: String = model.chars().take(100).collect();
    Error::argument(format!(
        "model {shown:?} names no known provider: write provider/model{hint} (providers: {})",
        names.join(", ")
    ))
}

fn no_base_url(row: &Row) -> String {
    let roots = row.root_url_variables.iter().map(|(name, _)| *name);
    let names: Vec<&str> = row.base_url_variables.iter().copied().chain(roots).collect();
    let or_set = if names.is_empty() { String::new() } else { format!(", or set {}", names.join(" or ")) };
    format!("{} has no base URL of its own: pass base_url={or_set}", row.name)
}

/// Checks the base URL of an OpenAI-compatible host, and adds the version if it is missing.
///
/// # Errors
/// The errors of [`check_url`].
pub(super) fn versioned_base_url(row: &Row, url: &str) -> Result<String> {
    Ok(with_version(check_url(url)?, row))
}

/// Checks a base URL, and returns it without trailing slashes.
///
/// # Errors
/// `InvalidArgument` for what is no `http`, `https` or Unix-socket address, and for one with a query, a fragment, a password
/// or dot segments.
pub(super) fn check_url(url: &str) -> Result<&str> {
    let refused = |why: &str| Err(Error::argument(format!("base_url {why}, such as \"https://host/v1\"")));
    let trimmed = url.trim().trim_end_matches('/');
    let Ok(uri) = trimmed.parse::<http::Uri>() else { return refused("is not an address: write one") };
    if trimmed.contains('#') {
        return refused("must not hold a fragment (#…): write an address without it");
    }
    if has_dot_segment(uri.path()) {
        return refused("must not hold \".\" or \"..\" between slashes: write an address without them");
    }
    if let Some(host) = uri.host()
        && let Some(literal) = host.strip_prefix('[')
        && literal.trim_end_matches(']').parse::<std::net::Ipv6Addr>().is_err()
    {
        return refused("has a host in brackets that is no IPv6 address: write an address");
    }
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(authority)) if authority.as_str().contains('@') => {
            refused("must not hold a user or password: write an address without them")
        }
        (Some("http" | "https" | unix_socket::SCHEME), Some(_)) if uri.query().is_some() => {
            refused("must not hold a query (extra_query= adds one): write an address without it")
        }
        (Some("http" | "https" | unix_socket::SCHEME), Some(_)) => Ok(trimmed),
        _ => refused("must begin with http://, https:// or http+unix:// and name a host: write an address"),
    }
}

/// Adds the path of the provider's own base URL, if that ends in a version, to a base URL that has no path.
fn with_version(url: &str, row: &Row) -> String {
    let after_host = |url: &'static str| {
        url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|slash| &rest[slash..])).unwrap_or("")
    };
    let has_path = url.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
    let path = if row.base_url.is_empty() { "/v1" } else { after_host(row.base_url) };
    if has_path || !path.rsplit('/').next().is_some_and(is_version) {
        return url.to_owned();
    }
    format!("{url}{path}")
}

fn with_path(url: &str, path: &str) -> String {
    let url = url.trim().trim_end_matches('/');
    if url.ends_with(path) { url.to_owned() } else { format!("{url}{path}") }
}

fn is_version(segment: &str) -> bool {
    segment.strip_prefix('v').is_some_and(|rest| rest.starts_with(|digit: char| digit.is_ascii_digit()))
}

/// Refuses to send a key from the environment, which is this provider's, to a host that belongs to another provider.
fn check_owner(row: &Row, base_url: &str) -> Result<()> {
    static OWNERS: LazyLock<Vec<(&str, &Row)>> = LazyLock::new(|| {
        let rows = all().map(|provider| provider.row());
        rows.map(|row| (host(row.base_url), row)).filter(|(host, _)| !matches!(*host, "" | "localhost")).collect()
    });
    let target = host(base_url);
    if row.base_url.is_empty() || target.eq_ignore_ascii_case(host(row.base_url)) {
        return Ok(());
    }
    match OWNERS.iter().find(|(host, _)| target.eq_ignore_ascii_case(host)) {
        None => Ok(()),
        Some((target, owner)) => {
            let message = format!(
                "{target} belongs to {}: the key of {} in the environment is not sent there; write {}/… as the model, or pass api_key=",
                owner.name, row.name, owner.name
            );
            Err(Error::new(ErrorKind::Authentication, message))
        }
    }
}

/// Returns the host, without its port, of an address that was checked before.
fn host(url: &str) -> &str {
    let authority = url.split_once("://").and_then(|(_, rest)| rest.split('/').next()).unwrap_or("");
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(model: &str, given: DeploymentArgs, variables: &[(&str, &str)]) -> Result<Deployment> {
        resolve(model, &given, &|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_key_and_a_base_url_come_from_the_environment_or_the_call() {
        let variables = [("OPENAI_API_KEY", "sk-env"), ("OPENAI_BASE_URL", "http://127.0.0.1:9/v1/")];
        let found = with("openai/gpt-4o", DeploymentArgs::default(), &variables).unwrap();
        assert_eq!((&*found.base_url, &*found.model), ("http://127.0.0.1:9/v1", "gpt-4o"));
        assert_eq!(found.api_key.unwrap().expose(), "sk-env");
        let given = DeploymentArgs {
            base_url: Some("http://h:1".into()),
            api_key: Some(Secret::new("sk-arg")),
            ..DeploymentArgs::default()
        };
        let found = with("gpt-4o", given, &variables).unwrap();
        assert_eq!((&*found.base_url, found.api_key.unwrap().expose()), ("http://h:1/v1", "sk-arg"));
    }

    #[test]
    fn a_model_with_slashes_keeps_them() {
        let found =
            with("openrouter/meta-llama/llama-3", DeploymentArgs::default(), &[("OPENROUTER_API_KEY", "k")]).unwrap();
        assert_eq!(&*found.model, "meta-llama/llama-3");
    }

    #[test]
    fn an_unknown_provider_is_answered_with_the_nearest() {
        let error = with("opnai/gpt-4o", DeploymentArgs::default(), &[]).unwrap_err();
        assert!(error.message.contains("did you mean openai?") && error.message.contains("groq"), "{error}");
        assert!(with("no-such-model", DeploymentArgs::default(), &[]).is_err());
        assert!(with("openai/", DeploymentArgs::default(), &[]).is_err());
    }

    #[test]
    fn no_key_is_said_before_anything_is_sent() {
        let error = with("groq/m", DeploymentArgs::default(), &[("OPENAI_API_KEY", "sk")]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Authentication);
        assert!(error.message.contains("GROQ_API_KEY"), "{error}");
        let error = with("groq/m", DeploymentArgs::default(), &[("GROQ_API_KEY", "")]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Authentication);
    }

    #[test]
    fn a_key_in_the_environment_does_not_go_to_another_providers_host() {
        let given =
            DeploymentArgs { base_url: Some("https://api.groq.com/openai/v1".into()), ..DeploymentArgs::default() };
        let error = with("openai/m", given, &[("OPENAI_API_KEY", "sk-canary")]).unwrap_err();
        assert!(error.message.contains("groq") && !error.message.contains("canary"), "{error}");
    }

    #[test]
    fn a_base_url_that_is_none_is_refused() {
        for url in [
            "",
            "localhost:8000",
            "ftp://h/v1",
            "http://",
            "https://user:sesame@h/v1",
            "https://h/v1?x=1",
            "h h",
            "https://h/v1#sesame@",
            "http://[sesame@]/v1",
            "http://[sesame]/v1",
        ] {
            let given = DeploymentArgs {
                base_url: Some(url.into()),
                api_key: Some(Secret::new("k")),
                ..DeploymentArgs::default()
            };
            let error = with("openai/m", given, &[]).unwrap_err();
            assert!(error.message.contains("base_url") && !error.message.contains("sesame"), "{url}: {error}");
        }
    }
}
