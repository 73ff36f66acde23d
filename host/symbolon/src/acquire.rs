//! Acquiring a token: from the reuse map, else by the guest.

use std::borrow::Cow;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use smallvec::SmallVec;
use symbolon_resources::cache::{RequestDigest, Reuse};
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

use crate::application::Application;
use crate::engine::{
    Acquired, ClientFlow, Context as GuestContext, Flow, Options, Registration, Request, Scheme,
};
use crate::error::{Error, Result};
use crate::result::{AuthenticationResult, AuthenticationResultMetadata, TokenEntry};

/// A request for a token for the application itself. Await it to send it.
#[doc(alias = "AcquireTokenForClientParameterBuilder")]
#[must_use = "a request does nothing until it is awaited"]
#[derive(Clone, Debug)]
pub struct AcquireTokenForClient<'a> {
    application: &'a Application,
    scopes: SmallVec<[Cow<'a, str>; 2]>,
    mtls_pop: bool,
    force_refresh: bool,
    correlation_id: Option<Uuid>,
    /// What few requests bring.
    rare: Option<Box<Rare>>,
}

/// What few requests bring: kept apart so that the others stay small.
#[derive(Clone, Debug, Default)]
struct Rare {
    tenant_id: Option<String>,
    claims: Option<String>,
    client_claims: Option<String>,
    fmi_path: Option<String>,
    attributes: Option<String>,
    attribute_tokens: Vec<String>,
    extra_query_parameters: Vec<(String, String)>,
    extra_body_parameters: Vec<(String, String)>,
    extra_headers: Vec<(String, String)>,
}

