//! The signed assertion with which a service account requests an access token.
//!
//! <https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests>. The signature is made
//! by rustls' cryptography, which the library contains for TLS.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_smithy_types::base64;
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

/// Lifetime of the assertion; Google accepts at most one hour.
const SECONDS: u64 = 3600;

/// Creates a signed assertion for the account `email`; `key` is its private key as PEM.
///
/// # Errors
///
/// Returns what is wrong with the private key.
pub(super) fn assertion(
    email: &str,
    key_id: Option<&str>,
    key: &str,
    audience: &str,
    scope: &str,
    now: SystemTime,
) -> Result<String, &'static str> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut header = json!({"alg": "RS256", "typ": "JWT"});
    if let Some(id) = key_id {
        header["kid"] = id.into();
    }
    let claims = json!({"iss": email, "scope": scope, "aud": audience, "iat": now, "exp": now + SECONDS});
    let signed = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| "its private_key is no PEM")?;
    let key = any_supported_type(&key).map_err(|_| "its private_key cannot be used")?;
    let signer = key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).ok_or("its private_key is no RSA key")?;
    let signature = signer.sign(signed.as_bytes()).map_err(|_| "its private_key cannot sign")?;
    Ok(format!("{signed}.{}", encoded(signature)))
}

/// Encodes URL-safe base64 without padding: <https://www.rfc-editor.org/rfc/rfc4648#section-5>.
fn encoded(bytes: impl AsRef<[u8]>) -> String {
    base64::encode(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_none_is_refused_in_words() {
        let error = |key: &str| assertion("e", None, key, "a", "s", UNIX_EPOCH).unwrap_err();
        assert_eq!(error("sesame"), "its private_key is no PEM");
        assert_eq!(
            error("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            "its private_key cannot be used"
        );
    }

    #[test]
    fn base64_is_safe_in_addresses() {
        assert_eq!(encoded([0xfb, 0xff, 0xfe, 0x00]), "-__-AA");
    }
}
