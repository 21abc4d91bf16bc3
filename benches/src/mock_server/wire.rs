//! The replies as three providers write them: same text, each in its own format and headers.

pub mod anthropic;
pub mod gemini;
pub mod openai;

use crate::settings::Settings;
use crate::text;

/// What every request is said to have cost; nobody checks it.
const PROMPT_TOKENS: usize = 117;

/// The text of a stream's chunks between the first (role) and the last (finish reason), as JSON
/// strings.
fn deltas(settings: &Settings) -> Vec<String> {
    let answer = text::answer(settings.size);
    let count = settings.chunks.saturating_sub(2).max(1);
    text::pieces(&answer, count).map(text::json).collect()
}
