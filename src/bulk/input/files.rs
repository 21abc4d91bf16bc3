//! Several files of rows, one after the other.

use std::fs::{self, File};
use std::io::BufRead;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::MAX_ROW;
use super::csv::{Record, Records};
use super::file::{self, Format, Meter, Version};
use super::lines::{self, Line, Lines};
use crate::bulk::row::{Place, Row, Source};
use crate::error::{Error, Result};

/// Files of rows, in order, each as it was when it was looked at first.
#[derive(Debug, Clone)]
pub struct Files {
    files: Arc<[InputFile]>,
    format: Option<Format>,
    max_row: usize,
}

#[derive(Debug)]
struct InputFile {
    path: PathBuf,
    /// `None` for a pipe.
    version: Option<Version>,
}

impl Files {
    /// Looks at files. Without a `format` each file's own is told from its name, else from its content; compression is told
    /// from the content alone.
    ///
    /// # Errors
    ///
    /// A file cannot be opened, or there is none.
    pub fn new(paths: impl IntoIterator<Item = PathBuf>, format: Option<Format>) -> Result<Self> {
        let of_path = |path: PathBuf| {
            let metadata = fs::metadata(&path).map_err(|error| file::unreadable(&path, &error))?;
            if metadata.is_dir() {
                return Err(Error::argument(format!(
                    "{} is a folder: a file, or a pattern such as {} would be right",
                    path.display(),
                    path.join("*.jsonl").display()
                )));
            }
            let version = Version::of(&metadata);
            // A pipe is opened once, and then read.
            if version.is_some() {
                File::open(&path).map_err(|error| file::unreadable(&path, &error))?;
            }
            Ok(InputFile { path, version })
        };
        let files: Arc<[InputFile]> = paths.into_iter().map(of_path).collect::<Result<_>>()?;
        if files.is_empty() {
            return Err(Error::argument("there is no file of rows: the path of at least one would be right"));
        }
        Ok(Self { files, format, max_row: MAX_ROW })
    }

    /// Sets the maximum size of a row in bytes; a longer one becomes a row with an error.
    pub fn max_row(mut self, bytes: usize) -> Self {
        self.max_row = bytes;
        self
    }

    /// Returns true if the files can be read more than once: none is a pipe.
    pub fn can_rescan(&self) -> bool {
        self.files.iter().all(|file| file.version.is_some())
    }

    /// Returns the number of bytes of the files as they are on disk; `None` if one is a pipe.
    pub fn size(&self) -> Option<u64> {
        self.files.iter().map(|file| file.version.map(|version| version.size())).sum()
    }

    /// Returns a source that reads all rows from the beginning.
    pub fn open(&self) -> FileSource {
        FileSource { files: self.clone(), next_file: 0, open: None, number: 0, meter: Arc::default(), json: Vec::new() }
    }
}

/// Source of the rows of several files.
pub struct FileSource {
    files: Files,
    next_file: usize,
    open: Option<Open>,
    /// Number of the next row.
    number: u64,
    /// Number of bytes taken of all files.
    meter: Arc<Meter>,
    /// Scratch for records.
    json: Vec<u8>,
}

/// A file that is being read.
struct Open {
    name: Arc<str>,
    rows: Rows,
}

enum Rows {
    Lines(Lines<file::Content>),
    Records(Box<Records>),
}

impl FileSource {
    fn open_next(&mut self) -> Result<bool> {
        let Some(InputFile { path, version }) = self.files.files.get(self.next_file) else { return Ok(false) };
        self.next_file += 1;
        let mut content = file::open(path, *version, self.meter.clone())?;
        let start = content.fill_buf().map_err(|error| file::unreadable(path, &error))?;
        let format = self.files.format.unwrap_or_else(|| file::format_of(path, start));
        if format == Format::Lines && is_list(start) {
            return Err(Error::argument(format!(
                "{} is one JSON list: an object a line would be right, as `jq -c '.[]'` writes them",
                path.display()
            )));
        }
        let rows = match format {
            Format::Lines => Rows::Lines(Lines::new(content, self.files.max_row)),
            Format::Csv => {
                let records = Records::new(content, self.files.max_row);
                Rows::Records(Box::new(records.map_err(|what| cut_off(&path.to_string_lossy(), 1, &what))?))
            }
        };
        self.open = Some(Open { name: path.to_string_lossy().into(), rows });
        Ok(true)
    }
}

/// Returns true if a text begins with a list of objects.
fn is_list(start: &[u8]) -> bool {
    match start.trim_ascii_start() {
        [b'[', rest @ ..] => matches!(rest.trim_ascii_start(), [] | [b'{' | b']', ..]),
        _ => false,
    }
}

/// Creates the error of a file that cannot be read any further.
fn cut_off(file: &str, line: u64, what: &dyn std::fmt::Display) -> Box<Error> {
    Error::argument(format!("{file} cannot be read on from line {line}: {what}"))
}

impl Source for FileSource {
    fn next(&mut self) -> Result<Option<Row>> {
        loop {
            let Some(open) = &mut self.open else {
                if self.open_next()? {
                    continue;
                }
                return Ok(None);
            };
            let (line, json) = match &mut open.rows {
                Rows::Lines(lines) => {
                    let number = lines.number() + 1;
                    let line = lines.next().map_err(|error| cut_off(&open.name, number, &error))?;
                    match line {
                        None => {
                            self.open = None;
                            continue;
                        }
                        Some(Line::TooLong) => {
                            (number, Err(format!("is longer than {} bytes, the maximum of a row", self.files.max_row)))
                        }
                        Some(Line::Text(text)) => match text.trim_ascii() {
                            b"" => continue,
                            text => (number, lines::check(text).map(Bytes::copy_from_slice)),
                        },
                    }
                }
                Rows::Records(records) => {
                    let record = records.next(&mut self.json);
                    match record.map_err(|(line, what)| cut_off(&open.name, line, &what))? {
                        None => {
                            self.open = None;
                            continue;
                        }
                        Some(Record { line, is_row }) => (line, is_row.map(|()| Bytes::copy_from_slice(&self.json))),
                    }
                }
            };
            let place = Place { file: Some(open.name.clone()), line };
            let json = json.map_err(|what| place.error(what));
            let number = self.number;
            self.number += 1;
            return Ok(Some(Row { number, place, json }));
        }
    }

    fn progress(&self) -> Option<f64> {
        let size = self.files.size()?;
        let ahead = match &self.open {
            None => 0,
            Some(Open { rows: Rows::Lines(lines), .. }) => lines.ahead(),
            Some(Open { rows: Rows::Records(records), .. }) => records.ahead(),
        };
        Some(if size == 0 { 1.0 } else { self.meter.taken_before(ahead) / size as f64 })
    }
}

impl std::fmt::Debug for FileSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSource").field("files", &self.files).field("number", &self.number).finish_non_exhaustive()
    }
}
