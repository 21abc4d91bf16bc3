//! Snapshot of a stream: the completion so far, in little more memory than its text takes.
//!
//! Chunks are buffered and parsed a few kB at a time, or when the snapshot is read. Of chunks that differ only in some
//! strings (see `json_template`), only these strings are buffered; where that gives the same result, they are
//! concatenated and parsed as one chunk. A chunk thus costs one copy of its text.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use serde_json::Value;

use super::accumulate::Accumulator;
use super::json_template::{JsonTemplate, MAX_STRINGS, Span, Spans, end_of_string};
use super::merge::{is_blank, is_text};
use super::operation::{Operation, Streaming};
use super::response;
use super::strict::{is_well_escaped, strict, surrogate};

/// Number of buffered bytes above which they are parsed. A stream of a hundred chunks whose completion is never read is
/// never parsed a second time.
const MAX_PENDING: usize = 3000;
/// Number of templates after which no more are derived for a stream.
const MAX_TEMPLATES: u8 = 8;

/// The accumulated content of a stream.
#[derive(Debug)]
pub struct Snapshot {
    accumulated: Accumulated,
    /// Chunks not yet in `accumulated`, and varying strings of chunks that match the template, each with its closing
    /// quote.
    pending: Vec<u8>,
    /// Start of each chunk in `pending`, and of each run of chunks that match the template.
    segments: Vec<Segment>,
    /// True if the last segment is a run.
    in_run: bool,
    template: Option<JsonTemplate<Vec<u8>>>,
    /// Number of templates derived so far.
    template_count: u8,
    /// Joins of the template's strings, once they were derived; the inner `None` means that its chunks cannot be
    /// concatenated.
    joins: Option<Option<[Join; MAX_STRINGS]>>,
    /// The last chunk that did not match the template.
    last: Vec<u8>,
    /// Number of bytes parsed.
    #[cfg(test)]
    read: usize,
}

/// Accumulator of the stream's kind.
#[derive(Debug)]
enum Accumulated {
    /// The pieces of the stream do not form one answer.
    Nothing,
    Chat(Accumulator),
    Response(response::Accumulator),
}

/// Start of a chunk or of a run in the buffer.
#[derive(Debug, Clone, Copy)]
struct Segment {
    start: usize,
    is_run: bool,
}

/// Rule that joins the strings at one position of successive chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Join {
    /// The strings are pieces of one text.
    Text,
    /// The strings are pieces of one text, unless one of them may begin a new call's arguments.
    Arguments,
    /// The first non-empty string is kept.
    First,
    /// The last non-empty string is kept.
    Last,
}

/// Positions at which a chunk differs from others of its template.
#[derive(Debug, Clone)]
pub struct SameTemplate {
    /// Number of the template within the stream, counted from 1.
    pub template: u8,
    count: u8,
    spans: Spans,
}

impl SameTemplate {
    /// Returns the positions of the varying strings in the chunk, without their quotes.
    pub fn spans(&self) -> &[Span] {
        &self.spans[..self.count.into()]
    }
}

impl Snapshot {
    /// Creates an empty snapshot.
    pub fn new(operation: Operation) -> Self {
        let accumulated = match operation.spec().streaming {
            Streaming::Events => Accumulated::Response(response::Accumulator::default()),
            Streaming::Chunks => Accumulated::Chat(Accumulator::default()),
            _ => Accumulated::Nothing,
        };
        Self {
            accumulated,
            pending: Vec::new(),
            segments: Vec::new(),
            in_run: false,
            template: None,
            template_count: 0,
            joins: None,
            last: Vec::new(),
            #[cfg(test)]
            read: 0,
        }
    }

    /// Adds a chunk or event, as JSON. Returns the positions of its varying strings if it matches the template of the
    /// chunks before it.
    pub fn push(&mut self, chunk: &[u8]) -> Option<SameTemplate> {
        let same = self.push_same(chunk);
        if same.is_none() || self.is_full() {
            self.push_rest(chunk, same.is_some());
        }
        same
    }

    /// Buffers a chunk that matches the template of the chunks before it, and returns the positions of its varying strings.
    ///
    /// The first half of [`push`](Self::push): it parses nothing, so it needs no room on the stack.
    pub fn push_same(&mut self, chunk: &[u8]) -> Option<SameTemplate> {
        let template = self.template.as_ref()?;
        let spans = template.spans(chunk)?;
        let same = SameTemplate { template: self.template_count, count: template.count() as u8, spans };
        if !self.in_run {
            self.begin(true);
        }
        for span in same.spans() {
            let Range { start, end } = span.range();
            self.pending.extend_from_slice(&chunk[start..=end]);
        }
        Some(same)
    }

    /// Returns true if the buffer is to be parsed.
    pub fn is_full(&self) -> bool {
        self.pending.len() > MAX_PENDING
    }

