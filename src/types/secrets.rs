//! The secrets of a call, which must not appear in results or errors: keys, and all parts of header fields, queries and
//! bodies that may be keys.

use std::fmt;

use aws_smithy_types::base64;
use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use smallvec::SmallVec;

use super::members::Text;
use super::redact::Redactor;
use super::secret::Secret;

/// Minimum length of a part of a credential; shorter ones are ordinary words.
const MIN_PART: usize = 6;
/// Minimum length of a password, which may be shorter.
const MIN_PASSWORD: usize = 4;
/// Minimum length of the value of an unknown header field to be treated as a credential.
const MIN_UNKNOWN: usize = 12;

/// The secrets of one call as they were passed. They are split into parts only when a text is redacted, since most
/// calls have no error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets(SmallVec<[Secret; 2]>);

impl Secrets {
    /// Adds a secret.
    pub fn push(&mut self, secret: Secret) {
        self.0.push(secret);
    }

    /// Adds the values of the caller's header fields that may be credentials.
    pub fn add_headers(&mut self, fields: &[(HeaderName, HeaderValue)]) {
        for (name, value) in fields {
            let value = String::from_utf8_lossy(value.as_bytes());
            let last = value.rsplit(' ').next().unwrap_or_default();
            if is_credential(name.as_str()) || (!is_harmless(name.as_str()) && last.len() >= MIN_UNKNOWN) {
                self.push(Secret::new(value));
            }
        }
    }

    /// Adds the values of query parameters whose names are those of credentials.
    pub fn add_query(&mut self, query: &[(String, String)]) {
        let keys = query.iter().filter(|(name, _)| is_credential_in_query(name));
        self.extend(keys.map(|(_, value)| Secret::new(value.as_str())));
    }

    /// Adds the strings of the JSON value `name` whose names are those of credentials, at any depth.
    pub fn add_member(&mut self, name: &str, json: &[u8]) {
        let mut found = Vec::new();
        let mut reader = serde_json::Deserializer::from_slice(json);
        // Strings found before a syntax error are kept.
        drop(Keys { is_key: is_credential(name), found: &mut found }.deserialize(&mut reader));
        self.extend(found.into_iter().filter(|text| text.len() >= MIN_PART).map(Secret::new));
    }

    /// Creates a redactor for these secrets and their parts.
    pub fn redactor(&self) -> Redactor {
        let mut parts = Vec::new();
        for secret in &self.0 {
            add_parts(secret.expose(), &mut parts);
        }
        Redactor::new(parts.iter().map(String::as_str))
    }
}

/// Number of redactors that are remembered: more than most programs have keys.
const MAX_REDACTORS: usize = 32;

/// The redactors of the secrets that the last calls had. Making one takes 2 µs, and most calls have the same secrets.
#[derive(Debug, Default)]
pub struct Redactors(Vec<(Secrets, Redactor)>);

impl Redactors {
    /// Returns the redactor for these secrets and their parts.
    pub fn of(&mut self, secrets: &Secrets) -> &Redactor {
        let at = self.0.iter().position(|(known, _)| known == secrets).unwrap_or_else(|| {
            if self.0.len() >= MAX_REDACTORS {
                self.0.clear();
            }
            self.0.push((secrets.clone(), secrets.redactor()));
            self.0.len() - 1
        });
        &self.0[at].1
    }
}

impl Extend<Secret> for Secrets {
    fn extend<T: IntoIterator<Item = Secret>>(&mut self, secrets: T) {
        self.0.extend(secrets);
    }
}

/// Returns true for header fields that are never confidential and that are useful in errors.
fn is_harmless(name: &str) -> bool {
    const NAMES: [&str; 7] =
        ["accept", "content-type", "traceparent", "tracestate", "user-agent", "x-client-request-id", "x-request-id"];
    NAMES.contains(&name) || name.ends_with("-version") || name.ends_with("-beta")
}

/// Returns true if a name is that of a credential.
pub fn is_credential(name: &str) -> bool {
    const WORDS: [&str; 15] = [
        "apikey",
        "assertion",
        "auth",
        "bearer",
        "cookie",
        "credential",
        "jwt",
        "key",
        "passphrase",
        "passwd",
        "password",
        "secret",
        "session",
        "signature",
        "token",
    ];
    let name = name.to_ascii_lowercase();
    // Words that are part of many others, so the whole name must match: an access token, a shared access signature, a
    // pre-shared key, a one-time password.
    const NAMES: [&str; 7] = ["hmac", "otp", "pat", "psk", "pwd", "sas", "sig"];
    WORDS.iter().any(|word| name.contains(word)) || NAMES.contains(&name.as_str())
}

/// Returns a URL with `***` for the values of query parameters whose names are those of credentials.
pub fn without_credentials(url: &str) -> String {
    let Some((address, query)) = url.split_once('?') else { return url.to_owned() };
    let hide = |parameter: &str| match parameter.split_once('=') {
        Some((name, _)) if is_credential_in_query(&percent_decode_str(name).decode_utf8_lossy()) => {
            format!("{name}=***")
        }
        _ => parameter.to_owned(),
    };
    let shown: Vec<String> = query.split('&').map(hide).collect();
    format!("{address}?{}", shown.join("&"))
}

/// [`is_credential`] for query parameters, whose names are shorter: Azure Functions use `code`.
pub fn is_credential_in_query(name: &str) -> bool {
    is_credential(name) || matches!(name.to_ascii_lowercase().as_str(), "code" | "pass" | "pin" | "pw")
}

