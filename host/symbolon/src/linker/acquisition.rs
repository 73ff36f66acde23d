//! `symbolon:token/acquisition`, for guests: what their policy allows is asked of the application as a program asks it.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::authorization::{Authorization, Proof};
use super::convert::{self, Acquired};
use super::ctx::Guest;
use super::hooks::GuestAcquisition;
use super::policy::{GuestFlow, GuestRefusal, TokenForm};
use crate::acquire::{Flow, RequestOptions, Silent, TokenRequest, UserAssertion};
use crate::agent::{AgentIdentity, User};
use crate::application::Application;
use crate::engine::{Answer, Origin, Question, Refusal, SignIn, Verdict, types, wit};
use crate::error::{Error, Result};
use crate::result::{Account, AuthenticationResult};
use crate::session_key::SessionKey;

impl Guest {
    pub(super) async fn acquire(self: Arc<Self>, request: wit::Request) -> Result<Acquired, types::Error> {
        let wit::Request { flow, scopes, scheme, options } = request;
        let options = options.unwrap_or_else(no_options);
        let is_bound = scheme == wit::Scheme::MtlsPop;
        let admitted = guest_flow(&flow).and_then(|kind| self.admit(kind, &scopes, is_bound, &options));
        let correlation_id =
            admitted.map_err(|refusal| self.refusal(refusal, options.correlation_id.as_deref()))?;
        let session = self.session(&flow);
        let wanted =
            Wanted { scopes: scopes.clone(), is_bound, options: request_options(options, correlation_id) };
        let key = session.as_ref().map(|session| session.inner.as_str());
        let token = ask(&self.application, flow, wanted, key).await;
        let token = token.map_err(|error| convert::error(&self, error, correlation_id))?;
        Ok(Acquired {
            guest: self,
            token,
            scopes,
            is_bound,
            session_key: session.map(|session| session.outer),
        })
    }

    /// What presents the application's certificate.
    pub(super) async fn certificate(self: Arc<Self>) -> Result<Authorization, types::Error> {
        let allowed = self.count().and_then(|()| match self.policy.allows_certificate() {
            true => Ok(()),
            false => Err(GuestRefusal::Certificate),
        });
        allowed.map_err(|refusal| self.refusal(refusal, None))?;
        let selected = self.application.inner.credentials.select_certificate().await;
        let selected = selected.map_err(|error| convert::error(&self, error.into(), Uuid::nil()))?;
        Ok(Authorization { guest: self, proof: Proof::Certificate(Box::new(selected)) })
    }

    /// Judging an answer asks nobody and gives nothing away; it costs an instance all the same.
    pub(super) async fn review(self: Arc<Self>, refusal: Refusal) -> Verdict {
        if let Err(refusal) = self.count() {
            self.refuse(refusal);
            return Verdict::Accept;
        }
        let origin = Origin::new("review", Uuid::new_v4());
        match self.application.ask(origin, Question::Review(refusal)).await {
            Ok(Answer::Reviewed(verdict)) => verdict,
            _ => Verdict::Accept,
        }
    }

    pub(super) async fn authorize(
        self: Arc<Self>,
        sign_in: SignIn,
    ) -> Result<wit::AuthorizationRequest, types::Error> {
        let SignIn { scopes, redirect_uri, offline_access, login_hint, domain_hint, prompt, options } =
            sign_in;
        let options = options.unwrap_or_else(no_options);
        let admitted = self.admit(GuestFlow::ByAuthorizationCode, &scopes, false, &options);
        let correlation_id =
            admitted.map_err(|refusal| self.refusal(refusal, options.correlation_id.as_deref()))?;
        let mut request = self.application.authorization_request(scopes, redirect_uri);
        request = request.with_offline_access(offline_access).with_correlation_id(correlation_id);
        request = set(request, login_hint, |request, hint| request.with_login_hint(hint));
        request = set(request, domain_hint, |request, hint| request.with_domain_hint(hint));
        request = set(request, prompt, |request, prompt| request.with_prompt(prompt));
        request = set(request, options.tenant_id, |request, tenant| request.with_tenant_id(tenant));
        request = set(request, options.claims, |request, claims| request.with_claims(claims));
        let begun = request.await.map_err(|error| convert::error(&self, error, correlation_id))?;
        Ok(wit::AuthorizationRequest {
            url: begun.url,
            code_verifier: begun.code_verifier,
            state: begun.state,
            nonce: begun.nonce,
        })
    }

