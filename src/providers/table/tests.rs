use super::TABLE;
use crate::providers::{Key, Operation, openai_parameters};

/// Returns true for a chat parameter of OpenAI's, beside the messages.
fn is_openai_parameter(name: &str) -> bool {
    name != "messages" && openai_parameters(Operation::Chat).any(|known| known == name)
}

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
            assert!(is_openai_parameter(openai), "{}: {openai}", row.name);
            assert!(openai != own && !row.unsupported.contains(openai), "{}: {openai}", row.name);
        }
        for parameter in row.unsupported {
            assert!(is_openai_parameter(parameter), "{}: {parameter}", row.name);
        }
        assert!(!(row.stream_usage && row.usage_unasked), "{}", row.name);
    }
}
