//! One acquisition, as the host sees it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use symbolon_resources::cache::Watch;
use symbolon_resources::credentials::{Acquisition, Binding, SigningBudget};
use symbolon_resources::platform::Platform;
use symbolon_resources::transport::{Presentation, TransportError};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

use super::Question;
use super::bindings::symbolon::token::types;
use super::http::error_code;
use crate::application::Inner;
use crate::hooks::TokenRequestAttempt;
use crate::managed_identity::{IssuedCertificate, ManagedIdentityId};
use crate::recorder::{Event, RecordedRequest, next_number};

/// The variable that names the Azure region.
const REGION_NAME: &str = "REGION_NAME";

/// Whether it asks the instance metadata service what machine this is.
fn is_instance_metadata(uri: &http::Uri) -> bool {
    uri.host() == Some("169.254.169.254") && uri.path() == "/metadata/instance/compute"
}

/// Who asks, in the words of logs and hooks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// What was called, such as `for-client`.
    pub(crate) flow: &'static str,
    pub(crate) correlation_id: Uuid,
    /// The number under which it is recorded.
    pub(crate) number: u64,
}

impl Origin {
    /// Of a call that is inside no other.
    pub(crate) fn new(flow: &'static str, correlation_id: Uuid) -> Self {
        Self::inside(flow, correlation_id, next_number())
    }

    /// Of one that is recorded under the number of an outer one.
    pub(crate) fn inside(flow: &'static str, correlation_id: Uuid, number: u64) -> Self {
        Self { flow, correlation_id, number }
    }
}

/// What the guest's instance and the caller share about one acquisition.
#[derive(Debug)]
pub(crate) struct Call {
    pub(super) application: Arc<Inner>,
    origin: Origin,
    /// How many requests were sent.
    attempts: AtomicU32,
    /// When the acquisition must have ended.
    pub(super) deadline: Instant,
    /// The identity that it is for, where the platform gives the token.
    identity: Option<ManagedIdentityId>,
    /// Whether it renews a token that still stands.
    pub(super) renews: bool,
    /// What its credentials may do, and what acquisitions inside it inherit.
    pub(super) credentials: Acquisition,
    http_nanos: AtomicU64,
    /// How many flights it leads: others wait for what they bring, or will.
    leads: AtomicU64,
    /// Those that it has led.
    flights: Mutex<Vec<Watch<Arc<types::Error>>>>,
    /// What the transport saw last. The guest decides on a code alone; people need the words.
    transport_error: Mutex<Option<Arc<TransportError>>>,
    /// The certificates of the credentials that were selected.
    bindings: Mutex<Vec<Arc<Binding>>>,
}

impl Call {
    /// `depth` says how many others the acquisition is inside of.
    pub(super) fn new(
        application: Arc<Inner>,
        origin: Origin,
        question: &Question,
        renews: bool,
        deadline: Instant,
        depth: u32,
    ) -> Arc<Self> {
        let credentials = Acquisition::new(SigningBudget::new())
            .with_deadline(deadline)
            .with_depth(depth)
            .with_number(origin.number)
            .with_correlation_id(origin.correlation_id.to_string());
        Arc::new(Self {
            application,
            origin,
            attempts: AtomicU32::new(0),
            deadline,
            renews,
            identity: question.managed_identity().map(Into::into),
            credentials,
            http_nanos: AtomicU64::new(0),
            leads: AtomicU64::new(0),
            flights: Mutex::default(),
            transport_error: Mutex::default(),
            bindings: Mutex::default(),
        })
    }

    /// The platform, for an acquisition that is for a token of its giving.
    pub(super) fn platform(&self) -> Option<&Platform> {
        self.identity.is_some().then_some(&self.application.shared.platform)
    }

    /// The identity that it is for, where the platform gives the token.
    pub(super) fn identity(&self) -> Option<&ManagedIdentityId> {
        self.identity.as_ref()
    }

    /// What was issued last to the identity that it is for.
    pub(super) fn issued(&self) -> Option<Arc<IssuedCertificate>> {
        let application = &self.application;
        application.issued.get(self.identity.as_ref()?, application.clock.now_unix_ms() / 1000)
    }

