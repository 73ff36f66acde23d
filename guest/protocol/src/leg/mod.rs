//! One token request, with its look into the cache before and what is kept of the answer after.

mod bound;
mod learn;
mod look_up;
mod pause;
mod request;
mod result;
mod rotation;
mod sign_in;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};

use self::learn::{Learnt, Quest};
use crate::acquisition::{Action, Event};
use crate::authority::SignatureAlgorithm;
use crate::cloud::{self, Environment, MtlsNotSupported};
use crate::credential::{Authentication, Description, Purpose};
use crate::error::{Error, ErrorKind};
use crate::grant::Grant;
use crate::managed_identity::Inquiry;
use crate::plan::{Need, Plan, ProofSource, TokenBinding};
use crate::platform::IssuedCertificate;
use crate::request::{AccessToken, CacheRefreshReason, Context};
use crate::response::{REQUEST_TIMEOUT, TokenResponse};
use crate::throttle::Mark;

/// What the requests of an acquisition know of the world.
pub(crate) struct World {
    /// The time now, in Unix milliseconds.
    pub(crate) now: u64,
    /// When the acquisition must have ended, in Unix milliseconds.
    pub(crate) deadline: u64,
    seed: [u64; 4],
    /// How many assertions were begun: each has an id of its own.
    assertions: u32,
    /// How many flights were begun that nobody may join.
    flights: u32,
}

impl World {
    pub(crate) fn new(context: &Context) -> World {
        World { now: context.now, deadline: context.deadline, seed: context.seed, assertions: 0, flights: 0 }
    }

    fn now_seconds(&self) -> u64 {
        self.now / 1000
    }

    /// What is left of the time, in milliseconds.
    pub(crate) fn remaining_ms(&self) -> Result<u64, Error> {
        match self.deadline.saturating_sub(self.now) {
            0 => Err(Error {
                retryable: true,
                ..Error::new(
                    ErrorKind::TransportFailed,
                    REQUEST_TIMEOUT,
                    "The time for the acquisition was over before the request could be sent.",
                )
            }),
            remaining_ms => Ok(remaining_ms),
        }
    }
}

/// What a token request wants next.
pub(crate) enum Step {
    /// Something is to be done outside.
    Do(Action),
    /// Another token is needed first.
    Need(Need),
    /// It is over.
    Done(Result<Box<AccessToken>, Error>),
}

/// A token that another request needs.
#[derive(Clone)]
pub(crate) struct Supplied {
    token: String,
    /// Whether it is bound to the credential's certificate.
    bound: bool,
    /// The credential that was selected to get it.
    credential: Option<Description>,
}

/// One token request.
pub(crate) struct Leg {
    plan: Plan,
    state: State,
    /// Whether a flight waits for this request.
    leads: bool,
    /// Whether the cache held something that can't be used.
    distrusts_cache: bool,
    /// Why the cache didn't serve.
    reason: CacheRefreshReason,
    credential: Option<Description>,
    /// The certificate of the managed identity; `credential` is the same.
    issued: Option<Box<IssuedCertificate>>,
    /// The certificate that the authority refused.
    refused: Option<String>,
    /// The token by which an agent proves itself.
    agent_assertion: Option<Supplied>,
    /// The refresh token of the cache, while it is tried in the place of the plan's own grant.
    redeemed: Option<Grant>,
    /// Whether others wait to redeem the same refresh token, or what takes its place.
    holds_refresh_token: bool,
    /// Whether the authority has given something for the refresh token, whatever is made of that.
    has_redeemed: bool,
    /// To whom the long-running process belongs that is being initiated, if it is there.
    session_owner: Option<SessionOwner>,
    /// Whether that was looked up.
    knows_owner: bool,
    /// The SHA-256, in lower-case hexadecimal, of the token in the cache that a claims challenge refused.
    refused_token: Option<String>,
    learnt: Learnt,
    checked_pause: bool,
    connection: Connection,
    retried: bool,
    reloaded: bool,
}

/// What became of a credential's preference for a connection that is bound to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Connection {
    Undecided,
    /// Nothing speaks against it so far.
    Bound,
    Unbound,
}

