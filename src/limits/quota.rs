//! One process's view of a quota: the calls that wait for it, in order, and the permits of those that were admitted.

use super::budget::{Budget, BudgetState, Refusal, Taken, Wait};
use super::estimate::Estimates;
use super::line::{Call, Line, Ticket};
use super::{Priority, Time};
use crate::types::rate_limit::{FailureClass, Signals, Tokens};

/// Time between admission and sending from which on a permit is renewed: limits have more room than that, but for those of a
/// second.
const RENEWAL: Time = Time::from_millis(100);

/// Permission to send one call. It ends with [`Quota::settle`], [`Quota::cancel_permit`] or [`Quota::give_back`].
#[derive(Debug)]
#[must_use = "a permit holds budget until it is settled, cancelled or given back"]
pub struct Permit {
    taken: Taken,
    bytes: u64,
}

impl Permit {
    /// Returns the time of the admission.
    pub fn admitted_at(&self) -> Time {
        self.taken.at
    }
}

/// Answer to a call that asks to be sent.
#[derive(Debug)]
#[must_use]
pub enum Admission {
    /// The call may be sent.
    Admitted(Permit),
    /// Try again at this time, or earlier if woken.
    Until(Time),
    /// Try again when woken: others are before it, or a call of this process must end first.
    Blocked,
    /// The call is not sent at all. Its ticket is void.
    Refused(Refusal),
}

/// A quota as `status()` shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The budget, which may be shared with other processes.
    pub budget: BudgetState,
    /// Number of interactive calls of this process that wait.
    pub waiting_interactive: usize,
    /// Number of bulk calls of this process that wait.
    pub waiting_bulk: usize,
    /// Number of permits of this process.
    pub permits: u32,
    /// Estimated input tokens per byte of a request.
    pub tokens_per_byte: f64,
    /// Estimated output tokens of a call.
    pub output_tokens: u64,
}

/// One process's view of a quota.
///
/// A call asks with [`try_acquire`](Self::try_acquire). If it is not admitted at once, it takes a place in the line with
/// [`enqueue`](Self::enqueue) and asks again with [`poll`](Self::poll). Only the call whose turn it is
/// ([`next`](Self::next)) is admitted; it is to be woken after each `poll` that admitted or refused a call, after each
/// `cancel` and `enable`, and after each `observe`, `settle`, `cancel_permit` and `give_back` with which its time has come
/// earlier ([`is_to_wake`](Self::is_to_wake)).
#[derive(Debug)]
pub struct Quota {
    line: Line,
    estimates: Estimates,
    permits: u32,
}

impl Quota {
    /// Creates the view of a quota. `bulk_share` is the part of admissions that bulk calls get while interactive calls wait,
    /// from 0 to 1.
    pub fn new(bulk_share: f64) -> Self {
        Self { line: Line::new(bulk_share), estimates: Estimates::default(), permits: 0 }
    }

    /// Admits a call at once if nobody waits and the budget allows it. Otherwise the call has to [`enqueue`](Self::enqueue).
    pub fn try_acquire(&mut self, budget: &mut (impl Budget + ?Sized), now: Time, call: &Call) -> Admission {
        if self.line.is_empty() { self.take(budget, now, call) } else { Admission::Blocked }
    }

    /// Returns whether the budget allows a call now, whoever waits. Nothing is taken.
    ///
    /// # Errors
    ///
    /// When to try, or why that is useless.
    pub fn check(&self, budget: &mut (impl Budget + ?Sized), now: Time, call: &Call) -> Result<(), Wait> {
        budget.check(now, self.estimate(call))
    }

    /// Returns true if there is no call whose turn it is, or if that call is to be woken. `asleep` is the last call that had
    /// its turn and was not admitted, and the time at which it asks again by itself.
    pub fn is_to_wake(&self, budget: &mut (impl Budget + ?Sized), now: Time, asleep: Option<(Ticket, Time)>) -> bool {
        match (self.line.next(), asleep) {
            (Some((next, call)), Some((ticket, until))) if next == ticket => match self.check(budget, now, call) {
                Ok(()) | Err(Wait::Never(_)) => true,
                Err(Wait::Until(time)) => time < until,
                Err(Wait::Release) => false,
            },
            _ => true,
        }
    }

    /// Takes a place in the line, behind all calls of the same priority.
    pub fn enqueue(&mut self, call: Call) -> Ticket {
        self.line.push(call)
    }

