//! Carries out the decisions of a job's schedule.

use std::hash::{DefaultHasher, Hasher};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, timeout_at};

use super::calls::{RowWork, make};
use super::check::{self, Check, Checked, sum_of};
use super::reader::{End, Prepared, Queue, Taken};
use super::status::{SOURCE, Snapshot, State, Status};
use super::{Pause, RowObserver, Stop};
use crate::bulk::identity::Key;
use crate::bulk::journal::{Journal, Progress};
use crate::bulk::line::Totals;
use crate::bulk::outcome::Outcome;
use crate::bulk::schedule::{Failure, Halt, Options, RowId, Schedule, Step, Time, Verdict};
use crate::client::{AdmissionObserver, Call, Client, NO_PRICE, is_retryable};
use crate::error::{Error, ErrorKind, Result};
use crate::providers::failure_class;
use crate::types::operation::Operation;
use crate::types::rate_limit::FailureClass;
use crate::types::secrets::Redactors;
use crate::types::usage::Usage;

/// Number of bytes of a prompt's JSON that rows have in common if one of them fills the provider's cache for the others. OpenAI
/// and Anthropic cache prefixes of 1,024 tokens and more, some four bytes each.
const PREFIX: usize = 4096;
/// Time between two updates of the status.
const STATUS_EVERY: Duration = Duration::from_millis(100);
/// Least time between two notes for other processes.
const NOTE_EVERY: Duration = Duration::from_secs(1);

/// A row in memory.
struct Row {
    number: u64,
    key: Key,
    id: Option<Box<str>>,
    bytes: u64,
    work: Work,
    /// Number of calls so far.
    calls: u32,
    /// Start of the last call, since 1970.
    started: Duration,
    /// The last failure.
    error: Option<Box<Error>>,
    /// The call in flight.
    flight: Option<Flight>,
}

/// The rows in memory, by their numbers in the schedule.
#[derive(Default)]
struct Slots(Vec<Option<Row>>);

impl Slots {
    fn insert(&mut self, id: RowId, row: Row) {
        if id >= self.0.len() {
            self.0.resize_with(id + 1, || None);
        }
        self.0[id] = Some(row);
    }

    fn get_mut(&mut self, id: RowId) -> Option<&mut Row> {
        self.0.get_mut(id)?.as_mut()
    }

    fn remove(&mut self, id: RowId) -> Option<Row> {
        self.0.get_mut(id)?.take()
    }
}

/// The call of a row.
enum Work {
    Ready(Box<RowWork>),
    /// There is none: the error is the row's outcome.
    Unusable(Box<Error>),
    /// It is in flight.
    Away,
}

struct Flight {
    task: AbortHandle,
    place: Arc<Place>,
}

/// Number of calls that wait for their quota.
#[derive(Debug, Default)]
struct Line {
    waiting: AtomicUsize,
    /// The driver is woken up when so few wait.
    wake_at: AtomicUsize,
    wake: Arc<Notify>,
}

/// Place of a call before or behind the admission.
#[derive(Debug)]
struct Place {
    line: Arc<Line>,
    is_waiting: AtomicBool,
}

impl Place {
    fn new(line: &Arc<Line>) -> Arc<Self> {
        Arc::new(Self { line: line.clone(), is_waiting: AtomicBool::new(false) })
    }

    fn leave(&self) {
        if self.is_waiting.swap(false, Ordering::Relaxed) {
            let before = self.line.waiting.fetch_sub(1, Ordering::Relaxed);
            if before == self.line.wake_at.load(Ordering::Relaxed) {
                self.line.wake.notify_one();
            }
        }
    }
}

