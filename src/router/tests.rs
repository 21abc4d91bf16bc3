//! A simulation: many calls on servers that fail in all the ways they do, on a virtual clock. An observer of its own keeps
//! what must hold at each step. Every seed can be repeated: `RITELLM_SEED=7 RITELLM_CALLS=1000000 cargo test simulation_of`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;

use super::breaker::Change;
use super::call::RoutedCall;
use super::config::{Config, DeploymentConfig, GroupConfig};
use super::decision::{Attempt, AttemptId, CallSpec, Decision, Event, Failure, Outlook, Time};
use super::options::{Hedge, HedgeAfter};
use super::state::State;
use crate::error::{Error, ErrorKind};
use crate::types::rate_limit::FailureClass;

struct Random(Rng);

impl Outlook for Random {
    fn random(&mut self) -> f64 {
        self.0.f64()
    }
}

fn seconds(number: f64) -> Duration {
    Duration::from_secs_f64(number)
}

/// What happens next, and to which call.
#[derive(Debug, Clone, PartialEq)]
enum Happening {
    Arrival,
    /// Unless the call was told something else meanwhile.
    Due(u64),
    Attempt(Event),
    /// The caller gives up.
    Cancelled,
    /// A server gets better or worse.
    Weather(usize),
}

/// Condition of a server.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Condition {
    Well,
    Refused,
    Failing,
    Flaky,
    Slow,
    Hanging,
    Overloaded,
    WrongKey,
    NoQuota,
}

const CONDITIONS: [Condition; 8] = [
    Condition::Refused,
    Condition::Failing,
    Condition::Flaky,
    Condition::Slow,
    Condition::Hanging,
    Condition::Overloaded,
    Condition::WrongKey,
    Condition::NoQuota,
];

/// What the observer knows of a deployment, from what the servers said alone.
#[derive(Debug, Clone, Default)]
struct Observed {
    in_flight: u32,
    attempts: u64,
    ended: u64,
    /// Time before which it must not be asked, and true once that has been said: afterwards one attempt at a time.
    closed_until: Option<Time>,
    /// Attempts that began since then.
    probes: u32,
}

struct Underway {
    call: RoutedCall,
    end: Time,
    /// Attempts under way, and true of those that began as probes.
    attempts: Vec<(AttemptId, usize, bool)>,
    answered: Option<AttemptId>,
    /// Number of decisions: a timer of an earlier one is void.
    timer: u64,
    made: usize,
}

/// What came of the calls.
#[derive(Debug, Default)]
struct Tally {
    succeeded: u64,
    failed: u64,
    cancelled: u64,
    attempts: u64,
    rate_limited: u64,
    kinds: BTreeMap<String, u64>,
}

struct Simulation {
    shared: Arc<Mutex<State>>,
    random: Random,
    now: Time,
    queue: BinaryHeap<Reverse<(Time, u64)>>,
    happenings: BTreeMap<u64, (u64, Happening)>,
    number: u64,
    calls: BTreeMap<u64, Underway>,
    arrivals: u64,
    gap: f64,
    conditions: Vec<Condition>,
    observed: Vec<Observed>,
    quota_group: Vec<usize>,
    /// End of each quota group's pause, as its provider asked.
    paused_until: Vec<Time>,
    /// Answers that each quota group gives in a second, and those that are left of it.
    quotas: Vec<(f64, f64, Time)>,
    tally: Tally,
}

const DEPLOYMENTS: usize = 50;

