//! Calling other APIs: with a bearer token, with a token and the certificate that it is bound to, or with the certificate
//! alone. Microsoft.Identity.Web's `IDownstreamApi`.

mod authorization;
mod body;
mod error;
mod handler;
mod headers;
mod options;
mod redirect;
mod request;
mod response;
mod review;
mod send;
mod url;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request};
use symbolon_resources::configuration::{ConfigurationError, DownstreamApiSettings};
use symbolon_resources::transport::RequestBody;

use crate::acquirer::TokenAcquirer;
use crate::application::Application;
use crate::error::{Error, Result};

pub use self::authorization::AuthorizationHeader;
pub use self::error::{DownstreamError, DownstreamErrorKind};
pub use self::handler::MessageHandler;
pub(crate) use self::headers::is_forwardable as is_forwardable_header;
pub use self::headers::is_reserved_header;
pub use self::options::DownstreamApiOptions;
pub use self::request::DownstreamRequest;
pub use self::response::{DownstreamResponse, NotRetried, Presented};
pub(crate) use self::review::{Verdict, review};

/// An API that an application calls, as it is configured in `DownstreamApis` or in code. Cheap to clone.
///
/// ```no_run
/// # async fn example(incoming: String) -> symbolon::Result<()> {
/// use symbolon::{ApplicationOptions, Symbolon};
///
/// let symbolon = Symbolon::builder().build()?;
/// let application = symbolon.application(ApplicationOptions::from_file("appsettings.json")?)?;
/// let graph = application.downstream_api("graph")?;
///
/// let response = graph.get("users").for_app().query("$top", "5").send().await?;
/// let users: serde_json::Value = response.error_for_status().await?.json().await?;
///
/// let response = graph.get("me").for_user(incoming).send().await?;
/// println!("{} {}", response.status(), response.text().await?);
/// # Ok(())
/// # }
/// ```
///
/// A call changes nothing that another one sees. What [`ProtocolScheme`](crate::ProtocolScheme) presents is:
///
/// | | `Authorization` | on the connection |
/// |---|---|---|
/// | `Bearer` | `Bearer …` | nothing |
/// | `MTLS_POP` | `mtls_pop …` | the certificate that this very token is bound to |
/// | `MTLS` | none | the first usable certificate of `ClientCredentials` |
///
/// Without scopes `Bearer` presents nothing.
#[doc(alias = "IDownstreamApi")]
#[derive(Clone)]
pub struct DownstreamApi {
    name: Arc<str>,
    applications: Applications,
    options: Arc<DownstreamApiOptions>,
    /// Whether nobody has looked at the options yet.
    is_unchecked: bool,
}

/// Whose calls they are, unless the call names another section.
#[derive(Clone)]
enum Applications {
    /// This one's, and of those beside it in its configuration.
    Of(Application),
    /// Those of a configuration.
    Acquirer(TokenAcquirer),
}

impl Applications {
    /// The application of a section; the default one without.
    fn named(&self, section: Option<&str>) -> Result<Application> {
        match self {
            Self::Of(application) => application.of_section(section),
            Self::Acquirer(acquirer) => acquirer.application(section),
        }
    }
}

impl Application {
    /// An API of the section `DownstreamApis` of the configuration that the application is from.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] where there is no such API, it can't be called as it is, or the application isn't from a
    /// configuration.
    pub fn downstream_api(&self, name: &str) -> Result<DownstreamApi> {
        let settings = self.options().settings().map(|(settings, _)| settings.downstream_api(name));
        let settings = settings.unwrap_or_else(|| Err(ConfigurationError::no_settings(name)))?;
        Ok(DownstreamApi::configured(&settings, Applications::Of(self.clone())))
    }

    /// An API that is described in code. `name` is for messages.
    pub fn downstream_api_with(
        &self,
        name: impl Into<Arc<str>>,
        options: DownstreamApiOptions,
    ) -> DownstreamApi {
        let applications = Applications::Of(self.clone());
        DownstreamApi { name: name.into(), applications, options: Arc::new(options), is_unchecked: true }
    }