impl AdmissionObserver for Place {
    fn waits(&self) {
        if !self.is_waiting.swap(true, Ordering::Relaxed) {
            self.line.waiting.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn begins(&self) {
        self.leave();
    }
}

/// Calls that have ended.
#[derive(Default)]
struct Ended {
    calls: Mutex<Vec<EndedCall>>,
    wake: Arc<Notify>,
}

struct EndedCall {
    row: RowId,
    work: Box<RowWork>,
    /// The result; `None` if the call was cancelled.
    result: Option<Result<Checked>>,
}

impl Ended {
    fn take(&self) -> Vec<EndedCall> {
        std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, call: EndedCall) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push(call);
        if calls.len() == 1 {
            self.wake.notify_one();
        }
    }
}

/// Gives the call of a row back at its end, also if its task is dropped.
struct Report {
    ended: Arc<Ended>,
    place: Arc<Place>,
    row: RowId,
    work: Option<Box<RowWork>>,
    result: Option<Result<Checked>>,
}

impl Drop for Report {
    fn drop(&mut self) {
        self.place.leave();
        let Some(work) = self.work.take() else { return };
        let fault = || {
            let message = "a fault of RiteLLM's own ended this call: please report what it wrote to stderr";
            Err(Error::new(ErrorKind::Internal, message))
        };
        let result = self.result.take().or_else(|| std::thread::panicking().then(fault));
        self.ended.push(EndedCall { row: self.row, work, result });
    }
}

/// The driver of a job.
pub(super) struct Driver {
    schedule: Schedule,
    rows: Slots,
    journal: Arc<Journal>,
    progress: watch::Receiver<Progress>,
    queue: Arc<Queue>,
    ended: Arc<Ended>,
    line: Arc<Line>,
    status: Arc<Status>,
    stop: Arc<Stop>,
    started: Instant,
    /// Outcomes that were appended to the journal, and of these those that have landed.
    appended: u64,
    landed: u64,
    /// Number of outcomes that had been appended when the journal was last told to write them at once.
    hurried: u64,
    has_max_cost: bool,
    warms_prefixes: bool,
    /// Number of rows that are read before they are needed, if that is not the schedule's.
    ahead: Option<usize>,
    /// Why the job pauses.
    reason: Option<Box<Error>>,
    /// The refusal by a rate limit that lasts longest.
    refusal: Option<Refusal>,
    /// Why the input cannot be read any further.
    input_error: Option<Box<Error>>,
    /// Rows whose calls would have exceeded a budget, with what was set aside for those in flight.
    unaffordable: Vec<(RowId, Box<Error>)>,
    redactors: Redactors,
    /// Observer of the rows' outcomes.
    pub observer: Option<Arc<dyn RowObserver>>,
    /// Counts since the last update of the status.
    counts: Counts,
    status_due: Instant,
    /// The time that is in the note for other processes, and the writing of that.
    noted: Option<(std::time::Instant, JoinHandle<()>)>,
    note_due: Instant,
}

/// A refusal by a rate limit.
struct Refusal {
    message: String,
    /// Time that it asked for.
    retry_after: Option<Duration>,
    /// Time until which an answer does not mean that it is over: the call may have been admitted before it, or by another quota.
    until: Time,
}

#[derive(Default)]
struct Counts {
    done: u64,
    failed: u64,
    retries: u64,
    rate_limited: u64,
    cached: u64,
    input_tokens: u64,
    output_tokens: u64,
    has_unknown_cost: bool,
}

impl Driver {
    pub fn new(
        options: Options,
        journal: Arc<Journal>,
        queue: Arc<Queue>,
        status: Arc<Status>,
        stop: Arc<Stop>,
        before: &Totals,
        ahead: Option<usize>,
    ) -> Self {
        let started = Instant::now();
        let wake = stop.wake.clone();
        Self {
            schedule: Schedule::new(options, before.cost, before.outcomes),
            rows: Slots::default(),
            progress: journal.progress(),
            journal,
            queue,
            ended: Arc::new(Ended { calls: Mutex::default(), wake: wake.clone() }),
            line: Arc::new(Line { wake, ..Line::default() }),
            status,
            stop,
            started,
            appended: 0,
            landed: 0,
            hurried: 0,
            has_max_cost: options.max_cost.is_some(),
            warms_prefixes: options.warm_prefix,
            ahead,
            reason: None,
            refusal: None,
            input_error: None,
            unaffordable: Vec::new(),
            redactors: Redactors::default(),
            observer: None,
            counts: Counts::default(),
            status_due: started,
            noted: None,
            note_due: started,
        }
    }

