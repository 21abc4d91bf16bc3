use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::*;
use crate::bulk::identity::Identities;
use crate::bulk::row::{Place, Source};
use crate::bulk::template::{Template, TemplateSpec};
use crate::error::Error;

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ritellm-input-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// All rows of a source: their places' lines and their text, or what is wrong.
fn rows(source: &mut dyn Source) -> Result<Vec<(u64, String)>, Box<Error>> {
    let mut rows = Vec::new();
    while let Some(row) = source.next()? {
        assert_eq!(row.number, rows.len() as u64);
        let text = match row.json {
            Ok(json) => String::from_utf8(json.to_vec()).unwrap(),
            Err(error) => error.message,
        };
        rows.push((row.place.line, text));
    }
    Ok(rows)
}

fn read(path: &Path) -> Result<Vec<(u64, String)>, Box<Error>> {
    rows(&mut Files::new([path.to_owned()], None)?.open())
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn owned(rows: &[(u64, &str)]) -> Vec<(u64, String)> {
    rows.iter().map(|(line, text)| (*line, (*text).to_owned())).collect()
}

#[test]
fn lines_are_read_as_they_are_written() {
    let folder = Folder::new();
    for (content, right) in [
        ("", &[][..]),
        ("\u{feff}", &[]),
        ("\n \r\n\t\n", &[]),
        ("{\"a\":1}", &[(1, "{\"a\":1}")]),
        ("\u{feff}{\"a\":1}\r\n\r\n  {\"b\":2}  \n", &[(1, "{\"a\":1}"), (3, "{\"b\":2}")]),
        ("{\"a\":\"\u{2028}\u{2029}\u{85}\r\"}\n{}", &[(1, "{\"a\":\"\u{2028}\u{2029}\u{85}\r\"}"), (2, "{}")]),
    ] {
        assert_eq!(read(&folder.file("a.jsonl", content)).unwrap(), owned(right), "{content:?}");
    }
}

#[test]
fn a_bad_line_is_a_row_with_an_error() {
    let folder = Folder::new();
    let path = folder.file("a.jsonl", b"{\"n\":0}\n{\"a\":\"\xe9\"}\nhello\n{\"a\":\"\0\"}\n[1]\n\0\0\0\n{\"n\":6}");
    let name = path.display();
    let right = [
        (1, "{\"n\":0}".to_owned()),
        (2, format!("{name}, line 2 is no UTF-8: the byte 0xe9 at position 6 is in no character")),
        (3, format!("{name}, line 3 is no JSON object: it begins with \"hello\"")),
        (4, format!("{name}, line 4 holds a NUL byte at position 6: was the file cut off or not written to the end?")),
        (5, format!("{name}, line 5 is no JSON object: it begins with \"[1]\"")),
        (6, format!("{name}, line 6 holds a NUL byte at position 0: was the file cut off or not written to the end?")),
        (7, "{\"n\":6}".to_owned()),
    ];
    assert_eq!(read(&path).unwrap(), right);
}

#[test]
fn a_line_that_is_too_long_is_skipped() {
    let folder = Folder::new();
    // Longer than the blocks in which a file is read, so that lines are joined.
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(700_000));
    let path = folder.file("a.jsonl", format!("{{}}\n{long}\n{{\"b\":1}}\n{long}"));
    let read = |max| rows(&mut Files::new([path.clone()], None).unwrap().max_row(max).open()).unwrap();
    assert_eq!(
        read(1 << 20),
        [(1, "{}".to_owned()), (2, long.clone()), (3, "{\"b\":1}".to_owned()), (4, long.clone())]
    );
    for max in [100, 300_000, long.len() - 1] {
        let short = read(max);
        let name = path.display();
        assert_eq!(short[1].1, format!("{name}, line 2 is longer than {max} bytes, the maximum of a row"));
        assert_eq!((short[2].0, &short[2].1[..], short[3].0), (3, "{\"b\":1}", 4));
    }
}

