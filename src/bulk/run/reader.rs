//! The thread that reads rows, no faster than they are needed, and makes their calls.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;

use super::calls::{Calls, RowWork};
use super::status::{ReadCounts, Status};
use crate::bulk::identity::Key;
use crate::bulk::journal;
use crate::bulk::line;
use crate::bulk::row::{Row, RowCall, Source};
use crate::error::{Error, ErrorKind, Result};

/// Bytes of the rows that are read before they are needed; one row may have more.
const MAX_AHEAD_BYTES: u64 = 16 << 20;
/// Time between two looks at a thread that ends.
const LOOK: Duration = Duration::from_millis(2);

/// Returns what a row asks for, and its key. The key of a row that cannot be used belongs to its outcome.
pub type Prepare = Box<dyn FnMut(Row) -> (Key, Result<RowCall>) + Send>;

/// The rows of a job.
pub struct Input {
    pub(in crate::bulk) source: Box<dyn Source>,
    pub(in crate::bulk) prepare: Prepare,
    /// Where their calls go.
    pub calls: Calls,
    /// True if rows were read, which cannot be read again if the source is all there is.
    pub has_begun: bool,
    /// Rows that an earlier run has read and not done.
    pending: VecDeque<Prepared>,
}

impl Input {
    /// Creates the input of rows that have not been read.
    pub fn new(source: Box<dyn Source>, prepare: Prepare, calls: Calls) -> Self {
        Self { source, prepare, calls, has_begun: false, pending: VecDeque::new() }
    }
}

/// Which rows are left out.
pub(super) struct Skip {
    /// True if the journal had outcomes at the start.
    pub is_resumed: bool,
    /// True if rows whose outcome is an error run again.
    pub retry_failed: bool,
    /// True if only the first row of each key runs.
    pub dedupe: bool,
}

/// A row that was read.
pub struct Prepared {
    pub(super) number: u64,
    pub(super) key: Key,
    pub(super) id: Option<Box<str>>,
    /// The call, or the error that is the row's outcome.
    pub(super) work: Result<Box<RowWork>>,
    /// Memory that the row takes, in bytes.
    pub(super) bytes: u64,
}

/// Rows between the thread that reads them and the one that makes the calls.
pub(super) struct Queue {
    state: Mutex<QueueState>,
    /// Wakes the reader.
    wanted: Condvar,
    /// Wakes the driver.
    wake: Arc<Notify>,
}

#[derive(Default)]
struct QueueState {
    rows: VecDeque<Prepared>,
    bytes: u64,
    /// Number of rows to be held ready; the reader waits while there are as many.
    ahead: usize,
    /// True while the driver waits for a row.
    is_awaited: bool,
    end: Option<End>,
    is_closed: bool,
    /// True if the run has ended without waiting for the reader.
    is_abandoned: bool,
}

/// The end of the input.
#[derive(Debug)]
pub(super) enum End {
    /// There are no more rows.
    Whole,
    /// It cannot be read any further.
    Failed(Box<Error>),
}

/// A row for the driver, if there is one.
pub(super) enum Taken {
    Row(Prepared),
    /// There is none yet.
    Later,
    End(End),
}

impl Queue {
    /// Creates a queue whose driver is woken up by `wake`.
    pub fn new(wake: Arc<Notify>) -> Self {
        Self { state: Mutex::default(), wanted: Condvar::new(), wake }
    }

    /// Takes a row. The reader holds `ahead` rows ready from now on.
    pub fn take(&self, ahead: usize) -> Taken {
        let mut state = self.lock();
        state.ahead = ahead;
        let taken = match state.rows.pop_front() {
            Some(row) => {
                state.bytes -= row.bytes;
                Taken::Row(row)
            }
            None => match state.end.take() {
                Some(end) => Taken::End(end),
                None => Taken::Later,
            },
        };
        state.is_awaited = matches!(taken, Taken::Later);
        // Woken up for several rows at once.
        let is_low = state.rows.len() <= ahead / 2 && state.bytes <= MAX_AHEAD_BYTES / 2;
        drop(state);
        if is_low {
            self.wanted.notify_one();
        }
        taken
    }

    /// Calls a function that changes the job's status, unless the run has ended: the status may be that of the next one by
    /// now. Returns false if no more rows are wanted.
    fn tell(&self, tell: impl FnOnce()) -> bool {
        let state = self.lock();
        if !state.is_abandoned {
            tell();
        }
        !state.is_closed
    }

