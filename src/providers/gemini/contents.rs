//! OpenAI's messages → Google's `contents` and `systemInstruction`.
//!
//! Shapes: <https://ai.google.dev/api/caching#Content>; function calling: <https://ai.google.dev/gemini-api/docs/function-calling>;
//! thought signatures: <https://ai.google.dev/gemini-api/docs/thought-signatures>.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::DIALECT;
use super::answer::Part as Native;
use super::media::parts;
use super::part::{Call, FunctionCall, FunctionResponse, Part};
use crate::error::{Error, Result};
use crate::providers::families::gemini::Rules;
use crate::providers::tools::arguments;
use crate::types::members::Members;

/// Consecutive messages of one role.
#[derive(Debug, Serialize)]
pub(super) struct Content<'a> {
    role: &'static str,
    parts: Vec<Part<'a>>,
    /// True if the parts are results of function calls, which are kept apart from the user messages that follow.
    #[serde(skip)]
    has_responses: bool,
}

/// The system instruction.
#[derive(Debug, Serialize)]
pub(super) struct Instruction<'a> {
    parts: Vec<Part<'a>>,
}

/// A message in OpenAI's format.
#[derive(Debug, Deserialize)]
pub(super) struct Message<'a> {
    role: String,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    refusal: Option<String>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    tool_call_id: Option<String>,
    name: Option<String>,
    #[serde(borrow)]
    provider_specific_fields: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct ToolCall<'a> {
    id: Option<String>,
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

#[derive(Debug, Deserialize)]
struct Function<'a> {
    name: String,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

/// A call of an earlier message, as its result needs it.
struct EarlierCall {
    name: String,
    /// Id that the provider gave the call, if any; ids made up by this library are not sent.
    native_id: Option<String>,
    /// Position among the calls of its message.
    index: usize,
}

/// Calls by OpenAI's ids.
type Calls = Vec<(String, EarlierCall)>;

/// Signature that Google documents for calls of other models: newer models reject a call without any signature.
const FOREIGN_SIGNATURE: &str = "skip_thought_signature_validator";

/// Converts a conversation for a model with these rules.
///
/// # Errors
/// `InvalidArgument`, with the position of the message, for one that cannot be converted.
pub(super) fn translate<'a>(
    messages: &'a [Message<'a>],
    rules: &Rules,
) -> Result<(Vec<Content<'a>>, Option<Instruction<'a>>)> {
    let mut contents: Vec<Content> = Vec::with_capacity(messages.len());
    let mut instruction = Instruction { parts: Vec::new() };
    let mut earlier = HashMap::new();
    // Media that may not be inside results; they are sent after the last result.
    let mut beside = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let failed = |mut error: Box<Error>| {
            error.message = format!("messages[{index}]: {}", error.message);
            error
        };
        let is_result = matches!(message.role.as_str(), "tool" | "function");
        if !is_result {
            push(&mut contents, "user", std::mem::take(&mut beside), false);
        }
        match message.role.as_str() {
            "system" | "developer" => instruction.parts.extend(parts(message.content, false).map_err(failed)?),
            "user" => {
                let parts = parts(message.content, rules.has_part_resolution).map_err(failed)?;
                push(&mut contents, "user", parts, false);
            }
            "assistant" => {
                let (parts, calls) = assistant(message, rules.needs_signatures).map_err(failed)?;
                earlier.extend(calls);
                push(&mut contents, "model", parts, false);
            }
            "tool" | "function" => {
                let response = function_response(message, &earlier, rules, &mut beside).map_err(failed)?;
                push(&mut contents, "user", vec![Part::FunctionResponse(response)], true);
            }
            role => {
                return Err(failed(Error::argument(format!(
                    "role {role:?}: system, developer, user, assistant or tool would be right"
                ))));
            }
        }
    }
    push(&mut contents, "user", beside, false);
    for content in contents.iter_mut().filter(|content| content.has_responses) {
        content
            .parts
            .sort_by_key(|part| if let Part::FunctionResponse(response) = part { response.call_index } else { 0 });
    }
    if !rules.has_instruction && !instruction.parts.is_empty() {
        let parts = std::mem::take(&mut instruction.parts);
        match contents.first_mut().filter(|first| first.role == "user" && !first.has_responses) {
            Some(first) => drop(first.parts.splice(..0, parts)),
            None => contents.insert(0, Content { role: "user", parts, has_responses: false }),
        }
    }
    if contents.is_empty() {
        // Google rejects a conversation of instructions alone.
        push(&mut contents, "user", vec![Part::Text(String::new())], false);
    }
    Ok((contents, Some(instruction).filter(|instruction| !instruction.parts.is_empty())))
}

