//! Lenient deserialization of members whose JSON type may differ from the documented one: the value is converted where
//! its meaning is clear, and treated as absent otherwise.
//!
//! Gateways write counts as strings, ids as numbers, and null for anything. Such a member must not cost the answer: of
//! 18,440 answers with one leaf changed (`tests/mutants.py`), 2,619 raised before these deserializers existed.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::members::Text;

/// A scalar that can be converted from any JSON value: `None` or the default if the value is unusable.
pub trait Scalar<'a>: Sized {
    /// Converts a JSON text.
    fn of(json: &'a str) -> Self;
}

impl<'a> Scalar<'a> for Option<Cow<'a, str>> {
    /// Accepts a string, or a number in the notation in which it is written.
    fn of(json: &'a str) -> Self {
        match json.as_bytes().first()? {
            b'"' => serde_json::from_str::<Text>(json).ok().map(|text| text.0),
            b'-' | b'0'..=b'9' => Some(Cow::Borrowed(json)),
            _ => None,
        }
    }
}

impl<'a> Scalar<'a> for Cow<'a, str> {
    fn of(json: &'a str) -> Self {
        Option::<Cow<str>>::of(json).unwrap_or_default()
    }
}

impl<'a> Scalar<'a> for Option<Text<'a>> {
    fn of(json: &'a str) -> Self {
        Option::<Cow<str>>::of(json).map(Text)
    }
}

impl<'a> Scalar<'a> for Text<'a> {
    fn of(json: &'a str) -> Self {
        Text(Cow::of(json))
    }
}

impl<'a> Scalar<'a> for Option<String> {
    fn of(json: &'a str) -> Self {
        Option::<Cow<str>>::of(json).map(Cow::into_owned)
    }
}

impl<'a> Scalar<'a> for String {
    fn of(json: &'a str) -> Self {
        Cow::of(json).into_owned()
    }
}

impl<'a> Scalar<'a> for Option<u64> {
    /// Accepts a non-negative number, in quotes too, and truncates its fraction.
    fn of(json: &'a str) -> Self {
        /// Limit above which neighbouring integers have no distinct representation as floats.
        const MAX_EXACT: f64 = (1u64 << 53) as f64;
        let number = json.trim_matches('"').trim();
        number.parse().ok().or_else(|| {
            let number = number.parse::<f64>().ok()?;
            (0.0..MAX_EXACT).contains(&number).then_some(number as u64)
        })
    }
}

impl<'a> Scalar<'a> for u64 {
    fn of(json: &'a str) -> Self {
        Option::<u64>::of(json).unwrap_or(0)
    }
}

impl<'a> Scalar<'a> for bool {
    fn of(json: &'a str) -> Self {
        matches!(json, "true" | "\"true\"" | "1")
    }
}

impl<'a> Scalar<'a> for Option<&'a RawValue> {
    /// Accepts any value but null.
    fn of(json: &'a str) -> Self {
        serde_json::from_str::<&RawValue>(json).ok().filter(|raw| raw.get() != "null")
    }
}

/// Deserializes a scalar leniently, for serde's `deserialize_with`.
///
/// # Errors
///
/// Returns the parser's error if the value is not JSON.
pub fn scalar<'de, T: Scalar<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(T::of(<&RawValue>::deserialize(deserializer)?.get()))
}

/// Deserializes an object leniently: the default if the value is not an object of the expected shape.
///
/// # Errors
///
/// Returns the parser's error if the value is not JSON.
pub fn object<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(object_of(<&RawValue>::deserialize(deserializer)?.get()))
}

/// Deserializes a list of objects leniently: see [`list_of`].
///
/// # Errors
///
/// Returns the parser's error if the value is not JSON.
pub fn list<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(list_of(<&RawValue>::deserialize(deserializer)?.get()))
}

/// Parses an object, and returns the default if the text is not an object of the expected shape.
pub fn object_of<'a, T: Deserialize<'a> + Default>(json: &'a str) -> T {
    match json.starts_with('{') {
        true => serde_json::from_str(json).unwrap_or_default(),
        false => T::default(),
    }
}

/// Parses a list of objects and skips unreadable items; a single object is a list of one.
pub fn list_of<'a, T: Deserialize<'a>>(json: &'a str) -> Vec<T> {
    match json.as_bytes().first() {
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
            // serde also accepts an array for a struct, as the values of its fields in order.
            let objects = items.into_iter().filter(|item| item.get().starts_with('{'));
            objects.filter_map(|item| serde_json::from_str(item.get()).ok()).collect()
        }
        Some(b'{') => serde_json::from_str(json).into_iter().collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_what_it_means_or_absent() {
        for (json, text, count) in [
            (r#""a\n""#, Some("a\n"), None),
            ("7", Some("7"), Some(7)),
            (r#""7""#, Some("7"), Some(7)),
            ("2.5", Some("2.5"), Some(2)),
            ("-1", Some("-1"), None),
            ("1e308", Some("1e308"), None),
            ("1e999", Some("1e999"), None),
            ("18446744073709551616", Some("18446744073709551616"), None),
            ("null", None, None),
            ("true", None, None),
            ("[]", None, None),
            ("{}", None, None),
            (r#""""#, Some(""), None),
        ] {
            assert_eq!(Option::<Cow<str>>::of(json).as_deref(), text, "{json}");
            assert_eq!(Option::<u64>::of(json), count, "{json}");
        }
        assert!(bool::of("true") && !bool::of("null") && !bool::of("[true]"));
    }

    #[test]
    fn items_that_are_none_are_left_out() {
        #[derive(serde::Deserialize, Debug, PartialEq, Default)]
        struct Item {
            #[serde(default, deserialize_with = "scalar")]
            n: u64,
        }
        assert_eq!(list_of::<Item>(r#"[null, {"n": "3"}, 5, [], {"n": null}]"#), [Item { n: 3 }, Item { n: 0 }]);
        assert_eq!(list_of::<Item>(r#"{"n": 1}"#), [Item { n: 1 }]);
        assert_eq!(list_of::<Item>("null"), []);
        assert_eq!(object_of::<Item>("[]"), Item { n: 0 });
    }
}
