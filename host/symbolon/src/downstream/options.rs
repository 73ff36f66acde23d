//! How an API is called.

use std::fmt;
use std::sync::Arc;

use http::Method;
use http::request::Parts;
use symbolon_resources::configuration::{
    AcquireTokenSettings, DownstreamApiLimits, DownstreamApiSettings, ProtocolScheme,
};

use super::url;
use crate::acquirer::AcquireTokenOptions;
use crate::agent::{AgentIdentity, User};
use crate::managed_identity::ManagedIdentityId;
use crate::session_key::SessionKey;

/// How an API is called: Microsoft.Identity.Web's `DownstreamApiOptions`. The default is what the fields say.
#[derive(Clone, Default)]
#[non_exhaustive]
#[doc(alias = "AuthorizationHeaderProviderOptions")]
pub struct DownstreamApiOptions {
    /// What paths are appended to: an absolute URL without query and fragment. There is no default.
    #[doc(alias = "BaseUrl")]
    pub base_url: Option<String>,
    /// The path below it, with a query where there is one. The default is none.
    #[doc(alias = "RelativePath")]
    pub relative_path: String,
    /// The method. The default is `GET`.
    #[doc(alias = "HttpMethod")]
    pub http_method: Method,
    /// What the token is for; of an application's own token the first one only. The default is none, and no token.
    #[doc(alias = "Scopes")]
    pub scopes: Vec<String>,
    /// Whether the token is the application's own. The default is the user's.
    #[doc(alias = "RequestAppToken")]
    pub request_app_token: bool,
    /// What is presented. The default is a bearer token.
    #[doc(alias = "ProtocolScheme")]
    pub protocol_scheme: ProtocolScheme,
    /// The `accept` header; empty for none. The default is `application/json`.
    #[doc(alias = "AcceptHeader")]
    pub accept_header: Option<String>,
    /// The `content-type` of whatever is sent. The default is `application/json` for JSON and none for the rest.
    #[doc(alias = "ContentType")]
    pub content_type: Option<String>,
    /// Headers beside. [Reserved ones](crate::is_reserved_header) and those that are there already are left out, with an
    /// event.
    #[doc(alias = "ExtraHeaderParameters")]
    pub extra_header_parameters: Vec<(String, String)>,
    /// Parameters for the query; they are percent-encoded.
    #[doc(alias = "ExtraQueryParameters")]
    pub extra_query_parameters: Vec<(String, String)>,
    /// How the token is acquired.
    #[doc(alias = "AcquireTokenOptions")]
    pub acquire_token_options: AcquireTokenOptions,
    /// How long it may take, how much is kept, and other things that Microsoft.Identity.Web has no names for.
    pub limits: DownstreamApiLimits,
    pub(super) before_authorization: Option<Hook>,
    pub(super) after_authorization: Option<Hook>,
    pub(super) customize: Option<Hook>,
}

impl DownstreamApiOptions {
    /// The options of an API at this URL.
    pub fn new(base_url: impl Into<String>) -> Self {
        Self { base_url: Some(base_url.into()), ..Self::default() }
    }

    /// Base URL and path with one slash between them; nothing without a base URL.
    #[doc(alias = "GetApiUrl")]
    pub fn api_url(&self) -> Option<String> {
        Some(url::join(self.base_url.as_deref()?, &self.relative_path))
    }

    /// Calls this before what is presented is acquired, on each attempt.
    #[doc(alias = "OnBeforeAuthHeaderCreation")]
    #[must_use]
    pub fn on_before_authorization(mut self, hook: impl Fn(&mut Parts) + Send + Sync + 'static) -> Self {
        self.before_authorization = Some(Hook::new(hook));
        self
    }

    /// Calls this when the `Authorization` header is there, on each attempt. It may change it.
    #[doc(alias = "OnAfterAuthHeaderCreation")]
    #[must_use]
    pub fn on_after_authorization(mut self, hook: impl Fn(&mut Parts) + Send + Sync + 'static) -> Self {
        self.after_authorization = Some(Hook::new(hook));
        self
    }

    /// Calls this last, on each attempt.
    #[doc(alias = "CustomizeHttpRequestMessage")]
    #[must_use]
    pub fn customize_request(mut self, hook: impl Fn(&mut Parts) + Send + Sync + 'static) -> Self {
        self.customize = Some(Hook::new(hook));
        self
    }
}

impl fmt::Debug for DownstreamApiOptions {
    /// Leaves out the values of headers and parameters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DownstreamApiOptions")
            .field("base_url", &self.base_url)
            .field("http_method", &self.http_method)
            .field("scopes", &self.scopes)
            .field("request_app_token", &self.request_app_token)
            .field("protocol_scheme", &self.protocol_scheme)
            .field("acquire_token_options", &self.acquire_token_options)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl From<&DownstreamApiSettings> for DownstreamApiOptions {
    fn from(settings: &DownstreamApiSettings) -> Self {
        Self {
            base_url: settings.base_url.clone(),
            relative_path: settings.relative_path.clone(),
            http_method: settings.http_method.clone(),
            scopes: settings.scopes.clone(),
            request_app_token: settings.request_app_token,
            protocol_scheme: settings.protocol_scheme,
            accept_header: settings.accept_header.clone(),
            content_type: settings.content_type.clone(),
            extra_header_parameters: settings.extra_header_parameters.clone(),
            extra_query_parameters: settings.extra_query_parameters.clone(),
            acquire_token_options: (&settings.acquire_token_options).into(),
            limits: settings.limits.clone(),
            before_authorization: None,
            after_authorization: None,
            customize: None,
        }
    }
}

impl From<&AcquireTokenSettings> for AcquireTokenOptions {
    fn from(settings: &AcquireTokenSettings) -> Self {
        let username = settings.agent_username.clone().map(User::Username);
        let user = username.or(settings.agent_user_id.map(User::ObjectId));
        let agent = settings.agent_identity.clone().map(|agent| match user {
            Some(user) => AgentIdentity::with_user(agent, user),
            None => AgentIdentity::app_only(agent),
        });
        let managed_identity = settings.managed_identity.clone().map(|client_id| match client_id {
            Some(client_id) => ManagedIdentityId::ClientId(client_id),
            None => ManagedIdentityId::SystemAssigned,
        });
        Self {
            authentication_options_name: settings.authentication_options_name.clone(),
            correlation_id: settings.correlation_id,
            claims: settings.claims.clone(),
            tenant: settings.tenant.clone(),
            force_refresh: settings.force_refresh,
            fmi_path: settings.fmi_path.clone(),
            long_running_session_key: settings.long_running_session_key.as_deref().map(SessionKey::from),
            pop_public_key: settings.pop_public_key.clone(),
            extra_query_parameters: settings.extra_query_parameters.clone(),
            extra_http_headers: settings.extra_http_headers.clone(),
            extra_body_parameters: settings.extra_body_parameters.clone(),
            fmi_path_for_client_assertion: settings.fmi_path_for_client_assertion.clone(),
            managed_identity,
            agent,
            names_two_users: settings.agent_username.is_some() && settings.agent_user_id.is_some(),
        }
    }
}

/// What a program does with a request on its way out.
#[derive(Clone)]
pub(super) struct Hook(Arc<dyn Fn(&mut Parts) + Send + Sync>);

impl Hook {
    pub(super) fn new(hook: impl Fn(&mut Parts) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }

    pub(super) fn run(&self, request: &mut Parts) {
        (self.0)(request);
    }
}
