//! Media types and `data:` URLs: converts the spellings that callers use to the ones that providers accept.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Unregistered names in common use, each with the registered name: <https://www.iana.org/assignments/media-types>.
const MISNOMERS: &[(&str, &str)] = &[
    ("application/csv", "text/csv"),
    ("application/x-json", "application/json"),
    ("application/x-pdf", "application/pdf"),
    ("application/x-yaml", "application/yaml"),
    ("audio/wave", "audio/wav"),
    ("audio/x-wav", "audio/wav"),
    ("image/jpg", "image/jpeg"),
    ("image/pjpeg", "image/jpeg"),
    ("image/x-png", "image/png"),
    ("text/json", "application/json"),
    ("text/md", "text/markdown"),
    ("text/x-markdown", "text/markdown"),
    ("text/x-yaml", "application/yaml"),
    ("text/yaml", "application/yaml"),
];

/// Media types of text formats that do not begin with `text/`.
const TEXTS: &[&str] = &[
    "application/ecmascript",
    "application/graphql",
    "application/javascript",
    "application/json",
    "application/jsonl",
    "application/ld+json",
    "application/ndjson",
    "application/sql",
    "application/toml",
    "application/typescript",
    "application/x-httpd-php",
    "application/x-javascript",
    "application/x-ndjson",
    "application/x-python",
    "application/x-sh",
    "application/x-tex",
    "application/x-toml",
    "application/xhtml+xml",
    "application/xml",
    "application/yaml",
];

/// Media types by file extension.
#[rustfmt::skip]
const EXTENSIONS: &[(&str, &str)] = &[
    ("png", "image/png"), ("jpg", "image/jpeg"), ("jpeg", "image/jpeg"), ("webp", "image/webp"), ("gif", "image/gif"), ("heic", "image/heic"),
    ("heif", "image/heif"), ("bmp", "image/bmp"), ("tif", "image/tiff"), ("tiff", "image/tiff"), ("svg", "image/svg+xml"), ("avif", "image/avif"),
    ("mp3", "audio/mpeg"), ("wav", "audio/wav"), ("flac", "audio/flac"), ("ogg", "audio/ogg"), ("oga", "audio/ogg"), ("aac", "audio/aac"),
    ("aiff", "audio/aiff"), ("m4a", "audio/mp4"), ("opus", "audio/opus"), ("pcm", "audio/pcm"),
    ("mp4", "video/mp4"), ("mpeg", "video/mpeg"), ("mpg", "video/mpg"), ("mov", "video/quicktime"), ("avi", "video/avi"), ("flv", "video/x-flv"),
    ("webm", "video/webm"), ("wmv", "video/x-ms-wmv"), ("3gp", "video/3gpp"), ("mkv", "video/x-matroska"),
    ("pdf", "application/pdf"), ("doc", "application/msword"), ("xls", "application/vnd.ms-excel"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("json", "application/json"), ("jsonl", "application/jsonl"), ("ndjson", "application/x-ndjson"), ("xml", "application/xml"),
    ("yaml", "application/yaml"), ("yml", "application/yaml"), ("toml", "application/toml"), ("sql", "application/sql"),
    ("txt", "text/plain"), ("text", "text/plain"), ("log", "text/plain"), ("ini", "text/plain"), ("cfg", "text/plain"), ("conf", "text/plain"),
    ("md", "text/markdown"), ("markdown", "text/markdown"), ("rst", "text/x-rst"), ("tex", "application/x-tex"), ("rtf", "text/rtf"),
    ("csv", "text/csv"), ("tsv", "text/tab-separated-values"), ("html", "text/html"), ("htm", "text/html"), ("css", "text/css"),
    ("py", "text/x-python"), ("js", "text/javascript"), ("ts", "application/typescript"), ("rs", "text/x-rust"), ("go", "text/x-go"),
    ("java", "text/x-java"), ("c", "text/x-c"), ("h", "text/x-c"), ("cpp", "text/x-c++"), ("sh", "application/x-sh"),
];

/// Normalises a media type: lower case, without parameters, under its registered name.
pub fn media_type(written: &str) -> Cow<'_, str> {
    let name = written.split(';').next().unwrap_or_default().trim();
    let name = match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    };
    match MISNOMERS.iter().find(|(misnomer, _)| *misnomer == name) {
        Some((_, registered)) => Cow::Borrowed(registered),
        None => name,
    }
}

