//! Requests that travel on a connection bound to the client's certificate.
#![allow(clippy::expect_used, clippy::panic, reason = "a test ends at what it did not expect")]

mod common;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::directory::ALICE;
use common::host::{Host, Sent};
use common::*;
use symbolon_protocol::credential::{Description, SignedAssertion};
use symbolon_protocol::error::ErrorKind;
use symbolon_protocol::request::{
    AssertionKind, AuthorizationCode, BoundFlow, FederatedUser, Flow, NamedUser, RefreshToken, Request,
    SessionStart, UserAssertion, UsernamePassword,
};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const JWT_POP: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-pop";

fn assertion() -> UserAssertion {
    UserAssertion { assertion: ALICE.token("one"), kind: AssertionKind::Jwt }
}

fn initiate() -> Request {
    let start =
        SessionStart { assertion: assertion(), session_key: Some("key".into()), search_in_cache: false };
    ask(Flow::InitiateLongRunningProcess(start))
}

fn by_code() -> Request {
    let code =
        AuthorizationCode { code: "code".into(), offline_access: true, ..AuthorizationCode::default() };
    ask(Flow::ByAuthorizationCode(code))
}

fn by_password() -> Request {
    let password = UsernamePassword { username: ALICE.upn.into(), password: "secret".into() };
    ask(Flow::ByUsernamePassword(password))
}

fn by_federation() -> Request {
    let user = NamedUser::Username(ALICE.upn.into());
    ask(Flow::ByUserFederatedIdentityCredential(FederatedUser { user, assertion: "t2".into() }))
}

/// A flow whose requests are bound: what it begins with, the request itself, and what finds its token again.
struct Bound {
    name: &'static str,
    before: Option<Request>,
    request: Request,
    again: Request,
}

fn bound_flows() -> [Bound; 7] {
    let silent = || ask(Flow::Silent(ALICE.home_account_id()));
    let go_on = || ask(Flow::AcquireInLongRunningProcess("key".into()));
    let on_behalf_of = || ask(Flow::OnBehalfOf(assertion()));
    let by_refresh_token = ask(Flow::ByRefreshToken(RefreshToken("rt".into())));
    let bound = |name, before, request, again| Bound { name, before, request, again };
    [
        bound("client credentials", None, request(), request()),
        bound("on behalf of", None, on_behalf_of(), on_behalf_of()),
        bound("initiate", None, initiate(), go_on()),
        bound("go on", Some(initiate()), for_scope(&go_on(), "other/x"), for_scope(&go_on(), "other/x")),
        bound("refresh token", None, by_refresh_token, silent()),
        bound("silent", Some(by_code()), for_scope(&silent(), "other/x"), for_scope(&silent(), "other/x")),
        bound("code", None, by_code(), silent()),
    ]
}

fn host(credential: Description, region: Option<&str>) -> Host {
    let mut host = Host::new(credential);
    host.context.application.azure_region = region.map(String::from);
    host
}

fn header_of_assertion(sent: &Sent) -> serde_json::Value {
    let assertion = sent.field("client_assertion").expect("an assertion");
    let header = assertion.split('.').next().expect("a header");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).expect("base64url")).expect("JSON")
}

#[test]
fn the_certificate_is_shown_and_the_token_is_an_ordinary_one() {
    for (region, expected) in
        [(None, "mtlsauth.microsoft.com"), (Some("westeurope"), "westeurope.mtlsauth.microsoft.com")]
    {
        for Bound { name, before, request, again } in bound_flows() {
            let mut host = host(bound_certificate("t1"), region);
            if let Some(before) = before {
                host.acquire(before).unwrap();
            }
            let token = host.acquire(request).unwrap();
            let [sent] = host.sent.as_slice() else { panic!("{name}: one request") };
            assert_eq!(sent.host, expected, "{name}");
            assert_eq!(sent.path, format!("/{TENANT}/oauth2/v2.0/token"));
            assert!(sent.presentation.certificate, "{name}");
            assert_eq!(sent.field("client_assertion_type"), Some(JWT_BEARER), "{name}");
            assert!(header_of_assertion(sent)["x5c"].is_array(), "{name}");
            let audience = claim(host.signed.last().expect("signed"), "aud");
            assert_eq!(audience, format!("https://{expected}/{TENANT}/oauth2/v2.0/token"));
            assert_eq!(sent.field("token_type"), None, "{name}");
            assert_eq!(
                (token.token_type.as_str(), token.key_id, token.region.as_deref()),
                ("Bearer", None, region)
            );
            // Found under the authority as it is configured, with and without the connection.
            assert_eq!(host.requests(again.clone()), 0, "{name}");
            host.credential = certificate("t1");
            host.context.application.azure_region = None;
            assert_eq!(host.requests(again), 0, "{name}");
        }
    }
}

