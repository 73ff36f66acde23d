//! The acquisition of a token as a machine without input and output of its own.
//!
//! [`Acquisition::start`] and [`Acquisition::handle`] say what to do next ([`Action`]); whoever runs the machine does it
//! and tells what became of it ([`Event`]), until the action is [`Action::Finish`]. Each action names the event that
//! answers it.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::assertion::{self, Claims};
use crate::authority::SignatureAlgorithm;
use crate::cache::{
    AccessTokenClass, AccessTokenItem, AppMetadataItem, access_token_alternatives, app_partition_key,
};
use crate::cloud::{self, Environment, MtlsNotSupported};
use crate::credential::{
    AssertionContext, Authentication, Certificate, CredentialError, CredentialErrorKind, CredentialKind,
    Description, Proof, Purpose, SignedAssertion, require_tenant,
};
use crate::error::{Error, ErrorKind};
use crate::plan::Plan;
use crate::random;
use crate::request::{AccessToken, CacheRefreshReason, Context, Request, Reuse, Scheme, TokenSource};
use crate::response::{
    self, Exchange, HttpResponse, REQUEST_TIMEOUT, TEN_YEARS_SECONDS, TokenResponse, TransportError,
};
use crate::retry;
use crate::scopes::Scopes;
use crate::token_request::{self, Attempt, HttpRequest};

/// What is to be done next. Its `Debug` shows the name alone: what it carries proves the client.
#[derive(Clone)]
pub enum Action {
    /// Look an access token up, and wait while another acquisition brings it. Answered by [`Event::Found`].
    Find(Lookup),
    /// Select a credential, which the following actions mean until the next selection. Answered by [`Event::Selected`].
    Select(Purpose),
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
    /// Tell the provider that the authority rejected the credential, and that another may do. Answered by
    /// [`Event::Reported`].
    ReportRejected,
    /// Store the entries and end the flight, where this acquisition leads one. Answered by [`Event::Stored`].
    Put(Vec<Saved>),
    /// End the flight that this acquisition leads with an error. Answered by [`Event::Failed`].
    Fail(Error),
    /// The acquisition is over.
    Finish(Result<Box<AccessToken>, Error>),
}

/// What became of an action. Its `Debug` shows the name alone, as that of [`Action`].
#[derive(Clone)]
pub enum Event {
    /// What the cache has.
    Found(Found),
    /// The selected credential.
    Selected(Result<Description, CredentialError>),
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
            Action::Sign { .. } => "Sign",
            Action::Assert(_) => "Assert",
            Action::Send(_) => "Send",
            Action::Wait { .. } => "Wait",
            Action::ReportRejected => "ReportRejected",
            Action::Put(_) => "Put",
            Action::Fail(_) => "Fail",
            Action::Finish(_) => "Finish",
        })
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Event::Found(_) => "Found",
            Event::Selected(_) => "Selected",
            Event::Signed(_) => "Signed",
            Event::Asserted(_) => "Asserted",
            Event::Answered(_) => "Answered",
            Event::Waited { .. } => "Waited",
            Event::Reported => "Reported",
            Event::Stored => "Stored",
            Event::Failed => "Failed",
        })
    }
}

/// Which access token is wanted.
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
    /// Names the flight that would bring the token.
    pub flight: String,
}

/// What the cache has.
#[derive(Clone, Debug)]
pub enum Found {
    /// An entry; `None` when it isn't an access token.
    Hit(Option<Box<AccessTokenItem>>),
    /// Nothing, and this acquisition leads the flight.
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
}

/// What the cache holds.
#[derive(Clone, Debug)]
pub enum Entry {
    /// An access token.
    AccessToken(Box<AccessTokenItem>),
    /// What is known about an application.
    AppMetadata(AppMetadataItem),
}

/// One acquisition.
pub struct Acquisition {
    plan: Plan,
    now: u64,
    deadline: u64,
    seed: [u64; 4],
    state: State,
    /// Whether a flight waits for this acquisition.
    leads: bool,
    /// Whether the cache held something that can't be used.
    distrusts_cache: bool,
    /// Why the cache didn't serve.
    reason: CacheRefreshReason,
    credential: Option<Description>,
    assertions: u32,
    retried: bool,
    reloaded: bool,
}

