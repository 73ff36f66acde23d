//! A token for an identity that the platform manages: which source gives it, how that is asked, and how often. And a
//! certificate for such an identity, by which it gets tokens itself that are bound to it.
//!
//! The token request around it looks into the cache before and stores the token after, as for any other token.

mod answer;
mod certificate;
mod question;
mod retry;
mod source;
mod timestamp;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use self::retry::Retries;
use self::source::Source;
use crate::acquisition::{Action, Event, Found, Lookup, Store};
use crate::credential::{CredentialError, CredentialErrorKind, Place};
use crate::error::{Error, ErrorKind};
use crate::leg::World;
use crate::platform::{CertificateRequest, IssuedCertificate, Platform};
use crate::response::{Exchange, HttpResponse, TokenResponse, TransportError, UNAUTHORIZED};
use crate::retry::is_time_left;
use crate::token_request::{HttpRequest, UrlScheme};

pub(crate) use self::question::{Question, prepare};

/// Asks the platform for a token, or for a certificate.
pub(crate) struct Inquiry {
    question: Question,
    wanted: Wanted,
    state: State,
    /// Whether others wait for the certificate that this one brings.
    leads: bool,
    /// Whether a certificate was installed.
    has_installed: bool,
}

/// What the platform is asked for.
pub(crate) enum Wanted {
    Token,
    /// One that was issued before is as good, unless it is this one (`x5t#S256`), or about to expire.
    Certificate {
        refused: Option<String>,
    },
}

/// What is under way.
enum State {
    /// What was issued before is selected.
    Looking,
    /// Another acquisition may be bringing a certificate.
    Joining,
    /// The platform is described.
    Describing,
    /// The source's secret is selected, or the key of its challenge.
    Selecting(Box<Asking>),
    Sending(Box<Asking>),
    /// Before a retry; with the error that caused it.
    Pausing(Box<Asking>, Box<Error>),
    /// The key is made.
    Requesting(Box<Asking>),
    Installing,
    /// Those who wait for the certificate are told.
    Landing(Box<IssuedCertificate>),
    Failing(Box<Error>),
    Finished,
}

/// A source that is being asked.
struct Asking {
    source: Source,
    step: AskedFor,
    request: HttpRequest,
    retries: Retries,
}

/// What a request is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AskedFor {
    Token,
    Metadata,
    Certificate,
}

/// What an inquiry wants next.
pub(crate) enum Turn {
    /// Something is to be done outside.
    Do(Action),
    /// Here is a token, and the endpoint that gave it, without a query.
    Token(TokenResponse, String),
    /// Here is a certificate that brings tokens; the credential that is selected.
    Certificate(Box<IssuedCertificate>),
}

/// Errors are large, and pass through many hands.
type Result<T> = core::result::Result<T, Box<Error>>;

impl Inquiry {
    pub(crate) fn new(question: Question, wanted: Wanted) -> Inquiry {
        Inquiry { question, wanted, state: State::Finished, leads: false, has_installed: false }
    }

    /// The source is detected by each inquiry anew: it costs nothing beside the request.
    pub(crate) fn start(&mut self) -> Turn {
        match self.wanted {
            Wanted::Token => self.proceed(State::Describing, Action::DescribePlatform),
            Wanted::Certificate { .. } => self.proceed(State::Looking, Action::SelectIssued),
        }
    }

    /// Takes what became of the last action and says what to do next.
    pub(crate) fn handle(&mut self, event: Event, world: &mut World) -> Result<Turn> {
        match self.step(event, world) {
            Err(error) if core::mem::take(&mut self.leads) => {
                let told = Action::Fail((*error).clone());
                Ok(self.proceed(State::Failing(error), told))
            }
            turn => turn,
        }
    }

