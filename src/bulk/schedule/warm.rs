//! Rows with a common prefix: the first fills the provider's cache, then the others go.

use std::collections::HashMap;
use std::time::Duration;

use super::{RowId, Time};

/// Time for which a prefix is taken to be cached after a call: providers keep it for five minutes.
const CACHED: Duration = Duration::from_secs(240);
/// Number of prefixes above which those that are not cached any more are forgotten.
const MAX_KNOWN: usize = 10_000;

/// The prefixes of the rows.
#[derive(Debug, Default)]
pub(super) struct Warm {
    prefixes: HashMap<u64, Prefix>,
}

#[derive(Debug, Default)]
struct Prefix {
    /// The row that fills the cache, while it is in flight.
    first: Option<RowId>,
    /// Rows that wait for it.
    others: Vec<RowId>,
    /// Time until which the prefix is cached.
    until: Time,
}

impl Warm {
    /// Returns true if a row may start; otherwise it waits for the first of its prefix.
    pub fn may_start(&mut self, now: Time, prefix: u64, row: RowId) -> bool {
        if self.prefixes.len() >= MAX_KNOWN {
            self.prefixes.retain(|_, prefix| prefix.first.is_some() || prefix.until > now);
        }
        let prefix = self.prefixes.entry(prefix).or_default();
        if prefix.until > now {
            return true;
        }
        match prefix.first {
            None => {
                prefix.first = Some(row);
                true
            }
            Some(first) if first == row => true,
            Some(_) => {
                prefix.others.push(row);
                false
            }
        }
    }

    /// Notes that a row's call has ended. Returns the rows that waited for it.
    pub fn ended(&mut self, now: Time, prefix: u64, row: RowId) -> Vec<RowId> {
        let Some(prefix) = self.prefixes.get_mut(&prefix) else { return Vec::new() };
        prefix.until = now + CACHED;
        if prefix.first != Some(row) {
            return Vec::new();
        }
        prefix.first = None;
        std::mem::take(&mut prefix.others)
    }
}
