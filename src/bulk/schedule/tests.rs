//! Jobs against simulated servers, in virtual time.

use std::collections::{BTreeMap, HashMap};

use super::*;

fn seconds(seconds: f64) -> Time {
    Duration::from_secs_f64(seconds)
}

/// What a server does with a call: an answer or a failure after a time.
type Reply = (Time, Result<Option<f64>, Failure>);

/// A failure of a class. The server is at fault, or may be, for 5xx.
fn failure(class: FailureClass) -> Failure {
    let is_transient = matches!(class, FailureClass::Transient | FailureClass::Overload);
    Failure {
        class,
        retry_after: None,
        is_retryable: is_transient || class == FailureClass::Rate,
        may_be_outage: is_transient,
        is_unavailable: class == FailureClass::Overload,
        was_sent: true,
        was_answered: !is_transient,
        is_of_row: false,
    }
}

fn unavailable() -> Failure {
    failure(FailureClass::Overload)
}

fn refused_connection() -> Failure {
    Failure { was_sent: false, ..failure(FailureClass::Transient) }
}

fn timeout() -> Failure {
    Failure { may_be_outage: false, was_answered: false, ..failure(FailureClass::Transient) }
}

/// The end of a call: its cost, if that is known, or its failure.
type CallEnd = Result<Option<f64>, Failure>;

/// A job of `rows` rows, whose calls a server answers.
struct Job<S> {
    schedule: Schedule,
    server: S,
    rows: u64,
    /// The model of a row.
    model: fn(u64) -> u64,
    read: u64,
    now: Time,
    /// The input's number of each row in memory.
    numbers: HashMap<RowId, u64>,
    /// Calls in flight by the time of their end.
    ends: BTreeMap<(Time, u64), (RowId, CallEnd)>,
    /// Starts of all calls: time, row.
    calls: Vec<(Time, u64)>,
    done: Vec<u64>,
    failed: Vec<u64>,
    most_in_flight: usize,
}

impl<S: FnMut(Time, u64) -> Reply> Job<S> {
    fn new(options: Options, rows: u64, server: S) -> Self {
        Self {
            schedule: Schedule::new(options, 0.0, 0),
            server,
            rows,
            model: |_| 0,
            read: 0,
            now: Time::ZERO,
            numbers: HashMap::new(),
            ends: BTreeMap::new(),
            calls: Vec::new(),
            done: Vec::new(),
            failed: Vec::new(),
            most_in_flight: 0,
        }
    }

    /// Runs until nothing is left to do, or until `end`. Returns true if the job is done.
    fn run_until(&mut self, end: Time) -> bool {
        for _ in 0..10_000_000 {
            match self.schedule.next(self.now, 0, 0) {
                Step::Start(row) => {
                    let number = self.numbers[&row];
                    self.calls.push((self.now, number));
                    let (latency, outcome) = (self.server)(self.now, number);
                    self.ends.insert((self.now + latency, self.calls.len() as u64), (row, outcome));
                    self.most_in_flight = self.most_in_flight.max(self.ends.len());
                    assert_eq!(self.ends.len(), self.schedule.in_flight());
                }
                Step::GiveUp(row) => {
                    self.schedule.forget(row);
                    self.failed.push(self.numbers.remove(&row).unwrap());
                }
                Step::Read(_) if self.read < self.rows => {
                    let row = self.schedule.add(100, (self.model)(self.read), None);
                    self.numbers.insert(row, self.read);
                    self.read += 1;
                }
                Step::Read(_) => self.schedule.exhausted(),
                Step::Done => return true,
                Step::Wait(until) => {
                    let next_end = self.ends.first_key_value().map(|((time, _), _)| *time);
                    let next = [until, next_end].into_iter().flatten().min().expect("something to wait for");
                    if next > end {
                        self.now = end;
                        return false;
                    }
                    self.now = self.now.max(next);
                    while let Some(entry) = self.ends.first_entry().filter(|entry| entry.key().0 <= self.now) {
                        let (row, outcome) = entry.remove();
                        self.ended(row, outcome);
                    }
                }
            }
        }
        panic!("the job goes round in circles at {:?}", self.now);
    }

    fn ended(&mut self, row: RowId, outcome: Result<Option<f64>, Failure>) {
        match outcome {
            Ok(cost) => {
                self.schedule.succeeded(self.now, row, cost);
                self.done.push(self.numbers.remove(&row).unwrap());
            }
            Err(failure) => {
                if self.schedule.failed(self.now, row, &failure, 0.5) == Verdict::Final {
                    self.failed.push(self.numbers.remove(&row).unwrap());
                }
            }
        }
    }

