//! The name that a misspelt one was probably meant to be.

/// Returns the name that is closest to a misspelt one; `None` if none is close.
///
/// Close is a distance of up to three edits, for long names; or another way to write the same words, such as `maxTokens`.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = plain(name);
    let distances = names.into_iter().map(|known| {
        let distance = if plain(known) == written { 0 } else { strsim::damerau_levenshtein(name, known) };
        (distance, known)
    });
    let (distance, known) = distances.min()?;
    let farthest = match known.len() {
        0..=3 => 0,
        4..=5 => 1,
        6..=9 => 2,
        _ => 3,
    };
    (distance <= farthest).then_some(known)
}

/// Returns the letters and digits of a name, in lower case.
fn plain(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn close_names_are_found_and_others_are_not() {
        let names = ["max_retries", "max_tokens", "timeout", "tools", "stop", "n", "temperature", "top_p"];
        for (written, meant) in [
            ("max_retires", Some("max_retries")),
            ("max_retry", Some("max_retries")),
            ("maxTokens", Some("max_tokens")),
            ("Temperature", Some("temperature")),
            ("top-p", Some("top_p")),
            ("temprature", Some("temperature")),
            ("time_out", Some("timeout")),
            ("tool", Some("tools")),
            ("m", None),
            ("slots", None),
            ("max_depth", None),
            ("guardrails", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, names), meant, "{written}");
        }
    }
}
