//! Calls from end to end: (credentials →) encode → attempt (repeated where that helps) → decode.

mod admission_progress;
mod attempt;
mod attempt_log;
mod budget_source;
mod call;
mod callbacks;
mod codec;
mod gate;
mod host_budget;
mod in_flight_limiter;
mod notices;
mod pricing;
mod quotas;
mod redis_budget;
mod reply_guard;
mod retry;
mod settings;
mod shared_breaker;
mod shared_quota;
mod spending;
mod spending_limit;
mod state;
mod stats;
mod stream;

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{StreamExt, TryStreamExt};
use tokio::time::Instant;

pub use admission_progress::{AdmissionProgress, Stage};
pub use attempt_log::AttemptLog;
pub use call::{AdmissionObserver, Call};
pub use callbacks::{AttemptHooks, Callbacks, Fields};
pub use gate::max_tokens;
pub use host_budget::{HostQuotas, host_quotas};
pub use notices::{have_notices, notify, take_notices};
pub use pricing::{expected_usage, usage_so_far};
pub use reply_guard::ReplyGuard;
pub use retry::{MAX_RETRY_AFTER, is_retryable};
pub use settings::{LimitSettings, OwnLimits, Settings, Share, WhenDown};
pub use shared_breaker::SharedBreaker;
pub use spending::NO_PRICE;
pub use spending_limit::{MAX_AMOUNT, Per, SpendingLimit};
pub use state::host;
pub use stats::StatsSnapshot;
pub use stream::{Chunk, ChunkSource, Departure, Stream, StreamObserver};

pub use crate::transport::deadline::Timeouts;

use crate::catalog::Catalog;
use crate::credentials::Keyring;
use crate::error::{Error, Result};
use crate::limits::{Snapshot, Time};
use crate::providers::{Deployment, Encoded, Endpoint, ask_for_structured_output, ask_without_schema, halves};
use crate::transport::Transport;
use crate::types::answer::{Answer, Meta};
use crate::types::credentials::{CredentialSource, Credentials};
use crate::types::operation::Operation;
use crate::types::request::Request;
use crate::types::usage::Usage;
use attempt::{Attempt, Exchange, repeat};
use codec::{encode, join_elsewhere, of_inputs};
use gate::Gate;
use in_flight_limiter::InFlightLimiter;
use quotas::{QuotaList, Quotas};
use retry::{Decision, Event};
use spending::cost_of_failure;
use state::CallState;
use stats::{InFlight, ProviderStats, StatsByProvider};

/// Maximum number of requests of one call that are under way at the same time.
const PARTS_AT_ONCE: usize = 16;

/// A client: makes calls over a connection pool of its own.
pub struct Client {
    transport: Transport,
    keyring: Keyring,
    all_stats: Arc<StatsByProvider>,
    /// Limit of calls in flight, if there is one.
    in_flight_limiter: Option<InFlightLimiter>,
    /// Quotas of the calls.
    quotas: Quotas,
    /// Prices and limits of models, if the usage and the cost of calls are to be recorded.
    catalog: Option<Arc<Catalog>>,
    /// Addresses and models that have refused a JSON schema, and answered without one.
    without_schema: Mutex<Vec<(Arc<str>, Arc<str>)>>,
    /// Settings of connections to stores.
    transport_settings: Arc<crate::transport::Settings>,
}

impl Client {
    /// Creates a client without connections.
    pub fn new(settings: &Settings) -> Self {
        let transport_settings = Arc::new(settings.transport.clone());
        Self {
            transport: Transport::new(&transport_settings),
            keyring: Keyring::default(),
            all_stats: Arc::default(),
            in_flight_limiter: settings.max_in_flight.map(InFlightLimiter::new),
            quotas: Quotas::new(settings.limits.clone(), transport_settings.clone()),
            catalog: settings.catalog.clone(),
            without_schema: Mutex::default(),
            transport_settings,
        }
    }

    /// Creates a client without connections that continues the statistics of this one.
    pub fn renewed(&self, settings: &Settings) -> Self {
        Self { all_stats: self.all_stats.clone(), ..Self::new(settings) }
    }

