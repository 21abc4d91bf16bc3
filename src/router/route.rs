//! Carries out the decisions on a routed call: makes attempts, races and pauses, and reports what came of them.
//!
//! The client makes one attempt at a time without retries of its own; what is repeated, and where, is decided in
//! [`RoutedCall`].

use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use memchr::memmem;
use serde::de::IgnoredAny;
use smallvec::SmallVec;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::call::RoutedCall;
use super::decision::{Attempt, AttemptId, CallSpec, Decision, Event, Fail, Failure, Outlook, Refusal, Time};
use super::options::{FallbackKind, StrategyKind};
use super::plan::{DeploymentIndex, GroupIndex, Plan};
use super::sharing::{self, InStore, Sharing};
use super::state::State;
use super::target::{Target, failed_response, has_content, refused_content, unreadable};
use crate::client::{self, AdmissionProgress, Call, Callbacks, Chunk, Client, Stage, Stream, StreamObserver};
use crate::error::{Error, ErrorKind, Result};
use crate::providers::{Deployment, binding, created_ids, failure_class};
use crate::types::answer::{Answer, Meta};
use crate::types::operation::{Operation, Output, Streaming};
use crate::types::rate_limit::FailureClass;
use crate::types::record::{AttemptRecord, CallRecord, Outcome};
use crate::types::request::Request;

/// A router: deployments, and what its calls have learnt of them.
pub struct Router {
    targets: Arc<[Target]>,
    plan: Arc<Plan>,
    state: Arc<Mutex<State>>,
    sharing: Sharing,
    started: Instant,
    /// Hashes of the deployments, for what is not shared with other processes and for what is.
    fingerprints: [OnceLock<[u8; 32]>; 2],
}

impl Router {
    /// Creates a router that has made no call. The targets are in the plan's order.
    pub fn new(plan: Arc<Plan>, targets: Arc<[Target]>) -> Self {
        let state = Arc::new(Mutex::new(State::new(plan.clone(), fastrand::f64)));
        Self {
            targets,
            plan,
            state,
            sharing: Sharing::default(),
            started: Instant::now(),
            fingerprints: Default::default(),
        }
    }

    /// Calls a function with the state of the deployments and the time.
    pub fn with<T>(&self, function: impl FnOnce(&mut State, Time) -> T) -> T {
        let now = self.now();
        function(&mut self.lock(), now)
    }

    /// Returns a hash of the deployments, for what is shared with other processes or for what is not. `make` makes it at the first
    /// use of each.
    pub fn fingerprint(&self, is_shared: bool, make: impl FnOnce(&[Target]) -> [u8; 32]) -> &[u8; 32] {
        self.fingerprints[usize::from(is_shared)].get_or_init(|| make(&self.targets))
    }

    /// Returns a deployment by its index.
    pub fn target(&self, deployment: DeploymentIndex) -> &Target {
        &self.targets[deployment]
    }

    /// Returns its deployments.
    pub fn deployments(&self) -> impl Iterator<Item = &Deployment> {
        self.targets.iter().map(|target| &target.deployment)
    }

    /// Returns a call as the router sees it. `prefix` is the number of bytes of a prompt that the strategy `affinity` looks at.
    pub fn spec(&self, group: GroupIndex, request: &Request, max_retries: u32, prefix: usize) -> CallSpec {
        let operation = request.operation;
        let binding = binding(request);
        CallSpec {
            group,
            max_retries,
            is_stream: request.stream,
            is_repeatable: binding.repeatable,
            bindings: binding.ids,
            sealed: binding.sealed,
            is_embedding: operation == Operation::Embedding,
            is_of_account: !operation.spec().has_model,
            affinity: (self.plan.strategy == StrategyKind::Affinity).then(|| affinity_key(request, prefix)),
            ..CallSpec::default()
        }
    }

    /// Returns the group of this name.
    pub fn group(&self, name: &str) -> Option<GroupIndex> {
        self.plan.group(name)
    }

