//! A user whom the application names, by a token that lets it.
#![allow(clippy::expect_used, clippy::panic, reason = "a test ends at what it did not expect")]

mod common;

use common::directory::{ALICE, BOB};
use common::host::Host;
use common::*;
use symbolon_protocol::request::{FederatedUser, Flow, NamedUser, Request};

fn by_federation(user: NamedUser) -> Request {
    let user = FederatedUser { user, assertion: "the-token".into() };
    let flow = Flow::ByUserFederatedIdentityCredential(user);
    Request { scopes: vec!["r/b".into(), "r/a".into()], ..ask(flow) }
}

fn by_id(id: &str) -> Request {
    by_federation(NamedUser::ObjectId(id.into()))
}

fn by_name(name: &str) -> Request {
    by_federation(NamedUser::Username(name.into()))
}

#[test]
fn a_user_is_named_by_object_id() {
    let mut host = Host::new(secret());
    host.acquire(by_id(&ALICE.oid.to_uppercase())).unwrap();
    let [sent] = host.sent.as_slice() else { panic!("one request") };
    assert_eq!(
        sent.form(),
        format!(
            "client_id={CLIENT}\nclient_secret=\nscope=openid offline_access profile r/b r/a\ngrant_type=user_fic\n\
             user_federated_identity_credential=the-token\nuser_id={}\nclient_info=1",
            ALICE.oid
        )
    );
    let mailbox = format!("oid:{}@{TENANT}", ALICE.oid);
    assert_eq!(sent.header("x-anchormailbox"), Some(mailbox.as_str()));
    assert_eq!(sent.header("x-client-current-telemetry"), Some("5|1019,0,,,|0,1,1,,,"));
}

#[test]
fn or_by_name() {
    let mut host = Host::new(secret());
    host.acquire(by_name(BOB.upn)).unwrap();
    let [sent] = host.sent.as_slice() else { panic!("one request") };
    assert_eq!((sent.field("username"), sent.field("user_id")), (Some(BOB.upn), None));
    assert_eq!(sent.header("x-anchormailbox"), Some("upn:bob@contoso.com"));
}

#[test]
fn the_mailbox_may_be_in_a_tenant_that_is_none() {
    for (authority, by_id_expected, by_name_expected) in [
        ("https://login.microsoftonline.com/common", Some(format!("oid:{}@common", ALICE.oid)), true),
        ("https://fs.contoso.com/adfs", None, true),
        (
            "https://contoso.b2clogin.com/tfp/contoso.com/p",
            Some(format!("oid:{}@contoso.com", ALICE.oid)),
            false,
        ),
    ] {
        let mut host = Host::new(secret());
        host.context.application.authority = authority.into();
        host.context.application.skip_authority_validation = true;
        host.acquire(by_id(ALICE.oid)).unwrap();
        assert_eq!(host.sent[0].header("x-anchormailbox"), by_id_expected.as_deref(), "{authority}");
        host.acquire(by_name(ALICE.upn)).unwrap();
        assert_eq!(host.sent[0].header("x-anchormailbox").is_some(), by_name_expected, "{authority}");
    }
}

#[test]
fn it_never_reads_the_cache_and_is_read_silently() {
    let mut host = Host::new(secret());
    for request in [by_name(ALICE.upn), by_name(ALICE.upn), with(&by_id(ALICE.oid), forced())] {
        let token = host.acquire(request).unwrap();
        assert_eq!((host.sent.len(), token.reuse), (1, None));
    }
    let silent = ask(Flow::Silent(ALICE.home_account_id()));
    assert_eq!(host.acquire(for_scope(&silent, "r/a")).unwrap().token, "at3");
    assert!(host.sent.is_empty());
    host.acquire(for_scope(&silent, "other/x")).unwrap();
    assert_eq!(host.sent[0].field("grant_type"), Some("refresh_token"));
    assert_eq!(host.acquire(ask(Flow::Silent(BOB.home_account_id()))).unwrap_err().code, "no_tokens_found");
}

#[test]
fn what_names_nobody_is_refused() {
    let mut host = Host::new(secret());
    let blank = FederatedUser { user: NamedUser::Username("u@c".into()), assertion: " ".into() };
    for (request, code) in [
        (by_id("nope"), "invalid_user_id"),
        (by_id("00000000-0000-0000-0000-000000000000"), "invalid_user_id"),
        (by_name(""), "invalid_username"),
        (ask(Flow::ByUserFederatedIdentityCredential(blank)), "invalid_user_assertion"),
    ] {
        assert_eq!(host.acquire(request).unwrap_err().code, code);
        assert!(host.actions.is_empty());
    }
}
