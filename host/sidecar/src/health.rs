//! Whether there would be tokens for those who ask.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use symbolon::CredentialReport;
use symbolon_resources::credentials::CredentialStatus;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::dispatch::Served;

/// What was found last.
#[derive(Default)]
pub(crate) struct Readiness {
    /// Held by whoever looks; the others wait for what is found.
    found: Mutex<Option<(Instant, Arc<Report>)>>,
}

/// What isn't ready. Holds no secret.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    is_ready: bool,
    /// By name; the one at the root has the empty one.
    applications: BTreeMap<String, ApplicationReport>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ApplicationReport {
    is_ready: bool,
    /// Why no credential can be used; nothing where one can.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    credentials: Vec<String>,
    /// Why the authority's metadata aren't known; nothing where they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    authority: Option<String>,
}

impl Readiness {
    /// 200 or 503, and for callers of this machine what isn't ready.
    pub(crate) async fn answer(&self, applications: &[Served], is_local: bool) -> Response {
        let report = self.report(applications).await;
        let status = if report.is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        match is_local {
            true => (status, Json(&*report)).into_response(),
            false => (status, if report.is_ready { "Ready" } else { "Not ready" }).into_response(),
        }
    }

    async fn report(&self, applications: &[Served]) -> Arc<Report> {
        let mut found = self.found.lock().await;
        if let Some((at, report)) = &*found
            && at.elapsed() < STANDS
        {
            return Arc::clone(report);
        }
        let report = Arc::new(Report::of(applications).await);
        if !report.is_ready {
            tracing::warn!(name: "symbolon.sidecar.not_ready", ?report, "not ready");
        }
        *found = Some((Instant::now(), Arc::clone(&report)));
        report
    }
}

impl Report {
    async fn of(applications: &[Served]) -> Self {
        let mut reports = BTreeMap::new();
        for application in applications {
            let name = application.name.clone().unwrap_or_default();
            reports.insert(name, ApplicationReport::of(application).await);
        }
        Self { is_ready: reports.values().all(|report| report.is_ready), applications: reports }
    }
}

impl ApplicationReport {
    async fn of(served: &Served) -> Self {
        let application = &served.state.application;
        let reports = application.check_credentials().await;
        // One that somebody else has to be asked for is tried by the requests.
        let may_serve = |report: &CredentialReport| {
            matches!(report.status, CredentialStatus::Usable { .. } | CredentialStatus::Untried)
        };
        let credentials = match reports.iter().any(may_serve) {
            true => Vec::new(),
            false => reports.iter().filter_map(problem).collect(),
        };
        let reached = tokio::time::timeout(PATIENCE, served.state.validator.reaches_authority()).await;
        let authority = (!reached.unwrap_or(false))
            .then(|| format!("{} doesn't say what it signs with", application.options().authority()));
        let is_ready = reports.iter().any(may_serve) && authority.is_none();
        Self { is_ready, credentials, authority }
    }
}

fn problem(report: &CredentialReport) -> Option<String> {
    match &report.status {
        CredentialStatus::Unusable(error) => Some(format!("{} ({}): {error}", report.name, report.place)),
        _ => None,
    }
}

/// For how long what was found stands: probes come every few seconds, from several sides.
const STANDS: Duration = Duration::from_secs(2);
/// How long an authority may take. Probes don't wait longer either.
const PATIENCE: Duration = Duration::from_secs(3);
