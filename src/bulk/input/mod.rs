//! Sources of rows: files, and programs that hand rows over.
//!
//! - `file`: a file that is open: its bytes decompressed, and the check that it is still the one that it was
//! - `lines`, `csv`: its rows; `files`: several files, one after the other
//! - `fed`: rows that another thread hands over
//! - `peeked`: a look at the first rows, for the names of their columns
//!
//! All of them block. Nothing here parses more of a row than it takes to find its end: the template reads it.

mod csv;
mod fed;
mod file;
mod files;
mod lines;
mod peeked;

pub use fed::{Fed, Feeder, feed};
pub use file::Format;
pub use files::{FileSource, Files};
pub use peeked::Peeked;

/// Maximum size of a row in bytes. Providers take requests of 20 to 100 MB; a file without line breaks must not fill memory.
pub const MAX_ROW: usize = 64 << 20;

#[cfg(test)]
mod tests;
