//! One limit of a window of time: a sliding log of what was admitted, and a bucket that smooths it.

use bytemuck::{Pod, Zeroable};

use super::nanoseconds;
use crate::types::rate_limit::{Reset, Unit, WindowSignal};

/// Number of entries of a log. Up to this limit each admission has its own entry, and the log is exact; above it an entry
/// stands for 1/127 of the window, and all of it counts until its newest admission leaves the window.
const ENTRIES: usize = 128;

/// Part of a limit at which the bucket is refilled if the log is not exact. The log alone would admit a whole limit at once
/// after each window. It counts up to 1/127 too much, so that with less than 99 % it rarely blocks in a steady state.
const RATE: f64 = 0.99;

/// Windows longer than this are not smoothed: limits of a day are counted by providers, not saved up.
const LONGEST_SMOOTHED: u64 = 3_600_000_000_000;

/// Part of the length by which a window is longer here than at the provider, and its maximum in nanoseconds. Requests whose
/// way takes 1.2 s more or less than that of others exceed no limit of a minute.
const ROOM: u64 = 50;
const LONGEST_ROOM: u64 = 2_000_000_000;

/// Time by which an admission may be early, in nanoseconds, so that timers that fire late cost no throughput.
const SLACK: u64 = 20_000_000;

/// What was admitted from shortly before `newest` until `newest`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Entry {
    newest: u64,
    amount: u64,
}

/// A window with a limit. Times are in nanoseconds on the store's clock. All zero is a window without limit.
///
/// The bytes may come from shared memory: whatever they are, no method panics.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct Window {
    /// Length of the window.
    period: u64,
    /// The declared limit.
    declared: u64,
    /// The limit that the provider told, 0 if it told none.
    told: u64,
    /// 1 + the index of the dimension in [`UNITS`].
    unit: u32,
    /// Position of the oldest entry, and the number of entries.
    oldest: u32,
    len: u32,
    _unused: u32,
    /// Sum of the entries.
    sum: u64,
    /// Time of the oldest admission in the newest entry.
    opened: u64,
    /// Time at which the bucket is full again.
    full_at: u64,
    /// What others use, from `others_from` falling steadily to nothing at `others_until`.
    others: u64,
    others_from: u64,
    others_until: u64,
    entries: [Entry; ENTRIES],
}

const UNITS: [Unit; 4] = [Unit::Requests, Unit::Tokens, Unit::InputTokens, Unit::OutputTokens];

impl Window {
    /// Makes this the window of a declared limit. What was logged stays if it was the same window.
    pub(super) fn declare(&mut self, unit: Unit, period: u64, limit: u64) {
        let code = UNITS.iter().position(|other| *other == unit).map_or(0, |index| index as u32 + 1);
        if self.unit != code || self.period != period {
            *self = Self { unit: code, period, ..Self::zeroed() };
        }
        self.declared = limit;
    }

    pub(super) fn unit(&self) -> Option<Unit> {
        UNITS.get((self.unit as usize).checked_sub(1)?).copied()
    }

    /// True if this is the window of this dimension and length.
    pub(super) fn is_of(&self, unit: Unit, period: u64) -> bool {
        self.unit() == Some(unit) && self.period == period
    }

    pub(super) fn declared(&self) -> u64 {
        self.declared
    }

    pub(super) fn period(&self) -> u64 {
        self.period
    }

    pub(super) fn limit(&self) -> u64 {
        if self.told > 0 { self.declared.min(self.told) } else { self.declared }
    }

    /// Returns the sum of what was admitted in the window, as of the last call of `expire`.
    pub(super) fn used(&self) -> u64 {
        self.sum
    }

    /// Returns what others use of the limit.
    pub(super) fn others(&self, now: u64) -> u64 {
        if self.others == 0 || now >= self.others_until {
            return 0;
        }
        if now <= self.others_from {
            return self.others;
        }
        let left = (self.others_until - now) as f64 / (self.others_until - self.others_from) as f64;
        (self.others as f64 * left).ceil() as u64
    }

