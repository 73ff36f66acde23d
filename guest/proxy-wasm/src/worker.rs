//! The acquisitions of one worker.
//!
//! Everything that waits is a [`Task`]: for Envoy's answer, for another worker, for a while, or for the token that stands
//! in for an assertion. Streams wait for tasks. What must be sent or looked at again is done by [`Worker::poll`], on the
//! root context's time: a call belongs to the context that makes it, and a stream may end before its answer comes.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use proxy_wasm::hostcalls;
use proxy_wasm::types::LogLevel;
use sha2::{Digest as _, Sha256};
use symbolon_protocol::acquisition::{Acquisition, Action, Event, Found, Lookup};
use symbolon_protocol::credential::{CredentialError, CredentialErrorKind, SignedAssertion};
use symbolon_protocol::error::{Error, ErrorKind};
use symbolon_protocol::platform::Platform;
use symbolon_protocol::request::{AccessToken, CacheRefreshReason, Context, Request, TokenSource};
use symbolon_protocol::response::TransportError;
use symbolon_protocol::token_request::HttpRequest;

use crate::http;
use crate::settings::{Settings, no_cluster, no_key};
use crate::shared::{Challenge, Led, Look, Shared, Waited};

/// The acquisitions of one worker, and what it knows by itself.
pub(crate) struct Worker {
    settings: Settings,
    shared: Shared,
    /// By the name of the API.
    tokens: HashMap<String, Known>,
    /// What streams went upstream with.
    presented: HashMap<u32, Rc<str>>,
    tasks: Vec<Task>,
    deliveries: Vec<Delivery>,
    last_task: u64,
}

/// What a stream has to do.
pub(crate) enum Permit {
    /// Go upstream with this header.
    Go(Rc<str>),
    /// Wait for a [`Delivery`].
    Wait,
    /// Go nowhere.
    Refuse(Error),
}

/// What came of the wait of a stream.
pub(crate) struct Delivery {
    /// The stream's context.
    pub(crate) stream: u32,
    /// The header, or why there is none.
    pub(crate) outcome: Result<Rc<str>, Error>,
}

/// A token that stands.
struct Known {
    /// The value of the header `authorization`.
    header: Rc<str>,
    /// The token's SHA-256.
    digest: String,
    /// In Unix seconds.
    until: u64,
    /// When a renewal is due, in Unix seconds.
    refresh_from: Option<u64>,
    /// When it is tried again at the earliest, in Unix milliseconds.
    renew_after: u64,
}

/// An acquisition under way.
struct Task {
    number: u64,
    purpose: Purpose,
    acquisition: Acquisition,
    waiting: Waiting,
    /// In Unix milliseconds.
    deadline: u64,
    /// The flights that it leads, the last one last.
    led: Vec<Led>,
}

/// For whom a token is acquired.
enum Purpose {
    Streams {
        api: String,
        streams: Vec<u32>,
        challenge: Option<Challenge>,
    },
    /// Nobody waits. It is proactive where the cache's token is not good enough.
    Renewal {
        api: String,
        is_proactive: bool,
    },
    /// The task whose assertion it stands in for.
    Assertion {
        task: u64,
    },
}

/// For what a task waits.
enum Waiting {
    Turn(Lookup, Waited),
    Sending(Box<HttpRequest>),
    Answer(u32),
    Time(u64),
    Assertion,
}

/// What a task does next.
enum Step {
    Go(Event),
    Wait(Waiting),
    End(Result<Box<AccessToken>, Error>),
    /// Another one does the same.
    Yield,
}

impl Worker {
    pub(crate) fn new(settings: Settings) -> Worker {
        Worker {
            shared: Shared::new(settings.digest()),
            settings,
            tokens: HashMap::new(),
            presented: HashMap::new(),
            tasks: Vec::new(),
            deliveries: Vec::new(),
            last_task: 0,
        }
    }

    /// What a stream that calls an API has to do. Afterwards a [pause](Self::pause) may be over.
    pub(crate) fn permit(&mut self, api: &str, stream: u32) -> Permit {
        let challenge = self.shared.challenge(api, now());
        if let Some(header) = self.known(api, challenge.as_ref()) {
            self.presented.insert(stream, Rc::clone(&header));
            return Permit::Go(header);
        }
        for task in &mut self.tasks {
            match &mut task.purpose {
                Purpose::Streams { api: other, streams, challenge: answered }
                    if other == api && *answered == challenge =>
                {
                    streams.push(stream);
                    return Permit::Wait;
                }
                _ => {}
            }
        }
        self.begin(Purpose::Streams { api: api.into(), streams: vec![stream], challenge });
        match self.deliveries.pop() {
            Some(Delivery { outcome: Ok(header), .. }) => Permit::Go(header),
            Some(Delivery { outcome: Err(error), .. }) => Permit::Refuse(error),
            None => Permit::Wait,
        }
    }

