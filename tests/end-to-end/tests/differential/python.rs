//! MSAL for Python, in a process of its own.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use symbolon_end_to_end::{World, workspace};

/// What pip is asked for. The differences are those of this version.
pub(crate) const REQUIREMENT: &str = include_str!("requirements.txt").trim_ascii_end();

/// A Python interpreter that has the package: the one that `SYMBOLON_PYTHON` names, else that of the target directory, else
/// the machine's.
pub(crate) fn interpreter() -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("python").join("bin/python");
    let candidates = match std::env::var_os("SYMBOLON_PYTHON") {
        Some(named) => vec![PathBuf::from(named)],
        None => vec![installed, PathBuf::from("python3")],
    };
    candidates.into_iter().find(|interpreter| has_package(interpreter))
}

fn has_package(interpreter: &Path) -> bool {
    let program = "import msal; print('msal==' + msal.__version__)";
    let output = command(interpreter).arg("-c").arg(program).stderr(Stdio::null()).output();
    output.is_ok_and(|output| output.stdout.trim_ascii_end() == REQUIREMENT.as_bytes())
}

/// Nothing of the environment that would lead it to proxies, other roots or a region.
fn command(interpreter: &Path) -> Command {
    let kept = ["PATH", "HOME", "PYTHONPATH"];
    let mut command = Command::new(interpreter);
    command.env_clear().envs(kept.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command
}

/// The running program. It ends when it is dropped.
pub(crate) struct Python {
    process: Child,
    jobs: Option<ChildStdin>,
    results: BufReader<ChildStdout>,
}

impl Python {
    /// Starts a program of the end-to-end tests, which will find nothing but this world's authority.
    pub(crate) fn start(interpreter: &Path, program: &str, world: &World) -> Self {
        let mut process = command(interpreter)
            .arg(workspace("tests/end-to-end/tests").join(program))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the interpreter starts");
        let jobs = process.stdin.take();
        let results = BufReader::new(process.stdout.take().expect("its output"));
        let mut python = Self { process, jobs, results };
        let address = world.authority.address();
        let versions = python.run(&json!({
            "address": address.ip().to_string(),
            "port": address.port(),
            "trusted_roots": world.path("ca.pem"),
        }));
        println!("MSAL for Python {}, Python {}", versions["msal"], versions["python"]);
        python
    }

    /// Runs a job, and waits for its result.
    pub(crate) fn run(&mut self, job: &Value) -> Value {
        tokio::task::block_in_place(|| {
            let jobs = self.jobs.as_mut().expect("its input");
            writeln!(jobs, "{job}").and_then(|()| jobs.flush()).expect("it reads jobs");
            let mut line = String::new();
            self.results.read_line(&mut line).expect("it writes results");
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("it ended instead of answering"))
        })
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // The end of its input is the end of the program.
        drop(self.jobs.take());
        let _ = self.process.wait();
    }
}
