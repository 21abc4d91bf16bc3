//! A mock LLM server that is cheap enough to share two cores with the client being measured.
//!
//! One thread, one task per connection, replies built once per connection and only stamped with a
//! fresh id for each request. The rooms:
//!
//! - [`settings`]: how big, how late and in how many pieces a reply comes
//! - [`text`]: what the model "says"
//! - [`wire`]: the replies as OpenAI, Anthropic and Gemini write them
//! - [`reply`]: a response as every protocol sends it
//! - [`route`]: which reply a request gets
//! - [`connection`], [`http1`]: HTTP/1.1
//! - [`http2`]: requests side by side over HTTP/2
//! - [`tls`]: what accepts TLS connections
//! - [`stats`]: what `GET /stats` tells
//!
//! The port is the first line on standard output. With `--certificate FILE` (a PEM file with a chain and its key) two
//! more ports follow it on that line: HTTP/1.1 over TLS, and HTTP/2 over TLS. The server ends when its standard input closes,
//! so it cannot outlive the program that started it.

mod connection;
mod http1;
mod http2;
mod reply;
mod route;
mod settings;
mod stats;
mod text;
mod tls;
mod wire;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;

use settings::Settings;

const USAGE: &str = "usage: mock_server [--port PORT] [--certificate FILE] [--KNOB NUMBER]...";

/// More than the default of 1024, so that thousands of clients can connect in one burst.
const BACKLOG: u32 = 16_384;

/// The command line.
#[derive(Default)]
struct Arguments {
    port: u16,
    certificate: Option<PathBuf>,
    defaults: Settings,
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(parsed) => parsed,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}\nknobs:{}", settings::knob_names());
            return ExitCode::from(2);
        }
    };
    std::thread::spawn(exit_when_stdin_closes);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(serve(arguments))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mock_server: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Arguments {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut parsed = Self::default();
        while let Some(flag) = arguments.next() {
            let name = flag.strip_prefix("--").ok_or_else(|| format!("not a flag: {flag}"))?;
            let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
            let not_a_number = |_| format!("{flag} needs a number, not {value}");
            match name {
                "port" => parsed.port = value.parse().map_err(not_a_number)?,
                "certificate" => parsed.certificate = Some(value.into()),
                _ => {
                    let knob = parsed.defaults.by_name(name).ok_or_else(|| format!("unknown flag: {flag}"))?;
                    *knob = value.parse().map_err(not_a_number)?;
                }
            }
        }
        Ok(parsed)
    }
}

async fn serve(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let Arguments { port, certificate, defaults } = arguments;
    let plain = listen(port)?;
    let mut ports = vec![plain.local_addr()?.port()];
    if let Some(certificate) = certificate {
        for protocol in ["http/1.1", "h2"] {
            let (listener, acceptor) = (listen(0)?, tls::acceptor(&certificate, protocol)?);
            ports.push(listener.local_addr()?.port());
            tokio::spawn(serve_tls(listener, acceptor, defaults, protocol == "h2"));
        }
    }
    println!("{}", ports.iter().map(u16::to_string).collect::<Vec<_>>().join(" "));
    std::io::stdout().flush()?;
    loop {
        tokio::spawn(connection::serve(accept(&plain).await?, defaults));
    }
}

async fn serve_tls(listener: TcpListener, acceptor: TlsAcceptor, defaults: Settings, is_http2: bool) {
    while let Ok(stream) = accept(&listener).await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            match is_http2 {
                true => http2::serve(stream, defaults).await,
                false => connection::serve(stream, defaults).await,
            }
        });
    }
}

async fn accept(listener: &TcpListener) -> std::io::Result<TcpStream> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn listen(port: u16) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    socket.listen(BACKLOG)
}

fn exit_when_stdin_closes() {
    let mut ignored = [0; 256];
    let mut stdin = std::io::stdin().lock();
    while !matches!(stdin.read(&mut ignored), Ok(0) | Err(_)) {}
    std::process::exit(0);
}
