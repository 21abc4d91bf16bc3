//! State of a call that lasts from attempt to attempt, and what is recorded of it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::call::Call;
use super::callbacks::Callbacks;
use super::codec::{encode, unix_seconds};
use super::gate::Gate;
use super::retry::{Decide, Decision, Event, Retry};
use super::stats::ProviderStats;
use crate::error::{Error, Result};
use crate::providers::{Endpoint, ask_without_schema, failure_class, refuses_schema};
use crate::transport::deadline::Deadline;
use crate::transport::{Admission, Transport};
use crate::types::answer::Meta;
use crate::types::http::{Headers, HttpRequest, HttpResponse};
use crate::types::rate_limit::Signals;
use crate::types::record::{AttemptRecord, CallRecord, Outcome};
use crate::types::redact::Redactor;
use crate::types::secrets::Secrets;
use crate::types::usage::Usage;

/// Maximum length of a failure's message in a record, in characters.
const LONGEST_MESSAGE: usize = 300;

/// State of a call that lasts from attempt to attempt.
pub(super) struct CallState<'a> {
    pub transport: &'a Transport,
    pub deadline: Deadline,
    pub admission: Admission,
    /// Decides on repetition.
    pub retry: Retry,
    /// Counters of the call's provider.
    pub stats: Arc<ProviderStats>,
    /// Limits that the call has to be admitted by, if there are any. Boxed: most calls have none.
    pub gate: Option<Box<Gate<'a>>>,
    /// Start of the current attempt.
    pub attempt_started: Instant,
    /// Record of the call, begun with the first attempt that does not succeed.
    pub record: Option<Box<CallRecord>>,
    /// True if the host has refused the JSON schema of the call, which is asked without one now.
    pub is_without_schema: bool,
}

impl<'a> CallState<'a> {
    /// Returns the state of a call that starts now.
    pub fn start(transport: &'a Transport, call: &Call, stats: Arc<ProviderStats>) -> Self {
        let deadline = Deadline::start(call.timeouts.total);
        let retry = Retry {
            retries: 0,
            max_retries: call.max_retries,
            max_retry_after: call.max_retry_after,
            end: deadline.end(),
            waits_for_quota: false,
            uncounted: 0,
            random: fastrand::f64,
        };
        let attempt_started = deadline.started();
        let admission = Admission::default();
        Self {
            transport,
            deadline,
            admission,
            retry,
            stats,
            gate: None,
            attempt_started,
            record: None,
            is_without_schema: false,
        }
    }

    /// Admits the next attempt if nothing has to be waited for; most attempts need no future that waits. If it returns false,
    /// the attempt is to be [admitted](Self::admit).
    ///
    /// # Errors
    ///
    /// The call is refused by a quota; as the caller gets it.
    pub fn try_admit(&mut self, call: &Call) -> Result<bool> {
        let Some(gate) = &mut self.gate else { return Ok(true) };
        gate.try_admit(call.progress.as_ref()).map_err(|error| self.finished(call, error))
    }

    /// Waits until the next attempt is admitted by the call's quotas and by the client's limit of calls in flight.
    ///
    /// # Errors
    ///
    /// The call was not admitted within its queue timeout, or is refused by a quota; as the caller gets it.
    pub async fn admit(&mut self, call: &Call) -> Result<()> {
        let Some(gate) = &mut self.gate else { return Ok(()) };
        if let Some(observer) = &call.admission_observer {
            observer.waits();
        }
        let progress = call.progress.as_ref();
        let admitted = gate.admit(call.timeouts.queue, progress, &self.admission, &self.stats.connection_stats);
        let admitted = self.deadline.run(&self.admission, pin!(admitted)).await;
        if let (Some(progress), Ok(())) = (progress, &admitted)
            && let Some(total) = progress.admitted().await
        {
            self.set_end(total.and_then(|total| Instant::now().checked_add(total)));
        }
        admitted.map_err(|error| self.finished(call, error))
    }

    /// Moves the total deadline.
    pub fn set_end(&mut self, end: Option<Instant>) {
        self.deadline.set_end(end, &self.admission);
    }

    /// Calls the caller's functions for the keys and header fields of the next attempt, and returns the request with them.
    ///
    /// # Errors
    ///
    /// A function's failure, as the caller gets it: it is not repeated.
    pub async fn ask(&mut self, call: &mut Call, endpoint: &dyn Endpoint) -> Result<HttpRequest> {
        let attempt = self.retry.retries + 1;
        let transport = self.transport;
        let request = async {
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
            // Encoded once more: an added field may hold a key, which must not travel in clear.
            Ok(encode(call, endpoint, transport)?.request)
        };
        let request = self.deadline.run(&self.admission, pin!(request)).await;
        request.map_err(|error| self.finished(call, error))
    }

