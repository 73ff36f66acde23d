//! Ours and MSAL for Python at the same authority, one step after the other.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use symbolon::{Application, Clock, ManualClock, Symbolon, SystemClock, TokenSource};
use symbolon_authority::LogEntry;
use symbolon_end_to_end::{World, engine_with};

use crate::flows::{Call, Client};
use crate::python::Python;
use crate::requests::{Report, Side};

/// Both. The steps of a client follow each other, so that one application at a time is enough.
pub(crate) struct Pair {
    pub(crate) world: World,
    symbolon: Symbolon,
    clock: Arc<ManualClock>,
    /// The one of the latest step.
    application: Option<(&'static str, Application)>,
    python: Python,
    report: Report,
}

impl Pair {
    pub(crate) async fn start(python: impl FnOnce(&World) -> Python) -> Self {
        let world = World::start().await;
        let clock = Arc::new(ManualClock::new(SystemClock.now_unix_ms()));
        let symbolon = engine_with(|builder| builder.clock(clock.clone()));
        let python = python(&world);
        Self { world, symbolon, clock, application: None, python, report: Report::default() }
    }

    /// What all steps together showed.
    pub(crate) fn report(&self) -> &Report {
        &self.report
    }

    /// Both make the same call, and get a token.
    pub(crate) async fn step(&mut self, step: &'static str, client: &Client, call: &Call) {
        self.compare(step, client, call, false).await;
    }

    /// The same, where ours is answered from the cache and sends its requests afterwards.
    pub(crate) async fn step_with_renewal(&mut self, step: &'static str, client: &Client, call: &Call) {
        self.compare(step, client, call, true).await;
    }

    /// MSAL for Python alone makes a call, for what the next steps need.
    pub(crate) fn msal(&mut self, client: &Client, call: &Call) -> Value {
        let result = self.python.run(&call.job(client));
        assert!(result.get("access_token").is_some(), "MSAL for Python, {}: {result}", client.name);
        result
    }

    /// Everybody's clock moves on.
    pub(crate) fn advance(&mut self, by: Duration) {
        self.clock.advance(u64::try_from(by.as_millis()).expect("a short time"));
        self.world.authority.advance(by);
        self.python.run(&json!({ "flow": "advance", "seconds": by.as_secs() }));
    }

    async fn compare(&mut self, step: &'static str, client: &Client, call: &Call, renewal: bool) {
        let begin = self.log().len();
        let msals = self.msal(client, call);
        let middle = self.log().len();
        let ours = self.ours(step, client, call).await;
        if renewal {
            self.answered(2 * middle - begin).await;
        }
        let mut log = self.log();
        let symbolon = Side { token_source: json!(ours), log: &log.split_off(middle) };
        let msal = Side { token_source: msals["token_source"].clone(), log: &log.split_off(begin) };
        self.report.compare(step, &symbolon, &msal);
    }

    /// Our side of a step: where the token came from, in the words of MSAL for Python.
    async fn ours(&mut self, step: &str, client: &Client, call: &Call) -> &'static str {
        if self.application.as_ref().is_none_or(|(name, _)| *name != client.name) {
            // Tokens belong to the client id as long as one of its applications is there, and each client of MSAL for
            // Python begins without.
            self.application = None;
            let options = self.world.options("secret", |settings| client.configure(&mut settings["AzureAd"]));
            let application = self.symbolon.application(options.expect("options")).expect("an application");
            self.application = Some((client.name, application));
        }
        let (_, application) = self.application.as_ref().expect("an application");
        let python = &mut self.python;
        let visit = |url: &str| {
            let answer = python.run(&json!({ "flow": "visit", "url": url }));
            answer["location"].as_str().unwrap_or_default().to_owned()
        };
        let result = call.run(application, visit).await;
        match result.unwrap_or_else(|error| panic!("{step}: {error}")).metadata().token_source {
            TokenSource::IdentityProvider => "identity_provider",
            TokenSource::Cache => "cache",
            other => panic!("{step}: a token from {other:?}"),
        }
    }

    /// Waits until the authority has answered this many requests.
    async fn answered(&self, count: usize) {
        let answered = async {
            while self.log().iter().filter(|entry| entry.status.is_some()).count() < count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), answered).await.expect("the requests of a renewal");
    }

    fn log(&self) -> Vec<LogEntry> {
        self.world.authority.log()
    }
}
