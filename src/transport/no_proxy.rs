//! Hosts that are exempt from the environment's proxies: the rules of `NO_PROXY`.
//!
//! No specification defines the variable. This parser accepts what curl, Go, Python's urllib, requests and httpx
//! accept, and refuses an entry that is invalid in all of them:
//! <https://about.gitlab.com/blog/we-need-to-talk-no-proxy/> compares them.

use std::net::{IpAddr, Ipv6Addr};

/// The entries of one `NO_PROXY`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NoProxy(Vec<Entry>);

/// One entry of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// Scheme that the entry is limited to, as in httpx's `https://host`.
    https: Option<bool>,
    hosts: Hosts,
    port: Option<u16>,
}

/// The hosts that an entry matches.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    /// A name and all of its subdomains.
    Domain(String),
    /// A pattern in which `*` matches any text.
    Pattern(String),
    /// The addresses that share this number of leading bits with this address.
    Network(IpAddr, u32),
}

impl NoProxy {
    /// Parses the variable's value: entries separated by commas or white space.
    ///
    /// # Errors
    ///
    /// Returns the reason why the first invalid entry is refused.
    pub fn parse(value: &str) -> Result<Self, String> {
        let entries = value.split(|character: char| character == ',' || character.is_whitespace());
        entries.filter(|entry| !entry.is_empty()).map(Entry::parse).collect::<Result<_, _>>().map(Self)
    }

    /// Returns true if requests to this host are sent without a proxy.
    pub fn contains(&self, https: bool, host: &str, port: u16) -> bool {
        let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        self.0.iter().any(|entry| {
            entry.https.is_none_or(|only| only == https)
                && entry.port.is_none_or(|only| only == port)
                && entry.hosts.contain(&host)
        })
    }
}

impl Entry {
    fn parse(text: &str) -> Result<Self, String> {
        let refused = |why: &str| Err(format!("holds {text:?}, {why}"));
        let (https, rest) = match text.split_once("://") {
            None => (None, text),
            Some(("http", rest)) => (Some(false), rest),
            Some(("https", rest)) => (Some(true), rest),
            Some(("all", rest)) => (None, rest),
            Some(_) => return refused("whose scheme is neither http, https nor all"),
        };
        let rest = rest.trim_end_matches('/');
        // An IPv6 address contains colons, so it is in brackets if a port follows.
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host.to_owned(), None),
            Some((host, behind)) => match (behind.strip_prefix(':'), behind.starts_with('/')) {
                (Some(port), _) => (host.to_owned(), Some(port)),
                (None, true) => (format!("{host}{behind}"), None),
                (None, false) => return refused("in which something stands behind the brackets"),
            },
            None if rest.matches(':').count() > 1 => (rest.to_owned(), None),
            None => rest.split_once(':').map_or((rest.to_owned(), None), |(host, port)| (host.to_owned(), Some(port))),
        };
        let port = match port {
            None | Some("*") => None,
            Some(port) => match port.parse::<u16>() {
                Ok(port) => Some(port),
                Err(_) => return refused("whose port is no number"),
            },
        };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let hosts = if let Some((address, bits)) = host.split_once('/') {
            match network(address, bits) {
                Some(network) => network,
                None => return refused("which is no network such as 10.0.0.0/8"),
            }
        } else if let Ok(address) = address(&host) {
            Hosts::Network(address, width(address))
        } else if host.contains('*') {
            Hosts::Pattern(host)
        } else {
            let domain = host.trim_start_matches('.');
            if domain.is_empty() || !domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
                return refused("which is neither a host nor a network");
            }
            Hosts::Domain(domain.to_owned())
        };
        Ok(Self { https, hosts, port })
    }
}

impl Hosts {
    fn contain(&self, host: &str) -> bool {
        match self {
            Self::Domain(domain) => host
                .strip_suffix(domain.as_str())
                .is_some_and(|before| before.is_empty() || before.ends_with('.') && address(host).is_err()),
            Self::Pattern(pattern) => matches(pattern, host),
            Self::Network(network, bits) => address(host).is_ok_and(|address| share_prefix(*network, address, *bits)),
        }
    }
}

/// Parses an address; an IPv4-mapped IPv6 address becomes an IPv4 address.
fn address(text: &str) -> Result<IpAddr, std::net::AddrParseError> {
    text.parse().map(|address: IpAddr| address.to_canonical())
}

fn network(address_text: &str, bits: &str) -> Option<Hosts> {
    let address = address(address_text).ok()?;
    let bits = match bits.parse::<IpAddr>() {
        // A netmask in dotted notation.
        Ok(IpAddr::V4(mask)) if address.is_ipv4() => {
            let ones = mask.to_bits().leading_ones();
            (mask.to_bits().count_ones() == ones).then_some(ones)?
        }
        Ok(_) => return None,
        Err(_) => bits.bytes().all(|byte| byte.is_ascii_digit()).then(|| bits.parse().ok())??,
    };
    (bits <= width(address)).then_some(Hosts::Network(address, bits))
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { Ipv6Addr::BITS }
}

