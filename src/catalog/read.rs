//! Reading of tables from JSON values. A value that cannot be used is named by its path.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::glob::{Glob, Rule};
use super::model::{CLASSES, Model, NAMES, Period, SERVICES, Service, Tier, Valid};
use super::{Catalog, List, Table};
use crate::error::{Error, Result};

/// Classes whose price is that of another one where a table has none of their own: reasoning is output.
const DEFAULTS: [(&str, &str); 1] = [("reasoning", "output")];

const INPUT: &str = "input";
const OUTPUT: &str = "output";

/// A place in a table, for errors.
#[derive(Clone)]
struct Path(String);

impl Path {
    fn member(&self, name: &str) -> Self {
        Self(format!("{}[{name:?}]", self.0))
    }

    fn item(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    fn wrong(&self, value: &Value, right: &str) -> Box<Error> {
        let kind = match value {
            Value::Null => "None",
            Value::Bool(_) => "bool",
            Value::Number(number) if number.is_f64() => "float",
            Value::Number(_) => "int",
            Value::String(_) => "str",
            Value::Array(_) => "list",
            Value::Object(_) => "dict",
        };
        let shown = match value {
            Value::Number(_) | Value::Bool(_) => format!("{} is {value}", self.0),
            Value::String(text) if text.len() < 100 => format!("{} is {text:?}", self.0),
            _ => format!("{} is of type {kind}", self.0),
        };
        Error::argument(format!("{shown}: {right} would be right"))
    }

    fn object<'a>(&self, value: &'a Value, right: &str) -> Result<&'a Map<String, Value>> {
        value.as_object().ok_or_else(|| self.wrong(value, right))
    }

    fn list<'a>(&self, value: &'a Value, right: &str) -> Result<&'a Vec<Value>> {
        value.as_array().ok_or_else(|| self.wrong(value, right))
    }

    fn count(&self, value: &Value, right: &str) -> Result<u64> {
        value.as_u64().filter(|count| *count > 0).ok_or_else(|| self.wrong(value, right))
    }

    fn price(&self, value: &Value, right: &str) -> Result<f64> {
        let price = value.as_f64().filter(|price| *price >= 0.0 && price.is_finite());
        price.ok_or_else(|| self.wrong(value, right))
    }
}

impl Catalog {
    /// Reads a table whose keys are `"provider/model"`, with wildcards in the model. `provider` returns the provider's own
    /// name for a name or an alias of it.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` that names the entry and says what would be right.
    pub fn of_table(table: &Value, provider: impl Fn(&str) -> Option<&'static str>) -> Result<Self> {
        let path = Path("catalog".into());
        let entries = path.object(table, "a dict of \"provider/model\" to a dict of its limits and prices")?;
        let mut lists: HashMap<&str, Vec<(Glob, Arc<Model>)>> = HashMap::new();
        for (pattern, value) in entries {
            const RIGHT: &str = "\"provider/model\" such as \"openai/gpt-4o\" or \"openai/gpt-4o*\"";
            let wrong =
                |why: &str| Error::argument(format!("catalog has the key {pattern:?}{why}: {RIGHT} would be right"));
            let (name, model) = pattern.split_once('/').ok_or_else(|| wrong(""))?;
            if model.is_empty() {
                return Err(wrong(""));
            }
            let name = match name {
                "*" => "*",
                name => provider(name).ok_or_else(|| wrong(", which names no known provider"))?,
            };
            lists.entry(name).or_default().push((Glob::new(model), Arc::new(model_of(&path.member(pattern), value)?)));
        }
        let mut table = Table::default();
        for (name, mut list) in lists {
            list.sort_by_key(|(glob, _)| std::cmp::Reverse(glob.specificity()));
            match name {
                "*" => table.general = Some(table.lists.len()),
                name => drop(table.providers.insert(name.to_owned(), vec![table.lists.len()])),
            }
            table.lists.push(list.into_iter().map(|(glob, entry)| (Rule::Glob(glob), entry)).collect());
        }
        Ok(Self { tables: vec![table], ..Self::default() })
    }

