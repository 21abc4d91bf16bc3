//! Streams: one object with both iterator protocols.
//!
//! The network thread fills a [`ChunkChannel`] with chunks, as bytes, up to a limit; the consumer's thread takes them out in
//! batches and builds the objects. A chunk that is at hand costs no trip through the event loop.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::intern::intern;
use bytes::Bytes;
use pyo3::exceptions::{PyAttributeError, PyMemoryError, PyRuntimeError, PyStopAsyncIteration, PyStopIteration};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyType};
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::accumulate;
use super::bridge::{Bridge, CallResult, Queue};
use super::errors::exception;
use super::gil_cell::GilCell;
use super::json_decode::{self, Class};
use super::memory;
use super::meta::Meta;
use super::runtime::{self, fork_epoch};
use super::send::{self, Awaitable, Step};
use super::template;
use super::values;
use super::vectors::Form;
use super::waiter::{CallHandle, Waiter, thrown};
use crate::client::{self, Chunk};
use crate::error::{Error, ErrorKind};
use crate::types::answer;
use crate::types::operation::{Operation, Streaming};
use crate::types::snapshot::{SameTemplate, Snapshot};

/// A feed that holds this many bytes, or …
const MOST_BYTES: usize = 1 << 20;
/// … this many chunks, holds back its stream.
const MOST_CHUNKS: usize = 4096;

/// Memory for more chunks than this is given back after a burst of them.
const MOST_KEPT: usize = 32;

/// ChunkIterator on their way from the network thread to the consumer.
#[derive(Default)]
pub(super) struct ChunkChannel {
    state: Mutex<ChannelState>,
    /// For consumers that wait in a thread.
    readable: Condvar,
    /// For the network thread, when the feed was full.
    room: Notify,
}

#[derive(Default)]
struct ChannelState {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    end: Option<Result<(), Box<Error>>>,
    /// What is known about the answer, when the stream was opened anew since the consumer got it.
    meta: Option<answer::Meta>,
    /// Consumers that wait in an event loop.
    waiting: SmallVec<[(Arc<Queue>, u64); 1]>,
    /// How many consumers wait in a thread: to notify nobody is a system call too.
    threads: usize,
}

/// A wake-up for a consumer that waits in an event loop.
struct WakeUp;

impl CallResult for WakeUp {
    fn into_python(self: Box<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(py.None())
    }
}

