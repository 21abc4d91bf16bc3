//! The places of a day: hosts whose workers share ledgers in memory, and machines that share ledgers in a Redis.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytemuck::Zeroable;
use fastrand::Rng;
use ritellm::limits::lease::{LeaseState, WhenDown};
use ritellm::limits::{Budget, Ledger, Limit, Quota, QuotaSpec, Ticket, Time};
use ritellm::router::config::{Config, DeploymentConfig, GroupConfig};
use ritellm::router::options::{Cooldown, Hedge, HedgeAfter};
use ritellm::router::plan::Plan;
use ritellm::router::state::State;

use super::observer::Observer;
use super::picture::GROUPS;
use super::provider::{Account, DAY, MINUTE, Rule};
use super::store::Store;

pub const HOSTS: usize = 20;
/// Workers of a host, and machines with a Redis: a thousand together.
pub const WORKERS: usize = 49;
pub const MACHINES: usize = 20;
/// Part of a limit that a machine keeps to by itself.
pub const PART: f64 = 1.0 / MACHINES as f64;
/// Deployments of a group, and the quota of each. All those of the group that stands in share one more.
pub const GROUP: usize = 5;
const QUOTA_OF: [usize; GROUP] = [0, 0, 1, 2, 3];
const STANDS_IN: usize = 4;
pub const QUOTAS: usize = 5;
/// The Redis' clock at the beginning of the day, less that of the machines.
pub const WALL: Time = Duration::from_secs(1_800_000_000);

/// A quota that the workers of a site share, and the account that it stands for.
pub struct Shared {
    pub place: Place,
    pub account: Account,
    pub observer: Observer,
    pub is_adaptive: bool,
    spec: QuotaSpec,
    /// Time that each waiting call takes, by the strictest window.
    pub each: Duration,
}

pub enum Place {
    Host(Box<Ledger>),
    Store(Store),
}

/// An attempt that waits.
pub struct Waiter {
    pub ticket: Ticket,
    pub call: usize,
    pub attempt: usize,
}

/// The calls of a worker that wait for a quota.
pub struct Line {
    pub quota: Quota,
    pub waiters: Vec<Waiter>,
    /// The last call that had its turn and was not admitted, and the time at which it asks again.
    pub asleep: Option<(Ticket, Time)>,
    /// Time at which the line asks again.
    pub poll: Time,
    /// Calls that wait elsewhere and would rather be made here, each by its place and number.
    pub watchers: Vec<(usize, u64)>,
    /// Time of the next exchange with the Redis.
    pub exchange: Time,
    /// True if the Redis has granted anything.
    pub has_heard: bool,
}

pub struct Worker {
    pub state: Arc<Mutex<State>>,
    pub lines: [Line; QUOTAS],
    /// One for each quota that is in a Redis.
    pub leases: Vec<LeaseState>,
    /// Number of this process.
    pub id: usize,
    pub is_alive: bool,
    /// Calls that a job is still to make.
    pub job: u32,
    /// Cut off from the Redis until then.
    pub cut_until: Time,
}

pub struct Site {
    pub group: usize,
    pub workers: Vec<Worker>,
    pub quotas: Vec<Shared>,
    /// Mean of seconds between two interactive calls at the limit.
    pub gap: f64,
    pub has_store: bool,
}

impl Site {
    /// Returns the quota that a deployment counts against.
    pub fn quota_of(&self, deployment: usize) -> usize {
        if deployment / GROUP == self.group { QUOTA_OF[deployment % GROUP] } else { STANDS_IN }
    }

    /// Calls a function with a worker's view of a quota and its budget.
    pub fn with<T>(
        &mut self,
        worker: usize,
        quota: usize,
        function: impl FnOnce(&mut Quota, &mut dyn Budget) -> T,
    ) -> T {
        let Worker { lines, leases, .. } = &mut self.workers[worker];
        let line = &mut lines[quota];
        match &mut self.quotas[quota].place {
            Place::Host(ledger) => function(&mut line.quota, &mut ledger.member(worker)),
            Place::Store(_) => function(&mut line.quota, &mut leases[quota]),
        }
    }

    /// Starts a process in the place of a worker.
    pub fn start(&mut self, worker: usize, id: usize, plan: &Arc<Plan>, now: Time, random: &mut Rng) -> Worker {
        let mut fresh = self::worker(plan, id, random);
        if self.has_store {
            // Its own clock is a little wrong.
            let wall = WALL + now + Duration::from_millis(random.u64(0..10));
            let when_down = WhenDown::Share(PART);
            let leases = self.quotas.iter().map(|quota| LeaseState::new(&quota.spec, when_down, now, wall));
            fresh.leases = leases.collect();
        }
        std::mem::replace(&mut self.workers[worker], fresh)
    }
}

