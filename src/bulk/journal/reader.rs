//! Reading of outcomes: in the order of completion while a job runs or afterwards, and by key.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::index::Location;
use super::queue::{Known, Shared};
use super::segment::{self, Scanner};
use super::{Counts, failure};
use crate::bulk::identity::Key;
use crate::bulk::line::{self, State, Tail, Totals};
use crate::bulk::outcome::Outcome;
use crate::error::Result;

/// Length of the piece that is read at a place, in bytes: neighbours in the input are often neighbours in a segment.
const WINDOW: usize = 32 << 10;
/// Number of segments that are open at the same time.
const MAX_OPEN: usize = 64;

/// A reader of a job's outcomes: of a job of this process, with what lands meanwhile; or of any job's folder, as it was when
/// the reader was opened.
#[derive(Clone)]
pub struct Reader {
    job: PathBuf,
    shared: Arc<Shared>,
}

impl Reader {
    pub(super) fn of(job: PathBuf, shared: Arc<Shared>) -> Self {
        Self { job, shared }
    }

    /// Opens the folder of a job, which may be running in any process. It blocks while segments are read that have no index
    /// file.
    ///
    /// # Errors
    ///
    /// A segment cannot be read.
    pub fn open(job: &Path) -> Result<Self> {
        let (known, _) =
            super::load(job, None).map_err(|error| failure::of_io("read", &segment::folder_of(job), &error))?;
        Ok(Self::of(job.to_owned(), Arc::new(Shared::new(known))))
    }

    /// Returns the state and the place of a key's last outcome; `None` if it has none.
    pub fn find(&self, key: &Key) -> Option<(State, Location)> {
        self.shared.with_known(|known| known.index.find(key))
    }

    /// Returns the numbers of keys that have an outcome.
    pub fn counts(&self) -> Counts {
        self.shared.with_known(Known::counts)
    }

    /// Returns the sums over all outcomes of all runs.
    pub fn totals(&self) -> Totals {
        self.shared.with_known(|known| known.totals)
    }

    /// Returns the outcomes in the order of completion.
    pub fn outcomes(&self) -> Outcomes {
        Outcomes { reader: self.clone(), number: 0, scanner: None, lines: VecDeque::new() }
    }

    /// Returns a reader of single lines.
    pub(in crate::bulk) fn lines(&self) -> Lines {
        Lines { job: self.job.clone(), open: Vec::new(), window: Vec::new(), place: Location { segment: 0, offset: 0 } }
    }
}

/// Outcomes in the order of completion. Each row comes once, with its last outcome. If a row runs again while they are read,
/// it may come again.
pub struct Outcomes {
    reader: Reader,
    /// Number of the segment that is read, or 0.
    number: u32,
    scanner: Option<Scanner<File>>,
    lines: VecDeque<Bytes>,
}

impl Outcomes {
    /// Returns the next outcome; `None` if there is no more at present: there may be more later, while the job runs.
    ///
    /// # Errors
    ///
    /// A segment cannot be read.
    pub fn next_outcome(&mut self) -> Result<Option<Outcome>> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                // Its checksum has been compared.
                if let Some(outcome) = Outcome::decode(&line) {
                    return Ok(Some(outcome));
                }
            } else if !self.advance().map_err(|error| failure::of_io("read", &self.path(), &error))? {
                return Ok(None);
            }
        }
    }

    fn path(&self) -> PathBuf {
        segment::path_of(&self.reader.job, self.number)
    }

    /// Reads on. Returns false if there is no more at present.
    fn advance(&mut self) -> io::Result<bool> {
        if self.step()? {
            return Ok(true);
        }
        let numbers = segment::numbers(&self.reader.job)?;
        let Some(next) = numbers.into_iter().find(|number| *number > self.number) else { return Ok(false) };
        // Nothing is appended to a segment when there is the next one; what was before that is there now.
        if self.step()? {
            return Ok(true);
        }
        self.finish();
        self.number = next;
        self.scanner = Some(Scanner::new(File::open(self.path())?));
        Ok(true)
    }

    /// Reads a piece of the segment. Returns false at its present end.
    fn step(&mut self) -> io::Result<bool> {
        let Some(scanner) = &mut self.scanner else { return Ok(false) };
        scanner.step(&mut collect(&self.reader, self.number, &mut self.lines))
    }

    /// Reads what is left of the segment: a line that was cut.
    fn finish(&mut self) {
        if let Some(mut scanner) = self.scanner.take() {
            scanner.finish(&mut collect(&self.reader, self.number, &mut self.lines));
        }
    }
}

/// Returns a function that collects lines unless a later one of the same key is known.
fn collect<'a>(reader: &'a Reader, segment: u32, lines: &'a mut VecDeque<Bytes>) -> impl FnMut(&[u8], u64, &Tail) + 'a {
    move |line, position, tail| {
        let here = (segment, position);
        let last = reader.find(&tail.key).map(|(_, last)| (last.segment, u64::from(last.offset)));
        if last.is_none_or(|last| last <= here) {
            lines.push_back(Bytes::copy_from_slice(line));
        }
    }
}

/// A reader of single lines, in any order.
pub(in crate::bulk) struct Lines {
    job: PathBuf,
    open: Vec<(u32, File)>,
    /// A piece of a segment, and its place.
    window: Vec<u8>,
    place: Location,
}

impl Lines {
    /// Returns the line of a key's outcome, without its newline; `None` if it is damaged. Then the segment is read as a whole
    /// when the job is opened again.
    ///
    /// # Errors
    ///
    /// The segment cannot be read.
    pub(in crate::bulk) fn read(&mut self, key: &Key, place: Location) -> Result<Option<&[u8]>> {
        let path = segment::path_of(&self.job, place.segment);
        let (start, end) = self.find(place).map_err(|error| failure::of_io("read", &path, &error))?;
        let line = &self.window[start..end];
        let is_intact = line::check(line).is_some_and(|tail| tail.key == *key);
        if !is_intact {
            segment::remove_index_file(&self.job, place.segment);
        }
        Ok(is_intact.then_some(line))
    }

    /// Returns where in the window the line at a place is.
    fn find(&mut self, place: Location) -> io::Result<(usize, usize)> {
        let start = place.offset.wrapping_sub(self.place.offset) as usize;
        if place.segment == self.place.segment
            && place.offset >= self.place.offset
            && let Some(length) = self.window.get(start..).and_then(|rest| memchr::memchr(b'\n', rest))
        {
            return Ok((start, start + length));
        }
        self.place = place;
        self.window.clear();
        let mut file = self.open(place.segment)?;
        file.seek(io::SeekFrom::Start(place.offset.into()))?;
        loop {
            let known = self.window.len();
            let count = file.by_ref().take(WINDOW.max(known) as u64).read_to_end(&mut self.window)?;
            match memchr::memchr(b'\n', &self.window[known..]) {
                Some(newline) => return Ok((0, known + newline)),
                None if count == 0 => return Ok((0, known)),
                None => {}
            }
        }
    }

    fn open(&mut self, segment: u32) -> io::Result<File> {
        if let Some((_, file)) = self.open.iter().find(|(number, _)| *number == segment) {
            return file.try_clone();
        }
        if self.open.len() == MAX_OPEN {
            self.open.clear();
        }
        let file = File::open(segment::path_of(&self.job, segment))?;
        self.open.push((segment, file.try_clone()?));
        Ok(file)
    }
}
