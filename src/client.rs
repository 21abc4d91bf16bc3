//! The hot path, top to bottom: (credentials →) encode → send (retry, deadlines) → decode.

mod attempt_log;
mod callbacks;
mod in_flight_limiter;
mod reply_guard;
mod stats;

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use http::Uri;

pub use attempt_log::{Attempt, AttemptLog};
pub use callbacks::{AttemptHooks, Callbacks, Fields};
pub use reply_guard::ReplyGuard;
pub use stats::StatsSnapshot;

use crate::credentials::Keyring;
use crate::error::{Error, ErrorKind, LONGEST_BODY, Result};
use crate::providers::{Deployment, Encoded, Endpoint, StreamDecoder};
use crate::transport::deadline::{Deadline, Timeouts, within_rest};
use crate::transport::{Admission, Body, Response, SendOptions, Settings, Transport, framing, is_loopback, retry};
use crate::types::answer::{Answer, Meta};
use crate::types::credentials::Credentials;
use crate::types::dot_segments::has_dot_segment;
use crate::types::http::{Framing, Headers, HttpRequest, HttpResponse};
use crate::types::operation::Operation;
use crate::types::operation::Output;
use crate::types::redact::Redactor;
use crate::types::request::Request;
use crate::types::secrets::{Secrets, is_credential};
use crate::types::unix_socket;
use crate::types::values;
use in_flight_limiter::InFlightLimiter;
use stats::{InFlight, ProviderStats, StatsByProvider};

/// Requests of one call that are under way at the same time, at most.
const PARTS_AT_ONCE: usize = 16;

/// An answer of more bytes is decoded on a thread of its own: it may take longer than other calls should wait.
const DECODED_HERE: usize = 4 << 20;

/// Memory for more events than this is given back after a burst of them.
const MOST_KEPT: usize = 32;

/// Pieces of a stream that are taken at once, at most: a piece may be a single byte.
const PIECES_AT_ONCE: usize = 64;

/// So many events are dealt with before whatever else is ready has its turn: a piece of 64 kB may hold 21,000 of them.
const EVENTS_AT_ONCE: usize = 256;

/// A call: where it goes, what is asked, and how long and how often it is tried.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which model, where, with which key.
    pub deployment: Deployment,
    /// What is asked of it.
    pub request: Request,
    /// How long each part may take.
    pub timeouts: Timeouts,
    /// How often a request that failed in passing is repeated, at most.
    pub max_retries: u32,
    /// A provider that asks for a longer pause than this is not waited for.
    pub max_retry_after: Duration,
    /// Whether a key may go to another machine without TLS.
    pub allow_http: bool,
    /// Where its attempts are written down, if anybody reads it.
    pub attempt_log: Option<Arc<AttemptLog>>,
    /// Functions of the caller's that say what each attempt carries.
    pub callbacks: Option<Box<Callbacks>>,
}

/// Makes calls over connections of its own.
pub struct Client {
    transport: Transport,
    keyring: Keyring,
    all_stats: Arc<StatsByProvider>,
    /// Places for calls in flight, where their number is limited.
    in_flight_limiter: Option<InFlightLimiter>,
}

/// How far a call has come.
struct CallState<'a> {
    transport: &'a Transport,
    deadline: Deadline,
    admission: Admission,
    retries: u32,
    /// What it counts for.
    stats: Arc<ProviderStats>,
}

impl Call {
    /// What must not be shown of an answer: keys and tokens, and the values of headers and parameters that may be such.
    pub fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::default();
        match &self.deployment {
            // Most have a key and nothing else.
            Deployment { api_key: Some(key), settings, credentials: Credentials::Given, .. } if settings.is_empty() => {
                secrets.push(key.clone());
            }
            deployment => secrets.extend(deployment.secrets().cloned()),
        }
        secrets.add_headers(&self.request.extra_headers);
        secrets.add_query(&self.request.extra_query);
        secrets
    }

    /// The same with what is called like a key in the request's body: tools and data sources have keys of their own.
    pub fn all_secrets(&self) -> Secrets {
        let mut secrets = self.secrets();
        let params = self.request.params.iter().filter(|(name, _)| !matches!(*name, "messages" | "input"));
        params.for_each(|(name, value)| secrets.add_member(name, value));
        secrets
    }
}

