//! A streamed answer: events are read from the body and decoded into chunks.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::attempt::{Attempt, repeat};
use super::call::Call;
use super::codec::{answered, decode_elsewhere, unix_seconds, without_mark};
use super::pricing::{price, service_tier, told_cost};
use super::retry::{Decision, Event};
use super::spending::Reservation;
use super::state::CallState;
use super::stats::InFlight;
use crate::catalog::Catalog;
use crate::error::{Error, ErrorKind, Result};
use crate::providers::{Encoded, Endpoint, StreamDecoder, untooled_stream};
use crate::transport::deadline::within_rest;
use crate::transport::{Body, Response, SendOptions, framing};
use crate::types::answer::Meta;
use crate::types::http::{Framing, HttpRequest, HttpResponse};
use crate::types::operation::Operation;
use crate::types::usage::Usage;
use crate::types::values;

/// Capacity above which the memory for events is given back after a burst of them.
const MAX_KEPT_CAPACITY: usize = 32;

/// Maximum number of pieces of the body that are taken at once: a piece may be a single byte.
const PIECES_AT_ONCE: usize = 64;

/// Maximum number of events that are decoded before their chunks are handed on: a piece of 64 kB may hold 21,000 of them.
const EVENTS_AT_ONCE: usize = 256;

/// A chunk's JSON, and true if the caller gets it; one that the caller does not get still counts for the completion.
pub type Chunk = (Bytes, bool);

/// A stream of chat completion chunks, or of a response's events. Dropping it aborts the request.
pub struct Stream<'a> {
    endpoint: &'static dyn Endpoint,
    pub(super) call: Call,
    request: HttpRequest,
    /// The answer that is being read.
    body: Option<(Body, framing::Parser)>,
    decoder: Box<dyn StreamDecoder>,
    events: VecDeque<framing::Event>,
    /// How the body ended, while events that came before its end are still to be decoded.
    ended: Option<Result<bool>>,
    /// The chunks of one event.
    made: Vec<Bytes>,
    /// Number of bytes of the answer received, decompressed.
    received: usize,
    /// Maximum number of JSON values in an event.
    max_values: usize,
    meta: Meta,
    pub(super) state: CallState<'a>,
    _in_flight: InFlight,
    /// Start of this attempt.
    opened: Instant,
    /// True if the caller has got a chunk.
    delivered: bool,
    /// Chunks that were read before the caller asked for any.
    ahead: Option<Box<Ahead>>,
    /// Observer of the stream.
    observer: Option<Box<dyn StreamObserver>>,
    /// Prices, if usage and cost are to be recorded.
    pub(super) catalog: Option<&'a Catalog>,
    /// Service tier that the answer names.
    service: Option<Box<str>>,
    /// Cost that the answer tells.
    told_cost: Option<f64>,
    /// What was set aside of a budget.
    pub(super) reservation: Option<Box<Reservation>>,
}

/// Chunks of a stream that were read before the caller asked for any.
#[derive(Default)]
struct Ahead {
    chunks: Vec<Chunk>,
    /// True if the stream has ended.
    is_over: bool,
}

/// Makes a decoder for a stream that begins now.
fn decoder_of(endpoint: &dyn Endpoint, call: &Call) -> Box<dyn StreamDecoder> {
    let decoder = endpoint.stream_decoder(&call.request, unix_seconds());
    if call.request.structured.is_some() { untooled_stream(&call.request, decoder) } else { decoder }
}

/// Observer of a stream. It is dropped without a call if the caller leaves the stream.
pub trait StreamObserver: Send {
    /// Chunks have arrived.
    fn arrived(&mut self, chunks: &[Chunk]);

    /// The stream has ended, well or with this error.
    fn ended(self: Box<Self>, error: Option<&Error>);
}

/// Function for a reader that leaves a stream before its end: true if the call is counted for another, who reads on.
pub type Departure = Arc<dyn Fn() -> bool + Send + Sync>;

