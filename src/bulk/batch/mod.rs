//! Jobs through the providers' batches: from rows to the files of batches, and from their results to outcomes.
//!
//! A batch's rows are two files in the job's folder, `batches/00001.requests` in the provider's own format, and
//! `batches/00001.rows` with what is needed to read its results: number, key and call of each row. When the batch is made is
//! the package's decision (`_batch_state.py`); here is no network.
//!
//! - `row`: a row on its way through batches, and its line; `part`: the files of a batch; `result`: from a line of results to
//!   an outcome

mod part;
mod result;
mod row;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::identity::Key;
use super::journal::{Journal, Manifest, of_io};
use super::line::State;
use super::outcome::Outcome;
use super::run::{Input, ReadCounts, RowObserver, Status};
use crate::catalog::Catalog;
use crate::client::Call;
use crate::error::{Error, ErrorKind, Result};
use crate::providers::RowAnswer;
use part::Parts;
pub use part::{Limits, Part};
use result::{Settled, Settler};
use row::BatchRow;

/// A job that runs through batches.
pub struct Batches {
    /// The journal.
    pub journal: Arc<Journal>,
    /// Description of the job, as it was stored.
    pub manifest: Manifest,
    input: Input,
    parts: Parts,
    catalog: Option<Arc<Catalog>>,
    status: Arc<Status>,
    options: Options,
    /// Keys of rows in batches that were there at the start.
    elsewhere: HashSet<Key>,
    /// Numbers of batches that are not at the provider and have rows with outcomes, of a run with calls in between.
    pub outdated: Vec<u32>,
    /// Keys of the rows so far, if rows that ask for the same are one call.
    seen: Option<HashSet<Key>>,
    /// Told the outcome of each row.
    pub observer: Option<Arc<dyn RowObserver>>,
    is_exhausted: bool,
}

/// How a job runs through batches.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Number of times that a row is in a batch, at most.
    pub max_attempts: u32,
    /// True if rows that ended as errors run again.
    pub retry_failed: bool,
    /// True if only the first row of each key runs.
    pub dedupe: bool,
}

/// The results of a batch.
#[derive(Debug, Default)]
pub struct BatchResults {
    /// Files with lines of results.
    pub files: Vec<PathBuf>,
    /// What became of the rows that are in none of them.
    pub missing: Missing,
    /// Rows that the provider refused when it read the batch, by their places in it, with code and message.
    pub refused: HashMap<usize, (String, String)>,
    /// Time at which the batch was made, since 1970.
    pub started: Duration,
    /// Time that it took.
    pub latency: Duration,
    /// True if the job had the batch cancelled: rows that were not answered go into the next one, if there is any.
    pub is_given_up: bool,
}

/// What became of rows without a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missing {
    /// The provider lost them.
    #[default]
    Lost,
    /// The batch expired.
    Expired,
    /// The batch was cancelled.
    Cancelled,
    /// The batch was never begun: they go into the next one.
    Unsent,
}

/// What became of the rows of a batch.
#[derive(Debug, Default)]
pub struct Landed {
    /// Number of rows that were answered.
    pub done: u64,
    /// Number of rows whose outcome is an error.
    pub failed: u64,
    /// The batches of those that go again.
    pub again: Vec<Part>,
    /// Number of lines of results that belong to no row of the batch.
    pub strangers: u64,
    /// A failure of the account, such as a used-up quota, for which the job should pause.
    pub halt: Option<Box<Error>>,
}

