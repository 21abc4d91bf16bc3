//! How big, how late and in how many pieces a reply comes.
//!
//! Each knob has a long name for the command line (`--chunks 200`: the server's default) and a
//! letter for a path prefix (`/d100-n200/v1/chat/completions`: this request only). A path prefix
//! is what every client can be given, as part of its base URL.

/// One reply's settings; the server has a default set and a request may change some of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Milliseconds before the first byte.
    pub delay_ms: usize,
    /// Characters of text that the model says.
    pub size: usize,
    /// Chunks of a stream, the first (role) and the last (finish reason) included.
    pub chunks: usize,
    /// Chunks handed to the socket at once; 0 for all of them.
    pub chunks_per_write: usize,
    /// Milliseconds between two writes of a stream; 0 only lets other connections go first.
    pub pause_ms: usize,
    /// Whether each chunk gets an HTTP chunk of its own (1), or each write does (0).
    pub frame_each: usize,
    /// Vectors in an embeddings reply.
    pub embeddings: usize,
    /// Floats in a vector.
    pub dimensions: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            delay_ms: 0,
            size: 600,
            chunks: 100,
            chunks_per_write: 0,
            pause_ms: 0,
            frame_each: 0,
            embeddings: 1,
            dimensions: 1536,
        }
    }
}

const KNOBS: [(&str, char); 8] = [
    ("delay-ms", 'd'),
    ("size", 's'),
    ("chunks", 'n'),
    ("chunks-per-write", 'b'),
    ("pause-ms", 'p'),
    ("frame-each", 'f'),
    ("embeddings", 'e'),
    ("dimensions", 'w'),
];

impl Settings {
    /// The knob that a command-line flag names.
    pub fn by_name(&mut self, name: &str) -> Option<&mut usize> {
        let (_, letter) = KNOBS.iter().find(|(known, _)| *known == name)?;
        self.by_letter(*letter)
    }

    fn by_letter(&mut self, letter: char) -> Option<&mut usize> {
        Some(match letter {
            'd' => &mut self.delay_ms,
            's' => &mut self.size,
            'n' => &mut self.chunks,
            'b' => &mut self.chunks_per_write,
            'p' => &mut self.pause_ms,
            'f' => &mut self.frame_each,
            'e' => &mut self.embeddings,
            'w' => &mut self.dimensions,
            _ => return None,
        })
    }

    /// These settings, changed by the path's first segment if that segment consists of knobs.
    pub fn with_path_prefix(self, path: &str) -> Self {
        let segment = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        self.with_knobs(segment).unwrap_or(self)
    }

    fn with_knobs(mut self, knobs: &str) -> Option<Self> {
        for knob in knobs.split('-') {
            let mut characters = knob.chars();
            let value = self.by_letter(characters.next()?)?;
            *value = characters.as_str().parse().ok()?;
        }
        Some(self)
    }
}

/// The knobs for the usage message.
pub fn knob_names() -> String {
    KNOBS.iter().map(|(name, letter)| format!(" --{name} ({letter})")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_prefix_changes_only_the_knobs_it_names() {
        let changed = Settings::default().with_path_prefix("/d100-n200/v1/chat/completions");
        assert_eq!(changed, Settings { delay_ms: 100, chunks: 200, ..Settings::default() });
    }

    #[test]
    fn an_ordinary_path_changes_nothing() {
        for path in ["/v1/chat/completions", "/v1beta/models/g:generateContent", "/", "/d-n1/v1"] {
            assert_eq!(Settings::default().with_path_prefix(path), Settings::default());
        }
    }

    #[test]
    fn every_knob_has_a_flag_and_a_letter() {
        for (name, letter) in KNOBS {
            let mut settings = Settings::default();
            *settings.by_name(name).unwrap() = 7;
            assert_eq!(Settings::default().with_path_prefix(&format!("/{letter}7/v1")), settings);
        }
    }
}
