//! The ledger of a quota in a Redis, as src/store/redis/lease.lua keeps it: a simulated day has more exchanges than a server
//! and its protocol could take in a minute. A test holds it to the script, answer by answer.

use std::collections::VecDeque;
use std::time::Duration;

use ritellm::limits::Time;
use ritellm::limits::lease::{Grant, Reply, Request};
use ritellm::types::rate_limit::Unit;

const BINS: f64 = 100.0;
const EARLY: f64 = 0.02;
const UNLIMITED: f64 = 4_294_967_295.0;
/// Number of bytes of the log from which on a snapshot is wanted, and from which on it is forgotten.
const LOG: (usize, usize) = (16_384, 1_048_576);

/// Requests, input tokens and output tokens.
type Amounts = [f64; 3];

/// Number of the first and of the following bins of a window, each with what was used in it.
#[derive(Default)]
struct Bins {
    first: i64,
    used: VecDeque<f64>,
}

impl Bins {
    fn at(&mut self, bin: i64) -> Option<&mut f64> {
        self.used.get_mut(usize::try_from(bin.checked_sub(self.first)?).ok()?)
    }

    fn add(&mut self, bin: i64, amount: f64) {
        if self.used.is_empty() {
            self.first = bin;
        }
        while bin < self.first {
            self.used.push_front(0.0);
            self.first -= 1;
        }
        let index = usize::try_from(bin - self.first).expect("not before the first");
        if index >= self.used.len() {
            self.used.resize(index + 1, 0.0);
        }
        self.used[index] += amount;
    }

    /// Forgets the bins before this one, and returns the sum of the others.
    fn sum(&mut self, from: i64) -> f64 {
        while self.first < from && self.used.pop_front().is_some() {
            self.first += 1;
        }
        self.used.iter().sum()
    }
}

struct Window {
    period: f64,
    unit: Unit,
    bins: Bins,
    level: f64,
    at: f64,
    listed: f64,
    used: f64,
}

#[derive(Default)]
struct Member {
    id: usize,
    rank: u64,
    out: Amounts,
    got: Amounts,
    got_at: f64,
    want: Amounts,
    least: Amounts,
    seats: f64,
    seats_wanted: f64,
    seat_at: f64,
    held: f64,
    batch: Option<u64>,
    ends: f64,
    lease: f64,
    report: Option<u64>,
    asks_until: f64,
    hungry: Option<f64>,
    presumed: Option<(Amounts, f64)>,
}

/// The ledger of one quota. Times are µs.
struct Ledger {
    epoch: f64,
    serial: u64,
    offset: f64,
    now: f64,
    fresh: f64,
    recovers: bool,
    again: Option<f64>,
    /// Number of the snapshot of what was learnt, the snapshot, and the log since then with its begin.
    base: u64,
    learnt: Vec<u8>,
    log: Vec<u8>,
    log_at: u64,
    /// The member that finds out whether a pause is over, and until when.
    prober: Option<(usize, f64)>,
    windows: Vec<Window>,
    members: Vec<Member>,
}

/// A Redis, as far as one quota is concerned.
#[derive(Default)]
pub struct Store {
    ledger: Option<Ledger>,
}

/// A window of a request.
struct Asked {
    unit: Unit,
    limit: f64,
    burst: f64,
    rate: f64,
    width: f64,
    period: f64,
    /// Index of its state; `None` with a period of zero.
    state: Option<usize>,
    by_limit: f64,
    by_burst: f64,
    free: f64,
}

fn micros(time: Time) -> f64 {
    time.as_micros() as f64
}

fn time(micros: f64) -> Time {
    // As the script's answers, which are integers.
    Duration::from_micros(micros as u64)
}

fn of(unit: Unit, amounts: &Amounts) -> f64 {
    match unit {
        Unit::Requests | Unit::InFlight => amounts[0],
        Unit::Tokens => amounts[1] + amounts[2],
        Unit::InputTokens => amounts[1],
        Unit::OutputTokens => amounts[2],
    }
}

