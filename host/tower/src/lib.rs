//! Calls of [tower](https://docs.rs/tower-service) services, such as the clients of hyper and tonic, with what an API wants
//! presented: a token, a token and the certificate that it is bound to, or the certificate alone.
//!
//! ```no_run
//! # fn example<S>(http: S) -> Result<(), Box<dyn std::error::Error>> {
//! use symbolon::{ApplicationOptions, Symbolon};
//! use symbolon_tower::AuthorizationLayer;
//! use tower_layer::Layer;
//!
//! let symbolon = Symbolon::builder().build()?;
//! let application = symbolon.application(ApplicationOptions::from_file("appsettings.json")?)?;
//! let layer = AuthorizationLayer::new(application.downstream_api("graph")?);
//! // `http` is a hyper client whose requests have the body `symbolon::RequestBody`.
//! let client = layer.layer(http);
//! # Ok(()) }
//! ```

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Either;
use symbolon::{DownstreamApi, MessageHandler, RequestBody, ResponseBody};
use tower_layer::Layer;
use tower_service::Service;

/// An error of the service inside, or of Symbolon ([`symbolon::Error`]).
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Presents to an API what it wants, on the way through the service inside.
///
/// * With the scheme `Bearer` the service inside sends the request, with an `Authorization` header in the place of its own.
///   Where the answer is a claims challenge, the request is sent once more with a token for it, without the headers that
///   are [reserved](symbolon::is_reserved_header).
/// * With `MTLS_POP` and `MTLS` a certificate is presented, so the request goes out on connections of Symbolon. The service
///   inside doesn't see it.
///
/// A request may bring, as extensions, the [`DownstreamApiOptions`](symbolon::DownstreamApiOptions) that count in the place
/// of the API's, and the [`UserAssertion`](symbolon::UserAssertion) of the user for whom it is. The answer brings the
/// [`AuthorizationHeader`](symbolon::AuthorizationHeader) that was sent.
///
/// A request to another origin than that of the API's `BaseUrl`, which has to be there, is an error: the token is for that API only.
///
/// So that it can be sent a second time, a body is read up to the API's
/// [`replay_limit`](symbolon::DownstreamApiLimits::replay_limit) before it is sent; set that to 0 where the server answers
/// while the client still writes (streams of gRPC in both directions).
#[doc(alias = "MicrosoftIdentityMessageHandler")]
#[derive(Clone, Debug)]
pub struct AuthorizationLayer {
    api: DownstreamApi,
}

impl AuthorizationLayer {
    /// Presents what this API wants.
    pub fn new(api: DownstreamApi) -> Self {
        Self { api }
    }
}

impl<S> Layer<S> for AuthorizationLayer {
    type Service = Authorization<S>;

    fn layer(&self, inner: S) -> Authorization<S> {
        Authorization { api: self.api.clone(), inner }
    }
}

/// The service of an [`AuthorizationLayer`].
#[derive(Clone, Debug)]
pub struct Authorization<S> {
    api: DownstreamApi,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Authorization<S>
where
    S: Service<Request<RequestBody>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: Body<Data = Bytes> + Send + 'static,
{
    type Response = Response<Either<R, ResponseBody>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let api = self.api.clone();
        // It is this one that is ready, not its clone.
        let next = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, next);
        Box::pin(async move {
            let handler = api.message_handler(request.uri(), request.extensions())?;
            if handler.presents_certificate() {
                return Ok(handler.send(request, None).await?.map(Either::Right));
            }
            through(inner, &handler, request).await.map(|response| response.map(Either::Left))
        })
    }
}

/// Sends a request through the service, and once more where the answer is a claims challenge.
async fn through<S, B, R>(
    mut inner: S,
    handler: &MessageHandler,
    request: Request<B>,
) -> Result<Response<R>, BoxError>
where
    S: Service<Request<RequestBody>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (mut parts, body) = request.into_parts();
    let mut header = handler.authorize(&mut parts.headers).await?;
    let body = RequestBody::stream(body).buffered(handler.replay_limit()).await?;
    let kept = body.bytes().cloned();
    let mut response = inner.call(Request::from_parts(parts.clone(), body)).await.map_err(Into::into)?;
    if let Some(kept) = kept
        && let Some(next) =
            handler.challenged(response.status(), response.headers(), &mut parts.headers).await?
    {
        poll_fn(|context| inner.poll_ready(context)).await.map_err(Into::into)?;
        response = inner.call(Request::from_parts(parts, kept.into())).await.map_err(Into::into)?;
        header = next;
    }
    response.extensions_mut().insert(header);
    Ok(response)
}
