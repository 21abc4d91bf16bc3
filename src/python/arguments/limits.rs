//! The classes `Limit` and `Limits`: limits of providers that a client keeps to.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyMapping, PyString, PyTuple};

use super::readers::{flag, number, seconds, text};
use crate::client::{LimitSettings, Share, WhenDown};
use crate::limits::{self, Pattern, QuotaSpec, Rule, Rules};
use crate::providers;
use crate::python::errors::{argument, exception, wrong};
use crate::python::values;

/// Part of a budget that bulk calls get while interactive calls wait.
const BULK_SHARE: f64 = 0.05;

/// Names of the members of a limit as a dict: (name, dimension, seconds).
const SHORT_NAMES: &[(&str, Dimension, u64)] = &[
    ("rps", Dimension::Requests, 1),
    ("rpm", Dimension::Requests, 60),
    ("rpd", Dimension::Requests, 86_400),
    ("tps", Dimension::Tokens, 1),
    ("tpm", Dimension::Tokens, 60),
    ("tpd", Dimension::Tokens, 86_400),
    ("itps", Dimension::InputTokens, 1),
    ("itpm", Dimension::InputTokens, 60),
    ("itpd", Dimension::InputTokens, 86_400),
    ("otps", Dimension::OutputTokens, 1),
    ("otpm", Dimension::OutputTokens, 60),
    ("otpd", Dimension::OutputTokens, 86_400),
];

#[derive(Clone, Copy)]
enum Dimension {
    Requests,
    Tokens,
    InputTokens,
    OutputTokens,
}

impl Dimension {
    fn of(self, limit: &mut limits::Limit) -> &mut Option<u64> {
        match self {
            Self::Requests => &mut limit.requests,
            Self::Tokens => &mut limit.tokens,
            Self::InputTokens => &mut limit.input_tokens,
            Self::OutputTokens => &mut limit.output_tokens,
        }
    }
}

/// Limit of a quota: requests and tokens in a window of time, requests in flight.
///
/// >>> from ritellm import Limit
/// >>> Limit(requests=6, per=1)
/// Limit(requests=6, per=1)
///
/// A limit holds in any window of ``per`` seconds, not only in those that a clock's minute begins.
///
/// Args:
///     requests: maximum number of requests in a window.
///     tokens: maximum number of tokens in a window, input and output together.
///     input_tokens: maximum number of input tokens in a window.
///     output_tokens: maximum number of output tokens in a window.
///     per: length of the window in seconds, 60 by default.
///     max_in_flight: maximum number of requests in flight.
///     burst: the part of a window, above 0 and up to 1, that may be used at once after idleness. By default it is learnt: 0.3
///         until the provider refuses a request although the limit is kept, 0.02 from then on.
///
/// Raises:
///     InvalidArgumentError: a value that cannot be used, or no limit at all.
#[pyclass(frozen, module = "ritellm", eq)]
#[derive(PartialEq)]
pub(crate) struct Limit {
    spec: QuotaSpec,
    given: Vec<(&'static str, f64)>,
}

#[pymethods]
impl Limit {
    #[new]
    #[pyo3(signature = (*, requests=None, tokens=None, input_tokens=None, output_tokens=None, per=None, max_in_flight=None, burst=None), text_signature = "(*, requests=None, tokens=None, input_tokens=None, output_tokens=None, per=60, max_in_flight=None, burst=None)")]
    #[expect(clippy::too_many_arguments, reason = "keywords")]
    fn new(
        py: Python<'_>,
        requests: Option<&Bound<'_, PyAny>>,
        tokens: Option<&Bound<'_, PyAny>>,
        input_tokens: Option<&Bound<'_, PyAny>>,
        output_tokens: Option<&Bound<'_, PyAny>>,
        per: Option<&Bound<'_, PyAny>>,
        max_in_flight: Option<&Bound<'_, PyAny>>,
        burst: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let mut given = Vec::new();
        let mut window = limits::Limit::per(Duration::from_secs(60));
        let dimensions = [
            ("requests", requests, Dimension::Requests),
            ("tokens", tokens, Dimension::Tokens),
            ("input_tokens", input_tokens, Dimension::InputTokens),
            ("output_tokens", output_tokens, Dimension::OutputTokens),
        ];
        for (name, value, dimension) in dimensions {
            if let Some(value) = value {
                let limit = whole(name, value)?;
                *dimension.of(&mut window) = Some(limit);
                given.push((name, limit as f64));
            }
        }
        let has_window = !given.is_empty();
        if let Some(value) = per {
            window.per = seconds("per", value)?;
            given.push(("per", window.per.as_secs_f64()));
        }
        let mut spec = QuotaSpec::default();
        if has_window {
            spec.limits.push(window);
        }
        if let Some(value) = max_in_flight {
            spec.max_in_flight = Some(in_flight("max_in_flight", value)?);
            given.push(("max_in_flight", spec.max_in_flight.unwrap_or_default().into()));
        }
        if let Some(value) = burst {
            let part = share("burst", value)?;
            spec.burst = Some(part);
            given.push(("burst", part));
        }
        if !has_window && spec.max_in_flight.is_none() {
            return Err(argument(
                py,
                "Limit() limits nothing: give it requests, tokens, input_tokens, output_tokens or max_in_flight",
            ));
        }
        Ok(Self { spec, given })
    }

