//! Where a connection leads: scheme, host and port, or a unix socket.

use std::net::IpAddr;

use http::Uri;

use crate::error::{Error, Result};
use crate::types::unix_socket;

/// Where a connection leads: what has to be equal for it to be used again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub scheme: Scheme,
    /// A name, an address, or a socket's path.
    pub host: Box<str>,
    pub port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Scheme {
    Http,
    Https,
    Unix,
}

impl Origin {
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

    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// Whether it is on this machine.
    pub fn is_loopback(&self) -> bool {
        self.scheme == Scheme::Unix || is_loopback(&self.host)
    }

    /// An address, or a socket's path, that means something only to whoever stands there.
    pub fn is_link_local(&self) -> bool {
        self.scheme == Scheme::Unix
            || self.bare_host().parse().is_ok_and(|address| match address {
                IpAddr::V4(address) => address.is_link_local(),
                IpAddr::V6(address) => address.is_unicast_link_local(),
            })
    }

    /// The host without an IPv6 address's brackets.
    pub fn bare_host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }
}

/// Whether a host is this machine, so that what is sent to it does not leave it.
pub fn is_loopback(host: &str) -> bool {
    // What a local server is mostly called, asked of every call without TLS.
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
