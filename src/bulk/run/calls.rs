//! From what a row asks for to a call of the job's client.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::check::Check;
use crate::bulk::row::RowCall;
use crate::cache::lookup::{Kept, Lookup};
use crate::client::{Call, Callbacks, Client};
use crate::error::{Error, Result};
use crate::router::decision::CallSpec;
use crate::router::route::{Route, Router};
use crate::types::answer::Answer;
use crate::types::record::CallRecord;
use crate::types::usage::Usage;

/// Number of a job's models that are remembered.
const MAX_MODELS: usize = 1000;

/// Where the calls of a job go.
pub struct Calls {
    /// Where they go.
    pub destination: Destination,
    /// True if rows name their models, not the job.
    pub rows_name_models: bool,
    /// The check of the answers, if they have to follow a schema.
    pub check: Option<Arc<Check>>,
    /// Finds where answers are kept, if they are.
    pub find_lookup: Option<FindLookup>,
}

/// Returns where the answer of a call may be kept, if it may. A router's call has the name of its group, and a route.
pub type FindLookup = Arc<dyn Fn(&Call, Option<&str>, Option<&Route>) -> Option<Box<Lookup>> + Send + Sync>;

/// Where the calls of a job go.
pub enum Destination {
    /// To the model that each names.
    Models(Models),
    /// To the deployments of a router's groups.
    Router {
        /// A call without parameters, with the options of all.
        options: Box<Call>,
        /// Maximum number of attempts after the first, for each group that a call asks.
        max_retries: u32,
        /// The router, which other clients of the process may use too.
        router: Arc<Router>,
        /// Number of bytes of a prompt that count as its prefix.
        prefix: usize,
        /// The functions of each deployment's keys, by index; empty if there are none.
        callbacks: Vec<Option<Box<Callbacks>>>,
    },
}

/// Finds the models of a job.
pub struct Models {
    find: FindModel,
    known: HashMap<Arc<str>, Call>,
}

/// Returns a call of a model, without parameters.
pub type FindModel = Box<dyn FnMut(&str) -> Result<Call> + Send>;

impl Models {
    /// Creates it from the function that looks a model up.
    pub fn new(find: FindModel) -> Self {
        Self { find, known: HashMap::new() }
    }

    fn call(&mut self, model: &Arc<str>) -> Result<&Call> {
        if !self.known.contains_key(model) {
            let found = (self.find)(model)?;
            if self.known.len() >= MAX_MODELS {
                self.known.clear();
            }
            self.known.insert(model.clone(), found);
        }
        Ok(&self.known[model])
    }
}

/// A row's call.
pub(in crate::bulk) struct RowWork {
    pub call: Call,
    /// True if the row named its model, not the job.
    pub names_model: bool,
    /// The call as a router sees it.
    pub routed: Option<Box<Routed>>,
    pub check: Option<Arc<Check>>,
    pub find_lookup: Option<FindLookup>,
}

/// Makes a call, unless its answer is kept.
///
/// # Errors
///
/// The call failed.
pub(in crate::bulk) async fn make(
    client: &Arc<Client>,
    call: &mut Call,
    routed: Option<&Routed>,
    find_lookup: Option<&FindLookup>,
) -> Result<Answer> {
    let route = routed.map(Routed::route);
    if let Some(find_lookup) = find_lookup
        && let Some(lookup) = find_lookup(call, routed.map(|routed| &*routed.group), route.as_deref())
    {
        return Box::pin(look_up(&lookup, client.clone(), call, route)).await;
    }
    match route {
        None => client.call(call).await,
        Some(route) => Box::pin(route.call(client, call)).await,
    }
}

/// Looks the answer of a call up. One that was kept is recorded with nothing used.
async fn look_up(lookup: &Lookup, client: Arc<Client>, call: &Call, route: Option<Box<Route>>) -> Result<Answer> {
    let make = move |mut call: Call| -> BoxFuture<'static, Result<Answer>> {
        Box::pin(async move {
            match route {
                None => client.call(&mut call).await,
                Some(route) => route.call(&client, &call).await,
            }
        })
    };
    let mut answer = match lookup.ready(false) {
        Some(Kept::Answer(answer)) => answer,
        _ => lookup.call(call, make).await?,
    };
    if answer.meta.cached {
        let record = CallRecord { usage: Some(Usage::default()), cost: Some(0.0), ..CallRecord::default() };
        answer.meta.record = Some(Box::new(record));
    }
    Ok(answer)
}

/// What a router needs for each attempt at a row.
#[derive(Clone)]
pub(in crate::bulk) struct Routed {
    router: Arc<Router>,
    group: Arc<str>,
    spec: CallSpec,
    callbacks: Vec<Option<Box<Callbacks>>>,
}

impl Routed {
    /// Returns the deployments that the next attempt may go to.
    pub fn route(&self) -> Box<Route> {
        Box::new(Route {
            router: self.router.clone(),
            spec: self.spec.clone(),
            preference: Vec::new(),
            callbacks: self.callbacks.clone(),
        })
    }
}

impl Calls {
    /// Returns the names of a model's provider and of the model there, or those of the first deployment of a group.
    pub fn model(&mut self, name: &str) -> Option<(String, String)> {
        let deployment = match &mut self.destination {
            Destination::Models(models) => &models.call(&name.into()).ok()?.deployment,
            Destination::Router { router, .. } => router.placeholder(router.group(name)?),
        };
        Some((deployment.provider.row().name.to_owned(), deployment.model.to_string()))
    }

    /// Returns the call that a row asks for.
    ///
    /// # Errors
    ///
    /// The row names no model, or one that there is not.
    pub(in crate::bulk) fn make(&mut self, row: RowCall) -> Result<RowWork> {
        let RowCall { id: _, operation, model, mut params } = row;
        let Some(model) = model else {
            return Err(
                Error::argument("the row names no model: model= would be right, or a member of the row").unsent()
            );
        };
        params.close();
        let (names_model, check, find_lookup) = (self.rows_name_models, self.check.clone(), self.find_lookup.clone());
        let with_params = |call: &Call| {
            let mut call = call.clone();
            (call.request.operation, call.request.params) = (operation, params);
            call
        };
        match &mut self.destination {
            Destination::Models(models) => {
                Ok(RowWork { call: with_params(models.call(&model)?), names_model, routed: None, check, find_lookup })
            }
            Destination::Router { options, max_retries, router, prefix, callbacks } => {
                let Some(group) = router.group(&model) else {
                    let groups = router.groups().collect::<Vec<_>>().join(", ");
                    let message = format!("model is {model:?}: the name of a group would be right: {groups}");
                    return Err(Error::argument(message).unsent());
                };
                let mut call = with_params(options);
                call.deployment = router.placeholder(group).clone();
                call.request.model = call.deployment.model.clone();
                let spec = router.spec(group, &call.request, *max_retries, *prefix);
                let routed = Routed { router: router.clone(), group: model, spec, callbacks: callbacks.clone() };
                Ok(RowWork { call, names_model, routed: Some(Box::new(routed)), check, find_lookup })
            }
        }
    }
}
