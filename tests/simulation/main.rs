//! A day of 1,000 workers on 50 deployments, in virtual time: the state machines of limits and router as the client drives
//! them, against servers that fail, change their limits and close, while workers are killed and a Redis is cut off.
//!
//! Twenty hosts run 49 workers each, which share the host's ledgers; a host uses one of ten groups of five deployments, with
//! accounts of its own, of which two deployments share one, and another group stands in for it. Twenty machines with a worker
//! each share ledgers in a Redis. An observer of each quota checks at each step what must hold. Every seed can be repeated:
//! `RITELLM_SEED=7 cargo test --profile long --no-default-features --test simulation -- --ignored`.

mod calls;
mod network;
mod observer;
mod picture;
mod provider;
mod site;
mod store;

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use calls::{Stage, Underway};
use fastrand::Rng;
use network::{Message, Trouble};
use picture::GROUPS;
use provider::{Condition, DAY, MINUTE};
use ritellm::limits::{Snapshot, Time};
use ritellm::router::plan::Plan;
use site::{GROUP, HOSTS, QUOTAS, Site};

/// Longest time until somebody notices that a worker has died.
const REAP: f64 = 1.0;
/// Calls of a job that are under way at once: of a worker of a host, and of a machine.
const JOB_WIDTH: [usize; 2] = [96, 12];

fn seconds(number: f64) -> Duration {
    Duration::from_secs_f64(number)
}

#[derive(Debug, Clone, Copy)]
enum Happening {
    Arrival {
        site: usize,
    },
    Job {
        site: usize,
    },
    /// The line of a worker asks again.
    Poll {
        site: usize,
        worker: usize,
        quota: usize,
    },
    /// The time that a call decided on has come.
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
    /// The deadline of a call that has waited.
    End {
        call: usize,
        number: u64,
    },
    /// A machine may want an exchange with the Redis.
    Exchange {
        worker: usize,
        quota: usize,
    },
    Message {
        number: usize,
    },
    Trouble,
    Healed,
    Kill {
        site: usize,
    },
    Reap {
        site: usize,
        worker: usize,
    },
    Weather {
        deployment: usize,
    },
    LimitChange {
        site: usize,
    },
    Sample,
}

/// Something that happens at a time; at the same time, in the order in which it was decided.
struct Entry {
    key: (u64, u64),
    happening: Happening,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The earliest is the largest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key.cmp(&self.key)
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
    /// Calls that left a line for another deployment.
    moved: u64,
    hedges: u64,
    /// Attempts that lost a race.
    aborted: u64,
    /// Calls that succeeded after another group was asked.
    fell_back: u64,
    exchanges: u64,
    troubles: u64,
}

struct World {
    random: Rng,
    now: Time,
    end: Time,
    queue: BinaryHeap<Entry>,
    order: u64,
    sites: Vec<Site>,
    conditions: Vec<Condition>,
    calls: Vec<Option<Box<Underway>>>,
    free: Vec<usize>,
    /// Lines that ask when what happens now is over.
    woken: Vec<(usize, usize, usize)>,
    /// Jobs whose next call starts then.
    starting: Vec<(usize, usize)>,
    messages: Vec<Option<Message>>,
    free_messages: Vec<usize>,
    trouble: Trouble,
    /// Time from which on the Redis knows what all have used, if it is not in trouble.
    complete_from: Time,
    number: u64,
    tally: Tally,
    plan: Arc<Plan>,
    samples: Vec<picture::Sample>,
    sample: picture::Sample,
}

