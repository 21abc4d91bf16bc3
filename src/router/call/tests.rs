use super::*;
use crate::router::breaker::Change;
use crate::router::config::{Config, DeploymentConfig, GroupConfig};
use crate::router::decision::{AttemptLimits, Fail, Refusal, Why};
use crate::router::options::{Hedge, HedgeAfter};

/// What the tests know of deployments.
#[derive(Default)]
struct Known {
    refusals: Vec<(DeploymentIndex, Refusal)>,
    ready: Vec<(DeploymentIndex, Time)>,
    has_lines: bool,
    choice: Option<usize>,
    asked: Vec<Vec<DeploymentIndex>>,
}

impl Outlook for Known {
    fn random(&mut self) -> f64 {
        0.5
    }

    fn refusal(&self, deployment: DeploymentIndex) -> Option<Refusal> {
        self.refusals.iter().find(|(refusing, _)| *refusing == deployment).map(|(_, refusal)| refusal.clone())
    }

    fn ready_at(&self, deployment: DeploymentIndex) -> Time {
        self.ready.iter().find(|(limited, _)| *limited == deployment).map_or(Time::ZERO, |(_, time)| *time)
    }

    fn has_line(&self, _: DeploymentIndex) -> bool {
        self.has_lines
    }

    fn choose(&mut self, candidates: &[DeploymentIndex]) -> Option<usize> {
        self.asked.push(candidates.to_vec());
        self.choice
    }
}

fn at(seconds: f64) -> Time {
    Duration::from_secs_f64(seconds)
}

fn config(groups: &[(&str, usize)]) -> Config {
    let deployment = |index: usize, name: &str| DeploymentConfig {
        provider: "p".into(),
        model: format!("{name}{index}"),
        ..DeploymentConfig::default()
    };
    let group = |&(name, number): &(&str, usize)| GroupConfig {
        name: name.into(),
        deployments: (0..number).map(|index| deployment(index, name)).collect(),
        is_embedding: false,
    };
    Config { groups: groups.iter().map(group).collect(), strategy: Some("ordered".into()), ..Config::default() }
}

fn falls_back(from: &str, to: &[&str]) -> Vec<(String, Vec<String>)> {
    vec![(from.into(), to.iter().map(|name| (*name).into()).collect())]
}

fn shared(config: &Config) -> Arc<Mutex<State>> {
    Arc::new(Mutex::new(State::new(Arc::new(config.compile().unwrap()), || 0.0)))
}

fn spec() -> CallSpec {
    CallSpec { end: Some(at(100.0)), max_retries: 2, is_repeatable: true, ..CallSpec::default() }
}

/// Failures by what they come from.
fn failure(kind: ErrorKind) -> Failure {
    let status = match kind {
        ErrorKind::BadRequest => Some(400),
        ErrorKind::Authentication => Some(401),
        ErrorKind::NotFound => Some(404),
        ErrorKind::RateLimit => Some(429),
        ErrorKind::InternalServer => Some(500),
        _ => None,
    };
    let mut error = crate::error::Error::new(kind, "");
    error.status = status;
    let is_repeatable = matches!(
        kind,
        ErrorKind::RateLimit | ErrorKind::InternalServer | ErrorKind::Timeout | ErrorKind::ApiConnection
    );
    Failure::new(&error, is_repeatable, true)
}

fn rate_limit(seconds: f64) -> Failure {
    Failure { retry_after: Some(at(seconds)), ..failure(ErrorKind::RateLimit) }
}

/// One call, its outlook and its last attempt.
struct Call {
    call: RoutedCall,
    known: Known,
    id: AttemptId,
}

impl Call {
    fn new(shared: &Arc<Mutex<State>>, spec: CallSpec) -> Self {
        Self { call: RoutedCall::new(shared, spec), known: Known::default(), id: 0 }
    }

    fn next(&mut self, now: f64, event: Event) -> Decision {
        let decision = self.call.next(at(now), event, &mut self.known);
        if let Decision::Attempt(attempt) | Decision::Race(attempt) = &decision {
            self.id = attempt.id;
        }
        decision
    }

    fn start(&mut self, now: f64) -> Decision {
        self.next(now, Event::Started)
    }

    /// The last attempt fails.
    fn fails(&mut self, now: f64, failure: Failure) -> Decision {
        let id = self.id;
        self.next(now, Event::Failed(id, failure))
    }

    fn succeeds(&mut self, now: f64) {
        let id = self.id;
        assert_eq!(self.next(now, Event::Succeeded(id)), Decision::Done);
    }
}

fn in_flight(shared: &Arc<Mutex<State>>) -> Vec<u32> {
    lock(shared).status(Time::ZERO).iter().map(|status| status.in_flight).collect()
}

/// Deployment and reason of an attempt.
#[track_caller]
fn attempt(decision: &Decision) -> (DeploymentIndex, Reason) {
    let Decision::Attempt(attempt) = decision else { panic!("no attempt: {decision:?}") };
    (attempt.deployment, attempt.reason)
}

#[track_caller]
fn limit(decision: &Decision) -> Option<f64> {
    let Decision::Attempt(attempt) = decision else { panic!("no attempt: {decision:?}") };
    attempt.limits.limit.map(|limit| limit.as_secs_f64())
}

#[track_caller]
fn wait(decision: &Decision) -> (f64, Pause) {
    let Decision::Wait { until, why } = decision else { panic!("no pause: {decision:?}") };
    (until.as_secs_f64(), *why)
}

#[track_caller]
fn fail(decision: Decision) -> Fail {
    let Decision::Fail(fail) = decision else { panic!("no failure: {decision:?}") };
    *fail
}

#[test]
fn another_deployment_is_asked_at_once() {
    let shared = shared(&config(&[("fast", 3)]));
    let mut call = Call::new(&shared, spec());
    assert_eq!(attempt(&call.start(0.0)), (0, Reason::First));
    assert_eq!(attempt(&call.fails(1.0, failure(ErrorKind::InternalServer))), (1, Reason::Sibling));
    assert_eq!(attempt(&call.fails(2.0, failure(ErrorKind::ApiConnection))), (2, Reason::Sibling));
    call.succeeds(3.0);
    let kinds: Vec<_> = call.call.attempts().iter().map(|made| made.failure.map(|failure| failure.kind)).collect();
    assert_eq!(kinds, [Some(ErrorKind::InternalServer), Some(ErrorKind::ApiConnection), None]);
}