impl Batches {
    /// Creates it. `tag` begins the ids of rows at the provider, `known` are the numbers of the batches that have no results
    /// yet, and whether each may be at the provider, and `next` is that of the next one. Files of other batches are removed:
    /// they were never meant to be sent.
    ///
    /// # Errors
    ///
    /// The files cannot be read.
    #[expect(clippy::too_many_arguments, reason = "one caller, which has them all by name")]
    pub fn new(
        journal: Arc<Journal>,
        manifest: Manifest,
        input: Input,
        catalog: Option<Arc<Catalog>>,
        status: Arc<Status>,
        options: Options,
        tag: String,
        known: &[(u32, bool)],
        next: u32,
    ) -> Result<Self> {
        let numbers: Vec<u32> = known.iter().map(|(number, _)| *number).collect();
        let parts = Parts::open(journal.folder().join("batches"), tag, &numbers, next, catalog.clone())?;
        let (mut elsewhere, mut outdated) = (HashSet::new(), Vec::new());
        for (number, is_away) in known {
            let mut is_outdated = false;
            for row in Rows::open(&parts, *number)?.iter()? {
                let key = row?.key;
                match !is_away && is_settled(&journal, &key, options) {
                    true => is_outdated = true,
                    false => drop(elsewhere.insert(key)),
                }
            }
            if is_outdated {
                outdated.push(*number);
            }
        }
        let seen = options.dedupe.then(HashSet::new);
        let (observer, is_exhausted) = (None, false);
        Ok(Self {
            journal,
            manifest,
            input,
            parts,
            catalog,
            status,
            options,
            elsewhere,
            outdated,
            seen,
            observer,
            is_exhausted,
        })
    }

    /// Returns the input, for another run.
    pub fn into_input(self) -> (Arc<Journal>, Manifest, Input) {
        (self.journal, self.manifest, self.input)
    }

    /// Reads rows until a batch is full, and writes its files. `None` if there are no more.
    ///
    /// # Errors
    ///
    /// The rows cannot be read, or the files or the journal cannot be written.
    pub fn cut(&mut self, limits: Limits) -> Result<Option<Part>> {
        self.parts.limits = limits;
        self.input.has_begun = true;
        let mut counts = ReadCounts::default();
        while !self.is_exhausted {
            let Some(row) = self.input.source.next()? else {
                self.is_exhausted = true;
                break;
            };
            counts.read += 1;
            let number = row.number;
            let (key, call) = (self.input.prepare)(row);
            let is_repeated = self.seen.as_mut().is_some_and(|seen| !seen.insert(key));
            match self.journal.find(&key) {
                _ if is_repeated => counts.repeated += 1,
                // It is counted when its batch lands.
                _ if self.elsewhere.remove(&key) => {}
                Some(State::Done) => counts.done += 1,
                Some(State::Failed) if !self.options.retry_failed => counts.failed += 1,
                _ => {
                    let row = match call {
                        Ok(call) => Ok(BatchRow::new(number, key, call)),
                        Err(error) => Err(Outcome::failed(number, key, None, Duration::ZERO, *error)),
                    };
                    if let Some(part) = self.put(row)? {
                        counts.tell(&self.status, self.input.source.progress());
                        return Ok(Some(part));
                    }
                }
            }
            if counts.read >= 1000 {
                counts.tell(&self.status, self.input.source.progress());
            }
        }
        counts.tell(&self.status, None);
        self.parts.close_one()
    }

    /// Puts a row into a batch, or its failure into the journal. Returns a batch that has become full.
    fn put(&mut self, row: Result<BatchRow, Outcome>) -> Result<Option<Part>> {
        let (failed, asked) = match row {
            Ok(row) => match self.parts.add(&row, &mut self.input.calls)? {
                Ok(full) => return Ok(full),
                Err(error) => {
                    let asked = self.observed(&row);
                    let BatchRow { number, key, call, .. } = row;
                    (Outcome::failed(number, key, call.id, Duration::ZERO, *error), asked)
                }
            },
            Err(outcome) => (outcome, None),
        };
        self.append(failed, asked)?;
        self.status.update(|status| status.failed += 1);
        Ok(None)
    }

    /// Returns the call of a row, if somebody wants to know.
    fn observed(&mut self, row: &BatchRow) -> Option<Call> {
        self.observer.as_ref()?;
        self.input.calls.make(row.call.clone()).ok().map(|work| work.call)
    }

    fn append(&self, outcome: Outcome, asked: Option<Call>) -> Result<()> {
        if let Some(observer) = &self.observer {
            observer.ended(&outcome, asked.as_ref());
        }
        self.journal.append(outcome).map(drop)
    }

