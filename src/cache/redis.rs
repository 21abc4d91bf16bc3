//! Entries in a Redis. What does not answer in time is a miss: no call waits for the Redis longer than a command may take.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::runtime::{Handle, Id};
use tokio::time::timeout;

use super::entry::Entry;
use super::key::Key;
use super::lock;
use crate::client::notify;
use crate::error::Result;
use crate::store::redis::address::Address;
use crate::store::redis::client::{COMMAND, Client};
use crate::store::redis::resp::Value;
use crate::transport::Settings;
use crate::types::secret::Secret;

/// Number of runtimes whose connections are kept.
const MAX_CLIENTS: usize = 8;

/// Entries in a Redis.
pub struct Redis {
    url: Secret,
    /// Begin of all keys.
    prefix: String,
    /// The connections, and the runtimes that they belong to: a job of rows has one of its own.
    clients: Mutex<VecDeque<(Id, Client)>>,
    /// True while the Redis does not answer, which is said once.
    is_down: Arc<AtomicBool>,
}

impl Redis {
    /// Creates it, without a connection. The salt is the same for all who use the namespace.
    ///
    /// # Errors
    ///
    /// The address cannot be read.
    pub fn new(url: Secret, namespace: &str) -> Result<(Self, [u8; 32])> {
        Address::parse("url", url.expose())?;
        let salt: [u8; 32] = Sha256::new_with_prefix(b"ritellm cache\0").chain_update(namespace).finalize().into();
        let prefix: String = salt[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let redis = Self {
            url,
            prefix: format!("ritellm:cache:1:{prefix}:"),
            clients: Mutex::default(),
            is_down: Arc::default(),
        };
        Ok((redis, salt))
    }

    /// Returns the client of this runtime, which is made at its first use.
    fn client(&self) -> Option<Client> {
        let runtime = Handle::current().id();
        let mut clients = lock(&self.clients);
        if let Some((_, client)) = clients.iter().find(|(known, _)| *known == runtime) {
            return Some(client.clone());
        }
        let fresh = Client::start(Address::parse("url", self.url.expose()).ok()?, &Settings::default());
        if clients.len() >= MAX_CLIENTS {
            // Of a job that has ended, or one that will connect again.
            clients.pop_front();
        }
        clients.push_back((runtime, fresh.clone()));
        Some(fresh)
    }

    fn name(&self, key: &Key) -> Vec<u8> {
        format!("{}{}", self.prefix, key.hex()).into_bytes()
    }

    /// Returns the entry of each key, as far as there is one.
    pub async fn get(&self, keys: &[Key]) -> Vec<Option<Bytes>> {
        let Some(client) = self.client() else { return Vec::new() };
        let mut command = vec![b"MGET".to_vec()];
        command.extend(keys.iter().map(|key| self.name(key)));
        // While the connection is being made, commands wait for it.
        let reply = timeout(COMMAND, client.command(&command)).await;
        let reply = reply.unwrap_or_else(|_| Err(crate::error::Error::timeout("it does not answer in time")));
        note(&self.is_down, reply.as_ref().err().map(|error| error.message.as_str()));
        match reply {
            Ok(Value::Array(values)) => values
                .into_iter()
                .map(|value| match value {
                    // Its buffer may hold more than the value.
                    Value::Bytes(bytes) => Some(Bytes::copy_from_slice(&bytes)),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Keeps an entry. Nobody waits for that.
    pub fn put(&self, key: &Key, entry: &Entry, now: u64) {
        let Some(client) = self.client() else { return };
        let mut command = vec![b"SET".to_vec(), self.name(key), entry.encode(key)];
        if let Some(rest) = entry.rest(now) {
            command.extend([b"PX".to_vec(), rest.max(1).to_string().into_bytes()]);
        }
        let is_down = self.is_down.clone();
        tokio::spawn(async move {
            let reply = client.command(&command).await;
            note(&is_down, reply.as_ref().err().map(|error| error.message.as_str()));
        });
    }
}

/// Says once that the Redis is gone, and once that it is back.
fn note(is_down: &AtomicBool, failure: Option<&str>) {
    let was_down = is_down.swap(failure.is_some(), Ordering::Relaxed);
    match failure {
        Some(why) if !was_down => notify(format!("the Redis that keeps answers is gone ({why}): calls are made")),
        None if was_down => notify("the Redis that keeps answers is back".to_owned()),
        _ => {}
    }
}
