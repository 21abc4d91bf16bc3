//! The calls of a day, driven as the client's router drives them.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use fastrand::Rng;
use ritellm::error::ErrorKind;
use ritellm::limits::{self, Admission, Budget, Permit, Priority, Quota, Ticket, Time, Wait};
use ritellm::router::call::RoutedCall;
use ritellm::router::decision::{
    Attempt, AttemptId, AttemptLimits, CallSpec, Decision, Event, Failure, Outlook, Pause,
};
use ritellm::types::rate_limit::{FailureClass, Signals, TokenRules, Tokens};

use super::provider::{Answer, Condition, DAY};
use super::site::{GROUP, PART, QUOTAS, Site, Waiter};
use super::{Happening, World, seconds};

const RULES: TokenRules = TokenRules { reserves_max_tokens: true, output_weight: 1, cached_reads_free: false };
/// Part of a streamed answer's time after which its first chunk is there.
const FIRST_CHUNK: f64 = 0.25;

pub enum Stage {
    /// In line.
    Waiting {
        ticket: Ticket,
        is_first: bool,
    },
    /// It is to be sent.
    Admitted(Permit),
    Flying {
        permit: Permit,
        entry: usize,
        answer: Box<Answer>,
        sent: Time,
    },
    /// Between two of the others.
    Changing,
}

/// An attempt under way.
pub struct Placed {
    id: AttemptId,
    /// Number of this place: what was meant for another one is void.
    number: u64,
    pub deployment: usize,
    pub quota: usize,
    pub stage: Stage,
    /// The quotas whose lines tell it when they are free.
    watches: [bool; QUOTAS],
}

pub struct Underway {
    pub site: usize,
    pub worker: usize,
    /// Number of the call.
    pub number: u64,
    routed: RoutedCall,
    call: limits::Call,
    used: Tokens,
    end: Time,
    is_job: bool,
    has_end: bool,
    pub attempts: Vec<Placed>,
    /// Number of the timer that counts.
    timer: u64,
    fell_back: bool,
}

/// What the decisions see.
struct View<'a> {
    random: &'a mut Rng,
    site: RefCell<&'a mut Site>,
    worker: usize,
    now: Time,
    call: limits::Call,
    ready: [Cell<Option<Time>>; QUOTAS],
}

impl Outlook for View<'_> {
    fn random(&mut self) -> f64 {
        self.random.f64()
    }

    fn ready_at(&self, deployment: usize) -> Time {
        let site = &mut **self.site.borrow_mut();
        let quota = site.quota_of(deployment);
        if let Some(known) = self.ready[quota].get() {
            return known;
        }
        let now = self.now;
        // As SharedQuota::expected_wait.
        let first = site.with(self.worker, quota, |quota, budget| match quota.check(budget, now, &self.call) {
            Ok(()) => Duration::ZERO,
            Err(Wait::Until(time)) => time.saturating_sub(now).max(Duration::from_nanos(1)),
            Err(Wait::Release) => Duration::from_millis(1),
            Err(Wait::Never(_)) => DAY,
        });
        let waiting = site.workers[self.worker].lines[quota].waiters.len() as u32;
        let time = match first + site.quotas[quota].each * waiting {
            Duration::ZERO => Time::ZERO,
            wait => now + wait,
        };
        self.ready[quota].set(Some(time));
        time
    }

    fn has_line(&self, _deployment: usize) -> bool {
        true
    }
}

fn timeout(had_no_effect: bool) -> Failure {
    let (kind, class) = (ErrorKind::Timeout, FailureClass::Transient);
    Failure { kind, class, retry_after: None, is_repeatable: true, had_no_effect }
}

impl World {
    pub fn start(&mut self, site: usize, worker: usize, is_job: bool) {
        let (total, max_wait) = if is_job { (900.0, 600.0) } else { (120.0, 60.0) };
        let end = self.now + seconds(total);
        let spec = CallSpec {
            group: self.sites[site].group,
            end: Some(end),
            max_retries: 3,
            max_wait: Some(seconds(max_wait)),
            is_stream: !is_job && self.random.u8(..4) == 0,
            is_repeatable: true,
            ..CallSpec::default()
        };
        let priority = if is_job { Priority::Bulk } else { Priority::Interactive };
        let (input, most) = (self.random.u64(10..800), self.random.u64(50..500));
        let call = limits::Call { priority, bytes: input * 4, max_tokens: Some(most), rules: RULES };
        let underway = Box::new(Underway {
            site,
            worker,
            number: self.number(),
            routed: RoutedCall::new(&self.sites[site].workers[worker].state, spec),
            call,
            used: Tokens { input, output: self.random.u64(1..=most) },
            end,
            is_job,
            has_end: false,
            attempts: Vec::new(),
            timer: 0,
            fell_back: false,
        });
        let index = self.free.pop().unwrap_or_else(|| {
            self.calls.push(None);
            self.calls.len() - 1
        });
        self.calls[index] = Some(underway);
        self.tally.calls += 1;
        self.tell(index, Event::Started);
    }

