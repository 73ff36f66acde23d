//! What a credential's configuration and a request say of how the client proves itself: preferred bound connections, omitted
//! assertions, claims and chains of assertions, and reports of what was accepted.
#![allow(clippy::expect_used, clippy::panic, reason = "a test ends at what it did not expect")]

mod common;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::directory::ALICE;
use common::flows::AGENT;
use common::host::{Host, Sent};
use common::*;
use symbolon_protocol::acquisition::{Fact, FactKind};
use symbolon_protocol::credential::{BoundUse, Description, Purpose, SignedAssertion};
use symbolon_protocol::error::ErrorKind;
use symbolon_protocol::request::{
    AgentFlow, AgentSubject, AuthorizationCode, BoundFlow, Flow, NamedUser, Options, Request, Scheme,
    UserAssertion, UsernamePassword,
};

const LOGIN: &str = "login.microsoftonline.com";
const MTLS: &str = "mtlsauth.microsoft.com";
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn preferring(credential: Description) -> Description {
    Description { use_bound: BoundUse::Preferred, ..credential }
}

fn federated_and_bound() -> Description {
    Description { certificate: certificate("t1").certificate, ..federated() }
}

fn on_behalf_of() -> Request {
    ask(Flow::OnBehalfOf(UserAssertion { assertion: ALICE.token("one"), ..UserAssertion::default() }))
}

fn by_code() -> Request {
    ask(Flow::ByAuthorizationCode(AuthorizationCode { code: "code".into(), ..AuthorizationCode::default() }))
}

fn by_password() -> Request {
    let password = UsernamePassword { username: ALICE.upn.into(), password: "secret".into() };
    ask(Flow::ByUsernamePassword(password))
}

fn for_agent(subject: AgentSubject) -> Request {
    ask(Flow::ForAgent(AgentFlow { agent: AGENT.into(), subject }))
}

/// The same past the cache.
fn again(request: &Request) -> Request {
    with(request, forced())
}

fn with_claims(claims: &str) -> Options {
    Options { extra_client_assertion_claims: Some(claims.into()), ..Options::default() }
}

/// Where the requests went, and whether the certificate was presented.
fn ways(host: &Host) -> Vec<(&str, bool)> {
    host.sent.iter().map(|sent| (sent.host.as_str(), sent.presentation.certificate)).collect()
}

