//! The flows: what each needs beside scopes and options.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use symbolon_resources::cache::RequestHasher;
use symbolon_resources::credentials::Binding;

use super::{Flow, TokenRequest};
use crate::agent::{AgentIdentity, AgentSubject, User};
use crate::application::Inner;
use crate::engine;
use crate::hooks::Beginning;
use crate::managed_identity::ManagedIdentityId;
use crate::result::AuthenticationResult;
use crate::session_key::SessionKeyPlace;

/// For the application itself, by its own credential: [`Application::acquire_token_for_client`](crate::Application::acquire_token_for_client).
#[derive(Clone, Debug, Default)]
pub struct ForClient {
    fmi_path: Option<String>,
    attributes: Option<String>,
    attribute_tokens: Vec<String>,
}

impl TokenRequest<'_, ForClient> {
    /// Asks for a token for a path below the application.
    #[doc(alias = "WithFmiPath")]
    pub fn with_fmi_path(mut self, path: impl Into<String>) -> Self {
        self.flow.fmi_path = Some(path.into());
        self
    }

    /// Attributes to be asserted in the token, JSON.
    #[doc(alias = "WithAttributes")]
    pub fn with_attributes(mut self, attributes: impl Into<String>) -> Self {
        self.flow.attributes = Some(attributes.into());
        self
    }

    /// Attribute tokens to be carried. Order and repetition don't matter.
    #[doc(alias = "WithAttributeTokens")]
    pub fn with_attribute_tokens(mut self, tokens: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.flow.attribute_tokens.extend(tokens.into_iter().map(Into::into));
        self
    }
}

impl Flow for ForClient {
    const NAME: &'static str = "for-client";

    fn digest(&self, hasher: &mut RequestHasher<'_>) {
        hasher.number(1).optional(self.fmi_path.as_ref()).optional(self.attributes.as_ref());
        hasher.number(self.attribute_tokens.len() as u64);
        for token in &self.attribute_tokens {
            hasher.field(token);
        }
    }

    fn begin(&mut self, beginning: Beginning<'_>) {
        beginning.for_app(None);
    }

    fn to_guest(&self) -> engine::Flow {
        engine::Flow::ForClient(engine::ClientFlow {
            fmi_path: self.fmi_path.clone(),
            attributes: self.attributes.clone(),
            attribute_tokens: self.attribute_tokens.clone(),
        })
    }
}

/// A user's token, issued for the application. `Debug` doesn't show it.
#[derive(Clone)]
pub struct UserAssertion<'a> {
    assertion: Cow<'a, str>,
    kind: AssertionKind,
}

/// What a user's token is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AssertionKind {
    /// A JSON Web Token.
    #[default]
    Jwt,
    /// A SAML 1.1 assertion, base64url (RFC 7522).
    Saml11,
    /// A SAML 2.0 assertion, base64url (RFC 7522).
    Saml2,
}

impl<'a> UserAssertion<'a> {
    /// A user's token of this kind.
    pub fn new(assertion: impl Into<Cow<'a, str>>, kind: AssertionKind) -> Self {
        Self { assertion: assertion.into(), kind }
    }

    /// The token itself, for those who must see it.
    pub fn expose(&self) -> &str {
        &self.assertion
    }

    /// The same for as long as this one lives.
    pub(crate) fn borrowed(&self) -> UserAssertion<'_> {
        UserAssertion { assertion: Cow::Borrowed(&self.assertion), kind: self.kind }
    }

    /// What it is.
    pub fn kind(&self) -> AssertionKind {
        self.kind
    }

    /// The claims of a JSON Web Token. **Nobody checked its signature**: they are what the token says, and not fit to decide
    /// what somebody may do. Nothing for a SAML assertion, and for a token that is encrypted or isn't one.
    pub fn unverified_claims(&self) -> Option<Map<String, Value>> {
        let payload = self.assertion.split('.').nth(1).filter(|_| self.kind == AssertionKind::Jwt)?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?).ok()
    }

    fn digest(&self, hasher: &mut RequestHasher<'_>) {
        hasher.number(self.kind as u64).field(&*self.assertion);
    }

    fn to_guest(&self) -> engine::UserAssertion {
        engine::UserAssertion {
            assertion: self.assertion.clone().into_owned(),
            kind: match self.kind {
                AssertionKind::Jwt => engine::AssertionKind::Jwt,
                AssertionKind::Saml11 => engine::AssertionKind::Saml11,
                AssertionKind::Saml2 => engine::AssertionKind::Saml2,
            },
        }
    }
}

