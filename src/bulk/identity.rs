//! The key by which a row is known again after a restart or an edit of its input.
//!
//! A row with an id of its own is known by the id; any other by what it asks for, and by how many rows before it ask for the
//! same. So rows can be inserted, removed and moved, and exactly those that were changed run again. All hashes are XXH3 over
//! the text that [`content`] describes: the same in every version of this library and on every machine.

mod table;

use std::collections::HashMap;

use twox_hash::XxHash3_64;

use self::table::Table;
use super::row::{Place, RowCall};
use crate::error::Error;
use crate::types::canonical_json;

/// The key of a row: which row it is, and what it asks for.
///
/// An outcome of the journal belongs to a row if both are the same, so that exactly those rows run again that were changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key {
    /// Hash of the row's own id; without one, of what it asks for and of how many rows before it ask for the same.
    pub row: u64,
    /// Hash of what it asks for: operation, model and parameters.
    pub content: u64,
}

/// Two rows have the same id and ask for different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conflict;

impl Conflict {
    /// Creates the error of the second row of a conflict.
    pub fn error(self, call: &RowCall, place: &Place) -> Box<Error> {
        let id = call.id.as_deref().unwrap_or_default();
        place.error(format!("has the id {id:?} of an earlier row, which asks for something else"))
    }
}

/// Returns the hash of what a call asks for: its operation, its model and the members of its body.
///
/// The same things may be written in different ways: white space, the order of the body's members, the escapes of strings and
/// the spelling of numbers (`1`, `1.0`, `1e0`) make no difference. The order of members inside a value does: models read a
/// schema in its order.
pub fn content(call: &RowCall) -> u64 {
    let mut text = Vec::with_capacity(call.params.len() + 64);
    let mut members: Vec<u64> = Vec::with_capacity(8);
    for (name, value) in call.params.iter() {
        text.clear();
        text.extend_from_slice(name.as_bytes());
        text.push(0);
        canonical_json::write(value, &mut text);
        members.push(XxHash3_64::oneshot(&text));
    }
    members.sort_unstable();
    text.clear();
    text.extend_from_slice(call.operation.spec().name.as_bytes());
    text.push(0);
    text.extend_from_slice(call.model.as_deref().unwrap_or_default().as_bytes());
    for member in members {
        text.push(0);
        text.extend_from_slice(&member.to_le_bytes());
    }
    XxHash3_64::oneshot(&text)
}

/// Returns the key of a row that asks for nothing, because it cannot be read or because its id is taken: that of its place.
pub fn key_of_bad(place: &Place) -> Key {
    let row = mix(XxHash3_64::oneshot(place.to_string().as_bytes()), Kind::Bad as u64);
    Key { row, content: 0 }
}

/// The keys of an input's rows, in the order in which they are read.
///
/// It takes 8 to 13 bytes for each row without an id and 12 to 19 for each with one. After a [scan](super::scan) it takes
/// nothing for rows that the input has only once.
#[derive(Debug, Default)]
pub struct Identities {
    seen: Seen,
    /// True if rows that ask for the same have the same key.
    dedupe: bool,
}

#[derive(Debug)]
enum Seen {
    /// The keys of all rows so far; with each of a row with an id a part of its content's hash.
    All { contents: Table, ids: Table },
    /// Number of rows so far of each that the input has several times. All others are known to be there only once.
    Repeated(HashMap<u64, u32>),
}

impl Default for Seen {
    fn default() -> Self {
        Self::All { contents: Table::new(false), ids: Table::new(true) }
    }
}

/// Which hash the key of a row begins with.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Content = 1,
    Id = 2,
    Bad = 3,
}

impl Identities {
    /// Creates the keys of an input of which nothing is known. With `dedupe`, rows that ask for the same have the same key,
    /// whatever their ids are: one call has several outcomes.
    pub fn new(dedupe: bool) -> Self {
        Self { dedupe, ..Self::default() }
    }

