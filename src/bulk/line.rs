//! The end of a journal's line: key, checksum, and the numbers that are summed up.

use memchr::memmem;

use super::identity::Key;
use crate::types::json_cursor::Cursor;
use crate::types::lenient::Scalar;
use crate::types::usage::Usage;

/// The member that begins the part of a line that [`check`] reads. No string comes after it.
pub(super) const ATTEMPTS: &[u8] = b",\"attempts\":";
/// Beginning of every line.
pub(super) const START: &[u8] = b"{\"id\":\"row_";

/// Beginning of the member that is not of OpenAI's format.
pub(super) const OWN: &[u8] = b",\"ritellm\":{\"row\":";

/// The member behind its number of a row that has no id of its own.
pub(super) const NUMBERED: &[u8] = b",\"numbered\":true";

const OUTCOME: &[u8] = b",\"outcome\":\"";
const KEY: &[u8] = b"\",\"key\":\"";
const CHECKSUM: &[u8] = b"\",\"crc32\":\"";
const END: &[u8] = b"\"}}";
/// Length of a checksum and of half a key, in hexadecimal digits.
const CHECKSUM_DIGITS: usize = 8;
pub(super) const HASH_DIGITS: usize = 16;
/// Length that the numbers before the key have at most.
const MAX_NUMBERS: usize = 512;

/// Whether a row succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It was answered.
    Done,
    /// It failed, finally.
    Failed,
}

impl State {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Done => b"done",
            Self::Failed => b"failed",
        }
    }
}

/// Sums over lines of a journal. A row that ran again counts each time.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Number of lines.
    pub outcomes: u64,
    /// Number of times that rows were tried.
    pub attempts: u64,
    /// Number of input tokens.
    pub input_tokens: u64,
    /// Number of output tokens.
    pub output_tokens: u64,
    /// Cost in US dollars, as far as it is known.
    pub cost: f64,
}

impl Totals {
    /// Adds other sums.
    pub fn add(&mut self, other: &Self) {
        self.outcomes += other.outcomes;
        self.attempts += other.attempts;
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.cost += other.cost;
    }
}

/// What the end of a line says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tail {
    pub(super) key: Key,
    pub(super) state: State,
    /// The sums over this line.
    pub(super) totals: Totals,
}

/// Appends a number as 16 hexadecimal digits.
pub(super) fn hex(out: &mut Vec<u8>, number: u64) {
    digits(out, number, HASH_DIGITS);
}

fn digits(out: &mut Vec<u8>, number: u64, count: usize) {
    out.extend((0..count).rev().map(|place| b"0123456789abcdef"[(number >> (4 * place)) as usize & 15]));
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(value))
    })
}

/// Appends the end of a line that began at `start`, and a newline.
pub(super) fn seal(out: &mut Vec<u8>, start: usize, key: Key, state: State) {
    out.extend_from_slice(OUTCOME);
    out.extend_from_slice(state.name());
    out.extend_from_slice(KEY);
    hex(out, key.row);
    hex(out, key.content);
    let checksum = crc32fast::hash(&out[start..]);
    out.extend_from_slice(CHECKSUM);
    digits(out, checksum.into(), CHECKSUM_DIGITS);
    out.extend_from_slice(END);
    out.push(b'\n');
}

/// Checks a line without its newline, and reads its end. `None` if a byte of it is not as it was written.
pub(super) fn check(line: &[u8]) -> Option<Tail> {
    let rest = line.strip_suffix(END)?;
    let (rest, checksum) = rest.split_at_checked(rest.len().checked_sub(CHECKSUM_DIGITS)?)?;
    let rest = rest.strip_suffix(CHECKSUM)?;
    if number(checksum)? != u64::from(crc32fast::hash(rest)) {
        return None;
    }
    let (rest, key) = rest.split_at_checked(rest.len().checked_sub(2 * HASH_DIGITS)?)?;
    let key = Key { row: number(&key[..HASH_DIGITS])?, content: number(&key[HASH_DIGITS..])? };
    let rest = rest.strip_suffix(KEY)?;
    let states = [State::Done, State::Failed];
    let (rest, state) =
        states.into_iter().find_map(|state| Some((rest.strip_suffix(state.name())?.strip_suffix(OUTCOME)?, state)))?;
    Some(Tail { key, state, totals: totals(rest)? })
}

/// Reads the members from `attempts` on.
fn totals(line: &[u8]) -> Option<Totals> {
    let end = &line[line.len().saturating_sub(MAX_NUMBERS)..];
    let at = memmem::rfind(end, ATTEMPTS)?;
    let mut totals = Totals { outcomes: 1, ..Totals::default() };
    let mut cursor = Cursor::new(end, at);
    while cursor.take(b',').is_some() {
        let name = cursor.string()?;
        cursor.take(b':')?;
        match name {
            b"attempts" => totals.attempts = count(cursor.value()?)?,
            b"cost" => {
                let cost = std::str::from_utf8(cursor.value()?).ok()?;
                totals.cost = if cost == "null" { 0.0 } else { cost.parse().ok()? };
            }
            b"usage" if cursor.peek()? == b'{' => {
                let usage: Usage = serde_json::from_slice(cursor.value()?).ok()?;
                totals.input_tokens = usage.all_input();
                totals.output_tokens = usage.all_output();
            }
            _ => drop(cursor.value()?),
        }
    }
    Some(totals)
}

fn count(text: &[u8]) -> Option<u64> {
    Option::<u64>::of(std::str::from_utf8(text).ok()?)
}

/// Returns the number of the row in an intact line.
pub(super) fn row_number(line: &[u8]) -> Option<u64> {
    count(number_and_rest(line)?.0)
}

/// Returns true if an intact line is that of a row without an id of its own.
pub(super) fn is_numbered(line: &[u8]) -> bool {
    number_and_rest(line).is_some_and(|(_, rest)| rest.starts_with(NUMBERED))
}

fn number_and_rest(line: &[u8]) -> Option<(&[u8], &[u8])> {
    // The last one: others are within the answer's body, or in strings, where quotes are escaped.
    let rest = &line[memmem::rfind(line, OWN)? + OWN.len()..];
    rest.split_at_checked(rest.iter().position(|byte| !byte.is_ascii_digit())?)
}

/// Splits what is not a line, because a newline in it was damaged or a line was cut and another one follows, into what may
/// be lines.
pub(super) fn pieces(damaged: &[u8]) -> impl Iterator<Item = std::ops::Range<usize>> {
    let starts: Vec<usize> = memmem::find_iter(damaged, START).collect();
    (0..starts.len()).flat_map(move |index| {
        let end = starts.get(index + 1).copied().unwrap_or(damaged.len());
        // The last byte may be a newline that was damaged.
        [starts[index]..end, starts[index]..end - 1]
    })
}
