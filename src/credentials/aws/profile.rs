//! Parser of AWS's shared configuration files, `~/.aws/config` and `~/.aws/credentials`.
//!
//! File format: <https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>; settings of a profile:
//! <https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html>.

use std::collections::HashMap;

/// The settings of one profile.
pub(super) type Profile = HashMap<String, String>;

/// All profiles, by name.
#[derive(Debug, Default)]
pub(super) struct Profiles(HashMap<String, Profile>);

impl Profiles {
    /// Parses both files; the credentials file takes precedence.
    pub fn parse(config: &str, credentials: &str) -> Self {
        let mut profiles = Self::default();
        profiles.add(config, |section| match section.split_once(char::is_whitespace) {
            Some(("profile", name)) => Some(unquoted(name)),
            // Sections of other kinds, such as `sso-session` and `services`, are not profiles.
            Some(_) => None,
            None => (section == "default").then_some(section),
        });
        profiles.add(credentials, |section| Some(unquoted(section)));
        profiles
    }

    /// Returns a profile by name.
    pub fn get(&self, name: &str) -> Option<&Profile> {
        self.0.get(name)
    }

    fn add(&mut self, text: &str, profile_of: impl Fn(&str) -> Option<&str>) {
        let mut current: Option<&mut Profile> = None;
        for line in text.trim_start_matches('\u{feff}').lines() {
            // Indented lines belong to the setting above them: settings of single services, which concern no
            // credentials.
            if line.starts_with([' ', '\t', '#', ';']) || line.trim().is_empty() {
                continue;
            }
            if let Some(section) = line.strip_prefix('[') {
                let section = section.split(']').next().unwrap_or_default().trim();
                current = profile_of(section).map(|name| self.0.entry(name.to_owned()).or_default());
            } else if let (Some(profile), Some((name, value))) = (&mut current, line.split_once('=')) {
                let name = name.trim().to_ascii_lowercase();
                // A command may contain what looks like a comment.
                let value = if name == "credential_process" { value } else { without_comment(value) };
                profile.insert(name, value.trim().to_owned());
            }
        }
    }
}

fn unquoted(name: &str) -> &str {
    let name = name.trim();
    let inside = |quote: char| name.strip_prefix(quote)?.strip_suffix(quote);
    inside('"').or_else(|| inside('\'')).unwrap_or(name)
}

fn without_comment(value: &str) -> &str {
    let comment = [" #", "\t#", " ;", "\t;"].into_iter().filter_map(|start| value.find(start)).min();
    &value[..comment.unwrap_or(value.len())]
}

/// Splits a command into words as a shell does, without any other expansion; `None` if a quote is not closed.
pub(super) fn words(command: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = command.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, quote) {
            (_, Some(open)) if character == open => quote = None,
            ('\\', Some('"')) if matches!(characters.peek(), Some('"' | '\\')) => {
                word.get_or_insert_default().extend(characters.next());
            }
            (_, Some(_)) => word.get_or_insert_default().push(character),
            ('"' | '\'', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            // On Windows a backslash separates directories.
            ('\\', None) if cfg!(not(windows)) => word.get_or_insert_default().push(characters.next()?),
            (_, None) if character.is_whitespace() => words.extend(word.take()),
            (_, None) => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_read_from_both_files() {
        let config = "# a comment\n[default]\nregion=eu-west-1\n\n[profile dev]\nregion = us-west-2 # near\ns3 =\n  max_concurrent_requests = 20\n  region = nowhere\n\
                      Role_Arn = arn:aws:iam::1:role/r\n[profile \"two words\"]\nregion = a\n[sso-session dev]\nregion = not-a-profile\n[ignored]\nregion = x\n";
        let credentials = "[default]\naws_access_key_id = AKIA1\naws_secret_access_key = a=b+/c\n; another\n[dev]\nregion = ap-south-1\n";
        let profiles = Profiles::parse(config, credentials);
        let get =
            |profile: &str, name: &str| profiles.get(profile).and_then(|found| found.get(name)).map(String::as_str);
        assert_eq!(get("default", "region"), Some("eu-west-1"));
        assert_eq!(get("default", "aws_secret_access_key"), Some("a=b+/c"));
        assert_eq!(get("dev", "region"), Some("ap-south-1"));
        assert_eq!(get("dev", "role_arn"), Some("arn:aws:iam::1:role/r"));
        assert_eq!(get("dev", "s3"), Some(""));
        assert_eq!(get("two words", "region"), Some("a"));
        assert!(profiles.get("ignored").is_none() && profiles.get("sso-session dev").is_none());
    }

    #[test]
    fn a_file_with_windows_lines_and_comments_is_read() {
        let config = "\u{feff}[default]\r\nregion = us-west-2\t; here\r\ncredential_process = sh -c \"a ; b\"\r\n";
        let profiles = Profiles::parse(config, "");
        let profile = profiles.get("default").unwrap();
        assert_eq!(profile["region"], "us-west-2");
        assert_eq!(profile["credential_process"], "sh -c \"a ; b\"");
        for broken in ["", "[", "[]", "=", "a=b", "[default\nx", "[profile ]\na=b"] {
            Profiles::parse(broken, broken);
        }
    }

    #[test]
    fn a_command_is_cut_into_words() {
        let cut = |command: &str| words(command).map(|words| words.join("|"));
        assert_eq!(
            cut("/opt/bin/get --name 'a b' \"c \\\" d\" e\"f\"g ''").as_deref(),
            Some("/opt/bin/get|--name|a b|c \" d|efg|")
        );
        assert_eq!(cut("  a  b ").as_deref(), Some("a|b"));
        assert_eq!(cut("a \"b"), None);
    }
}
