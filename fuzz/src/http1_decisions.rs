//! Differences between our HTTP/1.1 parser and others that are intended, one row each.
//!
//! Sections are those of RFC 9112 unless another RFC is named.

use super::http1::Differs::{Otherwise, TheyRefuse, WeRefuse};
use super::http1::{Decision, PEERS, Peer};

const ALL: &[Peer] = &PEERS;
const HYPER: &[Peer] = &[Peer::Hyper];
const LLHTTP: &[Peer] = &[Peer::Llhttp, Peer::Aiohttp];
const STRICT_LLHTTP: &[Peer] = &[Peer::Llhttp];
const LENIENT_LLHTTP: &[Peer] = &[Peer::Aiohttp];
const CHUNKED: &[u8] = b"transfer-encoding: chunked";

/// Returns true if a line ends in LF without CR, or if that may be a CR of the chunk before it.
fn may_end_in_line_feed(bytes: &[u8]) -> bool {
    has_bare_line_feed(bytes) || has_transfer_encoding(bytes)
}

/// Returns true if a line ends in LF without CR.
fn has_bare_line_feed(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().any(|(at, byte)| *byte == b'\n' && (at == 0 || bytes[at - 1] != b'\r'))
}

/// Returns true if there is a CR that no LF follows.
fn has_bare_carriage_return(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().any(|(at, byte)| *byte == b'\r' && bytes.get(at + 1) != Some(&b'\n'))
}

fn is_any(_: &[u8]) -> bool {
    true
}

fn has_transfer_encoding(bytes: &[u8]) -> bool {
    let name = &CHUNKED[..17];
    bytes.windows(name.len()).any(|window| window.eq_ignore_ascii_case(name))
}

/// Returns true if a line begins with white space.
fn has_indented_line(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|window| matches!(window, [b'\n', b' ' | b'\t']))
}

