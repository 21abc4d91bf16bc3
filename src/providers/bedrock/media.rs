//! Images, documents, video and audio of content parts → blocks with their bytes, or with their address in S3.
//!
//! Formats: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ImageBlock.html>,
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_DocumentBlock.html>,
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_VideoBlock.html>

use std::borrow::Cow;

use aws_smithy_types::base64;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::NAME;
use super::blocks::{Block, Document, Media, Source};
use super::parse::parse_str;
use crate::error::{Error, Result};
use crate::types::media::{DataUrl, is_text, media_type, type_of_name};

/// Type of block and `format` for each MIME type.
const FORMATS: &[(&str, Kind, &str)] = &[
    ("image/png", Kind::Image, "png"),
    ("image/jpeg", Kind::Image, "jpeg"),
    ("image/gif", Kind::Image, "gif"),
    ("image/webp", Kind::Image, "webp"),
    ("application/pdf", Kind::Document, "pdf"),
    ("text/csv", Kind::Document, "csv"),
    ("application/msword", Kind::Document, "doc"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", Kind::Document, "docx"),
    ("application/vnd.ms-excel", Kind::Document, "xls"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", Kind::Document, "xlsx"),
    ("text/html", Kind::Document, "html"),
    ("text/plain", Kind::Document, "txt"),
    ("text/markdown", Kind::Document, "md"),
    ("video/x-matroska", Kind::Video, "mkv"),
    ("video/quicktime", Kind::Video, "mov"),
    ("video/mp4", Kind::Video, "mp4"),
    ("video/webm", Kind::Video, "webm"),
    ("video/x-flv", Kind::Video, "flv"),
    ("video/mpeg", Kind::Video, "mpeg"),
    ("video/x-ms-wmv", Kind::Video, "wmv"),
    ("video/3gpp", Kind::Video, "three_gp"),
    ("audio/mpeg", Kind::Audio, "mp3"),
    ("audio/mp3", Kind::Audio, "mp3"),
    ("audio/opus", Kind::Audio, "opus"),
    ("audio/wav", Kind::Audio, "wav"),
    ("audio/aac", Kind::Audio, "aac"),
    ("audio/flac", Kind::Audio, "flac"),
    ("audio/ogg", Kind::Audio, "ogg"),
    ("audio/mp4", Kind::Audio, "m4a"),
    ("audio/webm", Kind::Audio, "webm"),
];

/// Extensions of file names that differ from the format.
const EXTENSIONS: &[(&str, &str)] =
    &[("jpg", "jpeg"), ("htm", "html"), ("markdown", "md"), ("mpg", "mpeg"), ("3gp", "three_gp")];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Image,
    Document,
    Video,
    Audio,
}

/// The value of `image_url` and its like.
#[derive(Deserialize)]
#[serde(untagged)]
enum Address<'a> {
    Plain(#[serde(borrow)] Cow<'a, str>),
    Object {
        #[serde(borrow)]
        url: Cow<'a, str>,
        #[serde(borrow, default)]
        format: Option<Cow<'a, str>>,
    },
}

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow, default)]
    file_data: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    file_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    filename: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    format: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct InputAudio<'a> {
    #[serde(borrow)]
    data: Cow<'a, str>,
    #[serde(borrow)]
    format: Cow<'a, str>,
}

/// Names of the documents of a conversation: Converse rejects two of the same name.
#[derive(Debug, Default)]
pub(super) struct DocumentNames(Vec<String>);

