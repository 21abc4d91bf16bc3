//! What a stream has said so far, in little more memory than its text takes.
//!
//! Chunks are put together a few kB at a time, or when somebody asks. Of chunks that differ in some strings alone (see
//! `shape`) only these strings are kept until then, and are put together as one chunk where that says the same: so a chunk
//! costs the copy of its text.

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

/// So many bytes wait before they are put together: a stream of a hundred chunks, of which nobody asks for the completion,
/// is never parsed a second time.
const MOST_PENDING: usize = 3000;
/// A stream's chunks are given up on as alike after this many shapes.
const MOST_SHAPES: u8 = 8;

/// What a stream has said so far.
#[derive(Debug)]
pub struct Snapshot {
    whole: Whole,
    /// What is not in `whole` yet: chunks, and strings of chunks that are alike, each with its closing quote.
    pending: Vec<u8>,
    /// Where each chunk begins in it, and each run of chunks that are alike.
    segments: Vec<Segment>,
    /// Whether the last segment is a run.
    in_run: bool,
    shape: Option<JsonTemplate<Vec<u8>>>,
    /// How many shapes there have been.
    shapes: u8,
    /// How the strings of the shape are joined, once that was asked; `None`: they are not.
    joins: Option<Option<[Join; MAX_STRINGS]>>,
    /// The last chunk that was not alike.
    last: Vec<u8>,
    /// How many bytes have been put together.
    #[cfg(test)]
    read: usize,
}

#[derive(Debug)]
enum Whole {
    /// Its pieces make up no answer.
    Nothing,
    Chat(Accumulator),
    Response(response::Accumulator),
}

#[derive(Debug, Clone, Copy)]
struct Segment {
    start: usize,
    is_run: bool,
}

/// What becomes of the strings that stand at one place in chunks that are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Join {
    /// They are one text.
    Text,
    /// The same, unless one of them may begin anew.
    Arguments,
    First,
    Last,
}

/// Where a chunk differs from those that are like it.
#[derive(Debug, Clone)]
pub struct SameTemplate {
    /// Which of the stream's shapes it has, counted from 1.
    pub shape: u8,
    count: u8,
    spans: Spans,
}

impl SameTemplate {
    /// Where the strings that differ stand in the chunk, without their quotes.
    pub fn spans(&self) -> &[Span] {
        &self.spans[..self.count.into()]
    }
}

impl Snapshot {
    /// Of a stream that has said nothing yet.
    pub fn new(operation: Operation) -> Self {
        let whole = match operation.spec().streaming {
            Streaming::Events => Whole::Response(response::Accumulator::default()),
            Streaming::Chunks => Whole::Chat(Accumulator::default()),
            _ => Whole::Nothing,
        };
        Self {
            whole,
            pending: Vec::new(),
            segments: Vec::new(),
            in_run: false,
            shape: None,
            shapes: 0,
            joins: None,
            last: Vec::new(),
            #[cfg(test)]
            read: 0,
        }
    }

    /// Adds a chunk, or an event, as JSON. Tells whether it is like others before it.
    pub fn push(&mut self, chunk: &[u8]) -> Option<SameTemplate> {
        let Some(shape) = &self.shape else {
            self.push_unlike(chunk);
            return None;
        };
        let Some(spans) = shape.spans(chunk) else {
            self.push_unlike(chunk);
            return None;
        };
        let same = SameTemplate { shape: self.shapes, count: shape.count() as u8, spans };
        if !self.in_run {
            self.begin(true);
        }
        for span in same.spans() {
            let Range { start, end } = span.range();
            self.pending.extend_from_slice(&chunk[start..=end]);
        }
        if self.pending.len() > MOST_PENDING {
            self.fold_run_if_whole();
        }
        Some(same)
    }

    fn begin(&mut self, is_run: bool) {
        self.segments.push(Segment { start: self.pending.len(), is_run });
        self.in_run = is_run;
    }

