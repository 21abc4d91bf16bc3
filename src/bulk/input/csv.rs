//! Rows that are records of CSV, each turned into a JSON object of strings.

use std::io::{self, BufRead, Read};

use ::csv::{ByteRecord, ReaderBuilder};
use memchr::memchr_iter;

use super::file::Content;

/// Records of a file in the format of RFC 4180, with a header.
pub(super) struct Records {
    reader: ::csv::Reader<Bounded>,
    /// Names of the columns, as JSON strings.
    names: Vec<Vec<u8>>,
    record: ByteRecord,
    /// True if lines end with CRLF, of which the reader leaves the LF for the next record.
    has_crlf: bool,
}

/// A record that was read.
pub(super) struct Record {
    /// Line on which it begins, from 1.
    pub line: u64,
    /// What is wrong with it, if it is no row.
    pub is_row: Result<(), String>,
}

impl Records {
    /// Reads the header. The separator is the first of these that stands between its names, outside of quotes: a tab, a comma, a
    /// semicolon, a bar.
    ///
    /// # Errors
    ///
    /// The header cannot be read, or has a name twice.
    pub fn new(mut content: Content, max: usize) -> Result<Self, String> {
        let start = content.fill_buf().map_err(|error| error.to_string())?;
        let header = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let outside = || header.split(|byte| *byte == b'"').step_by(2).flatten();
        let separator = *b"\t,;|".iter().find(|byte| outside().any(|found| found == *byte)).unwrap_or(&b',');
        let has_crlf = header.ends_with(b"\r");
        let input = Bounded { input: content, read: 0, total: 0, last: b'\n', max };
        // Records with too many or too few fields are bad rows, not the end of the file.
        let mut reader = ReaderBuilder::new().delimiter(separator).flexible(true).from_reader(input);
        let header = reader.byte_headers().map_err(|error| error.to_string())?;
        let mut names: Vec<Vec<u8>> = Vec::with_capacity(header.len());
        for field in header {
            let name = std::str::from_utf8(field)
                .map_err(|_| format!("the header is no UTF-8: {:?}", String::from_utf8_lossy(field)))?;
            let json = serde_json::to_vec(name).expect("a string is JSON");
            if names.contains(&json) {
                return Err(format!("the header has the column {name:?} twice"));
            }
            names.push(json);
        }
        Ok(Self { reader, names, record: ByteRecord::new(), has_crlf })
    }

    /// Reads the next record as a JSON object into `json`; `None` after the last.
    ///
    /// # Errors
    ///
    /// The file cannot be read any further than to a line.
    pub fn next(&mut self, json: &mut Vec<u8>) -> Result<Option<Record>, (u64, String)> {
        let before = self.reader.position().line();
        self.reader.get_mut().read = 0;
        let is_some = self.reader.read_byte_record(&mut self.record).map_err(|error| (before, error.to_string()))?;
        if !is_some {
            return Ok(None);
        }
        json.clear();
        Ok(Some(Record { line: self.line(), is_row: self.write(json) }))
    }

    /// Returns the line on which the last record begins: the reader's own is that of the blank lines before it.
    fn line(&self) -> u64 {
        let (end, input) = (self.reader.position(), self.reader.get_ref());
        let is_unended = input.last != b'\n' && end.byte() == input.total;
        let inside = self.record.iter().map(|field| memchr_iter(b'\n', field).count() as u64).sum::<u64>();
        end.line() - inside - u64::from(!self.has_crlf && !is_unended)
    }

    /// Returns the number of bytes that were read ahead, behind the last record.
    pub fn ahead(&self) -> u64 {
        let input = self.reader.get_ref();
        input.total - self.reader.position().byte() + input.input.buffer().len() as u64
    }

    fn write(&self, json: &mut Vec<u8>) -> Result<(), String> {
        if self.record.len() != self.names.len() {
            return Err(format!("has {} fields, and the header {}", self.record.len(), self.names.len()));
        }
        json.push(b'{');
        for (index, (name, field)) in self.names.iter().zip(&self.record).enumerate() {
            if index > 0 {
                json.push(b',');
            }
            json.extend_from_slice(name);
            json.push(b':');
            let field = std::str::from_utf8(field).map_err(|error| {
                format!("is no UTF-8: the byte 0x{:02x} is in no character", field[error.valid_up_to()])
            })?;
            serde_json::to_writer(&mut *json, field).expect("a string is JSON");
        }
        json.push(b'}');
        Ok(())
    }
}

/// Input that ends with an error if a record is too long: a quote that is not closed would read the whole file into one.
struct Bounded {
    input: Content,
    /// Number of bytes read since the last record ended.
    read: usize,
    /// Number of bytes read of the file, and the last of them.
    total: u64,
    last: u8,
    max: usize,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read > self.max {
            return Err(io::Error::other(format!(
                "a record is longer than {} MB: is a quote not closed?",
                (self.max >> 20).max(1)
            )));
        }
        let count = self.input.read(buffer)?;
        self.read += count;
        self.total += count as u64;
        self.last = count.checked_sub(1).map_or(self.last, |last| buffer[last]);
        Ok(count)
    }
}
