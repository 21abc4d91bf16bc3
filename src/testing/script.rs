//! Which answer a request gets: rules in the order of their precedence.
//!
//! Of the rules that match, failures and faults with a number of times come first, in the order in which they were given.
//! Then come the answers: those for some requests before those for all, those with a number of times before those without,
//! and of those without the newest.

use std::time::Duration;

use serde_json::Value;

use super::reply::{End, Latency, Reply};
use super::window::{Rule as WindowRule, Window};
use crate::providers::mock::{Asked, ID, asked};
use crate::types::rate_limit::Unit;

/// The requests that a rule is for; all, if nothing is set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Matcher {
    /// Name of the model, or its beginning before a `*`.
    pub model: Option<String>,
    /// A text in any string of the request.
    pub contains: Option<String>,
    /// End of the path, without the query.
    pub path: Option<String>,
}

/// What a rule does.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Answers in the format of the request, with each of these in turn and then the last again and again.
    Reply(Vec<Value>),
    /// Answers with these bytes.
    Raw {
        /// Status code.
        status: u16,
        /// Header fields.
        headers: Vec<(String, String)>,
        /// The body.
        body: Vec<u8>,
    },
    /// Answers with an error in the format of the request.
    Fail {
        /// Status code.
        status: u16,
        /// The error's message.
        message: Option<String>,
        /// The error's code.
        code: Option<String>,
        /// Number of seconds to wait.
        retry_after: Option<f64>,
        /// Number of chunks of a stream before the error, which is an event of the stream then.
        after: usize,
    },
    /// Ends the answer in another way, behind so many chunks.
    Break(End, usize),
}

#[derive(Debug)]
struct Rule {
    matcher: Matcher,
    effect: Effect,
    /// Number of times that it still applies.
    left: Option<u64>,
    /// Number of times that it has applied.
    done: usize,
}

/// The rules of a server, and what it counts.
#[derive(Debug, Default)]
pub struct Script {
    rules: Vec<Rule>,
    latency: Latency,
    windows: Vec<Window>,
    /// Number of changes.
    version: u64,
}

impl Effect {
    /// Reads an effect: an object with its `kind` and what that kind has. `body` is that of a raw answer.
    pub fn read(given: &Value, body: Vec<u8>) -> Option<Self> {
        let text = |name: &str| given[name].as_str().map(str::to_owned);
        let status = given["status"].as_u64().and_then(|status| u16::try_from(status).ok());
        let after = given["after"].as_u64().unwrap_or(0) as usize;
        Some(match given["kind"].as_str()? {
            "reply" => Self::Reply(given["answers"].as_array()?.clone()),
            "raw" => {
                let headers = given["headers"].as_object().into_iter().flatten();
                let headers =
                    headers.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
                Self::Raw { status: status?, headers: headers.collect(), body }
            }
            "fail" => Self::Fail {
                status: status?,
                message: text("message"),
                code: text("code"),
                retry_after: given["retry_after"].as_f64(),
                after,
            },
            "cut" => Self::Break(End::Close, after),
            "stall" => Self::Break(End::Stall, after),
            _ => return None,
        })
    }
}

/// A request, as far as rules look at it.
pub struct Request<'a> {
    /// Path with its query.
    pub path: &'a str,
    /// Host that the request is for, if the client told it.
    pub host: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
    /// Number of the request.
    pub number: u64,
}

/// What a request gets.
pub struct Answered {
    /// The answer.
    pub reply: Reply,
    /// The version of the script, if the same request gets the same answer until it changes.
    pub version: Option<u64>,
    /// True if [`Script::finish`] is to be called at its end.
    pub is_counted: bool,
}

impl Script {
    /// Adds a rule.
    pub fn add(&mut self, matcher: Matcher, effect: Effect, times: Option<u64>) {
        self.version += 1;
        // Those without a number of times for the same requests are replaced.
        if times.is_none() {
            self.rules.retain(|rule| {
                rule.left.is_some() || rule.matcher != matcher || is_fault(&rule.effect) != is_fault(&effect)
            });
        }
        self.rules.push(Rule { matcher, effect, left: times, done: 0 });
    }

    /// Sets the time before the first byte and between chunks.
    pub fn set_latency(&mut self, latency: Latency) {
        self.version += 1;
        self.latency = latency;
    }

    /// Adds a limit.
    pub fn add_limit(&mut self, unit: Unit, rule: WindowRule, limit: u64) {
        self.version += 1;
        self.windows.push(Window::new(unit, rule, limit));
    }