impl Simulation {
    fn new(seed: u64, calls: u64) -> Self {
        println!("seed {seed}");
        let mut random = Rng::with_seed(seed);
        let strategies = ["weighted", "least_busy", "latency", "usage", "cost", "ordered", "affinity"];
        let mut config = Config {
            strategy: Some(strategies[(seed % 7) as usize].into()),
            hedge: seed.is_multiple_of(2).then_some(Hedge { after: HedgeAfter::Quantile(0.95), budget: 0.05 }),
            ..Config::default()
        };
        let groups = [("fast", 24), ("smart", 16), ("last", 10)];
        let mut index = 0;
        for (name, number) in groups {
            let deployments = (0..number).map(|_| {
                index += 1;
                DeploymentConfig {
                    provider: "p".into(),
                    model: format!("m{index}"),
                    weight: Some(random.f64() * 4.0 + 0.5),
                    order: i64::from(index % 8 == 0),
                    // Two or three share a quota.
                    quota_group: Some(format!("q{}", index * 2 / 5)),
                    ..DeploymentConfig::default()
                }
            });
            config.groups.push(GroupConfig {
                name: name.into(),
                deployments: deployments.collect(),
                is_embedding: false,
            });
        }
        config.fallbacks = vec![("fast".into(), vec!["smart".into()]), ("smart".into(), vec!["last".into()])];
        let plan = Arc::new(config.compile().unwrap());
        let quota_group = plan.deployments.iter().map(|deployment| deployment.quota_group).collect();
        let state = State::new(plan.clone(), || random.f64());
        let mut simulation = Self {
            shared: Arc::new(Mutex::new(state)),
            now: seconds(1000.0),
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            number: 0,
            calls: BTreeMap::new(),
            arrivals: calls,
            gap: 0.005 + random.f64() * 0.05,
            conditions: vec![Condition::Well; DEPLOYMENTS],
            observed: vec![Observed::default(); DEPLOYMENTS],
            quota_group,
            paused_until: vec![Time::ZERO; plan.quota_groups.len()],
            quotas: plan.quota_groups.iter().map(|_| (0.5 * 100f64.powf(random.f64()), 5.0, Time::ZERO)).collect(),
            tally: Tally::default(),
            random: Random(random),
        };
        simulation.after(0.0, 0, Happening::Arrival);
        for deployment in 0..DEPLOYMENTS {
            let first = simulation.random.0.f64() * 50.0;
            simulation.after(first, 0, Happening::Weather(deployment));
        }
        simulation
    }

    fn after(&mut self, delay: f64, call: u64, happening: Happening) {
        self.number += 1;
        self.queue.push(Reverse((self.now + seconds(delay), self.number)));
        self.happenings.insert(self.number, (call, happening));
    }

    fn run(mut self) -> Tally {
        while let Some(Reverse((time, number))) = self.queue.pop() {
            self.now = time;
            let (call, happening) = self.happenings.remove(&number).unwrap();
            match happening {
                Happening::Arrival => self.arrive(),
                Happening::Weather(deployment) => {
                    if self.arrivals > 0 {
                        self.change_weather(deployment);
                    }
                }
                Happening::Cancelled => {
                    if let Some(mut underway) = self.calls.remove(&call) {
                        self.tally.cancelled += 1;
                        self.forget_attempts(&mut underway, None);
                    }
                }
                Happening::Due(timer) => {
                    if self.calls.get(&call).is_some_and(|underway| underway.timer == timer) {
                        self.tell(call, Event::Due);
                    }
                }
                Happening::Attempt(event) => self.attempt_reports(call, event),
            }
            self.check_counts();
        }
        assert!(self.calls.is_empty(), "every call ends");
        let state = self.shared.lock().unwrap();
        for (deployment, observed) in self.observed.iter().enumerate() {
            let counts = state.counts(deployment);
            assert_eq!(state.slot(deployment).in_flight, 0);
            assert_eq!(counts.attempts, observed.attempts);
            assert_eq!(counts.attempts, counts.successes + counts.failures + counts.cancelled);
            assert_eq!(counts.attempts, observed.ended);
        }
        drop(state);
        self.tally
    }

    fn check_counts(&self) {
        let state = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        for (deployment, observed) in self.observed.iter().enumerate() {
            assert_eq!(state.slot(deployment).in_flight, observed.in_flight, "in flight at {deployment}");
        }
    }

    fn change_weather(&mut self, deployment: usize) {
        let was_well = self.conditions[deployment] == Condition::Well;
        let random = &mut self.random.0;
        self.conditions[deployment] =
            if was_well { CONDITIONS[random.usize(..CONDITIONS.len())] } else { Condition::Well };
        let mean = if was_well { 40.0 } else { 100.0 };
        let delay = -mean * (1.0 - random.f64()).ln();
        self.after(delay, 0, Happening::Weather(deployment));
    }

    fn arrive(&mut self) {
        self.arrivals -= 1;
        let id = self.number;
        let random = &mut self.random.0;
        let total = [5.0, 30.0, 120.0][random.usize(..3)];
        let spec = CallSpec {
            group: random.usize(..2),
            end: Some(self.now + seconds(total)),
            max_retries: random.u32(..4),
            is_stream: random.bool(),
            is_repeatable: random.u8(..10) > 0,
            affinity: random.bool().then(|| crate::types::lru::mix(random.u64(..100))),
            ..CallSpec::default()
        };
        let end = spec.end.unwrap();
        let gives_up = random.u8(..20) == 0;
        let patience = random.f64() * 3.0;
        let gap = -self.gap * (1.0 - random.f64()).ln();
        let call = RoutedCall::new(&self.shared, spec);
        let underway = Underway { call, end, attempts: Vec::new(), answered: None, timer: 0, made: 0 };
        self.calls.insert(id, underway);
        if gives_up {
            self.after(patience, id, Happening::Cancelled);
        }
        if self.arrivals > 0 {
            self.after(gap, 0, Happening::Arrival);
        }
        self.tell(id, Event::Started);
    }

