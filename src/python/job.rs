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

use super::arguments::Asked;
use super::bridge::{Outcome, Queue};
use super::closing::{self, Closing, Core};
use super::errors::exception;
use super::json_decode::{self, Class};
use super::log::Log;
use super::memory;
use super::meta::Meta;
use super::object::set_slot;
use super::once::name;
use super::runtime;
use super::stream::{Feed, Stream};
use super::turns::Sleeper;
use super::waiter::Work;
use crate::client::Promise;
use crate::error::{Error, ErrorKind};
use crate::types::chat::{self, Answer, request_id};
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
    pub asked: Box<Asked>,
    pub work: Work,
    pub caller: Caller,
}

/// Who gets the outcome.
pub(super) enum Caller {
    /// A task of an event loop, that waits under this key.
    Task(Arc<Queue>, u64),
    Thread(Arc<Sleeper>),
}

/// The way to give up a job: it is dropped where it stands.
#[derive(Clone, Default)]
pub(super) struct Abort(Arc<Aborted>);

#[derive(Default)]
struct Aborted {
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
enum End {
    /// With what was asked: the form that the answer is to have, and the secrets that must not come out in an error.
    Answer(Answer, Box<Asked>),
    Stream(Box<Stream>),
    Failed(Box<Error>),
}

/// How a call ended, and the log of how it came to that.
struct Ended {
    end: End,
    log: Option<Arc<Log>>,
}

impl Job {
    fn begin(self) {
        if let (Some(log), Caller::Task(queue, _)) = (&self.work.log, &self.caller) {
            tokio::spawn(Log::watch(Arc::downgrade(log), queue.clone()));
        }
        match self.asked.call.request.stream {
            true => drop(tokio::spawn(Box::pin(self.stream()))),
            false => drop(tokio::spawn(Box::pin(self.call()))),
        }
    }

    async fn call(self) {
        let Self { core, asked, work: Work { abort, log }, caller } = self;
        let _under_way = core.calls.begin(&abort);
        let mut promise = Some(Promise::new(move |end| caller.give(Ended { end, log }), End::Failed));
        let mut asked = Some(asked);
        {
            let work = pin!(async {
                let Some(theirs) = &mut asked else { return };
                let answered = core.client.call(&mut theirs.call).await;
                let (Some(asked), Some(promise)) = (asked.take(), promise.take()) else { return };
                promise.keep(match answered {
                    Ok(received) => {
                        memory::allocated(received.body.len());
                        End::Answer(received, asked)
                    }
                    Err(error) => End::Failed(error),
                });
            });
            abort.or_done(work).await;
        }
        if let (Some(asked), Some(promise)) = (asked, promise)
            && abort.is_ended()
        {
            let deployment = &asked.call.deployment;
            promise.keep(End::Failed(closing::ended(deployment.provider.row().name, &deployment.model)));
        }
    }

    async fn stream(self) {
        let Self { core, asked, work, caller } = self;
        let Work { abort, log } = work.clone();
        let _under_way = core.calls.begin(&abort);
        let feed = Arc::new(Feed::default());
        let (provider, model) = (asked.call.deployment.provider.row().name, asked.call.deployment.model.clone());
        let mut promise = Some(Promise::new(move |end| caller.give(Ended { end, log }), End::Failed));
        {
            let work = pin!(async {
                let opened = core.client.stream(asked.call).await;
                let Some(promise) = promise.take() else { return };
                match opened {
                    Ok(mut stream) => {
                        let theirs = Stream::new(feed.clone(), work, &stream, asked.deepest);
                        promise.keep(End::Stream(Box::new(theirs)));
                        let rest = Promise::new(|error| feed.end(Err(error)), |error| error);
                        feed.fill(&mut stream).await;
                        rest.release();
                    }
                    Err(error) => promise.keep(End::Failed(error)),
                }
            });
            abort.or_done(work).await;
        }
        if abort.is_ended() {
            let error = closing::ended(provider, &model);
            match promise {
                Some(promise) => promise.keep(End::Failed(error)),
                // One that has ended by itself keeps its end.
                None => feed.end(Err(error)),
            }
        }
    }
}

impl Caller {
    pub fn give(self, outcome: impl Outcome + 'static) {
        match self {
            Self::Task(queue, key) => queue.push(key, Box::new(outcome)),
            Self::Thread(sleeper) => runtime::turns().push(&sleeper, Box::new(outcome)),
        }
    }
}

impl Abort {
    /// The job is not wanted any more.
    pub fn abort(&self) {
        self.0.why.store(GIVEN_UP, Ordering::Release);
        self.0.job.wake();
    }

    /// Its client is closed: the job is given up, and whoever waits for it is told, unless nobody does.
    pub fn end(&self) {
        let _ = self.0.why.compare_exchange(GOES_ON, ENDED, Ordering::AcqRel, Ordering::Acquire);
        self.0.job.wake();
    }

    fn is_wanted(&self) -> bool {
        self.0.why.load(Ordering::Acquire) != GOES_ON
    }

    fn is_ended(&self) -> bool {
        self.0.why.load(Ordering::Acquire) == ENDED
    }

    /// Does the work until it is done or given up.
    async fn or_done(&self, mut work: Pin<&mut impl Future<Output = ()>>) {
        poll_fn(|context| {
            if !self.is_wanted() && work.as_mut().poll(context).is_pending() {
                self.0.job.register(context.waker());
                // It may have been given up before it could be woken.
                if !self.is_wanted() {
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

impl Outcome for Ended {
    fn size(&self) -> usize {
        match &self.end {
            End::Answer(answer, _) => answer.body.len(),
            _ => 0,
        }
    }

    fn into_python(self: Box<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if let Some(log) = &self.log {
            log.write(py);
        }
        match self.end {
            End::Answer(answer, asked) => Ok(object(py, answer, &asked)?.unbind()),
            End::Stream(stream) => Ok(Py::new(py, *stream)?.into_any()),
            End::Failed(error) => Err(exception(py, error)),
        }
    }
}

/// An answer that is no JSON.
#[cold]
fn binary<'py>(py: Python<'py>, body: &[u8], meta: chat::Meta) -> PyResult<Bound<'py, PyAny>> {
    let bytes = PyBytes::new_with(py, body.len(), |bytes| {
        bytes.copy_from_slice(body);
        Ok(())
    })?;
    let class = py.import(name!(py, "ritellm.types"))?.getattr(name!(py, "BinaryResponse"))?;
    let object = class.call1((bytes,))?;
    object.setattr(name!(py, "meta"), Bound::new(py, Meta::of(meta))?)?;
    Ok(object)
}

/// An answer as the caller gets it.
fn object<'py>(py: Python<'py>, answer: Answer, asked: &Asked) -> PyResult<Bound<'py, PyAny>> {
    let Answer { body, meta } = answer;
    if asked.call.request.operation.spec().output == Output::Binary {
        return binary(py, &body, meta);
    }
    match json_decode::decode_with(
        py,
        &body,
        Class::of_answer(asked.call.request.operation),
        asked.vectors,
        asked.deepest,
    ) {
        Ok(object) => {
            set_slot(&object, name!(py, "meta"), &Bound::new(py, Meta::of(meta))?.into_any())?;
            Ok(object)
        }
        Err(error) if error.is_instance_of::<PyMemoryError>(py) => Err(error),
        Err(error) => {
            let mut invalid = Error::new(
                ErrorKind::ApiResponseValidation,
                format!("{} answered with something that cannot be read: {}", meta.provider, error.value(py)),
            );
            invalid.status = Some(meta.status);
            invalid.request_id = request_id(&meta.headers).map(str::to_owned);
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
