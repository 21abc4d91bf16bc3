//! The command line, the same as `driver.py`'s.

use std::path::PathBuf;

/// What to call, how often, and how many at a time.
pub struct Arguments {
    pub url: String,
    /// The PEM file of the authority to believe, for https.
    pub ca: Option<PathBuf>,
    pub stream: bool,
    pub concurrency: usize,
    pub calls: usize,
    pub warmup: usize,
}

impl Arguments {
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut parsed = Self { url: String::new(), ca: None, stream: false, concurrency: 1, calls: 1000, warmup: 0 };
        while let Some(flag) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
            let number = || value.parse().map_err(|_| format!("{flag}: not a number: {value}"));
            match flag.as_str() {
                "--url" => parsed.url = value,
                "--ca" => parsed.ca = Some(value.into()),
                "--mode" => parsed.stream = value == "stream",
                "--concurrency" => parsed.concurrency = number()?,
                "--calls" => parsed.calls = number()?,
                "--warmup" => parsed.warmup = number()?,
                _ => return Err(format!("unknown flag: {flag}")),
            }
        }
        if parsed.url.is_empty() { Err("--url is needed".to_owned()) } else { Ok(parsed) }
    }
}
