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
    /// Time and amount of each admission, and the worker.
    entries: VecDeque<(Time, u64, usize)>,
    /// Number of entries that have left.
    gone: usize,
    sum: u64,
}

/// A pause, and who was told of it.
#[derive(Default)]
struct Pause {
    until: Time,
    told: Time,
    worker: usize,
}

/// Longest time until a member hears from the Redis what another one was told.
const HEARSAY: Duration = Duration::from_millis(1500);

/// The admissions of a quota.
#[derive(Default)]
pub struct Observer {
    windows: Vec<Window>,
    pub admitted: u64,
    pub refused: u64,
    /// Refusals and attempts while nothing but the limit itself was to be found.
    pub steady: (u64, u64),
    /// The longest pause that a provider asked for.
    pause: Pause,
    /// More than the limits that may be admitted until a time, as a part of them: members are cut off from the others.
    more: (f64, Time),
    /// Part of a limit that workers used that have died, and when.
    pub lost: Vec<(Time, f64)>,
    /// Members do not hear of each other until then.
    pub deaf_until: Time,
    pub in_flight: u32,
    /// True if its members share a Redis.
    pub is_remote: bool,
    /// Largest part of a limit that was in its window, and while more was allowed.
    pub most: [f64; 2],
    /// Number of calls that wait, and since when.
    waiting: usize,
    since: Time,
    begun: (u64, u64),
    /// Times of the admissions since then.
    sent: Vec<Time>,
    tokens: u64,
    /// Seconds of saturation, and what was used of the limit meanwhile: of all of it, and on average of the minutes, beginning at
    /// any time, that lie within it.
    pub saturated: f64,
    pub used: f64,
    pub used_of_minutes: f64,
    /// Limits, in requests and tokens a minute.
    pub limits: (f64, f64),
    /// Saturation counts from this time on: an outage was before.
    pub disturbed_until: Time,
}

impl Observer {
    pub fn new(
        requests: Option<u64>,
        tokens: Option<u64>,
        per_second: Option<u64>,
        limit: f64,
        is_remote: bool,
    ) -> Self {
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
            is_remote,
            limits: (limit, tokens.map_or(f64::MAX, |tokens| tokens as f64)),
            ..Self::default()
        }
    }

    /// Counts an admission, with the tokens that are reserved. Returns a number for [`correct`](Self::correct).
    pub fn admit(&mut self, now: Time, tokens: u64, worker: usize, place: (usize, usize)) -> usize {
        let Pause { until, told, worker: by } = self.pause;
        let has_heard = !self.is_remote || by == worker || now >= told.max(self.deaf_until) + HEARSAY;
        assert!(!has_heard || now + SHORTEST_WAY >= until, "{place:?}: sent at {now:?}, asked not to before {until:?}");
        let more = 1.0 + if now < self.more.1 { self.more.0 } else { 0.0 };
        let mut number = 0;
        for (index, window) in self.windows.iter_mut().enumerate() {
            while window.entries.front().is_some_and(|entry| entry.0 + window.period <= now) {
                window.sum -= window.entries.pop_front().map_or(0, |entry| entry.1);
                window.gone += 1;
            }
            let amount = if window.counts_tokens { tokens } else { 1 };
            window.entries.push_back((now, amount, worker));
            window.sum += amount;
            let part = window.sum as f64 / window.limit as f64;
            let most = &mut self.most[usize::from(more > 1.0)];
            *most = most.max(part);
            assert!(part <= more, "{place:?}: {} of {} in {:?} at {now:?}", window.sum, window.limit, window.period);
            if index == 0 {
                number = window.gone + window.entries.len() - 1;
            }
        }
        self.admitted += 1;
        if self.waiting > 0 && self.begun.0 != u64::MAX {
            self.sent.push(now);
        }
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

    /// Notes that a worker was asked for a pause.
    pub fn pause(&mut self, now: Time, worker: usize, until: Time) {
        if until > self.pause.until {
            self.pause = Pause { until, told: now, worker };
        }
        let calm = self.pause.until + Duration::from_secs(60);
        self.disturb(now, calm);
    }

    /// End of the longest pause.
    pub fn paused_until(&self) -> Time {
        self.pause.until
    }

    /// Allows a part more until a time.
    pub fn allow(&mut self, now: Time, more: f64, until: Time) {
        let before = if now < self.more.1 { self.more } else { (0.0, Time::ZERO) };
        self.more = (before.0 + more, before.1.max(until));
    }

    /// Returns the largest part of a limit that a worker has used of a window.
    pub fn used_by(&self, now: Time, worker: usize) -> f64 {
        let part = |window: &Window| {
            let its = window.entries.iter().filter(|entry| entry.2 == worker && entry.0 + window.period > now);
            its.map(|entry| entry.1).sum::<u64>() as f64 / window.limit as f64
        };
        self.windows.iter().map(part).fold(0.0, f64::max)
    }

    /// True if more than the limits may have been admitted lately.
    pub fn allows_more(&self, now: Time) -> bool {
        now < self.more.1
    }

    /// Notes that calls have begun or ceased to wait.
    pub fn waiting(&mut self, now: Time, change: isize) {
        let before = self.waiting;
        self.waiting = self.waiting.checked_add_signed(change).expect("as many leave the line as came");
        if before == 0 {
            self.since = now;
            self.begun = (self.admitted, self.tokens);
            self.sent.clear();
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
            let of_tokens = part(self.tokens.saturating_sub(self.begun.1), self.limits.1);
            self.saturated += seconds;
            self.used += of_tokens.max(part(self.admitted - self.begun.0, self.limits.0)) * seconds;
            // The first of them ends here. Each admission is in those that end within a minute.
            let first = self.since + MINUTE;
            let ends = |at: Time| now.min(at + MINUTE).saturating_sub(at.max(first)).as_secs_f64();
            let mean = self.sent.iter().map(|at| ends(*at)).sum::<f64>() / (seconds - 60.0);
            self.used_of_minutes += of_tokens.max(mean / self.limits.0) * seconds;
        }
    }
}
