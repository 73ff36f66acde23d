//! What must be known about the authority, or about where this runs, before a request can go out: the region, the names of
//! a cloud, the metadata of an OpenID Connect provider.
//!
//! Each is found out once for the application and kept as a fact: of those who need it at the same time one asks, and the
//! others wait for the flight.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Leg, State, Step, World};
use crate::acquisition::{Action, Event, Fact, FactKind, Found, Lookup, Store};
use crate::authority::AuthorityKind;
use crate::cloud::known_cloud;
use crate::error::{Error, ErrorClass, ErrorKind};
use crate::instance::{self, Instance, is_trusted_realm};
use crate::parameters::present;
use crate::plan::ProofSource;
use crate::platform::{Platform, REGION_NAME};
use crate::provider::Metadata;
use crate::region::{self, Region};
use crate::response::{Exchange, HttpResponse, SUCCESS, TransportError, transport_error};
use crate::retry::is_time_left;
use crate::telemetry::{RegionOutcome, RegionSource};
use crate::token_request::{HttpRequest, Method, UrlScheme};

/// What an acquisition has learnt.
#[derive(Default)]
pub(super) struct Learnt {
    pub(super) instance: Option<Instance>,
    pub(super) provider: Option<Metadata>,
    /// Whether AD FS has said that it is trusted under its name.
    pub(super) is_trusted: bool,
    /// Where the region came from, where it was to be detected.
    pub(super) region: Option<RegionSource>,
}

/// What is to be found out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Region,
    Instance,
    Provider,
    /// Whether AD FS is trusted under its name.
    Trust,
}

/// Something that is being found out.
pub(super) struct Quest {
    subject: Subject,
    stage: Stage,
    /// Whether a flight waits for it.
    leads: bool,
    retries: u8,
    request: Option<HttpRequest>,
    source: RegionSource,
}

/// What is under way.
enum Stage {
    /// Somebody may have found it out already.
    Recalling,
    Joining,
    Describing,
    Sending,
    Pausing,
    /// It is known, and kept.
    Remembering(Vec<u8>),
    /// The flight ends.
    Landing(Vec<u8>),
    Failing(Error),
}

impl Leg {
    /// Looks up what is known of a cloud that isn't built in: tokens are kept under the names that it has.
    pub(super) fn recall_instance(&mut self) -> Step {
        let fact = Fact { kind: FactKind::InstanceDiscovery, key: self.plan.authority.host().into() };
        self.proceed(State::RecallingInstance, Action::Recall(fact))
    }

    pub(super) fn recalled_instance(&mut self, fact: Option<&[u8]>, world: &mut World) -> Step {
        self.learnt.instance = fact.and_then(Instance::decode);
        self.start_known(world)
    }

    /// Whether the names of the authority's cloud have to be asked for.
    pub(super) fn is_instance_unknown(&self) -> bool {
        let is_platform = matches!(self.plan.proof, ProofSource::Platform(_));
        let (host, _) = self.plan.authority.host_and_port();
        let is_asked = self.discovery_uri().is_some() || known_cloud(host).is_none();
        self.plan.authority.kind() == AuthorityKind::Aad && !is_platform && is_asked
    }

    fn discovery_uri(&self) -> Option<&str> {
        present(self.plan.application.instance_discovery_uri.as_deref())
    }

    /// What must be found out before a request that travels by mutual TLS, or doesn't.
    pub(super) fn unknown(&self, mtls: bool) -> Option<Subject> {
        if matches!(self.plan.proof, ProofSource::Platform(_)) {
            return None;
        }
        let is_checked = !self.plan.application.skip_authority_validation && !self.learnt.is_trusted;
        if is_checked && self.plan.authority.kind() == AuthorityKind::Adfs {
            return Some(Subject::Trust);
        }
        let is_regional = mtls || self.grant().is_some_and(|grant| grant.is_regional());
        if self.plan.detects_region && is_regional && self.learnt.region.is_none() {
            return Some(Subject::Region);
        }
        let is_asked = self.is_instance_unknown() && self.learnt.instance.is_none();
        (is_asked && !mtls && self.region(mtls).is_none()).then_some(Subject::Instance)
    }

    pub(super) fn learn(&mut self, subject: Subject) -> Step {
        let quest = Quest {
            subject,
            stage: Stage::Recalling,
            leads: false,
            retries: 0,
            request: None,
            source: RegionSource::Cache,
        };
        let fact = self.fact(subject);
        self.proceed(State::Learning(Box::new(quest)), Action::Recall(fact))
    }

