//! Answers → OpenAI's messages and deltas, by one reader: a whole answer is read as a stream of one event.
//!
//! Content that OpenAI's members have no place for is kept under `provider_specific_fields.gemini`:
//!
//! - on the message, `parts`: every part of the message in its native format and order, as soon as one of them is more
//!   than plain text (a call, a signature, reasoning, an image, code and its result …). These parts are sent back in the
//!   history. Adjacent texts without signatures are joined, so that a stream gives the same parts as a whole answer.
//! - on the completion, the rest: `candidates` with grounding, safety ratings and so on, `promptFeedback`, `createTime` …
//!
//! LiteLLM's `thinking_blocks` stay empty: their signatures are Anthropic's, and Google signs other parts than reasoning.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::DIALECT;
use super::answer::{Answer, Candidate, Part};
use super::partial::PartialCall;
use super::unmapped::UnmappedMembers;
use crate::providers::delta_cache::NewDelta;
use crate::providers::received::specific_fields;
use crate::providers::tools::arguments;
use crate::types::completion::{
    self, Choice, Completion, CompletionTokens, Content, Function, Message, PromptTokens, ToolCall, Usage,
};
use crate::types::lenient;

/// Reader of one answer, whole or streamed.
pub(super) struct Reader {
    created: u64,
    id: String,
    /// Google's id of the answer, which the generated ids of calls contain.
    response_id: Option<String>,
    model: String,
    /// JSON of the usage in the latest event that has one: each is cumulative.
    usage: Option<Bytes>,
    candidates: Vec<CandidateState>,
    rest: UnmappedMembers,
}

/// State of one candidate.
#[derive(Default)]
struct CandidateState {
    index: u32,
    begun: bool,
    calls: u32,
    /// The call whose arguments are not complete.
    open: Option<PartialCall>,
    parts: Parts,
    finished: bool,
    rest: UnmappedMembers,
}

impl CandidateState {
    /// Ends the open call: emits its arguments and keeps its part.
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
    /// Creates the reader of an answer that began at `created` (Unix seconds); `model` is its model unless it names one.
    pub fn new(created: u64, model: &str) -> Self {
        let (id, model) = (String::new(), model.to_owned());
        Self {
            created,
            id,
            response_id: None,
            model,
            usage: None,
            candidates: Vec::new(),
            rest: UnmappedMembers::default(),
        }
    }