#[test]
fn the_same_deployment_is_asked_again_only_after_a_pause() {
    let shared = shared(&config(&[("fast", 2)]));
    let mut call = Call::new(&shared, CallSpec { max_retries: 3, ..spec() });
    call.start(0.0);
    call.fails(0.0, failure(ErrorKind::InternalServer));
    // Half of the longest pause, 0.5 s.
    assert_eq!(wait(&call.fails(0.0, failure(ErrorKind::InternalServer))), (0.25, Pause::Backoff));
    assert_eq!(attempt(&call.next(0.25, Event::Due)), (0, Reason::Retry));
    // The other one's pause is over.
    assert_eq!(attempt(&call.fails(0.25, failure(ErrorKind::InternalServer))), (1, Reason::Retry));
    let fail = fail(call.fails(0.3, failure(ErrorKind::InternalServer)));
    assert_eq!((fail.attempt, fail.kind, &fail.message), (Some(3), ErrorKind::InternalServer, &None));
}

#[test]
fn pauses_grow_and_end_before_the_deadline() {
    let shared = shared(&config(&[("fast", 1)]));
    let mut call = Call::new(&shared, CallSpec { max_retries: 9, end: Some(at(2.0)), ..spec() });
    let mut config = config(&[("fast", 1)]);
    config.breaker.failures = 99;
    let patient = super::tests::shared(&config);
    call.call = RoutedCall::new(&patient, call.call.spec.clone());
    call.start(0.0);
    assert_eq!(wait(&call.fails(0.0, failure(ErrorKind::Timeout))).0, 0.25);
    call.next(0.25, Event::Due);
    assert_eq!(wait(&call.fails(0.25, failure(ErrorKind::Timeout))).0, 0.75);
    call.next(0.75, Event::Due);
    assert_eq!(wait(&call.fails(0.75, failure(ErrorKind::Timeout))).0, 1.75);
    call.next(1.75, Event::Due);
    assert_eq!(fail(call.fails(1.75, failure(ErrorKind::Timeout))).attempt, Some(3));
    // Or when the deadline has passed.
    let mut call = Call::new(&shared, CallSpec { end: Some(at(2.0)), ..spec() });
    call.start(0.0);
    assert_eq!(fail(call.fails(2.0, failure(ErrorKind::Timeout))).kind, ErrorKind::Timeout);
}

#[test]
fn each_group_has_its_number_of_attempts() {
    let mut config = config(&[("fast", 4), ("smart", 4)]);
    config.fallbacks = falls_back("fast", &["smart"]);
    let shared = shared(&config);
    let mut call = Call::new(&shared, CallSpec { max_retries: 1, ..spec() });
    call.start(0.0);
    assert_eq!(attempt(&call.fails(0.0, failure(ErrorKind::InternalServer))).0, 1);
    let fallback = call.fails(0.0, failure(ErrorKind::InternalServer));
    assert_eq!(attempt(&fallback), (4, Reason::Fallback(FallbackKind::General)));
    assert_eq!(attempt(&call.fails(0.0, failure(ErrorKind::InternalServer))), (5, Reason::Sibling));
    // The error of the group that was asked for.
    assert_eq!(fail(call.fails(0.0, failure(ErrorKind::Timeout))).attempt, Some(1));
}

#[test]
fn bad_requests_are_final() {
    let mut config = config(&[("fast", 2), ("smart", 1)]);
    config.fallbacks = falls_back("fast", &["smart"]);
    let shared = shared(&config);
    for kind in [ErrorKind::BadRequest, ErrorKind::UnprocessableEntity, ErrorKind::InvalidArgument, ErrorKind::Internal]
    {
        let mut call = Call::new(&shared, spec());
        call.start(0.0);
        let fail = fail(call.fails(0.0, failure(kind)));
        assert_eq!((fail.kind, fail.attempt, fail.message), (kind, Some(0), None));
    }
    // What only this one refuses.
    for kind in [ErrorKind::UnsupportedParams, ErrorKind::Authentication, ErrorKind::ApiResponseValidation] {
        let shared = super::tests::shared(&config);
        let mut call = Call::new(&shared, spec());
        call.start(0.0);
        assert_eq!(attempt(&call.fails(0.0, failure(kind))).0, 1, "{kind:?}");
        assert_eq!(attempt(&call.fails(0.0, failure(kind))).0, 2, "{kind:?}");
        assert_eq!(fail(call.fails(0.0, failure(kind))).kind, kind);
    }
    // A request that is larger than the limit of this one.
    let too_large = || Failure { class: FailureClass::BadRequest, ..failure(ErrorKind::RateLimit) };
    let shared = super::tests::shared(&config);
    let mut call = Call::new(&shared, spec());
    call.start(0.0);
    assert_eq!(attempt(&call.fails(0.0, too_large())).0, 1);
    assert_eq!(attempt(&call.fails(0.0, too_large())).0, 2);
    assert_eq!(fail(call.fails(0.0, too_large())).kind, ErrorKind::RateLimit);
}

