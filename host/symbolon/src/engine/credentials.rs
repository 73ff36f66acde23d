//! `symbolon:credentials`: credentials by name, and requests on which they are presented.

use std::sync::Arc;

use symbolon_resources::credentials::{
    AssertionContext, Binding, ClientSecret, CredentialError, CredentialKind, Outcome, Purpose,
    SelectedCredential, SignatureAlgorithm,
};
use symbolon_resources::transport::{Place, Presentation};
use tokio::time::Instant;
use wasmtime::component::Resource;
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::Host as _;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, RequestOptions};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};

use super::bindings::symbolon::credentials::{provider, transport};
use super::http::{self, Outgoing, Way};
use super::platform::PlatformSecret;
use super::state::State;
use crate::managed_identity::IssuedCertificate;
use crate::recorder::{CredentialSelected, CredentialUnavailable, Event};

/// What the guest's `credential` stands for.
pub enum CredentialHandle {
    /// One of the application's own.
    Configured {
        /// As it was selected.
        selected: SelectedCredential,
        /// The certificate that its assertion is bound to, once there is one.
        bound_to: Option<Arc<Binding>>,
    },
    /// One of the platform's.
    Platform(PlatformSecret),
    /// A certificate that the platform issued.
    Issued(Arc<IssuedCertificate>),
}

impl CredentialHandle {
    /// The application's own credential; an error for those of the platform, which can only be presented.
    fn configured(&self) -> Result<&SelectedCredential, CredentialError> {
        let name = match self {
            Self::Configured { selected, .. } => return Ok(selected),
            Self::Platform(PlatformSecret { name, .. }) => name,
            Self::Issued(_) => ISSUED,
        };
        Err(CredentialError::Unsupported(format!("{name} signs nothing and gives no assertions")))
    }

    /// The certificate that is presented with it.
    fn binding(&self) -> Option<&Arc<Binding>> {
        match self {
            Self::Configured { selected, bound_to } => bound_to.as_ref().or(selected.binding()),
            Self::Platform(_) => None,
            Self::Issued(issued) => Some(&issued.binding),
        }
    }

    fn secret(&self) -> Option<&ClientSecret> {
        match self {
            Self::Configured { selected, .. } => selected.secret(),
            Self::Platform(PlatformSecret { secret, .. }) => Some(secret),
            Self::Issued(_) => None,
        }
    }

    /// Where it is presented.
    fn way(&self) -> Way {
        match self {
            Self::Configured { .. } => Way::Authority,
            Self::Platform(_) => Way::Platform,
            Self::Issued(issued) => Way::Issued(Arc::clone(issued)),
        }
    }
}

impl provider::Host for State {
    /// The first usable credential serves, and whether it can is the guest's to say. The purpose is for assertions, which
    /// may come with a certificate or without.
    async fn select(
        &mut self,
        selection: provider::Selection,
    ) -> wasmtime::Result<Result<Resource<CredentialHandle>, provider::Error>> {
        let call = self.call()?;
        let purpose = match selection.purpose {
            provider::Purpose::Authenticate => Purpose::Authenticate,
            provider::Purpose::Bind => Purpose::Bind,
            provider::Purpose::AuthenticateUnbound => Purpose::AuthenticateUnbound,
        };
        let acquisition = call.credentials.clone().with_purpose(purpose);
        let began = Instant::now();
        let selected = call.application.credentials.select(&acquisition).await;
        call.record(|| selection_of(&selected, began));
        match selected {
            Ok(selected) => {
                if let Some(binding) = selected.binding() {
                    call.selected(binding);
                }
                Ok(Ok(self.table.push(CredentialHandle::Configured { selected, bound_to: None })?))
            }
            Err(error) => Ok(Err(error.into())),
        }
    }

    fn report(
        &mut self,
        credential: Resource<CredentialHandle>,
        outcome: provider::Outcome,
    ) -> wasmtime::Result<()> {
        let outcome = match outcome {
            provider::Outcome::Used => Outcome::Used,
            provider::Outcome::Rejected => Outcome::Rejected,
        };
        if let Ok(selected) = self.table.get(&credential)?.configured() {
            let call = self.call()?;
            let accepted = outcome == Outcome::Used;
            call.record(|| Event::CredentialReported { name: selected.name(), accepted });
            call.application.credentials.report(selected, outcome);
        }
        Ok(())
    }
}

