//! Decoder of compressed bodies, which some proxies send although the request does not accept them.
//!
//! <https://www.rfc-editor.org/rfc/rfc9110#field.content-encoding>

use bytes::{Buf, Bytes};
use compression_codecs::{BrotliDecoder, DecodeV2, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use compression_core::util::{PartialBuffer, WriteBuffer};

use super::work_budget::WorkBudget;
use crate::error::{Error, ErrorKind, Result};

/// Size of the output buffer: a small input may expand to a huge output, which is returned in pieces.
const PIECE: usize = 64 * 1024;

/// Incremental decoder of a body.
pub(super) struct Decoder {
    coding: Coding,
    codec: Option<Box<dyn DecodeV2 + Send>>,
    input: Bytes,
    output: Box<[u8]>,
    /// True if the codec may have more output, even without input.
    full: bool,
    /// True if the codec has reached the end of the compressed data.
    ended: bool,
    /// Bytes decoded since the task last yielded.
    pub budget: WorkBudget,
    /// Error to return after the output that preceded it was consumed.
    failed: Option<Box<Error>>,
}

/// Content coding of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Decoder {
    /// Creates a decoder for a `content-encoding`; `None` if the body is not encoded.
    ///
    /// # Errors
    ///
    /// Returns an error if the encoding is unknown.
    pub fn of(encoding: Option<&str>) -> Result<Option<Self>> {
        let Some(encoding) = encoding else { return Ok(None) };
        let coding = match encoding.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => return Ok(None),
            "gzip" | "x-gzip" => Coding::Gzip,
            "deflate" => Coding::Deflate,
            "br" => Coding::Brotli,
            "zstd" => Coding::Zstd,
            other => {
                return Err(Error::new(
                    ErrorKind::ApiResponseValidation,
                    format!(
                        "the answer came with the content-encoding {other:?}: gzip, deflate, br and zstd are known"
                    ),
                ));
            }
        };
        let output = vec![0; PIECE].into_boxed_slice();
        Ok(Some(Self {
            coding,
            codec: None,
            input: Bytes::new(),
            output,
            full: false,
            ended: false,
            budget: WorkBudget::default(),
            failed: None,
        }))
    }

    /// Sets the next piece of the body as input; the previous one must have been decoded completely.
    pub fn feed(&mut self, piece: Bytes) {
        debug_assert!(self.input.is_empty());
        self.input = piece;
    }

    /// Returns the next decoded piece; `None` if more input is needed.
    ///
    /// # Errors
    ///
    /// Returns an error if the input cannot be decoded.
    pub fn decode(&mut self) -> Result<Option<Bytes>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        while self.full || !self.input.is_empty() {
            if self.ended && !self.begin_another()? {
                self.input.clear();
                break;
            }
            let codec = match &mut self.codec {
                Some(codec) => codec,
                None => self.codec.insert(codec(self.coding, self.input.first().copied().unwrap_or_default())),
            };
            let mut input = PartialBuffer::new(&self.input[..]);
            let mut output = WriteBuffer::new_initialized(&mut self.output);
            let decoded = match self.input.is_empty() {
                false => codec.decode(&mut input, &mut output),
                true => codec.flush(&mut output).map(|_| false),
            };
            let (consumed, produced) = (input.written_len(), output.written_len());
            match decoded {
                Ok(ended) => self.ended = ended,
                Err(error) if produced == 0 => return Err(self.broken(&error)),
                Err(error) => self.failed = Some(self.broken(&error)),
            }
            self.full = produced == self.output.len() && !self.ended;
            let stuck = consumed == 0 && produced == 0 && !self.ended;
            self.input.advance(consumed);
            if produced > 0 {
                return Ok(Some(Bytes::copy_from_slice(&self.output[..produced])));
            }
            if stuck && !self.input.is_empty() {
                return Err(self.broken(&"it goes on without an end"));
            }
        }
        Ok(None)
    }

    /// Checks that the compressed data ended with the body.
    ///
    /// # Errors
    ///
    /// Returns an error if the compressed data is incomplete.
    pub fn finish(&self) -> Result<()> {
        if self.ended || self.codec.is_none() {
            return Ok(());
        }
        Err(Error::connection(format!("the answer's {} body was cut off", self.coding.name())))
    }

    /// Begins another member after the end of the previous one, which gzip and zstd allow. Input after the end of other
    /// encodings is discarded.
    fn begin_another(&mut self) -> Result<bool> {
        let has_another = matches!(self.coding, Coding::Gzip | Coding::Zstd) && !self.input.is_empty();
        if has_another && let Some(codec) = &mut self.codec {
            codec.reinit().map_err(|error| broken(self.coding, &error))?;
            self.ended = false;
        }
        Ok(has_another)
    }

    fn broken(&self, error: &dyn std::fmt::Display) -> Box<Error> {
        broken(self.coding, error)
    }
}

impl Coding {
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

fn broken(coding: Coding, error: &dyn std::fmt::Display) -> Box<Error> {
    Error::new(
        ErrorKind::ApiResponseValidation,
        format!("the answer's {} body cannot be decoded: {error}", coding.name()),
    )
}

fn codec(coding: Coding, first: u8) -> Box<dyn DecodeV2 + Send> {
    match coding {
        Coding::Gzip => Box::new(GzipDecoder::new()),
        Coding::Brotli => Box::new(BrotliDecoder::new()),
        Coding::Zstd => Box::new(ZstdDecoder::new()),
        // "deflate" means the zlib format, but some servers send raw deflate without its header.
        Coding::Deflate if first & 0x0f == 8 => Box::new(ZlibDecoder::new()),
        Coding::Deflate => Box::new(DeflateDecoder::new()),
    }
}
