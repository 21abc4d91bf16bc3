//! JSON templates of the mock's wires.
//!
//! - `"$name"` is a value of the scope; a string with `$name` in it is a text. `"$sequence"` counts from 0.
//! - `"name?": value` is left out if the value is null or false.
//! - `{"$each": name, "do": …}` is `do` for each element of a list, whose members are names of the scope.
//! - `{"$some": name, "do": …, "else": …}` depends on whether a value is there.
//! - `{"$part": name}` is another template of the file, and `"$with": name` adds the members of one.
//!
//! In a list, the values of a directive become elements of that list.

use std::cell::Cell;

use serde_json::{Map, Value};

/// Values that a template can name.
pub(super) struct Scope<'a> {
    /// The file with the parts.
    pub file: &'a Value,
    pub values: &'a Map<String, Value>,
    pub outer: Option<&'a Scope<'a>>,
    /// Next value of `$sequence`.
    pub sequence: &'a Cell<u64>,
}

impl Scope<'_> {
    fn get(&self, name: &str) -> Value {
        if name == "sequence" {
            return self.sequence.replace(self.sequence.get() + 1).into();
        }
        match (self.values.get(name), self.outer) {
            (Some(value), _) => value.clone(),
            (None, Some(outer)) => outer.get(name),
            (None, None) => Value::Null,
        }
    }

    /// Renders a template to one value.
    pub fn render(&self, template: &Value) -> Value {
        match template {
            Value::String(text) => self.text(text),
            Value::Array(_) => Value::Array(self.list(template)),
            Value::Object(members) => {
                if let Some(part) = members.get("$part") {
                    return match self.part(part) {
                        part @ Value::Array(_) => self.list(part).into_iter().next().unwrap_or_default(),
                        part => self.render(part),
                    };
                }
                if members.contains_key("$some") {
                    return self.chosen(members).map(|chosen| self.render(chosen)).unwrap_or_default();
                }
                let mut rendered = Map::new();
                for (name, value) in members {
                    if name == "$with" {
                        if let Value::Object(others) = self.render(self.part(value)) {
                            rendered.extend(others);
                        }
                        continue;
                    }
                    match (name.strip_suffix('?'), self.render(value)) {
                        (Some(_), Value::Null | Value::Bool(false)) => {}
                        (optional, value) => drop(rendered.insert(optional.unwrap_or(name).to_owned(), value)),
                    }
                }
                Value::Object(rendered)
            }
            other => other.clone(),
        }
    }

    /// Renders a template to the elements of a list.
    pub fn list(&self, template: &Value) -> Vec<Value> {
        let mut elements = Vec::new();
        self.extend(template, &mut elements);
        elements
    }

    fn extend(&self, template: &Value, elements: &mut Vec<Value>) {
        match template {
            Value::Array(templates) => templates.iter().for_each(|template| self.extend(template, elements)),
            Value::Object(members) if members.contains_key("$part") => {
                self.extend(self.part(&members["$part"]), elements);
            }
            Value::Object(members) if members.contains_key("$some") => {
                if let Some(chosen) = self.chosen(members) {
                    self.extend(chosen, elements);
                }
            }
            Value::Object(members) if members.contains_key("$each") => {
                let Value::Array(rows) = self.get(members["$each"].as_str().unwrap_or_default()) else { return };
                for row in &rows {
                    let Value::Object(values) = row else { continue };
                    let inner = Scope { file: self.file, values, outer: Some(self), sequence: self.sequence };
                    inner.extend(&members["do"], elements);
                }
            }
            other => elements.push(self.render(other)),
        }
    }

    fn part(&self, name: &Value) -> &Value {
        &self.file[name.as_str().unwrap_or_default()]
    }

    fn chosen<'t>(&self, members: &'t Map<String, Value>) -> Option<&'t Value> {
        let is_there = match self.get(members["$some"].as_str().unwrap_or_default()) {
            Value::Null | Value::Bool(false) => false,
            Value::Array(elements) => !elements.is_empty(),
            Value::String(text) => !text.is_empty(),
            _ => true,
        };
        members.get(if is_there { "do" } else { "else" })
    }

    /// Renders a string: a value, or a text with values in it.
    fn text(&self, text: &str) -> Value {
        if !text.contains('$') {
            return text.into();
        }
        let mut parts = text.split('$');
        let mut rendered = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end = part.find(|end: char| end != '_' && !end.is_ascii_lowercase()).unwrap_or(part.len());
            let value = self.get(&part[..end]);
            if end + 1 == text.len() {
                return value;
            }
            match value {
                Value::String(text) => rendered += &text,
                Value::Null => {}
                value => rendered += &value.to_string(),
            }
            rendered += &part[end..];
        }
        rendered.into()
    }
}
