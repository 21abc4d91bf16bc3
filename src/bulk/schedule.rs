//! Which rows of a job may run now, and what follows from an outcome. No I/O and no clock: the time is passed in.
//!
//! - `growth`: the number of calls in flight that is worth having, where nobody set one
//! - `refusals`: rows that a rate limit refuses again and again while it answers the others
//! - `warm`: rows with a common prefix wait until the first of them has filled the provider's cache
//!
//! A row ends as an answer or, after `max_attempts` failures that are its own, as an error. Failures of all rows alike are no
//! row's own: they are an outage, in which one row a second is tried until one is answered.

mod growth;
mod refusals;
mod warm;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use slab::Slab;

use crate::types::rate_limit::FailureClass;
use growth::Growth;
use refusals::{Refusals, Refused, RowRefusals};
use warm::Warm;

/// Time since the start of the job.
pub type Time = Duration;

/// Number of a row that is in memory. It is used again after the row's end.
pub type RowId = usize;

/// First pause before a row is tried again; each failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause that no provider asked for.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// Time between the probes of an outage.
const PROBE: Duration = Duration::from_secs(1);
/// The longest time between them when one or two rows are left, which may be at fault themselves and are paid for: it doubles.
const LONGEST_PROBE: Duration = Duration::from_secs(8);
/// Factor by which the pauses before the last attempts at a row grow, and number of these pauses, while nothing could show whose
/// fault its failures are: with five attempts they take 65 to 130 s, so that trouble of a minute is survived.
const PATIENCE: u32 = 6;
const PATIENT_PAUSES: u32 = 4;
/// Number of rows that have to fail, without an answer in between, before that is an outage: as many as may be in flight, but
/// for these bounds.
const FEWEST_FAILED: usize = 8;
const MOST_FAILED: usize = 64;
/// The same of the last rows of a job.
const FEWEST_LAST_FAILED: usize = 3;
/// Time after which an outage that only the last rows of a job have seen is taken for their fault: outages of ten minutes are
/// waited for.
const LONGEST_OUTAGE_OF_LAST: Duration = Duration::from_secs(660);
/// Number of rows that are the last ones of a job.
const LAST: usize = 16;
/// Number of further calls that each answer allows after an outage.
const RAMP: usize = 4;

/// Bounds of a job.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Number of calls in flight; without one it grows for as long as that helps.
    pub max_in_flight: Option<usize>,
    /// Maximum of the bytes of the rows in memory. One row may have more.
    pub max_in_flight_bytes: u64,
    /// Number of failures of its own after which a row ends as an error.
    pub max_attempts: u32,
    /// Cost in US dollars at which no further call is made.
    pub max_cost: Option<f64>,
    /// True if rows with a common prefix wait for the first of them.
    pub warm_prefix: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_in_flight: None,
            max_in_flight_bytes: 256 << 20,
            max_attempts: 5,
            max_cost: None,
            warm_prefix: false,
        }
    }
}

/// Reason why no further row is admitted, until the job is run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// The user asked for it.
    Stopped,
    /// There is no credit or no quota, or the key or the model is refused.
    Refused,
    /// The job has cost as much as it may.
    Cost,
    /// The journal cannot be written.
    Journal,
    /// The input cannot be read any further.
    Input,
}

/// The next step of a job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// Make the call of this row.
    Start(RowId),
    /// The last failure of this row is its outcome.
    GiveUp(RowId),
    /// Read a row and [`add`](Schedule::add) it. If there is none yet, wait for one, or until the given time.
    Read(Option<Time>),
    /// Wait for an event, or until the given time.
    Wait(Option<Time>),
    /// Nothing is in flight, and nothing more will be.
    Done,
}

/// A failed call, as far as decisions depend on it.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    /// Class of the failure.
    pub class: FailureClass,
    /// Time for which the provider asked not to be asked again.
    pub retry_after: Option<Duration>,
    /// True if the same request may succeed later.
    pub is_retryable: bool,
    /// True if the failure may be the server's for all calls: a status above 499, or a connection that failed.
    pub may_be_outage: bool,
    /// True if it is what a server says, or a gateway before it, that serves nobody: 502, 503, 504 and 529, or a connection that
    /// broke. A row that cannot be processed gets 500 as a rule.
    pub is_unavailable: bool,
    /// False if nothing of the request was sent.
    pub was_sent: bool,
    /// True if there was an answer that speaks against an outage: any status below 500.
    pub was_answered: bool,
    /// True if what is refused was named by the row itself and not by the job.
    pub is_of_row: bool,
}

