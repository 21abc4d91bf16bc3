use super::*;

fn affinity(deployments: usize) -> Affinity {
    let names: Vec<String> = (0..deployments).map(|index| format!("deployment {index}")).collect();
    Affinity::new(Options::default(), names.iter().map(|name| (&**name, 1.0)))
}

/// Calls of 200 equally used prefixes on 8 deployments.
struct Run {
    /// Other keys for each seed.
    salt: u64,
    affinity: Affinity,
    random: fastrand::Rng,
    now: Time,
    last: Vec<Option<usize>>,
    calls: Vec<u32>,
    repeats: u32,
    moved: u32,
    moved_keys: Vec<(usize, usize)>,
}

impl Run {
    fn new(seed: u64) -> Self {
        Self {
            salt: mix(seed),
            affinity: affinity(8),
            random: fastrand::Rng::with_seed(seed),
            now: Time::ZERO,
            last: vec![None; 200],
            calls: vec![0; 8],
            repeats: 0,
            moved: 0,
            moved_keys: Vec::new(),
        }
    }

    fn calls(&mut self, number: usize, gap: Duration, candidates: &[usize]) {
        for _ in 0..number {
            self.now += gap;
            let prefix = self.random.usize(..200);
            let key = mix(prefix as u64 ^ self.salt);
            let chosen = candidates[self.affinity.pick(self.now, key, candidates, false)];
            self.calls[chosen] += 1;
            if let Some(last) = self.last[prefix].replace(chosen) {
                self.repeats += 1;
                if last != chosen {
                    self.moved += 1;
                    self.moved_keys.push((prefix, last));
                }
            }
        }
    }

    /// Returns the load of the busiest, relative to an even one.
    fn imbalance(&self, deployments: usize) -> f64 {
        let sum: u32 = self.calls.iter().sum();
        f64::from(*self.calls.iter().max().unwrap()) * deployments as f64 / f64::from(sum)
    }
}

const ALL: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

#[test]
fn repeats_go_where_the_prefix_went_and_load_is_even() {
    for seed in 0..4 {
        for gap in [Duration::ZERO, Duration::from_millis(1), Duration::from_millis(50)] {
            let mut run = Run::new(seed);
            run.calls(10_000, gap, &ALL);
            assert!(run.moved * 100 <= run.repeats, "seed {seed}: {} of {} moved", run.moved, run.repeats);
            assert!(run.imbalance(8) <= 1.25, "seed {seed}: {:?}", run.calls);
        }
    }
}

#[test]
fn a_lost_deployment_moves_only_its_own_share() {
    for seed in 0..4 {
        let mut run = Run::new(seed);
        run.calls(5_000, Duration::from_millis(20), &ALL);
        let before = run.last.clone();
        (run.repeats, run.moved, run.calls) = (0, 0, vec![0; 8]);
        run.moved_keys.clear();
        let rest: Vec<usize> = ALL.into_iter().filter(|&index| index != 3).collect();
        run.calls(5_000, Duration::from_millis(20), &rest);
        let lost = before.iter().filter(|home| **home == Some(3)).count();
        let from_others = run.moved_keys.iter().filter(|(_, last)| *last != 3).count();
        assert!(lost > 10 && run.moved_keys.iter().filter(|(_, last)| *last == 3).count() == lost);
        assert!(from_others * 100 <= run.repeats as usize, "seed {seed}: {from_others} moved besides");
        assert!(run.imbalance(7) <= 1.25, "seed {seed}: {:?}", run.calls);
    }
}

#[test]
fn processes_agree_without_a_word() {
    let mut tables = [affinity(8), affinity(8)];
    let mut same = 0;
    for key in 0..200 {
        let picked = tables.each_mut().map(|table| table.pick(Time::ZERO, mix(key), &ALL, false));
        same += usize::from(picked[0] == picked[1]);
    }
    assert_eq!(same, 200);
    // In another order only the bounds differ.
    let mut other = affinity(8);
    let mut again = affinity(8);
    let homes: Vec<usize> = (0..200).map(|key| again.pick(Time::ZERO, mix(key), &ALL, false)).collect();
    let same = (0..200).rev().filter(|&key| other.pick(Time::ZERO, mix(key), &ALL, false) == homes[key as usize]);
    assert!(same.count() > 140);
}

#[test]
fn one_key_that_is_all_the_traffic_is_spread() {
    let mut table = affinity(4);
    let mut calls = [0u32; 4];
    for _ in 0..10_000 {
        calls[table.pick(Time::ZERO, 7, &[0, 1, 2, 3], false)] += 1;
    }
    // 1.25 of 2,500 and twice the deviation.
    assert!(*calls.iter().max().unwrap() <= 3125 + 101 && *calls.iter().min().unwrap() > 0, "{calls:?}");
    // A few calls are not.
    let mut table = affinity(4);
    let homes: Vec<usize> = (0..3).map(|_| table.pick(Time::ZERO, 7, &[0, 1, 2, 3], false)).collect();
    assert_eq!(homes, [homes[0]; 3]);
}

#[test]
fn a_retry_leaves_the_key_where_it_was() {
    let mut table = affinity(3);
    let home = table.pick(Time::ZERO, 7, &[0, 1, 2], false);
    let rest: Vec<usize> = (0..3).filter(|&index| index != home).collect();
    table.pick(Time::ZERO, 7, &rest, true);
    assert_eq!(table.pick(Time::ZERO, 7, &[0, 1, 2], false), home);
    let moved = rest[table.pick(Time::ZERO, 7, &rest, false)];
    assert_eq!(table.pick(Time::ZERO, 7, &[0, 1, 2], false), moved);
}

#[test]
fn weights_are_kept_and_keys_are_forgotten() {
    let mut table = Affinity::new(Options::default(), [("a", 3.0), ("b", 1.0)].into_iter());
    for key in 0..1000 {
        table.pick(Time::ZERO, mix(key), &[0, 1], false);
    }
    let keys = table.loads.iter().map(|load| load.keys).collect::<Vec<_>>();
    assert!((690..=810).contains(&keys[0]) && keys[0] + keys[1] == 1000, "{keys:?}");
    let later = Duration::from_secs(601);
    for key in 1000..2000 {
        table.pick(later, mix(key), &[0, 1], false);
    }
    assert_eq!(table.loads.iter().map(|load| load.keys).sum::<u32>(), 1000);
    assert_eq!(table.homes.len(), 1000);
}
