//! State at providers: the ids that a request names, and those that an answer has made.
//!
//! The names of members that hold an id are the same wherever they stand, so that one walk serves every wire:
//!
//! - OpenAI: <https://platform.openai.com/docs/api-reference/responses/create>, <https://platform.openai.com/docs/guides/audio>
//! - Anthropic: <https://platform.claude.com/docs/en/build-with-claude/files>,
//!   <https://platform.claude.com/docs/en/agents-and-tools/tool-use/code-execution-tool#container-reuse>
//! - Gemini: <https://ai.google.dev/api/caching>, <https://ai.google.dev/gemini-api/docs/files>
//! - Vertex AI: <https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/Tool>
//! - Bedrock: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_GuardrailConfiguration.html>

#[cfg(test)]
mod tests;
mod walk;

use serde_json::Value;

use self::walk::{Found, mentions_state};
use super::Operation;
use crate::types::binding::Binding;
use crate::types::members::Members;
use crate::types::operation::Output;
use crate::types::request::Request;

/// Parameters that let the provider run something, beside tools: (name, true if the value has to be `true`). OpenAI's and
/// OpenRouter's web searches, Anthropic's MCP servers, xAI's and DashScope's searches.
const SERVER_SIDE: &[(&str, bool)] = &[
    ("background", true),
    ("web_search_options", false),
    ("mcp_servers", false),
    ("plugins", false),
    ("search_parameters", false),
    ("enable_search", true),
];

/// Types of tools that the caller runs, or prefixes of them: OpenAI's, and Anthropic's for its own clients.
const CLIENT_TOOLS: &[&str] =
    &["function", "custom", "local_shell", "apply_patch", "bash_", "text_editor_", "memory_", "namespace"];

/// Members of Gemini's tools that the caller runs.
const DECLARATIONS: &[&str] = &["functionDeclarations", "function_declarations"];

/// Returns what binds a request to the state that a provider keeps.
pub fn binding(request: &Request) -> Binding {
    let Examined { found, runs_nothing, store } = examine(request);
    let creates = matches!(request.operation, Operation::FileCreate | Operation::BatchCreate | Operation::BatchSubmit);
    // Responses are stored unless the caller says no.
    let repeatable = runs_nothing && !creates && !store.unwrap_or(request.operation == Operation::Responses);
    Binding { ids: found.ids, repeatable, sealed: found.sealed }
}

/// Returns true if an answer depends on nothing but the request, so that it may be given to another call that asks the same:
/// the request names no state, has the provider run nothing, and does not say that the answer is to be stored.
pub fn is_self_contained(request: &Request) -> bool {
    let is_of_model = request.operation.spec().has_model && request.upload.is_none();
    if !is_of_model {
        return false;
    }
    let Examined { found, runs_nothing, store } = examine(request);
    runs_nothing && found.ids.is_empty() && store != Some(true)
}

/// What a request says of state.
struct Examined {
    found: Found,
    /// True if the provider runs none of the tools.
    runs_nothing: bool,
    /// True if the answer is to be stored, false if it is not to be; `None` if nothing is said.
    store: Option<bool>,
}

fn examine(request: &Request) -> Examined {
    let mut found = Found::default();
    let mut runs_nothing = true;
    let mut store = None;
    for (name, json) in request.params.iter() {
        if let Some((_, needs_true)) = SERVER_SIDE.iter().find(|(known, _)| *known == name) {
            runs_nothing &= if *needs_true { json != b"true" } else { matches!(json, b"null" | b"[]") };
        }
        match name {
            "store" => store = (json != b"null").then_some(json == b"true"),
            "tools" => {
                runs_nothing &= !has_server_tool(json);
                found.read(name, json);
            }
            // The cursor of a page is an id of the account.
            "after" if !request.operation.spec().has_model => found.read("file_id", json),
            _ => found.read(name, json),
        }
    }
    Examined { found, runs_nothing, store }
}

/// Returns true if the provider runs one of the tools.
fn has_server_tool(json: &[u8]) -> bool {
    let tools: Vec<&serde_json::value::RawValue> = serde_json::from_slice(json).unwrap_or_default();
    tools.iter().filter_map(|tool| Members::of(tool.get().as_bytes()).ok()).any(|tool| match tool.string("type") {
        Some(kind) => {
            !CLIENT_TOOLS.iter().any(|known| kind == *known || known.ends_with('_') && kind.starts_with(known))
        }
        // Anthropic's tools of the caller have a schema, Bedrock's a specification; Gemini's are named by their member.
        None => {
            let is_client =
                |name: &str| DECLARATIONS.contains(&name) || matches!(name, "function" | "toolSpec" | "cachePoint");
            let is_named = tool.get("name").is_some() || tool.get("input_schema").is_some();
            !is_named && tool.0.iter().any(|(name, _)| !is_client(name))
        }
    })
}

/// Returns the ids of state that an answer has made or tells, an event of a stream included.
pub fn created_ids(operation: Operation, answer: &[u8]) -> Vec<String> {
    let output = operation.spec().output;
    let is_object =
        matches!(output, Output::Response | Output::FileObject | Output::FilePage | Output::Batch | Output::BatchPage);
    if !is_object && (output != Output::ChatCompletion || !mentions_state(answer)) {
        return Vec::new();
    }
    let Ok(answer) = serde_json::from_slice::<Value>(answer) else { return Vec::new() };
    let mut found = Found::default();
    // Events of a stream hold the response as a member.
    let object = answer.get("response").unwrap_or(&answer);
    if is_object {
        let items = ["data", "output"].iter().filter_map(|name| object[*name].as_array()).flatten();
        let objects = [object, &answer["item"]].into_iter().chain(items);
        found.ids.extend(objects.filter_map(|object| object["id"].as_str()).map(str::to_owned));
    }
    found.walk(object);
    found.ids.sort_unstable();
    found.ids.dedup();
    found.ids
}
