//! A descriptor that an event loop watches, by which the network thread wakes the loop.

#[cfg(target_os = "linux")]
use std::fs::File;
use std::io::{Read, Result, Write};
use std::os::fd::{AsRawFd, RawFd};

/// Waker of an event loop: an `eventfd` on Linux, a pair of sockets elsewhere.
pub(crate) struct LoopWaker {
    #[cfg(target_os = "linux")]
    counter: File,
    #[cfg(not(target_os = "linux"))]
    ends: (std::os::unix::net::UnixStream, std::os::unix::net::UnixStream),
}

#[cfg(target_os = "linux")]
impl LoopWaker {
    /// Makes a waker.
    ///
    /// # Errors
    ///
    /// The process has no descriptor left.
    pub fn new() -> Result<Self> {
        use std::os::fd::{FromRawFd, OwnedFd};
        // SAFETY: a plain libc call.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: just made, and not owned elsewhere.
        Ok(Self { counter: unsafe { OwnedFd::from_raw_fd(descriptor) }.into() })
    }

    /// Returns the descriptor that the loop is to watch.
    pub fn descriptor(&self) -> RawFd {
        self.counter.as_raw_fd()
    }

    /// Makes the descriptor readable. A failure changes nothing: a counter that is full is readable already.
    pub fn wake(&self) {
        drop((&self.counter).write(&1_u64.to_ne_bytes()));
    }

    /// Makes the descriptor unreadable again.
    pub fn clear(&self) {
        drop((&self.counter).read(&mut [0; 8]));
    }
}

#[cfg(not(target_os = "linux"))]
impl LoopWaker {
    /// Makes a waker.
    ///
    /// # Errors
    ///
    /// The process has no descriptor left.
    pub fn new() -> Result<Self> {
        let ends = std::os::unix::net::UnixStream::pair()?;
        ends.0.set_nonblocking(true)?;
        ends.1.set_nonblocking(true)?;
        Ok(Self { ends })
    }

    /// Returns the descriptor that the loop is to watch.
    pub fn descriptor(&self) -> RawFd {
        self.ends.0.as_raw_fd()
    }

    /// Makes the descriptor readable. A failure changes nothing: a socket that is full is readable already.
    pub fn wake(&self) {
        drop((&self.ends.1).write(&[1]));
    }

    /// Makes the descriptor unreadable again.
    pub fn clear(&self) {
        let mut bytes = [0; 64];
        while (&self.ends.0).read(&mut bytes).is_ok_and(|read| read == bytes.len()) {}
    }
}
