//! An answer that is kept, and its form in a file or a Redis.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::key::Key;
use crate::client::Chunk;
use crate::types::answer::{Answer, Meta};
use crate::types::http::Headers;

/// Begin of every encoded entry: name and version of the form.
const MAGIC: &[u8; 8] = b"RiteLLM1";
/// Length of what precedes the description: the form, the checksum and the key.
const HEAD: usize = 8 + 8 + 32;

/// Time at which an entry that never expires does, in milliseconds since 1970.
const NEVER: u64 = u64::MAX;

/// An answer that is kept.
#[derive(Debug)]
pub struct Entry {
    /// The body of an answer, the chunks of a stream, or the parts that make up an embedding.
    pub pieces: Vec<Chunk>,
    /// Metadata of the answer, marked as kept.
    pub meta: Meta,
    /// Unix time in milliseconds at which the answer came.
    pub created: u64,
    /// Unix time in milliseconds at which it ends.
    expires: u64,
}

/// What precedes the pieces of an encoded entry.
#[derive(Serialize, Deserialize)]
struct Description<'a> {
    created: u64,
    expires: u64,
    provider: &'a str,
    model: &'a str,
    status: u16,
    deployment: Option<&'a str>,
    /// Names of the parameters that were left out.
    dropped: Vec<String>,
    headers: String,
    /// Length of each piece, and true if the caller gets it.
    pieces: Vec<(u32, bool)>,
}

impl Entry {
    /// Creates an entry. The pieces are copied: they may be parts of large buffers.
    pub fn new(pieces: &[Chunk], meta: &Meta, now: u64, ttl: Option<std::time::Duration>) -> Self {
        let mut all = Vec::with_capacity(pieces.iter().map(|(piece, _)| piece.len()).sum());
        pieces.iter().for_each(|(piece, _)| all.extend_from_slice(piece));
        let mut rest = Bytes::from(all);
        let pieces = pieces.iter().map(|(piece, is_shown)| (rest.split_to(piece.len()), *is_shown)).collect();
        let ttl = ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(NEVER));
        Self { pieces, meta: kept(meta), created: now, expires: ttl.map_or(NEVER, |ttl| now.saturating_add(ttl)) }
    }

    /// Returns true if the answer may still be given out at `now` to a caller who takes none older than `ttl`.
    pub fn is_fresh(&self, now: u64, ttl: Option<std::time::Duration>) -> bool {
        let age = now.saturating_sub(self.created);
        now < self.expires && ttl.is_none_or(|ttl| u128::from(age) < ttl.as_millis())
    }

    /// Returns the time for which it is still kept, in milliseconds; `None` if for ever.
    pub fn rest(&self, now: u64) -> Option<u64> {
        (self.expires != NEVER).then(|| self.expires.saturating_sub(now))
    }

    /// Number of bytes that it takes in memory, about.
    pub fn size(&self) -> usize {
        let pieces: usize = self.pieces.iter().map(|(piece, _)| piece.len() + size_of::<Chunk>()).sum();
        pieces + size_of::<Self>() + self.meta.headers.lines().map(|line| line.len() + 1).sum::<usize>() + 128
    }

    /// Returns the whole answer.
    pub fn answer(&self) -> Answer {
        let body = self.pieces.first().map(|(body, _)| body.clone()).unwrap_or_default();
        Answer { body, meta: self.meta.clone() }
    }

    /// Encodes it.
    pub fn encode(&self, key: &Key) -> Vec<u8> {
        let lines = self.meta.headers.lines().flat_map(|line| [line, b"\n"]).collect::<Vec<_>>().concat();
        let description = Description {
            created: self.created,
            expires: self.expires,
            provider: &self.meta.provider,
            model: &self.meta.model,
            status: self.meta.status,
            deployment: self.meta.deployment.as_deref(),
            dropped: self.meta.dropped_params.clone(),
            headers: String::from_utf8_lossy(&lines).into_owned(),
            pieces: self.pieces.iter().map(|(piece, is_shown)| (piece.len() as u32, *is_shown)).collect(),
        };
        let description = serde_json::to_vec(&description).expect("texts and numbers");
        let mut out = Vec::with_capacity(HEAD + 4 + description.len() + self.size());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&key.0);
        out.extend_from_slice(&(description.len() as u32).to_le_bytes());
        out.extend_from_slice(&description);
        self.pieces.iter().for_each(|(piece, _)| out.extend_from_slice(piece));
        let checksum = XxHash3_64::oneshot(&out[16..]);
        out[8..16].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Decodes an entry; `None` if it is damaged, of another form, or of another key.
    pub fn decode(key: &Key, bytes: &Bytes) -> Option<Self> {
        let (head, _) = bytes.split_at_checked(HEAD)?;
        let checksum = u64::from_le_bytes(head[8..16].try_into().ok()?);
        if head[..8] != *MAGIC || head[16..] != key.0 || checksum != XxHash3_64::oneshot(&bytes[16..]) {
            return None;
        }
        let length = u32::from_le_bytes(bytes.get(HEAD..HEAD + 4)?.try_into().ok()?) as usize;
        let end = (HEAD + 4).checked_add(length)?;
        let description: Description<'_> = serde_json::from_slice(bytes.get(HEAD + 4..end)?).ok()?;
        let mut at = end;
        let mut pieces = Vec::with_capacity(description.pieces.len().min(bytes.len()));
        for (length, is_shown) in &description.pieces {
            let end = at.checked_add(*length as usize).filter(|end| *end <= bytes.len())?;
            pieces.push((bytes.slice(at..end), *is_shown));
            at = end;
        }
        let meta = Meta {
            provider: description.provider.to_owned().into(),
            model: description.model.into(),
            status: description.status,
            deployment: description.deployment.map(Into::into),
            dropped_params: description.dropped,
            headers: Headers::new(description.headers.into_bytes().into()),
            cached: true,
            ..Meta::default()
        };
        Some(Self { pieces, meta, created: description.created, expires: description.expires })
    }
}

/// Returns header fields without cookies, which belong to one caller.
pub(super) fn without_cookies(headers: &Headers) -> Headers {
    let is_cookie = |line: &[u8]| line.get(..10).is_some_and(|name| name.eq_ignore_ascii_case(b"set-cookie"));
    if !headers.lines().any(is_cookie) {
        return headers.clone();
    }
    let lines = headers.lines().filter(|line| !is_cookie(line)).flat_map(|line| [line, b"\n"]).collect::<Vec<_>>();
    Headers::new(lines.concat().into())
}

/// Returns the metadata of an answer as it is kept: without secrets, cookies and what was particular to the call.
fn kept(meta: &Meta) -> Meta {
    Meta {
        provider: meta.provider.clone(),
        model: meta.model.clone(),
        status: meta.status,
        headers: without_cookies(&meta.shown_headers()).into_owned(),
        dropped_params: meta.dropped_params.clone(),
        deployment: meta.deployment.clone(),
        cached: true,
        ..Meta::default()
    }
}
