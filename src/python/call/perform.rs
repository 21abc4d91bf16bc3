//! Jobs on the network thread: makes the calls, and gives their results to their callers.

use std::pin::pin;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::caller::Caller;
use super::closing;
use super::finished::{Finished, FinishedCall};
use super::handle::CallHandle;
use super::log::Log;
use super::registry::Core;
use super::task::{Job, Task};
use crate::cache::lookup::{Lookup, Recorder, StreamReader};
use crate::client::{self, Call, ChunkSource, ReplyGuard};
use crate::error::Result;
use crate::python::memory;
use crate::python::streams::channel::ChunkChannel;
use crate::python::streams::stream::Stream;
use crate::python::sync::handoff::HandoffQueue;
use crate::router::route::Route;
use crate::types::answer::Answer;

/// Begins the work of `task`. To be called on the network thread, whose hand-off queue is `handoff`.
pub(crate) fn begin(task: Task, handoff: &'static HandoffQueue) {
    match task {
        Task::Call(job) => begin_call(job, handoff),
        Task::Close(closing) => closing.begin(handoff),
    }
}

fn begin_call(job: Job, handoff: &'static HandoffQueue) {
    if let (Some(watch), Caller::Task(queue, _)) = (&job.handle.watch, &job.caller)
        && let Some(log) = &watch.log
    {
        tokio::spawn(Log::watch(Arc::downgrade(log), queue.clone()));
    }
    match job.prepared.call.request.stream {
        true => drop(tokio::spawn(Box::pin(stream(job, handoff)))),
        false => drop(tokio::spawn(Box::pin(call(job, handoff)))),
    }
}

/// Makes a call, and gives its answer to the caller.
async fn call(job: Job, handoff: &'static HandoffQueue) {
    let Job { core, prepared, handle: CallHandle { cancel, watch }, caller } = job;
    let _in_flight = core.calls.begin(&cancel);
    let mut reply =
        Some(ReplyGuard::new(move |result| caller.give(FinishedCall { result, watch }, handoff), Finished::Failed));
    let mut prepared = Some(prepared);
    {
        let work = pin!(async {
            let Some(in_work) = &mut prepared else { return };
            let answered = match (in_work.lookup.take(), in_work.route.take()) {
                (Some(lookup), route) => Box::pin(look_up(&lookup, core.clone(), &in_work.call, route)).await,
                (None, None) => core.client.call(&mut in_work.call).await,
                (None, Some(route)) => Box::pin(route.call(&core.client, &in_work.call)).await,
            };
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
        && cancel.is_closed()
    {
        let deployment = &prepared.call.deployment;
        reply.send(Finished::Failed(closing::ended(deployment.provider.row().name, &deployment.model)));
    }
}

/// Opens a stream, gives it to the caller, and fills its channel until its end.
async fn stream(job: Job, handoff: &'static HandoffQueue) {
    let Job { core, prepared, handle, caller } = job;
    let CallHandle { cancel, watch } = handle.clone();
    let _in_flight = core.calls.begin(&cancel);
    let channel = Arc::new(ChunkChannel::default());
    let (provider, model) = (prepared.call.deployment.provider.row().name, prepared.call.deployment.model.clone());
    let mut reply =
        Some(ReplyGuard::new(move |result| caller.give(FinishedCall { result, watch }, handoff), Finished::Failed));
    {
        let work = pin!(async {
            if let Some(lookup) = &prepared.lookup {
                let opened = Box::pin(look_up_stream(lookup, core.clone(), &prepared.call, prepared.route)).await;
                let Some(reply) = reply.take() else { return };
                return deliver(opened, &channel, handle, prepared.deepest, |result| reply.send(result)).await;
            }
            // Boxed: the memory for sending the request (4 kB) is freed before the answer is read.
            let opened = match prepared.route {
                None => Box::pin(core.client.stream(prepared.call)).await,
                Some(route) => Box::pin(route.stream(&core.client, prepared.call)).await,
            };
            let Some(reply) = reply.take() else { return };
            deliver(opened, &channel, handle, prepared.deepest, |result| reply.send(result)).await;
        });
        cancel.run_until_cancelled(work).await;
    }
    if cancel.is_closed() {
        let error = closing::ended(provider, &model);
        match reply {
            Some(reply) => reply.send(Finished::Failed(error)),
            // A stream that has ended by itself keeps its end.
            None => channel.end(Err(error)),
        }
    }
}

/// Gives a stream that was opened to its caller, and fills its channel until its end.
#[inline]
async fn deliver<S: ChunkSource>(
    opened: Result<Box<S>>,
    channel: &Arc<ChunkChannel>,
    handle: CallHandle,
    deepest: usize,
    reply: impl FnOnce(Finished),
) {
    match opened {
        Ok(mut stream) => {
            let is_observed = handle.watch.is_some();
            let consumer = Stream::new(channel.clone(), handle, &*stream, deepest);
            reply(Finished::Stream(Box::new(consumer)));
            let rest = ReplyGuard::new(|error| channel.end(Err(error)), |error| error);
            channel.fill(&mut *stream, is_observed).await;
            rest.disarm();
        }
        Err(error) => reply(Finished::Failed(error)),
    }
}

/// Looks the answer of a call up. The call, if it is made, belongs to all who wait for it, and goes on if this one is cancelled.
async fn look_up(lookup: &Lookup, core: Arc<Core>, call: &Call, route: Option<Box<Route>>) -> Result<Answer> {
    let make = move |mut call: Call| {
        let made = async move {
            match route {
                None => core.client.call(&mut call).await,
                Some(route) => route.call(&core.client, &call).await,
            }
        };
        Box::pin(made) as BoxFuture<'static, Result<Answer>>
    };
    lookup.call(call, make).await
}

/// Looks the stream of a call up, likewise.
async fn look_up_stream(
    lookup: &Lookup,
    core: Arc<Core>,
    call: &Call,
    route: Option<Box<Route>>,
) -> Result<Box<StreamReader>> {
    let make = move |call: Call, recorder: Recorder| {
        let made = async move {
            let opened = match route {
                None => core.client.stream(call).await,
                Some(route) => route.stream(&core.client, call).await,
            };
            match opened {
                Ok(mut stream) => recorder.record(Ok(&mut *stream)).await,
                Err(error) => recorder.record::<client::Stream<'_>>(Err(error)).await,
            }
        };
        Box::pin(made) as BoxFuture<'static, ()>
    };
    lookup.stream(call, make).await.map(Box::new)
}
