//! The acquisition of a token as a machine without input and output of its own.
//!
//! [`Acquisition::start`] and [`Acquisition::handle`] say what to do next ([`Action`]); whoever runs the machine does it
//! and tells what became of it ([`Event`]), until the action is [`Action::Finish`], or [`Action::SignIn`] where a
//! sign-in was asked for. Each other action names the event that answers it.
//!
//! Most acquisitions are one token request. That of an agent may need tokens for the exchange first, which are token
//! requests of their own: each asks the cache, may lead a flight, and is stored by itself.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::authority::SignatureAlgorithm;
use crate::authorization::AuthorizationRequest;
use crate::cache::{AccessTokenItem, AccountItem, AppMetadataItem, IdTokenItem, RefreshTokenItem};
use crate::credential::{AssertionContext, CredentialError, Description, Outcome, Purpose, SignedAssertion};
use crate::error::{Error, ErrorKind};
use crate::leg::{Leg, Step, Supplied, World};
use crate::plan::{Need, Plan};
use crate::platform::{CertificateRequest, CertificateSubject, IssuedCertificate, NewCertificate, Platform};
use crate::request::{AccessToken, Context, Request};
use crate::response::{HttpResponse, TransportError};
use crate::token_request::HttpRequest;

/// What is to be done next. Its `Debug` shows the name alone: what it carries proves the client.
#[derive(Clone)]
pub enum Action {
    /// Look an entry up, and wait while another acquisition brings it. Answered by [`Event::Found`].
    Find(Lookup),
    /// Select a credential, which the following actions mean until the next selection. Answered by [`Event::Selected`].
    Select(Purpose),
    /// Tell what the platform says about itself. Answered by [`Event::Platform`].
    DescribePlatform,
    /// Select the secret of this name among the platform's variables as [`Action::Select`] does a credential. Answered by
    /// [`Event::Selected`].
    SelectSecret(String),
    /// Select the content of the file at this path, which Azure Arc's challenge names, in the same way. The host reads it
    /// only where it is one of the agent's keys. Answered by [`Event::Selected`].
    SelectChallengeFile(String),
    /// Select the certificate that was issued to the managed identity last, as [`Action::Select`] does a credential.
    /// Answered by [`Event::Issued`].
    SelectIssued,
    /// Make a key, and the request for its certificate. Answered by [`Event::CertificateRequested`].
    RequestCertificate(CertificateSubject),
    /// Install the certificate for the key that was made last. Answered by [`Event::Installed`].
    InstallCertificate(NewCertificate),
    /// Sign with the credential's key. Answered by [`Event::Signed`].
    Sign {
        /// How.
        algorithm: SignatureAlgorithm,
        /// What: `base64url(header) "." base64url(payload)`.
        signing_input: String,
    },
    /// Get the credential's assertion. Answered by [`Event::Asserted`].
    Assert(AssertionContext),
    /// Send the request and present the credential. Answered by [`Event::Answered`].
    Send(HttpRequest),
    /// Wait. Answered by [`Event::Waited`].
    Wait {
        /// For how long.
        milliseconds: u64,
    },
    /// Tell the provider what became of the credential. Answered by [`Event::Reported`].
    Report(Outcome),
    /// Look up what outlives the acquisition. Answered by [`Event::Recalled`].
    Recall(Fact),
    /// Keep something that outlives the acquisition. Answered by [`Event::Remembered`].
    Remember {
        /// What it is about.
        fact: Fact,
        /// What it says.
        value: Vec<u8>,
        /// For how long it is kept, in milliseconds.
        ttl_ms: u64,
    },
    /// Store the entries, and end the flight that was led last. Answered by [`Event::Stored`].
    Put(Store),
    /// End the flight that was led last with an error. Answered by [`Event::Failed`].
    Fail(Error),
    /// The acquisition is over.
    Finish(Result<Box<AccessToken>, Error>),
    /// The sign-in that was asked for has begun, and nothing more is to be done.
    SignIn(Box<AuthorizationRequest>),
}

