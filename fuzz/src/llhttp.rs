//! llhttp, the HTTP/1.1 parser of Node.js, in a Python process: `llhttp.py` says what it is told and what it answers.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::http1::{Peer, Read};

/// A process that parses with llhttp.
pub struct Llhttp {
    process: Child,
    /// `None` once it is told to end.
    requests: Option<ChildStdin>,
    answers: ChildStdout,
}

impl Llhttp {
    /// Starts a process; `None` without a virtual environment, where there is no llhttp: `make test` and `make fuzz` make one.
    ///
    /// # Panics
    /// If there is an environment, and it does not start.
    pub fn start(peer: Peer) -> Option<Self> {
        let python = python()?;
        let program = Path::new(env!("CARGO_MANIFEST_DIR"));
        let program = program.ancestors().map(|folder| folder.join("fuzz/llhttp.py")).find(|path| path.exists());
        let mut command = Command::new(&python);
        if peer == Peer::Llhttp {
            command.args(["-X", "dev", "-W", "ignore"]);
        }
        command.arg(program.expect("it is beside this file's folder")).env_remove("PYTHONASYNCIODEBUG");
        let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = process.unwrap_or_else(|error| panic!("{} does not start: {error}", python.display()));
        let (requests, answers) = (process.stdin.take(), process.stdout.take().expect("it is a pipe"));
        Some(Self { process, requests, answers })
    }

    /// Parses the bytes.
    ///
    /// # Panics
    /// If the process ends, which it does without aiohttp.
    pub fn read(&mut self, bytes: &[u8]) -> Read {
        let length = u32::try_from(bytes.len()).expect("inputs are small");
        let requests = self.requests.as_mut().expect("it is not told to end before it is dropped");
        requests.write_all(&[&length.to_be_bytes(), bytes].concat()).expect("the process waits for it");
        let mut length = [0; 4];
        self.answers.read_exact(&mut length).expect("the process answers: its errors are above");
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.answers.read_exact(&mut answer).expect("the answer is as long as it says");
        match &*answer {
            [0, high, low, body @ ..] => Ok((u16::from_be_bytes([*high, *low]), body.to_vec())),
            [_, error @ ..] => Err(String::from_utf8_lossy(error).into_owned()),
            [] => unreachable!("an answer has a first byte"),
        }
    }
}

impl Drop for Llhttp {
    fn drop(&mut self) {
        self.requests = None;
        let _ = self.process.wait();
    }
}

/// Returns the interpreter of the virtual environment.
fn python() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("VIRTUAL_ENV") {
        return Some(Path::new(&named).join("bin/python"));
    }
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    folders.map(|folder| folder.join(".venv/bin/python")).find(|path| path.exists())
}
