//! Actions and events, one for one.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};

use symbolon_protocol::acquisition as core_acquisition;
use symbolon_protocol::acquisition::{Acquisition, Found};
use symbolon_protocol::credential::SignedAssertion;
use symbolon_protocol::platform::{self as core_platform};
use symbolon_protocol::response::{
    self, HttpResponse, MAX_BODY_BYTES, TransportErrorKind, wants_challenge, wants_date, wants_retry_after,
};
use symbolon_protocol::token_request::{self, Method, UrlScheme};

use crate::bindings::exports::symbolon::core::acquisition::{
    Action, Context, Event, Fact, KnownFact, Request, Signing,
};
use crate::bindings::exports::symbolon::core::cache;
use crate::bindings::exports::symbolon::core::credentials;
use crate::bindings::exports::symbolon::core::http;
use crate::bindings::exports::symbolon::core::types::Error;
use crate::convert;

/// An acquisition and what its answers can't tell by themselves.
pub(crate) struct Machine {
    acquisition: Acquisition,
    /// Whether the last request went out without TLS.
    is_plain: bool,
}

impl Machine {
    pub(crate) fn start(request: Request, context: Context) -> Result<(Machine, Action), Error> {
        let started = Acquisition::start(convert::request(request), &convert::context(context));
        let (acquisition, first) = started.map_err(convert::error)?;
        let mut machine = Machine { acquisition, is_plain: false };
        let first = machine.action(first);
        Ok((machine, first))
    }

    pub(crate) fn handle(&mut self, event: Event) -> Action {
        let event = self.event(event);
        let next = self.acquisition.handle(event);
        self.action(next)
    }

    fn action(&mut self, action: core_acquisition::Action) -> Action {
        use core_acquisition::Action as From;
        match action {
            From::Find(lookup) => Action::Find(convert::lookup(lookup)),
            From::Select(purpose) => Action::Select(convert::purpose(purpose)),
            From::DescribePlatform => Action::DescribePlatform,
            From::SelectSecret(name) => Action::SelectSecret(name),
            From::SelectChallengeFile(path) => Action::SelectChallengeFile(path),
            From::SelectIssued => Action::SelectIssued,
            From::RequestCertificate(subject) => {
                Action::RequestCertificate(convert::certificate_subject(subject))
            }
            From::InstallCertificate(new) => Action::InstallCertificate(credentials::NewCertificate {
                certificate: new.der,
                client_id: new.client_id,
                token_endpoint: new.token_endpoint,
            }),
            From::Sign { algorithm, signing_input } => {
                Action::Sign(Signing { algorithm: convert::algorithm(algorithm), signing_input })
            }
            From::Assert(context) => Action::Assert(convert::assertion_context(context)),
            From::Send(request) => {
                self.is_plain = request.scheme == UrlScheme::Http;
                Action::Send(http_request(request))
            }
            From::Wait { milliseconds } => Action::Wait(milliseconds),
            From::Report(outcome) => Action::Report(convert::outcome(outcome)),
            From::Recall(known) => Action::Recall(fact(known)),
            From::Remember { fact: known, value, ttl_ms } => {
                Action::Remember(KnownFact { fact: fact(known), value, ttl_ms })
            }
            From::Put(store) => Action::Put(cache::Store {
                entries: store.entries.into_iter().map(convert::saved).collect(),
                replaced_groups: store.replaced_groups,
                ends_flight: store.ends_flight,
            }),
            From::Fail(error) => Action::Fail(convert::error(error)),
            From::Finish(result) => {
                Action::Finish(result.map(|token| convert::access_token(*token)).map_err(convert::error))
            }
        }
    }

