//! A host for the protocol's machine: a cache in memory, a clock that is set, a key that really signs, and an authority
//! that answers as the vector says.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, OnceLock, PoisonError},
};

use anyhow::{Context as _, Result, bail, ensure};
use aws_lc_rs::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest},
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use symbolon_protocol::{
    acquisition::{Acquisition, Action, Event, Fact, Found, Lookup},
    authority::SignatureAlgorithm,
    credential::{
        BoundUse, Certificate, CredentialError, CredentialErrorKind, CredentialKind, Description, Place,
        SignedAssertion,
    },
    error::Error,
    platform::{CertificateRequest, IssuedCertificate, NewCertificate, Platform},
    request::{AccessToken, Application, Context, Request, TokenSource},
    response::{HttpResponse, TransportError, TransportErrorKind},
    token_request::{HttpRequest, Method, UrlScheme},
};
use url::form_urlencoded;

use crate::{authority::Authority, cache::Cache};

/// A credential of the application.
#[derive(Clone)]
pub(crate) enum Credential {
    Secret(String),
    Certificate(Certificate),
    /// A token made elsewhere; with a certificate where it is bound to one.
    Assertion {
        token: String,
        certificate: Option<Certificate>,
    },
    /// None that can be used.
    None(CredentialErrorKind),
}

/// What the authority answers.
#[derive(Clone)]
pub(crate) enum Answer {
    /// A token of the type that was asked for.
    Token,
    /// This token.
    AccessToken(String),
    /// A token of this type.
    TokenOfType(String),
    Response {
        status: u16,
        retry_after: Option<String>,
        body: String,
    },
    Timeout,
}

/// Names and values, in order.
type Pairs = Vec<(String, String)>;

/// A request as it goes out.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) method: &'static str,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<(String, String)>,
    pub(crate) certificate: bool,
    /// How long the answer may take, in milliseconds.
    pub(crate) timeout_ms: u64,
}

impl Sent {
    /// A field of the body.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.body.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// A header, by its name in any case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// Runs an acquisition in the machine's place.
type Driver = fn(&mut Host, &Request, &Context) -> Result<Result<AccessToken, Error>>;

static DRIVER: OnceLock<Driver> = OnceLock::new();

static SIGNATURES: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());

/// Has all acquisitions of this process run by this one. The first call counts.
pub fn drive_acquisitions(driver: Driver) {
    let _ = DRIVER.set(driver);
}

/// The host and what it saw. A copy goes on by itself.
#[derive(Clone)]
pub struct Host {
    pub(crate) application: Application,
    pub(crate) credential: Credential,
    /// Whether connections are bound to the credential.
    pub(crate) use_bound: BoundUse,
    /// Unix milliseconds.
    pub(crate) now: u64,
    /// Whether an acquisition renews a token that still stands.
    pub(crate) proactive_refresh: bool,
    /// How long an acquisition may take, in milliseconds.
    pub(crate) patience_ms: u64,
    /// The platform's variables, those that hold secrets among them.
    pub(crate) variables: Vec<(String, String)>,
    /// What the authority answers, in turn; afterwards it gives tokens.
    pub(crate) answers: VecDeque<Answer>,
    /// What the platform's metadata service answers about where this runs, in turn, the last one ever after.
    pub(crate) metadata: VecDeque<Answer>,
    /// What those answer who know clouds by their names; the name of the authority's host alone where it is nothing.
    pub(crate) discovery: Option<Answer>,
    pub(crate) authority: Authority,
    pub(crate) cache: Cache,
    /// What outlives acquisitions, and until when.
    pub(crate) facts: Vec<(Fact, Vec<u8>, u64)>,
    /// The tokens that the authority gave.
    issued: BTreeSet<String>,
    /// What was issued to the managed identity.
    managed_certificate: Option<NewCertificate>,
    /// The flights that are led.
    flights: usize,
    pub(crate) sent: Vec<Sent>,
    /// The same as they left the machine, without the values of secrets.
    requests: Vec<HttpRequest>,
    pub(crate) delays: Vec<u64>,
    /// How often a credential was selected.
    pub(crate) selections: u64,
    /// How often it was asked for its assertion.
    pub(crate) assertions: u64,
    signature: Option<String>,
}

