//! Users who are known: silently, and by a refresh token that another library kept.
#![allow(clippy::expect_used, clippy::panic, reason = "a test ends at what it did not expect")]

mod common;

use common::directory::{ALICE, BOB, HOME, User, jwt};
use common::host::Host;
use common::*;
use serde_json::json;
use symbolon_protocol::accounts;
use symbolon_protocol::acquisition::Entry;
use symbolon_protocol::error::{ErrorClass, ErrorKind};
use symbolon_protocol::request::{
    AuthorizationCode, CacheRefreshReason, Context, Flow, Options, RefreshToken, Request, TokenSource,
};

fn sign_in(user: &User) -> Request {
    ask(Flow::ByAuthorizationCode(AuthorizationCode {
        code: format!("code.{}", user.oid),
        redirect_uri: "https://app.contoso.com/signin-oidc".into(),
        offline_access: true,
        ..AuthorizationCode::default()
    }))
}

fn silent(user: &User) -> Request {
    ask(Flow::Silent(user.home_account_id()))
}

fn by_refresh_token(token: &str) -> Request {
    ask(Flow::ByRefreshToken(RefreshToken(token.into())))
}

/// A host that knows this user.
fn known(user: &User) -> Host {
    let mut host = Host::new(secret());
    host.acquire(sign_in(user)).expect("a token");
    host
}

#[test]
fn the_token_is_there() {
    let mut host = known(&ALICE);
    let token = host.acquire(silent(&ALICE)).unwrap();
    assert_eq!((token.token.as_str(), token.source), ("at1", TokenSource::Cache));
    assert_eq!(host.actions, ["find"]);
    let account = token.account.expect("an account");
    assert_eq!((account.username.as_str(), account.environment.as_str()), (ALICE.upn, "login.windows.net"));
}

#[test]
fn the_refresh_token_brings_it_and_is_replaced_by_the_next() {
    let mut host = known(&ALICE);
    let other = for_scope(&silent(&ALICE), "other/x");
    let token = host.acquire(other.clone()).unwrap();
    assert_eq!(token.source, TokenSource::IdentityProvider);
    let [sent] = host.sent.as_slice() else { panic!("one request") };
    assert_eq!(
        sent.form(),
        format!(
            "client_id={CLIENT}\nclient_secret=\nscope=offline_access openid other/x profile\nclient_info=1\n\
             grant_type=refresh_token\nrefresh_token=rt1.{}",
            ALICE.oid
        )
    );
    let mailbox = format!("oid:{}@{HOME}", ALICE.uid);
    assert_eq!(sent.header("x-anchormailbox"), Some(mailbox.as_str()));
    assert_eq!(sent.header("x-client-current-telemetry"), Some("5|1007,2,,,|0,1,1,,,"));
    assert!(host.cache.refresh_tokens()[0].secret.starts_with("rt2."));
    assert_eq!(host.requests(other.clone()), 0);

    host.directory.refreshes = false;
    host.later(3600);
    assert_eq!(host.acquire(other).unwrap().refresh_reason, CacheRefreshReason::Expired);
    let [kept] = host.cache.refresh_tokens()[..] else { panic!("one refresh token") };
    assert!(kept.secret.starts_with("rt2."), "where none comes the old one stays");
}

#[test]
fn a_token_past_which_the_caller_looks_is_refreshed() {
    let mut host = known(&ALICE);
    let claims = Options { claims: Some(r#"{"access_token":{}}"#.into()), ..Options::default() };
    for options in [forced(), claims] {
        let token = host.acquire(with(&silent(&ALICE), options)).unwrap();
        assert_eq!(token.refresh_reason, CacheRefreshReason::ForceRefreshOrClaims);
        assert_eq!(host.sent[0].field("grant_type"), Some("refresh_token"));
    }
}

#[test]
fn a_token_that_is_due_is_renewed_by_the_refresh_token() {
    let mut host = Host::new(secret());
    host.directory.refresh_in = Some(600);
    host.acquire(sign_in(&ALICE)).unwrap();
    host.later(1000);
    let token = host.acquire(silent(&ALICE)).unwrap();
    assert_eq!(
        (token.source, token.refresh_reason),
        (TokenSource::Cache, CacheRefreshReason::ProactivelyRefreshed)
    );
    host.context = Context { proactive_refresh: true, ..host.context.clone() };
    let token = host.acquire(silent(&ALICE)).unwrap();
    assert_eq!(token.source, TokenSource::IdentityProvider);
    assert_eq!(host.sent[0].field("grant_type"), Some("refresh_token"));
    assert_eq!(host.sent[0].header("x-client-current-telemetry"), Some("5|1007,4,,,|0,1,1,,,"));
}

#[test]
fn nobody_gets_another_users_token() {
    let mut host = known(&ALICE);
    host.later(3600);
    host.directory.mistakes_for = Some(&BOB);
    let before = format!("{:?}", host.cache.entries);
    let error = host.acquire(silent(&ALICE)).unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::ProtocolViolation, "user_mismatch"));
    assert_eq!(format!("{:?}", host.cache.entries), before);
    assert_eq!(host.actions.last(), Some(&"fail"));
}