#[test]
fn blocks_end_anywhere() {
    let folder = Folder::new();
    let mut random = fastrand::Rng::with_seed(1);
    for round in 0..5 {
        let lines: Vec<String> =
            (0..2000).map(|index| format!("{{\"n\":{index},\"a\":\"{}\"}}", "é".repeat(random.usize(..400)))).collect();
        let text = lines.join("\n");
        let content = match round {
            0 | 1 => text.clone().into_bytes(),
            2 => gzip(text.as_bytes()),
            // Members and frames one after the other, cut anywhere; zeros at the end, as archivers leave them.
            3 => [gzip(&text.as_bytes()[..1001]), gzip(&text.as_bytes()[1001..]), vec![0; 300_000]].concat(),
            _ => {
                let frame = |text: &[u8]| zstd::encode_all(text, 1).unwrap();
                [frame(&text.as_bytes()[..7]), frame(&text.as_bytes()[7..])].concat()
            }
        };
        let read: Vec<String> =
            read(&folder.file("a.jsonl", content)).unwrap().into_iter().map(|(_, text)| text).collect();
        assert!(read == lines, "round {round}");
    }
}

#[test]
fn a_file_that_is_cut_off_ends_with_an_error_at_its_place() {
    let folder = Folder::new();
    let mut random = fastrand::Rng::with_seed(2);
    let text: String = (0..20_000).map(|index| format!("{{\"n\":{index},\"r\":{}}}\n", random.u64(..))).collect();
    for whole in [gzip(text.as_bytes()), zstd::encode_all(text.as_bytes(), 1).unwrap()] {
        let path = folder.file("a.jsonl.gz", &whole[..whole.len() / 2]);
        let mut source = Files::new([path.clone()], None).unwrap().open();
        let mut count = 0;
        let error = loop {
            match source.next() {
                Ok(Some(row)) => {
                    assert!(row.json.is_ok_and(|json| json.ends_with(b"}")));
                    count += 1;
                }
                Ok(None) => panic!("the end is missing"),
                Err(error) => break error,
            }
        };
        assert!(count > 1000);
        let start = format!("{} cannot be read on from line {}: ", path.display(), count + 1);
        assert!(error.message.starts_with(&start), "{}", error.message);
        let mut broken = whole.clone();
        let middle = broken.len() / 2;
        broken[middle..middle + 40].fill(0);
        assert!(read(&folder.file("a.jsonl.gz", broken)).is_err());
    }
}

#[test]
fn a_file_that_changes_is_an_error() {
    let folder = Folder::new();
    let line = "{\"a\":1}\n";
    let path = folder.file("a.jsonl", line);
    let files = Files::new([path.clone()], None).unwrap();
    folder.file("a.jsonl", line.repeat(2));
    let error = files.open().next().unwrap_err();
    assert!(
        error.message.ends_with("it has changed since the job began to read it, from 8 to 16 bytes"),
        "{}",
        error.message
    );
    // While it is read, and between two blocks.
    let path = folder.file("b.jsonl", line.repeat(100_000));
    let mut source = Files::new([path.clone()], None).unwrap().open();
    source.next().unwrap().unwrap();
    let file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    (&file).write_all(b"{}").unwrap();
    let error = loop {
        match source.next() {
            Ok(row) => assert!(row.is_some()),
            Err(error) => break error,
        }
    };
    assert!(error.message.contains("b.jsonl cannot be read on from line "), "{}", error.message);
    // The same size and another time.
    let files = Files::new([path.clone()], None).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let error = files.open().next().unwrap_err();
    assert!(error.message.ends_with("it has been written since the job began to read it"), "{}", error.message);
}

#[test]
fn files_that_cannot_be_rows_say_what_they_are() {
    let folder = Folder::new();
    for (content, right) in [
        (&b"PAR1\0\0"[..], "is Parquet"),
        (b"PK\x03\x04..", "is a zip archive or an Excel sheet"),
        (b"\xff\xfe{\0", "is UTF-16"),
        (b"BZh9", "is compressed with bzip2"),
        (b"[\n{\"a\":1},\n{\"a\":2}]", "is one JSON list"),
        (b"[{\"a\":1}]", "is one JSON list"),
    ] {
        let path = folder.file("a.jsonl", content);
        let error = read(&path).unwrap_err();
        assert!(error.message.starts_with(&format!("{} {right}", path.display())), "{}", error.message);
        let error = read(&folder.file("a.gz", gzip(content))).unwrap_err();
        assert!(error.message.contains(right), "{}", error.message);
    }
    let missing = Files::new([folder.0.join("none.jsonl")], None).unwrap_err();
    assert!(missing.message.contains("none.jsonl cannot be read: No such file"), "{}", missing.message);
    assert!(Files::new([folder.0.clone()], None).unwrap_err().message.contains("is a folder"));
    assert!(Files::new([], None).unwrap_err().message.starts_with("there is no file"));
}