impl Host {
    pub(crate) fn new(application: Application, credential: Credential) -> Self {
        Self {
            application,
            credential,
            use_bound: BoundUse::Unspecified,
            now: 1_700_000_000_000,
            proactive_refresh: false,
            patience_ms: 30_000,
            variables: Vec::new(),
            answers: VecDeque::new(),
            metadata: VecDeque::new(),
            discovery: None,
            authority: Authority::default(),
            cache: Cache::default(),
            facts: Vec::new(),
            issued: BTreeSet::new(),
            managed_certificate: None,
            flights: 0,
            sent: Vec::new(),
            requests: Vec::new(),
            delays: Vec::new(),
            selections: 0,
            assertions: 0,
            signature: None,
        }
    }

    /// Goes on where another host stopped: with its cache, a second later.
    pub(crate) fn follow(&mut self, before: Host) {
        self.cache = before.cache;
        self.facts = before.facts;
        self.issued = before.issued;
        self.now = before.now + 1000;
    }

    /// Runs one acquisition.
    ///
    /// # Errors
    ///
    /// The outer one: the machine broke a rule between it and its host. The inner one: the acquisition failed.
    pub(crate) fn acquire(&mut self, request: Request) -> Result<Result<AccessToken, Error>> {
        let context = Context {
            application: self.application.clone(),
            now: self.now,
            deadline: self.now + self.patience_ms,
            seed: [1, 2, 3, self.now],
            proactive_refresh: self.proactive_refresh,
        };
        match DRIVER.get() {
            Some(driver) => driver(self, &request, &context),
            None => self.run(&request, &context),
        }
    }

    /// Runs one acquisition on the machine itself.
    ///
    /// # Errors
    ///
    /// As `acquire`.
    pub fn run(&mut self, request: &Request, context: &Context) -> Result<Result<AccessToken, Error>> {
        let (mut acquisition, mut action) = match Acquisition::start(request.clone(), context) {
            Ok(started) => started,
            Err(error) => return Ok(Err(error)),
        };
        for _ in 0..100 {
            let event = match action {
                Action::Finish(result) => {
                    // What the cache answers needs no flight: whoever waits leads next.
                    let is_cached = result.as_ref().is_ok_and(|token| token.source == TokenSource::Cache);
                    ensure!(self.flights == 0 || is_cached, "a flight is still led");
                    self.flights = 0;
                    return Ok(result.map(|token| *token));
                }
                action => self.react(action)?,
            };
            action = acquisition.handle(event);
        }
        bail!("the acquisition doesn't end")
    }

    /// What becomes of an action; of `Finish` nothing can.
    ///
    /// # Errors
    ///
    /// The machine broke a rule between it and its host.
    pub fn react(&mut self, action: Action) -> Result<Event> {
        Ok(match action {
            Action::Finish(_) => bail!("the acquisition is over"),
            Action::Find(lookup) => Event::Found(self.find(&lookup)),
            Action::Select(_) => Event::Selected(self.select()),
            Action::DescribePlatform => Event::Platform(self.platform()),
            Action::SelectSecret(name) => {
                let secret = self.variables.iter().find(|(known, _)| *known == name);
                self.credential = Credential::Secret(secret.context("there is no such secret")?.1.clone());
                Event::Selected(self.select())
            }
            Action::SelectChallengeFile(path) => bail!("nobody named the file {path}"),
            Action::SelectIssued => Event::Issued(self.select_issued()),
            Action::RequestCertificate(_) => Event::CertificateRequested(Ok(CertificateRequest {
                der: own_certificate()?.chain.concat(),
                attestation: None,
            })),
            Action::InstallCertificate(new) => {
                self.managed_certificate = Some(new);
                Event::Installed(Ok(()))
            }
            Action::Sign { algorithm, signing_input } => {
                Event::Signed(Ok(self.sign(algorithm, &signing_input)?))
            }
            Action::Assert(_) => Event::Asserted(self.assertion()),
            Action::Send(request) => {
                self.requests.push(request.clone());
                Event::Answered(self.answer(&request)?)
            }
            Action::Wait { milliseconds } => {
                self.delays.push(milliseconds);
                self.now += milliseconds;
                Event::Waited { now: self.now }
            }
            Action::Report(_) => Event::Reported,
            Action::Recall(fact) => {
                let known = self.facts.iter().find(|(known, ..)| *known == fact);
                let lasts = known.filter(|(_, _, until)| self.now < *until);
                Event::Recalled(lasts.map(|(_, value, _)| value.clone()))
            }
            Action::Remember { fact, value, ttl_ms } => {
                self.facts.retain(|(known, ..)| *known != fact);
                self.facts.push((fact, value, self.now + ttl_ms));
                Event::Remembered
            }
            Action::Put(store) => {
                if store.ends_flight {
                    self.land()?;
                }
                self.cache.put(store);
                Event::Stored
            }
            Action::Fail(_) => {
                self.land()?;
                Event::Failed
            }
        })
    }

