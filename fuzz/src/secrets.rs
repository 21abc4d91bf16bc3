//! Checks that no error of any provider contains a key that a server repeats, in any encoding, position and length.
//!
//! An input is a provider's case (see [`Case`]). Its body begins with bytes that choose the encoding of each character of
//! the key, one byte that chooses the encoding of the whole, and one that chooses how much of it is included. The rest is
//! the text around the key, divided by a zero byte.

use ritellm::error::Error;
use ritellm::providers::Endpoint;
use ritellm::transport::framing::Event;
use ritellm::types::http::{Framing, Headers, HttpResponse};
use ritellm::types::redact::Redactor;
use ritellm::types::request::Request;
use ritellm::types::snapshot::Snapshot;
use serde_json::Value;

use super::Case;

pub const KEY: &str = "sk/Canary+0123456789_abcdefghijklm";
/// Number of bytes of a body that choose the encoding.
pub const CHOICES: usize = KEY.len() + 2;

/// Tests a complete response that is an error by its status or by its content.
pub fn check_answer(input: &[u8]) {
    let Some(Case { deployment, request, endpoint, number: status, body }) = Case::read(input, false) else { return };
    let Some((said, spelled)) = said(&body) else { return };
    let headers = Headers::new(format!("x-echo: <{spelled}>\nx-request-id: {spelled}").into());
    let response = HttpResponse { received: 1, status, headers, body: said.into() };
    let error = match status {
        200..300 => endpoint.decode(&request, &response).err(),
        _ => Some(deployment.provider.decode_error(&response)),
    };
    let Some(mut error) = error else { return };
    error.body = Some(response.body);
    error.headers = Some(response.headers);
    check_error(error);
}

/// Tests a stream that breaks off: the error of its last event, and the completion so far.
pub fn check_stream(input: &[u8]) {
    let Some(Case { request, endpoint, number, body, .. }) = Case::read(input, true) else { return };
    let Some((said, _)) = said(&body) else { return };
    let events = match endpoint.framing() {
        Framing::AwsEventStream => vec![Event { name: "contentBlockDelta".into(), data: said.into() }],
        framing => super::events(framing, super::cut(said.into(), number as u8)).0,
    };
    check_events(&request, endpoint, events);
}

fn check_events(request: &Request, endpoint: &dyn Endpoint, events: Vec<Event>) {
    let mut decoder = endpoint.stream_decoder(request, 1);
    let mut chunks = Vec::new();
    for event in events {
        let data = event.data.clone();
        if let Err(mut error) = decoder.event(&event.name, event.data, &mut chunks) {
            error.body.get_or_insert(data);
            check_error(error);
            break;
        }
    }
    let mut snapshot = Snapshot::new(request.operation);
    for chunk in &chunks {
        snapshot.push(chunk);
    }
    let shown = Redactor::new([KEY]).redact_json(snapshot.completion());
    check_strings(&serde_json::from_slice(&shown).expect("it writes JSON"));
}

/// Returns the text with the encoded key, and the encoded key alone, which is empty if only its start is in the text.
///
/// `None` if the body is too short to choose an encoding, or contains most of the key already.
fn said(body: &[u8]) -> Option<(Vec<u8>, String)> {
    let (choices, rest) = body.split_at_checked(CHOICES)?;
    let [again, kept] = [choices[KEY.len()], choices[KEY.len() + 1]];
    if shows(rest).is_some() {
        // The fuzzer itself has put a part of the key here, taken from a comparison.
        return None;
    }
    let mut spelled = spelled(&choices[..KEY.len()], again);
    let is_cut = kept > 0;
    if is_cut {
        // Only at the end of the text: elsewhere a part of a key cannot be recognised.
        spelled.truncate(spelled.len() * usize::from(kept) / 256);
    }
    let mut around = rest.splitn(2, |byte| *byte == 0);
    let (before, after) = (around.next().unwrap_or_default(), around.next().unwrap_or_default());
    let after = if is_cut { &[][..] } else { after };
    let said = [before, spelled.as_bytes(), after].concat();
    Some((said, if is_cut { String::new() } else { spelled }))
}

