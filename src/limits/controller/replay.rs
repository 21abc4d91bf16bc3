//! The limit of a slow server, from a log of the last requests and their outcomes.
//!
//! Where a request is made every second, a mean of a few refusals says little: whether a request is refused depends on its
//! place among those before it. So the log is replayed by token buckets of several sizes, and the limit is among the rates
//! at which one of them would have taken what was taken and refused what was refused.

use bytemuck::{Pod, Zeroable};

/// Number of requests that are remembered.
const LENGTH: usize = 192;

/// Numbers of requests that a bucket may save up.
const SIZES: [f64; 6] = [1.0, 2.0, 4.0, 8.0, 16.0, 64.0];

/// Time by which a request may arrive early or late, in seconds, and the sum of contradictions that may be chance, in
/// requests.
const JITTER: f64 = 0.025;
const CHANCE: f64 = 0.04;

/// Largest number of refusals at which the log is cut to see whether the limit has changed.
pub(super) const CUTS: usize = 8;

/// Time, in milliseconds, after which it may be known of a request that it was admitted.
const LATE: u32 = 10_000;

/// Length of a sliding window, in milliseconds.
const MINUTE: u32 = 60_000;

/// Times and outcomes of the last requests. All zero is an empty one.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct Log {
    /// Time in milliseconds, modulo 2³², of the admission with this number modulo [`LENGTH`].
    times: [u32; LENGTH],
    /// Number of requests that were in flight then.
    counts: [u16; LENGTH],
    /// 1 if it was refused.
    refused: [u8; LENGTH],
    /// Number of admissions.
    count: u64,
}

/// Rates that agree with the log, in requests a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    pub(super) least: f64,
    pub(super) most: f64,
    /// Smallest and largest number of requests that the server may save up.
    pub(super) smallest: f64,
    pub(super) size: f64,
}

fn milliseconds(time: f64) -> u32 {
    // Only differences count.
    (time * 1000.0) as u64 as u32
}

impl Log {
    /// Adds a request that was admitted, in the order of time: of some it is known later.
    pub(super) fn admitted(&mut self, at: f64, in_flight: u64) {
        let at = milliseconds(at);
        let mut slot = (self.count % LENGTH as u64) as usize;
        for _ in 1..(self.count + 1).min(LENGTH as u64) {
            let before = (slot + LENGTH - 1) % LENGTH;
            let later = self.times[before].wrapping_sub(at);
            if later == 0 || later > LATE {
                break;
            }
            self.times[slot] = self.times[before];
            (self.counts[slot], self.refused[slot]) = (self.counts[before], self.refused[before]);
            slot = before;
        }
        (self.times[slot], self.refused[slot]) = (at, 0);
        self.counts[slot] = u16::try_from(in_flight).unwrap_or(u16::MAX);
        self.count = self.count.wrapping_add(1);
    }

    /// Notes that the request which was admitted at this time was refused. Returns the number that were in flight then, if it
    /// is known.
    pub(super) fn refused(&mut self, at: f64) -> Option<f64> {
        let at = milliseconds(at);
        let slot = self.slots().rev().find(|&slot| self.times[slot] == at && self.refused[slot] == 0)?;
        self.refused[slot] = 1;
        (self.counts[slot] < u16::MAX).then(|| f64::from(self.counts[slot]))
    }

    /// Slots from the oldest to the newest.
    fn slots(&self) -> impl DoubleEndedIterator<Item = usize> + use<> {
        let length = LENGTH as u64;
        let (count, held) = (self.count % length, self.count.min(length));
        (0..held).map(move |index| ((count + length - held + index) % length) as usize)
    }

    /// Returns the rates that agree with the log up to its last refusal, or with as much of it as agrees with itself, since
    /// the limit may have changed; `cuts` is the largest number of refusals before the last one that are looked at.
    pub(super) fn range(&self, cuts: usize) -> Option<Range> {
        let mut slots = [0; LENGTH];
        let mut length = 0;
        for slot in self.slots() {
            slots[length] = slot;
            length += 1;
        }
        let slots = &slots[..length];
        let last = slots.iter().rposition(|&slot| self.refused[slot] == 1)?;
        let mut begins = [0; CUTS];
        let mut found = 0;
        for index in (0..last).rev() {
            if self.refused[slots[index]] == 1 && found < cuts.min(CUTS) {
                begins[found] = index;
                found += 1;
            }
        }
        let found = begins[..found].iter().rev().find_map(|&begin| Some((begin, self.range_of(&slots[begin..=last])?)));
        found.map(|(begin, range)| match self.range_of_minute(&slots[..=last], begin) {
            Some(minute) => Range { size: minute.size, ..range },
            None => range,
        })
    }

