#![no_main]

use ritellm::types::http::Framing;

libfuzzer_sys::fuzz_target!(|input: &[u8]| ritellm_fuzz::check_cuts(Framing::Ndjson, input));