    /// Takes an API's claims challenge: the token that it refused isn't used again, and the next one answers the challenge.
    pub(crate) fn challenge(&mut self, api: &str, stream: u32, claims: String) {
        let Some(header) = self.presented.get(&stream) else { return };
        let challenge = Challenge { claims, refused: digest(header) };
        self.shared.demand(api, challenge, now() + CHALLENGE_MS);
    }

    /// A stream is over, whether or not it waits.
    pub(crate) fn forget(&mut self, stream: u32) {
        self.presented.remove(&stream);
        for task in &mut self.tasks {
            if let Purpose::Streams { streams, .. } = &mut task.purpose {
                streams.retain(|other| *other != stream);
            }
        }
    }

    /// Takes the answer to a call.
    pub(crate) fn answered(&mut self, call: u32, headers: usize, body_bytes: usize) -> Vec<Delivery> {
        let is_called = |task: &Task| matches!(task.waiting, Waiting::Answer(other) if other == call);
        if let Some(position) = self.tasks.iter().position(is_called) {
            let task = self.tasks.swap_remove(position);
            self.go_on(task, Event::Answered(http::answer(headers, body_bytes)));
        }
        self.poll()
    }

    /// Does what is due: sends requests, looks at what others brought, ends waits.
    pub(crate) fn poll(&mut self) -> Vec<Delivery> {
        for number in self.tasks.iter().map(|task| task.number).collect::<Vec<_>>() {
            let Some(position) = self.tasks.iter().position(|task| task.number == number) else { continue };
            let mut task = self.tasks.swap_remove(position);
            match self.due(&mut task) {
                Some(event) => self.go_on(task, event),
                None => self.tasks.push(task),
            }
        }
        std::mem::take(&mut self.deliveries)
    }

    /// How long [`Worker::poll`] may be put off; not at all where there is nothing to do.
    pub(crate) fn pause(&self) -> Option<Duration> {
        let pauses = self.tasks.iter().filter_map(|task| match task.waiting {
            Waiting::Sending(_) => Some(AT_ONCE),
            Waiting::Turn(..) | Waiting::Time(_) => Some(POLLING),
            Waiting::Answer(_) | Waiting::Assertion => None,
        });
        pauses.min()
    }

    /// Whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    /// The token that this worker knows, unless an API refused it. Sees to it that it is renewed in time.
    fn known(&mut self, api: &str, challenge: Option<&Challenge>) -> Option<Rc<str>> {
        let now = now();
        let stands = |known: &&mut Known| {
            known.until > now / 1000 && challenge.is_none_or(|challenge| challenge.refused != known.digest)
        };
        let known = self.tokens.get_mut(api).filter(stands)?;
        let header = Rc::clone(&known.header);
        let is_due = known.refresh_from.is_some_and(|due| due <= now / 1000) && known.renew_after <= now;
        if is_due {
            known.renew_after = now + RENEWAL_INTERVAL_MS;
            self.begin(Purpose::Renewal { api: api.into(), is_proactive: false });
        }
        Some(header)
    }

    fn begin(&mut self, purpose: Purpose) {
        let now = now();
        let deadline = now + DEADLINE_MS;
        let is_proactive = matches!(purpose, Purpose::Renewal { is_proactive: true, .. });
        self.last_task += 1;
        let number = self.last_task;
        let started = self.request(&purpose).and_then(|request| {
            let application = self.settings.application();
            let context =
                Context { application, now, deadline, seed: seed()?, proactive_refresh: is_proactive };
            Acquisition::start(request, &context)
        });
        match started {
            Ok((acquisition, action)) => {
                let waiting = Waiting::Time(now);
                self.run(Task { number, purpose, acquisition, waiting, deadline, led: Vec::new() }, action);
            }
            Err(error) => self.conclude(purpose, Err(error)),
        }
    }

    fn request(&self, purpose: &Purpose) -> Result<Request, Error> {
        let request = match purpose {
            Purpose::Streams { api, .. } | Purpose::Renewal { api, .. } => self.settings.request(api),
            Purpose::Assertion { .. } => self.settings.assertion_request(),
        };
        let mut request = request.ok_or_else(|| {
            Error::invalid_request(
                "unknown_api",
                "The route names an API that isn't configured in DownstreamApis.",
            )
        })?;
        if let Purpose::Streams { challenge: Some(challenge), .. } = purpose {
            request.options.claims = Some(challenge.claims.clone());
            request.options.access_token_sha256_to_refresh = Some(challenge.refused.clone());
        }
        Ok(request)
    }

