//! Rows that another thread hands over, such as one that runs a program's iterator.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::lines;
use crate::bulk::row::{Place, Row, Source};
use crate::error::{Error, Result};

/// Maximum number of rows that are read ahead.
const MAX_AHEAD: u64 = 256;
/// Maximum number of bytes that are read ahead; one row may exceed it.
const MAX_AHEAD_BYTES: usize = 4 << 20;

/// Returns the two ends of a queue of rows.
pub fn feed() -> (Feeder, Fed) {
    let shared = Arc::new(Shared::default());
    (Feeder(shared.clone()), Fed { shared, number: 0 })
}

/// The end of the queue into which rows are put. Dropping it ends the input.
#[derive(Debug)]
pub struct Feeder(Arc<Shared>);

/// The end of the queue from which rows are taken.
#[derive(Debug)]
pub struct Fed {
    shared: Arc<Shared>,
    number: u64,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Signalled when there are rows, or no more will come.
    filled: Condvar,
    /// Signalled when there is room, or rows are no longer wanted.
    drained: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    /// Rows, and what is wrong with those that are none.
    rows: VecDeque<Result<Bytes, String>>,
    bytes: usize,
    /// Number of rows taken.
    taken: u64,
    /// True while the taker waits for a row.
    is_awaited: bool,
    /// True if no more rows will come.
    ended: bool,
    /// Error that ended the input.
    failed: Option<Box<Error>>,
    /// True if the taker is gone.
    closed: bool,
}

impl Queue {
    /// Returns true if another row may be put in.
    ///
    /// Rows are read ahead by an eighth of those that were taken: an iterator is read no faster than its rows are needed, and
    /// a long job does not change threads for each row.
    fn has_room(&self) -> bool {
        let ahead = (1 + self.taken / 8).min(MAX_AHEAD) as usize;
        self.rows.is_empty() || self.rows.len() < ahead && self.bytes < MAX_AHEAD_BYTES
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Feeder {
    /// Waits until a row is wanted. Returns false if none is any more: the job has ended.
    pub fn wait(&self) -> bool {
        let mut queue = self.0.lock();
        while !queue.closed && !queue.has_room() {
            queue = self.0.drained.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        !queue.closed
    }

    /// Returns true if a row is wanted now, without waiting.
    pub fn is_wanted(&self) -> bool {
        let queue = self.0.lock();
        !queue.closed && queue.has_room()
    }

    /// Puts a row in, however many there are: [`wait`](Self::wait) bounds them. `Err` tells what is wrong with a row that is
    /// none, such as "holds a set".
    pub fn put(&self, row: Result<Bytes, String>) {
        self.put_all([row]);
    }

    /// Puts in the rows of a text, one JSON object a line.
    pub fn put_lines(&self, text: &Bytes) {
        let ends = memchr::memchr_iter(b'\n', text).chain([text.len()]);
        let rows = ends.scan(0, |start, end| {
            let line = text.slice(*start..end);
            *start = end + 1;
            Some(line)
        });
        self.put_all(rows.filter(|line| !line.trim_ascii().is_empty()).map(Ok));
    }

    fn put_all(&self, rows: impl IntoIterator<Item = Result<Bytes, String>>) {
        let mut queue = self.0.lock();
        if queue.closed {
            return;
        }
        for row in rows {
            queue.bytes += row.as_ref().map_or(0, Bytes::len);
            queue.rows.push_back(row);
        }
        if queue.is_awaited {
            self.0.filled.notify_one();
        }
    }

    /// Returns true if rows are no longer wanted.
    pub fn is_closed(&self) -> bool {
        self.0.lock().closed
    }

    /// Ends the input.
    pub fn end(&self) {
        self.0.lock().ended = true;
        self.0.filled.notify_one();
    }

    /// Ends the input with an error, which the taker gets after the rows before it.
    pub fn fail(&self, error: Box<Error>) {
        let mut queue = self.0.lock();
        queue.failed.get_or_insert(error);
        queue.ended = true;
        self.0.filled.notify_one();
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.end();
    }
}

impl Source for Fed {
    fn next(&mut self) -> Result<Option<Row>> {
        let mut queue = self.shared.lock();
        let row = loop {
            if let Some(row) = queue.rows.pop_front() {
                break row;
            }
            if let Some(error) = queue.failed.take() {
                return Err(error);
            }
            if queue.ended {
                return Ok(None);
            }
            queue.is_awaited = true;
            queue = self.shared.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.is_awaited = false;
        };
        queue.bytes -= row.as_ref().map_or(0, Bytes::len);
        queue.taken += 1;
        // Woken when half of the rows are left, so that the threads do not take turns row by row.
        if queue.rows.len() as u64 <= (queue.taken / 16).min(MAX_AHEAD / 2) {
            self.shared.drained.notify_one();
        }
        drop(queue);
        let place = Place { file: None, line: self.number };
        self.number += 1;
        let checked = row.and_then(|json| lines::check(&json).map(drop).map(|()| json));
        Ok(Some(Row { number: place.line, json: checked.map_err(|what| place.error(what)), place }))
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.closed = true;
        queue.rows.clear();
        self.shared.drained.notify_one();
    }
}
