//! What a client has done so far, by provider.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::in_flight_limiter::InFlightPermit;
use crate::transport::{ConnectionStats, Transport};

/// One provider's.
#[derive(Debug, Default)]
pub(super) struct ProviderStats {
    calls: AtomicU64,
    retries: AtomicU64,
    in_flight: AtomicUsize,
    pub connection_stats: Arc<ConnectionStats>,
}

impl ProviderStats {
    pub fn count_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }
}

/// A call counts as in flight as long as it holds this.
pub(super) struct InFlight(Arc<ProviderStats>, Option<InFlightPermit>);

impl InFlight {
    /// Keeps a place as long as the call is in flight.
    pub fn hold(&mut self, permit: InFlightPermit) {
        self.1 = Some(permit);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All providers that a client has called.
#[derive(Default)]
pub(super) struct StatsByProvider(Mutex<Vec<(&'static str, Arc<ProviderStats>)>>);

impl StatsByProvider {
    /// Counts a call that begins.
    pub fn begin(&self, provider: &'static str) -> (Arc<ProviderStats>, InFlight) {
        let mut all_stats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stats = match all_stats.iter().find(|(name, _)| *name == provider) {
            Some((_, stats)) => stats.clone(),
            None => {
                all_stats.push((provider, Arc::default()));
                all_stats[all_stats.len() - 1].1.clone()
            }
        };
        drop(all_stats);
        stats.calls.fetch_add(1, Ordering::Relaxed);
        stats.in_flight.fetch_add(1, Ordering::Relaxed);
        (stats.clone(), InFlight(stats, None))
    }

    pub fn snapshots(&self, transport: &Transport) -> Vec<(&'static str, StatsSnapshot)> {
        let all_stats = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let snapshot = |stats: Arc<ProviderStats>| StatsSnapshot {
            calls: stats.calls.load(Ordering::Relaxed),
            in_flight: stats.in_flight.load(Ordering::Relaxed).saturating_sub(stats.connection_stats.waiting()),
            waiting: stats.connection_stats.waiting(),
            retries: stats.retries.load(Ordering::Relaxed),
            connections_open: stats.connection_stats.open(),
            connections_idle: transport.idle(&stats.connection_stats),
            bytes_sent: stats.connection_stats.sent(),
            bytes_received: stats.connection_stats.received(),
        };
        all_stats.into_iter().map(|(name, stats)| (name, snapshot(stats))).collect()
    }
}

/// What a client has done so far at one provider.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StatsSnapshot {
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