    /// Runs until nothing is in flight and nothing more will be.
    pub async fn run(&mut self, client: &Arc<Client>) {
        tokio::spawn(tell_of_landings(self.journal.progress(), self.stop.wake.clone()));
        loop {
            if self.stop.is_aborted() {
                self.schedule.halt(Halt::Stopped);
                break;
            }
            if self.stop.is_stopped() {
                self.schedule.halt(Halt::Stopped);
                self.leave_line();
            }
            self.land();
            self.take_ended(client);
            let step = self.advance(client);
            if Instant::now() >= self.status_due {
                self.tell();
            }
            match step {
                None if self.landed == self.appended || self.progress.borrow().has_ended => {
                    if let Some(error) = self.input_error.take() {
                        self.pause(Halt::Input, error);
                    }
                    break;
                }
                None => self.wait(None).await,
                Some(until) => self.wait(until).await,
            }
        }
        self.tell();
    }

    /// Returns true if the job pauses because the provider refuses its key, or has no quota for it.
    pub fn is_refused(&self) -> bool {
        self.schedule.halted() == Some(Halt::Refused)
    }

    /// Returns the rows that have no outcome, when all calls have ended, and why they have none.
    pub fn into_rest(mut self) -> (Vec<Prepared>, Option<Pause>) {
        for EndedCall { row, work, .. } in self.ended.take() {
            if let Some(row) = self.rows.get_mut(row) {
                row.work = Work::Ready(work);
            }
        }
        let prepared = |row: Row| {
            let Row { number, key, id, bytes, work, .. } = row;
            let work = match work {
                Work::Ready(work) => Ok(work),
                Work::Unusable(error) => Err(error),
                Work::Away => return None,
            };
            Some(Prepared { number, key, id, work, bytes })
        };
        let pause = self.schedule.halted().map(|halt| Pause { halt, error: self.reason });
        (self.rows.0.into_iter().flatten().filter_map(prepared).collect(), pause)
    }

    /// Takes steps until there is something to wait for. Returns how long, or `None` if the job is over.
    fn advance(&mut self, client: &Arc<Client>) -> Option<Option<Instant>> {
        // The steps take microseconds each, and few of them a millisecond: the clock is read once.
        let now = self.started.elapsed();
        loop {
            let waiting = self.line.waiting.load(Ordering::Relaxed);
            let unlanded = (self.appended - self.landed) as usize;
            match self.schedule.next(now, waiting, unlanded) {
                Step::Start(row) => self.start(client, row),
                Step::GiveUp(row) => self.give_up(row),
                Step::Read(until) => match self.queue.take(self.ahead.unwrap_or_else(|| self.schedule.read_ahead())) {
                    Taken::Row(prepared) => self.add(prepared),
                    Taken::End(End::Whole) => self.schedule.exhausted(),
                    Taken::End(End::Failed(error)) => {
                        // The rows before it are done first.
                        self.schedule.exhausted();
                        self.input_error = Some(error);
                    }
                    Taken::Later if until.is_some_and(|until| until <= now) => {}
                    Taken::Later => return Some(until.map(|until| self.started + until)),
                },
                Step::Wait(until) => {
                    let longest = self.schedule.longest_line();
                    self.line.wake_at.store(longest, Ordering::Relaxed);
                    // They keep as many calls from beginning.
                    if unlanded >= self.schedule.allowed().div_ceil(2) && self.hurried < self.appended {
                        self.hurried = self.appended;
                        self.journal.hurry();
                    }
                    return Some(until.map(|until| self.started + until));
                }
                Step::Done => return None,
            }
        }
    }