/// Consequence of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The failure is the row's outcome.
    Final,
    /// The row stays pending.
    Pending,
    /// The row stays pending, and the job pauses because of this failure.
    Halt,
}

/// A row in memory.
#[derive(Debug)]
struct Row {
    bytes: u64,
    /// Number of failures that count, and of those that will count if they turn out to be the row's own.
    attempts: u32,
    unconfirmed: u32,
    /// Number of pauses so far.
    pauses: u32,
    /// Start of the call in flight.
    started: Option<Time>,
    /// Time of the last failure that may be an outage's.
    failed_at: Option<Time>,
    /// True if that failure was one of a server that serves nobody.
    is_unavailable: bool,
    /// True if the row failed while others were answered.
    is_suspect: bool,
    /// True if the row has failed as often as it may, unless it was an outage.
    is_held: bool,
    /// Refusals by a rate limit.
    refusals: RowRefusals,
    /// Number of the row's model.
    model: u64,
    /// Group of rows with a common prefix.
    prefix: Option<u64>,
    /// Number of the series of failures in which it was counted.
    series: u64,
}

/// A time in which no call is answered.
#[derive(Debug, Clone, Copy)]
struct Outage {
    since: Time,
    next_probe: Time,
    /// True if a server has answered, if only with an error.
    is_served: bool,
    /// True if the last probe was a row that had not been tried.
    was_fresh: bool,
    /// Time until the next probe if one or two rows are left.
    last_pause: Duration,
}

/// The schedule of a job.
#[derive(Debug)]
pub struct Schedule {
    options: Options,
    rows: Slab<Row>,
    in_flight: usize,
    /// Number of those that had not been tried before.
    fresh_in_flight: usize,
    /// True if a row was asked for since the last start.
    has_asked: bool,
    bytes: u64,
    /// Rows that may start.
    ready: VecDeque<RowId>,
    /// Rows that wait for their next attempt, the earliest first.
    later: BinaryHeap<Reverse<(Time, RowId)>>,
    /// Rows whose last failure may be an outage's, in the order of the failures.
    doubtful: VecDeque<(Time, RowId)>,
    /// Rows to be given up.
    over: VecDeque<RowId>,
    growth: Growth,
    refusals: Refusals,
    warm: Option<Warm>,
    is_exhausted: bool,
    halt: Option<Halt>,
    outage: Option<Outage>,
    /// Number of calls in flight that may be had after an outage.
    ramp: Option<usize>,
    /// Number of suspects in memory.
    suspects: usize,
    /// Number of rows that have failed since the last answer, and of this series.
    failed_in_series: usize,
    series: u64,
    /// Time of the last answer, and of the last start of a call that was answered.
    answered_at: Option<Time>,
    answered_start: Option<Time>,
    spent: f64,
    priced: u64,
}

impl Schedule {
    /// Returns the schedule of a job whose earlier runs have answers of known cost: their sum and their number.
    pub fn new(options: Options, spent: f64, priced: u64) -> Self {
        Self {
            growth: Growth::new(options.max_in_flight),
            refusals: Refusals::default(),
            warm: options.warm_prefix.then(Warm::default),
            options,
            rows: Slab::new(),
            in_flight: 0,
            fresh_in_flight: 0,
            has_asked: false,
            bytes: 0,
            ready: VecDeque::new(),
            later: BinaryHeap::new(),
            doubtful: VecDeque::new(),
            over: VecDeque::new(),
            is_exhausted: false,
            halt: None,
            outage: None,
            ramp: None,
            suspects: 0,
            failed_in_series: 0,
            series: 1,
            answered_at: None,
            answered_start: None,
            spent,
            priced,
        }
    }

    /// Adds a row that was read. Rows with the same `model` share a quota.
    pub fn add(&mut self, bytes: u64, model: u64, prefix: Option<u64>) -> RowId {
        self.bytes += bytes;
        let row = self.rows.insert(Row {
            bytes,
            attempts: 0,
            unconfirmed: 0,
            pauses: 0,
            started: None,
            failed_at: None,
            is_unavailable: false,
            is_suspect: false,
            is_held: false,
            refusals: RowRefusals::default(),
            model,
            prefix: prefix.filter(|_| self.warm.is_some()),
            series: 0,
        });
        self.ready.push_back(row);
        row
    }

