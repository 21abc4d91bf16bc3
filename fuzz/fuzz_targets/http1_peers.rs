//! Compares the parser of HTTP/1.1 responses with hyper's client and with llhttp on the same bytes: the results are the
//! same, except for the decisions in `src/http1_decisions.rs`.
//!
//! If the first byte of an input is odd, the others choose the parts of a response; otherwise they are the response.
#![no_main]

use std::sync::{LazyLock, Mutex};

use ritellm_fuzz::http1::{Peer, check_peer, generated, hypers};
use ritellm_fuzz::llhttp::Llhttp;

/// The processes of llhttp.
static LLHTTP: LazyLock<Mutex<Vec<(Peer, Llhttp)>>> = LazyLock::new(|| {
    let start = |peer| (peer, Llhttp::start(peer).expect("`make fuzz` makes the virtual environment"));
    Mutex::new([Peer::Llhttp, Peer::Aiohttp].map(start).into())
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((kind, input)) = input.split_first() else { return };
    let bytes = if kind % 2 == 1 { generated(input) } else { input.to_vec() };
    check_peer(&bytes, Peer::Hyper, &hypers(&bytes));
    for (peer, llhttp) in LLHTTP.lock().expect("a finding ends the run").iter_mut() {
        check_peer(&bytes, *peer, &llhttp.read(&bytes));
    }
});
