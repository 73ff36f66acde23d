//! Acquiring a token: from the reuse map, else by the guest.

mod flows;
mod options;

use std::borrow::Cow;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use smallvec::SmallVec;
use symbolon_resources::cache::{Cached, RequestDigest, RequestHasher, Reuse};
use symbolon_resources::credentials::Binding;
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

use crate::application::{Application, Inner};
use crate::engine::{self, Acquired, Answer, Origin, Question, Request, Scheme, Slot};
use crate::error::{Error, Result};
use crate::hooks::{BackgroundRefresh, Beginning};
use crate::recorder::Recording;
use crate::result::{AuthenticationResult, AuthenticationResultMetadata, Beside, TokenEntry};

pub use self::flows::{
    AcquireInLongRunningProcess, AssertionKind, ByAuthorizationCode, ByRefreshToken,
    ByUserFederatedIdentityCredential, ByUsernamePassword, ForAgent, ForClient, ForManagedIdentity,
    InitiateLongRunningProcess, OnBehalfOf, Silent, UserAssertion,
};
pub use self::options::RequestOptions;

/// How a token is acquired: the part of a [`TokenRequest`] that differs from flow to flow.
pub(crate) trait Flow: Send {
    /// The flow's name in logs.
    const NAME: &'static str;
    /// Whether the answer to an earlier request that was the same may be given again.
    const REUSES_ANSWERS: bool = true;
    /// Whether the application's authority gives the token: then what is configured for requests to it applies.
    const ASKS_AUTHORITY: bool = true;

