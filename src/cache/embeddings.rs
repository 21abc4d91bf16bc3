//! Embeddings are kept by input: a call asks only for the inputs that it has no vectors of.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::entry::Entry;
use super::key::inputs;
use crate::client::Chunk;
use crate::types::answer::Answer;
use crate::types::members::Members;
use crate::types::request::Request;

/// Returns the answer of a call whose inputs are all kept. An entry has two pieces: the model's name as JSON, and the members
/// of the item.
pub(super) fn assemble(entries: &[Arc<Entry>]) -> Option<Answer> {
    let items = entries.iter().map(|entry| entry.pieces.get(1).map(|(item, _)| item.clone()));
    let (model, _) = entries.first()?.pieces.first()?;
    let items: Option<Vec<Bytes>> = items.collect();
    Some(Answer { body: write(&items?, model, NOTHING_USED), meta: entries[0].meta.clone() })
}

/// Usage of a call that asked for nothing.
const NOTHING_USED: &[u8] = br#"{"prompt_tokens":0,"total_tokens":0}"#;

fn write(items: &[Bytes], model: &[u8], usage: &[u8]) -> Bytes {
    let mut body = Vec::with_capacity(items.iter().map(|item| item.len() + 48).sum::<usize>() + 128);
    body.extend_from_slice(br#"{"object":"list","data":["#);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(br#"{"object":"embedding","index":"#);
        body.extend_from_slice(itoa::Buffer::new().format(index).as_bytes());
        body.push(b',');
        body.extend_from_slice(item);
        body.push(b'}');
    }
    body.extend_from_slice(br#"],"model":"#);
    body.extend_from_slice(model);
    body.extend_from_slice(br#","usage":"#);
    body.extend_from_slice(usage);
    body.push(b'}');
    body.into()
}

/// Reduces a request to the inputs that are missing.
pub(super) fn ask_for(request: &mut Request, is_missing: impl Fn(usize) -> bool) {
    let missing = inputs(request).into_iter().enumerate().filter(|(index, _)| is_missing(*index));
    let list = missing.map(|(_, input)| input).collect::<Vec<_>>().join(",");
    request.params.set("input", format!("[{list}]").as_bytes());
    request.params.close();
}

/// The parts of an answer that are kept, one for each input; `None` if they cannot be told.
pub(super) fn split(body: &[u8], count: usize) -> Option<(Vec<[Chunk; 2]>, Bytes)> {
    let answer = Members::of(body).ok()?;
    let data: Vec<&RawValue> = serde_json::from_str(answer.get("data")?).ok()?;
    if data.len() != count {
        return None;
    }
    let model = Bytes::copy_from_slice(answer.get("model").unwrap_or("null").as_bytes());
    let mut items: Vec<Option<[Chunk; 2]>> = vec![None; count];
    for (place, item) in data.iter().enumerate() {
        let members = Members::of(item.get().as_bytes()).ok()?;
        let index = members.get("index").and_then(|index| index.parse().ok()).unwrap_or(place);
        let kept = members.0.iter().filter(|(name, _)| name != "index" && name != "object");
        let text: Vec<String> = kept
            .map(|(name, value)| Some(format!("{}:{}", serde_json::to_string(name).ok()?, value.get())))
            .collect::<Option<_>>()?;
        if text.is_empty() {
            return None;
        }
        *items.get_mut(index)? = Some([(model.clone(), true), (text.join(",").into(), true)]);
    }
    let usage = Bytes::copy_from_slice(
        answer.get("usage").filter(|usage| *usage != "null").map_or(NOTHING_USED, str::as_bytes),
    );
    Some((items.into_iter().collect::<Option<_>>()?, usage))
}

/// Returns the whole answer of a call of which some inputs were kept and the others asked for.
pub(super) fn join(kept: &[Option<Arc<Entry>>], fresh: &[[Chunk; 2]], usage: &[u8]) -> Option<Bytes> {
    let model = &fresh.first()?[0].0;
    let mut fresh = fresh.iter();
    let items: Option<Vec<Bytes>> = kept
        .iter()
        .map(|entry| match entry {
            Some(entry) => entry.pieces.get(1).map(|(item, _)| item.clone()),
            None => fresh.next().map(|[_, (item, _)]| item.clone()),
        })
        .collect();
    Some(write(&items?, model, usage))
}
