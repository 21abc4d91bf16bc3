//! A source whose first rows are looked at before they are taken.

use std::collections::VecDeque;

use crate::bulk::row::{Row, Source, without_nan};
use crate::error::Result;
use crate::types::members::Members;

/// Number of bytes of the first rows after which no further one is looked at.
const MAX_BYTES: usize = 4 << 20;
/// Until one can be read, so many times as many rows are looked at as are asked for.
const UNREADABLE: usize = 100;

/// A source, and the rows of it that were looked at already.
#[derive(Debug)]
pub struct Peeked<S> {
    source: S,
    first: VecDeque<Row>,
}

impl<S: Source> Peeked<S> {
    /// Creates a source of which nothing was looked at.
    pub fn new(source: S) -> Self {
        Self { source, first: VecDeque::new() }
    }

    /// Returns the names of the columns of the first rows, in the order in which they come, and of further ones until one can
    /// be read; `None` if there is none, so that nothing is known of them. Rows need not have all of them.
    ///
    /// # Errors
    ///
    /// Those of the source.
    pub fn columns(&mut self, rows: usize) -> Result<Option<Vec<String>>> {
        let mut columns: Vec<String> = Vec::new();
        let mut is_known = false;
        let mut bytes = 0;
        while self.first.len() < rows * if is_known { 1 } else { UNREADABLE } && bytes < MAX_BYTES {
            let Some(row) = self.source.next()? else { break };
            if let Ok(json) = &row.json {
                bytes += json.len();
                let strict = without_nan(json);
                if let Ok(members) = Members::of(strict.as_deref().unwrap_or(json)) {
                    is_known = true;
                    for (name, _) in members.0 {
                        if !columns.iter().any(|column| *column == name) {
                            columns.push(name.into_owned());
                        }
                    }
                }
            }
            self.first.push_back(row);
        }
        Ok(is_known.then_some(columns))
    }
}

impl<S: Source> Source for Peeked<S> {
    fn next(&mut self) -> Result<Option<Row>> {
        match self.first.pop_front() {
            Some(row) => Ok(Some(row)),
            None => self.source.next(),
        }
    }

    fn progress(&self) -> Option<f64> {
        self.source.progress()
    }
}