    /// Waits for an event, until `until` at most.
    async fn wait(&mut self, until: Option<Instant>) {
        let until = until.unwrap_or_else(|| Instant::now() + STATUS_EVERY).min(Instant::now() + STATUS_EVERY);
        // Woken up by calls that end, rows that arrive, outcomes that land, and by a stop.
        let _ = timeout_at(until, self.stop.wake.notified()).await;
    }

    fn add(&mut self, prepared: Prepared) {
        let Prepared { number, key, id, work, bytes } = prepared;
        let prefix = if self.warms_prefixes { work.as_ref().ok().and_then(|work| prefix(work)) } else { None };
        // Without it, all rows have the job's model.
        let model = work.as_ref().map_or(0, |work| if work.names_model { model(&work.call) } else { 0 });
        let row = self.schedule.add(bytes, model, prefix);
        let work = work.map_or_else(Work::Unusable, Work::Ready);
        let row_in_memory =
            Row { number, key, id, bytes, work, calls: 0, started: Duration::ZERO, error: None, flight: None };
        self.rows.insert(row, row_in_memory);
    }

    /// Begins the call of a row.
    fn start(&mut self, client: &Arc<Client>, id: RowId) {
        let Some(row) = self.rows.get_mut(id) else { return };
        row.started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        row.calls += 1;
        match std::mem::replace(&mut row.work, Work::Away) {
            Work::Ready(work) => {
                let place = Place::new(&self.line);
                let ended = self.ended.clone();
                let report = Report { ended, place: place.clone(), row: id, work: Some(work), result: None };
                let task = tokio::spawn(call(client.clone(), report));
                row.flight = Some(Flight { task: task.abort_handle(), place });
            }
            Work::Unusable(error) => {
                row.work = Work::Unusable(Error::new(error.kind, error.message.clone()));
                self.failed(id, error, false);
            }
            Work::Away => {}
        }
    }

    fn take_ended(&mut self, client: &Arc<Client>) {
        let now = self.started.elapsed();
        let mut landed = 0;
        for EndedCall { row: id, work, result } in self.ended.take() {
            let Some(row) = self.rows.get_mut(id) else { continue };
            row.flight = None;
            let (operation, is_of_row) = (work.call.request.operation, work.names_model);
            row.work = Work::Ready(work);
            match result {
                Some(Ok(answer)) => self.answered(now, id, operation, answer),
                Some(Err(error)) if error.kind == ErrorKind::BudgetExceeded => {
                    // Nothing was sent.
                    row.calls -= 1;
                    self.unaffordable.push((id, error));
                    continue;
                }
                Some(Err(error)) => self.failed(id, error, is_of_row),
                None => self.schedule.cancelled(now, id),
            }
            // What it did not cost of what was set aside may be enough for another.
            landed += 1;
        }
        self.afford(now, client, landed);
    }

    /// Tries `landed` of the rows again that would have exceeded a budget, or pauses if nothing is in flight that may cost less
    /// than what was set aside for it. They count as in flight meanwhile.
    fn afford(&mut self, now: Time, client: &Arc<Client>, landed: usize) {
        // A call that has landed meanwhile may have cost less.
        let is_over = landed == 0 && self.schedule.in_flight() == self.unaffordable.len();
        if self.schedule.halted().is_some() || is_over {
            for (id, error) in std::mem::take(&mut self.unaffordable) {
                self.schedule.cancelled(now, id);
                if self.schedule.halted().is_none() {
                    self.pause(Halt::Cost, error);
                }
            }
        }
        for (id, _) in self.unaffordable.drain(..landed.min(self.unaffordable.len())).collect::<Vec<_>>() {
            self.start(client, id);
        }
    }

