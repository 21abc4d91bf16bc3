//! Tests of the journal: what it has after cuts, damage, full disks, failed fsyncs and power cuts.

mod faulty;

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;
use crate::bulk::outcome::tests::{answered, failed, key, line};
use faulty::{Fault, FaultyDisk};

/// A folder that is removed in the end.
pub(in crate::bulk) struct Folder(pub(in crate::bulk) PathBuf);

impl Folder {
    pub(in crate::bulk) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ritellm journal {} {number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn job(&self) -> PathBuf {
        self.0.join("job")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn small() -> Options {
    Options { segment_size: 4000, reserve: 1 << 16, ..Options::default() }
}

fn power() -> Options {
    Options { durability: Durability::Power, ..small() }
}

fn outcome(number: u64) -> Outcome {
    if number % 3 == 2 { Outcome { id: Some("own".into()), ..failed(number) } } else { answered(number) }
}

/// What a reader finds: for each number the attempts of its outcome, in the order of completion.
fn read(job: &Path) -> Vec<u64> {
    let mut outcomes = Reader::open(job).unwrap().outcomes();
    let mut numbers = Vec::new();
    while let Some(outcome) = outcomes.next_outcome().unwrap() {
        numbers.push(outcome.number);
    }
    numbers
}

fn find_all(journal: &Journal, count: u64) -> Vec<u64> {
    (0..count).filter(|number| journal.find(&key(*number)).is_some()).collect()
}

fn append(journal: &Journal, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        journal.append(outcome(number)).unwrap();
    }
}

/// Writes a job with one segment of these outcomes and returns the segment's content.
fn written(job: &Path, numbers: std::ops::Range<u64>) -> Vec<u8> {
    let journal = Journal::open(job, &Options::default()).unwrap();
    append(&journal, numbers);
    journal.close().unwrap();
    fs::read(segment::path_of(job, 1)).unwrap()
}

/// Returns what a job's segments have.
fn loaded(job: &Path) -> Known {
    super::load(job, None).unwrap().0
}

#[test]
fn written_and_read_again() {
    let folder = Folder::new();
    let journal = Journal::open(&folder.job(), &small()).unwrap();
    assert_eq!((journal.manifest(), journal.network_file_system()), (None, None));
    let progress = journal.progress();
    for number in 0..50 {
        assert_eq!(journal.append(outcome(number)).unwrap(), number + 1);
    }
    journal.flush().unwrap();
    assert_eq!((progress.borrow().landed, journal.backlog()), (50, 0));
    // Row 2 had failed and is answered.
    journal.append(answered(2)).unwrap();
    journal.flush().unwrap();
    let check = |counts: Counts, totals: Totals| {
        assert_eq!(counts, Counts { done: 35, failed: 15, damaged: 0 });
        assert_eq!((totals.outcomes, totals.attempts, totals.input_tokens), (51, 83, 35 * 20));
        assert!((totals.cost - 35.0 * 0.000_006).abs() < 1e-12);
    };
    check(journal.counts(), journal.totals());
    assert_eq!((journal.find(&key(2)), journal.find(&key(5))), (Some(State::Done), Some(State::Failed)));
    assert_eq!(journal.find(&Key { content: 1, ..key(2) }), None);
    let expected: Vec<u64> = (0..50).filter(|number| *number != 2).chain([2]).collect();
    assert_eq!(read(&folder.job()), expected);
    journal.close().unwrap();

    let journal = Journal::open(&folder.job(), &small()).unwrap();
    check(journal.counts(), journal.totals());
    assert_eq!(find_all(&journal, 60), (0..50).collect::<Vec<_>>());
    assert_eq!(read(&folder.job()), expected);
    let segments = segment::numbers(&folder.job()).unwrap();
    assert!(segments.len() > 5, "{segments:?}");
    drop(journal);
    #[cfg(unix)]
    for entry in fs::read_dir(folder.job().join("segments")).unwrap().chain(fs::read_dir(folder.job()).unwrap()) {
        let metadata = entry.unwrap().metadata().unwrap();
        if metadata.is_file() {
            assert_eq!(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777, 0o600);
        }
    }
}

/// Reads a segment's content, and returns which of the outcomes it has and the number of damaged places.
fn scanned(content: &[u8], count: u64) -> (Vec<u64>, u64) {
    let mut index = index::Index::default();
    let summary = segment::scan(content, 1, &mut index).unwrap();
    assert_eq!(
        (summary.length, summary.is_whole),
        (content.len() as u64, content.last().is_none_or(|byte| *byte == b'\n'))
    );
    ((0..count).filter(|number| index.find(&key(*number)).is_some()).collect(), summary.damaged)
}

#[test]
fn a_cut_loses_one_record() {
    let folder = Folder::new();
    let whole = written(&folder.job(), 0..4);
    let path = segment::path_of(&folder.job(), 1);
    let ends: Vec<usize> = memchr::memchr_iter(b'\n', &whole).collect();
    assert_eq!(ends.len(), 4);
    for length in 0..=whole.len() {
        let kept = ends.iter().filter(|end| **end <= length).count() as u64;
        assert_eq!(scanned(&whole[..length], 4).0, (0..kept).collect::<Vec<_>>(), "{length}");
    }
    for length in [0, 1, ends[1] - 1, ends[1], ends[1] + 1, ends[2] + 100, whole.len()] {
        fs::write(&path, &whole[..length]).unwrap();
        let kept = ends.iter().filter(|end| **end <= length).count() as u64;
        let journal = Journal::open(&folder.job(), &Options::default()).unwrap();
        assert_eq!(find_all(&journal, 4), (0..kept).collect::<Vec<_>>(), "{length}");
        append(&journal, [9]);
        journal.close().unwrap();
        assert_eq!(read(&folder.job()), (0..kept).chain([9]).collect::<Vec<_>>(), "{length}");
        let content = fs::read(&path).unwrap();
        assert!(content.starts_with(&whole[..length]) && content.ends_with(b"\n"));
    }
}

#[test]
fn a_flipped_byte_costs_one_row() {
    let folder = Folder::new();
    let whole = written(&folder.job(), 0..3);
    for at in 0..whole.len() {
        let hit = whole[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
        for flip in [1, 0x80, whole[at] ^ b'\n'] {
            let mut damaged = whole.clone();
            damaged[at] ^= flip;
            if damaged == whole {
                continue;
            }
            let (found, places) = scanned(&damaged, 3);
            // A damaged newline costs none.
            let expected: Vec<u64> = (0..3).filter(|number| whole[at] == b'\n' || *number != hit).collect();
            assert_eq!(found, expected, "{at} {flip}");
            assert!(places > 0, "{at} {flip}");
        }
    }
}

#[test]
fn index_files_are_as_good_as_reading() {
    let folder = Folder::new();
    let journal = Journal::open(&folder.job(), &small()).unwrap();
    for number in (0..60).chain(20..40) {
        journal.append(outcome(number)).unwrap();
    }
    journal.close().unwrap();
    let numbers = segment::numbers(&folder.job()).unwrap();
    let places = |known: &Known| (0..61).map(|number| known.index.find(&key(number))).collect::<Vec<_>>();
    let has_index = |number: &u32| segment::load(&folder.job(), *number, &mut index::Index::default()).unwrap();
    assert!(numbers.iter().all(|number| !has_index(number).1));
    let with = loaded(&folder.job());
    numbers.iter().for_each(|number| segment::remove_index_file(&folder.job(), *number));
    let without = loaded(&folder.job());
    assert_eq!((places(&with), with.totals, with.counts()), (places(&without), without.totals, without.counts()));
    assert_eq!(with.counts(), Counts { done: 40, failed: 20, damaged: 0 });
    // Opening makes them again, except for that of the segment which is written.
    drop(Journal::open(&folder.job(), &small()).unwrap());
    assert!(numbers.iter().all(|number| !has_index(number).1));

    // Not of this segment: changed at the same length, longer, damaged, of another format.
    let (path, index_path) = (segment::path_of(&folder.job(), 2), folder.job().join("segments/00002.index"));
    let (content, index) = (fs::read(&path).unwrap(), fs::read(&index_path).unwrap());
    let restore = || {
        fs::write(&index_path, &index).unwrap();
        drop(Journal::open(&folder.job(), &small()).unwrap());
        assert!(!has_index(&2).1);
    };
    let mut damaged = content.clone();
    damaged[100] ^= 1;
    fs::write(&path, &damaged).unwrap();
    assert!(has_index(&2).1);
    fs::write(&path, &content).unwrap();
    restore();
    let valid = fs::read(&index_path).unwrap();
    for at in (0..valid.len()).step_by(3) {
        let mut damaged = valid.clone();
        damaged[at] ^= 1;
        fs::write(&index_path, &damaged).unwrap();
        assert!(has_index(&2).1, "{at}");
        fs::write(&index_path, &valid[..at]).unwrap();
        assert!(has_index(&2).1, "{at}");
    }
    fs::write(&index_path, &valid).unwrap();
    assert!(!has_index(&2).1);
}

#[test]
fn a_damaged_line_is_found_behind_an_index_too() {
    let folder = Folder::new();
    let whole = written(&folder.job(), 0..3);
    let path = segment::path_of(&folder.job(), 1);
    let modified = path.metadata().unwrap().modified().unwrap();
    let mut damaged = whole;
    damaged[30] ^= 1;
    fs::write(&path, &damaged).unwrap();
    // As a disk does it: nothing was written.
    fs::File::options().append(true).open(&path).unwrap().set_modified(modified).unwrap();
    let reader = Reader::open(&folder.job()).unwrap();
    let (_, place) = reader.find(&key(0)).unwrap();
    assert_eq!(reader.lines().read(&key(0), place).unwrap(), None);
    assert_eq!(read(&folder.job()), [1, 2]);
    let journal = Journal::open(&folder.job(), &Options::default()).unwrap();
    assert_eq!((find_all(&journal, 3), journal.counts().damaged), (vec![1, 2], 1));
}

#[test]
fn reading_while_it_is_written() {
    let folder = Folder::new();
    let journal = Journal::open(&folder.job(), &small()).unwrap();
    let mut own = journal.reader().outcomes();
    let mut other = Reader::open(&folder.job()).unwrap().outcomes();
    for number in 0..40 {
        journal.append(outcome(number)).unwrap();
        if number % 7 == 6 {
            journal.flush().unwrap();
            for outcomes in [&mut own, &mut other] {
                for expected in number - 6..=number {
                    assert_eq!(outcomes.next_outcome().unwrap().map(|outcome| outcome.number), Some(expected));
                }
                assert!(outcomes.next_outcome().unwrap().is_none());
            }
        }
    }
    journal.close().unwrap();
    for outcomes in [&mut own, &mut other] {
        let rest: Vec<u64> =
            std::iter::from_fn(|| outcomes.next_outcome().unwrap().map(|outcome| outcome.number)).collect();
        assert_eq!(rest, (35..40).collect::<Vec<_>>());
    }
}

#[test]
fn one_job_at_a_time() {
    let folder = Folder::new();
    let journal = Journal::open(&folder.job(), &small()).unwrap();
    assert!(journal.is_held());
    let error = Journal::open(&folder.job(), &small()).err().unwrap();
    let pid = std::process::id();
    assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::JobLocked, Some(&*pid.to_string())));
    assert!(error.message.contains(&format!("this process ({pid})")), "{}", error.message);
    assert_eq!(owner(&folder.job()).unwrap(), Some(Owner { pid, waits_for: None }));
    journal.notes().note("the source: a long text", Duration::from_secs(100));
    journal.notes().note("answers", Duration::from_secs(7));
    let found = owner(&folder.job()).unwrap().unwrap();
    let (what, waited) = found.waits_for.unwrap();
    assert_eq!((found.pid, &*what, waited >= Duration::from_secs(7)), (pid, "answers", true));
    let again = Journal::open(&folder.job(), &small()).err().unwrap();
    assert_eq!(again.message, error.message);
    drop(journal);
    assert_eq!(owner(&folder.job()).unwrap(), None);
    assert_eq!(owner(&folder.0).unwrap(), None);
    Journal::open(&folder.job(), &small()).unwrap().close().unwrap();
}

#[test]
fn folders_that_are_no_jobs() {
    let folder = Folder::new();
    fs::write(folder.0.join("thesis.tex"), "x").unwrap();
    let error = Journal::open(&folder.0, &small()).err().unwrap();
    assert_eq!(error.kind, ErrorKind::InvalidArgument);
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
    let error = Journal::open(&folder.0.join("thesis.tex"), &small()).err().unwrap();
    assert_eq!(error.kind, ErrorKind::Journal);
    fs::create_dir(folder.job()).unwrap();
    Journal::open(&folder.job(), &small()).unwrap().close().unwrap();
    fs::write(folder.job().join("manifest.json"), "{\"format\": 2}").unwrap();
    let error = Journal::open(&folder.job(), &small()).err().unwrap();
    assert!(error.message.contains("format 2"), "{}", error.message);
}

#[test]
fn a_manifest_is_kept() {
    let folder = Folder::new();
    let journal = Journal::open(&folder.job(), &small()).unwrap();
    let parameters = serde_json::json!({"model": "a/b"}).as_object().unwrap().clone();
    let manifest = Manifest::new(parameters, serde_json::json!({"path": "x.jsonl"}), 7);
    manifest.store(journal.folder(), Durability::Process).unwrap();
    drop(journal);
    assert_eq!(Journal::open(&folder.job(), &small()).unwrap().manifest(), Some(&manifest));
    assert!(!folder.job().join("manifest.new").exists());
}

#[test]
fn a_full_disk_takes_what_is_in_flight() {
    for options in [small(), power()] {
        for room in [0, 1, 300, 2_000, 9_000] {
            let folder = Folder::new();
            let disk = FaultyDisk::new(Fault::Full { room });
            let journal = Journal::open_on(&folder.job(), &options, disk.clone()).unwrap();
            let progress = journal.progress();
            let mut appended = 0;
            while progress.borrow().failure.is_none() {
                journal.append(outcome(appended)).unwrap();
                appended += 1;
                journal.shared.flush();
            }
            for _ in 0..10 {
                journal.append(outcome(appended)).unwrap();
                appended += 1;
            }
            let error = journal.flush().err().unwrap();
            assert_eq!(error.kind, ErrorKind::DiskFull);
            assert!(error.message.contains("make room") && error.message.contains("segments"), "{}", error.message);
            assert_eq!((progress.borrow().landed, progress.borrow().has_ended), (appended, false));
            assert_eq!(journal.close().err().unwrap().kind, ErrorKind::DiskFull);
            let journal = Journal::open(&folder.job(), &options).unwrap();
            assert_eq!(find_all(&journal, appended + 5), (0..appended).collect::<Vec<_>>());
            assert_eq!(journal.counts().damaged, 0);
            journal.append(outcome(appended)).unwrap();
            journal.close().unwrap();
            assert_eq!(read(&folder.job()), (0..=appended).collect::<Vec<_>>());
        }
    }
}

#[test]
fn no_room_for_the_reserve() {
    let folder = Folder::new();
    let disk = FaultyDisk::new(Fault::NoReserve);
    let error = Journal::open_on(&folder.job(), &small(), disk).err().unwrap();
    assert_eq!(error.kind, ErrorKind::DiskFull);
    // The lock is free again.
    Journal::open(&folder.job(), &small()).unwrap().close().unwrap();
}

#[test]
fn a_disk_that_is_full_for_good() {
    let folder = Folder::new();
    let disk = FaultyDisk::new(Fault::Full { room: 2_000 });
    let journal = Journal::open_on(&folder.job(), &Options { reserve: 0, ..small() }, disk).unwrap();
    let tickets: Vec<u64> = (0..20).map_while(|number| journal.append(outcome(number)).ok()).collect();
    let error = journal.flush().err().unwrap();
    assert_eq!(error.kind, ErrorKind::DiskFull);
    let progress = journal.progress().borrow().clone();
    assert!(progress.has_ended && progress.landed < tickets.len() as u64);
    assert_eq!(journal.append(outcome(1)).err().unwrap().kind, ErrorKind::DiskFull);
    drop(journal);
    assert_eq!(read(&folder.job()), (0..progress.landed).collect::<Vec<_>>());
}

#[test]
fn a_failed_fsync_ends_the_job() {
    // The first one fails: what it was for is written again elsewhere, and is durable there.
    let folder = Folder::new();
    let disk = FaultyDisk::new(Fault::Sync { from: 4, to: 5 });
    let journal = Journal::open_on(&folder.job(), &power(), disk.clone()).unwrap();
    for number in 0..6 {
        journal.append(outcome(number)).unwrap();
        journal.shared.flush();
    }
    let progress = journal.progress().borrow().clone();
    let failure = progress.failure.unwrap();
    assert_eq!((failure.kind, failure.is_fatal, progress.landed), (ErrorKind::Journal, false, 6));
    assert!(failure.message.contains("cannot fsync") && failure.message.contains("lwn.net"), "{}", failure.message);
    drop(journal);
    disk.cut_power(&folder.job(), &mut fastrand::Rng::with_seed(1));
    assert_eq!(read(&folder.job()), (0..6).collect::<Vec<_>>());

    // All fail: the writer ends, and what was not durable is not there.
    let folder = Folder::new();
    let disk = FaultyDisk::new(Fault::Sync { from: 4, to: usize::MAX });
    let journal = Journal::open_on(&folder.job(), &power(), disk).unwrap();
    for number in 0..6 {
        let _ = journal.append(outcome(number));
        journal.shared.flush();
    }
    let progress = journal.progress().borrow().clone();
    assert!(progress.has_ended && progress.failure.unwrap().is_fatal);
    assert_eq!(find_all(&journal, 6), (0..progress.landed).collect::<Vec<_>>());
    assert!(progress.landed < 6);
    drop(journal);
    assert_eq!(read(&folder.job()), (0..progress.landed).collect::<Vec<_>>());

    // Without durability of each outcome it happens at the end of a segment.
    let folder = Folder::new();
    let journal = Journal::open_on(&folder.job(), &small(), FaultyDisk::new(Fault::Sync { from: 0, to: 1 })).unwrap();
    append(&journal, 0..20);
    assert!(journal.close().err().unwrap().message.contains("cannot fsync"));
    assert_eq!(read(&folder.job()), (0..20).collect::<Vec<_>>());

    // A folder that is thrown away never asks the disk.
    let folder = Folder::new();
    let unsynced = Options { durability: Durability::Unsynced, ..small() };
    let journal = Journal::open_on(&folder.job(), &unsynced, FaultyDisk::new(Fault::Sync { from: 0, to: 9 })).unwrap();
    append(&journal, 0..20);
    journal.close().unwrap();
    assert_eq!(read(&folder.job()), (0..20).collect::<Vec<_>>());
    // Neither when it is opened again and its index files are missing.
    let synced = |options: &Options| {
        let numbers = segment::numbers(&folder.job()).unwrap();
        numbers.iter().for_each(|number| segment::remove_index_file(&folder.job(), *number));
        let before = storage::SYNCS.get();
        Journal::open(&folder.job(), options).unwrap().close().unwrap();
        (numbers.len(), storage::SYNCS.get() - before)
    };
    let (segments, syncs) = synced(&unsynced);
    assert_eq!((segments > 2, syncs), (true, 0), "{segments}");
    assert_eq!(synced(&small()).1 as usize, segments - 1);
}

#[test]
fn a_power_cut_keeps_what_has_landed() {
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..10 {
        let folder = Folder::new();
        let mut landed = BTreeMap::new();
        for run in 0..3 {
            let disk = FaultyDisk::new(Fault::None);
            let journal = Journal::open_on(&folder.job(), &power(), disk.clone()).unwrap();
            for (number, attempts) in &landed {
                assert_eq!(journal.find(&key(*number)), Some(outcome(*number).state()), "{number} {attempts}");
            }
            let count = random.u64(1..20);
            let numbers: Vec<u64> = (0..count).map(|_| random.u64(0..40)).collect();
            for number in &numbers {
                journal.append(Outcome { attempts: run, ..outcome(*number) }).unwrap();
                if random.u8(0..4) == 0 {
                    std::thread::yield_now();
                    journal.shared.flush();
                }
            }
            // The cut comes at any time; what has landed before it must be there.
            let known = journal.progress().borrow().landed as usize;
            disk.stop();
            landed.extend(numbers[..known].iter().map(|number| (*number, run)));
            drop(journal);
            disk.cut_power(&folder.job(), &mut random);
        }
        let mut outcomes = Reader::open(&folder.job()).unwrap().outcomes();
        let mut found = BTreeMap::new();
        while let Some(outcome) = outcomes.next_outcome().unwrap() {
            assert_eq!(found.insert(outcome.number, outcome.attempts), None);
        }
        for (number, run) in landed {
            assert!(found.get(&number).is_some_and(|found| *found >= run), "{number}");
        }
    }
}

#[test]
fn lines_for_a_shell() {
    let folder = Folder::new();
    let content = written(&folder.job(), 0..9);
    for (number, text) in content.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let expected = [line(&outcome(number as u64)), b"\n".to_vec()].concat();
        assert_eq!(text, expected);
        serde_json::from_slice::<serde_json::Value>(text).unwrap();
    }
}