    /// Adds everything that makes a difference to the answer.
    fn digest(&self, hasher: &mut RequestHasher<'_>);

    /// The flow in the guest's words.
    fn to_guest(&self) -> engine::Flow;

    /// The key of the long-running process that goes on, for answers that weren't asked for.
    fn session_key(&self) -> Option<&str> {
        None
    }

    /// The certificate that tokens of the flow are bound to now, where they are.
    fn binding(&self, application: &Inner) -> Option<Arc<Binding>> {
        application.credentials.current_binding()
    }

    /// Says which hooks the flow has.
    fn begin(&mut self, _beginning: Beginning<'_>) {}

    /// Tells whoever waits for more than the result.
    fn answered(&mut self, _result: &AuthenticationResult) {}
}

/// A request for a token by one of the flows. Await it to send it.
#[must_use = "a request does nothing until it is awaited"]
#[derive(Clone)]
pub struct TokenRequest<'a, F> {
    application: &'a Application,
    scopes: SmallVec<[Cow<'a, str>; 2]>,
    flow: F,
    mtls_pop: bool,
    options: RequestOptions,
}

impl<'a, F> TokenRequest<'a, F> {
    pub(crate) fn new<S: Into<Cow<'a, str>>>(
        application: &'a Application,
        scopes: impl IntoIterator<Item = S>,
        flow: F,
    ) -> Self {
        Self {
            application,
            scopes: scopes.into_iter().map(Into::into).collect(),
            flow,
            mtls_pop: false,
            options: RequestOptions::default(),
        }
    }

    /// Asks for a token that is bound to the application's certificate, which is presented over mutual TLS to the authority
    /// and must be presented to the API as well. The default is a bearer token. Tokens of users can't be bound like this.
    #[doc(alias = "WithMtlsProofOfPossession")]
    pub fn with_mtls_proof_of_possession(mut self) -> Self {
        self.mtls_pop = true;
        self
    }

    /// The same where `wanted`.
    pub(crate) fn with_mtls_pop(mut self, wanted: bool) -> Self {
        self.mtls_pop = wanted;
        self
    }

    /// Asks for a token that is bound to a key with which the caller signs its HTTP requests: a public key as a JSON Web
    /// Key (RFC 7517). The token type is `PoP`, and making the signed request is the caller's part.
    #[doc(alias = "PopPublicKey")]
    pub fn with_pop_public_key(mut self, jwk: impl Into<String>) -> Self {
        self.options.rare_mut().pop_public_key = Some(jwk.into());
        self
    }

    /// Takes no access token from the cache. The default is `false`.
    #[doc(alias = "WithForceRefresh")]
    pub fn with_force_refresh(mut self, force_refresh: bool) -> Self {
        self.options.force_refresh = force_refresh;
        self
    }

    /// The SHA-256, in hexadecimal, of an access token that an API refused: if the cache holds that very token, it isn't
    /// used. Challenge claims then don't bypass the cache.
    #[doc(alias = "WithAccessTokenSha256ToRefresh")]
    pub fn with_access_token_sha256_to_refresh(mut self, hash: impl Into<String>) -> Self {
        self.options.rare_mut().access_token_sha256_to_refresh = Some(hash.into());
        self
    }

    /// The id that goes to the authority as `client-request-id`. The default is a random one.
    #[doc(alias = "WithCorrelationId")]
    pub fn with_correlation_id(mut self, correlation_id: Uuid) -> Self {
        self.options.correlation_id = Some(correlation_id);
        self
    }

    /// Asks another authority than the configured one: an https URL of the same type (see
    /// [`AuthorityType`](crate::AuthorityType)), whose host is the configured one's or another name of its cloud, and the
    /// configured one's where a region is configured. `common` and `organizations` in it stand for the configured tenant.
    /// Directories for customers (CIAM) and OpenID Connect providers may be at any host that
    /// `Symbolon:AllowedAuthorities` lets the application talk to.
    #[doc(alias = "WithAuthority")]
    pub fn with_authority(mut self, url: impl Into<String>) -> Self {
        self.options.rare_mut().authority = Some(url.into());
        self
    }

    /// Asks another directory than the authority's: a tenant id or a domain name.
    #[doc(alias = "WithTenantId")]
    pub fn with_tenant_id(mut self, tenant_id: impl Into<String>) -> Self {
        self.options.rare_mut().tenant_id = Some(tenant_id.into());
        self
    }

    /// The claims of a claims challenge, JSON. The token then comes from the authority, and replaces the cached one.
    #[doc(alias = "WithClaims")]
    pub fn with_claims(mut self, claims: impl Into<String>) -> Self {
        self.options.rare_mut().claims = Some(claims.into());
        self
    }

    /// The client's own claims, JSON. Tokens with different ones are kept apart in the cache.
    #[doc(alias = "WithClaimsFromClient")]
    pub fn with_claims_from_client(mut self, claims: impl Into<String>) -> Self {
        self.options.rare_mut().client_claims = Some(claims.into());
        self
    }

    /// The FMI path that the credential's own assertion shall carry. Tokens with different ones are kept apart.
    #[doc(alias = "WithFmiPathForClientAssertion")]
    pub fn with_fmi_path_for_client_assertion(mut self, path: impl Into<String>) -> Self {
        self.options.rare_mut().client_assertion_fmi_path = Some(path.into());
        self
    }

    /// Claims that client assertions shall carry which are signed with the application's certificate: a JSON object, such as
    /// `{"xms_az_nwperimid":"…"}`. Names that assertions have anyway (`aud`, `iss`, `sub`, `nbf`, `exp`, `jti`, `iat`) are
    /// refused, and so is a credential that signs nothing. Tokens with different ones are kept apart.
    #[doc(alias = "WithExtraClientAssertionClaims")]
    pub fn with_extra_client_assertion_claims(mut self, claims: impl Into<String>) -> Self {
        self.options.rare_mut().extra_client_assertion_claims = Some(claims.into());
        self
    }

    /// Whether client assertions carry the certificate and its chain (`x5c`), which registrations by subject name and issuer
    /// need. The default is what the configuration says (`SendX5C`); on connections bound to the certificate they always do.
    #[doc(alias = "WithSendX5C")]
    pub fn with_send_x5c(mut self, send_x5c: bool) -> Self {
        self.options.rare_mut().send_x5c = Some(send_x5c);
        self
    }

    /// Keeps tokens apart in the cache by a name and value of the caller's own, refresh tokens too if `refresh_tokens` says
    /// so. Nothing of it goes to the authority.
    #[doc(alias = "WithCachePartitionKey")]
    pub fn with_cache_partition_key(
        mut self,
        name: impl Into<String>,
        value: impl Into<String>,
        refresh_tokens: bool,
    ) -> Self {
        self.options.rare_mut().cache_partitions.push((name.into(), value.into(), refresh_tokens));
        self
    }

    /// Parameters for the query of the token endpoint. They are percent-encoded, and partition the cache.
    #[doc(alias = "WithExtraQueryParameters")]
    pub fn with_extra_query_parameters<K: Into<String>, V: Into<String>>(
        mut self,
        parameters: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.options
            .rare_mut()
            .extra_query_parameters
            .extend(parameters.into_iter().map(|(k, v)| (k.into(), v.into())));
        self
    }

    /// Parameters for the query of the token endpoint that are percent-encoded already: they go out as they are, in the
    /// place of those of the same name. They partition the cache.
    pub fn with_encoded_query_parameters<K: Into<String>, V: Into<String>>(
        mut self,
        parameters: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.options
            .rare_mut()
            .encoded_query_parameters
            .extend(parameters.into_iter().map(|(k, v)| (k.into(), v.into())));
        self
    }

    /// These in the place of all that were chosen so far.
    pub(crate) fn with_options(mut self, options: RequestOptions) -> Self {
        self.options = options;
        self
    }

    /// Parameters for the body of the token request. They partition the cache.
    #[doc(alias = "WithExtraBodyParameters")]
    pub fn with_extra_body_parameters<K: Into<String>, V: Into<String>>(
        mut self,
        parameters: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.options
            .rare_mut()
            .extra_body_parameters
            .extend(parameters.into_iter().map(|(k, v)| (k.into(), v.into())));
        self
    }

    /// Headers of the token request. Those that the protocol or the connection needs are refused.
    #[doc(alias = "WithExtraHttpHeaders")]
    pub fn with_extra_http_headers<K: Into<String>, V: Into<String>>(
        mut self,
        headers: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.options.rare_mut().extra_headers.extend(headers.into_iter().map(|(k, v)| (k.into(), v.into())));
        self
    }
}

#[expect(private_bounds, reason = "the flows are this crate's")]
impl<'a, F: Flow> TokenRequest<'a, F> {
    fn run_hooks(&mut self) {
        let inner = &*self.application.inner;
        if let Some(hooks) = inner.hooks.get() {
            let (application, scopes, options) = (&inner.options, &self.scopes, &mut self.options);
            self.flow.begin(Beginning { hooks, application, scopes, options });
        }
    }

