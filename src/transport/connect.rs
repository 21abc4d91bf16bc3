//! Opens connections: TCP or Unix socket, proxy, TLS.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use rustls::pki_types::ServerName;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

use super::Settings;
use super::causes::causes;
use super::connection_stats::{ConnectionStats, Counted};
use super::descriptors::is_exhaustion;
use super::detour::{self, Detoured, Link, Offline, Route};
use super::dial::dial;
use super::lookup::addresses;
use super::origin::{Origin, Scheme};
use super::proxies::{self, Kind, Proxies, Proxy};
use super::stream::Stream;
use super::trust::{self, Identity, Trust};
use super::tunnel;
use crate::error::{Error, Result};

/// Byte stream of a connection, encrypted or not.
pub(super) type Io = Counted<Stream>;

/// A fresh connection and the protocol to use on it.
pub(super) struct Connected {
    pub io: Io,
    /// True if the server selected HTTP/2.
    pub http2: bool,
    pub target: Target,
}

/// Peer of a connection, which determines the form of request targets.
#[derive(Debug)]
pub(super) enum Target {
    /// The server itself: the target is a path.
    Server,
    /// A proxy that forwards requests: the target is a whole URL, sent with this authorization if there is one.
    Proxy(Option<HeaderValue>),
    /// A Unix socket: the target is a path, and the host is `localhost`.
    Socket,
    /// A server on this machine in place of the origin: the target is a whole URL with this scheme.
    Detour(&'static str, #[expect(dead_code, reason = "held as long as the connection is open")] Option<Detoured>),
}

/// Opens connections.
pub(super) struct Connector {
    proxies: Proxies,
    tls: Tls,
    http2: bool,
    route: Route,
    offline: Offline,
    /// Settings of the client, for a server that makes its connections.
    settings: Arc<Settings>,
}

impl Connector {
    /// Creates a connector and reads the environment: proxies unless the settings name one, and certificate
    /// authorities.
    pub fn new(settings: &Arc<Settings>) -> Self {
        let variable = |name: &str| std::env::var_os(name);
        // An invalid proxy was refused when the settings were made; here it is ignored.
        let explicit = settings.proxy.as_ref().and_then(|proxy| Proxy::parse(proxy.expose()).ok());
        Self {
            proxies: match explicit {
                Some(proxy) => Proxies::Explicit(Arc::new(proxy)),
                None => Proxies::Environment(proxies::Environment::read(&variable)),
            },
            tls: Tls::new(settings),
            http2: settings.http2,
            route: settings.route,
            offline: Offline::read(&variable),
            settings: settings.clone(),
        }
    }

    /// Returns true if the caller set a proxy, rather than the environment.
    pub fn has_explicit_proxy(&self) -> bool {
        matches!(self.proxies, Proxies::Explicit(_))
    }

    /// Returns true if the proxy set by the caller is reached without TLS.
    pub fn has_plain_proxy(&self) -> bool {
        matches!(&self.proxies, Proxies::Explicit(proxy) if proxy.kind != Kind::Https)
    }

    /// Connects to an origin; `limit` is divided so that every address is tried within it.
    ///
    /// # Errors
    ///
    /// Returns an error if no address accepts a connection, or the proxy or the TLS handshake fails.
    pub async fn connect(
        &self,
        origin: &Origin,
        limit: Option<Duration>,
        connection_stats: &Arc<ConnectionStats>,
    ) -> Result<Connected> {
        if let Some(port) = detour::of(origin, self.route, &self.offline)? {
            return detoured(origin, port, limit, connection_stats, &self.settings).await;
        }
        let (stream, target) = match self.proxies.proxy_for(origin)? {
            None => (
                direct(origin, limit).await?,
                if origin.scheme == Scheme::Unix { Target::Socket } else { Target::Server },
            ),
            Some(proxy) => self.through(proxy, origin, limit).await?,
        };
        let counted = |stream| Counted::new(stream, connection_stats.clone());
        if !origin.is_https() {
            return Ok(Connected { io: counted(stream), http2: false, target });
        }
        let failed = |error: std::io::Error| self.tls.failed(format!("cannot connect to {origin}"), &error);
        let tls = self.tls.to_server(self.http2).await?;
        let stream = tls.connect(server_name(origin.bare_host())?, stream).await.map_err(failed)?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Connected { io: counted(Stream::Tls(Box::new(stream))), http2, target })
    }

