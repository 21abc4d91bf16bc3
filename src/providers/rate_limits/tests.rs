//! What each provider says, from its documentation or from recorded answers (the sources are in the tables).

use bytes::Bytes;

use super::*;
use crate::providers::{all, lookup};
use crate::types::http::HttpResponse;
use crate::types::rate_limit::{FailureClass, Reset, WindowSignal};

/// 2024-05-01T12:00:00Z.
const RECEIVED: u64 = 1_714_564_800;

const MINUTE: u64 = 60;
const DAY: u64 = 86_400;

fn answered(provider: &str, fields: &str) -> Signals {
    let headers = Headers::new(fields.to_owned().into());
    lookup(provider).unwrap().signals(&headers, RECEIVED)
}

fn told(provider: &str, fields: &str) -> Vec<WindowSignal> {
    let signals = answered(provider, fields);
    assert_eq!((signals.failure, signals.retry_after), (None, None));
    signals.windows.into_vec()
}

fn refused(provider: &str, status: u16, fields: &str, body: &str) -> Signals {
    let provider = lookup(provider).unwrap();
    let headers = Headers::new(fields.to_owned().into());
    let body = Bytes::copy_from_slice(body.as_bytes());
    let error = provider.decode_error(&HttpResponse { received: RECEIVED, status, headers, body });
    provider.failure_signals(&error, RECEIVED)
}

/// A window with a limit, what is left of it, the seconds to the full limit and the window's seconds; 0 is absent.
fn full(unit: Unit, period: u64, limit: u64, remaining: u64, reset: f64) -> WindowSignal {
    let some = |number: u64| (number > 0).then_some(number);
    WindowSignal {
        unit,
        period: some(period).map(Duration::from_secs),
        limit: some(limit),
        remaining: Some(remaining),
        reset: (reset >= 0.0).then(|| Reset::Full(Duration::from_secs_f64(reset))),
    }
}

/// A window whose reset is the time to some of the limit.
fn part(unit: Unit, period: u64, limit: u64, remaining: u64, reset: f64) -> WindowSignal {
    let window = full(unit, period, limit, remaining, reset);
    let reset = window.reset.map(|reset| match reset {
        Reset::Full(time) | Reset::Some(time) => Reset::Some(time),
    });
    WindowSignal { reset, ..window }
}

use Unit::{InputTokens, OutputTokens, Requests, Tokens};

#[test]
fn openai_tells_durations_to_the_full_window() {
    let fields = "Date: Wed, 01 May 2024 12:00:00 GMT\r\nX-RateLimit-Limit-Requests: 60\nx-ratelimit-limit-tokens: 150000\n\
                  x-ratelimit-remaining-requests: 59\nx-ratelimit-remaining-tokens: 149984\nx-ratelimit-reset-requests: 1s\n\
                  x-ratelimit-reset-tokens: 6m0s\nx-request-id: req_1";
    assert_eq!(
        told("openai", fields),
        [full(Requests, MINUTE, 60, 59, 1.0), full(Tokens, MINUTE, 150_000, 149_984, 360.0)]
    );
    let project = "x-ratelimit-limit-project-tokens: 100000\nx-ratelimit-remaining-project-tokens: 99000\n\
                   x-ratelimit-reset-project-tokens: 600ms";
    assert_eq!(told("openai", project), [full(Tokens, MINUTE, 100_000, 99_000, 0.6)]);
}

#[test]
fn the_length_of_openais_window_follows_from_its_refill() {
    for (limit, remaining, reset, period) in [
        ("10000", "9999", "8.64s", DAY),
        ("200", "199", "7m12s", DAY),
        ("5000", "4999", "12ms", MINUTE),
        ("3500", "3499", "17ms", MINUTE),
        ("30000", "29990", "20ms", MINUTE),
        ("30000", "30000", "0s", 0),
        ("500", "499", "1h", 0),
    ] {
        let fields = format!(
            "x-ratelimit-limit-requests: {limit}\nx-ratelimit-remaining-requests: {remaining}\n\
             x-ratelimit-reset-requests: {reset}"
        );
        let period = (period > 0).then(|| Duration::from_secs(period));
        assert_eq!(told("openai", &fields)[0].period, period, "{limit} {reset}");
    }
}

