//! OpenAI-shaped answers with the differences hosts have made readable: reasoning under one name, content as text.
//!
//! A host's own fields stay as they came. Beside them, a message or delta gets `reasoning_content` where the host says
//! `reasoning`; and where `content` is a list of parts, `content` becomes its text and the list moves to
//! `provider_specific_fields[provider].content`, from where it goes back to the same provider.
//!
//! List-shaped content: <https://docs.mistral.ai/capabilities/reasoning> (`thinking` parts),
//! <https://docs.databricks.com/aws/en/machine-learning/model-serving/query-reason-models> (`reasoning` parts with a `summary`).

use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;
use serde_json::value::RawValue;

use crate::types::members::Members;

static REASONING: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"reasoning\""));
static GROQ: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"x_groq\""));
static CONTENT: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"content\""));

/// A completion or chunk with its differences made readable, or `None` when it has none (the usual case, decided by
/// searches for substrings).
pub(super) fn readable(provider: &str, json: &[u8]) -> Option<Bytes> {
    let has_groq_usage = provider == "groq" && GROQ.find(json).is_some();
    if !has_groq_usage && REASONING.find(json).is_none() && !has_list_content(json) {
        return None;
    }
    let mut top = Members::of(json).ok()?;
    let usage = groq_usage(&top);
    let mut changed = usage.is_some();
    if let Some(usage) = usage {
        top.0.retain(|(name, _)| name != "usage");
        top.0.push(("usage".into(), usage));
    }
    let choices: Vec<&RawValue> = serde_json::from_str(top.some("choices")?).ok()?;
    let written = rewrite(&top, |name, _| {
        (name == "choices").then(|| {
            let choices: Vec<String> =
                choices.iter().map(|choice| readable_choice(provider, choice, &mut changed)).collect();
            format!("[{}]", choices.join(","))
        })
    });
    changed.then(|| Bytes::from(written))
}

/// Groq's streams may tell their usage under `x_groq` alone: <https://console.groq.com/docs/api-reference#chat-create>.
fn groq_usage<'a>(top: &Members<'a>) -> Option<&'a RawValue> {
    if top.some("usage").is_some() {
        return None;
    }
    let own = Members::of(top.some("x_groq")?.as_bytes()).ok()?;
    own.0.into_iter().find(|(name, value)| name == "usage" && value.get() != "null").map(|(_, value)| value)
}

fn has_list_content(json: &[u8]) -> bool {
    CONTENT.find_iter(json).any(|place| {
        let rest = json[place + b"\"content\"".len()..].trim_ascii_start();
        rest.strip_prefix(b":").is_some_and(|value| value.trim_ascii_start().first() == Some(&b'['))
    })
}

fn readable_choice(provider: &str, choice: &RawValue, changed: &mut bool) -> String {
    let Ok(members) = Members::of(choice.get().as_bytes()) else { return choice.get().to_owned() };
    rewrite(&members, |name, value| {
        if !matches!(name, "message" | "delta") {
            return None;
        }
        let message = Members::of(value.as_bytes()).ok()?;
        let written = readable_message(provider, &message)?;
        *changed = true;
        Some(written)
    })
}

/// A message or delta with text for `content` and a `reasoning_content`, or `None` when it has nothing to add.
fn readable_message(provider: &str, message: &Members) -> Option<String> {
    let content = message.some("content").and_then(readable_content);
    let reasoning = match (message.some("reasoning_content"), message.string("reasoning"), &content) {
        (Some(_), ..) => None,
        (None, Some(reasoning), _) => Some(reasoning),
        (None, None, Some(content)) => Some(content.reasoning.clone()).filter(|thought| !thought.is_empty()),
        (None, None, None) => None,
    };
    if content.is_none() && reasoning.is_none() {
        return None;
    }
    let mut written = rewrite(message, |name, _| match (name, &content) {
        ("content", Some(content)) => Some(quoted(&content.text)),
        _ => None,
    });
    written.pop();
    if let Some(reasoning) = reasoning {
        written += &format!(",\"reasoning_content\":{}", quoted(&reasoning));
    }
    if let Some(content) = &content {
        written += &format!(",\"provider_specific_fields\":{{{}:{{\"content\":{}}}}}", quoted(provider), content.list);
    }
    Some(written + "}")
}