    /// An attempt's event, unless it was aborted.
    fn attempt_reports(&mut self, call: u64, event: Event) {
        let (Event::Answered(id) | Event::Failed(id, _) | Event::Succeeded(id)) = event else { unreachable!() };
        let Some(underway) = self.calls.get_mut(&call) else { return };
        let Some(at) = underway.attempts.iter().position(|(attempt, ..)| *attempt == id) else { return };
        if !matches!(event, Event::Answered(_)) {
            let (_, deployment, is_probe) = underway.attempts.remove(at);
            self.ended(deployment, is_probe);
        }
        if let Event::Failed(id, failure) = &event {
            let deployment = self.calls[&call].call.attempts()[*id].deployment;
            self.observe_failure(deployment, failure);
        }
        self.tell(call, event);
    }

    fn ended(&mut self, deployment: usize, is_probe: bool) {
        let observed = &mut self.observed[deployment];
        observed.in_flight -= 1;
        observed.ended += 1;
        observed.probes -= u32::from(is_probe && observed.probes > 0);
    }

    fn observe_failure(&mut self, deployment: usize, failure: &Failure) {
        if let (FailureClass::Rate, Some(pause)) = (failure.class, failure.retry_after) {
            let until = &mut self.paused_until[self.quota_group[deployment]];
            *until = (*until).max(self.now + pause);
            self.tally.rate_limited += 1;
        }
    }

    fn tell(&mut self, call: u64, event: Event) {
        let mut underway = self.calls.remove(&call).unwrap();
        let decision = underway.call.next(self.now, event.clone(), &mut self.random);
        underway.timer += 1;
        for notice in underway.call.take_notices() {
            let observed = &mut self.observed[notice.deployment];
            let until = match notice.change {
                Change::Closed => None,
                Change::Opened(until) => Some(until),
                Change::Out(_) => Some(self.now + seconds(300.0)),
            };
            observed.closed_until = until;
            observed.probes = 0;
        }
        if let Event::Answered(id) | Event::Succeeded(id) = event {
            assert!(underway.answered.is_none_or(|answered| answered == id), "one answer");
            underway.answered = Some(id);
            self.forget_attempts(&mut underway, Some(id));
        }
        match decision {
            Decision::Attempt(attempt) => {
                assert!(underway.attempts.is_empty(), "none other is under way");
                self.attempt(call, &mut underway, &attempt);
            }
            Decision::Race(attempt) => {
                assert_eq!(underway.attempts.len(), 1);
                self.attempt(call, &mut underway, &attempt);
            }
            Decision::Continue { due_after } => {
                assert!(!underway.attempts.is_empty());
                if let Some(delay) = due_after {
                    self.after(delay.as_secs_f64(), call, Happening::Due(underway.timer));
                }
            }
            Decision::Send(_) => panic!("none waits in a line"),
            Decision::Deliver(id) => assert_eq!(underway.answered, Some(id)),
            Decision::Wait { until, .. } => {
                assert!(underway.attempts.is_empty());
                assert!(until >= self.now && until < underway.end, "within the deadline");
                self.after((until - self.now).as_secs_f64(), call, Happening::Due(underway.timer));
            }
            Decision::Done => {
                assert!(underway.attempts.is_empty());
                self.tally.succeeded += 1;
                return;
            }
            Decision::Fail(fail) => {
                self.forget_attempts(&mut underway, None);
                self.tally.failed += 1;
                *self.tally.kinds.entry(format!("{:?}", fail.kind)).or_default() += 1;
                return;
            }
        }
        self.calls.insert(call, underway);
    }

    fn forget_attempts(&mut self, underway: &mut Underway, but: Option<AttemptId>) {
        let (kept, aborted) = underway.attempts.drain(..).partition(|(id, ..)| Some(*id) == but);
        underway.attempts = kept;
        let aborted: Vec<(AttemptId, usize, bool)> = aborted;
        for (_, deployment, is_probe) in aborted {
            self.ended(deployment, is_probe);
        }
    }

