//! Tools and their calls of OpenAI's Responses, where both are items with their name at the top: their names and ids follow
//! the same grammar as in chat completions.
//!
//! <https://platform.openai.com/docs/api-reference/responses>

use std::borrow::Cow;

use bytes::Bytes;

use super::super::edit::{self, Edited};
use super::super::{Row, StreamDecoder};
use super::grammar::{ANY, Words};
use super::names::{KINDS, Renamed, rename};
use crate::error::Result;
use crate::types::params::Params;

/// Grammar of the ids of calls and results: `string too long. Expected a string with maximum length 64`.
const CALL_IDS: Words = Words { max_length: 64, ..ANY };

/// Returns parameters with the tools, the choice among them and the calls of the input as a host takes them.
pub(in crate::providers) fn adapt_params<'a>(row: &Row, renamed: &Renamed, params: &'a Params) -> Cow<'a, Params> {
    let text = |name: &str| params.get(name).and_then(|json| std::str::from_utf8(json).ok());
    let names = row.tools.names;
    // A host that takes any name takes any id.
    let is_free = names.marks.is_none();
    let mut changed = Cow::Borrowed(params);
    let tool = |tool: &str| edit::object(tool, |tool| rename_tool(renamed, tool));
    let written = [
        ("tools", text("tools").filter(|_| !renamed.is_empty()).and_then(|tools| edit::list(tools, tool))),
        (
            "tool_choice",
            text("tool_choice").filter(|_| !renamed.is_empty()).and_then(|choice| {
                edit::object(choice, |choice| {
                    rename_tool(renamed, choice);
                    choice.edit("tools", |tools| edit::list(tools, tool));
                })
            }),
        ),
        (
            "input",
            text("input").filter(|input| !is_free && input.starts_with('[')).and_then(|input| {
                edit::list(input, |item| edit::object(item, |item| adapt_call(&names, renamed, item)))
            }),
        ),
    ];
    for (name, json) in written {
        if let Some(json) = json {
            changed.to_mut().set(name, json.as_bytes());
        }
    }
    changed
}

/// Sets a tool, or the choice of one, to the name that is sent.
fn rename_tool(renamed: &Renamed, tool: &mut Edited) {
    if tool.string("type").is_some_and(|kind| KINDS.contains(&kind.as_str())) {
        rename(tool, |name| renamed.sent_name(name));
    }
}

/// Sets a call or a result of the input to the name that is sent, and to an id that the host takes.
fn adapt_call(names: &Words, renamed: &Renamed, item: &mut Edited) {
    let kind = item.string("type").unwrap_or_default();
    if !matches!(&*kind, "function_call" | "custom_tool_call" | "function_call_output" | "custom_tool_call_output") {
        return;
    }
    if let Some(name) = item.string("name") {
        item.set_string("name", &renamed.sent_name_of_call(names, &name));
    }
    if let Some(id) = item.string("call_id").filter(|id| !id.is_empty()) {
        item.set_string("call_id", &CALL_IDS.unique(&id, |_| false));
    }
}

/// Restores the caller's names in a response's calls. `None` if nothing changes.
pub(in crate::providers) fn restore_names(renamed: &Renamed, response: &str) -> Option<String> {
    edit::object(response, |response| {
        response
            .edit("output", |output| edit::list(output, |item| edit::object(item, |item| restore_call(renamed, item))))
    })
}

fn restore_call(renamed: &Renamed, item: &mut Edited) {
    if item.string("type").is_some_and(|kind| matches!(&*kind, "function_call" | "custom_tool_call")) {
        rename(item, |name| renamed.original_name(name));
    }
}

/// Decoder that restores the caller's names in the calls of another decoder's events.
pub(in crate::providers) struct RestoredEvents {
    /// The decoder of the stream.
    pub decoder: Box<dyn StreamDecoder>,
    /// The tools that have another name at the host.
    pub renamed: Renamed,
}

impl StreamDecoder for RestoredEvents {
    fn event(&mut self, name: &[u8], data: Bytes, chunks: &mut Vec<Bytes>) -> Result<()> {
        let before = chunks.len();
        let result = self.decoder.event(name, data, chunks);
        for chunk in &mut chunks[before..] {
            let Ok(event) = std::str::from_utf8(chunk) else { continue };
            let restored = edit::object(event, |event| {
                event.edit("item", |item| edit::object(item, |item| restore_call(&self.renamed, item)));
                event.edit("response", |response| restore_names(&self.renamed, response));
                // `response.function_call_arguments.done` has a name beside its arguments.
                if event.some("arguments").is_some() {
                    rename(event, |name| self.renamed.original_name(name));
                }
            });
            if let Some(restored) = restored {
                *chunk = restored.into();
            }
        }
        result
    }

    fn is_shown(&self, chunk: &[u8]) -> bool {
        self.decoder.is_shown(chunk)
    }

    fn is_done(&self) -> bool {
        self.decoder.is_done()
    }

    fn is_complete(&self) -> bool {
        self.decoder.is_complete()
    }
}