    #[cold]
    fn push_unlike(&mut self, chunk: &[u8]) {
        if matches!(self.whole, Whole::Nothing) {
            return;
        }
        self.begin(false);
        self.pending.extend_from_slice(chunk);
        if self.shapes < MOST_SHAPES && matches!(self.whole, Whole::Chat(_)) {
            if let Some(shape) = JsonTemplate::of(&self.last, chunk) {
                // What waits may have the old shape.
                if self.segments.iter().any(|segment| segment.is_run) {
                    self.fold();
                }
                self.shape = Some(shape.into_owned());
                self.joins = None;
                self.shapes += 1;
            }
            self.last.clear();
            self.last.extend_from_slice(chunk);
        }
        if self.pending.len() > MOST_PENDING {
            self.fold();
        }
    }

    /// A surrogate pair that is cut between two chunks is put together with both of them.
    #[cold]
    fn fold_run_if_whole(&mut self) {
        let half = self.pending.len().checked_sub(7).and_then(|start| surrogate(&self.pending[start..]));
        if half.is_none_or(|half| half >= 0xDC00) || self.pending.len() > 2 * MOST_PENDING {
            self.fold();
        }
    }

    /// Puts together what waits.
    fn fold(&mut self) {
        let mut pending = std::mem::take(&mut self.pending);
        let segments = std::mem::take(&mut self.segments);
        #[cfg(test)]
        (self.read += pending.len());
        self.in_run = false;
        let ends = segments.iter().skip(1).map(|segment| segment.start).chain([pending.len()]);
        for (segment, end) in segments.iter().zip(ends) {
            let part = &pending[segment.start..end];
            if segment.is_run { self.fold_run(part) } else { self.whole.push(part) }
        }
        // The memory serves again, unless a large chunk has made it so.
        pending.clear();
        pending.shrink_to(MOST_PENDING);
        self.pending = pending;
    }

    fn fold_run(&mut self, mut run: &[u8]) {
        let Some(shape) = &self.shape else { return };
        let joins = *self.joins.get_or_insert_with(|| joins(shape));
        let mut joined: Option<[Vec<u8>; MAX_STRINGS]> = None;
        while !run.is_empty() {
            let mut strings = [&[][..]; MAX_STRINGS];
            for string in &mut strings[..shape.count()] {
                let Some(end) = end_of_string(run) else { return };
                (*string, run) = (&run[..end], &run[end + 1..]);
            }
            // One that cannot be read must not make the others so.
            let joins = joins.filter(|_| strings.iter().all(|string| is_well_escaped(string)));
            let Some(joins) = joins else {
                if let Some(joined) = joined.take() {
                    self.whole.push(&shape.with(|index| &joined[index]));
                }
                self.whole.push(&shape.with(|index| strings[index]));
                continue;
            };
            // Arguments that begin anew may be another call's.
            let may_begin = |string: &[u8]| string.contains(&b'{') || string.windows(2).any(|pair| pair == b"\\u");
            let mut both = strings.iter().zip(joins);
            if both.any(|(string, join)| join == Join::Arguments && may_begin(string))
                && let Some(joined) = joined.take()
            {
                self.whole.push(&shape.with(|index| &joined[index]));
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
            self.whole.push(&shape.with(|index| &joined[index]));
        }
    }

    /// No more is to come: what was kept for more is given back.
    pub fn close(&mut self) {
        self.last = Vec::new();
        self.pending.shrink_to_fit();
        self.segments.shrink_to_fit();
    }

    /// The completion or response so far, as JSON.
    pub fn completion(&mut self) -> Bytes {
        self.fold();
        match &self.whole {
            Whole::Nothing => Bytes::from_static(b"null"),
            Whole::Chat(chunks) => chunks.completion().to_string().into(),
            Whole::Response(events) => events.completion(),
        }
    }

    /// The text so far: the first choice's content, or what the response's messages say.
    pub fn text(&mut self) -> Cow<'_, str> {
        self.fold();
        match &self.whole {
            Whole::Nothing => Cow::Borrowed(""),
            Whole::Chat(chunks) => chunks.text(),
            Whole::Response(events) => events.text().into(),
        }
    }
}

impl Whole {
    fn push(&mut self, json: &[u8]) {
        match self {
            Self::Nothing => {}
            Self::Chat(chunks) => {
                let chunk = serde_json::from_slice(json).or_else(|_| serde_json::from_slice(&strict(json)));
                // What is no JSON at all was an error for whoever read it.
                if let Ok(chunk) = chunk {
                    chunks.push(chunk);
                }
            }
            Self::Response(events) => events.push(json),
        }
    }
}