/// A JSON Web Token.
impl<'a> From<&'a str> for UserAssertion<'a> {
    fn from(jwt: &'a str) -> Self {
        Self::new(jwt, AssertionKind::Jwt)
    }
}

/// A JSON Web Token.
impl<'a> From<&'a String> for UserAssertion<'a> {
    fn from(jwt: &'a String) -> Self {
        Self::new(jwt, AssertionKind::Jwt)
    }
}

/// A JSON Web Token.
impl From<String> for UserAssertion<'_> {
    fn from(jwt: String) -> Self {
        Self::new(jwt, AssertionKind::Jwt)
    }
}

impl fmt::Debug for UserAssertion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserAssertion").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// For the user of an incoming token: [`Application::acquire_token_on_behalf_of`](crate::Application::acquire_token_on_behalf_of).
#[derive(Clone, Debug)]
pub struct OnBehalfOf<'a> {
    pub(crate) assertion: UserAssertion<'a>,
}

impl Flow for OnBehalfOf<'_> {
    const NAME: &'static str = "on-behalf-of";

    fn digest(&self, hasher: &mut RequestHasher<'_>) {
        self.assertion.digest(hasher.number(2));
    }

    fn begin(&mut self, beginning: Beginning<'_>) {
        beginning.on_behalf_of(None, &mut self.assertion);
    }

    fn to_guest(&self) -> engine::Flow {
        engine::Flow::OnBehalfOf(self.assertion.to_guest())
    }
}

/// Begins a long-running process:
/// [`Application::initiate_long_running_process`](crate::Application::initiate_long_running_process).
#[derive(Debug)]
pub struct InitiateLongRunningProcess<'a> {
    pub(crate) assertion: UserAssertion<'a>,
    pub(crate) key: SessionKeyPlace<'a>,
    pub(crate) search_in_cache: bool,
}

impl TokenRequest<'_, InitiateLongRunningProcess<'_>> {
    /// Whether what the process has already is used, for the same user only. The default is `false`: the user's token is
    /// always exchanged.
    #[doc(alias = "WithSearchInCacheForLongRunningProcess")]
    pub fn with_search_in_cache(mut self, search: bool) -> Self {
        self.flow.search_in_cache = search;
        self
    }
}

impl Flow for InitiateLongRunningProcess<'_> {
    const NAME: &'static str = "initiate-long-running-process";
    const REUSES_ANSWERS: bool = false;

    fn digest(&self, hasher: &mut RequestHasher<'_>) {
        hasher.number(3).optional(self.key.get()).number(u64::from(self.search_in_cache));
        self.assertion.digest(hasher);
    }

    fn begin(&mut self, beginning: Beginning<'_>) {
        beginning.on_behalf_of(None, &mut self.assertion);
    }

    fn to_guest(&self) -> engine::Flow {
        engine::Flow::InitiateLongRunningProcess(engine::SessionStart {
            assertion: self.assertion.to_guest(),
            session_key: self.key.get().map(ToOwned::to_owned),
            search_in_cache: self.search_in_cache,
        })
    }

    fn answered(&mut self, result: &AuthenticationResult) {
        if let Some(key) = result.long_running_session_key() {
            self.key.allocated(key);
        }
    }
}

/// Goes on with a long-running process:
/// [`Application::acquire_token_in_long_running_process`](crate::Application::acquire_token_in_long_running_process).
#[derive(Clone)]
pub struct AcquireInLongRunningProcess<'a> {
    pub(crate) key: Cow<'a, str>,
}

impl Flow for AcquireInLongRunningProcess<'_> {
    const NAME: &'static str = "acquire-in-long-running-process";

    fn digest(&self, hasher: &mut RequestHasher<'_>) {
        hasher.number(4).field(&*self.key);
    }

    fn begin(&mut self, beginning: Beginning<'_>) {
        beginning.in_long_running_process();
    }

    fn to_guest(&self) -> engine::Flow {
        engine::Flow::AcquireInLongRunningProcess(self.key.clone().into_owned())
    }

    fn session_key(&self) -> Option<&str> {
        Some(&self.key)
    }
}