    fn go_on(&mut self, mut task: Task, event: Event) {
        let action = task.acquisition.handle(event);
        self.run(task, action);
    }

    /// Goes on until the task waits or ends.
    fn run(&mut self, mut task: Task, mut action: Action) {
        loop {
            match self.step(&mut task, action) {
                Step::Go(event) => action = task.acquisition.handle(event),
                Step::Wait(waiting) => {
                    let needs_assertion = matches!(waiting, Waiting::Assertion);
                    let number = task.number;
                    self.tasks.push(Task { waiting, ..task });
                    if needs_assertion {
                        self.begin(Purpose::Assertion { task: number });
                    }
                    return;
                }
                Step::End(result) => {
                    for led in &task.led {
                        self.shared.land(led, result.as_ref().err());
                    }
                    return self.conclude(task.purpose, result);
                }
                Step::Yield => return,
            }
        }
    }

    fn step(&mut self, task: &mut Task, action: Action) -> Step {
        let event = match action {
            Action::Find(lookup) => {
                let mut waited = Waited::default();
                match self.look(task, &lookup, &mut waited) {
                    Some(event) => event,
                    None if matches!(task.purpose, Purpose::Renewal { .. }) => return Step::Yield,
                    None => return Step::Wait(Waiting::Turn(lookup, waited)),
                }
            }
            Action::Send(request) => return Step::Wait(Waiting::Sending(Box::new(request))),
            Action::Wait { milliseconds } => return Step::Wait(Waiting::Time(now() + milliseconds)),
            Action::Assert(_) => return Step::Wait(Waiting::Assertion),
            Action::Finish(result) => return Step::End(result),
            Action::Put(store) => {
                self.shared.store(store.entries);
                if let Some(led) = task.led.pop_if(|_| store.ends_flight) {
                    self.shared.land(&led, None);
                }
                Event::Stored
            }
            Action::Fail(error) => {
                if let Some(led) = task.led.pop() {
                    self.shared.land(&led, Some(&error));
                }
                Event::Failed
            }
            Action::Recall(fact) => Event::Recalled(self.shared.recall(&fact, now())),
            Action::Remember { fact, value, ttl_ms } => {
                self.shared.remember(&fact, value, now().saturating_add(ttl_ms));
                Event::Remembered
            }
            Action::Select(_) => Event::Selected(self.settings.describe()),
            Action::Report(_) => Event::Reported,
            // The platform is the machine that Envoy runs on: its metadata service needs no secret.
            Action::DescribePlatform => Event::Platform(Platform::default()),
            Action::SelectIssued => Event::Issued(None),
            Action::SelectSecret(_) | Action::SelectChallengeFile(_) => Event::Selected(Err(no_key())),
            Action::Sign { .. } => Event::Signed(Err(no_key())),
            Action::RequestCertificate(_) => Event::CertificateRequested(Err(no_key())),
            Action::InstallCertificate(_) => Event::Installed(Err(no_key())),
        };
        Step::Go(event)
    }

    /// What has become of a look into the shared data, if it is over.
    fn look(&self, task: &mut Task, lookup: &Lookup, waited: &mut Waited) -> Option<Event> {
        let now = now();
        match self.shared.look(lookup, waited, now, task.deadline) {
            Look::Found(found) => Some(Event::Found(found)),
            Look::Lead(absence, led) => {
                task.led.push(led);
                Some(Event::Found(Found::Lead { absence, now }))
            }
            Look::Later => None,
        }
    }

    /// What a waiting task may go on with now.
    fn due(&self, task: &mut Task) -> Option<Event> {
        match std::mem::replace(&mut task.waiting, Waiting::Assertion) {
            Waiting::Turn(lookup, mut waited) => {
                let event = self.look(task, &lookup, &mut waited);
                if event.is_none() {
                    task.waiting = Waiting::Turn(lookup, waited);
                }
                event
            }
            Waiting::Sending(request) => match self.send(&request) {
                Ok(call) => {
                    task.waiting = Waiting::Answer(call);
                    None
                }
                Err(error) => Some(Event::Answered(Err(error))),
            },
            Waiting::Time(until) if until <= now() => Some(Event::Waited { now: now() }),
            waiting => {
                task.waiting = waiting;
                None
            }
        }
    }

    fn send(&self, request: &HttpRequest) -> Result<u32, TransportError> {
        let host = &request.authority;
        let cluster = self.settings.cluster(host).ok_or_else(|| http::denied(no_cluster(host)))?;
        http::send(cluster, request)
    }

