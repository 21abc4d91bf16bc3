//! Detours of connections, for tests: to a server on this machine in place of all others, or nowhere.
//!
//! They are looked at when a connection is opened. A call on an open connection pays nothing for them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Settings;
use super::origin::{Origin, is_loopback};
use crate::error::{Error, ErrorKind, Result};

/// Where a client's connections go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Route {
    /// Where the process's detours lead, if there are any.
    #[default]
    Common,
    /// To the server with this port on this machine.
    Port(u16),
    /// The same, as the server of a detour's own does: detours of the kind [`Detour::Relay`] are passed over.
    Beyond,
}

/// A detour of all connections of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detour {
    /// To the server with this port on this machine, but for connections to servers of this process.
    Mock(u16),
    /// To the server with this port on this machine, which may connect to the origin itself.
    Relay(u16),
    /// Connections to other machines are refused with this message.
    Offline(String),
}

/// True if there is a detour.
static IS_ACTIVE: AtomicBool = AtomicBool::new(false);

static DETOURS: Mutex<Detours> =
    Mutex::new(Detours { last: 0, entered: Vec::new(), servers: Vec::new(), clients: BTreeMap::new() });

/// The ports of a connection on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// Port of the client; 0 if its address is another one than 127.0.0.1.
    pub client: u16,
    /// Port of the server.
    pub server: u16,
}

struct Detours {
    /// Number of detours and connections so far, which gives each its key.
    last: u64,
    entered: Vec<(u64, Detour)>,
    /// Ports of the servers of this process, which are not taken for others.
    servers: Vec<u16>,
    /// Open connections that took a detour, each with its key and the settings of its client.
    clients: BTreeMap<Link, (u64, Arc<Settings>)>,
}

/// A connection that took a detour. As long as it lives, [`settings`] knows those of its client.
#[derive(Debug)]
pub(super) struct Detoured {
    link: Link,
    key: u64,
}

impl Drop for Detoured {
    fn drop(&mut self) {
        let detours = &mut *lock();
        // The ports may belong to the next connection by now.
        if detours.clients.get(&self.link).is_some_and(|(key, _)| *key == self.key) {
            detours.clients.remove(&self.link);
        }
    }
}

fn lock() -> MutexGuard<'static, Detours> {
    DETOURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins a detour. Of several to a port the last one counts. Returns its key.
pub(super) fn enter(detour: Detour) -> u64 {
    let detours = &mut *lock();
    detours.last += 1;
    detours.entered.push((detours.last, detour));
    IS_ACTIVE.store(true, Ordering::Relaxed);
    detours.last
}

/// Gives a detour that refuses connections another message.
pub fn rename_offline(key: u64, message: String) {
    if let Some((_, detour)) = lock().entered.iter_mut().find(|(known, _)| *known == key) {
        *detour = Detour::Offline(message);
    }
}

/// Ends a detour.
pub(super) fn leave(key: u64) {
    let detours = &mut *lock();
    detours.entered.retain(|(known, _)| *known != key);
    IS_ACTIVE.store(!detours.entered.is_empty(), Ordering::Relaxed);
}

/// Lets connections to a port of this machine through, or no longer.
pub fn let_through(port: u16, is_open: bool) {
    let detours = &mut *lock();
    detours.servers.retain(|known| *known != port);
    if is_open {
        detours.servers.push(port);
    }
}

/// Remembers the settings of the client of a connection that takes a detour, for [`settings`].
pub(super) fn remember(link: Link, settings: &Arc<Settings>) -> Detoured {
    let detours = &mut *lock();
    detours.last += 1;
    detours.clients.insert(link, (detours.last, settings.clone()));
    Detoured { link, key: detours.last }
}

/// Returns the settings of the client of a connection; `None` if it is closed, or was opened by another process.
pub fn settings(link: Link) -> Option<Arc<Settings>> {
    lock().clients.get(&link).map(|(_, settings)| settings.clone())
}

/// Whether the environment lets connections leave this machine. Children of a process get it from it, which detours are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offline(Option<Box<str>>);

/// The environment variable that keeps connections on this machine: `1`, or the message of the errors.
const VARIABLE: &str = "RITELLM_OFFLINE";

