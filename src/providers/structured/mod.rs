//! Structured output: asks a model for an answer that follows a schema, in the best form that it has, and undoes the form in
//! the answer.
//!
//! The request is changed while it is still OpenAI's, so that the wires do the rest.
//!
//! - [`support`]: the forms that hosts and models have, as data
//! - [`answer`]: the call of the tool that stands for the answer becomes the answer's text

mod answer;
pub(super) mod support;
#[cfg(test)]
mod tests;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::families::claude::instruction;
use super::families::schema::{fit, is_expressible};
use super::{Deployment, StreamDecoder};
use crate::error::Error;
use crate::types::operation::Operation;
use crate::types::params::Params;
use crate::types::request::Request;
use crate::types::structured::{Form, ResponseSchema, StructuredOutput};

pub use answer::untooled;
use support::Support;

/// Asks for the structured output of a request in the form that suits its model, and notes the form in the request. A request
/// that has its form stays as it is.
pub fn ask(deployment: &Deployment, request: &mut Request) {
    if request.structured.as_ref().is_some_and(|structured| structured.form.is_none()) {
        ask_with(&deployment.provider.structured_output(&deployment.model), request);
    }
}

/// Asks for the structured output of a request in JSON mode, of a host that refuses schemas.
pub fn ask_without_schema(request: &mut Request) {
    request.params.remove("response_format");
    ask_with(&support::JSON_MODE, request);
}

/// Returns true if an error is a host's refusal of a request because of its schema, and the host is one of which this is not
/// known beforehand: one at an address of the caller's, or one that is taken to follow any schema.
pub fn refuses_schema(deployment: &Deployment, request: &Request, error: &Error) -> bool {
    let Some(StructuredOutput { form: Some(Form::Strict | Form::Schema), .. }) = &request.structured else {
        return false;
    };
    let is_known = || {
        *deployment.base_url == *deployment.provider.row().base_url
            && deployment.provider.structured_output(&deployment.model).dialect.is_some()
    };
    // A fault of the schema is one of this library or of the caller.
    matches!(error.status, Some(400 | 422))
        && ["response_format", "json_schema", "text.format"].iter().any(|word| error.message.contains(word))
        && !error.message.contains("nvalid schema")
        && !is_known()
}

fn ask_with(support: &Support, request: &mut Request) {
    let Some(StructuredOutput { schema, .. }) = &request.structured else { return };
    let schema = schema.clone();
    let form = form_of(support, &schema, request);
    match (request.operation, form) {
        (Operation::Responses, form) => ask_for_response(request, support, &schema, form),
        (_, Form::Strict | Form::Schema) => {
            let mut format = json!({"name": schema.name, "schema": fitted(support, &schema, form)});
            if form == Form::Strict {
                format["strict"] = true.into();
            }
            set(&mut request.params, "response_format", &json!({"type": "json_schema", "json_schema": format}));
        }
        (_, Form::Tool) => {
            let description = "Call this with the answer.";
            let function = json!({"name": schema.name, "description": description, "parameters": schema.schema});
            set(&mut request.params, "tools", &json!([{"type": "function", "function": function}]));
            let choice = json!({"type": "function", "function": {"name": schema.name}});
            set(&mut request.params, "tool_choice", &choice);
        }
        (_, Form::JsonMode | Form::Prompt) => {
            if form == Form::JsonMode {
                set(&mut request.params, "response_format", &json!({"type": "json_object"}));
            }
            instruct(&mut request.params, &instruction(Some(&schema.schema.to_string())));
        }
    }
    request.params.close();
    request.structured = Some(StructuredOutput { schema, form: Some(form) });
}

/// Returns a decoder that gives the call of the tool that stands for the answer as the answer's text, if a request has one.
pub fn untooled_stream(request: &Request, decoder: Box<dyn StreamDecoder>) -> Box<dyn StreamDecoder> {
    match &request.structured {
        Some(StructuredOutput { schema, form: Some(Form::Tool) }) => {
            Box::new(answer::Untooled::new(schema.clone(), decoder))
        }
        _ => decoder,
    }
}

