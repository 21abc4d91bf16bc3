//! Adapts the calls of a conversation and their results to a host: each call has a unique id in the host's grammar, its
//! result has the same id; tools have the names that the host is sent; arguments are an object.
//!
//! Histories come from other hosts, from caches and from programs. Ids of other hosts are too long or have other letters;
//! some hosts give none, or the same one to each call of an answer.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde_json::value::RawValue;

use super::super::edit::{self, Edited};
use super::arguments;
use super::grammar::Grammar;
use super::names::Renamed;
use crate::types::object::{array, quoted};

/// Returns true if messages hold calls or results.
pub(in crate::providers) fn has_calls(messages: &[u8]) -> bool {
    /// `tool_calls` of an answer, `tool_call_id` of a result.
    static CALL: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"tool_call"));
    CALL.find(messages).is_some()
}

/// The calls of a conversation that is read from its beginning.
pub(in crate::providers) struct Calls<'a> {
    grammar: &'a Grammar,
    renamed: &'a Renamed,
    /// Ids in use, as they are sent to the host.
    taken: HashSet<String>,
    /// Calls without a result so far: the caller's id, and the one that is sent.
    open: VecDeque<(String, String)>,
    /// Calls that have a result, the last one for each of the caller's ids.
    answered: Vec<(String, String)>,
    /// Number of calls so far.
    count: usize,
}

impl<'a> Calls<'a> {
    pub fn new(grammar: &'a Grammar, renamed: &'a Renamed) -> Self {
        Self { grammar, renamed, taken: HashSet::new(), open: VecDeque::new(), answered: Vec::new(), count: 0 }
    }

    /// Reads the next message, and changes it if necessary.
    pub fn message(&mut self, message: &mut Edited) {
        match message.string("role").as_deref() {
            Some("assistant") => {
                message.remove(|name, value| name == "tool_calls" && matches!(value, "null" | "[]"));
                message
                    .edit("tool_calls", |calls| edit::list(calls, |call| edit::object(call, |call| self.call(call))));
            }
            Some("tool") => {
                let id = self.result(&caller_id(message));
                message.set_string("tool_call_id", &id);
                self.rename(message);
            }
            Some("function") => self.rename(message),
            _ => {}
        }
    }

    fn call(&mut self, call: &mut Edited) {
        // The index of a call in a stream, which hosts with a closed schema refuse.
        call.remove(|name, _| name == "index");
        let original = caller_id(call);
        let id = self.next_id(&original);
        call.set_string("id", &id);
        self.open.push_back((original, id));
        if call.some("type").is_none() && call.some("function").is_some() {
            call.set_string("type", "function");
        }
        call.edit("custom", |custom| edit::object(custom, |custom| self.rename(custom)));
        call.edit("function", |function| {
            edit::object(function, |function| {
                self.rename(function);
                let arguments = arguments::text(function.get("arguments")).into_owned();
                let original = function.string("arguments");
                // The model's own text is kept, white space included.
                if original.as_deref().is_none_or(|original| original.trim() != arguments) {
                    function.set_string("arguments", &arguments);
                }
            })
        });
    }

    fn rename(&self, named: &mut Edited) {
        if let Some(name) = named.string("name") {
            named.set_string("name", &self.renamed.sent_name_of_call(&self.grammar.names, &name));
        }
    }

    /// Returns an unused id for the next call.
    fn next_id(&mut self, original: &str) -> String {
        self.count += 1;
        let generated;
        let wanted = match original {
            "" => {
                generated = format!("call_{}", self.count);
                &generated
            }
            original => original,
        };
        let id = self.grammar.ids.unique(wanted, |id| self.taken.contains(id)).into_owned();
        self.taken.insert(id.clone());
        id
    }

