//! Simulated servers, each with a rule of its own, and clients that share one controller, in virtual time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use bytemuck::Zeroable;
use fastrand::Rng;

use super::{Controller, Finish};

/// Rule by which a server limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Rule {
    /// Token bucket that saves up this many seconds of its limit.
    Bucket(f64),
    /// Counter that begins anew with each window of the clock of this many seconds.
    Window(f64),
    /// At most the limit in any window of this many seconds.
    Sliding(f64),
    /// Requests in flight: as many as the limit is at the mean latency.
    InFlight,
}

/// The `Retry-After` of a refusal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum RetryAfter {
    /// The time until the next request would be taken.
    Exact,
    /// The same, rounded to whole seconds.
    Coarse,
    /// The same, rounded up to whole seconds.
    RoundedUp,
    /// None.
    Missing,
}

/// Requests that the clients want to send.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Demand {
    /// More than the limit at any time.
    Saturated,
    /// Requests a second, at random times.
    Rate(f64),
    /// Saturated until the first time, nothing until the second, then this many at once.
    Burst(f64, f64, u64),
}

/// A simulated run. Times are in seconds since its begin.
#[derive(Debug, Clone)]
pub(super) struct Scenario {
    pub(super) rule: Rule,
    pub(super) retry_after: RetryAfter,
    /// Mean latency of an answer, and the deviation of its logarithm.
    pub(super) latency: f64,
    pub(super) sigma: f64,
    /// Part of the messages that are up to 0.3 s late, as on a loaded machine.
    pub(super) late: f64,
    /// Limit a minute, in requests or, if `tokens` is set, in thousands of tokens.
    pub(super) limit: f64,
    /// True if the limit counts tokens; a call has a thousand on average.
    pub(super) tokens: bool,
    pub(super) processes: usize,
    pub(super) demand: Demand,
    /// Times at which the limit becomes this many times the original.
    pub(super) changes: Vec<(f64, f64)>,
    /// Time in which everything is refused.
    pub(super) storm: (f64, f64),
    /// Part of the requests that fail with an overload.
    pub(super) overload: f64,
    pub(super) end: f64,
    pub(super) seed: u64,
}

impl Default for Scenario {
    fn default() -> Self {
        Scenario {
            rule: Rule::Bucket(1.0),
            retry_after: RetryAfter::Missing,
            latency: 2.0,
            sigma: 0.5,
            late: 0.0,
            limit: 1200.0,
            tokens: false,
            processes: 1,
            demand: Demand::Saturated,
            changes: vec![(300.0, 0.5), (600.0, 1.0)],
            storm: (0.0, 0.0),
            overload: 0.0,
            end: 900.0,
            seed: 1,
        }
    }
}

pub(crate) struct Server {
    rule: Rule,
    /// Units a second.
    rate: f64,
    /// Time and content of the bucket, or number of the minute and what was taken in it.
    at: f64,
    level: f64,
    log: VecDeque<(f64, f64)>,
    logged: f64,
    seats: u64,
    pub(crate) busy: u64,
}

impl RetryAfter {
    /// Returns what a refusal says if the next request would be taken after a time.
    pub(crate) fn told(self, seconds: f64) -> Option<Duration> {
        match self {
            RetryAfter::Exact => Some(Duration::from_secs_f64(seconds)),
            RetryAfter::Coarse => Some(Duration::from_secs_f64(seconds.round())),
            RetryAfter::RoundedUp => Some(Duration::from_secs_f64(seconds.ceil())),
            RetryAfter::Missing => None,
        }
    }
}

impl Server {
    pub(crate) fn new(rule: Rule, rate: f64, seats: f64, now: f64) -> Server {
        let mut server =
            Server { rule, rate, at: now, level: 0.0, log: VecDeque::new(), logged: 0.0, seats: 0, busy: 0 };
        server.set(rate, seats);
        match rule {
            Rule::Bucket(_) => server.level = server.capacity(),
            Rule::Window(period) => server.at = (now / period).floor(),
            Rule::Sliding(_) | Rule::InFlight => {}
        }
        server
    }

    fn capacity(&self) -> f64 {
        match self.rule {
            Rule::Bucket(saves) => (self.rate * saves).max(1.0),
            Rule::Window(period) | Rule::Sliding(period) => (self.rate * period).round().max(1.0),
            Rule::InFlight => self.seats as f64,
        }
    }

