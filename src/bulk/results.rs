//! The rows of a job with their outcomes, while it runs or afterwards.

use std::collections::VecDeque;

use bytes::Bytes;

use super::identity::Key;
use super::job::{Job, NameOf};
use super::journal::{Lines, Outcomes, Reader};
use super::outcome::Outcome;
use super::row::Source;
use crate::error::Result;

/// Number of rows without an outcome that are kept while later ones are looked at.
const MAX_WAITING: usize = 4096;

/// Rows with their outcomes.
pub struct Results {
    reader: Reader,
    rows: Rows,
}

enum Rows {
    /// The input is read again.
    Input(Box<InputRows>),
    /// There is no input: outcomes in the order of completion.
    Outcomes(Outcomes),
}

struct InputRows {
    source: Box<dyn Source>,
    name_of: NameOf,
    lines: Lines,
    is_ordered: bool,
    is_exhausted: bool,
    /// Rows that had no outcome when they were looked at.
    waiting: VecDeque<Waiting>,
    /// Number of outcomes when these were looked at last.
    looked_at: u64,
}

struct Waiting {
    key: Key,
    number: u64,
    id: Option<Box<str>>,
    json: Option<Bytes>,
}

/// A row with its outcome.
pub struct ResultRow {
    /// The row as a JSON object, if the input could be read again and the row can be read.
    pub json: Option<Bytes>,
    /// What became of it.
    pub outcome: Outcome,
}

/// The next of the results.
pub enum NextResult {
    /// A row with its outcome.
    Row(Box<ResultRow>),
    /// No further row has an outcome at present.
    Later,
    /// There are no more rows.
    End,
}

impl Results {
    /// Begins the results of a job. With `is_ordered` they come in the order of the input, else no row waits for another.
    ///
    /// # Errors
    ///
    /// The input or the journal cannot be read.
    pub fn of(job: &Job, reader: Reader, is_ordered: bool) -> Result<Self> {
        let rows = match job.rows {
            None => Rows::Outcomes(reader.outcomes()),
            Some(_) => Rows::Input(Box::new(InputRows {
                source: job.open()?,
                name_of: job.name_of(),
                lines: reader.lines(),
                is_ordered,
                is_exhausted: false,
                waiting: VecDeque::new(),
                looked_at: 0,
            })),
        };
        Ok(Self { reader, rows })
    }

    /// Returns the next row that has an outcome. With `is_over`, rows without one are left out.
    ///
    /// # Errors
    ///
    /// The input or the journal cannot be read.
    pub fn next(&mut self, is_over: bool) -> Result<NextResult> {
        let rows = match &mut self.rows {
            Rows::Input(rows) => rows,
            Rows::Outcomes(outcomes) => {
                return Ok(match outcomes.next_outcome()? {
                    Some(outcome) => NextResult::Row(Box::new(ResultRow { json: None, outcome })),
                    None if is_over => NextResult::End,
                    None => NextResult::Later,
                });
            }
        };
        let counts = self.reader.counts();
        let known = counts.done + counts.failed;
        if rows.looked_at != known || is_over {
            rows.looked_at = known;
            if let Some(row) = rows.take_waiting(&self.reader, is_over)? {
                // There may be more of them.
                rows.looked_at = u64::MAX;
                return Ok(NextResult::Row(row));
            }
        }
        while !rows.is_exhausted && rows.waiting.len() < if rows.is_ordered { 1 } else { MAX_WAITING } {
            let Some(row) = rows.source.next()? else {
                rows.is_exhausted = true;
                break;
            };
            let number = row.number;
            let (key, id) = (rows.name_of)(&row);
            let waiting = Waiting { key, number, id, json: row.json.ok() };
            match rows.outcome(&self.reader, waiting)? {
                Ok(row) => return Ok(NextResult::Row(row)),
                Err(_) if is_over => {}
                Err(waiting) => rows.waiting.push_back(waiting),
            }
        }
        Ok(if is_over && rows.is_exhausted { NextResult::End } else { NextResult::Later })
    }
}

impl InputRows {
    /// Takes a row that waited and has an outcome by now.
    fn take_waiting(&mut self, reader: &Reader, is_over: bool) -> Result<Option<Box<ResultRow>>> {
        for _ in 0..self.waiting.len() {
            let Some(waiting) = self.waiting.pop_front() else { break };
            match self.outcome(reader, waiting)? {
                Ok(row) => return Ok(Some(row)),
                Err(_) if is_over => {}
                Err(waiting) if self.is_ordered => {
                    self.waiting.push_front(waiting);
                    break;
                }
                Err(waiting) => self.waiting.push_back(waiting),
            }
        }
        Ok(None)
    }

    fn outcome(&mut self, reader: &Reader, row: Waiting) -> Result<Result<Box<ResultRow>, Waiting>> {
        let Some((_, place)) = reader.find(&row.key) else { return Ok(Err(row)) };
        let line = self.lines.read(&row.key, place)?.map(Bytes::copy_from_slice);
        match line.and_then(|line| Outcome::decode(&line)) {
            // A row may have moved since it ran, or be one of several of one call.
            Some(outcome) => {
                let outcome = Outcome { number: row.number, id: row.id, ..outcome };
                Ok(Ok(Box::new(ResultRow { json: row.json, outcome })))
            }
            None => Ok(Err(row)),
        }
    }
}
