//! Answers in the providers' formats, from templates, for a server that stands for a provider in tests.
//!
//! Each file in `wires` describes one endpoint: its paths, its answer, the events of its stream and its errors. The link to
//! the format's documentation stands in the file.

mod context;
mod template;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::LazyLock;
use std::time::Duration;

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use self::template::Scope;
use super::rate_limits::Window;
use crate::types::rate_limit::Unit;

/// Stands in an answer for the part of its ids that is different in every answer. It is as long as that part, eight
/// hexadecimal digits, so that it can be replaced in place.
pub const ID: &str = "0r1t3id0";

/// The endpoints.
static WIRES: LazyLock<Vec<Wire>> = LazyLock::new(|| {
    [
        include_str!("wires/chat.json"),
        include_str!("wires/embeddings.json"),
        include_str!("wires/responses.json"),
        include_str!("wires/anthropic.json"),
        include_str!("wires/gemini.json"),
        include_str!("wires/gemini_embeddings.json"),
        include_str!("wires/bedrock.json"),
        include_str!("wires/bedrock_embeddings.json"),
        include_str!("wires/cohere.json"),
        include_str!("wires/cohere_embeddings.json"),
        include_str!("wires/ollama.json"),
        include_str!("wires/ollama_embeddings.json"),
        include_str!("wires/token.json"),
    ]
    .iter()
    .map(|text| Wire(serde_json::from_str(text).expect("a template is JSON")))
    .collect()
});

/// An endpoint of a provider, as a file describes it.
struct Wire(Value);

impl Wire {
    fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0[name].as_array().into_iter().flatten().filter_map(Value::as_str)
    }

    fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_default()
    }

    /// Returns the value that a table of the wire has for a key, or that for all others.
    fn of(&self, table: &str, key: &str) -> Option<&str> {
        let table = &self.0[table];
        table.get(key).or_else(|| table.get("other")).and_then(Value::as_str)
    }
}

/// A request, as far as its answer depends on it.
#[derive(Clone)]
pub struct Asked {
    wire: &'static Wire,
    /// Name of the model.
    pub model: String,
    /// True if the answer is a stream.
    pub stream: bool,
    usage_asked: bool,
    /// Name of the tool that has to be called.
    forced_tool: Option<String>,
    /// The texts to embed.
    inputs: Vec<String>,
    dimensions: usize,
    base64: bool,
    /// Estimate of the size of the prompt, in tokens.
    pub input_tokens: u64,
    /// Maximum number of tokens of the answer, if the request has one.
    pub max_tokens: Option<u64>,
}

/// An answer in a provider's format.
#[derive(Debug, PartialEq)]
pub struct Rendered {
    /// Status code.
    pub status: u16,
    /// Header fields: lines that end with CRLF, without those that frame the body.
    pub headers: String,
    /// The body: one piece, or the events of a stream.
    pub pieces: Vec<Vec<u8>>,
    /// True if the body is a stream.
    pub stream: bool,
}

/// State of a limit, for header fields.
pub struct LimitState {
    /// Dimension of the limit.
    pub unit: Unit,
    /// The limit.
    pub limit: u64,
    /// What is left of it.
    pub remaining: u64,
    /// Time until all of it is available.
    pub reset: Duration,
}

/// Number of elements of a vector, unless the request says so: that of `text-embedding-3-small`.
const DIMENSIONS: usize = 1536;

/// Returns what a request asks for; `None` if no endpoint has this path.
pub fn asked(path: &str, body: &Value, length: usize) -> Option<Asked> {
    let path = path.split('?').next().unwrap_or_default();
    let (wire, streams, model) = WIRES.iter().find_map(|wire| {
        let find = |name| wire.texts(name).find_map(|pattern| matched(pattern, path));
        find("paths")
            .map(|model| (wire, false, model))
            .or_else(|| find("stream_paths").map(|model| (wire, true, model)))
    })?;
    let at = |pointer: &str| body.pointer(pointer).filter(|value| !value.is_null());
    let first = |name: &str| wire.texts(name).find_map(at);
    let text_of = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let inputs = match first("inputs") {
        // A list of numbers is one text, in tokens.
        Some(Value::Array(inputs)) if !inputs.iter().all(Value::is_number) => inputs.iter().map(text_of).collect(),
        Some(input) => vec![text_of(input)],
        None => Vec::new(),
    };
    let told = at("/stream").and_then(Value::as_bool);
    let names = ["/max_completion_tokens", "/max_tokens", "/max_output_tokens", "/generationConfig/maxOutputTokens"];
    let max_tokens =
        names.iter().chain(&["/inferenceConfig/maxTokens", "/options/num_predict"]).find_map(|name| at(name));
    Some(Asked {
        wire,
        model: model.or_else(|| at("/model").and_then(Value::as_str).map(str::to_owned)).unwrap_or_default(),
        stream: streams || told.unwrap_or(wire.0.get("streams_unless_told").is_some()),
        usage_asked: at(wire.text("usage_asked")).is_some_and(|asked| asked == &Value::Bool(true)),
        forced_tool: first("forced").and_then(Value::as_str).map(str::to_owned),
        inputs,
        dimensions: first("dimensions")
            .and_then(Value::as_u64)
            .map_or(DIMENSIONS, |size| size.clamp(1, 1 << 16) as usize),
        base64: at("/encoding_format").is_some_and(|format| format == "base64"),
        input_tokens: (length as u64).div_ceil(4).max(1),
        max_tokens: max_tokens.and_then(Value::as_u64),
    })
}

