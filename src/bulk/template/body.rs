//! Rows that are requests themselves: lines in OpenAI's batch format, or bodies.

use super::Template;
use super::fields::there_are;
use crate::bulk::row::RowCall;
use crate::error::{Error, Result};
use crate::types::members::Members;
use crate::types::operation::Operation;
use crate::types::params::Params;

/// Ends of the addresses of operations.
const ENDPOINTS: &[(&str, Operation)] = &[
    ("/chat/completions", Operation::Chat),
    ("/embeddings", Operation::Embedding),
    ("/responses", Operation::Responses),
];

/// Parameters that have no place in a job, with the reason. They are checked whatever their value is, unless it is one that
/// says nothing (`false`, `null`).
const REFUSED: &[(&str, &str)] = &[
    ("stream", "answers of a job are whole"),
    ("stream_options", "answers of a job are whole"),
    ("background", "a job waits for each answer itself"),
    ("api_key", "keys belong to the client, and are in no file of a job"),
    ("base_url", "addresses belong to the client"),
    ("api_base", "addresses belong to the client"),
];

/// Parameters that are arguments of the job.
const ARGUMENTS: &[&str] = &["model", "messages", "input", "prompt", "custom_id"];

/// Checks the parameters that a job adds to each row.
///
/// # Errors
///
/// A parameter makes no sense in a job.
pub(super) fn check_params(params: &Params) -> Result<()> {
    if let Some(name) = ARGUMENTS.iter().find(|name| params.get(name).is_some()) {
        return Err(Error::argument(format!("params has {name:?}, which is an argument of the job itself")));
    }
    match refused(|name| params.get(name)) {
        Some(what) => Err(Error::argument(format!("params {what}"))),
        None => Ok(()),
    }
}

fn refused<'a>(value: impl Fn(&str) -> Option<&'a [u8]>) -> Option<String> {
    let is_set = |name: &str| !matches!(value(name), None | Some(b"false" | b"null"));
    REFUSED.iter().find(|(name, _)| is_set(name)).map(|(name, reason)| format!("has {name:?}: {reason}"))
}

/// Checks that rows with these columns may be requests.
///
/// # Errors
///
/// They are tables, for which the job needs a prompt.
pub(super) fn check_columns(operation: Operation, columns: &[String]) -> Result<()> {
    let has = |name: &str| columns.iter().any(|column| column == name);
    if columns.is_empty()
        || has("body")
        || has(operation.spec().input)
        || operation.spec().input_optional && has("prompt")
    {
        return Ok(());
    }
    Err(Error::argument(format!(
        "the rows are neither OpenAI's batch lines nor bodies with {:?}: a prompt such as \"Classify: {{{}}}\" would be right. {}",
        operation.spec().input,
        columns[0],
        there_are(columns)
    )))
}

/// Returns the call of a row that is a batch line, or a body.
pub(super) fn call(template: &Template, id: Option<Box<str>>, row: &Members<'_>) -> Result<RowCall, String> {
    let Some(body) = row.some("body") else {
        // A body by itself, as in the scripts that send requests from a file.
        return finish(template, id, template.operation, row);
    };
    if let Some(method) = row.string("method")
        && !method.eq_ignore_ascii_case("POST")
    {
        return Err(format!("has the method {method:?}: POST would be right"));
    }
    let operation = match row.string("url") {
        None => template.operation,
        Some(url) => operation_of(&url).ok_or_else(|| {
            format!("has the url {url:?}: /v1/chat/completions, /v1/embeddings or /v1/responses would be right")
        })?,
    };
    let body = Members::of(body.as_bytes()).map_err(|_| "has a body that is no JSON object".to_owned())?;
    finish(template, id, operation, &body)
}

fn operation_of(url: &str) -> Option<Operation> {
    let path = url.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    ENDPOINTS.iter().find(|(end, _)| path.ends_with(end)).map(|(_, operation)| *operation)
}

fn finish(
    template: &Template,
    id: Option<Box<str>>,
    operation: Operation,
    body: &Members<'_>,
) -> Result<RowCall, String> {
    if let Some(what) = refused(|name| body.get(name).map(str::as_bytes)) {
        return Err(what);
    }
    let spec = operation.spec();
    if body.some(spec.input).is_none() && body.some("params").is_some() {
        return Err(
            "has \"params\", as Anthropic's batches do: the \"body\" of OpenAI's batch lines would be right".to_owned()
        );
    }
    if body.some(spec.input).is_none() && !(spec.input_optional && body.some("prompt").is_some()) {
        return Err(format!("has no {:?}", spec.input));
    }
    let model = match (&template.model, body.some("model")) {
        (Some(model), _) => Some(model.clone()),
        (None, None) => None,
        (None, Some(model)) => match serde_json::from_str::<String>(model) {
            Ok(model) if !model.is_empty() => Some(model.into()),
            _ => return Err(format!("has the model {model}: a name would be right")),
        },
    };
    let mut params = template.params.clone();
    // The id is a column of ours, and the rest of the row is sent.
    let is_ours = |name: &str| {
        matches!(name, "model" | super::ID) || template.id_column.as_deref() == Some(name) || is_refused(name)
    };
    for (name, value) in &body.0 {
        if !is_ours(name) {
            params.set(name, value.get().as_bytes());
        }
    }
    Ok(RowCall { id, operation, model, params })
}

fn is_refused(name: &str) -> bool {
    REFUSED.iter().any(|(refused, _)| *refused == name)
}
