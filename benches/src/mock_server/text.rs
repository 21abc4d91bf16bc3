//! What the model "says": text of a given length, whole or cut into pieces.

/// Quotes and line breaks are in it because real answers have them and JSON must escape them.
const PARAGRAPH: &str = "Three short blinks mean that the motor has met more resistance than it \
may. First take out the battery, wait a minute, and turn the blade by hand: it should move \
\"like a drawer\", without a click.\n\nIf it does not, the lower rail is bent. The rail is a wear \
part, and the 24-month warranty covers it only when the guard was on. Otherwise a new one costs \
$18.50, and two screws hold it.\n\n- Do not cut wire or fence posts.\n- Keep the vents free.\n\n";

/// Exactly `size` characters, all ASCII, so that bytes and characters are the same.
pub fn answer(size: usize) -> String {
    PARAGRAPH.chars().cycle().take(size).collect()
}

/// The same text in `count` pieces whose lengths differ by at most one.
pub fn pieces(text: &str, count: usize) -> impl Iterator<Item = &str> {
    let cut = move |index: usize| index * text.len() / count;
    (0..count).map(move |index| &text[cut(index)..cut(index + 1)])
}

/// About how many tokens a text is, for the usage figures.
pub fn tokens(text: &str) -> usize {
    text.len().div_ceil(4)
}

/// A text as a JSON string, quotes included.
pub fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_size_asked_for_and_its_pieces_add_up_to_it() {
        for (size, count) in [(0, 1), (1, 3), (600, 98), (10_000, 7)] {
            let text = answer(size);
            assert_eq!(text.len(), size);
            assert_eq!(pieces(&text, count).count(), count);
            assert_eq!(pieces(&text, count).collect::<String>(), text);
        }
    }
}
