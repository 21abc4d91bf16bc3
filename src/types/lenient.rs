//! Members of an answer that may be of another type than documented: read as what they mean, or as absent.
//!
//! Gateways write counts as strings, ids as numbers and null for anything. Such a member is not worth the answer: of
//! 18,440 answers with one leaf changed (`tests/mutants.py`), 2,619 raised before these readers.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::members::Text;

/// A single value that can be made of any JSON: `None`, or the default, where it is of no use.
pub trait Scalar<'a>: Sized {
    /// Reads it.
    fn of(json: &'a str) -> Self;
}

impl<'a> Scalar<'a> for Option<Cow<'a, str>> {
    /// A string, or a number as it is written.
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
    /// A count or a place: a number that is not negative, without its fraction; in quotes too.
    fn of(json: &'a str) -> Self {
        /// Beyond this, floats no longer tell neighbouring numbers apart.
        const MOST: f64 = (1u64 << 53) as f64;
        let number = json.trim_matches('"').trim();
        number.parse().ok().or_else(|| {
            let number = number.parse::<f64>().ok()?;
            (0.0..MOST).contains(&number).then_some(number as u64)
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
    /// Anything but null.
    fn of(json: &'a str) -> Self {
        serde_json::from_str::<&RawValue>(json).ok().filter(|raw| raw.get() != "null")
    }
}

/// For serde's `deserialize_with`: a single value.
pub fn scalar<'de, T: Scalar<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(T::of(<&RawValue>::deserialize(deserializer)?.get()))
}

/// The same for an object: its default where it is none.
pub fn object<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(object_of(<&RawValue>::deserialize(deserializer)?.get()))
}

/// The same for a list of objects.
pub fn list<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(list_of(<&RawValue>::deserialize(deserializer)?.get()))
}

/// An object, or its default where it is none.
pub fn object_of<'a, T: Deserialize<'a> + Default>(json: &'a str) -> T {
    match json.starts_with('{') {
        true => serde_json::from_str(json).unwrap_or_default(),
        false => T::default(),
    }
}

/// The items of a list that can be read; of a single item, that one.
pub fn list_of<'a, T: Deserialize<'a>>(json: &'a str) -> Vec<T> {
    match json.as_bytes().first() {
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
            // serde would also read a list as an object's members in their order.
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
