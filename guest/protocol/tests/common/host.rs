//! A host with a cache of its own, for acquisitions that follow each other.
#![allow(clippy::result_large_err, reason = "an acquisition ends at its first error")]

use std::collections::VecDeque;

use symbolon_protocol::acquisition::{Acquisition, Action, Event, Fact, FactKind, Found, Lookup};
use symbolon_protocol::authorization::AuthorizationRequest;
use symbolon_protocol::credential::{
    AssertionContext, CredentialError, Description, Presentation, Purpose, SignedAssertion,
};
use symbolon_protocol::error::Error;
use symbolon_protocol::platform::{
    CertificateRequest, CertificateSubject, IssuedCertificate, NewCertificate, Platform,
};
use symbolon_protocol::request::{AccessToken, Context, Flow, Request, Scheme, SignIn, TokenSource};
use symbolon_protocol::response::{HttpResponse, TransportError};
use symbolon_protocol::token_request::{HttpRequest, Method, UrlScheme};

use super::cache::Cache;
use super::directory::Directory;
use super::{NOW, NOW_MS, context};

/// A request as the authority saw it.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) method: Method,
    pub(crate) scheme: UrlScheme,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    /// Of a form.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: String,
    pub(crate) presentation: Presentation,
}

impl Sent {
    fn new(request: &HttpRequest) -> Sent {
        let field = |pair: &str| {
            let (name, value) = pair.split_once('=').expect("a name and a value");
            (decoded(name), decoded(value))
        };
        Sent {
            method: request.method,
            scheme: request.scheme,
            host: request.authority.clone(),
            path: request.path_with_query.clone(),
            headers: request.headers.clone(),
            fields: match request.body.starts_with('{') {
                true => Vec::new(),
                false => request.body.split('&').filter(|pair| !pair.is_empty()).map(field).collect(),
            },
            body: request.body.clone(),
            presentation: request.presentation.clone(),
        }
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The parameters of the query.
    pub(crate) fn query(&self) -> Vec<(String, String)> {
        let query = self.path.split_once('?').map_or("", |(_, query)| query);
        let pair = |pair: &str| pair.split_once('=').map(|(name, value)| (decoded(name), decoded(value)));
        query.split('&').filter_map(pair).collect()
    }

    /// The fields, one a line.
    pub(crate) fn form(&self) -> String {
        let lines: Vec<String> = self.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        lines.join("\n")
    }

    /// The names of the fields, in their order.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.fields.iter().map(|(name, _)| name.as_str()).collect()
    }
}

fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(code, 16).expect("two hexadecimal digits"));
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).expect("UTF-8")
}

pub(crate) struct Host {
    /// Its time goes on; each acquisition has half a minute.
    pub(crate) context: Context,
    pub(crate) credential: Description,
    /// What the credential gives, if it gives assertions.
    pub(crate) assertion: Option<SignedAssertion>,
    pub(crate) cache: Cache,
    /// What outlives acquisitions, and until when.
    pub(crate) facts: Vec<(Fact, Vec<u8>, u64)>,
    pub(crate) directory: Directory,
    /// What is answered before the directory is asked.
    pub(crate) answers: VecDeque<Result<HttpResponse, TransportError>>,
    pub(crate) sent: Vec<Sent>,
    pub(crate) actions: Vec<&'static str>,
    pub(crate) lookups: Vec<Lookup>,
    pub(crate) asserted: Vec<AssertionContext>,
    pub(crate) signed: Vec<String>,
    /// What credentials were selected for.
    pub(crate) purposes: Vec<Purpose>,
    pub(crate) platform: Platform,
    /// What becomes of the selection of the platform's secrets.
    pub(crate) secret: Result<Description, CredentialError>,
    /// The names of the platform's secrets that were selected, and the paths of challenge files.
    pub(crate) secrets: Vec<String>,
    /// What was issued to the managed identity.
    pub(crate) issued: Option<IssuedCertificate>,
    /// What is told instead, once.
    pub(crate) stale: Option<IssuedCertificate>,
    /// What becomes of a request for a certificate.
    pub(crate) certificate_request: Result<CertificateRequest, CredentialError>,
    /// What certificates were requested with.
    pub(crate) subjects: Vec<CertificateSubject>,
    /// The certificates that were installed. The last one is issued then, and lives for a week.
    pub(crate) installed: Vec<NewCertificate>,
    pub(crate) waits: Vec<u64>,
    /// How long an acquisition may take.
    pub(crate) patience_ms: u64,
    /// The flights that are led, the last one last.
    flights: Vec<String>,
}

