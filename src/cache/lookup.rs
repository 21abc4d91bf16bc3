//! One call, looked up before anything else: an answer that is kept, a call under way that is joined, or a call that is made.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::clock::Clock;
use super::entry::Entry;
use super::flight::{Finisher, Ticket};
use super::key::{Key, Keys};
use super::log::{Live, Log, Reader, joined};
use super::{Cache, embeddings, unix_millis};
use crate::client::{Call, Chunk, ChunkSource};
use crate::error::{Error, ErrorKind, Result};
use crate::types::answer::{Answer, Meta};
use crate::types::operation::{Operation, Output};

pub use super::log::Reader as StreamReader;

/// Number of failures of others' calls after which a caller takes the last one as its own.
const MAX_FAILURES: u32 = 2;

/// Function that makes a call.
type Make = Box<dyn FnOnce(Call) -> BoxFuture<'static, Result<Answer>> + Send>;

/// A call that may be answered from a cache.
#[derive(Clone)]
pub struct Lookup {
    /// The cache.
    pub cache: Arc<Cache>,
    /// Keys of the answer.
    pub keys: Keys,
    /// Time for which the answer is kept, and maximum age of one that is taken.
    pub ttl: Option<Duration>,
}

/// An answer that was kept.
pub enum Kept {
    /// A whole answer.
    Answer(Answer),
    /// The chunks of a stream.
    Stream(Vec<Chunk>, Meta),
}

impl Lookup {
    /// Returns the answer if it is in this process's memory.
    pub fn ready(&self, is_stream: bool) -> Option<Kept> {
        let whole = [self.keys.whole];
        let keys = self.keys.parts.as_deref().unwrap_or(&whole);
        let entries = self.cache.in_memory(keys, unix_millis(), self.ttl)?;
        let kept = match (&self.keys.parts, is_stream) {
            (Some(_), _) => Kept::Answer(embeddings::assemble(&entries)?),
            (None, true) => Kept::Stream(entries[0].pieces.clone(), entries[0].meta.clone()),
            (None, false) => Kept::Answer(entries[0].answer()),
        };
        self.cache.counters.hits.fetch_add(1, Ordering::Relaxed);
        Some(kept)
    }

