//! The retry loop by a clock that stands still until everybody sleeps.

use std::time::Duration;

use super::*;
use crate::error::{Error, ErrorKind};
use crate::limits::Priority;
use crate::providers::{DeploymentArgs, resolve};
use crate::transport::Admission;
use crate::transport::deadline::{Deadline, Timeouts};
use crate::types::http::HttpResponse;
use crate::types::secret::Secret;
use tokio::time::Instant;

fn call(max_retries: u32) -> Call {
    let given = DeploymentArgs { api_key: Some(Secret::new("sk-test-0123456789")), ..DeploymentArgs::default() };
    let deployment = resolve("openai/m", &given, &|_| None).unwrap();
    let timeouts = Timeouts::default();
    let max_retry_after = MAX_RETRY_AFTER;
    let request = Request::default();
    Call {
        deployment,
        request,
        timeouts,
        max_retries,
        max_retry_after,
        allow_http: false,
        priority: Priority::default(),
        is_routed: false,
        own_limits: None,
        deployment_name: None,
        progress: None,
        attempt_log: None,
        callbacks: None,
        budget: None,
        admission_observer: None,
    }
}

fn state_of<'a>(transport: &'a Transport, call: &Call) -> CallState<'a> {
    CallState::start(transport, call, Arc::default())
}

/// An attempt that always fails, and the times at which it did.
struct Failing<'a, F> {
    call: Call,
    state: CallState<'a>,
    failure: F,
    times: Vec<Instant>,
}

impl<F: Fn() -> Box<Error> + Send> attempt::Attempt for Failing<'_, F> {
    type Output = ();

    fn decide(&mut self, event: Event) -> Decision {
        self.state.next(&self.call, event)
    }

    async fn attempt(&mut self) -> Result<()> {
        self.times.push(Instant::now());
        Err((self.failure)())
    }
}

/// Fails as `failure` says until it is given up; the pauses between, and the error.
async fn fail(
    max_retries: u32,
    total: Option<Duration>,
    failure: impl Fn() -> Box<Error> + Send,
) -> (Vec<Duration>, Box<Error>) {
    let mut call = call(max_retries);
    call.timeouts.total = total;
    let transport = Transport::new(&Arc::default());
    let state = state_of(&transport, &call);
    let mut failing = Failing { call, state, failure, times: Vec::new() };
    let error = repeat(&mut failing, Event::Started).await.unwrap_err();
    (failing.times.windows(2).map(|times| times[1] - times[0]).collect(), error)
}

fn unavailable() -> Box<Error> {
    Error::new(ErrorKind::ServiceUnavailable, "busy")
}

fn with_header(name: &'static str, value: &str) -> Box<Error> {
    let mut map = http::HeaderMap::new();
    map.insert(name, value.parse().unwrap());
    let headers = (&map).into();
    call(0).deployment.provider.decode_error(&HttpResponse { received: 0, status: 429, headers, body: "busy".into() })
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_up_to_their_cap() {
    let (pauses, error) = fail(20, None, unavailable).await;
    assert_eq!((pauses.len(), error.retries), (20, 20));
    for (number, pause) in pauses.iter().enumerate() {
        let most = Duration::from_millis(500 * (1 << number.min(4)));
        // The clock counts whole milliseconds.
        assert!(*pause <= most + Duration::from_millis(1), "pause {number} was {pause:?}");
    }
    // All of twenty jittered pauses are short about once in the age of the universe.
    assert!(pauses.iter().sum::<Duration>() > Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn the_total_deadline_holds_across_retries() {
    let started = Instant::now();
    let (pauses, error) = fail(u32::MAX, Some(Duration::from_secs(30)), || with_header("retry-after", "7")).await;
    // A fifth pause would end after the deadline, so the fifth failure is the caller's at once.
    assert_eq!(pauses, [Duration::from_secs(7); 4]);
    assert_eq!((error.kind, error.retries), (ErrorKind::RateLimit, 4));
    assert_eq!(started.elapsed(), Duration::from_secs(28));
}

#[tokio::test(start_paused = true)]
async fn what_the_provider_asks_for_is_what_is_waited() {
    for (name, value, pause) in
        [("retry-after", "3", 3000), ("retry-after", "0.25", 250), ("retry-after-ms", "1500", 1500)]
    {
        let (pauses, _) = fail(2, None, || with_header(name, value)).await;
        assert_eq!(pauses, [Duration::from_millis(pause); 2], "{name}: {value}");
    }
    for value in ["61", "1e999", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        let (pauses, error) = fail(2, None, || with_header("retry-after", value)).await;
        assert!(pauses.is_empty() && error.retry_after.is_some(), "{value}");
    }
}

#[tokio::test(start_paused = true)]
async fn work_ends_with_the_deadline() {
    let mut deadline = Deadline::start(Some(Duration::from_secs(5)));
    let work = || async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        Ok(())
    };
    let admission = Admission::default();
    deadline.run(&admission, pin!(work())).await.unwrap();
    let error = deadline.run(&admission, pin!(work())).await.unwrap_err();
    assert_eq!((error.kind, deadline.elapsed()), (ErrorKind::Timeout, Duration::from_secs(5)));
}

/// Waits in line for so many seconds.
async fn wait(state: &CallState<'_>, queue: Option<u64>, seconds: u64) -> Option<()> {
    let line = tokio::time::sleep(Duration::from_secs(seconds));
    state.admission.wait(queue.map(Duration::from_secs), &state.stats.connection_stats, line).await
}

#[tokio::test(start_paused = true)]
async fn time_in_line_before_the_first_try_is_not_the_call_s() {
    let transport = Transport::new(&Arc::default());
    let mut call = call(0);
    call.timeouts.total = Some(Duration::from_secs(5));
    let mut state = state_of(&transport, &call);
    wait(&state, None, 60).await.unwrap();
    let CallState { deadline, admission, stats, .. } = &mut state;
    // In line for a connection, and then at work.
    let work = async {
        admission.wait(None, &stats.connection_stats, tokio::time::sleep(Duration::from_secs(60))).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        Ok(())
    };
    deadline.run(admission, pin!(work)).await.unwrap();
    deadline.admit(admission);
    assert_eq!(deadline.remaining(), Some(Duration::from_secs(1)));
    // Later on, waiting counts.
    let work = async {
        admission.wait(None, &stats.connection_stats, tokio::time::sleep(Duration::from_secs(60))).await;
        Ok(())
    };
    let error = deadline.run(admission, pin!(work)).await.unwrap_err();
    assert_eq!((error.kind, deadline.elapsed()), (ErrorKind::Timeout, Duration::from_secs(125)));
    assert_eq!(stats.connection_stats.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn all_waiting_of_a_call_has_one_limit() {
    let transport = Transport::new(&Arc::default());
    let state = state_of(&transport, &call(0));
    assert_eq!(wait(&state, Some(10), 6).await, Some(()));
    let before = Instant::now();
    assert_eq!(wait(&state, Some(10), 6).await, None);
    assert_eq!(before.elapsed(), Duration::from_secs(4));
}
