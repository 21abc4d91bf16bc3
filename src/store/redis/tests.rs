//! Members and the ledger's script, on a real redis-server in virtual time: the script is told the time.

mod learning;
mod model;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::address::Address;
use super::client::{Client, Script};
use super::resp::Value;
use super::script::{Key, TEXT, arguments, read};
use super::server::{self, Server};
use crate::limits::lease::{LeaseState, PATIENCE, Reply, Request, WhenDown};
use crate::limits::{Budget, Limit, QuotaSpec, Taken, Time, Wait};
use crate::transport::Settings;
use crate::types::rate_limit::{FailureClass, Signals, Tokens};

const MILLISECOND: Time = Duration::from_millis(1);
const SECOND: Time = Duration::from_secs(1);
/// Time since 1970 at which the simulation begins.
const WALL: Time = Duration::from_secs(1_800_000_000);

enum Event {
    /// A member tries to send calls.
    Poll(usize),
    /// A member may be due for an exchange.
    Due(usize),
    /// A request reaches the server.
    Arrive(usize, Box<Request>),
    /// An answer reaches a member; `None` if the connection is lost.
    Answer(usize, u64, Option<Reply>),
    /// A call ends.
    Finish(usize, Box<(Taken, Option<Tokens>, Signals)>),
    /// A call of a member reaches the provider.
    Reach(usize, Box<Taken>),
    /// A call leaves the provider.
    Leave,
    /// Something else happens.
    Do(fn(&mut Simulation)),
    /// A command is run on the server.
    Command(Vec<&'static str>),
}

struct Member {
    name: String,
    state: LeaseState,
    /// Interval of calls; zero for as many as are admitted.
    every: Time,
    next_call: Time,
    until: Time,
    /// Times in which it is stopped.
    frozen: Option<(Time, Time)>,
    dead: bool,
    admitted: u64,
    in_flight: u32,
    polls_at: Option<Time>,
    due_at: Option<Time>,
}

struct Simulation {
    redis: Option<(Server, Client)>,
    /// The ledger, if there is no Redis.
    model: model::Model,
    script: Script,
    key: Key,
    now: Time,
    events: BTreeMap<(Time, u64), Event>,
    count: u64,
    members: Vec<Member>,
    /// Time, tokens and member of each admission.
    admissions: Vec<(Time, u64, usize)>,
    exchanges: u64,
    /// Times in which the server does not answer; with `true` it answers later.
    outages: Vec<(Time, Time, bool)>,
    /// A member whose requests are lost between two times.
    cut: Option<(usize, Time, Time)>,
    /// Seconds that the server's wall clock is set forward by.
    clock: i64,
    latency: Time,
    /// Duration of a call, the tokens reserved for it, and those that it used.
    call: fn(u64) -> (Time, Tokens, Option<Tokens>),
    most_in_flight: u32,
    provider: Option<learning::Provider>,
}

fn spec(limits: &[Limit]) -> QuotaSpec {
    QuotaSpec { limits: limits.to_vec(), ..QuotaSpec::default() }
}

fn requests(requests: u64, seconds: u32) -> Limit {
    Limit { requests: Some(requests), ..Limit::per(SECOND * seconds) }
}

impl Simulation {
    async fn start() -> Option<Self> {
        let server = server::start(&[])?;
        let client = Client::start(Address::parse("share", &server.url()).unwrap(), &Settings::default());
        let mut simulation = Self::without_redis();
        simulation.redis = Some((server, client));
        Some(simulation)
    }

    /// Begins a simulation whose ledger is in memory.
    fn without_redis() -> Self {
        let text = TEXT.replace("redis.call('TIME')", "{0, ARGV[#ARGV]}");
        assert_ne!(text, TEXT);
        Self {
            redis: None,
            model: model::Model::default(),
            script: Script::new(text.leak()),
            key: Key::new("test", "quota"),
            now: SECOND,
            events: BTreeMap::new(),
            count: 0,
            members: Vec::new(),
            admissions: Vec::new(),
            exchanges: 0,
            outages: Vec::new(),
            cut: None,
            clock: 0,
            latency: MILLISECOND,
            call: |_| (200 * MILLISECOND, Tokens::default(), None),
            most_in_flight: 0,
            provider: None,
        }
    }

    fn client(&self) -> &Client {
        &self.redis.as_ref().unwrap().1
    }

