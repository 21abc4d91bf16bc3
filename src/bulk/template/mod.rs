//! From a row to the call that it asks for.
//!
//! - `fields`: texts and messages with `{column}` in them
//! - `media`: images and files by their paths, as data URLs
//! - `body`: rows that are requests themselves: OpenAI's batch lines, or bodies

mod body;
mod fields;
mod media;

use std::sync::Arc;

use self::fields::Pieces;
use super::row::{Place, RowCall, without_nan};
use crate::error::{Error, Result};
use crate::types::members::Members;
use crate::types::operation::Operation;
use crate::types::params::Params;

/// What a job asks for with each row.
///
/// With none of `prompt`, `messages` and `input`, the rows are requests themselves: lines in OpenAI's batch format
/// (<https://platform.openai.com/docs/api-reference/batch/request-input>), or bodies with `messages` or `input`.
#[derive(Debug, Clone, Default)]
pub struct TemplateSpec {
    /// The operation: [`Chat`](Operation::Chat), [`Embedding`](Operation::Embedding) or [`Responses`](Operation::Responses).
    /// A batch line's `url` names its own.
    pub operation: Operation,
    /// The model, or the router's group. It takes precedence over those that rows name.
    pub model: Option<Arc<str>>,
    /// Text of the only message, with `{column}` for a column's value; for responses it is the input.
    pub prompt: Option<String>,
    /// The messages as a JSON list, with `{column}` in any of its strings; or `{column}` alone for a column that holds the
    /// list.
    pub messages: Option<String>,
    /// Text of the input of embeddings or responses, with `{column}`; a column alone may hold a list of them.
    pub input: Option<String>,
    /// Further members of each body, as a JSON object. Those that a row has itself take precedence.
    pub params: Option<String>,
    /// The column that holds the row's own id; otherwise `custom_id`, where there is one.
    pub id_column: Option<String>,
}

/// From a row to its call: see [`TemplateSpec`].
#[derive(Debug)]
pub struct Template {
    operation: Operation,
    model: Option<Arc<str>>,
    /// Members that every body has.
    params: Params,
    id_column: Option<String>,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// The rows are requests.
    Body,
    /// A member of the body is made from the row's columns.
    Fields { member: &'static str, pieces: Pieces },
}

/// Columns that hold a row's id where no other is named.
const ID: &str = "custom_id";

impl Template {
    /// Returns the columns that are named, for an input of which none is known: it is empty, or none of its first rows can be
    /// read.
    pub fn named_columns(spec: &TemplateSpec) -> Vec<String> {
        let texts = [&spec.prompt, &spec.messages, &spec.input];
        let mut columns: Vec<String> =
            texts.into_iter().flatten().flat_map(|text| fields::names(text)).map(str::to_owned).collect();
        if !columns.is_empty() {
            columns.extend(spec.id_column.clone());
        }
        columns
    }