/// For a user who is known already: [`Application::acquire_token_silent`](crate::Application::acquire_token_silent).
#[derive(Clone, Debug)]
pub struct Silent<'a> {
    pub(crate) home_account_id: Cow<'a, str>,
}

impl Flow for Silent<'_> {
    const NAME: &'static str = "silent";

    fn digest(&self, hasher: &mut RequestHasher<'_>) {
        hasher.number(5).field(&*self.home_account_id);
    }

    fn to_guest(&self) -> engine::Flow {
        engine::Flow::Silent(self.home_account_id.clone().into_owned())
    }
}

/// For the user of a refresh token:
/// [`Application::acquire_token_by_refresh_token`](crate::Application::acquire_token_by_refresh_token).
#[derive(Clone)]
pub struct ByRefreshToken<'a> {
    pub(crate) token: Cow<'a, str>,
}

impl Flow for ByRefreshToken<'_> {
    const NAME: &'static str = "by-refresh-token";
    const REUSES_ANSWERS: bool = false;

    fn digest(&self, hasher: &mut RequestHasher<'_>) {
        hasher.number(6).field(&*self.token);
    }

    fn to_guest(&self) -> engine::Flow {
        engine::Flow::ByRefreshToken(self.token.clone().into_owned())
    }
}

/// For the user who signed in:
/// [`Application::acquire_token_by_authorization_code`](crate::Application::acquire_token_by_authorization_code).
#[derive(Clone)]
pub struct ByAuthorizationCode<'a> {
    pub(crate) code: Cow<'a, str>,
    pub(crate) redirect_uri: Cow<'a, str>,
    pub(crate) code_verifier: Option<Cow<'a, str>>,
    pub(crate) spa_code: bool,
    pub(crate) offline_access: bool,
}

impl<'a> TokenRequest<'a, ByAuthorizationCode<'a>> {
    /// The verifier whose challenge the code was asked for with (RFC 7636):
    /// [`AuthorizationRequest::code_verifier`](crate::AuthorizationRequest::code_verifier).
    #[doc(alias = "WithPkceCodeVerifier")]
    pub fn with_code_verifier(mut self, verifier: impl Into<Cow<'a, str>>) -> Self {
        self.flow.code_verifier = Some(verifier.into());
        self
    }

    /// Asks for a second code, for the single-page application that belongs to the web application. The default is `false`.
    #[doc(alias = "WithSpaAuthorizationCode")]
    pub fn with_spa_authorization_code(mut self, wanted: bool) -> Self {
        self.flow.spa_code = wanted;
        self
    }

    /// Whether a refresh token is asked for (`offline_access`). The default is `true`.
    #[doc(alias = "WithReservedScopes")]
    pub fn with_offline_access(mut self, wanted: bool) -> Self {
        self.flow.offline_access = wanted;
        self
    }
}

impl Flow for ByAuthorizationCode<'_> {
    const NAME: &'static str = "by-authorization-code";
    const REUSES_ANSWERS: bool = false;

    fn digest(&self, hasher: &mut RequestHasher<'_>) {
        hasher.number(7).field(&*self.code);
    }

    fn to_guest(&self) -> engine::Flow {
        engine::Flow::ByAuthorizationCode(engine::AuthorizationCode {
            code: self.code.clone().into_owned(),
            redirect_uri: self.redirect_uri.clone().into_owned(),
            code_verifier: self.code_verifier.clone().map(Cow::into_owned),
            spa_code: self.spa_code,
            offline_access: self.offline_access,
        })
    }
}

/// For the user of a name and password:
/// [`Application::acquire_token_by_username_password`](crate::Application::acquire_token_by_username_password).
#[derive(Clone)]
pub struct ByUsernamePassword<'a> {
    pub(crate) username: Cow<'a, str>,
    pub(crate) password: Cow<'a, str>,
}

impl Flow for ByUsernamePassword<'_> {
    const NAME: &'static str = "by-username-password";
    const REUSES_ANSWERS: bool = false;

    fn digest(&self, hasher: &mut RequestHasher<'_>) {
        hasher.number(8).field(&*self.username);
    }

    fn begin(&mut self, beginning: Beginning<'_>) {
        beginning.for_test_user(&self.username);
    }

    fn to_guest(&self) -> engine::Flow {
        engine::Flow::ByUsernamePassword(engine::UsernamePassword {
            username: self.username.clone().into_owned(),
            password: self.password.clone().into_owned(),
        })
    }
}

