use super::*;

fn of(usage: &str) -> Option<Usage> {
    Usage::of(Operation::Chat, format!(r#"{{"id":"c","choices":[],"usage":{usage},"service_tier":"x"}}"#).as_bytes())
}

#[test]
fn classes_do_not_overlap() {
    for (usage, expected) in [
        (
            r#"{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,
                "prompt_tokens_details":{"cached_tokens":30,"audio_tokens":10},
                "completion_tokens_details":{"reasoning_tokens":20,"audio_tokens":5,"accepted_prediction_tokens":0}}"#,
            Usage {
                input: 60,
                cached_read: 30,
                audio_input: 10,
                output: 25,
                reasoning: 20,
                audio_output: 5,
                ..Default::default()
            },
        ),
        // Writes, of which some are for an hour.
        (
            r#"{"prompt_tokens":100,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":20,"cache_creation_tokens":50,
                "cache_creation_token_details":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":40}}}"#,
            Usage {
                input: 30,
                cached_read: 20,
                cache_write: 10,
                cache_write_hour: 40,
                output: 5,
                ..Default::default()
            },
        ),
        // Cached tokens that the whole does not contain.
        (
            r#"{"input_tokens":3,"output_tokens":5,"cache_read_input_tokens":100,"cache_creation_input_tokens":7}"#,
            Usage { input: 3, cached_read: 100, cache_write: 7, output: 5, ..Default::default() },
        ),
        // The same count in two places.
        (
            r#"{"prompt_tokens":10,"completion_tokens":1,"prompt_cache_hit_tokens":4,"prompt_cache_miss_tokens":6,
                "prompt_tokens_details":{"cached_tokens":4}}"#,
            Usage { input: 6, cached_read: 4, output: 1, ..Default::default() },
        ),
        // Reasoning beside the output: told and counted in the total, larger than the output, or told by the total alone.
        (
            r#"{"prompt_tokens":10,"completion_tokens":40,"total_tokens":80,"completion_tokens_details":{"reasoning_tokens":30}}"#,
            Usage { input: 10, output: 40, reasoning: 30, ..Default::default() },
        ),
        (
            r#"{"prompt_tokens":10,"completion_tokens":4,"total_tokens":14,"reasoning_tokens":30}"#,
            Usage { input: 10, output: 4, reasoning: 30, ..Default::default() },
        ),
        (
            r#"{"prompt_tokens":10,"completion_tokens":4,"total_tokens":44}"#,
            Usage { input: 10, output: 4, reasoning: 30, ..Default::default() },
        ),
        // Members of other types, null and absurd ones are as good as absent.
        (
            r#"{"prompt_tokens":"10","completion_tokens":2.0,"prompt_tokens_details":null,"completion_tokens_details":[],
                "total_tokens":-1,"cached_tokens":1e300,"reasoning_tokens":18446744073709551615}"#,
            Usage { input: 10, output: 2, ..Default::default() },
        ),
        // Parts never make more than the whole.
        (
            r#"{"prompt_tokens":10,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":8,"audio_tokens":5,"image_tokens":5},
                "completion_tokens_details":{"audio_tokens":3}}"#,
            Usage { cached_read: 8, audio_input: 2, audio_output: 2, ..Default::default() },
        ),
        (r#"{"total_tokens":7}"#, Usage { input: 7, ..Default::default() }),
    ] {
        assert_eq!(of(usage), Some(expected), "{usage}");
    }
    for none in ["null", "{}", "[]", r#""x""#, r#"{"prompt_tokens":null}"#, r#"{"cached_tokens":3}"#, "7"] {
        assert_eq!(of(none), None, "{none}");
    }
}

