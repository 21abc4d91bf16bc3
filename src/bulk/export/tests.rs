//! Tests of the export.

use super::*;
use crate::bulk::journal::tests::Folder;
use crate::bulk::journal::{Journal, Options};
use crate::bulk::outcome::tests::{answered, failed, key, line};

#[test]
fn in_the_order_of_the_input() {
    let folder = Folder::new();
    let job = folder.0.join("job");
    let options = Options { segment_size: 3000, ..Options::default() };
    let journal = Journal::open(&job, &options).unwrap();
    let mut numbers: Vec<u64> = (0..60).collect();
    fastrand::Rng::with_seed(5).shuffle(&mut numbers);
    for number in &numbers {
        journal.append(failed(*number)).unwrap();
    }
    // The last outcome counts.
    for number in numbers.iter().filter(|number| **number % 4 != 0) {
        journal.append(answered(*number)).unwrap();
    }
    journal.flush().unwrap();
    // Row 10 was removed, so that the others moved up; one that has not run was added.
    let keys: Vec<u64> = (0..10).chain(11..60).chain([99]).collect();
    let mut exported = Vec::new();
    let reader = journal.reader();
    let counts = to_jsonl(&reader, keys.iter().map(|number| Ok(key(*number))), &mut exported).unwrap();
    assert_eq!(counts, Exported { done: 44, failed: 15, missing: 1 });
    let mut expected = Vec::new();
    for (place, number) in keys[..59].iter().enumerate() {
        let outcome = if number % 4 == 0 { failed(*number) } else { answered(*number) };
        expected.extend(line(&Outcome { number: place as u64, ..outcome }));
        expected.push(b'\n');
    }
    assert_eq!(String::from_utf8(exported), String::from_utf8(expected));
    let rows: Vec<Option<Outcome>> =
        Ordered::new(&reader, keys.iter().map(|number| Ok(key(*number)))).collect::<Result<_>>().unwrap();
    assert_eq!(rows.len(), 60);
    assert_eq!(rows[1], Some(answered(1)));
    assert_eq!(rows[10], Some(Outcome { number: 10, ..answered(11) }));
    assert_eq!(rows[10].as_ref().unwrap().custom_id(), "row-10");
    assert_eq!(rows[59], None);
    let broken = [Ok(key(1)), Err(Error::new(ErrorKind::InvalidArgument, "x"))];
    assert!(to_jsonl(&reader, broken, &mut Vec::new()).is_err());
}

#[test]
fn one_call_for_several_rows() {
    let folder = Folder::new();
    let journal = Journal::open(&folder.0.join("job"), &Options::default()).unwrap();
    let own = |id: &str| Some(RowId::Own(id.into()));
    journal.append(Outcome { id: Some("a\"1".into()), ..answered(0) }).unwrap();
    journal.append(answered(1)).unwrap();
    journal.flush().unwrap();
    let names =
        [(0, own("a\"1")), (0, own("b")), (0, Some(RowId::Numbered)), (1, own("row-1")), (1, None), (1, own("c"))];
    let rows = names.map(|(number, id)| Ok(RowName { key: key(number), id }));
    let ids: Vec<(u64, Option<Box<str>>, String)> = Ordered::new(&journal.reader(), rows)
        .map(|row| row.unwrap().unwrap())
        .map(|outcome| (outcome.number, outcome.id.clone(), outcome.custom_id().into_owned()))
        .collect();
    let expected = [Some("a\"1"), Some("b"), None, Some("row-1"), None, Some("c")];
    let shown = ["a\"1", "b", "row-2", "row-1", "row-4", "c"];
    for (number, (id, shown)) in expected.into_iter().zip(shown).enumerate() {
        assert_eq!(ids[number], (number as u64, id.map(Box::from), shown.to_owned()));
    }
}
