//! A day of 1,000 workers on 50 deployments, in virtual time: the state machines of limits and router as the client drives
//! them, against servers that fail, change their limits and close, while workers are killed.
//!
//! Twenty hosts run fifty workers each, which share the host's ledgers; a host uses one of ten groups of five deployments, with
//! accounts of its own, of which two deployments share one. An observer of each quota checks at each step what must hold.
//! Every seed can be repeated: `RITELLM_SEED=7 cargo test --profile long --no-default-features --test simulation -- --ignored`.

mod observer;
mod picture;
mod provider;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytemuck::Zeroable;
use fastrand::Rng;
use observer::Observer;
use picture::GROUPS;
use provider::{Account, Answer, Condition, DAY, MINUTE, Rule};
use ritellm::limits::{self, Admission, Ledger, Limit, Permit, Priority, Quota, QuotaSpec, Ticket, Time, Wait};
use ritellm::router::call::RoutedCall;
use ritellm::router::config::{Config, DeploymentConfig, GroupConfig};
use ritellm::router::decision::{Attempt, CallSpec, Decision, Event, Failure, Outlook, Pause};
use ritellm::router::options::Cooldown;
use ritellm::router::state::State;
use ritellm::types::rate_limit::{FailureClass, Signals, TokenRules, Tokens};

const HOSTS: usize = 20;
const WORKERS: usize = 50;
/// Deployments of a group, and the quota of each.
const QUOTA_OF: [usize; 5] = [0, 0, 1, 2, 3];
const QUOTAS: usize = 4;
const RULES: TokenRules = TokenRules { reserves_max_tokens: true, output_weight: 1, cached_reads_free: false };
/// Longest time until somebody notices that a worker has died.
const REAP: f64 = 1.0;
/// Calls of a job that are under way at once.
const JOB_WIDTH: usize = 48;

fn seconds(number: f64) -> Duration {
    Duration::from_secs_f64(number)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Arrival {
        host: usize,
    },
    Job {
        host: usize,
    },
    /// The line of a worker asks again.
    Poll {
        host: usize,
        worker: usize,
        quota: usize,
    },
    Due {
        call: usize,
        number: u64,
    },
    /// The attempt under way has its answer, or has taken too long.
    Answer {
        call: usize,
        number: u64,
    },
    QueueTimeout {
        call: usize,
        number: u64,
    },
    Kill {
        host: usize,
    },
    Reap {
        host: usize,
        worker: usize,
    },
    Weather {
        deployment: usize,
    },
    LimitChange {
        host: usize,
    },
    Sample,
}

/// A quota that the workers of a host share, and the account that it stands for.
struct Shared {
    ledger: Box<Ledger>,
    account: Account,
    observer: Observer,
    is_adaptive: bool,
}

struct Worker {
    state: Arc<Mutex<State>>,
    quotas: [Quota; QUOTAS],
    wake: [Time; QUOTAS],
    /// The calls in each line.
    lines: [Vec<(Ticket, usize)>; QUOTAS],
    is_alive: bool,
    /// Calls that a job is still to make.
    job: u32,
}

struct Host {
    workers: Vec<Worker>,
    quotas: Vec<Shared>,
    /// Mean of seconds between two interactive calls.
    gap: f64,
}

/// An attempt that was admitted.
struct Flying {
    permit: Permit,
    quota: usize,
    deployment: usize,
    entry: usize,
    answer: Answer,
}

struct Underway {
    host: usize,
    worker: usize,
    routed: RoutedCall,
    call: limits::Call,
    used: Tokens,
    end: Time,
    is_job: bool,
    /// Deployment in whose line the call waits, since none has budget at once.
    queue: Option<usize>,
    attempt: Option<Attempt>,
    ticket: Option<(usize, Ticket)>,
    flying: Option<Flying>,
    /// Number of the step: timers of earlier ones are void.
    number: u64,
}

/// What the decisions see.
struct View<'a> {
    random: &'a mut Rng,
    group: usize,
    ready: [Time; 5],
}

impl Outlook for View<'_> {
    fn random(&mut self) -> f64 {
        self.random.f64()
    }

    fn ready_at(&self, deployment: usize) -> Time {
        deployment.checked_sub(self.group * 5).and_then(|index| self.ready.get(index)).copied().unwrap_or(Time::MAX)
    }
}

