//! On behalf of the user whose token the application was given.
#![allow(clippy::expect_used, clippy::panic, reason = "a test ends at what it did not expect")]

mod common;

use common::directory::{ALICE, BOB};
use common::host::Host;
use common::*;
use symbolon_protocol::accounts;
use symbolon_protocol::cache::user_assertion_hash;
use symbolon_protocol::error::ErrorKind;
use symbolon_protocol::request::{AssertionKind, Flow, Options, Request, TokenSource, UserAssertion};

fn on_behalf_of(assertion: &str) -> Request {
    let assertion = UserAssertion { assertion: assertion.into(), kind: AssertionKind::Jwt };
    Request { scopes: vec!["r/b".into(), "r/A".into()], ..ask(Flow::OnBehalfOf(assertion)) }
}

#[test]
fn the_users_token_is_exchanged() {
    let mut host = Host::new(secret());
    let assertion = ALICE.token("one");
    let token = host.acquire(on_behalf_of(&assertion)).unwrap();
    let [sent] = host.sent.as_slice() else { panic!("one request") };
    assert_eq!(
        sent.form(),
        format!(
            "client_id={CLIENT}\nclient_secret=\nscope=offline_access openid profile r/A r/b\nclient_info=1\n\
             grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer\nassertion={assertion}\n\
             requested_token_use=on_behalf_of"
        )
    );
    assert_eq!(sent.header("x-anchormailbox"), None);
    assert_eq!(sent.header("x-client-current-telemetry"), Some("5|1006,2,,,|0,1,1,,,"));
    assert_eq!((token.token.as_str(), token.source), ("at1", TokenSource::IdentityProvider));
    let account = token.account.expect("an account");
    assert_eq!((account.home_account_id, account.username.as_str()), (ALICE.home_account_id(), ALICE.upn));
    assert!(token.id_token.is_some());
    assert_eq!(token.session_key, None, "nobody goes on with a plain exchange");
}

#[test]
fn a_saml_assertion_has_a_grant_of_its_own() {
    for (kind, grant) in [(AssertionKind::Saml11, "saml1_1-bearer"), (AssertionKind::Saml2, "saml2-bearer")] {
        let mut host = Host::new(secret());
        let assertion = UserAssertion { assertion: "PHNhbWw-".into(), kind };
        host.acquire(ask(Flow::OnBehalfOf(assertion))).unwrap();
        let expected = format!("urn:ietf:params:oauth:grant-type:{grant}");
        assert_eq!(host.sent[0].field("grant_type"), Some(expected.as_str()));
        assert_eq!(host.sent[0].field("assertion"), Some("PHNhbWw-"));
    }
}

#[test]
fn the_same_token_is_answered_from_the_cache_and_another_one_is_not() {
    let mut host = Host::new(secret());
    let first = on_behalf_of(&ALICE.token("one"));
    assert_eq!(host.requests(first.clone()), 1);
    let again = host.acquire(first).unwrap();
    assert_eq!((again.token.as_str(), again.source), ("at1", TokenSource::Cache));
    assert_eq!(again.account.expect("an account").username, ALICE.upn);
    assert_eq!(host.actions, ["find"]);
    assert_eq!(host.requests(on_behalf_of(&ALICE.token("two"))), 1);
    assert_eq!(host.requests(on_behalf_of(&BOB.token("one"))), 1);
    assert_eq!(host.cache.access_tokens().len(), 3);
}

#[test]
fn no_refresh_token_is_kept_so_that_every_miss_is_an_exchange() {
    let mut host = Host::new(secret());
    let request = on_behalf_of(&ALICE.token("one"));
    host.acquire(request.clone()).unwrap();
    assert!(host.cache.refresh_tokens().is_empty() && host.cache.accounts().is_empty());
    host.later(3600);
    host.acquire(request.clone()).unwrap();
    assert_eq!(host.sent[0].field("requested_token_use"), Some("on_behalf_of"));
    assert_eq!(host.sent[0].header("x-client-current-telemetry"), Some("5|1006,3,,,|0,1,1,,,"));
    for options in [forced(), Options { claims: Some("{}".into()), ..Options::default() }] {
        host.acquire(with(&request, options)).unwrap();
        assert_eq!(host.sent[0].field("requested_token_use"), Some("on_behalf_of"));
        assert_eq!(host.sent[0].header("x-client-current-telemetry"), Some("5|1006,1,,,|0,1,1,,,"));
    }
}

#[test]
fn an_authority_without_a_tenant_finds_its_tokens_again() {
    for tenant in ["common", "organizations"] {
        let mut host = Host::new(secret());
        host.context.application.authority = format!("https://login.microsoftonline.com/{tenant}");
        let request = on_behalf_of(&ALICE.token("one"));
        let token = host.acquire(request.clone()).unwrap();
        assert_eq!(token.tenant_id.as_deref(), Some(TENANT));
        assert_eq!(host.requests(request.clone()), 0);
        // What the directory itself is asked for is there as well.
        let there = Options { tenant_id: Some(TENANT.into()), ..Options::default() };
        assert_eq!(host.requests(with(&request, there)), 0);
    }
}

#[test]
fn an_answer_that_names_nobody_is_kept_all_the_same() {
    let mut host = Host::new(secret());
    host.directory.names_users = false;
    let request = on_behalf_of(&ALICE.token("one"));
    let token = host.acquire(request.clone()).unwrap();
    assert_eq!(token.account, None);
    assert_eq!(host.requests(request), 0);
}

#[test]
fn what_was_acquired_for_a_token_is_forgotten_together() {
    let mut host = Host::new(secret());
    let assertion = ALICE.token("one");
    let request = on_behalf_of(&assertion);
    host.acquire(request.clone()).unwrap();
    host.acquire(for_scope(&request, "other/x")).unwrap();
    let key = user_assertion_hash(&assertion);
    let group = accounts::of_long_running_process(&host.context.application, &key).unwrap();
    assert!(host.cache.remove_group(&group));
    assert!(host.cache.access_tokens().is_empty());
    assert_eq!(host.requests(request), 1);
}

#[test]
fn a_refusal_leaves_nothing_behind() {
    let mut host = Host::new(secret());
    host.answer(answer(
        400,
        r#"{"error":"interaction_required","suberror":"basic_action","claims":"{\"x\":1}"}"#,
    ));
    let error = host.acquire(on_behalf_of(&ALICE.token("one"))).unwrap_err();
    assert_eq!((error.kind, error.claims.as_deref()), (ErrorKind::InteractionRequired, Some(r#"{"x":1}"#)));
    assert!(host.cache.entries.is_empty());
    assert_eq!(host.actions, ["find", "select", "send", "fail"]);
}

#[test]
fn without_assertion_or_scopes_nothing_is_done() {
    let mut host = Host::new(secret());
    for (request, code) in [
        (on_behalf_of(" "), "invalid_user_assertion"),
        (Request { scopes: vec![], ..on_behalf_of("a.b.c") }, "scopes_required_client_credentials"),
    ] {
        assert_eq!(host.acquire(request).unwrap_err().code, code);
        assert!(host.actions.is_empty());
    }
}