    /// Returns the names of the groups.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.plan.groups.iter().map(|group| &*group.name)
    }

    /// Returns the deployment that a call of a group is written for before one is chosen.
    pub fn placeholder(&self, group: GroupIndex) -> &Deployment {
        &self.targets[self.plan.placeholder(group)].deployment
    }

    /// Returns the breakers that other processes know of, if there are any.
    fn shared_breakers<'a>(&'a self, client: &'a Client) -> Option<InStore<'a>> {
        client.shares_limits().then(|| InStore { sharing: &self.sharing, targets: &self.targets, client })
    }

    /// Tells other processes what this one found of the deployments, and from time to time takes over what they did.
    #[cold]
    fn share(&self, shared: &InStore<'_>, now: Time) {
        sharing::tell(&self.state, shared);
        if self.sharing.is_due(now) {
            for notice in sharing::look(&self.state, now, shared) {
                client::notify(notice.text(&self.plan, now));
            }
        }
    }

    /// Puts what a call has changed for all into the log.
    fn note(&self, routed: &mut RoutedCall, now: Time) {
        for notice in routed.take_notices() {
            client::notify(notice.text(&self.plan, now));
        }
    }

    fn now(&self) -> Time {
        self.started.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the key by which calls with the same prompt prefix, or of the same user, go to the same deployment.
fn affinity_key(request: &Request, prefix: usize) -> u64 {
    let mut hasher = DefaultHasher::new();
    let named = ["prompt_cache_key", "user"].iter().find_map(|name| request.params.get(name));
    let input = request.operation.spec().input;
    let prompt = || {
        // The instructions of a response come before its input.
        let parts = ["instructions", input].into_iter().filter_map(|name| request.params.get(name));
        parts.flatten().copied().take(prefix).collect::<Vec<u8>>()
    };
    match named {
        Some(name) => name.hash(&mut hasher),
        None => prompt().hash(&mut hasher),
    }
    hasher.finish()
}

/// The deployments that one call may go to.
pub struct Route {
    /// The router.
    pub router: Arc<Router>,
    /// The call as the router sees it.
    pub spec: CallSpec,
    /// Deployments in the order that the user's function prefers; empty if there is none.
    pub preference: Vec<DeploymentIndex>,
    /// The functions of each deployment's keys, by index; empty if there are none.
    pub callbacks: Vec<Option<Box<Callbacks>>>,
}

impl Route {
    /// Makes a call and returns the whole answer.
    ///
    /// # Errors
    ///
    /// The failure of the attempt that decided, or the reasons why no deployment was asked.
    pub async fn call(self: Box<Self>, client: &Client, call: &Call) -> Result<Answer> {
        let failed_content = self.failed_content(call.request.operation);
        let is_json = call.request.operation.spec().output != Output::Binary;
        // With one deployment, who reads the answer finds out.
        let is_checked = is_json && self.router.targets.len() > 1;
        let make = |mut attempt: Call, _: Bounds| -> Future<'_, Answer> {
            Box::pin(async move {
                let answer = client.call(&mut attempt).await?;
                if is_checked && let Some(error) = unreadable(&answer) {
                    return Err(error);
                }
                failed_content(&answer.body).map_or(Ok(answer), Err)
            })
        };
        let mut driver = Driver::start(self, client, call);
        let (mut answer, id) = driver.run(make).await?;
        driver.record_answer(id, &mut answer.meta);
        driver.remember(id, &created_ids(call.request.operation, &answer.body));
        // What is left of the call is only to be counted.
        driver.tell(Event::Succeeded(id));
        Ok(answer)
    }

    /// Makes a call and returns its stream when the first chunk with content has come.
    ///
    /// # Errors
    ///
    /// As for [`call`](Self::call).
    pub async fn stream<'a>(self: Box<Self>, client: &'a Client, call: Call) -> Result<Box<Stream<'a>>> {
        let operation = call.request.operation;
        let failed_content = self.failed_content(operation);
        let make = |attempt: Call, bounds: Bounds| -> Future<'_, (Box<Stream<'a>>, Vec<String>)> {
            Box::pin(async move {
                let begun = Instant::now();
                let mut stream = client.stream(attempt).await?;
                // The first event of a response tells its id.
                let mut ids = Vec::new();
                let has_content = |chunk: &[u8]| {
                    ids.extend(created_ids(operation, chunk));
                    has_content(chunk)
                };
                let first = stream.read_ahead(has_content).await?;
                // It goes on for as long as the call may take.
                stream.set_end(bounds.end(begun + stream.waited()));
                let is_json = operation.spec().streaming != Streaming::Bytes;
                let Some(first) = first.or((!is_json).then(Bytes::new)) else {
                    let message = "the stream ended without content and without its finish";
                    return Err(Error::new(ErrorKind::IncompleteStream, message));
                };
                if is_json && !first.is_empty() && serde_json::from_slice::<IgnoredAny>(&first).is_err() {
                    let message = "the first chunk of the stream is not valid JSON";
                    return Err(Error::new(ErrorKind::ApiResponseValidation, message));
                }
                failed_content(&first).map_or(Ok((stream, ids)), Err)
            })
        };
        let mut driver = Driver::start(self, client, &call);
        let ((mut stream, ids), id) = driver.run(make).await?;
        driver.record_answer(id, stream.meta_mut());
        driver.remember(id, &ids);
        let deployment = driver.routed.attempts()[id].deployment;
        let router = driver.context.route.router.clone();
        stream.observe(Box::new(Observer { routed: driver.routed, router, id, deployment, operation }));
        Ok(stream)
    }

    /// Returns a function that finds the failure in an answer, or in the first chunk with content: after some, the call goes
    /// elsewhere.
    fn failed_content(&self, operation: Operation) -> fn(&[u8]) -> Option<Box<Error>> {
        let fallbacks = &self.router.plan.groups[self.spec.group].fallbacks;
        match operation {
            // A response that is stored is not made again.
            Operation::Responses if self.spec.is_repeatable => failed_response,
            _ if !fallbacks[FallbackKind::ContentPolicy as usize].groups.is_empty() => refused_content,
            _ => |_| None,
        }
    }
}

