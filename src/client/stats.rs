//! Statistics of a client, by provider.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::transport::{ConnectionStats, Transport};

/// Counters of one provider.
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

/// Guard that counts a call as in flight until it is dropped.
pub(super) struct InFlight(Arc<ProviderStats>);

impl InFlight {
    /// Returns the counters of the call's provider.
    pub fn stats(&self) -> Arc<ProviderStats> {
        self.0.clone()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counters of every provider that a client has called.
#[derive(Default)]
pub(super) struct StatsByProvider(Mutex<Vec<(&'static str, Arc<ProviderStats>)>>);

impl StatsByProvider {
    /// Counts a call that starts.
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
        (stats.clone(), InFlight(stats))
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

/// Statistics of one provider at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StatsSnapshot {
    /// Number of calls started.
    pub calls: u64,
    /// Number of calls in flight that do not wait for admission.
    pub in_flight: usize,
    /// Number of calls that wait for admission.
    pub waiting: usize,
    /// Number of attempts that repeated another.
    pub retries: u64,
    /// Number of open connections to this provider.
    pub connections_open: usize,
    /// Number of open connections that are idle.
    pub connections_idle: usize,
    /// Number of bytes sent, heads included, TLS's own not.
    pub bytes_sent: u64,
    /// Number of bytes received.
    pub bytes_received: u64,
}
