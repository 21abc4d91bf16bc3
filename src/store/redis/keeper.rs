//! Keeps the slices of one member supplied.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::client::Client;
use super::script::{Key, exchange};
use crate::limits::Time;
use crate::limits::lease::LeaseState;

/// A member of a quota whose ledger is in a Redis.
pub struct Keeper {
    state: Mutex<LeaseState>,
    begun: Instant,
    /// Wakes [`run`](Self::run) when the state may want an exchange earlier.
    changed: Notify,
    /// Wakes those who wait for budget.
    replied: Notify,
}

impl Keeper {
    /// Creates a member. `begun` is the time at which its clock was 0.
    pub fn new(state: LeaseState, begun: Instant) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(state), begun, changed: Notify::new(), replied: Notify::new() })
    }

    /// Returns the time of this member's clock.
    pub fn now(&self) -> Time {
        self.begun.elapsed()
    }

    /// Returns the state; it must not be held while waiting. Whoever changed it calls [`wake`](Self::wake).
    pub fn state(&self) -> MutexGuard<'_, LeaseState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the member ask for budget if it wants to.
    pub fn wake(&self) {
        self.changed.notify_one();
    }

    /// Waits until the ledger has answered, or is down.
    pub async fn replied(&self) {
        self.replied.notified().await;
    }

    /// Exchanges with the ledger for as long as this is polled.
    pub async fn run(&self, client: &Client, key: &Key, member: &str) {
        loop {
            let next = self.state().next_exchange();
            let now = self.now();
            match next {
                Some(next) if next <= now => {
                    let request = self.state().request(now);
                    // A request that was lost is noticed by asking for the next one.
                    let Some(request) = request else { continue };
                    let reply = exchange(client, key, member, &request).await;
                    let now = self.now();
                    match reply {
                        Ok(reply) => self.state().answered(now, request.number, reply),
                        Err(_) => self.state().failed(now, request.number),
                    }
                    self.replied.notify_waiters();
                }
                Some(next) => {
                    // Either way the state is asked again.
                    let _ = tokio::time::timeout_at(self.begun + next, self.changed.notified()).await;
                }
                None => self.changed.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests;
