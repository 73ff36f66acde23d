//! The request: what the client needs for it, how it proves itself, what becomes of the answer.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::learn::Subject;
use super::{Connection, Leg, Route, Signing, State, Step, Supplied, World};
use crate::acquisition::Action;
use crate::assertion::{self, Claims, Naming};
use crate::authority::SignatureAlgorithm;
use crate::credential::{
    AssertionContext, Authentication, Certificate, CredentialError, CredentialErrorKind, CredentialKind,
    Description, Outcome, Proof, SignedAssertion, Terms, nothing_to_sign,
};
use crate::error::{Error, ErrorClass, ErrorKind};
use crate::grant::Grant;
use crate::managed_identity::{Inquiry, Question, Turn, Wanted};
use crate::plan::{Need, ProofSource, TokenBinding};
use crate::platform::IssuedCertificate;
use crate::response::{self, Exchange, HttpResponse, SUCCESS, TLS_FAILED, TokenResponse, TransportError};
use crate::token_request::{self, Attempt};
use crate::{provider, random, retry};

impl Leg {
    /// Begins to bring the token: gets what an agent needs, then a credential where none is at hand.
    pub(super) fn begin(&mut self, world: &mut World) -> Step {
        if matches!(self.plan.proof, ProofSource::Platform(_)) {
            return self.inquire(world);
        }
        if self.grant().is_some() && !self.checked_pause {
            return self.check_pause();
        }
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

    /// Asks the platform for the token; for one that is bound to a certificate, for that: before the token is looked for,
    /// and before it is asked for, as looking may have taken a while.
    pub(super) fn inquire(&mut self, world: &mut World) -> Step {
        let ProofSource::Platform(identity) = &self.plan.proof else {
            return self.fail(Error::unexpected_event());
        };
        let refused_token = self.plan.token_to_refresh.clone().filter(|_| self.plan.is_challenged);
        let refused_token = refused_token.or_else(|| self.refused_token.take());
        let question = Question::new(&self.plan, identity.clone(), refused_token);
        let wanted = match self.plan.binding {
            TokenBinding::Certificate => Wanted::Certificate { refused: self.refused.clone() },
            _ => Wanted::Token,
        };
        let mut inquiry = Box::new(Inquiry::new(question, wanted));
        let turn = inquiry.start();
        self.inquired(inquiry, Ok(turn), world)
    }

    pub(super) fn inquired(
        &mut self,
        inquiry: Box<Inquiry>,
        turn: Result<Turn, Box<Error>>,
        world: &mut World,
    ) -> Step {
        match turn {
            Ok(Turn::Do(action)) => self.proceed(State::Inquiring(inquiry), action),
            Ok(Turn::Token(response, endpoint)) => match self.environment(false) {
                Ok(environment) => self.store(&environment, endpoint, None, &response, world),
                Err(error) => self.fail(error),
            },
            Ok(Turn::Certificate(issued)) => self.certified(issued, world),
            Err(error) => self.fail(*error),
        }
    }

    /// With another certificate than before, another token answers the question.
    fn certified(&mut self, issued: Box<IssuedCertificate>, world: &mut World) -> Step {
        let before = self.credential.replace(issued.credential.clone());
        let is_known = before.as_ref().and_then(Description::thumbprint) == issued.credential.thumbprint();
        self.plan.set_attested(issued.attested);
        self.issued = Some(issued);
        if is_known { self.attempt(world) } else { self.bind(world) }
    }

    /// Goes on with the selected credential.
    pub(super) fn selected(
        &mut self,
        result: Result<Description, CredentialError>,
        world: &mut World,
        go_on: fn(&mut Leg, &mut World) -> Step,
    ) -> Step {
        match result {
            Ok(description) => {
                self.credential = Some(description);
                go_on(self, world)
            }
            Err(error) => self.fail(error.into()),
        }
    }

    /// Begins a request, with proofs of its own: no assertion is sent twice.
    pub(super) fn attempt(&mut self, world: &mut World) -> Step {
        if self.plan.is_at_provider() && self.learnt.provider.is_none() {
            return self.learn(Subject::Provider);
        }
        if let Some(sign_in) = self.plan.sign_in.take() {
            return self.sign_in(&sign_in, world);
        }
        if let Some(fact) = self.undecided() {
            return self.proceed(State::Recalling, Action::Recall(fact));
        }
        let authentication = match &self.agent_assertion {
            Some(Supplied { bound, .. }) => {
                Ok(Authentication { proof: Proof::SignedAssertion, mtls: *bound })
            }
            None => self.credential().and_then(|credential| self.choose(credential)),
        };
        let authentication = authentication.and_then(|chosen| self.at_provider(chosen));
        if let Some(subject) = authentication.as_ref().ok().and_then(|it| self.unknown(it.mtls)) {
            return self.learn(subject);
        }
        match authentication.and_then(|authentication| self.route(authentication)) {
            Ok(route) => match (route.authentication.proof, self.agent_assertion.clone()) {
                (_, Some(Supplied { token, .. })) => self.send(route, Some(&token), world),
                (Proof::Secret | Proof::BasicSecret | Proof::Handshake, _) => self.send(route, None, world),
                (Proof::CertificateAssertion { .. }, _) => self.sign(route, world),
                (Proof::SignedAssertion, _) => self.assert(route),
            },
            Err(error) => self.fail(error),
        }
    }

    /// How the client authenticates at an OpenID Connect provider, if the authority is one.
    fn at_provider(&self, chosen: Authentication) -> Result<Authentication, Error> {
        let Some(provider) = &self.learnt.provider else { return Ok(chosen) };
        if let Some(Grant::AuthorizationCode(code)) = self.grant()
            && !code.skip_issuer_check
        {
            provider.check_issuer(code.issuer.as_deref())?;
        }
        let (plan, credential) = (&self.plan, self.credential.as_ref());
        let configured = plan.application.token_endpoint_auth_method.as_deref();
        let authentication = provider.authentication(configured, chosen, credential, plan.send_x5c)?;
        match (authentication.proof, credential) {
            (Proof::Handshake, Some(credential)) if plan.extra_assertion_claims.is_some() => {
                Err(nothing_to_sign(credential, true))
            }
            _ => Ok(authentication),
        }
    }

    pub(super) fn choose(&self, credential: &Description) -> Result<Authentication, Error> {
        Authentication::choose(credential, &self.terms())
    }

    pub(super) fn terms(&self) -> Terms {
        Terms {
            scheme: self.plan.binding.scheme(),
            binds: self.binds() && self.connection != Connection::Unbound,
            send_x5c: self.plan.send_x5c,
            extra_claims: self.plan.extra_assertion_claims.is_some(),
        }
    }

    /// Whether requests of this flow are bound to the credential's certificate, where that asks for it.
    pub(super) fn binds(&self) -> bool {
        matches!(self.plan.proof, ProofSource::Credential { binds: true })
    }

    pub(super) fn assert(&mut self, route: Route) -> Step {
        let context = AssertionContext {
            client_id: self.plan.client_id.clone(),
            token_endpoint: route.endpoint.clone(),
            tenant_id: self.plan.authority.tenant().map(String::from),
            authority: self.plan.authority.canonical(),
            fmi_path: self.plan.client_assertion_fmi_path.clone(),
            claims: self.plan.challenge.clone(),
            client_capabilities: self.plan.application.client_capabilities.clone(),
            correlation_id: self.plan.correlation_id.clone(),
        };
        self.proceed(State::Asserting(route), Action::Assert(context))
    }

    /// The assertion alone says whether it is bound, and so where the request goes.
    pub(super) fn asserted(
        &mut self,
        route: Route,
        result: Result<SignedAssertion, CredentialError>,
        world: &mut World,
    ) -> Step {
        let bound = result.map_err(Error::from).and_then(|assertion| {
            let authentication =
                route.authentication.bound_by(&assertion, self.credential()?, &self.terms())?;
            Ok((self.route(authentication)?, assertion))
        });
        match bound {
            Ok((route, assertion)) => self.send(route, Some(&assertion.assertion), world),
            Err(error) => self.fail(error),
        }
    }

    pub(super) fn sign(&mut self, route: Route, world: &mut World) -> Step {
        world.assertions += 1;
        let algorithm = self.credential().and_then(|credential| {
            assertion::choose_algorithm(&self.algorithms(), certificate(credential)?, &credential.name)
        });
        let step = algorithm.and_then(|algorithm| self.sign_with(route, algorithm, world));
        self.or_fail(step)
    }

    /// How assertions may be signed here, the best first.
    fn algorithms(&self) -> Vec<SignatureAlgorithm> {
        match &self.learnt.provider {
            Some(provider) => provider.algorithms(),
            None => {
                let expected = self.plan.authority.signature_algorithm();
                [expected, SignatureAlgorithm::Rs256, SignatureAlgorithm::Es256].into()
            }
        }
    }

    pub(super) fn sign_with(
        &mut self,
        route: Route,
        algorithm: SignatureAlgorithm,
        world: &World,
    ) -> Result<Step, Error> {
        let chain = matches!(route.authentication.proof, Proof::CertificateAssertion { chain: true });
        let provider = self.learnt.provider.as_ref();
        let for_issuer = provider.filter(|_| !self.plan.application.assertions_for_token_endpoint);
        let claims = Claims {
            client_id: &self.plan.client_id,
            audience: for_issuer.map_or(&route.endpoint, |provider| &provider.issuer),
            now: world.now_seconds(),
            id: &random::uuid(&world.seed, random::Purpose::AssertionId, world.assertions),
            extra: self.plan.extra_assertion_claims.as_deref(),
        };
        let naming = Naming { by_id: provider.is_some(), chain };
        let input = assertion::signing_input(&claims, certificate(self.credential()?)?, algorithm, naming)?;
        let action = Action::Sign { algorithm, signing_input: input.clone() };
        Ok(self.proceed(State::Signing(Signing { route, algorithm, input }), action))
    }

    pub(super) fn signed(
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
                    && signing.algorithm == SignatureAlgorithm::Ps256
                    && self.algorithms().contains(&SignatureAlgorithm::Rs256) =>
            {
                let step = self.sign_with(signing.route, SignatureAlgorithm::Rs256, world);
                self.or_fail(step)
            }
            Err(error) => self.fail(error.into()),
        }
    }

