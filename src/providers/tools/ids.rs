//! Makes the ids of an answer's calls unique. Some hosts give none, an empty one, or the same one to all calls.
//!
//! <https://github.com/vercel/ai/issues/3420>

use super::super::edit::Edited;

/// Number of characters of an answer's id in the ids that are generated for its calls: some hosts that the calls may be sent
/// to next take 40 characters in all.
const ID_LENGTH: usize = 24;

/// The calls of a message or a stream so far.
#[derive(Debug, Default)]
pub(in crate::providers) struct Ids {
    calls: Vec<Call>,
}

#[derive(Debug)]
struct Call {
    choice: u64,
    index: Option<u64>,
    /// The id that the host gave.
    received: String,
    /// The id that the caller gets.
    unique: String,
    name: String,
    arguments: String,
}

impl Ids {
    /// Sets the id of a call of a whole answer. Generated ids begin with `answer`, the id of the answer, so that they are the
    /// same each time the answer is read.
    pub fn whole(&mut self, answer: &str, choice: u64, call: &mut Edited) {
        if let Some(received) = received_id(call) {
            self.begin(answer, choice, received, call);
        }
    }

    /// Sets the id of a piece of a call in a stream.
    pub fn piece(&mut self, answer: &str, choice: u64, call: &mut Edited) {
        let Some(received) = received_id(call) else { return };
        let function = call.some("function").or(call.some("custom")).and_then(Edited::of);
        let text = |name: &str| function.as_ref().and_then(|function| function.string(name)).unwrap_or_default();
        let (name, arguments) = (text("name"), text("arguments"));
        let index = index(call);
        let is_more = |known: &&mut Call| {
            let is_another = !name.is_empty() && known.is_whole() && (!arguments.is_empty() || known.index != index);
            known.choice == choice && !is_another
        };
        let known = match (&*received, index) {
            ("", index) => {
                let mut calls = self.calls.iter_mut().rev().filter(|known| known.choice == choice);
                let known = calls.find(|known| index.is_none() || known.index == index);
                known.filter(|known| index.is_some() || name.is_empty() || known.name == name).filter(is_more)
            }
            (received, index) => {
                let last = |is_same: &dyn Fn(&Call) -> bool| {
                    self.calls.iter().rposition(|known| known.choice == choice && is_same(known))
                };
                let same = last(&|known| known.received == received);
                // Some hosts generate an id for each piece, or send arguments under an index that is not their call's.
                let same = same.or_else(|| last(&|known| known.index == index).filter(|_| name.is_empty()));
                same.map(|position| &mut self.calls[position]).filter(|known| known.index == index || is_more(known))
            }
        };
        match known {
            Some(known) => {
                known.arguments += &arguments;
                if known.name.is_empty() {
                    known.name = name;
                }
                if known.received == received && known.unique != received {
                    call.set_string("id", &known.unique);
                }
            }
            // A piece of a call that has not begun is passed on unchanged.
            None if name.is_empty() && received.is_empty() => {}
            None => {
                self.begin(answer, choice, received, call);
                if let Some(begun) = self.calls.last_mut() {
                    (begun.index, begun.name, begun.arguments) = (index, name, arguments);
                }
            }
        }
    }

    /// Adds a call, and sets its id to a unique one.
    fn begin(&mut self, answer: &str, choice: u64, received: String, call: &mut Edited) {
        let position = self.calls.iter().filter(|known| known.choice == choice).count();
        let unique = match &*received {
            "" => {
                let usable = |letter: &char| letter.is_ascii_alphanumeric();
                let answer = answer.trim_start_matches("chatcmpl-");
                let letters: String = answer.chars().filter(usable).take(ID_LENGTH).collect();
                match (letters.is_empty(), choice) {
                    (true, _) => format!("call_{:024x}", fastrand::u128(..) >> 32),
                    (false, 0) => format!("call_{letters}_{position}"),
                    (false, choice) => format!("call_{letters}_{choice}_{position}"),
                }
            }
            received if self.calls.iter().any(|known| known.choice == choice && known.unique == received) => {
                format!("{received}_{position}")
            }
            received => received.to_owned(),
        };
        if unique != received {
            call.set_string("id", &unique);
        }
        self.calls.push(Call { choice, index: None, received, unique, name: String::new(), arguments: String::new() });
    }
}

impl Call {
    /// Returns true if all of its arguments have come.
    fn is_whole(&self) -> bool {
        !self.arguments.is_empty() && serde_json::from_str::<serde::de::IgnoredAny>(&self.arguments).is_ok()
    }
}

