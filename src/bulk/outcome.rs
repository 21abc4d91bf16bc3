//! What became of a row, and its line in the journal.
//!
//! A line has the format of OpenAI's batch output (`id`, `custom_id`, `response`, `error`;
//! <https://platform.openai.com/docs/api-reference/batch/request-output>) and one more member, `ritellm`, with everything
//! else. A failed row has an `error`, and a `response` as well if the provider answered.

use std::borrow::Cow;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::identity::Key;
use super::line::{self, State, Totals};
use crate::error::Error;
use crate::types::answer::Answer;
use crate::types::record::AttemptRecord;
use crate::types::secrets::Redactors;
use crate::types::usage::Usage;

/// Beginning of the `custom_id` of a row that has none of its own; the number of the row follows.
const NUMBERED: &str = "row-";
const CUSTOM_ID: &[u8] = b"\",\"custom_id\":";

/// What became of a row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Number of the row in the input, from 0.
    pub number: u64,
    /// Key of the row.
    pub key: Key,
    /// The row's own id (`custom_id`), if it has one.
    pub id: Option<Box<str>>,
    /// Name of the provider; empty if nothing was sent.
    pub provider: Cow<'static, str>,
    /// Name of the model as the provider knows it; empty if nothing was sent.
    pub model: Arc<str>,
    /// Name of the deployment, if a router chose it.
    pub deployment: Option<Arc<str>>,
    /// The provider's answer, if there was one. That of a failed row may have any status.
    pub response: Option<Response>,
    /// The failure; `None` if the row succeeded.
    pub failure: Option<Failure>,
    /// True if the answer was kept from an earlier call: see the member `cached` of an answer's metadata.
    pub cached: bool,
    /// Number of times that the row was tried.
    pub attempts: u32,
    /// The attempts of the last call, if there is more to say than that the first one succeeded.
    pub calls: Vec<AttemptRecord>,
    /// Usage, if the answer told it.
    pub usage: Option<Usage>,
    /// Cost in US dollars of all attempts, if it is known.
    pub cost: Option<f64>,
    /// Time of the start of the last call, since 1970.
    pub started: Duration,
    /// Time from the start of the last call to the outcome.
    pub latency: Duration,
    /// Time of it that the call waited for admission.
    pub waited: Duration,
}

/// The provider's answer to a row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// The provider's id for the request.
    pub request_id: Option<Box<str>>,
    /// The body: JSON as a rule, or any text. Bytes that are not UTF-8 are replaced in a line.
    pub body: Bytes,
}

/// Why a row failed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Failure {
    /// Name of the exception class.
    pub class: Cow<'static, str>,
    /// The provider's error code, if it gave one.
    pub code: Option<Box<str>>,
    /// Message for a person; never contains a key.
    pub message: String,
}

impl Outcome {
    /// Creates the outcome of a row that was answered. `redactors` is for what the server made of the call's secrets.
    pub fn answered(
        number: u64,
        key: Key,
        id: Option<Box<str>>,
        started: Duration,
        answer: Answer,
        redactors: &mut Redactors,
    ) -> Self {
        let Answer { body, mut meta } = answer;
        let request_id = meta.headers.request_id().map(|id| {
            let mut id = id.to_owned();
            redactors.of(&meta.secrets).hide_whole(&mut id);
            id.into_boxed_str()
        });
        let record = meta.record.take().unwrap_or_default();
        Self {
            number,
            key,
            id,
            provider: meta.provider,
            model: meta.model,
            deployment: meta.deployment,
            response: Some(Response { status: meta.status, request_id, body }),
            failure: None,
            cached: meta.cached,
            attempts: 1,
            calls: record.attempts,
            usage: record.usage,
            cost: record.cost,
            started,
            latency: meta.latency.max(record.total),
            waited: record.waited,
        }
    }

    /// Creates the outcome of a row that failed.
    pub fn failed(number: u64, key: Key, id: Option<Box<str>>, started: Duration, error: Error) -> Self {
        let record = error.record.unwrap_or_default();
        let deployment = record.attempts.last().and_then(|attempt| attempt.deployment.as_deref()).map(Arc::from);
        let request_id = error.request_id.map(String::into_boxed_str);
        let response = error.status.map(|status| Response { status, request_id, body: error.body.unwrap_or_default() });
        Self {
            number,
            key,
            id,
            provider: error.provider.unwrap_or_default().into(),
            model: error.model.unwrap_or_default().into(),
            deployment,
            response,
            failure: Some(Failure {
                class: error.kind.class_name().into(),
                code: error.code.map(String::into_boxed_str),
                message: error.message,
            }),
            cached: false,
            attempts: 1,
            calls: record.attempts,
            usage: record.usage,
            cost: record.cost,
            started,
            latency: record.total,
            waited: record.waited,
        }
    }

    /// Returns whether the row succeeded.
    pub fn state(&self) -> State {
        if self.failure.is_none() { State::Done } else { State::Failed }
    }

