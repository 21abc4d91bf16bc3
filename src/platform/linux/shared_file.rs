//! A file in the system's directory for shared memory, `/dev/shm`.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

use super::forks::identity;
use super::mapping::Mapping;
use super::owned_file::OwnedFile;
use crate::platform::OpenError;

const DIRECTORY: &str = "/dev/shm";

/// A file that only this user can open, with a lock on each of its bytes, which ends with this process.
#[derive(Debug)]
pub struct SharedFile {
    owned: OwnedFile,
    path: String,
}

impl SharedFile {
    /// Opens the file of this name, or creates an empty one.
    ///
    /// # Errors
    ///
    /// It is not a regular file of this user with mode 0600 and one name, or a system call failed.
    pub fn open(name: &str) -> Result<Self, OpenError> {
        let path = Self::path(name);
        let descriptor = open(&path, OFlags::CREATE).map_err(|error| match error {
            Errno::LOOP => OpenError::Refused("it is a symbolic link"),
            Errno::ACCESS | Errno::PERM => OpenError::Refused("it belongs to another user"),
            Errno::ISDIR => OpenError::Refused("it is not a regular file"),
            error => OpenError::Io(error.into()),
        })?;
        let file = Self { owned: OwnedFile::new(descriptor)?, path };
        let metadata = file.file().metadata()?;
        let refused = if !metadata.is_file() {
            "it is not a regular file"
        } else if metadata.uid() != super::user_id() {
            "it belongs to another user"
        } else if metadata.mode() & 0o077 != 0 {
            "other users can open it: its mode must be 0600"
        } else if metadata.nlink() > 1 {
            "it has another name (a hard link)"
        } else {
            return Ok(file);
        };
        Err(OpenError::Refused(refused))
    }

    /// Returns the path of the file of this name.
    pub fn path(name: &str) -> String {
        format!("{DIRECTORY}/{name}")
    }

    /// Returns the file's length in bytes.
    ///
    /// # Errors
    ///
    /// The system call failed.
    pub fn length(&self) -> io::Result<u64> {
        Ok(self.file().metadata()?.len())
    }

    /// Empties the file and gives it this length in bytes, all of them 0.
    ///
    /// # Errors
    ///
    /// The system call failed.
    pub fn clear(&self, length: u64) -> io::Result<()> {
        self.file().set_len(length)?;
        // Never shorter in between: a process that still has the file mapped would end when it touched a missing page.
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::io::retry_on_intr(|| rustix::fs::fallocate(self.file(), hole, 0, length))?)
    }

    /// Takes memory for a part of the file, so that a write to it cannot fail: without memory it would end the process.
    ///
    /// # Errors
    ///
    /// There is not enough memory, or the system call failed.
    pub fn reserve(&self, range: Range<u64>) -> io::Result<()> {
        let length = range.end.saturating_sub(range.start);
        Ok(rustix::io::retry_on_intr(|| {
            rustix::fs::fallocate(self.file(), FallocateFlags::empty(), range.start, length)
        })?)
    }

    /// Reads from the beginning of the file and returns how many bytes there were.
    ///
    /// # Errors
    ///
    /// The system call failed.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file().read_at(buffer, 0)
    }

    /// Maps the first `length` bytes into memory, of which `words` times 8 bytes are words.
    ///
    /// # Errors
    ///
    /// The file is shorter or was removed, or a system call failed.
    pub fn map(&self, words: usize, length: usize) -> io::Result<Mapping> {
        // A mapping keeps its open file, a forked child has the mapping, and the locks end when nobody has the open file
        // any more: so it gets one of its own.
        let second = open(&self.path, OFlags::empty())?;
        if identity(second.as_fd())? != self.owned.identity() {
            return Err(io::Error::other("the file was replaced while it was opened"));
        }
        Mapping::new(&File::from(second), words, length)
    }

    /// Locks one byte, which may be past the end, and returns true; false if another opening of the file has locked it.
    ///
    /// # Errors
    ///
    /// The system call failed.
    pub fn try_lock(&self, byte: u32) -> io::Result<bool> {
        self.owned.try_lock(byte..byte + 1)
    }

    /// Unlocks one byte.
    ///
    /// # Errors
    ///
    /// The system call failed.
    pub fn unlock(&self, byte: u32) -> io::Result<()> {
        self.owned.unlock(byte..byte + 1)
    }

    /// Returns true if another opening of the file has locked one of these bytes.
    ///
    /// # Errors
    ///
    /// The system call failed.
    pub fn is_locked(&self, bytes: Range<u32>) -> io::Result<bool> {
        self.owned.is_locked(bytes)
    }

    /// Returns true if the descriptor is open and stands for this file: a program can close all descriptors, as daemons do
    /// when they begin, and the locks are gone then.
    pub fn is_open(&self) -> bool {
        self.owned.is_open()
    }

    fn file(&self) -> &File {
        self.owned.file()
    }

    /// Returns true if the file still has its name: others find it.
    pub fn has_name(&self) -> bool {
        self.file().metadata().is_ok_and(|metadata| metadata.nlink() > 0)
    }

    /// Returns true if both are one file.
    pub fn is_same(&self, other: &Self) -> bool {
        self.owned.identity() == other.owned.identity()
    }
}

/// Opens a file as `shm_open` does it; that of rustix follows symbolic links (1.1).
fn open(path: &str, create: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::open(path, flags | create, Mode::RUSR | Mode::WUSR)
}
