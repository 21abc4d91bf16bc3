//! The class `Budget`: what a client's calls may cost.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyString, PyTuple};

use super::readers::{number, seconds, str_of, text};
use crate::client::{MAX_AMOUNT, Per, Share, SpendingLimit};
use crate::python::errors::{argument, exception, wrong};
use crate::python::values;

/// Periods that have a name.
const PERIODS: &[(&str, Per)] = &[
    ("minute", Per::Seconds(60)),
    ("hour", Per::Seconds(3600)),
    ("day", Per::Seconds(86_400)),
    ("week", Per::Week),
    ("month", Per::Month),
];

/// What calls may cost. A call that would exceed it raises `BudgetExceededError` and is not sent.
///
/// >>> from ritellm import Budget, Client
/// >>> prices = {"openai/gpt-4o*": {"input": 2.5, "cached": 1.25, "output": 10}}
/// >>> client = Client(catalog=prices, budget=Budget(10.0, per="day", key="team-a"))
///
/// Before a call, an estimate of its cost is set aside: its prompt by its length, its answer by ``max_tokens``, or 500 tokens.
/// What it did cost takes the place of that, so that calls in flight exceed a budget by the error of their estimates at most. The
/// prices are those of the client's ``catalog``; without one, those of the package genai-prices. See docs/cost.md.
///
/// Args:
///     amount: US dollars, above 0, up to a million.
///     per: ``"minute"``, ``"hour"``, ``"day"``, ``"week"`` (from Monday), ``"month"``, all by the calendar of UTC, or a number of
///         seconds; ``None`` (the default) for as long as the counter lives.
///     key: name of the budget: all clients with the same key and period share it.
///     unknown: what to do with a model whose price is not known: ``"error"``, or ``"allow"``, which counts nothing.
///     share: ``None`` for this process only, ``"host:name"`` for all processes of this user on this machine that use the same
///         name (until it is restarted), or the address of a Redis for processes on any machine.
///     namespace: prefix of the keys in the Redis.
///     when_down: what to do while the Redis cannot be reached: ``"error"``, or ``"allow"``, which counts nothing.
///
/// Raises:
///     InvalidArgumentError: a value that cannot be used.
#[pyclass(frozen, module = "ritellm", eq)]
#[derive(PartialEq)]
pub(crate) struct Budget {
    limit: Arc<SpendingLimit>,
}

fn choice(name: &str, value: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
    const RIGHT: &str = "\"error\" or \"allow\"";
    let Some(value) = value else { return Ok(false) };
    match str_of(name, value, RIGHT)? {
        "error" => Ok(false),
        "allow" => Ok(true),
        other => Err(argument(value.py(), format!("{name} is {other:?}: {RIGHT} would be right"))),
    }
}

#[pymethods]
impl Budget {
    #[new]
    #[pyo3(signature = (amount, per=None, key=None, *, unknown=None, share=None, namespace=None, when_down=None), text_signature = "(amount, per=None, key=\"default\", *, unknown=\"error\", share=None, namespace=\"default\", when_down=\"error\")")]
    #[expect(clippy::too_many_arguments, reason = "keywords")]
    fn new(
        py: Python<'_>,
        amount: &Bound<'_, PyAny>,
        per: Option<&Bound<'_, PyAny>>,
        key: Option<&Bound<'_, PyAny>>,
        unknown: Option<&Bound<'_, PyAny>>,
        share: Option<&Bound<'_, PyAny>>,
        namespace: Option<&Bound<'_, PyAny>>,
        when_down: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        const AMOUNT: &str = "a number of US dollars above 0, up to a million,";
        let dollars = number("amount", amount, AMOUNT)?;
        if !(dollars > 0.0 && dollars <= MAX_AMOUNT) {
            return Err(argument(py, format!("amount is {dollars}: {AMOUNT} would be right")));
        }
        let (per, shown) = period(per)?;
        let namespace = namespace.map_or(Ok("default".to_owned()), |value| text("namespace", value, "a name"))?;
        let share = match share {
            None => Share::Process,
            Some(value) => {
                const RIGHT: &str = "\"host:name\" or the address of a Redis, redis://host:6379/0,";
                let place = text("share", value, RIGHT)?;
                match place.strip_prefix("host:") {
                    Some("") => return Err(argument(py, format!("share is {place:?}: {RIGHT} would be right"))),
                    Some(name) => Share::Host(name.to_owned()),
                    None => Share::redis(&place, namespace).map_err(|error| exception(py, error))?,
                }
            }
        };
        let limit = SpendingLimit {
            amount: dollars,
            per,
            shown,
            key: key.map_or(Ok("default".to_owned()), |value| text("key", value, "a name"))?,
            allows_unknown: choice("unknown", unknown)?,
            share,
            allows_down: choice("when_down", when_down)?,
        };
        limit.check().map_err(|error| exception(py, error))?;
        Ok(Self { limit: Arc::new(limit) })
    }

