//! Gemini's `generateContent` and `streamGenerateContent`.

use super::{PROMPT_TOKENS, deltas};
use crate::reply::{ID, Reply};
use crate::settings::Settings;
use crate::text;

const HEADERS: &str = "date: Mon, 21 Sep 2026 14:13:20 GMT\r\n\
     vary: Origin, X-Origin, Referer\r\n\
     server: scaffolding on HTTPServer2\r\n\
     x-xss-protection: 0\r\n\
     x-frame-options: SAMEORIGIN\r\n\
     x-content-type-options: nosniff\r\n\
     server-timing: gfet4t7; dur=412\r\n\
     alt-svc: h3=\":443\"; ma=2592000,h3-29=\":443\"; ma=2592000\r\n";

/// The field that ends a candidate.
const STOP: &str = r#","finishReason":"STOP""#;

/// A response with one candidate; `finish` is [`STOP`] or nothing.
fn response(text: &str, finish: &str, answer_tokens: usize) -> String {
    let total = PROMPT_TOKENS + answer_tokens;
    format!(
        r#"{{"candidates":[{{"content":{{"parts":[{{"text":{text}}}],"role":"model"}}{finish},"index":0}}],"usageMetadata":{{"promptTokenCount":{PROMPT_TOKENS},"candidatesTokenCount":{answer_tokens},"totalTokenCount":{total},"promptTokensDetails":[{{"modality":"TEXT","tokenCount":{PROMPT_TOKENS}}}]}},"modelVersion":"gemini-2.5-flash","responseId":"yBTQaK7{ID}"}}"#
    )
}

/// A plain response.
pub fn completion(settings: &Settings) -> Reply {
    let answer = text::answer(settings.size);
    let body = response(&text::json(&answer), STOP, text::tokens(&answer));
    Reply::json("200 OK", HEADERS, &body)
}

/// A streamed response: as many text events as an OpenAI stream of these settings has, the last
/// of which also says why it stopped. Gemini ends its lines with CRLF and sends no end marker.
pub fn stream(settings: &Settings) -> Reply {
    let contents = deltas(settings);
    let last = contents.len() - 1;
    let event = |(index, text): (usize, &String)| {
        let finish = if index == last { STOP } else { "" };
        format!("data: {}\r\n\r\n", response(text, finish, index + 1))
    };
    let events: Vec<_> = contents.iter().enumerate().map(event).collect();
    Reply::stream(HEADERS, &events, "", settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(value: &serde_json::Value) -> &str {
        value["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap()
    }

    #[test]
    fn a_response_has_the_text_asked_for() {
        let value = completion(&Settings { size: 321, ..Settings::default() }).body_as_json();
        assert_eq!(text_of(&value), text::answer(321));
    }

    #[test]
    fn a_stream_says_the_text_and_only_its_last_event_stops() {
        let settings = Settings { size: 50, chunks: 7, ..Settings::default() };
        let events = stream(&settings).events_as_json();
        assert_eq!(events.iter().map(text_of).collect::<String>(), text::answer(50));
        let stops = events.iter().map(|event| event["candidates"][0]["finishReason"].is_string());
        assert_eq!(stops.collect::<Vec<_>>(), [false, false, false, false, true]);
    }
}