    /// Notes that the input has no more rows.
    pub fn exhausted(&mut self) {
        self.is_exhausted = true;
    }

    /// Admits no further row. The first reason stays, but for one that the user gave.
    pub fn halt(&mut self, halt: Halt) {
        if self.halt.is_none() || self.halt == Some(Halt::Stopped) {
            self.halt = Some(halt);
        }
    }

    /// Returns the reason why no further row is admitted, if there is one.
    pub fn halted(&self) -> Option<Halt> {
        self.halt
    }

    /// Returns the time since which no call is answered, if there is an outage.
    pub fn outage(&self) -> Option<Time> {
        Some(self.outage?.since)
    }

    /// Returns the number of calls in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Returns the number of calls in flight that the job may have now.
    pub fn allowed(&self) -> usize {
        let allowed = self.growth.allowed();
        self.ramp.map_or(allowed, |ramp| ramp.min(allowed))
    }

    /// Returns the number of calls that may wait for their quota: enough that it is used up, and no more, since their rows
    /// take memory and would have to be given up when the job is stopped.
    pub fn longest_line(&self) -> usize {
        (self.growth.allowed() / 8).clamp(2, 64)
    }

    /// Returns the number of rows to be read before they are needed.
    pub fn read_ahead(&self) -> usize {
        (self.allowed() / 4).clamp(1, 256)
    }

    /// Returns the number of attempts of a row that have failed for good.
    pub fn attempts(&self, row: RowId) -> u32 {
        self.rows[row].attempts + self.rows[row].unconfirmed
    }

    /// Returns the number of rows in memory.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns true if no row is in memory.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the cost of all answers, those of earlier runs included.
    pub fn spent(&self) -> f64 {
        self.spent
    }

    /// Returns the next step. `waiting` is the number of calls in flight that wait for their quota, `unlanded` that of outcomes
    /// that would be lost if the process ended now: both count as in flight.
    pub fn next(&mut self, now: Time, waiting: usize, unlanded: usize) -> Step {
        let step = self.step(now, waiting, unlanded);
        // No row can tell any more.
        let is_idle = self.in_flight + unlanded == 0 && self.later.is_empty() && self.ready.is_empty();
        if is_idle && matches!(step, Step::Wait(_)) && self.outage.is_none() && !self.doubtful.is_empty() {
            self.settle_doubts(now);
            return self.step(now, waiting, unlanded);
        }
        step
    }

    fn step(&mut self, now: Time, waiting: usize, unlanded: usize) -> Step {
        if let Some(row) = self.over.pop_front() {
            return Step::GiveUp(row);
        }
        if self.halt.is_some() {
            return if self.in_flight == 0 { Step::Done } else { Step::Wait(None) };
        }
        if let Some(Outage { next_probe, .. }) = self.outage
            && now < next_probe
        {
            return Step::Wait(Some(next_probe));
        }
        if let Some(outage) = &mut self.outage {
            outage.next_probe = now;
            return self.pick(now, Time::MAX).unwrap_or_else(|| self.read(None));
        }
        let due = self.growth.tick(now, waiting);
        if self.in_flight + unlanded >= self.allowed() || self.in_flight > 0 && waiting >= self.longest_line() {
            return Step::Wait(due);
        }
        if !self.is_affordable() {
            if self.in_flight == 0 && !self.is_finished() {
                self.halt(Halt::Cost);
                return Step::Done;
            }
            return if self.is_finished() { Step::Done } else { Step::Wait(due) };
        }
        if let Some(step) = self.pick(now, now) {
            return step;
        }
        let due = [due, self.later.peek().map(|Reverse((time, _))| *time)].into_iter().flatten().min();
        // Rows that wait take memory, too.
        let is_full = self.rows.len() >= 4 * self.allowed().max(8)
            || self.bytes >= self.options.max_in_flight_bytes && !self.rows.is_empty();
        if is_full { Step::Wait(due) } else { self.read(due) }
    }

    /// Ends a row that was answered, for this cost if it is known.
    pub fn succeeded(&mut self, now: Time, row: RowId, cost: Option<f64>) {
        let started = self.ended(now, row);
        self.answered(now, started);
        self.refusals.answered(self.rows[row].model);
        self.growth.completed(now, started);
        if let Some(cost) = cost {
            self.spent += cost;
            self.priced += 1;
        }
        self.forget(row);
    }

