//! Detours of connections, for tests: to a server on this machine in place of all others, or nowhere.
//!
//! They are looked at when a connection is opened. A call on an open connection pays nothing for them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    /// To their origins, where the process is not offline.
    Direct,
}

/// A detour of all connections of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detour {
    /// To the server with this port on this machine.
    Port(u16),
    /// Connections to other machines are refused with this message.
    Offline(String),
}

/// True if there is a detour.
static IS_ACTIVE: AtomicBool = AtomicBool::new(false);

static DETOURS: Mutex<Detours> = Mutex::new(Detours { last: 0, entered: Vec::new(), servers: Vec::new() });

struct Detours {
    /// Key of the detour that was entered last.
    last: u64,
    entered: Vec<(u64, Detour)>,
    /// Ports of the servers of this process, which are never taken for others.
    servers: Vec<u16>,
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

/// Returns the port on this machine to which a connection goes in place of its origin; `None` if it goes there.
///
/// # Errors
///
/// Returns an error if the process is offline, and the connection would leave this machine.
pub(super) fn of(origin: &Origin, route: Route) -> Result<Option<u16>> {
    match route {
        Route::Port(port) => Ok(Some(port)),
        Route::Common | Route::Direct if !IS_ACTIVE.load(Ordering::Relaxed) => Ok(None),
        _ => find(origin, route),
    }
}

#[cold]
fn find(origin: &Origin, route: Route) -> Result<Option<u16>> {
    let detours = lock();
    let is_loopback = origin.is_loopback();
    if is_loopback && detours.servers.contains(&origin.port) {
        return Ok(None);
    }
    let last = detours.entered.iter().rev();
    let ports = last.filter_map(|(_, detour)| if let Detour::Port(port) = detour { Some(*port) } else { None });
    let port = ports.filter(|_| route == Route::Common && !origin.is_socket()).next();
    let message = detours.entered.iter().rev().find_map(|(_, detour)| match detour {
        Detour::Offline(message) => Some(message),
        Detour::Port(_) => None,
    });
    match message {
        Some(message) if port.is_none() && !is_loopback => {
            let message = message.replace("{}", &origin.to_string());
            let mut error = Error::new(ErrorKind::UnexpectedCall, message).unsent();
            error.should_retry = Some(false);
            Err(error)
        }
        _ => Ok(port),
    }
}