/// Returns the id of a call, empty if there is none; `None` if it is no string.
fn received_id(call: &Edited) -> Option<String> {
    call.some("id").map_or(Some(String::new()), |id| serde_json::from_str(id).ok())
}

fn index(call: &Edited) -> Option<u64> {
    call.some("index").and_then(|index| index.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::super::answer::normalise_calls;
    use super::super::names::Renamed;
    use super::*;
    use crate::types::accumulate::Accumulator;
    use serde_json::{Value, json};

    fn ids(message: &Value) -> Vec<&str> {
        message["tool_calls"].as_array().unwrap().iter().map(|call| call["id"].as_str().unwrap()).collect()
    }

    fn read(ids: &mut Ids, answer: &Value) -> Value {
        let answer = answer.to_string();
        let read = normalise_calls(&Renamed::default(), ids, answer.as_bytes());
        serde_json::from_slice(read.as_deref().unwrap_or(answer.as_bytes())).unwrap()
    }

    fn whole(calls: Value) -> Value {
        let answer = json!({"id": "chatcmpl-1-2", "choices": [{"index": 0, "message": {"tool_calls": calls}}]});
        read(&mut Ids::default(), &answer)["choices"][0]["message"].take()
    }

    /// The message that these pieces of calls make up.
    fn streamed(pieces: &[Value]) -> Value {
        let (mut ids, mut chunks) = (Ids::default(), Accumulator::default());
        for piece in pieces {
            let delta = json!({"tool_calls": [piece]});
            let chunk = json!({"id": "chatcmpl-1-2", "choices": [{"index": 0, "delta": delta}]});
            chunks.push(read(&mut ids, &chunk));
        }
        chunks.finish()["choices"][0]["message"].take()
    }

    fn call(id: Value, index: Option<u64>, arguments: &str) -> Value {
        let mut call = json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}});
        if let Some(index) = index {
            call["index"] = index.into();
        }
        call
    }

    #[test]
    fn each_call_has_an_id_of_its_own_streamed_and_not() {
        for (given, right) in [
            (json!(""), ["call_12_0", "call_12_1"]),
            (json!(null), ["call_12_0", "call_12_1"]),
            (json!("a"), ["a", "a_1"]),
        ] {
            let message = whole(json!([call(given.clone(), None, "{}"), call(given.clone(), None, "{}")]));
            assert_eq!(ids(&message), right, "{given}");
            // With an index or all the same, in pieces and in one.
            for (one, other) in [(Some(0), Some(1)), (Some(0), Some(0)), (None, None)] {
                if given == "a" && one == other {
                    continue;
                }
                let message = streamed(&[call(given.clone(), one, "{}"), call(given.clone(), other, "{}")]);
                assert_eq!(ids(&message), right, "{given} at {one:?}, {other:?}");
            }
            let more = |index: u64, id: &Value| json!({"index": index, "id": id, "function": {"arguments": ":1}"}});
            let empty = json!("");
            for id in [&empty, &given] {
                let begun = |index: u64| call(given.clone(), Some(index), "{\"x\"");
                let message = streamed(&[begun(0), more(0, id), begun(1), more(1, &empty)]);
                assert_eq!(ids(&message), right, "{given}");
                let arguments = |place: usize| message["tool_calls"][place]["function"]["arguments"].as_str();
                assert_eq!([arguments(0), arguments(1)], [Some("{\"x\":1}"); 2]);
            }
        }
    }

    #[test]
    fn ids_that_are_given_stay() {
        let begun = |id: &str, index: u64| call(id.into(), Some(index), "");
        let more = |id: &str, index: u64| json!({"index": index, "id": id, "function": {"arguments": "{}"}});
        for pieces in [
            [begun("a", 0), more("", 0), begun("b", 1), more("", 1)],
            [begun("a", 0), more("x", 0), begun("b", 1), more("y", 1)],
            [begun("a", 0), begun("b", 1), more("a", 7), more("b", 8)],
            [begun("a", 0), more("a", 0), begun("b", 0), more("b", 0)],
        ] {
            assert_eq!(ids(&streamed(&pieces)), ["a", "b"], "{pieces:?}");
        }
        let late = json!({"index": 0, "function": {"name": "f", "arguments": "{}"}});
        assert_eq!(ids(&streamed(&[json!({"index": 0, "id": "a"}), late])), ["a"]);
        assert_eq!(whole(json!([{"id": 5, "function": {"name": "f", "arguments": "{}"}}]))["tool_calls"][0]["id"], 5);
    }
}