impl DocumentNames {
    /// Converts an `image_url` or `video_url`: a `data:` or `s3://` address of media of any type.
    ///
    /// # Errors
    /// `InvalidArgument` for other addresses, and for types that Converse does not take.
    pub fn address<'a>(&mut self, raw: &'a RawValue, at: &str) -> Result<Block<'a>> {
        let (url, mime) = match parse_str(at, raw.get())? {
            Address::Plain(url) => (url, None),
            Address::Object { url, format } => (url, format),
        };
        self.block(url, mime, None, at)
    }

    /// Converts a `file` part.
    ///
    /// # Errors
    /// As [`address`](Self::address).
    pub fn file<'a>(&mut self, raw: &'a RawValue, at: &str) -> Result<Block<'a>> {
        let file: File = parse_str(at, raw.get())?;
        let Some(address) = file.file_data.or(file.file_id) else {
            return Err(Error::argument(format!(
                "{at}: a file part lacks its file_data, a data: URL, or its file_id, an s3:// address"
            )));
        };
        self.block(address, file.format, file.filename, at)
    }

    /// Creates the block for data or an address; the type is that of `mime`, of the data URL, or of the name's extension.
    fn block<'a>(
        &mut self,
        address: Cow<'a, str>,
        mime: Option<Cow<'a, str>>,
        filename: Option<Cow<'a, str>>,
        at: &str,
    ) -> Result<Block<'a>> {
        let path = filename.as_deref().or(Some(&*address).filter(|address| address.starts_with("s3://")));
        let extension =
            path.and_then(|path| path.rsplit_once('.')).map(|(_, extension)| extension.to_ascii_lowercase());
        let name = filename
            .as_deref()
            .or_else(|| address.strip_prefix("s3://").and_then(|path| path.rsplit('/').next()))
            .map(document_name);
        let (url_type, source) = if address.starts_with("s3://") {
            (None, Source::S3Location { uri: address })
        } else if let Some(url) = DataUrl::of(&address) {
            let url_type = url.media_type.into_owned();
            let bytes = match url.is_base64 {
                true => {
                    let start = address.len() - url.data.len();
                    suffix(address, start)
                }
                false => base64::encode(percent_decode_str(url.data).collect::<Vec<_>>()).into(),
            };
            (Some(url_type), Source::Bytes(bytes))
        } else if filename.is_some() || mime.is_some() {
            if address.starts_with("http://") || address.starts_with("https://") {
                return Err(no_fetching(at));
            }
            (None, Source::Bytes(address))
        } else {
            return Err(no_fetching(at));
        };
        let known = |mime: &str| {
            let mime = media_type(mime);
            let known = FORMATS.iter().find(|(known, ..)| *known == mime).map(|(_, kind, format)| (*kind, *format));
            // Converse has formats for few types of text, but reads all of them as `txt`.
            known.or_else(|| is_text(&mime).then_some((Kind::Document, "txt")))
        };
        let by_extension = |extension: &str| {
            let format = EXTENSIONS.iter().find(|(end, _)| *end == extension).map_or(extension, |(_, format)| format);
            let by_name = FORMATS.iter().find(|(.., known)| *known == format).map(|(_, kind, format)| (*kind, *format));
            by_name.or_else(|| known(type_of_name(&format!(".{extension}"))?))
        };
        let found = mime.as_deref().and_then(|mime| known(mime).or_else(|| by_extension(mime)));
        let found = found.or_else(|| known(url_type.as_deref()?)).or_else(|| by_extension(extension.as_deref()?));
        let Some((kind, format)) = found else {
            let shown = url_type.or(extension).unwrap_or_default();
            return Err(Error::argument(format!(
                "{at}: {NAME} takes no media of type {shown:?}; name its MIME type in the data: URL or in format"
            )));
        };
        let format = Cow::Borrowed(format);
        Ok(match kind {
            Kind::Image => Block::Image(Media { format, source }),
            Kind::Video => Block::Video(Media { format, source }),
            Kind::Audio => Block::Audio(Media { format, source }),
            Kind::Document => Block::Document(Document { format, name: self.unique(name), source }),
        })
    }

    /// Makes a document's name unique, and reserves it.
    fn unique(&mut self, name: Option<String>) -> String {
        let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| "document".to_owned());
        let numbered = |number: usize| if number == 1 { name.clone() } else { format!("{name}-{number}") };
        let unique = (1..).map(numbered).find(|name| !self.0.contains(name)).expect("numbers do not end");
        self.0.push(unique.clone());
        unique
    }
}

/// Converts an `input_audio` part.
///
/// # Errors
/// `InvalidArgument` if it lacks its data or format.
pub(super) fn audio<'a>(raw: &'a RawValue, at: &str) -> Result<Block<'a>> {
    let audio: InputAudio = parse_str(at, raw.get())?;
    Ok(Block::Audio(Media { format: audio.format, source: Source::Bytes(audio.data) }))
}

/// Returns a file's name without its extension, in the characters that Converse allows: letters, digits, single spaces,
/// `-()[]`.
fn document_name(path: &str) -> String {
    let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
    let allowed = |letter: char| if letter.is_ascii_alphanumeric() || "-()[]".contains(letter) { letter } else { ' ' };
    let spaced: String = stem.chars().map(allowed).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(180).collect()
}

/// Returns the text from `start` on, without copying a borrowed one.
fn suffix(text: Cow<'_, str>, start: usize) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[start..]),
        Cow::Owned(text) => Cow::Owned(text[start..].to_owned()),
    }
}

fn no_fetching(at: &str) -> Box<Error> {
    Error::argument(format!(
        "{at}: {NAME} does not fetch addresses: pass the bytes as a data: URL (data:image/png;base64,…) or an s3:// address"
    ))
}