impl Client {
    /// A client without connections yet.
    pub fn new(settings: &Settings) -> Self {
        Self {
            transport: Transport::new(settings),
            keyring: Keyring::default(),
            all_stats: Arc::default(),
            in_flight_limiter: settings.max_in_flight.map(InFlightLimiter::new),
        }
    }

    /// A client without connections, which goes on with this one's figures.
    pub fn renewed(&self, settings: &Settings) -> Self {
        Self { all_stats: self.all_stats.clone(), ..Self::new(settings) }
    }

    /// Closes the connections that carry nothing, and keeps none from now on. Calls go on, and new ones are taken, over
    /// connections that are closed when their answer has been read.
    pub fn close(&self) {
        self.transport.close();
    }

    /// Waits, for a second at most, until the connections of a closed client without calls under way have ended.
    pub async fn ended(&self) {
        self.transport.ended().await;
    }

    /// What it has done so far, by provider.
    pub fn stats(&self) -> Vec<(&'static str, StatsSnapshot)> {
        self.all_stats.snapshots(&self.transport)
    }

    async fn begin(&self, call: &Call) -> Result<(CallState<'_>, InFlight)> {
        let (stats, mut in_flight) = self.all_stats.begin(call.deployment.provider.row().name);
        let state = CallState {
            transport: &self.transport,
            deadline: Deadline::start(call.timeouts.total),
            admission: Admission::default(),
            retries: 0,
            stats,
        };
        if let Some(in_flight_limiter) = &self.in_flight_limiter {
            // Boxed: the other calls should not carry its memory along.
            let taken =
                Box::pin(in_flight_limiter.take(call.timeouts.queue, &state.admission, &state.stats.connection_stats))
                    .await;
            in_flight.hold(taken.map_err(|error| state.finished(call, error))?);
        }
        Ok((state, in_flight))
    }

    /// A whole answer.
    pub async fn call(&self, call: &mut Call) -> Result<Answer> {
        let (mut state, _in_flight) = self.begin(call).await?;
        self.find_credentials(call, &mut state).await?;
        let endpoint = call.deployment.endpoint(&call.request).map_err(|error| state.finished(call, error))?;
        let parts = endpoint.parts(&call.request).map_err(|error| state.finished(call, error))?;
        match parts.is_empty() {
            true => self.exchange(call, endpoint, state).await,
            // Boxed: a call should not carry the memory for its parts along.
            false => Box::pin(self.call_in_parts(call, endpoint, parts, state)).await,
        }
    }

    /// The answer to one request, repeated where that may help.
    async fn exchange(
        &self,
        call: &mut Call,
        endpoint: &'static dyn Endpoint,
        mut state: CallState<'_>,
    ) -> Result<Answer> {
        let Encoded { mut request, dropped_params } =
            encode(call, endpoint, &self.transport).map_err(|error| state.finished(call, error))?;
        loop {
            if call.callbacks.is_some() {
                request = Box::pin(state.ask(call, endpoint)).await?;
            }
            let call = &*call;
            state.begin_attempt(call);
            let CallState { deadline, admission, stats, .. } = &mut state;
            let options = SendOptions {
                timeouts: &call.timeouts,
                end: deadline.end(),
                admission,
                connection_stats: &stats.connection_stats,
            };
            let attempt = async {
                call.deployment.provider.authorize(&call.deployment, &mut request, SystemTime::now())?;
                let Response { status, headers, body } = self.transport.send(&request, options).await?;
                Ok(HttpResponse {
                    received: unix_seconds(),
                    status,
                    headers,
                    body: match call.request.operation.spec().output {
                        Output::Binary => body.collect().await?,
                        _ => without_mark(body.collect().await?),
                    },
                })
            };
            let decoded = match deadline.run(admission, pin!(attempt)).await {
                Ok(response) if response.body.len() > DECODED_HERE => {
                    // Boxed: most calls should not carry its memory along.
                    let elsewhere = Box::pin(decode_elsewhere(call, endpoint, response, self.transport.max_values));
                    deadline.run(admission, pin!(elsewhere)).await
                }
                Ok(response) => {
                    decode(call, endpoint, &response, self.transport.max_values).map(|body| (body, response))
                }
                Err(error) => Err(error),
            };
            match decoded {
                Ok((body, response)) => {
                    return Ok(Answer {
                        body,
                        meta: state.answered(call, response.status, response.headers, dropped_params),
                    });
                }
                Err(error) => state.pause_or_fail(call, error).await?,
            }
        }
    }

