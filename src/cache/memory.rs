//! Entries in memory, bounded in bytes: what was not used for longest goes first. No clock: the time is passed in.

use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use super::entry::Entry;
use super::key::Key;
use crate::types::lru::Lru;

/// Entries in memory.
pub struct Memory {
    entries: Slab<(Key, Arc<Entry>)>,
    /// Positions of the entries, by the first bytes of their keys.
    index: Lru<usize>,
    bytes: usize,
    max_bytes: usize,
}

impl Memory {
    /// Creates an empty one.
    pub fn new(max_bytes: usize) -> Self {
        Self { entries: Slab::new(), index: Lru::new(usize::MAX), bytes: 0, max_bytes }
    }

    /// Returns an entry that is fresh at `now` for a caller who takes none older than `ttl`. One that has ended is removed.
    pub fn get(&mut self, key: &Key, now: u64, ttl: Option<Duration>) -> Option<&Arc<Entry>> {
        let at = *self.index.get_mut(key.prefix())?;
        let (known, entry) = &self.entries[at];
        if known != key {
            return None;
        }
        if !entry.is_fresh(now, None) {
            self.remove(key);
            return None;
        }
        let (_, entry) = &self.entries[at];
        entry.is_fresh(now, ttl).then_some(entry)
    }

    /// Adds an entry. Those that were not used for longest go until all fit.
    pub fn put(&mut self, key: Key, entry: Arc<Entry>) {
        let size = entry.size();
        if size > self.max_bytes {
            return;
        }
        // Another key with the same first bytes goes as well.
        self.remove(&key);
        while self.bytes + size > self.max_bytes {
            let Some((oldest, _)) = self.index.oldest() else { break };
            self.remove_at(oldest);
        }
        self.bytes += size;
        let at = self.entries.insert((key, entry));
        self.index.insert(key.prefix(), at);
    }

    /// Removes an entry.
    pub fn remove(&mut self, key: &Key) {
        self.remove_at(key.prefix());
    }

    fn remove_at(&mut self, prefix: u64) {
        if let Some(at) = self.index.remove(prefix) {
            self.bytes -= self.entries.remove(at).1.size();
        }
    }

    /// Returns one without entries.
    pub fn emptied(&self) -> Self {
        Self::new(self.max_bytes)
    }

    /// Number of entries, and of their bytes.
    pub fn len(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::answer::Meta;

    fn key(number: u64) -> Key {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        Key(key)
    }

    fn entry(size: usize, now: u64, ttl: Option<u64>) -> Arc<Entry> {
        let pieces = [(vec![b'x'; size].into(), true)];
        Arc::new(Entry::new(&pieces, &Meta::default(), now, ttl.map(Duration::from_millis)))
    }

    #[test]
    fn entries_end_and_are_refused_to_who_wants_younger_ones() {
        let mut memory = Memory::new(1 << 20);
        memory.put(key(1), entry(10, 1000, Some(500)));
        memory.put(key(2), entry(10, 1000, None));
        assert!(memory.get(&key(1), 1499, None).is_some());
        let young = Some(Duration::from_millis(100));
        assert!(memory.get(&key(1), 1099, young).is_some());
        assert!(memory.get(&key(1), 1100, young).is_none());
        assert!(memory.get(&key(1), 1499, None).is_some(), "a refusal does not remove it");
        assert!(memory.get(&key(1), 1500, None).is_none());
        assert_eq!(memory.len().0, 1);
        assert!(memory.get(&key(2), u64::MAX - 1, None).is_some());
        // A clock that went back.
        assert!(memory.get(&key(2), 0, young).is_some());
        let mut other = key(2);
        other.0[31] = 1;
        assert!(memory.get(&other, 1000, None).is_none(), "the whole key counts");
    }

    #[test]
    fn bytes_are_bounded_whatever_is_put() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut memory = Memory::new(20_000);
        for round in 0..5000 {
            memory.put(key(random.u64(..200)), entry(random.usize(..6000), round, None));
            let (count, bytes) = memory.len();
            assert!(bytes <= 20_000, "{bytes}");
            let sizes: usize = memory.entries.iter().map(|(_, (_, entry))| entry.size()).sum();
            assert_eq!((sizes, memory.index.len()), (bytes, count));
        }
        memory.put(key(1000), entry(30_000, 0, None));
        assert!(memory.get(&key(1000), 0, None).is_none(), "larger than all of it");
        memory.put(key(1), entry(100, 0, None));
        for number in 2..100 {
            assert!(memory.get(&key(1), 0, None).is_some());
            memory.put(key(number), entry(4000, 0, None));
        }
    }
}
