//! An answer → a completion: <https://docs.ollama.com/api/chat>.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::super::errors;
use super::super::received::{ReceivedCall, specific_fields, value_of};
use super::super::validation::not_a_completion;
use super::{DIALECT, ROW};
use crate::error::Result;
use crate::types::completion::{self, COMPLETION, Choice, Completion, Content, Message, PromptTokens, Usage};
use crate::types::http::HttpResponse;
use crate::types::lenient::{self, Scalar};
use crate::types::members::{Members, Text};

/// Converts an answer.
///
/// # Errors
/// If it is an error with a status of 200, or has no message.
pub(super) fn completion(response: &HttpResponse) -> Result<Bytes> {
    let wrong = |_| not_a_completion(ROW.name, response);
    let top = Members::of(&response.body).map_err(wrong)?;
    if top.some("error").is_some() {
        return Err(errors::from_response(ROW.name, response));
    }
    if !top.some("message").is_some_and(|message| message.starts_with('{')) {
        return Err(not_a_completion(ROW.name, response));
    }
    let mut answer = Answer::of(&top);
    let mut message = answer.take_message(None);
    message.role = Some("assistant");
    if matches!(message.content, Content::Absent) {
        message.content = Content::Null;
    }
    let finish = answer.finish_reason(!message.tool_calls.is_empty());
    let choice = Choice {
        message: Some(message),
        finish_reason: Some(finish),
        logprobs: answer.logprobs(),
        ..Default::default()
    };
    let completion = Completion {
        id: random_id("chatcmpl").into(),
        object: COMPLETION,
        created: response.received,
        model: (&*answer.model.0).into(),
        choices: vec![choice],
        usage: answer.usage(),
        provider_specific_fields: specific_fields(DIALECT, answer.rest()),
        ..Default::default()
    };
    Ok(completion.to_json())
}

/// Returns a random id, since Ollama's answers and, on some servers, calls have none.
pub(super) fn random_id(prefix: &str) -> String {
    format!("{prefix}_{:016x}", fastrand::u64(..))
}

/// An answer, or one line of a stream.
#[derive(Default)]
pub(super) struct Answer<'a> {
    pub model: Text<'a>,
    message: AnswerMessage<'a>,
    pub done: bool,
    done_reason: Text<'a>,
    prompt_tokens: Option<u64>,
    cached_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    logprobs: Option<Value>,
    /// Times, durations, and members that are not read here.
    rest: Members<'a>,
}

/// The message of an answer, or the delta of a line.
#[derive(Default, Deserialize)]
struct AnswerMessage<'a> {
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    content: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient::scalar")]
    thinking: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient::list")]
    tool_calls: Vec<ReceivedCall<'a>>,
    #[serde(borrow, default)]
    images: Option<&'a RawValue>,
}

impl<'a> Answer<'a> {
    /// Reads the members of an answer.
    pub fn of(top: &Members<'a>) -> Self {
        let mut answer = Self::default();
        for (name, value) in &top.0 {
            let json = value.get();
            match &**name {
                _ if json == "null" => {}
                "model" => answer.model = Text::of(json),
                "message" => answer.message = lenient::object_of(json),
                "done" => answer.done = bool::of(json),
                "done_reason" => answer.done_reason = Text::of(json),
                "prompt_eval_count" => answer.prompt_tokens = Option::of(json),
                "prompt_eval_cached_count" => answer.cached_tokens = Option::of(json),
                "eval_count" => answer.completion_tokens = Option::of(json),
                "logprobs" => answer.logprobs = serde_json::from_str(json).ok(),
                _ => answer.rest.0.push((name.clone(), *value)),
            }
        }
        // Only the last line has a reason.
        answer.done |= !answer.done_reason.0.is_empty();
        answer
    }

    /// Takes the message out of the answer; the calls of a stream are numbered from `first_call`.
    pub fn take_message(&mut self, first_call: Option<u32>) -> Message<'a> {
        let AnswerMessage { content, thinking, tool_calls, images } = std::mem::take(&mut self.message);
        let calls = tool_calls.into_iter().zip(0..).map(|(mut call, position)| {
            if call.id.is_empty() {
                call.id = random_id("call").into();
            }
            call.into_tool_call(first_call.map(|first| first + position))
        });
        let native = images.map(|images| ("images".to_owned(), value_of(images)));
        Message {
            content: non_empty(content).map_or(Content::Absent, Content::Text),
            reasoning_content: non_empty(thinking),
            tool_calls: calls.collect(),
            provider_specific_fields: specific_fields(DIALECT, Map::from_iter(native)),
            ..Default::default()
        }
    }

    /// Returns the members that have no place in a completion.
    pub fn rest(&self) -> Map<String, Value> {
        self.rest.0.iter().map(|(name, json)| (name.to_string(), value_of(json))).collect()
    }

    /// Converts the finish reason.
    pub fn finish_reason(&self, has_calls: bool) -> &'static str {
        match &*self.done_reason.0 {
            "length" => "length",
            // `load` and `unload` are the reasons of a call without messages.
            _ => completion::finish_reason("stop", has_calls),
        }
    }

    /// Converts the numbers of tokens; `None` if there are none.
    pub fn usage(&self) -> Option<Usage<'static>> {
        let (prompt, completion) = (self.prompt_tokens, self.completion_tokens);
        if prompt.is_none() && completion.is_none() {
            return None;
        }
        // The count is missing where the whole prompt was cached.
        let (prompt, completion) = (prompt.unwrap_or(0), completion.unwrap_or(0));
        Some(Usage {
            prompt_tokens: prompt,
            completion_tokens: completion,
            total_tokens: prompt.saturating_add(completion),
            prompt_tokens_details: PromptTokens {
                cached_tokens: self.cached_tokens.unwrap_or(0),
                ..Default::default()
            },
            ..Default::default()
        })
    }

    /// Converts the log probabilities.
    pub fn logprobs(&self) -> Option<Value> {
        self.logprobs.as_ref().map(|tokens| json!({"content": tokens, "refusal": null}))
    }
}

/// Returns a text unless it is empty: servers send empty ones where there is none.
fn non_empty<'a>(text: Option<Text<'a>>) -> Option<Cow<'a, str>> {
    text.map(|text| text.0).filter(|text| !text.is_empty())
}
