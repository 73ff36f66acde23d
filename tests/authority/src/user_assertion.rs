//! What users bring: access tokens and SAML assertions that a web API is called with, codes, refresh tokens; made without a
//! sign-in.

use serde_json::{Map, Value};

use crate::{
    AuthorizationCode, Registration, Resource,
    conditional_access::RequestedClaims,
    grants,
    issue::{Scheme, Subject, Token},
    refresh_token::Session,
    scopes::Target,
    state::State,
};

/// The client that minted user tokens were issued to, unless they say otherwise.
const CLIENT: &str = "11111111-0000-4000-8000-0000000000ff";

/// The user of what is to be made is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no user has the object id or user principal name '{0}'")]
pub struct UnknownUser(String);

/// An access token of a user for an API: what the API's clients call it with.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct UserToken {
    user: String,
    audience: String,
    scope: String,
    client_id: String,
    lifetime_seconds: u64,
    claims: Map<String, Value>,
}

impl UserToken {
    /// A token for an hour about `user` (object id or user principal name) with the scope `access_as_user`.
    /// `audience` becomes `aud` as it is: the API's client id, `api://{client id}` or an identifier URI.
    pub fn new(user: &str, audience: &str) -> Self {
        Self {
            user: user.to_owned(),
            audience: audience.to_owned(),
            scope: "access_as_user".to_owned(),
            client_id: CLIENT.to_owned(),
            lifetime_seconds: 3600,
            claims: Map::new(),
        }
    }

    /// Lives this long.
    pub fn lifetime_seconds(mut self, seconds: u64) -> Self {
        self.lifetime_seconds = seconds;
        self
    }

    /// Another `scp`: names separated by spaces.
    pub fn scope(mut self, scope: &str) -> Self {
        self.scope = scope.to_owned();
        self
    }

    /// Was issued to this client (`azp`).
    pub fn client_id(mut self, client_id: &str) -> Self {
        self.client_id = client_id.to_owned();
        self
    }

    /// Sets a claim, whatever its value would be.
    pub fn claim(mut self, name: &str, value: Value) -> Self {
        self.claims.insert(name.to_owned(), value);
        self
    }

    pub(crate) fn mint(&self, state: &State) -> Result<String, UnknownUser> {
        let unknown = || UnknownUser(self.user.clone());
        let account = state.directory.user(&self.user).ok_or_else(unknown)?;
        let tenant = state.directory.tenant(&account.home).ok_or_else(unknown)?;
        let target = Target {
            resource: Resource::new(&self.audience, &self.audience),
            identifier: self.audience.clone(),
        };
        let token = Token {
            tenant,
            cloud: state.hosts.public(),
            client_id: &self.client_id,
            strength: 0,
            blueprint: None,
            target: &target,
            subject: Subject::User {
                object_id: account.object_id_in(tenant).ok_or_else(unknown)?,
                scopes: std::slice::from_ref(&self.scope),
                account: &account,
                of_agent: false,
            },
            scheme: &Scheme::Bearer,
            requested: &RequestedClaims::default(),
            lifetime: self.lifetime_seconds,
            now_unix: state.clock.now_unix(),
        };
        let mut claims = token.claims();
        if let Value::Object(claims) = &mut claims {
            claims.extend(self.claims.clone());
        }
        Ok(state.key.sign(&claims))
    }
}

/// A SAML assertion of a user for an API, in a **profile for tests** that no other issuer or verifier speaks: the
/// document has the elements of SAML that matter here, and instead of an XML signature a comment with the authority's
/// own (RS256, base64url) over the exact bytes before it:
///
/// ```text
/// <Assertion …>…</Assertion><!--symbolon-test-signature:…-->
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct SamlAssertion {
    user: String,
    pub(crate) audience: String,
    pub(crate) lifetime_seconds: u64,
    pub(crate) version_1_1: bool,
}

impl SamlAssertion {
    /// A SAML 2.0 assertion for an hour about `user` (object id or user principal name).
    pub fn new(user: &str, audience: &str) -> Self {
        Self {
            user: user.to_owned(),
            audience: audience.to_owned(),
            lifetime_seconds: 3600,
            version_1_1: false,
        }
    }

    /// Is SAML 1.1.
    pub fn version_1_1(mut self) -> Self {
        self.version_1_1 = true;
        self
    }

    /// Lives this long.
    pub fn lifetime_seconds(mut self, seconds: u64) -> Self {
        self.lifetime_seconds = seconds;
        self
    }

    pub(crate) fn mint(&self, state: &State) -> Result<String, UnknownUser> {
        let account = state.directory.user(&self.user).ok_or_else(|| UnknownUser(self.user.clone()))?;
        Ok(grants::issue_saml(self, &account.user.user_principal_name, &state.key, state.clock.now_unix()))
    }
}

impl AuthorizationCode {
    pub(crate) fn mint(&self, state: &State) -> Result<String, UnknownUser> {
        state.directory.user(&self.user).ok_or_else(|| UnknownUser(self.user.clone()))?;
        Ok(state.codes.issue(self.clone(), state.clock.now_unix()))
    }
}

pub(crate) fn mint_refresh_token(client_id: &str, user: &str, state: &State) -> Result<String, UnknownUser> {
    let account = state.directory.user(user).ok_or_else(|| UnknownUser(user.to_owned()))?;
    let application = state.directory.application(client_id);
    let application = application.map_or_else(|| Registration::new(client_id), |known| (*known).clone());
    let session = Session {
        client_id: application.client_id,
        user: account.user.object_id.clone(),
        scope: "openid profile offline_access".to_owned(),
        of_agent: false,
        browser: false,
    };
    let lifetime = application.refresh_token_lifetime.as_secs();
    Ok(state.refresh_tokens.issue(session, None, state.clock.now_unix(), lifetime))
}
