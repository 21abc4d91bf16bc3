//! The usage of a call, in classes that do not overlap.

/// Number of tokens of a call by class. No token is in two classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Input tokens that were neither read from a cache nor written to one, without audio and images.
    pub input: u64,
    /// Input tokens read from a cache.
    pub cached_read: u64,
    /// Input tokens written to a cache for five minutes, or for the provider's usual time.
    pub cache_write: u64,
    /// Input tokens written to a cache for an hour.
    pub cache_write_hour: u64,
    /// Output tokens without reasoning and audio.
    pub output: u64,
    /// Output tokens of reasoning.
    pub reasoning: u64,
    /// Input tokens of audio.
    pub audio_input: u64,
    /// Output tokens of audio.
    pub audio_output: u64,
    /// Input tokens of images, where they are told apart.
    pub image_input: u64,
}

impl Usage {
    /// Returns the number of all input tokens.
    pub fn all_input(&self) -> u64 {
        self.input + self.cached_read + self.cache_write + self.cache_write_hour + self.audio_input + self.image_input
    }

    /// Returns the number of all output tokens.
    pub fn all_output(&self) -> u64 {
        self.output + self.reasoning + self.audio_output
    }
}