/// How the strings that differ in chunks of a shape are joined, if one chunk with joined strings says the same as these
/// chunks one after the other.
fn joins(shape: &JsonTemplate<Vec<u8>>) -> Option<[Join; MAX_STRINGS]> {
    let chunk: Value = serde_json::from_slice(&shape.with(mark)).ok()?;
    let mut joins = [None; MAX_STRINGS];
    for (name, value) in chunk.as_object()? {
        match (name.as_str(), value) {
            ("choices", Value::Array(choices)) => match choices.as_slice() {
                [] => {}
                [choice] => joins_of_choice(choice, &mut joins)?,
                _ => return None,
            },
            // Merged, not replaced.
            ("provider_specific_fields", value) => joins_in("", name, value, &mut joins)?,
            ("id" | "created" | "model", value) => note(value, Join::First, &mut joins)?,
            (_, value) => note_all(value, &mut joins),
        }
    }
    let mut found = [Join::Last; MAX_STRINGS];
    for (join, found) in joins[..shape.count()].iter().zip(&mut found) {
        *found = (*join)?;
    }
    Some(found)
}

/// What stands for a string that differs.
fn mark(index: usize) -> String {
    format!("\\u0000{index}")
}

fn marked(value: &Value) -> Option<usize> {
    value.as_str()?.strip_prefix('\0')?.parse().ok()
}

/// `None`: the value is another, or would be another's.
fn note(value: &Value, join: Join, joins: &mut [Option<Join>; MAX_STRINGS]) -> Option<()> {
    match (marked(value), value) {
        (Some(index), _) => joins[index] = Some(join),
        (None, Value::Array(_) | Value::Object(_)) => return None,
        _ => {}
    }
    Some(())
}

/// A value that is replaced as a whole: its strings are those that were said last, if there is but one of them.
fn note_all(value: &Value, joins: &mut [Option<Join>; MAX_STRINGS]) {
    // In a container a blank string would have its place too.
    if let Some(index) = marked(value) {
        joins[index] = Some(Join::Last);
    }
}

fn joins_of_choice(choice: &Value, joins: &mut [Option<Join>; MAX_STRINGS]) -> Option<()> {
    for (name, value) in choice.as_object()? {
        match name.as_str() {
            "delta" => joins_in("", name, value, joins)?,
            // Beside a delta it says nothing twice, but what it says depends on that.
            "message" => return None,
            _ => joins_in("", name, value, joins)?,
        }
    }
    Some(())
}

/// Looks through a value that is merged with what came before.
fn joins_in(parent: &str, name: &str, value: &Value, joins: &mut [Option<Join>; MAX_STRINGS]) -> Option<()> {
    match value {
        Value::String(_) => match marked(value) {
            Some(index) if name == "arguments" => joins[index] = Some(Join::Arguments),
            Some(index) if is_text(parent, name) => joins[index] = Some(Join::Text),
            // A label: it may say whose the rest is.
            Some(_) => return None,
            None if is_text(parent, name) && !is_blank(value) => return None,
            None => {}
        },
        Value::Object(members) => {
            for (member, value) in members {
                joins_in(name, member, value, joins)?;
            }
        }
        // A list grows, unless its item is a piece of one that is there.
        Value::Array(items) => match items.as_slice() {
            [] => {}
            [item] if is_piece(name, item) => joins_in(name, name, item, joins)?,
            _ => return None,
        },
        _ => {}
    }
    Some(())
}

/// Whether an item joins another whatever its text is, and leaves it open for the next.
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
mod tests {
    use super::*;
    use serde_json::json;

    fn read(json: &[u8]) -> Value {
        serde_json::from_slice(json).unwrap()
    }

    /// What the chunks say, put together one by one.
    fn one_by_one(chunks: &[String]) -> Value {
        let mut whole = Accumulator::default();
        chunks.iter().for_each(|chunk| whole.push(read(&strict(chunk.as_bytes()))));
        whole.completion()
    }

    fn snapshot(chunks: &[String]) -> Snapshot {
        let mut snapshot = Snapshot::new(Operation::Chat);
        for chunk in chunks {
            snapshot.push(chunk.as_bytes());
        }
        snapshot
    }

