use std::collections::HashSet;
use std::time::Duration;

use super::*;
use crate::bulk::identity::{Key, key_of_bad};
use crate::bulk::row::Row;
use crate::bulk::template::TemplateSpec;

struct Given(std::vec::IntoIter<String>, u64, usize);

impl Given {
    fn new(rows: &[&str]) -> Self {
        Self(rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>().into_iter(), 0, rows.len())
    }
}

impl Source for Given {
    fn next(&mut self) -> Result<Option<Row>> {
        let Some(json) = self.0.next() else { return Ok(None) };
        let place = Place { file: Some("a".into()), line: self.1 + 1 };
        self.1 += 1;
        let json = if json == "bad" { Err(place.error("is bad")) } else { Ok(json.into()) };
        Ok(Some(Row { number: self.1 - 1, place, json }))
    }

    fn progress(&self) -> Option<f64> {
        Some(self.1 as f64 / self.2 as f64)
    }
}

fn template() -> Template {
    Template::new(TemplateSpec { prompt: Some("{t}".into()), ..TemplateSpec::default() }, &["t".to_owned()]).unwrap()
}

fn scan_of(rows: &[&str], template: &Template) -> Result<Scan> {
    scan(&mut Given::new(rows), template, false, Extent::Whole, |_| true)
}

#[test]
fn an_input_is_counted() {
    let rows = [
        r#"{"t": "a", "custom_id": "1"}"#,
        "bad",
        r#"{"t": "b"}"#,
        r#"{"x": "b"}"#,
        r#"{"t": "b"}"#,
        r#"{"t": "a", "custom_id": "2"}"#,
        r#"{"t": "b"}"#,
    ];
    let template = template();
    let scan = scan_of(&rows, &template).unwrap();
    assert_eq!((scan.rows, scan.bad, scan.with_id, scan.repeated, scan.part), (7, 2, 2, 2, 1.0));
    let right = ["a, line 2 is bad", "a, line 4 has no column \"t\": the rows have the column \"x\"."];
    assert_eq!(scan.bad_examples, right);
    // `"messages":[{"role":"user","content":"a"}]`
    assert_eq!((scan.bytes, scan.largest), (5 * 42, 42));
    assert_eq!(scan.loads[&None], Load { rows: 5, usage: Usage { input: 50, output: 2500, ..Usage::default() } });
    // A second reading gives every row a key of its own, the same as a first.
    let keys = |mut identities: Identities| -> Vec<Key> {
        let calls = rows.iter().filter_map(|row| template.call(row.as_bytes(), &Place { file: None, line: 0 }).ok());
        calls.map(|call| identities.key(&call).unwrap()).collect()
    };
    let first = keys(Identities::new(false));
    assert_eq!(first, keys(scan.identities()));
    assert_eq!(first.iter().collect::<HashSet<_>>().len(), 5);
    let places = [1, 2].map(|line| key_of_bad(&Place { file: Some("a".into()), line }));
    assert_ne!(places[0], places[1]);
    assert!(!first.contains(&places[0]));
}

#[test]
fn the_same_id_with_another_content_ends_the_reading() {
    let rows = [r#"{"t": "a", "custom_id": "x"}"#, r#"{"t": "b", "custom_id": "x"}"#];
    let error = scan_of(&rows, &template()).unwrap_err();
    assert_eq!(error.message, "a, line 2 has the id \"x\" of an earlier row, which asks for something else");
}

#[test]
fn a_part_stands_for_the_whole() {
    let row = r#"{"t": "aaaa", "max_tokens": 9}"#;
    let rows = vec![row; 100];
    let scan = scan(&mut Given::new(&rows), &template(), false, Extent::First(20), |_| true).unwrap();
    assert_eq!((scan.rows, scan.part, scan.estimated_rows()), (20, 0.2, 100));
    let load = scan.loads[&None].of_whole(scan.part);
    assert_eq!(load, Load { rows: 100, usage: Usage { input: 1100, output: 50_000, ..Usage::default() } });
}

#[test]
fn limits_make_a_time_of_a_load() {
    let load = Load { rows: 600, usage: Usage { input: 30_000, output: 6_000, ..Usage::default() } };
    let minute = Limit::per(Duration::from_secs(60));
    let quota = |limits: &[Limit]| QuotaSpec { limits: limits.to_vec(), ..QuotaSpec::default() };
    assert_eq!(load.seconds(&quota(&[])), None);
    assert_eq!(load.seconds(&quota(&[Limit { requests: Some(100), ..minute }])), Some(360.0));
    assert_eq!(load.seconds(&quota(&[Limit { requests: Some(100), tokens: Some(1800), ..minute }])), Some(1200.0));
    let of_output = Limit { output_tokens: Some(600), ..minute };
    assert_eq!(load.seconds(&quota(&[Limit { input_tokens: Some(30_000), ..minute }, of_output])), Some(600.0));
}
