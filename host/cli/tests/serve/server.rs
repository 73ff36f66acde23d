//! The process, and callers that know nothing but HTTP.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::site::{CANARY, SCOPE, Site, command};

/// The route that needs nobody's token.
pub(crate) const HEADER: &str = "/AuthorizationHeaderUnauthenticated/api";

/// The process, until it is dropped.
pub(crate) struct Server {
    child: Child,
    _stdout: BufReader<ChildStdout>,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    pub(crate) addresses: Vec<String>,
    pub(crate) health: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The token of a header that was given.
    #[track_caller]
    pub(crate) fn token(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        let header = self.json()["authorizationHeader"].as_str().expect("a header").to_owned();
        header.strip_prefix("Bearer ").expect("a bearer token").to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// A configuration of the application `secret` with the API `api`, in a file of several lines.
pub(crate) fn configuration(site: &Site, edit: impl FnOnce(&mut Value)) -> PathBuf {
    write(&site.path("serve.json"), &settings(site, edit))
}

pub(crate) fn settings(site: &Site, edit: impl FnOnce(&mut Value)) -> Value {
    let text = fs::read_to_string(site.configuration("secret")).unwrap();
    let mut settings: Value = serde_json::from_str(&text).unwrap();
    settings["DownstreamApis"]["api"] =
        json!({ "BaseUrl": "https://api.contoso.test", "Scopes": [SCOPE], "RequestAppToken": true });
    edit(&mut settings);
    settings
}

/// Replaces the file in one step, as those do who know what they do.
pub(crate) fn write(path: &Path, settings: &Value) -> PathBuf {
    let next = path.with_extension("next");
    fs::write(&next, serde_json::to_string_pretty(settings).unwrap()).unwrap();
    fs::rename(next, path).unwrap();
    path.to_path_buf()
}

impl Server {
    /// With one address on loopback.
    pub(crate) fn start(config: &Path) -> Self {
        Self::start_with(config, |command| {
            command.args(["--listen", "127.0.0.1:0"]);
        })
    }

    pub(crate) fn start_with(config: &Path, add: impl FnOnce(&mut Command)) -> Self {
        let mut command = command();
        command.args(["serve", "--json", "--config", config.to_str().unwrap()]);
        add(&mut command);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (mut stderr, kept) = (BufReader::new(child.stderr.take().unwrap()), log.clone());
        let reader = std::thread::spawn(move || {
            let mut line = String::new();
            while stderr.read_line(&mut line).is_ok_and(|length| length > 0) {
                kept.lock().unwrap().push_str(&line);
                line.clear();
            }
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            std::thread::sleep(Duration::from_millis(200));
            panic!("it isn't ready: {line}\n{}", log.lock().unwrap())
        });
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Self {
            child,
            _stdout: stdout,
            log,
            reader: Some(reader),
            addresses: ready["addresses"].as_array().unwrap().iter().filter_map(text).collect(),
            health: text(&ready["healthAddress"]),
        }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addresses[0].trim_start_matches("tls:")).unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        get(self.connect(), path)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until something is true of it.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, is_true: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !is_true(self) {
            assert!(begin.elapsed() < Duration::from_secs(20), "not {what} in time:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its status and its log, once it has ended by itself.
    pub(crate) fn ended(mut self) -> (i32, String) {
        let status = self.child.wait().unwrap().code().unwrap_or(-1);
        self.reader.take().unwrap().join().unwrap();
        (status, self.log())
    }

    /// Ends it as supervisors do. Its log holds no secret.
    #[track_caller]
    pub(crate) fn stop(self) -> String {
        self.signal("-TERM");
        let (status, log) = self.ended();
        assert_eq!(status, 0, "{log}");
        assert!(!log.contains(CANARY), "{log}");
        log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What it says where it can't begin.
#[track_caller]
pub(crate) fn refused(config: &Path, arguments: &[&str]) -> String {
    let mut command = command();
    command.args(["serve", "--config", config.to_str().unwrap()]).args(arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("it serves");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!((output.status.code(), stdout.as_str()), (Some(2), ""), "{stderr}");
    stderr
}

/// Asks, and reads the answer to its end.
pub(crate) fn get(stream: impl Read + Write, path: &str) -> Answer {
    try_get(stream, path).expect("an answer")
}

pub(crate) fn try_get(mut stream: impl Read + Write, path: &str) -> Option<Answer> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = Vec::new();
    // Some peers end the connection without a word.
    let _ = stream.read_to_end(&mut text);
    let text = String::from_utf8(text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}