    /// Returns the choices of a whole answer; `body` is the JSON that `answer` was parsed from.
    pub fn read_completion<'a>(&mut self, body: &Bytes, mut answer: Answer<'a>) -> Vec<Choice<'a>> {
        if answer.candidates.is_empty() && !answer.prompt_feedback.is_some_and(is_blocked) {
            // An answer without content.
            answer.candidates.push(Candidate::default());
        }
        for candidate in &mut answer.candidates {
            candidate.finish_reason.get_or_insert(Cow::Borrowed("STOP"));
        }
        let mut choices = self.read_event(body, answer);
        for choice in &mut choices {
            let mut message = choice.delta.take().unwrap_or_default();
            if matches!(message.content, Content::Absent) {
                message.content = Content::Null;
            }
            for call in std::mem::take(&mut message.tool_calls) {
                match message.tool_calls.last_mut() {
                    // The arguments of the call before, which were streamed.
                    Some(begun) if call.function.name.is_none() => begun.function.arguments = call.function.arguments,
                    _ => message.tool_calls.push(ToolCall { index: None, ..call }),
                }
            }
            choice.message = Some(message);
        }
        choices
    }

    /// Returns the deltas of an event; `data` is the JSON that `answer` was parsed from.
    pub fn read_event<'a>(&mut self, data: &Bytes, answer: Answer<'a>) -> Vec<Choice<'a>> {
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
            let state = state_of(&mut self.candidates, 0);
            state.finished = true;
            let delta = Message { role: first_role(&mut state.begun), ..Message::default() };
            return vec![Choice { delta: Some(delta), finish_reason: Some("content_filter"), ..Choice::default() }];
        }
        answer
            .candidates
            .into_iter()
            .zip(0..)
            .map(|(candidate, position)| self.choice(data, candidate, position))
            .collect()
    }

    /// Reads an event that differs from the one before only in this delta of a candidate's text.
    pub fn read_text_delta(&mut self, data: &Bytes, candidate: u64, delta: &NewDelta) {
        state_of(&mut self.candidates, candidate as u32).parts.add_text(&delta.text, false);
        if !delta.counts.is_empty() {
            self.usage = Some(data.slice_ref(delta.counts));
        }
    }

    /// Returns the delta of a candidate, whose index is its position unless it has one.
    fn choice<'a>(&mut self, data: &Bytes, candidate: Candidate<'a>, position: u32) -> Choice<'a> {
        let response_id = self.response_id.as_deref();
        let index = candidate.index.and_then(|index| index.try_into().ok()).unwrap_or(position);
        let state = state_of(&mut self.candidates, index);
        let mut delta = Message { role: first_role(&mut state.begun), ..Message::default() };
        let (mut text, mut reasoning) = (Cow::Borrowed(""), Cow::Borrowed(""));
        for part in &candidate.parts {
            if let Some(more) = part.text() {
                join(if part.is_thought() { &mut reasoning } else { &mut text }, more);
            }
            match part.call() {
                Some(call) if !call.name.is_empty() => {
                    state.end_call(&mut delta);
                    let id = call.id.clone().filter(|id| !id.is_empty());
                    let id = id.unwrap_or_else(|| call_id(response_id, state));
                    let is_partial = call.will_continue || call.partial_args.is_some();
                    let arguments = if is_partial { "".into() } else { arguments_of(call.args) };
                    delta.tool_calls.push(ToolCall {
                        index: Some(state.calls),
                        id: Some(id.into()),
                        kind: Some("function"),
                        function: Function { name: Some(call.name.clone().into()), arguments },
                    });
                    if is_partial {
                        let mut open = PartialCall::begin(state.calls, part.members());
                        open.add(&call);
                        state.open = Some(open);
                    } else {
                        state.parts.add(part);
                    }
                    state.calls += 1;
                    if is_partial && !call.will_continue {
                        state.end_call(&mut delta);
                    }
                }
                Some(call) if state.open.is_some() => {
                    state.open.iter_mut().for_each(|open| open.add(&call));
                    if !call.will_continue {
                        state.end_call(&mut delta);
                    }
                }
                _ => state.parts.add(part),
            }
        }
        if candidate.finish_reason.is_some() {
            state.end_call(&mut delta);
        }
        if !text.is_empty() {
            delta.content = Content::Text(text);
        }
        delta.reasoning_content = Some(reasoning).filter(|reasoning| !reasoning.is_empty());

        let finish_reason = candidate.finish_reason.as_deref().map(|reason| finish_reason(reason, state.calls > 0));
        state.finished |= finish_reason.is_some();
        let parts = state.parts.take(state.finished);
        if !parts.is_empty() {
            delta.provider_specific_fields.insert(DIALECT.to_owned(), json!({ "parts": parts }));
        }
        if let Some(reason) = candidate.finish_reason.filter(|reason| !matches!(&**reason, "STOP" | "MAX_TOKENS")) {
            state.rest.add_value("finishReason", Value::String(reason.into_owned()));
        }
        state.rest.add_all(data, &candidate.rest);
        if let Some(logprobs) = candidate.logprobs {
            state.rest.add(data, "logprobsResult", logprobs);
        }
        let logprobs = candidate.logprobs.and_then(openai_logprobs);
        Choice { index, delta: Some(delta), finish_reason, logprobs, ..Choice::default() }
    }

    /// Returns true if every candidate that has begun has a finish reason.
    pub fn is_finished(&self) -> bool {
        !self.candidates.is_empty() && self.candidates.iter().all(|state| state.finished)
    }

    /// Takes the `provider_specific_fields` of the answer, without the members that were taken before.
    pub fn take_unmapped(&mut self) -> Map<String, Value> {
        let mut native = self.rest.take();
        let several = self.candidates.len() > 1;
        let mut candidates = Vec::new();
        for state in &mut self.candidates {
            let mut rest = state.rest.take();
            if !rest.is_empty() && several {
                rest.insert("index".to_owned(), state.index.into());
            }
            candidates.extend(Some(rest).filter(|rest| !rest.is_empty()).map(Value::Object));
        }
        if !candidates.is_empty() {
            native.insert("candidates".to_owned(), candidates.into());
        }
        specific_fields(DIALECT, native)
    }

    /// Returns a completion or chunk without choices.
    pub fn envelope(&self, object: &'static str) -> Completion<'_> {
        Completion {
            id: (&*self.id).into(),
            object,
            created: self.created,
            model: (&*self.model).into(),
            ..Completion::default()
        }
    }

    /// Converts the latest usage.
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
            #[serde(deserialize_with = "lenient::list")]
            prompt_tokens_details: Vec<ModalityCount>,
            #[serde(deserialize_with = "lenient::list")]
            cache_tokens_details: Vec<ModalityCount>,
            #[serde(deserialize_with = "lenient::list")]
            candidates_tokens_details: Vec<ModalityCount>,
        }
        /// Tokens of one kind of content: <https://ai.google.dev/api/generate-content#ModalityTokenCount>
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct ModalityCount {
            #[serde(deserialize_with = "lenient::scalar")]
            modality: String,
            #[serde(deserialize_with = "lenient::scalar")]
            token_count: u64,
        }
        fn of_modality(counts: &[ModalityCount], modality: &str) -> u64 {
            let counts = counts.iter().filter(|count| count.modality == modality);
            counts.map(|count| count.token_count).fold(0, u64::saturating_add)
        }
        let native: &RawValue = serde_json::from_slice(self.usage.as_deref()?).ok()?;
        let counts: Counts = lenient::object_of(native.get());
        let thoughts = counts.thoughts_token_count;
        let prompt_tokens = counts.prompt_token_count.saturating_add(counts.tool_use_prompt_token_count);
        let completion_tokens = counts.candidates_token_count.saturating_add(thoughts);
        let uncached = |modality: &str| {
            let cached = of_modality(&counts.cache_tokens_details, modality);
            let uncached = of_modality(&counts.prompt_tokens_details, modality).saturating_sub(cached);
            (uncached > 0).then_some(uncached)
        };
        Some(Usage {
            prompt_tokens,
            completion_tokens,
            total_tokens: counts.total_token_count.unwrap_or(prompt_tokens.saturating_add(completion_tokens)),
            prompt_tokens_details: PromptTokens {
                cached_tokens: counts.cached_content_token_count,
                audio_tokens: uncached("AUDIO"),
                image_tokens: uncached("IMAGE"),
                ..Default::default()
            },
            completion_tokens_details: CompletionTokens {
                reasoning_tokens: thoughts,
                audio_tokens: Some(of_modality(&counts.candidates_tokens_details, "AUDIO")).filter(|count| *count > 0),
            },
            native: Some(native),
        })
    }
}