/// List-shaped content, and what is readable of it.
pub(super) struct ListContent<'a> {
    /// The list as it came.
    pub list: &'a str,
    /// The text of its parts.
    pub text: String,
    /// The reasoning among them.
    pub reasoning: String,
}

/// Content that is a list of parts; `None` for anything else.
pub(super) fn readable_content(list: &str) -> Option<ListContent<'_>> {
    if !list.starts_with('[') {
        return None;
    }
    let parts: Vec<Members> = serde_json::from_str(list).ok()?;
    let (text, reasoning) = text_of(&parts);
    Some(ListContent { list, text, reasoning })
}

/// The text of content parts, and the reasoning among them.
fn text_of(parts: &[Members]) -> (String, String) {
    let (mut text, mut reasoning) = (String::new(), String::new());
    for part in parts {
        match part.string("type").as_deref() {
            Some("thinking") => match part.string("thinking") {
                Some(thought) => reasoning += &thought,
                None => reasoning += &texts(part.get("thinking")),
            },
            Some("reasoning") => match part.string("text") {
                Some(thought) => reasoning += &thought,
                None => reasoning += &texts(part.get("summary")),
            },
            _ => text += &part.string("text").unwrap_or_default(),
        }
    }
    (text, reasoning)
}

fn texts(list: Option<&str>) -> String {
    let parts: Vec<Members> = list.and_then(|list| serde_json::from_str(list).ok()).unwrap_or_default();
    parts.iter().filter_map(|part| part.string("text")).collect()
}

/// An object with the members for which `change` gives another value; the rest stays the bytes it was.
pub(super) fn rewrite(members: &Members, mut change: impl FnMut(&str, &str) -> Option<String>) -> String {
    let mut out = String::from("{");
    for (name, value) in &members.0 {
        if out.len() > 1 {
            out.push(',');
        }
        out += &quoted(name);
        out.push(':');
        match change(name, value.get()) {
            Some(changed) => out += &changed,
            None => out += value.get(),
        }
    }
    out.push('}');
    out
}

pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(value: Value) -> Option<Value> {
        readable("mistral", value.to_string().as_bytes()).map(|bytes| serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn an_answer_without_differences_is_left_alone() {
        assert_eq!(
            read(
                json!({"choices": [{"message": {"content": "the \"reasoning\" is: \"content\":["}, "logprobs": {"content": []}}]})
            ),
            None
        );
    }

    #[test]
    fn reasoning_is_also_called_reasoning_content() {
        let message =
            read(json!({"x": 1.50, "choices": [{"index": 0, "message": {"reasoning": "so\n", "content": "a"}}]}))
                .unwrap();
        assert_eq!(
            message["choices"][0]["message"],
            json!({"reasoning": "so\n", "content": "a", "reasoning_content": "so\n"})
        );
        assert_eq!(read(json!({"choices": [{"message": {"reasoning": null, "content": "a"}}]})), None);
    }

    #[test]
    fn list_content_is_also_text_and_the_list_is_kept() {
        let parts = json!([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "a"}, {"type": "reference", "reference_ids": [1]}, {"type": "text", "text": "b"}]);
        let message = &read(json!({"choices": [{"delta": {"content": parts}}]})).unwrap()["choices"][0]["delta"];
        assert_eq!(message["content"], "ab");
        assert_eq!(message["reasoning_content"], "hm");
        assert_eq!(message["provider_specific_fields"]["mistral"]["content"], parts);
        let summary = json!([{"type": "reasoning", "summary": [{"type": "summary_text", "text": "why"}]}, {"type": "text", "text": "t"}]);
        let message = &read(json!({"choices": [{"message": {"content": summary}}]})).unwrap()["choices"][0]["message"];
        assert_eq!((message["content"].as_str(), message["reasoning_content"].as_str()), (Some("t"), Some("why")));
    }
}