    /// The answer to a call that takes several requests. The first that fails for good ends them all.
    async fn call_in_parts(
        &self,
        call: &Call,
        endpoint: &'static dyn Endpoint,
        parts: Vec<Request>,
        mut state: CallState<'_>,
    ) -> Result<Answer> {
        let answers = parts.into_iter().map(|request| {
            let mut part = Call { request, ..call.clone() };
            let deadline = Deadline::start(part.timeouts.total);
            let (admission, stats) = (Admission::default(), state.stats.clone());
            let state = CallState { transport: &self.transport, deadline, admission, retries: 0, stats };
            async move { self.exchange(&mut part, endpoint, state).await }
        });
        let answers = stream::iter(answers).buffered(PARTS_AT_ONCE).try_collect::<Vec<_>>();
        let answered = state.deadline.run(&state.admission, pin!(answers)).await;
        let answers = answered.map_err(|error| {
            state.retries = error.retries;
            state.finished(call, error)
        })?;
        let bodies: Vec<Bytes> = answers.iter().map(|answer| answer.body.clone()).collect();
        let retries = answers.iter().map(|answer| answer.meta.retries).sum();
        let last = answers.into_iter().next_back().expect("there are parts");
        Ok(Answer {
            body: endpoint.join(&bodies)?,
            meta: Meta { retries, latency: state.deadline.elapsed(), ..last.meta },
        })
    }

    /// An answer as a stream, opened: it has begun well.
    pub async fn stream(&self, mut call: Call) -> Result<Stream<'_>> {
        let (mut state, in_flight) = self.begin(&call).await?;
        self.find_credentials(&mut call, &mut state).await?;
        let endpoint = call.deployment.endpoint(&call.request).map_err(|error| state.finished(&call, error))?;
        let Encoded { request, dropped_params } =
            encode(&call, endpoint, &self.transport).map_err(|error| state.finished(&call, error))?;
        let decoder = endpoint.stream_decoder(&call.request, unix_seconds());
        let is_json = endpoint.framing() != Framing::Raw;
        let max_values = if is_json { self.transport.max_values } else { usize::MAX };
        let mut stream = Stream {
            max_values,
            state,
            _in_flight: in_flight,
            endpoint,
            call,
            request,
            attempt: None,
            decoder,
            events: VecDeque::new(),
            made: Vec::new(),
            received: 0,
            meta: Meta { dropped_params, ..Meta::default() },
            opened: Instant::now(),
            delivered: false,
        };
        loop {
            match stream.open().await {
                Ok(()) => return Ok(stream),
                Err(error) => stream.state.pause_or_fail(&stream.call, error).await?,
            }
        }
    }

    /// Fills in credentials that neither the key nor the settings are. Most calls have no such thing to wait for.
    async fn find_credentials(&self, call: &mut Call, state: &mut CallState<'_>) -> Result<()> {
        let Credentials::Wanted(wanted) = &call.deployment.credentials else { return Ok(()) };
        // A caller who brings an authorization of their own needs none of ours.
        if call.request.extra_headers.iter().any(|(name, _)| name == http::header::AUTHORIZATION) {
            return Ok(());
        }
        let wanted = wanted.clone();
        loop {
            let CallState { deadline, admission, stats, .. } = &mut *state;
            // Boxed: the other calls should not carry its memory along.
            let search =
                Box::pin(self.keyring.find(&self.transport, &stats.connection_stats, &wanted, call.allow_http));
            let found = deadline.run(admission, pin!(search)).await;
            match found {
                Ok(found) => {
                    call.deployment.credentials = found;
                    return Ok(());
                }
                Err(error) => state.pause_or_fail(call, error).await?,
            }
        }
    }
}

