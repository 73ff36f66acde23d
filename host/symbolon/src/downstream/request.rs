//! A call on its way.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Uri};
use serde::Serialize;
use symbolon_resources::configuration::{ProtocolScheme, check_base_url};
use symbolon_resources::transport::RequestBody;
use uuid::Uuid;

use super::authorization::{self, AuthorizationHeader};
use super::options::{DownstreamApiOptions, Hook};
use super::response::DownstreamResponse;
use super::{DownstreamApi, headers, send, url};
use crate::acquire::UserAssertion;
use crate::acquirer::AcquireTokenOptions;
use crate::agent::AgentIdentity;
use crate::application::Application;
use crate::error::{Error, Result};
use crate::managed_identity::ManagedIdentityId;
use crate::session_key::SessionKey;

/// A call of an API. What is said here counts for this call only, in the place of what the API is configured with: also
/// where it is what would be the default. [`send`](Self::send) sends it.
#[must_use = "a call does nothing until it is sent"]
pub struct DownstreamRequest {
    pub(super) api: DownstreamApi,
    pub(super) options: Arc<DownstreamApiOptions>,
    method: Option<Method>,
    path: Option<String>,
    headers: Vec<(String, String)>,
    query: Vec<(String, String)>,
    body: RequestBody,
    /// Whether the body is JSON of our own making.
    is_json: bool,
    forwarded: Option<Box<Parts>>,
    pub(super) user_assertion: Option<UserAssertion<'static>>,
    /// What was wrong with what was said first.
    mistake: Option<Error>,
}

impl DownstreamRequest {
    pub(super) fn new(api: DownstreamApi) -> Self {
        Self {
            options: api.options.clone(),
            api,
            method: None,
            path: None,
            headers: Vec::new(),
            query: Vec::new(),
            body: RequestBody::empty(),
            is_json: false,
            forwarded: None,
            user_assertion: None,
            mistake: None,
        }
    }

    pub(super) fn forwarded(mut self, parts: Parts, body: RequestBody) -> Self {
        self.forwarded = Some(Box::new(parts));
        self.body = body;
        self
    }