#[test]
fn an_answer_that_names_nobody_is_of_the_user_who_was_asked_for() {
    let mut host = known(&ALICE);
    host.directory.names_users = false;
    let other = for_scope(&silent(&ALICE), "other/x");
    let token = host.acquire(other.clone()).unwrap();
    assert_eq!(token.account.expect("an account").home_account_id, ALICE.home_account_id());
    assert_eq!(host.requests(other), 0);
}

#[test]
fn users_whose_home_nobody_names_are_told_apart_by_their_subjects() {
    let mut host = Host::new(secret());
    let answer_for = |token: &str, subject: Option<&str>| {
        let id_token = subject.map(|subject| jwt(&json!({ "sub": subject }))).unwrap_or_default();
        let body = json!({
            "access_token": token, "token_type": "Bearer", "expires_in": 3600, "client_info": "e30", "id_token": id_token,
        });
        answer(200, &body.to_string())
    };
    for (token, subject) in [("one", "subject-1"), ("two", "subject-2")] {
        host.answer(answer_for(token, Some(subject)));
        let account = host.acquire(sign_in(&ALICE)).unwrap().account.expect("an account");
        assert_eq!(account.home_account_id, subject);
    }
    assert_eq!(host.acquire(ask(Flow::Silent("subject-1".into()))).unwrap().token, "one");
    host.answer(answer_for("three", None));
    assert_eq!(host.acquire(sign_in(&ALICE)).unwrap().account, None);
    assert_eq!(host.acquire(ask(Flow::Silent(".".into()))).unwrap_err().code, "no_tokens_found");
}

#[test]
fn whoever_is_unknown_must_sign_in() {
    let mut host = known(&ALICE);
    for (request, code, actions) in [
        (silent(&BOB), "no_tokens_found", &["find", "find", "fail"][..]),
        (ask(Flow::Silent(" ".into())), "user_null", &[]),
    ] {
        let error = host.acquire(request).unwrap_err();
        assert_eq!((error.kind, error.class), (ErrorKind::InteractionRequired, ErrorClass::UiRequired));
        assert_eq!(error.code, code);
        assert_eq!(host.actions, actions);
    }
}

#[test]
fn without_a_tenant_of_its_own_a_request_goes_to_the_users_home() {
    for (tenant, goes_to) in
        [("common", HOME), ("organizations", HOME), ("consumers", "consumers"), (TENANT, TENANT)]
    {
        let mut host = Host::new(secret());
        host.context.application.authority = format!("https://login.microsoftonline.com/{tenant}");
        host.acquire(sign_in(&ALICE)).unwrap();
        host.acquire(for_scope(&silent(&ALICE), "other/x")).unwrap();
        assert_eq!(host.sent[0].path, format!("/{goes_to}/oauth2/v2.0/token"));
        assert_eq!(host.requests(for_scope(&silent(&ALICE), "other/x")), 0, "{tenant}");
    }
}

#[test]
fn users_are_listed_and_forgotten() {
    let mut host = known(&ALICE);
    host.acquire(sign_in(&BOB)).unwrap();
    let application = host.context.application.clone();
    let listed = |host: &Host| -> Vec<String> {
        let entries = host.cache.members(&accounts::known(&application)).into_iter();
        entries
            .map(|entry| match entry {
                Entry::Account(item) => accounts::account(*item).username,
                other => panic!("{other:?} is no account"),
            })
            .collect()
    };
    assert_eq!(listed(&host), [ALICE.upn, BOB.upn]);
    let group = accounts::of_account(&application, &ALICE.home_account_id()).unwrap();
    assert!(host.cache.remove_group(&group) && !host.cache.remove_group(&group));
    assert_eq!(listed(&host), [BOB.upn]);
    assert_eq!(host.acquire(silent(&ALICE)).unwrap_err().code, "no_tokens_found");
    assert_eq!(host.requests(silent(&BOB)), 0);
}

#[test]
fn another_librarys_refresh_token_makes_its_user_known() {
    let mut host = Host::new(secret());
    let token = host.acquire(by_refresh_token(&format!("old.{}", ALICE.oid))).unwrap();
    assert_eq!(token.reuse, None);
    let [sent] = host.sent.as_slice() else { panic!("one request") };
    assert_eq!(
        sent.names(),
        ["client_id", "client_secret", "scope", "client_info", "grant_type", "refresh_token"]
    );
    assert_eq!(sent.header("x-anchormailbox"), None, "nobody knows whose it is");
    assert_eq!(sent.header("x-client-current-telemetry"), Some("5|1001,0,,,|0,1,1,,,"));
    assert_eq!(host.requests(silent(&ALICE)), 0);
    assert_eq!(host.requests(by_refresh_token(&format!("old.{}", ALICE.oid))), 1, "it asks each time");
}

#[test]
fn without_scopes_the_application_itself_is_asked_for() {
    let mut host = Host::new(secret());
    host.acquire(Request { scopes: vec![], ..by_refresh_token("old") }).unwrap();
    let scope = format!("{CLIENT}/.default offline_access openid profile");
    assert_eq!(host.sent[0].field("scope"), Some(scope.as_str()));
}

#[test]
fn a_redeemed_token_without_a_successor_is_an_error() {
    let mut host = Host::new(secret());
    host.directory.refreshes = false;
    let error = host.acquire(by_refresh_token("old")).unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::ProtocolViolation, "refresh_token_missing"));
    assert!(host.cache.entries.is_empty());
    assert_eq!(host.acquire(by_refresh_token(" ")).unwrap_err().code, "refresh_token_required");
}