    /// Returns the `custom_id` of the line: the row's own, else one that is made of its number.
    pub fn custom_id(&self) -> Cow<'_, str> {
        self.id.as_deref().map_or_else(|| format!("{NUMBERED}{}", self.number).into(), Cow::Borrowed)
    }

    /// Returns the sums over this outcome alone.
    pub(super) fn totals(&self) -> Totals {
        let usage = self.usage.unwrap_or_default();
        Totals {
            outcomes: 1,
            attempts: self.attempts.into(),
            input_tokens: usage.all_input(),
            output_tokens: usage.all_output(),
            cost: self.cost.filter(|cost| cost.is_finite()).unwrap_or_default(),
        }
    }

    /// Returns about how many bytes the line will have.
    pub(super) fn size_hint(&self) -> usize {
        512 + self.response.as_ref().map_or(0, |response| response.body.len())
    }

    /// Appends the outcome as a line.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(line::START);
        line::hex(out, self.key.row);
        out.extend_from_slice(CUSTOM_ID);
        string(out, &self.custom_id());
        out.extend_from_slice(b",\"response\":");
        let mut is_text = false;
        match &self.response {
            Some(response) => {
                out.extend_from_slice(b"{\"status_code\":");
                integer(out, response.status.into());
                out.extend_from_slice(b",\"request_id\":");
                optional(out, response.request_id.as_deref());
                out.extend_from_slice(b",\"body\":");
                is_text = body(out, &response.body);
                out.push(b'}');
            }
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"error\":");
        match &self.failure {
            Some(failure) => {
                out.extend_from_slice(b"{\"code\":");
                optional(out, failure.code.as_deref());
                out.extend_from_slice(b",\"message\":");
                string(out, &failure.message);
                out.extend_from_slice(b",\"type\":");
                string(out, &failure.class);
                out.push(b'}');
            }
            None => out.extend_from_slice(b"null"),
        }
        self.encode_own(out, is_text);
        escape_separators(out, start);
        line::seal(out, start, self.key, self.state());
    }

    /// Appends the member `ritellm` without its end. What [`line::check`] reads comes last.
    fn encode_own(&self, out: &mut Vec<u8>, is_text: bool) {
        out.extend_from_slice(line::OWN);
        integer(out, self.number);
        if self.id.is_none() {
            out.extend_from_slice(line::NUMBERED);
        }
        if is_text {
            out.extend_from_slice(b",\"body\":\"text\"");
        }
        out.extend_from_slice(b",\"provider\":");
        string(out, &self.provider);
        out.extend_from_slice(b",\"model\":");
        string(out, &self.model);
        if let Some(deployment) = &self.deployment {
            out.extend_from_slice(b",\"deployment\":");
            string(out, deployment);
        }
        if self.cached {
            out.extend_from_slice(b",\"cached\":true");
        }
        if !self.calls.is_empty() {
            out.extend_from_slice(b",\"calls\":");
            json(out, &self.calls);
        }
        out.extend_from_slice(b",\"started\":");
        seconds(out, self.started);
        out.extend_from_slice(b",\"latency\":");
        seconds(out, self.latency);
        out.extend_from_slice(b",\"waited\":");
        seconds(out, self.waited);
        out.extend_from_slice(line::ATTEMPTS);
        integer(out, self.attempts.into());
        out.extend_from_slice(b",\"usage\":");
        match &self.usage {
            Some(counts) => usage(out, counts),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"cost\":");
        json(out, &self.cost.filter(|cost| cost.is_finite()));
    }

    /// Returns true if an intact line is that of a row with this id of its own, or without one.
    pub(super) fn is_named(line: &[u8], id: Option<&str>) -> bool {
        let Some(id) = id else { return line::is_numbered(line) };
        let mut custom_id = Vec::with_capacity(id.len() + 2);
        string(&mut custom_id, id);
        let at = line::START.len() + line::HASH_DIGITS + CUSTOM_ID.len();
        line.get(at..).is_some_and(|rest| rest.starts_with(&custom_id)) && !line::is_numbered(line)
    }

    /// Reads a line. `None` if it is not one of [`encode`](Self::encode), or is damaged.
    pub fn decode(line: &Bytes) -> Option<Self> {
        let tail = line::check(line)?;
        let read: Line<'_> = serde_json::from_slice(line).ok()?;
        let own = read.ritellm;
        let response = read.response.map(|response| Response {
            status: response.status_code,
            request_id: response.request_id.map(|id| id.into_owned().into_boxed_str()),
            body: match response.body.get() {
                "null" => Bytes::new(),
                text if own.body.is_some() => {
                    serde_json::from_str(text).map(|Text { text }| text.into()).unwrap_or_default()
                }
                json => line.slice_ref(json.as_bytes()),
            },
        });
        Some(Self {
            number: own.row,
            key: tail.key,
            id: (!own.numbered).then(|| read.custom_id.into_owned().into_boxed_str()),
            provider: own.provider.into_owned().into(),
            model: own.model.into(),
            deployment: own.deployment.map(Arc::from),
            response,
            failure: read.error.map(|error| Failure {
                class: error.class.into_owned().into(),
                code: error.code.map(|code| code.into_owned().into_boxed_str()),
                message: error.message.into_owned(),
            }),
            cached: own.cached,
            attempts: own.attempts,
            calls: own.calls,
            usage: own.usage,
            cost: own.cost,
            started: duration(own.started),
            latency: duration(own.latency),
            waited: duration(own.waited),
        })
    }
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    custom_id: Cow<'a, str>,
    #[serde(borrow)]
    response: Option<LineResponse<'a>>,
    #[serde(borrow)]
    error: Option<LineError<'a>>,
    #[serde(borrow)]
    ritellm: Own<'a>,
}

