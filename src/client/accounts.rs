//! What a client has done so far, by provider.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::places::Place;
use crate::transport::{Traffic, Transport};

/// One provider's.
#[derive(Debug, Default)]
pub(super) struct Account {
    calls: AtomicU64,
    retries: AtomicU64,
    in_flight: AtomicUsize,
    pub traffic: Arc<Traffic>,
}

impl Account {
    pub fn count_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }
}

/// A call counts as in flight as long as it holds this.
pub(super) struct InFlight(Arc<Account>, Option<Place>);

impl InFlight {
    /// Keeps a place as long as the call is in flight.
    pub fn hold(&mut self, place: Place) {
        self.1 = Some(place);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All providers that a client has called.
#[derive(Default)]
pub(super) struct Accounts(Mutex<Vec<(&'static str, Arc<Account>)>>);

impl Accounts {
    /// Counts a call that begins.
    pub fn begin(&self, provider: &'static str) -> (Arc<Account>, InFlight) {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let account = match accounts.iter().find(|(name, _)| *name == provider) {
            Some((_, account)) => account.clone(),
            None => {
                accounts.push((provider, Arc::default()));
                accounts[accounts.len() - 1].1.clone()
            }
        };
        drop(accounts);
        account.calls.fetch_add(1, Ordering::Relaxed);
        account.in_flight.fetch_add(1, Ordering::Relaxed);
        (account.clone(), InFlight(account, None))
    }

    pub fn figures(&self, transport: &Transport) -> Vec<(&'static str, Figures)> {
        let accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let figures = |account: Arc<Account>| Figures {
            calls: account.calls.load(Ordering::Relaxed),
            in_flight: account.in_flight.load(Ordering::Relaxed).saturating_sub(account.traffic.waiting()),
            waiting: account.traffic.waiting(),
            retries: account.retries.load(Ordering::Relaxed),
            connections_open: account.traffic.open(),
            connections_idle: transport.idle(&account.traffic),
            bytes_sent: account.traffic.sent(),
            bytes_received: account.traffic.received(),
        };
        accounts.into_iter().map(|(name, account)| (name, figures(account))).collect()
    }
}

/// What a client has done so far at one provider.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Calls that were begun.
    pub calls: u64,
    /// Of these, the ones that go on and do not wait.
    pub in_flight: usize,
    /// The ones that wait for admission.
    pub waiting: usize,
    /// Requests that were repeats.
    pub retries: u64,
    /// Connections that were opened for this provider and are open.
    pub connections_open: usize,
    /// Of these, the ones that carry nothing.
    pub connections_idle: usize,
    /// Bytes that were sent over them, heads included, TLS's own not.
    pub bytes_sent: u64,
    /// Bytes that came over them.
    pub bytes_received: u64,
}
