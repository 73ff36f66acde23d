//! One row: a token from the authority, then from the cache, and what the authority saw of it.

use std::time::Duration;

use serde::Serialize;
use symbolon::Application;
use symbolon_authority::{ApiRequest, Authority, LogEntry};
use tokio::time::Instant;

use super::call::Call;
use super::demonstrations::{Demonstration, Transport};
use super::expectation;
use super::stage::Stage;
use crate::failure::Failure;

/// What came of it. The members are a stable contract.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) flow: &'static str,
    pub(super) transport: Transport,
    pub(super) ok: bool,
    /// The host of the last request; of rows about an API the API's.
    pub(super) endpoint_host: Option<String>,
    /// Whether the last request came with a certificate in the handshake.
    pub(super) certificate_presented: bool,
    pub(super) token_type: Option<String>,
    /// From the call to the token, with name resolution, connection, TLS and the authority's work. `silent` goes on over
    /// the connection of the call that made the user known.
    pub(super) cold_micros: Option<u64>,
    /// A call that the cache answers: the median of many. Of rows about an API the call of it, its token cached and the
    /// connection kept.
    pub(super) cached_nanos: Option<u64>,
    /// How many requests the authority saw.
    pub(super) requests: usize,
    #[serde(skip)]
    pub(super) note: &'static str,
    /// Why it isn't ok.
    #[serde(skip)]
    pub(super) problem: Option<String>,
    #[serde(skip)]
    pub(super) seen: Vec<LogEntry>,
    /// What the API saw, in rows about one.
    #[serde(skip)]
    pub(super) api: Vec<ApiRequest>,
}

impl Demonstration {
    /// Acquires twice and compares with what the authority saw.
    pub(super) async fn run(&self, stage: &Stage) -> Row {
        let mut row = Row::new(self.kind.flow(), self.transport, self.note);
        row.problem = self.act(stage, &mut row).await.unwrap_or_else(|failure| Some(failure.to_string()));
        row.ok = row.problem.is_none();
        row
    }

    /// Fills the row. Returns what isn't as it has to be.
    async fn act(&self, stage: &Stage, row: &mut Row) -> Result<Option<String>, Failure> {
        let application = stage.application(self)?;
        let call = stage.call(self, &application).await?;
        let before = stage.sequence();
        let started = Instant::now();
        let first = call.acquire(&application).await;
        let cold = started.elapsed();
        row.saw(&stage.authority, before);
        let first = first?;
        row.token_type = Some(first.token_type().to_owned());
        row.cold_micros = Some(u64::try_from(cold.as_micros()).unwrap_or(u64::MAX));
        let Some(later) = call.later(&first) else {
            return Ok(Some("the answer doesn't say how to go on".to_owned()));
        };
        let second = later.acquire(&application).await?;
        row.cached_nanos = measure(&application, &later).await;
        row.saw(&stage.authority, before);
        Ok(expectation::problem(self.legs, self.kind.token_type(), &first, &second, &row.seen))
    }
}

impl Row {
    pub(super) fn new(flow: &'static str, transport: Transport, note: &'static str) -> Self {
        Self {
            flow,
            transport,
            ok: false,
            endpoint_host: None,
            certificate_presented: false,
            token_type: None,
            cold_micros: None,
            cached_nanos: None,
            requests: 0,
            note,
            problem: None,
            seen: Vec::new(),
            api: Vec::new(),
        }
    }

    /// Takes over what the authority saw since `before`.
    pub(super) fn saw(&mut self, authority: &Authority, before: u64) {
        self.seen = authority.log().into_iter().filter(|entry| entry.sequence > before).collect();
        self.requests = self.seen.len();
        self.endpoint_host = self.seen.last().map(|entry| entry.host.clone());
        self.certificate_presented = self.seen.last().is_some_and(|entry| entry.client_certificate.is_some());
    }
}

/// The median time of a call in nanoseconds; nothing when one of them fails. Calls are timed by the batch, as a look at
/// the clock takes as long as some of them.
async fn measure(application: &Application, call: &Call) -> Option<u64> {
    let mut batches = Vec::with_capacity(BATCHES);
    for _ in 0..BATCHES {
        let started = Instant::now();
        for _ in 0..BATCH {
            call.acquire(application).await.ok()?;
        }
        batches.push(started.elapsed() / BATCH);
    }
    batches.sort_unstable();
    batches.get(BATCHES / 2).map(|time: &Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// 101 × 100 calls take a few milliseconds.
const BATCHES: usize = 101;
const BATCH: u32 = 100;
