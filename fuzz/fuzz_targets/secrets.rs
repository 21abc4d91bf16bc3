//! Checks that no error of any provider contains a key that a server repeats, in any encoding, position and length.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    ritellm_fuzz::secrets::check_answer(input);
    ritellm_fuzz::secrets::check_stream(input);
});