/// To whom a long-running process belongs.
struct SessionOwner {
    home_account_id: String,
}

/// What is under way.
enum State {
    /// The certificate is selected that the token must be bound to.
    Binding,
    /// The user of the long-running process is looked up.
    FindingOwner,
    /// The assertion is looked up with which the process was initiated.
    FindingAssertion,
    /// The token is looked up that a claims challenge refused.
    FindingRefused,
    Finding,
    /// Nobody else redeems the refresh token meanwhile.
    HoldingRefreshToken,
    FindingRefreshToken,
    Needing(Need),
    Selecting,
    Asserting(Route),
    Signing(Signing),
    /// Whether the connection can be bound to the certificate is looked up.
    Recalling,
    /// That it can't be is kept in mind.
    Remembering,
    Sending(Route),
    /// What is known of the authority's cloud is looked up.
    RecallingInstance,
    /// Something is found out that the request depends on.
    Learning(Box<Quest>),
    /// The credential is reported as accepted.
    Accepting(Box<(Route, TokenResponse)>),
    /// The platform is asked.
    Inquiring(Box<Inquiry>),
    /// A pause that the authority asked for is looked up: of requests like this one, or of the client.
    CheckingPause {
        of_client: bool,
    },
    /// The pause of a refusal is remembered; the one that the client has is looked up; and renewed.
    Marking(Error, Mark),
    Widening(Error, Mark),
    Widened(Error),
    /// Before the one retry; with the error that caused it.
    Pausing(Error),
    Rejecting(Error),
    Reloading(Error),
    Storing(Box<AccessToken>),
    /// The refresh token is there for others again.
    Releasing(Error),
    Failing(Error),
    Finished,
}

/// Where a request goes and how the client authenticates there.
#[derive(Clone)]
pub(crate) struct Route {
    authentication: Authentication,
    pub(crate) environment: Environment,
    pub(crate) endpoint: String,
}

/// A signature under way.
struct Signing {
    route: Route,
    algorithm: SignatureAlgorithm,
    input: String,
}

impl Leg {
    pub(crate) fn new(plan: Plan) -> Leg {
        Leg {
            learnt: Learnt { instance: plan.instance.clone(), ..Learnt::default() },
            plan,
            state: State::Finished,
            leads: false,
            distrusts_cache: false,
            reason: CacheRefreshReason::NotApplicable,
            credential: None,
            issued: None,
            refused: None,
            agent_assertion: None,
            redeemed: None,
            holds_refresh_token: false,
            has_redeemed: false,
            session_owner: None,
            knows_owner: false,
            refused_token: None,
            checked_pause: false,
            connection: Connection::Undecided,
            retried: false,
            reloaded: false,
        }
    }

    pub(crate) fn start(&mut self, world: &mut World) -> Step {
        if self.plan.sign_in.is_some() {
            return self.attempt(world);
        }
        if self.is_instance_unknown() && self.learnt.instance.is_none() {
            return self.recall_instance();
        }
        self.start_known(world)
    }

    fn start_known(&mut self, world: &mut World) -> Step {
        match self.plan.binding {
            // What the token is bound to is part of the question.
            TokenBinding::Certificate if matches!(self.plan.proof, ProofSource::Platform(_)) => {
                self.inquire(world)
            }
            TokenBinding::Certificate | TokenBinding::CertificateIfBound if self.credential.is_none() => {
                let purpose = self.purpose();
                self.proceed(State::Binding, Action::Select(purpose))
            }
            TokenBinding::Certificate | TokenBinding::CertificateIfBound => self.bind(world),
            TokenBinding::Bearer if self.wants_refused_token() => self.find_refused(world),
            TokenBinding::Bearer | TokenBinding::SigningKey(_) => self.find(world),
        }
    }

