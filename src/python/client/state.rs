//! What a client is made of: its settings, its connections, and what it shares with other clients.

use std::sync::{Arc, OnceLock};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::Client;
use crate::client::Settings;
use crate::python::arguments::defaults::Defaults;
use crate::python::arguments::routing::Routing;
use crate::python::arguments::settings::{self, Read};
use crate::python::call::registry::Core;
use crate::python::hooks::list::HookList;
use crate::python::intern::intern;
use crate::python::runtime::per_process::PerProcess;

/// Keyword under which a new client gets the client whose connections it shares.
pub(super) const SHARED: &str = "_shared";
/// Keyword under which a router gets the client whose settings and connections it uses.
const BASE: &str = "_client";

/// Settings and connections of a client.
pub(super) struct State {
    pub defaults: Defaults,
    pub settings: Settings,
    /// Keyword arguments that the client was made with, for copies.
    pub given: Py<PyDict>,
    /// Shared by the clients that `with_options` makes.
    pub core: Arc<PerProcess<Core>>,
    /// Groups of deployments, for a router.
    pub routing: Option<Routing>,
    /// Functions that get the record of each call. Shared by the clients that `with_options` makes.
    pub hooks: Py<HookList>,
    /// The state that replaced this one. Calls in flight keep the one that they began with.
    pub next: OnceLock<Box<State>>,
}

impl State {
    /// Reads the arguments of a client.
    ///
    /// # Errors
    ///
    /// `InvalidArgumentError` for a setting that cannot be used.
    pub fn read(given: Bound<'_, PyDict>) -> PyResult<Box<Self>> {
        let py = given.py();
        let Shared { core, routing, hooks } = shared(&given)?;
        let Read { defaults, settings, router, hooks: functions } = settings::read(&given)?;
        let routing = routing.or(router.map(Routing::new));
        let hooks = match (hooks, functions) {
            (Some(hooks), _) => hooks,
            (None, functions) => {
                let hooks = HookList::new(py)?;
                if let Some(functions) = functions {
                    hooks.get().configure(py, functions)?;
                }
                hooks
            }
        };
        Ok(Box::new(Self { defaults, settings, given: given.unbind(), core, routing, hooks, next: OnceLock::new() }))
    }
}

/// What a new client shares with another.
struct Shared {
    core: Arc<PerProcess<Core>>,
    /// Routing of a router with other options.
    routing: Option<Routing>,
    hooks: Option<Py<HookList>>,
}

/// Takes the client whose connections a new one shares out of its arguments: under [`SHARED`] for a client with other options,
/// under [`BASE`] for a router, which takes the client's settings, too.
fn shared(given: &Bound<'_, PyDict>) -> PyResult<Shared> {
    let py = given.py();
    if let Some(base) = given.get_item(intern!(py, BASE))? {
        given.del_item(intern!(py, BASE))?;
        let base = base.cast::<Client>()?.get().state();
        // A router with hooks of its own calls these.
        let has_own = given.get_item(intern!(py, "on_call"))?.is_some_and(|own| !own.is_none());
        let hooks = (!has_own).then(|| base.hooks.clone_ref(py));
        for (name, value) in base.given.bind(py).iter() {
            // A key and an address belong to deployments, and the groups of another router are its own.
            let is_kept = !["api_key", "base_url", "api_version", settings::ROUTER].contains(&name.extract::<&str>()?);
            if is_kept && !given.contains(&name)? {
                given.set_item(name, value)?;
            }
        }
        return Ok(Shared { core: base.core.clone(), routing: None, hooks });
    }
    match given.get_item(intern!(py, SHARED))? {
        Some(other) => {
            given.del_item(intern!(py, SHARED))?;
            let other = other.cast::<Client>()?.get().state();
            let hooks = Some(other.hooks.clone_ref(py));
            Ok(Shared { core: other.core.clone(), routing: other.routing.clone(), hooks })
        }
        None => Ok(Shared { core: Arc::new(PerProcess::new()), routing: None, hooks: None }),
    }
}
