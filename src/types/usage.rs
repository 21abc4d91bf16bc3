//! The usage of a call, in classes that do not overlap, and its reading from an answer.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};

use super::json_cursor::Cursor;
use super::lenient::Scalar;
use super::operation::Operation;

/// Number of tokens of a call by class. No token is in two classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Input tokens that were neither read from a cache nor written to one, without audio and images.
    pub input: u64,
    /// Input tokens read from a cache.
    pub cached_read: u64,
    /// Input tokens written to a cache for five minutes, or for the provider's usual time.
    pub cache_write: u64,
    /// Input tokens written to a cache for an hour.
    pub cache_write_hour: u64,
    /// Output tokens without reasoning and audio.
    pub output: u64,
    /// Output tokens of reasoning.
    pub reasoning: u64,
    /// Input tokens of audio.
    pub audio_input: u64,
    /// Output tokens of audio.
    pub audio_output: u64,
    /// Input tokens of images, where they are told apart.
    pub image_input: u64,
}

impl Usage {
    /// Reads the usage of an answer in OpenAI's format. Returns `None` if it has none, or the operation counts no tokens.
    ///
    /// The answer is not parsed: the last `"usage"` is looked for from the end, and what follows it shows whether it is a
    /// member of the answer itself. That takes 0.2 µs for an answer of any length whose usage is among its last members; all
    /// others are read once from the beginning.
    pub fn of(operation: Operation, answer: &[u8]) -> Option<Self> {
        match operation {
            Operation::Chat | Operation::Embedding | Operation::Responses | Operation::Rerank => {
                counts(answer)?.usage(operation)
            }
            _ => None,
        }
    }

    /// Reads the usage of a chunk or event of a stream. The last one of a stream that is not `None` is the stream's: each is
    /// cumulative.
    pub fn of_chunk(operation: Operation, chunk: &[u8]) -> Option<Self> {
        if operation != Operation::Responses {
            return Self::of(operation, chunk);
        }
        USAGE.find(chunk)?;
        let mut response = None;
        Cursor::new(chunk, 0).members(|name, cursor| {
            let value = cursor.value()?;
            if name == b"response" {
                response = Some(value);
            }
            Some(())
        })?;
        Self::of(operation, response?)
    }

    /// Returns the sum of two usages.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            input: self.input + other.input,
            cached_read: self.cached_read + other.cached_read,
            cache_write: self.cache_write + other.cache_write,
            cache_write_hour: self.cache_write_hour + other.cache_write_hour,
            output: self.output + other.output,
            reasoning: self.reasoning + other.reasoning,
            audio_input: self.audio_input + other.audio_input,
            audio_output: self.audio_output + other.audio_output,
            image_input: self.image_input + other.image_input,
        }
    }

    /// Returns the number of all input tokens.
    pub fn all_input(&self) -> u64 {
        self.input + self.cached_read + self.cache_write + self.cache_write_hour + self.audio_input + self.image_input
    }

    /// Returns the number of all output tokens.
    pub fn all_output(&self) -> u64 {
        self.output + self.reasoning + self.audio_output
    }
}

const NAME: &[u8] = b"\"usage\"";

static USAGE: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(NAME));

/// Length of the end of an answer that is searched first, in bytes; each further part is four times as long.
const TAIL: usize = 512;

/// Returns the position of the last `"usage"`. Parts are searched forwards, from the last one on: that uses vector
/// instructions, which the search backwards does not.
fn last(json: &[u8]) -> Option<usize> {
    let (mut end, mut size) = (json.len(), TAIL);
    loop {
        let start = end.saturating_sub(size);
        let part = &json[start..json.len().min(end + NAME.len() - 1)];
        if let Some(at) = USAGE.find_iter(part).last() {
            return Some(start + at);
        }
        if start == 0 {
            return None;
        }
        (end, size) = (start, size * 4);
    }
}

