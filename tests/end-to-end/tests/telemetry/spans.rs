//! Spans and metrics reach a collector, and continue the trace of whoever called.

use std::collections::HashMap;
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use opentelemetry_proto::tonic::trace::v1::Span;
use symbolon_authority::{Fault, FaultRule};
use symbolon_end_to_end::{GRAPH, VAULT, World, engine_with};
use symbolon_telemetry::{Telemetry, TelemetryError, TraceParent};

use crate::collector::{Collector, text};

/// How long a collector has at the end.
const LIMIT: Duration = Duration::from_secs(10);

fn exporting_to(collector: &Collector) -> Telemetry {
    let variables = HashMap::from([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
        ("OTEL_SERVICE_NAME", "orders".to_owned()),
    ]);
    Telemetry::new(|name| variables.get(name).cloned()).expect("telemetry")
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_and_metrics_reach_a_collector() {
    let (world, collector) = (World::start().await, Collector::start().await);
    let telemetry = exporting_to(&collector);
    let symbolon = engine_with(|builder| builder.recorder(telemetry.recorder()));
    telemetry.observe(&symbolon);
    let application = world.application(&symbolon, "secret");
    let token = application.acquire_token_for_client([GRAPH]).await.expect("a token");
    application.acquire_token_for_client([GRAPH]).await.expect("the same token");
    world.authority.faults().add(FaultRule::once(Fault::Status {
        status: 400,
        retry_after: None,
        body: None,
    }));
    application.acquire_token_for_client([VAULT]).await.expect_err("a refusal");
    telemetry.shut_down(LIMIT).await;

    let spans = collector.spans();
    let acquired = named(&spans, "acquire_token for-client");
    assert_eq!(acquired.len(), 3, "{spans:#?}");
    let source = |span: &Span| text(&span.attributes, "TokenSource");
    assert_eq!(source(acquired[0]).as_deref(), Some("IdentityProvider"));
    assert_eq!(text(&acquired[0].attributes, "CacheRefreshReason").as_deref(), Some("NoCachedAccessToken"));
    let id = text(&acquired[0].attributes, "symbolon.correlation_id");
    assert_eq!(id, Some(token.correlation_id().to_string()));
    assert_eq!(source(acquired[1]).as_deref(), Some("Cache"));
    assert!(text(&acquired[2].attributes, "error.type").is_some());
    let request = named(&spans, "POST").into_iter().find(|span| span.parent_span_id == acquired[0].span_id);
    let request = request.expect("a request below the acquisition");
    assert_eq!(request.trace_id, acquired[0].trace_id);
    assert_eq!(text(&request.attributes, "server.address").as_deref(), Some("login.microsoftonline.com"));
    assert!(!format!("{spans:?}").contains("eyJ"), "a token is in a span");

    let (names, services) = collector.metrics();
    assert!(names.iter().any(|name| name == "symbolon.acquisitions"), "{names:?}");
    assert!(services.iter().all(|service| service == "orders") && !services.is_empty(), "{services:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_callers_trace_is_continued() {
    let (world, collector) = (World::start().await, Collector::start().await);
    let telemetry = exporting_to(&collector);
    let symbolon = engine_with(|builder| builder.recorder(telemetry.recorder()));
    let application = world.application(&symbolon, "secret");
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let headers =
        HeaderMap::from_iter([(HeaderName::from_static("traceparent"), parent.parse().expect("a value"))]);
    for _ in 0..2 {
        let acquisition = async { application.acquire_token_for_client([GRAPH]).await };
        TraceParent::of(&headers).around(acquisition).await.expect("a token");
    }
    telemetry.shut_down(LIMIT).await;
    let spans = collector.spans();
    assert_eq!(
        named(&spans, "acquire_token for-client").len(),
        2,
        "one from the authority, one an earlier answer"
    );
    for span in spans {
        let id: String = span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(id, trace, "{}", span.name);
    }
}

#[tokio::test]
async fn another_protocol_is_refused_and_none_is_spoken_unasked() {
    let asked = |name: &str| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("http://localhost:4317".to_owned()),
        "OTEL_EXPORTER_OTLP_PROTOCOL" => Some("grpc".to_owned()),
        _ => None,
    };
    let error = Telemetry::new(asked).expect_err("gRPC");
    assert!(matches!(error, TelemetryError::Protocol { .. }));
    assert_eq!(error.to_string(), "OTEL_EXPORTER_OTLP_PROTOCOL: found \"grpc\"; accepted: http/protobuf");
    let silent = Telemetry::new(|name| (name == "OTEL_SERVICE_NAME").then(|| "orders".to_owned()));
    assert!(format!("{:?}", silent.expect("telemetry")).contains("exports_spans: false"));
}

/// A collector that is gone costs spans, and nobody's time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_gone_holds_nobody() {
    let world = World::start().await;
    let gone =
        tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let telemetry = Telemetry::new(|name| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(format!("http://{gone}")),
        _ => None,
    });
    let telemetry = telemetry.expect("telemetry");
    let symbolon = engine_with(|builder| builder.recorder(telemetry.recorder()));
    let application = world.application(&symbolon, "secret");
    application.acquire_token_for_client([GRAPH]).await.expect("a token");
    let began = tokio::time::Instant::now();
    telemetry.shut_down(Duration::from_millis(500)).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
