//! One acquisition.

use symbolon::{
    Account, AgentIdentity, Application, AuthenticationResult, ManagedIdentityId, SessionKey, TokenRequest,
    User, UserAssertion,
};

use super::arguments::{AcquisitionArguments, Kind, Scheme};
use super::files::FileText;
use crate::failure::Failure;

/// What is acquired, and how.
#[derive(Clone, Debug)]
pub(super) struct Acquisition {
    pub(super) scopes: Vec<String>,
    pub(super) how: How,
    pub(super) pop_public_key: Option<FileText>,
    /// What is the same for all flows.
    pub(super) options: AcquisitionArguments,
}

/// A flow with what it needs.
#[derive(Clone, Debug)]
pub(super) enum How {
    ForClient {
        fmi_path: Option<String>,
    },
    OnBehalfOf {
        assertion: UserToken,
    },
    InitiateLongRunningProcess {
        assertion: UserToken,
        key: SessionKey,
        search_in_cache: bool,
    },
    AcquireInLongRunningProcess {
        /// Without one: that of the latest acquisition that has one.
        key: Option<String>,
    },
    Silent {
        /// A home account id. Without one: the user of the latest acquisition that made one known, else the only one.
        account: Option<String>,
    },
    ByRefreshToken {
        token: FileText,
    },
    ByAuthorizationCode {
        code: FileText,
        redirect_uri: String,
        verifier: Option<FileText>,
        spa_code: bool,
    },
    ByUsernamePassword {
        username: String,
        password: FileText,
    },
    ByUserFederatedIdentityCredential {
        user: User,
        assertion: FileText,
    },
    ForAgent {
        agent: AgentIdentity,
        assertion: Option<UserToken>,
    },
    ForManagedIdentity {
        identity: ManagedIdentityId,
    },
}

/// A user's token.
#[derive(Clone, Debug)]
pub(super) struct UserToken {
    pub(super) text: FileText,
    pub(super) kind: Kind,
}

impl<'a> From<&'a UserToken> for UserAssertion<'a> {
    fn from(token: &'a UserToken) -> Self {
        Self::new(token.text.as_str(), token.kind.into())
    }
}

/// What the acquisitions of this process left for later ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Earlier {
    account: Option<Account>,
    session_key: Option<SessionKey>,
}

impl Acquisition {
    /// Acquires the token.
    pub(super) async fn acquire(
        &self,
        application: &Application,
        earlier: &Earlier,
    ) -> Result<AuthenticationResult, Failure> {
        let scopes = self.scopes.iter().map(String::as_str);
        let acquired = match &self.how {
            How::ForClient { fmi_path } => {
                let mut request = application.acquire_token_for_client(scopes);
                if let Some(path) = fmi_path {
                    request = request.with_fmi_path(path);
                }
                self.with_options(request).await
            }
            How::OnBehalfOf { assertion } => {
                self.with_options(application.acquire_token_on_behalf_of(scopes, assertion)).await
            }
            How::InitiateLongRunningProcess { assertion, key, search_in_cache } => {
                let request = application.initiate_long_running_process(scopes, assertion, key.clone());
                self.with_options(request.with_search_in_cache(*search_in_cache)).await
            }
            How::AcquireInLongRunningProcess { key } => {
                let key = earlier.session_key(key.as_deref())?;
                self.with_options(application.acquire_token_in_long_running_process(scopes, key)).await
            }
            How::Silent { account } => {
                let account = earlier.account(application, account.as_deref()).await?;
                self.with_options(application.acquire_token_silent(scopes, &account)).await
            }
            How::ByRefreshToken { token } => {
                self.with_options(application.acquire_token_by_refresh_token(scopes, token.as_str())).await
            }
            How::ByAuthorizationCode { code, redirect_uri, verifier, spa_code } => {
                let (code, uri) = (code.as_str(), redirect_uri.as_str());
                let mut request = application.acquire_token_by_authorization_code(scopes, code, uri);
                if let Some(verifier) = verifier {
                    request = request.with_code_verifier(verifier.as_str());
                }
                self.with_options(request.with_spa_authorization_code(*spa_code)).await
            }
            How::ByUsernamePassword { username, password } => {
                let (name, password) = (username.as_str(), password.as_str());
                self.with_options(application.acquire_token_by_username_password(scopes, name, password))
                    .await
            }
            How::ByUserFederatedIdentityCredential { user, assertion } => {
                let (user, assertion) = (user.clone(), assertion.as_str());
                let request =
                    application.acquire_token_by_user_federated_identity_credential(scopes, user, assertion);
                self.with_options(request).await
            }
            How::ForAgent { agent, assertion } => {
                let mut request = application.acquire_token_for_agent(agent.clone(), scopes);
                if let Some(assertion) = assertion {
                    request = request.with_user_assertion(assertion);
                }
                self.with_options(request).await
            }
            How::ForManagedIdentity { identity } => {
                let resource = self.scopes.first().map_or("", String::as_str);
                let identity = identity.clone();
                self.with_options(application.acquire_token_for_managed_identity(resource, identity)).await
            }
        };
        Ok(acquired?)
    }