    /// Takes what became of the last action and says what to do next.
    pub(crate) fn handle(&mut self, event: Event, world: &mut World) -> Step {
        match (core::mem::replace(&mut self.state, State::Finished), event) {
            (State::Binding, Event::Selected(result)) => self.selected(result, world, Leg::bind),
            (State::FindingOwner, Event::Found(found)) => self.found_owner(found, world),
            (State::FindingAssertion, Event::Found(found)) => self.found_assertion(&found, world),
            (State::FindingRefused, Event::Found(found)) => self.found_refused(&found, world),
            (State::Finding, Event::Found(found)) => self.found(found, world),
            (State::HoldingRefreshToken, Event::Found(found)) => self.held_refresh_token(found, world),
            (State::FindingRefreshToken, Event::Found(found)) => self.found_refresh_token(found, world),
            (State::Selecting, Event::Selected(result)) => self.selected(result, world, Leg::attempt),
            (State::Recalling, Event::Recalled(known)) => self.recalled(known.is_some(), world),
            (State::Remembering, Event::Remembered) => self.go_unbound(world),
            (State::Asserting(route), Event::Asserted(result)) => self.asserted(route, result, world),
            (State::Signing(signing), Event::Signed(result)) => self.signed(signing, result, world),
            (State::Sending(route), Event::Answered(result)) => self.answered(route, result, world),
            (State::Accepting(answer), Event::Reported) => self.accepted(&answer.0, &answer.1, world),
            (State::Inquiring(mut inquiry), event) => {
                let turn = inquiry.handle(event, world);
                self.inquired(inquiry, turn, world)
            }
            (State::RecallingInstance, Event::Recalled(fact)) => {
                self.recalled_instance(fact.as_deref(), world)
            }
            (State::Learning(quest), event) => self.learning(quest, event, world),
            (State::CheckingPause { of_client }, Event::Recalled(mark)) => {
                self.checked_pause(of_client, mark.as_deref(), world)
            }
            (State::Marking(error, mark), Event::Remembered) => self.marked(error, mark),
            (State::Widening(error, mark), Event::Recalled(earlier)) => {
                self.widen(error, &mark, earlier.as_deref())
            }
            (State::Widened(error), Event::Remembered) => self.fail(error),
            (State::Pausing(error), Event::Waited { now }) => self.waited(error, now, world),
            (State::Rejecting(error), Event::Reported) => self.rejected(error),
            (State::Reloading(error), Event::Selected(result)) => self.reloaded(error, result, world),
            (State::Storing(token), Event::Stored) => self.stored(token),
            (State::Releasing(error), Event::Stored) => self.fail(error),
            (State::Failing(error), Event::Failed) => Step::Done(Err(error)),
            _ => self.fail(Error::unexpected_event()),
        }
    }

    /// The request for a token that this one needs first. It proves the same credential, where one is selected already.
    pub(crate) fn prerequisite(&self, need: Need) -> Result<Leg, Error> {
        let agent = self.plan.agent().ok_or_else(|| {
            Error::new(ErrorKind::ProtocolViolation, "unexpected_event", "Only agents need further tokens.")
        })?;
        let leg = Leg::new(self.plan.prerequisite(agent, need)?);
        Ok(Leg { credential: self.credential.clone(), ..leg })
    }

    /// What this request's token is to the one that needs it.
    pub(crate) fn supplied(&self, token: &AccessToken) -> Supplied {
        Supplied {
            token: token.token.clone(),
            bound: token.key_id.is_some(),
            credential: self.credential.clone(),
        }
    }

    /// Takes what was needed.
    pub(crate) fn supply(
        &mut self,
        need: Need,
        supplied: Result<Supplied, Error>,
        world: &mut World,
    ) -> Step {
        match (core::mem::replace(&mut self.state, State::Finished), supplied) {
            (State::Needing(_), Err(error)) => self.fail(error),
            (State::Needing(Need::AgentAssertion), Ok(supplied)) if need == Need::AgentAssertion => {
                if supplied.credential.is_some() {
                    self.credential.clone_from(&supplied.credential);
                }
                self.agent_assertion = Some(supplied);
                self.begin(world)
            }
            (State::Needing(Need::UserCredential), Ok(supplied)) if need == Need::UserCredential => {
                if let Some(Grant::UserFederated { credential, .. }) = &mut self.plan.grant {
                    *credential = Some(supplied.token);
                }
                self.begin(world)
            }
            _ => self.fail(Error::new(
                ErrorKind::ProtocolViolation,
                "unexpected_event",
                "A token came that nobody needs.",
            )),
        }
    }

