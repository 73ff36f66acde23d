//! What can be asked beside scopes and flow.
#![allow(clippy::expect_used, clippy::panic, reason = "a test ends at what it did not expect")]

mod common;

use common::directory::ALICE;
use common::host::Host;
use common::*;
use sha2::{Digest, Sha256};
use symbolon_protocol::credential::SignedAssertion;
use symbolon_protocol::error::ErrorKind;
use symbolon_protocol::request::{
    AssertionKind, AuthorizationCode, CachePartition, CacheRefreshReason, Flow, Options, Request,
    TokenSource, UserAssertion,
};

fn on_behalf_of() -> Request {
    let assertion = UserAssertion { assertion: ALICE.token("one"), kind: AssertionKind::Jwt };
    ask(Flow::OnBehalfOf(assertion))
}

fn sign_in() -> Request {
    let code = AuthorizationCode { code: "c".into(), offline_access: true, ..AuthorizationCode::default() };
    ask(Flow::ByAuthorizationCode(code))
}

fn silent() -> Request {
    ask(Flow::Silent(ALICE.home_account_id()))
}

fn claims(claims: &str) -> Options {
    Options { claims: Some(claims.into()), ..Options::default() }
}

fn pair(name: &str, value: &str) -> Vec<(String, String)> {
    vec![(name.into(), value.into())]
}

fn partition(value: &str, refresh_tokens: bool) -> Options {
    let partition = CachePartition { name: "zone".into(), value: value.into(), refresh_tokens };
    Options { cache_partitions: vec![partition], ..Options::default() }
}

#[test]
fn another_tenant_is_asked_and_kept_apart() {
    for request in [request(), on_behalf_of()] {
        let mut host = Host::new(secret());
        host.acquire(request.clone()).unwrap();
        let there = Options { tenant_id: Some("Fabrikam.com".into()), ..Options::default() };
        host.acquire(with(&request, there.clone())).unwrap();
        assert_eq!(host.sent[0].path, "/fabrikam.com/oauth2/v2.0/token");
        assert_eq!(host.requests(with(&request, there)), 0);
        assert_eq!(host.requests(request), 0);
    }
}

#[test]
fn authorities_without_tenants_take_none() {
    for authority in
        ["https://fs.contoso.com/adfs", "https://contoso.b2clogin.com/tfp/contoso.onmicrosoft.com/policy"]
    {
        let mut host = Host::new(secret());
        host.context.application.authority = authority.into();
        host.context.application.skip_authority_validation = true;
        host.acquire(request()).unwrap();
        let path = host.sent[0].path.clone();
        let there = Options { tenant_id: Some("fabrikam.com".into()), ..Options::default() };
        host.acquire(with(&request(), Options { force_refresh: true, ..there })).unwrap();
        assert_eq!(host.sent[0].path, path);
    }
}

