//! Fuzzes AWS's frames, with the input as it is, or framed with correct checksums, which a fuzzer cannot find.
#![no_main]

use ritellm::types::http::Framing;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    match input {
        [seed @ 0x80..=0xff, split, content @ ..] => {
            let headers = content.len().min(usize::from(*split));
            let mut frame = ((content.len() + 16) as u32).to_be_bytes().to_vec();
            frame.extend((headers as u32).to_be_bytes());
            frame.extend(crc32fast::hash(&frame).to_be_bytes());
            frame.extend(content);
            frame.extend(crc32fast::hash(&frame).to_be_bytes());
            // Twice, so that one frame follows another.
            ritellm_fuzz::check_cuts(Framing::AwsEventStream, &[&[*seed], &frame[..], &frame[..]].concat());
        }
        _ => ritellm_fuzz::check_cuts(Framing::AwsEventStream, input),
    }
});
