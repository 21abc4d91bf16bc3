//! The wire format of a Redis: RESP 2 (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).

use bytes::{Buf, Bytes, BytesMut};

/// Maximum length of a string in a reply, in bytes. A Redis itself allows 512 MB.
const MAX_STRING: usize = 64 << 20;
/// Maximum number of members of an array in a reply.
const MAX_ARRAY: usize = 1 << 20;
/// Maximum depth of arrays in a reply.
const MAX_DEPTH: usize = 8;
/// Maximum length of a line, in bytes.
const MAX_LINE: usize = 64 << 10;

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// No value.
    Nil,
    /// A number.
    Integer(i64),
    /// A string.
    Bytes(Bytes),
    /// A status, such as `OK`.
    Status(Bytes),
    /// An error: a code in capitals, a space, and a message.
    Error(Bytes),
    /// Several values.
    Array(Vec<Value>),
}

/// Writes a command.
pub fn encode(out: &mut BytesMut, parts: &[impl AsRef<[u8]>]) {
    let mut number = itoa::Buffer::new();
    out.extend_from_slice(b"*");
    out.extend_from_slice(number.format(parts.len()).as_bytes());
    for part in parts {
        let part = part.as_ref();
        out.extend_from_slice(b"\r\n$");
        out.extend_from_slice(number.format(part.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(part);
    }
    out.extend_from_slice(b"\r\n");
}

/// Takes one whole reply off the buffer; `None` if it has not arrived yet.
///
/// # Errors
///
/// Returns an error if the bytes are no reply, or one that is too large.
pub fn decode(buffer: &mut BytesMut) -> Result<Option<Value>, &'static str> {
    let mut input = Input { bytes: buffer, at: 0 };
    // The first pass copies nothing, so that a reply that arrives in pieces costs no allocations.
    if input.skip(0)?.is_none() {
        return Ok(None);
    }
    let mut whole = buffer.split_to(input.at).freeze();
    Ok(Some(take(&mut whole)))
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Input<'_> {
    /// Skips a line without its end, and returns it.
    fn line(&mut self) -> Result<Option<&[u8]>, &'static str> {
        let rest = &self.bytes[self.at..];
        match memchr::memmem::find(&rest[..rest.len().min(MAX_LINE)], b"\r\n") {
            Some(end) => {
                self.at += end + 2;
                Ok(Some(&rest[..end]))
            }
            None if rest.len() >= MAX_LINE => Err("a line is too long"),
            None => Ok(None),
        }
    }

    /// Skips a value and checks it; `None` if it is incomplete.
    fn skip(&mut self, depth: usize) -> Result<Option<()>, &'static str> {
        let Some(line) = self.line()? else { return Ok(None) };
        let (kind, text) = line.split_first().ok_or("a line is empty")?;
        match kind {
            b'+' | b'-' => Ok(Some(())),
            b':' => number(text).map(|_| Some(())),
            b'$' => {
                let Some(length) = length(text, MAX_STRING)? else { return Ok(Some(())) };
                let Some(end) = self.bytes.get(self.at + length..self.at + length + 2) else { return Ok(None) };
                if end != b"\r\n" {
                    return Err("a string is longer than it says");
                }
                self.at += length + 2;
                Ok(Some(()))
            }
            b'*' => {
                let Some(length) = length(text, MAX_ARRAY)? else { return Ok(Some(())) };
                if depth == MAX_DEPTH {
                    return Err("arrays are nested too deeply");
                }
                for _ in 0..length {
                    if self.skip(depth + 1)?.is_none() {
                        return Ok(None);
                    }
                }
                Ok(Some(()))
            }
            _ => Err("a line begins with an unknown type"),
        }
    }
}

/// Takes a value that was checked.
fn take(whole: &mut Bytes) -> Value {
    let end = memchr::memmem::find(whole, b"\r\n").unwrap_or_default();
    let mut line = whole.split_to(end);
    whole.advance(2);
    let kind = line.get_u8();
    match kind {
        b'+' => Value::Status(line),
        b'-' => Value::Error(line),
        b':' => Value::Integer(number(&line).unwrap_or_default()),
        b'$' => match length(&line, MAX_STRING) {
            Ok(Some(length)) => {
                let text = whole.split_to(length);
                whole.advance(2);
                Value::Bytes(text)
            }
            _ => Value::Nil,
        },
        _ => match length(&line, MAX_ARRAY) {
            Ok(Some(length)) => Value::Array((0..length).map(|_| take(whole)).collect()),
            _ => Value::Nil,
        },
    }
}

fn number(text: &[u8]) -> Result<i64, &'static str> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or("a number is malformed")
}

/// Parses a length; `None` for -1, which stands for no value.
fn length(text: &[u8], max: usize) -> Result<Option<usize>, &'static str> {
    match number(text)? {
        -1 => Ok(None),
        length => match usize::try_from(length) {
            Ok(length) if length <= max => Ok(Some(length)),
            _ => Err("a length is out of range"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Result<Option<Value>, &'static str> {
        decode(&mut BytesMut::from(text))
    }

    #[test]
    fn commands() {
        let mut out = BytesMut::new();
        encode(&mut out, &[b"GET".as_slice(), b"", b"a\r\nb"]);
        assert_eq!(&out[..], b"*3\r\n$3\r\nGET\r\n$0\r\n\r\n$4\r\na\r\nb\r\n");
    }

    #[test]
    fn replies_in_pieces() {
        let text = b"*6\r\n:-12\r\n$5\r\na\r\nbc\r\n$-1\r\n+OK\r\n-ERR no\r\n*2\r\n*0\r\n*-1\r\n";
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        let expected = Value::Array(vec![
            Value::Integer(-12),
            Value::Bytes(bytes("a\r\nbc")),
            Value::Nil,
            Value::Status(bytes("OK")),
            Value::Error(bytes("ERR no")),
            Value::Array(vec![Value::Array(vec![]), Value::Nil]),
        ]);
        for cut in 0..text.len() {
            let mut buffer = BytesMut::from(&text[..cut]);
            assert_eq!(decode(&mut buffer), Ok(None), "{cut}");
            buffer.extend_from_slice(&text[cut..]);
            buffer.extend_from_slice(b":7\r\n");
            assert_eq!(decode(&mut buffer), Ok(Some(expected.clone())));
            assert_eq!(decode(&mut buffer), Ok(Some(Value::Integer(7))));
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn malformed_replies() {
        for text in [
            "HTTP/1.1 400 Bad Request\r\n",
            "\r\n",
            ":1x\r\n",
            ":\r\n",
            "$-2\r\n",
            "$99999999999\r\n",
            "$1\r\nabc\r\n",
            "*99999999\r\n",
            "*-7\r\n",
            &"*1\r\n".repeat(20),
            &"+".repeat(MAX_LINE),
        ] {
            assert!(all(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
