//! Making a connection: name resolution, TCP, proxy, TLS.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderValue, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tower_service::Service;

use super::Settings;
use super::traffic::{Counted, Traffic};
use super::trust::Trust;
use crate::error::{Error, Result};

/// A connection's bytes, encrypted or not.
pub(super) type Io = Counted<Either<TcpStream, Box<TlsStream<TcpStream>>>>;

/// Where a connection leads: what has to be equal for it to be used again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub https: bool,
    pub host: Box<str>,
    pub port: u16,
}

impl Origin {
    pub fn of(uri: &Uri) -> Result<Self> {
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(Error::argument(format!("the address {uri} begins with neither http:// nor https://"))),
        };
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| Error::argument(format!("the address {uri} names no host")))?;
        Ok(Self { https, host: host.into(), port: uri.port_u16().unwrap_or(if https { 443 } else { 80 }) })
    }

    /// On this machine, or on its own link: such addresses mean something only to whoever stands there.
    fn is_near(&self) -> bool {
        let is_link_local = |address: IpAddr| match address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        is_loopback(&self.host) || self.host.trim_matches(['[', ']']).parse().is_ok_and(is_link_local)
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
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A fresh connection and how to speak on it.
pub(super) struct Connected {
    pub io: Io,
    /// The server chose HTTP/2.
    pub http2: bool,
    /// A plain-HTTP proxy stands between: it wants whole addresses, and this authorization if it has one.
    pub forward_proxy: Option<Option<HeaderValue>>,
}

/// Makes connections.
pub(super) struct Connector {
    tcp: HttpConnector,
    proxies: Matcher,
    /// The caller named the proxy, rather than the environment.
    proxy_given: bool,
    tls: OnceCell<TlsConnector>,
    trust: Trust,
    http2: bool,
}

impl Connector {
    /// Where the settings name no proxy, `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` do, in either case, as
    /// they are now.
    pub fn new(settings: &Settings) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(std::time::Duration::from_secs(60)));
        let proxies = match &settings.proxy {
            Some(proxy) => Matcher::builder().all(proxy.expose()).build(),
            None => Matcher::from_env(),
        };
        Self {
            tcp,
            proxies,
            proxy_given: settings.proxy.is_some(),
            tls: OnceCell::new(),
            trust: settings.trust.clone(),
            http2: settings.http2,
        }
    }

    pub async fn connect(&self, origin: &Origin, uri: &Uri, traffic: &Arc<Traffic>) -> Result<Connected> {
        // A server on this machine, or beside it, is not behind a proxy of the environment.
        let direct = origin.is_near() && !self.proxy_given;
        let proxy = if direct { None } else { self.proxies.intercept(uri) };
        let counted = |io| Counted::new(io, traffic.clone());
        let (tcp, forward_proxy) = match &proxy {
            None => (self.tcp(uri.clone()).await.map_err(|error| failed(origin, &*error))?, None),
            Some(proxy) => self.through(proxy, origin, uri).await?,
        };
        if !origin.https {
            return Ok(Connected { io: counted(Either::Left(tcp)), http2: false, forward_proxy });
        }
        let tls = self.tls.get_or_try_init(|| tls_connector(self.trust.clone(), self.http2)).await?;
        let name = ServerName::try_from(origin.host.trim_matches(['[', ']']).to_owned())
            .map_err(|_| Error::argument(format!("{} is not a host name that TLS can check", origin.host)))?;
        let stream = tls.connect(name, tcp).await.map_err(|error| failed(origin, &error))?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Connected { io: counted(Either::Right(Box::new(stream))), http2, forward_proxy: None })
    }

    async fn tcp(&self, uri: Uri) -> Result<TcpStream, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.tcp.clone().call(uri).await?.into_inner())
    }

    async fn through(
        &self,
        proxy: &Intercept,
        origin: &Origin,
        uri: &Uri,
    ) -> Result<(TcpStream, Option<Option<HeaderValue>>)> {
        // Host and port alone: before them may stand a password.
        let host = proxy.uri().host().unwrap_or("?");
        let port = proxy.uri().port_u16().map_or(String::new(), |port| format!(":{port}"));
        let at = format!("{origin} through the proxy {host}{port}");
        let failed = |error: &(dyn std::error::Error + 'static)| {
            Error::connection(format!("cannot connect to {at}: {}", causes(error)))
        };
        match proxy.uri().scheme_str() {
            Some("http") if !origin.https => {
                let tcp = self.tcp(proxy.uri().clone()).await.map_err(|error| failed(&*error))?;
                Ok((tcp, Some(proxy.basic_auth().cloned())))
            }
            Some("http") => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), self.tcp.clone());
                if let Some(auth) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(auth.clone());
                }
                Ok((tunnel.call(uri.clone()).await.map_err(|error| failed(&error))?.into_inner(), None))
            }
            Some("socks5" | "socks5h") => {
                let mut socks = SocksV5::new(proxy.uri().clone(), self.tcp.clone())
                    .local_dns(proxy.uri().scheme_str() == Some("socks5"));
                if let Some((user, password)) = proxy.raw_auth() {
                    socks = socks.with_auth(user.to_owned(), password.to_owned());
                }
                Ok((socks.call(uri.clone()).await.map_err(|error| failed(&error))?.into_inner(), None))
            }
            other => Err(Error::connection(format!(
                "the proxy for {origin} is of the kind {}, and only http, socks5 and socks5h are known",
                other.unwrap_or("?")
            ))),
        }
    }
}

fn failed(origin: &Origin, error: &(dyn std::error::Error + 'static)) -> Box<Error> {
    Error::connection(format!("cannot connect to {origin}: {}", causes(error)))
}

/// An error and what lies under it, in one line.
pub(super) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// Made elsewhere, since to read the machine's certificates takes a while.
async fn tls_connector(trust: Trust, http2: bool) -> Result<TlsConnector> {
    let config = tokio::task::spawn_blocking(move || trust.config(http2)).await;
    let config = config.map_err(|error| Error::connection(format!("TLS cannot be set up: {error}")))??;
    Ok(TlsConnector::from(Arc::new(config)))
}