    /// Forgets all rules, limits and latencies.
    pub fn reset(&mut self) {
        *self = Self { version: self.version + 1, ..Self::default() };
    }

    /// Returns the number of changes.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Counts the end of a request.
    pub fn finish(&mut self) {
        self.windows.iter_mut().for_each(Window::finish);
    }

    /// Returns what a request gets. `now` is the time since the server began, `unix` the Unix time in seconds.
    pub fn answer(&mut self, request: &Request<'_>, now: Duration, unix: u64) -> Answered {
        let body: Value = serde_json::from_slice(request.body).unwrap_or_default();
        let asked = asked(request.path, &body, request.body.len());
        let matches = |matcher: &Matcher| matches(matcher, request, &body, asked.as_ref());
        let fault = self.rules.iter().position(|rule| is_first(rule) && matches(&rule.matcher));
        let fault = fault.or_else(|| {
            self.rules.iter().rposition(|rule| matches!(rule.effect, Effect::Break(..)) && matches(&rule.matcher))
        });
        let fault = fault.map(|at| self.apply(at));
        let mut is_repeated = !self.rules.iter().any(|rule| rule.left.is_some_and(|left| left > 0));
        let mut is_counted = false;
        let (effect, broken) = match fault {
            Some(Effect::Break(end, after)) => (None, Some((end, after))),
            Some(effect) => (Some(effect), None),
            None => (None, None),
        };
        is_repeated &= effect.is_none();
        let Some(known) = &asked else {
            let effect = effect.or_else(|| self.chosen(request, &body, None));
            let reply = match effect {
                Some(Effect::Raw { status, headers, body }) => raw(status, &headers, &body, self.latency),
                Some(Effect::Fail { status, message, .. }) => {
                    let message = message.unwrap_or_else(|| "the mock server was told to fail".into());
                    let body = serde_json::json!({"error": {"message": message}}).to_string();
                    Reply::whole(status, "content-type: application/json\r\n", body.as_bytes(), self.latency)
                }
                _ => unknown(request.path),
            };
            return Answered { reply: ended(reply, broken), version: None, is_counted: false };
        };
        let mut fields = String::new();
        if !self.windows.is_empty() {
            is_repeated = false;
            let tokens = known.input_tokens + known.max_tokens.unwrap_or(0);
            let wait = self.windows.iter_mut().map(|window| window.wait(tokens, now)).max().unwrap_or_default();
            let admitted = wait.is_zero();
            if admitted && effect.is_none() {
                self.windows.iter_mut().for_each(|window| window.charge(tokens));
                is_counted = true;
            }
            let states: Vec<_> = self.windows.iter().map(Window::state).collect();
            fields = known.limit_fields(request.host, &states, unix);
            if !admitted && effect.is_none() {
                let seconds = wait.as_secs_f64().ceil().max(1.0);
                let message = format!("Rate limit reached for {}: try again in {seconds}s.", known.model);
                let error = known.error(429, &message, None, Some(seconds));
                let reply = Reply::whole(429, &(error.headers + &fields), &error.pieces[0], self.latency);
                return Answered { reply, version: None, is_counted: false };
            }
        }
        let effect = effect.or_else(|| self.chosen(request, &body, Some(known))).unwrap_or(Effect::Reply(vec![]));
        let reply = match effect {
            Effect::Raw { status, headers, body } => raw(status, &headers, &body, self.latency),
            Effect::Fail { status, message, code, after: after @ 1.., .. } if known.stream => {
                let message = message.unwrap_or_else(|| "the mock server was told to fail".into());
                // The chunks before it are those of the answer that there would be.
                let answer = match self.choose(request, &body, Some(known), |effect| matches!(effect, Effect::Reply(_)))
                {
                    Some(Effect::Reply(mut answers)) => answers.pop().unwrap_or_default(),
                    _ => Value::Null,
                };
                let rendered = known.answer(&answer, &format!("{:08x}", request.number), unix);
                let mut pieces = rendered.pieces;
                // At its last event, a stream is over.
                pieces.truncate(after.min(pieces.len().saturating_sub(1)));
                pieces.push(known.event_of_error(status, &message, code.as_deref(), pieces.len()));
                stream(&(rendered.headers + &fields), &pieces, self.latency, Duration::ZERO)
            }
            Effect::Fail { status, message, code, retry_after, .. } => {
                let message = message.unwrap_or_else(|| "the mock server was told to fail".into());
                let error = known.error(status, &message, code.as_deref(), retry_after);
                Reply::whole(status, &(error.headers + &fields), &error.pieces[0], self.latency)
            }
            Effect::Reply(mut answers) => {
                is_repeated &= answers.len() < 2;
                is_repeated &= !known.has_checksums();
                let id = if known.has_checksums() { format!("{:08x}", request.number) } else { ID.to_owned() };
                let rendered = known.answer(&answers.pop().unwrap_or_default(), &id, unix);
                let fields = rendered.headers + &fields;
                match (rendered.stream, broken) {
                    // With a pause, so that each chunk is a piece that can be counted.
                    (true, Some(_)) => stream(&fields, &rendered.pieces, self.latency, Duration::from_nanos(1)),
                    (true, None) => stream(&fields, &rendered.pieces, self.latency, Duration::ZERO),
                    (false, _) => Reply::whole(200, &fields, &rendered.pieces[0], self.latency),
                }
            }
            Effect::Break(..) => unreachable!("faults are no answers"),
        };
        let version = (is_repeated && broken.is_none()).then_some(self.version);
        Answered { reply: ended(reply.with_ids(), broken), version, is_counted }
    }

