//! Runs a part of the fuzz targets in `fuzz/` on inputs generated from a fixed seed.

#[allow(dead_code, missing_docs)]
#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::iter::repeat_with;

use bytes::Bytes;
use targets::http1::{MAX_HEAD, Peer, check_cuts, check_peer, difference, flood, generated, hypers, ours};
use targets::http1_decisions::DECISIONS;
use targets::secrets;

fn bytes(random: &mut fastrand::Rng, count: usize) -> Vec<u8> {
    repeat_with(|| random.u8(..)).take(count).collect()
}

#[test]
fn answers_by_http1_are_read_as_hyper_reads_them() {
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..3_000 {
        let choices = bytes(&mut random, 48);
        let answer = generated(&choices);
        check_cuts(&[&choices[..1], &answer].concat());
        check_peer(&answer, Peer::Hyper, &hypers(&answer));
    }
}

#[test]
fn each_difference_is_there() {
    for decision in DECISIONS {
        let (ours, theirs) = (ours([Bytes::from(decision.example)]).0, hypers(decision.example));
        assert_eq!(difference(decision.example, Peer::Hyper, &ours, &theirs), None, "{}", decision.what);
        assert!(ours.is_ok() != theirs.is_ok(), "{}: {ours:?}, {theirs:?}", decision.what);
    }
}

#[test]
fn each_difference_is_on_the_page() {
    let page = include_str!("../docs/network.md");
    for decision in DECISIONS {
        let differs = match ours([Bytes::from(decision.example)]).0 {
            Ok(_) => "reads it",
            Err(_) => "refuses it",
        };
        let row = format!("| {} | {} | {differs} |", decision.section, decision.what);
        assert!(page.contains(&row), "{row}");
    }
}

#[test]
fn a_flood_ends() {
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let last = [&chunked[..], b"0\r\n"].concat();
    for (what, start, again, most, said) in [
        ("a head", &b"HTTP/1.1 200 OK\r\n"[..], &b"x: y\r\n"[..], MAX_HEAD + 32, "max_header_size"),
        ("a status line", b"HTTP/1.1 200 ", b"O", MAX_HEAD + 32, "max_header_size"),
        ("informational heads", b"", b"HTTP/1.1 100 Continue\r\n\r\n", 34 * 25, "no answer"),
        ("a chunk's size", chunked, b"0", 9 << 10, "line of more than"),
        ("a chunk's extension", chunked, b"1;a", 9 << 10, "line of more than"),
        ("trailers", &last, b"x: y\r\n", 2 << 10, "trailers"),
        ("a trailer", &last, b"x", 9 << 10, "line of more than"),
    ] {
        let (fed, error) = flood(start, again);
        assert!(fed <= most && error.contains(said), "{what}: {fed} bytes, {error}");
    }
}

#[test]
fn no_error_shows_a_key() {
    let mut random = fastrand::Rng::with_seed(2);
    let providers: Vec<&str> = ritellm::providers::TABLE.iter().map(|row| row.name).collect();
    for _ in 0..4_000 {
        let provider = providers[random.usize(..providers.len())];
        let status = [200, 200, 400, 401, 429, 500][random.usize(..6)];
        let choices = bytes(&mut random, secrets::CHOICES - 1);
        let kept = if random.bool() { 0 } else { random.u8(..) };
        for (around, check) in
            [(secrets::AROUND, secrets::check_answer as fn(&[u8])), (secrets::AROUND_IN_STREAMS, secrets::check_stream)]
        {
            let around = around[random.usize(..around.len())].as_bytes();
            check(&[format!("{provider} chat {status}\n").as_bytes(), &choices, &[kept], around].concat());
        }
    }
}
