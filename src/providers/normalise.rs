//! Normalises the differences between hosts in OpenAI-shaped answers: reasoning under one name, content as text.
//!
//! A host's own fields stay as they came. Beside them, a message or delta gets `reasoning_content` where the host has
//! another name for it; and where `content` is a list of parts, `content` becomes its text and the list moves to
//! `provider_specific_fields[provider].content`, from where it goes back to the same provider.
//!
//! List-shaped content: <https://docs.mistral.ai/capabilities/reasoning> (`thinking` parts),
//! <https://docs.databricks.com/aws/en/machine-learning/model-serving/query-reason-models> (`reasoning` parts with a `summary`).

use std::borrow::Cow;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::{memchr_iter, memmem::Finder};
use serde_json::value::RawValue;

use super::edit::copy_with;
use super::outline::Outline;
use super::pieces::Pieces;
use crate::types::lenient;
use crate::types::members::Members;
use crate::types::object::{ArrayWriter, quoted};

/// The beginning of the names that hosts have for reasoning, and of a few that mean something else.
static REASONING: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"reasoning"));
static THINKING: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"th"));
static GROQ: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"x_groq\""));
static DELTA: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"delta\""));
static MESSAGE: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"message\""));

/// Normalises a completion; `None` if there is nothing to normalise (the usual case, decided by searches for substrings). A
/// choice without a message, which a filter's verdict may be, gets one without content, since programs read the message of
/// each choice. `text` of the older completions becomes its content.
pub(super) fn normalise_completion(provider: &str, json: &[u8], outline: Outline<'_>) -> Option<Bytes> {
    normalise(provider, json, outline, None)
}

/// Normalises a chunk, with the lists that its stream had so far. A choice without a delta gets an empty one: a filter's
/// verdict, for example, comes without, and loops over a stream read the delta of each chunk.
pub(super) fn normalise_chunk(provider: &str, json: &[u8], pieces: &mut Pieces) -> Option<Bytes> {
    normalise(provider, json, Outline::whole(json), Some(pieces))
}

fn normalise(provider: &str, json: &[u8], outline: Outline<'_>, mut pieces: Option<&mut Pieces>) -> Option<Bytes> {
    let has_groq_usage = provider == "groq" && GROQ.find(json).is_some();
    let has_more = match &pieces {
        Some(pieces) => pieces.have_begun() || lacks(&DELTA, json),
        // Where there is a text, there is a message.
        None => !outline.has_text() && lacks(&MESSAGE, json),
    };
    if !has_more && !has_groq_usage && !outline.any(has_reasoning) && !outline.any(has_list_content) {
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
    let mut normalised = ArrayWriter::with_capacity(json.len());
    for choice in choices {
        match normalise_choice(provider, choice, &mut pieces) {
            Some(choice) => {
                changed = true;
                normalised.push_raw(choice);
            }
            None => normalised.push_raw(choice.get()),
        }
    }
    if !changed {
        return None;
    }
    let normalised = normalised.finish();
    Some(copy_with(&top, |name, _| (name == "choices").then_some(&normalised)).finish())
}

/// Names of reasoning beside `reasoning_content`, the most trusted first: some hosts have two with the same content.
/// OpenRouter makes `reasoning` out of its `reasoning_details`.
///
/// - `reasoning`: OpenRouter, Groq, Cerebras, vLLM; <https://github.com/vercel/ai/pull/7866>
/// - `reasoning_text`, `thinking`, `thought`, `thoughts`: gateways, and servers that hand on a native answer
/// - `reasoning_details`: <https://openrouter.ai/docs/use-cases/reasoning-tokens>
/// - `thinking_blocks`: LiteLLM's proxy
const NAMES: &[&str] =
    &["reasoning", "reasoning_text", "thinking", "thought", "thoughts", "reasoning_details", "thinking_blocks"];

/// Returns true if one of the names of reasoning occurs in JSON.
fn has_reasoning(json: &[u8]) -> bool {
    let is_name = |start: usize| {
        let name = &json[start + 1..];
        NAMES.iter().any(|known| name.strip_prefix(known.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'"')))
    };
    REASONING.find_iter(json).any(is_name) || THINKING.find_iter(json).any(is_name)
}

/// Returns the reasoning that a message has under a name of the host's own; `some` returns the message's members.
pub(super) fn own_reasoning<'a>(some: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    NAMES.iter().find_map(|name| some(name).map(reasoning_in)).filter(|reasoning| !reasoning.is_empty())
}

