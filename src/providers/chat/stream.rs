//! Streams of chat completions in OpenAI's format.
//!
//! Wire format: <https://platform.openai.com/docs/api-reference/chat-streaming>

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;

use crate::error::{Error, ErrorKind, Result};
use crate::providers::normalise::normalise_chunk;
use crate::providers::pieces::Pieces;
use crate::providers::tools::answer::NormalisedCalls;
use crate::providers::tools::ids::Ids;
use crate::providers::tools::names::Renamed;
use crate::providers::visibility::{asks_for_usage, has_empty_choices, is_shown};
use crate::providers::{Row, StreamDecoder, errors, refusals};
use crate::types::json_template::JsonTemplate;
use crate::types::members::Members;
use crate::types::request::Request;

/// Returns a decoder for one stream in OpenAI's format.
pub(in crate::providers) fn stream_decoder(row: &'static Row, request: &Request) -> Box<dyn StreamDecoder> {
    let show_usage = asks_for_usage(request);
    let several = request.params.get("n").is_some_and(|n| !matches!(n, b"null" | b"1"));
    let choices = several.then(BTreeMap::new);
    let chunks = Box::new(OpenAiChunks {
        provider: row.name,
        show_usage,
        begun: false,
        done: false,
        since_finish: None,
        choices,
        pieces: Pieces::default(),
        last: Vec::new(),
        plain: None,
        was_plain: false,
    });
    if request.params.get("tools").is_none() {
        return chunks;
    }
    Box::new(NormalisedCalls {
        decoder: chunks,
        renamed: Renamed::of(&row.tools, &request.params),
        ids: Ids::default(),
    })
}

static FINISH: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"finish_reason\""));

/// Decoder of a stream of `chat.completion.chunk` events.
struct OpenAiChunks {
    provider: &'static str,
    /// True if the caller requested the chunk that holds nothing but the usage.
    show_usage: bool,
    /// True if a chunk with choices has come.
    begun: bool,
    done: bool,
    /// Number of chunks since the last one with a finish reason.
    since_finish: Option<usize>,
    /// Choices that have begun, by index, with true for those that have finished; `None` unless several were requested.
    choices: Option<BTreeMap<u64, bool>>,
    /// Choices whose content came as lists.
    pieces: Pieces,
    /// The last chunk that was parsed and needed no change. It is a copy: the chunk itself would keep alive the whole buffer
    /// that it was read into.
    last: Vec<u8>,
    /// Template that `last` and the chunk before it match. A chunk that matches it needs no change either: changes depend on
    /// names, and on values that are no strings.
    plain: Option<JsonTemplate<Vec<u8>>>,
    /// True if the last event matched the template.
    was_plain: bool,
}

/// Returns true if an event refuses the request, or says that the answer has failed.
fn is_refusal(event: &[u8]) -> bool {
    let lacks_choices = has_empty_choices(event);
    if !lacks_choices && !refusals::may_be_in(event) {
        return false;
    }
    let Ok(top) = Members::of(event) else { return false };
    refusals::error_in(&top).is_some() || refusals::has_failed(&top) || lacks_choices && refusals::is_refusal(&top)
}

/// Maximum number of chunks after the one with the finish reason: usage, moderation or metrics may follow it.
const MAX_AFTER_FINISH: usize = 8;

impl StreamDecoder for OpenAiChunks {
    fn event(&mut self, name: &[u8], data: Bytes, chunks: &mut Vec<Bytes>) -> Result<()> {
        self.was_plain = name.is_empty() && self.is_plain(&data) && !self.pieces.have_begun();
        if self.was_plain {
            self.since_finish = self.since_finish.map(|since| since + 1);
            chunks.push(data);
            return Ok(());
        }
        let text = data.trim_ascii();
        if text == b"[DONE]" {
            if !self.begun {
                let message = format!("{} ended its stream without a word of an answer", self.provider);
                return Err(Error::new(ErrorKind::ApiResponseValidation, message));
            }
            self.done = true;
            return Ok(());
        }
        // OpenRouter has been seen to send `Token limit reached` beside choices that had finished because of their length.
        let is_ignored = || self.is_complete() && !has_empty_choices(text);
        if name == b"error" || is_refusal(text) && !is_ignored() {
            return Err(errors::from_event(self.provider, &data));
        }
        if text.first() != Some(&b'{') {
            // Keep-alives and comments are no chunks.
            return Ok(());
        }
        let rewritten = normalise_chunk(self.provider, text, &mut self.pieces);
        let is_rewritten = rewritten.is_some();
        let chunk = rewritten.unwrap_or_else(|| data.slice_ref(text));
        if let Some(choices) = &mut self.choices {
            record_choices(&chunk, choices);
        }
        let has_choices = !has_empty_choices(&chunk);
        self.begun |= has_choices;
        if has_finish(&chunk) {
            self.since_finish = Some(0);
        } else {
            self.since_finish = self.since_finish.map(|since| since + 1);
            if !is_rewritten && has_choices {
                if let Some(template) = JsonTemplate::of(&self.last, &chunk[..]) {
                    self.plain = Some(template.into_owned());
                }
                self.last.clear();
                self.last.extend_from_slice(&chunk);
            }
        }
        chunks.push(chunk);
        Ok(())
    }

