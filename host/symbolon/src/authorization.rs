//! The beginning of a sign-in, for [`Application::acquire_token_by_authorization_code`].

use std::borrow::Cow;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use uuid::Uuid;

use crate::application::Application;
use crate::engine::{Answer, Options, Origin, Question, SignIn};
use crate::error::{Error, Result};

/// A sign-in that is being described. Await it for its URL.
#[must_use = "a request does nothing until it is awaited"]
#[derive(Clone)]
pub struct AuthorizationRequestBuilder<'a> {
    application: &'a Application,
    scopes: Vec<String>,
    redirect_uri: String,
    offline_access: bool,
    login_hint: Option<String>,
    domain_hint: Option<String>,
    prompt: Option<String>,
    authority: Option<String>,
    tenant_id: Option<String>,
    claims: Option<String>,
    correlation_id: Option<Uuid>,
    extra_query_parameters: Vec<(String, String)>,
}

impl<'a> AuthorizationRequestBuilder<'a> {
    pub(crate) fn new<S: Into<Cow<'a, str>>>(
        application: &'a Application,
        scopes: impl IntoIterator<Item = S>,
        redirect_uri: String,
    ) -> Self {
        Self {
            application,
            scopes: scopes.into_iter().map(|scope| scope.into().into_owned()).collect(),
            redirect_uri,
            offline_access: true,
            login_hint: None,
            domain_hint: None,
            prompt: None,
            authority: None,
            tenant_id: None,
            claims: None,
            correlation_id: None,
            extra_query_parameters: application.options().extra_query_parameters().to_vec(),
        }
    }

    /// Whether a refresh token is asked for (`offline_access`). The default is `true`.
    pub fn with_offline_access(mut self, wanted: bool) -> Self {
        self.offline_access = wanted;
        self
    }

    /// Whom the sign-in page suggests.
    #[doc(alias = "WithLoginHint")]
    pub fn with_login_hint(mut self, username: impl Into<String>) -> Self {
        self.login_hint = Some(username.into());
        self
    }

    /// The directory whose sign-in page comes at once.
    pub fn with_domain_hint(mut self, domain: impl Into<String>) -> Self {
        self.domain_hint = Some(domain.into());
        self
    }

    /// What the person is asked for in any case: `login`, `select_account`, `consent`, or `none`.
    #[doc(alias = "WithPrompt")]
    pub fn with_prompt(mut self, prompt: impl Into<String>) -> Self {
        self.prompt = Some(prompt.into());
        self
    }

    /// Another authority than the configured one, by the rules of
    /// [`TokenRequest::with_authority`](crate::TokenRequest::with_authority).
    #[doc(alias = "WithAuthority")]
    pub fn with_authority(mut self, url: impl Into<String>) -> Self {
        self.authority = Some(url.into());
        self
    }

    /// Another directory than the authority's: a tenant id or a domain name.
    #[doc(alias = "WithTenantId")]
    pub fn with_tenant_id(mut self, tenant_id: impl Into<String>) -> Self {
        self.tenant_id = Some(tenant_id.into());
        self
    }

    /// The claims of a claims challenge, JSON.
    #[doc(alias = "WithClaims")]
    pub fn with_claims(mut self, claims: impl Into<String>) -> Self {
        self.claims = Some(claims.into());
        self
    }

    /// The id that goes to the authority as `client-request-id`. The default is a random one.
    #[doc(alias = "WithCorrelationId")]
    pub fn with_correlation_id(mut self, correlation_id: Uuid) -> Self {
        self.correlation_id = Some(correlation_id);
        self
    }

    /// Further parameters of the URL, such as `response_mode`, percent-encoded.
    #[doc(alias = "WithExtraQueryParameters")]
    pub fn with_extra_query_parameters<K: Into<String>, V: Into<String>>(
        mut self,
        parameters: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.extra_query_parameters.extend(parameters.into_iter().map(|(k, v)| (k.into(), v.into())));
        self
    }

    fn sign_in(self, correlation_id: Uuid) -> SignIn {
        SignIn {
            scopes: self.scopes,
            redirect_uri: self.redirect_uri,
            offline_access: self.offline_access,
            login_hint: self.login_hint,
            domain_hint: self.domain_hint,
            prompt: self.prompt,
            options: Some(Options {
                authority: self.authority,
                tenant_id: self.tenant_id,
                claims: self.claims,
                client_claims: None,
                force_refresh: false,
                access_token_sha256_to_refresh: None,
                pop_public_key: None,
                client_assertion_fmi_path: None,
                extra_client_assertion_claims: None,
                send_x5c: None,
                cache_partitions: Vec::new(),
                correlation_id: Some(correlation_id.to_string()),
                extra_query_parameters: self.extra_query_parameters,
                encoded_query_parameters: Vec::new(),
                extra_body_parameters: Vec::new(),
                extra_headers: Vec::new(),
            }),
        }
    }
}

impl fmt::Debug for AuthorizationRequestBuilder<'_> {
    /// Leaves out what may name the person.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationRequestBuilder")
            .field("scopes", &self.scopes)
            .field("redirect_uri", &self.redirect_uri)
            .field("offline_access", &self.offline_access)
            .field("correlation_id", &self.correlation_id)
            .finish_non_exhaustive()
    }
}

impl<'a> IntoFuture for AuthorizationRequestBuilder<'a> {
    type Output = Result<AuthorizationRequest>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        let application = self.application;
        Box::pin(async move {
            let correlation_id = self.correlation_id.unwrap_or_else(Uuid::new_v4);
            let origin = Origin::new("authorization-request", correlation_id);
            match application.ask(origin, Question::Authorize(self.sign_in(correlation_id))).await? {
                Answer::Authorize(begun) => Ok(AuthorizationRequest {
                    url: begun.url,
                    code_verifier: begun.code_verifier,
                    state: begun.state,
                    nonce: begun.nonce,
                }),
                _ => Err(Error::unexpected_answer()),
            }
        })
    }
}

/// The beginning of a sign-in. Everything but the URL stays with the application, in the person's session, until the
/// redirect comes. `Debug` shows none of it.
#[derive(Clone)]
#[non_exhaustive]
pub struct AuthorizationRequest {
    /// Where the browser goes.
    pub url: String,
    /// What the code is redeemed with (RFC 7636):
    /// [`with_code_verifier`](crate::TokenRequest::with_code_verifier).
    pub code_verifier: String,
    /// What the redirect must bring back as `state`; anything else is another sign-in.
    pub state: String,
    /// What the id token must hold as `nonce`.
    pub nonce: String,
}

impl fmt::Debug for AuthorizationRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationRequest").finish_non_exhaustive()
    }
}