    fn event(&self, event: Event) -> core_acquisition::Event {
        use core_acquisition::Event as To;
        match event {
            Event::Found(found) => To::Found(self::found(found)),
            Event::Selected(selected) => {
                To::Selected(selected.map(convert::description).map_err(convert::credential_error))
            }
            Event::Platform(platform) => {
                To::Platform(convert::platform(platform.variables, platform.arc_agent_installed))
            }
            Event::Issued(issued) => To::Issued(issued.map(|issued| Box::new(issued_certificate(issued)))),
            Event::CertificateRequested(made) => To::CertificateRequested(
                made.map(convert::certificate_request).map_err(convert::credential_error),
            ),
            Event::Installed(installed) => To::Installed(installed.map_err(convert::credential_error)),
            Event::Signed(signature) => To::Signed(signature.map_err(convert::credential_error)),
            Event::Asserted(assertion) => {
                let assertion: Result<SignedAssertion, _> = assertion.map(convert::signed_assertion);
                To::Asserted(assertion.map_err(convert::credential_error))
            }
            Event::Answered(Ok(response)) => To::Answered(http_response(response, self.is_plain)),
            Event::Answered(Err(error)) => To::Answered(Err(transport_error(error))),
            Event::Waited(now) => To::Waited { now },
            Event::Reported => To::Reported,
            Event::Recalled(value) => To::Recalled(value),
            Event::Remembered => To::Remembered,
            Event::Stored => To::Stored,
            Event::Failed => To::Failed,
        }
    }
}

fn found(found: cache::Found) -> Found {
    match found {
        cache::Found::Hit(entry) => Found::Hit(convert::entry(entry)),
        cache::Found::Lead(lead) => Found::Lead { absence: convert::absence(lead.absence), now: lead.now },
        cache::Found::Failed(error) => Found::Failed(Box::new(convert::failed_flight(error))),
        cache::Found::Miss => Found::Miss,
    }
}

fn fact(fact: core_acquisition::Fact) -> Fact {
    Fact { kind: convert::fact_kind(fact.kind), key: fact.key }
}

fn issued_certificate(issued: credentials::IssuedCertificate) -> core_platform::IssuedCertificate {
    core_platform::IssuedCertificate {
        credential: convert::description(issued.credential),
        client_id: issued.client_id,
        token_endpoint: issued.token_endpoint,
        attested: issued.attested,
    }
}

fn http_request(request: token_request::HttpRequest) -> http::HttpRequest {
    let scheme = match request.scheme {
        UrlScheme::Http => "http",
        UrlScheme::Https => "https",
    };
    let method = match request.method {
        Method::Get => "GET",
        Method::Post => "POST",
    };
    http::HttpRequest {
        method: method.to_string(),
        url: format!("{scheme}://{}{}", request.authority, request.path_with_query),
        headers: request.headers,
        body: request.body,
        presentation: convert::presentation(request.presentation),
        connect_timeout_ms: request.connect_timeout_ms,
        answer_timeout_ms: request.answer_timeout_ms,
    }
}

fn http_response(
    response: http::HttpResponse,
    is_plain: bool,
) -> Result<HttpResponse, response::TransportError> {
    if response.body.len() as u64 > MAX_BODY_BYTES {
        return Err(response::TransportError {
            kind: TransportErrorKind::ResponseTooLarge,
            detail: format!("more than {MAX_BODY_BYTES} bytes"),
            may_be_sent: true,
        });
    }
    let status = response.status;
    let header = |is_wanted: bool, name: &str| -> Option<String> {
        let mut named = response.headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case(name));
        named.next().filter(|_| is_wanted).map(|(_, value)| value.clone())
    };
    Ok(HttpResponse {
        status,
        retry_after: header(wants_retry_after(status), "retry-after"),
        challenge: header(wants_challenge(status), "www-authenticate"),
        date: header(wants_date(status), "date"),
        server: header(is_plain, "server"),
        body: response.body,
    })
}

fn transport_error(error: http::TransportError) -> response::TransportError {
    use http::TransportErrorKind as From;
    response::TransportError {
        kind: match error.kind {
            From::NameResolution => TransportErrorKind::NameResolution,
            From::Connection => TransportErrorKind::Connection,
            From::Timeout => TransportErrorKind::Timeout,
            From::Tls => TransportErrorKind::Tls,
            From::ServerCertificate => TransportErrorKind::ServerCertificate,
            From::Denied => TransportErrorKind::Denied,
            From::ResponseTooLarge => TransportErrorKind::ResponseTooLarge,
            From::Protocol => TransportErrorKind::Protocol,
            From::Internal => TransportErrorKind::Internal,
        },
        detail: error.detail,
        may_be_sent: error.may_be_sent,
    }
}
