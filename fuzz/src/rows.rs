//! Files of rows, as a job reads them.

use std::collections::HashSet;
use std::path::Path;

use ritellm::bulk::identity::{Identities, Key};
use ritellm::bulk::input::{Files, Format};
use ritellm::bulk::row::Source;
use ritellm::bulk::template::{Template, TemplateSpec};

/// Maximum size of a row, small enough for the fuzzer to reach.
const MAX_ROW: usize = 1024;

/// A row as a job sees it: its key and its body, or what is wrong with it.
type Seen = Result<(Key, String), String>;

/// Reads a file of rows twice, as JSONL or as CSV by the first byte. `path` is written.
///
/// # Panics
///
/// A row that is no JSON object is taken for one, rows are not numbered one by one, two rows have the same key, or the second
/// reading differs from the first.
pub fn check_rows(path: &Path, input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else { return };
    std::fs::write(path, bytes).expect("the file can be written");
    let format = [None, Some(Format::Lines), Some(Format::Csv)][usize::from(choice % 3)];
    let files = Files::new([path.to_owned()], format).expect("the file is there").max_row(MAX_ROW);
    let spec = TemplateSpec { model: Some("m".into()), ..TemplateSpec::default() };
    let template = Template::new(spec, &[]).expect("it has no fields");
    let first = read(&files, &template);
    let keys: Vec<Key> = first.0.iter().filter_map(|row| row.as_ref().ok().map(|(key, _)| *key)).collect();
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len(), "two rows have the same key");
    assert_eq!(first, read(&files, &template), "it depends on more than the file");
}

/// Returns the rows, and the message if the file cannot be read to its end.
fn read(files: &Files, template: &Template) -> (Vec<Seen>, Option<String>) {
    let (mut rows, mut identities) = (Vec::new(), Identities::default());
    let mut source = files.open();
    loop {
        let row = match source.next() {
            Ok(Some(row)) => row,
            Ok(None) => return (rows, None),
            Err(error) => return (rows, Some(error.message)),
        };
        assert_eq!(row.number, rows.len() as u64);
        let call = row.json.and_then(|json| {
            assert!(json.len() <= 8 * MAX_ROW && json.starts_with(b"{"), "{json:?}");
            template.call(&json, &row.place)
        });
        rows.push(match call {
            Err(error) => Err(error.message),
            Ok(mut call) => {
                let key = identities.key(&call);
                call.params.close();
                let body = call.params.as_body("m", false, &[]);
                assert!(serde_json::from_slice::<&serde_json::value::RawValue>(&body).is_ok(), "{body:?}");
                key.map(|key| (key, String::from_utf8_lossy(&body).into_owned()))
                    .map_err(|conflict| format!("{conflict:?}"))
            }
        });
    }
}