    /// Makes an attempt: checks that it may be made, and lets the server decide what comes of it.
    fn attempt(&mut self, call: u64, underway: &mut Underway, attempt: &Attempt) {
        let deployment = attempt.deployment;
        assert!(underway.answered.is_none(), "none after an answer");
        assert!(self.now < underway.end, "none after the deadline");
        assert!(self.now >= self.paused_until[self.quota_group[deployment]], "none while its quota pauses");
        assert_eq!(attempt.id, underway.made);
        underway.made += 1;
        let observed = &mut self.observed[deployment];
        let is_probe = match observed.closed_until {
            Some(until) => {
                assert!(self.now >= until, "none while it is out");
                observed.probes += 1;
                assert!(observed.probes == 1, "one probe at a time");
                true
            }
            None => false,
        };
        observed.attempts += 1;
        observed.in_flight += 1;
        self.tally.attempts += 1;
        underway.attempts.push((attempt.id, deployment, is_probe));
        if let Some(delay) = attempt.limits.race_after {
            self.after(delay.as_secs_f64(), call, Happening::Due(underway.timer));
        }
        let (delay, result) = self.serve(deployment);
        let longest = (underway.end - self.now).min(attempt.limits.limit.unwrap_or(Duration::MAX)).as_secs_f64();
        if delay > longest {
            let failure = Failure::new(&Error::new(ErrorKind::Timeout, ""), true, true);
            return self.after(longest, call, Happening::Attempt(Event::Failed(attempt.id, failure)));
        }
        match result {
            Err(failure) => self.after(delay, call, Happening::Attempt(Event::Failed(attempt.id, failure))),
            Ok(()) if underway.call.spec.is_stream => {
                self.after(delay, call, Happening::Attempt(Event::Answered(attempt.id)));
                let rest = (underway.end - self.now).as_secs_f64();
                let breaks = self.random.0.u8(..50) == 0;
                let event = if breaks || delay * 3.0 > rest {
                    let error = Error::new(ErrorKind::IncompleteStream, "");
                    Event::Failed(attempt.id, Failure::new(&error, true, true))
                } else {
                    Event::Succeeded(attempt.id)
                };
                self.after((delay * 3.0).min(rest), call, Happening::Attempt(event));
            }
            Ok(()) => self.after(delay, call, Happening::Attempt(Event::Succeeded(attempt.id))),
        }
    }

    /// Returns when a server answers, and what.
    fn serve(&mut self, deployment: usize) -> (f64, Result<(), Failure>) {
        let fail = |kind, status: Option<u16>, retry_after: Option<f64>| {
            let mut error = Error::new(kind, "");
            error.status = status;
            error.retry_after = retry_after.map(seconds);
            let is_repeatable = !matches!(kind, ErrorKind::Authentication | ErrorKind::BadRequest);
            let sent = kind != ErrorKind::ApiConnection;
            Err(Failure::new(&error, is_repeatable, sent))
        };
        let (rate, left, since) = &mut self.quotas[self.quota_group[deployment]];
        *left = (*left + (self.now - *since).as_secs_f64() * *rate).min(5.0);
        *since = self.now;
        let random = &mut self.random.0;
        let usual = 0.3 * (0.5 + random.f64()) * if random.u8(..50) == 0 { 10.0 } else { 1.0 };
        match self.conditions[deployment] {
            Condition::Refused => return (0.001, fail(ErrorKind::ApiConnection, None, None)),
            Condition::Failing => return (0.05, fail(ErrorKind::InternalServer, Some(500), None)),
            Condition::Flaky if random.u8(..10) < 7 => {
                return (usual, fail(ErrorKind::InternalServer, Some(500), None));
            }
            Condition::Hanging => return (f64::MAX, Ok(())),
            Condition::Overloaded => return (0.02, fail(ErrorKind::ServiceUnavailable, Some(503), Some(2.0))),
            Condition::WrongKey => return (0.02, fail(ErrorKind::Authentication, Some(401), None)),
            Condition::NoQuota => {
                let mut failure = fail(ErrorKind::RateLimit, Some(429), None).unwrap_err();
                failure.class = FailureClass::QuotaFatal;
                return (0.02, Err(failure));
            }
            _ => {}
        }
        if *left < 1.0 {
            let retry_after = random.bool().then(|| (1.0 - *left) / *rate + random.f64() * 5.0);
            return (0.01, fail(ErrorKind::RateLimit, Some(429), retry_after));
        }
        *left -= 1.0;
        if random.u8(..100) == 0 {
            return (0.02, fail(ErrorKind::BadRequest, Some(400), None));
        }
        (if self.conditions[deployment] == Condition::Slow { usual * 10.0 } else { usual }, Ok(()))
    }
}

