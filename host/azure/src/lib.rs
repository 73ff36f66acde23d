//! Applications of Symbolon as credentials of the [Azure SDK for Rust](https://github.com/Azure/azure-sdk-for-rust).
//!
//! ```no_run
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use azure_core::credentials::TokenCredential;
//! use symbolon::{ApplicationOptions, Symbolon};
//! use symbolon_azure::ApplicationCredential;
//!
//! let symbolon = Symbolon::builder().build()?;
//! let application = symbolon.application(ApplicationOptions::from_file("appsettings.json")?)?;
//! let credential: Arc<dyn TokenCredential> = Arc::new(ApplicationCredential::new(application));
//! // For any client of the SDK, such as `SecretClient::new("https://contoso.vault.azure.net", credential, None)`.
//! # Ok(()) }
//! ```
//!
//! How the application proves itself is a matter of its configuration: by a secret, an assertion, or a certificate over
//! mutual TLS. The SDK gets bearer tokens; it has no connections that present a certificate to a service.

use std::fmt;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::Header;
use azure_core::http::request::options::ClientRequestId;
use azure_core::time::OffsetDateTime;
use azure_core::{Result, Uuid};
use symbolon::{Acquisition, AgentIdentity, Application, ManagedIdentityId, TokenRequest, UserAssertion};

/// An application of Symbolon as a credential of the Azure SDK. Cheap to clone; all of an application's credentials share
/// its tokens.
///
/// Of what the SDK says with a request, [`ClientRequestId`] goes to the authority as the correlation id, where it is a
/// UUID. An SDK client keeps the token that it got until five minutes before its end, whatever later requests say.
///
/// # Errors
///
/// The [kind](Error::kind) of an error is [`ErrorKind::Connection`] or [`ErrorKind::Io`] where nobody answered and the same
/// request may succeed later: the SDK's retry policy tries again. It is [`ErrorKind::Credential`] otherwise. The
/// [`symbolon::Error`] is inside ([`Error::downcast_ref`]); no text holds a secret or a token.
#[derive(Clone)]
pub struct ApplicationCredential {
    application: Application,
    subject: Subject,
    tenant_id: Option<String>,
}

/// Whose tokens are asked for.
#[derive(Clone, Debug)]
enum Subject {
    Application,
    User(UserAssertion<'static>),
    Agent { agent: AgentIdentity, user: Option<UserAssertion<'static>> },
    ManagedIdentity(ManagedIdentityId),
}

impl ApplicationCredential {
    /// The application itself ([`Application::acquire_token_for_client`]).
    #[doc(alias = "ClientSecretCredential")]
    #[doc(alias = "ClientCertificateCredential")]
    #[doc(alias = "ClientAssertionCredential")]
    pub fn new(application: Application) -> Self {
        Self::of(application, Subject::Application)
    }

    /// The user whose token the application was given ([`Application::acquire_token_on_behalf_of`]).
    #[doc(alias = "OnBehalfOfCredential")]
    pub fn on_behalf_of(application: Application, user: UserAssertion<'static>) -> Self {
        Self::of(application, Subject::User(user))
    }

    /// An agent of the application, which is its blueprint: for the agent itself, or for a user of its own
    /// ([`Application::acquire_token_for_agent`]).
    pub fn for_agent(blueprint: Application, agent: AgentIdentity) -> Self {
        Self::of(blueprint, Subject::Agent { agent, user: None })
    }

    /// An agent of the application, on behalf of the user whose token the application was given.
    pub fn for_agent_on_behalf_of(
        blueprint: Application,
        agent: AgentIdentity,
        user: UserAssertion<'static>,
    ) -> Self {
        Self::of(blueprint, Subject::Agent { agent, user: Some(user) })
    }

    /// An identity that the platform manages ([`Application::acquire_token_for_managed_identity`]). Of the application's
    /// configuration, credentials and authority have no part in it.
    #[doc(alias = "ManagedIdentityCredential")]
    pub fn for_managed_identity(application: Application, identity: ManagedIdentityId) -> Self {
        Self::of(application, Subject::ManagedIdentity(identity))
    }

    fn of(application: Application, subject: Subject) -> Self {
        Self { application, subject, tenant_id: None }
    }

    /// Asks another directory than the configured one: a tenant id or a domain name. Managed identities have one only.
    #[must_use]
    pub fn with_tenant_id(mut self, tenant_id: impl Into<String>) -> Self {
        self.tenant_id = Some(tenant_id.into());
        self
    }

    fn acquire<'a>(&'a self, scopes: &'a [&'a str], correlation_id: Option<Uuid>) -> Result<Acquisition<'a>> {
        let (application, all) = (&self.application, scopes.iter().copied());
        Ok(match &self.subject {
            Subject::Application => {
                self.complete(application.acquire_token_for_client(all), correlation_id).into_future()
            }
            Subject::User(user) => {
                let request = application.acquire_token_on_behalf_of(all, user.clone());
                self.complete(request, correlation_id).into_future()
            }
            Subject::Agent { agent, user } => {
                let mut request = application.acquire_token_for_agent(agent.clone(), all);
                if let Some(user) = user {
                    request = request.with_user_assertion(user.clone());
                }
                self.complete(request, correlation_id).into_future()
            }
            Subject::ManagedIdentity(identity) => {
                let request = application.acquire_token_for_managed_identity(only(scopes)?, identity.clone());
                self.complete(request, correlation_id).into_future()
            }
        })
    }

    fn complete<'a, F>(
        &self,
        mut request: TokenRequest<'a, F>,
        correlation_id: Option<Uuid>,
    ) -> TokenRequest<'a, F> {
        if let Some(tenant_id) = &self.tenant_id {
            request = request.with_tenant_id(tenant_id);
        }
        if let Some(correlation_id) = correlation_id {
            request = request.with_correlation_id(correlation_id);
        }
        request
    }
}

