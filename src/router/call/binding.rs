//! What a call is bound to, and which deployments that leaves.

use smallvec::{SmallVec, smallvec};

use super::super::decision::{Fail, Refusal, Verdict, Why};
use super::super::plan::DeploymentIndex;
use super::{RoutedCall, Visit, lock};
use crate::error::ErrorKind;

impl RoutedCall {
    /// Finds the account that the call is bound to, and sets out for the first group.
    pub(super) fn bind(&mut self) -> Result<(), Box<Fail>> {
        let group = self.spec.group;
        let shared = self.shared.clone();
        let mut state = lock(&shared);
        if let Some(hedge) = &self.plan.hedge {
            state.hedger(group).count_call(hedge);
        }
        self.visits = smallvec![Visit { group, kind: None, attempts: 0, closed: None }];
        // An account that cannot be asked is as good as an unknown one: the provider has the word then.
        let known = self.spec.sealed.iter().find_map(|id| state.owner(id));
        let deployments = &self.plan.groups[group].deployments;
        self.account = known.filter(|account| {
            deployments.iter().any(|deployment| self.plan.deployments[*deployment].account == *account)
        });
        if self.spec.bindings.is_empty() {
            return Ok(());
        }
        self.account = None;
        let account_of = |deployment: &DeploymentIndex| self.plan.deployments[*deployment].account;
        let invalid = |message: String, verdicts| {
            let kind = ErrorKind::InvalidArgument;
            Err(Box::new(Fail { kind, attempt: None, message: Some(message), retry_after: None, verdicts }))
        };
        let mut unknown = None;
        for id in &self.spec.bindings {
            match (state.owner(id), self.account) {
                (Some(account), Some(other)) if account != other => {
                    let message = format!("the call names state of two accounts, {id:?} that of the second");
                    return invalid(message, SmallVec::new());
                }
                (Some(account), _) => self.account = Some(account),
                (None, _) => unknown = Some(id),
            }
        }
        let first = account_of(&deployments[0]);
        match (self.account, unknown) {
            (None, Some(_)) if deployments.iter().all(|deployment| account_of(deployment) == first) => {
                self.account = Some(first);
                Ok(())
            }
            (None, Some(id)) => {
                let message = format!(
                    "the account that {id:?} belongs to is not known, and the group {:?} has several: call the \
                     deployment that made it",
                    self.plan.groups[group].name
                );
                invalid(message, SmallVec::new())
            }
            (Some(account), _) if deployments.iter().all(|deployment| account_of(deployment) != account) => {
                let verdict = |&deployment| Verdict { deployment, why: Why::Refused(Refusal::OtherAccount) };
                let message = "no deployment of the group can continue what the call names".into();
                invalid(message, deployments.iter().map(verdict).collect())
            }
            _ => Ok(()),
        }
    }

    /// True if deployments are excluded by what the call is.
    pub(super) fn is_filtered(&self) -> bool {
        self.account.is_some() || self.spec.is_embedding || !self.spec.tags.is_empty()
    }

    /// Returns why a deployment is excluded by what the call is.
    pub(super) fn filter(&self, deployment: DeploymentIndex) -> Option<Refusal> {
        let planned = &self.plan.deployments[deployment];
        let first = self.plan.groups[self.spec.group].deployments[0];
        if self.account.is_some_and(|account| account != planned.account) {
            Some(Refusal::OtherAccount)
        } else if self.spec.is_embedding && planned.base_model != self.plan.deployments[first].base_model {
            Some(Refusal::OtherModel)
        } else if !self.spec.tags.is_empty() && !self.spec.tags.iter().any(|tag| planned.tags.contains(tag)) {
            Some(Refusal::Tags)
        } else {
            None
        }
    }
}
