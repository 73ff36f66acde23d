//! What the end-to-end tests share: a local authority with its sample applications, and an engine to reach it with.

pub mod apis;
pub mod flows;
pub mod guests;
pub mod installed;
pub mod keys;
pub mod redis_cluster;
pub mod redis_sentinels;
pub mod redis_server;

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use symbolon::{
    Application, ApplicationOptions, Builder, Clock as _, Error, ManualClock, Settings, Symbolon, SystemClock,
};
use symbolon_authority::{
    Authority, AuthorityBuilder, AuthorizationCode, Clock, LogEntry, REDIRECT_URI, UserToken,
};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::keys::Keys;

/// A component that attacks its host. Its first scope says how.
pub const HOSTILE_GUEST: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hostile-guest.wasm"));
/// Where its bytes come from: `source` or `committed`.
pub const HOSTILE_GUEST_ORIGIN: &str = env!("HOSTILE_GUEST_ORIGIN");
/// The scope that every sample application may ask for.
pub const GRAPH: &str = "https://graph.microsoft.com/.default";
/// Another one.
pub const VAULT: &str = "https://vault.azure.net/.default";
/// What agents and those who name users prove themselves with.
pub const EXCHANGE: &str = "api://AzureADTokenExchange/.default";

/// A local authority on a port of its own, with its data in a directory of its own.
pub struct World {
    /// The authority.
    pub authority: Authority,
    directory: TempDir,
    keys: Keys,
}

impl World {
    /// Starts an authority with its sample applications.
    pub async fn start() -> Self {
        Self::start_with(|authority| authority).await
    }

    /// The same, with something added to it.
    ///
    /// # Panics
    ///
    /// Where the authority can't be started.
    #[expect(clippy::expect_used, reason = "a test can't go on without it")]
    pub async fn start_with(add: impl FnOnce(AuthorityBuilder) -> AuthorityBuilder) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        for (name, content) in SAMPLES.get_or_init(samples).await {
            std::fs::write(directory.path().join(name), content).expect("a file of the data directory");
        }
        let builder = add(Authority::builder().data_dir(directory.path()));
        let authority = builder.start().await.expect("the local authority starts");
        Self { authority, directory, keys: Keys::default() }
    }

    /// The same with an engine, both in the time of a clock that begins now and moves when it is told to.
    pub async fn timed() -> (Self, Symbolon, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(SystemClock.now_unix_ms()));
        let theirs = clock.clone();
        let world =
            Self::start_with(|authority| authority.clock(Clock::new(move || theirs.now_unix_ms()))).await;
        let engine = engine_with(|builder| builder.clock(clock.clone()));
        (world, engine, clock)
    }

    /// The same with the private keys of the sample applications elsewhere.
    pub fn with_keys(self, keys: Keys) -> Self {
        Self { keys, ..self }
    }

    /// A file of the authority's data directory.
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// The settings that the authority wrote for one of its sample applications, such as `secret` or `bound`.
    pub fn settings(&self, sample: &str) -> serde_json::Value {
        let text =
            std::fs::read_to_string(self.path(&format!("appsettings-{sample}.json"))).unwrap_or_default();
        let mut settings = serde_json::from_str(&text).unwrap_or_default();
        self.keys.place(self.directory.path(), &mut settings);
        settings
    }

    /// The options of one of its sample applications, changed by `change`.
    ///
    /// # Errors
    ///
    /// Where the changed settings aren't accepted.
    pub fn options(
        &self,
        sample: &str,
        change: impl FnOnce(&mut serde_json::Value),
    ) -> Result<ApplicationOptions, Error> {
        let mut settings = self.settings(sample);
        change(&mut settings);
        let file = tempfile::NamedTempFile::new_in(self.directory.path()).map_err(unexpected)?;
        std::fs::write(file.path(), settings.to_string()).map_err(unexpected)?;
        Ok(Settings::from_file(file.path())?.application(None)?)
    }

    /// One of its sample applications.
    ///
    /// # Panics
    ///
    /// Where its settings aren't accepted.
    pub fn application(&self, symbolon: &Symbolon, sample: &str) -> Application {
        self.application_with(symbolon, sample, |_| {})
    }

    /// One of its sample applications, with settings changed by `change`.
    ///
    /// # Panics
    ///
    /// Where the changed settings aren't accepted.
    #[expect(clippy::expect_used, reason = "a test can't go on without it")]
    pub fn application_with(
        &self,
        symbolon: &Symbolon,
        sample: &str,
        change: impl FnOnce(&mut serde_json::Value),
    ) -> Application {
        let options = self.options(sample, change).expect("the authority's sample settings");
        symbolon.application(options).expect("an application")
    }

    /// What a web API with this client id is called with by a user: a token for a day, each of its own.
    ///
    /// # Panics
    ///
    /// Where there is no such user.
    #[expect(clippy::expect_used, reason = "a test can't go on without it")]
    pub fn user_token(&self, user: &str, client_id: &str) -> String {
        let token = UserToken::new(user, client_id).lifetime_seconds(24 * 60 * 60);
        self.authority.user_token(&token).expect("a user")
    }

    /// What a sign-in of this user at this application brings to [`REDIRECT_URI`].
    ///
    /// # Panics
    ///
    /// Where there is no such user.
    #[expect(clippy::expect_used, reason = "a test can't go on without it")]
    pub fn code(&self, user: &str, client_id: &str) -> String {
        let code = AuthorizationCode::new(client_id, user, REDIRECT_URI);
        self.authority.authorization_code(&code).expect("a user")
    }

    /// What the token endpoint saw.
    pub fn token_requests(&self) -> Vec<LogEntry> {
        self.authority.log().into_iter().filter(|entry| entry.path.ends_with("/token")).collect()
    }

    /// What an operation gives, and what the token endpoint saw of it.
    pub async fn seen<F: IntoFuture>(&self, operation: F) -> (F::Output, Vec<LogEntry>) {
        let before = self.token_requests().len();
        let output = operation.await;
        (output, self.token_requests().split_off(before))
    }

    /// Waits until the token endpoint has seen so many requests.
    pub async fn requested(&self, requests: usize) {
        until(|| self.token_requests().len() >= requests).await;
    }
}