/// What became of an action. Its `Debug` shows the name alone, as that of [`Action`].
#[derive(Clone)]
pub enum Event {
    /// What the cache has.
    Found(Found),
    /// The selected credential.
    Selected(Result<Description, CredentialError>),
    /// What the platform says about itself.
    Platform(Platform),
    /// The certificate of the managed identity, where there is one.
    Issued(Option<Box<IssuedCertificate>>),
    /// The request for a certificate.
    CertificateRequested(Result<CertificateRequest, CredentialError>),
    /// What became of the certificate.
    Installed(Result<(), CredentialError>),
    /// The signature.
    Signed(Result<Vec<u8>, CredentialError>),
    /// The assertion.
    Asserted(Result<SignedAssertion, CredentialError>),
    /// The authority's answer.
    Answered(Result<HttpResponse, TransportError>),
    /// The wait is over.
    Waited {
        /// The time now, in Unix milliseconds.
        now: u64,
    },
    /// The provider was told.
    Reported,
    /// What is known, if anything.
    Recalled(Option<Vec<u8>>),
    /// It is kept.
    Remembered,
    /// The entries are stored.
    Stored,
    /// The flight has ended.
    Failed,
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::Find(_) => "Find",
            Action::Select(_) => "Select",
            Action::DescribePlatform => "DescribePlatform",
            Action::SelectSecret(_) => "SelectSecret",
            Action::SelectChallengeFile(_) => "SelectChallengeFile",
            Action::SelectIssued => "SelectIssued",
            Action::RequestCertificate(_) => "RequestCertificate",
            Action::InstallCertificate(_) => "InstallCertificate",
            Action::Sign { .. } => "Sign",
            Action::Assert(_) => "Assert",
            Action::Send(_) => "Send",
            Action::Wait { .. } => "Wait",
            Action::Report(_) => "Report",
            Action::Recall(_) => "Recall",
            Action::Remember { .. } => "Remember",
            Action::Put(_) => "Put",
            Action::Fail(_) => "Fail",
            Action::Finish(_) => "Finish",
            Action::SignIn(_) => "SignIn",
        })
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Event::Found(_) => "Found",
            Event::Selected(_) => "Selected",
            Event::Platform(_) => "Platform",
            Event::Issued(_) => "Issued",
            Event::CertificateRequested(_) => "CertificateRequested",
            Event::Installed(_) => "Installed",
            Event::Signed(_) => "Signed",
            Event::Asserted(_) => "Asserted",
            Event::Answered(_) => "Answered",
            Event::Waited { .. } => "Waited",
            Event::Reported => "Reported",
            Event::Recalled(_) => "Recalled",
            Event::Remembered => "Remembered",
            Event::Stored => "Stored",
            Event::Failed => "Failed",
        })
    }
}

/// Which entry is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// In order of preference. An alternative is found when one entry holds all of its keys.
    pub alternatives: Vec<Vec<String>>,
    /// A token that expires at this time or before counts as expired, in Unix seconds.
    pub expires_after: u64,
    /// A token that expires later than this is corrupt, in Unix seconds.
    pub expires_before: u64,
    /// Look past what the cache holds, and join only flights that begin after this call.
    pub bypass: bool,
    /// Names the flight that would bring the entry; absent where none is meant.
    pub flight: Option<String>,
}

/// What the cache has.
#[derive(Clone, Debug)]
pub enum Found {
    /// An entry.
    Hit(Entry),
    /// Nothing, and this acquisition leads the flight. The next [`Action::Put`] or [`Action::Fail`] ends it, unless another
    /// lead comes first: then that one's flight ends first.
    Lead {
        /// Why.
        absence: Absence,
        /// The time now, in Unix milliseconds: the look-up may have waited.
        now: u64,
    },
    /// Nothing: the acquisition that led failed.
    Failed(Box<Error>),
    /// Nothing, and no flight is led.
    Miss,
}

/// Why the cache has nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// There is no such entry.
    Absent,
    /// There is one, expired.
    Expired,
    /// The cache was bypassed.
    Bypassed,
}

/// What outlives an acquisition and isn't a token, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What it is about.
    pub kind: FactKind,
    /// Its name among those of its kind.
    pub key: String,
}

/// What a fact is about: the words of `symbolon:token/facts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactKind {
    /// An instance-discovery document, by host.
    InstanceDiscovery,
    /// An OpenID Connect metadata document, by issuer.
    OidcMetadata,
    /// The detected region.
    Region,
    /// A mark that the authority asked for a pause.
    Throttle,
    /// A mark that a connection can't be bound to a certificate where an unbound one does as well; says why.
    BoundRefusal,
}