fn worker(plan: &Arc<Plan>, id: usize, random: &mut Rng) -> Worker {
    let line = || Line {
        quota: Quota::new(0.05),
        waiters: Vec::new(),
        asleep: None,
        poll: Time::MAX,
        watchers: Vec::new(),
        exchange: Time::MAX,
        has_heard: false,
    };
    Worker {
        state: Arc::new(Mutex::new(State::new(plan.clone(), || random.f64()))),
        lines: std::array::from_fn(|_| line()),
        leases: Vec::new(),
        id,
        is_alive: true,
        job: 0,
        cut_until: Time::ZERO,
    }
}

/// Returns ten groups of five deployments, of which two neighbours stand in for each other.
pub fn plan(seed: u64) -> Plan {
    let strategies = ["weighted", "least_busy", "latency", "ordered"];
    let name = |group: usize| format!("group{group}");
    let groups = (0..GROUPS).map(|group| GroupConfig {
        name: name(group),
        deployments: (0..GROUP)
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
        fallbacks: (0..GROUPS).map(|group| (name(group), vec![name(group ^ 1)])).collect(),
        allow_circles: true,
        hedge: Some(Hedge { after: HedgeAfter::Quantile(0.95), budget: 0.05 }),
        cooldown: Cooldown { ramps_up: false, ..Cooldown::default() },
        groups: groups.collect(),
        ..Config::default()
    }
    .compile()
    .expect("a valid configuration")
}

/// Returns a quota: some are learnt, the others are declared, some by tokens or by the second, too.
fn shared(site: usize, quota: usize, has_store: bool, random: &mut Rng) -> Shared {
    let is_adaptive = quota == 3 && site.is_multiple_of(4) && !has_store;
    let limit = match (is_adaptive, has_store) {
        (true, _) => 600,
        (_, true) => random.u64(240..600),
        (_, false) => random.u64(24..90),
    };
    let tokens = (quota == 2).then_some(limit * 700);
    let per_second = (quota == 1 && (site % 2 == 1 || has_store)).then(|| limit.div_ceil(15));
    let per_day = (quota == 1 && site.is_multiple_of(5) && !has_store).then_some(limit * 500);
    let mut limits = vec![Limit { requests: Some(limit), tokens, ..Limit::per(MINUTE) }];
    limits.extend(per_second.map(|most| Limit { requests: Some(most), ..Limit::per(Duration::from_secs(1)) }));
    if is_adaptive {
        limits.clear();
    }
    let spec = QuotaSpec { limits, adaptive: is_adaptive, ..QuotaSpec::default() };
    let place = match has_store {
        true => Place::Store(Store::default()),
        false => {
            let mut ledger = Box::new(Ledger::zeroed());
            ledger.declare(&spec).expect("at most eight windows");
            Place::Host(ledger)
        }
    };
    let rule = match (is_adaptive, site % 8) {
        (false, _) => Rule::Sliding,
        (true, 0) => Rule::Bucket,
        (true, _) => Rule::ClockMinute,
    };
    let interval = |limit: &Limit| limit.per.checked_div(u32::try_from(limit.requests?).ok()?);
    Shared {
        place,
        account: Account::new(rule, limit as f64, per_day, random.bool()),
        observer: Observer::new((!is_adaptive).then_some(limit), tokens, per_second, limit as f64, has_store),
        is_adaptive,
        each: spec.limits.iter().filter_map(interval).max().unwrap_or(Duration::from_millis(1)),
        spec,
    }
}

/// Returns the sites: hosts, each with accounts of its own, and the machines with the Redis.
pub fn sites(plan: &Arc<Plan>, random: &mut Rng) -> Vec<Site> {
    let mut next = 0;
    let mut site = |index: usize| {
        let has_store = index == HOSTS;
        let quotas: Vec<Shared> = (0..QUOTAS).map(|quota| shared(index, quota, has_store, random)).collect();
        let limit: f64 = quotas[..STANDS_IN].iter().map(|quota| quota.account.limit).sum();
        let workers = if has_store { MACHINES } else { WORKERS };
        let group = (index / 2) % GROUPS;
        let mut site = Site { group, workers: Vec::new(), quotas, gap: 60.0 / limit, has_store };
        for number in 0..workers {
            site.workers.push(worker(plan, 0, random));
            let _ = site.start(number, next, plan, DAY, random);
            next += 1;
        }
        site
    };
    (0..=HOSTS).map(&mut site).collect()
}
