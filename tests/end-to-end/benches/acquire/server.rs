//! The local authority in a process of its own, so that the processor time that is shown is the client's alone.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;
use symbolon::{Application, ApplicationId, ApplicationOptions, Settings, Symbolon};
use symbolon_authority::{Authority, Fault, FaultRule, Registration, UserToken, sample};

pub(crate) const SECRET: &str = "a secret of the benchmark";
/// With this argument the benchmark is the authority.
pub(crate) const ARGUMENT: &str = "--authority";

/// The local authority, until its standard input ends. Each line of it says how it answers from then on.
pub(crate) async fn serve() {
    let directory = tempfile::TempDir::new().unwrap();
    let authority = Authority::builder().data_dir(directory.path()).start().await.unwrap();
    authority.register(Registration::new(sample::SECRET).secret(SECRET));
    let padding = Value::from("x".repeat(700));
    let user = UserToken::new(sample::ALICE, sample::WEB_API)
        .lifetime_seconds(24 * 60 * 60)
        .claim("padding", padding);
    std::fs::write(directory.path().join(USER), authority.user_token(&user).unwrap()).unwrap();
    println!("{}", directory.path().display());
    let obeying = move || {
        for order in std::io::stdin().lines().map_while(Result::ok) {
            obey(&authority, &order);
            println!("{order}");
        }
    };
    tokio::task::spawn_blocking(obeying).await.unwrap();
}

fn obey(authority: &Authority, order: &str) {
    let always = |fault| authority.faults().add(FaultRule::once(fault).always());
    authority.faults().clear();
    match order.split_once(' ') {
        Some(("late", milliseconds)) => {
            always(Fault::Delay { milliseconds: milliseconds.parse().unwrap() });
        }
        Some(("status", status)) => {
            always(Fault::Status { status: status.parse().unwrap(), retry_after: None, body: None });
        }
        _ => {}
    }
}

/// The file with a user's token for the sample `web-api`.
const USER: &str = "user-of-the-benchmark.jwt";

pub(crate) struct Server {
    process: Child,
    answers: BufReader<ChildStdout>,
    pub(crate) directory: std::path::PathBuf,
}

impl Server {
    pub(crate) fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut answers = BufReader::new(process.stdout.take().unwrap());
        let mut directory = String::new();
        answers.read_line(&mut directory).unwrap();
        Self { process, answers, directory: directory.trim().into() }
    }

    /// Answers like this from now on: `late MILLISECONDS`, `status STATUS`, or anything else for as it should.
    pub(crate) fn order(&mut self, order: &str) {
        writeln!(self.process.stdin.as_mut().unwrap(), "{order}").unwrap();
        self.answers.read_line(&mut String::new()).unwrap();
    }

    pub(crate) fn settings(&self, sample: &str) -> Value {
        let file = self.directory.join(format!("appsettings-{sample}.json"));
        let mut settings: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        if sample == "secret" {
            settings["AzureAd"]["ClientCredentials"][0]["ClientSecret"] = SECRET.into();
        }
        settings
    }

    pub(crate) fn options(&self, sample: &str) -> ApplicationOptions {
        Settings::from_value(self.settings(sample)).application(None).unwrap()
    }

    pub(crate) fn application(&self, symbolon: &Symbolon, sample: &str) -> Application {
        symbolon.application(self.options(sample)).unwrap()
    }

    /// The same under a name of its own.
    pub(crate) fn named(&self, symbolon: &Symbolon, sample: &str, name: &str) -> Application {
        symbolon.application(self.options(sample).with_id(ApplicationId::new(name))).unwrap()
    }

    /// What a user calls the sample `web-api` with: 2 kB.
    pub(crate) fn user_assertion(&self) -> String {
        std::fs::read_to_string(self.directory.join(USER)).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
