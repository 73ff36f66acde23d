//! Authorization codes, and why none is sent twice.
#![allow(clippy::expect_used, clippy::panic, reason = "a test ends at what it did not expect")]

mod common;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::directory::ALICE;
use common::host::Host;
use common::*;
use sha2::{Digest, Sha256};
use symbolon_protocol::error::ErrorKind;
use symbolon_protocol::request::{AuthorizationCode, Flow, RefreshToken, Request, SignIn};
use symbolon_protocol::response::{HttpResponse, TransportErrorKind};
use symbolon_protocol::sign_in;

fn code() -> AuthorizationCode {
    AuthorizationCode {
        code: "the-code".into(),
        redirect_uri: "https://app.contoso.com/signin-oidc?x=1".into(),
        code_verifier: Some("the-verifier".into()),
        offline_access: true,
        spa_code: false,
    }
}

fn by_code(code: AuthorizationCode) -> Request {
    ask(Flow::ByAuthorizationCode(code))
}

#[test]
fn a_code_is_redeemed_with_its_verifier() {
    let mut host = Host::new(secret());
    let token = host.acquire(by_code(code())).unwrap();
    let [sent] = host.sent.as_slice() else { panic!("one request") };
    assert_eq!(
        sent.form(),
        format!(
            "client_id={CLIENT}\nclient_secret=\n\
             scope=https://graph.microsoft.com/.default offline_access openid profile\nclient_info=1\n\
             grant_type=authorization_code\ncode=the-code\nredirect_uri=https://app.contoso.com/signin-oidc?x=1\n\
             code_verifier=the-verifier"
        )
    );
    assert_eq!(sent.header("x-anchormailbox"), None);
    assert_eq!(sent.header("x-client-current-telemetry"), Some("5|1000,0,,,|0,1,1,,,"));
    assert_eq!((token.spa_code, token.reuse), (None, None));
    assert_eq!(host.requests(ask(Flow::Silent(ALICE.home_account_id()))), 0);
    assert_eq!(host.requests(by_code(code())), 1, "another code may be another user's");
}

#[test]
fn what_is_not_asked_for_is_not_sent() {
    let mut host = Host::new(secret());
    let plain = AuthorizationCode { code_verifier: None, offline_access: false, ..code() };
    host.acquire(by_code(AuthorizationCode { redirect_uri: String::new(), ..plain })).unwrap();
    let [sent] = host.sent.as_slice() else { panic!("one request") };
    assert_eq!(sent.field("scope"), Some("https://graph.microsoft.com/.default openid profile"));
    assert_eq!(sent.field("redirect_uri"), Some("https://replyUrlNotSet"));
    assert_eq!((sent.field("code_verifier"), sent.field("return_spa_code")), (None, None));
    assert!(host.cache.refresh_tokens().is_empty());
}

#[test]
fn a_second_code_is_for_the_single_page_application() {
    let mut host = Host::new(secret());
    let token = host.acquire(by_code(AuthorizationCode { spa_code: true, ..code() })).unwrap();
    assert_eq!(token.spa_code.as_deref(), Some("spa"));
    assert_eq!(host.sent[0].field("return_spa_code"), Some("1"));
    let token = host.acquire(ask(Flow::Silent(ALICE.home_account_id()))).unwrap();
    assert_eq!(token.spa_code, None, "it is worth something once");
}

/// The end of a sign-in belongs to its beginning.
#[test]
fn the_verifier_of_a_sign_in_fits_its_challenge() {
    let mut host = Host::new(secret());
    let sign_in = SignIn {
        scopes: vec!["r/a".into()],
        redirect_uri: code().redirect_uri,
        offline_access: true,
        ..SignIn::default()
    };
    let begun = sign_in::begin(&sign_in, &host.context).unwrap();
    assert_eq!(begun.code_verifier.len(), 128);
    let end = AuthorizationCode { code_verifier: Some(begun.code_verifier), ..code() };
    host.acquire(by_code(end)).unwrap();
    let verifier = host.sent[0].field("code_verifier").expect("a verifier");
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
    assert!(
        begun.url.contains(&format!("code_challenge={challenge}&code_challenge_method=S256")),
        "{}",
        begun.url
    );
}