    /// What of the platform's variables the acquisition may see: all where the platform gives the token, the region where
    /// that is to be detected.
    pub(super) fn platform_variables(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        let (all, detects_region) = (self.identity.is_some(), self.application.options.detects_region());
        let variables = self.application.shared.platform.variables();
        variables.filter(move |(name, _)| all || detects_region && *name == REGION_NAME)
    }

    /// Whether a plain request goes to the platform.
    pub(super) fn is_to_platform(&self, uri: &http::Uri) -> bool {
        let may_reach =
            self.identity.is_some() || self.application.options.detects_region() && is_instance_metadata(uri);
        may_reach && self.application.platform_transport.allows(uri)
    }

    /// Tells of a request that is about to be sent. Gives what is recorded of it, where anybody records.
    pub(super) fn about_to_send(
        &self,
        request: &http::Request<Bytes>,
        presentation: &Presentation,
    ) -> Option<RecordedRequest> {
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let uri = request.uri();
        if let Some(hooks) = self.application.hooks.get() {
            let Origin { flow, correlation_id, .. } = self.origin;
            hooks.token_request(&TokenRequestAttempt {
                application: self.application.options.id(),
                flow,
                host: uri.host().unwrap_or_default(),
                path: uri.path(),
                correlation_id,
                attempt,
                presents_certificate: presentation.certificate.is_some(),
            });
        }
        if !self.application.recorders.is_there() {
            return None;
        }
        let (method, headers, body) = (request.method(), request.headers(), request.body());
        let binding = presentation.certificate.as_ref();
        let recorded = RecordedRequest {
            certificate: binding.map(|binding| binding.thumbprint_sha256().to_owned()),
            secret: presentation.secret.as_ref().map(|(place, _)| place.to_string()),
            ..RecordedRequest::new(attempt, method, uri, headers, Some(body))
        };
        self.record(|| Event::RequestSent(&recorded));
        Some(recorded)
    }

    /// Tells those who record.
    pub(super) fn record<'a>(&self, event: impl FnOnce() -> Event<'a>) {
        self.application.record(self.origin, self.credentials.depth(), event);
    }

    /// Remembers what the transport saw, and gives what the guest learns of it.
    pub(super) fn transport_failed(&self, error: TransportError) -> ErrorCode {
        let code = error_code(&error);
        *self.transport_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(error));
        code
    }

    pub(super) fn transport_error(&self) -> Option<Arc<TransportError>> {
        self.transport_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn selected(&self, binding: &Arc<Binding>) {
        self.bindings.lock().unwrap_or_else(PoisonError::into_inner).push(binding.clone());
    }

    /// The selected certificate with this `x5t#S256`.
    pub(super) fn binding(&self, key_id: &str) -> Option<Arc<Binding>> {
        let bindings = self.bindings.lock().unwrap_or_else(PoisonError::into_inner);
        bindings.iter().rev().find(|binding| binding.thumbprint_sha256() == key_id).cloned()
    }

    /// Waits, at most until the deadline: the time then, Unix milliseconds.
    pub(super) async fn wait(&self, duration_ms: u64) -> u64 {
        let began = Instant::now();
        sleep_until(self.deadline.min(began + Duration::from_millis(duration_ms))).await;
        self.record(|| Event::Paused { duration: began.elapsed() });
        self.application.clock.now_unix_ms()
    }

    pub(super) fn add_http_duration(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.http_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(super) fn http_duration(&self) -> Duration {
        Duration::from_nanos(self.http_nanos.load(Ordering::Relaxed))
    }

    pub(super) fn began_lead(&self, flight: Watch<Arc<types::Error>>) {
        self.leads.fetch_add(1, Ordering::AcqRel);
        self.flights.lock().unwrap_or_else(PoisonError::into_inner).push(flight);
    }

    pub(super) fn ended_lead(&self) {
        self.leads.fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn leads(&self) -> bool {
        self.leads.load(Ordering::Acquire) > 0
    }

    /// Whether anyone waits for what it brings.
    pub(super) fn is_waited_for(&self) -> bool {
        let flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.iter().any(Watch::is_waited_for)
    }
}
