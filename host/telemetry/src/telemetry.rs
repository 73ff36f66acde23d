//! Metrics and spans, from the engine to those who collect them.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{
    MetricExporter, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prometheus::{Encoder as _, Registry, TextEncoder};
use symbolon::{Event, Recorded, Recorder, Symbolon};
use symbolon_resources::transport::TransportOptionsError;
use tokio::sync::oneshot;

use crate::export::Client;
use crate::metrics::Metrics;
use crate::spans::Spans;
use crate::trace::TraceLog;

/// Metrics of an engine, for a page and for a collector, and spans for a collector. Cheap to clone.
#[derive(Clone)]
pub struct Telemetry {
    inner: Arc<Inner>,
}

struct Inner {
    metrics: Arc<Metrics>,
    spans: Option<Arc<Spans>>,
    traces: Arc<TraceLog>,
    observed: Arc<OnceLock<Symbolon>>,
    meters: SdkMeterProvider,
    tracers: Option<SdkTracerProvider>,
    registry: Registry,
}

/// Why telemetry can't be had as it is asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// A variable asks for a protocol that isn't spoken.
    #[error("{name}: found {found:?}; accepted: http/protobuf")]
    Protocol {
        /// The variable.
        name: &'static str,
        /// What it says.
        found: String,
    },
    /// The proxy or the root certificates that the environment names can't be used.
    #[error(transparent)]
    Transport(TransportOptionsError),
    /// An exporter can't be made.
    #[error("OTLP: {0}")]
    Exporter(String),
    /// The page of metrics can't be written.
    #[error("the page of metrics: {0}")]
    Page(String),
    /// Exporters want to be made inside a tokio runtime.
    #[error("exporters need a tokio runtime")]
    NoRuntime,
}