    /// Ends the reading.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.wanted.notify_one();
    }

    /// Adds a row, and waits while there are enough. Returns false if the reading has ended.
    fn put(&self, row: Prepared) -> bool {
        let mut state = self.lock();
        state.bytes += row.bytes;
        state.rows.push_back(row);
        let is_awaited = std::mem::take(&mut state.is_awaited);
        let state = match is_awaited {
            true => {
                drop(state);
                self.wake.notify_one();
                self.lock()
            }
            false => state,
        };
        self.has_room(state)
    }

    fn has_room<'a>(&'a self, mut state: MutexGuard<'a, QueueState>) -> bool {
        let is_full = state.rows.len() >= state.ahead || state.bytes >= MAX_AHEAD_BYTES;
        if is_full && !state.is_closed {
            let is_full = |state: &mut QueueState| {
                (state.rows.len() > state.ahead / 2 || state.bytes > MAX_AHEAD_BYTES / 2) && !state.is_closed
            };
            state = self.wanted.wait_while(state, is_full).unwrap_or_else(PoisonError::into_inner);
        }
        !state.is_closed
    }

    fn finish(&self, end: End) {
        let mut state = self.lock();
        state.end = Some(end);
        state.is_awaited = false;
        drop(state);
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that reads.
pub(super) struct Reader {
    thread: JoinHandle<Input>,
    queue: Arc<Queue>,
}

impl Reader {
    /// Waits for the thread, which may have to get its last row first, unless `gives_up` returns true. Returns the input, with
    /// `pending` and the rows that were read and not taken.
    pub fn end(self, mut pending: Vec<Prepared>, gives_up: impl Fn() -> bool) -> Option<Input> {
        self.queue.close();
        while !self.thread.is_finished() {
            if gives_up() {
                self.queue.lock().is_abandoned = true;
                return None;
            }
            std::thread::sleep(LOOK);
        }
        let mut input = self.thread.join().ok()?;
        pending.extend(std::mem::take(&mut self.queue.lock().rows));
        pending.extend(std::mem::take(&mut input.pending));
        pending.sort_by_key(|row| row.number);
        input.pending = pending.into();
        Some(input)
    }
}

/// Starts the thread. It does not hold the journal, whose lock ends with the run: the thread may wait for a row for longer.
///
/// # Errors
///
/// There is no thread for it.
pub(super) fn start(
    input: Input,
    outcomes: journal::Reader,
    queue: Arc<Queue>,
    status: Arc<Status>,
    skip: Skip,
) -> std::io::Result<Reader> {
    let shared = queue.clone();
    let thread = std::thread::Builder::new().name("ritellm-rows".into()).spawn(move || {
        let mut input = input;
        let read = || read(&mut input, &outcomes, &queue, &status, &skip);
        let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)).unwrap_or_else(|_| {
            let message = "reading the rows has panicked: please report what it wrote to stderr";
            Some(End::Failed(Error::new(ErrorKind::Internal, message)))
        });
        if let Some(end) = end {
            queue.finish(end);
        }
        input
    })?;
    Ok(Reader { thread, queue: shared })
}

/// Reads rows until the end, or until nobody wants any more.
fn read(input: &mut Input, outcomes: &journal::Reader, queue: &Queue, status: &Status, skip: &Skip) -> Option<End> {
    input.has_begun = true;
    while let Some(row) = input.pending.pop_front() {
        if !queue.put(row) {
            return None;
        }
    }
    let mut counts = ReadCounts::default();
    let mut seen = HashSet::new();
    loop {
        let row = match input.source.next() {
            Ok(Some(row)) => row,
            Ok(None) => {
                queue.tell(|| counts.tell(status, None));
                return Some(End::Whole);
            }
            Err(error) => return Some(End::Failed(error)),
        };
        counts.read += 1;
        let number = row.number;
        let (key, call) = (input.prepare)(row);
        let is_repeated = skip.dedupe && !seen.insert((key.row, key.content));
        let state = if skip.is_resumed && !is_repeated { outcomes.find(&key) } else { None };
        match state.map(|(state, _)| state) {
            _ if is_repeated => counts.repeated += 1,
            Some(line::State::Done) => counts.done += 1,
            Some(line::State::Failed) if !skip.retry_failed => counts.failed += 1,
            _ => {
                let prepared = prepared(input, number, key, call);
                queue.tell(|| counts.tell(status, input.source.progress()));
                if !queue.put(prepared) {
                    return None;
                }
                continue;
            }
        }
        if counts.read >= 1000 && !queue.tell(|| counts.tell(status, input.source.progress())) {
            return None;
        }
    }
}

fn prepared(input: &mut Input, number: u64, key: Key, call: Result<RowCall>) -> Prepared {
    let (id, work) = match call {
        Ok(mut call) => (call.id.take(), input.calls.make(call).map(Box::new)),
        Err(error) => (None, Err(error)),
    };
    let bytes = work.as_ref().map_or(0, |work| work.call.request.params.len() + size_of::<RowWork>())
        + size_of::<Prepared>()
        + 512;
    Prepared { number, key, id, work, bytes: bytes as u64 }
}
