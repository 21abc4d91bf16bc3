//! Answers → OpenAI's messages and deltas, one reader for both: a whole answer is read as a stream of one event.
//!
//! What OpenAI's fields cannot say is kept under `provider_specific_fields.gemini`:
//!
//! - on the message, `parts`: every part of the message in its native shape and order, as soon as one of them is more
//!   than plain text (a call, a signature, reasoning, a picture, code and its result …). This is what goes back in the
//!   history. Neighbouring texts without signatures are one part, so that a stream says the same as a whole answer.
//! - on the answer, the rest: `candidates` with grounding, safety ratings and so on, `promptFeedback`, `createTime` …
//!
//! LiteLLM's `thinking_blocks` stay empty: their signatures are Anthropic's, and what Google signs is not the reasoning.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::DIALECT;
use super::answer::{Answer, Candidate, Part, Rest};
use super::partial::PartialCall;
use crate::providers::delta_cache::NewDelta;
use crate::providers::tools::arguments;
use crate::types::completion::{
    self, Choice, Completion, CompletionTokens, Content, Function, Message, PromptTokens, ToolCall, Usage,
};
use crate::types::lenient;

/// Reads one answer, in one piece or in many.
pub(super) struct Reader {
    created: u64,
    id: String,
    /// Google's id of the answer, which the calls' made-up ids begin with.
    response_id: Option<String>,
    model: String,
    /// The last that was said; every event says it anew.
    usage: Option<Bytes>,
    turns: Vec<CandidateState>,
    rest: UnmappedMembers,
}

/// What has been read of one candidate.
#[derive(Default)]
struct CandidateState {
    index: u32,
    begun: bool,
    calls: u32,
    /// The call of which more is to come.
    open: Option<PartialCall>,
    parts: Parts,
    finished: bool,
    rest: UnmappedMembers,
}

impl CandidateState {
    /// Ends the call that is open: its arguments are told, and its part is one.
    fn end_call(&mut self, delta: &mut Message) {
        let Some(open) = self.open.take() else { return };
        let index = Some(open.index);
        let (arguments, part) = open.end();
        let function = Function { name: None, arguments: arguments.into() };
        delta.tool_calls.push(ToolCall { index, function, ..ToolCall::default() });
        self.parts.add_native(part);
    }
}

impl Reader {
    /// A reader for an answer that began at `created`, of `model` unless the answer says otherwise.
    pub fn new(created: u64, model: &str) -> Self {
        let (id, model) = (String::new(), model.to_owned());
        Self { created, id, response_id: None, model, usage: None, turns: Vec::new(), rest: UnmappedMembers::default() }
    }

