//! Agents: the tokens that a blueprint and its agent need before the one that is asked for.
#![allow(clippy::expect_used, clippy::panic, reason = "a test ends at what it did not expect")]

mod common;

use common::directory::{ALICE, BOB, User};
use common::flows::AGENT;
use common::host::{Host, Sent};
use common::*;
use symbolon_protocol::credential::{Description, Place, Presentation, SignedAssertion};
use symbolon_protocol::error::ErrorKind;
use symbolon_protocol::request::{
    AgentFlow, AgentSubject, AssertionKind, BoundFlow, ClientFlow, Flow, NamedUser, Options, Request, Scheme,
    TokenSource, UserAssertion,
};

const OTHER_AGENT: &str = "cd18ca07-d139-4840-8b3b-4be9610c6ed5";
const EXCHANGE: &str = "api://AzureADTokenExchange/.default";
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const JWT_POP: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-pop";

fn for_agent(agent: &str, subject: AgentSubject) -> Request {
    ask(Flow::ForAgent(AgentFlow { agent: agent.into(), subject }))
}

fn app_only(agent: &str) -> Request {
    for_agent(agent, AgentSubject::App)
}

fn for_user(agent: &str, user: &User) -> Request {
    for_agent(agent, AgentSubject::User(NamedUser::Username(user.upn.into())))
}

fn for_user_id(agent: &str, user: &User) -> Request {
    for_agent(agent, AgentSubject::User(NamedUser::ObjectId(user.oid.into())))
}

fn on_behalf_of(agent: &str, assertion: &str) -> Request {
    let assertion = UserAssertion { assertion: assertion.into(), kind: AssertionKind::Jwt };
    for_agent(agent, AgentSubject::Assertion(assertion))
}

/// The requests that an acquisition takes which succeeds.
fn sent(host: &mut Host, request: Request) -> Vec<Sent> {
    host.acquire(request).expect("a token");
    host.sent.clone()
}

#[test]
fn the_agent_itself_takes_two_requests() {
    let mut host = Host::new(secret());
    let [first, last] = sent(&mut host, app_only(AGENT)).try_into().expect("two requests");
    assert_eq!(
        first.form(),
        format!(
            "client_id={CLIENT}\nclient_secret=\nscope={EXCHANGE}\ngrant_type=client_credentials\nclient_info=2\n\
             fmi_path={AGENT}"
        )
    );
    let secret = Some(Place::FormField("client_secret".into()));
    assert_eq!(first.presentation, Presentation { certificate: false, secret });
    assert_eq!(
        last.form(),
        format!(
            "client_id={AGENT}\nclient_assertion_type={JWT_BEARER}\nclient_assertion=at1\n\
             scope=https://graph.microsoft.com/.default\ngrant_type=client_credentials\nclient_info=2"
        )
    );
    assert_eq!(last.presentation, Presentation::default(), "the blueprint's secret isn't the agent's");
    for sent in [first, last] {
        assert_eq!(sent.path, format!("/{TENANT}/oauth2/v2.0/token"));
        assert_eq!(sent.header("x-client-current-telemetry"), Some("5|1004,2,,,|0,1,1,,,"));
    }
    let token = host.acquire(app_only(AGENT)).unwrap();
    assert_eq!((token.token.as_str(), token.source, token.account), ("at2", TokenSource::Cache, None));
}

#[test]
fn a_user_of_the_agent_takes_three() {
    let mut host = Host::new(secret());
    let [first, second, third] = sent(&mut host, for_user(AGENT, &ALICE)).try_into().expect("three requests");
    assert_eq!(first.field("fmi_path"), Some(AGENT));
    assert_eq!(
        second.form(),
        format!(
            "client_id={AGENT}\nclient_assertion_type={JWT_BEARER}\nclient_assertion=at1\nscope={EXCHANGE}\n\
             grant_type=client_credentials\nclient_info=2"
        )
    );
    assert_eq!(
        third.form(),
        format!(
            "client_id={AGENT}\nclient_assertion_type={JWT_BEARER}\nclient_assertion=at1\n\
             scope=openid offline_access profile https://graph.microsoft.com/.default\ngrant_type=user_fic\n\
             user_federated_identity_credential=at2\nusername={}\nclient_info=1",
            ALICE.upn
        )
    );
    assert_eq!(third.header("x-anchormailbox"), Some("upn:Alice@contoso.com"));
    assert_eq!(third.header("x-client-current-telemetry"), Some("5|1019,2,,,|0,1,1,,,"));
    let token = host.acquire(for_user(AGENT, &ALICE)).unwrap();
    assert_eq!(token.account.expect("an account").home_account_id, ALICE.home_account_id());
}