    pub(super) fn send(&mut self, route: Route, assertion: Option<&str>, world: &World) -> Step {
        let remaining_ms = match world.remaining_ms() {
            Ok(remaining_ms) => remaining_ms,
            Err(error) => return self.fail(error),
        };
        let Some(grant) = self.grant() else { return self.fail(self.plan.nothing_cached()) };
        let attempt = Attempt {
            grant,
            authentication: route.authentication,
            client_id: self.issued.as_ref().map_or(&self.plan.client_id, |issued| &issued.client_id),
            endpoint: &route.endpoint,
            region: self.region(route.authentication.mtls),
            region_telemetry: self.region_telemetry(route.authentication.mtls),
            assertion,
            reason: self.reason,
            remaining_ms,
        };
        let request = token_request::build(&self.plan, &attempt);
        let step = request.map(|request| self.proceed(State::Sending(route), Action::Send(request)));
        self.or_fail(step)
    }

    pub(super) fn answered(
        &mut self,
        route: Route,
        result: Result<HttpResponse, TransportError>,
        world: &mut World,
    ) -> Step {
        let exchange = Exchange {
            token_type: self.plan.token_type(),
            client_id: &self.plan.client_id,
            host: &route.environment.network_host,
            bound: route.authentication.mtls,
            blueprint: self.plan.agent().map(|_| self.plan.application.client_id.as_str()),
            single_use: self.is_single_use(),
            correlation_id: &self.plan.correlation_id,
            now: world.now,
        };
        self.has_redeemed = matches!(&result, Ok(HttpResponse { status: SUCCESS, .. }));
        let response = match result {
            Ok(response) => response::parse(&response, &exchange),
            Err(error) => Err(response::transport_error(&error, &exchange)),
        };
        match response.and_then(|response| self.check_binding(response)) {
            Ok(mut response) => {
                self.keep_refresh_token(&mut response);
                if self.issued.is_some() {
                    // What was asked for, as with any other token of the identity.
                    response.scope = None;
                }
                if self.proves_credential(&route) {
                    let answer = Box::new((route, response));
                    return self.proceed(State::Accepting(answer), Action::Report(Outcome::Used));
                }
                self.accepted(&route, &response, world)
            }
            Err(error) => self.refused(error, world),
        }
    }

