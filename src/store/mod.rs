//! Places where the state of quotas is shared.
//!
//! - [`host`]: this host's memory, for all processes of its user
//! - [`redis`]: a Redis, for all machines
//! - [`quota_hash`]: the name of a quota, as it is stored

pub mod host;
pub mod redis;

/// Returns the hash by which a store knows a quota. What the quota is named by, which may contain a key, cannot be found out
/// from it; the namespace is its salt.
pub fn quota_hash(namespace: &str, name: &[&[u8]]) -> [u8; 32] {
    let mut hash = ring::hmac::Context::with_key(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, namespace.as_bytes()));
    for part in name {
        // So that no two lists of parts are one text.
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash.sign().as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::quota_hash;

    #[test]
    fn names_that_differ_have_different_hashes() {
        let hash = quota_hash("prod", &[b"openai", b"gpt-4o"]);
        assert_eq!(quota_hash("prod", &[b"openai", b"gpt-4o"]), hash);
        assert_ne!(quota_hash("test", &[b"openai", b"gpt-4o"]), hash);
        assert_ne!(quota_hash("prod", &[b"openaigpt", b"-4o"]), hash);
        assert_ne!(quota_hash("prod", &[b"openai", b"gpt-4o", b""]), hash);
        // Computed with Python's hmac: HMAC-SHA256 of each part's length in 8 bytes, little-endian, and the part.
        assert_eq!(hash[..4], [0x34, 0x13, 0x7e, 0x60]);
    }
}
