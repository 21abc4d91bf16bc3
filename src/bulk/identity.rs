//! The key by which a row is known again after a restart or an edit of its input.

/// The key of a row: which row it is, and what it asks for.
///
/// An outcome of the journal belongs to a row if both are the same, so that exactly those rows run again that were changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Hash of the row's own id; without one, of what it asks for and of how many rows before it ask for the same.
    pub row: u64,
    /// Hash of what it asks for: operation, model and parameters.
    pub content: u64,
}