    /// What a provider's token is bound to is the certificate that was presented, and is in the result.
    fn check_binding(&self, response: TokenResponse) -> Result<TokenResponse, Error> {
        if self.plan.is_at_provider() {
            let certificate = self.credential.as_ref().and_then(Description::thumbprint);
            let must = matches!(self.plan.binding, TokenBinding::Certificate);
            provider::check_binding(&response.access_token, certificate, must)?;
        }
        Ok(response)
    }

    /// Whether the request proved the selected credential. An agent proves a token, unless that is bound to a certificate;
    /// the platform's certificates are nobody's credential.
    fn proves_credential(&self, route: &Route) -> bool {
        match self.plan.proof {
            ProofSource::Credential { .. } => true,
            ProofSource::Agent(_) => route.authentication.mtls,
            ProofSource::Platform(_) => false,
        }
    }

    pub(super) fn accepted(&mut self, route: &Route, response: &TokenResponse, world: &World) -> Step {
        let region = self.region(route.authentication.mtls).map(|region| region.as_str().into());
        self.store(&route.environment, route.endpoint.clone(), region, response, world)
    }

    pub(super) fn refused(&mut self, error: Error, world: &mut World) -> Step {
        if error.kind == ErrorKind::BoundTransportNotEnabled && self.gives_way() {
            return self.remember(format!("the authority refused it with AADSTS{:?}", error.aadsts_codes));
        }
        // A secret doesn't change by being looked at again.
        let may_be_renewed = matches!(self.plan.proof, ProofSource::Credential { .. })
            && self
                .credential
                .as_ref()
                .is_some_and(|credential| credential.kind != CredentialKind::ClientSecret);
        if may_be_renewed && error.is_certificate_rejection() && !self.reloaded {
            self.reloaded = true;
            return self.proceed(State::Rejecting(error), Action::Report(Outcome::Rejected));
        }
        if self.issued.is_some() && !self.reloaded && matches!(&*error.code, "invalid_client" | TLS_FAILED) {
            self.reloaded = true;
            self.refused = self.credential.as_ref().and_then(Description::thumbprint).map(String::from);
            return self.inquire(world);
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
        self.give_up(error, world)
    }

    pub(super) fn waited(&mut self, error: Error, now: u64, world: &mut World) -> Step {
        world.now = now;
        if retry::is_time_left(now, world.deadline) { self.attempt(world) } else { self.fail(error) }
    }

    pub(super) fn rejected(&mut self, error: Error) -> Step {
        if self.is_single_use() {
            return self.fail(error);
        }
        let purpose = self.purpose();
        self.proceed(State::Reloading(error), Action::Select(purpose))
    }

    /// Another credential is tried once, and so is an assertion, which is made anew; to the same certificate the authority
    /// has said all there is to say.
    pub(super) fn reloaded(
        &mut self,
        error: Error,
        result: Result<Description, CredentialError>,
        world: &mut World,
    ) -> Step {
        let is_same = |other: &Description| {
            other.kind == CredentialKind::Certificate
                && self
                    .credential
                    .as_ref()
                    .is_some_and(|rejected| rejected.thumbprint() == other.thumbprint())
        };
        match result {
            Ok(other) if !is_same(&other) && self.choose(&other).is_ok() => {
                self.credential = Some(other);
                self.attempt(world)
            }
            _ => self.fail(error),
        }
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
