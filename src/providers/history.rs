//! Adapts the messages of an OpenAI-shaped call to the host that they are sent to.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Row;
use super::edit::{self, Edited};
use super::normalise::{ListContent, own_reasoning};
use super::pieces::{TextPart, join_pieces};
use super::tools::history::{Calls, has_calls};
use super::tools::names::Renamed;
use crate::types::members::Members;
use crate::types::object::ArrayWriter;

static ASSISTANT: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"assistant\""));
static DEVELOPER: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"developer\""));
static SPECIFIC: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"provider_specific_fields\""));
/// The beginning of `reasoning_content` and `reasoning_details` too.
static REASONING: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"reasoning"));
/// The beginning of `thinking`, `thinking_blocks` and `thought`.
static THINKING: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"th"));
/// A member of OpenAI's own answers beside text and calls; `refusal` and `annotations` are in each of them.
static REFUSAL: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"refusal\""));
static ANNOTATIONS: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"annotations\""));

/// Returns `messages` as the host takes them; `None` if nothing has to change.
///
/// - Content that came as a list goes back to the same provider as that list, unless the caller changed its text.
/// - `reasoning_content` that only repeats `reasoning` is taken out; strict hosts refuse unknown names.
/// - Members that other hosts have in their answers are taken out where they are refused, whatever their value; a refusal
///   becomes the text. Many users name any host `openai` with another base URL (`is_home` returns true for OpenAI's own):
///   members that such a host may have written itself go back to it.
/// - `provider_specific_fields`, `thinking_blocks` and the `annotations` that came with them are no part of OpenAI's format.
/// - Calls and their results have ids and names in the host's grammar.
/// - `developer` becomes `system` for a host without that role.
pub(super) fn adapt_messages(
    row: &Row,
    is_home: impl FnOnce() -> bool,
    renamed: &Renamed,
    messages: &[u8],
) -> Option<String> {
    let has = |finder: &Finder| finder.find(messages).is_some();
    let has_developer = !row.has_developer_role && has(&DEVELOPER);
    // Most large requests have no earlier answers: they hold a picture, or a text to be read.
    let has_answers = has(&ASSISTANT);
    let has_foreign = || {
        let is_refused = |name: &str| row.refused_in_history.contains(&name);
        [&SPECIFIC, &REASONING, &THINKING].into_iter().any(|finder| has(finder))
            || is_refused("refusal") && has(&REFUSAL)
            || is_refused("annotations") && has(&ANNOTATIONS)
    };
    let is_foreign = has_answers && has_foreign();
    let has_calls = has_answers && has_calls(messages);
    if !(has_developer || is_foreign || has_calls) {
        return None;
    }
    let is_home = is_home();
    let mut calls = Calls::new(&row.tools, renamed);
    edit::list(std::str::from_utf8(messages).ok()?, |message| {
        edit::object(message, |message| {
            if is_foreign {
                clean(row, is_home, message);
            }
            if has_calls {
                calls.message(message);
            }
            if has_developer && message.string("role").as_deref() == Some("developer") {
                message.set_string("role", "system");
            }
        })
    })
}

/// Removes the members of an answer that the host refuses.
fn clean(row: &Row, is_home: bool, message: &mut Edited) {
    let content = message.string("content");
    let specific = message.some("provider_specific_fields").map(str::to_owned);
    let native = specific.as_deref().and_then(|fields| native_content(row, fields, content.as_deref()));

    let repeated = match (message.string("reasoning_content"), &native) {
        // The list has it too.
        (Some(reasoning), Some(native)) => reasoning == native.reasoning,
        (Some(reasoning), None) => own_reasoning(|name| message.some(name)) == Some(reasoning),
        (None, _) => false,
    };
    // Beside the fields of a native wire, the annotations are its citations, converted by this library.
    let is_converted = specific.is_some();
    let is_native = is_converted || message.some("thinking_blocks").is_some();
    let refused = if row.name == "openai" && !is_home && !is_native { &[] } else { row.refused_in_history };
    let refusal = message.string("refusal").filter(|refusal| !refusal.is_empty());
    message.remove(|name, _| match name {
        "provider_specific_fields" | "thinking_blocks" => true,
        "annotations" if is_converted => true,
        name if refused.contains(&name) => true,
        "reasoning_content" => repeated,
        _ => false,
    });
    match (native, refusal) {
        (Some(native), _) => message.set("content", native.list),
        // The refusal stands in place of an answer.
        (None, Some(refusal)) if refused.contains(&"refusal") && content.is_none_or(|text| text.is_empty()) => {
            message.set_string("content", &refusal);
        }
        _ => {}
    }
}

