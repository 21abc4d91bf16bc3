//! Shallow JSON parsing: the members of an object in their order, with unparsed values, so that an object can be
//! inspected without parsing all of it.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Parses a JSON text. UTF-8 is validated once for the whole text, instead of once for each string in it.
///
/// # Errors
///
/// Returns the parser's error if the text is not JSON, or not of the type `T`.
pub fn read<'a, T: Deserialize<'a>>(json: &'a [u8]) -> serde_json::Result<T> {
    match std::str::from_utf8(json) {
        Ok(text) => serde_json::from_str(text),
        // The slower parser reports the position of the error, and accepts invalid UTF-8 inside raw values.
        Err(_) => serde_json::from_slice(json),
    }
}

/// The members of a JSON object, in order, each value as unparsed text.
#[derive(Debug, Default)]
pub struct Members<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Parses an object.
    ///
    /// # Errors
    ///
    /// Returns the parser's error if the text is not a JSON object.
    pub fn of(json: &'a [u8]) -> serde_json::Result<Self> {
        read(json)
    }

    /// Returns the JSON text of a member; of the last one if the name is repeated, as JSON parsers do.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|(member, _)| member == name).map(|(_, value)| value.get())
    }

    /// Returns the JSON text of a member, unless it is absent or null.
    pub fn some(&self, name: &str) -> Option<&'a str> {
        self.get(name).filter(|value| *value != "null")
    }

    /// Returns the unescaped value of a member that is a string.
    pub fn string(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?).ok()
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A struct that receives the members of an object one by one, so that it can keep those that it has no field for.
pub trait Fields<'de>: Default {
    /// Reads the value of the next member from `map`; required for every name, known or not.
    ///
    /// # Errors
    ///
    /// Returns the parser's error if the value cannot be read.
    fn field<A: MapAccess<'de>>(&mut self, name: Cow<'de, str>, map: &mut A) -> Result<(), A::Error>;
}

/// Deserializes an object into a [`Fields`] struct, for serde's `deserialize_with`.
///
/// # Errors
///
/// Returns the parser's error if the value is not an object, or that of [`Fields::field`].
pub fn fields<'de, T: Fields<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Object<T>(std::marker::PhantomData<T>);
    impl<'de, T: Fields<'de>> Visitor<'de> for Object<T> {
        type Value = T;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a JSON object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
            let mut fields = T::default();
            while let Some(Text(name)) = map.next_key()? {
                fields.field(name, &mut map)?;
            }
            Ok(fields)
        }
    }
    deserializer.deserialize_map(Object(std::marker::PhantomData))
}

/// A string that is borrowed from the JSON text unless it contains escapes.
#[derive(Debug, Default, Clone)]
pub struct Text<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrow)
    }
}
