//! OpenAI's list of embeddings as serde types, and the merging of several such lists into one.

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::members::Members;
use super::object::ObjectWriter;

/// A list of embeddings; each vector is the JSON text that the provider wrote.
#[derive(Debug, Default, Serialize)]
pub struct EmbeddingList<'a> {
    object: ListObject,
    /// The vectors, in the order of the inputs.
    pub data: Vec<Embedding<'a>>,
    /// Name of the model that produced the vectors.
    pub model: &'a str,
    /// Token counts, if the provider reports them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<EmbeddingUsage>,
    /// Data that OpenAI's format has no member for, by wire dialect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_specific_fields: Option<Value>,
}

/// The embedding of one input.
#[derive(Debug, Serialize)]
pub struct Embedding<'a> {
    object: EmbeddingObject,
    /// Index of the input that the vector belongs to.
    pub index: usize,
    /// The vector: a list of numbers, or a base64 string.
    pub embedding: &'a RawValue,
}

/// Token counts of the inputs.
#[derive(Debug, Serialize)]
pub struct EmbeddingUsage {
    /// Tokens of the texts.
    pub prompt_tokens: u64,
    /// Tokens of the texts and of all other inputs, such as images.
    pub total_tokens: u64,
}

/// Always `"list"`.
#[derive(Debug, Default, Serialize)]
enum ListObject {
    #[default]
    #[serde(rename = "list")]
    List,
}

/// Always `"embedding"`.
#[derive(Debug, Serialize)]
enum EmbeddingObject {
    #[serde(rename = "embedding")]
    Embedding,
}

impl<'a> EmbeddingList<'a> {
    /// Creates the list of these vectors, indexed in their order.
    pub fn new(model: &'a str, vectors: impl IntoIterator<Item = &'a RawValue>) -> Self {
        let embedding = |(index, embedding)| Embedding { object: EmbeddingObject::Embedding, index, embedding };
        Self { model, data: vectors.into_iter().enumerate().map(embedding).collect(), ..Self::default() }
    }

    /// Serialises the list as JSON.
    #[expect(clippy::missing_panics_doc, reason = "every member of these structs can be serialised")]
    pub fn to_json(&self) -> Bytes {
        // The vectors are nearly all of the text.
        let length: usize = self.data.iter().map(|embedding| embedding.embedding.get().len() + 64).sum();
        let mut json = Vec::with_capacity(length + 256);
        serde_json::to_writer(&mut json, self).expect("it is JSON");
        json.into()
    }
}

impl From<u64> for EmbeddingUsage {
    /// Creates the counts of inputs that are all texts.
    fn from(tokens: u64) -> Self {
        Self { prompt_tokens: tokens, total_tokens: tokens }
    }
}

/// Merges the lists that the parts of a call were answered with, in order: vectors are renumbered, token counts are
/// added, native lists are concatenated, and every other member is that of the first list.
///
/// # Errors
///
/// Returns the parser's error if a list is not a JSON object with a list of objects as its `data`.
pub fn join(lists: &[Bytes]) -> serde_json::Result<Bytes> {
    let parsed: Vec<Members> = lists.iter().map(|list| Members::of(list)).collect::<Result<_, _>>()?;
    let mut joined = ObjectWriter::with_capacity(lists.iter().map(Bytes::len).sum());
    for (name, value) in parsed.first().map_or(&[][..], |first| &first.0) {
        match &**name {
            "data" => joined.put_raw(name, &data(&parsed)?),
            "usage" | "provider_specific_fields" => joined.put(name, &merged(&parsed, name)?),
            _ => joined.put_raw(name, value.get().as_bytes()),
        }
    }
    Ok(joined.finish())
}

fn data(lists: &[Members]) -> serde_json::Result<Vec<u8>> {
    let mut data = vec![b'['];
    let mut index = 0;
    for list in lists {
        for item in serde_json::from_str::<Vec<Members>>(list.some("data").unwrap_or("[]"))? {
            let mut embedding = ObjectWriter::with_capacity(0);
            for (name, value) in &item.0 {
                match &**name {
                    "index" => embedding.put(name, &index),
                    _ => embedding.put_raw(name, value.get().as_bytes()),
                }
            }
            if index > 0 {
                data.push(b',');
            }
            data.extend_from_slice(&embedding.finish());
            index += 1;
        }
    }
    data.push(b']');
    Ok(data)
}

fn merged(lists: &[Members], name: &str) -> serde_json::Result<Value> {
    let mut all = Value::Null;
    for value in lists.iter().filter_map(|list| list.some(name)) {
        merge(&mut all, serde_json::from_str(value)?);
    }
    Ok(all)
}

/// Merges two values: adds integers, concatenates lists, merges objects, and keeps the first of anything else.
fn merge(known: &mut Value, value: Value) {
    match (known, value) {
        (known @ Value::Null, value) => *known = value,
        (Value::Object(known), Value::Object(members)) => {
            members.into_iter().for_each(|(name, value)| merge(known.entry(name).or_insert(Value::Null), value));
        }
        (Value::Array(known), Value::Array(items)) => known.extend(items),
        (Value::Number(known), Value::Number(more)) => {
            if let (Some(before), Some(more)) = (known.as_u64(), more.as_u64()) {
                *known = (before + more).into();
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_is_openais() {
        let vectors: Vec<&RawValue> = serde_json::from_str("[[0.10, 2], \"AAAA\"]").unwrap();
        let mut list = EmbeddingList::new("m", vectors);
        list.usage = Some(3.into());
        assert_eq!(
            list.to_json(),
            r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.10, 2]},{"object":"embedding","index":1,"embedding":"AAAA"}],"model":"m","usage":{"prompt_tokens":3,"total_tokens":3}}"#
        );
    }

    #[test]
    fn parts_of_a_call_become_one_list() {
        let part = |vector: &str, tokens: u32| {
            Bytes::from(format!(
                r#"{{"data":[{{"index":0,"embedding":{vector}}}],"model":"m","usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}}}"#
            ))
        };
        let joined: Value = serde_json::from_slice(&join(&[part("[1]", 2), part("[2]", 3)]).unwrap()).unwrap();
        let data = json!([{"index": 0, "embedding": [1]}, {"index": 1, "embedding": [2]}]);
        assert_eq!(joined, json!({"data": data, "model": "m", "usage": {"prompt_tokens": 5, "total_tokens": 5}}));
    }
}
