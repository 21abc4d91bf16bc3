//! Changes to a few members of JSON objects: everything else stays the bytes it was.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::types::members::Members;
use crate::types::object::{ArrayWriter, ObjectWriter, quoted};

/// A JSON object whose members can be changed.
#[derive(Debug)]
pub(super) struct Edited<'a> {
    members: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    is_changed: bool,
}

impl<'a> Edited<'a> {
    /// Reads an object; `None` if the JSON is something else.
    pub fn of(json: &'a str) -> Option<Self> {
        let members = Members::of(json.as_bytes()).ok()?;
        let members = members.0.into_iter().map(|(name, value)| (name, Cow::Borrowed(value.get()))).collect();
        Some(Self { members, is_changed: false })
    }

    /// Returns a member's value, null included.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.members.iter().rev().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// Returns a member's value, unless it is absent or null.
    pub fn some(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| *value != "null")
    }

    /// Returns a member that is a string, unescaped.
    pub fn string(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?).ok()
    }

    /// Sets a member to a value, in JSON; adds the member if there is none of that name.
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

    /// Sets a member to a string, unless it is that string already, however it is escaped.
    pub fn set_string(&mut self, name: &'static str, text: &str) {
        if self.string(name).as_deref() != Some(text) {
            self.set(name, quoted(text));
        }
    }

    /// Removes the members, by name and value, for which `is_out` returns true.
    pub fn remove(&mut self, is_out: impl Fn(&str, &str) -> bool) {
        let before = self.members.len();
        self.members.retain(|(name, value)| !is_out(name, value));
        self.is_changed |= self.members.len() != before;
    }

    /// Sets a member that is there to the value that `change` returns, if it returns one.
    pub fn edit(&mut self, name: &'static str, change: impl FnOnce(&str) -> Option<String>) {
        if let Some(json) = self.get(name).and_then(change) {
            self.set(name, json);
        }
    }

    /// Returns the object's JSON, if anything was changed.
    pub fn finish(self) -> Option<String> {
        if !self.is_changed {
            return None;
        }
        let lengths = self.members.iter().map(|(name, value)| name.len() + value.len() + 4);
        let mut json = ObjectWriter::with_capacity(lengths.sum::<usize>() + 2);
        self.members.iter().for_each(|(name, value)| json.put_raw(name, value.as_bytes()));
        Some(json.finish_text())
    }
}

/// Returns an object's JSON after `change`; `None` if it is no object, or was not changed.
pub(super) fn object(json: &str, change: impl FnOnce(&mut Edited)) -> Option<String> {
    let mut object = Edited::of(json)?;
    change(&mut object);
    object.finish()
}

/// Returns a list's JSON after `change` of its items; `None` if it is no list, or no item was changed.
pub(super) fn list(json: &str, mut change: impl FnMut(&str) -> Option<String>) -> Option<String> {
    let items: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    let changed: Vec<Option<String>> = items.iter().map(|item| change(item.get())).collect();
    if changed.iter().all(Option::is_none) {
        return None;
    }
    let mut written = ArrayWriter::with_capacity(json.len() + 64);
    for (item, changed) in items.iter().zip(&changed) {
        written.push_raw(changed.as_deref().unwrap_or(item.get()));
    }
    Some(written.finish_text())
}

/// Copies an object, with other values for the members for which `change` returns one. The caller may add members.
pub(super) fn copy_with<T: AsRef<[u8]>>(
    members: &Members,
    mut change: impl FnMut(&str, &str) -> Option<T>,
) -> ObjectWriter {
    let lengths = members.0.iter().map(|(name, value)| name.len() + value.get().len() + 4);
    let mut copy = ObjectWriter::with_capacity(lengths.sum::<usize>() + 64);
    for (name, value) in &members.0 {
        match change(name, value.get()) {
            Some(changed) => copy.put_raw(name, changed),
            None => copy.put_raw(name, value.get()),
        }
    }
    copy
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