    /// Closes idle connections, and pools none from now on. Calls in flight continue, and new ones are made over connections
    /// that are closed when their answer has been read.
    pub fn close(&self) {
        self.transport.close();
    }

    /// Waits until the connections of a closed client without calls in flight have ended, for a second at most.
    pub async fn ended(&self) {
        self.transport.ended().await;
    }

    /// Returns the statistics of each provider that was called.
    pub fn stats(&self) -> Vec<(&'static str, StatsSnapshot)> {
        self.all_stats.snapshots(&self.transport)
    }

    /// Returns the state of each quota that calls have used: its name, its state and the time of this state.
    pub fn quotas(&self) -> Vec<(String, Snapshot, Time)> {
        self.quotas.snapshots()
    }

    /// Ends the pauses and stops of the quotas whose name begins with `name`. Returns false if there are none.
    pub fn enable(&self, name: &str) -> bool {
        self.quotas.enable(name)
    }

    /// Returns the time for which a call would wait for a deployment's quotas: zero if they would admit it now.
    pub fn expected_wait(&self, call: &Call, deployment: &Deployment, own: Option<&OwnLimits>) -> Duration {
        if !self.quotas.are_declared() && own.is_none() {
            return Duration::ZERO;
        }
        let Ok(quotas) = self.quotas.of(deployment, own) else { return Duration::ZERO };
        let asked = gate::limits_call(call, deployment);
        quotas.iter().map(|quota| quota.expected_wait(&asked)).max().unwrap_or_default()
    }

    /// Has an attempt that waits elsewhere told when one of a deployment's quotas has become free.
    pub fn watch(&self, deployment: &Deployment, own: Option<&OwnLimits>, progress: &Arc<AdmissionProgress>) {
        if let Ok(quotas) = self.quotas.of(deployment, own) {
            quotas.iter().for_each(|quota| quota.watch(progress));
        }
    }

    /// Returns the part of the budget of a deployment's quotas that is left, from 0 to 1; `None` if it has none.
    pub fn budget_left(&self, deployment: &Deployment, own: Option<&OwnLimits>) -> Option<f64> {
        if !self.quotas.are_declared() && own.is_none() {
            return None;
        }
        let quotas = self.quotas.of(deployment, own).ok()?;
        quotas.iter().filter_map(|quota| quota.budget_left()).reduce(f64::min)
    }

    /// Returns true if other processes share the limits, and what is known of deployments.
    pub fn shares_limits(&self) -> bool {
        self.quotas.are_shared()
    }

    /// Returns the breaker of the deployment with this name that the processes share; `None` if the store has no place for it.
    pub fn shared_breaker(&self, name: &str, deployment: &Deployment) -> Option<SharedBreaker> {
        self.quotas.breaker(name, deployment).map(SharedBreaker)
    }

    /// Returns an estimate of the cost of a call at a deployment, in US dollars; `None` if it is not known.
    pub fn expected_cost(&self, call: &Call, deployment: &Deployment) -> Option<f64> {
        let max_tokens = gate::limits_call(call, deployment).max_tokens;
        pricing::expected_cost(self.catalog.as_deref()?, call, deployment, max_tokens)
    }

    /// Returns the size of the context window of a deployment's model and an estimate of that of a call's prompt, in tokens,
    /// if the prompt is known to be too large.
    pub fn too_small_window(&self, call: &Call, deployment: &Deployment) -> Option<(u64, u64)> {
        pricing::too_small_window(self.catalog.as_deref()?, call, deployment)
    }

    /// Returns true if the attempts of a call at a deployment may have to wait to be admitted.
    pub fn may_wait(&self, own: Option<&OwnLimits>) -> bool {
        self.in_flight_limiter.is_some() || self.quotas.are_declared() || own.is_some()
    }

    /// Starts a call.
    fn begin(&self, call: &Call) -> Result<(CallState<'_>, InFlight)> {
        let (stats, in_flight) = self.all_stats.begin(call.deployment.provider.row().name);
        let mut state = CallState::start(&self.transport, call, stats);
        if self.in_flight_limiter.is_some() || self.has_quotas(call) {
            state.gate = Some(self.gate(call)?);
        }
        Ok((state, in_flight))
    }