    fn text_of(random: &mut fastrand::Rng) -> String {
        let texts = ["", "a", "Hello", " ", "{", "{\"x\": 1", "}", "{}", "\\", "\"", "é", "🍓", "\n{", "\u{0}1", "0"];
        (0..random.usize(0..3)).map(|_| texts[random.usize(..texts.len())]).collect()
    }

    /// A chunk of one of many kinds; runs of one kind are likely.
    fn chunk_of(kind: usize, random: &mut fastrand::Rng) -> Value {
        let text = text_of(random);
        let other = text_of(random);
        let delta = match kind {
            0 => json!({"content": text}),
            1 => json!({"reasoning_content": text, "content": null, "role": ""}),
            2 => json!({"tool_calls": [{"index": 0, "function": {"arguments": text}}]}),
            3 => json!({"tool_calls": [{"index": 0, "id": "", "function": {"name": "f", "arguments": text}}]}),
            4 => json!({"tool_calls": [{"index": random.u8(..2), "id": other, "function": {"arguments": text}}]}),
            5 => json!({"tool_calls": [{"index": 0, "id": other, "function": {"name": "f", "arguments": text}}]}),
            6 => json!({"reasoning_details": [{"type": "reasoning.text", "text": text, "index": 0}]}),
            7 => {
                json!({"reasoning_details": [{"type": "reasoning.text", "text": text, "signature": other, "index": 0}]})
            }
            8 => json!({"reasoning_details": [{"type": "reasoning.text", "text": text}]}),
            9 => json!({"content": text, "name": other, "audio": {"id": "a", "data": other, "transcript": text}}),
            10 => json!({"content": [{"type": "text", "text": text}]}),
            11 => json!({"content": "same", "x": {"parts": [other]}, "refusal": text}),
            12 => json!({"content": text, "provider_specific_fields": {"p": {"content": [{"text": other}]}}}),
            _ => json!({"function_call": {"name": "f", "arguments": text}}),
        };
        let mut chunk =
            json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]});
        match random.u8(..8) {
            0 => chunk["obfuscation"] = other.into(),
            1 => chunk["id"] = text_of(random).into(),
            2 => chunk["choices"][0]["message"] = json!({"role": "assistant", "content": other}),
            3 => chunk["choices"][0]["logprobs"] = json!({"content": [{"token": other, "logprob": 0}]}),
            4 => chunk["citations"] = json!([other]),
            5 => chunk["choices"][0]["index"] = random.u8(..2).into(),
            _ => {}
        }
        chunk
    }

    #[test]
    fn however_chunks_are_alike_they_say_what_they_say_one_by_one() {
        let mut random = fastrand::Rng::with_seed(13);
        for round in 0..300 {
            let mut chunks = Vec::new();
            for _ in 0..random.usize(1..5) {
                let (kind, seed) = (random.usize(..14), random.u64(..));
                for _ in 0..random.usize(1..8) {
                    // The same members in all chunks of a run, with other strings now and then.
                    let mut same = fastrand::Rng::with_seed(if random.bool() { seed } else { random.u64(..) });
                    chunks.push(chunk_of(kind, &mut same).to_string());
                }
            }
            let mut snapshot = Snapshot::new(Operation::Chat);
            for (count, chunk) in chunks.iter().enumerate() {
                snapshot.push(chunk.as_bytes());
                if random.u8(..16) == 0 {
                    assert_eq!(read(&snapshot.completion()), one_by_one(&chunks[..=count]), "{round}: {chunks:#?}");
                }
            }
            assert_eq!(read(&snapshot.completion()), one_by_one(&chunks), "{round}: {chunks:#?}");
        }
    }

    /// A message in chunks, its texts cut anywhere.
    fn cut(random: &mut fastrand::Rng, content: &str, reasoning: &str, calls: &[(&str, &str)]) -> Vec<String> {
        let mut pieces = |text: &str| {
            let mut pieces = vec![String::new()];
            for character in text.chars() {
                if random.u8(..4) == 0 {
                    pieces.push(String::new());
                }
                pieces.last_mut().unwrap().push(character);
            }
            pieces
        };
        let mut deltas = vec![json!({"role": "assistant", "content": ""})];
        deltas.extend(pieces(reasoning).into_iter().map(|piece| json!({"reasoning_content": piece})));
        deltas.extend(pieces(content).into_iter().map(|piece| json!({"content": piece})));
        for (index, (id, arguments)) in calls.iter().enumerate() {
            deltas
                .push(json!({"tool_calls": [{"index": index, "id": id, "function": {"name": "f", "arguments": ""}}]}));
            let more = |piece| json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]});
            deltas.extend(pieces(arguments).into_iter().map(more));
        }
        deltas.into_iter().map(|delta| json!({"choices": [{"index": 0, "delta": delta}]}).to_string()).collect()
    }

    #[test]
    fn however_a_stream_is_cut_it_says_the_same() {
        let mut random = fastrand::Rng::with_seed(14);
        let content = "Héllo \"🍓\" {wörld} \\n\n".repeat(40);
        let calls = [("a", r#"{"x": {"y": ["{", "}"]}, "z": "\"{"}"#), ("b", "{}")];
        let whole = read(&snapshot(&cut(&mut random, &content, "Hm {}", &calls)).completion());
        assert_eq!(whole["choices"][0]["message"]["content"], content);
        for _ in 0..200 {
            let mut snapshot = snapshot(&cut(&mut random, &content, "Hm {}", &calls));
            assert_eq!(read(&snapshot.completion()), whole);
            assert_eq!(snapshot.text(), content);
        }
    }

    #[test]
    fn a_surrogate_pair_may_be_cut() {
        let piece = |text: &str| format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}"#);
        let mut chunks = vec![piece("a"), piece("b")];
        chunks.extend((0..3000).flat_map(|_| [piece(r"\ud83c"), piece(r"\udf53")]));
        assert_eq!(snapshot(&chunks).text(), format!("ab{}", "🍓".repeat(3000)));
    }

    #[test]
    fn a_chunk_that_cannot_be_read_costs_no_other() {
        let piece = |text: &str| format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}"#);
        let chunks: Vec<String> = ["a", "b", "c", r"\x", "d", r"\u12", "e"].into_iter().map(piece).collect();
        assert_eq!(snapshot(&chunks).text(), "abcde");
    }

    fn memory(snapshot: &Snapshot) -> usize {
        let shape = snapshot.shape.as_ref().map_or(0, |shape| shape.with(|_| "").capacity());
        let segments = snapshot.segments.capacity() * size_of::<Segment>();
        size_of::<Snapshot>() + snapshot.pending.capacity() + segments + snapshot.last.capacity() + shape
    }

    #[test]
    fn a_long_stream_takes_the_memory_of_its_text() {
        let piece = |text: usize| {
            let delta = json!({"content": format!("{text} ")});
            json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": null}]}).to_string()
        };
        let mut snapshot = Snapshot::new(Operation::Chat);
        let mut largest = 0;
        for text in 0..20_000 {
            snapshot.push(piece(text).as_bytes());
            largest = largest.max(memory(&snapshot));
        }
        assert!(largest < 6144, "{largest} B beside the text");
        let Whole::Chat(whole) = &snapshot.whole else { unreachable!("it is a chat") };
        let text = whole.text();
        let capacity = whole.text_capacity();
        assert!(capacity <= text.len() * 5 / 4 + 1024, "{capacity} B for a text of {}", text.len());
    }

    #[test]
    fn to_ask_for_the_text_costs_what_is_new() {
        let chunk =
            |text: usize| json!({"choices": [{"index": 0, "delta": {"content": text.to_string()}}]}).to_string();
        let mut snapshot = Snapshot::new(Operation::Chat);
        let mut size = 0;
        for text in 0..2_000 {
            size += chunk(text).len();
            snapshot.push(chunk(text).as_bytes());
            snapshot.completion();
        }
        assert!(snapshot.read <= size, "{} B were read of {size}", snapshot.read);
    }

    #[test]
    fn a_response_is_put_together_as_it_comes() {
        let mut snapshot = Snapshot::new(Operation::Responses);
        for number in 0..2_000 {
            let event = json!({"type": "response.output_text.delta", "sequence_number": number, "output_index": 0, "content_index": 0, "delta": "ab"});
            assert!(snapshot.push(event.to_string().as_bytes()).is_none());
        }
        assert!(memory(&snapshot) < 8192, "{}", memory(&snapshot));
        assert_eq!(snapshot.text(), "ab".repeat(2_000));
        assert_eq!(read(&snapshot.completion())["output"][0]["content"][0]["text"], "ab".repeat(2_000));
    }
}
