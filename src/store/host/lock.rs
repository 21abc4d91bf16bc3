//! Locks in shared memory whose owner can die.
//!
//! A lock is a word that names its owner: a member's number and the generation that it got when it joined. Whether the owner
//! lives is known from the kernel, by the lock on the member's byte of the file; so a lock of a dead member is taken over,
//! and one of a stopped member is not. Nobody ever sleeps for a lock: it is held for less than a microsecond, and whoever
//! finds it taken tries again later.
//!
//! A robust mutex of pthread would hold pointers and thread ids in the file: a damaged file could stop its users for ever or
//! make them write to any address, thread ids are not unique between containers, and glibc's mutex is not musl's.

use std::sync::atomic::{AtomicU64, Ordering};

use super::layout::{MEMBERS, Words, generation};
use crate::platform::SharedFile;

/// Number of times that a lock is looked at before it is reported as taken: several times the length of a critical section.
const SPINS: u32 = 100;

/// Name of a member as the owner of locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    /// The member's number.
    pub member: usize,
    /// Unique for each joining.
    pub generation: u64,
}

impl Owner {
    /// Number of bits of a generation.
    pub(super) const GENERATION_BITS: u32 = 56;

    pub(super) fn word(self) -> u64 {
        self.generation << 8 | (self.member as u64 + 1)
    }

    /// Reads a word; `None` if it names no member.
    fn from_word(word: u64) -> Option<Self> {
        let member = usize::try_from(word & 0xff).ok()?.checked_sub(1)?;
        (member < MEMBERS).then_some(Self { member, generation: word >> 8 })
    }

    /// Returns true if the owner is a member that has died or left, or never was one.
    fn is_dead(word: u64, words: &Words, file: &SharedFile, own: Self) -> bool {
        let Some(owner) = Self::from_word(word) else { return true };
        if owner.member == own.member {
            // Another thread of this process, or somebody who had the number before.
            return owner != own;
        }
        words[generation(owner.member)].load(Ordering::Acquire) != owner.generation
            || file.is_locked(member_byte(owner.member)..member_byte(owner.member) + 1).is_ok_and(|locked| !locked)
    }
}

/// Byte of the file that is locked while somebody opens it.
pub(super) const SETUP_BYTE: u32 = 0;

/// Returns the byte of the file that a member locks as long as it lives.
pub(super) fn member_byte(member: usize) -> u32 {
    member as u32 + 1
}

/// State of a lock that was found taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// Word of the owner.
    pub owner: u64,
    /// Number of times that the lock was taken before.
    pub count: u64,
}

/// A lock that is held, until this is dropped.
#[derive(Debug)]
pub(super) struct Held<'a> {
    owner: &'a AtomicU64,
    word: u64,
    /// True if the owner before died or was evicted while it held the lock: what the lock protects may be half changed.
    pub recovered: bool,
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        // Fails if somebody else has it, which a damaged file can bring about.
        let _ = self.owner.compare_exchange(self.word, 0, Ordering::Release, Ordering::Relaxed);
    }
}

/// Takes the lock at a place of the words.
///
/// # Errors
///
/// Somebody else has it, and lives.
#[inline]
pub(super) fn try_lock<'a>(words: &'a Words, place: usize, file: &SharedFile, own: Owner) -> Result<Held<'a>, Taken> {
    let (owner, count) = (&words[place], &words[place + 1]);
    let word = own.word();
    let mut recovered = false;
    if owner.compare_exchange(0, word, Ordering::Acquire, Ordering::Relaxed).is_err() {
        recovered = wait(owner, count, word, |found| Owner::is_dead(found, words, file, own))?;
    }
    count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    Ok(Held { owner, word, recovered })
}

/// Waits for a moment and takes the lock, from a dead owner if need be; then it returns true.
#[cold]
fn wait(owner: &AtomicU64, count: &AtomicU64, word: u64, is_dead: impl Fn(u64) -> bool) -> Result<bool, Taken> {
    for _ in 0..SPINS {
        if owner.load(Ordering::Relaxed) == 0
            && owner.compare_exchange(0, word, Ordering::Acquire, Ordering::Relaxed).is_ok()
        {
            return Ok(false);
        }
        std::hint::spin_loop();
    }
    let found = owner.load(Ordering::Acquire);
    // Free since a moment ago, or owned by the dead. A generation is never used again: if the word is still the same, nobody
    // else has taken over.
    if (found == 0 || is_dead(found))
        && owner.compare_exchange(found, word, Ordering::Acquire, Ordering::Relaxed).is_ok()
    {
        return Ok(found != 0);
    }
    Err(Taken { owner: found, count: count.load(Ordering::Relaxed) })
}