impl Offline {
    /// Reads the environment.
    pub fn read(variable: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let value = variable(VARIABLE).map(|value| value.to_string_lossy().into_owned());
        Self(value.filter(|value| !value.is_empty()).and_then(|value| match value.to_ascii_lowercase().as_str() {
            "0" | "false" | "no" | "off" => None,
            _ if value.contains("{}") => Some(value.into()),
            _ => Some(format!("{{}} is another machine, and {VARIABLE} lets no connection leave this one").into()),
        }))
    }

    /// Checks that a connection may be made that takes no detour.
    ///
    /// # Errors
    ///
    /// The process is offline, and the host is another machine.
    pub fn check(&self, host: &str, at: &dyn Display) -> Result<()> {
        if self.0.is_none() && !IS_ACTIVE.load(Ordering::Relaxed) || is_loopback(host) {
            return Ok(());
        }
        let detours = lock();
        let message = detours.offline().or(self.0.as_deref());
        message.map_or(Ok(()), |message| Err(refused(message, at)))
    }
}

impl Detours {
    /// Returns the message of the last detour that refuses connections.
    fn offline(&self) -> Option<&str> {
        self.entered.iter().rev().find_map(|(_, detour)| match detour {
            Detour::Offline(message) => Some(message.as_str()),
            _ => None,
        })
    }
}

fn refused(message: &str, at: &dyn Display) -> Box<Error> {
    let mut error = Error::new(ErrorKind::UnexpectedCall, message.replace("{}", &at.to_string())).unsent();
    error.should_retry = Some(false);
    error
}

/// Returns the port on this machine to which a connection goes in place of its origin; `None` if it goes there.
///
/// # Errors
///
/// Returns an error if the process is offline, and the connection would leave this machine.
pub(super) fn of(origin: &Origin, route: Route, offline: &Offline) -> Result<Option<u16>> {
    match route {
        Route::Port(port) => Ok(Some(port)),
        Route::Common | Route::Beyond if !IS_ACTIVE.load(Ordering::Relaxed) && offline.0.is_none() => Ok(None),
        _ => find(origin, route, offline),
    }
}

#[cold]
fn find(origin: &Origin, route: Route, offline: &Offline) -> Result<Option<u16>> {
    let detours = lock();
    let is_own = origin.is_loopback() && detours.servers.contains(&origin.port);
    for (_, detour) in detours.entered.iter().rev() {
        match detour {
            Detour::Mock(_) if is_own => return Ok(None),
            Detour::Relay(_) if route == Route::Beyond => {}
            // The path of a socket has no place in an address.
            Detour::Mock(_) | Detour::Relay(_) if origin.is_socket() => {}
            Detour::Mock(port) | Detour::Relay(port) => return Ok(Some(*port)),
            Detour::Offline(_) => {}
        }
    }
    let message = detours.offline().or(offline.0.as_deref()).filter(|_| !origin.is_loopback());
    message.map_or(Ok(None), |message| Err(refused(message, origin)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offline(value: &str) -> Offline {
        Offline::read(&|name: &str| (name == "RITELLM_OFFLINE").then(|| value.into()))
    }

    #[test]
    fn the_environment_keeps_connections_on_this_machine() {
        let message = |value: &str, host: &str| offline(value).check(host, &host).err().map(|error| error.message);
        assert_eq!(message("t.py calls {}", "redis.example"), Some("t.py calls redis.example".into()));
        assert!(message("1", "10.0.0.1").unwrap().starts_with("10.0.0.1 is another machine, and RITELLM_OFFLINE"));
        for (value, host) in
            [("1", "127.0.0.1"), ("1", "localhost"), ("", "a.example"), ("0", "a.example"), ("off", "a.example")]
        {
            assert_eq!(message(value, host), None, "{value} {host}");
        }
        let error = offline("1").check("a.example", &"a.example:1").unwrap_err();
        assert_eq!((error.kind, error.was_sent, error.should_retry), (ErrorKind::UnexpectedCall, false, Some(false)));
    }

    #[test]
    fn settings_are_known_while_the_connection_is_open() {
        let link = Link { client: 7, server: 8 };
        let (first, second) =
            (Arc::new(Settings::default()), Arc::new(Settings { max_body: 1, ..Settings::default() }));
        let one = remember(link, &first);
        // The ports are given to another connection before the first one is forgotten.
        let other = remember(link, &second);
        drop(one);
        assert_eq!(settings(link).map(|settings| settings.max_body), Some(1));
        assert!(settings(Link { client: 7, server: 9 }).is_none());
        drop(other);
        assert!(settings(link).is_none());
    }
}