/// Returns the counts of the member `usage` of an object; of the last one if there are several, as JSON parsers do. A name
/// that is written with escapes is not recognised.
fn counts(json: &[u8]) -> Option<Counts> {
    let at = last(json)?;
    if let Some(counts) = counts_at(json, at) {
        return counts;
    }
    let mut found = None;
    Cursor::new(json, 0).members(|name, cursor| {
        match name == b"usage" {
            true => found = Counts::read(cursor)?,
            false => drop(cursor.value()?),
        }
        Some(())
    })?;
    found
}

/// Returns the counts behind the name at `at`, if the rest of the text shows that this is a member of the object that is the
/// whole text: further members follow, and then one brace and the end. In a nested object there are more braces, and a text
/// that looks like a member has its quotes escaped.
fn counts_at(json: &[u8], at: usize) -> Option<Option<Counts>> {
    if at > 0 && json[at - 1] == b'\\' {
        return None;
    }
    let mut cursor = Cursor::new(json, at + NAME.len());
    cursor.take(b':')?;
    let counts = Counts::read(&mut cursor)?;
    while cursor.take(b',').is_some() {
        cursor.string()?;
        cursor.take(b':')?;
        cursor.value()?;
    }
    cursor.take(b'}')?;
    cursor.peek().is_none().then_some(counts)
}

/// The counts of a `usage` as they are told: of most hosts, parts are contained in the whole.
#[derive(Debug, Default)]
struct Counts {
    input: Option<u64>,
    output: Option<u64>,
    total: Option<u64>,
    cached: u64,
    written: u64,
    written_hour: u64,
    audio_input: u64,
    image_input: u64,
    reasoning: u64,
    audio_output: u64,
}

/// Count above which a number is no number of tokens.
const ABSURD: u64 = 1 << 48;

#[inline]
fn count(cursor: &mut Cursor<'_>) -> Option<Option<u64>> {
    match cursor.small_integer() {
        Some(count) => Some(Some(count)),
        None => count_of(cursor),
    }
}

#[cold]
fn count_of(cursor: &mut Cursor<'_>) -> Option<Option<u64>> {
    let text = std::str::from_utf8(cursor.value()?).ok()?;
    Some(Option::<u64>::of(text).filter(|count| *count < ABSURD))
}

impl Counts {
    /// Reads a usage and moves behind it. The inner value is `None` if it is no object.
    fn read(cursor: &mut Cursor<'_>) -> Option<Option<Self>> {
        if cursor.peek()? != b'{' {
            cursor.value()?;
            return Some(None);
        }
        let mut counts = Self::default();
        // In OpenAI's order, which most hosts keep to.
        let usual = [&b"\"prompt_tokens\""[..], b"\"completion_tokens\"", b"\"total_tokens\""];
        let has_others = cursor.usual_members(usual, |index, cursor| {
            let count = count(cursor)?;
            *[&mut counts.input, &mut counts.output, &mut counts.total][index] = count;
            Some(())
        })?;
        if has_others {
            cursor.other_members(|name, cursor| counts.read_member(name, cursor))?;
        }
        Some(Some(counts))
    }

    fn read_member(&mut self, name: &[u8], cursor: &mut Cursor<'_>) -> Option<()> {
        match name {
            b"prompt_tokens" | b"input_tokens" => self.input = count(cursor)?.or(self.input),
            b"completion_tokens" | b"output_tokens" => self.output = count(cursor)?.or(self.output),
            b"total_tokens" => self.total = count(cursor)?.or(self.total),
            // Beside the whole, in place of or as well as among its details.
            b"cached_tokens" | b"prompt_cache_hit_tokens" | b"cache_read_input_tokens" => {
                largest(&mut self.cached, cursor)?
            }
            b"cache_creation_input_tokens" => largest(&mut self.written, cursor)?,
            b"reasoning_tokens" => largest(&mut self.reasoning, cursor)?,
            b"prompt_tokens_details" | b"input_tokens_details" if cursor.peek()? == b'{' => {
                let usual = [&b"\"cached_tokens\""[..], b"\"audio_tokens\""];
                let has_others = cursor.usual_members(usual, |index, cursor| {
                    largest([&mut self.cached, &mut self.audio_input][index], cursor)
                })?;
                if has_others {
                    cursor.other_members(|name, cursor| self.read_input_detail(name, cursor))?;
                }
            }
            b"completion_tokens_details" | b"output_tokens_details" if cursor.peek()? == b'{' => {
                self.read_output_details(cursor)?;
            }
            _ => drop(cursor.value()?),
        }
        Some(())
    }

