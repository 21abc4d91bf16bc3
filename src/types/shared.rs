//! Strings that one call after the other names, in one place in memory: a model, an address, a key.
//!
//! They are then allocated once, are in the caches when they are asked for, and compare by their address.

use std::cell::RefCell;
use std::sync::Arc;

/// So many are remembered in each thread, …
const REMEMBERED: usize = 8;
/// … none of which is longer.
const LONGEST: usize = 256;

thread_local! {
    /// The latest, and which of them is the next to be forgotten.
    static RECENT: RefCell<([Option<Arc<str>>; REMEMBERED], usize)> = const { RefCell::new(([const { None }; REMEMBERED], 0)) };
}

/// The text, shared with its last use in this thread if that was not long ago.
pub fn shared(text: &str) -> Arc<str> {
    if text.len() > LONGEST {
        return text.into();
    }
    RECENT.with_borrow_mut(|(recent, next)| {
        if let Some(known) = recent.iter().flatten().find(|known| ***known == *text) {
            return known.clone();
        }
        let fresh: Arc<str> = text.into();
        recent[*next] = Some(fresh.clone());
        *next = (*next + 1) % REMEMBERED;
        fresh
    })
}

/// Whether two texts are the same, at once where they are one.
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
        let long = "x".repeat(LONGEST + 1);
        assert!(!Arc::ptr_eq(&shared(&long), &shared(&long)));
        for number in 0..REMEMBERED {
            assert_eq!(&*shared(&number.to_string()), number.to_string());
        }
        assert_eq!(Arc::strong_count(&first), 1);
        assert!(is_same(&first, &shared("first")) && !is_same("first", "firs"));
    }
}
