//! URLs whose host is the path of a Unix socket.
//!
//! `http+unix://%2Frun%2Fmodel.sock/v1` is the notation of requests-unixsocket and others. The `http` crate does not
//! parse it, since it allows no percent sign in a host: within this library a dollar sign replaces it.

use http::Uri;

/// Scheme of URLs of Unix sockets.
pub const SCHEME: &str = "http+unix";

/// Converts a URL of a Unix socket to the library's notation; `None` if the URL has another scheme.
///
/// # Errors
///
/// Returns the rest of an error message if the path is not absolute, not UTF-8, or contains a NUL.
pub fn address(url: &str) -> Option<Result<String, &'static str>> {
    let rest = url.strip_prefix("http+unix://")?;
    let (socket, path) = rest.find(['/', '?', '#']).map_or((rest, ""), |end| rest.split_at(end));
    let Ok(socket) = percent_encoding::percent_decode_str(socket).decode_utf8() else {
        return Some(Err("names a socket whose path is no UTF-8"));
    };
    if !socket.starts_with('/') || socket.contains('\0') {
        return Some(Err("names no socket: its path stands in the host's place, each slash as %2F"));
    }
    let escaped: String = socket.bytes().map(escape).collect();
    Some(Ok(format!("{SCHEME}://{escaped}{path}")))
}

fn escape(byte: u8) -> String {
    match byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
        true => char::from(byte).to_string(),
        false => format!("${byte:02X}"),
    }
}

/// Returns the path of the socket if the URI is one of a Unix socket.
pub fn path(uri: &Uri) -> Option<String> {
    if uri.scheme_str() != Some(SCHEME) {
        return None;
    }
    let escaped = uri.host()?.replace('$', "%");
    percent_encoding::percent_decode_str(&escaped).decode_utf8().ok().map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (written, socket) in [
            ("http+unix://%2Ftmp%2Fs.sock/v1", "/tmp/s.sock"),
            ("http+unix://%2ftmp%2fa%20b%24%25%C3%A4.sock", "/tmp/a b$%\u{e4}.sock"),
        ] {
            let uri: Uri = address(written).unwrap().unwrap().parse().unwrap();
            assert_eq!(path(&uri).as_deref(), Some(socket));
        }
        let uri: Uri = address("http+unix://%2Fs/v1/chat").unwrap().unwrap().parse().unwrap();
        assert_eq!(uri.path(), "/v1/chat");
        assert_eq!(address("https://host/v1"), None);
        for wrong in [
            "http+unix:///tmp/s.sock",
            "http+unix://",
            "http+unix://s.sock",
            "http+unix://%2F%FF",
            "http+unix://%2F%00",
        ] {
            assert!(address(wrong).unwrap().is_err(), "{wrong}");
        }
    }
}