    /// Tells a call what happened, and carries out what it decides.
    pub fn tell(&mut self, index: usize, mut event: Event) {
        let mut underway = self.calls[index].take().expect("a call that is under way");
        loop {
            let now = self.now;
            let site = &mut self.sites[underway.site];
            let view = &mut View {
                random: &mut self.random,
                site: RefCell::new(site),
                worker: underway.worker,
                now,
                call: underway.call,
                ready: Default::default(),
            };
            let decision = underway.routed.next(now, event, view);
            match decision {
                Decision::Attempt(attempt) => {
                    if let Some(waiting) = underway.attempts.pop() {
                        assert!(
                            waiting.id == attempt.id && underway.attempts.is_empty(),
                            "it takes the place of another"
                        );
                        self.tally.moved += 1;
                        self.leave(underway.site, underway.worker, waiting);
                    }
                    self.place(index, &mut underway, attempt);
                }
                Decision::Race(attempt) => {
                    self.tally.hedges += 1;
                    self.place(index, &mut underway, attempt);
                }
                Decision::Send(limits) => {
                    let admitted = underway.attempts.iter().position(|it| matches!(it.stage, Stage::Admitted(_)));
                    self.send(index, &mut underway, admitted.expect("an admitted attempt"), limits);
                }
                Decision::Continue { due_after } => {
                    underway.timer = 0;
                    if let Some(after) = due_after {
                        self.set_timer(index, &mut underway, now + after);
                    }
                }
                Decision::Deliver(id) => {
                    while let Some(place) = underway.attempts.iter().position(|it| it.id != id) {
                        let other = underway.attempts.swap_remove(place);
                        self.tally.aborted += 1;
                        self.leave(underway.site, underway.worker, other);
                    }
                    underway.timer = 0;
                    if underway.attempts.is_empty() {
                        event = Event::Succeeded(id);
                        continue;
                    }
                }
                Decision::Wait { until, why } => {
                    assert!(until < underway.end, "a pause ends within the deadline");
                    assert!(underway.attempts.is_empty());
                    if why == Pause::Unavailable && underway.routed.attempts().is_empty() {
                        // Siblings of other quotas go on at once: none of those that were not asked is free.
                        let state = view.site.borrow().workers[underway.worker].state.clone();
                        let state = state.lock().expect("nothing panics");
                        let mut well = underway.routed.deployments().filter(|it| state.slot(*it).ready_at <= now);
                        let view = &*view;
                        assert!(well.all(|it| view.ready_at(it) > now), "a free deployment is not asked");
                    }
                    self.set_timer(index, &mut underway, until);
                }
                Decision::Done => return self.ended(index, *underway, true),
                Decision::Fail(fail) => {
                    if fail.attempt.is_none() {
                        self.tally.unasked += 1;
                        assert!(!fail.verdicts.is_empty(), "an error says why no deployment was asked");
                        assert!(
                            fail.retry_after.is_some() || now >= underway.end || !underway.routed.attempts().is_empty(),
                            "an error says when one is free: {fail:?}"
                        );
                    }
                    return self.ended(index, *underway, false);
                }
            }
            self.calls[index] = Some(underway);
            return;
        }
    }

    fn set_timer(&mut self, index: usize, underway: &mut Underway, time: Time) {
        underway.timer = self.number();
        self.at(time, Happening::Due { call: index, number: underway.timer });
    }

    /// The time that was decided on has come.
    pub fn due(&mut self, index: usize, number: u64) {
        let Some(underway) = self.calls[index].as_mut().filter(|underway| underway.timer == number) else { return };
        underway.timer = 0;
        let waiting = underway.attempts.iter().find(|it| matches!(it.stage, Stage::Waiting { is_first: true, .. }));
        match waiting.map(|waiting| waiting.number) {
            Some(number) => self.unadmitted(index, number),
            None => self.tell(index, Event::Due),
        }
    }