impl World {
    fn new(seed: u64, length: Duration) -> Self {
        println!("seed {seed}, {} hours: RITELLM_SEED={seed} repeats it", length.as_secs_f64() / 3600.0);
        let mut random = Rng::with_seed(seed);
        let plan = Arc::new(site::plan(seed));
        let mut world = Self {
            sites: site::sites(&plan, &mut random),
            random,
            now: DAY,
            end: DAY + length,
            queue: BinaryHeap::new(),
            order: 0,
            conditions: vec![Condition::Well; GROUPS * GROUP],
            calls: Vec::new(),
            free: Vec::new(),
            woken: Vec::new(),
            starting: Vec::new(),
            messages: Vec::new(),
            free_messages: Vec::new(),
            trouble: Trouble::None,
            complete_from: Time::ZERO,
            number: 1_000_000,
            tally: Tally::default(),
            plan,
            samples: Vec::new(),
            sample: picture::Sample::default(),
        };
        let part = length.as_secs_f64() / 86_400.0;
        for site in 0..=HOSTS {
            let learnt = world.sites[site].quotas.iter_mut().filter(|quota| quota.is_adaptive);
            learnt.for_each(|quota| quota.observer.disturb(DAY, DAY + MINUTE));
            if site < HOSTS {
                world.at(world.now, Happening::Arrival { site });
            }
            let first = world.random.f64() * 7200.0 * part;
            world.at(world.now + seconds(first), Happening::Job { site });
            let first = world.random.f64() * 1800.0 * part.max(0.05);
            world.at(world.now + seconds(first), Happening::Kill { site });
            let first = (1800.0 + world.random.f64() * 7200.0) * part.max(0.2);
            world.at(world.now + seconds(first), Happening::LimitChange { site });
        }
        for deployment in 0..GROUPS * GROUP {
            let first = world.random.f64() * 14_400.0 * part.max(0.05);
            world.at(world.now + seconds(first), Happening::Weather { deployment });
        }
        world.at(world.now + picture::EVERY, Happening::Sample);
        world
    }

    fn at(&mut self, time: Time, happening: Happening) {
        self.order += 1;
        let nanos = u64::try_from(time.as_nanos()).expect("a time of the day");
        self.queue.push(Entry { key: (nanos, self.order), happening });
    }

    fn number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn run(&mut self) {
        while let Some(Entry { key: (nanos, _), happening }) = self.queue.pop() {
            let time = Duration::from_nanos(nanos);
            self.now = time;
            let goes_on = time < self.end;
            match happening {
                Happening::Arrival { site } if goes_on => self.arrive(site),
                Happening::Job { site } if goes_on => self.begin_job(site),
                Happening::Kill { site } if goes_on => self.kill(site),
                Happening::Weather { deployment } if goes_on => self.change_weather(deployment),
                Happening::LimitChange { site } if goes_on => self.change_limit(site),
                Happening::Trouble if goes_on => self.trouble(),
                Happening::Sample if goes_on => {
                    let quotas = self.sites.iter().flat_map(|site| &site.quotas);
                    let limit: f64 = quotas.map(|quota| quota.account.limit).sum();
                    self.sample.limit = limit / 60.0 * picture::EVERY.as_secs_f64();
                    self.samples.push(std::mem::take(&mut self.sample));
                    self.at(time + picture::EVERY, Happening::Sample);
                }
                Happening::Healed => {
                    self.trouble = Trouble::None;
                    self.complete_from = self.complete_from.max(time + network::BACK);
                }
                Happening::Reap { site, worker } => self.reap(site, worker),
                Happening::Poll { site, worker, quota } => {
                    let poll = &mut self.sites[site].workers[worker].lines[quota].poll;
                    if *poll == time {
                        *poll = Time::MAX;
                        self.wake(site, worker, quota);
                    }
                }
                Happening::Exchange { worker, quota } => {
                    assert!(time < self.end + MINUTE * 60, "members that have nothing to do fall silent");
                    self.exchange(worker, quota);
                }
                Happening::Message { number } => self.deliver(number),
                Happening::Due { call, number } => self.due(call, number),
                Happening::Answer { call, number } => self.answer(call, number),
                Happening::QueueTimeout { call, number } => self.leave_line(call, number),
                Happening::End { call, number }
                    if self.calls[call].as_ref().is_some_and(|underway| underway.number == number) =>
                {
                    self.give_up(call);
                }
                _ => {}
            }
            loop {
                self.ask_lines();
                let Some((site, worker)) = self.starting.pop() else { break };
                self.start(site, worker, true);
            }
        }
        assert!(self.calls.iter().all(Option::is_none), "every call ends");
        assert_eq!(self.tally.calls, self.tally.succeeded + self.tally.failed + self.tally.lost);
        for site in 0..self.sites.len() {
            for quota in 0..QUOTAS {
                assert_eq!(self.sites[site].quotas[quota].observer.in_flight, 0);
                if !self.sites[site].has_store {
                    let state = self.snapshot(site, 0, quota).budget;
                    assert_eq!((state.in_flight, state.reserved), (0, 0), "nothing is left of calls that have ended");
                }
            }
        }
    }

    fn snapshot(&mut self, site: usize, worker: usize, quota: usize) -> Snapshot {
        let now = self.now;
        self.sites[site].with(worker, quota, |quota, budget| quota.snapshot(budget, now))
    }