/// An entry to be stored and where it goes.
#[derive(Clone, Debug)]
pub struct Saved {
    /// The entry.
    pub entry: Entry,
    /// The keys under which it is found; never empty.
    pub keys: Vec<String>,
    /// Further keys whose entries it replaces.
    pub replaces: Vec<String>,
    /// The partition in a cache that MSAL shares.
    pub partition_key: String,
    /// The name in that partition.
    pub item_key: String,
    /// The groups that it belongs to: what is removed together.
    pub groups: Vec<String>,
}

/// Entries to be stored together.
#[derive(Clone, Debug)]
pub struct Store {
    /// The entries, all or none.
    pub entries: Vec<Saved>,
    /// Groups whose entries go first.
    pub replaced_groups: Vec<String>,
    /// Whether a flight ends with it.
    pub ends_flight: bool,
}

/// What the cache holds.
#[derive(Clone, Debug)]
pub enum Entry {
    /// An access token.
    AccessToken(Box<AccessTokenItem>),
    /// A refresh token.
    RefreshToken(Box<RefreshTokenItem>),
    /// An id token.
    IdToken(Box<IdTokenItem>),
    /// An account.
    Account(Box<AccountItem>),
    /// What is known about an application.
    AppMetadata(AppMetadataItem),
}

/// One acquisition.
pub struct Acquisition {
    /// The token request that is under way, last, and those that wait for it.
    legs: Vec<(Option<Need>, Leg)>,
    world: World,
    /// The token by which an agent proves itself, once it is there: all requests of a chain prove it by the same one.
    agent_assertion: Option<Supplied>,
}

impl Acquisition {
    /// Starts an acquisition.
    ///
    /// # Errors
    ///
    /// A request or a configuration that can't work as it is.
    pub fn start(request: Request, context: &Context) -> Result<(Acquisition, Action), Error> {
        let leg = Leg::new(Plan::new(request, context)?);
        let world = World::new(context);
        let mut acquisition = Acquisition { legs: vec![(None, leg)], world, agent_assertion: None };
        let step = acquisition.with_leg(Leg::start);
        let action = acquisition.settle(step);
        Ok((acquisition, action))
    }

    /// Takes what became of the last action and says what to do next.
    pub fn handle(&mut self, event: Event) -> Action {
        let step = self.with_leg(|leg, world| leg.handle(event, world));
        self.settle(step)
    }

    /// Goes on until something is to be done outside.
    fn settle(&mut self, mut step: Step) -> Action {
        loop {
            step = match step {
                Step::Do(action) => return action,
                Step::Need(need) => self.supply(need),
                Step::Done(result) => {
                    let Some((Some(need), leg)) = self.legs.pop() else { return Action::Finish(result) };
                    let supplied = result.map(|token| leg.supplied(&token));
                    self.supplied(need, supplied)
                }
            }
        }
    }

    /// Gives the waiting request what it needs: what is there already, or else what another request brings.
    fn supply(&mut self, need: Need) -> Step {
        if let (Need::AgentAssertion, Some(known)) = (need, &self.agent_assertion) {
            let known = known.clone();
            return self.with_leg(|leg, world| leg.supply(need, Ok(known), world));
        }
        match self.legs.last().map(|(_, leg)| leg.prerequisite(need)) {
            Some(Ok(prerequisite)) => {
                self.legs.push((Some(need), prerequisite));
                self.with_leg(Leg::start)
            }
            Some(Err(error)) => self.supplied(need, Err(error)),
            None => out_of_order(),
        }
    }

    fn supplied(&mut self, need: Need, supplied: Result<Supplied, Error>) -> Step {
        if let (Need::AgentAssertion, Ok(assertion)) = (need, &supplied) {
            self.agent_assertion = Some(assertion.clone());
        }
        self.with_leg(|leg, world| leg.supply(need, supplied, world))
    }

    fn with_leg(&mut self, act: impl FnOnce(&mut Leg, &mut World) -> Step) -> Step {
        match self.legs.last_mut() {
            Some((_, leg)) => act(leg, &mut self.world),
            None => out_of_order(),
        }
    }
}

fn out_of_order() -> Step {
    Step::Done(Err(Error::new(
        ErrorKind::ProtocolViolation,
        "unexpected_event",
        "Whoever runs the acquisition went on after its end.",
    )))
}
