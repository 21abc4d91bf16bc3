//! Assistant messages that come back in the history of an OpenAI-shaped call, as their host wants to see them.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde_json::value::RawValue;

use super::Row;
use super::readable::{readable_content, rewrite};
use crate::types::members::Members;

static ASSISTANT: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"assistant\""));
static SPECIFIC: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"provider_specific_fields\""));
/// The beginning of `reasoning_content` and `reasoning_details` too.
static REASONING: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"reasoning"));
static THINKING: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"thinking_blocks\""));

/// `messages` without what we added to the answers they came from; `None` when nothing of it is in there.
///
/// - Content that came as a list goes back to the same provider as that list, unless the caller changed its text.
/// - `reasoning_content` that only repeats `reasoning` is taken out; strict hosts refuse names they do not know.
/// - What other hosts call their reasoning is taken out where it is refused. `openai` with a base URL elsewhere (`is_home`
///   says whether it is its own) is how many name any host: what that one may have said itself goes back to it.
/// - `provider_specific_fields`, `thinking_blocks` and the `annotations` that came with them are no part of OpenAI's format.
pub(super) fn without_our_additions(row: &Row, is_home: impl FnOnce() -> bool, messages: &[u8]) -> Option<String> {
    let has = |finder: &Finder| finder.find(messages).is_some();
    // They are answers, and a large request is mostly one without any: a picture, a text to be read.
    if !has(&ASSISTANT) || !(has(&SPECIFIC) || has(&REASONING) || has(&THINKING)) {
        return None;
    }
    let messages: Vec<&RawValue> = serde_json::from_slice(messages).ok()?;
    let is_home = is_home();
    let messages: Vec<String> = messages
        .iter()
        .map(|message| cleaned(row, is_home, message).unwrap_or_else(|| message.get().to_owned()))
        .collect();
    Some(format!("[{}]", messages.join(",")))
}

fn cleaned(row: &Row, is_home: bool, message: &RawValue) -> Option<String> {
    let mut members = Members::of(message.get().as_bytes()).ok()?;
    let specific = members.some("provider_specific_fields").and_then(|fields| Members::of(fields.as_bytes()).ok());
    let native = specific.as_ref().and_then(|fields| Members::of(fields.some(row.name)?.as_bytes()).ok());
    let native = native.as_ref().and_then(|native| native.some("content")).and_then(readable_content);
    let restored = native.filter(|native| members.string("content").as_deref() == Some(native.text.as_str()));

    let repeated = match (members.string("reasoning_content"), &restored) {
        // The list says it too.
        (Some(reasoning), Some(native)) => reasoning == native.reasoning,
        (Some(reasoning), None) => members.string("reasoning") == Some(reasoning),
        (None, _) => false,
    };
    // Where a native wire's fields are, its citations were put into OpenAI's words by us.
    let ours = specific.is_some();
    let is_native = ours || members.some("thinking_blocks").is_some();
    let refused = if row.name == "openai" && !is_home && !is_native { &[] } else { row.refused_in_history };
    members.0.retain(|(name, _)| match &**name {
        "provider_specific_fields" | "thinking_blocks" => false,
        "annotations" => !ours,
        name if refused.contains(&name) => false,
        "reasoning_content" => !repeated,
        _ => true,
    });
    Some(rewrite(&members, |name, _| match (name, &restored) {
        ("content", Some(native)) => Some(native.list.to_owned()),
        _ => None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn sent(provider: &str, message: Value) -> Value {
        sent_to(provider, true, message)
    }

    fn sent_to(provider: &str, is_home: bool, message: Value) -> Value {
        let row = crate::providers::lookup(provider).unwrap().row();
        let messages = json!([{"role": "user", "content": "hi"}, message]).to_string();
        let cleaned = without_our_additions(row, || is_home, messages.as_bytes()).unwrap_or(messages);
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
}