    /// Admits a call that waits, if it is its turn and the budget allows it. After `Admitted` and `Refused` its ticket is
    /// void, and a ticket that is void is `Blocked`.
    pub fn poll(&mut self, budget: &mut (impl Budget + ?Sized), ticket: Ticket, now: Time) -> Admission {
        let call = match self.line.next() {
            Some((next, call)) if next == ticket => *call,
            _ => return Admission::Blocked,
        };
        let admission = self.take(budget, now, &call);
        match admission {
            Admission::Admitted(_) => self.line.admitted(ticket),
            Admission::Refused(_) => drop(self.line.remove(ticket)),
            Admission::Until(_) | Admission::Blocked => {}
        }
        admission
    }

    /// Leaves the line. Returns false if the call was not in it any more.
    pub fn cancel(&mut self, ticket: Ticket) -> bool {
        self.line.remove(ticket)
    }

    /// Returns the ticket of the call whose turn it is.
    pub fn next(&self) -> Option<Ticket> {
        self.line.next().map(|(ticket, _)| ticket)
    }

    fn estimate(&self, call: &Call) -> Tokens {
        self.estimates.estimate(call.bytes, call.max_tokens, &call.rules)
    }

    fn take(&mut self, budget: &mut (impl Budget + ?Sized), now: Time, call: &Call) -> Admission {
        match budget.try_take(now, self.estimate(call)) {
            Ok(taken) => {
                self.permits += 1;
                Admission::Admitted(Permit { taken, bytes: call.bytes })
            }
            Err(Wait::Until(time)) => Admission::Until(time),
            Err(Wait::Release) => Admission::Blocked,
            Err(Wait::Never(refusal)) => Admission::Refused(refusal),
        }
    }

    /// Dates the permit of a call that is sent only now because it had to wait for something else: without that, those that
    /// were admitted earlier and those that are admitted now could exceed a limit together. A call that was admitted within the
    /// last tenth of a second keeps its permit as it is.
    ///
    /// # Errors
    ///
    /// The limits do not allow the call now. Its permit has ended; it has to [`enqueue`](Self::enqueue) again.
    pub fn renew(
        &mut self,
        budget: &mut (impl Budget + ?Sized),
        now: Time,
        call: &Call,
        permit: Permit,
    ) -> Result<Permit, Admission> {
        if now.saturating_sub(permit.taken.at) < RENEWAL {
            return Ok(permit);
        }
        self.give_back(budget, now, permit);
        match self.take(budget, now, call) {
            Admission::Admitted(permit) => Ok(permit),
            admission => Err(admission),
        }
    }

    /// Notes what the head of an answer says, which for a stream is long before its end.
    pub fn observe(&mut self, budget: &mut (impl Budget + ?Sized), now: Time, permit: &Permit, signals: &Signals) {
        budget.observe(now, &permit.taken, signals);
    }

    /// Ends a call that was sent and has an outcome. `used` are its tokens as its provider counts them, if they are known.
    ///
    /// Returns the reason why the call must not be repeated, if there is one: it was refused although it had a window to
    /// itself.
    pub fn settle(
        &mut self,
        budget: &mut (impl Budget + ?Sized),
        now: Time,
        permit: Permit,
        used: Option<Tokens>,
        outcome: &Signals,
    ) -> Option<Refusal> {
        self.permits -= 1;
        if let (None, Some(used)) = (outcome.failure, used) {
            self.estimates.learn(permit.bytes, used);
        }
        budget.settle(now, permit.taken, used, outcome);
        match outcome.failure {
            Some(FailureClass::Rate) => permit.taken.alone,
            _ => None,
        }
    }

    /// Ends a call that was cancelled after it was sent, or whose stream was dropped: its seat is free, the request and its
    /// estimated tokens count.
    pub fn cancel_permit(&mut self, budget: &mut (impl Budget + ?Sized), now: Time, permit: Permit) {
        self.permits -= 1;
        budget.cancel(now, permit.taken);
    }

    /// Ends a permit whose call was never sent.
    pub fn give_back(&mut self, budget: &mut (impl Budget + ?Sized), now: Time, permit: Permit) {
        self.permits -= 1;
        budget.give_back(now, permit.taken);
    }

    /// Ends a stop and a pause by hand.
    pub fn enable(&mut self, budget: &mut (impl Budget + ?Sized), now: Time) {
        budget.enable(now);
    }

    /// Returns what `status()` shows.
    pub fn snapshot(&self, budget: &(impl Budget + ?Sized), now: Time) -> Snapshot {
        Snapshot {
            budget: budget.state(now),
            waiting_interactive: self.line.waiting(Priority::Interactive),
            waiting_bulk: self.line.waiting(Priority::Bulk),
            permits: self.permits,
            tokens_per_byte: self.estimates.tokens_per_byte(),
            output_tokens: self.estimates.output_tokens().ceil() as u64,
        }
    }
}

#[cfg(test)]
mod tests;
