//! A component that attacks its host, or does one thing that the host must judge: which, its first scope says.
//!
//! It answers with an error whose code says what it saw, in the words of `error-code` or of the function it called.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![cfg(target_arch = "wasm32")]

extern crate alloc;

#[path = "../../../guest/component/src/runtime.rs"]
mod runtime;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use bindings::exports::symbolon::token::acquisition::{
    AccessToken, AuthorizationRequest, CacheRefreshReason, Context, Guest, Refusal, Request, SignIn,
    TokenSource, Verdict,
};
use bindings::symbolon::credentials::platform::{self, CertificateSubject};
use bindings::symbolon::credentials::provider::{self, Credential, Purpose, Selection, SignatureAlgorithm};
use bindings::symbolon::credentials::transport::{self, Place, Presentation};
use bindings::symbolon::token::cache::{self, Found, Lookup};
use bindings::symbolon::token::facts::{self, FactKind};
use bindings::symbolon::token::types::{Account, Error, ErrorKind, Token};
use bindings::wasi::http::outgoing_handler;
use bindings::wasi::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme,
};

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
        ],
        world: "symbolon:token/token-acquisition",
        generate_all,
    });

    export!(Hostile with_types_in self);

    /// What the component exports.
    pub(super) struct Hostile;
}

impl Guest for bindings::Hostile {
    fn acquire(request: Request, _context: Option<Context>) -> Result<AccessToken, Error> {
        let order = request.scopes.first().map_or("", String::as_str);
        let (verb, argument) = order.split_once(' ').unwrap_or((order, ""));
        if verb == "bind" {
            return Ok(bound(argument));
        }
        let seen = match verb {
            "spin" => spin(),
            "spin-through-the-host" => spin_through_the_host(),
            "recurse" => recurse(1).to_string(),
            "allocate" => allocate(),
            "trap" => core::arch::wasm32::unreachable(),
            "wait" => transport::wait(argument.parse().unwrap_or_default()).to_string(),
            "hold" => hold(argument),
            "get" => plain_get(argument),
            "post-bound" => post(argument, "client_secret=", Place::FormField("client_secret".into()), false),
            "post-without-place" => post(argument, "a=b", Place::FormField("client_secret".into()), false),
            "post-two-places" => post(
                argument,
                "client_secret=&client_secret=",
                Place::FormField("client_secret".into()),
                false,
            ),
            "post-with-length" => {
                post(argument, "client_secret=", Place::FormField("client_secret".into()), true)
            }
            "exchange-with-host" => exchange_with(argument, vec![("host".into(), "evil.example".into())]),
            "exchange-with-many-headers" => exchange_with(argument, many_headers()),
            "exchange-with-a-large-header" => {
                exchange_with(argument, vec![("x".into(), "x".repeat(200_000))])
            }
            "sign" => sign(argument),
            "sign-often" => sign_often(argument),
            "find" => find(argument),
            "count" => count(),
            "fact" => fact(argument),
            "platform" => platform(),
            "platform-secret" => platform_secret(argument),
            "keys" => keys(),
            "install" => install(argument),
            other => format!("unknown order {other}"),
        };
        Err(Error {
            kind: ErrorKind::Refused,
            code: seen,
            message: String::new(),
            retryable: false,
            retry_after_ms: None,
            status: None,
            aadsts_codes: Vec::new(),
            suberror: None,
            claims: None,
            correlation_id: String::new(),
            trace_id: None,
            timestamp: None,
        })
    }

    fn review(_: Refusal) -> Verdict {
        core::arch::wasm32::unreachable()
    }

    fn authorize(_: SignIn, _: Option<Context>) -> Result<AuthorizationRequest, Error> {
        core::arch::wasm32::unreachable()
    }

    fn stop_long_running_process(_: String, _: Option<Context>) -> Result<bool, Error> {
        core::arch::wasm32::unreachable()
    }

    fn accounts(_: Option<Context>) -> Result<Vec<Account>, Error> {
        core::arch::wasm32::unreachable()
    }

    fn remove_account(_: String, _: Option<Context>) -> Result<bool, Error> {
        core::arch::wasm32::unreachable()
    }
}

/// How many acquisitions this instance has served.
fn count() -> String {
    static SERVED: AtomicU32 = AtomicU32::new(0);
    (SERVED.fetch_add(1, Ordering::Relaxed) + 1).to_string()
}

fn spin() -> String {
    loop {
        core::hint::black_box(0);
    }
}

/// Spins in small steps with a host call after each, as if it were waiting.
fn spin_through_the_host() -> String {
    loop {
        core::hint::black_box(facts::get(FactKind::Region, "none"));
    }
}

#[allow(unconditional_recursion, reason = "that is the attack")]
fn recurse(depth: u64) -> u64 {
    core::hint::black_box(depth) + recurse(core::hint::black_box(depth + 1))
}

