//! The consumer's side of a stream.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::channel::{ChunkChannel, MOST_KEPT};
use super::finalise;
use crate::client::{Chunk, ChunkSource, Departure};
use crate::error::{Error, ErrorKind};
use crate::python::call::handle::CallHandle;
use crate::python::call::watch::Watch;
use crate::python::errors::exception;
use crate::python::gil_cell::GilCell;
use crate::python::hooks::delivery::{self, Place};
use crate::python::hooks::observed::Observed;
use crate::python::hooks::outcome::{Ended, EndedStream};
use crate::python::intern::intern;
use crate::python::json::accumulate;
use crate::python::json::classes::Class;
use crate::python::json::decode;
use crate::python::json::template::ChunkTemplates;
use crate::python::json::vectors::Form;
use crate::python::runtime::current;
use crate::python::runtime::fork::fork_epoch;
use crate::python::stack;
use crate::python::sync::wait::wait;
use crate::types::answer;
use crate::types::operation::{Operation, Streaming};
use crate::types::record::CallRecord;
use crate::types::snapshot::{SameTemplate, Snapshot};

/// Number of chunks after which a task that has not waited is given no more from the channel until its event loop has run.
///
/// Where chunks come faster than the task reads them, nothing else would run on the loop, and the task could not be
/// cancelled.
const MOST_WITHOUT_TURN: usize = 1024;

/// A stream of chat completion chunks, or of a response's events: iterate over it with `for` or `async for`.
#[pyclass(frozen, module = "ritellm._core", weakref)]
pub(crate) struct Stream {
    pub(super) channel: Arc<ChunkChannel>,
    handle: CallHandle,
    pub(super) meta: answer::Meta,
    pub(super) operation: Operation,
    streaming: Streaming,
    pub(super) local: GilCell<Local>,
    /// Decoded for consumers that have an awaitable and have not awaited it yet: the next chunks, or the next exception.
    pub(super) decoded: GilCell<Decoded>,
    pub(super) decoder: GilCell<ChunkTemplates>,
    /// Number of loops that run over the stream.
    pub(super) loops: AtomicUsize,
    /// Number of levels of nesting that a chunk may have.
    deepest: usize,
    /// Epoch in which the stream was opened.
    pub(super) fork_epoch: u64,
    /// Type that the answer is read as, of `_structured`.
    pub(super) format: GilCell<Option<Py<PyAny>>>,
    /// Called when the stream is left, if others may read it too.
    departure: Option<Departure>,
}

/// State of the consumer.
pub(super) struct Local {
    /// Chunks that were taken out of the channel and not given out yet.
    pub chunks: VecDeque<Chunk>,
    /// Number of chunks that were taken out of the channel since a task has waited.
    pub without_turn: usize,
    /// The completion accumulated so far.
    pub so_far: Snapshot,
    /// True if nothing more will be taken out of the channel.
    pub over: bool,
    /// True if the stream is over because a loop was left, and not by its end: whoever reads on must not take it for
    /// complete.
    pub left: bool,
}

/// Chunks that are decoded and not given out yet.
#[derive(Default)]
pub(super) struct Decoded {
    pub first: Option<Py<PyAny>>,
    /// Errors, and chunks that were decoded by a finaliser that ran meanwhile.
    pub rest: VecDeque<PyResult<Py<PyAny>>>,
}

impl Decoded {
    /// Returns true if there is nothing to give out.
    fn is_empty(&self) -> bool {
        self.first.is_none() && self.rest.is_empty()
    }

    /// Adds what came before everything else that is here.
    fn push(&mut self, next: PyResult<Py<PyAny>>) {
        if let Some(first) = self.first.take() {
            self.rest.push_front(Ok(first));
        }
        match next {
            Ok(chunk) => self.first = Some(chunk),
            error => self.rest.push_front(error),
        }
    }

    /// Takes the next chunk or error.
    fn pop(&mut self) -> Option<PyResult<Py<PyAny>>> {
        self.first.take().map(Ok).or_else(|| self.rest.pop_front())
    }
}

/// Why a stream broke, for the record of its call.
type StreamError = Option<(PyErr, Option<Box<CallRecord>>)>;

/// Next item for a consumer.
enum Taken {
    /// A chunk, and the template that it shares with others, if any.
    Chunk(Bytes, Option<SameTemplate>),
    /// Nothing is at hand yet, or the event loop is to run first.
    Nothing,
    Finished,
    Failed(Box<Error>),
}

