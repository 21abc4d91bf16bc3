//! Anthropic's Messages.

use super::{PROMPT_TOKENS, deltas};
use crate::reply::{ID, Reply};
use crate::settings::Settings;
use crate::text;

const MODEL: &str = "claude-sonnet-4-5-20250929";

fn headers() -> String {
    format!(
        "date: Mon, 21 Sep 2026 14:13:20 GMT\r\n\
         connection: keep-alive\r\n\
         anthropic-organization-id: 00000000-0000-4000-8000-000000000000\r\n\
         anthropic-ratelimit-input-tokens-limit: 2000000\r\n\
         anthropic-ratelimit-input-tokens-remaining: 1999000\r\n\
         anthropic-ratelimit-input-tokens-reset: 2026-09-21T14:13:20Z\r\n\
         anthropic-ratelimit-output-tokens-limit: 400000\r\n\
         anthropic-ratelimit-output-tokens-remaining: 400000\r\n\
         anthropic-ratelimit-output-tokens-reset: 2026-09-21T14:13:20Z\r\n\
         anthropic-ratelimit-requests-limit: 4000\r\n\
         anthropic-ratelimit-requests-remaining: 3999\r\n\
         anthropic-ratelimit-requests-reset: 2026-09-21T14:13:20Z\r\n\
         request-id: req_011CTkP9vWx2LmQ4{ID}\r\n\
         strict-transport-security: max-age=31536000; includeSubDomains; preload\r\n\
         via: 1.1 google\r\n\
         cf-cache-status: DYNAMIC\r\n\
         x-robots-tag: none\r\n\
         server: cloudflare\r\n\
         cf-ray: 98a3f0c7{ID}-FRA\r\n"
    )
}

/// A message, its content blocks and stop reason still to be filled in.
fn message(content: &str, stop_reason: &str, answer_tokens: usize) -> String {
    format!(
        r#"{{"model":"{MODEL}","id":"msg_01Hq5TzNw8RcVb{ID}","type":"message","role":"assistant","content":[{content}],"stop_reason":{stop_reason},"stop_sequence":null,"usage":{{"input_tokens":{PROMPT_TOKENS},"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0}},"output_tokens":{answer_tokens},"service_tier":"standard"}}}}"#
    )
}

/// A plain message.
pub fn completion(settings: &Settings) -> Reply {
    let answer = text::answer(settings.size);
    let block = format!(r#"{{"type":"text","text":{}}}"#, text::json(&answer));
    let body = message(&block, r#""end_turn""#, text::tokens(&answer));
    Reply::json("200 OK", &headers(), &body)
}

/// A streamed message. `message_start` counts as the first chunk and `message_delta` as the last;
/// the events that have no counterpart at OpenAI come on top of the chunks asked for.
pub fn stream(settings: &Settings) -> Reply {
    let event = |name: &str, fields: &str| format!("event: {name}\ndata: {{\"type\":\"{name}\"{fields}}}\n\n");
    let start = event("message_start", &format!(r#","message":{}"#, message("", "null", 1)))
        + &event("content_block_start", r#","index":0,"content_block":{"type":"text","text":""}"#)
        + &event("ping", "");
    // With white space of some length before the end, as Anthropic hides how long a text is.
    let delta = |(place, text): (usize, &String)| {
        let padding = " ".repeat(place % 15);
        let fields = format!(r#","index":0,"delta":{{"type":"text_delta","text":{text}}}{padding}"#);
        event("content_block_delta", &fields)
    };
    let answer_tokens = text::tokens(&text::answer(settings.size));
    let finish = format!(
        r#","delta":{{"stop_reason":"end_turn","stop_sequence":null}},"usage":{{"input_tokens":{PROMPT_TOKENS},"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":{answer_tokens}}}"#
    );
    let end = event("content_block_stop", r#","index":0"#) + &event("message_delta", &finish);
    let contents = deltas(settings);
    let events = std::iter::once(start).chain(contents.iter().enumerate().map(delta)).chain([end]);
    let events: Vec<_> = events.collect();
    Reply::stream(&headers(), &events, &event("message_stop", ""), settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_text_asked_for() {
        let value = completion(&Settings { size: 321, ..Settings::default() }).body_as_json();
        assert_eq!(value["content"][0]["text"].as_str().unwrap(), text::answer(321));
    }

    #[test]
    fn a_stream_starts_says_the_text_and_stops() {
        let settings = Settings { size: 50, chunks: 7, ..Settings::default() };
        let events = stream(&settings).events_as_json();
        assert_eq!(events.first().unwrap()["message"]["role"], "assistant");
        assert_eq!(events.last().unwrap()["type"], "message_stop");
        let said = events.iter().filter_map(|event| event["delta"]["text"].as_str());
        assert_eq!(said.collect::<String>(), text::answer(50));
    }
}
