//! An application: a registration as configured, isolated from all others.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use arc_swap::ArcSwapOption;
use symbolon_resources::cache::{ApplicationCache, CacheStatistics, ReuseMap};
use symbolon_resources::clock::Clock;
use symbolon_resources::configuration::ApplicationOptions;
use symbolon_resources::credentials::{
    Acquisition, Binding, CertificateExpiry, CredentialProvider, CredentialReport, CredentialStatistics,
    EntryName, Outcome, Purpose, SelectedCredential, SigningBudget,
};
use symbolon_resources::facts::Facts;
use symbolon_resources::transport::{Transport, TransportStatistics};
use uuid::Uuid;

use crate::acquire::{
    AcquireInLongRunningProcess, ByAuthorizationCode, ByRefreshToken, ByUserFederatedIdentityCredential,
    ByUsernamePassword, ForAgent, ForClient, ForManagedIdentity, InitiateLongRunningProcess, OnBehalfOf,
    Silent, TokenRequest, UserAssertion,
};
use crate::acquirer::TokenAcquirer;
use crate::agent::{AgentIdentity, User};
use crate::authorization::AuthorizationRequestBuilder;
use crate::builder::Shared;
use crate::engine::{
    Answer, AuthorityType, BoundFlow, Context, FlightError, Instances, Origin, Question, Registration, Slots,
};
use crate::error::{Error, Result};
use crate::hooks::Hooks;
use crate::managed_identity::{IssuedCertificates, ManagedIdentityId};
use crate::nested::NestedTokens;
use crate::recorder::Recorders;
use crate::result::Account;
use crate::session_key::SessionKeyPlace;

/// How many answers an application may reuse without asking the guest. A record takes about 60 bytes.
const REUSE_RECORDS: usize = 1_000_000;

/// A registration as configured, with everything that is its own: credentials, connections, tokens, and what was learnt
/// about its authority. Cheap to clone.
#[doc(alias = "ConfidentialClientApplication")]
#[derive(Clone)]
pub struct Application {
    pub(crate) inner: Arc<Inner>,
}

impl Application {
    pub(crate) fn new(shared: Arc<Shared>, options: ApplicationOptions, hooks: Hooks) -> Result<Self> {
        let clock = shared.clock.clone();
        let transport = Transport::new(&shared.transport, options.egress().clone(), options.transport())
            .map_err(|error| Error::Transport(Arc::new(error)))?;
        let platform_transport =
            Transport::to_platform(&shared.transport, &shared.platform, options.transport())
                .map_err(|error| Error::Transport(Arc::new(error)))?;
        let api_transport = Transport::to_apis(&shared.transport, options.transport())
            .map_err(|error| Error::Transport(Arc::new(error)))?;
        let cache = shared.cache.namespace(options.id().clone());
        let cache = match options.token_cache() {
            Some(second_level) => {
                cache.with_second_level(shared.second_levels.open(second_level, options.id())?)
            }
            None => cache,
        };
        let inner = Arc::new_cyclic(|inner| {
            let services = shared
                .credentials
                .clone()
                .with_transport(shared.transport.clone())
                .with_token_source(Arc::new(NestedTokens::new(inner.clone())));
            if let Some(second_level) = options.token_cache() {
                shared.second_levels.provide(second_level, &services, options.transport());
            }
            let provider = CredentialProvider::with_services(&options, clock.clone(), services);
            Inner {
                credentials: Credentials::new(provider),
                transport,
                platform_transport,
                issued: IssuedCertificates::default(),
                api_transport,
                others: OnceLock::new(),
                cache,
                facts: Facts::new(clock.clone()),
                reuse: ReuseMap::new(REUSE_RECORDS),
                instances: Instances::default(),
                slots: shared.engine.application_slots(),
                hooks,
                recorders: shared.recorders.clone(),
                clock,
                options,
                shared,
            }
        });
        inner.shared.applications.add(&inner);
        Ok(Self { inner })
    }

