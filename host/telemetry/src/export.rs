//! The way to a collector: OTLP as protobuf over HTTP, on the host's own transport.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use opentelemetry_http::{HttpClient, HttpError};
use symbolon_resources::transport::{RequestBody, Transport, TransportOptions, TransportShared};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::telemetry::TelemetryError;

/// Sends what is exported. Exporters run on threads of their own, the transport on the runtime.
#[derive(Clone)]
pub(crate) struct Client {
    transport: Arc<Transport>,
    runtime: Handle,
}

impl Client {
    pub(crate) fn new(environment: impl Fn(&str) -> Option<String>) -> Result<Self, TelemetryError> {
        let shared = TransportShared::new(environment).map_err(TelemetryError::Transport)?;
        let transport = Transport::to_apis(&shared, &TransportOptions::default());
        let runtime = Handle::try_current().map_err(|_| TelemetryError::NoRuntime)?;
        Ok(Self { transport: Arc::new(transport.map_err(TelemetryError::Transport)?), runtime })
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let transport = Arc::clone(&self.transport);
        let sent = self.runtime.spawn(async move {
            let request = request.map(RequestBody::whole);
            let answer = transport.exchange(request, None, Some(Instant::now() + LIMIT), LIMIT).await?;
            let (head, body) = answer.into_parts();
            Ok::<_, HttpError>(Response::from_parts(head, body.collect().await?.to_bytes()))
        });
        sent.await?
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// How long a collector has to answer, as the specification of OTLP has it.
const LIMIT: Duration = Duration::from_secs(10);
