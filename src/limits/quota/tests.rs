use std::time::Duration;

use bytemuck::Zeroable;

use super::super::{Ledger, Limit, QuotaSpec};
use super::*;
use crate::types::rate_limit::{Reset, TokenRules, Unit, WindowSignal};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

const RULES: TokenRules = TokenRules { reserves_max_tokens: false, output_weight: 1, cached_reads_free: false };

fn ledger(spec: &QuotaSpec) -> Box<Ledger> {
    let mut ledger = Box::new(Ledger::zeroed());
    ledger.declare(spec).expect("at most eight windows");
    ledger
}

fn in_flight(max: u32) -> QuotaSpec {
    QuotaSpec { max_in_flight: Some(max), ..QuotaSpec::default() }
}

fn call(priority: Priority) -> Call {
    Call { priority, bytes: 400, max_tokens: None, rules: RULES }
}

fn admitted(admission: Admission) -> Permit {
    match admission {
        Admission::Admitted(permit) => permit,
        other => panic!("{other:?}"),
    }
}

#[test]
fn calls_wait_in_order_and_leave_it() {
    let mut ledger = ledger(&in_flight(1));
    let mut quota = Quota::new(0.05);
    let budget = &mut ledger.member(0);
    let interactive = call(Priority::Interactive);
    let first = admitted(quota.try_acquire(budget, DAY, &interactive));
    assert!(matches!(quota.try_acquire(budget, DAY, &interactive), Admission::Blocked));
    let [a, b, c, d] = [(); 4].map(|()| quota.enqueue(interactive));
    assert!(matches!(quota.poll(budget, a, DAY), Admission::Blocked));
    assert_eq!(quota.settle(budget, DAY, first, None, &Signals::default()), None);
    assert_eq!(quota.next(), Some(a));
    assert!(matches!(quota.try_acquire(budget, DAY, &interactive), Admission::Blocked), "others wait");
    assert!(matches!(quota.poll(budget, b, DAY), Admission::Blocked), "another one's turn");
    assert!(quota.cancel(a) && quota.cancel(c));
    assert!(!quota.cancel(c));
    let permit = admitted(quota.poll(budget, b, DAY));
    assert!(matches!(quota.poll(budget, b, DAY), Admission::Blocked), "a void ticket");
    quota.cancel_permit(budget, DAY, permit);
    assert_eq!(quota.next(), Some(d));
    let permit = admitted(quota.poll(budget, d, DAY));
    assert_eq!(quota.next(), None);
    quota.give_back(budget, DAY, permit);
    let snapshot = quota.snapshot(budget, DAY);
    assert_eq!((snapshot.permits, snapshot.waiting_interactive, snapshot.budget.in_flight), (0, 0, 0));
}

#[test]
fn a_call_that_is_sent_late_counts_from_then_on() {
    let limits = vec![Limit { requests: Some(2), ..Limit::per(SECOND) }];
    let mut ledger = ledger(&QuotaSpec { limits, burst: Some(1.0), ..QuotaSpec::default() });
    let mut quota = Quota::new(0.05);
    let budget = &mut ledger.member(0);
    let interactive = call(Priority::Interactive);
    let [first, second, third] =
        [DAY, DAY, DAY + SECOND * 2].map(|now| admitted(quota.try_acquire(budget, now, &interactive)));
    // Others wait, which a call that has a permit does not.
    let waiting = quota.enqueue(interactive);
    let now = DAY + SECOND * 2;
    let first = quota.renew(budget, now, &interactive, first).expect("one of two was admitted in this second");
    assert_eq!(first.taken.at, now);
    assert!(matches!(quota.renew(budget, now, &interactive, second), Err(Admission::Until(_))), "that makes three");
    let soon = now + Duration::from_millis(90);
    let first = quota.renew(budget, soon, &interactive, first).unwrap();
    assert_eq!(first.taken.at, now, "not late enough to matter");
    assert!(quota.cancel(waiting));
    for permit in [first, third] {
        let _ = quota.settle(budget, soon, permit, None, &Signals::default());
    }
    let snapshot = quota.snapshot(budget, soon);
    assert_eq!((snapshot.permits, snapshot.budget.in_flight, snapshot.budget.windows[0].used), (0, 0, 2));
}

