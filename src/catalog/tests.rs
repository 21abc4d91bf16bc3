use serde_json::{Value, json};

use super::*;
use crate::types::usage::Usage;

fn provider(name: &str) -> Option<&'static str> {
    ["one", "two"].into_iter().find(|known| *known == name)
}

fn table(value: Value) -> Catalog {
    Catalog::of_table(&value, provider).unwrap()
}

fn refused(value: Value) -> String {
    Catalog::of_table(&value, provider).unwrap_err().message
}

/// The input price of a model, as the name of the entry that was found.
fn found(catalog: &Catalog, provider: &str, model: &str) -> Option<f64> {
    let usage = Usage { input: 1_000_000, ..Usage::default() };
    catalog.find(provider, model)?.cost(&usage, 0)
}

#[test]
fn the_most_specific_entry_counts() {
    let catalog = table(json!({
        "one/*": {"input": 1}, "one/a*": {"input": 2}, "one/ab*c": {"input": 3}, "one/abc": {"input": 4},
        "one/x-[0-9]?": {"input": 5}, "*/zz": {"input": 6}, "two/A*": {"input": 7}, "one/q/r*": {"input": 8},
        "one/[[]s]": {"input": 9}, "one/w[": {"input": 10},
    }));
    for (provider, model, expected) in [
        ("one", "abc", Some(4.0)),
        ("one", "ABC", Some(4.0)),
        ("one", "abxc", Some(3.0)),
        ("one", "abxcx", Some(2.0)),
        ("one", "b", Some(1.0)),
        ("one", "x-3é", Some(5.0)),
        ("one", "x-34x", Some(1.0)),
        ("one", "q/rs", Some(8.0)),
        ("one", "[s]", Some(9.0)),
        ("one", "w[", Some(10.0)),
        ("two", "zz", Some(6.0)),
        ("three", "zz", Some(6.0)),
        ("two", "abc", Some(7.0)),
        ("two", "b", None),
        ("three", "abc", None),
    ] {
        assert_eq!(found(&catalog, provider, model), expected, "{provider}/{model}");
        assert_eq!(found(&catalog, provider, model), expected, "{provider}/{model}, remembered");
    }
}

#[test]
fn of_several_tables_the_last_one_counts() {
    let mut catalog = table(json!({"one/a": {"input": 1}, "one/b": {"input": 2}}));
    assert_eq!(found(&catalog, "one", "a"), Some(1.0));
    catalog.add(table(json!({"one/a*": {"input": 3}})));
    assert_eq!((found(&catalog, "one", "a"), found(&catalog, "one", "b")), (Some(3.0), Some(2.0)));
}

#[test]
fn what_is_remembered_is_bounded() {
    let catalog = table(json!({"one/*": {"input": 1}}));
    for number in 0..=MAX_REMEMBERED {
        assert_eq!(found(&catalog, "one", &number.to_string()), Some(1.0));
    }
    assert_eq!(catalog.found.lock().unwrap()["one"].len(), 1);
}

#[test]
fn costs() {
    let catalog = table(json!({"one/m": {
        "context_window": 1000, "max_output_tokens": 100, "request": 0.01,
        "input": 3, "output": 15.0, "cached": 0.3, "cache_write": 3.75, "cache_write_hour": 6, "image_input": "input",
        "tiers": [{"above": 2_000_000, "input": 60, "output": 150}, {"above": 1_000_000, "input": 6}],
    }}));
    let model = catalog.find("one", "m").unwrap();
    assert_eq!((model.context_window, model.max_output_tokens), (Some(1000), Some(100)));
    assert!(model.is_too_small_for(1001) && !model.is_too_small_for(1000));
    // In billionths of a dollar.
    let cost = |usage: Usage| model.cost(&usage, 0).map(|cost| (cost * 1e9).round() as u64);
    assert_eq!(cost(Usage::default()), Some(10_000_000));
    let usage = Usage {
        input: 100_000,
        cached_read: 200_000,
        cache_write: 10_000,
        cache_write_hour: 5_000,
        ..Usage::default()
    };
    assert_eq!(cost(usage), Some(437_500_000));
    // Reasoning is output, and images are input as the table says.
    assert_eq!(
        cost(Usage { output: 10_000, reasoning: 20_000, image_input: 100_000, ..Usage::default() }),
        Some(760_000_000)
    );
    // All tokens have the price of the tier, which cached ones count for; what a tier does not have is the base's.
    assert_eq!(cost(Usage { input: 500_000, cached_read: 500_000, ..Usage::default() }), Some(1_660_000_000));
    assert_eq!(cost(Usage { input: 500_000, cached_read: 500_001, ..Usage::default() }), Some(3_160_000_300));
    assert_eq!(cost(Usage { input: 3_000_000, output: 1_000_000, ..Usage::default() }), Some(330_010_000_000));
    // Audio has no price.
    assert_eq!(cost(Usage { input: 1, audio_input: 1, ..Usage::default() }), None);
    assert_eq!(cost(Usage { input: 1, audio_output: 1, ..Usage::default() }), None);
    // Limits alone are no prices.
    let is_free = |entry: Value, at: u64| table(json!({ "one/m": entry })).find("one", "m").unwrap().is_free(at);
    for entry in [json!({"input": 0, "output": 0}), json!({"request": 0, "input": 0, "batch": 0.5})] {
        assert!(is_free(entry.clone(), 0), "{entry}");
    }
    for entry in [
        json!({"context_window": 9}),
        json!({"input": 0, "output": 1e-9}),
        json!({"input": 0, "output": 0, "request": 0.1}),
        json!({"input": 0, "output": 0, "second": 0.1}),
        json!({"input": 0, "output": 0, "tiers": [{"above": 9, "input": 1}]}),
        json!({"input": 0, "output": 0, "priority": {"input": 1}}),
    ] {
        assert!(!is_free(entry.clone(), 0), "{entry}");
    }
    assert_eq!(table(json!({"one/m": {"context_window": 9}})).find("one", "m").unwrap().cost(&usage, 0), None);
}