    /// Adds a member that makes a call every so often, from and until a time.
    fn add(&mut self, spec: &QuotaSpec, when_down: WhenDown, every: Time, from: Time, until: Time) {
        let number = self.members.len();
        // Its wall clock is a little wrong.
        let state = LeaseState::new(spec, when_down, self.now, WALL + self.now + 3 * MILLISECOND);
        self.members.push(Member {
            name: format!("member {number}"),
            state,
            every,
            next_call: from,
            until,
            frozen: None,
            dead: false,
            admitted: 0,
            in_flight: 0,
            polls_at: Some(from),
            due_at: None,
        });
        self.at(from, Event::Poll(number));
    }

    fn add_many(&mut self, number: usize, spec: &QuotaSpec, when_down: WhenDown) {
        for index in 0..number {
            let from = self.now + 7 * MILLISECOND * u32::try_from(index).unwrap();
            self.add(spec, when_down, Time::ZERO, from, Time::MAX);
        }
    }

    fn at(&mut self, time: Time, event: Event) {
        self.count += 1;
        self.events.insert((time.max(self.now), self.count), event);
    }

    async fn run(&mut self, end: Time) {
        while let Some(entry) = self.events.first_entry() {
            let time = entry.key().0;
            if time >= end {
                break;
            }
            let event = entry.remove();
            self.now = time;
            assert!(self.count < 3_000_000, "it does not end: {:?}, {} exchanges", self.now, self.exchanges);
            let concerned = match &event {
                Event::Poll(number) | Event::Due(number) => Some(*number),
                Event::Answer(number, ..) | Event::Finish(number, ..) => Some(*number),
                Event::Arrive(..) | Event::Reach(..) | Event::Leave | Event::Do(_) | Event::Command(_) => None,
            };
            if let Some(member) = concerned.map(|number| &self.members[number]) {
                if member.dead {
                    continue;
                }
                if let Some((_, until)) = member.frozen.filter(|(from, until)| (*from..*until).contains(&time)) {
                    self.at(until, event);
                    continue;
                }
            }
            match event {
                // Others were meant to be earlier.
                Event::Poll(number) if self.members[number].polls_at.is_some_and(|at| at <= time) => {
                    self.members[number].polls_at = None;
                    self.poll(number);
                }
                Event::Due(number) if self.members[number].due_at.is_some_and(|at| at <= time) => {
                    self.members[number].due_at = None;
                    self.poll(number);
                }
                Event::Poll(_) | Event::Due(_) => {}
                Event::Arrive(number, request) => {
                    let outage = self.outages.iter().find(|(from, until, _)| (*from..*until).contains(&time)).copied();
                    match outage {
                        _ if self
                            .cut
                            .is_some_and(|(cut, from, until)| cut == number && (from..until).contains(&time)) => {}
                        Some((_, until, true)) => self.at(until, Event::Arrive(number, request)),
                        Some((_, _, false)) => {
                            self.at(time + self.latency, Event::Answer(number, request.number, None))
                        }
                        None => {
                            let reply = self.exchange(number, &request).await;
                            self.at(time + self.latency, Event::Answer(number, request.number, Some(reply)));
                        }
                    }
                }
                Event::Answer(number, request, reply) => {
                    let state = &mut self.members[number].state;
                    match reply {
                        Some(reply) => state.answered(time, request, reply),
                        None => state.failed(time, request),
                    }
                    self.poll(number);
                }
                Event::Finish(number, ended) => {
                    let (taken, used, outcome) = *ended;
                    let member = &mut self.members[number];
                    member.in_flight -= 1;
                    member.state.settle(time, taken, used, &outcome);
                    self.poll(number);
                }
                Event::Reach(number, taken) => self.reach(number, *taken),
                Event::Leave => self.provider.iter_mut().for_each(|it| it.server.busy -= 1),
                Event::Do(action) => action(self),
                Event::Command(command) => drop(self.client().command(&command).await.unwrap()),
            }
        }
        self.now = end;
    }

    fn due(&mut self, number: usize) {
        let member = &mut self.members[number];
        if let Some(due) = member.state.next_exchange()
            && due <= self.now
            && let Some(request) = member.state.request(self.now)
        {
            self.at(self.now + self.latency, Event::Arrive(number, Box::new(request)));
        }
        let member = &mut self.members[number];
        let Some(due) = member.state.next_exchange() else { return };
        let due = due.max(self.now + Duration::from_micros(100));
        if member.due_at.is_none_or(|at| at > due || at <= self.now) {
            member.due_at = Some(due);
            self.at(due, Event::Due(number));
        }
    }

