//! One token request, with its look into the cache before and what is kept of the answer after.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use sha2::{Digest, Sha256};

use crate::acquisition::{Absence, Action, Entry, Event, Found, Lookup};
use crate::assertion::{self, Claims};
use crate::authority::SignatureAlgorithm;
use crate::cache::{
    AccessTokenItem, AccountItem, Subject, access_token_alternatives, session_assertion_key,
    session_owner_key,
};
use crate::cloud::{self, Environment, MtlsNotSupported};
use crate::credential::{
    AssertionContext, Authentication, Certificate, CredentialError, CredentialErrorKind, CredentialKind,
    Description, Proof, Purpose, SignedAssertion, require_tenant,
};
use crate::error::{Error, ErrorClass, ErrorKind};
use crate::grant::Grant;
use crate::kept::{self, Identity};
use crate::plan::{Need, Owner, Plan, ProofSource, Reads, Session, TokenBinding};
use crate::random;
use crate::request::{AccessToken, Account, CacheRefreshReason, Context, Reuse, TokenSource};
use crate::response::{
    self, Exchange, HttpResponse, REQUEST_TIMEOUT, TEN_YEARS_SECONDS, TokenResponse, TransportError,
};
use crate::retry;
use crate::scopes::Scopes;
use crate::token_request::{self, Attempt};

