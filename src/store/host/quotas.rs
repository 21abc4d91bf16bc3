//! The table of quotas: which hash has which place.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::error::AccessError;
use super::layout::{self, MEMBERS, QUOTAS, entry, head};
use super::region::{HostRegion, SharedState, Slot, nanoseconds};
use crate::platform;

/// Time after which the place of a quota that nobody uses may be given away.
const UNUSED: Duration = Duration::from_secs(24 * 60 * 60);

impl<T: SharedState> HostRegion<T> {
    /// Returns the place of the quota whose name has this hash; a new one gets the place of one that nobody has used for a
    /// day if no place is free.
    ///
    /// # Errors
    ///
    /// All places are taken, there is not enough memory, another process uses the table or the quota, or this process is no
    /// longer a member.
    pub fn quota(&self, hash: &[u8; 32]) -> Result<Slot, AccessError> {
        self.place(bytemuck::cast(*hash), |_| ())
    }

    /// Returns the place of a quota. If it is a new one, `fill` gets its state.
    fn place(&self, hash: [u64; 4], fill: impl FnOnce(&mut T)) -> Result<Slot, AccessError> {
        // A process that dies here leaves an entry that is free or whole: its epoch is 0 until the rest is written.
        let _table = self.lock_table()?;
        let now = platform::clock();
        let word = |index, word| &self.words()[layout::entry(index, word)];
        let epoch = |index| word(index, entry::EPOCH).load(Ordering::Acquire);
        if let Some(index) = (0..QUOTAS).find(|index| epoch(*index) != 0 && self.hash(*index) == hash) {
            self.reserve(index)?;
            self.lock(index)?.with(|state| {
                state.repair(now);
                self.absent().for_each(|member| state.release_member(member, now));
            });
            word(index, entry::USED).store(nanoseconds(now), Ordering::Relaxed);
            return Ok(Slot::new(index, epoch(index)));
        }
        let free = (0..QUOTAS).find(|index| epoch(*index) == 0);
        let index = free.or_else(|| self.longest_unused(nanoseconds(now))).ok_or(AccessError::Full)?;
        self.reserve(index)?;
        let mut locked = self.lock(index)?;
        word(index, entry::EPOCH).store(0, Ordering::Release);
        locked.with(|state| {
            bytemuck::bytes_of_mut(state).fill(0);
            state.repair(now);
            fill(state);
        });
        for (place, value) in hash.into_iter().enumerate() {
            word(index, entry::HASH + place).store(value, Ordering::Relaxed);
        }
        word(index, entry::USED).store(nanoseconds(now), Ordering::Relaxed);
        let last = &self.words()[head::LAST_EPOCH];
        // 0 is a free entry's.
        let epoch = last.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1);
        word(index, entry::EPOCH).store(epoch, Ordering::Release);
        Ok(Slot::new(index, epoch))
    }

    /// Takes over the states of a region whose file was removed, without what its members hold.
    pub(super) fn adopt(&self, old: &Self) {
        for index in 0..QUOTAS {
            if old.words()[layout::entry(index, entry::EPOCH)].load(Ordering::Acquire) == 0 {
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
        std::array::from_fn(|place| self.words()[layout::entry(index, entry::HASH + place)].load(Ordering::Relaxed))
    }

    /// Takes memory for a quota's state: without it, touching the state would end the process.
    pub(super) fn reserve(&self, index: usize) -> Result<(), AccessError> {
        let begin = layout::state::<T>(index) as u64;
        self.file.reserve(begin..begin + size_of::<T>() as u64).map_err(|_| AccessError::Memory)
    }

    /// Returns the quota that was unused for the longest time, if that is a day at least.
    fn longest_unused(&self, now: u64) -> Option<usize> {
        let age = |index: usize| {
            let used = &self.words()[layout::entry(index, entry::USED)];
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