    /// Takes the results of a batch. When it returns, all outcomes have landed, and the rows that go again are in the files of
    /// further batches. Done twice, it has the same effect as once.
    ///
    /// # Errors
    ///
    /// A file cannot be read or written.
    pub fn land(&mut self, number: u32, results: &BatchResults) -> Result<Landed> {
        let mut rows = Rows::open(&self.parts, number)?;
        let mut landed = Landed::default();
        let mut seen = vec![false; rows.offsets.len()];
        self.parts.limits = Limits::default();
        let of_cut = self.parts.swap_open(HashMap::new());
        let mut settler = Settler::new(self.catalog.clone(), self.options.max_attempts, results)?;
        for path in &results.files {
            let mut lines = Lines::open(path)?;
            let mut line = Vec::new();
            while lines.next(&mut line)? {
                for result in rows.read_line(&line, &mut self.input.calls)? {
                    match self.parts.index_of(number, &result.id).filter(|index| *index < seen.len()) {
                        Some(index) if !std::mem::replace(&mut seen[index], true) => {
                            let row = rows.get(index)?;
                            match result.answer {
                                RowAnswer::Cancelled if results.is_given_up => self.again(row, &mut landed)?,
                                answer => self.settle(&mut settler, row, answer, &mut landed)?,
                            }
                        }
                        // Twice the same row.
                        Some(_) => {}
                        None => landed.strangers += 1,
                    }
                }
            }
        }
        for index in (0..seen.len()).filter(|index| !seen[*index]) {
            let answer = match (results.refused.get(&index), results.missing) {
                (Some((code, message)), _) => RowAnswer::Failed { code: code.clone(), message: message.clone() },
                (None, Missing::Unsent) => {
                    let row = rows.get(index)?;
                    self.again(row, &mut landed)?;
                    continue;
                }
                (None, Missing::Expired) => RowAnswer::Expired,
                (None, Missing::Cancelled) => RowAnswer::Cancelled,
                (None, Missing::Lost) => RowAnswer::Failed {
                    // Results without an id may be those of these rows: to ask again could be to pay twice.
                    code: if landed.strangers > 0 { "result_without_id" } else { "no_result" }.into(),
                    message: "the batch has no result for this row".into(),
                },
            };
            let row = rows.get(index)?;
            self.settle(&mut settler, row, answer, &mut landed)?;
        }
        landed.again.extend(self.parts.close_all()?);
        self.parts.swap_open(of_cut);
        self.journal.flush()?;
        landed.halt = settler.halt.take();
        self.status.update(|status| {
            status.done += landed.done;
            status.failed += landed.failed;
            status.input_tokens += settler.usage.all_input();
            status.output_tokens += settler.usage.all_output();
            status.has_unknown_cost |= settler.has_unknown_cost;
            status.cost = self.journal.totals().cost;
        });
        Ok(landed)
    }

    fn settle(&mut self, settler: &mut Settler, row: BatchRow, answer: RowAnswer, landed: &mut Landed) -> Result<()> {
        // Its outcome has landed before, and the process ended before the batch was noted as done.
        if self.journal.find(&row.key) == Some(State::Done) {
            landed.done += 1;
            return Ok(());
        }
        let asked = self.observed(&row);
        match settler.settle(row, answer, &mut self.input.calls) {
            Settled::Again(row) => self.again(*row, landed),
            Settled::Ended(outcome) => {
                match outcome.failure {
                    None => landed.done += 1,
                    Some(_) => landed.failed += 1,
                }
                self.append(*outcome, asked)
            }
        }
    }

    fn again(&mut self, row: BatchRow, landed: &mut Landed) -> Result<()> {
        landed.again.extend(self.put(Ok(row))?);
        Ok(())
    }

    /// Writes the rows of a batch that was not made, but for those that have outcomes, into the files of other ones.
    ///
    /// # Errors
    ///
    /// A file cannot be read or written.
    pub fn split(&mut self, number: u32, limits: Limits) -> Result<Vec<Part>> {
        self.parts.limits = limits;
        let of_cut = self.parts.swap_open(HashMap::new());
        let mut landed = Landed::default();
        for row in Rows::open(&self.parts, number)?.iter()? {
            let row = row?;
            if !is_settled(&self.journal, &row.key, self.options) {
                self.again(row, &mut landed)?;
            }
        }
        landed.again.extend(self.parts.close_all()?);
        self.parts.swap_open(of_cut);
        Ok(landed.again)
    }

