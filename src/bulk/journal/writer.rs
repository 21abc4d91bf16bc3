//! The thread that writes outcomes into segments.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use super::failure::{JournalFailure, is_full};
use super::index::{Entry, Location, MAX_OFFSET, MAX_SEGMENT};
use super::queue::{CHUNK, Shared};
use super::segment::{self, Summary};
use super::storage::{AppendFile, Storage};
use super::{Durability, Options};
use crate::bulk::identity::Key;
use crate::bulk::line::{State, Totals};
use crate::bulk::outcome::Outcome;
use crate::error::ErrorKind;

/// Returns the path of the file whose room is used when the disk is full.
pub(super) fn reserve_path(job: &Path) -> PathBuf {
    job.join("reserve")
}

/// The writer is at its end, and the failure has been told.
#[derive(Debug)]
pub(super) struct Ended;

/// A line of the buffer.
struct Line {
    key: Key,
    state: State,
    /// Position in the buffer.
    start: usize,
    totals: Totals,
}

pub(super) struct Writer {
    job: PathBuf,
    storage: Arc<dyn Storage>,
    shared: Arc<Shared>,
    durability: Durability,
    segment_size: u64,
    file: Box<dyn AppendFile>,
    /// The segment that is written, up to its last line that has landed.
    segment: Summary,
    buffer: Vec<u8>,
    lines: Vec<Line>,
    /// True if the reserve has not been used.
    has_reserve: bool,
    /// The thread that ends the segment before.
    sealing: Option<JoinHandle<()>>,
}

impl Writer {
    /// Opens the last segment that is known, or the first. What is in it is durable then, if that was asked for.
    pub(super) fn open(
        job: &Path,
        storage: Arc<dyn Storage>,
        shared: Arc<Shared>,
        options: &Options,
        last: Option<Summary>,
    ) -> std::io::Result<Self> {
        let segment = last.unwrap_or(Summary { number: 1, is_whole: true, ..Summary::default() });
        if segment.number > MAX_SEGMENT {
            return Err(std::io::Error::other("there are too many segments"));
        }
        if options.reserve > 0 {
            storage.reserve(&reserve_path(job), options.reserve)?;
        }
        let mut file = storage.append_to(&segment::path_of(job, segment.number))?;
        if options.durability == Durability::Power {
            file.sync()?;
            for folder in [&segment::folder_of(job), job, job.parent().unwrap_or(job)] {
                storage.sync_folder(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?;
            }
        }
        Ok(Self {
            job: job.to_owned(),
            storage,
            shared,
            durability: options.durability,
            // A line begins within the part of a segment that the index can point to.
            segment_size: options.segment_size.min(MAX_OFFSET / 2),
            file,
            segment,
            buffer: Vec::new(),
            lines: Vec::new(),
            has_reserve: options.reserve > 0,
            sealing: None,
        })
    }

    /// Writes outcomes until there will be no more.
    pub(super) fn run(mut self) {
        // A failure has been told.
        let written = self.write_all();
        self.wait_for_sealing();
        if written.is_ok() && self.segment.length > 0 {
            seal(&self.job, &self.shared, self.durability, self.file, &self.segment);
        }
        let _ = std::fs::remove_file(reserve_path(&self.job));
    }

    fn write_all(&mut self) -> Result<(), Ended> {
        let mut batch = Vec::new();
        while self.shared.take(&mut batch) {
            for outcome in batch.drain(..) {
                self.add(&outcome)?;
            }
            self.commit()?;
        }
        Ok(())
    }

    /// Adds a line to the buffer; writes it out if there is enough.
    fn add(&mut self, outcome: &Outcome) -> Result<(), Ended> {
        let length = self.segment.length + self.buffer.len() as u64;
        if length > 0 && length + outcome.size_hint() as u64 > self.segment_size {
            self.commit()?;
            self.rotate()?;
        }
        if self.buffer.is_empty() && !self.segment.is_whole {
            // A line that was cut stays by itself.
            self.buffer.push(b'\n');
        }
        let start = self.buffer.len();
        outcome.encode(&mut self.buffer);
        self.lines.push(Line { key: outcome.key, state: outcome.state(), start, totals: outcome.totals() });
        if self.buffer.len() >= CHUNK { self.commit() } else { Ok(()) }
    }

    /// Writes the buffer out, makes it durable if that was asked for, and tells that its lines have landed.
    fn commit(&mut self) -> Result<(), Ended> {
        if self.lines.is_empty() {
            return Ok(());
        }
        while let Err((what, error)) = self.write() {
            // What was written of the buffer is written again. If this fails, it stands there twice or is cut.
            let _ = self.file.truncate(self.segment.length);
            self.use_reserve(what, &error)?;
        }
        let (number, length) = (self.segment.number, self.segment.length);
        let entries = self.lines.drain(..).map(|line| {
            // Within the limit: see `segment_size`.
            let location = Location { segment: number, offset: (length + line.start as u64) as u32 };
            self.segment.totals.add(&line.totals);
            (Entry::new(&line.key, line.state, location), line.totals)
        });
        self.shared.landed(entries);
        self.segment.length += self.buffer.len() as u64;
        self.segment.is_whole = true;
        self.buffer.clear();
        self.buffer.shrink_to(2 * CHUNK);
        Ok(())
    }

    /// Writes the buffer out once. An error has the verb for its message.
    fn write(&mut self) -> Result<(), (&'static str, std::io::Error)> {
        let mut rest = &self.buffer[..];
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(("write", std::io::ErrorKind::WriteZero.into())),
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(("write", error)),
            }
        }
        if self.durability == Durability::Power {
            self.file.sync().map_err(|error| (SYNC, error))?;
        }
        Ok(())
    }

    /// Goes on in the room that was reserved, for what is in flight. There will be no new rows.
    fn use_reserve(&mut self, what: &'static str, error: &std::io::Error) -> Result<(), Ended> {
        let path = segment::path_of(&self.job, self.segment.number);
        let mut failure = describe(what, &path, error);
        if std::mem::take(&mut self.has_reserve) && self.segment.number < MAX_SEGMENT {
            let next = self.segment.number + 1;
            let path = segment::path_of(&self.job, next);
            let opened = self.storage.rename(&reserve_path(&self.job), &path).and_then(|()| self.open_next(next));
            if let Ok((file, segment)) = opened {
                self.shared.fail(failure);
                if what != SYNC {
                    self.wait_for_sealing();
                    self.seal(file, segment);
                }
                return Ok(());
            }
        }
        failure.is_fatal = true;
        self.shared.fail(failure);
        Err(Ended)
    }

    /// Goes on with another segment, and returns the one before.
    fn open_next(&mut self, number: u32) -> std::io::Result<(Box<dyn AppendFile>, Summary)> {
        let file = self.storage.append_to(&segment::path_of(&self.job, number))?;
        if self.durability == Durability::Power {
            self.storage.sync_folder(&segment::folder_of(&self.job))?;
        }
        let segment = Summary { number, is_whole: true, ..Summary::default() };
        Ok((std::mem::replace(&mut self.file, file), std::mem::replace(&mut self.segment, segment)))
    }

    /// Ends the segment and begins the next one. The buffer is empty.
    fn rotate(&mut self) -> Result<(), Ended> {
        self.wait_for_sealing();
        let next = self.segment.number + 1;
        if next > MAX_SEGMENT {
            let error = std::io::Error::other("there are too many segments; a larger segment_size makes fewer");
            return self.use_reserve("go on after", &error);
        }
        match self.open_next(next) {
            Err(error) => self.use_reserve("begin the segment after", &error),
            Ok((file, segment)) => {
                self.seal(file, segment);
                Ok(())
            }
        }
    }

    /// Ends a segment on a thread of its own: an fsync takes a second where the disk is slow.
    fn seal(&mut self, file: Box<dyn AppendFile>, segment: Summary) {
        let (job, shared) = (self.job.clone(), self.shared.clone());
        let durability = self.durability;
        let seal = move || seal(&job, &shared, durability, file, &segment);
        match std::thread::Builder::new().name("ritellm-journal".to_owned()).spawn(seal) {
            Ok(thread) => self.sealing = Some(thread),
            Err(error) => self.shared.fail(describe("start a thread to fsync", &self.job, &error)),
        }
    }

    fn wait_for_sealing(&mut self) {
        if let Some(thread) = self.sealing.take() {
            // A panic leaves a segment without an index file.
            let _ = thread.join();
        }
    }
}