    /// Connects to a proxy, and opens a tunnel to the origin unless the proxy forwards requests.
    async fn through(&self, proxy: &Proxy, origin: &Origin, limit: Option<Duration>) -> Result<(Stream, Target)> {
        // Shows host and port only: the URL may contain a password before them.
        let at = format!("cannot connect to {origin} through the proxy {proxy}");
        let failed = |error: std::io::Error| connection_failed(&at, &error);
        let mut stream = tcp(&proxy.host, proxy.port, limit).await.map_err(failed)?;
        if proxy.kind == Kind::Https {
            let failed = |error: std::io::Error| self.tls.failed(at.clone(), &error);
            let tls = self.tls.to_proxy().await?;
            let encrypted = tls.connect(server_name(&proxy.host)?, stream).await.map_err(failed)?;
            stream = Stream::Tls(Box::new(encrypted));
        }
        match proxy.kind {
            Kind::Http | Kind::Https if !origin.is_https() => {
                Ok((stream, Target::Proxy(proxy.authorization().cloned())))
            }
            Kind::Http | Kind::Https => {
                let stream = tunnel::connect(stream, proxy, &origin.host, origin.port).await?;
                Ok((stream, Target::Server))
            }
            Kind::Socks5 { local_names } => {
                let mut host = origin.host.to_string();
                if local_names {
                    let found = addresses(origin.bare_host(), origin.port).await.map_err(failed)?;
                    host = found.first().map_or(host, |address| match address.ip() {
                        IpAddr::V4(address) => address.to_string(),
                        IpAddr::V6(address) => format!("[{address}]"),
                    });
                }
                let stream = tunnel::socks(stream, proxy, &host, origin.port).await;
                Ok((stream.map_err(|why| Error::connection(format!("{at}: {why}")))?, Target::Server))
            }
        }
    }
}

/// Connects to the server on this machine to which a detour leads.
#[cold]
async fn detoured(
    origin: &Origin,
    port: u16,
    limit: Option<Duration>,
    connection_stats: &Arc<ConnectionStats>,
    settings: &Arc<Settings>,
) -> Result<Connected> {
    let stream = tcp("127.0.0.1", port, limit).await;
    let at = format!("cannot connect to the test server 127.0.0.1:{port} in place of {origin}");
    let stream = stream.map_err(|error| connection_failed(&at, &error))?;
    let address = if let Stream::Tcp(stream) = &stream { stream.local_addr().ok() } else { None };
    let link = address.map(|address| Link { client: address.port(), server: port });
    let scheme = if origin.is_https() { "https" } else { "http" };
    let target = Target::Detour(scheme, link.map(|link| detour::remember(link, settings)));
    Ok(Connected { io: Counted::new(stream, connection_stats.clone()), http2: false, target })
}

/// Opens byte streams to a server that does not speak HTTP, with a client's TLS settings and without a proxy.
pub struct StreamConnector {
    tls: Tls,
    offline: Offline,
}

/// Server of a [`StreamConnector`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// Host, without the brackets of an IPv6 address, and port.
    Tcp(Box<str>, u16),
    /// The same, encrypted by TLS.
    Tls(Box<str>, u16),
    /// Path of a Unix socket.
    Socket(Box<str>),
}

impl StreamConnector {
    /// Creates a connector, and reads the environment's certificate authorities.
    pub fn new(settings: &Settings) -> Self {
        Self { tls: Tls::new(settings), offline: Offline::read(&|name: &str| std::env::var_os(name)) }
    }

    /// Connects to a server; `limit` is divided so that every address is tried within it, but does not end the attempt.
    ///
    /// # Errors
    ///
    /// Returns an error if no address accepts a connection, the TLS handshake fails, or the process is offline.
    pub async fn connect(&self, peer: &Peer, limit: Option<Duration>) -> Result<Stream> {
        if let Peer::Tcp(host, port) | Peer::Tls(host, port) = peer {
            self.offline.check(host, *port, peer)?;
        }
        let at = || format!("cannot connect to {peer}");
        let stream = match peer {
            Peer::Tcp(host, port) | Peer::Tls(host, port) => tcp(host, *port, limit).await,
            Peer::Socket(path) => unix(path).await,
        };
        let stream = stream.map_err(|error| connection_failed(&at(), &error))?;
        let Peer::Tls(host, _) = peer else { return Ok(stream) };
        let tls = self.tls.to_stream().await?;
        let encrypted = tls.connect(server_name(host)?, stream).await.map_err(|error| self.tls.failed(at(), &error))?;
        Ok(Stream::Tls(Box::new(encrypted)))
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(host, port) | Self::Tls(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) | Self::Tls(host, port) => write!(f, "{host}:{port}"),
            Self::Socket(path) => write!(f, "unix:{path}"),
        }
    }
}

