//! The budget of a quota whose ledger is in a Redis.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::notices::notify;
use super::settings::WhenDown;
use crate::error::Result;
use crate::limits::lease::{self, LeaseState};
use crate::limits::{Budget, QuotaSpec, Time};
use crate::store::redis::address::Address;
use crate::store::redis::client::{Client, Status};
use crate::store::redis::keeper::Keeper;
use crate::store::redis::script::Key;
use crate::transport;
use crate::types::secret::Secret;

/// Head start of a member's clock: a window that begins before the clock does would be cut.
const HEAD_START: Duration = Duration::from_secs(86_400);

/// Wakes those who wait for a quota. Returns false if the quota is gone.
pub(super) type Wake = Box<dyn Fn() -> bool + Send>;

/// A Redis, as a quota's budget needs to know it.
pub(super) struct RedisSettings<'a> {
    pub url: &'a Secret,
    pub namespace: &'a str,
    pub when_down: WhenDown,
    /// Settings of the connection.
    pub transport: &'a transport::Settings,
}

/// The budget of a quota in a Redis.
pub(super) struct RedisBudget {
    client: Client,
    key: Key,
    when_down: WhenDown,
    spec: QuotaSpec,
    keeper: Arc<Keeper>,
    /// Ends the exchanges when dropped.
    tasks: Tasks,
    /// Time of the next exchange when the keeper was last woken.
    next: Option<Time>,
}

/// Tasks that end with their owner.
#[derive(Default)]
struct Tasks(Vec<AbortHandle>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// Returns the client of a Redis: one connection for all quotas of a runtime with the same settings of TLS.
pub(super) fn client(settings: &RedisSettings<'_>) -> Result<Client> {
    type Clients = (u32, HashMap<(tokio::runtime::Id, Secret, [u8; 32]), Client>);
    static CLIENTS: LazyLock<Mutex<Clients>> = LazyLock::new(Mutex::default);
    let address = Address::parse("share", settings.url.expose())?;
    let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
    if clients.0 != std::process::id() {
        // The parent's, with its connections.
        std::mem::forget(std::mem::take(&mut clients.1));
        clients.0 = std::process::id();
    }
    let key = (Handle::current().id(), settings.url.clone(), settings.transport.tls_fingerprint());
    let client = clients.1.entry(key).or_insert_with(|| {
        let place = address.peer.to_string();
        let client = Client::start(address, settings.transport);
        tokio::spawn(log_changes(client.status(), place));
        client
    });
    Ok(client.clone())
}

/// Writes a line to the log when a Redis is gone, and when it is back.
async fn log_changes(mut status: tokio::sync::watch::Receiver<Status>, place: String) {
    let mut was_down = false;
    while status.changed().await.is_ok() {
        let now = status.borrow_and_update().clone();
        match now {
            Status::Down(reason) if !was_down => {
                was_down = true;
                notify(format!("the Redis at {place} that shares limits is gone ({reason}): see when_down"));
            }
            Status::Up if was_down => {
                was_down = false;
                notify(format!("the Redis at {place} that shares limits is back"));
            }
            _ => {}
        }
    }
}

impl RedisBudget {
    /// Returns the budget of the quota whose name has this hash. To be called on a runtime.
    ///
    /// # Errors
    ///
    /// The address cannot be read.
    pub fn open(settings: &RedisSettings<'_>, hash: &[u8; 32]) -> Result<Self> {
        let hexadecimal: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let (client, key) = (client(settings)?, Key::new(settings.namespace, &hexadecimal));
        let spec = QuotaSpec::default();
        let keeper = keeper(&spec, settings.when_down);
        Ok(Self { client, key, when_down: settings.when_down, spec, keeper, tasks: Tasks::default(), next: None })
    }

    /// Sets the limits, and exchanges with the ledger from now on. After each exchange `wake` wakes those who wait; it returns
    /// false if the quota is gone.
    pub fn declare(&mut self, spec: &QuotaSpec, wake: Wake) {
        if self.spec == *spec && !self.tasks.0.is_empty() {
            return;
        }
        self.spec = spec.clone();
        self.keeper = keeper(spec, self.when_down);
        let (keeper, client, key) = (self.keeper.clone(), self.client.clone(), self.key.clone());
        let member = format!("{:016x}", fastrand::u64(..));
        let exchanges = tokio::spawn(async move { keeper.run(&client, &key, &member).await });
        let keeper = self.keeper.clone();
        let wakes = tokio::spawn(async move {
            loop {
                keeper.replied().await;
                if !wake() {
                    return;
                }
            }
        });
        self.tasks = Tasks(vec![exchanges.abort_handle(), wakes.abort_handle()]);
        self.next = None;
    }

    /// Sets the number of calls that wait in this process.
    pub fn set_waiting(&mut self, calls: usize) {
        self.keeper.state().set_waiting(calls);
    }

    /// Calls a function with the budget and the time.
    pub fn with<T>(&mut self, function: impl FnOnce(&mut dyn Budget, Time) -> T) -> T {
        let now = self.keeper.now();
        let mut state = self.keeper.state();
        let output = function(&mut *state, now);
        let next = state.next_exchange();
        drop(state);
        // It sleeps until then otherwise.
        if next.is_some_and(|next| self.next.is_none_or(|before| next < before || before <= now)) {
            self.next = next;
            self.keeper.wake();
        }
        output
    }
}

fn keeper(spec: &QuotaSpec, when_down: WhenDown) -> Arc<Keeper> {
    let when_down = match when_down {
        WhenDown::Fraction(part) => lease::WhenDown::Share(part),
        WhenDown::Wait => lease::WhenDown::Wait,
        WhenDown::Error => lease::WhenDown::Error,
    };
    // A clock that is wrong only makes a worse first guess of the ledger's.
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let begun = Instant::now();
    let begun = begun.checked_sub(HEAD_START).unwrap_or(begun);
    Keeper::new(LeaseState::new(spec, when_down, begun.elapsed(), wall), begun)
}