#[test]
fn files_are_read_in_order() {
    let folder = Folder::new();
    let paths = [
        folder.file("b.jsonl", "{\"n\":0}\nbad"),
        folder.file("empty.csv", ""),
        folder.file("a.csv", "n\n1\n"),
        folder.file("c", gzip(b"\xef\xbb\xbf{\"n\":2}")),
        folder.file("d", "n;m\n3;4"),
    ];
    let files = Files::new(paths.clone(), None).unwrap();
    for _ in 0..2 {
        let mut source = files.open();
        assert_eq!(source.progress(), Some(0.0));
        let read = rows(&mut source).unwrap();
        assert_eq!(source.progress(), Some(1.0));
        let right = [
            (1, "{\"n\":0}".to_owned()),
            (2, format!("{}, line 2 is no JSON object: it begins with \"bad\"", paths[0].display())),
            (2, "{\"n\":\"1\"}".to_owned()),
            (1, "{\"n\":2}".to_owned()),
            (2, "{\"n\":\"3\",\"m\":\"4\"}".to_owned()),
        ];
        assert_eq!(read, right);
    }
    assert!(files.can_rescan());
    let size: u64 = paths.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert_eq!(files.size(), Some(size));
}

#[test]
fn progress_is_of_the_rows_that_were_taken() {
    let folder = Folder::new();
    // Lines of one length that compress alike; each file is read, and its blocks are decompressed, far ahead of them.
    let rows = 4000;
    let lines: String =
        (0..rows).map(|row| format!("{{\"n\":\"{:016x}\"}}\n", (row as u64 + 1).wrapping_mul(!0 / 59))).collect();
    let csv: String =
        ["n".to_owned()].into_iter().chain((0..rows).map(|row| format!("{row:020}"))).map(|line| line + "\n").collect();
    let zstd = zstd::encode_all(lines.as_bytes(), 1).unwrap();
    for (name, content, slack) in [
        ("a.jsonl", lines.clone().into_bytes(), 0.0),
        ("a.csv", csv.into_bytes(), 0.001),
        ("a.jsonl.gz", gzip(lines.as_bytes()), 0.25),
        ("a.jsonl.zst", zstd, 0.25),
    ] {
        let files = Files::new([folder.file(name, content)], None).unwrap();
        let mut source = files.open();
        for row in 1..=rows {
            source.next().unwrap().unwrap();
            let (progress, part) = (source.progress().unwrap(), f64::from(row) / f64::from(rows));
            assert!((progress - part).abs() <= slack + 1e-9, "{name}: {progress} after {part}");
        }
        assert!(source.next().unwrap().is_none());
        assert_eq!(source.progress(), Some(1.0));
    }
}

#[test]
fn files_that_were_put_together() {
    let folder = Folder::new();
    let texts = |path: PathBuf| read(&path).unwrap().into_iter().map(|(_, text)| text).collect::<Vec<_>>();
    let bom = "\u{feff}";
    assert_eq!(
        texts(folder.file("a.jsonl", format!("{bom}{{\"n\":1}}\r\n{bom}{{\"n\":2}}"))),
        ["{\"n\":1}", "{\"n\":2}"]
    );
    let zeros = [gzip(b"{\"n\":1}\n"), vec![0; 3], gzip(b"{\"n\":2}\n"), vec![0; 512]].concat();
    assert_eq!(texts(folder.file("b.jsonl.gz", zeros)), ["{\"n\":1}", "{\"n\":2}"]);
    let garbage = [gzip(b"{\"n\":1}\n"), b"\0\0garbage".to_vec()].concat();
    assert!(read(&folder.file("c.jsonl.gz", garbage)).is_err());
    // A comma within a name separates nothing.
    assert_eq!(texts(folder.file("a.tsv", "name, first\tn\na, b\t1")), ["{\"name, first\":\"a, b\",\"n\":\"1\"}"]);
    assert_eq!(texts(folder.file("b.csv", "\"a, \"\"b\"\"\";n\n1;2")), ["{\"a, \\\"b\\\"\":\"1\",\"n\":\"2\"}"]);
}

