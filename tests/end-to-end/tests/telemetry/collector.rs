//! A collector of OTLP, as small as one can be: it takes what is exported and lets tests look at it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// A running collector. It ends with the test's runtime.
pub(crate) struct Collector {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    traces: Vec<ExportTraceServiceRequest>,
    metrics: Vec<ExportMetricsServiceRequest>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (traces, metrics) = (seen.clone(), seen.clone());
        let router = Router::new()
            .route(
                "/v1/traces",
                post(async move |headers: HeaderMap, body: Bytes| {
                    assert_eq!(headers["content-type"], "application/x-protobuf");
                    let request = ExportTraceServiceRequest::decode(body).expect("spans");
                    traces.lock().expect("no panic").traces.push(request);
                    StatusCode::OK
                }),
            )
            .route(
                "/v1/metrics",
                post(async move |body: Bytes| {
                    let request = ExportMetricsServiceRequest::decode(body).expect("metrics");
                    metrics.lock().expect("no panic").metrics.push(request);
                    StatusCode::OK
                }),
            );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, seen }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` says.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All spans that came.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let seen = self.seen.lock().expect("no panic");
        let resources = seen.traces.iter().flat_map(|request| &request.resource_spans);
        resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
    }

    /// The names of all metrics that came, and the names of the services that they are of.
    pub(crate) fn metrics(&self) -> (Vec<String>, Vec<String>) {
        let seen = self.seen.lock().expect("no panic");
        let resources: Vec<_> = seen.metrics.iter().flat_map(|request| &request.resource_metrics).collect();
        let scopes = resources.iter().flat_map(|resource| &resource.scope_metrics);
        let names = scopes.flat_map(|scope| scope.metrics.iter().map(|metric| metric.name.clone())).collect();
        let services = resources
            .iter()
            .filter_map(|resource| text(&resource.resource.as_ref()?.attributes, "service.name"));
        (names, services.collect())
    }
}

/// The value of an attribute, where it is text.
pub(crate) fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == name)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}