    /// Stands for everything that makes a difference to the answer; forcing a refresh and the correlation id don't.
    fn digest(&self) -> RequestDigest {
        let mut hasher = self.application.inner.reuse.request();
        self.flow.digest(&mut hasher);
        hasher.number(u64::from(self.mtls_pop)).number(self.scopes.len() as u64);
        for scope in &self.scopes {
            hasher.field(&**scope);
        }
        self.options.digest(&mut hasher);
        hasher.finish()
    }

    /// The answer to an earlier request that was the same, if it stands.
    fn reused(&self, digest: RequestDigest) -> Option<AuthenticationResult> {
        if self.options.force_refresh || !F::REUSES_ANSWERS {
            return None;
        }
        let inner = &*self.application.inner;
        let binding = self.mtls_pop.then(|| self.flow.binding(inner)).flatten();
        let generation = binding.as_ref().map(|binding| binding.generation());
        let now_ms = inner.clock.now_unix_ms();
        let reused = inner.reuse.get(digest, now_ms, generation)?;
        if reused.refresh_due {
            self.renew(&reused.entry, digest, now_ms);
        }
        let result = AuthenticationResult {
            token: TokenEntry::Cached(reused.entry),
            correlation_id: self.options.correlation_id.unwrap_or_else(Uuid::new_v4),
            binding,
            beside: Beside::of_session(self.flow.session_key()),
            metadata: AuthenticationResultMetadata::default(),
        };
        if inner.recorders.is_there() {
            inner.record_reuse(Origin::new(F::NAME, result.correlation_id), &result);
        }
        Some(result)
    }

    /// Renews a token that still stands, unless somebody is at it. Where as many are being renewed as may be, a later call
    /// will.
    fn renew(&self, entry: &Cached, digest: RequestDigest, now_ms: u64) {
        let inner = &*self.application.inner;
        let Some(slot) = inner.shared.engine.renewal_slot(inner) else { return };
        if entry.claim_refresh(now_ms) {
            self.renew_in_background(digest, slot);
        }
    }

    /// Nobody waits for it, and its failure is nobody's: the token is served while it lives.
    fn renew_in_background(&self, digest: RequestDigest, slot: Slot) {
        let application = self.application.clone();
        let origin = Origin::new(F::NAME, Uuid::new_v4());
        let request = self.request(origin.correlation_id, false);
        tokio::spawn(async move {
            let _slot = slot;
            let result = acquire(application.clone(), request, origin, digest, true).await;
            if let Err(error) = &result {
                tracing::warn!(code = error.code(), "a token could not be renewed in the background");
            }
            let inner = &*application.inner;
            if let Some(hooks) = inner.hooks.get() {
                let (application, flow, result) = (&inner.options, F::NAME, &result);
                hooks.background_refresh_completed(&BackgroundRefresh { application, flow, result });
            }
        });
    }

