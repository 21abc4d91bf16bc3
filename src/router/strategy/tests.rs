use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::router::config::{Config, DeploymentConfig, GroupConfig};
use crate::router::decision::Failure;
use crate::router::deployment::Outcome;
use crate::router::state::{Candidates, Query, State};
use crate::types::rate_limit::FailureClass;

#[derive(Default)]
struct Known {
    random: Option<fastrand::Rng>,
    budgets: Vec<Option<f64>>,
    prices: Vec<Option<f64>>,
}

impl Outlook for Known {
    fn random(&mut self) -> f64 {
        self.random.get_or_insert_with(|| fastrand::Rng::with_seed(1)).f64()
    }

    fn budget(&self, deployment: DeploymentIndex) -> Option<f64> {
        self.budgets.get(deployment).copied().flatten()
    }

    fn price(&self, deployment: DeploymentIndex) -> Option<f64> {
        self.prices.get(deployment).copied().flatten()
    }
}

fn state(strategy: &str, weights: &[f64], change: impl Fn(&mut Config)) -> State {
    let deployment = |weight: &f64| DeploymentConfig {
        provider: "p".into(),
        model: "m".into(),
        weight: Some(*weight),
        ..DeploymentConfig::default()
    };
    let deployments = weights.iter().map(deployment).collect();
    let mut config = Config {
        groups: vec![GroupConfig { name: "g".into(), deployments, is_embedding: false }],
        strategy: Some(strategy.into()),
        ..Config::default()
    };
    change(&mut config);
    State::new(Arc::new(config.compile().unwrap()), || 0.0)
}

const QUERY: Query<'static> = Query { group: 0, left_out: &[], end: None, is_again: false, may_probe: true };

fn pick(state: &mut State, now: Time, known: &mut Known) -> DeploymentIndex {
    let mut candidates = Candidates::new();
    state.candidates(now, &QUERY, known, |_| true, &mut candidates);
    let position = state.pick(now, &candidates, known, None, false, false);
    candidates[position]
}

/// Numbers of calls, each of which has ended before the next one.
fn picks(state: &mut State, calls: usize, known: &mut Known) -> Vec<usize> {
    let mut counts = vec![0; state.plan().deployments.len()];
    (0..calls).for_each(|_| counts[pick(state, Time::ZERO, known)] += 1);
    counts
}

/// A call that takes this long.
fn call(state: &mut State, deployment: DeploymentIndex, start: Time, latency: f64) {
    let ticket = state.begin(deployment, start, false);
    state.end(ticket, start + Duration::from_secs_f64(latency), &Outcome::Success, 0.0);
}

#[test]
fn weighted_interleaves_by_weight() {
    let mut known = Known::default();
    let mut even = state("weighted", &[5.0, 1.0, 1.0], |_| {});
    assert_eq!(pick(&mut even, Time::ZERO, &mut known), 0);
    let order: Vec<usize> = (0..7).map(|_| pick(&mut even, Time::ZERO, &mut known)).collect();
    assert_eq!(order, [0, 0, 0, 1, 0, 0, 2]);
    assert_eq!(picks(&mut even, 7000, &mut known), [5000, 1000, 1000]);
    // The first call of a process is no matter of the list's order.
    let plan = even.plan().clone();
    let mut random = fastrand::Rng::with_seed(3);
    let mut first = [0; 3];
    for _ in 0..700 {
        first[pick(&mut State::new(plan.clone(), || random.f64()), Time::ZERO, &mut known)] += 1;
    }
    assert!((450..550).contains(&first[0]) && first[1] > 70 && first[2] > 70, "{first:?}");
}

