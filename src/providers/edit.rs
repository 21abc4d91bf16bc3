//! JSON of which a little is changed: everything else stays the bytes it was.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::types::members::Members;
use crate::types::object::quoted;

/// An object of which members change.
#[derive(Debug)]
pub(super) struct Edited<'a> {
    members: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    is_changed: bool,
}

impl<'a> Edited<'a> {
    /// Reads an object; `None`: it is none.
    pub fn of(json: &'a str) -> Option<Self> {
        let members = Members::of(json.as_bytes()).ok()?;
        let members = members.0.into_iter().map(|(name, value)| (name, Cow::Borrowed(value.get()))).collect();
        Some(Self { members, is_changed: false })
    }

    /// A member's value, whatever it is.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.members.iter().rev().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// A member's value, unless it is absent or null.
    pub fn some(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| *value != "null")
    }

    /// A member that is a string, unescaped.
    pub fn string(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?).ok()
    }

    /// Gives a member this value, in JSON.
    pub fn set(&mut self, name: &'static str, json: String) {
        if self.get(name) == Some(&json) {
            return;
        }
        self.is_changed = true;
        match self.members.iter_mut().rev().find(|(known, _)| known == name) {
            Some((_, value)) => *value = json.into(),
            None => self.members.push((name.into(), json.into())),
        }
    }

    /// Gives a member a string.
    pub fn set_string(&mut self, name: &'static str, text: &str) {
        if self.string(name).as_deref() != Some(text) {
            self.set(name, quoted(text));
        }
    }

    /// Leaves members out.
    pub fn remove(&mut self, is_out: impl Fn(&str, &str) -> bool) {
        let before = self.members.len();
        self.members.retain(|(name, value)| !is_out(name, value));
        self.is_changed |= self.members.len() != before;
    }

    /// Changes a member that is there: `change` gives its new value, if it has another.
    pub fn edit(&mut self, name: &'static str, change: impl FnOnce(&str) -> Option<String>) {
        if let Some(json) = self.get(name).and_then(change) {
            self.set(name, json);
        }
    }

    /// The object's JSON, if anything was changed.
    pub fn finish(self) -> Option<String> {
        if !self.is_changed {
            return None;
        }
        let mut json = String::from("{");
        for (name, value) in &self.members {
            if json.len() > 1 {
                json.push(',');
            }
            json += &quoted(name);
            json.push(':');
            json += value;
        }
        json.push('}');
        Some(json)
    }
}

/// An object after `change`; `None`: it is none, or was not changed.
pub(super) fn object(json: &str, change: impl FnOnce(&mut Edited)) -> Option<String> {
    let mut object = Edited::of(json)?;
    change(&mut object);
    object.finish()
}

/// A list after `change` of its items; `None`: it is none, or none of them was changed.
pub(super) fn list(json: &str, mut change: impl FnMut(&str) -> Option<String>) -> Option<String> {
    let items: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    let changed: Vec<Option<String>> = items.iter().map(|item| change(item.get())).collect();
    if changed.iter().all(Option::is_none) {
        return None;
    }
    let mut written = String::with_capacity(json.len() + 64);
    for (item, changed) in items.iter().zip(&changed) {
        written.push(if written.is_empty() { '[' } else { ',' });
        written += changed.as_deref().unwrap_or(item.get());
    }
    Some(written + "]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_changed_stays_as_it_was() {
        let json = r#"[{"a": 1.50, "b": "x"},{"b":null}, 1e400]"#;
        let change =
            |item: &str| object(item, |object| object.edit("b", |value| (value != "null").then(|| "[ ]".into())));
        assert_eq!(list(json, change).unwrap(), r#"[{"a":1.50,"b":[ ]},{"b":null},1e400]"#);
        assert_eq!(
            list(json, |item| object(item, |object| object.set_string("b", "x"))).unwrap(),
            r#"[{"a": 1.50, "b": "x"},{"b":"x"},1e400]"#
        );
        assert_eq!(list(json, |item| object(item, |object| object.remove(|name, _| name == "c"))), None);
    }
}
