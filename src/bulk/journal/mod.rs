//! The journal of a job: outcomes in files that are journal and output at once.
//!
//! A job's folder:
//!
//! - `manifest.json`: what the job is ([`Manifest`])
//! - `lock`: number of the process that runs it
//! - `segments/00001.jsonl` …: one line for each outcome, in the order of completion. They are only appended to. A row that
//!   ran again has several lines, and the last one counts.
//! - `segments/00001.index` …: keys and places of the lines of a segment that is complete, made again if it does not fit
//! - `reserve`: room for the outcomes of calls in flight when the disk is full; it becomes a segment then
//!
//! A line that is cut or damaged is as if it were not there, and its row runs again. Files have mode 0600.

mod failure;
mod index;
mod lock;
mod manifest;
mod queue;
mod reader;
mod segment;
mod storage;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::watch;

pub use failure::JournalFailure;
pub(in crate::bulk) use failure::of_io;
pub use index::Location;
pub use lock::{Owner, owner};
pub use manifest::{Change, Manifest};
pub use queue::Progress;
pub(in crate::bulk) use reader::Lines;
pub use reader::{Outcomes, Reader};

use super::identity::Key;
use super::line::{State, Totals};
use super::outcome::Outcome;
use crate::client::notify;
use crate::error::{Error, ErrorKind, Result};
use lock::Lock;
use queue::{Known, Shared};
use storage::{Disk, Storage};
use writer::Writer;

/// What an outcome that has landed survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The end of the process, but nothing is ever waited for that only the disk can say. For folders that are thrown away, or
    /// that can be made again: an `fsync` beside a compiler was seen to take minutes.
    Unsynced,
    /// The end of the process, whatever ends it. Each segment and the manifest are synced, so that a disk that fails is told.
    #[default]
    Process,
    /// A power cut too: it has landed when `fsync` has returned. Outcomes that come meanwhile share the next one.
    Power,
}

/// Options of a journal.
#[derive(Debug, Clone)]
pub struct Options {
    /// What an outcome that has landed survives.
    pub durability: Durability,
    /// Length from which another segment is begun, in bytes.
    pub segment_size: u64,
    /// Room to reserve for the outcomes of calls in flight, in bytes; 0 for none.
    pub reserve: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { durability: Durability::Process, segment_size: 256 << 20, reserve: 64 << 20 }
    }
}

/// Number of keys by the state of their last outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Keys whose last outcome is an answer.
    pub done: u64,
    /// Keys whose last outcome is an error.
    pub failed: u64,
    /// Places of the segments that are damaged.
    pub damaged: u64,
}

/// The journal of a job that this process runs.
///
/// Outcomes are appended without waiting, and written by a thread. Memory is bounded by whoever appends: the place of a row in
/// flight is free when its outcome has [landed](Progress::landed), which takes a millisecond more, or an `fsync`.
pub struct Journal {
    job: PathBuf,
    lock: Arc<Lock>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// The process that opened it: a forked child has neither the thread nor the lock.
    process: u32,
    manifest: Option<Manifest>,
}

impl Journal {
    /// Opens the journal in a job's folder, which is created if it is missing. It blocks while segments are read that have no
    /// index file.
    ///
    /// # Errors
    ///
    /// Another job has the folder (`JobLocked`), there are other files in it (`InvalidArgument`), there is no room for the
    /// reserve (`DiskFull`), or a file cannot be read or written (`Journal`).
    pub fn open(job: &Path, options: &Options) -> Result<Self> {
        Self::open_on(job, options, Arc::new(Disk))
    }

