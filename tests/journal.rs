//! The journal of a bulk job, with real processes that are killed and forked, and a real disk that is full.
//!
//! A process is this test executable again, which runs the test `worker` with instructions in an environment variable.

#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ritellm::bulk::Totals;
use ritellm::bulk::export::to_jsonl;
use ritellm::bulk::identity::Key;
use ritellm::bulk::journal::{Durability, Journal, Options, Reader, owner};
use ritellm::bulk::outcome::{Outcome, Response};
use ritellm::error::ErrorKind;
use ritellm::types::usage::Usage;

const ROLE: &str = "RITELLM_TEST_JOURNAL";

/// A folder that is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ritellm-journal-{}-{number}", std::process::id()));
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

/// Another process.
struct Worker {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Worker {
    fn start(role: &str, job: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "worker", "--nocapture", "--quiet"])
            .env(ROLE, format!("{role} {}", job.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// Reads lines until one says `word`, and returns the rest of that.
    fn expect(&mut self, word: &str) -> String {
        for line in self.output.by_ref().lines() {
            if let Some(rest) = line.unwrap().strip_prefix(word) {
                return rest.trim().to_owned();
            }
        }
        panic!("the worker ended without {word:?}");
    }

    /// Kills the process and returns the last number that it said.
    fn kill(mut self) -> u64 {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        rest.lines().filter_map(|line| line.strip_prefix("landed ")?.parse().ok()).next_back().unwrap_or(0)
    }
}

fn key(number: u64) -> Key {
    Key { row: number.wrapping_mul(0x9e37_79b9_7f4a_7c15), content: 7 }
}

/// An outcome whose line has some 800 bytes.
fn outcome(number: u64) -> Outcome {
    let body = format!(
        r#"{{"id":"chatcmpl-{number}","object":"chat.completion","created":1764337200,"model":"gpt-4o-mini","choices":[{{"index":0,"message":{{"role":"assistant","content":"{}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":20,"completion_tokens":5,"total_tokens":25}}}}"#,
        "answer ".repeat(30)
    );
    Outcome {
        number,
        key: key(number),
        provider: "openai".into(),
        model: "gpt-4o-mini".into(),
        response: Some(Response { status: 200, request_id: Some("req_0123456789".into()), body: body.into() }),
        attempts: 1,
        usage: Some(Usage { input: 20, output: 5, ..Usage::default() }),
        cost: Some(0.000_006),
        started: Duration::from_micros(1_764_337_200_123_456),
        latency: Duration::from_micros(1_234_567),
        ..Outcome::default()
    }
}

fn options() -> Options {
    Options { segment_size: 1 << 16, reserve: 1 << 20, ..Options::default() }
}

/// What the other processes do. Does nothing when it runs as a test.
#[test]
fn worker() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (role, job) = role.split_once(' ').unwrap();
    let journal = Journal::open(Path::new(job), &options()).unwrap();
    match role {
        // Goes on where the last one was killed, until it is killed.
        "append" => {
            let counts = journal.counts();
            println!("\nfound {} {}", counts.done, journal.totals().outcomes);
            let mut missing = (0..).filter(|number| journal.find(&key(*number)).is_none());
            let progress = journal.progress();
            loop {
                for _ in 0..5 {
                    journal.append(outcome(missing.next().unwrap())).unwrap();
                }
                let landed = progress.borrow().landed;
                println!("landed {}", counts.done + landed);
                while journal.backlog() > 20 {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        }
        // Has a child that outlives it and drops its copy of the journal.
        "fork" => {
            journal.append(outcome(0)).unwrap();
            journal.flush().unwrap();
            // SAFETY: the C library's allocator and standard output can be used in the child.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let is_held = journal.is_held();
                drop(journal);
                println!("\nchild {} {is_held}", std::process::id());
                loop {
                    std::thread::park();
                }
            }
            std::io::stdin().read_line(&mut String::new()).unwrap();
        }
        role => panic!("{role}"),
    }
}

/// Kills a job so many times, and returns the number of its outcomes.
fn kills(count: u32, random: &mut fastrand::Rng) -> u64 {
    let folder = Folder::new();
    let mut landed = 0;
    for _ in 0..count {
        let mut worker = Worker::start("append", &folder.job());
        let found = worker.expect("found ");
        let (done, outcomes) = found.split_once(' ').unwrap();
        // Whatever had landed is there, and nothing was written twice.
        assert!(done.parse::<u64>().unwrap() >= landed, "{found} {landed}");
        assert_eq!(done, outcomes);
        std::thread::sleep(Duration::from_micros(random.u64(..20_000)));
        landed = worker.kill().max(landed);
    }
    let journal = Journal::open(&folder.job(), &options()).unwrap();
    let done = journal.counts().done;
    assert!(done >= landed);
    assert!((0..done).all(|number| journal.find(&key(number)).is_some()));
    let mut exported = Vec::new();
    let counts = to_jsonl(&journal.reader(), (0..done).map(|number| Ok(key(number))), &mut exported).unwrap();
    assert_eq!((counts.done, counts.missing), (done, 0));
    for (number, line) in exported.split(|byte| *byte == b'\n').take(done as usize).enumerate() {
        let line: serde_json::Value = serde_json::from_slice(line).unwrap();
        assert_eq!(line["ritellm"]["row"], number);
    }
    done
}

#[test]
fn killed() {
    assert!(kills(6, &mut fastrand::Rng::with_seed(1)) > 0);
}

#[test]
#[ignore = "takes half a minute"]
fn killed_often() {
    let done = kills(200, &mut fastrand::Rng::with_seed(2));
    println!("figure: {done} outcomes after 200 kills, each once");
}

#[test]
fn a_lock_ends_with_its_process() {
    let folder = Folder::new();
    let mut worker = Worker::start("fork", &folder.job());
    let child = worker.expect("child ");
    let (child, is_held) = child.split_once(' ').unwrap();
    assert_eq!(is_held, "false");
    let pid = worker.child.id();
    let error = Journal::open(&folder.job(), &options()).err().unwrap();
    assert_eq!((error.kind, error.code), (ErrorKind::JobLocked, Some(pid.to_string())));
    assert!(error.message.contains(&format!("process {pid}")), "{}", error.message);
    assert_eq!(owner(&folder.job()).unwrap().map(|owner| owner.pid), Some(pid));
    let reader = Reader::open(&folder.job()).unwrap();
    assert_eq!(reader.counts().done, 1);
    worker.child.kill().unwrap();
    worker.child.wait().unwrap();
    // The child still runs.
    assert!(Path::new("/proc").join(child).exists());
    assert_eq!(owner(&folder.job()).unwrap(), None);
    Journal::open(&folder.job(), &options()).unwrap().close().unwrap();
    // SAFETY: it is a process of ours.
    assert_eq!(unsafe { libc::kill(child.parse().unwrap(), libc::SIGKILL) }, 0);
}

/// A small disk. There is none where mounting is not allowed.
struct SmallDisk(Folder);

impl SmallDisk {
    fn new(size: &str) -> Option<Self> {
        let folder = Folder::new();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "ritellm"]).arg(&folder.0);
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        mounted.then(|| Self(folder))
    }