impl CallState<'_> {
    /// Asks the caller's functions what this attempt is to carry: the request with it.
    async fn ask(&mut self, call: &mut Call, endpoint: &dyn Endpoint) -> Result<HttpRequest> {
        let attempt = self.retries + 1;
        let transport = self.transport;
        let asked = async {
            let Some(Callbacks { functions, headers }) = call.callbacks.as_deref().cloned() else {
                return Ok(encode(call, endpoint, transport)?.request);
            };
            functions.fill(&mut call.deployment).await?;
            call.request.extra_headers = headers;
            let request = encode(call, endpoint, transport)?.request;
            let Some(fields) = functions.headers(&call.deployment, &request, attempt) else { return Ok(request) };
            for (name, value) in fields.await? {
                call.request.extra_headers.retain(|(known, _)| *known != name);
                call.request.extra_headers.push((name, value));
            }
            // What was added may be a key, which encoding looks at.
            Ok(encode(call, endpoint, transport)?.request)
        };
        let asked = self.deadline.run(&self.admission, pin!(asked)).await;
        asked.map_err(|error| self.finished(call, error))
    }

    fn begin_attempt(&self, call: &Call) {
        if let Some(attempt_log) = &call.attempt_log {
            attempt_log.begin(self.retries + 1);
        }
    }

    /// What must not be shown of an answer, the proxy's password included.
    fn secrets(&self, call: &Call) -> Secrets {
        let mut secrets = call.secrets();
        if !self.transport.secrets().is_empty() {
            secrets.extend(self.transport.secrets().iter().cloned());
        }
        secrets
    }

    fn redactor(&self, call: &Call) -> Redactor {
        let mut secrets = call.all_secrets();
        secrets.extend(self.transport.secrets().iter().cloned());
        secrets.redactor()
    }

    /// What there is to say about an answer beside its body.
    fn answered(&self, call: &Call, status: u16, headers: Headers, dropped_params: Vec<String>) -> Meta {
        if let Some(attempt_log) = &call.attempt_log {
            attempt_log.answered(self.retries + 1, status, &headers, &self.redactor(call));
        }
        Meta {
            provider: call.deployment.provider.row().name.into(),
            model: call.deployment.model.clone(),
            status,
            headers,
            secrets: self.secrets(call),
            retries: self.retries,
            latency: self.deadline.elapsed(),
            dropped_params,
        }
    }

    /// Waits before the next try, or gives the error back when there is to be none.
    async fn pause_or_fail(&mut self, call: &Call, mut error: Box<Error>) -> Result<()> {
        if let Some(headers) = &error.headers {
            // Some providers say it in the body.
            error.retry_after = retry::retry_after(headers).or(error.retry_after);
        }
        self.deadline.admit(&self.admission);
        let retries = retry::Retries {
            done: self.retries,
            max: call.max_retries,
            max_retry_after: call.max_retry_after,
            remaining: self.deadline.remaining(),
        };
        let pause = retry::pause(&error, retries, fastrand::f64());
        if let Some(attempt_log) = &call.attempt_log {
            attempt_log.failed(self.retries + 1, &error, pause, &self.redactor(call));
        }
        let Some(pause) = pause else { return Err(self.finished(call, error)) };
        // Before the pause: an error and what it holds should not wait with it.
        drop(error);
        tokio::time::sleep(pause).await;
        self.retries += 1;
        self.stats.count_retry();
        Ok(())
    }

    /// An error as the caller gets it: with the provider's name and request id, and without the key.
    fn finished(&self, call: &Call, mut error: Box<Error>) -> Box<Error> {
        error.retries = self.retries;
        error.provider.get_or_insert_with(|| call.deployment.provider.row().name.to_owned());
        error.model = Some(call.deployment.model.to_string());
        if error.request_id.is_none() {
            error.request_id = error.headers.as_ref().and_then(Headers::request_id).map(str::to_owned);
        }
        error.hide(&self.redactor(call));
        error
    }
}

