//! Fuzzes the parser of HTTP/1.1 responses: the result does not depend on where the bytes are split.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ritellm_fuzz::http1::check_cuts(input));
