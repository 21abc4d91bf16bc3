//! Origin of a connection: scheme, host and port, or a Unix socket.

use std::net::IpAddr;

use http::Uri;

use crate::error::{Error, Result};
use crate::types::unix_socket;

/// Origin of a connection; requests to equal origins can share connections.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub scheme: Scheme,
    /// Host name, IP address, or path of a socket.
    pub host: Box<str>,
    pub port: u16,
}

/// Scheme of an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Scheme {
    Http,
    Https,
    Unix,
}

impl Origin {
    /// Returns the origin of a URI.
    ///
    /// # Errors
    ///
    /// Returns an error if the URI has another scheme or no host.
    pub fn of(uri: &Uri) -> Result<Self> {
        if let Some(path) = unix_socket::path(uri) {
            return Ok(Self { scheme: Scheme::Unix, host: path.into(), port: 0 });
        }
        let (scheme, port) = match uri.scheme_str() {
            Some("https") => (Scheme::Https, 443),
            Some("http") => (Scheme::Http, 80),
            _ => return Err(Error::argument(format!("the address {uri} begins with neither http:// nor https://"))),
        };
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| Error::argument(format!("the address {uri} names no host")))?;
        Ok(Self { scheme, host: host.into(), port: uri.port_u16().unwrap_or(port) })
    }

    /// Returns true if the origin is reached by TLS.
    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// Returns true if the origin is on this machine.
    pub fn is_loopback(&self) -> bool {
        self.scheme == Scheme::Unix || is_loopback(&self.host)
    }

    /// Returns true if the origin is a Unix socket.
    pub fn is_socket(&self) -> bool {
        self.scheme == Scheme::Unix
    }

    /// Returns true if the host is meaningful on this machine or its link only: a link-local address or the path of a
    /// socket.
    pub fn is_link_local(&self) -> bool {
        self.scheme == Scheme::Unix
            || self.bare_host().parse().is_ok_and(|address| match address {
                IpAddr::V4(address) => address.is_link_local(),
                IpAddr::V6(address) => address.is_unicast_link_local(),
            })
    }

    /// Returns the host without the brackets of an IPv6 address.
    pub fn bare_host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }
}

/// Returns true if a host is this machine, so that requests to it do not leave it.
pub fn is_loopback(host: &str) -> bool {
    // The most common address of local servers; this function is called for each request without TLS.
    if host == "127.0.0.1" {
        return true;
    }
    let host = host.trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.scheme {
            Scheme::Unix => write!(f, "unix:{}", self.host),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}
