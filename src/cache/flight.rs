//! Calls under way, by what they ask: who asks the same joins the call instead of making another.
//!
//! The call belongs to nobody: it goes on for as long as anybody waits for it, and ends when the last one has gone.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::select;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use super::key::Key;
use crate::client::AdmissionObserver;
use crate::error::{Error, ErrorKind, Result};
use crate::transport::deadline::Timeouts;

/// Calls under way whose result is a `T`.
pub(super) struct Flights<T>(Mutex<HashMap<Key, Arc<Flight<T>>>>);

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// A call under way.
pub(super) struct Flight<T> {
    state: Mutex<State<T>>,
    changed: Notify,
    admission: Arc<Begin>,
}

struct State<T> {
    /// Number of those who wait for it.
    waiting: usize,
    outcome: Option<Result<T>>,
    /// Aborts the call.
    task: Option<AbortHandle>,
    /// True if whoever began the call has gone before its end.
    is_orphaned: bool,
}

/// The begin of a call's first attempt.
#[derive(Debug)]
struct Begin {
    state: Mutex<(bool, Instant)>,
    changed: Notify,
}

impl AdmissionObserver for Begin {
    fn waits(&self) {
        self.lock().0 = true;
    }

    fn begins(&self) {
        let mut state = self.lock();
        if std::mem::take(&mut state.0) {
            state.1 = Instant::now();
            drop(state);
            self.changed.notify_waiters();
        }
    }
}

impl Begin {
    fn lock(&self) -> MutexGuard<'_, (bool, Instant)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of one caller in a call under way. The call is aborted when the last one is dropped.
pub(super) struct Ticket<T> {
    flights: Arc<Flights<T>>,
    flight: Arc<Flight<T>>,
    key: Key,
    /// True if this caller began the call.
    pub is_first: bool,
}

impl<T: Clone> Flights<T> {
    /// Joins the call with this key. If there is none, the caller is the first, and has to begin it.
    pub fn join(self: &Arc<Self>, key: Key) -> Ticket<T> {
        let mut flights = self.lock();
        let known = flights.get(&key).cloned();
        let is_first = known.is_none();
        let flight = known.unwrap_or_else(|| {
            let flight = Arc::new(Flight {
                state: Mutex::new(State { waiting: 0, outcome: None, task: None, is_orphaned: false }),
                changed: Notify::new(),
                admission: Arc::new(Begin { state: Mutex::new((false, Instant::now())), changed: Notify::new() }),
            });
            flights.insert(key, flight.clone());
            flight
        });
        flight.lock().waiting += 1;
        drop(flights);
        Ticket { flights: self.clone(), flight, key, is_first }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Flight<T>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, key: &Key, flight: &Arc<Flight<T>>) {
        let mut flights = self.lock();
        if flights.get(key).is_some_and(|known| Arc::ptr_eq(known, flight)) {
            flights.remove(key);
        }
    }
}

impl<T> Flight<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives a call's result to those who wait for it. Dropped without one, it gives them an error.
pub(super) struct Finisher<T: Clone> {
    flights: Arc<Flights<T>>,
    flight: Arc<Flight<T>>,
    key: Key,
}

impl<T: Clone> Finisher<T> {
    /// Gives out the result, and lets nobody join any more.
    pub fn finish(self, outcome: Result<T>) {
        self.set(outcome);
    }

    /// Gives out the result, and lets others join until this is dropped.
    pub fn open(&self, outcome: T) {
        self.flight.lock().outcome = Some(Ok(outcome));
        self.flight.changed.notify_waiters();
    }

    /// Lets nobody join any more.
    pub fn close(&self) {
        self.flights.remove(&self.key, &self.flight);
    }

    fn set(&self, outcome: Result<T>) {
        self.close();
        self.flight.lock().outcome.get_or_insert(outcome);
        self.flight.changed.notify_waiters();
    }
}

impl<T: Clone> Drop for Finisher<T> {
    fn drop(&mut self) {
        if self.flight.lock().outcome.is_some() {
            return self.close();
        }
        let message = "the call that this one had joined ended without a result";
        self.set(Err(Error::new(ErrorKind::Internal, message)));
    }
}

impl<T: Clone + Send + Sync + 'static> Ticket<T> {
    /// Begins the call: spawns what `make` returns.
    pub fn begin<F: Future<Output = ()> + Send + 'static>(&self, make: impl FnOnce(Finisher<T>) -> F) {
        let finisher = Finisher { flights: self.flights.clone(), flight: self.flight.clone(), key: self.key };
        let task = tokio::spawn(make(finisher));
        self.flight.lock().task = Some(task.abort_handle());
    }

    /// Returns the observer of the call's admission.
    pub fn observer(&self) -> Arc<dyn AdmissionObserver> {
        self.flight.admission.clone()
    }

    /// Waits for the result, within the caller's own timeouts, which began at `started`. The first caller's are those of the call
    /// itself. As there, time before the first attempt's admission does not count towards `total`.
    pub async fn outcome(&self, timeouts: &Timeouts, started: Instant) -> Result<T> {
        loop {
            let mut changed = pin!(self.flight.changed.notified());
            let mut begun = pin!(self.flight.admission.changed.notified());
            changed.as_mut().enable();
            begun.as_mut().enable();
            if let Some(outcome) = &self.flight.lock().outcome {
                return match outcome {
                    Ok(outcome) => Ok(outcome.clone()),
                    Err(error) => Err(error.copy()),
                };
            }
            if self.is_first {
                changed.await;
                continue;
            }
            let (waits, begin) = *self.flight.admission.lock();
            let (limit, from) = if waits { (timeouts.queue, started) } else { (timeouts.total, started.max(begin)) };
            let Some(end) = limit.and_then(|limit| from.checked_add(limit)) else {
                select(changed, begun).await;
                continue;
            };
            if timeout_at(end, select(changed, begun)).await.is_err() && self.flight.lock().outcome.is_none() {
                let seconds = limit.unwrap_or_default().as_secs_f64();
                return Err(if waits {
                    Error::not_admitted(format!("the call was not admitted within its queue timeout of {seconds} s"))
                } else {
                    Error::timeout(format!("the call was not done within its total timeout of {seconds} s"))
                });
            }
        }
    }

    /// Returns true if this caller is the one whom the call's usage is counted for: whoever began it or, if that one has gone,
    /// the first who asks.
    pub fn pays(&self) -> bool {
        self.is_first || std::mem::take(&mut self.flight.lock().is_orphaned)
    }
}

impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        let mut flights = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.flight.lock();
        state.waiting -= 1;
        state.is_orphaned |= self.is_first && state.outcome.is_none();
        if state.waiting > 0 {
            return;
        }
        let task = state.task.take();
        drop(state);
        if flights.get(&self.key).is_some_and(|known| Arc::ptr_eq(known, &self.flight)) {
            flights.remove(&self.key);
        }
        drop(flights);
        // Of a call that has ended, this does nothing.
        if let Some(task) = task {
            task.abort();
        }
    }
}