    /// Acquires a token for the application itself, by its own credential (RFC 6749 §4.4): from the cache, else from the
    /// authority.
    ///
    /// Entra accepts one scope, of the form `{resource}/.default`.
    #[doc(alias = "AcquireTokenForClient")]
    pub fn acquire_token_for_client<'a, S: Into<Cow<'a, str>>>(
        &'a self,
        scopes: impl IntoIterator<Item = S>,
    ) -> TokenRequest<'a, ForClient> {
        TokenRequest::new(self, scopes, ForClient::default())
    }

    /// Acquires a token for another API, for the user whose token the application was given: from the cache, else in
    /// exchange for that token. No refresh token is kept.
    #[doc(alias = "AcquireTokenOnBehalfOf")]
    pub fn acquire_token_on_behalf_of<'a, S: Into<Cow<'a, str>>>(
        &'a self,
        scopes: impl IntoIterator<Item = S>,
        assertion: impl Into<UserAssertion<'a>>,
    ) -> TokenRequest<'a, OnBehalfOf<'a>> {
        TokenRequest::new(self, scopes, OnBehalfOf { assertion: assertion.into() })
    }

    /// Exchanges a user's token, as [`acquire_token_on_behalf_of`](Self::acquire_token_on_behalf_of), and keeps what it takes
    /// to go on when that token has expired, under a session key.
    ///
    /// The key is the caller's, or [`SessionKey::AllocateForMe`](crate::SessionKey::AllocateForMe). It comes back as
    /// [`AuthenticationResult::long_running_session_key`](crate::AuthenticationResult::long_running_session_key), and in the
    /// [`SessionKey`](crate::SessionKey) itself where that was given by mutable reference. A key that belongs to another
    /// user's process is an error (`session-key-in-use`).
    #[doc(alias = "InitiateLongRunningProcessInWebApi")]
    pub fn initiate_long_running_process<'a, S: Into<Cow<'a, str>>>(
        &'a self,
        scopes: impl IntoIterator<Item = S>,
        assertion: impl Into<UserAssertion<'a>>,
        key: impl Into<SessionKeyPlace<'a>>,
    ) -> TokenRequest<'a, InitiateLongRunningProcess<'a>> {
        let flow = InitiateLongRunningProcess {
            assertion: assertion.into(),
            key: key.into(),
            search_in_cache: false,
        };
        TokenRequest::new(self, scopes, flow)
    }

    /// Goes on with a long-running process: with a token of the cache, else with its refresh token. An unknown key is an
    /// error (`obo_cache_key_not_in_cache_error`).
    #[doc(alias = "AcquireTokenInLongRunningProcess")]
    pub fn acquire_token_in_long_running_process<'a, S: Into<Cow<'a, str>>>(
        &'a self,
        scopes: impl IntoIterator<Item = S>,
        key: impl Into<Cow<'a, str>>,
    ) -> TokenRequest<'a, AcquireInLongRunningProcess<'a>> {
        TokenRequest::new(self, scopes, AcquireInLongRunningProcess { key: key.into() })
    }

    /// Ends a long-running process: its tokens are gone, and what is under way for it brings none. Returns whether there was
    /// anything to end.
    ///
    /// # Errors
    ///
    /// [`Error::Acquisition`] for an empty key; those of the engine.
    #[doc(alias = "StopLongRunningProcessInWebApi")]
    pub async fn stop_long_running_process(&self, key: &str) -> Result<bool> {
        match self
            .ask(origin("stop-long-running-process"), Question::StopLongRunningProcess(key.to_owned()))
            .await?
        {
            Answer::Removed(removed) => Ok(removed),
            _ => Err(Error::unexpected_answer()),
        }
    }

    /// Acquires a token for a user who is known already: from the cache, else with the user's refresh token.
    ///
    /// Without either the error says that the user must sign in (`no_tokens_found`).
    #[doc(alias = "AcquireTokenSilent")]
    pub fn acquire_token_silent<'a, S: Into<Cow<'a, str>>>(
        &'a self,
        scopes: impl IntoIterator<Item = S>,
        account: &'a Account,
    ) -> TokenRequest<'a, Silent<'a>> {
        let home_account_id = account.home_account_id.as_str().into();
        TokenRequest::new(self, scopes, Silent { home_account_id })
    }

    /// Acquires a token for the user of a refresh token that another library kept, and keeps the new one, so that
    /// [`acquire_token_silent`](Self::acquire_token_silent) goes on from there. Without scopes it is for the application
    /// itself.
    #[doc(alias = "AcquireTokenByRefreshToken")]
    pub fn acquire_token_by_refresh_token<'a, S: Into<Cow<'a, str>>>(
        &'a self,
        scopes: impl IntoIterator<Item = S>,
        refresh_token: impl Into<Cow<'a, str>>,
    ) -> TokenRequest<'a, ByRefreshToken<'a>> {
        TokenRequest::new(self, scopes, ByRefreshToken { token: refresh_token.into() })
    }

    /// Begins the sign-in of a person: the URL that the browser goes to, and what the end of the sign-in needs. Asks nobody.
    #[doc(alias = "GetAuthorizationRequestUrl")]
    pub fn authorization_request<'a, S: Into<Cow<'a, str>>>(
        &'a self,
        scopes: impl IntoIterator<Item = S>,
        redirect_uri: impl Into<String>,
    ) -> AuthorizationRequestBuilder<'a> {
        AuthorizationRequestBuilder::new(self, scopes, redirect_uri.into())
    }

    /// Acquires a token for the user who signed in, in exchange for the code that the sign-in brought to `redirect_uri`. A
    /// code is sent once: where no answer arrives, the error says that it may be used up.
    #[doc(alias = "AcquireTokenByAuthorizationCode")]
    pub fn acquire_token_by_authorization_code<'a, S: Into<Cow<'a, str>>>(
        &'a self,
        scopes: impl IntoIterator<Item = S>,
        code: impl Into<Cow<'a, str>>,
        redirect_uri: impl Into<Cow<'a, str>>,
    ) -> TokenRequest<'a, ByAuthorizationCode<'a>> {
        let flow = ByAuthorizationCode {
            code: code.into(),
            redirect_uri: redirect_uri.into(),
            code_verifier: None,
            spa_code: false,
            offline_access: true,
            issuer: None,
            skip_issuer_check: false,
        };
        TokenRequest::new(self, scopes, flow)
    }

    /// Acquires a token for the user of a name and password (RFC 6749 §4.3).
    ///
    /// **Discouraged.** The application sees the password, second factors and conditional access don't work, and RFC 9700
    /// §2.4 forbids the grant. It is here for tests with test users, and for moving away from it.
    #[doc(alias = "AcquireTokenByUsernamePassword")]
    pub fn acquire_token_by_username_password<'a, S: Into<Cow<'a, str>>>(
        &'a self,
        scopes: impl IntoIterator<Item = S>,
        username: impl Into<Cow<'a, str>>,
        password: impl Into<Cow<'a, str>>,
    ) -> TokenRequest<'a, ByUsernamePassword<'a>> {
        let flow = ByUsernamePassword { username: username.into(), password: password.into() };
        TokenRequest::new(self, scopes, flow)
    }

    /// Acquires a token for a user whom the application may name, by a token that says so. The cache isn't asked;
    /// [`acquire_token_silent`](Self::acquire_token_silent) with the result's account does that.
    #[doc(alias = "AcquireTokenByUserFederatedIdentityCredential")]
    pub fn acquire_token_by_user_federated_identity_credential<'a, S: Into<Cow<'a, str>>>(
        &'a self,
        scopes: impl IntoIterator<Item = S>,
        user: impl Into<User>,
        assertion: impl Into<Cow<'a, str>>,
    ) -> TokenRequest<'a, ByUserFederatedIdentityCredential<'a>> {
        let flow = ByUserFederatedIdentityCredential { user: user.into(), assertion: assertion.into() };
        TokenRequest::new(self, scopes, flow)
    }

    /// Acquires a token for an agent, whose blueprint this application is: for the agent itself, for a user of its own, or,
    /// with [`with_user_assertion`](TokenRequest::with_user_assertion), for the user whose token the blueprint was given.
    ///
    /// The tokens by which an agent proves itself are acquired and cached on the way, and are found by nothing else.
    #[doc(alias = "AcquireTokenForAgent")]
    pub fn acquire_token_for_agent<'a, S: Into<Cow<'a, str>>>(
        &'a self,
        agent: AgentIdentity,
        scopes: impl IntoIterator<Item = S>,
    ) -> TokenRequest<'a, ForAgent<'a>> {
        TokenRequest::new(self, scopes, ForAgent { agent, assertion: None })
    }

    /// Acquires a token of an identity that the platform manages for the machine or service that this process runs on, for one
    /// resource, with or without `/.default`: from the cache, else from whatever gives such tokens there (App Service,
    /// Service Fabric, Machine Learning, Cloud Shell, Azure Arc, or the instance metadata service of virtual machines).
    ///
    /// A token that is bound to a certificate ([`with_mtls_proof_of_possession`](TokenRequest::with_mtls_proof_of_possession))
    /// comes from the instance metadata service alone, by its second version: it certifies a key that the host makes, holds
    /// and has attested ([`Builder::attestation`](crate::Builder::attestation)). The certificate is kept until a day before
    /// its end, and is that of the result.
    ///
    /// Neither the application's credentials nor its authority has a part in it. Of the options, claims, forced refresh, the
    /// hash of a refused token, cache partitions, correlation id and query parameters apply; the configured query
    /// parameters don't.
    #[doc(alias = "AcquireTokenForManagedIdentity")]
    #[doc(alias = "ManagedIdentityApplication")]
    pub fn acquire_token_for_managed_identity<'a>(
        &'a self,
        resource: impl Into<Cow<'a, str>>,
        identity: ManagedIdentityId,
    ) -> TokenRequest<'a, ForManagedIdentity> {
        TokenRequest::new(self, [resource], ForManagedIdentity { identity })
    }

    /// The users who are known: those who signed in, or were acquired for by refresh token, password or federated
    /// credential.
    ///
    /// # Errors
    ///
    /// Those of the engine.
    #[doc(alias = "GetAccounts")]
    pub async fn accounts(&self) -> Result<Vec<Account>> {
        match self.ask(origin("accounts"), Question::Accounts).await? {
            Answer::Accounts(accounts) => Ok(accounts.into_iter().map(Into::into).collect()),
            _ => Err(Error::unexpected_answer()),
        }
    }

    /// The known user of this home account id.
    ///
    /// # Errors
    ///
    /// Those of the engine.
    #[doc(alias = "GetAccount")]
    pub async fn account(&self, home_account_id: &str) -> Result<Option<Account>> {
        Ok(self.accounts().await?.into_iter().find(|account| account.home_account_id == home_account_id))
    }

    /// Forgets a user, with all tokens. Long-running processes go on. Returns whether there was anything to forget.
    ///
    /// # Errors
    ///
    /// Those of the engine.
    #[doc(alias = "Remove")]
    pub async fn remove_account(&self, account: &Account) -> Result<bool> {
        match self
            .ask(origin("remove-account"), Question::RemoveAccount(account.home_account_id.clone()))
            .await?
        {
            Answer::Removed(removed) => Ok(removed),
            _ => Err(Error::unexpected_answer()),
        }
    }

    pub(crate) async fn ask(&self, origin: Origin, question: Question) -> Result<Answer> {
        let context = self.inner.context(false)?;
        self.inner.shared.engine.ask(self.inner.clone(), origin, question, context).await
    }

    /// What the application is configured with.
    pub fn options(&self) -> &ApplicationOptions {
        &self.inner.options
    }

    /// Loads every configured credential, as far as that is possible without asking anybody, and says what became of it.
    /// Contacts nothing.
    pub async fn check_credentials(&self) -> Vec<CredentialReport> {
        self.inner.credentials.provider.check().await
    }

    /// The same with those that a vault, a managed identity, another application or a program's provider has to be asked
    /// for.
    pub async fn try_credentials(&self) -> Vec<CredentialReport> {
        self.inner.credentials.provider.try_all().await
    }

    /// What happened to the credentials so far: selections, refusals, readings, rotations. Costs some atomic loads.
    pub fn credential_statistics(&self) -> CredentialStatistics {
        self.inner.credentials.provider.statistics()
    }

    /// When the certificates end that are loaded, in the order of the configuration; for a metric. Reads nothing.
    ///
    /// An end that comes near is a `tracing` warning too, named `symbolon.credentials.expiry`: 30, 7 and 1 days before it,
    /// once each.
    pub fn certificate_expiries(&self) -> Vec<CertificateExpiry> {
        self.inner.credentials.provider.certificate_expiries()
    }

    /// Puts another certificate into the place of a configured one, named by its index in `ClientCredentials` or by its
    /// name in messages.
    ///
    /// Acquisitions that are under way end with the certificate that they began with. Later ones sign with the new one and
    /// present it on connections of its own; tokens that are bound to the old one are not given out any more.
    ///
    /// # Errors
    ///
    /// [`Error::Credential`] when there is no such entry, it isn't one for a certificate, or the certificate isn't valid now.
    pub fn replace_certificate(
        &self,
        entry: impl Into<EntryName>,
        certificate: Binding,
    ) -> Result<Arc<Binding>> {
        self.inner.credentials.replace_certificate(entry.into(), certificate)
    }

    /// Keeps instances of the guest for this application's next acquisitions, or lets go of them. The default is to keep
    /// none: each acquisition has a fresh instance.
    ///
    /// A kept instance saves the making of one, about a third of what an acquisition over the network costs in processor time. In exchange, what
    /// an answer of the authority may have done to the guest outlives the acquisition, and the guest's memory may hold
    /// tokens of earlier ones. An instance never serves another application, nor any after it failed.
    pub fn reuse_instances(&self, reuse: bool) {
        self.inner.instances.keep(reuse);
    }

    /// What the cache holds of this application, and what it did for it.
    pub fn cache_statistics(&self) -> CacheStatistics {
        self.inner.cache.statistics()
    }

    /// What this application's connections to the APIs that it calls have done.
    pub fn api_transport_statistics(&self) -> TransportStatistics {
        self.inner.api_transport.statistics()
    }

    /// What this application's connections to its authority have done.
    pub fn transport_statistics(&self) -> TransportStatistics {
        self.inner.transport.statistics()
    }
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