#[test]
fn no_fault_makes_a_code_go_out_twice() {
    let pause = Ok(HttpResponse {
        status: 503,
        retry_after: Some("1".into()),
        challenge: None,
        date: None,
        server: None,
        body: vec![],
    });
    for (fault, kind, retryable) in [
        (answer(500, ""), ErrorKind::TemporarilyUnavailable, false),
        (answer(503, ""), ErrorKind::TemporarilyUnavailable, false),
        (pause, ErrorKind::TemporarilyUnavailable, false),
        (answer(408, ""), ErrorKind::TemporarilyUnavailable, false),
        (answer(429, ""), ErrorKind::Throttled, false),
        (refusal("temporarily_unavailable", "x"), ErrorKind::TemporarilyUnavailable, false),
        (refusal("invalid_grant", "AADSTS54005: used"), ErrorKind::InteractionRequired, false),
        (answer(200, "not JSON"), ErrorKind::ProtocolViolation, false),
        (fault(TransportErrorKind::Timeout, true), ErrorKind::OutcomeUnknown, false),
        (fault(TransportErrorKind::Connection, true), ErrorKind::OutcomeUnknown, false),
        (fault(TransportErrorKind::Protocol, true), ErrorKind::OutcomeUnknown, false),
        (fault(TransportErrorKind::ResponseTooLarge, true), ErrorKind::OutcomeUnknown, false),
        (fault(TransportErrorKind::Connection, false), ErrorKind::TransportFailed, true),
        (fault(TransportErrorKind::NameResolution, false), ErrorKind::TransportFailed, true),
        (fault(TransportErrorKind::Tls, false), ErrorKind::TransportFailed, false),
    ] {
        let mut host = Host::new(secret());
        host.answer(fault);
        let error = host.acquire(by_code(code())).unwrap_err();
        assert_eq!((error.kind, error.retryable), (kind, retryable), "{error}");
        assert_eq!(host.actions, ["find", "select", "send", "fail"]);
        assert!(host.cache.entries.is_empty());
    }
}

#[test]
fn no_other_certificate_is_tried_with_the_same_code() {
    let mut host = Host::new(certificate("t1"));
    host.answer(answer(
        401,
        r#"{"error":"invalid_client","error_description":"AADSTS700027: bad signature"}"#,
    ));
    let error = host.acquire(by_code(code())).unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidClient);
    assert_eq!(host.actions, ["find", "select", "sign", "send", "reject", "fail"]);
}

/// Entra ID takes a refresh token again; of other authorities nobody knows.
#[test]
fn a_refresh_token_is_sent_again_where_the_authority_is_known_to_take_it() {
    for (authority, requests) in
        [("https://login.microsoftonline.com/contoso.com", 2), ("https://fs.contoso.com/adfs", 1)]
    {
        let mut host = Host::new(secret());
        host.context.application.authority = authority.into();
        host.context.application.skip_authority_validation = true;
        for _ in 0..requests {
            host.answer(fault(TransportErrorKind::Timeout, true));
        }
        let error = host.acquire(ask(Flow::ByRefreshToken(RefreshToken("rt".into())))).unwrap_err();
        assert_eq!(host.sent.len(), requests, "{authority}");
        assert_eq!(error.kind == ErrorKind::OutcomeUnknown, requests == 1);
    }
}

#[test]
fn what_can_be_used_again_is_sent_again() {
    for fault in [answer(503, ""), fault(TransportErrorKind::Timeout, true)] {
        let mut host = Host::new(secret());
        host.acquire(by_code(code())).unwrap();
        host.answer(fault);
        host.acquire(for_scope(&ask(Flow::Silent(ALICE.home_account_id())), "other/x")).unwrap();
        assert_eq!(host.sent.len(), 2);
    }
}

#[test]
fn without_a_code_nothing_is_done() {
    let mut host = Host::new(secret());
    let request = by_code(AuthorizationCode { code: " ".into(), ..code() });
    assert_eq!(host.acquire(request).unwrap_err().code, "authorization_code_required");
    assert!(host.actions.is_empty());
}
