//! Reading of segments: of their lines, and of the index files beside them.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::index::{Entry, Index, Location, MAX_SEGMENT, SHARDS};
use super::storage::{self, modified};
use crate::bulk::line::{self, Tail, Totals};

/// Length of a piece that is read at a time, in bytes.
const PIECE: usize = 1 << 20;
/// First word of an index file: its format, in this machine's byte order.
const MAGIC: u64 = u64::from_le_bytes(*b"ritellm\x01");

/// Returns the folder of a job's segments.
pub(super) fn folder_of(job: &Path) -> PathBuf {
    job.join("segments")
}

/// Returns the path of a segment.
pub(super) fn path_of(job: &Path, number: u32) -> PathBuf {
    folder_of(job).join(format!("{number:05}.jsonl"))
}

fn index_path_of(job: &Path, number: u32) -> PathBuf {
    folder_of(job).join(format!("{number:05}.index"))
}

/// Returns the numbers of a job's segments, sorted.
pub(super) fn numbers(job: &Path) -> io::Result<Vec<u32>> {
    let entries = match fs::read_dir(folder_of(job)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".jsonl")).and_then(|stem| stem.parse().ok());
        numbers.extend(number.filter(|number| (1..=MAX_SEGMENT).contains(number)));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// What is known of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Summary {
    pub(super) number: u32,
    /// Length up to the end of its last line, with a newline or without one.
    pub(super) length: u64,
    /// Sums over its lines.
    pub(super) totals: Totals,
    /// Number of damaged places.
    pub(super) damaged: u64,
    /// True if there is a newline at its end, or it is empty.
    pub(super) is_whole: bool,
}

/// Reads the lines of a file. Each one that is intact is passed on with its position.
pub(super) struct Scanner<R> {
    source: R,
    /// What was read and not yet passed on, and its position.
    buffer: Vec<u8>,
    position: u64,
    damaged: u64,
    /// True if what was read ends with a newline, or is nothing.
    is_whole: bool,
}

impl<R: Read> Scanner<R> {
    /// Creates a scanner of a segment from its beginning.
    pub(super) fn new(source: R) -> Self {
        Self { source, buffer: Vec::new(), position: 0, damaged: 0, is_whole: true }
    }

    /// Reads a piece. Returns false at the file's present end. A last line without a newline is passed on if it is intact.
    pub(super) fn step(&mut self, each: &mut dyn FnMut(&[u8], u64, &Tail)) -> io::Result<bool> {
        let kept = self.buffer.len();
        // A line that is longer than a piece is read in larger ones.
        let count = self.source.by_ref().take(PIECE.max(kept) as u64).read_to_end(&mut self.buffer)?;
        if count == 0 {
            if let Some(tail) = line::check(&self.buffer) {
                each(&self.buffer, self.position, &tail);
                self.position += self.buffer.len() as u64;
                self.buffer.clear();
            }
            return Ok(false);
        }
        let mut start = 0;
        for newline in memchr::memchr_iter(b'\n', &self.buffer[kept..]) {
            let end = kept + newline;
            self.damaged += lines(&self.buffer[start..end], self.position + start as u64, each);
            start = end + 1;
        }
        self.is_whole = start == self.buffer.len();
        self.buffer.drain(..start);
        self.position += start as u64;
        Ok(true)
    }

    /// Passes on what is intact of a last line that is not.
    pub(super) fn finish(&mut self, each: &mut dyn FnMut(&[u8], u64, &Tail)) {
        self.damaged += lines(&self.buffer, self.position, each);
        self.position += self.buffer.len() as u64;
        self.buffer.clear();
    }
}

/// Passes a line on if it is intact, otherwise what is intact of it. Returns 1 if it is damaged.
fn lines(text: &[u8], position: u64, each: &mut dyn FnMut(&[u8], u64, &Tail)) -> u64 {
    if text.is_empty() {
        return 0;
    }
    if let Some(tail) = line::check(text) {
        each(text, position, &tail);
        return 0;
    }
    for Range { start, end } in line::pieces(text) {
        if let Some(tail) = line::check(&text[start..end]) {
            each(&text[start..end], position + start as u64, &tail);
        }
    }
    1
}

/// Adds a segment's outcomes to an index: from its index file if that is right, otherwise by reading it. Returns true as
/// well if it was read.
pub(super) fn load(job: &Path, number: u32, index: &mut Index) -> io::Result<(Summary, bool)> {
    let file = File::open(path_of(job, number))?;
    if let Some((summary, entries)) = load_index_file(job, number, &file) {
        entries_of(&entries).for_each(|entry| index.insert(entry));
        return Ok((summary, false));
    }
    scan(file, number, index).map(|summary| (summary, true))
}

