//! OpenAI's parameters that a provider lacks: refused by name, or dropped and listed when the caller wants that.

use std::borrow::Cow;

use super::Row;
use crate::error::{Error, ErrorKind, Result};
use crate::types::params::Params;
use crate::types::request::Request;

/// The call's parameters without those that the provider lacks, and the names of those.
/// An error instead, unless the caller agreed to their being dropped.
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

/// Notes that a parameter is dropped, or refuses the call that has it.
pub(super) fn drop_or_refuse(provider: &str, name: &str, drop_params: bool, dropped: &mut Vec<String>) -> Result<()> {
    drop_or_refuse_because(provider, name, "", drop_params, dropped)
}

/// The same for a value that cannot be had of a parameter that can: `why` follows the parameter's name in the message.
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

/// Why a call is refused that has a tool which takes text: <https://platform.openai.com/docs/guides/function-calling#custom-tools>.
pub(super) const CUSTOM_TOOL: &str = " with a custom tool of OpenAI's kind in it";

/// Whether a parameter's value is what happens without it, wherever the parameter does not exist: programs that were
/// written for OpenAI say such things, and mean no more by it.
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