    /// Counts that a rule applies, and returns its effect: of several answers the one whose turn it is, last.
    fn apply(&mut self, at: usize) -> Effect {
        let rule = &mut self.rules[at];
        let turn = rule.done;
        rule.done += 1;
        let effect = match &rule.effect {
            Effect::Reply(answers) => {
                let mut answers = answers.clone();
                let turn = turn.min(answers.len().saturating_sub(1));
                let answer = answers.get(turn).cloned().unwrap_or_default();
                if answers.len() > 1 {
                    answers.push(answer);
                }
                Effect::Reply(answers)
            }
            effect => effect.clone(),
        };
        if let Some(left) = &mut rule.left {
            *left -= 1;
        }
        self.rules.retain(|rule| rule.left != Some(0));
        effect
    }

    fn chosen(&mut self, request: &Request<'_>, body: &Value, asked: Option<&Asked>) -> Option<Effect> {
        self.choose(request, body, asked, |effect| !is_fault(effect))
    }

    /// Takes the effect of the first rule of those that are meant.
    fn choose(
        &mut self,
        request: &Request<'_>,
        body: &Value,
        asked: Option<&Asked>,
        is_meant: fn(&Effect) -> bool,
    ) -> Option<Effect> {
        let rules = self.rules.iter().enumerate();
        let matching = rules.filter(|(_, rule)| is_meant(&rule.effect) && matches(&rule.matcher, request, body, asked));
        let best = matching.min_by_key(|(at, rule)| {
            let is_general = rule.matcher == Matcher::default();
            let age = if rule.left.is_some() { *at } else { usize::MAX - at };
            (is_general, rule.left.is_none(), age)
        });
        let at = best?.0;
        Some(self.apply(at))
    }
}

/// Returns true for what changes an answer rather than being one.
fn is_fault(effect: &Effect) -> bool {
    matches!(effect, Effect::Break(..))
}

/// Returns true for rules that come before all answers.
fn is_first(rule: &Rule) -> bool {
    rule.left.is_some() && matches!(rule.effect, Effect::Fail { .. } | Effect::Break(..))
}

fn ended(reply: Reply, broken: Option<(End, usize)>) -> Reply {
    match broken {
        Some((end, after)) => reply.broken(end, after),
        None => reply,
    }
}

fn stream(fields: &str, events: &[Vec<u8>], latency: Latency, least: Duration) -> Reply {
    let chunks = events.iter().enumerate().map(|(index, event)| {
        let pause = if index == 0 { latency.first } else { latency.chunk };
        (pause.max(least), &event[..])
    });
    Reply::stream(fields, chunks)
}

fn raw(status: u16, headers: &[(String, String)], body: &[u8], latency: Latency) -> Reply {
    let fields: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    Reply::whole(status, &fields, body, latency)
}

fn unknown(path: &str) -> Reply {
    let path = path.split('?').next().unwrap_or_default();
    let message = format!(
        "the mock server has no endpoint {path}: server.on(path=\"{path}\").reply(json={{…}}) would give it one"
    );
    let body = serde_json::json!({"error": {"message": message}}).to_string();
    Reply::whole(404, "content-type: application/json\r\n", body.as_bytes(), Latency::default())
}

