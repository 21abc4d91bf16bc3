//! A call on its way to the network thread, and on its way back: what is asked, who gets the outcome, and how it ended.
//!
//! What the caller's thread has allocated comes back to it, and what the network thread has allocated for the call stays
//! there: memory that one thread frees for another costs both.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Poll;

use futures_util::task::AtomicWaker;
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::arguments::PreparedCall;
use super::bridge::{CallResult, Queue};
use super::closing::{self, Closing, Core};
use super::errors::exception;
use super::handoff::BlockingWaiter;
use super::intern::intern;
use super::json_decode::{self, Class};
use super::log::Log;
use super::memory;
use super::meta::Meta;
use super::object::set_slot;
use super::runtime;
use super::stream::{ChunkChannel, Stream};
use super::waiter::CallHandle;
use crate::client::ReplyGuard;
use crate::error::{Error, ErrorKind};
use crate::types::answer::{self, Answer};
use crate::types::operation::Output;

/// What the network thread is given to do.
pub(super) enum Task {
    Call(Job),
    /// In a box, so that the calls are no larger for it.
    Close(Box<Closing>),
}

impl Task {
    /// To be called on the network thread.
    pub fn begin(self) {
        match self {
            Self::Call(job) => job.begin(),
            Self::Close(closing) => closing.begin(),
        }
    }
}

/// A call for the network thread to make.
pub(super) struct Job {
    pub core: Arc<Core>,
    pub prepared: Box<PreparedCall>,
    pub handle: CallHandle,
    pub caller: Caller,
}

/// Who gets the outcome.
pub(super) enum Caller {
    /// A task of an event loop, that waits under this key.
    Task(Arc<Queue>, u64),
    Thread(Arc<BlockingWaiter>),
}

/// The way to give up a job: it is dropped where it stands.
#[derive(Clone, Default)]
pub(super) struct CancelHandle(Arc<CancelState>);

#[derive(Default)]
struct CancelState {
    /// [`GOES_ON`], or why it does not.
    why: AtomicU8,
    job: AtomicWaker,
}

const GOES_ON: u8 = 0;
/// Nobody waits for it any more.
const GIVEN_UP: u8 = 1;
/// Its client was closed, and whoever waits for it is to be told.
const ENDED: u8 = 2;

/// How a call ended. Each lives in a box of its own.
enum Finished {
    /// With what was asked: the form that the answer is to have, and the secrets that must not come out in an error.
    Answer(Answer, Box<PreparedCall>),
    Stream(Box<Stream>),
    Failed(Box<Error>),
}

/// How a call ended, and the log of how it came to that.
struct FinishedCall {
    result: Finished,
    log: Option<Arc<Log>>,
}

impl Job {
    fn begin(self) {
        if let (Some(log), Caller::Task(queue, _)) = (&self.handle.log, &self.caller) {
            tokio::spawn(Log::watch(Arc::downgrade(log), queue.clone()));
        }
        match self.prepared.call.request.stream {
            true => drop(tokio::spawn(Box::pin(self.stream()))),
            false => drop(tokio::spawn(Box::pin(self.call()))),
        }
    }

    async fn call(self) {
        let Self { core, prepared, handle: CallHandle { cancel, log }, caller } = self;
        let _under_way = core.calls.begin(&cancel);
        let mut reply =
            Some(ReplyGuard::new(move |result| caller.give(FinishedCall { result, log }), Finished::Failed));
        let mut prepared = Some(prepared);
        {
            let work = pin!(async {
                let Some(theirs) = &mut prepared else { return };
                let answered = core.client.call(&mut theirs.call).await;
                let (Some(prepared), Some(reply)) = (prepared.take(), reply.take()) else { return };
                reply.send(match answered {
                    Ok(received) => {
                        memory::allocated(received.body.len());
                        Finished::Answer(received, prepared)
                    }
                    Err(error) => Finished::Failed(error),
                });
            });
            cancel.run_until_cancelled(work).await;
        }
        if let (Some(prepared), Some(reply)) = (prepared, reply)
            && cancel.is_ended()
        {
            let deployment = &prepared.call.deployment;
            reply.send(Finished::Failed(closing::ended(deployment.provider.row().name, &deployment.model)));
        }
    }

    async fn stream(self) {
        let Self { core, prepared, handle, caller } = self;
        let CallHandle { cancel, log } = handle.clone();
        let _under_way = core.calls.begin(&cancel);
        let channel = Arc::new(ChunkChannel::default());
        let (provider, model) = (prepared.call.deployment.provider.row().name, prepared.call.deployment.model.clone());
        let mut reply =
            Some(ReplyGuard::new(move |result| caller.give(FinishedCall { result, log }), Finished::Failed));
        {
            let work = pin!(async {
                let opened = core.client.stream(prepared.call).await;
                let Some(reply) = reply.take() else { return };
                match opened {
                    Ok(mut stream) => {
                        let theirs = Stream::new(channel.clone(), handle, &stream, prepared.deepest);
                        reply.send(Finished::Stream(Box::new(theirs)));
                        let rest = ReplyGuard::new(|error| channel.end(Err(error)), |error| error);
                        channel.fill(&mut stream).await;
                        rest.disarm();
                    }
                    Err(error) => reply.send(Finished::Failed(error)),
                }
            });
            cancel.run_until_cancelled(work).await;
        }
        if cancel.is_ended() {
            let error = closing::ended(provider, &model);
            match reply {
                Some(reply) => reply.send(Finished::Failed(error)),
                // One that has ended by itself keeps its end.
                None => channel.end(Err(error)),
            }
        }
    }
}

