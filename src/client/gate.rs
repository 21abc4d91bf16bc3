//! Admission of a call's attempts: its quotas first, then the client's limit of calls in flight.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::admission_progress::{AdmissionProgress, Stage};
use super::call::Call;
use super::in_flight_limiter::{InFlightLimiter, InFlightPermit};
use super::quotas::QuotaList;
use super::shared_quota::{QuotaPermit, SharedQuota};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{self, Refusal};
use crate::providers::Deployment;
use crate::transport::{Admission, ConnectionStats};
use crate::types::operation::Operation;
use crate::types::params::Params;
use crate::types::rate_limit::{FailureClass, Signals, TokenRules, Tokens};
use crate::types::usage::Usage;

/// Quotas and limit that admit a call's attempts, and the permits that it holds.
pub(super) struct Gate<'a> {
    quotas: QuotaList,
    call: limits::Call,
    operation: Operation,
    /// Usage of a stream, as far as its chunks have told.
    usage: Option<Usage>,
    /// Permits of the attempt that is under way.
    permits: SmallVec<[QuotaPermit; 2]>,
    limiter: Option<&'a InFlightLimiter>,
    in_flight: Option<InFlightPermit>,
}

impl<'a> Gate<'a> {
    /// Returns the gate of a call.
    pub fn new(call: &Call, quotas: QuotaList, limiter: Option<&'a InFlightLimiter>) -> Self {
        let asked = limits_call(call, &call.deployment);
        Self {
            quotas,
            call: asked,
            operation: call.request.operation,
            usage: None,
            permits: SmallVec::new(),
            limiter,
            in_flight: None,
        }
    }

    /// Returns true if calls that a provider refuses because of its rate limit wait for their quota.
    pub fn has_quotas(&self) -> bool {
        !self.quotas.is_empty()
    }

    /// Acquires the permits of an attempt, if nothing has to be waited for and nobody follows its progress. Otherwise it is to be
    /// [admitted](Self::admit).
    ///
    /// # Errors
    ///
    /// The call is refused by a quota.
    pub fn try_admit(&mut self, progress: Option<&Arc<AdmissionProgress>>) -> Result<bool> {
        self.permits.clear();
        if progress.is_some() {
            return Ok(false);
        }
        for quota in self.quotas.iter() {
            match quota.try_acquire(&self.call).map_err(|refusal| refused(quota, refusal))? {
                Some(permit) => self.permits.push(permit),
                None => return Ok(false),
            }
        }
        if let (Some(limiter), None) = (self.limiter, &self.in_flight) {
            self.in_flight = limiter.try_take();
            if self.in_flight.is_none() {
                return Ok(false);
            }
        }
        self.permits.iter_mut().for_each(QuotaPermit::sent);
        Ok(true)
    }

    /// Acquires the permits of an attempt that [`try_admit`](Self::try_admit) did not acquire, and notes its progress.
    ///
    /// # Errors
    ///
    /// The call was not admitted within its queue timeout, or is refused by a quota.
    pub async fn admit(
        &mut self,
        queue: Option<Duration>,
        progress: Option<&Arc<AdmissionProgress>>,
        admission: &Admission,
        stats: &ConnectionStats,
    ) -> Result<()> {
        let rest = queue.map(|queue| queue.saturating_sub(progress.map_or(Duration::ZERO, |progress| progress.waited)));
        loop {
            let admitted = self.permits.len();
            for quota in self.quotas.iter().skip(admitted) {
                let permit = match quota.try_acquire(&self.call).map_err(|refusal| refused(quota, refusal))? {
                    Some(permit) => permit,
                    None => {
                        // A call that waits for its quota keeps no other from being made.
                        self.in_flight = None;
                        if let Some(progress) = progress {
                            progress.set_stage(Stage::Waiting);
                        }
                        match admission.wait(rest, stats, quota.acquire(self.call, progress)).await {
                            Some(permit) => permit.map_err(|refusal| refused(quota, refusal))?,
                            None => return Err(not_admitted(quota, queue.unwrap_or_default())),
                        }
                    }
                };
                self.permits.push(permit);
            }
            if let (Some(limiter), None) = (self.limiter, &self.in_flight) {
                if let Some(progress) = progress
                    && limiter.is_full()
                {
                    progress.set_stage(Stage::Waiting);
                }
                self.in_flight = Some(limiter.take(rest, admission, stats).await?);
            }
            // What was admitted earlier and is sent only now could exceed a limit together with what is admitted now.
            if self.permits.iter_mut().all(|permit| permit.renew(&self.call)) {
                break;
            }
            self.permits.clear();
        }
        self.permits.iter_mut().for_each(QuotaPermit::sent);
        Ok(())
    }

    /// Returns the quotas of the call, for another gate.
    pub fn quotas(&self) -> QuotaList {
        self.quotas.clone()
    }

    /// Returns what an answer says of limits, which `read` reads if it may be news; nothing if nobody wants to know.
    pub fn signals(&self, read: impl FnOnce() -> Signals) -> Signals {
        let Some(admitted) = self.permits.first().and_then(QuotaPermit::admitted_at) else { return Signals::default() };
        if self.quotas.is_known(admitted) {
            return Signals::default();
        }
        let signals = read();
        self.quotas.read(admitted, &signals);
        signals
    }

    /// Notes what the head of a stream's answer says, long before its end.
    pub fn observe(&self, signals: &Signals) {
        self.permits.iter().for_each(|permit| permit.observe(signals));
    }

    /// Looks for the usage in a chunk of a stream. The last one counts.
    pub fn look_for_usage(&mut self, chunk: &[u8]) {
        self.usage = Usage::of_chunk(self.operation, chunk).or(self.usage);
    }