    fn is_shown(&self, chunk: &[u8]) -> bool {
        self.was_plain || is_shown(chunk, self.show_usage)
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn is_complete(&self) -> bool {
        let is_open = self.choices.as_ref().is_some_and(|choices| choices.values().any(|is_finished| !is_finished));
        self.done || (!is_open && self.since_finish.is_some_and(|since| since < MAX_AFTER_FINISH))
    }
}

impl OpenAiChunks {
    /// Returns true if a chunk differs from the last plain one in strings alone, so that it need not be parsed.
    fn is_plain(&self, chunk: &[u8]) -> bool {
        self.plain.as_ref().is_some_and(|plain| plain.spans(chunk).is_some())
    }
}

/// Records the choices that a chunk has, and those of them that finish with it.
fn record_choices(chunk: &[u8], known: &mut BTreeMap<u64, bool>) {
    let choices = Members::of(chunk).ok().and_then(|top| serde_json::from_str(top.some("choices")?).ok());
    let choices: Vec<Members> = choices.unwrap_or_default();
    for choice in choices {
        let index = choice.some("index").and_then(|index| index.parse().ok()).unwrap_or(0);
        let is_finished = choice.some("finish_reason").is_some_and(|reason| reason != "\"\"");
        // A choice without a delta is about the prompt, or has a filter's verdict.
        if is_finished || choice.some("delta").is_some_and(|delta| delta != "{}") {
            *known.entry(index).or_default() |= is_finished;
        }
    }
}

fn has_finish(chunk: &[u8]) -> bool {
    FINISH.find_iter(chunk).any(|start| {
        let rest = chunk[start + b"\"finish_reason\"".len()..].trim_ascii_start();
        rest.strip_prefix(b":")
            .is_some_and(|value| matches!(value.trim_ascii_start(), [b'"', first, ..] if *first != b'"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::{TABLE, lookup};
    use crate::types::params::Params;

    #[test]
    fn every_chunk_that_is_shown_has_a_choice_with_a_delta() {
        let (all, shown, complete) = streamed(&[
            r#"{"choices":[],"prompt_filter_results":[{"prompt_index":0}]}"#,
            r#"{"choices":null,"x":1}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}"#,
            r#"{"choices":[{"index":0,"finish_reason":null,"content_filter_offsets":{"check_offset":1}}]}"#,
            r#"{"choices":[{"index":0,"delta": null,"content_filter_results":{}}]}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            "[DONE]",
        ]);
        assert!(complete);
        assert_eq!((all.len(), shown.len()), (6, 4));
        for chunk in shown {
            let chunk: serde_json::Value = serde_json::from_str(&chunk).unwrap();
            assert!(chunk["choices"][0]["delta"].is_object(), "{chunk}");
        }
        assert_eq!(
            all[3],
            r#"{"choices":[{"index":0,"finish_reason":null,"content_filter_offsets":{"check_offset":1},"delta":{}}]}"#
        );
    }

    fn streamed(events: &[&'static str]) -> (Vec<String>, Vec<String>, bool) {
        let mut decoder = stream_decoder(&TABLE[0], &Request::default());
        let (mut all, mut shown) = (Vec::new(), Vec::new());
        for event in events {
            let mut chunks = Vec::new();
            decoder.event(b"", Bytes::from_static(event.as_bytes()), &mut chunks).unwrap();
            for chunk in chunks {
                let text = String::from_utf8(chunk.to_vec()).unwrap();
                shown.extend(decoder.is_shown(&chunk).then(|| text.clone()));
                all.push(text);
            }
        }
        (all, shown, decoder.is_complete())
    }

    #[test]
    fn the_usage_chunk_is_kept_and_not_shown() {
        let usage = r#"{"choices": [ ], "usage": {"total_tokens": 1}}"#;
        let (all, shown, complete) = streamed(&[
            r#"{"choices":[{"delta":{"content":"a"},"finish_reason":null}],"usage":null}"#,
            usage,
            "[DONE]",
        ]);
        assert_eq!((all.len(), shown.len(), complete), (2, 1, true));
    }

    #[test]
    fn a_stream_is_complete_with_a_finish_or_done() {
        assert!(streamed(&[r#"{"choices":[{"delta":{},"finish_reason": "stop"}]}"#]).2);
        assert!(!streamed(&[r#"{"choices":[{"delta":{},"finish_reason":null}]}"#]).2);
    }

    #[test]
    fn a_stream_of_several_choices_is_complete_when_all_of_them_are() {
        let params = Params::from_json(br#"{"n":2}"#).unwrap();
        let mut decoder = stream_decoder(&TABLE[0], &Request { params, ..Default::default() });
        let mut is_complete_after = |chunk: String| {
            decoder.event(b"", chunk.into(), &mut Vec::new()).unwrap();
            decoder.is_complete()
        };
        let piece = |index: u32, reason: &str| {
            format!(r#"{{"choices":[{{"index":{index},"delta":{{"content":"a"}},"finish_reason":{reason}}}]}}"#)
        };
        assert!(!is_complete_after(piece(0, "null")));
        assert!(!is_complete_after(piece(1, "null")));
        assert!(!is_complete_after(piece(0, r#""stop""#)));
        assert!(!is_complete_after(piece(0, "null")), "what follows a finish begins nothing anew");
        assert!(!is_complete_after(piece(1, r#""""#)));
        assert!(is_complete_after(piece(1, r#""length""#)));
        assert!(is_complete_after(r#"{"choices":[{"index":2,"delta":{}}]}"#.to_owned()));
    }

    #[test]
    fn a_chunk_that_needs_no_look_is_what_a_look_would_have_made_of_it() {
        let text = |text: &str, more: &str| {
            format!(r#"{{"choices":[{{"delta":{{"content":{text}}},"finish_reason":null}}],"obfuscation":"x"{more}}}"#)
        };
        let finish =
            |finish: &str| format!(r#"{{"choices":[{{"delta":{{"content":"a"}},"finish_reason":"{finish}"}}]}}"#);
        let reasoning = |name: &str, text: &str| format!(r#"{{"choices":[{{"delta":{{"{name}":"{text}"}}}}]}}"#);
        let events = [
            text(r#""a""#, ""),
            text(r#""b""#, ""),
            text(r#""error""#, ""),
            text(r#""\"error\"""#, ""),
            text(r#""c""#, r#","usage":{"total_tokens":1}"#),
            reasoning("reasoning", "g"),
            reasoning("reasoning", "h"),
            reasoning("reasoning", "i"),
            reasoning("reasoning_content", "j"),
            reasoning("reasoning_content", "k"),
            reasoning("reasoning_content", "l"),
            r#"{"choices":[],"id":"a","usage":{"total_tokens":1}}"#.to_owned(),
            r#"{"choices":[],"id":"b","usage":{"total_tokens":1}}"#.to_owned(),
            r#"{"choices":[],"id":"c","usage":{"total_tokens":1}}"#.to_owned(),
            finish(""),
            finish(""),
            finish("stop"),
            finish("length"),
            finish("tool_calls"),
            // After these, a string is a piece of a list too.
            text(r#"[{"type":"text","text":"d"}]"#, ""),
            text(r#"[{"type":"text","text":"e"}]"#, ""),
            text(r#"[{"type":"text","text":"f"}]"#, ""),
        ];
        let decoder = || stream_decoder(lookup("groq").unwrap().row(), &Request::default());
        let mut one = decoder();
        for event in events {
            let event = Bytes::from(event);
            let (mut chunks, mut expected) = (Vec::new(), Vec::new());
            one.event(b"", event.clone(), &mut chunks).unwrap();
            let mut fresh = decoder();
            fresh.event(b"", event, &mut expected).unwrap();
            assert_eq!(chunks, expected);
            assert_eq!(one.is_shown(&chunks[0]), fresh.is_shown(&chunks[0]), "{chunks:?}");
            assert!(one.is_complete() >= fresh.is_complete());
        }
        assert!(one.is_complete());
    }

    #[test]
    fn an_error_in_a_stream_is_an_error() {
        let mut decoder = stream_decoder(&TABLE[0], &Request::default());
        let event = Bytes::from_static(br#"{"error":{"message":"m","code":429}}"#);
        assert_eq!(decoder.event(b"", event, &mut Vec::new()).unwrap_err().kind, ErrorKind::RateLimit);
        let both = Bytes::from_static(br#"{"error":null,"choices":[{"delta":{"content":"\"error\""}}]}"#);
        assert!(decoder.event(b"", both, &mut Vec::new()).is_ok());
    }
}
