//! Sending a call: once, and once more where the API says what it takes.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{Request, Response};
use symbolon_resources::credentials::Outcome;
use symbolon_resources::transport::{Body, TransportError};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use super::authorization::{AuthorizationHeader, authorize};
use super::body::Content;
use super::error::{DownstreamError, DownstreamErrorKind};
use super::redirect;
use super::request::DownstreamRequest;
use super::response::{DownstreamResponse, NotRetried, Presented};
use super::review::{self, Verdict};
use crate::application::Application;
use crate::engine::Origin;
use crate::error::Result;
use crate::recorder::{Event, RecordedRequest, RequestEnded, next_number};
use crate::result::AuthenticationResult;
use crate::session_key::SessionKey;

/// Sends a call.
pub(super) async fn send(mut request: DownstreamRequest) -> Result<DownstreamResponse> {
    let deadline = request.options.limits.timeout.map(|timeout| (Instant::now() + timeout, timeout));
    let application = request.application()?;
    let (parts, body) = request.build()?;
    let span = tracing::debug_span!(
        "symbolon.downstream.call",
        api = request.api.name(),
        method = %parts.method,
        host = parts.uri.host().unwrap_or_default(),
        scheme = request.options.protocol_scheme.as_str(),
    );
    let key = request.options.acquire_token_options.long_running_session_key.clone();
    let (number, end) = (next_number(), deadline.map(|(end, _)| end));
    let call = Call { request, application, parts, key, deadline: end, number };
    match deadline {
        None => call.run(body).instrument(span).await,
        Some((end, timeout)) => {
            let api = call.request.api.name.clone();
            timeout_at(end, call.run(body).instrument(span)).await.unwrap_or_else(|_| {
                let message = format!("it didn't end within {} s", timeout.as_secs_f32());
                Err(DownstreamError::new(DownstreamErrorKind::DeadlineExceeded, &api, message).into())
            })
        }
    }
}

/// A call and what it takes to send it.
struct Call {
    request: DownstreamRequest,
    application: Application,
    /// The request as it is before anything is presented.
    parts: Parts,
    key: Option<SessionKey>,
    deadline: Option<Instant>,
    /// The number under which it is recorded.
    number: u64,
}

/// What became of an attempt.
type Outcomes = Result<Response<Body>, TransportError>;

impl Call {
    async fn run(mut self, body: symbolon_resources::transport::RequestBody) -> Result<DownstreamResponse> {
        let limits = &self.request.options.limits;
        let mut content = match Content::read(body, limits.replay_limit).await {
            Ok(content) => content,
            Err(error) => {
                let message = format!("the body could not be read: {error}");
                return Err(self.error(DownstreamErrorKind::InvalidRequest, message));
            }
        };
        let (mut parts, mut header) = self.authorized(None).await?;
        let mut attempt = 1;
        loop {
            let recorded = self.record_sending(&parts, &header, attempt);
            let began = Instant::now();
            let (outcome, is_presented) = self.exchange(parts, &header, &mut content).await;
            self.record_end(recorded.as_ref(), &header, &outcome, began);
            // Who was shown nothing has no say in it.
            if !is_presented {
                return self.answer(outcome, header, attempt, None);
            }
            let verdict = review::review(&self.application, &self.request.options, &outcome, attempt).await?;
            let next = match verdict {
                Verdict::Accept => {
                    if outcome.as_ref().is_ok_and(|response| response.status().is_success()) {
                        header.report(&self.application, Outcome::Used);
                    }
                    return self.answer(outcome, header, attempt, None);
                }
                Verdict::AcquireWithClaims(claims) if attempt == 1 && content.is_left() => {
                    self.authorized(Some(claims)).await?
                }
                Verdict::AcquireWithClaims(_) => {
                    let why = (attempt == 1).then_some(NotRetried::Body);
                    return self.answer(outcome, header, attempt, why);
                }
                Verdict::ReselectCertificate => {
                    header.report(&self.application, Outcome::Rejected);
                    if attempt > 1 {
                        return self.answer(outcome, header, attempt, None);
                    }
                    if !content.is_left() {
                        return self.answer(outcome, header, attempt, Some(NotRetried::Body));
                    }
                    match self.authorized(None).await {
                        Ok((_, next)) if next.presents_same_certificate(&header) => {
                            return self.answer(outcome, header, attempt, Some(NotRetried::SameCertificate));
                        }
                        Ok(next) => next,
                        Err(error) => {
                            let why = NotRetried::NoCertificate(error.to_string().into());
                            return self.answer(outcome, header, attempt, Some(why));
                        }
                    }
                }
            };
            (parts, header) = next;
            attempt += 1;
        }
    }

