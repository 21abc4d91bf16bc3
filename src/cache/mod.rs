//! Answers that are kept, and one call for many who ask the same at once. In front of the router and of all limits.
//!
//! - [`key`]: what an answer depends on; `entry`: an answer that is kept, and its form in a file or a Redis
//! - `memory`, `disk`, `redis`: where entries are kept
//! - `flight`: calls under way that others can join; `clock`: the time of each; `log`: the chunks of a stream that several read
//! - `embeddings`: answers that are kept by input
//! - [`lookup`]: one call: looked up, joined or made

mod clock;
mod disk;
mod embeddings;
mod entry;
mod flight;
pub mod key;
mod log;
pub mod lookup;
mod memory;
mod redis;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::error::Result;
use crate::types::answer::Answer;
use crate::types::secret::Secret;
use disk::Disk;
use entry::Entry;
use flight::Flights;
use key::{Key, Scope};
use log::Live;
use memory::Memory;
use redis::Redis;

/// Maximum size of an entry, in bytes, unless a quarter of the whole is less.
const MAX_ENTRY: usize = 32 << 20;

/// Where answers are kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// In this process.
    Memory {
        /// Maximum number of bytes.
        max_bytes: usize,
    },
    /// In a folder.
    Disk {
        /// The folder.
        path: PathBuf,
        /// Maximum number of bytes.
        max_bytes: u64,
    },
    /// In a Redis.
    Redis {
        /// Address, which may contain a password.
        url: Secret,
        /// Prefix of all keys.
        namespace: String,
    },
}

/// Settings of a cache.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where answers are kept.
    pub place: Place,
    /// Time for which answers are kept; `None` for as long as there is room.
    pub ttl: Option<Duration>,
    /// Callers who get each other's answers.
    pub scope: Scope,
}

/// Answers that are kept, and the calls under way.
pub struct Cache {
    settings: Settings,
    store: Store,
    salt: [u8; 32],
    /// Maximum size of an entry, in bytes.
    max_entry: usize,
    calls: Arc<Flights<Answer>>,
    streams: Arc<Flights<Live>>,
    counters: Counters,
}

enum Store {
    Memory(Mutex<Memory>),
    Disk(Arc<Disk>),
    Redis(Redis),
}

/// What has happened so far.
#[derive(Debug, Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    joined: AtomicU64,
}

/// Numbers of a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Number of answers that were given out from what is kept.
    pub hits: u64,
    /// Number of calls that were made.
    pub misses: u64,
    /// Number of calls that were not made since the same one was under way.
    pub joined: u64,
    /// Number of entries and of their bytes; `None` where the place does not tell.
    pub kept: Option<(u64, u64)>,
}

impl Cache {
    /// Creates a cache, and opens its place.
    ///
    /// # Errors
    ///
    /// The folder cannot be made or written, or the address is none of a Redis.
    pub fn open(settings: Settings) -> Result<Self> {
        let random = || {
            let mut salt = [0; 32];
            // The operating system's randomness, by which the standard library seeds its hash maps.
            salt.chunks_mut(8).for_each(|part| part.copy_from_slice(&random_seed().to_le_bytes()));
            salt
        };
        let (store, salt, max_entry) = match &settings.place {
            Place::Memory { max_bytes } => {
                (Store::Memory(Mutex::new(Memory::new(*max_bytes))), random(), (*max_bytes / 4).min(MAX_ENTRY))
            }
            Place::Disk { path, max_bytes } => {
                let (disk, salt) = Disk::open(path, *max_bytes, random())?;
                let max_entry = usize::try_from(*max_bytes / 4).unwrap_or(MAX_ENTRY).min(MAX_ENTRY);
                (Store::Disk(Arc::new(disk)), salt, max_entry)
            }
            Place::Redis { url, namespace } => {
                let (redis, salt) = Redis::new(url.clone(), namespace)?;
                (Store::Redis(redis), salt, MAX_ENTRY)
            }
        };
        let (calls, streams, counters) = (Arc::default(), Arc::default(), Counters::default());
        Ok(Self { settings, store, salt, max_entry, calls, streams, counters })
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Secret by which accounts are hashed.
    pub fn salt(&self) -> &[u8; 32] {
        &self.salt
    }

    /// Returns its numbers.
    pub fn stats(&self) -> Stats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { hits, misses, joined } = &self.counters;
        let kept = match &self.store {
            Store::Memory(memory) => {
                let (entries, bytes) = lock(memory).len();
                Some((entries as u64, bytes as u64))
            }
            Store::Disk(disk) => Some(disk.scan()),
            Store::Redis(_) => None,
        };
        Stats { hits: count(hits), misses: count(misses), joined: count(joined), kept }
    }

    /// Removes all entries of this process or folder. Of a Redis, whose keys others may share, it removes none and returns false.
    pub fn clear(&self) -> bool {
        match &self.store {
            Store::Memory(memory) => {
                let mut memory = lock(memory);
                *memory = memory.emptied();
            }
            Store::Disk(disk) => disk.clear(),
            Store::Redis(_) => return false,
        }
        true
    }

    /// Returns the entries of these keys that are in memory, or `None` if one is missing there.
    fn in_memory(&self, keys: &[Key], now: u64, ttl: Option<Duration>) -> Option<Vec<Arc<Entry>>> {
        let Store::Memory(memory) = &self.store else { return None };
        let mut memory = lock(memory);
        keys.iter().map(|key| memory.get(key, now, ttl).cloned()).collect()
    }

    /// Returns the entry of each key, as far as there is one.
    async fn get(&self, keys: &[Key], ttl: Option<Duration>) -> Vec<Option<Arc<Entry>>> {
        let now = unix_millis();
        let found = match &self.store {
            Store::Memory(memory) => {
                let mut memory = lock(memory);
                return keys.iter().map(|key| memory.get(key, now, ttl).cloned()).collect();
            }
            Store::Disk(disk) => {
                let (disk, keys) = (disk.clone(), keys.to_vec());
                let found = tokio::task::spawn_blocking(move || keys.iter().map(|key| disk.get(key)).collect());
                found.await.unwrap_or_default()
            }
            Store::Redis(redis) => redis.get(keys).await,
        };
        let found: Vec<Option<bytes::Bytes>> = found;
        let decoded = keys.iter().enumerate().map(|(at, key)| {
            let entry = Entry::decode(key, found.get(at)?.as_ref()?)?;
            entry.is_fresh(now, ttl).then(|| Arc::new(entry))
        });
        decoded.collect()
    }

    /// Keeps entries. What takes time goes on by itself.
    fn put(&self, entries: Vec<(Key, Entry)>) {
        let entries = entries.into_iter().filter(|(_, entry)| entry.size() <= self.max_entry);
        match &self.store {
            Store::Memory(memory) => {
                let mut memory = lock(memory);
                entries.for_each(|(key, entry)| memory.put(key, Arc::new(entry)));
            }
            Store::Disk(disk) => {
                let (disk, entries) = (disk.clone(), entries.collect::<Vec<_>>());
                tokio::task::spawn_blocking(move || entries.iter().for_each(|(key, entry)| disk.put(key, entry)));
            }
            Store::Redis(redis) => entries.for_each(|(key, entry)| redis.put(&key, &entry, unix_millis())),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the time in milliseconds since 1970.
fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns 64 random bits that nobody can foresee.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
