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
    entries: VecDeque<Entry>,
    /// Number of entries that have left.
    gone: usize,
    sum: u64,
    /// Part of the sum that the others cannot know.
    unknown: u64,
}

/// An admission.
struct Entry {
    at: Time,
    amount: u64,
    worker: usize,
    sender: Sender,
}

/// Process that made an admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sender {
    Alive,
    /// It has died. The Redis may know of the admission, nobody else does.
    Dead,
    /// It has died, and the Redis has not heard of the admission, or has lost it.
    Forgotten,
    /// It had not heard of the Redis, or of the others, and keeps to its part of the limit.
    Alone,
}

impl Sender {
    fn is_unknown(self) -> bool {
        matches!(self, Self::Forgotten | Self::Alone)
    }
}

impl Window {
    fn expire(&mut self, now: Time) {
        while self.entries.front().is_some_and(|entry| entry.at + self.period <= now) {
            let Some(Entry { amount, sender, .. }) = self.entries.pop_front() else { return };
            self.sum -= amount;
            self.unknown -= if sender.is_unknown() { amount } else { 0 };
            self.gone += 1;
        }
    }

    /// Changes who is taken to have made the admissions that `is_meant` chooses.
    fn mark(&mut self, is_meant: impl Fn(&Entry) -> bool, sender: Sender) {
        for entry in self.entries.iter_mut().filter(|entry| !entry.sender.is_unknown() && is_meant(entry)) {
            entry.sender = sender;
            self.unknown += if sender.is_unknown() { entry.amount } else { 0 };
        }
    }
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
    /// Times of the admissions since then, and in the minute before.
    sent: VecDeque<Time>,
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
            let (limit, entries) = (limit?, VecDeque::new());
            Some(Window { period, limit, counts_tokens, entries, gone: 0, sum: 0, unknown: 0 })
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