/// Matches the end of a path. Returns the model that the path names, if it names one.
fn matched(pattern: &str, path: &str) -> Option<Option<String>> {
    let Some((before, after)) = pattern.split_once("{model}") else {
        return path.ends_with(pattern).then_some(None);
    };
    let path = path.strip_suffix(after)?;
    let model = &path[path.rfind(before)? + before.len()..];
    Some(Some(percent_decode_str(model).decode_utf8_lossy().into_owned()))
}

impl Asked {
    /// Returns the name of the endpoint.
    pub fn endpoint(&self) -> &'static str {
        self.wire.text("name")
    }

    /// Returns true if the answer has a checksum over its ids, which have to be right from the start then.
    pub fn has_checksums(&self) -> bool {
        self.stream && self.wire.text("framing") == "aws"
    }

    /// Returns an answer with [`ID`] or another text of digits in its ids. `now` is the Unix time in seconds.
    ///
    /// `answer` is an object with any of `text`, `json`, `reasoning`, `tool_calls`, `finish_reason`, `usage`, `chunks` and
    /// `vectors`.
    pub fn answer(&self, answer: &Value, id: &str, now: u64) -> Rendered {
        let values = context::of(self, answer, id, now);
        let sequence = Cell::new(0);
        let scope = Scope { file: &self.wire.0, values: &values, outer: None, sequence: &sequence };
        let stream = self.stream && self.wire.0.get("stream").is_some();
        let framing = if stream { self.wire.text("framing") } else { "json" };
        let pieces = match stream {
            true => scope.list(&self.wire.0["stream"]).iter().map(|event| framed(framing, event)).collect(),
            false => vec![scope.render(&self.wire.0["whole"]).to_string().into_bytes()],
        };
        let media_type = match framing {
            "json" => "application/json",
            "ndjson" => "application/x-ndjson",
            "aws" => "application/vnd.amazon.eventstream",
            _ => "text/event-stream; charset=utf-8",
        };
        let headers = format!("content-type: {media_type}\r\n{}", self.fields(&scope, "headers"));
        Rendered { status: 200, headers, pieces, stream }
    }

    /// Returns an error.
    pub fn error(&self, status: u16, message: &str, code: Option<&str>, retry_after: Option<f64>) -> Rendered {
        let retry = retry_after.map(|seconds| format!("retry-after: {seconds}\r\n")).unwrap_or_default();
        self.with_error(status, message, code, retry_after, |scope| {
            let body = scope.render(&self.wire.0["error"]).to_string();
            let fields = self.fields(scope, "headers") + &self.fields(scope, "error_headers");
            let headers = format!("content-type: application/json\r\n{retry}{fields}");
            Rendered { status, headers, pieces: vec![body.into_bytes()], stream: false }
        })
    }

    /// Returns the event of a stream that tells an error, after so many events, and ends the stream.
    pub fn event_of_error(&self, status: u16, message: &str, code: Option<&str>, after: usize) -> Vec<u8> {
        self.with_error(status, message, code, None, |scope| {
            scope.sequence.set(after as u64);
            let event = match self.wire.0.get("stream_error") {
                Some(event) => scope.render(event),
                None => serde_json::json!({"data": scope.render(&self.wire.0["error"])}),
            };
            framed(self.wire.text("framing"), &event)
        })
    }

    fn with_error<T>(
        &self,
        status: u16,
        message: &str,
        code: Option<&str>,
        retry_after: Option<f64>,
        render: impl FnOnce(&Scope<'_>) -> T,
    ) -> T {
        let key = status.to_string();
        let kind = self.wire.of("error_types", &key);
        let code = code.or_else(|| self.wire.of("error_codes", &key));
        let mut values = Map::new();
        values.insert("id".into(), ID.into());
        values.insert("status".into(), status.into());
        values.insert("message".into(), message.into());
        values.insert("type".into(), kind.into());
        values.insert("code".into(), code.into());
        values.insert("retry_delay".into(), retry_after.map(|seconds| format!("{seconds}s")).into());
        let sequence = Cell::new(0);
        let info =
            self.wire.0.get("retry_info").filter(|_| retry_after.is_some()).map(|info| {
                Scope { file: &self.wire.0, values: &values, outer: None, sequence: &sequence }.render(info)
            });
        values.insert("retry_info".into(), info.into());
        render(&Scope { file: &self.wire.0, values: &values, outer: None, sequence: &sequence })
    }

    fn fields(&self, scope: &Scope<'_>, name: &str) -> String {
        let Value::Object(fields) = scope.render(&self.wire.0[name]) else { return String::new() };
        fields.iter().map(|(name, value)| format!("{name}: {}\r\n", value.as_str().unwrap_or_default())).collect()
    }

    /// Returns the header fields that tell limits as a provider tells them: the one with this host, or else the one whose
    /// format it is. `now` is the Unix time in seconds.
    pub fn limit_fields(&self, host: Option<&str>, states: &[LimitState], now: u64) -> String {
        let host_of = |url: &'static str| url.split("://").nth(1).and_then(|rest| rest.split(['/', ':']).next());
        let by_host = super::all().find(|provider| host.is_some() && host_of(provider.row().base_url) == host);
        let own = || super::all().find(|provider| provider.row().name == self.wire.text("provider"));
        let Some(provider) = by_host.or_else(own) else { return String::new() };
        let mut fields = String::new();
        for LimitState { unit, limit, remaining, reset } in states {
            let Some(window) = provider.row().rate_limits.windows.iter().find(|window| window.unit == *unit) else {
                continue;
            };
            for (name, value) in [
                (window.limit, limit.to_string().into()),
                (window.remaining, remaining.to_string().into()),
                (window.reset, reset_text(window, *reset, now)),
            ] {
                if !name.is_empty() {
                    fields += &format!("{name}: {value}\r\n");
                }
            }
        }
        fields
    }
}

