//! Deadlines: how long each part of a call may take.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::coop::{has_budget_remaining, unconstrained};
use tokio::time::{Instant, Sleep, sleep_until};

use super::admission::{Admission, Rest};
use crate::error::{Error, Result};

/// How long each part of a call may take. `None`: as long as `total` allows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timeouts {
    /// To be connected, TLS included.
    pub connect: Option<Duration>,
    /// All waiting for admission: until the call may begin, where so many may be in flight, and until a connection is free,
    /// where so many may be open.
    pub queue: Option<Duration>,
    /// From the beginning of a try, connecting included and waiting for admission not, to the first byte of its answer or the first chunk of its stream.
    pub first_token: Option<Duration>,
    /// Between two pieces of an answer.
    pub idle: Option<Duration>,
    /// The whole call from its first admission on, repeats and pauses included, to the last byte.
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

/// A call's total deadline: one timer, however often it is looked at.
#[derive(Debug)]
pub struct Deadline {
    started: Instant,
    total: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    /// How often work was done at once, without a look at the timer.
    at_once: u8,
}

/// Work that is always done at once looks at the clock this often.
const LOOK: u8 = 16;

impl Deadline {
    /// A deadline that is `total` from now.
    pub fn start(total: Option<Duration>) -> Self {
        let started = Instant::now();
        // An instant too far away to be written down is no deadline.
        let timer = total.and_then(|total| started.checked_add(total)).map(|end| Box::pin(sleep_until(end)));
        Self { started, total, timer, at_once: 0 }
    }

    /// Start of the call.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Time since the start of the call.
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

    /// A try has been made: the time that the call waited for it is not its own, all that follows is.
    pub fn admit(&mut self, admission: &Admission) {
        admission.admit();
        if let Some(timer) = &mut self.timer
            && let Some(end) = (self.started + self.total.unwrap_or_default()).checked_add(admission.waited_first())
        {
            timer.as_mut().reset(end);
        }
    }

    /// Runs `work`, but not beyond the deadline; what the call waits in line before its first try does not count.
    ///
    /// Work that is always ready is asked first, and its timer never: it looks at the clock now and then.
    ///
    /// Pinned where it was made: an argument of an `async fn` is in its memory twice.
    pub async fn run<T>(
        &mut self,
        admission: &Admission,
        mut work: Pin<&mut impl Future<Output = Result<T>>>,
    ) -> Result<T> {
        let Some(timer) = &mut self.timer else { return work.await };
        let rest = || admission.rest_of_total(self.started + self.total.unwrap_or_default());
        let done = std::future::poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(done) => {
                self.at_once = (self.at_once + 1) % LOOK;
                let is_late = self.at_once == 0 && Instant::now() >= timer.deadline() && matches!(rest(), Rest::Over);
                Poll::Ready((!is_late).then_some(done))
            }
            Poll::Pending => poll_timer(timer.as_mut(), context, rest).map(|()| None),
        });
        done.await.unwrap_or_else(|| {
            let total = self.total.unwrap_or_default().as_secs_f64();
            Err(Error::timeout(format!("the call was not done within its total timeout of {total} s")))
        })
    }
}

/// Ready when a timer has passed and was not put off; `rest` says whether it was.
///
/// A task that has used up its turn is told by every timer that the time has not come (tokio's cooperative budget), though
/// it may never have a turn in which anything is left when the timer is asked.
fn poll_timer(mut timer: Pin<&mut Sleep>, context: &mut Context<'_>, rest: impl Fn() -> Rest) -> Poll<()> {
    loop {
        ready!(match has_budget_remaining() {
            true => timer.as_mut().poll(context),
            false => pin!(unconstrained(timer.as_mut())).poll(context),
        });
        match rest() {
            Rest::Over => return Poll::Ready(()),
            Rest::Until(end) => timer.as_mut().reset(end),
            // The end of the wait wakes the task.
            Rest::Waiting => return Poll::Pending,
        }
    }
}

/// Runs `work` for at most `limit`, without the time that it waits in line; `what` says in the error which limit that was.
pub(super) async fn within_own<T>(
    limit: Option<Duration>,
    admission: &Admission,
    what: &str,
    mut work: Pin<&mut impl Future<Output = Result<T>>>,
) -> Result<T> {
    let Some((limit, end)) = limit.and_then(|limit| Some((limit, Instant::now().checked_add(limit)?))) else {
        return work.await;
    };
    let before = admission.waited();
    // Boxed: most calls have no such limit, and should not carry the memory for its timer along.
    let mut timer = Box::pin(sleep_until(end));
    let done = std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => poll_timer(timer.as_mut(), context, || admission.rest_of_part(end, before)).map(|()| None),
    });
    done.await.unwrap_or_else(|| Err(passed(what, limit)))
}

fn passed(what: &str, limit: Duration) -> Box<Error> {
    Error::timeout(format!("{what} took more than its timeout of {} s", limit.as_secs_f64()))
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
        Err(_) => Err(passed(what, limit)),
    }
}