#[test]
fn fallbacks_are_chosen_by_the_kind_of_failure() {
    let mut config = config(&[("fast", 2), ("smart", 1), ("long", 1), ("free", 1)]);
    config.fallbacks = falls_back("fast", &["smart"]);
    config.context_window_fallbacks = falls_back("fast", &["long"]);
    config.content_policy_fallbacks = falls_back("fast", &["free"]);
    for (kind, deployment, fallback) in [
        (ErrorKind::ContextWindowExceeded, 3, FallbackKind::ContextWindow),
        (ErrorKind::ContentPolicyViolation, 4, FallbackKind::ContentPolicy),
    ] {
        let shared = shared(&config);
        let mut call = Call::new(&shared, spec());
        call.start(0.0);
        // The sibling would refuse it as well.
        assert_eq!(attempt(&call.fails(0.0, failure(kind))), (deployment, Reason::Fallback(fallback)));
        assert_eq!(fail(call.fails(0.0, failure(kind))).attempt, Some(0));
    }
    // Declared for another group only: final.
    let mut of_another = config.clone();
    of_another.context_window_fallbacks = falls_back("smart", &["long"]);
    let mut call = Call::new(&shared(&of_another), spec());
    call.start(0.0);
    assert_eq!(fail(call.fails(0.0, failure(ErrorKind::ContextWindowExceeded))).kind, ErrorKind::ContextWindowExceeded);
    // Not declared at all: the general ones.
    of_another.context_window_fallbacks = Vec::new();
    let mut call = Call::new(&shared(&of_another), spec());
    call.start(0.0);
    let fallback = call.fails(0.0, failure(ErrorKind::ContextWindowExceeded));
    assert_eq!(attempt(&fallback), (2, Reason::Fallback(FallbackKind::General)));
    // The kind that comes at the repetition.
    let shared = shared(&config);
    let mut call = Call::new(&shared, spec());
    call.start(0.0);
    call.fails(0.0, failure(ErrorKind::InternalServer));
    assert_eq!(attempt(&call.fails(0.0, failure(ErrorKind::InternalServer))).0, 2);
    wait(&call.fails(0.0, failure(ErrorKind::InternalServer)));
    assert_eq!(attempt(&call.next(0.25, Event::Due)), (0, Reason::Retry));
    assert_eq!(attempt(&call.fails(0.3, failure(ErrorKind::ContextWindowExceeded))).0, 3);
}

#[test]
fn fallbacks_fall_back_and_circles_end() {
    let mut config = config(&[("a", 1), ("b", 1), ("c", 1)]);
    config.allow_circles = true;
    config.fallbacks = [falls_back("a", &["b"]), falls_back("b", &["c", "a"]), falls_back("c", &["a"])].concat();
    let shared = shared(&config);
    let mut call = Call::new(&shared, CallSpec { max_retries: 0, ..spec() });
    call.start(0.0);
    assert_eq!(attempt(&call.fails(0.0, failure(ErrorKind::InternalServer))).0, 1);
    assert_eq!(attempt(&call.fails(0.0, failure(ErrorKind::InternalServer))).0, 2);
    assert_eq!(fail(call.fails(0.0, failure(ErrorKind::InternalServer))).attempt, Some(0));
}

#[test]
fn what_cannot_take_the_call_is_passed_over() {
    let mut config = config(&[("fast", 2), ("smart", 2)]);
    config.fallbacks = falls_back("fast", &["smart"]);
    let shared = shared(&config);
    let mut call = Call::new(&shared, spec());
    let small = Refusal::ContextWindow { window: 10, prompt: 20 };
    call.known.refusals = vec![(1, Refusal::Param("tools".into())), (2, small.clone())];
    call.start(0.0);
    assert_eq!(attempt(&call.fails(0.0, failure(ErrorKind::InternalServer))).0, 3);
    let skipped: Vec<_> = call.call.skipped().iter().map(|verdict| (verdict.deployment, verdict.why.clone())).collect();
    let why = [Why::Refused(Refusal::Param("tools".into())), Why::Refused(small.clone())];
    assert_eq!(skipped, [(1, why[0].clone()), (2, why[1].clone())]);
    // Known before anything is sent.
    let mut by_window = config.clone();
    by_window.fallbacks = Vec::new();
    by_window.context_window_fallbacks = falls_back("fast", &["smart"]);
    let mut call = Call::new(&super::tests::shared(&by_window), spec());
    call.known.refusals = vec![(0, small.clone()), (1, small.clone())];
    assert_eq!(attempt(&call.start(0.0)), (2, Reason::Fallback(FallbackKind::ContextWindow)));
    // An estimate that leaves nothing else is not believed.
    let mut call = Call::new(&shared, spec());
    call.known.refusals = (0..4).map(|deployment| (deployment, small.clone())).collect();
    assert_eq!(attempt(&call.start(0.0)), (0, Reason::First));
    let fail = fail(call.fails(0.0, failure(ErrorKind::ContextWindowExceeded)));
    assert_eq!((fail.attempt, fail.kind), (Some(0), ErrorKind::ContextWindowExceeded));
}

#[test]
fn retry_after_holds_for_the_quota_group_while_others_go_on() {
    let mut config = config(&[("fast", 4)]);
    for (index, name) in [(0, "east"), (1, "east"), (2, "west"), (3, "west")] {
        config.groups[0].deployments[index].quota_group = Some(name.into());
    }
    let shared = shared(&config);
    let mut call = Call::new(&shared, spec());
    call.start(0.0);
    assert_eq!(attempt(&call.fails(0.0, rate_limit(20.0))).0, 2, "1 shares the limit");
    call.succeeds(0.5);
    // Other calls see it at once, until it is over.
    assert_eq!(attempt(&Call::new(&shared, spec()).start(19.9)).0, 2);
    assert_eq!(attempt(&Call::new(&shared, spec()).start(20.0)).0, 0);
}

#[test]
fn rate_limits_do_not_use_up_the_retries() {
    let shared = shared(&config(&[("fast", 4)]));
    let mut call = Call::new(&shared, CallSpec { max_retries: 0, ..spec() });
    call.start(0.0);
    for deployment in 1..4 {
        assert_eq!(attempt(&call.fails(0.0, rate_limit(4.0 - f64::from(deployment)))).0, deployment as usize);
    }
    // All are cooling: the last one asked for 0.5 s, and the end is spread by up to a tenth.
    let (until, why) = wait(&call.fails(0.0, rate_limit(0.5)));
    assert_eq!((until, why), (0.525, Pause::Unavailable));
    assert_eq!(attempt(&call.next(0.525, Event::Due)), (3, Reason::Retry));
    call.succeeds(1.0);
}

