//! OpenID Connect providers that aren't Microsoft's: who they are and how they are spoken to is in their metadata.
#![allow(clippy::expect_used, clippy::panic, reason = "a test ends at what it did not expect")]

mod common;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::directory::jwt;
use common::host::Host;
use common::*;
use serde_json::{Value, json};
use symbolon_protocol::acquisition::FactKind;
use symbolon_protocol::authority::{AuthorityKind, SignatureAlgorithm};
use symbolon_protocol::credential::{Description, Place};
use symbolon_protocol::error::{Error, ErrorKind};
use symbolon_protocol::request::{AuthorizationCode, Flow, Options, RefreshToken, Request, Scheme, SignIn};
use symbolon_protocol::response::{HttpResponse, TransportError, TransportErrorKind};

const ISSUER: &str = "https://idp.test/issuer";
const TOKENS: &str = "https://idp.test/token";

fn metadata() -> Value {
    json!({
        "issuer": ISSUER,
        "token_endpoint": TOKENS,
        "mtls_endpoint_aliases": { "token_endpoint": "https://mtls.idp.test/token" },
        "authorization_endpoint": "https://idp.test/authorize?realm=a",
        "token_endpoint_auth_methods_supported":
            ["client_secret_basic", "private_key_jwt", "tls_client_auth"],
        "token_endpoint_auth_signing_alg_values_supported": ["PS256", "RS256", "ES256"],
        "authorization_response_iss_parameter_supported": true,
    })
}

/// A host that knows the provider already.
fn knowing(credential: Description, metadata: &Value) -> Host {
    let mut host = Host::new(credential);
    host.context.application.authority = ISSUER.into();
    host.context.application.authority_type = Some(AuthorityKind::Oidc);
    host.answer(answer(200, &metadata.to_string()));
    let begun = host.sign_in(sign_in()).expect("a sign-in");
    assert!(begun.url.starts_with("https://idp.test/authorize?realm=a&scope="), "{}", begun.url);
    host
}

fn sign_in() -> SignIn {
    SignIn { scopes: vec!["read".into()], redirect_uri: "https://app.test/back".into(), ..SignIn::default() }
}

fn code(issuer: Option<&str>) -> AuthorizationCode {
    AuthorizationCode {
        code: "the-code".into(),
        redirect_uri: "https://app.test/back".into(),
        offline_access: true,
        issuer: issuer.map(String::from),
        ..AuthorizationCode::default()
    }
}

fn redeem(issuer: Option<&str>) -> Request {
    Request { scopes: vec!["read".into()], ..ask(Flow::ByAuthorizationCode(code(issuer))) }
}

/// An answer about the user `u`.
fn signed_in(access_token: &str, refresh_token: Option<&str>) -> Result<HttpResponse, TransportError> {
    let mut body = json!({
        "token_type": "bearer", "expires_in": 3600, "access_token": access_token,
        "id_token": jwt(&json!({ "sub": "u", "iss": ISSUER })),
    });
    body["refresh_token"] = refresh_token.into();
    answer(200, &body.to_string())
}

fn silent(scope: &str) -> Request {
    Request { scopes: vec![scope.into()], ..ask(Flow::Silent("u".into())) }
}