    /// Returns the rates that agree with the requests after a refusal, if the limit is one of any 60 seconds.
    fn range_of_minute(&self, slots: &[usize], begin: usize) -> Option<Range> {
        let age = |index: usize, earlier: usize| self.times[slots[index]].wrapping_sub(self.times[slots[earlier]]);
        // If the minute before is no longer held, it may have been.
        let begin = (begin..slots.len()).find(|&index| slots.len() < LENGTH || age(index, 0) >= MINUTE)?;
        let (mut least, mut most) = (0, LENGTH);
        let mut first = 0;
        for index in 0..slots.len() {
            while age(index, first) >= MINUTE {
                first += 1;
            }
            if index < begin {
                continue;
            }
            let taken = slots[first..index].iter().filter(|&&slot| self.refused[slot] == 0).count();
            if self.refused[slots[index]] == 0 {
                least = least.max(taken + 1);
            } else {
                most = most.min(taken);
            }
        }
        // One may have left the minute on its way.
        (least <= most + 1).then(|| Range {
            least: least.min(most).max(1) as f64 / 60.0,
            most: (most.max(least)) as f64 / 60.0,
            smallest: 60.0,
            size: 60.0,
        })
    }

    /// Returns the rates that agree with a part of the log that begins and ends with a refusal.
    fn range_of(&self, slots: &[usize]) -> Option<Range> {
        let taken = slots.iter().filter(|&&slot| self.refused[slot] == 0).count();
        let first = self.times[slots[0]];
        let seconds = f64::from(self.times[slots[slots.len() - 1]].wrapping_sub(first)) / 1000.0;
        if taken == 0 || seconds <= 0.0 {
            return None;
        }
        let middle = taken as f64 / seconds;
        let mut range: Option<Range> = None;
        for size in SIZES {
            // More is taken the higher the rate is, and less is refused.
            let least = bisect(middle, |rate| self.replay(slots, rate, size, 1.0).0 <= CHANCE);
            let most = bisect(middle, |rate| self.replay(slots, rate, size, 0.0).1 > CHANCE);
            if least > most {
                continue;
            }
            let other = Range { least, most, smallest: size, size };
            range = Some(range.map_or(other, |range| Range {
                least: range.least.min(least),
                most: range.most.max(most),
                smallest: range.smallest,
                size,
            }));
        }
        range
    }

    /// Replays requests by a bucket, from a level after the first one, and returns by how much it contradicts what was taken
    /// and what was refused.
    fn replay(&self, slots: &[usize], rate: f64, size: f64, level: f64) -> (f64, f64) {
        let (mut level, mut last) = (level.min(size), self.times[slots[0]]);
        let (mut short, mut over) = (0.0, 0.0);
        let tolerance = rate * JITTER;
        for &slot in &slots[1..] {
            let seconds = f64::from(self.times[slot].wrapping_sub(last)) / 1000.0;
            last = self.times[slot];
            let filled = level + rate * seconds;
            level = filled.min(size);
            if self.refused[slot] == 0 {
                short += (1.0 - tolerance - level).max(0.0);
                level = (level - 1.0).max(0.0);
            } else {
                over += (filled - 1.0 - tolerance).clamp(0.0, 1.0);
                level = level.min(1.0);
            }
        }
        (short, over)
    }
}

/// Returns the least rate, within a factor of eight of another one, for which something is true that stays true above it.
fn bisect(middle: f64, is_above: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (middle / 8.0, middle * 8.0);
    for _ in 0..12 {
        let between = (low * high).sqrt();
        if is_above(between) {
            high = between;
        } else {
            low = between;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the log of a client that makes its requests faster and faster until one is refused, three times, at a bucket
    /// that refills once a second and saves up some requests.
    fn log(size: f64) -> Log {
        let mut log = Log::zeroed();
        let (mut level, mut at) = (size, 100.0);
        for slowest in [1.05, 1.5, 1.1] {
            let mut gap: f64 = slowest;
            for index in 0.. {
                at += gap;
                level = (level + gap).min(size);
                log.admitted(at, 0);
                if level < 1.0 {
                    log.refused(at);
                    break;
                }
                level -= 1.0;
                gap *= if index < 10 { 1.0 } else { 0.99 };
            }
        }
        log
    }

    #[test]
    fn what_is_saved_up_is_told_from_the_order_of_refusals() {
        let one = log(1.0).range(CUTS).unwrap();
        assert!(one.size == 1.0 && one.least > 0.93 && one.most < 1.07, "{one:?}");
        let eight = log(8.0).range(CUTS).unwrap();
        assert!(eight.smallest > 1.0 && eight.least > 0.9 && eight.most < 1.1, "{eight:?}");
    }

    #[test]
    fn nothing_is_known_without_two_refusals() {
        assert_eq!(Log::zeroed().range(CUTS), None);
        let mut log = Log::zeroed();
        for at in [1.0, 2.0, 3.0] {
            log.admitted(at, 0);
        }
        assert_eq!(log.range(CUTS), None);
        log.refused(3.0);
        assert_eq!(log.range(CUTS), None);
    }
}
