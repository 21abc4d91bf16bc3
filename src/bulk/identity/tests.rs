use std::collections::{HashMap, HashSet};

use super::*;
use crate::types::operation::Operation;
use crate::types::params::Params;

fn call(id: Option<&str>, model: &str, body: &str) -> RowCall {
    RowCall {
        id: id.map(Into::into),
        operation: Operation::Chat,
        model: Some(model.into()),
        params: Params::from_json(body.as_bytes()).unwrap(),
    }
}

#[test]
fn hashes_are_those_of_the_first_version() {
    // They are in the journals of users: if one of these changes, every finished row is bought again.
    let call = call(
        Some("row-7"),
        "openai/gpt-4o-mini",
        r#"{"messages":[{"role":"user","content":"Hé\n"}],"temperature":0.5}"#,
    );
    assert_eq!(content(&call), CONTENT);
    let mut identities = Identities::new(false);
    let rows: Vec<u64> =
        [Some("row-7"), None, None, None].map(|id| identities.key_of(id, CONTENT).unwrap().0.row).into();
    assert_eq!(rows, ROWS);
}

const CONTENT: u64 = 4_364_255_100_926_369_795;
const ROWS: [u64; 4] =
    [2_487_483_099_950_081_305, 770_968_716_658_306_822, 12_344_875_317_510_084_803, 1_748_931_610_242_865_040];

#[test]
fn only_what_is_asked_for_makes_a_difference() {
    let base = r#"{"messages":[{"role":"user","content":"a/b"}],"temperature":1}"#;
    let of = |body: &str| content(&call(None, "m", body));
    for same in [
        r#"{ "temperature" : 1.0, "messages": [ {"role":"user", "content":"a\/b"} ] }"#,
        r#"{"messages":[{"role":"user","content":"\u0061/b"}],"temperature":1e0}"#,
    ] {
        assert_eq!(of(base), of(same), "{same}");
    }
    for other in [
        r#"{"messages":[{"role":"user","content":"a/b "}],"temperature":1}"#,
        r#"{"messages":[{"role":"user","content":"a/b"}],"temperature":1.5}"#,
        r#"{"messages":[{"role":"user","content":"a/b"}],"temperature":"1"}"#,
        r#"{"messages":[{"role":"user","content":"a/b"}],"top_p":1}"#,
        r#"{"messages":[{"role":"user","content":"a/b"}]}"#,
        // Models read a schema in its order.
        r#"{"messages":[{"content":"a/b","role":"user"}],"temperature":1}"#,
    ] {
        assert_ne!(of(base), of(other), "{other}");
    }
    assert_ne!(of(base), content(&call(None, "n", base)));
    let mut embedding = call(None, "m", base);
    embedding.operation = Operation::Embedding;
    assert_ne!(of(base), content(&embedding));
}

#[test]
fn an_id_with_another_content_is_a_conflict() {
    let mut identities = Identities::new(false);
    let first = identities.key_of(Some("a"), 1).unwrap().0;
    assert_eq!(identities.key_of(Some("a"), 2), Err(Conflict));
    // The same row twice is two calls, with or without an id.
    let again = identities.key_of(Some("a"), 1).unwrap().0;
    assert_ne!(first.row, again.row);
    assert_eq!(first.content, again.content);
    // An id is no content.
    assert_ne!(identities.key_of(None, 1).unwrap().0.row, first.row);
    assert_ne!(identities.key_of(Some("b"), 1).unwrap().0.row, first.row);
}

#[test]
fn equal_rows_are_counted() {
    let mut identities = Identities::new(false);
    let keys: HashSet<u64> = (0..5000).map(|_| identities.key_of(None, 7).unwrap().0.row).collect();
    assert_eq!(keys.len(), 5000);
    let mut identities = Identities::new(true);
    let keys: HashSet<u64> =
        (0..10).map(|index| identities.key_of((index > 4).then_some("a"), 7).unwrap().0.row).collect();
    assert_eq!(keys.len(), 1);
}

#[test]
fn a_second_reading_gives_the_same_keys() {
    let mut random = fastrand::Rng::with_seed(3);
    for dedupe in [false, true] {
        let rows: Vec<(Option<String>, u64)> = (0..2000)
            .map(|index| match random.u8(..3) {
                0 => (Some(format!("id-{index}")), random.u64(..50)),
                1 => (Some(format!("twice-{}", index / 2)), index / 2),
                _ => (None, random.u64(..200)),
            })
            .collect();
        let mut first = Identities::new(dedupe);
        let mut repeated = HashSet::new();
        let mut keys = Vec::new();
        for (id, content) in &rows {
            let (key, again) = first.key_of(id.as_deref(), *content).unwrap();
            keys.push(key);
            repeated.extend(again);
        }
        let mut second = Identities::of_repeated(repeated, dedupe);
        let again: Vec<Key> =
            rows.iter().map(|(id, content)| second.key_of(id.as_deref(), *content).unwrap().0).collect();
        assert_eq!(keys, again);
        assert!(second.size() < first.size());
    }
}

/// After edits exactly the changed rows run: as many as a multiset of the rows has more than before.
#[test]
fn edits_run_exactly_the_changed_rows() {
    let mut random = fastrand::Rng::with_seed(5);
    let keys = |rows: &[(Option<u64>, u64)]| -> HashSet<Key> {
        let mut identities = Identities::new(false);
        rows.iter()
            .map(|(id, content)| identities.key_of(id.map(|id| id.to_string()).as_deref(), *content).unwrap().0)
            .collect()
    };
    for round in 0..300 {
        let has_ids = round % 2 == 0;
        let count = random.u64(1..60);
        let mut next = count;
        let mut before: Vec<(Option<u64>, u64)> =
            (0..count).map(|index| (has_ids.then_some(index), random.u64(..if has_ids { 1000 } else { 10 }))).collect();
        let done = keys(&before);
        assert_eq!(done.len(), before.len());
        let mut count_before: HashMap<(Option<u64>, u64), i64> = HashMap::new();
        before.iter().for_each(|row| *count_before.entry(*row).or_default() += 1);
        for _ in 0..random.u8(..10) {
            let at = random.usize(..before.len());
            match random.u8(..4) {
                0 => before[at].1 = random.u64(..1000),
                1 => {
                    next += 1;
                    before.insert(at, (has_ids.then_some(next), random.u64(..20)));
                }
                2 if before.len() > 1 => drop(before.remove(at)),
                _ => {
                    let to = random.usize(..before.len());
                    before.swap(at, to);
                }
            }
        }
        let changed: i64 = {
            let mut counts = HashMap::new();
            before.iter().for_each(|row| *counts.entry(*row).or_insert(0_i64) += 1);
            counts.iter().map(|(row, count)| (count - count_before.get(row).unwrap_or(&0)).max(0)).sum()
        };
        let now = keys(&before);
        assert_eq!(now.len(), before.len());
        assert_eq!(now.difference(&done).count() as i64, changed, "{before:?}");
    }
}
