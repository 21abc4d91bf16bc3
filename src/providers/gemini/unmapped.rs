//! Members of answers that OpenAI's format has no place for, which become `provider_specific_fields`.

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::answer::Rest;

/// The unmapped members of an answer or of a candidate, accumulated from its events.
#[derive(Default)]
pub(super) struct UnmappedMembers(Vec<Member>);

/// A member, with its values from several events.
struct Member {
    name: String,
    values: Vec<Json>,
    /// True once [`UnmappedMembers::take`] has returned it.
    taken: bool,
}

/// A JSON value, parsed only when it is taken.
enum Json {
    Raw(Bytes),
    Parsed(Value),
}

impl UnmappedMembers {
    /// Adds all members of an event.
    pub fn add_all(&mut self, data: &Bytes, rest: &Rest) {
        rest.iter().for_each(|(name, value)| self.add(data, name, value));
    }

    /// Adds a member. A list or object is merged with the values of earlier events, another value replaces them.
    pub fn add(&mut self, data: &Bytes, name: &str, value: &RawValue) {
        let text = value.get().as_bytes();
        let known = self.0.iter_mut().find(|member| member.name == name);
        let is_list_or_object = matches!(text.first(), Some(b'{' | b'['));
        match known {
            None => self.0.push(Member {
                name: name.to_owned(),
                values: vec![Json::Raw(data.slice_ref(text))],
                taken: false,
            }),
            Some(known) if matches!(known.values.last(), Some(Json::Raw(last)) if last == text) => {}
            Some(known) => {
                if !is_list_or_object {
                    known.values.clear();
                }
                known.values.push(Json::Raw(data.slice_ref(text)));
            }
        }
    }

    /// Sets a member that is not taken yet.
    pub fn add_value(&mut self, name: &str, value: Value) {
        self.0.retain(|member| member.name != name || member.taken);
        if !self.0.iter().any(|member| member.name == name) {
            self.0.push(Member { name: name.to_owned(), values: vec![Json::Parsed(value)], taken: false });
        }
    }

    /// Takes the members that were not taken before, the values of each merged.
    pub fn take(&mut self) -> Map<String, Value> {
        let mut members = Map::new();
        for member in self.0.iter_mut().filter(|member| !member.taken) {
            member.taken = true;
            let items_are_new = member.name == "logprobsResult";
            let mut whole = Value::Null;
            for value in member.values.drain(..) {
                let value = match value {
                    Json::Raw(text) => serde_json::from_slice(&text).unwrap_or_default(),
                    Json::Parsed(value) => value,
                };
                merge(&mut whole, value, items_are_new);
            }
            members.insert(member.name.clone(), whole);
        }
        members
    }
}

/// Merges a later event's value of a member into that of earlier ones. Some events repeat earlier items, so a list gets
/// only items that it does not have, unless `items_are_new`.
fn merge(known: &mut Value, value: Value, items_are_new: bool) {
    match (known, value) {
        (Value::Object(known), Value::Object(members)) => {
            for (name, value) in members {
                merge(known.entry(name).or_insert(Value::Null), value, items_are_new);
            }
        }
        (Value::Array(known), Value::Array(items)) => {
            for item in items {
                if items_are_new || !known.contains(&item) {
                    known.push(item);
                }
            }
        }
        (known, value) => *known = value,
    }
}
