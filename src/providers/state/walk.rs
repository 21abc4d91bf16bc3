//! A walk through JSON that finds the members which name state.

use memchr::memchr_iter;
use serde_json::Value;

/// Members whose value is an id, or a list of ids.
const IDS: &[&str] = &[
    "approval_request_id",
    "batch_id",
    "cachedContent",
    "cached_content",
    "container_id",
    "dataStore",
    "data_store",
    "error_file_id",
    "fileSearchStoreNames",
    "fileUri",
    "file_id",
    "file_ids",
    "file_search_store_names",
    "file_uri",
    "guardrailIdentifier",
    "input_file_id",
    "output_file_id",
    "previous_response_id",
    "ragCorpora",
    "ragCorpus",
    "rag_corpora",
    "rag_corpus",
    "skill_id",
    "vector_store_id",
    "vector_store_ids",
];

/// Members whose value is an id or an object that has one. The container of a code interpreter may be `{"type": "auto"}`.
const OBJECTS: &[&str] = &["container", "conversation"];

/// Members whose value has an id where it is an object: a stored prompt (elsewhere a text), and the audio of an earlier answer
/// (elsewhere the format of a new one).
const OBJECTS_ALONE: &[&str] = &["audio", "prompt"];

/// Members whose value names a data store or an application of Vertex AI Search; elsewhere `engine` is no id.
const SEARCHES: &[&str] = &["vertexAiSearch", "vertex_ai_search"];

/// Members that hold the caller's own data: arguments and schemas of functions, and what functions returned.
const FOREIGN: &[&str] = &[
    "args",
    "arguments",
    "input",
    "input_schema",
    "inputSchema",
    "json_schema",
    "metadata",
    "parameters",
    "parametersJsonSchema",
    "response",
    "responseSchema",
    "responseJsonSchema",
    "schema",
    "text",
    "tool_calls",
];

/// Begin of the text of every member that is looked for below the top. Most requests have none of them, and are not parsed.
const MENTIONS: &[&str] = &[
    "\"approval_request_id",
    "\"audio\"",
    "\"compaction\"",
    "\"container",
    "\"file",
    "\"guardrailIdentifier",
    "\"image_generation_call\"",
    "\"input_file_id",
    "\"item_reference",
    "\"output_file_id",
    "\"reasoning\"",
    "\"skill_id",
    "\"vector_store_id",
    "\"vertex",
];

/// True for the bytes that follow the quote in [`MENTIONS`].
const SECOND_BYTES: [bool; 256] = {
    let mut bytes = [false; 256];
    let mut index = 0;
    while index < MENTIONS.len() {
        bytes[MENTIONS[index].as_bytes()[1] as usize] = true;
        index += 1;
    }
    bytes
};

/// Returns true if a JSON text may name state below its top. One pass over its quotes: a search for each name took two thirds
/// of the instructions that a router added to a call.
pub(super) fn mentions_state(json: &[u8]) -> bool {
    memchr_iter(b'"', json).any(|at| {
        let is_candidate = json.get(at + 1).is_some_and(|byte| SECOND_BYTES[usize::from(*byte)]);
        is_candidate && MENTIONS.iter().any(|words| json[at..].starts_with(words.as_bytes()))
    })
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The ids, in their order.
    pub ids: Vec<String>,
    /// The ids of encrypted reasoning.
    pub sealed: Vec<String>,
}

impl Found {
    /// Reads a parameter of a request.
    pub fn read(&mut self, name: &str, json: &[u8]) {
        let may_be_id = IDS.contains(&name) || OBJECTS.contains(&name) || OBJECTS_ALONE.contains(&name);
        if (may_be_id || mentions_state(json))
            && let Ok(value) = serde_json::from_slice::<Value>(json)
        {
            self.member(name, &value);
            // What is the caller's own below the top is the conversation here.
            if FOREIGN.contains(&name) && !matches!(name, "metadata" | "parameters") {
                self.walk(&value);
            }
        }
    }

    /// Looks for members in a value.
    pub fn walk(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.walk(item)),
            Value::Object(members) => {
                let kind = members.get("type").and_then(Value::as_str);
                let text = |name: &str| members.get(name).and_then(Value::as_str);
                match kind {
                    Some("item_reference") => self.push(members.get("id")),
                    // Without its content, an item stands for one that is stored.
                    Some("image_generation_call") if text("result").is_none() => self.push(members.get("id")),
                    Some("reasoning" | "compaction") => match text("encrypted_content") {
                        Some(_) => self.sealed.extend(text("id").map(str::to_owned)),
                        None => self.push(members.get("id")),
                    },
                    _ => {}
                }
                // Anthropic's own skills are those of every account.
                let is_own = |name: &str| name != "skill_id" || kind != Some("anthropic");
                members.iter().filter(|(name, _)| is_own(name)).for_each(|(name, value)| self.member(name, value));
            }
            _ => {}
        }
    }

    fn member(&mut self, name: &str, value: &Value) {
        match () {
            () if IDS.contains(&name) => match value {
                Value::Array(ids) => ids.iter().for_each(|id| self.push(Some(id))),
                id => self.push(Some(id)),
            },
            () if OBJECTS.contains(&name) => match value {
                Value::Object(object) => {
                    self.push(object.get("id"));
                    self.walk(value);
                }
                id => self.push(Some(id)),
            },
            () if SEARCHES.contains(&name) => {
                ["datastore", "engine"].iter().for_each(|name| self.push(value.get(name)));
                self.walk(value);
            }
            () if OBJECTS_ALONE.contains(&name) => self.push(value.get("id")),
            () if FOREIGN.contains(&name) => {}
            () => self.walk(value),
        }
    }

    fn push(&mut self, id: Option<&Value>) {
        if let Some(id) = id.and_then(Value::as_str).filter(|id| !id.is_empty() && *id != "auto") {
            self.ids.push(id.to_owned());
        }
    }
}