fn allocate() -> String {
    let mut hoard = Vec::new();
    loop {
        hoard.push(Vec::<u8>::with_capacity(64 * 1024));
        core::hint::black_box(&hoard);
    }
}

/// Leads the flight of the same name and traps while others wait for it.
fn hold(name: &str) -> String {
    match cache::find(&lookup(name)) {
        Found::Lead(lead) => {
            transport::wait(50);
            core::hint::black_box(&lead);
            core::arch::wasm32::unreachable()
        }
        found => describe(&found),
    }
}

fn lookup(key: &str) -> Lookup {
    Lookup {
        alternatives: Vec::from([Vec::from([String::from(key)])]),
        expires_after: 0,
        expires_before: u64::MAX,
        bypass: false,
        flight: Some(key.into()),
    }
}

/// Looks a key up, as written by whoever gave the order.
fn find(key: &str) -> String {
    let mut lookup = lookup(key);
    lookup.flight = None;
    describe(&cache::find(&lookup))
}

fn describe(found: &Found) -> String {
    match found {
        Found::Hit(_) => "hit",
        Found::Lead(_) => "lead",
        Found::Failed(_) => "failed",
        Found::Miss => "miss",
    }
    .into()
}

/// `name` reads a fact, `name=value` writes one.
fn fact(order: &str) -> String {
    match order.split_once('=') {
        Some((name, value)) => {
            facts::put(FactKind::Region, name, value.as_bytes(), 60_000);
            "kept".into()
        }
        None => match facts::get(FactKind::Region, order) {
            Some(value) => String::from_utf8_lossy(&value).into_owned(),
            None => "nothing".into(),
        },
    }
}

/// What there is to see of the platform.
fn platform() -> String {
    let refused = [
        platform::secret("IDENTITY_HEADER").is_err(),
        platform::challenge_file("/var/opt/azcmagent/tokens/a.key").is_err(),
        platform::request_certificate(&subject()).is_err(),
        platform::install_certificate(b"0", "c", "https://mtlsauth.microsoft.com/").is_err(),
        platform::issued().is_none(),
    ];
    let refused = refused.iter().filter(|refused| **refused).count();
    format!("{} variables, {refused} refused", platform::environment().len())
}

/// Sends the platform's secret there.
fn platform_secret(url: &str) -> String {
    let headers = Fields::new();
    let request = match headers.append("x-identity-header", b"") {
        Ok(()) => request(url, &Method::Get, headers),
        Err(_) => None,
    };
    match (request, platform::secret("IDENTITY_HEADER")) {
        (Some(request), Ok(secret)) => {
            let how =
                Presentation { certificate: false, secret: Some(Place::Header("x-identity-header".into())) };
            let sent = answer(transport::send(request, None, &secret, &how));
            let headers = vec![("x-identity-header".into(), String::new())];
            same(sent, exchange(url, Method::Get, headers, "", &secret, &how))
        }
        (_, Err(error)) => error.message,
        (None, _) => "no such URL".into(),
    }
}

fn subject() -> CertificateSubject {
    CertificateSubject {
        client_id: "client".into(),
        tenant_id: "tenant".into(),
        machine: "{}".into(),
        attestation_endpoint: None,
    }
}

/// How many keys it takes to be refused another one.
fn keys() -> String {
    let mut made = 0;
    while made < 10 {
        match platform::request_certificate(&subject()) {
            Ok(_) => made += 1,
            Err(error) => return format!("{made}: {}", error.message),
        }
    }
    format!("{made}")
}

/// Installs the request itself as its certificate, for tokens of this endpoint.
fn install(token_endpoint: &str) -> String {
    let made = platform::request_certificate(&subject());
    let installed = made.and_then(|made| platform::install_certificate(&made.der, "client", token_endpoint));
    installed.map_or_else(|error| error.message, |()| "installed".into())
}

/// A token for a certificate of this `x5t#S256`.
fn bound(key_id: &str) -> AccessToken {
    AccessToken {
        token: Token::Raw("a token".into()),
        token_type: "mtls_pop".into(),
        expires_on: u64::MAX,
        refresh_on: None,
        scopes: Vec::new(),
        tenant_id: None,
        key_id: Some(key_id.into()),
        correlation_id: String::new(),
        source: TokenSource::IdentityProvider,
        token_endpoint: None,
        refresh_reason: CacheRefreshReason::NotApplicable,
        region: None,
        account: None,
        id_token: None,
        spa_code: None,
        session_key: None,
        reuse: None,
        cache_key: None,
    }
}

fn credential() -> Result<Credential, provider::Error> {
    provider::select(Selection { purpose: Purpose::Authenticate })
}

fn sign(signing_input: &str) -> String {
    match credential().and_then(|credential| sign_with(&credential, signing_input)) {
        Ok(_) => "signed".into(),
        Err(error) => error.message,
    }
}