/// Encodes each character of the key in its own way, and then the whole again.
fn spelled(choices: &[u8], again: u8) -> String {
    let hexadecimal = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    match again % 9 {
        6 => return hexadecimal(KEY),
        7 => return base64(&format!("{}{KEY}", &"u:x"[..usize::from(choices[0]) % 3])),
        8 => return base64(KEY).replace('+', "-").replace('/', "_").replace('=', ""),
        _ => {}
    }
    let spell = |(character, choice): (char, &u8)| {
        let code = character as u32;
        match choice % 12 {
            0 => format!("\\u{code:04x}"),
            1 => format!("\\u{code:04X}"),
            2 => format!("\\x{code:02x}"),
            3 => format!("%{code:02X}"),
            4 => format!("%25{code:02x}"),
            5 => format!("&#{code};"),
            6 => format!("&#x{code:x};"),
            7 => format!("\\{code:03o}"),
            8 if !character.is_ascii_alphanumeric() => format!("\\{character}"),
            9 => character.to_ascii_uppercase().to_string(),
            _ => character.to_string(),
        }
    };
    let spelled: String = KEY.chars().zip(choices).map(spell).collect();
    match again % 9 {
        1 => spelled.replace('\\', "\\\\"),
        2 => spelled.replace('\\', "\\u005c"),
        3 => spelled.replace('%', "%25").replace('\\', "%5C").replace('&', "%26"),
        4 => spelled.replace('&', "&amp;"),
        _ => spelled,
    }
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for bytes in text.as_bytes().chunks(3) {
        let bits = bytes.iter().enumerate().fold(0, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        let digit = |at: usize| if at <= bytes.len() { DIGITS[(bits >> (18 - 6 * at) & 63) as usize] } else { b'=' };
        encoded.extend((0..4).map(|at| char::from(digit(at))));
    }
    encoded
}

fn check_error(mut error: Box<Error>) {
    error.hide(&Redactor::new([KEY]));
    check("message", error.message.as_bytes());
    error.code.iter().for_each(|code| check("code", code.as_bytes()));
    error.request_id.iter().for_each(|id| check("request id", id.as_bytes()));
    let held = error.body.unwrap_or_default();
    check("body", &held);
    if let Ok(value) = serde_json::from_slice(&held) {
        check_strings(&value);
    }
    for (name, value) in error.headers.iter().flat_map(Headers::iter) {
        check("header", name.as_bytes());
        check("header", value.as_bytes());
    }
}

fn check(place: &str, text: &[u8]) {
    if let Some(spelling) = shows(text) {
        panic!("the key stands in the {place}, {spelling}: {}", String::from_utf8_lossy(text));
    }
}

/// Returns the encoding in which a text contains most of the key, or `None`.
fn shows(text: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(text);
    let folded = text.to_ascii_lowercase();
    // The text before the key may look like the start of an escape that continues with the key's first characters.
    let part = KEY[4..].to_ascii_lowercase();
    let digits: String = part.bytes().map(|byte| format!("{byte:02x}")).collect();
    let encoded = [base64(&KEY[..30]), base64(KEY).replace('+', "-").replace('/', "_")];
    if folded.contains(&part) {
        return Some("as it is");
    }
    if folded.contains(&digits) {
        return Some("in hexadecimal");
    }
    encoded.iter().any(|encoded| text.contains(&encoded[8..32])).then_some("in base64")
}

fn check_strings(value: &Value) {
    match value {
        Value::String(text) => check("string", text.as_bytes()),
        Value::Array(items) => items.iter().for_each(check_strings),
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            check("name", name.as_bytes());
            check_strings(value);
        }),
        _ => {}
    }
}

/// Texts around the key, divided by a zero byte: errors, errors with a status of 200, events.
pub const AROUND: &[&str] = &[
    "{\"error\": {\"message\": \"bad key \0, sorry\", \"type\": \"t\"}}",
    "{\"error\": {\"message\": \"no\", \"\0\": 1}}",
    "{\"error\": {\"message\": \"no\", \"code\": \"\0\"}}",
    "{\"error\": \"\0\"}",
    "{\"detail\": \"\0\"}",
    "{\"message\": \"\0\"}",
    "{\"detail\": [{\"msg\": \"\0\"}], \"n\": NaN}",
    "{\"code\": 1, \"msg\": \"\0\"}",
    "[{\"error\": {\"status\": \"\0\"}}]",
    "<p>\0</p>",
    "",
    "{\"error\": {\"message\": \"\\ud800 \0\"}}",
    "{\"type\": \"error\", \"error\": {\"message\": \"\0\"}}",
    "{\"success\": false, \"errors\": [\"\0\"]}",
    "{\"base_resp\": {\"status_code\": 1, \"status_msg\": \"\0\"}}",
    "{\"choices\": [{\"error\": {\"message\": \"\0\"}}]}",
    "{\"choices\": \"\0\"}",
    "{\"error\": \"{\\\"inner\\\": \\\"\0\\\"}\"}",
    "{\"__type\": \"x#\0\", \"message\": \"m\"}",
];
/// Texts around the key for streams.
pub const AROUND_IN_STREAMS: &[&str] = &[
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"it is \0\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"it is sk/Ca\"}}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\0\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning\":\"\0\"}}]}\n\ndata: {\"error\":\"x\"}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"\0\"}}]}}]}\n\n",
    "data: {\"error\":{\"message\":\"\0\"}}\n\n",
    "event: error\ndata: {\"type\":\"error\",\"error\":{\"message\":\"\0\"}}\n\n",
    "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"error\":{\"message\":\"\0\"}}}\n\n",
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"\0\"}\n\n",
    "data: \0\n\n",
    "{\"error\":\"\0\"}\n",
    "{\"message\":{\"content\":\"\0\"},\"done\":false}\n",
    "{\"message\":\"\0\"}",
    "{\"delta\":{\"text\":\"\0\"}}",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\0\"}]}}]}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"\0\"}}\n\n",
    "event: content-delta\ndata: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"\0\"}}}}\n\n",
];
