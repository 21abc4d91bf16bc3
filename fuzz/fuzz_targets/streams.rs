//! Fuzzes every provider's stream decoder after its framing: for any input it returns JSON or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ritellm::providers::Endpoint;
use ritellm::transport::framing::Event;
use ritellm::types::accumulate::Accumulator;
use ritellm::types::http::Framing;
use ritellm::types::operation::Operation;
use ritellm::types::request::Request;
use ritellm::types::snapshot::Snapshot;
use ritellm::types::strict::strict;
use ritellm_fuzz::Case;

fuzz_target!(|input: &[u8]| {
    let Some(Case { request, endpoint, number, body, .. }) = Case::read(input, true) else { return };
    if endpoint.framing() != Framing::AwsEventStream {
        let pieces = ritellm_fuzz::cut(body, number as u8);
        return decode(&request, endpoint, ritellm_fuzz::events(endpoint.framing(), pieces).0);
    }
    // AWS's frames have checksums, which a fuzzer cannot find. Here an event is a line: its name, a tab, its content.
    let lines = body.split(|byte| *byte == b'\n').map(|line| {
        let tab = line.iter().position(|byte| *byte == b'\t').unwrap_or(line.len());
        Event { name: body.slice_ref(&line[..tab]), data: body.slice_ref(line.get(tab + 1..).unwrap_or_default()) }
    });
    decode(&request, endpoint, lines.collect());
});

fn decode(request: &Request, endpoint: &dyn Endpoint, events: Vec<Event>) {
    let mut decoder = endpoint.stream_decoder(request, 1);
    let mut chunks = Vec::new();
    for event in events {
        let said = event.data.clone();
        let known = chunks.len();
        if decoder.is_done() || decoder.event(&event.name, event.data, &mut chunks).is_err() {
            break;
        }
        for chunk in &chunks[known..] {
            decoder.is_shown(chunk);
            // OpenAI's own chunks are passed on unchanged, or with additional members; invalid JSON is detected when
            // the object is built.
            if *chunk != said && ritellm_fuzz::is_json(&said) {
                assert!(ritellm_fuzz::is_json(chunk), "a stream decoder writes JSON");
            }
        }
    }
    decoder.is_complete();
    // Chunks accumulated as they arrive, and read in between, give the same result as chunks combined one by one.
    let mut snapshot = Snapshot::new(request.operation);
    let mut whole = Accumulator::default();
    for (count, chunk) in chunks.iter().enumerate() {
        snapshot.push(chunk);
        if count % 7 == 6 {
            snapshot.text();
        }
        let chunk = serde_json::from_slice(chunk).or_else(|_| serde_json::from_slice(&strict(chunk)));
        chunk.into_iter().for_each(|chunk| whole.push(chunk));
    }
    let said: serde_json::Value = serde_json::from_slice(&snapshot.completion()).expect("it writes JSON");
    if request.operation == Operation::Chat {
        // A character that is split between two chunks is complete if they are read as one.
        let may_be_cut = |chunk: &bytes::Bytes| {
            std::str::from_utf8(chunk).is_err() || chunk.windows(3).any(|piece| matches!(piece, b"\\ud" | b"\\uD"))
        };
        let is_cut = chunks.iter().any(may_be_cut);
        assert!(is_cut || said == whole.completion(), "{said} is not {}", whole.completion());
    }
}
