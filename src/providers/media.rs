//! Normalises the media types of pictures and files in OpenAI's messages: lower case, without parameters, `image/jpeg` and
//! not `image/jpg`.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use memchr::{memchr, memchr_iter};

use super::edit;
use crate::types::media::{DataUrl, media_type};
use crate::types::object::quoted;

/// Normalises the media types in messages like [`normalise`], but parses them only if one has to change: for hosts that are
/// sent the caller's own bytes.
///
/// Messages of plain texts hold no second list, which a search for one byte finds out. In others the beginnings of `data:`
/// addresses decide, since pictures are large.
pub(super) fn normalise_if_wrong(messages: &[u8]) -> Option<String> {
    static LIST: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\":["));
    // The first bracket opens the messages; a list in a message follows a name.
    let from = memchr(b'[', messages.get(1..)?)?.saturating_sub(1);
    let list = from + LIST.find(&messages[from..])?;
    let is_wrong = |quote: usize| {
        let Some((scheme, rest)) = messages[quote + 1..].split_at_checked(SCHEME.len()) else { return false };
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return false;
        }
        let head = rest.iter().take(MAX_HEAD).position(|byte| matches!(byte, b',' | b'"')).unwrap_or(0);
        let Ok(head) = std::str::from_utf8(&rest[..head]) else { return false };
        let is_written = |(kind, rest)| scheme == SCHEME && rest == "base64" && media_type(kind) == kind;
        head.split_once(';').is_some_and(|parts| !is_written(parts))
    };
    // Base64 has no quotes, so that a picture is one step.
    if memchr_iter(b'"', &messages[list..]).any(|quote| is_wrong(list + quote)) { normalise(messages) } else { None }
}

const SCHEME: &[u8] = b"data:";

/// Maximum length of a media type with its parameters.
const MAX_HEAD: usize = 256;

/// Returns `messages` with normalised media types; `None` if all of them are so already.
pub(super) fn normalise(messages: &[u8]) -> Option<String> {
    let picture = |picture: &str| match serde_json::from_str::<String>(picture) {
        Ok(url) => normalise_url(&url).map(|url| quoted(&url)),
        Err(_) => edit::object(picture, |picture| {
            if let Some(url) = picture.string("url").as_deref().and_then(normalise_url) {
                picture.set_string("url", &url);
            }
        }),
    };
    let file = |data: &str| {
        let url: String = serde_json::from_str(data).ok()?;
        normalise_url(&url).map(|url| quoted(&url))
    };
    let part = |part: &str| {
        edit::object(part, |part| {
            part.edit("image_url", picture);
            // Files of Responses have it at the top, those of chat completions inside `file`.
            part.edit("file_data", file);
            part.edit("file", |inner| edit::object(inner, |inner| inner.edit("file_data", file)));
        })
    };
    edit::list(std::str::from_utf8(messages).ok()?, |message| {
        edit::object(message, |message| message.edit("content", |content| edit::list(content, part)))
    })
}

fn normalise_url(url: &str) -> Option<String> {
    let data = DataUrl::of(url).filter(|url| url.is_base64 && !url.media_type.is_empty())?;
    let written = format!("data:{};base64,{}", data.media_type, data.data);
    (written != url).then_some(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn pictures_say_what_they_are_in_one_way() {
        let message = |url: &str| json!([{"role": "user", "content": [{"type": "text", "text": "data:image/jpg;base64,"}, {"type": "image_url", "image_url": {"url": url, "detail": "low"}}]}]);
        let right = message("data:image/jpeg;base64,AA==");
        for url in ["data:image/jpg;base64,AA==", "data:IMAGE/JPEG;name=a;base64,AA==", "DATA:image/pjpeg;BASE64,AA=="]
        {
            let given = message(url).to_string();
            for written in [normalise(given.as_bytes()), normalise_if_wrong(given.as_bytes())] {
                assert_eq!(serde_json::from_str::<Value>(&written.unwrap()).unwrap(), right, "{url}");
            }
        }
        for url in ["data:image/jpeg;base64,AA==", "https://h/a.jpg", "data:,a"] {
            assert_eq!(normalise(message(url).to_string().as_bytes()), None, "{url}");
            assert_eq!(normalise_if_wrong(message(url).to_string().as_bytes()), None, "{url}");
        }
        let of_file = |data: &str| json!([{"role": "user", "content": [{"type": "file", "file": {"filename": "a", "file_data": data}}, {"type": "input_file", "file_data": data}]}]);
        let right = of_file("data:application/pdf;base64,AA==");
        let wrong = of_file("data:Application/X-PDF;charset=binary;base64,AA==").to_string();
        assert_eq!(serde_json::from_str::<Value>(&normalise_if_wrong(wrong.as_bytes()).unwrap()).unwrap(), right);
        assert_eq!(normalise_if_wrong(right.to_string().as_bytes()), None);
        let plain =
            json!([{"role": "user", "content": [{"type": "image_url", "image_url": "data:image/jpg;base64,AA=="}]}]);
        assert!(
            normalise(plain.to_string().as_bytes()).unwrap().contains(r#""image_url":"data:image/jpeg;base64,AA==""#)
        );
    }
}
