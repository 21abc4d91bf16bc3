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
    /// Connections to other machines are refused.
    Offline(Refusal),
}

/// How connections to other machines are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The error's message, in which `{}` stands for the other machine.
    pub message: String,
    /// Machines that are not refused: `host`, `host:port` or `*.domain`.
    pub allowed: Vec<String>,
}

impl Refusal {
    fn allows(&self, host: &str, port: u16) -> bool {
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        let is_same = |allowed: &String| {
            let allowed = allowed.trim().to_ascii_lowercase();
            if allowed.trim_matches(['[', ']']) == host {
                return true;
            }
            let (name, only) = match allowed.rsplit_once(':').map(|(name, port)| (name, port.parse::<u16>())) {
                Some((name, Ok(port))) => (name, Some(port)),
                _ => (&*allowed, None),
            };
            only.is_none_or(|only| only == port)
                && match name.strip_prefix("*.") {
                    Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
                    None => name.trim_matches(['[', ']']) == host,
                }
        };
        is_loopback(&host) || self.allowed.iter().any(is_same)
    }

    fn error(&self, at: &dyn Display) -> Box<Error> {
        let mut error = Error::new(ErrorKind::UnexpectedCall, self.message.replace("{}", &at.to_string())).unsent();
        error.should_retry = Some(false);
        error
    }
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
    if let Some((_, Detour::Offline(refusal))) = lock().entered.iter_mut().find(|(known, _)| *known == key) {
        refusal.message = message;
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
pub(super) struct Offline(Option<Box<Refusal>>);

/// The environment variable that keeps connections on this machine: `1`, or the message of the errors.
const VARIABLE: &str = "RITELLM_OFFLINE";
/// The environment variable with the machines that may be reached all the same, separated by commas.
const ALLOWED: &str = "RITELLM_OFFLINE_ALLOW";

impl Offline {
    /// Reads the environment.
    pub fn read(variable: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let text = |name: &str| variable(name).map(|value| value.to_string_lossy().into_owned()).unwrap_or_default();
        let value = text(VARIABLE);
        let message = match value.to_ascii_lowercase().as_str() {
            "" | "0" | "false" | "no" | "off" => return Self(None),
            _ if value.contains("{}") => value,
            _ => format!(
                "{{}} is another machine, and {VARIABLE} lets no connection leave this one ({ALLOWED}=host,*.domain does)"
            ),
        };
        let allowed = text(ALLOWED).split(',').map(str::to_owned).collect();
        Self(Some(Box::new(Refusal { message, allowed })))
    }

    /// Checks that a connection may be made that takes no detour.
    ///
    /// # Errors
    ///
    /// The process is offline, and the host is another machine.
    pub fn check(&self, host: &str, port: u16, at: &dyn Display) -> Result<()> {
        if self.0.is_none() && !IS_ACTIVE.load(Ordering::Relaxed) {
            return Ok(());
        }
        let detours = lock();
        match detours.offline().or(self.0.as_deref()) {
            Some(refusal) if !refusal.allows(host, port) => Err(refusal.error(at)),
            _ => Ok(()),
        }
    }
}

impl Detours {
    /// Returns the last detour that refuses connections.
    fn offline(&self) -> Option<&Refusal> {
        self.entered.iter().rev().find_map(|(_, detour)| match detour {
            Detour::Offline(refusal) => Some(refusal),
            _ => None,
        })
    }
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
    match detours.offline().or(offline.0.as_deref()) {
        Some(refusal) if !origin.is_socket() && !refusal.allows(&origin.host, origin.port) => {
            Err(refusal.error(origin))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(value: &str, allowed: &str, host: &str, port: u16) -> Option<String> {
        let variable = |name: &str| Some(if name == VARIABLE { value.into() } else { allowed.into() });
        Offline::read(&variable).check(host, port, &host).err().map(|error| {
            assert_eq!(
                (error.kind, error.was_sent, error.should_retry),
                (ErrorKind::UnexpectedCall, false, Some(false))
            );
            error.message
        })
    }

    #[test]
    fn the_environment_keeps_connections_on_this_machine() {
        assert_eq!(refused("t.py calls {}", "", "redis.example", 1), Some("t.py calls redis.example".into()));
        let message = refused("1", "", "10.0.0.1", 1).unwrap();
        assert!(message.starts_with("10.0.0.1 is another machine, and RITELLM_OFFLINE"), "{message}");
        for (value, host) in [
            ("1", "127.0.0.1"),
            ("1", "localhost"),
            ("1", "[::1]"),
            ("", "a.example"),
            ("0", "a.example"),
            ("off", "a.example"),
        ] {
            assert_eq!(refused(value, "", host, 1), None, "{value} {host}");
        }
    }

    #[test]
    fn some_machines_may_be_reached() {
        for (allowed, host, port, is_allowed) in [
            ("redis", "redis", 6379, true),
            ("a, Redis:6379", "REDIS", 6379, true),
            ("redis:6379", "redis", 6380, false),
            ("redis", "redis.example", 1, false),
            ("*.internal", "cache.prod.internal", 1, true),
            ("*.internal:80", "cache.internal", 81, false),
            ("*.internal", "internal", 1, false),
            ("*.internal", "notinternal", 1, false),
            ("[fd00::1]", "fd00::1", 1, true),
            ("fd00::1", "[fd00::1]", 1, true),
            ("[fd00::1]:80", "[fd00::1]", 80, true),
            ("[fd00::1]:80", "[fd00::1]", 81, false),
            ("", "a", 1, false),
        ] {
            assert_eq!(refused("1", allowed, host, port).is_none(), is_allowed, "{allowed} {host} {port}");
        }
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