fn simulate(seed: u64, calls: u64) -> Tally {
    let tally = Simulation::new(seed, calls).run();
    println!("seed {seed}: {tally:?}");
    assert_eq!(tally.succeeded + tally.failed + tally.cancelled, calls);
    tally
}

#[test]
fn simulation_of_fifty_deployments() {
    let number = |name: &str, usual: u64| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let first = number("RITELLM_SEED", 0);
    let mut sums = [0; 4];
    for seed in first..first + number("RITELLM_SEEDS", 7) {
        let tally = simulate(seed, number("RITELLM_CALLS", 500));
        let outcomes = [tally.succeeded, tally.failed, tally.cancelled, tally.attempts];
        sums.iter_mut().zip(outcomes).for_each(|(sum, count)| *sum += count);
    }
    let [succeeded, failed, cancelled, attempts] = sums;
    println!(
        "figure: {succeeded} calls succeeded, {failed} failed, {cancelled} were cancelled, with {attempts} attempts"
    );
}

/// Plain calls, each on its own, on servers of which 2 % of the answers take ten times as long. Returns the latencies,
/// sorted, and the number of attempts.
fn latencies(hedge: Option<Hedge>, is_stream: bool, calls: usize, seed: u64) -> (Vec<f64>, u64) {
    let mut config = Config { hedge, strategy: Some("least_busy".into()), ..Config::default() };
    let deployment = |index: usize| DeploymentConfig {
        provider: "p".into(),
        model: format!("m{index}"),
        ..DeploymentConfig::default()
    };
    let deployments = (0..3).map(deployment).collect();
    config.groups.push(GroupConfig { name: "fast".into(), deployments, is_embedding: false });
    let shared = Arc::new(Mutex::new(State::new(Arc::new(config.compile().unwrap()), || 0.5)));
    let mut random = Random(Rng::with_seed(seed));
    let mut attempts = 0;
    let mut latencies = Vec::new();
    for number in 0..calls {
        let start = seconds(number as f64 * 0.05);
        let spec = CallSpec { is_repeatable: true, is_stream, max_retries: 2, ..CallSpec::default() };
        let mut call = RoutedCall::new(&shared, spec);
        let mut serve = |start: Time, attempt: &Attempt, random: &mut Random| {
            attempts += 1;
            let usual = 0.1 * (0.8 + 0.4 * random.0.f64());
            (start + seconds(if random.0.u8(..50) == 0 { usual * 10.0 } else { usual }), attempt.id)
        };
        let Decision::Attempt(first) = call.next(start, Event::Started, &mut random) else { panic!("an attempt") };
        let mut answers = vec![serve(start, &first, &mut random)];
        let mut due = first.limits.race_after.map(|delay| start + delay);
        let (end, id) = loop {
            let earliest = *answers.iter().min().unwrap();
            let Some(time) = due.filter(|due| *due < earliest.0) else { break earliest };
            due = match call.next(time, Event::Due, &mut random) {
                Decision::Race(second) => {
                    answers.push(serve(time, &second, &mut random));
                    None
                }
                Decision::Continue { due_after } => due_after.map(|delay| time + delay),
                other => panic!("{other:?}"),
            };
        };
        if is_stream {
            assert_eq!(call.next(end, Event::Answered(id), &mut random), Decision::Deliver(id));
        }
        assert_eq!(call.next(end, Event::Succeeded(id), &mut random), Decision::Done);
        latencies.push((end - start).as_secs_f64());
    }
    latencies.sort_by(f64::total_cmp);
    (latencies, attempts)
}

#[test]
fn hedging_halves_the_slowest_answers_within_its_budget() {
    let hedge = Hedge::quantile("p95", None).unwrap();
    for seed in 0..3 {
        let calls = 3_000;
        let p99 = |latencies: &[f64]| latencies[calls * 99 / 100];
        let (plain, attempts) = latencies(None, false, calls, seed);
        assert_eq!(attempts, calls as u64);
        for is_stream in [false, true] {
            let (hedged, attempts) = latencies(Some(hedge), is_stream, calls, seed);
            println!("seed {seed}: p99 {} → {}, {attempts} attempts", p99(&plain), p99(&hedged));
            assert!(p99(&hedged) * 2.0 <= p99(&plain), "{} → {}", p99(&plain), p99(&hedged));
            assert!(attempts * 100 <= calls as u64 * 105, "{attempts} attempts");
        }
    }
}