    /// The request in the guest's words.
    fn request(&self, correlation_id: Uuid, force_refresh: bool) -> Request {
        let configured = match F::ASKS_AUTHORITY {
            true => self.application.inner.options.extra_query_parameters(),
            false => &[],
        };
        Request {
            flow: self.flow.to_guest(),
            scopes: self.scopes.iter().map(|scope| scope.clone().into_owned()).collect(),
            scheme: if self.mtls_pop { Scheme::MtlsPop } else { Scheme::Bearer },
            options: Some(self.options.to_guest(configured, correlation_id, force_refresh)),
        }
    }
}

impl<'a, F: Flow + 'a> IntoFuture for TokenRequest<'a, F> {
    type Output = Result<AuthenticationResult>;
    type IntoFuture = Acquisition<'a>;

    fn into_future(mut self) -> Acquisition<'a> {
        self.run_hooks();
        let digest = self.digest();
        if let Some(reused) = self.reused(digest) {
            return Acquisition(State::Reused(Some(reused)));
        }
        let correlation_id = self.options.correlation_id.unwrap_or_else(Uuid::new_v4);
        let origin = Origin::new(F::NAME, correlation_id);
        let request = self.request(correlation_id, self.options.force_refresh);
        let span = tracing::info_span!(
            "symbolon.acquire",
            application = self.application.inner.options.id().as_str(),
            flow = F::NAME,
            %correlation_id,
        );
        let (application, mut flow) = (self.application.clone(), self.flow);
        let acquisition = async move {
            let result = acquire(application, request, origin, digest, false).await;
            if let Ok(result) = &result {
                flow.answered(result);
            }
            result
        };
        Acquisition(State::Running(Box::pin(acquisition.instrument(span))))
    }
}

impl<F: Flow> fmt::Debug for TokenRequest<'_, F> {
    /// Leaves out what may be a token, a password or a name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest")
            .field("flow", &F::NAME)
            .field("scopes", &self.scopes)
            .field("mtls_pop", &self.mtls_pop)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// A token on its way.
#[must_use = "futures do nothing unless polled"]
pub struct Acquisition<'a>(State<'a>);

enum State<'a> {
    /// An earlier answer stands. Nothing was allocated to find it.
    Reused(Option<AuthenticationResult>),
    Running(Pin<Box<dyn Future<Output = Result<AuthenticationResult>> + Send + 'a>>),
}

impl Future for Acquisition<'_> {
    type Output = Result<AuthenticationResult>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Reused(result) => result.take().map_or(Poll::Pending, |result| Poll::Ready(Ok(result))),
            State::Running(future) => future.as_mut().poll(context),
        }
    }
}

impl fmt::Debug for Acquisition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquisition").finish_non_exhaustive()
    }
}

/// Asks the guest, and remembers for how long its answer stands.
async fn acquire(
    application: Application,
    request: Request,
    origin: Origin,
    digest: RequestDigest,
    proactive: bool,
) -> Result<AuthenticationResult> {
    let inner = application.inner;
    let is_forced =
        request.options.as_ref().is_some_and(|options| options.force_refresh || options.claims.is_some());
    let context = inner.context(proactive)?;
    let recording = Recording::begin(&inner, origin, 0, &request, proactive);
    let began = recording.began();
    let question = Question::Acquire(request);
    let acquired = match inner.shared.engine.ask(inner.clone(), origin, question, context).await {
        Ok(Answer::Acquired(acquired)) => Ok(*acquired),
        Ok(_) => Err(Error::unexpected_answer()),
        Err(error) => Err(error),
    };
    match &acquired {
        Ok(acquired) => {
            let source = acquired.metadata.token_source.as_str();
            tracing::debug!(source, elapsed_ms = millis(began), "acquired a token");
        }
        Err(error) => tracing::info!(code = error.code(), elapsed_ms = millis(began), "acquired no token"),
    }
    let Acquired { token, binding, correlation_id, beside, mut metadata, reuse } = match acquired {
        Ok(acquired) => acquired,
        Err(error) => {
            let failed = Err(error);
            recording.end(&failed);
            return failed;
        }
    };
    if let (TokenEntry::Cached(entry), Some((until, refresh_from)), false) = (&token, reuse, is_forced) {
        let generation = binding.as_ref().map(|binding| binding.generation());
        inner.reuse.remember(
            digest,
            entry.shared(),
            Reuse { until, refresh_from, generation },
            inner.clock.now_unix_ms(),
        );
    }
    metadata.duration_total = began.elapsed();
    let correlation_id = Uuid::parse_str(&correlation_id).unwrap_or_default();
    let acquired = Ok(AuthenticationResult { token, correlation_id, binding, beside, metadata });
    recording.end(&acquired);
    acquired
}

fn millis(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}
