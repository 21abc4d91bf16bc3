//! The strategies: which one of the deployments that are available.

use super::affinity::Affinity;
use super::decision::{Outlook, Time};
use super::deployment::{Deployment, Slot};
use super::options::StrategyKind;
use super::plan::DeploymentIndex;
use crate::types::lru::mix;

/// What a strategy chooses by.
pub struct Choice<'a> {
    /// Time of the choice.
    pub now: Time,
    /// The deployments to choose from: at least one.
    pub candidates: &'a [DeploymentIndex],
    /// What is read of all deployments.
    pub slots: &'a mut [Slot],
    /// Their latencies.
    pub deployments: &'a [Deployment],
    /// Keys and the deployments that they went to.
    pub affinity: &'a mut Affinity,
    /// The call's key, if it has one.
    pub key: Option<u64>,
    /// True if the answer is requested as a stream.
    pub is_stream: bool,
    /// True if an attempt of the same call failed.
    pub is_retry: bool,
}

impl Choice<'_> {
    /// Returns the position of the chosen candidate.
    pub fn pick<O: Outlook + ?Sized>(mut self, kind: StrategyKind, outlook: &mut O) -> usize {
        if self.candidates.len() == 1 && kind != StrategyKind::Affinity {
            return 0;
        }
        match (kind, self.key) {
            (StrategyKind::Weighted, _) => self.weighted(),
            (StrategyKind::Latency, _) => self.latency(outlook),
            (StrategyKind::Usage, _) => self.least(outlook, |outlook, it| -outlook.budget(it).unwrap_or(1.0)),
            (StrategyKind::Cost, _) => self.least(outlook, |outlook, it| outlook.price(it).unwrap_or(f64::INFINITY)),
            (StrategyKind::Affinity, Some(key)) => self.affinity.pick(self.now, key, self.candidates, self.is_retry),
            (StrategyKind::LeastBusy | StrategyKind::Affinity, _) => self.least(outlook, |_, _| 0.0),
            // `Custom` is asked elsewhere: a user's function must not run while the state is locked.
            (StrategyKind::Ordered | StrategyKind::Custom, _) => 0,
        }
    }

    /// Smooth weighted round robin: each gets its share, evenly interleaved.
    ///
    /// <https://github.com/nginx/nginx/commit/52327e0627f49dbda1e8db695e63a4b0af4448b1>
    fn weighted(&mut self) -> usize {
        let (mut total, mut best, mut longest) = (0.0, 0, f64::NEG_INFINITY);
        for (position, &candidate) in self.candidates.iter().enumerate() {
            let slot = &mut self.slots[candidate];
            slot.turn += slot.weight;
            total += slot.weight;
            if slot.turn > longest {
                (best, longest) = (position, slot.turn);
            }
        }
        self.slots[self.candidates[best]].turn -= total;
        best
    }

    /// The one for which `value` is least, of several the one with the fewest attempts in flight for its weight, of several
    /// a random one.
    fn least<O: Outlook + ?Sized>(&self, outlook: &mut O, value: impl Fn(&O, DeploymentIndex) -> f64) -> usize {
        let seed = (outlook.random() * (1u64 << 53) as f64) as u64;
        let lot = |candidate: DeploymentIndex| mix(seed ^ candidate as u64);
        let mut best = (0, f64::INFINITY, f64::INFINITY);
        for (position, &candidate) in self.candidates.iter().enumerate() {
            let slot = &self.slots[candidate];
            let (value, busy) = (value(outlook, candidate), f64::from(slot.in_flight) / slot.weight);
            let is_less = value < best.1 || (value == best.1 && busy < best.2);
            let is_same = value == best.1 && busy == best.2;
            if position == 0 || is_less || (is_same && lot(candidate) < lot(self.candidates[best.0])) {
                best = (position, value, busy);
            }
        }
        best.0
    }

    /// The faster of two random ones: to choose the fastest of all would send every call to the same one until the next
    /// sample comes.
    fn latency<O: Outlook + ?Sized>(&self, outlook: &mut O) -> usize {
        let number = self.candidates.len();
        let first = (outlook.random() * number as f64) as usize;
        let other = (outlook.random() * (number - 1) as f64) as usize;
        let second = if other >= first { other + 1 } else { other };
        let estimate = |position: usize| {
            let candidate = self.candidates[position];
            self.deployments[candidate].latencies[usize::from(self.is_stream)].mean.estimate(self.now)
        };
        let load = |position: usize| f64::from(self.slots[self.candidates[position]].in_flight + 1);
        let (a, b) = match (estimate(first), estimate(second)) {
            // One of which nothing is known is tried, if it is idle; else as if it were like the other.
            (None, Some(_)) if load(first) == 1.0 => (0.0, 1.0),
            (Some(_), None) if load(second) == 1.0 => (1.0, 0.0),
            (a, b) => {
                let like = a.or(b).unwrap_or(1.0);
                (a.unwrap_or(like) * load(first), b.unwrap_or(like) * load(second))
            }
        };
        if a <= b { first } else { second }
    }
}

#[cfg(test)]
mod tests;
