//! The parser of HTTP/1.1 answers: where the bytes are cut makes no difference.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ritellm_fuzz::http1::check_cuts(input));
