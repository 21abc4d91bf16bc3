//! The calls of one process that wait for a quota: one queue for each priority.

use std::collections::VecDeque;

use super::spec::Priority;
use crate::types::rate_limit::TokenRules;

/// A call, as far as admission needs to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Its priority.
    pub priority: Priority,
    /// Length of the request's body in bytes, from which its input tokens are estimated.
    pub bytes: u64,
    /// Maximum number of output tokens, if the caller set one.
    pub max_tokens: Option<u64>,
    /// How its provider counts tokens.
    pub rules: TokenRules,
}

/// A place in the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    priority: Priority,
    number: u64,
}

/// The queues, and whose turn it is.
#[derive(Debug)]
pub(super) struct Line {
    interactive: Queue,
    bulk: Queue,
    /// Part of the admissions that bulk calls get while interactive calls wait.
    bulk_share: f64,
    /// Number of admissions that bulk calls are owed; from one on it is their turn.
    owed: f64,
    next_number: u64,
}

impl Line {
    pub(super) fn new(bulk_share: f64) -> Self {
        let bulk_share = bulk_share.clamp(0.0, 1.0);
        Self { interactive: Queue::default(), bulk: Queue::default(), bulk_share, owed: 0.0, next_number: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.interactive.waiting == 0 && self.bulk.waiting == 0
    }

    pub(super) fn waiting(&self, priority: Priority) -> usize {
        match priority {
            Priority::Interactive => self.interactive.waiting,
            Priority::Bulk => self.bulk.waiting,
        }
    }

    pub(super) fn push(&mut self, call: Call) -> Ticket {
        let ticket = Ticket { priority: call.priority, number: self.next_number };
        self.next_number += 1;
        self.queue(call.priority).push(ticket.number, call);
        ticket
    }

    /// Returns the priority whose turn it is. The turn stays until a call is admitted or leaves, so that a large call is not
    /// passed for ever.
    fn turn(&self) -> Priority {
        match (self.interactive.waiting, self.bulk.waiting) {
            (0, _) => Priority::Bulk,
            (_, 0) => Priority::Interactive,
            _ if self.owed >= 1.0 => Priority::Bulk,
            _ => Priority::Interactive,
        }
    }

    /// Returns the ticket and the call whose turn it is.
    pub(super) fn next(&self) -> Option<(Ticket, &Call)> {
        let priority = self.turn();
        let queue = if priority == Priority::Bulk { &self.bulk } else { &self.interactive };
        queue.front().map(|(number, call)| (Ticket { priority, number }, call))
    }

    /// Removes a call that was admitted, when it was its turn.
    pub(super) fn admitted(&mut self, ticket: Ticket) {
        if self.interactive.waiting > 0 && self.bulk.waiting > 0 {
            self.owed += self.bulk_share;
            if ticket.priority == Priority::Bulk {
                self.owed -= 1.0;
            }
        }
        let _ = self.remove(ticket);
    }

    /// Returns false if the call was not there.
    pub(super) fn remove(&mut self, ticket: Ticket) -> bool {
        self.queue(ticket.priority).remove(ticket.number)
    }

    fn queue(&mut self, priority: Priority) -> &mut Queue {
        match priority {
            Priority::Interactive => &mut self.interactive,
            Priority::Bulk => &mut self.bulk,
        }
    }
}

/// One queue. Calls that left from its middle stay as `None` until they are at its front, or are half of it.
#[derive(Debug, Default)]
struct Queue {
    places: VecDeque<(u64, Option<Call>)>,
    waiting: usize,
}

impl Queue {
    fn push(&mut self, number: u64, call: Call) {
        self.places.push_back((number, Some(call)));
        self.waiting += 1;
    }

    fn front(&self) -> Option<(u64, &Call)> {
        let (number, call) = self.places.front()?;
        Some((*number, call.as_ref()?))
    }

    fn remove(&mut self, number: u64) -> bool {
        let Ok(index) = self.places.binary_search_by_key(&number, |place| place.0) else { return false };
        if self.places[index].1.take().is_none() {
            return false;
        }
        self.waiting -= 1;
        while self.places.front().is_some_and(|place| place.1.is_none()) {
            self.places.pop_front();
        }
        if self.places.len() > 2 * self.waiting + 16 {
            self.places.retain(|place| place.1.is_some());
        }
        true
    }
}