    fn run(&mut self) {
        assert!(self.run_until(seconds(1e6)), "not done after {:?}", self.now);
    }

    /// Number of calls for each row.
    fn calls_of(&self, row: u64) -> usize {
        self.calls.iter().filter(|(_, called)| *called == row).count()
    }
}

fn ok(latency: f64) -> Reply {
    (seconds(latency), Ok(None))
}

#[test]
fn every_row_is_called_once_and_no_more_are_read_than_needed() {
    let options = Options { max_in_flight: Some(10), ..Options::default() };
    let mut job = Job::new(options, 1000, |_, row| ok(0.1 + (row % 7) as f64 / 100.0));
    assert!(!job.run_until(seconds(0.05)));
    assert_eq!(job.read, 10);
    job.run();
    assert_eq!((job.done.len(), job.calls.len(), job.most_in_flight), (1000, 1000, 10));
    assert!(job.schedule.is_empty());
}

#[test]
fn poison_rows_are_outcomes_and_touch_no_other() {
    for class in [FailureClass::BadRequest, FailureClass::Overload, FailureClass::Transient] {
        // At the beginning, in between, and the last ones.
        let poison = [0, 1, 500, 501, 502, 503, 504, 998, 999];
        for in_flight in [1, 64, 2000] {
            let options = Options { max_in_flight: Some(in_flight), ..Options::default() };
            let mut job = Job::new(options, 1000, |_, row| match poison.contains(&row) {
                true => (seconds(0.05), Err(failure(class))),
                false => ok(0.1),
            });
            job.run();
            job.failed.sort_unstable();
            assert_eq!(job.failed, poison, "{class:?} {in_flight}");
            if class == FailureClass::Overload {
                // The last ones may be an outage's, for as long as that may last.
                assert!(job.now < seconds(900.0), "{in_flight} {:?}", job.now);
                continue;
            }
            let attempts = if class == FailureClass::BadRequest { 1 } else { 5 };
            assert!(poison.iter().all(|row| job.calls_of(*row) == attempts), "{class:?} {in_flight}");
            assert_eq!(job.calls.len(), 991 + poison.len() * attempts);
        }
    }
}

#[test]
fn a_job_that_is_one_row_ends() {
    for class in [FailureClass::BadRequest, FailureClass::Overload, FailureClass::Transient] {
        for max_attempts in [1, 5] {
            let options = Options { max_attempts, ..Options::default() };
            let mut job = Job::new(options, 1, |_, _| (seconds(0.1), Err(failure(class))));
            job.run();
            let attempts = if class == FailureClass::BadRequest { 1 } else { max_attempts as usize };
            assert_eq!((job.failed.as_slice(), job.calls.len()), (&[0][..], attempts), "{class:?}");
        }
    }
}

#[test]
fn an_outage_burns_no_attempts_and_is_left_within_ten_seconds() {
    for down in [unavailable(), refused_connection()] {
        for (max_attempts, in_flight) in [(1, 1), (1, 64), (5, 2), (5, 64), (5, 500), (1, 500)] {
            let options = Options { max_attempts, max_in_flight: Some(in_flight), ..Options::default() };
            let server = |now: Time, row: u64| match now > seconds(10.0) && now < seconds(610.0) {
                true => (seconds(0.01), Err(down)),
                false => ok(0.2 + (row % 10) as f64 / 50.0),
            };
            let rows = in_flight as u64 * 100;
            let mut job = Job::new(options, rows, server);
            job.run();
            let what = format!("{max_attempts} {in_flight} {}", down.was_sent);
            assert_eq!((job.done.len() as u64, job.failed.len()), (rows, 0), "{what}");
            let probes = job.calls.iter().filter(|(time, _)| *time > seconds(20.0) && *time < seconds(600.0)).count();
            assert!((570..=590).contains(&probes), "{probes} probes: {what}");
            // As many calls a second as before, within ten seconds.
            let between = |from: f64, to: f64| {
                job.calls.iter().filter(|(time, _)| *time >= seconds(from) && *time < seconds(to)).count()
            };
            let (before, after) = (between(5.0, 10.0), between(620.0, 625.0));
            assert!(after as f64 + 3.0 >= 0.9 * before as f64, "{before} before, {after} after: {what}");
        }
    }
}

