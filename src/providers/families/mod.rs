//! What a family of models takes and refuses, whoever serves it: the one place that says so, read by every wire.

pub(super) mod gemini;