    /// Ends the batches that are not full.
    ///
    /// # Errors
    ///
    /// Their files cannot be written.
    pub fn flush(&mut self) -> Result<Vec<Part>> {
        self.parts.close_all()
    }
}

/// Returns true if a row needs no call: it has an outcome.
fn is_settled(journal: &Journal, key: &Key, options: Options) -> bool {
    match journal.find(key) {
        Some(State::Done) => true,
        Some(State::Failed) => !options.retry_failed,
        None => false,
    }
}

/// The rows of a batch, in the order of the batch.
struct Rows {
    file: BufReader<File>,
    path: PathBuf,
    offsets: Vec<u64>,
    form: Option<&'static dyn crate::providers::BatchRows>,
}

impl Rows {
    fn open(parts: &Parts, number: u32) -> Result<Self> {
        let path = parts.rows_path(number);
        let open = || -> std::io::Result<(File, Vec<u64>)> {
            let mut file = BufReader::with_capacity(1 << 18, File::open(&path)?);
            let (mut offsets, mut at) = (Vec::new(), 0);
            let mut line = Vec::new();
            loop {
                line.clear();
                let length = file.read_until(b'\n', &mut line)?;
                if length == 0 {
                    return Ok((file.into_inner(), offsets));
                }
                offsets.push(at);
                at += length as u64;
            }
        };
        let (file, offsets) = open().map_err(|error| of_io("read", &path, &error))?;
        Ok(Self { file: BufReader::new(file), path, offsets, form: None })
    }

    fn get(&mut self, index: usize) -> Result<BatchRow> {
        let mut line = Vec::new();
        let mut read = || -> std::io::Result<()> {
            self.file.seek(SeekFrom::Start(self.offsets[index]))?;
            self.file.read_until(b'\n', &mut line).map(drop)
        };
        read().map_err(|error| of_io("read", &self.path, &error))?;
        BatchRow::decode(&line).ok_or_else(|| self.damaged(index))
    }

    fn damaged(&self, index: usize) -> Box<Error> {
        let message = format!("{}, line {} is damaged", self.path.display(), index + 1);
        Error::new(ErrorKind::Journal, message).unsent()
    }

    /// Returns all rows.
    fn iter(mut self) -> Result<impl Iterator<Item = Result<BatchRow>>> {
        Ok((0..self.offsets.len()).map(move |index| self.get(index)))
    }

    /// Reads a line of a file of results, or a whole file that is not one of lines.
    fn read_line(&mut self, line: &[u8], calls: &mut super::run::Calls) -> Result<Vec<crate::providers::RowResult>> {
        let form = match self.form {
            Some(form) => form,
            None => {
                let row = self.get(0)?;
                let form = part::form_of(&calls.make(row.call)?.call.deployment)?;
                *self.form.insert(form)
            }
        };
        Ok(match form.lines(line) {
            Some(lines) => lines.into_iter().map(|line| form.decode(line)).collect(),
            None => vec![form.decode(line)],
        })
    }
}

/// The lines of a file of results, or the whole file, if it is a JSON object over several lines.
struct Lines {
    file: BufReader<File>,
    path: PathBuf,
}

impl Lines {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| of_io("read", path, &error))?;
        Ok(Self { file: BufReader::with_capacity(1 << 18, file), path: path.to_owned() })
    }

    /// Reads the next line that is not blank. Returns false at the end.
    fn next(&mut self, line: &mut Vec<u8>) -> Result<bool> {
        loop {
            line.clear();
            let mut read = || -> std::io::Result<usize> {
                let length = self.file.read_until(b'\n', line)?;
                if line.trim_ascii() == b"{" {
                    // A JSON object that is laid out over lines is no file of lines.
                    self.file.read_to_end(line)?;
                }
                Ok(length)
            };
            if read().map_err(|error| of_io("read", &self.path, &error))? == 0 {
                return Ok(false);
            }
            let end = line.trim_ascii_end().len();
            line.truncate(end);
            if !line.is_empty() {
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests;