    /// Reads lists of entries, of which the first that matches counts: `{"lists": {name: [{"match": rule, …}]}, "providers":
    /// {provider: [name of a list, …]}}`. A rule is a pattern, or one of `{"any": […]}`, `{"all": […]}` and `{"not": …}`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` that names what cannot be used.
    pub fn of_lists(value: &Value) -> Result<Self> {
        let path = Path("catalog".into());
        let top = path.object(value, "a dict with \"lists\" and \"providers\"")?;
        let member = |name: &str| {
            let path = path.member(name);
            top.get(name).unwrap_or(&Value::Null).as_object().ok_or_else(|| path.wrong(&Value::Null, "a dict"))
        };
        let mut table = Table::default();
        let mut indexes = HashMap::new();
        for (name, entries) in member("lists")? {
            let path = path.member("lists").member(name);
            indexes.insert(name.as_str(), table.lists.len());
            let mut list = List::new();
            for (index, entry) in path.list(entries, "a list of entries")?.iter().enumerate() {
                let path = path.item(index);
                let rule = rule_of(&path.member("match"), entry.get("match").unwrap_or(&Value::Null))?;
                list.push((rule, Arc::new(model_of(&path, entry)?)));
            }
            table.lists.push(list);
        }
        for (provider, names) in member("providers")? {
            let path = path.member("providers").member(provider);
            let names = path.list(names, "a list of names")?.iter();
            let lists = names.map(|name| {
                let known = name.as_str().and_then(|name| indexes.get(name).copied());
                known.ok_or_else(|| path.wrong(name, "the name of one of the lists"))
            });
            table.providers.insert(provider.clone(), lists.collect::<Result<_>>()?);
        }
        Ok(Self { tables: vec![table], ..Self::default() })
    }
}

fn rule_of(path: &Path, value: &Value) -> Result<Rule> {
    const RIGHT: &str = "a pattern, or a dict with \"any\", \"all\" or \"not\"";
    let several = |rules: &Value| -> Result<Vec<Rule>> {
        path.list(rules, "a list of rules")?.iter().map(|rule| rule_of(path, rule)).collect()
    };
    match value {
        Value::String(pattern) => Ok(Rule::Glob(Glob::new(pattern))),
        Value::Object(rule) => match rule.iter().next() {
            Some((name, rules)) if name == "any" => Ok(Rule::Any(several(rules)?)),
            Some((name, rules)) if name == "all" => Ok(Rule::All(several(rules)?)),
            Some((name, rule)) if name == "not" => Ok(Rule::Not(Box::new(rule_of(path, rule)?))),
            _ => Err(path.wrong(value, RIGHT)),
        },
        _ => Err(path.wrong(value, RIGHT)),
    }
}

fn model_of(path: &Path, value: &Value) -> Result<Model> {
    let entry = path.object(value, "a dict of limits and prices")?;
    let mut model = Model::default();
    let mut prices = Map::new();
    for (name, value) in entry {
        let path = path.member(name);
        const TOKENS: &str = "a number of tokens, a whole number above 0,";
        match name.as_str() {
            _ if value.is_null() => {}
            "context_window" => model.context_window = Some(path.count(value, TOKENS)?),
            "max_output_tokens" => model.max_output_tokens = Some(path.count(value, TOKENS)?),
            "match" | "periods" => {}
            service if SERVICES.contains(&service) => {
                let name = SERVICES.into_iter().find(|known| known == name).unwrap_or_default();
                let right = "a part of the usual price such as 0.5, or a dict of prices,";
                let service = match value {
                    Value::Object(own) => Service::Own(period_of(&path, own)?),
                    value => Service::Part(path.price(value, right)?),
                };
                model.services.push((name, service));
            }
            _ => drop(prices.insert(name.clone(), value.clone())),
        }
    }
    match entry.get("periods").filter(|periods| !periods.is_null()) {
        Some(periods) => {
            let path = path.member("periods");
            if let Some(name) = prices.keys().next() {
                return Err(Error::argument(format!(
                    "{} excludes {name:?} beside it: move it into the periods",
                    path.0
                )));
            }
            for (index, period) in path.list(periods, "a list of dicts of prices")?.iter().enumerate() {
                let path = path.item(index);
                model.periods.push(period_of(&path, path.object(period, "a dict of prices")?)?);
            }
        }
        None if prices.is_empty() => {}
        None => model.periods.push(period_of(path, &prices)?),
    }
    Ok(model)
}

