//! URL of a Redis.

use percent_encoding::percent_decode_str;

use crate::error::{Error, Result};
use crate::transport::Peer;
use crate::types::secret::Secret;

/// Default port of a Redis.
const PORT: u16 = 6379;

/// Schemes of URLs of a Redis.
const SCHEMES: [&str; 4] = ["redis", "rediss", "redis+unix", "unix"];

/// Where a Redis is and how to log in, parsed from a URL. `Debug` does not show the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The server.
    pub peer: Peer,
    /// User, if one is named.
    pub user: Option<Box<str>>,
    /// Password, if there is one.
    pub password: Option<Secret>,
    /// Database number.
    pub database: u32,
}

impl Address {
    /// Parses `redis://user:password@host:port/0`, `rediss://…` (TLS), or `redis+unix:///path/to.sock?db=0` (also `unix://`).
    ///
    /// # Errors
    ///
    /// Returns an error that names `argument` and what is wrong with the URL, but never the URL itself, which may hold a
    /// password.
    pub fn parse(argument: &str, url: &str) -> Result<Self> {
        Self::read(url).map_err(|why| Error::argument(format!("{argument} {why}")))
    }

    /// Returns true if a URL has the scheme of a Redis.
    pub fn is_one(url: &str) -> bool {
        url.split_once("://").is_some_and(|(scheme, _)| SCHEMES.contains(&scheme.to_ascii_lowercase().as_str()))
    }

    fn read(url: &str) -> Result<Self, String> {
        const FORM: &str = "write it as \"redis://user:password@host:6379/0\", with special characters percent-encoded";
        let Some((scheme, rest)) = url.split_once("://").filter(|_| Self::is_one(url)) else {
            return Err(format!("is no URL of a Redis: {FORM}"));
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if rest.contains('#') || query.contains('#') {
            return Err(format!("contains a # that is not percent-encoded: {FORM}"));
        }
        // A password may contain an unescaped @ in practice; a host cannot.
        let (login, place) = rest.rsplit_once('@').map_or((None, rest), |(login, place)| (Some(login), place));
        if login.is_some_and(|login| login.contains('/')) {
            return Err(format!("has a / in its user or password that is not percent-encoded: {FORM}"));
        }
        let (user, password) = match login {
            None => (None, None),
            Some(login) => {
                let (user, password) = login.split_once(':').map_or((login, None), |(user, word)| (user, Some(word)));
                let password = password.map(|word| decoded(word, "password")).transpose()?;
                (Some(decoded(user, "user")?), password)
            }
        };
        let mut database = None;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("db", number)) => database = Some(number),
                _ => return Err("has a parameter other than db=NUMBER".into()),
            }
        }
        let scheme = scheme.to_ascii_lowercase();
        let peer = if scheme.ends_with("unix") {
            let path = decoded(place, "path")?;
            if !path.starts_with('/') || path.contains('\0') {
                return Err("names no socket: write it as \"redis+unix:///path/to.sock?db=0\"".into());
            }
            Peer::Socket(path.into())
        } else {
            let (place, path) = place.split_once('/').unwrap_or((place, ""));
            if !path.is_empty() {
                database = Some(path.trim_end_matches('/'));
            }
            let (host, port) = host_and_port(place)?;
            if scheme == "rediss" { Peer::Tls(host, port) } else { Peer::Tcp(host, port) }
        };
        let database = match database {
            None => 0,
            Some(number) => number
                .parse()
                .map_err(|_| "names no database: what follows the host is a number, as in \"redis://host/0\"")?,
        };
        let filled = |text: String| (!text.is_empty()).then_some(text);
        Ok(Self {
            peer,
            user: user.and_then(filled).map(Into::into),
            password: password.and_then(filled).map(Secret::new),
            database,
        })
    }
}

fn host_and_port(place: &str) -> Result<(Box<str>, u16), String> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or("has an IPv6 address without its closing bracket")?,
        None => place.find(':').map_or((place, ""), |at| place.split_at(at)),
    };
    let host = decoded(host, "host")?;
    let port = match port {
        "" => PORT,
        text => text
            .strip_prefix(':')
            .and_then(|text| text.parse().ok())
            .filter(|port| *port > 0)
            .ok_or("has a port that is no number from 1 to 65535")?,
    };
    // redis-py and others take an empty host for this machine.
    let host = if host.is_empty() { "localhost".into() } else { host.into_boxed_str() };
    match host.contains(|c: char| c.is_whitespace() || c.is_control() || "/\\@".contains(c)) {
        true => Err("has a host with characters that no host has".into()),
        false => Ok((host, port)),
    }
}

fn decoded(text: &str, part: &str) -> Result<String, String> {
    let whole = percent_decode_str(text).decode_utf8().map_err(|_| format!("has a {part} that is no UTF-8"))?;
    Ok(whole.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Address {
        Address::parse("share", url).unwrap()
    }

    #[test]
    fn urls_are_parsed() {
        let plain = address("redis://host");
        assert_eq!(plain, Address { peer: Peer::Tcp("host".into(), 6379), user: None, password: None, database: 0 });
        let whole = address("rediss://us%40er:p%3Aw%2F@h.example:7000/12");
        assert_eq!(whole.peer, Peer::Tls("h.example".into(), 7000));
        assert_eq!((whole.user.as_deref(), whole.database), (Some("us@er"), 12));
        assert_eq!(whole.password, Some(Secret::new("p:w/")));
        assert_eq!(address("redis://:word@h").password, Some(Secret::new("word")));
        assert_eq!(address("redis://:word@h").user, None);
        assert_eq!(address("REDIS://a:b@c@[::1]:6380/").peer, Peer::Tcp("::1".into(), 6380));
        assert_eq!(address("redis://").peer, Peer::Tcp("localhost".into(), 6379));
        assert_eq!(address("redis://h?db=3").database, 3);
        let socket = address("redis+unix://u:p@/run/my%20redis.sock?db=2");
        assert_eq!((socket.peer, socket.database), (Peer::Socket("/run/my redis.sock".into()), 2));
        assert_eq!(address("unix:///run/r.sock").peer, Peer::Socket("/run/r.sock".into()));
    }

    #[test]
    fn errors_name_the_argument_and_show_no_password() {
        for (url, part) in [
            ("http://:sesame@h", "no URL of a Redis"),
            ("redis:sesame@h", "no URL of a Redis"),
            ("redis://:sesame@h:port", "port"),
            ("redis://:sesame@h:0", "port"),
            ("redis://:sesame@h:99999", "port"),
            ("redis://:sesame@h/first", "database"),
            ("redis://:sesame@h/-1", "database"),
            ("redis://:ses/ame@h/1", "percent-encoded"),
            ("redis://:sesame#1@h/1", "percent-encoded"),
            ("redis://:sesame%FF@h", "UTF-8"),
            ("redis://:sesame@[::1", "IPv6"),
            ("redis://:sesame@h\n/1", "host"),
            ("redis://:sesame@h?sesame=1", "parameter"),
            ("unix://:sesame@relative", "socket"),
        ] {
            let message = Address::parse("share", url).unwrap_err().message;
            assert!(message.starts_with("share ") && message.contains(part), "{url}: {message}");
            assert!(!message.contains("ses"), "{message}");
        }
        assert!(!format!("{:?}", address("redis://u:sesame@h")).contains("sesame"));
    }
}
