//! A row on its way through batches, and its line in the file of a batch's rows.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::bulk::identity::Key;
use crate::bulk::row::RowCall;
use crate::types::operation::Operation;
use crate::types::params::Params;
use crate::types::usage::Usage;

/// A row on its way through batches.
#[derive(Debug, Clone)]
pub(super) struct BatchRow {
    pub number: u64,
    pub key: Key,
    /// What it asks for. The id is the row's own.
    pub call: RowCall,
    /// Number of batches that it was in.
    pub attempts: u32,
    /// Number of answers that did not fit the schema, their usage and their cost.
    pub corrections: u32,
    pub usage: Option<Usage>,
    pub cost: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    row: u64,
    key: [u64; 2],
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    operation: Cow<'a, str>,
    model: Option<Cow<'a, str>>,
    attempts: u32,
    corrections: u32,
    usage: Option<Usage>,
    cost: Option<f64>,
    params: Cow<'a, RawValue>,
}

impl BatchRow {
    /// Returns a row that was in no batch.
    pub fn new(number: u64, key: Key, call: RowCall) -> Self {
        Self { number, key, call, attempts: 0, corrections: 0, usage: None, cost: None }
    }

    /// Appends its line.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut params = vec![b'{'];
        self.call.params.write_members(&[], &mut params);
        if params.len() > 1 {
            // Members are written with a comma in front.
            params.remove(1);
        }
        params.push(b'}');
        let params = String::from_utf8_lossy(&params).into_owned();
        let params = RawValue::from_string(params).unwrap_or_else(|_| RawValue::NULL.to_owned());
        let line = Line {
            row: self.number,
            key: [self.key.row, self.key.content],
            id: self.call.id.as_deref().map(Cow::Borrowed),
            operation: self.call.operation.spec().name.into(),
            model: self.call.model.as_deref().map(Cow::Borrowed),
            attempts: self.attempts,
            corrections: self.corrections,
            usage: self.usage,
            cost: self.cost,
            params: Cow::Owned(params),
        };
        // A vector takes every byte, and these types have no maps with keys that are no strings.
        serde_json::to_writer(&mut *out, &line).expect("it can be written as JSON");
        out.push(b'\n');
    }

    /// Reads a line. `None` if it is not one of [`encode`](Self::encode).
    pub fn decode(line: &[u8]) -> Option<Self> {
        let line: Line<'_> = serde_json::from_slice(line).ok()?;
        let call = RowCall {
            id: line.id.map(|id| id.into_owned().into_boxed_str()),
            operation: Operation::named(&line.operation)?,
            model: line.model.map(|model| model.into_owned().into()),
            params: Params::from_json(line.params.get().as_bytes()).ok()?,
        };
        let [row, content] = line.key;
        Some(Self {
            number: line.row,
            key: Key { row, content },
            call,
            attempts: line.attempts,
            corrections: line.corrections,
            usage: line.usage,
            cost: line.cost,
        })
    }
}