#[test]
fn calls_in_flight_that_break_when_an_outage_begins_burn_no_attempts() {
    // The answers of those that were sent just before come a little later.
    let options = Options { max_attempts: 1, max_in_flight: Some(100), ..Options::default() };
    let mut job = Job::new(options, 3000, |now, row| {
        let is_down = |time: Time| time > seconds(5.0) && time < seconds(65.0);
        match is_down(now) || is_down(now + seconds(0.5)) && row % 3 > 0 {
            true => (seconds(0.4), Err(unavailable())),
            false => ok(0.5),
        }
    });
    job.run();
    assert_eq!((job.done.len(), job.failed.len()), (3000, 0));
}

#[test]
fn an_outage_at_the_end_of_a_job_burns_no_attempts() {
    let options = Options { max_attempts: 2, ..Options::default() };
    let mut job = Job::new(options, 40, |now, _| match now < seconds(600.0) {
        true => (seconds(0.1), Err(unavailable())),
        false => ok(0.1),
    });
    job.run();
    assert_eq!((job.done.len(), job.failed.len()), (40, 0));
}

#[test]
fn an_outage_that_begins_while_the_last_rows_land_burns_no_attempts() {
    // The answers of some that were sent before come after the first failures.
    for left in [1, 2, 3, 5, 20] {
        for max_attempts in [1, 5] {
            let options = Options { max_attempts, max_in_flight: Some(50), ..Options::default() };
            let mut job = Job::new(options, 200, |now, row| match now < seconds(600.0) && row >= 200 - left {
                true => (seconds(0.05), Err(unavailable())),
                false => ok(0.1),
            });
            job.run();
            assert_eq!((job.done.len(), job.failed.len()), (200, 0), "{left} {max_attempts}");
            assert!(job.now < seconds(610.0), "{left} {max_attempts}: {:?}", job.now);
            assert!(job.calls.len() < 200 + 660, "{left} {max_attempts}: {}", job.calls.len());
        }
    }
}

#[test]
fn an_outage_that_only_the_last_rows_see_is_their_fault_in_the_end() {
    let options = Options { max_in_flight: Some(20), ..Options::default() };
    // Slower than all others, so that nothing is answered after them.
    let mut job = Job::new(options, 100, |_, row| match row < 5 {
        true => (seconds(30.0), Err(unavailable())),
        false => ok(0.01),
    });
    job.run();
    assert_eq!((job.done.len(), job.failed.len()), (95, 5));
    assert!(job.now < seconds(900.0), "{:?}", job.now);
}

#[test]
fn a_row_that_is_held_when_all_others_have_landed_is_given_up() {
    // The others were in flight beside it, so that their answers say nothing of it; and nothing else is left to wait for.
    for max_in_flight in [None, Some(6)] {
        let options = Options { max_attempts: 1, max_in_flight, ..Options::default() };
        let mut job = Job::new(options, 6, |_, row| match row == 3 {
            true => (seconds(0.01), Err(failure(FailureClass::Transient))),
            false => ok(0.1),
        });
        job.run();
        assert_eq!((job.done.len(), job.failed.as_slice()), (5, &[3][..]));
        assert!(job.now < seconds(2.0), "{:?}", job.now);
    }
}

#[test]
fn a_poison_row_at_the_very_end_is_called_seldom_and_given_up() {
    // Nothing is left that could show that the server is well.
    for in_flight in [1, 20] {
        let options = Options { max_in_flight: Some(in_flight), ..Options::default() };
        let mut job = Job::new(options, 100, |_, row| match row == 99 {
            true => (seconds(0.2), Err(unavailable())),
            false => ok(0.1),
        });
        job.run();
        assert_eq!((job.done.len(), job.failed.as_slice()), (99, &[99][..]), "{in_flight}");
        assert!(job.now < seconds(690.0) && job.calls_of(99) < 100, "{in_flight}: {:?} {}", job.now, job.calls_of(99));
    }
}

