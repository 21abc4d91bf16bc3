//! Parsing of what a caller passes, with errors that say where it stands.

use serde::Deserialize;

use crate::error::{Error, Result};

/// Parses a parameter, or the part of one that `name` names.
///
/// # Errors
/// `InvalidArgument`, with the name in front, if the JSON is of another type.
pub(super) fn parse<'a, T: Deserialize<'a>>(name: &str, json: &'a [u8]) -> Result<T> {
    serde_json::from_slice(json).map_err(|error| Error::argument(format!("{name}: {error}")))
}

/// Parses the text of raw JSON, which saves checking its UTF-8 once more.
///
/// # Errors
/// As [`parse`].
pub(super) fn parse_str<'a, T: Deserialize<'a>>(name: &str, json: &'a str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| Error::argument(format!("{name}: {error}")))
}
