//! Reads a file for an upload piece by piece on a blocking thread, while the network thread continues.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::error::{Error, Result};
use crate::types::http::Upload;

/// Size of one read. Only one piece of a file is in memory at a time.
const PIECE: u64 = 256 << 10;

/// Reader of the rest of a request's body: a file, then a tail.
pub(super) struct Reader {
    file: Arc<Upload>,
    offset: u64,
    reading: Option<JoinHandle<std::io::Result<Vec<u8>>>>,
    tail: Option<Bytes>,
}

impl Reader {
    /// Creates a reader of a file and the bytes that follow it.
    pub fn new((file, tail): (Arc<Upload>, Bytes)) -> Self {
        Self { file, offset: 0, reading: None, tail: Some(tail) }
    }

    /// Returns the next piece; `None` at the end.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read, or has become shorter since its length was sent.
    pub fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        let rest = self.file.length - self.offset;
        if rest == 0 {
            return Poll::Ready(Ok(self.tail.take().filter(|tail| !tail.is_empty())));
        }
        let (file, offset) = (&self.file, self.offset);
        let reading = self.reading.get_or_insert_with(|| {
            let file = file.clone();
            // Allocated by the thread that frees it: otherwise mimalloc kept 100 MB of a 300 MB upload.
            let mut piece = vec![0; usize::try_from(rest.min(PIECE)).unwrap_or_default()];
            tokio::task::spawn_blocking(move || {
                let read = file.content.read_at(offset, &mut piece)?;
                piece.truncate(read);
                Ok(piece)
            })
        });
        let read = ready!(Pin::new(reading).poll(context));
        self.reading = None;
        let piece = read.map_err(std::io::Error::other).and_then(|read| read);
        let piece = piece.map_err(|error| unreadable(&self.file.name, &error.to_string()))?;
        if piece.is_empty() {
            return Poll::Ready(Err(unreadable(&self.file.name, "it has become shorter since the call began")));
        }
        self.offset += piece.len() as u64;
        Poll::Ready(Ok(Some(piece.into())))
    }
}

fn unreadable(name: &str, why: &str) -> Box<Error> {
    Error::argument(format!("the file {name:?} cannot be read: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    async fn read(content: &[u8], length: usize) -> Result<Vec<u8>> {
        let content = Arc::new(Bytes::copy_from_slice(content));
        let file = Upload { name: "f".into(), media_type: String::new(), length: length as u64, content };
        let mut reader = Reader::new((Arc::new(file), Bytes::from_static(b"--")));
        let mut whole = Vec::new();
        while let Some(piece) = poll_fn(|context| reader.poll_piece(context)).await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }

    #[tokio::test]
    async fn a_file_is_read_in_pieces_up_to_the_length_that_was_said() {
        let content: Vec<u8> = (0..700_000u32).map(|index| index as u8).collect();
        for length in [0, 1, content.len() - 1, content.len()] {
            assert_eq!(read(&content, length).await.unwrap(), [&content[..length], b"--"].concat());
        }
        let error = read(&content, content.len() + 1).await.unwrap_err();
        assert!(error.message.contains("shorter"), "{error}");
    }
}
