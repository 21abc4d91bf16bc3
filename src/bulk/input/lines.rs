//! Rows that are lines of JSON.

use std::io::{self, BufRead, BufReader, Read};

use memchr::memchr;

/// Lines of a text, found without copying those that lie in one block.
pub(super) struct Lines<R> {
    input: R,
    /// Number of the last line, from 1.
    number: u64,
    /// Number of bytes of `input` that the last line took, to be consumed before the next one is read.
    taken: usize,
    /// The last line, if it was spread over several blocks.
    joined: Vec<u8>,
    max: usize,
}

/// A line without its line break.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Text(&'a [u8]),
    /// A line that is longer than the maximum.
    TooLong,
}

impl<R: BufRead> Lines<R> {
    pub fn new(input: R, max: usize) -> Self {
        Self { input, number: 0, taken: 0, joined: Vec::new(), max }
    }

    /// Returns the number of the last line, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Returns the next line; `None` after the last.
    ///
    /// # Errors
    ///
    /// The input cannot be read. What was read of a line that it cuts off is not returned.
    pub fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.input.consume(std::mem::take(&mut self.taken));
        self.joined.clear();
        let block = fill(&mut self.input)?;
        if block.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        let Some(end) = memchr(b'\n', block) else {
            return self.join().map(Some);
        };
        self.taken = end + 1;
        if end > self.max {
            return Ok(Some(Line::TooLong));
        }
        // Asked for again, since the borrow of a block that is returned would last too long; it is the same block.
        Ok(Some(Line::Text(&self.input.fill_buf()?[..end])))
    }

    /// Reads a line that does not end in the first block.
    #[cold]
    fn join(&mut self) -> io::Result<Line<'_>> {
        let mut is_too_long = false;
        loop {
            let block = fill(&mut self.input)?;
            let end = memchr(b'\n', block);
            let part = &block[..end.unwrap_or(block.len())];
            is_too_long |= self.joined.len() + part.len() > self.max;
            if is_too_long {
                self.joined = Vec::new();
            } else {
                self.joined.extend_from_slice(part);
            }
            let taken = part.len() + usize::from(end.is_some());
            let is_end = end.is_some() || block.is_empty();
            self.input.consume(taken);
            if is_end {
                break;
            }
        }
        Ok(if is_too_long { Line::TooLong } else { Line::Text(&self.joined) })
    }
}

impl<R: Read> Lines<BufReader<R>> {
    /// Returns the number of bytes that were read ahead, behind the last line.
    pub fn ahead(&self) -> u64 {
        (self.input.buffer().len() - self.taken) as u64
    }
}

/// Returns the bytes that are there, after reading some if there are none; empty at the end.
fn fill<R: BufRead>(input: &mut R) -> io::Result<&[u8]> {
    loop {
        match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => return input.fill_buf(),
        }
    }
}

/// Byte order mark.
pub(super) const BOM: &[u8] = b"\xef\xbb\xbf";

/// Checks a line; what is wrong goes on after the line's place.
///
/// # Errors
///
/// The line is no JSON object, as far as its beginning and its characters tell.
pub(super) fn check(line: &[u8]) -> Result<&[u8], String> {
    // Files that were put together each bring their byte order mark along.
    let line = line.strip_prefix(BOM).unwrap_or(line);
    if let Some(at) = memchr(0, line) {
        return Err(format!("holds a NUL byte at position {at}: was the file cut off or not written to the end?"));
    }
    if let Err(error) = std::str::from_utf8(line) {
        let at = error.valid_up_to();
        return Err(format!("is no UTF-8: the byte 0x{:02x} at position {at} is in no character", line[at]));
    }
    match line.first() {
        Some(b'{') => Ok(line),
        _ => {
            let start: String = String::from_utf8_lossy(line).chars().take(20).collect();
            Err(format!("is no JSON object: it begins with {start:?}"))
        }
    }
}