    /// Returns the answer of a call: the one that is kept, that of the same call under way, or a new one. `make` makes a call.
    ///
    /// # Errors
    ///
    /// The failure of the call, if this caller made it or it would fail for all; the caller's own timeout.
    pub fn call<'a>(
        &'a self,
        call: &'a Call,
        make: impl FnOnce(Call) -> BoxFuture<'static, Result<Answer>> + Send + 'static,
    ) -> impl Future<Output = Result<Answer>> + 'a {
        // Boxed, so that the code is there once, for calls and for rows of jobs.
        self.find_or_join(call, Box::new(make))
    }

    async fn find_or_join(&self, call: &Call, make: Make) -> Result<Answer> {
        let mut caller = Caller::new(call);
        let mut make = Some(make);
        loop {
            let ticket = self.cache.calls.join(self.keys.whole);
            if ticket.is_first
                && let Some(make) = make.take()
            {
                let lookup = self.clone();
                ticket.begin(caller.own_call(), |call, finisher| async move {
                    finisher.finish(lookup.find_or_make(call, make).await);
                });
            } else {
                self.count_joined(&mut caller);
            }
            match ticket.outcome(caller.clock(ticket.is_first)).await.map_err(|error| caller.named(error))? {
                Ok(mut answer) => {
                    let pays = ticket.pays();
                    if answer.meta.cached {
                        self.cache.counters.hits.fetch_add(u64::from(ticket.is_first), Ordering::Relaxed);
                    } else if !ticket.is_first {
                        answer.meta = joined(answer.meta, pays);
                    }
                    answer.meta.latency = caller.clock.elapsed();
                    return Ok(answer);
                }
                Err(error) => caller.after_failure(error, &ticket)?,
            }
        }
    }

    /// Counts a caller who has joined a call, once.
    fn count_joined(&self, caller: &mut Caller<'_>) {
        let is_news = !std::mem::replace(&mut caller.has_joined, true);
        self.cache.counters.joined.fetch_add(u64::from(is_news), Ordering::Relaxed);
    }

    /// Looks the answer up once more, where that takes time or another call has ended meanwhile, and makes the call otherwise.
    async fn find_or_make(&self, call: Call, make: Make) -> Result<Answer> {
        let operation = call.request.operation;
        let Some(keys) = &self.keys.parts else {
            if let Some(entry) = self.cache.get(&[self.keys.whole], self.ttl).await.pop().flatten() {
                return Ok(entry.answer());
            }
            self.cache.counters.misses.fetch_add(1, Ordering::Relaxed);
            let answer = make(call).await?;
            if is_complete(operation, &answer.body) {
                let entry = Entry::new(&[(answer.body.clone(), true)], &answer.meta, unix_millis(), self.ttl);
                self.cache.put(vec![(self.keys.whole, entry)]);
            }
            return Ok(answer);
        };
        let kept = self.cache.get(keys, self.ttl).await;
        if let Some(answer) = kept.iter().cloned().collect::<Option<Vec<_>>>().as_deref().and_then(embeddings::assemble)
        {
            return Ok(answer);
        }
        self.cache.counters.misses.fetch_add(1, Ordering::Relaxed);
        let missing: Vec<Key> =
            keys.iter().zip(&kept).filter(|(_, entry)| entry.is_none()).map(|(key, _)| *key).collect();
        let mut call = call;
        let is_partial = missing.len() < keys.len();
        if is_partial {
            embeddings::ask_for(&mut call.request, |index| kept[index].is_none());
        }
        let mut answer = make(call).await?;
        let Some((items, usage)) = embeddings::split(&answer.body, missing.len()) else {
            // Of a part of the inputs, it would be no answer to the call.
            return if is_partial { Err(unreadable()) } else { Ok(answer) };
        };
        if is_partial {
            answer.body = embeddings::join(&kept, &items, &usage).ok_or_else(unreadable)?;
        }
        let now = unix_millis();
        let entry = |pieces: &[Chunk; 2]| Entry::new(pieces, &answer.meta, now, self.ttl);
        self.cache.put(missing.into_iter().zip(items.iter().map(entry)).collect());
        Ok(answer)
    }

    /// Returns the stream of a call: one that is kept, the same one under way, or a new one. `make` opens a stream and gives it to
    /// the recorder.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn stream(
        &self,
        call: &Call,
        make: impl FnOnce(Call, Recorder) -> BoxFuture<'static, ()> + Send + 'static,
    ) -> Result<Reader> {
        let operation = call.request.operation;
        let mut caller = Caller::new(call);
        let mut make = Some(make);
        loop {
            let ticket = self.cache.streams.join(self.keys.whole);
            if ticket.is_first
                && let Some(make) = make.take()
            {
                let lookup = self.clone();
                ticket.begin(caller.own_call(), |call, finisher| lookup.find_or_open(call, make, finisher));
            } else {
                self.count_joined(&mut caller);
            }
            let clock = caller.clock(ticket.is_first);
            match ticket.outcome(clock).await.map_err(|error| caller.named(error))? {
                Ok(live) => return Ok(Reader::new(live, operation, clock.copied(), ticket)),
                Err(error) => caller.after_failure(error, &ticket)?,
            }
        }
    }

    async fn find_or_open(
        self,
        call: Call,
        make: impl FnOnce(Call, Recorder) -> BoxFuture<'static, ()>,
        finisher: Finisher<Live>,
    ) {
        if let Some(entry) = self.cache.get(&[self.keys.whole], self.ttl).await.pop().flatten() {
            self.cache.counters.hits.fetch_add(1, Ordering::Relaxed);
            let log = Arc::<Log>::default();
            log.add(&mut entry.pieces.clone(), usize::MAX, || ());
            log.end(Ok(()), entry.meta.clone());
            return finisher.finish(Ok(log.live(entry.meta.clone())));
        }
        self.cache.counters.misses.fetch_add(1, Ordering::Relaxed);
        let operation = call.request.operation;
        make(call, Recorder { lookup: self, finisher, operation }).await;
    }
}

/// Takes a stream that was opened, gives its chunks to all who wait for them, and keeps them if the stream ends well.
pub struct Recorder {
    lookup: Lookup,
    finisher: Finisher<Live>,
    operation: Operation,
}

impl Recorder {
    /// Reads a stream to its end.
    pub async fn record<S: ChunkSource>(self, opened: Result<&mut S>) {
        let stream = match opened {
            Ok(stream) => stream,
            Err(error) => return self.finisher.finish(Err(error)),
        };
        let Self { lookup, finisher, operation } = self;
        let log = Arc::<Log>::default();
        finisher.open(log.live(stream.meta().clone()));
        let mut chunks = Vec::new();
        loop {
            let more = stream.next(&mut chunks).await;
            // Who joins a stream that is too large could not read its begin any more.
            log.add(&mut chunks, lookup.cache.max_entry, || finisher.close());
            match more {
                Ok(true) => log.room().await,
                Ok(false) => {
                    if let Some(chunks) = log.end(Ok(()), stream.meta().clone())
                        && is_complete_stream(operation, &chunks)
                    {
                        let entry = Entry::new(&chunks, stream.meta(), unix_millis(), lookup.ttl);
                        lookup.cache.put(vec![(lookup.keys.whole, entry)]);
                    }
                    drop(finisher);
                    return stream.finish().await;
                }
                Err(error) => {
                    log.end(Err(error), stream.meta().clone());
                    return;
                }
            }
        }
    }
}