impl Stream {
    /// Makes the consumer's side of a stream that was opened.
    pub fn new(channel: Arc<ChunkChannel>, handle: CallHandle, opened: &impl ChunkSource, deepest: usize) -> Self {
        let mut stream = Self::over(channel, handle, opened.meta().clone(), opened.operation(), deepest);
        stream.departure = opened.departure();
        stream
    }

    /// Makes the consumer's side of a stream over a channel.
    pub fn over(
        channel: Arc<ChunkChannel>,
        handle: CallHandle,
        meta: answer::Meta,
        operation: Operation,
        deepest: usize,
    ) -> Self {
        Self {
            channel,
            handle,
            meta,
            operation,
            streaming: operation.spec().streaming,
            local: GilCell::new(Local {
                chunks: VecDeque::new(),
                without_turn: 0,
                so_far: Snapshot::new(operation),
                over: false,
                left: false,
            }),
            decoded: GilCell::default(),
            decoder: GilCell::default(),
            loops: AtomicUsize::new(0),
            deepest,
            fork_epoch: fork_epoch(),
            format: GilCell::default(),
            departure: None,
        }
    }

    /// Returns the next chunk, in the order in which they came, or `None` if the stream is over. `awaited` is true for a
    /// task of an event loop.
    ///
    /// # Errors
    ///
    /// `Err(None)` if there is nothing to take yet, or the loop is to run first, and `Err(Some(_))` for the exception that the stream ends with.
    pub fn next_chunk(&self, py: Python<'_>, awaited: bool) -> Result<Option<Py<PyAny>>, Option<PyErr>> {
        let decoded = self.decoded.lock(py).pop();
        match decoded {
            Some(decoded) => decoded.map(Some).map_err(Some),
            None => match self.take(py, awaited) {
                Taken::Chunk(chunk, same) => match self.decode(py, &chunk, same.as_ref()) {
                    Ok(chunk) => Ok(Some(chunk.unbind())),
                    Err(error) => Err(Some(error)),
                },
                Taken::Finished => {
                    self.release(py);
                    self.observe_end(py, None, false, Place::Thread);
                    Ok(None)
                }
                Taken::Failed(error) => Err(Some(self.failed(py, error))),
                Taken::Nothing => Err(None),
            },
        }
    }

