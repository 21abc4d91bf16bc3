//! Files to upload: a path, bytes, or a file object.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyString, PyTuple};

use super::readers::text;
use crate::python::errors::{argument, wrong};
use crate::python::intern::intern;
use crate::types::http::{ReadAt, Upload};

const RIGHT: &str = "a path, bytes, a file object opened in binary mode, or a tuple (name, one of these) or (name, one of these, media type)";

/// Reads the argument `file`. A path is opened here, so that an error is raised at once, and read when it is sent, piece by
/// piece: a file of any size takes no memory.
///
/// # Errors
///
/// `InvalidArgumentError` for a value that is no file, or cannot be opened; the exception of a file object's `read`.
pub(crate) fn upload(value: &Bound<'_, PyAny>) -> PyResult<Upload> {
    let Ok(tuple) = value.cast::<PyTuple>() else { return content(value) };
    if !matches!(tuple.len(), 2 | 3) {
        return Err(argument(value.py(), format!("file is a tuple of {}: {RIGHT} would be right", tuple.len())));
    }
    let mut upload = content(&tuple.get_item(1)?)?;
    upload.name = text("file[0]", &tuple.get_item(0)?, "the file's name")?;
    upload.media_type = match tuple.get_item(2) {
        Ok(kind) if !kind.is_none() => media_type(&kind)?,
        _ => type_of(&upload.name).to_owned(),
    };
    Ok(upload)
}

fn media_type(kind: &Bound<'_, PyAny>) -> PyResult<String> {
    let kind_text = text("file[2]", kind, "a media type such as \"application/jsonl\"")?;
    // The media type becomes a line of the request.
    match kind_text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        true => Ok(kind_text),
        false => Err(argument(kind.py(), "file[2] is no media type: one such as \"application/jsonl\" would be right")),
    }
}

fn content(value: &Bound<'_, PyAny>) -> PyResult<Upload> {
    let py = value.py();
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(in_memory("upload", Bytes::copy_from_slice(bytes.as_bytes())));
    }
    if let Ok(bytes) = value.cast::<PyByteArray>() {
        return Ok(in_memory("upload", bytes.to_vec().into()));
    }
    if value.hasattr(intern!(py, "read"))? {
        let read = value.call_method0(intern!(py, "read"))?;
        let Ok(bytes) = read.cast::<PyBytes>() else {
            return Err(argument(py, "file is a file object that reads no bytes: open it with \"rb\""));
        };
        let name = value.getattr(intern!(py, "name")).ok().and_then(|name| name.extract::<PathBuf>().ok());
        let name = name.as_deref().map_or_else(|| "upload".to_owned(), name_of);
        return Ok(in_memory(&name, Bytes::copy_from_slice(bytes.as_bytes())));
    }
    let is_path = value.is_instance_of::<PyString>() || value.hasattr(intern!(py, "__fspath__"))?;
    let path: PathBuf = match is_path.then(|| value.extract()) {
        Some(Ok(path)) => path,
        _ => return Err(wrong("file", value, RIGHT)),
    };
    let unreadable =
        |why: &dyn std::fmt::Display| argument(value.py(), format!("file: {} cannot be read: {why}", path.display()));
    let file = File::open(&path).map_err(|error| unreadable(&error))?;
    let metadata = file.metadata().map_err(|error| unreadable(&error))?;
    if !metadata.is_file() {
        return Err(unreadable(&"it is no regular file"));
    }
    let name = name_of(&path);
    let media_type = type_of(&name).to_owned();
    Ok(Upload { name, media_type, length: metadata.len(), content: Arc::new(OnDisk(file)) })
}

fn in_memory(name: &str, content: Bytes) -> Upload {
    let media_type = type_of(name).to_owned();
    Upload { name: name.to_owned(), media_type, length: content.len() as u64, content: Arc::new(content) }
}

fn name_of(path: &std::path::Path) -> String {
    path.file_name().map_or_else(|| "upload".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Returns the media type for a file's extension. Providers go by the name too.
fn type_of(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase().as_str() {
        "jsonl" => "application/jsonl",
        "json" => "application/json",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        "md" => "text/markdown",
        "csv" => "text/csv",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "wav" => "audio/wav",
        "mp3" => "audio/mpeg",
        _ => "application/octet-stream",
    }
}

/// An open file, read at offsets that each reader keeps for itself, so that several attempts can read it at once.
#[derive(Debug)]
struct OnDisk(File);

impl ReadAt for OnDisk {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_at(&self.0, buffer, offset);
        #[cfg(windows)]
        return std::os::windows::fs::FileExt::seek_read(&self.0, buffer, offset);
    }
}