impl provider::HostCredential for State {
    fn describe(
        &mut self,
        credential: Resource<CredentialHandle>,
    ) -> wasmtime::Result<provider::Description> {
        let selected = match self.table.get(&credential)? {
            CredentialHandle::Configured { selected, .. } => selected,
            CredentialHandle::Platform(PlatformSecret { name, .. }) => {
                return Ok(provider::Description {
                    name: name.clone(),
                    kind: provider::CredentialKind::ClientSecret,
                    use_bound: provider::BoundUse::Unspecified,
                    omit_assertion_when_bound: false,
                    certificate: None,
                });
            }
            CredentialHandle::Issued(issued) => {
                return Ok(provider::Description {
                    name: ISSUED.to_owned(),
                    kind: provider::CredentialKind::Certificate,
                    use_bound: provider::BoundUse::Unspecified,
                    omit_assertion_when_bound: false,
                    // For handshakes alone.
                    certificate: Some(provider::Certificate {
                        algorithms: Vec::new(),
                        ..certificate(&issued.binding)
                    }),
                });
            }
        };
        Ok(provider::Description {
            name: selected.name().to_owned(),
            kind: match selected.kind() {
                CredentialKind::Certificate => provider::CredentialKind::Certificate,
                CredentialKind::SignedAssertion => provider::CredentialKind::SignedAssertion,
                _ => provider::CredentialKind::ClientSecret,
            },
            use_bound: match (selected.use_bound(), selected.prefers_bound()) {
                (Some(true), _) => provider::BoundUse::Required,
                (_, true) => provider::BoundUse::Preferred,
                (Some(false), _) => provider::BoundUse::Never,
                (None, _) => provider::BoundUse::Unspecified,
            },
            omit_assertion_when_bound: selected.omits_assertion_when_bound(),
            certificate: selected.binding().map(|binding| {
                let certificate = certificate(binding);
                let key_id = selected.key_id().map(ToOwned::to_owned).or(certificate.key_id);
                provider::Certificate { key_id, ..certificate }
            }),
        })
    }

    async fn sign_assertion(
        &mut self,
        credential: Resource<CredentialHandle>,
        algorithm: provider::SignatureAlgorithm,
        signing_input: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, provider::Error>> {
        let selected = match self.table.get(&credential)?.configured() {
            Ok(selected) => selected,
            Err(error) => return Ok(Err(error.into())),
        };
        let (began, algorithm) = (Instant::now(), SignatureAlgorithm::from(algorithm));
        let signed = match selected.binding().is_some_and(|binding| binding.signs_elsewhere()) {
            true => selected.sign_assertion_elsewhere(algorithm, signing_input).await,
            false => selected.sign_assertion(algorithm, &signing_input),
        };
        self.call()?.record(|| Event::AssertionMade {
            name: selected.name(),
            algorithm: Some(algorithm.as_str()),
            made: signed.is_ok(),
            duration: began.elapsed(),
        });
        Ok(signed.map_err(Into::into))
    }

    async fn assertion(
        &mut self,
        credential: Resource<CredentialHandle>,
        context: provider::AssertionContext,
    ) -> wasmtime::Result<Result<provider::SignedAssertion, provider::Error>> {
        let selected = match self.table.get(&credential)?.configured() {
            Ok(selected) => selected.clone(),
            Err(error) => return Ok(Err(error.into())),
        };
        let began = Instant::now();
        let made = selected.assertion(&wanted(context)).await;
        self.call()?.record(|| Event::AssertionMade {
            name: selected.name(),
            algorithm: None,
            made: made.is_ok(),
            duration: began.elapsed(),
        });
        let made = match made {
            Ok(made) => made,
            Err(error) => return Ok(Err(error.into())),
        };
        if let Some(binding) = made.binding() {
            self.call()?.selected(binding);
            if let CredentialHandle::Configured { bound_to, .. } = self.table.get_mut(&credential)? {
                *bound_to = Some(binding.clone());
            }
        }
        Ok(Ok(provider::SignedAssertion {
            assertion: made.expose().to_owned(),
            expires_on: made.expires_on_unix(),
            bound: made.binding().is_some(),
        }))
    }

    fn drop(&mut self, credential: Resource<CredentialHandle>) -> wasmtime::Result<()> {
        self.table.delete(credential)?;
        Ok(())
    }
}

impl transport::Host for State {
    fn send(
        &mut self,
        request: Resource<HostOutgoingRequest>,
        options: Option<Resource<RequestOptions>>,
        credential: Resource<CredentialHandle>,
        how: transport::Presentation,
    ) -> wasmtime::Result<Result<Resource<HostFutureIncomingResponse>, ErrorCode>> {
        let Some(mut hooks) = self.presenting(&credential, how)? else {
            return Ok(Err(ErrorCode::HttpRequestDenied));
        };
        match self.http_with(&mut hooks).handle(request, options) {
            Ok(response) => Ok(Ok(response)),
            Err(error) => error.downcast().map(Err),
        }
    }

    async fn exchange(
        &mut self,
        request: transport::Request,
        credential: Resource<CredentialHandle>,
        how: transport::Presentation,
    ) -> wasmtime::Result<Result<transport::Response, ErrorCode>> {
        let Some(outgoing) = self.presenting(&credential, how)? else {
            return Ok(Err(ErrorCode::HttpRequestDenied));
        };
        Ok(http::exchange(outgoing, request).await)
    }

