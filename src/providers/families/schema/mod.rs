//! Adapts JSON schemas to what models take for structured output and for tools.
//!
//! - [`dialects`]: what models and hosts take, as data
//! - [`fit`]: changes a schema to one of a dialect
//! - [`express`]: the schemas that a dialect can express
//! - [`tools`]: schemas of tools

mod dialects;
mod express;
mod fit;
#[cfg(test)]
mod tests;
mod tools;

pub(in crate::providers) use dialects::{BARE, CLAUDE, COHERE, Dialect, GEMINI, OPENAI};
pub(in crate::providers) use express::is_expressible;
pub(in crate::providers) use fit::{fit, tighten};
pub(in crate::providers) use tools::tool_schema;