#[test]
fn all_cooling_waits_within_max_wait_and_the_deadline() {
    let mut config = config(&[("fast", 2)]);
    config.max_wait = Some(10.0);
    let all_cooling = |seconds: f64| {
        let shared = shared(&config);
        let mut call = Call::new(&shared, spec());
        call.start(0.0);
        call.fails(0.0, rate_limit(seconds));
        let decision = call.fails(0.0, rate_limit(seconds + 5.0));
        (shared, call, decision)
    };
    let (shared, mut call, decision) = all_cooling(8.0);
    assert_eq!(wait(&decision), (8.125, Pause::Unavailable));
    assert_eq!(attempt(&call.next(8.125, Event::Due)).0, 0);
    // It has waited for 8 s of 10.
    let refused = fail(call.fails(8.2, rate_limit(3.0)));
    assert_eq!(refused.kind, ErrorKind::RateLimit);
    assert_eq!(refused.retry_after, Some(at(3.0)));
    let whys: Vec<_> = refused.verdicts.iter().map(|verdict| verdict.why.clone()).collect();
    assert_eq!(whys, [Why::Cooling(at(11.2)), Why::Cooling(at(13.0))]);
    let plan = lock(&shared).plan().clone();
    let error = refused.error(Some(crate::error::Error::new(ErrorKind::RateLimit, "slow down")), &plan, at(8.2));
    assert_eq!(
        error.message,
        "slow down (no deployment is available for 3.0 s: p/fast0 is cooling for 3.0 s; p/fast1 is cooling for 4.8 s)"
    );
    assert_eq!(error.retry_after, Some(at(3.0)));
    // A call that never got to ask.
    let (shared, _call, _) = all_cooling(50.0);
    let refused = fail(Call::new(&shared, spec()).start(1.0));
    assert_eq!((refused.kind, refused.attempt, refused.retry_after), (ErrorKind::RateLimit, None, Some(at(49.0))));
    assert!(refused.error(None, &plan, at(1.0)).message.starts_with("no deployment is available for 49.0 s: p/fast0"));
    // The deadline.
    let (shared, _call, _) = all_cooling(8.0);
    let soon = CallSpec { end: Some(at(7.0)), ..spec() };
    assert_eq!(fail(Call::new(&shared, soon).start(1.0)).retry_after, Some(at(7.0)));
    // A budget that its quota has not got.
    let mut call = Call::new(&super::tests::shared(&config), spec());
    call.known.ready = vec![(0, at(3.0)), (1, at(2.0))];
    assert_eq!(wait(&call.start(1.0)).0, 2.05);
}

#[test]
fn after_a_pause_calls_come_back_one_by_one() {
    let shared = shared(&config(&[("fast", 1)]));
    let mut calls: Vec<Call> = (0..4).map(|_| Call::new(&shared, spec())).collect();
    calls.iter_mut().for_each(|call| drop(call.start(0.0)));
    // The pause is known, though others are in flight.
    assert_eq!(wait(&calls[0].fails(0.0, rate_limit(10.0))).0, 10.125);
    assert_eq!(
        fail(Call::new(&shared, CallSpec { end: Some(at(5.0)), ..spec() }).start(1.0)).retry_after,
        Some(at(9.0))
    );
    calls.drain(1..);
    assert_eq!(attempt(&calls[0].next(10.125, Event::Due)).0, 0);
    let mut second = Call::new(&shared, spec());
    let (until, why) = wait(&second.start(10.2));
    assert!((10.45..10.5).contains(&until) && why == Pause::Unavailable, "{until}");
    let mut third = Call::new(&shared, CallSpec { max_wait: Some(at(0.1)), ..spec() });
    let verdicts = fail(third.start(10.2)).verdicts;
    assert_eq!(verdicts[0].why, Why::Full);
    calls[0].succeeds(10.3);
    assert_eq!(attempt(&second.next(until, Event::Due)).0, 0);
    assert_eq!(attempt(&Call::new(&shared, spec()).start(until)).0, 0, "two at a time");
}

#[test]
fn rate_limits_in_a_row_make_longer_pauses() {
    let shared = shared(&config(&[("fast", 1)]));
    let mut call = Call::new(&shared, spec());
    call.start(0.0);
    let unsaid = failure(ErrorKind::RateLimit);
    // 7/8 of 1 s, 2 s, 4 s, each spread by half of the tenth.
    let mut now = 0.0;
    for pause in [0.875, 1.75, 3.5] {
        let (until, _) = wait(&call.fails(now, unsaid));
        assert!(until - now >= pause && until - now <= pause + 0.126, "{}", until - now);
        now = until;
        call.next(now, Event::Due);
    }
    // It asks for too little.
    let (until, _) = wait(&call.fails(now, rate_limit(0.001)));
    assert!(until - now >= 4.0, "{}", until - now);
    call.next(until, Event::Due);
    call.succeeds(until);
    let mut call = Call::new(&shared, spec());
    call.start(until);
    assert!(wait(&call.fails(until, rate_limit(1.0))).0 - until < 1.2);
    // Several answers of one moment are one event.
    let shared = super::tests::shared(&config(&[("fast", 1)]));
    let mut calls: Vec<Call> = (0..20).map(|_| Call::new(&shared, spec())).collect();
    calls.iter_mut().for_each(|call| drop(call.start(0.0)));
    let ends = calls.iter_mut().map(|call| wait(&call.fails(0.1, unsaid)).0);
    assert!(ends.fold(0.0, f64::max) < 1.2);
    // Absurd ones are not believed, and overflow nothing.
    let mut call = Call::new(&super::tests::shared(&config(&[("fast", 1)])), spec());
    call.start(0.0);
    let absurd = Failure { retry_after: Some(Duration::MAX), ..unsaid };
    assert_eq!(fail(call.fails(0.0, absurd)).retry_after, Some(at(86_400.0)));
}