/// Returns the level up to which `free` fills all who ask (what each wants, and its level), each by at most what it wants.
fn fill(free: f64, asks: &[(f64, f64)]) -> f64 {
    let (mut total, mut low, mut high) = (0.0, f64::INFINITY, 0.0);
    for &(want, level) in asks {
        (total, low, high) = (total + want, f64::min(low, level), f64::max(high, level + want));
    }
    if total <= free {
        return high;
    }
    for _ in 0..30 {
        let middle = (low + high) / 2.0;
        let sum: f64 = asks.iter().map(|&(want, level)| want.min((middle - level).max(0.0))).sum();
        if sum > free { high = middle } else { low = middle }
    }
    low
}

impl Ledger {
    /// Counts an amount that was used at a time. What turned out to be less is taken off the bins from that time on.
    fn count(&mut self, at: f64, amounts: &Amounts) {
        let now = self.now;
        for window in &mut self.windows {
            let (mut amount, width) = (of(window.unit, amounts), window.period / BINS);
            let bin = (at.min(now) / width).floor() as i64;
            if amount > 0.0 {
                window.bins.add(bin, amount);
            } else if amount < 0.0 {
                let first = bin.max(((now - window.period) / width).floor() as i64);
                for bin in first..=(now / width).floor() as i64 {
                    let Some(there) = window.bins.at(bin).filter(|_| amount < 0.0) else { continue };
                    let less = there.min(-amount);
                    *there -= less;
                    amount += less;
                }
            }
        }
    }
}

impl Store {
    /// Forgets everything, as a server does that is started anew or evicts the key.
    pub fn forget(&mut self) {
        self.ledger = None;
    }