#[test]
fn a_challenge_looks_past_the_cache_and_replaces_what_is_there() {
    let mut host = Host::new(secret());
    host.context.application.client_capabilities = vec!["cp1".into()];
    host.acquire(request()).unwrap();
    assert_eq!(host.sent[0].field("claims"), Some(r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#));
    let token = host.acquire(with(&request(), claims(r#"{"access_token":{"nbf":{}}}"#))).unwrap();
    assert_eq!(token.refresh_reason, CacheRefreshReason::ForceRefreshOrClaims);
    assert_eq!(
        host.sent[0].field("claims"),
        Some(r#"{"access_token":{"xms_cc":{"values":["cp1"]},"nbf":{}}}"#)
    );
    assert_eq!(host.acquire(request()).unwrap().token, "at2");
    assert_eq!(host.cache.access_tokens().len(), 1);
    assert_eq!(host.requests(with(&request(), claims(" "))), 0, "a blank one is none");
}

#[test]
fn the_clients_own_claims_partition_the_cache() {
    let mut host = Host::new(secret());
    let own = |json: &str| Options { client_claims: Some(json.into()), ..Options::default() };
    host.acquire(request()).unwrap();
    host.acquire(with(&request(), own(r#"{"a":1}"#))).unwrap();
    assert_eq!(host.sent[0].field("claims"), Some(r#"{"a":1}"#));
    for (options, requests) in
        [(own(r#"{"a":1}"#), 0), (own(r#"{"a":2}"#), 1), (own(r#"{"a":2}"#), 0), (own(""), 0)]
    {
        assert_eq!(host.requests(with(&request(), options)), requests);
    }
    // A challenge replaces the entry of the same claims.
    host.acquire(with(&request(), Options { claims: Some(r#"{"b":1}"#.into()), ..own(r#"{"a":1}"#) }))
        .unwrap();
    assert_eq!(host.sent[0].field("claims"), Some(r#"{"b":1,"a":1}"#));
    assert_eq!(host.acquire(with(&request(), own(r#"{"a":1}"#))).unwrap().token, "at4");
}

#[test]
fn a_token_that_an_api_refused_is_used_no_more() {
    let mut host = Host::new(secret());
    host.acquire(request()).unwrap();
    let hash =
        |token: &str| -> String { Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect() };
    let refused = |token: &str, challenge: Option<&str>| Options {
        access_token_sha256_to_refresh: Some(hash(token)),
        claims: challenge.map(String::from),
        ..Options::default()
    };
    let token = host.acquire(with(&request(), refused("another", Some("{}")))).unwrap();
    assert_eq!(
        (token.source, token.reuse),
        (TokenSource::Cache, None),
        "another one is fine, challenge or not"
    );
    let upper =
        Options { access_token_sha256_to_refresh: Some(hash("at1").to_uppercase()), ..Options::default() };
    for options in [refused("at1", Some("{}")), refused("at2", None)] {
        let token = host.acquire(with(&request(), options)).unwrap();
        assert_eq!(token.source, TokenSource::IdentityProvider);
        assert_eq!(token.refresh_reason, CacheRefreshReason::ForceRefreshOrClaims);
    }
    assert_eq!(host.requests(with(&request(), upper)), 0, "the first one is gone");
    assert_eq!(host.requests(request()), 0);
}

#[test]
fn a_hash_goes_with_no_forced_refresh() {
    let mut host = Host::new(secret());
    let hash = "0".repeat(64);
    for (hash, force_refresh, code) in [
        (hash.as_str(), true, "force_refresh_and_token_hash_not_compatible"),
        ("bm90IGhleGFkZWNpbWFs", false, "invalid_token_hash"),
    ] {
        let options = Options {
            access_token_sha256_to_refresh: Some(hash.into()),
            force_refresh,
            ..Options::default()
        };
        let error = host.acquire(with(&request(), options)).unwrap_err();
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::InvalidRequest, code));
        assert!(host.actions.is_empty());
    }
}

#[test]
fn a_users_token_that_an_api_refused_is_refreshed() {
    let mut host = Host::new(secret());
    host.acquire(sign_in()).unwrap();
    let hash = Sha256::digest("at1").iter().map(|byte| format!("{byte:02x}")).collect();
    let options = Options { access_token_sha256_to_refresh: Some(hash), ..Options::default() };
    host.acquire(with(&silent(), options)).unwrap();
    assert_eq!(host.sent[0].field("grant_type"), Some("refresh_token"));
}

#[test]
fn parameters_go_where_they_belong_and_partition_the_cache() {
    let mut host = Host::new(secret());
    let query = |value: &str| Options { extra_query_parameters: pair("slice", value), ..Options::default() };
    let body = |value: &str| Options { extra_body_parameters: pair("slice", value), ..Options::default() };
    host.acquire(with(&request(), query("a b%20"))).unwrap();
    assert_eq!(host.sent[0].path, format!("/{TENANT}/oauth2/v2.0/token?slice=a%20b%2520"));
    host.acquire(with(&request(), body("a b%20"))).unwrap();
    assert_eq!(host.sent[0].names().last(), Some(&"slice"));
    assert_eq!(host.sent[0].field("slice"), Some("a b%20"));
    for (options, requests) in
        [(query("a b%20"), 0), (body("a b%20"), 0), (query("c"), 1), (body("c"), 1), (Options::default(), 1)]
    {
        assert_eq!(host.requests(with(&request(), options)), requests);
    }
}

#[test]
fn headers_replace_the_protocols_own_and_partition_nothing() {
    let mut host = Host::new(secret());
    let options =
        Options { extra_headers: pair("x-anchormailbox", "upn:bob@contoso.com"), ..Options::default() };
    host.acquire(with(&on_behalf_of(), options)).unwrap();
    assert_eq!(host.sent[0].header("x-anchormailbox"), Some("upn:bob@contoso.com"));
    assert_eq!(host.requests(on_behalf_of()), 0);
}

/// Whatever the protocol sets itself in any flow.
#[test]
fn reserved_names_are_refused_in_every_flow() {
    let query = |name: &str| Options { extra_query_parameters: pair(name, "x"), ..Options::default() };
    let body = |name: &str| Options { extra_body_parameters: pair(name, "x"), ..Options::default() };
    let header = |name: &str| Options { extra_headers: pair(name, "x"), ..Options::default() };
    let own = |name: &str| Options {
        cache_partitions: vec![CachePartition {
            name: name.into(),
            value: "x".into(),
            refresh_tokens: false,
        }],
        ..Options::default()
    };
    let both = Options { extra_body_parameters: pair("a", "x"), ..query("a") };
    let named_alike = Options { extra_query_parameters: pair("a", "x"), ..own("a") };
    for options in [
        body("Assertion"),
        body("code_verifier"),
        body("grant_type"),
        body("user_federated_identity_credential"),
        body("req_cnf"),
        body("attributes"),
        query("credential_fmi_path"),
        header("Authorization"),
        header("proxy-authorization"),
        own("fmi_path"),
        own(" "),
        both,
        named_alike,
    ] {
        for request in [request(), on_behalf_of(), sign_in(), silent()] {
            let mut host = Host::new(secret());
            let error = host.acquire(with(&request, options.clone())).unwrap_err();
            assert_eq!((error.code.as_str(), host.actions.len()), ("reserved_parameter", 0), "{options:?}");
        }
    }
}

#[test]
fn partitions_of_the_callers_own_keep_access_tokens_apart() {
    let mut host = Host::new(secret());
    host.acquire(sign_in()).unwrap();
    for (options, requests) in [
        (partition("a", false), 1),
        (partition("a", false), 0),
        (partition("b", false), 1),
        (Options::default(), 0),
    ] {
        host.acquire(with(&silent(), options)).unwrap();
        assert_eq!(host.sent.len(), requests, "the refresh token is everybody's");
        assert!(host.sent.iter().all(|sent| sent.field("zone").is_none()));
    }
}

#[test]
fn and_refresh_tokens_where_the_caller_says_so() {
    let mut host = Host::new(secret());
    host.acquire(sign_in()).unwrap();
    let apart = partition("a", true);
    assert_eq!(host.acquire(with(&silent(), apart.clone())).unwrap_err().code, "no_tokens_found");
    host.acquire(with(&sign_in(), apart.clone())).unwrap();
    assert_eq!(host.cache.refresh_tokens().len(), 2);
    host.acquire(with(&for_scope(&silent(), "other/x"), apart)).unwrap();
    assert!(host.sent[0].field("refresh_token").expect("a token").starts_with("rt2."));
}

#[test]
fn the_credentials_assertion_may_carry_a_path() {
    let mut host = Host::new(federated());
    host.assertion = Some(SignedAssertion { assertion: "a.b.c".into(), bound: false });
    let path = |path: &str| Options { client_assertion_fmi_path: Some(path.into()), ..Options::default() };
    for request in [request(), on_behalf_of()] {
        host.acquire(with(&request, path("agents/a"))).unwrap();
        let [asserted] = host.asserted.as_slice() else { panic!("one assertion") };
        assert_eq!(asserted.fmi_path.as_deref(), Some("agents/a"));
        assert_eq!(host.sent[0].field("fmi_path"), None);
        assert_eq!(host.requests(with(&request, path("agents/a"))), 0);
        assert_eq!(host.requests(with(&request, path("agents/b"))), 1);
        assert_eq!(host.requests(request), 1);
        assert_eq!(host.asserted[0].fmi_path, None);
    }
}

#[test]
fn what_is_asked_beside_counts_for_requests_of_users_as_well() {
    let mut host = Host::new(secret());
    host.context.application.client_capabilities = vec!["cp1".into()];
    let options = Options {
        client_claims: Some(r#"{"a":1}"#.into()),
        extra_query_parameters: pair("dc", "west"),
        extra_body_parameters: pair("custom", "x"),
        extra_headers: pair("x-custom", "x"),
        ..Options::default()
    };
    for request in [on_behalf_of(), sign_in(), for_scope(&silent(), "other/x")] {
        host.acquire(with(&request, options.clone())).unwrap();
        let [sent] = host.sent.as_slice() else { panic!("one request") };
        assert_eq!(sent.field("claims"), Some(r#"{"access_token":{"xms_cc":{"values":["cp1"]}},"a":1}"#));
        assert_eq!(sent.path, format!("/{TENANT}/oauth2/v2.0/token?dc=west"));
        assert_eq!((sent.field("custom"), sent.header("x-custom")), (Some("x"), Some("x")));
        assert_eq!(sent.header("client-request-id"), Some(CORRELATION));
    }
    assert_eq!(host.requests(on_behalf_of()), 1, "and keeps the answers apart");
    assert_eq!(host.requests(with(&on_behalf_of(), options)), 0);
}