/// Returns the form in which a schema is asked for.
fn form_of(support: &Support, schema: &ResponseSchema, request: &Request) -> Form {
    let is_given =
        |name: &str| request.params.get(name).is_some_and(|value| !matches!(value, b"null" | b"[]" | br#""none""#));
    let form = match support.form {
        Form::Strict | Form::Schema
            if support.dialect.is_some_and(|dialect| !is_expressible(&schema.schema, dialect)) =>
        {
            support.otherwise
        }
        form => form,
    };
    // The caller's own tools, and a model that thinks, leave no room for a tool that has to be called.
    let has_tools = is_given("tools") || is_given("functions");
    match form {
        Form::Tool if has_tools || is_given("thinking") || is_given("reasoning_effort") => Form::Prompt,
        Form::Strict | Form::Schema | Form::JsonMode if has_tools && !support.beside_tools => Form::Prompt,
        form => form,
    }
}

/// Returns the schema as it is sent.
fn fitted(support: &Support, schema: &ResponseSchema, form: Form) -> Value {
    let mut schema = schema.schema.clone();
    if let Some(dialect) = support.dialect
        && (form == Form::Strict || support.form == Form::Schema)
    {
        fit(&mut schema, dialect);
    }
    schema
}

/// Asks for the structured output of a response: `text.format` beside what else the caller's `text` says.
fn ask_for_response(request: &mut Request, support: &Support, schema: &ResponseSchema, form: Form) {
    let format = match form {
        Form::Strict => json!({"type": "json_schema", "name": schema.name, "strict": true}),
        Form::Schema | Form::Tool => json!({"type": "json_schema", "name": schema.name, "strict": false}),
        Form::JsonMode | Form::Prompt => json!({"type": "json_object"}),
    };
    let mut text: Value = get(&request.params, "text").filter(Value::is_object).unwrap_or_else(|| json!({}));
    text["format"] = format;
    if matches!(form, Form::JsonMode | Form::Prompt) {
        let mut words = instruction(Some(&schema.schema.to_string()));
        if let Some(Value::String(own)) = get(&request.params, "instructions") {
            words = format!("{own}\n\n{words}");
        }
        set(&mut request.params, "instructions", &words.into());
    } else {
        text["format"]["schema"] = fitted(support, schema, form);
    }
    set(&mut request.params, "text", &text);
}

/// Adds an instruction to the conversation: to its first message, if that is of the system, and otherwise as one. Models whose
/// template has one system message only refuse a second.
fn instruct(params: &mut Params, words: &str) {
    let Some(mut messages) =
        params.get("messages").and_then(|json| serde_json::from_slice::<Vec<&RawValue>>(json).ok())
    else {
        return;
    };
    let first = messages.first().and_then(|first| serde_json::from_str::<Value>(first.get()).ok());
    let first = first.filter(|first| matches!(first["role"].as_str(), Some("system" | "developer")));
    let message = match first {
        Some(mut first) => {
            match &mut first["content"] {
                Value::Array(parts) => parts.push(json!({"type": "text", "text": words})),
                content => *content = format!("{}\n\n{words}", content.as_str().unwrap_or_default()).into(),
            }
            messages.remove(0);
            first
        }
        None => json!({"role": "system", "content": words}),
    };
    let message = message.to_string();
    let mut written = format!("[{message}");
    for message in messages {
        written.push(',');
        written.push_str(message.get());
    }
    written.push(']');
    params.set("messages", written.as_bytes());
}

fn get(params: &Params, name: &str) -> Option<Value> {
    serde_json::from_slice(params.get(name)?).ok()
}

fn set(params: &mut Params, name: &str, value: &Value) {
    params.set(name, value.to_string().as_bytes());
}