    fn step(&mut self, event: Event, world: &mut World) -> Result<Turn> {
        match (core::mem::replace(&mut self.state, State::Finished), event) {
            (State::Looking, Event::Issued(issued)) => self.looked(issued, world),
            (State::Joining, Event::Found(Found::Failed(error))) => Err(error),
            (State::Joining, Event::Found(Found::Lead { now, .. })) => {
                world.now = now;
                self.leads = true;
                Ok(self.start())
            }
            (State::Describing, Event::Platform(platform)) => self.described(&platform, world),
            (State::Selecting(asking), Event::Selected(result)) => {
                result.map_err(no_secret)?;
                self.send(asking, world)
            }
            (State::Sending(asking), Event::Answered(result)) => self.answered(asking, result, world),
            (State::Pausing(asking, error), Event::Waited { now }) => {
                world.now = now;
                if is_time_left(now, world.deadline) { self.send(asking, world) } else { Err(error) }
            }
            (State::Requesting(asking), Event::CertificateRequested(result)) => {
                self.requested(asking, result.map_err(no_secret)?, world)
            }
            (State::Installing, Event::Installed(result)) => {
                result.map_err(no_secret)?;
                self.has_installed = true;
                Ok(self.start())
            }
            (State::Landing(issued), Event::Stored) => Ok(Turn::Certificate(issued)),
            (State::Failing(error), Event::Failed) => Err(error),
            _ => Err(Error::unexpected_event().into()),
        }
    }

    fn proceed(&mut self, state: State, action: Action) -> Turn {
        self.state = state;
        Turn::Do(action)
    }

    /// One acquisition gets the certificate while others wait, and look again then.
    fn looked(&mut self, issued: Option<Box<IssuedCertificate>>, world: &World) -> Result<Turn> {
        Ok(match (issued.filter(|issued| self.is_good(issued, world)), self.leads) {
            (Some(issued), false) => Turn::Certificate(issued),
            (Some(issued), true) => {
                self.leads = false;
                let store = Store { entries: Vec::new(), replaced_groups: Vec::new(), ends_flight: true };
                self.proceed(State::Landing(issued), Action::Put(store))
            }
            (None, _) if self.has_installed => return Err(certificate::useless()),
            (None, true) => self.proceed(State::Describing, Action::DescribePlatform),
            (None, false) => {
                let lookup = Lookup {
                    alternatives: Vec::new(),
                    expires_after: 0,
                    expires_before: 0,
                    bypass: true,
                    flight: Some(self.question.certificate_flight()),
                };
                self.proceed(State::Joining, Action::Find(lookup))
            }
        })
    }

    fn is_good(&self, issued: &IssuedCertificate, world: &World) -> bool {
        let Wanted::Certificate { refused } = &self.wanted else { return false };
        let Some(certificate) = &issued.credential.certificate else { return false };
        let lives = self.has_installed || certificate.not_after > world.now / 1000 + RENEWAL_SECONDS;
        lives && refused.as_ref() != Some(&certificate.thumbprint_sha256)
    }

    fn described(&mut self, platform: &Platform, world: &World) -> Result<Turn> {
        let source = Source::detect(platform);
        let (step, request) = match self.wanted {
            Wanted::Token => (AskedFor::Token, source.request(&self.question, platform)),
            Wanted::Certificate { .. } => {
                (AskedFor::Metadata, source.metadata_request(&self.question, platform))
            }
        };
        let asking = Box::new(Asking { source, step, request: request?, retries: Retries::of(source) });
        match source.secret() {
            Some(name) => Ok(self.proceed(State::Selecting(asking), Action::SelectSecret(name.into()))),
            None => self.send(asking, world),
        }
    }

    /// Has the key certified.
    fn requested(
        &mut self,
        mut asking: Box<Asking>,
        made: CertificateRequest,
        world: &World,
    ) -> Result<Turn> {
        source::ask_for_certificate(&mut asking.request, certificate::body(made));
        asking.step = AskedFor::Certificate;
        asking.retries = Retries::of(asking.source);
        self.send(asking, world)
    }

    fn send(&mut self, asking: Box<Asking>, world: &World) -> Result<Turn> {
        let request = asking.request.clone().within(world.remaining_ms()?);
        Ok(self.proceed(State::Sending(asking), Action::Send(request)))
    }