    /// Buffers a chunk that does not match the template, and parses the buffer if it is full.
    ///
    /// The second half of [`push`](Self::push), for a chunk that [`push_same`](Self::push_same) did not buffer
    /// (`is_buffered` is false), or that filled the buffer.
    #[cold]
    pub fn push_rest(&mut self, chunk: &[u8], is_buffered: bool) {
        if !is_buffered {
            self.push_unlike(chunk);
        } else if self.is_full() {
            self.fold_run_if_whole();
        }
    }

    fn begin(&mut self, is_run: bool) {
        self.segments.push(Segment { start: self.pending.len(), is_run });
        self.in_run = is_run;
    }

    fn push_unlike(&mut self, chunk: &[u8]) {
        if matches!(self.accumulated, Accumulated::Nothing) {
            return;
        }
        self.begin(false);
        self.pending.extend_from_slice(chunk);
        if self.template_count < MAX_TEMPLATES && matches!(self.accumulated, Accumulated::Chat(_)) {
            if let Some(template) = JsonTemplate::of(&self.last, chunk) {
                // Buffered runs belong to the previous template.
                if self.segments.iter().any(|segment| segment.is_run) {
                    self.fold();
                }
                self.template = Some(template.into_owned());
                self.joins = None;
                self.template_count += 1;
            }
            self.last.clear();
            self.last.extend_from_slice(chunk);
        }
        if self.is_full() {
            self.fold();
        }
    }

    /// Parses the buffer, unless it ends between the two halves of a surrogate pair, which have to be parsed together.
    fn fold_run_if_whole(&mut self) {
        let half = self.pending.len().checked_sub(7).and_then(|start| surrogate(&self.pending[start..]));
        if half.is_none_or(|half| half >= 0xDC00) || self.pending.len() > 2 * MAX_PENDING {
            self.fold();
        }
    }

    /// Parses the buffered chunks.
    fn fold(&mut self) {
        let mut pending = std::mem::take(&mut self.pending);
        let segments = std::mem::take(&mut self.segments);
        #[cfg(test)]
        (self.read += pending.len());
        self.in_run = false;
        let ends = segments.iter().skip(1).map(|segment| segment.start).chain([pending.len()]);
        for (segment, end) in segments.iter().zip(ends) {
            let part = &pending[segment.start..end];
            if segment.is_run { self.fold_run(part) } else { self.accumulated.push(part) }
        }
        // The buffer is reused, unless a large chunk has enlarged it.
        pending.clear();
        pending.shrink_to(MAX_PENDING);
        self.pending = pending;
    }

    fn fold_run(&mut self, mut run: &[u8]) {
        let Some(template) = &self.template else { return };
        let joins = *self.joins.get_or_insert_with(|| joins(template));
        let mut joined: Option<[Vec<u8>; MAX_STRINGS]> = None;
        while !run.is_empty() {
            let mut strings = [&[][..]; MAX_STRINGS];
            for string in &mut strings[..template.count()] {
                let Some(end) = end_of_string(run) else { return };
                (*string, run) = (&run[..end], &run[end + 1..]);
            }
            // A chunk with invalid escapes must not make the others unreadable.
            let joins = joins.filter(|_| strings.iter().all(|string| is_well_escaped(string)));
            let Some(joins) = joins else {
                if let Some(joined) = joined.take() {
                    self.accumulated.push(&template.with(|index| &joined[index]));
                }
                self.accumulated.push(&template.with(|index| strings[index]));
                continue;
            };
            // Arguments that begin an object may be those of another call.
            let may_begin = |string: &[u8]| string.contains(&b'{') || string.windows(2).any(|pair| pair == b"\\u");
            let mut both = strings.iter().zip(joins);
            if both.any(|(string, join)| join == Join::Arguments && may_begin(string))
                && let Some(joined) = joined.take()
            {
                self.accumulated.push(&template.with(|index| &joined[index]));
            }
            for ((known, string), join) in joined.get_or_insert_default().iter_mut().zip(strings).zip(joins) {
                match join {
                    Join::First if !known.is_empty() => continue,
                    Join::Last if !string.is_empty() => known.clear(),
                    _ => {}
                }
                known.extend_from_slice(string);
            }
        }
        if let Some(joined) = joined {
            self.accumulated.push(&template.with(|index| &joined[index]));
        }
    }

    /// Releases the memory that is only needed for further chunks.
    pub fn close(&mut self) {
        self.last = Vec::new();
        self.pending.shrink_to_fit();
        self.segments.shrink_to_fit();
    }

    /// Returns the completion or response so far, as JSON.
    pub fn completion(&mut self) -> Bytes {
        self.fold();
        match &self.accumulated {
            Accumulated::Nothing => Bytes::from_static(b"null"),
            Accumulated::Chat(chunks) => chunks.completion().to_string().into(),
            Accumulated::Response(events) => events.completion(),
        }
    }

