//! Credentials that are tokens of others, and the tokens that vaults are opened with.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use tokio::time::{Instant, timeout_at};

use super::acquisition::{Acquisition, Purpose};
use super::assertion::{
    AssertionBinding, AssertionContext, AssertionRequest, SignedAssertion, SignedAssertionProvider,
};
use super::binding::Binding;
use super::component::ComponentCredential;
use super::component_key::contradiction;
use super::entry::{Entry, Offer};
use super::error::{KeyVaultProblem, LoadError};
use super::files::Fingerprint;
use super::key_vault::{KeyVaultCertificate, Look, LookError, Vault, VaultIdentity};
use super::selected::Credential;
use super::source::{CredentialSource, ManagedIdentitySource, OtherApplication};
use super::token_source::{
    ApplicationTokenRequest, ManagedIdentityTokenRequest, SourceApplication, TokenSource, TokenSourceError,
};
use crate::threads::Threads;

impl Entry {
    /// How the assertion is wanted for this purpose.
    pub(super) fn wanted(&self, purpose: Purpose) -> AssertionBinding {
        match (self.description.use_bound_credential, purpose) {
            (Some(true), _) | (_, Purpose::Bind) => AssertionBinding::Required,
            (_, Purpose::AuthenticateUnbound) => AssertionBinding::Unbound,
            _ if self.description.prefer_bound_credential => AssertionBinding::Preferred,
            _ => AssertionBinding::Unbound,
        }
    }

    /// An assertion that depends on nothing but the entry is asked for now, so that another entry can stand in when there
    /// is none, and the certificate is known that it is bound to.
    pub(super) async fn offer_assertion(&self, acquisition: &Acquisition) -> Offer {
        let wanted = self.wanted(acquisition.purpose);
        let now_ms = || self.home.clock.now_unix_ms();
        if let Some(failed) = self.failed(wanted, now_ms()) {
            return failed;
        }
        match self.preload(acquisition, wanted).await {
            Ok(held) => {
                let generation = self.made(held.as_ref().map(fingerprint).unwrap_or_default());
                self.judged(Credential::SignedAssertion(held), generation, now_ms())
            }
            Err(reason) => {
                let pause = self.fail(&reason, wanted, now_ms());
                Offer::Failed(reason, pause)
            }
        }
    }

    /// Whether somebody else has to be asked for the credential.
    pub(super) fn asks_others(&self) -> bool {
        matches!(
            self.description.source,
            CredentialSource::KeyVault(_)
                | CredentialSource::ManagedIdentity(_)
                | CredentialSource::CustomSignedAssertion { .. }
                | CredentialSource::OtherApplication(_)
        )
    }

    /// Why asking would fail, as far as that is known beforehand.
    pub(super) fn foreseeable(&self) -> Option<LoadError> {
        match &self.description.source {
            CredentialSource::CustomSignedAssertion { name, .. } => {
                self.named_provider(name.as_deref()).err()
            }
            _ => self.token_source().err(),
        }
    }

    async fn preload(
        &self,
        acquisition: &Acquisition,
        wanted: AssertionBinding,
    ) -> Result<Option<SignedAssertion>, LoadError> {
        match &self.description.source {
            CredentialSource::ManagedIdentity(identity) => {
                let fresh = self.wants_fresh_assertion();
                self.of_managed_identity(identity, acquisition, wanted, fresh, None).await.map(Some)
            }
            // What depends on the agent can't be asked for before the agent is known.
            CredentialSource::OtherApplication(OtherApplication { requires_fmi_path: true, .. }) => {
                self.token_source().map(|_| None)
            }
            CredentialSource::OtherApplication(other) => {
                let fresh = self.wants_fresh_assertion();
                self.of_application(other, acquisition, wanted, fresh, None).await.map(Some)
            }
            CredentialSource::CustomSignedAssertion { name, data } => {
                self.preload_custom(name.as_deref(), data, acquisition, wanted).await
            }
            _ => Err(LoadError::Interrupted),
        }
    }