    fn answered(&mut self, now: Time, id: RowId, operation: Operation, checked: Checked) {
        let Some(row) = self.rows.remove(id) else { return };
        self.refusal.take_if(|refusal| refusal.until <= now);
        let Checked { answer, failure, earlier, usage, cost } = checked;
        let mut outcome = Outcome::answered(row.number, row.key, row.id, row.started, answer, &mut self.redactors);
        if outcome.usage.is_none() {
            outcome.usage = outcome.response.as_ref().and_then(|response| Usage::of(operation, &response.body));
        }
        outcome.usage = sum_of(outcome.usage, usage);
        if earlier > 0 {
            outcome.cost = outcome.cost.zip(cost).map(|(one, other)| one + other);
        }
        outcome.failure = failure;
        outcome.attempts = row.calls + earlier;
        // One that the model was asked again for was not kept as a whole.
        outcome.cached &= earlier == 0;
        if let Some(usage) = &outcome.usage {
            self.counts.input_tokens += usage.all_input();
            self.counts.output_tokens += usage.all_output();
        }
        match outcome.failure {
            None => self.counts.done += 1,
            Some(_) => self.counts.failed += 1,
        }
        self.counts.has_unknown_cost |= outcome.cost.is_none();
        let cost = outcome.cost;
        match outcome.cached {
            true => self.schedule.kept(now, id),
            false => self.schedule.succeeded(now, id, cost),
        }
        self.counts.cached += u64::from(outcome.cached);
        if self.has_max_cost && cost.is_none() {
            let model = &outcome.model;
            self.pause(
                Halt::Cost,
                Error::argument(format!(
                    "the price of {model} is not known, so max_cost cannot be kept: a catalog that has it would be right"
                )),
            );
        }
        self.append(outcome, &row.work);
    }

    /// Takes a failure. `is_of_row` is true if the row itself named the model.
    fn failed(&mut self, id: RowId, error: Box<Error>, is_of_row: bool) {
        if error.code.as_deref() == Some(NO_PRICE) {
            self.schedule.cancelled(self.started.elapsed(), id);
            return self.pause(Halt::Cost, error);
        }
        let Some(row) = self.rows.get_mut(id) else { return };
        let failure = Failure { is_of_row: is_of_row && error.kind != ErrorKind::Authentication, ..failure(&error) };
        let is_rate = matches!(failure.class, FailureClass::Rate | FailureClass::DayQuota);
        let now = self.started.elapsed();
        let verdict = self.schedule.failed(now, id, &failure, fastrand::f64());
        if verdict == Verdict::Final {
            row.error = Some(error);
            self.finish(id);
            return;
        }
        self.counts.retries += 1;
        if is_rate {
            self.counts.rate_limited += 1;
            let until = now + failure.retry_after.unwrap_or_default();
            if self.refusal.as_ref().is_none_or(|refusal| refusal.until <= until) {
                let message = error.message.clone();
                self.refusal = Some(Refusal { message, retry_after: failure.retry_after, until });
            }
        }
        if verdict == Verdict::Halt {
            self.pause(Halt::Refused, error);
        } else {
            row.error = Some(error);
        }
    }

    fn give_up(&mut self, id: RowId) {
        self.schedule.forget(id);
        self.finish(id);
    }

    /// Ends a row with its last failure.
    fn finish(&mut self, id: RowId) {
        let Some(row) = self.rows.remove(id) else { return };
        let error = row.error.unwrap_or_else(|| Error::new(ErrorKind::Internal, "the row has no failure"));
        let mut outcome = Outcome::failed(row.number, row.key, row.id, row.started, *error);
        outcome.attempts = row.calls;
        self.counts.failed += 1;
        self.append(outcome, &row.work);
    }

    fn append(&mut self, outcome: Outcome, work: &Work) {
        if let Some(observer) = &self.observer {
            let call = if let Work::Ready(work) = work { Some(&work.call) } else { None };
            observer.ended(&outcome, call);
        }
        match self.journal.append(outcome) {
            Ok(number) => self.appended = number,
            Err(error) => self.pause(Halt::Journal, error),
        }
    }

