//! OpenAI's chat completions and embeddings.

use super::{PROMPT_TOKENS, deltas};
use crate::reply::{ID, Reply};
use crate::settings::Settings;
use crate::text;

const MODEL: &str = "gpt-4o-mini-2024-07-18";
const CREATED: u64 = 1_790_000_000;

/// The headers of a real reply, less its cookies (which some clients parse at length).
fn headers() -> String {
    format!(
        "date: Mon, 21 Sep 2026 14:13:20 GMT\r\n\
         connection: keep-alive\r\n\
         access-control-expose-headers: X-Request-ID\r\n\
         openai-organization: example-org\r\n\
         openai-processing-ms: 412\r\n\
         openai-project: proj_Xq3vTn8LwK2mBz5RfYc7Hd1A\r\n\
         openai-version: 2020-10-01\r\n\
         x-envoy-upstream-service-time: 431\r\n\
         x-ratelimit-limit-requests: 100000000\r\n\
         x-ratelimit-limit-tokens: 1000000000000\r\n\
         x-ratelimit-remaining-requests: 99999999\r\n\
         x-ratelimit-remaining-tokens: 999999999872\r\n\
         x-ratelimit-reset-requests: 6ms\r\n\
         x-ratelimit-reset-tokens: 0s\r\n\
         x-request-id: req_7c41e9d05b8f4a36a2d8c1f7{ID}\r\n\
         cf-cache-status: DYNAMIC\r\n\
         strict-transport-security: max-age=31536000; includeSubDomains; preload\r\n\
         x-content-type-options: nosniff\r\n\
         server: cloudflare\r\n\
         cf-ray: 98a3f0c7{ID}-FRA\r\n\
         alt-svc: h3=\":443\"; ma=86400\r\n"
    )
}

fn usage(answer_tokens: usize) -> String {
    let total = PROMPT_TOKENS + answer_tokens;
    format!(
        r#"{{"prompt_tokens":{PROMPT_TOKENS},"completion_tokens":{answer_tokens},"total_tokens":{total},"prompt_tokens_details":{{"cached_tokens":0,"audio_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}}"#
    )
}

/// A plain completion; OpenAI indents these.
pub fn completion(settings: &Settings) -> Reply {
    let answer = text::answer(settings.size);
    let content = text::json(&answer);
    let usage = usage(text::tokens(&answer));
    let body = format!(
        r#"{{
  "id": "chatcmpl-CkV2mQ8rTz4LwYx7NfBd{ID}",
  "object": "chat.completion",
  "created": {CREATED},
  "model": "{MODEL}",
  "choices": [
    {{
      "index": 0,
      "message": {{
        "role": "assistant",
        "content": {content},
        "refusal": null,
        "annotations": []
      }},
      "logprobs": null,
      "finish_reason": "stop"
    }}
  ],
  "usage": {usage},
  "service_tier": "default",
  "system_fingerprint": "fp_560af6e559"
}}
"#
    );
    Reply::json("200 OK", &headers(), &body)
}

/// A streamed completion, with the usage chunk if the caller asked for it.
pub fn stream(settings: &Settings, include_usage: bool) -> Reply {
    let event = |choices: &str, usage: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-CkV2mQ8rTz4LwYx7NfBd{ID}\",\
             \"object\":\"chat.completion.chunk\",\"created\":{CREATED},\"model\":\"{MODEL}\",\
             \"service_tier\":\"default\",\"system_fingerprint\":\"fp_560af6e559\",\
             \"choices\":[{choices}]{usage}}}\n\n"
        )
    };
    let choice = |delta: &str, finish_reason: &str| {
        format!(r#"{{"index":0,"delta":{{{delta}}},"logprobs":null,"finish_reason":{finish_reason}}}"#)
    };
    let no_usage = if include_usage { r#","usage":null"# } else { "" };
    let role = choice(r#""role":"assistant","content":"","refusal":null"#, "null");
    let contents = deltas(settings);
    let contents = contents.iter().map(|text| choice(&format!(r#""content":{text}"#), "null"));
    let choices = std::iter::once(role).chain(contents).chain([choice("", r#""stop""#)]);
    let events: Vec<_> = choices.map(|choice| event(&choice, no_usage)).collect();

    let mut tail = String::new();
    if include_usage {
        let answer_tokens = text::tokens(&text::answer(settings.size));
        tail += &event("", &format!(r#","usage":{}"#, usage(answer_tokens)));
    }
    tail += "data: [DONE]\n\n";
    Reply::stream(&headers(), &events, &tail, settings)
}

/// As many vectors as the settings say, as lists of floats or as base64 of little-endian f32.
pub fn embeddings(settings: &Settings, base64: bool) -> Reply {
    let vector: Vec<f32> = (0..settings.dimensions).map(component).collect();
    let vector = if base64 {
        let bytes: Vec<u8> = vector.iter().flat_map(|float| float.to_le_bytes()).collect();
        format!("\"{}\"", encode_base64(&bytes))
    } else {
        let floats: Vec<_> = vector.iter().map(f32::to_string).collect();
        format!("[{}]", floats.join(","))
    };
    let items: Vec<_> = (0..settings.embeddings)
        .map(|index| format!(r#"{{"object":"embedding","index":{index},"embedding":{vector}}}"#))
        .collect();
    let tokens = 8 * settings.embeddings;
    let body = format!(
        r#"{{"object":"list","data":[{}],"model":"text-embedding-3-small","usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}}}"#,
        items.join(",")
    );
    Reply::json("200 OK", &headers(), &body)
}

/// A float of either sign with as many digits as a real embedding's.
fn component(index: usize) -> f32 {
    (index as f32 * 0.731 + 0.2).sin() * 0.05
}

fn encode_base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |index: usize| group.get(index).copied().unwrap_or(0);
        let bits = u32::from_be_bytes([0, byte(0), byte(1), byte(2)]);
        for place in 0..4 {
            let sextet = (bits >> (18 - 6 * place)) as usize & 0x3f;
            out.push(if place <= group.len() { ALPHABET[sextet] as char } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_completion_has_the_text_asked_for() {
        let settings = Settings { size: 1234, ..Settings::default() };
        let value = completion(&settings).body_as_json();
        let content = value["choices"][0]["message"]["content"].as_str().unwrap();
        assert_eq!(content, text::answer(1234));
    }

    #[test]
    fn a_stream_has_the_chunks_asked_for_and_usage_only_on_demand() {
        let settings = Settings { size: 50, chunks: 7, ..Settings::default() };
        for (include_usage, expected) in [(false, 7), (true, 8)] {
            let chunks = stream(&settings, include_usage).events_as_json();
            assert_eq!(chunks.len(), expected);
            let said = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]["content"]);
            let said: String = said.filter_map(serde_json::Value::as_str).collect();
            assert_eq!(said, text::answer(50));
            assert_eq!(chunks[expected - 1]["usage"].is_object(), include_usage);
        }
    }

    #[test]
    fn base64_follows_the_standards_examples() {
        for (plain, coded) in [("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(encode_base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn embeddings_have_the_shape_asked_for() {
        let settings = Settings { embeddings: 3, dimensions: 5, ..Settings::default() };
        let value = embeddings(&settings, false).body_as_json();
        assert_eq!(value["data"].as_array().unwrap().len(), 3);
        assert_eq!(value["data"][2]["embedding"].as_array().unwrap().len(), 5);
    }
}