impl Application {
    /// Whether letting it go costs nothing but requests: nobody else holds it, and no user would have to sign in again.
    pub(crate) fn may_be_let_go(&self) -> bool {
        Arc::strong_count(&self.inner) == 1 && self.inner.cache.statistics().lasting == 0
    }
}

/// That of a question which isn't about a token.
fn origin(flow: &'static str) -> Origin {
    Origin::new(flow, Uuid::new_v4())
}

/// What an application owns.
pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: ApplicationOptions,
    pub(crate) credentials: Credentials,
    pub(crate) transport: Transport,
    /// The way to the platform's own endpoints, for tokens of managed identities.
    pub(crate) platform_transport: Transport,
    /// What the platform issued to those identities.
    pub(crate) issued: IssuedCertificates,
    /// The way to the APIs that the application calls.
    pub(crate) api_transport: Transport,
    /// The applications of other sections, once a call names one.
    pub(crate) others: OnceLock<TokenAcquirer>,
    pub(crate) cache: ApplicationCache<FlightError>,
    pub(crate) facts: Facts,
    pub(crate) reuse: ReuseMap,
    pub(crate) instances: Instances,
    /// How much it may do at once.
    pub(crate) slots: Slots,
    pub(crate) hooks: Hooks,
    /// Those of the engine, here for those who ask at each call.
    pub(crate) recorders: Recorders,
}

