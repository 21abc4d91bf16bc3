//! Content of a stream that comes as lists: the list in each chunk holds the next pieces of the list that the plain call
//! has.
//!
//! A string that comes after a list is a piece too. When the message is sent back, pieces that continue each other are
//! joined.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::types::object::array;

/// Types of parts that continue from piece to piece; parts of other types come whole.
const KINDS: [&str; 4] = ["text", "thinking", "reasoning", "summary_text"];

/// A part of a message's content that is text.
#[derive(Serialize)]
pub(super) struct TextPart<'a> {
    r#type: &'static str,
    text: &'a str,
}

impl<'a> TextPart<'a> {
    pub fn of(text: &'a str) -> Self {
        Self { r#type: "text", text }
    }
}

/// Indexes of a stream's choices whose content has come as a list.
#[derive(Debug, Default)]
pub(super) struct Pieces(Vec<u64>);

impl Pieces {
    /// Returns true if there has been a list.
    pub fn have_begun(&self) -> bool {
        !self.0.is_empty()
    }

    /// Records that a choice has a list.
    pub fn begin(&mut self, choice: u64) {
        if !self.0.contains(&choice) {
            self.0.push(choice);
        }
    }

    /// Returns a text of a choice as a list with one part, if the choice has had a list before.
    pub fn text(&self, choice: u64, text: &str) -> Option<String> {
        self.0.contains(&choice).then(|| array(|list| list.push(&TextPart::of(text))))
    }
}

/// Joins the pieces in a list. Returns the list's own bytes where no two parts continue each other.
pub(super) fn join_pieces(list: &str) -> String {
    let parts: Vec<Value> = serde_json::from_str(list).unwrap_or_default();
    let count = parts.len();
    let whole = join(parts);
    if whole.len() == count { list.to_owned() } else { Value::Array(whole).to_string() }
}

fn join(parts: Vec<Value>) -> Vec<Value> {
    let mut whole: Vec<Value> = Vec::with_capacity(parts.len());
    for part in parts {
        match (whole.last_mut(), part) {
            (Some(Value::Object(known)), Value::Object(more)) if continues(known, &more) => add(known, more),
            (_, part) => whole.push(part),
        }
    }
    whole
}

/// Returns true if a part continues the one before. A signature, or `closed`, ends a part.
fn continues(known: &Map<String, Value>, more: &Map<String, Value>) -> bool {
    fn is_signed(part: &Map<String, Value>) -> bool {
        let inside = part.values().filter_map(Value::as_array).flatten().filter_map(Value::as_object);
        part.get("signature").is_some_and(|signature| !signature.is_null()) || inside.into_iter().any(is_signed)
    }
    let kind = known.get("type").and_then(Value::as_str);
    kind.is_some_and(|kind| KINDS.contains(&kind))
        && known.get("type") == more.get("type")
        && known.get("closed") != Some(&Value::Bool(true))
        && !is_signed(known)
}

fn add(known: &mut Map<String, Value>, more: Map<String, Value>) {
    for (name, value) in more {
        match (known.get_mut(&name), value) {
            (Some(Value::String(text)), Value::String(more)) if matches!(&*name, "text" | "thinking") => {
                text.push_str(&more)
            }
            (Some(Value::Array(inside)), Value::Array(more)) => {
                inside.extend(more);
                *inside = join(std::mem::take(inside));
            }
            (Some(_), Value::Null) => {}
            (_, value) => drop(known.insert(name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn joined(parts: Value) -> Value {
        serde_json::from_str(&super::join_pieces(&parts.to_string())).unwrap()
    }

    #[test]
    fn pieces_become_the_parts_that_the_plain_call_has() {
        let think = |text: &str| json!({"type": "thinking", "thinking": [{"type": "text", "text": text}]});
        let text = |text: &str| json!({"type": "text", "text": text});
        let reference = |id: u8| json!({"type": "reference", "reference_ids": [id]});
        let pieces = json!([
            think("So"), think(" it"), {"type": "thinking", "thinking": [], "closed": true}, text("39"), text("1"),
            reference(1), reference(2), text("!"), think("?"),
        ]);
        let whole = json!([
            {"type": "thinking", "thinking": [{"type": "text", "text": "So it"}], "closed": true}, text("391"), reference(1),
            reference(2), text("!"), think("?"),
        ]);
        assert_eq!(joined(pieces), whole);
        assert_eq!(joined(whole.clone()), whole);
        assert_eq!(
            super::join_pieces(r#"[{"type":"text","text":"a","x":1.50}]"#),
            r#"[{"type":"text","text":"a","x":1.50}]"#
        );
    }

    #[test]
    fn a_signature_ends_its_reasoning() {
        let summary = |more: Value| json!({"type": "reasoning", "summary": [more]});
        let text = |text: &str| json!({"type": "summary_text", "text": text});
        let signed = json!({"type": "summary_text", "text": "", "signature": "s1"});
        let whole = json!({"type": "summary_text", "text": "ab", "signature": "s1"});
        assert_eq!(
            joined(
                json!([summary(text("a")), summary(text("b")), summary(signed), summary(text("c")), {"type": "text", "text": "t"}])
            ),
            json!([summary(whole), summary(text("c")), {"type": "text", "text": "t"}])
        );
        let block =
            |text: &str, signature: Value| json!({"type": "thinking", "thinking": text, "signature": signature});
        assert_eq!(
            joined(json!([block("a", Value::Null), block("b", "s".into()), block("c", Value::Null)])),
            json!([block("ab", "s".into()), block("c", Value::Null)])
        );
    }
}