    /// What was sent, as the machine or a shell over it wrote it.
    pub fn requests(&self) -> &[HttpRequest] {
        &self.requests
    }

    /// How long was waited, each time, in milliseconds.
    pub fn delays(&self) -> &[u64] {
        &self.delays
    }

    fn find(&mut self, lookup: &Lookup) -> Found {
        match self.cache.find(lookup) {
            Ok(entry) => Found::Hit(entry),
            Err(_) if lookup.flight.is_none() => Found::Miss,
            Err(absence) => {
                self.flights += 1;
                Found::Lead { absence, now: self.now }
            }
        }
    }

    /// Ends the flight that was led last.
    fn land(&mut self) -> Result<()> {
        self.flights = self.flights.checked_sub(1).context("a flight is ended that nobody led")?;
        Ok(())
    }

    fn platform(&self) -> Platform {
        let variable = |(name, value): &(String, String)| {
            let is_secret = ["IDENTITY_HEADER", "MSI_SECRET"].contains(&name.as_str());
            (name.clone(), (!is_secret).then(|| value.clone()))
        };
        Platform { variables: self.variables.iter().map(variable).collect(), has_arc_agent: false }
    }

    fn select(&mut self) -> Result<Description, CredentialError> {
        self.selections += 1;
        let (kind, certificate) = match &self.credential {
            Credential::Secret(_) => (CredentialKind::ClientSecret, None),
            Credential::Certificate(certificate) => (CredentialKind::Certificate, Some(certificate)),
            Credential::Assertion { certificate, .. } => {
                (CredentialKind::SignedAssertion, certificate.as_ref())
            }
            Credential::None(kind) => {
                let message = "there is no usable credential".into();
                return Err(CredentialError { kind: *kind, message, retry_after_ms: None });
            }
        };
        let (name, certificate) = ("ClientCredentials[0]".into(), certificate.cloned());
        let use_bound = self.use_bound;
        Ok(Description { name, kind, use_bound, omit_assertion_when_bound: false, certificate })
    }

    /// The certificate of the managed identity.
    fn select_issued(&mut self) -> Option<Box<IssuedCertificate>> {
        let NewCertificate { der, client_id, token_endpoint } = self.managed_certificate.clone()?;
        self.credential = Credential::Certificate(certificate(der, &[]));
        let credential = self.select().ok()?;
        Some(Box::new(IssuedCertificate { credential, client_id, token_endpoint, attested: false }))
    }

    fn sign(&mut self, algorithm: SignatureAlgorithm, input: &str) -> Result<Vec<u8>> {
        let key = key_pair()?;
        let scheme = match algorithm {
            SignatureAlgorithm::Ps256 => &RSA_PSS_SHA256,
            SignatureAlgorithm::Rs256 => &RSA_PKCS1_SHA256,
            other => bail!("an RSA key can't sign with {other:?}"),
        };
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(scheme, &SystemRandom::new(), input.as_bytes(), &mut signature)?;
        // Who asks for the same again gets the same: copies of a host are compared.
        let mut known = SIGNATURES.lock().unwrap_or_else(PoisonError::into_inner);
        let signature = known.entry(format!("{algorithm:?} {input}")).or_insert(signature).clone();
        self.signature = Some(format!("{input}.{}", BASE64_URL_SAFE_NO_PAD.encode(&signature)));
        Ok(signature)
    }