    /// Counts an admission, with the tokens that are reserved. `part` is the part of each limit that the worker keeps to by itself
    /// if it never heard of the others. Returns a number for [`correct`](Self::correct).
    pub fn admit(&mut self, now: Time, tokens: u64, worker: usize, part: Option<f64>, place: (usize, usize)) -> usize {
        let Pause { until, told, worker: by } = self.pause;
        let has_heard = !self.is_remote || by == worker || now >= told.max(self.deaf_until) + HEARSAY;
        assert!(!has_heard || now + SHORTEST_WAY >= until, "{place:?}: sent at {now:?}, asked not to before {until:?}");
        let more = 1.0 + if now < self.more.1 { self.more.0 } else { 0.0 };
        let mut number = 0;
        for (index, window) in self.windows.iter_mut().enumerate() {
            window.expire(now);
            let amount = if window.counts_tokens { tokens } else { 1 };
            let sender = if part.is_some() { Sender::Alone } else { Sender::Alive };
            window.entries.push_back(Entry { at: now, amount, worker, sender });
            window.sum += amount;
            if let Some(part) = part {
                window.unknown += amount;
                let is_its = |entry: &&Entry| (entry.worker, entry.sender) == (worker, Sender::Alone);
                let its = window.entries.iter().filter(is_its).map(|entry| entry.amount).sum::<u64>();
                // What is larger than its part is sent alone.
                let most = ((window.limit as f64 * part) as u64).max(amount);
                assert!(its <= most, "{place:?}: {its} of {} in {:?} by {worker}", window.limit, window.period);
                // All of them together keep to the limit, also where a part is less than a request. Of tokens, what is larger
                // than a part is sent all the same.
                let are_alone = window.entries.iter().filter(|entry| entry.sender == Sender::Alone);
                let all = are_alone.map(|entry| entry.amount).sum::<u64>();
                assert!(
                    window.counts_tokens || all <= window.limit,
                    "{place:?}: {all} of {} in {:?} by all who are alone",
                    window.limit,
                    window.period
                );
            }
            let (Window { sum, unknown, limit, period, .. }, known) = (&*window, window.sum - window.unknown);
            let most = &mut self.most[usize::from(more > 1.0 || *unknown > 0)];
            *most = most.max(*sum as f64 / *limit as f64);
            assert!(
                known as f64 <= more * *limit as f64,
                "{place:?}: {sum}, of them {unknown} unknown, of {limit} in {period:?} at {now:?}"
            );
            if index == 0 {
                number = window.gone + window.entries.len() - 1;
            }
        }
        self.resume(now);
        self.admitted += 1;
        if self.waiting == 0 || self.begun.0 == u64::MAX {
            self.forget_sent(now);
        }
        self.sent.push_back(now);
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
            window.sum -= entry.amount - used;
            window.unknown -= if entry.sender.is_unknown() { entry.amount - used } else { 0 };
            entry.amount = used;
        }
    }

    /// Notes that a worker was asked for a pause.
    pub fn pause(&mut self, now: Time, worker: usize, until: Time) {
        if until > self.pause.until {
            self.pause = Pause { until, told: now, worker };
        }
        // Where a limit is learnt, its refusals are what is measured.
        if !self.windows.is_empty() {
            let calm = self.pause.until + Duration::from_secs(60);
            self.disturb(now, calm);
        }
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

    /// Notes that a worker has died; `is_known` says that the Redis knows what it used.
    pub fn died(&mut self, worker: usize, is_known: bool) {
        let sender = if is_known { Sender::Dead } else { Sender::Forgotten };
        self.windows.iter_mut().for_each(|window| window.mark(|entry| entry.worker == worker, sender));
    }

    /// Notes that the Redis has lost what it knew.
    pub fn forget(&mut self) {
        self.windows.iter_mut().for_each(|window| window.mark(|entry| entry.sender == Sender::Dead, Sender::Forgotten));
    }

    /// True if more than the limits may have been admitted lately.
    pub fn allows_more(&self, now: Time) -> bool {
        now < self.more.1 || self.windows.iter().any(|window| window.unknown > 0)
    }

    /// Notes that calls have begun or ceased to wait.
    pub fn waiting(&mut self, now: Time, change: isize) {
        self.resume(now);
        let before = self.waiting;
        self.waiting = self.waiting.checked_add_signed(change).expect("as many leave the line as came");
        if before == 0 {
            self.since = now;
            self.begun = (self.admitted, self.tokens);
            self.forget_sent(now);
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

    /// Counts calls that still wait when the disturbance is over.
    fn resume(&mut self, now: Time) {
        if self.waiting > 0 && self.begun.0 == u64::MAX && now >= self.disturbed_until {
            (self.since, self.begun) = (now, (self.admitted, self.tokens));
            self.forget_sent(now);
        }
    }

    /// Forgets the admissions that have left the window of a minute.
    fn forget_sent(&mut self, now: Time) {
        while self.sent.front().is_some_and(|at| *at + MINUTE <= now) {
            self.sent.pop_front();
        }
    }

    fn end_of_saturation(&mut self, now: Time) {
        let seconds = now.saturating_sub(self.since).as_secs_f64();
        if seconds >= 180.0 && self.begun.0 != u64::MAX {
            let part = |used: u64, limit: f64| used as f64 / (limit * seconds / 60.0);
            let of_tokens = part(self.tokens.saturating_sub(self.begun.1), self.limits.1);
            self.saturated += seconds;
            // Each admission is in the minutes that end within a minute of it.
            let mean = |first: Time| {
                let ends = |at: &Time| now.min(*at + MINUTE).saturating_sub((*at).max(first)).as_secs_f64();
                self.sent.iter().map(ends).sum::<f64>() / now.saturating_sub(first).as_secs_f64() / self.limits.0
            };
            // What was admitted in it lacks what still counts of the minute before, which may be a whole limit; the average of the
            // minutes that end in it has the minute before, in which nobody may have asked.
            let of_all = part(self.admitted - self.begun.0, self.limits.0).max(mean(self.since));
            self.used += of_tokens.max(of_all) * seconds;
            self.used_of_minutes += of_tokens.max(mean(self.since + MINUTE)) * seconds;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what happens if as much is admitted as the others cannot know of, and so much more.
    fn admit_after_a_death(more: u64) -> Observer {
        let mut observer = Observer::new(Some(10), None, Some(2), 10.0, true);
        let mut now = MINUTE;
        let mut admit = |observer: &mut Observer, worker, part| {
            now += Duration::from_millis(500);
            observer.admit(now, 0, worker, part, (0, 0));
        };
        (0..4).for_each(|_| admit(&mut observer, 0, None));
        (0..3).for_each(|_| admit(&mut observer, 1, None));
        observer.died(0, true);
        observer.forget();
        admit(&mut observer, 2, Some(0.1));
        (0..more).for_each(|_| admit(&mut observer, 1, None));
        observer
    }

    #[test]
    fn what_nobody_can_know_of_may_be_used_again() {
        let observer = admit_after_a_death(7);
        assert_eq!(observer.most, [1.0, 1.5], "7 and 7, of which 4 are forgotten, and one alone");
    }

    #[test]
    #[should_panic(expected = "16, of them 5 unknown, of 10 in 60s")]
    fn no_more_than_that() {
        admit_after_a_death(8);
    }

    #[test]
    fn calls_that_wait_for_longer_than_an_outage_count_after_it() {
        let mut observer = Observer::new(Some(6), None, None, 6.0, false);
        observer.waiting(MINUTE, 1);
        observer.disturb(MINUTE * 2, MINUTE * 3);
        (60..=480).step_by(10).for_each(|at| _ = observer.admit(Duration::from_secs(at), 0, 0, None, (0, 0)));
        observer.waiting(MINUTE * 8, -1);
        assert_eq!((observer.saturated, observer.used.round(), observer.used_of_minutes), (300.0, 310.0, 300.0));
    }

    #[test]
    fn what_was_admitted_before_a_saturation_and_counts_in_it_is_used() {
        let mut observer = Observer::new(Some(6), None, None, 6.0, false);
        for minute in 1..=4 {
            (0..6).for_each(|_| _ = observer.admit(MINUTE * minute, 0, 0, None, (0, 0)));
            if minute == 1 {
                observer.waiting(MINUTE + Duration::from_secs(1), 1);
            }
        }
        observer.waiting(MINUTE * 5 - Duration::from_secs(1), -1);
        assert_eq!((observer.saturated, observer.used, observer.used_of_minutes), (238.0, 238.0, 238.0));
    }

    #[test]
    #[should_panic(expected = "2 of 10 in 60s by 2")]
    fn who_is_alone_keeps_to_its_part() {
        let mut observer = admit_after_a_death(0);
        observer.admit(MINUTE * 3 / 2, 0, 2, Some(0.1), (0, 0));
    }

    #[test]
    #[should_panic(expected = "4 of 3 in 60s by all who are alone")]
    fn all_who_are_alone_keep_to_the_limit() {
        let mut observer = Observer::new(Some(3), None, None, 3.0, true);
        (0..4).for_each(|worker| _ = observer.admit(MINUTE, 0, worker, Some(0.05), (0, 0)));
    }
}
