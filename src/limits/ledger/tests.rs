use std::time::Duration;

use bytemuck::Zeroable;

use super::*;
use crate::error::ErrorKind;
use crate::limits::{Limit, PauseReason};
use crate::types::rate_limit::{Refused, Reset};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

fn ledger(spec: &QuotaSpec) -> Box<Ledger> {
    let mut ledger = Box::new(Ledger::zeroed());
    ledger.declare(spec).expect("at most eight windows");
    ledger
}

fn spec(limits: &[Limit]) -> QuotaSpec {
    QuotaSpec { limits: limits.to_vec(), ..QuotaSpec::default() }
}

fn rpm(requests: u64) -> Limit {
    Limit { requests: Some(requests), ..Limit::per(MINUTE) }
}

fn failure(class: FailureClass) -> Signals {
    Signals { failure: Some(class), ..Signals::default() }
}

fn tokens(input: u64) -> Tokens {
    Tokens { input, output: 0 }
}

/// Returns the largest sum of amounts in any window of this length.
fn most(log: &[(Duration, u64)], period: Duration) -> u64 {
    let (mut first, mut sum, mut most) = (0, 0, 0);
    for &(time, amount) in log {
        sum += amount;
        while log[first].0 + period <= time {
            sum -= log[first].1;
            first += 1;
        }
        most = most.max(sum);
    }
    most
}