    /// The choices of a whole answer.
    pub fn whole<'a>(&mut self, body: &Bytes, mut answer: Answer<'a>) -> Vec<Choice<'a>> {
        if answer.candidates.is_empty() && !answer.prompt_feedback.is_some_and(is_blocked) {
            // The model has said nothing.
            answer.candidates.push(Candidate::default());
        }
        for candidate in &mut answer.candidates {
            candidate.finish_reason.get_or_insert(Cow::Borrowed("STOP"));
        }
        let mut choices = self.piece(body, answer);
        for choice in &mut choices {
            let mut message = choice.delta.take().unwrap_or_default();
            if matches!(message.content, Content::Absent) {
                message.content = Content::Null;
            }
            for call in std::mem::take(&mut message.tool_calls) {
                match message.tool_calls.last_mut() {
                    // The rest of a call that came in pieces.
                    Some(begun) if call.function.name.is_none() => begun.function.arguments = call.function.arguments,
                    _ => message.tool_calls.push(ToolCall { index: None, ..call }),
                }
            }
            choice.message = Some(message);
        }
        choices
    }

    /// The next pieces of the choices. `data` is the event that `answer` was read from.
    pub fn piece<'a>(&mut self, data: &Bytes, answer: Answer<'a>) -> Vec<Choice<'a>> {
        if self.response_id.is_none() {
            self.response_id = answer.response_id.map(Cow::into_owned).filter(|id| !id.is_empty());
        }
        if self.id.is_empty() {
            self.id = self.response_id.clone().unwrap_or_else(|| format!("chatcmpl-{:016x}", fastrand::u64(..)));
        }
        if let Some(model) = answer.model_version.filter(|model| *model != self.model) {
            self.model = model.into_owned();
        }
        if let Some(usage) = answer.usage {
            self.usage = Some(data.slice_ref(usage.get().as_bytes()));
        }
        self.rest.add_all(data, &answer.rest);
        if let Some(feedback) = answer.prompt_feedback {
            self.rest.add(data, "promptFeedback", feedback);
        }
        if answer.candidates.is_empty() && answer.prompt_feedback.is_some_and(is_blocked) {
            let turn = turn(&mut self.turns, 0);
            turn.finished = true;
            let delta = Message { role: first(&mut turn.begun), ..Message::default() };
            return vec![Choice { delta: Some(delta), finish_reason: Some("content_filter"), ..Choice::default() }];
        }
        answer.candidates.into_iter().zip(0..).map(|(candidate, place)| self.choice(data, candidate, place)).collect()
    }

    /// The next piece of one choice, from an event that differs from the one before in this alone.
    pub fn go_on(&mut self, data: &Bytes, candidate: u64, delta: &NewDelta) {
        turn(&mut self.turns, candidate as u32).parts.add_text(&delta.text, false);
        if !delta.counts.is_empty() {
            self.usage = Some(data.slice_ref(delta.counts));
        }
    }

    fn choice<'a>(&mut self, data: &Bytes, candidate: Candidate<'a>, place: u32) -> Choice<'a> {
        let response_id = self.response_id.as_deref();
        let index = candidate.index.and_then(|index| index.try_into().ok()).unwrap_or(place);
        let turn = turn(&mut self.turns, index);
        let mut delta = Message { role: first(&mut turn.begun), ..Message::default() };
        let (mut text, mut reasoning) = (Cow::Borrowed(""), Cow::Borrowed(""));
        for part in &candidate.parts {
            if let Some(said) = part.text() {
                join(if part.is_thought() { &mut reasoning } else { &mut text }, said);
            }
            match part.call() {
                Some(call) if !call.name.is_empty() => {
                    turn.end_call(&mut delta);
                    let id = call.id.clone().filter(|id| !id.is_empty());
                    let id = id.unwrap_or_else(|| made_up_id(response_id, turn));
                    let is_partial = call.will_continue || call.partial_args.is_some();
                    let arguments = if is_partial { "".into() } else { arguments_of(call.args) };
                    delta.tool_calls.push(ToolCall {
                        index: Some(turn.calls),
                        id: Some(id.into()),
                        kind: Some("function"),
                        function: Function { name: Some(call.name.clone().into()), arguments },
                    });
                    if is_partial {
                        let mut open = PartialCall::begin(turn.calls, part.members());
                        open.add(&call);
                        turn.open = Some(open);
                    } else {
                        turn.parts.add(part);
                    }
                    turn.calls += 1;
                    if is_partial && !call.will_continue {
                        turn.end_call(&mut delta);
                    }
                }
                Some(call) if turn.open.is_some() => {
                    turn.open.iter_mut().for_each(|open| open.add(&call));
                    if !call.will_continue {
                        turn.end_call(&mut delta);
                    }
                }
                _ => turn.parts.add(part),
            }
        }
        if candidate.finish_reason.is_some() {
            turn.end_call(&mut delta);
        }
        if !text.is_empty() {
            delta.content = Content::Text(text);
        }
        delta.reasoning_content = Some(reasoning).filter(|reasoning| !reasoning.is_empty());

        let finish_reason = candidate.finish_reason.as_deref().map(|reason| finish_reason(reason, turn.calls > 0));
        turn.finished |= finish_reason.is_some();
        let parts = turn.parts.take(turn.finished);
        if !parts.is_empty() {
            delta.provider_specific_fields.insert(DIALECT.to_owned(), json!({ "parts": parts }));
        }
        if let Some(reason) = candidate.finish_reason.filter(|reason| !matches!(&**reason, "STOP" | "MAX_TOKENS")) {
            turn.rest.add_value("finishReason", Value::String(reason.into_owned()));
        }
        turn.rest.add_all(data, &candidate.rest);
        if let Some(logprobs) = candidate.logprobs {
            turn.rest.add(data, "logprobsResult", logprobs);
        }
        let logprobs = candidate.logprobs.and_then(openai_logprobs);
        Choice { index, delta: Some(delta), finish_reason, logprobs, ..Choice::default() }
    }

    /// Whether every candidate that has begun has said why it ended.
    pub fn is_finished(&self) -> bool {
        !self.turns.is_empty() && self.turns.iter().all(|turn| turn.finished)
    }

    /// `provider_specific_fields` of the answer: what was not told before of what has no place elsewhere.
    pub fn untold(&mut self) -> Map<String, Value> {
        let mut native = self.rest.untold();
        let several = self.turns.len() > 1;
        let mut candidates = Vec::new();
        for turn in &mut self.turns {
            let mut rest = turn.rest.untold();
            if !rest.is_empty() && several {
                rest.insert("index".to_owned(), turn.index.into());
            }
            candidates.extend(Some(rest).filter(|rest| !rest.is_empty()).map(Value::Object));
        }
        if !candidates.is_empty() {
            native.insert("candidates".to_owned(), candidates.into());
        }
        let mut fields = Map::new();
        if !native.is_empty() {
            fields.insert(DIALECT.to_owned(), native.into());
        }
        fields
    }

    /// A completion or chunk with everything but its choices.
    pub fn envelope(&self, object: &'static str) -> Completion<'_> {
        Completion {
            id: (&*self.id).into(),
            object,
            created: self.created,
            model: (&*self.model).into(),
            ..Completion::default()
        }
    }

    /// The tokens, as last said.
    pub fn usage(&self) -> Option<Usage<'_>> {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Counts {
            #[serde(deserialize_with = "lenient::scalar")]
            prompt_token_count: u64,
            #[serde(deserialize_with = "lenient::scalar")]
            tool_use_prompt_token_count: u64,
            #[serde(deserialize_with = "lenient::scalar")]
            candidates_token_count: u64,
            #[serde(deserialize_with = "lenient::scalar")]
            thoughts_token_count: u64,
            #[serde(deserialize_with = "lenient::scalar")]
            cached_content_token_count: u64,
            #[serde(deserialize_with = "lenient::scalar")]
            total_token_count: Option<u64>,
        }
        let native: &RawValue = serde_json::from_slice(self.usage.as_deref()?).ok()?;
        let counts: Counts = lenient::object_of(native.get());
        let thoughts = counts.thoughts_token_count;
        let prompt_tokens = counts.prompt_token_count.saturating_add(counts.tool_use_prompt_token_count);
        let completion_tokens = counts.candidates_token_count.saturating_add(thoughts);
        Some(Usage {
            prompt_tokens,
            completion_tokens,
            total_tokens: counts.total_token_count.unwrap_or(prompt_tokens.saturating_add(completion_tokens)),
            prompt_tokens_details: PromptTokens {
                cached_tokens: counts.cached_content_token_count,
                ..Default::default()
            },
            completion_tokens_details: CompletionTokens { reasoning_tokens: thoughts },
            native: Some(native),
        })
    }
}

