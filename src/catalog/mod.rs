//! Context windows, output limits and prices of models, compiled from tables that a client is given.
//!
//! No I/O, no clock and no table of its own: prices change too often to be compiled in. docs/catalog.md describes the form of
//! a table.

mod glob;
mod model;
mod read;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use glob::Rule;
pub use model::{Bill, Model};

/// Number of models of a provider whose entries are remembered. Names may be arbitrary text.
const MAX_REMEMBERED: usize = 4096;

/// Entries of models, by provider and pattern.
#[derive(Debug, Default)]
pub struct Catalog {
    /// Tables; of several that have a model, the last one counts.
    tables: Vec<Table>,
    /// Entries found so far, by provider and model.
    found: Mutex<HashMap<String, Found>>,
    /// Models whose cost is not known, of which that was said.
    unknown: Mutex<HashSet<String>>,
}

/// One table of entries.
#[derive(Debug, Default)]
struct Table {
    lists: Vec<List>,
    /// The lists of each provider in which a model is looked for, in this order.
    providers: HashMap<String, Vec<usize>>,
    /// The list for all providers.
    general: Option<usize>,
}

/// Entries of a provider's models that have been looked for.
type Found = HashMap<String, Option<Arc<Model>>>;

/// Entries, of which the first that matches counts.
type List = Vec<(Rule, Arc<Model>)>;

impl Catalog {
    /// Returns the entry of a model of a provider, by their own names. Upper and lower case are the same.
    ///
    /// The first search walks the provider's patterns; the result is remembered.
    pub fn find(&self, provider: &str, model: &str) -> Option<Arc<Model>> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = found.get(provider).and_then(|models| models.get(model)) {
            return known.clone();
        }
        let entry = self.search(provider, model);
        let models = found.entry(provider.to_owned()).or_default();
        if models.len() >= MAX_REMEMBERED {
            models.clear();
        }
        models.insert(model.to_owned(), entry.clone());
        entry
    }

    /// Notes that the cost of a model's call is not known. Returns true the first time.
    pub fn is_first_unknown(&self, provider: &str, model: &str) -> bool {
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        unknown.len() < MAX_REMEMBERED && unknown.insert(format!("{provider}/{model}"))
    }

    /// Adds the tables of another catalog, which count before those of this one.
    pub fn add(&mut self, other: Self) {
        self.tables.extend(other.tables);
        self.found = Mutex::default();
    }

    fn search(&self, provider: &str, model: &str) -> Option<Arc<Model>> {
        let model = model.to_lowercase();
        let dashed = with_dashed_date(&model);
        self.tables
            .iter()
            .rev()
            .find_map(|table| table.search(provider, &model).or_else(|| table.search(provider, dashed.as_deref()?)))
    }
}

impl Table {
    fn search(&self, provider: &str, model: &str) -> Option<Arc<Model>> {
        let lists = self.providers.get(provider).into_iter().flatten().chain(&self.general);
        let mut entries = lists.flat_map(|list| &self.lists[*list]);
        entries.find(|(rule, _)| rule.is_match(model)).map(|(_, entry)| entry.clone())
    }
}

/// Returns a name with its date written as in `-2025-12-11` in place of `-20251211`: gateways write the dates of some vendors'
/// models without dashes.
fn with_dashed_date(model: &str) -> Option<String> {
    let bytes = model.as_bytes();
    let is_date = |at: usize| {
        let Some(date) = bytes.get(at..at + 9) else { return false };
        let number = |range: std::ops::Range<usize>| model.get(at + range.start..at + range.end)?.parse::<u32>().ok();
        date[0] == b'-'
            && date[1..].iter().all(u8::is_ascii_digit)
            && date.starts_with(b"-20")
            && number(5..7).is_some_and(|month| (1..=12).contains(&month))
            && number(7..9).is_some_and(|day| (1..=31).contains(&day))
            && matches!(bytes.get(at + 9), None | Some(b'-' | b':'))
    };
    let at = (0..bytes.len()).find(|at| is_date(*at))?;
    let (before, date, after) = (&model[..at], &model[at + 1..at + 9], &model[at + 9..]);
    Some(format!("{before}-{}-{}-{}{after}", &date[..4], &date[4..6], &date[6..]))
}

#[cfg(test)]
mod tests;
