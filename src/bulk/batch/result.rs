//! From a line of a batch's results to the outcome of its row.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::BatchResults;
use super::part::{form_of, now};
use super::row::BatchRow;
use crate::bulk::outcome::{Failure, Outcome};
use crate::bulk::run::{Calls, RowWork, Verdict, ask_again, sum_of, unfit};
use crate::catalog::Catalog;
use crate::client::is_retryable;
use crate::error::{Error, ErrorKind, Result};
use crate::providers::{RowAnswer, ask_for_structured_output, failure_class, untooled};
use crate::types::answer::{Answer, Meta};
use crate::types::http::{Headers, HttpResponse};
use crate::types::rate_limit::FailureClass;
use crate::types::secrets::Redactors;
use crate::types::usage::Usage;

/// What becomes of a row.
pub(super) enum Settled {
    /// It has an outcome.
    Ended(Box<Outcome>),
    /// It goes into another batch.
    Again(Box<BatchRow>),
}

/// Decides what becomes of the rows of a batch.
pub(super) struct Settler {
    catalog: Option<Arc<Catalog>>,
    max_attempts: u32,
    started: Duration,
    latency: Duration,
    /// Waits for checks by the user's type, which have a thread of their own.
    runtime: Runtime,
    redactors: Redactors,
    /// A failure of the account.
    pub halt: Option<Box<Error>>,
    pub usage: Usage,
    pub has_unknown_cost: bool,
}

