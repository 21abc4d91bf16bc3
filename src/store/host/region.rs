//! A named region of shared memory.

use std::marker::PhantomData;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytemuck::Pod;

use super::error::{AccessError, HostError};
use super::layout::{self, MAGIC, MEMBERS, QUOTAS, WORDS, Words, entry, head};
use super::lock::{self, Held, Owner, SETUP_BYTE, Taken, member_byte};
use crate::limits::Time;
use crate::platform::{self, ClockId, Mapping, OpenError, SharedFile};

/// Longest time that opening a region waits for another process that opens it.
const SETUP_PATIENCE: Duration = Duration::from_secs(1);
/// Time after which an owner of a lock counts as stopped.
const STUCK_AFTER: Duration = Duration::from_secs(1);

/// The owner before it joined; no member has this generation.
const NOBODY: Owner = Owner { member: 0, generation: u64::MAX };

type Waits = Box<[Option<(Taken, Time)>]>;

/// State of one quota in shared memory.
pub trait SharedState: Pod + Send {
    /// Version of the meaning of the bytes. Processes with different versions do not share a region.
    const VERSION: u32;

    /// Makes a valid state of any bytes. Zeros become the state of a new quota; a valid state stays as it is.
    ///
    /// Called when this process looks the quota up, when a process died in the middle of a change, and after a panic.
    fn repair(&mut self, now: Time);

    /// Frees what a member holds, since it left or died. May be called more than once.
    fn release_member(&mut self, member: usize, now: Time);
}

/// Place of a quota in a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    index: usize,
    epoch: u64,
}

impl Slot {
    pub(super) fn new(index: usize, epoch: u64) -> Self {
        Self { index, epoch }
    }

    /// Returns the number of the place, below [`QUOTAS`].
    pub fn index(self) -> usize {
        self.index
    }
}

/// A region of shared memory with the states of up to [`QUOTAS`] quotas, of which this process is a member.
///
/// The membership ends when this is dropped or the process ends in any way; what the member held is freed then, at once or
/// by the others' [`reap`](Self::reap). A forked child is not a member: it gets [`AccessError::Left`] and opens the region
/// for itself ([`reopen`](Self::reopen)).
pub struct HostRegion<T: SharedState> {
    pub(super) file: SharedFile,
    map: Mapping,
    name: String,
    pub(super) own: Owner,
    /// Number of forks before this was opened.
    epoch: u64,
    /// Locks that were found taken, by their number (the table's is the last), and the time of the first time.
    waits: Mutex<Waits>,
    /// Time of the last check of the file.
    pub(super) checked: Mutex<Time>,
    state: PhantomData<fn() -> T>,
}

impl<T: SharedState> std::fmt::Debug for HostRegion<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("HostRegion")
            .field("name", &self.name)
            .field("member", &self.own.member)
            .finish_non_exhaustive()
    }
}

impl<T: SharedState> HostRegion<T> {
    /// Joins the region of this name, and creates it if there is none. It can wait for a second: not for a network thread.
    ///
    /// # Errors
    ///
    /// The name cannot be one of a region; the file is not this user's alone, is damaged or of another version; there are
    /// too many members; the system has no such memory.
    pub fn open(name: &str) -> Result<Self, HostError> {
        Self::open_within(name, SETUP_PATIENCE)
    }

