//! The loop that repeats attempts, and the attempt of a plain call. It alone repeats: state and decisions are elsewhere.

use std::pin::pin;
use std::time::SystemTime;

use bytes::Bytes;

use super::call::Call;
use super::codec::{DECODED_HERE, decode, decode_elsewhere, unix_seconds, without_mark};
use super::retry::{Decision, Event};
use super::state::CallState;
use crate::error::{Error, Result};
use crate::providers::Endpoint;
use crate::transport::{Response, SendOptions};
use crate::types::http::{HttpRequest, HttpResponse};
use crate::types::operation::Output;

/// Work that a call may have to do several times.
pub(super) trait Attempt: Send {
    /// Result of an attempt that succeeds.
    type Output;

    /// Takes an event of the call and decides on its next step.
    fn decide(&mut self, event: Event) -> Decision;

    /// Prepares the next attempt.
    ///
    /// # Errors
    ///
    /// A failure that is not repeated, as the caller gets it.
    fn prepare(&mut self) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Makes one attempt.
    ///
    /// # Errors
    ///
    /// A failure, which may be repeated.
    fn attempt(&mut self) -> impl Future<Output = Result<Self::Output>> + Send;
}

/// Makes attempts until one succeeds or the call's decision is to fail. `event` is `Started`, or the failure of an attempt
/// that was made before.
///
/// # Errors
///
/// The last attempt's, as the caller gets it.
pub(super) async fn repeat<A: Attempt>(work: &mut A, mut event: Event) -> Result<A::Output> {
    loop {
        match work.decide(event) {
            Decision::Attempt => {
                work.prepare().await?;
                match work.attempt().await {
                    Ok(output) => return Ok(output),
                    Err(error) => event = Event::Failed(error),
                }
            }
            Decision::Wait(pause, error) => {
                // Before the pause: an error and the body it holds should not wait with it.
                drop(error);
                tokio::time::sleep(pause).await;
                event = Event::Waited;
            }
            Decision::Fail(error) => return Err(error),
        }
    }
}

/// The exchange of one request for a whole answer.
pub(super) struct Exchange<'a, 'c> {
    pub call: &'c mut Call,
    pub endpoint: &'static dyn Endpoint,
    pub state: &'c mut CallState<'a>,
    pub request: &'c mut HttpRequest,
}

impl Attempt for Exchange<'_, '_> {
    /// The answer in OpenAI's shape, and as it came.
    type Output = (Bytes, HttpResponse);

    fn decide(&mut self, mut event: Event) -> Decision {
        if self.call.request.structured.is_some() {
            self.state.try_without_schema(self.call, self.endpoint, self.request, &mut event);
        }
        self.state.next(self.call, event)
    }

    async fn prepare(&mut self) -> Result<()> {
        if self.state.gate.is_some() && !self.state.try_admit(self.call)? {
            Box::pin(self.state.admit(self.call)).await?;
        }
        if self.call.callbacks.is_some() {
            // Boxed: most calls should not carry its memory along.
            *self.request = Box::pin(self.state.ask(self.call, self.endpoint)).await?;
        }
        Ok(())
    }

    async fn attempt(&mut self) -> Result<Self::Output> {
        let Self { call, endpoint, state, request } = self;
        state.begin_attempt(call);
        let CallState { transport, deadline, admission, stats, .. } = &mut **state;
        let options = SendOptions {
            timeouts: &call.timeouts,
            end: deadline.end(),
            admission,
            connection_stats: &stats.connection_stats,
            is_once: call.request.operation.buys_a_batch(),
        };
        let exchange = async {
            call.deployment.provider.authorize(&call.deployment, request, SystemTime::now())?;
            let Response { status, headers, body } = transport.send(request, options).await?;
            Ok::<_, Box<Error>>(HttpResponse {
                received: unix_seconds(),
                status,
                headers,
                body: match call.request.operation.spec().output {
                    Output::Binary => body.collect().await?,
                    _ => without_mark(body.collect().await?),
                },
            })
        };
        let response = deadline.run(admission, pin!(exchange)).await?;
        let max_values = transport.max_values;
        if response.body.len() > DECODED_HERE {
            // Boxed: most calls should not carry its memory along.
            let decoding = Box::pin(decode_elsewhere(call, *endpoint, response, max_values));
            return deadline.run(admission, pin!(decoding)).await;
        }
        decode(call, *endpoint, &response, max_values).map(|body| (body, response))
    }
}
