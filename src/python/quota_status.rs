//! The state of a client's quotas as dicts.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::errors::exception;
use super::values;
use crate::client::{HostQuotas, host_quotas};
use crate::limits::budget::{BudgetState, Refusal, WindowState};
use crate::limits::{Snapshot, Time};

/// Makes a dict of a quota's state. Times are in seconds from `now`.
pub(super) fn quota<'py>(py: Python<'py>, snapshot: &Snapshot, now: Time) -> PyResult<Bound<'py, PyDict>> {
    let dict = budget(py, &snapshot.budget, now)?;
    values::set(&dict, "waiting", (snapshot.waiting_interactive + snapshot.waiting_bulk) as u64)?;
    values::set(&dict, "waiting_bulk", snapshot.waiting_bulk as u64)?;
    values::set(&dict, "tokens_per_byte", snapshot.tokens_per_byte)?;
    values::set(&dict, "output_tokens", snapshot.output_tokens)?;
    Ok(dict)
}

/// Makes a dict of the state of the quotas that the processes of this machine share under a name. The quotas have the beginning
/// of their hash as a name: their own is not in the shared memory.
///
/// # Errors
///
/// `InvalidArgumentError`: the shared memory cannot be opened.
pub(super) fn host<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyDict>> {
    let HostQuotas { processes, mut quotas } = py.detach(|| host_quotas(name)).map_err(|error| exception(py, error))?;
    quotas.sort_by_key(|(hash, ..)| *hash);
    let states = values::dict(py)?;
    for (hash, state, now) in &quotas {
        let short: String = hash[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        values::set(&states, &short, budget(py, state, *now)?.as_any())?;
    }
    let dict = values::dict(py)?;
    values::set(&dict, "processes", processes as u64)?;
    values::set(&dict, "quotas", states.as_any())?;
    Ok(dict)
}

/// Makes a dict of the part of a quota's state that may be shared.
fn budget<'py>(py: Python<'py>, state: &BudgetState, now: Time) -> PyResult<Bound<'py, PyDict>> {
    let BudgetState { windows, in_flight, max_in_flight, reserved, paused, stopped, burst, learnt } = state;
    let from_now = |time: Time| time.saturating_sub(now).as_secs_f64();
    let dict = values::dict(py)?;
    let list = values::list(py)?;
    for WindowState { unit, period, limit, used, used_by_others } in windows {
        let window = values::dict(py)?;
        values::set(&window, "unit", unit.name())?;
        values::set(&window, "per", period.as_secs_f64())?;
        values::set(&window, "limit", *limit)?;
        values::set(&window, "used", *used)?;
        values::set(&window, "used_by_others", *used_by_others)?;
        list.append(window)?;
    }
    values::set(&dict, "windows", list.as_any())?;
    values::set(&dict, "in_flight", u64::from(*in_flight))?;
    values::set(&dict, "max_in_flight", max_in_flight.map(u64::from))?;
    values::set(&dict, "reserved_tokens", *reserved)?;
    values::set(&dict, "paused_for", paused.map(|(until, _)| from_now(until)))?;
    values::set(&dict, "paused_by", paused.map(|(_, reason)| reason.name()))?;
    let (class, probe) = match stopped {
        Some(Refusal::Stopped { class, probe, .. }) => (Some(class.name()), Some(from_now(*probe))),
        _ => (None, None),
    };
    values::set(&dict, "stopped_by", class)?;
    values::set(&dict, "probe_in", probe)?;
    values::set(&dict, "burst", *burst)?;
    values::set(&dict, "learnt_rate", learnt.map(|learnt| learnt.rate))?;
    values::set(&dict, "learnt_token_rate", learnt.and_then(|learnt| learnt.token_rate))?;
    values::set(
        &dict,
        "learnt_in_flight",
        learnt.map(|learnt| learnt.max_in_flight).filter(|limit| *limit < u32::MAX).map(u64::from),
    )?;
    Ok(dict)
}
