//! Hosts with OpenAI's format that a user describes as data.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use super::openai_compatible::{self, OpenAiCompatible};
use super::row::{Key, Row};
use super::{Provider, lookup};
use crate::error::{Error, Result};

/// Description of a host with OpenAI's format.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CustomProvider {
    /// The word before the slash in `provider/model`.
    pub name: String,
    /// Name of the provider whose format it shares.
    pub like: String,
    /// Base URL, with the version segment if it has one.
    pub base_url: String,
    /// Environment variable that holds the key, if a key is required.
    pub key_variable: Option<String>,
    /// Parameters that have another name here: (OpenAI's, the host's).
    pub renamed: Vec<(String, String)>,
    /// Parameters that the host refuses.
    pub unsupported: Vec<String>,
}

/// Name of the provider that a host is like, unless its description says otherwise.
pub const DEFAULT_LIKE: &str = "openai_compatible";

/// Returns the provider with this description.
///
/// The providers live as long as the process, each description once: a row consists of static data.
///
/// # Errors
///
/// `InvalidArgument` if the name is another provider's, or if `like` names none with OpenAI's format.
pub fn custom(description: &CustomProvider) -> Result<&'static dyn Provider> {
    static KNOWN: LazyLock<Mutex<HashMap<CustomProvider, &'static OpenAiCompatible>>> = LazyLock::new(Mutex::default);
    let CustomProvider { name, like, .. } = description;
    if lookup(name).is_some() {
        return Err(Error::argument(format!("providers[{name:?}]: {name} is known already, and is like itself")));
    }
    if name.is_empty() || name.contains('/') {
        return Err(Error::argument(format!("a key of providers is {name:?}: a word without a slash would be right")));
    }
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(provider) = known.get(description) {
        return Ok(*provider);
    }
    let Some(base) = openai_compatible::row(like) else {
        return Err(Error::argument(format!(
            "providers[{name:?}][\"like\"] is {like:?}: the name of a provider with OpenAI's format would be right"
        )));
    };
    let provider: &'static OpenAiCompatible = Box::leak(Box::new(OpenAiCompatible::of(leaked_row(base, description))));
    known.insert(description.clone(), provider);
    Ok(provider)
}

/// Makes the row of a description.
fn leaked_row(base: &'static Row, description: &CustomProvider) -> &'static Row {
    let pairs = description.renamed.iter().map(|(ours, theirs)| (leaked(ours), leaked(theirs)));
    // The pair of the description comes first, and so counts.
    let spelled: Vec<_> = pairs.chain(base.spelled.iter().copied()).collect();
    let unsupported: Vec<_> =
        description.unsupported.iter().map(|name| leaked(name)).chain(base.unsupported.iter().copied()).collect();
    let key_variables: Vec<_> = description.key_variable.iter().map(|name| leaked(name)).collect();
    Box::leak(Box::new(Row {
        name: leaked(&description.name),
        base_url: leaked(&description.base_url),
        key: if key_variables.is_empty() { Key::Optional } else { Key::Required },
        key_variables: key_variables.leak(),
        base_url_variables: &[],
        root_url_variables: &[],
        spelled: spelled.leak(),
        unsupported: unsupported.leak(),
        ..*base
    }))
}

fn leaked(text: &str) -> &'static str {
    Box::leak(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> CustomProvider {
        CustomProvider {
            name: "corp".into(),
            like: DEFAULT_LIKE.into(),
            base_url: "https://llm.corp.example/v1".into(),
            key_variable: Some("CORP_KEY".into()),
            renamed: vec![("max_completion_tokens".into(), "max_tokens".into())],
            unsupported: vec!["logit_bias".into()],
        }
    }

    #[test]
    fn a_description_is_one_provider() {
        let first = custom(&description()).unwrap();
        assert!(std::ptr::eq(first.row(), custom(&description()).unwrap().row()));
        let row = first.row();
        assert_eq!((row.name, row.base_url, row.key), ("corp", "https://llm.corp.example/v1", Key::Required));
        assert!(row.spelled.contains(&("max_completion_tokens", "max_tokens")));
        assert!(!first.endpoints().is_empty());
        // Two clients may mean different hosts by one name.
        let other = CustomProvider { base_url: "https://other.example/v1".into(), ..description() };
        assert_eq!(custom(&other).unwrap().row().base_url, "https://other.example/v1");
        assert!(lookup("corp").is_none());
    }

    #[test]
    fn known_names_and_other_formats_are_refused() {
        let error = |name: &str, like: &str| {
            custom(&CustomProvider { name: name.into(), like: like.into(), ..description() }).err().unwrap().message
        };
        assert!(error("openai", DEFAULT_LIKE).contains("known already"));
        assert!(error("a/b", DEFAULT_LIKE).contains("without a slash"));
        assert!(error("corp2", "anthropic").contains("OpenAI's format would be right"));
    }
}
