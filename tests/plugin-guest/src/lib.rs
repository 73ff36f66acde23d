//! A guest of other hosts that does what a test tells it, by the world `symbolon:token/token-client`.
//!
//! A step is a verb and its arguments, separated by `|`; arguments are `name=value`, and may be repeated:
//!
//! * `acquire|FLOW|…` acquires a token and holds it;
//! * `certificate` takes what presents the certificate, and holds it;
//! * `send|METHOD|URL|…` sends a request with the sealed token that is held: `header=name:value`, `body=…`;
//! * `drop` lets go of it;
//! * `authorize|…`, `accounts`, `remove-account|ID`, `stop|KEY` and `review|STATUS|CHALLENGE` call the functions of these names.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![cfg(target_arch = "wasm32")]

extern crate alloc;

#[path = "../../../guest/component/src/runtime.rs"]
mod runtime;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bindings::symbolon::token::acquisition::{
    self, AgentFlow, AgentSubject, ApiAnswer, Application, AssertionKind, AuthorizationCode, CachePartition,
    ClientFlow, Context, FederatedUser, Flow, ManagedIdentityFlow, ManagedIdentityId, Options, Presented,
    Refusal, Request, Scheme, SessionStart, SignIn, User, UserAssertion, UsernamePassword, Verdict,
};
use bindings::symbolon::token::send_authorized;
use bindings::symbolon::token::types::{Authorization, Error, Token};
use bindings::wasi::http::types::{Fields, IncomingResponse, Method, OutgoingBody, OutgoingRequest};
use bindings::wasi::io::streams::StreamError;
use spin::Mutex;

#[allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    rust_2018_idioms,
    clippy::all,
    reason = "generated: lifts and lowers through linear memory"
)]
mod bindings {
    wit_bindgen::generate!({
        path: [
            "../../wit/deps/io",
            "../../wit/deps/clocks",
            "../../wit/deps/http",
            "../../wit/credentials",
            "../../wit/token",
            "wit",
        ],
        world: "symbolon:plugin-guest/plugin",
        generate_all,
    });

    export!(Plugin with_types_in self);

    /// What the component exports.
    pub(super) struct Plugin;
}

/// The token that was acquired last.
static HELD: Mutex<Option<Authorization>> = Mutex::new(None);

/// Every step and what it gave: whoever searches this memory finds what was ever in it.
static HISTORY: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl bindings::Guest for bindings::Plugin {
    fn run(steps: Vec<String>) -> Vec<String> {
        let said: Vec<String> = steps.iter().map(|step| take(step)).collect();
        let mut history = HISTORY.lock();
        history.extend(steps);
        history.extend(said.iter().cloned());
        said
    }
}

fn take(step: &str) -> String {
    let mut parts = step.split('|');
    let verb = parts.next().unwrap_or_default();
    let arguments = Arguments(parts.collect());
    match verb {
        "acquire" => acquire(&arguments),
        "certificate" => certificate(),
        "send" => send(&arguments).unwrap_or_else(|refused| refused),
        "drop" => {
            *HELD.lock() = None;
            "dropped".into()
        }
        "authorize" => shown(acquisition::authorize(&sign_in(&arguments), None), |begun| begun.url),
        "accounts" => shown(acquisition::accounts(None), |accounts| {
            accounts.iter().map(|account| account.home_account_id.as_str()).collect::<Vec<_>>().join(" ")
        }),
        "remove-account" => {
            shown(acquisition::remove_account(arguments.at(0), None), |removed| removed.to_string())
        }
        "stop" => shown(acquisition::stop_long_running_process(arguments.at(0), None), |stopped| {
            stopped.to_string()
        }),
        "review" => review(&arguments),
        other => format!("unknown step {other}"),
    }
}

struct Arguments<'a>(Vec<&'a str>);

impl<'a> Arguments<'a> {
    fn at(&self, index: usize) -> &'a str {
        self.0.get(index).copied().unwrap_or_default()
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter_map(move |argument| argument.strip_prefix(name)?.strip_prefix('='))
    }

    fn one(&self, name: &str) -> Option<String> {
        self.all(name).next().map(Into::into)
    }

    fn text(&self, name: &str) -> String {
        self.one(name).unwrap_or_default()
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains(&name)
    }

    fn pairs(&self, name: &str) -> Vec<(String, String)> {
        self.all(name).map(pair).collect()
    }
}

fn pair(text: &str) -> (String, String) {
    let (name, value) = text.split_once(':').unwrap_or((text, ""));
    (name.into(), value.into())
}

fn certificate() -> String {
    match send_authorized::certificate() {
        Err(error) => failed(&error),
        Ok(authorization) => {
            *HELD.lock() = Some(authorization);
            "held".into()
        }
    }
}

