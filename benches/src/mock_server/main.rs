//! A mock LLM server that is cheap enough to share two cores with the client being measured.
//!
//! One thread, one task per connection, replies built once per connection and only stamped with a
//! fresh id for each request. The rooms:
//!
//! - [`settings`]: how big, how late and in how many pieces a reply comes
//! - [`text`]: what the model "says"
//! - [`wire`]: the replies as OpenAI, Anthropic and Gemini write them
//! - [`reply`]: the bytes of one HTTP response and where they are cut into writes
//! - [`route`]: which reply a request gets
//! - [`connection`]: sockets, HTTP/1.1 framing, pauses, hang-ups
//! - [`stats`]: what `GET /stats` tells
//!
//! The port is the first line on standard output; the server ends when its standard input closes,
//! so it cannot outlive the program that started it.

mod connection;
mod reply;
mod route;
mod settings;
mod stats;
mod text;
mod wire;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use tokio::net::{TcpListener, TcpSocket};

use settings::Settings;

const USAGE: &str = "usage: mock_server [--port PORT] [--KNOB NUMBER]...";

/// More than the default of 1024, so that thousands of clients can connect in one burst.
const BACKLOG: u32 = 16_384;

fn main() -> ExitCode {
    let (port, defaults) = match parse_arguments(std::env::args().skip(1)) {
        Ok(parsed) => parsed,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}\nknobs:{}", settings::knob_names());
            return ExitCode::from(2);
        }
    };
    std::thread::spawn(exit_when_stdin_closes);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(serve(port, defaults))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mock_server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse_arguments(mut arguments: impl Iterator<Item = String>) -> Result<(u16, Settings), String> {
    let mut port = 0;
    let mut defaults = Settings::default();
    while let Some(flag) = arguments.next() {
        let name = flag.strip_prefix("--").ok_or_else(|| format!("not a flag: {flag}"))?;
        let value = arguments.next().ok_or_else(|| format!("{flag} needs a number"))?;
        let not_a_number = |_| format!("{flag} needs a number, not {value}");
        if name == "port" {
            port = value.parse().map_err(not_a_number)?;
        } else {
            let knob = defaults.by_name(name).ok_or_else(|| format!("unknown flag: {flag}"))?;
            *knob = value.parse().map_err(not_a_number)?;
        }
    }
    Ok((port, defaults))
}

async fn serve(port: u16, defaults: Settings) -> std::io::Result<()> {
    let listener = listen(port)?;
    println!("{}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(connection::serve(stream, defaults));
    }
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
