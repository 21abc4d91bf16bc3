//! Interning of the strings that successive calls repeat: a model, an address, a key.
//!
//! An interned string is allocated once, stays in the CPU caches, and compares by its address.

use std::cell::RefCell;
use std::sync::Arc;

/// Number of strings cached per thread.
const CACHED: usize = 8;
/// Maximum length of a cached string, in bytes.
const MAX_LENGTH: usize = 256;

thread_local! {
    /// The most recent strings, and the index of the one to be replaced next.
    static RECENT: RefCell<([Option<Arc<str>>; CACHED], usize)> = const { RefCell::new(([const { None }; CACHED], 0)) };
}

/// Returns the text as an `Arc`, shared with its last use in this thread if that was recent.
pub fn shared(text: &str) -> Arc<str> {
    if text.len() > MAX_LENGTH {
        return text.into();
    }
    RECENT.with_borrow_mut(|(recent, next)| {
        if let Some(known) = recent.iter().flatten().find(|known| ***known == *text) {
            return known.clone();
        }
        let fresh: Arc<str> = text.into();
        recent[*next] = Some(fresh.clone());
        *next = (*next + 1) % CACHED;
        fresh
    })
}

/// Returns true if two texts are equal; immediate if they are at the same address.
pub fn is_same(one: &str, other: &str) -> bool {
    std::ptr::eq(one, other) || one == other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_shared_and_the_rest_forgotten() {
        let first = shared("first");
        assert!(Arc::ptr_eq(&first, &shared("first")));
        assert!(!Arc::ptr_eq(&first, &shared("other")));
        let long = "x".repeat(MAX_LENGTH + 1);
        assert!(!Arc::ptr_eq(&shared(&long), &shared(&long)));
        for number in 0..CACHED {
            assert_eq!(&*shared(&number.to_string()), number.to_string());
        }
        assert_eq!(Arc::strong_count(&first), 1);
        assert!(is_same(&first, &shared("first")) && !is_same("first", "firs"));
    }
}