/// Sends requests as soon as they are admitted, with timers that are up to a millisecond late.
fn saturate(
    ledger: &mut Ledger,
    random: &mut fastrand::Rng,
    mut now: Duration,
    end: Duration,
    mut size: impl FnMut(&mut fastrand::Rng) -> u64,
) -> Vec<(Duration, u64)> {
    let mut log = Vec::new();
    while now < end {
        let size = size(random);
        loop {
            match ledger.member(0).try_take(now, tokens(size)) {
                Ok(taken) => {
                    log.push((taken.at, size));
                    ledger.member(0).settle(now, taken, Some(tokens(size)), &Signals::default());
                    break;
                }
                Err(Wait::Until(time)) => {
                    assert!(time > now, "{time:?} at {now:?}");
                    now = time + Duration::from_micros(random.u64(..1000));
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }
    log
}

/// Checks a log of saturated use: the limit holds in any window, and 95 % of it are used.
fn check(log: &[(Duration, u64)], limit: u64, period: Duration, random: &mut fastrand::Rng, what: &str) {
    let most_admitted = most(log, period);
    assert!(most_admitted <= limit, "{what}: {most_admitted} of {limit} in a window");
    if period >= MINUTE {
        let delay = |time: Duration, random: &mut fastrand::Rng| time + Duration::from_millis(random.u64(..300));
        let mut arrived: Vec<_> = log.iter().map(|&(time, amount)| (delay(time, random), amount)).collect();
        arrived.sort();
        let most_arrived = most(&arrived, period);
        assert!(most_arrived <= limit, "{what}: {most_arrived} of {limit} arrived in a window");
    }
    let (start, end) = (log[0].0 + period, log[log.len() - 1].0);
    let used: u64 = log.iter().filter(|entry| (start..end).contains(&entry.0)).map(|entry| entry.1).sum();
    let share = used as f64 / (limit as f64 * (end - start).as_secs_f64() / period.as_secs_f64());
    assert!(share >= 0.95, "{what}: {share:.3} used");
}

/// Each admission of a small limit has its own entry in the log, so that nothing has to be left unused for those that share one.
#[test]
fn a_small_limit_is_used_but_for_the_room() {
    for (limit, least) in [(24, 0.98), (128, 0.98), (129, 0.97)] {
        let mut random = fastrand::Rng::with_seed(2);
        let mut ledger = ledger(&QuotaSpec { burst: Some(0.02), ..spec(&[rpm(limit)]) });
        let log = saturate(&mut ledger, &mut random, DAY, DAY + MINUTE * 101, |_| 1);
        let used = log.iter().filter(|entry| entry.0 >= DAY + MINUTE).count() as f64 / (limit * 100) as f64;
        assert!((least..=60.0 / 61.2 + 0.001).contains(&used), "{limit}: {used}");
    }
}

/// Requests that were sent together are refused with times of their own; one ends later than the pause that the first one began.
#[test]
fn the_latest_end_that_a_refusal_tells_holds_for_a_learnt_limit() {
    let mut ledger = ledger(&QuotaSpec { adaptive: true, ..QuotaSpec::default() });
    let millis = Duration::from_millis;
    let take = |ledger: &mut Ledger| ledger.member(0).try_take(DAY, tokens(1)).expect("nothing is known");
    let (first, second, third) = (take(&mut ledger), take(&mut ledger), take(&mut ledger));
    let refused = |after| Signals { retry_after: Some(after), ..failure(FailureClass::Rate) };
    let settle = |ledger: &mut Ledger, at, taken, signals| ledger.member(0).settle(DAY + at, taken, None, &signals);
    settle(&mut ledger, millis(20), first, refused(SECOND));
    settle(&mut ledger, millis(35), second, refused(SECOND));
    settle(&mut ledger, millis(50), third, refused(millis(500)));
    let until = ledger.member(0).try_take(DAY + millis(60), tokens(1)).expect_err("a pause");
    assert_eq!(until, Wait::Until(DAY + millis(1035)));
}

#[test]
fn requests_of_a_window_hold_their_limit_and_use_it() {
    let mut random = fastrand::Rng::with_seed(1);
    for burst in [None, Some(0.02), Some(1.0)] {
        for period in [SECOND, MINUTE, DAY] {
            for limit in [1_u64, 2, 10, 50, 127, 128, 129, 600, 10_000] {
                let limits = [Limit { requests: Some(limit), ..Limit::per(period) }];
                let mut ledger = ledger(&QuotaSpec { burst, ..spec(&limits) });
                let windows = (30_000 / limit).clamp(4, 60) as u32;
                let log = saturate(&mut ledger, &mut random, DAY, DAY + period * windows, |_| 1);
                check(&log, limit, period, &mut random, &format!("{limit} in {period:?}, burst {burst:?}"));
            }
        }
    }
}

#[test]
fn tokens_of_unequal_sizes_hold_their_limit_and_use_it() {
    let mut random = fastrand::Rng::with_seed(2);
    for burst in [None, Some(0.02)] {
        for period in [SECOND, MINUTE, DAY] {
            for limit in [20_000_u64, 2_000_000, 150_000_000] {
                let limits = [Limit { tokens: Some(limit), ..Limit::per(period) }];
                let mut ledger = ledger(&QuotaSpec { burst, ..spec(&limits) });
                // Sizes from 1/100,000 of the limit to a twentieth.
                let size = |random: &mut fastrand::Rng| (limit as f64 / 20.0 * random.f64().powi(4)) as u64 + 1;
                let log = saturate(&mut ledger, &mut random, DAY, DAY + period * 12, size);
                check(&log, limit, period, &mut random, &format!("{limit} in {period:?}, burst {burst:?}"));
            }
        }
    }
}

/// Requests that arrive a little too often: the log's entries are apart, and each stands for many of them.
#[test]
fn a_log_of_merged_entries_holds_its_limit() {
    let mut random = fastrand::Rng::with_seed(6);
    for period in [SECOND, MINUTE, DAY] {
        for limit in [200_u32, 2_000] {
            let limits = [Limit { requests: Some(limit.into()), ..Limit::per(period) }];
            let mut ledger = ledger(&QuotaSpec { burst: Some(1.0), ..spec(&limits) });
            let mut log = Vec::new();
            let mut arrives = DAY;
            let mut now = DAY;
            while now < DAY + period * 8 {
                arrives += (period / limit).mul_f64(random.f64() * 1.7);
                now = now.max(arrives);
                while let Err(Wait::Until(time)) = ledger.member(0).try_take(now, tokens(1)) {
                    now = time;
                }
                log.push((now, 1));
            }
            check(&log, limit.into(), period, &mut random, &format!("{limit} in {period:?}"));
        }
    }
}

#[test]
fn all_limits_of_a_quota_hold() {
    let mut random = fastrand::Rng::with_seed(3);
    let limits = [
        Limit { requests: Some(600), tokens: Some(90_000), ..Limit::per(MINUTE) },
        Limit { requests: Some(20), ..Limit::per(SECOND) },
        Limit { requests: Some(3_000), ..Limit::per(DAY) },
    ];
    let mut ledger = ledger(&spec(&limits));
    let log = saturate(&mut ledger, &mut random, DAY, DAY + MINUTE * 8, |random| random.u64(1..300));
    let requests: Vec<_> = log.iter().map(|entry| (entry.0, 1)).collect();
    assert!(most(&log, MINUTE) <= 90_000);
    assert!(most(&requests, MINUTE) <= 600);
    assert!(most(&requests, SECOND) <= 20);
    assert_eq!(most(&requests, DAY), 3_000, "the limit of the day is not smoothed, and used up in five minutes");
}

#[test]
fn a_batch_after_idleness_goes_at_once_until_a_refusal_says_otherwise() {
    let admitted_at_once = |ledger: &mut Ledger, now| {
        let mut held = Vec::new();
        while let Ok(taken) = ledger.member(0).try_take(now, tokens(1)) {
            held.push(taken);
        }
        held
    };
    let mut ledger = ledger(&spec(&[rpm(600)]));
    let mut held = admitted_at_once(&mut ledger, DAY);
    assert!((180..=185).contains(&held.len()), "{}", held.len());
    ledger.member(0).settle(DAY + SECOND, held.remove(0), None, &failure(FailureClass::Rate));
    assert_eq!(ledger.member(0).state(DAY + SECOND).burst, 0.02);

    let later = DAY + MINUTE * 2;
    let probe = ledger.member(0).try_take(later, tokens(1)).unwrap();
    ledger.member(0).settle(later, probe, None, &Signals::default());
    let held = admitted_at_once(&mut ledger, later);
    assert!((11..=13).contains(&held.len()), "{}", held.len());
}

#[test]
fn a_request_larger_than_a_window_runs_alone() {
    let mut ledger = ledger(&spec(&[Limit { tokens: Some(1_000), ..Limit::per(MINUTE) }]));
    let small = ledger.member(0).try_take(DAY, tokens(10)).unwrap();
    assert_eq!(small.alone, None);
    let Err(Wait::Until(time)) = ledger.member(0).try_take(DAY + SECOND, tokens(5_000)) else { panic!() };
    assert!(time >= DAY + MINUTE && time < DAY + MINUTE * 2, "{time:?}");
    let large = ledger.member(0).try_take(time, tokens(5_000)).unwrap();
    let reason = Refusal::TooLarge { unit: Unit::Tokens, limit: 1_000, period: MINUTE, tokens: 5_000 };
    assert_eq!(large.alone, Some(reason));
    assert!(ledger.member(0).try_take(time + SECOND * 30, tokens(1)).is_err());
    // It used less than was estimated: the difference is available at once, but for what pacing spreads out.
    ledger.member(0).settle(time + SECOND * 30, large, Some(tokens(400)), &Signals::default());
    ledger.member(0).settle(time + SECOND * 30, small, None, &Signals::default());
    let state = ledger.member(0).state(time + SECOND * 30);
    assert_eq!((state.windows[0].used, state.in_flight, state.reserved), (400, 0, 0));
    let other = ledger.member(0).try_take(time + SECOND * 30, tokens(500)).unwrap();
    // It used more: the window is over its limit until that leaves it.
    ledger.member(0).settle(time + SECOND * 40, other, Some(tokens(900)), &Signals::default());
    let Err(Wait::Until(next)) = ledger.member(0).try_take(time + SECOND * 40, tokens(50)) else { panic!() };
    assert!(next >= time + MINUTE, "{next:?}");
}

#[test]
fn a_request_that_was_not_sent_is_given_back_whole() {
    let mut ledger = ledger(&spec(&[Limit { tokens: Some(1_000), ..rpm(1) }]));
    let taken = ledger.member(0).try_take(DAY, tokens(100)).unwrap();
    assert!(ledger.member(0).try_take(DAY, tokens(100)).is_err());
    ledger.member(0).give_back(DAY + SECOND, taken);
    let taken = ledger.member(0).try_take(DAY + SECOND, tokens(100)).expect("nothing was used");
    // One that was cancelled counts.
    ledger.member(0).cancel(DAY + SECOND, taken);
    let state = ledger.member(0).state(DAY + SECOND);
    assert_eq!((state.in_flight, state.reserved), (0, 0));
    assert_eq!(state.windows.iter().map(|window| window.used).collect::<Vec<_>>(), [1, 100]);
}

#[test]
fn seats_are_those_of_members_and_a_dead_one_loses_them() {
    let mut ledger = ledger(&QuotaSpec { max_in_flight: Some(3), ..QuotaSpec::default() });
    let ours = ledger.member(0).try_take(DAY, tokens(10)).unwrap();
    let _ = ledger.member(5).try_take(DAY, tokens(10)).unwrap();
    let _ = ledger.member(5).try_take(DAY, tokens(10)).unwrap();
    let soon = Err(Wait::Until(DAY + Duration::from_millis(50)));
    assert_eq!(ledger.member(0).try_take(DAY, tokens(10)), soon, "another member may release");
    ledger.free_member(5);
    assert_eq!(ledger.member(0).state(DAY).in_flight, 1);
    let others = [(); 2].map(|()| ledger.member(0).try_take(DAY, tokens(10)).unwrap());
    assert_eq!(ledger.member(0).try_take(DAY, tokens(10)), Err(Wait::Release), "only we may release");
    for taken in others.into_iter().chain([ours]) {
        ledger.member(0).settle(DAY, taken, None, &Signals::default());
    }
    let state = ledger.member(0).state(DAY);
    assert_eq!((state.in_flight, state.reserved, state.max_in_flight), (0, 0, Some(3)));
}

#[test]
fn what_is_learnt_forgets_the_requests_of_a_dead_member() {
    let mut ledger = ledger(&QuotaSpec { adaptive: true, ..QuotaSpec::default() });
    let mut now = DAY;
    for member in [0, 3, 3, 0, 3] {
        while let Err(Wait::Until(time)) = ledger.member(member).try_take(now, tokens(10)) {
            now = time;
        }
    }
    let in_flight = |ledger: &mut Ledger| ledger.member(0).state(now).learnt.map(|learnt| learnt.in_flight);
    assert_eq!(in_flight(&mut ledger), Some(5));
    ledger.free_member(3);
    assert_eq!(in_flight(&mut ledger), Some(2));
    // A refusal is the controller's: it pauses in its own way.
    let taken = Taken { at: now, tokens: tokens(10), alone: None, probe: false };
    ledger.member(0).settle(now, taken, None, &failure(FailureClass::Rate));
    let Some((until, PauseReason::Rate)) = ledger.member(0).state(now).paused else { panic!() };
    assert!(matches!(ledger.member(0).try_take(now, tokens(10)), Err(Wait::Until(time)) if time <= until));
}

#[test]
fn a_refusal_pauses_all_and_one_goes_first() {
    let mut ledger = ledger(&spec(&[rpm(6_000)]));
    let mut held: Vec<_> = (0..10).map(|_| ledger.member(0).try_take(DAY, tokens(1)).unwrap()).collect();
    let refuse = |ledger: &mut Ledger, now, taken, seconds: Option<u64>| {
        let retry_after = seconds.map(Duration::from_secs);
        let outcome = Signals { retry_after, ..failure(FailureClass::Rate) };
        ledger.member(0).settle(now, taken, None, &outcome);
        ledger.member(0).state(now).paused
    };
    let now = DAY + SECOND;
    let half = Duration::from_millis(500);
    assert_eq!(refuse(&mut ledger, now, held.remove(0), None), Some((now + half, PauseReason::Rate)));
    // Others of the same burst say nothing new, but for a longer time.
    assert_eq!(refuse(&mut ledger, now + half / 2, held.remove(0), None), Some((now + half, PauseReason::Rate)));
    let paused = Some((now + half / 2 + SECOND * 7, PauseReason::Rate));
    assert_eq!(refuse(&mut ledger, now + half / 2, held.remove(0), Some(7)), paused);

    let now = now + half / 2 + SECOND * 7;
    assert_eq!(ledger.member(0).try_take(now - half, tokens(1)), Err(Wait::Until(now)));
    let probe = ledger.member(0).try_take(now, tokens(1)).unwrap();
    assert!(probe.probe);
    assert_eq!(ledger.member(1).try_take(now, tokens(1)), Err(Wait::Until(now + Duration::from_millis(50))), "no herd");
    // Each refused probe doubles the pause, up to four seconds.
    assert_eq!(refuse(&mut ledger, now, probe, None), Some((now + SECOND, PauseReason::Rate)));
    let mut now = now + SECOND;
    for length in [2, 4, 4] {
        let probe = ledger.member(0).try_take(now, tokens(1)).unwrap();
        let until = now + SECOND * length;
        assert_eq!(refuse(&mut ledger, now, probe, None), Some((until, PauseReason::Rate)));
        now = until;
    }
    // A probe that was cancelled is replaced, one without an answer holds up the others for a second.
    let probe = ledger.member(0).try_take(now, tokens(1)).unwrap();
    ledger.member(0).cancel(now, probe);
    let probe = ledger.member(0).try_take(now, tokens(1)).unwrap();
    assert!(probe.probe && ledger.member(0).try_take(now + half, tokens(1)).is_err());
    for _ in 0..3 {
        assert!(!ledger.member(0).try_take(now + SECOND, tokens(1)).unwrap().probe);
    }
    // It was refused late: its pause is longer than the one before.
    let now = now + SECOND * 2;
    assert_eq!(refuse(&mut ledger, now, probe, None), Some((now + SECOND * 4, PauseReason::Rate)));
    // The head of an answer opens the quota, long before a stream ends.
    let now = now + SECOND * 4;
    let probe = ledger.member(0).try_take(now, tokens(1)).unwrap();
    ledger.member(0).observe(now, &probe, &Signals::default());
    assert!(!ledger.member(0).try_take(now, tokens(1)).unwrap().probe);
    assert_eq!(ledger.member(0).state(now).paused, None);
    // The next pause is short again.
    let taken = ledger.member(0).try_take(now, tokens(1)).unwrap();
    assert_eq!(refuse(&mut ledger, now, taken, None), Some((now + half, PauseReason::Rate)));
}

#[test]
fn the_limit_of_a_day_parks_the_quota() {
    let mut ledger = ledger(&spec(&[]));
    let fail = |ledger: &mut Ledger, now, outcome: &Signals| {
        let taken = ledger.member(0).try_take(now, tokens(1)).unwrap();
        ledger.member(0).settle(now, taken, None, outcome);
        ledger.member(0).state(now).paused
    };
    let plain = failure(FailureClass::DayQuota);
    let five = MINUTE * 5;
    assert_eq!(fail(&mut ledger, DAY, &plain), Some((DAY + five, PauseReason::DayQuota)));
    assert_eq!(ledger.member(0).try_take(DAY + MINUTE, tokens(1)), Err(Wait::Until(DAY + five)));
    let signal = WindowSignal {
        unit: Unit::Requests,
        period: Some(DAY),
        limit: Some(100),
        remaining: Some(0),
        reset: Some(Reset::Full(MINUTE * 90)),
    };
    let told = Signals { windows: [signal].into_iter().collect(), ..plain };
    assert_eq!(fail(&mut ledger, DAY + five, &told), Some((DAY + five + MINUTE * 90, PauseReason::DayQuota)));
    ledger.member(0).enable(DAY + five);
    assert!(ledger.member(0).try_take(DAY + five, tokens(1)).is_ok());
}

#[test]
fn refused_keys_and_empty_accounts_stop_the_quota() {
    let stops = [
        (FailureClass::QuotaFatal, None, ErrorKind::RateLimit),
        (FailureClass::Auth, Some(Refused::Key), ErrorKind::Authentication),
        (FailureClass::Auth, Some(Refused::Access), ErrorKind::PermissionDenied),
        (FailureClass::Auth, Some(Refused::Model), ErrorKind::NotFound),
    ];
    for (class, refused, kind) in stops {
        let failure = |class| Signals { refused, ..failure(class) };
        let mut ledger = ledger(&spec(&[rpm(600)]));
        let (first, second) =
            (ledger.member(0).try_take(DAY, tokens(1)).unwrap(), ledger.member(0).try_take(DAY, tokens(1)).unwrap());
        let stopped = |now: Duration, probe| Refusal::Stopped { class, kind, since: now, probe };
        let now = DAY + SECOND;
        ledger.member(0).settle(now, first, None, &failure(class));
        let refusal = stopped(now, now + MINUTE * 5);
        assert_eq!(ledger.member(1).try_take(now, tokens(1)), Err(Wait::Never(refusal)));
        // An older request that succeeds says nothing about it.
        ledger.member(0).settle(now, second, None, &Signals::default());
        assert_eq!(ledger.member(0).state(now).stopped, Some(refusal));
        // One probe every five minutes.
        let later = now + MINUTE * 5;
        let probe = ledger.member(1).try_take(later, tokens(1)).unwrap();
        assert!(probe.probe);
        let refusal = stopped(now, later + MINUTE * 5);
        assert_eq!(ledger.member(0).try_take(later, tokens(1)), Err(Wait::Never(refusal)));
        ledger.member(1).settle(later, probe, None, &failure(class));
        assert_eq!(ledger.member(0).try_take(later + MINUTE * 4, tokens(1)), Err(Wait::Never(refusal)));
        let probe = ledger.member(1).try_take(later + MINUTE * 5, tokens(1)).unwrap();
        ledger.member(1).settle(later + MINUTE * 5, probe, None, &Signals::default());
        assert!(!ledger.member(0).try_take(later + MINUTE * 5, tokens(1)).unwrap().probe);
    }
}

#[test]
fn an_overloaded_provider_that_says_for_how_long_is_left_alone() {
    let mut ledger = ledger(&spec(&[rpm(600)]));
    let taken = ledger.member(0).try_take(DAY, tokens(1)).unwrap();
    let outcome = Signals { retry_after: Some(SECOND * 3), ..failure(FailureClass::Overload) };
    ledger.member(0).settle(DAY, taken, None, &outcome);
    let state = ledger.member(0).state(DAY);
    assert_eq!((state.paused, state.burst), (Some((DAY + SECOND * 3, PauseReason::Overload)), 0.3));
}

#[test]
fn other_failures_touch_nothing() {
    for class in [FailureClass::Overload, FailureClass::BadRequest, FailureClass::Transient] {
        let mut ledger = ledger(&spec(&[Limit { tokens: Some(1_000), ..rpm(600) }]));
        let taken = ledger.member(0).try_take(DAY, tokens(10)).unwrap();
        ledger.member(0).settle(DAY, taken, None, &failure(class));
        let state = ledger.member(0).state(DAY);
        assert_eq!((state.paused, state.stopped, state.burst), (None, None, 0.3));
        assert_eq!(state.windows[1].used, 10, "it may have used what was reserved");
        assert!(!ledger.member(0).try_take(DAY, tokens(10)).unwrap().probe);
    }
}

fn told(remaining: u64, reset: Option<Reset>) -> Signals {
    let signal =
        WindowSignal { unit: Unit::Requests, period: Some(MINUTE), limit: None, remaining: Some(remaining), reset };
    Signals { windows: [signal].into_iter().collect(), ..Signals::default() }
}

#[test]
fn what_others_use_counts() {
    let mut ledger = ledger(&spec(&[rpm(100)]));
    let settle = |ledger: &mut Ledger, now, signals: &Signals| {
        let taken = ledger.member(0).try_take(now, tokens(1)).unwrap();
        ledger.member(0).settle(now, taken, None, signals);
        ledger.member(0).state(now).windows[0]
    };
    // One of ours; 39 are left of 100, and all of them in 30 s.
    let window = settle(&mut ledger, DAY, &told(39, Some(Reset::Full(SECOND * 30))));
    assert_eq!((window.used, window.used_by_others), (1, 60));
    assert_eq!(ledger.member(0).state(DAY + SECOND * 15).windows[0].used_by_others, 30);
    assert_eq!(ledger.member(0).state(DAY + SECOND * 30).windows[0].used_by_others, 0);
    // Nothing is left for 5 s.
    let window = settle(&mut ledger, DAY + SECOND, &told(0, Some(Reset::Some(SECOND * 5))));
    assert_eq!((window.used, window.used_by_others), (2, 98));
    assert_eq!(ledger.member(0).try_take(DAY + SECOND, tokens(1)), Err(Wait::Until(DAY + SECOND * 6)));
    // More is left than we think: a request in flight that is not counted there yet, or another way to count.
    let window = settle(&mut ledger, DAY + SECOND * 6, &told(99, None));
    assert_eq!((window.used, window.used_by_others), (3, 0));
    // An answer is about the time at which its request arrived, not about that at which it came.
    let taken = ledger.member(0).try_take(DAY + SECOND * 7, tokens(1)).unwrap();
    let late = DAY + SECOND * 107;
    ledger.member(0).settle(late - SECOND * 50, taken, None, &told(0, Some(Reset::Full(MINUTE))));
    let window = ledger.member(0).state(late - SECOND * 50).windows[0];
    assert_eq!((window.used, window.used_by_others), (4, 16), "ten seconds of the minute are left");
    let taken = ledger.member(0).try_take(late, tokens(1)).unwrap();
    ledger.member(0).settle(late + MINUTE, taken, None, &told(0, Some(Reset::Full(MINUTE))));
    assert_eq!(ledger.member(0).state(late + MINUTE).windows[0].used_by_others, 0);
    // The provider's own limit is lower than the declared one.
    let mut signals = told(1_000, None);
    signals.windows[0].limit = Some(40);
    assert_eq!(settle(&mut ledger, late + MINUTE, &signals).limit, 40);
}

#[test]
fn the_wait_for_others_is_exact() {
    let mut ledger = ledger(&spec(&[rpm(100)]));
    let taken = ledger.member(0).try_take(DAY, tokens(1)).unwrap();
    ledger.member(0).settle(DAY, taken, None, &told(0, Some(Reset::Full(SECOND * 50))));
    let Err(Wait::Until(time)) = ledger.member(0).try_take(DAY, tokens(1)) else { panic!() };
    assert!(time > DAY && time < DAY + SECOND, "{time:?}");
    assert!(ledger.member(0).try_take(time - Duration::from_nanos(1), tokens(1)).is_err());
    assert!(ledger.member(0).try_take(time, tokens(1)).is_ok());
}

#[test]
fn an_undeclared_window_that_is_used_up_pauses() {
    let mut ledger = ledger(&QuotaSpec { max_in_flight: Some(8), ..QuotaSpec::default() });
    let taken = ledger.member(0).try_take(DAY, tokens(1)).unwrap();
    ledger.member(0).settle(DAY, taken, None, &told(0, Some(Reset::Some(SECOND * 9))));
    assert_eq!(ledger.member(0).state(DAY).paused, Some((DAY + SECOND * 9, PauseReason::Exhausted)));
    assert_eq!(ledger.member(0).try_take(DAY, tokens(1)), Err(Wait::Until(DAY + SECOND * 9)));
}

#[test]
fn a_declaration_keeps_what_was_counted() {
    let mut ledger = ledger(&spec(&[rpm(100)]));
    let _ = ledger.member(0).try_take(DAY, tokens(1)).unwrap();
    let day = Limit { requests: Some(1_000), tokens: Some(5), ..Limit::per(DAY) };
    ledger.declare(&spec(&[day, rpm(50), rpm(70)])).unwrap();
    let windows = ledger.member(0).state(DAY).windows;
    let minute = windows.iter().find(|window| window.period == MINUTE).unwrap();
    assert_eq!((windows.len(), minute.used, minute.limit), (3, 1, 50), "the smaller of two limits holds");
    ledger.declare(&spec(&[])).unwrap();
    assert_eq!(ledger.member(0).state(DAY).windows, []);
    let many: Vec<_> = (1..=9).map(|index| Limit { requests: Some(1), ..Limit::per(SECOND * index) }).collect();
    assert_eq!(ledger.declare(&spec(&many)), Err(9));
}

#[test]
fn time_that_goes_back_changes_nothing() {
    let mut ledger = ledger(&QuotaSpec { burst: Some(1.0), ..spec(&[rpm(2)]) });
    for now in [DAY, Duration::ZERO] {
        let taken = ledger.member(0).try_take(now, tokens(1)).unwrap();
        assert_eq!(taken.at, DAY);
        ledger.member(0).settle(Duration::ZERO, taken, None, &Signals::default());
    }
    let Err(Wait::Until(time)) = ledger.member(0).try_take(Duration::ZERO, tokens(1)) else { panic!() };
    assert!(time >= DAY + MINUTE);
}

/// Processes with timers of their own, each of which always has another request.
#[test]
fn members_use_a_shared_limit_and_hold_it() {
    let mut random = fastrand::Rng::with_seed(5);
    let per_second = Limit { requests: Some(50), ..Limit::per(SECOND) };
    let per_minute = Limit { tokens: Some(600_000), ..Limit::per(MINUTE) };
    for (limit, size, windows) in [(per_second, 1, 30), (rpm(600), 1, 6), (rpm(7), 1, 40), (per_minute, 5_000, 6)] {
        for members in [2, 8] {
            let mut ledger = ledger(&spec(&[limit]));
            let mut next = vec![DAY; members];
            let mut shares = vec![0; members];
            let mut log = Vec::new();
            loop {
                let member = (0..members).min_by_key(|member| next[*member]).unwrap();
                let now = next[member];
                if now > DAY + limit.per * windows {
                    break;
                }
                let size = random.u64(1..=size);
                match ledger.member(member).try_take(now, tokens(size)) {
                    Ok(taken) => {
                        log.push((now, if limit.tokens.is_some() { size } else { 1 }));
                        shares[member] += 1;
                        ledger.member(member).settle(now, taken, Some(tokens(size)), &Signals::default());
                    }
                    Err(Wait::Until(time)) => next[member] = time + Duration::from_micros(random.u64(..1_000)),
                    Err(other) => panic!("{other:?}"),
                }
            }
            let most = limit.requests.or(limit.tokens).unwrap();
            check(&log, most, limit.per, &mut random, &format!("{members} members, {limit:?}, {shares:?}"));
            if most > 7 {
                assert!(shares.iter().all(|share| share * members * 2 > log.len()), "{shares:?}");
            }
        }
    }
}

/// One member has large requests, others keep the window full with small ones.
#[test]
fn small_requests_of_others_do_not_pass_a_large_one_for_ever() {
    for (large, least) in [(300, 12), (1_000, 6), (5_000, 6)] {
        let mut ledger = ledger(&spec(&[Limit { tokens: Some(1_000), ..Limit::per(SECOND) }]));
        let mut next = [DAY; 4];
        let mut admitted = [0; 4];
        loop {
            let member = (0..4).min_by_key(|member| next[*member]).unwrap();
            let now = next[member];
            if now > DAY + MINUTE {
                break;
            }
            let size = if member == 0 { large } else { 10 };
            match ledger.member(member).try_take(now, tokens(size)) {
                Ok(taken) => {
                    admitted[member] += 1;
                    ledger.member(member).settle(now, taken, Some(tokens(size.min(1_000))), &Signals::default());
                }
                Err(Wait::Until(time)) => next[member] = time + Duration::from_micros(100),
                Err(other) => panic!("{other:?}"),
            }
        }
        assert!(admitted[0] >= least, "{admitted:?}");
        assert!(admitted[1..].iter().all(|count| *count * 5 >= admitted[0] * 4), "{admitted:?}");
    }
}

/// A router asks whether a quota is free before its calls leave another line for it.
#[test]
fn what_may_not_be_taken_is_not_free() {
    let mut ledger = ledger(&spec(&[Limit { tokens: Some(1_000), ..Limit::per(SECOND) }]));
    let taken = ledger.member(1).try_take(DAY, tokens(200)).unwrap();
    // There is no room for this one, and for a small one it is not the turn.
    assert!(ledger.member(0).try_take(DAY, tokens(900)).is_err());
    let free = ledger.member(1).check(DAY, tokens(1));
    assert_eq!(free, Err(Wait::Until(DAY + Duration::from_millis(50))));
    assert_eq!(ledger.member(1).try_take(DAY, tokens(1)).map(|_| ()), free);
    assert_eq!(ledger.member(0).check(DAY + Duration::from_secs(3), tokens(900)), Ok(()));
    ledger.member(1).settle(DAY, taken, None, &Signals::default());
}

/// Prints the time that a request takes: 300 ns are to be enough.
#[test]
#[ignore = "a measurement"]
fn time_of_a_request() {
    use std::time::Instant;
    let limit = Limit { requests: Some(1 << 40), tokens: Some(1 << 50), ..Limit::per(MINUTE) };
    for limits in [vec![], vec![limit], vec![limit, Limit { per: SECOND, ..limit }, Limit { per: DAY, ..limit }]] {
        let mut ledger = ledger(&spec(&limits));
        let mut quota = crate::limits::Quota::new(0.05);
        let rules = crate::types::rate_limit::TokenRules {
            reserves_max_tokens: false,
            output_weight: 1,
            cached_reads_free: false,
        };
        let call = crate::limits::Call { priority: Default::default(), bytes: 4_000, max_tokens: None, rules };
        let mut best = f64::MAX;
        let mut now = DAY;
        for _ in 0..50 {
            let start = Instant::now();
            for _ in 0..10_000 {
                now += Duration::from_micros(700);
                let budget = &mut ledger.member(0);
                let crate::limits::Admission::Admitted(permit) = quota.try_acquire(budget, now, &call) else {
                    panic!()
                };
                let used = Tokens { input: 900, output: 200 };
                let _ = quota.settle(budget, now + Duration::from_micros(10), permit, Some(used), &Signals::default());
            }
            best = best.min(start.elapsed().as_secs_f64() / 1e4 * 1e9);
        }
        println!("{} windows: {best:.0} ns", limits.len() * 2);
    }
}

/// Shared memory may hold anything.
#[test]
fn no_bytes_make_it_panic() {
    let mut random = fastrand::Rng::with_seed(4);
    let mut ledger = Box::new(Ledger::zeroed());
    for round in 0..300 {
        let bytes = bytemuck::bytes_of_mut(&mut *ledger);
        match round % 3 {
            0 => random.fill(bytes),
            1 => bytes.fill(255),
            _ => (0..50).for_each(|_| bytes[random.usize(..size_of::<Ledger>())] = random.u8(..)),
        }
        for step in 0..20 {
            let now = Duration::from_nanos(if step % 2 == 0 { random.u64(..) } else { random.u64(..1 << 40) });
            let mut member = ledger.member(random.usize(..MEMBERS));
            let tokens =
                Tokens { input: random.u64(..) >> random.u32(..64), output: random.u64(..) >> random.u32(..64) };
            let taken = Taken { at: now, tokens, alone: None, probe: random.bool() };
            let _ = member.try_take(now, tokens);
            let class = [FailureClass::Rate, FailureClass::DayQuota, FailureClass::Auth][random.usize(..3)];
            let mut signals = told(random.u64(..) >> random.u32(..64), Some(Reset::Full(now)));
            signals.failure = random.bool().then_some(class);
            signals.retry_after = random.bool().then_some(now);
            member.settle(now, taken, random.bool().then_some(tokens), &signals);
            member.give_back(now, taken);
            member.state(now);
            if random.u8(..20) == 0 {
                ledger.repair(now);
                ledger.declare(&spec(&[rpm(random.u64(..) + 1)])).unwrap();
            }
        }
    }
}

#[test]
fn a_valid_ledger_stays_as_it_is_when_it_is_repaired() {
    let mut random = fastrand::Rng::with_seed(5);
    let minute = Limit { tokens: Some(90_000), ..rpm(600) };
    let mut ledger = ledger(&spec(&[minute, Limit { requests: Some(20), ..Limit::per(SECOND) }]));
    let mut now = DAY;
    for _ in 0..30 {
        let log = saturate(&mut ledger, &mut random, now, now + SECOND * 3, |random| random.u64(1..300));
        now = log.last().unwrap().0;
        let before = *ledger;
        ledger.repair(now);
        assert!(bytemuck::bytes_of(&before) == bytemuck::bytes_of(&*ledger));
    }
    // Damage: times that are still to come, for ever.
    ledger.repair(SECOND);
    let Err(Wait::Until(time)) = ledger.member(0).try_take(SECOND, tokens(1)) else { panic!() };
    assert!(time < SECOND + MINUTE * 4, "{time:?}");
}

/// A member that dies in the middle of a change has written some of the words.
#[test]
fn a_half_changed_ledger_is_repaired() {
    let mut random = fastrand::Rng::with_seed(6);
    let mut wrong = 0;
    for round in 0..300 {
        let mut ledger = ledger(&QuotaSpec { burst: Some(1.0), ..spec(&[rpm(100)]) });
        let mut now = DAY;
        for _ in 0..round % 100 {
            now += Duration::from_millis(random.u64(..50));
            let _ = ledger.member(0).try_take(now, tokens(1)).unwrap();
        }
        let before = *ledger;
        now += SECOND;
        let _ = ledger.member(0).try_take(now, tokens(1)).unwrap();
        let after: Vec<u64> = bytemuck::cast_slice(bytemuck::bytes_of(&*ledger)).to_vec();
        let mut mixed = before;
        let words: &mut [u64] = bytemuck::cast_slice_mut(bytemuck::bytes_of_mut(&mut mixed));
        words.iter_mut().zip(after).filter(|_| random.bool()).for_each(|(word, after)| *word = after);
        let used = |ledger: &mut Ledger| ledger.member(0).state(now).windows[0].used;
        let counted = used(&mut mixed);
        mixed.repair(now);
        let (repaired, before, after) = (used(&mut mixed), used(&mut { before }), used(&mut ledger));
        wrong += u32::from(counted != repaired);
        assert!((before..=after).contains(&repaired), "{repaired} of {before} to {after}");
        // Once all of it has left the window, nothing counts.
        assert_eq!(mixed.member(0).state(now + MINUTE * 2).windows[0].used, 0);
    }
    assert!(wrong > 0);
}
