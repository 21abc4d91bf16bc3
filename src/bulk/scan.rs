//! One reading of an input that can be read again, before the first call: its rows, their keys and what they will need.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::identity::Identities;
use super::row::{Place, RowCall, Source};
use super::template::Template;
use crate::client::{expected_usage, max_tokens};
use crate::error::{Error, Result};
use crate::limits::{Limit, QuotaSpec};
use crate::types::usage::Usage;

/// Number of bad rows whose messages are kept.
const MAX_EXAMPLES: usize = 10;

/// What is known of an input.
#[derive(Debug, Default)]
pub struct Scan {
    /// Number of rows, with those that are bad.
    pub rows: u64,
    /// Number of rows that ask for nothing: they cannot be read, or lack a column.
    pub bad: u64,
    /// What is wrong with the first of them, with their places.
    pub bad_examples: Vec<String>,
    /// Number of rows with an id of their own.
    pub with_id: u64,
    /// Number of rows that have an equal one before them: each is a call of its own.
    pub repeated: u64,
    /// Size of the bodies of all requests, in bytes.
    pub bytes: u64,
    /// Size of the largest body, in bytes.
    pub largest: u64,
    /// What the rows need of each model; `None` stands for rows that name none.
    pub loads: BTreeMap<Option<Arc<str>>, Load>,
    /// The part of the input that was read, from 0 to 1.
    pub part: f64,
    /// The hashes with which the keys of repeated rows begin.
    repeated_rows: HashSet<u64>,
    dedupe: bool,
}

/// Estimate of what rows need of a model. Bytes are counted, tokens are guessed from them as the client does for the prices
/// of a call (four bytes a token, 500 tokens an answer if its maximum is not less).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Load {
    /// Number of calls.
    pub rows: u64,
    /// Tokens of prompts and answers.
    pub usage: Usage,
}

/// How much of an input is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// The first rows.
    First(u64),
}

/// Reads an input. `progress` gets the number of rows so far, every now and then, and ends the reading with `false`.
///
/// # Errors
///
/// The input cannot be read, two rows have the same id and ask for different things, or `progress` ended it.
pub fn scan(
    source: &mut dyn Source,
    template: &Template,
    dedupe: bool,
    extent: Extent,
    mut progress: impl FnMut(u64) -> bool,
) -> Result<Scan> {
    let mut scan = Scan { dedupe, ..Scan::default() };
    let mut identities = Identities::new(dedupe);
    loop {
        if extent == Extent::First(scan.rows) {
            scan.part = source.progress().unwrap_or(1.0);
            break;
        }
        let Some(row) = source.next()? else {
            scan.part = 1.0;
            break;
        };
        scan.rows += 1;
        if scan.rows.is_multiple_of(4096) && !progress(scan.rows) {
            return Err(Error::argument("reading the rows was ended").unsent());
        }
        match row.json.and_then(|json| template.call(&json, &row.place)) {
            Ok(call) => scan.add(&call, &row.place, &mut identities)?,
            Err(error) => {
                scan.bad += 1;
                if scan.bad_examples.len() < MAX_EXAMPLES {
                    scan.bad_examples.push(error.message);
                }
            }
        }
    }
    Ok(scan)
}

impl Scan {
    fn add(&mut self, call: &RowCall, place: &Place, identities: &mut Identities) -> Result<()> {
        let repeated = identities.add(call).map_err(|conflict| conflict.error(call, place))?;
        if let Some(row) = repeated {
            self.repeated += 1;
            self.repeated_rows.insert(row);
        }
        self.with_id += u64::from(call.id.is_some());
        let bytes = call.params.len() as u64;
        self.bytes += bytes;
        self.largest = self.largest.max(bytes);
        let usage = expected_usage(call.operation, &call.params, max_tokens(&call.params));
        let load = match self.loads.get_mut(&call.model) {
            Some(load) => load,
            None => self.loads.entry(call.model.clone()).or_default(),
        };
        load.rows += 1;
        load.usage.input += usage.input;
        load.usage.output += usage.output;
        Ok(())
    }

    /// Returns the keys for the next reading of the same input, which take memory for its repeated rows only. It is the
    /// caller's part to see that the input is the same: [`Files`](super::input::Files) does.
    pub fn identities(&self) -> Identities {
        Identities::of_repeated(self.repeated_rows.iter().copied(), self.dedupe)
    }

    /// Returns an estimate of the number of rows of the whole input.
    pub fn estimated_rows(&self) -> u64 {
        if self.part > 0.0 { (self.rows as f64 / self.part).round() as u64 } else { self.rows }
    }
}

impl Load {
    /// Returns the load of an input of which a part was read.
    pub fn of_whole(&self, part: f64) -> Self {
        let scale = |count: u64| if part > 0.0 { (count as f64 / part).round() as u64 } else { count };
        let usage = Usage { input: scale(self.usage.input), output: scale(self.usage.output), ..Usage::default() };
        Self { rows: scale(self.rows), usage }
    }

    /// Returns the number of seconds that a quota's declared limits of rate make of it; `None` if none is declared.
    pub fn seconds(&self, quota: &QuotaSpec) -> Option<f64> {
        let of_limit = |limit: &Limit| {
            let (input, output) = (self.usage.all_input(), self.usage.all_output());
            let counts = [
                (self.rows, limit.requests),
                (input + output, limit.tokens),
                (input, limit.input_tokens),
                (output, limit.output_tokens),
            ];
            let windows = counts.into_iter().filter_map(|(count, most)| Some(count as f64 / most?.max(1) as f64));
            windows.reduce(f64::max).map(|windows| windows * limit.per.as_secs_f64())
        };
        quota.limits.iter().filter_map(of_limit).reduce(f64::max)
    }
}

#[cfg(test)]
mod tests;
