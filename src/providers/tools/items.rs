//! Tools and their calls on OpenAI's Responses, where both are items with their name at the top: the same names and the
//! same grammar as in chat completions.
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

/// Ids that tie a call to its result: `string too long. Expected a string with maximum length 64`.
const CALL_IDS: Words = Words { most: 64, ..ANY };

/// The parameters of a call with the tools, the choice among them and the calls of its input as a host takes them.
pub(in crate::providers) fn acceptable<'a>(row: &Row, renamed: &Renamed, params: &'a Params) -> Cow<'a, Params> {
    let text = |name: &str| params.get(name).and_then(|json| std::str::from_utf8(json).ok());
    let names = row.tools.names;
    // Whoever takes any name takes any id.
    let is_free = names.marks.is_none();
    let mut changed = Cow::Borrowed(params);
    let tool = |tool: &str| edit::object(tool, |tool| told(renamed, tool));
    let written = [
        ("tools", text("tools").filter(|_| !renamed.is_empty()).and_then(|tools| edit::list(tools, tool))),
        (
            "tool_choice",
            text("tool_choice").filter(|_| !renamed.is_empty()).and_then(|choice| {
                edit::object(choice, |choice| {
                    told(renamed, choice);
                    choice.edit("tools", |tools| edit::list(tools, tool));
                })
            }),
        ),
        (
            "input",
            text("input")
                .filter(|input| !is_free && input.starts_with('['))
                .and_then(|input| edit::list(input, |item| edit::object(item, |item| call(&names, renamed, item)))),
        ),
    ];
    for (name, json) in written {
        if let Some(json) = json {
            changed.to_mut().set(name, json.as_bytes());
        }
    }
    changed
}

/// Gives a tool, or the choice of one, the name that the host is told.
fn told(renamed: &Renamed, tool: &mut Edited) {
    if tool.string("type").is_some_and(|kind| KINDS.contains(&kind.as_str())) {
        rename(tool, |given| renamed.told(given));
    }
}

/// The same for a call of the input, and an id that the host takes for it and for its result.
fn call(names: &Words, renamed: &Renamed, item: &mut Edited) {
    let kind = item.string("type").unwrap_or_default();
    if !matches!(&*kind, "function_call" | "custom_tool_call" | "function_call_output" | "custom_tool_call_output") {
        return;
    }
    if let Some(name) = item.string("name") {
        item.set_string("name", &renamed.told_of_call(names, &name));
    }
    if let Some(id) = item.string("call_id").filter(|id| !id.is_empty()) {
        item.set_string("call_id", &CALL_IDS.unique(&id, |_| false));
    }
}

/// A response with the caller's names in its calls; `None`: they are, or there are none.
pub(in crate::providers) fn restored(renamed: &Renamed, response: &str) -> Option<String> {
    edit::object(response, |response| {
        response.edit("output", |output| edit::list(output, |item| edit::object(item, |item| given(renamed, item))))
    })
}

fn given(renamed: &Renamed, item: &mut Edited) {
    if item.string("type").is_some_and(|kind| matches!(&*kind, "function_call" | "custom_tool_call")) {
        rename(item, |told| renamed.given(told));
    }
}

/// A stream of events with the caller's names in its calls.
pub(in crate::providers) struct RestoredEvents {
    /// The stream.
    pub decoder: Box<dyn StreamDecoder>,
    /// The tools that go by another name there.
    pub renamed: Renamed,
}

impl StreamDecoder for RestoredEvents {
    fn event(&mut self, name: &[u8], data: Bytes, chunks: &mut Vec<Bytes>) -> Result<()> {
        let before = chunks.len();
        let result = self.decoder.event(name, data, chunks);
        for chunk in &mut chunks[before..] {
            let Ok(event) = std::str::from_utf8(chunk) else { continue };
            let restored = edit::object(event, |event| {
                event.edit("item", |item| edit::object(item, |item| given(&self.renamed, item)));
                event.edit("response", |response| restored(&self.renamed, response));
                // Of `response.function_call_arguments.done`.
                if event.some("arguments").is_some() {
                    rename(event, |told| self.renamed.given(told));
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