/// Returns true if two addresses of the same family share their first `bits` bits.
fn share_prefix(one: IpAddr, other: IpAddr, bits: u32) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros() >= bits,
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros() >= bits,
        _ => false,
    }
}

/// Returns true if a text matches a pattern in which `*` matches any text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns true if `NO_PROXY=value` exempts the address, which is `host:port` with HTTP unless it begins with
    /// `https://`.
    fn is_exempt(value: &str, address: &str) -> bool {
        let (https, rest) = address.strip_prefix("https://").map_or((false, address), |rest| (true, rest));
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap()),
            _ => (rest, if https { 443 } else { 80 }),
        };
        NoProxy::parse(value).unwrap().contains(https, host, port)
    }

    #[test]
    fn what_other_clients_understand_is_understood() {
        for (value, exempt, proxied) in [
            // urllib, curl, Go: a name includes its subdomains, with or without a leading dot.
            (
                "example.com",
                &["example.com", "a.example.com", "EXAMPLE.com.", "https://example.com"][..],
                &["badexample.com", "example.com.evil"][..],
            ),
            (".example.com", &["example.com", "a.b.example.com"], &["badexample.com"]),
            ("EXAMPLE.Com.", &["example.com"], &[]),
            ("localhost", &["localhost", "a.localhost"], &["host"]),
            // urllib, httpx, Go: a port.
            ("svc.invalid:8080", &["svc.invalid:8080", "a.svc.invalid:8080"], &["svc.invalid", "svc.invalid:8081"]),
            ("svc.invalid:443", &["https://svc.invalid"], &["svc.invalid"]),
            ("10.0.0.1:80", &["10.0.0.1"], &["10.0.0.1:81", "10.0.0.2"]),
            // requests, curl, Go: networks.
            ("10.0.0.0/8", &["10.1.2.3", "10.255.255.255:99"], &["11.0.0.1", "10.example.com"]),
            ("192.168.1.77/24", &["192.168.1.1"], &["192.168.2.1"]),
            ("10.0.0.0/255.0.0.0", &["10.9.9.9"], &["11.0.0.0"]),
            ("0.0.0.0/0", &["1.2.3.4"], &["[::1]", "host"]),
            ("10.1.2.3", &["10.1.2.3"], &["10.1.2.30", "a.10.1.2.3"]),
            // IPv6, bare and in brackets.
            ("::1", &["[::1]", "[::1]:8080", "[0:0:0:0:0:0:0:1]"], &["[::2]"]),
            ("[::1]", &["[::1]"], &[]),
            ("[::1]:8080", &["[::1]:8080"], &["[::1]:8081"]),
            ("fe80::/10", &["[fe80::1]", "[febf::]"], &["[fec0::]"]),
            ("[2001:db8::]/32", &["[2001:db8:1::]"], &["[2001:db9::]"]),
            ("10.0.0.0/8", &["[::ffff:10.0.0.1]"], &[]),
            // httpx: schemes. Go, docker, Java: patterns.
            ("https://example.com", &["https://example.com"], &["example.com"]),
            ("all://example.com", &["https://example.com", "example.com"], &[]),
            ("*", &["anything", "1.2.3.4", "[::1]"], &[]),
            ("*.example.com", &["a.example.com"], &["example.com"]),
            ("192.168.*", &["192.168.3.4"], &["192.169.1.1"]),
            ("a*b*c", &["axbxc", "abc"], &["ac", "abcd"]),
            // Separated by commas, white space or both.
            (" a.example ,,\tb.example c.example, ", &["a.example", "b.example", "c.example"], &["d.example"]),
            ("", &[], &["a.example"]),
        ] {
            for address in exempt {
                assert!(is_exempt(value, address), "{value} {address}");
            }
            for address in proxied {
                assert!(!is_exempt(value, address), "{value} {address}");
            }
        }
    }

    #[test]
    fn what_nobody_understands_is_refused() {
        for value in [
            "10.0.0.0/33",
            "10.0.0.0/255.0.255.0",
            "::/129",
            "10.0.0.0/x",
            "host/8",
            "ftp://host",
            "host:port",
            "host:99999",
            "[::1]x",
            "a_host!",
            "a,b;c",
        ] {
            let bad = value.rsplit(',').next().unwrap();
            assert!(NoProxy::parse(value).unwrap_err().contains(bad), "{value}");
        }
    }
}
