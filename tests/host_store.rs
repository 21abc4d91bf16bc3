//! Regions of shared memory, used by real processes that are stopped, killed and forked.
//!
//! A process is this test executable again, which runs the test `worker` with instructions in an environment variable.

#![cfg(target_os = "linux")]

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{Ordering, compiler_fence};
use std::time::Duration;

use bytemuck::{Pod, Zeroable};
use ritellm::limits::{Budget, Ledger, Limit, Member, QuotaSpec, Time, Wait};
use ritellm::store::host::{AccessError, HostError, HostRegion, MEMBERS, QUOTAS, SharedState, Slot};
use ritellm::types::rate_limit::{Signals, Tokens};

const WORKERS: usize = 1100;
const ROLE: &str = "RITELLM_TEST_HOST_STORE";

/// A sum that is changed in several steps, with what is needed to take back a change that was not finished.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct Sum {
    total: u64,
    added: [u64; WORKERS],
    seats: [u32; MEMBERS],
    /// 1 while a change is under way.
    changing: u64,
    worker: u64,
    total_before: u64,
    added_before: u64,
    repaired: u64,
}

impl SharedState for Sum {
    const VERSION: u32 = 1;

    fn repair(&mut self, _now: Time) {
        if self.changing == 1 {
            self.total = self.total_before;
            self.added[self.worker as usize % WORKERS] = self.added_before;
            self.repaired = self.repaired.wrapping_add(1);
        }
        self.changing = 0;
    }

    fn release_member(&mut self, member: usize, _now: Time) {
        self.seats[member] = 0;
    }
}

impl Sum {
    fn add(&mut self, worker: usize) {
        let step = || compiler_fence(Ordering::SeqCst);
        self.worker = worker as u64;
        self.total_before = self.total;
        self.added_before = self.added[worker];
        step();
        self.changing = 1;
        step();
        let total = self.total;
        // Much of the time is spent here, so that many of the kills come here.
        (0..300).for_each(|_| std::hint::spin_loop());
        self.total = total + 1;
        step();
        self.added[worker] += 1;
        step();
        self.changing = 0;
    }
}

type Region = HostRegion<Sum>;

/// Name of a region that is removed at the end.
struct Name(String);

impl Name {
    fn new(test: &str) -> Self {
        let name = Self(format!("test-{test}-{}-{:x}", std::process::id(), fastrand::u32(..)));
        assert!(!fs::exists(name.path()).unwrap());
        name
    }

    fn path(&self) -> String {
        let user = fs::metadata("/proc/self").map(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata)).unwrap();
        format!("/dev/shm/ritellm.{user}.{}", self.0)
    }

    fn open(&self) -> Region {
        Region::open(&self.0).unwrap()
    }

    /// The file, to damage it.
    fn file(&self) -> File {
        OpenOptions::new().read(true).write(true).open(self.path()).unwrap()
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path());
        let _ = fs::remove_dir(self.path());
    }
}

const HASH: [u8; 32] = [7; 32];