    /// Gives those who wait what they waited for.
    fn conclude(&mut self, purpose: Purpose, result: Result<Box<AccessToken>, Error>) {
        match purpose {
            Purpose::Streams { api, streams, challenge } => {
                let outcome = result.and_then(|token| self.keep(&api, &token).ok_or_else(unusable));
                if let Err(error) = &outcome {
                    log(LogLevel::Warn, &api, error);
                }
                for stream in streams {
                    if let Ok(header) = &outcome {
                        self.presented.insert(stream, Rc::clone(header));
                    }
                    self.deliveries.push(Delivery { stream, outcome: outcome.clone() });
                }
                // The answer to a challenge doesn't stand for the question without one; what is in the cache now does.
                if challenge.is_some() && outcome.is_ok() {
                    self.begin(Purpose::Renewal { api, is_proactive: false });
                }
            }
            Purpose::Renewal { api, is_proactive } => match result {
                Ok(token) => {
                    let is_due = token.source == TokenSource::Cache
                        && token.refresh_reason == CacheRefreshReason::ProactivelyRefreshed;
                    self.keep(&api, &token);
                    if is_due && !is_proactive {
                        self.begin(Purpose::Renewal { api, is_proactive: true });
                    }
                }
                Err(error) => log(LogLevel::Info, &api, &error),
            },
            Purpose::Assertion { task } => {
                let asserted = result.map_err(|error| unavailable(&error));
                let asserted = asserted.map(|token| SignedAssertion { assertion: token.token, bound: false });
                if let Some(position) = self.tasks.iter().position(|other| other.number == task) {
                    let task = self.tasks.swap_remove(position);
                    self.go_on(task, Event::Asserted(asserted));
                }
            }
        }
    }

    /// Keeps a token for the next streams, and gives its header.
    fn keep(&mut self, api: &str, token: &AccessToken) -> Option<Rc<str>> {
        let is_value = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        let header = format!("{} {}", token.token_type, token.token);
        let header: Rc<str> = header.bytes().all(is_value).then(|| header.into())?;
        let renew_after = self.tokens.get(api).map_or(0, |known| known.renew_after);
        if let Some(reuse) = token.reuse {
            let known = Known {
                header: Rc::clone(&header),
                digest: digest(&header),
                until: reuse.until,
                refresh_from: reuse.refresh_from,
                renew_after,
            };
            self.tokens.insert(api.into(), known);
        }
        Some(header)
    }
}

/// The time now, in Unix milliseconds.
fn now() -> u64 {
    let now = hostcalls::get_current_time().ok().and_then(|now| now.duration_since(UNIX_EPOCH).ok());
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

/// The SHA-256 of a header's token, in lower-case hexadecimal.
fn digest(header: &str) -> String {
    let token = header.split_once(' ').map_or(header, |(_, token)| token);
    Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn seed() -> Result<[u64; 4], Error> {
    let mut seed = [0; 4];
    for word in &mut seed {
        *word = getrandom::u64().map_err(|error| {
            let message = format!("Envoy gives no random numbers: {error}.");
            Error::new(ErrorKind::CredentialUnavailable, "no_randomness", message)
        })?;
    }
    Ok(seed)
}

fn unusable() -> Error {
    Error::new(
        ErrorKind::ProtocolViolation,
        "invalid_token",
        "The token has characters that can't be in a header.",
    )
}

fn unavailable(error: &Error) -> CredentialError {
    CredentialError {
        kind: CredentialErrorKind::Unavailable,
        message: format!("The managed identity has no token that stands in for an assertion: {error}"),
        retry_after_ms: error.retry_after_ms,
    }
}

/// The error's words have no token in them, nor anything else that proves somebody.
fn log(level: LogLevel, api: &str, error: &Error) {
    let message = format!("no token for {api}: {error}, correlation id {}", error.correlation_id);
    let _ = hostcalls::log(level, &message);
}

/// How long an acquisition may take: as long as the host's.
const DEADLINE_MS: u64 = 30_000;

/// How often a renewal is tried while the token stands.
const RENEWAL_INTERVAL_MS: u64 = 30_000;

/// How long a challenge is kept in mind: as long as a token lives that would be refused again.
const CHALLENGE_MS: u64 = 24 * 60 * 60 * 1000;

/// The shortest that Envoy's clock can do.
const AT_ONCE: Duration = Duration::from_millis(1);

/// How often it is looked whether another worker has brought a token.
const POLLING: Duration = Duration::from_millis(10);
