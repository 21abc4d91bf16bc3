//! Grammar of the tool names and call ids that a host takes.

use std::borrow::Cow;

/// Tool names and call ids that a host takes.
#[derive(Debug, Clone, Copy)]
pub struct Grammar {
    /// Names of tools.
    pub names: Words,
    /// Ids of calls.
    pub ids: Words,
}

/// Words of letters, digits and some marks.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// Maximum number of characters, or the exact number if `is_exact`.
    pub max_length: usize,
    /// True if all words have `max_length` characters.
    pub is_exact: bool,
    /// Characters that are allowed beside ASCII letters and digits; `None` allows any character.
    pub marks: Option<&'static str>,
    /// True if the first character has to be a letter or `_`.
    pub begins_with_letter: bool,
}

/// Any word that is not empty.
pub(in crate::providers) const ANY: Words =
    Words { max_length: usize::MAX, is_exact: false, marks: None, begins_with_letter: false };

/// OpenAI's names: <https://platform.openai.com/docs/api-reference/chat/create#chat-create-tools>. Most hosts with its
/// format document the same.
pub(in crate::providers) const NAMES: Words =
    Words { max_length: 64, is_exact: false, marks: Some("_-"), begins_with_letter: false };

impl Grammar {
    /// Any names and ids: the host's grammar is unknown.
    pub(in crate::providers) const ANY: Self = Self { names: ANY, ids: ANY };

    /// OpenAI's names, and any ids.
    pub(in crate::providers) const HOSTED: Self = Self { names: NAMES, ids: ANY };

    /// OpenAI's names and ids: a longer id is refused with `string too long. Expected a string with maximum length 40`.
    pub(in crate::providers) const OPENAI: Self = Self { names: NAMES, ids: Words { max_length: 40, ..ANY } };
}

impl Words {
    /// Returns true if a word follows these rules.
    pub fn accept(&self, word: &str) -> bool {
        let length = word.len();
        length > 0
            && length <= self.max_length
            && (!self.is_exact || length == self.max_length)
            && word.chars().all(|letter| self.allows(letter))
            && (!self.begins_with_letter || word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_'))
    }

    fn allows(&self, letter: char) -> bool {
        self.marks.is_none_or(|marks| letter.is_ascii_alphanumeric() || marks.contains(letter))
    }

    /// Returns a word that follows these rules, for any word: always the same one, and none for which `taken` returns true.
    pub fn unique<'a>(&self, word: &'a str, taken: impl Fn(&str) -> bool) -> Cow<'a, str> {
        if self.accept(word) && !taken(word) {
            return Cow::Borrowed(word);
        }
        let plain = self.plain(word);
        let numbered = |number: u64| match number {
            0 if self.accept(&plain) => plain.clone(),
            number => self.marked(&plain, word, number),
        };
        (0..).map(numbered).find(|word| !taken(word)).map(Cow::Owned).expect("numbers do not end")
    }

    /// Replaces characters that are not allowed by an underscore, or removes them where an underscore is not allowed either.
    fn plain(&self, word: &str) -> String {
        let has_underscore = self.allows('_');
        let letters = word.chars().filter_map(|letter| match self.allows(letter) {
            true => Some(letter),
            false => has_underscore.then_some('_'),
        });
        let mut plain: String = letters.collect();
        if self.begins_with_letter && !plain.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
            plain.insert(0, '_');
        }
        plain
    }

    /// Shortens a plain word, and appends a hash of the original word to make it unique.
    fn marked(&self, plain: &str, original: &str, number: u64) -> String {
        let hash = hash(original, number);
        if self.is_exact || !self.allows('_') {
            return in_letters(hash, self.max_length.min(12));
        }
        let mut length = self.max_length.saturating_sub(9).min(plain.len());
        while !plain.is_char_boundary(length) {
            length -= 1;
        }
        format!("{}_{:08x}", &plain[..length], hash as u32)
    }
}

/// Returns the FNV-1a hash of a word and a number: <https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>. It has to be
/// the same in every process, so that a conversation's prompt stays the same and hits the host's cache.
fn hash(word: &str, number: u64) -> u64 {
    let bytes = word.bytes().chain(number.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Converts a number to `length` letters and digits.
fn in_letters(mut number: u64, length: usize) -> String {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut letter = || {
        let letter = LETTERS[(number % 62) as usize];
        number /= 62;
        char::from(letter)
    };
    (0..length).map(|_| letter()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEDROCK: Words = Words { marks: Some("_.:-"), ..NAMES };
    const MISTRAL: Words = Words { max_length: 9, is_exact: true, marks: Some(""), begins_with_letter: false };
    const GOOGLE: Words = Words { begins_with_letter: true, ..BEDROCK };

    #[test]
    fn any_word_becomes_one_that_is_taken() {
        let long = "call_".to_owned() + &"A".repeat(80);
        for words in [NAMES, BEDROCK, MISTRAL, GOOGLE, Grammar::OPENAI.ids, ANY] {
            for word in ["", "f", "1st", "call_1|fc_2", "functions/f#0", "ä.ö:ü", "-", &long, "123456789"] {
                let made = words.unique(word, |_| false);
                assert!(words.accept(&made), "{word:?} became {made:?} for {words:?}");
                assert_eq!(made, words.unique(word, |_| false));
                let other = words.unique(word, |taken| *taken == *made);
                assert!(words.accept(&other) && other != made, "{word:?}: {other:?}");
                if words.accept(word) {
                    assert_eq!(made, word);
                }
            }
        }
        assert_eq!(NAMES.unique("my.tool", |_| false), "my_tool");
        assert_eq!(GOOGLE.unique("1st", |_| false), "_1st");
        assert_ne!(MISTRAL.unique("call_a", |_| false), MISTRAL.unique("call_b", |_| false));
    }
}