    fn answered(
        &mut self,
        asking: Box<Asking>,
        result: core::result::Result<HttpResponse, TransportError>,
        world: &World,
    ) -> Result<Turn> {
        let host = asking.request.authority.clone();
        let exchange = Exchange {
            token_type: "Bearer",
            client_id: self.question.client_id(),
            blueprint: None,
            host: &host,
            bound: false,
            single_use: false,
            correlation_id: &self.question.correlation_id,
            now: world.now,
        };
        let response = match result {
            Ok(response) => response,
            Err(cause) => return self.refused(asking, answer::unreachable(&cause, &exchange), world),
        };
        if let Some(path) = asking.challenge_file(&response) {
            return Ok(self.challenged(asking, path));
        }
        let said = match answer::members(&response, asking.source, &exchange) {
            Ok(said) => said,
            Err(mut error) => {
                if asking.step == AskedFor::Metadata {
                    certificate::explain(&mut error);
                }
                return self.refused(asking, error, world);
            }
        };
        let turn = match asking.step {
            AskedFor::Token => {
                answer::token(&said, &exchange).map(|token| Turn::Token(token, asking.endpoint()))
            }
            AskedFor::Metadata => certificate::subject(&said, response.server.as_deref(), &exchange)
                .map(|subject| self.proceed(State::Requesting(asking), Action::RequestCertificate(subject))),
            AskedFor::Certificate => certificate::issued(&said, &exchange)
                .map(|issued| self.proceed(State::Installing, Action::InstallCertificate(issued))),
        };
        turn.map_err(|mut error| {
            error.status = Some(response.status);
            error
        })
    }

    /// Azure Arc wants to see that the caller can read a file that only its administrators and its own group can.
    fn challenged(&mut self, mut asking: Box<Asking>, path: String) -> Turn {
        asking.request.headers.push((AUTHORIZATION.into(), "Basic ".into()));
        asking.request.presentation.secret = Some(Place::Header(AUTHORIZATION.into()));
        asking.retries = Retries::of(asking.source);
        self.proceed(State::Selecting(asking), Action::SelectChallengeFile(path))
    }

    /// A pause that the deadline would cut short isn't begun: what the caller does with the error, it can do now.
    fn refused(&mut self, mut asking: Box<Asking>, error: Box<Error>, world: &World) -> Result<Turn> {
        let pause_ms = match error.kind {
            ErrorKind::CredentialUnsupported => None,
            _ => asking.retries.pause_ms(&error),
        };
        match pause_ms {
            Some(milliseconds) if is_time_left(world.now.saturating_add(milliseconds), world.deadline) => {
                Ok(self.proceed(State::Pausing(asking, error), Action::Wait { milliseconds }))
            }
            _ => Err(error),
        }
    }
}

impl Asking {
    /// The file that the challenge of Azure Arc names, which comes once.
    fn challenge_file(&self, response: &HttpResponse) -> Option<String> {
        let may_come = self.source == Source::AzureArc && self.request.presentation.secret.is_none();
        let challenge =
            response.challenge.as_deref().filter(|_| may_come && response.status == UNAUTHORIZED)?;
        source::challenge_file(challenge).map(String::from)
    }

    fn endpoint(&self) -> String {
        let HttpRequest { scheme, authority, path_with_query, .. } = &self.request;
        let scheme = match scheme {
            UrlScheme::Http => "http",
            UrlScheme::Https => "https",
        };
        let path = path_with_query.split('?').next().unwrap_or_default();
        alloc::format!("{scheme}://{authority}{path}")
    }
}

/// The error where the host has no secret for the source, or no key that could be certified.
fn no_secret(error: CredentialError) -> Box<Error> {
    let (kind, code) = match error.kind {
        CredentialErrorKind::Unsupported => (ErrorKind::CredentialUnsupported, "mtls_pop_requires_keyguard"),
        _ => (ErrorKind::CredentialUnavailable, REQUEST_FAILED),
    };
    let mut error = Box::new(Error::from(error));
    error.kind = kind;
    error.code = code.into();
    error
}

/// A certificate that has less than this left is replaced before it is used, as in MSAL.
const RENEWAL_SECONDS: u64 = 24 * 60 * 60;

const AUTHORIZATION: &str = "authorization";

/// MSAL's code for a source that gives no token.
const REQUEST_FAILED: &str = "managed_identity_request_failed";
