//! Several processes in virtual time: each has the state of a router, and all have one ledger for each deployment.

use std::cell::RefCell;
use std::sync::Arc;

use bytemuck::Zeroable;
use fastrand::Rng;

use super::*;
use crate::error::{Error, ErrorKind};
use crate::limits::{Budget, Ledger};
use crate::router::breaker::Change;
use crate::router::call::RoutedCall;
use crate::router::config::{Config, DeploymentConfig, GroupConfig};
use crate::router::decision::{AttemptId, CallSpec, Decision, Event, Failure, Outlook};

const STEP: Duration = Duration::from_millis(20);
/// Time that an answer takes.
const LATENCY: Duration = Duration::from_millis(200);

/// One process.
struct Process<'a> {
    router: u64,
    state: Arc<Mutex<State>>,
    sharing: Sharing,
    ledgers: &'a RefCell<[Ledger; 2]>,
    now: Time,
    calls: Vec<(Time, RoutedCall, AttemptId, DeploymentIndex)>,
}

impl SharedBreakers for Process<'_> {
    fn seen(&self, deployment: DeploymentIndex) -> Option<limits::SharedBreaker> {
        Some(self.ledgers.borrow_mut()[deployment].member(0).breaker(self.now))
    }

    fn report(&self, deployment: DeploymentIndex, report: BreakerReport) -> bool {
        self.ledgers.borrow_mut()[deployment].member(0).report_breaker(self.now, self.router, report);
        true
    }

    fn claim_probe(&self, deployment: DeploymentIndex) -> ProbeClaim {
        self.ledgers.borrow_mut()[deployment].member(0).claim_probe(self.now, self.router)
    }
}

struct View<'a, 'b>(&'a Process<'b>);

impl Outlook for View<'_, '_> {
    fn random(&mut self) -> f64 {
        0.5
    }

    fn claim_probe(&mut self, deployment: DeploymentIndex) -> Option<Time> {
        claim(deployment, self.0.now, self.0)
    }
}

impl<'a> Process<'a> {
    fn new(router: u64, ledgers: &'a RefCell<[Ledger; 2]>) -> Self {
        let deployment =
            |model: &str| DeploymentConfig { provider: "p".into(), model: model.into(), ..DeploymentConfig::default() };
        let deployments = vec![deployment("a"), deployment("b")];
        let group = GroupConfig { name: "g".into(), deployments, is_embedding: false };
        let config = Config { groups: vec![group], strategy: Some("ordered".into()), ..Config::default() };
        let state = State::new(Arc::new(config.compile().unwrap()), || 0.0);
        Self {
            router,
            state: Arc::new(Mutex::new(state)),
            sharing: Sharing::default(),
            ledgers,
            now: Time::ZERO,
            calls: Vec::new(),
        }
    }

    /// Takes an event of a call, as the driver does. Returns the deployment of the next attempt.
    fn tell(&mut self, mut call: RoutedCall, event: Event) -> Option<DeploymentIndex> {
        tell(&self.state, self);
        if self.sharing.is_due(self.now) {
            look(&self.state, self.now, self);
        }
        let decision = call.next(self.now, event, &mut View(self));
        let begun = match decision {
            Decision::Attempt(attempt) => {
                self.calls.push((self.now + LATENCY, call, attempt.id, attempt.deployment));
                Some(attempt.deployment)
            }
            _ => None,
        };
        tell(&self.state, self);
        begun
    }

    fn start(&mut self) -> Option<DeploymentIndex> {
        let spec = CallSpec { max_retries: 2, is_repeatable: true, ..CallSpec::default() };
        let call = RoutedCall::new(&self.state, spec);
        self.tell(call, Event::Started)
    }

    /// Ends the attempts whose time has come.
    fn end(&mut self, fails: impl Fn(DeploymentIndex) -> bool) {
        while let Some(at) = self.calls.iter().position(|call| call.0 <= self.now) {
            let (_, call, id, deployment) = self.calls.swap_remove(at);
            if fails(deployment) {
                let failure = Failure::new(&Error::new(ErrorKind::InternalServer, ""), true, true);
                self.tell(call, Event::Failed(id, failure));
            } else {
                self.tell(call, Event::Succeeded(id));
            }
        }
    }

