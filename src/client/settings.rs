//! Settings of a client.

use std::sync::Arc;

use crate::catalog::Catalog;
use crate::error::Result;
use crate::limits::{QuotaSpec, Rules};
use crate::store::redis::address::Address;
use crate::transport;
use crate::types::secret::Secret;

/// Settings of a client.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Connections, and limits on what is received.
    pub transport: transport::Settings,
    /// Maximum number of calls in flight.
    pub max_in_flight: Option<usize>,
    /// Limits of providers that the client keeps to.
    pub limits: Option<Arc<LimitSettings>>,
    /// Prices and limits of models, if the usage and the cost of calls are to be recorded.
    pub catalog: Option<Arc<Catalog>>,
}

/// Limits of providers, and who shares them.
#[derive(Debug, Clone, PartialEq)]
pub struct LimitSettings {
    /// The declared limits.
    pub rules: Rules,
    /// Processes that share the limits.
    pub share: Share,
    /// Behaviour while the store that holds the limits cannot be reached.
    pub when_down: WhenDown,
}

/// Processes that share limits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Share {
    /// The clients of this process.
    #[default]
    Process,
    /// All processes of this user on this machine that use the same name.
    Host(String),
    /// All processes that use the same Redis and namespace.
    Redis {
        /// Address, which may contain a password.
        url: Secret,
        /// Prefix of all keys.
        namespace: String,
    },
}

impl Share {
    /// Returns the share of a Redis.
    ///
    /// # Errors
    ///
    /// The address cannot be read.
    pub fn redis(url: &str, namespace: String) -> Result<Self> {
        Address::parse("share", url)?;
        Ok(Self::Redis { url: Secret::new(url), namespace })
    }
}

/// Behaviour of calls while the store of their limits cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WhenDown {
    /// This process uses this part of each limit, from 0 to 1.
    Fraction(f64),
    /// Calls wait until the store is back, or their `queue` timeout passes.
    Wait,
    /// Calls fail.
    Error,
}

impl Default for WhenDown {
    fn default() -> Self {
        Self::Fraction(0.25)
    }
}

/// Limits of one deployment, beside those of its client.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnLimits {
    /// Name of the quota.
    pub name: String,
    /// True if the deployments that name this quota share it, whatever their addresses and keys.
    pub is_group: bool,
    /// The limits.
    pub spec: QuotaSpec,
}