/// A stream of chunks, as its reader needs it.
pub trait ChunkSource: Send {
    /// Waits for chunks and appends them to `chunks`. Returns false at the end of the stream.
    fn next(&mut self, chunks: &mut Vec<Chunk>) -> impl Future<Output = Result<bool>> + Send;

    /// Metadata of the answer.
    fn meta(&self) -> &Meta;

    /// The operation that is streamed.
    fn operation(&self) -> Operation;

    /// Returns what is to be called when the stream is left before its end, if others may read it too.
    fn departure(&self) -> Option<Departure> {
        None
    }

    /// Reads what is left after the end, so that the connection can be used again.
    fn finish(&mut self) -> impl Future<Output = ()> + Send;
}

impl ChunkSource for Stream<'_> {
    #[inline]
    fn next(&mut self, chunks: &mut Vec<Chunk>) -> impl Future<Output = Result<bool>> + Send {
        Stream::next(self, chunks)
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn operation(&self) -> Operation {
        self.call.request.operation
    }

    fn finish(&mut self) -> impl Future<Output = ()> + Send {
        Stream::finish(self)
    }
}

impl<'a> Stream<'a> {
    /// Returns the stream of a call whose request has not been sent.
    pub(super) fn new(
        call: Call,
        endpoint: &'static dyn Endpoint,
        Encoded { request, dropped_params }: Encoded,
        state: CallState<'a>,
        in_flight: InFlight,
    ) -> Self {
        let is_json = endpoint.framing() != Framing::Raw;
        Self {
            max_values: if is_json { state.transport.max_values } else { usize::MAX },
            decoder: decoder_of(endpoint, &call),
            endpoint,
            call,
            request,
            body: None,
            events: VecDeque::new(),
            ended: None,
            made: Vec::new(),
            received: 0,
            meta: Meta { dropped_params, ..Meta::default() },
            state,
            _in_flight: in_flight,
            opened: Instant::now(),
            delivered: false,
            ahead: None,
            observer: None,
            catalog: None,
            service: None,
            told_cost: None,
            reservation: None,
        }
    }

    /// The operation that is streamed.
    pub fn operation(&self) -> Operation {
        self.call.request.operation
    }

    /// Metadata of the answer.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Metadata of the answer, to be added to.
    pub fn meta_mut(&mut self) -> &mut Meta {
        &mut self.meta
    }