    fn __repr__(&self) -> String {
        let members = self.given.iter().map(|(name, value)| format!("{name}={value}"));
        format!("Limit({})", members.collect::<Vec<_>>().join(", "))
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let keywords = values::dict(py)?;
        for (name, value) in &self.given {
            match value.fract() == 0.0 && *value < 1e18 {
                true => keywords.set_item(name, *value as u64)?,
                false => keywords.set_item(name, value)?,
            }
        }
        values::tuple(py, [PyTuple::empty(py).into_any(), keywords.into_any()])
    }
}

/// Limits that clients keep to, and who shares them.
///
/// >>> from ritellm import Client, Limit, Limits
/// >>> client = Client(limits={"openai/gpt-4o-mini": {"rpm": 5_000, "tpm": 2_000_000}, "anthropic": {"max_in_flight": 64}})
/// >>> client = Client(limits="adaptive")  # learns them
/// >>> client = Client(limits=Limits({"openai": {"rpm": 5_000}, "mistral/*": Limit(requests=6, per=1)}, share="host:prod"))
///
/// Calls beyond a limit wait, in order, for at most the timeout ``queue``. Limits hold in any sliding window. All clients of a
/// process that call the same provider, address, key and model share the quota. A forked child has quotas of its own, unless
/// they are shared with ``share``.
///
/// Args:
///     limits: ``"adaptive"``, or a dict of limits by model: ``"openai"`` declares one quota for all models of the provider,
///         ``"openai/*"`` one for each model, ``"openai/gpt-4o"`` one for this model, and ``"openai/gpt-4o*"`` one for each
///         model whose name begins so. Where several apply to a call, all of them hold. A limit is a `Limit`, a list of them,
///         or a dict with any of ``rpm``, ``tpm`` (requests, tokens a minute), ``itpm``, ``otpm`` (input, output tokens), the
///         same with ``s`` or ``d`` for second and day in place of ``m``, ``max_in_flight`` and ``burst``.
///     adaptive: learn the limits of all models for which no window is declared, from refusals and header fields.
///     share: ``None`` for this process only, ``"host:name"`` for all processes of this user on this machine that use the same
///         name, or the address of a Redis (``redis://…``, ``rediss://…``) for processes on any machine.
///     namespace: prefix of the keys in the Redis; processes with different ones share nothing.
///     when_down: what to do while the Redis cannot be reached: keep to this part of each limit, above 0 and up to 1, in this
///         process (0.25 by default), ``"wait"``, or ``"error"``.
///     bulk_share: the part of a quota that calls of the priority ``"bulk"`` get at least while others wait; 0.05 by default.
///
/// Raises:
///     InvalidArgumentError: a value that cannot be used; the message names it.
#[pyclass(frozen, module = "ritellm")]
pub(crate) struct Limits {
    settings: Arc<LimitSettings>,
    /// The arguments as they were given.
    given: Py<PyDict>,
}

#[pymethods]
impl Limits {
    #[new]
    #[pyo3(signature = (limits=None, **options), text_signature = "(limits=None, *, adaptive=False, share=None, namespace=\"default\", when_down=0.25, bulk_share=0.05)")]
    fn new(py: Python<'_>, limits: Option<&Bound<'_, PyAny>>, options: Option<Bound<'_, PyDict>>) -> PyResult<Self> {
        let given = options.map_or_else(|| values::dict(py), Ok)?;
        let settings = read(py, limits, &given)?;
        if let Some(limits) = limits {
            given.set_item("limits", limits)?;
        }
        Ok(Self { settings: Arc::new(settings), given: given.unbind() })
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let mut members = Vec::new();
        for (name, value) in self.given.bind(py).iter() {
            let shown = match name.to_string().as_str() {
                // Its address may hold a password.
                "share" => match &self.settings.share {
                    Share::Redis { url, .. } => format!("'{}'", without_password(url.expose())),
                    _ => value.repr()?.to_string(),
                },
                _ => value.repr()?.to_string(),
            };
            members.push(format!("{name}={shown}"));
        }
        Ok(format!("Limits({})", members.join(", ")))
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| other.get().settings == self.settings)
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        if self.has_password() {
            return Err(argument(
                py,
                "Limits(share=…) has a password in its address, and passwords are never pickled: make the Limits in each process",
            ));
        }
        values::tuple(py, [PyTuple::empty(py).into_any(), self.given.bind(py).copy()?.into_any()])
    }
}

