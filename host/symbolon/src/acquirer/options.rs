//! What a call of a [`TokenAcquirer`](super::TokenAcquirer) may say beside its scopes.

use std::fmt;

use uuid::Uuid;

use crate::acquire::RequestOptions;
use crate::agent::{AgentIdentity, User};
use crate::managed_identity::ManagedIdentityId;
use crate::session_key::SessionKey;

/// What a call may say beside its scopes: Microsoft.Identity.Web's `AcquireTokenOptions`. The default says nothing.
///
/// From JSON (through `serde`) the names are Microsoft.Identity.Web's, case ignored: `AuthenticationOptionsName`,
/// `CorrelationId`, `Claims`, `Tenant`, `ForceRefresh`, `FmiPath`, `LongRunningWebApiSessionKey`, `PopPublicKey`,
/// `ManagedIdentity` (with `UserAssignedClientId` or without), `ExtraQueryParameters`, `ExtraHeadersParameters`, and `ExtraParameters` with `IDWEB_AGENT_IDENTITY`, `IDWEB_USERNAME`,
/// `IDWEB_USER_ID`, `IDWEB_FMI_PATH_FOR_CLIENT_ASSERTION` and `EXTRA_BODY_PARAMETERS`. An unknown name is an error. `UserFlow`
/// is accepted and has no effect.
///
/// ```
/// use symbolon::{AcquireTokenOptions, User};
///
/// let options: AcquireTokenOptions = serde_json::from_str(
///     r#"{
///         "AuthenticationOptionsName": "Blueprint",
///         "ExtraParameters": {
///             "IDWEB_AGENT_IDENTITY": "11111111-2222-3333-4444-555555555555",
///             "IDWEB_USERNAME": "alice@contoso.com"
///         }
///     }"#,
/// )?;
/// let agent = options.agent.expect("an agent");
/// assert_eq!(agent.user(), Some(&User::Username("alice@contoso.com".into())));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct AcquireTokenOptions {
    /// The section of the application. The default is `AzureAd`.
    #[doc(alias = "AuthenticationOptionsName")]
    pub authentication_options_name: Option<String>,
    /// The id that goes to the authority as `client-request-id`. The default is a random one.
    #[doc(alias = "CorrelationId")]
    pub correlation_id: Option<Uuid>,
    /// The claims of a claims challenge, JSON. They bypass the cache.
    #[doc(alias = "Claims")]
    pub claims: Option<String>,
    /// The directory that is asked. The default is the configured one, and for users that of their token: where a
    /// long-running process goes on without it, in another directory than the configured one, that is to be named here.
    #[doc(alias = "Tenant")]
    pub tenant: Option<String>,
    /// Takes no access token from the cache.
    #[doc(alias = "ForceRefresh")]
    pub force_refresh: bool,
    /// A path below the application, for its own token. Has no effect on users' tokens.
    #[doc(alias = "FmiPath")]
    pub fmi_path: Option<String>,
    /// The key of a long-running process, for users' tokens; nothing where there is none. One that was to be allocated is
    /// there after the call.
    #[doc(alias = "LongRunningWebApiSessionKey")]
    pub long_running_session_key: Option<SessionKey>,
    /// A public key as a JSON Web Key: the token is bound to it for signed HTTP requests.
    #[doc(alias = "PopPublicKey")]
    pub pop_public_key: Option<String>,
    /// Parameters for the query of the token endpoint, beside the configured ones.
    #[doc(alias = "ExtraQueryParameters")]
    pub extra_query_parameters: Vec<(String, String)>,
    /// Headers of the token request.
    #[doc(alias = "ExtraHeadersParameters")]
    pub extra_http_headers: Vec<(String, String)>,
    /// Parameters for the body of the token request.
    pub extra_body_parameters: Vec<(String, String)>,
    /// The FMI path that the credential's own assertion shall carry. Not for agents, which have their own.
    pub fmi_path_for_client_assertion: Option<String>,
    /// An identity that the platform manages, in the place of the application: for tokens of applications, not of users.
    #[doc(alias = "ManagedIdentity")]
    pub managed_identity: Option<ManagedIdentityId>,
    /// The agent, whose blueprint the application is.
    pub agent: Option<AgentIdentity>,
    /// Whether the JSON named the agent's user twice. The username is in `agent`.
    pub(crate) names_two_users: bool,
}

impl AcquireTokenOptions {
    /// Acts as this agent: for itself, or for the user whose token a call is given. In the place of an agent that was named
    /// before.
    #[doc(alias = "WithAgentIdentity")]
    #[must_use]
    pub fn with_agent_identity(self, agent_app_id: impl Into<String>) -> Self {
        self.with_agent(AgentIdentity::app_only(agent_app_id))
    }

    /// Acts as this agent, in calls for users for this user of its own. In the place of an agent that was named before.
    #[doc(alias = "WithAgentUserIdentity")]
    #[must_use]
    pub fn with_agent_user_identity(self, agent_app_id: impl Into<String>, user: impl Into<User>) -> Self {
        self.with_agent(AgentIdentity::with_user(agent_app_id, user.into()))
    }

    fn with_agent(self, agent: AgentIdentity) -> Self {
        Self { agent: Some(agent), names_two_users: false, ..self }
    }

    /// What every flow can be told.
    pub(super) fn to_request(&self, tenant_id: Option<String>, correlation_id: Uuid) -> RequestOptions {
        let mut options = RequestOptions::default();
        options.set_correlation_id(correlation_id);
        options.set_force_refresh(self.force_refresh);
        let rare = options.rare_mut();
        rare.tenant_id = tenant_id;
        rare.claims.clone_from(&self.claims);
        rare.pop_public_key.clone_from(&self.pop_public_key);
        if self.agent.is_none() {
            rare.client_assertion_fmi_path.clone_from(&self.fmi_path_for_client_assertion);
        }
        rare.extra_query_parameters.clone_from(&self.extra_query_parameters);
        rare.extra_body_parameters.clone_from(&self.extra_body_parameters);
        rare.extra_headers.clone_from(&self.extra_http_headers);
        options
    }
}

impl fmt::Debug for AcquireTokenOptions {
    /// Leaves out session keys and what may hold a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireTokenOptions")
            .field("authentication_options_name", &self.authentication_options_name)
            .field("correlation_id", &self.correlation_id)
            .field("tenant", &self.tenant)
            .field("force_refresh", &self.force_refresh)
            .field("fmi_path", &self.fmi_path)
            .field("managed_identity", &self.managed_identity)
            .field("agent", &self.agent)
            .finish_non_exhaustive()
    }
}