    /// Waits for chunks and appends all that have arrived to `chunks`. Returns false at the end of the stream.
    ///
    /// A stream that breaks before its first chunk is repeated like any call; after that it never is.
    ///
    /// # Errors
    ///
    /// The stream broke, or cannot be read; chunks that came before are in `chunks`.
    pub async fn next(&mut self, chunks: &mut Vec<Chunk>) -> Result<bool> {
        if let Some(mut ahead) = self.ahead.take() {
            self.delivered |= !ahead.chunks.is_empty();
            chunks.append(&mut ahead.chunks);
            if ahead.is_over {
                self.ahead = Some(ahead);
                return Ok(false);
            }
            return Ok(true);
        }
        loop {
            match self.read(chunks).await {
                Ok(more) if !more || !chunks.is_empty() => {
                    if self.catalog.is_some() || self.meta.record.is_some() {
                        self.record(chunks, more);
                    }
                    self.delivered |= !chunks.is_empty();
                    if self.state.gate.is_some() {
                        self.account(chunks, more);
                    }
                    if let Some(observer) = &mut self.observer {
                        observer.arrived(chunks);
                    }
                    if !more && let Some(observer) = self.observer.take() {
                        observer.ended(None);
                    }
                    return Ok(more);
                }
                Ok(_) => {}
                Err(mut error) => {
                    if self.delivered || !chunks.is_empty() {
                        // The caller has part of the answer, or will get it: another would begin anew.
                        error.should_retry = Some(false);
                    }
                    self.body = None;
                    // Boxed: a stream should not hold the memory for another attempt (2 kB).
                    if let Err(error) = Box::pin(repeat(self, Event::Failed(error))).await {
                        if let Some(observer) = self.observer.take() {
                            observer.ended(Some(&error));
                        }
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Reads until a chunk has content, and keeps what it has read for [`next`](Self::next). Returns that chunk, or `None` if
    /// the stream ended without any.
    ///
    /// Until then the caller knows nothing, so the call may still go elsewhere.
    ///
    /// # Errors
    ///
    /// The stream broke before.
    pub async fn read_ahead(&mut self, mut has_content: impl FnMut(&[u8]) -> bool) -> Result<Option<Bytes>> {
        let mut ahead = Box::<Ahead>::default();
        loop {
            let mut chunks = Vec::new();
            let more = self.next(&mut chunks).await?;
            let found = chunks.iter().find(|(chunk, _)| has_content(chunk)).map(|(chunk, _)| chunk.clone());
            ahead.chunks.append(&mut chunks);
            self.delivered = false;
            if found.is_some() || !more {
                ahead.is_over = !more;
                self.ahead = Some(ahead);
                return Ok(found);
            }
        }
    }

    /// Returns the time that the call has waited for admission before its first attempt.
    pub fn waited(&self) -> Duration {
        self.state.admission.waited_first()
    }

    /// Moves the total deadline.
    pub fn set_end(&mut self, end: Option<tokio::time::Instant>) {
        self.state.set_end(end);
    }

    /// Records the time of the first chunk, the number of chunks and, at the end, the usage and the cost.
    #[cold]
    fn record(&mut self, chunks: &[Chunk], more: bool) {
        let record = self.meta.record.get_or_insert_default();
        if !chunks.is_empty() && record.first_chunk.is_none() {
            record.first_chunk = Some(self.state.deadline.elapsed());
            let told = self.decoder.usage_so_far();
            record.first_usage = told.and_then(|chunk| Usage::of_chunk(self.call.request.operation, &chunk));
        }
        let shown = chunks.iter().filter(|(_, is_shown)| *is_shown).count();
        record.chunks = record.chunks.saturating_add(shown as u32);
        // Hosts tell it in the last chunk, or in the last but one. For hooks, which cost nothing a chunk, no others are searched.
        let searched = match self.catalog.is_some() || !more {
            true => chunks,
            false => &chunks[chunks.len().saturating_sub(1)..],
        };
        if self.catalog.is_some() || self.call.is_observed() {
            let operation = self.call.request.operation;
            let told = |(chunk, _): &Chunk| Some((Usage::of_chunk(operation, chunk)?, chunk.clone()));
            if let Some((usage, chunk)) = searched.iter().rev().find_map(told) {
                record.usage = Some(usage);
                self.service = service_tier(&chunk).map(Into::into);
                self.told_cost = self.catalog.and_then(|_| told_cost(&self.call, &chunk));
            }
        }
        if !more {
            record.total = self.state.deadline.elapsed();
            let usage = record.usage;
            if let Some(catalog) = self.catalog {
                let told = || self.told_cost;
                price(catalog, &self.call, usage, self.service.as_deref(), told, &mut self.meta);
            }
            if let Some(reservation) = self.reservation.take() {
                reservation.settle(self.meta.record.as_ref().and_then(|record| record.cost));
            }
        }
    }

    /// Has an observer told what arrives, what was read ahead included, and how the stream ends.
    pub fn observe(&mut self, mut observer: Box<dyn StreamObserver>) {
        if let Some(ahead) = &self.ahead {
            observer.arrived(&ahead.chunks);
        }
        match &self.ahead {
            // It has ended while chunks were read ahead.
            Some(ahead) if ahead.is_over => observer.ended(None),
            _ => self.observer = Some(observer),
        }
    }

    /// Reads what has arrived, or waits for one piece, and decodes [`EVENTS_AT_ONCE`] events at most. Returns false at the
    /// end of the stream.
    ///
    /// Events that are left over are decoded by the next calls, which yield and read nothing.
    async fn read(&mut self, chunks: &mut Vec<Chunk>) -> Result<bool> {
        let Some((body, parser)) = &mut self.body else { return Ok(false) };
        let (events, received) = (&mut self.events, &mut self.received);
        let max_stream = self.state.transport.max_stream;
        // Pings are not chunks: until the first chunk, the limit is that of the whole attempt.
        let first_token = self.call.timeouts.first_token.filter(|_| !self.delivered);
        let spent = self.opened.elapsed();
        let are_left = !events.is_empty();
        let piece = async {
            if are_left {
                tokio::task::yield_now().await;
                return Ok(true);
            }
            let more = match body.chunk().await? {
                Some(piece) => {
                    *received += piece.len();
                    parser.feed(piece, |event| events.push_back(event)).map(|()| true)?
                }
                None => parser.finish(|event| events.push_back(event)).map(|()| false)?,
            };
            // A burst reaches the caller at once, but pieces that have arrived do not wait for others.
            for _ in 0..PIECES_AT_ONCE {
                if events.len() > EVENTS_AT_ONCE {
                    break;
                }
                let Some(piece) = body.buffered()? else { break };
                *received += piece.len();
                parser.feed(piece, |event| events.push_back(event))?;
            }
            if *received > max_stream {
                return Err(Error::new(
                    ErrorKind::ApiResponseValidation,
                    format!("the stream is larger than {max_stream} bytes (max_stream_size)"),
                ));
            }
            Ok(more)
        };
        let read = self
            .state
            .deadline
            .run(
                &self.state.admission,
                pin!(within_rest(first_token, spent, "the first chunk of the stream", pin!(piece))),
            )
            .await;
        let read = match read {
            // Nothing was read: the call's deadline has passed.
            Err(error) if are_left => return Err(error),
            read => self.ended.take().unwrap_or(read),
        };
        for _ in 0..EVENTS_AT_ONCE {
            let Some(event) = self.events.pop_front() else { break };
            if !self.decoder.is_done() {
                values::check(&event.data, self.max_values)?;
                let decoded = self.decoder.event(&event.name, event.data, &mut self.made);
                // Chunks that came before a failure are handed on.
                chunks.extend(self.made.drain(..).map(|chunk| {
                    let shown = self.decoder.is_shown(&chunk);
                    (chunk, shown)
                }));
                decoded?;
            }
        }
        if self.decoder.is_done() {
            return Ok(false);
        }
        if !self.events.is_empty() {
            self.ended = (!matches!(read, Ok(true))).then_some(read);
            return Ok(true);
        }
        // A burst's memory is not held while the stream waits.
        if self.events.capacity() > MAX_KEPT_CAPACITY {
            self.events = VecDeque::new();
        }
        // A body that breaks after the stream's last event has lost nothing.
        match read {
            Ok(true) => Ok(true),
            Ok(false) if self.decoder.is_complete() => Ok(false),
            Ok(false) => Err(self.unfinished()),
            Err(error) => match error.kind {
                ErrorKind::ApiConnection if self.decoder.is_complete() => Ok(false),
                ErrorKind::ApiConnection => {
                    Err(Error::new(ErrorKind::IncompleteStream, format!("the stream broke off: {}", error.message)))
                }
                _ => Err(error),
            },
        }
    }

    /// Returns the error of a stream that ended early. It names the type of a body that is no stream, such as the page of a
    /// gateway.
    #[cold]
    fn unfinished(&self) -> Box<Error> {
        let kind = self.meta.headers.get("content-type").unwrap_or_default();
        let is_stream = ["text/event-stream", "ndjson", "eventstream"].iter().any(|name| kind.contains(name));
        let why = if is_stream || kind.is_empty() { String::new() } else { format!(": what came is {kind}") };
        Error::new(ErrorKind::IncompleteStream, format!("the stream ended without its finish{why}"))
    }

    /// Looks for the usage in chunks, and settles the call's quotas at the end of the stream.
    #[cold]
    fn account(&mut self, chunks: &[Chunk], more: bool) {
        if let Some(gate) = &mut self.state.gate {
            chunks.iter().for_each(|(chunk, _)| gate.look_for_usage(chunk));
        }
        if !more {
            self.state.settle_stream();
        }
    }

    /// Reads what is left of the body after the end, for a second at most, so that the connection can be used again.
    pub async fn finish(&mut self) {
        if let Some((body, _)) = &mut self.body {
            let rest = async { while let Ok(Some(_)) = body.chunk().await {} };
            drop(tokio::time::timeout(Duration::from_secs(1), rest).await);
        }
    }
}

impl Attempt for Stream<'_> {
    type Output = ();

    fn decide(&mut self, mut event: Event) -> Decision {
        if self.call.request.structured.is_some() {
            self.state.try_without_schema(&mut self.call, self.endpoint, &mut self.request, &mut event);
        }
        self.state.next(&self.call, event)
    }

    async fn prepare(&mut self) -> Result<()> {
        if self.state.gate.is_some() && !self.state.try_admit(&self.call)? {
            Box::pin(self.state.admit(&self.call)).await?;
        }
        if self.call.callbacks.is_some() {
            // Boxed: most calls should not carry its memory along.
            self.request = Box::pin(self.state.ask(&mut self.call, self.endpoint)).await?;
        }
        Ok(())
    }

    /// Sends the request and waits until its answer begins.
    async fn attempt(&mut self) -> Result<()> {
        self.opened = Instant::now();
        self.state.begin_attempt(&self.call);
        let Self {
            endpoint,
            call,
            request,
            opened,
            state: CallState { transport, deadline, admission, stats, .. },
            ..
        } = self;
        let options = SendOptions {
            timeouts: &call.timeouts,
            end: deadline.end(),
            admission,
            connection_stats: &stats.connection_stats,
            is_once: false,
        };
        let waited = admission.waited();
        let max_values = transport.max_values;
        let exchange = async {
            call.deployment.provider.authorize(&call.deployment, request, SystemTime::now())?;
            let response = transport.send(request, options).await?;
            // Time spent waiting for admission does not count.
            *opened += options.admission.waited().saturating_sub(waited);
            let is_json = response
                .headers
                .get("content-type")
                .is_some_and(|kind| kind.to_ascii_lowercase().starts_with("application/json"));
            if matches!(response.status, 200..300) && (!is_json || endpoint.streams_json()) {
                return Ok(response);
            }
            let Response { status, headers, body } = response;
            let response =
                HttpResponse { received: unix_seconds(), status, headers, body: without_mark(body.collect().await?) };
            // A host that cannot stream answers plainly, or with an error under a status of 200.
            let (_, response) = Box::pin(decode_elsewhere(call, *endpoint, response, max_values)).await?;
            let message =
                format!("{} was asked for a stream and answered with a plain one", call.deployment.provider.row().name);
            Err(answered(Error::new(ErrorKind::ApiResponseValidation, message), &response))
        };
        let Response { status, headers, body } = deadline.run(admission, pin!(exchange)).await?;
        let dropped_params = std::mem::take(&mut self.meta.dropped_params);
        if self.state.gate.is_some() {
            self.state.observe(&self.call, &headers);
        }
        // Owned: borrowed header fields would keep the whole read buffer alive as long as the stream.
        self.meta = self.state.answered(&self.call, status, headers.into_owned(), dropped_params);
        if self.call.is_observed() {
            self.meta.record.get_or_insert_default();
        }
        self.decoder = decoder_of(self.endpoint, &self.call);
        self.events.clear();
        self.ended = None;
        self.received = 0;
        self.body = Some((body, framing::Parser::new(self.endpoint.framing(), self.state.transport.max_event)));
        Ok(())
    }
}
