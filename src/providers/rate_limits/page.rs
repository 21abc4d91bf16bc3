//! Writes `docs/rate-limits.md` from the tables: `UPDATE_DOCS=1 cargo test --no-default-features --lib rate_limits`.

use std::fmt::Write;

use super::failures::{Place, RULES};
use super::{Period, RateLimits};
use crate::providers::all;
use crate::types::rate_limit::{FailureClass, Unit};

const HEAD: &str = "\
# Rate limits

This page lists what each provider says about its rate limits, how it counts tokens, and what its failures mean. It is generated from `src/providers/rate_limits`; after a change there, run `UPDATE_DOCS=1 cargo test --no-default-features --lib rate_limits`.

## Header fields

A reset may be a duration (`6m0s`, `1.5s`, `20ms`), a number of seconds, or a date: seconds or milliseconds since 1970, RFC 3339, or a date of HTTP. A date is compared with the answer's own `Date`, never with the local clock; an answer without that field counts from the time at which it was received. A value that cannot be read or is absurd counts as absent: a negative number, `NaN`, a limit of 0, more than twice the limit left, a reset in more than 32 days. A limit of -1 or 0 makes the numbers beside it absent, too.

A window of “a minute or a day” follows from the time in which the used part refills: `x-ratelimit-limit-requests: 10000` with `x-ratelimit-reset-requests: 8.64s` after one request is a day.

";

fn duration(seconds: u64) -> String {
    match seconds {
        1 => "second".to_owned(),
        60 => "minute".to_owned(),
        3600 => "hour".to_owned(),
        86_400 => "day".to_owned(),
        2_592_000 => "month".to_owned(),
        seconds => format!("{seconds} s"),
    }
}

fn field(name: &str) -> String {
    if name.is_empty() { "–".to_owned() } else { format!("`{name}`") }
}

/// Returns the providers of each table, in the order of the documentation.
fn tables() -> Vec<(Vec<&'static str>, &'static RateLimits)> {
    let mut tables: Vec<(Vec<&'static str>, &'static RateLimits)> = Vec::new();
    for provider in all() {
        let row = provider.row();
        match tables.iter_mut().find(|(_, limits)| std::ptr::eq(*limits, row.rate_limits)) {
            // Ollama is there with two wires.
            Some((names, _)) => names.push(row.name),
            None => tables.push((vec![row.name], row.rate_limits)),
        }
    }
    tables
}

