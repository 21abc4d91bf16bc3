//! An open file with locks that belong to this process alone.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};

use super::forks::{Registration, fork_epoch, identity};

/// An open file that forked children do not get, so that its locks end with this process.
///
/// The locks are those of the open file ("OFD locks", `fcntl(2)`): the kernel releases them when the process ends in any
/// way, and two openings of one file exclude each other within one process too. A stopped process keeps them.
#[derive(Debug)]
pub(super) struct OwnedFile {
    /// Taken when this is dropped.
    file: Option<File>,
    registration: Option<Registration>,
    identity: (u64, u64),
    epoch: u64,
}

impl OwnedFile {
    /// Takes an open file.
    ///
    /// # Errors
    ///
    /// Too many files are registered, or a system call failed.
    pub(super) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        let registration = Registration::new(&descriptor)?;
        Ok(Self {
            identity: identity(descriptor.as_fd())?,
            file: Some(File::from(descriptor)),
            registration: Some(registration),
            epoch: fork_epoch(),
        })
    }

    /// Returns the file.
    pub(super) fn file(&self) -> &File {
        self.file.as_ref().expect("a file is there until it is dropped")
    }

    /// Returns the numbers of the file's device and of the file on it.
    pub(super) fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// Returns true if the descriptor is open and stands for this file: a program can close all descriptors, as daemons do
    /// when they begin, and the locks are gone then.
    pub(super) fn is_open(&self) -> bool {
        self.epoch == fork_epoch() && self.is_this(self.file())
    }

    fn is_this(&self, file: &File) -> bool {
        identity(file.as_fd()).is_ok_and(|identity| identity == self.identity)
    }

    /// Locks bytes, which may be past the end, and returns true; false if another opening of the file has locked one.
    pub(super) fn try_lock(&self, bytes: Range<u32>) -> io::Result<bool> {
        match self.fcntl(libc::F_OFD_SETLK, libc::F_WRLCK, bytes) {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Unlocks bytes.
    pub(super) fn unlock(&self, bytes: Range<u32>) -> io::Result<()> {
        self.fcntl(libc::F_OFD_SETLK, libc::F_UNLCK, bytes).map(drop)
    }

    /// Returns true if another opening of the file has locked one of these bytes.
    pub(super) fn is_locked(&self, bytes: Range<u32>) -> io::Result<bool> {
        Ok(self.fcntl(libc::F_OFD_GETLK, libc::F_WRLCK, bytes)? != libc::F_UNLCK)
    }

    fn fcntl(&self, command: i32, kind: i32, bytes: Range<u32>) -> io::Result<i32> {
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
}

impl Drop for OwnedFile {
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