/// Content as the list that it came as.
struct Native {
    list: String,
    /// The reasoning in the list.
    reasoning: String,
}

/// Returns the list that content came as, if this host made it and the caller has not changed its text.
fn native_content(row: &Row, fields: &str, content: Option<&str>) -> Option<Native> {
    let fields = Members::of(fields.as_bytes()).ok()?;
    let native = Members::of(fields.some(row.name)?.as_bytes()).ok()?;
    let list = native.some("content")?;
    let ListContent { text, reasoning, .. } = ListContent::of(list)?;
    // Text of a stream before its first list is in none of the lists.
    let before = content.unwrap_or_default().strip_suffix(&*text)?;
    let list = match before {
        "" => join_pieces(list),
        _ if text.is_empty() => return None,
        before => with_text_before(before, &join_pieces(list))?,
    };
    Some(Native { list, reasoning })
}

/// Returns a list of parts behind a part with this text.
fn with_text_before(text: &str, list: &str) -> Option<String> {
    let parts: Vec<&RawValue> = serde_json::from_str(list).ok()?;
    let mut whole = ArrayWriter::with_capacity(text.len() + list.len() + 64);
    whole.push(&TextPart::of(text));
    parts.iter().for_each(|part| whole.push_raw(part.get()));
    Some(whole.finish_text())
}