    /// Returns what was spent or set aside in this period, in US dollars; ``None`` if the budget is in a Redis.
    fn spent(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        self.limit.spent().map_err(|error| exception(py, error))
    }

    fn __repr__(&self) -> String {
        let SpendingLimit { amount, shown, key, .. } = &*self.limit;
        format!("Budget({amount}{shown}, key={key:?})")
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let limit = &*self.limit;
        let dict: Bound<'py, PyDict> = values::dict(py)?;
        values::set(&dict, "key", limit.key.as_str())?;
        match PERIODS.iter().find(|(_, per)| *per == limit.per) {
            Some((name, _)) => values::set(&dict, "per", *name)?,
            None => {
                if let Per::Seconds(seconds) = limit.per {
                    values::set(&dict, "per", seconds)?;
                }
            }
        }
        values::set(&dict, "unknown", if limit.allows_unknown { "allow" } else { "error" })?;
        values::set(&dict, "when_down", if limit.allows_down { "allow" } else { "error" })?;
        match &limit.share {
            Share::Process => {}
            Share::Host(name) => values::set(&dict, "share", format!("host:{name}").as_str())?,
            Share::Redis { url, namespace } => {
                values::set(&dict, "share", url.expose())?;
                values::set(&dict, "namespace", namespace.as_str())?;
            }
        }
        let amount = values::tuple(py, [values::float(py, limit.amount)?])?;
        values::tuple(py, [amount.into_any(), dict.into_any()])
    }
}

impl Budget {
    /// True if its address holds a password.
    pub fn has_password(&self) -> bool {
        matches!(&self.limit.share, Share::Redis { url, .. } if url.expose().contains('@'))
    }
}

/// Reads `per`. Returns the period, and how it is shown.
fn period(value: Option<&Bound<'_, PyAny>>) -> PyResult<(Per, String)> {
    const RIGHT: &str = "\"minute\", \"hour\", \"day\", \"week\", \"month\", a number of seconds, or None for ever,";
    let Some(value) = value else { return Ok((Per::Ever, String::new())) };
    if value.is_instance_of::<PyString>() {
        let name = str_of("per", value, RIGHT)?;
        let Some((_, per)) = PERIODS.iter().find(|(known, _)| *known == name) else {
            return Err(argument(value.py(), format!("per is {name:?}: {RIGHT} would be right")));
        };
        return Ok((*per, format!(" per {name}")));
    }
    if value.is_instance_of::<PyBool>() {
        return Err(wrong("per", value, RIGHT));
    }
    let seconds = seconds("per", value)?.as_secs();
    if seconds == 0 {
        return Err(argument(
            value.py(),
            "per is below a second: a whole number of seconds, 1 or more, would be right",
        ));
    }
    Ok((Per::Seconds(seconds), format!(" per {seconds} s")))
}

/// Reads the budget of a client.
pub(super) fn read(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Option<Arc<SpendingLimit>>> {
    if value.cast::<PyBool>().is_ok_and(|flag| !flag.is_true()) {
        return Ok(None);
    }
    match value.cast::<Budget>() {
        Ok(budget) => Ok(Some(budget.get().limit.clone())),
        Err(_) => Err(wrong(name, value, "a ritellm.Budget, or False for none,")),
    }
}