#[test]
fn azure_has_sentinels_seconds_and_the_length_of_the_window() {
    let unknown = "x-ratelimit-limit-tokens: -1\nx-ratelimit-remaining-tokens: -1\nx-ratelimit-reset-tokens: 0\n\
                   x-ratelimit-limit-requests: 0\nx-ratelimit-remaining-requests: 0";
    assert_eq!(told("azure", unknown), []);
    let older = "x-ratelimit-remaining-requests: 79\nx-ratelimit-remaining-tokens: 61353";
    assert_eq!(told("azure", older), [part(Requests, 0, 0, 79, -1.0), part(Tokens, MINUTE, 0, 61_353, -1.0)]);
    let newer = "x-ratelimit-limit-requests: 20\nx-ratelimit-remaining-requests: 19\nx-ratelimit-renewalperiod-requests: 1\n\
                 x-ratelimit-limit-tokens: 2000000\nx-ratelimit-remaining-tokens: 1999962\n\
                 x-ratelimit-renewalperiod-tokens: 60\nx-ratelimit-reset-tokens: 1";
    for provider in ["azure", "github"] {
        assert_eq!(
            told(provider, newer),
            [part(Requests, 1, 20, 19, -1.0), part(Tokens, MINUTE, 2_000_000, 1_999_962, 1.0)]
        );
    }
}

#[test]
fn anthropic_tells_dates_which_are_compared_with_the_answers_own() {
    let fields = "date: Thu, 21 Aug 2025 12:41:00 GMT\nanthropic-ratelimit-input-tokens-limit: 80000\n\
                  anthropic-ratelimit-input-tokens-remaining: 79000\n\
                  anthropic-ratelimit-input-tokens-reset: 2025-08-21T12:41:01Z\n\
                  anthropic-ratelimit-output-tokens-limit: 16000\nanthropic-ratelimit-output-tokens-remaining: 16000\n\
                  anthropic-ratelimit-output-tokens-reset: 2025-08-21T12:40:59Z\nanthropic-ratelimit-requests-limit: 1000\n\
                  anthropic-ratelimit-requests-remaining: 999\nanthropic-ratelimit-requests-reset: 2025-08-21T12:41:30Z\n\
                  anthropic-ratelimit-tokens-limit: 96000\nanthropic-ratelimit-tokens-remaining: 95000\n\
                  anthropic-ratelimit-tokens-reset: 2025-08-21T14:41:02+02:00";
    assert_eq!(
        told("anthropic", fields),
        [
            full(Requests, MINUTE, 1000, 999, 30.0),
            full(InputTokens, MINUTE, 80_000, 79_000, 1.0),
            full(OutputTokens, MINUTE, 16_000, 16_000, 0.0),
            full(Tokens, MINUTE, 96_000, 95_000, 2.0),
        ]
    );
    let undated = "anthropic-ratelimit-requests-remaining: 1\nanthropic-ratelimit-requests-reset: 2024-05-01T12:00:09Z";
    assert_eq!(told("anthropic", undated), [full(Requests, MINUTE, 0, 1, 9.0)]);
}

