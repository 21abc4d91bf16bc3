//! Places of the words in a region's file.
//!
//! The file begins with words of 64 bits, which are read and written as atomics: the head, the generation of each member,
//! and an entry for each quota. The states of the quotas follow, each on pages of its own.

use std::sync::atomic::AtomicU64;

pub use crate::limits::ledger::MEMBERS;

/// Maximum number of quotas.
pub const QUOTAS: usize = 256;

/// Version of the meaning of the words. The rest of what must be equal in all members is counted in by [`version`].
const LAYOUT: u64 = 1;
/// The first word of a file that is complete.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"ritellm\x01");
const PAGE: usize = 4096;

/// Words of the head.
pub(super) mod head {
    pub(crate) const MAGIC: usize = 0;
    pub(crate) const VERSION: usize = 1;
    pub(crate) const BOOT: [usize; 2] = [2, 3];
    pub(crate) const CLOCK_NAMESPACE: usize = 4;
    /// The generation of the member that joined last.
    pub(crate) const LAST_GENERATION: usize = 5;
    /// The epoch of the entry that was filled last.
    pub(crate) const LAST_EPOCH: usize = 6;
    /// Time of the last look for dead members, in nanoseconds.
    pub(crate) const REAPED: usize = 7;
    /// Lock of the table of quotas.
    pub(crate) const TABLE: usize = 8;
    /// Number of words of the head.
    pub(crate) const LENGTH: usize = 64;
}

/// Words of an entry: one line of a cache.
pub(super) mod entry {
    /// Offset of the lock, which [`LOCK_WORDS`](super::LOCK_WORDS) describes.
    pub(crate) const LOCK: usize = 0;
    /// Number that is unique for each filling of an entry; 0 if it is free.
    pub(crate) const EPOCH: usize = 2;
    /// Time of the last use, in nanoseconds.
    pub(crate) const USED: usize = 3;
    /// Four words of the quota's hash.
    pub(crate) const HASH: usize = 4;
    pub(crate) const LENGTH: usize = 8;
}

/// Number of words of a lock: its owner, and the number of times that it was taken.
#[allow(dead_code, reason = "says how the constants above come about")]
pub(super) const LOCK_WORDS: usize = 2;

const ENTRIES: usize = head::LENGTH + MEMBERS;
pub(super) const WORDS: usize = ENTRIES + QUOTAS * entry::LENGTH;
/// Offset of the first state in bytes.
const STATES: usize = (WORDS * 8).next_multiple_of(PAGE);

/// Returns the place of a member's generation: unique for each joining, 0 if nobody has this number.
#[inline]
pub(super) fn generation(member: usize) -> usize {
    head::LENGTH + member
}

/// Returns the place of a word of a quota's entry.
#[inline]
pub(super) fn entry(index: usize, word: usize) -> usize {
    ENTRIES + index * entry::LENGTH + word
}

/// Returns the offset in bytes of a quota's state of type `T`.
#[inline]
pub(super) const fn state<T>(index: usize) -> usize {
    STATES + index * size_of::<T>().next_multiple_of(PAGE)
}

/// Returns the length in bytes of the file for states of type `T`.
pub(super) const fn length<T>() -> usize {
    state::<T>(QUOTAS)
}

/// Returns the length in bytes of what comes before the states.
pub(super) const fn words_length() -> usize {
    STATES
}

/// Returns a hash of all numbers that must be equal in processes that share a region.
pub(super) fn version<T>(state: u32) -> u64 {
    let numbers = [
        LAYOUT,
        MEMBERS as u64,
        QUOTAS as u64,
        size_of::<T>() as u64,
        align_of::<T>() as u64,
        u64::from(state),
        WORDS as u64,
    ];
    // FNV-1a: told apart must be a few versions, not what an attacker makes up.
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    numbers.iter().flat_map(|number| number.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325, |hash, byte| mix(hash, &byte))
}

/// The words of a file.
pub(super) type Words = [AtomicU64];