    /// Answers a member's request. `wall` is the server's clock.
    pub fn exchange(&mut self, id: usize, wall: Time, request: &Request) -> Reply {
        let wall = micros(wall);
        let (seen, elapsed, grace, lease) =
            (micros(request.seen), micros(request.elapsed), micros(request.grace), micros(request.lease));
        let ledger = self.ledger.get_or_insert_with(|| {
            let start = if seen > 0.0 { seen + elapsed } else { wall };
            Ledger {
                epoch: wall,
                serial: 0,
                offset: start - wall,
                now: start,
                fresh: start + grace,
                recovers: false,
                again: None,
                base: 1,
                learnt: Vec::new(),
                log: Vec::new(),
                log_at: 0,
                prober: None,
                windows: Vec::new(),
                members: Vec::new(),
            }
        });
        let mut now = (wall + ledger.offset).max(ledger.now);
        if now - ledger.now > 1e6 && request.epoch as f64 == ledger.epoch && seen > 0.0 {
            now = ledger.now.max(now.min(seen + elapsed));
        }
        if now - ledger.now > 4e5 {
            ledger.again = Some(now);
        }
        (ledger.offset, ledger.now) = (now - wall, now);
        if let Some(again) = ledger.again.filter(|again| request.returns && now - again < grace) {
            (ledger.fresh, ledger.recovers) = (ledger.fresh.max(again + grace), true);
        }
        let longest = request.windows.iter().map(|window| micros(window.period)).fold(0.0, f64::max);
        ledger.serial += 1;
        if request.epoch as f64 == ledger.epoch && ledger.serial - 1 < request.serial {
            (ledger.epoch, ledger.fresh, ledger.recovers) = (wall.max(ledger.epoch + 1.0), now + grace, true);
        }
        let known = ledger.members.iter().position(|member| member.id == id);
        if !request.joins && (known.is_none() || ledger.epoch != request.epoch as f64) {
            return Reply::Unknown { now: time(now) };
        }
        let me = known.unwrap_or_else(|| {
            let is_free = |rank: &u64| ledger.members.iter().all(|member| member.rank != *rank);
            let rank = (0..).find(is_free).expect("a free rank");
            ledger.members.push(Member { id, rank, got_at: now, ends: now, lease, ..Member::default() });
            ledger.members.len() - 1
        });
        if request.joins && !request.used.is_empty() && now < ledger.fresh {
            (ledger.recovers, ledger.fresh) = (true, ledger.fresh.max(now + grace));
        }
        let mut asked: Vec<Asked> = Vec::with_capacity(request.windows.len());
        for rule in &request.windows {
            let (period, unit) = (micros(rule.period), rule.unit);
            let same = |window: &Window| window.period == period && window.unit == unit;
            let state = (period > 0.0).then(|| {
                ledger.windows.iter().position(same).unwrap_or_else(|| {
                    let bins = Bins::default();
                    ledger.windows.push(Window { period, unit, bins, level: 0.0, at: now, listed: now, used: 0.0 });
                    ledger.windows.len() - 1
                })
            });
            if let Some(state) = state {
                ledger.windows[state].listed = now;
            }
            let (limit, burst, rate) = (rule.limit as f64, rule.burst, rule.rate / 1e6);
            let (width, by_limit, by_burst, free) = (period / BINS, 0.0, 0.0, 0.0);
            asked.push(Asked { unit, limit, burst, rate, width, period, state, by_limit, by_burst, free });
        }

        // What a member that fell silent may have used counts from the end of its lease.
        let (mut others, mut hungry, mut alive, mut seats_used) = ([0.0; 3], Vec::new(), 1, 0.0);
        let (mut seats_asked, mut in_flight) = (Vec::new(), f64::from(request.in_flight));
        for index in 0..ledger.members.len() {
            if index == me {
                continue;
            }
            let member = &mut ledger.members[index];
            let mut lost = None;
            if member.ends <= now {
                if member.out.iter().sum::<f64>() > 0.0 {
                    lost = Some((member.out, member.ends));
                    (member.presumed, member.out) = (lost, [0.0; 3]);
                }
                if member.ends + member.lease <= now {
                    (member.seats, member.seats_wanted, member.held) = (0.0, 0.0, 0.0);
                }
            } else {
                alive += 1;
            }
            others.iter_mut().zip(member.out).for_each(|(sum, out)| *sum += out);
            if member.want[0] > 0.0 && member.asks_until > now {
                hungry.push(index);
            }
            seats_used += member.seats;
            in_flight += member.held;
            if member.seats_wanted > 0.0 {
                seats_asked.push(index);
            }
            if let Some((out, ends)) = lost {
                ledger.count(ends, &out);
            }
        }
        if let Some((presumed, at)) = ledger.members[me].presumed.take() {
            ledger.count(at, &presumed.map(|amount| -amount));
        }
        let mut used = [0.0; 3];
        if ledger.members[me].report != Some(request.report) {
            ledger.members[me].report = Some(request.report);
            for row in &request.used {
                let amounts = row.amount.map(|amount| amount as f64);
                ledger.count(now - micros(row.age), &amounts);
                used.iter_mut().zip(amounts).for_each(|(sum, amount)| *sum += amount);
            }
        }
        let keep = request.keep.map(|amount| amount as f64);
        let want = request.want.map(|amount| amount as f64);
        let least = request.least.map(|amount| amount as f64);
        let out = ledger.members[me].out;
        let change: Amounts = std::array::from_fn(|k| used[k] + keep[k] - out[k]);
        for window in &mut ledger.windows {
            // The first bin that ends within the window.
            let first = ((now - window.period) / (window.period / BINS)).floor() as i64;
            window.used = window.bins.sum(first);
        }

        // One member finds out whether a pause is over.
        let probe = request.probes && ledger.prober.is_none_or(|(prober, ends)| prober == id || ends <= now);
        if probe {
            ledger.prober = Some((id, now + lease));
        } else if ledger.prober.is_some_and(|(prober, _)| prober == id) {
            ledger.prober = None;
        }

        let mut usage = Vec::with_capacity(asked.len());
        for window in &mut asked {
            let state = window.state.map(|state| &mut ledger.windows[state]);
            let need = of(window.unit, &least);
            let mut held = of(window.unit, &others) + of(window.unit, &keep);
            let mut full = 0.0;
            let has_state = state.is_some();
            if let Some(state) = state {
                let before = (state.level - window.rate * (now - state.at)).max(0.0);
                state.level = (before + of(window.unit, &change)).min(before.max(window.burst)).max(0.0);
                state.at = now;
                held += state.used;
                full = state.level;
            }
            (window.by_limit, window.by_burst) = (window.limit - held, window.burst - full);
            if held <= 0.0 || !has_state && probe {
                window.by_limit = window.by_limit.max(need);
            }
            if full <= 0.0 {
                window.by_burst = window.by_burst.max(need);
            }
            if has_state && now < ledger.fresh {
                let first = if held <= 0.0 { need } else { 0.0 };
                let early = if ledger.recovers { 0.0 } else { (window.limit * EARLY - held).max(first) };
                window.by_limit = window.by_limit.min(early);
            }
            window.free = window.by_limit.min(window.by_burst).max(0.0);
            usage.push(held.max(0.0) as u64);
        }

        let fades = longest.clamp(1e6, 6e7) / 2.0;
        let level = |member: &Member, unit| of(unit, &member.got) * ((member.got_at - now) / fades).exp();
        let (mut grant, mut retry) = ([0.0; 3], 0.0);
        if want[0] > 0.0 {
            let (mut tight, mut part, mut fits) = (None, f64::INFINITY, true);
            for window in &asked {
                let wanted = of(window.unit, &want);
                if wanted > 0.0 && window.free / wanted < part {
                    (tight, part) = (Some(window), window.free / wanted);
                }
                fits &= of(window.unit, &least) <= window.free;
            }
            let mut before = [0.0; 3];
            part = part.min(1.0);
            if let Some(tight) = tight.filter(|_| !hungry.is_empty() && !probe) {
                let unit = tight.unit;
                let (mine, wanted) = (level(&ledger.members[me], unit), of(unit, &want));
                let mut asks = vec![(wanted, mine)];
                let of_others = hungry.iter().map(|&index| &ledger.members[index]);
                asks.extend(of_others.clone().map(|member| (of(unit, &member.want), level(member, unit))));
                let (top, mut reserved) = (fill(tight.free, &asks), 0.0);
                let since = ledger.members[me].hungry.unwrap_or(now);
                for (member, &(want, theirs)) in of_others.zip(&asks[1..]) {
                    if theirs < mine || theirs == mine && member.hungry.unwrap_or(now) < since {
                        reserved += of(unit, &member.least).max(want.min((top - theirs).max(0.0)));
                        before.iter_mut().zip(member.least).for_each(|(sum, least)| *sum += least);
                    }
                }
                let mut share = wanted.min((top - mine).max(0.0)).min(tight.free - reserved);
                let need = of(unit, &least);
                if share < need {
                    share = if tight.free - reserved >= need { need } else { 0.0 };
                }
                part = part.min(share / wanted).max(0.0);
                fits &= share > 0.0;
            }
            if fits {
                grant = std::array::from_fn(|k| (want[k] * part).floor().max(least[k]));
                for window in &asked {
                    if of(window.unit, &grant) > window.free {
                        grant = least;
                    }
                }
            }
            if grant[0] == 0.0 {
                for window in &asked {
                    let need = of(window.unit, &least) + of(window.unit, &before);
                    if need > window.by_burst && window.rate > 0.0 {
                        retry = f64::max(retry, (need - window.by_burst) / window.rate);
                    }
                    let mut missing = need - window.by_limit;
                    if missing > 0.0 {
                        let Some(state) = window.state else {
                            retry = f64::max(retry, (0.25 / window.rate).clamp(5e3, 2.5e5));
                            continue;
                        };
                        let state = &mut ledger.windows[state];
                        let first = ((now - window.period) / window.width).floor() as i64 - 1;
                        let mut waits = lease;
                        for bin in first..=(now / window.width).floor() as i64 {
                            missing -= state.bins.at(bin).map_or(0.0, |used| *used);
                            if missing <= 0.0 {
                                waits = (bin + 1) as f64 * window.width + window.period - now;
                                break;
                            }
                        }
                        retry = f64::max(retry, waits);
                    }
                }
                if now < ledger.fresh {
                    retry = retry.min(ledger.fresh - now);
                }
                retry = retry.max(1000.0);
            }
        }
        for window in &asked {
            if let Some(state) = window.state {
                ledger.windows[state].level += of(window.unit, &grant);
            }
        }

        let held = f64::from(request.in_flight);
        let (mut given, mut steady) = (UNLIMITED, UNLIMITED);
        if let Some(seats) = request.max_in_flight.map(f64::from) {
            let wanted = f64::from(request.seats_wanted);
            let mut asks = vec![(wanted, 0.0)];
            asks.extend(seats_asked.iter().map(|&index| (ledger.members[index].seats_wanted, 0.0)));
            steady = (wanted.min(fill(seats, &asks)) + 0.0001).floor();
            let free = (seats - seats_used - held).max(0.0);
            given = held.max(steady).min(held + free);
            if given == held && wanted > held && free >= 1.0 {
                let mine = ledger.members[me].seat_at;
                let comes_first = |&index: &usize| {
                    let member = &ledger.members[index];
                    member.seats_wanted > member.seats
                        && (member.seats < held || member.seats == held && member.seat_at < mine)
                };
                if !seats_asked.iter().any(comes_first) {
                    given = held + 1.0;
                }
            }
            let member = &mut ledger.members[me];
            if given > held {
                member.seat_at = now;
            }
            (member.seats, member.seats_wanted) = (given, wanted);
        }
        let member = &mut ledger.members[me];
        member.held = held;
        let faded = ((member.got_at - now) / fades).exp();
        for k in 0..3 {
            member.got[k] = member.got[k] * faded + grant[k];
            member.out[k] = keep[k] + grant[k];
            member.want[k] = want[k] - grant[k];
        }
        (member.got_at, member.least, member.lease, member.ends) = (now, least, lease, now + lease);
        member.asks_until = now + retry.min(1e6) + 2.0 * lease;
        let since = if grant[0] == 0.0 { member.hungry.unwrap_or(now) } else { now };
        member.hungry = (member.want[0] > 0.0).then_some(since);

        let end = ledger.log_at + ledger.log.len() as u64;
        let position = request.position;
        let known = request.epoch as f64 == ledger.epoch
            && request.snapshot == ledger.base
            && (ledger.log_at..=end).contains(&position);
        if let Some(learnt) = request.learnt.as_ref().filter(|learnt| known && !learnt.is_empty()) {
            ledger.base += 1;
            ledger.learnt.clone_from(learnt);
            ledger.log.drain(..(position - ledger.log_at) as usize);
            ledger.log_at = position;
        }
        let missed = ledger.log[if known { (position - ledger.log_at) as usize } else { 0 }..].to_vec();
        let learnt = (!known && !ledger.learnt.is_empty()).then(|| ledger.learnt.clone());
        let appended = !request.events.is_empty() && ledger.members[me].batch != Some(request.batch);
        if appended {
            ledger.log.extend_from_slice(&request.events);
            ledger.log.push(6);
            ledger.log.extend_from_slice(&(in_flight as u32).to_le_bytes());
            ledger.members[me].batch = Some(request.batch);
        }
        let end = ledger.log_at + ledger.log.len() as u64;
        if ledger.log.len() > LOG.1 {
            ledger.base += 1;
            ledger.log_at = end;
            (ledger.learnt, ledger.log) = (Vec::new(), Vec::new());
        }
        let grant = Grant {
            epoch: ledger.epoch as u64,
            serial: ledger.serial,
            now: time(now),
            amount: grant.map(|amount| amount as u64),
            seats: given as u32,
            steady_seats: steady as u32,
            retry: time(retry),
            members: alive,
            rank: ledger.members[me].rank,
            fresh: time((ledger.fresh - now).max(0.0)),
            probe,
            snapshot: ledger.base,
            learnt,
            missed,
            appended,
            position: end,
            wants_snapshot: ledger.log.len() > LOG.0 || ledger.learnt.is_empty(),
            in_flight: in_flight as u32,
            usage,
        };
        let stays = longest.clamp(1e7, 6e7);
        ledger.members.retain(|member| member.id == id || member.ends + stays + 2.0 * member.lease > now);
        ledger.windows.retain(|window| window.listed + window.period >= now || window.used > 0.0);
        Reply::Granted(grant)
    }
}