impl Caller {
    pub fn give(self, result: impl CallResult + 'static) {
        match self {
            Self::Task(queue, key) => queue.push(key, Box::new(result)),
            Self::Thread(waiter) => runtime::handoff().push(&waiter, Box::new(result)),
        }
    }
}

impl CancelHandle {
    /// The job is not wanted any more.
    pub fn cancel(&self) {
        self.0.why.store(GIVEN_UP, Ordering::Release);
        self.0.job.wake();
    }

    /// Its client is closed: the job is given up, and whoever waits for it is told, unless nobody does.
    pub fn end(&self) {
        let _ = self.0.why.compare_exchange(GOES_ON, ENDED, Ordering::AcqRel, Ordering::Acquire);
        self.0.job.wake();
    }

    fn is_cancelled(&self) -> bool {
        self.0.why.load(Ordering::Acquire) != GOES_ON
    }

    fn is_ended(&self) -> bool {
        self.0.why.load(Ordering::Acquire) == ENDED
    }

    /// Does the work until it is done or given up.
    async fn run_until_cancelled(&self, mut work: Pin<&mut impl Future<Output = ()>>) {
        poll_fn(|context| {
            if !self.is_cancelled() && work.as_mut().poll(context).is_pending() {
                self.0.job.register(context.waker());
                // It may have been given up before it could be woken.
                if !self.is_cancelled() {
                    return Poll::Pending;
                }
            }
            // Whoever may give it up has this for longer, and would free the task that the waker belongs to: futures'
            // `Abortable` does.
            drop(self.0.job.take());
            Poll::Ready(())
        })
        .await;
    }
}

impl CallResult for FinishedCall {
    fn size(&self) -> usize {
        match &self.result {
            Finished::Answer(answer, _) => answer.body.len(),
            _ => 0,
        }
    }

    fn into_python(self: Box<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if let Some(log) = &self.log {
            log.write(py);
        }
        match self.result {
            Finished::Answer(answer, prepared) => Ok(object(py, answer, &prepared)?.unbind()),
            Finished::Stream(stream) => Ok(Py::new(py, *stream)?.into_any()),
            Finished::Failed(error) => Err(exception(py, error)),
        }
    }
}

/// An answer that is no JSON.
#[cold]
fn binary<'py>(py: Python<'py>, body: &[u8], meta: answer::Meta) -> PyResult<Bound<'py, PyAny>> {
    let bytes = PyBytes::new_with(py, body.len(), |bytes| {
        bytes.copy_from_slice(body);
        Ok(())
    })?;
    let class = py.import(intern!(py, "ritellm.types"))?.getattr(intern!(py, "BinaryResponse"))?;
    let object = class.call1((bytes,))?;
    object.setattr(intern!(py, "meta"), Bound::new(py, Meta::of(meta))?)?;
    Ok(object)
}

/// An answer as the caller gets it.
fn object<'py>(py: Python<'py>, answer: Answer, prepared: &PreparedCall) -> PyResult<Bound<'py, PyAny>> {
    let Answer { body, meta } = answer;
    if prepared.call.request.operation.spec().output == Output::Binary {
        return binary(py, &body, meta);
    }
    match json_decode::decode_with(
        py,
        &body,
        Class::of_answer(prepared.call.request.operation),
        prepared.vectors,
        prepared.deepest,
    ) {
        Ok(object) => {
            set_slot(&object, intern!(py, "meta"), &Bound::new(py, Meta::of(meta))?.into_any())?;
            Ok(object)
        }
        Err(error) if error.is_instance_of::<PyMemoryError>(py) => Err(error),
        Err(error) => {
            let mut invalid = Error::new(
                ErrorKind::ApiResponseValidation,
                format!("{} answered with something that cannot be read: {}", meta.provider, error.value(py)),
            );
            invalid.status = Some(meta.status);
            invalid.request_id = meta.headers.request_id().map(str::to_owned);
            invalid.provider = Some(meta.provider.into_owned());
            invalid.headers = Some(meta.headers);
            invalid.retries = meta.retries;
            invalid.body = Some(body);
            invalid.model = Some(meta.model.to_string());
            invalid.hide(&meta.secrets.redactor());
            Err(exception(py, invalid))
        }
    }
}