#[test]
fn every_other_provider_has_its_own_fields() {
    let groq = "x-ratelimit-limit-requests: 14400\nx-ratelimit-limit-tokens: 18000\nx-ratelimit-remaining-requests: 14370\n\
                x-ratelimit-remaining-tokens: 17997\nx-ratelimit-reset-requests: 2m59.56s\nx-ratelimit-reset-tokens: 7.66s";
    assert_eq!(
        told("groq", groq),
        [full(Requests, DAY, 14_400, 14_370, 179.56), full(Tokens, MINUTE, 18_000, 17_997, 7.66)]
    );
    let mistral = "x-ratelimit-limit-tokens-minute: 5000000\nx-ratelimit-remaining-tokens-minute: 4999911\n\
                   x-ratelimit-tokens-query-cost: 52\nx-ratelimit-limit-req-minute: 720\n\
                   x-ratelimit-remaining-req-minute: 717";
    assert_eq!(
        told("mistral", mistral),
        [full(Requests, MINUTE, 720, 717, -1.0), full(Tokens, MINUTE, 5_000_000, 4_999_911, -1.0)]
    );
    let cerebras = "x-ratelimit-limit-requests-day: 1000000000\nx-ratelimit-limit-tokens-minute: 1000000000\n\
                    x-ratelimit-remaining-requests-day: 999997455\nx-ratelimit-remaining-tokens-minute: 999998298\n\
                    x-ratelimit-reset-requests-day: 33011.382867097855\nx-ratelimit-reset-tokens-minute: 11.38";
    assert_eq!(
        told("cerebras", cerebras),
        [
            full(Requests, DAY, 1_000_000_000, 999_997_455, 33_011.382_867_097_855),
            full(Tokens, MINUTE, 1_000_000_000, 999_998_298, 11.38),
        ]
    );
    let sambanova = "date: Wed, 01 May 2024 12:00:00 GMT\nx-ratelimit-limit-requests: 60\n\
                     x-ratelimit-remaining-requests: 42\nx-ratelimit-reset-requests: 1714564830\n\
                     x-ratelimit-limit-requests-day: 12000\nx-ratelimit-remaining-requests-day: 900\n\
                     x-ratelimit-reset-requests-day: 1714608000";
    assert_eq!(
        told("sambanova", sambanova),
        [full(Requests, MINUTE, 60, 42, 30.0), full(Requests, DAY, 12_000, 900, 43_200.0)]
    );
    let fireworks = "x-ratelimit-limit-requests: 6000\nx-ratelimit-remaining-requests: 5999\n\
                     x-ratelimit-limit-tokens-generated: 72000\nx-ratelimit-remaining-tokens-generated: 69338\n\
                     x-ratelimit-limit-tokens-prompt: 7200000\nx-ratelimit-remaining-tokens-prompt: 7193993\n\
                     x-ratelimit-over-limit: no";
    assert_eq!(
        told("fireworks_ai", fireworks),
        [
            full(Requests, MINUTE, 6000, 5999, -1.0),
            full(InputTokens, MINUTE, 7_200_000, 7_193_993, -1.0),
            full(OutputTokens, MINUTE, 72_000, 69_338, -1.0),
        ]
    );
    let together = "x-ratelimit-limit: 10\nx-ratelimit-remaining: 9\nx-ratelimit-reset: 1\nx-tokenlimit-limit: 3000\n\
                    x-tokenlimit-remaining: 2961";
    assert_eq!(told("together_ai", together), [full(Requests, 1, 10, 9, 1.0), full(Tokens, 1, 3000, 2961, -1.0)]);
    let openrouter = "x-ratelimit-limit: 20\nx-ratelimit-remaining: 0\nx-ratelimit-reset: 1714564812500";
    assert_eq!(told("openrouter", openrouter), [full(Requests, 0, 20, 0, 12.5)]);
    assert_eq!(told("moonshot", openrouter), [full(Requests, 0, 20, 0, 12.5)]);
    let cohere = "x-endpoint-monthly-call-limit: 1000\nx-trial-endpoint-call-limit: 20\n\
                  x-trial-endpoint-call-remaining: 19";
    let month = WindowSignal { remaining: None, ..full(Requests, 30 * DAY, 1000, 0, -1.0) };
    assert_eq!(told("cohere", cohere), [full(Requests, MINUTE, 20, 19, -1.0), month]);
    let xai = "x-ratelimit-limit-requests: 480\nx-ratelimit-remaining-requests: 479\nx-ratelimit-limit-tokens: 4000000\n\
               x-ratelimit-remaining-tokens: 3999000";
    assert_eq!(told("xai", xai), [full(Requests, 0, 480, 479, -1.0), full(Tokens, MINUTE, 4_000_000, 3_999_000, -1.0)]);
    assert_eq!(told("openai_compatible", xai)[1], full(Tokens, 0, 4_000_000, 3_999_000, -1.0));
    assert_eq!(told("moonshot", groq), []);
}

