//! The user of a name and a password.
#![allow(clippy::expect_used, clippy::panic, reason = "a test ends at what it did not expect")]

mod common;

use common::directory::ALICE;
use common::host::Host;
use common::*;
use symbolon_protocol::error::ErrorKind;
use symbolon_protocol::request::{Flow, Request, UsernamePassword};

fn by_password(username: &str, password: &str) -> Request {
    let password = UsernamePassword { username: username.into(), password: password.into() };
    Request { scopes: vec!["r/b".into(), "r/a".into()], ..ask(Flow::ByUsernamePassword(password)) }
}

#[test]
fn name_and_password_are_sent_and_the_user_is_known_afterwards() {
    let mut host = Host::new(secret());
    let token = host.acquire(by_password(ALICE.upn, "p&ss word")).unwrap();
    let [sent] = host.sent.as_slice() else { panic!("one request") };
    assert_eq!(
        sent.form(),
        format!(
            "client_id={CLIENT}\nclient_secret=\nscope=openid offline_access profile r/b r/a\ngrant_type=password\n\
             username=Alice@contoso.com\npassword=p&ss word\nclient_info=1"
        )
    );
    assert_eq!(sent.header("x-anchormailbox"), Some("upn:Alice@contoso.com"));
    assert_eq!(sent.header("x-client-current-telemetry"), Some("5|1003,0,,,|0,1,1,,,"));
    assert_eq!(token.account.expect("an account").home_account_id, ALICE.home_account_id());
    let silent = ask(Flow::Silent(ALICE.home_account_id()));
    assert_eq!(host.requests(for_scope(&silent, "r/b")), 0);
    assert_eq!(host.requests(by_password(ALICE.upn, "p&ss word")), 1, "a password is checked each time");
}

#[test]
fn an_authority_of_customers_gets_no_name_in_a_header() {
    let mut host = Host::new(secret());
    host.context.application.authority =
        "https://contoso.b2clogin.com/tfp/contoso.onmicrosoft.com/policy".into();
    host.acquire(by_password(ALICE.upn, "secret")).unwrap();
    assert_eq!(host.sent[0].header("x-anchormailbox"), None);
}

#[test]
fn a_name_that_no_header_can_hold_is_sent_in_the_body_alone() {
    let mut host = Host::new(secret());
    host.acquire(by_password("jürgen@contoso.com", "secret")).unwrap();
    assert_eq!(host.sent[0].field("username"), Some("jürgen@contoso.com"));
    assert_eq!(host.sent[0].header("x-anchormailbox"), None);
}

#[test]
fn a_refusal_is_told_and_nothing_is_kept() {
    let mut host = Host::new(secret());
    host.answer(refusal("invalid_grant", "AADSTS50126: wrong"));
    let error = host.acquire(by_password(ALICE.upn, "canary")).unwrap_err();
    assert_eq!((error.kind, error.aadsts_codes.as_slice()), (ErrorKind::InteractionRequired, &[50126][..]));
    assert!(!format!("{error:?}").contains("canary"));
    assert!(host.cache.entries.is_empty());
}

#[test]
fn half_of_it_is_refused() {
    let mut host = Host::new(secret());
    for (name, password, code) in
        [(" ", "p", "invalid_username"), ("a\r\nb", "p", "invalid_username"), ("a", " ", "password_required")]
    {
        assert_eq!(host.acquire(by_password(name, password)).unwrap_err().code, code);
        assert!(host.actions.is_empty());
    }
}
