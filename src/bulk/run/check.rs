//! Checks answers that have to follow a schema, and asks again with the reasons.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use crate::bulk::outcome::Failure;
use crate::client::Call;
use crate::schema::Validator;
use crate::types::answer::Answer;
use crate::types::operation::Operation;
use crate::types::structured::ResponseSchema;
use crate::types::usage::Usage;

/// Reads the JSON texts of answers as the user's type does, on a thread of its own.
pub trait ReadTexts: Send + Sync {
    /// Returns why a text is not a value of the type; nothing if it is one.
    fn read(&self, text: String) -> BoxFuture<'static, Vec<String>>;
}

/// The check of a job's answers.
pub struct Check {
    /// The schema that was asked for.
    pub schema: Arc<ResponseSchema>,
    /// The user's schema, in which there is no wrapper.
    pub validator: Arc<Validator>,
    /// The user's type, if it checks more than its schema does.
    pub reader: Option<Arc<dyn ReadTexts>>,
    /// Number of times that the model is asked again.
    pub retries: u32,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("schema", &self.schema.name).finish_non_exhaustive()
    }
}

/// An answer that was checked.
pub(super) struct Checked {
    pub answer: Answer,
    /// Why it is not what was asked for.
    pub failure: Option<Failure>,
    /// Number of answers before it that did not fit, their usage and their cost.
    pub earlier: u32,
    pub usage: Option<Usage>,
    pub cost: Option<f64>,
}

impl Checked {
    /// Returns an answer that needs no check.
    pub fn of(answer: Answer) -> Self {
        Self { answer, failure: None, earlier: 0, usage: None, cost: None }
    }

    /// Adds an answer that did not fit, after which there was this one.
    pub fn after(mut self, mut earlier: Self, operation: Operation) -> Self {
        self.earlier = earlier.earlier + 1;
        let record = earlier.answer.meta.record.take().unwrap_or_default();
        self.usage = sum_of(earlier.usage, record.usage.or_else(|| Usage::of(operation, &earlier.answer.body)));
        self.cost = match (earlier.earlier, earlier.cost, record.cost) {
            (0, _, cost) => cost,
            (_, Some(one), Some(other)) => Some(one + other),
            _ => None,
        };
        self
    }
}

/// Returns the sum of two usages, of which either may not be known.
pub(in crate::bulk) fn sum_of(one: Option<Usage>, other: Option<Usage>) -> Option<Usage> {
    match (&one, &other) {
        (Some(one), Some(other)) => Some(one.plus(other)),
        _ => one.or(other),
    }
}

/// Result of a check.
pub(in crate::bulk) enum Verdict {
    /// It is what was asked for.
    Fits,
    /// There is nothing to be had: it was refused, or cut off.
    Fails(Failure),
    /// It does not fit the schema.
    Unfit { text: String, reasons: Vec<String> },
}

fn failure(class: &'static str, message: String) -> Failure {
    Failure { class: class.into(), code: None, message }
}

/// Returns the failure of an answer that does not fit.
pub(in crate::bulk) fn unfit(reasons: &[String]) -> Failure {
    failure("OutputValidationError", format!("the answer does not fit the schema: {}", reasons.join("; ")))
}

impl Check {
    /// Checks an answer.
    pub(in crate::bulk) async fn check(&self, operation: Operation, body: &[u8]) -> Verdict {
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            return Verdict::Unfit { text: String::new(), reasons: vec!["it is not valid JSON".into()] };
        };
        let said = match operation {
            // A batch line of its own operation among chats.
            Operation::Embedding => return Verdict::Fits,
            Operation::Responses => of_response(&body),
            _ => of_completion(&body),
        };
        let reasons = match self.schema.json_in(&said.text) {
            _ if said.text.is_empty() && said.has_calls => return Verdict::Fits,
            None if said.text.is_empty() => vec!["there is no text in it".to_owned()],
            None => vec!["it is not valid JSON".to_owned()],
            Some(json) => self.reasons(json).await,
        };
        if reasons.is_empty() {
            return Verdict::Fits;
        }
        if let Some(refusal) = said.refusal {
            return Verdict::Fails(failure("OutputRefusedError", format!("the model refused: {refusal}")));
        }
        match said.finish_reason.as_deref() {
            Some("length" | "max_output_tokens") => Verdict::Fails(failure(
                "OutputIncompleteError",
                "the answer was cut off by the limit of tokens".to_owned(),
            )),
            Some("content_filter") => Verdict::Fails(failure(
                "OutputIncompleteError",
                "the answer was cut off by a content filter".to_owned(),
            )),
            _ => Verdict::Unfit { text: said.text, reasons },
        }
    }

    async fn reasons(&self, json: &str) -> Vec<String> {
        let reasons: Vec<String> = match serde_json::from_str(json) {
            Ok(value) => self.validator.violations(&value).iter().map(ToString::to_string).collect(),
            Err(error) => vec![format!("it is not valid JSON: {error}")],
        };
        match &self.reader {
            Some(reader) if reasons.is_empty() => reader.read(json.to_owned()).await,
            _ => reasons,
        }
    }
}

/// Adds an answer that does not fit, and what is wrong with it, to the conversation of a call.
pub(in crate::bulk) fn ask_again(call: &mut Call, text: &str, reasons: &[String]) {
    let member = call.request.operation.spec().input;
    let earlier = call.request.params.get(member).and_then(|json| serde_json::from_slice(json).ok());
    let mut conversation = match earlier {
        Some(Value::Array(messages)) => messages,
        Some(text) => vec![json!({"role": "user", "content": text})],
        None => Vec::new(),
    };
    if !text.is_empty() {
        conversation.push(json!({"role": "assistant", "content": text}));
    }
    let reasons: String = reasons.iter().map(|reason| format!("- {reason}\n")).collect();
    let correction = format!(
        "Your answer does not fit the schema:\n{reasons}Answer again, with the corrected JSON and nothing else."
    );
    conversation.push(json!({"role": "user", "content": correction}));
    call.request.params.set(member, Value::Array(conversation).to_string().as_bytes());
    call.request.params.close();
}

/// The parts of an answer that matter here.
#[derive(Default)]
struct Said {
    text: String,
    refusal: Option<String>,
    finish_reason: Option<String>,
    has_calls: bool,
}

fn of_completion(body: &Value) -> Said {
    let choice = &body["choices"][0];
    let message = &choice["message"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Said {
        text: text(&message["content"]).unwrap_or_default(),
        refusal: text(&message["refusal"]),
        finish_reason: text(&choice["finish_reason"]),
        has_calls: message["tool_calls"].as_array().is_some_and(|calls| !calls.is_empty())
            || message["function_call"].is_object(),
    }
}

fn of_response(body: &Value) -> Said {
    let mut said = Said::default();
    for item in body["output"].as_array().into_iter().flatten() {
        said.has_calls |= item["type"].as_str().is_some_and(|kind| kind.ends_with("_call"));
        for part in item["content"].as_array().into_iter().flatten() {
            match part["type"].as_str() {
                Some("output_text") => said.text += part["text"].as_str().unwrap_or_default(),
                Some("refusal") => said.refusal = part["refusal"].as_str().map(str::to_owned),
                _ => {}
            }
        }
    }
    if body["status"] == "incomplete" {
        said.finish_reason = body["incomplete_details"]["reason"].as_str().map(str::to_owned);
    }
    said
}
