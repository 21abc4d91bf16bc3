//! A redis-server for tests, on a free port or a socket, ended when it is dropped.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A redis-server that belongs to one test.
pub struct Server {
    process: Child,
    /// Its port.
    pub port: u16,
    arguments: Vec<String>,
}

/// Starts a server with these arguments more, or says that the test is skipped because there is none. With `CI=1` its absence
/// is an error.
pub fn start(arguments: &[&str]) -> Option<Server> {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    match spawn(port, &arguments) {
        Ok(process) => {
            wait(port, &arguments);
            Some(Server { process, port, arguments })
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "redis-server cannot be started: {error}");
            eprintln!("skipped: redis-server cannot be started: {error}");
            None
        }
    }
}

fn spawn(port: u16, arguments: &[String]) -> std::io::Result<Child> {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(arguments)
        .stdout(Stdio::null())
        .spawn()
}

/// Waits until the server listens on its port and, where it has one, on its socket, which it opens later.
fn wait(port: u16, arguments: &[String]) {
    let socket = arguments.iter().skip_while(|argument| *argument != "--unixsocket").nth(1);
    for _ in 0..1000 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() && socket.is_none_or(|path| connects(path)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("redis-server does not listen");
}

#[cfg(unix)]
fn connects(path: &str) -> bool {
    std::os::unix::net::UnixStream::connect(path).is_ok()
}

#[cfg(not(unix))]
fn connects(_path: &str) -> bool {
    true
}

impl Server {
    /// URL of the server.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Sends a signal, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.process.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Ends the server at once.
    pub fn end(&mut self) {
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }

    /// Starts it again, empty, on the same port.
    pub fn restart(&mut self) {
        self.end();
        self.process = spawn(self.port, &self.arguments).unwrap();
        wait(self.port, &self.arguments);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}
