//! The outcomes of a job in the order of its input, read one by one.

use std::io::Write;

use bytes::Bytes;

use super::identity::Key;
use super::journal::{Lines, Reader};
use super::line::State;
use super::outcome::Outcome;
use crate::error::{Error, ErrorKind, Result};

/// Outcomes in the order of the input, of which the keys are given. Nothing is kept in memory.
pub struct Ordered<K> {
    reader: Reader,
    lines: Lines,
    keys: K,
    /// Number of the next row.
    number: u64,
}

impl<K: Iterator<Item = Result<Key>>> Ordered<K> {
    /// Creates an iterator over the last outcome of each key, which belongs to the row of this number in the order of the
    /// keys: a row may have moved since it ran.
    pub fn new(reader: &Reader, keys: impl IntoIterator<IntoIter = K>) -> Self {
        Self { reader: reader.clone(), lines: reader.lines(), keys: keys.into_iter(), number: 0 }
    }

    /// Calls `use_it` with the next row's state and line without a newline; `None` if the row has no outcome, or a damaged one.
    /// Returns `None` after the last row.
    ///
    /// # Errors
    ///
    /// The input or a segment cannot be read, or what `use_it` returns.
    fn next_line<T>(&mut self, use_it: impl FnOnce(Option<(State, &[u8])>) -> Result<T>) -> Result<Option<T>> {
        let Some(key) = self.keys.next().transpose()? else { return Ok(None) };
        let number = self.number;
        self.number += 1;
        let Some((state, place)) = self.reader.find(&key) else { return use_it(None).map(Some) };
        let Some(line) = self.lines.read(&key, place)? else { return use_it(None).map(Some) };
        if super::line::row_number(line) == Some(number) {
            return use_it(Some((state, line))).map(Some);
        }
        let renumbered = Outcome::decode(&Bytes::copy_from_slice(line)).map(|outcome| {
            let mut line = Vec::with_capacity(outcome.size_hint());
            Outcome { number, ..outcome }.encode(&mut line);
            line.pop();
            line
        });
        use_it(renumbered.as_deref().map(|line| (state, line))).map(Some)
    }
}

impl<K: Iterator<Item = Result<Key>>> Iterator for Ordered<K> {
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
pub fn to_jsonl(reader: &Reader, keys: impl IntoIterator<Item = Result<Key>>, out: &mut dyn Write) -> Result<Exported> {
    let mut rows = Ordered::new(reader, keys);
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
