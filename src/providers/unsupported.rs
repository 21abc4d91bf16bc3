//! Refuses OpenAI's parameters that a provider lacks, or drops and lists them if the caller allows it.

use std::borrow::Cow;

use super::Row;
use crate::error::{Error, ErrorKind, Result};
use crate::types::params::Params;
use crate::types::request::Request;

/// Returns a call's parameters without those that the provider lacks, and the names of the dropped ones.
///
/// # Errors
/// `UnsupportedParams` for a parameter that the provider lacks, unless the call lets parameters be dropped.
pub(super) fn without_unsupported<'a>(row: &Row, request: &'a Request) -> Result<(Cow<'a, Params>, Vec<String>)> {
    let mut params = Cow::Borrowed(&request.params);
    let mut dropped = Vec::new();
    for name in row.unsupported {
        let Some(value) = request.params.get(name) else { continue };
        if !asks_for_nothing(name, value) {
            drop_or_refuse(row.name, name, request.drop_params, &mut dropped)?;
        }
        params.to_mut().remove(name);
    }
    Ok((params, dropped))
}

/// Records that a parameter is dropped, or refuses the call.
///
/// # Errors
/// `UnsupportedParams` unless `drop_params` is set.
pub(super) fn drop_or_refuse(provider: &str, name: &str, drop_params: bool, dropped: &mut Vec<String>) -> Result<()> {
    drop_or_refuse_because(provider, name, "", drop_params, dropped)
}

/// Records that a parameter is dropped because of its value, or refuses the call. In the message, `why` follows the
/// parameter's name.
///
/// # Errors
/// `UnsupportedParams` unless `drop_params` is set.
pub(super) fn drop_or_refuse_because(
    provider: &str,
    name: &str,
    why: &str,
    drop_params: bool,
    dropped: &mut Vec<String>,
) -> Result<()> {
    if !drop_params {
        let message = format!("{provider} has no parameter {name}{why}; drop_params=True leaves it out");
        return Err(Error::new(ErrorKind::UnsupportedParams, message));
    }
    dropped.push(name.to_owned());
    Ok(())
}

/// Reason for refusing a call with a tool that takes text: <https://platform.openai.com/docs/guides/function-calling#custom-tools>.
pub(super) const CUSTOM_TOOL: &str = " with a custom tool of OpenAI's kind in it";

/// Returns true if a value requests what happens anyway where the parameter does not exist. Programs that were written for
/// OpenAI send such values.
pub(super) fn asks_for_nothing(name: &str, value: &[u8]) -> bool {
    match name {
        _ if value == b"null" => true,
        "n" => value == b"1",
        "logprobs" | "store" => value == b"false",
        "top_logprobs" => value == b"0",
        "parallel_tool_calls" => value == b"true",
        "service_tier" => value == br#""auto""#,
        "logit_bias" => value == b"{}",
        "frequency_penalty" | "presence_penalty" => {
            serde_json::from_slice::<f64>(value).is_ok_and(|penalty| penalty == 0.0)
        }
        "modalities" => serde_json::from_slice::<Vec<Cow<str>>>(value).is_ok_and(|kinds| kinds == ["text"]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_anyway_may_be_asked_for() {
        let nothing = [
            ("n", "1"),
            ("store", "false"),
            ("presence_penalty", "0"),
            ("modalities", r#"[ "text" ]"#),
            ("user", "null"),
        ];
        assert!(nothing.iter().all(|(name, value)| asks_for_nothing(name, value.as_bytes())));
        let something = [("n", "2"), ("store", "true"), ("modalities", r#"["text","audio"]"#), ("user", r#""u""#)];
        assert!(!something.iter().any(|(name, value)| asks_for_nothing(name, value.as_bytes())));
    }
}
