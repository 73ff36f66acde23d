//! Tokens that credentials are made of, or read with: acquisitions inside the one that needs the credential.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use symbolon_resources::credentials::{
    Acquisition, ApplicationTokenRequest, AssertionBinding, BoxFuture, ManagedIdentityTokenRequest,
    SignedAssertion, SourceApplication, TokenSource, TokenSourceError,
};
use symbolon_resources::facts::FactKind;
use uuid::Uuid;

use crate::application::{Application, Inner};
use crate::engine::{
    Answer, ClientFlow, Flow, ManagedIdentityFlow, ManagedIdentityId, Options, Origin, Question, Request,
    Scheme, tell_of_refusal,
};
use crate::error::{Error, ErrorKind, Result};
use crate::recorder::Recording;
use crate::result::AuthenticationResult;

/// Acquires tokens for the credentials of one application.
pub(crate) struct NestedTokens {
    /// Held by its credentials, which hold this.
    owner: Weak<Inner>,
    /// The applications that it stands on, by section or id. None of them stands on this one.
    applications: Mutex<HashMap<String, Application>>,
}

impl NestedTokens {
    pub(crate) fn new(owner: Weak<Inner>) -> Self {
        Self { owner, applications: Mutex::default() }
    }

    fn owner(&self) -> Result<Arc<Inner>, TokenSourceError> {
        self.owner.upgrade().ok_or_else(|| TokenSourceError::new("the application is gone"))
    }

    fn application(&self, source: &SourceApplication) -> Result<Application, TokenSourceError> {
        let owner = self.owner()?;
        let (name, options) = match source {
            SourceApplication::Section(section) => {
                let options = owner.options.linked(section);
                (section.to_ascii_lowercase(), options.cloned())
            }
            SourceApplication::Options(options) => (options.id().to_string(), Some(options.clone())),
            _ => return Err(TokenSourceError::new("this kind of application isn't known")),
        };
        let mut applications = self.applications.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = applications.get(&name) {
            return Ok(known.clone());
        }
        let Some(options) = options else {
            let message = format!(
                "the configuration has no section {name:?} that this application stands on; configure it by a file or \
                 value with both sections"
            );
            return Err(TokenSourceError::new(message));
        };
        let made = Application::new(owner.shared.clone(), (*options).clone(), owner.hooks.clone());
        let made = made.map_err(|error| TokenSourceError::new(error.to_string()))?;
        applications.insert(name, made.clone());
        Ok(made)
    }
}

impl TokenSource for NestedTokens {
    fn managed_identity_token(
        &self,
        request: ManagedIdentityTokenRequest,
    ) -> BoxFuture<'_, Result<SignedAssertion, TokenSourceError>> {
        Box::pin(async move {
            let application = Application { inner: self.owner()? };
            let identity = match request.client_id {
                Some(id) => ManagedIdentityId::ClientId(id),
                None => ManagedIdentityId::SystemAssigned,
            };
            let flow = Flow::ForManagedIdentity(ManagedIdentityFlow { identity });
            let options = Options { claims: request.claims, ..options(request.force_refresh) };
            let inside = Inside { application: &application, outer: &request.acquisition, capabilities: &[] };
            inside.bound(flow, request.resource, options, request.binding).await
        })
    }

    fn application_token(
        &self,
        request: ApplicationTokenRequest,
    ) -> BoxFuture<'_, Result<SignedAssertion, TokenSourceError>> {
        Box::pin(async move {
            let application = self.application(&request.application)?;
            let context = request.context.as_ref();
            let tenant_id = context.and_then(|context| application.options().federated_tenant(context));
            let flow = Flow::ForClient(ClientFlow {
                fmi_path: context.and_then(|context| context.fmi_path.clone()),
                attributes: None,
                attribute_tokens: Vec::new(),
            });
            let options = Options {
                tenant_id,
                claims: context.and_then(|context| context.claims.clone()),
                ..options(request.force_refresh)
            };
            let owner = self.owner()?;
            let capabilities = owner.options.client_capabilities();
            let inside = Inside { application: &application, outer: &request.acquisition, capabilities };
            inside.bound(flow, request.scope, options, request.binding).await
        })
    }
}

/// An acquisition inside another one.
struct Inside<'a> {
    application: &'a Application,
    outer: &'a Acquisition,
    /// What the one who needs the token can handle, beside what the application itself can.
    capabilities: &'a [String],
}

