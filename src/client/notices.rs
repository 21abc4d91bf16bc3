//! Notices for the program's log that belong to no call: a store or a deployment is gone, or back.
//!
//! The network thread never runs Python code, so notices wait here for the next thread of the program that takes a result.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Number of notices that are kept if nobody takes any; the first ones are given up for others.
const MAX_KEPT: usize = 100;

/// True if there are notices.
static ARE_THERE: AtomicBool = AtomicBool::new(false);
static NOTICES: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// Adds a notice, a sentence without keys.
pub fn notify(text: String) {
    let mut notices = NOTICES.lock().unwrap_or_else(PoisonError::into_inner);
    if notices.len() == MAX_KEPT {
        notices.pop_front();
    }
    notices.push_back(text);
    ARE_THERE.store(true, Ordering::Release);
}

/// Returns true if there are notices. It costs one load.
#[inline]
pub fn have_notices() -> bool {
    ARE_THERE.load(Ordering::Relaxed)
}

/// Takes the notices.
pub fn take_notices() -> VecDeque<String> {
    let mut notices = NOTICES.lock().unwrap_or_else(PoisonError::into_inner);
    ARE_THERE.store(false, Ordering::Release);
    std::mem::take(&mut notices)
}
