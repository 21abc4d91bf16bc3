//! Limit on the number of values in a JSON text, checked before any object is created.
//!
//! `{},` takes three bytes in a list and 76 bytes of memory as a Python object; 32 kB of gzip can expand to ten million
//! of them.

use memchr::{memchr, memchr_iter, memchr2};

use crate::error::{Error, ErrorKind, Result};

/// Divisor that limits objects and lists: at most one in this many values, since each costs several times as much as a
/// number or a string.
const VALUES_PER_CONTAINER: usize = 8;

/// Refuses a text of more than `max` values, or of more than an eighth as many objects and lists.
///
/// # Errors
///
/// Returns an `ApiResponseValidation` error that names the setting.
#[inline]
pub fn check(json: &[u8], max: usize) -> Result<()> {
    let containers = (max / VALUES_PER_CONTAINER).max(1);
    // Each value takes at least two bytes, `1,` or `[]`, so the length alone decides for nearly every text.
    if json.len() / 2 < containers {
        return Ok(());
    }
    check_counted(json, max, containers)
}

#[cold]
fn check_counted(json: &[u8], max: usize, containers: usize) -> Result<()> {
    let exceeds = |count: Count| count.values > max || count.containers > containers;
    // Excluding the contents of strings takes longer, so it is done only if the rough count exceeds the limit.
    if !exceeds(Count::of(json)) || !exceeds(outside_strings(json)) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::ApiResponseValidation,
        format!("the answer holds more than {max} values, or more than {containers} objects and lists (max_values)"),
    ))
}

/// Number of values and of containers in a text.
#[derive(Default)]
struct Count {
    /// Upper bound: the opening bracket counts for the first value of a container, even if it is empty.
    values: usize,
    containers: usize,
}

impl Count {
    fn of(text: &[u8]) -> Self {
        let count = |byte| memchr_iter(byte, text).count();
        let containers = count(b'{') + count(b'[');
        Self { values: containers + count(b','), containers }
    }
}

fn outside_strings(json: &[u8]) -> Count {
    let mut sum = Count::default();
    let mut rest = json;
    loop {
        let quote = memchr(b'"', rest).unwrap_or(rest.len());
        let count = Count::of(&rest[..quote]);
        sum.values += count.values;
        sum.containers += count.containers;
        rest = rest.get(quote + 1..).unwrap_or_default();
        if rest.is_empty() {
            return sum;
        }
        loop {
            let Some(found) = memchr2(b'"', b'\\', rest) else { return sum };
            let is_end = rest[found] == b'"';
            rest = rest.get(found + if is_end { 1 } else { 2 }..).unwrap_or_default();
            if is_end {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_where_they_are_values() {
        for (json, max, is_right) in [
            (r#"[1,2,3,4,5,6,7,8]"#, 9, true),
            (r#"[1,2,3,4,5,6,7,8,9]"#, 8, false),
            ("[{},{},{},{}]", 40, true),
            ("[{},{},{},{}]", 39, false),
            (r#"{"a":"[[[[[[,,,,,,,,{{{{{{{{\",,,,,,[["}"#, 8, true),
            (r#"{"a":"[[[[[[","b":[],"c":[],"d":"\\","e":[]}"#, 31, false),
            (r#"{"a":"never ends,,,,,,,,,,,,,,,,,,,,,"#, 8, true),
            (r#"{"a":"never ends,,,,,,,,,,,,,,,,,,,,,\"#, 8, true),
        ] {
            assert_eq!(check(json.as_bytes(), max).is_ok(), is_right, "{json} {max}");
        }
    }

    #[test]
    fn a_default_takes_what_honest_hosts_send() {
        // 2,048 vectors of 3,072 numbers; 32,768 tokens with 20 alternatives each. A 64th of each, to be quick.
        let vectors = format!("[{}]", vec![format!("[{}]", vec!["-0.012345"; 3072].join(",")); 2048 / 64].join(","));
        let logprobs = vec![r#"{"token":" the","logprob":-0.01,"bytes":[32,116]}"#; 32_768 * 21 / 64].join(",");
        let max = (16 << 20) / 64;
        assert!(check(vectors.as_bytes(), max).is_ok());
        assert!(check(format!("[{logprobs}]").as_bytes(), max).is_ok());
        assert!(check(format!("[{}]", vec!["{}"; (3 << 20) / 64].join(",")).as_bytes(), max).is_err());
    }
}
