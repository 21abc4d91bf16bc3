//! Detection of programs that close all file descriptors, those of the network thread among them.

/// Message of the error that callers get when their call was lost with its descriptors.
pub(crate) const LOST: &str = "the program has closed the descriptors of its connections under them (os.closerange?): calls \
                               that were under way are lost, and later ones open connections anew";

/// A sentinel descriptor that stands for all descriptors of the runtime.
///
/// Where `os.closerange` or the start of a daemon has closed the sentinel, it has closed the others too. A look costs a
/// system call, and is made when the network thread has to be woken, which costs another.
pub(super) struct Descriptors {
    #[cfg(unix)]
    sentinel: Option<(std::mem::ManuallyDrop<std::fs::File>, (u64, u64))>,
}

#[cfg(unix)]
impl Descriptors {
    /// Opens the sentinel: a socket, since each socket has an inode of its own, which tells it from another file under the
    /// same number.
    pub fn open() -> Self {
        let socket = std::os::unix::net::UnixDatagram::unbound().map(std::os::fd::OwnedFd::from);
        let file = socket.map(std::fs::File::from).ok();
        let sentinel = file.and_then(|file| Some((Self::inode(&file)?, file)));
        Self { sentinel: sentinel.map(|(inode, file)| (std::mem::ManuallyDrop::new(file), inode)) }
    }

    fn inode(file: &std::fs::File) -> Option<(u64, u64)> {
        use std::os::unix::fs::MetadataExt;
        file.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
    }

    /// Returns true if the descriptors are still open.
    pub fn are_open(&self) -> bool {
        self.sentinel.as_ref().is_none_or(|(file, inode)| Self::inode(file) == Some(*inode))
    }
}

#[cfg(not(unix))]
impl Descriptors {
    /// Makes a sentinel that is always open.
    pub fn open() -> Self {
        Self {}
    }

    /// Returns true.
    pub fn are_open(&self) -> bool {
        true
    }
}