    /// Ends a row whose answer was kept, which says nothing of calls: neither what they cost nor how long they take.
    pub fn kept(&mut self, now: Time, row: RowId) {
        self.ended(now, row);
        self.forget(row);
    }

    /// Takes the failure of a row's call. `random` is a number from 0 up to 1. A row whose failure is final is forgotten.
    pub fn failed(&mut self, now: Time, row: RowId, failure: &Failure, random: f64) -> Verdict {
        let started = self.ended(now, row);
        match failure.class {
            FailureClass::QuotaFatal => return self.refused(now, row),
            FailureClass::Auth if !failure.is_of_row => return self.refused(now, row),
            FailureClass::Rate | FailureClass::DayQuota => {
                self.answered(now, started);
                let are_last = self.is_exhausted && self.rows.len() <= LAST;
                let known = &mut self.rows[row];
                match self.refusals.refused(now, known.model, &mut known.refusals, are_last) {
                    Refused::GiveUp => {
                        self.forget(row);
                        return Verdict::Final;
                    }
                    Refused::Wait(Duration::ZERO) => self.pause(now, row, failure.retry_after, false, random),
                    Refused::Wait(least) => {
                        let asked = failure.retry_after.unwrap_or_default().max(least);
                        self.pause(now, row, Some(asked), false, random);
                    }
                }
                return Verdict::Pending;
            }
            _ => {}
        }
        let is_patient = self.has_no_witness(started);
        if failure.may_be_outage && failure.is_retryable {
            return self.failed_in_doubt(now, row, failure, is_patient, random);
        }
        if !failure.was_sent && failure.is_retryable {
            self.pause(now, row, failure.retry_after, is_patient, random);
            return Verdict::Pending;
        }
        if failure.was_answered {
            self.answered(now, started);
        }
        self.rows[row].attempts += 1;
        if failure.is_retryable && self.attempts(row) < self.options.max_attempts {
            self.pause(now, row, failure.retry_after, is_patient && !failure.was_answered, random);
            return Verdict::Pending;
        }
        self.forget(row);
        Verdict::Final
    }

    /// Ends a call that was cancelled; its row stays pending.
    pub fn cancelled(&mut self, now: Time, row: RowId) {
        self.ended(now, row);
        self.ready.push_front(row);
    }

    /// Forgets a row that was to be given up, or that is not needed any more.
    pub fn forget(&mut self, row: RowId) {
        let row = self.rows.remove(row);
        self.bytes -= row.bytes;
        self.suspects -= usize::from(row.is_suspect);
    }

    fn read(&self, due: Option<Time>) -> Step {
        match self.is_exhausted {
            false => Step::Read(due),
            true if self.is_finished() => Step::Done,
            true => Step::Wait(due),
        }
    }

    /// Returns true if every row has ended.
    pub fn is_finished(&self) -> bool {
        self.is_exhausted && self.rows.is_empty()
    }

    /// Returns true if a further call, at the mean of the costs so far, keeps to the maximum.
    fn is_affordable(&self) -> bool {
        let Some(most) = self.options.max_cost else { return true };
        let mean = if self.priced == 0 { 0.0 } else { self.spent / self.priced as f64 };
        most > self.spent + mean * self.in_flight as f64
    }

    /// Starts a row that may start, or reads one.
    ///
    /// A row that has not been tried is in flight at any time: those that failed may all be at fault themselves, and its answer
    /// shows that. In an outage every other probe is one.
    fn pick(&mut self, now: Time, due: Time) -> Option<Step> {
        let prefers_fresh = match &self.outage {
            Some(outage) => !outage.was_fresh,
            None => self.fresh_in_flight == 0,
        };
        if prefers_fresh {
            if let Some(row) = self.fresh(now) {
                return Some(self.start(now, row));
            }
            let has_room = self.bytes < self.options.max_in_flight_bytes || self.rows.is_empty();
            if !self.is_exhausted && has_room && !std::mem::replace(&mut self.has_asked, true) {
                return Some(Step::Read(Some(now)));
            }
        }
        let row = self.due(due).or_else(|| self.fresh(now))?;
        Some(self.start(now, row))
    }

