use super::*;

const KEY: &str = "sk/Canary+0123456789-abcdef";

fn hidden(secret: &str, text: &str) -> String {
    let hidden = Redactor::new([secret]).redact(text.as_bytes());
    hidden.map_or_else(|| text.to_owned(), |hidden| String::from_utf8(hidden).unwrap())
}

fn each(character: impl Fn(char) -> String) -> String {
    KEY.chars().map(character).collect()
}

#[test]
fn what_holds_no_secret_is_left_alone() {
    for text in ["", "nothing here", "nothing \\ here %41 &amp; \\u0041", "\\u", "%", "\\\\", "sk/C"] {
        assert_eq!(Redactor::new([KEY]).redact(text.as_bytes()), None, "{text}");
    }
    assert_eq!(hidden("abc", "abc"), "abc");
}

#[test]
fn a_secret_is_hidden_however_it_is_escaped() {
    assert_eq!(hidden("ab/cd+ef", "xab/cd+efab/cd+ef"), "x******");
    assert_eq!(hidden("a'b&cdefg", "a&#x27;b&amp;cdefg, a&#39;b&amp;amp;cdefg"), "***, ***");
    assert_eq!(hidden("ab/cd+ef", r#"{"a":"ab\/cd+ef"}"#), r#"{"a":"***"}"#);
    assert_eq!(hidden("ab/cd+ef", r#""{\"a\":\"ab\\\/cd+ef\"}""#), r#""{\"a\":\"***\"}""#);
    for spelled in [
        KEY.to_owned(),
        KEY.to_ascii_uppercase(),
        KEY.to_ascii_lowercase(),
        KEY.replace('/', "\\/"),
        KEY.replace('+', " "),
        each(|c| format!("\\u{:04x}", c as u32)),
        each(|c| format!("\\u{:04X}", c as u32)),
        each(|c| format!("\\\\\\u{:04X}", c as u32)),
        each(|c| format!("\\x{:02x}", c as u32)),
        each(|c| format!("\\u{{{:x}}}", c as u32)),
        each(|c| format!("\\{:03o}", c as u32)),
        each(|c| format!("%{:02x}", c as u32)),
        each(|c| format!("%2525{:02X}", c as u32)),
        each(|c| format!("%u{:04x}", c as u32)),
        each(|c| format!("%5Cu{:04x}", c as u32)),
        each(|c| format!("&#{};", c as u32)),
        each(|c| format!("&amp;#x{:X};", c as u32)),
        each(|c| format!("{c}\0")),
        each(|c| format!("{:02x}", c as u32)),
        each(|c| if c.is_ascii_digit() { format!("\\u{:04x}", c as u32) } else { c.to_string() }),
        format!("\\u0073{}", &KEY[1..]),
    ] {
        for (before, after) in [("", ""), ("%", "%"), ("\\", "\\"), ("&#", ";"), ("a", "b"), ("\"", "\":1")] {
            let text = format!("{before}{spelled}{after}");
            let shown = hidden(KEY, &text);
            assert!(shown.contains("***") && shown.len() <= before.len() + after.len() + 7, "{text} → {shown}");
        }
    }
}

#[test]
fn a_secret_that_is_itself_escaped_is_hidden() {
    for secret in ["pass%41word%zz", "a\\nb\\u0041cdefgh", "line one\nline two", "&amp;secret;", "pässwörd1"] {
        for text in [
            secret.to_owned(),
            serde_json::to_string(secret).unwrap(),
            serde_json::to_string(&serde_json::to_string(secret).unwrap()).unwrap(),
            percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC).to_string(),
        ] {
            let shown = hidden(secret, &text);
            assert!(shown.len() <= 9 && shown.contains("***"), "{secret:?}: {text} → {shown}");
        }
    }
}

#[test]
fn a_secret_is_hidden_in_base64() {
    for before in ["", "u", "us", "user:", "{\"key\": \""] {
        for after in ["", "\"}", "x", "yz"] {
            let encoded = base64::encode(format!("{before}{KEY}{after}"));
            let url_safe = encoded.replace('+', "-").replace('/', "_");
            let broken: Vec<String> =
                encoded.as_bytes().chunks(7).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
            for spelled in [
                encoded.clone(),
                encoded.trim_end_matches('=').to_owned(),
                url_safe,
                encoded.replace('/', "\\/"),
                encoded.replace('=', "%3D").replace('+', "%2B"),
                broken.join("\r\n"),
                broken.join("\\n"),
            ] {
                let shown = hidden(KEY, &format!("is <{spelled}>"));
                assert!(shown.starts_with("is <") && shown.ends_with('>'), "{shown}");
                let (head, tail) = shown.split_once("***").expect(&spelled);
                // The remaining digits are those of the text around the secret.
                assert!(head.len() - 4 <= before.len() * 8 / 6 + 5, "{spelled} → {shown}");
                assert!(tail.len() <= after.len() * 8 / 6 + 8, "{spelled} → {shown}");
            }
        }
    }
}

#[test]
fn a_secret_is_hidden_in_base64_of_another_spelling() {
    for spelled in [
        base64::encode(KEY),
        base64::encode(format!("user:{KEY}")),
        base64::encode(base64::encode(KEY)),
        each(|c| format!("%{:02x}", c as u32)),
        each(|c| format!("\\u{:04X}", c as u32)),
        KEY.replace('/', "\\/"),
        each(|c| format!("{:02x}", c as u32)),
    ] {
        for (before, after) in [("", ""), ("{\"k\": \"", "\"}"), ("x ", "")] {
            let encoded = base64::encode(format!("{before}{spelled}{after}"));
            let url_safe = encoded.replace('+', "-").replace('/', "_");
            for text in [
                encoded.clone(),
                encoded.trim_end_matches('=').to_owned(),
                url_safe,
                format!("//a/{encoded}"),
                format!("x{encoded}"),
            ] {
                let shown = hidden(KEY, &format!("is <{text}>"));
                assert!(shown.contains("***"), "{text} → {shown}");
                assert!(shown.len() <= 18 + (before.len() + after.len() + 6) * 4 / 3, "{text} → {shown}");
            }
        }
    }
    let honest = base64::encode("nothing to see here, \\u0041 and so on, at all");
    assert_eq!(hidden(KEY, &honest), honest);
}

/// `cargo test --release -- --ignored --nocapture what_a_mebibyte_takes`
#[test]
#[ignore = "a measurement"]
fn what_a_mebibyte_takes() {
    let redactor = Redactor::new([KEY, &*"b".repeat(40), "session-0123456789"]);
    for piece in [
        "x",
        "word ",
        "YWJjZGVm",
        "YWJjZGVmZ2hp ",
        "V1ZkS2FscEhWbTFhTW1od ",
        "YWJjZGVmZ2hp/wD/",
        "{\"a\":\"b\\n\"},",
        "%2525",
        "\\",
        "&amp;",
        "\0a",
        "\\u0041",
        "sk/C",
    ] {
        let text = piece.repeat((1 << 20) / piece.len());
        let start = std::time::Instant::now();
        redactor.redact(text.as_bytes());
        println!("{:>5} ms: {piece:?}", start.elapsed().as_millis());
    }
}

#[test]
fn the_beginning_of_a_secret_is_hidden_at_a_cut() {
    let redactor = Redactor::new([KEY]);
    for spelled in [
        KEY.to_owned(),
        each(|c| format!("\\u{:04x}", c as u32)),
        each(|c| format!("%{:02x}", c as u32)),
        each(|c| format!("&#{};", c as u32)),
        base64::encode(KEY),
    ] {
        let width = spelled.len() / KEY.len();
        for cut in width * 9..spelled.len() {
            let text = format!("it is {}", &spelled[..cut]);
            let shown = redactor.redact(text.as_bytes()).expect(&text);
            assert_eq!(String::from_utf8(shown).unwrap(), "it is ***", "{text}");
        }
    }
}

#[test]
fn json_stays_json() {
    for secret in [KEY, "/ab/cd+ef/gh"] {
        let escaped = serde_json::to_string(secret).unwrap().replace('/', "\\/");
        let text = format!(r#"{{{escaped}:["\\",{escaped}],"a\\\"":"{}\\"}}"#, escaped.trim_matches('"'));
        let shown: serde_json::Value = serde_json::from_str(&hidden(secret, &text)).unwrap();
        assert_eq!(shown, serde_json::json!({"***": ["\\", "***"], "a\\\"": "***\\"}));
    }
}

#[test]
fn words_like_a_short_secret_are_left_alone() {
    assert_eq!(hidden("none", "'NoneType' is none"), "'NoneType' is ***");
}

#[test]
fn a_text_made_to_be_slow_is_not() {
    let redactor = Redactor::new([&*"a".repeat(64), KEY]);
    for piece in ["\\", "a", "%25", "%", "&amp;", "\\u", "&#1", "\\ud800", "%u00"] {
        let text = piece.repeat(200_000 / piece.len());
        let start = std::time::Instant::now();
        redactor.redact(text.as_bytes());
        assert!(start.elapsed().as_secs() < 5, "{piece}");
    }
}