impl<'a> AcquireTokenForClient<'a> {
    pub(crate) fn new(application: &'a Application, scopes: SmallVec<[Cow<'a, str>; 2]>) -> Self {
        Self { application, scopes, mtls_pop: false, force_refresh: false, correlation_id: None, rare: None }
    }

    /// Asks for a token that is bound to the application's certificate, which is presented over mutual TLS to the authority
    /// and must be presented to the API as well. The default is a bearer token.
    #[doc(alias = "WithMtlsProofOfPossession")]
    pub fn with_mtls_proof_of_possession(mut self) -> Self {
        self.mtls_pop = true;
        self
    }

    /// Takes no token from the cache. The default is `false`.
    #[doc(alias = "WithForceRefresh")]
    pub fn with_force_refresh(mut self, force_refresh: bool) -> Self {
        self.force_refresh = force_refresh;
        self
    }

    /// The id that goes to the authority as `client-request-id`. The default is a random one.
    #[doc(alias = "WithCorrelationId")]
    pub fn with_correlation_id(mut self, correlation_id: Uuid) -> Self {
        self.correlation_id = Some(correlation_id);
        self
    }

    /// Asks another directory than the configured one: a tenant id or a domain name.
    #[doc(alias = "WithTenantId")]
    pub fn with_tenant_id(mut self, tenant_id: impl Into<String>) -> Self {
        self.rare().tenant_id = Some(tenant_id.into());
        self
    }

    /// The claims of a claims challenge, JSON. The token then comes from the authority, and replaces the cached one.
    #[doc(alias = "WithClaims")]
    pub fn with_claims(mut self, claims: impl Into<String>) -> Self {
        self.rare().claims = Some(claims.into());
        self
    }

    /// The client's own claims, JSON. Tokens with different ones are kept apart in the cache.
    #[doc(alias = "WithClaimsFromClient")]
    pub fn with_claims_from_client(mut self, claims: impl Into<String>) -> Self {
        self.rare().client_claims = Some(claims.into());
        self
    }

    /// Asks for a token for a path below the application.
    #[doc(alias = "WithFmiPath")]
    pub fn with_fmi_path(mut self, path: impl Into<String>) -> Self {
        self.rare().fmi_path = Some(path.into());
        self
    }

    /// Attributes to be asserted in the token, JSON.
    #[doc(alias = "WithAttributes")]
    pub fn with_attributes(mut self, attributes: impl Into<String>) -> Self {
        self.rare().attributes = Some(attributes.into());
        self
    }

    /// Attribute tokens to be carried. Order and repetition don't matter.
    #[doc(alias = "WithAttributeTokens")]
    pub fn with_attribute_tokens(mut self, tokens: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.rare().attribute_tokens.extend(tokens.into_iter().map(Into::into));
        self
    }

    /// Parameters for the query of the token endpoint. They are percent-encoded, and partition the cache.
    #[doc(alias = "WithExtraQueryParameters")]
    pub fn with_extra_query_parameters<K: Into<String>, V: Into<String>>(
        mut self,
        parameters: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.rare().extra_query_parameters.extend(parameters.into_iter().map(|(k, v)| (k.into(), v.into())));
        self
    }

    /// Parameters for the body of the token request. They partition the cache.
    #[doc(alias = "WithExtraBodyParameters")]
    pub fn with_extra_body_parameters<K: Into<String>, V: Into<String>>(
        mut self,
        parameters: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.rare().extra_body_parameters.extend(parameters.into_iter().map(|(k, v)| (k.into(), v.into())));
        self
    }

    /// Headers of the token request. Those that the protocol or the connection needs are refused.
    #[doc(alias = "WithExtraHttpHeaders")]
    pub fn with_extra_http_headers<K: Into<String>, V: Into<String>>(
        mut self,
        headers: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.rare().extra_headers.extend(headers.into_iter().map(|(k, v)| (k.into(), v.into())));
        self
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

impl<'a> AcquireTokenForClient<'a> {
    /// Stands for everything that makes a difference to the answer; forcing a refresh and the correlation id don't.
    fn digest(&self) -> RequestDigest {
        let mut hasher = self.application.inner.reuse.request();
        hasher.number(u64::from(self.mtls_pop)).number(self.scopes.len() as u64);
        for scope in &self.scopes {
            hasher.field(&**scope);
        }
        if let Some(rare) = &self.rare {
            for text in [&rare.tenant_id, &rare.claims, &rare.client_claims, &rare.fmi_path, &rare.attributes]
            {
                hasher.optional(text.as_ref());
            }
            hasher.number(rare.attribute_tokens.len() as u64);
            for token in &rare.attribute_tokens {
                hasher.field(token);
            }
            for pairs in [&rare.extra_query_parameters, &rare.extra_body_parameters, &rare.extra_headers] {
                hasher.number(pairs.len() as u64);
                for (name, value) in pairs {
                    hasher.field(name).field(value);
                }
            }
        }
        hasher.finish()
    }

    /// The answer to an earlier request that was the same, if it stands.
    fn reused(&self, digest: RequestDigest) -> Option<AuthenticationResult> {
        if self.force_refresh {
            return None;
        }
        let inner = &*self.application.inner;
        let binding = self.mtls_pop.then(|| inner.credentials.current_binding()).flatten();
        let generation = binding.as_ref().map(|binding| binding.generation());
        let now_ms = inner.clock.now_unix_ms();
        let reused = inner.reuse.get(digest, now_ms, generation)?;
        if reused.refresh_due && reused.entry.claim_refresh(now_ms) {
            self.refresh_in_background(digest);
        }
        let correlation_id = self.correlation_id.unwrap_or_else(Uuid::new_v4);
        let metadata = AuthenticationResultMetadata::default();
        Some(AuthenticationResult {
            token: TokenEntry::Cached(reused.entry),
            correlation_id,
            binding,
            metadata,
        })
    }

    /// Renews a token that still stands. Nobody waits for it, and its failure is nobody's: the token is served while it lives.
    fn refresh_in_background(&self, digest: RequestDigest) {
        let (application, request) = (self.application.clone(), self.request(Uuid::new_v4(), false));
        tokio::spawn(async move {
            if let Err(error) = acquire(application, request, digest, true).await {
                tracing::warn!(code = error.code(), "a token could not be renewed in the background");
            }
        });
    }

    /// The request in the guest's words.
    fn request(&self, correlation_id: Uuid, force_refresh: bool) -> Request {
        let rare = self.rare.as_deref().cloned().unwrap_or_default();
        let configured = self.application.inner.options.extra_query_parameters().iter();
        let is_overridden = |name: &str| {
            rare.extra_query_parameters.iter().any(|(overriding, _)| overriding.eq_ignore_ascii_case(name))
        };
        let mut extra_query_parameters: Vec<_> =
            configured.filter(|(name, _)| !is_overridden(name)).cloned().collect();
        extra_query_parameters.extend(rare.extra_query_parameters);
        Request {
            flow: Flow::ForClient(ClientFlow {
                fmi_path: rare.fmi_path,
                attributes: rare.attributes,
                attribute_tokens: rare.attribute_tokens,
            }),
            scopes: self.scopes.iter().map(|scope| scope.clone().into_owned()).collect(),
            scheme: if self.mtls_pop { Scheme::MtlsPop } else { Scheme::Bearer },
            options: Some(Options {
                tenant_id: rare.tenant_id,
                claims: rare.claims,
                client_claims: rare.client_claims,
                force_refresh,
                correlation_id: Some(correlation_id.to_string()),
                extra_query_parameters,
                extra_body_parameters: rare.extra_body_parameters,
                extra_headers: rare.extra_headers,
            }),
        }
    }
}

impl<'a> IntoFuture for AcquireTokenForClient<'a> {
    type Output = Result<AuthenticationResult>;
    type IntoFuture = Acquisition;

    fn into_future(self) -> Acquisition {
        let digest = self.digest();
        if let Some(reused) = self.reused(digest) {
            return Acquisition(State::Reused(Some(reused)));
        }
        let correlation_id = self.correlation_id.unwrap_or_else(Uuid::new_v4);
        let request = self.request(correlation_id, self.force_refresh);
        let span = tracing::info_span!(
            "symbolon.acquire",
            application = self.application.inner.options.id().as_str(),
            flow = "for-client",
            %correlation_id,
        );
        let acquisition = acquire(self.application.clone(), request, digest, false).instrument(span);
        Acquisition(State::Running(Box::pin(acquisition)))
    }
}

/// A token on its way.
#[must_use = "futures do nothing unless polled"]
pub struct Acquisition(State);

enum State {
    /// An earlier answer stands. Nothing was allocated to find it.
    Reused(Option<AuthenticationResult>),
    Running(Pin<Box<dyn Future<Output = Result<AuthenticationResult>> + Send>>),
}

impl Future for Acquisition {
    type Output = Result<AuthenticationResult>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Reused(result) => result.take().map_or(Poll::Pending, |result| Poll::Ready(Ok(result))),
            State::Running(future) => future.as_mut().poll(context),
        }
    }
}

