//! A file's content in memory that other processes have too.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw};

/// The content of a file. It begins with words that all processes read and write as atomics; after them there is data that
/// belongs to one process at a time, by rules of the caller.
#[derive(Debug)]
pub struct Mapping {
    map: MmapRaw,
    words: usize,
}

impl Mapping {
    /// Maps the first `length` bytes of a file, of which `words` times 8 bytes are words.
    pub(super) fn new(file: &File, words: usize, length: usize) -> io::Result<Self> {
        if file.metadata()?.len() < length as u64 || words.checked_mul(8).is_none_or(|bytes| bytes > length) {
            return Err(io::Error::other("the file is shorter than it must be"));
        }
        // The pages are shared with all who have the file open.
        Ok(Self { map: MmapOptions::new().len(length).map_raw(file)?, words })
    }

    /// Returns the words at the beginning.
    #[inline]
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is as long (`new`), aligned to a page and alive as long as `self`. Nothing but atomics is made
        // of these bytes: `bytes` begins after them, and other processes have code like this.
        unsafe { std::slice::from_raw_parts(self.map.as_mut_ptr().cast::<AtomicU64>(), self.words) }
    }

    /// Returns a part of the data after the words.
    ///
    /// # Panics
    ///
    /// If the range is not within the data.
    ///
    /// # Safety
    ///
    /// No other reference to these bytes may be in use, in this process or in another.
    #[allow(clippy::mut_from_ref)]
    #[inline]
    pub unsafe fn bytes(&self, range: Range<usize>) -> &mut [u8] {
        assert!(range.start >= self.words * 8 && range.start <= range.end && range.end <= self.map.len());
        // SAFETY: the range is within the mapping, and the caller sees to it that nobody else uses it.
        unsafe { std::slice::from_raw_parts_mut(self.map.as_mut_ptr().add(range.start), range.len()) }
    }

    /// Copies a part of the data that a stopped process was changing; what it writes meanwhile may be in the copy or not.
    ///
    /// # Panics
    ///
    /// If the range is not within the data.
    pub fn copy(&self, from: usize, to: &mut [u8]) {
        assert!(from >= self.words * 8 && to.len() <= self.map.len() && from <= self.map.len() - to.len());
        for (offset, byte) in to.iter_mut().enumerate() {
            // SAFETY: within the mapping. The owner of the lock is another process, so that no reference of this one is in
            // use; volatile, because that process may go on.
            *byte = unsafe { self.map.as_mut_ptr().add(from + offset).read_volatile() };
        }
    }
}