    pub(crate) fn set(&mut self, rate: f64, seats: f64) {
        self.rate = rate;
        self.seats = seats.round().max(1.0) as u64;
    }

    /// Takes a request of this cost, or returns the time until it would.
    pub(crate) fn ask(&mut self, now: f64, cost: f64) -> Result<(), f64> {
        match self.rule {
            Rule::Bucket(_) => {
                // A call that is bigger than the bucket is taken from a full one, and leaves a debt.
                self.level = (self.level + (now - self.at) * self.rate).min(self.capacity());
                self.at = now;
                let needed = cost.min(self.capacity());
                if self.level >= needed - 1e-9 {
                    self.level -= cost;
                    return Ok(());
                }
                Err((needed - self.level) / self.rate)
            }
            Rule::Window(period) => {
                let window = (now / period).floor();
                if window > self.at {
                    (self.at, self.level) = (window, 0.0);
                }
                if self.level + cost <= self.capacity() {
                    self.level += cost;
                    return Ok(());
                }
                Err((window + 1.0) * period - now)
            }
            Rule::Sliding(period) => {
                while self.log.front().is_some_and(|&(at, _)| at <= now - period) {
                    self.logged -= self.log.pop_front().unwrap().1;
                }
                if self.logged + cost <= self.capacity() {
                    self.logged += cost;
                    self.log.push_back((now, cost));
                    return Ok(());
                }
                Err(self.log.front().map_or(1.0, |&(at, _)| at + period - now))
            }
            Rule::InFlight => {
                if self.busy < self.seats {
                    self.busy += 1;
                    return Ok(());
                }
                Err(0.5)
            }
        }
    }
}

/// What happened in a stretch of time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Figures {
    pub(super) attempts: u64,
    pub(super) refused: u64,
    /// Amount taken, in units of the limit.
    pub(super) taken: f64,
    /// Part of the limit that was used; 1 is all of it.
    pub(super) used: f64,
}

impl Figures {
    /// Returns the part of the attempts that was refused.
    pub(super) fn refused_share(&self) -> f64 {
        self.refused as f64 / (self.attempts as f64).max(1.0)
    }
}

#[derive(Debug, Clone, Copy)]
struct Attempt {
    at: f64,
    refused: bool,
    /// Amount taken; for seats the time in seconds that one was held.
    taken: f64,
}

/// Log of a run.
pub(super) struct Run {
    attempts: Vec<Attempt>,
    /// Times that requests waited between the wish to send them and their admission, with the time of the wish.
    pub(super) waits: Vec<(f64, f64)>,
    /// Limits in units a second (seats for a limit in flight), from a time on.
    limits: Vec<(f64, f64)>,
    pub(super) controller: Controller,
    pub(super) most_in_flight: u64,
}