/// What is under way.
enum State {
    /// The certificate is selected that the cached token must be bound to.
    Binding,
    Finding,
    Selecting,
    Asserting(Route),
    Signing(Signing),
    Sending(Route),
    /// Before the one retry; with the error that caused it.
    Pausing(Error),
    Rejecting(Error),
    Reloading(Error),
    Storing(Box<AccessToken>),
    Failing(Error),
    Finished,
}

/// Where a request goes and how the client authenticates there.
#[derive(Clone)]
struct Route {
    authentication: Authentication,
    environment: Environment,
    endpoint: String,
}

/// A signature under way.
struct Signing {
    route: Route,
    algorithm: SignatureAlgorithm,
    input: String,
}

impl Acquisition {
    /// Starts an acquisition.
    ///
    /// # Errors
    ///
    /// A request or a configuration that can't work as it is.
    pub fn start(request: Request, context: &Context) -> Result<(Acquisition, Action), Error> {
        let plan = Plan::new(request, context)?;
        let mut acquisition = Acquisition {
            plan,
            now: context.now,
            deadline: context.deadline,
            seed: context.seed,
            state: State::Finished,
            leads: false,
            distrusts_cache: false,
            reason: CacheRefreshReason::NoCachedAccessToken,
            credential: None,
            assertions: 0,
            retried: false,
            reloaded: false,
        };
        let action = match acquisition.plan.scheme {
            Scheme::Bearer => acquisition.find(),
            // What the token is bound to is part of the question.
            Scheme::MtlsPop => acquisition.proceed(State::Binding, Action::Select(Purpose::Bind)),
        };
        Ok((acquisition, action))
    }

    /// Takes what became of the last action and says what to do next.
    pub fn handle(&mut self, event: Event) -> Action {
        match (core::mem::replace(&mut self.state, State::Finished), event) {
            (State::Binding, Event::Selected(result)) => self.bind(result),
            (State::Finding, Event::Found(found)) => self.found(found),
            (State::Selecting, Event::Selected(result)) => self.selected(result),
            (State::Asserting(route), Event::Asserted(result)) => self.asserted(route, result),
            (State::Signing(signing), Event::Signed(result)) => self.signed(signing, result),
            (State::Sending(route), Event::Answered(result)) => self.answered(&route, result),
            (State::Pausing(error), Event::Waited { now }) => self.waited(error, now),
            (State::Rejecting(error), Event::Reported) => {
                let purpose = self.purpose();
                self.proceed(State::Reloading(error), Action::Select(purpose))
            }
            (State::Reloading(error), Event::Selected(result)) => self.reloaded(error, result),
            (State::Storing(token), Event::Stored) => Action::Finish(Ok(token)),
            (State::Failing(error), Event::Failed) => Action::Finish(Err(error)),
            _ => self.fail(Error::new(
                ErrorKind::ProtocolViolation,
                "unexpected_event",
                "Whoever runs the acquisition answered an action with another action's event.",
            )),
        }
    }

    fn proceed(&mut self, state: State, action: Action) -> Action {
        self.state = state;
        action
    }

    fn or_fail(&mut self, result: Result<Action, Error>) -> Action {
        result.unwrap_or_else(|error| self.fail(error))
    }

    fn fail(&mut self, error: Error) -> Action {
        let correlation_id = match error.correlation_id.is_empty() {
            true => self.plan.correlation_id.clone(),
            false => error.correlation_id,
        };
        let error = Error { correlation_id, ..error };
        if core::mem::take(&mut self.leads) {
            return self.proceed(State::Failing(error.clone()), Action::Fail(error));
        }
        self.proceed(State::Finished, Action::Finish(Err(error)))
    }

    // Look-up

    fn bind(&mut self, result: Result<Description, CredentialError>) -> Action {
        let checked = result.map_err(Error::from).and_then(|description| {
            let authentication =
                Authentication::choose(&description, self.plan.scheme, &self.plan.application)?;
            require_tenant(&self.plan.configured_authority)?;
            self.environment(authentication.mtls)?;
            Ok(description)
        });
        match checked {
            Ok(description) => {
                self.credential = Some(description);
                self.find()
            }
            Err(error) => self.fail(error),
        }
    }

