//! What members learn together.
//!
//! The ledger keeps a log of the events of all members, in one order. Each member applies them in that order, and its own that
//! are not in the log yet on top; so all know the same, up to what is on its way. A snapshot of what was learnt, which one of
//! them makes from time to time, is where a new member begins, and the others go on.

use super::super::Time;
use super::super::ledger::Learnt;
use super::LeaseState;
use super::event::{Event, decode};
use super::exchange::Grant;

/// Maximum number of events that wait to be told. While the ledger is down the older ones are forgotten.
const MAX_EVENTS: usize = 4_000;

impl LeaseState {
    /// Keeps an event to be told to the other members.
    pub(super) fn tell(&mut self, event: Event) {
        if self.events.len() >= MAX_EVENTS {
            let middle = self.batched.max(self.events.len() / 2);
            self.events.drain(self.batched..middle);
        }
        self.is_urgent |= event.is_urgent();
        self.events.push(event);
    }

    /// Forgets what was learnt, and what was not told.
    pub(super) fn forget(&mut self) {
        *self.shared = bytemuck::Zeroable::zeroed();
        self.events.clear();
        (self.snapshot, self.position, self.batched) = (0, 0, 0);
    }

    /// Applies what the others learnt.
    pub(super) fn learn(&mut self, now: Time, grant: &Grant) {
        let time = self.shifted(now);
        if let Some(learnt) = grant.learnt.as_deref().and_then(Learnt::from_bytes) {
            self.shared.learn(time, &learnt);
        }
        decode(&grant.missed).for_each(|event| event.apply(&mut self.shared));
        let told = self.events.drain(..self.batched);
        if grant.appended {
            told.for_each(|event| event.apply(&mut self.shared));
            Event::InFlight(grant.in_flight).apply(&mut self.shared);
        } else {
            // Its arrival was not confirmed then: it is among those above.
            drop(told);
        }
        self.batched = 0;
        (self.snapshot, self.position) = (grant.snapshot, grant.position);
        let mut ahead = self.shared.clone();
        self.events.iter().for_each(|event| event.apply(&mut ahead));
        self.ledger.learn(time, &ahead.learnt());
        // Whoever has learnt nothing yet leaves that to those who have.
        self.wants_snapshot = grant.wants_snapshot && !self.shared.learnt().is_none();
    }
}
