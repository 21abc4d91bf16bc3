//! A caller's own time, while a call that it shares with others waits, begins and fails.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::Timeouts;
use crate::error::{Error, Result};

/// The admission of a shared call's first attempt.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Admitted {
    /// Time from which on it has waited; `None` if it has not.
    since: Option<Instant>,
    /// Time at which the attempt began.
    begun: Option<Instant>,
}

impl Admitted {
    /// Notes that an attempt waits. Returns true if that is news: later attempts wait within `total`.
    pub fn waits(&mut self, now: Instant) -> bool {
        let is_news = self.begun.is_none() && self.since.is_none();
        if is_news {
            self.since = Some(now);
        }
        is_news
    }

    /// Notes that an attempt begins. Returns true if it is the first and had waited.
    pub fn begins(&mut self, now: Instant) -> bool {
        let is_news = self.begun.is_none() && self.since.is_some();
        self.begun.get_or_insert(now);
        is_news
    }

    /// Time from which on the call waits, if it still does.
    fn waits_since(&self) -> Option<Instant> {
        self.since.filter(|_| self.begun.is_none())
    }

    /// Returns the time for which one who joined at `joined` has waited for the admission.
    pub fn waited(&self, joined: Instant, now: Instant) -> Duration {
        let end = self.begun.unwrap_or(now);
        self.since.map_or(Duration::ZERO, |since| end.saturating_duration_since(since.max(joined)))
    }
}

/// A caller's own time. As in a call of its own, waiting for the first attempt counts towards `queue`, all else towards `total`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    timeouts: Timeouts,
    started: Instant,
    /// Time at which the caller joined the call that it waits for now.
    joined: Instant,
    /// Time for which it has waited for the admission of earlier ones.
    waited: Duration,
}

impl Clock {
    /// Returns the clock of a caller who comes now.
    pub fn start(timeouts: Timeouts) -> Self {
        let now = Instant::now();
        Self { timeouts, started: now, joined: now, waited: Duration::ZERO }
    }

    /// Time since the caller came.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Notes that the call has failed that the caller waited for, and that it will join another.
    pub fn join_another(&mut self, admitted: Admitted) {
        let now = Instant::now();
        self.waited += admitted.waited(self.joined, now);
        self.joined = now;
    }

    /// Returns the end of `total`, for a call that waits no more.
    pub fn total_end(&self, admitted: Admitted) -> Option<Instant> {
        let waited = self.waited + admitted.waited(self.joined, Instant::now());
        self.started.checked_add(self.timeouts.total?)?.checked_add(waited)
    }

    /// Returns the time at which the caller gives up, as things are.
    pub fn end(&self, admitted: Admitted) -> Option<Instant> {
        match admitted.waits_since() {
            Some(since) => since.max(self.joined).checked_add(self.timeouts.queue?.saturating_sub(self.waited)),
            None => self.total_end(admitted),
        }
    }

    /// Returns an error if that time has passed.
    ///
    /// # Errors
    ///
    /// `Timeout`, with the code of the queue's if the call still waits.
    pub fn check(&self, admitted: Admitted) -> Result<()> {
        if self.end(admitted).is_none_or(|end| Instant::now() < end) {
            return Ok(());
        }
        let seconds = |timeout: Option<Duration>| timeout.unwrap_or_default().as_secs_f64();
        Err(match admitted.waits_since() {
            Some(_) => {
                let queue = seconds(self.timeouts.queue);
                Error::not_admitted(format!("the call was not admitted within its queue timeout of {queue} s"))
            }
            None => self.late(),
        })
    }

    /// Returns the error of a caller whose `total` has passed.
    pub fn late(&self) -> Box<Error> {
        let total = self.timeouts.total.unwrap_or_default().as_secs_f64();
        Error::timeout(format!("the call was not done within its total timeout of {total} s"))
    }

    /// Returns what is left of the timeouts, for a call that begins now.
    pub fn rest(&self) -> Timeouts {
        let counted = self.elapsed().saturating_sub(self.waited);
        Timeouts {
            total: self.timeouts.total.map(|total| total.saturating_sub(counted)),
            queue: self.timeouts.queue.map(|queue| queue.saturating_sub(self.waited)),
            ..self.timeouts
        }
    }
}