impl std::fmt::Debug for Acquisition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acquisition").finish_non_exhaustive()
    }
}

/// Asks the guest, and remembers for how long its answer stands.
async fn acquire(
    application: Application,
    request: Request,
    digest: RequestDigest,
    proactive: bool,
) -> Result<AuthenticationResult> {
    let began = Instant::now();
    let inner = application.inner;
    let is_forced =
        request.options.as_ref().is_some_and(|options| options.force_refresh || options.claims.is_some());
    let context = context(&inner, proactive)?;
    let acquired = inner.shared.engine.acquire(inner.clone(), request, context).await;
    match &acquired {
        Ok(acquired) => {
            let source = acquired.metadata.token_source.as_str();
            tracing::debug!(source, elapsed_ms = millis(began), "acquired a token");
        }
        Err(error) => tracing::info!(code = error.code(), elapsed_ms = millis(began), "acquired no token"),
    }
    let Acquired { token, binding, correlation_id, mut metadata, reuse } = acquired?;
    if let (TokenEntry::Cached(entry), Some((until, refresh_from)), false) = (&token, reuse, is_forced) {
        let generation = binding.as_ref().map(|binding| binding.generation());
        inner.reuse.remember(
            digest,
            entry,
            Reuse { until, refresh_from, generation },
            inner.clock.now_unix_ms(),
        );
    }
    metadata.duration_total = began.elapsed();
    let correlation_id = Uuid::parse_str(&correlation_id).unwrap_or_default();
    Ok(AuthenticationResult { token, correlation_id, binding, metadata })
}

/// What the guest needs to know of the world.
fn context(inner: &crate::application::Inner, proactive_refresh: bool) -> Result<GuestContext> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| Error::Engine(format!("no random numbers: {error}").into()))?;
    let word =
        |index: usize| seed.iter().skip(index * 8).take(8).fold(0, |word, byte| word << 8 | u64::from(*byte));
    let (options, now) = (&inner.options, inner.clock.now_unix_ms());
    let deadline = u64::try_from(inner.shared.engine.deadline().as_millis()).unwrap_or(u64::MAX);
    Ok(GuestContext {
        application: Registration {
            client_id: options.client_id().to_owned(),
            authority: options.authority().to_owned(),
            azure_region: options.azure_region().map(ToOwned::to_owned),
            client_capabilities: options.client_capabilities().to_vec(),
            send_x5c: options.send_x5c(),
        },
        now,
        deadline: now.saturating_add(deadline),
        seed: (word(0), word(1), word(2), word(3)),
        proactive_refresh,
    })
}

fn millis(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}