fn turn(turns: &mut Vec<CandidateState>, index: u32) -> &mut CandidateState {
    let place = turns.iter().position(|turn| turn.index == index).unwrap_or_else(|| {
        turns.push(CandidateState { index, ..CandidateState::default() });
        turns.len() - 1
    });
    &mut turns[place]
}

fn first(begun: &mut bool) -> Option<&'static str> {
    (!std::mem::replace(begun, true)).then_some("assistant")
}

fn join<'a>(known: &mut Cow<'a, str>, text: Cow<'a, str>) {
    if known.is_empty() { *known = text } else { known.to_mut().push_str(&text) }
}

/// OpenAI wants an id for every call. The answer's own id makes it the same in a stream and in a whole answer.
fn made_up_id(response_id: Option<&str>, turn: &CandidateState) -> String {
    // Some providers, to whom the message may go next, take at most 40 letters, digits, - and _.
    let is_usable = |id: &&str| {
        id.len() <= 28 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    match (response_id.filter(is_usable), turn.index) {
        (Some(id), 0) => format!("call_{id}_{}", turn.calls),
        (Some(id), candidate) => format!("call_{id}_{candidate}_{}", turn.calls),
        (None, _) => format!("call_{:024x}", fastrand::u128(..) >> 32),
    }
}

/// Google's reason in OpenAI's words: <https://ai.google.dev/api/generate-content#FinishReason>.
fn finish_reason(native: &str, has_calls: bool) -> &'static str {
    match native {
        "MAX_TOKENS" => "length",
        "SAFETY" | "RECITATION" | "LANGUAGE" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "MODEL_ARMOR" => {
            "content_filter"
        }
        "IMAGE_SAFETY" | "IMAGE_PROHIBITED_CONTENT" | "IMAGE_RECITATION" => "content_filter",
        // MALFORMED_FUNCTION_CALL, OTHER and the like: it has stopped, and the native reason says why.
        _ => completion::finish_reason("stop", has_calls),
    }
}