#[test]
fn records_become_objects_of_strings() {
    let folder = Folder::new();
    let path = folder.file(
        "a.csv",
        b"\xef\xbb\xbfid,\"a \"\"b\"\"\"\r\n1,\"x\r\ny, \"\"z\"\"\"\r\n\r\n2\r\n3,\xe9\r\n4,,\r\n5,\xc3\xa9\xe2\x80\xa8",
    );
    let name = path.display();
    let right = [
        (2, r#"{"id":"1","a \"b\"":"x\r\ny, \"z\""}"#.to_owned()),
        (5, format!("{name}, line 5 has 1 fields, and the header 2")),
        (6, format!("{name}, line 6 is no UTF-8: the byte 0xe9 is in no character")),
        (7, format!("{name}, line 7 has 3 fields, and the header 2")),
        (8, "{\"id\":\"5\",\"a \\\"b\\\"\":\"é\u{2028}\"}".to_owned()),
    ];
    assert_eq!(read(&path).unwrap(), right);
    // The same lines where they end with LF alone, and the last one does.
    let text = fs::read(&path).unwrap();
    let text: Vec<u8> = text.into_iter().filter(|byte| *byte != b'\r').collect();
    for end in [&b""[..], b"\n", b"\n\n"] {
        let read = read(&folder.file("a.csv", [&text, end].concat())).unwrap();
        assert_eq!(read.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 5, 6, 7, 8], "{end:?}");
    }
    let error = read(&folder.file("b.csv", "a,b,a\n1,2,3")).unwrap_err();
    assert!(error.message.ends_with("the header has the column \"a\" twice"), "{}", error.message);
    // A quote that is not closed does not read the rest of the file into memory.
    let path = folder.file("c.tsv", format!("a\tb\n1\t2\n3\t\"4\n{}", "5\t6\n".repeat(500_000)));
    let mut source = Files::new([path.clone()], None).unwrap().max_row(1 << 20).open();
    assert!(source.next().unwrap().unwrap().json.is_ok());
    let error = source.next().unwrap_err();
    let right = "cannot be read on from line 3: a record is longer than 1 MB: is a quote not closed?";
    assert!(error.message.ends_with(right), "{}", error.message);
}

