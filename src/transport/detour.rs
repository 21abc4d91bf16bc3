//! Detours of connections, for tests: to a server on this machine in place of all others, or nowhere.
//!
//! They are looked at when a connection is opened. A call on an open connection pays nothing for them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Settings;
use super::origin::Origin;
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
    Mutex::new(Detours { last: 0, entered: Vec::new(), servers: Vec::new(), clients: Vec::new() });

struct Detours {
    /// Key of the detour that was entered last.
    last: u64,
    entered: Vec<(u64, Detour)>,
    /// Ports of the servers of this process, which are not taken for others.
    servers: Vec<u16>,
    /// Ports of the last connections that took a detour, with the settings of their clients.
    clients: Vec<(u16, Arc<Settings>)>,
}

/// Number of connections whose settings are known: more than a test has at once.
const MAX_CLIENTS: usize = 4096;

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
pub(super) fn remember(port: u16, settings: &Arc<Settings>) {
    let detours = &mut *lock();
    detours.clients.retain(|(known, _)| *known != port);
    if detours.clients.len() >= MAX_CLIENTS {
        detours.clients.remove(0);
    }
    detours.clients.push((port, settings.clone()));
}

/// Returns the settings of the client with this port; `None` if it is none of this process.
pub fn settings(port: u16) -> Option<Arc<Settings>> {
    lock().clients.iter().find(|(known, _)| *known == port).map(|(_, settings)| settings.clone())
}

/// Returns the port on this machine to which a connection goes in place of its origin; `None` if it goes there.
///
/// # Errors
///
/// Returns an error if the process is offline, and the connection would leave this machine.
pub(super) fn of(origin: &Origin, route: Route) -> Result<Option<u16>> {
    match route {
        Route::Port(port) => Ok(Some(port)),
        Route::Common | Route::Beyond if !IS_ACTIVE.load(Ordering::Relaxed) => Ok(None),
        _ => find(origin, route),
    }
}

#[cold]
fn find(origin: &Origin, route: Route) -> Result<Option<u16>> {
    let detours = lock();
    let is_own = origin.is_loopback() && detours.servers.contains(&origin.port);
    let mut is_offline = None;
    for (_, detour) in detours.entered.iter().rev() {
        match detour {
            Detour::Mock(_) if is_own => return Ok(None),
            Detour::Relay(_) if route == Route::Beyond => {}
            // The path of a socket has no place in an address.
            Detour::Mock(_) | Detour::Relay(_) if origin.is_socket() => {}
            Detour::Mock(port) | Detour::Relay(port) => return Ok(Some(*port)),
            Detour::Offline(message) => is_offline = is_offline.or(Some(message)),
        }
    }
    let Some(message) = is_offline.filter(|_| !origin.is_loopback()) else { return Ok(None) };
    let mut error = Error::new(ErrorKind::UnexpectedCall, message.replace("{}", &origin.to_string())).unsent();
    error.should_retry = Some(false);
    Err(error)
}