    fn open_within(name: &str, patience: Duration) -> Result<Self, HostError> {
        const { assert!(align_of::<T>() <= 4096 && size_of::<T>() > 0) };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > 64 || !name.bytes().all(allowed) {
            return Err(HostError::Name(name.to_owned()));
        }
        let (file_name, path) = (file_name(name), path(name));
        let begun = platform::clock();
        loop {
            let failed = |error| HostError::Open(path.clone(), error);
            let file = SharedFile::open(&file_name).map_err(failed)?;
            let io = |error| HostError::Open(path.clone(), OpenError::Io(error));
            while !file.try_lock(SETUP_BYTE).map_err(io)? {
                if platform::clock().saturating_sub(begun) >= patience {
                    return Err(HostError::Busy(path));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            // Removed since it was opened: others would not find it.
            if file.has_name() {
                return Self::prepare(file, name, &path);
            }
        }
    }

    /// Checks or fills the file, and joins. The setup byte is locked.
    fn prepare(file: SharedFile, name: &str, path: &str) -> Result<Self, HostError> {
        let io = |error| HostError::Open(path.to_owned(), OpenError::Io(error));
        let length = layout::length::<T>();
        let version = layout::version::<T>(T::VERSION);
        let clock = platform::clock_id();
        const HEAD: usize = head::LENGTH * 8;
        let mut found = [0; HEAD];
        if !matches!(file.read(&mut found).map_err(io)?, 0 | HEAD) {
            return Err(HostError::Damaged(path.to_owned()));
        }
        let found: [u64; head::LENGTH] = bytemuck::cast(found);
        let is_in_use = file.is_locked(member_byte(0)..member_byte(MEMBERS)).map_err(io)?;
        let same_clock = clock_of(&found) == clock;
        let create = match found[head::MAGIC] {
            MAGIC if same_clock => false,
            MAGIC if is_in_use => return Err(HostError::Clock(path.to_owned())),
            // Left from before the machine was started.
            MAGIC => true,
            // New, or whoever created it died in the middle of that.
            0 if !is_in_use => true,
            _ => return Err(HostError::Damaged(path.to_owned())),
        };
        if create {
            file.clear(length as u64).map_err(io)?;
            file.reserve(0..layout::words_length() as u64).map_err(io)?;
        } else if found[head::VERSION] != version {
            return Err(HostError::Layout(path.to_owned()));
        } else if file.length().map_err(io)? != length as u64 {
            return Err(HostError::Damaged(path.to_owned()));
        } else {
            file.reserve(0..layout::words_length() as u64).map_err(io)?;
        }
        let map = file.map(WORDS, length).map_err(io)?;
        if create {
            let words = map.words();
            words[head::VERSION].store(version, Ordering::Relaxed);
            words[head::BOOT[0]].store((clock.boot >> 64) as u64, Ordering::Relaxed);
            words[head::BOOT[1]].store(clock.boot as u64, Ordering::Relaxed);
            words[head::CLOCK_NAMESPACE].store(clock.namespace, Ordering::Relaxed);
            words[head::MAGIC].store(MAGIC, Ordering::Release);
        }
        let mut region = Self {
            file,
            map,
            name: name.to_owned(),
            own: NOBODY,
            epoch: platform::fork_epoch(),
            waits: Mutex::new(vec![None; QUOTAS + 1].into()),
            checked: Mutex::new(Time::ZERO),
            state: PhantomData,
        };
        region.join().map_err(io)?;
        if region.own == NOBODY {
            return Err(HostError::Full(path.to_owned()));
        }
        region.file.unlock(SETUP_BYTE).map_err(io)?;
        Ok(region)
    }

    /// Joins again, after [`AccessError::Left`]. If somebody removed the file, the states go into the new one, without what
    /// members hold. It waits for nobody.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open); [`HostError::Busy`] if another process opens the region at this moment.
    pub fn reopen(&self) -> Result<Self, HostError> {
        let fresh = Self::open_within(&self.name, Duration::ZERO)?;
        if self.is_member() && !fresh.file.is_same(&self.file) {
            fresh.adopt(self);
        }
        Ok(fresh)
    }

    /// Path of the region's file.
    pub fn path(&self) -> String {
        path(&self.name)
    }

    /// Number of this member, below [`MEMBERS`]. Another process can have it after this one left.
    pub fn member(&self) -> usize {
        self.own.member
    }

    /// Calls a function with a quota's state and the time, while no other process or thread uses the state.
    ///
    /// The function must be short, and must not wait for anything.
    ///
    /// # Errors
    ///
    /// Another process uses the state, the quota lost its place, or this process is no longer a member.
    #[inline]
    pub fn with<R>(&self, slot: Slot, access: impl FnOnce(&mut T, Time) -> R) -> Result<R, AccessError> {
        let mut locked = self.lock(slot.index)?;
        let words = self.words();
        if words[layout::entry(slot.index, entry::EPOCH)].load(Ordering::Relaxed) != slot.epoch {
            return Err(AccessError::Reclaimed);
        }
        let now = platform::clock();
        words[layout::entry(slot.index, entry::USED)].store(nanoseconds(now), Ordering::Relaxed);
        Ok(locked.with(|state| access(state, now)))
    }

    /// Locks a quota's state.
    #[inline]
    pub(super) fn lock(&self, index: usize) -> Result<Locked<'_, T>, AccessError> {
        if !self.is_member() {
            return Err(AccessError::Left);
        }
        match lock::try_lock(self.words(), layout::entry(index, entry::LOCK), &self.file, self.own) {
            Ok(held) => Ok(Locked { region: self, index, is_dirty: held.recovered, _held: held }),
            Err(taken) => Err(self.blocked(index, taken)),
        }
    }

    /// Locks the table of quotas.
    pub(super) fn lock_table(&self) -> Result<Held<'_>, AccessError> {
        if !self.is_member() {
            return Err(AccessError::Left);
        }
        lock::try_lock(self.words(), head::TABLE, &self.file, self.own).map_err(|taken| self.blocked(QUOTAS, taken))
    }

