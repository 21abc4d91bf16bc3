//! Tools and their calls, made such that a host takes them: names and ids in its grammar, arguments that are an object.
//!
//! - [`grammar`]: what a host takes for a name or an id: data of its row
//! - [`names`]: names of tools that it does not take
//! - [`history`]: the calls of a conversation, and their results
//! - [`answer`]: the calls of an answer, with the given names again
//! - [`ids`]: the ids of these calls, where there are none or the same
//! - [`arguments`]: what a call is given, however a host writes it
//! - [`items`]: the same on Responses, where tools and calls have another shape
//! - [`endpoint`]: all of it around a wire of its own
//!
//! A call without tools costs one look for their member, and one for calls in the history.

pub(super) mod answer;
pub(super) mod arguments;
pub(super) mod endpoint;
pub(super) mod grammar;
pub(super) mod history;
pub(super) mod ids;
pub(super) mod items;
pub(super) mod names;

use std::borrow::Cow;

use self::grammar::Grammar;
use self::history::Calls;
use self::names::Renamed;
use super::edit;
use crate::types::params::Params;

/// The parameters of a call with the tools, the choice among them and the calls of the conversation as a host takes them.
pub(super) fn acceptable<'a>(grammar: &Grammar, mut params: Cow<'a, Params>) -> Cow<'a, Params> {
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
