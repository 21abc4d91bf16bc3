//! Fuzzes every provider's decoders of complete responses and of errors: for any input they return JSON or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ritellm::types::http::{Headers, HttpResponse};
use ritellm_fuzz::Case;

fuzz_target!(|input: &[u8]| {
    let Some(Case { deployment, request, endpoint, number: status, body }) = Case::read(input, false) else { return };
    let response = HttpResponse { received: 1, status, headers: Headers::default(), body };
    match status {
        200..300 => {
            if let Ok(answer) = endpoint.decode(&request, &response)
                // OpenAI's own format is passed on unchanged; invalid JSON is detected when the object is built.
                && answer != response.body
                && ritellm_fuzz::is_json(&response.body)
            {
                assert!(ritellm_fuzz::is_json(&answer), "a decoder writes JSON");
            }
        }
        _ => drop(deployment.provider.decode_error(&response)),
    }
});
