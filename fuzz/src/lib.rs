//! Code that the targets share: splitting bodies into pieces, and responses of every provider.

pub mod http1;
pub mod http1_decisions;
pub mod llhttp;
pub mod rows;
pub mod secrets;

use bytes::Bytes;
use ritellm::providers::{Deployment, DeploymentArgs, Endpoint, resolve};
use ritellm::transport::framing::{Event, Parser};
use ritellm::types::http::Framing;
use ritellm::types::operation::Operation;
use ritellm::types::request::Request;
use ritellm::types::secret::Secret;

/// Maximum size of an event, small enough for the fuzzer to reach.
const LARGEST_EVENT: usize = 4096;

/// Checks that a body fed in pieces gives the same events as the body in one piece.
///
/// # Panics
/// If the events differ.
pub fn check_cuts(framing: Framing, input: &[u8]) {
    let Some((seed, body)) = input.split_first() else { return };
    let body = Bytes::copy_from_slice(body);
    let whole = events(framing, [body.clone()]);
    let pieces = events(framing, cut(body, *seed));
    // The error is the same with any split, and so are the events before it.
    assert_eq!(whole.0, pieces.0);
    assert_eq!(whole.1, pieces.1);
}

/// Returns the events of a body, and its error if it did not end properly.
pub fn events(framing: Framing, pieces: impl IntoIterator<Item = Bytes>) -> (Vec<Event>, Result<(), String>) {
    let mut parser = Parser::new(framing, LARGEST_EVENT);
    let mut events = Vec::new();
    for piece in pieces {
        if let Err(error) = parser.feed(piece, |event| events.push(event)) {
            return (events, Err(error.message));
        }
    }
    let end = parser.finish(|event| events.push(event)).map_err(|error| error.message);
    (events, end)
}

/// Splits a body into pieces of one to sixteen bytes, in an order that the seed chooses.
pub fn cut(mut body: Bytes, seed: u8) -> Vec<Bytes> {
    let mut state = u32::from(seed) * 2 + 1;
    let mut pieces = Vec::new();
    while !body.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = (state >> 28) as usize + 1;
        pieces.push(body.split_to(length.min(body.len())));
    }
    pieces
}

/// Returns true if the bytes are one JSON text. Strings of a provider are passed on unchanged, also with lone surrogates
/// and invalid UTF-8, which the builder of Python objects replaces.
pub fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_str::<&serde_json::value::RawValue>(&String::from_utf8_lossy(bytes)).is_ok()
}

/// A parsed input: its first line names a provider, an operation and a number, and the rest is a body.
pub struct Case {
    pub deployment: Deployment,
    pub request: Request,
    pub endpoint: &'static dyn Endpoint,
    pub number: u16,
    pub body: Bytes,
}

impl Case {
    /// Parses an input; `None` if the first line does not name an existing provider and operation.
    pub fn read(input: &[u8], stream: bool) -> Option<Self> {
        let end = input.iter().position(|byte| *byte == b'\n')?;
        let mut words = std::str::from_utf8(&input[..end]).ok()?.split(' ');
        let (provider, operation, number) = (words.next()?, words.next()?, words.next()?);
        let operation = match operation {
            "chat" => Operation::Chat,
            "embedding" if !stream => Operation::Embedding,
            "responses" => Operation::Responses,
            _ => return None,
        };
        let given = DeploymentArgs {
            base_url: Some("http://localhost/v1".into()),
            api_key: Some(Secret::new("key")),
            ..DeploymentArgs::default()
        };
        let deployment = resolve(&format!("{provider}/m"), &given, &|_| None).ok()?;
        let request = Request { operation, model: "m".into(), stream, ..Request::default() };
        let endpoint = deployment.endpoint(&request).ok()?;
        let body = Bytes::copy_from_slice(&input[end + 1..]);
        Some(Self { deployment, request, endpoint, number: number.parse().ok()?, body })
    }
}