impl Settler {
    pub fn new(catalog: Option<Arc<Catalog>>, max_attempts: u32, results: &BatchResults) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let failed = |error| Error::new(ErrorKind::Internal, format!("no runtime: {error}")).unsent();
        Ok(Self {
            catalog,
            max_attempts,
            started: results.started,
            latency: results.latency,
            runtime: runtime.map_err(failed)?,
            redactors: Redactors::default(),
            halt: None,
            usage: Usage::default(),
            has_unknown_cost: false,
        })
    }

    /// Returns what becomes of a row.
    pub fn settle(&mut self, mut row: BatchRow, answer: RowAnswer, calls: &mut Calls) -> Settled {
        row.attempts += 1;
        let work = match calls.make(row.call.clone()) {
            Ok(work) => work,
            Err(error) => return self.failed(row, error),
        };
        let provider = work.call.deployment.provider;
        let named = |mut error: Box<Error>| {
            error.provider = Some(provider.row().name.to_owned());
            error.model = Some(work.call.deployment.model.to_string());
            error
        };
        let (error, may_go_again) = match answer {
            RowAnswer::Response { status: status @ 200..300, request_id, body } => {
                let response = HttpResponse { received: now(), status, headers: Headers::default(), body };
                match self.answered(&work, &response) {
                    Ok(answer) => return self.checked(row, &work, answer, request_id),
                    Err(mut error) => {
                        error.status.get_or_insert(status);
                        error.body.get_or_insert(response.body);
                        let may_go_again = is_retryable(&error);
                        (named(error), may_go_again)
                    }
                }
            }
            RowAnswer::Response { status, request_id, body } => {
                let response = HttpResponse { received: now(), status, headers: Headers::default(), body };
                let mut error = named(provider.decode_error(&response));
                error.request_id = error.request_id.or(request_id);
                if matches!(failure_class(&error), FailureClass::QuotaFatal | FailureClass::Auth) && !work.names_model {
                    // The account's failure is not the row's: it waits for the account.
                    row.attempts -= 1;
                    self.halt.get_or_insert(error);
                    return Settled::Again(Box::new(row));
                }
                let may_go_again = is_retryable(&error);
                (error, may_go_again)
            }
            RowAnswer::Expired => {
                let message = "the batch expired before this row was answered";
                (named(coded(ErrorKind::Timeout, "batch_expired", message)), true)
            }
            RowAnswer::Cancelled => {
                let message = "the batch was cancelled before this row was answered";
                (named(coded(ErrorKind::Conflict, "batch_cancelled", message)), false)
            }
            RowAnswer::Failed { code, message } => {
                let is_of_server = ["server", "internal", "no_result"].iter().any(|part| code.contains(part));
                let kind = if is_of_server { ErrorKind::InternalServer } else { ErrorKind::BadRequest };
                let message = if message.is_empty() { "the provider says no reason".to_owned() } else { message };
                (named(coded(kind, &code, &message)), is_of_server)
            }
        };
        if may_go_again && row.attempts < self.max_attempts {
            return Settled::Again(Box::new(row));
        }
        self.failed(row, error)
    }

    /// Returns an answer in OpenAI's format, as a call returns it.
    fn answered(&self, work: &RowWork, response: &HttpResponse) -> Result<Answer> {
        let mut call = work.call.clone();
        if call.request.structured.is_some() {
            ask_for_structured_output(&call.deployment, &mut call.request);
        }
        let endpoint = call.deployment.endpoint(&call.request)?;
        let body = endpoint.decode(&call.request, response)?;
        let body = if call.request.structured.is_some() { untooled(&call.request, body) } else { body };
        let meta = Meta {
            provider: call.deployment.provider.row().name.into(),
            model: call.deployment.model.clone(),
            status: response.status,
            latency: self.latency,
            ..Meta::default()
        };
        Ok(Answer { body, meta })
    }

    fn checked(&mut self, mut row: BatchRow, work: &RowWork, answer: Answer, request_id: Option<String>) -> Settled {
        let operation = work.call.request.operation;
        let usage = Usage::of(operation, &answer.body);
        let deployment = &work.call.deployment;
        let rules = form_of(deployment).map(|form| form.rules());
        let cost = self.catalog.as_ref().zip(usage.as_ref()).and_then(|(catalog, usage)| {
            let cost = catalog.find(deployment.provider.row().name, &deployment.model)?.cost(usage, now())?;
            Some(cost * rules.as_ref().ok()?.price?)
        });
        let cost = if row.corrections == 0 { cost } else { cost.zip(row.cost).map(|(one, other)| one + other) };
        if let Some(usage) = &usage {
            self.usage = self.usage.plus(usage);
        }
        let usage = sum_of(usage, row.usage);
        let mut failure: Option<Failure> = None;
        if let Some(check) = &work.check {
            match self.runtime.block_on(check.check(operation, &answer.body)) {
                Verdict::Fits => {}
                Verdict::Fails(what) => failure = Some(what),
                Verdict::Unfit { reasons, .. } if row.corrections >= check.retries => failure = Some(unfit(&reasons)),
                Verdict::Unfit { text, reasons } => {
                    let mut call = work.call.clone();
                    ask_again(&mut call, &text, &reasons);
                    row.call.params = call.request.params;
                    row.corrections += 1;
                    // It was answered: that is no failure of the batch.
                    (row.usage, row.cost) = (usage, cost);
                    row.attempts -= 1;
                    return Settled::Again(Box::new(row));
                }
            }
        }
        let attempts = row.attempts + row.corrections;
        let mut outcome =
            Outcome::answered(row.number, row.key, row.call.id, self.started, answer, &mut self.redactors);
        (outcome.usage, outcome.cost, outcome.failure, outcome.attempts) = (usage, cost, failure, attempts);
        if let Some(response) = &mut outcome.response {
            response.request_id = request_id.map(String::into_boxed_str);
        }
        self.has_unknown_cost |= cost.is_none();
        Settled::Ended(Box::new(outcome))
    }

    fn failed(&self, row: BatchRow, error: Box<Error>) -> Settled {
        let mut outcome = Outcome::failed(row.number, row.key, row.call.id, self.started, *error);
        outcome.attempts = row.attempts + row.corrections;
        outcome.latency = self.latency;
        // Of answers that did not fit.
        (outcome.usage, outcome.cost) = (row.usage, row.cost);
        Settled::Ended(Box::new(outcome))
    }
}

fn coded(kind: ErrorKind, code: &str, message: &str) -> Box<Error> {
    let mut error = Error::new(kind, message);
    error.code = Some(code.to_owned());
    error
}