/// Makes a segment durable and writes its index file.
fn seal(job: &Path, shared: &Shared, durability: Durability, mut file: Box<dyn AppendFile>, segment: &Summary) {
    let is_synced = durability != Durability::Unsynced;
    let synced = if is_synced { file.sync() } else { Ok(()) };
    let sealed = synced.and_then(|()| {
        // Gives back the room that it has if it was the reserve.
        let _ = file.truncate(segment.length);
        file.stamp()
    });
    match sealed {
        // An index can be made again.
        Ok(modified) => {
            let entries = |shard: usize, out: &mut Vec<u8>| {
                shared.with_known(|known| segment::append_entries(&known.index, shard, segment.number, out));
            };
            let _ = segment::store_index_file(job, segment, modified, is_synced, entries);
        }
        // All of it has landed as far as a process can tell; there must be no new rows on such a disk.
        Err(error) => shared.fail(describe(SYNC, &segment::path_of(job, segment.number), &error)),
    }
}

/// Verb of the message for a failed fsync.
const SYNC: &str = "fsync";

fn describe(what: &'static str, path: &Path, error: &std::io::Error) -> JournalFailure {
    let path = path.display();
    let (kind, advice) = match what {
        SYNC => (
            ErrorKind::Journal,
            "the system may have dropped what it could not write, and would report success the next time \
             (https://lwn.net/Articles/752063/), so it is not tried again: check the disk, then run the job again",
        ),
        _ if is_full(error) => (
            ErrorKind::DiskFull,
            "no new rows are sent, and outcomes of those in flight are kept in reserved room: make room, then run the job \
             again",
        ),
        _ => (ErrorKind::Journal, "no new rows are sent: check the disk, then run the job again"),
    };
    JournalFailure { kind, message: format!("cannot {what} {path}: {error}; {advice}"), is_fatal: false }
}