#[test]
fn a_hang_leaves_time_for_the_others() {
    let mut config = config(&[("fast", 5), ("smart", 1)]);
    let shared = shared(&config);
    let mut call = Call::new(&shared, CallSpec { end: Some(at(30.0)), ..spec() });
    // Two more attempts may be made.
    assert_eq!(limit(&call.start(0.0)), Some(10.0));
    assert_eq!(limit(&call.fails(10.0, failure(ErrorKind::Timeout))), Some(10.0));
    assert_eq!(limit(&call.fails(20.0, failure(ErrorKind::Timeout))), None);
    // A fallback counts as one, its group's members not.
    config.fallbacks = falls_back("fast", &["smart"]);
    let single = |config: &Config, spec: CallSpec| limit(&Call::new(&super::tests::shared(config), spec).start(0.0));
    let two = CallSpec { max_retries: 0, end: Some(at(30.0)), ..spec() };
    assert_eq!(single(&config, two.clone()), Some(15.0));
    config.attempt_timeout = Some(4.0);
    assert_eq!(single(&config, two.clone()), Some(4.0));
    assert_eq!(single(&config, CallSpec { end: None, ..two.clone() }), Some(4.0));
    // A call that is not repeated has no use for it, nor one without another place to go.
    assert_eq!(single(&config, CallSpec { is_repeatable: false, ..two.clone() }), None);
    config.fallbacks = Vec::new();
    assert_eq!(single(&config, two), None);
    // Those that come after in precedence are other places, too.
    let mut ordered = super::tests::config(&[("fast", 2)]);
    ordered.groups[0].deployments[1].order = 1;
    assert_eq!(single(&ordered, CallSpec { end: Some(at(30.0)), ..spec() }), Some(15.0));
}

#[test]
fn what_was_sent_is_not_repeated_if_it_must_not_be() {
    let shared = shared(&config(&[("fast", 3)]));
    let once = CallSpec { is_repeatable: false, ..spec() };
    for kind in [ErrorKind::InternalServer, ErrorKind::Timeout, ErrorKind::ApiConnection, ErrorKind::IncompleteStream] {
        let mut call = Call::new(&shared, once.clone());
        call.start(0.0);
        assert_eq!(fail(call.fails(0.0, failure(kind))).kind, kind);
        call.call = RoutedCall::new(&super::tests::shared(&config(&[("fast", 3)])), once.clone());
        call.start(0.0);
        let not_sent = Failure { had_no_effect: true, ..failure(kind) };
        assert_eq!(attempt(&call.fails(0.0, not_sent)).0, 1);
    }
    // Refused before anything was done.
    let mut call = Call::new(&super::tests::shared(&config(&[("fast", 3)])), once);
    call.start(0.0);
    assert_eq!(attempt(&call.fails(0.0, failure(ErrorKind::RateLimit))).0, 1);
}

#[test]
fn a_stream_is_never_begun_anew_after_its_first_chunk() {
    let shared = shared(&config(&[("fast", 2)]));
    let mut call = Call::new(&shared, CallSpec { is_stream: true, ..spec() });
    call.start(0.0);
    assert_eq!(attempt(&call.fails(1.0, failure(ErrorKind::IncompleteStream))).0, 1);
    assert_eq!(call.next(2.0, Event::Answered(1)), Decision::Deliver(1));
    let fail = fail(call.fails(3.0, failure(ErrorKind::IncompleteStream)));
    assert_eq!((fail.attempt, fail.message), (Some(1), None));
    assert_eq!(lock(&shared).slot(1).in_flight, 0);
}

#[test]
fn ids_bind_to_the_account_that_made_them() {
    let mut config = config(&[("fast", 3), ("smart", 1)]);
    config.fallbacks = falls_back("fast", &["smart"]);
    for (index, account) in [(0, "one"), (1, "two"), (2, "two")] {
        config.groups[0].deployments[index].account = Some(account.into());
    }
    let shared = shared(&config);
    lock(&shared).remember("resp_2", 1);
    lock(&shared).remember("file_1", 0);
    lock(&shared).remember("file_p", 3);
    let bound = |ids: &[&str]| {
        let bindings = ids.iter().map(|id| (*id).to_owned()).collect();
        Call::new(&shared, CallSpec { bindings, ..spec() })
    };
    let mut call = bound(&["resp_2"]);
    assert_eq!(attempt(&call.start(0.0)).0, 1);
    assert_eq!(attempt(&call.fails(0.0, failure(ErrorKind::InternalServer))).0, 2, "of the same account");
    // No fallback: a pause, then the same.
    assert_eq!(wait(&call.fails(0.0, failure(ErrorKind::InternalServer))).1, Pause::Backoff);
    // What is named does not exist: the deployment is not to blame.
    let mut call = bound(&["resp_2"]);
    call.start(1.0);
    assert_eq!(fail(call.fails(1.0, failure(ErrorKind::NotFound))).kind, ErrorKind::NotFound);
    let unknown = fail(bound(&["resp_9"]).start(0.0));
    assert_eq!((unknown.kind, unknown.attempt), (ErrorKind::InvalidArgument, None));
    assert!(unknown.message.unwrap().starts_with("the account that \"resp_9\" belongs to is not known"));
    assert!(fail(bound(&["resp_2", "file_1"]).start(0.0)).message.unwrap().contains("two accounts"));
    let elsewhere = fail(bound(&["file_p"]).start(0.0));
    assert_eq!(elsewhere.verdicts.len(), 3);
    // One account needs no memory.
    let mut call = Call::new(&shared, CallSpec { group: 1, bindings: vec!["resp_9".into()], ..spec() });
    assert_eq!(attempt(&call.start(0.0)).0, 3);
}

#[test]
fn a_missing_object_does_not_put_a_deployment_out() {
    let shared = shared(&config(&[("fast", 1)]));
    let of_account = CallSpec { is_of_account: true, ..spec() };
    let mut call = Call::new(&shared, of_account);
    call.start(0.0);
    fail(call.fails(0.0, failure(ErrorKind::NotFound)));
    assert_eq!(lock(&shared).slot(0).ready_at, Time::ZERO);
    let mut call = Call::new(&shared, spec());
    call.start(0.0);
    fail(call.fails(0.0, failure(ErrorKind::NotFound)));
    assert_eq!(lock(&shared).slot(0).ready_at, at(300.0));
}