    pub(super) async fn stop_long_running_process(
        self: Arc<Self>,
        key: String,
    ) -> Result<bool, types::Error> {
        self.may(&GuestFlow::LongRunningProcess).map_err(|refusal| self.refusal(refusal, None))?;
        let stopped = self.application.stop_long_running_process(&self.session_key(&key)).await;
        stopped.map_err(|error| convert::error(&self, error, Uuid::nil()))
    }

    pub(super) async fn accounts(self: Arc<Self>) -> Result<Vec<types::Account>, types::Error> {
        self.may(&GuestFlow::Silent).map_err(|refusal| self.refusal(refusal, None))?;
        let accounts = self.application.accounts().await;
        let accounts = accounts.map_err(|error| convert::error(&self, error, Uuid::nil()))?;
        Ok(accounts.into_iter().map(convert::account).collect())
    }

    pub(super) async fn remove_account(
        self: Arc<Self>,
        home_account_id: String,
    ) -> Result<bool, types::Error> {
        self.may(&GuestFlow::Silent).map_err(|refusal| self.refusal(refusal, None))?;
        let account = Account { home_account_id, environment: String::new(), username: String::new() };
        let removed = self.application.remove_account(&account).await;
        removed.map_err(|error| convert::error(&self, error, Uuid::nil()))
    }

    /// Whether the guest may do what belongs to a flow and is about no token.
    fn may(&self, flow: &GuestFlow) -> Result<(), GuestRefusal> {
        self.count()?;
        match self.policy.allows_flow(flow) {
            true => Ok(()),
            false => Err(GuestRefusal::Flow),
        }
    }

    /// Whether the guest may ask this. By which correlation id it goes then.
    fn admit(
        &self,
        flow: GuestFlow,
        scopes: &[String],
        is_bound: bool,
        options: &wit::Options,
    ) -> Result<Uuid, GuestRefusal> {
        self.may(&flow)?;
        if !self.policy.allows_scopes(scopes) {
            return Err(GuestRefusal::Scopes);
        }
        let tenant_id = options.tenant_id.as_deref();
        let own = self.application.options().tenant_id();
        let is_own = |tenant: &str| own.is_some_and(|own| own.eq_ignore_ascii_case(tenant));
        if tenant_id.is_some_and(|tenant| !is_own(tenant) && !self.policy.allows_tenant(tenant)) {
            return Err(GuestRefusal::Tenant);
        }
        if let Some(name) = self.forbidden_parameter(options) {
            return Err(GuestRefusal::Parameter(name));
        }
        let correlation_id = match &options.correlation_id {
            None => Uuid::new_v4(),
            Some(id) => Uuid::try_parse(id).map_err(|_| GuestRefusal::Parameter("correlation-id"))?,
        };
        let (guest, flow) = (&*self.id, &flow);
        let asked = GuestAcquisition { guest, flow, scopes, tenant_id, mtls_proof_of_possession: is_bound };
        match self.hooks.as_ref().is_none_or(|hooks| hooks.allows_acquisition(&asked)) {
            true => Ok(correlation_id),
            false => Err(GuestRefusal::Hooks),
        }
    }

    /// What reaches further than a guest may: into what is sent to the authority, or into the credential.
    fn forbidden_parameter(&self, options: &wit::Options) -> Option<&'static str> {
        let sealed = self.policy.form == TokenForm::Sealed;
        let forbidden = [
            // It names a directory too, and a host.
            ("authority", options.authority.is_some()),
            // A token that the guest must sign requests for is of no use where it can't see it.
            ("pop-public-key", sealed && options.pop_public_key.is_some()),
            ("client-assertion-fmi-path", options.client_assertion_fmi_path.is_some()),
            ("extra-client-assertion-claims", options.extra_client_assertion_claims.is_some()),
            ("send-x5c", options.send_x5c.is_some()),
            ("cache-partitions", !options.cache_partitions.is_empty()),
            ("extra-query-parameters", !options.extra_query_parameters.is_empty()),
            ("encoded-query-parameters", !options.encoded_query_parameters.is_empty()),
            ("extra-body-parameters", !options.extra_body_parameters.is_empty()),
            ("extra-headers", !options.extra_headers.is_empty()),
        ];
        forbidden.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name)
    }

    /// Tells of a refusal, and gives the guest its words.
    fn refusal(&self, refusal: GuestRefusal, correlation_id: Option<&str>) -> types::Error {
        self.refuse(refusal);
        convert::refusal(refusal, correlation_id.unwrap_or_default())
    }

    /// The session that a request is about.
    fn session(&self, flow: &wit::Flow) -> Option<Session> {
        let outer = match flow {
            wit::Flow::AcquireInLongRunningProcess(key) => key.clone(),
            wit::Flow::InitiateLongRunningProcess(start) => {
                let chosen = start.session_key.clone().filter(|key| !key.is_empty());
                // The key that the interface promises. Made here, so that it is the guest's own as well.
                chosen.unwrap_or_else(|| {
                    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(start.assertion.assertion.as_bytes()))
                })
            }
            _ => return None,
        };
        Some(Session { inner: self.session_key(&outer), outer })
    }
}

