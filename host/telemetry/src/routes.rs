//! What a server on loopback shows of it.

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::FutureExt as _;
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use uuid::Uuid;

use crate::telemetry::Telemetry;
use crate::trace::{Trace, TraceLog};

/// What a server shows of it, to whom is the server's to say:
///
/// * `GET /metrics`: the page of metrics in the text format of Prometheus;
/// * `GET /Trace` and `GET /Trace/{correlationId}`: the traces of the latest acquisitions, as JSON, or with `?format=html` as
///   a page. They name applications, scopes and hosts; where none are kept ([`TraceLog::enable`]), there is nothing.
pub fn router(telemetry: &Telemetry) -> Router {
    metrics_router(telemetry.clone()).merge(trace_router(telemetry.traces()))
}

fn metrics_router(telemetry: Telemetry) -> Router {
    let page = async move || match telemetry.metrics_page() {
        Ok(page) => ([(CONTENT_TYPE, PROMETHEUS)], page).into_response(),
        Err(error) => {
            tracing::error!(%error, "the page of metrics can't be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    };
    Router::new().route("/metrics", get(page))
}

fn trace_router(log: Arc<TraceLog>) -> Router {
    let latest = log.clone();
    let all = async move |RawQuery(query): RawQuery| {
        show(latest.is_enabled().then(|| latest.trace()), query.as_deref())
    };
    let one = async move |Path(id): Path<String>, RawQuery(query): RawQuery| {
        show(Uuid::parse_str(&id).ok().and_then(|id| log.correlated(id)), query.as_deref())
    };
    Router::new().route("/Trace", get(all)).route("/Trace/{id}", get(one))
}

fn show(trace: Option<Trace>, query: Option<&str>) -> Response {
    let Some(trace) = trace else { return StatusCode::NOT_FOUND.into_response() };
    let (content_type, text) = match query {
        Some("format=html") => ("text/html; charset=utf-8", Ok(trace.to_html())),
        _ => ("application/json", trace.to_json()),
    };
    match text {
        Ok(text) => ([(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The trace that a request is part of, by its `traceparent` (W3C Trace Context).
#[derive(Clone, Debug)]
pub struct TraceParent(Option<Context>);

impl TraceParent {
    /// That of a request with these headers.
    pub fn of(headers: &HeaderMap) -> Self {
        let is_traced = headers.contains_key("traceparent");
        Self(is_traced.then(|| TraceContextPropagator::new().extract(&HeaderExtractor(headers))))
    }

    /// Spans of acquisitions inside this future are below the caller's.
    pub async fn around<F: Future>(self, future: F) -> F::Output {
        match self.0 {
            Some(parent) => future.with_context(parent).await,
            None => future.await,
        }
    }
}

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