    /// What is presented, and the request with it.
    async fn authorized(&mut self, claims: Option<String>) -> Result<(Parts, AuthorizationHeader)> {
        let DownstreamRequest { options, user_assertion, .. } = &self.request;
        let mut parts = self.parts.clone();
        if let Some(hook) = &options.before_authorization {
            hook.run(&mut parts);
        }
        let user = user_assertion.as_ref();
        let header = authorize(&self.application, options, user, &mut self.key, claims).await?;
        if let Some(value) = header.value() {
            parts.headers.insert(AUTHORIZATION, value.clone());
        }
        for hook in [&options.after_authorization, &options.customize].into_iter().flatten() {
            hook.run(&mut parts);
        }
        Ok((parts, header))
    }

    /// Tells those who record of a request that is about to be sent. Gives what is recorded of it, where anybody records.
    fn record_sending(
        &self,
        parts: &Parts,
        header: &AuthorizationHeader,
        attempt: u32,
    ) -> Option<RecordedRequest> {
        let inner = &self.application.inner;
        if !inner.recorders.is_there() {
            return None;
        }
        let recorded = RecordedRequest {
            certificate: header.binding_certificate().map(|binding| binding.thumbprint_sha256().to_owned()),
            ..RecordedRequest::new(attempt, &parts.method, &parts.uri, &parts.headers, None)
        };
        inner.record(self.origin(header), 0, || Event::RequestSent(&recorded));
        Some(recorded)
    }

    fn record_end(
        &self,
        recorded: Option<&RecordedRequest>,
        header: &AuthorizationHeader,
        outcome: &Outcomes,
        began: Instant,
    ) {
        let Some(request) = recorded else { return };
        let outcome = outcome.as_ref().map(|response| response.status().as_u16());
        let ended = RequestEnded { request, outcome, body_bytes: None, duration: began.elapsed() };
        self.application.inner.record(self.origin(header), 0, || Event::RequestEnded(ended));
    }

    /// That of the call, in the words of those who record.
    fn origin(&self, header: &AuthorizationHeader) -> Origin {
        let correlation_id = header.authentication_result().map(AuthenticationResult::correlation_id);
        Origin::inside("downstream-api", correlation_id.unwrap_or_default(), self.number)
    }

    /// An attempt, and whether what gave the answer was presented anything.
    async fn exchange(
        &self,
        parts: Parts,
        header: &AuthorizationHeader,
        content: &mut Content,
    ) -> (Outcomes, bool) {
        let limits = &self.request.options.limits;
        let transport = &self.application.inner.api_transport;
        let (certificate, idle) = (header.binding_certificate(), limits.idle_timeout);
        let Some(body) = content.take() else {
            return (Err(TransportError::nothing_to_send(&parts.uri)), true);
        };
        if !limits.follow_redirects {
            let request = Request::from_parts(parts, body);
            return (transport.exchange(request, certificate, self.deadline, idle).await, true);
        }
        let sending = redirect::Sending { transport, certificate, deadline: self.deadline, idle };
        sending.follow(parts, body, content).await
    }

    fn answer(
        self,
        outcome: Outcomes,
        header: AuthorizationHeader,
        attempts: u32,
        not_retried: Option<NotRetried>,
    ) -> Result<DownstreamResponse> {
        let api = &self.request.api.name;
        if let Some(why) = &not_retried {
            tracing::warn!(api = &**api, %why, "the call was not repeated");
        }
        let response = outcome.map_err(|error| DownstreamError::transport(api, error))?;
        let presented = Presented { header, attempts, not_retried };
        let limit = self.request.options.limits.max_response_bytes;
        Ok(DownstreamResponse::new(Arc::clone(api), response, presented, limit))
    }

    fn error(&self, kind: DownstreamErrorKind, message: String) -> crate::error::Error {
        DownstreamError::new(kind, &self.request.api.name, message).into()
    }
}