impl Limits {
    /// Returns true if the address of the Redis holds a password.
    pub fn has_password(&self) -> bool {
        matches!(&self.settings.share, Share::Redis { url, .. } if url.expose().contains('@'))
    }
}

/// Returns an address without its user and password.
fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://***@{host}"),
        _ => url.to_owned(),
    }
}

/// Reads the argument `limits` of a client: a `Limits`, or what a `Limits` is made from.
///
/// # Errors
///
/// `InvalidArgumentError` that names the value.
pub(crate) fn settings(value: &Bound<'_, PyAny>) -> PyResult<Arc<LimitSettings>> {
    match value.cast::<Limits>() {
        Ok(limits) => Ok(limits.get().settings.clone()),
        Err(_) => Ok(Arc::new(read(value.py(), Some(value), &values::dict(value.py())?)?)),
    }
}

/// Reads the arguments of a `Limits`.
fn read(py: Python<'_>, limits: Option<&Bound<'_, PyAny>>, options: &Bound<'_, PyDict>) -> PyResult<LimitSettings> {
    let mut rules = Rules { bulk_share: BULK_SHARE, ..Rules::default() };
    let mut namespace = "default".to_owned();
    let mut shared = None;
    let mut when_down = WhenDown::default();
    for (name, value) in options.iter() {
        if value.is_none() {
            continue;
        }
        let name = name.cast_into::<PyString>()?;
        match name.to_str()? {
            "adaptive" => rules.adaptive = flag("adaptive", &value)?,
            "share" => shared = Some(text("share", &value, SHARES)?),
            "namespace" => namespace = text("namespace", &value, "a name such as \"prod\"")?,
            "when_down" => when_down = down(&value)?,
            "bulk_share" => rules.bulk_share = share("bulk_share", &value)?,
            "limits" => {}
            other => {
                return Err(pyo3::exceptions::PyTypeError::new_err(format!(
                    "Limits() got an unexpected keyword argument '{other}'"
                )));
            }
        }
    }
    if let Some(limits) = limits {
        declared(&mut rules, limits)?;
    }
    let share = shared.map_or(Ok(Share::Process), |shared| share_of(py, &shared, namespace))?;
    Ok(LimitSettings { rules, share, when_down })
}

const SHARES: &str = "\"host:name\", \"redis://host:6379/0\" or \"rediss://…\"";

