//! Selects the proxy of a request: the client's own, or the one that the environment names.

use std::sync::Arc;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use super::no_proxy::NoProxy;
use super::origin::Origin;
use crate::error::{Error, Result};
use crate::types::secret::Secret;

/// Error message for an invalid proxy, without its URL.
const INVALID_PROXY: &str = "is no address of a proxy of the kind http, https, socks5 or socks5h: write one such as \
                     \"http://host:3128\", with special characters of a password percent-encoded";

/// A proxy and its protocol.
#[derive(Clone)]
pub(super) struct Proxy {
    pub kind: Kind,
    /// Host name or IP address, without brackets.
    pub host: Box<str>,
    pub port: u16,
    intercept: Intercept,
}

/// Protocol of a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Http,
    /// HTTP over TLS.
    Https,
    Socks5 {
        /// True if names are resolved locally rather than by the proxy.
        local_names: bool,
    },
}

impl Proxy {
    /// Parses the URL of a proxy; without a scheme it is an HTTP proxy.
    ///
    /// # Errors
    ///
    /// Returns a description of valid URLs. It never contains the URL itself, which may hold a password.
    pub fn parse(address: &str) -> Result<Self, &'static str> {
        let has_scheme = address.contains("://");
        let parsed: Uri = address.parse().map_err(|_| INVALID_PROXY)?;
        let (kind, port) = match parsed.scheme_str() {
            None if !has_scheme => (Kind::Http, 80),
            Some("http") => (Kind::Http, 80),
            Some("https") => (Kind::Https, 443),
            Some("socks5") => (Kind::Socks5 { local_names: true }, 1080),
            Some("socks5h") => (Kind::Socks5 { local_names: false }, 1080),
            _ => return Err(INVALID_PROXY),
        };
        // An unescaped slash in a password would end the host too early.
        let is_whole = matches!(parsed.path(), "" | "/") && parsed.query().is_none();
        let host = parsed.host().filter(|host| !matches!(*host, "" | "[]"));
        // The URI parser ignores a port that is not a number.
        let host_and_port =
            parsed.authority().map_or("", |authority| authority.as_str().rsplit('@').next().unwrap_or_default());
        let rest = host.and_then(|host| host_and_port.strip_prefix(host));
        let has_port = rest == Some("") || parsed.port_u16().is_some_and(|port| port > 0);
        let intercept = Matcher::builder().all(address).build().intercept(&Uri::from_static("http://h"));
        let (Some(host), Some(intercept), true, true) = (host, intercept, is_whole, has_port) else {
            return Err(INVALID_PROXY);
        };
        let host = host.trim_matches(['[', ']']);
        Ok(Self { kind, host: host.into(), port: parsed.port_u16().unwrap_or(port), intercept })
    }

    /// Returns the value of `proxy-authorization`: `Basic …`.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.intercept.basic_auth()
    }

    /// Returns the user and password for SOCKS.
    pub fn user(&self) -> Option<(&str, &str)> {
        self.intercept.raw_auth()
    }

    /// Returns the proxy's URI in the form that hyper-util needs.
    pub fn uri(&self) -> &Uri {
        self.intercept.uri()
    }
}

impl std::fmt::Display for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Checks that a setting is the URL of a proxy; unlike a variable it must have a scheme.
///
/// # Errors
///
/// Returns a description of valid URLs.
pub fn check_proxy(address: &str) -> Result<(), &'static str> {
    match Proxy::parse(address) {
        Ok(_) if address.contains("://") => Ok(()),
        _ => Err(INVALID_PROXY),
    }
}

/// Returns the secrets in the URLs of proxies: each user with its password, and the password alone.
pub(super) fn secrets(explicit: Option<&Secret>) -> Vec<Secret> {
    const VARIABLES: [&str; 6] = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let addresses: Vec<String> = match explicit {
        Some(proxy) => vec![proxy.expose().to_owned()],
        None => VARIABLES.into_iter().filter_map(|name| std::env::var(name).ok()).collect(),
    };
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut secrets = Vec::new();
    for address in addresses {
        let authority = address.split_once("://").map_or(&*address, |(_, rest)| rest);
        let Some((credentials, _)) = authority.rsplit_once('@') else { continue };
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        let (user, password) = (decoded(user), decoded(password));
        let both = format!("{user}:{password}");
        // A user without a password is a token; otherwise it is a name.
        secrets.extend([if password.is_empty() { user } else { password }, both].map(Secret::new));
    }
    secrets
}

/// Proxy configuration of a client.
pub(super) enum Proxies {
    /// Set by the caller, for all requests.
    Explicit(Arc<Proxy>),
    /// Read from the environment.
    Environment(Environment),
}

