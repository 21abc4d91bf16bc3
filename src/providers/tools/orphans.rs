//! Calls of a conversation that have no result: why a provider may have refused it.

use std::collections::HashSet;

use serde_json::Value;

use crate::types::params::Params;

/// Returns a hint for a refused conversation in which a call has no result right after it. `None` if there is no such call.
///
/// Most providers refuse such a conversation, each in its own words, some of them in riddles ("the number of function response
/// parts should be equal to …"); servers of one's own take it, so that it cannot be refused before it is sent.
pub fn unanswered_call(params: &Params) -> Option<String> {
    let list = |name: &str| params.get(name).and_then(|json| serde_json::from_slice::<Vec<Value>>(json).ok());
    let (place, id) = match list("messages") {
        Some(messages) => in_messages(&messages)?,
        None => in_items(&list("input")?)?,
    };
    Some(format!(
        "{place} has a call without a result right after it ({id}): an interrupted conversation needs a result for each call, as \
         run_tools gives it by itself"
    ))
}

/// Finds a call in chat messages: results stand right after the message with their calls.
fn in_messages(messages: &[Value]) -> Option<(String, String)> {
    // Place and id of the calls that have no result so far.
    let mut open: Vec<(String, &str)> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        if message["role"] == "tool" {
            let id = message["tool_call_id"].as_str().unwrap_or_default();
            let answered = open.iter().position(|(_, call)| *call == id || call.is_empty() || id.is_empty());
            answered.map(|answered| open.remove(answered));
            continue;
        }
        if !open.is_empty() {
            break;
        }
        let calls = message["tool_calls"].as_array().into_iter().flatten().enumerate();
        open.extend(calls.map(|(call, value)| {
            (format!("messages[{index}].tool_calls[{call}]"), value["id"].as_str().unwrap_or_default())
        }));
    }
    open.into_iter().next().map(|(place, id)| (place, id.to_owned()))
}

/// Finds a call in the items of Responses: a result may stand anywhere after its call.
fn in_items(items: &[Value]) -> Option<(String, String)> {
    let is = |item: &Value, kinds: [&str; 2]| item["type"].as_str().is_some_and(|kind| kinds.contains(&kind));
    let mut answered = HashSet::new();
    let mut first = None;
    // From the end, so that the results of an item are known when it is reached.
    for (index, item) in items.iter().enumerate().rev() {
        let id = item["call_id"].as_str().unwrap_or_default();
        if is(item, ["function_call_output", "custom_tool_call_output"]) {
            answered.insert(id);
        } else if is(item, ["function_call", "custom_tool_call"]) && !answered.contains(id) {
            first = Some((format!("input[{index}]"), id.to_owned()));
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hint(name: &str, value: &Value) -> Option<String> {
        let mut params = Params::default();
        params.set(name, value.to_string().as_bytes());
        unanswered_call(&params)
    }

    fn calls(ids: &[&str]) -> Value {
        let calls: Vec<Value> = ids.iter().map(|id| json!({"id": id, "function": {"name": "f"}})).collect();
        json!({"role": "assistant", "tool_calls": calls})
    }

    fn result(id: &str) -> Value {
        json!({"role": "tool", "tool_call_id": id, "content": "x"})
    }

    #[test]
    fn messages() {
        let user = json!({"role": "user", "content": "x"});
        let found = |messages: &[Value]| hint("messages", &json!(messages));
        assert_eq!(found(&[user.clone(), calls(&["a", "b"]), result("b"), result("a"), user.clone()]), None);
        assert_eq!(found(&[calls(&[""]), result("x")]), None);
        assert_eq!(found(&[user.clone(), json!({"role": "assistant", "tool_calls": null}), json!(3)]), None);
        for messages in [
            vec![user.clone(), calls(&["a", "b"]), result("a")],
            vec![user.clone(), calls(&["a", "b"]), result("a"), user.clone(), result("b")],
        ] {
            let hint = found(&messages).unwrap();
            assert!(
                hint.starts_with("messages[1].tool_calls[1] has a call without a result right after it (b)"),
                "{hint}"
            );
        }
        assert_eq!(hint("messages", &json!("x")), None);
    }

    #[test]
    fn items() {
        let call = |id: &str| json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"});
        let output = |id: &str| json!({"type": "function_call_output", "call_id": id, "output": "x"});
        assert_eq!(hint("input", &json!([call("a"), call("b"), output("b"), {"role": "user"}, output("a")])), None);
        assert!(hint("input", &json!([call("a"), call("b"), output("a")])).unwrap().starts_with("input[1] has a call"));
        assert_eq!(hint("input", &json!("text")), None);
    }
}
