//! Differences between our HTTP/1.1 parser and hyper's client that are intended, one row each.
//!
//! Sections are those of RFC 9112 unless another RFC is named.

use super::http1::Differs::{TheyRefuse, WeRefuse};
use super::http1::{Decision, Peer};

const HYPER: &[Peer] = &[Peer::Hyper];
const CHUNKED: &[u8] = b"transfer-encoding: chunked";

/// Returns true if a line ends in LF without CR.
fn has_bare_line_feed(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().any(|(at, byte)| *byte == b'\n' && (at == 0 || bytes[at - 1] != b'\r'))
}

fn is_any(_: &[u8]) -> bool {
    true
}

fn has_transfer_encoding(bytes: &[u8]) -> bool {
    let name = &CHUNKED[..17];
    bytes.windows(name.len()).any(|window| window.eq_ignore_ascii_case(name))
}

pub const DECISIONS: &[Decision] = &[
    Decision {
        section: "2.2",
        what: "a line may end in LF alone, also in a chunked body",
        peers: HYPER,
        differs: TheyRefuse,
        refusal: "nvalid",
        applies: has_bare_line_feed,
        example: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\nhi\n0\n\n",
    },
    Decision {
        section: "2.2",
        what: "a trailer section may end in LF alone",
        peers: HYPER,
        differs: TheyRefuse,
        refusal: "nexpected EOF",
        applies: has_bare_line_feed,
        example: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: y\n\n",
    },
    Decision {
        section: "4",
        what: "the reason phrase is not validated",
        peers: HYPER,
        differs: TheyRefuse,
        refusal: "Parse(Status)",
        applies: is_any,
        example: b"HTTP/1.1 200 O\x7fK\r\ncontent-length: 0\r\n\r\n",
    },
    Decision {
        section: "5.1, 5.2; RFC 9110, 5.5",
        what: "folded lines are joined, and invalid field names and values are skipped, unless they decide where the body ends",
        peers: HYPER,
        differs: TheyRefuse,
        refusal: "Parse(Header(Token))",
        applies: is_any,
        example: b"HTTP/1.1 200 OK\r\nx y: a\r\n b\0\r\ncontent-length: 0\r\n\r\n",
    },
    Decision {
        section: "6.1",
        what: "a chunked body in HTTP/1.0 is read, and the connection is closed",
        peers: HYPER,
        differs: TheyRefuse,
        refusal: "TransferEncodingUnexpected",
        applies: is_any,
        example: b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    },
    Decision {
        section: "7.1.2",
        what: "trailers are skipped without validation",
        peers: HYPER,
        differs: TheyRefuse,
        refusal: "nvalid",
        applies: has_transfer_encoding,
        example: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nno colon\r\n\r\n",
    },
    Decision {
        section: "2.2",
        what: "an empty line before the status line is an error",
        peers: HYPER,
        differs: WeRefuse,
        refusal: "does not begin",
        applies: is_any,
        example: b"\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    },
    Decision {
        section: "6.3; RFC 9110, 8.6",
        what: "a content-length is one number in digits: a list is an error, also if the end of the body is known without it",
        peers: HYPER,
        differs: WeRefuse,
        refusal: "content-length",
        applies: is_any,
        example: b"HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nhi",
    },
    Decision {
        section: "6.1",
        what: "a transfer coding other than chunked is an error: the encoded body is not passed on as if it were decoded",
        peers: HYPER,
        differs: WeRefuse,
        refusal: "transfer-encoding",
        applies: has_transfer_encoding,
        example: b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    },
    Decision {
        section: "7.1",
        what: "a chunk size has at most 15 digits, including leading zeros",
        peers: HYPER,
        differs: WeRefuse,
        refusal: "size is no number",
        applies: is_any,
        example: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0000000000000000\r\n\r\n",
    },
    Decision {
        section: "RFC 9110, 15.2.2",
        what: "an unrequested switch to another protocol is an error",
        peers: HYPER,
        differs: WeRefuse,
        refusal: "another protocol",
        applies: is_any,
        example: b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    },
];
