//! What tokens are bound to: nothing, a certificate, or a key that signs requests.
#![allow(clippy::expect_used, clippy::panic, reason = "a test ends at what it did not expect")]

mod common;

use common::flows::{of_users, prepare};
use common::host::Host;
use common::*;
use symbolon_protocol::error::ErrorKind;
use symbolon_protocol::request::{Options, Request, Scheme};

/// The key of RFC 7638 §3.1 and its thumbprint.
const KEY: &str = r#"{"kty":"RSA","e":"AQAB","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}"#;
const KEY_ID: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
const REQ_CNF: &str = "eyJraWQiOiJOemJMc1hoOHVEQ2NkLTZNTndYRjRXXzdub1dYRlpBZkhreFpzUkdDOVhzIn0";
const OTHER_KEY: &str = r#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#;

fn bound_to(key: &str) -> Options {
    Options { pop_public_key: Some(key.into()), ..Options::default() }
}

#[test]
fn a_token_is_bound_to_the_callers_key() {
    let mut host = Host::new(secret());
    let token = host.acquire(with(&request(), bound_to(KEY))).unwrap();
    let [sent] = host.sent.as_slice() else { panic!("one request") };
    assert_eq!(
        sent.form(),
        format!(
            "client_id={CLIENT}\nclient_secret=\nscope=https://graph.microsoft.com/.default\n\
             grant_type=client_credentials\nclient_info=2\ntoken_type=pop\nreq_cnf={REQ_CNF}"
        )
    );
    assert_eq!(sent.header("x-client-current-telemetry"), Some("5|1004,2,,,|0,1,2,,,"));
    assert_eq!((token.token_type.as_str(), token.key_id), ("PoP", None), "it is bound to no certificate");
    let [item] = host.cache.access_tokens()[..] else { panic!("one token") };
    assert_eq!((item.token_type.as_str(), item.key_id.as_deref()), ("PoP", Some(KEY_ID)));
}

#[test]
fn each_key_has_tokens_of_its_own() {
    let mut host = Host::new(secret());
    assert_eq!(host.requests(with(&request(), bound_to(KEY))), 1);
    assert_eq!(host.requests(with(&request(), bound_to(KEY))), 0);
    assert_eq!(host.requests(with(&request(), bound_to(OTHER_KEY))), 1);
    assert_eq!(host.requests(request()), 1);
    assert_eq!(host.requests(Request { options: bound_to(KEY), ..request() }), 0);
}

#[test]
fn users_tokens_are_bound_to_keys_too() {
    for request in of_users() {
        let mut host = Host::new(secret());
        prepare(&mut host);
        let token = host.acquire(with(&request, bound_to(KEY))).unwrap();
        assert_eq!(token.token_type, "PoP", "{request:?}");
        let last = host.sent.last().expect("a request");
        assert_eq!((last.field("token_type"), last.field("req_cnf")), (Some("pop"), Some(REQ_CNF)));
        let chain = host.sent.iter().rev().skip(1);
        assert!(chain.into_iter().all(|sent| sent.field("req_cnf").is_none()), "the chain's tokens aren't");
    }
}

#[test]
fn a_key_and_a_certificate_exclude_each_other() {
    let mut host = Host::new(certificate("t1"));
    let error = host.acquire(with(&pop_request(), bound_to(KEY))).unwrap_err();
    assert_eq!(
        (error.kind, error.code.as_str()),
        (ErrorKind::InvalidRequest, "pop_key_and_certificate_not_compatible")
    );
    assert!(host.actions.is_empty());
    // A connection that is bound besides binds no token.
    host.credential = bound_certificate("t1");
    let token = host.acquire(with(&request(), bound_to(KEY))).unwrap();
    assert_eq!((token.token_type.as_str(), host.sent[0].host.as_str()), ("PoP", "mtlsauth.microsoft.com"));
}

#[test]
fn a_key_must_be_a_public_one() {
    let mut host = Host::new(secret());
    for key in ["nope", r#"{"kty":"oct","k":"c2VjcmV0"}"#, &KEY.replace("\"kty\"", "\"d\":\"x\",\"kty\"")] {
        let error = host.acquire(with(&request(), bound_to(key))).unwrap_err();
        assert_eq!(error.code, "invalid_pop_public_key");
        assert!(host.actions.is_empty());
    }
    assert_eq!(host.requests(with(&request(), bound_to(" "))), 1, "a blank one is none");
    assert_eq!(host.sent[0].field("req_cnf"), None);
}

#[test]
fn no_users_token_is_bound_to_the_certificate() {
    for request in of_users() {
        let mut host = Host::new(certificate("t1"));
        let error = host.acquire(Request { scheme: Scheme::MtlsPop, ..request.clone() }).unwrap_err();
        assert_eq!(
            (error.kind, error.code.as_str()),
            (ErrorKind::InvalidRequest, "mtls_pop_requires_app_token")
        );
        assert!(host.actions.is_empty(), "{request:?}");
    }
}

#[test]
fn a_token_of_another_type_than_was_asked_for_is_refused() {
    let asked =
        [(request(), "Bearer"), (pop_request(), "mtls_pop"), (with(&request(), bound_to(KEY)), "PoP")];
    for (request, expected) in asked {
        for token_type in ["bearer", "MTLS_POP", "pop", "ssh-cert", ""] {
            let mut host = Host::new(certificate("t1"));
            host.answer(token("canary", token_type));
            let result = host.acquire(request.clone());
            if token_type.eq_ignore_ascii_case(expected) {
                assert_eq!(result.unwrap().token_type, expected);
                continue;
            }
            let error = result.unwrap_err();
            let code = if token_type.is_empty() { "token_type_missing" } else { "token_type_mismatch" };
            assert_eq!((error.kind, error.code.as_str()), (ErrorKind::ProtocolViolation, code));
            assert!(!format!("{error:?}").contains("canary") && host.cache.entries.is_empty());
        }
    }
}

/// Neither one's token is the other's, though the scopes are the same.
#[test]
fn what_is_bound_to_nothing_answers_no_bound_question() {
    let mut host = Host::new(certificate("t1"));
    assert_eq!(host.requests(request()), 1);
    assert_eq!(host.requests(pop_request()), 1);
    assert_eq!(host.requests(with(&request(), bound_to(KEY))), 1);
    for again in [request(), pop_request(), with(&request(), bound_to(KEY))] {
        assert_eq!(host.requests(again), 0);
    }
    host.credential = certificate("t2");
    assert_eq!(host.requests(pop_request()), 1, "nor is that of another certificate");
}