    /// Takes what became of the last action.
    pub(super) fn learning(&mut self, mut quest: Box<Quest>, event: Event, world: &mut World) -> Step {
        let stage = core::mem::replace(&mut quest.stage, Stage::Recalling);
        match (stage, event) {
            (Stage::Recalling, Event::Recalled(Some(value))) => self.found_out(quest, value, world),
            (Stage::Recalling, Event::Recalled(None)) if quest.leads => self.ask(quest, world),
            (Stage::Recalling, Event::Recalled(None)) => {
                let lookup = self.flight_of(quest.subject, world);
                self.go_on(quest, Stage::Joining, Action::Find(lookup))
            }
            (Stage::Joining, Event::Found(Found::Failed(error))) => self.fail(*error),
            (Stage::Joining, Event::Found(found)) => {
                if let Found::Lead { now, .. } = found {
                    quest.leads = true;
                    world.now = now;
                }
                let fact = self.fact(quest.subject);
                self.go_on(quest, Stage::Recalling, Action::Recall(fact))
            }
            (Stage::Describing, Event::Platform(platform)) => self.described(quest, &platform, world),
            (Stage::Sending, Event::Answered(result)) => self.answered_quest(quest, result, world),
            (Stage::Pausing, Event::Waited { now }) => {
                world.now = now;
                self.send_quest(quest, world)
            }
            (Stage::Remembering(value), Event::Remembered) => self.found_out(quest, value, world),
            (Stage::Landing(value), Event::Stored) => {
                quest.leads = false;
                self.found_out(quest, value, world)
            }
            (Stage::Failing(error), Event::Failed) => self.fail(error),
            _ => self.fail(Error::unexpected_event()),
        }
    }

    fn go_on(&mut self, quest: Box<Quest>, stage: Stage, action: Action) -> Step {
        self.proceed(State::Learning(Box::new(Quest { stage, ..*quest })), action)
    }

    fn fact(&self, subject: Subject) -> Fact {
        let (kind, key) = match subject {
            Subject::Region => (FactKind::Region, String::new()),
            Subject::Instance => (FactKind::InstanceDiscovery, self.plan.authority.host().into()),
            Subject::Provider => (FactKind::OidcMetadata, self.plan.authority.canonical()),
            Subject::Trust => (FactKind::InstanceDiscovery, self.plan.authority.canonical()),
        };
        Fact { kind, key }
    }

    fn flight_of(&self, subject: Subject, world: &World) -> Lookup {
        let Fact { kind, key } = self.fact(subject);
        Lookup {
            alternatives: Vec::new(),
            expires_after: world.now_seconds(),
            expires_before: world.now_seconds(),
            bypass: false,
            flight: Some(format!("{kind:?} {key}")),
        }
    }

    fn ask(&mut self, quest: Box<Quest>, world: &mut World) -> Step {
        let request = match quest.subject {
            Subject::Region => return self.go_on(quest, Stage::Describing, Action::DescribePlatform),
            Subject::Instance => self.plan.authority.instance_discovery_url(self.discovery_uri()),
            Subject::Provider => self.plan.authority.oidc_metadata_url(),
            Subject::Trust => self.plan.authority.webfinger_url().map(|(url, _)| url),
        };
        let headers = [
            ("x-client-SKU", "Symbolon"),
            ("x-client-Ver", env!("CARGO_PKG_VERSION")),
            ("client-request-id", &self.plan.correlation_id),
            ("return-client-request-id", "true"),
        ];
        let request = request.as_deref().and_then(|url| get(url, &headers));
        self.send_quest(Box::new(Quest { request, ..*quest }), world)
    }

    fn described(&mut self, mut quest: Box<Quest>, platform: &Platform, world: &mut World) -> Step {
        if let Some(region) = platform.value(REGION_NAME).and_then(region::of_environment) {
            quest.source = RegionSource::EnvironmentVariable;
            return self.keep(quest, region.as_str().into(), FOR_EVER_MS);
        }
        quest.source = RegionSource::Imds;
        quest.request = metadata_request(Some(region::METADATA_VERSION));
        self.send_quest(quest, world)
    }

    fn send_quest(&mut self, quest: Box<Quest>, world: &World) -> Step {
        let limit_ms = match quest.subject {
            Subject::Region => region::METADATA_TIMEOUT_MS,
            _ => TIMEOUT_MS,
        };
        match (world.remaining_ms(), quest.request.clone()) {
            (Ok(remaining_ms), Some(request)) => {
                let request = request.within(remaining_ms.min(limit_ms));
                self.go_on(quest, Stage::Sending, Action::Send(request))
            }
            (Err(error), _) => self.fail_quest(quest, error),
            (_, None) => self.fail_quest(quest, Error::unexpected_event()),
        }
    }

