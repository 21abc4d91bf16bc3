//! Function calls with streamed arguments, each value with its JSON path, which Vertex AI sends on request
//! (`streamFunctionCallArguments`).
//!
//! <https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/function-calling#streaming-fc>

use serde_json::{Map, Value, json};

use super::answer::FunctionCall;

/// A call whose arguments are not complete.
#[derive(Debug)]
pub(super) struct PartialCall {
    /// Index among the calls of the message.
    pub index: u32,
    /// Native part of the call, without its arguments.
    part: Map<String, Value>,
    args: Value,
}

/// Upper bound of indexes in lists of arguments, since a list is filled up to an index; higher ones are ignored.
const MAX_LIST_LENGTH: usize = 10_000;

impl PartialCall {
    /// Creates a call that begins with this part.
    pub fn begin(index: u32, part: Map<String, Value>) -> Self {
        Self { index, part, args: json!({}) }
    }

    /// Adds the arguments of a delta.
    pub fn add(&mut self, call: &FunctionCall) {
        if let Some(Value::Object(whole)) = call.args.and_then(|args| serde_json::from_str(args.get()).ok())
            && let Some(args) = self.args.as_object_mut()
        {
            args.extend(whole);
        }
        let partial_args: Vec<Value> =
            call.partial_args.and_then(|list| serde_json::from_str(list.get()).ok()).unwrap_or_default();
        for partial in &partial_args {
            if let (Some(path), Some(value)) = (partial["jsonPath"].as_str(), value_of(partial)) {
                put(&mut self.args, &steps(path), value);
            }
        }
    }

    /// Returns the arguments as text, and the native part in the format of an answer that is not streamed.
    pub fn end(self) -> (String, Map<String, Value>) {
        let Self { mut part, args, .. } = self;
        let text = args.to_string();
        if let Some(call) = part.get_mut("functionCall").and_then(Value::as_object_mut) {
            call.shift_remove("partialArgs");
            call.shift_remove("willContinue");
            call.insert("args".to_owned(), args);
        }
        (text, part)
    }
}

/// Returns the value of a partial argument, which has one of these members.
fn value_of(partial: &Value) -> Option<Value> {
    if let Some(text) = partial.get("stringValue") {
        return Some(text.clone());
    }
    if let Some(number) = partial.get("numberValue") {
        // Numbers are sent as doubles, even if the function's schema has integers.
        let whole = number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < (1u64 << 53) as f64);
        return Some(whole.map_or_else(|| number.clone(), |whole| (whole as i64).into()));
    }
    partial.get("boolValue").cloned().or_else(|| partial.get("nullValue").map(|_| Value::Null))
}

/// A segment of a path: a member of an object or an item of a list.
enum Step {
    Name(String),
    Index(usize),
}

/// Parses a normalised JSON path, such as `$.a.b[0]['c d']`: <https://www.rfc-editor.org/rfc/rfc9535#section-2.7>.
fn steps(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = path.strip_prefix('$').unwrap_or(path);
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            match inside.chars().next().filter(|quote| matches!(quote, '\'' | '"')) {
                Some(quote) => {
                    let (name, length) = quoted_name(&inside[1..], quote);
                    steps.push(Step::Name(name));
                    rest = inside[1 + length..].strip_prefix(']').unwrap_or_default();
                }
                None => {
                    let (index, after) = inside.split_once(']').unwrap_or((inside, ""));
                    steps.push(index.parse().map_or_else(|_| Step::Name(index.to_owned()), Step::Index));
                    rest = after;
                }
            }
        } else {
            let name = rest.strip_prefix('.').unwrap_or(rest);
            let end = name.find(['.', '[']).unwrap_or(name.len());
            if end > 0 {
                steps.push(Step::Name(name[..end].to_owned()));
            }
            rest = &name[end..];
        }
    }
    steps
}

/// Parses a name up to its closing quote; also returns its length in bytes, with the quote.
fn quoted_name(text: &str, quote: char) -> (String, usize) {
    let mut name = String::new();
    let mut letters = text.char_indices();
    while let Some((index, letter)) = letters.next() {
        match letter {
            '\\' => name.extend(letters.next().map(|(_, letter)| letter)),
            letter if letter == quote => return (name, index + 1),
            letter => name.push(letter),
        }
    }
    (name, text.len())
}

/// Sets the value at a path; text is appended to text that is there.
fn put(mut target: &mut Value, steps: &[Step], value: Value) {
    for step in steps {
        target = match step {
            Step::Name(name) => {
                if !target.is_object() {
                    *target = json!({});
                }
                target.as_object_mut().expect("made above").entry(name.as_str()).or_insert(Value::Null)
            }
            Step::Index(index) if *index < MAX_LIST_LENGTH => {
                if !target.is_array() {
                    *target = json!([]);
                }
                let list = target.as_array_mut().expect("made above");
                if list.len() <= *index {
                    list.resize(index + 1, Value::Null);
                }
                &mut list[*index]
            }
            Step::Index(_) => return,
        };
    }
    match (target, value) {
        (Value::String(known), Value::String(more)) => known.push_str(&more),
        (target, value) => *target = value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_find_their_places() {
        let pieces = json!({"partialArgs": [
            {"jsonPath": "$.city", "stringValue": "Bos", "willContinue": true}, {"jsonPath": "$.city", "stringValue": "ton"},
            {"jsonPath": "$.days", "numberValue": 3.0}, {"jsonPath": "$.share", "numberValue": 0.5},
            {"jsonPath": "$.list[1].name", "stringValue": "b"}, {"jsonPath": "$.list[0]['a \\'.b']", "boolValue": true},
            {"jsonPath": "$.none", "nullValue": "NULL_VALUE"}, {"jsonPath": "$.far[99999999]", "boolValue": true}, {"stringValue": "lost"},
        ]})
        .to_string();
        let part = json!({"functionCall": {"name": "f", "willContinue": true}, "thoughtSignature": "s"});
        let mut call = PartialCall::begin(0, part.as_object().unwrap().clone());
        call.add(&serde_json::from_str(&pieces).unwrap());
        let args = json!({"city": "Boston", "days": 3, "share": 0.5, "list": [{"a '.b": true}, {"name": "b"}], "none": null, "far": null});
        let (text, part) = call.end();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), args);
        assert_eq!(Value::Object(part), json!({"functionCall": {"name": "f", "args": args}, "thoughtSignature": "s"}));
    }
}
