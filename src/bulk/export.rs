//! The outcomes of a job in the order of its input, read one by one.

use std::io::Write;

use bytes::Bytes;

use super::identity::Key;
use super::journal::{Lines, Reader};
use super::line::{self, State};
use super::outcome::Outcome;
use crate::error::{Error, ErrorKind, Result};

/// Name of a row of the input.
#[derive(Debug, Clone)]
pub struct RowName {
    /// Its key.
    pub key: Key,
    /// Its own id, which is not that of the outcome if one call is for several rows; with `None` the outcome's stays.
    pub id: Option<RowId>,
}

/// The id of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowId {
    /// It has one of its own.
    Own(Box<str>),
    /// It is named by its number.
    Numbered,
}

impl From<Key> for RowName {
    fn from(key: Key) -> Self {
        Self { key, id: None }
    }
}

/// Outcomes in the order of the input, of which the names are given. Nothing is kept in memory.
pub struct Ordered<R> {
    reader: Reader,
    lines: Lines,
    rows: R,
    /// Number of the next row.
    number: u64,
}

impl<N: Into<RowName>, R: Iterator<Item = Result<N>>> Ordered<R> {
    /// Creates an iterator over the last outcome of each row. Its number is that of the row in this order: a row may have
    /// moved since it ran.
    pub fn new(reader: &Reader, rows: impl IntoIterator<IntoIter = R>) -> Self {
        Self { reader: reader.clone(), lines: reader.lines(), rows: rows.into_iter(), number: 0 }
    }

    /// Calls `use_it` with the next row's state and line without a newline; `None` if the row has no outcome, or a damaged one.
    /// Returns `None` after the last row.
    ///
    /// # Errors
    ///
    /// The input or a segment cannot be read, or what `use_it` returns.
    fn next_line<T>(&mut self, use_it: impl FnOnce(Option<(State, &[u8])>) -> Result<T>) -> Result<Option<T>> {
        let Some(row) = self.rows.next().transpose()? else { return Ok(None) };
        let RowName { key, id } = row.into();
        let number = self.number;
        self.number += 1;
        let Some((state, place)) = self.reader.find(&key) else { return use_it(None).map(Some) };
        let Some(line) = self.lines.read(&key, place)? else { return use_it(None).map(Some) };
        let is_same = |named: &RowId| match named {
            RowId::Own(id) => Outcome::is_named(line, Some(id)),
            RowId::Numbered => Outcome::is_named(line, None),
        };
        if line::row_number(line) == Some(number) && id.as_ref().is_none_or(is_same) {
            return use_it(Some((state, line))).map(Some);
        }
        let renamed = Outcome::decode(&Bytes::copy_from_slice(line)).map(|outcome| {
            let mut line = Vec::with_capacity(outcome.size_hint());
            let id = match id {
                Some(RowId::Own(id)) => Some(id),
                Some(RowId::Numbered) => None,
                None => outcome.id,
            };
            Outcome { number, id, ..outcome }.encode(&mut line);
            line.pop();
            line
        });
        use_it(renamed.as_deref().map(|line| (state, line))).map(Some)
    }
}

impl<N: Into<RowName>, R: Iterator<Item = Result<N>>> Iterator for Ordered<R> {
    /// The outcome of a row; `None` if it has none yet.
    type Item = Result<Option<Outcome>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_line(|line| Ok(line.and_then(|(_, line)| Outcome::decode(&Bytes::copy_from_slice(line))))).transpose()
    }
}

/// Number of rows by what was exported of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exported {
    /// Rows with an answer.
    pub done: u64,
    /// Rows with an error.
    pub failed: u64,
    /// Rows without an outcome, which were left out.
    pub missing: u64,
}

/// Writes the outcomes as lines in the order of the input. Rows without an outcome are left out.
///
/// # Errors
///
/// The input or a segment cannot be read, or the lines cannot be written.
pub fn to_jsonl<N: Into<RowName>>(
    reader: &Reader,
    rows: impl IntoIterator<Item = Result<N>>,
    out: &mut dyn Write,
) -> Result<Exported> {
    let mut rows = Ordered::new(reader, rows);
    let mut exported = Exported::default();
    let failed = |error: std::io::Error| {
        let kind =
            if error.kind() == std::io::ErrorKind::StorageFull { ErrorKind::DiskFull } else { ErrorKind::Journal };
        Error::new(kind, format!("cannot write the exported lines: {error}")).unsent()
    };
    while let Some(()) = rows.next_line(|line| {
        match line {
            None => exported.missing += 1,
            Some((State::Done, _)) => exported.done += 1,
            Some((State::Failed, _)) => exported.failed += 1,
        }
        let Some((_, line)) = line else { return Ok(()) };
        out.write_all(line).and_then(|()| out.write_all(b"\n")).map_err(failed)
    })? {}
    out.flush().map_err(failed)?;
    Ok(exported)
}

#[cfg(test)]
mod tests;
