//! The ledger of `limits` as the state of a quota.

use super::region::SharedState;
use crate::limits::{Ledger, Time};

impl SharedState for Ledger {
    const VERSION: u32 = Self::VERSION;

    fn repair(&mut self, now: Time) {
        self.repair(now);
    }

    fn release_member(&mut self, member: usize, _now: Time) {
        self.free_member(member);
    }
}