    async fn preload_custom(
        &self,
        name: Option<&str>,
        data: &[(String, String)],
        acquisition: &Acquisition,
        wanted: AssertionBinding,
    ) -> Result<Option<SignedAssertion>, LoadError> {
        let (name, provider) = self.named_provider(name)?;
        match wanted {
            AssertionBinding::Required if !provider.supports_token_binding() => Err(LoadError::NotBound),
            AssertionBinding::Unbound => Ok(None),
            _ if !provider.supports_token_binding() => Ok(None),
            _ => {
                // As MSAL does: a call to learn the certificate, with what is known by then.
                let mut context = AssertionContext::new(&self.home.client_id, &self.home.authority);
                context.authority.clone_from(&self.home.authority);
                context.correlation_id = acquisition.correlation_id().map(str::to_owned);
                self.of_provider(name, data, &context, acquisition, wanted).await.map(Some)
            }
        }
    }

    /// The provider that the entry names.
    fn named_provider<'a>(
        &self,
        name: Option<&'a str>,
    ) -> Result<(&'a str, &Arc<dyn SignedAssertionProvider>), LoadError> {
        let (services, components) = (&self.home.services, &self.home.components);
        let accepted = || services.assertion_provider_names(components);
        let name = name.ok_or_else(|| LoadError::ProviderNotNamed { accepted: accepted() })?;
        let registered = services.assertion_provider(name).map(|provider| (name, provider));
        registered.ok_or_else(|| {
            let name = name.to_owned();
            match services.has_assertion_providers() || !components.is_empty() {
                true => LoadError::UnknownProvider { name, accepted: accepted() },
                false => LoadError::NoProviders { name, accepted: accepted() },
            }
        })
    }

    /// The assertion for a request. What was asked for at the selection is good for it, unless the request says more.
    pub(super) async fn assertion(
        &self,
        held: Option<&SignedAssertion>,
        context: &AssertionContext,
        acquisition: &Acquisition,
    ) -> Result<SignedAssertion, LoadError> {
        let wanted = self.wanted(acquisition.purpose);
        let made = match (&self.description.source, held) {
            (CredentialSource::SignedAssertionFile(_), Some(held)) => return Ok(held.clone()),
            (CredentialSource::ManagedIdentity(_), Some(held)) if context.claims.is_none() => {
                return Ok(held.clone());
            }
            (CredentialSource::OtherApplication(_), Some(held))
                if context.claims.is_none() && context.fmi_path.is_none() =>
            {
                return Ok(held.clone());
            }
            (CredentialSource::ManagedIdentity(identity), _) => {
                let claims = context.claims.as_deref();
                self.of_managed_identity(identity, acquisition, wanted, false, claims).await
            }
            (CredentialSource::OtherApplication(other), _) => {
                let fresh = self.wants_fresh_assertion();
                self.of_application(other, acquisition, wanted, fresh, Some(context)).await
            }
            (CredentialSource::CustomSignedAssertion { name: Some(name), data }, _) => {
                self.of_provider(name, data, context, acquisition, wanted).await
            }
            _ => Err(LoadError::Interrupted),
        }?;
        same_certificate(held, &made)?;
        Ok(made)
    }

    async fn of_managed_identity(
        &self,
        identity: &ManagedIdentitySource,
        acquisition: &Acquisition,
        binding: AssertionBinding,
        force_refresh: bool,
        claims: Option<&str>,
    ) -> Result<SignedAssertion, LoadError> {
        let request = ManagedIdentityTokenRequest {
            resource: identity.resource.clone().unwrap_or_default(),
            client_id: identity.client_id.clone(),
            binding,
            force_refresh,
            claims: claims.map(str::to_owned),
            acquisition: acquisition.nested()?,
        };
        let token = self.token_source()?.managed_identity_token(request);
        bound_as_wanted(in_time(acquisition, token).await?, binding)
    }

    async fn of_application(
        &self,
        other: &OtherApplication,
        acquisition: &Acquisition,
        binding: AssertionBinding,
        force_refresh: bool,
        context: Option<&AssertionContext>,
    ) -> Result<SignedAssertion, LoadError> {
        if other.requires_fmi_path && context.is_none_or(|context| context.fmi_path.is_none()) {
            let found = "found RequiresSignedAssertionFmiPath and a request for no agent";
            let accepted = "accepted: requests for an agent, whose client id is the FMI path";
            return Err(LoadError::UnsupportedSource(format!("{found}; {accepted}")));
        }
        let request = ApplicationTokenRequest {
            application: SourceApplication::Section(other.section.clone()),
            scope: other.scope.clone().unwrap_or_default(),
            context: context.cloned(),
            binding,
            force_refresh,
            acquisition: acquisition.nested()?,
        };
        let token = self.token_source()?.application_token(request);
        bound_as_wanted(in_time(acquisition, token).await?, binding)
    }

    async fn of_provider(
        &self,
        name: &str,
        data: &[(String, String)],
        context: &AssertionContext,
        acquisition: &Acquisition,
        binding: AssertionBinding,
    ) -> Result<SignedAssertion, LoadError> {
        let provider = self.home.services.assertion_provider(name).ok_or(LoadError::Interrupted)?;
        let made = async {
            let request = AssertionRequest::new(context, data, binding);
            let failed =
                |error: Box<dyn std::error::Error + Send + Sync>| TokenSourceError::new(error.to_string());
            provider.assertion(request).await.map_err(failed)
        };
        let made = in_time(acquisition, made).await?;
        if made.expose().is_empty() {
            return Err(token_error(TokenSourceError::new(format!("{name:?} gave an empty assertion"))));
        }
        bound_as_wanted(made, binding)
    }

    /// The version and the certificate, or nothing where the version is the `known` one.
    pub(super) async fn look_into_vault(
        &self,
        certificate: &KeyVaultCertificate,
        known: Option<&[u8]>,
        acquisition: &Acquisition,
        deadline: Instant,
    ) -> Result<Option<(Fingerprint, Arc<Binding>)>, LoadError> {
        let unreachable = |detail: String| LoadError::KeyVault(KeyVaultProblem::Unreachable(detail));
        let shared =
            self.home.services.transport.as_ref().ok_or_else(|| unreachable("no way out".to_owned()))?;
        let vault = Vault::new(certificate, shared, &self.home.transport)
            .map_err(|error| unreachable(error.to_string()))?;
        let known = known.and_then(|version| std::str::from_utf8(version).ok());
        let mut claims = None;
        for is_second in [false, true] {
            let token = self.vault_token(certificate, acquisition, is_second, claims.take()).await?;
            match vault.look(&token, known, deadline).await {
                Ok(Look::Same) => return Ok(None),
                Ok(Look::New { version, certificate }) => {
                    return Ok(Some((version.into_bytes(), certificate)));
                }
                Err(LookError::Unauthorized(challenge)) => claims = challenge,
                Err(LookError::Other(error)) => return Err(error),
            }
        }
        let (what, status, code, retry_after) = ("the certificate", 401, None, None);
        Err(LoadError::KeyVault(KeyVaultProblem::Answer { what, status, code, retry_after }))
    }

    async fn vault_token(
        &self,
        certificate: &KeyVaultCertificate,
        acquisition: &Acquisition,
        force_refresh: bool,
        claims: Option<String>,
    ) -> Result<SignedAssertion, LoadError> {
        let (resource, binding) = (certificate.resource(), AssertionBinding::Unbound);
        let nested = acquisition.nested()?;
        let of_application = |application| {
            let context = claims
                .clone()
                .map(|claims| AssertionContext { claims: Some(claims), ..AssertionContext::default() });
            let scope = format!("{resource}/.default");
            let acquisition = nested.clone();
            ApplicationTokenRequest { application, scope, context, binding, force_refresh, acquisition }
        };
        let source = self.token_source()?;
        let token = match &certificate.identity {
            VaultIdentity::ManagedIdentity(client_id) => {
                source.managed_identity_token(ManagedIdentityTokenRequest {
                    resource: resource.clone(),
                    client_id: client_id.clone(),
                    binding,
                    force_refresh,
                    claims: claims.clone(),
                    acquisition: nested.clone(),
                })
            }
            VaultIdentity::Section(section) => {
                source.application_token(of_application(SourceApplication::Section(section.clone())))
            }
            VaultIdentity::Workload(options) => {
                source.application_token(of_application(SourceApplication::Options(Arc::clone(options))))
            }
        };
        in_time(acquisition, token).await
    }

    fn token_source(&self) -> Result<&dyn TokenSource, LoadError> {
        self.home.services.token_source.as_deref().ok_or_else(|| {
            LoadError::UnsupportedSource(format!(
                "found SourceType {}, which needs a token of its own, and nothing that acquires one; accepted: sources \
                 on this machine",
                self.description.source_type()
            ))
        })
    }
}

