//! Limit of a client's calls in flight: further calls wait in a first-in first-out queue.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};
use crate::transport::{Admission, ConnectionStats};

/// A semaphore over the calls of a client.
pub(super) struct InFlightLimiter {
    limit: usize,
    free: Arc<Semaphore>,
}

/// The permit of a call in flight, released when dropped.
pub(super) type InFlightPermit = OwnedSemaphorePermit;

impl InFlightLimiter {
    pub fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self { limit, free: Arc::new(Semaphore::new(limit)) }
    }

    /// True if the next call has to wait.
    pub fn is_full(&self) -> bool {
        self.free.available_permits() == 0
    }

    /// Acquires a permit that is free.
    pub fn try_take(&self) -> Option<InFlightPermit> {
        self.free.clone().try_acquire_owned().ok()
    }

    /// Acquires a permit.
    ///
    /// # Errors
    ///
    /// There was none within `limit`, the queue timeout.
    pub async fn take(
        &self,
        limit: Option<Duration>,
        admission: &Admission,
        connection_stats: &ConnectionStats,
    ) -> Result<InFlightPermit> {
        if let Some(permit) = self.try_take() {
            return Ok(permit);
        }
        match admission.wait(limit, connection_stats, self.free.clone().acquire_owned()).await {
            Some(Ok(permit)) => Ok(permit),
            // It is never closed.
            Some(Err(closed)) => Err(Error::timeout(closed.to_string())),
            None => Err(Error::not_admitted(format!(
                "the call was not admitted within the queue timeout of {} s: all {} calls that max_in_flight allows were \
                 under way and {} other calls waited",
                limit.unwrap_or_default().as_secs_f64(),
                self.limit,
                connection_stats.waiting(),
            ))),
        }
    }
}