    fn is_closed(&self) -> bool {
        lock(&self.state).status(self.now)[0].breaker == "closed"
    }
}

/// Eight processes, and a deployment that fails for 55 s.
fn outage(seed: u64) {
    let mut random = Rng::with_seed(seed);
    let ledgers = RefCell::new([Ledger::zeroed(); 2]);
    let mut processes: Vec<_> = (1..=8).map(|router| Process::new(router, &ledgers)).collect();
    let is_open = |now| ledgers.borrow_mut()[0].member(0).breaker(now).found != BreakerReport::Closed;
    let (down_from, down_until) = (Duration::from_secs(5), Duration::from_secs(60));
    let (mut opened_at, mut closed_at, mut probes) = (None::<Time>, None::<Time>, 0);
    let mut now = Time::ZERO;
    while now < Duration::from_secs(100) {
        now += STEP;
        let is_down = (down_from..down_until).contains(&now);
        for index in 0..processes.len() {
            let process = &mut processes[index];
            process.now = now;
            process.end(|deployment| is_down && deployment == 0);
            let was_open = is_open(now) && opened_at.is_some_and(|at| now > at + LOOK_AGAIN);
            if random.f64() < 0.2 && process.start() == Some(0) && was_open {
                probes += 1;
                let under_way = processes.iter().flat_map(|process| &process.calls).filter(|call| call.3 == 0);
                assert_eq!(under_way.count(), 1, "seed {seed}, at {now:?}");
            }
        }
        match (opened_at, closed_at) {
            (None, _) => opened_at = is_open(now).then_some(now),
            (Some(_), None) => closed_at = (!is_open(now)).then_some(now),
            _ => {}
        }
    }
    // Open for about 5, 10, 20 and 40 s: the probe after that succeeds.
    let closed_at = closed_at.expect("it answers again");
    assert!(probes == 4 && closed_at > down_until, "seed {seed}: {probes} probes, {closed_at:?}");
    assert!(processes.iter().all(Process::is_closed), "seed {seed}");
}

#[test]
fn one_process_of_many_probes_and_all_hear_of_it() {
    for seed in 0..2 {
        outage(seed);
    }
}

#[test]
#[ignore = "takes a minute"]
fn one_process_of_many_probes_whatever_happens() {
    for seed in 0..100 {
        outage(seed);
    }
}

#[test]
fn a_process_hears_what_another_one_found_and_says_so_once() {
    let ledgers = RefCell::new([Ledger::zeroed(); 2]);
    let (mut one, mut other) = (Process::new(1, &ledgers), Process::new(2, &ledgers));
    assert_eq!((one.start(), other.start()), (Some(0), Some(0)));
    (one.now, other.now) = (LATENCY, LATENCY);
    other.end(|_| false);
    let (_, call, id, _) = one.calls.remove(0);
    let mut error = Error::new(ErrorKind::PermissionDenied, "");
    error.status = Some(403);
    one.tell(call, Event::Failed(id, Failure::new(&error, false, true)));
    let notices = look(&other.state, other.now, &other);
    let changes: Vec<_> = notices.iter().map(|notice| (notice.deployment, notice.change)).collect();
    assert_eq!(changes, [(0, Change::Out(crate::types::rate_limit::FailureClass::Auth))]);
    assert_eq!(look(&other.state, other.now, &other).len(), 0);
    assert_eq!(other.start(), Some(1));
    // Five minutes later one of them probes; the call that does is given up.
    (one.now, other.now) = (Duration::from_secs(301), Duration::from_secs(301));
    assert_eq!(one.start(), Some(0));
    assert_eq!(other.start(), Some(1));
    one.calls.clear();
    one.now += LOOK_AGAIN;
    tell(&one.state, &one);
    other.now += CLAIM_AGAIN.1;
    assert_eq!(other.start(), Some(0));
    // The user's word holds for all.
    lock(&one.state).enable("p/a").unwrap();
    tell(&one.state, &one);
    let notices = look(&other.state, other.now, &other);
    assert_eq!(notices.iter().map(|notice| notice.change).collect::<Vec<_>>(), [Change::Closed]);
}