    /// Sends as many calls as are made and admitted.
    fn poll(&mut self, number: usize) {
        let now = self.now;
        loop {
            let member = &mut self.members[number];
            if now >= member.until {
                break;
            }
            if member.next_call > now {
                let next = member.next_call;
                if member.polls_at.is_none_or(|at| at > next || at <= now) {
                    member.polls_at = Some(next);
                    self.at(next, Event::Poll(number));
                }
                break;
            }
            let (duration, tokens, used) = (self.call)(member.admitted * 31 + number as u64);
            match member.state.try_take(now, tokens) {
                Ok(taken) => {
                    member.admitted += 1;
                    member.in_flight += 1;
                    member.next_call += member.every;
                    let spent = used.unwrap_or(tokens);
                    self.admissions.push((now, spent.input + spent.output, number));
                    if self.provider.is_some() {
                        let time = now + self.network();
                        self.at(time, Event::Reach(number, Box::new(taken)));
                    } else {
                        self.at(now + duration, Event::Finish(number, Box::new((taken, used, Signals::default()))));
                    }
                    let sum = self.members.iter().map(|member| member.in_flight).sum();
                    self.most_in_flight = self.most_in_flight.max(sum);
                }
                Err(wait) => {
                    let Wait::Until(time) = wait else { break };
                    assert!(time > now, "it would be asked for ever at {now:?}");
                    if member.polls_at.is_none_or(|at| at > time || at <= now) {
                        member.polls_at = Some(time);
                        self.at(time, Event::Poll(number));
                    }
                    break;
                }
            }
        }
        self.due(number);
    }

    async fn exchange(&mut self, number: usize, request: &Request) -> Reply {
        self.exchanges += 1;
        if self.redis.is_none() {
            return self.model.exchange(number, self.now, request);
        }
        let mut arguments = arguments(&self.members[number].name, request);
        let wall = (WALL + self.now).as_micros() as i64 + self.clock * 1_000_000;
        arguments.push(Bytes::from(wall.to_string()));
        read(self.client().run(&self.script, self.key.as_str(), &arguments).await.unwrap()).unwrap()
    }

    /// Largest sum in any window, of requests or of tokens, from a time on.
    fn most(&self, window: Time, tokens: bool, from: Time) -> u64 {
        let amount = |admission: &(Time, u64, usize)| if tokens { admission.1 } else { 1 };
        let (mut sum, mut most, mut first) = (0, 0, 0);
        for (index, admission) in self.admissions.iter().enumerate() {
            if admission.0 < from {
                first = index + 1;
                continue;
            }
            sum += amount(admission);
            while self.admissions[first].0 + window <= admission.0 {
                sum -= amount(&self.admissions[first]);
                first += 1;
            }
            most = most.max(sum);
        }
        most
    }

    /// Number of requests, or of tokens, between two times.
    fn sum(&self, from: Time, until: Time, tokens: bool) -> u64 {
        let inside = self.admissions.iter().filter(|(time, ..)| (from..until).contains(time));
        inside.map(|admission| if tokens { admission.1 } else { 1 }).sum()
    }