#[test]
fn each_operation_counts_in_its_own_way() {
    let usage = |operation, text: &str| Usage::of(operation, text.as_bytes());
    let list = r#"{"data":[{"embedding":[1,2]}],"usage":{"prompt_tokens":3,"total_tokens":5}}"#;
    assert_eq!(usage(Operation::Embedding, list), Some(Usage { input: 3, image_input: 2, ..Default::default() }));
    let first = r#"{"usage":{"prompt_tokens":3,"total_tokens":3},"data":[{"embedding":[1,2]}]}"#;
    assert_eq!(usage(Operation::Embedding, first), Some(Usage { input: 3, ..Default::default() }));
    let ranking = r#"{"results":[],"usage":{"total_tokens":9}}"#;
    assert_eq!(usage(Operation::Rerank, ranking), Some(Usage { input: 9, ..Default::default() }));
    let response = r#"{"object":"response","output":[],"usage":{"input_tokens":36,"input_tokens_details":{"cached_tokens":30},
        "output_tokens":87,"output_tokens_details":{"reasoning_tokens":80},"total_tokens":123},"user":null,"metadata":{}}"#;
    let expected = Some(Usage { input: 6, cached_read: 30, output: 7, reasoning: 80, ..Default::default() });
    assert_eq!(usage(Operation::Responses, response), expected);
    let event = |kind: &str, response: &str| {
        format!(r#"{{"type":"response.{kind}","sequence_number":3,"response":{response}}}"#)
    };
    let of_chunk = |text: &str| Usage::of_chunk(Operation::Responses, text.as_bytes());
    assert_eq!(of_chunk(&event("completed", response)), expected);
    assert_eq!(of_chunk(&event("created", r#"{"usage":null}"#)), None);
    assert_eq!(of_chunk(r#"{"type":"x","item":{"usage":{"input_tokens":1}}}"#), None);
    assert_eq!(of_chunk(r#"{"type":"x","delta":"usage"}"#), None);
    let chunk = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#;
    assert_eq!(
        Usage::of_chunk(Operation::Chat, chunk.as_bytes()),
        Some(Usage { input: 3, output: 4, ..Default::default() })
    );
    assert_eq!(Usage::of_chunk(Operation::Chat, br#"{"choices":[{"delta":{"content":"a"}}],"usage":null}"#), None);
    for operation in [Operation::Speech, Operation::FileContent, Operation::BatchRetrieve] {
        assert_eq!(usage(operation, list), None);
    }
}

/// Returns the usage as a parser of the whole answer finds it.
fn parsed(answer: &str) -> Option<u64> {
    let answer: serde_json::Value = serde_json::from_str(answer).ok()?;
    answer.as_object()?.get("usage")?.get("prompt_tokens")?.as_u64()
}

#[test]
fn only_the_answers_own_member_counts() {
    let real = r#""usage":{"prompt_tokens":3}"#;
    for answer in [
        // A text that looks like a member, before and behind the real one.
        format!(r#"{{"choices":[{{"message":{{"content":"\"usage\":{{\"prompt_tokens\":99}}}}"}}}}],{real}}}"#),
        format!(r#"{{{real},"choices":[{{"message":{{"content":"\"usage\":{{\"prompt_tokens\":99}}}}"}}}}]}}"#),
        format!(r#"{{{real},"a":"\\\\\"usage\":{{}}"}}"#),
        format!(r#"{{{real},"a":"\\\"usage"}}"#),
        format!(r#"{{{real},"a":"\"usage"}}"#),
        format!(r#"{{{real},"a":"usage"}}"#),
        format!(r#"{{{real},"a":["usage",{{"prompt_tokens":99}}]}}"#),
        // Members of nested objects.
        format!(r#"{{{real},"a":{{"usage":{{"prompt_tokens":99}}}}}}"#),
        format!(r#"{{{real},"a":[{{"usage":{{"prompt_tokens":99}}}}]}}"#),
        format!(r#"{{"a":{{"usage":{{"prompt_tokens":99}}}},{real}}}"#),
        r#"{"a":{"usage":{"prompt_tokens":99}}}"#.to_owned(),
        r#"[{"usage":{"prompt_tokens":99}}]"#.to_owned(),
        r#"{"choices":[{"message":{"content":"\"usage\":{\"prompt_tokens\":99}}"}}]}"#.to_owned(),
        // The last of several counts.
        format!(r#"{{{real},"usage":{{"prompt_tokens":4}}}}"#),
        format!(r#"{{{real},"usage":null}}"#),
        // White space, and members behind it.
        format!("{{ \"x\" : \"\" , {real} , \"y\" : [ {{ }} , \"}}\" ] }} \n"),
        "{\"usage\" : { \"prompt_tokens\" : 3 } }".to_owned(),
        // What is no JSON.
        format!("{{{real}"),
        format!("{{{real}}}}}"),
        format!(r#"{{"a":1 {real},}}"#),
        real.to_owned(),
        String::new(),
    ] {
        let found = Usage::of(Operation::Chat, answer.as_bytes()).map(|usage| usage.input);
        let expected = parsed(&answer);
        assert!(
            found == expected || serde_json::from_str::<serde_json::Value>(&answer).is_err(),
            "{answer}: {found:?}"
        );
    }
}

/// Answers put together at random of pieces that resemble a usage, compared with a parser.
#[test]
fn the_same_as_a_parser_finds() {
    let mut random = fastrand::Rng::with_seed(7);
    let (mut with, mut without) = (0, 0);
    for _ in 0..5_000 {
        let answer = value(&mut random, 3);
        let answer = serde_json::to_string(&answer).unwrap();
        let found = Usage::of(Operation::Chat, answer.as_bytes()).map(|usage| usage.input);
        assert_eq!(found, parsed(&answer), "{answer}");
        if found.is_some() { with += 1 } else { without += 1 }
    }
    assert!(with > 500 && without > 500, "{with} {without}");
}

fn value(random: &mut fastrand::Rng, depth: u32) -> serde_json::Value {
    use serde_json::{Value, json};
    const TEXTS: [&str; 8] =
        ["usage", "\"usage\"", "\"usage\":{\"prompt_tokens\":9}}", "\\", "\\\"usage\":", "}", "a\"", "\"usage"];
    match random.u8(..if depth == 3 {
        1
    } else if depth == 0 {
        4
    } else {
        10
    }) {
        1 => json!(TEXTS[random.usize(..8)]),
        2 => json!({"prompt_tokens": random.u8(..)}),
        3 => Value::Null,
        4..7 => (0..random.u8(..4)).map(|_| value(random, depth - 1)).collect(),
        _ => {
            let mut object = serde_json::Map::new();
            for _ in 0..random.u8(..5) {
                let member = match random.bool() {
                    true => json!({"prompt_tokens": random.u8(..)}),
                    false => value(random, depth.saturating_sub(1)),
                };
                object.insert(TEXTS[random.usize(..8)].to_owned(), member);
            }
            Value::Object(object)
        }
    }
}
