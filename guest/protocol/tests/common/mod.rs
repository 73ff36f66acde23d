//! A world for the machine: answers its actions with what a test prescribes. [`host`] has a cache and an authority instead.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod cache;
pub(crate) mod directory;
pub(crate) mod flows;
pub(crate) mod host;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use symbolon_protocol::acquisition::{
    Absence, Acquisition, Action, Event, Fact, FactKind, Found, Lookup, Saved,
};
use symbolon_protocol::authority::SignatureAlgorithm;
use symbolon_protocol::credential::{
    BoundUse, Certificate, CredentialError, CredentialErrorKind, CredentialKind, Description, Outcome,
    Purpose, SignedAssertion,
};
use symbolon_protocol::error::Error;
use symbolon_protocol::request::{
    AccessToken, Application, ClientFlow, Context, Flow, Options, Request, Scheme,
};
use symbolon_protocol::response::{HttpResponse, TransportError, TransportErrorKind};
use symbolon_protocol::token_request::HttpRequest;

pub(crate) const NOW_MS: u64 = 1_700_000_000_000;
pub(crate) const NOW: u64 = NOW_MS / 1000;
pub(crate) const CLIENT: &str = "6731de76-14a6-49ae-97bc-6eba6914391e";
pub(crate) const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
pub(crate) const CORRELATION: &str = "6347d33d-941a-4c35-9912-a9cf54fb1b3e";

pub(crate) fn request() -> Request {
    Request {
        flow: Flow::ForClient(ClientFlow::default()),
        scopes: vec!["https://graph.microsoft.com/.default".into()],
        scheme: Scheme::Bearer,
        options: Options { correlation_id: Some(CORRELATION.into()), ..Options::default() },
    }
}

pub(crate) fn pop_request() -> Request {
    Request { scheme: Scheme::MtlsPop, ..request() }
}

/// The request of this flow.
pub(crate) fn ask(flow: Flow) -> Request {
    Request { flow, ..request() }
}

/// The same request with these options.
pub(crate) fn with(request: &Request, options: Options) -> Request {
    let correlation_id = options.correlation_id.clone().or(request.options.correlation_id.clone());
    Request { options: Options { correlation_id, ..options }, ..request.clone() }
}

/// The same request for this scope.
pub(crate) fn for_scope(request: &Request, scope: &str) -> Request {
    Request { scopes: vec![scope.into()], ..request.clone() }
}

pub(crate) fn forced() -> Options {
    Options { force_refresh: true, ..Options::default() }
}

pub(crate) fn context() -> Context {
    Context {
        application: Application {
            client_id: CLIENT.into(),
            authority: format!("https://login.microsoftonline.com/{TENANT}"),
            ..Application::default()
        },
        now: NOW_MS,
        deadline: NOW_MS + 30_000,
        seed: [1, 2, 3, 4],
        proactive_refresh: false,
    }
}

pub(crate) fn secret() -> Description {
    Description {
        name: "ClientCredentials[0] (ClientSecret)".into(),
        kind: CredentialKind::ClientSecret,
        use_bound: BoundUse::Unspecified,
        omit_assertion_when_bound: false,
        certificate: None,
    }
}

pub(crate) fn certificate(thumbprint: &str) -> Description {
    Description {
        name: "ClientCredentials[0] (Path)".into(),
        kind: CredentialKind::Certificate,
        use_bound: BoundUse::Unspecified,
        omit_assertion_when_bound: false,
        certificate: Some(Certificate {
            chain: vec![vec![0x30, 0x01], vec![0x30, 0x02]],
            thumbprint_sha256: thumbprint.into(),
            thumbprint_sha1: "sha1".into(),
            key_id: Some("kid".into()),
            not_after: NOW + 1000,
            algorithms: vec![SignatureAlgorithm::Ps256, SignatureAlgorithm::Rs256],
        }),
    }
}

pub(crate) fn bound_certificate(thumbprint: &str) -> Description {
    Description { use_bound: BoundUse::Required, ..certificate(thumbprint) }
}

pub(crate) fn federated() -> Description {
    Description {
        name: "ClientCredentials[0] (SignedAssertionFilePath)".into(),
        kind: CredentialKind::SignedAssertion,
        use_bound: BoundUse::Unspecified,
        omit_assertion_when_bound: false,
        certificate: None,
    }
}

/// The name of a report.
pub(crate) fn reported(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Used => "used",
        Outcome::Rejected => "reject",
    }
}

pub(crate) fn answer(status: u16, body: &str) -> Result<HttpResponse, TransportError> {
    Ok(HttpResponse {
        status,
        retry_after: None,
        challenge: None,
        date: None,
        server: None,
        body: body.as_bytes().to_vec(),
    })
}

pub(crate) fn token(token: &str, token_type: &str) -> Result<HttpResponse, TransportError> {
    answer(
        200,
        &format!(
            r#"{{"token_type":"{token_type}","expires_in":3599,"ext_expires_in":3599,"access_token":"{token}"}}"#
        ),
    )
}

