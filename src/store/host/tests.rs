use std::time::Duration;

use super::lock::Taken;
use super::region::is_stuck;

#[test]
fn a_lock_is_stuck_if_it_was_never_given_back() {
    let at = Duration::from_millis;
    let taken = Taken { owner: 7, count: 1 };
    let mut wait = None;
    assert!(!is_stuck(&mut wait, taken, at(10_000)));
    assert!(!is_stuck(&mut wait, taken, at(10_999)));
    assert!(is_stuck(&mut wait, taken, at(11_000)));
    // The same owner has taken it again meanwhile.
    let again = Taken { count: 2, ..taken };
    assert!(!is_stuck(&mut wait, again, at(20_000)));
    assert!(!is_stuck(&mut wait, Taken { owner: 8, ..again }, at(21_000)));
    assert!(is_stuck(&mut wait, Taken { owner: 8, ..again }, at(22_000)));
}