    /// Ends the attempt that is under way with what its answer used and said. The usage of a stream was
    /// [looked for](Self::look_for_usage) before.
    pub fn answered(&mut self, usage: Option<Usage>, signals: &Signals) {
        let usage = usage.or(self.usage);
        drop(self.settle(usage.as_ref(), signals));
    }

    /// Ends the attempt that is under way with what its failure says.
    ///
    /// Returns the reason why the call must not be repeated, if there is one.
    pub fn failed(&mut self, signals: &Signals) -> Option<Box<Error>> {
        self.settle(None, signals)
    }

    /// Ends the attempt that is under way with what its answer or failure says, and what it used.
    ///
    /// Returns the reason why the call must not be repeated, if there is one.
    fn settle(&mut self, usage: Option<&Usage>, signals: &Signals) -> Option<Box<Error>> {
        let used = usage.map(|usage| counted(usage, &self.call.rules));
        let settled = self.permits.drain(..).zip(self.quotas.iter());
        // All are settled, not only the last one.
        settled.fold(None, |before, (permit, quota)| {
            permit.settle(used, signals).map(|refusal| refused(quota, refusal)).or(before)
        })
    }
}

/// Returns what a quota needs to know of a call at a deployment.
pub(super) fn limits_call(call: &Call, deployment: &Deployment) -> limits::Call {
    let params = &call.request.params;
    limits::Call {
        priority: call.priority,
        bytes: params.len() as u64,
        max_tokens: max_tokens(params),
        rules: deployment.provider.token_rules(&deployment.model),
    }
}

/// Returns the maximum number of tokens of a call's answer, if it sets one.
pub fn max_tokens(params: &Params) -> Option<u64> {
    // One search for what most calls do not have, in place of three.
    if !params.iter().any(|(name, _)| name.starts_with("max_")) {
        return None;
    }
    let names = ["max_completion_tokens", "max_tokens", "max_output_tokens"];
    names.iter().find_map(|name| serde_json::from_slice(params.get(name)?).ok())
}

/// Returns a call's tokens as its provider counts them towards its limits.
fn counted(usage: &Usage, rules: &TokenRules) -> Tokens {
    let free = if rules.cached_reads_free { usage.cached_read } else { 0 };
    Tokens {
        input: usage.all_input().saturating_sub(free),
        output: usage.all_output().saturating_mul(rules.output_weight.into()),
    }
}

/// Returns the error of a call that was not admitted within its queue timeout.
fn not_admitted(quota: &Arc<SharedQuota>, queue: Duration) -> Box<Error> {
    let Some((snapshot, now)) = quota.snapshot() else {
        return Error::not_admitted(format!(
            "the call was not admitted within the queue timeout of {} s: another process uses its quota {}",
            queue.as_secs_f64(),
            quota.name
        ));
    };
    let budget = &snapshot.budget;
    let mut reasons = Vec::new();
    if let Some((until, reason)) = budget.paused {
        reasons.push(format!(
            "it is paused for another {:.1} s ({})",
            until.saturating_sub(now).as_secs_f64(),
            reason.name()
        ));
    }
    if let Some(limit) = budget.max_in_flight.filter(|limit| budget.in_flight >= *limit) {
        reasons.push(format!("all {limit} calls that it allows in flight were under way"));
    }
    for window in &budget.windows {
        let used = window.used + window.used_by_others;
        reasons.push(format!(
            "{used} of {} {} in {} s are used",
            window.limit,
            window.unit.name(),
            window.period.as_secs_f64()
        ));
    }
    let waiting = snapshot.waiting_interactive + snapshot.waiting_bulk;
    Error::not_admitted(format!(
        "the call was not admitted within the queue timeout of {} s: its quota {} is used up, {} calls hold permits and {waiting} \
         others wait ({})",
        queue.as_secs_f64(),
        quota.name,
        snapshot.permits,
        reasons.join("; "),
    ))
}

/// Returns the error of a call that its quota does not admit at all.
fn refused(quota: &Arc<SharedQuota>, refusal: Refusal) -> Box<Error> {
    let mut error = match refusal {
        Refusal::StoreDown { .. } => Error::new(
            ErrorKind::ApiConnection,
            format!(
                "the store that shares the quota {} does not answer, and calls are to fail then (when_down)",
                quota.name
            ),
        ),
        Refusal::Stopped { class, kind, since, probe } => {
            let now = quota.snapshot().map_or(since, |(_, now)| now);
            let why = match (class, kind) {
                (FailureClass::QuotaFatal, _) => "there is no credit or no quota",
                (_, ErrorKind::PermissionDenied) => "the key has no access to the model",
                (_, ErrorKind::NotFound) => "there is no such model",
                _ => "the key was refused",
            };
            let mut error = Error::new(
                kind,
                format!(
                    "the quota {} is stopped since {:.0} s: {why}. Another call is tried in {:.0} s, or after enable()",
                    quota.name,
                    now.saturating_sub(since).as_secs_f64(),
                    probe.saturating_sub(now).as_secs_f64(),
                ),
            );
            error.retry_after = Some(probe.saturating_sub(now));
            error
        }
        Refusal::TooLarge { unit, limit, period, tokens } => Error::new(
            ErrorKind::RateLimit,
            format!(
                "the call takes about {tokens} {}, more than the limit of {limit} in {} s of the quota {}: the provider \
                 refused it although it had the window to itself",
                unit.name(),
                period.as_secs_f64(),
                quota.name,
            ),
        ),
    };
    error.should_retry = Some(false);
    error.unsent()
}