    fn find(&mut self) -> Action {
        let result = self.lookup().map(Action::Find);
        self.state = State::Finding;
        self.or_fail(result)
    }

    /// Look-ups go by the original authority: where the request would go, by mutual TLS or to a region, changes nothing.
    fn lookup(&self) -> Result<Lookup, Error> {
        let aliases = self.environment(false)?.aliases;
        let class = self.plan.class("", self.key_id());
        let alternatives = access_token_alternatives(&class, &aliases, &self.plan.scopes);
        let keys = alternatives.first().map(Vec::as_slice).unwrap_or_default();
        let flight = self.plan.flight(keys, self.distrusts_cache);
        Ok(Lookup {
            alternatives,
            expires_after: self.now / 1000 + EXPIRY_BUFFER_SECONDS,
            expires_before: self.now / 1000 + TEN_YEARS_SECONDS,
            bypass: self.distrusts_cache || self.plan.bypass.is_some(),
            flight,
        })
    }

    fn found(&mut self, found: Found) -> Action {
        match found {
            Found::Hit(Some(item)) if self.is_wanted(&item) => {
                Action::Finish(Ok(Box::new(self.cached(*item))))
            }
            Found::Hit(_) => self.distrust_cache(),
            Found::Failed(error) => self.fail(*error),
            Found::Miss => self.begin(),
            Found::Lead { absence, now } => {
                self.leads = true;
                self.now = now;
                self.reason = match absence {
                    Absence::Absent => CacheRefreshReason::NoCachedAccessToken,
                    Absence::Expired => CacheRefreshReason::Expired,
                    Absence::Bypassed => self.plan.bypass.unwrap_or(CacheRefreshReason::NoCachedAccessToken),
                };
                self.begin()
            }
        }
    }

    /// An entry that doesn't answer the question counts as absent. Once it is looked past; if what another flight
    /// brings doesn't answer it either, this acquisition goes its own way.
    fn distrust_cache(&mut self) -> Action {
        if core::mem::replace(&mut self.distrusts_cache, true) { self.begin() } else { self.find() }
    }

    /// Whether the entry is what was asked for in every respect. Keys may come from elsewhere, so they prove nothing.
    fn is_wanted(&self, item: &AccessTokenItem) -> bool {
        let plan = &self.plan;
        let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        let target = Scopes::from_response(&item.target);
        let wanted = plan.scopes.significant();
        item.home_account_id.is_empty()
            && item.user_assertion_hash.is_none()
            && same(&item.client_id, &plan.application.client_id)
            && same(&item.realm, plan.authority.tenant().unwrap_or_default())
            && self
                .environment(false)
                .is_ok_and(|known| known.aliases.iter().any(|alias| same(alias, &item.environment)))
            && same(&item.token_type, plan.scheme.token_type())
            && match (item.key_id.as_deref(), self.key_id()) {
                (Some(found), Some(wanted)) => same(found, wanted),
                (found, wanted) => found.is_none() && wanted.is_none(),
            }
            && item.components == plan.components
            && !wanted.is_empty()
            && wanted.iter().all(|scope| target.contains(scope))
            && !item.secret.is_empty()
            && item.expires_on > self.now / 1000 + EXPIRY_BUFFER_SECONDS
    }

    fn cached(&self, item: AccessTokenItem) -> AccessToken {
        let key =
            self.plan.class(&item.environment, self.key_id()).keys(&self.plan.scopes).into_iter().next();
        let token = self.token(item, key, TokenSource::Cache);
        let is_due = |reuse: &Reuse| reuse.refresh_from.is_some_and(|due| due <= self.now / 1000);
        let refresh_reason = match token.reuse.as_ref().is_some_and(is_due) {
            true => CacheRefreshReason::ProactivelyRefreshed,
            false => CacheRefreshReason::NotApplicable,
        };
        AccessToken { refresh_reason, ..token }
    }

    // Authentication