/// The assertion of a component's credential, which is bound to the certificate that its description has, or to none.
pub(super) async fn component_assertion(
    component: &Arc<dyn ComponentCredential>,
    binding: Option<&Arc<Binding>>,
    context: &AssertionContext,
    acquisition: &Acquisition,
    threads: &Threads,
) -> Result<SignedAssertion, LoadError> {
    let (component, context) = (Arc::clone(component), context.clone());
    let making = threads.run(move || component.assertion(&context));
    let made = match acquisition.deadline() {
        Some(deadline) => timeout_at(deadline, making).await.map_err(|_| LoadError::Interrupted)?,
        None => making.await,
    };
    let made = made.ok_or(LoadError::Interrupted)??;
    if made.assertion.is_empty() {
        return Err(contradiction("found an empty assertion; accepted: a token in compact form"));
    }
    let assertion = SignedAssertion::from_zeroizing(made.assertion, made.expires_on_unix);
    match (made.bound, binding) {
        (true, Some(binding)) => Ok(assertion.with_binding(Arc::clone(binding))),
        (false, None) => Ok(assertion),
        (true, None) => Err(contradiction("found a bound assertion of a credential that has no certificate")),
        (false, Some(_)) => {
            Err(contradiction("found an unbound assertion of a credential with a certificate"))
        }
    }
}