/// What the requests of an acquisition know of the world.
pub(crate) struct World {
    now: u64,
    deadline: u64,
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
    /// The token by which an agent proves itself.
    agent_assertion: Option<Supplied>,
    /// The refresh token of the cache, while it is tried in the place of the plan's own grant.
    redeemed: Option<Grant>,
    /// To whom the long-running process belongs that is being initiated.
    session_owner: Option<SessionOwner>,
    retried: bool,
    reloaded: bool,
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
    Finding,
    FindingRefreshToken,
    Needing(Need),
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
            plan,
            state: State::Finished,
            leads: false,
            distrusts_cache: false,
            reason: CacheRefreshReason::NotApplicable,
            credential: None,
            agent_assertion: None,
            redeemed: None,
            session_owner: None,
            retried: false,
            reloaded: false,
        }
    }

    pub(crate) fn start(&mut self, world: &mut World) -> Step {
        match self.plan.binding {
            // What the token is bound to is part of the question.
            TokenBinding::Certificate | TokenBinding::CertificateIfBound if self.credential.is_none() => {
                let purpose = self.purpose();
                self.proceed(State::Binding, Action::Select(purpose))
            }
            TokenBinding::Certificate | TokenBinding::CertificateIfBound => self.bind(world),
            TokenBinding::Bearer | TokenBinding::SigningKey(_) => self.look_up(world),
        }
    }

    /// Takes what became of the last action and says what to do next.
    pub(crate) fn handle(&mut self, event: Event, world: &mut World) -> Step {
        match (core::mem::replace(&mut self.state, State::Finished), event) {
            (State::Binding, Event::Selected(result)) => self.selected_for_binding(result, world),
            (State::FindingOwner, Event::Found(found)) => self.found_owner(found, world),
            (State::FindingAssertion, Event::Found(found)) => self.found_assertion(&found, world),
            (State::Finding, Event::Found(found)) => self.found(found, world),
            (State::FindingRefreshToken, Event::Found(found)) => self.found_refresh_token(found, world),
            (State::Selecting, Event::Selected(result)) => self.selected(result, world),
            (State::Asserting(route), Event::Asserted(result)) => self.asserted(route, result, world),
            (State::Signing(signing), Event::Signed(result)) => self.signed(signing, result, world),
            (State::Sending(route), Event::Answered(result)) => self.answered(&route, result, world),
            (State::Pausing(error), Event::Waited { now }) => self.waited(error, now, world),
            (State::Rejecting(error), Event::Reported) => self.rejected(error),
            (State::Reloading(error), Event::Selected(result)) => self.reloaded(error, result, world),
            (State::Storing(token), Event::Stored) => Step::Done(Ok(token)),
            (State::Failing(error), Event::Failed) => Step::Done(Err(error)),
            _ => self.fail(Error::new(
                ErrorKind::ProtocolViolation,
                "unexpected_event",
                "Whoever runs the acquisition answered an action with another action's event.",
            )),
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
        if core::mem::take(&mut self.leads) {
            return self.proceed(State::Failing(error.clone()), Action::Fail(error));
        }
        self.state = State::Finished;
        Step::Done(Err(error))
    }

    // Look-up

    fn selected_for_binding(
        &mut self,
        result: Result<Description, CredentialError>,
        world: &mut World,
    ) -> Step {
        match result {
            Ok(description) => {
                self.credential = Some(description);
                self.bind(world)
            }
            Err(error) => self.fail(error.into()),
        }
    }

    /// Binds the question to the selected certificate.
    fn bind(&mut self, world: &mut World) -> Step {
        if let (TokenBinding::CertificateIfBound, Some(credential)) = (&self.plan.binding, &self.credential) {
            self.plan.binding = match credential.binds_connections() {
                true => TokenBinding::Certificate,
                false => TokenBinding::Bearer,
            };
        }
        if !matches!(self.plan.binding, TokenBinding::Certificate) {
            return self.look_up(world);
        }
        let checked = self.credential().and_then(|credential| {
            let authentication = self.choose(credential)?;
            require_tenant(&self.plan.configured_authority)?;
            self.environment(authentication.mtls)
        });
        match checked {
            Ok(_) => self.look_up(world),
            Err(error) => self.fail(error),
        }
    }

    fn look_up(&mut self, world: &mut World) -> Step {
        match &self.plan.owner {
            Owner::Session(Session { key, start: Some(_), .. }) => {
                let keys = [session_owner_key(&self.plan.client_id, key)].into();
                self.find_one(State::FindingOwner, keys, world)
            }
            _ => self.find(world),
        }
    }

    /// A process that belongs to another user isn't initiated anew; what it has is used for the same user only.
    fn found_owner(&mut self, found: Found, world: &mut World) -> Step {
        let Found::Hit(Entry::Account(owner)) = found else {
            self.plan.reads = Reads::Nothing;
            return self.find(world);
        };
        let is_same_user = self.is_of(&owner);
        if is_same_user == Some(false) {
            return self.fail(kept::session_key_in_use());
        }
        self.session_owner = Some(SessionOwner { home_account_id: owner.home_account_id });
        match &self.plan.owner {
            Owner::Session(Session { key, start: Some(start), .. })
                if is_same_user.is_none() && self.plan.reads != Reads::Nothing =>
            {
                let key = session_assertion_key(&self.plan.client_id, key, &start.own_key);
                self.find_one(State::FindingAssertion, [key].into(), world)
            }
            _ => self.find(world),
        }
    }

    /// An assertion that doesn't say whose it is is of the same user if it is the same.
    fn found_assertion(&mut self, found: &Found, world: &mut World) -> Step {
        if !matches!(found, Found::Hit(Entry::Account(_))) {
            self.plan.reads = Reads::Nothing;
        }
        self.find(world)
    }

    /// Whether the assertion is of this user, as far as it says. Object ids are the directory's own.
    fn is_of(&self, owner: &AccountItem) -> Option<bool> {
        let Owner::Session(Session { start: Some(start), .. }) = &self.plan.owner else { return None };
        let subject = start.subject.as_ref()?;
        let is_same_directory = subject.tid.as_deref()?.eq_ignore_ascii_case(&owner.realm);
        (is_same_directory && subject.oid.is_some())
            .then(|| subject.same_user(&owner.local_account_id, &owner.realm))
    }

    fn find(&mut self, world: &mut World) -> Step {
        let result = self.lookup(world).map(|lookup| self.proceed(State::Finding, Action::Find(lookup)));
        self.or_fail(result)
    }

    /// Look-ups go by the original authority: where the request would go, by mutual TLS or to a region, changes nothing.
    ///
    /// What reads nothing leads a flight of its own all the same: it is how the cache knows what came first.
    fn lookup(&self, world: &mut World) -> Result<Lookup, Error> {
        let alternatives = match self.plan.reads {
            Reads::Nothing => Vec::new(),
            Reads::AccessToken | Reads::AnyToken => self.alternatives()?,
        };
        let flight = match alternatives.first() {
            Some(keys) => self.plan.flight(keys, self.distrusts_cache),
            None => {
                world.flights += 1;
                random::uuid(&world.seed, random::Purpose::Flight, world.flights)
            }
        };
        Ok(Lookup {
            bypass: self.distrusts_cache || self.plan.bypass.is_some() || alternatives.is_empty(),
            alternatives,
            expires_after: world.now_seconds() + EXPIRY_BUFFER_SECONDS,
            expires_before: world.now_seconds() + TEN_YEARS_SECONDS,
            flight: Some(flight),
        })
    }

    fn alternatives(&self) -> Result<Vec<Vec<String>>, Error> {
        let aliases = self.environment(false)?.aliases;
        let Some(subject) = self.plan.owner.subject() else { return Ok(Vec::new()) };
        let class = self.plan.class(subject, "", self.plan.realm(), self.key_id());
        Ok(access_token_alternatives(&class, &aliases, &self.plan.scopes))
    }

    fn find_one(&mut self, state: State, keys: Vec<String>, world: &World) -> Step {
        let lookup = Lookup {
            alternatives: keys.into_iter().map(|key| [key].into()).collect(),
            expires_after: world.now_seconds(),
            expires_before: world.now_seconds() + TEN_YEARS_SECONDS,
            bypass: false,
            flight: None,
        };
        self.proceed(state, Action::Find(lookup))
    }

    fn found(&mut self, found: Found, world: &mut World) -> Step {
        match found {
            Found::Hit(Entry::AccessToken(item)) if self.is_wanted(&item, world) => {
                if self.is_to_refresh(&item) {
                    return self.distrust_cache(world);
                }
                Step::Done(Ok(Box::new(self.cached(*item, world))))
            }
            Found::Hit(_) => self.distrust_cache(world),
            Found::Failed(error) => self.fail(*error),
            Found::Miss => self.absent(world),
            Found::Lead { absence, now } => {
                self.leads = true;
                world.now = now;
                self.reason = self.reason_of(absence);
                self.absent(world)
            }
        }
    }

    fn reason_of(&self, absence: Absence) -> CacheRefreshReason {
        match absence {
            _ if self.plan.reads == Reads::Nothing && self.plan.bypass.is_none() => {
                CacheRefreshReason::NotApplicable
            }
            Absence::Absent => CacheRefreshReason::NoCachedAccessToken,
            Absence::Expired => CacheRefreshReason::Expired,
            Absence::Bypassed => self.plan.bypass.unwrap_or(match self.plan.token_to_refresh {
                Some(_) => CacheRefreshReason::ForceRefreshOrClaims,
                None => CacheRefreshReason::NoCachedAccessToken,
            }),
        }
    }

    /// An entry that doesn't answer the question counts as absent. Once it is looked past; if what another flight
    /// brings doesn't answer it either, this request goes its own way.
    fn distrust_cache(&mut self, world: &mut World) -> Step {
        if core::mem::replace(&mut self.distrusts_cache, true) {
            self.absent(world)
        } else {
            self.find(world)
        }
    }

    /// Whether the entry is what was asked for in every respect. Keys may come from elsewhere, so they prove nothing.
    fn is_wanted(&self, item: &AccessTokenItem, world: &World) -> bool {
        let plan = &self.plan;
        let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        let target = Scopes::from_response(&item.target);
        let wanted = plan.scopes.significant();
        let is_any_realm = matches!(plan.owner, Owner::Session(_)) && plan.authority.is_multi_tenant();
        plan.owner.is_of(item)
            && same(&item.client_id, &plan.client_id)
            && (is_any_realm || same(&item.realm, plan.realm()))
            && self
                .environment(false)
                .is_ok_and(|known| known.aliases.iter().any(|alias| same(alias, &item.environment)))
            && same(&item.token_type, plan.binding.token_type())
            && match (item.key_id.as_deref(), self.key_id()) {
                (Some(found), Some(wanted)) => same(found, wanted),
                (found, wanted) => found.is_none() && wanted.is_none(),
            }
            && item.components == plan.components
            && !wanted.is_empty()
            && wanted.iter().all(|scope| target.contains(scope))
            && !item.secret.is_empty()
            && item.expires_on > world.now_seconds() + EXPIRY_BUFFER_SECONDS
    }

    /// Whether it is the token that the caller doesn't want any more.
    fn is_to_refresh(&self, item: &AccessTokenItem) -> bool {
        let Some(unwanted) = &self.plan.token_to_refresh else { return false };
        let hash = Sha256::digest(&item.secret);
        let hexadecimal: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        *unwanted == hexadecimal
    }

    fn cached(&self, item: AccessTokenItem, world: &World) -> AccessToken {
        let subject = self.plan.owner.subject().unwrap_or(Subject::Application);
        let class = self.plan.class(subject, &item.environment, self.plan.realm(), self.key_id());
        let key = class.keys(&self.plan.scopes).into_iter().next();
        let token = self.token(item, key, TokenSource::Cache, world);
        let is_due = |reuse: &Reuse| reuse.refresh_from.is_some_and(|due| due <= world.now_seconds());
        let refresh_reason = match token.reuse.as_ref().is_some_and(is_due) {
            true => CacheRefreshReason::ProactivelyRefreshed,
            false => CacheRefreshReason::NotApplicable,
        };
        AccessToken { refresh_reason, ..token }
    }

    /// No access token: a refresh token brings one, unless the caller looks past the cache and has something better.
    fn absent(&mut self, world: &mut World) -> Step {
        let is_forced = self.plan.bypass == Some(CacheRefreshReason::ForceRefreshOrClaims);
        let redeems = self.plan.reads == Reads::AnyToken && (self.plan.grant.is_none() || !is_forced);
        match self.environment(false) {
            Ok(environment) if redeems => {
                let keys = self.refresh_token_keys(&environment.aliases);
                self.find_one(State::FindingRefreshToken, keys, world)
            }
            _ => self.begin(world),
        }
    }

    fn refresh_token_keys(&self, aliases: &[String]) -> Vec<String> {
        let Some(subject) = self.plan.owner.subject() else { return Vec::new() };
        aliases.iter().map(|environment| self.plan.refresh_class(subject, environment).key()).collect()
    }

    fn found_refresh_token(&mut self, found: Found, world: &mut World) -> Step {
        if let Found::Hit(Entry::RefreshToken(item)) = found
            && item.client_id.eq_ignore_ascii_case(&self.plan.client_id)
            && !item.secret.is_empty()
        {
            let home_account_id = Some(item.home_account_id).filter(|id| !id.is_empty());
            self.redeemed = Some(Grant::RefreshToken { token: item.secret, home_account_id });
        }
        self.begin(world)
    }

    // Authentication

    /// Begins to bring the token: gets what an agent needs, then a credential where none is at hand.
    fn begin(&mut self, world: &mut World) -> Step {
        let need = match (self.grant(), &self.plan.proof) {
            (None, _) => return self.fail(self.plan.nothing_cached()),
            (Some(_), ProofSource::Agent(_)) if self.agent_assertion.is_none() => Some(Need::AgentAssertion),
            (Some(Grant::UserFederated { credential: None, .. }), _) => Some(Need::UserCredential),
            _ => None,
        };
        match (need, &self.plan.proof, &self.credential) {
            (Some(need), _, _) => {
                self.state = State::Needing(need);
                Step::Need(need)
            }
            (None, ProofSource::Credential { .. }, None) => {
                let purpose = self.purpose();
                self.proceed(State::Selecting, Action::Select(purpose))
            }
            _ => self.attempt(world),
        }
    }

    fn selected(&mut self, result: Result<Description, CredentialError>, world: &mut World) -> Step {
        match result {
            Ok(description) => {
                self.credential = Some(description);
                self.attempt(world)
            }
            Err(error) => self.fail(error.into()),
        }
    }

    /// Begins a request, with proofs of its own: no assertion is sent twice.
    fn attempt(&mut self, world: &mut World) -> Step {
        if let Some(Supplied { token, bound, .. }) = &self.agent_assertion {
            let authentication = Authentication { proof: Proof::SignedAssertion, mtls: *bound };
            let token = token.clone();
            return match self.route(authentication) {
                Ok(route) => self.send(route, Some(&token), world),
                Err(error) => self.fail(error),
            };
        }
        let result = self.credential().and_then(|credential| self.route(self.choose(credential)?));
        match result {
            Ok(route) => match route.authentication.proof {
                Proof::Secret | Proof::Handshake => self.send(route, None, world),
                Proof::CertificateAssertion { .. } => self.sign(route, world),
                Proof::SignedAssertion => self.assert(route),
            },
            Err(error) => self.fail(error),
        }
    }

    fn choose(&self, credential: &Description) -> Result<Authentication, Error> {
        Authentication::choose(credential, self.plan.binding.scheme(), &self.plan.application, self.binds())
    }

    /// Whether requests of this flow are bound to the credential's certificate, where that asks for it.
    fn binds(&self) -> bool {
        matches!(self.plan.proof, ProofSource::Credential { binds: true })
    }

    fn assert(&mut self, route: Route) -> Step {
        let context = AssertionContext {
            client_id: self.plan.client_id.clone(),
            token_endpoint: route.endpoint.clone(),
            tenant_id: self.plan.authority.tenant().map(String::from),
            fmi_path: self.plan.client_assertion_fmi_path.clone(),
            correlation_id: self.plan.correlation_id.clone(),
        };
        self.proceed(State::Asserting(route), Action::Assert(context))
    }

    /// The assertion alone says whether it is bound, and so where the request goes.
    fn asserted(
        &mut self,
        route: Route,
        result: Result<SignedAssertion, CredentialError>,
        world: &mut World,
    ) -> Step {
        let bound = result.map_err(Error::from).and_then(|assertion| {
            let (credential, scheme) = (self.credential()?, self.plan.binding.scheme());
            let authentication =
                route.authentication.bound_by(&assertion, credential, scheme, self.binds())?;
            Ok((self.route(authentication)?, assertion))
        });
        match bound {
            Ok((route, assertion)) => self.send(route, Some(&assertion.assertion), world),
            Err(error) => self.fail(error),
        }
    }

    fn sign(&mut self, route: Route, world: &mut World) -> Step {
        world.assertions += 1;
        let expected = self.plan.authority.signature_algorithm();
        let algorithm = self.credential().and_then(|credential| {
            assertion::choose_algorithm(expected, certificate(credential)?, &credential.name)
        });
        let step = algorithm.and_then(|algorithm| self.sign_with(route, algorithm, world));
        self.or_fail(step)
    }

    fn sign_with(
        &mut self,
        route: Route,
        algorithm: SignatureAlgorithm,
        world: &World,
    ) -> Result<Step, Error> {
        let chain = matches!(route.authentication.proof, Proof::CertificateAssertion { chain: true });
        let claims = Claims {
            client_id: &self.plan.client_id,
            audience: &route.endpoint,
            now: world.now_seconds(),
            id: &random::uuid(&world.seed, random::Purpose::AssertionId, world.assertions),
        };
        let input = assertion::signing_input(&claims, certificate(self.credential()?)?, algorithm, chain)?;
        let action = Action::Sign { algorithm, signing_input: input.clone() };
        Ok(self.proceed(State::Signing(Signing { route, algorithm, input }), action))
    }

    fn signed(
        &mut self,
        signing: Signing,
        result: Result<Vec<u8>, CredentialError>,
        world: &mut World,
    ) -> Step {
        match result {
            Ok(signature) => {
                let assertion = assertion::compact(&signing.input, &signature);
                self.send(signing.route, Some(&assertion), world)
            }
            // Some keys promise PSS and can't do it, as MSAL has learnt. Only the header changes.
            Err(error)
                if error.kind == CredentialErrorKind::Unsupported
                    && signing.algorithm == SignatureAlgorithm::Ps256 =>
            {
                let step = self.sign_with(signing.route, SignatureAlgorithm::Rs256, world);
                self.or_fail(step)
            }
            Err(error) => self.fail(error.into()),
        }
    }

    // Request and answer

    fn send(&mut self, route: Route, assertion: Option<&str>, world: &World) -> Step {
        let remaining_ms = world.deadline.saturating_sub(world.now);
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
        let Some(grant) = self.grant() else { return self.fail(self.plan.nothing_cached()) };
        let attempt = Attempt {
            grant,
            authentication: route.authentication,
            endpoint: &route.endpoint,
            region: self.region(route.authentication.mtls),
            assertion,
            reason: self.reason,
            remaining_ms,
        };
        let request = token_request::build(&self.plan, &attempt);
        let step = request.map(|request| self.proceed(State::Sending(route), Action::Send(request)));
        self.or_fail(step)
    }

    fn answered(
        &mut self,
        route: &Route,
        result: Result<HttpResponse, TransportError>,
        world: &mut World,
    ) -> Step {
        let exchange = Exchange {
            token_type: self.plan.binding.token_type(),
            client_id: &self.plan.client_id,
            host: &route.environment.network_host,
            bound: route.authentication.mtls,
            single_use: self.is_single_use(),
            correlation_id: &self.plan.correlation_id,
            now: world.now,
        };
        let response = match result {
            Ok(response) => response::parse(&response, &exchange),
            Err(error) => Err(response::transport_error(&error, &exchange)),
        };
        match response {
            Ok(response) => self.store(route, response, world),
            Err(error) => self.refused(error, world),
        }
    }

    fn refused(&mut self, error: Error, world: &mut World) -> Step {
        let is_certificate = matches!(self.plan.proof, ProofSource::Credential { .. })
            && self
                .credential
                .as_ref()
                .is_some_and(|credential| credential.kind == CredentialKind::Certificate);
        if is_certificate && error.is_certificate_rejection() && !self.reloaded {
            self.reloaded = true;
            return self.proceed(State::Rejecting(error), Action::ReportRejected);
        }
        if retry::may_cure(&error) && !self.retried && !self.is_single_use() {
            self.retried = true;
            return self.proceed(State::Pausing(error), Action::Wait { milliseconds: retry::DELAY_MS });
        }
        // A refresh token that isn't worth anything any more gives way to what the caller brought.
        let needs_person = matches!(error.class, ErrorClass::UiRequired | ErrorClass::ClaimsChallenge);
        if self.redeemed.is_some() && self.plan.grant.is_some() && needs_person {
            self.redeemed = None;
            return self.begin(world);
        }
        self.fail(error)
    }

    fn waited(&mut self, error: Error, now: u64, world: &mut World) -> Step {
        world.now = now;
        if retry::is_time_left(now, world.deadline) { self.attempt(world) } else { self.fail(error) }
    }

    fn rejected(&mut self, error: Error) -> Step {
        if self.is_single_use() {
            return self.fail(error);
        }
        let purpose = self.purpose();
        self.proceed(State::Reloading(error), Action::Select(purpose))
    }

    /// Another certificate is tried once; without another one the authority's word stands.
    fn reloaded(
        &mut self,
        error: Error,
        result: Result<Description, CredentialError>,
        world: &mut World,
    ) -> Step {
        let rejected = self.credential.as_ref().and_then(Description::thumbprint);
        match result {
            Ok(other) if other.thumbprint().is_some() && other.thumbprint() != rejected => {
                self.credential = Some(other);
                self.attempt(world)
            }
            _ => self.fail(error),
        }
    }

    // Result

    fn store(&mut self, route: &Route, response: TokenResponse, world: &World) -> Step {
        let identity = Identity::of(&response, self.redeemed_account());
        let checked = self.check_identity(&identity, &response);
        if let Err(error) = checked {
            return self.fail(error);
        }
        let replaces_session = self.session_owner.is_none();
        let kept = kept::Kept {
            plan: &self.plan,
            environment: &route.environment,
            key_id: self.key_id(),
            identity: &identity,
            response: &response,
            now: world.now_seconds(),
        };
        let item = kept.access_token();
        let (store, key) = kept.store(&item, replaces_session, self.leads);
        self.leads = false;
        let token = AccessToken {
            token_endpoint: Some(route.endpoint.clone()),
            refresh_reason: self.reason,
            region: self.region(route.authentication.mtls).map(|region| region.as_str().into()),
            tenant_id: identity
                .tenant_id
                .clone()
                .or_else(|| Some(item.realm.clone()).filter(|realm| !realm.is_empty())),
            id_token: response.id_token.clone(),
            spa_code: response.spa_code.clone(),
            ..self.token(item, key, TokenSource::IdentityProvider, world)
        };
        self.proceed(State::Storing(Box::new(token)), Action::Put(store))
    }

    /// The account whose refresh token was redeemed, or which was asked for.
    fn redeemed_account(&self) -> Option<&str> {
        match (&self.plan.owner, &self.redeemed) {
            (Owner::Account(Some(id)), _) => Some(id),
            (_, Some(Grant::RefreshToken { home_account_id, .. })) => home_account_id.as_deref(),
            _ => None,
        }
    }

    /// Nobody gets another user's token, and no process changes its user.
    fn check_identity(&self, identity: &Identity, response: &TokenResponse) -> Result<(), Error> {
        let is_other =
            |known: &str| identity.is_said && !identity.home_account_id.eq_ignore_ascii_case(known);
        if self.redeemed_account().is_some_and(is_other) {
            return Err(Error::new(
                ErrorKind::ProtocolViolation,
                "user_mismatch",
                "The authority answered with a token of another user than was asked for.",
            ));
        }
        if self.session_owner.as_ref().is_some_and(|owner| is_other(&owner.home_account_id)) {
            return Err(kept::session_key_in_use());
        }
        let is_by_refresh_token = matches!(self.plan.grant, Some(Grant::RefreshToken { .. }));
        if is_by_refresh_token && response.refresh_token.is_none() {
            return Err(Error::new(
                ErrorKind::ProtocolViolation,
                "refresh_token_missing",
                "The authority redeemed the refresh token and gave no other one to keep.",
            ));
        }
        Ok(())
    }

    fn token(
        &self,
        item: AccessTokenItem,
        cache_key: Option<String>,
        source: TokenSource,
        world: &World,
    ) -> AccessToken {
        let session_key = match &self.plan.owner {
            Owner::Session(Session { key, is_long_running: true, .. }) => Some(key.clone()),
            _ => None,
        };
        AccessToken {
            reuse: self.reuse(&item, world),
            account: account(&item),
            token: item.secret,
            token_type: self.plan.binding.token_type().into(),
            expires_on: item.expires_on,
            refresh_on: item.refresh_on,
            scopes: Scopes::from_response(&item.target).iter().map(String::from).collect(),
            tenant_id: Some(item.realm).filter(|realm| !realm.is_empty()),
            key_id: item.key_id.filter(|_| matches!(self.plan.binding, TokenBinding::Certificate)),
            correlation_id: self.plan.correlation_id.clone(),
            source,
            token_endpoint: None,
            refresh_reason: CacheRefreshReason::NotApplicable,
            region: self.region(false).map(|region| region.as_str().into()),
            id_token: None,
            spa_code: None,
            session_key,
            cache_key,
        }
    }

    /// Renewals are spread over ten minutes, so that processes that got their tokens together don't renew them together.
    fn reuse(&self, item: &AccessTokenItem, world: &World) -> Option<Reuse> {
        let until = item.expires_on.saturating_sub(EXPIRY_BUFFER_SECONDS);
        let jitter = random::symmetric(&world.seed, random::Purpose::RefreshJitter, REFRESH_JITTER_SECONDS);
        (self.plan.is_repeatable && until > world.now_seconds()).then(|| Reuse {
            until,
            refresh_from: item.refresh_on.map(|refresh_on| refresh_on.saturating_add_signed(jitter)),
        })
    }

    // What is known

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
        cloud::environment(&self.plan.authority, self.region(mtls), mtls)
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

fn account(item: &AccessTokenItem) -> Option<Account> {
    (!item.home_account_id.is_empty()).then(|| Account {
        home_account_id: item.home_account_id.clone(),
        environment: item.environment.clone(),
        username: item.username.clone().unwrap_or_default(),
    })
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