/// What came of all calls.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    calls: u64,
    succeeded: u64,
    failed: u64,
    /// Failures for which no deployment was asked: all were closed or out.
    unasked: u64,
    lost: u64,
    attempts: u64,
    rate_limited: u64,
    kills: u64,
    /// Calls that a sibling took while a quota of their group was closed.
    beside_closed: u64,
}

struct World {
    random: Rng,
    now: Time,
    end: Time,
    queue: BinaryHeap<Reverse<(Time, u64, Happening)>>,
    order: u64,
    hosts: Vec<Host>,
    conditions: Vec<Condition>,
    calls: Vec<Option<Box<Underway>>>,
    free: Vec<usize>,
    number: u64,
    tally: Tally,
    plan: Arc<ritellm::router::plan::Plan>,
    samples: Vec<picture::Sample>,
    sample: picture::Sample,
}

fn plan(seed: u64) -> ritellm::router::plan::Plan {
    let strategies = ["weighted", "least_busy", "latency", "ordered"];
    let groups = (0..GROUPS).map(|group| GroupConfig {
        name: format!("group{group}"),
        deployments: (0..5)
            .map(|index| DeploymentConfig {
                provider: "p".into(),
                model: format!("m{group}.{index}"),
                quota_group: Some(format!("q{group}.{}", QUOTA_OF[index])),
                ..DeploymentConfig::default()
            })
            .collect(),
        is_embedding: false,
    });
    Config {
        strategy: Some(strategies[seed as usize % strategies.len()].into()),
        cooldown: Cooldown { ramps_up: false, ..Cooldown::default() },
        groups: groups.collect(),
        ..Config::default()
    }
    .compile()
    .expect("a valid configuration")
}

fn worker(plan: &Arc<ritellm::router::plan::Plan>, random: &mut Rng) -> Worker {
    Worker {
        state: Arc::new(Mutex::new(State::new(plan.clone(), || random.f64()))),
        quotas: std::array::from_fn(|_| Quota::new(0.05)),
        wake: [Time::MAX; QUOTAS],
        lines: Default::default(),
        is_alive: true,
        job: 0,
    }
}

/// Returns a quota of a host: one in twenty is learnt, the others are declared, some by tokens or by the second, too.
fn shared(host: usize, quota: usize, random: &mut Rng) -> Shared {
    let is_adaptive = quota == 3 && host.is_multiple_of(4);
    let limit = if is_adaptive { 600 } else { random.u64(24..90) };
    let tokens = (quota == 2).then_some(limit * 700);
    let per_second = (quota == 1 && host % 2 == 1).then(|| limit.div_ceil(15));
    let per_day = (quota == 1 && host.is_multiple_of(5)).then_some(limit * 500);
    let mut limits = vec![Limit { requests: Some(limit), tokens, ..Limit::per(MINUTE) }];
    limits.extend(per_second.map(|most| Limit { requests: Some(most), ..Limit::per(Duration::from_secs(1)) }));
    if is_adaptive {
        limits.clear();
    }
    let mut ledger = Box::new(Ledger::zeroed());
    ledger
        .declare(&QuotaSpec { limits, adaptive: is_adaptive, ..QuotaSpec::default() })
        .expect("at most eight windows");
    let rule = match (is_adaptive, host % 8) {
        (false, _) => Rule::Sliding,
        (true, 0) => Rule::Bucket,
        (true, _) => Rule::ClockMinute,
    };
    let requests = (!is_adaptive).then_some(limit);
    Shared {
        ledger,
        account: Account::new(rule, limit as f64, per_day, random.bool()),
        observer: Observer::new(requests, tokens, per_second, limit as f64),
        is_adaptive,
    }
}