fn matches(matcher: &Matcher, request: &Request<'_>, body: &Value, asked: Option<&Asked>) -> bool {
    let model = matcher.model.as_ref().is_none_or(|wanted| {
        let model = asked.map(|asked| asked.model.as_str()).unwrap_or_default();
        match wanted.strip_suffix('*') {
            Some(start) => model.starts_with(start),
            None => model == wanted,
        }
    });
    let path = || request.path.split('?').next().unwrap_or_default();
    model
        && matcher.path.as_ref().is_none_or(|wanted| path().ends_with(wanted))
        && matcher.contains.as_ref().is_none_or(|wanted| match body {
            Value::Null => memchr::memmem::find(request.body, wanted.as_bytes()).is_some(),
            body => contains(body, wanted),
        })
}

/// Returns true if a string of a JSON value has this text in it.
fn contains(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text.contains(wanted),
        Value::Array(values) => values.iter().any(|value| contains(value, wanted)),
        Value::Object(members) => members.values().any(|value| contains(value, wanted)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ask(script: &mut Script, model: &str) -> String {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "the \"question\""}]}).to_string();
        let request = Request { path: "/v1/chat/completions", host: None, body: body.as_bytes(), number: 1 };
        let answered = script.answer(&request, Duration::ZERO, 1);
        let bytes: Vec<u8> = answered.reply.pieces().flat_map(|(_, bytes)| bytes.to_vec()).collect();
        let text = String::from_utf8(bytes).unwrap();
        let status = text.split(' ').nth(1).unwrap_or("none").to_owned();
        let body = text.split_once("\r\n\r\n").unwrap_or_default().1;
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        match body.pointer("/choices/0/message/content") {
            Some(content) => content.as_str().unwrap_or("null").to_owned(),
            None => status,
        }
    }

    fn reply(text: &str) -> Effect {
        Effect::Reply(vec![json!({"text": text})])
    }

    fn fail(status: u16) -> Effect {
        Effect::Fail { status, message: None, code: None, retry_after: None, after: 0 }
    }

    fn of_model(model: &str) -> Matcher {
        Matcher { model: Some(model.into()), ..Matcher::default() }
    }

    #[test]
    fn failures_come_first_whatever_the_order() {
        for failure_is_first in [true, false] {
            let mut script = Script::default();
            let mut steps = [(reply("a"), None), (fail(429), Some(2))];
            if failure_is_first {
                steps.reverse();
            }
            for (effect, times) in steps {
                script.add(Matcher::default(), effect, times);
            }
            let answers: Vec<_> = (0..4).map(|_| ask(&mut script, "m")).collect();
            assert_eq!(answers, ["429", "429", "a", "a"]);
        }
    }

    #[test]
    fn answers_for_some_come_before_those_for_all() {
        let mut script = Script::default();
        script.add(of_model("m"), reply("m's"), None);
        script.add(of_model("n*"), reply("n's"), None);
        script.add(Matcher::default(), reply("first"), Some(1));
        script.add(Matcher::default(), reply("all"), None);
        script.add(Matcher { contains: Some("\"question\"".into()), ..of_model("x") }, reply("x's"), None);
        let answers: Vec<_> = ["m", "n-1", "o", "o", "m", "x"].map(|model| ask(&mut script, model)).into();
        assert_eq!(answers, ["m's", "n's", "first", "all", "m's", "x's"]);
    }

    #[test]
    fn the_newest_of_the_lasting_answers_counts() {
        let mut script = Script::default();
        script.add(Matcher::default(), fail(500), None);
        assert_eq!(ask(&mut script, "m"), "500");
        script.add(Matcher::default(), reply("b"), None);
        assert_eq!(ask(&mut script, "m"), "b");
        script.add(Matcher::default(), Effect::Reply(vec![json!({"text": "1"}), json!({"text": "2"})]), None);
        assert_eq!([ask(&mut script, "m"), ask(&mut script, "m"), ask(&mut script, "m")], ["1", "2", "2"]);
    }

    #[test]
    fn a_limit_refuses_what_is_too_much() {
        let mut script = Script::default();
        script.add_limit(Unit::Requests, WindowRule::Minute, 2);
        script.add(Matcher::default(), reply("a"), None);
        assert_eq!([ask(&mut script, "m"), ask(&mut script, "m"), ask(&mut script, "m")], ["a", "a", "429"]);
    }
}