#[test]
fn a_call_that_waits_is_woken_only_if_it_can_go_on() {
    let minute = Limit { requests: Some(100), tokens: Some(10_000), ..Limit::per(MINUTE) };
    let mut ledger = ledger(&QuotaSpec { limits: vec![minute], burst: Some(1.0), ..QuotaSpec::default() });
    let mut quota = Quota::new(0.05);
    let budget = &mut ledger.member(0);
    let call = Call { max_tokens: Some(256), ..call(Priority::Interactive) };
    assert!(quota.is_to_wake(budget, DAY, None), "those who wait elsewhere may come");
    let mut permits: Vec<_> = (0..28).map(|_| admitted(quota.try_acquire(budget, DAY, &call))).collect();
    let waiting = quota.enqueue(call);
    assert!(quota.is_to_wake(budget, DAY, None), "it was not told anything yet");
    let Admission::Until(until) = quota.poll(budget, waiting, DAY) else { panic!("10,000 tokens are used up") };
    let asleep = Some((waiting, until));
    // What the call used is what was reserved: no budget comes back.
    let used = permits[0].taken.tokens;
    assert_eq!(quota.settle(budget, DAY + SECOND, permits.remove(0), Some(used), &Signals::default()), None);
    assert!(!quota.is_to_wake(budget, DAY + SECOND, asleep));
    let used = Tokens { output: 0, ..used };
    permits.drain(..3).for_each(|permit| {
        assert_eq!(quota.settle(budget, DAY + SECOND, permit, Some(used), &Signals::default()), None);
    });
    assert!(quota.is_to_wake(budget, DAY + SECOND, asleep));
    let another = quota.enqueue(call);
    assert!(quota.is_to_wake(budget, DAY, Some((another, until))), "it was another one's turn");
}

#[test]
fn a_check_takes_and_teaches_nothing() {
    for adaptive in [false, true] {
        let spec = QuotaSpec { limits: vec![Limit { requests: Some(9), ..Limit::per(MINUTE) }], ..in_flight(3) };
        let mut ledger = ledger(&QuotaSpec { adaptive, ..spec });
        let quota = Quota::new(0.05);
        let check = |ledger: &mut Ledger| quota.check(&mut ledger.member(0), DAY, &call(Priority::Bulk));
        for _ in 0..3 {
            assert_eq!(check(&mut ledger), Ok(()));
            let before = *ledger;
            assert_eq!(check(&mut ledger), Ok(()));
            assert_eq!(bytemuck::bytes_of(&before), bytemuck::bytes_of(&*ledger));
            if ledger.member(0).try_take(DAY, Tokens::default()).is_err() {
                break;
            }
        }
        assert!(matches!(check(&mut ledger), Err(Wait::Release | Wait::Until(_))));
    }
}

#[test]
fn interactive_calls_pass_bulk_calls_but_for_their_share() {
    for (share, expected) in [(0.0, 0), (0.05, 50), (0.5, 500), (1.0, 1000)] {
        let mut ledger = ledger(&in_flight(1));
        let mut quota = Quota::new(share);
        let budget = &mut ledger.member(0);
        let bulk: Vec<_> = (0..2_000).map(|_| quota.enqueue(call(Priority::Bulk))).collect();
        let _interactive: Vec<_> = (0..2_000).map(|_| quota.enqueue(call(Priority::Interactive))).collect();
        let mut admitted_bulk = 0;
        for _ in 0..1_000 {
            let ticket = quota.next().unwrap();
            admitted_bulk += u32::from(bulk.contains(&ticket));
            let permit = admitted(quota.poll(budget, ticket, DAY));
            let _ = quota.settle(budget, DAY, permit, None, &Signals::default());
        }
        assert!(u32::abs_diff(admitted_bulk, expected) <= 1, "{share}: {admitted_bulk}");
        let snapshot = quota.snapshot(budget, DAY);
        assert_eq!(snapshot.waiting_bulk, 2_000 - admitted_bulk as usize);
        assert_eq!(snapshot.waiting_interactive, 1_000 + admitted_bulk as usize);
    }
}