/// Returns the state of the candidate of this index, creating it if it is new.
fn state_of(candidates: &mut Vec<CandidateState>, index: u32) -> &mut CandidateState {
    let position = candidates.iter().position(|state| state.index == index).unwrap_or_else(|| {
        candidates.push(CandidateState { index, ..CandidateState::default() });
        candidates.len() - 1
    });
    &mut candidates[position]
}

/// Returns the role for the first delta, and `None` for later ones.
fn first_role(begun: &mut bool) -> Option<&'static str> {
    (!std::mem::replace(begun, true)).then_some("assistant")
}

/// Appends text, without copying the first one.
fn join<'a>(known: &mut Cow<'a, str>, text: Cow<'a, str>) {
    if known.is_empty() { *known = text } else { known.to_mut().push_str(&text) }
}

/// Generates the id of a call without one. With the answer's id in it, it is the same in a stream and in a whole answer.
fn call_id(response_id: Option<&str>, state: &CandidateState) -> String {
    // The message may be sent to another provider next, some of which limit ids to 40 letters, digits, - and _.
    let is_usable = |id: &&str| {
        id.len() <= 28 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    match (response_id.filter(is_usable), state.index) {
        (Some(id), 0) => format!("call_{id}_{}", state.calls),
        (Some(id), candidate) => format!("call_{id}_{candidate}_{}", state.calls),
        (None, _) => format!("call_{:024x}", fastrand::u128(..) >> 32),
    }
}

/// Converts a finish reason: <https://ai.google.dev/api/generate-content#FinishReason>.
fn finish_reason(native: &str, has_calls: bool) -> &'static str {
    match native {
        "MAX_TOKENS" => "length",
        "SAFETY" | "RECITATION" | "LANGUAGE" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "MODEL_ARMOR" => {
            "content_filter"
        }
        "IMAGE_SAFETY" | "IMAGE_PROHIBITED_CONTENT" | "IMAGE_RECITATION" => "content_filter",
        // MALFORMED_FUNCTION_CALL, OTHER and the like; the native reason is kept.
        _ => completion::finish_reason("stop", has_calls),
    }
}

/// Returns true if the prompt was blocked.
fn is_blocked(feedback: &RawValue) -> bool {
    crate::types::members::Members::of(feedback.get().as_bytes())
        .is_ok_and(|feedback| feedback.some("blockReason").is_some())
}

/// Converts log probabilities: <https://ai.google.dev/api/generate-content#LogprobsResult>.
fn openai_logprobs(native: &RawValue) -> Option<Value> {
    let native: Value = serde_json::from_str(native.get()).ok()?;
    let entry = |candidate: &Value| json!({"token": candidate["token"], "logprob": candidate["logProbability"], "bytes": candidate["token"].as_str().map(str::as_bytes)});
    let none = Vec::new();
    let content = native["chosenCandidates"].as_array()?.iter().enumerate().map(|(index, chosen)| {
        let top = native["topCandidates"][index]["candidates"].as_array().unwrap_or(&none);
        let mut content = entry(chosen);
        content["top_logprobs"] = top.iter().map(entry).collect();
        content
    });
    Some(json!({"content": content.collect::<Vec<_>>(), "refusal": null}))
}

/// Returns arguments as text; Google sends an object, other servers of this wire a string, as OpenAI does.
fn arguments_of(args: Option<&RawValue>) -> Cow<'_, str> {
    match arguments::text(args.map(RawValue::get)) {
        Cow::Borrowed(text) => compact(text),
        text => text,
    }
}

/// Removes the white space between the tokens of JSON: the Gemini API indents its answers.
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

/// Native parts of a message, held back until one of them is more than plain text.
#[derive(Default)]
struct Parts {
    /// True once one of them is more than plain text.
    needed: bool,
    ready: Vec<Value>,
    /// Text that later parts may extend.
    text: String,
    /// True if `text` is reasoning.
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

    /// Takes the complete parts; with `finished`, also the text at the end.
    fn take(&mut self, finished: bool) -> Vec<Value> {
        if finished {
            self.close_text();
        }
        if self.needed { std::mem::take(&mut self.ready) } else { Vec::new() }
    }
}
