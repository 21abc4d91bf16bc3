//! Calls of a router: from a group's name to the deployments that a call may go to.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};

use super::functions::CallbackArgs;
use super::options::CallOptions;
use super::router::RouterArgs;
use super::withheld::refuse_without;
use crate::client::Callbacks;
use crate::providers::Deployment;
use crate::python::errors::{argument, wrong};
use crate::python::runtime::per_process::PerProcess;
use crate::python::values;
use crate::router::plan::{DeploymentIndex, GroupIndex};
use crate::router::route::{Route, Router};
use crate::types::request::Request;

/// A router as its client has it: its arguments, and its state in this process.
#[derive(Clone)]
pub(crate) struct Routing {
    pub args: Arc<RouterArgs>,
    pub state: Arc<PerProcess<Router>>,
}

impl Routing {
    /// Makes the routing of a router that has made no call.
    pub fn new(args: RouterArgs) -> Self {
        Self { args: Arc::new(args), state: Arc::new(PerProcess::new()) }
    }

    /// Returns the state of the router in this process, which is made at its first use.
    pub fn router(&self) -> Option<Arc<Router>> {
        self.state.get(|| Router::new(self.args.plan.clone(), self.args.targets.clone()))
    }

    /// Returns the group that a call names as its model.
    ///
    /// # Errors
    ///
    /// `InvalidArgumentError` that lists the groups, or names an argument that belongs to a deployment.
    pub(super) fn group(&self, py: Python<'_>, options: &CallOptions, model: &str) -> PyResult<GroupIndex> {
        let arguments = [
            ("base_url", options.has_base_url),
            ("api_key", options.has_api_key),
            ("api_version", options.has_api_version),
        ];
        if let Some((name, _)) = arguments.iter().find(|(_, is_given)| *is_given) {
            return Err(argument(py, format!("{name} belongs to a deployment: a router's calls do not take it")));
        }
        if !self.args.withheld.is_empty() {
            refuse_without(py, &self.args.withheld, false)?;
        }
        self.args.plan.group(model).ok_or_else(|| {
            let names: Vec<&str> = self.args.plan.groups.iter().map(|group| &*group.name).collect();
            argument(py, format!("model is {model:?}: the name of a group would be right: {}", names.join(", ")))
        })
    }

    /// Returns the place in a group of the deployment to which batches go: the first whose provider has batches.
    ///
    /// # Errors
    ///
    /// `InvalidArgumentError` without a group, or if none of its deployments has batches.
    pub(crate) fn batch_deployment(&self, py: Python<'_>, group: Option<&str>) -> PyResult<usize> {
        if !self.args.withheld.is_empty() {
            refuse_without(py, &self.args.withheld, false)?;
        }
        let plan = &self.args.plan;
        let Some(index) = group.and_then(|group| plan.group(group)) else {
            let names: Vec<&str> = plan.groups.iter().map(|group| &*group.name).collect();
            let names = names.join(", ");
            let given = group.map_or("None".to_owned(), |group| format!("{group:?}"));
            let right = "with mode=\"batch\" and a Router the name of a group would be right";
            return Err(argument(py, format!("model is {given}: {right}: {names}")));
        };
        let deployments = &plan.groups[index].deployments;
        let provider = |deployment: &DeploymentIndex| self.args.targets[*deployment].deployment.provider;
        deployments.iter().position(|deployment| provider(deployment).batch_rows().is_some()).ok_or_else(|| {
            let names: Vec<&str> = deployments.iter().map(|deployment| provider(deployment).row().name).collect();
            let (group, names) = (&plan.groups[index].name, names.join(", "));
            argument(py, format!("no deployment of {group:?} ({names}) has batches: mode=\"calls\" would be right"))
        })
    }

    /// Returns the deployment that a call is written for before one is chosen.
    pub(super) fn placeholder(&self, group: GroupIndex) -> Deployment {
        self.args.targets[self.args.plan.placeholder(group)].deployment.clone()
    }

    /// Returns the deployments that a call may go to. `callbacks` makes the functions of a call from those of a deployment.
    ///
    /// # Errors
    ///
    /// The exception of the function that chooses a deployment, or `InvalidArgumentError` for what it returned.
    pub(super) fn route(
        &self,
        py: Python<'_>,
        group: GroupIndex,
        request: &Request,
        max_retries: u32,
        callbacks: impl Fn(&CallbackArgs) -> PyResult<Option<Box<Callbacks>>>,
    ) -> PyResult<Box<Route>> {
        let args = &self.args;
        let Some(router) = self.router() else { return Err(argument(py, "this router is closed")) };
        Ok(Box::new(Route {
            spec: router.spec(group, request, max_retries, args.prefix),
            router,
            preference: self.preference(py, group)?,
            callbacks: args.functions.iter().map(callbacks).collect::<PyResult<_>>()?,
        }))
    }

    /// Returns the deployments of a group in the order that the user's function prefers; empty if there is none.
    fn preference(&self, py: Python<'_>, group: GroupIndex) -> PyResult<Vec<DeploymentIndex>> {
        const RIGHT: &str = "the name of a deployment, or a list of names,";
        let Some(choose) = &self.args.choose else { return Ok(Vec::new()) };
        let plan = &self.args.plan;
        let deployments = &plan.groups[group].deployments;
        let names = values::list(py)?;
        for index in deployments {
            names.append(values::string(py, &plan.deployments[*index].name)?)?;
        }
        let chosen = choose.bind(py).call1((values::string(py, &plan.groups[group].name)?, names))?;
        let find = |name: &Bound<'_, PyAny>| -> PyResult<DeploymentIndex> {
            let text = name.cast::<PyString>().map_err(|_| wrong("what strategy returned", name, RIGHT))?;
            let text = text.to_str()?;
            let found = deployments.iter().find(|index| plan.deployments[**index].name == text);
            found.copied().ok_or_else(|| {
                let group = &plan.groups[group].name;
                argument(py, format!("strategy returned {text:?}, which is no deployment of the group {group:?}"))
            })
        };
        match (chosen.cast::<PyList>(), chosen.cast::<PyTuple>()) {
            (Ok(list), _) => list.iter().map(|name| find(&name)).collect(),
            (_, Ok(tuple)) => tuple.iter().map(|name| find(&name)).collect(),
            _ => Ok(vec![find(&chosen)?]),
        }
    }
}