/// Assertion, handshake and proof-of-possession key of an acquisition come from one certificate, the one that was told of
/// at the selection.
fn same_certificate(held: Option<&SignedAssertion>, made: &SignedAssertion) -> Result<(), LoadError> {
    let Some(told) = held.map(|held| held.binding()) else { return Ok(()) };
    let thumbprint = |binding: &Arc<Binding>| binding.thumbprint_sha256().to_owned();
    match told.map(thumbprint) == made.binding().map(thumbprint) {
        true => Ok(()),
        false => Err(LoadError::Token {
            message: "its certificate changed during the acquisition".to_owned(),
            // At once, if the caller likes.
            retry_after: Some(Duration::ZERO),
        }),
    }
}

fn bound_as_wanted(made: SignedAssertion, wanted: AssertionBinding) -> Result<SignedAssertion, LoadError> {
    match wanted == AssertionBinding::Required && made.binding().is_none() {
        true => Err(LoadError::NotBound),
        false => Ok(made),
    }
}

/// The token, unless the acquisition's deadline comes first.
async fn in_time(
    acquisition: &Acquisition,
    token: impl Future<Output = Result<SignedAssertion, TokenSourceError>>,
) -> Result<SignedAssertion, LoadError> {
    let token = match acquisition.deadline() {
        Some(deadline) => timeout_at(deadline, token).await.unwrap_or_else(|_| {
            Err(TokenSourceError::new("the acquisition's deadline passed").with_retry_after(Duration::ZERO))
        }),
        None => token.await,
    };
    token.map_err(token_error)
}

fn token_error(error: TokenSourceError) -> LoadError {
    LoadError::Token { message: error.message, retry_after: error.retry_after }
}

fn fingerprint(assertion: &SignedAssertion) -> Fingerprint {
    digest(&SHA256, assertion.expose().as_bytes()).as_ref().to_vec()
}