    /// Takes a row whose next attempt is due at `now`.
    fn due(&mut self, now: Time) -> Option<RowId> {
        self.later.peek().filter(|Reverse((time, _))| *time <= now)?;
        self.later.pop().map(|Reverse((_, row))| row)
    }

    /// Takes a row that has not been tried.
    fn fresh(&mut self, now: Time) -> Option<RowId> {
        while let Some(row) = self.ready.pop_front() {
            let may_start = match (&mut self.warm, self.rows[row].prefix) {
                (Some(warm), Some(prefix)) => warm.may_start(now, prefix, row),
                _ => true,
            };
            if may_start {
                return Some(row);
            }
        }
        None
    }

    fn start(&mut self, now: Time, row: RowId) -> Step {
        let is_fresh = self.rows[row].pauses == 0;
        let are_few = self.is_exhausted && self.rows.len() < FEWEST_LAST_FAILED;
        if let Some(outage) = &mut self.outage {
            let pause = if are_few && outage.is_served { outage.last_pause } else { PROBE };
            (outage.next_probe, outage.was_fresh) = (now + pause, is_fresh);
            outage.last_pause = (2 * pause).min(LONGEST_PROBE);
        }
        self.has_asked = false;
        self.fresh_in_flight += usize::from(is_fresh);
        self.in_flight += 1;
        self.rows[row].started = Some(now);
        Step::Start(row)
    }

    /// Ends the call of a row. Returns its start.
    fn ended(&mut self, now: Time, row: RowId) -> Time {
        self.in_flight -= 1;
        let known = &mut self.rows[row];
        self.fresh_in_flight -= usize::from(known.pauses == 0);
        let started = known.started.take().unwrap_or(now);
        if let (Some(warm), Some(prefix)) = (&mut self.warm, known.prefix) {
            self.ready.extend(warm.ended(now, prefix, row));
        }
        started
    }

    /// Notes that a server has answered a call that was sent at `started`: there is no outage, and what failed before is the
    /// fault of those rows.
    fn answered(&mut self, now: Time, started: Time) {
        self.answered_at = Some(now);
        self.answered_start = self.answered_start.max(Some(started));
        self.failed_in_series = 0;
        self.series += 1;
        if self.outage.take().is_some() {
            self.ramp = Some(self.in_flight + RAMP);
        } else if let Some(ramp) = &mut self.ramp {
            *ramp += RAMP;
            if *ramp >= self.growth.allowed() {
                self.ramp = None;
            }
        }
        while let Some((failed_at, row)) = self.doubtful.front().copied()
            && failed_at <= started
        {
            self.doubtful.pop_front();
            self.confirm(failed_at, row);
        }
    }

    /// Counts the failures of a row as its own.
    fn confirm(&mut self, failed_at: Time, row: RowId) {
        let Some(known) = self.rows.get_mut(row).filter(|known| known.failed_at == Some(failed_at)) else { return };
        known.attempts += std::mem::take(&mut known.unconfirmed);
        if std::mem::take(&mut known.is_held) {
            self.over.push_back(row);
        }
    }

    fn refused(&mut self, now: Time, row: RowId) -> Verdict {
        self.rows[row].pauses += 1;
        self.later.push(Reverse((now, row)));
        self.halt(Halt::Refused);
        Verdict::Halt
    }

    /// Returns true if a call that was sent at `started` failed among the last rows of a job, of which none can show whether the
    /// server is at fault: it has answered before, but no call that was sent later.
    fn has_no_witness(&self, started: Time) -> bool {
        self.is_exhausted
            && self.rows.len() - self.suspects < FEWEST_LAST_FAILED
            && self.answered_start.is_some_and(|answered| answered < started)
    }

    /// Tries a row again after a pause that does not count as an attempt.
    fn pause(&mut self, now: Time, row: RowId, asked: Option<Duration>, is_patient: bool, random: f64) {
        let left = self.options.max_attempts.saturating_sub(self.attempts(row));
        let known = &mut self.rows[row];
        let longest = if is_patient && left <= PATIENT_PAUSES {
            FIRST_PAUSE * PATIENCE.pow((PATIENT_PAUSES - left).min(known.pauses).min(PATIENT_PAUSES - 1))
        } else {
            FIRST_PAUSE.saturating_mul(1u32.checked_shl(known.pauses).unwrap_or(u32::MAX)).min(LONGEST_PAUSE)
        };
        known.pauses += 1;
        // Half of it is certain: a row must not use up its attempts within a moment.
        let pause = asked.unwrap_or_else(|| longest.mul_f64(0.5 + random / 2.0));
        self.later.push(Reverse((now + pause, row)));
    }