fn acquire(arguments: &Arguments<'_>) -> String {
    let request = Request {
        flow: flow(arguments),
        scopes: arguments.all("scope").map(Into::into).collect(),
        scheme: if arguments.has("mtls-pop") { Scheme::MtlsPop } else { Scheme::Bearer },
        options: Some(options(arguments)),
    };
    let context = arguments.one("context").map(context);
    match acquisition::acquire(&request, context.as_ref()) {
        Err(error) => failed(&error),
        Ok(token) => {
            let form = match token.token {
                Token::Raw(raw) => format!("raw {raw}"),
                Token::Sealed(authorization) => {
                    *HELD.lock() = Some(authorization);
                    "sealed".into()
                }
            };
            let key = token.session_key.unwrap_or_default();
            let beside = match token.id_token {
                Some(id_token) => format!(" with {id_token}"),
                None => String::new(),
            };
            format!("{form} {} for {}|{key}{beside}", token.token_type, token.scopes.join(","))
        }
    }
}

fn flow(arguments: &Arguments<'_>) -> Flow {
    let assertion = || UserAssertion { assertion: arguments.text("assertion"), kind: AssertionKind::Jwt };
    let user = || match arguments.one("object-id") {
        Some(id) => User::ObjectId(id),
        None => User::Username(arguments.text("username")),
    };
    match arguments.at(0) {
        "on-behalf-of" => Flow::OnBehalfOf(assertion()),
        "initiate" => Flow::InitiateLongRunningProcess(SessionStart {
            assertion: assertion(),
            session_key: arguments.one("session-key"),
            search_in_cache: false,
        }),
        "go-on" => Flow::AcquireInLongRunningProcess(arguments.text("session-key")),
        "silent" => Flow::Silent(arguments.text("account")),
        "by-refresh-token" => Flow::ByRefreshToken(arguments.text("refresh-token")),
        "by-authorization-code" => Flow::ByAuthorizationCode(AuthorizationCode {
            code: arguments.text("code"),
            redirect_uri: arguments.text("redirect-uri"),
            code_verifier: None,
            spa_code: false,
            offline_access: true,
        }),
        "by-username-password" => Flow::ByUsernamePassword(UsernamePassword {
            username: arguments.text("username"),
            password: arguments.text("password"),
        }),
        "by-user-federated-identity-credential" => Flow::ByUserFederatedIdentityCredential(FederatedUser {
            user: user(),
            assertion: arguments.text("assertion"),
        }),
        "for-agent" => Flow::ForAgent(AgentFlow {
            agent: arguments.text("agent"),
            subject: match (arguments.one("assertion"), arguments.one("username"), arguments.one("object-id"))
            {
                (Some(_), ..) => AgentSubject::Assertion(assertion()),
                (None, None, None) => AgentSubject::App,
                _ => AgentSubject::User(user()),
            },
        }),
        "for-managed-identity" => {
            Flow::ForManagedIdentity(ManagedIdentityFlow { identity: ManagedIdentityId::SystemAssigned })
        }
        _ => Flow::ForClient(ClientFlow {
            fmi_path: arguments.one("fmi-path"),
            attributes: arguments.one("attributes"),
            attribute_tokens: arguments.all("attribute-token").map(Into::into).collect(),
        }),
    }
}

fn options(arguments: &Arguments<'_>) -> Options {
    Options {
        authority: arguments.one("authority"),
        tenant_id: arguments.one("tenant"),
        claims: arguments.one("claims"),
        client_claims: arguments.one("client-claims"),
        force_refresh: arguments.has("force-refresh"),
        access_token_sha256_to_refresh: None,
        pop_public_key: arguments.one("pop-public-key"),
        client_assertion_fmi_path: arguments.one("client-assertion-fmi-path"),
        extra_client_assertion_claims: arguments.one("extra-client-assertion-claims"),
        send_x5c: arguments.has("send-x5c").then_some(true),
        cache_partitions: arguments.all("cache-partition").map(partition).collect(),
        correlation_id: arguments.one("correlation-id"),
        extra_query_parameters: arguments.pairs("query"),
        encoded_query_parameters: arguments.pairs("encoded-query"),
        extra_body_parameters: arguments.pairs("parameter"),
        extra_headers: arguments.pairs("token-header"),
    }
}

fn partition(text: &str) -> CachePartition {
    let (name, value) = pair(text);
    CachePartition { name, value, refresh_tokens: false }
}

