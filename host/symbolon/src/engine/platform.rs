//! `symbolon:credentials/platform`: what the platform tells, for acquisitions of its own tokens. All others see a machine
//! that no platform manages.

use std::sync::Arc;

use symbolon_resources::credentials::ClientSecret;
use symbolon_resources::platform::{
    AttestationError, AttestationRequest, CertificateSubject, Platform, PlatformError, PlatformKey,
};
use symbolon_resources::transport::Transport;
use tokio::time::timeout_at;
use wasmtime::component::Resource;

use super::bindings::symbolon::credentials::platform::{self, CertificateRequest as Requested};
use super::bindings::symbolon::credentials::provider;
use super::credentials::CredentialHandle;
use super::state::State;
use crate::managed_identity::IssuedCertificate;

/// A secret of the platform's. It is presented to the platform's own endpoints only.
pub struct PlatformSecret {
    pub(super) name: String,
    pub(super) secret: ClientSecret,
}

/// The keys that an acquisition made.
#[derive(Default)]
pub(super) struct Keys {
    made: u32,
    /// The last one, until it is certified.
    waiting: Option<Waiting>,
}

/// A key that waits for its certificate.
struct Waiting {
    key: PlatformKey,
    attested: bool,
}

impl platform::Host for State {
    fn environment(&mut self) -> wasmtime::Result<Vec<platform::Variable>> {
        let variable = |(name, value): (&str, Option<&str>)| platform::Variable {
            name: name.to_owned(),
            value: value.map(ToOwned::to_owned),
        };
        Ok(self.call()?.platform_variables().map(variable).collect())
    }

    fn arc_agent_installed(&mut self) -> wasmtime::Result<bool> {
        Ok(self.call()?.platform().is_some_and(Platform::has_arc_agent))
    }

    fn secret(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Resource<CredentialHandle>, provider::Error>> {
        let secret = self.call()?.platform().map(|platform| platform.secret(&name));
        self.platform_secret(name, secret)
    }

    fn challenge_file(
        &mut self,
        path: String,
    ) -> wasmtime::Result<Result<Resource<CredentialHandle>, provider::Error>> {
        let secret = self.call()?.platform().map(|platform| platform.challenge_file(&path));
        self.platform_secret("the key that Azure Arc's challenge names".to_owned(), secret)
    }

    async fn request_certificate(
        &mut self,
        subject: platform::CertificateSubject,
    ) -> wasmtime::Result<Result<Requested, provider::Error>> {
        Ok(self.new_key(subject).await)
    }

    fn install_certificate(
        &mut self,
        certificate: Vec<u8>,
        client_id: String,
        token_endpoint: String,
    ) -> wasmtime::Result<Result<(), provider::Error>> {
        Ok(self.install(certificate, client_id, token_endpoint))
    }

    fn issued(&mut self) -> wasmtime::Result<Option<platform::IssuedCertificate>> {
        let call = self.call()?;
        let Some(issued) = call.issued() else { return Ok(None) };
        call.selected(&issued.binding);
        let (client_id, token_endpoint) = (issued.client_id.clone(), issued.token_endpoint.clone());
        let attested = issued.attested;
        let credential = self.table.push(CredentialHandle::Issued(issued))?;
        Ok(Some(platform::IssuedCertificate { credential, client_id, token_endpoint, attested }))
    }
}

impl State {
    /// Makes a key for the certificate of the identity that the acquisition is for.
    async fn new_key(&mut self, subject: platform::CertificateSubject) -> Result<Requested, provider::Error> {
        let call = self.call().map_err(|_| not_here())?.clone();
        let platform = call.platform().ok_or_else(not_here)?;
        if self.keys.made >= MAX_KEYS {
            return Err(refused(format!("an acquisition makes at most {MAX_KEYS} keys")));
        }
        self.keys.made += 1;
        let platform::CertificateSubject { client_id, tenant_id, machine, attestation_endpoint } = subject;
        let wanted = CertificateSubject { client_id, tenant_id, machine };
        let attesting = match (platform.attestation(), attestation_endpoint) {
            (Some(provider), Some(endpoint)) => Some((provider, endpoint)),
            _ if call.application.options.allow_unattested_keys() => None,
            (Some(_), None) => return Err(unsupported("the platform names no service that attests keys")),
            (None, _) => return Err(unsupported(NO_PROVIDER)),
        };
        let client_id = wanted.client_id.clone();
        let (key, der) = tokio::task::spawn_blocking(move || {
            let key = PlatformKey::generate()?;
            let der = key.request(&wanted)?;
            Ok((key, der))
        })
        .await
        .unwrap_or(Err(PlatformError::NoKey))?;
        let attestation = match attesting {
            Some((provider, endpoint)) => {
                let request = AttestationRequest::new(&endpoint, &client_id, key.public_key());
                let attested = timeout_at(call.deadline, provider.attest(request)).await;
                Some(attested.unwrap_or_else(|_| Err(AttestationError::Failed(LATE.to_owned())))?)
            }
            None => None,
        };
        self.keys.waiting = Some(Waiting { key, attested: attestation.is_some() });
        Ok(Requested { der, attestation })
    }

