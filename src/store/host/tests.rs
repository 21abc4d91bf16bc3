use std::time::Duration;

use super::lock::Taken;
use super::region::is_stuck;
use super::{HostBudget, HostRegion};
use crate::limits::{Ledger, Limit, QuotaSpec, Wait};
use crate::types::rate_limit::{Signals, Tokens};

/// Name of a region that is removed at the end.
struct Name(String);

impl Name {
    fn new(test: &str) -> Self {
        Self(format!("unit-{test}-{}-{:x}", std::process::id(), fastrand::u32(..)))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let path = HostRegion::<Ledger>::open(&self.0).unwrap().path();
        std::fs::remove_file(path).unwrap();
    }
}

const HASH: [u8; 32] = [1; 32];
const ONE: Tokens = Tokens { input: 1, output: 0 };

fn at_once(requests: u64) -> QuotaSpec {
    let limit = Limit { requests: Some(requests), ..Limit::per(Duration::from_secs(3_600)) };
    QuotaSpec { limits: vec![limit], max_in_flight: Some(2), burst: Some(1.0), ..QuotaSpec::default() }
}

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

#[test]
fn what_ends_while_the_ledger_is_in_use_is_not_lost() {
    let name = Name::new("busy");
    let mut budget = HostBudget::open(&name.0, HASH).unwrap();
    budget.declare(&at_once(10)).unwrap();
    let [first, second] = [0, 1].map(|_| budget.with(|budget, now| budget.try_take(now, ONE)).unwrap());
    assert!(budget.with(|budget, now| budget.try_take(now, ONE)).is_err());

    let other = HostRegion::<Ledger>::open(&name.0).unwrap();
    let slot = other.quota(&HASH).unwrap();
    other
        .with(slot, |_, _| {
            budget.with(|budget, now| budget.settle(now, first, Some(ONE), &Signals::default()));
            budget.with(|budget, now| budget.give_back(now, second));
            budget.with(|budget, now| {
                assert_eq!(budget.try_take(now, ONE), Err(Wait::Until(now + Duration::from_millis(1))));
            });
        })
        .unwrap();
    assert!(budget.has_deferred());
    let state = budget.with(|budget, now| budget.state(now));
    assert!(!budget.has_deferred());
    assert_eq!((state.in_flight, state.windows[0].used), (0, 1));
}

#[test]
fn budgets_of_a_process_are_one_member() {
    let name = Name::new("shared");
    let mut budgets = [HASH, HASH, [2; 32]].map(|hash| HostBudget::open(&name.0, hash).unwrap());
    for budget in &mut budgets {
        budget.declare(&at_once(10)).unwrap();
    }
    let taken = budgets[0].with(|budget, now| budget.try_take(now, ONE)).unwrap();
    let state = |budget: &mut HostBudget| budget.with(|budget, now| budget.state(now)).in_flight;
    assert_eq!(budgets.each_mut().map(state), [1, 1, 0]);
    assert_eq!(HostRegion::<Ledger>::open(&name.0).unwrap().members(), 2);
    budgets[1].with(|budget, now| budget.cancel(now, taken));
    assert_eq!(budgets.each_mut().map(state), [0, 0, 0]);
}

#[test]
fn a_budget_follows_its_region_to_another_file() {
    let name = Name::new("moves");
    let mut budgets = [HASH, [2; 32]].map(|hash| HostBudget::open(&name.0, hash).unwrap());
    for budget in &mut budgets {
        budget.declare(&at_once(10)).unwrap();
        let _ = budget.with(|budget, now| budget.try_take(now, ONE)).unwrap();
    }
    let region = HostRegion::<Ledger>::open(&name.0).unwrap();
    std::fs::remove_file(region.path()).unwrap();
    drop(region);
    // Noticed within a second of use; here at once.
    budgets.iter_mut().for_each(HostBudget::look_at_once);
    for budget in &mut budgets {
        let state = budget.with(|budget, now| budget.state(now));
        assert_eq!((state.in_flight, state.windows[0].used), (0, 1));
    }
    let region = HostRegion::<Ledger>::open(&name.0).unwrap();
    assert_eq!(region.members(), 2);
    let slot = region.quota(&HASH).unwrap();
    assert!(region.with(slot, |_, _| ()).is_ok());
}

#[test]
fn too_many_windows_are_refused() {
    let name = Name::new("windows");
    let mut budget = HostBudget::open(&name.0, HASH).unwrap();
    let limits =
        (1..10).map(|seconds| Limit { requests: Some(1), ..Limit::per(Duration::from_secs(seconds)) }).collect();
    assert_eq!(budget.declare(&QuotaSpec { limits, ..QuotaSpec::default() }), Err(9));
}
