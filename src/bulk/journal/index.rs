//! The outcomes that a journal has, by key: state and place of the last one of each.

use crate::bulk::identity::Key;
use crate::bulk::line::State;

/// Number of parts of the table. Each grows by itself, so that not all of it is moved at once.
pub(super) const SHARDS: usize = 1 << SHARD_BITS;
const SHARD_BITS: u32 = 6;
/// Number of entries of a page: 4 KiB.
const PAGE: usize = 256;
/// Most of a part's places that are taken, of 16.
const MAX_LOAD: usize = 14;

/// Number of bits of a segment's number.
const SEGMENT_BITS: u32 = 16;
/// Number of bits of the key's hash that are kept beside its first 64.
const EXTRA_BITS: u32 = 15;
/// Largest number of a segment.
pub(super) const MAX_SEGMENT: u32 = (1 << SEGMENT_BITS) - 1;
/// Largest length of a segment, in bytes.
pub(super) const MAX_OFFSET: u64 = u32::MAX as u64;

/// Place of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// Number of the segment, from 1.
    pub segment: u32,
    /// Position in it, in bytes.
    pub offset: u32,
}

/// One outcome: 79 bits of a hash of its key, its place and its state. Of ten million keys, two have the same 79 bits with a
/// probability of 1e-10; and a line has its whole key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(super) struct Entry {
    hash: u64,
    /// From the highest bit on: offset, segment (never 0), further bits of the hash, state. 0 if the place is free.
    word: u64,
}

impl Entry {
    pub(super) fn new(key: &Key, state: State, location: Location) -> Self {
        let (hash, extra) = fingerprint(key);
        let place = u64::from(location.offset) << 32 | u64::from(location.segment) << (EXTRA_BITS + 1);
        Self { hash, word: place | extra << 1 | u64::from(state == State::Failed) }
    }

    fn extra(self) -> u64 {
        self.word >> 1 & ((1 << EXTRA_BITS) - 1)
    }

    fn state(self) -> State {
        if self.word & 1 == 0 { State::Done } else { State::Failed }
    }

    pub(super) fn location(self) -> Location {
        Location { segment: (self.word >> (EXTRA_BITS + 1)) as u32 & MAX_SEGMENT, offset: (self.word >> 32) as u32 }
    }

    fn is_free(self) -> bool {
        self.word == 0
    }

    fn shard(self) -> usize {
        (self.hash >> (64 - SHARD_BITS)) as usize
    }
}

/// Returns 64 and further bits of a hash of a key. Both halves of a key are hashes, but not of all of it.
fn fingerprint(key: &Key) -> (u64, u64) {
    let hash = mix(key.row ^ mix(key.content ^ 0x9e37_79b9_7f4a_7c15));
    (hash, mix(key.content.rotate_left(32) ^ key.row.wrapping_mul(0xd6e8_feb8_6659_fd93)) >> (64 - EXTRA_BITS))
}

/// The finalizer of SplitMix64: each bit of the input changes half of the output.
fn mix(mut number: u64) -> u64 {
    number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

/// A part of the table: open addressing in the order of hashes. An entry stands at the place of its hash or behind it, with
/// no free place between.
///
/// It is made of pages of one size: a page that is freed while it grows is the next one that it takes. A process that appended a
/// million rows took 35.1 bytes for each, and 35.9 with one allocation for each part.
#[derive(Debug, Default)]
struct Shard {
    pages: Vec<Box<[Entry; PAGE]>>,
    /// Number of places that hashes are spread over; there may be more behind them.
    home_slots: usize,
    used: usize,
}

impl Shard {
    fn home(&self, hash: u64) -> usize {
        ((u128::from(hash << SHARD_BITS) * self.home_slots as u128) >> 64) as usize
    }

    fn get(&self, at: usize) -> Option<Entry> {
        self.pages.get(at / PAGE).map(|page| page[at % PAGE])
    }

    /// Returns a place, of which there are more if it is behind the last one.
    fn slot(&mut self, at: usize) -> &mut Entry {
        while self.pages.len() <= at / PAGE {
            self.pages.push(Box::new([Entry::default(); PAGE]));
        }
        &mut self.pages[at / PAGE][at % PAGE]
    }

    /// Returns the place of an entry with this hash, or that at which it would have to be.
    fn position(&self, entry: Entry) -> Result<usize, usize> {
        let mut at = self.home(entry.hash);
        while let Some(slot) = self.get(at) {
            if slot.is_free() || slot.hash > entry.hash {
                break;
            }
            if slot.hash == entry.hash && slot.extra() == entry.extra() {
                return Ok(at);
            }
            at += 1;
        }
        Err(at)
    }

    /// Puts an entry into its place, and returns the one that was there.
    fn insert(&mut self, entry: Entry) -> Option<Entry> {
        if (self.used + 1) * 16 > self.home_slots * MAX_LOAD {
            // A sixteenth more: the places that are free are paid for by every row.
            self.resize((self.home_slots + self.home_slots / 16).max(PAGE));
        }
        match self.position(entry) {
            Ok(at) => Some(std::mem::replace(self.slot(at), entry)),
            Err(mut at) => {
                // The others move up to the next free place.
                let mut moved = entry;
                while !moved.is_free() {
                    std::mem::swap(self.slot(at), &mut moved);
                    at += 1;
                }
                self.used += 1;
                None
            }
        }
    }

    fn resize(&mut self, home_slots: usize) {
        let mut resized = Self { home_slots, used: self.used, ..Self::default() };
        resized.pages.reserve_exact(home_slots.div_ceil(PAGE) + 1);
        let mut next = 0;
        for page in std::mem::take(&mut self.pages) {
            for entry in page.iter().filter(|entry| !entry.is_free()) {
                let at = resized.home(entry.hash).max(next);
                *resized.slot(at) = *entry;
                next = at + 1;
            }
        }
        *self = resized;
    }
}

/// The outcomes of a journal: 16 bytes each, 18 to 20 with the places that are free.
#[derive(Debug)]
pub(super) struct Index {
    shards: Vec<Shard>,
    done: u64,
    failed: u64,
}

impl Default for Index {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Shard::default()).collect(), done: 0, failed: 0 }
    }
}