/// Proxy settings of the environment. Invalid values are kept, and reported by the calls that they apply to.
#[derive(Default)]
pub(super) struct Environment {
    http: Option<Named>,
    https: Option<Named>,
    exempt: Option<(&'static str, Result<NoProxy, String>)>,
}

/// The name of a variable, and its parsed value or what is wrong with it.
type Named = (&'static str, Result<Arc<Proxy>, String>);

impl Environment {
    /// Reads `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`. The lower-case name takes precedence, even if its
    /// value is empty, as in curl and Python's urllib.
    pub fn read(variable: &dyn Fn(&str) -> Option<std::ffi::OsString>) -> Self {
        let first = |names: [&'static str; 2]| {
            let (name, value) = names.into_iter().find_map(|name| Some((name, variable(name)?)))?;
            let value = value.into_string().map(|text| text.trim().to_owned());
            (value != Ok(String::new())).then_some((name, value))
        };
        let proxy = |names| {
            first(names).map(|(name, value)| {
                let parsed = match &value {
                    Ok(value) => Proxy::parse(value).map(Arc::new).map_err(str::to_owned),
                    Err(_) => Err("is no text".to_owned()),
                };
                (name, parsed)
            })
        };
        // In a CGI program `HTTP_PROXY` is a header field of the request: <https://httpoxy.org>.
        let is_cgi = variable("REQUEST_METHOD").is_some();
        let http = if is_cgi { ["http_proxy", "http_proxy"] } else { ["http_proxy", "HTTP_PROXY"] };
        let all = || proxy(["all_proxy", "ALL_PROXY"]);
        Self {
            http: proxy(http).or_else(all),
            https: proxy(["https_proxy", "HTTPS_PROXY"]).or_else(all),
            exempt: first(["no_proxy", "NO_PROXY"]).map(|(name, value)| {
                (name, value.map_err(|_| "is no text".to_owned()).and_then(|value| NoProxy::parse(&value)))
            }),
        }
    }

    fn proxy_for(&self, origin: &Origin) -> Result<Option<&Arc<Proxy>>> {
        let refused = |name: &str, why: &str| Error::argument(format!("the environment variable {name} {why}"));
        let Some((name, proxy)) = (if origin.is_https() { &self.https } else { &self.http }) else { return Ok(None) };
        if let Some((name, exempt)) = &self.exempt {
            let exempt = exempt.as_ref().map_err(|why| refused(name, why))?;
            if exempt.contains(origin.is_https(), &origin.host, origin.port) {
                return Ok(None);
            }
        }
        proxy.as_ref().map(Some).map_err(|why| refused(name, why))
    }
}

impl Proxies {
    /// Returns the proxy for requests to an origin, if there is one.
    ///
    /// # Errors
    ///
    /// Returns an error if the variable that applies to the origin is invalid.
    pub fn proxy_for(&self, origin: &Origin) -> Result<Option<&Arc<Proxy>>> {
        match self {
            // Link-local addresses and paths of sockets are meaningful on this machine only.
            _ if origin.is_link_local() => Ok(None),
            Self::Explicit(proxy) => Ok(Some(proxy)),
            // The environment's proxies are not used for servers on this machine.
            Self::Environment(_) if origin.is_loopback() => Ok(None),
            Self::Environment(environment) => environment.proxy_for(origin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(variables: &[(&str, &str)], address: &str) -> Result<Option<String>, String> {
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        let proxies = Proxies::Environment(Environment::read(&variable));
        let origin = Origin::of(&address.parse().unwrap()).unwrap();
        proxies.proxy_for(&origin).map(|proxy| proxy.map(ToString::to_string)).map_err(|error| error.message)
    }

    #[test]
    fn the_environment_names_proxies() {
        let http = |variables: &[(&str, &str)]| chosen(variables, "http://provider.invalid/v1").unwrap();
        let https = |variables: &[(&str, &str)]| chosen(variables, "https://provider.invalid/v1").unwrap();
        assert_eq!(http(&[("HTTP_PROXY", "http://p:1")]).as_deref(), Some("p:1"));
        assert_eq!(http(&[("HTTP_PROXY", " p:1 ")]).as_deref(), Some("p:1"));
        assert_eq!(http(&[("HTTP_PROXY", "http://p:1"), ("http_proxy", "http://q:2")]).as_deref(), Some("q:2"));
        assert_eq!(http(&[("HTTP_PROXY", "http://p:1"), ("http_proxy", "")]), None);
        assert_eq!(http(&[("HTTPS_PROXY", "http://p:1")]), None);
        assert_eq!(http(&[("ALL_PROXY", "socks5://p")]).as_deref(), Some("p:1080"));
        assert_eq!(https(&[("ALL_PROXY", "socks5h://p:1"), ("HTTPS_PROXY", "https://q")]).as_deref(), Some("q:443"));
        assert_eq!(https(&[("HTTPS_PROXY", "http://[::1]:3128")]).as_deref(), Some("[::1]:3128"));
        // The header field of a CGI request is not a proxy.
        assert_eq!(http(&[("HTTP_PROXY", "http://p:1"), ("REQUEST_METHOD", "GET")]), None);
        assert_eq!(http(&[("http_proxy", "http://p:1"), ("REQUEST_METHOD", "GET")]).as_deref(), Some("p:1"));
        // Hosts on this machine or its link.
        for address in ["http://localhost/v1", "http://127.0.0.1:1/v1", "http://[::1]/v1", "http://169.254.169.254/"] {
            assert_eq!(chosen(&[("HTTP_PROXY", "http://p:1")], address), Ok(None), "{address}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_its_name() {
        for value in [
            "ftp://s3cret@p",
            "socks4://p:1",
            "http://",
            "http://p:1/path",
            "http://u:s3 cret@p",
            "http://p:",
            "http://p:x",
            "::",
        ] {
            let error = chosen(&[("HTTPS_PROXY", value)], "https://provider.invalid").unwrap_err();
            assert!(error.contains("HTTPS_PROXY") && !error.contains("s3"), "{value}: {error}");
            // The error concerns only calls that would use this proxy.
            assert_eq!(chosen(&[("HTTPS_PROXY", value)], "http://provider.invalid"), Ok(None));
            assert_eq!(chosen(&[("HTTPS_PROXY", value), ("NO_PROXY", "*")], "https://provider.invalid"), Ok(None));
        }
        let error = chosen(&[("all_proxy", "nothing here")], "http://provider.invalid").unwrap_err();
        assert!(error.contains("all_proxy"), "{error}");
        let error =
            chosen(&[("HTTP_PROXY", "p:1"), ("no_proxy", "10.0.0.0/99")], "http://provider.invalid").unwrap_err();
        assert!(error.contains("no_proxy") && error.contains("10.0.0.0/99"), "{error}");
    }
}
