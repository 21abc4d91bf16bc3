//! Runs a part of the fuzz targets in `fuzz/` on inputs generated from a fixed seed.

#[allow(dead_code, missing_docs)]
#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::iter::repeat_with;

use bytes::Bytes;
use targets::http1::{
    Differs, MAX_HEAD, PEERS, Peer, Read, check_cuts, check_peer, difference, flood, generated, hypers, ours,
};
use targets::http1_decisions::DECISIONS;
use targets::llhttp::Llhttp;
use targets::rows;
use targets::secrets;

fn bytes(random: &mut fastrand::Rng, count: usize) -> Vec<u8> {
    repeat_with(|| random.u8(..)).take(count).collect()
}

/// Reads a response as another parser does.
type Reader = Box<dyn FnMut(&[u8]) -> Read>;

/// A parser to compare with; `None` if it needs a virtual environment, and there is none.
fn parser_of(peer: Peer) -> Option<Reader> {
    if peer == Peer::Hyper {
        return Some(Box::new(hypers));
    }
    let Some(mut llhttp) = Llhttp::start(peer) else {
        eprintln!("NOT COMPARED with {peer:?}: there is no .venv, which `make test` makes");
        return None;
    };
    Some(Box::new(move |bytes| llhttp.read(bytes)))
}

#[test]
fn answers_by_http1_are_read_as_other_parsers_read_them() {
    for peer in PEERS {
        let Some(mut read) = parser_of(peer) else { continue };
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..2_000 {
            let answer = generated(&bytes(&mut random, 48));
            check_peer(&answer, peer, &read(&answer));
        }
    }
}

#[test]
fn answers_by_http1_are_read_alike_in_pieces() {
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..3_000 {
        let choices = bytes(&mut random, 48);
        check_cuts(&[&choices[..1], &generated(&choices)].concat());
    }
}

#[test]
fn each_difference_is_there() {
    for peer in PEERS {
        let Some(mut read) = parser_of(peer) else { continue };
        for decision in DECISIONS.iter().filter(|decision| decision.peers.contains(&peer)) {
            let (ours, theirs) = (ours([Bytes::from(decision.example)]).0, read(decision.example));
            assert_eq!(difference(decision.example, peer, &ours, &theirs), None, "{}", decision.what);
            let differs = match (&ours, &theirs) {
                (Err(_), Ok(_)) => Differs::WeRefuse,
                (Ok(_), Err(_)) => Differs::TheyRefuse,
                _ => Differs::Otherwise,
            };
            assert_eq!(differs, decision.differs, "{}, {peer:?}: {ours:?}, {theirs:?}", decision.what);
            assert_ne!(ours, theirs, "{}, {peer:?}", decision.what);
        }
    }
}

#[test]
fn each_difference_is_on_the_page() {
    let page = include_str!("../docs/network.md");
    for decision in DECISIONS {
        let (ours, theirs) = match decision.differs {
            Differs::WeRefuse => ("refuses it", "read it"),
            Differs::TheyRefuse => ("reads it", "refuse it"),
            Differs::Otherwise => ("reads it", "read another body"),
        };
        let mut peers = decision.peers.iter().map(|peer| match peer {
            Peer::Hyper => "hyper",
            Peer::Llhttp => "Node.js",
            Peer::Aiohttp => "aiohttp",
        });
        let peers = peers.by_ref().collect::<Vec<_>>().join(", ");
        let row = format!("| {} | {} | {ours} | {theirs}: {peers} |", decision.section, decision.what);
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

#[test]
fn files_of_rows_are_read_alike_twice() {
    const PIECES: [&[u8]; 24] = [
        b"{\"messages\":[{\"role\":\"user\",\"content\":\"",
        b"\"}]}\n",
        b"{\"custom_id\":\"a\",\"body\":{\"messages\":[1e0],\"n\":1.0}}\n",
        b"{\"messages\":[1.0], \"n\" : 1}\n",
        b"{\"messages\":[]}\n",
        b"messages,custom_id\n",
        b"\"[\"\"x\"\"]\",a\r\n",
        b"\"a\nb\",\n",
        b"\n",
        b"\r",
        b",",
        b"\"",
        b"\\u00e9",
        b"\\ud83d",
        b"\xf0\x9f\x98\x80",
        b"\xff",
        b"\0",
        b"\xef\xbb\xbf",
        b"{",
        b"}",
        b"NaN",
        b"1e999",
        b"\x1f\x8b\x08\0",
        &[b'x'; 700],
    ];
    let path = std::env::temp_dir().join(format!("ritellm-rows-{}", std::process::id()));
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..1_000 {
        let count = random.usize(1..20);
        let content = repeat_with(|| PIECES[random.usize(..PIECES.len())]).take(count).collect::<Vec<_>>().concat();
        rows::check_rows(&path, &[&[random.u8(..)], &content[..]].concat());
    }
    std::fs::remove_file(path).unwrap();
}