/// The script and [`Store`] give the same answers: to members that take, wait, end calls, fall silent and die, and after the
/// ledger was lost. What the clock says is taken from the script's answers.
#[test]
fn the_store_answers_as_the_script() {
    use ritellm::limits::lease::{LeaseState, WhenDown};
    use ritellm::limits::{Budget, Limit, QuotaSpec};
    use ritellm::store::redis::{address::Address, client::Client, script};
    use ritellm::types::rate_limit::{Signals, Tokens};

    struct Server(std::process::Child);
    impl Drop for Server {
        fn drop(&mut self) {
            let _ = (self.0.kill(), self.0.wait());
        }
    }
    let directory = std::env::temp_dir().join(format!("ritellm-store-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let socket = directory.join("socket");
    let arguments = ["--port", "0", "--save", "", "--unixsocket", socket.to_str().expect("a path in UTF-8")];
    let spawned =
        std::process::Command::new("redis-server").args(arguments).stdout(std::process::Stdio::null()).spawn();
    let Ok(process) = spawned else {
        assert!(std::env::var_os("CI").is_none(), "redis-server cannot be started");
        return eprintln!("skipped: redis-server cannot be started");
    };
    let _server = Server(process);
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut random = fastrand::Rng::with_seed(16);
    runtime.block_on(async {
        let url = format!("unix://{}", socket.display());
        let client = Client::start(Address::parse("share", &url).expect("an address"), &Default::default());
        for (round, seats) in [None, Some(6)].into_iter().enumerate() {
            let per =
                |millis, requests, tokens| Limit { requests, tokens, ..Limit::per(Duration::from_millis(millis)) };
            let limits = vec![per(300, Some(12), None), per(1100, Some(30), Some(9_000))];
            let spec = QuotaSpec { limits, max_in_flight: seats, ..QuotaSpec::default() };
            let key = script::Key::new("test", &round.to_string());
            let begun = std::time::Instant::now();
            let now = || begun.elapsed() + Duration::from_secs(86_400);
            let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
            let member = || LeaseState::new(&spec, WhenDown::Share(0.25), now(), wall);
            let mut members: Vec<_> = (0..5).map(|id| (id, member(), Vec::new())).collect();
            let (mut store, mut offset, mut exchanges) = (Store::default(), None, 0);
            while exchanges < 100 {
                let index = random.usize(..members.len());
                let (_, lease, taken) = &mut members[index];
                match random.u8(..100) {
                    0 => {
                        // It dies; another one comes.
                        let next = exchanges + 100;
                        members[index] = (next, member(), Vec::new());
                        continue;
                    }
                    1 => {
                        client.command(&["FLUSHALL"]).await.expect("an answer");
                        store.forget();
                        offset = None;
                        // A new one comes first: other answers do not tell the new ledger's epoch.
                        let next = exchanges + 100;
                        members[index] = (next, member(), Vec::new());
                        let _ = members[index].1.try_take(now(), Tokens::default());
                    }
                    2..=5 => tokio::time::sleep(Duration::from_millis(random.u64(..300))).await,
                    6..=40 => {
                        let tokens = Tokens { input: random.u64(1..400), output: random.u64(1..400) };
                        taken.extend(lease.try_take(now(), tokens).ok());
                    }
                    41..=60 if !taken.is_empty() => {
                        let used = Tokens { input: random.u64(1..400), output: random.u64(1..500) };
                        lease.settle(now(), taken.swap_remove(0), Some(used), &Signals::default());
                    }
                    _ => lease.set_waiting(random.usize(..4)),
                }
                let (id, lease, _) = &mut members[index];
                if lease.next_exchange().is_none_or(|next| next > now()) {
                    tokio::time::sleep(Duration::from_micros(300)).await;
                    continue;
                }
                let Some(request) = lease.request(now()) else { continue };
                let expected = script::exchange(&client, &key, &id.to_string(), &request).await.expect("an answer");
                let (told, epoch) = match &expected {
                    Reply::Unknown { now } => (*now, None),
                    Reply::Granted(grant) => (grant.now, Some(Duration::from_micros(grant.epoch))),
                };
                let told = told.as_micros() as i128;
                let offset = *offset.get_or_insert(told - epoch.map_or(told, |epoch| epoch.as_micros() as i128));
                let wall = Duration::from_micros(u64::try_from(told - offset).expect("after 1970"));
                let reply = store.exchange(*id, wall, &request);
                assert_eq!(reply, expected, "exchange {exchanges} of round {round}, {request:?}");
                lease.answered(now(), request.number, expected);
                exchanges += 1;
            }
        }
    });
    let _ = std::fs::remove_dir_all(directory);
}