    /// Notes which outcomes have landed.
    fn land(&mut self) {
        let progress = self.progress.borrow_and_update();
        self.landed = progress.landed;
        if let Some(failure) = &progress.failure {
            let error = failure.error();
            drop(progress);
            self.pause(Halt::Journal, error);
        }
    }

    fn pause(&mut self, halt: Halt, error: Box<Error>) {
        self.schedule.halt(halt);
        self.reason.get_or_insert(error);
        self.leave_line();
    }

    /// Gives up the calls that wait for their quota: their rows stay pending.
    fn leave_line(&mut self) {
        for row in self.rows.0.iter_mut().flatten() {
            if let Some(flight) = &row.flight
                && flight.place.is_waiting.load(Ordering::Relaxed)
            {
                flight.task.abort();
            }
        }
    }

    /// Tells what the job waits for: in the status and, every now and then, in the folder.
    fn tell_wait(&mut self, has_moved: bool) {
        let in_flight = self.schedule.in_flight();
        let what = match () {
            () if in_flight > 0 && self.line.waiting.load(Ordering::Relaxed) >= in_flight => "limits",
            () if in_flight > 0 => "answers",
            () if self.landed < self.appended => "the disk: writing outcomes",
            () if self.schedule.is_empty() => SOURCE,
            () => "the next attempt",
        };
        let since = self.status.drives(what, has_moved);
        // Not on this thread: the disk may be what it waits for.
        let is_noted = self.noted.as_ref().is_some_and(|(noted, write)| *noted == since || !write.is_finished());
        if !is_noted && Instant::now() >= self.note_due {
            let journal = self.journal.notes();
            let write = tokio::task::spawn_blocking(move || journal.note(what, since.elapsed()));
            (self.noted, self.note_due) = (Some((since, write)), Instant::now() + NOTE_EVERY);
        }
    }