#[derive(Deserialize)]
struct LineResponse<'a> {
    status_code: u16,
    #[serde(borrow)]
    request_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// A body that is not JSON. Programs that read lines expect an object there.
#[derive(Deserialize, serde::Serialize)]
struct Text {
    text: String,
}

#[derive(Deserialize)]
struct LineError<'a> {
    #[serde(borrow, rename = "type")]
    class: Cow<'a, str>,
    #[serde(borrow)]
    code: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Own<'a> {
    row: u64,
    #[serde(default)]
    numbered: bool,
    #[serde(default)]
    body: Option<String>,
    #[serde(borrow)]
    provider: Cow<'a, str>,
    model: String,
    #[serde(default)]
    deployment: Option<String>,
    #[serde(default)]
    cached: bool,
    #[serde(default)]
    calls: Vec<AttemptRecord>,
    started: f64,
    latency: f64,
    waited: f64,
    attempts: u32,
    usage: Option<Usage>,
    cost: Option<f64>,
}

fn json(out: &mut Vec<u8>, value: &impl serde::Serialize) {
    // A vector takes every byte, and these types have no maps with keys that are no strings.
    serde_json::to_writer(out, value).expect("it can be written as JSON");
}

fn string(out: &mut Vec<u8>, text: &str) {
    json(out, &text);
}

fn optional(out: &mut Vec<u8>, text: Option<&str>) {
    json(out, &text);
}

fn integer(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a time in seconds, to the microsecond.
fn seconds(out: &mut Vec<u8>, time: Duration) {
    integer(out, time.as_secs());
    // Writing to a vector does not fail.
    let _ = write!(out, ".{:06}", time.subsec_micros());
}

fn duration(seconds: f64) -> Duration {
    // Rounded to the microsecond, as it was written.
    Duration::try_from_secs_f64(seconds)
        .map(|time| Duration::from_micros((time.as_nanos() as u64 + 500) / 1000))
        .unwrap_or_default()
}

/// Appends the counts that are not 0.
fn usage(out: &mut Vec<u8>, counts: &Usage) {
    let named = [
        ("input", counts.input),
        ("cached_read", counts.cached_read),
        ("cache_write", counts.cache_write),
        ("cache_write_hour", counts.cache_write_hour),
        ("output", counts.output),
        ("reasoning", counts.reasoning),
        ("audio_input", counts.audio_input),
        ("audio_output", counts.audio_output),
        ("image_input", counts.image_input),
    ];
    let mut before = b'{';
    for (name, count) in named.into_iter().filter(|(_, count)| *count > 0) {
        out.extend_from_slice(&[before, b'"']);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        integer(out, count);
        before = b',';
    }
    if before == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
}

/// Appends a body: JSON as it is, but on one line; anything else as an object with its text, for which it returns true.
fn body(out: &mut Vec<u8>, body: &[u8]) -> bool {
    if body.is_empty() {
        out.extend_from_slice(b"null");
        return false;
    }
    let is_json = std::str::from_utf8(body).is_ok_and(|text| serde_json::from_str::<&RawValue>(text).is_ok());
    if !is_json {
        json(out, &Text { text: String::from_utf8_lossy(body).into_owned() });
        return true;
    }
    // A raw newline in JSON is white space, and so is what follows it. A carriage return looks like one in a terminal.
    let mut rest = body.trim_ascii();
    while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = rest[at..].trim_ascii_start();
    }
    out.extend_from_slice(rest);
    false
}

/// Characters that are no newlines in JSON lines, but are for `str.splitlines` of Python and `readline` of Node: models write
/// them, and readers made with these break: <https://github.com/PrimeIntellect-ai/verifiers/pull/1644>. In JSON they can only
/// stand in strings.
const SEPARATORS: [(&[u8], &[u8]); 3] =
    [(b"\xc2\x85", b"\\u0085"), (b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029")];

/// Escapes them in a line that begins at `start`.
fn escape_separators(out: &mut Vec<u8>, start: usize) {
    let next = |text: &[u8]| {
        memchr::memchr2_iter(0xc2, 0xe2, text).find_map(|at| {
            let (raw, escaped) = SEPARATORS.into_iter().find(|(raw, _)| text[at..].starts_with(raw))?;
            Some((at, at + raw.len(), escaped))
        })
    };
    let Some((first, ..)) = next(&out[start..]) else { return };
    let tail = out.split_off(start + first);
    let mut rest = &tail[..];
    while let Some((at, end, escaped)) = next(rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(escaped);
        rest = &rest[end..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
pub(in crate::bulk) mod tests;