/// Future of an attempt.
type Future<'a, O> = Pin<Box<dyn std::future::Future<Output = Result<O>> + Send + 'a>>;

/// An attempt that is under way.
struct Running<'a, O> {
    id: AttemptId,
    future: Future<'a, O>,
    /// Progress of its admission, if it may have to wait.
    progress: Option<Arc<AdmissionProgress>>,
    /// Stage that was seen last.
    stage: Stage,
    bounds: Bounds,
}

impl<O> Running<'_, O> {
    /// Lets the admitted attempt be sent within a limit.
    fn send(&mut self, limit: Option<Duration>) {
        if let Some(progress) = &self.progress {
            progress.send(self.bounds.total(limit));
        }
    }
}

/// What bounds an attempt besides its share of the time.
#[derive(Clone, Copy)]
struct Bounds {
    /// Total timeout of its deployment.
    total: Option<Duration>,
    /// End of the call.
    end: Option<Instant>,
}

impl Bounds {
    /// Returns the end of an attempt that was sent at `sent`.
    fn end(&self, sent: Instant) -> Option<Instant> {
        let own = self.total.and_then(|total| sent.checked_add(total));
        [own, self.end].into_iter().flatten().min()
    }

    /// Returns the total timeout of an attempt that is sent now with this limit.
    fn total(&self, limit: Option<Duration>) -> Option<Duration> {
        let rest = self.end.map(|end| end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
        [self.total, rest, limit].into_iter().flatten().min()
    }
}

/// A routed call under way.
struct Driver<'a> {
    routed: RoutedCall,
    context: Context<'a>,
    /// Errors of the attempts that failed.
    errors: SmallVec<[(AttemptId, Box<Error>); 1]>,
    started: Instant,
    /// Starts of the attempts, by their numbers.
    begun: SmallVec<[Instant; 2]>,
    /// Their limits, if they have one of their own.
    limits: SmallVec<[Option<Duration>; 2]>,
    /// Times that they have waited in lines which they left.
    lines: SmallVec<[Duration; 2]>,
}