    /// Takes a failure that may be an outage's.
    fn failed_in_doubt(&mut self, now: Time, row: RowId, failure: &Failure, is_patient: bool, random: f64) -> Verdict {
        let is_last = self.is_exhausted && self.rows.len() <= LAST;
        let known = &mut self.rows[row];
        if let Some(outage) = &mut self.outage {
            outage.is_served |= failure.was_sent;
            if is_last && outage.is_served && now.saturating_sub(outage.since) > LONGEST_OUTAGE_OF_LAST {
                self.forget(row);
                return Verdict::Final;
            }
            // The others' turn first.
            known.pauses = known.pauses.max(1);
            self.later.push(Reverse((now + PROBE, row)));
            return Verdict::Pending;
        }
        // What was sent before an outage may still be answered in it.
        let answered = if failure.is_unavailable { self.answered_start } else { self.answered_at };
        let was_answered_since = known.failed_at.is_some_and(|failed_at| answered >= Some(failed_at));
        if was_answered_since && !known.is_suspect && failure.was_sent {
            known.is_suspect = true;
            self.suspects += 1;
        }
        known.failed_at = Some(now);
        known.is_unavailable = failure.is_unavailable;
        if failure.was_sent {
            known.unconfirmed += 1;
        }
        // A row cannot make a server refuse connections.
        let is_evidence = !(known.is_suspect && failure.was_sent) && known.series != self.series;
        if is_evidence {
            known.series = self.series;
            self.failed_in_series += 1;
        }
        let attempts = known.attempts + known.unconfirmed;
        self.doubtful.push_back((now, row));
        if failure.was_sent && attempts >= self.options.max_attempts {
            known.is_held = true;
        } else {
            self.pause(now, row, failure.retry_after, is_patient, random);
        }
        let others = if self.is_exhausted { self.rows.len() - self.suspects } else { usize::MAX };
        let all = self.growth.allowed().clamp(FEWEST_FAILED, MOST_FAILED).min(others);
        let is_cut_off = others < FEWEST_LAST_FAILED && self.is_cut_off(row);
        if is_cut_off || self.failed_in_series >= all.max(FEWEST_LAST_FAILED) {
            self.begin_outage(now);
        } else if others < FEWEST_LAST_FAILED {
            // There are no others that could tell.
            self.confirm_all();
        }
        Verdict::Pending
    }

    /// Returns true if the server that has answered others serves nobody since this row failed, as far as that is known.
    fn is_cut_off(&self, row: RowId) -> bool {
        let Some(row) = self.rows.get(row) else { return false };
        row.is_unavailable && !row.is_suspect && self.answered_at.is_some() && self.answered_start < row.failed_at
    }

    fn confirm_all(&mut self) {
        while let Some((failed_at, row)) = self.doubtful.pop_front() {
            self.confirm(failed_at, row);
        }
    }

    /// Decides on rows that have failed as often as they may when nothing else is left to do.
    fn settle_doubts(&mut self, now: Time) {
        // Without further rows, an answer that came after a failure has to do, though it may have been sent before it.
        let is_unanswered = |(failed_at, _): &&(Time, RowId)| !self.is_exhausted || self.answered_at < Some(*failed_at);
        let is_outage = self.doubtful.iter().filter(is_unanswered).count() >= FEWEST_LAST_FAILED
            || self.doubtful.iter().any(|(_, row)| self.is_cut_off(*row));
        if is_outage { self.begin_outage(now) } else { self.confirm_all() }
    }

    fn begin_outage(&mut self, now: Time) {
        let next_probe = now + PROBE;
        self.outage = Some(Outage { since: now, next_probe, is_served: false, was_fresh: false, last_pause: PROBE });
        for (failed_at, row) in std::mem::take(&mut self.doubtful) {
            let Some(known) = self.rows.get_mut(row).filter(|known| known.failed_at == Some(failed_at)) else {
                continue;
            };
            known.unconfirmed = 0;
            if std::mem::take(&mut known.is_held) {
                self.later.push(Reverse((now, row)));
            }
        }
    }
}

#[cfg(test)]
mod tests;
