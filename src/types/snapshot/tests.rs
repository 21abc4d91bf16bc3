use super::*;
use serde_json::json;

fn read(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap()
}

/// The completion of the chunks, accumulated one by one.
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
    let mut chunk = json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]});
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
        deltas.push(json!({"tool_calls": [{"index": index, "id": id, "function": {"name": "f", "arguments": ""}}]}));
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
    let template = snapshot.template.as_ref().map_or(0, |template| template.with(|_| "").capacity());
    let segments = snapshot.segments.capacity() * size_of::<Segment>();
    size_of::<Snapshot>() + snapshot.pending.capacity() + segments + snapshot.last.capacity() + template
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
    let Accumulated::Chat(whole) = &snapshot.accumulated else { unreachable!("it is a chat") };
    let text = whole.text();
    let capacity = whole.text_capacity();
    assert!(capacity <= text.len() * 5 / 4 + 1024, "{capacity} B for a text of {}", text.len());
}

#[test]
fn to_ask_for_the_text_costs_what_is_new() {
    let chunk = |text: usize| json!({"choices": [{"index": 0, "delta": {"content": text.to_string()}}]}).to_string();
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