impl ChunkChannel {
    /// Fills the feed until the stream ends; runs on the network thread.
    pub async fn fill(&self, stream: &mut client::Stream<'_>) {
        let mut chunks = Vec::new();
        let mut retries = stream.meta().retries;
        loop {
            let more = stream.next(&mut chunks).await;
            let ended = !matches!(more, Ok(true));
            let sizes = || chunks.iter().map(|(chunk, _)| chunk.len());
            let (bytes, largest) = (sizes().sum::<usize>(), sizes().max().unwrap_or_default());
            memory::allocated(largest);
            let (full, waiting, threads) = {
                let mut state = self.lock();
                if state.end.is_some() {
                    // It was closed meanwhile.
                    return;
                }
                state.bytes += bytes;
                state.chunks.extend(chunks.drain(..));
                if stream.meta().retries != retries {
                    retries = stream.meta().retries;
                    state.meta = Some(stream.meta().clone());
                }
                if ended {
                    state.end = Some(more.map(|_| ()));
                }
                let full = state.bytes > MOST_BYTES || state.chunks.len() > MOST_CHUNKS;
                (full, std::mem::take(&mut state.waiting), state.threads)
            };
            chunks.shrink_to(MOST_KEPT);
            // Without the lock: to wake a loop that cannot watch a socket takes the GIL, and whoever has the GIL may be
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

    /// This consumer waits no more.
    pub fn forget(&self, queue: &Arc<Queue>, key: u64) {
        self.lock().waiting.retain(|(known, of)| *of != key || !Arc::ptr_eq(known, queue));
    }

    /// Ends it before its stream does, unless it has ended.
    pub fn end(&self, how: Result<(), Box<Error>>) {
        let mut state = self.lock();
        state.end.get_or_insert(how);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for (queue, key) in waiting {
            queue.push(key, Box::new(WakeUp));
        }
        self.readable.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, ChannelState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream of chat completion chunks, or of a response's events: iterate over it with `for` or `async for`.
#[pyclass(frozen, module = "ritellm._core", weakref)]
pub(super) struct Stream {
    channel: Arc<ChunkChannel>,
    handle: CallHandle,
    meta: answer::Meta,
    operation: Operation,
    streaming: Streaming,
    local: GilCell<Local>,
    /// Decoded for somebody who asked and has not awaited it yet: the next chunks, or what is to be raised next.
    decoded: GilCell<Decoded>,
    decoder: GilCell<template::ChunkTemplates>,
    /// How many loops run over it.
    loops: AtomicUsize,
    /// How many levels of nesting a chunk may have.
    deepest: usize,
    made: u64,
}

/// What is decoded and not given out yet.
#[derive(Default)]
struct Decoded {
    first: Option<Py<PyAny>>,
    /// Errors, and what was decoded by a finaliser that ran meanwhile.
    rest: VecDeque<PyResult<Py<PyAny>>>,
}

impl Decoded {
    fn is_empty(&self) -> bool {
        self.first.is_none() && self.rest.is_empty()
    }

    /// Puts in what came before all that is there.
    fn push(&mut self, next: PyResult<Py<PyAny>>) {
        if let Some(first) = self.first.take() {
            self.rest.push_front(Ok(first));
        }
        match next {
            Ok(chunk) => self.first = Some(chunk),
            error => self.rest.push_front(error),
        }
    }

    fn pop(&mut self) -> Option<PyResult<Py<PyAny>>> {
        self.first.take().map(Ok).or_else(|| self.rest.pop_front())
    }
}

/// The consumer's side.
struct Local {
    /// Taken out of the feed and not given out yet.
    chunks: VecDeque<Chunk>,
    /// What the completion is made of.
    so_far: Snapshot,
    over: bool,
    /// It was over because a loop was left, and not by its end: whoever reads on must not take it for complete.
    left: bool,
}

/// What there is for a consumer.
enum Taken {
    Chunk(Bytes, Option<SameTemplate>),
    Nothing,
    Finished,
    Failed(Box<Error>),
}

impl Stream {
    /// The consumer's side of a stream that was opened.
    pub fn new(channel: Arc<ChunkChannel>, handle: CallHandle, opened: &client::Stream<'_>, deepest: usize) -> Self {
        let meta = opened.meta().clone();
        let operation = opened.operation();
        Self {
            channel,
            handle,
            meta,
            operation,
            streaming: operation.spec().streaming,
            local: GilCell::new(Local {
                chunks: VecDeque::new(),
                so_far: Snapshot::new(operation),
                over: false,
                left: false,
            }),
            decoded: GilCell::default(),
            decoder: GilCell::default(),
            loops: AtomicUsize::new(0),
            deepest,
            made: fork_epoch(),
        }
    }

    /// The next chunk, in the order in which they came; `None`: the stream is over. `Err(None)`: there is nothing yet.
    fn next_chunk(&self, py: Python<'_>) -> Result<Option<Py<PyAny>>, Option<PyErr>> {
        let decoded = self.decoded.lock(py).pop();
        match decoded {
            Some(decoded) => decoded.map(Some).map_err(Some),
            None => match self.take(py) {
                Taken::Chunk(chunk, same) => match self.chunk(py, &chunk, same.as_ref()) {
                    Ok(chunk) => Ok(Some(chunk.unbind())),
                    Err(error) => Err(Some(error)),
                },
                Taken::Finished => {
                    self.release(py);
                    Ok(None)
                }
                Taken::Failed(error) => Err(Some(self.failed(py, error))),
                Taken::Nothing => Err(None),
            },
        }
    }

    /// Decodes what is at hand, for whoever awaits first.
    ///
    /// It stays with the stream until then: an awaitable that is never awaited, or given up on, takes no chunk along.
    fn look(&self, py: Python<'_>) {
        if !self.decoded.lock(py).is_empty() {
            return;
        }
        let next = match self.take(py) {
            Taken::Chunk(chunk, same) => self.chunk(py, &chunk, same.as_ref()).map(Bound::unbind),
            Taken::Failed(error) => Err(self.failed(py, error)),
            Taken::Finished | Taken::Nothing => return,
        };
        // A finaliser that ran meanwhile may have looked too: what is here came before.
        self.decoded.lock(py).push(next);
    }

    fn take(&self, py: Python<'_>) -> Taken {
        let mut local = self.local.lock(py);
        loop {
            while let Some((chunk, shown)) = local.chunks.pop_front() {
                let same = local.so_far.push(&chunk);
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
            if self.made != fork_epoch() {
                local.over = true;
                return Taken::Failed(Error::connection(
                    "this stream was opened before a fork, by the parent process, or before the program closed its descriptors \
                     (os.closerange?): open another",
                ));
            }
            let mut state = self.channel.lock();
            if !state.chunks.is_empty() {
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

    fn chunk<'py>(&self, py: Python<'py>, chunk: &Bytes, same: Option<&SameTemplate>) -> PyResult<Bound<'py, PyAny>> {
        if let Some(log) = &self.handle.log {
            log.write(py);
        }
        let decoded = match self.decoder.try_lock(py) {
            _ if self.streaming != Streaming::Chunks => self.decode_other(py, chunk),
            Some(mut decoder) => decoder.decode(py, chunk, same, self.deepest),
            // Another thread reads this stream too; to wait for it here, with the GIL, could be for ever.
            None => template::ChunkTemplates::default().decode(py, chunk, None, self.deepest),
        };
        decoded.map_err(|error| {
            self.stop(py);
            if error.is_instance_of::<PyMemoryError>(py) {
                return error;
            }
            let mut invalid = Error::new(
                ErrorKind::ApiResponseValidation,
                format!("{} sent a chunk that cannot be read: {}", self.meta.provider, error.value(py)),
            );
            invalid.provider = Some(self.meta.provider.to_string());
            invalid.model = Some(self.meta.model.to_string());
            invalid.body = Some(chunk.clone());
            invalid.hide(&self.meta.secrets.redactor());
            exception(py, invalid)
        })
    }

    /// A piece of a stream that is not one of chat completion chunks.
    fn decode_other<'py>(&self, py: Python<'py>, piece: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        match self.streaming {
            Streaming::Events => json_decode::decode_with(py, piece, Class::ResponseEvent, Form::List, self.deepest),
            Streaming::Bytes => {
                let copy = |bytes: &mut [u8]| {
                    bytes.copy_from_slice(piece);
                    Ok(())
                };
                PyBytes::new_with(py, piece.len(), copy).map(Bound::into_any)
            }
            _ => json_decode::decode_with(py, piece, Class::Object, Form::List, self.deepest),
        }
    }

    /// Whether its pieces make up an answer.
    fn accumulates(&self) -> bool {
        matches!(self.streaming, Streaming::Chunks | Streaming::Events)
    }

    /// The exception for what ended the stream; one that ended without its finish holds what came.
    fn failed(&self, py: Python<'_>, error: Box<Error>) -> PyErr {
        if let Some(log) = &self.handle.log {
            log.write(py);
        }
        self.release(py);
        let is_incomplete = error.kind == ErrorKind::IncompleteStream;
        let raised = exception(py, error);
        if is_incomplete && self.accumulates() {
            let so_far = self.local.lock(py).so_far.completion();
            let set = |completion| raised.value(py).setattr(intern!(py, "completion"), completion);
            if let Err(error) =
                accumulate::redacted(py, so_far, self.operation, &self.meta.secrets.redactor()).and_then(set)
            {
                return error;
            }
        }
        raised
    }

    /// Ends the stream: an unfinished request is aborted, and nothing more is given out.
    fn stop(&self, py: Python<'_>) {
        self.end(py, false);
    }

    /// The same for a loop that is left: who reads on is told.
    fn leave(&self, py: Python<'_>) {
        self.end(py, true);
    }

    fn end(&self, py: Python<'_>, left: bool) {
        if self.made != fork_epoch() {
            return;
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
            self.handle.cancel.cancel();
            // Whoever waits in another thread or task sees the end.
            self.channel.end(Ok(()));
        }
        self.release(py);
    }

    /// Gives back what a stream that is over needs no more: it may be kept for its text and its completion.
    fn release(&self, py: Python<'_>) {
        let decoder = self.decoder.try_lock(py).map(|mut decoder| std::mem::take(&mut *decoder));
        // Not under the lock: to drop the chunks that were given out may run Python code.
        drop(decoder);
        let mut local = self.local.lock(py);
        local.chunks = VecDeque::new();
        local.so_far.close();
        drop(local);
        if self.made == fork_epoch() {
            let unread = std::mem::take(&mut self.channel.lock().chunks);
            drop(unread);
        }
    }

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
        let limit = self.handle.look();
        runtime::wait(py, || {
            let mut state = self.channel.lock();
            if state.chunks.is_empty() && state.end.is_none() {
                state.threads += 1;
                let readable = &self.channel.readable;
                let mut state = readable.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0;
                state.threads -= 1;
            }
        });
        // `take` looks whether there is still somebody to wait for.
        runtime::is_alive(self.made);
        self.handle.write_log(py);
        py.check_signals().inspect_err(|_| self.leave(py))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        Python::attach(|py| self.stop(py));
    }
}

#[pymethods]
impl Stream {
    /// What annotations write: `Stream[ChatCompletionChunk, ChatCompletion]`.
    #[classmethod]
    fn __class_getitem__<'py>(class: &Bound<'py, PyType>, item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        generic(class, item)
    }

    fn __iter__(slf: &Bound<'_, Self>) -> ChunkIterator {
        ChunkIterator::new(slf)
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        loop {
            match self.next_chunk(py) {
                Ok(chunk) => return Ok(chunk.map(|chunk| chunk.into_bound(py))),
                Err(Some(error)) => return Err(error),
                Err(None) => self.wait(py)?,
            }
        }
    }

    fn __aiter__(slf: &Bound<'_, Self>) -> ChunkIterator {
        ChunkIterator::new(slf)
    }

    fn __anext__(slf: &Bound<'_, Self>) -> NextChunk {
        NextChunk::new(slf)
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) {
        self.stop(py);
    }

    fn __aenter__<'py>(slf: &Bound<'py, Self>) -> Done {
        Done::new(slf.clone().into_any().unbind())
    }

    #[pyo3(signature = (*_exception))]
    fn __aexit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) -> Done {
        self.stop(py);
        Done::new(py.None())
    }

    /// Ends the stream; an unfinished request is aborted at once.
    fn close(&self, py: Python<'_>) {
        self.stop(py);
    }

    /// Ends the stream; an unfinished request is aborted at once.
    fn aclose(&self, py: Python<'_>) -> Done {
        self.stop(py);
        Done::new(py.None())
    }

    /// The response accumulated so far, as the call without ``stream=True`` would have given it.
    #[getter]
    fn completion<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        if !slf.get().accumulates() {
            return Err(PyAttributeError::new_err("a stream of bytes or of a batch's results has no completion"));
        }
        let so_far = slf.get().local.lock(slf.py()).so_far.completion();
        let completion = accumulate::of_json(slf.py(), &so_far, slf.get().operation)?;
        super::object::set_slot(&completion, intern!(slf.py(), "meta"), &Self::meta(slf)?.into_any())?;
        Ok(completion)
    }

