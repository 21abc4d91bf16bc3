//! A function call whose arguments come in pieces, each with its place in them: what Vertex AI streams where
//! `streamFunctionCallArguments` asks for it.
//!
//! <https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/function-calling#streaming-fc>

use serde_json::{Map, Value, json};

use super::answer::FunctionCall;

/// A call that has begun and not ended.
#[derive(Debug)]
pub(super) struct PartialCall {
    /// Its place among the calls of the message.
    pub index: u32,
    /// The part that began it: its native form, to be completed.
    part: Map<String, Value>,
    args: Value,
}

/// More than any function's list of arguments has; a place beyond it is not filled up to.
const LONGEST_LIST: usize = 10_000;

impl PartialCall {
    /// A call that begins with this part.
    pub fn begin(index: u32, part: Map<String, Value>) -> Self {
        Self { index, part, args: json!({}) }
    }

    /// Adds the next pieces.
    pub fn add(&mut self, call: &FunctionCall) {
        if let Some(Value::Object(whole)) = call.args.and_then(|args| serde_json::from_str(args.get()).ok())
            && let Some(args) = self.args.as_object_mut()
        {
            args.extend(whole);
        }
        let pieces: Vec<Value> =
            call.partial_args.and_then(|pieces| serde_json::from_str(pieces.get()).ok()).unwrap_or_default();
        for piece in &pieces {
            if let (Some(path), Some(value)) = (piece["jsonPath"].as_str(), value_of(piece)) {
                put(&mut self.args, &steps(path), value);
            }
        }
    }

    /// The call's arguments as text, and its native part as the plain call would have had it.
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

/// The value of a piece, which has one of these members.
fn value_of(piece: &Value) -> Option<Value> {
    if let Some(text) = piece.get("stringValue") {
        return Some(text.clone());
    }
    if let Some(number) = piece.get("numberValue") {
        // A double, whatever the function's schema says.
        let whole = number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < (1u64 << 53) as f64);
        return Some(whole.map_or_else(|| number.clone(), |whole| (whole as i64).into()));
    }
    piece.get("boolValue").cloned().or_else(|| piece.get("nullValue").map(|_| Value::Null))
}

/// A step of a path: into an object or a list.
enum Step {
    Name(String),
    Index(usize),
}

/// The steps of a normalised JSON path, such as `$.a.b[0]['c d']`: <https://www.rfc-editor.org/rfc/rfc9535#section-2.7>.
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

/// A name up to its closing quote, and how many bytes it took with that.
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

/// Puts a value to its place; a text goes on with the text that is there.
fn put(mut at: &mut Value, steps: &[Step], value: Value) {
    for step in steps {
        at = match step {
            Step::Name(name) => {
                if !at.is_object() {
                    *at = json!({});
                }
                at.as_object_mut().expect("made above").entry(name.as_str()).or_insert(Value::Null)
            }
            Step::Index(index) if *index < LONGEST_LIST => {
                if !at.is_array() {
                    *at = json!([]);
                }
                let list = at.as_array_mut().expect("made above");
                if list.len() <= *index {
                    list.resize(index + 1, Value::Null);
                }
                &mut list[*index]
            }
            Step::Index(_) => return,
        };
    }
    match (at, value) {
        (Value::String(known), Value::String(more)) => known.push_str(&more),
        (at, value) => *at = value,
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