#[test]
fn the_first_rows_tell_the_columns_and_are_not_lost() {
    let folder = Folder::new();
    let path = folder.file("a.jsonl", "{\"a\":1,\"\\u0062\":2}\nbad\n{\"c\":3,\"a\":{\"d\":1}}\n{\"e\":1}");
    let files = Files::new([path], None).unwrap();
    for (count, right) in [(0, &[][..]), (1, &["a", "b"]), (3, &["a", "b", "c"]), (9, &["a", "b", "c", "e"])] {
        let mut peeked = Peeked::new(files.open());
        let right = (count > 0).then(|| right.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(peeked.columns(count).unwrap(), right);
        assert_eq!(rows(&mut peeked).unwrap(), rows(&mut files.open()).unwrap());
    }
}

#[test]
fn rows_are_looked_at_until_one_can_be_read() {
    let folder = Folder::new();
    for (bad, right) in [(99, Some(vec!["a".to_owned()])), (100, None)] {
        // Cut, no object, and blank.
        let lines = ["{\"a\": 1", "[1]", "bad"];
        let text: String = (0..bad).map(|line| format!("{}\n", lines[line % 3])).collect();
        let path = folder.file("a.jsonl", format!("{text}{{\"a\":1}}\n{{\"b\":2}}\n"));
        let files = Files::new([path], None).unwrap();
        let mut peeked = Peeked::new(files.open());
        assert_eq!(peeked.columns(1).unwrap(), right, "{bad}");
        assert_eq!(rows(&mut peeked).unwrap(), rows(&mut files.open()).unwrap());
    }
}

#[test]
fn rows_are_handed_over_no_faster_than_they_are_needed() {
    let (feeder, mut fed) = feed();
    let produced = Arc::new(AtomicUsize::new(0));
    let count = produced.clone();
    let thread = std::thread::spawn(move || {
        for index in 0..1000 {
            if !feeder.wait() {
                return;
            }
            count.store(index + 1, Ordering::SeqCst);
            match index {
                5 => feeder.put(Err("holds a set".to_owned())),
                _ => feeder.put(Ok(format!("{{\"n\":{index}}}").into())),
            }
        }
        feeder.fail(Error::argument("row 1000: no more"));
    });
    for index in 0..1000 {
        let row = fed.next().unwrap().unwrap();
        match index {
            5 => assert_eq!(row.json.unwrap_err().message, "row 5 holds a set"),
            _ => assert_eq!(row.json.unwrap(), format!("{{\"n\":{index}}}")),
        }
        let ahead = produced.load(Ordering::SeqCst) as u64 - (index + 1);
        assert!(ahead <= 2 + index / 8, "{ahead} rows ahead at {index}");
    }
    assert_eq!(fed.next().unwrap_err().message, "row 1000: no more");
    thread.join().unwrap();
    assert!(fed.next().unwrap().is_none());
}

#[test]
fn a_feeder_learns_that_rows_are_no_longer_wanted() {
    let (feeder, mut fed) = feed();
    feeder.put_lines(&Bytes::from_static(b"{\"a\":1}\n\n{\"a\":2}\nx\n"));
    assert!(!feeder.is_wanted());
    assert_eq!(fed.next().unwrap().unwrap().json.unwrap(), "{\"a\":1}");
    assert_eq!(fed.next().unwrap().unwrap().json.unwrap(), "{\"a\":2}");
    assert_eq!(fed.next().unwrap().unwrap().json.unwrap_err().message, "row 2 is no JSON object: it begins with \"x\"");
    assert!(feeder.is_wanted());
    feeder.put(Ok(Bytes::from_static(b"{}")));
    let thread = std::thread::spawn(move || feeder.wait());
    drop(fed);
    assert!(!thread.join().unwrap());
    let (feeder, mut fed) = feed();
    drop(feeder);
    assert!(fed.next().unwrap().is_none());
}

/// CPU time of this thread, of the kernel's own clock: other programs are running.
fn cpu_nanoseconds() -> f64 {
    let schedule = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    schedule.split(' ').next().unwrap().parse().unwrap()
}

/// Speed of reading, of templates and of keys, with lines of 500 bytes:
/// `CARGO_PROFILE_TEST_OPT_LEVEL=3 cargo test --lib --no-default-features speed_of_reading -- --ignored --nocapture`.
#[test]
#[ignore = "measures"]
fn speed_of_reading() {
    let folder = Folder::new();
    let text = "lorem ipsum é \\n".repeat(28);
    let lines: String = (0..400_000).map(|index| format!("{{\"id\":{index},\"text\":\"{text}\"}}\n")).collect();
    let records: String = (0..400_000).map(|index| format!("{index},\"{text}\"\n")).collect();
    let body = |index| {
        format!(
            "{{\"custom_id\":\"{index}\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{{\"model\":\"m\",\"messages\":[{{\"role\":\"user\",\"content\":\"{text}\"}}]}}}}\n"
        )
    };
    let paths = [
        folder.file("lines.jsonl", &lines),
        folder.file("zstd.jsonl.zst", zstd::encode_all(lines.as_bytes(), 1).unwrap()),
        folder.file("records.csv", format!("id,text\n{records}")),
        folder.file("batch.jsonl", (0..400_000).map(body).collect::<String>()),
    ];
    for (index, path) in paths.into_iter().enumerate() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let measure = |work: &mut dyn FnMut(&Bytes)| {
            let mut source = Files::new([path.clone()], None).unwrap().open();
            let (mut bytes, mut rows) = (0, 0);
            let start = cpu_nanoseconds();
            while let Some(row) = source.next().unwrap() {
                let json = row.json.unwrap();
                bytes += json.len();
                rows += 1;
                work(&json);
            }
            let seconds = (cpu_nanoseconds() - start) / 1e9;
            println!(
                "{name}: {:.0} MB/s, {:.2} µs a row",
                bytes as f64 / seconds / 1e6,
                seconds / f64::from(rows) * 1e6
            );
        };
        measure(&mut |_| {});
        let spec = match index {
            3 => TemplateSpec::default(),
            _ => TemplateSpec { prompt: Some("Classify: {text}".into()), ..TemplateSpec::default() },
        };
        let template = Template::new(spec, &if index == 3 { vec![] } else { vec!["text".to_owned()] }).unwrap();
        let place = Place { file: None, line: 0 };
        measure(&mut |json| drop(template.call(json, &place).unwrap()));
        let mut identities = Identities::new(false);
        measure(&mut |json| {
            identities.key(&template.call(json, &place).unwrap()).unwrap();
        });
        println!("{} bytes a row for keys", identities.size() as f64 / 400_000.0);
    }
}