    /// Updates the status.
    fn tell(&mut self) {
        self.status_due = Instant::now() + STATUS_EVERY;
        let counts = std::mem::take(&mut self.counts);
        self.tell_wait(counts.done + counts.failed + counts.retries > 0);
        let is_over = self.schedule.halted().is_some() || self.schedule.is_finished();
        let state = match self.schedule.halted() {
            Some(_) if self.schedule.in_flight() == 0 => State::Paused,
            Some(_) => State::Stopping,
            None if is_over => State::Done,
            None if self.schedule.outage().is_some() => State::Outage,
            None => State::Running,
        };
        let cost = self.schedule.spent();
        let (in_flight, waiting) = (self.schedule.in_flight(), self.line.waiting.load(Ordering::Relaxed));
        let of_outage = || self.rows.0.iter().flatten().find_map(|row| row.error.as_deref());
        let told = |error: &Error| (error.message.clone(), error.kind.class_name());
        let reason = match (state, &self.refusal) {
            (State::Outage, _) => of_outage().map(told),
            // Nothing happens until the provider's time is over, which may be hours.
            (State::Running, Some(Refusal { message, retry_after, .. })) if waiting == in_flight => {
                let time = retry_after.map(|time| format!("; it asks to wait for {:.0} s", time.as_secs_f64().ceil()));
                Some((message.clone() + &time.unwrap_or_default(), ErrorKind::RateLimit.class_name()))
            }
            _ => self.reason.as_deref().map(told),
        };
        self.status.update(|status: &mut Snapshot| {
            status.state = state;
            (status.reason, status.reason_class) = reason.unzip();
            status.done += counts.done;
            status.failed += counts.failed;
            status.retries += counts.retries;
            status.rate_limited += counts.rate_limited;
            status.cached += counts.cached;
            status.input_tokens += counts.input_tokens;
            status.output_tokens += counts.output_tokens;
            status.has_unknown_cost |= counts.has_unknown_cost;
            (status.cost, status.in_flight, status.waiting) = (cost, in_flight, waiting);
        });
    }
}

/// Wakes the driver up when outcomes have landed.
async fn tell_of_landings(mut progress: watch::Receiver<Progress>, wake: Arc<Notify>) {
    while progress.changed().await.is_ok() {
        wake.notify_one();
    }
}

/// Makes the call of a row.
async fn call(client: Arc<Client>, mut report: Report) {
    let place = report.place.clone();
    let Some(work) = &mut report.work else { return };
    work.call.admission_observer = Some(place);
    report.result = Some(match &work.check {
        None => {
            let RowWork { call, routed, find_lookup, .. } = &mut **work;
            make(&client, call, routed.as_deref(), find_lookup.as_ref()).await.map(Checked::of)
        }
        Some(check) => Box::pin(checked(&client, work, check)).await,
    });
    work.call.admission_observer = None;
}

/// Makes a call whose answer has to follow a schema. One that does not is asked for again, with what is wrong.
async fn checked(client: &Arc<Client>, work: &RowWork, check: &Check) -> Result<Checked> {
    // The schema is written into the call when it is made.
    let mut asked = work.call.clone();
    let operation = asked.request.operation;
    let mut earlier: Option<Checked> = None;
    let mut retries = check.retries;
    loop {
        let answer = make(client, &mut asked.clone(), work.routed.as_deref(), work.find_lookup.as_ref()).await?;
        let verdict = check.check(operation, &answer.body).await;
        let mut found = Checked::of(answer);
        if let Some(earlier) = earlier.take() {
            found = found.after(earlier, operation);
        }
        match verdict {
            check::Verdict::Fits => return Ok(found),
            check::Verdict::Fails(failure) => return Ok(Checked { failure: Some(failure), ..found }),
            check::Verdict::Unfit { reasons, .. } if retries == 0 => {
                return Ok(Checked { failure: Some(check::unfit(&reasons)), ..found });
            }
            check::Verdict::Unfit { text, reasons } => {
                retries -= 1;
                check::ask_again(&mut asked, &text, &reasons);
                earlier = Some(found);
            }
        }
    }
}

/// Returns the number of a call's model.
fn model(call: &Call) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(call.deployment.provider.row().name.as_bytes());
    hasher.write(call.deployment.model.as_bytes());
    hasher.finish()
}

/// Returns the key of the rows that share the beginning of a row's prompt, and its model; `None` if the prompt is too short to
/// be cached.
fn prefix(work: &RowWork) -> Option<u64> {
    let request = &work.call.request;
    let input = request.params.get(request.operation.spec().input)?.get(..PREFIX)?;
    let mut hasher = DefaultHasher::new();
    hasher.write(work.call.deployment.model.as_bytes());
    hasher.write(input);
    Some(hasher.finish())
}

/// Returns what a failure says, as far as decisions depend on it.
fn failure(error: &Error) -> Failure {
    let class = match failure_class(error) {
        // A quota that is stopped tells when it is tried again; one that is too small for the call does not.
        FailureClass::Rate if !error.was_sent && error.kind == ErrorKind::RateLimit => match error.retry_after {
            Some(_) => FailureClass::QuotaFatal,
            None => FailureClass::BadRequest,
        },
        class => class,
    };
    let is_connection = error.kind == ErrorKind::ApiConnection;
    Failure {
        class,
        retry_after: error.retry_after,
        is_retryable: is_retryable(error) || !error.was_sent && (is_connection || error.kind == ErrorKind::Timeout),
        may_be_outage: is_connection || error.status.is_some_and(|status| status >= 500),
        is_unavailable: match error.status {
            None => is_connection,
            Some(status) => matches!(status, 502 | 503 | 504 | 529),
        },
        was_sent: error.was_sent,
        was_answered: error.status.is_some_and(|status| status < 500),
        is_of_row: false,
    }
}
