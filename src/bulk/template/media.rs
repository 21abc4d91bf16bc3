//! Images and files of messages by their paths: read, and written as data URLs.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use base64_simd::STANDARD;
use serde_json::{Map, Value};

use crate::types::media::{DataUrl, type_of_name};

/// Maximum size of a file in bytes, which OpenAI's requests have as well:
/// <https://platform.openai.com/docs/guides/images-vision>.
const MAX_FILE: u64 = 50 << 20;

/// First bytes of the files of a media type, at an offset.
const SIGNATURES: &[(usize, &[u8], &str)] = &[
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"%PDF-", "application/pdf"),
    (8, b"WAVE", "audio/wav"),
    (0, b"ID3", "audio/mpeg"),
];

/// How a part of a message holds a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As a URL.
    Url,
    /// As base64 alone.
    Base64,
    /// By its name only, which stands beside the file itself.
    Name,
}

/// Length from which a text can be no path: `PATH_MAX` of Linux.
const MAX_PATH: usize = 4096;

impl Form {
    /// Returns how the member `name` of an object holds a file, if it does.
    ///
    /// Chat completions have `{"type": "image_url", "image_url": {"url": …}}`, `{"type": "file", "file": {"file_data": …}}` and
    /// `{"type": "input_audio", "input_audio": {"data": …, "format": …}}`; responses have `{"type": "input_image", "image_url":
    /// …}` and `{"type": "input_file", "file_data": …}`.
    pub fn of(name: &str, object: &Map<String, Value>) -> Option<Self> {
        let is_part =
            |kinds: &[&str]| object.get("type").and_then(Value::as_str).is_some_and(|kind| kinds.contains(&kind));
        match name {
            "url" if !object.contains_key("type") || is_part(&["image_url"]) => Some(Self::Url),
            "image_url" if is_part(&["image_url", "input_image"]) => Some(Self::Url),
            "file_data" => Some(Self::Url),
            "data" if object.contains_key("format") => Some(Self::Base64),
            _ => None,
        }
    }

    /// Appends a string for a URL or base64, which are passed on, or for a path, whose file is read.
    pub fn write(self, text: &str, out: &mut Vec<u8>) -> Result<(), String> {
        let Some(path) = path_of(text) else {
            return push(
                match (self, DataUrl::of(text)) {
                    (Self::Url, _) | (Self::Base64, None) => text,
                    (Self::Base64, Some(url)) => url.data,
                    (Self::Name, Some(url)) if url.media_type == "application/pdf" => "document.pdf",
                    (Self::Name, Some(_)) => "document",
                    (Self::Name, None) => name_of(text.split(['?', '#']).next().unwrap_or_default()),
                },
                out,
            );
        };
        if self == Self::Name {
            return push(name_of(path), out);
        }
        let content = read(Path::new(path)).map_err(|what| format!("names the file {path:?}, which {what}"))?;
        let kind = media_type(path, &content).ok_or_else(|| {
            format!(
                "names the file {path:?}, which is no image, sound or document that is known by its content or name"
            )
        })?;
        out.push(b'"');
        if self == Self::Url {
            out.extend_from_slice(format!("data:{kind};base64,").as_bytes());
        }
        STANDARD.encode_append(&content, out);
        out.push(b'"');
        Ok(())
    }
}

/// Returns the path that a text is, unless it is a URL or too long for a path.
fn path_of(text: &str) -> Option<&str> {
    match text.split_once("://") {
        Some(("file", path)) => Some(path),
        Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => None,
        _ if DataUrl::of(text).is_some() || text.len() >= MAX_PATH => None,
        _ => Some(text),
    }
}

fn name_of(path: &str) -> &str {
    match path.rsplit(['/', '\\']).next() {
        Some(name) if !name.is_empty() => name,
        _ => "document",
    }
}

fn push(text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    serde_json::to_writer(out, text).map_err(|error| error.to_string())
}

/// Returns the media type that a file's content tells, else its name.
fn media_type(name: &str, content: &[u8]) -> Option<&'static str> {
    let is_signed =
        |(at, signature, _): &&(usize, &[u8], &str)| content.get(*at..).is_some_and(|rest| rest.starts_with(signature));
    SIGNATURES.iter().find(is_signed).map(|(_, _, kind)| *kind).or_else(|| type_of_name(name))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("cannot be read: {error}");
    let metadata = fs::metadata(path).map_err(failed)?;
    // Asked before it is opened: opening a pipe would wait for its writer.
    if !metadata.is_file() {
        return Err("is no regular file".to_owned());
    }
    let file = File::open(path).map_err(failed)?;
    let mut content = Vec::with_capacity(metadata.len().min(MAX_FILE) as usize);
    file.take(MAX_FILE + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > MAX_FILE {
        return Err(format!("has more than {} MB", MAX_FILE >> 20));
    }
    Ok(content)
}
