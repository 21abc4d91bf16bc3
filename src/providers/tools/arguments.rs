//! Arguments of tool calls: a JSON object in a string, in OpenAI's format.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::types::members::Text;
use crate::types::object::ObjectWriter;

/// Maximum number of strings that JSON may be nested in.
const MAX_NESTING: usize = 3;

/// Returns a call's arguments as the text of a JSON object, or unchanged if they are none, such as those of a call that was
/// cut off.
///
/// Hosts and models write nothing, null, an empty string or "null" where there are no arguments.
pub(in crate::providers) fn text(arguments: Option<&str>) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(arguments.unwrap_or_default().trim());
    for _ in 0..MAX_NESTING {
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

/// Returns a call's arguments as a JSON object; `None` if they are none.
pub(in crate::providers) fn object(arguments: Option<&str>) -> Option<Box<RawValue>> {
    let text = text(arguments);
    text.starts_with('{').then(|| RawValue::from_string(text.into_owned()).ok()).flatten()
}

/// Returns a call's arguments as a JSON object for wires that take nothing else. Text that is no object is wrapped in one, as
/// <https://platform.claude.com/docs/en/agents-and-tools/tool-use/fine-grained-tool-streaming> recommends.
pub(in crate::providers) fn some_object(arguments: Option<&str>) -> Box<RawValue> {
    object(arguments).unwrap_or_else(|| {
        let mut wrapper = ObjectWriter::with_capacity(64);
        wrapper.put("INVALID_JSON", &*text(arguments));
        RawValue::from_string(wrapper.finish_text()).expect("a string is JSON")
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
