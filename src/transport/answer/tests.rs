use super::*;

/// Reads a response after which the connection ends. Returns its status and body, and whether the connection could
/// be reused; or the error.
fn read(bytes: &[u8]) -> Result<(u16, String, bool), String> {
    let mut parser = Parser::new(4096);
    parser.feed(bytes);
    let head = loop {
        match parser.head(0).map_err(|error| error.message)? {
            Some(head) if head.status < 200 => {}
            Some(head) => break head,
            None => return Err("cut".into()),
        }
    };
    let mut body = String::new();
    loop {
        match parser.decode().map_err(|error| error.message)? {
            Decoded::Data(data) => body += &String::from_utf8_lossy(&data),
            Decoded::Done => return Ok((head.status, body, parser.is_reusable())),
            Decoded::NeedsMore => parser.end().map_err(|_| "cut".to_owned())?,
        }
    }
}

/// Cases in which parsers of HTTP/1.1 differ; section numbers are of RFC 9112 unless stated otherwise.
#[test]
fn what_differs_is_decided() {
    for (section, bytes, status, body, reusable) in [
        ("2.2: a line may end in LF alone", "HTTP/1.1 200 OK\ncontent-length: 2\n\nhi", 200, "hi", true),
        ("4: a reason may be missing, its space too", "HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nhi", 200, "hi", true),
        ("5.2: a folded line is one", "HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 2\r\n\r\nhi", 200, "hi", true),
        (
            "6.3: chunks go before a length",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            200,
            "hi",
            false,
        ),
        ("6.3: no body with 204 and 304", "HTTP/1.1 304 No\r\ncontent-length: 9\r\n\r\n", 304, "", true),
        (
            "6.3: the same length twice",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nhi",
            200,
            "hi",
            true,
        ),
        ("6.3: neither length nor chunks", "HTTP/1.1 200 OK\r\n\r\nhi", 200, "hi", false),
        (
            "7.1.1: extensions of chunks are passed over",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\n\r\n",
            200,
            "hi",
            true,
        ),
        (
            "7.1.2: so are trailers",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx: y\r\n\r\n",
            200,
            "hi",
            true,
        ),
        (
            "6.1: a connection on which HTTP/1.0 came in chunks is not used again",
            "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            200,
            "hi",
            false,
        ),
        (
            "5.2: a folded line may hold the value",
            "HTTP/1.1 200 OK\r\ntransfer-encoding:\r\n chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            200,
            "hi",
            true,
        ),
        (
            "7.1: a size may have spaces behind it",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2 \t\r\nhi\r\n0 ;a\r\n\r\n",
            200,
            "hi",
            true,
        ),
        (
            "9.3: HTTP/1.0 closes unless it says otherwise",
            "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi",
            200,
            "hi",
            false,
        ),
        (
            "9.2: bytes behind an answer belong to nothing",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi!",
            200,
            "hi",
            false,
        ),
        (
            "RFC 9110, 15.2: informational heads come before",
            "HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
            200,
            "hi",
            true,
        ),
    ] {
        assert_eq!(read(bytes.as_bytes()), Ok((status, body.to_owned(), reusable)), "{section}");
    }
    for (section, bytes, said) in [
        ("4: the version", "HTTP/2 200 OK\r\n\r\n", "does not begin"),
        ("2.2: nothing stands before it", "\r\nHTTP/1.1 200 OK\r\n\r\n", "does not begin"),
        ("2.2: no space before a field", "HTTP/1.1 200 OK\r\n content-length: 2\r\n\r\nhi", "before the first"),
        ("2.2: no line of spaces", "HTTP/1.1 200 OK\n \r\n\r\nhi", "before the first"),
        ("2.2: no CR but before LF", "HTTP/1.1 200 OK\r\n\rx: y\r\n\r\nhi", "a CR at the beginning"),
        ("2.2: one CR ends the head", "HTTP/1.1 200 OK\r\n\r\r\n\r\nhi", "a CR at the beginning"),
        ("2.2: no CR in a length", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\r\n\r\nhi", "no number"),
        (
            "RFC 9110, 5.5: no form feed in a coding",
            "HTTP/1.1 200 OK\r\ntransfer-encoding:\x0cchunked\r\n\r\n0\r\n\r\n",
            "transfer-encoding",
        ),
        ("4: three digits", "HTTP/1.1 20 OK\r\n\r\n", "three digits"),
        ("5: a colon", "HTTP/1.1 200 OK\r\nhello\r\n\r\n", "colon"),
        (
            "6.1: only chunked is known",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            "transfer-encoding",
        ),
        (
            "6.1: chunked once",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
            "transfer-encoding",
        ),
        ("6.3: two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nhi", "two different"),
        ("RFC 9110, 8.6: a list of lengths", "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nhi", "no number"),
        ("RFC 9110, 8.6: digits alone", "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nhi", "no number"),
        (
            "7.1: a chunk's size is digits",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0x2\r\nhi\r\n",
            "no number",
        ),
        (
            "7.1: a chunk ends where it said",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi!\r\n",
            "longer than",
        ),
        (
            "7.1: a size has no space before it",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n 2\r\nhi\r\n",
            "no number",
        ),
        (
            "7.1: a chunk's line ends in one CR",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\r\nhi\r\n",
            "no number",
        ),
        (
            "7.1: nothing stands behind a chunk, no space either",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi \r\n0\r\n\r\n",
            "longer than",
        ),
        (
            "5.1: no space before the colon",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding : chunked\r\n\r\nhi",
            "space",
        ),
        (
            "5.2: a length that goes on in the next line is no number",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n 3\r\n\r\nhi",
            "no number",
        ),
        (
            "5.2: nor is a coding that does",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\t, gzip\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            "transfer-encoding",
        ),
        ("8: a length that is not reached", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi", "cut"),
        ("8: no last chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n", "cut"),
        ("RFC 9110, 15.2.2: no switch was asked for", "HTTP/1.1 101 Switching\r\n\r\n", "another protocol"),
    ] {
        let error = read(bytes.as_bytes()).unwrap_err();
        assert!(error.contains(said), "{section}: {error}");
    }
}
