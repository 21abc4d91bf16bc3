//! The parts of OpenAI's messages (text, images, audio and files) → Google's.
//!
//! Google's formats: <https://ai.google.dev/gemini-api/docs/file-input-methods>; OpenAI's parts:
//! <https://platform.openai.com/docs/api-reference/chat/create#chat-create-messages>. `video_url` and `audio_url` are
//! additions of LiteLLM and OpenRouter. A part without a `type` is in Google's format already and is sent as it is.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::part::{FileData, InlineData, Part};
use crate::error::{Error, Result};
use crate::types::media::{DataUrl, media_type};
use crate::types::members::Members;

/// Converts the content of a message. With `detailed`, the `detail` of a picture is kept.
///
/// # Errors
/// `InvalidArgument`, with the position of the part, for one that cannot be converted.
pub(super) fn parts(content: Option<&RawValue>, detailed: bool) -> Result<Vec<Part<'_>>> {
    let Some(content) = content else { return Ok(Vec::new()) };
    if let Ok(text) = serde_json::from_str::<String>(content.get()) {
        return Ok(vec![Part::Text(text)]);
    }
    let items: Vec<&RawValue> = serde_json::from_str(content.get())
        .map_err(|_| Error::argument("content is neither a str nor a list of parts"))?;
    let mut parts = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        parts.extend(part(item, detailed).map_err(|mut error| {
            error.message = format!("content[{index}]: {}", error.message);
            error
        })?);
    }
    Ok(parts)
}

/// Converts a part; `None` for another provider's reasoning, which Google's format has no place for.
fn part(item: &RawValue, detailed: bool) -> Result<Option<Part<'_>>> {
    if let Ok(text) = serde_json::from_str::<String>(item.get()) {
        return Ok(Some(Part::Text(text)));
    }
    let members =
        Members::of(item.get().as_bytes()).map_err(|_| Error::argument("a part that is neither a dict nor a str"))?;
    let Some(kind) = members.string("type") else { return Ok(Some(Part::Native(Cow::Borrowed(item)))) };
    match kind.as_str() {
        "thinking" | "redacted_thinking" | "reasoning" => Ok(None),
        "image_url" if detailed => {
            let picture = typed_part("image_url", &members)?;
            Ok(Some(match resolution(&members) {
                Some(level) => with_resolution(&picture, level),
                None => picture,
            }))
        }
        kind => typed_part(kind, &members).map(Some),
    }
}

/// Returns media with a resolution of its own.
fn with_resolution<'a>(media: &Part<'_>, level: &str) -> Part<'a> {
    let mut json = serde_json::to_string(media).expect("a part is JSON");
    json.truncate(json.len() - 1);
    json += &format!(r#","mediaResolution":{{"level":"{level}"}}}}"#);
    Part::Native(Cow::Owned(RawValue::from_string(json).expect("an object with one more member")))
}

/// Returns Google's name of a picture's `detail`; `None` without one, for `"auto"`, and for what Google has no name for.
fn resolution(members: &Members) -> Option<&'static str> {
    match Members::of(members.some("image_url")?.as_bytes()).ok()?.string("detail")?.as_str() {
        "low" => Some("MEDIA_RESOLUTION_LOW"),
        "medium" => Some("MEDIA_RESOLUTION_MEDIUM"),
        "high" => Some("MEDIA_RESOLUTION_HIGH"),
        _ => None,
    }
}

