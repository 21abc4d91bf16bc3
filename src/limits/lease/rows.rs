//! What this member used, by time.

use std::collections::VecDeque;

use super::super::Time;
use super::exchange::{Amount, Use};

/// Number of rows from which on neighbours are joined.
const MANY: usize = 400;

/// What was used, in the order of time.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Time of the newest use in each row, of the oldest one, and the amounts.
    rows: VecDeque<(Time, Time, [i64; 3])>,
}

impl Rows {
    /// Adds what is used now. Uses within `step` share a row, which counts as used at its end.
    pub(super) fn push(&mut self, now: Time, amount: [i64; 3], step: Time) {
        if let Some((newest, oldest, sum)) = self.rows.back_mut()
            && *oldest + step > now
        {
            *newest = now.max(*newest);
            add(sum, amount);
            return;
        }
        self.rows.push_back((now, now, amount));
        if self.rows.len() > MANY {
            self.thin(now);
        }
    }

    /// Takes off what was counted at a time and turned out to be less.
    pub(super) fn correct(&mut self, at: Time, less: [i64; 3]) {
        let mut rest = less;
        for (newest, _, sum) in &mut self.rows {
            if *newest < at {
                continue;
            }
            for (there, rest) in sum.iter_mut().zip(&mut rest) {
                let part = (*rest).min(*there).max(0);
                *there -= part;
                *rest -= part;
            }
            if rest.iter().all(|rest| *rest <= 0) {
                return;
            }
        }
    }

    /// Forgets what is older.
    pub(super) fn forget(&mut self, before: Time) {
        while self.rows.front().is_some_and(|(newest, ..)| *newest < before) {
            self.rows.pop_front();
        }
    }

    /// Joins neighbours that are older than a hundred times their distance.
    fn thin(&mut self, now: Time) {
        let mut thin: VecDeque<(Time, Time, [i64; 3])> = VecDeque::with_capacity(MANY);
        for (newest, oldest, amount) in self.rows.drain(..) {
            match thin.back_mut() {
                Some((last, first, sum)) if newest.saturating_sub(*first) * 100 < now.saturating_sub(newest) => {
                    *last = newest;
                    add(sum, amount);
                }
                _ => thin.push_back((newest, oldest, amount)),
            }
        }
        self.rows = thin;
    }

    /// Returns the sum of the amounts.
    pub(super) fn sum(&self) -> Amount {
        let mut sum = [0; 3];
        self.rows.iter().for_each(|row| add(&mut sum, row.2));
        sum.map(i64::unsigned_abs)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
    }

    /// Returns the rows with their ages.
    pub(super) fn uses(&self, now: Time) -> impl Iterator<Item = Use> {
        self.rows
            .iter()
            .filter(|row| row.2 != [0; 3])
            .map(move |&(newest, _, amount)| Use { age: now.saturating_sub(newest), amount })
    }
}

fn add(sum: &mut [i64; 3], amount: [i64; 3]) {
    for (sum, amount) in sum.iter_mut().zip(amount) {
        *sum = sum.saturating_add(amount);
    }
}
