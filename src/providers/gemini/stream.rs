//! A stream's events, each an answer with the next deltas → chunks.

use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use memchr::memmem;

use super::answer::Answer;
use super::reader::Reader;
use super::with_details;
use crate::error::{Error, ErrorKind, Result};
use crate::providers::delta_cache::DeltaCache;
use crate::providers::{StreamDecoder, errors, refusals};
use crate::types::completion::{self, Choice, Completion, Content, Message};
use crate::types::members::{Members, read};

/// Decoder of a stream of answers.
pub(super) struct GeminiChunks {
    provider: &'static str,
    /// True if the caller asked for the chunk that holds nothing but the usage.
    show_usage: bool,
    reader: Reader,
    /// The last event and its chunk, if it had nothing but text.
    pub(super) last: Option<DeltaCache>,
    /// Buffer for chunks that are made from `last`.
    buffer: BytesMut,
    /// True after `[DONE]`, which some gateways send; Google's own streams end without it.
    done: bool,
}

static CHOICES: LazyLock<memmem::Finder> = LazyLock::new(|| memmem::Finder::new(b"\"choices\":["));

impl GeminiChunks {
    /// Creates the decoder of a stream of `provider`.
    pub fn new(provider: &'static str, show_usage: bool, reader: Reader) -> Self {
        Self { provider, show_usage, reader, last: None, buffer: BytesMut::new(), done: false }
    }
}

impl StreamDecoder for GeminiChunks {
    fn event(&mut self, _name: &[u8], data: Bytes, chunks: &mut Vec<Bytes>) -> Result<()> {
        if let Some(last) = &self.last
            && let Some(delta) = last.new_delta(&data)
        {
            self.reader.read_text_delta(&data, last.index, &delta);
            chunks.push(last.chunk(&delta, &mut self.buffer));
            return Ok(());
        }
        self.last = None;
        let text = data.trim_ascii();
        if text == b"[DONE]" {
            self.done = true;
        }
        if text.first() != Some(&b'{') {
            return Ok(());
        }
        let answer = read::<Answer>(text).map_err(|error| {
            let message =
                format!("{} sent an event that cannot be read ({error}): {}", self.provider, errors::excerpt(text));
            Error::new(ErrorKind::ApiResponseValidation, message)
        })?;
        let is_refusal = || Members::of(text).is_ok_and(|top| refusals::is_refusal(&top));
        if answer.error.is_some() || !answer.is_answer() && is_refusal() {
            return Err(with_details(errors::from_event(self.provider, &data)));
        }
        let usage = answer.usage.map(|usage| usage.get());
        let choices = self.reader.read_event(&data, answer);
        if !choices.is_empty() {
            let provider_specific_fields =
                if self.reader.is_finished() { self.reader.take_unmapped() } else { Default::default() };
            let chunk = Completion { choices, provider_specific_fields, ..self.reader.envelope(completion::CHUNK) };
            let json = chunk.to_json();
            if let [Choice { index, delta: Some(Message { content: Content::Text(text), .. }), .. }] = &*chunk.choices {
                self.last = DeltaCache::of(u64::from(*index), data.clone(), text, usage, &json);
            }
            chunks.push(json);
        }
        if self.reader.is_finished() {
            // After the finish reason, each event emits the usage that it brings.
            self.last = None;
            chunks.extend(self.usage_so_far());
        }
        Ok(())
    }

    fn is_shown(&self, chunk: &[u8]) -> bool {
        // The first `choices` with unescaped quotes is the chunk's own member: id and model come before it, as strings.
        self.show_usage || CHOICES.find(chunk).is_none_or(|start| chunk.get(start + 11) != Some(&b']'))
    }

    fn usage_so_far(&self) -> Option<Bytes> {
        let usage = self.reader.usage()?;
        Some(Completion { usage: Some(usage), ..self.reader.envelope(completion::CHUNK) }.to_json())
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn is_complete(&self) -> bool {
        self.done || self.reader.is_finished()
    }
}
