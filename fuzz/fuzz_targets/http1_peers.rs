//! The parser of HTTP/1.1 answers and hyper's client on the same bytes: what they read of them is the same, but for the
//! decisions in `src/http1_decisions.rs`.
//!
//! An input is bytes, or, where its first byte is odd, what chooses the parts that they are made of.
#![no_main]

use ritellm_fuzz::http1::{Peer, check_peer, generated, hypers};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((kind, input)) = input.split_first() else { return };
    let bytes = if kind % 2 == 1 { generated(input) } else { input.to_vec() };
    check_peer(&bytes, Peer::Hyper, &hypers(&bytes));
});