    /// Returns the next chunk, or `None` if the stream is over. Waits for it in this thread.
    ///
    /// # Errors
    ///
    /// The exception that the stream ends with, or that a signal handler raises.
    pub fn next_blocking<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        loop {
            match self.next_chunk(py, false) {
                Ok(chunk) => return Ok(chunk.map(|chunk| chunk.into_bound(py))),
                Err(Some(error)) => return Err(error),
                Err(None) => self.wait(py)?,
            }
        }
    }

    /// Decodes the next chunk if it is at hand, for the awaitable that is awaited first.
    ///
    /// The chunk stays with the stream until then, so that an awaitable that is never awaited, or given up on, takes none
    /// along.
    pub fn decode_next(&self, py: Python<'_>) {
        if !self.decoded.lock(py).is_empty() {
            return;
        }
        let next = match self.take(py, true) {
            Taken::Chunk(chunk, same) => self.decode(py, &chunk, same.as_ref()).map(Bound::unbind),
            Taken::Failed(error) => Err(self.failed(py, error)),
            Taken::Finished | Taken::Nothing => return,
        };
        // A finaliser that ran meanwhile may have decoded a chunk too: this one came before.
        self.decoded.lock(py).push(next);
    }

    /// Takes the next item: from the chunks at hand, and then from the channel.
    fn take(&self, py: Python<'_>, awaited: bool) -> Taken {
        let mut local = self.local.lock(py);
        loop {
            while let Some((chunk, shown)) = local.chunks.pop_front() {
                let same = local.so_far.push_same(&chunk);
                if same.is_none() || local.so_far.is_full() {
                    stack::with_room(|| local.so_far.push_rest(&chunk, same.is_some()));
                }
                if shown {
                    return Taken::Chunk(chunk, same);
                }
            }
            if local.chunks.capacity() > MOST_KEPT {
                local.chunks = VecDeque::new();
            }
            if local.left {
                return Taken::Failed(self.left());
            }
            if local.over {
                return Taken::Finished;
            }
            if self.fork_epoch != fork_epoch() {
                local.over = true;
                return Taken::Failed(Error::connection(
                    "this stream was opened before a fork, by the parent process, or before the program closed its descriptors \
                     (os.closerange?): open another",
                ));
            }
            let mut state = self.channel.lock();
            if !state.chunks.is_empty() {
                if awaited && local.without_turn >= MOST_WITHOUT_TURN {
                    return Taken::Nothing;
                }
                local.without_turn += state.chunks.len();
                std::mem::swap(&mut state.chunks, &mut local.chunks);
                state.bytes = 0;
                drop(state);
                self.channel.room.notify_one();
            } else if let Some(end) = state.end.take() {
                local.over = true;
                return match end {
                    Ok(()) => Taken::Finished,
                    Err(error) => Taken::Failed(error),
                };
            } else {
                return Taken::Nothing;
            }
        }
    }

    /// Decodes a chunk. One that cannot be decoded ends the stream.
    fn decode<'py>(&self, py: Python<'py>, chunk: &Bytes, same: Option<&SameTemplate>) -> PyResult<Bound<'py, PyAny>> {
        if let Some(watch) = &self.handle.watch {
            watch.write_log(py);
        }
        let decoded = match self.decoder.try_lock(py) {
            _ if self.streaming != Streaming::Chunks => self.decode_other(py, chunk),
            Some(mut decoder) => decoder.decode(py, chunk, same, self.deepest),
            // Another thread reads this stream too. To wait for it here, with the GIL, could be for ever.
            None => ChunkTemplates::default().decode(py, chunk, None, self.deepest),
        };
        decoded.map_err(|error| {
            // With the error that the caller gets.
            let observed = self.handle.watch.as_ref().and_then(|watch| watch.take());
            self.stop(py, Place::Thread);
            let observe = |raised: &PyErr| {
                if let Some(observed) = observed {
                    self.observe(py, observed, Some((raised.clone_ref(py), None)), false, Place::Thread);
                }
            };
            if error.is_instance_of::<PyMemoryError>(py) {
                observe(&error);
                return error;
            }
            let mut invalid = Error::new(
                ErrorKind::ApiResponseValidation,
                format!("{} sent a chunk that cannot be read: {}", self.meta.provider, error.value(py)),
            );
            invalid.provider = Some(self.meta.provider.to_string());
            invalid.model = Some(self.meta.model.to_string());
            invalid.body = Some(chunk.clone());
            stack::with_room(|| invalid.hide(&self.meta.secrets.redactor()));
            let raised = exception(py, invalid);
            observe(&raised);
            raised
        })
    }

    /// Decodes a piece of a stream that is not one of chat completion chunks.
    fn decode_other<'py>(&self, py: Python<'py>, piece: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        match self.streaming {
            Streaming::Events => decode::decode_with(py, piece, Class::ResponseEvent, Form::List, self.deepest),
            Streaming::Bytes => {
                let copy = |bytes: &mut [u8]| {
                    bytes.copy_from_slice(piece);
                    Ok(())
                };
                PyBytes::new_with(py, piece.len(), copy).map(Bound::into_any)
            }
            _ => decode::decode_with(py, piece, Class::Object, Form::List, self.deepest),
        }
    }

    /// Those who want to know what becomes of the call.
    pub(super) fn watch(&self) -> Option<&Arc<Watch>> {
        self.handle.watch.as_ref()
    }

    /// Returns true if the pieces of the stream make up an answer.
    pub fn accumulates(&self) -> bool {
        matches!(self.streaming, Streaming::Chunks | Streaming::Events)
    }

    /// Makes the exception for an error that ended the stream. The exception for a stream without its finish holds the
    /// completion accumulated so far.
    fn failed(&self, py: Python<'_>, error: Box<Error>) -> PyErr {
        if let Some(watch) = &self.handle.watch {
            watch.write_log(py);
        }
        self.release(py);
        let is_incomplete = error.kind == ErrorKind::IncompleteStream;
        let record = if self.handle.watch.is_some() { error.record.clone() } else { None };
        let mut raised = exception(py, error);
        if is_incomplete && self.accumulates() {
            let so_far = self.completion_so_far(py);
            let set = |completion| raised.value(py).setattr(intern!(py, "completion"), completion);
            let completed = accumulate::redacted(py, so_far, self.operation, &self.meta.secrets.redactor());
            if let Err(error) = completed.and_then(set) {
                raised = error;
            }
        }
        self.observe_end(py, Some((raised.clone_ref(py), record)), false, Place::Thread);
        raised
    }

    /// Returns the response accumulated so far, as JSON.
    pub(super) fn completion_so_far(&self, py: Python<'_>) -> Bytes {
        let mut local = self.local.lock(py);
        stack::with_room(|| local.so_far.completion())
    }

    /// Ends the stream: an unfinished request is aborted, and nothing more is given out.
    pub fn stop(&self, py: Python<'_>, place: Place) {
        self.end(py, false, place);
    }

    /// Ends the stream because a loop over it is left. Whoever reads on gets an error.
    pub fn leave(&self, py: Python<'_>) {
        self.end(py, true, Place::Anywhere);
    }

    fn end(&self, py: Python<'_>, left: bool, place: Place) {
        if self.fork_epoch != fork_epoch() {
            // The channel may be locked for ever. In a forked child nothing is observed.
            return self.observe_end(py, None, true, place);
        }
        let mut local = self.local.lock(py);
        local.chunks.clear();
        let was_over = std::mem::replace(&mut local.over, true);
        local.left = left && (local.left || !was_over);
        drop(local);
        let decoded = std::mem::take(&mut *self.decoded.lock(py));
        // Not under the lock: to drop them may run Python code.
        drop(decoded);
        if !was_over {
            // Before the network thread ends a call that nobody else waits for.
            if let Some(departure) = &self.departure {
                departure();
            }
            self.handle.cancel.cancel();
            // Consumers that wait in other threads or tasks see the end.
            self.channel.end(Ok(()));
        }
        self.release(py);
        self.observe_end(py, None, !was_over, place);
    }

    /// Has the call's hooks get its record, if it has not ended before.
    #[inline]
    fn observe_end(&self, py: Python<'_>, error: StreamError, is_left: bool, place: Place) {
        if let Some(watch) = &self.handle.watch
            && let Some(observed) = watch.take()
        {
            self.observe(py, observed, error, is_left, place);
        }
    }

    #[cold]
    fn observe(&self, py: Python<'_>, observed: Box<Observed>, error: StreamError, is_left: bool, place: Place) {
        let mut meta = self.latest_meta().unwrap_or_else(|| self.meta.clone());
        // Also of one that failed for this reader alone, by a chunk that it cannot decode or by its timeout.
        if (is_left || error.is_some())
            && self.fork_epoch == fork_epoch()
            && let Some(departure) = &self.departure
        {
            meta.cached = departure();
        }
        if let Some(record) = &mut meta.record
            && self.fork_epoch == fork_epoch()
        {
            record.chunks = record.chunks.max(self.channel.lock().received);
        }
        let error = error.map(|(error, record)| (error.into_value(py), record));
        let ended = EndedStream { meta, completion: self.completion_so_far(py), error, is_left };
        delivery::push(py, observed, Ended::Stream(Box::new(ended)), place);
    }

    /// Returns the metadata that came after the consumer had got the stream. The channel of a parent process may have been
    /// locked by its network thread at the moment of the fork, for ever.
    pub(super) fn latest_meta(&self) -> Option<answer::Meta> {
        if self.fork_epoch == fork_epoch() { self.channel.lock().meta.clone() } else { None }
    }

    /// Frees what a stream that is over needs no more. The stream may be kept for its text and its completion.
    fn release(&self, py: Python<'_>) {
        let decoder = self.decoder.try_lock(py).map(|mut decoder| std::mem::take(&mut *decoder));
        // Not under the lock: to drop the chunks that were given out may run Python code.
        drop(decoder);
        let mut local = self.local.lock(py);
        local.chunks = VecDeque::new();
        local.so_far.close();
        drop(local);
        if self.fork_epoch == fork_epoch() {
            let unread = std::mem::take(&mut self.channel.lock().chunks);
            drop(unread);
        }
    }

    /// Makes the error of a stream whose loop was left.
    fn left(&self) -> Box<Error> {
        let mut error = Error::new(
            ErrorKind::IncompleteStream,
            "the stream is over before its end: the loop over it was left, which aborted the request",
        );
        error.provider = Some(self.meta.provider.to_string());
        error.model = Some(self.meta.model.to_string());
        error
    }

    /// Waits in this thread until there is something to take. Ctrl-C ends the stream.
    fn wait(&self, py: Python<'_>) -> PyResult<()> {
        let limit = self.handle.look_interval();
        wait(py, || self.channel.wait_readable(limit));
        // Where the descriptors are gone this begins a new epoch, which `take` sees.
        current::is_alive(self.fork_epoch);
        self.handle.write_log(py);
        py.check_signals().inspect_err(|_| self.leave(py))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        finalise(|py| self.stop(py, Place::Anywhere));
    }
}
