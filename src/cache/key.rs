//! Keys of kept answers: a hash of everything that an answer depends on.
//!
//! Two calls have the same key if they ask the same of the same model at the same address, with the same account. All of it
//! is hashed with SHA-256: a caller must not be able to make two requests of the same key, as could be done with a fast hash.

use std::hash::{Hash, Hasher};

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::client::Call;
use crate::providers::{Deployment, is_secret_setting};
use crate::router::route::Router;
use crate::types::canonical_json;
use crate::types::operation::Operation;
use crate::types::request::Request;
use crate::types::secrets::{is_credential, is_credential_in_query};

/// Version of what goes into a key. Entries of another version are never found.
const VERSION: u8 = 2;

/// Header fields that tell calls apart and change no answer.
const OF_TRACING: &[&str] = &[
    "baggage",
    "idempotency-key",
    "sentry-trace",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-amzn-trace-id",
    "x-client-request-id",
    "x-request-id",
];

/// The key of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(pub [u8; 32]);

impl Key {
    /// Returns its first bytes as a number, by which entries are looked up in memory.
    pub fn prefix(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// Returns it in hexadecimal digits.
    pub fn hex(&self) -> String {
        use std::fmt::Write;
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// Callers who get each other's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// Those with the same credentials.
    #[default]
    Account,
    /// All who use the same cache.
    Shared,
}

/// Feeds a hash with what the standard library's trait `Hash` writes.
struct Feed(Sha256);

impl Hasher for Feed {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

/// Returns a hash of where a call goes and with which account, keyed by the cache's own secret.
pub fn account<'a>(salt: &[u8; 32], scope: Scope, deployments: impl Iterator<Item = &'a Deployment>) -> [u8; 32] {
    let mut feed = Feed(Sha256::new_with_prefix(salt));
    for deployment in deployments {
        deployment.provider.row().name.hash(&mut feed);
        deployment.base_url.hash(&mut feed);
        deployment.model.hash(&mut feed);
        deployment.api_version.hash(&mut feed);
        for (name, value) in &deployment.settings {
            if scope == Scope::Account || !is_secret_setting(name) {
                (name, value).hash(&mut feed);
            }
        }
        if scope == Scope::Account {
            deployment.api_key.hash(&mut feed);
            deployment.credentials.secrets().for_each(|secret| secret.hash(&mut feed));
            if let crate::types::credentials::Credentials::Unresolved(source) = &deployment.credentials {
                source.hash(&mut feed);
            }
        }
    }
    feed.0.finalize().into()
}

/// Returns the hash of where a router's calls may go, with the accounts there.
pub fn account_of_router(salt: &[u8; 32], scope: Scope, router: &Router) -> [u8; 32] {
    // What a router's calls have in common is hashed once.
    let fingerprint = router.fingerprint(scope == Scope::Shared, |targets| {
        let deployments = targets.iter().map(|target| &target.deployment);
        let mut feed = Feed(Sha256::new_with_prefix(account(&[0; 32], scope, deployments)));
        for target in targets {
            target.name.hash(&mut feed);
            target.params.hash(&mut feed);
            for (name, value) in &target.headers {
                if scope == Scope::Account || !is_credential(name.as_str()) {
                    (name.as_str(), value.as_bytes()).hash(&mut feed);
                }
            }
        }
        feed.0.finalize().into()
    });
    Sha256::new_with_prefix(salt).chain_update(fingerprint).finalize().into()
}

/// Appends a part with its length before it. With a tag before what there may be any number of, no two requests are written alike.
fn put(text: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let head = text.len();
    text.extend_from_slice(&[0; 8]);
    write(text);
    let length = (text.len() - head - 8) as u64;
    text[head..head + 8].copy_from_slice(&length.to_le_bytes());
}

fn put_all(text: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| put(text, |text| text.extend_from_slice(part)));
}

/// The hash of a request's members but one, by which the keys of its parts begin.
struct Content {
    text: Vec<u8>,
}

impl Content {
    /// Writes what an answer depends on, but for the member `without`.
    fn of(call: &Call, group: Option<&str>, scope: Scope, account: &[u8; 32], without: Option<&str>) -> Self {
        let request = &call.request;
        let mut text = Vec::with_capacity(request.params.len() + 256);
        text.push(VERSION);
        text.extend_from_slice(account);
        put_all(&mut text, &[request.operation.spec().name.as_bytes(), group.unwrap_or_default().as_bytes()]);
        put_all(&mut text, &[&[u8::from(request.stream), u8::from(request.drop_params)]]);
        if let Some(structured) = &request.structured {
            let schema = structured.schema.schema.to_string();
            put_all(&mut text, &[b"schema", structured.schema.name.as_bytes(), schema.as_bytes()]);
        }
        for (name, value) in &request.extra_headers {
            let counts = scope == Scope::Account || !is_credential(name.as_str());
            if counts && !OF_TRACING.contains(&name.as_str()) {
                put_all(&mut text, &[b"header", name.as_str().as_bytes(), value.as_bytes()]);
            }
        }
        for (name, value) in &request.extra_query {
            if scope == Scope::Account || !is_credential_in_query(name) {
                put_all(&mut text, &[b"query", name.as_bytes(), value.as_bytes()]);
            }
        }
        let mut members: Vec<(&str, &[u8])> =
            request.params.iter().filter(|(name, _)| Some(*name) != without).collect();
        members.sort_unstable_by_key(|(name, _)| *name);
        for (name, value) in members {
            put_all(&mut text, &[b"member", name.as_bytes()]);
            put(&mut text, |text| canonical_json::write(value, text));
        }
        Self { text }
    }

    fn key(&self) -> Key {
        Key(Sha256::digest(&self.text).into())
    }
}

/// Keys of a call's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Key of the whole answer, by which calls that ask the same at once find each other.
    pub whole: Key,
    /// Keys of the parts of the answer, of a call for embeddings.
    pub parts: Option<Vec<Key>>,
}

impl Keys {
    /// Returns the keys of a call. `group` is the group of deployments that it names, if a router makes it.
    pub fn of(call: &Call, group: Option<&str>, scope: Scope, account: &[u8; 32]) -> Self {
        let whole = Content::of(call, group, scope, account, None).key();
        let parts = (call.request.operation == Operation::Embedding).then(|| {
            let mut content = Content::of(call, group, scope, account, Some("input"));
            content.text.push(1);
            let head = content.text.len();
            let key = |input: &str| {
                content.text.truncate(head);
                canonical_json::write(input.as_bytes(), &mut content.text);
                content.key()
            };
            inputs(&call.request).into_iter().map(key).collect()
        });
        Self { whole, parts }
    }
}

/// Returns the inputs of a call for embeddings, each as JSON. A list of numbers is one input, of tokens.
pub(super) fn inputs(request: &Request) -> Vec<&str> {
    let Some(input) = request.params.get("input").and_then(|input| std::str::from_utf8(input).ok()) else {
        return Vec::new();
    };
    let list: Option<Vec<&RawValue>> = serde_json::from_str(input).ok();
    match list {
        Some(items)
            if !items.first().is_some_and(|item| item.get().starts_with(|c: char| c == '-' || c.is_ascii_digit())) =>
        {
            items.into_iter().map(RawValue::get).collect()
        }
        _ => vec![input],
    }
}