fn sign_with(credential: &Credential, signing_input: &str) -> Result<Vec<u8>, provider::Error> {
    credential.sign_assertion(SignatureAlgorithm::Ps256, signing_input.as_bytes())
}

/// How often the same input is signed, and by how many handles it takes to be refused.
fn sign_often(signing_input: &str) -> String {
    let mut signed = 0;
    for _ in 0..4 {
        let Ok(credential) = credential() else { break };
        for _ in 0..5 {
            match sign_with(&credential, signing_input) {
                Ok(_) => signed += 1,
                Err(error) => return format!("{signed}: {}", error.message),
            }
        }
    }
    format!("{signed}")
}

fn request(url: &str, method: &Method, headers: Fields) -> Option<OutgoingRequest> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_once('/')?;
    let request = OutgoingRequest::new(headers);
    request.set_method(method).ok()?;
    let scheme = if scheme == "http" { Scheme::Http } else { Scheme::Https };
    request.set_scheme(Some(&scheme)).ok()?;
    request.set_authority(Some(authority)).ok()?;
    request.set_path_with_query(Some(&format!("/{path}"))).ok()?;
    Some(request)
}

fn plain_get(url: &str) -> String {
    let Some(request) = request(url, &Method::Get, Fields::new()) else { return "no such URL".into() };
    answer(outgoing_handler::handle(request, None))
}

fn post(url: &str, body: &str, place: Place, with_length: bool) -> String {
    let headers = Fields::new();
    let form = b"application/x-www-form-urlencoded".to_vec();
    if headers.append("content-type", &form).is_err() {
        return "no such header".into();
    }
    if with_length && headers.append("content-length", body.len().to_string().as_bytes()).is_err() {
        return "no such header".into();
    }
    let Some(request) = request(url, &Method::Post, headers) else { return "no such URL".into() };
    let Ok(outgoing) = request.body() else { return "no body".into() };
    if let Ok(stream) = outgoing.write() {
        let _ = stream.blocking_write_and_flush(body.as_bytes());
    }
    if OutgoingBody::finish(outgoing, None).is_err() {
        return "the body can't be finished".into();
    }
    let credential = match credential() {
        Ok(credential) => credential,
        Err(error) => return error.message,
    };
    let how = Presentation { certificate: false, secret: Some(place) };
    let sent = answer(transport::send(request, None, &credential, &how));
    let mut headers = vec![("content-type".into(), "application/x-www-form-urlencoded".into())];
    if with_length {
        headers.push(("content-length".into(), body.len().to_string()));
    }
    same(sent, exchange(url, Method::Post, headers, body, &credential, &how))
}

/// The same request in one call.
fn exchange(
    url: &str,
    method: Method,
    headers: Vec<(String, String)>,
    body: &str,
    credential: &Credential,
    how: &Presentation,
) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "no such URL".into() };
    let Some((authority, path)) = rest.split_once('/') else { return "no such URL".into() };
    let request = transport::Request {
        method,
        scheme: if scheme == "http" { Scheme::Http } else { Scheme::Https },
        authority: authority.into(),
        path_with_query: format!("/{path}"),
        headers,
        body: body.into(),
        connect_timeout_ms: 10_000,
        first_byte_timeout_ms: 10_000,
    };
    match transport::exchange(&request, credential, how) {
        Ok(response) => response.status.to_string(),
        Err(error) => format!("{error:?}"),
    }
}

/// More than a map of headers takes, and short: names of three characters, without a value.
fn many_headers() -> Vec<(String, String)> {
    let character = |number: usize| char::from(b"0123456789abcdefghijklmnopqrstuvwxyz"[number % 36]);
    let name = |number: usize| String::from_iter([number, number / 36, number / 1296].map(character));
    (0..40_000).map(|number| (name(number), String::new())).collect()
}

/// With headers that a request of the application's never has.
fn exchange_with(url: &str, headers: Vec<(String, String)>) -> String {
    let how = Presentation { certificate: false, secret: Some(Place::FormField("client_secret".into())) };
    match credential() {
        Ok(credential) => exchange(url, Method::Post, headers, "client_secret=", &credential, &how),
        Err(error) => error.message,
    }
}

/// What both ways to send say, which should be the same.
fn same(sent: String, exchanged: String) -> String {
    if sent == exchanged { sent } else { format!("{sent} when sent, {exchanged} when exchanged") }
}

fn answer(sent: Result<FutureIncomingResponse, ErrorCode>) -> String {
    let response = match sent {
        Ok(response) => response,
        Err(error) => return format!("{error:?}"),
    };
    response.subscribe().block();
    match response.get() {
        Some(Ok(Ok(response))) => response.status().to_string(),
        Some(Ok(Err(error))) => format!("{error:?}"),
        _ => "no answer".into(),
    }
}