    /// Tells the log and the observer of the start of an attempt.
    pub fn begin_attempt(&self, call: &Call) {
        if let Some(observer) = &call.admission_observer {
            observer.begins();
        }
        if let Some(attempt_log) = &call.attempt_log
            && attempt_log.is_logged()
        {
            attempt_log.begin(self.attempt(call, self.attempt_started));
        }
    }

    /// Returns what is known of the current attempt at `now`.
    pub fn attempt(&self, call: &Call, now: Instant) -> AttemptRecord {
        let earlier = self.record.iter().flat_map(|record| &record.attempts).map(|attempt| attempt.waited).sum();
        let waited = self.admission.waited().saturating_sub(earlier);
        AttemptRecord {
            number: self.retry.retries + 1,
            deployment: call.deployment_name.as_deref().map(str::to_owned),
            provider: call.deployment.provider.row().name.into(),
            model: call.deployment.model.to_string(),
            host: host(&call.deployment.base_url),
            started: self.attempt_started.saturating_duration_since(self.deadline.started()),
            latency: now.saturating_duration_since(self.attempt_started).saturating_sub(waited),
            waited,
            ..AttemptRecord::default()
        }
    }

    /// Adds an attempt that has ended to the record and to the log.
    pub fn end_attempt(&mut self, call: &Call, attempt: AttemptRecord) {
        if let Some(attempt_log) = &call.attempt_log {
            attempt_log.end(attempt.clone());
        }
        let record = self.record.get_or_insert_default();
        record.push(attempt);
        record.retries = self.retry.retries;
        record.waited = self.admission.waited();
        record.total = self.deadline.elapsed();
    }

    /// Records that an attempt was answered, of a call that has a record or a log, or has waited.
    #[cold]
    fn record_answer(&mut self, call: &Call, status: u16, headers: &Headers) {
        let request_id = headers.request_id().map(|id| hidden(id, &self.redactor(call)));
        let attempt = self.attempt(call, Instant::now());
        let attempt = AttemptRecord { status: Some(status), request_id, outcome: Outcome::Success, ..attempt };
        self.end_attempt(call, attempt);
    }

    /// Records that an attempt failed, and the pause before the next one, if there is to be one.
    #[cold]
    fn record_failure(&mut self, call: &Call, now: Instant, error: &Error, pause: Option<Duration>) {
        let redactor = self.redactor(call);
        let id = error.request_id.as_deref().or_else(|| error.headers.as_ref().and_then(Headers::request_id));
        let attempt = AttemptRecord {
            status: error.status,
            request_id: id.map(|id| hidden(id, &redactor)),
            outcome: Outcome::Failed,
            error: Some(error.kind.class_name().into()),
            failure: Some(failure_class(error)),
            message: Some(hidden(&error.message, &redactor).chars().take(LONGEST_MESSAGE).collect()),
            pause,
            ..self.attempt(call, now)
        };
        self.end_attempt(call, attempt);
    }

    /// Returns the values to be redacted from an answer, the proxy's password included.
    fn secrets(&self, call: &Call) -> Secrets {
        let mut secrets = call.secrets();
        if !self.transport.secrets().is_empty() {
            secrets.extend(self.transport.secrets().iter().cloned());
        }
        secrets
    }

    /// Returns a redactor for everything secret in a call, its body and the proxy's address included.
    pub fn redactor(&self, call: &Call) -> Redactor {
        let mut secrets = call.all_secrets();
        secrets.extend(self.transport.secrets().iter().cloned());
        secrets.redactor()
    }

    /// Notes what the head of a stream's answer says of limits.
    pub fn observe(&self, call: &Call, headers: &Headers) {
        if let Some(gate) = &self.gate {
            gate.observe(&gate.signals(|| call.deployment.provider.signals(headers, unix_seconds())));
        }
    }

    /// Settles the permits of a stream that has ended. Its header fields were [observed](Self::observe) long before.
    pub fn settle_stream(&mut self) {
        if let Some(gate) = &mut self.gate {
            gate.answered(None, &Signals::default());
        }
    }

    /// True if the call has quotas, which count what it uses.
    pub fn has_quotas(&self) -> bool {
        self.gate.as_ref().is_some_and(|gate| gate.has_quotas())
    }

    /// Settles the permits of an attempt whose whole answer is there.
    pub fn settle(&mut self, call: &Call, response: &HttpResponse, usage: Option<Usage>) {
        let Some(gate) = &mut self.gate else { return };
        let signals = gate.signals(|| call.deployment.provider.signals(&response.headers, response.received));
        gate.answered(usage, &signals);
    }