/// Returns the reasoning in a value: a text, an object with one, or a list of such.
fn reasoning_in(value: &str) -> String {
    match value.as_bytes().first() {
        Some(b'"') => serde_json::from_str(value).unwrap_or_default(),
        Some(b'{' | b'[') => {
            let part = |part: Members| {
                ["thinking", "text", "reasoning", "reasoning_text", "content", "summary"]
                    .iter()
                    .find_map(|name| part.some(name).map(reasoning_in).filter(|reasoning| !reasoning.is_empty()))
                    .unwrap_or_default()
            };
            lenient::list_of(value).into_iter().map(part).collect()
        }
        _ => String::new(),
    }
}

/// Returns the usage that Groq's streams may have under `x_groq` alone:
/// <https://console.groq.com/docs/api-reference#chat-create>.
fn groq_usage<'a>(top: &Members<'a>) -> Option<&'a RawValue> {
    if top.some("usage").is_some() {
        return None;
    }
    let own = Members::of(top.some("x_groq")?.as_bytes()).ok()?;
    own.0.into_iter().find(|(name, value)| name == "usage" && value.get() != "null").map(|(_, value)| value)
}

fn has_list_content(json: &[u8]) -> bool {
    // Answers have one or two lists, and a search for one byte costs a quarter of one for a name.
    memchr_iter(b'[', json).any(|index| {
        let before = json[..index].trim_ascii_end().strip_suffix(b":");
        before.is_some_and(|before| before.trim_ascii_end().ends_with(b"\"content\""))
    })
}

/// Returns true if no choice has this member. Quotes inside a string are escaped, so that the search finds names only.
fn lacks(member: &Finder, json: &[u8]) -> bool {
    let is_null = |start: usize| {
        let value = json[start + member.needle().len()..].trim_ascii_start().strip_prefix(b":");
        value.is_some_and(|value| value.trim_ascii_start().starts_with(b"null"))
    };
    member.find(json).is_none_or(is_null)
}

/// Normalises a choice; `None` if there is nothing to normalise.
fn normalise_choice(provider: &str, choice: &RawValue, pieces: &mut Option<&mut Pieces>) -> Option<String> {
    let message;
    let mut members = Members::of(choice.get().as_bytes()).ok()?;
    let mut changed = false;
    if pieces.is_some() && members.some("delta").is_none() {
        members.0.retain(|(name, _)| name != "delta");
        members.0.push(("delta".into(), serde_json::from_str("{}").expect("an object")));
        changed = true;
    }
    if pieces.is_none() && members.some("message").is_none() {
        let text = members.some("text").filter(|text| text.starts_with('"')).unwrap_or("null");
        message = format!(r#"{{"role":"assistant","content":{text}}}"#);
        members.0.retain(|(name, _)| name != "message");
        members.0.push(("message".into(), serde_json::from_str(&message).expect("an object")));
        changed = true;
    }
    let index = members.some("index").and_then(|index| index.parse().ok()).unwrap_or(0);
    let copy = copy_with(&members, |name, value| {
        if !matches!(name, "message" | "delta") {
            return None;
        }
        let message = Members::of(value.as_bytes()).ok()?;
        let pieces = pieces.as_deref_mut().filter(|_| name == "delta");
        let message = normalise_message(provider, &message, pieces.map(|pieces| (pieces, index)))?;
        changed = true;
        Some(message)
    });
    changed.then(|| copy.finish_text())
}

/// Returns a message or delta with text as `content` and with `reasoning_content`; `None` if there is nothing to normalise.
fn normalise_message(provider: &str, message: &Members, pieces: Option<(&mut Pieces, u64)>) -> Option<String> {
    let content = message.some("content").and_then(ListContent::of);
    let list = match (&content, pieces) {
        (Some(content), pieces) => {
            pieces.into_iter().for_each(|(pieces, choice)| pieces.begin(choice));
            Some(Cow::Borrowed(content.list))
        }
        (None, Some((pieces, choice))) => message
            .string("content")
            .filter(|text| !text.is_empty())
            .and_then(|text| pieces.text(choice, &text))
            .map(Cow::Owned),
        (None, None) => None,
    };
    let has_reasoning = message.string("reasoning_content").is_some_and(|reasoning| !reasoning.is_empty());
    let reasoning = if has_reasoning {
        None
    } else {
        own_reasoning(|name| message.some(name))
            .or_else(|| content.as_ref().map(|content| content.reasoning.clone()))
            .filter(|reasoning| !reasoning.is_empty())
    };
    if list.is_none() && reasoning.is_none() {
        return None;
    }
    let mut copy = copy_with(message, |name, _| match (name, &content, &reasoning) {
        ("content", Some(content), _) => Some(quoted(&content.text)),
        ("reasoning_content", _, Some(reasoning)) => Some(quoted(reasoning)),
        _ => None,
    });
    if let Some(reasoning) = reasoning.filter(|_| message.get("reasoning_content").is_none()) {
        copy.put("reasoning_content", &reasoning);
    }
    if let Some(list) = &list {
        copy.put_object("provider_specific_fields", |specific| {
            specific.put_object(provider, |native| native.put_raw("content", &**list));
        });
    }
    Some(copy.finish_text())
}

/// Content that is a list of parts.
pub(super) struct ListContent<'a> {
    /// The list as it came.
    pub list: &'a str,
    /// The text of its parts.
    pub text: String,
    /// The reasoning among them.
    pub reasoning: String,
}