#[test]
fn those_who_wait_hear_of_a_stop() {
    let mut ledger = ledger(&in_flight(2));
    let mut quota = Quota::new(0.05);
    let budget = &mut ledger.member(0);
    let interactive = call(Priority::Interactive);
    let permits = [(); 2].map(|()| admitted(quota.try_acquire(budget, DAY, &interactive)));
    let tickets = [(); 3].map(|()| quota.enqueue(interactive));
    let outcome = Signals { failure: Some(FailureClass::Auth), ..Signals::default() };
    for permit in permits {
        assert_eq!(quota.settle(budget, DAY, permit, None, &outcome), None);
    }
    for ticket in tickets {
        assert_eq!(quota.next(), Some(ticket));
        let Admission::Refused(Refusal::Stopped { class, .. }) = quota.poll(budget, ticket, DAY) else { panic!() };
        assert_eq!(class, FailureClass::Auth);
    }
    assert!(matches!(quota.try_acquire(budget, DAY, &interactive), Admission::Refused(_)));
    quota.enable(budget, DAY);
    assert!(matches!(quota.try_acquire(budget, DAY, &interactive), Admission::Admitted(_)));
}

#[test]
fn a_call_that_is_too_large_is_not_repeated() {
    let mut ledger = ledger(&QuotaSpec {
        limits: vec![Limit { tokens: Some(1_000), ..Limit::per(MINUTE) }],
        ..QuotaSpec::default()
    });
    let mut quota = Quota::new(0.05);
    let budget = &mut ledger.member(0);
    let large = Call { bytes: 20_000, ..call(Priority::Interactive) };
    let permit = admitted(quota.try_acquire(budget, DAY, &large));
    let outcome = Signals { failure: Some(FailureClass::Rate), ..Signals::default() };
    let Some(Refusal::TooLarge { limit: 1_000, tokens, .. }) = quota.settle(budget, DAY, permit, None, &outcome) else {
        panic!()
    };
    assert_eq!(tokens, 5_256);
    // The pause and its probe go on; the others are not too large.
    let small = Call { bytes: 400, ..large };
    let permit = admitted(quota.try_acquire(budget, DAY + SECOND, &small));
    assert_eq!(quota.settle(budget, DAY + SECOND, permit, None, &outcome), None);
}

#[test]
fn tokens_are_estimated_from_usage() {
    let mut ledger = ledger(&QuotaSpec::default());
    let mut quota = Quota::new(0.05);
    let budget = &mut ledger.member(0);
    let plain = Call { bytes: 4_000, ..call(Priority::Interactive) };
    let reserved = |quota: &mut Quota, budget: &mut _, call: &Call| {
        let permit = admitted(quota.try_acquire(budget, DAY, call));
        let tokens = permit.taken.tokens;
        quota.give_back(budget, DAY, permit);
        tokens
    };
    assert_eq!(reserved(&mut quota, budget, &plain), Tokens { input: 1_000, output: 256 });
    for index in 0..200 {
        let permit = admitted(quota.try_acquire(budget, DAY, &Call { bytes: 1_000 + index * 10, ..plain }));
        let used = Tokens { input: (1_000 + index * 10) / 2, output: 30 };
        let _ = quota.settle(budget, DAY, permit, Some(used), &Signals::default());
        // Failures teach nothing.
        let permit = admitted(quota.try_acquire(budget, DAY, &plain));
        let failed = Signals { failure: Some(FailureClass::Transient), ..Signals::default() };
        let _ = quota.settle(budget, DAY, permit, Some(Tokens::default()), &failed);
    }
    let tokens = reserved(&mut quota, budget, &plain);
    assert!((1_980..=2_000).contains(&tokens.input) && (30..=35).contains(&tokens.output), "{tokens:?}");
    // What the caller allows, where the provider reserves it; otherwise it is only a bound.
    let reserving = TokenRules { reserves_max_tokens: true, output_weight: 5, ..RULES };
    let limited = Call { max_tokens: Some(1_000), rules: reserving, ..plain };
    assert_eq!(reserved(&mut quota, budget, &limited).output, 5_000);
    assert_eq!(reserved(&mut quota, budget, &Call { max_tokens: Some(1_000), ..plain }).output, tokens.output);
    assert_eq!(reserved(&mut quota, budget, &Call { max_tokens: Some(8), ..plain }).output, 8);
}

/// Returns the largest sum of amounts in any window of this length.
fn most(log: &mut [(Duration, u64)], period: Duration) -> u64 {
    log.sort();
    let (mut first, mut sum, mut most) = (0, 0, 0);
    for index in 0..log.len() {
        sum += log[index].1;
        while log[first].0 + period <= log[index].0 {
            sum -= log[first].1;
            first += 1;
        }
        most = most.max(sum);
    }
    most
}