impl Inner {
    /// What the guest needs to know of the world.
    pub(crate) fn context(&self, proactive_refresh: bool) -> Result<Context> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)
            .map_err(|error| Error::Engine(format!("no random numbers: {error}").into()))?;
        let word = |index: usize| {
            seed.iter().skip(index * 8).take(8).fold(0, |word, byte| word << 8 | u64::from(*byte))
        };
        let (options, now) = (&self.options, self.clock.now_unix_ms());
        Ok(Context {
            application: Registration {
                client_id: options.client_id().to_owned(),
                authority: options.authority().to_owned(),
                authority_type: options.authority_type().and_then(authority_type),
                skip_authority_validation: options.skip_authority_validation(),
                instance_metadata: options.instance_metadata().map(ToOwned::to_owned),
                instance_discovery_uri: options.instance_discovery_uri().map(ToOwned::to_owned),
                token_endpoint_auth_method: options.token_endpoint_auth_method().map(ToOwned::to_owned),
                assertions_for_token_endpoint: options.assertions_for_token_endpoint(),
                azure_region: options.azure_region().map(ToOwned::to_owned),
                client_capabilities: options.client_capabilities().to_vec(),
                send_x5c: options.send_x5c(),
                token_exchange_url: options.token_exchange_url().map(ToOwned::to_owned),
                bound_flows: options.bound_flows().iter().copied().filter_map(bound_flow).collect(),
            },
            now,
            // The engine says when it must have ended.
            deadline: now,
            seed: (word(0), word(1), word(2), word(3)),
            proactive_refresh,
        })
    }
}

