//! Calls of [reqwest](https://docs.rs/reqwest) with what an API wants presented: a token, a token and the certificate that it
//! is bound to, or the certificate alone.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use reqwest_middleware::ClientBuilder;
//! use symbolon::{ApplicationOptions, Symbolon};
//! use symbolon_reqwest::AuthorizationMiddleware;
//!
//! let symbolon = Symbolon::builder().build()?;
//! let application = symbolon.application(ApplicationOptions::from_file("appsettings.json")?)?;
//! let graph = AuthorizationMiddleware::new(application.downstream_api("graph")?);
//! let client = ClientBuilder::new(reqwest::Client::new()).with(graph).build();
//! let response = client.get("https://graph.microsoft.com/v1.0/users").send().await?;
//! # Ok(()) }
//! ```

use async_trait::async_trait;
use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{Error, Middleware, Next, Result};
use symbolon::{DownstreamApi, MessageHandler};

/// Presents to an API what it wants.
///
/// * With the scheme `Bearer` the client sends the request, with an `Authorization` header in the place of its own. Where the
///   answer is a claims challenge, the request is sent once more with a token for it, without the headers that are
///   [reserved](symbolon::is_reserved_header); if its body is a stream, the answer is the challenge.
/// * With `MTLS_POP` and `MTLS` a certificate is presented, so the request goes out on connections of Symbolon: neither later
///   middleware nor the client sees it, and of the request's own settings only its timeout counts.
///
/// A request may bring, as extensions, the [`DownstreamApiOptions`](symbolon::DownstreamApiOptions) that count in the place
/// of the API's, and the [`UserAssertion`](symbolon::UserAssertion) of the user for whom it is. The answer brings the
/// [`AuthorizationHeader`](symbolon::AuthorizationHeader) that was sent.
///
/// A request to another origin than that of the API's `BaseUrl`, which has to be there, is an error: the token is for that API only. Errors of
/// Symbolon are [`symbolon::Error`] inside of [`Error::Middleware`].
#[doc(alias = "MicrosoftIdentityMessageHandler")]
#[derive(Clone, Debug)]
pub struct AuthorizationMiddleware {
    api: DownstreamApi,
}

impl AuthorizationMiddleware {
    /// Presents what this API wants.
    pub fn new(api: DownstreamApi) -> Self {
        Self { api }
    }
}

#[async_trait]
impl Middleware for AuthorizationMiddleware {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let uri = request.url().as_str().parse().map_err(Error::middleware)?;
        let handler = self.api.message_handler(&uri, extensions).map_err(Error::middleware)?;
        match handler.presents_certificate() {
            true => send(&handler, request).await,
            false => through(&handler, request, extensions, next).await,
        }
    }
}

/// Has the client send a request, and once more where the answer is a claims challenge.
async fn through(
    handler: &MessageHandler,
    mut request: Request,
    extensions: &mut Extensions,
    next: Next<'_>,
) -> Result<Response> {
    let mut header = handler.authorize(request.headers_mut()).await.map_err(Error::middleware)?;
    let again = request.try_clone();
    let mut response = next.clone().run(request, extensions).await?;
    if let Some(mut again) = again {
        let challenged = handler.challenged(response.status(), response.headers(), again.headers_mut());
        if let Some(challenged) = challenged.await.map_err(Error::middleware)? {
            response = next.run(again, extensions).await?;
            header = challenged;
        }
    }
    response.extensions_mut().insert(header);
    Ok(response)
}

/// Sends a request on connections of ours.
async fn send(handler: &MessageHandler, request: Request) -> Result<Response> {
    let timeout = request.timeout().copied();
    let request: http::Request<reqwest::Body> = request.try_into()?;
    let response = handler.send(request, timeout).await.map_err(Error::middleware)?;
    Ok(response.map(reqwest::Body::wrap).into())
}
