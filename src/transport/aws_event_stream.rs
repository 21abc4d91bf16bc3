//! Parser of AWS's `application/vnd.amazon.eventstream`: binary frames with a length, headers, a payload and two
//! checksums.
//!
//! Format: <https://smithy.io/2.0/aws/amazon-eventstream.html>

use aws_smithy_eventstream::frame::read_message_from;
use aws_smithy_types::event_stream::Message;
use bytes::{Bytes, BytesMut};

use super::event::Event;
use crate::error::{Error, ErrorKind, Result};

/// Minimum size of a frame: its length, the length of its headers, the checksum of both, and the checksum of the whole.
const MIN_FRAME: usize = 16;

/// Splits a body into frames.
///
/// Each frame becomes an event named after its type: `messageStart`, `exception:throttlingException` for a fault in the
/// service's model, or `error:InternalFailure` for one that is not.
#[derive(Debug)]
pub struct Parser {
    partial: BytesMut,
    limit: usize,
}

impl Parser {
    /// Creates a parser that refuses frames of more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { partial: BytesMut::new(), limit }
    }

    /// Parses the next piece of the body and passes each completed frame to `emit`.
    ///
    /// # Errors
    ///
    /// Returns an error if a frame is too large or damaged.
    pub fn feed(&mut self, piece: Bytes, mut emit: impl FnMut(Event)) -> Result<()> {
        self.partial.extend_from_slice(&piece);
        while let Some(length) = self.partial.first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            if length < MIN_FRAME {
                return Err(invalid("a frame of the stream is shorter than its own head"));
            }
            if length > self.limit {
                return Err(invalid(format!(
                    "a frame of the stream is larger than {} bytes (max_event_size)",
                    self.limit
                )));
            }
            if self.partial.len() < length {
                break;
            }
            let frame = self.partial.split_to(length).freeze();
            let message = read_message_from(frame)
                .map_err(|error| invalid(format!("a frame of the stream is damaged: {error}")))?;
            emit(event(&message));
        }
        Ok(())
    }

    /// Handles the end of the body. An incomplete frame is discarded, since its checksum is missing.
    ///
    /// # Errors
    ///
    /// Never fails; the result is that of the other parsers.
    pub fn finish(&mut self, _emit: impl FnMut(Event)) -> Result<()> {
        Ok(())
    }
}

fn event(message: &Message) -> Event {
    let header = |name: &str| {
        let found = message.headers().iter().find(|header| header.name().as_str() == name);
        found.and_then(|header| header.value().as_string().ok()).map(|text| text.as_str())
    };
    let data = message.payload().clone();
    match header(":message-type") {
        Some("exception") => {
            Event { name: format!("exception:{}", header(":exception-type").unwrap_or_default()).into(), data }
        }
        Some("error") => {
            let payload = serde_json::json!({"message": header(":error-message").unwrap_or_default()});
            Event {
                name: format!("error:{}", header(":error-code").unwrap_or_default()).into(),
                data: payload.to_string().into(),
            }
        }
        _ => Event { name: Bytes::copy_from_slice(header(":event-type").unwrap_or_default().as_bytes()), data },
    }
}

fn invalid(message: impl Into<String>) -> Box<Error> {
    Error::new(ErrorKind::ApiResponseValidation, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_smithy_eventstream::frame::write_message_to;
    use aws_smithy_types::event_stream::{Header, HeaderValue};

    fn frame(headers: &[(&'static str, &'static str)], payload: &'static str) -> Vec<u8> {
        let header =
            |(name, value): &(&'static str, &'static str)| Header::new(*name, HeaderValue::String((*value).into()));
        let mut out = Vec::new();
        write_message_to(&Message::new_from_parts(headers.iter().map(header).collect(), payload), &mut out).unwrap();
        out
    }

    fn body() -> Vec<u8> {
        let mut body = frame(&[(":message-type", "event"), (":event-type", "messageStart")], r#"{"role":"assistant"}"#);
        body.extend(frame(
            &[(":message-type", "exception"), (":exception-type", "throttlingException")],
            r#"{"message":"slow"}"#,
        ));
        body.extend(frame(
            &[(":message-type", "error"), (":error-code", "InternalFailure"), (":error-message", "no")],
            "",
        ));
        body
    }

    #[test]
    fn cut_anywhere_the_events_are_the_same() {
        let body = body();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        for cut in 0..=body.len() {
            let mut parser = Parser::new(1000);
            let mut events = Vec::new();
            let (first, second) = body.split_at(cut);
            for piece in [first, second] {
                parser
                    .feed(Bytes::copy_from_slice(piece), |event| events.push((text(&event.name), text(&event.data))))
                    .unwrap();
            }
            let expected = [
                ("messageStart", r#"{"role":"assistant"}"#),
                ("exception:throttlingException", r#"{"message":"slow"}"#),
                ("error:InternalFailure", r#"{"message":"no"}"#),
            ];
            assert_eq!(events, expected.map(|(name, data)| (name.to_owned(), data.to_owned())), "cut at {cut}");
        }
    }

    #[test]
    fn one_wrong_bit_is_an_error() {
        let whole = frame(&[(":message-type", "event"), (":event-type", "messageStart")], "{}");
        for index in 4..whole.len() {
            let mut damaged = whole.clone();
            damaged[index] ^= 1;
            let failed =
                Parser::new(1000).feed(damaged.into(), |_| panic!("an event out of a damaged frame")).unwrap_err();
            assert_eq!(failed.kind, ErrorKind::ApiResponseValidation, "byte {index}");
        }
        assert!(Parser::new(1000).feed(Bytes::from_static(&[0, 0, 0, 3]), |_| {}).is_err());
        assert!(Parser::new(1000).feed(Bytes::from_static(&[0, 1, 0, 0]), |_| {}).is_err());
    }
}
