//! What the server has seen, for `GET /stats`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters since the start. `/stats` requests themselves are counted only as connections.
pub struct Stats {
    connections: AtomicU64,
    requests: AtomicU64,
    in_flight: AtomicU64,
    aborted: AtomicU64,
}

/// The one set of counters.
pub static STATS: Stats = Stats {
    connections: AtomicU64::new(0),
    requests: AtomicU64::new(0),
    in_flight: AtomicU64::new(0),
    aborted: AtomicU64::new(0),
};

impl Stats {
    /// Counts a connection just accepted.
    pub fn count_connection(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    /// The counters as JSON.
    pub fn to_json(&self) -> String {
        format!(
            r#"{{"connections":{},"requests":{},"in_flight":{},"aborted":{}}}"#,
            self.connections.load(Relaxed),
            self.requests.load(Relaxed),
            self.in_flight.load(Relaxed),
            self.aborted.load(Relaxed),
        )
    }
}

/// A request being answered; dropped before [`InFlight::finish`], it counts as aborted.
pub struct InFlight {
    /// Which request this is, counted from 1; replies are stamped with it.
    pub number: u64,
    finished: bool,
}

impl InFlight {
    /// Counts a request that has arrived in full.
    pub fn start() -> Self {
        STATS.in_flight.fetch_add(1, Relaxed);
        Self { number: STATS.requests.fetch_add(1, Relaxed) + 1, finished: false }
    }

    /// The reply was written to its last byte.
    pub fn finish(mut self) {
        self.finished = true;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        STATS.in_flight.fetch_sub(1, Relaxed);
        if !self.finished {
            STATS.aborted.fetch_add(1, Relaxed);
        }
    }
}
