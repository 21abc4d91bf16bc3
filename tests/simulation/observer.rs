//! What must hold of one quota, from what was sent and answered alone.

use std::collections::VecDeque;
use std::time::Duration;

use ritellm::limits::Time;

use super::provider::{MINUTE, SHORTEST_WAY};

/// A declared limit, and what is in its window.
struct Window {
    period: Duration,
    limit: u64,
    counts_tokens: bool,
    entries: VecDeque<(Time, u64)>,
    /// Number of entries that have left.
    gone: usize,
    sum: u64,
}

/// The admissions of a quota.
#[derive(Default)]
pub struct Observer {
    windows: Vec<Window>,
    pub admitted: u64,
    pub refused: u64,
    /// Refusals and attempts while nothing but the limit itself was to be found.
    pub steady: (u64, u64),
    /// No request before this time: a provider asked for it.
    pub paused_until: Time,
    pub in_flight: u32,
    /// Number of calls that wait, and since when.
    waiting: usize,
    since: Time,
    begun: (u64, u64),
    tokens: u64,
    /// Seconds of saturation, and what was used of the limit meanwhile.
    pub saturated: f64,
    pub used: f64,
    /// Limits, in requests and tokens a minute.
    pub limits: (f64, f64),
    /// Saturation counts from this time on: an outage was before.
    pub disturbed_until: Time,
}

impl Observer {
    pub fn new(requests: Option<u64>, tokens: Option<u64>, per_second: Option<u64>, limit: f64) -> Self {
        let window = |period, limit: Option<u64>, counts_tokens| {
            Some(Window { period, limit: limit?, counts_tokens, entries: VecDeque::new(), gone: 0, sum: 0 })
        };
        let windows = [
            window(MINUTE, tokens, true),
            window(MINUTE, requests, false),
            window(Duration::from_secs(1), per_second, false),
        ];
        Self {
            windows: windows.into_iter().flatten().collect(),
            limits: (limit, tokens.map_or(f64::MAX, |tokens| tokens as f64)),
            ..Self::default()
        }
    }

    /// Counts an admission, with the tokens that are reserved. Returns a number for [`correct`](Self::correct).
    pub fn admit(&mut self, now: Time, tokens: u64, who: &str) -> usize {
        assert!(
            now + SHORTEST_WAY >= self.paused_until,
            "{who}: sent at {now:?}, asked not to before {:?}",
            self.paused_until
        );
        let mut number = 0;
        for (index, window) in self.windows.iter_mut().enumerate() {
            while window.entries.front().is_some_and(|entry| entry.0 + window.period <= now) {
                window.sum -= window.entries.pop_front().map_or(0, |entry| entry.1);
                window.gone += 1;
            }
            let amount = if window.counts_tokens { tokens } else { 1 };
            window.entries.push_back((now, amount));
            window.sum += amount;
            assert!(window.sum <= window.limit, "{who}: {} of {} in {:?}", window.sum, window.limit, window.period);
            if index == 0 {
                number = window.gone + window.entries.len() - 1;
            }
        }
        self.admitted += 1;
        self.tokens += tokens;
        self.in_flight += 1;
        number
    }

    /// Sets what a request turned out to use.
    pub fn correct(&mut self, number: usize, reserved: u64, used: u64) {
        assert!(used <= reserved);
        self.tokens -= reserved - used;
        if let Some(window) = self.windows.first_mut().filter(|window| window.counts_tokens)
            && let Some(entry) = number.checked_sub(window.gone).and_then(|index| window.entries.get_mut(index))
        {
            window.sum -= entry.1 - used;
            entry.1 = used;
        }
    }

    /// Notes that calls have begun or ceased to wait.
    pub fn waiting(&mut self, now: Time, change: isize) {
        let before = self.waiting;
        self.waiting = self.waiting.checked_add_signed(change).expect("as many leave the line as came");
        if before == 0 {
            self.since = now;
            self.begun = (self.admitted, self.tokens);
            if now < self.disturbed_until {
                self.begun = (u64::MAX, u64::MAX);
            }
        } else if self.waiting == 0 {
            self.end_of_saturation(now);
        }
    }

    /// Ends what was counted as saturated, because of an outage or a change.
    pub fn disturb(&mut self, now: Time, until: Time) {
        if self.waiting > 0 {
            self.end_of_saturation(now);
        }
        self.disturbed_until = self.disturbed_until.max(until);
        self.since = self.since.max(self.disturbed_until);
        self.begun = (u64::MAX, u64::MAX);
    }

    fn end_of_saturation(&mut self, now: Time) {
        let seconds = now.saturating_sub(self.since).as_secs_f64();
        if seconds >= 180.0 && self.begun.0 != u64::MAX {
            let part = |used: u64, limit: f64| used as f64 / (limit * seconds / 60.0);
            let used = part(self.admitted - self.begun.0, self.limits.0)
                .max(part(self.tokens.saturating_sub(self.begun.1), self.limits.1));
            self.saturated += seconds;
            self.used += used * seconds;
        }
    }
}
