//! One row: a token from the authority, then from the cache, and what the authority saw of it.

use std::time::Duration;

use serde::Serialize;
use symbolon::{Application, AuthenticationResult, TokenSource};
use symbolon_authority::{Authority, LogEntry};
use tokio::time::Instant;

/// One way to authenticate, and what has to come of it.
pub(super) struct Case {
    pub(super) transport: Transport,
    /// What is special about it, for people.
    pub(super) note: &'static str,
    pub(super) application: Application,
    pub(super) proof_of_possession: bool,
    /// The host that has to be asked.
    pub(super) host: &'static str,
}

/// How the client authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Transport {
    Secret,
    Assertion,
    CertificateOverMtls,
    MtlsPop,
}

/// What came of it. The members are a stable contract.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) flow: &'static str,
    pub(super) transport: Transport,
    pub(super) ok: bool,
    pub(super) endpoint_host: Option<String>,
    pub(super) certificate_presented: bool,
    pub(super) token_type: Option<String>,
    /// From the call to the token, with name resolution, connection, TLS and the authority's work.
    pub(super) cold_micros: Option<u64>,
    /// A call that the cache answers: the median of many.
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
}

impl Case {
    /// Acquires twice and compares with what the authority saw.
    pub(super) async fn run(&self, authority: &Authority) -> Row {
        let before = authority.log().last().map_or(0, |entry| entry.sequence);
        let started = Instant::now();
        let first = self.acquire().await;
        let cold = started.elapsed();
        let second = self.acquire().await;
        let cached = match &second {
            Ok(_) => self.measure_cached().await,
            Err(_) => None,
        };
        let seen: Vec<_> = authority.log().into_iter().filter(|entry| entry.sequence > before).collect();
        let problem = self.problem(&first, &second, &seen);
        Row {
            flow: "for-client",
            transport: self.transport,
            ok: problem.is_none(),
            endpoint_host: seen.last().map(|entry| entry.host.clone()),
            certificate_presented: seen.last().is_some_and(|entry| entry.client_certificate.is_some()),
            token_type: first.as_ref().ok().map(|token| token.token_type().to_owned()),
            cold_micros: first.as_ref().ok().map(|_| u64::try_from(cold.as_micros()).unwrap_or(u64::MAX)),
            cached_nanos: cached,
            requests: seen.len(),
            note: self.note,
            problem,
            seen,
        }
    }

    async fn acquire(&self) -> symbolon::Result<AuthenticationResult> {
        let request = self.application.acquire_token_for_client([SCOPE]);
        match self.proof_of_possession {
            true => request.with_mtls_proof_of_possession().await,
            false => request.await,
        }
    }

    /// The median time of a cached call in nanoseconds; nothing when one of them fails. Calls are timed by the batch,
    /// as a look at the clock takes as long as some of them.
    async fn measure_cached(&self) -> Option<u64> {
        let mut batches = Vec::with_capacity(BATCHES);
        for _ in 0..BATCHES {
            let started = Instant::now();
            for _ in 0..BATCH {
                self.acquire().await.ok()?;
            }
            batches.push(started.elapsed() / BATCH);
        }
        batches.sort_unstable();
        batches.get(BATCHES / 2).map(|time: &Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The first thing that isn't as it has to be.
    fn problem(
        &self,
        first: &symbolon::Result<AuthenticationResult>,
        second: &symbolon::Result<AuthenticationResult>,
        seen: &[LogEntry],
    ) -> Option<String> {
        let (first, second) = match (first, second) {
            (Ok(first), Ok(second)) => (first, second),
            (Err(error), _) | (_, Err(error)) => return Some(error.to_string()),
        };
        let [request] = seen else {
            return Some(format!("the authority saw {} requests and should have seen one", seen.len()));
        };
        let over_mtls = matches!(self.transport, Transport::CertificateOverMtls | Transport::MtlsPop);
        let token_type = if self.proof_of_possession { "mtls_pop" } else { "Bearer" };
        let bound_to = first.binding_certificate().map(|binding| binding.thumbprint_sha256());
        let checks = [
            (
                first.metadata().token_source == TokenSource::IdentityProvider,
                "the first token came from the cache",
            ),
            (
                second.metadata().token_source == TokenSource::Cache,
                "the second token didn't come from the cache",
            ),
            (first.access_token() == second.access_token(), "the second token is another one"),
            (request.host == self.host, "the request went to another host"),
            (
                request.client_certificate.is_some() == over_mtls,
                "a certificate was presented where it shouldn't, or not where it should",
            ),
            (first.token_type() == token_type, "the token is of another type"),
            (
                bound_to.is_some() == self.proof_of_possession,
                "the token is bound where it shouldn't, or not where it should",
            ),
            (
                bound_to.is_none() || bound_to == request.client_certificate.as_deref(),
                "the token is bound to another certificate than the connection",
            ),
        ];
        checks.into_iter().find(|(holds, _)| !holds).map(|(_, problem)| problem.to_owned())
    }
}

const SCOPE: &str = "https://graph.microsoft.com/.default";

/// 101 × 100 calls take a few milliseconds.
const BATCHES: usize = 101;
const BATCH: u32 = 100;
