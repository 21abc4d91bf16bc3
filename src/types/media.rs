//! Media types and `data:` addresses, as callers write them, in the form that providers take.

use std::borrow::Cow;

/// Names that are in use and not registered, and the registered ones: <https://www.iana.org/assignments/media-types>.
const MISNOMERS: &[(&str, &str)] = &[
    ("application/x-pdf", "application/pdf"),
    ("audio/wave", "audio/wav"),
    ("audio/x-wav", "audio/wav"),
    ("image/jpg", "image/jpeg"),
    ("image/pjpeg", "image/jpeg"),
    ("image/x-png", "image/png"),
    ("text/md", "text/markdown"),
    ("text/x-markdown", "text/markdown"),
];

/// A media type in lower case, without parameters, under its registered name.
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

/// What a `data:` address holds: <https://www.rfc-editor.org/rfc/rfc2397>.
#[derive(Debug, PartialEq, Eq)]
pub struct DataUrl<'a> {
    /// The kind of data as [`media_type`] writes it; empty where it is not said.
    pub media_type: Cow<'a, str>,
    /// Whether the data is base64; otherwise it is percent-encoded.
    pub is_base64: bool,
    /// The data as it stands there.
    pub data: &'a str,
}

impl<'a> DataUrl<'a> {
    /// Reads an address; `None` where it is of another kind, or lacks its comma.
    pub fn of(url: &'a str) -> Option<Self> {
        let url = url.trim_start();
        let rest = url.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("data:")).map(|_| &url[5..])?;
        let (head, data) = rest.split_once(',')?;
        let is_base64 = head.split(';').skip(1).any(|word| word.trim().eq_ignore_ascii_case("base64"));
        Some(Self { media_type: media_type(head), is_base64, data })
    }
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
    }
}