    fn with_options<'a, F>(&self, mut request: TokenRequest<'a, F>) -> TokenRequest<'a, F> {
        let given = &self.options;
        request = request.with_force_refresh(given.force_refresh.unwrap_or(false));
        if given.scheme == Some(Scheme::MtlsPop) {
            request = request.with_mtls_proof_of_possession();
        }
        if let Some(authority) = &given.authority {
            request = request.with_authority(authority);
        }
        if let Some(tenant) = &given.tenant {
            request = request.with_tenant_id(tenant);
        }
        if let Some(claims) = &given.claims {
            request = request.with_claims(claims);
        }
        if let Some(claims) = &given.client_claims {
            request = request.with_claims_from_client(claims);
        }
        if let Some(hash) = &given.access_token_sha256_to_refresh {
            request = request.with_access_token_sha256_to_refresh(hash);
        }
        if let Some(key) = &self.pop_public_key {
            request = request.with_pop_public_key(key.as_str());
        }
        if let Some(path) = &given.client_assertion_fmi_path {
            request = request.with_fmi_path_for_client_assertion(path);
        }
        if let Some(id) = given.correlation_id {
            request = request.with_correlation_id(id);
        }
        request
    }

    /// Whether its user is known afterwards, so that `silent` goes on from there.
    fn makes_known(&self) -> bool {
        matches!(
            self.how,
            How::ByRefreshToken { .. }
                | How::ByAuthorizationCode { .. }
                | How::ByUsernamePassword { .. }
                | How::ByUserFederatedIdentityCredential { .. }
        )
    }
}

impl Earlier {
    /// Remembers what an acquisition leaves for later ones.
    pub(super) fn remember(&mut self, acquisition: &Acquisition, result: &AuthenticationResult) {
        if acquisition.makes_known() {
            self.account = result.account();
        }
        if let Some(key) = result.long_running_session_key() {
            self.session_key = Some(key.into());
        }
    }

    /// The key of a long-running process, or the latest one.
    pub(super) fn session_key<'a>(&'a self, key: Option<&'a str>) -> Result<&'a str, Failure> {
        key.or_else(|| self.session_key.as_ref()?.get()).ok_or_else(|| {
            let code = "obo_cache_key_not_in_cache_error";
            Failure::interaction_required(code, "no step before brought a session key")
        })
    }

    /// The known user of this home account id; the latest one, or the only one.
    pub(super) async fn account(
        &self,
        application: &Application,
        home_account_id: Option<&str>,
    ) -> Result<Account, Failure> {
        let mut known = application.accounts().await?;
        if let Some(id) = home_account_id {
            let found = known.into_iter().find(|account| account.home_account_id == id);
            return found.ok_or_else(|| unknown_user(&format!("no user has the home account id {id}")));
        }
        if let Some(latest) = &self.account {
            return Ok(latest.clone());
        }
        match known.pop() {
            Some(only) if known.is_empty() => Ok(only),
            _ => Err(unknown_user("no step before made a user known")),
        }
    }
}

fn unknown_user(message: &str) -> Failure {
    Failure::interaction_required("no_tokens_found", message)
}
