//! Normalises the calls of an answer in OpenAI's format: the caller's names of the tools, unique ids, and arguments that are
//! text.

use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;

use super::super::StreamDecoder;
use super::super::edit::{self, Edited};
use super::arguments;
use super::ids::Ids;
use super::names::{KINDS, Renamed, rename};
use crate::error::Result;

/// Normalises the calls of an answer or a chunk. `None` if nothing changes. `ids` are those of the same stream.
pub(in crate::providers) fn normalise_calls(renamed: &Renamed, ids: &mut Ids, json: &[u8]) -> Option<Bytes> {
    static CALLS: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"tool_calls\""));
    CALLS.find(json)?;
    let answer = std::str::from_utf8(json).ok()?;
    edit::object(answer, |answer| {
        let id = answer.string("id").unwrap_or_default();
        answer.edit("choices", |choices| {
            let mut position = 0;
            edit::list(choices, |choice| {
                position += 1;
                edit::object(choice, |choice| {
                    let index = choice.get("index").and_then(|index| index.parse().ok()).unwrap_or(position - 1);
                    for (part, is_whole) in [("message", true), ("delta", false)] {
                        choice.edit(part, |message| {
                            edit::object(message, |message| {
                                let mut of_message = Ids::default();
                                message.edit("tool_calls", |calls| {
                                    edit::list(calls, |call| {
                                        edit::object(call, |call| {
                                            match is_whole {
                                                true => of_message.whole(&id, index, call),
                                                false => ids.piece(&id, index, call),
                                            }
                                            normalise_function(renamed, call, is_whole);
                                        })
                                    })
                                });
                            })
                        });
                    }
                })
            })
        });
    })
    .map(Bytes::from)
}

fn normalise_function(renamed: &Renamed, call: &mut Edited, is_whole: bool) {
    for kind in KINDS {
        call.edit(kind, |called| {
            edit::object(called, |called| {
                rename(called, |name| renamed.original_name(name));
                if kind == "function" {
                    write_arguments(called, is_whole);
                }
            })
        });
    }
}

/// Makes arguments a string of JSON. Missing arguments become an empty object in a whole call alone: in a stream, they may
/// still come.
fn write_arguments(function: &mut Edited, is_whole: bool) {
    let arguments = function.get("arguments");
    let is_text = arguments.is_some_and(|arguments| arguments.starts_with('"'));
    if is_whole {
        // An object in a string stays as the model wrote it.
        let starts_object = |text: String| text.trim_start().starts_with('{');
        if !is_text || !function.string("arguments").is_some_and(starts_object) {
            let text = arguments::text(arguments).into_owned();
            function.set_string("arguments", &text);
        }
    } else if arguments == Some("null") {
        function.set_string("arguments", "");
    } else if arguments.is_some() && !is_text {
        let text = arguments::text(arguments).into_owned();
        function.set_string("arguments", &text);
    }
}

/// Decoder that normalises the calls in another decoder's chunks.
pub(in crate::providers) struct NormalisedCalls {
    /// The decoder of the stream.
    pub decoder: Box<dyn StreamDecoder>,
    /// The tools that have another name at the host.
    pub renamed: Renamed,
    /// The ids of the stream's calls.
    pub ids: Ids,
}

impl StreamDecoder for NormalisedCalls {
    fn event(&mut self, name: &[u8], data: Bytes, chunks: &mut Vec<Bytes>) -> Result<()> {
        let before = chunks.len();
        let result = self.decoder.event(name, data, chunks);
        for chunk in &mut chunks[before..] {
            if let Some(restored) = normalise_calls(&self.renamed, &mut self.ids, chunk) {
                *chunk = restored;
            }
        }
        result
    }

    fn is_shown(&self, chunk: &[u8]) -> bool {
        self.decoder.is_shown(chunk)
    }

    fn usage_so_far(&self) -> Option<Bytes> {
        self.decoder.usage_so_far()
    }

    fn is_done(&self) -> bool {
        self.decoder.is_done()
    }

    fn is_complete(&self) -> bool {
        self.decoder.is_complete()
    }
}

#[cfg(test)]
mod tests {
    use super::super::grammar::Grammar;
    use super::*;
    use crate::types::params::Params;
    use serde_json::{Value, json};

    fn read(renamed: &Renamed, part: &str, calls: Value) -> Value {
        let answer = json!({"choices": [{(part): {"tool_calls": calls}}], "x": 1}).to_string();
        let read = normalise_calls(renamed, &mut Ids::default(), answer.as_bytes()).unwrap_or(answer.into());
        let mut calls = serde_json::from_slice::<Value>(&read).unwrap()["choices"][0][part]["tool_calls"].take();
        for call in calls.as_array_mut().unwrap() {
            call.as_object_mut().unwrap().remove("id");
        }
        calls
    }

    #[test]
    fn names_are_the_callers_again() {
        let mut params = Params::default();
        let tools = json!([{"function": {"name": "a.b"}}, {"function": {"name": "c"}}, {"custom": {"name": "d:e"}}]);
        params.set("tools", tools.to_string().as_bytes());
        let renamed = Renamed::of(&Grammar::HOSTED, &params);
        for part in ["message", "delta"] {
            let calls = json!([{"function": {"name": "a_b", "arguments": "{}"}}, {"function": {"name": "c", "arguments": "{ }"}}, {"custom": {"name": "d_e", "input": ""}}]);
            let right = json!([{"function": {"name": "a.b", "arguments": "{}"}}, {"function": {"name": "c", "arguments": "{ }"}}, {"custom": {"name": "d:e", "input": ""}}]);
            assert_eq!(read(&renamed, part, calls), right);
        }
    }

    #[test]
    fn arguments_are_the_text_of_an_object() {
        let none = Renamed::default();
        for (given, whole, piece) in [
            (json!(null), "{}", ""),
            (json!(""), "{}", ""),
            (json!("null"), "{}", "null"),
            (json!({"a": 1.5}), r#"{"a":1.5}"#, r#"{"a":1.5}"#),
            (json!(r#"{"a": 1}"#), r#"{"a": 1}"#, r#"{"a": 1}"#),
            (json!(r#""{\"a\":1}""#), r#"{"a":1}"#, r#""{\"a\":1}""#),
        ] {
            let read = |part| {
                read(&none, part, json!([{"function": {"name": "f", "arguments": given}}]))[0]["function"]["arguments"]
                    .take()
            };
            assert_eq!((read("message"), read("delta")), (whole.into(), piece.into()), "{given}");
        }
        assert_eq!(
            read(&none, "message", json!([{"function": {"name": "f"}}])),
            json!([{"function": {"name": "f", "arguments": "{}"}}])
        );
        assert_eq!(read(&none, "delta", json!([{"function": {"name": "f"}}])), json!([{"function": {"name": "f"}}]));
    }
}
