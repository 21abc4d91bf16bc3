//! Adapts tools and their calls to a host: names and ids follow its grammar, arguments are an object.
//!
//! - [`grammar`]: the names and ids that a host takes, as data of its row
//! - [`names`]: other names for tools whose names the host refuses
//! - [`history`]: the calls of a conversation, and their results
//! - [`answer`]: the calls of an answer, with the caller's names restored
//! - [`ids`]: unique ids for these calls
//! - [`arguments`]: the arguments of a call, in any form that a host writes them in
//! - [`items`]: the tools and calls of Responses, which have another format
//! - [`orphans`]: calls without a result, for the errors of providers that refuse them
//! - [`endpoint`]: all of it, around the chat endpoint of a wire of its own
//!
//! A call without tools costs a lookup of `tools`, and a search for calls in the history.

pub(super) mod answer;
pub(super) mod arguments;
pub(super) mod endpoint;
pub(super) mod grammar;
pub(super) mod history;
pub(super) mod ids;
pub(super) mod items;
pub(super) mod names;
pub(super) mod orphans;

use std::borrow::Cow;

use self::grammar::Grammar;
use self::history::Calls;
use self::names::Renamed;
use super::edit;
use crate::types::params::Params;

/// Returns parameters with the tools, the choice among them and the calls of the conversation as a host takes them.
pub(super) fn adapt_params<'a>(grammar: &Grammar, mut params: Cow<'a, Params>) -> Cow<'a, Params> {
    let renamed = Renamed::of(grammar, &params);
    renamed.rename_tools(&mut params);
    if let Some(messages) = params.get("messages").filter(|messages| history::has_calls(messages)) {
        let mut calls = Calls::new(grammar, &renamed);
        let messages = std::str::from_utf8(messages).unwrap_or_default();
        let written = edit::list(messages, |message| edit::object(message, |message| calls.message(message)));
        let joined = history::one_result_a_call(written.as_deref().unwrap_or(messages));
        if let Some(written) = joined.or(written) {
            params.to_mut().set("messages", written.as_bytes());
        }
    }
    params
}