#[test]
fn mistral_tells_a_month_and_ten_seconds() {
    let fields = |left: u64| {
        format!(
            "x-ratelimit-limit-req-minute: 4\nx-ratelimit-remaining-req-minute: 3\nx-ratelimit-limit-req-10-second: 2\n\
             x-ratelimit-remaining-req-10-second: 1\nx-ratelimit-limit-tokens-minute: 5000000\n\
             x-ratelimit-remaining-tokens-minute: 4999911\nx-ratelimit-limit-tokens-month: 1000000000000\n\
             x-ratelimit-remaining-tokens-month: {left}\nx-ratelimit-tokens-query-cost: 52"
        )
    };
    let month = |left| full(Tokens, 30 * DAY, 1_000_000_000_000, left, -1.0);
    let mut windows = vec![
        full(Requests, MINUTE, 4, 3, -1.0),
        full(Requests, 10, 2, 1, -1.0),
        full(Tokens, MINUTE, 5_000_000, 4_999_911, -1.0),
        month(999_998_798_434),
    ];
    assert_eq!(told("mistral", &fields(999_998_798_434)), windows);
    // Its message is the same for each limit.
    let body = r#"{"object":"error","message":"Rate limit exceeded","type":"rate_limited","param":null,"code":"1300"}"#;
    let class = |left| refused("mistral", 429, &fields(left), body).failure;
    assert_eq!(class(12), Some(FailureClass::Rate));
    windows[3] = month(0);
    let used_up = refused("mistral", 429, &fields(0), body);
    assert_eq!((used_up.windows.to_vec(), used_up.failure), (windows, Some(FailureClass::DayQuota)));
    let reset = format!("{}\nx-ratelimit-reset-tokens-month: 1209600", fields(0));
    assert_eq!(refused("mistral", 429, &reset, body).retry_after, Some(Duration::from_secs(14 * DAY)));
    assert_eq!(refused("mistral", 500, &fields(0), body).failure, Some(FailureClass::Transient));
    assert_eq!(refused("mistral", 401, &fields(0), r#"{"detail":"Unauthorized"}"#).failure, Some(FailureClass::Auth));
}

#[test]
fn cerebras_tells_a_minute_an_hour_and_a_day() {
    let fields = |hour: u64, day: u64| {
        format!(
            "x-ratelimit-limit-requests-day: 2400\nx-ratelimit-limit-requests-hour: 150\nx-ratelimit-limit-requests-minute: 5\n\
             x-ratelimit-limit-tokens-day: 1000000\nx-ratelimit-limit-tokens-hour: 1000000\n\
             x-ratelimit-limit-tokens-minute: 30000\nx-ratelimit-remaining-requests-day: 2397\n\
             x-ratelimit-remaining-requests-hour: 148\nx-ratelimit-remaining-requests-minute: 4\n\
             x-ratelimit-remaining-tokens-day: {day}\nx-ratelimit-remaining-tokens-hour: {hour}\n\
             x-ratelimit-remaining-tokens-minute: 13381\nx-ratelimit-reset-requests-minute: 11.5\n\
             x-ratelimit-reset-tokens-day: 33011.25"
        )
    };
    let windows = |hour: Option<u64>, day| {
        let of_hour = full(Tokens, 3600, 1_000_000, 0, -1.0);
        [
            full(Requests, MINUTE, 5, 4, 11.5),
            full(Requests, 3600, 150, 148, -1.0),
            full(Requests, DAY, 2400, 2397, -1.0),
            full(Tokens, MINUTE, 30_000, 13_381, -1.0),
            WindowSignal { remaining: hour, ..of_hour },
            full(Tokens, DAY, 1_000_000, day, 33_011.25),
        ]
    };
    assert_eq!(told("cerebras", &fields(983_381, 983_005)), windows(Some(983_381), 983_005));
    // What was recorded of an hour is three times its limit.
    assert_eq!(told("cerebras", &fields(2_999_930, 983_005)), windows(None, 983_005));
    let body = |period: &str| {
        format!(
            r#"{{"message":"Tokens per {period} limit exceeded - too many tokens processed.","type":"too_many_tokens_error","param":"quota","code":"token_quota_exceeded"}}"#
        )
    };
    let minute = refused("cerebras", 429, &fields(983_381, 983_005), &body("minute"));
    assert_eq!((minute.failure, minute.retry_after), (Some(FailureClass::Rate), None));
    let day = refused("cerebras", 429, &fields(983_381, 0), &body("day"));
    assert_eq!(day.windows.to_vec(), windows(Some(983_381), 0));
    assert_eq!(
        (day.failure, day.retry_after),
        (Some(FailureClass::DayQuota), Some(Duration::from_secs_f64(33_011.25)))
    );
}

/// Fields that others have say nothing here, a gateway's own among them. Its limits are learnt from its refusals.
#[test]
fn of_a_provider_without_fields_a_refusal_asks_for_a_pause_alone() {
    const SILENT: [(&str, &str); 23] = [
        // https://api-docs.deepseek.com/quick_start/error_codes
        (
            "deepseek",
            r#"{"error":{"message":"Rate limit reached","type":"rate_limit_error","param":null,"code":null}}"#,
        ),
        // https://docs.perplexity.ai/guides/rate-limits-usage-tiers
        (
            "perplexity",
            r#"{"error":{"message":"Request rate limit exceeded","type":"request_rate_limit_exceeded","code":429}}"#,
        ),
        ("nvidia_nim", r#"{"status":429,"title":"Too Many Requests"}"#),
        ("huggingface", r#"{"error":"Rate limit reached. You reached free usage limit"}"#),
        // https://docs.z.ai/api-reference/api-code
        ("zai", r#"{"error":{"code":"1302","message":"Rate limit reached for requests"}}"#),
        // https://help.aliyun.com/en/model-studio/error-code-start
        (
            "dashscope",
            r#"{"error":{"message":"Requests rate limit exceeded, please try again later.","type":"limit_requests","code":"limit_requests"},"request_id":"r"}"#,
        ),
        // https://platform.minimax.io/docs/api-reference/errorcode
        ("minimax", r#"{"base_resp":{"status_code":1002,"status_msg":"rate limit"}}"#),
        (
            "databricks",
            r#"{"error_code":"REQUEST_LIMIT_EXCEEDED","message":"REQUEST_LIMIT_EXCEEDED: Exceeded workspace rate limit."}"#,
        ),
        ("deepinfra", r#"{"detail":{"error":"Rate limited"}}"#),
        ("hyperbolic", r#"{"message":"Too many requests"}"#),
        ("novita", r#"{"code":429,"reason":"RATE_LIMIT_EXCEEDED","message":"rate limit exceeded","metadata":{}}"#),
        // https://docs.voyageai.com/docs/error-codes
        ("voyage", r#"{"detail":"You have exceeded the rate limit of your organization."}"#),
        ("jina", r#"{"detail":"Rate limit exceeded"}"#),
        ("ollama", r#"{"error":"server busy, please try again. maximum pending requests exceeded"}"#),
        ("vllm", r#"{"object":"error","message":"Too many requests","type":"TooManyRequests","code":429}"#),
        ("lm_studio", r#"{"error":"Too many requests"}"#),
        ("llamafile", r#"{"error":{"code":429,"message":"Too many requests","type":"unavailable_error"}}"#),
        ("xinference", r#"{"detail":"Rate limit reached for the model."}"#),
        ("local", ""),
        ("ollama_chat", r#"{"error":"server busy, please try again. maximum pending requests exceeded"}"#),
        // https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
        ("bedrock", r#"{"message":"Too many requests, please wait before trying again."}"#),
        // Without the violations that they may have.
        (
            "gemini",
            r#"{"error":{"code":429,"message":"Resource has been exhausted (e.g. check quota).","status":"RESOURCE_EXHAUSTED"}}"#,
        ),
        (
            "vertex",
            r#"{"error":{"code":429,"message":"Resource exhausted. Please try again later.","status":"RESOURCE_EXHAUSTED"}}"#,
        ),
    ];
    let without_fields = all().map(|provider| provider.row()).filter(|row| row.rate_limits.windows.is_empty());
    let mut names: Vec<&str> = without_fields.map(|row| row.name).collect();
    let mut listed = SILENT.map(|(name, _)| name);
    names.sort_unstable();
    listed.sort_unstable();
    assert_eq!(names, listed, "each has its refusal here");
    let windows = || all().flat_map(|provider| provider.row().rate_limits.windows);
    let fields: String = windows()
        .flat_map(|window| [(window.limit, "60"), (window.remaining, "0"), (window.reset, "30")])
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| format!("{name}: {value}\n"))
        .collect();
    for (provider, body) in SILENT {
        assert_eq!(told(provider, &fields), [], "{provider}");
        let pause = refused(provider, 429, &format!("{fields}retry-after: 7"), body);
        let none = refused(provider, 429, &fields, body);
        for (signals, retry_after) in [(pause, Some(Duration::from_secs(7))), (none, None)] {
            assert_eq!(signals.windows.to_vec(), [], "{provider}");
            assert_eq!((signals.retry_after, signals.refused), (retry_after, None), "{provider}");
            assert!(matches!(signals.failure, Some(FailureClass::Rate | FailureClass::Overload)), "{provider}");
        }
    }
}

#[test]
fn absurd_values_are_as_good_as_absent() {
    let fields = |limit: &str, remaining: &str, reset: &str| {
        told(
            "groq",
            &format!(
                "x-ratelimit-limit-requests: {limit}\nx-ratelimit-remaining-requests: {remaining}\n\
                 x-ratelimit-reset-requests: {reset}"
            ),
        )
    };
    for limit in ["-1", "0", "", "NaN", "inf", "many", "1e300", "99999999999999999999"] {
        assert_eq!(fields(limit, "5", "1s"), [], "{limit}");
    }
    for remaining in ["-1", "", "NaN", "many", "21", "1e300"] {
        assert_eq!(fields("10", remaining, "1s")[0].remaining, None, "{remaining}");
    }
    // A window that has just grown may have more left than its limit.
    assert_eq!(fields("10", "20", "1s")[0].remaining, Some(20));
    assert_eq!(fields("10", "9.5", "1s")[0].remaining, Some(9));
    for reset in [
        "-1",
        "-5s",
        "NaN",
        "inf",
        "1e300",
        "soon",
        "s",
        "5 parsecs",
        "1 2",
        "",
        "8760h",
        "31536000",
        "1746100800",
        "9999-12-31T23:59:59Z",
        "99999999999999999999",
    ] {
        assert_eq!(fields("10", "5", reset)[0].reset, None, "{reset}");
    }
    for (reset, seconds) in [
        ("6m0s", 360.0),
        ("1.5s", 1.5),
        ("20ms", 0.02),
        ("1h2m3.5s", 3723.5),
        ("250µs", 0.000_25),
        ("1ns", 0.000_000_001),
        ("2", 2.0),
        ("0.25", 0.25),
        ("1714564801", 1.0),
        ("1714564800500", 0.5),
        ("1714564799", 0.0),
        ("Wed, 01 May 2024 12:00:07 GMT", 7.0),
    ] {
        assert_eq!(fields("10", "5", reset)[0].reset, Some(Reset::Full(Duration::from_secs_f64(seconds))), "{reset}");
    }
    assert_eq!(told("groq", "x-ratelimit-reset-requests: 5s\nx-ratelimit-limit-requests\n:\n\n"), []);
    assert_eq!(told("groq", "x-ratelimit-limit-requests: \u{fffd}\nX"), []);
}

#[test]
fn google_tells_quotas_in_the_body() {
    let body = r#"{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaMetric":"generativelanguage.googleapis.com/generate_content_free_tier_input_token_count","quotaId":"GenerateContentInputTokensPerModelPerMinute-FreeTier","quotaDimensions":{"location":"global"},"quotaValue":"250000"}]},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34s"}]}}"#;
    let minute = refused("gemini", 429, "", body);
    assert_eq!(minute.failure, Some(FailureClass::Rate));
    assert_eq!(minute.retry_after, Some(Duration::from_secs(34)));
    assert_eq!(minute.windows.to_vec(), [full(InputTokens, MINUTE, 250_000, 0, -1.0)]);
    let body = body
        .replace("InputTokensPerModelPerMinute", "RequestsPerDayPerProjectPerModel")
        .replace("input_token_count", "requests");
    let day = refused("vertex", 429, "", &format!("[{body}]"));
    assert_eq!(day.failure, Some(FailureClass::DayQuota));
    assert_eq!(day.windows.to_vec(), [full(Requests, DAY, 250_000, 0, -1.0)]);
    let none = refused(
        "gemini",
        429,
        "",
        r#"{"error":{"code":429,"message":"Resource has been exhausted","status":"RESOURCE_EXHAUSTED","details":[{"violations":[null,{},{"quotaId":7},{"quotaMetric":"x"}]}, 1]}}"#,
    );
    assert_eq!((none.windows.len(), none.failure, none.retry_after), (0, Some(FailureClass::Rate), None));
}

#[test]
fn openrouters_free_models_wait_for_the_next_day() {
    let body = r#"{"error":{"message":"Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day","code":429,"metadata":{"headers":{"X-RateLimit-Limit":"50","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1714608000000"},"provider_name":null}},"user_id":"u"}"#;
    let day = refused("openrouter", 429, "", body);
    assert_eq!(day.windows.to_vec(), [full(Requests, 0, 50, 0, 43_200.0)]);
    assert_eq!((day.failure, day.retry_after), (Some(FailureClass::DayQuota), Some(Duration::from_secs(43_200))));
    let fields = "X-RateLimit-Limit: 20\nX-RateLimit-Remaining: 0\nX-RateLimit-Reset: 1714564830000";
    let minute = refused(
        "openrouter",
        429,
        fields,
        r#"{"error":{"message":"Rate limit exceeded: free-models-per-min. ","code":429}}"#,
    );
    assert_eq!(minute.windows.to_vec(), [full(Requests, 0, 20, 0, 30.0)]);
    assert_eq!((minute.failure, minute.retry_after), (Some(FailureClass::Rate), None));
}

#[test]
fn a_pause_stands_in_a_field_or_in_the_message() {
    let asked = |provider: &str, status: u16, fields: &str, message: &str| {
        let body = serde_json::json!({ "error": { "message": message } }).to_string();
        refused(provider, status, fields, &body).retry_after.map(|pause| pause.as_secs_f64())
    };
    for (message, seconds) in [
        ("Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000. Please try again in 6ms. Visit", 0.006),
        ("… on requests per day (RPD): Limit 200, Used 200. Please try again in 7m12s. Visit", 432.0),
        ("Limit 15000, Used 11972, Requested 4351. Please try again in 5.289s. Visit", 5.289),
        ("Requests to the API have exceeded the call rate limit. Please retry after 10 seconds.", 10.0),
        ("Quota exceeded for metric, limit: 20\nPlease retry in 20.04466179s.", 20.044_661_79),
        ("Rate limit of 15 per 60s exceeded for UserByMinute. Please wait 25 seconds before retrying.", 25.0),
        ("Please try again in 1 hour", 3600.0),
        ("You have exhausted your capacity on this model. Your quota will reset after 4s.", 4.0),
        ("[claude/claude-opus-5] [429]: {…} (reset after 2m 13s)", 133.0),
    ] {
        assert_eq!(asked("openai", 429, "", message), Some(seconds), "{message}");
        assert_eq!(asked("openai", 429, "retry-after: 3", message), Some(3.0));
        assert_eq!(asked("openai", 404, "", message), None);
    }
    for message in [
        "Too many tokens, please wait before trying again.",
        "try again in a while",
        "try again in 3 months",
        "retry after x seconds",
    ] {
        assert_eq!(asked("openai", 429, "", message), None, "{message}");
    }
    assert_eq!(asked("azure", 429, "x-rate-limit-reset-tokens: 55", "m"), Some(55.0));
    assert_eq!(asked("azure", 429, "retry-after-ms: 1500\nretry-after: 2", "m"), Some(1.5));
    assert_eq!(asked("github", 429, "x-ratelimit-timeremaining: 55", "m"), Some(55.0));
    let limit = "You have reached your specified API usage limits. You will regain access on 2024-05-02 at 00:00 UTC.";
    assert_eq!(asked("anthropic", 400, "", limit), Some(43_200.0));
}

/// Bodies of refusals from documentation and reports, one a line: provider, status, class and body.
#[test]
fn every_failure_has_its_class() {
    for line in include_str!("failure_classes.txt").lines() {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap();
        let (provider, status, class, body) = (word(), word().parse().unwrap(), word(), word());
        let found = refused(provider, status, "", body).failure.unwrap();
        assert_eq!(format!("{found:?}"), class, "{line}");
    }
}

#[test]
fn bedrocks_failures_are_named() {
    use FailureClass::{Auth, DayQuota, Overload, Rate, Transient};
    for (status, name, message, class) in [
        (429, "ThrottlingException", "Too many requests, please wait before trying again.", Rate),
        (429, "ThrottlingException", "Too many tokens, please wait before trying again.", Rate),
        (429, "ThrottlingException", "Too many tokens per day, please wait before trying again.", DayQuota),
        (400, "ServiceQuotaExceededException", "Your request exceeds the service quota for your account.", Rate),
        (429, "ModelNotReadyException", "The model is not ready for inference.", Overload),
        (503, "ServiceUnavailableException", "m", Overload),
        (424, "ModelErrorException", "m", Transient),
        (403, "AccessDeniedException", "You don't have access to the model with the specified model ID.", Auth),
        (404, "ResourceNotFoundException", "inference profile x not found", Auth),
        (400, "ValidationException", "The provided model identifier is invalid.", Auth),
        (
            400,
            "ValidationException",
            "Invocation of model ID x with on-demand throughput isn\u{2019}t supported.",
            Auth,
        ),
    ] {
        let body = serde_json::json!({ "message": message }).to_string();
        let signals = refused("bedrock", status, &format!("x-amzn-errortype: {name}:http://internal/"), &body);
        assert_eq!(signals.failure, Some(class), "{name}: {message}");
    }
}

#[test]
fn failures_without_an_answer_have_a_class() {
    use crate::error::ErrorKind;
    for (kind, class) in [
        (ErrorKind::InvalidArgument, FailureClass::BadRequest),
        (ErrorKind::UnsupportedParams, FailureClass::BadRequest),
        (ErrorKind::ContextWindowExceeded, FailureClass::BadRequest),
        (ErrorKind::ContentPolicyViolation, FailureClass::BadRequest),
        (ErrorKind::Authentication, FailureClass::Auth),
        (ErrorKind::Timeout, FailureClass::Transient),
        (ErrorKind::ApiConnection, FailureClass::Transient),
        (ErrorKind::IncompleteStream, FailureClass::Transient),
        (ErrorKind::ApiResponseValidation, FailureClass::Transient),
        (ErrorKind::Internal, FailureClass::BadRequest),
    ] {
        // Words count in answers of a provider alone.
        assert_eq!(failure_class(&Error::new(kind, "m: insufficient_quota")), class, "{kind:?}");
    }
}

#[test]
fn tokens_count_as_each_provider_says() {
    let rules = |provider: &str, model: &str| {
        let rules = lookup(provider).unwrap().token_rules(model);
        (rules.reserves_max_tokens, rules.output_weight, rules.cached_reads_free)
    };
    assert_eq!(rules("openai", "gpt-4o"), (true, 1, false));
    assert_eq!(rules("azure", "d"), (true, 1, false));
    assert_eq!(rules("anthropic", "claude-sonnet-4-5"), (false, 1, true));
    assert_eq!(rules("gemini", "gemini-3-pro"), (false, 0, false));
    assert_eq!(rules("groq", "m"), (true, 1, true));
    for (model, weight) in [
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", 1),
        ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", 5),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", 5),
        ("us.anthropic.claude-opus-4-8", 15),
        ("us.anthropic.claude-opus-5", 10),
        ("us.openai.gpt-5.6-sol", 10),
        ("openai.gpt-oss-120b-1:0", 1),
        ("us.amazon.nova-2-lite-v1:0", 1),
    ] {
        assert_eq!(rules("bedrock", model), (true, weight, true), "{model}");
    }
}

#[test]
fn the_table_is_consistent() {
    for provider in all() {
        let row = provider.row();
        let windows = row.rate_limits.windows;
        assert!(windows.len() <= MAX_WINDOWS, "{}", row.name);
        let mut names: Vec<&str> =
            windows.iter().flat_map(|window| [window.limit, window.remaining, window.reset]).collect();
        names.retain(|name| !name.is_empty());
        for name in &names {
            assert!(headers::may_tell(name.as_bytes()), "{name}");
            assert!(headers::may_tell(name.to_ascii_uppercase().as_bytes()), "{name}");
            assert_eq!(*name, name.to_ascii_lowercase());
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{} has a field twice", row.name);
        assert!(windows.is_empty() || !row.rate_limits.sources.is_empty(), "{}", row.name);
    }
    for rule in failures::RULES {
        assert_eq!(rule.words, rule.words.to_lowercase());
        assert!(rule.host.is_empty() || lookup(rule.host).is_some(), "{}", rule.host);
    }
}

/// Whatever a host sends is read to its end.
#[test]
fn any_bytes_are_read() {
    let mut random = fastrand::Rng::with_seed(16);
    let providers: Vec<_> = all().collect();
    let pieces = [
        "-",
        "1",
        "9999999999",
        "1e9",
        ".",
        "m",
        "s",
        "ms",
        "T",
        "Z",
        ":",
        " ",
        "GMT",
        "\u{b5}",
        "\u{0}",
        "2024-05-01",
        "Wed, 01 May 2024",
    ];
    for _ in 0..200 {
        let provider = random.choice(&providers).unwrap();
        let row = provider.row().rate_limits;
        let names = row.windows.iter().flat_map(|window| [window.limit, window.remaining, window.reset]);
        let mut text = String::new();
        for name in names.chain(["date", "retry-after", "retry-after-ms", "x-ratelimit-timeremaining"]) {
            let value: String = (0..random.usize(0..6)).map(|_| *random.choice(&pieces).unwrap()).collect();
            text += &format!("{name}:{value}\n");
        }
        let body = format!(
            r#"{{"error":{{"message":"Please try again in {text:?}","details":[{{"violations":[{{"quotaId":{text:?}}}]}}]}}}}"#
        );
        for window in &refused(provider.row().name, 429, &text, &body).windows {
            let is_possible = |limit: u64| limit > 0 && window.remaining.is_none_or(|left| left <= limit * 2);
            assert!(window.limit.is_none_or(is_possible), "{window:?}");
        }
    }
}