/// Inputs of the decisions and the attempts of a call.
struct Context<'a> {
    client: &'a Client,
    call: &'a Call,
    route: Box<Route>,
    /// End of the call, if it has a total timeout.
    end: Option<Time>,
}

impl<'a> Driver<'a> {
    fn start(mut route: Box<Route>, client: &'a Client, call: &'a Call) -> Self {
        let mut spec = std::mem::take(&mut route.spec);
        let end = call.timeouts.total.and_then(|total| route.router.now().checked_add(total));
        spec.end = end;
        spec.max_wait = call.timeouts.queue;
        let routed = RoutedCall::new(&route.router.state, spec);
        Self {
            routed,
            context: Context { client, call, route, end },
            errors: SmallVec::new(),
            started: Instant::now(),
            begun: SmallVec::new(),
            limits: SmallVec::new(),
            lines: SmallVec::new(),
        }
    }

    /// Takes an event and returns the next step.
    fn tell(&mut self, event: Event) -> Decision {
        let router = &self.context.route.router;
        let now = router.now();
        let shared = router.shared_breakers(self.context.client);
        if let Some(shared) = &shared {
            router.share(shared, now);
        }
        let decision = self.routed.next(now, event, &mut View { context: &self.context, now });
        router.note(&mut self.routed, now);
        if let Some(shared) = &shared {
            sharing::tell(&router.state, shared);
        }
        decision
    }

    /// Remembers which account has the state that an answer made.
    fn remember(&self, id: AttemptId, ids: &[String]) {
        if ids.is_empty() {
            return;
        }
        let deployment = self.routed.attempts()[id].deployment;
        self.context.route.router.with(|state, _| ids.iter().for_each(|id| state.remember(id, deployment)));
    }