    /// Returns true if a call has quotas.
    fn has_quotas(&self, call: &Call) -> bool {
        self.quotas.are_declared() || call.own_limits.is_some()
    }

    /// Returns what a call has to be admitted by.
    #[cold]
    fn gate(&self, call: &Call) -> Result<Box<Gate<'_>>> {
        let quotas = match self.has_quotas(call) {
            true => self.quotas.of(&call.deployment, call.own_limits.as_deref())?,
            false => QuotaList::default(),
        };
        Ok(Box::new(Gate::new(call, quotas, self.in_flight_limiter.as_ref())))
    }

    /// Makes a call and returns the whole answer.
    ///
    /// # Errors
    ///
    /// The failure of the last attempt, without secrets.
    pub async fn call(&self, call: &mut Call) -> Result<Answer> {
        if call.budget.is_some() {
            return Box::pin(self.call_within_budget(call)).await;
        }
        if call.request.structured.is_some() {
            self.ask_for_structured_output(call);
        }
        let (mut state, in_flight) = self.begin(call)?;
        self.find_credentials(call, &mut state).await?;
        let endpoint = call.deployment.endpoint(&call.request).map_err(|error| state.finished(call, error))?;
        let parts = endpoint.parts(&call.request).map_err(|error| state.finished(call, error))?;
        let end = state.deadline.end();
        let (mut answer, usage) = match parts.is_empty() {
            true => match self.exchange(call, endpoint, state).await {
                Ok(answered) => answered,
                // It may be sent in halves if it was too large.
                Err(error) if call.request.operation == Operation::Embedding => {
                    Box::pin(self.call_in_halves(call, endpoint, error, (in_flight.stats(), end))).await?
                }
                Err(error) => return Err(error),
            },
            // Boxed: a call should not carry the memory for its parts along.
            false => {
                let answer = Box::pin(self.call_in_parts(call, endpoint, parts, state)).await?;
                let usage = self.usage(call, &answer.body);
                (answer, usage)
            }
        };
        if let Some(catalog) = &self.catalog {
            let Answer { body, meta } = &mut answer;
            let told = || pricing::told_cost(call, body);
            pricing::price(catalog, call, usage, pricing::service_tier(body), told, meta);
        } else if usage.is_some() && call.is_observed() {
            answer.meta.record.get_or_insert_default().usage = usage;
        }
        Ok(answer)
    }

    /// Makes a call for whose cost there is a budget.
    #[cold]
    async fn call_within_budget(&self, call: &mut Call) -> Result<Answer> {
        let Some(budget) = call.budget.take() else { return self.call(call).await };
        let answered = async {
            let reservation = budget.clone().reserve(self.catalog.as_deref(), call, &self.transport_settings).await?;
            let answered = self.call(call).await;
            reservation.settle(match &answered {
                Ok(answer) => answer.meta.record.as_ref().and_then(|record| record.cost),
                Err(error) => cost_of_failure(error),
            });
            answered
        }
        .await;
        // The call may be made again.
        call.budget = Some(budget);
        answered
    }

    /// Opens a stream for whose cost there is a budget.
    #[cold]
    async fn stream_within_budget(&self, mut call: Call) -> Result<Box<Stream<'_>>> {
        let Some(budget) = call.budget.take() else { return self.stream(call).await };
        let reservation = budget.reserve(self.catalog.as_deref(), &call, &self.transport_settings).await?;
        match self.stream(call).await {
            Ok(mut stream) => {
                stream.reservation = Some(Box::new(reservation));
                Ok(stream)
            }
            Err(error) => {
                reservation.settle(cost_of_failure(&error));
                Err(error)
            }
        }
    }

    /// Exchanges one request for its answer, repeated where that may help. Returns its usage, too, if somebody wants to know.
    async fn exchange<'a>(
        &'a self,
        call: &mut Call,
        endpoint: &'static dyn Endpoint,
        mut state: CallState<'a>,
    ) -> Result<(Answer, Option<Usage>)> {
        let Encoded { mut request, dropped_params } =
            encode(call, endpoint, &self.transport).map_err(|error| state.finished(call, error))?;
        let mut exchange = Exchange { call, endpoint, state: &mut state, request: &mut request };
        let (body, response) = repeat(&mut exchange, Event::Started).await?;
        if state.is_without_schema {
            self.note_without_schema(call);
        }
        let usage = match state.has_quotas() {
            true => Usage::of(call.request.operation, &body),
            false => self.usage(call, &body),
        };
        state.settle(call, &response, usage);
        Ok((Answer { body, meta: state.answered(call, response.status, response.headers, dropped_params) }, usage))
    }

    /// Makes a call again whose one request failed, in two halves if it was too large; otherwise returns its error.
    #[cold]
    async fn call_in_halves(
        &self,
        call: &Call,
        endpoint: &'static dyn Endpoint,
        error: Box<Error>,
        (stats, end): (Arc<ProviderStats>, Option<Instant>),
    ) -> Result<(Answer, Option<Usage>)> {
        let Some(halves) = halves(&call.request, &error) else { return Err(error) };
        let mut state = CallState::start(&self.transport, call, stats);
        state.set_end(end);
        if self.in_flight_limiter.is_some() || self.has_quotas(call) {
            state.gate = Some(self.gate(call)?);
        }
        let answer = self.call_in_parts(call, endpoint, halves.into(), state).await?;
        let usage = self.usage(call, &answer.body);
        Ok((answer, usage))
    }

    /// Returns the usage of an answer, if somebody wants to know it.
    #[inline]
    fn usage(&self, call: &Call, body: &[u8]) -> Option<Usage> {
        let is_counted = self.catalog.is_some() || call.is_observed();
        if is_counted { Usage::of(call.request.operation, body) } else { None }
    }

    /// Makes a call that takes several requests, and joins their answers. The first request that fails finally ends all. One
    /// that its provider finds too large is sent in halves, one after the other.
    async fn call_in_parts(
        &self,
        call: &Call,
        endpoint: &'static dyn Endpoint,
        parts: Vec<Request>,
        mut state: CallState<'_>,
    ) -> Result<Answer> {
        // The client counts the call once, a quota each of its requests.
        let quotas = state.gate.as_ref().map(|gate| gate.quotas()).filter(|quotas| !quotas.is_empty());
        let gate = self.in_flight_limiter.as_ref().map(|limiter| Gate::new(call, QuotaList::default(), Some(limiter)));
        state.gate = gate.map(Box::new);
        state.admit(call).await?;
        let at_once = match call.request.batches.concurrency {
            0 => PARTS_AT_ONCE,
            at_once => at_once as usize,
        };
        let mut start = 0;
        let answers = parts.into_iter().map(|request| {
            let inputs = start..start + request.batches.size as usize;
            start = inputs.end;
            let (stats, quotas) = (state.stats.clone(), &quotas);
            async move {
                let mut answers = Vec::with_capacity(1);
                let mut unsent = vec![(request, inputs)];
                while let Some((request, inputs)) = unsent.pop() {
                    // The call as a whole was admitted.
                    let mut part = Call { request, progress: None, ..call.clone() };
                    let mut state = CallState::start(&self.transport, &part, stats.clone());
                    state.gate = quotas.as_ref().map(|quotas| Box::new(Gate::new(&part, quotas.clone(), None)));
                    match self.exchange(&mut part, endpoint, state).await {
                        Ok((answer, _)) => answers.push(answer),
                        Err(error) => {
                            let Some([first, second]) = halves(&part.request, &error) else {
                                return Err(of_inputs(error, inputs));
                            };
                            let middle = inputs.start + first.batches.size as usize;
                            unsent.push((second, middle..inputs.end));
                            unsent.push((first, inputs.start..middle));
                        }
                    }
                }
                Ok(answers)
            }
        });
        let answers = futures_util::stream::iter(answers).buffered(at_once).try_collect::<Vec<_>>();
        let answered = state.deadline.run(&state.admission, pin!(answers)).await;
        let answers = answered.map_err(|error| {
            state.retry.retries = error.retries;
            state.finished(call, error)
        })?;
        let answers: Vec<Answer> = answers.into_iter().flatten().collect();
        let bodies: Vec<Bytes> = answers.iter().map(|answer| answer.body.clone()).collect();
        let retries = answers.iter().map(|answer| answer.meta.retries).sum();
        let last = answers.into_iter().next_back().expect("there are parts");
        let body = join_elsewhere(endpoint, bodies).await?;
        Ok(Answer { body, meta: Meta { retries, latency: state.deadline.elapsed(), ..last.meta } })
    }

    /// Makes a call and returns its stream when the answer has begun.
    ///
    /// # Errors
    ///
    /// The failure of the last attempt, without secrets.
    pub async fn stream(&self, mut call: Call) -> Result<Box<Stream<'_>>> {
        if call.budget.is_some() {
            return Box::pin(self.stream_within_budget(call)).await;
        }
        if call.request.structured.is_some() {
            self.ask_for_structured_output(&mut call);
        }
        let (mut state, in_flight) = self.begin(&call)?;
        self.find_credentials(&mut call, &mut state).await?;
        let endpoint = call.deployment.endpoint(&call.request).map_err(|error| state.finished(&call, error))?;
        let encoded = encode(&call, endpoint, &self.transport).map_err(|error| state.finished(&call, error))?;
        let mut stream = Box::new(Stream::new(call, endpoint, encoded, state, in_flight));
        stream.catalog = self.catalog.as_deref();
        repeat(&mut *stream, Event::Started).await?;
        if stream.state.is_without_schema {
            self.note_without_schema(&stream.call);
        }
        Ok(stream)
    }

    /// Asks for structured output in the form that the model has, as far as it is known.
    #[cold]
    fn ask_for_structured_output(&self, call: &mut Call) {
        let Deployment { base_url, model, .. } = &call.deployment;
        let refused = self.without_schema.lock().unwrap_or_else(PoisonError::into_inner);
        match refused.iter().any(|(host, of)| host == base_url && of == model) {
            true => ask_without_schema(&mut call.request),
            false => ask_for_structured_output(&call.deployment, &mut call.request),
        }
    }

    /// Notes that a model has refused a schema and answered without one, for the calls that follow.
    #[cold]
    fn note_without_schema(&self, call: &Call) {
        /// Number of models that are kept: a gateway may be asked for any.
        const MOST: usize = 256;
        let Deployment { base_url, model, .. } = &call.deployment;
        let mut refused = self.without_schema.lock().unwrap_or_else(PoisonError::into_inner);
        // Calls that began together are refused together.
        if refused.iter().any(|(host, of)| host == base_url && of == model) {
            return;
        }
        if refused.len() == MOST {
            refused.clear();
        }
        refused.push((base_url.clone(), model.clone()));
    }

    /// Finds credentials that are in neither the key nor the settings. Most calls have none to wait for.
    async fn find_credentials<'a>(&'a self, call: &mut Call, state: &mut CallState<'a>) -> Result<()> {
        let Credentials::Unresolved(wanted) = &call.deployment.credentials else { return Ok(()) };
        // A caller who brings an authorization of their own needs none of ours.
        if call.has_authorization() {
            return Ok(());
        }
        let wanted = wanted.clone();
        let mut search = CredentialSearch { keyring: &self.keyring, call, state, wanted };
        call.deployment.credentials = repeat(&mut search, Event::Started).await?;
        Ok(())
    }
}

/// The search for credentials that are kept in files or given by token servers.
struct CredentialSearch<'a, 'c> {
    keyring: &'a Keyring,
    call: &'c Call,
    state: &'c mut CallState<'a>,
    wanted: Arc<CredentialSource>,
}

impl Attempt for CredentialSearch<'_, '_> {
    type Output = Credentials;

    fn decide(&mut self, event: Event) -> Decision {
        self.state.next(self.call, event)
    }

    async fn attempt(&mut self) -> Result<Credentials> {
        let CallState { transport, deadline, admission, stats, .. } = &mut *self.state;
        // Boxed: the other calls should not carry its memory along.
        let search =
            Box::pin(self.keyring.find(transport, &stats.connection_stats, &self.wanted, self.call.allow_http));
        deadline.run(admission, pin!(search)).await
    }
}

#[cfg(test)]
mod tests;