    /// Takes all of the disk's room but so many bytes.
    fn fill(&self, left: u64) -> PathBuf {
        let path = self.0.0.join("filler");
        let mut file = fs::File::create(&path).unwrap();
        while file.write(&[1; 4096]).is_ok_and(|count| count == 4096) {}
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(left)).unwrap();
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0.0).status();
    }
}

#[test]
fn a_disk_that_is_full() {
    for durability in [Durability::Process, Durability::Power] {
        let Some(disk) = SmallDisk::new("2m") else { return println!("no file systems can be mounted here") };
        let job = disk.0.job();
        let options = Options { durability, segment_size: 1 << 18, reserve: 1 << 18 };
        let journal = Journal::open(&job, &options).unwrap();
        let filler = disk.fill(100_000);
        let progress = journal.progress();
        let mut appended = 0;
        while progress.borrow().failure.is_none() {
            journal.append(outcome(appended)).unwrap();
            appended += 1;
            let _ = journal.flush();
        }
        assert!((50..200).contains(&appended), "{appended}");
        // Whoever else writes gets none of what was reserved.
        assert!(fs::File::create(disk.0.0.join("other")).and_then(|mut file| file.write_all(&[1; 8192])).is_err());
        for _ in 0..200 {
            journal.append(outcome(appended)).unwrap();
            appended += 1;
        }
        assert_eq!(journal.flush().err().unwrap().kind, ErrorKind::DiskFull);
        assert_eq!(progress.borrow().landed, appended);
        assert!(!progress.borrow().has_ended);
        let error = journal.close().err().unwrap();
        assert_eq!(error.kind, ErrorKind::DiskFull);
        assert!(error.message.contains(&*job.to_string_lossy()), "{}", error.message);
        // There is no room for another run, and it says so.
        let error = Journal::open(&job, &options).err().unwrap();
        assert_eq!(error.kind, ErrorKind::DiskFull);
        fs::remove_file(filler).unwrap();
        let journal = Journal::open(&job, &options).unwrap();
        let counts = journal.counts();
        assert_eq!((counts.done, counts.damaged), (appended, 0));
        journal.append(outcome(appended)).unwrap();
        journal.close().unwrap();
        assert_eq!(Reader::open(&job).unwrap().counts().done, appended + 1);
        assert!(!job.join("reserve").exists());
    }
}

fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
#[ignore = "a measurement: run it optimised"]
fn figures() {
    let count: u64 = std::env::var("ROWS").map_or(1_000_000, |rows| rows.parse().unwrap());
    let folder = Folder::new();
    let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    let before = resident();
    let journal = Journal::open(&folder.job(), &Options::default()).unwrap();
    let template = outcome(0);
    let line = {
        let mut line = Vec::new();
        template.encode(&mut line);
        line.len()
    };
    let (cpu_before, start) = (cpu(), Instant::now());
    for number in 0..count {
        journal.append(Outcome { number, key: key(number), ..template.clone() }).unwrap();
        if number % 2_000 == 1_999 {
            // About as much as a job has in flight.
            while journal.backlog() > 4_000 {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    }
    journal.flush().unwrap();
    let (used, taken) = (each(cpu() - cpu_before), each(start.elapsed()));
    println!("figure: appending a line of {line} bytes: {used:.2} µs of CPU, {taken:.2} µs");
    println!("figure: {:.1} bytes of memory a row", resident().saturating_sub(before) as f64 / count as f64);
    let cpu_before = cpu();
    journal.close().unwrap();
    println!("figure: closing: {:.3} µs of CPU a row", each(cpu() - cpu_before));

    let resume = |what: &str| {
        let (before, cpu_before, start) = (resident(), cpu(), Instant::now());
        let journal = Journal::open(&folder.job(), &Options::default()).unwrap();
        let found = (0..count).filter(|number| journal.find(&key(*number)).is_some()).count() as u64;
        let (used, taken) = (each(cpu() - cpu_before), each(start.elapsed()));
        let memory = resident().saturating_sub(before) as f64 / count as f64;
        assert_eq!((found, journal.totals().outcomes), (count, count));
        println!("figure: resuming {what}: {used:.3} µs of CPU a row, {taken:.3} µs, {memory:.1} bytes a row");
        // Nothing is appended, and no segment changes.
        drop(journal);
    };
    resume("with index files");
    for entry in fs::read_dir(folder.job().join("segments")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "index") {
            fs::remove_file(path).unwrap();
        }
    }
    resume("without index files");

    let (before, cpu_before, start) = (resident(), cpu(), Instant::now());
    let reader = Reader::open(&folder.job()).unwrap();
    let counts = to_jsonl(&reader, (0..count).map(|number| Ok(key(number))), &mut std::io::sink()).unwrap();
    assert_eq!(counts.done, count);
    let memory = resident().saturating_sub(before) as f64 / count as f64;
    println!(
        "figure: exporting: {:.2} µs of CPU a row, {:.2} µs, {memory:.1} bytes a row",
        each(cpu() - cpu_before),
        each(start.elapsed())
    );
    let totals: Totals = reader.totals();
    assert_eq!(totals.input_tokens, 20 * count);
}