/// A process of the test below.
struct Process {
    quota: Quota,
    waiting: Vec<Ticket>,
    /// The last call that had its turn and was not admitted.
    asleep: Option<(Ticket, Time)>,
    flying: Vec<(Time, Permit)>,
    /// Time at which the call whose turn it is asks again.
    wake: Time,
}

/// Ends calls of three processes that share a ledger in every way there is, until `outcomes` of them have an outcome; then
/// lets the rest end, and checks that nothing is left of them.
fn random_outcomes(seed: u64, outcomes: u32) {
    let random = &mut fastrand::Rng::with_seed(seed);
    let minute = Limit { requests: Some(800), tokens: Some(150_000), ..Limit::per(MINUTE) };
    let second = Limit { requests: Some(60), output_tokens: Some(random.u64(5_000..20_000)), ..Limit::per(SECOND) };
    let mut spec = QuotaSpec { limits: vec![minute, second], max_in_flight: Some(40), ..QuotaSpec::default() };
    spec.adaptive = seed % 4 == 3;
    spec.burst = (seed % 2 == 1).then_some(1.0);
    let mut ledger = ledger(&spec);
    let new = |_| Process {
        quota: Quota::new(0.1),
        waiting: Vec::new(),
        asleep: None,
        flying: Vec::new(),
        wake: Duration::MAX,
    };
    let mut processes: [Process; 3] = std::array::from_fn(new);
    let (mut requests, mut tokens, mut output) = (Vec::new(), Vec::new(), Vec::new());
    let (mut now, mut ended, mut idle) = (DAY, 0, 0);
    while idle < 3 {
        idle = 0;
        let is_ending = ended >= outcomes;
        if !is_ending {
            now += Duration::from_micros(random.u64(..30_000));
        } else if let Some(next) = processes
            .iter()
            .flat_map(|process| process.flying.iter().map(|flying| flying.0).chain([process.wake]))
            .filter(|time| *time > now)
            .min()
            .filter(|time| *time < Duration::MAX)
        {
            now = next;
        }
        assert!(now < DAY + MINUTE * 600, "seed {seed}: someone waits for ever");
        for (number, process) in processes.iter_mut().enumerate() {
            let budget = &mut ledger.member(number);
            let Process { quota, waiting, asleep, flying, wake } = process;
            let fly = |permit: Permit, random: &mut fastrand::Rng| {
                (now + Duration::from_millis(random.u64(..2_000) * random.u64(1..5) / 4), permit)
            };
            // Calls that end.
            while let Some(index) = flying.iter().position(|flying| flying.0 <= now) {
                let (_, permit) = flying.swap_remove(index);
                ended += 1;
                let Taken { at, tokens: reserved, .. } = permit.taken;
                let used = Tokens { input: random.u64(..=reserved.input), output: random.u64(..=reserved.output) };
                let kind = random.u32(..1_000);
                let failure = match kind {
                    0 => Some(FailureClass::Auth),
                    1 => Some(FailureClass::QuotaFatal),
                    2 => Some(FailureClass::DayQuota),
                    3..13 => Some(FailureClass::Rate),
                    13..60 => Some(FailureClass::Overload),
                    60..100 => Some(FailureClass::Transient),
                    100..150 => Some(FailureClass::BadRequest),
                    _ => None,
                };
                let refused = (0..13).contains(&kind);
                let told = WindowSignal {
                    unit: Unit::Requests,
                    period: Some(MINUTE),
                    limit: None,
                    remaining: Some(random.u64(..800)),
                    reset: random.bool().then_some(Reset::Full(SECOND * random.u32(..60))),
                };
                let outcome = Signals {
                    windows: (random.u32(..50) == 0).then_some(told).into_iter().collect(),
                    retry_after: (refused && random.bool()).then(|| SECOND * random.u32(..20)),
                    failure,
                    refused: None,
                };
                let known = random.bool();
                let counts = match kind {
                    150..250 => {
                        quota.cancel_permit(budget, now, permit);
                        Some(reserved)
                    }
                    250..300 => {
                        quota.give_back(budget, now, permit);
                        None
                    }
                    _ => {
                        let _ = quota.settle(budget, now, permit, known.then_some(used), &outcome);
                        Some(if known {
                            used
                        } else if refused {
                            Tokens::default()
                        } else {
                            reserved
                        })
                    }
                };
                if quota.is_to_wake(budget, now, *asleep) {
                    *wake = now;
                }
                if let Some(counts) = counts {
                    requests.push((at, 1));
                    tokens.push((at, (counts.input + counts.output).min(150_000)));
                    output.push((at, counts.output.min(second.output_tokens.unwrap_or(0))));
                }
            }
            // Calls that come, and some that leave the line.
            if !is_ending {
                for _ in 0..random.u32(..3) {
                    let is_bulk = random.u32(..3) == 0;
                    let bytes = if random.u32(..500) == 0 { random.u64(..4_000_000) } else { random.u64(..8_000) };
                    let call = Call {
                        priority: if is_bulk { Priority::Bulk } else { Priority::Interactive },
                        bytes,
                        max_tokens: random.bool().then(|| random.u64(..500)),
                        rules: TokenRules { reserves_max_tokens: random.bool(), ..RULES },
                    };
                    let check = quota.check(budget, now, &call);
                    let admission = quota.try_acquire(budget, now, &call);
                    match (check, &admission) {
                        (Ok(()), Admission::Admitted(_)) | (Err(Wait::Never(_)), Admission::Refused(_)) => {}
                        // Others are before it, or another process has a claim.
                        (_, Admission::Blocked | Admission::Until(_)) => {}
                        other => panic!("seed {seed}: {other:?}"),
                    }
                    match admission {
                        Admission::Admitted(permit) => flying.push(fly(permit, random)),
                        Admission::Refused(_) => {}
                        Admission::Until(_) | Admission::Blocked => {
                            waiting.push(quota.enqueue(call));
                            *wake = (*wake).min(now);
                        }
                    }
                }
                while !waiting.is_empty() && (random.u32(..200) == 0 || waiting.len() > 300) {
                    assert!(quota.cancel(waiting.swap_remove(random.usize(..waiting.len()))));
                    *wake = now;
                }
                if random.u32(..2_000) == 0 {
                    quota.enable(budget, now);
                    *wake = now;
                }
            }
            // The call whose turn it is.
            while *wake <= now {
                *wake = Duration::MAX;
                let Some(ticket) = quota.next() else { break };
                match quota.poll(budget, ticket, now) {
                    Admission::Admitted(permit) => {
                        flying.push(fly(permit, random));
                        *wake = now;
                    }
                    Admission::Refused(_) => *wake = now,
                    Admission::Until(time) => {
                        assert!(time > now, "seed {seed}");
                        (*asleep, *wake) = (Some((ticket, time)), time);
                        break;
                    }
                    Admission::Blocked => {
                        assert!(!flying.is_empty(), "seed {seed}: nobody will wake it");
                        *asleep = Some((ticket, Time::MAX));
                        break;
                    }
                }
                waiting.retain(|other| *other != ticket);
            }
            assert!(waiting.is_empty() || *wake < Duration::MAX || !flying.is_empty(), "seed {seed}: nobody wakes it");
            idle += u32::from(is_ending && waiting.is_empty() && flying.is_empty());
        }
    }
    for (number, process) in processes.iter().enumerate() {
        let snapshot = process.quota.snapshot(&ledger.member(number), now);
        let waiting = (snapshot.waiting_interactive, snapshot.waiting_bulk);
        assert_eq!((waiting, snapshot.permits), ((0, 0), 0), "seed {seed}");
        assert_eq!((snapshot.budget.in_flight, snapshot.budget.reserved), (0, 0), "seed {seed}");
        assert!(snapshot.budget.learnt.is_none_or(|learnt| learnt.in_flight == 0), "seed {seed}");
        let later = process.quota.snapshot(&ledger.member(number), now + MINUTE * 2).budget;
        assert!(later.windows.iter().all(|window| window.used == 0), "seed {seed}: {later:?}");
    }
    assert!(most(&mut requests, MINUTE) <= 800, "seed {seed}");
    assert!(most(&mut requests, SECOND) <= 60, "seed {seed}");
    assert!(most(&mut tokens, MINUTE) <= 150_000, "seed {seed}");
    assert!(most(&mut output, SECOND) <= second.output_tokens.unwrap_or(0), "seed {seed}");
}

#[test]
fn nothing_is_left_of_calls_that_ended_in_any_way() {
    (0..8).for_each(|seed| random_outcomes(seed, 1_500));
}

#[test]
#[ignore = "a million outcomes; a slice of them is in the test above"]
fn nothing_is_left_of_a_million_calls() {
    (100..200).for_each(|seed| random_outcomes(seed, 10_000));
}
