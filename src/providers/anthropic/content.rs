//! OpenAI's content parts as Anthropic's content blocks.
//!
//! <https://platform.claude.com/docs/en/build-with-claude/vision>,
//! <https://platform.claude.com/docs/en/build-with-claude/pdf-support>,
//! <https://platform.claude.com/docs/en/build-with-claude/files>.
//!
//! A part that OpenAI does not define is taken for a block of Anthropic's own and goes through as it is.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::super::readable::quoted;
use crate::error::{Error, Result};
use crate::types::members::Members;

/// Whether a JSON string has no word in it: Anthropic refuses such text.
pub(super) fn is_blank(json: &str) -> bool {
    // Most texts begin with a letter and need not be read to the end for this.
    let begins_well = json[1..].starts_with(|first: char| !first.is_whitespace() && !matches!(first, '\\' | '"'));
    !begins_well && serde_json::from_str::<String>(json).is_ok_and(|text| text.trim().is_empty())
}

/// The parts of a message's content: a text (as a JSON string), or one or more objects.
pub(super) fn parts(content: &str) -> Result<Vec<&str>> {
    match content.as_bytes().first() {
        Some(b'[') => {
            let parts: Vec<&RawValue> =
                serde_json::from_str(content).map_err(|error| Error::argument(format!("content: {error}")))?;
            Ok(parts.into_iter().map(RawValue::get).collect())
        }
        Some(b'"' | b'{') => Ok(vec![content]),
        None | Some(b'n') => Ok(Vec::new()),
        Some(_) => Err(Error::argument("content is neither a text nor a list of parts")),
    }
}

/// A content part as a native block; `None`: an empty text, which Anthropic refuses.
pub(super) fn block(part: &str) -> Result<Option<Cow<'_, str>>> {
    if part.starts_with('"') {
        return Ok((!is_blank(part)).then(|| format!(r#"{{"type":"text","text":{part}}}"#).into()));
    }
    let members = Members::of(part.as_bytes())
        .map_err(|_| Error::argument("content has a part that is neither a text nor an object"))?;
    let of = |name: &str| members.some(name).and_then(|value| Members::of(value.as_bytes()).ok()).unwrap_or_default();
    let converted = match members.string("type").as_deref() {
        Some("text") => {
            let is_blank = members.string("text").is_none_or(|text| text.trim().is_empty());
            return Ok((!is_blank).then_some(Cow::Borrowed(part)));
        }
        Some("refusal") => text_block(&members.string("refusal").unwrap_or_default()),
        Some("image_url") => {
            let url = of("image_url").string("url").or_else(|| members.string("image_url"));
            media(&url.ok_or_else(|| Error::argument("an image_url part has no url"))?, "image", None)?
        }
        Some("file") if members.some("file").is_some() => file(&of("file"))?,
        Some(kind @ ("input_audio" | "video_url" | "audio_url")) => {
            return Err(Error::argument(format!(
                "content has a part of type {kind:?}: anthropic takes text, images and documents"
            )));
        }
        Some(_) => return Ok(Some(Cow::Borrowed(part))),
        None => return Err(Error::argument("content has a part without a type")),
    };
    Ok(Some(match members.0.iter().find(|(name, _)| name == "cache_control") {
        Some((_, mark)) => marked(&converted, mark).into(),
        None => converted.into(),
    }))
}

pub(super) fn text_block(text: &str) -> String {
    format!(r#"{{"type":"text","text":{}}}"#, quoted(text))
}

pub(super) fn marked(block: &str, cache_control: &RawValue) -> String {
    format!(r#"{},"cache_control":{}}}"#, &block[..block.len() - 1], cache_control.get())
}

/// OpenAI's `file`: an id, or data (as a `data:` URL, an address, or bare base64) with a name.
fn file(file: &Members) -> Result<String> {
    let title = file.string("filename");
    if let Some(id) = file.string("file_id") {
        return Ok(format!(r#"{{"type":"document","source":{{"type":"file","file_id":{}}}}}"#, quoted(&id)));
    }
    let data =
        file.string("file_data").ok_or_else(|| Error::argument("a file part has neither file_data nor file_id"))?;
    if data.starts_with("data:") || data.starts_with("http://") || data.starts_with("https://") {
        return media(&data, "document", title.as_deref());
    }
    media(&format!("data:application/pdf;base64,{data}"), "document", title.as_deref())
}

/// An image or document from its address, which may be a `data:` URL; what kind it is, that URL knows best.
fn media(url: &str, kind: &str, title: Option<&str>) -> Result<String> {
    let title =
        title.filter(|_| kind == "document").map_or_else(String::new, |title| format!(r#","title":{}"#, quoted(title)));
    if url.starts_with("http://") || url.starts_with("https://") {
        return Ok(format!(r#"{{"type":"{kind}","source":{{"type":"url","url":{}}}{title}}}"#, quoted(url)));
    }
    let Some((head, data)) = url.strip_prefix("data:").and_then(|rest| rest.split_once(',')) else {
        return Err(Error::argument(format!("the address of an {kind} is neither http(s):// nor a data: URL")));
    };
    let media_type = head.split(';').next().unwrap_or("").to_ascii_lowercase();
    let is_base64 = head.split(';').any(|word| word.eq_ignore_ascii_case("base64"));
    let source = match &*media_type {
        _ if media_type.starts_with("text/") || media_type.is_empty() => {
            let text = if is_base64 {
                decode_base64(data)
            } else {
                Some(percent_encoding::percent_decode_str(data).collect())
            };
            let text = text.and_then(|bytes| String::from_utf8(bytes).ok());
            let text = text.ok_or_else(|| Error::argument(format!("a file of type {media_type} is no UTF-8 text")))?;
            return Ok(format!(
                r#"{{"type":"document","source":{{"type":"text","media_type":"text/plain","data":{}}}{title}}}"#,
                quoted(&text)
            ));
        }
        _ if !is_base64 => return Err(Error::argument(format!("a data: URL of type {media_type} has to be base64"))),
        // A name that is often used and that does not exist.
        "image/jpg" => ("image", "image/jpeg"),
        other if other.starts_with("image/") => ("image", other),
        other => ("document", other),
    };
    let (kind, media_type) = source;
    let title = if kind == "document" { title } else { String::new() };
    let (media_type, data) = (quoted(media_type), quoted(data));
    Ok(format!(r#"{{"type":"{kind}","source":{{"type":"base64","media_type":{media_type},"data":{data}}}{title}}}"#))
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0u32);
    for letter in text.bytes().filter(|letter| !letter.is_ascii_whitespace() && *letter != b'=') {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}