#[test]
fn least_busy_counts_calls_in_flight_by_weight() {
    let mut known = Known::default();
    let mut state = state("least_busy", &[2.0, 1.0, 1.0], |_| {});
    let mut tickets = Vec::new();
    for _ in 0..40 {
        let deployment = pick(&mut state, Time::ZERO, &mut known);
        tickets.push(state.begin(deployment, Time::ZERO, false));
    }
    let in_flight = |state: &State| (0..3).map(|deployment| state.slot(deployment).in_flight).collect::<Vec<_>>();
    assert_eq!(in_flight(&state), [20, 10, 10]);
    for ticket in tickets {
        state.end(ticket, Time::ZERO, &Outcome::Cancelled(None), 0.0);
    }
    assert_eq!(in_flight(&state), [0, 0, 0]);
    // Of several idle ones, any.
    assert!(picks(&mut state, 300, &mut known).iter().all(|count| (70..130).contains(count)));
}

#[test]
fn latency_prefers_the_faster_and_explores_the_unknown() {
    let mut known = Known::default();
    let mut state = state("latency", &[1.0; 3], |_| {});
    call(&mut state, 0, Time::ZERO, 0.2);
    call(&mut state, 1, Time::ZERO, 0.8);
    // Two of three pairs have the unknown one.
    let counts = picks(&mut state, 3000, &mut known);
    assert!((1850..2150).contains(&counts[2]) && (850..1150).contains(&counts[0]) && counts[1] == 0, "{counts:?}");
    call(&mut state, 2, Time::ZERO, 0.4);
    let counts = picks(&mut state, 3000, &mut known);
    assert!((1850..2150).contains(&counts[0]) && (850..1150).contains(&counts[2]) && counts[1] == 0, "{counts:?}");
    // One that is busy has as many times the latency.
    let tickets: Vec<_> = (0..4).map(|_| state.begin(0, Time::ZERO, false)).collect();
    assert_eq!(picks(&mut state, 300, &mut known).iter().enumerate().max_by_key(|(_, count)| **count).unwrap().0, 2);
    for ticket in tickets {
        state.end(ticket, Time::ZERO, &Outcome::Cancelled(None), 0.0);
    }
    // One that was slow long ago is tried again.
    let now = Duration::from_secs(200);
    call(&mut state, 0, now, 0.2);
    call(&mut state, 2, now, 0.4);
    let asked = (0..100).filter(|_| pick(&mut state, now, &mut known) == 1).count();
    assert!(asked > 30, "{asked}");
}

#[test]
fn usage_and_cost_take_the_extremes_and_the_unknown_last() {
    let mut known = Known::default();
    let mut usage = state("usage", &[1.0; 3], |_| {});
    known.budgets = vec![Some(0.2), Some(0.7), Some(0.5)];
    assert_eq!(picks(&mut usage, 10, &mut known), [0, 10, 0]);
    let mut cost = state("cost", &[1.0; 4], |_| {});
    known.prices = vec![None, Some(2.0), Some(1.0), Some(1.0)];
    let counts = picks(&mut cost, 100, &mut known);
    assert!(counts[0] == 0 && counts[1] == 0 && counts[2] > 20 && counts[3] > 20, "{counts:?}");
    known.prices = vec![None, None, Some(3.0), None];
    assert_eq!(picks(&mut cost, 10, &mut known), [0, 0, 10, 0]);
}

#[test]
fn precedence_comes_before_every_strategy() {
    for strategy in ["weighted", "least_busy", "latency", "usage", "cost", "ordered", "affinity"] {
        let mut known = Known::default();
        let mut state = state(strategy, &[1.0; 3], |config| {
            for (deployment, order) in config.groups[0].deployments.iter_mut().zip([7, -1, 7]) {
                deployment.order = order;
            }
        });
        assert_eq!(picks(&mut state, 20, &mut known), [0, 20, 0], "{strategy}");
        let ticket = state.begin(1, Time::ZERO, false);
        let error = crate::error::Error::new(crate::error::ErrorKind::Authentication, "");
        let failure = Failure::new(&error, false, true);
        assert_eq!(failure.class, FailureClass::Auth);
        state.end(ticket, Time::ZERO, &Outcome::Failure(failure), 0.0);
        let counts = picks(&mut state, 20, &mut known);
        assert!(counts[1] == 0 && counts[0] + counts[2] == 20, "{strategy}: {counts:?}");
    }
}