/// What the interface calls the type; nothing for one that it doesn't know.
fn authority_type(kind: symbolon_resources::configuration::AuthorityType) -> Option<AuthorityType> {
    use symbolon_resources::configuration::AuthorityType as Configured;
    match kind {
        Configured::Aad => Some(AuthorityType::Aad),
        Configured::B2c => Some(AuthorityType::B2c),
        Configured::Ciam => Some(AuthorityType::Ciam),
        Configured::Adfs => Some(AuthorityType::Adfs),
        Configured::Dsts => Some(AuthorityType::Dsts),
        Configured::Oidc => Some(AuthorityType::Oidc),
        _ => None,
    }
}

/// What the interface calls the flow; nothing for one that it doesn't know.
fn bound_flow(flow: symbolon_resources::configuration::BoundFlow) -> Option<BoundFlow> {
    use symbolon_resources::configuration::BoundFlow as Configured;
    match flow {
        Configured::ByUserFederatedIdentityCredential => Some(BoundFlow::ByUserFederatedIdentityCredential),
        Configured::ByUsernamePassword => Some(BoundFlow::ByUsernamePassword),
        Configured::ForAgent => Some(BoundFlow::ForAgent),
        _ => None,
    }
}

/// The applications of an engine, as long as somebody holds them.
#[derive(Debug, Default)]
pub(crate) struct Applications(Mutex<Vec<Weak<Inner>>>);

