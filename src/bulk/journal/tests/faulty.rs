//! A disk that fails as it is told, and forgets what was not made durable.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::super::segment;
use super::super::storage::{AppendFile, Disk, Storage};

/// What fails.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    None,
    /// Writes that go beyond so many bytes, except into the file that had been reserved.
    Full {
        room: usize,
    },
    /// The reserving.
    NoReserve,
    /// These fsyncs, counted from 0.
    Sync {
        from: usize,
        to: usize,
    },
}

#[derive(Default)]
struct State {
    written: usize,
    syncs: usize,
    is_stopped: bool,
    /// Length that is durable, by path.
    durable: HashMap<PathBuf, u64>,
    /// Names that are durable.
    named: Vec<PathBuf>,
}

pub(super) struct FaultyDisk {
    fault: Fault,
    state: Arc<Mutex<State>>,
}

impl FaultyDisk {
    pub(super) fn new(fault: Fault) -> Arc<Self> {
        Arc::new(Self { fault, state: Arc::default() })
    }

    /// Lets every operation fail from now on, as if there were no disk.
    pub(super) fn stop(&self) {
        self.state.lock().unwrap().is_stopped = true;
    }

    /// Takes back what was not durable: files whose names were not, and of the others some part of what was written.
    pub(super) fn cut_power(&self, job: &Path, random: &mut fastrand::Rng) {
        let state = self.state.lock().unwrap();
        for number in segment::numbers(job).unwrap() {
            let path = segment::path_of(job, number);
            segment::remove_index_file(job, number);
            let Some(durable) = state.durable.get(&path) else { continue };
            if !state.named.contains(&path) {
                fs::remove_file(&path).unwrap();
                continue;
            }
            let mut content = fs::read(&path).unwrap();
            let kept = random.usize(*durable as usize..=content.len());
            // The length may be durable and the content not.
            if random.bool() {
                content[kept..].fill(0);
            } else {
                content.truncate(kept);
            }
            fs::write(&path, content).unwrap();
        }
    }
}

struct FaultyFile {
    inner: Box<dyn AppendFile>,
    path: PathBuf,
    length: u64,
    fault: Fault,
    is_reserved: bool,
    state: Arc<Mutex<State>>,
}

fn stopped(state: &State) -> io::Result<()> {
    if state.is_stopped { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
}

impl Storage for FaultyDisk {
    fn append_to(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let mut state = self.state.lock().unwrap();
        stopped(&state)?;
        let is_reserved = state.named.iter().any(|named| named.ends_with("reserve"));
        let inner = Disk.append_to(path)?;
        let length = path.metadata()?.len();
        state.durable.entry(path.to_owned()).or_insert(length);
        if length > 0 {
            // It was there before.
            state.named.push(path.to_owned());
        }
        Ok(Box::new(FaultyFile {
            inner,
            path: path.to_owned(),
            length,
            fault: self.fault,
            is_reserved,
            state: self.state.clone(),
        }))
    }

    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        if matches!(self.fault, Fault::NoReserve) {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Disk.reserve(path, bytes)
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        stopped(&state)?;
        state.named.push(from.to_owned());
        Disk.rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        stopped(&state)?;
        let there: Vec<PathBuf> = state.durable.keys().filter(|path| path.starts_with(folder)).cloned().collect();
        state.named.extend(there);
        Disk.sync_folder(folder)
    }
}

impl AppendFile for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state.lock().unwrap();
        stopped(&state)?;
        let mut part = bytes;
        if let Fault::Full { room } = self.fault
            && !self.is_reserved
        {
            part = &bytes[..bytes.len().min(room.saturating_sub(state.written))];
            if part.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let count = self.inner.write(part)?;
        state.written += count;
        self.length += count as u64;
        Ok(count)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        stopped(&state)?;
        let number = state.syncs;
        state.syncs += 1;
        if let Fault::Sync { from, to } = self.fault
            && (from..to).contains(&number)
        {
            return Err(io::Error::from_raw_os_error(5));
        }
        state.durable.insert(self.path.clone(), self.length);
        self.inner.sync()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        stopped(&state)?;
        self.length = length;
        let durable = state.durable.entry(self.path.clone()).or_default();
        *durable = length.min(*durable);
        self.inner.truncate(length)
    }

    fn stamp(&mut self) -> io::Result<u64> {
        stopped(&self.state.lock().unwrap())?;
        self.inner.stamp()
    }
}