fn period_of(path: &Path, value: &Map<String, Value>) -> Result<Period> {
    let mut period = Period { valid: Valid::Always, request: 0.0, second: 0.0, tiers: Vec::new() };
    let mut prices = Map::new();
    for (name, value) in value {
        let path = path.member(name);
        match name.as_str() {
            _ if value.is_null() => {}
            "from" => {
                period.valid =
                    Valid::From(day(value).ok_or_else(|| path.wrong(value, "a date such as \"2026-01-31\""))?)
            }
            "daily" => {
                let right = "two times of day in UTC such as [\"00:30\", \"16:30\"]";
                period.valid = daily(value).ok_or_else(|| path.wrong(value, right))?;
            }
            "request" => period.request = path.price(value, "a number of US dollars per request")?,
            "second" => period.second = path.price(value, "a number of US dollars per second")?,
            "tiers" => {}
            _ => drop(prices.insert(name.clone(), value.clone())),
        }
    }
    let base = prices_of(path, &prices, &Map::new())?;
    period.tiers.push(Tier { above: None, prices: base });
    if let Some(tiers) = value.get("tiers").filter(|tiers| !tiers.is_null()) {
        let path = path.member("tiers");
        for (index, tier) in path.list(tiers, "a list of dicts of \"above\" and prices")?.iter().enumerate() {
            let path = path.item(index);
            let mut tier = path.object(tier, "a dict of \"above\" and prices")?.clone();
            let above = tier.shift_remove("above").unwrap_or(Value::Null);
            let above = path.member("above").count(&above, "a number of input tokens, a whole number above 0,")?;
            period.tiers.push(Tier { above: Some(above), prices: prices_of(&path, &tier, &prices)? });
        }
    }
    period.tiers.sort_by_key(|tier| tier.above);
    Ok(period)
}

/// Reads the prices of one tier. Those that it does not have are those of `base`.
fn prices_of(path: &Path, own: &Map<String, Value>, base: &Map<String, Value>) -> Result<[Option<f64>; CLASSES]> {
    const RIGHT: &str = "a number of US dollars per million tokens, or \"input\" or \"output\" for their price,";
    let get = |name: &str| own.get(name).or_else(|| base.get(name)).filter(|value| !value.is_null());
    for name in own.keys() {
        if !NAMES.contains(&name.as_str()) {
            let others = ["context_window", "max_output_tokens", "request", "second", "tiers", "periods"];
            let near = NAMES.iter().chain(&others).chain(&SERVICES);
            let near = near.max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b)));
            let near = near.copied().unwrap_or(INPUT);
            return Err(Error::argument(format!("{} has no meaning: did you mean {near:?}?", path.member(name).0)));
        }
    }
    let price = |name: &str| -> Result<Option<f64>> {
        let default = DEFAULTS.iter().find(|(class, _)| *class == name).map(|(_, general)| *general);
        let value = match (get(name), default) {
            (Some(Value::String(general)), _) => match general.as_str() {
                INPUT | OUTPUT => get(general),
                _ => return Err(path.member(name).wrong(&Value::String(general.clone()), RIGHT)),
            },
            (None, Some(general)) => get(general),
            (value, _) => value,
        };
        value.map(|value| path.member(name).price(value, RIGHT)).transpose()
    };
    let mut prices = [None; CLASSES];
    for (known, name) in prices.iter_mut().zip(NAMES) {
        *known = price(name)?;
    }
    Ok(prices)
}

/// Reads a date. Returns the number of days since 1970.
fn day(value: &Value) -> Option<u64> {
    let mut parts = value.as_str()?.split('-').map(str::parse::<i64>);
    let (year, month, day) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    if parts.next().is_some()
        || !(1970..10_000).contains(&year)
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
    {
        return None;
    }
    // Years begin in March, so that a leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    u64::try_from(days - 719_468).ok()
}

fn daily(value: &Value) -> Option<Valid> {
    let second = |value: &Value| {
        let (hour, minute) = value.as_str()?.split_once(':')?;
        let (hour, minute) = (hour.parse::<u64>().ok()?, minute.parse::<u64>().ok()?);
        (hour < 24 && minute < 60).then_some(hour * 3600 + minute * 60)
    };
    match value.as_array()?.as_slice() {
        [start, end] => Some(Valid::Daily(second(start)?, second(end)?)),
        _ => None,
    }
}
