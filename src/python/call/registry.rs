//! A core client, and the registry of its calls in flight.

use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slab::Slab;
use tokio::sync::Notify;

use super::cancel::CancelHandle;
use crate::client::Client;

/// A core client and its calls in flight.
pub(crate) struct Core {
    pub client: Client,
    pub calls: CallRegistry,
}

impl Core {
    /// Makes a core without calls.
    pub fn new(client: Client) -> Self {
        Self { client, calls: CallRegistry::default() }
    }
}

/// Registry of the calls of a client that are in flight, streams until their end, so that closing the client can wait for
/// them and cancel them.
#[derive(Default)]
pub(crate) struct CallRegistry {
    state: Mutex<State>,
    /// Notified when the last call has ended.
    changed: Notify,
}

#[derive(Default)]
struct State {
    calls: Slab<CancelHandle>,
    phase: Phase,
}

/// Phase in the life of a client.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Open,
    /// A close waits for the calls in flight.
    Draining,
    /// Calls are cancelled, those too that had not reached the network thread when the client was closed.
    Ended,
}

/// Registration of a call: the call is in flight for as long as this lives.
pub(crate) struct InFlight<'a> {
    registry: &'a CallRegistry,
    key: usize,
}

impl CallRegistry {
    /// Registers a call that begins.
    pub fn begin(&self, cancel: &CancelHandle) -> InFlight<'_> {
        let mut state = self.lock();
        let key = state.calls.insert(cancel.clone());
        if state.phase == Phase::Ended {
            cancel.cancel_for_close();
        }
        InFlight { registry: self, key }
    }

    /// Waits until no call is in flight. Returns false if that took longer than `limit`.
    pub async fn drained(&self, limit: Option<Duration>) -> bool {
        let drained = async {
            loop {
                let mut changed = pin!(self.changed.notified());
                changed.as_mut().enable();
                if self.lock().calls.is_empty() {
                    return;
                }
                changed.await;
            }
        };
        match limit {
            None => {
                drained.await;
                true
            }
            Some(limit) => tokio::time::timeout(limit, drained).await.is_ok(),
        }
    }

    /// Enters a phase, unless the calls have been ended. [`Phase::Ended`] cancels all calls in flight.
    pub fn set_phase(&self, phase: Phase) {
        let mut state = self.lock();
        if state.phase != Phase::Ended {
            state.phase = phase;
        }
        if phase == Phase::Ended {
            state.calls.iter().for_each(|(_, cancel)| cancel.cancel_for_close());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let mut state = self.registry.lock();
        let cancel = state.calls.remove(self.key);
        let is_last = state.phase != Phase::Open && state.calls.is_empty();
        drop(state);
        drop(cancel);
        if is_last {
            self.registry.changed.notify_waiters();
        }
    }
}