    /// Returns the metadata of an answer, and records its arrival in the log.
    pub fn answered(&mut self, call: &Call, status: u16, headers: Headers, dropped_params: Vec<String>) -> Meta {
        let is_logged = call.attempt_log.as_ref().is_some_and(|attempt_log| attempt_log.is_logged());
        if self.record.is_some() || is_logged || !self.admission.waited().is_zero() {
            self.record_answer(call, status, &headers);
        }
        let mut record = self.record.clone();
        if let Some(structured) = &call.request.structured {
            let form = structured.form.map(|form| form.name().into());
            record.get_or_insert_default().structured_output = form;
        }
        Meta {
            provider: call.deployment.provider.row().name.into(),
            model: call.deployment.model.clone(),
            status,
            headers,
            secrets: self.secrets(call),
            retries: self.retry.retries,
            latency: self.deadline.elapsed(),
            dropped_params,
            deployment: call.deployment_name.clone(),
            cached: false,
            record,
        }
    }

    /// Takes an event and returns the next step. A failure is recorded in the log; one that is final is as the caller gets it.
    pub fn next(&mut self, call: &Call, event: Event) -> Decision {
        let error = match event {
            Event::Failed(error) => error,
            Event::Started => return self.retry.next(self.deadline.started(), event),
            Event::Waited => {
                self.stats.count_retry();
                self.attempt_started = Instant::now();
                return self.retry.next(self.attempt_started, event);
            }
        };
        self.failed(call, error)
    }

    /// Has a request whose host refuses JSON schemas repeated without one, once, and at once: it uses up no retry.
    #[cold]
    pub fn try_without_schema(
        &mut self,
        call: &mut Call,
        endpoint: &dyn Endpoint,
        request: &mut HttpRequest,
        event: &mut Event,
    ) {
        let Event::Failed(error) = event else { return };
        if !refuses_schema(&call.deployment, &call.request, error) {
            return;
        }
        ask_without_schema(&mut call.request);
        if let Ok(encoded) = encode(call, endpoint, self.transport) {
            *request = encoded.request;
            self.is_without_schema = true;
            self.retry.max_retries += 1;
            error.should_retry = Some(true);
            error.retry_after = Some(Duration::ZERO);
        }
    }

    fn failed(&mut self, call: &Call, mut error: Box<Error>) -> Decision {
        let now = Instant::now();
        let mut is_recorded = false;
        if let Some(gate) = &mut self.gate {
            let signals = call.deployment.provider.failure_signals(&error, unix_seconds());
            self.retry.waits_for_quota = gate.has_quotas() && !call.is_routed;
            if let Some(refusal) = gate.failed(&signals) {
                self.record_failure(call, now, &error, None);
                is_recorded = true;
                error = refusal;
            }
        }
        self.deadline.admit(&self.admission);
        self.retry.end = self.deadline.end();
        let decision = self.retry.next(now, Event::Failed(error));
        match &decision {
            _ if is_recorded => {}
            Decision::Wait(pause, error) => self.record_failure(call, now, error, Some(*pause)),
            Decision::Fail(error) => self.record_failure(call, now, error, None),
            Decision::Attempt => {}
        }
        match decision {
            Decision::Fail(error) => Decision::Fail(self.finished(call, error)),
            decision => decision,
        }
    }

    /// Returns an error as the caller gets it: with the provider's name and request id, and without the key.
    pub fn finished(&self, call: &Call, mut error: Box<Error>) -> Box<Error> {
        error.retries = self.retry.retries;
        if error.record.is_none() {
            error.record = self.record.clone();
            // Also of a call that was never admitted.
            let waited = self.admission.waited();
            if error.record.is_none() && !waited.is_zero() {
                let total = self.deadline.elapsed();
                error.record = Some(Box::new(CallRecord { waited, total, ..CallRecord::default() }));
            }
        }
        error.provider.get_or_insert_with(|| call.deployment.provider.row().name.to_owned());
        error.model = Some(call.deployment.model.to_string());
        if error.request_id.is_none() {
            error.request_id = error.headers.as_ref().and_then(Headers::request_id).map(str::to_owned);
        }
        error.hide(&self.redactor(call));
        error
    }
}

/// Returns host and port of an address.
pub fn host(base_url: &str) -> Option<String> {
    let authority = base_url.parse::<http::Uri>().ok()?.into_parts().authority?;
    let host = authority.as_str();
    Some(host.rsplit_once('@').map_or(host, |(_, host)| host).to_owned())
}

fn hidden(text: &str, redactor: &Redactor) -> String {
    /// Length of a text above which its end is cut off before secrets are searched, in bytes.
    const LONG: usize = 16 << 10;
    let end = (0..=LONG.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    let mut text = text[..end.unwrap_or_default()].to_owned();
    redactor.hide(&mut text);
    text
}