fn page() -> String {
    let tables = tables();
    let mut page = HEAD.to_owned();
    page += "| provider | what | window | limit | left | reset |\n|---|---|---|---|---|---|\n";
    for (names, limits) in &tables {
        for window in limits.windows {
            let unit = match window.unit {
                Unit::Requests => "requests",
                Unit::Tokens => "tokens",
                Unit::InputTokens => "input tokens",
                Unit::OutputTokens => "output tokens",
                Unit::InFlight => "requests in flight",
            };
            let period = match window.period {
                Period::Fixed(period) => duration(period.as_secs()),
                Period::Told(name, None) => format!("`{name}`"),
                Period::Told(name, Some(period)) => format!("`{name}`, or a {}", duration(period.as_secs())),
                Period::Refill => "a minute or a day".to_owned(),
                Period::Unknown => "–".to_owned(),
            };
            let reset = match (window.reset, window.is_full) {
                ("", _) => "–".to_owned(),
                (name, true) => format!("{}, of the whole limit", field(name)),
                (name, false) => field(name),
            };
            let [limit, remaining] = [window.limit, window.remaining].map(field);
            writeln!(page, "| {} | {unit} | {period} | {limit} | {remaining} | {reset} |", names.join(", ")).unwrap();
        }
    }
    let silent = tables.iter().filter(|(_, limits)| limits.windows.is_empty()).flat_map(|(names, _)| names);
    let silent: Vec<&str> = silent.copied().collect();
    writeln!(page, "\nThese have no such fields: {}. `gemini` and `vertex` tell in the body of a 429 which quotas are exceeded (`google.rpc.QuotaFailure`), and `openrouter` repeats its fields there (`error.metadata.headers`).", silent.join(", ")).unwrap();
    page += "\nAny of them may ask for a pause, the first of these that is there: `retry-after-ms`, `x-ms-retry-after-ms`, `retry-after` (seconds, or a date), `x-rate-limit-reset-tokens`, `x-rate-limit-reset-requests`, `x-ratelimit-timeremaining`, in the message of a refusal “try again in 7m12s”, “retry after 10 seconds”, “retry in 20.04s”, “please wait 55 seconds”, “reset after 2m 13s” or “regain access on 2026-08-01”, and `google.rpc.RetryInfo` in the body.\n";
    page += "\n## How tokens count\n\nWhere `max_tokens` counts at admission, it is settled with the usage when the answer is there.\n\n";
    page += "| provider | `max_tokens` counts at admission | output tokens count | input read from a cache counts |\n|---|---|---|---|\n";
    for (names, limits) in tables.iter().filter(|(_, limits)| !limits.sources.is_empty()) {
        let rules = limits.tokens;
        let yes = |is: bool| if is { "yes" } else { "no" };
        let output = match (names[0], rules.output_weight) {
            ("bedrock", _) => {
                "5 times from Claude 3.7 on, 10 times from Claude 5 on and for GPT-5, 15 times for Claude Opus 4.8, otherwise once"
            }
            (_, 0) => "no",
            (_, _) => "once",
        };
        let [reserved, cached] = [rules.reserves_max_tokens, !rules.cached_reads_free].map(yes);
        writeln!(page, "| {} | {reserved} | {output} | {cached} |", names.join(", ")).unwrap();
    }
    page += "\nAll others are taken to count what is used, each token once.\n";
    page += FAILURES;
    page += "\n| provider | where | words | class | source |\n|---|---|---|---|---|\n";
    for rule in RULES {
        let host = if rule.host.is_empty() { "any" } else { rule.host };
        let place = match rule.place {
            Place::Code => "code or type",
            Place::Message => "message",
            Place::Limit => "message of a limit",
            Place::Status => "status",
        };
        writeln!(page, "| {host} | {place} | `{}` | {} | <{}> |", rule.words, class(rule.class), rule.source).unwrap();
    }
    page += "\n## Sources\n\n";
    for (names, limits) in tables.iter().filter(|(_, limits)| !limits.sources.is_empty()) {
        let links: Vec<String> = limits.sources.iter().map(|source| format!("<{source}>")).collect();
        writeln!(page, "- {}: {}", names.join(", "), links.join(", ")).unwrap();
    }
    page
}

fn class(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Rate => "rate",
        FailureClass::Overload => "overload",
        FailureClass::DayQuota => "day quota",
        FailureClass::QuotaFatal => "no quota",
        FailureClass::Auth => "access",
        FailureClass::BadRequest => "bad request",
        FailureClass::Transient => "transient",
    }
}

const FAILURES: &str = "
## Failures

| class | meaning | repeated |
|---|---|---|
| rate | the rate limit is exceeded | yes |
| overload | the provider, not the account, has too much to do | yes |
| day quota | the limit of a day or of a longer period is used up | if the provider says for how long |
| no quota | there is no credit or no quota at all | no |
| access | the key is refused, or the model or the address does not exist | no |
| bad request | the request is at fault | no |
| transient | a fault that may pass: the connection, a deadline, 5xx, a broken stream | yes, but for an answer that cannot be read |

Whether a call is repeated also depends on `max_retries`, the deadline and `max_retry_after`; `x-should-retry: true` or `false` takes precedence. The class is that of the first row below that applies; otherwise it follows from the error: `RateLimitError` is “rate”, or “day quota” if Google's body names a quota `PerDay`, or the header fields tell that nothing is left of a day's or a month's limit; `ServiceUnavailableError` is “overload”, or “transient” with the status 502; `AuthenticationError`, `PermissionDeniedError` and `NotFoundError` are “access”; `Timeout`, `ConflictError`, `InternalServerError`, `APIConnectionError`, `IncompleteStreamError` and `APIResponseValidationError` are “transient”; all others are “bad request”. In the table `…` stands for any text, and case does not matter.
";

#[cfg(test)]
mod tests {
    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rate-limits.md");

    #[test]
    fn the_page_says_what_the_code_does() {
        let page = super::page();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(PATH, &page).unwrap();
        }
        assert_eq!(std::fs::read_to_string(PATH).unwrap_or_default(), page, "UPDATE_DOCS=1 writes the page");
    }
}
