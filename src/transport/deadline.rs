//! Deadlines and timeouts of calls.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::coop::{has_budget_remaining, unconstrained};
use tokio::time::{Instant, Sleep, sleep_until};

use super::admission::{Admission, DeadlineState};
use crate::error::{Error, Result};

/// Timeouts of the parts of a call. A part whose timeout is `None` is limited by `total` only.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timeouts {
    /// Connecting, TLS included.
    pub connect: Option<Duration>,
    /// All waiting for admission: for the call to begin if `max_in_flight` is reached, and for a connection if
    /// `max_connections` is reached.
    pub queue: Option<Duration>,
    /// Time from the beginning of an attempt to the first byte of its response or the first chunk of its stream,
    /// including connecting but not waiting for admission.
    pub first_token: Option<Duration>,
    /// Time between two pieces of a response.
    pub idle: Option<Duration>,
    /// Time from the first admission of the call to the last byte of the response, including retries and the pauses
    /// between them.
    pub total: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Some(Duration::from_secs(10)),
            queue: None,
            first_token: None,
            idle: None,
            total: Some(Duration::from_secs(600)),
        }
    }
}

/// Total deadline of a call, with one timer for all its parts.
#[derive(Debug)]
pub struct Deadline {
    started: Instant,
    total: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Number of times that work was ready at once, without a check of the timer.
    ready_count: u8,
}

/// Number of polls after which the clock is checked, for work that is always ready.
const CLOCK_CHECK_INTERVAL: u8 = 16;

impl Deadline {
    /// Starts a deadline that passes `total` from now.
    pub fn start(total: Option<Duration>) -> Self {
        let started = Instant::now();
        // If the time cannot be represented, there is no deadline.
        let timer = total.and_then(|total| started.checked_add(total)).map(|end| Box::pin(sleep_until(end)));
        Self { started, total, timer, ready_count: 0 }
    }

    /// Start of the call.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Time since the start of the call.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns the time at which the deadline passes, if there is one.
    pub fn end(&self) -> Option<Instant> {
        self.timer.as_ref().map(|timer| timer.deadline())
    }

    /// Returns the time left, if there is a deadline.
    pub fn remaining(&self) -> Option<Duration> {
        self.end().map(|end| end.saturating_duration_since(Instant::now()))
    }

    /// Moves the deadline to `end`. Time that the call may wait for its first admission from now on postpones it.
    pub fn set_end(&mut self, end: Option<Instant>, admission: &Admission) {
        let waited = admission.waited_first();
        self.total = end.map(|end| end.saturating_duration_since(self.started).saturating_sub(waited));
        match (&mut self.timer, end) {
            (Some(timer), Some(end)) => timer.as_mut().reset(end),
            (timer, end) => *timer = end.map(|end| Box::pin(sleep_until(end))),
        }
    }

    /// Marks the first attempt: time that the call waited before it does not count, all later time does.
    pub fn admit(&mut self, admission: &Admission) {
        admission.admit();
        if let Some(timer) = &mut self.timer
            && let Some(end) = (self.started + self.total.unwrap_or_default()).checked_add(admission.waited_first())
        {
            timer.as_mut().reset(end);
        }
    }

    /// Runs `work` until the deadline. Time that the call waits for admission before its first attempt does not count.
    ///
    /// Work is polled before the timer. Work that is always ready never polls the timer, so the clock is checked at
    /// intervals.
    ///
    /// The future is pinned by the caller, since an argument of an `async fn` occupies its memory twice.
    ///
    /// # Errors
    ///
    /// Returns the error of `work`, or a `Timeout` error if the deadline passes.
    pub async fn run<T>(
        &mut self,
        admission: &Admission,
        mut work: Pin<&mut impl Future<Output = Result<T>>>,
    ) -> Result<T> {
        let Some(timer) = &mut self.timer else { return work.await };
        let state = || admission.total_state(self.started + self.total.unwrap_or_default());
        let done = std::future::poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(done) => {
                self.ready_count = (self.ready_count + 1) % CLOCK_CHECK_INTERVAL;
                let is_late = self.ready_count == 0
                    && Instant::now() >= timer.deadline()
                    && matches!(state(), DeadlineState::Passed);
                Poll::Ready((!is_late).then_some(done))
            }
            Poll::Pending => poll_timer(timer.as_mut(), context, state).map(|()| None),
        });
        done.await.unwrap_or_else(|| {
            let total = self.total.unwrap_or_default().as_secs_f64();
            Err(Error::timeout(format!("the call was not done within its total timeout of {total} s")))
        })
    }
}

/// Polls a timer; ready once it has fired and `state` reports the deadline as passed.
///
/// When a task has used up tokio's cooperative budget, every timer reports that it is pending, and a busy task may
/// never have any budget left when it polls the timer. So the timer is then polled without the budget.
fn poll_timer(mut timer: Pin<&mut Sleep>, context: &mut Context<'_>, state: impl Fn() -> DeadlineState) -> Poll<()> {
    loop {
        ready!(match has_budget_remaining() {
            true => timer.as_mut().poll(context),
            false => pin!(unconstrained(timer.as_mut())).poll(context),
        });
        match state() {
            DeadlineState::Passed => return Poll::Ready(()),
            DeadlineState::Postponed(end) => timer.as_mut().reset(end),
            // The task is woken when the call is admitted.
            DeadlineState::Suspended => return Poll::Pending,
        }
    }
}

/// Runs `work` for at most `limit`, not counting the time that it waits for admission; `what` names the limit in the
/// error.
///
/// # Errors
///
/// Returns the error of `work`, or a `Timeout` error if the limit passes.
pub(super) async fn within_excluding_queue<T>(
    limit: Option<Duration>,
    admission: &Admission,
    what: &str,
    mut work: Pin<&mut impl Future<Output = Result<T>>>,
) -> Result<T> {
    let Some((limit, end)) = limit.and_then(|limit| Some((limit, Instant::now().checked_add(limit)?))) else {
        return work.await;
    };
    let before = admission.waited();
    // Boxed, so that calls without this limit do not carry the memory of its timer.
    let mut timer = Box::pin(sleep_until(end));
    let done = std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => poll_timer(timer.as_mut(), context, || admission.part_state(end, before)).map(|()| None),
    });
    done.await.unwrap_or_else(|| Err(passed(what, limit)))
}

fn passed(what: &str, limit: Duration) -> Box<Error> {
    Error::timeout(format!("{what} took more than its timeout of {} s", limit.as_secs_f64()))
}

/// Runs `work` for at most `limit`; `what` names the limit in the error.
///
/// # Errors
///
/// Returns the error of `work`, or a `Timeout` error if the limit passes.
pub async fn within<T>(
    limit: Option<Duration>,
    what: &str,
    work: Pin<&mut impl Future<Output = Result<T>>>,
) -> Result<T> {
    within_rest(limit, Duration::ZERO, what, work).await
}

/// Runs `work` for what is left of `limit` after `spent`; `what` names the limit in the error.
///
/// # Errors
///
/// Returns the error of `work`, or a `Timeout` error if the limit passes.
pub async fn within_rest<T>(
    limit: Option<Duration>,
    spent: Duration,
    what: &str,
    work: Pin<&mut impl Future<Output = Result<T>>>,
) -> Result<T> {
    let Some(limit) = limit else { return work.await };
    // Boxed, so that calls without this limit do not carry the memory of its timer.
    match Box::pin(tokio::time::timeout(limit.saturating_sub(spent), work)).await {
        Ok(done) => done,
        Err(_) => Err(passed(what, limit)),
    }
}
