//! A key that a server repeats, in any spelling, place and cut: no error of any provider shows it.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    ritellm_fuzz::secrets::check_answer(input);
    ritellm_fuzz::secrets::check_stream(input);
});