fn is_blocked(feedback: &RawValue) -> bool {
    crate::types::members::Members::of(feedback.get().as_bytes())
        .is_ok_and(|feedback| feedback.some("blockReason").is_some())
}

/// OpenAI's `logprobs`: <https://ai.google.dev/api/generate-content#LogprobsResult>.
fn openai_logprobs(native: &RawValue) -> Option<Value> {
    let native: Value = serde_json::from_str(native.get()).ok()?;
    let entry = |candidate: &Value| json!({"token": candidate["token"], "logprob": candidate["logProbability"], "bytes": candidate["token"].as_str().map(str::as_bytes)});
    let none = Vec::new();
    let content = native["chosenCandidates"].as_array()?.iter().enumerate().map(|(place, chosen)| {
        let top = native["topCandidates"][place]["candidates"].as_array().unwrap_or(&none);
        let mut content = entry(chosen);
        content["top_logprobs"] = top.iter().map(entry).collect();
        content
    });
    Some(json!({"content": content.collect::<Vec<_>>(), "refusal": null}))
}

/// Arguments as text; Google sends an object, other servers of this wire what OpenAI has.
fn arguments_of(args: Option<&RawValue>) -> Cow<'_, str> {
    match arguments::text(args.map(RawValue::get)) {
        Cow::Borrowed(text) => compact(text),
        text => text,
    }
}

/// JSON without the white space between its tokens (the Gemini API indents its answers).
pub(super) fn compact(json: &str) -> Cow<'_, str> {
    if !json.contains(['\n', ' ']) {
        return json.into();
    }
    let (mut out, mut in_string, mut escaped) = (String::with_capacity(json.len()), false, false);
    for character in json.chars() {
        if in_string || !character.is_ascii_whitespace() {
            out.push(character);
        }
        in_string ^= character == '"' && !escaped;
        escaped = in_string && character == '\\' && !escaped;
    }
    out.into()
}

/// A message's parts in their native shape, kept back until it is known that they are needed.
#[derive(Default)]
struct Parts {
    /// One of them is more than plain text.
    needed: bool,
    ready: Vec<Value>,
    /// The text that the next parts may go on with, and whether it is reasoning.
    text: String,
    is_thought: bool,
}