impl Index {
    /// Makes room for this many outcomes in all.
    pub(super) fn reserve(&mut self, outcomes: u64) {
        let each = usize::try_from(outcomes).unwrap_or(0) / SHARDS;
        // Hashes are not spread evenly: three standard deviations more. The load's margin takes the rest.
        let slots = (each + 3 * each.isqrt()) * 16 / MAX_LOAD;
        for shard in self.shards.iter_mut().filter(|shard| shard.home_slots < slots) {
            shard.resize(slots);
        }
    }

    /// Adds an outcome, which replaces an earlier one of the same key.
    pub(super) fn insert(&mut self, entry: Entry) {
        let replaced = self.shards[entry.shard()].insert(entry);
        if let Some(replaced) = replaced {
            *self.count(replaced.state()) -= 1;
        }
        *self.count(entry.state()) += 1;
    }

    /// Returns the state and the place of the last outcome of a key.
    pub(super) fn find(&self, key: &Key) -> Option<(State, Location)> {
        let wanted = Entry::new(key, State::Done, Location { segment: 1, offset: 0 });
        let shard = &self.shards[wanted.shard()];
        let entry = shard.get(shard.position(wanted).ok()?)?;
        Some((entry.state(), entry.location()))
    }

    /// Returns the number of keys whose last outcome has this state.
    pub(super) fn len(&self, state: State) -> u64 {
        match state {
            State::Done => self.done,
            State::Failed => self.failed,
        }
    }

    fn count(&mut self, state: State) -> &mut u64 {
        match state {
            State::Done => &mut self.done,
            State::Failed => &mut self.failed,
        }
    }

    /// Returns the outcomes of a part whose place is in a segment, in the order of their hashes.
    pub(super) fn of_segment(&self, shard: usize, segment: u32) -> impl Iterator<Item = Entry> {
        let entries = self.shards[shard].pages.iter().flat_map(|page| page.iter()).copied();
        entries.filter(move |entry| !entry.is_free() && entry.location().segment == segment)
    }

    /// Returns the memory that it takes, in bytes.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        let pages = |shard: &Shard| shard.pages.len() * PAGE * size_of::<Entry>() + shard.pages.capacity() * 8;
        self.shards.iter().map(|shard| size_of::<Shard>() + pages(shard)).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn key(number: u64) -> Key {
        // Halves that are no good hashes: the index must not rely on it.
        Key { row: number / 3, content: number % 3 }
    }

    fn location(number: u64) -> Location {
        Location { segment: number as u32 % 1000 + 1, offset: number as u32 }
    }

    #[test]
    fn like_a_map() {
        let mut random = fastrand::Rng::with_seed(7);
        for range in [20, 1_000, 60_000] {
            let (mut index, mut map) = (Index::default(), HashMap::new());
            if range == 1_000 {
                index.reserve(1_000);
            }
            for count in 0..2 * range {
                let number = random.u64(..range);
                let state = if random.bool() { State::Done } else { State::Failed };
                index.insert(Entry::new(&key(number), state, location(count)));
                map.insert(number, (state, location(count)));
            }
            for number in 0..range {
                assert_eq!(index.find(&key(number)), map.get(&number).copied(), "{number}");
            }
            let done = map.values().filter(|(state, _)| *state == State::Done).count() as u64;
            assert_eq!((index.len(State::Done), index.len(State::Failed)), (done, map.len() as u64 - done));
            let first = map.values().filter(|(_, location)| location.segment == 1).count();
            let entries: Vec<Entry> = (0..SHARDS).flat_map(|shard| index.of_segment(shard, 1)).collect();
            assert_eq!(entries.len(), first);
            assert!(entries.is_sorted_by_key(|entry| entry.hash));
        }
    }

    #[test]
    fn limits_of_a_place() {
        let mut index = Index::default();
        let last = Location { segment: MAX_SEGMENT, offset: u32::MAX };
        index.insert(Entry::new(&key(1), State::Failed, last));
        assert_eq!(index.find(&key(1)), Some((State::Failed, last)));
        assert_eq!(index.find(&key(2)), None);
    }

    #[test]
    fn bytes_for_each_outcome() {
        for (count, reserved) in [(200_000, false), (226_000, false), (200_000, true)] {
            let mut index = Index::default();
            if reserved {
                index.reserve(count);
            }
            (0..count).for_each(|number| index.insert(Entry::new(&key(number), State::Done, location(number))));
            let bytes = index.memory() as f64 / count as f64;
            assert!((16.0..21.0).contains(&bytes), "{bytes}");
        }
    }
}