    /// Makes attempts until one is answered. Returns its output and its number.
    async fn run<O>(&mut self, make: impl Fn(Call, Bounds) -> Future<'a, O>) -> Result<(O, AttemptId)> {
        let mut running: SmallVec<[Running<'a, O>; 2]> = SmallVec::new();
        let mut answered = None;
        let mut due: Option<Pin<Box<Sleep>>> = None;
        // An attempt's own deadline begins when it is admitted, the call's before.
        let mut end: Option<Pin<Box<Sleep>>> = None;
        let mut event = Event::Started;
        loop {
            match self.tell(event) {
                Decision::Attempt(attempt) | Decision::Race(attempt) => {
                    // One that waits leaves its line first.
                    running.retain(|running| running.id != attempt.id);
                    due = attempt.limits.race_after.map(|after| Box::pin(sleep(after)));
                    self.begins(&attempt);
                    if end.is_none() && self.context.may_wait(attempt.deployment) {
                        end = self.context.end_of_call().map(|end| Box::pin(sleep_until(end)));
                    }
                    running.push(self.context.begin(&attempt, &make));
                }
                Decision::Send(limits) => {
                    due = limits.race_after.map(|after| Box::pin(sleep(after)));
                    if let Some(sent) = running.iter_mut().find(|running| running.stage == Stage::Admitted) {
                        self.limits[sent.id] = limits.limit;
                        sent.send(limits.limit);
                    }
                }
                Decision::Continue { due_after } => due = due_after.map(|after| Box::pin(sleep(after))),
                Decision::Deliver(id) => {
                    running.clear();
                    if let Some((found, output)) = answered.take()
                        && found == id
                    {
                        return Ok((output, id));
                    }
                }
                Decision::Wait { until, .. } => {
                    event = Event::Due;
                    sleep_until(self.context.route.router.started + until).await;
                    continue;
                }
                Decision::Fail(fail) => return Err(self.failed(&fail)),
                // Reported after an answer only.
                Decision::Done => {}
            }
            event = match next(&mut running, &mut due, &mut end).await {
                Next::Due => {
                    due = None;
                    match running.iter().find(|running| running.stage == Stage::First) {
                        Some(waiting) => self.unadmitted(waiting),
                        None => Event::Due,
                    }
                }
                Next::Unadmitted(index) => self.unadmitted(&running[index]),
                Next::Admitted(id) => Event::Admitted(id),
                Next::End => return Err(self.ended()),
                Next::Ended(id, Ok(output)) => {
                    answered = Some((id, output));
                    Event::Answered(id)
                }
                Next::Ended(id, Err(mut error)) => {
                    if is_unadmitted(&error) && running.is_empty() {
                        // The call has waited for as long as it may.
                        let record = self.record(None);
                        error.record = (!self.errors.is_empty()).then(|| Box::new(record)).or(error.record);
                        return Err(error);
                    }
                    self.explain(id, &mut error);
                    let failure = failure(&error);
                    self.errors.push((id, error));
                    Event::Failed(id, failure)
                }
            };
        }
    }

    /// Notes an attempt that begins, or goes to another line.
    fn begins(&mut self, attempt: &Attempt) {
        self.limits.truncate(attempt.id);
        self.limits.push(attempt.limits.limit);
        match self.begun.get(attempt.id) {
            Some(begun) => self.lines[attempt.id] = begun.elapsed(),
            None => {
                self.begun.push(Instant::now());
                self.lines.push(Duration::ZERO);
            }
        }
    }

    /// Has an attempt that waits told when another deployment has become free, and returns the event that looks for one.
    fn unadmitted<O>(&self, waiting: &Running<'_, O>) -> Event {
        if let Some(progress) = &waiting.progress {
            let own = self.routed.attempts()[waiting.id].deployment;
            for deployment in self.routed.deployments().filter(|deployment| *deployment != own) {
                let target = &self.context.route.router.targets[deployment];
                self.context.client.watch(&target.deployment, target.limits.as_deref(), progress);
            }
        }
        Event::Unadmitted(waiting.id)
    }

    /// Returns the error of a call whose total timeout has passed.
    fn ended(&self) -> Box<Error> {
        let total = self.context.call.timeouts.total.unwrap_or_default();
        let mut error = Error::timeout(format!(
            "the call was not done within its total timeout of {} s, waiting for its limits included",
            total.as_secs_f64()
        ));
        let record = self.record(None);
        error.retries = record.retries;
        error.record = Some(Box::new(record));
        error
    }

    /// Names the timeout by which an attempt ended if it is the call's, or a share of it: the client knows only what was left.
    fn explain(&self, id: AttemptId, error: &mut Error) {
        if error.kind != ErrorKind::Timeout {
            return;
        }
        let total = self.context.call.timeouts.total;
        error.message = match (total, self.limits[id]) {
            (Some(total), _) if self.started.elapsed() >= total => {
                format!("the call was not done within its total timeout of {} s", total.as_secs_f64())
            }
            (_, Some(limit)) if self.begun[id].elapsed() >= limit => format!(
                "there was no answer within {:.3} s, the time of this attempt while there were others to try",
                limit.as_secs_f64()
            ),
            _ => return,
        };
        if let Some(attempt) = error.record.as_mut().and_then(|record| record.attempts.last_mut()) {
            attempt.message = Some(error.message.clone());
        }
    }

    /// Returns the error of a call that has failed.
    fn failed(&mut self, fail: &Fail) -> Box<Error> {
        let record = self.record(None);
        let decided = fail.attempt.and_then(|id| self.errors.iter().position(|(known, _)| *known == id));
        let decided = decided.map(|index| self.errors.swap_remove(index).1);
        let router = &self.context.route.router;
        let mut error = fail.error(decided, &router.plan, router.now());
        error.retries = record.retries;
        error.record = (!record.attempts.is_empty()).then(|| Box::new(record));
        error
    }

    /// Records all attempts in the metadata of an answer, if the attempt's own record is not all there is to tell.
    fn record_answer(&self, id: AttemptId, meta: &mut Meta) {
        let has_left_line = self.lines.iter().any(|waited| !waited.is_zero());
        if self.routed.attempts().len() == 1 && self.routed.skipped().is_empty() && !has_left_line {
            return;
        }
        let record = self.record(meta.attempts().pop().map(|attempt| (id, attempt)));
        meta.retries = record.retries;
        meta.latency = self.started.elapsed();
        // What the answer itself told.
        let CallRecord { usage, cost, structured_output, first_chunk, first_usage, chunks, .. } =
            meta.record.take().map_or_else(Default::default, |own| *own);
        let before = self.begun.get(id).map(|begun| begun.saturating_duration_since(self.started)).unwrap_or_default();
        let first_chunk = first_chunk.map(|own| own + before);
        let own = CallRecord { usage, cost, structured_output, first_chunk, first_usage, chunks, ..record };
        meta.record = Some(Box::new(own));
    }

    /// Returns the record of the call: its attempts, `answered` among them, and the deployments that were passed over.
    fn record(&self, answered: Option<(AttemptId, AttemptRecord)>) -> CallRecord {
        let mut record = CallRecord { total: self.started.elapsed(), ..CallRecord::default() };
        for verdict in self.routed.skipped() {
            let skipped = self.attempt(verdict.deployment, Outcome::Skipped);
            record.push(AttemptRecord { message: Some(verdict.why.text(Time::ZERO)), ..skipped });
        }
        for (id, made) in self.routed.attempts().iter().enumerate() {
            let of_error = |error: &Error| error.record.as_ref().and_then(|record| record.attempts.last().cloned());
            let failed = self.errors.iter().find(|(known, _)| *known == id);
            let known = match (failed, &answered) {
                (Some((_, error)), _) if error.kind == ErrorKind::UnsupportedParams && error.status.is_none() => {
                    let message = Some(error.message.clone());
                    Some(AttemptRecord { message, ..self.attempt(made.deployment, Outcome::Skipped) })
                }
                (Some((_, error)), _) => Some(of_error(error).unwrap_or_else(|| AttemptRecord {
                    // Nothing was sent.
                    error: Some(error.kind.class_name().into()),
                    failure: Some(failure_class(error)),
                    message: Some(error.message.clone()),
                    ..self.attempt(made.deployment, Outcome::Failed)
                })),
                (None, Some((winner, attempt))) if *winner == id => Some(attempt.clone()),
                _ => None,
            };
            let attempt = known.unwrap_or_else(|| self.attempt(made.deployment, Outcome::Aborted));
            let started = self.begun.get(id).map(|begun| begun.saturating_duration_since(self.started));
            let waited = attempt.waited + self.lines.get(id).copied().unwrap_or_default();
            record.waited += waited;
            record.push(AttemptRecord {
                waited,
                number: id as u32 + 1,
                deployment: Some(self.context.route.router.plan.deployments[made.deployment].name.clone()),
                reason: Some(made.reason.name().into()),
                started: started.unwrap_or_default() + attempt.started,
                ..attempt
            });
        }
        let unmade = self.errors.iter().filter(|(_, error)| is_found_here(error)).count();
        record.retries = (self.routed.attempts().len() - unmade).saturating_sub(1) as u32;
        record
    }

    /// Returns what is known of an attempt before it is made.
    fn attempt(&self, deployment: DeploymentIndex, outcome: Outcome) -> AttemptRecord {
        let target = &self.context.route.router.targets[deployment];
        AttemptRecord {
            deployment: Some(target.name.to_string()),
            provider: target.deployment.provider.row().name.into(),
            model: target.deployment.model.to_string(),
            outcome,
            ..AttemptRecord::default()
        }
    }
}

impl<'a> Context<'a> {
    /// Returns the future of an attempt.
    fn begin<O>(&self, attempt: &Attempt, make: &impl Fn(Call, Bounds) -> Future<'a, O>) -> Running<'a, O> {
        let mut call = self.route.router.targets[attempt.deployment].attempt(self.call);
        if let Some(callbacks) = self.route.callbacks.get(attempt.deployment) {
            call.callbacks.clone_from(callbacks);
        }
        let bounds = Bounds { total: call.timeouts.total, end: self.end_of_call() };
        call.timeouts.total = bounds.total(attempt.limits.limit);
        // All waiting of a routed call is bounded, by the router's `max_wait` if by nothing else.
        let queue = self.call.timeouts.queue.or(self.route.router.plan.max_wait);
        call.timeouts.queue = queue;
        let progress = self.may_wait(attempt.deployment).then(|| {
            let waited = queue.unwrap_or_default().saturating_sub(attempt.max_wait.unwrap_or_default());
            Arc::new(AdmissionProgress::new(waited))
        });
        call.progress.clone_from(&progress);
        Running { id: attempt.id, future: make(call, bounds), progress, stage: Stage::Direct, bounds }
    }

    /// Returns the end of the call, if it has a total timeout.
    fn end_of_call(&self) -> Option<Instant> {
        self.route.router.started.checked_add(self.end?)
    }

    /// True if an attempt may have to wait to be admitted.
    fn may_wait(&self, deployment: DeploymentIndex) -> bool {
        self.client.may_wait(self.route.router.targets[deployment].limits.as_deref())
    }

    fn expected_wait(&self, deployment: DeploymentIndex) -> Duration {
        let target = &self.route.router.targets[deployment];
        self.client.expected_wait(self.call, &target.deployment, target.limits.as_deref())
    }
}

/// First of the events that a routed call waits for.
enum Next<O> {
    /// An attempt has ended.
    Ended(AttemptId, Result<O>),
    /// The attempt at this position is the first that waits, and another deployment may be free.
    Unadmitted(usize),
    /// An attempt that has waited was admitted.
    Admitted(AttemptId),
    /// The time that was decided on has come.
    Due,
    /// The total timeout of the call has passed.
    End,
}

/// Waits for what happens first.
async fn next<O>(
    running: &mut SmallVec<[Running<'_, O>; 2]>,
    due: &mut Option<Pin<Box<Sleep>>>,
    end: &mut Option<Pin<Box<Sleep>>>,
) -> Next<O> {
    std::future::poll_fn(|context| {
        for index in 0..running.len() {
            let Running { id, future, progress, stage, .. } = &mut running[index];
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Next::Ended(running.remove(index).id, output));
            }
            let Some(progress) = progress else { continue };
            let before = std::mem::replace(stage, progress.stage());
            match *stage {
                Stage::Admitted => return Poll::Ready(Next::Admitted(*id)),
                // Its race begins when it is admitted.
                Stage::Waiting if before != Stage::Waiting => *due = None,
                Stage::First if progress.take_notice(context) || before != Stage::First => {
                    return Poll::Ready(Next::Unadmitted(index));
                }
                _ => {}
            }
        }
        let mut is_over = |timer: &mut Option<Pin<Box<Sleep>>>| {
            timer.as_mut().is_some_and(|timer| timer.as_mut().poll(context).is_ready())
        };
        if is_over(due) {
            return Poll::Ready(Next::Due);
        }
        if is_over(end) { Poll::Ready(Next::End) } else { Poll::Pending }
    })
    .await
}

/// True for an error that was found before anything was sent.
fn is_found_here(error: &Error) -> bool {
    error.status.is_none() && matches!(error.kind, ErrorKind::UnsupportedParams | ErrorKind::InvalidArgument)
}

/// True for the error of an attempt that was not admitted within its time.
fn is_unadmitted(error: &Error) -> bool {
    !error.was_sent && error.kind == ErrorKind::Timeout
}

/// Returns what a failed attempt says, as far as decisions depend on it.
fn failure(error: &Error) -> Failure {
    // A server that is too busy to read, or that waited in vain (408), may have begun.
    let was_refused = error.status.is_some_and(|status| (300..500).contains(&status) && status != 408);
    // Its address is another one: that is no fault of the request.
    let is_elsewhere = error.status.is_some_and(|status| (300..400).contains(&status));
    // A deployment's function that gives its key has failed: others have keys of their own.
    let has_no_key = error.raised.is_some() && error.kind == ErrorKind::InvalidArgument;
    Failure {
        kind: error.kind,
        class: if has_no_key || is_elsewhere { FailureClass::Transient } else { failure_class(error) },
        retry_after: error.retry_after,
        is_repeatable: client::is_retryable(error) && !is_elsewhere,
        had_no_effect: !error.was_sent || was_refused || is_found_here(error),
    }
}

/// View of the deployments for the decisions on a call.
struct View<'c, 'a> {
    context: &'c Context<'a>,
    now: Time,
}

impl Outlook for View<'_, '_> {
    fn random(&mut self) -> f64 {
        fastrand::f64()
    }