    /// Returns the id of the call that a result belongs to: the first call with this id that has no result yet. Where there
    /// are no ids, results follow the order of the calls.
    fn result(&mut self, original: &str) -> String {
        let index = self.open.iter().position(|(id, _)| id == original);
        let index = index.or_else(|| (original.is_empty() && !self.open.is_empty()).then_some(0));
        if let Some((original, id)) = index.and_then(|index| self.open.remove(index)) {
            self.answered.retain(|(known, _)| *known != original);
            self.answered.push((original, id.clone()));
            return id;
        }
        match self.answered.iter().find(|(known, _)| known == original) {
            Some((_, id)) => id.clone(),
            // A result without a call: the host or the wire decides about it.
            None if original.is_empty() => String::new(),
            None => self.grammar.ids.unique(original, |_| false).into_owned(),
        }
    }
}

/// Merges several results of one call into the first, in order and without repetitions. `None` if each call has at most one.
///
/// Wires with blocks refuse a second result: <https://github.com/sipeed/picoclaw/issues/1793>.
pub(super) fn one_result_a_call(messages: &str) -> Option<String> {
    let items: Vec<&RawValue> = serde_json::from_str(messages).ok()?;
    let mut written: Vec<Cow<str>> = Vec::with_capacity(items.len());
    let mut results: HashMap<String, usize> = HashMap::new();
    for item in &items {
        let json = item.get();
        let message = Edited::of(json).filter(|message| message.string("role").as_deref() == Some("tool"));
        let id = message.as_ref().and_then(|message| message.string("tool_call_id")).filter(|id| !id.is_empty());
        if let (Some(more), Some(id)) = (message, id) {
            match results.entry(id) {
                Entry::Occupied(first) => {
                    let first = &mut written[*first.get()];
                    if let Some(both) = edit::object(first, |first| add_result(first, &more)) {
                        *first = both.into();
                    }
                    continue;
                }
                Entry::Vacant(first) => drop(first.insert(written.len())),
            }
        }
        written.push(json.into());
    }
    (written.len() < items.len()).then(|| array(|list| written.iter().for_each(|message| list.push_raw(&**message))))
}

/// Adds the content of a second result to the first: texts after a line break, anything else as parts. For the other
/// members the last value wins.
fn add_result(first: &mut Edited, more: &Edited) {
    for name in ["is_error", "status", "cache_control"] {
        if let Some(value) = more.some(name) {
            first.set(name, value.to_owned());
        }
    }
    let Some(content) = more.some("content").filter(|content| Some(*content) != first.some("content")) else { return };
    let both = match (first.string("content"), more.string("content")) {
        (Some(one), Some(other)) => quoted(&format!("{one}\n{other}")),
        _ => {
            let contents = first.some("content").into_iter().chain([content]);
            array(|list| {
                contents.for_each(|content| match serde_json::from_str::<Vec<&RawValue>>(content) {
                    Ok(parts) => parts.iter().for_each(|part| list.push_raw(part.get())),
                    Err(_) => list.push_object(|part| {
                        part.put("type", "text");
                        part.put_raw("text", content);
                    }),
                })
            })
        }
    };
    first.set("content", both);
}

