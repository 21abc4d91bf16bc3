//! Sizes of the pictures and files that a request may hold, which are checked before megabytes are sent in vain.

use memchr::memchr;
use memchr::memmem;

use super::{Deployment, Operation};
use crate::error::{Error, Result};
use crate::types::request::Request;

/// Maximum sizes at a provider, in bytes as they are sent: base64 takes a third more than the file. Each is [`NO_LIMIT`] unless
/// the provider documents one.
#[derive(Debug, Clone, Copy)]
pub struct MediaSizes {
    /// Of a picture.
    pub image: usize,
    /// Of another file.
    pub file: usize,
    /// Of the whole request.
    pub request: usize,
}

const NO_LIMIT: usize = usize::MAX;

/// Sizes of a provider that documents none.
pub(super) const UNKNOWN: MediaSizes = MediaSizes { image: NO_LIMIT, file: NO_LIMIT, request: NO_LIMIT };

/// Returns the length of so many mebibytes in base64.
const fn in_base64(mebibytes: usize) -> usize {
    mebibytes * (1 << 20) / 3 * 4 + 4
}

/// <https://platform.openai.com/docs/guides/images-vision>, <https://platform.openai.com/docs/guides/pdf-files>: 512 MB a
/// request, 50 MB a file.
pub(super) const OPENAI: MediaSizes = MediaSizes { file: in_base64(50), request: 512 << 20, ..UNKNOWN };

/// <https://platform.claude.com/docs/en/build-with-claude/vision>: 10 MiB a picture, counted in base64 (`image exceeds 10 MB
/// maximum`), and 32 MB a request.
pub(super) const ANTHROPIC: MediaSizes = MediaSizes { image: 10 << 20, request: 32 << 20, ..UNKNOWN };

/// <https://console.groq.com/docs/vision>: 4 MB a picture in base64.
pub(super) const GROQ: MediaSizes = MediaSizes { image: 4 << 20, ..UNKNOWN };

/// <https://docs.x.ai/docs/guides/image-understanding>: 20 MiB a picture.
pub(super) const XAI: MediaSizes = MediaSizes { image: in_base64(20), ..UNKNOWN };

/// Smallest of the sizes: shorter requests need no look.
pub const SMALLEST: usize = 4 << 20;

/// Checks the pictures and files of a request that is longer than [`SMALLEST`]. Another host than the provider's own has its own
/// limits.
///
/// # Errors
/// `InvalidArgument` for one that is larger than the provider takes.
#[cold]
pub fn check(deployment: &Deployment, request: &Request) -> Result<()> {
    let row = deployment.provider.row();
    let host = |url: &str| url.split('/').nth(2).map(str::to_owned);
    if host(&deployment.base_url) != host(row.base_url) {
        return Ok(());
    }
    let sizes = &row.media;
    let name = match request.operation {
        Operation::Chat => "messages",
        Operation::Responses => "input",
        _ => return Ok(()),
    };
    let mebibytes = |bytes: usize| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let wrong = |what: &str, size: usize, limit: usize| {
        let (size, limit) = (mebibytes(size), mebibytes(limit));
        Err(Error::argument(format!(
            "{name} holds {what} of {size} as it is sent: {} takes at most {limit}, so that a smaller one would be right",
            row.name
        )))
    };
    let json = request.params.get(name).unwrap_or_default();
    if json.len() > sizes.request {
        return wrong("text, pictures and files", json.len(), sizes.request);
    }
    for start in memmem::find_iter(json, b"\"data:") {
        let url = &json[start + 1..];
        let url = &url[..memchr(b'"', url).unwrap_or(url.len())];
        let Some(comma) = memchr(b',', &url[..url.len().min(256)]) else { continue };
        let kind = String::from_utf8_lossy(&url[b"data:".len()..comma]);
        let kind = kind.split(';').next().unwrap_or_default();
        let (what, limit) =
            if kind.starts_with("image/") { ("a picture", sizes.image) } else { ("a file", sizes.file) };
        if url.len() - comma - 1 > limit {
            return wrong(&format!("{what} ({kind})"), url.len() - comma - 1, limit);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::{DeploymentArgs, resolve};
    use crate::types::params::Params;
    use crate::types::secret::Secret;

    fn checked_at(base_url: Option<&str>, provider: &str, name: &str, kind: &str, length: usize) -> Result<()> {
        let operation = if name == "input" { Operation::Responses } else { Operation::Chat };
        let part = format!(r#"{{"url":"data:{kind};base64,{}"}}"#, "A".repeat(length));
        let params = Params::from_json(format!(r#"{{"{name}":[{part}]}}"#).as_bytes()).unwrap();
        let args = DeploymentArgs {
            api_key: Some(Secret::new("k")),
            base_url: base_url.map(Into::into),
            ..DeploymentArgs::default()
        };
        let deployment = resolve(&format!("{provider}/m"), &args, &|_| None).unwrap();
        check(&deployment, &Request { operation, params, ..Default::default() })
    }

    fn checked(provider: &str, name: &str, kind: &str, length: usize) -> Result<()> {
        checked_at(None, provider, name, kind, length)
    }

    #[test]
    fn what_is_too_large_is_named() {
        for (provider, kind, limit) in
            [("anthropic", "image/png", 10 << 20), ("groq", "image/jpeg", 4 << 20), ("xai", "image/png", in_base64(20))]
        {
            for name in ["messages", "input"] {
                checked(provider, name, kind, limit).unwrap();
                let error = checked(provider, name, kind, limit + 1).unwrap_err();
                let what = format!("{name} holds a picture ({kind}) of ");
                assert!(error.message.starts_with(&what) && error.message.contains(provider), "{error}");
            }
            assert!(limit >= SMALLEST, "{provider}");
        }
        let error = checked("openai", "messages", "application/pdf", 68 << 20).unwrap_err();
        assert!(error.message.contains("a file (application/pdf) of 68.0 MiB"), "{error}");
        let error = checked("anthropic", "messages", "application/pdf", 33 << 20).unwrap_err();
        assert!(error.message.contains("text, pictures and files of 33.0 MiB"), "{error}");
        checked("ollama_chat", "messages", "image/png", 5 << 20).unwrap();
        checked_at(Some("https://gateway.example"), "anthropic", "messages", "image/png", 12 << 20).unwrap();
    }
}