    fn open_on(job: &Path, options: &Options, storage: Arc<dyn Storage>) -> Result<Self> {
        prepare(job)?;
        let lock = Arc::new(Lock::take(job)?);
        let manifest = Manifest::load(job)?;
        let in_segments = |error: io::Error| failure::of_io("use", &segment::folder_of(job), &error);
        let is_synced = options.durability != Durability::Unsynced;
        let (known, last) = load(job, Some((&*storage, is_synced))).map_err(in_segments)?;
        tell(job, lock.network, known.damaged);
        let shared = Arc::new(Shared::new(known));
        let last = last.filter(|last| last.length < options.segment_size).or_else(|| {
            let number = last?.number + 1;
            Some(segment::Summary { number, is_whole: true, ..segment::Summary::default() })
        });
        let writer = Writer::open(job, storage, shared.clone(), options, last).map_err(in_segments)?;
        let of_writer = shared.clone();
        let thread = std::thread::Builder::new().name("ritellm-journal".to_owned()).spawn(move || {
            let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| writer.run()));
            if ran.is_err() {
                let message = "the journal's thread panicked".to_owned();
                of_writer.fail(JournalFailure { kind: ErrorKind::Internal, message, is_fatal: true });
            }
            of_writer.end();
        });
        let thread = thread.map_err(|error| failure::of_io("start a thread for", job, &error))?;
        let process = std::process::id();
        Ok(Self { job: job.to_owned(), lock, shared, thread: Some(thread), process, manifest })
    }

    /// Returns the job's folder.
    pub fn folder(&self) -> &Path {
        &self.job
    }

    /// Returns the description of the job as it was when the journal was opened; `None` if the job is new.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// Returns the name of the network file system that the folder is on, if it is known to be on one: whether the lock keeps
    /// processes of other machines out depends on its server.
    pub fn network_file_system(&self) -> Option<&'static str> {
        self.lock.network
    }

    /// Returns the state of a key's last outcome; `None` if it has none.
    pub fn find(&self, key: &Key) -> Option<State> {
        self.shared.with_known(|known| known.index.find(key)).map(|(state, _)| state)
    }

    /// Returns the numbers of keys that have an outcome.
    pub fn counts(&self) -> Counts {
        self.shared.with_known(Known::counts)
    }

    /// Returns the sums over all outcomes of all runs.
    pub fn totals(&self) -> Totals {
        self.shared.with_known(|known| known.totals)
    }

    /// Appends an outcome and returns its number among those that were appended, from 1: it has landed when
    /// [`Progress::landed`] is as large.
    ///
    /// # Errors
    ///
    /// The writer has ended by a failure, or the journal belongs to another process, of which this is a fork.
    pub fn append(&self, outcome: Outcome) -> Result<u64> {
        self.shared.append(outcome).map_err(|failure| match failure {
            Some(failure) => failure.error(),
            None => Error::new(ErrorKind::Journal, format!("the journal {} is closed", self.job.display())).unsent(),
        })
    }

    /// Returns the number of outcomes that were appended and have not landed.
    pub fn backlog(&self) -> u64 {
        self.shared.backlog()
    }

    /// Lets what was appended be written now, and not when there is more.
    pub fn hurry(&self) {
        self.shared.hurry();
    }

    /// Returns a view of how far the journal is, which can be waited for.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.shared.progress()
    }

    /// Waits until everything that was appended has landed. It blocks.
    ///
    /// # Errors
    ///
    /// A failure, even if what was appended has landed.
    pub fn flush(&self) -> Result<()> {
        self.shared.flush();
        self.shared.failure().map_or(Ok(()), |failure| Err(failure.error()))
    }

    /// Returns a reader of the outcomes.
    pub fn reader(&self) -> Reader {
        Reader::of(self.job.clone(), self.shared.clone())
    }

    /// Returns what notes are written with that other processes read. The folder stays locked while it is used.
    pub(in crate::bulk) fn notes(&self) -> Arc<Lock> {
        self.lock.clone()
    }

    /// Returns true if this process has the lock: false in a forked child.
    pub fn is_held(&self) -> bool {
        self.process == std::process::id() && self.lock.is_held()
    }

    /// Writes what was appended, makes it durable, and ends. It blocks.
    ///
    /// # Errors
    ///
    /// A failure since the journal was opened.
    pub fn close(mut self) -> Result<()> {
        self.end();
        self.shared.failure().map_or(Ok(()), |failure| Err(failure.error()))
    }

    fn end(&mut self) {
        if self.process != std::process::id() {
            // The thread is the parent's.
            std::mem::forget(self.thread.take());
        }
        if let Some(thread) = self.thread.take() {
            self.shared.close();
            // A panic has been told as a failure.
            let _ = thread.join();
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.end();
    }
}

impl Known {
    fn counts(&self) -> Counts {
        Counts { done: self.index.len(State::Done), failed: self.index.len(State::Failed), damaged: self.damaged }
    }
}

/// Tells what the user of a job should know of its folder.
fn tell(job: &Path, network: Option<&str>, damaged: u64) {
    let job = job.display();
    if let Some(name) = network {
        notify(format!(
            "{job} is on a network file system ({name}): whether its lock keeps processes of other machines out depends on the \
             server"
        ));
    }
    if damaged > 0 {
        notify(format!("lines at {damaged} places of {job} are cut or damaged: their rows run again"));
    }
}

/// Creates a job's folder. One with other files in it is not used: outcomes would be strewn among them.
fn prepare(job: &Path) -> Result<()> {
    let create = || -> io::Result<bool> {
        std::fs::create_dir_all(job)?;
        let mut names =
            std::fs::read_dir(job)?.collect::<io::Result<Vec<_>>>()?.into_iter().map(|entry| entry.file_name());
        let is_job = ["segments", "manifest.json", "lock"].iter().any(|name| job.join(name).exists());
        if !is_job && names.next().is_some() {
            return Ok(false);
        }
        std::fs::create_dir_all(segment::folder_of(job))?;
        Ok(true)
    };
    match create() {
        Ok(true) => Ok(()),
        Ok(false) => {
            let job = job.display();
            Err(Error::argument(format!("out: {job} has other files in it; a new or empty folder would be right"))
                .unsent())
        }
        Err(error) => Err(failure::of_io("create", job, &error)),
    }
}

/// Reads what a job's segments have, and returns the last segment. With a storage, index files that are missing are written,
/// and synced if that is true, except for that of the last segment.
fn load(job: &Path, storage: Option<(&dyn Storage, bool)>) -> io::Result<(Known, Option<segment::Summary>)> {
    let numbers = segment::numbers(job)?;
    let mut known = Known::default();
    known.index.reserve(numbers.iter().map(|number| segment::expected(job, *number)).sum());
    let mut last = None;
    for number in &numbers {
        let (summary, was_read) = segment::load(job, *number, &mut known.index)?;
        known.totals.add(&summary.totals);
        known.damaged += summary.damaged;
        last = Some(summary);
        if let Some((storage, is_synced)) = storage.filter(|_| was_read && Some(number) != numbers.last()) {
            // An index file only saves time.
            let stored = storage.append_to(&segment::path_of(job, *number)).and_then(|mut file| file.stamp());
            let entries = |shard: usize, out: &mut Vec<u8>| segment::append_entries(&known.index, shard, *number, out);
            let _ = stored.and_then(|modified| segment::store_index_file(job, &summary, modified, is_synced, entries));
        }
    }
    Ok((known, last))
}

#[cfg(test)]
pub(in crate::bulk) mod tests;
