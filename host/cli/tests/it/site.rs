//! A local authority, the binary run against it, and a look at everything that it prints.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use symbolon_authority::{Authority, AuthorizationCode, ManagedIdentity, Platform, REDIRECT_URI};
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub(crate) const SCOPE: &str = "https://graph.microsoft.com/.default";

/// An authority with its data directory.
pub(crate) struct Site {
    pub(crate) authority: Authority,
    /// Runs the authority.
    runtime: Runtime,
    data: TempDir,
}

impl Site {
    pub(crate) fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let data = tempfile::tempdir().unwrap();
        let builder = Authority::builder().data_dir(data.path());
        let authority = runtime.block_on(builder.start()).unwrap();
        Self { authority, runtime, data }
    }

    /// Runs something beside the authority.
    pub(crate) fn run_to_end<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.data.path().join(file)
    }

    /// One of the ready-made configurations.
    pub(crate) fn configuration(&self, name: &str) -> PathBuf {
        self.path(&format!("appsettings-{name}.json"))
    }

    /// A changed copy of a ready-made configuration.
    pub(crate) fn edited(&self, name: &str, edit: impl FnOnce(&mut Value)) -> PathBuf {
        let mut json = read_json(&self.configuration(name));
        edit(&mut json);
        let path = self.path("edited.json");
        fs::write(&path, json.to_string()).unwrap();
        path
    }

    /// A machine with these identities, each a client id and an object id, the system-assigned one first.
    pub(crate) fn platform(&self, [system, assigned]: [(&str, &str); 2]) -> Platform {
        let identity = |(client_id, object_id)| ManagedIdentity::new(client_id, object_id);
        let machine = Platform::builder().system_assigned(identity(system)).user_assigned(identity(assigned));
        self.runtime.block_on(machine.start(&self.authority)).unwrap()
    }

    /// What a sign-in of this user at this application brings.
    pub(crate) fn code(&self, user: &str, client_id: &str) -> String {
        self.authority.authorization_code(&AuthorizationCode::new(client_id, user, REDIRECT_URI)).unwrap()
    }

    /// What lets the sample web API name users.
    pub(crate) fn exchange_token(&self) -> String {
        let configuration = self.configuration("web-api");
        let arguments = ["--config", configuration.to_str().unwrap()];
        run(command().args(["token", "--scope", "api://AzureADTokenExchange/.default"]).args(arguments)).ok()
    }

    /// Runs `symbolon token` with a scope.
    pub(crate) fn token(&self, configuration: &Path, arguments: &[&str]) -> Ran {
        let all = ["token", "--scope", SCOPE, "--config", configuration.to_str().unwrap()];
        self.run(&[&all, arguments].concat())
    }

    /// Runs the binary, and searches all that it prints for secrets.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let ran = run(command().args(arguments));
        for secret in self.secrets() {
            assert!(
                !ran.stderr.contains(&secret),
                "a secret in the messages of {arguments:?}:\n{}",
                ran.stderr
            );
            assert!(
                !ran.stdout.contains(&secret),
                "a secret in the output of {arguments:?}:\n{}",
                ran.stdout
            );
        }
        ran
    }

    /// Client secrets, passwords, and lines of private keys.
    fn secrets(&self) -> Vec<String> {
        let mut secrets = vec![CANARY.to_owned()];
        let registrations = read_json(&self.path("applications.json"));
        let values = registrations["applications"].as_array().unwrap().iter().filter_map(|application| {
            application["secrets"].as_array()?.first()?["value"].as_str().map(str::to_owned)
        });
        secrets.extend(values);
        for file in ["client.pem", "client-chain.pem"] {
            let pem = fs::read_to_string(self.path(file)).unwrap();
            let key = pem.split("PRIVATE KEY-----").nth(1).unwrap();
            secrets.extend(key.lines().filter(|line| line.len() > 40).map(str::to_owned));
        }
        assert!(secrets.len() > 10, "the search has to have something to search for");
        secrets
    }
}

/// A secret that tests put into places.
pub(crate) const CANARY: &str = "canary-Zq8~secret-hK2";

/// The binary, in an environment without influence on it.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_symbolon"));
    command.env_clear().stdin(Stdio::null());
    command.envs(
        std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "TMPDIR" || name == "SystemRoot"),
    );
    command
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Standard output, when it worked.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.status, 0, "{}\n{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Standard output as JSON, when it worked.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.ok()).unwrap()
    }

    /// Standard error, when it ended with this status and printed nothing.
    #[track_caller]
    pub(crate) fn failed(self, status: i32) -> String {
        assert_eq!((self.status, self.stdout.as_str()), (status, ""), "{}", self.stderr);
        self.stderr
    }
}

pub(crate) fn run(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { status: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

pub(crate) fn read_json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}