/// The files of a fresh data directory. Their keys take so long to make that all worlds of a test binary share them.
static SAMPLES: OnceCell<Vec<(OsString, Vec<u8>)>> = OnceCell::const_new();

#[expect(clippy::expect_used, reason = "a test can't go on without it")]
async fn samples() -> Vec<(OsString, Vec<u8>)> {
    let directory = TempDir::new().expect("a temporary directory");
    Authority::builder().data_dir(directory.path()).start().await.expect("the local authority starts");
    let files = std::fs::read_dir(directory.path()).expect("the data directory");
    let files = files.map(|file| file.expect("a file"));
    files.map(|file| (file.file_name(), std::fs::read(file.path()).expect("its content"))).collect()
}

#[expect(clippy::panic, reason = "a test can't go on")]
fn unexpected(error: std::io::Error) -> Error {
    panic!("a file of the test: {error}")
}

/// An engine for the shipped component with the default limits.
pub fn engine() -> Symbolon {
    engine_with(|builder| builder)
}

/// An engine for the hostile component.
pub fn hostile_engine(add: impl FnOnce(Builder) -> Builder) -> Symbolon {
    engine_with(|builder| add(builder.component(HOSTILE_GUEST)))
}

/// An engine with something added to it.
///
/// # Panics
///
/// Where the machine can't run it.
#[expect(clippy::expect_used, reason = "a test can't go on without it")]
pub fn engine_with(add: impl FnOnce(Builder) -> Builder) -> Symbolon {
    add(Symbolon::builder()).build().expect("an engine")
}

/// What the hostile guest saw: it answers with an error whose code says it.
pub async fn order(application: &Application, order: impl Into<String>) -> Result<String, Error> {
    match application.acquire_token_for_client([order.into()]).await {
        Ok(_) => Ok(String::from("a token")),
        Err(Error::Acquisition(seen)) => Ok(seen.code.clone()),
        Err(error) => Err(error),
    }
}

/// Waits until something has happened elsewhere.
///
/// # Panics
///
/// Where it doesn't happen within 10 s.
#[expect(clippy::expect_used, reason = "a test can't go on without it")]
pub async fn until(has_happened: impl Fn() -> bool) {
    let wait = async {
        while !has_happened() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("it happens in time");
}

/// The payload of a JSON Web Token, unverified; null for anything else.
pub fn claims(token: &str) -> serde_json::Value {
    let payload = token.split('.').nth(1).and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
    payload.and_then(|payload| serde_json::from_slice(&payload).ok()).unwrap_or_default()
}

/// A path below the workspace.
pub fn workspace(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}