    /// Returns the text so far: the content of the first choice, or the text of the response's messages.
    pub fn text(&mut self) -> Cow<'_, str> {
        self.fold();
        match &self.accumulated {
            Accumulated::Nothing => Cow::Borrowed(""),
            Accumulated::Chat(chunks) => chunks.text(),
            Accumulated::Response(events) => events.text().into(),
        }
    }
}

impl Accumulated {
    fn push(&mut self, json: &[u8]) {
        match self {
            Self::Nothing => {}
            Self::Chat(chunks) => {
                let chunk = serde_json::from_slice(json).or_else(|_| serde_json::from_slice(&strict(json)));
                // Invalid JSON has been reported as an error to the reader of the stream.
                if let Ok(chunk) = chunk {
                    chunks.push(chunk);
                }
            }
            Self::Response(events) => events.push(json),
        }
    }
}

/// Derives the joins of a template's strings: `None` unless one chunk with joined strings is equivalent to the
/// successive chunks.
fn joins(template: &JsonTemplate<Vec<u8>>) -> Option<[Join; MAX_STRINGS]> {
    let chunk: Value = serde_json::from_slice(&template.with(mark)).ok()?;
    let mut joins = [None; MAX_STRINGS];
    for (name, value) in chunk.as_object()? {
        match (name.as_str(), value) {
            ("choices", Value::Array(choices)) => match choices.as_slice() {
                [] => {}
                [choice] => joins_of_choice(choice, &mut joins)?,
                _ => return None,
            },
            // This member is merged rather than replaced.
            ("provider_specific_fields", value) => joins_in("", name, value, &mut joins)?,
            ("id" | "created" | "model", value) => note(value, Join::First, &mut joins)?,
            (_, value) => note_all(value, &mut joins),
        }
    }
    let mut found = [Join::Last; MAX_STRINGS];
    for (join, found) in joins[..template.count()].iter().zip(&mut found) {
        *found = (*join)?;
    }
    Some(found)
}

/// Returns the placeholder for a varying string.
fn mark(index: usize) -> String {
    format!("\\u0000{index}")
}

fn marked(value: &Value) -> Option<usize> {
    value.as_str()?.strip_prefix('\0')?.parse().ok()
}

/// Records the join of a string. `None` if the value is a container, which would need a join of its own.
fn note(value: &Value, join: Join, joins: &mut [Option<Join>; MAX_STRINGS]) -> Option<()> {
    match (marked(value), value) {
        (Some(index), _) => joins[index] = Some(join),
        (None, Value::Array(_) | Value::Object(_)) => return None,
        _ => {}
    }
    Some(())
}

/// Records the join of a value that is replaced as a whole: the last string is kept, if the value is a string.
fn note_all(value: &Value, joins: &mut [Option<Join>; MAX_STRINGS]) {
    // In a container, an empty string would count as well.
    if let Some(index) = marked(value) {
        joins[index] = Some(Join::Last);
    }
}

fn joins_of_choice(choice: &Value, joins: &mut [Option<Join>; MAX_STRINGS]) -> Option<()> {
    for (name, value) in choice.as_object()? {
        match name.as_str() {
            "delta" => joins_in("", name, value, joins)?,
            // A message repeats nothing of the delta beside it, and its effect depends on that delta.
            "message" => return None,
            _ => joins_in("", name, value, joins)?,
        }
    }
    Some(())
}

/// Records the joins of a value that is merged with earlier ones.
fn joins_in(parent: &str, name: &str, value: &Value, joins: &mut [Option<Join>; MAX_STRINGS]) -> Option<()> {
    match value {
        Value::String(_) => match marked(value) {
            Some(index) if name == "arguments" => joins[index] = Some(Join::Arguments),
            Some(index) if is_text(parent, name) => joins[index] = Some(Join::Text),
            // A label, which may determine what the other strings belong to.
            Some(_) => return None,
            None if is_text(parent, name) && !is_blank(value) => return None,
            None => {}
        },
        Value::Object(members) => {
            for (member, value) in members {
                joins_in(name, member, value, joins)?;
            }
        }
        // A list grows, unless its item is a piece of an existing one.
        Value::Array(items) => match items.as_slice() {
            [] => {}
            [item] if is_piece(name, item) => joins_in(name, name, item, joins)?,
            _ => return None,
        },
        _ => {}
    }
    Some(())
}

/// Returns true if an item continues another one whatever its text is, and may itself be continued.
fn is_piece(list: &str, item: &Value) -> bool {
    let called = ["function", "custom"].into_iter().find_map(|kind| item.get(kind));
    match list {
        "tool_calls" => called.is_some_and(|called| called.get("name").is_none_or(is_blank)),
        _ => {
            item.get("index").is_some_and(Value::is_u64)
                && ["signature", "data"].into_iter().all(|name| item.get(name).is_none_or(is_blank))
        }
    }
}

#[cfg(test)]
mod tests;