fn share_of(py: Python<'_>, shared: &str, namespace: String) -> PyResult<Share> {
    if let Some(name) = shared.strip_prefix("host:") {
        let is_name = |name: &str| {
            name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        return match !name.is_empty() && is_name(name) {
            true => Ok(Share::Host(name.to_owned())),
            false => Err(argument(
                py,
                format!(
                    "share is {shared:?}: a name of up to 64 letters, digits, \"-\", \"_\" and \".\" has to follow \"host:\""
                ),
            )),
        };
    }
    let is_redis =
        ["redis://", "rediss://", "unix://", "redis+unix://"].iter().any(|scheme| shared.starts_with(scheme));
    match is_redis {
        true => Share::redis(shared, namespace).map_err(|error| exception(py, error)),
        false => Err(argument(py, format!("share is {:?}: {SHARES} would be right", without_password(shared)))),
    }
}

fn down(value: &Bound<'_, PyAny>) -> PyResult<WhenDown> {
    const RIGHT: &str = "a part of each limit such as 0.25, \"wait\" or \"error\"";
    match value.cast::<PyString>() {
        Ok(word) => match word.to_str()? {
            "wait" => Ok(WhenDown::Wait),
            "error" => Ok(WhenDown::Error),
            other => Err(argument(value.py(), format!("when_down is {other:?}: {RIGHT} would be right"))),
        },
        Err(_) => share("when_down", value).map(WhenDown::Fraction),
    }
}

/// Reads the declared limits: `"adaptive"`, or a mapping of patterns to limits.
fn declared(rules: &mut Rules, limits: &Bound<'_, PyAny>) -> PyResult<()> {
    const RIGHT: &str = "\"adaptive\" or a dict such as {\"openai/gpt-4o-mini\": {\"rpm\": 5000, \"tpm\": 2000000}}";
    let py = limits.py();
    if let Ok(word) = limits.cast::<PyString>() {
        return match word.to_str()? {
            "adaptive" => {
                rules.adaptive = true;
                Ok(())
            }
            other => Err(argument(py, format!("limits is {other:?}: {RIGHT} would be right"))),
        };
    }
    let mapping = limits.cast::<PyMapping>().map_err(|_| wrong("limits", limits, RIGHT))?;
    for pair in mapping.items()?.iter() {
        let (pattern, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
        let pattern = text("a key of limits", &pattern, "a model such as \"openai/gpt-4o-mini\"")?;
        let at = format!("limits[{pattern:?}]");
        let provider = |name: &str| providers::lookup(name).map(|provider| provider.row().name.to_owned());
        let parsed = Pattern::parse(&pattern, provider).map_err(|why| argument(py, format!("limits: {why}")))?;
        rules.rules.push(Rule { pattern: parsed, spec: spec(&at, &value)? });
    }
    Ok(())
}

/// Reads the limits of one quota: a `Limit`, a dict, `"adaptive"`, or a list of these.
///
/// # Errors
///
/// `InvalidArgumentError` that names the value as `at`.
pub(super) fn spec(at: &str, value: &Bound<'_, PyAny>) -> PyResult<QuotaSpec> {
    const RIGHT: &str =
        "a Limit, a list of them, or a dict such as {\"rpm\": 5000, \"tpm\": 2000000, \"max_in_flight\": 64}";
    if let Ok(limit) = value.cast::<Limit>() {
        return Ok(limit.get().spec.clone());
    }
    if value.cast::<PyString>().is_ok_and(|word| word.to_str().is_ok_and(|word| word == "adaptive")) {
        return Ok(QuotaSpec { adaptive: true, ..QuotaSpec::default() });
    }
    if value.cast::<PyList>().is_ok() || value.cast::<PyTuple>().is_ok() {
        let mut whole = QuotaSpec::default();
        for (index, item) in value.try_iter()?.enumerate() {
            whole.add(&spec(&format!("{at}[{index}]"), &item?)?);
        }
        return Ok(whole);
    }
    let mapping = value.cast::<PyMapping>().map_err(|_| wrong(at, value, RIGHT))?;
    let mut spec = QuotaSpec::default();
    for pair in mapping.items()?.iter() {
        let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
        let name = text(&format!("a key of {at}"), &name, "\"rpm\" or another limit's name")?;
        let at = format!("{at}[{name:?}]");
        if value.is_none() {
            continue;
        }
        match name.as_str() {
            "max_in_flight" => spec.max_in_flight = Some(in_flight(&at, &value)?),
            "burst" => spec.burst = Some(share(&at, &value)?),
            short => {
                let Some((_, dimension, period)) = SHORT_NAMES.iter().find(|(known, _, _)| *known == short) else {
                    let names: Vec<&str> = SHORT_NAMES.iter().map(|(name, _, _)| *name).collect();
                    return Err(argument(
                        value.py(),
                        format!("{at} is no limit: {}, max_in_flight or burst would be right", names.join(", ")),
                    ));
                };
                let per = Duration::from_secs(*period);
                let index = spec.limits.iter().position(|limit| limit.per == per).unwrap_or_else(|| {
                    spec.limits.push(limits::Limit::per(per));
                    spec.limits.len() - 1
                });
                *dimension.of(&mut spec.limits[index]) = Some(whole(&at, &value)?);
            }
        }
    }
    match spec.limits.is_empty() && spec.max_in_flight.is_none() {
        true => Err(argument(value.py(), format!("{at} limits nothing: {RIGHT} would be right"))),
        false => Ok(spec),
    }
}

/// Reads a whole number above 0; a float such as 5e6 may stand for one.
fn whole(name: &str, value: &Bound<'_, PyAny>) -> PyResult<u64> {
    const RIGHT: &str = "a whole number above 0";
    let number = number(name, value, RIGHT)?;
    match number >= 1.0 && number.fract() == 0.0 && number < 1e15 {
        true => Ok(number as u64),
        false => Err(argument(value.py(), format!("{name} is {value}: {RIGHT} would be right"))),
    }
}

fn in_flight(name: &str, value: &Bound<'_, PyAny>) -> PyResult<u32> {
    whole(name, value).map(|limit| u32::try_from(limit).unwrap_or(u32::MAX))
}

/// Reads a part of a whole: a number above 0 and up to 1.
fn share(name: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    const RIGHT: &str = "a number above 0 and up to 1";
    let number = number(name, value, RIGHT)?;
    match number > 0.0 && number <= 1.0 {
        true => Ok(number),
        false => Err(argument(value.py(), format!("{name} is {value}: {RIGHT} would be right"))),
    }
}