    fn refusal(&self, deployment: DeploymentIndex) -> Option<Refusal> {
        let Context { client, call, route, .. } = self.context;
        let target = &route.router.targets[deployment];
        if target.deployment.endpoint(&call.request).is_err() {
            return Some(Refusal::Operation);
        }
        let too_small = client.too_small_window(call, &target.deployment);
        too_small.map(|(window, prompt)| Refusal::ContextWindow { window, prompt })
    }

    fn ready_at(&self, deployment: DeploymentIndex) -> Time {
        match self.context.expected_wait(deployment) {
            Duration::ZERO => Time::ZERO,
            wait => self.now.saturating_add(wait),
        }
    }

    fn has_line(&self, deployment: DeploymentIndex) -> bool {
        self.context.may_wait(deployment)
    }

    fn budget(&self, deployment: DeploymentIndex) -> Option<f64> {
        let target = &self.context.route.router.targets[deployment];
        self.context.client.budget_left(&target.deployment, target.limits.as_deref())
    }

    fn price(&self, deployment: DeploymentIndex) -> Option<f64> {
        let Context { client, call, route, .. } = self.context;
        client.expected_cost(call, &route.router.targets[deployment].deployment)
    }

    fn claim_probe(&mut self, deployment: DeploymentIndex) -> Option<Time> {
        let shared = self.context.route.router.shared_breakers(self.context.client)?;
        sharing::claim(deployment, self.now, &shared)
    }

