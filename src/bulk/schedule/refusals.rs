//! Rows that a rate limit refuses again and again while it answers the others.
//!
//! A refusal by a rate limit is no row's fault, as a rule, and a row waits for as long as its quota is used up. But there are
//! requests that a provider refuses in the same words for what they are, and one of them would keep its job from its end for ever,
//! and cut the rate of all others. It is told by its luck: if most other calls to the same model were answered between two of its
//! refusals, that speaks against it. A large request may be starved by small ones in that way, so that it has the end of the job
//! for itself before it is given up.

use std::collections::HashMap;
use std::time::Duration;

use super::Time;

/// Number of answers between two refusals of a row, from which on they may speak against it.
const FEWEST_ANSWERS: u64 = 8;
/// Number of answers for each other refusal that they need to do so: a row of which one call in three is refused has this many
/// refusals against it, one after another, with a chance of 3⁻²⁰.
const ANSWERS: u64 = 2;
const SURE: u32 = 20;
/// Number of refusals against a row from which on some doubt is left, and none is to be had before.
const DOUBTFUL: u32 = 3;
/// Time between two attempts at a row that is refused for what it is, as far as that is known.
const SELDOM: Duration = Duration::from_secs(60);
/// Number of refusals, without an answer to any other row in between, after which a row is given up, and the time that they take
/// at least: by whether it is sure, doubtful or not known that it is refused for what it is. Quotas of a day begin anew within the
/// longest.
const ALONE: u32 = 5;
const LONGEST_IF_SURE: Duration = Duration::from_secs(660);
const LONGEST_IF_DOUBTFUL: Duration = Duration::from_secs(2 * 3600);
const LONGEST: Duration = Duration::from_secs(25 * 3600);
/// Number of models of which the answers are counted.
const MAX_MODELS: usize = 1000;

/// Answers and refusals of a job's calls, for each model.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    models: HashMap<u64, Counts>,
}

/// Number of answers, and of refusals that are not known to be for what a row is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    answered: u64,
    refused: u64,
}

/// What is known of a row that was refused.
#[derive(Debug, Default)]
pub(super) struct RowRefusals {
    /// The counts at the last refusal, if there was one.
    seen: Option<Counts>,
    /// Number of refusals that speak against it.
    against: u32,
    /// Number of refusals since the last answer to another row, and the time of the first.
    alone: u32,
    since: Time,
}

/// What follows from a refusal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The row waits, at least for this time.
    Wait(Duration),
    /// The row is given up.
    GiveUp,
}

impl Refusals {
    /// Counts an answer.
    pub fn answered(&mut self, model: u64) {
        self.counts(model).answered += 1;
    }

    fn counts(&mut self, model: u64) -> &mut Counts {
        if self.models.len() >= MAX_MODELS && !self.models.contains_key(&model) {
            self.models.clear();
        }
        self.models.entry(model).or_default()
    }

    /// Takes a refusal of a row. `are_last` is true if no others are left but a few.
    pub fn refused(&mut self, now: Time, model: u64, row: &mut RowRefusals, are_last: bool) -> Refused {
        let counts = self.counts(model);
        let seen = row.seen.unwrap_or(*counts);
        // Counts that were forgotten meanwhile say nothing.
        let answered = counts.answered.saturating_sub(seen.answered);
        let refused = counts.refused.saturating_sub(seen.refused);
        if answered >= FEWEST_ANSWERS && answered >= ANSWERS * refused {
            row.against += 1;
        }
        let is_sure = row.against >= SURE;
        if row.alone == 0 || answered > 0 || refused > 0 && !are_last {
            (row.alone, row.since) = (0, now);
        }
        row.alone += 1;
        let longest = match row.against {
            SURE.. => LONGEST_IF_SURE,
            DOUBTFUL.. => LONGEST_IF_DOUBTFUL,
            _ => LONGEST,
        };
        if (is_sure || are_last) && row.alone > ALONE && now.saturating_sub(row.since) >= longest {
            return Refused::GiveUp;
        }
        counts.refused += u64::from(!is_sure);
        row.seen = Some(*counts);
        Refused::Wait(if is_sure { SELDOM } else { Duration::ZERO })
    }
}
