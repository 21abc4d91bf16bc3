//! The chunks of a stream under way, which any number of callers read, each from the begin and at its own pace.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::clock::Clock;
use super::entry::without_cookies;
use super::flight::Ticket;
use crate::client::{Chunk, ChunkSource, Departure};
use crate::error::Result;
use crate::types::answer::Meta;
use crate::types::operation::Operation;

/// Number of chunks by which a stream is read ahead of the caller that has read most.
const AHEAD: usize = 4096;
/// Number of bytes likewise.
const AHEAD_BYTES: usize = 1 << 20;
/// Number of chunks that a caller takes at once.
const AT_ONCE: usize = 256;

/// A stream under way.
#[derive(Clone)]
pub struct Live {
    pub(super) log: Arc<Log>,
    meta: Meta,
}

/// The chunks of a stream so far.
#[derive(Default)]
pub(super) struct Log {
    state: Mutex<State>,
    /// Notified when chunks are added, and at the end.
    grown: Notify,
    /// Notified when a caller has read.
    read: Notify,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Chunk>,
    /// Number of chunks that were dropped at the front: of a stream that is too large to be kept, after all have read them.
    dropped: usize,
    /// Number of bytes of all chunks so far.
    bytes: usize,
    end: Option<Result<()>>,
    /// Metadata at the end.
    meta: Option<Meta>,
    /// Position of each caller: in chunks and in bytes.
    readers: Slab<(usize, usize)>,
    /// True if the stream is too large to be kept.
    is_large: bool,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a stream that others can read.
    pub fn live(self: &Arc<Self>, meta: Meta) -> Live {
        Live { log: self.clone(), meta }
    }

    /// Adds chunks. Before the stream becomes too large to be kept, `close` is called, after which nobody joins.
    pub fn add(&self, chunks: &mut Vec<Chunk>, max_bytes: usize, close: impl FnOnce()) {
        let new = chunks.iter().map(|(chunk, _)| chunk.len()).sum::<usize>();
        let mut state = self.lock();
        if !state.is_large && state.bytes + new > max_bytes {
            drop(state);
            close();
            state = self.lock();
            state.is_large = true;
        }
        state.bytes += new;
        state.chunks.extend(chunks.drain(..));
        drop(state);
        self.grown.notify_waiters();
    }

    /// Waits until a caller has read most of what there is.
    pub async fn room(&self) {
        loop {
            let mut read = pin!(self.read.notified());
            read.as_mut().enable();
            {
                let state = self.lock();
                let most = state.readers.iter().map(|(_, at)| *at).max().unwrap_or_default();
                if state.dropped + state.chunks.len() <= most.0 + AHEAD && state.bytes <= most.1 + AHEAD_BYTES {
                    return;
                }
            }
            read.await;
        }
    }

    /// Ends the stream. Returns its chunks if it ended well and can be kept.
    pub fn end(&self, end: Result<()>, meta: Meta) -> Option<Vec<Chunk>> {
        let mut state = self.lock();
        let is_kept = end.is_ok() && !state.is_large;
        let chunks = is_kept.then(|| state.chunks.iter().cloned().collect());
        (state.end, state.meta) = (Some(end), Some(meta));
        drop(state);
        self.grown.notify_waiters();
        chunks
    }
}

/// One caller's view of a stream.
pub struct Reader {
    live: Live,
    reader: usize,
    operation: Operation,
    /// The caller's own time, and its end.
    deadline: Option<(Instant, Clock)>,
    /// The caller's part in the call.
    ticket: Ticket<Live>,
    /// True if the stream was kept, and nothing is counted.
    is_kept: bool,
}

impl Reader {
    /// Creates the view of a caller who has read nothing.
    pub(super) fn new(live: Live, operation: Operation, clock: Option<Clock>, ticket: Ticket<Live>) -> Self {
        let reader = live.log.lock().readers.insert((0, 0));
        let mut live = live;
        let is_kept = live.meta.cached;
        if !ticket.is_first {
            live.meta = joined(live.meta, false);
        }
        let deadline = clock.and_then(|clock| Some((clock.total_end(ticket.admitted())?, clock)));
        Self { live, reader, operation, deadline, ticket, is_kept }
    }

    fn take(&self, chunks: &mut Vec<Chunk>) -> Option<Result<bool>> {
        let mut state = self.live.log.lock();
        let (at, bytes) = state.readers[self.reader];
        let new = state.chunks.iter().skip(at - state.dropped).take(AT_ONCE).cloned();
        let before = chunks.len();
        chunks.extend(new);
        let taken = &chunks[before..];
        let bytes = bytes + taken.iter().map(|(chunk, _)| chunk.len()).sum::<usize>();
        let at = at + taken.len();
        state.readers[self.reader] = (at, bytes);
        // One who has joined may not have begun to read.
        if state.is_large && state.readers.len() == self.ticket.waiting() {
            let least = state.readers.iter().map(|(_, (at, _))| *at).min().unwrap_or(at);
            let rest = least - state.dropped;
            state.chunks.drain(..rest);
            state.dropped = least;
        }
        let is_over = at == state.dropped + state.chunks.len();
        match &state.end {
            Some(Ok(())) if is_over => Some(Ok(false)),
            Some(Err(error)) if is_over && chunks.is_empty() => Some(Err(error.copy())),
            _ if chunks.is_empty() => None,
            _ => Some(Ok(true)),
        }
    }
}

/// Returns the metadata of an answer for one who joined the call: without cookies and, unless it is counted for this one, without
/// what was used.
pub(super) fn joined(meta: Meta, pays: bool) -> Meta {
    let meta = Meta { headers: without_cookies(&meta.headers), ..meta };
    if pays { meta } else { Meta { cached: true, retries: 0, record: None, ..meta } }
}

impl ChunkSource for Reader {
    async fn next(&mut self, chunks: &mut Vec<Chunk>) -> Result<bool> {
        loop {
            let log = self.live.log.clone();
            let mut grown = pin!(log.grown.notified());
            grown.as_mut().enable();
            if let Some(taken) = self.take(chunks) {
                log.read.notify_waiters();
                if !matches!(taken, Ok(true)) && self.ticket.pays() {
                    let meta = log.lock().meta.clone().unwrap_or_default();
                    self.live.meta = if self.ticket.is_first { meta } else { joined(meta, true) };
                }
                return taken;
            }
            match self.deadline {
                None => grown.await,
                Some((end, clock)) => {
                    if timeout_at(end, grown).await.is_err() {
                        if !self.is_kept && !(self.ticket.departure())() {
                            self.live.meta.cached = false;
                            self.live.meta.record.get_or_insert_default();
                        }
                        return Err(clock.late());
                    }
                }
            }
        }
    }

    fn meta(&self) -> &Meta {
        &self.live.meta
    }

    fn operation(&self) -> Operation {
        self.operation
    }

    fn departure(&self) -> Option<Departure> {
        (!self.is_kept).then(|| self.ticket.departure())
    }

    async fn finish(&mut self) {}
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.live.log.lock().readers.remove(self.reader);
        // It may be the one that all wait for.
        self.live.log.read.notify_waiters();
    }
}
