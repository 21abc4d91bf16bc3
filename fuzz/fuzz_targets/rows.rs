#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let path = std::env::temp_dir().join(format!("ritellm-fuzz-rows-{}", std::process::id()));
    ritellm_fuzz::rows::check_rows(&path, input);
});
