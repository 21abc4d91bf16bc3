//! Deadlines: how long each part of a call may take.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::error::{Error, Result};

/// How long each part of a call may take. `None`: as long as `total` allows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timeouts {
    /// To be connected, TLS included.
    pub connect: Option<Duration>,
    /// Until a connection is free, where their number is limited and all are in use.
    pub pool: Option<Duration>,
    /// From the beginning of a try, connecting included, to the first byte of its answer or the first chunk of its stream.
    pub first_token: Option<Duration>,
    /// Between two pieces of an answer.
    pub idle: Option<Duration>,
    /// The whole call, repeats and pauses included, to the last byte.
    pub total: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Some(Duration::from_secs(10)),
            pool: None,
            first_token: None,
            idle: None,
            total: Some(Duration::from_secs(600)),
        }
    }
}

/// A call's total deadline: one timer, however often it is looked at.
#[derive(Debug)]
pub struct Deadline {
    started: Instant,
    total: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// A deadline that is `total` from now.
    pub fn start(total: Option<Duration>) -> Self {
        let started = Instant::now();
        // An instant too far away to be written down is no deadline.
        let timer = total.and_then(|total| started.checked_add(total)).map(|end| Box::pin(sleep_until(end)));
        Self { started, total, timer }
    }

    /// Since the call began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// When it ends; `None` when there is no end.
    pub fn end(&self) -> Option<Instant> {
        self.timer.as_ref().map(|timer| timer.deadline())
    }

    /// What is left of it; `None` when there is no end.
    pub fn remaining(&self) -> Option<Duration> {
        self.end().map(|end| end.saturating_duration_since(Instant::now()))
    }

    /// Runs `work`, but not beyond the deadline.
    ///
    /// Pinned where it was made: an argument of an `async fn` is in its memory twice.
    pub async fn run<T>(&mut self, mut work: Pin<&mut impl Future<Output = Result<T>>>) -> Result<T> {
        let Some(timer) = &mut self.timer else { return work.await };
        let done = std::future::poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => timer.as_mut().poll(context).map(|()| None),
        });
        done.await.unwrap_or_else(|| {
            let total = self.total.unwrap_or_default().as_secs_f64();
            Err(Error::timeout(format!("the call was not done within its total timeout of {total} s")))
        })
    }
}

/// Runs `work` for at most `limit`; `what` says in the error which limit that was.
pub async fn within<T>(
    limit: Option<Duration>,
    what: &str,
    work: Pin<&mut impl Future<Output = Result<T>>>,
) -> Result<T> {
    within_rest(limit, Duration::ZERO, what, work).await
}

/// The same, for a limit of which some was `spent` before.
pub async fn within_rest<T>(
    limit: Option<Duration>,
    spent: Duration,
    what: &str,
    work: Pin<&mut impl Future<Output = Result<T>>>,
) -> Result<T> {
    let Some(limit) = limit else { return work.await };
    // Boxed: most calls have no such limit, and should not carry the memory for its timer along.
    match Box::pin(tokio::time::timeout(limit.saturating_sub(spent), work)).await {
        Ok(done) => done,
        Err(_) => Err(Error::timeout(format!("{what} took more than its timeout of {} s", limit.as_secs_f64()))),
    }
}