#[async_trait]
impl TokenCredential for ApplicationCredential {
    async fn get_token(
        &self,
        scopes: &[&str],
        options: Option<TokenRequestOptions<'_>>,
    ) -> Result<AccessToken> {
        let acquisition = self.acquire(scopes, options.as_ref().and_then(correlation_id))?;
        let token = acquisition.await.map_err(into_sdk)?;
        let expires_on = i64::try_from(token.expires_on_unix()).ok();
        let expires_on = expires_on.and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
        let expires_on = expires_on.ok_or_else(|| {
            let found = token.expires_on_unix();
            Error::with_message(ErrorKind::Credential, format!("the token expires beyond all dates: {found}"))
        })?;
        Ok(AccessToken::new(token.access_token().to_owned(), expires_on))
    }
}

impl fmt::Debug for ApplicationCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApplicationCredential")
            .field("application", self.application.options().id())
            .field("subject", &self.subject)
            .field("tenant_id", &self.tenant_id)
            .finish()
    }
}

/// The id that the caller gave to the request for its own logs, where it is one that the authority takes too.
fn correlation_id(options: &TokenRequestOptions<'_>) -> Option<Uuid> {
    let id: &ClientRequestId = options.method_options.context.value()?;
    Uuid::try_parse(id.value().as_str()).ok()
}

fn only<'s>(scopes: &[&'s str]) -> Result<&'s str> {
    match scopes {
        [scope] => Ok(*scope),
        _ => {
            let message = format!("a managed identity's token is for one scope, found {}", scopes.len());
            Err(Error::with_message(ErrorKind::Credential, message))
        }
    }
}

fn into_sdk(error: symbolon::Error) -> Error {
    let message = format!("ApplicationCredential got no token: {error}");
    Error::with_error(kind(&error), error, message)
}

/// What the SDK's retry policy goes by.
fn kind(error: &symbolon::Error) -> ErrorKind {
    if !error.is_retryable() {
        return ErrorKind::Credential;
    }
    match error {
        symbolon::Error::DeadlineExceeded { .. } => ErrorKind::Io,
        symbolon::Error::Acquisition(refusal) => match &refusal.transport {
            Some(transport) if transport.request_sent() => ErrorKind::Io,
            Some(_) => ErrorKind::Connection,
            None => ErrorKind::Credential,
        },
        _ => ErrorKind::Credential,
    }
}
