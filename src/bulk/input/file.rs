//! A file of rows that is open: what it holds, decompressed, and whether it is still what it was.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use flate2::bufread::GzDecoder;

use super::lines::BOM;
use crate::error::{Error, Result};

/// Size of the blocks that are read from a file.
const BLOCK: usize = 256 << 10;

/// Form of the rows in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Lines,
    /// Comma-separated values with a header.
    Csv,
}

/// Size and time of change of a regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    size: u64,
    modified: Option<SystemTime>,
}

impl Version {
    /// Returns the version of a file; `None` for a pipe, which has none.
    pub fn of(metadata: &Metadata) -> Option<Self> {
        metadata.is_file().then(|| Self { size: metadata.len(), modified: metadata.modified().ok() })
    }

    pub fn size(&self) -> u64 {
        self.size
    }
}

/// Signatures of what files of rows are not, with the words for the error.
const FOREIGN: &[(&[u8], &str)] = &[
    (b"PAR1", "is Parquet, which this reader does not know: pyarrow or polars read it, in Python"),
    (b"ARROW1", "is an Arrow file, which this reader does not know: pyarrow reads it, in Python"),
    (b"PK\x03\x04", "is a zip archive or an Excel sheet: JSONL, CSV, or gzip or zstd of them would be right"),
    (b"BZh", "is compressed with bzip2: gzip or zstd would be right"),
    (b"\xfd7zXZ\0", "is compressed with xz: gzip or zstd would be right"),
    (b"\xff\xfe", "is UTF-16: UTF-8 would be right"),
    (b"\xfe\xff", "is UTF-16: UTF-8 would be right"),
];

/// A file's content, decompressed, from its first byte behind a byte order mark on.
pub(super) type Content = BufReader<Blocks>;

/// Counts how much was taken of files, in their bytes on the disk.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Number of bytes that were taken, and decompressed.
    taken: AtomicU64,
    /// That number before the last block.
    before: AtomicU64,
    /// Size of the last block, decompressed.
    block: AtomicU64,
}

impl Meter {
    /// Returns the number of bytes of the files behind which `ahead` bytes of the last block, decompressed, are left. All of
    /// a block's bytes count alike, as nobody knows which part of a compressed file became which of them.
    pub fn taken_before(&self, ahead: u64) -> f64 {
        let [taken, before, block] =
            [&self.taken, &self.before, &self.block].map(|count| count.load(Ordering::Relaxed) as f64);
        taken - (taken - before) * (ahead as f64 / block.max(1.0)).min(1.0)
    }
}

/// Opens a file of rows, whose bytes `meter` counts.
///
/// # Errors
///
/// The file cannot be opened, is not the `version` that was expected, or has a format that is not known.
pub(super) fn open(path: &Path, version: Option<Version>, meter: Arc<Meter>) -> Result<Content> {
    let name = path.display();
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let raw = Watched { file, version };
    raw.check().map_err(|error| unreadable(path, &error))?;
    let mut raw = Counted { input: BufReader::with_capacity(BLOCK, raw), meter: meter.clone() };
    let magic = raw.fill_buf().map_err(|error| unreadable(path, &error))?;
    let content: Box<dyn Read + Send> = match magic {
        [0x1f, 0x8b, ..] => Box::new(Members(Some(GzDecoder::new(raw)))),
        // The second is a frame that decoders skip, with which parallel compressors begin.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Box::new(zstd::stream::read::Decoder::with_buffer(raw).map_err(|error| unreadable(path, &error))?)
        }
        _ => Box::new(raw),
    };
    let mut content = BufReader::with_capacity(BLOCK, Blocks { content, meter });
    let start = content.fill_buf().map_err(|error| unreadable(path, &error))?;
    if let Some((_, what)) = FOREIGN.iter().find(|(signature, _)| start.starts_with(signature)) {
        return Err(Error::argument(format!("{name} {what}")));
    }
    if start.starts_with(BOM) {
        content.consume(BOM.len());
    }
    Ok(content)
}

/// Returns the format that a file's name tells, else the one that its content looks like.
pub(super) fn format_of(path: &Path, start: &[u8]) -> Format {
    let name = path.to_string_lossy().to_ascii_lowercase();
    let name = [".gz", ".zst", ".zstd"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    if [".csv", ".tsv", ".tab"].iter().any(|end| name.ends_with(end)) {
        return Format::Csv;
    }
    if [".jsonl", ".ndjson", ".json"].iter().any(|end| name.ends_with(end)) {
        return Format::Lines;
    }
    match start.trim_ascii_start().first() {
        None | Some(b'{' | b'[') => Format::Lines,
        Some(_) => Format::Csv,
    }
}

/// Creates the error of a file that cannot be read.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> Box<Error> {
    Error::argument(format!("{} cannot be read: {error}", path.display()))
}

/// The content of a gzip file, which may have several members, and zeros at its end as archivers leave them.
struct Members<R>(Option<GzDecoder<R>>);

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let rest = member.get_mut();
            while rest.fill_buf()?.first() == Some(&0) {
                rest.consume(1);
            }
            if rest.fill_buf()?.is_empty() {
                break;
            }
            self.0 = self.0.take().map(|member| GzDecoder::new(member.into_inner()));
        }
        Ok(0)
    }
}

/// A file that is read once, and must not change meanwhile.
struct Watched {
    file: File,
    version: Option<Version>,
}

impl Watched {
    fn check(&self) -> io::Result<()> {
        let Some(expected) = self.version else { return Ok(()) };
        match Version::of(&self.file.metadata()?) {
            Some(version) if version == expected => Ok(()),
            Some(version) if version.size != expected.size => Err(io::Error::other(format!(
                "it has changed since the job began to read it, from {} to {} bytes",
                expected.size, version.size
            ))),
            _ => Err(io::Error::other("it has been written since the job began to read it")),
        }
    }
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        // After the read: what it returned is of the version that is checked here. A call a block costs nothing.
        self.check()?;
        Ok(count)
    }
}

/// A file that counts the bytes that are taken of it, which are fewer than were read.
struct Counted {
    input: BufReader<Watched>,
    meter: Arc<Meter>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.meter.taken.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl BufRead for Counted {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.input.consume(count);
        self.meter.taken.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// A file's content, which notes what each block took of the file.
pub(super) struct Blocks {
    content: Box<dyn Read + Send>,
    meter: Arc<Meter>,
}

impl Read for Blocks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.meter.before.store(self.meter.taken.load(Ordering::Relaxed), Ordering::Relaxed);
        let count = self.content.read(buffer)?;
        self.meter.block.store(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