    /// Asks the quota of an attempt's deployment, or waits in its line.
    fn place(&mut self, index: usize, underway: &mut Underway, attempt: Attempt) {
        let now = self.now;
        let (site, worker) = (underway.site, underway.worker);
        let quota = self.sites[site].quota_of(attempt.deployment);
        let Attempt { id, deployment, limits, max_wait, .. } = attempt;
        let number = self.number();
        underway.timer = 0;
        underway.fell_back |= deployment / GROUP != self.sites[site].group;
        let call = underway.call;
        let admission = self.sites[site].with(worker, quota, |quota, budget| quota.try_acquire(budget, now, &call));
        self.exchange_soon(site, worker, quota);
        match admission {
            Admission::Admitted(permit) => {
                underway.attempts.push(Placed {
                    id,
                    number,
                    deployment,
                    quota,
                    stage: Stage::Admitted(permit),
                    watches: [false; QUOTAS],
                });
                let place = underway.attempts.len() - 1;
                return self.send(index, underway, place, limits);
            }
            Admission::Refused(refusal) => panic!("{refusal:?}"),
            Admission::Until(_) | Admission::Blocked => {}
        }
        let line = &mut self.sites[site].workers[worker].lines[quota];
        let ticket = line.quota.enqueue(call);
        line.waiters.push(Waiter { ticket, call: index, attempt: id });
        let stage = Stage::Waiting { ticket, is_first: false };
        underway.attempts.push(Placed { id, number, deployment, quota, stage, watches: [false; QUOTAS] });
        self.sites[site].quotas[quota].observer.waiting(now, 1);
        self.at(now + max_wait.unwrap_or(DAY), Happening::QueueTimeout { call: index, number });
        if !std::mem::replace(&mut underway.has_end, true) {
            self.at(underway.end, Happening::End { call: index, number: underway.number });
        }
        self.wake(site, worker, quota);
    }

    /// Drops an attempt whose outcome is not wanted any more.
    fn leave(&mut self, site: usize, worker: usize, placed: Placed) {
        let now = self.now;
        let quota = placed.quota;
        let observer = &mut self.sites[site].quotas[quota].observer;
        match placed.stage {
            Stage::Waiting { ticket, .. } => {
                observer.waiting(now, -1);
                let line = &mut self.sites[site].workers[worker].lines[quota];
                line.quota.cancel(ticket);
                line.waiters.retain(|waiter| waiter.ticket != ticket);
                self.set_waiting(site, worker, quota);
                self.wake(site, worker, quota);
            }
            Stage::Admitted(permit) => {
                self.release(site, worker, quota, |quota, budget| quota.give_back(budget, now, permit));
            }
            Stage::Changing => unreachable!("nothing happens in between"),
            Stage::Flying { permit, .. } => {
                observer.in_flight -= 1;
                self.release(site, worker, quota, |quota, budget| quota.cancel_permit(budget, now, permit));
            }
        }
    }

    /// Calls a function that may free budget, and wakes the call whose turn it is if it can go on then.
    fn release(
        &mut self,
        site: usize,
        worker: usize,
        quota: usize,
        function: impl FnOnce(&mut Quota, &mut dyn Budget),
    ) {
        let now = self.now;
        let asleep = self.sites[site].workers[worker].lines[quota].asleep;
        let is_to_wake = self.sites[site].with(worker, quota, |quota, budget| {
            function(quota, budget);
            quota.is_to_wake(budget, now, asleep)
        });
        if is_to_wake {
            self.wake(site, worker, quota);
        }
        self.exchange_soon(site, worker, quota);
    }

    /// Says how many calls of a worker wait for a quota.
    fn set_waiting(&mut self, site: usize, worker: usize, quota: usize) {
        let of_worker = &mut self.sites[site].workers[worker];
        if let Some(lease) = of_worker.leases.get_mut(quota) {
            lease.set_waiting(of_worker.lines[quota].waiters.len());
        }
    }

    /// Lets a line ask when what happens now is over.
    pub fn wake(&mut self, site: usize, worker: usize, quota: usize) {
        let line = &self.sites[site].workers[worker].lines[quota];
        if !line.waiters.is_empty() || !line.watchers.is_empty() {
            self.woken.push((site, worker, quota));
        }
    }