/// Writes the time to a reset as the host of the window does: as a date, in whole seconds, or as a duration.
fn reset_text(window: &Window, reset: Duration, now: u64) -> Cow<'static, str> {
    let seconds = reset.as_secs_f64().ceil() as u64;
    if window.reset.starts_with("anthropic-") {
        return rfc3339(now + seconds).into();
    }
    match window.is_full {
        true => format!("{}s", reset.as_millis() as f64 / 1000.0).into(),
        false => seconds.to_string().into(),
    }
}

/// Returns a date as RFC 3339 writes it.
fn rfc3339(seconds: u64) -> String {
    DateTime::from_secs(seconds.min(1 << 40) as i64).fmt(Format::DateTime).unwrap_or_default()
}

/// Returns an event of a stream as its framing writes it.
fn framed(framing: &str, event: &Value) -> Vec<u8> {
    let data = match &event["data"] {
        Value::String(text) => text.clone(),
        data => data.to_string(),
    };
    let name = event["event"].as_str();
    match framing {
        "ndjson" => format!("{data}\n").into_bytes(),
        "aws" => {
            let text = |name: &'static str, value: String| Header::new(name, HeaderValue::String(value.into()));
            let (kind, of_kind, name) = match event["exception"].as_str() {
                // The name of its shape begins with a small letter in a stream.
                Some(name) => ("exception", ":exception-type", name[..1].to_ascii_lowercase() + &name[1..]),
                None => ("event", ":event-type", name.unwrap_or_default().to_owned()),
            };
            let message = Message::new(data.into_bytes())
                .add_header(text(":message-type", kind.into()))
                .add_header(text(of_kind, name))
                .add_header(text(":content-type", "application/json".into()));
            let mut frame = Vec::new();
            // Fails for headers that are too long only.
            drop(write_message_to(&message, &mut frame));
            frame
        }
        _ => {
            let name = name.map(|name| format!("event: {name}\n")).unwrap_or_default();
            format!("{name}data: {data}\n\n").into_bytes()
        }
    }
}
