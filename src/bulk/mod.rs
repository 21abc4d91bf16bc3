//! Many calls from the rows of a table: reading, identity, scheduling, the journal, resuming. No Python.
//!
//! - `row`: one row of the input; `input`: where rows come from; `template`: from a row to the call that it asks for
//! - `identity`: the key by which a row is known again; `scan`: one reading of the input before the first call
//! - `outcome`: what became of a row, as a line of the journal; `line`: the end of such a line
//! - `journal`: the segments of a job's folder, which are journal and output at once; `export`: in the input's order
//! - `schedule`: which rows may run now, as a state machine without I/O and without a clock; `run`: the driver
//! - `batch`: the same rows as files of the providers' batches, and their results
//! - `job`: from a folder, rows and a template to a run; `results`: rows with their outcomes
//!
//! Rows go from the input to the provider and from there to the journal as bytes.

pub mod batch;
pub mod export;
pub mod identity;
pub mod input;
pub mod job;
pub mod journal;
mod line;
pub mod outcome;
pub mod results;
pub mod row;
pub mod run;
pub mod scan;
pub mod schedule;
pub mod template;

pub use line::{State, Totals};
