//! Connects to the first of a host's addresses that answers.
//!
//! An address that drops packets costs a quarter of a second rather than the call: the next one is tried concurrently
//! (<https://www.rfc-editor.org/rfc/rfc8305>, "happy eyeballs").

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::descriptors::is_exhaustion;

/// Delay before the next attempt begins beside an unfinished one: RFC 8305, section 8.
const DELAY: Duration = Duration::from_millis(250);
/// Minimum delay, if there is little time: RFC 8305, section 8.
const MIN_DELAY: Duration = Duration::from_millis(10);
/// Time after which an idle connection is probed.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Connects to one of the addresses, all of which are tried within `limit`.
///
/// # Errors
///
/// Returns the combined errors if all attempts have failed.
pub(super) async fn dial(addresses: Vec<SocketAddr>, limit: Option<Duration>) -> Result<TcpStream> {
    let stream = first_of(interleaved(addresses), limit, TcpStream::connect).await?;
    stream.set_nodelay(true)?;
    // Detects a peer that vanished without closing; where keep-alive is not supported, timeouts apply.
    drop(SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE)));
    Ok(stream)
}

/// Runs attempts until one succeeds; each begins when the previous one has failed or its delay has passed.
async fn first_of<T, F: Future<Output = Result<T>>>(
    addresses: Vec<SocketAddr>,
    limit: Option<Duration>,
    attempt: impl Fn(SocketAddr) -> F,
) -> Result<T> {
    let delay = delay(addresses.len(), limit);
    let several = addresses.len() > 1;
    let mut left = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failures: Vec<(SocketAddr, Error)> = Vec::new();
    loop {
        if let Some(address) = left.next() {
            let attempt = attempt(address);
            attempts.push(async move { attempt.await.map_err(|error| (address, error)) });
        }
        let mut timer = pin!(tokio::time::sleep(delay));
        loop {
            let done = match left.len() {
                0 => attempts.next().await,
                _ => match select(attempts.next(), timer.as_mut()).await {
                    Either::Left((done, _)) => done,
                    Either::Right(_) => break,
                },
            };
            match done {
                Some(Ok(connected)) => return Ok(connected),
                Some(Err(failure)) => failures.push(failure),
                None if left.len() == 0 => return Err(joined(failures, several)),
                None => {}
            }
            if left.len() > 0 {
                break;
            }
        }
    }
}

/// Returns the delay between attempts, such that the last one has as much time as the others.
fn delay(addresses: usize, limit: Option<Duration>) -> Duration {
    let share = limit.map_or(DELAY, |limit| limit / u32::try_from(addresses + 1).unwrap_or(u32::MAX));
    share.clamp(MIN_DELAY, DELAY)
}

/// Combines the errors of all attempts, with their addresses if there are several.
fn joined(mut failures: Vec<(SocketAddr, Error)>, several: bool) -> Error {
    match failures.pop() {
        None => Error::new(ErrorKind::NotFound, "the name has no address"),
        Some((_, error)) if !several || is_exhaustion(&error) => error,
        Some((address, error)) => {
            let all = failures.iter().map(|(address, error)| format!("{address}: {error}"));
            let all: Vec<String> = all.chain([format!("{address}: {error}")]).collect();
            Error::new(error.kind(), all.join("; "))
        }
    }
}

/// Alternates address families, and otherwise keeps the system's order: RFC 8305, section 4.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (one, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let longest = one.len().max(other.len());
    (0..longest).flat_map(|index| [one.get(index), other.get(index)]).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns() {
        let mixed = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"]);
        let expected = addresses(&["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"]);
        assert_eq!(interleaved(mixed), expected);
        let v4_first = addresses(&["1.0.0.1:1", "1.0.0.2:1", "[::1]:1"]);
        assert_eq!(interleaved(v4_first), addresses(&["1.0.0.1:1", "[::1]:1", "1.0.0.2:1"]));
    }

    /// Simulates an address by its port: 1 drops packets, 2 refuses at once, others answer after this number of
    /// milliseconds.
    async fn attempt(address: SocketAddr) -> Result<SocketAddr> {
        match address.port() {
            1 => std::future::pending().await,
            2 => Err(ErrorKind::ConnectionRefused.into()),
            late => {
                tokio::time::sleep(Duration::from_millis(late.into())).await;
                Ok(address)
            }
        }
    }

    async fn dialled(texts: &[&str], limit: Option<Duration>) -> (std::result::Result<String, String>, u64) {
        let begun = Instant::now();
        let done = first_of(addresses(texts), limit, attempt).await;
        (done.map(|it| it.to_string()).map_err(|it| it.to_string()), begun.elapsed().as_millis() as u64)
    }

    #[tokio::test(start_paused = true)]
    async fn every_address_gets_its_chance() {
        let holes = ["1.0.0.1:1", "[::1]:1", "1.0.0.3:1", "1.0.0.4:10"];
        assert_eq!(dialled(&holes, None).await, (Ok("1.0.0.4:10".into()), 760));
        // Within the time limit.
        assert_eq!(dialled(&holes, Some(Duration::from_millis(500))).await, (Ok("1.0.0.4:10".into()), 310));
        assert_eq!(dialled(&["1.0.0.1:1", "1.0.0.2:10"], Some(Duration::from_millis(90))).await.1, 40);
        // The next attempt begins at once after a refusal; a slow address may still win.
        assert_eq!(dialled(&["1.0.0.1:2", "1.0.0.2:10"], None).await, (Ok("1.0.0.2:10".into()), 10));
        assert_eq!(dialled(&["1.0.0.1:300", "1.0.0.2:1"], None).await, (Ok("1.0.0.1:300".into()), 300));
        assert_eq!(dialled(&["1.0.0.1:5"], None).await, (Ok("1.0.0.1:5".into()), 5));
    }

    #[tokio::test(start_paused = true)]
    async fn all_failures_are_told() {
        assert_eq!(dialled(&["1.0.0.1:2"], None).await, (Err("connection refused".into()), 0));
        let (failed, _) = dialled(&["1.0.0.1:2", "[::1]:2"], None).await;
        assert_eq!(failed.unwrap_err(), "1.0.0.1:2: connection refused; [::1]:2: connection refused");
        assert!(dialled(&[], None).await.0.is_err());
    }
}