impl World {
    fn new(seed: u64, length: Duration) -> Self {
        println!("seed {seed}, {} hours: RITELLM_SEED={seed} repeats it", length.as_secs_f64() / 3600.0);
        let mut random = Rng::with_seed(seed);
        let plan = Arc::new(plan(seed));
        let hosts = (0..HOSTS).map(|host| {
            let quotas: Vec<Shared> = (0..QUOTAS).map(|quota| shared(host, quota, &mut random)).collect();
            let limit: f64 = quotas.iter().map(|quota| quota.account.limit).sum();
            let workers = (0..WORKERS).map(|_| worker(&plan, &mut random)).collect();
            Host { workers, quotas, gap: 60.0 / limit }
        });
        let mut world = Self {
            hosts: hosts.collect(),
            random,
            now: DAY,
            end: DAY + length,
            queue: BinaryHeap::new(),
            order: 0,
            conditions: vec![Condition::Well; GROUPS * 5],
            calls: Vec::new(),
            free: Vec::new(),
            number: 0,
            tally: Tally::default(),
            plan,
            samples: Vec::new(),
            sample: picture::Sample::default(),
        };
        let part = length.as_secs_f64() / 86_400.0;
        for host in 0..HOSTS {
            let learnt = world.hosts[host].quotas.iter_mut().filter(|quota| quota.is_adaptive);
            learnt.for_each(|quota| quota.observer.disturb(DAY, DAY + MINUTE));
            world.at(world.now, Happening::Arrival { host });
            let first = world.random.f64() * 7200.0 * part;
            world.at(world.now + seconds(first), Happening::Job { host });
            let first = world.random.f64() * 1800.0 * part.max(0.05);
            world.at(world.now + seconds(first), Happening::Kill { host });
            let first = (1800.0 + world.random.f64() * 7200.0) * part.max(0.2);
            world.at(world.now + seconds(first), Happening::LimitChange { host });
        }
        for deployment in 0..GROUPS * 5 {
            let first = world.random.f64() * 14_400.0 * part.max(0.05);
            world.at(world.now + seconds(first), Happening::Weather { deployment });
        }
        world.at(world.now + picture::EVERY, Happening::Sample);
        world
    }

    fn at(&mut self, time: Time, happening: Happening) {
        self.order += 1;
        self.queue.push(Reverse((time, self.order, happening)));
    }

    fn run(&mut self) {
        while let Some(Reverse((time, _, happening))) = self.queue.pop() {
            self.now = time;
            let goes_on = time < self.end;
            match happening {
                Happening::Arrival { host } if goes_on => self.arrive(host),
                Happening::Job { host } if goes_on => self.begin_job(host),
                Happening::Kill { host } if goes_on => self.kill(host),
                Happening::Weather { deployment } if goes_on => self.change_weather(deployment),
                Happening::LimitChange { host } if goes_on => self.change_limit(host),
                Happening::Sample if goes_on => {
                    let quotas = self.hosts.iter().flat_map(|host| &host.quotas);
                    let limit: f64 = quotas.map(|quota| quota.account.limit).sum();
                    self.sample.limit = limit / 60.0 * picture::EVERY.as_secs_f64();
                    self.samples.push(std::mem::take(&mut self.sample));
                    self.at(time + picture::EVERY, Happening::Sample);
                }
                Happening::Reap { host, worker } => self.reap(host, worker),
                Happening::Poll { host, worker, quota } => {
                    let waits = &mut self.hosts[host].workers[worker].wake[quota];
                    if *waits == time {
                        *waits = Time::MAX;
                        self.pump(host, worker, quota);
                    }
                }
                Happening::Due { call, number } if self.is_at(call, number) => self.tell(call, Event::Due),
                Happening::Answer { call, number } if self.is_at(call, number) => self.answer(call),
                Happening::QueueTimeout { call, number } if self.is_at(call, number) => self.leave_line(call),
                _ => {}
            }
        }
        assert!(self.calls.iter().all(Option::is_none), "every call ends");
        assert_eq!(self.tally.calls, self.tally.succeeded + self.tally.failed + self.tally.lost);
        for host in &mut self.hosts {
            for quota in &mut host.quotas {
                assert_eq!(quota.observer.in_flight, 0);
                let state = host.workers[0].quotas[0].snapshot(&quota.ledger.member(0), self.now).budget;
                assert_eq!((state.in_flight, state.reserved), (0, 0), "nothing is left of calls that have ended");
            }
        }
    }

    fn is_at(&self, call: usize, number: u64) -> bool {
        self.calls[call].as_ref().is_some_and(|underway| underway.number == number)
    }