#[test]
fn what_is_refused_goes_out_is_said_once_and_is_probed() {
    let shared = shared(&config(&[("fast", 2)]));
    let mut call = Call::new(&shared, spec());
    call.start(0.0);
    assert_eq!(attempt(&call.fails(0.0, failure(ErrorKind::Authentication))).0, 1);
    let notices = call.call.take_notices();
    assert_eq!(&notices[..], [Notice { deployment: 0, change: Change::Out(FailureClass::Auth) }]);
    call.succeeds(0.0);
    assert_eq!(attempt(&Call::new(&shared, spec()).start(299.0)).0, 1);
    let mut probe = Call::new(&shared, CallSpec { end: None, ..spec() });
    assert_eq!(attempt(&probe.start(300.0)).0, 0);
    // One at a time.
    assert_eq!(attempt(&Call::new(&shared, CallSpec { end: None, ..spec() }).start(300.0)).0, 1);
    probe.fails(300.0, failure(ErrorKind::Authentication));
    assert!(probe.call.take_notices().is_empty(), "said once");
    lock(&shared).enable("p/fast0").unwrap();
    assert_eq!(attempt(&Call::new(&shared, CallSpec { end: None, ..spec() }).start(301.0)).0, 0);
    assert!(lock(&shared).enable("fast0").unwrap_err().message.contains("p/fast0, p/fast1"));
}

#[test]
fn a_deployment_that_is_out_fails_calls_with_the_kind_of_its_failure() {
    for kind in [ErrorKind::PermissionDenied, ErrorKind::NotFound, ErrorKind::Authentication] {
        let shared = shared(&config(&[("fast", 1)]));
        let mut call = Call::new(&shared, spec());
        call.start(0.0);
        assert_eq!(fail(call.fails(0.0, failure(kind))).kind, kind);
        let fail = fail(Call::new(&shared, spec()).start(1.0));
        assert_eq!((fail.kind, fail.attempt, fail.retry_after), (kind, None, Some(at(299.0))));
    }
}

#[test]
fn what_only_its_account_can_read_goes_there_if_that_is_known() {
    let mut config = config(&[("fast", 2), ("slow", 1)]);
    for (deployment, account) in config.groups[0].deployments.iter_mut().zip(["a", "b"]) {
        deployment.account = Some(account.into());
    }
    config.fallbacks = falls_back("fast", &["slow"]);
    let shared = shared(&config);
    lock(&shared).remember("rs_1", 1);
    let sealed = |id: &str| CallSpec { sealed: vec![id.into()], ..spec() };
    let mut call = Call::new(&shared, sealed("rs_1"));
    assert_eq!(attempt(&call.start(0.0)), (1, Reason::First));
    assert_eq!(wait(&call.fails(0.0, failure(ErrorKind::InternalServer))).1, Pause::Backoff);
    // Unknown, or of an account that the group does not have: anywhere.
    lock(&shared).remember("rs_3", 2);
    for id in ["rs_2", "rs_3"] {
        let mut call = Call::new(&shared, sealed(id));
        assert_eq!(attempt(&call.start(0.0)), (0, Reason::First));
        assert_eq!(attempt(&call.fails(0.0, failure(ErrorKind::InternalServer))), (1, Reason::Sibling));
    }
}

#[test]
fn an_open_breaker_lets_one_probe_through_and_closes() {
    let mut config = config(&[("fast", 2)]);
    config.strategy = Some("weighted".into());
    config.breaker.failures = 2;
    let shared = shared(&config);
    let mut opened = Vec::new();
    for _ in 0..20 {
        let mut call = Call::new(&shared, spec());
        let (deployment, _) = attempt(&call.start(0.0));
        if deployment == 0 {
            call.fails(0.0, failure(ErrorKind::InternalServer));
        }
        call.succeeds(0.0);
        opened.extend(call.call.take_notices());
    }
    // Seven eighths of 5 s.
    assert_eq!(opened, [Notice { deployment: 0, change: Change::Opened(at(4.375)) }]);
    assert_eq!(attempt(&Call::new(&shared, spec()).start(4.3)).0, 1);
    // A call that must not be repeated is no probe while others are well.
    let careful = CallSpec { is_repeatable: false, ..spec() };
    assert_eq!(attempt(&Call::new(&shared, careful).start(5.0)).0, 1);
    let mut probe = Call::new(&shared, spec());
    assert_eq!(attempt(&probe.start(5.0)).0, 0, "what may be well again is asked first");
    for _ in 0..5 {
        assert_eq!(attempt(&Call::new(&shared, spec()).start(5.0)).0, 1);
    }
    let id = probe.id;
    probe.next(5.5, Event::Answered(id));
    assert_eq!(probe.call.take_notices()[0].change, Change::Closed);
    assert_eq!(lock(&shared).status(at(5.5))[0].breaker, "closed");
    // A probe that is dropped leaves the next one to another call.
    for _ in 0..2 {
        let mut call = Call::new(&shared, spec());
        call.start(6.0);
        let id = call.id;
        let deployment = call.call.attempts()[id].deployment;
        let failed = Failure { class: FailureClass::Auth, ..failure(ErrorKind::Authentication) };
        if deployment == 0 {
            call.fails(6.0, failed);
        }
    }
    for _ in 0..3 {
        assert_eq!(attempt(&Call::new(&shared, spec()).start(306.0)).0, 0);
    }
}

#[test]
fn a_second_request_races_the_first() {
    let mut config = config(&[("fast", 2)]);
    config.hedge = Some(Hedge { after: HedgeAfter::Time(at(1.0)), budget: 0.5 });
    let shared = shared(&config);
    let mut call = Call::new(&shared, spec());
    let Decision::Attempt(first) = call.start(0.0) else { panic!("an attempt") };
    assert_eq!(first.limits.race_after, Some(at(1.0)));
    // Half a second request: looked at again later.
    assert_eq!(call.next(1.0, Event::Due), Decision::Continue { due_after: Some(at(0.5)) });
    let mut other = Call::new(&shared, spec());
    other.start(1.0);
    other.succeeds(1.0);
    let Decision::Race(second) = call.next(1.5, Event::Due) else { panic!("a race") };
    assert_eq!((second.deployment, second.reason, second.limits.race_after), (1, Reason::Hedge, None));
    // The second fails, the first goes on; no third.
    assert_eq!(call.next(1.6, Event::Failed(1, failure(ErrorKind::InternalServer))), GO_ON);
    assert_eq!(call.next(1.7, Event::Due), GO_ON);
    call.next(2.0, Event::Succeeded(0));
    let counts = [0, 1].map(|deployment| lock(&shared).counts(deployment));
    assert_eq!((counts[0].successes, counts[1].failures), (2, 1));
    // The second wins: the first is given up.
    let mut call = Call::new(&shared, CallSpec { is_stream: true, ..spec() });
    (0..2).for_each(|_| drop(Call::new(&shared, spec()).start(3.0)));
    call.start(3.0);
    assert!(matches!(call.next(4.0, Event::Due), Decision::Race(_)));
    assert_eq!(call.next(4.5, Event::Answered(1)), Decision::Deliver(1));
    assert_eq!(in_flight(&shared), [0, 1]);
    assert_eq!(call.next(4.6, Event::Failed(0, failure(ErrorKind::Timeout))), GO_ON, "it is no part of the call");
    assert_eq!(call.next(5.0, Event::Succeeded(1)), Decision::Done);
    // No races of calls that must not be repeated.
    let mut call = Call::new(&shared, CallSpec { is_repeatable: false, ..spec() });
    let Decision::Attempt(first) = call.start(6.0) else { panic!("an attempt") };
    assert_eq!(first.limits.race_after, None);
}