    /// Begins to bring the token: with the credential at hand, where the look-up needed one.
    fn begin(&mut self) -> Action {
        match self.credential {
            Some(_) => self.attempt(),
            None => {
                let purpose = self.purpose();
                self.proceed(State::Selecting, Action::Select(purpose))
            }
        }
    }

    fn selected(&mut self, result: Result<Description, CredentialError>) -> Action {
        match result {
            Ok(description) => {
                self.credential = Some(description);
                self.attempt()
            }
            Err(error) => self.fail(error.into()),
        }
    }

    /// Begins a request, with proofs of its own: no assertion is sent twice.
    fn attempt(&mut self) -> Action {
        let result = self.credential().and_then(|credential| {
            let authentication =
                Authentication::choose(credential, self.plan.scheme, &self.plan.application)?;
            self.route(authentication)
        });
        match result {
            Ok(route) => match route.authentication.proof {
                Proof::Secret | Proof::Handshake => self.send(route, None),
                Proof::CertificateAssertion { .. } => self.sign(route),
                Proof::SignedAssertion => self.assert(route),
            },
            Err(error) => self.fail(error),
        }
    }

    fn assert(&mut self, route: Route) -> Action {
        let context = AssertionContext {
            client_id: self.plan.application.client_id.clone(),
            token_endpoint: route.endpoint.clone(),
            tenant_id: self.plan.authority.tenant().map(String::from),
            fmi_path: None,
            correlation_id: self.plan.correlation_id.clone(),
        };
        self.proceed(State::Asserting(route), Action::Assert(context))
    }

    /// The assertion alone says whether it is bound, and so where the request goes.
    fn asserted(&mut self, route: Route, result: Result<SignedAssertion, CredentialError>) -> Action {
        let bound = result.map_err(Error::from).and_then(|assertion| {
            let credential = self.credential()?;
            let authentication = route.authentication.bound_by(&assertion, credential, self.plan.scheme)?;
            Ok((self.route(authentication)?, assertion))
        });
        match bound {
            Ok((route, assertion)) => self.send(route, Some(&assertion.assertion)),
            Err(error) => self.fail(error),
        }
    }

    fn sign(&mut self, route: Route) -> Action {
        self.assertions += 1;
        let expected = self.plan.authority.signature_algorithm();
        let algorithm = self.credential().and_then(|credential| {
            assertion::choose_algorithm(expected, certificate(credential)?, &credential.name)
        });
        let action = algorithm.and_then(|algorithm| self.sign_with(route, algorithm));
        self.or_fail(action)
    }

    fn sign_with(&mut self, route: Route, algorithm: SignatureAlgorithm) -> Result<Action, Error> {
        let chain = matches!(route.authentication.proof, Proof::CertificateAssertion { chain: true });
        let claims = Claims {
            client_id: &self.plan.application.client_id,
            audience: &route.endpoint,
            now: self.now / 1000,
            id: &random::uuid(&self.seed, random::Purpose::AssertionId, self.assertions),
        };
        let input = assertion::signing_input(&claims, certificate(self.credential()?)?, algorithm, chain)?;
        let action = Action::Sign { algorithm, signing_input: input.clone() };
        Ok(self.proceed(State::Signing(Signing { route, algorithm, input }), action))
    }

    fn signed(&mut self, signing: Signing, result: Result<Vec<u8>, CredentialError>) -> Action {
        match result {
            Ok(signature) => {
                let assertion = assertion::compact(&signing.input, &signature);
                self.send(signing.route, Some(&assertion))
            }
            // Some keys promise PSS and can't do it, as MSAL has learnt. Only the header changes.
            Err(error)
                if error.kind == CredentialErrorKind::Unsupported
                    && signing.algorithm == SignatureAlgorithm::Ps256 =>
            {
                let action = self.sign_with(signing.route, SignatureAlgorithm::Rs256);
                self.or_fail(action)
            }
            Err(error) => self.fail(error.into()),
        }
    }

    // Request and answer