#[test]
fn the_user_may_be_named_by_object_id() {
    let mut host = Host::new(secret());
    let [_, _, third] = sent(&mut host, for_user_id(AGENT, &ALICE)).try_into().expect("three requests");
    assert_eq!((third.field("user_id"), third.field("username")), (Some(ALICE.oid), None));
    let mailbox = format!("oid:{}@{TENANT}", ALICE.oid);
    assert_eq!(third.header("x-anchormailbox"), Some(mailbox.as_str()));
}

#[test]
fn what_is_there_is_not_asked_for_again() {
    let mut host = Host::new(secret());
    assert_eq!(host.requests(for_user(AGENT, &ALICE)), 3, "the first user");
    assert_eq!(host.requests(for_user(AGENT, &ALICE)), 0, "the same again");
    assert_eq!(host.requests(for_user(AGENT, &BOB)), 1, "a second user");
    assert_eq!(host.requests(for_user_id(AGENT, &ALICE)), 0, "the first one by object id");
    assert_eq!(host.requests(app_only(AGENT)), 1, "the agent itself");
    assert_eq!(host.requests(app_only(AGENT)), 0);
    assert_eq!(host.requests(for_user(OTHER_AGENT, &ALICE)), 3, "another agent of the blueprint");
    assert_eq!(host.requests(app_only("ef18ca07-d139-4840-8b3b-4be9610c6ed5")), 2);
}

#[test]
fn a_user_is_found_by_either_name() {
    for (first, then) in [
        (for_user(AGENT, &ALICE), for_user_id(AGENT, &ALICE)),
        (for_user_id(AGENT, &ALICE), for_user(AGENT, &ALICE)),
    ] {
        let mut host = Host::new(secret());
        host.acquire(first.clone()).unwrap();
        assert_eq!(host.requests(then.clone()), 0);
        host.later(3600);
        host.acquire(then).unwrap();
        assert_eq!(host.requests(first), 0, "and renewed by either");
    }
    let mut host = Host::new(secret());
    host.directory.names_users = false;
    host.acquire(for_user(AGENT, &ALICE)).unwrap();
    assert_eq!(host.requests(for_user_id(AGENT, &ALICE)), 1, "if the authority says who it is");
}

#[test]
fn on_behalf_of_a_user_as_the_agent_takes_two() {
    let mut host = Host::new(secret());
    let assertion = ALICE.token("for the blueprint");
    let [first, last] = sent(&mut host, on_behalf_of(AGENT, &assertion)).try_into().expect("two requests");
    assert_eq!(first.field("fmi_path"), Some(AGENT));
    assert_eq!(
        last.form(),
        format!(
            "client_id={AGENT}\nclient_assertion_type={JWT_BEARER}\nclient_assertion=at1\n\
             scope=https://graph.microsoft.com/.default offline_access openid profile\nclient_info=1\n\
             grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer\nassertion={assertion}\n\
             requested_token_use=on_behalf_of"
        )
    );
    assert_eq!(host.requests(on_behalf_of(AGENT, &assertion)), 0);
    assert_eq!(host.requests(on_behalf_of(AGENT, &BOB.token("for the blueprint"))), 1);
    assert_eq!(host.requests(on_behalf_of(OTHER_AGENT, &assertion)), 2);
    assert!(host.cache.refresh_tokens().is_empty());
}

