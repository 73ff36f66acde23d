//! The calls that rows are about.

use symbolon::{Account, AgentIdentity, Application, AuthenticationResult, ManagedIdentityId, User};
use symbolon_authority::{REDIRECT_URI, sample};

/// A flow with what it needs.
#[derive(Clone, Debug)]
pub(super) enum Call {
    ForClient,
    ForClientBound,
    OnBehalfOf { assertion: String },
    InitiateLongRunning { assertion: String },
    AcquireInLongRunning { key: String },
    Silent { account: Account },
    ByRefreshToken { token: String },
    ByAuthorizationCode { code: String, verifier: String },
    ByUsernamePassword,
    ByUserFederatedIdentityCredential { assertion: String },
    ForAgent { agent: AgentIdentity, assertion: Option<String> },
    ForManagedIdentity,
}

/// What applications' own tokens are for.
const GRAPH: &str = "https://graph.microsoft.com/.default";
/// What users' tokens are for.
pub(super) const USER_READ: &str = "https://graph.microsoft.com/User.Read";

impl Call {
    /// Acquires the token.
    pub(super) async fn acquire(&self, application: &Application) -> symbolon::Result<AuthenticationResult> {
        match self {
            Self::ForClient => application.acquire_token_for_client([GRAPH]).await,
            Self::ForClientBound => {
                application.acquire_token_for_client([GRAPH]).with_mtls_proof_of_possession().await
            }
            Self::OnBehalfOf { assertion } => {
                application.acquire_token_on_behalf_of([USER_READ], assertion).await
            }
            Self::InitiateLongRunning { assertion } => {
                application.initiate_long_running_process([USER_READ], assertion, "").await
            }
            Self::AcquireInLongRunning { key } => {
                application.acquire_token_in_long_running_process([USER_READ], key).await
            }
            Self::Silent { account } => application.acquire_token_silent([USER_READ], account).await,
            Self::ByRefreshToken { token } => {
                application.acquire_token_by_refresh_token([USER_READ], token).await
            }
            Self::ByAuthorizationCode { code, verifier } => {
                application
                    .acquire_token_by_authorization_code([USER_READ], code, REDIRECT_URI)
                    .with_code_verifier(verifier)
                    .await
            }
            Self::ByUsernamePassword => {
                let (name, password) = (sample::ALICE, sample::ALICE_PASSWORD);
                application.acquire_token_by_username_password([USER_READ], name, password).await
            }
            Self::ByUserFederatedIdentityCredential { assertion } => {
                let user = User::Username(sample::ALICE.to_owned());
                application
                    .acquire_token_by_user_federated_identity_credential([USER_READ], user, assertion)
                    .await
            }
            Self::ForAgent { agent, assertion: None } => {
                let scope = if agent.user().is_some() { USER_READ } else { GRAPH };
                application.acquire_token_for_agent(agent.clone(), [scope]).await
            }
            Self::ForAgent { agent, assertion: Some(assertion) } => {
                let request = application.acquire_token_for_agent(agent.clone(), [USER_READ]);
                request.with_user_assertion(assertion).await
            }
            Self::ForManagedIdentity => {
                application
                    .acquire_token_for_managed_identity(GRAPH, ManagedIdentityId::SystemAssigned)
                    .with_mtls_proof_of_possession()
                    .await
            }
        }
    }

    /// The call that reads from the cache what this one brought; nothing where the answer lacks what that needs.
    pub(super) fn later(&self, brought: &AuthenticationResult) -> Option<Self> {
        Some(match self {
            Self::InitiateLongRunning { .. } => {
                Self::AcquireInLongRunning { key: brought.long_running_session_key()?.to_owned() }
            }
            Self::ByRefreshToken { .. }
            | Self::ByAuthorizationCode { .. }
            | Self::ByUsernamePassword
            | Self::ByUserFederatedIdentityCredential { .. } => Self::Silent { account: brought.account()? },
            call => call.clone(),
        })
    }
}