    /// Length of time for which an admission counts.
    fn span(&self) -> u64 {
        self.period.saturating_add((self.period / ROOM).min(LONGEST_ROOM))
    }

    fn at(&mut self, index: u32) -> &mut Entry {
        &mut self.entries[self.oldest.wrapping_add(index) as usize % ENTRIES]
    }

    /// Removes what has left the window.
    pub(super) fn expire(&mut self, now: u64) {
        let span = self.span();
        self.len = self.len.min(ENTRIES as u32);
        while self.len > 0 {
            let entry = *self.at(0);
            if entry.newest.saturating_add(span) > now {
                return;
            }
            self.sum = self.sum.saturating_sub(entry.amount);
            self.oldest = self.oldest.wrapping_add(1) % ENTRIES as u32;
            self.len -= 1;
        }
        self.sum = 0;
    }

    /// Returns the time from which `amount` may be admitted, `now` if that is now. An amount above the limit may be admitted
    /// when the window is empty. `expire` comes first.
    pub(super) fn earliest(&self, now: u64, amount: u64, burst: f64) -> u64 {
        if amount == 0 {
            return now;
        }
        let amount = amount.min(self.limit());
        self.earliest_by_log(now, amount).max(self.earliest_by_bucket(now, burst))
    }

    fn earliest_by_log(&self, now: u64, amount: u64) -> u64 {
        let room = self.limit() - amount;
        let (mut used, mut time) = (self.sum, now);
        if used.saturating_add(self.others(now)) <= room {
            return now;
        }
        let span = self.span();
        let mut index = 0;
        loop {
            let entry = self.entries[self.oldest.wrapping_add(index) as usize % ENTRIES];
            let is_last = index >= self.len.min(ENTRIES as u32);
            let expiry = if is_last { u64::MAX } else { entry.newest.saturating_add(span) };
            if let Some(room) = room.checked_sub(used) {
                let fits = time.max(self.others_at_most(room));
                if fits <= expiry {
                    return fits;
                }
            }
            if is_last {
                return time;
            }
            used = used.saturating_sub(entry.amount);
            time = time.max(expiry);
            index += 1;
        }
    }

    /// Returns the time at which others use at most `room`.
    fn others_at_most(&self, room: u64) -> u64 {
        if self.others <= room {
            return 0;
        }
        let length = self.others_until.saturating_sub(self.others_from) as f64;
        let after = (length * (1.0 - room as f64 / self.others as f64)).ceil() as u64;
        self.others_from.saturating_add(after).min(self.others_until)
    }

    fn is_smoothed(&self, burst: f64) -> bool {
        burst < 1.0 && self.period <= LONGEST_SMOOTHED
    }

    /// Part of the limit at which the bucket is refilled.
    fn rate(&self) -> f64 {
        if self.limit() <= ENTRIES as u64 { 1.0 } else { RATE }
    }

    /// Time in which the bucket is refilled by `amount`.
    fn refill(&self, amount: u64) -> u64 {
        (self.span() as f64 * amount as f64 / (self.limit() as f64 * self.rate())) as u64
    }

    fn earliest_by_bucket(&self, now: u64, burst: f64) -> u64 {
        if self.full_at <= now || !self.is_smoothed(burst) {
            return now;
        }
        // The debt before this request counts, so that one larger than the burst needs an empty bucket and no more.
        let burst = (self.span() as f64 / self.rate() * burst) as u64;
        now.max(self.full_at.saturating_sub(burst.max(SLACK.min(self.period / ROOM))))
    }