    /// Compiles a template for an input whose first rows have these columns, in any order.
    ///
    /// # Errors
    ///
    /// The arguments contradict each other, a parameter makes no sense in a job, or the template names a column that the
    /// rows do not have.
    pub fn new(spec: TemplateSpec, columns: &[String]) -> Result<Self> {
        let TemplateSpec { operation, model, prompt, messages, input, params, id_column } = spec;
        if !matches!(operation, Operation::Chat | Operation::Embedding | Operation::Responses) {
            return Err(Error::argument(format!(
                "endpoint is {:?}: chat, embedding or responses would be right",
                operation.spec().name
            )));
        }
        let given: Vec<&str> = [("prompt", &prompt), ("messages", &messages), ("input", &input)]
            .iter()
            .filter(|(_, value)| value.is_some())
            .map(|(name, _)| *name)
            .collect();
        if given.len() > 1 {
            return Err(Error::argument(format!("{} and {} are both given: one would be right", given[0], given[1])));
        }
        let params = match params {
            Some(json) => Params::from_json(json.as_bytes())?,
            None => Params::default(),
        };
        body::check_params(&params)?;
        if let Some(column) = &id_column
            && !columns.is_empty()
            && !columns.contains(column)
        {
            return Err(Error::argument(format!("id_column is {column:?}: {}", fields::there_are(columns))));
        }
        let is_chat = operation == Operation::Chat;
        let form = match (prompt, messages, input) {
            (Some(prompt), _, _) if is_chat => {
                let pieces = Pieces::of_text("prompt", &prompt, columns)?;
                Form::Fields { member: "messages", pieces: pieces.within("[{\"role\":\"user\",\"content\":", "}]") }
            }
            (Some(prompt), _, _) => {
                Form::Fields { member: "input", pieces: Pieces::of_text("prompt", &prompt, columns)? }
            }
            (_, Some(messages), _) if operation != Operation::Embedding => {
                let member = if is_chat { "messages" } else { "input" };
                Form::Fields { member, pieces: Pieces::of_messages("messages", &messages, columns)? }
            }
            (_, _, Some(input)) if !is_chat => {
                Form::Fields { member: "input", pieces: Pieces::of_input("input", &input, columns)? }
            }
            (_, Some(_), _) => {
                return Err(Error::argument("messages has no place in embeddings: input would be right"));
            }
            (_, _, Some(_)) => {
                return Err(Error::argument(
                    "input has no place in chat completions: prompt or messages would be right",
                ));
            }
            (None, None, None) => {
                body::check_columns(operation, columns)?;
                Form::Body
            }
        };
        Ok(Self { operation, model, params, id_column, form })
    }

    /// Returns the columns that the template reads, if it is known that it reads no others.
    pub fn columns(&self) -> Option<Vec<&str>> {
        let Form::Fields { pieces, .. } = &self.form else { return None };
        let mut columns = pieces.columns();
        let id = self.id_column.as_deref().unwrap_or(ID);
        if !columns.contains(&id) {
            columns.push(id);
        }
        Some(columns)
    }

    /// Returns the call that a row asks for.
    ///
    /// # Errors
    ///
    /// The row is no JSON object, lacks a column, or asks for what a job cannot do. The message names the row's place.
    pub fn call(&self, json: &[u8], place: &Place) -> Result<RowCall> {
        let strict;
        let row = match Members::of(json) {
            Ok(row) => row,
            Err(error) => {
                strict = without_nan(json).unwrap_or_default();
                Members::of(&strict).map_err(|_| place.error(format!("is no JSON: {error}")))?
            }
        };
        let id = self.id(&row).map_err(|what| place.error(what))?;
        match &self.form {
            Form::Body => body::call(self, id, &row),
            Form::Fields { member, pieces } => self.fill(id, &row, member, pieces),
        }
        .map_err(|what| place.error(what))
    }

    fn fill(&self, id: Option<Box<str>>, row: &Members<'_>, member: &str, pieces: &Pieces) -> Result<RowCall, String> {
        let mut params = self.params.clone();
        params.set_with(member, |out| pieces.write(row, out))?;
        Ok(RowCall { id, operation: self.operation, model: self.model.clone(), params })
    }

    fn id(&self, row: &Members<'_>) -> Result<Option<Box<str>>, String> {
        let name = self.id_column.as_deref().unwrap_or(ID);
        let is_named = self.id_column.is_some();
        let text = match row.some(name) {
            None if is_named => return Err(format!("has no id in the column {name:?}")),
            None => return Ok(None),
            Some(text) => text,
        };
        match text.as_bytes()[0] {
            b'"' => {
                let id: Box<str> =
                    serde_json::from_str(text).map_err(|error| format!("has an id that is no text: {error}"))?;
                match id.is_empty() {
                    true if is_named => Err(format!("has an empty id in the column {name:?}")),
                    true => Ok(None),
                    false => Ok(Some(id)),
                }
            }
            b'{' | b'[' => Err(format!("has an id that is a list or an object in the column {name:?}")),
            _ => Ok(Some(text.into())),
        }
    }
}

#[cfg(test)]
mod tests;
