//! Entries in a folder, a file each, which any number of processes use at once.
//!
//! A file is written under another name and then renamed, so that a process that is killed leaves no half of an entry under its
//! name; a file that is damaged all the same has a wrong checksum, and is no entry. Each process counts what it writes, and
//! after a sixteenth of the maximum looks at the whole folder and removes the oldest files until the rest fits.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::entry::Entry;
use super::key::Key;
use super::lock;
use crate::client::notify;
use crate::error::{Error, Result};

/// Number of bytes that a file takes at least.
const BLOCK: u64 = 4096;
/// Maximum size of a file that is read.
const MAX_FILE: u64 = 256 << 20;
/// Age of a file's time from which on reading it makes it young again: to write the time at each read would cost a write.
const TOUCH_AFTER: Duration = Duration::from_secs(600);
/// Age of a temporary file that nobody will finish any more.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Entries in a folder.
pub struct Disk {
    folder: PathBuf,
    max_bytes: u64,
    /// Number of bytes written since the folder was looked at, to begin with so many that it is.
    written: AtomicU64,
    /// Held by the one who removes files.
    sweep: Mutex<()>,
    /// True if writing fails, which is said once.
    is_failing: AtomicBool,
}

impl Disk {
    /// Opens a folder, and makes it if it is missing. Returns its salt as well, which is `random` if there is none yet.
    ///
    /// # Errors
    ///
    /// The folder cannot be made, or cannot be written.
    pub fn open(path: &Path, max_bytes: u64, random: [u8; 32]) -> Result<(Self, [u8; 32])> {
        let folder = path.join("v1");
        let failed =
            |error: &std::io::Error| Error::argument(format!("path: {} cannot be used: {error}", path.display()));
        make_folder(&folder.join("new")).map_err(|error| failed(&error))?;
        let disk = Self {
            folder,
            max_bytes,
            written: AtomicU64::new(u64::MAX / 2),
            sweep: Mutex::default(),
            is_failing: AtomicBool::default(),
        };
        let salt = disk.salt(random).map_err(|error| failed(&error))?;
        Ok((disk, salt))
    }

    /// Returns the salt of the folder. The first process that comes writes it; a link fails where there is one already.
    fn salt(&self, random: [u8; 32]) -> std::io::Result<[u8; 32]> {
        let path = self.folder.join("salt");
        let read = || -> std::io::Result<[u8; 32]> {
            let bytes = fs::read(&path)?;
            bytes.try_into().map_err(|_| std::io::Error::other("the file \"salt\" is damaged: remove the folder"))
        };
        if let Err(error) = read() {
            if error.kind() != std::io::ErrorKind::NotFound {
                return Err(error);
            }
            let fresh = self.write_new(&random)?;
            // Of several at once, one succeeds.
            let linked = fs::hard_link(&fresh, &path);
            fs::remove_file(&fresh)?;
            if let Err(error) = linked
                && error.kind() != std::io::ErrorKind::AlreadyExists
            {
                // A file system without links.
                write_private(&path, &random)?;
            }
        }
        read()
    }

    fn path(&self, key: &Key) -> PathBuf {
        let name = key.hex();
        self.folder.join(&name[..2]).join(&name[2..])
    }

    /// Returns the bytes of an entry.
    pub fn get(&self, key: &Key) -> Option<Bytes> {
        let mut file = File::open(self.path(key)).ok()?;
        let about = file.metadata().ok()?;
        if !about.is_file() || about.len() > MAX_FILE {
            return None;
        }
        let mut bytes = Vec::with_capacity(about.len() as usize);
        file.read_to_end(&mut bytes).ok()?;
        if about.modified().ok()?.elapsed().is_ok_and(|age| age > TOUCH_AFTER) {
            // Where the time cannot be set, the oldest file goes first, used or not.
            let _ = file.set_modified(SystemTime::now());
        }
        Some(bytes.into())
    }

    /// Keeps an entry. If that fails, it is not kept.
    pub fn put(&self, key: &Key, entry: &Entry) {
        let bytes = entry.encode(key);
        let path = self.path(key);
        let kept = self.write_new(&bytes).and_then(|fresh| {
            let renamed = fs::rename(&fresh, &path).or_else(|_| {
                make_folder(path.parent().unwrap_or(&self.folder))?;
                fs::rename(&fresh, &path)
            });
            renamed.inspect_err(|_| drop(fs::remove_file(&fresh)))
        });
        match kept {
            Ok(()) => {
                self.is_failing.store(false, Ordering::Relaxed);
                let size = bytes.len() as u64 + BLOCK;
                if self.written.fetch_add(size, Ordering::Relaxed).saturating_add(size) > self.max_bytes / 16 {
                    self.sweep();
                }
            }
            Err(error) if !self.is_failing.swap(true, Ordering::Relaxed) => {
                notify(format!("answers cannot be kept in {}: {error}", self.folder.display()));
            }
            Err(_) => {}
        }
    }

    /// Writes a new file, and returns its path.
    fn write_new(&self, bytes: &[u8]) -> std::io::Result<PathBuf> {
        let path = self.folder.join("new").join(format!("{}-{:016x}", std::process::id(), super::random_seed()));
        match write_private(&path, bytes) {
            Ok(()) => Ok(path),
            Err(error) => {
                // What was written of it, on a disk that is full.
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    /// Calls a function with each entry's file: its path, its time and the number of bytes that it takes.
    fn each(&self, mut visit: impl FnMut(PathBuf, SystemTime, u64)) {
        let Ok(folders) = fs::read_dir(&self.folder) else { return };
        for folder in folders.flatten().filter(|folder| folder.file_name().len() == 2) {
            for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                if let Ok(about) = file.metadata() {
                    let time = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                    visit(file.path(), time, about.len().div_ceil(BLOCK) * BLOCK);
                }
            }
        }
    }

    /// Returns the number of entries, and of the bytes that they take.
    pub fn scan(&self) -> (u64, u64) {
        let (mut count, mut bytes) = (0, 0);
        self.each(|_, _, size| (count, bytes) = (count + 1, bytes + size));
        (count, bytes)
    }

    /// Removes the oldest files until all fit into five sixths of the maximum. One thread does, and the others do not wait.
    fn sweep(&self) {
        let Ok(_guard) = self.sweep.try_lock() else { return };
        self.written.store(0, Ordering::Relaxed);
        let mut files = Vec::new();
        self.each(|path, time, size| files.push((time, size, path)));
        let mut bytes: u64 = files.iter().map(|(_, size, _)| size).sum();
        // Room for what is written until the next look.
        let most = self.max_bytes / 16 * 15;
        if bytes > most {
            files.sort_unstable();
            for (_, size, path) in files {
                if bytes <= most / 10 * 9 {
                    break;
                }
                // Another process may have removed it.
                let _ = fs::remove_file(path);
                bytes -= size;
            }
        }
        for file in fs::read_dir(self.folder.join("new")).into_iter().flatten().flatten() {
            let age = file.metadata().and_then(|about| about.modified()).ok().and_then(|time| time.elapsed().ok());
            if age.is_some_and(|age| age > ABANDONED) {
                let _ = fs::remove_file(file.path());
            }
        }
    }

    /// Removes all entries.
    pub fn clear(&self) {
        let _guard = lock(&self.sweep);
        self.each(|path, _, _| drop(fs::remove_file(path)));
    }
}

/// Makes a folder that only this user can read, and those above it.
fn make_folder(path: &Path) -> std::io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

/// Writes a file that only this user can read. There must be none of this name.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.write(true).create_new(true).open(path)?.write_all(bytes)
}
