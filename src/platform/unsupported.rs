//! Systems without what [`platform`](crate::platform) offers: the types exist and have no values.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::{ClockId, LockError, OpenError};

/// A file in shared memory; there is none on this system.
#[derive(Debug)]
pub enum SharedFile {}

/// The content of a file in shared memory; there is none on this system.
#[derive(Debug)]
pub enum Mapping {}

/// A file that one process has locked; there is none on this system.
#[derive(Debug)]
pub enum LockFile {}

#[allow(missing_docs, clippy::missing_errors_doc)]
impl LockFile {
    pub fn lock(_path: &Path, _text: &str) -> Result<Self, LockError> {
        Err(LockError::Unsupported(std::env::consts::OS))
    }
    pub fn write(&self, _text: &str) -> io::Result<()> {
        match *self {}
    }
    pub fn owner(_path: &Path) -> Result<Option<String>, LockError> {
        Err(LockError::Unsupported(std::env::consts::OS))
    }
    pub fn is_held(&self) -> bool {
        match *self {}
    }
}

/// Returns false: this system cannot take room for a file without writing it.
#[allow(clippy::missing_errors_doc)]
pub fn preallocate(_file: &File, _length: u64) -> io::Result<bool> {
    Ok(false)
}

/// Returns `None`; what a path is on is not known.
pub fn network_file_system(_path: &Path) -> Option<&'static str> {
    None
}

/// Returns 0; the clock belongs to files that are not there.
pub fn clock() -> Duration {
    Duration::ZERO
}

/// Returns zeros; the clock belongs to files that are not there.
pub fn clock_id() -> ClockId {
    ClockId { boot: 0, namespace: 0 }
}

/// Returns 0; files that would be named by it are not there.
pub fn user_id() -> u32 {
    0
}

/// Returns 0; no fork is noticed.
pub fn fork_epoch() -> u64 {
    0
}

#[allow(missing_docs, clippy::missing_errors_doc, clippy::missing_panics_doc, clippy::missing_safety_doc)]
impl SharedFile {
    pub fn open(_name: &str) -> Result<Self, OpenError> {
        Err(OpenError::Unsupported(std::env::consts::OS))
    }
    pub fn path(name: &str) -> String {
        name.to_owned()
    }
    pub fn length(&self) -> io::Result<u64> {
        match *self {}
    }
    pub fn clear(&self, _length: u64) -> io::Result<()> {
        match *self {}
    }
    pub fn reserve(&self, _range: Range<u64>) -> io::Result<()> {
        match *self {}
    }
    pub fn read(&self, _buffer: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }
    pub fn map(&self, _words: usize, _length: usize) -> io::Result<Mapping> {
        match *self {}
    }
    pub fn try_lock(&self, _byte: u32) -> io::Result<bool> {
        match *self {}
    }
    pub fn unlock(&self, _byte: u32) -> io::Result<()> {
        match *self {}
    }
    pub fn is_locked(&self, _bytes: Range<u32>) -> io::Result<bool> {
        match *self {}
    }
    pub fn is_open(&self) -> bool {
        match *self {}
    }
    pub fn has_name(&self) -> bool {
        match *self {}
    }
    pub fn is_same(&self, _other: &Self) -> bool {
        match *self {}
    }
}

#[allow(missing_docs, clippy::mut_from_ref, clippy::missing_safety_doc)]
impl Mapping {
    pub fn words(&self) -> &[AtomicU64] {
        match *self {}
    }
    pub unsafe fn bytes(&self, _range: Range<usize>) -> &mut [u8] {
        match *self {}
    }
    pub fn copy(&self, _from: usize, _to: &mut [u8]) {
        match *self {}
    }
}
