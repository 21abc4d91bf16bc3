//! Calls under way, by what they ask: who asks the same joins the call instead of making another.
//!
//! The call belongs to nobody: it goes on for as long as anybody waits for it, and ends when the last one has gone.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::select;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use super::clock::{Admitted, Clock};
use super::key::Key;
use crate::client::{AdmissionObserver, Call, SpendingLimit};
use crate::error::{Error, ErrorKind, QUEUE_TIMEOUT, Result};

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
    admission: Arc<Admission>,
}

struct State<T> {
    /// Number of those who wait for it.
    waiting: usize,
    outcome: Option<Result<T>>,
    /// Aborts the call.
    task: Option<AbortHandle>,
    /// True if whoever began the call has gone before its end.
    is_orphaned: bool,
    /// The limits of whoever began the call, within which it is made.
    owner: Option<Owner>,
}

/// The limits within which a call is made.
struct Owner {
    began: Instant,
    total: Option<Duration>,
    budget: Option<Arc<SpendingLimit>>,
}

/// The admission of a call's first attempt.
#[derive(Debug, Default)]
struct Admission {
    state: Mutex<Admitted>,
    changed: Notify,
}

impl AdmissionObserver for Admission {
    fn waits(&self) {
        if self.lock().waits(Instant::now()) {
            self.changed.notify_waiters();
        }
    }

    fn begins(&self) {
        if self.lock().begins(Instant::now()) {
            self.changed.notify_waiters();
        }
    }
}

impl Admission {
    fn lock(&self) -> MutexGuard<'_, Admitted> {
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
                state: Mutex::new(State { waiting: 0, outcome: None, task: None, is_orphaned: false, owner: None }),
                changed: Notify::new(),
                admission: Arc::default(),
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

    /// Gives out the result, and lets others join until it is [closed](Self::close) or dropped.
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
    /// Begins a call: spawns what `make` returns.
    pub fn begin<F: Future<Output = ()> + Send + 'static>(
        &self,
        mut call: Call,
        make: impl FnOnce(Call, Finisher<T>) -> F,
    ) {
        let owner = Owner { began: Instant::now(), total: call.timeouts.total, budget: call.budget.clone() };
        self.flight.lock().owner = Some(owner);
        call.admission_observer = Some(self.flight.admission.clone());
        let finisher = Finisher { flights: self.flights.clone(), flight: self.flight.clone(), key: self.key };
        let task = tokio::spawn(make(call, finisher));
        self.flight.lock().task = Some(task.abort_handle());
    }

    /// Returns what is known of the admission of the call's first attempt.
    pub fn admitted(&self) -> Admitted {
        *self.flight.admission.lock()
    }

    /// Waits for the result, and no longer than a clock allows, if there is one.
    ///
    /// # Errors
    ///
    /// The time of the caller's clock has passed.
    pub async fn outcome(&self, clock: Option<&Clock>) -> Result<Result<T>> {
        loop {
            let mut changed = pin!(self.flight.changed.notified());
            let mut admitted = pin!(self.flight.admission.changed.notified());
            changed.as_mut().enable();
            admitted.as_mut().enable();
            if let Some(outcome) = &self.flight.lock().outcome {
                return Ok(outcome.as_ref().map(T::clone).map_err(|error| error.copy()));
            }
            let end = match clock {
                Some(clock) => {
                    let admitted = self.admitted();
                    clock.check(admitted)?;
                    clock.end(admitted)
                }
                None => None,
            };
            match end {
                Some(end) => drop(timeout_at(end, select(changed, admitted)).await),
                None => drop(select(changed, admitted).await),
            }
        }
    }

    /// Returns true if a call failed by the limits of whoever began it, which others need not share: its time, or its budget.
    pub fn is_owners(&self, error: &Error, budget: Option<&Arc<SpendingLimit>>) -> bool {
        let waited = |began| self.admitted().waited(began, Instant::now());
        let state = self.flight.lock();
        let Some(Owner { began, total, budget: owners }) = &state.owner else { return false };
        match error.kind {
            ErrorKind::BudgetExceeded => owners.as_ref() != budget,
            // A provider may report a timeout as well, with a status.
            ErrorKind::Timeout if error.status.is_none() => {
                let is_late = |total| began.elapsed().saturating_sub(waited(*began)) >= total;
                error.code.as_deref() == Some(QUEUE_TIMEOUT) || total.is_some_and(is_late)
            }
            _ => false,
        }
    }

    /// Number of callers who have a part in the call.
    pub fn waiting(&self) -> usize {
        self.flight.lock().waiting
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