    /// The method.
    #[doc(alias = "HttpMethod")]
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// The path below the base URL, with a query where there is one.
    #[doc(alias = "RelativePath")]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// The base URL.
    #[doc(alias = "BaseUrl")]
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.options_mut().base_url = Some(url.into());
        self
    }

    /// A parameter for the query, percent-encoded on the way out. In the place of a configured one of that name.
    #[doc(alias = "ExtraQueryParameters")]
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    /// A header, in the place of a configured one of that name. [Reserved ones](crate::is_reserved_header) are left out,
    /// with an event.
    #[doc(alias = "ExtraHeaderParameters")]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        if name.eq_ignore_ascii_case(ACCEPT.as_str()) {
            return self.accept(value);
        }
        if name.eq_ignore_ascii_case(CONTENT_TYPE.as_str()) {
            return self.content_type(value);
        }
        self.headers.push((name, value));
        self
    }

    /// The `accept` header; empty for none.
    #[doc(alias = "AcceptHeader")]
    pub fn accept(mut self, media_type: impl Into<String>) -> Self {
        self.options_mut().accept_header = Some(media_type.into());
        self
    }

    /// The `content-type` of what is sent.
    #[doc(alias = "ContentType")]
    pub fn content_type(mut self, media_type: impl Into<String>) -> Self {
        self.options_mut().content_type = Some(media_type.into());
        self
    }

    /// Sends these bytes.
    pub fn body(mut self, body: impl Into<RequestBody>) -> Self {
        self.body = body.into();
        self.is_json = false;
        self
    }

    /// Sends this value as JSON.
    pub fn json(mut self, value: &(impl Serialize + ?Sized)) -> Self {
        match serde_json::to_vec(value) {
            Ok(json) => {
                self.body = json.into();
                self.is_json = true;
            }
            Err(error) => {
                let mistake =
                    self.api.mistake(format!("what is to be sent can't be written as JSON: {error}"));
                self.mistake.get_or_insert(mistake);
            }
        }
        self
    }

    /// Sends what comes, as it comes. So much of it is read first that it can be sent a second time, if it is that short:
    /// [`DownstreamApiLimits::replay_limit`](crate::DownstreamApiLimits::replay_limit).
    pub fn stream<B>(mut self, body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.body = RequestBody::stream(body);
        self.is_json = false;
        self
    }

    /// What the token is for.
    #[doc(alias = "Scopes")]
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.options_mut().scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// What is presented.
    #[doc(alias = "ProtocolScheme")]
    pub fn scheme(mut self, scheme: ProtocolScheme) -> Self {
        self.options_mut().protocol_scheme = scheme;
        self
    }

    /// Whether the token is the application's own.
    #[doc(alias = "RequestAppToken")]
    pub fn request_app_token(mut self, wanted: bool) -> Self {
        if self.options.request_app_token != wanted {
            self.options_mut().request_app_token = wanted;
        }
        self
    }

    /// With a token of the application's own.
    #[doc(alias = "CallApiForAppAsync")]
    #[doc(alias = "CreateAuthorizationHeaderForAppAsync")]
    pub fn for_app(self) -> Self {
        self.request_app_token(true)
    }

    /// With a token for the user whose token the application was called with.
    #[doc(alias = "CallApiForUserAsync")]
    #[doc(alias = "CreateAuthorizationHeaderForUserAsync")]
    pub fn for_user(self, assertion: impl Into<UserAssertion<'static>>) -> Self {
        self.request_app_token(false).user_assertion(assertion)
    }

    /// The token of a user that the application was called with. Has no effect on tokens of the application's own.
    pub fn user_assertion(mut self, assertion: impl Into<UserAssertion<'static>>) -> Self {
        self.user_assertion = Some(assertion.into());
        self
    }

    /// All of what the acquisition of the token is told.
    #[doc(alias = "AcquireTokenOptions")]
    pub fn acquire_token_options(mut self, options: AcquireTokenOptions) -> Self {
        self.options_mut().acquire_token_options = options;
        self
    }

    /// The section of the application that calls.
    #[doc(alias = "AuthenticationOptionsName")]
    pub fn authentication_options_name(mut self, section: impl Into<String>) -> Self {
        self.acquire_mut().authentication_options_name = Some(section.into());
        self
    }

    /// The directory that the token is asked from.
    #[doc(alias = "Tenant")]
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.acquire_mut().tenant = Some(tenant.into());
        self
    }

    /// The claims of a claims challenge, JSON.
    #[doc(alias = "Claims")]
    pub fn claims(mut self, claims: impl Into<String>) -> Self {
        self.acquire_mut().claims = Some(claims.into());
        self
    }

    /// The id that goes to the authority.
    #[doc(alias = "CorrelationId")]
    pub fn correlation_id(mut self, correlation_id: Uuid) -> Self {
        self.acquire_mut().correlation_id = Some(correlation_id);
        self
    }

    /// Whether the cache gives no token.
    #[doc(alias = "ForceRefresh")]
    pub fn force_refresh(mut self, force_refresh: bool) -> Self {
        self.acquire_mut().force_refresh = force_refresh;
        self
    }

    /// A path below the application, for its own token.
    #[doc(alias = "FmiPath")]
    pub fn fmi_path(mut self, path: impl Into<String>) -> Self {
        self.acquire_mut().fmi_path = Some(path.into());
        self
    }

    /// The key of a long-running process. One that is allocated for the call is in its response.
    #[doc(alias = "LongRunningWebApiSessionKey")]
    pub fn long_running_session_key(mut self, key: impl Into<SessionKey>) -> Self {
        self.acquire_mut().long_running_session_key = Some(key.into());
        self
    }

    /// A public key as a JSON Web Key, to which the token is bound for signed HTTP requests.
    #[doc(alias = "PopPublicKey")]
    pub fn pop_public_key(mut self, jwk: impl Into<String>) -> Self {
        self.acquire_mut().pop_public_key = Some(jwk.into());
        self
    }

    /// Calls as this agent, whose blueprint the application is: with its own token, or that of its user.
    #[doc(alias = "WithAgentIdentity")]
    #[doc(alias = "WithAgentUserIdentity")]
    pub fn agent_identity(mut self, agent: AgentIdentity) -> Self {
        let options = self.acquire_mut();
        options.agent = Some(agent);
        options.names_two_users = false;
        self
    }

    /// Calls with a token of an identity that the platform manages.
    #[doc(alias = "ManagedIdentity")]
    pub fn managed_identity(mut self, identity: ManagedIdentityId) -> Self {
        self.acquire_mut().managed_identity = Some(identity);
        self
    }

    /// A parameter for the query of the token request.
    pub fn extra_token_query_parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        set(&mut self.acquire_mut().extra_query_parameters, name.into(), value.into());
        self
    }

    /// A parameter for the body of the token request.
    pub fn extra_token_body_parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        set(&mut self.acquire_mut().extra_body_parameters, name.into(), value.into());
        self
    }

    /// A header of the token request.
    pub fn extra_token_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        set(&mut self.acquire_mut().extra_http_headers, name.into(), value.into());
        self
    }

    /// How long the call may take in all; nothing for no limit.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.options_mut().limits.timeout = timeout.into();
        self
    }

    /// How long nothing may come and nothing go.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.options_mut().limits.idle_timeout = timeout;
        self
    }

    /// Whether redirects are followed.
    pub fn follow_redirects(mut self, follow: bool) -> Self {
        self.options_mut().limits.follow_redirects = follow;
        self
    }

    /// Up to which length, in bytes, the body is kept to be sent a second time.
    pub fn replay_limit(mut self, bytes: usize) -> Self {
        self.options_mut().limits.replay_limit = bytes;
        self
    }

    /// Calls this before what is presented is acquired, on each attempt.
    #[doc(alias = "OnBeforeAuthHeaderCreation")]
    pub fn on_before_authorization(mut self, hook: impl Fn(&mut Parts) + Send + Sync + 'static) -> Self {
        self.options_mut().before_authorization = Some(Hook::new(hook));
        self
    }

    /// Calls this when the `Authorization` header is there, on each attempt. It may change it.
    #[doc(alias = "OnAfterAuthHeaderCreation")]
    pub fn on_after_authorization(mut self, hook: impl Fn(&mut Parts) + Send + Sync + 'static) -> Self {
        self.options_mut().after_authorization = Some(Hook::new(hook));
        self
    }

    /// Calls this last, on each attempt.
    #[doc(alias = "CustomizeHttpRequestMessage")]
    pub fn customize_request(mut self, hook: impl Fn(&mut Parts) + Send + Sync + 'static) -> Self {
        self.options_mut().customize = Some(Hook::new(hook));
        self
    }

    /// Sends the call, and gives the answer whatever its status is, once its head is there.
    ///
    /// A claims challenge is answered once with a token for it, and a certificate that is rejected is replaced once by
    /// another, where the body can be sent a second time; [`DownstreamResponse::not_retried`] says where that wasn't
    /// possible.
    ///
    /// # Errors
    ///
    /// [`Error::Downstream`] where the call can't be sent or no complete answer arrives; [`Error::Configuration`] where
    /// `AuthenticationOptionsName` names no section; those of the acquisition; [`Error::Credential`] where there is no
    /// certificate to present.
    pub async fn send(self) -> Result<DownstreamResponse> {
        send::send(self).await
    }

    /// Acquires what the call would present, for those who send it themselves. The certificate that comes with it must be
    /// presented on the connection.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), as far as it is about what is presented.
    #[doc(alias = "CreateAuthorizationHeaderAsync")]
    pub async fn authorization_header(self) -> Result<AuthorizationHeader> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        let application = self.application()?;
        let mut key = self.options.acquire_token_options.long_running_session_key.clone();
        let user = self.user_assertion.as_ref();
        authorization::authorize(&application, &self.options, user, &mut key, None).await
    }

    /// Whose call it is.
    pub(super) fn application(&self) -> Result<Application> {
        let section = self.options.acquire_token_options.authentication_options_name.as_deref();
        self.api.applications.named(section)
    }

    /// The request without what is presented, and its body.
    pub(super) fn build(&mut self) -> Result<(Parts, RequestBody)> {
        if let Some(mistake) = self.mistake.take() {
            return Err(mistake);
        }
        let body = std::mem::take(&mut self.body);
        if let Some(mut parts) = self.forwarded.take() {
            headers::strip(&mut parts.headers);
            parts.extensions.clear();
            return Ok((*parts, body));
        }
        let mut headers = headers::collect(
            &self.api,
            self.options.accept_header.as_deref(),
            &self.options.extra_header_parameters,
            &self.headers,
        )?;
        self.put_content_type(&mut headers, &body)?;
        headers.remove(AUTHORIZATION);
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = self.method.clone().unwrap_or_else(|| self.options.http_method.clone());
        parts.uri = self.uri()?;
        parts.headers = headers;
        Ok((parts, body))
    }

    fn put_content_type(&self, headers: &mut HeaderMap, body: &RequestBody) -> Result<()> {
        let is_empty = body.bytes().is_some_and(Bytes::is_empty);
        let default = self.is_json.then_some("application/json");
        let Some(media_type) = self.options.content_type.as_deref().or(default).filter(|_| !is_empty) else {
            return Ok(());
        };
        let value = media_type.try_into().map_err(|_| {
            self.api.mistake("the content type is none that a header can hold (RFC 9110 §5.5)")
        })?;
        headers.insert(CONTENT_TYPE, value);
        Ok(())
    }

    fn uri(&self) -> Result<Uri> {
        let Some(base) = self.options.base_url.as_deref() else {
            return Err(self.api.mistake("it has no BaseUrl; an absolute URL is needed"));
        };
        // What is configured has been checked.
        if !Arc::ptr_eq(&self.options, &self.api.options) || self.api.is_unchecked {
            let checked = check_base_url(base, self.options.protocol_scheme);
            checked.map_err(|accepted| {
                self.api.mistake(format!("the base URL is {base:?}; accepted: {accepted}"))
            })?;
        }
        let mut url = url::join(base, self.path.as_deref().unwrap_or(&self.options.relative_path));
        let is_given = |name: &str| self.query.iter().any(|(given, _)| given == name);
        let configured = self.options.extra_query_parameters.iter().filter(|(name, _)| !is_given(name));
        let parameters = configured.chain(&self.query);
        url::push_query(&mut url, parameters.map(|(name, value)| (name.as_str(), value.as_str())));
        url::parse(url).ok_or_else(|| self.api.mistake("base URL and path make no URL together"))
    }

    fn options_mut(&mut self) -> &mut DownstreamApiOptions {
        Arc::make_mut(&mut self.options)
    }

    fn acquire_mut(&mut self) -> &mut AcquireTokenOptions {
        &mut self.options_mut().acquire_token_options
    }
}

impl fmt::Debug for DownstreamRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DownstreamRequest")
            .field("api", &self.api.name)
            .field("method", &self.method)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

fn set(pairs: &mut Vec<(String, String)>, name: String, value: String) {
    pairs.retain(|(known, _)| !known.eq_ignore_ascii_case(&name));
    pairs.push((name, value));
}