    /// Returns the key of the next row.
    ///
    /// # Errors
    ///
    /// An earlier row has the same id and another content. This row has no key: it is not known which one an outcome would
    /// belong to.
    pub fn key(&mut self, call: &RowCall) -> Result<Key, Conflict> {
        self.key_of(call.id.as_deref(), content(call)).map(|(key, _)| key)
    }

    /// Counts the next row. Returns the hash that its key begins with if the row is a repetition.
    ///
    /// # Errors
    ///
    /// As [`key`](Self::key).
    pub(super) fn add(&mut self, call: &RowCall) -> Result<Option<u64>, Conflict> {
        self.key_of(call.id.as_deref(), content(call)).map(|(_, repeated)| repeated)
    }

    /// Returns the key of the next row, and the hash that it begins with if the row is a repetition.
    fn key_of(&mut self, id: Option<&str>, content: u64) -> Result<(Key, Option<u64>), Conflict> {
        let of_content = mix(content, Kind::Content as u64);
        let Some(id) = id else {
            let occurrence = if self.dedupe { 0 } else { self.seen.count(of_content, Kind::Content, 0)? };
            return Ok(key(of_content, content, occurrence));
        };
        let of_id = mix(XxHash3_64::oneshot(id.as_bytes()), Kind::Id as u64);
        // Zero stands for rows without an id.
        let occurrence = self.seen.count(of_id, Kind::Id, content as u32 | 1)?;
        Ok(if self.dedupe { key(of_content, content, 0) } else { key(of_id, content, occurrence) })
    }

    /// Creates the keys for reading an input again, of which only these rows, by the hashes that their keys begin with, are
    /// there several times.
    pub(super) fn of_repeated(repeated: impl IntoIterator<Item = u64>, dedupe: bool) -> Self {
        Self { seen: Seen::Repeated(repeated.into_iter().map(|row| (row, 0)).collect()), dedupe }
    }

    /// Returns the number of bytes that the keys take.
    pub fn size(&self) -> usize {
        match &self.seen {
            Seen::All { contents, ids } => contents.size() + ids.size(),
            Seen::Repeated(rows) => rows.capacity() * 17,
        }
    }
}

fn key(row: u64, content: u64, occurrence: u32) -> (Key, Option<u64>) {
    (Key { row: nth(row, occurrence), content }, (occurrence > 0).then_some(row))
}

/// Returns the hash of the row that has `occurrence` equal ones before it.
fn nth(row: u64, occurrence: u32) -> u64 {
    if occurrence == 0 { row } else { mix(row, u64::from(occurrence) << 8) }
}

fn mix(hash: u64, with: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&hash.to_le_bytes());
    bytes[8..].copy_from_slice(&with.to_le_bytes());
    XxHash3_64::oneshot(&bytes)
}

impl Seen {
    /// Adds a row and returns the number of equal ones before it.
    fn count(&mut self, row: u64, kind: Kind, check: u32) -> Result<u32, Conflict> {
        let (contents, ids) = match self {
            Self::All { contents, ids } => (contents, ids),
            Self::Repeated(rows) => {
                let Some(count) = rows.get_mut(&row) else { return Ok(0) };
                *count += 1;
                return Ok(*count - 1);
            }
        };
        let table = match kind {
            Kind::Content => contents,
            Kind::Id | Kind::Bad => ids,
        };
        match table.get(row) {
            None => {
                table.insert(row, check);
                return Ok(0);
            }
            Some(known) if known != check => return Err(Conflict),
            Some(_) => {}
        }
        // Every occurrence is an entry of its own: the first that is not there is found in a number of steps that is the
        // logarithm of how many there are, so that a million equal rows are no million times a million steps.
        let mut above = 1;
        while table.get(nth(row, above)).is_some() {
            above *= 2;
        }
        let mut below = above / 2;
        while above - below > 1 {
            let middle = below + (above - below) / 2;
            match table.get(nth(row, middle)) {
                Some(_) => below = middle,
                None => above = middle,
            }
        }
        table.insert(nth(row, above), check);
        Ok(above)
    }
}

#[cfg(test)]
mod tests;