    /// The text accumulated so far: the content of the first choice, or of a response's messages. ``""`` before there is
    /// any.
    #[getter]
    fn text<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        let text = self.local.lock(py).so_far.text().into_owned();
        values::string(py, &text)
    }

    /// What is known about the answer beside its chunks.
    #[getter]
    fn meta<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Meta>> {
        let stream = slf.get();
        // The feed of a parent may have been locked by its network thread at the moment of the fork, for ever.
        let renewed = if stream.made == fork_epoch() { stream.channel.lock().meta.clone() } else { None };
        Bound::new(slf.py(), Meta::of(renewed.unwrap_or_else(|| stream.meta.clone())))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(decoded) = self.decoded.visit(&visit) {
            decoded.first.iter().chain(decoded.rest.iter().flatten()).try_for_each(|chunk| visit.call(chunk))?;
        }
        self.decoder.visit(&visit).map_or(Ok(()), |decoder| decoder.traverse(&visit))
    }

    fn __clear__(&self, py: Python<'_>) {
        let decoded = self.decoded.try_lock(py).map(|mut decoded| std::mem::take(&mut *decoded));
        let forgotten = (decoded, self.decoder.try_lock(py).map(|mut decoder| std::mem::take(&mut *decoder)));
        // Not under the lock: to drop the chunks that were given out may run Python code.
        drop(forgotten);
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!(
            "<Stream of {}/{}{}>",
            self.meta.provider,
            self.meta.model,
            if self.local.lock(py).over { ", over" } else { "" }
        )
    }
}

