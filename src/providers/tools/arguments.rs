//! The arguments of a call: a JSON object in a string, in OpenAI's format.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::types::members::Text;
use crate::types::object::quoted;

/// How often JSON may stand in a string within a string.
const NESTING: usize = 3;

/// What a call is given, in the text of a JSON object; or as it is, where it is none (a call that was cut off, say).
///
/// Nothing, null, an empty string and "null" are what hosts and models write where there are no arguments.
pub(in crate::providers) fn text(given: Option<&str>) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(given.unwrap_or_default().trim());
    for _ in 0..NESTING {
        if !text.starts_with('"') {
            break;
        }
        match serde_json::from_str::<Text>(&text).map(|inside| inside.0.trim().to_owned()) {
            Ok(inside) => text = Cow::Owned(inside),
            Err(_) => break,
        }
    }
    if matches!(&*text, "" | "null") { Cow::Borrowed("{}") } else { text }
}

/// The same as the object that it is; `None` where it is none.
pub(in crate::providers) fn object(given: Option<&str>) -> Option<Box<RawValue>> {
    let text = text(given);
    text.starts_with('{').then(|| RawValue::from_string(text.into_owned()).ok()).flatten()
}

/// The same as an object in any case, for wires that take nothing else: text that is none goes into one, as
/// <https://platform.claude.com/docs/en/agents-and-tools/tool-use/fine-grained-tool-streaming> says.
pub(in crate::providers) fn some_object(given: Option<&str>) -> Box<RawValue> {
    object(given).unwrap_or_else(|| {
        let wrapped = format!(r#"{{"INVALID_JSON":{}}}"#, quoted(&text(given)));
        RawValue::from_string(wrapped).expect("a string is JSON")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_an_empty_object_and_strings_are_opened() {
        for nothing in
            [None, Some("null"), Some("\"\""), Some("\"null\""), Some("\" \""), Some("\"\\\"\\\"\""), Some("{}")]
        {
            assert_eq!(text(nothing), "{}", "{nothing:?}");
            assert_eq!(object(nothing).unwrap().get(), "{}");
        }
        for given in [r#"{"a":1.50}"#, r#""{\"a\":1.50}""#, r#""\"{\\\"a\\\":1.50}\"""#] {
            assert_eq!(text(Some(given)), r#"{"a":1.50}"#);
        }
        assert_eq!(text(Some(r#""{\"a\":""#)), r#"{"a":"#);
        assert!(object(Some(r#""{\"a\":""#)).is_none() && object(Some("[1]")).is_none());
        assert_eq!(some_object(Some(r#""{\"a\":""#)).get(), r#"{"INVALID_JSON":"{\"a\":"}"#);
        assert_eq!(some_object(None).get(), "{}");
    }
}
