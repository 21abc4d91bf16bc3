//! The failure of a call: which error, and why no other deployment.

use std::time::Duration;

use smallvec::SmallVec;

use super::super::decision::{AttemptId, Decision, Fail, Outlook, Time, Verdict, Why};
use super::super::plan::DeploymentIndex;
use super::{RoutedCall, lock};
use crate::error::ErrorKind;
use crate::types::rate_limit::FailureClass;

impl RoutedCall {
    /// Fails the call by one attempt's error, which says it all.
    pub(super) fn fail_by(&self, id: AttemptId) -> Decision {
        let failure = self.made[id].failure;
        Decision::Fail(Box::new(Fail {
            kind: failure.map_or(ErrorKind::Internal, |failure| failure.kind),
            attempt: Some(id),
            message: None,
            retry_after: failure.and_then(|failure| failure.retry_after),
            verdicts: SmallVec::new(),
        }))
    }

    /// Fails the call because no deployment is left, or none within `retry_after`.
    pub(super) fn fail<O: Outlook + ?Sized>(&self, retry_after: Option<Duration>, now: Time, outlook: &O) -> Decision {
        // The error of the group that was asked for tells most, and least the one of a wrong key.
        let failed = self.made.iter().enumerate().filter_map(|(id, made)| Some((id, made, made.failure?)));
        let decisive = failed.max_by_key(|(id, made, failure)| {
            let is_telling = !matches!(failure.class, FailureClass::Auth | FailureClass::QuotaFatal)
                && failure.kind != ErrorKind::UnsupportedParams;
            (made.visit == 0, is_telling, *id)
        });
        let verdicts = self.verdicts(now, outlook);
        let kind = match decisive {
            Some((_, _, failure)) => failure.kind,
            None => kind_of(&verdicts),
        };
        let message = match retry_after {
            Some(pause) => Some(format!("no deployment is available for {:.1} s", pause.as_secs_f64())),
            None if decisive.is_none() => Some("no deployment can take the call".into()),
            None => None,
        };
        let asked = decisive.and_then(|(_, _, failure)| failure.retry_after);
        Decision::Fail(Box::new(Fail {
            kind,
            attempt: decisive.map(|(id, _, _)| id),
            message,
            retry_after: retry_after.or(asked),
            verdicts,
        }))
    }

    /// Returns why each deployment that the call could have gone to is not asked, or not again.
    fn verdicts<O: Outlook + ?Sized>(&self, now: Time, outlook: &O) -> SmallVec<[Verdict; 2]> {
        let state = lock(&self.shared);
        let groups = self.visits.iter().map(|visit| &self.plan.groups[visit.group]);
        let verdict = |&deployment: &DeploymentIndex| {
            let refused = self.refused.iter().find(|verdict| verdict.deployment == deployment);
            let failed = self.made.iter().rev().find(|made| made.deployment == deployment && made.failure.is_some());
            let why = match (refused, self.filter(deployment), state.why(deployment, now), failed) {
                (Some(verdict), ..) => verdict.why.clone(),
                (_, Some(refusal), ..) => Why::Refused(refusal),
                (_, _, Some(why), _) => why,
                (_, _, _, Some(made)) => Why::Failed(made.failure?.kind),
                _ if outlook.ready_at(deployment) > now => Why::Limited(outlook.ready_at(deployment)),
                _ => return None,
            };
            Some(Verdict { deployment, why })
        };
        groups.flat_map(|group| group.deployments.iter().filter_map(verdict)).collect()
    }
}

/// Returns the kind of error for a call that no deployment was asked for.
fn kind_of(verdicts: &[Verdict]) -> ErrorKind {
    let rank = |verdict: &Verdict| match verdict.why {
        Why::Cooling(_) | Why::Limited(_) | Why::Full => (4, ErrorKind::RateLimit),
        Why::Open(_) | Why::Probing | Why::Failed(_) => (3, ErrorKind::ServiceUnavailable),
        Why::Out(FailureClass::QuotaFatal, ..) => (2, ErrorKind::RateLimit),
        Why::Out(_, kind, _) => (1, kind),
        Why::Refused(_) => (0, ErrorKind::InvalidArgument),
    };
    verdicts.iter().map(rank).max_by_key(|(rank, _)| *rank).map_or(ErrorKind::RateLimit, |(_, kind)| kind)
}