    fn read_output_details(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        let mut predicted = [0; 2];
        let usual = [
            &b"\"reasoning_tokens\""[..],
            b"\"audio_tokens\"",
            b"\"accepted_prediction_tokens\"",
            b"\"rejected_prediction_tokens\"",
        ];
        let has_others = cursor.usual_members(usual, |index, cursor| {
            let [accepted, rejected] = &mut predicted;
            largest([&mut self.reasoning, &mut self.audio_output, accepted, rejected][index], cursor)
        })?;
        if !has_others {
            return Some(());
        }
        cursor.other_members(|name, cursor| match name {
            b"reasoning_tokens" => largest(&mut self.reasoning, cursor),
            b"audio_tokens" => largest(&mut self.audio_output, cursor),
            _ => cursor.value().map(drop),
        })
    }

    fn read_input_detail(&mut self, name: &[u8], cursor: &mut Cursor<'_>) -> Option<()> {
        match name {
            b"cached_tokens" => largest(&mut self.cached, cursor),
            b"cache_creation_tokens" | b"cache_write_tokens" => largest(&mut self.written, cursor),
            b"cache_creation_token_details" if cursor.peek()? == b'{' => cursor.members(|name, cursor| match name {
                b"ephemeral_1h_input_tokens" => largest(&mut self.written_hour, cursor),
                _ => cursor.value().map(drop),
            }),
            b"audio_tokens" => largest(&mut self.audio_input, cursor),
            b"image_tokens" => largest(&mut self.image_input, cursor),
            _ => cursor.value().map(drop),
        }
    }

    /// Divides the counts into classes. Returns `None` if there is no count at all.
    fn usage(self, operation: Operation) -> Option<Usage> {
        if self.input.is_none() && self.output.is_none() && self.total.is_none() {
            return None;
        }
        let output = self.output.unwrap_or(0);
        let input = self.input.unwrap_or_else(|| self.total.unwrap_or(0).saturating_sub(output));
        let written = self.written.max(self.written_hour);
        let kept = self.cached + written;
        // A part that is larger than the whole is not part of it: this host counts cached tokens apart.
        let (mut rest, whole_input) = match input.checked_sub(kept) {
            Some(rest) => (rest, input),
            None => (input, input + kept),
        };
        let mut part = |told: u64| {
            let part = told.min(rest);
            rest -= part;
            part
        };
        let (audio_input, mut image_input) = (part(self.audio_input), part(self.image_input));
        // The same of reasoning. Where the total tells of tokens that are neither input nor output, they are reasoning that
        // the output does not contain, or, of embeddings, inputs that are no texts.
        let untold = self.total.unwrap_or(0).saturating_sub(whole_input + output);
        let is_apart = self.reasoning > output || self.reasoning > 0 && untold >= self.reasoning;
        let (mut text, mut reasoning) = match is_apart {
            true => (output, self.reasoning),
            false => (output - self.reasoning, self.reasoning),
        };
        match operation {
            Operation::Embedding => image_input += untold,
            Operation::Rerank => {}
            _ if self.reasoning == 0 && self.input.is_some() => reasoning = untold,
            _ => {}
        }
        let audio_output = self.audio_output.min(text);
        text -= audio_output;
        Some(Usage {
            input: rest,
            cached_read: self.cached,
            cache_write: written - self.written_hour,
            cache_write_hour: self.written_hour,
            output: text,
            reasoning,
            audio_input,
            audio_output,
            image_input,
        })
    }
}

/// Reads a count that may be told in several places.
fn largest(known: &mut u64, cursor: &mut Cursor<'_>) -> Option<()> {
    *known = (*known).max(count(cursor)?.unwrap_or(0));
    Some(())
}

#[cfg(test)]
mod tests;
