//! A token for an identity that the platform manages: which source gives it, how that is asked, and how often.
//!
//! The token request around it looks into the cache before and stores the token after, as for any other token.

mod answer;
mod question;
mod retry;
mod source;
mod timestamp;

use alloc::boxed::Box;
use alloc::string::String;

use self::retry::Retries;
use self::source::Source;
use crate::acquisition::{Action, Event};
use crate::credential::{CredentialError, Place};
use crate::error::{Error, ErrorKind};
use crate::leg::World;
use crate::platform::Platform;
use crate::response::{Exchange, HttpResponse, TokenResponse, TransportError, UNAUTHORIZED};
use crate::retry::is_time_left;
use crate::token_request::{HttpRequest, UrlScheme};

pub(crate) use self::question::{Question, prepare};

/// Asks the platform for a token.
pub(crate) struct Inquiry {
    question: Question,
    state: State,
}

/// What is under way.
enum State {
    /// The platform is described.
    Describing,
    /// The source's secret is selected, or the key of its challenge.
    Selecting(Box<Asking>),
    Sending(Box<Asking>),
    /// Before a retry; with the error that caused it.
    Pausing(Box<Asking>, Box<Error>),
    Finished,
}

/// A source that is being asked.
struct Asking {
    source: Source,
    request: HttpRequest,
    retries: Retries,
}

/// What an inquiry wants next.
pub(crate) enum Turn {
    /// Something is to be done outside.
    Do(Action),
    /// It is over.
    Done(Result<Brought, Error>),
}

/// What the platform gave.
pub(crate) struct Brought {
    pub(crate) response: TokenResponse,
    /// The endpoint that gave it, without a query.
    pub(crate) endpoint: String,
}

impl Inquiry {
    pub(crate) fn new(question: Question) -> Inquiry {
        Inquiry { question, state: State::Finished }
    }

    /// The source is detected by each inquiry anew: it costs nothing beside the request.
    pub(crate) fn start(&mut self) -> Turn {
        self.proceed(State::Describing, Action::DescribePlatform)
    }

    /// Takes what became of the last action and says what to do next.
    pub(crate) fn handle(&mut self, event: Event, world: &mut World) -> Turn {
        match (core::mem::replace(&mut self.state, State::Finished), event) {
            (State::Describing, Event::Platform(platform)) => self.described(&platform, world),
            (State::Selecting(asking), Event::Selected(result)) => match result {
                Ok(_) => self.send(asking, world),
                Err(error) => Turn::Done(Err(no_secret(error))),
            },
            (State::Sending(asking), Event::Answered(result)) => self.answered(asking, result, world),
            (State::Pausing(asking, error), Event::Waited { now }) => {
                world.now = now;
                if is_time_left(now, world.deadline) {
                    self.send(asking, world)
                } else {
                    Turn::Done(Err(*error))
                }
            }
            _ => Turn::Done(Err(Error::unexpected_event())),
        }
    }

    fn proceed(&mut self, state: State, action: Action) -> Turn {
        self.state = state;
        Turn::Do(action)
    }

    fn described(&mut self, platform: &Platform, world: &World) -> Turn {
        let source = Source::detect(platform);
        let request = match source.request(&self.question, platform) {
            Ok(request) => request,
            Err(error) => return Turn::Done(Err(error)),
        };
        let asking = Box::new(Asking { source, request, retries: Retries::of(source) });
        match source.secret() {
            Some(name) => self.proceed(State::Selecting(asking), Action::SelectSecret(name.into())),
            None => self.send(asking, world),
        }
    }

    fn send(&mut self, asking: Box<Asking>, world: &World) -> Turn {
        match world.remaining_ms() {
            Ok(remaining_ms) => {
                let request = asking.request.clone().within(remaining_ms);
                self.proceed(State::Sending(asking), Action::Send(request))
            }
            Err(error) => Turn::Done(Err(error)),
        }
    }

    fn answered(
        &mut self,
        asking: Box<Asking>,
        result: Result<HttpResponse, TransportError>,
        world: &World,
    ) -> Turn {
        let exchange = Exchange {
            token_type: "Bearer",
            client_id: self.question.client_id(),
            blueprint: None,
            host: &asking.request.authority,
            bound: false,
            single_use: false,
            correlation_id: &self.question.correlation_id,
            now: world.now,
        };
        let answer = match result {
            Ok(response) => match asking.challenge_file(&response) {
                Some(path) => return self.challenged(asking, path),
                None => answer::parse(&response, asking.source, &exchange),
            },
            Err(cause) => Err(answer::unreachable(&cause, &exchange)),
        };
        match answer {
            Ok(response) => {
                let endpoint = asking.endpoint();
                Turn::Done(Ok(Brought { response, endpoint }))
            }
            Err(error) => self.refused(asking, error, world),
        }
    }

    /// Azure Arc wants to see that the caller can read a file that only its administrators and its own group can.
    fn challenged(&mut self, mut asking: Box<Asking>, path: String) -> Turn {
        asking.request.headers.push((AUTHORIZATION.into(), "Basic ".into()));
        asking.request.presentation.secret = Some(Place::Header(AUTHORIZATION.into()));
        asking.retries = Retries::of(asking.source);
        self.proceed(State::Selecting(asking), Action::SelectChallengeFile(path))
    }

    /// A pause that the deadline would cut short isn't begun: what the caller does with the error, it can do now.
    fn refused(&mut self, mut asking: Box<Asking>, error: Error, world: &World) -> Turn {
        match asking.retries.pause_ms(&error) {
            Some(milliseconds) if is_time_left(world.now.saturating_add(milliseconds), world.deadline) => {
                self.proceed(State::Pausing(asking, Box::new(error)), Action::Wait { milliseconds })
            }
            _ => Turn::Done(Err(error)),
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

/// The error where the host has no secret for the source.
fn no_secret(error: CredentialError) -> Error {
    let kind = ErrorKind::CredentialUnavailable;
    Error { kind, code: REQUEST_FAILED.into(), ..Error::from(error) }
}

const AUTHORIZATION: &str = "authorization";

/// MSAL's code for a source that gives no token.
const REQUEST_FAILED: &str = "managed_identity_request_failed";