/// A class with its parameters, as annotations have it at run time.
fn generic<'py>(class: &Bound<'py, PyType>, item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    class.py().import("types")?.call_method1("GenericAlias", (class, item))
}

/// What a `for` loop holds while it runs. A loop that is left drops it, and with it the request.
#[pyclass(frozen, module = "ritellm._core")]
pub(super) struct ChunkIterator {
    stream: Py<Stream>,
    /// What the last chunk was awaited with; it serves again once nobody else has it.
    last: GilCell<Option<Py<NextChunk>>>,
}

impl ChunkIterator {
    fn new(stream: &Bound<'_, Stream>) -> Self {
        stream.get().loops.fetch_add(1, Ordering::Relaxed);
        Self { stream: stream.clone().unbind(), last: GilCell::new(None) }
    }
}

impl Drop for ChunkIterator {
    /// Ends the stream, unless another loop goes on with it.
    fn drop(&mut self) {
        if self.stream.get().loops.fetch_sub(1, Ordering::Relaxed) == 1 {
            Python::attach(|py| self.stream.get().leave(py));
        }
    }
}

#[pymethods]
impl ChunkIterator {
    /// What annotations write: `ChunkIterator[ChatCompletionChunk]`.
    #[classmethod]
    fn __class_getitem__<'py>(class: &Bound<'py, PyType>, item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        generic(class, item)
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.stream.get().__next__(py)
    }

    fn __aiter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __anext__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, NextChunk>> {
        let stream = self.stream.bind(py);
        // Taken out meanwhile: to decode a chunk may run a finaliser, and that may come here again.
        let last = self.last.lock(py).take();
        // SAFETY: a live reference.
        let is_ours = |last: &Py<NextChunk>| unsafe { ffi::Py_REFCNT(last.as_ptr()) == 1 };
        let next = match last.filter(is_ours) {
            Some(last) => {
                last.get().renew(py);
                last.into_bound(py)
            }
            None => Bound::new(py, NextChunk::new(stream))?,
        };
        let before = self.last.lock(py).replace(next.clone().unbind());
        // Not under the lock: to drop it may run Python code.
        drop(before);
        Ok(next)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.stream)?;
        self.last.visit(&visit).map_or(Ok(()), |last| visit.call(&*last))
    }
}