    /// Logs an admission. `now` is at least the time of the last one.
    pub(super) fn take(&mut self, now: u64, amount: u64) {
        if amount == 0 {
            return;
        }
        let amount = amount.min(self.limit());
        self.sum = self.sum.saturating_add(amount);
        self.full_at = self.full_at.max(now).saturating_add(self.refill(amount));
        let step = if self.limit() <= ENTRIES as u64 { 0 } else { self.span() / (ENTRIES as u64 - 1) + 1 };
        if self.len > 0 {
            let (opened, is_full) = (self.opened, self.len >= ENTRIES as u32);
            let last = self.len - 1;
            let newest = self.at(last);
            if newest.newest >= now || opened.saturating_add(step) > now || is_full {
                newest.newest = newest.newest.max(now);
                newest.amount = newest.amount.saturating_add(amount);
                return;
            }
        }
        let end = self.len;
        *self.at(end) = Entry { newest: now, amount };
        self.opened = now;
        self.len += 1;
    }

    /// Corrects what was logged at the time `at`: `to` in place of `from`. What has left the window stays as it was.
    pub(super) fn correct(&mut self, now: u64, at: u64, from: u64, to: u64) {
        let from = from.min(self.limit());
        if from == to || at.saturating_add(self.span()) <= now {
            return;
        }
        let (mut low, mut high) = (0, self.len.min(ENTRIES as u32));
        while low < high {
            let middle = (low + high) / 2;
            if self.at(middle).newest < at { low = middle + 1 } else { high = middle }
        }
        if low >= self.len.min(ENTRIES as u32) {
            return;
        }
        let entry = self.at(low);
        if to > from {
            entry.amount = entry.amount.saturating_add(to - from);
            self.sum = self.sum.saturating_add(to - from);
            // A single call holds up the bucket for no longer than a window.
            let latest = now.saturating_add(self.span()).max(self.full_at);
            self.full_at = self.full_at.saturating_add(self.refill(to - from)).min(latest);
        } else {
            let credit = (from - to).min(entry.amount);
            entry.amount -= credit;
            self.sum = self.sum.saturating_sub(credit);
            self.full_at = self.full_at.saturating_sub(self.refill(credit));
        }
    }

    /// Empties the bucket's debt to that of a full burst, after the burst was made smaller.
    pub(super) fn limit_debt(&mut self, now: u64, burst: f64) {
        self.full_at = self.full_at.min(now.saturating_add((self.span() as f64 / self.rate() * burst) as u64));
    }

    /// Makes the sum that of the entries, and moves times that lie further ahead than a valid state has them: a member may have
    /// died in the middle of a change, or the bytes are damaged.
    pub(super) fn repair(&mut self, now: u64) {
        if self.unit().is_none() {
            *self = Self::zeroed();
        }
        self.oldest %= ENTRIES as u32;
        self.len = self.len.min(ENTRIES as u32);
        self.sum = 0;
        for index in 0..self.len {
            let entry = self.at(index);
            entry.newest = entry.newest.min(now);
            let amount = entry.amount;
            self.sum = self.sum.saturating_add(amount);
        }
        let longest = now.saturating_add(self.span());
        self.opened = self.opened.min(now);
        self.others_until = self.others_until.min(longest);
        self.others_from = self.others_from.min(self.others_until);
        // A burst and one call larger than that, each up to a window's refill.
        self.full_at = self.full_at.min(longest.saturating_add(self.span().saturating_mul(2)));
    }

    /// Learns what the limit is, and what others use of it, from an answer to a request that was admitted at the time `at`.
    pub(super) fn observe(&mut self, now: u64, at: u64, signal: &WindowSignal) {
        if let Some(limit) = signal.limit.filter(|limit| *limit > 0) {
            self.told = limit;
        }
        let Some(remaining) = signal.remaining else { return };
        self.expire(now);
        // What is in flight and not yet counted there makes `remaining` larger than ours, which is no use by others.
        self.others = self.limit().saturating_sub(self.sum).saturating_sub(remaining);
        self.others_until = at.saturating_add(match signal.reset {
            Some(Reset::Full(time) | Reset::Some(time)) => nanoseconds(time).min(self.span()),
            None => self.span(),
        });
        self.others_from = if let Some(Reset::Some(_)) = signal.reset { self.others_until } else { at };
    }
}