/// Converts a part of OpenAI's, whose content is the member that is named as its type.
fn typed_part<'a>(kind: &str, members: &Members) -> Result<Part<'a>> {
    let inside = members.some(kind).unwrap_or("null");
    // Some clients write the address alone in place of the object.
    let source = |name: &str| {
        let object = Members::of(inside.as_bytes()).unwrap_or_default();
        let text = |name: &str| object.string(name);
        (
            text(name).or_else(|| serde_json::from_str(inside).ok()),
            text("format").or_else(|| text("mime_type")),
            text("filename"),
        )
    };
    let lacks = |what: &str| Error::argument(format!("a part of type {kind} without {what}"));
    match kind {
        "text" => Ok(Part::Text(members.string("text").ok_or_else(|| lacks("text"))?)),
        "refusal" => Ok(Part::Text(members.string("refusal").ok_or_else(|| lacks("refusal"))?)),
        "image_url" | "video_url" | "audio_url" => {
            let (url, mime_type, _) = source("url");
            media(url.ok_or_else(|| lacks("url"))?, mime_type, (kind == "image_url").then_some("image/jpeg"))
        }
        "input_audio" => {
            let (data, format, _) = source("data");
            let data = data.ok_or_else(|| lacks("data"))?;
            let format = format.unwrap_or_else(|| "wav".to_owned());
            let mime_type = if format.contains('/') { format } else { format!("audio/{format}") };
            match data.contains(':') {
                true => media(data, Some(mime_type), None),
                false => Ok(Part::InlineData(InlineData::of(&mime_type, &data))),
            }
        }
        "file" => {
            if let (Some(data), mime_type, name) = source("file_data") {
                let mime_type = mime_type.or_else(|| name.as_deref().and_then(mime_type_of).map(str::to_owned));
                return match data.contains(':') {
                    true => media(data, mime_type, None),
                    false => {
                        Ok(Part::InlineData(InlineData::of(mime_type.as_deref().unwrap_or("application/pdf"), &data)))
                    }
                };
            }
            let (id, mime_type, _) = source("file_id");
            let id = id.ok_or_else(|| lacks("file_data or file_id"))?;
            // The name of a file of the Files API.
            let uri = if id.starts_with("files/") {
                format!("https://generativelanguage.googleapis.com/v1beta/{id}")
            } else {
                id
            };
            media(uri, mime_type, None)
        }
        _ => Err(Error::argument(format!(
            "a part of type {kind:?}: text, image_url, input_audio, video_url, file, or a part of Google's own without a type, would be right"
        ))),
    }
}

/// Converts a `data:` URL, or the address of a file that Google reads.
fn media<'a>(url: String, mime_type: Option<String>, default: Option<&str>) -> Result<Part<'a>> {
    let Some(inline) = DataUrl::of(&url) else {
        if url.starts_with("data:") {
            return Err(Error::argument("a data: address without a comma"));
        }
        // The Files API and YouTube have the MIME type of what they hold.
        let has_type = url.contains("generativelanguage.googleapis.com/")
            || url.contains("youtube.com/")
            || url.contains("youtu.be/");
        let guessed = mime_type_of(&url).or(default).filter(|_| !has_type).map(str::to_owned);
        let mime_type = mime_type.map(|mime_type| media_type(&mime_type).into_owned()).or(guessed);
        return Ok(Part::FileData(FileData { mime_type, file_uri: url }));
    };
    if !inline.is_base64 {
        return Err(Error::argument("a data: address that is not base64: data:image/png;base64,… would be right"));
    }
    let stated = Some(&*inline.media_type).filter(|stated| !stated.is_empty());
    let mime_type = mime_type.as_deref().or(stated).or(default).unwrap_or("application/octet-stream");
    Ok(Part::InlineData(InlineData::of(mime_type, inline.data)))
}

/// Returns the MIME type for a file name's extension, for the types that Gemini reads.
fn mime_type_of(name: &str) -> Option<&'static str> {
    #[rustfmt::skip]
    const KINDS: &[(&str, &str)] = &[
        ("png", "image/png"), ("jpg", "image/jpeg"), ("jpeg", "image/jpeg"), ("webp", "image/webp"), ("gif", "image/gif"), ("heic", "image/heic"),
        ("heif", "image/heif"), ("bmp", "image/bmp"), ("tif", "image/tiff"), ("tiff", "image/tiff"), ("svg", "image/svg+xml"), ("avif", "image/avif"),
        ("mp3", "audio/mpeg"), ("wav", "audio/wav"), ("flac", "audio/flac"), ("ogg", "audio/ogg"), ("oga", "audio/ogg"), ("aac", "audio/aac"),
        ("aiff", "audio/aiff"), ("m4a", "audio/mp4"), ("opus", "audio/opus"), ("pcm", "audio/pcm"),
        ("mp4", "video/mp4"), ("mpeg", "video/mpeg"), ("mpg", "video/mpg"), ("mov", "video/mov"), ("avi", "video/avi"), ("flv", "video/x-flv"),
        ("webm", "video/webm"), ("wmv", "video/wmv"), ("3gp", "video/3gpp"), ("mkv", "video/x-matroska"),
        ("pdf", "application/pdf"), ("json", "application/json"), ("txt", "text/plain"), ("md", "text/markdown"), ("csv", "text/csv"),
        ("html", "text/html"), ("htm", "text/html"), ("xml", "text/xml"), ("rtf", "text/rtf"), ("css", "text/css"), ("py", "text/x-python"),
        ("js", "text/javascript"),
    ];
    let path = name.split(['?', '#']).next()?;
    let (_, ending) = path.rsplit('/').next()?.rsplit_once('.')?;
    KINDS.iter().find(|(known, _)| ending.eq_ignore_ascii_case(known)).map(|(_, kind)| *kind)
}