/// A refusal with this OAuth error and description.
pub(crate) fn refusal(error: &str, description: &str) -> Result<HttpResponse, TransportError> {
    answer(400, &format!(r#"{{"error":"{error}","error_description":"{description}"}}"#))
}

pub(crate) fn fault(kind: TransportErrorKind, may_be_sent: bool) -> Result<HttpResponse, TransportError> {
    Err(TransportError { kind, detail: "fault".into(), may_be_sent })
}

/// What the world has for an acquisition. Lists are used up from the front; an answer that is missing is a panic.
pub(crate) struct World {
    pub(crate) found: Vec<Found>,
    pub(crate) credentials: Vec<Result<Description, CredentialError>>,
    pub(crate) assertion: Option<SignedAssertion>,
    pub(crate) answers: Vec<Result<HttpResponse, TransportError>>,
    /// Whether keys that promise PSS can't do it.
    pub(crate) breaks_pss: bool,
    /// The clock after a wait.
    pub(crate) now_after_wait: u64,
}

impl World {
    pub(crate) fn new(credential: Description, answers: Vec<Result<HttpResponse, TransportError>>) -> World {
        World {
            found: vec![Found::Lead { absence: Absence::Absent, now: NOW_MS }],
            credentials: vec![Ok(credential)],
            assertion: None,
            answers,
            breaks_pss: false,
            now_after_wait: NOW_MS + 1000,
        }
    }
}

/// What an acquisition did.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) actions: Vec<&'static str>,
    pub(crate) lookups: Vec<Lookup>,
    pub(crate) purposes: Vec<Purpose>,
    pub(crate) signed: Vec<(SignatureAlgorithm, String)>,
    pub(crate) requests: Vec<HttpRequest>,
    pub(crate) saved: Vec<Saved>,
    pub(crate) failed: Option<Error>,
}

impl Trace {
    pub(crate) fn request(&self) -> &HttpRequest {
        self.requests.last().expect("a request was sent")
    }

    pub(crate) fn jtis(&self) -> Vec<String> {
        self.signed.iter().map(|(_, input)| claim(input, "jti")).collect()
    }
}

/// A string claim of a signing input.
pub(crate) fn claim(input: &str, name: &str) -> String {
    let payload = input.split('.').nth(1).expect("a payload");
    let payload: serde_json::Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON");
    payload[name].as_str().expect("a string").into()
}

pub(crate) fn run(
    request: Request,
    context: &Context,
    mut world: World,
) -> (Result<AccessToken, Error>, Trace) {
    let mut trace = Trace::default();
    let (mut acquisition, mut action) = match Acquisition::start(request, context) {
        Ok(started) => started,
        Err(error) => return (Err(error), trace),
    };
    loop {
        let (name, event) = match action {
            Action::Finish(result) => return (result.map(|token| *token), trace),
            // Every request looks for a pause first.
            Action::Recall(Fact { kind: FactKind::Throttle, .. }) => (None, Event::Recalled(None)),
            Action::Remember { fact: Fact { kind: FactKind::Throttle, .. }, .. } => (None, Event::Remembered),
            other => {
                let (name, event) = perform(other, &mut world, &mut trace);
                (Some(name), event)
            }
        };
        trace.actions.extend(name);
        action = acquisition.handle(event);
    }
}

fn perform(action: Action, world: &mut World, trace: &mut Trace) -> (&'static str, Event) {
    match action {
        Action::Find(lookup) => {
            trace.lookups.push(lookup);
            ("find", Event::Found(world.found.remove(0)))
        }
        Action::Select(purpose) => {
            trace.purposes.push(purpose);
            ("select", Event::Selected(world.credentials.remove(0)))
        }
        Action::Sign { algorithm, signing_input } => {
            trace.signed.push((algorithm, signing_input));
            let result = match (algorithm, world.breaks_pss) {
                (SignatureAlgorithm::Ps256, true) => Err(CredentialError {
                    kind: CredentialErrorKind::Unsupported,
                    message: "no PSS".into(),
                    retry_after_ms: None,
                }),
                _ => Ok(vec![0xff; 3]),
            };
            ("sign", Event::Signed(result))
        }
        Action::Assert(_) => ("assert", Event::Asserted(Ok(world.assertion.clone().expect("an assertion")))),
        Action::Send(request) => {
            trace.requests.push(request);
            ("send", Event::Answered(world.answers.remove(0)))
        }
        Action::Wait { milliseconds } => {
            assert_eq!(milliseconds, 1000);
            ("wait", Event::Waited { now: world.now_after_wait })
        }
        Action::Report(outcome) => (reported(outcome), Event::Reported),
        Action::Put(store) => {
            trace.saved = store.entries;
            ("put", Event::Stored)
        }
        Action::Fail(error) => {
            trace.failed = Some(error);
            ("fail", Event::Failed)
        }
        Action::Finish(_) | Action::SignIn(_) => unreachable!("handled elsewhere"),
        other => unreachable!("{other:?}"),
    }
}