    /// Part of the limits that interactive calls use: little at night, three quarters in the afternoon.
    fn demand(&self) -> f64 {
        let hour = (self.now.as_secs_f64() / 3600.0) % 24.0;
        0.35 - 0.3 * ((hour - 3.0) / 24.0 * std::f64::consts::TAU).cos()
    }

    fn arrive(&mut self, host: usize) {
        let gap = -(1.0 - self.random.f64()).ln() * self.hosts[host].gap / self.demand();
        self.at(self.now + seconds(gap), Happening::Arrival { host });
        let worker = self.random.usize(..WORKERS);
        if self.hosts[host].workers[worker].is_alive {
            self.start(host, worker, false);
        }
    }

    fn begin_job(&mut self, host: usize) {
        let next = -(1.0 - self.random.f64()).ln() * 18_000.0;
        self.at(self.now + seconds(next), Happening::Job { host });
        let worker = self.random.usize(..WORKERS);
        let chosen = &self.hosts[host].workers[worker];
        if !chosen.is_alive || chosen.job > 0 {
            return;
        }
        // Ten minutes of all limits together.
        let calls = (150.0 / self.hosts[host].gap) as u32;
        for worker in [worker, (worker + 1) % WORKERS, (worker + 2) % WORKERS, (worker + 3) % WORKERS] {
            let chosen = &mut self.hosts[host].workers[worker];
            chosen.job = calls;
            if chosen.is_alive {
                for _ in 0..JOB_WIDTH {
                    self.start(host, worker, true);
                }
            }
        }
    }

    fn start(&mut self, host: usize, worker: usize, is_job: bool) {
        let (total, max_wait) = if is_job { (900.0, 600.0) } else { (120.0, 60.0) };
        let group = host / 2;
        let end = self.now + seconds(total);
        let spec = CallSpec {
            group,
            end: Some(end),
            max_retries: 3,
            max_wait: Some(seconds(max_wait)),
            is_repeatable: true,
            ..CallSpec::default()
        };
        let priority = if is_job { Priority::Bulk } else { Priority::Interactive };
        let (input, most) = (self.random.u64(10..800), self.random.u64(50..500));
        let call = limits::Call { priority, bytes: input * 4, max_tokens: Some(most), rules: RULES };
        let routed = RoutedCall::new(&self.hosts[host].workers[worker].state, spec);
        let underway = Box::new(Underway {
            host,
            worker,
            routed,
            call,
            used: Tokens { input, output: self.random.u64(1..=most) },
            end,
            is_job,
            queue: None,
            attempt: None,
            ticket: None,
            flying: None,
            number: 0,
        });
        let index = self.free.pop().unwrap_or_else(|| {
            self.calls.push(None);
            self.calls.len() - 1
        });
        self.calls[index] = Some(underway);
        self.tally.calls += 1;
        self.tell(index, Event::Started);
    }

    /// Returns the time for which a call would wait at each quota, as the client tells it to its router.
    fn waits(&mut self, host: usize, worker: usize, call: &limits::Call) -> [Duration; QUOTAS] {
        let now = self.now;
        let Host { workers, quotas, .. } = &mut self.hosts[host];
        let of_host = &mut workers[worker];
        std::array::from_fn(|index| {
            let shared = &mut quotas[index];
            let budget = &mut shared.ledger.member(worker);
            let first = match of_host.quotas[index].check(budget, now, call) {
                Ok(()) => Duration::ZERO,
                Err(Wait::Until(time)) => time.saturating_sub(now).max(Duration::from_nanos(1)),
                Err(Wait::Release) => Duration::from_millis(1),
                Err(Wait::Never(_)) => DAY,
            };
            let each = if shared.is_adaptive { Duration::from_millis(1) } else { seconds(60.0 / shared.account.limit) };
            first + each * of_host.lines[index].len() as u32
        })
    }