    fn assertion(&mut self) -> Result<SignedAssertion, CredentialError> {
        self.assertions += 1;
        match &self.credential {
            Credential::Assertion { token, certificate } => {
                Ok(SignedAssertion { assertion: token.clone(), bound: certificate.is_some() })
            }
            _ => Err(CredentialError {
                kind: CredentialErrorKind::Unsupported,
                message: "the credential gives no assertions".into(),
                retry_after_ms: None,
            }),
        }
    }

    fn answer(&mut self, request: &HttpRequest) -> Result<Result<HttpResponse, TransportError>> {
        let (headers, body) = self.with_secret(request)?;
        let scheme = if request.scheme == UrlScheme::Http { "http" } else { "https" };
        let sent = Sent {
            method: if request.method == Method::Get { "GET" } else { "POST" },
            url: format!("{scheme}://{}{}", request.authority, request.path_with_query),
            headers,
            body,
            certificate: request.presentation.certificate,
            timeout_ms: request.answer_timeout_ms,
        };
        self.check(&sent)?;
        let is_about_names =
            ["/discovery/instance?", "/.well-known/webfinger?", "?api-version=1.1&authorization_endpoint="];
        if let Some(answer) =
            self.discovery.clone().filter(|_| is_about_names.iter().any(|part| sent.url.contains(part)))
        {
            self.sent.push(sent);
            return Ok(match answer {
                Answer::Response { status, retry_after, body } => Ok(response(status, retry_after, body)),
                _ => Err(timeout()),
            });
        }
        if let Some(body) = self.about_authority(&sent) {
            return Ok(Ok(response(200, None, body)));
        }
        let asked = sent.field("token_type").unwrap_or("Bearer");
        let mut given = |token: &str, of_type: &str| {
            self.issued.insert(token.to_owned());
            (200, None, self.authority.token(&sent, token, of_type).to_string())
        };
        let answer = match sent.url.contains("//169.254.169.254/metadata/instance") {
            // The last one is the one that is given from then on.
            true if self.metadata.len() > 1 => self.metadata.pop_front(),
            true => self.metadata.front().cloned(),
            false => self.answers.pop_front(),
        };
        let (status, retry_after, body) = match answer.unwrap_or(Answer::Token) {
            Answer::Token => given("token", asked),
            Answer::AccessToken(token) => given(&token, asked),
            Answer::TokenOfType(token_type) => given("token", &token_type),
            Answer::Response { status, retry_after, body } => (status, retry_after, body),
            Answer::Timeout => {
                self.sent.push(sent);
                return Ok(Err(timeout()));
            }
        };
        self.sent.push(sent);
        let server = (request.scheme == UrlScheme::Http).then(|| "IMDS/1".into());
        Ok(Ok(HttpResponse { server, ..response(status, retry_after, body) }))
    }

    /// What the world knows of the authority: its names, and where a provider gives tokens. Who asks that asks for no token.
    fn about_authority(&self, sent: &Sent) -> Option<String> {
        let authority = self.application.authority.as_str();
        let host = authority.split('/').nth(2).unwrap_or_default();
        if sent.url.contains("/common/discovery/instance?") {
            let entry = json!({ "preferred_network": host, "preferred_cache": host, "aliases": [host] });
            return Some(json!({ "metadata": [entry] }).to_string());
        }
        if sent.url.contains("/.well-known/webfinger?") {
            let link = json!({ "rel": "http://schemas.microsoft.com/rel/trusted-realm", "href": format!("https://{host}") });
            return Some(json!({ "links": [link] }).to_string());
        }
        let is_about_provider = sent.url.contains("/.well-known/openid-configuration");
        let token_endpoint = format!("https://{host}/token");
        is_about_provider
            .then(|| json!({ "issuer": authority, "token_endpoint": token_endpoint }).to_string())
    }

