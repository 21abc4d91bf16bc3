//! Content parts of chat completions in the input of the Responses API, which has other names for them and refuses these.
//!
//! <https://platform.openai.com/docs/api-reference/responses/create#responses-create-input>: `input_text`, `input_image`,
//! `input_file`, and `output_text` in answers of the assistant.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::edit;
use crate::types::members::Members;
use crate::types::object::{ObjectWriter, quoted};

/// Returns the input with the Responses API's parts in place of those of chat completions; `None` if there are none.
pub(super) fn converted(input: &[u8]) -> Option<String> {
    if !has_chat_parts(input) {
        return None;
    }
    edit::list(std::str::from_utf8(input).ok()?, |item| {
        edit::object(item, |item| {
            let is_answer = item.string("role").as_deref() == Some("assistant");
            item.edit("content", |content| edit::list(content, |one| part(one, is_answer)));
            // Of a function's call.
            item.edit("output", |output| edit::list(output, |one| part(one, false)));
        })
    })
}

/// Returns true if an object's `type` is one of chat completions' parts. Base64 has no quotes, so that a picture is one step.
fn has_chat_parts(input: &[u8]) -> bool {
    static TYPE: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"type\""));
    TYPE.find_iter(input).any(|name| {
        let value = input[name + b"\"type\"".len()..].trim_ascii_start();
        let value = value.strip_prefix(b":").map(<[u8]>::trim_ascii_start).unwrap_or_default();
        [&b"\"text\""[..], b"\"image_url\"", b"\"file\""].iter().any(|kind| value.starts_with(kind))
    })
}

fn part(json: &str, is_answer: bool) -> Option<String> {
    let part = Members::of(json.as_bytes()).ok()?;
    let mut converted = ObjectWriter::with_capacity(json.len() + 32);
    match part.string("type")?.as_str() {
        "text" => {
            converted.put("type", if is_answer { "output_text" } else { "input_text" });
            converted.put_raw("text", part.some("text")?);
        }
        "image_url" => {
            converted.put("type", "input_image");
            let image = part.some("image_url")?;
            match Members::of(image.as_bytes()) {
                Ok(image) => {
                    converted.put_raw("image_url", image.some("url")?);
                    if let Some(detail) = image.some("detail") {
                        converted.put_raw("detail", detail);
                    }
                }
                Err(_) => converted.put_raw("image_url", image),
            }
        }
        "file" => {
            let file = Members::of(part.some("file")?.as_bytes()).ok()?;
            converted.put("type", "input_file");
            for (name, value) in &file.0 {
                let address = serde_json::from_str::<String>(value.get()).ok().filter(|url| url.starts_with("http"));
                match address.filter(|_| name == "file_data") {
                    Some(address) => converted.put_raw("file_url", quoted(&address)),
                    None => converted.put_raw(name, value.get()),
                }
            }
            // A file has a name or an address.
            if file.some("file_data").is_some_and(|data| data.starts_with("\"http")) {
                return edit::object(&converted.finish_text(), |file| file.remove(|name, _| name == "filename"));
            }
        }
        _ => return None,
    }
    Some(converted.finish_text())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn parts_of_chats_become_parts_of_responses() {
        let input = json!([
            {"role": "user", "content": [
                {"type": "text", "text": "a"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
                {"type": "image_url", "image_url": "https://h/a.png"},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "https://h/a.pdf"}},
                {"type": "file", "file": {"file_id": "file-1"}},
                {"type": "input_text", "text": "b"},
            ]},
            {"role": "assistant", "content": [{"type": "text", "text": "c"}]},
            {"type": "function_call_output", "call_id": "1", "output": [{"type": "image_url", "image_url": {"url": "u"}}]},
            {"type": "function_call_output", "call_id": "1", "output": "{\"type\": \"text\"}"},
        ]);
        let right = json!([
            {"role": "user", "content": [
                {"type": "input_text", "text": "a"},
                {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
                {"type": "input_image", "image_url": "https://h/a.png"},
                {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="},
                {"type": "input_file", "file_url": "https://h/a.pdf"},
                {"type": "input_file", "file_id": "file-1"},
                {"type": "input_text", "text": "b"},
            ]},
            {"role": "assistant", "content": [{"type": "output_text", "text": "c"}]},
            {"type": "function_call_output", "call_id": "1", "output": [{"type": "input_image", "image_url": "u"}]},
            {"type": "function_call_output", "call_id": "1", "output": "{\"type\": \"text\"}"},
        ]);
        for written in [input.to_string(), serde_json::to_string_pretty(&input).unwrap()] {
            let converted = converted(written.as_bytes()).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&converted).unwrap(), right);
            assert_eq!(super::converted(converted.as_bytes()), None);
        }
    }

    #[test]
    fn what_is_right_is_not_touched() {
        for input in [
            json!("text"),
            json!([{"role": "user", "content": "\"type\":\"text\""}]),
            json!([{"role": "user", "content": [{"type": "input_text", "text": "text"}]}]),
            json!([{"type": "reasoning", "summary": [{"type": "summary_text", "text": "x"}]}]),
        ] {
            assert_eq!(converted(input.to_string().as_bytes()), None, "{input}");
        }
    }
}
