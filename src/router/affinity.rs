//! Affinity: calls with the same key go to the same deployment, whose cache has their prompt's prefix.
//!
//! A key's deployment is chosen by rendezvous hashing, so that processes agree without a word, and then remembered. A
//! deployment takes no more keys, and no more calls, than a bound allows (consistent hashing with bounded loads,
//! <https://arxiv.org/abs/1608.01350>).

use std::time::Duration;

use super::decision::Time;
use super::options::Affinity as Options;
use super::plan::DeploymentIndex;
use crate::types::lru::{Lru, mix};

/// Time after which a call counts half in the load.
const HALF_LIFE: Duration = Duration::from_secs(300);
/// Number of half-lives after which the loads are scaled down.
const RESCALE_AFTER: f64 = 500.0;

#[derive(Debug, Clone, Copy)]
struct Home {
    deployment: u32,
    /// Time of the last call.
    at: Time,
}

/// What one deployment has.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    /// Hash of the deployment's name.
    seed: u64,
    /// Share of the calls, relative to its siblings.
    weight: f64,
    /// Number of keys that are remembered.
    keys: u32,
    /// Number of calls, each weighed by its time.
    calls: f64,
}

/// Keys and the deployments that they went to.
#[derive(Debug, Clone)]
pub struct Affinity {
    options: Options,
    homes: Lru<Home>,
    loads: Vec<Load>,
    /// Moment at which a call weighs 1.
    since: Time,
}

impl Affinity {
    /// Creates a table of deployments, by name and weight.
    pub fn new<'a>(options: Options, deployments: impl Iterator<Item = (&'a str, f64)>) -> Self {
        let load = |(name, weight): (&str, f64)| Load {
            seed: name.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte))),
            weight,
            ..Load::default()
        };
        Self { options, homes: Lru::new(options.capacity), loads: deployments.map(load).collect(), since: Time::ZERO }
    }

    /// Chooses one of the candidates for a key, and returns its position among them. With `is_retry`, the key stays with its
    /// deployment, which is merely left out of this one call.
    pub fn pick(&mut self, now: Time, key: u64, candidates: &[DeploymentIndex], is_retry: bool) -> usize {
        self.forget(now);
        let call = self.weight_of_call(now);
        let options = self.options;
        let of_all = candidates.iter().map(|&candidate| &self.loads[candidate]);
        let (weights, calls, keys) = of_all.fold((0.0, 0.0, 0.0), |(weights, calls, keys), load| {
            (weights + load.weight, calls + load.calls, keys + f64::from(load.keys))
        });
        let calls = calls / call + 1.0;
        let has_room = |load: &Load| {
            let even = calls * load.weight / weights;
            // Besides the bound, twice the deviation of a random count: few calls say little.
            load.calls / call <= options.max_load * even + 2.0 * even.sqrt()
        };
        let home = self.homes.get_mut(key).map(|home| {
            home.at = now;
            home.deployment as usize
        });
        let at_home = home.and_then(|home| candidates.iter().position(|&candidate| candidate == home));
        let chosen = match at_home {
            Some(position) if has_room(&self.loads[candidates[position]]) => position,
            _ => {
                // Keys keep most of the distance to the bound, so that calls, whose number is random, seldom reach it.
                let max_keys = 1.0 + 0.3 * (options.max_load - 1.0);
                let mut best = (0, 0, f64::NEG_INFINITY);
                for (position, &candidate) in candidates.iter().enumerate() {
                    let load = &self.loads[candidate];
                    let even = (keys + 1.0) * load.weight / weights;
                    let has_few_keys = f64::from(load.keys) < max_keys * even + 1.0;
                    let rank = u8::from(has_room(load)) * 2 + u8::from(has_few_keys);
                    let score = score(key, load);
                    if (rank, score) > (best.1, best.2) || position == 0 {
                        best = (position, rank, score);
                    }
                }
                best.0
            }
        };
        let deployment = candidates[chosen];
        self.loads[deployment].calls += call;
        if at_home.is_none() && !(is_retry && home.is_some()) {
            self.loads[deployment].keys += 1;
            let before = self.homes.insert(key, Home { deployment: deployment as u32, at: now });
            self.leave(before);
        }
        chosen
    }

    fn leave(&mut self, home: Option<Home>) {
        if let Some(home) = home {
            self.loads[home.deployment as usize].keys -= 1;
        }
    }

    /// Forgets two keys at most that were not used for long: more often than keys are added.
    fn forget(&mut self, now: Time) {
        for _ in 0..2 {
            match self.homes.oldest() {
                Some((key, home)) if now.saturating_sub(home.at).as_secs_f64() > self.options.remember_for => {
                    let home = self.homes.remove(key);
                    self.leave(home);
                }
                _ => return,
            }
        }
    }

    /// Returns the weight of a call at `now`: 2ⁿ after n half-lives, which is the same as if old calls weighed less.
    fn weight_of_call(&mut self, now: Time) -> f64 {
        let half_lives = now.saturating_sub(self.since).as_secs_f64() / HALF_LIFE.as_secs_f64();
        if half_lives <= RESCALE_AFTER {
            return half_lives.exp2();
        }
        self.loads.iter_mut().for_each(|load| load.calls *= (-half_lives).exp2());
        self.since = now;
        1.0
    }
}

/// Returns the rank of a deployment for a key: each wins a share of the keys that is proportional to its weight.
///
/// <https://en.wikipedia.org/wiki/Rendezvous_hashing#Weighted_rendezvous_hash>
fn score(key: u64, load: &Load) -> f64 {
    let uniform = ((mix(key ^ load.seed) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -load.weight / uniform.ln()
}

#[cfg(test)]
mod tests;