/// Returns the number of outcomes that an index file has, if there is one.
pub(super) fn expected(job: &Path, number: u32) -> u64 {
    let length = index_path_of(job, number).metadata().map_or(0, |metadata| metadata.len());
    length.saturating_sub(size_of::<Header>() as u64) / size_of::<Entry>() as u64
}

/// Adds the outcomes of a segment's lines to an index.
pub(super) fn scan(source: impl Read, number: u32, index: &mut Index) -> io::Result<Summary> {
    let mut summary = Summary { number, ..Summary::default() };
    let mut each = |_: &[u8], position: u64, tail: &Tail| {
        let Ok(offset) = u32::try_from(position) else { return };
        index.insert(Entry::new(&tail.key, tail.state, Location { segment: number, offset }));
        summary.totals.add(&tail.totals);
    };
    let mut scanner = Scanner::new(source);
    while scanner.step(&mut each)? {}
    scanner.finish(&mut each);
    let Scanner { position: length, damaged, is_whole, .. } = scanner;
    Ok(Summary { length, damaged, is_whole, ..summary })
}

/// Beginning of an index file. The entries follow, and a checksum of everything before it.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Header {
    magic: u64,
    /// Length and time of change of the segment.
    length: u64,
    modified: u64,
    outcomes: u64,
    attempts: u64,
    input_tokens: u64,
    output_tokens: u64,
    cost: f64,
    damaged: u64,
    is_whole: u64,
}

/// Writes the index file of a segment that has this time of change. `entries` appends those of the segment that are in a part of
/// the index, so that they are not all in memory twice.
pub(super) fn store_index_file(
    job: &Path,
    summary: &Summary,
    modified: u64,
    is_synced: bool,
    mut entries: impl FnMut(usize, &mut Vec<u8>),
) -> io::Result<()> {
    let Totals { outcomes, attempts, input_tokens, output_tokens, cost } = summary.totals;
    let header = Header {
        magic: MAGIC,
        length: summary.length,
        modified,
        outcomes,
        attempts,
        input_tokens,
        output_tokens,
        cost,
        damaged: summary.damaged,
        is_whole: summary.is_whole.into(),
    };
    storage::replace(&index_path_of(job, summary.number), is_synced, |file| {
        let mut block = bytemuck::bytes_of(&header).to_vec();
        let mut checksum = crc32fast::Hasher::new();
        for shard in 0..SHARDS {
            entries(shard, &mut block);
            checksum.update(&block);
            file.write_all(&block)?;
            block.clear();
        }
        file.write_all(&checksum.finalize().to_ne_bytes())
    })
}

/// Appends the entries of a segment that are in a part of an index, as an index file has them.
pub(super) fn append_entries(index: &Index, shard: usize, number: u32, out: &mut Vec<u8>) {
    index.of_segment(shard, number).for_each(|entry| out.extend_from_slice(bytemuck::bytes_of(&entry)));
}

/// Removes the index file of a segment in which something is not as it says.
pub(super) fn remove_index_file(job: &Path, number: u32) {
    let _ = fs::remove_file(index_path_of(job, number));
}

fn entries_of(bytes: &[u8]) -> impl Iterator<Item = Entry> {
    bytes.chunks_exact(size_of::<Entry>()).map(bytemuck::pod_read_unaligned)
}

/// Reads the index file of a segment; `None` if it is missing, damaged, or not of the segment as it is now. Returns what the
/// segment has, and the bytes of its entries.
fn load_index_file(job: &Path, number: u32, segment: &File) -> Option<(Summary, Bytes)> {
    let whole = Bytes::from(fs::read(index_path_of(job, number)).ok()?);
    let (content, checksum) = whole.split_last_chunk::<4>()?;
    if crc32fast::hash(content) != u32::from_ne_bytes(*checksum) {
        return None;
    }
    let (header, entries) = content.split_first_chunk::<{ size_of::<Header>() }>()?;
    let header: Header = bytemuck::pod_read_unaligned(header);
    let metadata = segment.metadata().ok()?;
    if header.magic != MAGIC || header.length != metadata.len() || header.modified != modified(&metadata) {
        return None;
    }
    let belongs = |entry: &Entry| {
        let location = entry.location();
        location.segment == number && u64::from(location.offset) < header.length
    };
    let totals = Totals {
        outcomes: header.outcomes,
        attempts: header.attempts,
        input_tokens: header.input_tokens,
        output_tokens: header.output_tokens,
        cost: header.cost,
    };
    let (damaged, is_whole) = (header.damaged, header.is_whole != 0);
    entries_of(entries)
        .all(|entry| belongs(&entry))
        .then(|| (Summary { number, length: header.length, totals, damaged, is_whole }, whole.slice_ref(entries)))
}