fn has_chain(sent: &Sent) -> bool {
    part(sent.field("client_assertion").expect("an assertion"), 0).contains(r#""x5c":["#)
}

/// A part of an assertion, as text.
fn part(assertion: &str, index: usize) -> String {
    let part = assertion.split('.').nth(index).expect("a part");
    String::from_utf8(URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("UTF-8")
}

#[test]
fn a_preferred_connection_gives_way_once_and_for_ten_minutes() {
    for request in [request(), on_behalf_of(), by_code()] {
        for code in ["AADSTS51000", "AADSTS392189"] {
            let mut host = Host::new(preferring(certificate("t1")));
            host.answer(refusal("invalid_client", &format!("{code}: not enabled")));
            let token = host.acquire(request.clone()).expect("without a bound connection");
            assert_eq!(ways(&host), [(MTLS, true), (LOGIN, false)]);
            assert_eq!(token.token_type, "Bearer");
            assert!(has_chain(&host.sent[1]), "the registration is the same");
            assert_eq!(host.purposes, [Purpose::Authenticate], "the same certificate");
            let [(Fact { kind, key }, reason, _)] = host.facts.as_slice() else { panic!("{:?}", host.facts) };
            assert_eq!(*kind, FactKind::BoundRefusal);
            assert!(
                key.contains(MTLS) && key.contains(CLIENT) && key.contains("ClientCredentials[0]"),
                "{key}"
            );
            assert!(String::from_utf8_lossy(reason).contains(&code["AADSTS".len()..]));

            host.later(599);
            host.acquire(again(&request)).unwrap();
            assert_eq!(ways(&host), [(LOGIN, false)], "remembered");
            host.later(1);
            host.acquire(again(&request)).unwrap();
            assert_eq!(ways(&host), [(MTLS, true)], "tried again");
        }
    }
}

#[test]
fn what_is_refused_for_one_kind_of_request_is_tried_for_another() {
    let mut host = Host::new(preferring(certificate("t1")));
    host.answer(refusal("invalid_client", "AADSTS392189: not enabled"));
    host.acquire(on_behalf_of()).unwrap();
    host.acquire(request()).unwrap();
    assert_eq!(ways(&host), [(MTLS, true)]);
}

#[test]
fn a_required_connection_never_gives_way() {
    let mut host = Host::new(bound_certificate("t1"));
    host.answer(refusal("invalid_client", "AADSTS51000: not enabled"));
    assert_eq!(host.acquire(request()).unwrap_err().kind, ErrorKind::BoundTransportNotEnabled);
    assert_eq!((host.sent.len(), host.facts.len()), (1, 0));
    // A token that is bound is another one.
    host.credential = preferring(certificate("t1"));
    host.answer(refusal("invalid_client", "AADSTS51000: not enabled"));
    assert_eq!(host.acquire(pop_request()).unwrap_err().kind, ErrorKind::BoundTransportNotEnabled);
    assert_eq!((host.sent.len(), host.facts.len()), (1, 0));
}

#[test]
fn it_gives_way_where_authority_or_flow_have_no_bound_connections() {
    let mut host = Host::new(preferring(certificate("t1")));
    host.context.application.authority = format!("https://sts.windows.net/{TENANT}");
    host.acquire(request()).unwrap();
    assert_eq!(ways(&host), [(LOGIN, false)]);
    assert_eq!(host.facts.len(), 1);

    let mut host = Host::new(preferring(certificate("t1")));
    host.acquire(by_password()).unwrap();
    assert_eq!(ways(&host), [(LOGIN, false)]);
    assert!(String::from_utf8_lossy(&host.facts[0].1).contains("BoundFlows"));
    host.facts.clear();
    host.context.application.bound_flows = vec![BoundFlow::ByUsernamePassword];
    host.acquire(by_password()).unwrap();
    assert_eq!(ways(&host), [(MTLS, true)]);
    assert!(host.facts.is_empty());
}

/// One that is bound to its certificate is no use on another connection.
#[test]
fn an_assertion_that_gives_way_is_another_one() {
    let mut host = Host::new(preferring(federated_and_bound()));
    host.assertion = Some(SignedAssertion { assertion: "bo.un.d".into(), bound: true });
    host.answer(refusal("invalid_client", "AADSTS51000: not enabled"));
    host.acquire(request()).unwrap();
    assert_eq!(ways(&host), [(MTLS, true), (LOGIN, false)]);
    assert_eq!(host.purposes, [Purpose::Authenticate, Purpose::AuthenticateUnbound]);
    assert_eq!(host.sent[1].field("client_assertion_type"), Some(JWT_BEARER));
    assert_eq!(host.sent[1].field("client_assertion"), Some("un.bou.nd"));
}

#[test]
fn an_assertions_certificate_is_left_alone_where_that_is_said() {
    let mut host = Host::new(Description { use_bound: BoundUse::Never, ..federated_and_bound() });
    host.assertion = Some(SignedAssertion { assertion: "bo.un.d".into(), bound: true });
    host.acquire(request()).unwrap();
    assert_eq!(ways(&host), [(LOGIN, false)]);
    assert_eq!(host.sent[0].field("client_assertion_type"), Some(JWT_BEARER));
}

#[test]
fn an_agents_blueprint_gives_way_too() {
    let mut host = Host::new(preferring(certificate("t1")));
    host.answer(refusal("invalid_client", "AADSTS51000: not enabled"));
    host.acquire(for_agent(AgentSubject::App)).unwrap();
    assert_eq!(ways(&host), [(MTLS, true), (LOGIN, false), (LOGIN, false)]);
}

#[test]
fn the_certificate_does_without_an_assertion() {
    for use_bound in [BoundUse::Required, BoundUse::Preferred] {
        for request in [request(), on_behalf_of(), by_code()] {
            let credential = Description { use_bound, omit_assertion_when_bound: true, ..certificate("t1") };
            let mut host = Host::new(credential);
            let token = host.acquire(request).unwrap();
            assert_eq!(ways(&host), [(MTLS, true)]);
            assert!(host.signed.is_empty(), "nothing is signed");
            assert!(host.sent[0].names().iter().all(|name| !name.starts_with("client_assertion")));
            assert_eq!(host.sent[0].field("client_id"), Some(CLIENT));
            assert_eq!(token.token_type, "Bearer");
        }
    }
    let omitting = Description { omit_assertion_when_bound: true, ..bound_certificate("t1") };
    let mut host = Host::new(omitting);
    host.acquire(by_password()).unwrap();
    assert_eq!((ways(&host), host.signed.len()), (vec![(LOGIN, false)], 1), "no bound connection");
}

#[test]
fn extra_claims_go_into_the_assertion_and_keep_tokens_apart() {
    let mut host = Host::new(certificate("t1"));
    let claims = |text| with(&request(), with_claims(text));
    host.acquire(claims(r#"{"xms_az_nwperimid":["a"]}"#)).unwrap();
    let payload = part(&host.signed[0], 1);
    assert!(payload.ends_with(r#","xms_az_nwperimid":["a"]}"#), "{payload}");
    assert_eq!(host.requests(claims(r#"{"xms_az_nwperimid":["a"]}"#)), 0);
    assert_eq!(host.requests(claims(r#"{"xms_az_nwperimid":["b"]}"#)), 1);
    assert_eq!(host.requests(request()), 1);
    let stored = host.cache.access_tokens();
    let components = stored.iter().flat_map(|item| item.components.iter());
    assert_eq!(components.filter(|(name, _)| *name == "extra_client_assertion_claims").count(), 2);
    for (text, code) in [("[]", "invalid_json_claims_format"), (r#"{"aud":"x"}"#, "reserved_claim")] {
        assert_eq!(host.acquire(claims(text)).unwrap_err().code, code);
    }
}

#[test]
fn extra_claims_need_an_assertion_that_is_signed() {
    let code = |credential: Description, scheme| {
        let request = Request { scheme, ..with(&request(), with_claims(r#"{"x":1}"#)) };
        let mut host = Host::new(credential);
        host.assertion = Some(SignedAssertion { assertion: "a.b.c".into(), bound: false });
        host.acquire(request).err().map(|error| error.code)
    };
    let none = Some("mtls_certificate_not_provided".to_owned());
    assert_eq!(code(certificate("t1"), Scheme::MtlsPop), none);
    assert_eq!(code(bound_certificate("t1"), Scheme::Bearer), None);
    let omitting = Description { omit_assertion_when_bound: true, ..bound_certificate("t1") };
    assert_eq!(code(omitting, Scheme::Bearer), none);
    for credential in [secret(), federated()] {
        assert_eq!(code(credential, Scheme::Bearer), Some("credential_unsupported".to_owned()));
    }
}

/// The blueprint's assertion is the one that is signed.
#[test]
fn extra_claims_of_an_agents_token_go_with_its_blueprint() {
    let mut host = Host::new(certificate("t1"));
    let user = || AgentSubject::User(NamedUser::Username(ALICE.upn.into()));
    let request = |claims| with(&for_agent(user()), with_claims(claims));
    host.acquire(request(r#"{"x":"1"}"#)).unwrap();
    assert_eq!((host.sent.len(), host.signed.len()), (3, 1));
    assert_eq!(claim(&host.signed[0], "x"), "1");
    assert_eq!(host.requests(request(r#"{"x":"1"}"#)), 0);
    host.acquire(request(r#"{"x":"2"}"#)).unwrap();
    assert_eq!(claim(&host.signed[0], "x"), "2", "another blueprint's token");
}

#[test]
fn a_request_says_itself_whether_the_chain_is_sent() {
    for (configured, asked, sent) in
        [(false, None, false), (true, None, true), (false, Some(true), true), (true, Some(false), false)]
    {
        let mut host = Host::new(certificate("t1"));
        host.context.application.send_x5c = configured;
        let options = Options { send_x5c: asked, ..Options::default() };
        host.acquire(with(&request(), options.clone())).unwrap();
        assert_eq!(has_chain(&host.sent[0]), sent, "{configured} {asked:?}");
        host.acquire(with(&for_agent(AgentSubject::App), options)).unwrap();
        assert_eq!(has_chain(&host.sent[0]), sent, "{configured} {asked:?}: an agent's blueprint");
    }
    let mut host = Host::new(bound_certificate("t1"));
    host.acquire(with(&request(), Options { send_x5c: Some(false), ..Options::default() })).unwrap();
    assert!(has_chain(&host.sent[0]), "bound connections need it");
}

#[test]
fn what_was_accepted_is_reported_in_every_flow() {
    let used = |host: &Host| host.actions.iter().filter(|action| **action == "used").count();
    for credential in [secret(), certificate("t1"), bound_certificate("t1")] {
        for request in [request(), on_behalf_of(), by_code(), by_password(), for_agent(AgentSubject::App)] {
            let mut host = Host::new(credential.clone());
            host.acquire(request.clone()).unwrap();
            assert_eq!(used(&host), 1);
            host.answer(refusal("invalid_client", "AADSTS7000215: wrong"));
            host.acquire(again(&request)).unwrap_err();
            assert_eq!(used(&host), 0);
        }
    }
    // Each request of a bound chain presents the certificate.
    let mut host = Host::new(certificate("t1"));
    host.acquire(Request { scheme: Scheme::MtlsPop, ..for_agent(AgentSubject::App) }).unwrap();
    assert_eq!((host.sent.len(), used(&host)), (2, 2));
}