    fn answered_quest(
        &mut self,
        quest: Box<Quest>,
        result: Result<HttpResponse, TransportError>,
        world: &mut World,
    ) -> Step {
        match quest.subject {
            Subject::Region => self.answered_region(quest, result.ok(), world),
            Subject::Instance => self.answered_instance(quest, result.ok()),
            Subject::Provider => self.answered_provider(quest, result, world),
            Subject::Trust => self.answered_trust(quest, result, world),
        }
    }

    fn answered_region(
        &mut self,
        mut quest: Box<Quest>,
        response: Option<HttpResponse>,
        world: &mut World,
    ) -> Step {
        let asked = quest.request.as_ref().map_or("", |request| &request.path_with_query);
        let (is_first, is_bare) =
            (asked.ends_with(region::METADATA_VERSION), asked == region::metadata_path(None));
        let found = match response {
            Some(HttpResponse { status: SUCCESS, body, .. }) => region::of_metadata(&body),
            // It doesn't know the version, and is asked which it knows.
            Some(HttpResponse { status: 400, .. }) if is_first => {
                quest.request = metadata_request(None);
                return self.send_quest(quest, world);
            }
            Some(HttpResponse { status: 400, body, .. }) if is_bare => {
                quest.request = region::newest_version(&body).and_then(|it| metadata_request(Some(&it)));
                if quest.request.is_some() {
                    return self.send_quest(quest, world);
                }
                None
            }
            Some(HttpResponse { status, .. }) => match region::retry_delay_ms(status, quest.retries) {
                Some(milliseconds) if is_time_left(world.now + milliseconds, world.deadline) => {
                    quest.retries += 1;
                    return self.go_on(quest, Stage::Pausing, Action::Wait { milliseconds });
                }
                _ => None,
            },
            None => None,
        };
        match found {
            Some(region) => self.keep(quest, region.as_str().into(), FOR_EVER_MS),
            None => {
                quest.source = RegionSource::Failed;
                self.keep(quest, Vec::new(), FAILURE_MS)
            }
        }
    }

    /// Whatever the answer is, the host is one that can be asked for tokens, unless it is said that it is none.
    fn answered_instance(&mut self, quest: Box<Quest>, response: Option<HttpResponse>) -> Step {
        let (host, _) = self.plan.authority.host_and_port();
        let (status, body) =
            response.map_or((0, Vec::new()), |HttpResponse { status, body, .. }| (status, body));
        let is_validated = !self.plan.application.skip_authority_validation;
        if status != SUCCESS && is_validated && instance::is_refusal(&body) {
            let message = format!(
                "{host} is no authority that the public cloud knows; check the host, or say that it isn't to be \
                 validated (Symbolon:ValidateAuthority)."
            );
            return self.fail_quest(quest, no_authority("invalid_instance", status, message));
        }
        let (found, ttl_ms) = match status {
            SUCCESS => (Instance::of_answer(&body, host), FOR_EVER_MS),
            _ => (None, FAILURE_MS),
        };
        let instance = found.unwrap_or_else(|| Instance::of_host(host)).encode();
        self.keep(quest, instance, ttl_ms)
    }

    fn answered_provider(
        &mut self,
        quest: Box<Quest>,
        result: Result<HttpResponse, TransportError>,
        world: &World,
    ) -> Step {
        let url = self.plan.authority.oidc_metadata_url().unwrap_or_default();
        let read = match result {
            Ok(response) if response.status == SUCCESS => {
                Metadata::parse(&response.body, &self.plan.authority).map(|_| response.body)
            }
            Ok(response) => {
                let message = format!("{url} answered with status {}.", response.status);
                Err(Error {
                    class: ErrorClass::Service,
                    status: Some(response.status),
                    retryable: response.status >= 500,
                    ..Error::new(ErrorKind::TemporarilyUnavailable, "http_status_not_200", message)
                })
            }
            Err(cause) => Err(transport_error(&cause, &self.exchange(self.plan.authority.host(), world))),
        };
        match read {
            Ok(document) => self.keep(quest, document, METADATA_MS),
            Err(error) => self.fail_quest(quest, error),
        }
    }

    /// AD FS vouches for its own name, as MSAL asks it to.
    fn answered_trust(
        &mut self,
        quest: Box<Quest>,
        result: Result<HttpResponse, TransportError>,
        world: &World,
    ) -> Step {
        let host = self.plan.authority.host();
        let resource = self.plan.authority.webfinger_url().map(|(_, resource)| resource).unwrap_or_default();
        match result {
            Ok(response) if response.status == SUCCESS && is_trusted_realm(&response.body, &resource) => {
                self.keep(quest, resource.into(), FOR_EVER_MS)
            }
            Ok(response) => {
                let message = format!(
                    "{host} doesn't say by WebFinger (status {}) that it is a trusted AD FS; check the host, or say that it \
                     isn't to be validated (Symbolon:ValidateAuthority).",
                    response.status
                );
                self.fail_quest(quest, no_authority("invalid_authority", response.status, message))
            }
            Err(cause) => {
                let error = transport_error(&cause, &self.exchange(host, world));
                self.fail_quest(quest, error)
            }
        }
    }