    fn send(&mut self, route: Route, assertion: Option<&str>) -> Action {
        let remaining_ms = self.deadline.saturating_sub(self.now);
        if remaining_ms == 0 {
            return self.fail(Error {
                retryable: true,
                ..Error::new(
                    ErrorKind::TransportFailed,
                    REQUEST_TIMEOUT,
                    "The time for the acquisition was over before the request could be sent.",
                )
            });
        }
        let attempt = Attempt {
            authentication: route.authentication,
            endpoint: &route.endpoint,
            assertion,
            reason: self.reason,
            remaining_ms,
        };
        let request = token_request::build(&self.plan, &attempt);
        self.state = State::Sending(route);
        self.or_fail(request.map(Action::Send))
    }

    fn answered(&mut self, route: &Route, result: Result<HttpResponse, TransportError>) -> Action {
        let exchange = Exchange {
            scheme: self.plan.scheme,
            client_id: &self.plan.application.client_id,
            host: &route.environment.network_host,
            bound: route.authentication.mtls,
            correlation_id: &self.plan.correlation_id,
            now: self.now,
        };
        let response = match result {
            Ok(response) => response::parse(&response, &exchange),
            Err(error) => Err(response::transport_error(&error, &exchange)),
        };
        match response {
            Ok(response) => self.store(route, response),
            Err(error) => self.refused(error),
        }
    }

    fn refused(&mut self, error: Error) -> Action {
        let is_certificate =
            self.credential.as_ref().is_some_and(|credential| credential.kind == CredentialKind::Certificate);
        if is_certificate && error.is_certificate_rejection() && !self.reloaded {
            self.reloaded = true;
            return self.proceed(State::Rejecting(error), Action::ReportRejected);
        }
        if retry::may_cure(&error) && !self.retried {
            self.retried = true;
            return self.proceed(State::Pausing(error), Action::Wait { milliseconds: retry::DELAY_MS });
        }
        self.fail(error)
    }

    fn waited(&mut self, error: Error, now: u64) -> Action {
        self.now = now;
        if retry::is_time_left(now, self.deadline) { self.attempt() } else { self.fail(error) }
    }

    /// Another certificate is tried once; without another one the authority's word stands.
    fn reloaded(&mut self, error: Error, result: Result<Description, CredentialError>) -> Action {
        let rejected = self.credential.as_ref().and_then(Description::thumbprint);
        match result {
            Ok(other) if other.thumbprint().is_some() && other.thumbprint() != rejected => {
                self.credential = Some(other);
                self.attempt()
            }
            _ => self.fail(error),
        }
    }

    // Result

    fn store(&mut self, route: &Route, response: TokenResponse) -> Action {
        let item = self.item(route, response);
        let class = self.plan.class(&item.environment, self.key_id());
        let scopes = Scopes::from_response(&item.target);
        let keys = class.keys(&scopes);
        let others = route.environment.aliases.iter().filter(|alias| **alias != item.environment);
        let replaces =
            others.flat_map(|alias| AccessTokenClass { environment: alias, ..class }.keys(&scopes)).collect();
        let metadata = AppMetadataItem {
            environment: item.environment.clone(),
            client_id: item.client_id.clone(),
            ..AppMetadataItem::default()
        };
        let partition_key = app_partition_key(
            item.key_id.as_deref(),
            &item.client_id,
            self.plan.authority.tenant(),
            &item.components,
        );
        let mut saved = Vec::with_capacity(2);
        let key = keys.first().cloned();
        // A token for nothing but reserved scopes can't be looked up.
        if key.is_some() {
            saved.push(Saved {
                item_key: item.item_key(),
                entry: Entry::AccessToken(Box::new(item.clone())),
                keys,
                replaces,
                partition_key: partition_key.clone(),
            });
        }
        saved.push(Saved {
            keys: [metadata.item_key()].into(),
            item_key: metadata.item_key(),
            entry: Entry::AppMetadata(metadata),
            replaces: Vec::new(),
            partition_key,
        });
        let token = AccessToken {
            token_endpoint: Some(route.endpoint.clone()),
            refresh_reason: self.reason,
            ..self.token(item, key, TokenSource::IdentityProvider)
        };
        self.leads = false;
        self.proceed(State::Storing(Box::new(token)), Action::Put(saved))
    }

