//! The channel between the network thread and the consumer of a stream.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::client::{Chunk, ChunkSource};
use crate::error::Error;
use crate::python::asyncio::queue::Queue;
use crate::python::call::result::CallResult;
use crate::python::memory;
use crate::types::answer;

/// Number of bytes in a channel above which its stream is not read on.
const MOST_BYTES: usize = 1 << 20;
/// Number of chunks in a channel above which its stream is not read on.
const MOST_CHUNKS: usize = 4096;

/// Largest number of chunks for which memory is kept after a burst of them.
pub(super) const MOST_KEPT: usize = 32;

/// Chunks on their way from the network thread to the consumer.
#[derive(Default)]
pub(crate) struct ChunkChannel {
    state: Mutex<ChannelState>,
    /// Notified for consumers that wait in a thread.
    readable: Condvar,
    /// Notified for the network thread, when a full channel has room again.
    pub(super) room: Notify,
}

#[derive(Default)]
pub(super) struct ChannelState {
    pub chunks: VecDeque<Chunk>,
    /// Number of bytes in the chunks.
    pub bytes: usize,
    /// The end of the stream, once it has come.
    pub end: Option<Result<(), Box<Error>>>,
    /// Metadata of the answer, if the stream was opened anew since the consumer got it.
    pub meta: Option<answer::Meta>,
    /// Number of chunks that have come, of a stream that is recorded.
    pub received: u32,
    /// Consumers that wait in an event loop: queue and key of each.
    waiting: SmallVec<[(Arc<Queue>, u64); 1]>,
    /// Number of consumers that wait in a thread: to notify no one is a system call too.
    threads: usize,
}

/// Result that wakes a consumer in an event loop.
struct WakeUp;

impl CallResult for WakeUp {
    fn into_python(self: Box<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(py.None())
    }
}

impl ChunkChannel {
    /// Makes a channel of a stream that is there as a whole.
    pub fn whole(chunks: impl Into<VecDeque<Chunk>>, end: Result<(), Box<Error>>) -> Self {
        let state = ChannelState { chunks: chunks.into(), end: Some(end), ..ChannelState::default() };
        Self { state: Mutex::new(state), ..Self::default() }
    }

    /// Fills the channel until the stream ends. To be run on the network thread. What is known of the first chunk of a stream
    /// that `is_observed` is told at once, in case that its caller leaves it.
    pub async fn fill<S: ChunkSource>(&self, stream: &mut S, is_observed: bool) {
        let mut chunks = Vec::new();
        let mut retries = stream.meta().retries;
        let mut is_told = !is_observed;
        loop {
            let more = stream.next(&mut chunks).await;
            let ended = !matches!(more, Ok(true));
            let sizes = || chunks.iter().map(|(chunk, _)| chunk.len());
            let (bytes, largest) = (sizes().sum::<usize>(), sizes().max().unwrap_or_default());
            memory::allocated(largest);
            let (full, waiting, threads) = {
                let mut state = self.lock();
                if state.end.is_some() {
                    // The consumer has closed the stream meanwhile.
                    return;
                }
                state.bytes += bytes;
                state.chunks.extend(chunks.drain(..));
                // At the end, the record holds the usage, the cost and the times.
                let record = stream.meta().record.as_deref();
                if stream.meta().retries != retries || record.is_some() && (ended || !is_told) {
                    (retries, is_told) = (stream.meta().retries, true);
                    state.meta = Some(stream.meta().clone());
                }
                if let Some(record) = record {
                    state.received = record.chunks;
                }
                if ended {
                    state.end = Some(more.map(|_| ()));
                }
                let full = state.bytes > MOST_BYTES || state.chunks.len() > MOST_CHUNKS;
                (full, std::mem::take(&mut state.waiting), state.threads)
            };
            chunks.shrink_to(MOST_KEPT);
            // Without the lock: to wake a loop that cannot watch a socket takes the GIL, and the thread that has the GIL may be
            // waiting for this lock.
            for (queue, key) in waiting {
                queue.push(key, Box::new(WakeUp));
            }
            if threads > 0 {
                self.readable.notify_all();
            }
            if ended {
                return stream.finish().await;
            }
            if full {
                self.room.notified().await;
            }
        }
    }

    /// Removes a consumer that waits no more.
    pub fn forget(&self, queue: &Arc<Queue>, key: u64) {
        self.lock().waiting.retain(|(known, of)| *of != key || !Arc::ptr_eq(known, queue));
    }

    /// Ends the channel before its stream does, unless it has ended.
    pub fn end(&self, end: Result<(), Box<Error>>) {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for (queue, key) in waiting {
            queue.push(key, Box::new(WakeUp));
        }
        self.readable.notify_all();
    }

    /// Has the queue wake the consumer under `key` when there is something to take, which may be at once.
    pub fn wake_when_readable(&self, queue: Arc<Queue>, key: u64) {
        let mut state = self.lock();
        if state.chunks.is_empty() && state.end.is_none() {
            state.waiting.push((queue, key));
        } else {
            // Something came since the last look, or the event loop is to run first.
            drop(state);
            queue.push(key, Box::new(WakeUp));
        }
    }

    /// Waits in this thread until there is something to take, for `limit` at most. To be called without the GIL.
    pub fn wait_readable(&self, limit: Duration) {
        let mut state = self.lock();
        if state.chunks.is_empty() && state.end.is_none() {
            state.threads += 1;
            let mut state = self.readable.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0;
            state.threads -= 1;
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ChannelState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