#[test]
fn what_was_there_before_is_found_once_connections_are_bound() {
    for Bound { name, before, request, again } in bound_flows() {
        let mut host = host(certificate("t1"), None);
        if let Some(before) = before {
            host.acquire(before).unwrap();
        }
        host.acquire(request).unwrap();
        assert_eq!(host.sent[0].host, "login.microsoftonline.com", "{name}");
        assert!(
            !host.sent[0].presentation.certificate && header_of_assertion(&host.sent[0])["x5c"].is_null()
        );
        host.credential = bound_certificate("t1");
        host.context.application.azure_region = Some("westeurope".into());
        assert_eq!(host.requests(again), 0, "{name}");
    }
}

/// A provider that hands out a certificate with its assertion means it.
#[test]
fn an_assertion_with_a_certificate_is_bound_unasked() {
    for Bound { name, before, request, again } in bound_flows() {
        let mut host = host(Description { certificate: certificate("t1").certificate, ..federated() }, None);
        host.assertion = Some(SignedAssertion { assertion: "a.b.c".into(), bound: true });
        if let Some(before) = before {
            host.acquire(before).unwrap();
        }
        host.acquire(request).unwrap();
        let [sent] = host.sent.as_slice() else { panic!("{name}: one request") };
        assert_eq!(
            (sent.host.as_str(), sent.presentation.certificate),
            ("mtlsauth.microsoft.com", true),
            "{name}"
        );
        assert_eq!(sent.field("client_assertion_type"), Some(JWT_POP), "{name}");
        assert_eq!(sent.field("token_type"), None, "{name}");
        assert_eq!(host.requests(again), 0, "{name}");
    }
}

#[test]
fn names_and_passwords_travel_bound_only_if_the_host_says_so() {
    for (flow, request) in [
        (BoundFlow::ByUserFederatedIdentityCredential, by_federation()),
        (BoundFlow::ByUsernamePassword, by_password()),
    ] {
        let mut host = host(bound_certificate("t1"), Some("westeurope"));
        let token = host.acquire(request.clone()).unwrap();
        assert_eq!(
            (host.sent[0].host.as_str(), token.region),
            ("login.microsoftonline.com", None),
            "{flow:?}"
        );
        assert!(!host.sent[0].presentation.certificate);
        assert!(header_of_assertion(&host.sent[0])["x5c"].is_array(), "the chain is sent all the same");

        host.context.application.bound_flows = vec![flow];
        host.acquire(request).unwrap();
        assert_eq!(host.sent[0].host, "westeurope.mtlsauth.microsoft.com", "{flow:?}");
        assert!(host.sent[0].presentation.certificate);
        assert_eq!(host.sent[0].field("client_assertion_type"), Some(JWT_BEARER));
        assert!(header_of_assertion(&host.sent[0])["x5c"].is_array());
        assert_eq!(host.requests(ask(Flow::Silent(ALICE.home_account_id()))), 0);
    }
}

#[test]
fn requests_of_users_go_to_a_region_only_when_they_are_bound() {
    for Bound { name, before, request, .. } in bound_flows().into_iter().skip(1) {
        let mut host = host(secret(), Some("westeurope"));
        if let Some(before) = before {
            host.acquire(before).unwrap();
        }
        let token = host.acquire(request).unwrap();
        assert_eq!((host.sent[0].host.as_str(), token.region), ("login.microsoftonline.com", None), "{name}");
    }
}

#[test]
fn an_authority_that_does_not_allow_it_is_told_apart() {
    for Bound { name, before, request, .. } in bound_flows() {
        for code in ["AADSTS51000", "AADSTS392189"] {
            let mut host = host(bound_certificate("t1"), None);
            if let Some(before) = before.clone() {
                host.acquire(before).unwrap();
            }
            host.answer(refusal("invalid_client", &format!("{code}: not enabled")));
            let error = host.acquire(request.clone()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::BoundTransportNotEnabled, "{name}");
            assert!(!error.retryable && error.message.contains(CLIENT));
        }
    }
}

#[test]
fn a_cloud_without_such_a_host_is_refused_before_anything_is_sent() {
    for Bound { name, before, request, .. } in bound_flows() {
        let mut host = host(bound_certificate("t1"), None);
        host.context.application.authority = format!("https://sts.windows.net/{TENANT}");
        if let Some(before) = before {
            host.credential = secret();
            host.acquire(before).unwrap();
            host.credential = bound_certificate("t1");
        }
        let error = host.acquire(request).unwrap_err();
        assert_eq!(error.code, "mtls_pop_not_supported_for_environment", "{name}");
        assert!(host.sent.is_empty());
    }
}