/// A long-running process of a guest.
struct Session {
    /// The key by which the guest knows it.
    outer: String,
    /// The key by which the application knows it.
    inner: String,
}

/// What is asked beside the flow.
struct Wanted {
    scopes: Vec<String>,
    is_bound: bool,
    options: RequestOptions,
}

impl Wanted {
    async fn of<'a, F: Flow + 'a>(self, request: TokenRequest<'a, F>) -> Result<AuthenticationResult> {
        request.with_options(self.options).with_mtls_pop(self.is_bound).await
    }
}

async fn ask(
    application: &Application,
    flow: wit::Flow,
    mut wanted: Wanted,
    session_key: Option<&str>,
) -> Result<AuthenticationResult> {
    let scopes = std::mem::take(&mut wanted.scopes);
    let correlation_id = wanted.options.correlation_id().unwrap_or_default();
    let session_key = session_key.unwrap_or_default();
    match flow {
        wit::Flow::ForClient(_) => wanted.of(application.acquire_token_for_client(scopes)).await,
        wit::Flow::OnBehalfOf(user) => {
            wanted.of(application.acquire_token_on_behalf_of(scopes, assertion(user))).await
        }
        wit::Flow::InitiateLongRunningProcess(start) => {
            let (user, key) = (assertion(start.assertion), SessionKey::Key(session_key.to_owned()));
            let request = application.initiate_long_running_process(scopes, user, key);
            wanted.of(request.with_search_in_cache(start.search_in_cache)).await
        }
        wit::Flow::AcquireInLongRunningProcess(_) => {
            wanted.of(application.acquire_token_in_long_running_process(scopes, session_key)).await
        }
        wit::Flow::Silent(home_account_id) => {
            let flow = Silent { home_account_id: home_account_id.into() };
            wanted.of(TokenRequest::new(application, scopes, flow)).await
        }
        wit::Flow::ByRefreshToken(token) => {
            wanted.of(application.acquire_token_by_refresh_token(scopes, token)).await
        }
        wit::Flow::ByAuthorizationCode(code) => {
            let request =
                application.acquire_token_by_authorization_code(scopes, code.code, code.redirect_uri);
            let request = request.with_spa_authorization_code(code.spa_code);
            let request = request.with_offline_access(code.offline_access);
            let request = set(request, code.issuer, TokenRequest::with_issuer);
            let request = if code.skip_issuer_check { request.without_issuer_check() } else { request };
            wanted.of(set(request, code.code_verifier, TokenRequest::with_code_verifier)).await
        }
        wit::Flow::ByUsernamePassword(user) => {
            let (username, password) = (user.username, user.password);
            wanted.of(application.acquire_token_by_username_password(scopes, username, password)).await
        }
        wit::Flow::ByUserFederatedIdentityCredential(federated) => {
            let user = user(federated.user).ok_or_else(|| invalid_user_id(correlation_id))?;
            let request = application.acquire_token_by_user_federated_identity_credential(
                scopes,
                user,
                federated.assertion,
            );
            wanted.of(request).await
        }
        wit::Flow::ForAgent(agent) => {
            let identity = agent_identity(&agent).ok_or_else(|| invalid_user_id(correlation_id))?;
            let request = application.acquire_token_for_agent(identity, scopes);
            match agent.subject {
                wit::AgentSubject::Assertion(user) => {
                    wanted.of(request.with_user_assertion(assertion(user))).await
                }
                _ => wanted.of(request).await,
            }
        }
        wit::Flow::ForManagedIdentity(flow) => {
            let resource = scopes.into_iter().next().unwrap_or_default();
            let identity = (&flow.identity).into();
            wanted.of(application.acquire_token_for_managed_identity(resource, identity)).await
        }
    }
}