async fn direct(origin: &Origin, limit: Option<Duration>) -> Result<Stream> {
    let stream = match origin.scheme {
        Scheme::Unix => unix(&origin.host).await,
        _ => tcp(origin.bare_host(), origin.port, limit).await,
    };
    stream.map_err(|error| connection_failed(&format!("cannot connect to {origin}"), &error))
}

async fn tcp(host: &str, port: u16, limit: Option<Duration>) -> std::io::Result<Stream> {
    let found = addresses(host, port).await?;
    dial(found, limit).await.map(Stream::Tcp)
}

#[cfg(unix)]
async fn unix(path: &str) -> std::io::Result<Stream> {
    tokio::net::UnixStream::connect(path).await.map(Stream::Unix)
}

#[cfg(not(unix))]
async fn unix(_: &str) -> std::io::Result<Stream> {
    Err(std::io::Error::new(std::io::ErrorKind::Unsupported, "this system has no unix sockets here"))
}

fn server_name(host: &str) -> Result<ServerName<'static>> {
    ServerName::try_from(host.to_owned())
        .map_err(|_| Error::argument(format!("{host} is not a host name that TLS can check")))
}

fn connection_failed(what: &str, error: &std::io::Error) -> Box<Error> {
    let mut failure = Error::connection(format!("{what}: {}", causes(error))).unsent();
    if is_exhaustion(error) {
        failure.code = Some(EXHAUSTED.into());
    }
    failure
}

/// Error code of a connection that failed since the process has no file descriptor left.
pub(super) const EXHAUSTED: &str = "EMFILE";

/// TLS connectors, created when they are first needed.
struct Tls {
    trust: Trust,
    environment: trust::Environment,
    identity: Option<Arc<Identity>>,
    to_servers: OnceCell<TlsConnector>,
    /// Connector without the client's certificate and with HTTP/1.1 only, since a proxy is asked by `CONNECT`.
    to_proxies: OnceCell<TlsConnector>,
    /// Connector of [`StreamConnector`], which offers no protocol.
    to_streams: OnceCell<TlsConnector>,
}

impl Tls {
    fn new(settings: &Settings) -> Self {
        Self {
            trust: settings.trust.clone(),
            environment: trust::Environment::read(&|name: &str| std::env::var_os(name)),
            identity: settings.identity.clone(),
            to_servers: OnceCell::new(),
            to_proxies: OnceCell::new(),
            to_streams: OnceCell::new(),
        }
    }

    async fn to_server(&self, http2: bool) -> Result<&TlsConnector> {
        let protocols: &'static [&'static [u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
        self.to_servers.get_or_try_init(|| self.connector(self.identity.clone(), protocols)).await
    }

    async fn to_proxy(&self) -> Result<&TlsConnector> {
        self.to_proxies.get_or_try_init(|| self.connector(None, &[b"http/1.1"])).await
    }

    async fn to_stream(&self) -> Result<&TlsConnector> {
        self.to_streams.get_or_try_init(|| self.connector(self.identity.clone(), &[])).await
    }

    /// Creates a connector on another thread, since reading the system's certificates takes some time.
    async fn connector(
        &self,
        identity: Option<Arc<Identity>>,
        protocols: &'static [&'static [u8]],
    ) -> Result<TlsConnector> {
        let (trust, environment) = (self.trust.clone(), self.environment.clone());
        let config =
            tokio::task::spawn_blocking(move || trust.config(&environment, identity.as_deref(), protocols)).await;
        let config = config.map_err(|error| Error::connection(format!("TLS cannot be set up: {error}")))??;
        Ok(TlsConnector::from(Arc::new(config)))
    }

    /// Creates the error of a failed handshake. An untrusted certificate is not retried.
    fn failed(&self, what: String, error: &std::io::Error) -> Box<Error> {
        let mut failure = connection_failed(&what, error);
        let tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::InvalidCertificate(_)) = tls {
            failure.message = format!("{} ({})", failure.message, self.trust.describe(&self.environment));
            failure.should_retry = Some(false);
        }
        failure
    }
}

/// Returns true if a server's alert refuses the client's certificate, or its absence.
///
/// With TLS 1.3 the alert arrives after the handshake, in place of the response.
pub(super) fn refuses_identity(error: &std::io::Error) -> bool {
    use rustls::AlertDescription as Alert;
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(
        tls,
        Some(rustls::Error::AlertReceived(
            Alert::CertificateRequired
                | Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
        ))
    )
}
