//! A file in the system's directory for shared memory, `/dev/shm`.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

use super::forks::{Registration, fork_epoch, identity};
use super::mapping::Mapping;
use crate::platform::OpenError;

const DIRECTORY: &str = "/dev/shm";

/// A file that only this user can open, with a lock on each of its bytes.
///
/// The locks are those of the open file ("OFD locks", `fcntl(2)`): the kernel releases them when the process ends in any
/// way, and two openings of one file exclude each other within one process too. A stopped process keeps them.
#[derive(Debug)]
pub struct SharedFile {
    /// Taken when this is dropped.
    file: Option<File>,
    path: String,
    registration: Option<Registration>,
    identity: (u64, u64),
    epoch: u64,
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
        let registration = Registration::new(&descriptor)?;
        let file = Self {
            identity: identity(descriptor.as_fd())?,
            file: Some(File::from(descriptor)),
            path,
            registration: Some(registration),
            epoch: fork_epoch(),
        };
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
        if identity(second.as_fd())? != self.identity {
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
        match self.lock(libc::F_OFD_SETLK, libc::F_WRLCK, byte..byte + 1) {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Unlocks one byte.
    ///
    /// # Errors
    ///
    /// The system call failed.
    pub fn unlock(&self, byte: u32) -> io::Result<()> {
        self.lock(libc::F_OFD_SETLK, libc::F_UNLCK, byte..byte + 1).map(drop)
    }

    /// Returns true if another opening of the file has locked one of these bytes.
    ///
    /// # Errors
    ///
    /// The system call failed.
    pub fn is_locked(&self, bytes: Range<u32>) -> io::Result<bool> {
        Ok(self.lock(libc::F_OFD_GETLK, libc::F_WRLCK, bytes)? != libc::F_UNLCK)
    }

    fn lock(&self, command: i32, kind: i32, bytes: Range<u32>) -> io::Result<i32> {
        let mut lock = libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: libc::off_t::from(bytes.start),
            l_len: libc::off_t::from(bytes.end - bytes.start),
            l_pid: 0,
        };
        loop {
            // SAFETY: the descriptor is this file's, and these commands read and write one `flock` each.
            if unsafe { libc::fcntl(self.file().as_raw_fd(), command, &raw mut lock) } >= 0 {
                return Ok(lock.l_type.into());
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    /// Returns true if the descriptor is open and stands for this file: a program can close all descriptors, as daemons do
    /// when they begin, and the locks are gone then.
    pub fn is_open(&self) -> bool {
        self.epoch == fork_epoch() && self.is_this(self.file())
    }

    fn is_this(&self, file: &File) -> bool {
        identity(file.as_fd()).is_ok_and(|identity| identity == self.identity)
    }

    fn file(&self) -> &File {
        self.file.as_ref().expect("a file is there until it is dropped")
    }

    /// Returns true if the file still has its name: others find it.
    pub fn has_name(&self) -> bool {
        self.file().metadata().is_ok_and(|metadata| metadata.nlink() > 0)
    }

    /// Returns true if both are one file.
    pub fn is_same(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

/// Opens a file as `shm_open` does it; that of rustix follows symbolic links (1.1).
fn open(path: &str, create: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::open(path, flags | create, Mode::RUSR | Mode::WUSR)
}

impl Drop for SharedFile {
    fn drop(&mut self) {
        let file = self.file.take();
        if self.epoch != fork_epoch() {
            // In a forked child the descriptor is closed already, and the place of the registration may be another file's.
            std::mem::forget(self.registration.take());
            file.map(IntoRawFd::into_raw_fd);
            return;
        }
        self.registration = None;
        if !file.as_ref().is_some_and(|file| self.is_this(file)) {
            file.map(IntoRawFd::into_raw_fd);
        }
    }
}
