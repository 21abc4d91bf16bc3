//! A stream's lines → chunks: <https://docs.ollama.com/api/chat>.

use bytes::Bytes;
use serde_json::Map;

use super::super::received::specific_fields;
use super::super::visibility::is_shown;
use super::super::{StreamDecoder, errors, refusals};
use super::response::{Answer, random_id};
use super::{DIALECT, ROW};
use crate::error::{Error, ErrorKind, Result};
use crate::types::completion::{CHUNK, Choice, Completion};
use crate::types::members::Members;

/// Decoder of a stream, in which each line is an answer with the next delta.
pub(super) struct OllamaChunks {
    id: String,
    created: u64,
    /// True if the caller asked for the chunk that holds nothing but the usage.
    show_usage: bool,
    /// True once the first chunk, which has the role, has been emitted.
    begun: bool,
    /// Number of tool calls so far.
    calls: u32,
    done: bool,
}

impl OllamaChunks {
    /// Creates the decoder of a stream that began at `created` (Unix seconds).
    pub fn new(created: u64, show_usage: bool) -> Self {
        Self { id: random_id("chatcmpl"), created, show_usage, begun: false, calls: 0, done: false }
    }
}

impl StreamDecoder for OllamaChunks {
    fn event(&mut self, _name: &[u8], data: Bytes, chunks: &mut Vec<Bytes>) -> Result<()> {
        let wrong = |error| {
            Error::new(ErrorKind::ApiResponseValidation, format!("ollama sent a line that cannot be read: {error}"))
        };
        let top = Members::of(&data).map_err(wrong)?;
        let has_message = top.some("message").is_some_and(|message| message.starts_with('{'));
        if top.some("error").is_some() || !has_message && refusals::is_refusal(&top) {
            return Err(errors::from_event(ROW.name, &data));
        }
        let mut answer = Answer::of(&top);
        let mut delta = answer.take_message(Some(self.calls));
        let chunk = || Completion {
            id: (&*self.id).into(),
            object: CHUNK,
            created: self.created,
            model: (&*answer.model.0).into(),
            ..Default::default()
        };

        self.calls += delta.tool_calls.len() as u32;
        if !self.begun {
            delta.role = Some("assistant");
        }
        let finish_reason = answer.done.then(|| answer.finish_reason(self.calls > 0));
        let choice = Choice { delta: Some(delta), finish_reason, logprobs: answer.logprobs(), ..Default::default() };
        // Each line has a time; only that of the last line is the answer's.
        let provider_specific_fields = if answer.done { specific_fields(DIALECT, answer.rest()) } else { Map::new() };
        chunks.push(Completion { choices: vec![choice], provider_specific_fields, ..chunk() }.to_json());
        if answer.done
            && let Some(usage) = answer.usage()
        {
            chunks.push(Completion { usage: Some(usage), ..chunk() }.to_json());
        }
        self.begun = true;
        self.done |= answer.done;
        Ok(())
    }

    fn is_shown(&self, chunk: &[u8]) -> bool {
        is_shown(chunk, self.show_usage)
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn is_complete(&self) -> bool {
        self.done
    }
}