fn part(input: &str, at: usize) -> Value {
    let part = input.split('.').nth(at).expect("a part");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

fn fails(host: &mut Host, request: Request) -> Error {
    host.acquire(request).expect_err("an error")
}

#[test]
fn metadata_is_asked_for_once_and_then_known() {
    let mut host = knowing(secret(), &metadata());
    assert_eq!(host.sent[0].path, "/issuer/.well-known/openid-configuration");
    assert_eq!(host.sent[0].host, "idp.test");
    assert_eq!(host.facts[0].0.kind, FactKind::OidcMetadata);
    host.sign_in(sign_in()).expect("a sign-in");
    assert_eq!(host.sent.len(), 0);
    assert_eq!(host.requests(request()), 1);
    host.later(24 * 60 * 60);
    host.answer(answer(503, ""));
    let error = host.sign_in(sign_in()).expect_err("it is down");
    assert_eq!((error.code.as_str(), error.retryable), ("http_status_not_200", true));
}

#[test]
fn a_secret_goes_into_the_header_or_the_body() {
    let mut host = knowing(secret(), &metadata());
    host.acquire(request()).expect("a token");
    let sent = &host.sent[0];
    assert_eq!(sent.presentation.secret, Some(Place::BasicAuthorization(CLIENT.into())));
    assert_eq!(sent.names(), ["scope", "grant_type"], "whoever is named in the header isn't in the body");
    assert_eq!((sent.host.as_str(), sent.path.as_str()), ("idp.test", "/token"));

    host.context.application.token_endpoint_auth_method = Some("client_secret_post".into());
    host.acquire(with(&request(), forced())).expect("a token");
    assert_eq!(host.sent[0].presentation.secret, Some(Place::FormField("client_secret".into())));
    assert_eq!(host.sent[0].names(), ["client_id", "client_secret", "scope", "grant_type"]);

    host.context.application.token_endpoint_auth_method = Some("private_key_jwt".into());
    let error = fails(&mut host, with(&request(), forced()));
    assert_eq!(error.code, "token_endpoint_auth_method_not_supported");
    assert!(error.message.contains("client_secret_basic"), "{error}");
    assert_eq!(host.sent.len(), 0);
}

#[test]
fn an_assertion_is_for_the_issuer_and_names_the_key() {
    let mut host = knowing(certificate("t1"), &metadata());
    host.acquire(request()).expect("a token");
    assert_eq!(part(&host.signed[0], 0), json!({ "alg": "PS256", "typ": "JWT", "kid": "kid" }));
    let claims = part(&host.signed[0], 1);
    assert_eq!(
        (&claims["aud"], &claims["iss"], &claims["sub"]),
        (&json!(ISSUER), &json!(CLIENT), &json!(CLIENT))
    );
    assert!(!host.sent[0].presentation.certificate);

    let carried = Options { send_x5c: Some(true), ..forced() };
    host.acquire(with(&request(), carried)).expect("a token");
    let header = part(&host.signed[0], 0);
    assert_eq!((&header["kid"], &header["x5t#S256"]), (&json!("kid"), &json!("t1")));
    assert_eq!(header["x5c"].as_array().map(Vec::len), Some(2));

    host.context.application.assertions_for_token_endpoint = true;
    host.acquire(with(&request(), forced())).expect("a token");
    assert_eq!(part(&host.signed[0], 1)["aud"], TOKENS);
}

#[test]
fn the_provider_and_the_key_decide_how_assertions_are_signed() {
    let on_p256 = || {
        let mut credential = certificate("t1");
        credential.certificate.as_mut().expect("a certificate").algorithms = vec![SignatureAlgorithm::Es256];
        credential
    };
    let taking = |algorithms: Value| {
        let mut metadata = metadata();
        metadata["token_endpoint_auth_signing_alg_values_supported"] = algorithms;
        metadata
    };
    for (credential, algorithms, expected) in [
        (certificate("t1"), json!(["RS256"]), "RS256"),
        (certificate("t1"), json!(["ES256", "PS256"]), "PS256"),
        (certificate("t1"), json!(null), "RS256"),
        (on_p256(), json!(["RS256", "ES256"]), "ES256"),
        (on_p256(), json!(null), "ES256"),
    ] {
        let mut host = knowing(credential, &taking(algorithms));
        host.acquire(request()).expect("a token");
        assert_eq!(part(&host.signed[0], 0)["alg"], expected);
    }
    // A key that makes none of the signatures is presented instead, or is of no use.
    let mut host = knowing(on_p256(), &taking(json!(["RS256"])));
    host.acquire(request()).expect("a token");
    assert!(host.sent[0].presentation.certificate && host.signed.is_empty());
    host.context.application.token_endpoint_auth_method = Some("private_key_jwt".into());
    assert_eq!(fails(&mut host, with(&request(), forced())).code, "certificate_not_rsa");
}

#[test]
fn a_retry_has_an_assertion_of_its_own() {
    let mut host = knowing(certificate("t1"), &metadata());
    host.answer(answer(502, ""));
    host.acquire(request()).expect("a token");
    let ids: Vec<_> = host.signed.iter().map(|input| claim(input, "jti")).collect();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn a_certificate_is_presented_at_the_endpoint_for_it() {
    for method in ["tls_client_auth", "self_signed_tls_client_auth"] {
        let mut host = knowing(certificate("t1"), &metadata());
        host.context.application.token_endpoint_auth_method = Some(method.into());
        host.acquire(request()).expect("a token");
        let sent = &host.sent[0];
        assert_eq!((sent.host.as_str(), sent.presentation.certificate), ("mtls.idp.test", true));
        assert_eq!(sent.names(), ["client_id", "scope", "grant_type"]);
    }
    // Bound and signed: the credential asks for the one, the provider for the other.
    let mut signing = metadata();
    signing["token_endpoint_auth_methods_supported"] = json!(["private_key_jwt"]);
    let mut host = knowing(bound_certificate("t1"), &signing);
    host.acquire(request()).expect("a token");
    let sent = &host.sent[0];
    assert!(sent.presentation.certificate && sent.host == "mtls.idp.test");
    assert_eq!(sent.field("client_assertion_type").map(|it| it.ends_with(":jwt-bearer")), Some(true));
    assert_eq!(part(&host.signed[0], 1)["aud"], ISSUER);
    // Claims that have no assertion to go into aren't dropped.
    let mut host = knowing(certificate("t1"), &metadata());
    host.context.application.token_endpoint_auth_method = Some("tls_client_auth".into());
    let extra = Options { extra_client_assertion_claims: Some(r#"{"x":1}"#.into()), ..Options::default() };
    assert_eq!(fails(&mut host, with(&request(), extra)).code, "mtls_certificate_not_provided");
}

#[test]
fn a_bound_token_is_bound_to_our_certificate() {
    let bound_to = |thumbprint: &str| jwt(&json!({ "cnf": { "x5t#S256": thumbprint } }));
    let mut host = knowing(certificate("t1"), &metadata());
    host.answer(token(&bound_to("t1"), "Bearer"));
    let bound = host.acquire(pop_request()).expect("a token");
    assert_eq!((bound.token_type.as_str(), bound.key_id.as_deref()), ("Bearer", Some("t1")));
    assert_eq!(host.sent[0].field("token_type"), None);
    assert_eq!(host.requests(pop_request()), 0, "the cache has it");
    for (scheme, answered) in [
        (Scheme::MtlsPop, bound_to("t2")),
        (Scheme::MtlsPop, jwt(&json!({ "sub": "nobody's" }))),
        (Scheme::Bearer, bound_to("t2")),
    ] {
        host.answer(token(&answered, "Bearer"));
        let error = fails(&mut host, Request { scheme, ..with(&request(), forced()) });
        assert_eq!(
            (error.code.as_str(), error.kind),
            ("token_binding_mismatch", ErrorKind::ProtocolViolation)
        );
        assert!(!error.message.contains(&answered));
    }
    assert_eq!(host.requests(request()), 1, "a bound token answers no question for a bearer token");
}

#[test]
fn a_code_is_redeemed_for_its_own_issuer_only() {
    let mut host = knowing(secret(), &metadata());
    for (issuer, code) in [(Some("https://evil.test"), "issuer_mismatch"), (None, "issuer_missing")] {
        let error = fails(&mut host, redeem(issuer));
        assert_eq!((error.code.as_str(), error.kind), (code, ErrorKind::ProtocolViolation));
        assert_eq!(host.sent.len(), 0, "the code stays here");
    }
    host.answer(signed_in("one", Some("rt1")));
    host.acquire(redeem(Some(ISSUER))).expect("a token");
    host.answer(signed_in("two", Some("rt2")));
    let unchecked = AuthorizationCode { skip_issuer_check: true, ..code(None) };
    host.acquire(Request { scopes: vec!["read".into()], ..ask(Flow::ByAuthorizationCode(unchecked)) })
        .expect("a token");

    let mut silent_about_it = metadata();
    silent_about_it["authorization_response_iss_parameter_supported"] = Value::Null;
    let mut host = knowing(secret(), &silent_about_it);
    assert_eq!(fails(&mut host, redeem(Some("https://evil.test"))).code, "issuer_mismatch");
    host.answer(signed_in("one", Some("rt1")));
    host.acquire(redeem(None)).expect("a token");
}

#[test]
fn each_refresh_token_replaces_the_one_before() {
    let mut host = knowing(secret(), &metadata());
    host.answer(signed_in("one", Some("rt1")));
    host.acquire(redeem(Some(ISSUER))).expect("a token");
    for (redeemed, given, kept) in
        [("rt1", Some("rt2"), "rt2"), ("rt2", None, "rt2"), ("rt2", Some("rt3"), "rt3")]
    {
        host.answer(signed_in("more", given));
        host.acquire(with(&silent("read"), forced())).expect("a token");
        assert_eq!(host.sent[0].field("refresh_token"), Some(redeemed));
        let stored: Vec<_> = host.cache.refresh_tokens().iter().map(|item| item.secret.as_str()).collect();
        assert_eq!(stored, [kept]);
    }
    host.answer(signed_in("own", None));
    let own = ask(Flow::ByRefreshToken(RefreshToken("brought".into())));
    host.acquire(Request { scopes: vec!["read".into()], ..own }).expect("a token");
    assert_eq!(host.cache.refresh_tokens()[0].secret, "brought", "what isn't replaced stays good");
}

#[test]
fn one_at_a_time_redeems_a_refresh_token() {
    let mut host = knowing(secret(), &metadata());
    host.answer(signed_in("one", Some("rt1")));
    host.acquire(redeem(Some(ISSUER))).expect("a token");
    host.answer(signed_in("two", Some("rt2")));
    host.acquire(silent("write")).expect("a token");
    let flights = |host: &Host| -> Vec<String> {
        host.lookups.iter().filter_map(|lookup| lookup.flight.clone()).collect()
    };
    let for_write = flights(&host);
    host.answer(signed_in("three", Some("rt3")));
    host.acquire(silent("delete")).expect("a token");
    let for_delete = flights(&host);
    assert_eq!((for_write.len(), for_delete.len()), (2, 2));
    assert_ne!(for_write[0], for_delete[0]);
    assert_eq!(for_write[1], for_delete[1]);
}

#[test]
fn a_refresh_token_that_may_be_used_up_is_never_sent_again() {
    for (may_be_sent, remains) in [(true, false), (false, true)] {
        let mut host = knowing(secret(), &metadata());
        host.answer(signed_in("one", Some("rt1")));
        host.acquire(redeem(Some(ISSUER))).expect("a token");
        host.answer(fault(TransportErrorKind::Connection, may_be_sent));
        let error = fails(&mut host, silent("write"));
        assert_eq!(error.kind == ErrorKind::OutcomeUnknown, may_be_sent, "{error}");
        assert_eq!(host.sent.len(), 1);
        if remains {
            host.answer(signed_in("two", Some("rt2")));
            assert_eq!(host.requests(silent("write")), 1);
        } else {
            assert_eq!(fails(&mut host, silent("write")).kind, ErrorKind::InteractionRequired);
            assert_eq!(host.sent.len(), 0);
        }
        assert_eq!(host.requests(silent("read")), 0, "the token that is there stays good");
    }
}

#[test]
fn a_refresh_token_whose_answer_cannot_be_used_is_not_sent_again() {
    for body in ["{\"access_token\":", "{}", r#"{"access_token":"two","token_type":"other"}"#] {
        let mut host = knowing(secret(), &metadata());
        host.answer(signed_in("one", Some("rt1")));
        host.acquire(redeem(Some(ISSUER))).expect("a token");
        host.answer(answer(200, body));
        assert_eq!(fails(&mut host, silent("write")).kind, ErrorKind::ProtocolViolation);
        assert_eq!(fails(&mut host, silent("write")).kind, ErrorKind::InteractionRequired, "{body}");
        assert_eq!(host.sent.len(), 0);
    }
    let mut host = knowing(secret(), &metadata());
    host.answer(signed_in("one", Some("rt1")));
    host.acquire(redeem(Some(ISSUER))).expect("a token");
    host.answer(answer(503, "{}"));
    fails(&mut host, silent("write"));
    host.answer(signed_in("two", Some("rt2")));
    assert_eq!(host.requests(silent("write")), 1, "who says that it failed has used nothing up");
}