    /// Part of the limits that interactive calls use: little at night, three quarters in the afternoon.
    fn demand(&self) -> f64 {
        let hour = (self.now.as_secs_f64() / 3600.0) % 24.0;
        0.35 - 0.3 * ((hour - 3.0) / 24.0 * std::f64::consts::TAU).cos()
    }

    fn arrive(&mut self, site: usize) {
        let gap = -(1.0 - self.random.f64()).ln() * self.sites[site].gap / self.demand();
        self.at(self.now + seconds(gap), Happening::Arrival { site });
        let worker = self.random.usize(..self.sites[site].workers.len());
        if self.sites[site].workers[worker].is_alive {
            self.start(site, worker, false);
        }
    }

    /// Begins a job of two workers of a host, or of all machines, for four or ten minutes of all limits together. Within the first
    /// of the ten something happens to the Redis, and what comes after it must use the limits.
    fn begin_job(&mut self, site: usize) {
        let has_store = self.sites[site].has_store;
        let next = -(1.0 - self.random.f64()).ln() * if has_store { 7_200.0 } else { 21_600.0 };
        self.at(self.now + seconds(next), Happening::Job { site });
        let workers = self.sites[site].workers.len();
        let first = self.random.usize(..workers);
        let chosen = &self.sites[site].workers[first];
        if !chosen.is_alive || chosen.job > 0 {
            return;
        }
        let (number, seconds_of_all) = if has_store { (workers, 600.0) } else { (2, 240.0) };
        let calls = (seconds_of_all / self.sites[site].gap / number as f64) as u32;
        for worker in (first..first + number).map(|worker| worker % workers) {
            let chosen = &mut self.sites[site].workers[worker];
            chosen.job = calls;
            if chosen.is_alive {
                for _ in 0..JOB_WIDTH[usize::from(has_store)] {
                    self.start(site, worker, true);
                }
            }
        }
        if has_store {
            let after = 200.0 * self.random.f64();
            self.at(self.now + seconds(after), Happening::Trouble);
        }
    }

    /// Kills a worker with all its calls: nobody gives back what they hold.
    fn kill(&mut self, site: usize) {
        let next = -(1.0 - self.random.f64()).ln() * 1800.0;
        self.at(self.now + seconds(next), Happening::Kill { site });
        let worker = self.random.usize(..self.sites[site].workers.len());
        if !self.sites[site].workers[worker].is_alive {
            return;
        }
        self.tally.kills += 1;
        if self.sites[site].has_store {
            self.lose_use(worker);
        }
        for index in 0..self.calls.len() {
            let is_its = |underway: &mut Box<Underway>| (underway.site, underway.worker) == (site, worker);
            let Some(underway) = self.calls[index].take_if(is_its) else { continue };
            self.tally.lost += 1;
            self.free.push(index);
            for placed in underway.attempts {
                let observer = &mut self.sites[site].quotas[placed.quota].observer;
                match placed.stage {
                    Stage::Waiting { .. } => observer.waiting(self.now, -1),
                    Stage::Flying { .. } => observer.in_flight -= 1,
                    Stage::Admitted(_) | Stage::Changing => {}
                }
            }
        }
        let (id, plan) = (self.number() as usize, self.plan.clone());
        self.sites[site].start(worker, id, &plan, self.now, &mut self.random);
        self.sites[site].workers[worker].is_alive = false;
        let noticed = self.random.f64() * REAP;
        self.at(self.now + seconds(noticed), Happening::Reap { site, worker });
    }