    fn install(
        &mut self,
        certificate: Vec<u8>,
        client_id: String,
        token_endpoint: String,
    ) -> Result<(), provider::Error> {
        let call = self.call().map_err(|_| not_here())?.clone();
        let (application, identity) = (&call.application, call.identity().ok_or_else(not_here)?);
        let waiting = self.keys.waiting.take();
        let Waiting { key, attested } =
            waiting.ok_or_else(|| refused("no key waits for a certificate".to_owned()))?;
        let binding = key.certified(certificate).map_err(|error| refused(error.to_string()))?;
        let policy = application.options.egress().of_platform_endpoint(&token_endpoint).ok_or_else(|| {
            refused(
                "the token endpoint that the platform names is none of a known cloud for mutual TLS, nor on a host that \
                 the configuration allows (Symbolon:AllowedAuthorities)"
                    .to_owned(),
            )
        })?;
        let transport =
            Transport::new(&application.shared.transport, Arc::new(policy), application.options.transport())
                .map_err(|error| refused(error.to_string()))?;
        let binding = Arc::new(binding);
        let issued = IssuedCertificate { binding, client_id, token_endpoint, attested, transport };
        application.issued.put(identity.clone(), issued);
        Ok(())
    }

    fn platform_secret(
        &mut self,
        name: String,
        secret: Option<Result<ClientSecret, PlatformError>>,
    ) -> wasmtime::Result<Result<Resource<CredentialHandle>, provider::Error>> {
        match secret {
            Some(Ok(secret)) => {
                Ok(Ok(self.table.push(CredentialHandle::Platform(PlatformSecret { name, secret }))?))
            }
            Some(Err(error)) => Ok(Err(error.into())),
            None => Ok(Err(not_here())),
        }
    }
}

/// The error of acquisitions that the platform has no part in.
fn not_here() -> provider::Error {
    refused("only an acquisition for a managed identity has what is the platform's".to_owned())
}

fn refused(message: String) -> provider::Error {
    provider::Error { kind: provider::ErrorKind::Refused, message, retry_after_ms: None }
}

fn unsupported(message: &str) -> provider::Error {
    let (kind, message) = (provider::ErrorKind::Unsupported, message.to_owned());
    provider::Error { kind, message, retry_after_ms: None }
}

impl From<AttestationError> for provider::Error {
    fn from(error: AttestationError) -> Self {
        let kind = match &error {
            AttestationError::Unsupported(_) => provider::ErrorKind::Unsupported,
            _ => provider::ErrorKind::Unavailable,
        };
        Self { kind, message: error.to_string(), retry_after_ms: None }
    }
}

/// One key, and another one where the authority refuses the first one's certificate.
const MAX_KEYS: u32 = 2;

const LATE: &str = "no answer came in time";

const NO_PROVIDER: &str = "a token of a managed identity is bound to a key that is attested, and this key is kept in software with \
                           nothing that attests it; give the engine an attestation provider (Builder::attestation), or let \
                           keys go without where the platform takes them (Symbolon:AllowUnattestedKeys)";

impl From<PlatformError> for provider::Error {
    fn from(error: PlatformError) -> Self {
        let kind = match &error {
            error if error.is_refusal() => provider::ErrorKind::Refused,
            PlatformError::Unreadable(_) | PlatformError::NoKey => provider::ErrorKind::Unavailable,
            _ => provider::ErrorKind::NotConfigured,
        };
        Self { kind, message: error.to_string(), retry_after_ms: None }
    }
}
