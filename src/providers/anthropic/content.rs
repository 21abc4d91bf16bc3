//! OpenAI's content parts → Anthropic's content blocks.
//!
//! <https://platform.claude.com/docs/en/build-with-claude/vision>,
//! <https://platform.claude.com/docs/en/build-with-claude/pdf-support>,
//! <https://platform.claude.com/docs/en/build-with-claude/files>.
//!
//! A part that OpenAI does not define is assumed to be a block of Anthropic's own and is sent unchanged.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::types::media::{DataUrl, is_text, media_type, type_of_name};
use crate::types::members::Members;
use crate::types::object::quoted;

/// Returns true if a JSON string is blank: Anthropic rejects such text.
pub(super) fn is_blank(json: &str) -> bool {
    // Most texts begin with a letter and need not be parsed.
    let begins_well = json[1..].starts_with(|first: char| !first.is_whitespace() && !matches!(first, '\\' | '"'));
    !begins_well && serde_json::from_str::<String>(json).is_ok_and(|text| text.trim().is_empty())
}

/// Splits a message's content into its parts: a text (a JSON string), or objects.
///
/// # Errors
/// `InvalidArgument` if it is neither a text nor a list.
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

/// Converts a content part; `None` for a blank text, which Anthropic rejects.
///
/// # Errors
/// `InvalidArgument` for a part that Anthropic does not take.
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
            let image = of("image_url");
            let url = image.string("url").or_else(|| members.string("image_url"));
            let url = url.ok_or_else(|| Error::argument("an image_url part has no url"))?;
            media(&url, "image", image.string("format").as_deref(), None)?
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

/// Returns a text block.
pub(super) fn text_block(text: &str) -> String {
    format!(r#"{{"type":"text","text":{}}}"#, quoted(text))
}

/// Adds `cache_control` to a block.
pub(super) fn marked(block: &str, cache_control: &RawValue) -> String {
    format!(r#"{},"cache_control":{}}}"#, &block[..block.len() - 1], cache_control.get())
}

/// Converts OpenAI's `file`: an id, or data (a `data:` URL, an address, or bare base64) with a name.
fn file(file: &Members) -> Result<String> {
    let title = file.string("filename");
    if let Some(id) = file.string("file_id") {
        return Ok(format!(r#"{{"type":"document","source":{{"type":"file","file_id":{}}}}}"#, quoted(&id)));
    }
    let data =
        file.string("file_data").ok_or_else(|| Error::argument("a file part has neither file_data nor file_id"))?;
    if DataUrl::of(&data).is_some() || is_web(&data) {
        return media(&data, "document", file.string("format").as_deref(), title.as_deref());
    }
    let format = file.string("format").filter(|format| !format.is_empty());
    let named = title.as_deref().and_then(type_of_name);
    let kind = format.as_deref().or(named).unwrap_or("application/pdf");
    let url = DataUrl { media_type: media_type(kind), is_base64: true, data: &data };
    inline(&url, title.as_deref())
}

fn is_web(url: &str) -> bool {
    ["http://", "https://"]
        .iter()
        .any(|scheme| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
}

/// Converts the address of an image or document, which may be a `data:` URL; `format` wins over that URL's MIME type.
fn media(url: &str, kind: &str, format: Option<&str>, title: Option<&str>) -> Result<String> {
    if is_web(url) {
        let title = titled(title.filter(|_| kind == "document"));
        return Ok(format!(r#"{{"type":"{kind}","source":{{"type":"url","url":{}}}{title}}}"#, quoted(url)));
    }
    let Some(mut url) = DataUrl::of(url) else {
        return Err(Error::argument(format!("the address of an {kind} is neither http(s):// nor a data: URL")));
    };
    if let Some(format) = format.filter(|format| !format.is_empty()) {
        url.media_type = media_type(format);
    }
    inline(&url, title)
}

/// Types of images that Claude takes.
const IMAGES: &[&str] = &["image/jpeg", "image/png", "image/gif", "image/webp"];

/// Converts a file inside the request: an image, a PDF, or a text.
fn inline(url: &DataUrl, title: Option<&str>) -> Result<String> {
    let named = title.and_then(type_of_name);
    let media_type = match &*url.media_type {
        // Without a specific type, that of the file name's extension is used.
        "" => named.unwrap_or("text/plain"),
        unknown @ ("application/octet-stream" | "binary/octet-stream") => named.unwrap_or(unknown),
        media_type => media_type,
    };
    let is_image = IMAGES.contains(&media_type);
    if !is_image && media_type != "application/pdf" {
        if !is_text(media_type) {
            return Err(Error::argument(format!(
                "a file of type {media_type:?} is none that Claude reads: JPEG, PNG, GIF and WebP images, PDF and texts are"
            )));
        }
        let text = url.bytes().and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or_else(|| Error::argument(format!("a file of type {media_type} is no UTF-8 text")))?;
        let (text, title) = (quoted(text.trim_start_matches('\u{feff}')), titled(title));
        return Ok(format!(
            r#"{{"type":"document","source":{{"type":"text","media_type":"text/plain","data":{text}}}{title}}}"#
        ));
    }
    if !url.is_base64 {
        return Err(Error::argument(format!("a data: URL of type {media_type} has to be base64")));
    }
    let (kind, title) = if is_image { ("image", String::new()) } else { ("document", titled(title)) };
    let (media_type, data) = (quoted(media_type), quoted(url.data));
    Ok(format!(r#"{{"type":"{kind}","source":{{"type":"base64","media_type":{media_type},"data":{data}}}{title}}}"#))
}

fn titled(title: Option<&str>) -> String {
    title.map_or_else(String::new, |title| format!(r#","title":{}"#, quoted(title)))
}
