//! What an answer tells of itself beside its content: its id, the model that wrote it, why it ended.

use serde::Deserialize;

use super::members::Members;
use super::operation::Operation;

/// What an answer tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// The provider's id for the answer.
    pub id: Option<String>,
    /// Name of the model that answered, which may be more precise than the name that was asked for.
    pub model: Option<String>,
    /// Why each choice ended, in their order. For a response: why it is incomplete, or its status.
    pub finish_reasons: Vec<String>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Incomplete {
    #[serde(default)]
    reason: Option<String>,
}

impl Told {
    /// Reads an answer in OpenAI's format. What it does not tell, or tells in another form, is left out.
    pub fn of(operation: Operation, answer: &[u8]) -> Self {
        let mut told = Self::default();
        let Ok(members) = Members::of(answer) else { return told };
        let mut status = None;
        for (name, value) in &members.0 {
            let text = || serde_json::from_str::<String>(value.get()).ok();
            match (&**name, operation) {
                ("id", _) => told.id = text(),
                ("model", _) => told.model = text(),
                ("choices", Operation::Chat) => {
                    let choices: Vec<Choice> = serde_json::from_str(value.get()).unwrap_or_default();
                    told.finish_reasons = choices.into_iter().filter_map(|choice| choice.finish_reason).collect();
                }
                ("status", Operation::Responses) => status = text(),
                ("incomplete_details", Operation::Responses) => {
                    let details: Option<Incomplete> = serde_json::from_str(value.get()).ok().flatten();
                    told.finish_reasons = details.and_then(|details| details.reason).into_iter().collect();
                }
                _ => {}
            }
        }
        if told.finish_reasons.is_empty() {
            told.finish_reasons.extend(status);
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_completion_a_response_and_what_is_neither() {
        let told = |operation, json: &str| Told::of(operation, json.as_bytes());
        let chat = told(
            Operation::Chat,
            r#"{"id":"c1","model":"m-1","choices":[{"finish_reason":"stop"},{"finish_reason":null},{"finish_reason":"length"}]}"#,
        );
        assert_eq!((chat.id.as_deref(), chat.model.as_deref()), (Some("c1"), Some("m-1")));
        assert_eq!(chat.finish_reasons, ["stop", "length"]);
        let cut = r#"{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"id":1}"#;
        let cut = told(Operation::Responses, cut);
        assert_eq!((cut.id, &*cut.finish_reasons), (None, &["max_output_tokens".to_owned()][..]));
        let done = told(Operation::Responses, r#"{"incomplete_details":null,"status":"completed"}"#);
        assert_eq!(done.finish_reasons, ["completed"]);
        for broken in ["", "[]", r#"{"choices":{}}"#, r#"{"choices":[1]}"#] {
            assert_eq!(told(Operation::Chat, broken), Told::default());
        }
    }
}