#[test]
fn trouble_of_a_minute_costs_the_last_two_rows_nothing() {
    let internal = failure(FailureClass::Transient);
    for (left, fails) in [(1, internal), (2, internal), (1, timeout()), (2, timeout())] {
        let options = Options { max_in_flight: Some(10), ..Options::default() };
        let mut job = Job::new(options, 100, |now, row| match row >= 100 - left && now < seconds(60.0) {
            true => (seconds(0.1), Err(fails)),
            false => ok(0.1),
        });
        job.run();
        assert_eq!((job.done.len(), job.failed.len()), (100, 0), "{left} {fails:?}");
        assert!(job.now < seconds(110.0) && job.calls.len() < 120, "{left} {fails:?}: {:?}", job.now);
    }
    // It is bounded: a row that is at fault itself is not waited for any longer.
    let mut job = Job::new(Options::default(), 100, |_, row| match row == 99 {
        true => (seconds(0.2), Err(failure(FailureClass::Transient))),
        false => ok(0.1),
    });
    job.run();
    assert_eq!((job.failed.as_slice(), job.calls_of(99)), (&[99][..], 5));
    assert!(job.now < seconds(110.0), "{:?}", job.now);
    // A job that was never answered, and a row beside which others are answered, do not wait like that.
    let options = Options { max_in_flight: Some(4), ..Options::default() };
    for rows in [1, 400] {
        let mut job = Job::new(options, rows, |_, row| match row == 0 {
            true => (seconds(0.2), Err(failure(FailureClass::Transient))),
            false => ok(0.1),
        });
        job.run();
        assert!(job.failed == [0] && job.now < seconds(12.0), "{rows}: {:?}", job.now);
    }
}

#[test]
fn a_server_that_fails_often_is_no_outage() {
    let options = Options { max_in_flight: Some(64), max_attempts: 1000, ..Options::default() };
    let mut seed = fastrand::Rng::with_seed(7);
    let mut job = Job::new(options, 2000, move |_, _| match seed.f64() < 0.8 {
        true => (seconds(0.1), Err(unavailable())),
        false => ok(0.1),
    });
    job.run();
    assert_eq!(job.done.len(), 2000);
    // 256 rows in memory, each of which makes pauses of 8 s before long.
    assert!(job.now < seconds(300.0), "{:?}", job.now);
}

#[test]
fn rows_at_fault_are_told_from_an_outage_even_if_they_are_the_first() {
    let options = Options { max_in_flight: Some(16), max_attempts: 2, ..Options::default() };
    let mut job = Job::new(options, 400, |_, row| match row < 200 {
        true => (seconds(0.05), Err(unavailable())),
        false => ok(0.1),
    });
    job.run();
    assert_eq!((job.done.len(), job.failed.len()), (200, 200));
    assert!(job.now < seconds(600.0), "{:?}", job.now);
}

#[test]
fn rows_that_time_out_burn_their_attempts() {
    let options = Options { max_attempts: 2, ..Options::default() };
    let mut job = Job::new(options, 10, |_, _| (seconds(600.0), Err(timeout())));
    job.run();
    assert_eq!((job.failed.len(), job.calls.len()), (10, 20));
}

#[test]
fn rate_limits_use_up_no_attempts() {
    let options = Options { max_attempts: 1, max_in_flight: Some(50), ..Options::default() };
    let mut tries = HashMap::<u64, u32>::new();
    let mut job = Job::new(options, 200, move |_, row| {
        let tried = tries.entry(row).or_default();
        *tried += 1;
        match *tried <= 10 {
            true => (seconds(0.01), Err(Failure { retry_after: Some(seconds(2.0)), ..failure(FailureClass::Rate) })),
            false => ok(0.1),
        }
    });
    job.run();
    assert_eq!((job.done.len(), job.calls.len()), (200, 2200));
}

/// A refusal by a rate limit.
fn refuse(retry_after: f64) -> Reply {
    let retry_after = Some(seconds(retry_after)).filter(|time| !time.is_zero());
    (seconds(0.02), Err(Failure { retry_after, ..failure(FailureClass::Rate) }))
}

#[test]
fn a_row_that_is_refused_while_others_are_answered_is_given_up_in_the_end() {
    for (retry_after, poison) in [(0.0, 1), (0.0, 100), (1.0, 3), (20.0, 3)] {
        let options = Options { max_in_flight: Some(50), ..Options::default() };
        let mut job = Job::new(options, 60_000, |_, row| match row < poison {
            true => refuse(retry_after),
            false => ok(0.5),
        });
        job.run();
        job.failed.sort_unstable();
        assert_eq!(job.failed, (0..poison).collect::<Vec<_>>());
        // The others take 600 s, in which it is tried seldom, and it has the end for itself.
        assert!(job.now < seconds(1500.0), "{retry_after} {poison}: {:?}", job.now);
        let most = job.calls_of(0);
        assert!((26..60).contains(&most), "{most} calls");
    }
}