#[test]
fn a_first_that_fails_leaves_the_race_to_the_second() {
    let mut config = config(&[("fast", 3)]);
    config.hedge = Some(Hedge { after: HedgeAfter::Time(at(1.0)), budget: 1.0 });
    let shared = shared(&config);
    let mut call = Call::new(&shared, spec());
    call.start(0.0);
    call.next(1.0, Event::Due);
    assert_eq!(call.next(1.5, Event::Failed(0, failure(ErrorKind::InternalServer))), GO_ON);
    assert_eq!(attempt(&call.next(2.0, Event::Failed(1, failure(ErrorKind::InternalServer)))).0, 2);
    call.succeeds(3.0);
    // A final error ends both.
    let mut call = Call::new(&shared, spec());
    call.start(4.0);
    call.next(5.0, Event::Due);
    fail(call.next(5.5, Event::Failed(0, failure(ErrorKind::BadRequest))));
    assert_eq!(in_flight(&shared), [0, 0, 0]);
}

#[test]
fn embeddings_and_tags_leave_deployments_out() {
    let mut config = config(&[("vectors", 3), ("other", 1)]);
    config.fallbacks = falls_back("vectors", &["other"]);
    config.groups[0].deployments[2].base_model = Some("vectors0".into());
    config.groups[0].deployments[1].tags = vec!["eu".into()];
    let shared = shared(&config);
    let mut call = Call::new(&shared, CallSpec { is_embedding: true, max_retries: 5, ..spec() });
    call.start(0.0);
    assert_eq!(attempt(&call.fails(0.0, failure(ErrorKind::InternalServer))).0, 2);
    assert_eq!(wait(&call.fails(0.0, failure(ErrorKind::InternalServer))).1, Pause::Backoff);
    let mut call = Call::new(&shared, CallSpec { tags: vec!["us".into(), "eu".into()], ..spec() });
    assert_eq!(attempt(&call.start(0.0)).0, 1);
    let mut call = Call::new(&shared, CallSpec { tags: vec!["us".into()], ..spec() });
    let fail = fail(call.start(0.0));
    assert_eq!((fail.kind, fail.verdicts.len()), (ErrorKind::InvalidArgument, 4));
    assert_eq!(fail.verdicts[0].why, Why::Refused(Refusal::Tags));
}

#[test]
fn a_function_chooses_among_what_is_available() {
    let mut config = config(&[("fast", 3)]);
    config.strategy = Some("custom".into());
    let shared = shared(&config);
    let mut call = Call::new(&shared, spec());
    call.known.choice = Some(2);
    assert_eq!(attempt(&call.start(0.0)).0, 2);
    call.known.choice = Some(99);
    assert_eq!(attempt(&call.fails(0.0, failure(ErrorKind::InternalServer))).0, 1, "the last one");
    call.known.choice = None;
    assert_eq!(attempt(&call.fails(0.0, failure(ErrorKind::InternalServer))).0, 0);
    assert_eq!(call.known.asked, [vec![0, 1, 2], vec![0, 1], vec![0]]);
}

#[test]
fn a_dropped_call_gives_back_what_it_holds() {
    let mut config = config(&[("fast", 2)]);
    config.hedge = Some(Hedge { after: HedgeAfter::Time(at(1.0)), budget: 1.0 });
    let shared = shared(&config);
    let mut call = Call::new(&shared, spec());
    call.start(0.0);
    call.next(1.0, Event::Due);
    assert_eq!(in_flight(&shared), [1, 1]);
    drop(call);
    assert_eq!(in_flight(&shared), [0, 0]);
    assert_eq!([0, 1].map(|deployment| lock(&shared).counts(deployment).cancelled), [1, 1]);
}

/// A group of two, and a call that finds both without budget: the first has some in a second, the other one in two.
fn in_line(edit: impl FnOnce(&mut Config), spec: CallSpec) -> (Arc<Mutex<State>>, Call) {
    let mut config = config(&[("fast", 2), ("slow", 1)]);
    edit(&mut config);
    let shared = shared(&config);
    let mut call = Call::new(&shared, spec);
    call.known.has_lines = true;
    call.known.ready = vec![(0, at(1.0)), (1, at(2.0)), (2, at(9.0))];
    let Decision::Attempt(attempt) = call.start(0.0) else { panic!("it waits in a line") };
    assert_eq!((attempt.id, attempt.deployment, attempt.reason), (0, 0, Reason::First));
    (shared, call)
}

const LOOK_AGAIN: Decision = Decision::Continue { due_after: Some(Duration::from_millis(50)) };