#[test]
fn prices_of_a_time() {
    let catalog = table(json!({"one/m": {"periods": [
        {"input": 1}, {"from": "2026-01-01", "input": 2}, {"daily": ["16:30", "00:30"], "input": 3}, {"from": "2100-03-01", "input": 4},
    ]}}));
    let at = |seconds: u64| {
        catalog.find("one", "m").unwrap().cost(&Usage { input: 1_000_000, ..Usage::default() }, seconds).unwrap()
    };
    const NEW_YEAR: u64 = 1_767_225_600;
    assert_eq!(at(12 * 3600), 1.0);
    assert_eq!((at(0), at(30 * 60 - 1), at(30 * 60)), (3.0, 3.0, 1.0));
    assert_eq!((at(NEW_YEAR - 8 * 3600), at(NEW_YEAR + 3600)), (1.0, 2.0));
    assert_eq!((at(4_107_542_400 - 12 * 3600), at(4_107_542_400)), (2.0, 4.0));
    // None is valid yet: the first one counts.
    let later = table(json!({"one/m": {"periods": [{"from": "2026-01-01", "input": 5}]}}));
    assert_eq!(found(&later, "one", "m"), Some(5.0));
}

#[test]
fn lists_of_rules() {
    let catalog = Catalog::of_lists(&json!({
        "lists": {
            "a": [
                {"match": {"all": ["g*", {"not": {"any": ["*-tts", "*-tts-*"]}}]}, "input": 1},
                {"match": "gpt-2025-12-11", "input": 2},
                {"match": "*", "input": 3},
            ],
            "b": [{"match": "h", "input": 4}],
        },
        "providers": {"one": ["b", "a"], "two": ["b"]},
    }))
    .unwrap();
    assert_eq!(found(&catalog, "one", "g"), Some(1.0));
    assert_eq!(found(&catalog, "one", "g-tts"), Some(3.0));
    assert_eq!((found(&catalog, "one", "h"), found(&catalog, "two", "h")), (Some(4.0), Some(4.0)));
    assert_eq!(found(&catalog, "two", "g"), None);
    for (broken, says) in [
        (json!({"lists": {}}), "catalog[\"providers\"]"),
        (json!({"lists": {"a": [{"input": 1}]}, "providers": {}}), "[\"match\"]"),
        (json!({"lists": {}, "providers": {"one": ["c"]}}), "is \"c\""),
    ] {
        let message = Catalog::of_lists(&broken).unwrap_err().message;
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn dates_with_and_without_dashes() {
    let catalog = table(json!({"one/m-2025-12-11": {"input": 1}, "one/n-20251211": {"input": 2}}));
    for (model, expected) in [
        ("m-2025-12-11", Some(1.0)),
        ("m-20251211", Some(1.0)),
        ("n-20251211", Some(2.0)),
        ("m-20251311", None),
        ("m-2025121", None),
        ("m-202512111", None),
    ] {
        assert_eq!(found(&catalog, "one", model), expected, "{model}");
    }
    assert_eq!(with_dashed_date("x-20251211:free").as_deref(), Some("x-2025-12-11:free"));
    assert_eq!(with_dashed_date("é-2025121é"), None);
}

#[test]
fn what_cannot_be_used_is_named() {
    for (broken, says) in [
        (json!([]), "catalog is of type list: a dict of \"provider/model\""),
        (json!({"one": {}}), "the key \"one\": \"provider/model\""),
        (json!({"one/": {}}), "the key \"one/\""),
        (json!({"three/m": {}}), "names no known provider"),
        (json!({"one/m": 3}), "catalog[\"one/m\"] is 3: a dict of limits"),
        (
            json!({"one/m": {"input": "cheap"}}),
            "catalog[\"one/m\"][\"input\"] is \"cheap\": a number of US dollars per million",
        ),
        (json!({"one/m": {"input": -1}}), "catalog[\"one/m\"][\"input\"] is -1: "),
        (json!({"one/m": {"input": []}}), "catalog[\"one/m\"][\"input\"] is of type list: "),
        (json!({"one/m": {"inputs": 1}}), "catalog[\"one/m\"][\"inputs\"] has no meaning: did you mean \"input\"?"),
        (json!({"one/m": {"context_window": 0}}), "catalog[\"one/m\"][\"context_window\"] is 0: a number of tokens"),
        (json!({"one/m": {"tiers": [{"input": 1}]}}), "catalog[\"one/m\"][\"tiers\"][0][\"above\"] is of type None"),
        (json!({"one/m": {"periods": [{"from": "soon"}]}}), "[\"from\"] is \"soon\": a date such as"),
        (json!({"one/m": {"periods": [], "input": 1}}), "excludes \"input\" beside it"),
        (json!({"one/m": {"daily": ["1", "2"], "input": 1}}), "two times of day in UTC"),
    ] {
        let message = refused(broken);
        assert!(message.contains(says), "{message}");
    }
}