/// The context of another application, at another time.
fn context(client_id: String) -> Context {
    Context {
        application: Application {
            client_id,
            authority: "https://login.microsoftonline.com/fabrikam.com".into(),
            authority_type: None,
            skip_authority_validation: true,
            instance_metadata: None,
            instance_discovery_uri: None,
            token_endpoint_auth_method: None,
            azure_region: None,
            client_capabilities: Vec::new(),
            send_x5c: false,
            token_exchange_url: None,
            bound_flows: Vec::new(),
        },
        now: 0,
        deadline: 0,
        seed: (0, 0, 0, 0),
        proactive_refresh: true,
    }
}

fn sign_in(arguments: &Arguments<'_>) -> SignIn {
    SignIn {
        scopes: arguments.all("scope").map(Into::into).collect(),
        redirect_uri: arguments.text("redirect-uri"),
        offline_access: true,
        login_hint: arguments.one("login-hint"),
        domain_hint: None,
        prompt: None,
        options: Some(options(arguments)),
    }
}

fn review(arguments: &Arguments<'_>) -> String {
    let refusal = Refusal {
        presented: Presented::Token,
        answer: ApiAnswer::Status(arguments.at(0).parse().unwrap_or_default()),
        challenges: Vec::from([arguments.at(1).into()]),
        attempt: 1,
        bad_request_rejects: false,
    };
    match acquisition::review(&refusal) {
        Verdict::Accept => "accept".into(),
        Verdict::AcquireWithClaims(claims) => claims,
        Verdict::ReselectCertificate => "reselect-certificate".into(),
    }
}

fn shown<T>(answer: Result<T, Error>, show: impl FnOnce(T) -> String) -> String {
    answer.map_or_else(|error| failed(&error), show)
}

fn failed(error: &Error) -> String {
    let pause = match error.retry_after_ms {
        Some(pause) => format!(" after {pause} ms"),
        None => String::new(),
    };
    format!("{:?} {}{pause}: {}", error.kind, error.code, error.message)
}

/// Status, headers and body of the answer, or why there is none.
fn send(arguments: &Arguments<'_>) -> Result<String, String> {
    let request = request(arguments)?;
    let body = arguments.one("body");
    let outgoing = body.as_ref().map(|_| request.body()).transpose().map_err(|()| "no body")?;
    let held = HELD.lock();
    let authorization = held.as_ref().ok_or("nothing is held")?;
    let sent = send_authorized::send(request, None, authorization).map_err(|error| format!("{error:?}"))?;
    if let (Some(outgoing), Some(body)) = (outgoing, body) {
        write(outgoing, body.as_bytes())?;
    }
    sent.subscribe().block();
    match sent.get() {
        Some(Ok(Ok(response))) => Ok(read(response)),
        Some(Ok(Err(error))) => Err(format!("{error:?}")),
        _ => Err("no answer".into()),
    }
}

fn request(arguments: &Arguments<'_>) -> Result<OutgoingRequest, String> {
    use bindings::wasi::http::types::Scheme;
    let headers = Fields::new();
    for (name, value) in arguments.pairs("header") {
        headers.append(&name, value.as_bytes()).map_err(|error| format!("header {error:?}"))?;
    }
    let (scheme, rest) = arguments.at(1).split_once("://").ok_or("no URL")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let scheme = match scheme {
        "https" => Scheme::Https,
        "http" => Scheme::Http,
        other => Scheme::Other(other.into()),
    };
    let method = match arguments.at(0) {
        "GET" => Method::Get,
        "POST" => Method::Post,
        "TRACE" => Method::Trace,
        "CONNECT" => Method::Connect,
        other => Method::Other(other.into()),
    };
    let request = OutgoingRequest::new(headers);
    request.set_method(&method).map_err(|()| "method")?;
    request.set_scheme(Some(&scheme)).map_err(|()| "scheme")?;
    request.set_authority(Some(authority)).map_err(|()| "authority")?;
    request.set_path_with_query(Some(path)).map_err(|()| "path")?;
    Ok(request)
}

fn write(outgoing: OutgoingBody, content: &[u8]) -> Result<(), String> {
    let stream = outgoing.write().map_err(|()| "no stream")?;
    for part in content.chunks(4096) {
        stream.blocking_write_and_flush(part).map_err(|error| format!("{error:?}"))?;
    }
    drop(stream);
    OutgoingBody::finish(outgoing, None).map_err(|error| format!("{error:?}"))
}

fn read(response: IncomingResponse) -> String {
    let mut text = response.status().to_string();
    for (name, value) in response.headers().entries() {
        text += &format!("\n{name}: {}", String::from_utf8_lossy(&value));
    }
    text += "\n\n";
    let Ok(body) = response.consume() else { return text };
    let Ok(stream) = body.stream() else { return text };
    loop {
        match stream.blocking_read(4096) {
            Ok(part) => text += &String::from_utf8_lossy(&part),
            Err(StreamError::Closed) => return text,
            Err(error) => return text + &format!("{error:?}"),
        }
    }
}