/// Returns `messages` with each refusal as the text of its message, for wires without refusals: it stands in place of an
/// answer. `None` if there is no refusal.
pub(super) fn refusals_as_text(messages: &[u8]) -> Option<Vec<u8>> {
    static REFUSAL: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"refusal\""));
    REFUSAL.find(messages)?;
    let mut messages: Vec<Value> = serde_json::from_slice(messages).ok()?;
    for message in messages.iter_mut().filter_map(Value::as_object_mut) {
        for part in message.get_mut("content").and_then(Value::as_array_mut).into_iter().flatten() {
            if part["type"] == "refusal" {
                *part = json!({"type": "text", "text": part["refusal"]});
            }
        }
        let is_silent = match message.get("content") {
            None | Some(Value::Null) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Array(parts)) => parts.is_empty(),
            Some(_) => false,
        };
        if let Some(refusal) = message.shift_remove("refusal").filter(|refusal| is_silent && refusal.is_string()) {
            message.insert("content".into(), refusal);
        }
    }
    serde_json::to_vec(&messages).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(provider: &str, message: Value) -> Value {
        sent_to(provider, true, message)
    }

    fn sent_to(provider: &str, is_home: bool, message: Value) -> Value {
        let row = crate::providers::lookup(provider).unwrap().row();
        let messages = json!([{"role": "user", "content": "hi"}, message]).to_string();
        let cleaned = adapt_messages(row, || is_home, &Renamed::default(), messages.as_bytes()).unwrap_or(messages);
        serde_json::from_str::<Value>(&cleaned).unwrap()[1].take()
    }

    #[test]
    fn a_list_goes_back_where_it_came_from() {
        let list =
            json!([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "a"}]);
        let message = json!({"role": "assistant", "content": "a", "reasoning_content": "hm", "provider_specific_fields": {"mistral": {"content": list}}});
        assert_eq!(sent("mistral", message.clone()), json!({"role": "assistant", "content": list}));
        assert_eq!(sent("openai", message.clone())["content"], "a");
        let mut changed = message;
        changed["content"] = "b".into();
        assert_eq!(sent("mistral", changed)["content"], "b");
    }

    #[test]
    fn what_a_stream_brought_goes_back_as_what_the_plain_call_brought() {
        let thinking = |text: &str| json!({"type": "thinking", "thinking": [{"type": "text", "text": text}]});
        let text = |text: &str| json!({"type": "text", "text": text});
        let list = json!([thinking("h"), thinking("m"), text("3"), text("9")]);
        let message = |content: &str| json!({"role": "assistant", "content": content, "reasoning_content": "hm", "provider_specific_fields": {"mistral": {"content": list}}});
        assert_eq!(sent("mistral", message("39"))["content"], json!([thinking("hm"), text("39")]));
        assert_eq!(sent("mistral", message("A: 39"))["content"], json!([text("A: "), thinking("hm"), text("39")]));
        assert_eq!(sent("mistral", message("40"))["content"], "40");
        assert_eq!(sent("databricks", message("39"))["content"], "39");
    }

    #[test]
    fn what_a_host_refuses_in_an_answer_of_openais_is_left_out() {
        let message = json!({"role": "assistant", "content": "x", "refusal": null, "annotations": [], "tool_calls": [], "audio": null});
        for provider in ["mistral", "groq", "cerebras", "fireworks_ai"] {
            assert_eq!(sent(provider, message.clone()), json!({"role": "assistant", "content": "x"}), "{provider}");
        }
        let refused = json!({"role": "assistant", "content": null, "refusal": "I will not."});
        assert_eq!(sent("mistral", refused.clone()), json!({"role": "assistant", "content": "I will not."}));
        assert_eq!(sent("openai", refused.clone()), refused);
    }

    #[test]
    fn the_developer_is_the_system_where_a_host_knows_no_developer() {
        let message = json!({"role": "developer", "content": "\"developer\""});
        for provider in ["openai", "azure", "groq", "openrouter", "github", "openai_compatible"] {
            assert_eq!(sent(provider, message.clone()), message, "{provider}");
        }
        for provider in ["mistral", "deepseek", "dashscope", "zai", "moonshot", "vllm", "ollama", "together_ai"] {
            assert_eq!(
                sent(provider, message.clone()),
                json!({"role": "system", "content": "\"developer\""}),
                "{provider}"
            );
        }
    }

    #[test]
    fn reasoning_goes_back_under_its_own_name_only() {
        let message = json!({"role": "assistant", "content": "a", "reasoning": "hm", "reasoning_content": "hm"});
        assert_eq!(sent("groq", message), json!({"role": "assistant", "content": "a", "reasoning": "hm"}));
        let message = json!({"role": "assistant", "content": "a", "reasoning_content": "hm"});
        assert_eq!(sent("deepseek", message.clone()), message);
    }

    #[test]
    fn reasoning_does_not_go_where_it_is_refused() {
        let plain = json!({"role": "assistant", "content": "a"});
        let with = |fields: Value| {
            let mut message = plain.clone();
            message.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            message
        };
        let message = with(json!({"reasoning_content": "hm"}));
        for provider in ["openai", "azure", "groq", "cerebras", "mistral"] {
            assert_eq!(sent(provider, message.clone()), plain, "{provider}");
        }
        let message = with(json!({"reasoning": "hm", "reasoning_details": [{"text": "hm"}]}));
        assert_eq!(sent("openai", message.clone()), plain);
        assert_eq!(sent("groq", message.clone()), with(json!({"reasoning": "hm"})));
        assert_eq!(sent("openrouter", message.clone()), message);
    }

    #[test]
    fn any_host_behind_openai_s_name_gets_its_own_reasoning_back() {
        let own = json!({"role": "assistant", "content": "a", "reasoning_content": "hm"});
        assert_eq!(sent_to("openai", false, own.clone()), own);
        let mut native = own;
        native["provider_specific_fields"] = json!({"anthropic": {"content": []}});
        assert_eq!(sent_to("openai", false, native), json!({"role": "assistant", "content": "a"}));
    }

    #[test]
    fn a_refusal_is_text_where_there_are_none() {
        let text = |message: Value| {
            let text = refusals_as_text(json!([message]).to_string().as_bytes()).unwrap();
            serde_json::from_slice::<Value>(&text).unwrap()[0].clone()
        };
        let expected = json!({"role": "assistant", "content": "no"});
        assert_eq!(text(json!({"role": "assistant", "content": null, "refusal": "no"})), expected);
        assert_eq!(text(json!({"role": "assistant", "refusal": "no"})), expected);
        assert_eq!(text(json!({"role": "assistant", "content": "no", "refusal": "not this"})), expected);
        assert_eq!(text(json!({"role": "assistant", "content": "no", "refusal": null})), expected);
        assert_eq!(
            text(json!({"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}))["content"],
            json!([{"type": "text", "text": "no"}])
        );
        assert_eq!(refusals_as_text(b"[]"), None);
    }
}
