//! The table of quotas: which hash has which place.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::error::AccessError;
use super::layout::{self, MEMBERS, QUOTAS, entry, head};
use super::region::{HostRegion, SharedState, Slot, nanoseconds};
use crate::limits::Time;
use crate::platform;

/// Time after which the place of a quota that nobody uses may be given away.
const UNUSED: Duration = Duration::from_secs(24 * 60 * 60);
/// Number of attempts to lock a quota that is only looked at.
const ATTEMPTS: usize = 20;

impl<T: SharedState> HostRegion<T> {
    /// Returns the place of the quota whose name has this hash. A new one gets a free place, or that of one that nobody has
    /// used for a day. One whose lock is held by a stopped process is moved to another place.
    ///
    /// # Errors
    ///
    /// All places are taken, there is not enough memory, another process uses the table or the quota, or this process is no
    /// longer a member.
    pub fn quota(&self, hash: &[u8; 32]) -> Result<Slot, AccessError> {
        self.place(bytemuck::cast(*hash), |_| ())
    }

    /// Calls a function with the hash and the state of each quota, and the time. Quotas that others use right now are left
    /// out.
    pub fn each<R>(&self, mut look: impl FnMut([u8; 32], &mut T, Time) -> R) -> Vec<R> {
        let locked = |index: usize| {
            let lock = |_| self.lock(index).map_err(|_| std::thread::yield_now()).ok();
            (0..ATTEMPTS).find_map(lock).filter(|_| self.epoch(index) != 0).map(|locked| (index, locked))
        };
        let found = (0..QUOTAS).filter(|index| self.epoch(*index) != 0).filter_map(locked);
        let hash = |index| bytemuck::cast(self.hash(index));
        found.map(|(index, mut locked)| locked.with(|state| look(hash(index), state, platform::clock()))).collect()
    }

    /// Returns the place of a quota. If it is a new one, `fill` gets its state.
    fn place(&self, hash: [u64; 4], fill: impl FnOnce(&mut T)) -> Result<Slot, AccessError> {
        // A process that dies here leaves an entry that is free or whole: its epoch is 0 until the rest is written.
        let _table = self.lock_table()?;
        let now = platform::clock();
        let Some(index) = (0..QUOTAS).find(|index| self.epoch(*index) != 0 && self.hash(*index) == hash) else {
            return self.fill(hash, fill);
        };
        self.reserve(index)?;
        match self.lock(index) {
            Ok(mut locked) => locked.with(|state| {
                state.repair(now);
                self.absent().for_each(|member| state.release_member(member, now));
            }),
            Err(AccessError::Stuck) => {
                // What the stopped process does when it goes on, it does to the old place, which nobody gets before that.
                let slot = self.fill(hash, |state| {
                    self.copy(index, state);
                    state.repair(now);
                })?;
                self.word(index, entry::EPOCH).store(0, Ordering::Release);
                return Ok(slot);
            }
            Err(error) => return Err(error),
        }
        self.word(index, entry::USED).store(nanoseconds(now), Ordering::Relaxed);
        Ok(Slot::new(index, self.epoch(index)))
    }

    /// Gives a place to a quota. The table is locked.
    fn fill(&self, hash: [u64; 4], fill: impl FnOnce(&mut T)) -> Result<Slot, AccessError> {
        let now = platform::clock();
        let free =
            (0..QUOTAS).filter(|index| self.epoch(*index) == 0).find_map(|index| Some((index, self.lock(index).ok()?)));
        let (index, mut locked) = match free {
            Some(free) => free,
            None => {
                let index = self.longest_unused(nanoseconds(now)).ok_or(AccessError::Full)?;
                (index, self.lock(index)?)
            }
        };
        self.word(index, entry::EPOCH).store(0, Ordering::Release);
        self.reserve(index)?;
        locked.with(|state| {
            bytemuck::bytes_of_mut(state).fill(0);
            state.repair(now);
            fill(state);
        });
        for (place, value) in hash.into_iter().enumerate() {
            self.word(index, entry::HASH + place).store(value, Ordering::Relaxed);
        }
        self.word(index, entry::USED).store(nanoseconds(now), Ordering::Relaxed);
        let last = &self.words()[head::LAST_EPOCH];
        // 0 is a free entry's.
        let epoch = last.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1);
        self.word(index, entry::EPOCH).store(epoch, Ordering::Release);
        Ok(Slot::new(index, epoch))
    }

    fn word(&self, index: usize, word: usize) -> &AtomicU64 {
        &self.words()[layout::entry(index, word)]
    }

    pub(super) fn epoch(&self, index: usize) -> u64 {
        self.word(index, entry::EPOCH).load(Ordering::Acquire)
    }

    /// Takes over the states of a region whose file was removed, without what its members hold.
    pub(super) fn adopt(&self, old: &Self) {
        for index in 0..QUOTAS {
            if old.epoch(index) == 0 {
                continue;
            }
            if let Ok(mut locked) = old.lock(index) {
                let now = platform::clock();
                // A quota that is there already has another member's copy. One that is in use begins anew.
                let _ = self.place(old.hash(index), |state| {
                    locked.with(|before| *state = *before);
                    state.repair(now);
                    self.absent().for_each(|member| state.release_member(member, now));
                    state.release_member(self.member(), now);
                });
            }
        }
    }

    /// Returns the numbers that no member has.
    fn absent(&self) -> impl Iterator<Item = usize> {
        (0..MEMBERS).filter(|member| self.words()[layout::generation(*member)].load(Ordering::Acquire) == 0)
    }

    fn hash(&self, index: usize) -> [u64; 4] {
        std::array::from_fn(|place| self.word(index, entry::HASH + place).load(Ordering::Relaxed))
    }

    /// Takes memory for a quota's state: without it, touching the state would end the process.
    pub(super) fn reserve(&self, index: usize) -> Result<(), AccessError> {
        let begin = layout::state::<T>(index) as u64;
        self.file.reserve(begin..begin + size_of::<T>() as u64).map_err(|_| AccessError::Memory)
    }

    /// Returns the quota that was unused for the longest time, if that is a day at least.
    fn longest_unused(&self, now: u64) -> Option<usize> {
        let age = |index: usize| {
            let used = self.word(index, entry::USED);
            let last = used.load(Ordering::Relaxed);
            if last > now {
                // A time that is still to come is damage.
                used.store(now, Ordering::Relaxed);
            }
            now.saturating_sub(last)
        };
        (0..QUOTAS)
            .map(|index| (age(index), index))
            .max()
            .filter(|(age, _)| *age >= nanoseconds(UNUSED))
            .map(|(_, index)| index)
    }
}
