//! The state of a router's deployments as dicts.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::quota_status;
use super::values;
use crate::limits::{Snapshot, Time};
use crate::router::route::Router;
use crate::router::state::Status;

/// Makes a dict of the state of each deployment, by its name. `quotas` are those of its client.
pub(super) fn router<'py>(
    py: Python<'py>,
    router: &Router,
    quotas: &[(String, Snapshot, Time)],
) -> PyResult<Bound<'py, PyDict>> {
    let (statuses, whys) = router.with(|state, now| {
        let whys: Vec<_> =
            (0..state.plan().deployments.len()).map(|index| state.why(index, now).map(|why| why.text(now))).collect();
        (state.status(now), whys)
    });
    let all = values::dict(py)?;
    for (index, (status, why)) in statuses.iter().zip(&whys).enumerate() {
        let Status { name, group, in_flight, counts, breaker, ready_in, cooling_for, last_failure, mean, quantiles } =
            status;
        let seconds = |time: &Option<std::time::Duration>| time.map(|time| time.as_secs_f64());
        let dict = values::dict(py)?;
        let target = router.target(index);
        values::set(&dict, "group", group.as_str())?;
        values::set(
            &dict,
            "model",
            format!("{}/{}", target.deployment.provider.row().name, target.deployment.model).as_str(),
        )?;
        values::set(&dict, "in_flight", u64::from(*in_flight))?;
        values::set(&dict, "calls", counts.attempts)?;
        values::set(&dict, "successes", counts.successes)?;
        values::set(&dict, "failures", counts.failures)?;
        values::set(&dict, "rate_limited", counts.rate_limited)?;
        values::set(&dict, "cancelled", counts.cancelled)?;
        values::set(&dict, "breaker", *breaker)?;
        values::set(&dict, "why", why.as_deref())?;
        values::set(&dict, "ready_in", seconds(ready_in))?;
        values::set(&dict, "cooling_for", seconds(cooling_for))?;
        values::set(&dict, "last_failure", last_failure.map(|kind| kind.class_name()))?;
        for (kind, key) in ["latency", "first_chunk_latency"].iter().enumerate() {
            let latency = values::dict(py)?;
            values::set(&latency, "mean", mean[kind])?;
            for (name, quantile) in ["p50", "p95", "p99"].iter().zip(&quantiles[kind]) {
                values::set(&latency, name, seconds(quantile))?;
            }
            values::set(&dict, key, latency.as_any())?;
        }
        let own = target.limits.as_ref().and_then(|own| quotas.iter().find(|(quota, ..)| *quota == own.name));
        let limits = own.map(|(_, snapshot, now)| quota_status::quota(py, snapshot, *now)).transpose()?;
        values::set(&dict, "limits", limits.as_ref().map(|limits| limits.as_any()))?;
        values::set(&all, name, dict.as_any())?;
    }
    Ok(all)
}