/// The awaitable of the next chunk: done already when a chunk is at hand.
#[pyclass(frozen, module = "ritellm._core")]
pub(super) struct NextChunk {
    stream: Py<Stream>,
    state: GilCell<Next>,
}

enum Next {
    NotAsked,
    Waiting(Py<Waiter>),
    Over,
}

impl NextChunk {
    fn new(stream: &Bound<'_, Stream>) -> Self {
        stream.get().look(stream.py());
        Self { stream: stream.clone().unbind(), state: GilCell::new(Next::NotAsked) }
    }

    /// For the chunk after the one that it was awaited for.
    fn renew(&self, py: Python<'_>) {
        self.stream.get().look(py);
        self.replace(py, Next::NotAsked);
    }

    fn replace(&self, py: Python<'_>, next: Next) -> Next {
        std::mem::replace(&mut *self.state.lock(py), next)
    }

    /// What the running task waits for until the next chunk comes.
    fn ask<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Waiter>> {
        let stream = self.stream.get();
        let bridge = Bridge::current(py)?;
        let (key, waiter) = Bridge::wait(&bridge, None)?;
        let queue = bridge.get().queue();
        let mut state = stream.channel.lock();
        if state.chunks.is_empty() && state.end.is_none() {
            state.waiting.push((queue, key));
        } else {
            // Something came since the last look.
            drop(state);
            queue.push(key, Box::new(WakeUp));
        }
        waiter.get().block();
        Ok(waiter)
    }
}