#[test]
fn a_users_token_is_refreshed_by_the_agent_that_proves_itself_anew() {
    let mut host = Host::new(secret());
    host.acquire(for_user(AGENT, &ALICE)).unwrap();
    host.later(3600);
    let [first, last] = sent(&mut host, for_user(AGENT, &ALICE)).try_into().expect("two requests");
    assert_eq!(first.field("fmi_path"), Some(AGENT));
    assert_eq!((last.field("client_id"), last.field("grant_type")), (Some(AGENT), Some("refresh_token")));
    assert_eq!(last.field("client_assertion"), Some("at4"));
    // One that isn't worth anything any more gives way to the user's name.
    host.later(3600);
    host.answer(answer(200, r#"{"access_token":"t1","token_type":"Bearer","expires_in":3600}"#));
    host.answer(refusal("invalid_grant", "AADSTS700082: expired"));
    let [_, refused, second, third] =
        sent(&mut host, for_user(AGENT, &ALICE)).try_into().expect("four requests");
    assert_eq!(refused.field("grant_type"), Some("refresh_token"));
    assert_eq!(second.field("scope"), Some(EXCHANGE));
    assert_eq!((third.field("grant_type"), third.field("client_assertion")), (Some("user_fic"), Some("t1")));
}

#[test]
fn all_requests_are_of_one_tenant_one_correlation_and_the_same_capabilities() {
    let mut host = Host::new(secret());
    host.context.application.client_capabilities = vec!["cp1".into()];
    let options = Options {
        tenant_id: Some("fabrikam.com".into()),
        extra_query_parameters: vec![("dc".into(), "west".into())],
        extra_body_parameters: vec![("custom".into(), "x".into())],
        extra_headers: vec![("x-custom".into(), "x".into())],
        ..Options::default()
    };
    let requests = sent(&mut host, with(&for_user(AGENT, &ALICE), options));
    let capabilities = r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#;
    for sent in &requests {
        assert_eq!(sent.path, "/fabrikam.com/oauth2/v2.0/token?dc=west");
        assert_eq!(sent.header("client-request-id"), Some(CORRELATION));
        assert_eq!(sent.field("claims"), Some(capabilities));
    }
    let own: Vec<_> = requests.iter().map(|sent| (sent.field("custom"), sent.header("x-custom"))).collect();
    assert_eq!(own, [(None, None), (None, None), (Some("x"), Some("x"))], "the rest is the last one's");
}

#[test]
fn a_challenge_and_a_forced_refresh_concern_the_last_request_alone() {
    let challenge = r#"{"access_token":{"nbf":{"essential":true}}}"#;
    let claims = Options { claims: Some(challenge.into()), ..Options::default() };
    for request in [app_only(AGENT), for_user(AGENT, &ALICE), on_behalf_of(AGENT, &ALICE.token("one"))] {
        let mut host = Host::new(secret());
        let requests = sent(&mut host, with(&request, claims.clone()));
        let (last, before) = requests.split_last().expect("requests");
        assert_eq!(last.field("claims"), Some(challenge));
        assert!(before.iter().all(|sent| sent.field("claims").is_none()));
        for options in [forced(), claims.clone()] {
            let [only] = sent(&mut host, with(&request, options)).try_into().expect("one request");
            assert_eq!(only.field("client_id"), Some(AGENT));
            assert_ne!(only.field("scope"), Some(EXCHANGE));
        }
    }
}

#[test]
fn nobody_else_finds_the_tokens_of_the_chain() {
    let mut host = Host::new(secret());
    host.acquire(for_user(AGENT, &ALICE)).unwrap();
    let chain = || {
        let flow = ClientFlow { fmi_path: Some(AGENT.into()), ..ClientFlow::default() };
        for_scope(&ask(Flow::ForClient(flow)), EXCHANGE)
    };
    let as_credential = Options { client_assertion_fmi_path: Some(AGENT.into()), ..Options::default() };
    assert_eq!(host.requests(chain()), 1, "the blueprint, with the same scope and path");
    assert_eq!(host.requests(with(&chain(), as_credential.clone())), 1);

    host.acquire(app_only(AGENT)).unwrap();
    host.context.application.client_id = AGENT.into();
    for scope in [EXCHANGE, "https://graph.microsoft.com/.default"] {
        let plain = for_scope(&request(), scope);
        assert_eq!(host.requests(plain.clone()), 1, "an application with the agent's id");
        assert_eq!(host.requests(with(&plain, as_credential.clone())), 1);
    }
    let silent = ask(Flow::Silent(ALICE.home_account_id()));
    assert_eq!(host.acquire(silent).unwrap_err().code, "no_tokens_found");
}

/// The components are MSAL's, so that a cache that is shared with it keeps the tokens apart as well.
#[test]
fn each_token_is_kept_with_the_components_of_its_request() {
    let mut host = Host::new(secret());
    host.acquire(for_user(AGENT, &ALICE)).unwrap();
    let items = host.cache.access_tokens();
    let kept: Vec<_> = items
        .iter()
        .map(|item| (item.client_id.as_str(), item.components.iter().collect::<Vec<_>>()))
        .collect();
    assert_eq!(
        kept,
        [
            (CLIENT, vec![("fmi_path", AGENT)]),
            (AGENT, vec![("credential_fmi_path", AGENT)]),
            (AGENT, vec![("credential_fmi_path", AGENT)]),
        ]
    );
}

#[test]
fn users_who_come_together_share_the_chain() {
    let lookups = |request: Request| {
        let mut host = Host::new(secret());
        host.acquire(request).unwrap();
        let flights: Vec<_> = host.lookups.iter().filter_map(|lookup| lookup.flight.clone()).collect();
        flights
    };
    let (alice, bob) = (lookups(for_user(AGENT, &ALICE)), lookups(for_user(AGENT, &BOB)));
    assert_eq!(alice.len(), 3);
    assert_ne!(alice[0], bob[0]);
    assert_eq!(alice[1..], bob[1..]);
    assert_eq!(lookups(app_only(AGENT))[1], alice[1]);
    assert_ne!(lookups(app_only(OTHER_AGENT))[1], alice[1]);
}

#[test]
fn an_error_anywhere_ends_every_flight_and_keeps_what_was_right() {
    let mut host = Host::new(secret());
    host.answer(refusal("invalid_scope", "AADSTS82001: not an agent"));
    let error = host.acquire(for_user(AGENT, &ALICE)).unwrap_err();
    assert_eq!((error.kind, error.aadsts_codes.as_slice()), (ErrorKind::Refused, &[82001][..]));
    assert_eq!(error.correlation_id, CORRELATION);
    assert!(host.cache.entries.is_empty());
    assert_eq!(host.actions.iter().filter(|action| **action == "fail").count(), 2);

    let token = || answer(200, r#"{"access_token":"t","token_type":"Bearer","expires_in":3600}"#);
    host.answer(token());
    host.answer(token());
    host.answer(refusal("invalid_grant", "AADSTS50034: no such user"));
    let error = host.acquire(for_user(AGENT, &ALICE)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::InteractionRequired);
    assert_eq!(host.requests(for_user(AGENT, &BOB)), 1);
}

#[test]
fn the_audience_of_the_exchange_is_the_clouds_or_the_configured_one() {
    for (host_name, configured, expected) in [
        ("login.microsoftonline.us", None, Some("api://AzureADTokenExchangeUSGov/.default")),
        ("login.partner.microsoftonline.cn", None, Some("api://AzureADTokenExchangeChina/.default")),
        ("login.sovcloud-identity.fr", None, None),
        ("login.sovcloud-identity.fr", Some("api://French"), Some("api://French/.default")),
        ("login.microsoftonline.com", Some("api://Own/.default"), Some("api://Own/.default")),
        ("login.microsoftonline.com", Some(" "), Some(EXCHANGE)),
    ] {
        let mut host = Host::new(secret());
        host.context.application.authority = format!("https://{host_name}/{TENANT}");
        host.context.application.token_exchange_url = configured.map(String::from);
        match (host.acquire(for_user(AGENT, &ALICE)), expected) {
            (Ok(_), Some(scope)) => {
                assert_eq!(host.sent[0].field("scope"), Some(scope));
                assert_eq!(host.sent[1].field("scope"), Some(scope));
            }
            (Err(error), None) => {
                assert_eq!(
                    (error.kind, error.code.as_str()),
                    (ErrorKind::InvalidRequest, "token_exchange_url_required")
                );
                assert!(host.sent.is_empty() && error.message.contains("TokenExchangeUrl"));
            }
            (result, _) => panic!("{host_name}: {result:?}"),
        }
    }
}

#[test]
fn the_blueprint_may_prove_itself_by_an_assertion_of_its_own() {
    let mut host = Host::new(federated());
    host.assertion = Some(SignedAssertion { assertion: "a.b.c".into(), bound: false });
    let [first, last] = sent(&mut host, app_only(AGENT)).try_into().expect("two requests");
    assert_eq!(
        (first.field("client_assertion"), last.field("client_assertion")),
        (Some("a.b.c"), Some("at1"))
    );
    let [asserted] = host.asserted.as_slice() else { panic!("one assertion") };
    assert_eq!((asserted.client_id.as_str(), asserted.fmi_path.as_deref()), (CLIENT, None));
}

/// One request of a chain: its host, whether the certificate is presented, the type of its assertion.
fn travels(sent: &Sent) -> (&str, bool, Option<&str>) {
    (&sent.host, sent.presentation.certificate, sent.field("client_assertion_type"))
}

const LOGIN: &str = "login.microsoftonline.com";
const MTLS: &str = "mtlsauth.microsoft.com";

fn bound_host(credential: Description, chain: bool) -> Host {
    let mut host = Host::new(credential);
    host.context.application.bound_flows = if chain { vec![BoundFlow::ForAgent] } else { vec![] };
    host
}

#[test]
fn by_default_the_blueprints_request_alone_is_bound() {
    let mut host = bound_host(bound_certificate("t1"), false);
    let [first, second, third] = sent(&mut host, for_user(AGENT, &ALICE)).try_into().expect("three requests");
    assert_eq!(travels(&first), (MTLS, true, Some(JWT_BEARER)));
    assert_eq!(first.field("token_type"), None);
    assert_eq!(travels(&second), (LOGIN, false, Some(JWT_BEARER)));
    assert_eq!(travels(&third), (LOGIN, false, Some(JWT_BEARER)));
    assert_eq!(host.requests(for_user(AGENT, &ALICE)), 0);
}

#[test]
fn a_bound_chain_hands_the_binding_on() {
    for request in [for_user(AGENT, &ALICE), app_only(AGENT), on_behalf_of(AGENT, &ALICE.token("one"))] {
        let mut host = bound_host(bound_certificate("t1"), true);
        let token = host.acquire(request.clone()).unwrap();
        assert_eq!((token.token_type.as_str(), token.key_id), ("Bearer", None), "an ordinary token");
        let (first, others) = host.sent.split_first().expect("requests");
        assert_eq!(travels(first), (MTLS, true, None));
        assert_eq!((first.field("token_type"), first.field("fmi_path")), (Some("mtls_pop"), Some(AGENT)));
        for sent in others {
            assert_eq!(travels(sent), (MTLS, true, Some(JWT_POP)));
            assert_eq!((sent.field("client_assertion"), sent.field("token_type")), (Some("at1"), None));
        }
        assert_eq!(host.requests(request.clone()), 0);
        // The certificate is selected for the handshakes, though the token to prove the agent by is there.
        let [only] = sent(&mut host, with(&request, forced())).try_into().expect("one request");
        assert_eq!(travels(&only), (MTLS, true, Some(JWT_POP)));
        assert!(host.actions.contains(&"select"));
    }
}

#[test]
fn a_bound_chain_needs_a_certificate_that_binds() {
    for credential in [secret(), certificate("t1")] {
        let mut host = bound_host(credential, true);
        let requests = sent(&mut host, app_only(AGENT));
        assert!(requests.iter().all(|sent| sent.host == LOGIN && !sent.presentation.certificate));
    }
}

#[test]
fn another_certificate_is_another_chain() {
    let mut host = bound_host(bound_certificate("t1"), true);
    host.acquire(app_only(AGENT)).unwrap();
    host.credential = bound_certificate("t2");
    assert_eq!(sent(&mut host, with(&app_only(AGENT), forced())).len(), 2);
}

#[test]
fn a_bound_token_of_the_agent_needs_a_bound_chain() {
    let request = Request { scheme: Scheme::MtlsPop, ..app_only(AGENT) };
    let mut host = bound_host(certificate("t1"), false);
    let token = host.acquire(request.clone()).unwrap();
    assert_eq!((token.token_type.as_str(), token.key_id.as_deref()), ("mtls_pop", Some("t1")));
    let [first, last] = host.sent.as_slice() else { panic!("two requests") };
    assert_eq!(travels(first), (MTLS, true, None));
    assert_eq!(travels(last), (MTLS, true, Some(JWT_POP)));
    assert_eq!((last.field("token_type"), last.field("client_assertion")), (Some("mtls_pop"), Some("at1")));
    assert_eq!(host.requests(request.clone()), 0);
    assert_eq!(host.requests(app_only(AGENT)), 2, "the bearer token is another one");

    let mut host = Host::new(secret());
    assert_eq!(host.acquire(request).unwrap_err().code, "mtls_certificate_not_provided");
    for user in [for_user(AGENT, &ALICE), on_behalf_of(AGENT, "a.b.c")] {
        let error = host.acquire(Request { scheme: Scheme::MtlsPop, ..user }).unwrap_err();
        assert_eq!((error.code.as_str(), host.actions.len()), ("mtls_pop_requires_app_token", 0));
    }
}

#[test]
fn a_directory_that_allows_no_bound_connections_says_so() {
    let mut host = bound_host(bound_certificate("t1"), false);
    host.answer(refusal("invalid_client", "AADSTS51000: not enabled"));
    let error = host.acquire(app_only(AGENT)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::BoundTransportNotEnabled);
    assert!(host.cache.entries.is_empty());
}

#[test]
fn whom_nobody_can_name_is_refused() {
    let mut host = Host::new(secret());
    for (request, code) in [
        (app_only(" "), "agent_required"),
        (for_agent(AGENT, AgentSubject::User(NamedUser::ObjectId("nope".into()))), "invalid_user_id"),
        (for_agent(AGENT, AgentSubject::User(NamedUser::Username(" ".into()))), "invalid_username"),
        (on_behalf_of(AGENT, ""), "invalid_user_assertion"),
        (Request { scopes: vec![], ..for_user(AGENT, &ALICE) }, "scopes_required_client_credentials"),
    ] {
        assert_eq!(host.acquire(request).unwrap_err().code, code);
        assert!(host.actions.is_empty());
    }
}