/// For a user whom the application may name:
/// [`Application::acquire_token_by_user_federated_identity_credential`](crate::Application::acquire_token_by_user_federated_identity_credential).
#[derive(Clone)]
pub struct ByUserFederatedIdentityCredential<'a> {
    pub(crate) user: User,
    pub(crate) assertion: Cow<'a, str>,
}

impl Flow for ByUserFederatedIdentityCredential<'_> {
    const NAME: &'static str = "by-user-federated-identity-credential";
    const REUSES_ANSWERS: bool = false;

    fn digest(&self, hasher: &mut RequestHasher<'_>) {
        self.user.digest(hasher.number(9));
    }

    fn to_guest(&self) -> engine::Flow {
        engine::Flow::ByUserFederatedIdentityCredential(engine::FederatedUser {
            user: self.user.to_guest(),
            assertion: self.assertion.clone().into_owned(),
        })
    }
}

/// For an agent of the application: [`Application::acquire_token_for_agent`](crate::Application::acquire_token_for_agent).
#[derive(Clone, Debug)]
pub struct ForAgent<'a> {
    pub(crate) agent: AgentIdentity,
    /// The token that the agent's blueprint was given.
    pub(crate) assertion: Option<UserAssertion<'a>>,
}

impl<'a> TokenRequest<'a, ForAgent<'a>> {
    /// Acts for the user of this token, which was issued for the agent's blueprint. The agent must be named without a user
    /// of its own ([`AgentIdentity::app_only`]), or that user is asked for still.
    pub fn with_user_assertion(mut self, assertion: impl Into<UserAssertion<'a>>) -> Self {
        self.flow.assertion = Some(assertion.into());
        self
    }
}

impl Flow for ForAgent<'_> {
    const NAME: &'static str = "for-agent";

    fn digest(&self, hasher: &mut RequestHasher<'_>) {
        hasher.number(10).field(self.agent.agent_app_id());
        match (self.agent.subject(), &self.assertion) {
            (AgentSubject::User(user), _) => user.digest(hasher.number(1)),
            (AgentSubject::App, Some(assertion)) => assertion.digest(hasher.number(2)),
            (AgentSubject::App, None) => {
                hasher.number(0);
            }
        }
    }

    fn begin(&mut self, beginning: Beginning<'_>) {
        match (self.agent.subject(), &mut self.assertion) {
            (AgentSubject::App, Some(assertion)) => beginning.on_behalf_of(Some(&self.agent), assertion),
            _ => beginning.for_app(Some(&self.agent)),
        }
    }

    fn to_guest(&self) -> engine::Flow {
        engine::Flow::ForAgent(engine::AgentFlow {
            agent: self.agent.agent_app_id().to_owned(),
            subject: match (self.agent.subject(), &self.assertion) {
                (AgentSubject::User(user), _) => engine::AgentSubject::User(user.to_guest()),
                (AgentSubject::App, Some(assertion)) => engine::AgentSubject::Assertion(assertion.to_guest()),
                (AgentSubject::App, None) => engine::AgentSubject::App,
            },
        })
    }
}

/// For an identity that the platform manages:
/// [`Application::acquire_token_for_managed_identity`](crate::Application::acquire_token_for_managed_identity).
#[derive(Clone, Debug)]
pub struct ForManagedIdentity {
    pub(crate) identity: ManagedIdentityId,
}

impl Flow for ForManagedIdentity {
    const NAME: &'static str = "for-managed-identity";
    const ASKS_AUTHORITY: bool = false;

    fn digest(&self, hasher: &mut RequestHasher<'_>) {
        self.identity.digest(hasher.number(11));
    }

    fn to_guest(&self) -> engine::Flow {
        let identity = self.identity.to_guest();
        engine::Flow::ForManagedIdentity(engine::ManagedIdentityFlow { identity })
    }

    fn binding(&self, application: &Inner) -> Option<Arc<Binding>> {
        let issued = application.issued.get(&self.identity, application.clock.now_unix_ms() / 1000);
        issued.map(|issued| Arc::clone(&issued.binding))
    }
}

/// Shows what it is, and nothing of it.
macro_rules! opaque_debug {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

opaque_debug!(
    AcquireInLongRunningProcess,
    ByRefreshToken,
    ByAuthorizationCode,
    ByUsernamePassword,
    ByUserFederatedIdentityCredential
);
