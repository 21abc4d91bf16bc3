//! A file that one process has locked.

use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::owned_file::OwnedFile;
use crate::platform::LockError;

/// The byte that is locked.
const BYTE: std::ops::Range<u32> = 0..1;
/// Maximum length of the text of an owner that is read.
const MAX_TEXT: u64 = 1024;

/// A file that this process has locked. The lock ends when this is dropped or the process ends, and forked children do not
/// inherit it.
#[derive(Debug)]
pub struct LockFile {
    owned: OwnedFile,
}

impl LockFile {
    /// Locks a file, which is created with mode 0600 if it is missing, and writes `text` into it for others to read.
    ///
    /// # Errors
    ///
    /// It is locked by another opening, or a system call failed.
    pub fn lock(path: &Path, text: &str) -> Result<Self, LockError> {
        loop {
            let owned = OwnedFile::new(open(path, OFlags::CREATE)?)?;
            if !owned.try_lock(BYTE)? {
                return Err(LockError::Locked(read(&owned)?));
            }
            // Whoever removes the file takes its name from us, not the lock: the next one would lock another file.
            if has_name(&owned, path) {
                let file = Self { owned };
                file.write(text)?;
                return Ok(file);
            }
        }
    }

    /// Replaces the text, by one that begins alike.
    ///
    /// # Errors
    ///
    /// A system call failed.
    pub fn write(&self, text: &str) -> io::Result<()> {
        self.owned.file().write_all_at(text.as_bytes(), 0)?;
        self.owned.file().set_len(text.len() as u64)
    }

    /// Returns the text of the process that has locked a file; `None` if nobody has, or there is no such file.
    ///
    /// # Errors
    ///
    /// A system call failed.
    pub fn owner(path: &Path) -> Result<Option<String>, LockError> {
        let descriptor = match open(path, OFlags::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            descriptor => descriptor?,
        };
        let owned = OwnedFile::new(descriptor)?;
        Ok(if owned.is_locked(BYTE)? { Some(read(&owned)?) } else { None })
    }

    /// Returns true if this process still has the lock: false in a forked child, and if the program closed the descriptor.
    pub fn is_held(&self) -> bool {
        self.owned.is_open()
    }
}

fn open(path: &Path, create: OFlags) -> io::Result<std::os::fd::OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(rustix::fs::open(path, flags | create, Mode::RUSR | Mode::WUSR)?)
}

fn read(owned: &OwnedFile) -> io::Result<String> {
    let mut text = Vec::new();
    owned.file().take(MAX_TEXT).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn has_name(owned: &OwnedFile, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    path.symlink_metadata().is_ok_and(|named| (named.dev(), named.ino()) == owned.identity())
}