    /// Tells a lock that is in use from one whose owner is stopped.
    #[cold]
    fn blocked(&self, number: usize, taken: Taken) -> AccessError {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        let is_stuck = is_stuck(&mut waits[number], taken, platform::clock());
        // Another thread of this process may be slow; it is not stopped, since this one runs.
        if is_stuck && taken.owner != self.own.word() { AccessError::Stuck } else { AccessError::Busy }
    }

    /// Returns true if this process still is the member as which it joined.
    #[inline]
    pub(super) fn is_member(&self) -> bool {
        // The fork first: a child's mapping may be of a file that others have cut off.
        self.epoch == platform::fork_epoch()
            && self.words()[layout::generation(self.own.member)].load(Ordering::Relaxed) == self.own.generation
    }

    /// Returns true if this process is a member of the region that others find.
    pub(super) fn is_current(&self) -> bool {
        self.is_member() && self.file.is_open() && self.file.has_name()
    }

    /// Copies a quota's state without its lock, whose owner is a stopped process.
    pub(super) fn copy(&self, index: usize, to: &mut T) {
        self.map.copy(layout::state::<T>(index), bytemuck::bytes_of_mut(to));
    }

    #[inline]
    pub(super) fn words(&self) -> &Words {
        self.map.words()
    }
}

/// Returns true if a lock that is found taken was so, without being given back once, since a second ago or longer.
pub(super) fn is_stuck(wait: &mut Option<(Taken, Time)>, taken: Taken, now: Time) -> bool {
    match *wait {
        Some((before, since)) if before == taken => now.saturating_sub(since) >= STUCK_AFTER,
        _ => {
            *wait = Some((taken, now));
            false
        }
    }
}

/// A quota's state that is locked.
pub(super) struct Locked<'a, T: SharedState> {
    region: &'a HostRegion<T>,
    index: usize,
    /// True if the state may be half changed.
    is_dirty: bool,
    _held: Held<'a>,
}

impl<T: SharedState> Locked<'_, T> {
    /// Calls a function with the state, which is repaired before if its last user died, and after a panic.
    #[inline]
    pub(super) fn with<R>(&mut self, access: impl FnOnce(&mut T) -> R) -> R {
        if std::mem::replace(&mut self.is_dirty, true) {
            self.state().repair(platform::clock());
        }
        let result = access(self.state());
        self.is_dirty = false;
        result
    }

    #[inline]
    pub(super) fn state(&mut self) -> &mut T {
        let begin = layout::state::<T>(self.index);
        // SAFETY: the lock of these bytes is held, by this thread alone, and `&mut self` is the only way to them.
        let bytes = unsafe { self.region.map.bytes(begin..begin + size_of::<T>()) };
        bytemuck::from_bytes_mut(bytes)
    }
}

impl<T: SharedState> Drop for Locked<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.is_dirty {
            // Not changed at all, or a panic came in between.
            self.state().repair(platform::clock());
        }
    }
}

fn clock_of(words: &[u64; head::LENGTH]) -> ClockId {
    let boot = u128::from(words[head::BOOT[0]]) << 64 | u128::from(words[head::BOOT[1]]);
    ClockId { boot, namespace: words[head::CLOCK_NAMESPACE] }
}

/// Time as it is stored in a word.
#[inline]
pub(super) fn nanoseconds(time: Time) -> u64 {
    // 584 years.
    time.as_secs().wrapping_mul(1_000_000_000).wrapping_add(u64::from(time.subsec_nanos()))
}

fn file_name(name: &str) -> String {
    format!("ritellm.{}.{name}", platform::user_id())
}

fn path(name: &str) -> String {
    SharedFile::path(&file_name(name))
}