/// Appends a message's parts. Consecutive messages of one role are joined, since older models require alternating roles.
fn push<'a>(contents: &mut Vec<Content<'a>>, role: &'static str, parts: Vec<Part<'a>>, has_responses: bool) {
    match contents.last_mut() {
        _ if parts.is_empty() => {}
        Some(last) if last.role == role && last.has_responses == has_responses => last.parts.extend(parts),
        _ => contents.push(Content { role, parts, has_responses }),
    }
}

/// Converts an assistant message, and returns its calls by id.
///
/// Native parts are sent back unchanged if the message's text and calls still match them. If the caller changed
/// something, the caller's version is sent, and only calls that still match keep their native part with its signature.
fn assistant<'a>(message: &'a Message<'a>, needs_signatures: bool) -> Result<(Vec<Part<'a>>, Calls)> {
    let text: Vec<Part> = parts(message.content, false)?;
    let joined: String =
        text.iter().filter_map(|part| if let Part::Text(text) = part { Some(text.as_str()) } else { None }).collect();
    let calls: &[ToolCall] = message.tool_calls.as_deref().unwrap_or_default();

    let native = native_parts(message);
    let mut unused: Vec<&NativePart> = native.iter().filter(|part| part.call.is_some()).collect();
    let mut matched = Vec::with_capacity(calls.len());
    let mut calls_by_id = Vec::with_capacity(calls.len());
    for (index, call) in calls.iter().enumerate() {
        let function =
            call.function.as_ref().ok_or_else(|| Error::argument(format!("tool_calls[{index}] calls no function")))?;
        let arguments = arguments::some_object(function.arguments.map(RawValue::get));
        let matching = unused
            .iter()
            .position(|part| part.is_same(call, &function.name, &arguments))
            .map(|index| unused.remove(index));
        let native_id = matching.and_then(|part| part.call.as_ref()?.id.clone());
        if let Some(id) = &call.id {
            calls_by_id.push((id.clone(), EarlierCall { name: function.name.clone(), native_id, index }));
        }
        matched.push((function, arguments, matching));
    }

    let native_text: String = native.iter().filter_map(|part| part.text.as_deref()).collect();
    let in_order = matched.iter().map(|(_, _, part)| part.map(|part| part.index)).is_sorted();
    let is_unchanged =
        native_text == joined && unused.is_empty() && in_order && matched.iter().all(|(_, _, part)| part.is_some());
    // Of parallel calls, only the first has a signature.
    let native_part = |part: &NativePart<'a>, is_first_call: bool| {
        let lacks_signature = needs_signatures && is_first_call && !part.is_signed;
        Part::Native(if lacks_signature { Cow::Owned(signed(part.raw)) } else { Cow::Borrowed(part.raw) })
    };
    if !native.is_empty() && is_unchanged {
        let first_call = native.iter().position(|part| part.call.is_some());
        return Ok((
            native.iter().map(|part| native_part(part, first_call == Some(part.index))).collect(),
            calls_by_id,
        ));
    }

    let mut parts: Vec<Part> =
        text.into_iter().filter(|part| !matches!(part, Part::Text(text) if text.is_empty())).collect();
    parts.extend(
        message.refusal.as_ref().filter(|refusal| !refusal.is_empty()).map(|refusal| Part::Text(refusal.clone())),
    );
    for (index, (function, args, matching)) in matched.into_iter().enumerate() {
        parts.push(match matching {
            Some(part) => native_part(part, index == 0),
            None => {
                let thought_signature = (needs_signatures && index == 0).then_some(FOREIGN_SIGNATURE);
                Part::Call(Call { function_call: FunctionCall { name: &function.name, args }, thought_signature })
            }
        });
    }
    Ok((parts, calls_by_id))
}

/// Adds a signature to a function call of an older model, for a newer one.
fn signed(call: &RawValue) -> Box<RawValue> {
    let open = call.get().trim_end().strip_suffix('}').unwrap_or_default();
    RawValue::from_string(format!("{open},\"thoughtSignature\":\"{FOREIGN_SIGNATURE}\"}}"))
        .unwrap_or_else(|_| call.to_owned())
}

