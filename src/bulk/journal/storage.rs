//! The files of a journal, behind a trait so that tests can let them fail.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use crate::platform;

/// File operations of a journal's writer.
pub(super) trait Storage: Send + Sync {
    /// Opens a file for appending; it is created with mode 0600 if it is missing.
    fn append_to(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;
    /// Creates a file that has room for this many bytes, so that they can be written when the disk is full.
    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()>;
    /// Gives a file another name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// A file that is appended to.
pub(super) trait AppendFile: Send {
    /// Appends bytes and returns how many.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file off.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// Gives the file a time of change that no later change will have, and returns it in nanoseconds since 1970.
    fn stamp(&mut self) -> io::Result<u64>;
}

/// The system's files.
pub(super) struct Disk;

impl Storage for Disk {
    fn append_to(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        Ok(Box::new(private(OpenOptions::new().append(true)).open(path)?))
    }

    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let mut file = private(OpenOptions::new().write(true).truncate(true)).open(path)?;
        if bytes > 0 && !platform::preallocate(&file, bytes)? {
            // Bytes that a file system with compression cannot make small.
            let mut random = fastrand::Rng::new();
            let mut block = vec![0; 1 << 16];
            let mut left = bytes;
            while left > 0 {
                random.fill(&mut block);
                let part = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                file.write_all(&block[..part])?;
                left -= part as u64;
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        // A file that could not be preallocated is full of random bytes, whose room is needed now.
        if from.metadata()?.len() > 0 {
            OpenOptions::new().write(true).truncate(true).open(from)?;
        }
        fs::rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        // Elsewhere a folder is no file that could be opened.
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    }
}

impl AppendFile for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn stamp(&mut self) -> io::Result<u64> {
        // The system's own times of change are those of a clock that stands still for milliseconds.
        self.set_modified(SystemTime::now())?;
        Ok(modified(&self.metadata()?))
    }
}

/// Returns a file's time of change in nanoseconds since 1970.
pub(super) fn modified(metadata: &fs::Metadata) -> u64 {
    let time = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}

/// Lets a file be created that only its owner can read.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.create(true)
}

#[cfg(test)]
thread_local! {
    /// Number of files that this thread has replaced and synced.
    pub(super) static SYNCS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// Writes a file as a whole: after a crash it has its old content or its new one, and with `is_synced` after a power cut too.
pub(super) fn replace(path: &Path, is_synced: bool, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let written = (|| {
        let mut file = private(OpenOptions::new().write(true).truncate(true)).open(&temporary)?;
        write(&mut file)?;
        if is_synced {
            #[cfg(test)]
            SYNCS.set(SYNCS.get() + 1);
            file.sync_all()?;
        }
        fs::rename(&temporary, path)?;
        if is_synced { Disk.sync_folder(path.parent().unwrap_or(Path::new("."))) } else { Ok(()) }
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}