#[test]
fn a_call_that_waits_goes_to_a_deployment_that_is_free() {
    let (shared, mut call) = in_line(|_| {}, spec());
    assert_eq!(in_flight(&shared), [1, 0, 0]);
    assert_eq!(call.next(0.5, Event::Unadmitted(0)), LOOK_AGAIN);
    call.known.ready = vec![(0, at(9.0))];
    let Decision::Attempt(attempt) = call.next(3.0, Event::Unadmitted(0)) else { panic!("the other one is free") };
    assert_eq!((attempt.id, attempt.deployment, attempt.reason), (0, 1, Reason::First));
    // As if it had never been in the first line.
    assert_eq!(in_flight(&shared), [0, 1, 0]);
    let counts = lock(&shared).counts(0);
    assert_eq!((counts.attempts, counts.cancelled), (0, 0));
    assert_eq!(call.call.attempts().len(), 1);
    // It may go back there after a failure.
    call.known.ready.clear();
    assert_eq!(attempt_of(call.fails(4.0, failure(ErrorKind::InternalServer))), (1, 0, Reason::Sibling));
    call.succeeds(5.0);
    assert_eq!(in_flight(&shared), [0, 0, 0]);
}

fn attempt_of(decision: Decision) -> (AttemptId, DeploymentIndex, Reason) {
    let Decision::Attempt(attempt) = decision else { panic!("no attempt: {decision:?}") };
    (attempt.id, attempt.deployment, attempt.reason)
}

#[test]
fn a_call_that_waits_goes_to_a_fallback_that_is_free() {
    let fall_back = |config: &mut Config| config.fallbacks = falls_back("fast", &["slow"]);
    let (shared, mut call) = in_line(fall_back, spec());
    call.known.ready.pop();
    assert_eq!(attempt_of(call.next(0.5, Event::Unadmitted(0))), (0, 2, Reason::Fallback(FallbackKind::General)),);
    assert_eq!(in_flight(&shared), [0, 0, 1]);
}

#[test]
fn all_waiting_counts_towards_its_maximum() {
    let (_, mut call) = in_line(|_| {}, CallSpec { max_wait: Some(at(10.0)), ..spec() });
    call.known.ready.remove(1);
    let Decision::Attempt(attempt) = call.next(4.0, Event::Unadmitted(0)) else { panic!("the other one is free") };
    assert_eq!(attempt.max_wait, Some(at(6.0)));
    // Another one took the place: it waits there, and goes back.
    call.known.ready = vec![(1, at(9.0))];
    let Decision::Attempt(attempt) = call.next(7.0, Event::Unadmitted(0)) else { panic!("the first one is free") };
    assert_eq!((attempt.id, attempt.deployment, attempt.max_wait), (0, 0, Some(at(3.0))));
    call.known.ready = vec![(0, at(12.0)), (1, at(12.0))];
    call.next(9.0, Event::Admitted(0));
    // A second was left.
    let fail = fail(call.fails(10.0, failure(ErrorKind::InternalServer)));
    assert_eq!((fail.attempt, fail.retry_after), (Some(0), Some(at(2.0))));
}

#[test]
fn latency_and_the_share_of_the_time_count_from_admission() {
    let (shared, mut call) = in_line(|_| {}, CallSpec { end: Some(at(10.0)), ..spec() });
    call.known.ready = vec![(1, at(5.0))];
    // The other one will have budget before the end: half of what is left.
    let limits = AttemptLimits { limit: Some(at(3.0)), race_after: None };
    assert_eq!(call.next(4.0, Event::Admitted(0)), Decision::Send(limits));
    call.succeeds(4.5);
    assert_eq!(lock(&shared).status(at(5.0))[0].mean, [Some(0.5), None]);

    let (_, mut call) =
        in_line(|config| config.attempt_timeout = Some(1.0), CallSpec { end: Some(at(10.0)), ..spec() });
    let limits = AttemptLimits { limit: Some(at(1.0)), race_after: None };
    assert_eq!(call.next(1.0, Event::Admitted(0)), Decision::Send(limits));

    // None within the deadline: it has all the time.
    let (_, mut call) = in_line(|_| {}, CallSpec { end: Some(at(10.0)), ..spec() });
    call.known.ready = vec![(1, at(50.0))];
    assert_eq!(call.next(4.0, Event::Admitted(0)), Decision::Send(AttemptLimits::default()));
}

#[test]
fn a_race_begins_after_admission() {
    let hedge = |config: &mut Config| config.hedge = Some(Hedge { after: HedgeAfter::Time(at(2.0)), budget: 1.0 });
    let (shared, mut call) = in_line(hedge, CallSpec { end: None, ..spec() });
    call.known.ready.clear();
    let limits = AttemptLimits { limit: None, race_after: Some(at(2.0)) };
    assert_eq!(call.next(3.0, Event::Admitted(0)), Decision::Send(limits));
    let Decision::Race(second) = call.next(5.0, Event::Due) else { panic!("the first one takes long") };
    // The second one has to wait all the same: it stays where it is.
    assert_eq!(call.next(5.0, Event::Unadmitted(second.id)), GO_ON);
    assert_eq!(call.next(6.0, Event::Admitted(second.id)), Decision::Send(AttemptLimits::default()));
    assert_eq!(call.next(6.5, Event::Succeeded(second.id)), Decision::Done);
    // The loser took 3.5 s at least.
    let [first, second, _] = &lock(&shared).status(at(7.0))[..] else { panic!("there are three") };
    assert_eq!((first.in_flight, second.in_flight, second.mean), (0, 0, [Some(0.5), None]));
}

#[test]
fn a_probe_that_waits_is_given_back() {
    let mut config = config(&[("fast", 2)]);
    config.breaker.failures = 1;
    let shared = shared(&config);
    let mut call = Call::new(&shared, CallSpec { max_retries: 0, ..spec() });
    call.start(0.0);
    call.fails(0.0, failure(ErrorKind::InternalServer));
    let probe_at = lock(&shared).slot(0).ready_at.as_secs_f64();
    let mut call = Call::new(&shared, spec());
    call.known.has_lines = true;
    call.known.ready = vec![(0, at(probe_at + 1.0)), (1, at(probe_at + 2.0))];
    assert_eq!(attempt(&call.start(probe_at)), (0, Reason::First));
    assert_eq!(lock(&shared).status(at(probe_at))[0].breaker, "half_open");
    call.known.ready.pop();
    assert_eq!(attempt(&call.next(probe_at, Event::Unadmitted(0))), (1, Reason::First));
    let state = lock(&shared);
    assert_eq!((state.slot(0).ready_at, state.counts(0).probes), (at(probe_at), 0));
}