    /// An exchange that isn't about a token.
    fn exchange<'a>(&'a self, host: &'a str, world: &World) -> Exchange<'a> {
        Exchange {
            token_type: "",
            client_id: &self.plan.client_id,
            host,
            bound: false,
            blueprint: None,
            single_use: false,
            correlation_id: &self.plan.correlation_id,
            now: world.now,
        }
    }

    fn keep(&mut self, quest: Box<Quest>, value: Vec<u8>, ttl_ms: u64) -> Step {
        let action = Action::Remember { fact: self.fact(quest.subject), value: value.clone(), ttl_ms };
        self.go_on(quest, Stage::Remembering(value), action)
    }

    fn found_out(&mut self, quest: Box<Quest>, value: Vec<u8>, world: &mut World) -> Step {
        if quest.leads {
            let store = Store { entries: Vec::new(), replaced_groups: Vec::new(), ends_flight: true };
            return self.go_on(quest, Stage::Landing(value), Action::Put(store));
        }
        match quest.subject {
            Subject::Region => {
                self.plan.region =
                    core::str::from_utf8(&value).ok().and_then(|name| Region::parse(name).ok());
                let source = if self.plan.region.is_some() { quest.source } else { RegionSource::Failed };
                self.learnt.region = Some(source);
            }
            Subject::Instance => {
                let host = || Instance::of_host(self.plan.authority.host_and_port().0);
                self.learnt.instance = Some(Instance::decode(&value).unwrap_or_else(host));
            }
            Subject::Trust => self.learnt.is_trusted = true,
            Subject::Provider => match Metadata::parse(&value, &self.plan.authority) {
                Ok(metadata) => self.learnt.provider = Some(metadata),
                Err(error) => return self.fail(error),
            },
        }
        self.attempt(world)
    }

    fn fail_quest(&mut self, quest: Box<Quest>, error: Error) -> Step {
        if quest.leads {
            return self.go_on(quest, Stage::Failing(error.clone()), Action::Fail(error));
        }
        self.fail(error)
    }

    /// What statistics say of the region that a request goes to.
    pub(super) fn region_telemetry(&self, mtls: bool) -> (Option<RegionSource>, Option<RegionOutcome>) {
        let is_regional = mtls || self.grant().is_some_and(|grant| grant.is_regional());
        match (self.learnt.region.filter(|_| is_regional), self.region(mtls)) {
            (Some(RegionSource::Failed), _) => {
                (Some(RegionSource::Failed), Some(RegionOutcome::FallbackToGlobal))
            }
            (Some(source), _) => (Some(source), Some(RegionOutcome::AutodetectSuccess)),
            (None, Some(_)) => (None, Some(RegionOutcome::UserProvided)),
            (None, None) => (None, None),
        }
    }
}

/// The host is no authority, by the word of whom MSAL asks.
fn no_authority(code: &str, status: u16, message: String) -> Error {
    let error = Error::new(ErrorKind::InvalidRequest, code, message);
    Error { class: ErrorClass::Service, status: Some(status), ..error }
}

fn metadata_request(version: Option<&str>) -> Option<HttpRequest> {
    let url = format!("http://{}{}", region::METADATA_HOST, region::metadata_path(version));
    get(&url, &[("Metadata", "true")])
}

/// A request for a document; none for what isn't a URL.
fn get(url: &str, headers: &[(&str, &str)]) -> Option<HttpRequest> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_at_checked(rest.find('/')?)?;
    Some(HttpRequest {
        method: Method::Get,
        scheme: if scheme == "http" { UrlScheme::Http } else { UrlScheme::Https },
        authority: authority.into(),
        path_with_query: path.into(),
        headers: headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        body: String::new(),
        presentation: Default::default(),
        connect_timeout_ms: 0,
        answer_timeout_ms: 0,
    })
}

/// For how long stands what does not change while a process lives, in milliseconds: ten years.
const FOR_EVER_MS: u64 = 10 * 365 * 24 * 60 * 60 * 1000;

/// For how long a failure stands, in milliseconds.
const FAILURE_MS: u64 = 5 * 60 * 1000;

/// For how long the metadata of a provider stands, in milliseconds: a day.
const METADATA_MS: u64 = 24 * 60 * 60 * 1000;

/// How long instance discovery and metadata may take to come, in milliseconds, as in MSAL.
const TIMEOUT_MS: u64 = 10_000;