#[test]
fn a_row_of_a_short_job_that_is_refused_for_ever_ends_after_hours() {
    // Its others ended before much could be told from them, or there were none.
    for (others, longest) in [(0, 25.1), (9, 25.1), (2_000, 2.1)] {
        let options = Options { max_in_flight: Some(10), ..Options::default() };
        let mut job = Job::new(options, others + 1, |_, row| if row == 0 { refuse(0.0) } else { ok(0.1) });
        job.run();
        assert_eq!((job.failed.as_slice(), job.done.len() as u64), (&[0][..], others));
        let hours = job.now.as_secs_f64() / 3600.0;
        assert!((longest - 0.2..longest).contains(&hours), "{others}: {hours} h");
    }
}

#[test]
fn a_large_row_that_small_ones_starve_has_the_end_for_itself() {
    let options = Options { max_in_flight: Some(50), ..Options::default() };
    // 50,000 rows at 100 a second.
    let mut job = Job::new(options, 50_000, |now, row| match row % 10_000 == 0 && now < seconds(503.0) {
        true => refuse(0.0),
        false => ok(0.5),
    });
    job.run();
    assert_eq!((job.done.len(), job.failed.len()), (50_000, 0));
    assert!(job.now < seconds(570.0), "{:?}", job.now);
}

#[test]
fn a_quota_that_is_used_up_for_a_day_costs_no_row() {
    // Of many rows, of the last ones, and of one that had been refused before.
    for left in [200, 16, 1] {
        let options = Options { max_attempts: 1, max_in_flight: Some(50), ..Options::default() };
        let day = seconds(24.0 * 3600.0);
        let mut tries = HashMap::<u64, u32>::new();
        let mut job = Job::new(options, 2_000, move |now, row| {
            let tried = tries.entry(row).or_default();
            *tried += 1;
            match row >= 2_000 - left && now < day {
                true => refuse(600.0),
                false if row % 4 == 0 && *tried < 3 => refuse(0.0),
                false => ok(0.1),
            }
        });
        job.run();
        assert_eq!((job.done.len(), job.failed.len()), (2_000, 0), "{left}");
        assert!(job.now < day + seconds(700.0), "{left}: {:?}", job.now);
    }
}

#[test]
fn a_model_that_answers_nobody_costs_no_row_although_another_one_answers() {
    let options = Options { max_in_flight: Some(50), ..Options::default() };
    let mut job = Job::new(options, 2_000, |now, row| match row % 200 == 0 && now < seconds(7200.0) {
        true => refuse(60.0),
        false => ok(100.0),
    });
    job.model = |row| u64::from(row % 200 == 0);
    job.run();
    assert_eq!((job.done.len(), job.failed.len()), (2_000, 0));
}

#[test]
fn what_concerns_the_account_pauses_the_job_and_rows_stay_pending() {
    for class in [FailureClass::QuotaFatal, FailureClass::Auth] {
        let options = Options { max_in_flight: Some(8), ..Options::default() };
        let mut job = Job::new(options, 100, |_, row| match row == 20 {
            true => (seconds(0.1), Err(failure(class))),
            false => ok(0.2),
        });
        job.run();
        assert_eq!(job.schedule.halted(), Some(Halt::Refused));
        // Those in flight have landed.
        assert_eq!((job.failed.len(), job.calls.len(), job.done.len()), (0, job.calls.len(), job.calls.len() - 1));
        assert!(job.calls.len() < 32);
    }
    // A model that one row names is that row's fault.
    let of_row = Failure { is_of_row: true, ..failure(FailureClass::Auth) };
    let mut job = Job::new(Options::default(), 100, |_, row| match row == 20 {
        true => (seconds(0.1), Err(of_row)),
        false => ok(0.2),
    });
    job.run();
    assert_eq!((job.failed.as_slice(), job.done.len(), job.schedule.halted()), (&[20][..], 99, None));
}

#[test]
fn the_cost_stays_within_the_calls_in_flight() {
    for in_flight in [1, 10, 100] {
        let options = Options { max_cost: Some(1.0), max_in_flight: Some(in_flight), ..Options::default() };
        let mut job = Job::new(options, 10_000, |_, row| (seconds(0.1), Ok(Some(0.001 + (row % 5) as f64 / 5000.0))));
        job.run();
        assert_eq!(job.schedule.halted(), Some(Halt::Cost));
        let spent = job.schedule.spent();
        assert!((1.0 - 0.002..1.0 + in_flight as f64 * 0.0018).contains(&spent), "{spent} with {in_flight} in flight");
        // Run again with what it has cost so far: nothing is called.
        let mut again = Job::new(options, 10_000, |_, _| ok(0.1));
        again.schedule = Schedule::new(options, spent.max(1.0), job.done.len() as u64);
        again.run();
        assert_eq!((again.calls.len(), again.schedule.halted()), (0, Some(Halt::Cost)));
    }
    // Exactly enough: the job is done, not halted.
    let options = Options { max_cost: Some(1.0), ..Options::default() };
    let mut job = Job::new(options, 5, |_, _| (seconds(0.1), Ok(Some(0.2))));
    job.run();
    assert_eq!((job.done.len(), job.schedule.halted()), (5, None));
}