    async fn wait(&mut self, duration_ms: u64) -> wasmtime::Result<transport::UnixMs> {
        Ok(self.call()?.wait(duration_ms).await)
    }
}

impl State {
    /// What sends one request with the credential; nothing where it can't be presented like this.
    fn presenting(
        &self,
        credential: &Resource<CredentialHandle>,
        how: transport::Presentation,
    ) -> wasmtime::Result<Option<Outgoing>> {
        let credential = self.table.get(credential)?;
        let call = Some(self.call()?.clone());
        let presentation = presentation(credential, how);
        Ok(presentation.map(|how| Outgoing { call, presentation: Some(how), way: credential.way() }))
    }

    /// Has the next request by [`presenting_http`](Self::presenting_http) present the credential. Whether it can be.
    #[cfg(feature = "wasi-p3")]
    pub(super) fn present(
        &mut self,
        credential: &Resource<CredentialHandle>,
        how: transport::Presentation,
    ) -> wasmtime::Result<bool> {
        let Some(hooks) = self.presenting(credential, how)? else { return Ok(false) };
        self.presenting = hooks;
        Ok(true)
    }
}

/// What is recorded of a selection.
fn selection_of(selected: &Result<SelectedCredential, CredentialError>, began: Instant) -> Event<'_> {
    let duration = began.elapsed();
    match selected {
        Ok(selected) => Event::CredentialSelected(CredentialSelected {
            name: selected.name(),
            kind: match selected.kind() {
                CredentialKind::Certificate => "certificate",
                CredentialKind::SignedAssertion => "signed-assertion",
                _ => "client-secret",
            },
            thumbprint_sha256: selected.binding().map(|binding| binding.thumbprint_sha256()),
            passed_over: selected.passed_over(),
            duration,
        }),
        Err(error) => Event::CredentialUnavailable(CredentialUnavailable { error, duration }),
    }
}

/// The public half.
fn certificate(binding: &Binding) -> provider::Certificate {
    provider::Certificate {
        chain: binding.chain().iter().map(|certificate| certificate.to_vec()).collect(),
        thumbprint_sha256: binding.thumbprint_sha256().to_owned(),
        thumbprint_sha1: binding.thumbprint_sha1().to_owned(),
        key_id: binding.key_thumbprint().map(ToOwned::to_owned),
        not_after: binding.not_after_unix(),
        algorithms: binding.algorithms().iter().copied().filter_map(known).collect(),
    }
}

/// How the credential is presented; nothing where it can't be presented like this.
fn presentation(credential: &CredentialHandle, how: transport::Presentation) -> Option<Presentation> {
    let certificate = match how.certificate {
        true => Some(credential.binding()?.clone()),
        false => None,
    };
    let secret = match how.secret {
        Some(place) => Some((place.into(), credential.secret()?.clone())),
        None => None,
    };
    Some(Presentation { certificate, secret })
}

fn wanted(context: provider::AssertionContext) -> AssertionContext {
    let mut wanted = AssertionContext::new(context.client_id, context.token_endpoint);
    wanted.tenant_id = context.tenant_id;
    wanted.authority = context.authority;
    wanted.fmi_path = context.fmi_path;
    wanted.claims = context.claims;
    wanted.client_capabilities = context.client_capabilities;
    wanted.correlation_id = Some(context.correlation_id);
    wanted
}

impl From<transport::Place> for Place {
    fn from(place: transport::Place) -> Self {
        match place {
            transport::Place::FormField(name) => Self::FormField(name),
            transport::Place::Header(name) => Self::Header(name),
            transport::Place::BasicAuthorization(user) => Self::BasicAuthorization(user),
        }
    }
}

/// What messages call a certificate that the platform issued.
const ISSUED: &str = "the managed identity's certificate";

/// What the interface calls the algorithm; nothing for one that it doesn't know.
fn known(algorithm: SignatureAlgorithm) -> Option<provider::SignatureAlgorithm> {
    match algorithm {
        SignatureAlgorithm::Rs256 => Some(provider::SignatureAlgorithm::Rs256),
        SignatureAlgorithm::Ps256 => Some(provider::SignatureAlgorithm::Ps256),
        SignatureAlgorithm::Es256 => Some(provider::SignatureAlgorithm::Es256),
        _ => None,
    }
}

impl From<provider::SignatureAlgorithm> for SignatureAlgorithm {
    fn from(algorithm: provider::SignatureAlgorithm) -> Self {
        match algorithm {
            provider::SignatureAlgorithm::Rs256 => Self::Rs256,
            provider::SignatureAlgorithm::Ps256 => Self::Ps256,
            provider::SignatureAlgorithm::Es256 => Self::Es256,
        }
    }
}

impl From<CredentialError> for provider::Error {
    fn from(error: CredentialError) -> Self {
        let kind = match &error {
            CredentialError::NotConfigured(_) => provider::ErrorKind::NotConfigured,
            CredentialError::Unsupported(_) => provider::ErrorKind::Unsupported,
            CredentialError::Refused(_) => provider::ErrorKind::Refused,
            _ => provider::ErrorKind::Unavailable,
        };
        let retry_after_ms =
            error.retry_after().map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
        Self { kind, message: error.to_string(), retry_after_ms }
    }
}