    /// Lifetimes count from before the request was sent, so that no token is believed to live longer than it does.
    fn item(&self, route: &Route, response: TokenResponse) -> AccessTokenItem {
        let now = self.now / 1000;
        let scopes =
            response.scope.as_deref().map_or_else(|| self.plan.scopes.clone(), Scopes::from_response);
        AccessTokenItem {
            environment: route.environment.preferred_cache.clone(),
            client_id: self.plan.application.client_id.clone(),
            realm: self.plan.authority.tenant().unwrap_or_default().into(),
            target: scopes.sorted_target(),
            secret: response.access_token,
            token_type: self.plan.scheme.token_type().into(),
            key_id: self.key_id().map(String::from),
            cached_at: now,
            expires_on: now + response.expires_in,
            extended_expires_on: response.extended_expires_in.map(|seconds| now + seconds),
            refresh_on: response.refresh_in.map(|seconds| now + seconds),
            components: self.plan.components.clone(),
            ..AccessTokenItem::default()
        }
    }

    fn token(&self, item: AccessTokenItem, cache_key: Option<String>, source: TokenSource) -> AccessToken {
        AccessToken {
            reuse: self.reuse(&item),
            token: item.secret,
            token_type: self.plan.scheme.token_type().into(),
            expires_on: item.expires_on,
            refresh_on: item.refresh_on,
            scopes: Scopes::from_response(&item.target).iter().map(String::from).collect(),
            tenant_id: Some(item.realm).filter(|realm| !realm.is_empty()),
            key_id: item.key_id,
            correlation_id: self.plan.correlation_id.clone(),
            source,
            token_endpoint: None,
            refresh_reason: CacheRefreshReason::NotApplicable,
            region: self.plan.region.as_ref().map(|region| region.as_str().into()),
            cache_key,
        }
    }

    /// Renewals are spread over ten minutes, so that processes that got their tokens together don't renew them together.
    fn reuse(&self, item: &AccessTokenItem) -> Option<Reuse> {
        let until = item.expires_on.saturating_sub(EXPIRY_BUFFER_SECONDS);
        let jitter = random::symmetric(&self.seed, random::Purpose::RefreshJitter, REFRESH_JITTER_SECONDS);
        (self.plan.is_repeatable && until > self.now / 1000).then(|| Reuse {
            until,
            refresh_from: item.refresh_on.map(|refresh_on| refresh_on.saturating_add_signed(jitter)),
        })
    }

    // What is known

    fn purpose(&self) -> Purpose {
        match self.plan.scheme {
            Scheme::Bearer => Purpose::Authenticate,
            Scheme::MtlsPop => Purpose::Bind,
        }
    }

    /// The certificate that the token is bound to. Bearer tokens are bound to none, whatever connection brought them.
    fn key_id(&self) -> Option<&str> {
        match self.plan.scheme {
            Scheme::Bearer => None,
            Scheme::MtlsPop => self.credential.as_ref().and_then(Description::thumbprint),
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
        cloud::environment(&self.plan.authority, self.plan.region.as_ref(), mtls)
            .map_err(|error| Error::invalid_request(MtlsNotSupported::CODE, error.to_string()))
    }

    fn route(&self, authentication: Authentication) -> Result<Route, Error> {
        let environment = self.environment(authentication.mtls)?;
        let endpoint =
            self.plan.authority.with_host(&environment.network_host).token_endpoint().ok_or_else(|| {
                Error::invalid_request(
                    "invalid_authority",
                    format!("{} has no token endpoint of its own.", self.plan.authority.canonical()),
                )
            })?;
        Ok(Route { authentication, environment, endpoint })
    }
}

fn certificate(credential: &Description) -> Result<&Certificate, Error> {
    credential.certificate.as_ref().ok_or_else(|| {
        Error::new(
            ErrorKind::CredentialUnsupported,
            "cert_without_private_key",
            format!("{} is a certificate credential that came without its certificate.", credential.name),
        )
    })
}

/// A token that expires within this time isn't used any more.
const EXPIRY_BUFFER_SECONDS: u64 = 300;

const REFRESH_JITTER_SECONDS: u32 = 300;
