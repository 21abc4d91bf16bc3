//! Names of tools that a host refuses: it is sent others, and the caller's names are restored in its answer.

use std::borrow::Cow;

use serde::Deserialize;

use super::super::edit::{self, Edited};
use super::grammar::{Grammar, Words};
use crate::types::members::Text;
use crate::types::params::Params;

/// Tools of a call that have another name at the host: (the caller's name, the name that is sent).
#[derive(Debug, Default)]
pub(in crate::providers) struct Renamed(Vec<(String, String)>);

/// Types of tools whose name the caller chooses.
pub(super) const KINDS: [&str; 2] = ["function", "custom"];

/// A tool of one of OpenAI's two types or of the host's own.
#[derive(Default, Deserialize)]
struct Tool<'a> {
    #[serde(borrow)]
    function: Option<Named<'a>>,
    #[serde(borrow)]
    custom: Option<Named<'a>>,
    /// The name, at the top on Responses.
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
}

#[derive(Default, Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
}

impl Renamed {
    /// Finds the tools of a chat call whose names the host refuses.
    pub fn of(grammar: &Grammar, params: &Params) -> Self {
        let Some(tools) = params.get("tools") else { return Self::default() };
        let tools: Vec<Tool> = serde_json::from_slice(tools).unwrap_or_default();
        let name = |tool: Tool| tool.function.or(tool.custom)?.name.map(|name| name.0.into_owned());
        Self::of_names(grammar, tools.into_iter().filter_map(name).collect())
    }

    /// Finds the tools of a call of Responses whose names the host refuses.
    pub fn of_items(grammar: &Grammar, params: &Params) -> Self {
        let Some(tools) = params.get("tools") else { return Self::default() };
        let tools: Vec<Tool> = serde_json::from_slice(tools).unwrap_or_default();
        let name = |tool: Tool| {
            let has_name = tool.kind.is_some_and(|kind| KINDS.contains(&&*kind.0));
            tool.name.filter(|_| has_name).map(|name| name.0.into_owned())
        };
        Self::of_names(grammar, tools.into_iter().filter_map(name).collect())
    }

    fn of_names(grammar: &Grammar, names: Vec<String>) -> Self {
        let mut renamed = Self::default();
        for name in names.iter().filter(|name| !name.is_empty() && !grammar.names.accept(name)) {
            if renamed.sent_name(name).is_none() {
                let is_taken =
                    |sent: &str| names.iter().any(|name| name == sent) || renamed.original_name(sent).is_some();
                let sent = grammar.names.unique(name, is_taken).into_owned();
                renamed.0.push((name.clone(), sent));
            }
        }
        renamed
    }

    /// Returns true if no tool has another name.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the name that is sent for a name of the caller's, if it is another.
    pub fn sent_name(&self, original: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == original).map(|(_, sent)| sent.as_str())
    }

    /// Returns the caller's name for one that was sent, if it is another.
    pub fn original_name(&self, sent: &str) -> Option<&str> {
        self.0.iter().find(|(_, name)| name == sent).map(|(original, _)| original.as_str())
    }

    /// Returns the name that is sent for a call in the history, whose tool may not be among the tools any more.
    pub fn sent_name_of_call<'a>(&'a self, words: &Words, original: &'a str) -> Cow<'a, str> {
        match self.sent_name(original) {
            Some(sent) => sent.into(),
            // An empty name stands for no tool.
            None if original.is_empty() => original.into(),
            None => words.unique(original, |_| false),
        }
    }

    /// Renames the tools of a call, and the choice among them.
    pub fn rename_tools(&self, params: &mut Cow<Params>) {
        if self.is_empty() {
            return;
        }
        let text = |name: &str| params.get(name).and_then(|json| std::str::from_utf8(json).ok());
        let tools = text("tools").and_then(|tools| edit::list(tools, |tool| self.tool(tool)));
        let choice = text("tool_choice").and_then(|choice| self.choice(choice));
        for (name, json) in [("tools", tools), ("tool_choice", choice)] {
            if let Some(json) = json {
                params.to_mut().set(name, json.as_bytes());
            }
        }
    }

    /// Renames the choice of a tool, or of several.
    fn choice(&self, choice: &str) -> Option<String> {
        let allowed = edit::object(choice, |choice| {
            choice.edit("allowed_tools", |allowed| {
                edit::object(allowed, |allowed| {
                    allowed.edit("tools", |tools| edit::list(tools, |tool| self.tool(tool)));
                })
            });
        });
        allowed.or_else(|| self.tool(choice))
    }

    /// Renames a tool, or the choice of one.
    fn tool(&self, tool: &str) -> Option<String> {
        edit::object(tool, |tool| {
            for kind in KINDS {
                tool.edit(kind, |named| edit::object(named, |named| rename(named, |name| self.sent_name(name))));
            }
        })
    }
}

/// Sets `name` of an object to the name that `other` returns for it, if it returns one.
pub(super) fn rename<'a>(named: &mut Edited, other: impl Fn(&str) -> Option<&'a str>) {
    if let Some(name) = named.string("name").as_deref().and_then(other) {
        named.set_string("name", name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_name_that_is_not_taken_is_another_and_comes_back() {
        let tool = |name: &str| json!({"type": "function", "function": {"name": name, "parameters": {"name": "a.b"}}});
        let long = "x".repeat(70);
        let mut params = Params::default();
        params.set("tools", json!([tool("a.b"), tool("a_b"), tool("a:b"), tool(&long)]).to_string().as_bytes());
        params.set("tool_choice", json!({"type": "function", "function": {"name": "a.b"}}).to_string().as_bytes());
        let renamed = Renamed::of(&Grammar::HOSTED, &params);
        let mut told = Cow::Borrowed(&params);
        renamed.rename_tools(&mut told);
        let value = |name: &str| serde_json::from_slice::<Value>(told.get(name).unwrap()).unwrap();
        let tools = value("tools");
        let names: Vec<&str> =
            tools.as_array().unwrap().iter().map(|tool| tool["function"]["name"].as_str().unwrap()).collect();
        assert!(names.iter().all(|name| Grammar::HOSTED.names.accept(name)), "{names:?}");
        assert_eq!(names.iter().collect::<std::collections::HashSet<_>>().len(), 4);
        assert_eq!((names[1], &tools[0]["function"]["parameters"]), ("a_b", &json!({"name": "a.b"})));
        assert_eq!(value("tool_choice")["function"]["name"], names[0]);
    }

    #[test]
    fn one_of_several_allowed_tools_is_renamed_too() {
        let named = |name: &str| json!({"type": "function", "function": {"name": name}});
        let mut params = Params::default();
        params.set("tools", json!([named("a.b"), named("c")]).to_string().as_bytes());
        let allowed =
            json!({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [named("c"), named("a.b")]}});
        params.set("tool_choice", allowed.to_string().as_bytes());
        let mut told = Cow::Borrowed(&params);
        Renamed::of(&Grammar::HOSTED, &params).rename_tools(&mut told);
        let choice: Value = serde_json::from_slice(told.get("tool_choice").unwrap()).unwrap();
        assert_eq!(choice["allowed_tools"]["tools"], json!([named("c"), named("a_b")]));
    }
}