/// Repeats what another process may be in the way of.
fn persist<R>(mut attempt: impl FnMut() -> Result<R, AccessError>) -> R {
    loop {
        match attempt() {
            Ok(result) => return result,
            Err(AccessError::Busy) => std::thread::sleep(Duration::from_micros(50)),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Another process.
struct Worker {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Worker {
    fn start(role: &str, name: &Name, number: usize) -> Self {
        Self::start_with(role, name, number, (DECLARED, String::new()))
    }

    fn start_with(role: &str, name: &Name, number: usize, variable: (&str, String)) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "worker", "--nocapture", "--quiet"])
            .env(ROLE, format!("{role} {} {number}", name.0))
            .env(variable.0, variable.1)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// Reads lines until one says `word`, and returns the rest of that.
    fn expect(&mut self, word: &str) -> String {
        for line in self.output.by_ref().lines() {
            if let Some(rest) = line.unwrap().strip_prefix(word) {
                return rest.trim().to_owned();
            }
        }
        panic!("the worker ended without {word:?}");
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn signal(&self, signal: i32) {
        // SAFETY: the process is our child, which was not waited for.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn wait_for_line() {
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// What the other processes do. Does nothing when it runs as a test.
#[test]
fn worker() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let [role, name, number]: [&str; 3] = role.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let number: usize = number.parse().unwrap();
    if role == "admit" {
        return admit(name);
    }
    let region = match Region::open(name) {
        Ok(region) => region,
        Err(error) => return println!("\nerror {error}"),
    };
    let slot = persist(|| region.quota(&HASH));
    match role {
        // Adds until it is killed, with a seat.
        "add" => {
            persist(|| region.with(slot, |sum, _| sum.seats[region.member()] += 1));
            println!("\nready");
            loop {
                persist(|| region.with(slot, |sum, _| sum.add(number)));
                let _ = persist(|| region.reap());
                // So that the others get the lock too.
                std::thread::sleep(Duration::from_micros(1));
            }
        }
        "add_once" => {
            persist(|| region.with(slot, |sum, _| sum.add(number)));
            println!("\nready {}", region.member());
            wait_for_line();
        }
        // Waits outside of the lock.
        "sit" => {
            persist(|| region.with(slot, |sum, _| sum.seats[region.member()] += 1));
            println!("\nready {}", region.member());
            wait_for_line();
        }
        // Never gives the lock back.
        "hold" => {
            let _ = region.with(slot, |sum, _| {
                sum.changing = 1;
                sum.total_before = sum.total;
                sum.total = 1_000_000;
                println!("\nready {}", region.member());
                wait_for_line();
            });
        }
        // Has a child that outlives it and does nothing.
        "fork" => {
            persist(|| region.with(slot, |sum, _| sum.seats[region.member()] += 1));
            // SAFETY: the C library's allocator and standard output can be used in the child.
            let child = unsafe { libc::fork() };
            if child == 0 {
                println!("\nready {} {}", region.member(), std::process::id());
                loop {
                    std::thread::park();
                }
            }
            wait_for_line();
        }
        role => panic!("{role}"),
    }
}

/// A limit of requests or tokens, as the test and its workers know it.
#[derive(Clone, Copy)]
struct Declared {
    limit: u64,
    period: Duration,
    /// Largest number of tokens of a call; all have 1 if it is one of requests.
    largest: u64,
}

const DECLARED: &str = "RITELLM_TEST_HOST_LIMIT";

impl Declared {
    fn from_environment() -> Self {
        let text = std::env::var(DECLARED).unwrap();
        let [limit, period, largest] = text.split(' ').map(|number| number.parse().unwrap()).collect::<Vec<u64>>()[..]
        else {
            panic!("{text}")
        };
        Self { limit, period: Duration::from_millis(period), largest }
    }

    fn to_environment(self) -> String {
        format!("{} {} {}", self.limit, self.period.as_millis(), self.largest)
    }
}

/// A ledger in shared memory, as a client uses it.
struct SharedLedger {
    region: HostRegion<Ledger>,
    slot: Option<Slot>,
    spec: QuotaSpec,
}

impl SharedLedger {
    fn with<R>(&mut self, access: impl Fn(&mut Member<'_>, Time) -> R) -> R {
        let member = self.region.member();
        loop {
            let slot = *self.slot.get_or_insert_with(|| {
                let slot = persist(|| self.region.quota(&HASH));
                persist(|| self.region.with(slot, |ledger, _| ledger.declare(&self.spec))).unwrap();
                slot
            });
            match self.region.with(slot, |ledger, now| access(&mut ledger.member(member), now)) {
                Ok(result) => {
                    let _ = self.region.reap();
                    return result;
                }
                Err(AccessError::Busy) => std::thread::sleep(Duration::from_micros(50)),
                Err(AccessError::Stuck | AccessError::Reclaimed) => self.slot = None,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Admits as many calls as there may be until it is killed, with up to 8 in flight, and logs each one's time and tokens.
fn admit(name: &str) {
    let declared = Declared::from_environment();
    let mut limit = Limit::per(declared.period);
    if declared.largest > 1 {
        limit.tokens = Some(declared.limit)
    } else {
        limit.requests = Some(declared.limit)
    }
    let spec = QuotaSpec { limits: vec![limit], max_in_flight: Some(32), ..QuotaSpec::default() };
    let mut budget = SharedLedger { region: HostRegion::open(name).unwrap(), slot: None, spec };
    let mut log = OpenOptions::new().append(true).open(std::env::temp_dir().join(name)).unwrap();
    let mut in_flight = vec![];
    println!("\nready");
    loop {
        let tokens = Tokens { input: fastrand::u64(1..=declared.largest), output: 0 };
        let (taken, now) = match in_flight.len() {
            0..8 => budget.with(|budget, now| (budget.try_take(now, tokens), now)),
            _ => budget.with(|_, now| (Err(Wait::Until(now + Duration::from_millis(1))), now)),
        };
        match taken {
            Ok(taken) => {
                let entry = [taken.at.as_nanos() as u64, tokens.input];
                log.write_all(bytemuck::bytes_of(&entry)).unwrap();
                in_flight.push((now + Duration::from_micros(fastrand::u64(100..10_000)), taken));
            }
            Err(Wait::Until(time)) => std::thread::sleep(time.saturating_sub(now).min(Duration::from_millis(2))),
            Err(other) => panic!("{other:?}"),
        }
        in_flight.retain(|(end, taken)| {
            if *end < now {
                budget.with(|budget, now| budget.settle(now, *taken, Some(taken.tokens), &Signals::default()));
            }
            *end >= now
        });
    }
}

/// Lets processes use up a limit while some are killed and stopped; returns the part of it that was used.
fn share_limit(processes: usize, declared: Declared, duration: Duration, pause: Duration) -> f64 {
    let name = Name::new("admit");
    let path = std::env::temp_dir().join(&name.0);
    File::create(&path).unwrap();
    let start = || Worker::start_with("admit", &name, 0, (DECLARED, declared.to_environment()));
    let mut workers: Vec<Worker> = (0..processes).map(|_| start()).collect();
    workers.iter_mut().for_each(|worker| _ = worker.expect("ready"));
    let begun = std::time::Instant::now();
    let mut stopped: Option<Worker> = None;
    while begun.elapsed() < duration {
        std::thread::sleep(pause);
        let mut fresh = start();
        fresh.expect("ready");
        let index = fastrand::usize(..processes);
        let old = std::mem::replace(&mut workers[index], fresh);
        // One in two is killed at once, the other one is stopped for a while, and killed then.
        if fastrand::bool() {
            old.signal(libc::SIGSTOP);
            stopped.replace(old).into_iter().for_each(Worker::kill);
        } else {
            old.kill();
        }
    }
    workers.into_iter().chain(stopped).for_each(Worker::kill);
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let entries = bytes.chunks_exact(16);
    let mut log: Vec<[u64; 2]> = entries.map(bytemuck::pod_read_unaligned).collect();
    log.sort_unstable();

    let period = declared.period.as_nanos() as u64;
    let (mut first, mut sum, mut most) = (0, 0, 0);
    for [time, amount] in &log {
        sum += amount;
        while log[first][0] + period <= *time {
            sum -= log[first][1];
            first += 1;
        }
        most = most.max(sum);
    }
    assert!(most <= declared.limit, "{most} of {} in a window", declared.limit);
    // After the first window, which begins with a burst.
    let (begin, end) = (log[0][0] + period, log.last().unwrap()[0]);
    let used: u64 = log.iter().filter(|[time, _]| *time >= begin).map(|[_, amount]| amount).sum();
    let part = used as f64 / (declared.limit as f64 * (end - begin) as f64 / period as f64);
    println!(
        "figure: {processes} processes: at most {most} of {} in a window, {:.1} % used",
        declared.limit,
        part * 100.0
    );
    part
}

#[test]
fn a_limit_that_processes_share_holds_while_they_are_killed() {
    let millis = Duration::from_millis;
    let declared = Declared { limit: 60, period: millis(200), largest: 1 };
    assert!(share_limit(3, declared, millis(600), millis(50)) > 0.0);
}

#[test]
#[ignore = "takes three minutes"]
fn a_limit_that_processes_share_is_used_while_they_are_killed() {
    let seconds = Duration::from_secs;
    for processes in [1, 2, 8] {
        for (limit, largest) in [(600, 1), (60_000, 200)] {
            let declared = Declared { limit, period: seconds(6), largest };
            let part = share_limit(processes, declared, seconds(30), Duration::from_millis(500));
            assert!(part >= 0.95, "{processes} processes used {part} of {limit}");
        }
    }
}

/// Kills processes at random moments, and checks that nothing was lost and everything was given back.
fn kill_many(processes: usize, kills: usize, seed: u64) -> u64 {
    let mut random = fastrand::Rng::with_seed(seed);
    let name = Name::new("kill");
    let region = name.open();
    let slot = persist(|| region.quota(&HASH));
    let start = |number| Worker::start("add", &name, number);
    let mut workers: Vec<Worker> = (0..processes).map(start).collect();
    for number in 0..kills {
        let index = random.usize(..processes);
        workers[index].expect("ready");
        // Somewhere in its loop.
        std::thread::sleep(Duration::from_micros(random.u64(..2_000)));
        std::mem::replace(&mut workers[index], start(processes + number)).kill();
        // The others go on.
        persist(|| region.with(slot, |sum, _| sum.add(WORKERS - 1)));
    }
    workers.into_iter().for_each(Worker::kill);
    let own = region.member();
    persist(|| region.with(slot, |sum, _| sum.seats[own] += 1));
    // The look for dead members comes once a second; members that join do the same for the number that they get.
    drop((1..MEMBERS).map(|_| name.open()).collect::<Vec<_>>());
    assert_eq!(region.members(), 1);
    let sum = persist(|| region.with(slot, |sum, _| *sum));
    assert_eq!(sum.added[WORKERS - 1], kills as u64, "seed {seed}");
    assert_eq!(sum.total, sum.added.iter().sum::<u64>(), "seed {seed}");
    assert!(sum.total > 2 * kills as u64);
    assert_eq!(sum.seats.iter().sum::<u32>(), sum.seats[own], "seed {seed}");
    assert_eq!(sum.seats[own], 1);
    println!("figure: {processes} processes, {kills} kills: {} added, {} repaired", sum.total, sum.repaired);
    sum.repaired
}

#[test]
fn one_process_after_the_other_is_killed() {
    kill_many(1, 10, 1);
}

#[test]
fn two_processes_are_killed() {
    kill_many(2, 10, 2);
}

#[test]
fn eight_processes_are_killed() {
    kill_many(8, 10, 3);
}

#[test]
#[ignore = "takes minutes"]
fn thousand_processes_are_killed() {
    let seed = std::env::var("RITELLM_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    for processes in [1, 2, 8] {
        assert!(kill_many(processes, 1_000, seed) > 0, "no process was killed while it had the lock");
    }
}

#[test]
fn a_stopped_process_keeps_its_seats_and_stops_nobody() {
    let name = Name::new("stop");
    let region = name.open();
    let slot = region.quota(&HASH).unwrap();
    let mut worker = Worker::start("sit", &name, 0);
    let member: usize = worker.expect("ready").parse().unwrap();
    assert_ne!(member, region.member());
    worker.signal(libc::SIGSTOP);
    assert_eq!(region.reap(), Ok(0));
    assert_eq!(region.with(slot, |sum, _| sum.seats[member]), Ok(1));
    assert_eq!(region.members(), 2);
    // Another one does not get its number either.
    let other = name.open();
    assert!(![member, region.member()].contains(&other.member()));
    drop(other);
    worker.kill();
    // Whoever gets the number frees the seats of the one before.
    let other = name.open();
    assert_eq!(other.member(), member);
    assert_eq!(region.with(slot, |sum, _| sum.seats[member]), Ok(0));
}

#[test]
fn a_lock_of_a_dead_process_is_taken_over_and_one_of_a_stopped_process_is_not() {
    let name = Name::new("hold");
    let region = name.open();
    let slot = region.quota(&HASH).unwrap();
    region.with(slot, |sum, _| sum.add(5)).unwrap();
    let mut worker = Worker::start("hold", &name, 0);
    worker.expect("ready");
    worker.signal(libc::SIGSTOP);
    assert_eq!(region.with(slot, |sum, _| sum.total), Err(AccessError::Busy));
    assert_eq!(region.quota(&HASH), Err(AccessError::Busy));
    // Other quotas are in nobody's way.
    let other = region.quota(&[8; 32]).unwrap();
    assert_eq!(region.with(other, |sum, _| sum.total), Ok(0));
    worker.kill();
    let (total, repaired) = region.with(slot, |sum, _| (sum.total, sum.repaired)).unwrap();
    assert_eq!((total, repaired), (1, 1));
}

#[test]
#[ignore = "takes a second"]
fn a_quota_that_a_stopped_process_has_locked_moves_after_a_second() {
    let name = Name::new("stuck");
    let region = name.open();
    let slot = region.quota(&HASH).unwrap();
    region.with(slot, |sum, _| sum.add(5)).unwrap();
    let mut worker = Worker::start("hold", &name, 0);
    worker.expect("ready");
    worker.signal(libc::SIGSTOP);
    let mut results = vec![];
    while results.last() != Some(&Err(AccessError::Stuck)) {
        results.push(region.with(slot, |sum, _| sum.total));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(results[0], Err(AccessError::Busy));
    let moved = region.quota(&HASH).unwrap();
    assert_ne!(moved.index(), slot.index());
    // The stopped process's change was taken back in the copy.
    assert_eq!(region.with(moved, |sum, _| (sum.total, sum.repaired)), Ok((1, 1)));
    assert_eq!(region.quota(&HASH), Ok(moved));
    // Nobody gets the old place.
    assert_ne!(region.quota(&[8; 32]).unwrap().index(), slot.index());
    worker.signal(libc::SIGCONT);
    worker.tell("go on");
    worker.child.wait().unwrap();
    assert_eq!(region.with(moved, |sum, _| sum.total), Ok(1));
    assert_eq!(region.with(slot, |sum, _| sum.total), Err(AccessError::Reclaimed));
    // Now it is free.
    assert_eq!(region.quota(&[9; 32]).unwrap().index(), slot.index());
}

#[test]
fn all_quotas_can_be_looked_at() {
    let name = Name::new("each");
    let (region, other) = (name.open(), name.open());
    let slots = [[1; 32], [2; 32]].map(|hash| persist(|| region.quota(&hash)));
    persist(|| region.with(slots[1], |sum, _| sum.add(0)));
    let look = |region: &Region| region.each(|hash, sum, _| (hash, sum.total));
    assert_eq!(look(&other), [([1; 32], 0), ([2; 32], 1)]);
    // One that is in use is left out, and what looks at it waits for nobody.
    let seen = persist(|| region.with(slots[0], |_, _| look(&other)));
    assert_eq!(seen, [([2; 32], 1)]);
}

#[test]
fn processes_that_create_a_region_at_once_share_it() {
    for _ in 0..3 {
        let name = Name::new("create");
        let mut workers: Vec<Worker> = (0..8).map(|number| Worker::start("add_once", &name, number)).collect();
        let mut members: Vec<String> = workers.iter_mut().map(|worker| worker.expect("ready")).collect();
        members.sort();
        members.dedup();
        assert_eq!(members.len(), 8);
        let region = name.open();
        let slot = persist(|| region.quota(&HASH));
        assert_eq!(region.with(slot, |sum, _| sum.total), Ok(8));
        for mut worker in workers {
            worker.tell("go on");
            worker.child.wait().unwrap();
        }
    }
}

#[test]
fn the_seats_of_a_parent_that_dies_are_freed_while_its_child_lives() {
    let name = Name::new("orphan");
    let region = name.open();
    let slot = region.quota(&HASH).unwrap();
    let mut worker = Worker::start("fork", &name, 0);
    let line = worker.expect("ready");
    let (member, child) = line.split_once(' ').unwrap();
    let (member, child): (usize, i32) = (member.parse().unwrap(), child.parse().unwrap());
    assert_eq!(region.with(slot, |sum, _| sum.seats[member]), Ok(1));
    worker.kill();
    let other = name.open();
    assert_eq!(other.member(), member);
    assert_eq!(region.with(slot, |sum, _| sum.seats[member]), Ok(0));
    // SAFETY: it lives as long as nobody kills it.
    assert_eq!(unsafe { libc::kill(child, libc::SIGKILL) }, 0);
}

#[test]
fn a_forked_child_is_another_member() {
    let name = Name::new("fork");
    let region = name.open();
    let slot = region.quota(&HASH).unwrap();
    region.with(slot, |sum, _| sum.seats[region.member()] = 3).unwrap();
    let member = region.member();
    // SAFETY: the C library's allocator and the locks used here can be used after a fork.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let outcome = std::panic::catch_unwind(|| {
            assert_eq!(region.with(slot, |sum, _| sum.total), Err(AccessError::Left));
            assert_eq!(region.quota(&HASH), Err(AccessError::Left));
            assert_eq!(region.reap(), Err(AccessError::Left));
            let own = region.reopen().unwrap();
            // Dropping what was the parent's changes nothing of it.
            drop(region);
            assert_ne!(own.member(), member);
            let slot = own.quota(&HASH).unwrap();
            own.with(slot, |sum, _| {
                assert_eq!(sum.seats[member], 3);
                sum.seats[own.member()] = 2;
                sum.add(1);
            })
            .unwrap();
            drop(own);
        });
        // SAFETY: ends the process at once, without the test's ending.
        unsafe { libc::_exit(i32::from(outcome.is_err())) };
    }
    let mut status = 0;
    // SAFETY: the child is ours.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);
    assert_eq!(
        region.with(slot, |sum, _| (sum.total, sum.seats[member], sum.seats.iter().sum::<u32>())),
        Ok((1, 3, 3))
    );
    assert_eq!(region.members(), 1);
}

#[test]
fn a_program_that_closes_all_descriptors_is_no_member_any_more() {
    let name = Name::new("daemon");
    let region = name.open();
    let slot = region.quota(&HASH).unwrap();
    region.with(slot, |sum, _| sum.seats[region.member()] = 1).unwrap();
    let is_ours =
        |entry: &fs::DirEntry| fs::read_link(entry.path()).is_ok_and(|target| target.ends_with(&name.path()[9..]));
    for entry in fs::read_dir("/proc/self/fd").unwrap().flatten().filter(is_ours) {
        // SAFETY: this is what daemons do; the region is prepared for it.
        unsafe { libc::close(entry.file_name().to_str().unwrap().parse().unwrap()) };
    }
    assert_eq!(region.reap(), Err(AccessError::Left));
    let again = region.reopen().unwrap();
    assert_eq!(region.with(slot, |sum, _| sum.total), Err(AccessError::Left));
    let slot = again.quota(&HASH).unwrap();
    assert_eq!(again.with(slot, |sum, _| sum.seats.iter().sum::<u32>()), Ok(0));
}

#[test]
fn a_file_that_is_not_this_users_alone_is_refused() {
    let refused = |name: &Name, reason: &str| {
        let error = Region::open(&name.0).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert!(error.to_string().contains(&name.path()), "{error}");
    };
    let name = Name::new("mode");
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(name.path()).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o666] {
        fs::set_permissions(name.path(), fs::Permissions::from_mode(mode)).unwrap();
        refused(&name, "0600");
    }
    fs::set_permissions(name.path(), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(fs::metadata(name.path()).unwrap().len(), 0);
    drop(name.open());

    let link = Name::new("link");
    std::os::unix::fs::symlink(name.path(), link.path()).unwrap();
    refused(&link, "symbolic link");
    fs::remove_file(link.path()).unwrap();
    fs::hard_link(name.path(), link.path()).unwrap();
    refused(&link, "hard link");
    refused(&name, "hard link");
    fs::remove_file(link.path()).unwrap();
    fs::create_dir(link.path()).unwrap();
    refused(&link, "regular file");

    // Only root can give a file away.
    if std::os::unix::fs::chown(name.path(), Some(65_534), Some(65_534)).is_ok() {
        refused(&name, "another user");
    }
}

#[test]
fn names_are_checked() {
    for name in ["", "a/b", "../x", "ä", "a b", "a\0b", &"x".repeat(65)] {
        let error = Region::open(name).unwrap_err();
        assert!(matches!(&error, HostError::Name(shown) if shown == name), "{error}");
    }
}

/// Uses everything of a region; errors are fine.
fn use_all(region: &Region) {
    for hash in [HASH, [8; 32]] {
        if let Ok(slot) = region.quota(&hash) {
            let _ = region.with(slot, |sum, _| sum.total = sum.total.wrapping_add(1));
        }
    }
    let _ = region.reap();
    assert!(region.members() <= MEMBERS);
}

#[test]
fn a_damaged_file_gives_errors_or_a_new_state() {
    let name = Name::new("damage");
    let region = name.open();
    use_all(&region);
    drop(region);
    let file = name.file();
    let mut good = vec![0; 24 << 10];
    file.read_exact_at(&mut good, 0).unwrap();
    // The head, all generations, three entries, and some of the first state.
    let places = (0..1024 + 3 * 64).chain(20_480..20_480 + 64);
    for place in places {
        let change = [0x01, 0xff][place % 2];
        file.write_all_at(&[good[place] ^ change], place as u64).unwrap();
        match Region::open(&name.0) {
            Ok(region) => use_all(&region),
            Err(error) => assert!(place < 40, "{place}: {error}"),
        }
        file.write_all_at(&good, 0).unwrap();
        // The same while somebody uses it.
        let region = name.open();
        let slot = region.quota(&HASH).unwrap();
        file.write_all_at(&[good[place] ^ change], place as u64).unwrap();
        let _ = region.with(slot, |sum, _| sum.total);
        use_all(&region);
        if let Ok(other) = Region::open(&name.0) {
            use_all(&other);
        }
        drop(region);
        file.write_all_at(&good, 0).unwrap();
    }
    // Nothing is left locked.
    let region = name.open();
    let slot = region.quota(&HASH).unwrap();
    assert!(region.with(slot, |sum, _| sum.total).is_ok());
}

#[test]
fn random_files_are_refused() {
    let name = Name::new("random");
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..200 {
        let mut content = vec![0; random.usize(1..30_000)];
        random.fill(&mut content);
        let _ = fs::remove_file(name.path());
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(name.path())
            .unwrap()
            .write_all(&content)
            .unwrap();
        assert!(matches!(Region::open(&name.0), Err(HostError::Damaged(_))));
        assert_eq!(fs::read(name.path()).unwrap(), content);
    }
}

#[test]
fn a_file_that_was_cut_off_is_refused() {
    let name = Name::new("cut");
    let region = name.open();
    use_all(&region);
    drop(region);
    let file = name.file();
    let good = fs::read(name.path()).unwrap();
    let length = good.len() as u64;
    for cut in [8, 100, 4_096, 20_480, length / 2, length - 1, length + 1] {
        file.set_len(cut).unwrap();
        assert!(matches!(Region::open(&name.0), Err(HostError::Damaged(_))), "{cut}");
        assert_eq!(file.metadata().unwrap().len(), cut);
        file.write_all_at(&good, 0).unwrap();
        file.set_len(length).unwrap();
    }
    // An empty one is as good as none.
    file.set_len(0).unwrap();
    use_all(&name.open());
}

const VERSION_AT: u64 = 8;
const BOOT_AT: u64 = 16;

#[test]
fn another_layout_is_refused_and_left_alone() {
    let name = Name::new("layout");
    let region = name.open();
    use_all(&region);
    drop(region);
    let file = name.file();
    file.write_all_at(&[1; 8], VERSION_AT).unwrap();
    let before = fs::read(name.path()).unwrap();
    assert!(matches!(Region::open(&name.0), Err(HostError::Layout(_))));
    assert!(fs::read(name.path()).unwrap() == before);
}

#[test]
fn a_file_from_before_the_machine_was_started_begins_anew() {
    let name = Name::new("boot");
    let region = name.open();
    let slot = region.quota(&HASH).unwrap();
    region.with(slot, |sum, _| sum.add(1)).unwrap();
    name.file().write_all_at(&[1; 16], BOOT_AT).unwrap();
    // Somebody uses it: it cannot be from before.
    assert!(matches!(Region::open(&name.0), Err(HostError::Clock(_))));
    assert_eq!(region.with(slot, |sum, _| sum.total), Ok(1));
    drop(region);
    let region = name.open();
    let slot = region.quota(&HASH).unwrap();
    assert_eq!(region.with(slot, |sum, _| sum.total), Ok(0));
}

#[test]
fn states_stay_when_nobody_is_there() {
    let name = Name::new("stay");
    for round in 0..3 {
        let region = name.open();
        assert_eq!(region.member(), 0);
        let slot = region.quota(&HASH).unwrap();
        assert_eq!(region.with(slot, |sum, _| (sum.total, sum.seats[0])), Ok((round, 0)));
        region.with(slot, |sum, _| (sum.add(1), sum.seats[0] = 9)).unwrap();
    }
}

#[test]
fn time_is_one_for_all_and_does_not_go_back() {
    let name = Name::new("time");
    let regions = [name.open(), name.open()];
    let slots = regions.each_ref().map(|region| region.quota(&HASH).unwrap());
    let mut last = Duration::ZERO;
    for turn in 0..1_000 {
        let now = regions[turn % 2].with(slots[turn % 2], |_, now| now).unwrap();
        assert!(now >= last);
        last = now;
    }
    assert!(last > Duration::ZERO);
}

#[test]
fn places_for_quotas_and_members_are_limited() {
    let name = Name::new("full");
    let region = name.open();
    let hash = |number: usize| std::array::from_fn(|place| (number >> (8 * (place % 2))) as u8);
    let slots: Vec<Slot> = (0..QUOTAS).map(|number| region.quota(&hash(number)).unwrap()).collect();
    for (number, slot) in slots.iter().enumerate() {
        region.with(*slot, |sum, _| sum.total = number as u64).unwrap();
        assert_eq!(region.quota(&hash(number)), Ok(*slot));
    }
    assert_eq!(region.quota(&hash(QUOTAS)), Err(AccessError::Full));
    assert_eq!(region.with(slots[QUOTAS - 1], |sum, _| sum.total), Ok(QUOTAS as u64 - 1));

    // The time of its last use is a day ago or was never written.
    let used_at = 1024 + 9 * 64 + 3 * 8;
    let mut used = [0; 8];
    name.file().read_exact_at(&mut used, used_at).unwrap();
    let day = 24 * 60 * 60 * 1_000_000_000;
    if u64::from_ne_bytes(used) > day + 1_000_000_000 {
        name.file().write_all_at(&(u64::from_ne_bytes(used) - day).to_ne_bytes(), used_at).unwrap();
        let fresh = region.quota(&hash(QUOTAS)).unwrap();
        assert_eq!(fresh.index(), 9);
        assert_eq!(region.with(fresh, |sum, _| sum.total), Ok(0));
        assert_eq!(region.with(slots[9], |sum, _| sum.total), Err(AccessError::Reclaimed));
        assert_eq!(region.quota(&hash(9)), Err(AccessError::Full));
    }

    let others: Vec<Region> = (1..MEMBERS).map(|_| name.open()).collect();
    assert_eq!(region.members(), MEMBERS);
    assert!(matches!(Region::open(&name.0), Err(HostError::Full(_))));
    drop(others);
    assert_eq!(region.members(), 1);
    drop(name.open());
}

#[test]
fn a_panic_leaves_a_valid_state_and_no_lock() {
    let name = Name::new("panic");
    let region = name.open();
    let slot = region.quota(&HASH).unwrap();
    region.with(slot, |sum, _| sum.add(1)).unwrap();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        region.with(slot, |sum, _| {
            sum.changing = 1;
            sum.total = 99;
            panic!("in the middle");
        })
    }));
    assert!(outcome.is_err());
    assert_eq!(region.with(slot, |sum, _| (sum.total, sum.changing)), Ok((0, 0)));
}

#[test]
fn the_state_is_one_threads_at_a_time() {
    let name = Name::new("threads");
    let region = name.open();
    let slot = region.quota(&HASH).unwrap();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let region = &region;
            scope.spawn(move || (0..200).for_each(|_| persist(|| region.with(slot, |sum, _| sum.add(number)))));
        }
    });
    assert_eq!(region.with(slot, |sum, _| sum.total), Ok(800));
    // Nor does one thread get it twice.
    let twice = region.with(slot, |_, _| region.with(slot, |sum, _| sum.total));
    assert_eq!(twice, Ok(Err(AccessError::Busy)));
}

#[test]
fn a_region_whose_file_was_removed_moves() {
    let name = Name::new("remove");
    let (first, second) = (name.open(), name.open());
    let slot = first.quota(&HASH).unwrap();
    first.with(slot, |sum, _| (sum.add(1), sum.seats[first.member()] = 1)).unwrap();
    fs::remove_file(name.path()).unwrap();
    assert_eq!(first.reap(), Err(AccessError::Left));
    assert_eq!(second.reap(), Err(AccessError::Left));
    let first_again = first.reopen().unwrap();
    let slot = first_again.quota(&HASH).unwrap();
    first_again.with(slot, |sum, _| sum.add(2)).unwrap();
    let second_again = second.reopen().unwrap();
    // What the first one brought along and changed since is not overwritten.
    assert_eq!(second_again.quota(&HASH), Ok(slot));
    assert_eq!(second_again.with(slot, |sum, _| (sum.total, sum.seats.iter().sum::<u32>())), Ok((2, 0)));
    assert_eq!(first_again.reap(), Ok(0));
}

#[test]
#[ignore = "a measurement: run it in release"]
fn measure() {
    let name = Name::new("measure");
    let region = name.open();
    let slot = region.quota(&HASH).unwrap();
    let time = |what: &str, count: u32, mut action: Box<dyn FnMut() + '_>| {
        let best = (0..7).map(|_| {
            let begun = std::time::Instant::now();
            (0..count).for_each(|_| action());
            begun.elapsed() / count
        });
        println!("{what}: {:?}", best.min().unwrap());
    };
    time("with", 1_000_000, Box::new(|| region.with(slot, |sum, now| sum.total += now.subsec_nanos() as u64).unwrap()));
    time("clock", 1_000_000, Box::new(|| _ = std::hint::black_box(ritellm::platform::clock())));
    time("quota", 10_000, Box::new(|| _ = region.quota(&HASH).unwrap()));
    time("reap", 100_000, Box::new(|| _ = region.reap().unwrap()));
    time("open and drop", 1_000, Box::new(|| drop(name.open())));
}