/// Returns true if files of this type are text. SVG counts as an image, although it is written in XML.
pub fn is_text(media_type: &str) -> bool {
    media_type.starts_with("text/")
        || TEXTS.contains(&media_type)
        || media_type.starts_with("application/") && (media_type.ends_with("+json") || media_type.ends_with("+xml"))
}

/// Returns the media type for the extension of a file name or URL.
pub fn type_of_name(name: &str) -> Option<&'static str> {
    let path = name.split(['?', '#']).next()?;
    let (_, extension) = path.rsplit('/').next()?.rsplit_once('.')?;
    EXTENSIONS.iter().find(|(known, _)| extension.eq_ignore_ascii_case(known)).map(|(_, media_type)| *media_type)
}

/// A parsed `data:` URL: <https://www.rfc-editor.org/rfc/rfc2397>.
#[derive(Debug, PartialEq, Eq)]
pub struct DataUrl<'a> {
    /// Media type as normalised by [`media_type`]; empty if the URL has none.
    pub media_type: Cow<'a, str>,
    /// True if the data is base64; otherwise it is percent-encoded.
    pub is_base64: bool,
    /// The data, still encoded.
    pub data: &'a str,
}

impl<'a> DataUrl<'a> {
    /// Parses a URL; `None` if it has another scheme or lacks the comma.
    pub fn of(url: &'a str) -> Option<Self> {
        let url = url.trim_start();
        let rest = url.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("data:")).map(|_| &url[5..])?;
        let (head, data) = rest.split_once(',')?;
        let is_base64 = head.split(';').skip(1).any(|word| word.trim().eq_ignore_ascii_case("base64"));
        Some(Self { media_type: media_type(head), is_base64, data })
    }

    /// Decodes the data; `None` if it is not valid base64.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match self.is_base64 {
            true => decode_base64(self.data),
            false => Some(percent_decode_str(self.data).collect()),
        }
    }
}

/// Decodes base64 of either alphabet, padded or not, with or without line breaks.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_is_written_in_one_way() {
        for (written, right) in [
            ("image/png", "image/png"),
            ("IMAGE/PNG", "image/png"),
            ("image/jpg", "image/jpeg"),
            ("Image/JPG; q=1", "image/jpeg"),
            ("audio/x-wav;codecs=1", "audio/wav"),
            (" text/plain ;charset=utf-8", "text/plain"),
            ("", ""),
        ] {
            assert_eq!(media_type(written), right, "{written}");
        }
    }

    #[test]
    fn a_data_address_says_what_it_holds() {
        let read = |url| DataUrl::of(url).map(|url| (url.media_type.into_owned(), url.is_base64, url.data));
        assert_eq!(read("data:image/jpg;base64,AA=="), Some(("image/jpeg".into(), true, "AA==")));
        assert_eq!(read("DATA:IMAGE/PNG;name=a.png;BASE64,AA=="), Some(("image/png".into(), true, "AA==")));
        assert_eq!(read("data:,a%20b"), Some((String::new(), false, "a%20b")));
        assert_eq!(read("data:image/png;base64"), None);
        assert_eq!(read("https://h/a,b"), None);
        assert_eq!(DataUrl::of("data:,a%20b").unwrap().bytes().unwrap(), b"a b");
        assert_eq!(DataUrl::of("data:text/plain;base64,YSBi").unwrap().bytes().unwrap(), b"a b");
        assert_eq!(DataUrl::of("data:text/plain;base64,!").unwrap().bytes(), None);
    }

    #[test]
    fn texts_are_told_from_the_rest() {
        for text in ["text/csv", "application/json", "application/xml", "application/yaml", "application/atom+xml"] {
            assert!(is_text(text), "{text}");
        }
        for other in ["application/pdf", "image/svg+xml", "application/zip", "application/vnd.ms-excel", ""] {
            assert!(!is_text(other), "{other}");
        }
        assert_eq!(type_of_name("a/b.YML"), Some("application/yaml"));
        assert_eq!(type_of_name("https://h/a.pdf?x=1"), Some("application/pdf"));
        assert_eq!(type_of_name("Makefile"), None);
    }
}