impl Telemetry {
    /// Metrics, and, where the environment names a collector, exporters to it.
    ///
    /// | variable | says |
    /// |---|---|
    /// | `OTEL_EXPORTER_OTLP_ENDPOINT` | where the collector is, such as `http://localhost:4318`. Nothing is exported without it, or one of the next two. |
    /// | `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT` | the whole URL for one signal |
    /// | `OTEL_EXPORTER_OTLP_PROTOCOL` | `http/protobuf`, which is also the default |
    /// | `OTEL_SERVICE_NAME` | the name of the service; `symbolon` by default |
    /// | `OTEL_SDK_DISABLED` | `true` exports nothing |
    ///
    /// The SDK reads further ones from the process's environment, such as `OTEL_EXPORTER_OTLP_HEADERS`,
    /// `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER` and `OTEL_METRIC_EXPORT_INTERVAL`.
    ///
    /// # Errors
    ///
    /// [`TelemetryError`] where a variable asks for what can't be done.
    pub fn new(environment: impl Fn(&str) -> Option<String>) -> Result<Self, TelemetryError> {
        let set = |name: &str| environment(name).filter(|value| !value.trim().is_empty());
        let is_disabled = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let endpoint = |signal: &str, path: &str| {
            let own = set(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"));
            let base = || set("OTEL_EXPORTER_OTLP_ENDPOINT");
            let endpoint = own.or_else(|| Some(format!("{}/{path}", base()?.trim_end_matches('/'))));
            endpoint.filter(|_| !is_disabled)
        };
        let (traces, metrics) = (endpoint("TRACES", "v1/traces"), endpoint("METRICS", "v1/metrics"));
        let name = set("OTEL_SERVICE_NAME").unwrap_or_else(|| "symbolon".to_owned());
        let resource = Resource::builder().with_service_name(name).build();
        let client = match traces.is_some() || metrics.is_some() {
            true => {
                check_protocol(&set)?;
                Some(Client::new(&environment)?)
            }
            false => None,
        };
        let tracers = match (&client, traces) {
            (Some(client), Some(endpoint)) => Some(tracers(client, endpoint, resource.clone())?),
            _ => None,
        };
        let exporter = match (&client, metrics) {
            (Some(client), Some(endpoint)) => Some(metric_exporter(client, endpoint)?),
            _ => None,
        };
        Self::with(resource, tracers, exporter)
    }

    fn with(
        resource: Resource,
        tracers: Option<SdkTracerProvider>,
        exporter: Option<MetricExporter>,
    ) -> Result<Self, TelemetryError> {
        let registry = Registry::new();
        let page =
            opentelemetry_prometheus::exporter().with_registry(registry.clone()).scope_info_enabled(false);
        let page = page.build().map_err(|error| TelemetryError::Page(error.to_string()))?;
        let mut meters = SdkMeterProvider::builder().with_resource(resource).with_reader(page);
        if let Some(exporter) = exporter {
            meters = meters.with_periodic_exporter(exporter);
        }
        let (meters, observed) = (meters.build(), Arc::default());
        let metrics = Arc::new(Metrics::new(&meters.meter(SCOPE), &observed));
        let spans = tracers.as_ref().map(|tracers| Arc::new(Spans::new(tracers.tracer(SCOPE))));
        let traces = Arc::new(TraceLog::new(TRACES));
        traces.enable(false);
        Ok(Self { inner: Arc::new(Inner { metrics, spans, traces, observed, meters, tracers, registry }) })
    }

    /// What is to be given to [`Builder::recorder`](symbolon::Builder::recorder).
    pub fn recorder(&self) -> Arc<dyn Recorder> {
        let Inner { metrics, spans, traces, .. } = &*self.inner;
        let (metrics, spans, traces) = (metrics.clone(), spans.clone(), traces.clone());
        Arc::new(move |of: &Recorded<'_>, event: &Event<'_>| {
            metrics.record(of, event);
            traces.record(of, event);
            if let Some(spans) = &spans {
                spans.record(of, event);
            }
        })
    }

    /// Reads what the engine says of itself, from now on: its cache, its instances, its applications' credentials. The first
    /// engine counts.
    pub fn observe(&self, symbolon: &Symbolon) {
        // A second engine is another one's to observe.
        let _ = self.inner.observed.set(symbolon.clone());
    }

    /// Counts a change of the configuration, which was applied, or refused because it can't work.
    pub fn configuration_reloaded(&self, applied: bool) {
        self.inner.metrics.configuration_reloaded(applied);
    }

    /// The metrics in the text format of Prometheus (version 0.0.4).
    ///
    /// # Errors
    ///
    /// [`TelemetryError::Page`], which is a bug.
    pub fn metrics_page(&self) -> Result<String, TelemetryError> {
        let mut page = Vec::new();
        let written = TextEncoder::new().encode(&self.inner.registry.gather(), &mut page);
        written.map_err(|error| TelemetryError::Page(error.to_string()))?;
        String::from_utf8(page).map_err(|error| TelemetryError::Page(error.to_string()))
    }

    /// The traces of the latest acquisitions. None are kept until that is wanted ([`TraceLog::enable`]).
    pub fn traces(&self) -> Arc<TraceLog> {
        self.inner.traces.clone()
    }

    /// Exports what is left, and nothing from then on. A collector that doesn't answer is waited for until `limit` is over.
    pub async fn shut_down(&self, limit: Duration) {
        let inner = Arc::clone(&self.inner);
        let (tell, told) = oneshot::channel();
        // A thread that the runtime doesn't wait for: the exporters block.
        std::thread::spawn(move || {
            let tracers = inner.tracers.as_ref().map_or(Ok(()), SdkTracerProvider::shutdown);
            let _ = tell.send(tracers.and(inner.meters.shutdown()));
        });
        let problem = match tokio::time::timeout(limit, told).await {
            Ok(Ok(Err(error))) => error.to_string(),
            Err(_) => format!("it took longer than {} s", limit.as_secs_f32()),
            Ok(_) => return,
        };
        tracing::warn!(problem, "the last spans and metrics could not be exported");
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("exports_spans", &self.inner.spans.is_some())
            .finish_non_exhaustive()
    }
}

/// Another protocol than ours would be spoken in vain.
fn check_protocol(set: &impl Fn(&str) -> Option<String>) -> Result<(), TelemetryError> {
    for name in [
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
    ] {
        if let Some(found) = set(name).filter(|protocol| protocol != "http/protobuf") {
            return Err(TelemetryError::Protocol { name, found });
        }
    }
    Ok(())
}

fn tracers(
    client: &Client,
    endpoint: String,
    resource: Resource,
) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder().with_http().with_http_client(client.clone());
    let exporter = exporter.with_protocol(Protocol::HttpBinary).with_endpoint(endpoint).build();
    let exporter = exporter.map_err(|error| TelemetryError::Exporter(error.to_string()))?;
    Ok(SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build())
}

fn metric_exporter(client: &Client, endpoint: String) -> Result<MetricExporter, TelemetryError> {
    let exporter = MetricExporter::builder().with_http().with_http_client(client.clone());
    let exporter = exporter.with_protocol(Protocol::HttpBinary).with_endpoint(endpoint).build();
    exporter.map_err(|error| TelemetryError::Exporter(error.to_string()))
}

/// How many acquisitions a server keeps the traces of: some hundreds of kilobytes.
const TRACES: usize = 100;

/// The name of the meter and of the tracer.
const SCOPE: &str = "symbolon";