    fn tell(&mut self, index: usize, mut event: Event) {
        let mut underway = self.calls[index].take().expect("a call that is under way");
        self.number += 1;
        underway.number = self.number;
        loop {
            let (host, worker) = (underway.host, underway.worker);
            let needs_waits = matches!(event, Event::Started | Event::Due | Event::Failed(..));
            let waits = if needs_waits { self.waits(host, worker, &underway.call) } else { [Duration::ZERO; QUOTAS] };
            let group = host / 2;
            let ready = std::array::from_fn(|deployment| match waits[QUOTA_OF[deployment]] {
                _ if underway.queue == Some(group * 5 + deployment) => Time::ZERO,
                Duration::ZERO => Time::ZERO,
                wait => self.now + wait,
            });
            let mut view = View { random: &mut self.random, group, ready };
            let decision = underway.routed.next(self.now, event, &mut view);
            match decision {
                Decision::Attempt(attempt) => {
                    underway.attempt = Some(attempt);
                    self.calls[index] = Some(underway);
                    self.acquire(index);
                    return;
                }
                Decision::Wait { until, why } => {
                    assert!(until < underway.end, "a pause ends within the deadline");
                    let state = self.hosts[host].workers[worker].state.clone();
                    let state = state.lock().expect("nothing panics");
                    // Siblings of other quotas go on at once: none of those that were not asked is free.
                    let well = (0..5).filter(|index| state.slot(group * 5 + index).ready_at <= self.now);
                    let is_first = why == Pause::Unavailable && underway.queue.is_none();
                    if underway.routed.attempts().is_empty() && is_first {
                        assert!(well.clone().all(|index| ready[index] > self.now), "a free deployment is not asked");
                    }
                    let longest = underway.routed.spec.max_wait.unwrap_or(Duration::MAX);
                    let line = well
                        .map(|index| (waits[QUOTA_OF[index]], group * 5 + index))
                        .filter(|(wait, _)| *wait <= longest && !wait.is_zero())
                        .min();
                    drop(state);
                    underway.queue = if is_first { line.map(|(_, deployment)| deployment) } else { None };
                    if underway.queue.is_some() {
                        event = Event::Due;
                        continue;
                    }
                    let number = underway.number;
                    self.calls[index] = Some(underway);
                    self.at(until, Happening::Due { call: index, number });
                    return;
                }
                Decision::Done => {
                    self.tally.succeeded += 1;
                    return self.ended(index, *underway);
                }
                Decision::Fail(fail) => {
                    self.tally.failed += 1;
                    self.tally.unasked += u64::from(fail.attempt.is_none());
                    return self.ended(index, *underway);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn ended(&mut self, index: usize, underway: Underway) {
        assert!(self.now <= underway.end + Duration::from_millis(1), "a call ends with its deadline");
        self.free.push(index);
        let worker = &mut self.hosts[underway.host].workers[underway.worker];
        if underway.is_job && worker.job > 0 {
            worker.job -= 1;
            if self.now < self.end {
                self.start(underway.host, underway.worker, true);
            }
        }
    }

    /// Asks the quota of an attempt's deployment, or waits in its line.
    fn acquire(&mut self, index: usize) {
        let now = self.now;
        let underway = self.calls[index].as_mut().expect("a call that is under way");
        let deployment = underway.attempt.as_ref().expect("an attempt").deployment;
        let (host, worker, quota) = (underway.host, underway.worker, QUOTA_OF[deployment % 5]);
        let Host { workers, quotas, .. } = &mut self.hosts[host];
        let of_worker = &mut workers[worker];
        let budget = &mut quotas[quota].ledger.member(worker);
        match of_worker.quotas[quota].try_acquire(budget, now, &underway.call) {
            Admission::Admitted(permit) => return self.send(index, permit),
            Admission::Refused(refusal) => panic!("{refusal:?}"),
            Admission::Until(_) | Admission::Blocked => {}
        }
        let ticket = of_worker.quotas[quota].enqueue(underway.call);
        of_worker.lines[quota].push((ticket, index));
        underway.ticket = Some((quota, ticket));
        let patience = underway.routed.spec.max_wait.unwrap_or_default().min(underway.end - now);
        let number = underway.number;
        quotas[quota].observer.waiting(now, 1);
        self.at(now + patience, Happening::QueueTimeout { call: index, number });
        self.pump(host, worker, quota);
    }

    /// Admits the calls of a worker's line whose turn it is.
    fn pump(&mut self, host: usize, worker: usize, quota: usize) {
        loop {
            let now = self.now;
            let Host { workers, quotas, .. } = &mut self.hosts[host];
            let of_worker = &mut workers[worker];
            let Some(ticket) = of_worker.quotas[quota].next() else { return };
            let budget = &mut quotas[quota].ledger.member(worker);
            match of_worker.quotas[quota].poll(budget, ticket, now) {
                Admission::Admitted(permit) => {
                    let place = of_worker.lines[quota].iter().position(|(waiting, _)| *waiting == ticket);
                    let (_, index) = of_worker.lines[quota].swap_remove(place.expect("a call that waits"));
                    quotas[quota].observer.waiting(now, -1);
                    self.calls[index].as_mut().expect("a call that waits").ticket = None;
                    self.send(index, permit);
                }
                Admission::Until(time) => {
                    let time = time.max(now + Duration::from_nanos(1));
                    if time < of_worker.wake[quota] {
                        of_worker.wake[quota] = time;
                        self.at(time, Happening::Poll { host, worker, quota });
                    }
                    return;
                }
                Admission::Blocked => return,
                Admission::Refused(refusal) => panic!("{refusal:?}"),
            }
        }
    }

    fn send(&mut self, index: usize, permit: Permit) {
        let now = self.now;
        self.number += 1;
        let number = self.number;
        let underway = self.calls[index].as_mut().expect("a call that is under way");
        underway.number = number;
        let (host, end) = (underway.host, underway.end);
        let attempt = underway.attempt.as_ref().expect("an attempt");
        let deployment = attempt.deployment;
        let ready = [now; 5];
        let mut view = View { random: &mut self.random, group: host / 2, ready };
        let decision = underway.routed.next(now, Event::Admitted(attempt.id), &mut view);
        let Decision::Send(limits) = decision else { panic!("{decision:?}") };
        let quota = QUOTA_OF[deployment % 5];
        let shared = &mut self.hosts[host].quotas[quota];
        let reserved = underway.used.input + underway.call.max_tokens.unwrap_or_default();
        let condition = self.conditions[deployment];
        let who = format_args!("host {host} quota {quota}").to_string();
        let entry = shared.observer.admit(now, reserved, &who);
        self.tally.attempts += 1;
        self.sample.sent[group_of(host)] += 1;
        let answer = shared.account.serve(now, condition, &mut self.random);
        if condition == Condition::Well && now >= shared.observer.disturbed_until {
            shared.observer.steady.1 += 1;
        }
        let longest = (end - now).min(limits.limit.unwrap_or(Duration::MAX));
        let delay = answer.delay.min(longest);
        underway.flying = Some(Flying { permit, quota, deployment, entry, answer });
        self.at(now + delay, Happening::Answer { call: index, number });
    }

    /// Ends the attempt that is under way.
    fn answer(&mut self, index: usize) {
        let now = self.now;
        let underway = self.calls[index].as_mut().expect("a call that is under way");
        let (host, worker, used) = (underway.host, underway.worker, underway.used);
        let Flying { permit, quota, deployment, entry, mut answer } = underway.flying.take().expect("an attempt");
        let id = underway.attempt.take().expect("an attempt").id;
        let reserved = used.input + underway.call.max_tokens.unwrap_or_default();
        let Host { workers, quotas, .. } = &mut self.hosts[host];
        let shared = &mut quotas[quota];
        if answer.delay > DAY || (answer.failure.is_none() && now >= underway.end) {
            // It took too long.
            answer.failure = Some(Failure {
                kind: ritellm::error::ErrorKind::Timeout,
                class: FailureClass::Transient,
                retry_after: None,
                is_repeatable: true,
                had_no_effect: false,
            });
            answer.signals = Signals { failure: Some(FailureClass::Transient), ..Signals::default() };
        }
        let observer = &mut shared.observer;
        observer.in_flight -= 1;
        let class = answer.failure.map(|failure| failure.class);
        let counted = match class {
            None => Some(used),
            Some(_) => None,
        };
        match class {
            None => observer.correct(entry, reserved, used.input + used.output),
            Some(FailureClass::Rate | FailureClass::DayQuota) => observer.correct(entry, reserved, 0),
            Some(_) => {}
        }
        if let Some(FailureClass::Rate | FailureClass::DayQuota) = class {
            self.tally.rate_limited += 1;
            self.sample.refused += 1;
            observer.refused += 1;
            if self.conditions[deployment] == Condition::Well
                && now >= observer.disturbed_until
                && class == Some(FailureClass::Rate)
            {
                observer.steady.0 += 1;
                assert!(shared.is_adaptive, "host {host} quota {quota}: a declared limit was exceeded at the server");
            }
        }
        if let Some(failure) = answer.failure
            && matches!(failure.class, FailureClass::Rate | FailureClass::DayQuota)
            && let Some(pause) = failure.retry_after
        {
            // On the server's clock: it said so half a round trip ago.
            observer.paused_until = observer.paused_until.max(now - answer.delay / 2 + pause);
            let until = observer.paused_until + seconds(60.0);
            observer.disturb(now, until);
        }
        if class.is_none() && quotas.iter().any(|other| other.observer.paused_until > now) {
            self.tally.beside_closed += 1;
        }
        let of_worker = &mut workers[worker];
        let budget = &mut quotas[quota].ledger.member(worker);
        let _ = of_worker.quotas[quota].settle(budget, now, permit, counted, &answer.signals);
        match answer.failure {
            None => self.tell(index, Event::Succeeded(id)),
            Some(failure) => self.tell(index, Event::Failed(id, failure)),
        }
        if self.hosts[host].workers[worker].is_alive {
            self.pump(host, worker, quota);
        }
    }

    /// Ends a call that has waited for as long as it may.
    fn leave_line(&mut self, index: usize) {
        if self.calls[index].as_ref().is_none_or(|underway| underway.ticket.is_none()) {
            return;
        }
        let mut underway = self.calls[index].take().expect("a call that waits");
        let (quota, ticket) = underway.ticket.take().expect("a ticket");
        let (host, worker) = (underway.host, underway.worker);
        let of_worker = &mut self.hosts[host].workers[worker];
        of_worker.quotas[quota].cancel(ticket);
        of_worker.lines[quota].retain(|(waiting, _)| *waiting != ticket);
        self.hosts[host].quotas[quota].observer.waiting(self.now, -1);
        self.tally.failed += 1;
        self.ended(index, *underway);
        self.pump(host, worker, quota);
    }

    /// Kills a worker with all its calls: nobody gives back what they hold.
    fn kill(&mut self, host: usize) {
        let next = -(1.0 - self.random.f64()).ln() * 1800.0;
        self.at(self.now + seconds(next), Happening::Kill { host });
        let worker = self.random.usize(..WORKERS);
        if !self.hosts[host].workers[worker].is_alive {
            return;
        }
        self.tally.kills += 1;
        for index in 0..self.calls.len() {
            let is_its = |underway: &Underway| (underway.host, underway.worker) == (host, worker);
            let Some(underway) = self.calls[index].take_if(|underway| is_its(underway)) else { continue };
            self.tally.lost += 1;
            self.free.push(index);
            let quotas = &mut self.hosts[host].quotas;
            if let Some((quota, _)) = underway.ticket {
                quotas[quota].observer.waiting(self.now, -1);
            }
            if let Some(flying) = underway.flying {
                quotas[flying.quota].observer.in_flight -= 1;
            }
        }
        let fresh = self::worker(&self.plan, &mut self.random);
        self.hosts[host].workers[worker] = Worker { is_alive: false, ..fresh };
        let noticed = self.random.f64() * REAP;
        self.at(self.now + seconds(noticed), Happening::Reap { host, worker });
    }

    /// Frees what a dead worker held; another one starts in its place.
    fn reap(&mut self, host: usize, worker: usize) {
        let Host { workers, quotas, .. } = &mut self.hosts[host];
        let is_only_dead = workers.iter().filter(|worker| !worker.is_alive).count() == 1;
        workers[worker].is_alive = true;
        for (index, quota) in quotas.iter_mut().enumerate() {
            quota.ledger.free_member(worker);
            let state = workers[worker].quotas[index].snapshot(&quota.ledger.member(worker), self.now).budget;
            if is_only_dead {
                assert_eq!(state.in_flight, quota.observer.in_flight, "the seats of the dead are free, no others");
            }
            if let Some(learnt) = state.learnt.filter(|_| is_only_dead) {
                assert_eq!(learnt.in_flight, u64::from(quota.observer.in_flight));
            }
        }
    }

    fn change_weather(&mut self, deployment: usize) {
        let was_well = self.conditions[deployment] == Condition::Well;
        let mean = if was_well { 300.0 } else { 14_400.0 };
        let length = seconds(-(1.0 - self.random.f64()).ln() * mean);
        let until = self.now + length;
        self.conditions[deployment] = match was_well {
            true => [Condition::Failing, Condition::Hanging, Condition::Overloaded, Condition::Closed(until)]
                [self.random.usize(..4)],
            false => Condition::Well,
        };
        self.at(until, Happening::Weather { deployment });
        let calm = if was_well { until + seconds(180.0) } else { self.now + seconds(180.0) };
        for host in [deployment / 5 * 2, deployment / 5 * 2 + 1] {
            self.hosts[host].quotas[QUOTA_OF[deployment % 5]].observer.disturb(self.now, calm);
        }
    }

    /// Halves or doubles an account's limit that nobody declared.
    fn change_limit(&mut self, host: usize) {
        let Some(shared) = self.hosts[host].quotas.iter_mut().find(|quota| quota.is_adaptive) else { return };
        let account = &mut shared.account;
        account.limit = if account.limit > 500.0 { 300.0 } else { 600.0 };
        shared.observer.disturb(self.now, self.now + seconds(240.0));
        shared.observer.limits.0 = shared.account.limit;
        let next = 3600.0 + self.random.f64() * 7200.0;
        self.at(self.now + seconds(next), Happening::LimitChange { host });
    }

    /// Prints what came of it, and checks it: limits are used, learnt ones are not exceeded often.
    fn report(&mut self, least_used: f64, most_refused: f64) {
        let Tally { calls, succeeded, failed, unasked, lost, attempts, rate_limited, kills, beside_closed } =
            self.tally;
        let hours = (self.end - DAY).as_secs_f64() / 3600.0;
        println!(
            "figure: seed {}, {hours:.2} hours: {calls} calls, of which {succeeded} succeeded, {failed} failed ({unasked} of them unasked) and {lost} were \
             lost with {kills} killed workers; {attempts} attempts, {rate_limited} with status 429; {beside_closed} answers of \
             siblings while a quota was closed",
            seed()
        );
        let (mut saturated, mut used) = (0.0, 0.0);
        for (index, host) in self.hosts.iter_mut().enumerate() {
            for (number, quota) in host.quotas.iter_mut().enumerate() {
                let observer = &mut quota.observer;
                let part = observer.used / observer.saturated;
                if quota.is_adaptive {
                    let (refused, sent) = observer.steady;
                    let share = refused as f64 / sent as f64;
                    let used = match observer.saturated {
                        0.0 => String::new(),
                        seconds => format!(", {:.1} % used in {seconds:.0} s of saturation", part * 100.0),
                    };
                    println!(
                        "figure: learnt limit of host {index}: {:.2} % of {sent} attempts refused after the first minute{used}",
                        share * 100.0
                    );
                    assert!(sent < 1_000 || share <= most_refused, "host {index}: {share} were refused");
                } else {
                    assert!(
                        observer.saturated < 600.0 || part >= least_used,
                        "host {index}, quota {number}: {part} of the limit was used in {} s",
                        observer.saturated
                    );
                    saturated += observer.saturated;
                    used += observer.used;
                }
            }
        }
        let part = used / saturated;
        println!("figure: {:.1} % of declared limits used in {saturated:.0} s of saturation", part * 100.0);
        assert!(saturated == 0.0 || part >= least_used, "{part} used");
    }
}

fn group_of(host: usize) -> usize {
    host / 2
}

fn seed() -> u64 {
    std::env::var("RITELLM_SEED").map_or(1, |text| text.parse().expect("RITELLM_SEED is a number"))
}

#[test]
fn minutes_of_a_day() {
    let mut world = World::new(seed(), MINUTE * 4);
    world.run();
    world.report(0.95, 0.05);
}

#[test]
#[ignore = "a day takes a minute, optimised"]
fn a_day() {
    let mut world = World::new(seed(), DAY);
    world.run();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/limits-simulation.svg");
        std::fs::write(path, picture::draw(&world.samples)).expect("docs/ can be written");
    }
    world.report(0.95, 0.02);
}