    /// Admits the calls of the lines that were woken whose turn it is; if none waits, tells those that wait elsewhere.
    pub fn ask_lines(&mut self) {
        let mut turns = 0;
        while let Some((site, worker, quota)) = self.woken.pop() {
            turns += 1;
            assert!(turns < 100_000, "a call moves between lines without end");
            let now = self.now;
            let Some(ticket) = self.sites[site].workers[worker].lines[quota].quota.next() else {
                for (call, number) in std::mem::take(&mut self.sites[site].workers[worker].lines[quota].watchers) {
                    if let Some((underway, place)) = self.find(call, number) {
                        underway.attempts[place].watches[quota] = false;
                    }
                    self.unadmitted(call, number);
                }
                continue;
            };
            self.set_waiting(site, worker, quota);
            let admission = self.sites[site].with(worker, quota, |quota, budget| quota.poll(budget, ticket, now));
            self.exchange_soon(site, worker, quota);
            let line = &mut self.sites[site].workers[worker].lines[quota];
            let place = line.waiters.iter().position(|waiter| waiter.ticket == ticket).expect("a call that waits");
            let Waiter { call, attempt, .. } = line.waiters[place];
            let until = match admission {
                Admission::Admitted(permit) => {
                    line.waiters.swap_remove(place);
                    self.set_waiting(site, worker, quota);
                    self.sites[site].quotas[quota].observer.waiting(now, -1);
                    let underway = self.calls[call].as_mut().expect("a call that waits");
                    let placed = underway.attempts.iter_mut().find(|placed| placed.id == attempt);
                    placed.expect("an attempt that waits").stage = Stage::Admitted(permit);
                    self.tell(call, Event::Admitted(attempt));
                    self.wake(site, worker, quota);
                    continue;
                }
                Admission::Refused(refusal) => panic!("{refusal:?}"),
                Admission::Until(time) => time.max(now + Duration::from_nanos(1)),
                Admission::Blocked => Time::MAX,
            };
            line.asleep = Some((ticket, until));
            if until < line.poll {
                line.poll = until;
                self.at(until, Happening::Poll { site, worker, quota });
            }
            let underway = self.calls[call].as_mut().expect("a call that waits");
            let placed = underway.attempts.iter_mut().find(|placed| placed.id == attempt).expect("an attempt");
            if let Stage::Waiting { is_first, .. } = &mut placed.stage
                && !std::mem::replace(is_first, true)
            {
                let number = placed.number;
                self.unadmitted(call, number);
            }
        }
    }

    /// Looks for another deployment for the first call of a line, and has it told when one becomes free.
    fn unadmitted(&mut self, index: usize, number: u64) {
        let Some((underway, place)) = self.find(index, number) else { return };
        let placed = &mut underway.attempts[place];
        if !matches!(placed.stage, Stage::Waiting { is_first: true, .. }) {
            return;
        }
        let (id, own) = (placed.id, placed.quota);
        if placed.watches.iter().filter(|watches| **watches).count() < QUOTAS - 1 {
            let (site, worker) = (underway.site, underway.worker);
            let Self { calls, sites, .. } = self;
            let underway = calls[index].as_mut().expect("a call that waits");
            for deployment in underway.routed.deployments() {
                let quota = sites[site].quota_of(deployment);
                let watches = &mut underway.attempts[place].watches[quota];
                if quota != own && !std::mem::replace(watches, true) {
                    sites[site].workers[worker].lines[quota].watchers.push((index, number));
                }
            }
        }
        self.tell(index, Event::Unadmitted(id));
    }

    fn send(&mut self, index: usize, underway: &mut Underway, place: usize, limits: AttemptLimits) {
        let now = self.now;
        let (site, worker) = (underway.site, underway.worker);
        let placed = &mut underway.attempts[place];
        let (deployment, quota, number) = (placed.deployment, placed.quota, placed.number);
        let condition = self.conditions[deployment];
        let reserved = underway.used.input + underway.call.max_tokens.unwrap_or_default();
        let is_stream = underway.routed.spec.is_stream;
        let is_alone = self.sites[site].has_store && !self.sites[site].workers[worker].lines[quota].has_heard;
        let shared = &mut self.sites[site].quotas[quota];
        let entry = shared.observer.admit(now, reserved, worker, is_alone.then_some(PART), (site, quota));
        self.tally.attempts += 1;
        self.sample.sent[deployment / GROUP] += 1;
        let answer = shared.account.serve(now, condition, &mut self.random);
        if condition == Condition::Well && now >= shared.observer.disturbed_until {
            shared.observer.steady.1 += 1;
        }
        let longest = (underway.end - now).min(limits.limit.unwrap_or(Duration::MAX));
        let delay = match is_stream && answer.failure.is_none() && answer.delay < DAY {
            true => answer.delay.mul_f64(FIRST_CHUNK),
            false => answer.delay,
        };
        let stage = std::mem::replace(&mut placed.stage, Stage::Changing);
        let Stage::Admitted(permit) = stage else { panic!("it was not admitted") };
        placed.stage = Stage::Flying { permit, entry, answer: Box::new(answer), sent: now };
        self.at(now + delay.min(longest), Happening::Answer { call: index, number });
        if let Some(after) = limits.race_after {
            self.set_timer(index, underway, now + after);
        }
    }

