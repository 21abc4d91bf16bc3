use super::TABLE;
use crate::providers::Key;

/// OpenAI's chat parameters, beside `messages`, `model` and `stream`.
const PARAMETERS: &[&str] = &[
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "modalities",
    "moderation",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];

#[test]
fn names_are_unique_and_snake_case() {
    for (index, row) in TABLE.iter().enumerate() {
        let snake = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        assert!(!row.name.is_empty() && row.name.bytes().all(snake), "{}", row.name);
        assert!(TABLE[..index].iter().all(|other| other.name != row.name), "{} twice", row.name);
    }
}

#[test]
fn addresses_are_whole_and_safe() {
    for row in TABLE {
        let loopback = row.base_url.starts_with("http://localhost:");
        assert!(
            row.base_url.is_empty() || loopback || row.base_url.starts_with("https://"),
            "{}: a key must not travel in the clear",
            row.name
        );
        assert!(!row.base_url.ends_with('/'), "{}", row.name);
        assert!(!loopback || row.key == Key::Optional, "{}", row.name);
        assert!(row.docs.starts_with("https://"), "{}", row.name);
        for (_, path) in row.root_url_variables {
            assert!(path.starts_with('/') && !path.ends_with('/'), "{}", row.name);
            let own = row.base_url.is_empty() || row.base_url.ends_with(path);
            assert!(own, "{}: {path} does not end its own base URL", row.name);
        }
    }
}

#[test]
fn a_required_key_can_be_set() {
    for row in TABLE.iter().filter(|row| row.key == Key::Required) {
        assert!(!row.key_variables.is_empty(), "{}", row.name);
    }
}

/// A provider's key goes to that provider alone: no two rows read the same variable.
#[test]
fn variables_belong_to_one_row() {
    let mut seen: Vec<&str> = Vec::new();
    for row in TABLE {
        let roots = row.root_url_variables.iter().map(|(variable, _)| variable);
        for variable in row.key_variables.iter().chain(row.base_url_variables).chain(roots) {
            let constant = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
            assert!(variable.bytes().all(constant), "{variable}");
            assert!(!seen.contains(variable), "{variable} twice");
            seen.push(variable);
        }
    }
}

#[test]
fn differences_name_openai_parameters() {
    for row in TABLE {
        for (openai, own) in row.spelled {
            assert!(PARAMETERS.contains(openai), "{}: {openai}", row.name);
            assert!(openai != own && !row.unsupported.contains(openai), "{}: {openai}", row.name);
        }
        for parameter in row.unsupported {
            assert!(PARAMETERS.contains(parameter), "{}: {parameter}", row.name);
        }
        assert!(!(row.stream_usage && row.usage_unasked), "{}", row.name);
    }
}