    /// Frees what a dead worker held; another one starts in its place.
    fn reap(&mut self, site: usize, worker: usize) {
        let is_only_dead = self.sites[site].workers.iter().filter(|worker| !worker.is_alive).count() == 1;
        self.sites[site].workers[worker].is_alive = true;
        if self.sites[site].has_store {
            // The Redis notices by itself.
            return;
        }
        for index in 0..QUOTAS {
            if let site::Place::Host(ledger) = &mut self.sites[site].quotas[index].place {
                ledger.free_member(worker);
            }
            let state = self.snapshot(site, worker, index).budget;
            let in_flight = self.sites[site].quotas[index].observer.in_flight;
            if is_only_dead {
                assert_eq!(state.in_flight, in_flight, "the seats of the dead are free, no others");
            }
            if let Some(learnt) = state.learnt.filter(|_| is_only_dead) {
                assert_eq!(learnt.in_flight, u64::from(in_flight));
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
        let now = self.now;
        for site in self.sites.iter_mut().filter(|site| site.group / 2 == deployment / GROUP / 2) {
            let quota = site.quota_of(deployment);
            site.quotas[quota].observer.disturb(now, calm);
        }
    }

    /// Halves or doubles an account's limit that nobody declared.
    fn change_limit(&mut self, site: usize) {
        let Some(shared) = self.sites[site].quotas.iter_mut().find(|quota| quota.is_adaptive) else { return };
        let account = &mut shared.account;
        account.limit = if account.limit > 500.0 { 300.0 } else { 600.0 };
        shared.observer.disturb(self.now, self.now + seconds(240.0));
        shared.observer.limits.0 = shared.account.limit;
        let next = 3600.0 + self.random.f64() * 7200.0;
        self.at(self.now + seconds(next), Happening::LimitChange { site });
    }

    /// Prints what came of it, and checks it: limits are used, learnt ones are not exceeded often. `least_saturated` is the time
    /// in seconds for which declared limits of hosts, and of the Redis, are waited for at least: otherwise nothing shows that they
    /// are used.
    fn report(&mut self, least_used: f64, most_refused: f64, least_saturated: f64) {
        let hours = (self.end - DAY).as_secs_f64() / 3600.0;
        println!("figure: seed {}, {hours:.2} hours: {:?}", seed(), self.tally);
        let Tally { calls, hedges, .. } = self.tally;
        let workers: usize = self.sites.iter().map(|site| site.workers.len()).sum();
        assert!(hedges <= calls / 20 + 10 * workers as u64, "{hedges} second requests of {calls} calls");
        let mut sums = [[0.0; 2]; 2];
        let (mut least, mut most) = ([f64::MAX; 2], [0.0_f64; 2]);
        for (index, site) in self.sites.iter_mut().enumerate() {
            for (number, quota) in site.quotas.iter_mut().enumerate() {
                let observer = &mut quota.observer;
                most.iter_mut().zip(observer.most).for_each(|(most, part)| *most = most.max(part));
                let part = observer.used / observer.saturated;
                let of_minutes = observer.used_of_minutes / observer.saturated;
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
                    if observer.saturated >= 600.0 {
                        least = [least[0].min(of_minutes), least[1].min(part)];
                        // Of all of it: requests and tokens, which bind in turn, and what is reserved until calls end:
                        // neither is full.
                        let room = if observer.limits.1 < f64::MAX { 0.03 } else { 0.01 };
                        assert!(
                            of_minutes >= least_used && part >= least_used - room,
                            "site {index}, quota {number}: {of_minutes} of the limit was used in the minutes of {} s, \
                             {part} in all of it",
                            observer.saturated
                        );
                    }
                    let sum = &mut sums[usize::from(site.has_store)];
                    sum[0] += observer.saturated;
                    sum[1] += observer.used;
                }
            }
        }
        for (name, [saturated, used]) in ["hosts", "Redis"].into_iter().zip(sums) {
            assert!(saturated >= least_saturated, "{name}: declared limits were waited for during {saturated} s only");
            if saturated == 0.0 {
                println!("figure: {name}: no declared limit was waited for long enough");
                continue;
            }
            let part = used / saturated;
            println!("figure: {name}: {:.1} % of declared limits used in {saturated:.0} s of saturation", part * 100.0);
            assert!(saturated < 600.0 || part >= least_used, "{name}: {part} used");
        }
        if least[0] < f64::MAX {
            let [of_minutes, of_all] = least.map(|part| part * 100.0);
            println!(
                "figure: of each that was waited for during ten minutes, at least {of_minutes:.1} % used in the minutes \
                 of saturation, {of_all:.1} % in all of it"
            );
        }
        let [most, alone] = most.map(|part| part * 100.0);
        println!(
            "figure: at most {most:.1} % of a declared limit in any window, {alone:.1} % while machines were cut off or had died"
        );
    }
}

fn seed() -> u64 {
    std::env::var("RITELLM_SEED").map_or(1, |text| text.parse().expect("RITELLM_SEED is a number"))
}

#[test]
fn minutes_of_a_day() {
    let mut world = World::new(seed(), MINUTE * 2);
    world.run();
    world.report(0.95, 0.05, 0.0);
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
    world.report(0.95, 0.02, 600.0);
}