/// The flow in the policy's words.
fn guest_flow(flow: &wit::Flow) -> Result<GuestFlow, GuestRefusal> {
    Ok(match flow {
        wit::Flow::ForClient(wit::ClientFlow { fmi_path: Some(_), .. }) => {
            return Err(GuestRefusal::Parameter("fmi-path"));
        }
        wit::Flow::ForClient(wit::ClientFlow { attributes: Some(_), .. }) => {
            return Err(GuestRefusal::Parameter("attributes"));
        }
        wit::Flow::ForClient(flow) if !flow.attribute_tokens.is_empty() => {
            return Err(GuestRefusal::Parameter("attribute-tokens"));
        }
        wit::Flow::ForClient(_) => GuestFlow::ForClient,
        wit::Flow::OnBehalfOf(_) => GuestFlow::OnBehalfOf,
        wit::Flow::InitiateLongRunningProcess(_) | wit::Flow::AcquireInLongRunningProcess(_) => {
            GuestFlow::LongRunningProcess
        }
        wit::Flow::Silent(_) => GuestFlow::Silent,
        wit::Flow::ByRefreshToken(_) => GuestFlow::ByRefreshToken,
        wit::Flow::ByAuthorizationCode(_) => GuestFlow::ByAuthorizationCode,
        wit::Flow::ByUsernamePassword(_) => GuestFlow::ByUsernamePassword,
        wit::Flow::ByUserFederatedIdentityCredential(_) => GuestFlow::ByUserFederatedIdentityCredential,
        wit::Flow::ForAgent(agent) => GuestFlow::ForAgent(agent_identity(agent).ok_or(GuestRefusal::Flow)?),
        wit::Flow::ForManagedIdentity(flow) => GuestFlow::ForManagedIdentity((&flow.identity).into()),
    })
}

/// Nothing where its user's id is none.
fn agent_identity(flow: &wit::AgentFlow) -> Option<AgentIdentity> {
    Some(match &flow.subject {
        wit::AgentSubject::App | wit::AgentSubject::Assertion(_) => AgentIdentity::app_only(&flow.agent),
        wit::AgentSubject::User(named) => AgentIdentity::with_user(&flow.agent, user(named.clone())?),
    })
}

/// Nothing where the id is none.
fn user(user: wit::User) -> Option<User> {
    match user {
        wit::User::ObjectId(id) => Uuid::try_parse(&id).ok().map(User::ObjectId),
        wit::User::Username(name) => Some(User::Username(name)),
    }
}

fn invalid_user_id(correlation_id: Uuid) -> Error {
    Error::invalid_request("invalid_user_id", "the object id of the user is no GUID", correlation_id)
}

fn assertion(user: wit::UserAssertion) -> UserAssertion<'static> {
    UserAssertion::new(user.assertion, user.kind.into())
}

/// What of the options a guest may give.
fn request_options(options: wit::Options, correlation_id: Uuid) -> RequestOptions {
    let mut asked = RequestOptions::default();
    asked.set_correlation_id(correlation_id);
    asked.set_force_refresh(options.force_refresh);
    let wit::Options {
        tenant_id, claims, client_claims, access_token_sha256_to_refresh, pop_public_key, ..
    } = options;
    // What isn't given must not cost the request its place among the small ones.
    if [&tenant_id, &claims, &client_claims, &access_token_sha256_to_refresh, &pop_public_key]
        .into_iter()
        .any(Option::is_some)
    {
        let rare = asked.rare_mut();
        (rare.tenant_id, rare.claims, rare.client_claims) = (tenant_id, claims, client_claims);
        (rare.access_token_sha256_to_refresh, rare.pop_public_key) =
            (access_token_sha256_to_refresh, pop_public_key);
    }
    asked
}

fn set<R, V>(request: R, value: Option<V>, with: impl FnOnce(R, V) -> R) -> R {
    match value {
        Some(value) => with(request, value),
        None => request,
    }
}

fn no_options() -> wit::Options {
    wit::Options {
        authority: None,
        tenant_id: None,
        claims: None,
        client_claims: None,
        force_refresh: false,
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
