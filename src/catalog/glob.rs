//! Patterns of names, as shells have them: `*` is any text, `?` one character, `[…]` one of these characters.

/// Which names an entry is for.
#[derive(Debug)]
pub(super) enum Rule {
    Glob(Glob),
    Any(Vec<Rule>),
    All(Vec<Rule>),
    Not(Box<Rule>),
}

impl Rule {
    /// Returns true if a name in lower case matches.
    pub fn is_match(&self, name: &str) -> bool {
        match self {
            Self::Glob(glob) => glob.is_match(name),
            Self::Any(rules) => rules.iter().any(|rule| rule.is_match(name)),
            Self::All(rules) => rules.iter().all(|rule| rule.is_match(name)),
            Self::Not(rule) => !rule.is_match(name),
        }
    }
}

/// A pattern.
#[derive(Debug)]
pub(super) enum Glob {
    /// A name without wildcards.
    Exact(String),
    Pattern(Vec<Token>),
}

#[derive(Debug)]
pub(super) enum Token {
    Literal(char),
    One,
    /// One of these ranges of characters.
    OneOf(Vec<(char, char)>),
    Any,
}

impl Glob {
    /// Parses a pattern; upper and lower case are the same. A `[` that is not closed stands for itself.
    pub fn new(pattern: &str) -> Self {
        let characters: Vec<char> = pattern.to_lowercase().chars().collect();
        let mut tokens = Vec::new();
        let mut at = 0;
        while let Some(&character) = characters.get(at) {
            at += 1;
            tokens.push(match character {
                '*' => Token::Any,
                '?' => Token::One,
                // A `]` at the beginning of a set is one of its characters.
                '[' => match characters[at..].iter().skip(1).position(|character| *character == ']') {
                    Some(end) => {
                        let set = &characters[at..=at + end];
                        at += end + 2;
                        Token::OneOf(ranges(set))
                    }
                    None => Token::Literal('['),
                },
                character => Token::Literal(character),
            });
        }
        let literal = |token: &Token| if let Token::Literal(character) = token { Some(*character) } else { None };
        match tokens.iter().map(literal).collect() {
            Some(name) => Self::Exact(name),
            None => Self::Pattern(tokens),
        }
    }

    /// Returns how much of a name the pattern determines: names without wildcards come first, then longer patterns.
    pub fn specificity(&self) -> usize {
        match self {
            Self::Exact(_) => usize::MAX,
            Self::Pattern(tokens) => tokens.iter().filter(|token| !matches!(token, Token::Any)).count(),
        }
    }

    fn is_match(&self, name: &str) -> bool {
        let tokens = match self {
            Self::Exact(exact) => return exact == name,
            Self::Pattern(tokens) => tokens,
        };
        let (mut token, mut rest) = (0, name);
        // The last `*`, and the text from which on it would be tried again with one character more.
        let mut retry: Option<(usize, &str)> = None;
        loop {
            let first = rest.chars().next();
            match (tokens.get(token), first) {
                (Some(Token::Any), _) => {
                    retry = Some((token + 1, rest));
                    token += 1;
                    continue;
                }
                (Some(known), Some(character)) if known.is_match(character) => {
                    token += 1;
                    rest = &rest[character.len_utf8()..];
                    continue;
                }
                (None, None) => return true,
                _ => {}
            }
            let Some((after, from)) = retry else { return false };
            let Some(skipped) = from.chars().next() else { return false };
            rest = &from[skipped.len_utf8()..];
            retry = Some((after, rest));
            token = after;
        }
    }
}

impl Token {
    fn is_match(&self, character: char) -> bool {
        match self {
            Self::Literal(literal) => *literal == character,
            Self::One => true,
            Self::OneOf(ranges) => ranges.iter().any(|(first, last)| (*first..=*last).contains(&character)),
            Self::Any => false,
        }
    }
}

fn ranges(set: &[char]) -> Vec<(char, char)> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < set.len() {
        match set[at..] {
            [first, '-', last, ..] => {
                ranges.push((first, last));
                at += 3;
            }
            [character, ..] => {
                ranges.push((character, character));
                at += 1;
            }
            [] => break,
        }
    }
    ranges
}