impl Awaitable for NextChunk {
    fn ready(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let mut state = self.state.lock(py);
        if !matches!(*state, Next::NotAsked) {
            return None;
        }
        let chunk = self.stream.get().decoded.lock(py).first.take()?;
        *state = Next::Over;
        Some(chunk)
    }

    fn step<'py>(slf: &Bound<'py, Self>) -> PyResult<Step<'py>> {
        let (py, next) = (slf.py(), slf.get());
        match next.replace(py, Next::Over) {
            // Raises a cancellation that was not thrown.
            Next::Waiting(waiter) => waiter.get().result(py)?,
            Next::NotAsked => {}
            Next::Over => return Err(PyRuntimeError::new_err("this was awaited before; ask the stream for another")),
        }
        match next.stream.get().next_chunk(py) {
            Ok(Some(chunk)) => Ok(Step::Returns(chunk)),
            // Not by `__anext__`: `anext(stream, default)` of CPython 3.11 crashes where that raises.
            Ok(None) => Err(PyStopAsyncIteration::new_err(())),
            Err(Some(error)) => Err(error),
            Err(None) => {
                let waiter = next.ask(py)?;
                next.replace(py, Next::Waiting(waiter.clone().unbind()));
                Ok(Step::Waits(waiter))
            }
        }
    }
}

#[pymethods]
impl NextChunk {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Waiter>> {
        send::next(slf)
    }

    fn send<'py>(slf: &Bound<'py, Self>, _value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Waiter>> {
        send::next(slf)
    }

    /// A cancelled task throws its cancellation in here: it waits no more, and the stream goes on.
    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw<'py>(
        &self,
        kind: &Bound<'py, PyAny>,
        value: Option<&Bound<'py, PyAny>>,
        traceback: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.close(kind.py());
        Err(thrown(kind, value, traceback)?)
    }

    fn close(&self, py: Python<'_>) {
        if let Next::Waiting(waiter) = self.replace(py, Next::Over) {
            let waiter = waiter.get();
            waiter.close(py);
            let stream = self.stream.get();
            // The feed of a parent process may be locked for ever.
            if stream.made == fork_epoch() {
                stream.channel.forget(&waiter.queue(), waiter.key());
            }
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.stream)?;
        match self.state.visit(&visit).as_deref() {
            Some(Next::Waiting(waiter)) => visit.call(waiter),
            _ => Ok(()),
        }
    }
}

/// An awaitable that is done already.
#[pyclass(frozen, module = "ritellm._core")]
pub(super) struct Done {
    value: GilCell<Option<Py<PyAny>>>,
}

impl Done {
    /// One that gives this.
    pub fn new(value: Py<PyAny>) -> Self {
        Self { value: GilCell::new(Some(value)) }
    }
}

#[pymethods]
impl Done {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let value = self.value.lock(py).take();
        Err(PyStopIteration::new_err((value.unwrap_or_else(|| py.None()),)))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.value.visit(&visit).map_or(Ok(()), |value| visit.call(&*value))
    }
}