/// A native part, and what of it is in OpenAI's fields.
struct NativePart<'a> {
    raw: &'a RawValue,
    index: usize,
    text: Option<String>,
    call: Option<NativeCall>,
    is_signed: bool,
}

struct NativeCall {
    id: Option<String>,
    name: String,
    args: Value,
}

impl NativePart<'_> {
    /// Returns true if this part is the same call as the caller's.
    fn is_same(&self, call: &ToolCall, name: &str, arguments: &RawValue) -> bool {
        self.call.as_ref().is_some_and(|native| {
            let same_id = native.id.is_none() || native.id == call.id;
            same_id
                && native.name == name
                && serde_json::from_str::<Value>(arguments.get()).is_ok_and(|arguments| arguments == native.args)
        })
    }
}

/// Returns the native parts that the message was converted from, if Google made it.
fn native_parts<'a>(message: &Message<'a>) -> Vec<NativePart<'a>> {
    #[derive(Deserialize)]
    struct NativeFields<'a> {
        #[serde(borrow)]
        parts: Option<Vec<&'a RawValue>>,
    }
    let read = || {
        let fields = Members::of(message.provider_specific_fields?.get().as_bytes()).ok()?;
        serde_json::from_str::<NativeFields>(fields.some(DIALECT)?).ok()?.parts
    };
    let described = |(index, raw): (usize, &'a RawValue)| {
        let part: Native = serde_json::from_str(raw.get()).unwrap_or_default();
        let text = part.text().filter(|_| !part.is_thought()).map(Cow::into_owned);
        let call = part.call().filter(|call| !call.name.is_empty()).map(|call| NativeCall {
            id: call.id.filter(|id| !id.is_empty()),
            name: call.name,
            args: serde_json::from_str(&arguments::text(call.args.map(RawValue::get))).unwrap_or_default(),
        });
        NativePart { raw, index, text, call, is_signed: part.0.some("thoughtSignature").is_some() }
    };
    read().unwrap_or_default().into_iter().enumerate().map(described).collect()
}

/// Returns the text as raw JSON if it is an object.
fn object(text: &str) -> Option<Box<RawValue>> {
    text.trim_start().starts_with('{').then(|| RawValue::from_string(text.trim().to_owned()).ok()).flatten()
}

/// Converts a tool message. Google requires the function's name, which OpenAI's message gives only by the id of the
/// call. Media that may not be inside the result are appended to `beside`.
fn function_response<'a>(
    message: &'a Message<'a>,
    earlier: &HashMap<String, EarlierCall>,
    rules: &Rules,
    beside: &mut Vec<Part<'a>>,
) -> Result<FunctionResponse<'a>> {
    let call = message.tool_call_id.as_ref().and_then(|id| earlier.get(id));
    let name = call.map(|call| call.name.clone()).or_else(|| message.name.clone()).ok_or_else(|| {
        let id = message.tool_call_id.as_deref().unwrap_or_default();
        Error::argument(format!("tool_call_id {id:?} belongs to no call in a message before it, and there is no name"))
    })?;
    let mut text = String::new();
    let (mut media, mut apart) = (Vec::new(), Vec::new());
    for part in parts(message.content, false)? {
        match part {
            Part::Text(more) => text += &more,
            part if part.media_type().is_some_and(|kind| rules.nested_media.contains(&&*kind)) => media.push(part),
            part => apart.push(part),
        }
    }
    if !apart.is_empty() {
        if text.is_empty() && media.is_empty() {
            text = "The result is in the message that follows.".to_owned();
        }
        beside.push(Part::Text(format!("From the result of {name}:")));
        beside.append(&mut apart);
    }
    let response = object(&text).unwrap_or_else(|| {
        // A list is sent as a list, any other text as text.
        let result = match text.trim_start().starts_with('[') {
            true => serde_json::from_str(&text).unwrap_or(Value::String(text)),
            false => Value::String(text),
        };
        RawValue::from_string(serde_json::json!({ "result": result }).to_string()).expect("it was just written")
    });
    let call_index = call.map_or(usize::MAX, |call| call.index);
    Ok(FunctionResponse { id: call.and_then(|call| call.native_id.clone()), name, response, parts: media, call_index })
}