impl<'a> ListContent<'a> {
    /// Reads content that is a list of parts; `None` for anything else.
    pub fn of(list: &'a str) -> Option<Self> {
        if !list.starts_with('[') {
            return None;
        }
        let (mut text, mut reasoning) = (String::new(), String::new());
        let parts: Vec<&RawValue> = lenient::list_of(list);
        for raw in parts {
            let Ok(part) = Members::of(raw.get().as_bytes()) else {
                text += &serde_json::from_str::<String>(raw.get()).unwrap_or_default();
                continue;
            };
            match part.string("type").as_deref() {
                Some("thinking" | "reasoning" | "reasoning_text" | "reasoning_content" | "thought") => {
                    reasoning += &reasoning_in(raw.get());
                }
                _ if part.get("thought") == Some("true") => reasoning += &reasoning_in(raw.get()),
                _ => text += &part.string("text").unwrap_or_default(),
            }
        }
        Some(Self { list, text, reasoning })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(value: Value) -> Option<Value> {
        {
            let json = value.to_string();
            normalise_completion("mistral", json.as_bytes(), Outline::of(json.as_bytes()))
        }
        .map(|bytes| serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn each_choice_has_a_message() {
        for choice in
            [json!({"finish_reason": "content_filter"}), json!({"message": null, "finish_reason": "content_filter"})]
        {
            let normalised = read(json!({"choices": [choice]})).unwrap();
            assert_eq!(normalised["choices"][0]["message"], json!({"role": "assistant", "content": null}));
            assert_eq!(normalised["choices"][0]["finish_reason"], "content_filter");
        }
        let text = read(json!({"choices": [{"index": 0, "text": "a \"message\": b"}]})).unwrap();
        assert_eq!(text["choices"][0]["message"]["content"], "a \"message\": b");
        assert_eq!(read(json!({"choices": [{"message": {"role": "assistant", "content": null}}]})), None);
        assert_eq!(read(json!({"choices": []})), None);
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
    fn reasoning_has_many_names_and_is_said_once() {
        let details = json!([{"type": "reasoning.text", "text": "h", "index": 0}, {"type": "reasoning.encrypted", "data": "x"}, {"type": "reasoning.summary", "summary": "m"}]);
        for own in [
            json!({"reasoning": "hm"}),
            json!({"reasoning_text": "hm"}),
            json!({"thinking": "hm"}),
            json!({"thought": "hm"}),
            json!({"reasoning_details": details}),
            json!({"reasoning": "hm", "reasoning_details": details}),
            json!({"reasoning": null, "reasoning_details": details}),
            json!({"reasoning": {"content": "hm"}}),
            json!({"thinking": {"thinking": "hm", "signature": "x"}}),
            json!({"thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "x"}]}),
            json!({"reasoning_content": null, "thinking": "hm"}),
            json!({"reasoning_content": "", "reasoning": "hm"}),
            json!({"content": [{"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}]}]}),
            json!({"content": [{"type": "reasoning", "reasoning": "hm"}]}),
            json!({"content": [{"type": "text", "text": "hm", "thought": true}]}),
            json!({"content": [null, {"type": "thinking", "thinking": "hm"}, "a"]}),
        ] {
            for holder in ["message", "delta"] {
                let shown = read(json!({"choices": [{holder: own}]})).unwrap();
                let shown = &shown["choices"][0][holder];
                assert_eq!(shown["reasoning_content"], "hm", "{own}");
                assert_eq!(shown.to_string().matches("\"reasoning_content\"").count(), 1, "{own}");
            }
        }
        // Messages without reasoning, or with `reasoning_content` already.
        for own in [
            json!({"reasoning_content": "hm", "reasoning": "hm", "content": "a"}),
            json!({"content": "the \"thinking\": \"x\"", "thought": true}),
            json!({"content": "a", "reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}),
            json!({"content": "a", "thinking": ""}),
        ] {
            assert_eq!(read(json!({"choices": [{"message": own}], "usage": {"reasoning_tokens": 1}})), None);
        }
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
