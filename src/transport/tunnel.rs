//! Connections to a server through a proxy: `CONNECT` or SOCKS 5.

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::BytesMut;
use http::Uri;
use hyper_util::client::legacy::connect::proxy::SocksV5;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tower_service::Service;

use super::answer::{MAX_INFORMATIONAL, end_of_head};
use super::causes::causes;
use super::proxies::Proxy;
use super::stream::Stream;
use crate::error::{Error, Result};

/// Maximum size of the head of a proxy's response, in bytes.
const MAX_HEAD: usize = 16 << 10;
/// Maximum length of a proxy's reason in an error message, in characters.
const MAX_REASON: usize = 100;

/// Requests a tunnel from an HTTP proxy: <https://www.rfc-editor.org/rfc/rfc9110#name-connect>.
///
/// # Errors
///
/// Returns an error with the proxy's status if it refuses; a 4xx is not retried, since the proxy would refuse again.
pub(super) async fn connect<Io: AsyncRead + AsyncWrite + Unpin>(
    mut stream: Io,
    proxy: &Proxy,
    host: &str,
    port: u16,
) -> Result<Io> {
    let at = format!("cannot connect to {host}:{port} through the proxy {proxy}");
    let broken = |error: std::io::Error| Error::connection(format!("{at}: {}", causes(&error)));
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nhost: {host}:{port}\r\n").into_bytes();
    if let Some(authorization) = proxy.authorization() {
        request.extend_from_slice(b"proxy-authorization: ");
        request.extend_from_slice(authorization.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut answer = BytesMut::new();
    let mut informational = 0;
    loop {
        let read = stream.read_buf(&mut answer).await.map_err(broken)?;
        while let Some(end) = end_of_head(&answer, 0) {
            let head = answer.split_to(end);
            let line = head[..].split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
            match status(line) {
                Some(100..200) if informational < MAX_INFORMATIONAL => informational += 1,
                Some(100..200) => {
                    return Err(Error::connection(format!(
                        "{at}: more than {MAX_INFORMATIONAL} heads and no answer to CONNECT"
                    )));
                }
                // No bytes may follow, since the client speaks first.
                Some(200..300) if answer.is_empty() => return Ok(stream),
                Some(200..300) => {
                    return Err(Error::connection(format!("{at}: bytes came before they were asked for")));
                }
                Some(status) => return Err(refused(proxy, host, port, status, line)),
                None => return Err(Error::connection(format!("{at}: its answer to CONNECT is not HTTP"))),
            }
        }
        if read == 0 {
            return Err(Error::connection(format!("{at}: it closed the connection instead of an answer to CONNECT")));
        }
        if answer.len() > MAX_HEAD {
            return Err(Error::connection(format!(
                "{at}: the head of its answer to CONNECT is larger than {MAX_HEAD} bytes"
            )));
        }
    }
}

/// Parses the status of a line such as `HTTP/1.1 200 Connection established`.
fn status(line: &[u8]) -> Option<u16> {
    let digits = line.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|status| (100..600).contains(status))
}

fn refused(proxy: &Proxy, host: &str, port: u16, status: u16, line: &[u8]) -> Box<Error> {
    let reason = String::from_utf8_lossy(line.get(13..).unwrap_or_default());
    let reason: String = reason.chars().filter(|character| !character.is_control()).take(MAX_REASON).collect();
    let status_text = format!("{status} {reason}");
    let hint = match status {
        407 => ": it wants a user and a password, which stand in its address (http://user:password@host:port)",
        _ => "",
    };
    let mut error = Error::connection(format!(
        "the proxy {proxy} answered {} when asked to connect to {host}:{port}{hint}",
        status_text.trim_end()
    ));
    if (400..500).contains(&status) {
        error.should_retry = Some(false);
    }
    error
}

/// Requests a connection from a SOCKS proxy.
///
/// # Errors
///
/// Returns the error of the proxy.
pub(super) async fn socks(stream: Stream, proxy: &Proxy, host: &str, port: u16) -> Result<Stream, String> {
    let mut socks = SocksV5::new(proxy.uri().clone(), Connected(Some(TokioIo::new(stream))));
    if let Some((user, password)) = proxy.user() {
        socks = socks.with_auth(user.to_owned(), password.to_owned());
    }
    let target: Uri = format!("http://{host}:{port}").parse().map_err(|error| format!("{error}"))?;
    socks.call(target).await.map(TokioIo::into_inner).map_err(|error| causes(&error))
}

/// A connector that returns an existing connection.
struct Connected(Option<TokioIo<Stream>>);

impl Service<Uri> for Connected {
    type Response = TokioIo<Stream>;
    type Error = std::io::Error;
    type Future = Ready<std::io::Result<TokioIo<Stream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(self.0.take().ok_or_else(|| std::io::ErrorKind::NotConnected.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Result of `connect` for a proxy's response, sent in these pieces.
    async fn answered(pieces: &[&str]) -> Result<(), (String, Option<bool>)> {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let proxy = Proxy::parse("http://user:s3cret@proxy:3128").unwrap();
        let serve = async {
            let mut request = vec![0; 1024];
            let mut length = 0;
            while !request[..length].ends_with(b"\r\n\r\n") {
                length += theirs.read(&mut request[length..]).await.unwrap();
            }
            for piece in pieces {
                // The client may have closed the connection already.
                drop(theirs.write_all(piece.as_bytes()).await);
                tokio::task::yield_now().await;
            }
            drop(theirs);
            String::from_utf8(request[..length].to_vec()).unwrap()
        };
        let (done, request) = tokio::join!(connect(ours, &proxy, "host", 443), serve);
        assert_eq!(
            request,
            "CONNECT host:443 HTTP/1.1\r\nhost: host:443\r\nproxy-authorization: Basic dXNlcjpzM2NyZXQ=\r\n\r\n"
        );
        done.map(drop).map_err(|error| (error.message, error.should_retry))
    }

    #[tokio::test]
    async fn a_proxy_says_yes() {
        answered(&["HTTP/1.1 200 Connection established\r\n\r\n"]).await.unwrap();
        answered(&["HTTP/1.0 200\r\n", "x: y\r\n", "\r", "\n"]).await.unwrap();
        answered(&["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 204 OK\n\n"]).await.unwrap();
    }

    #[tokio::test]
    async fn a_proxy_says_no() {
        for (answer, said, retry) in [
            ("HTTP/1.1 403 Forbidden\r\nx: y\r\n\r\nbody", "proxy:3128 answered 403 Forbidden when", Some(false)),
            (
                "HTTP/1.1 407 \r\n\r\n",
                "proxy:3128 answered 407 when asked to connect to host:443: it wants",
                Some(false),
            ),
            ("HTTP/1.1 503 Busy\x1b[0m\r\n\r\n", "answered 503 Busy[0m when", None),
            ("HTTP/1.1 302 Found\r\n\r\n", "answered 302 Found when", None),
            ("SSH-2.0-OpenSSH\r\n\r\n", "is not HTTP", None),
            ("HTTP/1.1 200 OK\r\n\r\nhello", "before they were asked for", None),
            ("HTTP/1.1 200 OK\r\n", "closed the connection", None),
            ("", "closed the connection", None),
        ] {
            let (message, should_retry) = answered(&[answer]).await.unwrap_err();
            assert!(message.contains(said) && !message.contains("s3cret"), "{answer:?}: {message}");
            assert_eq!(should_retry, retry, "{answer:?}");
        }
        let endless = "x".repeat(MAX_HEAD + 100);
        assert!(answered(&[&endless]).await.unwrap_err().0.contains("larger than"));
        let informational = "HTTP/1.1 100 Continue\r\n\r\n".repeat(MAX_INFORMATIONAL as usize);
        answered(&[&informational, "HTTP/1.1 200 OK\r\n\r\n"]).await.unwrap();
        let endless = answered(&[&informational, "HTTP/1.1 102 Processing\r\n\r\n"]).await.unwrap_err().0;
        assert!(endless.contains("more than 32 heads and no answer to CONNECT"), "{endless}");
    }
}