impl Run {
    /// Returns the figures between two times.
    pub(super) fn between(&self, from: f64, to: f64) -> Figures {
        let mut figures = Figures::default();
        for attempt in self.attempts.iter().filter(|attempt| (from..to).contains(&attempt.at)) {
            figures.attempts += 1;
            figures.refused += u64::from(attempt.refused);
            figures.taken += attempt.taken;
        }
        let mut allowed = 0.0;
        for (index, &(since, limit)) in self.limits.iter().enumerate() {
            let until = self.limits.get(index + 1).map_or(f64::INFINITY, |next| next.0);
            allowed += limit * (until.min(to) - since.max(from)).max(0.0);
        }
        figures.used = figures.taken / allowed;
        figures
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Event {
    Tick(usize),
    Wish(usize),
    Arrive(usize),
    Leave,
    Finish(usize),
    Limit(usize),
}

#[derive(Debug, Clone, Copy)]
struct Call {
    process: usize,
    at: f64,
    cost: f64,
    taken: bool,
    outcome: Finish,
    index: usize,
}

fn normal(random: &mut Rng) -> f64 {
    (-2.0 * (1.0 - random.f64()).ln()).sqrt() * (std::f64::consts::TAU * random.f64()).cos()
}

pub(crate) fn lognormal(random: &mut Rng, mean: f64, sigma: f64) -> f64 {
    mean * (sigma * normal(random) - sigma * sigma / 2.0).exp()
}

struct Simulation {
    scenario: Scenario,
    random: Rng,
    begin: f64,
    now: f64,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    kinds: Vec<Event>,
    free_kinds: Vec<usize>,
    serial: u64,
    calls: Vec<Call>,
    free_calls: Vec<usize>,
    ticking: Vec<bool>,
    /// Times at which calls were wished that were not admitted yet, by process.
    wishes: Vec<VecDeque<f64>>,
    /// Cost of the next call of each process.
    costs: Vec<f64>,
    controller: Controller,
    server: Server,
    run: Run,
}

/// Runs a scenario.
pub(super) fn run(scenario: &Scenario) -> Run {
    let mut random = Rng::with_seed(scenario.seed);
    // The server's minute begins anywhere in the clients'.
    let begin = 6000.0 + 60.0 * random.f64();
    let rate = scenario.limit / 60.0 * if scenario.tokens { 1000.0 } else { 1.0 };
    let seats = scenario.limit / 60.0 * scenario.latency;
    let limit = if scenario.rule == Rule::InFlight { seats.round().max(1.0) } else { rate };
    let mut simulation = Simulation {
        begin,
        now: begin,
        events: BinaryHeap::new(),
        kinds: Vec::new(),
        free_kinds: Vec::new(),
        serial: 0,
        calls: Vec::new(),
        free_calls: Vec::new(),
        ticking: vec![false; scenario.processes],
        wishes: vec![VecDeque::new(); scenario.processes],
        costs: vec![0.0; scenario.processes],
        controller: Controller::zeroed(),
        server: Server::new(scenario.rule, rate, seats, begin),
        run: Run {
            attempts: Vec::new(),
            waits: Vec::new(),
            limits: vec![(0.0, limit)],
            controller: Controller::zeroed(),
            most_in_flight: 0,
        },
        scenario: scenario.clone(),
        random,
    };
    simulation.all();
    simulation.run.controller = simulation.controller;
    simulation.run
}

impl Simulation {
    fn later(&mut self, at: f64, event: Event) {
        let slot = self.free_kinds.pop().unwrap_or_else(|| {
            self.kinds.push(event);
            self.kinds.len() - 1
        });
        self.kinds[slot] = event;
        self.serial += 1;
        // The serial number keeps simultaneous events in order; 24 bits of it are the slot.
        self.events.push(Reverse(((at * 1e9) as u64, (self.serial << 24) | slot as u64)));
    }

    fn all(&mut self) {
        let processes = self.scenario.processes;
        for process in 0..processes {
            let offset = if processes > 1 { 5.0 * self.random.f64() } else { 0.0 };
            match self.scenario.demand {
                Demand::Rate(_) => self.later(self.begin + offset, Event::Wish(process)),
                _ => self.later(self.begin + offset, Event::Tick(process)),
            }
        }
        if let Demand::Burst(_, at, count) = self.scenario.demand {
            for index in 0..count {
                self.later(self.begin + at, Event::Wish(index as usize % processes));
            }
        }
        for index in 0..self.scenario.changes.len() {
            self.later(self.begin + self.scenario.changes[index].0, Event::Limit(index));
        }
        while let Some(Reverse((at, key))) = self.events.pop() {
            let slot = (key & 0xff_ffff) as usize;
            self.free_kinds.push(slot);
            self.now = (at as f64 / 1e9).max(self.now);
            let most = 4.0 * self.scenario.end * self.scenario.limit / 60.0 + 10_000.0;
            if self.now > self.begin + self.scenario.end || self.run.attempts.len() as f64 > most {
                break;
            }
            match self.kinds[slot] {
                Event::Tick(process) => {
                    self.ticking[process] = false;
                    self.admit(process);
                }
                Event::Wish(process) => {
                    self.wishes[process].push_back(self.now);
                    if let Demand::Rate(rate) = self.scenario.demand {
                        let gap = -(1.0 - self.random.f64()).ln() / (rate / processes as f64);
                        self.later(self.now + gap, Event::Wish(process));
                    }
                    self.admit(process);
                }
                Event::Arrive(call) => self.arrive(call),
                Event::Leave => self.server.busy -= 1,
                Event::Finish(call) => self.finish(call),
                Event::Limit(index) => self.change(index),
            }
        }
    }

    fn change(&mut self, index: usize) {
        let (at, factor) = self.scenario.changes[index];
        let rate = self.scenario.limit / 60.0 * if self.scenario.tokens { 1000.0 } else { 1.0 } * factor;
        let seats = self.scenario.limit / 60.0 * self.scenario.latency * factor;
        self.server.set(rate, seats);
        let limit = if self.scenario.rule == Rule::InFlight { seats.round().max(1.0) } else { rate };
        self.run.limits.push((at, limit));
    }

    /// Time that a message takes from client to server, or back.
    fn network(&mut self) -> f64 {
        let late = self.scenario.late;
        let late = if late > 0.0 && self.random.f64() < late { 0.3 * self.random.f64() } else { 0.0 };
        0.005 + 0.02 * self.random.f64() + late
    }

    fn admit(&mut self, process: usize) {
        let since_begin = self.now - self.begin;
        let endless = match self.scenario.demand {
            Demand::Saturated => true,
            Demand::Rate(_) => false,
            Demand::Burst(until, ..) => since_begin < until,
        };
        let now = Duration::from_secs_f64(self.now);
        while endless || !self.wishes[process].is_empty() {
            let snapshot_in_flight = self.controller.snapshot(now).in_flight;
            if snapshot_in_flight >= u64::from(self.controller.max_in_flight(now)) {
                // Another process may hold all seats; the others ask again.
                if !self.ticking[process] && self.scenario.processes > 1 {
                    self.ticking[process] = true;
                    let at = self.now + 0.02;
                    self.later(at, Event::Tick(process));
                }
                return;
            }
            if self.costs[process] == 0.0 {
                let tokens = self.scenario.tokens;
                self.costs[process] = if tokens { lognormal(&mut self.random, 1000.0, 1.0).ceil() } else { 1.0 };
            }
            let cost = self.costs[process];
            let tokens = self.scenario.tokens.then_some(cost as u64);
            let at = self.controller.earliest_for(now, tokens);
            if at > now {
                if !self.ticking[process] {
                    self.ticking[process] = true;
                    // Timers fire up to a millisecond late.
                    let late = 0.001 * self.random.f64();
                    self.later(at.as_secs_f64() + late, Event::Tick(process));
                }
                return;
            }
            self.costs[process] = 0.0;
            self.controller.admitted(now, tokens);
            let wished = if endless { self.now } else { self.wishes[process].pop_front().unwrap_or(self.now) };
            if !endless {
                self.run.waits.push((wished - self.begin, self.now - wished));
            }
            let index = self.run.attempts.len();
            self.run.attempts.push(Attempt { at: since_begin, refused: false, taken: 0.0 });
            let call = Call { process, at: self.now, cost, taken: false, outcome: Finish::Taken, index };
            let slot = self.free_calls.pop().unwrap_or_else(|| {
                self.calls.push(call);
                self.calls.len() - 1
            });
            self.calls[slot] = call;
            self.run.most_in_flight = self.run.most_in_flight.max(snapshot_in_flight + 1);
            let arrival = self.now + self.network();
            self.later(arrival, Event::Arrive(slot));
        }
    }

    fn arrive(&mut self, slot: usize) {
        let since_begin = self.now - self.begin;
        let back = self.network();
        if self.random.f64() < self.scenario.overload {
            self.calls[slot].outcome = Finish::Overloaded;
            self.later(self.now + back, Event::Finish(slot));
            return;
        }
        let storm = self.scenario.storm;
        let asked = if (storm.0..storm.1).contains(&since_begin) {
            Err(storm.1 - since_begin)
        } else {
            self.server.ask(self.now, self.calls[slot].cost)
        };
        match asked {
            Ok(()) => {
                self.calls[slot].taken = true;
                let latency = lognormal(&mut self.random, self.scenario.latency, self.scenario.sigma);
                if self.server.rule == Rule::InFlight {
                    self.later(self.now + latency, Event::Leave);
                }
                self.later(self.now + latency + back, Event::Finish(slot));
            }
            Err(after) => {
                self.calls[slot].outcome = Finish::Refused { retry_after: self.scenario.retry_after.told(after) };
                self.later(self.now + back, Event::Finish(slot));
            }
        }
    }

    fn finish(&mut self, slot: usize) {
        let call = self.calls[slot];
        self.free_calls.push(slot);
        let tokens = self.scenario.tokens.then_some(call.cost as u64);
        let attempt = &mut self.run.attempts[call.index];
        attempt.refused = matches!(call.outcome, Finish::Refused { .. });
        let now = Duration::from_secs_f64(self.now);
        self.controller.finished(now, Duration::from_secs_f64(call.at), call.outcome, tokens, tokens);
        if call.taken {
            attempt.taken = if self.server.rule == Rule::InFlight { self.now - call.at } else { call.cost };
        }
        self.admit(call.process);
    }
}