/// Returns the id of a call, or of a result's call. Some hosts use numbers.
fn caller_id(object: &Edited) -> String {
    let json = object.some("id").or(object.some("tool_call_id")).unwrap_or("\"\"");
    let is_number = || serde_json::from_str::<&RawValue>(json).is_ok_and(|raw| raw.get().parse::<f64>().is_ok());
    serde_json::from_str(json).ok().or_else(|| is_number().then(|| json.to_owned())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::grammar::{NAMES, Words};
    use super::*;
    use serde_json::{Value, json};

    const BEDROCK: Words = Words { marks: Some("_.:-"), ..NAMES };

    fn told(grammar: &Grammar, messages: Value) -> Value {
        let renamed = Renamed::default();
        let mut calls = Calls::new(grammar, &renamed);
        let messages = messages.to_string();
        let told = edit::list(&messages, |message| edit::object(message, |message| calls.message(message)));
        serde_json::from_str(&told.unwrap_or(messages)).unwrap()
    }

    fn call(id: Value) -> Value {
        json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}})
    }

    fn result(id: Value) -> Value {
        json!({"role": "tool", "tool_call_id": id, "content": "x"})
    }

    /// The ids of the calls and of the results, in their order.
    fn ids(messages: &Value) -> (Vec<&str>, Vec<&str>) {
        let messages = messages.as_array().unwrap();
        let calls = messages.iter().filter_map(|message| message["tool_calls"].as_array()).flatten();
        let results = messages.iter().filter_map(|message| message["tool_call_id"].as_str());
        (calls.filter_map(|call| call["id"].as_str()).collect(), results.collect())
    }

    #[test]
    fn ids_are_in_the_grammar_and_the_same_for_call_and_result() {
        let long = "call_".to_owned() + &"A".repeat(80);
        for given in ["call_1|fc_2", "functions/f#0", &long] {
            let grammar = Grammar { ids: BEDROCK, ..Grammar::HOSTED };
            let told = told(
                &grammar,
                json!([{"role": "assistant", "tool_calls": [call(given.into())]}, result(given.into())]),
            );
            let (calls, results) = ids(&told);
            assert_eq!(calls, results);
            assert!(BEDROCK.accept(calls[0]), "{calls:?}");
        }
    }

    #[test]
    fn empty_absent_and_repeated_ids_become_different_ones_and_results_follow_in_order() {
        let without = json!({"function": {"name": "f"}});
        for calls in [
            [call("".into()), call("".into())],
            [call("a".into()), call("a".into())],
            [call(Value::Null), without],
            [call(1.into()), call(1.into())],
        ] {
            let id = calls[0]["id"].clone();
            let turn =
                [json!({"role": "assistant", "content": null, "tool_calls": calls}), result(id.clone()), result(id)];
            let told = told(&Grammar::HOSTED, Value::from_iter(turn.iter().chain(&turn).cloned()));
            let (calls, results) = ids(&told);
            assert_eq!(calls, results);
            assert_eq!(calls.iter().collect::<HashSet<_>>().len(), 4, "{calls:?}");
            assert!(
                told[0]["tool_calls"][1]["type"] == "function"
                    && told[0]["tool_calls"][1]["function"]["arguments"] == "{}"
            );
        }
    }

    #[test]
    fn second_results_of_a_call_are_added_to_the_first() {
        let tool = |id: &str, content: Value| json!({"role": "tool", "tool_call_id": id, "content": content});
        let joined = |messages: Value| {
            let joined = one_result_a_call(&messages.to_string());
            joined.map(|joined| serde_json::from_str::<Value>(&joined).unwrap())
        };
        let text = |text: &str| json!({"type": "text", "text": text});
        for (one, other, both) in [
            (json!("1"), json!("2"), json!("1\n2")),
            (json!("1"), json!("1"), json!("1")),
            (json!("1"), json!([text("2")]), json!([text("1"), text("2")])),
            (json!([text("1")]), json!([text("2")]), json!([text("1"), text("2")])),
            (json!([]), json!("2"), json!([text("2")])),
            (json!(null), json!("2"), json!([text("2")])),
        ] {
            let user = json!({"role": "user", "content": "go on"});
            let messages = json!([tool("a", one.clone()), tool("b", json!("x")), user, tool("a", other)]);
            assert_eq!(joined(messages), Some(json!([tool("a", both), tool("b", json!("x")), user])), "{one}");
        }
        assert_eq!(
            joined(json!([tool("a", json!("1")), tool("b", json!("1")), tool("", json!("")), tool("", json!(""))])),
            None
        );
        let mut failed = tool("a", json!("no"));
        failed["is_error"] = true.into();
        assert_eq!(joined(json!([tool("a", json!("1")), failed])).unwrap()[0]["is_error"], true);
    }

    #[test]
    fn what_is_right_stays_as_it_is() {
        let messages = json!([
            {"role": "assistant", "content": null, "tool_calls": [call("a".into()), call("b".into())]},
            result("b".into()), result("a".into()), {"role": "user", "content": "go on"},
        ]);
        assert_eq!(told(&Grammar::HOSTED, messages.clone()), messages);
        let empty = json!([{"role": "assistant", "content": "a", "tool_calls": []}]);
        assert_eq!(told(&Grammar::HOSTED, empty), json!([{"role": "assistant", "content": "a"}]));
    }
}