impl Host {
    pub(crate) fn new(credential: Description) -> Host {
        Host {
            context: context(),
            credential,
            assertion: None,
            cache: Cache::default(),
            facts: Vec::new(),
            directory: Directory::default(),
            answers: VecDeque::new(),
            sent: Vec::new(),
            actions: Vec::new(),
            lookups: Vec::new(),
            asserted: Vec::new(),
            signed: Vec::new(),
            purposes: Vec::new(),
            platform: Platform::default(),
            secret: Ok(super::secret()),
            secrets: Vec::new(),
            issued: None,
            stale: None,
            certificate_request: Ok(CertificateRequest { der: b"csr".to_vec(), attestation: None }),
            subjects: Vec::new(),
            installed: Vec::new(),
            waits: Vec::new(),
            patience_ms: 30_000,
            flights: Vec::new(),
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.context.now / 1000
    }

    pub(crate) fn later(&mut self, seconds: u64) {
        self.context.now += seconds * 1000;
        assert!(self.context.now >= NOW_MS && self.now() >= NOW);
    }

    pub(crate) fn answer(&mut self, answer: Result<HttpResponse, TransportError>) {
        self.answers.push_back(answer);
    }

    /// Runs one acquisition. What it did is told by [`Host::sent`] and its neighbours, which tell of no other one.
    pub(crate) fn acquire(&mut self, request: Request) -> Result<AccessToken, Error> {
        match self.run(request)? {
            Action::Finish(result) => result.map(|token| *token),
            end => panic!("{end:?} ends an acquisition"),
        }
    }

    /// The same for the beginning of a sign-in.
    pub(crate) fn sign_in(&mut self, sign_in: SignIn) -> Result<AuthorizationRequest, Error> {
        let (scopes, options) = (sign_in.scopes.clone(), sign_in.options.clone());
        let flow = Flow::SignIn(Box::new(sign_in));
        match self.run(Request { flow, scopes, scheme: Scheme::Bearer, options })? {
            Action::SignIn(begun) => Ok(*begun),
            Action::Finish(Err(error)) => Err(error),
            end => panic!("{end:?} ends a sign-in"),
        }
    }

    fn run(&mut self, request: Request) -> Result<Action, Error> {
        self.sent.clear();
        self.actions.clear();
        self.lookups.clear();
        self.asserted.clear();
        self.signed.clear();
        self.purposes.clear();
        self.secrets.clear();
        self.subjects.clear();
        self.waits.clear();
        self.context.deadline = self.context.now + self.patience_ms;
        self.context.seed[0] += 1;
        let (mut acquisition, mut action) = Acquisition::start(request, &self.context)?;
        for _ in 0..100 {
            if let Action::Finish(_) | Action::SignIn(_) = action {
                let led = std::mem::take(&mut self.flights);
                // What the cache answers needs no flight: whoever waits leads next.
                let is_cached =
                    matches!(&action, Action::Finish(Ok(token)) if token.source == TokenSource::Cache);
                assert!(led.is_empty() || is_cached, "flights that nobody ended");
                assert!(self.answers.is_empty(), "answers that nobody asked for");
                return Ok(action);
            }
            let event = self.perform(action);
            action = acquisition.handle(event);
        }
        panic!("the acquisition doesn't end");
    }

    /// The number of requests that an acquisition takes which succeeds.
    pub(crate) fn requests(&mut self, request: Request) -> usize {
        self.acquire(request).expect("a token");
        self.sent.len()
    }

    fn perform(&mut self, action: Action) -> Event {
        let name = match &action {
            Action::Find(_) => "find",
            Action::Select(_) => "select",
            Action::DescribePlatform => "platform",
            Action::SelectSecret(_) => "secret",
            Action::SelectChallengeFile(_) => "file",
            Action::SelectIssued => "issued",
            Action::RequestCertificate(_) => "request",
            Action::InstallCertificate(_) => "install",
            Action::Sign { .. } => "sign",
            Action::Assert(_) => "assert",
            Action::Send(_) => "send",
            Action::Wait { .. } => "wait",
            Action::Report(outcome) => super::reported(*outcome),
            // Every request looks for a pause first.
            Action::Recall(fact) | Action::Remember { fact, .. } if fact.kind == FactKind::Throttle => "",
            Action::Recall(_) => "recall",
            Action::Remember { .. } => "remember",
            Action::Put(_) => "put",
            Action::Fail(_) => "fail",
            Action::Finish(_) | Action::SignIn(_) => "finish",
        };
        self.actions.extend(Some(name).filter(|name| !name.is_empty()));
        match action {
            Action::Find(lookup) => Event::Found(self.find(lookup)),
            Action::Select(purpose) => {
                self.purposes.push(purpose);
                if purpose == Purpose::AuthenticateUnbound {
                    self.credential.certificate = None;
                    self.assertion = self
                        .assertion
                        .take()
                        .map(|_| SignedAssertion { assertion: "un.bou.nd".into(), bound: false });
                }
                Event::Selected(Ok(self.credential.clone()))
            }
            Action::DescribePlatform => Event::Platform(self.platform.clone()),
            Action::SelectSecret(name) | Action::SelectChallengeFile(name) => {
                self.secrets.push(name);
                Event::Selected(self.secret.clone())
            }
            Action::SelectIssued => {
                Event::Issued(self.stale.take().or_else(|| self.issued.clone()).map(Box::new))
            }
            Action::RequestCertificate(subject) => {
                self.subjects.push(subject);
                Event::CertificateRequested(self.certificate_request.clone())
            }
            Action::InstallCertificate(new) => {
                self.issued = Some(self.issue(&new));
                self.installed.push(new);
                Event::Installed(Ok(()))
            }
            Action::Sign { signing_input, .. } => {
                self.signed.push(signing_input);
                Event::Signed(Ok(vec![0xff; 3]))
            }
            Action::Assert(context) => {
                self.asserted.push(context);
                Event::Asserted(Ok(self.assertion.clone().expect("an assertion")))
            }
            Action::Send(request) => {
                let sent = Sent::new(&request);
                let answer = self.answers.pop_front().unwrap_or_else(|| self.directory.answer(&sent.fields));
                self.sent.push(sent);
                Event::Answered(answer)
            }
            Action::Wait { milliseconds } => {
                self.waits.push(milliseconds);
                self.context.now += milliseconds;
                Event::Waited { now: self.context.now }
            }
            Action::Report(_) => Event::Reported,
            Action::Recall(fact) => {
                let known = self.facts.iter().find(|(known, ..)| *known == fact);
                let lasts = known.filter(|(_, _, until)| self.context.now < *until);
                Event::Recalled(lasts.map(|(_, value, _)| value.clone()))
            }
            Action::Remember { fact, value, ttl_ms } => {
                self.facts.retain(|(known, ..)| *known != fact);
                self.facts.push((fact, value, self.context.now + ttl_ms));
                Event::Remembered
            }
            Action::Put(store) => {
                if store.ends_flight {
                    self.flights.pop().expect("a flight that ends");
                }
                self.cache.put(store);
                Event::Stored
            }
            Action::Fail(_) => {
                self.flights.pop().expect("a flight that ends");
                Event::Failed
            }
            Action::Finish(_) | Action::SignIn(_) => unreachable!("handled by the caller"),
        }
    }

    /// What the host makes of a new certificate.
    fn issue(&self, new: &NewCertificate) -> IssuedCertificate {
        let credential = super::certificate(&format!("issued-{}", self.installed.len() + 1));
        let mut certificate = credential.certificate.clone().expect("a certificate");
        certificate.not_after = self.now() + 7 * 24 * 60 * 60;
        certificate.algorithms.clear();
        IssuedCertificate {
            credential: Description { certificate: Some(certificate), ..credential },
            client_id: new.client_id.clone(),
            token_endpoint: new.token_endpoint.clone(),
            attested: self.certificate_request.as_ref().is_ok_and(|made| made.attestation.is_some()),
        }
    }

    fn find(&mut self, lookup: Lookup) -> Found {
        let found = match (self.cache.find(&lookup), &lookup.flight) {
            (Ok(entry), _) => Found::Hit(entry),
            (Err(_), None) => Found::Miss,
            (Err(absence), Some(flight)) => {
                assert!(!self.flights.contains(flight), "an acquisition waits for itself");
                self.flights.push(flight.clone());
                Found::Lead { absence, now: self.context.now }
            }
        };
        self.lookups.push(lookup);
        found
    }
}