/// A chunk's JSON, and whether the caller is shown it; one that is not shown still counts for the completion.
pub type Chunk = (Bytes, bool);

/// A stream of chat completion chunks, or of a response's events. Dropping it aborts the request.
pub struct Stream<'a> {
    endpoint: &'static dyn Endpoint,
    call: Call,
    request: HttpRequest,
    attempt: Option<(Body, framing::Parser)>,
    decoder: Box<dyn StreamDecoder>,
    events: VecDeque<framing::Event>,
    /// The chunks of one event.
    made: Vec<Bytes>,
    /// So many bytes of it have come, decompressed.
    received: usize,
    /// An event may hold this many JSON values.
    max_values: usize,
    meta: Meta,
    state: CallState<'a>,
    _in_flight: InFlight,
    /// When this try began.
    opened: Instant,
    delivered: bool,
}

impl Stream<'_> {
    /// What is streamed.
    pub fn operation(&self) -> Operation {
        self.call.request.operation
    }

    /// What is known about the answer beside its chunks.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Sends the request and waits until its answer begins.
    async fn open(&mut self) -> Result<()> {
        if self.call.callbacks.is_some() {
            self.request = Box::pin(self.state.ask(&mut self.call, self.endpoint)).await?;
        }
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
        };
        let waited = admission.waited();
        let max_values = transport.max_values;
        let attempt = async {
            call.deployment.provider.authorize(&call.deployment, request, SystemTime::now())?;
            let response = transport.send(request, options).await?;
            // What it waited in line is not its own time.
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
        let Response { status, headers, body } = deadline.run(admission, pin!(attempt)).await?;
        let dropped_params = std::mem::take(&mut self.meta.dropped_params);
        // They are a slice of all that was read with them, and live as long as the stream.
        self.meta = self.state.answered(&self.call, status, headers.into_owned(), dropped_params);
        self.decoder = self.endpoint.stream_decoder(&self.call.request, unix_seconds());
        self.events.clear();
        self.received = 0;
        self.attempt = Some((body, framing::Parser::new(self.endpoint.framing(), self.state.transport.max_event)));
        Ok(())
    }

    /// Waits for chunks and appends all that are at hand to `chunks`; `false`: the stream is over.
    ///
    /// A stream that breaks before its first chunk is repeated like any call; after that it never is.
    pub async fn next(&mut self, chunks: &mut Vec<Chunk>) -> Result<bool> {
        loop {
            let read = match self.attempt {
                Some(_) => self.read(chunks).await,
                None => self.open().await.map(|()| true),
            };
            match read {
                Ok(more) if !more || !chunks.is_empty() => {
                    self.delivered |= !chunks.is_empty();
                    return Ok(more);
                }
                Ok(_) => {}
                // What came before the failure is in `chunks`.
                Err(mut error) if self.delivered || !chunks.is_empty() => {
                    error.should_retry = Some(false);
                    if let Some(attempt_log) = &self.call.attempt_log {
                        attempt_log.failed(self.state.retries + 1, &error, None, &self.state.redactor(&self.call));
                    }
                    return Err(self.state.finished(&self.call, error));
                }
                Err(error) => {
                    self.attempt = None;
                    self.state.pause_or_fail(&self.call, error).await?;
                }
            }
        }
    }

    /// Reads what is at hand, or waits for one piece; `false`: the stream is over.
    async fn read(&mut self, chunks: &mut Vec<Chunk>) -> Result<bool> {
        let Some((body, parser)) = &mut self.attempt else { return Ok(false) };
        let (events, received) = (&mut self.events, &mut self.received);
        let max_stream = self.state.transport.max_stream;
        // Pings are no chunks: until the first of those, the limit is that of the whole try.
        let first_token = self.call.timeouts.first_token.filter(|_| !self.delivered);
        let spent = self.opened.elapsed();
        let piece = async {
            let more = match body.chunk().await? {
                Some(piece) => {
                    *received += piece.len();
                    parser.feed(piece, |event| events.push_back(event)).map(|()| true)?
                }
                None => parser.finish(|event| events.push_back(event)).map(|()| false)?,
            };
            // A burst goes to the caller in one piece; but what is here does not wait for what is not.
            for _ in 0..PIECES_AT_ONCE {
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
        // A body that breaks after its stream has said that it is over has lost nothing.
        let read = self
            .state
            .deadline
            .run(
                &self.state.admission,
                pin!(within_rest(first_token, spent, "the first chunk of the stream", pin!(piece))),
            )
            .await;
        let mut left = EVENTS_AT_ONCE;
        while let Some(event) = self.events.pop_front() {
            left -= 1;
            if left == 0 {
                left = EVENTS_AT_ONCE;
                let others = async {
                    tokio::task::yield_now().await;
                    Ok(())
                };
                self.state.deadline.run(&self.state.admission, pin!(others)).await?;
            }
            if !self.decoder.is_done() {
                values::check(&event.data, self.max_values)?;
                let decoded = self.decoder.event(&event.name, event.data, &mut self.made);
                // What came before a failure counts.
                chunks.extend(self.made.drain(..).map(|chunk| {
                    let shown = self.decoder.is_shown(&chunk);
                    (chunk, shown)
                }));
                decoded?;
            }
        }
        // A burst's memory is not held while the stream waits.
        if self.events.capacity() > MOST_KEPT {
            self.events = VecDeque::new();
        }
        match read {
            _ if self.decoder.is_done() => Ok(false),
            Ok(true) => Ok(true),
            Ok(false) if self.decoder.is_complete() => Ok(false),
            Ok(false) => Err(Error::new(ErrorKind::IncompleteStream, "the stream ended without its finish")),
            Err(error) => match error.kind {
                ErrorKind::ApiConnection if self.decoder.is_complete() => Ok(false),
                ErrorKind::ApiConnection => {
                    Err(Error::new(ErrorKind::IncompleteStream, format!("the stream broke off: {}", error.message)))
                }
                _ => Err(error),
            },
        }
    }

    /// After the end: reads what is left of the body, so that the connection can be used again.
    pub async fn finish(&mut self) {
        if let Some((body, _)) = &mut self.attempt {
            let rest = async { while let Ok(Some(_)) = body.chunk().await {} };
            drop(tokio::time::timeout(Duration::from_secs(1), rest).await);
        }
    }
}

/// The call as its provider wants it, with the caller's own headers and query.
fn encode(call: &Call, endpoint: &dyn Endpoint, transport: &Transport) -> Result<Encoded> {
    let mut encoded = endpoint.encode(&call.deployment, &call.request)?;
    let request = &mut encoded.request;
    // Ids and names of a call's parameters stand in it, too.
    if has_dot_segment(request.uri.path()) {
        return Err(Error::argument(format!(
            "the address {} has \".\" or \"..\" between slashes, which leads to another path of the host: it comes from the \
             model's name, or from an id or another name of the call",
            request.uri.path()
        )));
    }
    for (name, value) in &call.request.extra_headers {
        request.set_header(name.clone(), value.clone());
    }
    if !call.request.extra_query.is_empty() {
        request.uri = with_query(&request.uri, &call.request.extra_query)?;
    }
    if request.uri.scheme() != Some(&http::uri::Scheme::HTTPS) {
        check_confidence(call, &request.uri, transport)?;
    }
    Ok(encoded)
}

/// Refuses to send a key where anybody on the way can read it.
fn check_confidence(call: &Call, uri: &Uri, transport: &Transport) -> Result<()> {
    let host = uri.host().unwrap_or_default();
    let has_key = || {
        let Request { extra_headers, extra_query, .. } = &call.request;
        call.deployment.secrets().next().is_some()
            || extra_headers.iter().any(|(name, _)| is_credential(name.as_str()))
            || extra_query.iter().any(|(name, _)| is_credential(name))
    };
    let is_proxied = transport.has_plain_proxy() && uri.scheme_str() == Some("http");
    let stays_here = uri.scheme_str() == Some(unix_socket::SCHEME) || is_loopback(host);
    if call.allow_http || stays_here && !is_proxied || !has_key() {
        return Ok(());
    }
    if stays_here {
        return Err(Error::argument(format!(
            "proxy would be sent what is for {host} by plain http, the key with it: make the call with a client without a \
             proxy, or allow it with allow_http=True"
        )));
    }
    Err(Error::argument(format!(
        "base_url begins with http://, and what is sent to {host} would show the key to everybody on the way: write \
         https://, or allow it with allow_http=True"
    )))
}

/// A body without its byte order mark, which JSON does not have and some servers send.
fn without_mark(body: Bytes) -> Bytes {
    if body.starts_with(b"\xEF\xBB\xBF") { body.slice(3..) } else { body }
}

/// An answer in OpenAI's shape, or as the error that it is.
fn decode(call: &Call, endpoint: &dyn Endpoint, response: &HttpResponse, max_values: usize) -> Result<Bytes> {
    let provider = &call.deployment.provider;
    match response.status {
        200..300 if call.request.operation.spec().output == Output::Binary => {
            endpoint.decode(&call.request, response).map_err(|error| answered(error, response))
        }
        200..300 => values::check(&response.body, max_values)
            .and_then(|()| endpoint.decode(&call.request, response))
            .map_err(|error| answered(error, response)),
        _ => {
            // What is beyond it is kept out before anything reads it.
            let body = response.body.slice(..response.body.len().min(LONGEST_BODY));
            Err(provider.decode_error(&HttpResponse { body, ..response.clone() }))
        }
    }
}

/// The same for a large answer, with the answer: the network thread goes on with other calls meanwhile.
async fn decode_elsewhere(
    call: &Call,
    endpoint: &'static dyn Endpoint,
    response: HttpResponse,
    max_values: usize,
) -> Result<(Bytes, HttpResponse)> {
    if response.body.len() <= DECODED_HERE {
        return decode(call, endpoint, &response, max_values).map(|body| (body, response));
    }
    let call = call.clone();
    let decoding = move || decode(&call, endpoint, &response, max_values).map(|body| (body, response));
    match tokio::task::spawn_blocking(decoding).await {
        Ok(decoded) => decoded,
        Err(failed) => Err(Error::new(ErrorKind::Internal, format!("the answer was not decoded: {failed}"))),
    }
}

/// An error about an answer, with what that answer was.
fn answered(mut error: Box<Error>, response: &HttpResponse) -> Box<Error> {
    error.status.get_or_insert(response.status);
    error.headers.get_or_insert_with(|| response.headers.clone());
    error.body.get_or_insert_with(|| response.body.clone());
    error
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn with_query(uri: &Uri, extra: &[(String, String)]) -> Result<Uri> {
    let encode =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let mut text = uri.to_string();
    for (name, value) in extra {
        text.push(if text.contains('?') { '&' } else { '?' });
        text += &format!("{}={}", encode(name), encode(value));
    }
    text.parse().map_err(|error| Error::argument(format!("extra_query cannot be used: {error}")))
}

#[cfg(test)]
mod tests;
