//! Calls under way, by what they ask: who asks the same joins the call instead of making another.
//!
//! The call belongs to nobody: it goes on for as long as anybody waits for it, and ends when the last one has gone.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::select;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use super::clock::{Admitted, Clock};
use super::key::Key;
use crate::client::{AdmissionObserver, Call, Departure, SpendingLimit};
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
    /// Number of them who leave, and have not gone yet.
    leaving: usize,
    /// True if whoever began the call leaves or has gone.
    is_orphaned: bool,
    /// True if the call's usage is counted for one of them.
    is_counted: bool,
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
    /// The observer of whoever began the call, as long as that one waits for it.
    owners: OnceLock<Weak<dyn AdmissionObserver>>,
}

impl AdmissionObserver for Admission {
    fn waits(&self) {
        if self.lock().waits(Instant::now()) {
            self.changed.notify_waiters();
        }
        if let Some(observer) = self.owners.get().and_then(Weak::upgrade) {
            observer.waits();
        }
    }

    fn begins(&self) {
        if self.lock().begins(Instant::now()) {
            self.changed.notify_waiters();
        }
        if let Some(observer) = self.owners.get().and_then(Weak::upgrade) {
            observer.begins();
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
    part: Arc<Part>,
}

/// What is known of one caller, as long as it lives.
#[derive(Default)]
struct Part {
    /// True if it leaves or has gone.
    has_left: AtomicBool,
    /// True if others went on when it left.
    has_others: AtomicBool,
    /// True if the call's usage is counted for it.
    counts: AtomicBool,
}

impl<T: Clone> Flights<T> {
    /// Joins the call with this key. If there is none, the caller is the first, and has to begin it.
    pub fn join(self: &Arc<Self>, key: Key) -> Ticket<T> {
        let mut flights = self.lock();
        let known = flights.get(&key).cloned();
        let is_first = known.is_none();
        let flight = known.unwrap_or_else(|| {
            let flight = Arc::new(Flight {
                state: Mutex::new(State {
                    waiting: 0,
                    outcome: None,
                    task: None,
                    leaving: 0,
                    is_orphaned: false,
                    is_counted: false,
                    owner: None,
                }),
                changed: Notify::new(),
                admission: Arc::default(),
            });
            flights.insert(key, flight.clone());
            flight
        });
        flight.lock().waiting += 1;
        drop(flights);
        Ticket { flights: self.clone(), flight, key, is_first, part: Arc::default() }
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

impl<T> State<T> {
    /// Counts the call for a caller, unless it is counted for another: for whoever began it or, once that one has gone, for the
    /// first who asks. Returns true if it is counted for this one.
    fn count(&mut self, part: &Part, is_first: bool) -> bool {
        if !self.is_counted && (is_first || self.is_orphaned) {
            self.is_counted = true;
            part.counts.store(true, Ordering::Relaxed);
        }
        part.counts.load(Ordering::Relaxed)
    }

    /// Notes that a caller leaves. Returns true if the call is counted for another, now or when that one has read its end.
    fn leave(&mut self, part: &Part, is_first: bool) -> bool {
        self.leaving += usize::from(!part.has_left.swap(true, Ordering::Relaxed));
        let goes_on = self.waiting > self.leaving && !part.counts.load(Ordering::Relaxed);
        self.is_orphaned |= is_first;
        let has_others = goes_on || !self.count(part, is_first);
        part.has_others.fetch_or(has_others, Ordering::Relaxed) || has_others
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
        if let Some(observer) = call.admission_observer.replace(self.flight.admission.clone()) {
            // It is the first: nobody has set another.
            let _ = self.flight.admission.owners.set(Arc::downgrade(&observer));
        }
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
                return Ok(match outcome {
                    Ok(outcome) => Ok(outcome.clone()),
                    Err(error) => Err(error.copy()),
                });
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
                Some(end) => {
                    // Whether the time has passed is looked at above.
                    let _ = timeout_at(end, select(changed, admitted)).await;
                }
                None => {
                    select(changed, admitted).await;
                }
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

    /// Returns true if this caller, who has read the end, is the one whom the call's usage is counted for: whoever began it or, if
    /// that one has gone, the first who asks.
    pub fn pays(&self) -> bool {
        let mut state = self.flight.lock();
        let pays = state.count(&self.part, self.is_first);
        // Whoever began the call and leaves later cannot leave it to this one, who was told that it is counted for another.
        if !pays {
            state.leaving += usize::from(!self.part.has_left.swap(true, Ordering::Relaxed));
        }
        pays
    }

    /// Returns a function for a caller who leaves before the end: true if the call is counted for another. Once it has said so, it
    /// does so again. It keeps nothing of the call in memory.
    pub fn departure(&self) -> Departure {
        let (flight, part, is_first) = (Arc::downgrade(&self.flight), self.part.clone(), self.is_first);
        Arc::new(move || match flight.upgrade() {
            Some(flight) => flight.lock().leave(&part, is_first),
            None => part.has_others.load(Ordering::Relaxed) || !is_first && !part.counts.load(Ordering::Relaxed),
        })
    }
}

impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        let mut flights = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.flight.lock();
        state.waiting -= 1;
        state.leaving -= usize::from(self.part.has_left.swap(true, Ordering::Relaxed));
        state.is_orphaned |= self.is_first;
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