    /// The headers and the fields of the body, the secret put into its place.
    fn with_secret(&self, request: &HttpRequest) -> Result<(Pairs, Pairs)> {
        let mut headers = request.headers.clone();
        let mut body: Pairs = form_urlencoded::parse(request.body.as_bytes()).into_owned().collect();
        let (pairs, name) = match &request.presentation.secret {
            None => return Ok((headers, body)),
            Some(Place::FormField(name)) => (&mut body, name),
            Some(Place::Header(name)) => (&mut headers, name),
        };
        let Credential::Secret(secret) = &self.credential else { bail!("there is no secret for {name}") };
        // A shell writes the names of headers in lower case; a form has no names that differ in their case.
        let mut places = pairs.iter_mut().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        let place = places.next().filter(|(_, value)| value.is_empty()).context("the secret has no place")?;
        ensure!(places.next().is_none(), "the secret has several places");
        place.1.clone_from(secret);
        Ok((headers, body))
    }

    /// Checks that the certificate is presented and the assertion sent that the credential made, or the authority.
    fn check(&self, sent: &Sent) -> Result<()> {
        let made = match &self.credential {
            Credential::Certificate(_) => self.signature.as_deref(),
            Credential::Assertion { token, .. } => Some(token.as_str()),
            _ => None,
        };
        let is_known = |sent: &str| Some(sent) == made || self.issued.contains(sent);
        ensure!(sent.field("client_assertion").is_none_or(is_known), "another assertion is sent");
        let has_certificate = matches!(
            &self.credential,
            Credential::Certificate(_) | Credential::Assertion { certificate: Some(_), .. }
        );
        ensure!(!sent.certificate || has_certificate, "a certificate is presented that there isn't");
        Ok(())
    }
}

fn timeout() -> TransportError {
    let detail = "connection-read-timeout".into();
    TransportError { kind: TransportErrorKind::Timeout, detail, may_be_sent: true }
}

fn response(status: u16, retry_after: Option<String>, body: String) -> HttpResponse {
    HttpResponse { status, retry_after, challenge: None, date: None, server: None, body: body.into_bytes() }
}

/// The public half of a certificate, by its DER. `algorithms` is what its key can do.
pub(crate) fn certificate(der: Vec<u8>, algorithms: &[SignatureAlgorithm]) -> Certificate {
    Certificate {
        thumbprint_sha256: BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, &der)),
        thumbprint_sha1: BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &der)),
        chain: vec![der],
        not_after: u64::MAX,
        algorithms: algorithms.to_vec(),
    }
}

/// A certificate with the key that signs here; made once for each run.
pub(crate) fn own_certificate() -> Result<Certificate> {
    let key =
        rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8()?.as_slice().into(), &rcgen::PKCS_RSA_SHA256)?;
    let certificate = rcgen::CertificateParams::new(vec!["conformance.example".into()])?.self_signed(&key)?;
    Ok(self::certificate(certificate.der().to_vec(), &[SignatureAlgorithm::Ps256, SignatureAlgorithm::Rs256]))
}

fn key_pair() -> Result<RsaKeyPair> {
    RsaKeyPair::from_pkcs8(pkcs8()?).context("the key can't be read")
}

/// The private key that all certificates of a run share.
pub(crate) fn pkcs8() -> Result<&'static Vec<u8>> {
    static KEY: OnceLock<Vec<u8>> = OnceLock::new();
    if let Some(key) = KEY.get() {
        return Ok(key);
    }
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256)?.serialize_der();
    Ok(KEY.get_or_init(|| key))
}

/// The claims or the header of a JSON Web Token: part 1 or part 0.
pub(crate) fn token_part(token: &str, part: usize) -> Option<String> {
    let part = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(part)?).ok()?;
    String::from_utf8(part).ok()
}

/// A value that may be absent.
pub(crate) fn optional(value: Option<&str>) -> Value {
    value.map_or(Value::Null, Value::from)
}
