//! HTTP/1.1 connections: requests, pauses, hang-ups.

use std::io::{self, ErrorKind};
use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::http1::Encoded;
use crate::reply::Reply;
use crate::route::Route;
use crate::settings::Settings;
use crate::stats::{InFlight, STATS};

/// Enough for any client's request head, and for most bodies with it, in one read.
const READ_SIZE: usize = 8 * 1024;
const MAX_HEADERS: usize = 64;

/// Answers requests until the client hangs up.
pub async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, defaults: Settings) {
    STATS.count_connection();
    let mut connection = Connection { stream, input: Vec::new() };
    // Nobody is left to tell about an error: the client has hung up, or talks no HTTP.
    let _ = connection.answer_all(defaults).await;
}

struct Connection<S> {
    stream: S,
    /// Read and not yet consumed.
    input: Vec<u8>,
}

/// A request's head, as far as it matters here.
struct Head {
    path: String,
    length: usize,
    body_length: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn answer_all(&mut self, defaults: Settings) -> io::Result<()> {
        let mut prepared: Option<(Route, Settings, Encoded)> = None;
        loop {
            let head = self.read_head().await?;
            let end = head.length + head.body_length;
            while self.input.len() < end {
                self.input.reserve(end - self.input.len());
                self.read_some().await?;
            }
            if head.path == "/stats" {
                self.input.drain(..end);
                let reply = Encoded::new(&Reply::json("200 OK", "", &STATS.to_json()));
                self.write_all(reply.writes(), 0).await?;
                continue;
            }
            let request = InFlight::start();
            let route = Route::of(&head.path, &self.input[head.length..end]);
            self.input.drain(..end);
            let (_, settings, reply) = match prepared.take() {
                Some(known) if known.0 == route => prepared.insert(known),
                _ => {
                    let settings = defaults.with_path_prefix(&head.path);
                    let reply = Encoded::new(&route.reply(&settings));
                    prepared.insert((route, settings, reply))
                }
            };
            reply.stamp(request.number);
            if settings.delay_ms > 0 {
                self.wait(settings.delay_ms).await?;
            }
            self.write_all(reply.writes(), settings.pause_ms).await?;
            request.finish();
        }
    }

    async fn read_head(&mut self) -> io::Result<Head> {
        loop {
            if let Some(head) = parse_head(&self.input)? {
                return Ok(head);
            }
            self.input.reserve(READ_SIZE);
            self.read_some().await?;
        }
    }

    /// One read; the end of the connection is an error.
    async fn read_some(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn write_all(&mut self, writes: impl Iterator<Item = &[u8]>, pause_ms: usize) -> io::Result<()> {
        for (index, write) in writes.enumerate() {
            if index > 0 {
                self.wait(pause_ms).await?;
            }
            self.stream.write_all(write).await?;
        }
        Ok(())
    }

    /// Lets time pass, or with 0 just the other connections, but no longer than the client stays.
    async fn wait(&mut self, milliseconds: usize) -> io::Result<()> {
        if milliseconds == 0 {
            tokio::task::yield_now().await;
            return Ok(());
        }
        let mut time = pin!(tokio::time::sleep(Duration::from_millis(milliseconds as u64)));
        loop {
            tokio::select! {
                () = &mut time => return Ok(()),
                read = self.read_some() => read?,
            }
        }
    }
}

/// The head at the start of `input`, if it is complete.
fn parse_head(input: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let status = request.parse(input).map_err(|_| ErrorKind::InvalidData)?;
    let httparse::Status::Complete(length) = status else {
        return Ok(None);
    };
    let mut body_length = 0;
    for header in request.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let digits = std::str::from_utf8(header.value).unwrap_or_default();
            body_length = digits.trim().parse().map_err(|_| ErrorKind::InvalidData)?;
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            // No client measured here sends a chunked body; better no answer than a wrong one.
            return Err(ErrorKind::Unsupported.into());
        }
    }
    let path = request.path.unwrap_or_default().to_owned();
    Ok(Some(Head { path, length, body_length }))
}