/// One who asks for an answer, and may wait for several calls until there is one.
struct Caller<'a> {
    call: &'a Call,
    clock: Clock,
    /// Number of failures that were not by the limits of whoever began the call.
    failures: u32,
    /// True if it has joined a call.
    has_joined: bool,
    /// True if a call was too late for whoever began it: the next one is made without such a limit, and all keep to their own.
    /// Otherwise each of them would begin a call when its predecessor's time has passed, and end it a moment later.
    is_unlimited: bool,
}

impl<'a> Caller<'a> {
    fn new(call: &'a Call) -> Self {
        Self { call, clock: Clock::start(call.timeouts), failures: 0, has_joined: false, is_unlimited: false }
    }

    /// Returns the call as it is made for all who wait for it: within what is left of the time of whoever begins it.
    fn own_call(&self) -> Call {
        let mut timeouts = self.clock.rest();
        if self.is_unlimited {
            (timeouts.queue, timeouts.total) = (None, None);
        }
        Call { timeouts, ..self.call.clone() }
    }

    /// Returns the clock by which it waits for a call; `None` if the call itself keeps to it.
    fn clock(&self, is_first: bool) -> Option<&Clock> {
        (!is_first || self.is_unlimited).then_some(&self.clock)
    }

    /// Returns an error with what it is about.
    fn named(&self, mut error: Box<Error>) -> Box<Error> {
        let deployment = &self.call.deployment;
        error.provider.get_or_insert_with(|| deployment.provider.row().name.to_owned());
        error.model.get_or_insert_with(|| deployment.model.to_string());
        error
    }

    /// Returns the failure of a call if it is this caller's as well. After all others, one of those who wait tries again.
    fn after_failure<T: Clone + Send + Sync + 'static>(&mut self, error: Box<Error>, ticket: &Ticket<T>) -> Result<()> {
        // A refusal of what is asked is one for everybody. That of a key or of a rate may be one for whoever began the call.
        let is_final =
            error.status.is_some_and(|status| matches!(status, 400..=499) && !matches!(status, 401..=403 | 408 | 429));
        if ticket.is_first || is_final {
            return Err(self.named(error));
        }
        if ticket.is_owners(&error, self.call.budget.as_ref()) {
            self.clock.check(ticket.admitted()).map_err(|error| self.named(error))?;
            self.is_unlimited |= error.kind == ErrorKind::Timeout;
        } else {
            self.failures += 1;
            if self.failures >= MAX_FAILURES {
                return Err(self.named(error));
            }
        }
        self.clock.join_another(ticket.admitted());
        Ok(())
    }
}

fn unreadable() -> Box<Error> {
    let message = "the answer has no vector for each input, so that it cannot be joined with those that are kept";
    Error::new(ErrorKind::ApiResponseValidation, message)
}

/// Returns true if an answer says what was asked for: no error under a status of success, and no answer that is under way.
fn is_complete(operation: Operation, body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Whole<'a> {
        #[serde(default)]
        choices: Vec<IgnoredAny>,
        #[serde(default)]
        results: Vec<IgnoredAny>,
        #[serde(default, borrow)]
        status: Option<std::borrow::Cow<'a, str>>,
        #[serde(default)]
        error: Option<IgnoredAny>,
    }
    if operation.spec().output == Output::Binary {
        return !body.is_empty();
    }
    let Ok(whole) = serde_json::from_slice::<Whole<'_>>(body) else { return false };
    let says_something = match operation {
        Operation::Chat => !whole.choices.is_empty(),
        Operation::Rerank => !whole.results.is_empty(),
        _ => true,
    };
    says_something
        && whole.error.is_none()
        && !matches!(whole.status.as_deref(), Some("failed" | "queued" | "in_progress" | "cancelled"))
}

/// Returns true if a stream that ended well says what was asked for.
fn is_complete_stream(operation: Operation, chunks: &[Chunk]) -> bool {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(default, borrow, rename = "type")]
        kind: std::borrow::Cow<'a, str>,
    }
    let Some((last, _)) = chunks.last() else { return false };
    operation != Operation::Responses
        || serde_json::from_slice::<Event<'_>>(last)
            .is_ok_and(|event| matches!(&*event.kind, "response.completed" | "response.incomplete"))
}