impl Parts {
    fn add(&mut self, part: &Part) {
        if part.is_plain() {
            self.add_text(&part.text().unwrap_or_default(), part.is_thought());
        } else {
            self.add_native(part.members());
        }
    }

    fn add_native(&mut self, part: Map<String, Value>) {
        self.close_text();
        self.needed = true;
        self.ready.push(Value::Object(part));
    }

    fn add_text(&mut self, text: &str, is_thought: bool) {
        if is_thought != self.is_thought {
            self.close_text();
            self.is_thought = is_thought;
        }
        self.needed |= is_thought;
        self.text.push_str(text);
    }

    fn close_text(&mut self) {
        if self.text.is_empty() {
            return;
        }
        let text = std::mem::take(&mut self.text);
        self.ready.push(if self.is_thought { json!({"text": text, "thought": true}) } else { json!({ "text": text }) });
    }

    /// The parts that are ready; the last of them too if the message has ended.
    fn take(&mut self, finished: bool) -> Vec<Value> {
        if finished {
            self.close_text();
        }
        if self.needed { std::mem::take(&mut self.ready) } else { Vec::new() }
    }
}

/// Members that have no place in OpenAI's format, from one event or many.
#[derive(Default)]
struct UnmappedMembers(Vec<Member>);

struct Member {
    name: String,
    values: Vec<Json>,
    told: bool,
}

/// JSON that is parsed only when it is told.
enum Json {
    Unread(Bytes),
    Read(Value),
}

impl UnmappedMembers {
    fn add_all(&mut self, data: &Bytes, rest: &Rest) {
        rest.iter().for_each(|(name, value)| self.add(data, name, value));
    }

    fn add(&mut self, data: &Bytes, name: &str, value: &RawValue) {
        let text = value.get().as_bytes();
        let known = self.0.iter_mut().find(|member| member.name == name);
        let is_list_or_object = matches!(text.first(), Some(b'{' | b'['));
        match known {
            None => self.0.push(Member {
                name: name.to_owned(),
                values: vec![Json::Unread(data.slice_ref(text))],
                told: false,
            }),
            Some(known) if matches!(known.values.last(), Some(Json::Unread(last)) if last == text) => {}
            Some(known) => {
                if !is_list_or_object {
                    known.values.clear();
                }
                known.values.push(Json::Unread(data.slice_ref(text)));
            }
        }
    }

    fn add_value(&mut self, name: &str, value: Value) {
        self.0.retain(|member| member.name != name || member.told);
        if !self.0.iter().any(|member| member.name == name) {
            self.0.push(Member { name: name.to_owned(), values: vec![Json::Read(value)], told: false });
        }
    }

    /// What was not told before. A member that several events said something about is one.
    fn untold(&mut self) -> Map<String, Value> {
        let mut members = Map::new();
        for member in self.0.iter_mut().filter(|member| !member.told) {
            member.told = true;
            let pieces_follow = member.name == "logprobsResult";
            let mut whole = Value::Null;
            for value in member.values.drain(..) {
                let value = match value {
                    Json::Unread(text) => serde_json::from_slice(&text).unwrap_or_default(),
                    Json::Read(value) => value,
                };
                absorb(&mut whole, value, pieces_follow);
            }
            members.insert(member.name.clone(), whole);
        }
        members
    }
}

/// Adds what a later event says of a member to what earlier ones said. Some events repeat what there was, so a list
/// gets only items it does not have, unless it is known that each event holds the next piece.
fn absorb(known: &mut Value, value: Value, pieces_follow: bool) {
    match (known, value) {
        (Value::Object(known), Value::Object(members)) => {
            for (name, value) in members {
                absorb(known.entry(name).or_insert(Value::Null), value, pieces_follow);
            }
        }
        (Value::Array(known), Value::Array(items)) => {
            for item in items {
                if pieces_follow || !known.contains(&item) {
                    known.push(item);
                }
            }
        }
        (known, value) => *known = value,
    }
}
