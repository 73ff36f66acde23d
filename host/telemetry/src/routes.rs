//! What a server on loopback shows of it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::FutureExt as _;
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use uuid::Uuid;

use crate::telemetry::Telemetry;
use crate::trace::{Trace, TraceLog};

/// `GET /metrics`: the page of metrics in the text format of Prometheus. Whom it is shown to is the server's to say.
pub fn metrics_router(telemetry: Telemetry) -> Router {
    let page = async move || match telemetry.metrics_page() {
        Ok(page) => ([(CONTENT_TYPE, PROMETHEUS)], page).into_response(),
        Err(error) => {
            tracing::error!(%error, "the page of metrics can't be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    };
    Router::new().route("/metrics", get(page))
}

/// `GET /Trace` and `GET /Trace/{correlationId}`: the traces of the latest acquisitions, as JSON, or with `?format=html` as
/// a page. Whom they are shown to is the server's to say: they name applications, scopes and hosts.
pub fn trace_router(log: Arc<TraceLog>) -> Router {
    let latest = log.clone();
    let all = async move |RawQuery(query): RawQuery| show(Some(latest.trace()), query.as_deref());
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

/// A layer for [`axum::middleware::from_fn`]: spans of acquisitions for a request continue the trace that its `traceparent`
/// names (W3C Trace Context).
pub async fn continue_trace(request: Request, next: Next) -> Response {
    match is_traced(request.headers()) {
        false => next.run(request).await,
        true => {
            let parent = TraceContextPropagator::new().extract(&HeaderExtractor(request.headers()));
            next.run(request).with_context(parent).await
        }
    }
}

fn is_traced(headers: &HeaderMap) -> bool {
    headers.contains_key("traceparent")
}

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