    fn find(&mut self, index: usize, number: u64) -> Option<(&mut Underway, usize)> {
        let underway = self.calls[index].as_mut()?;
        let place = underway.attempts.iter().position(|placed| placed.number == number)?;
        Some((underway, place))
    }

    /// An attempt has its answer, or has taken too long; of a stream, its first chunk is there, or its end.
    pub fn answer(&mut self, index: usize, number: u64) {
        let now = self.now;
        let Some((underway, place)) = self.find(index, number) else { return };
        let (site, worker, used, end) = (underway.site, underway.worker, underway.used, underway.end);
        let is_stream = underway.routed.spec.is_stream;
        let reserved = used.input + underway.call.max_tokens.unwrap_or_default();
        let placed = &mut underway.attempts[place];
        let id = placed.id;
        let Stage::Flying { answer, sent, .. } = &mut placed.stage else { panic!("an attempt that was sent") };
        let whole = *sent + answer.delay;
        if is_stream
            && answer.failure.is_none()
            && now < whole
            && now < end
            && now >= *sent + answer.delay.mul_f64(FIRST_CHUNK)
        {
            self.at(whole.min(end), Happening::Answer { call: index, number });
            return self.tell(index, Event::Answered(id));
        }
        let Placed { deployment, quota, stage, .. } = underway.attempts.swap_remove(place);
        let Stage::Flying { permit, entry, mut answer, sent } = stage else { panic!("an attempt that was sent") };
        let has_taken_too_long = now < sent + answer.delay;
        if has_taken_too_long {
            answer.failure = Some(timeout(false));
            answer.signals = Signals { failure: Some(FailureClass::Transient), ..Signals::default() };
        }
        let shared = &mut self.sites[site].quotas[quota];
        let observer = &mut shared.observer;
        observer.in_flight -= 1;
        let class = answer.failure.map(|failure| failure.class);
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
                let is_over = shared.is_adaptive || observer.allows_more(now);
                assert!(is_over, "site {site} quota {quota}: a declared limit was exceeded at the server");
            }
        }
        if let Some(failure) = answer.failure
            && matches!(failure.class, FailureClass::Rate | FailureClass::DayQuota)
            && let Some(pause) = failure.retry_after
        {
            // On the server's clock: it said so half a round trip ago.
            observer.pause(now, worker, now - answer.delay / 2 + pause);
        }
        if class.is_none() && self.sites[site].quotas.iter().any(|other| other.observer.paused_until() > now) {
            self.tally.beside_closed += 1;
        }
        let counted = class.is_none().then_some(used);
        self.release(site, worker, quota, |quota, budget| {
            let _ = quota.settle(budget, now, permit, counted, &answer.signals);
        });
        let is_answered = self.calls[index].as_ref().is_some_and(|underway| underway.routed.spec.is_stream);
        match answer.failure {
            None if is_answered => self.tell(index, Event::Succeeded(id)),
            None => self.tell(index, Event::Answered(id)),
            Some(failure) => self.tell(index, Event::Failed(id, failure)),
        }
    }

    /// An attempt has waited for as long as it may.
    pub fn leave_line(&mut self, index: usize, number: u64) {
        let Some((underway, place)) = self.find(index, number) else { return };
        if !matches!(underway.attempts[place].stage, Stage::Waiting { .. }) {
            return;
        }
        let placed = underway.attempts.swap_remove(place);
        let (id, site, worker, is_last) = (placed.id, underway.site, underway.worker, underway.attempts.is_empty());
        self.leave(site, worker, placed);
        match is_last {
            true => self.give_up(index),
            false => self.tell(index, Event::Failed(id, timeout(true))),
        }
    }

    /// Ends a call without an outcome of its attempts.
    pub fn give_up(&mut self, index: usize) {
        let underway = self.calls[index].take().expect("a call that is under way");
        self.ended(index, *underway, false);
    }

    fn ended(&mut self, index: usize, underway: Underway, is_success: bool) {
        assert!(self.now <= underway.end + Duration::from_millis(1), "a call ends with its deadline");
        let Underway { site, worker, is_job, attempts, fell_back, .. } = underway;
        self.tally.fell_back += u64::from(is_success && fell_back);
        match is_success {
            true => self.tally.succeeded += 1,
            false => self.tally.failed += 1,
        }
        attempts.into_iter().for_each(|placed| self.leave(site, worker, placed));
        self.free.push(index);
        let of_site = &mut self.sites[site].workers[worker];
        if is_job && of_site.job > 0 {
            of_site.job -= 1;
            if self.now < self.end {
                self.starting.push((site, worker));
            }
        }
    }
}