/// Adds a secret and all its parts that are secrets by themselves: the words of a header field, the values of cookies
/// and of `Digest`, the user and password of `Basic`, the members of a credential file.
fn add_parts(text: &str, parts: &mut Vec<String>) {
    let text = text.trim();
    parts.push(text.to_owned());
    if text.starts_with(['{', '[']) {
        let mut members = Secrets::default();
        members.add_member("", text.as_bytes());
        for member in &members.0 {
            parts.push(member.expose().to_owned());
            // A server may remove the line feeds of a private key.
            parts.extend(member.expose().lines().filter(|line| line.len() >= 20).map(str::to_owned));
        }
        return;
    }
    let is_delimiter = |character: char| character.is_whitespace() || matches!(character, ',' | ';' | '"');
    let words: Vec<&str> = text.split(is_delimiter).filter(|word| !word.is_empty()).collect();
    // The first of several words is the scheme, such as `Bearer`.
    let is_scheme = |word: &str| words.len() > 1 && word.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
    let skipped = usize::from(words.first().is_some_and(|word| is_scheme(word)));
    for word in &words[skipped..] {
        let value = word.split_once('=').map_or("", |(_, value)| value);
        let pieces = [*word, value].into_iter().chain(word.split(':'));
        parts.extend(pieces.filter(|piece| piece.len() >= MIN_PART).map(str::to_owned));
        if let Some(decoded) = from_base64(word)
            && let Some((user, password)) = decoded.split_once(':')
        {
            parts.extend((user.len() >= MIN_PART).then(|| user.to_owned()));
            parts.extend((password.len() >= MIN_PASSWORD).then(|| password.to_owned()));
            parts.push(decoded);
        }
    }
}

/// Decodes base64 of the standard or the URL-safe alphabet, with or without padding.
fn from_base64(word: &str) -> Option<String> {
    let mut digits = word.trim_end_matches('=').replace('-', "+").replace('_', "/");
    digits.extend(std::iter::repeat_n('=', (4 - digits.len() % 4) % 4));
    String::from_utf8(base64::decode(digits).ok()?).ok()
}

/// Collects the strings of a JSON value whose names are those of credentials.
struct Keys<'a> {
    is_key: bool,
    found: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Keys<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        if self.is_key {
            self.found.push(text.to_owned());
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(name)) = map.next_key()? {
            // `{"api_key": {"value": …}}`
            let is_key = is_credential(&name) || (self.is_key && name == "value");
            map.next_value_seed(Keys { is_key, found: self.found })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Keys { is_key: self.is_key, found: self.found })?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<String> {
        let mut parts = Vec::new();
        add_parts(text, &mut parts);
        parts
    }

    #[test]
    fn every_part_of_a_header_field_is_a_secret() {
        for (text, secrets) in [
            ("Bearer sk-0123456789", &["sk-0123456789"][..]),
            ("sk-0123456789", &["sk-0123456789"]),
            (
                "Basic dXNlcm5hbWU6aHVudGVyMg==",
                &["dXNlcm5hbWU6aHVudGVyMg==", "username", "hunter2", "username:hunter2"],
            ),
            ("Basic dXNlcm5hbWU6aHVudGVyMg", &["hunter2"]),
            (
                "Digest username=\"Mufasa\", nonce=\"7ypf/xlj9XXwfDPE\", response=\"753927fa0e85d155564e2e272a28d180\"",
                &["7ypf/xlj9XXwfDPE", "753927fa0e85d155564e2e272a28d180", "Mufasa"],
            ),
            ("a=b; session=abcdef012345; csrf=\"fedcba987\"", &["abcdef012345", "fedcba987"]),
            ("AWS4-HMAC-SHA256 Credential=AKID/x, Signature=5d672d79c15b13162d92", &["5d672d79c15b13162d92"]),
            ("ApiKey name:sesame-open", &["sesame-open"]),
            (
                r#"{"type": "service_account", "private_key": "-----BEGIN-----\nabcdefghijklmnopqrstuvwxyz\n"}"#,
                &["abcdefghijklmnopqrstuvwxyz"],
            ),
            (r#"{"a": [{"refresh_token": "rt-canary"}, 1, null, true, 1.5]}"#, &["rt-canary"]),
        ] {
            for secret in secrets {
                assert!(parts(text).iter().any(|part| part == secret), "{secret} of {text}: {:?}", parts(text));
            }
        }
        assert!(!parts("Bearer sk-0123456789").contains(&"Bearer".to_owned()));
        assert!(!parts(r#"{"type": "service_account"}"#).contains(&"service_account".to_owned()));
    }

    #[test]
    fn names_say_what_is_a_credential() {
        for name in
            ["Authorization", "proxy-authorization", "x-api-key", "Cookie", "x-my-token", "client_secret", "KEY"]
        {
            assert!(is_credential(name), "{name}");
        }
        for name in ["x-team", "user-agent", "api-version", "temperature"] {
            assert!(!is_credential(name), "{name}");
        }
        let mut secrets = Secrets::default();
        let query = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        secrets.add_query(&[query("sig", "abcdefgh"), query("api-version", "2024-10-21")]);
        secrets.add_member(
            "tools",
            br#"[{"type": "mcp", "authorization": "mcp-canary", "headers": {"X-Key": "x-canary"}}]"#,
        );
        secrets.add_member("", br#"{"api_key": {"type": "inline", "value": "inner-canary"}, "value": "no-canary"}"#);
        secrets.add_member("access_token", br#""top-canary""#);
        secrets.add_member("max_tokens", b"100");
        let texts: Vec<&str> = secrets.0.iter().map(Secret::expose).collect();
        assert_eq!(texts, ["abcdefgh", "mcp-canary", "x-canary", "inner-canary", "top-canary"]);
    }
}