#[test]
fn a_stop_lets_calls_in_flight_land() {
    let options = Options { max_in_flight: Some(8), ..Options::default() };
    let mut job = Job::new(options, 100, |_, _| ok(1.0));
    assert!(!job.run_until(seconds(2.5)));
    job.schedule.halt(Halt::Stopped);
    job.run();
    assert_eq!((job.done.len(), job.calls.len()), (24, 24));
}

#[test]
fn rows_take_no_more_memory_than_allowed() {
    let options = Options { max_in_flight_bytes: 1000, ..Options::default() };
    let mut job = Job::new(options, 100, |_, _| ok(1.0));
    job.run();
    assert_eq!((job.done.len(), job.most_in_flight), (100, 10));
    // A larger one goes alone.
    let options = Options { max_in_flight_bytes: 10, ..options };
    let mut job = Job::new(options, 10, |_, _| ok(1.0));
    job.run();
    assert_eq!((job.done.len(), job.most_in_flight), (10, 1));
}

#[test]
fn few_calls_wait_for_a_quota() {
    let mut schedule = Schedule::new(Options::default(), 0.0, 0);
    let row = schedule.add(1, 0, None);
    assert_eq!(schedule.next(seconds(0.1), 0, 0), Step::Start(row));
    assert!(matches!(schedule.next(seconds(0.1), 8, 0), Step::Wait(_)));
    assert!(matches!(schedule.next(seconds(0.1), 7, 0), Step::Read(_)));
}

/// Returns the rows a second of a job without a limit of its own, in its second half.
fn rate(rows: u64, server: impl FnMut(Time, u64) -> Reply) -> (f64, usize) {
    let mut job = Job::new(Options::default(), rows, server);
    job.run();
    let half = job.calls[job.calls.len() / 2].0;
    (rows as f64 / 2.0 / (job.now - half).as_secs_f64(), job.schedule.allowed())
}

#[test]
fn calls_in_flight_grow_for_as_long_as_that_helps() {
    // Any number of calls at once: 4096 of them.
    let (rows, allowed) = rate(200_000, |_, _| ok(1.0));
    assert!(rows > 3000.0 && allowed == 4096, "{rows} {allowed}");
    // A server that works on 100 at once. More would only wait there.
    let mut free = vec![Time::ZERO; 100];
    let (rows, allowed) = rate(100_000, move |now, _| {
        let first = free.iter_mut().min().unwrap();
        *first = now.max(*first) + seconds(0.1);
        (*first - now, Ok(None))
    });
    assert!(rows > 950.0 && allowed <= 216, "{rows} {allowed}");
}

#[test]
fn the_first_row_of_a_prefix_warms_the_cache() {
    let options = Options { warm_prefix: true, max_in_flight: Some(100), ..Options::default() };
    let mut schedule = Schedule::new(options, 0.0, 0);
    let rows: Vec<RowId> = (0..20).map(|row| schedule.add(1, 0, Some(row % 2))).collect();
    let start = |schedule: &mut Schedule, now: f64| {
        let mut started = Vec::new();
        while let Step::Start(row) = schedule.next(seconds(now), 0, 0) {
            started.push(row);
        }
        started
    };
    let first = start(&mut schedule, 0.0);
    assert_eq!(first, rows[..2]);
    schedule.succeeded(seconds(1.0), first[0], None);
    // Those of its prefix; the other is still cold.
    assert_eq!(start(&mut schedule, 1.0), rows[2..].iter().copied().step_by(2).collect::<Vec<_>>());
    // A first row that fails does not hold the others for ever.
    schedule.failed(seconds(2.0), first[1], &failure(FailureClass::BadRequest), 0.5);
    assert_eq!(start(&mut schedule, 2.0).len(), 9);
    // After some minutes the provider has forgotten it.
    let late = [schedule.add(1, 0, Some(0)), schedule.add(1, 0, Some(0))];
    assert_eq!(start(&mut schedule, 300.0), late[..1]);
}