    /// Part of a limit of requests that was used between two times.
    fn used(&self, limit: u64, window: Time, from: Time, until: Time) -> f64 {
        self.sum(from, until, false) as f64 / (limit as f64 * (until - from).as_secs_f64() / window.as_secs_f64())
    }
}

#[tokio::test]
async fn saturated_members_keep_to_a_limit_and_use_it() {
    for (number, limit, seconds) in [(1, 600, 6), (2, 600, 6), (8, 600, 6), (8, 10, 6), (2, 1000, 1), (3, 1200, 60)] {
        let Some(mut simulation) = Simulation::start().await else { return };
        let (window, spec) = (SECOND * seconds, spec(&[requests(limit, seconds)]));
        simulation.add_many(number, &spec, WhenDown::Share(0.1));
        let end = SECOND * (2 + 3 * seconds.max(4));
        simulation.run(end).await;
        let most = simulation.most(window, false, Time::ZERO);
        let used = simulation.used(limit, window, end - 2 * window, end);
        let each: Vec<u64> = simulation.members.iter().map(|member| member.admitted).collect();
        let calls = simulation.admissions.len() as f64 / simulation.exchanges as f64;
        println!(
            "{number} members, {limit} in {seconds} s: most {most}, used {used:.3}, {calls:.1} calls an exchange, {each:?}"
        );
        assert!(most <= limit);
        assert!(used >= 0.95, "{used}");
    }
}

/// Runs eight saturated members at 600 requests in 6 s while something happens from 9 s on.
async fn disturbed(when_down: WhenDown, happens: impl FnOnce(&mut Simulation)) -> Option<Simulation> {
    let mut simulation = Simulation::start().await?;
    simulation.add_many(4, &spec(&[requests(600, 6)]), when_down);
    happens(&mut simulation);
    simulation.run(SECOND * 24).await;
    println!(
        "most {}, before {:.3}, then {:.3}, {:.3}, after {:.3}",
        simulation.most(SECOND * 6, false, Time::ZERO),
        simulation.used(600, SECOND * 6, SECOND * 3, SECOND * 9),
        simulation.used(600, SECOND * 6, SECOND * 9, SECOND * 12),
        simulation.used(600, SECOND * 6, SECOND * 12, SECOND * 18),
        simulation.used(600, SECOND * 6, SECOND * 18, SECOND * 24),
    );
    Some(simulation)
}

fn holds(simulation: &Simulation) {
    assert!(simulation.most(SECOND * 6, false, Time::ZERO) <= 600);
    assert!(simulation.used(600, SECOND * 6, SECOND * 18, SECOND * 24) >= 0.95);
}

#[tokio::test]
async fn a_ledger_that_is_evicted_is_declared_again() {
    let evict = |simulation: &mut Simulation| {
        let key = simulation.key.as_str().to_owned().leak();
        simulation.at(SECOND * 9 + MILLISECOND, Event::Command(vec!["DEL", key]));
    };
    let Some(simulation) = disturbed(WhenDown::Share(0.25), evict).await else { return };
    holds(&simulation);
}

#[tokio::test]
async fn a_redis_that_restarts_empty_is_filled_again() {
    let restart = |simulation: &mut Simulation| {
        simulation.outages.push((SECOND * 9, SECOND * 10, false));
        simulation.at(SECOND * 9 + MILLISECOND, Event::Command(vec!["FLUSHALL"]));
        simulation.at(SECOND * 9 + MILLISECOND, Event::Command(vec!["SCRIPT", "FLUSH"]));
    };
    let Some(simulation) = disturbed(WhenDown::Share(0.25), restart).await else { return };
    holds(&simulation);
    let Some(simulation) = disturbed(WhenDown::Wait, restart).await else { return };
    holds(&simulation);
    assert_eq!(simulation.sum(SECOND * 9 + PATIENCE, SECOND * 10, false), 0);
}

#[tokio::test]
async fn each_member_keeps_to_its_share_while_redis_is_frozen_or_gone() {
    let freeze = |simulation: &mut Simulation| simulation.outages.push((SECOND * 9, SECOND * 11, true));
    let Some(simulation) = disturbed(WhenDown::Share(0.25), freeze).await else { return };
    holds(&simulation);
    let gone = |simulation: &mut Simulation| simulation.outages.push((SECOND * 9, SECOND * 20, false));
    let Some(simulation) = disturbed(WhenDown::Share(0.125), gone).await else { return };
    assert!(simulation.most(SECOND * 6, false, Time::ZERO) <= 600);
    let half = simulation.used(600, SECOND * 6, SECOND * 12, SECOND * 18);
    assert!((0.45..=0.5).contains(&half), "{half}");
    // Nobody ever waited for the Redis, and it is joined again by itself.
    assert!(simulation.members.iter().all(|member| member.state.down_since().is_none()));
}

/// A member that has used little does not use its whole share at once when the Redis is lost: others have used the rest.
#[tokio::test]
async fn who_has_used_little_grows_slowly_while_redis_is_gone() {
    for (outage, is_emptied) in [(300 * MILLISECOND, true), (SECOND, true), (SECOND * 7, false)] {
        let Some(mut simulation) = Simulation::start().await else { return };
        let spec = spec(&[requests(600, 6)]);
        simulation.add_many(3, &spec, WhenDown::Share(0.25));
        simulation.add(&spec, WhenDown::Share(0.25), 500 * MILLISECOND, SECOND, Time::MAX);
        simulation.at(SECOND * 9, Event::Do(|simulation| simulation.members[3].every = Time::ZERO));
        simulation.outages.push((SECOND * 9, SECOND * 9 + outage, false));
        if is_emptied {
            simulation.at(SECOND * 9 + MILLISECOND, Event::Command(vec!["FLUSHALL"]));
        }
        simulation.run(SECOND * 28).await;
        let most = simulation.most(SECOND * 6, false, Time::ZERO);
        let before = simulation.used(600, SECOND * 6, SECOND * 6, SECOND * 9);
        let after = simulation.used(600, SECOND * 6, SECOND * 22, SECOND * 28);
        println!("away for {outage:?}: most {most}, used {before:.3}, then {after:.3}");
        assert!(most <= 600, "{most}");
        assert!(before >= 0.95 && after >= 0.95, "{before} {after}");
        // It gets its share all the same.
        assert!(simulation.admissions.iter().filter(|(at, _, member)| *member == 3 && *at > SECOND * 22).count() > 100);
    }
}

/// One member's connection is lost for a moment while the others go on: they get what leaves the windows.
#[tokio::test]
async fn a_member_that_is_cut_off_for_a_moment_spends_nothing() {
    let cut = |simulation: &mut Simulation| simulation.cut = Some((0, SECOND * 9, SECOND * 9 + 500 * MILLISECOND));
    let Some(simulation) = disturbed(WhenDown::Share(0.25), cut).await else { return };
    holds(&simulation);
}

#[tokio::test]
async fn clocks_that_jump_change_nothing() {
    for hours in [-1, 1] {
        let jump = move |simulation: &mut Simulation| {
            let event: fn(&mut Simulation) = match hours {
                1 => |simulation| simulation.clock = 3600,
                _ => |simulation| simulation.clock = -3600,
            };
            simulation.at(SECOND * 9, Event::Do(event));
        };
        let Some(simulation) = disturbed(WhenDown::Share(0.25), jump).await else { return };
        holds(&simulation);
        assert!(simulation.used(600, SECOND * 6, SECOND * 9, SECOND * 15) >= 0.95);
    }
}

#[tokio::test]
async fn a_dead_members_budget_comes_back_and_a_frozen_one_spends_nothing_late() {
    let dies = |simulation: &mut Simulation| {
        simulation.at(SECOND * 9, Event::Do(|simulation| simulation.members[0].dead = true));
        simulation.members[1].frozen = Some((SECOND * 9, SECOND * 14));
    };
    let Some(simulation) = disturbed(WhenDown::Share(0.25), dies).await else { return };
    holds(&simulation);
    assert!(simulation.used(600, SECOND * 6, SECOND * 12, SECOND * 18) >= 0.95);
}

#[tokio::test]
async fn tokens_of_calls_of_unequal_size() {
    let Some(mut simulation) = Simulation::start().await else { return };
    // Reserved: up to 4,000; used: a part of that.
    simulation.call = |seed| {
        let size = 100 + seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 3_900;
        let duration = MILLISECOND * u32::try_from(50 + size / 10).unwrap();
        (duration, Tokens { input: size, output: 200 }, Some(Tokens { input: size, output: 50 + size % 150 }))
    };
    let limit = Limit { requests: Some(400), tokens: Some(100_000), ..Limit::per(SECOND * 6) };
    simulation.add_many(4, &spec(&[limit]), WhenDown::Share(0.1));
    simulation.run(SECOND * 24).await;
    let most = simulation.most(SECOND * 6, true, Time::ZERO);
    let used = simulation.sum(SECOND * 6, SECOND * 24, true) as f64 / 300_000.0;
    let each: Vec<u64> = simulation.members.iter().map(|member| member.admitted).collect();
    println!("most {most}, used {used:.3}, {each:?}");
    assert!(most <= 100_000 && used >= 0.95, "{most} {used}");
    assert!(each.iter().max().unwrap() * 10 <= each.iter().min().unwrap() * 14, "{each:?}");
}

#[tokio::test]
async fn seats_are_shared_and_those_of_a_dead_member_come_back() {
    for (members, seats) in [(3, 10), (8, 3)] {
        let Some(mut simulation) = Simulation::start().await else { return };
        let spec = QuotaSpec { max_in_flight: Some(seats), ..QuotaSpec::default() };
        simulation.add_many(members, &spec, WhenDown::Share(0.1));
        simulation.run(SECOND * 10).await;
        let each: Vec<u64> = simulation.members.iter().map(|member| member.admitted).collect();
        let used = simulation.sum(SECOND * 2, SECOND * 10, false) as f64 / (8.0 * f64::from(seats) * 5.0);
        println!("most {}, used {used:.3}, {each:?}, {} exchanges", simulation.most_in_flight, simulation.exchanges);
        assert_eq!(simulation.most_in_flight, seats);
        assert!(used >= if members > 3 { 0.6 } else { 0.9 }, "{used}");
        assert!(each.iter().max().unwrap() <= &(each.iter().min().unwrap() * 2), "{each:?}");
        // All but one die with their seats.
        for member in &mut simulation.members[1..] {
            member.dead = true;
        }
        simulation.run(SECOND * 20).await;
        let used = simulation.sum(SECOND * 13, SECOND * 20, false) as f64 / (7.0 * f64::from(seats) * 5.0);
        println!("{used:.3}");
        assert!(used >= 0.9, "{used}");
    }
}

#[tokio::test]
async fn a_refusal_pauses_all_members() {
    let Some(mut simulation) = Simulation::start().await else { return };
    simulation.add_many(3, &spec(&[requests(600, 6)]), WhenDown::Share(0.1));
    simulation.run(SECOND * 5).await;
    let outcome = Signals { failure: Some(FailureClass::Rate), retry_after: Some(SECOND * 3), ..Signals::default() };
    let taken = Taken { at: WALL + SECOND * 4, tokens: Tokens::default(), alone: None, probe: false };
    simulation.members[0].in_flight += 1;
    simulation.at(SECOND * 5, Event::Finish(0, Box::new((taken, None, outcome))));
    simulation.run(SECOND * 8).await;
    let late = simulation.sum(SECOND * 5 + 500 * MILLISECOND, SECOND * 8, false);
    let paused: Vec<bool> = simulation.members.iter().map(|it| it.state.state(SECOND * 7).paused.is_some()).collect();
    println!("{late} admitted in the pause, {paused:?}");
    assert_eq!(late, 0);
    assert_eq!(paused, [true; 3]);
    simulation.run(SECOND * 12).await;
    assert!(simulation.sum(SECOND * 9, SECOND * 12, false) > 100);
    // The burst is small now, for all: after idleness little goes out at once.
    assert!(simulation.members.iter().all(|member| member.state.state(SECOND * 12).burst < 0.1));
}

#[tokio::test]
async fn many_calls_need_few_exchanges() {
    for (members, limit, seconds, every) in [(1, 1_500, 1, 1), (1, 2_000, 1, 0), (1, 120_000, 60, 1)] {
        let Some(mut simulation) = Simulation::start().await else { return };
        let spec = spec(&[requests(limit, seconds)]);
        for index in 0..members {
            let from = simulation.now + MILLISECOND * index;
            simulation.add(&spec, WhenDown::Share(0.1), MILLISECOND * every, from, Time::MAX);
        }
        simulation.run(SECOND * 3).await;
        let (calls, exchanges) = (simulation.admissions.len(), simulation.exchanges);
        simulation.run(SECOND * 4).await;
        let (calls, exchanges) = (simulation.admissions.len() - calls, simulation.exchanges - exchanges);
        println!("{limit} in {seconds} s: {calls} calls, {exchanges} exchanges");
        assert!(calls >= 980, "{calls}");
        assert!(exchanges * 50 <= calls as u64, "{calls} {exchanges}");
    }
}

#[tokio::test]
async fn a_lone_call_waits_for_one_exchange_only() {
    let Some(mut simulation) = Simulation::start().await else { return };
    simulation.add(&spec(&[requests(60, 60)]), WhenDown::Share(0.1), SECOND * 100, SECOND, Time::MAX);
    simulation.run(SECOND * 2).await;
    assert_eq!(simulation.admissions.first().map(|admission| admission.0), Some(SECOND + 2 * MILLISECOND));
    // And once its call has left the window, the member is silent.
    simulation.run(SECOND * 70).await;
    let exchanges = simulation.exchanges;
    simulation.run(SECOND * 90).await;
    assert_eq!(simulation.exchanges, exchanges);
}

#[tokio::test]
async fn keys_expire_and_show_no_names() {
    let key = Key::new("prod", "openai/gpt-4o");
    assert_ne!(key, Key::new("test", "openai/gpt-4o"));
    assert!(!key.as_str().contains("openai") && !key.as_str().contains("prod"));
    let Some(mut simulation) = Simulation::start().await else { return };
    simulation.add_many(2, &spec(&[requests(60, 60)]), WhenDown::Share(0.1));
    simulation.run(SECOND * 2).await;
    assert_eq!(simulation.client().command(&["DBSIZE"]).await.unwrap(), Value::Integer(1));
    let Value::Integer(left) = simulation.client().command(&["PTTL", simulation.key.as_str()]).await.unwrap() else {
        panic!()
    };
    assert!((3_500_000..=3_600_000).contains(&left), "{left}");
}