impl Inside<'_> {
    /// Bound to a certificate where that must be; where it is preferred, if it can be.
    async fn bound(
        &self,
        flow: Flow,
        scope: String,
        options: Options,
        binding: AssertionBinding,
    ) -> Result<SignedAssertion, TokenSourceError> {
        let acquired = match binding {
            AssertionBinding::Required => self.acquire(flow, scope, Scheme::MtlsPop, options).await,
            AssertionBinding::Preferred => self.preferably_bound(flow, scope, options).await,
            _ => self.acquire(flow, scope, Scheme::Bearer, options).await,
        };
        let token = acquired.map_err(|error| {
            let failed = TokenSourceError::new(error.to_string());
            match error.retry_after() {
                Some(pause) => failed.with_retry_after(pause),
                None => failed,
            }
        })?;
        let assertion = SignedAssertion::new(token.access_token(), Some(token.expires_on_unix()));
        Ok(match token.binding_certificate() {
            Some(binding) => assertion.with_binding(binding.clone()),
            None => assertion,
        })
    }

    /// Where there are no bound tokens, that is kept in mind for a while.
    async fn preferably_bound(
        &self,
        flow: Flow,
        scope: String,
        options: Options,
    ) -> Result<AuthenticationResult> {
        let inner = &*self.application.inner;
        let key = format!("tokens for {scope}");
        if inner.facts.get(FactKind::BoundRefusal, &key).is_none() {
            match self.acquire(flow.clone(), scope.clone(), Scheme::MtlsPop, options.clone()).await {
                Err(error) if cannot_be_bound(&error) => {
                    tell_of_refusal(inner, &key, error.code());
                    let reason = error.code().as_bytes();
                    inner.facts.put(FactKind::BoundRefusal, &key, reason, REFUSAL_TTL_MS);
                }
                acquired => return acquired,
            }
        }
        self.acquire(flow, scope, Scheme::Bearer, options).await
    }

    async fn acquire(
        &self,
        flow: Flow,
        scope: String,
        scheme: Scheme,
        options: Options,
    ) -> Result<AuthenticationResult> {
        let given = self.outer.correlation_id().and_then(|id| Uuid::parse_str(id).ok());
        let correlation_id = given.unwrap_or_else(Uuid::new_v4);
        let options = Options { correlation_id: Some(correlation_id.to_string()), ..options };
        let request = Request { flow, scopes: vec![scope], scheme, options: Some(options) };
        let origin = Origin::inside("credential", correlation_id, self.outer.number());
        let inner = &self.application.inner;
        let mut context = inner.context(false)?;
        let known = &mut context.application.client_capabilities;
        let more: Vec<_> = self.capabilities.iter().filter(|it| !known.contains(it)).cloned().collect();
        known.extend(more);
        let engine = &inner.shared.engine;
        let recording = Recording::begin(inner, origin, self.outer.depth(), &request, false);
        let question = Question::Acquire(request);
        let acquired = match engine.ask_inside(inner.clone(), origin, question, context, self.outer).await {
            Ok(Answer::Acquired(acquired)) => Ok(AuthenticationResult {
                token: acquired.token,
                correlation_id,
                binding: acquired.binding,
                beside: acquired.beside,
                metadata: acquired.metadata,
            }),
            Ok(_) => Err(Error::unexpected_answer()),
            Err(error) => Err(error),
        };
        recording.end(&acquired);
        acquired
    }
}

fn options(force_refresh: bool) -> Options {
    Options {
        authority: None,
        tenant_id: None,
        claims: None,
        client_claims: None,
        force_refresh,
        access_token_sha256_to_refresh: None,
        pop_public_key: None,
        client_assertion_fmi_path: None,
        extra_client_assertion_claims: None,
        send_x5c: None,
        cache_partitions: Vec::new(),
        correlation_id: None,
        extra_query_parameters: Vec::new(),
        encoded_query_parameters: Vec::new(),
        extra_body_parameters: Vec::new(),
        extra_headers: Vec::new(),
    }
}

/// Whether the credential, or the authority, has no bound tokens.
fn cannot_be_bound(error: &Error) -> bool {
    error.acquisition().is_some_and(|decision| {
        matches!(decision.kind, ErrorKind::CredentialUnsupported | ErrorKind::BoundTransportNotEnabled)
    })
}

/// For how long a refusal of bound tokens stands, as the protocol keeps that of bound connections.
const REFUSAL_TTL_MS: u64 = 10 * 60 * 1000;