    /// The application of a section of the same configuration; this one, where none is named.
    fn of_section(&self, section: Option<&str>) -> Result<Self> {
        let Some(section) = section.filter(|section| !section.is_empty()) else { return Ok(self.clone()) };
        let Some((settings, own)) = self.options().settings() else {
            return Err(ConfigurationError::no_settings(section).into());
        };
        if own.eq_ignore_ascii_case(section) {
            return Ok(self.clone());
        }
        let others = self.inner.others.get_or_init(|| {
            let symbolon = crate::builder::Symbolon { shared: self.inner.shared.clone() };
            symbolon.token_acquirer(settings.clone())
        });
        others.application(section)
    }
}

impl TokenAcquirer {
    /// An API of the section `DownstreamApis`, called by the application that its `AuthenticationOptionsName` names.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] where there is no such API, or it can't be called as it is.
    pub fn downstream_api(&self, name: &str) -> Result<DownstreamApi> {
        let settings = self.settings().downstream_api(name)?;
        Ok(DownstreamApi::configured(&settings, Applications::Acquirer(self.clone())))
    }
}

impl DownstreamApi {
    fn configured(settings: &DownstreamApiSettings, applications: Applications) -> Self {
        let options = Arc::new(DownstreamApiOptions::from(settings));
        Self { name: settings.name.as_str().into(), applications, options, is_unchecked: false }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What each call begins with.
    pub fn options(&self) -> &DownstreamApiOptions {
        &self.options
    }

    /// The application that calls it, as far as the API's own options say.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] where `AuthenticationOptionsName` names no section.
    pub fn application(&self) -> Result<Application> {
        self.applications.named(self.options.acquire_token_options.authentication_options_name.as_deref())
    }

    /// A call with the configured method and path.
    #[doc(alias = "CallApiAsync")]
    pub fn call(&self) -> DownstreamRequest {
        DownstreamRequest::new(self.clone())
    }

    /// A call of this path below the base URL: a query is part of it. The method as in a configuration, such as `GET`.
    pub fn request(&self, method: Method, path: impl Into<String>) -> DownstreamRequest {
        self.call().method(method).path(path)
    }

    /// Reads this path.
    #[doc(alias = "GetForAppAsync")]
    #[doc(alias = "GetForUserAsync")]
    pub fn get(&self, path: impl Into<String>) -> DownstreamRequest {
        self.request(Method::GET, path)
    }

    /// Posts to this path.
    #[doc(alias = "PostForAppAsync")]
    #[doc(alias = "PostForUserAsync")]
    pub fn post(&self, path: impl Into<String>) -> DownstreamRequest {
        self.request(Method::POST, path)
    }

    /// Puts something in the place of what is at this path.
    #[doc(alias = "PutForAppAsync")]
    #[doc(alias = "PutForUserAsync")]
    pub fn put(&self, path: impl Into<String>) -> DownstreamRequest {
        self.request(Method::PUT, path)
    }

    /// Changes what is at this path.
    #[doc(alias = "PatchForAppAsync")]
    #[doc(alias = "PatchForUserAsync")]
    pub fn patch(&self, path: impl Into<String>) -> DownstreamRequest {
        self.request(Method::PATCH, path)
    }

    /// Deletes what is at this path.
    #[doc(alias = "DeleteForAppAsync")]
    #[doc(alias = "DeleteForUserAsync")]
    pub fn delete(&self, path: impl Into<String>) -> DownstreamRequest {
        self.request(Method::DELETE, path)
    }

    /// A call that another HTTP client was about to make: its method, absolute URL, headers and body are taken as they are,
    /// and this API says what is presented. An `Authorization` of its own is removed.
    #[doc(alias = "MicrosoftIdentityMessageHandler")]
    pub fn forward<B>(&self, request: Request<B>) -> DownstreamRequest
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        self.call().forwarded(parts, RequestBody::stream(body))
    }

    /// What a call would present, for those who send it themselves: see [`DownstreamRequest::authorization_header`].
    ///
    /// # Errors
    ///
    /// As [`DownstreamRequest::authorization_header`].
    #[doc(alias = "CreateAuthorizationHeaderAsync")]
    pub async fn authorization_header(&self) -> Result<AuthorizationHeader> {
        self.call().authorization_header().await
    }

    fn mistake(&self, message: impl Into<String>) -> Error {
        DownstreamError::new(DownstreamErrorKind::InvalidRequest, &self.name, message).into()
    }
}

impl fmt::Debug for DownstreamApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DownstreamApi")
            .field("name", &self.name)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server moves its calls between threads.
    const _: fn(DownstreamRequest) = |request| {
        fn is_send(_: impl Send) {}
        is_send(request.send());
    };
}
