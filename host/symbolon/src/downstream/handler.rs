//! Calls that another HTTP client sends.

use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap, Request, Response, StatusCode, Uri};
use symbolon_resources::configuration::ProtocolScheme;
use symbolon_resources::transport::Body;

use super::authorization::AuthorizationHeader;
use super::options::DownstreamApiOptions;
use super::request::DownstreamRequest;
use super::{DownstreamApi, headers, redirect, review, url};
use crate::acquire::UserAssertion;
use crate::error::Result;

/// One call that another HTTP client is to send: what it presents, and what its answer asks for. What middleware is made of,
/// such as the crates `symbolon-tower` and `symbolon-reqwest`.
#[doc(alias = "MicrosoftIdentityMessageHandler")]
#[derive(Debug)]
pub struct MessageHandler {
    api: DownstreamApi,
    user: Option<UserAssertion<'static>>,
}

impl DownstreamApi {
    /// How a call to this URL is to be handled. Its extensions may bring a [`DownstreamApiOptions`], which counts in the
    /// place of the API's own, and a [`UserAssertion`] of the user for whom it is.
    ///
    /// # Errors
    ///
    /// [`Error::Downstream`](crate::Error::Downstream) where the URL is of another origin than the base URL, there is no base
    /// URL, or there are no scopes to ask a token for.
    pub fn message_handler(&self, uri: &Uri, extensions: &Extensions) -> Result<MessageHandler> {
        let mut api = self.clone();
        if let Some(options) = extensions.get::<DownstreamApiOptions>() {
            (api.options, api.is_unchecked) = (options.clone().into(), true);
        }
        let base = api.options.base_url.clone();
        if !base.clone().and_then(url::parse).is_some_and(|base| redirect::is_same_origin(&base, uri)) {
            let (found, base) = (uri.host().unwrap_or_default(), base.unwrap_or_default());
            return Err(api.mistake(format!("the call is for {found:?}, and BaseUrl is {base:?}")));
        }
        if api.options.scopes.is_empty() && api.options.protocol_scheme != ProtocolScheme::Mtls {
            return Err(api.mistake("there are no scopes to ask a token for"));
        }
        Ok(MessageHandler { api, user: extensions.get().cloned() })
    }
}

impl MessageHandler {
    /// Whether a certificate is presented: the other client can't send the call then, and [`send`](Self::send) does.
    pub fn presents_certificate(&self) -> bool {
        self.api.options.protocol_scheme.presents_certificate()
    }

    /// Up to which length, in bytes, a body is to be kept for a second attempt.
    pub fn replay_limit(&self) -> usize {
        self.api.options.limits.replay_limit
    }

    /// Puts the `Authorization` header into the place of the call's own.
    ///
    /// # Errors
    ///
    /// Those of the acquisition.
    pub async fn authorize(&self, headers: &mut HeaderMap) -> Result<AuthorizationHeader> {
        present(self.with_user(self.api.call()), headers).await
    }

    /// What a second attempt presents, where the answer is a claims challenge. `headers` are those of the call: reserved
    /// ones are removed from them, and the new `Authorization` header is put in.
    ///
    /// # Errors
    ///
    /// Those of the acquisition.
    pub async fn challenged(
        &self,
        status: StatusCode,
        answer: &HeaderMap,
        headers: &mut HeaderMap,
    ) -> Result<Option<AuthorizationHeader>> {
        let Some(claims) = review::challenge(&self.api.application()?, status, answer).await? else {
            return Ok(None);
        };
        headers::strip(headers);
        present(self.with_user(self.api.call()).claims(claims), headers).await.map(Some)
    }

    /// Sends the call on a connection that presents the certificate, within the `timeout` where there is one: see
    /// [`DownstreamApi::forward`]. The answer brings the [`AuthorizationHeader`] as an extension.
    ///
    /// # Errors
    ///
    /// As [`DownstreamRequest::send`].
    pub async fn send<B>(
        &self,
        request: Request<B>,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<Response<Body>>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut call = self.with_user(self.api.forward(request));
        if let Some(timeout) = timeout.into() {
            call = call.timeout(timeout);
        }
        let response = call.send().await?;
        let header = response.presented().header.clone();
        let mut response = response.into_http();
        response.extensions_mut().insert(header);
        Ok(response)
    }

    fn with_user(&self, call: DownstreamRequest) -> DownstreamRequest {
        match &self.user {
            Some(user) => call.user_assertion(user.clone()),
            None => call,
        }
    }
}

async fn present(call: DownstreamRequest, headers: &mut HeaderMap) -> Result<AuthorizationHeader> {
    headers.remove(AUTHORIZATION);
    let header = call.authorization_header().await?;
    if let Some(value) = header.value() {
        headers.insert(AUTHORIZATION, value.clone());
    }
    Ok(header)
}
