//! Joining and leaving a region, and freeing what dead members held.
//!
//! A member has a number, and locks the byte of that number as long as it lives. Whoever gets the lock of a byte whose
//! generation is not 0 knows that the member died, and that nobody else is freeing what it held.

use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::error::AccessError;
use super::layout::{self, MEMBERS, QUOTAS, head};
use super::lock::{Owner, member_byte};
use super::region::{HostRegion, SharedState, nanoseconds};
use crate::platform;

/// Time between two looks for dead members, by whomever.
const REAP_INTERVAL: Duration = Duration::from_secs(1);
/// Number of attempts to lock a quota whose seats are to be freed.
const ATTEMPTS: usize = 3;

impl<T: SharedState> HostRegion<T> {
    /// Takes a number, of which `own` tells afterwards; it stays as it is if there is none. The setup byte is locked.
    pub(super) fn join(&mut self) -> io::Result<()> {
        let nobody = self.own;
        for member in 0..MEMBERS {
            if !self.file.try_lock(member_byte(member))? {
                continue;
            }
            self.own = Owner { member, generation: self.next_generation() };
            // From here on, locks of this owner are a living member's.
            let before = self.words()[layout::generation(member)].swap(self.own.generation, Ordering::AcqRel);
            if before == 0 || self.release_all(member) {
                return Ok(());
            }
            // Not all seats of the one before are freed. Somebody does that later: the generation says that it is needed.
            self.own = nobody;
            self.file.unlock(member_byte(member))?;
        }
        Ok(())
    }

    fn next_generation(&self) -> u64 {
        let last = &self.words()[head::LAST_GENERATION];
        loop {
            let next = last.fetch_add(1, Ordering::Relaxed).wrapping_add(1) & ((1 << Owner::GENERATION_BITS) - 1);
            if next != 0 {
                return next;
            }
        }
    }

    /// Number of members, this one included; dead ones count until their seats are freed.
    pub fn members(&self) -> usize {
        let is_member = |member: &usize| self.words()[layout::generation(*member)].load(Ordering::Relaxed) != 0;
        if self.is_member() { (0..MEMBERS).filter(is_member).count() } else { 1 }
    }

    /// Frees what members held that died since, and returns their number. Looks at most once a second, whichever member
    /// asks; to be called by those who wait, as often as they like.
    ///
    /// # Errors
    ///
    /// This process is no longer a member, or others do not find the region any more since its file was removed.
    pub fn reap(&self) -> Result<usize, AccessError> {
        if !self.is_member() {
            return Err(AccessError::Left);
        }
        let now = platform::clock();
        {
            let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
            if now.saturating_sub(*checked) >= REAP_INTERVAL {
                if !self.is_current() {
                    return Err(AccessError::Left);
                }
                *checked = now;
            }
        }
        let (reaped, now) = (&self.words()[head::REAPED], nanoseconds(now));
        let last = reaped.load(Ordering::Relaxed);
        // A time that is still to come is damage.
        let is_due = last > now || now - last >= nanoseconds(REAP_INTERVAL);
        if !is_due || reaped.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return Ok(0);
        }
        Ok((0..MEMBERS).filter(|member| self.reap_member(*member).unwrap_or(false)).count())
    }

    /// Frees what a member held, if it is dead, and returns true then.
    fn reap_member(&self, member: usize) -> io::Result<bool> {
        let generation = &self.words()[layout::generation(member)];
        if member == self.own.member
            || generation.load(Ordering::Relaxed) == 0
            || !self.file.try_lock(member_byte(member))?
        {
            return Ok(false);
        }
        let is_freed = generation.load(Ordering::Acquire) != 0 && self.release_all(member);
        if is_freed {
            generation.store(0, Ordering::Release);
        }
        self.file.unlock(member_byte(member))?;
        Ok(is_freed)
    }

    /// Frees what a member holds of all quotas, and returns true unless others use one of them right now.
    fn release_all(&self, member: usize) -> bool {
        let now = platform::clock();
        let release = |index: usize| {
            (0..ATTEMPTS).any(|attempt| {
                if attempt > 0 {
                    std::thread::yield_now();
                }
                let locked = self.reserve(index).and_then(|()| self.lock(index));
                locked.map(|mut locked| locked.with(|state| state.release_member(member, now))).is_ok()
            })
        };
        // All of them are tried.
        (0..QUOTAS).filter(|index| self.epoch(*index) != 0 && !release(*index)).count() == 0
    }
}

impl<T: SharedState> Drop for HostRegion<T> {
    /// Frees what this member holds. What is in use right now, others free later.
    fn drop(&mut self) {
        // Without its descriptor the number may be another's by now.
        if self.is_member() && self.file.is_open() && self.release_all(self.own.member) {
            let generation = &self.words()[layout::generation(self.own.member)];
            let _ = generation.compare_exchange(self.own.generation, 0, Ordering::Release, Ordering::Relaxed);
        }
    }
}