    fn proceed(&mut self, state: State, action: Action) -> Step {
        self.state = state;
        Step::Do(action)
    }

    fn or_fail(&mut self, result: Result<Step, Error>) -> Step {
        result.unwrap_or_else(|error| self.fail(error))
    }

    fn fail(&mut self, error: Error) -> Step {
        let correlation_id = match error.correlation_id.is_empty() {
            true => self.plan.correlation_id.clone(),
            false => error.correlation_id,
        };
        let error = Error { correlation_id, ..error };
        if core::mem::take(&mut self.holds_refresh_token) {
            return self.release_refresh_token(error);
        }
        if core::mem::take(&mut self.leads) {
            return self.proceed(State::Failing(error.clone()), Action::Fail(error));
        }
        self.state = State::Finished;
        Step::Done(Err(error))
    }

    /// What the next request asks by.
    fn grant(&self) -> Option<&Grant> {
        self.redeemed.as_ref().or(self.plan.grant.as_ref())
    }

    fn is_single_use(&self) -> bool {
        self.grant().is_some_and(|grant| grant.is_single_use(self.plan.authority.kind()))
    }

    /// The region whose endpoint is asked.
    fn region(&self, mtls: bool) -> Option<&crate::region::Region> {
        let is_regional = mtls || self.grant().is_some_and(Grant::is_regional);
        self.plan.region.as_ref().filter(|_| is_regional)
    }

    fn purpose(&self) -> Purpose {
        match self.plan.binding {
            TokenBinding::Certificate => Purpose::Bind,
            _ => Purpose::Authenticate,
        }
    }

    /// What the token is bound to. Bearer tokens are bound to nothing, whatever connection brought them.
    fn key_id(&self) -> Option<&str> {
        match &self.plan.binding {
            TokenBinding::Bearer | TokenBinding::CertificateIfBound => None,
            TokenBinding::Certificate => self.credential.as_ref().and_then(Description::thumbprint),
            TokenBinding::SigningKey(key) => Some(key.key_id()),
        }
    }

    fn credential(&self) -> Result<&Description, Error> {
        self.credential.as_ref().ok_or_else(|| {
            Error::new(
                ErrorKind::CredentialUnavailable,
                "credential_unavailable",
                "No credential was selected.",
            )
        })
    }

    fn environment(&self, mtls: bool) -> Result<Environment, Error> {
        if matches!(self.plan.proof, ProofSource::Platform(_)) {
            return Ok(Environment::of_host(self.plan.authority.host()));
        }
        let (authority, region) = (&self.plan.authority, self.region(mtls));
        let mut environment = cloud::environment(authority, region, mtls)
            .map_err(|error| Error::invalid_request(MtlsNotSupported::CODE, error.to_string()))?;
        if let Some(instance) = &self.learnt.instance {
            environment.learn(instance, authority.host_and_port().1, mtls || region.is_some());
        }
        Ok(environment)
    }

    fn route(&self, authentication: Authentication) -> Result<Route, Error> {
        let environment = self.environment(authentication.mtls)?;
        let endpoint = match (&self.issued, &self.learnt.provider) {
            (Some(issued), _) => Some(issued.token_endpoint.clone()),
            (_, Some(provider)) => Some(provider.token_endpoint(authentication.mtls).into()),
            _ => self.plan.authority.with_host(&environment.network_host).token_endpoint(),
        };
        let endpoint = endpoint.ok_or_else(|| self.no_endpoint("token"))?;
        let network_host = endpoint.split('/').nth(2).unwrap_or_default().into();
        let environment = Environment { network_host, ..environment };
        Ok(Route { authentication, environment, endpoint })
    }

    fn no_endpoint(&self, name: &str) -> Error {
        let message = format!("{} has no {name} endpoint.", self.plan.authority.canonical());
        Error::invalid_request("invalid_authority", message)
    }
}

/// A token that expires within this time isn't used any more.
const EXPIRY_BUFFER_SECONDS: u64 = 300;