impl Applications {
    fn add(&self, application: &Arc<Inner>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that are gone go where the list would grow, so that many can be added.
        if all.len() == all.capacity() {
            all.retain(|application| application.strong_count() > 0);
        }
        all.push(Arc::downgrade(application));
    }

    pub(crate) fn all(&self) -> Vec<Application> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter_map(Weak::upgrade).map(|inner| Application { inner }).collect()
    }
}

/// The credential provider, with the certificate that it gives at present, for those who can't wait for it.
pub(crate) struct Credentials {
    provider: CredentialProvider,
    latest: ArcSwapOption<Latest>,
}

/// The certificate that the provider gave, and its revision before it did.
struct Latest {
    revision: u64,
    binding: Arc<Binding>,
}

impl Credentials {
    fn new(provider: CredentialProvider) -> Self {
        Self { provider, latest: ArcSwapOption::empty() }
    }

    pub(crate) async fn select(
        &self,
        acquisition: &Acquisition,
    ) -> Result<SelectedCredential, symbolon_resources::credentials::CredentialError> {
        let revision = self.provider.revision();
        let selected = self.provider.select_for(acquisition).await?;
        if let Some(binding) = selected.binding() {
            let known = self.latest.load();
            let is_known = known.as_ref().is_some_and(|known| {
                known.revision == revision && known.binding.generation() == binding.generation()
            });
            if !is_known {
                self.latest.store(Some(Arc::new(Latest { revision, binding: binding.clone() })));
            }
        }
        Ok(selected)
    }

    /// The first usable certificate, to be presented to an API. What tokens are bound to has nothing to do with it.
    pub(crate) async fn select_certificate(
        &self,
    ) -> Result<SelectedCredential, symbolon_resources::credentials::CredentialError> {
        let acquisition = Acquisition::new(SigningBudget::new()).with_purpose(Purpose::PresentToApi);
        self.provider.select_for(&acquisition).await
    }

    pub(crate) fn report(&self, credential: &SelectedCredential, outcome: Outcome) {
        self.provider.report(credential, outcome);
    }

    fn replace_certificate(&self, entry: EntryName, certificate: Binding) -> Result<Arc<Binding>> {
        Ok(self.provider.replace_certificate(entry, certificate)?)
    }

    /// The certificate that the provider gave last, unless something may have changed since.
    pub(crate) fn current_binding(&self) -> Option<Arc<Binding>> {
        let latest = self.latest.load();
        let latest = latest.as_ref()?;
        (latest.revision == self.provider.revision()).then(|| latest.binding.clone())
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("options", &self.options).finish_non_exhaustive()
    }
}