    fn choose(&mut self, candidates: &[DeploymentIndex]) -> Option<usize> {
        let preference = &self.context.route.preference;
        preference.iter().find_map(|preferred| candidates.iter().position(|candidate| candidate == preferred))
    }
}

/// Remembers what a stream makes, and reports how it ends.
struct Observer {
    routed: RoutedCall,
    router: Arc<Router>,
    id: AttemptId,
    deployment: DeploymentIndex,
    operation: Operation,
}

impl StreamObserver for Observer {
    fn arrived(&mut self, chunks: &[Chunk]) {
        // The response's own id came with the first event. Reasoning is encrypted when it is done.
        if self.operation != Operation::Responses {
            return;
        }
        for (chunk, _) in chunks.iter().filter(|(chunk, _)| memmem::find(chunk, b"\"encrypted_content\"").is_some()) {
            let ids = created_ids(self.operation, chunk);
            self.router.with(|state, _| ids.iter().for_each(|id| state.remember(id, self.deployment)));
        }
    }

    fn ended(mut self: Box<Self>, error: Option<&Error>) {
        let event = match error {
            None => Event::Succeeded(self.id),
            Some(error) => Event::Failed(self.id, failure(error)),
        };
        let now = self.router.now();
        let _ = self.routed.next(now, event, &mut Unseen);
        self.router.note(&mut self.routed, now);
    }
}

/// An outlook for a call about which nothing is left to decide.
struct Unseen;

impl Outlook for Unseen {
    fn random(&mut self) -> f64 {
        fastrand::f64()
    }
}