/// Returns true if a transfer-encoding is followed by a tab or by a folded line.
fn has_white_space_behind(bytes: &[u8]) -> bool {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() && *byte != b'\n';
    let lines = || bytes.split(|byte| *byte == b'\n');
    let mut next = lines().skip(1).map(|line| line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')));
    lines().any(|line| {
        let is_folded = next.next() == Some(true);
        let blank = line.iter().rev().take_while(|byte| is_blank(byte));
        has_transfer_encoding(line) && (is_folded || blank.into_iter().any(|byte| *byte == b'\t'))
    })
}

pub const DECISIONS: &[Decision] = &[
    Decision {
        section: "2.2",
        what: "a line may end in LF alone, also in a chunked body",
        peers: ALL,
        differs: TheyRefuse,
        refusals: &["nvalid", "Missing expected CR", "Expected LF", "Not enough data"],
        applies: may_end_in_line_feed,
        example: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\nhi\n0\n\n",
    },
    Decision {
        section: "2.2",
        what: "a trailer section may end in LF alone",
        peers: HYPER,
        differs: TheyRefuse,
        refusals: &["nexpected EOF"],
        applies: has_bare_line_feed,
        example: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: y\n\n",
    },
    Decision {
        section: "2.2",
        what: "a CR inside a line is a character like others, if the line does not begin with it",
        peers: LLHTTP,
        differs: TheyRefuse,
        refusals: &["Expected LF", "Missing expected LF"],
        applies: has_bare_carriage_return,
        example: b"HTTP/1.1 200 OK\r\r\nx: a\rb\r\ncontent-length: 0\r\n\r\n",
    },
    Decision {
        section: "4",
        what: "the reason phrase is not validated",
        peers: HYPER,
        differs: TheyRefuse,
        refusals: &["Parse(Status)"],
        applies: is_any,
        example: b"HTTP/1.1 200 O\x7fK\r\ncontent-length: 0\r\n\r\n",
    },
    Decision {
        section: "5.1, 5.2; RFC 9110, 5.5",
        what: "folded lines are joined, and invalid field names and values are skipped, unless they decide where the body ends",
        peers: ALL,
        differs: TheyRefuse,
        refusals: &[
            "Parse(Header(Token))",
            "nvalid header",
            "InvalidHeader",
            "Unexpected whitespace after header value",
        ],
        applies: is_any,
        example: b"HTTP/1.1 200 OK\r\nx y: a\r\n b\0\r\ncontent-length: 0\r\n\r\n",
    },
    Decision {
        section: "RFC 9110, 5.3",
        what: "a field that should occur once may be repeated",
        peers: STRICT_LLHTTP,
        differs: TheyRefuse,
        refusals: &["Duplicate '"],
        applies: is_any,
        example: b"HTTP/1.1 200 OK\r\ncontent-type: a/b\r\ncontent-type: a/b\r\ncontent-length: 0\r\n\r\n",
    },
    Decision {
        section: "6.1",
        what: "a chunked body in HTTP/1.0 is read, and the connection is closed",
        peers: HYPER,
        differs: TheyRefuse,
        refusals: &["TransferEncodingUnexpected"],
        applies: is_any,
        example: b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    },
    Decision {
        section: "6.3",
        what: "a content-length beside a chunked body is ignored, and the connection is closed",
        peers: LLHTTP,
        differs: TheyRefuse,
        refusals: &["can't be present with"],
        applies: has_transfer_encoding,
        example: b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    },
    Decision {
        section: "6.3; RFC 9110, 8.6",
        what: "a content-length may be repeated, if the number is the same",
        peers: LLHTTP,
        differs: TheyRefuse,
        refusals: &["Duplicate Content-Length"],
        applies: is_any,
        example: b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nhi",
    },
    Decision {
        section: "7.1.1",
        what: "white space around the extensions of a chunk is skipped",
        peers: LLHTTP,
        differs: TheyRefuse,
        refusals: &["Invalid character in chunk"],
        applies: has_transfer_encoding,
        example: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0; a\r\n\r\n",
    },
    Decision {
        section: "7.1.2",
        what: "trailers are skipped without validation",
        peers: ALL,
        differs: TheyRefuse,
        refusals: &["nvalid"],
        applies: has_transfer_encoding,
        example: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nno colon\r\n\r\n",
    },
    Decision {
        section: "RFC 9110, 15.2",
        what: "informational heads of HTTP/1.0 are skipped like others",
        peers: LLHTTP,
        differs: TheyRefuse,
        refusals: &["Data after"],
        applies: is_any,
        example: b"HTTP/1.0 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    },
    Decision {
        section: "5.2; RFC 9110, 5.5",
        what: "a tab or a folded line of white space behind a transfer-encoding does not belong to it",
        peers: LLHTTP,
        differs: Otherwise,
        refusals: &["cut", "a chunk"],
        applies: has_white_space_behind,
        example: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\t\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    },
    Decision {
        section: "2.2",
        what: "CR CR LF is not an empty line: the head goes on",
        peers: LENIENT_LLHTTP,
        differs: Otherwise,
        refusals: &[""],
        applies: has_bare_carriage_return,
        example: b"HTTP/1.1 200 OK\r\nx:\r\r\n\r\nhi",
    },
    Decision {
        section: "2.2",
        what: "an empty line before the status line is an error",
        peers: ALL,
        differs: WeRefuse,
        refusals: &["does not begin"],
        applies: is_any,
        example: b"\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    },
    Decision {
        section: "2.2",
        what: "white space before the first field is an error",
        peers: LENIENT_LLHTTP,
        differs: WeRefuse,
        // A line of white space alone is the end of the head there, and here there is none.
        refusals: &["before the first header field", "cut"],
        applies: has_indented_line,
        example: b"HTTP/1.1 200 OK\r\n content-length: 2\r\n\r\nhi",
    },
    Decision {
        section: "2.3",
        what: "a version other than HTTP/1.1 and HTTP/1.0 is an error",
        peers: LLHTTP,
        differs: WeRefuse,
        refusals: &["does not begin"],
        applies: is_any,
        example: b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    },
    Decision {
        section: "4; RFC 9110, 15",
        what: "a status below 100 is an error",
        peers: LLHTTP,
        differs: WeRefuse,
        refusals: &["three digits"],
        applies: is_any,
        example: b"HTTP/1.1 099 OK\r\ncontent-length: 0\r\n\r\n",
    },
    Decision {
        section: "5.1",
        what: "a space between the name of a field that decides where the body ends and its colon is an error",
        peers: LENIENT_LLHTTP,
        differs: WeRefuse,
        refusals: &["its colon"],
        applies: is_any,
        example: b"HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\nhi",
    },
    Decision {
        section: "6.3; RFC 9110, 8.6",
        what: "a content-length is one number in digits: a list is an error, and so are two different ones, also if the end of the body is known without it",
        peers: HYPER,
        differs: WeRefuse,
        refusals: &["content-length that is no number", "two different content-lengths"],
        applies: is_any,
        example: b"HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nhi",
    },
    Decision {
        section: "RFC 9110, 8.6",
        what: "a content-length has at most 15 digits",
        peers: ALL,
        differs: WeRefuse,
        refusals: &["content-length that is no number"],
        applies: is_any,
        example: b"HTTP/1.1 204 No Content\r\ncontent-length: 1234567890123456\r\n\r\n",
    },
    Decision {
        section: "6.1",
        what: "a transfer coding other than chunked is an error: the encoded body is not passed on as if it were decoded",
        peers: ALL,
        differs: WeRefuse,
        refusals: &["transfer-encoding"],
        applies: has_transfer_encoding,
        example: b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    },
    Decision {
        section: "7.1",
        what: "a chunk size has at most 15 digits, including leading zeros",
        peers: ALL,
        differs: WeRefuse,
        refusals: &["size is no number"],
        applies: is_any,
        example: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0000000000000000\r\n\r\n",
    },
    Decision {
        section: "RFC 9110, 15.2.2",
        what: "an unrequested switch to another protocol is an error",
        peers: ALL,
        differs: WeRefuse,
        refusals: &["another protocol"],
        applies: is_any,
        example: b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    },
];
