//! Turns of the members that share a ledger, so that small requests of some do not pass the large ones of others for ever.

use bytemuck::{Pod, Zeroable};

/// Time for which a claim holds unless its member asks again, which it does after [`RECHECK`].
const CLAIM: u64 = 60_000_000;

/// Longest time, in nanoseconds, after which a member asks again if it shares the ledger: it does not hear of what others
/// release, of probes that succeed, or of a stop that is ended by hand.
pub(super) const RECHECK: u64 = 50_000_000;

/// The claim of one member, which others must not pass. All zero is none. Times are in nanoseconds.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct Claim {
    /// End of the claim.
    until: u64,
    /// A bit for each member that was held up by it. They have the next ones, in turn.
    held_up: u64,
    /// 1 + the number of the member that has the claim; 0 if none has.
    holder: u64,
}

impl Claim {
    /// Returns the time at which a member that is held up by the claim of another one should ask again.
    pub(super) fn holds_up(&mut self, now: u64, member: usize) -> Option<u64> {
        let again = self.would_hold_up(now, member)?;
        self.held_up |= 1 << member;
        Some(again)
    }

    /// Returns what [`holds_up`](Self::holds_up) would, without a turn for the member.
    pub(super) fn would_hold_up(&self, now: u64, member: usize) -> Option<u64> {
        let is_held_up = self.holder != 0 && self.holder != member as u64 + 1 && now < self.until;
        is_held_up.then(|| self.until.min(now.saturating_add(RECHECK)))
    }

    /// Renews a member's claim, or makes one if its request is large.
    pub(super) fn make(&mut self, now: u64, member: usize, is_large: bool) {
        let holder = member as u64 + 1;
        if is_large || self.holder == holder {
            self.holder = holder;
            self.until = now.saturating_add(CLAIM);
        }
    }

    /// Passes on the claim to the next member that was held up, after this one was admitted.
    pub(super) fn pass(&mut self, now: u64, member: usize) {
        if self.holder == 0 {
            return;
        }
        self.held_up &= !(1 << member);
        let distance = self.held_up.rotate_right(member as u32).trailing_zeros();
        self.holder = if self.held_up == 0 { 0 } else { (member as u64 + u64::from(distance)) % 64 + 1 };
        self.held_up &= !(1 << (self.holder.wrapping_sub(1) % 64));
        self.until = now.saturating_add(CLAIM);
    }

    /// Moves an end that lies further ahead than a valid claim has it, and forgets a holder that is no member.
    pub(super) fn repair(&mut self, now: u64) {
        self.until = self.until.min(now.saturating_add(CLAIM));
        self.holder = if self.holder <= 64 { self.holder } else { 0 };
    }

    /// Forgets a member that has died.
    pub(super) fn forget(&mut self, member: usize) {
        self.held_up &= !(1 << member);
        if self.holder == member as u64 + 1 {
            self.holder = 0;
        }
    }
}
